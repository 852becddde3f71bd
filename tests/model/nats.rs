//! A publisher's talk with a model of a server: a stream that checks what is expected, and that loses its tail, has old messages
//! removed, loses, delays and shuffles answers, dies, cuts bytes anywhere, takes late copies of old batches, and answers
//! look-ups from the past. Whatever happened, in the end each line is in the stream once and in order, unless it was removed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lumberjack::internals::nats::credentials::Credentials;
use lumberjack::internals::nats::session::Event;
use lumberjack::internals::nats::subject::{misread_stream, token};
use lumberjack::internals::nats::{Lines, Position, Segment, Session, Settings, Url};

use super::{Script, Shown, Story};

const STREAM: &str = "LOGS";
const SUBJECT: &str = "logs.box";
const BOX: [u8; 16] = [7; 16];
/// More steps than that to come to rest are a loop.
const MOST_STEPS: usize = 20_000;
/// The longest that a tick may be away: a ping.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A message in the stream.
#[derive(Debug, Clone)]
struct Message {
    sequence: u64,
    /// Its headers, and the numbers and texts of its lines; `None`: another subject's.
    ours: Option<(String, Vec<u64>)>,
}

/// A batch on its way to the stream.
#[derive(Debug, Clone)]
struct Batch {
    reply: String,
    headers: String,
    payload: Vec<u8>,
}

/// The stream, and what is the matter with it.
#[derive(Debug, Default)]
struct Server {
    messages: Vec<Message>,
    last_sequence: u64,
    /// As an old leader remembers it, for so many look-ups.
    past: Option<(Vec<Message>, u64, u8)>,
    /// Lines that retention has removed.
    removed: BTreeSet<u64>,
    /// It has lost its tail, and nobody has heard of an ack since.
    has_lost: bool,
    max_payload: usize,
    max_msg_size: usize,
    /// So many answers are lost.
    lost_answers: u8,
    /// The next batches are refused with this code, and stored or not.
    refusal: Option<(u32, bool, u8)>,
    /// Batches of connections that are over.
    late: Vec<Batch>,
    tail_losses: u64,
}

/// One connection.
#[derive(Debug, Default)]
struct Link {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// Answers that are not on their way yet.
    answers: Vec<String>,
    inbox: String,
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_u32, |word, at| word << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = DIGITS[usize::try_from(word >> (18 - 6 * at) & 63).unwrap()];
            text.push(if at > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

fn text_of(number: u64) -> String {
    let len = usize::try_from(number * 7 % 60).unwrap();
    format!("{number} {}", "x".repeat(if number % 23 == 5 { 40 * len } else { len }))
}

fn header<'a>(headers: &'a str, name: &str) -> &'a str {
    let line = headers.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {headers}"));
    line.split_once(": ").unwrap().1
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for message in &self.messages {
            let numbers = message.ours.as_ref().map(|(_, numbers)| (numbers.first().copied(), numbers.last().copied()));
            match numbers {
                Some((Some(first), Some(last))) => write!(f, "{}: {first}-{last}, ", message.sequence)?,
                _ => write!(f, "{}: -, ", message.sequence)?,
            }
        }
        write!(f, "last {}", self.last_sequence)
    }
}

impl Server {
    fn last_of_ours(messages: &[Message]) -> Option<&Message> {
        messages.iter().rev().find(|message| message.ours.is_some())
    }

    fn answer(&mut self, reply: &str, body: &str) -> Option<String> {
        if self.lost_answers > 0 {
            self.lost_answers -= 1;
            return None;
        }
        Some(format!("MSG {reply} 1 {}\r\n{body}\r\n", body.len()))
    }

    /// What the stream says to a batch; it is stored if it is right.
    fn store(&mut self, batch: &Batch) -> Option<String> {
        assert_eq!(header(&batch.headers, "Nats-Expected-Stream"), STREAM);
        let expected: u64 = header(&batch.headers, "Nats-Expected-Last-Subject-Sequence").parse().unwrap();
        let last = Self::last_of_ours(&self.messages).map_or(0, |message| message.sequence);
        let total = batch.headers.len() + batch.payload.len();
        let refused = |code: u32, said: &str| {
            format!(
                r#"{{"error":{{"code":400,"err_code":{code},"description":"{said}"}},"stream":"{STREAM}","seq":0}}"#
            )
        };
        let (mut said, mut is_stored) = match () {
            () if total > self.max_msg_size => (refused(10054, "message size exceeds maximum allowed"), false),
            () if expected != last => (refused(10071, &format!("wrong last sequence: {last}")), false),
            () => (format!(r#"{{"stream":"{STREAM}","seq":{}}}"#, self.last_sequence + 1), true),
        };
        if let Some((code, stores, times)) = self.refusal {
            self.refusal = (times > 1).then_some((code, stores, times.saturating_sub(1)));
            is_stored &= stores;
            said = refused(code, "no");
        }
        if is_stored {
            self.last_sequence += 1;
            let lines = header(&batch.headers, "Lumberjack-Lines").split_once('-').unwrap();
            let numbers: Vec<u64> = batch.payload.split(|byte| *byte == b'\n').map(number_of).collect();
            let (first, last): (u64, u64) = (lines.0.parse().unwrap(), lines.1.parse().unwrap());
            assert_eq!((numbers.first(), numbers.last()), (Some(&first), Some(&last)));
            self.messages.push(Message { sequence: self.last_sequence, ours: Some((batch.headers.clone(), numbers)) });
        }
        self.answer(&batch.reply, &said)
    }

    /// What it says to a question.
    fn ask(&mut self, subject: &str, reply: &str, body: &str) -> Option<String> {
        let question = subject.strip_prefix("$JS.API.STREAM.").unwrap().strip_suffix(&format!(".{STREAM}")).unwrap();
        let (messages, last) = match &mut self.past {
            Some((messages, last, times)) if *times > 0 => {
                *times -= 1;
                (messages.clone(), *last)
            }
            _ => (self.messages.clone(), self.last_sequence),
        };
        let none = r#"{"type":"x","error":{"code":404,"err_code":10037,"description":"no message found"}}"#.to_owned();
        let shown = |message: &Message| match &message.ours {
            Some((headers, numbers)) => format!(
                r#"{{"type":"x","message":{{"subject":"{SUBJECT}","seq":{},"hdrs":"{}","data":"{}"}}}}"#,
                message.sequence,
                base64(headers.as_bytes()),
                "eA==".repeat(numbers.len()),
            ),
            None => format!(
                r#"{{"type":"x","message":{{"subject":"logs.other","seq":{},"data":"YWJj"}}}}"#,
                message.sequence
            ),
        };
        let said = match question {
            "INFO" => format!(
                r#"{{"config":{{"subjects":["logs.\u003e"],"retention":"limits","max_msg_size":{}}},"state":{{"last_seq":{last}}}}}"#,
                self.max_msg_size
            ),
            "MSG.GET" if body.contains("last_by_subj") => {
                assert_eq!(body, format!(r#"{{"last_by_subj":"{SUBJECT}"}}"#));
                Self::last_of_ours(&messages).map_or(none, shown)
            }
            "MSG.GET" => {
                let sequence: u64 = body.strip_prefix("{\"seq\":").unwrap().strip_suffix('}').unwrap().parse().unwrap();
                messages.iter().find(|message| message.sequence == sequence).map_or(none, shown)
            }
            other => panic!("nobody asks for {other}"),
        };
        self.answer(reply, &said)
    }

    /// Reads what a client sent, as far as it is whole.
    fn read(&mut self, link: &mut Link) {
        loop {
            let Some(end) = link.to_server.iter().position(|byte| *byte == b'\n') else { return };
            let line = String::from_utf8(link.to_server[..end].to_vec()).unwrap();
            let words: Vec<&str> = line.trim_end().split(' ').collect();
            let body_len: usize = match words[0] {
                "PUB" | "HPUB" => words.last().unwrap().parse().unwrap(),
                _ => 0,
            };
            let whole = end + 1 + if body_len > 0 || words[0].ends_with("PUB") { body_len + 2 } else { 0 };
            if link.to_server.len() < whole {
                return;
            }
            let body: Vec<u8> = link.to_server[end + 1..whole].to_vec();
            let (line, words) = (line.clone(), words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
            link.to_server.drain(..whole);
            match words[0].as_str() {
                "CONNECT" => assert!(line.contains(r#""headers":true,"no_responders":true,"echo":false"#), "{line}"),
                "PING" => link.to_client.extend(b"PONG\r\n"),
                "PONG" => {}
                "SUB" => link.inbox = words[1].strip_suffix(".*").unwrap().to_owned(),
                "PUB" => {
                    assert!(words[2].starts_with(&link.inbox) && !link.inbox.is_empty());
                    let body = String::from_utf8(body[..body_len].to_vec()).unwrap();
                    link.answers.extend(self.ask(&words[1], &words[2], &body));
                }
                "HPUB" => {
                    if body_len > self.max_payload {
                        link.to_client.extend(b"-ERR 'Maximum Payload Violation'\r\n");
                        continue;
                    }
                    let batch = batch_of(&words, &body[..body_len]);
                    link.answers.extend(self.store(&batch));
                }
                other => panic!("a client says {other}"),
            }
        }
    }

    /// What is still on its way when a connection ends may come later, whole batches of it.
    fn keep_late(&mut self, link: &mut Link) {
        self.lost_answers = u8::MAX;
        let before = self.messages.len();
        let mut stored = Server { max_payload: usize::MAX, ..Server::default() };
        std::mem::swap(&mut stored.late, &mut self.late);
        let mut rest = std::mem::take(&mut link.to_server);
        // A twin of the reading above, which only looks for batches.
        while let Some(at) = rest.windows(5).position(|word| word == b"HPUB ") {
            rest.drain(..at);
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { break };
            let line = String::from_utf8_lossy(&rest[..end]).trim_end().to_owned();
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let Some(len) = words.last().and_then(|len| len.parse::<usize>().ok()) else { break };
            if rest.len() < end + 1 + len + 2 {
                break;
            }
            stored.late.push(batch_of(&words, &rest[end + 1..end + 1 + len]));
            rest.drain(..end + 1 + len);
        }
        std::mem::swap(&mut stored.late, &mut self.late);
        self.lost_answers = 0;
        assert_eq!(before, self.messages.len());
    }
}

fn batch_of(words: &[String], body: &[u8]) -> Batch {
    let header_len: usize = words[3].parse().unwrap();
    assert_eq!((words.len(), words[1].as_str()), (5, SUBJECT));
    let headers = String::from_utf8(body[..header_len].to_vec()).unwrap();
    assert!(headers.starts_with("NATS/1.0\r\n") && headers.ends_with("\r\n\r\n"), "{headers}");
    Batch { reply: words[2].clone(), headers, payload: body[header_len..].to_vec() }
}

fn number_of(line: &[u8]) -> u64 {
    let text = str::from_utf8(line).unwrap();
    let number = text.split_once(' ').unwrap().0.parse().unwrap();
    assert_eq!(text, text_of(number), "the line as it was");
    number
}

/// The client's process and its spool, the server, and what is between them.
struct World {
    session: Session,
    now: Duration,
    link: Option<Link>,
    server: Server,
    /// The numbers of all lines, and the segment of each.
    lines: BTreeMap<u64, Segment>,
    segment: Segment,
    next_number: u64,
    segments: BTreeSet<(u64, [u8; 16])>,
    /// What an output's position has on the disk.
    stored: Option<Position>,
    acked: Option<Position>,
    /// Lines that were too long for a message.
    passed: BTreeSet<u64>,
    random: u8,
    rewound: u64,
    did: Vec<String>,
    input: Vec<u8>,
}

fn settings(position: Option<Position>) -> Settings {
    Settings {
        stream: STREAM.to_owned(),
        subject: SUBJECT.to_owned(),
        box_id: BOX,
        client: "a \"box\"".to_owned(),
        position,
        ..Settings::default()
    }
}

impl World {
    fn new() -> Self {
        Self {
            session: Session::new(settings(None)),
            now: Duration::ZERO,
            link: None,
            server: Server { max_payload: 1 << 20, max_msg_size: 1 << 20, ..Server::default() },
            lines: BTreeMap::new(),
            segment: Segment { first: 1, salt: [1; 16] },
            next_number: 1,
            segments: BTreeSet::from([(1, [1; 16])]),
            stored: None,
            acked: None,
            passed: BTreeSet::new(),
            random: 0,
            rewound: 0,
            did: Vec::new(),
            input: Vec::new(),
        }
    }

    fn connect(&mut self) {
        if self.link.is_some() {
            return;
        }
        self.random = self.random.wrapping_add(1);
        self.session.connected([self.random; 12], self.now);
        let mut link = Link::default();
        link.to_client.extend(self.info("").bytes());
        self.link = Some(link);
    }

    fn info(&self, more: &str) -> String {
        let max_payload = self.server.max_payload;
        format!(
            "INFO {{\"server_id\":\"N\",\"server_name\":\"n1\",\"version\":\"2.14.0\",\"headers\":true,\"max_payload\":{max_payload}{more}}} \r\n"
        )
    }

    fn cut(&mut self, is_late: bool) {
        if let Some(mut link) = self.link.take() {
            if is_late {
                self.server.keep_late(&mut link);
            }
            self.session.disconnected();
        }
    }

    /// The client writes so many bytes.
    fn write(&mut self, most: usize) {
        let Some(link) = &mut self.link else { return };
        let bytes = self.session.unsent().concat();
        assert!(bytes.len() < (1 << 20) + 200_000, "what waits is bounded");
        let taken = most.min(bytes.len());
        link.to_server.extend_from_slice(&bytes[..taken]);
        self.session.sent(taken, self.now);
    }

    /// The client reads so many bytes.
    fn read(&mut self, most: usize) {
        let Some(link) = &mut self.link else { return };
        let taken: Vec<u8> = link.to_client.drain(..most.min(link.to_client.len())).collect();
        let (segments, highest) = (&self.segments, self.next_number);
        let mut known =
            |lines: &Lines| segments.contains(&(lines.segment.first, lines.segment.salt)) && lines.last < highest;
        self.session.receive(&taken, self.now, &mut known);
        self.hear();
    }

    fn hear(&mut self) {
        let mut rewound = None;
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Acked(position) | Event::Found(position) => {
                    let is_lower = self.acked.is_some_and(|acked| position.acked < acked.acked);
                    let was_rewound = rewound.take().is_some();
                    assert!(!is_lower || was_rewound, "back to {position:?} from {:?}, unsaid", self.acked);
                    self.acked = Some(position);
                    self.server.has_lost = false;
                }
                Event::Rewound { first, last } => {
                    assert!(first <= last && self.acked.is_some_and(|acked| acked.acked == last), "{first} to {last}");
                    assert!(self.server.tail_losses > 0 || !self.server.removed.is_empty(), "nothing was lost");
                    self.rewound += 1;
                    rewound = Some((first, last));
                }
                Event::Close { .. } => self.cut(true),
                Event::Ready(stream) => assert_eq!(stream.subjects, "logs.>"),
                Event::Trouble(trouble) => self.did.push(format!("said: {trouble}")),
                Event::Servers(_) | Event::Unacked(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(rewound.is_none(), "an ack is told with it");
        if self.session.is_urgent() {
            self.stored = self.acked;
        }
    }

    fn tick(&mut self, by: Duration) {
        self.now += by;
        self.session.tick(self.now);
        self.hear();
        let due = self.session.due_in(self.now);
        assert!(due.is_none_or(|due| due <= LONGEST_WAIT && due > Duration::ZERO), "nothing is left to do: {due:?}");
    }

    /// Publishes what is wanted, of so many lines at most.
    fn publish(&mut self, most: usize) {
        let Some(wanted) = self.session.wants() else { return };
        let mut payload = self.session.spare();
        assert!(payload.is_empty());
        let mut batch: Option<Lines> = None;
        for (number, segment) in self.lines.range(wanted.from..).take(most) {
            let text = text_of(*number);
            let total = payload.len() + text.len() + usize::from(batch.is_some());
            let is_other_segment = batch.is_some_and(|batch| batch.segment != *segment);
            if batch.is_some() && (total > wanted.aim || is_other_segment) {
                break;
            }
            if total > wanted.most {
                self.passed.insert(*number);
                continue;
            }
            if batch.is_some() {
                payload.push(b'\n');
            }
            payload.extend_from_slice(text.as_bytes());
            let first = batch.map_or(*number, |batch| batch.first);
            batch = Some(Lines { first, last: *number, segment: *segment });
        }
        if let Some(batch) = batch {
            self.session.publish(batch, payload, self.now);
        }
    }

    fn add_lines(&mut self, count: usize) {
        for _ in 0..count {
            self.lines.insert(self.next_number, self.segment);
            self.next_number += 1;
        }
    }

    /// The process ends without a word, and another begins with what was on the disk.
    fn restart(&mut self, jump: u64, is_forgotten: bool) {
        self.cut(true);
        self.next_number += jump;
        let salt = self.segment.salt[0].wrapping_add(1);
        self.segment = Segment { first: self.next_number, salt: [salt; 16] };
        self.segments.insert((self.segment.first, self.segment.salt));
        if is_forgotten {
            self.stored = None;
        }
        self.acked = self.stored;
        self.session = Session::new(settings(self.stored));
    }

    /// The stream is back at an earlier state: acked messages are gone. So are batches that were on their way in it.
    fn lose_tail(&mut self, count: usize) {
        let keep = self.server.messages.len().saturating_sub(count);
        self.server.messages.truncate(keep);
        let first = self.server.messages.first().map_or(self.server.last_sequence, |message| message.sequence);
        let lost = u64::try_from(count).unwrap();
        self.server.last_sequence = self
            .server
            .messages
            .last()
            .map_or_else(|| self.server.last_sequence.saturating_sub(lost).min(first), |message| message.sequence);
        self.server.late.clear();
        self.server.past = None;
        self.server.has_lost = true;
        self.server.tail_losses += 1;
        self.cut(false);
    }

    /// Old messages are removed.
    fn remove(&mut self, count: usize) {
        // A tail that was lost, and then all that is left of ours removed, before a rewind is written down: nobody could tell
        // that from a removal alone.
        if self.server.has_lost {
            return;
        }
        let count = count.min(self.server.messages.len());
        for message in self.server.messages.drain(..count) {
            self.server.removed.extend(message.ours.into_iter().flat_map(|(_, numbers)| numbers));
        }
    }

    fn deliver_answers(&mut self, order: usize, count: usize) {
        let Some(link) = &mut self.link else { return };
        for _ in 0..count.min(link.answers.len()) {
            let answer = link.answers.remove(order % link.answers.len());
            link.to_client.extend(answer.bytes());
        }
    }

    fn serve(&mut self) {
        if let Some(link) = &mut self.link {
            self.server.read(link);
        }
    }

    /// Everything goes its way.
    fn flow(&mut self) {
        self.connect();
        self.publish(usize::MAX);
        self.write(usize::MAX);
        self.serve();
        self.deliver_answers(0, usize::MAX);
        let is_idle = self.link.as_ref().is_some_and(|link| link.to_client.is_empty());
        self.read(usize::MAX);
        let due = self.session.due_in(self.now).unwrap_or(Duration::from_millis(100));
        self.tick(if is_idle { due } else { Duration::from_millis(1) });
    }

    fn is_at_rest(&self) -> bool {
        let last = self.lines.keys().rev().find(|number| !self.passed.contains(number)).copied().unwrap_or(0);
        let is_ready = self.session.wants().is_some_and(|wanted| wanted.from > last);
        is_ready && self.server.late.is_empty()
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let (what, how) = (script.byte(), script.byte());
        let count = usize::from(how);
        let state = self.session.status().state;
        self.did.push(format!("{} {how} ({state}, {})", what % 32, self.server));
        match what % 32 {
            0..=5 => self.flow(),
            6 => self.connect(),
            7 | 8 => self.write(count * 8),
            9 | 10 => self.serve(),
            11 | 12 => self.deliver_answers(count, 1 + count % 3),
            13 | 14 => self.read(count),
            15 | 16 => self.add_lines(count % 16),
            17 => self.publish(1 + count % 8),
            18 => self.tick(Duration::from_millis(u64::from(how) * 50)),
            19 => self.cut(count % 2 == 0),
            20 => self.lose_tail(count % 8),
            21 => self.remove(count % 12),
            22 => self.server.lost_answers = how % 3,
            23 => {
                let codes = [10071, 10008, 10059, 10039, 10076, 10163, 10164, 10060, 10077, 10047, 503];
                self.server.refusal = Some((codes[count % codes.len()], how & 64 != 0, 1 + how % 3));
            }
            24 => {
                let copy =
                    (!self.server.late.is_empty()).then(|| self.server.late.remove(count % self.server.late.len()));
                if let Some(batch) = copy {
                    // Its answer goes where nobody listens any more, or to who does not wait for it.
                    let answer = self.server.store(&batch);
                    self.link.iter_mut().for_each(|link| link.answers.extend(answer.clone()));
                }
            }
            25 => self.server.past = Some((self.server.messages.clone(), self.server.last_sequence, how % 4)),
            26 => self.restart(u64::from(how) * 8, how % 5 == 0),
            27 => self.stored = self.acked,
            28 => {
                for _ in 0..count % 4 {
                    self.server.last_sequence += 1;
                    self.server.messages.push(Message { sequence: self.server.last_sequence, ours: None });
                }
            }
            29 => {
                self.server.max_payload = 1500 + count * 16;
                let info = self.info(if how % 2 == 0 { ",\"connect_urls\":[\"h:1\"]" } else { "" });
                self.link.iter_mut().for_each(|link| link.to_client.extend(info.bytes()));
            }
            30 => self.server.max_msg_size = 1500 + count * 16,
            _ => {
                let texts = [
                    "-ERR 'Slow Consumer'\r\n",
                    "PING\r\n",
                    "-ERR 'Permissions Violation for Publish to \"x\"'\r\n",
                    "+OK\r\n",
                ];
                let leaving = self.info(",\"ldm\":true");
                let text = texts.get(count % 5).copied().unwrap_or(&leaving);
                self.link.iter_mut().for_each(|link| link.to_client.extend(text.bytes()));
            }
        }
    }

    /// Each line is in the stream once and in order, unless it was removed.
    fn judge(&self) {
        let mut last = 0;
        let mut there = BTreeSet::new();
        for (_, numbers) in self.server.messages.iter().filter_map(|message| message.ours.as_ref()) {
            for number in numbers {
                assert!(*number > last, "{number} behind {last}");
                assert!(self.lines.contains_key(number), "nobody sent {number}");
                last = *number;
                there.insert(*number);
            }
        }
        for number in self.lines.keys() {
            let is_somewhere =
                there.contains(number) || self.server.removed.contains(number) || self.passed.contains(number);
            assert!(is_somewhere, "line {number} is nowhere");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let told = self.did.len().saturating_sub(400);
            eprintln!("this is what was done: {:#?}", &self.did[told..]);
            eprintln!(
                "{:?}\n{:?}\nbytes: {:?}",
                self.session.status(),
                self.session.wants(),
                super::Shown(&self.input)
            );
        }
    }
}

/// What a world came to.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sums {
    pub(crate) lines: usize,
    pub(crate) batches: u64,
    pub(crate) tail_losses: u64,
    pub(crate) rewinds: u64,
    pub(crate) removed: usize,
    pub(crate) lookups: u64,
}

impl Sums {
    pub(crate) fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.batches += other.batches;
        self.tail_losses += other.tail_losses;
        self.rewinds += other.rewinds;
        self.removed += other.removed;
        self.lookups += other.lookups;
    }
}

/// The first byte says what the others are.
pub(crate) fn run(input: &[u8]) {
    let mut script = Script::new(input);
    match script.below(8) {
        0 => texts(script.take(usize::MAX)),
        1..=3 => hostile(&mut script),
        _ => drop(world(script.take(usize::MAX))),
    }
}

/// Any text as a URL, a file of credentials, a name: a sentence, or what prints as it reads and shows no secret.
fn texts(bytes: &[u8]) {
    let _story = Story(&Shown(bytes));
    let text = String::from_utf8_lossy(bytes);
    for text in [text.as_ref(), &format!("nats://{text}"), &format!("nats://h/{text}")] {
        match Url::parse(text) {
            Some(Ok(url)) => {
                let printed = url.to_string();
                let again = Url::parse(&printed).expect("a URL").expect("one that is right");
                assert_eq!((again.to_string(), &again.servers, &again.subject), (printed, &url.servers, &url.subject));
                assert!(again.credentials.is_none());
                let subject = url.subject.of(text);
                assert!(!subject.contains(['*', '>', ' ', '{', '\r', '\n']) && !subject.split('.').any(str::is_empty));
            }
            Some(Err(sentence)) => assert!(sentence.len() > 20 && !sentence.contains('\n')),
            None => {}
        }
    }
    match Credentials::read(&text) {
        Ok(credentials) => assert!(format!("{credentials:?}").len() <= "user and password".len()),
        Err(error) => assert!(!error.to_string().contains('\n')),
    }
    assert!(token(&text).len() <= 64 && misread_stream(&token(&text)).is_none());
}

/// What a server sends that heeds nothing.
fn sent(what: usize, how: usize, script: &mut Script<'_>) -> Vec<u8> {
    let reply = format!("_INBOX.{}.{}", "09".repeat(12), how % 16);
    match what {
        0 => script.take(how).to_vec(),
        1 => b"INFO {\"headers\":true,\"max_payload\":1048576,\"connect_urls\":[\"h:1\"]}\r\n".to_vec(),
        2 => b"PONG\r\n".to_vec(),
        3 => format!("-ERR '{}'\r\n", String::from_utf8_lossy(script.take(how % 40))).into_bytes(),
        4 => {
            let body = script.take(how).to_vec();
            [format!("MSG {reply} 1 {}\r\n", body.len()).into_bytes(), body, b"\r\n".to_vec()].concat()
        }
        5 => format!("HMSG {reply} 1 16 16\r\nNATS/1.0 {:03}\r\n\r\n\r\n", how * 4).into_bytes(),
        _ => {
            let error = format!("{{\"error\":{{\"err_code\":{}}}}}", 10_000 + how);
            format!("MSG {reply} 1 {}\r\n{error}\r\n", error.len()).into_bytes()
        }
    }
}

/// A server that sends what it likes: what we hold is bounded, what we send is well-formed, and there is always something to wait
/// for.
fn hostile(script: &mut Script<'_>) {
    let position = Position { acked: 30, sequence: 3, segment: Segment { first: 1, salt: [1; 16] } };
    let mut session = Session::new(Settings { create: Some("logs.*".to_owned()), ..settings(Some(position)) });
    let (mut now, mut did, mut server) = (Duration::ZERO, Vec::new(), Server::default());
    server.max_msg_size = 1 << 20;
    session.connected([9; 12], now);
    let mut link = Link::default();
    let mut is_open = true;
    while !script.is_over() {
        let (what, how) = (script.below(12), script.below(256));
        let text = match what {
            0..=6 => sent(what, how, script),
            7 | 8 => {
                // The right answers to what was asked.
                server.read(&mut link);
                std::mem::take(&mut link.answers).concat().into_bytes()
            }
            9 => {
                session.disconnected();
                session.connected([9; 12], now);
                (link, is_open) = (Link::default(), true);
                Vec::new()
            }
            10 => {
                now += Duration::from_millis(how as u64 * 100);
                session.tick(now);
                Vec::new()
            }
            _ => {
                if let Some(wanted) = session.wants() {
                    let lines = Lines {
                        first: wanted.from,
                        last: wanted.from.saturating_add(how as u64),
                        segment: position.segment,
                    };
                    session.publish(lines, b"\n".repeat(how), now);
                }
                Vec::new()
            }
        };
        did.push(text.escape_ascii().to_string());
        let _story = Story(&did);
        for piece in text.chunks(1 + how % 50) {
            session.receive(piece, now, &mut |lines| lines.last % 2 == 0);
        }
        let bytes = session.unsent().concat();
        assert!(bytes.len() <= 3 * 64 * 1024, "what waits is bounded");
        session.sent(bytes.len(), now);
        link.to_server.extend_from_slice(&bytes);
        let mut count = 0;
        while let Some(event) = session.next_event() {
            is_open &= !matches!(event, Event::Close { .. });
            count += 1;
        }
        assert!(count <= 40, "{count} events");
        assert_eq!(
            session.due_in(now).is_some(),
            is_open,
            "what is closed waits for nothing, and all else for something"
        );
    }
}

/// Lives the story that the bytes tell.
pub(crate) fn world(input: &[u8]) -> Sums {
    let mut script = Script::new(input);
    let mut world = World::new();
    world.input = input.to_vec();
    while !script.is_over() {
        world.step(&mut script);
    }
    // Now nothing bad happens any more.
    world.server.lost_answers = 0;
    world.server.refusal = None;
    world.server.past = None;
    world.server.late.clear();
    world.add_lines(3);
    for step in 0.. {
        if world.is_at_rest() {
            break;
        }
        assert!(step < MOST_STEPS, "it does not come to rest");
        world.flow();
    }
    world.judge();
    let status = world.session.status();
    Sums {
        lines: world.lines.len(),
        batches: status.batches_total,
        tail_losses: world.server.tail_losses,
        rewinds: world.rewound,
        removed: world.server.removed.len(),
        lookups: status.lookups_total,
    }
}
