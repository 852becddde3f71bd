//! What the files of this wing tell each other: where the server stands, what a read came to, and why a connection is
//! closed. Invariant: a life only moves forward, from serving to stopped.

use std::io;
use std::time::Duration;

/// Where the server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It accepts clients and reads from them.
    Serving,
    /// Every client was told goodbye, and is read on. The drain began at `since` on [`Clock::reading`] and at `began`
    /// on [`Clock::now`].
    ///
    /// [`Clock::reading`]: super::clock::Clock::reading
    /// [`Clock::now`]: super::clock::Clock::now
    Draining { since: Duration, began: Duration },
    /// The drain is over. Each connection is read once more to its end and closed, also those that still wait at a
    /// listener; then the sink gets what is left. This began at `since` on the reading clock; once `most_accepted` clients
    /// have come in, no more do.
    Finishing { began: Duration, since: Duration, most_accepted: u64 },
    /// All is closed and written.
    Stopped,
}

impl Life {
    /// Whether each ready connection is read once a turn. At the very end one after the other is read to its end
    /// instead: in turns, others would fill the sink again and again before one gets there.
    pub(super) fn reads_in_turn(self) -> bool {
        matches!(self, Self::Serving | Self::Draining { .. })
    }

    /// Whether the drain has lasted for `--drain-timeout`, on the clock that also runs while a full sink keeps us from
    /// reading. From then on a client that floods is cut off after some 16 MiB.
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
    /// There may be more to read.
    Again,
    /// There may be more, but the sink has no room for it: this connection is the first to be read once it has.
    Full,
    /// There may be more, but the sink takes no more of this host for the moment.
    HeldUp,
    /// There may be more, but its host has sent what it may for now (P26).
    Slowed,
    /// Nothing is left to read now: an event will say when there is more.
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
    /// Reading from it failed.
    Failed(io::Error),
    /// It lingered for `--linger`.
    Lingered,
    /// It sent no length where one has to be, and what came behind that was read for long enough.
    BadLength,
    /// It lingered, and somebody else needed its place or its descriptor.
    GaveWay,
    /// It sends faster than it can be read to its end, and would keep its place for ever.
    CutOff,
    /// It was turned away after it had come in: its header said why.
    Refused,
    /// Its header did not come in time (P25).
    Headless,
    /// Its handshake of TLS was not over in time (P33).
    Unsecured,
    /// The server ends.
    Stopping,
}
