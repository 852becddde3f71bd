//! What a session hears, piece by piece, and what of it is about the connection. Invariant: only the answer to the last question or
//! batch counts; what an older one is about was looked up since.

use core::time::Duration;

use super::super::answer::Answer;
use super::super::base::{self, has};
use super::super::info::{Info, word};
use super::super::request::{self, Question};
use super::super::trouble::Trouble;
use super::super::url::Tls;
use super::super::wire::Piece;
use super::{ANSWER_TIMEOUT, Event, Lines, Phase, Session};

impl Session {
    pub(super) fn take(&mut self, piece: Piece<'_>, now: Duration, known: &mut dyn FnMut(&Lines) -> bool) {
        match piece {
            Piece::Info(part) => {
                if self.link.pace.is_exceeded(part.len(), false, now) {
                    return self.close(Some(Trouble::Endless));
                }
                if self.link.reading.feed(part).is_err() {
                    self.close(Some(Trouble::NotNats));
                }
            }
            Piece::InfoEnd if self.link.pace.is_exceeded(0, true, now) => self.close(Some(Trouble::Endless)),
            Piece::InfoEnd => match core::mem::take(&mut self.link.reading).finish() {
                Ok(info) => self.informed(info, now),
                Err(_) => self.close(Some(Trouble::NotNats)),
            },
            Piece::Ping => self.link.out.text("PONG\r\n"),
            Piece::Pong => {
                self.link.pings = 0;
                if let Phase::Handshake { .. } = self.phase {
                    self.ask(Question::Stream, now);
                }
            }
            Piece::Error(text) => self.blamed(text, now),
            Piece::Message(subject) => {
                let number = subject.strip_prefix(self.link.inbox.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
                let number = number.and_then(base::number);
                let is_waited_for = matches!(self.phase, Phase::Asking { .. } | Phase::Publishing { .. });
                // An older one is late: what it is about was looked up since.
                self.link.answer = number.filter(|number| is_waited_for && *number == self.number).map(Answer::new);
            }
            Piece::Head(part) => self.link.answer.iter_mut().for_each(|answer| answer.head(part)),
            Piece::Body(part) => {
                let subject = &self.settings.subject;
                self.link.answer.iter_mut().for_each(|answer| answer.body(part, subject));
            }
            Piece::MessageEnd => {
                let Some(answer) = self.link.answer.take().filter(|answer| answer.number == self.number) else {
                    return;
                };
                match self.phase {
                    Phase::Asking { question, .. } => self.answered(question, answer.finish(), now, known),
                    Phase::Publishing { lines, bytes, .. } => {
                        self.judged(lines, bytes, answer.finish().unwrap_or_default(), now);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The server has told of itself.
    fn informed(&mut self, info: Info, now: Duration) {
        if info.servers != self.link.info.servers {
            self.tell(Event::Servers(info.servers.clone()));
        }
        if info.max_payload != self.max_payload {
            self.max_payload = info.max_payload;
            self.ceiling = usize::MAX;
        }
        self.link.info = info;
        let info = &self.link.info;
        if let Phase::Greeting { .. } = self.phase {
            match self.settings.tls {
                Tls::No if info.needs_tls => return self.close(Some(Trouble::Tls)),
                Tls::Upgrade if !info.needs_tls && !info.offers_tls => return self.close(Some(Trouble::NoTls)),
                _ if !info.has_headers => {
                    return self.close(Some(Trouble::NoHeaders { version: info.version.clone() }));
                }
                Tls::Upgrade => {
                    self.phase = Phase::Securing;
                    self.tell(Event::Secure);
                }
                Tls::No | Tls::First => self.greet(now),
            }
        } else if matches!(self.phase, Phase::Ready) && self.is_too_small() {
            return self.close(Some(Trouble::TooSmall { most: self.room() }));
        }
        self.leave();
    }

    /// Says who we are.
    pub(super) fn greet(&mut self, now: Duration) {
        let greeting = request::greeting(&self.settings, &self.link.info, &self.link.inbox);
        self.link.out.text(&greeting);
        self.phase = Phase::Handshake { until: now + ANSWER_TIMEOUT };
    }

    /// Goes elsewhere, if the server is about to end; a batch is waited for.
    #[inline(never)] // one copy, for size
    pub(super) fn leave(&mut self) {
        if self.link.info.is_leaving && !matches!(self.phase, Phase::Publishing { .. } | Phase::Closing) {
            self.close(Some(Trouble::Leaving));
        }
    }

    /// The server has said `-ERR`.
    fn blamed(&mut self, text: &[u8], now: Duration) {
        let said = word(text);
        let small = said.to_ascii_lowercase();
        let is = |words: &[&str]| words.iter().any(|word| has(small.as_bytes(), word));
        if is(&["maximum payload"]) {
            if let Phase::Publishing { bytes, .. } = self.phase {
                self.lower(bytes);
            }
            self.close(None);
        } else if is(&["permissions violation"]) {
            let (stream, subject) = (self.settings.stream.clone(), self.settings.subject.clone());
            // No answer comes to what was not permitted.
            self.hold(Trouble::Permission { said, stream, subject }, now);
        } else if is(&["authorization", "authentication"]) {
            let has_credentials = !self.settings.credentials.is_none();
            self.close(Some(Trouble::Unauthorized { has_credentials, said }));
        } else if is(&["connections exceeded", "active connections"]) {
            self.close(Some(Trouble::Full { said }));
        } else if is(&["tls required"]) {
            self.close(Some(Trouble::Tls));
        } else {
            // Some end the connection and some do not: the server does that itself.
            self.tell(Event::Trouble(Trouble::Said(said)));
        }
    }
}
