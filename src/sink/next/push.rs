//! A store over HTTP as an output: lines come from the spool or from memory, a `Plan` says what is sent of them, and a `Caller`
//! has the connection. Invariant: what the store has not taken is in the spool or in memory.

use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::queue::Feed;
use crate::config::text::as_text;
use crate::config::units::soonest;
use crate::config::units::{DisplayDuration, DisplayLines};
use crate::dial::Trust;
use crate::dial::caller::Caller;
use crate::engine::gap::{Gap, Why};
use crate::http::{Request, Trouble};
use crate::push::{Event, Line, Plan, Position, Settings, Step, Store, packed};
use crate::sink::Interest;
use crate::sink::source::Reached;
use crate::sink::target::{Books, Standing, Target, Took, Whose, Wrote};
use crate::sink::waiting::Parts;
use crate::task::Task;

/// At the end, lines go out and answers come in for so long.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How often it is looked whether a position is on the disk, and at the end whether there is an answer.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Packing so much takes no longer than a turn may.
const PACKED_AT_ONCE_BYTES: usize = 16 * 1024;
/// Stack of that thread: deflating needs some 300 KiB for a moment.
const STACK_BYTES: usize = 1 << 20;
/// So much of a server's name is shown.
const MOST_SERVER_BYTES: usize = 64;

/// A store as an output.
pub(super) struct Push {
    name: String,
    plan: Plan,
    caller: Caller,
    trust: Trust,
    feed: Feed,
    /// A request that is being packed.
    packing: Option<Task<Request>>,
    /// The segment of the last line that was read.
    segment: (u64, [u8; 16]),
    random: u32,
    /// The store, as it names itself.
    server: String,
    /// When to look again for what nothing tells of.
    look_at: Option<Duration>,
    over_at: Option<Duration>,
    is_over: bool,
}

impl Push {
    /// An output for a store.
    pub(super) fn new(name: String, plan: (Store, Settings), caller: Caller, trust: Trust, feed: Feed) -> Self {
        let (store, settings) = plan;
        let reached = feed.source_ref().reached();
        let position = reached.map(|reached| Position { acked: reached.number, sequence: reached.sequence });
        let mut random = [0; 4];
        // Without it, boxes may ask all at once.
        let _ = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
        Self {
            name,
            plan: Plan::new(store, settings, position),
            caller,
            trust,
            feed,
            packing: None,
            segment: reached.unwrap_or_default().segment,
            random: u32::from_le_bytes(random),
            server: String::new(),
            look_at: None,
            over_at: None,
            is_over: false,
        }
    }

    /// Reads, sends, and hears. Whether there may be more to do at once.
    fn go_on(&mut self, now: Duration, books: &mut Books) -> bool {
        let mut has_more = self.caller.go_on(now);
        if let Some(result) = self.caller.client_mut().result() {
            if let Ok(answer) = &result {
                self.server = shown(answer.head.header("server").unwrap_or_default());
            }
            // Knuth's generator (MMIX), of which the upper bits are the better ones.
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            self.plan.answered(result, now, self.random);
            self.settle_events(books);
            has_more = true;
        }
        if self.may_begin(now) {
            self.read(now, books);
            has_more |= self.begin(now);
            self.settle_events(books);
        }
        books.counters.connections = self.caller.connections();
        let wrote = self.caller.wrote();
        if wrote > 0 {
            books.wrote(wrote);
        }
        has_more
    }

    /// Whether a request may be begun, as far as the end lets it.
    fn may_begin(&self, now: Duration) -> bool {
        self.over_at.is_none_or(|at| now + LAST_CALL < at)
    }

    fn read(&mut self, now: Duration, books: &mut Books) {
        if !self.plan.has_room() {
            return;
        }
        let Self { plan, feed, segment, .. } = self;
        feed.source().read(now, books, &mut |piece| {
            let line = Line { number: piece.number, wall_ms: piece.wall_ms, peer: piece.peer, bytes: piece.bytes };
            let is_taken = plan.take(&line, now);
            if is_taken && piece.segment.0 > 0 {
                *segment = piece.segment;
            }
            is_taken
        });
    }

    /// Begins what is next; whether that is a request.
    fn begin(&mut self, now: Duration) -> bool {
        if self.plan.is_noting() && self.feed.source_ref().is_written_down() {
            self.plan.noted();
        }
        if let Some(task) = self.packing.take_if(|task| task.is_done()) {
            match task.result() {
                Some(request) => self.caller.client_mut().begin(request, now),
                None => self.plan.answered(Err(Trouble::Io("its thread has ended".to_owned())), now, self.random),
            }
            return true;
        }
        if !self.caller.client().is_idle() || self.packing.is_some() {
            return false;
        }
        match self.plan.next(now, self.over_at.is_some()) {
            Some(Step::Send(request, packs)) => {
                self.send(request, packs, now);
                true
            }
            Some(Step::Note(position)) => {
                let reached = self.reached(position);
                self.feed.source().write_down(reached);
                false
            }
            None => false,
        }
    }

    /// Sends a request, or has it packed before by a thread, so that nobody waits for that.
    fn send(&mut self, request: Request, packs: bool, now: Duration) {
        if packs && request.body.len() > PACKED_AT_ONCE_BYTES {
            match Task::begin_with(STACK_BYTES, now, move || packed(request)) {
                Ok(task) => self.packing = Some(task),
                Err(error) => self.plan.answered(Err(Trouble::Io(as_text(&error))), now, self.random),
            }
        } else {
            self.caller.client_mut().begin(if packs { packed(request) } else { request }, now);
        }
    }

    fn reached(&self, position: Position) -> Reached {
        Reached { number: position.acked, sequence: position.sequence, segment: self.segment }
    }

    /// What the plan has to tell.
    fn settle_events(&mut self, books: &mut Books) {
        while let Some(event) = self.plan.next_event() {
            match event {
                Event::Acked(position, bytes) => {
                    let reached = self.reached(position);
                    self.feed.source().acked(reached, bytes);
                }
                Event::Dropped { lines, bytes, why, sentence } => {
                    books.dropped(lines, bytes);
                    let (name, count) = (&self.name, DisplayLines(lines));
                    let what =
                        if why == Why::Payload { "too long for it" } else { "which it refuses for what is in them" };
                    books.report(format_args!("{name} misses {count}, {what}: {sentence}"));
                    let mark = self.feed.source().gap_line(Gap { lines, bytes, why });
                    self.plan.mark(&mark);
                }
                Event::Trouble(why) => {
                    let (name, wait) = (&self.name, self.feed.waiters());
                    books.report(format_args!("{name} takes nothing: {why}; {wait}, trying again"));
                }
                Event::Takes(None) => books.tell(format_args!("{} takes lines", self.name)),
                Event::Takes(Some(time)) => {
                    books.tell(format_args!("{} is back after {}", self.name, DisplayDuration(time)));
                }
            }
        }
    }
}

/// A server's name, as far as a terminal can show it.
fn shown(name: &str) -> String {
    name.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').take(MOST_SERVER_BYTES).collect()
}

impl Target for Push {
    fn take(&mut self, whose: Whose<'_>, parts: Parts<'_>, _: bool, _: &mut Books) -> Took {
        if let Feed::Memory(queue) = &mut self.feed {
            queue.take(whose, parts);
        }
        Took::Written
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        if self.is_over {
            return Ok(Wrote::All);
        }
        books.report_all(&self.name, self.trust.take_unsaid());
        while self.go_on(now, books) {}
        // Trap: what begins while the sink settles is watched by a later turn only.
        let begins_late = self.over_at.is_some() && !self.caller.client().is_idle();
        self.look_at = (self.plan.is_noting() || begins_late).then_some(now + LOOK_EVERY);
        self.feed.source().note(now, books);
        Ok(match &self.feed {
            Feed::Spool(_) => Wrote::All,
            Feed::Memory(queue) if queue.len() == 0 => Wrote::All,
            Feed::Memory(_) if self.plan.troubled_since().is_some() => Wrote::Away,
            Feed::Memory(_) if self.plan.is_in_flight() => Wrote::Busy,
            Feed::Memory(_) => Wrote::Later,
        })
    }

    fn standing(&self) -> Standing {
        self.feed.standing()
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        self.feed.drop_lines()
    }

    fn lines_left(&self) -> u64 {
        self.feed.lines_left()
    }

    fn away_since(&self) -> Option<Duration> {
        self.plan.troubled_since()
    }

    fn server(&self) -> &str {
        &self.server
    }

    fn is_falling_behind(&self) -> bool {
        self.feed.source_ref().is_falling_behind()
    }

    fn passes_over_itself(&self) -> bool {
        matches!(self.feed, Feed::Spool(_))
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        if self.is_over {
            return None;
        }
        let is_last = self.over_at.is_some();
        let (caller, source) = (self.caller.due_in(now), self.feed.source_ref());
        let mut own = self.plan.due_in(now, is_last).filter(|_| self.may_begin(now));
        if self.plan.has_room() && source.has_more() && self.may_begin(now) {
            own = Some(Duration::ZERO);
        }
        let end = self.over_at.map(|at| at.saturating_sub(now));
        let look = self.look_at.map(|at| at.saturating_sub(now));
        let packing = self.packing.as_ref().map(|task| task.due_in(now));
        soonest(&[caller, own, end, look, packing, source.due_in(now)])
    }

    fn unwatched(&mut self) -> Option<(BorrowedFd<'_>, Interest)> {
        self.caller.unwatched().map(|socket| (socket, Interest::ReadWrite))
    }

    fn ready(&mut self, _: bool) -> bool {
        self.caller.told();
        false
    }

    fn reopen(&mut self) {
        self.trust.reload();
        // What that came to is said with the next write.
        self.look_at = Some(Duration::ZERO);
        self.feed.source().reopen();
    }

    /// What is there goes out for a moment, and what is in flight is waited for; what is in memory alone, for as long as the
    /// server lets it.
    fn settle(&mut self, now: Duration, books: &mut Books) -> bool {
        if self.is_over {
            return true;
        }
        if let Feed::Memory(queue) = &self.feed {
            if queue.len() == 0 {
                return true;
            }
            // No line waits for others any more.
            self.over_at = Some(Duration::MAX);
            let _ = self.write(now, books);
            return matches!(&self.feed, Feed::Memory(queue) if queue.len() == 0);
        }
        let over_at = *self.over_at.get_or_insert(now + 2 * LAST_CALL);
        let _ = self.write(now, books);
        let may_take = self.plan.troubled_since().is_none() && self.may_begin(now);
        let has_rest = !self.plan.is_empty() || self.feed.source_ref().has_rest();
        if (self.plan.is_in_flight() || (may_take && has_rest)) && now < over_at {
            return false;
        }
        self.feed.source().note(now, books);
        self.feed.source().close();
        self.is_over = true;
        mem::take(&mut self.server);
        true
    }
}
