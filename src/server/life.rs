//! What the files of this wing tell each other: where the server stands, what a read came to, and why a connection is
//! closed. Invariant: a life only moves forward, from serving to stopped.

use std::io;
use std::time::Duration;

/// Where the server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It takes clients and lines.
    Serving,
    /// It has said goodbye, and reads on. `since` is on the reading clock, `began` on the other.
    Draining { since: Duration, began: Duration },
    /// Each connection is read once more to its end and closed, also those that still wait at a listener; then the sink gets
    /// what is left. `since` is on the reading clock; `accepted` is how many had come in before.
    Finishing { began: Duration, since: Duration, accepted: u64 },
    /// Over.
    Stopped,
}

impl Life {
    /// Whether connections are read in turn: at the very end each is read to its own end instead, and would never get
    /// there if others filled the sink meanwhile.
    pub(super) fn reads_in_turn(self) -> bool {
        matches!(self, Self::Serving | Self::Draining { .. })
    }

    /// Whether the drain's time is up by the wall, though a full sink may have made its own clock stand still: from then
    /// on a client that floods is cut off after a while.
    #[inline]
    pub(super) fn is_past(self, drain_timeout: Duration, now: Duration) -> bool {
        match self {
            Self::Draining { began, .. } | Self::Finishing { began, .. } => now.saturating_sub(began) >= drain_timeout,
            Self::Serving | Self::Stopped => false,
        }
    }
}

/// What is to become of a connection after a read.
pub(super) enum Next {
    /// There is more to read, or may be.
    Again,
    /// There may be more, but the sink has no room for it: first in line once it has.
    Full,
    /// Nothing is left: an event will tell of more.
    Wait,
    /// It has ended.
    Close(Close),
}

/// Why a connection is closed.
#[derive(Debug)]
pub(super) enum Close {
    /// The client closed it.
    Ended,
    /// The client has its receipt.
    Answered,
    /// It gets no receipt, since the sink may have lost some of its lines.
    InDoubt,
    /// The client has left without waiting for its receipt.
    Gone,
    /// It broke.
    Failed(io::Error),
    /// It lingered for `--linger`.
    Lingered,
    /// Its place was needed.
    GaveWay,
    /// It floods, and would keep its place for ever.
    CutOff,
    /// The server ends.
    Stopping,
}
