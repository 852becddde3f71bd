//! Hours of simulated time with servers of every kind, good, slow, broken and hostile, from seeds: `HTTP_SEEDS=0..1000 cargo test
//! --features poll --lib http::worlds` lives through others, `HTTP_SEED=42` through one. Every request comes to a result in time, what
//! is answered is what the server meant, memory is bounded, and nobody has anything to do twice at the same moment without a
//! step forward.

use core::time::Duration;
use std::collections::VecDeque;

use super::*;

const RULES: Rules =
    Rules { head: Duration::from_secs(10), whole: Duration::from_secs(30), most_body: 50_000, asks_for_room: false };
const HOUR: Duration = Duration::from_secs(3_600);
/// What may be held: heads as vectors grow, a body, what it is unpacked to, and what is sent.
const MOST_HELD: usize = 64 * 1024 + 2 * RULES.most_body + 300_000;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ word >> 31) % end as u64).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn millis(&mut self, end: usize) -> Duration {
        Duration::from_millis(self.below(end) as u64)
    }
}

/// What a server does with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Good,
    GoodAfterRedirects(u8),
    RedirectLoop,
    RedirectElsewhere,
    Error(u16),
    EarlyRefusal,
    EndlessHead,
    EndlessBody,
    EndlessError,
    ByteByByte,
    TooShort,
    TooLong,
    CutByReset,
    Storm,
    FewInterim,
    Bomb,
    Packed,
    BeforeTheRequest,
    Tls,
    Ssh,
    Silent,
    HangsUp,
    Garbage,
}

const PLANS: [Plan; 26] = [
    Plan::Good,
    Plan::Good,
    Plan::Good,
    Plan::Good,
    Plan::GoodAfterRedirects(1),
    Plan::GoodAfterRedirects(3),
    Plan::RedirectLoop,
    Plan::RedirectElsewhere,
    Plan::Error(401),
    Plan::Error(500),
    Plan::EarlyRefusal,
    Plan::EndlessHead,
    Plan::EndlessBody,
    Plan::EndlessError,
    Plan::ByteByByte,
    Plan::TooShort,
    Plan::TooLong,
    Plan::CutByReset,
    Plan::Storm,
    Plan::FewInterim,
    Plan::Bomb,
    Plan::Packed,
    Plan::BeforeTheRequest,
    Plan::Tls,
    Plan::Ssh,
    Plan::Silent,
];

#[derive(Debug, Clone)]
enum Act {
    Bytes(Vec<u8>),
    Fin,
    Reset,
}

/// A connection, seen from both ends.
struct Socket {
    /// What the server does, and when.
    script: VecDeque<(Duration, Act)>,
    /// What of a request has come to it.
    inbox: Vec<u8>,
    /// It takes so many bytes at a time, and then again after a pause.
    takes: usize,
    takes_at: Duration,
}

enum Dialling {
    Not,
    Until(Duration, bool),
}

#[derive(Debug, Default)]
struct Sums {
    answers: u64,
    troubles: u64,
    slow: u64,
    connections: u64,
    dialled_again: u64,
    refused_dials: u64,
}

struct World {
    dice: Dice,
    now: Duration,
    client: Client,
    /// Nobody needs a body.
    by_heads: bool,
    dialling: Dialling,
    socket: Option<Socket>,
    plan: Plan,
    /// What it means, once the server has decided.
    meant: Option<(u16, Vec<u8>)>,
    hops: u8,
    begun: Duration,
    sent_at: Option<Duration>,
    next: Duration,
    grants_at: Option<Duration>,
    dial_failed: bool,
    due_steps: u32,
    sums: Sums,
}

fn good(dice: &mut Dice, status: u16, body: &[u8], may_end: bool) -> (Vec<u8>, bool) {
    let mut bytes = format!("HTTP/1.1 {status} Said\r\nServer: x\r\n").into_bytes();
    let closes = dice.chance(20);
    if closes {
        bytes.extend(b"Connection: close\r\n");
    }
    match dice.below(if may_end { 3 } else { 2 }) {
        0 => {
            bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            bytes.extend(body);
        }
        1 => {
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            let mut rest = body;
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(rest.len().min(1 + dice.below(9_000)));
                let extension = if dice.chance(20) { ";a=b" } else { "" };
                bytes.extend(format!("{:x}{extension}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
                rest = after;
            }
            bytes.extend(if dice.chance(20) { &b"0\r\nTrailer: x\r\n\r\n"[..] } else { b"0\r\n\r\n" });
        }
        _ => {
            bytes.extend(b"\r\n");
            bytes.extend(body);
            return (bytes, true);
        }
    }
    (bytes, closes)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let rules = Rules { asks_for_room: dice.chance(50), ..RULES };
        let client = Client::new(Url::parse("http://me:s3cret@h:81/log").unwrap(), None, rules);
        let by_heads = !rules.asks_for_room && dice.chance(50);
        Self {
            client: if by_heads { client.by_heads() } else { client },
            by_heads,
            dice,
            now: Duration::ZERO,
            dialling: Dialling::Not,
            socket: None,
            plan: Plan::Good,
            meant: None,
            hops: 0,
            begun: Duration::ZERO,
            sent_at: None,
            next: Duration::ZERO,
            grants_at: None,
            dial_failed: false,
            due_steps: 0,
            sums: Sums::default(),
        }
    }

    fn live(mut self) -> Sums {
        while self.now < HOUR || !self.client.is_idle() {
            let mut steps = 0;
            while self.step() {
                steps += 1;
                assert!(steps < 200_000, "it spins");
                assert!(self.client.held() <= MOST_HELD, "{} bytes are held", self.client.held());
            }
            assert_ne!(self.client.due_in(self.now), Some(Duration::ZERO), "it is due, and there was nothing to do");
            self.now = self.next_moment();
        }
        self.sums
    }

    fn next_moment(&mut self) -> Duration {
        let mut moments = vec![self.client.due_in(self.now).map(|wait| self.now + wait), self.grants_at];
        moments.push(self.client.is_idle().then_some(self.next));
        if let Dialling::Until(moment, _) = self.dialling {
            moments.push(Some(moment));
        }
        if let Some(socket) = &self.socket {
            let is_read = self.client.room_wanted().is_none();
            moments.push(socket.script.front().filter(|_| is_read).map(|act| act.0));
            moments.push(
                (!self.client.unsent()[0].is_empty() || !self.client.unsent()[1].is_empty()).then_some(socket.takes_at),
            );
        }
        let next = moments.into_iter().flatten().filter(|moment| *moment > self.now).min();
        next.expect("something is waited for")
    }

    /// What an owner does; true if anything was done.
    fn step(&mut self) -> bool {
        let before = self.client.due_in(self.now);
        self.client.tick(self.now);
        if before == Some(Duration::ZERO) {
            // A body is unpacked in a few steps; all else that is due is over with the first.
            self.due_steps += 1;
            assert!(self.due_steps < 5, "a tick that is due does something");
            return true;
        }
        self.due_steps = 0;
        if self.client.must_close() {
            self.client.closed();
            (self.socket, self.dialling) = (None, Dialling::Not);
            return true;
        }
        if let Some(result) = self.client.result() {
            self.judge(result);
            return true;
        }
        self.dial() || self.talk() || self.grant() || self.begin()
    }

    fn begin(&mut self) -> bool {
        if !self.client.is_idle() || self.now < self.next || self.now >= HOUR {
            return false;
        }
        self.plan = PLANS[self.dice.below(PLANS.len())];
        if self.dice.chance(4) {
            self.plan = if self.dice.chance(50) { Plan::HangsUp } else { Plan::Garbage };
        }
        (self.meant, self.hops, self.sent_at, self.dial_failed) = (None, 0, None, false);
        self.begun = self.now;
        let is_post = self.plan == Plan::EarlyRefusal || self.dice.chance(20);
        let is_redirect =
            matches!(self.plan, Plan::GoodAfterRedirects(_) | Plan::RedirectLoop | Plan::RedirectElsewhere);
        let mut request = Request { takes_gzip: true, ..Request::default() };
        if is_post && !is_redirect {
            let len = 1 + self.dice.below(200_000);
            (request.method, request.body) = (Method::Post, vec![b'l'; len]);
        }
        self.client.begin(request, self.now);
        true
    }

    fn dial(&mut self) -> bool {
        match self.dialling {
            Dialling::Not if self.client.wants_connection() => {
                let after = match self.dice.below(10) {
                    0 => Duration::from_secs(100),
                    1 => self.dice.millis(12_000),
                    _ => self.dice.millis(50),
                };
                let fails = self.dice.chance(5);
                self.dialling = Dialling::Until(self.now + after, fails);
                true
            }
            Dialling::Until(moment, fails) if self.now >= moment => {
                self.dialling = Dialling::Not;
                if fails {
                    self.dial_failed = true;
                    self.sums.refused_dials += 1;
                    self.client.lost("connection refused", self.now);
                    return true;
                }
                self.sums.connections += 1;
                let takes = [200_000, 200_000, 20_000, 1_000, 10][self.dice.below(5)];
                let mut socket = Socket { script: VecDeque::new(), inbox: Vec::new(), takes, takes_at: self.now };
                if self.plan == Plan::BeforeTheRequest {
                    let early = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".to_vec();
                    socket.script.push_back((self.now, Act::Bytes(early)));
                    socket.takes_at += Duration::from_millis(1);
                }
                self.socket = Some(socket);
                self.client.connected(self.now);
                true
            }
            _ => false,
        }
    }

    fn talk(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        let is_due = socket.script.front().is_some_and(|act| act.0 <= self.now);
        if is_due && self.client.room_wanted().is_none() {
            match socket.script.pop_front().unwrap().1 {
                Act::Bytes(bytes) => self.client.received(&bytes, self.now),
                Act::Fin => self.client.ended(self.now),
                Act::Reset => self.client.lost("connection reset", self.now),
            }
            return true;
        }
        let unsent = self.client.unsent().concat();
        if unsent.is_empty() || self.now < socket.takes_at {
            return false;
        }
        let count = unsent.len().min(socket.takes);
        socket.inbox.extend(&unsent[..count]);
        socket.takes_at = self.now + Duration::from_millis(20);
        self.client.sent(count, self.now);
        self.sent_at = (count == unsent.len()).then_some(self.now);
        self.serve();
        true
    }

    /// The server looks at what has come.
    fn serve(&mut self) {
        let Some(socket) = &mut self.socket else { return };
        let Some(head) = socket.inbox.windows(4).position(|end| end == b"\r\n\r\n") else { return };
        let text = String::from_utf8(socket.inbox[..head].to_vec()).unwrap();
        let len =
            text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |len| len.parse().unwrap());
        let all = head + 4 + len;
        let is_early = self.plan == Plan::EarlyRefusal && socket.script.is_empty();
        if socket.inbox.len() < all && !is_early {
            return;
        }
        assert!(text.contains("\r\nAuthorization: Basic ") && text.contains("\r\nHost: h:81\r\n"), "{text}");
        socket.inbox.drain(..all.min(socket.inbox.len()));
        let (bytes, end) = self.answer();
        let slowest = match self.plan {
            Plan::ByteByByte => 400,
            _ => [1, 20, 3_000][self.dice.below(3)],
        };
        let longest = if self.plan == Plan::ByteByByte { 1 } else { 20_000 };
        let mut at = self.now + self.dice.millis(100);
        let (mut script, mut rest) = (VecDeque::new(), &bytes[..]);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(1 + self.dice.below(longest)));
            script.push_back((at, Act::Bytes(piece.to_vec())));
            at += self.dice.millis(slowest);
            rest = after;
        }
        script.extend(end.map(|act| (at, act)));
        if let Some(socket) = &mut self.socket {
            socket.script = script;
        }
    }

    /// The bytes of an answer, and how the connection ends behind it.
    fn answer(&mut self) -> (Vec<u8>, Option<Act>) {
        let dice = &mut self.dice;
        let len = [0, 1, 100, 49_999, 50_000][dice.below(5)];
        let start = dice.below(26);
        let body: Vec<u8> = (0..len).map(|at| b'a' + ((start + at * at / 7) % 26).to_le_bytes()[0]).collect();
        let location =
            |to: String| format!("HTTP/1.1 302 Moved\r\nLocation: {to}\r\nContent-Length: 5\r\n\r\nmoved").into_bytes();
        self.hops += 1;
        let mut repeated = |part: &[u8], bytes: usize, start: &[u8]| {
            self.meant = None;
            [start, &part.repeat(bytes / part.len())].concat()
        };
        match self.plan {
            Plan::GoodAfterRedirects(hops) if self.hops <= hops => (location(format!("/{}", self.hops)), None),
            Plan::Good | Plan::GoodAfterRedirects(_) | Plan::BeforeTheRequest | Plan::ByteByByte => {
                let (bytes, closes) = good(dice, 200, &body, true);
                self.meant = Some((200, body));
                (bytes, closes.then_some(Act::Fin))
            }
            Plan::RedirectLoop => (location("/log".to_owned()), None),
            Plan::RedirectElsewhere => (location("http://me:s3cret@other/".to_owned()), None),
            Plan::Error(status) => {
                let body = &body[..body.len().min(200)];
                let (bytes, closes) = good(dice, status, body, true);
                self.meant = Some((status, body.to_vec()));
                (bytes, closes.then_some(Act::Fin))
            }
            Plan::EarlyRefusal => {
                let (bytes, _) = good(dice, 413, b"too large", false);
                self.meant = Some((413, b"too large".to_vec()));
                (bytes, Some(if dice.chance(50) { Act::Fin } else { Act::Reset }))
            }
            Plan::EndlessHead => (repeated(b"X: y\r\n", 100_000, b"HTTP/1.1 200 OK\r\n"), None),
            Plan::EndlessBody => (repeated(b"line\n", 500_000, b"HTTP/1.1 200 OK\r\n\r\n"), None),
            Plan::EndlessError => {
                let bytes = repeated(b"e", 500_000, b"HTTP/1.1 503 No\r\n\r\n");
                self.meant = Some((503, vec![b'e'; 16_384]));
                (bytes, None)
            }
            Plan::TooShort => (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort".to_vec(), Some(Act::Fin)),
            Plan::TooLong => {
                self.meant = Some((200, b"long".to_vec()));
                (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlonger".to_vec(), None)
            }
            Plan::CutByReset => (b"HTTP/1.1 200 OK\r\n\r\nhalf of i".to_vec(), Some(Act::Reset)),
            Plan::Storm => (repeated(b"HTTP/1.1 100 Continue\r\n\r\n", 90_000, b""), None),
            Plan::FewInterim => {
                let (bytes, closes) = good(dice, 200, &body, true);
                self.meant = Some((200, body));
                let few = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(dice.below(1 + MOST_INTERIM));
                ([few, bytes].concat(), closes.then_some(Act::Fin))
            }
            Plan::Bomb => (packed(&[0; 200_000]), Some(Act::Fin)),
            Plan::Packed => {
                let bytes = packed(&body);
                self.meant = Some((200, body));
                (bytes, Some(Act::Fin))
            }
            other => stranger(other, dice),
        }
    }

    fn grant(&mut self) -> bool {
        match (self.client.room_wanted(), self.grants_at) {
            (None, _) => {
                self.grants_at = None;
                false
            }
            (Some(bytes), None) => {
                assert!(bytes <= 2 * RULES.most_body);
                let after = if self.dice.chance(5) { 40_000 } else { 200 };
                self.grants_at = Some(self.now + self.dice.millis(after));
                true
            }
            (Some(_), Some(moment)) if self.now >= moment => {
                self.grants_at = None;
                self.client.grant(self.now);
                true
            }
            _ => false,
        }
    }

    /// Whether that is what may come of the plan.
    fn judge(&mut self, result: Result<Answer, Trouble>) {
        let took = self.now - self.begun;
        assert!(took <= RULES.whole, "{:?} took {took:?}", self.plan);
        let shown = format!("{result:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        let pause = [self.dice.millis(100), Duration::from_secs(1), Duration::from_secs(20)][self.dice.below(3)];
        self.next = self.now + pause;
        self.idle_mischief(pause);
        match result {
            Ok(answer) if self.by_heads => {
                self.sums.answers += 1;
                let is_left = matches!(self.plan, Plan::EndlessBody | Plan::TooShort | Plan::CutByReset | Plan::Bomb);
                let meant = self.meant.take().map(|(status, _)| status).or(is_left.then_some(200));
                assert_eq!((Some(answer.status), answer.body.len()), (meant, 0), "{:?}", self.plan);
            }
            Ok(answer) => {
                self.sums.answers += 1;
                let (status, body) =
                    self.meant.take().unwrap_or_else(|| panic!("{:?} meant nothing: {shown}", self.plan));
                assert_eq!(answer.status, status, "{:?}", self.plan);
                // The words of an error may be cut by the end of its time.
                let is_whole = answer.body == body || (status >= 400 && body.starts_with(&answer.body));
                assert!(is_whole, "{:?}: {} bytes of {}", self.plan, answer.body.len(), body.len());
            }
            Err(trouble) if trouble.is_slow() || matches!(trouble, Trouble::NoRoom(_)) => {
                self.sums.slow += 1;
                let is_head = self.sent_at.is_some_and(|sent_at| self.now - sent_at >= RULES.head);
                assert!(took == RULES.whole || is_head, "{:?} after {took:?}: {trouble}", self.plan);
            }
            Err(Trouble::Io(why)) if self.dial_failed => assert_eq!(why, "connection refused"),
            Err(trouble) => {
                self.sums.troubles += 1;
                let is_right = match self.plan {
                    Plan::RedirectLoop => trouble == Trouble::Redirects,
                    Plan::RedirectElsewhere => trouble == Trouble::Elsewhere("http://other/".to_owned()),
                    Plan::EndlessHead => trouble == Trouble::HeadTooLong,
                    Plan::EndlessBody | Plan::Bomb => trouble.is_too_long(),
                    Plan::TooShort => trouble.is_cut(),
                    Plan::CutByReset | Plan::EarlyRefusal => matches!(trouble, Trouble::Io(_)),
                    Plan::Storm => matches!(trouble, Trouble::Malformed(_)),
                    Plan::BeforeTheRequest => trouble == Trouble::Unasked,
                    Plan::Tls => trouble == Trouble::Tls,
                    Plan::Ssh | Plan::Garbage => matches!(trouble, Trouble::NotHttp(_)),
                    Plan::HangsUp => trouble == Trouble::Silent,
                    _ => false,
                };
                assert!(is_right, "{:?}: {trouble}", self.plan);
            }
        }
    }

    /// A kept connection may end, or say something, before the next request.
    fn idle_mischief(&mut self, pause: Duration) {
        let Some(socket) = self.socket.as_mut().filter(|_| !self.client.must_close()) else { return };
        // What was sent behind the answer would come, too.
        socket.script.retain(|(_, act)| !matches!(act, Act::Bytes(_)));
        let end = match self.dice.below(8) {
            0 => Act::Fin,
            1 => Act::Reset,
            2 => Act::Bytes(b"HTTP/1.1 408 Timeout\r\n\r\n".to_vec()),
            _ => return,
        };
        // The end may come together with the next request, and then that is sent again.
        let is_together = !matches!(end, Act::Bytes(_)) && self.dice.chance(50);
        self.sums.dialled_again += u64::from(is_together);
        let at = if is_together { self.next } else { self.now + pause / 2 };
        socket.script.push_front((at, end));
        if is_together {
            socket.takes = usize::MAX;
        }
    }
}

/// What is no answer at all.
fn stranger(plan: Plan, dice: &mut Dice) -> (Vec<u8>, Option<Act>) {
    match plan {
        Plan::Tls => (b"\x15\x03\x03\x00\x02\x02\x46".to_vec(), Some(Act::Fin)),
        Plan::Ssh => (b"SSH-2.0-OpenSSH_9.2\r\nInvalid SSH identification string.\r\n".to_vec(), Some(Act::Fin)),
        Plan::HangsUp => (Vec::new(), Some(Act::Fin)),
        Plan::Garbage => ((0..900).map(|_| 128 + dice.below(128).to_le_bytes()[0]).collect(), Some(Act::Fin)),
        _ => (Vec::new(), None),
    }
}

#[cfg(feature = "compress")]
fn packed(body: &[u8]) -> Vec<u8> {
    let deflated = miniz_oxide::deflate::compress_to_vec(body, 6);
    let table: Vec<u32> = (0..256_u32)
        .map(|byte| (0..8).fold(byte, |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }))
        .collect();
    let crc = body.iter().fold(u32::MAX, |crc, byte| table[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ crc >> 8);
    let len = u32::try_from(body.len()).unwrap();
    let head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\0\0\0\0\0\0\x03";
    [&head[..], &deflated, &(!crc).to_le_bytes(), &len.to_le_bytes()].concat()
}

#[cfg(not(feature = "compress"))]
fn packed(body: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\n\r\n", body].concat()
}

#[test]
fn hours_with_servers_of_every_kind() {
    let number = |text: &str| text.parse::<u64>().unwrap();
    let one = std::env::var("HTTP_SEED").ok().map(|seed| number(&seed)..number(&seed) + 1);
    let many = std::env::var("HTTP_SEEDS").ok();
    let many = many.map(|seeds| seeds.split_once("..").map(|(from, to)| number(from)..number(to)).unwrap());
    let mut sums = Sums::default();
    for seed in one.or(many).unwrap_or(0..8) {
        let Ok(world) = std::panic::catch_unwind(|| World::new(seed).live()) else {
            panic!("again: HTTP_SEED={seed} cargo test --features poll --lib http::worlds");
        };
        sums.answers += world.answers;
        sums.troubles += world.troubles;
        sums.slow += world.slow;
        sums.connections += world.connections;
        sums.dialled_again += world.dialled_again;
        sums.refused_dials += world.refused_dials;
    }
    println!("{sums:?}");
    let is_eventful = sums.answers > 500 && sums.troubles > 500 && sums.slow > 200 && sums.dialled_again > 20;
    assert!(is_eventful || std::env::vars().any(|(name, _)| name.starts_with("HTTP_SEED")), "{sums:?}");
}
