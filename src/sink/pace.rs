//! When to write again after an output has refused (P8, P13). Invariant: a failure is never followed by a try at once,
//! so that no turn spins on it.

use std::time::Duration;

/// First pause after a write failed, doubled each time up to [`LONGEST_PAUSE`].
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(100);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How an output stands with its writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Each turn may write.
    Flowing,
    /// Wait for its descriptor, or until `retry_at` if there is none to poll.
    Blocked { retry_at: Option<Duration> },
    /// The last write failed.
    Failing { retry_at: Duration, pause: Duration },
}

impl Pace {
    /// Whether a write may be tried now.
    pub(crate) fn may_try(self, now: Duration) -> bool {
        match self {
            Self::Flowing => true,
            Self::Blocked { retry_at: None } => false,
            Self::Blocked { retry_at: Some(at) } | Self::Failing { retry_at: at, .. } => at <= now,
        }
    }

    /// How long until the next try, if a time decides it.
    pub(crate) fn due_in(self, now: Duration) -> Option<Duration> {
        match self {
            Self::Failing { retry_at, .. } | Self::Blocked { retry_at: Some(retry_at) } => {
                Some(retry_at.saturating_sub(now))
            }
            Self::Flowing | Self::Blocked { retry_at: None } => None,
        }
    }

    /// The descriptor can be written again.
    pub(crate) fn writable(&mut self) {
        if matches!(self, Self::Blocked { .. }) {
            *self = Self::Flowing;
        }
    }

    pub(crate) fn is_failing(self) -> bool {
        matches!(self, Self::Failing { .. })
    }

    /// A write worked. True if it is the first after a failure.
    pub(crate) fn done(&mut self) -> bool {
        std::mem::replace(self, Self::Flowing).is_failing()
    }

    /// A write failed at `now`, or took some first (`has_moved`).
    pub(crate) fn failed(&mut self, now: Duration, has_moved: bool) {
        let pause = match *self {
            Self::Failing { pause, .. } if !has_moved => (pause * 2).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        *self = Self::Failing { retry_at: now + pause, pause };
    }
}
