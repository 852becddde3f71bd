//! Messages with their length before them (`framing=octet`, RFC 6587, 3.4.1): `5 hello`. They are moved together in the
//! buffer that they were read into, each with a `\n` behind it. Invariant: where the bytes are cut into chunks changes
//! nothing of what goes out.
//!
//! One LF or CRLF at a message's end, or else one NUL, is no part of it: some senders end each message twice. Nor is an LF
//! between messages.

use core::ops::Range;

use memchr::{memchr, memchr_iter};

use super::framing::{Fed, Frame, LineSink, Place, Rules};
use super::gap::Why;
use super::line_framer::{LANES, LineFramer};
use super::marked::{Moved, move_down};

/// The most bytes that are remembered without being kept: nine digits and a space.
pub(super) const LONGEST_START: usize = 10;
/// What a connection that may have lengths begins with is no length from here on: it has nine digits at most.
const TOO_MANY_DIGITS: u32 = 100_000_000;

/// If the last length could be none, all that came from there on, so many bytes, is dropped.
pub(super) fn break_off(lines: &mut LineFramer, bytes: usize, fed: &mut Fed<'_>) {
    if lines.frame.place == Place::Broken {
        fed.is_broken = !lines.is_skipping();
        lines.drop_all(bytes, Why::BadLength, fed);
    }
}

/// Moves all messages together, each with a `\n` behind it if it has ended, and tells where they are.
pub(super) fn move_together(frame: &mut Frame, buffer: &mut [u8], at: &mut usize, rules: &Rules) -> Moved {
    // For a `\r` that was not kept, and for the end of a message whose length came before.
    let begin = at.saturating_sub(2);
    let clean_to = newline_from(*at, buffer);
    let mut packer = Packer { buffer, begin, end: begin, clean_to, has_newlines: false, lines: 0, has_empty: false };
    loop {
        if frame.place == Place::Length && frame.number() == 0 {
            packer.pack_whole(at, rules);
        }
        let Some((content, has_ended)) = next(frame, packer.buffer, at, rules.max_buffer) else { break };
        packer.pack(content, has_ended, rules);
        packer.pass(*at);
    }
    let Packer { begin, end, lines, has_empty, .. } = packer;
    Moved { range: begin..end, lines: Some(lines).filter(|_| !has_empty) }
}

/// Messages that are moved together. Newlines are looked for once: up to the next, which mostly means in all that was read;
/// or, where each message ends in one, message by message.
struct Packer<'b> {
    buffer: &'b mut [u8],
    /// Where those begin and end that were moved.
    begin: usize,
    end: usize,
    /// Up to here there is no newline that has not been passed.
    clean_to: usize,
    /// Newlines were found inside messages, and there is room for what becomes of them.
    has_newlines: bool,
    /// Messages that have ended.
    lines: u64,
    /// One of them holds nothing.
    has_empty: bool,
}

impl Packer<'_> {
    /// Moves the messages from `at` on of which length, message and a little of what follows are here: in bulk, nearly all.
    #[inline]
    fn pack_whole(&mut self, at: &mut usize, rules: &Rules) {
        while let Some(message) = whole_message(self.buffer, *at, rules.max_buffer) {
            *at = message.end;
            let ending = ending(self.buffer.get(message.clone()).unwrap_or_default());
            self.pack(message.start..message.end - ending, true, rules);
            self.pass(*at);
        }
    }

    /// Moves one message, or a part of it, and ends it if it `has_ended`.
    #[inline(always)] // each message comes here
    fn pack(&mut self, content: Range<usize>, has_ended: bool, rules: &Rules) {
        self.has_empty |= has_ended && content.is_empty();
        if self.clean_to < content.end && has_newline(self.buffer.get(content.clone()).unwrap_or_default()) {
            self.pack_translated(content, rules);
        } else {
            let len = content.len();
            self.buffer.copy_within(content, self.end);
            self.end += len;
        }
        if let (true, Some(place)) = (has_ended, self.buffer.get_mut(self.end)) {
            *place = b'\n';
            self.end += 1;
            self.lines += 1;
        }
    }

    /// The same for one with newlines inside. Each may become a byte longer: before the first, what was moved makes room for
    /// all that come.
    #[inline(never)]
    fn pack_translated(&mut self, content: Range<usize>, rules: &Rules) {
        if !self.has_newlines {
            self.has_newlines = true;
            let room = memchr_iter(b'\n', self.buffer.get(content.start..).unwrap_or_default()).count();
            let room = room.min(self.begin);
            self.buffer.copy_within(self.begin..self.end, self.begin - room);
            (self.begin, self.end) = (self.begin - room, self.end - room);
        }
        self.end = move_down(self.buffer, content, self.end, true, rules);
    }

    /// All before `at` has been moved.
    #[inline]
    fn pass(&mut self, at: usize) {
        if self.clean_to < at {
            let ends_in_newline = self.buffer.get(at - 1) == Some(&b'\n');
            self.clean_to = if ends_in_newline { at } else { newline_from(at, self.buffer) };
        }
    }
}

/// The first newline from here on, or the end of the buffer.
fn newline_from(at: usize, buffer: &[u8]) -> usize {
    memchr(b'\n', buffer.get(at..).unwrap_or_default()).map_or(buffer.len(), |newline| at + newline)
}

/// Whether there is one in a message: for one of some hundred bytes, quicker than a call of `memchr`.
#[inline]
fn has_newline(message: &[u8]) -> bool {
    let Some(last) = message.last_chunk::<LANES>() else { return memchr(b'\n', message).is_some() };
    // Vector instructions, if it is written so.
    let look = |chunk: &[u8; LANES]| chunk.iter().fold(0, |any, byte| any | u8::from(*byte == b'\n'));
    let (chunks, _) = message.as_chunks();
    let mut any = look(last);
    for chunk in chunks {
        any |= look(chunk);
    }
    any != 0
}

/// Where the message is whose length begins at `at`, if all of both is here and right.
#[inline]
fn whole_message(buffer: &[u8], at: usize, max_buffer: u32) -> Option<Range<usize>> {
    let (first, more) = buffer.get(at..)?.first_chunk::<LONGEST_START>()?.split_first()?;
    let mut number = u32::from(first.wrapping_sub(b'0'));
    if number == 0 || number > 9 {
        return None;
    }
    for (byte, len) in more.iter().zip(2..) {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            let (start, len) = (at + len, number as usize);
            return (*byte == b' ' && number <= max_buffer && len <= buffer.len() - start).then(|| start..start + len);
        }
        // With a tenth digit, which may be too much for it, it is not looked at again.
        number = number.wrapping_mul(10).wrapping_add(digit);
    }
    None
}

/// Gives each message away as it is, since it may hold newlines.
pub(super) fn walk<'c>(
    lines: &mut LineFramer,
    buffer: &'c mut [u8],
    mut at: usize,
    rules: &Rules,
    out: &mut impl LineSink,
) -> Fed<'c> {
    let (mut fed, mut rest, mut has_ended_one) = (Fed::default(), 0..0, false);
    while let Some((content, has_ended)) = next(&mut lines.frame, buffer, &mut at, rules.max_buffer) {
        if has_ended {
            lines.end_line(buffer.get(content).unwrap_or_default(), rules, out, &mut fed);
            has_ended_one = true;
        } else {
            rest = content;
        }
    }
    let left = buffer.len() - at;
    let rest = buffer.get(rest).unwrap_or_default();
    fed.tail = lines.begin(rest, rules, out, &mut fed);
    fed.is_new = has_ended_one || fed.tail.len() < rest.len();
    break_off(lines, left, &mut fed);
    fed
}

/// The next message, or as much of it as is here, without what ends it; and whether it has ended. `None` at the end of the
/// buffer, or at a byte that belongs to no length: then the frame is broken.
fn next(frame: &mut Frame, buffer: &mut [u8], at: &mut usize, max_buffer: u32) -> Option<(Range<usize>, bool)> {
    if frame.place == Place::Length {
        read_length(frame, buffer, at, max_buffer);
    }
    let left = match frame.place {
        Place::Message | Place::MessageCr if *at < buffer.len() => frame.number() as usize,
        _ => return None,
    };
    let mut start = *at;
    if frame.place == Place::MessageCr {
        start -= 1;
        *buffer.get_mut(start)? = b'\r';
    }
    let here = left.min(buffer.len() - *at);
    *at += here;
    let message = buffer.get(start..*at)?;
    if here == left {
        frame.set(Place::Length, 0);
        return Some((start..*at - ending(message), true));
    }
    // If it is the last but one, whether it belongs to the ending is told by the last.
    let is_held = left - here == 1 && message.last() == Some(&b'\r');
    // It is less than a number of 32 bits was.
    let left = u32::try_from(left - here).unwrap_or(u32::MAX);
    frame.set(if is_held { Place::MessageCr } else { Place::Message }, left);
    Some((start..*at - usize::from(is_held), false))
}

/// How many bytes at the end of a message are none of it.
fn ending(message: &[u8]) -> usize {
    match message {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n' | 0] => 1,
        _ => 0,
    }
}

/// Reads a length, or as much of it as is here.
fn read_length(frame: &mut Frame, buffer: &[u8], at: &mut usize, max_buffer: u32) {
    let mut number = frame.number();
    while let Some(byte) = buffer.get(*at) {
        number = match byte {
            b'\n' if number == 0 => 0,
            b'0'..=b'9' if number > 0 || *byte != b'0' => match longer(number, *byte, max_buffer) {
                Some(number) => number,
                None => return frame.set(Place::Broken, 0),
            },
            b' ' if number > 0 => {
                *at += 1;
                return frame.set(Place::Message, number);
            }
            _ => return frame.set(Place::Broken, 0),
        };
        *at += 1;
    }
    frame.set(Place::Length, number);
}

/// The number with one more digit, if it is not too large.
fn longer(number: u32, digit: u8, most: u32) -> Option<u32> {
    number.checked_mul(10)?.checked_add(u32::from(digit - b'0')).filter(|number| *number <= most)
}

/// The start of a connection: a length, a space and a `<`, or lines. Tells where in the buffer what follows begins; for
/// lines, that is before what looked like a length, which is put there.
pub(super) fn decide(frame: &mut Frame, buffer: &mut [u8], start: usize, max_buffer: u32) -> usize {
    for at in start..buffer.len() {
        let byte = buffer.get(at).copied().unwrap_or_default();
        let number = frame.number();
        match (frame.place, byte) {
            (Place::Undecided, b'0'..=b'9') if (number > 0 || byte != b'0') && number < TOO_MANY_DIGITS => {
                frame.set(Place::Undecided, number * 10 + u32::from(byte - b'0'));
            }
            (Place::Undecided, b' ') if number > 0 => frame.set(Place::UndecidedSpace, number),
            (Place::UndecidedSpace, b'<') => {
                frame.set(if number > max_buffer { Place::Broken } else { Place::Message }, number);
                return at;
            }
            _ => {
                let withheld = Withheld::of(*frame);
                let begin = at.saturating_sub(withheld.len);
                if let Some(place) = buffer.get_mut(begin..at) {
                    place.copy_from_slice(withheld.bytes());
                }
                frame.set(Place::Lines, 0);
                return begin;
            }
        }
    }
    buffer.len()
}

/// Bytes that have come and are not kept, as what they are is not known yet.
pub(super) struct Withheld {
    text: [u8; LONGEST_START],
    len: usize,
}

impl Withheld {
    pub(super) const NONE: Self = Self { text: [0; LONGEST_START], len: 0 };

    pub(super) fn of(frame: Frame) -> Self {
        let mut withheld = Self::NONE;
        match frame.place {
            Place::MessageCr => withheld.push(b'\r'),
            Place::Undecided | Place::UndecidedSpace => {
                let mut divisor = TOO_MANY_DIGITS;
                while divisor > 0 {
                    let digit = frame.number() / divisor;
                    if digit > 0 {
                        // It is one digit.
                        withheld.push(b'0' + u8::try_from(digit % 10).unwrap_or_default());
                    }
                    divisor /= 10;
                }
                if frame.place == Place::UndecidedSpace {
                    withheld.push(b' ');
                }
            }
            _ => {}
        }
        withheld
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::{EmbeddedNewline, Limits};
    use crate::config::listen::Framing;

    /// What becomes of messages that come in one read, and how many there are, if all hold something.
    fn moved(sent: &[u8], embedded_newline: EmbeddedNewline) -> (Vec<u8>, Option<u64>) {
        let rules = Rules::new(&Limits { embedded_newline, ..Limits::default() }, Framing::Octet);
        let mut at = sent.len() + LONGEST_START;
        let mut buffer = [vec![b'#'; at].as_slice(), sent].concat();
        let Moved { range, lines } = move_together(&mut Frame::new(Framing::Octet), &mut buffer, &mut at, &rules);
        (buffer[range].to_vec(), lines)
    }

    #[test]
    fn p21_a_newline_inside_is_found_in_messages_of_any_length_among_others() {
        for (len, at) in (1..3 * LANES).flat_map(|len| (0..=len).map(move |at| (len, at))) {
            for ending in [&b""[..], b"\n", b"\r\n", b"\0"] {
                let mut text = vec![b'x'; len];
                text.get_mut(at).into_iter().for_each(|byte| *byte = b'\n');
                let is_ending = ending.is_empty() && at == len - 1;
                let content = text.get(..len - usize::from(is_ending)).unwrap();
                let count = (!content.is_empty()).then_some(6);
                let plain = [&b"yy"[..], ending].concat();
                let framed = |message: &[u8]| [format!("{} ", message.len()).as_bytes(), message].concat();
                let (before, after) = (framed(&plain).repeat(2), framed(&plain).repeat(3));
                for between in [&b""[..], b"\n\n"] {
                    let message = framed(&[text.as_slice(), ending].concat());
                    let sent = [before.as_slice(), &message, between, &after].concat();
                    for (how, newline) in [(EmbeddedNewline::Escape, "\\n"), (EmbeddedNewline::Space, " ")] {
                        let content = String::from_utf8_lossy(content).replace('\n', newline);
                        let expected = format!("yy\nyy\n{content}\nyy\nyy\nyy\n");
                        let (found, lines) = moved(&sent, how);
                        assert_eq!((String::from_utf8_lossy(&found), lines), (expected.into(), count), "{at} of {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn p21_many_newlines_inside_have_room_whatever_came_before() {
        for (before, after) in [("", "3 end"), ("2 yy", ""), ("2 yy2 yy", "3 end5 a\nb\nc")] {
            let text = format!("{}x", "\n".repeat(100));
            let sent = format!("{before}{} {text}{after}", text.len());
            let (found, _) = moved(sent.as_bytes(), EmbeddedNewline::Escape);
            let lines = |sent: &str| sent.matches("yy").count() + sent.matches("end").count();
            let escaped = format!("{}x\n", "\\n".repeat(100));
            let last = if after.ends_with('c') { "a\\nb\\nc\n" } else { "" };
            let expected =
                ["yy\n".repeat(lines(before)), escaped, "end\n".repeat(lines(after)), last.to_owned()].concat();
            assert_eq!(String::from_utf8_lossy(&found), expected);
        }
    }

    #[test]
    fn p21_a_length_is_read_where_all_of_its_message_is_here_and_else_left() {
        let found = |sent: &[u8]| whole_message(sent, 0, 1000);
        assert_eq!(found(b"5 hello and more"), Some(2..7));
        assert_eq!(found(b"14 hello and more"), Some(3..17));
        for left in
            [&b"15 hello and more"[..], b"05 hello and more", b"5hello and more", b"1001 and more", b"\n5 hello more"]
        {
            assert_eq!(found(left), None, "{:?}", String::from_utf8_lossy(left));
        }
        assert_eq!(found(b"5 hello"), None, "too few bytes follow");
        assert_eq!(found(b"1234567890123"), None, "more digits than any length has");
    }
}
