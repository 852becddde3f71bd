//! What the server answers to a question or a batch: read from its JSON as it comes, whatever was asked. Invariant: what is kept
//! of an answer is bounded, however long it is; a message's own lines (350 KB) are passed over.

use super::base::{from_base64, number};
use super::info::{shown, word};
use super::json::{Scanner, Value};
use super::subject::covers;
use super::{BoxId, Lines, Segment, from_hex};

/// What a stream is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// How many servers have each message.
    pub replicas: u64,
    /// `limits`: messages are kept until there is no room, or they are too old.
    pub retention: String,
    /// Messages are lost when the server ends.
    pub is_in_memory: bool,
    /// The longest message, headers and all, in bytes; `None`: only the server's own limit holds.
    pub max_msg_size: Option<u64>,
    /// The subjects that it takes, as many as a sentence has room for.
    pub subjects: String,
    pub(super) covers_ours: bool,
    pub(super) has_no_acks: bool,
    pub(super) has_transform: bool,
    pub(super) is_sealed: bool,
    pub(super) is_bounded_by_subject: bool,
}

/// An error that the server tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: u64,
    pub(super) description: String,
}

/// What the headers of a message say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) box_id: BoxId,
    pub(super) lines: Lines,
}

/// The message that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) sequence: u64,
    pub(super) is_of_our_subject: bool,
    /// What our headers say; `None` if they are not there.
    pub(super) stored: Option<Stored>,
}

/// All that answers say.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) refusal: Option<Refusal>,
    /// The stream that an ack names.
    pub(super) stream: String,
    pub(super) sequence: Option<u64>,
    pub(super) message: Option<Message>,
    pub(super) config: Option<Stream>,
    pub(super) last_sequence: Option<u64>,
}

/// An answer that comes.
#[derive(Debug)]
pub(super) struct Answer {
    /// Which question it is for.
    pub(super) number: u64,
    /// The first bytes of its headers, with the status in them.
    head: Vec<u8>,
    scanner: Scanner,
    is_malformed: bool,
    facts: Facts,
}

impl Answer {
    pub(super) fn new(number: u64) -> Self {
        Self { number, head: Vec::new(), scanner: Scanner::default(), is_malformed: false, facts: Facts::default() }
    }

    /// Takes a part of its headers.
    pub(super) fn head(&mut self, bytes: &[u8]) {
        const STATUS_END: usize = 12;
        let wanted = STATUS_END.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(bytes.get(..wanted).unwrap_or_default());
    }

    /// Takes a part of what is behind them. `subject` is ours.
    pub(super) fn body(&mut self, bytes: &[u8], subject: &str) {
        let facts = &mut self.facts;
        let read = self.scanner.feed(bytes, &mut |path, value| facts.take(path, value, subject));
        self.is_malformed |= read.is_err();
    }

    /// What it says: `None` if it is none that can be read.
    pub(super) fn finish(self) -> Option<Facts> {
        if self.head.ends_with(b" 503") {
            let refusal = Refusal { code: 503, description: "no responders".to_owned() };
            return Some(Facts { refusal: Some(refusal), ..Facts::default() });
        }
        (!self.is_malformed && self.scanner.is_whole()).then_some(self.facts)
    }
}

impl Facts {
    fn take(&mut self, path: &[u8], value: Value<'_>, subject: &str) {
        if let Some(name) = path.strip_prefix(b"config.") {
            return self.config.get_or_insert_default().take(name, value, subject);
        }
        if let Some(name) = path.strip_prefix(b"error.") {
            return self.refusal.get_or_insert_default().take(name, value);
        }
        if let Some(name) = path.strip_prefix(b"message.") {
            return self.message.get_or_insert_default().take(name, value, subject);
        }
        match (path, value) {
            (b"stream", Value::Text(text)) => self.stream = word(text),
            (b"seq", _) => self.sequence = value.number(),
            (b"state.last_seq", _) => self.last_sequence = value.number(),
            _ => {}
        }
    }
}

impl Refusal {
    pub(super) fn take(&mut self, name: &[u8], value: Value<'_>) {
        match (name, value) {
            (b"err_code", _) => self.code = value.number().unwrap_or_default(),
            // Older servers have no `err_code` with some of theirs.
            (b"code", _) if self.code == 0 => self.code = value.number().unwrap_or_default(),
            (b"description", Value::Text(text)) => self.description = word(text),
            _ => {}
        }
    }
}

impl Stream {
    fn take(&mut self, name: &[u8], value: Value<'_>, subject: &str) {
        const MOST_SUBJECTS: usize = 160;
        match (name, value) {
            (b"num_replicas", _) => self.replicas = value.number().unwrap_or_default(),
            (b"retention", Value::Text(text)) => self.retention = word(text),
            (b"storage", Value::Text(text)) => self.is_in_memory = text == b"memory",
            // -1 is no limit.
            (b"max_msg_size", _) => self.max_msg_size = value.number(),
            (b"subjects", Value::Text(text)) => {
                self.covers_ours |= covers(text, subject.as_bytes());
                if self.subjects.len() + text.len() < MOST_SUBJECTS {
                    self.subjects.push_str(if self.subjects.is_empty() { "" } else { ", " });
                    self.subjects.push_str(&shown(text, MOST_SUBJECTS));
                }
            }
            (b"no_ack", Value::Boolean(is_so)) => self.has_no_acks = is_so,
            (b"sealed", Value::Boolean(is_so)) => self.is_sealed = is_so,
            (b"subject_transform", Value::Begin) => self.has_transform = true,
            (b"max_msgs_per_subject", _) => self.is_bounded_by_subject = value.number().is_some_and(|most| most > 0),
            _ => {}
        }
    }
}

impl Message {
    fn take(&mut self, name: &[u8], value: Value<'_>, subject: &str) {
        match (name, value) {
            (b"subject", Value::Text(text)) => self.is_of_our_subject = text == subject.as_bytes(),
            (b"seq", _) => self.sequence = value.number().unwrap_or_default(),
            (b"hdrs", Value::Text(text)) => self.stored = from_base64(text).as_deref().and_then(stored),
            _ => {}
        }
    }
}

/// Reads the headers that `request::headers` writes.
fn stored(headers: &[u8]) -> Option<Stored> {
    let value = |name: &[u8]| {
        let mut lines = headers.split(|byte| *byte == b'\n');
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(b":")).map(<[u8]>::trim_ascii)
    };
    let pair = |name: &[u8]| {
        let value = value(name)?;
        value.split_at_checked(value.iter().position(|byte| *byte == b'-')?)
    };
    let (first, last) = pair(b"Lumberjack-Lines")?;
    let (segment, salt) = pair(b"Lumberjack-Segment")?;
    let segment = Segment { first: number(segment)?, salt: from_hex(salt.get(1..)?)? };
    let lines = Lines { first: number(first)?, last: number(last.get(1..)?)?, segment };
    Some(Stored { box_id: from_hex(value(b"Lumberjack-Box")?)?, lines })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Recorded from nats-server 2.14.0.
    pub(in crate::nats) const STREAM_INFO: &str = r#"{"type":"io.nats.jetstream.api.v1.stream_info_response","total":0,"offset":0,"limit":0,"config":{"name":"LOGS","subjects":["logs.\u003e"],"retention":"limits","max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"max_age":0,"max_msgs_per_subject":-1,"max_msg_size":-1,"discard":"old","storage":"file","num_replicas":1,"duplicate_window":120000000000,"compression":"none","allow_direct":false,"mirror_direct":false,"sealed":false,"deny_delete":false,"deny_purge":false,"allow_rollup_hdrs":false,"consumer_limits":{},"allow_msg_ttl":false,"metadata":{"_nats.level":"4","_nats.req.level":"0","_nats.ver":"2.14.0"}},"created":"2026-11-26T22:09:08.433996018Z","state":{"messages":0,"bytes":0,"first_seq":5,"first_ts":"0001-01-01T00:00:00Z","last_seq":4,"last_ts":"2026-11-26T22:09:15.105168116Z","consumer_count":0},"cluster":{"leader":"NCOCE7SMFHYMVCI42RX4FGTWMHUQA5HIIWID54PBUZEHHXMAZ7WKEHEY"},"ts":"2026-11-26T22:09:17.016729263Z"}"#;
    pub(in crate::nats) const MESSAGE: &str = r#"{"type":"io.nats.jetstream.api.v1.stream_msg_get_response","message":{"subject":"logs.a","seq":3,"hdrs":"TkFUUy8xLjANCk5hdHMtRXhwZWN0ZWQtTGFzdC1TdWJqZWN0LVNlcXVlbmNlOiAyDQpOYXRzLUV4cGVjdGVkLVN0cmVhbTogTE9HUw0KTHVtYmVyamFjay1Cb3g6IDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwDQpMdW1iZXJqYWNrLUxpbmVzOiAyMS0zMA0KTHVtYmVyamFjay1TZWdtZW50OiAxLWFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiDQpOYXRzLU1zZy1JZDogMQ0KDQo=","data":"aGVsbG8=","time":"2026-11-26T22:09:12.392533757Z"}}"#;

    fn read(text: &str) -> Option<Facts> {
        let mut answer = Answer::new(1);
        for byte in text.as_bytes() {
            answer.body(&[*byte], "logs.a");
        }
        answer.finish()
    }

    #[test]
    fn answers_of_a_real_server_are_read() {
        let ack = read(r#"{"stream":"LOGS","seq":2}"#).unwrap();
        assert_eq!((ack.stream.as_str(), ack.sequence, ack.refusal), ("LOGS", Some(2), None));
        let ack = read(r#"{"stream":"LOGS", "domain":"hub", "seq":2,"duplicate": true}"#).unwrap();
        assert_eq!((ack.stream.as_str(), ack.sequence, ack.refusal), ("LOGS", Some(2), None));
        let refused = read(
            r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 1"},"stream":"LOGS","seq":0}"#,
        );
        let refusal = Refusal { code: 10071, description: "wrong last sequence: 1".to_owned() };
        assert_eq!(refused.unwrap().refusal, Some(refusal));

        let facts = read(STREAM_INFO).unwrap();
        let wanted = Stream {
            replicas: 1,
            retention: "limits".to_owned(),
            subjects: "logs.>".to_owned(),
            covers_ours: true,
            ..Stream::default()
        };
        assert_eq!((facts.config, facts.last_sequence), (Some(wanted), Some(4)));

        let segment = Segment { first: 1, salt: [0xab; 16] };
        let stored = Stored { box_id: [0; 16], lines: Lines { first: 21, last: 30, segment } };
        let message = Message { sequence: 3, is_of_our_subject: true, stored: Some(stored) };
        assert_eq!(read(MESSAGE).unwrap().message, Some(message));
        let message = r#"{"type":"x","message":{"subject":"logs.b","seq":4,"data":"YWJj","time":"2026-11-26T22:09:15.105168116Z"}}"#;
        assert_eq!(read(message).unwrap().message, Some(Message { sequence: 4, ..Message::default() }));
    }

    #[test]
    fn what_makes_a_stream_unfit_is_read() {
        let with = |more: &str| read(&STREAM_INFO.replacen("\"sealed\":false", more, 1)).unwrap().config.unwrap();
        assert!(with(r#""no_ack":true"#).has_no_acks);
        assert!(with(r#""sealed":true"#).is_sealed);
        assert!(with(r#""subject_transform":{"src":"a","dest":"b"}"#).has_transform);
        assert!(!with(r#""subject_transform":null"#).has_transform);
        assert!(with(r#""max_msgs_per_subject":1"#).is_bounded_by_subject);
        assert_eq!(with(r#""max_msg_size":600"#).max_msg_size, Some(600));
        assert_eq!(with(r#""retention":"workqueue""#).retention, "workqueue");
        assert!(with(r#""storage":"memory""#).is_in_memory);
        assert!(!read(&STREAM_INFO.replace("logs.", "other.")).unwrap().config.unwrap().covers_ours);
    }

    #[test]
    fn no_responders_is_told_and_what_is_no_answer_is_none() {
        let mut answer = Answer::new(1);
        answer.head(b"NATS/1.");
        answer.head(b"0 503\r\nNats-Subject: logs.a\r\n\r\n");
        assert_eq!(answer.finish().unwrap().refusal.unwrap().code, 503);
        for text in ["", "+OK", "{\"stream\":\"LOGS\"", "{}{}"] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn headers_that_are_not_ours_are_none() {
        let good = "NATS/1.0\r\nLumberjack-Box: 000102030405060708090a0b0c0d0e0f\r\nLumberjack-Lines: 5-9\r\nLumberjack-Segment: 5-ffffffffffffffffffffffffffffffff\r\n\r\n";
        assert_eq!(stored(good.as_bytes()).unwrap().lines.last, 9);
        for (old, new) in [
            ("Box: 00", "Box: "),
            ("Box", "Bux"),
            ("5-9", "59"),
            ("5-9", "5-"),
            ("5-9", "-5-9"),
            ("5-9", "x-9"),
            ("5-ff", "5-fff"),
            ("5-ff", "5-FF"),
            ("Segment: 5", "Segment: "),
            ("Lines", "lines"),
        ] {
            assert_eq!(stored(good.replacen(old, new, 1).as_bytes()), None, "{new} in place of {old}");
        }
    }
}
