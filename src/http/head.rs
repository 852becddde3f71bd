//! The head of an answer, out of bytes in any pieces. Invariant: at most [`MOST_HEAD_BYTES`] are held, each is looked at once
//! before the head is whole, and what a head says of its body is one thing or refused.

use super::trouble::{MOST_SHOWN_BYTES, Trouble, shown};
use crate::config::text::{cut, is, number, trimmed};

/// The longest head, with the interim ones before it. nginx and Apache take 8 KiB from others.
pub const MOST_HEAD_BYTES: usize = 16 * 1024;
/// The most fields of one.
pub const MOST_HEADERS: usize = 64;
/// The most interim answers (1xx) before the one that counts.
pub const MOST_INTERIM: usize = 16;
/// How each begins.
const START: &[u8] = b"HTTP/1.";
/// How an alert of TLS begins, in all its versions.
const ALERT: [u8; 2] = [0x15, 0x03];

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    fields: Vec<(String, String)>,
}

impl Head {
    /// The first field of that name, in whatever letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|field| is(&field.0, name)).map(|field| field.1.as_str())
    }

    /// The words of the lists in all fields of that name. An empty field has one, which is empty.
    #[inline(never)] // one copy, for size
    fn words(&self, name: &str) -> Vec<&str> {
        let mut words = Vec::new();
        for (own, list) in &self.fields {
            let mut rest = Some(list.as_str()).filter(|_| is(own, name));
            while let Some(list) = rest {
                let (word, behind) = cut(list, b",");
                words.push(trimmed(word));
                rest = behind.get(1..);
            }
        }
        words
    }

    /// Whether a list in fields of that name has this word.
    fn has(&self, name: &str, word: &str) -> bool {
        self.words(name).iter().any(|own| is(own, word))
    }

    /// Bytes of memory.
    pub(super) fn held(&self) -> usize {
        let texts: usize = self.fields.iter().map(|(name, value)| name.capacity() + value.capacity()).sum();
        texts + self.fields.capacity() * size_of::<(String, String)>()
    }
}

/// How far a body goes (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    /// Until the connection ends.
    UntilEnd,
}

/// How it is coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
    Other(String),
}

/// A head, and what it means.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) status: u16,
    pub(super) head: Head,
    /// Or why nobody knows.
    pub(super) framing: Result<Framing, Trouble>,
    pub(super) coding: Coding,
    pub(super) keeps_alive: bool,
}

/// What reads one.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    bytes: Vec<u8>,
    /// With those of interim answers.
    all_bytes: usize,
    interim: usize,
    is_blank_line: bool,
    is_strange: bool,
}

impl HeadReader {
    /// Takes bytes until the head is whole: gives it, and how many of the bytes it took.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Option<(Start, usize)>, Trouble> {
        for (used, byte) in (1..).zip(bytes) {
            self.all_bytes += 1;
            if self.all_bytes > MOST_HEAD_BYTES {
                return Err(Trouble::HeadTooLong);
            }
            self.bytes.push(*byte);
            self.is_strange |= self.bytes.len() <= START.len() && !START.starts_with(&self.bytes);
            if self.is_strange {
                self.look_at_strange(*byte)?;
            } else if *byte == b'\n' && self.is_blank_line {
                if let Some(start) = self.parse()? {
                    return Ok(Some((start, used)));
                }
            } else {
                // A line is blank with or without its `\r`.
                self.is_blank_line = *byte == b'\n' || (self.is_blank_line && *byte == b'\r');
            }
        }
        Ok(None)
    }

    /// Whether nothing came.
    pub(super) fn is_empty(&self) -> bool {
        self.all_bytes == 0
    }

    /// Bytes of memory.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// What it means that no more comes.
    pub(super) fn end(&self) -> Trouble {
        if self.is_empty() {
            Trouble::Silent
        } else if self.is_strange {
            Trouble::NotHttp(shown(&self.bytes))
        } else {
            Trouble::Cut
        }
    }

    /// What is no HTTP is named by its first line, or as much of it as is shown.
    fn look_at_strange(&self, newest: u8) -> Result<(), Trouble> {
        if self.bytes == ALERT {
            return Err(Trouble::Tls);
        }
        if newest == b'\n' || self.bytes.len() > MOST_SHOWN_BYTES { Err(self.end()) } else { Ok(()) }
    }

    /// Reads the head that is whole; `None` if it is an interim one, behind which another comes.
    fn parse(&mut self) -> Result<Option<Start>, Trouble> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut found = httparse::Response::new(&mut headers);
        let mut parser = httparse::ParserConfig::default();
        // RFC 9112, 5.2: who takes them reads them as one line.
        parser.allow_obsolete_multiline_headers_in_responses(true);
        match parser.parse_response(&mut found, &self.bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Trouble::HeadTooLong),
            _ => return Err(Trouble::Malformed("has a head that cannot be read")),
        }
        let status = found.code.unwrap_or_default();
        match status {
            0..100 => return Err(Trouble::Malformed("has no status from 100 to 999")),
            101 => return Err(Trouble::Malformed("switches to another protocol, which nobody asked for")),
            100..200 => {
                self.interim += 1;
                if self.interim > MOST_INTERIM {
                    return Err(Trouble::Malformed("begins with more than 16 interim ones"));
                }
                self.bytes.clear();
                self.is_blank_line = false;
                return Ok(None);
            }
            _ => {}
        }
        let field = |header: &httparse::Header<'_>| (header.name.to_owned(), unfolded(header.value));
        let head = Head { fields: found.headers.iter().map(field).collect() };
        let is_newer = found.version == Some(1);
        let framing = framing(status, &head, is_newer);
        let keeps_alive = framing.as_ref().is_ok_and(|framing| *framing != Framing::UntilEnd)
            && !head.has("connection", "close")
            && (is_newer || head.has("connection", "keep-alive"));
        let coding = coding(&head);
        self.bytes = Vec::new();
        Ok(Some(Start { status, head, framing, coding, keeps_alive }))
    }
}

/// What a field says, its lines with a space between.
fn unfolded(value: &[u8]) -> String {
    let mut all = String::new();
    for line in value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        if !all.is_empty() {
            all.push(' ');
        }
        all.push_str(&String::from_utf8_lossy(line));
    }
    all
}

fn framing(status: u16, head: &Head, is_newer: bool) -> Result<Framing, Trouble> {
    let mut length = None;
    for text in head.words("content-length") {
        let number = number(text).ok_or(Trouble::Malformed("has a length that is no number"))?;
        if length.is_some_and(|other| other != number) {
            return Err(Trouble::Malformed("has two lengths"));
        }
        length = Some(number);
    }
    if [204, 304].contains(&status) {
        return Ok(Framing::Length(0));
    }
    // With both, what stands between us and the server may have understood the other one.
    match (&*head.words("transfer-encoding"), length) {
        ([], Some(length)) => Ok(Framing::Length(length)),
        ([], None) => Ok(Framing::UntilEnd),
        (_, Some(_)) => Err(Trouble::Malformed("has a length and chunks")),
        (_, None) if !is_newer => Err(Trouble::Malformed("has chunks, which HTTP/1.0 does not have")),
        ([name], None) if is(name, "chunked") => Ok(Framing::Chunked),
        (_, None) => Err(Trouble::Malformed("has a transfer coding that was not asked for")),
    }
}

fn coding(head: &Head) -> Coding {
    let mut coding = Coding::Plain;
    for name in head.words("content-encoding") {
        let is = |word: &str| is(name, word);
        coding = match coding {
            other if name.is_empty() || is("identity") => other,
            Coding::Plain if is("gzip") || is("x-gzip") => Coding::Gzip,
            _ => return Coding::Other(shown(name.as_bytes())),
        };
    }
    coding
}
