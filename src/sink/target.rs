//! What each kind of output has to do: take whole lines, write them when it is told to, and report what became of them.
//! Invariant: what a target took, it writes once and in order, or reports as dropped.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::said::Said;
use super::waiting::Parts;
use super::{Interest, Origin, Weight, Welcome};
use crate::config::output::OutputOptions;
use crate::config::text::as_text;
use crate::engine::gap::Gap;
use crate::engine::peer::Host;
use crate::engine::stats::OutputCounters;

/// From this size on a block is written without being copied: a copy of 16 KiB costs about as much as the system call
/// that it saves.
pub(super) const DIRECT_BYTES: usize = 16 * 1024;
/// When this much waits, it is written at once, and not only at the end of the turn.
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
    /// The kernel takes no more. The rest waits until the descriptor can be written.
    Blocked,
    /// The rest waits on purpose, to be written together with later lines: until [`Target::due_in`], or until there is
    /// enough.
    Later,
    /// Work of its own has to be done first, such as a sync. [`Target::due_in`] says when to try again.
    #[cfg_attr(not(any(feature = "spool", feature = "nats", feature = "push")), expect(dead_code))]
    Busy,
    /// There is no connection, or there is one that still gets what was sent before: for the lines that wait this is no
    /// progress. [`Target::due_in`] says when to try again.
    Away,
}

/// What became of an output's lines, and what the log is to say of it.
#[derive(Default)]
pub(super) struct Books {
    pub(super) counters: OutputCounters,
    pub(super) reports: Vec<String>,
    /// What is well, for the log.
    pub(super) news: Vec<String>,
    /// Lines that were dropped, and that the output does not say yet that it misses.
    pub(super) gap: Option<Gap>,
    /// How often a sync has failed. The kernel forgets what it could not sync, so lines that were written may be lost.
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

    /// Counts lines as dropped. The caller says so in the log.
    pub(super) fn dropped(&mut self, lines: u64, bytes: u64) {
        self.counters.dropped_lines = self.counters.dropped_lines.saturating_add(lines);
        self.counters.dropped_bytes = self.counters.dropped_bytes.saturating_add(bytes);
    }

    /// Takes the oldest sentence for the log.
    pub(super) fn next_report(&mut self) -> Option<(Weight, String)> {
        if !self.reports.is_empty() {
            return Some((Weight::Warning, self.reports.remove(0)));
        }
        (!self.news.is_empty()).then(|| (Weight::News, self.news.remove(0)))
    }

    /// Adds a warning for the log.
    pub(super) fn report(&mut self, sentence: fmt::Arguments<'_>) {
        self.reports.push(as_text(&sentence));
    }

    /// Adds warnings about an output.
    #[inline(never)] // one copy, for size
    pub(super) fn report_all(&mut self, name: &str, sentences: Vec<String>) {
        for sentence in sentences {
            self.report(format_args!("{name}: {sentence}"));
        }
    }

    /// Adds a sentence about what is well.
    #[cfg_attr(not(any(feature = "spool", feature = "nats", feature = "push")), expect(dead_code))]
    pub(super) fn tell(&mut self, sentence: fmt::Arguments<'_>) {
        self.news.push(as_text(&sentence));
    }
}

/// Whose lines a block holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose<'a> {
    /// A client's, and what each of them says of itself.
    Client(&'a Origin<'a>, &'a Said),
    /// No client's: the block is a mark that says what this output alone is missing.
    Mark,
}

/// What became of a block that a target took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Took {
    /// All of it waits, for the end of the turn or for more. No write was tried.
    Waits,
    /// A write was tried, and worked.
    Written,
    /// A write was tried and refused; all that was not written waits.
    Refused,
}

/// What a target holds, and how far it has come, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// Bytes that wait to be written.
    pub(super) waiting: usize,
    /// Bytes of memory that lines take.
    pub(super) held: usize,
    /// How many of the bytes that it took, from the first on, are written, and synced where that is asked for; those of
    /// hosts that are behind apart.
    pub(super) delivered: u64,
    /// How many hosts are held up: no more of theirs should be taken for the moment.
    pub(super) held_up: usize,
    /// How many hosts [`Target::is_behind`] is true for.
    pub(super) behind: usize,
    /// Grows when a host is held up no more, or behind no more.
    pub(super) releases: u64,
}

/// What one output writes to. Its `Output` decides when it is tried again after a write was refused.
pub(super) trait Target {
    /// Takes whole lines, each with its `\n`. If it `may_write`, it writes a large block at once, which saves a copy.
    fn take(&mut self, whose: Whose<'_>, parts: Parts<'_>, may_write: bool, books: &mut Books) -> Took;

    /// Writes what waits, as far as possible.
    ///
    /// # Errors
    /// `BrokenPipe` or `ConnectionReset` when the output is gone for good; any other may pass.
    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote>;

    /// What it holds, and how far it has come.
    fn standing(&self) -> Standing;

    /// Bytes that wait to be written: what [`Self::standing`] says of them, for who asks with each line.
    fn waiting(&self) -> usize {
        self.standing().waiting
    }

    /// Drops the lines that wait, but for the first, which may have been written in part. Returns how many lines and bytes
    /// it dropped.
    fn drop_lines(&mut self) -> (u64, usize);

    /// How many lines [`Self::drop_lines`] leaves: the first, if there is any, but for those that have more under way.
    fn lines_left(&self) -> u64 {
        u64::from(self.waiting() > 0)
    }

    /// How long until [`Target::write`] has to be called even if no line comes and no descriptor is ready. `None`: never.
    fn due_in(&self, now: Duration) -> Option<Duration> {
        let _ = now;
        None
    }

    /// A descriptor that the loop is to watch and does not watch yet.
    fn unwatched(&mut self) -> Option<(BorrowedFd<'_>, Interest)> {
        None
    }

    /// The descriptor can be written or read. If `is_gone`, its other side has closed it. True if this is the end of the
    /// output.
    fn ready(&mut self, is_gone: bool) -> bool {
        is_gone
    }

    /// How much of this host may be read for the moment.
    fn welcome(&self, host: Host) -> Welcome {
        let _ = host;
        Welcome::All
    }

    /// Whether lines of this host are not where they belong, though they may count as delivered.
    fn is_behind(&self, host: Host) -> bool {
        let _ = host;
        false
    }

    /// Whether it decides itself who is passed over (`--on-stall drop`), since it is many outputs in one.
    fn passes_over_itself(&self) -> bool {
        false
    }

    /// Since when lines that wait elsewhere can't go there: nobody waits for that.
    fn away_since(&self) -> Option<Duration> {
        None
    }

    /// Since when it has acknowledged nothing, though it was sent lines and its server answers.
    fn unacked_since(&self) -> Option<Duration> {
        None
    }

    /// The server that takes its lines, if it has told its name.
    fn server(&self) -> &str {
        ""
    }

    /// Whether it has fallen further and further behind what is kept for it, for too long.
    fn is_falling_behind(&self) -> bool {
        false
    }

    /// It is parted with: what the next start has of it is told.
    fn tell_kept(&mut self, _books: &mut Books) {}

    /// The end has come, and nothing was taken for long: what it passes over by itself is not waited for any longer. True if
    /// there was any.
    fn give_up(&mut self, books: &mut Books) -> bool {
        let _ = books;
        false
    }

    /// What is missing from now on, and is to be marked by the next [`Whose::Mark`].
    fn next_gap(&mut self) -> Option<Gap> {
        None
    }

    /// Whether a write may work though the descriptor takes nothing, since it would go to another one.
    fn may_change(&self) -> bool {
        false
    }

    /// The next write tries, however early that is.
    fn try_now(&mut self) {}

    /// The options have changed, in what can change while it is open ([`OutputOptions::renew`]). [`Self::reopen`] comes next.
    fn configure(&mut self, options: &OutputOptions, books: &mut Books) {
        let _ = (options, books);
    }

    /// SIGHUP: somebody may have moved the file away, so it is opened anew.
    fn reopen(&mut self) {}

    /// The server ends: brings what was written to where it belongs for good, and returns whether it is there. Asked again
    /// until it is. From the first time on, nothing waits on purpose any more.
    fn settle(&mut self, now: Duration, books: &mut Books) -> bool {
        let _ = (now, books);
        self.waiting() == 0
    }
}

/// Takes the place of a target that is gone for good: a target that does nothing.
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
