//! Two clocks, both set once a turn: time as it passes, and the time in which the server was reading, which is what
//! silence is measured by (P6). Invariant: neither ever goes back.

use std::time::Duration;

use crate::engine::wheel::Tick;
use crate::net::Now;

/// If a turn begins so much later than the poll was to last, the process has stood still: it was stopped, or blocked in
/// a write to a disk. A second is far more than a busy machine's delays, and far less than any sensible time-out.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// The turn's time.
pub(super) struct Clock {
    now: Now,
    /// Time in which the server was not reading.
    lost: Duration,
    /// [`Self::reading`] in ticks: each read asks for it, and the division is a long one.
    tick: Tick,
    /// When bytes last came from any client, on [`Self::reading`].
    last_bytes: Duration,
}

impl Clock {
    pub(super) fn new(now: Now) -> Self {
        Self { now, lost: Duration::ZERO, tick: Tick::at_or_before(now.since_start), last_bytes: now.since_start }
    }

    /// A turn begins at `now`, after a poll that was to last for `asked` at most. `was_stalled`: in the turn before, a
    /// full sink kept the server from reading.
    pub(super) fn advance(&mut self, now: Now, asked: Option<Duration>, was_stalled: bool) {
        let passed = now.since_start.saturating_sub(self.now.since_start);
        let late = passed.saturating_sub(asked.unwrap_or(passed));
        if was_stalled {
            self.lost += passed;
        } else if late > STOOD_STILL {
            self.lost += late;
        }
        self.now = Now { since_start: now.since_start.max(self.now.since_start), wall_ms: now.wall_ms };
        self.tick = Tick::at_or_before(self.reading());
    }

    /// Monotonic time since the start.
    pub(super) fn now(&self) -> Duration {
        self.now.since_start
    }

    /// Wall-clock time, in milliseconds since 1970.
    pub(super) fn wall_ms(&self) -> u64 {
        self.now.wall_ms
    }

    /// Time since the start in which the server was reading.
    pub(super) fn reading(&self) -> Duration {
        self.now.since_start.saturating_sub(self.lost)
    }

    /// Bytes have come from a client.
    pub(super) fn note_bytes(&mut self) {
        self.last_bytes = self.reading();
    }

    /// When bytes last came from any client, on [`Self::reading`].
    pub(super) fn last_bytes(&self) -> Duration {
        self.last_bytes
    }

    /// [`Self::reading`] for the wheel; rounded down, so that no deadline is early.
    pub(super) fn tick(&self) -> Tick {
        self.tick
    }

    /// How long until `tick`, if the server reads all that time.
    pub(super) fn until(&self, tick: Tick) -> Duration {
        tick.begins_at().saturating_sub(self.reading())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { since_start: Duration::from_millis(ms), wall_ms: ms }
    }

    #[test]
    fn p6_after_years_a_deadline_is_as_far_off_as_ever() {
        let years = 600 * 86_400_000; // More ticks than 32 bits count.
        let clock = Clock::new(at(years));
        let deadline = Tick(clock.tick().0 + 3);
        assert_eq!(clock.until(deadline), Duration::from_millis(30));
    }

    #[test]
    fn p6_time_in_which_the_server_was_not_reading_is_no_silence() {
        let mut clock = Clock::new(at(0));
        clock.advance(at(100), Some(Duration::from_millis(90)), false);
        assert_eq!(clock.reading(), Duration::from_millis(100), "a little late is normal");
        clock.advance(at(5_100), Some(Duration::from_secs(60)), true);
        assert_eq!(clock.reading(), Duration::from_millis(100), "a full sink");
        clock.advance(at(65_100), Some(Duration::from_millis(10)), false);
        assert_eq!(clock.reading(), Duration::from_millis(110), "a stopped process");
        assert_eq!(clock.now(), Duration::from_millis(65_100));
        clock.advance(at(67_100), Some(Duration::from_secs(1)), false);
        assert_eq!(clock.reading(), Duration::from_millis(2_110), "a second is no more than a busy machine may take");
    }

    #[test]
    fn p11_bytes_came_when_the_server_was_reading_whatever_else_has_passed() {
        let mut clock = Clock::new(at(0));
        clock.advance(at(5_000), None, true);
        clock.advance(at(5_300), None, false);
        clock.note_bytes();
        clock.advance(at(5_400), None, false);
        assert_eq!((clock.last_bytes(), clock.wall_ms()), (Duration::from_millis(300), 5_400));
    }
}
