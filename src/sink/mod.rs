//! Sinks: where lines go. A sink never blocks the loop if its descriptor can be written without waiting, never fails in
//! the middle, and never loses what it was given: what it could not write, it keeps, and says how much that is.

mod files;
pub mod format;
mod memory;
mod next;
mod outputs;
mod pace;
mod stream;
mod target;
mod task;
mod waiting;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use self::format::Format;
pub use self::memory::MemorySink;
pub use self::outputs::{OpenError, Outputs};

pub(crate) use self::pace::Pace;

#[cfg(feature = "cli")]
pub(crate) use self::format::parse_tag;
#[cfg(any(feature = "cli", feature = "status"))]
pub(crate) use self::format::write_time;
#[cfg(feature = "status")]
pub(crate) use self::format::{escape, write_number, write_peer};
#[cfg(feature = "cli")]
pub(crate) use self::outputs::{descriptors, overhead};
#[cfg(feature = "cli")]
pub(crate) use self::stream::descriptor::{Adopted, Borrowed, Way, adopt, send_without_waiting};
#[cfg(feature = "cli")]
pub(crate) use self::stream::stdout::own as own_stdout;

use crate::config::limits::Overhead;
use crate::engine::framer::Lines;
use crate::engine::gap::Gap;
use crate::engine::peer::Peer;
use crate::engine::stats::OutputStats;

/// Whose lines these are, and when they came.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Who sent them.
    pub peer: &'a Peer,
    /// When the turn in which they were read began, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// What a flush came to.
#[derive(Debug)]
pub enum Flushed {
    /// Nothing waits any more.
    Done,
    /// The rest waits until the descriptor can be written.
    Blocked,
    /// A write failed, and may work later: a full disk, an I/O error.
    Failed(io::Error),
    /// The sink decides itself when it goes on: it is flushed in each turn, and when [`Sink::due_in`] says so.
    Paced,
}

/// An output that did not get all that it should.
#[derive(Debug)]
pub struct Loss {
    /// Which.
    pub output: String,
    /// Bytes that it had been given and that could not be written.
    pub bytes: usize,
    /// What the system said when it was gone; `None` if it took nothing for too long.
    pub error: Option<io::Error>,
}

/// What of a descriptor is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// That it can be written, and that its reader is gone.
    Write,
    /// That it can be read too, and that the other side has closed.
    ReadWrite,
}

/// A descriptor that is to be watched.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// What [`Sink::ready`] will call it; below 16. The last one with a number counts.
    pub number: usize,
    /// The descriptor; the loop forgets it when it is closed.
    pub descriptor: BorrowedFd<'a>,
    /// What is to be told.
    pub interest: Interest,
}

/// Takes whole lines. Everything that it holds counts towards the memory budget (P5).
pub trait Sink {
    /// Takes some lines of one client. Never blocks on a pipe or socket, never fails, never loses: errors surface in
    /// [`Sink::flush`].
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>);

    /// Here, behind the lines taken so far, something is missing. A sink that marks gaps says so in its output.
    fn gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        let _ = (origin, gap);
    }

    /// Writes what waits, as far as possible. `now` is the time since the server's start.
    ///
    /// # Errors
    /// Only when the sink is gone for good, such as a pipe whose reader closed it.
    fn flush(&mut self, now: Duration) -> io::Result<Flushed>;

    /// Bytes taken and not yet written, as they will be written.
    fn waiting(&self) -> usize;

    /// Bytes of memory that lines take in it: what waits, and what was written but may have to be sent again.
    fn held(&self) -> usize {
        self.waiting()
    }

    /// What the sink adds to lines, at worst.
    fn overhead(&self) -> Overhead {
        Overhead::RAW
    }

    /// A descriptor that the loop does not watch yet: it then tells [`Self::ready`] of it. Asked until there is none.
    fn unwatched(&mut self) -> Option<Watch<'_>> {
        None
    }

    /// A watched descriptor can be written or read; `is_gone`: its other side is. True if the sink is gone with it.
    fn ready(&mut self, number: usize, is_gone: bool) -> bool {
        let _ = number;
        is_gone
    }

    /// How long until it is to be flushed though nobody tells of anything.
    fn due_in(&self, now: Duration) -> Option<Duration> {
        let _ = now;
        None
    }

    /// Since when it has taken nothing though something waits; for sinks that are [`Flushed::Paced`].
    fn stuck_since(&self) -> Option<Duration> {
        None
    }

    /// The next flush tries, however early that is.
    fn try_at_once(&mut self) {}

    /// Opens its file anew, since somebody has moved it away (SIGHUP).
    fn reopen(&mut self) {}

    /// The server ends, and everything is flushed: whether all is where it belongs for good. Asked until it is.
    fn settle(&mut self, now: Duration) -> bool {
        let _ = now;
        self.waiting() == 0
    }

    /// A position that grows with all that is taken.
    fn taken(&self) -> u64 {
        0
    }

    /// The position up to which all that was taken is written, and on the disk where that was asked for.
    fn delivered(&self) -> u64 {
        self.taken()
    }

    /// How often so far lines may have been lost that were written, and count as delivered: a sync of theirs failed.
    fn doubts(&self) -> u64 {
        0
    }

    /// What an operator should hear of since the last question: a sentence, and the number of the output, below
    /// [`MOST_OUTPUTS`](crate::MOST_OUTPUTS), that it is about.
    fn report(&mut self) -> Option<(usize, String)> {
        None
    }

    /// One of its outputs is gone for good, and the others are to have what is theirs before the end.
    fn wants_end(&self) -> bool {
        false
    }

    /// The server ends: gives up each output that has taken nothing since before `since`, if others go on.
    fn give_up(&mut self, since: Duration) -> bool {
        let _ = since;
        false
    }

    /// The first output that was lost, told at the end.
    fn loss(&mut self) -> Option<Loss> {
        None
    }

    /// What went to each output: always the same ones. Empty for a sink that does not count.
    fn outputs(&self) -> &[OutputStats] {
        &[]
    }

    /// What the sink is, for a sentence: `stdout`, `app.log`; of several outputs, the slowest.
    fn describe(&self) -> String {
        "the output".to_owned()
    }
}
