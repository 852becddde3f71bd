//! Which lines are sent next, and what becomes of them: one request in flight, of the first lines that wait. A store that takes
//! nothing is asked again with growing pauses. Invariant: what counts as acked was taken by the store or is told as dropped, and
//! a line is dropped for what is in it only if the store is known to take others.

use core::mem;
use core::time::Duration;

use super::ITEM_BYTES;
use super::address::Kind;
use super::answer::{Reason, Rest, Verdict, verdict};
use super::limit::BodyLimit;
use super::lines::{Item, Line, Lines};
use super::store::Store;
use crate::config::text::as_text;
use crate::engine::gap::Why;
use crate::http::{Answer, Request, Trouble};

/// Pauses between tries.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// So many lines are dropped in a row for what is in them: if the store takes nothing between, it is the store.
const MOST_IN_A_ROW: u64 = 100;
/// Milliseconds of 2020: a clock that is before it was never set.
const NEVER_SET_MS: u64 = 1_577_836_800_000;
/// A clock that was put back by more than that was wrong before.
const WRONG_NANOS: u64 = 3_600_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;
/// Another trouble is said so often at most.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// What may pass by itself is said when it has failed so often in a row, or is to wait so long.
const SAID_FAILURES: u32 = 3;
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// How far a store has come, as it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// The number of the last line that it has; 0: none.
    pub(crate) acked: u64,
    /// Of Loki, the time of that line. Of ClickHouse, the last line of what may be in flight.
    pub(crate) sequence: u64,
}

/// What is sent at once, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Bytes of a body, before they are packed.
    pub(crate) most: usize,
    /// How long a line waits for others.
    pub(crate) every: Duration,
    /// Whether a position outlives the process: then what goes to ClickHouse is written down before.
    pub(crate) is_noted: bool,
}

/// What is to be done next.
#[derive(Debug)]
pub(crate) enum Step {
    /// This is to be written down, and on the disk before [`Plan::noted`] is called.
    Note(Position),
    /// This is to be sent; packed before, if that is said.
    Send(Request, bool),
}

/// What there is to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The store has all lines up to there; so many bytes of them came with this.
    Acked(Position, u64),
    /// Lines that it will never take: how many, their bytes, and why, for a sentence. [`Plan::mark`] has to follow.
    Dropped { lines: u64, bytes: u64, why: Why, sentence: String },
    /// It takes nothing: why, for a sentence.
    Trouble(String),
    /// It takes lines, for the first time, or after so long.
    Takes(Option<Duration>),
}

/// When an answer came, and what spreads the tries of many boxes.
#[derive(Clone, Copy)]
struct Moment {
    now: Duration,
    random: u32,
}

/// Where a mark of dropped lines belongs.
struct Dropped {
    item: Item,
    /// How far it was before.
    nanos: u64,
}

/// What is being sent to one store.
pub(crate) struct Plan {
    store: Store,
    settings: Settings,
    lines: Lines,
    /// Up to which line it was read.
    read_to: u64,
    /// A line was offered that is behind those which are sent again as they were.
    is_cut: bool,
    /// The time of the last line that was read.
    nanos: u64,
    /// Marks that wait for a line whose time they can have.
    timeless: Vec<(u64, Vec<u8>)>,
    acked: u64,
    /// The time of the last line that was acked.
    acked_nanos: u64,
    /// Since when the first of the lines waits.
    since: Duration,
    /// The most bytes of a body: less than [`Settings::most`] after a 413, or an answer that was too long.
    limit: BodyLimit,
    /// So many of the first lines were refused together: one of them is it.
    suspects: usize,
    /// So many of the first lines are in flight.
    flight: usize,
    /// The last line of what was written down as in flight, if that is above `acked`.
    noted: u64,
    is_noting: bool,
    failures: u32,
    retry_at: Duration,
    has_taken: bool,
    in_a_row: u64,
    dropped: Option<Dropped>,
    /// The first of the lines is a mark in place of one that was dropped.
    begins_with_mark: bool,
    events: Vec<Event>,
    /// Since when it takes nothing.
    troubled_since: Option<Duration>,
    said: String,
    say_at: Duration,
    has_told: bool,
}

impl Plan {
    /// What is to be sent to a store that has come so far; `None`: nobody knows.
    pub(crate) fn new(store: Store, settings: Settings, position: Option<Position>) -> Self {
        let Position { acked, sequence } = position.unwrap_or_default();
        let (nanos, noted) = match store.kind {
            Kind::Loki => (sequence, 0),
            Kind::ClickHouse => (0, sequence),
            _ => (0, 0),
        };
        Self {
            store,
            settings,
            lines: Lines::default(),
            read_to: acked,
            is_cut: false,
            nanos,
            timeless: Vec::new(),
            acked,
            acked_nanos: nanos,
            since: Duration::ZERO,
            limit: BodyLimit::new(settings.most),
            suspects: 0,
            flight: 0,
            noted,
            is_noting: false,
            failures: 0,
            retry_at: Duration::ZERO,
            // An earlier process has seen it.
            has_taken: acked > 0,
            in_a_row: 0,
            dropped: None,
            begins_with_mark: false,
            events: Vec::new(),
            troubled_since: None,
            said: String::new(),
            say_at: Duration::ZERO,
            has_told: false,
        }
    }

    /// Whether it takes more lines.
    pub(crate) fn has_room(&self) -> bool {
        // What was on its way when the process ended goes again as it was.
        self.is_incomplete()
            || (self.lines.len() < self.limit.get() && self.lines.items().len() < self.settings.most / ITEM_BYTES)
    }

    /// Whether something was on its way when the process ended, or is.
    fn is_noted(&self) -> bool {
        self.noted > self.acked
    }

    /// Whether some of that is not read yet.
    fn is_incomplete(&self) -> bool {
        self.is_noted() && self.read_to < self.noted && !self.is_cut
    }

    /// Takes a line, if there is room.
    pub(crate) fn take(&mut self, line: &Line<'_>, now: Duration) -> bool {
        let is_behind = self.is_noted() && line.number > self.noted;
        self.is_cut |= is_behind;
        if is_behind || !self.has_room() {
            return false;
        }
        self.read_to = self.read_to.max(line.number);
        if line.bytes.is_empty() {
            // What the format leaves out.
            return true;
        }
        if self.lines.is_empty() {
            self.since = now;
        }
        if line.wall_ms == 0 && self.nanos == 0 && self.store.kind == Kind::Loki {
            self.timeless.push((line.number, line.bytes.to_vec()));
            return true;
        }
        for (number, bytes) in mem::take(&mut self.timeless) {
            self.push(&Line { number, wall_ms: line.wall_ms, peer: None, bytes: &bytes });
        }
        self.push(line);
        true
    }

    fn push(&mut self, line: &Line<'_>) {
        self.nanos = time_of(line.wall_ms, self.nanos);
        let (store, nanos) = (&self.store, self.nanos);
        let text_len = u32::try_from(line.bytes.len()).unwrap_or(u32::MAX);
        let item = Item { number: line.number, nanos, peer: line.peer, len: 0, text_len };
        self.lines.push(item, &mut |out| store.encode(line, nanos, out));
    }

    /// What is to be done now, if anything is. If `is_hasty`, lines wait for no others.
    pub(crate) fn next(&mut self, now: Duration, is_hasty: bool) -> Option<Step> {
        self.note_progress();
        if self.due_at(is_hasty).is_none_or(|at| now < at) {
            return None;
        }
        let count = self.count();
        let last = self.lines.items().get(count.checked_sub(1)?)?.number;
        if self.store.kind == Kind::ClickHouse && self.settings.is_noted && !self.is_noted() {
            (self.noted, self.is_noting) = (last, true);
            return Some(Step::Note(Position { acked: self.acked, sequence: last }));
        }
        self.flight = count;
        let last = if self.is_noted() { self.noted } else { last };
        let request = self.store.request(&self.lines, count, (self.acked + 1, last));
        Some(Step::Send(request, self.store.packs))
    }

    /// What was to be written down is on the disk.
    pub(crate) fn noted(&mut self) {
        self.is_noting = false;
    }

    /// Whether something is to be on the disk first.
    pub(crate) fn is_noting(&self) -> bool {
        self.is_noting
    }

    /// Whether something is on its way.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.flight > 0 || self.is_noting
    }

    /// Whether lines wait here, in flight or not.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Since when it takes nothing.
    pub(crate) fn troubled_since(&self) -> Option<Duration> {
        self.troubled_since
    }

    /// When [`Self::next`] has something.
    fn due_at(&self, is_hasty: bool) -> Option<Duration> {
        if self.is_in_flight() || self.lines.is_empty() {
            return None;
        }
        if self.is_incomplete() {
            return None;
        }
        let is_new = self.failures == 0 && self.suspects == 0 && !self.is_noted();
        let waits = is_new && !is_hasty && self.has_room();
        Some(self.retry_at.max(if waits { self.since + self.settings.every } else { Duration::ZERO }))
    }

    /// How long until [`Self::next`] has something.
    pub(crate) fn due_in(&self, now: Duration, is_hasty: bool) -> Option<Duration> {
        self.due_at(is_hasty).map(|at| at.saturating_sub(now))
    }

    /// How many lines go out together.
    fn count(&self) -> usize {
        if self.is_noted() {
            return self.lines.items().partition_point(|item| item.number <= self.noted);
        }
        if self.begins_with_mark && self.store.kind == Kind::ClickHouse {
            // After a kill the line would be there again in its place, and those behind it under another name.
            return 1;
        }
        let fitting = self.lines.fitting(self.limit.get());
        match self.suspects {
            0 => fitting,
            suspects => fitting.min((suspects / 2).max(1)),
        }
    }

    /// What came of the request in flight. `random` spreads the tries of many boxes.
    pub(crate) fn answered(&mut self, result: Result<Answer, Trouble>, now: Duration, random: u32) {
        let (count, at) = (mem::take(&mut self.flight), Moment { now, random });
        let (verdict, reason) = verdict(self.store.kind, result, count);
        if matches!(verdict, Verdict::Acked | Verdict::Parts { .. }) {
            self.limit.got_through(self.lines.len_of(count), count);
        }
        match verdict {
            Verdict::Acked => {
                self.took(now);
                (self.noted, self.is_cut) = (0, false);
                self.settle(count, now);
            }
            Verdict::Parts { settled, refused, has_taken, rest } => {
                self.has_taken |= has_taken;
                let is_settled = self.parts(settled, &refused, has_taken, now);
                match (is_settled, rest) {
                    (true, Rest::Nothing) => {}
                    // It goes on, a little slower.
                    (true, Rest::Again) if settled > 0 => self.pause(None, at),
                    (true, Rest::Again) => self.fail(&reason, false, None, at),
                    (false, _) => self.fail(&reason, true, None, at),
                }
            }
            Verdict::Again(after) => self.fail(&reason, false, after, at),
            Verdict::Wait => self.fail(&reason, true, None, at),
            Verdict::TooLong if self.halve(count) => {}
            Verdict::TooLong => self.fail(&reason, true, None, at),
            Verdict::TooLarge | Verdict::Refused => {
                // Nothing of it is there, so that other batches may be made of it.
                (self.noted, self.is_cut) = (0, false);
                self.refused(verdict == Verdict::TooLarge, count, &reason, at);
            }
        }
    }

    /// A batch was refused as a whole.
    fn refused(&mut self, is_too_large: bool, count: usize, reason: &Reason, at: Moment) {
        if is_too_large && self.halve(count) {
            return;
        }
        match count {
            0 | 1 if self.may_drop(1) => {
                self.suspects = 0;
                self.drop_lines(1, &[0], if is_too_large { Why::Payload } else { Why::Refused }, reason);
            }
            0 | 1 => {
                self.suspects = 1;
                self.fail(reason, true, None, at);
            }
            _ => self.suspects = count,
        }
    }

    /// So many lines were too many bytes: from now on no more go out together than half of them, if they can be halved.
    fn halve(&mut self, count: usize) -> bool {
        self.limit.halve(self.lines.len_of(count), count)
    }

    /// An answer about each line: whether all that it settles is settled.
    fn parts(&mut self, settled: usize, refused: &[usize], has_taken: bool, now: Duration) -> bool {
        if settled > 0 && has_taken {
            self.took(now);
        }
        if refused.is_empty() {
            self.settle(settled, now);
        } else if has_taken || self.may_drop(refused.len() as u64) {
            self.drop_lines(settled, refused, Why::Refused, &Reason::Item(400));
            self.since = now;
        } else {
            // Those before the first that is refused are there.
            self.settle(refused.first().copied().unwrap_or_default(), now);
            return false;
        }
        true
    }

    /// Whether lines may be dropped for what is in them.
    fn may_drop(&self, lines: u64) -> bool {
        self.has_taken && self.in_a_row + lines <= MOST_IN_A_ROW
    }

    /// It has taken something.
    fn took(&mut self, now: Duration) {
        (self.has_taken, self.in_a_row, self.failures) = (true, 0, 0);
        let since = self.troubled_since.take();
        let was_said = !mem::take(&mut self.said).is_empty();
        if !mem::replace(&mut self.has_told, true) {
            self.events.push(Event::Takes(None));
        } else if was_said {
            self.events.push(Event::Takes(since.map(|since| now.saturating_sub(since))));
        }
    }

    /// The first so many lines are there.
    fn settle(&mut self, count: usize, now: Duration) {
        let Some(last) = count.checked_sub(1).and_then(|at| self.lines.items().get(at)) else { return };
        self.acked_nanos = last.nanos;
        let bytes = self.lines.len_of(count) as u64;
        self.suspects = self.suspects.saturating_sub(count);
        self.begins_with_mark = false;
        self.lines.remove(count);
        self.since = now;
        self.progress(bytes);
    }

    /// Of the first `settled` lines these are dropped, and the others there.
    fn drop_lines(&mut self, settled: usize, refused: &[usize], why: Why, reason: &Reason) {
        let items = self.lines.items();
        let Some((item, last)) =
            refused.last().and_then(|at| items.get(*at)).zip(settled.checked_sub(1).and_then(|at| items.get(at)))
        else {
            return;
        };
        let bytes = refused.iter().filter_map(|at| items.get(*at)).map(|item| u64::from(item.text_len)).sum();
        let lines = refused.len() as u64;
        self.in_a_row += lines;
        self.dropped = Some(Dropped { item: *item, nanos: self.acked_nanos });
        self.acked_nanos = last.nanos;
        self.failures = 0;
        self.begins_with_mark = false;
        self.lines.remove(settled);
        self.events.push(Event::Dropped { lines, bytes, why, sentence: as_text(&reason) });
    }

    /// A mark takes the place of the lines that were dropped last; an empty one is none. Always called behind
    /// [`Event::Dropped`].
    pub(crate) fn mark(&mut self, mark: &[u8]) {
        let Some(Dropped { item, nanos }) = self.dropped.take().filter(|_| !mark.is_empty()) else {
            return self.progress(0);
        };
        let line = Line { number: item.number, wall_ms: 0, peer: item.peer, bytes: mark };
        let mut encoded = Vec::new();
        self.store.encode(&line, item.nanos, &mut encoded);
        self.acked_nanos = nanos;
        self.begins_with_mark = true;
        self.lines.put_first(item, &encoded);
    }

    /// Nothing is taken for a while. `is_sure`: by itself that will not change.
    fn fail(&mut self, reason: &Reason, is_sure: bool, after: Option<Duration>, at: Moment) {
        let now = at.now;
        self.pause(after, at);
        self.troubled_since.get_or_insert(now);
        let sentence = match self.in_a_row {
            0 => as_text(&reason),
            lines => format!("{reason}, and {lines} lines in a row were dropped for that"),
        };
        let is_worth_it = is_sure || self.failures >= SAID_FAILURES || after.is_some_and(|after| after >= LONG_PAUSE);
        if is_worth_it && (self.said.is_empty() || (self.said != sentence && now >= self.say_at)) {
            self.say_at = now + SAY_EVERY;
            self.events.push(Event::Trouble(sentence.clone()));
            self.said = sentence;
        }
    }

    /// The next try is some time away, and further each time.
    fn pause(&mut self, after: Option<Duration>, at: Moment) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(7)).min(LONGEST_PAUSE);
        // Up to half of it more.
        let jitter = pause * (at.random >> 24) / 512;
        self.failures = self.failures.saturating_add(1);
        self.retry_at = at.now + (pause + jitter).max(after.unwrap_or_default());
    }

    /// What was read and needs no sending counts as acked.
    fn note_progress(&mut self) {
        if !self.lines.is_empty() || !self.timeless.is_empty() || self.is_in_flight() || self.is_incomplete() {
            return;
        }
        // Of what was on its way nothing is left.
        (self.noted, self.is_cut) = (0, false);
        self.progress(0);
    }

    /// How far it has come is told, if that is further than before.
    fn progress(&mut self, bytes: u64) {
        let next = self.lines.items().first().map(|item| item.number.saturating_sub(1));
        let reached = next.unwrap_or(self.read_to);
        if reached > self.acked {
            (self.acked, self.is_cut) = (reached, false);
            self.events.push(Event::Acked(self.position(), bytes));
        }
    }

    fn position(&self) -> Position {
        let sequence = match self.store.kind {
            Kind::Loki => self.acked_nanos,
            _ => self.acked,
        };
        Position { acked: self.acked, sequence }
    }

    /// What there is to tell, the oldest first.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        (!self.events.is_empty()).then(|| self.events.remove(0))
    }
}

/// The time of a line that came then, behind one with that time: no line has the time of another, and the same line always has
/// the same.
fn time_of(wall_ms: u64, before: u64) -> u64 {
    let own = wall_ms.saturating_mul(NANOS_PER_MS);
    let next = before.saturating_add(1);
    if wall_ms < NEVER_SET_MS && before > 0 {
        return next;
    }
    // Else one day in a wrong year would be the time of all lines from then on, which no store takes.
    if before > own.saturating_add(WRONG_NANOS) { own } else { own.max(next) }
}
