//! Servers of HTTP inside a test, for pollers: one page as a decent server has it, and whatever else a test has a server do.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::conditions::{Dir, until};
use crate::common::patience::{Patient, join, output_of};

/// What a server and its test share.
#[derive(Default)]
struct Shared {
    is_enough: AtomicBool,
    /// Requests that came, each with its head.
    asked: Mutex<Vec<String>>,
    connections: AtomicUsize,
}

/// One connection to a server.
pub(crate) struct Visit {
    pub(crate) stream: TcpStream,
    shared: Arc<Shared>,
}

impl Visit {
    /// The head of the next request; none if the visitor has gone.
    pub(crate) fn request(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if self.stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        self.shared.asked.lock().unwrap().push(head.clone());
        Some(head)
    }

    /// Sends, as far as the visitor takes it.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends the same again and again, until the visitor has gone or the test is over.
    pub(crate) fn send_for_ever(&mut self, bytes: &[u8]) {
        while self.send(bytes).is_ok() {
            if self.shared.is_enough.load(Ordering::SeqCst) {
                return;
            }
        }
    }

    /// Waits until the visitor has gone, and lets it wait until then.
    pub(crate) fn say_nothing(&mut self) {
        let _ = self.stream.read(&mut [0; 4096]);
        let _ = self.stream.read(&mut [0; 4096]);
    }
}

/// A server. It ends with its test.
pub(crate) struct Web {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Web {
    /// One that does this with each connection.
    pub(crate) fn new(serve: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, shared, serve) = (listener.local_addr().unwrap(), Arc::<Shared>::default(), Arc::new(serve));
        let ours = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ours.is_enough.load(Ordering::SeqCst) {
                    return;
                }
                ours.connections.fetch_add(1, Ordering::SeqCst);
                let mut visit = Visit { stream: stream.unwrap().patient(), shared: Arc::clone(&ours) };
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || serve(&mut visit));
            }
        });
        Self { addr, shared, thread: Some(thread) }
    }

    /// One that answers each request with these bytes.
    pub(crate) fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::new(move |visit| {
            while let Some(head) = visit.request() {
                if visit.send(answer(&head)).is_err() {
                    return;
                }
            }
        })
    }

    /// A `--poll` of this server.
    pub(crate) fn poll(&self, name: &str) -> String {
        format!("{name}=http://{}/log", self.addr)
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many more requests have come than now, so that what is served now was fetched.
    pub(crate) fn until_asked(&self, more: usize) {
        let before = self.asked().len();
        until("requests", || {
            let asked = self.asked().len();
            if asked >= before + more { Ok(()) } else { Err(format!("{asked}, {before} before")) }
        });
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.shared.is_enough.store(true, Ordering::SeqCst);
        // It waits in `accept`.
        let _ = TcpStream::connect(self.addr);
        if let Some(thread) = self.thread.take() {
            join("the server's end", thread);
        }
    }
}

/// An answer with a body, its length, and these fields.
pub(crate) fn answer(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    answer("200 OK", "Content-Type: text/plain\r\n", body.as_ref())
}

/// These bytes as gzip packs them.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let dir = Dir::new();
    fs::write(dir.file("plain"), bytes).unwrap();
    let packed = output_of(Command::new("gzip").args(["-c", &dir.file("plain")])).unwrap();
    assert!(packed.status.success(), "{packed:?}");
    packed.stdout
}

/// What a decent server can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// The whole page each time.
    Plain,
    /// It knows whether the page has changed.
    Tags,
    /// It sends the part that is asked for, too.
    Ranges,
}

/// A page on a server of its own.
pub(crate) struct Page {
    pub(crate) web: Web,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Page {
    pub(crate) fn new(manners: Manners, text: &str) -> Self {
        let text = Arc::new(Mutex::new(text.as_bytes().to_vec()));
        let served = Arc::clone(&text);
        let web = Web::answering(move |head| {
            let text = served.lock().unwrap().clone();
            if manners == Manners::Plain { ok(&text) } else { with_manners(manners, head, &text) }
        });
        Self { web, text }
    }

    pub(crate) fn set(&self, text: &str) {
        *self.text.lock().unwrap() = text.as_bytes().to_vec();
    }

    pub(crate) fn add(&self, text: &str) {
        self.text.lock().unwrap().extend_from_slice(text.as_bytes());
    }
}

/// The value of a field of a request.
pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (field, value) = line.split_once(": ")?;
        field.eq_ignore_ascii_case(name).then_some(value)
    })
}

fn with_manners(manners: Manners, head: &str, text: &[u8]) -> Vec<u8> {
    // Another text has another tag: length and a sum.
    let sum = text.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let tag = format!("\"{}-{sum:x}\"", text.len());
    if field(head, "if-none-match") == Some(&tag) {
        return format!("HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n\r\n").into_bytes();
    }
    let accepts = if manners == Manners::Ranges { "Accept-Ranges: bytes\r\n" } else { "" };
    let fields = format!("ETag: {tag}\r\n{accepts}Content-Type: text/plain\r\n");
    let range = field(head, "range").filter(|_| manners == Manners::Ranges);
    let number = |digits: &str| digits.parse::<usize>().ok();
    let asked = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let extent = |(start, last): (&str, &str)| match (number(start), number(last)) {
        (None, Some(last)) => Some((text.len().saturating_sub(last), None)),
        (start, last) => Some((start?, last)),
    };
    let Some((start, last)) = asked.and_then(extent) else {
        return answer("200 OK", &fields, text);
    };
    if start >= text.len() {
        return answer("416 Range Not Satisfiable", &format!("Content-Range: bytes */{}\r\n", text.len()), b"");
    }
    let last = last.unwrap_or(usize::MAX).min(text.len() - 1);
    let range = format!("Content-Range: bytes {start}-{last}/{}\r\n{fields}", text.len());
    answer("206 Partial Content", &range, &text[start..=last])
}
