//! One visitor of the status endpoint, and all that can happen to it: bytes in any pieces, a half-close, time, a socket
//! that takes little or nothing, lines that go by. What comes out has to be well-formed HTTP, whatever went in; what is
//! held is bounded; and whoever waits for nothing has nothing to do (P8).

use std::collections::VecDeque;

use lumberjack::internals::request::{MOST_REQUEST_BYTES, Refusal, Request, Route};
use lumberjack::internals::respond::{Content, Kind, MOST_HEAD_BYTES};
use lumberjack::internals::tail::{Caption, MOST_WAITING, Viewer};
use lumberjack::internals::visitor::{Ms, Need, PATIENCE, Visitor};

use super::{Script, Shown, Story};

/// The largest body that is given to it.
const MOST_BODY_BYTES: usize = 20_000;
/// Pieces of which requests are made, whole and broken.
const PIECES: &[&str] = &[
    "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HEAD /diagnostics?connections=5&format=csv HTTP/1.1\r\nHost: [::1]:4446\r\n\r\n",
    "GET /tail?match=%3c&peer=192.0.2.7 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br, gzip;q=0.5\r\nConnection: close\r\n\r\n",
    "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "GET ",
    "HEAD ",
    "http://a/",
    "/tail",
    "?match=",
    "%4",
    "+",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "Host: a\r\n",
    "Connection: close, keep-alive\r\n",
    "Transfer-Encoding: chunked\r\n",
    "\r\n",
    "\n",
    "\r",
    ": ",
];

/// What happens.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// The client sends this.
    Send(Vec<u8>),
    /// It closes its half.
    End,
    /// So many milliseconds pass.
    Wait(u64),
    /// Its socket takes so many bytes more.
    Take(usize),
    /// So many lines like this go by, of which so many are not looked at.
    Lines(Vec<u8>, u64, u64),
    /// The next bodies have this length, or there is no memory for any.
    Body(Option<usize>),
    /// There is memory for so many bytes of a request.
    Room(usize),
}

/// A visitor, its socket, and what the server would do.
struct World {
    visitor: Visitor,
    now: Ms,
    inbox: VecDeque<u8>,
    has_ended: bool,
    takes: usize,
    sent: Vec<u8>,
    /// Of each answer, whether only its head was wanted.
    heads: Vec<bool>,
    body: Option<usize>,
    room: usize,
    said_goodbye: bool,
    is_closed: bool,
    /// It was closed with something left to send.
    is_cut: bool,
}

/// Decodes a story and lives it.
pub(crate) fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut ops = Vec::new();
    while !script.is_over() && ops.len() < 200 {
        ops.push(match script.below(16) {
            0..=5 => Op::Send(PIECES[script.below(PIECES.len())].as_bytes().to_vec()),
            6 => {
                let len = script.below(40);
                Op::Send(script.take(len).to_vec())
            }
            7 => Op::Send(vec![script.byte(); script.below(200) * 50]),
            8 => Op::End,
            9 => Op::Wait(u64::from(script.byte())),
            10 => Op::Wait(u64::from(script.byte()) * 100),
            11 | 12 => Op::Take(script.below(256) * 40),
            13 => {
                let len = script.below(256);
                let line = vec![script.byte(); len * usize::from(script.byte() % 20)];
                Op::Lines(line, u64::from(script.byte()), u64::from(script.byte() % 3))
            }
            14 => Op::Body(Some(script.below(256) * 79).filter(|len| len % 2 == 0)),
            _ => Op::Room(script.below(256) * 64),
        });
    }
    live(&ops);
}

/// Lives a story, and looks at what came of it.
pub(crate) fn live(ops: &[Op]) -> Vec<u8> {
    let _story = Story(&ops);
    let mut world = World {
        visitor: Visitor::new(0),
        now: 0,
        inbox: VecDeque::new(),
        has_ended: false,
        takes: 0,
        sent: Vec::new(),
        heads: Vec::new(),
        body: Some(10),
        room: MOST_REQUEST_BYTES,
        said_goodbye: false,
        is_closed: false,
        is_cut: false,
    };
    for op in ops {
        world.happen(op);
        world.settle();
        if world.is_closed {
            break;
        }
    }
    let answers = check_answers(&world.sent, &world.heads, world.is_cut || !world.visitor.output().is_empty());
    assert!(answers <= world.heads.len(), "{answers} answers to {} questions", world.heads.len());
    world.sent
}

impl World {
    fn happen(&mut self, op: &Op) {
        match op {
            // Who has closed its half sends no more.
            Op::Send(bytes) if !self.has_ended => self.inbox.extend(bytes),
            Op::Send(_) => {}
            Op::End => self.has_ended = true,
            Op::Wait(ms) => self.now += *ms,
            Op::Take(bytes) => self.takes = self.takes.saturating_add(*bytes).min(1 << 20),
            Op::Body(len) => self.body = *len,
            Op::Room(room) => self.room = *room,
            Op::Lines(line, count, lost) => {
                let Some((viewer, out)) = self.visitor.viewer() else { return };
                let from = Caption { time: b"2026-11-25T00:00:00.000Z", peer: b"192.0.2.7:5000" };
                if viewer.wants(from.peer) {
                    (0..*count).for_each(|_| viewer.show(line, from, &mut Vec::new(), out));
                    viewer.pass_by(*lost);
                }
                assert!(out.capacity() <= MOST_WAITING, "{}", out.capacity());
            }
        }
    }

    /// Passes until there is nothing to do, as the server makes them; none of them may come to nothing twice.
    fn settle(&mut self) {
        for _ in 0..2000 {
            if self.is_closed {
                return;
            }
            let before = (self.inbox.len(), self.takes, self.heads.len(), self.visitor.output().len());
            self.pass();
            let after = (self.inbox.len(), self.takes, self.heads.len(), self.visitor.output().len());
            self.check();
            let can_read = self.visitor.wants() > 0 && (!self.inbox.is_empty() || self.has_ended);
            let can_write = self.takes > 0 && self.visitor.has_output();
            let is_due = can_read || can_write || self.visitor.due_at() <= self.now;
            if !is_due || self.is_closed {
                return;
            }
            // A first look at an end that was there already changes nothing but the visitor itself.
            let is_end = self.inbox.is_empty() && self.has_ended;
            assert!(before != after || is_end, "a pass that came to nothing, and the next is due: {:?}", self.visitor);
        }
        panic!("it never rests: {:?}", self.visitor);
    }

    fn pass(&mut self) {
        let waited = self.visitor.output().len();
        let wants = self.visitor.wants().min(64 * 1024);
        if wants > 0 {
            let count = wants.min(self.inbox.len());
            let bytes: Vec<u8> = self.inbox.drain(..count).collect();
            if count > 0 {
                self.visitor.received(&bytes, self.room, self.now);
            } else if self.has_ended {
                self.visitor.ended();
            }
        }
        match self.visitor.next(self.now) {
            Need::Close => return self.close(),
            Need::Answer(request) => self.answer(request),
            // It refuses what is no request by itself.
            Need::Nothing if waited == 0 && self.visitor.output().starts_with(b"HTTP/1.1 ") => self.heads.push(false),
            Need::Nothing => {}
            Need::Goodbye => panic!("a goodbye before the answer"),
        }
        let output = self.visitor.output();
        if output.is_empty() {
            return;
        }
        let count = self.takes.min(output.len());
        self.sent.extend_from_slice(&output[..count]);
        self.takes -= count;
        if self.visitor.sent(count, self.now) == Need::Goodbye {
            assert!(!self.said_goodbye && self.visitor.output().is_empty());
            self.said_goodbye = true;
            if self.visitor.next(self.now) == Need::Close {
                self.close();
            }
        }
    }

    fn answer(&mut self, request: Request) {
        let how = request.how;
        assert!(self.visitor.output().is_empty(), "one answer at a time");
        self.heads.push(how.is_head);
        match (request.route, self.body) {
            (Err(refusal), _) => self.visitor.refuse(refusal, how, self.now),
            (Ok(_), None) => self.visitor.refuse(Refusal::Busy, how, self.now),
            (Ok(Route::Tail { substring, peer }), Some(_)) => {
                let viewer = Viewer::new(substring, peer, MOST_WAITING);
                self.visitor.watch(viewer, how, self.now);
            }
            (Ok(_), Some(len)) => {
                let content = Content { status: "200 OK", kind: Kind::Json, body: vec![b'j'; len].into() };
                self.visitor.answer(how, &content, self.now);
            }
        }
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.is_cut = !self.visitor.output().is_empty();
        assert!(!self.is_cut || self.has_ended || self.now >= PATIENCE, "cut off before its time");
    }

    fn check(&self) {
        let most = MOST_REQUEST_BYTES + MOST_BODY_BYTES + 2 * MOST_HEAD_BYTES;
        assert!(self.visitor.held() <= most, "it holds {}", self.visitor.held());
        assert!(self.visitor.waiting() <= most.max(MOST_WAITING), "{} wait for it", self.visitor.waiting());
    }
}

/// Reads answers as strictly as RFC 9112 has them, and tells how many are whole. The last may be cut off if `is_cut`.
fn check_answers(sent: &[u8], heads: &[bool], is_cut: bool) -> usize {
    let mut rest = sent;
    let mut closes = false;
    for (number, is_head) in heads.iter().enumerate() {
        if rest.is_empty() {
            return number;
        }
        assert!(!closes, "an answer behind the last: {:?}", Shown(rest));
        let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else {
            assert!(is_cut && b"HTTP/1.1 ".starts_with(&rest[..rest.len().min(9)]), "no head: {:?}", Shown(rest));
            return number;
        };
        let head = check_head(&rest[..end]);
        rest = &rest[end + 4..];
        closes = head.closes;
        let Some(len) = head.length else {
            assert!(closes && rest.ends_with(b"\n\n") | rest.is_empty() | is_cut, "events: {:?}", Shown(rest));
            return number + 1;
        };
        if *is_head {
            continue;
        }
        if rest.len() < len {
            assert!(is_cut, "a body of {len} bytes has {}", rest.len());
            return number;
        }
        rest = &rest[len..];
    }
    assert!(rest.is_empty(), "nobody asked for {:?}", Shown(rest));
    heads.len()
}

struct Head {
    length: Option<usize>,
    closes: bool,
}

fn check_head(head: &[u8]) -> Head {
    let text = std::str::from_utf8(head).expect("a head is text");
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")).expect("a status line");
    let (code, reason) = status.split_at(3);
    let is_known = ["200", "400", "404", "405", "406", "408", "421", "431", "503"].contains(&code);
    assert!(is_known && reason.len() > 1 && reason.starts_with(' '), "{status}");
    let (mut length, mut closes, mut names) = (None, None, Vec::new());
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a field");
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
        assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && value.trim() == value, "{value}");
        assert!(!names.contains(&name.to_lowercase()), "{name} is there twice");
        names.push(name.to_lowercase());
        match name {
            "Content-Length" => length = Some(value.parse().expect("a length")),
            "Connection" => closes = Some(value == "close"),
            _ => {}
        }
    }
    assert!(names.iter().any(|name| name == "content-type"));
    assert_eq!(code == "405", names.iter().any(|name| name == "allow"), "405 says what is allowed, and only that");
    let closes = closes.expect("it says whether it goes on");
    assert!(length.is_some() || closes, "what has no length ends with its connection");
    Head { length, closes }
}
