//! The messages of a stream again, for who may wait for each: what to send, and what is answered. Invariant: one question is open
//! at a time, and one message is held.

use core::fmt::Write;

use super::answer::Refusal;
use super::base::from_base64;
use super::info::{Reading, word};
use super::json::{Scanner, Value};
use super::request::{self, Question};
use super::trouble::Trouble;
use super::wire::{Piece, Wire};
use super::{Hex, Settings};
use crate::config::text::as_text;
use crate::engine::json::quote;

/// What a stream answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The sequence of its first message, if that was asked for.
    pub first: u64,
    /// The sequence of its last message, if that was asked for.
    pub last: u64,
    /// The message that was asked for; `None`: there is none from there on.
    pub message: Option<Message>,
}

/// A message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Its place in the stream.
    pub sequence: u64,
    /// When the stream got it, as RFC 3339 writes it.
    pub time: String,
    /// Lines with `\n` between them.
    pub lines: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// What is wrong, and what to do.
    pub sentence: String,
    /// It may be well again by itself.
    pub may_pass: bool,
}

/// An answer that comes.
#[derive(Debug, Default)]
struct Coming {
    head: Vec<u8>,
    scanner: Scanner,
    is_malformed: bool,
    refusal: Option<Refusal>,
    is_whole: bool,
    answer: Answer,
}

/// A talk on one connection.
#[derive(Debug)]
pub struct Fetch<'a> {
    settings: &'a Settings,
    wire: Wire,
    reading: Reading,
    has_greeted: bool,
    is_in: bool,
    inbox: String,
    number: u64,
    coming: Option<Coming>,
    answer: Answer,
}

impl<'a> Fetch<'a> {
    /// A talk that has not begun. The first answer says from where to where the stream goes. `settings.subject` may have `*` and `>`
    /// in it; `random` is what nobody can guess.
    #[must_use]
    pub fn new(settings: &'a Settings, random: [u8; 12]) -> Self {
        let inbox = format!("_INBOX.{}", Hex(&random));
        Self {
            settings,
            wire: Wire::default(),
            reading: Reading::default(),
            has_greeted: false,
            is_in: false,
            inbox,
            number: 0,
            coming: None,
            answer: Answer::default(),
        }
    }

    /// What was answered last.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Asks for the first message on our subject that has this sequence or a higher one.
    pub fn ask(&mut self, sequence: u64, out: &mut String) {
        let mut body = format!("{{\"seq\":{sequence},\"next_by_subj\":");
        quote(&self.settings.subject, &mut body);
        let (stream, reply) = (&self.settings.stream, self.reply());
        // Writing to a `String` can't fail.
        let _ = write!(out, "PUB $JS.API.STREAM.MSG.GET.{stream} {reply} {}\r\n{body}}}\r\n", body.len() + 1);
    }

    fn reply(&mut self) -> String {
        self.number += 1;
        format!("{}.{}", self.inbox, self.number)
    }

    /// Reads what came, cut anywhere; whether there is an answer. What is to be sent is appended to `out`.
    ///
    /// # Errors
    /// There will be no answer.
    pub fn receive(&mut self, bytes: &[u8], out: &mut String) -> Result<bool, Denied> {
        let (mut rest, mut is_answered) = (bytes, false);
        let mut wire = core::mem::take(&mut self.wire);
        while let Some(piece) = wire.next(&mut rest).map_err(|_| denied(&Trouble::NotNats))? {
            is_answered |= self.take(piece, out)?;
        }
        self.wire = wire;
        Ok(is_answered)
    }

    fn take(&mut self, piece: Piece<'_>, out: &mut String) -> Result<bool, Denied> {
        match piece {
            Piece::Info(part) => {
                let read = self.reading.feed(part);
                read.map_err(|_| denied(&Trouble::NotNats))?;
            }
            Piece::InfoEnd => {
                let info = core::mem::take(&mut self.reading).finish().map_err(|_| denied(&Trouble::NotNats))?;
                if info.needs_tls {
                    let sentence = "the server wants TLS, and lines are read back without it alone: go through a tunnel, or read them with its own `nats stream view`";
                    return Err(Denied { sentence: sentence.to_owned(), may_pass: false });
                }
                if !core::mem::replace(&mut self.has_greeted, true) {
                    out.push_str(&request::greeting(self.settings, &info, &self.inbox));
                }
            }
            Piece::Ping => out.push_str("PONG\r\n"),
            Piece::Pong if !self.is_in => {
                self.is_in = true;
                let reply = self.reply();
                out.push_str(&request::question(Question::Stream, self.settings, &reply));
            }
            Piece::Pong => {}
            Piece::Error(text) => return Err(self.blamed(text)),
            Piece::Message(subject) => {
                let is_ours = subject == format!("{}.{}", self.inbox, self.number).as_bytes();
                self.coming = is_ours.then(Coming::default);
            }
            Piece::Head(part) => self.coming.iter_mut().for_each(|coming| coming.head.extend_from_slice(part)),
            Piece::Body(part) => self.coming.iter_mut().for_each(|coming| coming.feed(part)),
            Piece::MessageEnd => {
                if let Some(coming) = self.coming.take() {
                    self.answer = coming.finish(&self.settings.stream)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The server has said `-ERR`.
    fn blamed(&self, text: &[u8]) -> Denied {
        let said = word(text);
        let small = said.to_ascii_lowercase();
        if small.contains("authorization") || small.contains("authentication") {
            return denied(&Trouble::Unauthorized { has_credentials: !self.settings.credentials.is_none(), said });
        }
        if small.contains("permissions violation") {
            let stream = &self.settings.stream;
            let sentence = format!(
                "the server says: {said}; who reads has to publish to $JS.API.STREAM.INFO.{stream} and \
                 $JS.API.STREAM.MSG.GET.{stream}, and subscribe to _INBOX.>"
            );
            return Denied { sentence, may_pass: false };
        }
        Denied { sentence: format!("the server says: {said}"), may_pass: true }
    }
}

impl Coming {
    fn feed(&mut self, part: &[u8]) {
        let Self { scanner, refusal, answer, .. } = self;
        scanner.keep_long_texts();
        let read = scanner.feed(part, &mut |path, value| match (path, value) {
            (b"state.first_seq", _) => answer.first = value.number().unwrap_or_default(),
            (b"state.last_seq", _) => answer.last = value.number().unwrap_or_default(),
            (b"message.seq", _) => {
                answer.message.get_or_insert_default().sequence = value.number().unwrap_or_default();
            }
            (b"message.time", Value::Text(text)) => answer.message.get_or_insert_default().time = word(text),
            (b"message.data", Value::Text(text)) => {
                answer.message.get_or_insert_default().lines = from_base64(text).unwrap_or_default();
            }
            (path, value) => {
                if let Some(name) = path.strip_prefix(b"error.") {
                    refusal.get_or_insert_default().take(name, value);
                }
            }
        });
        self.is_malformed |= read.is_err();
        self.is_whole = self.scanner.is_whole();
    }

    fn finish(self, stream: &str) -> Result<Answer, Denied> {
        // `NATS/1.0 503`: nobody listens.
        let code = if self.head.get(8..12) == Some(b" 503") { 503 } else { 0 };
        let refusal = self.refusal.unwrap_or_else(|| Refusal { code, ..Refusal::default() });
        match refusal.code {
            0 if self.is_whole && !self.is_malformed => Ok(self.answer),
            0 => Err(denied(&Trouble::NotNats)),
            10037 => Ok(Answer::default()),
            10059 => {
                let sentence = format!("there is no stream {stream}: give one that nats stream ls shows");
                Err(Denied { sentence, may_pass: false })
            }
            503 | 10039 | 10076 => Err(denied(&Trouble::NoJetStream)),
            code => Err(denied(&Trouble::Refused { code, said: refusal.description })),
        }
    }
}

fn denied(trouble: &Trouble) -> Denied {
    let may_pass = !matches!(trouble, Trouble::NotNats | Trouble::Tls | Trouble::Unauthorized { .. });
    Denied { sentence: as_text(&trouble), may_pass }
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::{MESSAGE, STREAM_INFO};
    use super::*;
    use crate::nats::credentials::Credentials;

    const HELLO: &str = "INFO {\"server_id\":\"N\",\"headers\":true,\"max_payload\":1048576}\r\nPONG\r\n";

    fn settings() -> Settings {
        Settings { stream: "LOGS".to_owned(), subject: "logs.*".to_owned(), ..Settings::default() }
    }

    fn fetch(settings: &Settings) -> Fetch<'_> {
        Fetch::new(settings, [0xab; 12])
    }

    fn message(fetch: &Fetch<'_>, body: &str) -> String {
        format!("MSG {}.{} 1 {}\r\n{body}\r\n", fetch.inbox, fetch.number, body.len())
    }

    #[test]
    fn a_message_is_asked_for_and_read_wherever_its_bytes_are_cut() {
        for step in [1, 2, 7, 10_000] {
            let settings = settings();
            let (mut fetch, mut out) = (fetch(&settings), String::new());
            let hear = |fetch: &mut Fetch<'_>, text: &str, out: &mut String| {
                text.as_bytes().chunks(step).filter(|part| fetch.receive(part, out).unwrap()).count()
            };
            assert_eq!(hear(&mut fetch, HELLO, &mut out), 0);
            assert!(out.starts_with("CONNECT {") && out.contains("PUB $JS.API.STREAM.INFO.LOGS _INBOX.abab"), "{out}");
            let info = message(&fetch, STREAM_INFO);
            assert_eq!(hear(&mut fetch, &info, &mut out), 1);
            assert_eq!(*fetch.answer(), Answer { first: 5, last: 4, message: None });
            out.clear();
            fetch.ask(3, &mut out);
            let wanted = format!(
                "PUB $JS.API.STREAM.MSG.GET.LOGS {}.2 33\r\n{{\"seq\":3,\"next_by_subj\":\"logs.*\"}}\r\n",
                fetch.inbox
            );
            assert_eq!(out, wanted);
            out.clear();
            let late = format!("MSG {}.1 1 2\r\n{{}}\r\nPING\r\n{}", fetch.inbox, message(&fetch, MESSAGE));
            assert_eq!(hear(&mut fetch, &late, &mut out), 1);
            let found = fetch.answer().message.clone().unwrap();
            assert_eq!((found.sequence, found.lines.as_slice()), (3, &b"hello"[..]));
            assert_eq!((found.time.as_str(), out.as_str()), ("2026-11-26T22:09:12.392533757Z", "PONG\r\n"));
        }
    }

    #[test]
    fn a_long_message_is_read_whole() {
        let settings = settings();
        let (mut fetch, mut out) = (fetch(&settings), String::new());
        fetch.receive(HELLO.as_bytes(), &mut out).unwrap();
        let body = MESSAGE.replace("aGVsbG8=", &"aGVs".repeat(100_000));
        assert_eq!(fetch.receive(message(&fetch, &body).as_bytes(), &mut out), Ok(true));
        assert!(fetch.answer().message.as_ref().unwrap().lines == b"hel".repeat(100_000));
    }

    #[test]
    fn p13_what_is_refused_says_what_to_do() {
        let error = |code: u64| format!(r#"{{"error":{{"code":404,"err_code":{code},"description":"no"}}}}"#);
        for (text, sentence, may_pass) in [
            ("-ERR 'Authorization Violation'\r\n", "the server wants to know who we are", false),
            (
                "-ERR 'Permissions Violation for Publish'\r\n",
                "the server says: Permissions Violation for Publish; who reads has",
                false,
            ),
            ("-ERR 'Stale Connection'\r\n", "the server says: Stale Connection", true),
            ("HTTP/1.1 400\r\n", "what answers is no NATS server", false),
            (&error(10059), "there is no stream LOGS: give one", false),
            (&error(10039), "", true),
            (&error(10008), "the server refuses: no (10008)", true),
            ("{", "what answers is no NATS server", false),
        ] {
            let settings = settings();
            let (mut fetch, mut out) = (fetch(&settings), String::new());
            fetch.receive(HELLO.as_bytes(), &mut out).unwrap();
            let text = if text.starts_with('{') { message(&fetch, text) } else { text.to_owned() };
            let denied = fetch.receive(text.as_bytes(), &mut out).unwrap_err();
            assert!(denied.sentence.starts_with(sentence) && denied.may_pass == may_pass, "{text}: {denied:?}");
        }
        let settings = Settings { credentials: Credentials::token("s3cret".to_owned()), ..settings() };
        let (mut fetch, mut out) = (fetch(&settings), String::new());
        fetch.receive(HELLO.as_bytes(), &mut out).unwrap();
        let none = message(&fetch, &error(10037));
        assert_eq!(fetch.receive(none.as_bytes(), &mut out), Ok(true));
        assert_eq!(*fetch.answer(), Answer::default(), "there is none from there on");
        fetch.ask(1, &mut out);
        let nobody = format!("HMSG {}.{} 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", fetch.inbox, fetch.number);
        let denied = fetch.receive(nobody.as_bytes(), &mut out).unwrap_err();
        assert!(denied.may_pass && denied.sentence == Trouble::NoJetStream.to_string(), "{denied:?}");
        let denied = fetch.receive(b"-ERR 'Authorization Violation'\r\n", &mut out).unwrap_err();
        assert!(denied.sentence.starts_with("the server does not take these credentials"), "{denied:?}");
        let tls = fetch.receive(b"INFO {\"tls_required\":true}\r\n", &mut out).unwrap_err();
        assert!(tls.sentence.starts_with("the server wants TLS"));
    }
}
