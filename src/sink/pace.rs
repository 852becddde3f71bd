//! When an output is written to again after it took nothing (P8, P13), and since when it has taken nothing. Invariant:
//! after a write has failed there is a pause, so that the loop never spins.

use std::time::Duration;

/// First pause after a write failed, doubled each time up to [`LONGEST_PAUSE`].
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Pauses between tries, doubled each time from [`FIRST_PAUSE`] up to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backoff {
    retry_at: Duration,
    pause: Duration,
}

impl Backoff {
    /// The first try has failed at `now`.
    pub(super) fn begin(now: Duration) -> Self {
        Self { retry_at: now + FIRST_PAUSE, pause: FIRST_PAUSE }
    }

    /// One more has failed.
    pub(super) fn again(self, now: Duration, longest: Duration) -> Self {
        let pause = (self.pause * 2).min(longest);
        Self { retry_at: now + pause, pause }
    }

    /// The next try is now.
    pub(super) fn at_once(self) -> Self {
        Self { retry_at: Duration::ZERO, ..self }
    }

    pub(super) fn is_due(self, now: Duration) -> bool {
        self.retry_at <= now
    }

    /// When the next try is.
    pub(super) fn retry_at(self) -> Duration {
        self.retry_at
    }
}

/// Whether the next write may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Pace {
    /// Nothing stands against a write.
    #[default]
    Flowing,
    /// A write in the middle of a turn did not work. The flush at the end of the turn tries again, and sees why.
    Refused,
    /// The kernel took nothing. The descriptor is watched, and an event says when it can be written again; or, where another
    /// descriptor may take lines by then, a time.
    Blocked { look_at: Option<Duration> },
    /// The last write failed.
    Failing(Backoff),
}

/// Whether an output may be written to, when it is tried again, and since when it is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pacing {
    pace: Pace,
    stuck_since: Option<Duration>,
}

impl Pacing {
    /// Whether a flush may write now.
    #[must_use]
    pub fn may_try(&self, now: Duration) -> bool {
        match self.pace {
            Pace::Flowing | Pace::Refused => true,
            Pace::Blocked { look_at } => look_at.is_some_and(|at| at <= now),
            Pace::Failing(backoff) => backoff.is_due(now),
        }
    }

    /// Whether the last write worked, so that a block may be written as soon as it comes.
    #[must_use]
    pub fn is_flowing(&self) -> bool {
        self.pace == Pace::Flowing
    }

    /// Whether the last write worked, and nothing has waited since.
    #[must_use]
    pub fn is_at_ease(&self) -> bool {
        self.is_flowing() && self.stuck_since.is_none()
    }

    /// Whether the last write failed.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        matches!(self.pace, Pace::Failing(_))
    }

    /// How long until the next try, if a time decides it.
    #[must_use]
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        match self.pace {
            Pace::Failing(backoff) => Some(backoff.retry_at().saturating_sub(now)),
            Pace::Blocked { look_at } => look_at.map(|at| at.saturating_sub(now)),
            Pace::Flowing | Pace::Refused => None,
        }
    }

    /// Since when it has taken nothing though something waits.
    #[must_use]
    pub fn stuck_since(&self) -> Option<Duration> {
        self.stuck_since
    }

    /// A write in the middle of a turn was refused.
    pub fn refuse(&mut self) {
        if self.pace == Pace::Flowing {
            self.pace = Pace::Refused;
        }
    }

    /// The descriptor can be written again.
    pub fn writable(&mut self) {
        if matches!(self.pace, Pace::Blocked { .. }) {
            self.pace = Pace::Flowing;
        }
    }

    /// The next flush writes, even if a pause is not over.
    pub fn try_now(&mut self) {
        self.pace = Pace::Flowing;
    }

    /// A pause is over, however early that is.
    pub fn hurry(&mut self) {
        match &mut self.pace {
            Pace::Failing(backoff) => *backoff = backoff.at_once(),
            Pace::Blocked { look_at } => *look_at = look_at.map(|_| Duration::ZERO),
            Pace::Flowing | Pace::Refused => {}
        }
    }

    /// A write took some of what waited.
    pub fn progress(&mut self) {
        self.stuck_since = None;
    }

    /// A write took all that it was to take. True if the one before had failed.
    pub fn done(&mut self) -> bool {
        let was_failing = self.is_failing();
        *self = Self::default();
        was_failing
    }

    /// The descriptor takes no more. If the output `may_change` its descriptor, it is asked again after a while.
    pub fn block(&mut self, now: Duration, may_change: bool) {
        self.pace = Pace::Blocked { look_at: may_change.then(|| now + LONGEST_PAUSE) };
        self.stuck_since.get_or_insert(now);
    }

    /// Nothing can be written, such as while there is no connection; the target itself says when to try again.
    pub fn wait(&mut self, now: Duration) {
        self.pace = Pace::Flowing;
        self.stuck_since.get_or_insert(now);
    }

    /// A write failed at `now`. If it took something before it failed (`has_moved`), the pauses begin at the shortest.
    pub fn fail(&mut self, now: Duration, has_moved: bool) {
        self.pace = Pace::Failing(match self.pace {
            Pace::Failing(backoff) if !has_moved => backoff.again(now, LONGEST_PAUSE),
            _ => Backoff::begin(now),
        });
        self.stuck_since.get_or_insert(now);
    }

    /// It is gone for good: nothing is tried any more.
    pub fn end(&mut self) {
        (self.pace, self.stuck_since) = (Pace::Blocked { look_at: None }, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_pauses_double_up_to_the_longest_and_begin_anew_once_something_was_taken() {
        let mut pacing = Pacing::default();
        let (mut now, mut pauses) = (Duration::ZERO, Vec::new());
        for _ in 0..9 {
            pacing.fail(now, false);
            assert!(!pacing.may_try(now), "a spin");
            let pause = pacing.due_in(now).unwrap();
            pauses.push(pause.as_millis());
            now += pause;
            assert!(pacing.may_try(now));
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(pacing.stuck_since(), Some(Duration::ZERO));
        pacing.fail(now, true);
        assert_eq!(pacing.due_in(now), Some(FIRST_PAUSE));
        assert!(pacing.done() && !pacing.done(), "the first that works after a failure is told from others");
        assert_eq!((pacing.due_in(now), pacing.stuck_since()), (None, None));
    }

    #[test]
    fn p8_what_is_blocked_is_not_tried_before_its_descriptor_tells() {
        let mut pacing = Pacing::default();
        pacing.block(Duration::ZERO, true);
        assert_eq!(pacing.due_in(Duration::ZERO), Some(LONGEST_PAUSE));
        assert!(!pacing.may_try(LONGEST_PAUSE / 2) && pacing.may_try(LONGEST_PAUSE), "another one may be there");
        pacing.hurry();
        assert!(pacing.may_try(Duration::ZERO));
        pacing.block(Duration::ZERO, false);
        pacing.hurry();
        assert!(!pacing.may_try(Duration::MAX) && pacing.due_in(Duration::MAX).is_none());
        pacing.refuse();
        assert!(!pacing.may_try(Duration::MAX), "a refusal on top changes nothing");
        pacing.writable();
        assert!(pacing.may_try(Duration::ZERO) && pacing.is_flowing());
        assert_eq!(pacing.stuck_since(), Some(Duration::ZERO), "until it has taken some");
        pacing.progress();
        assert_eq!(pacing.stuck_since(), None);
    }

    #[test]
    fn p8_a_write_refused_in_the_middle_of_a_turn_is_tried_at_its_end_and_not_before() {
        let mut pacing = Pacing::default();
        assert!(pacing.is_flowing());
        pacing.refuse();
        assert!(!pacing.is_flowing() && pacing.may_try(Duration::ZERO));
        pacing.fail(Duration::ZERO, false);
        assert!(pacing.is_failing() && !pacing.may_try(Duration::ZERO));
        pacing.try_now();
        assert!(pacing.is_flowing() && pacing.may_try(Duration::ZERO) && !pacing.is_failing());
    }
}
