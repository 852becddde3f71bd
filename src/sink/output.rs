//! One output: when its target is written to, and what happens to lines while that takes none. Invariant: each line that
//! it was given is written once and in order, or counted as dropped and reported.

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::pace::Pacing;
use super::target::{Books, Gone, Standing, Target, Took, Whose, Wrote};
use super::waiting::{Parts, len_of};
use super::{Interest, LossCause, Weight, Welcome};
use crate::config::output::{OnStall, OutputOptions};
use crate::config::units::DisplayLines;
use crate::engine::gap::{Gap, Why};
use crate::engine::peer::Host;
use crate::engine::stats::OutputCounters;

/// An output that has taken nothing for so long gets a warning.
const STUCK: Duration = Duration::from_secs(5);

/// What happens to lines that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// The target takes them.
    Taking,
    /// It has taken nothing for too long (`--on-stall drop`): they are dropped and counted, until it has taken the one line
    /// that it still holds.
    PassedOver { missed: Gap },
    /// It is gone for good: they are dropped. So many were, of which the log has not said anything yet.
    Gone { missed_lines: u64 },
}

/// What the log has said of an output that takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    /// That it has taken nothing for [`STUCK`].
    Stuck,
    /// The target itself has said why: the next receiver is away.
    FromTarget,
}

pub(super) struct Output {
    name: String,
    target: Box<dyn Target>,
    pacing: Pacing,
    stand: Stand,
    known: Known,
    books: Books,
    /// How long it may take nothing before it is passed over; `None`: it never is.
    stall_timeout: Option<Duration>,
    /// Bytes of marks that were written to this output alone.
    own_bytes: u64,
}

impl Output {
    pub(super) fn new(name: String, target: Box<dyn Target>, books: Books, options: &OutputOptions) -> Self {
        Self {
            name,
            stall_timeout: stall_timeout(&*target, options),
            target,
            pacing: Pacing::default(),
            stand: Stand::Taking,
            known: Known::Nothing,
            books,
            own_bytes: 0,
        }
    }

    /// Takes over what can change while it is open. One that is passed over stays so until it takes lines.
    pub(super) fn configure(&mut self, options: &OutputOptions) {
        self.stall_timeout = stall_timeout(&*self.target, options);
        self.target.configure(options, &mut self.books);
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn counters(&self) -> OutputCounters {
        OutputCounters {
            waiting_bytes: self.target.waiting() as u64,
            sync_failures: self.books.doubts,
            ..self.books.counters
        }
    }

    /// The server that takes its lines, if it has told its name.
    pub(super) fn server(&self) -> &str {
        self.target.server()
    }

    /// How often a sync has failed, so that lines which were written may be lost.
    pub(super) fn doubts(&self) -> u64 {
        self.books.doubts
    }

    /// What its target holds, and how far it has come. Marks that only this output got are left out of `delivered`, which
    /// is compared with that of the other outputs.
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

    /// Whether lines of this host are not where they belong, though they may count as delivered.
    pub(super) fn is_behind(&self, host: Host) -> bool {
        self.target.is_behind(host)
    }

    /// Since when lines that wait elsewhere can't go there.
    pub(super) fn away_since(&self) -> Option<Duration> {
        self.target.away_since()
    }

    /// Since when it has acknowledged nothing, though it answers.
    pub(super) fn unacked_since(&self) -> Option<Duration> {
        self.target.unacked_since()
    }

    /// Whether what is kept for it gets more and more.
    pub(super) fn is_falling_behind(&self) -> bool {
        self.target.is_falling_behind()
    }

    /// Whether lines for it may be dropped.
    pub(super) fn may_be_passed_over(&self) -> bool {
        self.stall_timeout.is_some()
    }

    pub(super) fn stuck_since(&self) -> Option<Duration> {
        self.pacing.stuck_since()
    }

    /// Takes a block of lines. True if all of it waits now and nothing else has changed, so that the caller need not ask
    /// for [`Self::standing`].
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

    /// Takes a line that says what this output alone is missing.
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
        let before = self.target.waiting();
        let written = self.target.write(now, &mut self.books);
        let has_moved = self.target.waiting() < before;
        let is_away = matches!(written, Ok(Wrote::Away));
        if has_moved && !is_away {
            self.pacing.progress();
        }
        if is_away {
            self.known = Known::FromTarget;
        } else if self.known == Known::FromTarget {
            self.known = Known::Nothing;
        }
        if matches!(written, Ok(Wrote::All | Wrote::Later)) || (has_moved && matches!(written, Ok(Wrote::Busy))) {
            let was_stuck = mem::replace(&mut self.known, Known::Nothing) == Known::Stuck;
            if (self.pacing.done() || was_stuck) && self.stand == Stand::Taking {
                self.books.report(format_args!("{} takes lines again", self.name));
            }
        }
        match written {
            Ok(Wrote::All | Wrote::Later) => {}
            Ok(Wrote::Away | Wrote::Busy) => self.pacing.wait(now),
            Ok(Wrote::Blocked) => self.pacing.block(now, self.target.may_change()),
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

    /// Warns of an output that has taken nothing for a while: of several outputs, this is the one that clients wait for.
    fn note_stuck(&mut self, now: Duration) {
        let is_long = self.stuck_since().is_some_and(|since| now.saturating_sub(since) >= STUCK);
        let is_news = self.known == Known::Nothing && self.stand == Stand::Taking && !self.pacing.is_failing();
        if is_long && is_news {
            self.known = Known::Stuck;
            let seconds = STUCK.as_secs();
            self.books.report(format_args!("{} has taken nothing for {seconds} s: clients wait for it", self.name));
        }
    }

    /// `--on-stall drop`: from now on an output that has taken nothing for too long gets no lines, until it has taken the
    /// one that it still holds.
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

    /// The lines that it is missing and that its file does not say yet: those dropped while it was passed over, once it
    /// takes lines again; or those that were removed from a full disk.
    pub(super) fn gap(&mut self) -> Option<Gap> {
        if let Some(gap) = self.target.next_gap() {
            return Some(gap);
        }
        if self.target.waiting() > 0 || !self.pacing.is_flowing() {
            return None;
        }
        let Stand::PassedOver { missed } = self.stand else { return self.books.gap.take() };
        self.stand = Stand::Taking;
        let (name, lines) = (&self.name, DisplayLines(missed.lines));
        self.books.report(format_args!("{name} takes lines again; {lines:#} dropped meanwhile"));
        Some(missed)
    }

    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        if !self.books.reports.is_empty() || !self.books.news.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.pacing.is_at_ease() {
            return self.target.due_in(now);
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

    /// Its descriptor can be written or read; true if it is gone for good, which is told once.
    pub(super) fn ready(&mut self, is_gone: bool) -> bool {
        if self.is_gone() {
            // Trap: somebody else may have its socket open, so that the kernel goes on to tell of it.
            return false;
        }
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

    pub(super) fn next_report(&mut self) -> Option<(Weight, String)> {
        self.books.next_report()
    }

    /// What it did not get because it is passed over, the line that it still holds apart.
    pub(super) fn passed_over(&self) -> Option<LossCause> {
        let Stand::PassedOver { missed } = self.stand else { return None };
        Some(LossCause::Missed { lines: missed.lines })
    }

    /// It gets nothing any more, for the reason that `why` says. Answers how many bytes it had been given in vain: these
    /// are not among the lines that it will have missed at the end.
    pub(super) fn lose(&mut self, why: fmt::Arguments<'_>) -> usize {
        self.part_with(why).1
    }

    /// The same; answers how many lines and bytes these are.
    fn part_with(&mut self, why: fmt::Arguments<'_>) -> (u64, usize) {
        let bytes = self.target.waiting();
        let (lines, _) = self.target.drop_lines();
        // The first line is not among them, as it may have been written in part, and what else is under way.
        let lines = lines + self.target.lines_left();
        self.books.dropped(lines, bytes as u64);
        let missed = match self.stand {
            Stand::PassedOver { missed } => missed.lines,
            Stand::Taking | Stand::Gone { .. } => 0,
        };
        self.stand = Stand::Gone { missed_lines: missed };
        self.pacing.end();
        self.books.report(format_args!("{} {why}", self.name));
        self.target.tell_kept(&mut self.books);
        self.target = Box::new(Gone);
        // Who waits for a receipt of these lines gets none.
        self.books.doubts += 1;
        (lines, bytes)
    }

    /// See [`Target::give_up`].
    pub(super) fn give_up(&mut self) -> bool {
        self.target.give_up(&mut self.books)
    }

    /// The server ends: see [`Target::settle`].
    pub(super) fn settle(&mut self, now: Duration) -> bool {
        self.target.settle(now, &mut self.books)
    }

    /// The end has come, and it was asked to settle: what it lost at the last, if anything. `may_end`: one that is passed
    /// over is not waited for any longer.
    pub(super) fn end(&mut self, may_end: bool) -> Option<LossCause> {
        if may_end && matches!(self.stand, Stand::PassedOver { .. }) {
            let (lines, _) = self.part_with(format_args!("still takes nothing, and is not waited for"));
            if let Stand::Gone { missed_lines } = &mut self.stand {
                *missed_lines += lines;
            }
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

/// How long a target may take nothing before it is passed over.
fn stall_timeout(target: &dyn Target, options: &OutputOptions) -> Option<Duration> {
    let drops = options.on_stall == OnStall::Drop && !target.passes_over_itself();
    drops.then_some(options.stall_timeout)
}

/// Whether an error is final: a reader that has closed the pipe will not come back.
fn is_final(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::syslog::Parse;
    use crate::sink::Origin;
    use crate::sink::said::Said;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// What the target does at the next write: how many bytes it takes, and what it says then.
    #[derive(Clone, Copy)]
    pub(in crate::sink) struct Next {
        pub(in crate::sink) takes: usize,
        pub(in crate::sink) says: Result<Wrote, ErrorKind>,
    }

    /// A target that does what the test says.
    struct Played {
        next: Rc<RefCell<Next>>,
        waiting: Vec<u8>,
        delivered: u64,
        due_in: Option<Duration>,
        /// Whether it may write at once, as it was told with each block.
        told: Rc<RefCell<Vec<bool>>>,
        took: Took,
    }

    impl Target for Played {
        fn take(&mut self, _: Whose<'_>, parts: Parts<'_>, may_write: bool, _: &mut Books) -> Took {
            parts.iter().for_each(|part| self.waiting.extend_from_slice(part));
            self.told.borrow_mut().push(may_write);
            self.took
        }

        fn write(&mut self, _: Duration, _: &mut Books) -> io::Result<Wrote> {
            let next = *self.next.borrow();
            self.delivered += self.waiting.drain(..next.takes.min(self.waiting.len())).len() as u64;
            next.says.map_err(io::Error::from)
        }

        fn standing(&self) -> Standing {
            Standing {
                waiting: self.waiting.len(),
                held: self.waiting.len(),
                delivered: self.delivered,
                ..Standing::default()
            }
        }

        fn drop_lines(&mut self) -> (u64, usize) {
            let bytes = self.waiting.len().saturating_sub(2);
            self.waiting.truncate(2);
            (bytes as u64 / 2, bytes)
        }

        fn due_in(&self, _: Duration) -> Option<Duration> {
            self.due_in
        }
    }

    const BLOCKED: Result<Wrote, ErrorKind> = Ok(Wrote::Blocked);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    pub(in crate::sink) struct World {
        pub(in crate::sink) output: Output,
        pub(in crate::sink) next: Rc<RefCell<Next>>,
        pub(in crate::sink) told: Rc<RefCell<Vec<bool>>>,
    }

    impl World {
        fn new(options: &OutputOptions, took: Took, due_in: Option<Duration>) -> Self {
            let next = Rc::new(RefCell::new(Next { takes: usize::MAX, says: Ok(Wrote::All) }));
            let told = Rc::new(RefCell::new(Vec::new()));
            let waiting = Vec::new();
            let target = Played { next: next.clone(), waiting, delivered: 0, due_in, told: told.clone(), took };
            let output = Output::new("out".to_owned(), Box::new(target), Books::default(), options);
            Self { output, next, told }
        }

        /// One that waits as long as it takes.
        pub(in crate::sink) fn waits() -> Self {
            Self::new(&OutputOptions::default(), Took::Waits, None)
        }

        /// One that is passed over after 30 s.
        pub(in crate::sink) fn drops() -> Self {
            Self::new(&OutputOptions { on_stall: OnStall::Drop, ..OutputOptions::default() }, Took::Waits, None)
        }

        /// One whose lines may have been lost so often.
        pub(in crate::sink) fn in_doubt(doubts: u64) -> Self {
            let mut world = Self::waits();
            world.output.books.doubts = doubts;
            world
        }

        /// Lines of two bytes.
        fn take(&mut self, lines: &[u8]) -> bool {
            let peer = crate::engine::peer::Peer::Unix { serial: 1 };
            let origin = Origin { peer: &peer, wall_ms: 0, parse: Parse::Off };
            self.output.take(Whose::Client(&origin, &Said::NOTHING), [lines, &[], &[]], lines.len() as u64 / 2)
        }

        /// A flush at which the target does that; answers what is said then.
        fn flush(&mut self, at: u64, takes: usize, says: Result<Wrote, ErrorKind>) -> Vec<String> {
            *self.next.borrow_mut() = Next { takes, says };
            self.output.flush(ms(at)).unwrap();
            self.said()
        }

        fn said(&mut self) -> Vec<String> {
            std::iter::from_fn(|| self.output.next_report()).map(|(_, sentence)| sentence).collect()
        }

        fn dropped(&self) -> (u64, u64) {
            (self.output.counters().dropped_lines, self.output.counters().dropped_bytes)
        }
    }

    #[test]
    fn p13_a_failure_is_said_and_tried_again_after_a_pause_and_so_is_its_end() {
        for (mut world, who) in [(World::waits(), "clients"), (World::drops(), "lines")] {
            world.take(b"a\nb\n");
            let failed = format!("cannot write to out: {}; {who} wait, trying again", ErrorKind::StorageFull);
            assert_eq!(world.flush(0, 0, Err(ErrorKind::StorageFull)), std::slice::from_ref(&failed));
            assert_eq!(world.output.counters().failures, 1);
            assert_eq!(world.output.due_in(ms(0)), Some(ms(100)));
            assert_eq!(world.flush(99, 4, Ok(Wrote::All)), [""; 0], "too early");
            assert_eq!(world.output.counters().waiting_bytes, 4);
            assert_eq!(world.flush(100, 2, Err(ErrorKind::StorageFull)), [failed], "though it took some");
            assert_eq!(world.output.due_in(ms(100)), Some(ms(100)), "so the pauses begin anew");
            assert_eq!(world.output.stuck_since(), Some(ms(100)));
            assert_eq!(world.flush(200, 2, Ok(Wrote::All)), ["out takes lines again"]);
            assert_eq!((world.output.due_in(ms(200)), world.output.counters().waiting_bytes), (None, 0));
        }
    }

    #[test]
    fn p13_a_failure_that_lasts_is_not_said_again_as_one_that_takes_nothing() {
        let mut world = World::waits();
        world.take(b"a\n");
        for at in [0, 100, 300, 700, 1_500, 3_100] {
            assert_eq!(world.flush(at, 0, Err(ErrorKind::StorageFull)).len(), 1);
        }
        assert_eq!(world.flush(6_000, 0, BLOCKED), [""; 0], "it is known");
    }

    #[test]
    fn p7_one_that_is_gone_for_good_is_an_error() {
        for (kind, is_final) in
            [(ErrorKind::BrokenPipe, true), (ErrorKind::ConnectionReset, true), (ErrorKind::StorageFull, false)]
        {
            let world = &mut World::waits();
            world.take(b"a\n");
            *world.next.borrow_mut() = Next { takes: 0, says: Err(kind) };
            assert_eq!(world.output.flush(ms(0)).is_err(), is_final, "{kind}");
        }
    }

    #[test]
    fn p12_one_that_takes_nothing_for_5_s_is_told_once_and_when_it_goes_on() {
        let mut world = World::waits();
        world.take(b"a\nb\n");
        assert_eq!(world.flush(1_000, 0, BLOCKED), [""; 0]);
        assert_eq!(world.output.due_in(ms(1_500)), Some(ms(4_500)));
        assert_eq!(world.flush(5_999, 0, BLOCKED), [""; 0]);
        let stuck = "out has taken nothing for 5 s: clients wait for it";
        assert_eq!(world.flush(6_000, 0, BLOCKED), [stuck]);
        assert_eq!(world.output.due_in(ms(6_000)), None, "nothing is to be said any more");
        assert_eq!(world.flush(20_000, 0, BLOCKED), [""; 0], "once");
        assert!(!world.output.ready(false));
        assert_eq!(world.flush(20_000, 2, BLOCKED), [""; 0], "not all of it");
        assert_eq!(world.output.stuck_since(), Some(ms(20_000)), "it took some");
        world.output.ready(false);
        assert_eq!(world.flush(20_001, 2, Ok(Wrote::All)), ["out takes lines again"]);
        assert!(world.output.ready(true), "its reader is gone");
    }

    #[test]
    fn p12_one_that_is_away_says_so_itself_and_what_it_takes_again_is_no_progress() {
        let mut world = World::waits();
        world.take(b"a\nb\n");
        world.flush(0, 0, Ok(Wrote::Away));
        assert_eq!(world.flush(6_000, 2, Ok(Wrote::Away)), [""; 0], "it is known");
        assert_eq!((world.output.stuck_since(), world.output.due_in(ms(6_000))), (Some(ms(0)), None));
        let stuck = "out has taken nothing for 5 s: clients wait for it";
        assert_eq!(world.flush(7_000, 0, BLOCKED), [stuck], "it is there, and takes nothing");
    }

    #[test]
    fn p8_one_that_stands_still_is_passed_over_and_what_it_missed_is_marked() {
        let mut world = World::drops();
        assert!(world.output.may_be_passed_over() && !World::waits().output.may_be_passed_over());
        world.take(b"a\nb\nc\n");
        world.flush(0, 0, BLOCKED);
        assert_eq!(world.flush(5_000, 0, BLOCKED).len(), 1, "5 s");
        assert_eq!(world.output.due_in(ms(5_000)), Some(ms(25_000)));
        assert_eq!(world.flush(29_999, 0, BLOCKED), [""; 0]);
        assert!(world.take(b"d\n"), "it still waits");
        let passed = "out has taken nothing for --stall-timeout: it is passed over, its lines are dropped";
        assert_eq!(world.flush(30_000, 0, BLOCKED), [passed]);
        assert_eq!((world.dropped(), world.output.standing().waiting), ((3, 6), 2));
        assert_eq!(world.output.due_in(ms(30_000)), None);
        assert!(!world.take(b"e\nf\n"));
        assert_eq!(world.dropped(), (5, 10));
        assert_eq!((world.flush(90_000, 0, BLOCKED), world.output.gap()), (vec![], None), "once");
        world.output.ready(false);
        assert_eq!(world.output.gap(), None, "before it has taken what it held on to");
        assert_eq!(world.flush(90_000, 2, Ok(Wrote::All)), [""; 0], "this is said when the gap is");
        assert_eq!(world.output.gap(), Some(Gap { lines: 5, bytes: 10, why: Why::Stalled }));
        assert_eq!(world.said(), ["out takes lines again; 5 lines were dropped meanwhile"]);
        assert_eq!((world.take(b"g\n"), world.output.gap(), world.dropped()), (true, None, (5, 10)));
    }

    #[test]
    fn p16_a_mark_that_only_one_output_gets_is_no_part_of_the_position_of_all() {
        let mut world = World::waits();
        world.take(b"a\n");
        world.output.take_mark(b"mark\n");
        world.flush(0, 7, Ok(Wrote::All));
        assert_eq!(world.output.standing().delivered, 2);
    }

    #[test]
    fn p12_what_one_that_is_lost_did_not_get_is_counted_and_said_at_the_end() {
        let mut world = World::waits();
        world.take(b"a\nb\nc\n");
        world.flush(0, 0, BLOCKED);
        assert!(!world.output.is_gone());
        let bytes = world.output.lose(format_args!("is lost"));
        assert_eq!(bytes, 6);
        assert_eq!((world.said(), world.dropped()), (vec!["out is lost".to_owned()], (3, 6)));
        assert!(world.output.is_gone() && world.output.stuck_since().is_none());
        assert!(!world.take(b"d\n"));
        world.output.try_now();
        assert_eq!((world.flush(60_000, 0, Err(ErrorKind::BrokenPipe)), world.dropped()), (vec![], (4, 8)));
        assert!(matches!(world.output.end(true), Some(LossCause::Missed { lines: 1 })), "since");
        assert!(world.output.end(true).is_none(), "once");
        let mut empty = World::waits();
        assert_eq!(empty.output.lose(format_args!("is lost")), 0);
        empty.said();
        assert!(empty.output.end(true).is_none(), "it got all");
        assert_eq!((empty.said(), empty.dropped()), (vec![], (0, 0)));
    }

    #[test]
    fn p11_at_the_end_one_that_is_passed_over_keeps_nobody_waiting_if_there_are_others() {
        for has_others in [true, false] {
            let mut world = World::drops();
            world.take(b"a\nb\n");
            world.flush(0, 0, BLOCKED);
            world.flush(30_000, 0, BLOCKED);
            let lost = world.output.end(has_others);
            assert_eq!(world.output.is_gone(), has_others);
            assert_eq!(matches!(lost, Some(LossCause::Missed { lines: 2 })), has_others, "{lost:?}");
            assert_eq!(world.said().len(), usize::from(has_others), "{lost:?}");
        }
        let mut world = World::waits();
        assert!(world.output.end(true).is_none());
        assert!(!world.output.is_gone() && world.said().is_empty());
    }

    #[test]
    fn p8_after_a_refusal_nothing_is_written_before_the_next_flush() {
        let mut world = World::new(&OutputOptions::default(), Took::Refused, Some(ms(7)));
        assert_eq!(world.output.due_in(ms(0)), Some(ms(7)));
        assert!(!world.take(b"a\n") && !world.take(b"b\n"));
        assert_eq!(*world.told.borrow(), [true, false]);
        assert_eq!(world.output.due_in(ms(0)), None, "its own times would end the wait for nothing");
        world.flush(0, 0, BLOCKED);
        world.output.try_now();
        world.take(b"c\n");
        assert_eq!(*world.told.borrow(), [true, false, true]);
    }

    #[test]
    fn p11_it_has_settled_when_its_target_has() {
        let mut world = World::waits();
        world.take(b"a\n");
        assert!(!world.output.settle(ms(0)));
        world.flush(0, 2, Ok(Wrote::All));
        assert!(world.output.settle(ms(0)));
    }
}
