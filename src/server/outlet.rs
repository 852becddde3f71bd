//! The way out: the sink, how much more it may be given, and when to try again after a failure (P8, P13). Invariant:
//! what waits for the sink never exceeds its share of the memory budget.

use std::io;
use std::time::Duration;

use crate::engine::config::{LEAST_READ_BYTES, MemoryPlan, Overhead};
use crate::engine::framer::{LineSink, Lines};
use crate::engine::gap::Gap;
use crate::sink::{Flushed, Origin, Sink};

/// First pause after a write failed, doubled each time up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Pause before a blocked sink without a descriptor to poll is asked again.
const UNWATCHED_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Flowing,
    /// Wait for its descriptor, or until `retry_at` if there is none to poll.
    Blocked {
        retry_at: Option<Duration>,
    },
    Failing {
        retry_at: Duration,
        pause: Duration,
    },
}

/// What a flush came to.
#[derive(Debug)]
pub(super) enum Outcome {
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
    state: State,
    is_stalled: bool,
    is_watched: bool,
    /// Since when the sink has taken nothing though something waits.
    stuck_since: Option<Duration>,
}

impl<S: Sink> Outlet<S> {
    pub(super) fn new(sink: S, plan: MemoryPlan, max_line: usize, is_watched: bool) -> Self {
        let overhead = sink.overhead();
        let least = overhead.at_most(max_line + 1 + LEAST_READ_BYTES, 1 + LEAST_READ_BYTES);
        let resume_at = (plan.sink_share / 2).min(plan.sink_share.saturating_sub(least));
        let share = plan.sink_share;
        Self {
            sink,
            overhead,
            share,
            resume_at,
            state: State::Flowing,
            is_stalled: false,
            is_watched,
            stuck_since: None,
        }
    }

    /// How many bytes may be read from a connection that has `pending` bytes, so that whatever they turn out to be
    /// fits. `None`: too few to bother; the sink is full.
    pub(super) fn allowance(&self, pending: usize) -> Option<usize> {
        let room = self.share.saturating_sub(self.sink.waiting());
        let room = room.checked_sub(self.overhead.at_most(pending, 1))?;
        // At worst each byte is a line of its own (`--keep-empty`).
        let bytes = room / (self.overhead.per_byte + self.overhead.per_line);
        (bytes >= LEAST_READ_BYTES).then_some(bytes)
    }

    /// Whether a pending line may go out now.
    pub(super) fn has_room_for(&self, pending: usize) -> bool {
        self.sink.waiting().saturating_add(self.overhead.at_most(pending, 2)) <= self.share
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
        if matches!(self.state, State::Blocked { .. }) {
            self.state = State::Flowing;
        }
    }

    /// The next flush tries, however early that is.
    pub(super) fn try_at_once(&mut self) {
        self.state = State::Flowing;
    }

    /// Writes what waits, unless it is too early to try.
    ///
    /// # Errors
    /// The sink is gone for good.
    pub(super) fn flush(&mut self, now: Duration) -> io::Result<Outcome> {
        let waiting = self.sink.waiting();
        if waiting == 0 && self.is_stalled && !matches!(self.state, State::Failing { .. }) {
            // A sink that writes in its own time has written it all.
            (self.state, self.is_stalled, self.stuck_since) = (State::Flowing, false, None);
        }
        if waiting == 0 || self.due_in(now).is_some_and(|wait| !wait.is_zero()) {
            return Ok(Outcome::Fine);
        }
        if matches!(self.state, State::Blocked { retry_at: None }) {
            return Ok(Outcome::Fine);
        }
        let flushed = self.sink.flush()?;
        let left = self.sink.waiting();
        if left < waiting {
            self.stuck_since = None;
        }
        if left > 0 && self.stuck_since.is_none() {
            self.stuck_since = Some(now);
        }
        self.is_stalled &= left > self.resume_at;
        let was = self.state;
        Ok(match flushed {
            Flushed::Done => {
                self.state = State::Flowing;
                if matches!(was, State::Failing { .. }) { Outcome::Recovered } else { Outcome::Fine }
            }
            Flushed::Blocked => {
                self.state = State::Blocked { retry_at: (!self.is_watched).then_some(now + UNWATCHED_PAUSE) };
                Outcome::Fine
            }
            Flushed::Failed(error) => {
                let pause = match was {
                    State::Failing { pause, .. } if left == waiting => (pause * 2).min(LONGEST_PAUSE),
                    _ => FIRST_PAUSE,
                };
                self.state = State::Failing { retry_at: now + pause, pause };
                Outcome::Failed(error)
            }
        })
    }

    /// How long until the next try, if a time decides it.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Failing { retry_at, .. } | State::Blocked { retry_at: Some(retry_at) } => {
                Some(retry_at.saturating_sub(now))
            }
            State::Flowing | State::Blocked { retry_at: None } => None,
        }
    }

    /// Since when the sink has taken nothing though something waits.
    pub(super) fn stuck_since(&self) -> Option<Duration> {
        self.stuck_since.filter(|_| self.sink.waiting() > 0)
    }

    pub(super) fn share(&self) -> usize {
        self.share
    }
}

/// Hands one connection's lines to the sink.
pub(super) struct Out<'a, S> {
    pub(super) sink: &'a mut S,
    pub(super) origin: Origin<'a>,
}

impl<S: Sink> LineSink for Out<'_, S> {
    fn lines(&mut self, lines: Lines<'_>) {
        self.sink.append(&self.origin, lines);
    }

    fn gap(&mut self, gap: Gap) {
        self.sink.gap(&self.origin, gap);
    }
}
