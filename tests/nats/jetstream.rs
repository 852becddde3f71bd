//! A client of JetStream, as much of it as the tests need, over a plain socket: makes streams, asks about them, reads them
//! whole. It has nothing in common with the program's own, so that both can't be wrong in the same way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::common::patience::{LONG_PATIENCE, until_within};

/// How long an answer may take before the question is asked again, maybe of another server.
const ANSWER: Duration = Duration::from_secs(4);

/// A message as a subscriber gets it.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) subject: String,
    /// Number of the subscription that it came by.
    subscription: u64,
    reply: String,
    /// The lines of the header, without the first.
    pub(crate) headers: Vec<(String, String)>,
    status: String,
    pub(crate) payload: Vec<u8>,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// One that no server sent, for the tests of what reads them.
    pub(crate) fn made(subject: &str, headers: Vec<(String, String)>, payload: Vec<u8>) -> Self {
        let (subject, reply, status) = (subject.to_owned(), String::new(), String::new());
        Self { subject, subscription: 0, reply, headers, status, payload }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// A message as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) message: Message,
}

/// What the server says of a stream.
#[derive(Debug)]
pub(crate) struct Info {
    pub(crate) messages: u64,
    pub(crate) last: u64,
    pub(crate) leader: String,
    pub(crate) replicas: u64,
}

pub(crate) struct JetStream {
    stream: BufReader<TcpStream>,
    inbox: String,
    asked: u64,
}

/// The value of the first field of this name, if it is a number. What servers write has no space in it.
fn number(json: &str, name: &str) -> Option<u64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    let rest = rest.trim_start();
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn word(json: &str, name: &str) -> Option<String> {
    let (_, rest) = json.split_once(&format!("\"{name}\":\""))?;
    rest.split('"').next().map(str::to_owned)
}

impl JetStream {
    /// `login`: more fields of the CONNECT, each after a comma.
    pub(crate) fn connect(port: u16, login: &str) -> Result<Self, String> {
        let say = |error: std::io::Error| error.to_string();
        let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER).map_err(say)?;
        stream.set_read_timeout(Some(ANSWER)).map_err(say)?;
        stream.set_write_timeout(Some(ANSWER)).map_err(say)?;
        stream.set_nodelay(true).map_err(say)?;
        let local = stream.local_addr().map_err(say)?.port();
        let inbox = format!("_INBOX.test{}x{local}", std::process::id());
        let mut client = Self { stream: BufReader::new(stream), inbox, asked: 0 };
        let hello = client.line()?;
        if !hello.starts_with("INFO ") {
            return Err(format!("{hello} instead of INFO"));
        }
        let options = r#""verbose":false,"headers":true,"no_responders":true,"protocol":1,"lang":"test","version":"1""#;
        let inbox = client.inbox.clone();
        client.send(&format!("CONNECT {{{options}{login}}}\r\nSUB {inbox}.* 1\r\nPING\r\n"))?;
        loop {
            match client.line()? {
                line if line.starts_with("PONG") => return Ok(client),
                line if line.starts_with("-ERR") => return Err(line),
                _ => {}
            }
        }
    }

    fn send(&mut self, text: &str) -> Result<(), String> {
        self.stream.get_mut().write_all(text.as_bytes()).map_err(|error| error.to_string())
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        if !line.ends_with(b"\r\n") {
            return Err("the server closed the connection".to_owned());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// The next message to us, whatever else comes before it.
    fn message(&mut self) -> Result<Message, String> {
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split_whitespace().collect();
            let count = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok()).ok_or(line.clone());
            let (header_bytes, all_bytes) = match words.first().copied() {
                Some("PING") => {
                    self.send("PONG\r\n")?;
                    continue;
                }
                Some("-ERR") => return Err(line),
                Some("MSG") => (0, count(words.len() - 1)?),
                Some("HMSG") => (count(words.len() - 2)?, count(words.len() - 1)?),
                _ => continue,
            };
            let has_reply = words.len() == if words[0] == "MSG" { 5 } else { 6 };
            let mut bytes = vec![0; all_bytes + 2];
            self.stream.read_exact(&mut bytes).map_err(|error| error.to_string())?;
            bytes.truncate(all_bytes);
            let payload = bytes.split_off(header_bytes);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let mut lines = text.lines();
            let status = lines.next().unwrap_or("").trim_start_matches("NATS/1.0").trim().to_owned();
            let pair = |line: &str| line.split_once(':').map(|(key, value)| (key.to_owned(), value.trim().to_owned()));
            let headers = lines.filter_map(pair).collect();
            let reply = if has_reply { words[3].to_owned() } else { String::new() };
            let subscription = words[2].parse().map_err(|_| line.clone())?;
            return Ok(Message { subject: words[1].to_owned(), subscription, reply, headers, status, payload });
        }
    }

    /// Publishes and waits for the answer.
    fn request(&mut self, subject: &str, payload: &str) -> Result<Message, String> {
        self.asked += 1;
        let inbox = format!("{}.{}", self.inbox, self.asked);
        self.send(&format!("PUB {subject} {inbox} {}\r\n{payload}\r\n", payload.len()))?;
        let deadline = Instant::now() + ANSWER;
        while Instant::now() < deadline {
            let answer = self.message()?;
            // One that was asked for earlier, and given up, is none of this.
            if answer.subject == inbox {
                return if answer.status.starts_with("503") { Err("nobody responds".to_owned()) } else { Ok(answer) };
            }
        }
        Err(format!("no answer to {subject}"))
    }

    /// A request of JetStream's own, such as `STREAM.INFO.name`: the answer, or what it says of an error.
    pub(crate) fn api(&mut self, what: &str, payload: &str) -> Result<String, String> {
        let answer = self.request(&format!("$JS.API.{what}"), payload)?.text();
        if answer.contains("\"error\":{") { Err(answer) } else { Ok(answer) }
    }

    /// Makes a stream of all subjects that begin with `logs.`. `more`: further fields, each after a comma.
    pub(crate) fn create(&mut self, name: &str, replicas: usize, more: &str) {
        let config = format!(
            r#"{{"name":"{name}","subjects":["logs.>"],"storage":"file","num_replicas":{replicas},"max_age":0{more}}}"#
        );
        until_within(LONG_PATIENCE, "a stream that is made", || {
            match self.api(&format!("STREAM.CREATE.{name}"), &config) {
                // A try before this one, whose answer was lost, may have made it.
                Err(why) if !why.contains("10058") => Err(why),
                _ => Ok(()),
            }
        });
    }

    /// Gives a stream another configuration.
    pub(crate) fn update(&mut self, name: &str, replicas: usize, more: &str) {
        let config = format!(
            r#"{{"name":"{name}","subjects":["logs.>"],"storage":"file","num_replicas":{replicas},"max_age":0{more}}}"#
        );
        self.api(&format!("STREAM.UPDATE.{name}"), &config).unwrap();
    }

    pub(crate) fn info(&mut self, name: &str) -> Result<Info, String> {
        let text = self.api(&format!("STREAM.INFO.{name}"), "")?;
        let field = |field: &str| number(&text, field).ok_or_else(|| format!("no {field} in {text}"));
        Ok(Info {
            messages: field("messages")?,
            last: field("last_seq")?,
            leader: word(&text, "leader").unwrap_or_default(),
            replicas: field("num_replicas")?,
        })
    }

    /// Publishes a message of nobody's, and waits until it is stored: its sequence.
    pub(crate) fn publish(&mut self, subject: &str, payload: &str) -> u64 {
        let answer = self.request(subject, payload).unwrap().text();
        number(&answer, "seq").unwrap_or_else(|| panic!("{answer} instead of a sequence"))
    }

    pub(crate) fn delete(&mut self, name: &str, sequence: u64) {
        let answer = self.api(&format!("STREAM.MSG.DELETE.{name}"), &format!(r#"{{"seq":{sequence}}}"#)).unwrap();
        assert!(answer.contains("\"success\":true"), "{answer}");
    }

    pub(crate) fn purge(&mut self, name: &str) {
        let answer = self.api(&format!("STREAM.PURGE.{name}"), "").unwrap();
        assert!(answer.contains("\"success\":true"), "{answer}");
    }

    /// Has another node lead the stream.
    pub(crate) fn step_down(&mut self, name: &str) -> Result<(), String> {
        self.api(&format!("STREAM.LEADER.STEPDOWN.{name}"), "").map(drop)
    }

    /// All messages from this sequence on, in order, as a consumer reads them.
    pub(crate) fn fetch(&mut self, name: &str, from: u64) -> Result<Vec<Stored>, String> {
        let info = self.info(name)?;
        if info.messages == 0 || info.last < from {
            return Ok(Vec::new());
        }
        self.asked += 1;
        // A subscription of its own: what consumers of earlier calls, which were given up, still send is none of this.
        let (subscription, to) = (self.asked + 1, format!("{}.{}", self.inbox.replace("test", "read"), self.asked));
        let start = from.max(1);
        let config = format!(
            r#"{{"deliver_subject":"{to}","deliver_policy":"by_start_sequence","opt_start_seq":{start},"ack_policy":"none","mem_storage":true,"num_replicas":1}}"#
        );
        let request = format!(r#"{{"stream_name":"{name}","config":{config}}}"#);
        let answer = format!("{}.{}", self.inbox, self.asked);
        let subject = format!("$JS.API.CONSUMER.CREATE.{name}");
        let bytes = request.len();
        self.send(&format!("SUB {to} {subscription}\r\nPUB {subject} {answer} {bytes}\r\n{request}\r\n"))?;
        let stored = self.delivered(&answer, subscription)?;
        self.send(&format!("UNSUB {subscription}\r\n"))?;
        Ok(stored)
    }

    /// What a consumer that was just asked for delivers. It may begin before the answer to that.
    fn delivered(&mut self, answer: &str, subscription: u64) -> Result<Vec<Stored>, String> {
        let mut stored: Vec<Stored> = Vec::new();
        loop {
            let message = self.message()?;
            if message.subject == answer {
                let text = message.text();
                if message.status.starts_with("503") || text.contains("\"error\":{") {
                    return Err(format!("no consumer: {text}"));
                }
            }
            if message.subscription != subscription {
                continue;
            }
            // $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<its own sequence>.<time>.<how many are left>
            let parts: Vec<&str> = message.reply.split('.').collect();
            let place = |from_end: usize| {
                let part = parts.len().checked_sub(from_end).and_then(|at| parts.get(at)?.parse::<u64>().ok());
                part.ok_or_else(|| format!("{} is no reply of a consumer", message.reply))
            };
            let (sequence, own, left) = (place(4)?, place(3)?, place(1)?);
            if own != stored.len() as u64 + 1 {
                return Err(format!("delivery {own} after {}", stored.len()));
            }
            stored.push(Stored { sequence, message });
            if left == 0 {
                return Ok(stored);
            }
        }
    }
}
