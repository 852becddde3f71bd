//! The sink as the server sees it: how much more it may be given, and when it is tried again after a failure (P8, P13).
//! Invariant: what waits for the sink never exceeds its share of the memory budget.

use std::io;
use std::time::Duration;

use crate::config::limits::{LEAST_READ_BYTES, MemoryPlan, Overhead};
use crate::engine::framer::{LineSink, Lines};
use crate::engine::gap::Gap;
use crate::engine::peer::Peer;
use crate::net::Source;
use crate::sink::{Loss, Origin, Sink};

pub(super) struct Outlet<S> {
    pub(super) sink: S,
    overhead: Overhead,
    share: usize,
    /// Reading resumes when no more than this waits.
    resume_at: usize,
    is_stalled: bool,
    /// Everything is written, and the sink was asked to bring it to where it belongs for good.
    is_settling: bool,
    /// The first of several outputs that was lost.
    loss: Option<Loss>,
}

impl<S: Sink> Outlet<S> {
    pub(super) fn new(sink: S, plan: MemoryPlan, max_line: usize) -> Self {
        let overhead = sink.overhead();
        let kept = overhead.most_kept(max_line);
        let least = overhead.least_share(max_line) - kept;
        let half = kept + plan.sink_share.saturating_sub(kept) / 2;
        let resume_at = half.min(plan.sink_share.saturating_sub(least));
        let share = plan.sink_share;
        Self { sink, overhead, share, resume_at, is_stalled: false, is_settling: false, loss: None }
    }

    /// How many bytes may be read from a connection that has `pending` bytes, so that whatever they turn out to be
    /// fits. `None`: too few to bother; the sink is full.
    pub(super) fn allowance(&self, pending: usize) -> Option<usize> {
        let room = self.share.saturating_sub(self.sink.state().held);
        let room = room.checked_sub(self.overhead.at_most(pending, 1))?;
        // At worst each byte is a line of its own (`--keep-empty`).
        let bytes = room / (self.overhead.per_byte + self.overhead.per_line);
        (bytes >= LEAST_READ_BYTES).then_some(bytes)
    }

    /// Whether a pending line may go out now.
    pub(super) fn has_room_for(&self, pending: usize) -> bool {
        self.sink.state().held.saturating_add(self.overhead.at_most(pending, 2)) <= self.share
    }

    /// The sink is full: nothing is read until it has taken enough. True if that is new.
    pub(super) fn stall(&mut self) -> bool {
        !std::mem::replace(&mut self.is_stalled, true)
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Has the sink write what waits; false if there was nothing to do.
    ///
    /// # Errors
    /// The sink is gone for good.
    pub(super) fn flush(&mut self, now: Duration) -> io::Result<bool> {
        let state = self.sink.state();
        // A sink that writes in its own time may have written it all.
        self.is_stalled &= state.waiting > 0 || state.held > self.resume_at;
        if state.waiting == 0 && !self.sink.due_in(now).is_some_and(|wait| wait.is_zero()) {
            return Ok(false);
        }
        self.sink.flush(now)?;
        self.is_stalled &= self.sink.state().held > self.resume_at;
        Ok(true)
    }

    /// Remembers the first output that was lost, for the end.
    pub(super) fn note_loss(&mut self, loss: Loss) {
        self.loss.get_or_insert(loss);
    }

    /// Whether one of several outputs was lost.
    pub(super) fn has_lost(&self) -> bool {
        self.loss.is_some()
    }

    /// The first output that was lost, told at the end.
    pub(super) fn take_loss(&mut self) -> Option<Loss> {
        self.loss.take()
    }

    /// Whether all up to a position is where it belongs. A sink that does not count is at 0 for ever: then nothing may
    /// wait in it.
    pub(super) fn has_delivered(&self, position: u64) -> bool {
        let state = self.sink.state();
        state.delivered >= position && (position > 0 || state.waiting == 0)
    }

    /// The server ends: whether all is written, and where it belongs for good. From the first time on nothing waits on
    /// purpose (`--flush-every`), so it is asked while something waits, too.
    pub(super) fn settle(&mut self, now: Duration) -> bool {
        let is_settled = self.sink.settle(now);
        let is_written = self.sink.state().waiting == 0;
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

/// Those who watch the lines through the status endpoint (`/tail`).
pub(super) trait Onlookers {
    /// Some lines of a peer went to the sink.
    fn lines(&mut self, peer: &Peer, wall_ms: u64, lines: Lines<'_>);
    /// An event told of one of them, or of one more.
    fn wake(&mut self, source: Source);
    /// How long until they are to be served.
    fn due_in(&self, now: Duration) -> Option<Duration>;
}

/// Without the status endpoint there are none.
#[cfg(not(feature = "status"))]
impl<L, T> Onlookers for std::marker::PhantomData<(L, T)> {
    fn lines(&mut self, _: &Peer, _: u64, _: Lines<'_>) {}

    fn wake(&mut self, _: Source) {}

    fn due_in(&self, _: Duration) -> Option<Duration> {
        None
    }
}

/// Gives one connection's lines to the sink, and shows them to the onlookers.
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
        let outlet = Outlet::new(MemorySink::new(), plan, 7);
        assert_eq!((outlet.has_room_for(8), outlet.has_room_for(9)), (true, false));
    }
}
