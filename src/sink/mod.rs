//! Sinks: where lines go. A sink never waits for a pipe or a socket, and never loses what it was given: it keeps what it
//! could not write, and says how much that is.
//!
//! [`Outputs`] is the sink of the program. For each `--output` it has an `Output`, which decides when to write, and what
//! happens to lines while nothing can be written. An `Output` writes to its `Target`: a file, the files of hosts, a
//! descriptor, or the next receiver. What is known of a target before it is opened is its `Place`. Each kind of output is
//! one file in a wing (`files/`, `next/`, `stream/`) with its `Place` and its `Target`, and one row in `kinds.rs`.

mod claim;
mod ending;
mod error;
mod escape;
mod fields;
mod files;
pub mod format;
mod kinds;
mod memory;
mod misread;
mod next;
mod output;
mod outputs;
mod pace;
mod place;
mod said;
mod source;
#[cfg_attr(not(feature = "spool"), path = "no_spool.rs")]
mod spooled;
mod stream;
mod target;
mod waiting;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use self::error::OpenError;
#[cfg(feature = "cli")]
pub(crate) use self::error::foresee;
pub use self::format::Format;
#[cfg(all(feature = "cli", feature = "spool", feature = "nats"))]
pub(crate) use self::kinds::credentials_of;
pub use self::memory::MemorySink;
pub use self::outputs::Outputs;
pub use self::pace::Pacing;
pub use self::place::{OutputAddr, OutputAddrError};

#[cfg(feature = "cli")]
pub(crate) use self::claim::{User, conflict};
#[cfg(any(feature = "status", feature = "push"))]
pub(crate) use self::escape::escape;
#[cfg(all(feature = "cli", feature = "spool"))]
pub(crate) use self::files::daily::clock;
#[cfg(feature = "cli")]
pub(crate) use self::files::stored::open_set;
#[cfg(all(feature = "cli", feature = "spool"))]
pub(crate) use self::format::Formatter;
#[cfg(feature = "cli")]
pub(crate) use self::format::parse_tag;
#[cfg(any(feature = "cli", feature = "status"))]
pub(crate) use self::format::write_time;
#[cfg(feature = "status")]
pub(crate) use self::format::{write_number, write_peer};
#[cfg(feature = "cli")]
pub(crate) use self::kinds::SYNTAX;
#[cfg(feature = "cli")]
pub(crate) use self::outputs::overhead;
#[cfg(feature = "cli")]
pub(crate) use self::place::DiskUse;
#[cfg(feature = "cli")]
pub(crate) use self::spooled::{descriptors as spool_descriptors, foresee as foresee_spool};
#[cfg(feature = "cli")]
pub(crate) use self::stream::adopt::{Adopted, Borrowed, Way, adopt, send_without_waiting, told_of_us};
#[cfg(feature = "cli")]
pub(crate) use self::stream::stdout::own as own_stdout;

use crate::config::limits::Overhead;
use crate::config::syslog::Parse;
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
    /// What they are to be read as.
    pub parse: Parse,
}

/// What a sink holds, and how far it has come. All sizes and positions are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// Bytes that it was given and has not written yet, counted as they will be written.
    pub waiting: usize,
    /// Bytes of memory that lines take in it: those that wait, and those that were written but may have to be sent again.
    /// Never less than `waiting`. The server keeps it within the sink's share of the memory budget (P5).
    pub held: usize,
    /// How many bytes it was given since its start. A sink that does not count leaves it at 0.
    pub taken: u64,
    /// How many of `taken`'s bytes, from the first on, are written, and on the disk where that was asked for; those of hosts
    /// that are behind ([`Sink::is_behind`]) apart.
    pub delivered: u64,
    /// How often a sync has failed. Lines that were written before it count as `delivered`, but may be lost.
    pub doubts: u64,
    /// How many hosts have [`Welcome::Nothing`].
    pub held_up: usize,
    /// How many hosts [`Sink::is_behind`] is true for.
    pub behind: usize,
    /// How many lines it left out because that was asked for (`--min-severity`).
    pub filtered: u64,
    /// Grows when a host is held up no more, or behind no more.
    pub releases: u64,
    /// Since when it could write nothing though something waits, as time since the server's start; else `None`. When the
    /// server ends, it gives up a sink for which this is longer than `--drain-timeout`, and waits for any other.
    pub stuck_since: Option<Duration>,
}

/// What a sink has to tell the loop.
#[derive(Debug)]
pub enum Event<'a> {
    /// The loop is to watch a descriptor, and to call [`Sink::ready`] when it can be written or read.
    Watch(Watch<'a>),
    /// A sentence for the server's log.
    Report {
        /// Number of the output that it is about, below [`MOST_OUTPUTS`](crate::MOST_OUTPUTS).
        output: usize,
        /// How much it matters.
        weight: Weight,
        /// The sentence, without its full stop.
        sentence: String,
    },
    /// One of several outputs has lost lines, and the others go on. At its end the server says so, and that is no clean one.
    Lost(Loss),
}

/// How much a sentence of a sink matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// All is well, and this is worth a note.
    News,
    /// Something may have to be done.
    Warning,
}

/// What the loop orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The next flush writes, even if the pause after a failure is not over.
    TryNow,
    /// The sink opens its files anew, since somebody may have moved them away (SIGHUP).
    Reopen,
    /// The server ends. If some outputs can be written to, the sink gives up those that could not be since before this
    /// time. If none can, it gives up nothing.
    GiveUp {
        /// Time since the server's start.
        since: Duration,
    },
}

/// An output that did not get all that it should.
#[derive(Debug)]
pub struct Loss {
    /// Its name.
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

/// How much of a peer may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Welcome {
    /// Nothing: its host's file can't be written.
    Nothing,
    /// Some lines: its host's file is not open, and those of others can't be written. What was read has to be kept.
    Little,
    /// As much as there is room for.
    All,
}

/// Which events of a descriptor the sink wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// It can be written, or its reader is gone.
    Write,
    /// It can be written or read, or the other side has closed it.
    ReadWrite,
}

/// A descriptor that the loop is to watch.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'a> {
    /// The number that [`Sink::ready`] gets for it; below 16. A new descriptor with the same number takes the place of
    /// the old one.
    pub number: usize,
    /// The descriptor. The kernel stops watching it when it is closed.
    pub descriptor: BorrowedFd<'a>,
    /// Which of its events.
    pub interest: Interest,
}

/// Takes whole lines from the server. What it holds counts towards the memory budget (P5), and it decides itself when it
/// writes: the server calls [`Sink::flush`] in each turn in which something waits, and when [`Sink::due_in`] says so.
///
/// Three methods are required: [`Sink::append`], [`Sink::flush`] and [`Sink::state`].
pub trait Sink {
    /// Takes some lines of one client. Never blocks on a pipe or socket, never fails, never loses: errors surface in
    /// [`Sink::flush`].
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>);

    /// Writes what waits, as far as that is possible now. `now` is the time since the server's start. If a write fails that
    /// may work later, the sink says so by [`Event::Report`], tries again after a pause, and returns no error.
    ///
    /// # Errors
    /// Only when the sink is gone for good, such as a pipe whose reader closed it.
    fn flush(&mut self, now: Duration) -> io::Result<()>;

    /// What it holds, and how far it has come. Asked before each read of a client.
    fn state(&self) -> State;

    /// Lines of this client are missing here, behind those given so far. A sink that marks gaps (`--mark-gaps`) says so in
    /// its output.
    fn gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        let _ = (origin, gap);
    }

    /// The most that the sink adds to lines: what a line takes in it is more than what the client sent.
    fn overhead(&self) -> Overhead {
        Overhead::RAW
    }

    /// How long until [`Sink::flush`] has to be called even if no line comes and no descriptor is ready. `None`: never.
    fn due_in(&self, now: Duration) -> Option<Duration> {
        let _ = now;
        None
    }

    /// A watched descriptor can be written or read. If `is_gone`, its other side has closed it. The sink only notes that; the
    /// next flush acts on it.
    fn ready(&mut self, number: usize, is_gone: bool) {
        let _ = (number, is_gone);
    }

    /// How much of this peer may be read for the moment, though those of others may be read freely. What comes all the
    /// same is taken.
    fn welcome(&self, peer: &Peer) -> Welcome {
        let _ = peer;
        Welcome::All
    }

    /// Whether lines of this peer's host, which may be among those that count as delivered, are not written or not on the
    /// disk yet: its file can't be written, or has only just caught up.
    fn is_behind(&self, peer: &Peer) -> bool {
        let _ = peer;
        false
    }

    /// Since when the output with this number could write nothing though something waits.
    fn stuck_since(&self, output: usize) -> Option<Duration> {
        let _ = output;
        None
    }

    /// Since when lines that are kept for the output with this number can't go there, though nobody waits for that.
    fn away_since(&self, output: usize) -> Option<Duration> {
        let _ = output;
        None
    }

    /// Since when the output with this number has acknowledged nothing, though it was sent lines and its server answers.
    fn unacked_since(&self, output: usize) -> Option<Duration> {
        let _ = output;
        None
    }

    /// Whether the output with this number falls further and further behind what is kept for it (`--lag-alarm`).
    fn is_falling_behind(&self, output: usize) -> bool {
        let _ = output;
        false
    }

    /// The next thing that the sink has to tell the loop. Asked after each flush until the answer is `None`.
    fn poll_event(&mut self) -> Option<Event<'_>> {
        None
    }

    /// Does what the loop orders. False if there was nothing to do.
    fn obey(&mut self, order: Order) -> bool {
        let _ = order;
        false
    }

    /// The server ends: brings what was written to where it belongs for good (a last sync; the next receiver has it all).
    /// Asked again until the answer is true.
    fn settle(&mut self, now: Duration) -> bool {
        let _ = now;
        self.state().waiting == 0
    }

    /// Counters of each output, always in the same order. Empty in a sink that does not count.
    fn outputs(&self) -> &[OutputStats] {
        &[]
    }

    /// What the sink is, for a sentence: `stdout`, `app.log`; of several outputs, the slowest.
    fn describe(&self) -> String {
        "the output".to_owned()
    }
}
