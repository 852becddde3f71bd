//! One file of many, that of a host or of whatever its name is made of; when it is written to, and what becomes of its lines
//! while it takes none: what one file can't do holds up nobody whose lines don't go there. Invariant: a lane that is passed over holds no more than [`PROBE_BYTES`].

use std::io;
use std::mem;
use std::time::Duration;

use super::log_file::LogFile;
use super::path::shown;
use super::sync::Syncs;
use crate::config::output::{OnStall, OutputOptions};
use crate::config::units::DisplayLines;
use crate::config::units::soonest;
use crate::engine::gap::{Gap, Why};
use crate::engine::peer::Host;
use crate::sink::Welcome;
use crate::sink::pace::Pacing;
use crate::sink::target::{Books, Took};
use crate::sink::waiting::{Parts, len_of, lines_in};

/// A first line that is no longer stays with a file that is passed over: writing it is how to find out that lines are taken
/// again. A longer one goes with the others, and the file is opened in its place.
const PROBE_BYTES: usize = 256;

/// What becomes of lines that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Taking,
    /// It has stood still for too long (`--on-stall drop`): they are counted.
    PassedOver {
        missed: Gap,
    },
}

/// Whether all that the file took is where it belongs, as far as positions of the whole output say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lag {
    InStep,
    /// It could not be written, and the others were counted without it. It has caught up when all up to this position within
    /// the file is written.
    Behind {
        until: u64,
    },
    /// It has caught up, and is to be synced: when [`Syncs::note_late`] was told.
    Unsynced {
        begun: u64,
    },
}

/// Hosts of which so much is known stay listed where nothing waits any more.
const KEPT_HOSTS: usize = 64;

/// One file.
pub(super) struct Lane {
    pub(super) name: String,
    /// Hosts whose lines it may hold that are not written, in order; of a file that is one host's alone, that host.
    pub(super) hosts: Vec<Host>,
    /// Whether it is one host's alone.
    is_hosts: bool,
    pub(super) file: LogFile,
    /// The position at which it was last used.
    pub(super) used: u64,
    /// The position within the file up to which it had taken lines at the checkpoint.
    pub(super) mark: u64,
    pacing: Pacing,
    stand: Stand,
    /// Whether its host was held up at the last look.
    was_held_up: bool,
    lag: Lag,
    /// After how long without taking anything it is passed over.
    stall_timeout: Option<Duration>,
}

fn stall_timeout(options: &OutputOptions) -> Option<Duration> {
    (options.on_stall == OnStall::Drop).then_some(options.stall_timeout)
}

impl Lane {
    /// One of a single host, if `is_hosts`.
    pub(super) fn new(name: String, file: LogFile, is_hosts: bool, options: &OutputOptions) -> Self {
        Self {
            name,
            hosts: Vec::new(),
            is_hosts,
            file,
            used: 0,
            mark: 0,
            pacing: Pacing::default(),
            stand: Stand::Taking,
            was_held_up: false,
            lag: Lag::InStep,
            stall_timeout: stall_timeout(options),
        }
    }

    /// Takes over what can change while it is known. One that is passed over stays so until it takes lines.
    pub(super) fn configure(&mut self, options: &OutputOptions) {
        self.stall_timeout = stall_timeout(options);
        self.file.configure(options);
    }

    /// Lines of this host are about to come. They may be among those of others.
    pub(super) fn list(&mut self, host: Host) {
        self.forget_hosts();
        if self.hosts.last() != Some(&host)
            && let Err(at) = self.hosts.binary_search(&host)
        {
            self.hosts.insert(at, host);
        }
    }

    /// Where nothing waits, no host has lines. The memory stays, but for that of a crowd.
    pub(super) fn forget_hosts(&mut self) {
        if self.file.waiting() == 0 && !self.is_behind() {
            self.hosts.clear();
            self.hosts.shrink_to(KEPT_HOSTS);
        }
    }

    /// How much of its host may be read for the moment.
    pub(super) fn welcome(&self) -> Welcome {
        match self.stand {
            Stand::Taking if self.is_stuck() && self.file.waiting() > 0 => Welcome::Nothing,
            Stand::Taking if !self.file.is_open() => Welcome::Little,
            Stand::Taking | Stand::PassedOver { .. } => Welcome::All,
        }
    }

    /// Whether its host is held up, and whether it was at the last look and is no more.
    pub(super) fn look_at_host(&mut self) -> (bool, bool) {
        let is_held_up = self.welcome() == Welcome::Nothing;
        let was_held_up = mem::replace(&mut self.was_held_up, is_held_up);
        (is_held_up, was_held_up && !is_held_up)
    }

    /// Whether the last try failed.
    pub(super) fn is_stuck(&self) -> bool {
        self.pacing.stuck_since().is_some()
    }

    /// The others are counted as written without what this one has not written. Does nothing if it has written all.
    pub(super) fn leave_behind(&mut self) {
        if self.file.waiting() > 0 {
            self.lag = Lag::Behind { until: self.file.taken() };
        }
    }

    /// Whether lines that it took may count as delivered by the position of the whole output, and are not.
    pub(super) fn is_behind(&self) -> bool {
        self.lag != Lag::InStep
    }

    /// Looks whether it has caught up; true if it was behind until now, and is no more.
    pub(super) fn catch_up(&mut self, syncs: &mut Option<Syncs>) -> bool {
        if let Lag::Behind { until } = self.lag
            && self.file.written() >= until
        {
            self.lag = syncs.as_mut().map_or(Lag::InStep, |syncs| Lag::Unsynced { begun: syncs.note_late() });
            return self.lag == Lag::InStep;
        }
        let Lag::Unsynced { begun } = self.lag else { return false };
        let is_synced = syncs.as_ref().is_none_or(|syncs| syncs.has_synced(begun));
        if is_synced {
            self.lag = Lag::InStep;
        }
        is_synced
    }

    /// Whether it may be forgotten once it is closed: it has nothing to write, and nothing to find out.
    pub(super) fn is_at_rest(&self) -> bool {
        let has_lines = self.file.waiting() > 0 || self.is_behind();
        !self.file.is_open() && !has_lines && !self.is_stuck() && self.stand == Stand::Taking
    }

    /// Whether the lane has something to do now.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.pacing.may_try(now) && (self.file.is_due(now) || self.is_stuck())
    }

    pub(super) fn try_now(&mut self) {
        self.pacing.hurry();
        self.file.try_now();
    }

    /// Takes lines. A file that is not open is opened at once, so that one which can't be is known before more is read of
    /// its host.
    ///
    /// # Errors
    /// It can't be opened; the lines wait.
    pub(super) fn take(&mut self, parts: Parts<'_>, may_write: bool, books: &mut Books) -> io::Result<Took> {
        if let Stand::PassedOver { missed } = &mut self.stand {
            let (lines, bytes) = (lines_in(parts), len_of(parts) as u64);
            missed.lines += lines;
            missed.bytes += bytes;
            books.dropped(lines, bytes);
            return Ok(Took::Written);
        }
        let was_open = self.file.is_open();
        let took = self.file.take(parts, may_write && self.pacing.is_flowing(), books);
        if took == Took::Refused {
            self.pacing.refuse();
        }
        if !was_open && self.pacing.is_flowing() {
            self.file.prepare(books)?;
        }
        Ok(took)
    }

    /// Writes what waits, if it is time to.
    ///
    /// # Errors
    /// Of the system: the caller may cure it, and else tells [`Self::fail`].
    pub(super) fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<()> {
        if !self.pacing.may_try(now) {
            return Ok(());
        }
        let before = self.file.waiting();
        if before == 0 && self.is_stuck() {
            self.file.prepare(books)?;
        }
        let written = self.file.write(now, books);
        if self.file.waiting() < before {
            self.pacing.progress();
        }
        written.map(drop)
    }

    /// The write worked: what was missed while the file took nothing, if anything.
    pub(super) fn succeed(&mut self, books: &mut Books) -> Option<Gap> {
        let was_failing = self.pacing.done();
        match mem::replace(&mut self.stand, Stand::Taking) {
            Stand::Taking if was_failing => {
                books.report(format_args!("{} takes lines again", shown(self.file.path())));
                None
            }
            Stand::Taking => None,
            Stand::PassedOver { missed } => {
                let (path, lines) = (shown(self.file.path()), DisplayLines(missed.lines));
                books.report(format_args!("{path} takes lines again; {lines:#} dropped meanwhile"));
                Some(missed)
            }
        }
    }

    /// Whether the last try failed with an error.
    pub(super) fn is_failing(&self) -> bool {
        self.pacing.is_failing()
    }

    /// Whether its host's lines are dropped.
    pub(super) fn is_passed_over(&self) -> bool {
        self.stand != Stand::Taking
    }

    /// The write failed. That is no news of a file that failed before, nor one more where so many others fail that an
    /// operator knows (`is_known`).
    pub(super) fn fail(&mut self, now: Duration, error: &io::Error, is_known: bool, books: &mut Books) {
        let is_news = !self.pacing.is_failing() && !is_known;
        books.counters.failures = books.counters.failures.saturating_add(1);
        self.pacing.fail(now, false);
        if is_news && self.stand == Stand::Taking {
            let path = shown(self.file.path());
            let who = match (self.is_hosts, self.stall_timeout) {
                (true, Some(_)) => "the lines of its host",
                (true, None) => "the clients of its host",
                (false, Some(_)) => "its lines",
                (false, None) => "its senders",
            };
            books.report(format_args!("cannot write to {path}: {error}; {who} wait, trying again"));
        }
    }

    /// `--on-stall drop`: a file that stands still too long is passed over. True if it is from now on. `is_known`: so many
    /// others are that an operator knows.
    pub(super) fn pass_over(&mut self, now: Duration, is_known: bool, books: &mut Books) -> bool {
        if !self.stall_left(now).is_some_and(|left| left.is_zero()) {
            return false;
        }
        let (lines, bytes) = self.file.drop_lines_over(PROBE_BYTES);
        self.stand = Stand::PassedOver { missed: Gap { lines, bytes: bytes as u64, why: Why::Stalled } };
        books.dropped(lines, bytes as u64);
        if !is_known {
            let path = shown(self.file.path());
            let what = if self.is_hosts { "the lines of its host" } else { "its lines" };
            books.report(format_args!(
                "{path} has taken nothing for --stall-timeout: it is passed over, {what} are dropped"
            ));
        }
        true
    }

    /// How long until it is passed over.
    fn stall_left(&self, now: Duration) -> Option<Duration> {
        let since = self.pacing.stuck_since().filter(|_| self.stand == Stand::Taking)?;
        Some(self.stall_timeout?.saturating_sub(now.saturating_sub(since)))
    }

    /// How long until there is something to do though nothing comes.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        let own = if self.pacing.is_flowing() { self.file.due_in(now) } else { self.pacing.due_in(now) };
        soonest(&[own, self.stall_left(now)])
    }

    /// All that waits is dropped; how many lines and bytes that were.
    pub(super) fn drop_all(&mut self) -> (u64, usize) {
        self.file.drop_lines_over(0)
    }

    /// The end has come: a file that is passed over is not waited for any longer, and what it still holds is missed too.
    pub(super) fn give_up(&mut self, books: &mut Books) {
        let Stand::PassedOver { missed } = &mut self.stand else { return };
        let (lines, bytes) = self.file.drop_lines_over(0);
        missed.lines += lines;
        missed.bytes += bytes as u64;
        books.dropped(lines, bytes as u64);
        let (path, lines) = (shown(self.file.path()), DisplayLines(missed.lines));
        books.report(format_args!("{path} still takes nothing, and is not waited for: {lines:#} lost"));
    }

    /// The end has come, and the file still took nothing: how many lines it did not get.
    pub(super) fn missed_at_the_end(&mut self) -> u64 {
        match mem::replace(&mut self.stand, Stand::Taking) {
            Stand::Taking => 0,
            Stand::PassedOver { missed } => missed.lines,
        }
    }
}
