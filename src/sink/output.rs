//! One output: what it writes to, when it is written to, and what becomes of lines while it takes none. Invariant: what it
//! took is written once and in order, or counted as dropped and said.

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::pace::Pacing;
use super::target::{Books, Gone, Standing, Target, Took, Whose, Wrote};
use super::waiting::{Parts, len_of};
use super::{Interest, LossCause, Welcome};
use crate::config::output::{OnStall, OutputOptions};
use crate::engine::gap::{Gap, Why};
use crate::engine::peer::Host;
use crate::engine::stats::OutputCounters;

/// After so long without a word an output that takes nothing is worth a warning.
const STUCK: Duration = Duration::from_secs(5);

/// What becomes of lines that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// The target takes them.
    Taking,
    /// It has stood still for too long (`--on-stall drop`): they are counted, until it takes what it held on to.
    PassedOver { missed: Gap },
    /// It is gone for good. So many lines were missed since, and nobody was told.
    Gone { missed_lines: u64 },
}

/// What the operator knows of an output that takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    /// It was said that it has taken nothing for a while.
    Stuck,
    /// The target says itself how it stands: the other side is away.
    FromTarget,
}

pub(super) struct Output {
    name: String,
    target: Box<dyn Target>,
    pacing: Pacing,
    stand: Stand,
    known: Known,
    books: Books,
    /// After how long without taking anything it is passed over.
    stall_timeout: Option<Duration>,
    /// Bytes of marks that only it got.
    own_bytes: u64,
}

impl Output {
    pub(super) fn new(name: String, target: Box<dyn Target>, books: Books, options: &OutputOptions) -> Self {
        let stall_timeout = (!target.passes_over_itself()).then_some(options.stall_timeout);
        Self {
            name,
            target,
            pacing: Pacing::default(),
            stand: Stand::Taking,
            known: Known::Nothing,
            books,
            stall_timeout: stall_timeout.filter(|_| options.on_stall == OnStall::Drop),
            own_bytes: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn counters(&self) -> OutputCounters {
        OutputCounters { waiting_bytes: self.standing().waiting as u64, ..self.books.counters }
    }

    /// How often lines that were written may have been lost.
    pub(super) fn doubts(&self) -> u64 {
        self.books.doubts
    }

    /// How its target stands; marks that only it got are no part of the position, which is that of all outputs.
    pub(super) fn standing(&self) -> Standing {
        let standing = self.target.standing();
        Standing { delivered: standing.delivered.saturating_sub(self.own_bytes), ..standing }
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.stand, Stand::Gone { .. })
    }

    /// How much of this host may be read for the moment.
    pub(super) fn welcome(&self, host: Host) -> Welcome {
        self.target.welcome(host)
    }

    /// Whether lines for it may be dropped.
    pub(super) fn may_be_passed_over(&self) -> bool {
        self.stall_timeout.is_some()
    }

    pub(super) fn stuck_since(&self) -> Option<Duration> {
        self.pacing.stuck_since()
    }

    /// Whether all of the block waits now, and nothing else of how it stands has changed.
    pub(super) fn take(&mut self, whose: Whose<'_>, parts: Parts<'_>, lines: u64) -> bool {
        match &mut self.stand {
            Stand::Taking => {}
            Stand::PassedOver { missed } => {
                let bytes = len_of(parts) as u64;
                missed.lines += lines;
                missed.bytes += bytes;
                self.books.dropped(lines, bytes);
                return false;
            }
            Stand::Gone { missed_lines } => {
                *missed_lines += lines;
                self.books.dropped(lines, len_of(parts) as u64);
                return false;
            }
        }
        let took = self.target.take(whose, parts, self.pacing.is_flowing(), &mut self.books);
        if took == Took::Refused {
            self.pacing.refuse();
        }
        took == Took::Waits
    }

    /// Takes a mark of what only this output is missing.
    pub(super) fn take_mark(&mut self, mark: &[u8]) {
        self.own_bytes += mark.len() as u64;
        self.take(Whose::Mark, [mark, &[], &[]], 1);
    }

    /// Writes what waits, if it is time to try.
    ///
    /// # Errors
    /// It is gone for good.
    pub(super) fn flush(&mut self, now: Duration) -> io::Result<()> {
        if self.is_gone() {
            return Ok(());
        }
        if self.pacing.may_try(now) {
            self.write(now)?;
        }
        self.note_stuck(now);
        self.pass_over(now);
        Ok(())
    }

    fn write(&mut self, now: Duration) -> io::Result<()> {
        let before = self.target.standing().waiting;
        let written = self.target.write(now, &mut self.books);
        let has_moved = self.target.standing().waiting < before;
        let is_away = matches!(written, Ok(Wrote::Away));
        if has_moved && !is_away {
            self.pacing.progress();
        }
        if is_away {
            self.known = Known::FromTarget;
        } else if self.known == Known::FromTarget {
            self.known = Known::Nothing;
        }
        match written {
            Ok(Wrote::All | Wrote::Later) => {
                let was_stuck = mem::replace(&mut self.known, Known::Nothing) == Known::Stuck;
                if (self.pacing.done() || was_stuck) && self.stand == Stand::Taking {
                    self.books.report(format_args!("{} takes lines again", self.name));
                }
            }
            Ok(Wrote::Away) => self.pacing.wait(now),
            Ok(Wrote::Blocked) => self.pacing.block(now),
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => {
                self.books.counters.failures = self.books.counters.failures.saturating_add(1);
                self.pacing.fail(now, has_moved);
                let who = if self.may_be_passed_over() { "lines" } else { "clients" };
                self.books.report(format_args!("cannot write to {}: {error}; {who} wait, trying again", self.name));
            }
        }
        Ok(())
    }

    /// Who waits for what has to be seen: of several outputs, this one sets the pace.
    fn note_stuck(&mut self, now: Duration) {
        let is_long = self.stuck_since().is_some_and(|since| now.saturating_sub(since) >= STUCK);
        let is_news = self.known == Known::Nothing && self.stand == Stand::Taking && !self.pacing.is_failing();
        if is_long && is_news {
            self.known = Known::Stuck;
            let seconds = STUCK.as_secs();
            self.books.report(format_args!("{} has taken nothing for {seconds} s: clients wait for it", self.name));
        }
    }

    /// `--on-stall drop`: an output that stands still too long is passed over, until it has taken what it held on to.
    fn pass_over(&mut self, now: Duration) {
        let (Some(timeout), Some(since)) = (self.stall_timeout, self.stuck_since()) else { return };
        if self.stand != Stand::Taking || now.saturating_sub(since) < timeout {
            return;
        }
        let (lines, bytes) = self.target.drop_lines();
        self.stand = Stand::PassedOver { missed: Gap { lines, bytes: bytes as u64, why: Why::Stalled } };
        self.books.dropped(lines, bytes as u64);
        let name = &self.name;
        self.books.report(format_args!(
            "{name} has taken nothing for --stall-timeout: it is passed over, its lines are dropped"
        ));
    }

    /// What it missed, once it takes lines again; what it lost to a full disk.
    pub(super) fn gap(&mut self) -> Option<Gap> {
        if let Some(gap) = self.target.next_gap() {
            return Some(gap);
        }
        if self.target.standing().waiting > 0 || !self.pacing.is_flowing() {
            return None;
        }
        let Stand::PassedOver { missed } = self.stand else { return self.books.gap.take() };
        self.stand = Stand::Taking;
        let (name, lines) = (&self.name, missed.lines);
        self.books.report(format_args!("{name} takes lines again; {lines} lines were dropped meanwhile"));
        Some(missed)
    }

    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        if !self.books.reports.is_empty() {
            return Some(Duration::ZERO);
        }
        let stuck_for = self.stuck_since().filter(|_| self.stand == Stand::Taking);
        let left_of = |time: Duration| stuck_for.map(|since| time.saturating_sub(now.saturating_sub(since)));
        let stall = self.stall_timeout.and_then(left_of);
        let is_said = self.known != Known::Nothing || self.pacing.is_failing();
        let word = if is_said { None } else { left_of(STUCK) };
        // While it refuses, its own times would end the wait for nothing.
        let own = if self.pacing.is_flowing() { self.target.due_in(now) } else { self.pacing.due_in(now) };
        own.into_iter().chain(stall).chain(word).min()
    }

    /// Its descriptor can be written or read; true if it is gone for good.
    pub(super) fn ready(&mut self, is_gone: bool) -> bool {
        self.pacing.writable();
        self.target.ready(is_gone)
    }

    pub(super) fn try_now(&mut self) {
        if !self.is_gone() {
            self.pacing.try_now();
            self.target.try_now();
        }
    }

    pub(super) fn reopen(&mut self) {
        self.pacing.hurry();
        self.target.reopen();
    }

    pub(super) fn unwatched(&mut self) -> Option<(BorrowedFd<'_>, Interest)> {
        self.target.unwatched()
    }

    pub(super) fn next_report(&mut self) -> Option<String> {
        self.books.next_report()
    }

    /// It gets nothing any more, for the reason that `why` says. Answers how many bytes it had been given in vain.
    pub(super) fn lose(&mut self, why: fmt::Arguments<'_>) -> usize {
        let bytes = self.target.standing().waiting;
        let (lines, _) = self.target.drop_lines();
        // The first line is not among them, as it may have been written in part.
        let lines = lines + u64::from(self.target.standing().waiting > 0);
        self.books.dropped(lines, bytes as u64);
        let missed = match self.stand {
            Stand::PassedOver { missed } => missed.lines,
            Stand::Taking | Stand::Gone { .. } => 0,
        };
        self.stand = Stand::Gone { missed_lines: missed + lines };
        self.pacing.end();
        self.target = Box::new(Gone);
        self.books.report(format_args!("{} {why}", self.name));
        // Who waits for a receipt of these lines gets none.
        self.books.doubts += 1;
        bytes
    }

    /// The server ends: whether all that it took is where it belongs for good.
    pub(super) fn settle(&mut self, now: Duration) -> bool {
        self.target.settle(now, &mut self.books)
    }

    /// The end has come, and it was asked to settle: what it lost at the last, if anything. `may_end`: one that is passed
    /// over is not waited for any longer.
    pub(super) fn end(&mut self, may_end: bool) -> Option<LossCause> {
        if may_end && matches!(self.stand, Stand::PassedOver { .. }) {
            self.lose(format_args!("still takes nothing, and is not waited for"));
        }
        let missed = match &mut self.stand {
            Stand::Taking => {
                let lines = mem::take(&mut self.books.missed_lines);
                let missed = (lines > 0).then_some(LossCause::Missed { lines });
                return missed.or(self.books.unsynced.take().map(LossCause::NotSynced));
            }
            // It is still waited for.
            Stand::PassedOver { .. } => return None,
            Stand::Gone { missed_lines } => missed_lines,
        };
        let lines = mem::take(missed);
        (lines > 0).then_some(LossCause::Missed { lines })
    }
}

/// A reader that closed the pipe will not come back.
fn is_final(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}
