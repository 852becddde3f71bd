//! Messages with their length before them (`framing=octet`, RFC 6587, 3.4.1): `5 hello`. They are moved together in the
//! buffer that they were read into, each with a `\n` behind it. Invariant: where the bytes are cut into chunks changes
//! nothing of what goes out.
//!
//! One LF or CRLF at a message's end, or else one NUL, is no part of it: some senders end each message twice. Nor is an LF
//! between messages.

use core::ops::Range;

use memchr::memchr_iter;

use super::framing::{Fed, Frame, LineSink, Place, Rules};
use super::gap::Why;
use super::line_framer::LineFramer;
use super::marked::move_down;

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
pub(super) fn move_together(frame: &mut Frame, buffer: &mut [u8], at: &mut usize, rules: &Rules) -> Range<usize> {
    let newlines = memchr_iter(b'\n', buffer.get(*at..).unwrap_or_default()).count();
    // Two more: for a `\r` that was not kept, and for the end of a message whose length came before.
    let begin = at.saturating_sub(2 + newlines);
    let mut end = begin;
    while let Some((content, has_ended)) = next(frame, buffer, at, rules.max_buffer) {
        end = move_down(buffer, content, end, newlines > 0, rules);
        if let (true, Some(place)) = (has_ended, buffer.get_mut(end)) {
            *place = b'\n';
            end += 1;
        }
    }
    begin..end
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
