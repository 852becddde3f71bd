//! The framer of a connection, whichever framing its listener has. Every framing is translated into lines that end in
//! `\n`, in the buffer that was read into, so that caps, gaps and memory are one piece of code (`LineFramer`). Invariant:
//! this is the only place that asks which framing it is.

use super::framing::{Frame, Place};
use super::line_framer::LineFramer;
use super::marked::{self, Moved};
use super::octet::{self, Withheld};
use crate::config::limits::EmbeddedNewline;
use crate::config::listen::Framing;

pub use super::framing::{Fed, LineSink, Lines, Rules};

/// What is known of the unfinished line of one connection.
#[derive(Debug)]
pub struct Framer(LineFramer);

impl Default for Framer {
    fn default() -> Self {
        Self::new(Framing::default())
    }
}

/// Input: these methods take bytes or their end, and give lines to `out`.
impl Framer {
    /// The framer of a connection that has just come.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self(LineFramer::new(Frame::new(framing)))
    }

    /// How many bytes of a buffer have to be free before `len` that are read into it: a message may become twice as long. For
    /// lines none.
    #[must_use]
    #[inline]
    pub fn room_before(&self, len: usize) -> usize {
        if self.0.frame.place == Place::Lines { 0 } else { room_to_translate(len) }
    }

    /// Finds the lines of one chunk: the bytes of `buffer` from `start` on; those before are free, so many as
    /// [`Self::room_before`] says. The tail in the answer has to be given to [`Self::keep`] or [`Self::skip_with`] before the
    /// next.
    pub fn feed<'c>(&mut self, buffer: &'c mut [u8], start: usize, rules: &Rules, out: &mut impl LineSink) -> Fed<'c> {
        match self.0.frame.place {
            Place::Lines => self.0.feed(buffer.get(start..).unwrap_or_default(), None, rules, out),
            _ => self.translate(buffer, start, rules, out),
        }
    }

    /// [`Self::feed`] for what does not come as lines.
    #[inline(never)] // lines are to be as fast as if there were nothing else
    fn translate<'c>(&mut self, buffer: &'c mut [u8], start: usize, rules: &Rules, out: &mut impl LineSink) -> Fed<'c> {
        let Self(lines) = self;
        let (mut at, len) = (start, buffer.len());
        if matches!(lines.frame.place, Place::Undecided | Place::UndecidedSpace) {
            at = octet::decide(&mut lines.frame, buffer, start, rules.max_buffer);
        }
        let keeps = rules.embedded_newline == EmbeddedNewline::Keep;
        let translated = match lines.frame.place {
            Place::Marked if keeps => return marked::walk(lines, buffer.get(start..).unwrap_or_default(), rules, out),
            Place::Marked => marked::translate(buffer, start, rules),
            Place::Lines => Moved { range: at..len, lines: None },
            // Nothing of what has come goes out yet, or ever.
            Place::Undecided | Place::UndecidedSpace | Place::Broken => Moved { range: len..len, lines: None },
            Place::Length | Place::Message | Place::MessageCr if keeps => {
                return octet::walk(lines, buffer, at, rules, out);
            }
            Place::Length | Place::Message | Place::MessageCr => {
                octet::move_together(&mut lines.frame, buffer, &mut at, rules)
            }
        };
        let mut fed = lines.feed(buffer.get(translated.range).unwrap_or_default(), translated.lines, rules, out);
        octet::break_off(lines, len - at, &mut fed);
        fed
    }

    /// The pending bytes go out as a line, since its deadline has come or the client is told goodbye. What follows is a new
    /// line; a message with a length still ends where it says.
    pub fn flush_pending(&mut self, rules: &Rules, out: &mut impl LineSink) -> Fed<'static> {
        let mut withheld = Withheld::NONE;
        if self.is_undecided() {
            // What goes out as a line is the start of lines.
            withheld = Withheld::of(self.0.frame);
            self.0.frame.set(Place::Lines, 0);
        }
        self.0.flush_pending(withheld.bytes(), rules, out)
    }

    /// The connection has ended: the pending bytes go out as a line (P2), and a line that was being skipped as a gap.
    pub fn finish(&mut self, rules: &Rules, out: &mut impl LineSink) -> Fed<'static> {
        self.0.finish(Withheld::of(self.0.frame).bytes(), rules, out)
    }
}

/// Keeping: what stays between chunks, and who gives it up.
impl Framer {
    /// What [`Self::held`] will be once a tail of `tail_len` bytes has been kept.
    #[must_use]
    pub fn capacity_with(&self, tail_len: usize, rules: &Rules) -> usize {
        self.0.capacity_with(tail_len, rules)
    }

    /// Keeps the tail of the last chunk.
    pub fn keep(&mut self, tail: &[u8], rules: &Rules) {
        self.0.keep(tail, rules);
    }

    /// Forgets what is pending: it was no part of a line.
    pub fn forget(&mut self) {
        self.0.forget();
    }

    /// Other rules hold from the next chunk on: with another `long_lines`, `keep_empty` or `embedded_newline`.
    pub fn obey(&mut self, rules: &Rules) {
        self.0.obey(rules);
    }

    /// Drops what is pending, for the memory budget: the rest of the line will be skipped, and then be a gap. Tells how many
    /// bytes were dropped.
    pub fn drop_pending(&mut self) -> u64 {
        self.skip_with(&[])
    }

    /// [`Self::drop_pending`], with a tail that was not kept yet.
    pub fn skip_with(&mut self, tail: &[u8]) -> u64 {
        self.0.skip_with(tail)
    }
}

/// Answers.
impl Framer {
    /// Bytes of the line that has not ended yet, but for a `\r` that may belong to its end.
    #[must_use]
    #[inline]
    pub fn pending(&self) -> usize {
        // Only here nothing is in a buffer.
        if self.is_undecided() { withheld(self.0.frame) } else { self.0.pending() }
    }

    /// These bytes, but for those that may be a length.
    #[must_use]
    pub fn pending_bytes(&self) -> &[u8] {
        self.0.pending_bytes()
    }

    /// Bytes of memory that hold them: what the budget counts.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held()
    }

    /// Whether the rest of a line that was dropped or cut is still coming.
    #[must_use]
    pub fn is_skipping(&self) -> bool {
        self.0.is_skipping()
    }

    /// Whether nothing that comes is a message any more: see [`Fed::is_broken`].
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.frame.place == Place::Broken
    }

    /// Whether what has come may be a length, or the start of a line.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        matches!(self.0.frame.place, Place::Undecided | Place::UndecidedSpace)
    }

    /// Asserts what must hold between chunks.
    #[doc(hidden)]
    pub fn check(&self, rules: &Rules) {
        self.0.check(rules);
        assert!(!self.is_undecided() || self.0.pending() == 0, "5. what may be a length is in no buffer");
    }
}

/// So many bytes are left free before `len` that may become longer.
#[cold] // lines come nowhere near
fn room_to_translate(len: usize) -> usize {
    len + octet::LONGEST_START
}

/// How many bytes have come that may be a length.
#[cold]
fn withheld(frame: Frame) -> usize {
    Withheld::of(frame).bytes().len()
}
