//! One output's way out of the spool: its lines, formatted as it asks for them. Invariant: each line is given or told to be
//! missing, and what can't be read is tried again after a pause and passed in the end.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::rc::Rc;
use std::time::Duration;

use super::lag::Lag;
use super::store::{Shared, wall_ms};
use crate::config::calendar::Clock;
use crate::config::syslog::Parse;
use crate::config::units::DisplayLines;
use crate::engine::framer::Lines;
use crate::engine::gap::{Gap, Why};
use crate::sink::Origin;
use crate::sink::format::Formatter;
use crate::sink::pace::Backoff;
use crate::sink::source::{Piece, Reached, Source};
use crate::sink::target::{Books, KEPT_BYTES};
use crate::spool::reader::{Missing, Next};
use crate::spool::record::{Entry, Line};

/// A file is tried so often, with pauses between, before what it holds counts as damaged.
const TRIES: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Of so many moments it is known which line came then.
const MOST_MOMENTS: usize = 64;
/// How often the bytes that wait are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often it is said at most that lines went.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// They lie so far apart at least.
const MOMENT_MS: u64 = 500;

/// The lines for one output.
pub(super) struct Reader {
    store: Shared,
    /// Its number among the spool's outputs, and its name.
    output: usize,
    name: String,
    formatter: Formatter,
    /// Where the clocks of this box are to be had anew.
    clock: fn() -> Clock,
    formatted: Vec<u8>,
    /// A mark that was not taken yet, and its number.
    mark: Option<(u64, Vec<u8>)>,
    /// All lines up to this number were read, unless the output has stopped before.
    seen: u64,
    is_cut: bool,
    /// Lines up to this number are on their way; 0: that is not told.
    sent: u64,
    /// Reads that have failed in a row, and the pause after the last one; whether that is not over yet.
    rest: Option<(Backoff, u32)>,
    is_resting: bool,
    /// Which lines are on their way, and when they came.
    moments: VecDeque<(u64, u64)>,
    /// Since when there was always a line that the output did not have.
    behind_since: Option<Duration>,
    lag: Lag,
    /// In seconds since 1970.
    last_ack: u64,
    /// Lines that were removed before the output had them; those of which it has not met the gap yet; those that were said, and when
    /// more may be.
    dropped: u64,
    dropped_unmet: u64,
    dropped_said: u64,
    say_at: Duration,
    /// When its bytes are to be looked at again.
    look_at: Duration,
    is_closed: bool,
}

impl Reader {
    /// The lines for the next of the spool's outputs.
    pub(super) fn new(
        store: Shared,
        name: String,
        (formatter, clock): (Formatter, fn() -> Clock),
        books: &mut Books,
    ) -> Self {
        let output = store.borrow_mut().add_reader(&name, books);
        Self {
            store,
            output,
            name,
            formatter,
            clock,
            formatted: Vec::new(),
            mark: None,
            seen: 0,
            is_cut: true,
            sent: 0,
            rest: None,
            is_resting: false,
            moments: VecDeque::new(),
            behind_since: None,
            lag: Lag::default(),
            last_ack: 0,
            dropped: 0,
            dropped_unmet: 0,
            dropped_said: 0,
            say_at: Duration::ZERO,
            look_at: Duration::ZERO,
            is_closed: false,
        }
    }

    /// Gives what the spool has next; whether there may be more.
    ///
    /// # Errors
    /// A file can't be read.
    fn read_one(&mut self, books: &mut Books, take: &mut dyn FnMut(Piece<'_>) -> bool) -> io::Result<bool> {
        let shared = Rc::clone(&self.store);
        let store = &mut *shared.borrow_mut();
        let limit = store.readable().last;
        let (cut_at, missing) = match store.spool.read(self.output)? {
            Next::End => {
                (self.seen, self.is_cut) = (limit, false);
                return Ok(false);
            }
            Next::Missing(missing) => (None, Some(missing)),
            Next::Lines(batch) => {
                let mut cut_at = None;
                for line in batch.lines() {
                    self.formatted.clear();
                    format(&mut self.formatter, &line, &mut self.formatted);
                    let (number, wall_ms) = (line.number, line.wall_ms);
                    let (segment, peer) = (batch.segment, Some(line.peer));
                    if !take(Piece { number, segment, wall_ms, peer, bytes: &self.formatted }) {
                        cut_at = Some(number);
                        break;
                    }
                    if self.moments.back().is_none_or(|(_, before)| before.abs_diff(wall_ms) >= MOMENT_MS)
                        && self.moments.len() < MOST_MOMENTS
                    {
                        self.moments.push_back((number, wall_ms));
                    }
                }
                (cut_at, None)
            }
        };
        if let Some(number) = cut_at {
            store.spool.go_to(self.output, number);
            self.is_cut = true;
            return Ok(false);
        }
        if let Some(missing) = missing {
            // One that was not sealed: its process did not come to an orderly end.
            let segments = store.spool.directory().segments();
            let own = segments.iter().rev().find(|segment| segment.name.first <= missing.first);
            let is_end = own.is_some_and(|segment| segment.footer.is_none());
            self.miss(&missing, is_end, books);
            return Ok(self.give_mark(take));
        }
        Ok(true)
    }

    /// Lines are missing: that is counted, said, and if that is asked for marked.
    fn miss(&mut self, missing: &Missing, is_end: bool, books: &mut Books) {
        // Those that were removed before our eyes are counted and said already.
        let known = self.dropped_unmet.min(if missing.are_gone { missing.lines } else { 0 });
        self.dropped_unmet -= known;
        books.dropped(missing.lines - known, 0);
        let (lines, name) = (DisplayLines(missing.lines), &self.name);
        let (why, what) = match missing.are_gone {
            true => (Why::SpoolFull, "the spool has them no more"),
            false if is_end => (Why::Damaged, "a kill cut what was being written then, or the spool is damaged there"),
            false => (Why::Damaged, "the spool is damaged there"),
        };
        books.report(format_args!("{name} misses {lines}: {what}"));
        self.mark = Some((missing.last, self.mark(Gap { lines: missing.lines, bytes: 0, why })));
    }

    /// Whether the mark that waits, if any, was taken.
    fn give_mark(&mut self, take: &mut dyn FnMut(Piece<'_>) -> bool) -> bool {
        let Some((number, bytes)) = &self.mark else { return true };
        let is_taken = take(Piece { number: *number, segment: (0, [0; 16]), wall_ms: 0, peer: None, bytes });
        if is_taken {
            self.mark = None;
        }
        is_taken
    }

    /// A file can't be read.
    fn fail(&mut self, error: &io::Error, now: Duration, books: &mut Books) {
        let (rest, failed) = match self.rest {
            Some((rest, failed)) => (rest.again(now, LONGEST_PAUSE), failed + 1),
            None => (Backoff::begin(now), 1),
        };
        (self.rest, self.is_resting) = (Some((rest, failed)), true);
        match failed {
            1 => books.report(format_args!("cannot read the spool for {}: {error}; trying again", self.name)),
            TRIES => self.store.borrow_mut().spool.pass_unreadable(self.output, true),
            _ => {}
        }
    }

    /// Whether a read has just failed, so that none is tried.
    fn rests(&mut self, now: Duration) -> bool {
        self.is_resting = self.rest.is_some_and(|(rest, _)| !rest.is_due(now));
        self.is_resting
    }

    /// Lines up to this number are not waited for any more.
    fn forget_moments(&mut self, number: u64) {
        while self.moments.get(1).is_some_and(|(next, _)| *next <= number.saturating_add(1)) {
            self.moments.pop_front();
        }
    }

    /// Lines that went before the output had them are counted at once, and said at most once a minute.
    fn note_dropped(&mut self, now: Duration, books: &mut Books) {
        let dropped = self.store.borrow().spool.dropped(self.output);
        let more = dropped.saturating_sub(self.dropped);
        if more > 0 {
            self.dropped = dropped;
            self.dropped_unmet += more;
            books.dropped(more, 0);
        }
        if dropped > self.dropped_said && self.say_at <= now {
            let lines = DisplayLines(dropped - self.dropped_said);
            let name = &self.name;
            books.report(format_args!(
                "the spool is full: its oldest {lines} went before {name} had them; raise --spool-size"
            ));
            (self.dropped_said, self.say_at) = (dropped, now + SAY_EVERY);
        }
    }

    /// What the output is behind, for its counters.
    fn note_lag(&mut self, now: Duration, books: &mut Books) {
        let (lines, bytes) = match self.sent {
            0 => self.waiting(now, books.counters.lag_bytes),
            number => self.store.borrow().spool.behind(number),
        };
        let mut seconds = 0;
        if lines == 0 {
            self.behind_since = None;
            self.moments.clear();
        } else {
            let since = now.saturating_sub(*self.behind_since.get_or_insert(now)).as_secs();
            let oldest = self.moments.front().map(|(_, came_ms)| wall_ms().saturating_sub(*came_ms) / 1000);
            seconds = oldest.unwrap_or(since);
        }
        let alarm = self.store.borrow().lag_alarm;
        let was_growing = self.lag.is_growing();
        self.lag.note(now, (lines, seconds), alarm);
        if self.lag.is_growing() && !was_growing {
            let (name, lines) = (&self.name, DisplayLines(lines));
            books.report(format_args!("{name} falls further and further behind: {lines} in the spool (--lag-alarm)"));
        }
        self.lag.tell(now, &self.name, bytes, books);
        let counters = &mut books.counters;
        (counters.lag_lines, counters.lag_bytes, counters.lag_seconds) = (lines, bytes, seconds);
        counters.position = self.place().number;
        counters.last_ack = self.last_ack;
    }

    /// Lines and bytes that were not acked.
    fn waiting(&mut self, now: Duration, bytes: u64) -> (u64, u64) {
        let store = self.store.borrow();
        match store.spool.lag(self.output) {
            0 => (0, 0),
            lines if bytes > 0 && now < self.look_at => (lines, bytes),
            lines => {
                // It goes through all segments.
                self.look_at = now + LOOK_EVERY;
                (lines, store.spool.lag_bytes(self.output))
            }
        }
    }

    fn place(&self) -> Reached {
        let store = self.store.borrow();
        let place = store.spool.position(self.output).map(|position| *position.place()).unwrap_or_default();
        Reached { number: place.acked, sequence: place.sequence, segment: place.segment }
    }

    fn mark(&self, gap: Gap) -> Vec<u8> {
        let mut mark = Vec::new();
        self.formatter.gap_of_all(wall_ms(), gap, &mut mark);
        mark
    }
}

impl Source for Reader {
    fn read(&mut self, now: Duration, books: &mut Books, take: &mut dyn FnMut(Piece<'_>) -> bool) {
        if self.rests(now) {
            return;
        }
        let mut goes_on = self.give_mark(take);
        while goes_on {
            goes_on = match self.read_one(books, take) {
                Ok(goes_on) => {
                    if let Some((_, TRIES..)) = mem::take(&mut self.rest) {
                        self.store.borrow_mut().spool.pass_unreadable(self.output, false);
                    }
                    goes_on
                }
                Err(error) => {
                    self.fail(&error, now, books);
                    false
                }
            };
        }
        self.formatted.shrink_to(KEPT_BYTES);
    }

    fn sent(&mut self, number: u64) {
        self.sent = number;
        self.forget_moments(number);
    }

    fn need(&mut self, number: u64, is_urgent: bool) {
        let store = &mut *self.store.borrow_mut();
        store.spool.need(self.output, number);
        if is_urgent {
            store.want_position(self.output);
        }
    }

    fn write_down(&mut self, reached: Reached) {
        let store = &mut *self.store.borrow_mut();
        store.spool.acked(self.output, reached.number, reached.sequence, 0);
        store.want_position(self.output);
    }

    fn is_written_down(&self) -> bool {
        self.store.borrow().spool.position(self.output).is_none_or(|position| position.is_stored())
    }

    fn note(&mut self, now: Duration, books: &mut Books) {
        self.rests(now);
        self.note_dropped(now, books);
        self.note_lag(now, books);
    }

    fn is_falling_behind(&self) -> bool {
        self.lag.is_growing()
    }

    fn has_more(&self) -> bool {
        let has_new = || self.store.borrow().readable().last > self.seen;
        !self.is_resting && (self.is_cut || self.mark.is_some() || has_new())
    }

    fn has_rest(&self) -> bool {
        self.has_more() || self.store.borrow().last_number() > self.seen
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        // After that there is more to be read, until it was tried.
        self.rest.filter(|_| self.is_resting).map(|(rest, _)| rest.retry_at().saturating_sub(now))
    }

    fn go_to(&mut self, number: u64) {
        self.store.borrow_mut().spool.go_to(self.output, number);
        (self.mark, self.is_cut) = (None, true);
    }

    fn reached(&self) -> Option<Reached> {
        let store = self.store.borrow();
        let is_known = store.spool.position(self.output).is_some_and(|position| position.is_known());
        is_known.then(|| self.place())
    }

    fn gap_line(&mut self, gap: Gap) -> Vec<u8> {
        self.mark(gap)
    }

    fn box_id(&self) -> [u8; 16] {
        self.store.borrow().spool.box_id().0
    }

    fn knows(&self, first: u64, salt: [u8; 16], last: u64) -> bool {
        let store = self.store.borrow();
        store.spool.is_known_segment(first, salt).unwrap_or(true) && last < store.spool.next_number()
    }

    fn acked(&mut self, reached: Reached, bytes: u64) {
        self.last_ack = wall_ms() / 1000;
        self.found(reached, bytes);
    }

    fn found(&mut self, reached: Reached, bytes: u64) {
        self.store.borrow_mut().acked(self.output, reached, bytes);
        self.lag.acked(bytes);
        self.forget_moments(reached.number);
    }

    fn reopen(&mut self) {
        self.formatter.set_clock(self.clock);
    }

    fn close(&mut self) {
        if !mem::replace(&mut self.is_closed, true) {
            self.store.borrow_mut().readers -= 1;
        }
    }
}

/// Appends a line as the output wants it, or what it says of lines that were dropped before.
fn format(formatter: &mut Formatter, line: &Line<'_>, out: &mut Vec<u8>) {
    let origin = |parse| Origin { peer: &line.peer, wall_ms: line.wall_ms, parse };
    match line.entry {
        Entry::Line(body, parse) => {
            let lines = Lines { head: b"", body, count: 1, ended: false };
            // Those that were not grave enough when they came are not here.
            formatter.write(&origin(parse), lines, out);
        }
        Entry::Gap(gap) => formatter.gap(&origin(Parse::Off), gap, out),
    }
}
