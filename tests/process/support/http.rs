//! An HTTP client that fails at anything that is no proper HTTP, and a strict reader of JSON, for the tests of the status
//! endpoint.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::conditions::until;
use super::receiver::Receiver;
use crate::common::patience::{PATIENCE, Patient, connect, connect_unix, shown};

/// Where a receiver's status endpoint listens, from its log.
pub(crate) fn status_of(receiver: &Receiver) -> String {
    until("where its status is", || {
        let said = receiver.said();
        let at = said.lines().find_map(|line| line.split_once("[status] Listening on "));
        at.map(|(_, at)| at.to_owned()).ok_or(said)
    })
}

/// A stream of either kind.
pub(crate) trait Stream: Read + Write + Patient {}
impl<T: Read + Write + Patient> Stream for T {}

/// One connection.
pub(crate) struct Http {
    stream: Box<dyn Stream>,
    /// What was read beyond the last answer.
    rest: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Json {
        assert_eq!((self.status, self.field("content-type")), (200, "application/json"), "{}", self.body);
        Json::parse(&self.body)
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

impl Http {
    pub(crate) fn connect(at: &str) -> Self {
        let stream: Box<dyn Stream> = match at.strip_prefix("unix:") {
            Some(path) => Box::new(connect_unix(path).unwrap()),
            None => Box::new(tcp(at)),
        };
        Self::over(stream)
    }

    pub(crate) fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream, rest: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Asks for a target, and reads the answer; the connection goes on.
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.send(request(target));
        self.answer()
    }

    /// The next answer, which has to have a length.
    pub(crate) fn answer(&mut self) -> Answer {
        let (status, fields) = self.head();
        let len: usize = fields.get("content-length").expect("a length").parse().unwrap();
        self.read_until(Instant::now() + PATIENCE, |rest| rest.len() >= len);
        let mut body: Vec<u8> = self.rest.drain(..len).collect();
        if fields.get("content-encoding").is_some_and(|coding| coding == "gzip") {
            body = gunzip(&body);
        }
        Answer { status, fields, body: String::from_utf8(body).unwrap() }
    }

    /// The head of the next answer.
    pub(crate) fn head(&mut self) -> (u16, BTreeMap<String, String>) {
        let end = |rest: &[u8]| rest.windows(4).position(|window| window == b"\r\n\r\n");
        self.read_until(Instant::now() + PATIENCE, |rest| end(rest).is_some());
        let len = end(&self.rest).unwrap() + 4;
        let head: Vec<u8> = self.rest.drain(..len).collect();
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
        let first = lines.next().unwrap();
        let status = first.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{first:?}"));
        let (status, reason) = status.split_at(3);
        assert!(reason.starts_with(' ') && reason.len() > 2, "{first:?}");
        let fields = lines.map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line:?}")));
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        (status.parse().unwrap(), fields)
    }

    /// The next event of a tail, without its end.
    pub(crate) fn event(&mut self) -> String {
        self.event_before(Instant::now() + PATIENCE)
    }

    /// The same, but the test fails if the event does not come before this time, even if pings come.
    pub(crate) fn event_before(&mut self, deadline: Instant) -> String {
        let end = |rest: &[u8]| rest.windows(2).position(|window| window == b"\n\n");
        self.read_until(deadline, |rest| end(rest).is_some());
        let len = end(&self.rest).unwrap() + 2;
        let event: Vec<u8> = self.rest.drain(..len).collect();
        String::from_utf8(event).unwrap().trim_end().to_owned()
    }

    /// Reads until there is enough. The deadline holds for all of it, however the bytes are spread over time.
    fn read_until(&mut self, deadline: Instant, is_enough: impl Fn(&[u8]) -> bool) {
        let mut chunk = vec![0; 64 * 1024];
        while !is_enough(&self.rest) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "not in time; so far there is {}", shown(&self.rest));
            self.stream.wait_at_most(left);
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("it closed after {}", shown(&self.rest)),
                Ok(count) => self.rest.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error} after {}", shown(&self.rest)),
            }
        }
    }

    /// What comes until the connection ends, by a FIN or an RST.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        let mut chunk = vec![0; 64 * 1024];
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "it does not close, after {}", shown(&self.rest));
            self.stream.wait_at_most(PATIENCE);
            match self.stream.read(&mut chunk) {
                Ok(0) => return self.rest,
                Ok(count) => self.rest.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return self.rest,
                Err(error) => panic!("{error}: it does not close, after {}", shown(&self.rest)),
            }
        }
    }
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // So little that the pipe takes it before anything is read.
    gzip.stdin.take().unwrap().write_all(bytes).unwrap();
    let unpacked = gzip.wait_with_output().unwrap();
    assert!(unpacked.status.success(), "{unpacked:?}");
    unpacked.stdout
}

pub(crate) fn tcp(at: &str) -> TcpStream {
    connect(at.parse().unwrap())
}

pub(crate) fn request(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
}

/// One request on a connection of its own.
pub(crate) fn get(at: &str, target: &str) -> Answer {
    Http::connect(at).get(target)
}

/// A value, as strict as RFC 8259.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Json {
    pub(crate) fn parse(text: &str) -> Self {
        let mut rest = text.trim_end_matches('\n');
        let value = Self::value(&mut rest);
        assert_eq!(rest, "", "behind the value");
        value
    }

    fn take<'t>(rest: &mut &'t str, len: usize) -> &'t str {
        let (taken, left) = rest.split_at(len);
        *rest = left;
        taken
    }

    fn skip(rest: &mut &str, wanted: &str) -> bool {
        let left = rest.strip_prefix(wanted);
        *rest = left.unwrap_or(rest);
        left.is_some()
    }

    fn value(rest: &mut &str) -> Self {
        match rest.as_bytes().first() {
            Some(b'{') => Self::object(rest),
            Some(b'[') => Self::list(rest),
            Some(b'"') => Self::Text(Self::text(rest)),
            Some(b'0'..=b'9') => {
                let len = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
                Self::Number(Self::take(rest, len).parse().unwrap())
            }
            _ if Self::skip(rest, "true") => Self::Bool(true),
            _ if Self::skip(rest, "false") => Self::Bool(false),
            _ => panic!("no value: {rest}"),
        }
    }

    fn list(rest: &mut &str) -> Self {
        let mut list = Vec::new();
        Self::take(rest, 1);
        while !Self::skip(rest, "]") {
            assert!(list.is_empty() || Self::skip(rest, ","), "{rest}");
            list.push(Self::value(rest));
        }
        Self::List(list)
    }

    fn object(rest: &mut &str) -> Self {
        let mut object = BTreeMap::new();
        Self::take(rest, 1);
        while !Self::skip(rest, "}") {
            assert!(object.is_empty() || Self::skip(rest, ","), "{rest}");
            let name = Self::text(rest);
            assert!(Self::skip(rest, ":"), "{rest}");
            let value = Self::value(rest);
            assert!(object.insert(name, value).is_none(), "a name is there twice");
        }
        Self::Object(object)
    }

    fn text(rest: &mut &str) -> String {
        assert!(Self::skip(rest, "\""), "{rest}");
        let mut text = String::new();
        loop {
            let letter = rest.chars().next().expect("the end of a text");
            match Self::take(rest, letter.len_utf8()) {
                "\"" => return text,
                "\\" => match Self::take(rest, 1) {
                    "u" => {
                        let code = u32::from_str_radix(Self::take(rest, 4), 16).unwrap();
                        text.push(char::from_u32(code).unwrap());
                    }
                    "t" => text.push('\t'),
                    "n" => text.push('\n'),
                    other => {
                        assert!(["\"", "\\", "/"].contains(&other), "\\{other}");
                        text.push_str(other);
                    }
                },
                _ => {
                    assert!(letter >= ' ', "a raw control character");
                    text.push(letter);
                }
            }
        }
    }

    /// What is found on a path such as `tcp.port`.
    pub(crate) fn at(&self, path: &str) -> &Self {
        path.split('.').fold(self, |value, name| match value {
            Self::Object(object) => object.get(name).unwrap_or_else(|| panic!("no {name} in {object:?}")),
            Self::List(list) => &list[name.parse::<usize>().unwrap()],
            other => panic!("no {name} in {other:?}"),
        })
    }

    pub(crate) fn number(&self, path: &str) -> u64 {
        match self.at(path) {
            Self::Number(number) => *number,
            other => panic!("{path} is {other:?}"),
        }
    }

    pub(crate) fn text_at(&self, path: &str) -> &str {
        match self.at(path) {
            Self::Text(text) => text,
            other => panic!("{path} is {other:?}"),
        }
    }

    pub(crate) fn list_at(&self, path: &str) -> &[Self] {
        match self.at(path) {
            Self::List(list) => list,
            other => panic!("{path} is {other:?}"),
        }
    }
}
