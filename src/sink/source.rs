//! Where an output gets its lines from, if they are not given to it: it reads them itself, each with its number, and says how
//! far it has come. Invariant: numbers rise, but for what was gone back to.

use std::time::Duration;

use super::target::Books;
use crate::engine::gap::Gap;
use crate::engine::peer::Peer;

/// One line, formatted, with its `\n`; or a mark that says what is missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    /// Its number; of a mark, the last that is missing.
    pub(super) number: u64,
    /// First number and salt of the segment that it is in.
    #[cfg_attr(not(any(feature = "nats", feature = "push")), expect(dead_code))]
    pub(super) segment: (u64, [u8; 16]),
    /// When it came, in milliseconds since 1970; 0 of a mark, which came at no time.
    #[cfg_attr(not(feature = "push"), expect(dead_code))]
    pub(super) wall_ms: u64,
    /// Who sent it; nobody a mark.
    #[cfg_attr(not(feature = "push"), expect(dead_code))]
    pub(super) peer: Option<Peer>,
    /// The bytes.
    pub(super) bytes: &'a [u8],
}

/// How far an output has come, as it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reached {
    /// The number of the last line that it has; 0: none.
    pub(super) number: u64,
    /// What its server calls the message with that line; 0 if it has no servers that do.
    pub(super) sequence: u64,
    /// First number and salt of the segment that the line is in.
    pub(super) segment: (u64, [u8; 16]),
}

/// Lines that wait for one output, somewhere else than in its memory.
#[cfg_attr(not(feature = "nats"), expect(dead_code))] // only a server that says what it has asks for all of it
pub(super) trait Source {
    /// Calls `take` with each line from where it stands, until the answer is false: that line comes again the next time.
    /// What is missing is counted and reported, and marked where that is asked for.
    fn read(&mut self, now: Duration, books: &mut Books, take: &mut dyn FnMut(Piece<'_>) -> bool);

    /// Whether [`Self::read`] has something, as far as is known.
    fn has_more(&self) -> bool;

    /// Whether there are lines that [`Self::read`] has not given yet, though it may not have them at the moment.
    fn has_rest(&self) -> bool {
        self.has_more()
    }

    /// How long until it is to be read again though there is nothing new: what could not be read is tried again.
    fn due_in(&self, now: Duration) -> Option<Duration>;

    /// Goes on with the line of this number, before or behind.
    fn go_to(&mut self, number: u64);

    /// How far the output has come; `None`: nobody knows, and its server has to be asked.
    fn reached(&self) -> Option<Reached>;

    /// The output has acked all lines up to this one; `bytes` came with this ack.
    fn acked(&mut self, reached: Reached, bytes: u64);

    /// The output has all lines up to this one, `bytes` of them new, as was found when it was asked: it has acked nothing.
    fn found(&mut self, reached: Reached, bytes: u64) {
        self.acked(reached, bytes);
    }

    /// Lines up to this one are on their way, where nobody says that they have arrived: the output is not behind with them.
    fn sent(&mut self, number: u64) {
        let _ = number;
    }

    /// Lines from this number on may be asked for again, though more was acked; and whether it is urgent that what was acked is
    /// written down.
    fn need(&mut self, number: u64, is_urgent: bool) {
        let _ = (number, is_urgent);
    }

    /// Has it written down, and at once, how far the output has come and what of it is on its way.
    #[cfg_attr(not(feature = "push"), expect(dead_code))]
    fn write_down(&mut self, reached: Reached) {
        let _ = reached;
    }

    /// Whether all of that is on the disk, or can't be.
    #[cfg_attr(not(feature = "push"), expect(dead_code))]
    fn is_written_down(&self) -> bool {
        true
    }

    /// Counts how far behind the output is.
    fn note(&mut self, now: Duration, books: &mut Books);

    /// Whether the output has fallen further and further behind for too long (`--lag-alarm`).
    fn is_falling_behind(&self) -> bool {
        false
    }

    /// A line that says what this output alone is missing; empty if that is not asked for.
    fn gap_line(&mut self, gap: Gap) -> Vec<u8>;

    /// Whose lines these are.
    fn box_id(&self) -> [u8; 16];

    /// Whether a segment with this first number and salt may be, or have been, one of this box's, and a line of this number in
    /// it.
    fn knows(&self, first: u64, salt: [u8; 16], last: u64) -> bool;

    /// The clocks of this box may show something else from now on.
    fn reopen(&mut self);

    /// The server ends, and the output asks for nothing any more.
    fn close(&mut self);
}
