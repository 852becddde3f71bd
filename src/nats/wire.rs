//! What a server sends, in any pieces: lines, and messages with their length before them. Invariant: what is held is a line
//! of at most [`MOST_LINE`] bytes. `INFO` may be longer, and is handed on as it comes, like the bytes of a message.

use memchr::memchr;

use super::base::number;

/// The longest line but `INFO`: an error, or a message's head with its subject, which are ours and short.
const MOST_LINE: usize = 4096;
/// The longest message that a server may be set to.
const MOST_MESSAGE: u64 = 64 * 1024 * 1024;
const INFO: &[u8] = b"INFO";

/// Something that came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Bytes of an `INFO`.
    Info(&'a [u8]),
    /// It is over.
    InfoEnd,
    /// We are to answer.
    Ping,
    /// An answer.
    Pong,
    /// `-ERR`, and what it says.
    Error(&'a [u8]),
    /// A message begins, to this subject.
    Message(&'a [u8]),
    /// Bytes of its headers.
    Head(&'a [u8]),
    /// Bytes of what is behind them.
    Body(&'a [u8]),
    /// It is over.
    MessageEnd,
}

/// This is no server of NATS, or it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Line,
    Info,
    /// In a message: how much of its headers and of the rest is to come.
    Message {
        head: u64,
        body: u64,
    },
    /// The line's end behind a message.
    End,
}

/// Reads what comes.
#[derive(Debug, Default)]
pub(super) struct Wire {
    state: State,
    line: Vec<u8>,
    is_line_read: bool,
}

impl Wire {
    #[cfg(test)]
    fn is_amid(&self) -> bool {
        self.state != State::Line || !(self.line.is_empty() || self.is_line_read)
    }

    /// Takes the next piece off `bytes`; `None` if they are used up.
    pub(super) fn next<'a, 'b: 'a>(&'a mut self, bytes: &mut &'b [u8]) -> Result<Option<Piece<'a>>, Broken> {
        loop {
            match self.state {
                State::Line => {
                    if self.is_line_read {
                        self.is_line_read = false;
                        self.line.clear();
                    }
                    if bytes.is_empty() {
                        return Ok(None);
                    }
                    if !self.line_from(bytes)? {
                        continue;
                    }
                    self.is_line_read = true;
                    return self.piece();
                }
                State::Info => {
                    let Some(end) = memchr(b'\n', bytes) else {
                        let part = core::mem::take(bytes);
                        return Ok((!part.is_empty()).then_some(Piece::Info(part)));
                    };
                    if end > 0 {
                        return Ok(Some(Piece::Info(take(bytes, wide(end)))));
                    }
                    take(bytes, 1);
                    self.state = State::Line;
                    return Ok(Some(Piece::InfoEnd));
                }
                State::Message { head: 0, body: 0 } => {
                    self.state = State::End;
                    return Ok(Some(Piece::MessageEnd));
                }
                State::Message { .. } if bytes.is_empty() => return Ok(None),
                State::Message { head: 0, body } => {
                    let part = take(bytes, body);
                    self.state = State::Message { head: 0, body: body - wide(part.len()) };
                    return Ok(Some(Piece::Body(part)));
                }
                State::Message { head, body } => {
                    let part = take(bytes, head);
                    self.state = State::Message { head: head - wide(part.len()), body };
                    return Ok(Some(Piece::Head(part)));
                }
                State::End => match take(bytes, 1) {
                    [] => return Ok(None),
                    b"\r" => {}
                    b"\n" => self.state = State::Line,
                    _ => return Err(Broken),
                },
            }
        }
    }

    /// Takes bytes of a line; whether it is whole. The start of an `INFO` is enough to know it by.
    fn line_from(&mut self, bytes: &mut &[u8]) -> Result<bool, Broken> {
        let end = memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        let is_info = |line: &[u8]| {
            line.strip_prefix(INFO).and_then(|rest| rest.first()).is_some_and(|first| matches!(first, b' ' | b'\t'))
        };
        // No more of an `INFO` than its name is kept.
        let wanted = if self.line.len() <= INFO.len() { end.min(INFO.len() + 1 - self.line.len()) } else { end };
        self.line.extend_from_slice(take(bytes, wide(wanted)));
        if is_info(&self.line) {
            self.line.clear();
            self.state = State::Info;
            return Ok(false);
        }
        if self.line.len() > MOST_LINE {
            return Err(Broken);
        }
        Ok(self.line.last() == Some(&b'\n'))
    }

    /// What a whole line says.
    fn piece(&mut self) -> Result<Option<Piece<'_>>, Broken> {
        let line = self.line.trim_ascii();
        let (name, rest) = line.split_at(line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len()));
        let rest = rest.trim_ascii();
        // As many as there may be, and one more.
        let (mut words, mut count) = ([&[][..]; 6], 0);
        for word in rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            if let Some(place) = words.get_mut(count) {
                *place = word;
                count += 1;
            }
        }
        let number_at = |at: usize| words.get(at).copied().and_then(length).ok_or(Broken);
        match name {
            b"PING" => Ok(Some(Piece::Ping)),
            b"PONG" => Ok(Some(Piece::Pong)),
            // Sent if asked for (`verbose`), which we do not. Nothing has come by it.
            b"+OK" | b"" => Ok(Some(Piece::Body(&[]))),
            b"-ERR" => {
                let rest = rest.strip_prefix(b"'").unwrap_or(rest);
                Ok(Some(Piece::Error(rest.strip_suffix(b"'").unwrap_or(rest))))
            }
            b"MSG" if matches!(count, 3 | 4) => {
                self.state = State::Message { head: 0, body: number_at(count - 1)? };
                Ok(Some(Piece::Message(words[0])))
            }
            b"HMSG" if matches!(count, 4 | 5) => {
                let (head, total) = (number_at(count - 2)?, number_at(count - 1)?);
                self.state = State::Message { head, body: total.checked_sub(head).ok_or(Broken)? };
                Ok(Some(Piece::Message(words[0])))
            }
            _ => Err(Broken),
        }
    }
}

#[inline(never)] // one copy, for size
fn length(digits: &[u8]) -> Option<u64> {
    number(digits).filter(|len| *len <= MOST_MESSAGE)
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Takes that many bytes off, or all if there are fewer.
#[inline(never)] // one copy, for size
fn take<'a>(bytes: &mut &'a [u8], most: u64) -> &'a [u8] {
    let len = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    let (part, rest) = bytes.split_at(len);
    *bytes = rest;
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes, with the bytes of one thing put together again.
    fn read(pieces: &[&[u8]]) -> Result<Vec<String>, Broken> {
        let (mut wire, mut said) = (Wire::default(), vec![String::new()]);
        for mut bytes in pieces.iter().copied() {
            while let Some(piece) = wire.next(&mut bytes)? {
                match piece {
                    Piece::Info(part) | Piece::Head(part) | Piece::Body(part) => {
                        said.last_mut().unwrap().extend(part.iter().map(|byte| char::from(*byte)));
                    }
                    Piece::Message(subject) => said.push(format!("to {} ", subject.escape_ascii())),
                    other => said.push(format!("{other:?} ")),
                }
            }
        }
        said.push(format!("amid: {}", wire.is_amid()));
        Ok(said)
    }

    #[test]
    fn pieces_are_the_same_wherever_the_bytes_are_cut() {
        let bytes = b"INFO {\"a\":1} \r\nPONG\r\nMSG _INBOX.x.1 1 5\r\nab\r\nc\r\nPING\r\nHMSG i.2 1 reply.to 4 6\r\nheadxx\r\n+OK\r\nMSG i.3 1 0\r\n\r\n-ERR 'Bad ''x'\r\nINFO\t{}\n";
        let wanted = [
            " {\"a\":1} \r",
            "InfoEnd ",
            "Pong ",
            "to _INBOX.x.1 ab\r\nc",
            "MessageEnd ",
            "Ping ",
            "to i.2 headxx",
            "MessageEnd ",
            "to i.3 ",
            "MessageEnd ",
            "Error([66, 97, 100, 32, 39, 39, 120]) {}",
            "InfoEnd ",
            "amid: false",
        ];
        let joined = |said: Vec<String>| said.concat().replace(' ', "");
        for cut in 0..=bytes.len() {
            for second in cut..=bytes.len() {
                let said = read(&[&bytes[..cut], &bytes[cut..second], &bytes[second..]]).unwrap();
                assert_eq!(joined(said), joined(wanted.map(str::to_owned).to_vec()), "{cut} {second}");
            }
        }
    }

    #[test]
    fn what_no_server_sends_is_broken() {
        for bytes in [
            "HTTP/1.1 400 Bad Request\r\n",
            "SSH-2.0\r\n",
            "MSG a 1\r\n",
            "MSG a 1 r x 5\r\n",
            "MSG a 1 -5\r\n",
            "MSG a 1 +5\r\n",
            "MSG a 1 67108865\r\n",
            "MSG a 1 99999999999999999999\r\n",
            "HMSG a 1 9 5\r\n",
            "HMSG a 1 9\r\n",
            "MSG a 1 1\r\nxy\r\n",
            "INFOX {}\r\n",
            "INFO\r\n",
        ] {
            assert_eq!(read(&[bytes.as_bytes()]).err(), Some(Broken), "{bytes}");
        }
        let long = [b'x'; 5000];
        assert_eq!(read(&[&long]).err(), Some(Broken), "a line that does not end");
    }

    #[test]
    fn p5_no_more_than_a_line_is_held_of_an_info_or_a_message_of_any_length() {
        let mut wire = Wire::default();
        for mut bytes in [&b"INFO "[..], &[b'x'; 100_000], b"\r\nMSG i.1 1 100000\r\n", &[b'y'; 100_000], b"\r\n"] {
            while wire.next(&mut bytes).unwrap().is_some() {}
            assert!(wire.line.capacity() < 100, "{}", wire.line.capacity());
        }
        assert!(!wire.is_amid());
    }
}
