//! What an output has to be able to do, whatever it is: take whole lines, write them when it can, and say what became of
//! them. Invariant: what a target took, it writes once and in order, or says that it was dropped.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::waiting::Parts;
use super::{Interest, Welcome};
use crate::engine::gap::Gap;
use crate::engine::peer::{Host, Peer};
use crate::engine::stats::OutputCounters;

/// From this size on a block is written without being copied: a copy of 16 KiB costs about as much as the system call
/// that it saves.
pub(super) const DIRECT_BYTES: usize = 16 * 1024;
/// When this much has been gathered, it is written without waiting for the end of the turn.
pub(super) const GATHERED_BYTES: usize = 64 * 1024;
/// What a buffer has room for from the start, and shrinks to when it is empty. From 128 KiB on glibc and musl map it by
/// itself: grown in the middle of a crowd of pending lines, it would lie above them, and keep their memory from going
/// back to the system for good (16 of 16 MiB). What was never written to is not resident.
pub(super) const KEPT_BYTES: usize = 3 * GATHERED_BYTES;

/// What a write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    /// Nothing waits any more.
    All,
    /// The rest waits until the descriptor can be written.
    Blocked,
    /// The rest waits on purpose, until [`Target::due_in`] or more of it.
    Later,
    /// It can't be written to, or takes only what it has had already; [`Target::due_in`] tells when it goes on.
    Away,
}

/// What became of lines, and what an operator should hear.
#[derive(Default)]
pub(super) struct Books {
    pub(super) counters: OutputCounters,
    pub(super) reports: Vec<String>,
    /// Lines that are missing from now on.
    pub(super) gap: Option<Gap>,
    /// How often lines that were written may be lost: what a sync failed on, the kernel forgets.
    pub(super) doubts: u64,
    /// Why the last sync, at the end, failed.
    pub(super) unsynced: Option<io::Error>,
    /// Lines that were missed at the end by a target that passes over by itself.
    pub(super) missed_lines: u64,
}

impl Books {
    /// A write took so many bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.counters.bytes = self.counters.bytes.saturating_add(bytes as u64);
        self.counters.writes = self.counters.writes.saturating_add(1);
    }

    /// So much is lost, and is said elsewhere.
    pub(super) fn dropped(&mut self, lines: u64, bytes: u64) {
        self.counters.dropped_lines = self.counters.dropped_lines.saturating_add(lines);
        self.counters.dropped_bytes = self.counters.dropped_bytes.saturating_add(bytes);
    }

    /// The one that came first.
    pub(super) fn next_report(&mut self) -> Option<String> {
        (!self.reports.is_empty()).then(|| self.reports.remove(0))
    }

    /// What an operator should hear: a sentence.
    pub(super) fn report(&mut self, sentence: fmt::Arguments<'_>) {
        self.reports.push(sentence.to_string());
    }
}

/// Whose lines a block holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose<'a> {
    /// A client's.
    Client(&'a Peer),
    /// Nobody's: it is a mark of what this target alone is missing.
    Mark,
}

/// What became of a block that a target took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// All of it waits, for the end of the turn or for more; nothing was tried.
    Waits,
    /// A write was tried, and worked.
    Written,
    /// A write was tried and refused; all that was not written waits.
    Refused,
}

/// How a target stands, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// That wait to be written.
    pub(super) waiting: usize,
    /// Of memory that lines take.
    pub(super) held: usize,
    /// The position, in bytes taken, up to which all is written, and synced where that is asked for.
    pub(super) delivered: u64,
    /// How many hosts are held up: no more of theirs should be taken for the moment.
    pub(super) held_up: usize,
    /// Grows when one of them is held up no more.
    pub(super) releases: u64,
}

/// What one output writes to. It never decides when to try again: its `Output` does.
pub(super) trait Target {
    /// Takes whole lines, each with its `\n`, and writes them at once where that saves a copy, if it `may_write`.
    fn take(&mut self, whose: Whose<'_>, parts: Parts<'_>, may_write: bool, books: &mut Books) -> Took;

    /// Writes what waits, as far as possible.
    ///
    /// # Errors
    /// `BrokenPipe` or `ConnectionReset` when the output is gone for good; any other may pass.
    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote>;

    /// How it stands.
    fn standing(&self) -> Standing;

    /// Drops what waits but for the first line of it, and answers how many lines and bytes that were.
    fn drop_lines(&mut self) -> (u64, usize);

    /// How long until it is to be written to though nobody tells of anything.
    fn due_in(&self, now: Duration) -> Option<Duration> {
        let _ = now;
        None
    }

    /// A descriptor that is not watched yet.
    fn unwatched(&mut self) -> Option<(BorrowedFd<'_>, Interest)> {
        None
    }

    /// The descriptor can be written or read; `is_gone`: its other side is. True if the output is gone with it.
    fn ready(&mut self, is_gone: bool) -> bool {
        is_gone
    }

    /// How much of this host may be read for the moment.
    fn welcome(&self, host: Host) -> Welcome {
        let _ = host;
        Welcome::All
    }

    /// Whether it decides itself who is passed over (`--on-stall drop`), since it is many outputs in one.
    fn passes_over_itself(&self) -> bool {
        false
    }

    /// What is missing from now on, and is to be marked by the next [`Whose::Mark`].
    fn next_gap(&mut self) -> Option<Gap> {
        None
    }

    /// The next write tries, however early that is.
    fn try_now(&mut self) {}

    /// Somebody has moved the file away.
    fn reopen(&mut self) {}

    /// The server ends: whether all is where it belongs for good. Asked until it is; from the first time on nothing waits
    /// on purpose.
    fn settle(&mut self, now: Duration, books: &mut Books) -> bool {
        let _ = (now, books);
        self.standing().waiting == 0
    }
}

/// In the place of a target that is gone for good.
pub(super) struct Gone;

impl Target for Gone {
    fn take(&mut self, _: Whose<'_>, _: Parts<'_>, _: bool, _: &mut Books) -> Took {
        Took::Written
    }

    fn write(&mut self, _: Duration, _: &mut Books) -> io::Result<Wrote> {
        Ok(Wrote::All)
    }

    fn standing(&self) -> Standing {
        // What the others have written is all that can be.
        Standing { delivered: u64::MAX, ..Standing::default() }
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        (0, 0)
    }
}
