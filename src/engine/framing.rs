//! What all framings have in common: the rules they keep to, the lines and gaps that they find, and what they tell of
//! each step. Invariant: nothing here depends on which framing it is.

use memchr::memchr_iter;

use super::gap::Gap;
use crate::config::limits::{EmbeddedNewline, Limits, LongLines};
use crate::config::listen::Framing;

/// What a framer has to keep to, prepared once for all connections of a listener.
#[derive(Debug)]
pub struct Rules {
    pub(super) max_line: usize,
    pub(super) max_buffer: u32,
    pub(super) long_lines: LongLines,
    pub(super) keep_empty: bool,
    pub(super) embedded_newline: EmbeddedNewline,
    /// What ends a message, where that is a mark.
    pub(super) mark: u8,
    framing: Framing,
}

impl Rules {
    /// Those of `max_line`, `max_buffer`, `long_lines`, `keep_empty` and `embedded_newline`, for this framing.
    #[must_use]
    pub fn new(limits: &Limits, framing: Framing) -> Self {
        Self {
            framing,
            mark: if framing == Framing::Cr { b'\r' } else { 0 },
            embedded_newline: limits.embedded_newline,
            max_line: limits.max_line,
            max_buffer: u32::try_from(limits.max_buffer).unwrap_or(u32::MAX - 1),
            long_lines: limits.long_lines,
            keep_empty: limits.keep_empty,
        }
    }

    /// Whether the start of a line that is too long goes out.
    pub(super) fn cuts(&self) -> bool {
        self.long_lines == LongLines::Cut
    }

    /// Which framing they are for.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }
}

/// Where a connection is in what it sends: which framing it has, and of one with lengths, what is before the next byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Among lines, which end in `\n` or `\r\n`.
    Lines,
    /// Among messages that each end in a mark.
    Marked,
    /// At the start of the connection: nothing but digits has come, which may be a length or the start of a line.
    Undecided,
    /// The same, and a space behind them.
    UndecidedSpace,
    /// Between two messages with lengths, or in a length.
    Length,
    /// In a message.
    Message,
    /// Before the last byte of a message, behind a `\r` that belongs to the message unless that byte is a `\n`.
    MessageCr,
    /// Behind a length that can't be one. Nothing of what comes is a message.
    Broken,
}

/// What a framing has to remember. It has no alignment, so that it takes no more than its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    number: [u8; 4],
    pub(super) place: Place,
}

impl Frame {
    /// At the start of a connection.
    pub(super) fn new(framing: Framing) -> Self {
        let place = match framing {
            Framing::Lines => Place::Lines,
            Framing::Nul | Framing::Cr => Place::Marked,
            Framing::Octet => Place::Length,
            Framing::AutoOctet => Place::Undecided,
        };
        Self { number: [0; 4], place }
    }

    /// The length so far, or the bytes of the message that have not come.
    pub(super) fn number(self) -> u32 {
        u32::from_ne_bytes(self.number)
    }

    pub(super) fn set(&mut self, place: Place, number: u32) {
        *self = Self { number: number.to_ne_bytes(), place };
    }
}

/// `head` and then `body` are `count` whole, clean lines of one connection, each ending in `\n`; or, when not `ended`,
/// one line to which the sink adds the `\n`. `head` is the start of the first line. No line holds a `\n`, but with
/// [`EmbeddedNewline::Keep`], where none is `ended`.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    /// The start of the first line, from earlier chunks. Often empty.
    pub head: &'a [u8],
    /// The rest.
    pub body: &'a [u8],
    /// How many lines these are.
    pub count: u64,
    /// Whether the last line's `\n` is there.
    pub ended: bool,
}

impl Lines<'_> {
    /// Calls `each` with the two parts of every line, without its `\n`. Only the first line may have a first part.
    pub fn each(&self, mut each: impl FnMut(&[u8], &[u8])) {
        if !self.ended {
            return each(self.head, self.body);
        }
        let (mut head, mut start) = (self.head, 0);
        for end in memchr_iter(b'\n', self.body) {
            each(head, self.body.get(start..end).unwrap_or_default());
            (head, start) = (&[], end + 1);
        }
    }
}

/// Where a framer puts the lines and the gaps that it finds, in order.
pub trait LineSink {
    /// Some lines of one connection.
    fn lines(&mut self, lines: Lines<'_>);

    /// Behind the lines so far, something is missing.
    fn gap(&mut self, gap: Gap) {
        let _ = gap;
    }
}

/// What one step of a framer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fed<'c> {
    /// Lines that went out, the unterminated among them.
    pub lines: u64,
    /// Lines that were longer than `max_line`, and dropped or cut: one warning each.
    pub too_long: u32,
    /// Lines of which only the first `max_line` bytes went out.
    pub cut: u64,
    /// Lines dropped whole because of their length.
    pub skipped: u64,
    /// Bytes dropped, newlines not counted. Once their lines have ended, the gaps add up to them.
    pub dropped_bytes: u64,
    /// Lines that passed `max_buffer` without a newline: one warning each.
    pub overflows: u32,
    /// Lines that went out without having had a `\n`.
    pub unterminated: u64,
    /// The length before a message can't be one: what comes from now on is dropped. Told once a connection.
    pub is_broken: bool,
    /// Whether the tail begins in this chunk: if anything was pending, that is another line.
    pub is_new: bool,
    /// The start of a line that goes on in the next chunk: the caller has to keep it.
    pub tail: &'c [u8],
}
