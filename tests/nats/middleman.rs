//! Between the program and a server: passes bytes on in their order, until its mood says otherwise. It cuts a connection
//! after any number of bytes, delays, keeps acknowledgements to itself, or is away. All choices come from a seed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::servers::free_port;
use crate::common::patience::join;
use crate::dice::Dice;

/// What a middleman does to connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mood {
    /// Each connection is cut after so many bytes of both directions together, at most; 0 is never.
    pub(crate) cut_within: u64,
    /// What the server says arrives so much later.
    pub(crate) delay: Duration,
    /// Answers to what is published never arrive.
    pub(crate) drop_acks: bool,
    /// Nobody is let through.
    pub(crate) is_away: bool,
}

struct Shared {
    mood: Mutex<Mood>,
    target: u16,
    stop: AtomicBool,
    /// Raised to have every connection cut now.
    era: AtomicU64,
    /// How many connections there were so far.
    number: AtomicU64,
    /// What clients of connections up to this one say is kept back for now.
    held: AtomicU64,
    cuts: AtomicU64,
    dropped_acks: AtomicU64,
}

/// One in front of one server.
pub(crate) struct Middleman {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// How often a thread looks at the mood while nothing comes.
const GLANCE: Duration = Duration::from_millis(20);

impl Middleman {
    pub(crate) fn before(target: u16, seed: u64) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let shared = Arc::new(Shared {
            mood: Mutex::default(),
            target,
            stop: AtomicBool::new(false),
            era: AtomicU64::new(0),
            number: AtomicU64::new(0),
            held: AtomicU64::new(0),
            cuts: AtomicU64::new(0),
            dropped_acks: AtomicU64::new(0),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || accept_all(&listener, &own, seed));
        Self { port, shared, thread: Some(thread) }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// Cuts what is connected now.
    pub(crate) fn cut(&self) {
        self.shared.era.fetch_add(1, Ordering::SeqCst);
    }

    /// Keeps back what the clients that are connected now say, however long they stay, until [`Middleman::release`]: it
    /// arrives though they have given up.
    pub(crate) fn hold(&self) {
        self.shared.held.store(self.shared.number.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    pub(crate) fn release(&self) {
        self.shared.held.store(0, Ordering::SeqCst);
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped_acks(&self) -> u64 {
        self.shared.dropped_acks.load(Ordering::SeqCst)
    }
}

impl Drop for Middleman {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            join("a middleman", thread);
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, seed: u64) {
    let mut threads = Vec::new();
    while !shared.stop.load(Ordering::SeqCst) {
        let Ok((client, _)) = listener.accept() else {
            std::thread::park_timeout(GLANCE);
            continue;
        };
        let number = shared.number.fetch_add(1, Ordering::SeqCst) + 1;
        let mood = *shared.mood.lock().unwrap();
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.target));
        let Ok(server) = server else { continue };
        if mood.is_away {
            continue;
        }
        // From the number, and not from a generator that all share: threads take turns as they like.
        let mut dice = Dice::from_seed(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let left = if mood.cut_within == 0 { u64::MAX } else { 1 + dice.below(mood.cut_within) };
        let link = Arc::new(Link { left: AtomicU64::new(left), era: shared.era.load(Ordering::SeqCst), number });
        for (from, to, is_answer) in [(client.try_clone(), server.try_clone(), false), (Ok(server), Ok(client), true)] {
            let (Ok(from), Ok(to)) = (from, to) else { continue };
            let (shared, link) = (Arc::clone(shared), Arc::clone(&link));
            threads.push(std::thread::spawn(move || pass(&from, &to, is_answer, &shared, &link)));
        }
        threads.retain(|thread| !thread.is_finished());
    }
    threads.into_iter().for_each(|thread| join("a link", thread));
}

/// What the two directions of a connection share.
struct Link {
    /// How many bytes may still pass before it is cut.
    left: AtomicU64,
    era: u64,
    number: u64,
}

impl Link {
    /// How many of these bytes may pass.
    fn take(&self, bytes: usize) -> usize {
        let bytes = bytes as u64;
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(bytes)));
        usize::try_from(left.unwrap().min(bytes)).unwrap()
    }
}

fn pass(mut from: &TcpStream, mut to: &TcpStream, is_answer: bool, shared: &Shared, link: &Link) {
    let _ = from.set_read_timeout(Some(GLANCE));
    // Who is slow is waited for, but not beyond the test.
    let _ = to.set_write_timeout(Some(Duration::from_secs(20)));
    let _ = to.set_nodelay(true);
    let (mut chunk, mut answers) = (vec![0; 64 * 1024], Answers::default());
    while !shared.stop.load(Ordering::SeqCst) && shared.era.load(Ordering::SeqCst) == link.era {
        let count = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let mood = *shared.mood.lock().unwrap();
        let mut bytes = &chunk[..count];
        let kept;
        while !is_answer && link.number <= shared.held.load(Ordering::SeqCst) && !shared.stop.load(Ordering::SeqCst) {
            std::thread::park_timeout(GLANCE);
        }
        if is_answer {
            // The input: a slow link.
            std::thread::sleep(mood.delay);
            kept = answers.pass(bytes, mood.drop_acks, &shared.dropped_acks);
            bytes = &kept;
        }
        let allowed = link.take(bytes.len());
        if mood.is_away || to.write_all(&bytes[..allowed]).is_err() {
            break;
        }
        if allowed < bytes.len() {
            shared.cuts.fetch_add(1, Ordering::SeqCst);
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// What a server says, taken apart as far as acknowledgements can be left out.
#[derive(Default)]
struct Answers {
    waiting: Vec<u8>,
}

impl Answers {
    /// What of these bytes, and of those before, is to go on. A message that is not whole yet waits.
    fn pass(&mut self, bytes: &[u8], drop_acks: bool, dropped: &AtomicU64) -> Vec<u8> {
        self.waiting.extend_from_slice(bytes);
        let mut out = Vec::new();
        while let Some(end) = self.frame() {
            let frame: Vec<u8> = self.waiting.drain(..end).collect();
            if drop_acks && is_ack(&frame) {
                dropped.fetch_add(1, Ordering::SeqCst);
            } else {
                out.extend(frame);
            }
        }
        out
    }

    /// Where the first whole one ends.
    fn frame(&self) -> Option<usize> {
        let line_end = self.waiting.iter().position(|byte| *byte == b'\n')? + 1;
        let line = String::from_utf8_lossy(&self.waiting[..line_end]);
        let mut words = line.split_whitespace();
        let has_payload = words.next().is_some_and(|word| word == "MSG" || word == "HMSG");
        let payload = if has_payload { words.last()?.parse::<usize>().ok()? + 2 } else { 0 };
        (self.waiting.len() >= line_end + payload).then_some(line_end + payload)
    }
}

/// An answer of a stream to what was published there; those of the API name their type.
fn is_ack(frame: &[u8]) -> bool {
    let text = String::from_utf8_lossy(frame);
    text.starts_with("MSG ") && text.contains("{\"stream\":") && !text.contains("\"type\":")
}

#[test]
fn answers_are_passed_on_byte_for_byte_and_only_acknowledgements_are_left_out() {
    let ack = "MSG _INBOX.a.1 1 27\r\n{\"stream\":\"LOGS\", \"seq\":17}\r\n";
    let other = "HMSG _INBOX.a.2 1 12 17\r\nNATS/1.0\r\n\r\nMSG\r\n\r\n";
    let all = format!("INFO {{}}\r\n{ack}PING\r\n{other}{ack}");
    for cut in 0..all.len() {
        for (drop_acks, wanted) in [(false, all.clone()), (true, all.replace(ack, ""))] {
            let (mut answers, dropped) = (Answers::default(), AtomicU64::new(0));
            let mut out = answers.pass(&all.as_bytes()[..cut], drop_acks, &dropped);
            out.extend(answers.pass(&all.as_bytes()[cut..], drop_acks, &dropped));
            assert_eq!(String::from_utf8_lossy(&out), wanted, "cut at {cut}");
            assert_eq!(dropped.into_inner(), if drop_acks { 2 } else { 0 });
        }
    }
}
