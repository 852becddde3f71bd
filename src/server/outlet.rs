//! The sink as the server sees it: how much more it may be given, and when it is tried again after a failure (P8, P13).
//! Invariant: what waits for the sink never exceeds its share of the memory budget.

use std::io;
use std::time::Duration;

use crate::config::limits::{LEAST_READ_BYTES, MemoryPlan, Overhead};
use crate::engine::framer::{LineSink, Lines};
use crate::engine::gap::Gap;
use crate::engine::peer::Peer;
use crate::net::Source;
use crate::sink::{Flushed, Origin, Pace, Sink};

/// Pause before a blocked sink without a descriptor to poll is asked again.
const UNWATCHED_PAUSE: Duration = Duration::from_millis(10);

/// What a flush came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There was nothing to write, or it is too early.
    Idle,
    Fine,
    /// The first failure, or one more of them.
    Failed(io::Error),
    /// It works again.
    Recovered,
}

pub(super) struct Outlet<S> {
    pub(super) sink: S,
    overhead: Overhead,
    share: usize,
    /// Reading resumes when no more than this waits.
    resume_at: usize,
    pace: Pace,
    is_stalled: bool,
    is_watched: bool,
    /// Everything is written, and the sink was asked to bring it to where it belongs for good.
    is_settling: bool,
    /// Since when the sink has taken nothing though something waits.
    stuck_since: Option<Duration>,
}

impl<S: Sink> Outlet<S> {
    pub(super) fn new(sink: S, plan: MemoryPlan, max_line: usize, is_watched: bool) -> Self {
        let overhead = sink.overhead();
        let kept = overhead.most_kept(max_line);
        let least = overhead.least_share(max_line) - kept;
        let half = kept + plan.sink_share.saturating_sub(kept) / 2;
        let resume_at = half.min(plan.sink_share.saturating_sub(least));
        let share = plan.sink_share;
        Self {
            sink,
            overhead,
            share,
            resume_at,
            pace: Pace::Flowing,
            is_stalled: false,
            is_watched,
            is_settling: false,
            stuck_since: None,
        }
    }

    /// How many bytes may be read from a connection that has `pending` bytes, so that whatever they turn out to be
    /// fits. `None`: too few to bother; the sink is full.
    pub(super) fn allowance(&self, pending: usize) -> Option<usize> {
        let room = self.share.saturating_sub(self.sink.held());
        let room = room.checked_sub(self.overhead.at_most(pending, 1))?;
        // At worst each byte is a line of its own (`--keep-empty`).
        let bytes = room / (self.overhead.per_byte + self.overhead.per_line);
        (bytes >= LEAST_READ_BYTES).then_some(bytes)
    }

    /// Whether a pending line may go out now.
    pub(super) fn has_room_for(&self, pending: usize) -> bool {
        self.sink.held().saturating_add(self.overhead.at_most(pending, 2)) <= self.share
    }

    /// The sink is full: nothing is read until it has taken enough. True if that is new.
    pub(super) fn stall(&mut self) -> bool {
        !std::mem::replace(&mut self.is_stalled, true)
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// The sink's descriptor can be written again.
    pub(super) fn writable(&mut self) {
        self.pace.writable();
    }

    /// The next flush tries, however early that is.
    pub(super) fn try_at_once(&mut self) {
        self.pace = Pace::Flowing;
        self.sink.try_at_once();
    }

    /// Writes what waits, unless it is too early to try.
    ///
    /// # Errors
    /// The sink is gone for good.
    pub(super) fn flush(&mut self, now: Duration) -> io::Result<Outcome> {
        let waiting = self.sink.waiting();
        if waiting == 0 && self.is_stalled && self.sink.held() <= self.resume_at && !self.pace.is_failing() {
            // A sink that writes in its own time has written it all.
            (self.pace, self.is_stalled, self.stuck_since) = (Pace::Flowing, false, None);
        }
        let is_due = self.sink.due_in(now).is_some_and(|wait| wait.is_zero());
        if (waiting == 0 && !is_due) || !self.pace.may_try(now) {
            return Ok(Outcome::Idle);
        }
        let flushed = self.sink.flush(now)?;
        let left = self.sink.waiting();
        if left < waiting {
            self.stuck_since = None;
        }
        if left > 0 && self.stuck_since.is_none() {
            self.stuck_since = Some(now);
        }
        self.is_stalled &= self.sink.held() > self.resume_at;
        Ok(match flushed {
            Flushed::Done => {
                if self.pace.done() {
                    Outcome::Recovered
                } else {
                    Outcome::Fine
                }
            }
            Flushed::Paced => {
                self.stuck_since = None;
                Outcome::Fine
            }
            Flushed::Blocked => {
                self.pace = Pace::Blocked { retry_at: (!self.is_watched).then_some(now + UNWATCHED_PAUSE) };
                Outcome::Fine
            }
            Flushed::Failed(error) => {
                self.pace.failed(now, left < waiting);
                Outcome::Failed(error)
            }
        })
    }

    /// How long until the next try, if a time decides it.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        let own = self.pace.due_in(now);
        own.into_iter().chain(self.sink.due_in(now)).min()
    }

    /// Whether all up to a position is where it belongs. A sink that does not count is at 0 for ever: then nothing may
    /// wait in it.
    pub(super) fn has_delivered(&self, position: u64) -> bool {
        self.sink.delivered() >= position && (position > 0 || self.sink.waiting() == 0)
    }

    /// Since when the sink has taken nothing though something waits.
    pub(super) fn stuck_since(&self) -> Option<Duration> {
        self.stuck_since.filter(|_| self.sink.waiting() > 0).or_else(|| self.sink.stuck_since())
    }

    /// The server ends: whether all is written, and where it belongs for good. From the first time on nothing waits on
    /// purpose (`--flush-every`), so it is asked while something waits, too.
    pub(super) fn settle(&mut self, now: Duration) -> bool {
        let is_settled = self.sink.settle(now);
        let is_written = self.sink.waiting() == 0;
        self.is_settling = is_written && !is_settled;
        is_written && is_settled
    }

    /// Whether the sink has work of its own left, of which its descriptors or its clock will tell.
    pub(super) fn is_settling(&self) -> bool {
        self.is_settling
    }

    pub(super) fn share(&self) -> usize {
        self.share
    }
}

/// Who looks on, through the status endpoint.
pub(super) trait Onlookers {
    /// Some lines of a peer went to the sink.
    fn lines(&mut self, peer: &Peer, wall_ms: u64, lines: Lines<'_>);
    /// An event told of one of them, or of one more.
    fn wake(&mut self, source: Source);
    /// How long until they are to be served.
    fn due_in(&self, now: Duration) -> Option<Duration>;
}

/// Without the status endpoint, nobody looks on.
#[cfg(not(feature = "status"))]
impl<L, T> Onlookers for std::marker::PhantomData<(L, T)> {
    fn lines(&mut self, _: &Peer, _: u64, _: Lines<'_>) {}

    fn wake(&mut self, _: Source) {}

    fn due_in(&self, _: Duration) -> Option<Duration> {
        None
    }
}

/// Hands one connection's lines to the sink, and shows them to who looks on.
pub(super) struct Out<'a, S, O> {
    pub(super) sink: &'a mut S,
    pub(super) onlookers: &'a mut O,
    pub(super) origin: Origin<'a>,
}

impl<S: Sink, O: Onlookers> LineSink for Out<'_, S, O> {
    fn lines(&mut self, lines: Lines<'_>) {
        self.sink.append(&self.origin, lines);
        self.onlookers.lines(self.origin.peer, self.origin.wall_ms, lines);
    }

    fn gap(&mut self, gap: Gap) {
        self.sink.gap(&self.origin, gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::MemorySink;

    #[test]
    fn p5_a_pending_line_has_room_only_if_it_also_has_as_two_lines() {
        // `--long-lines split` makes two lines of a longest one and the `\r` behind it: two `\n`, which are added.
        let plan = MemoryPlan { sink_share: 10, pending_share: 10 };
        let outlet = Outlet::new(MemorySink::new(), plan, 7, false);
        assert_eq!((outlet.has_room_for(8), outlet.has_room_for(9)), (true, false));
    }
}
