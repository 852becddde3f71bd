//! Sinks: where lines go. A sink never blocks the loop if its descriptor can be written without waiting, never fails in
//! the middle, and never loses what it was given: what it could not write, it keeps, and says how much that is.
//!
//! [`Outputs`] is the sink of the program. It has one `Output` for each `--output`, which decides when to write and what
//! to do while nothing is taken; what it writes to is a `Target`: a file, the files of hosts, a descriptor, the next
//! receiver. Each kind of target is one file in one of the wings, and one row in `kinds.rs`.

mod error;
mod files;
pub mod format;
mod kinds;
mod memory;
mod next;
mod output;
mod outputs;
mod pace;
mod place;
mod stream;
mod target;
mod task;
mod waiting;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use self::error::OpenError;
pub use self::format::Format;
pub use self::memory::MemorySink;
pub use self::outputs::Outputs;
pub use self::pace::Pacing;
pub use self::place::{OutputAddr, OutputAddrError};

#[cfg(feature = "cli")]
pub(crate) use self::format::parse_tag;
#[cfg(any(feature = "cli", feature = "status"))]
pub(crate) use self::format::write_time;
#[cfg(feature = "status")]
pub(crate) use self::format::{escape, write_number, write_peer};
#[cfg(feature = "cli")]
pub(crate) use self::kinds::SYNTAX;
#[cfg(feature = "cli")]
pub(crate) use self::outputs::overhead;
#[cfg(feature = "cli")]
pub(crate) use self::place::DiskUse;
#[cfg(feature = "cli")]
pub(crate) use self::stream::adopt::{Adopted, Borrowed, Way, adopt, send_without_waiting, told_of_us};
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

/// How a sink stands. All sizes and positions are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// Taken and not yet written, as they will be written.
    pub waiting: usize,
    /// Memory that lines take in it: what waits, and what was written but may have to be sent again. Never less than
    /// `waiting`.
    pub held: usize,
    /// A position that grows with all that is taken; always 0 in a sink that does not count.
    pub taken: u64,
    /// The position up to which all that was taken is written, and on the disk where that was asked for.
    pub delivered: u64,
    /// How often so far lines may have been lost that were written, and count as delivered: a sync of theirs failed.
    pub doubts: u64,
    /// How many hosts [`Sink::holds_up`].
    pub held_up: usize,
    /// Grows when one of them is held up no more.
    pub releases: u64,
    /// Since when it has taken nothing though something waits, as time since the server's start.
    pub stuck_since: Option<Duration>,
}

/// What a sink has to tell the loop.
#[derive(Debug)]
pub enum Event<'a> {
    /// A descriptor that is to be watched: from now on [`Sink::ready`] is told of it.
    Watch(Watch<'a>),
    /// What an operator should hear.
    Report {
        /// The number of the output that it is about, below [`MOST_OUTPUTS`](crate::MOST_OUTPUTS).
        output: usize,
        /// A sentence without its full stop.
        sentence: String,
    },
    /// One of several outputs has lost lines, and the others go on. At its end the server says so, and that is no clean one.
    Lost(Loss),
}

/// What the loop orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The next flush tries, however early that is.
    TryNow,
    /// Files are opened anew, since somebody has moved them away (SIGHUP).
    Reopen,
    /// The server ends: each output that has taken nothing since before this time is given up, if others go on.
    GiveUp {
        /// Time since the server's start.
        since: Duration,
    },
}

/// An output that did not get all that it should.
#[derive(Debug)]
pub struct Loss {
    /// Which.
    pub output: String,
    /// Why, and how much.
    pub cause: LossCause,
}

/// Why an output did not get all that it should.
#[derive(Debug)]
#[non_exhaustive]
pub enum LossCause {
    /// It is gone for good.
    Gone {
        /// What the system said.
        error: io::Error,
        /// Bytes that it had been given and that could not be written.
        bytes: usize,
    },
    /// At the end it took nothing for too long.
    Stuck {
        /// Bytes that it had been given and that could not be written.
        bytes: usize,
    },
    /// It was passed over, and took no lines again before the end.
    Missed {
        /// How many lines it did not get.
        lines: u64,
    },
    /// It has all lines, but the newest may not be on the disk.
    NotSynced(io::Error),
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

/// Takes whole lines. Everything that it holds counts towards the memory budget (P5), and it decides itself when it
/// writes: [`Sink::flush`] is called in each turn while something waits, and when [`Sink::due_in`] says so.
pub trait Sink {
    /// Takes some lines of one client. Never blocks on a pipe or socket, never fails, never loses: errors surface in
    /// [`Sink::flush`].
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>);

    /// Writes what waits, as far as that is possible now. `now` is the time since the server's start. A write that failed
    /// and may work later is no error: it is told by [`Event::Report`], and tried again after a pause.
    ///
    /// # Errors
    /// Only when the sink is gone for good, such as a pipe whose reader closed it.
    fn flush(&mut self, now: Duration) -> io::Result<()>;

    /// How it stands.
    fn state(&self) -> State;

    /// Here, behind the lines taken so far, something is missing. A sink that marks gaps says so in its output.
    fn gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        let _ = (origin, gap);
    }

    /// What the sink adds to lines, at worst.
    fn overhead(&self) -> Overhead {
        Overhead::RAW
    }

    /// How long until it is to be flushed though nobody tells of anything.
    fn due_in(&self, now: Duration) -> Option<Duration> {
        let _ = now;
        None
    }

    /// A watched descriptor can be written or read; `is_gone`: its other side is. The next flush acts on it.
    fn ready(&mut self, number: usize, is_gone: bool) {
        let _ = (number, is_gone);
    }

    /// Whether no more lines of this peer should be read for the moment, though those of others may be: its host's file
    /// can't be written. What comes all the same is taken.
    fn holds_up(&self, peer: &Peer) -> bool {
        let _ = peer;
        false
    }

    /// What it has to tell. Asked after each flush until there is nothing.
    fn poll_event(&mut self) -> Option<Event<'_>> {
        None
    }

    /// Does what the loop orders; false if there was nothing to do.
    fn obey(&mut self, order: Order) -> bool {
        let _ = order;
        false
    }

    /// The server ends, and everything is flushed: whether all is where it belongs for good. Asked until it is.
    fn settle(&mut self, now: Duration) -> bool {
        let _ = now;
        self.state().waiting == 0
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
