//! When the loop pauses so that lines of several clients are read and written together (`--gather`), as network cards
//! do with interrupts. What a line costs that comes alone is mostly its system calls; after a pause several lines share
//! them. Invariant: the first line after a calm is never held up, and no pause is longer than the setting.

use std::time::Duration;

use crate::net::EVENTS;

/// If an event brings so many bytes, eight packets of an Ethernet, its system calls cost little beside them. A client
/// that sends as much keeps the loop busy anyway, and a pause would only fill its receive queue.
const SMALL_BYTES: u64 = 8 * 1460;

/// Turns that are less far apart than this, and than half the longest pause, are the start of a crowd. With 2.5 ms, half of
/// the default, the lines of one client that sends 500 a second waited: 200 µs in the middle, in place of 30.
const QUICKLY: Duration = Duration::from_micros(500);

/// What a turn brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brought {
    pub(super) events: usize,
    pub(super) bytes: u64,
    pub(super) lines: u64,
}

pub(super) struct Gather {
    longest: Duration,
    last_turn: Duration,
    pays: bool,
}

impl Gather {
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, last_turn: Duration::ZERO, pays: false }
    }

    /// No pause is longer from now on.
    pub(super) fn set_longest(&mut self, longest: Duration) {
        self.longest = longest;
    }

    /// A turn at `now` has read what there was. A pause after it pays if the turn came right after another, or if a
    /// pause before it brought more than one line together.
    pub(super) fn note(&mut self, now: Duration, brought: Brought) {
        let passed = now.saturating_sub(self.last_turn);
        let came_quickly = passed < QUICKLY.min(self.longest / 2);
        // If more time has passed than a pause and a turn take, no pause brought these lines together.
        let has_gathered = self.pays && passed < self.longest * 4 && (brought.events > 1 || brought.lines > 1);
        let is_small = brought.bytes > 0 && brought.bytes < SMALL_BYTES * brought.events as u64;
        // If a poll brought as many events as it can, more are waiting already.
        self.pays = (came_quickly || has_gathered) && is_small && brought.events < EVENTS;
        self.last_turn = now;
    }

    /// The pause before a poll that may last `wait`.
    pub(super) fn pause(&self, wait: Option<Duration>) -> Option<Duration> {
        let pause = self.longest.min(wait.unwrap_or(self.longest));
        Some(pause).filter(|pause| self.pays && !pause.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Brought = Brought { events: 1, bytes: 100, lines: 1 };
    const TWO: Brought = Brought { events: 2, bytes: 200, lines: 2 };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The pause after turns at these milliseconds.
    fn pause_after(turns: &[(u64, Brought)]) -> Option<Duration> {
        let mut gather = Gather::new(ms(10));
        turns.iter().for_each(|(at, brought)| gather.note(ms(*at), *brought));
        gather.pause(None)
    }

    #[test]
    fn lines_far_apart_are_never_held_up() {
        assert_eq!(pause_after(&[(100, TWO), (105, ONE), (110, ONE)]), None);
    }

    #[test]
    fn turns_half_a_millisecond_apart_are_calm_whatever_the_longest_pause_is() {
        for (longest, apart, is_calm) in
            [(10_000, 499, false), (10_000, 500, true), (400, 199, false), (400, 200, true)]
        {
            let mut gather = Gather::new(Duration::from_micros(longest));
            [0, apart].iter().for_each(|at| gather.note(ms(100) + Duration::from_micros(*at), ONE));
            assert_eq!(gather.pause(None).is_none(), is_calm, "{apart} of {longest}");
        }
    }

    #[test]
    fn a_line_right_after_another_begins_a_pause_that_goes_on_while_it_pays() {
        assert_eq!(pause_after(&[(100, ONE), (100, ONE)]), Some(ms(10)));
        assert_eq!(pause_after(&[(100, ONE), (100, ONE), (111, TWO)]), Some(ms(10)));
        assert_eq!(pause_after(&[(100, ONE), (100, ONE), (111, ONE)]), None, "it gathered nothing");
        assert_eq!(pause_after(&[(100, ONE), (100, ONE), (60_000, TWO)]), None, "no pause brought these together");
        let again = |at, brought| pause_after(&[(100, ONE), (100, ONE), (at, brought)]);
        assert_eq!((again(139, TWO), again(140, TWO)), (Some(ms(10)), None), "four times as long is too long");
        assert_eq!(again(111, Brought { events: 1, ..TWO }), Some(ms(10)), "two lines of one client");
        assert_eq!(again(111, Brought { lines: 1, ..TWO }), Some(ms(10)), "a line, and something of another client");
    }

    #[test]
    fn much_at_once_needs_no_pause() {
        assert_eq!(pause_after(&[(100, ONE), (100, Brought { bytes: 65_536, ..ONE })]), None);
        let after_one = |bytes, brought| pause_after(&[(100, ONE), (100, Brought { bytes, ..brought })]);
        assert_eq!((after_one(11_679, ONE), after_one(11_680, ONE)), (Some(ms(10)), None), "eight packets are much");
        assert_eq!((after_one(23_359, TWO), after_one(23_360, TWO)), (Some(ms(10)), None), "of two clients, sixteen");
        assert_eq!(pause_after(&[(100, ONE), (100, Brought { events: EVENTS, ..ONE })]), None, "more are waiting");
        assert_eq!(pause_after(&[(100, ONE), (100, Brought { bytes: 0, ..ONE })]), None, "nothing came");
    }

    #[test]
    fn a_pause_ends_before_what_is_due() {
        let mut gather = Gather::new(ms(10));
        [100, 100].iter().for_each(|at| gather.note(ms(*at), ONE));
        assert_eq!(gather.pause(Some(ms(3))), Some(ms(3)));
        assert_eq!(gather.pause(Some(ms(0))), None);
        assert_eq!(gather.pause(Some(ms(300))), Some(ms(10)));
    }

    #[test]
    fn without_the_setting_there_is_no_pause() {
        let mut gather = Gather::new(ms(0));
        [100, 100, 100].iter().for_each(|at| gather.note(ms(*at), TWO));
        assert_eq!(gather.pause(None), None);
    }
}
