//! When each connection has to be acted on though nothing comes from it: silence (`--idle-timeout`, `--linger`) and a
//! line that does not end (`--line-timeout`), P2 and P6. Invariant: a connection is on the wheel once at most, at or
//! before its earliest deadline; what came since is found out when the wheel fires, so that a read costs nothing here.

use std::time::Duration;

use super::connection::{Connection, Phase};
use super::lingering::Lingering;
use crate::config::limits::{IdleClose, Limits};
use crate::engine::sniff::Opening;
use crate::engine::wheel::{Tick, TimerWheel, ticks};

/// How long a client that gives way is still read (`--idle-close needed`): what it sent before it heard our goodbye is
/// here by then.
const GIVING_WAY: Duration = Duration::from_secs(1);

/// So long after a NUL or CR nothing is on its way that would belong to the same message: a second.
pub(super) const SILENCE_TICKS: u64 = 100;

/// How long a client is still read, and what it sends dropped, once nothing that comes can be a message: five seconds.
const BROKEN_TICKS: u64 = 500;

/// A header of the PROXY protocol has to be there by then (P25): 5 seconds.
const HEADER_TICKS: u64 = 500;

/// A handshake of TLS has to be over by then (P33): 10 seconds.
const HANDSHAKE_TICKS: u64 = 1000;

/// The timer wheel, and what the deadlines of a connection are computed from. Time-outs are in ticks, 0 is never.
pub(super) struct Deadlines {
    wheel: TimerWheel,
    /// Silence that ends in a goodbye. With `--idle-close needed` nobody is timed for it.
    idle: u64,
    line: u64,
    linger: u64,
    /// Whether `linger` is counted from our goodbye, whatever comes after it, as the place is needed.
    is_final: bool,
    /// When the pending line began, by the connection's place in the table; empty unless `--line-timeout` is given.
    line_since: Vec<Tick>,
}

/// Which deadlines of a connection have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Its pending line has waited too long for its `\n`.
    pub(super) line: bool,
    /// It has been silent for too long.
    pub(super) silence: bool,
    /// It has been silent for long enough to know what it speaks.
    pub(super) doubt: bool,
}

impl Due {
    pub(super) fn is_any(self) -> bool {
        self.line || self.silence || self.doubt
    }
}

impl Deadlines {
    pub(super) fn new(limits: &Limits, now: Tick, expected: usize) -> Self {
        let is_final = limits.idle_close == IdleClose::Needed;
        let wheel = TimerWheel::new(now, expected);
        let mut deadlines = Self { wheel, idle: 0, line: 0, linger: 0, is_final, line_since: Vec::new() };
        deadlines.set_limits(limits);
        deadlines
    }

    /// Other limits hold: each connection is to be armed anew. True if pending lines had no deadlines until now: each then
    /// begins now.
    pub(super) fn set_limits(&mut self, limits: &Limits) -> bool {
        let (idle, linger) = if limits.idle_close == IdleClose::Needed {
            (Duration::ZERO, limits.linger.min(GIVING_WAY))
        } else {
            (limits.idle_timeout, limits.linger)
        };
        let had_line_timeout = self.has_line_timeout();
        (self.idle, self.line) = (ticks(idle), ticks(limits.line_timeout));
        // Who lingers though nobody does any more has to go, and not to stay for ever.
        self.linger = ticks(linger).max(1);
        self.has_line_timeout() && !had_line_timeout
    }

    /// Puts the connection at the place `index` on the wheel, at its earliest deadline; or takes it off if it has none.
    pub(super) fn arm<T>(&mut self, index: u32, conn: &Connection<T>) {
        match self.earliest(index, conn) {
            Some(at) => self.wheel.arm(index, at),
            None => self.cancel(index),
        }
    }

    /// The connection at the place `index` is to be asked again at `at`, whatever its deadlines are.
    pub(super) fn arm_at(&mut self, index: u32, at: Tick) {
        self.wheel.arm(index, at);
    }

    pub(super) fn cancel(&mut self, index: u32) {
        self.wheel.cancel(index);
    }

    /// Whether a client that was told goodbye is closed when its time is up, though it may still send.
    pub(super) fn are_final(&self) -> bool {
        self.is_final
    }

    /// The end begins: everybody is told goodbye now, and nobody has to go for somebody else.
    pub(super) fn end_of_service(&mut self) {
        self.is_final = false;
    }

    /// Whether pending lines have deadlines at all.
    pub(super) fn has_line_timeout(&self) -> bool {
        self.line > 0
    }

    /// A pending line of the connection at the place `index` begins now. Its deadline may be the earliest.
    pub(super) fn begin_line<T>(&mut self, index: u32, conn: &Connection<T>, now: Tick) {
        let place = index as usize;
        if self.line_since.len() <= place {
            self.line_since.resize(place + 1, now);
        }
        if let Some(since) = self.line_since.get_mut(place) {
            *since = now;
        }
        self.arm(index, conn);
    }

    /// Takes a connection off the wheel whose time there has come, and gives its place.
    pub(super) fn pop_due(&mut self, now: Tick) -> Option<u32> {
        self.wheel.pop_due(now)
    }

    /// When the wheel has to be asked again.
    pub(super) fn next(&self) -> Option<Tick> {
        self.wheel.next_deadline()
    }

    /// Which of a connection's deadlines have come.
    pub(super) fn due<T>(&self, index: u32, conn: &Connection<T>, now: Tick) -> Due {
        let has_come = |deadline: Option<Tick>| deadline.is_some_and(|at| at <= now);
        Due {
            line: has_come(self.line(index, conn)),
            silence: has_come(self.silence(conn)),
            doubt: has_come(Self::doubt(conn)),
        }
    }

    /// Nobody is connected: gives back what a crowd took.
    pub(super) fn reset(&mut self, expected: usize) {
        self.wheel.reset(expected);
        self.line_since = Vec::new();
    }

    /// Asserts what must hold of `connections` connections.
    pub(super) fn check(&self, connections: usize) {
        self.wheel.check();
        assert!(self.wheel.len() <= connections, "nothing but connections is on the wheel (P7)");
    }

    /// Whether the connection at the place `index` is on the wheel.
    pub(super) fn is_armed(&self, index: u32) -> bool {
        self.wheel.deadline_of(index).is_some()
    }

    /// When silence has lasted too long. A connection that is owed a receipt waits for us, not we for it. One tick
    /// more: the last byte came somewhere within its tick, and no deadline is early.
    fn silence<T>(&self, conn: &Connection<T>) -> Option<Tick> {
        if conn.opening == Opening::Proxied {
            return Some(conn.last_word.saturating_add(HEADER_TICKS + 1));
        }
        if conn.opening == Opening::Secured {
            return Some(conn.last_word.saturating_add(HANDSHAKE_TICKS + 1));
        }
        let (longest, since) = match conn.phase {
            Phase::Silent | Phase::Speaking => (self.idle, conn.last_word),
            Phase::Lingering { order, .. } if conn.framer.is_broken() || conn.opening == Opening::Failed => {
                (self.linger.min(BROKEN_TICKS), Lingering::since(order))
            }
            Phase::Lingering { order, .. } if self.is_final => (self.linger, Lingering::since(order)),
            Phase::Lingering { .. } => (self.linger, conn.last_word),
            Phase::Owed { .. } => return None,
        };
        (longest > 0).then(|| since.saturating_add(longest + 1))
    }

    /// When the pending line has waited too long.
    fn line<T>(&self, index: u32, conn: &Connection<T>) -> Option<Tick> {
        if self.line == 0 || conn.framer.pending() == 0 {
            return None;
        }
        let since = self.line_since.get(index as usize)?;
        Some(since.saturating_add(self.line + 1))
    }

    /// When it is known that no newline follows what came: see [`SILENCE_TICKS`].
    fn doubt<T>(conn: &Connection<T>) -> Option<Tick> {
        let is_asked = conn.opening.is_doubtful(conn.framer.pending_bytes()) && !conn.is_owed();
        is_asked.then(|| conn.last_word.saturating_add(SILENCE_TICKS + 1))
    }

    fn earliest<T>(&self, index: u32, conn: &Connection<T>) -> Option<Tick> {
        self.silence(conn).into_iter().chain(self.line(index, conn)).chain(Self::doubt(conn)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::listen::Framing;
    use crate::engine::framer::{LineSink, Lines, Rules};
    use crate::engine::peer::Peer;
    use crate::server::connection::{Connections, Newcomer, Spoke};

    struct Nowhere;

    impl LineSink for Nowhere {
        fn lines(&mut self, _: Lines<'_>) {}
    }

    /// Ticks of 10 ms: 100 of silence, 30 of a line, 50 of lingering.
    fn limits() -> Limits {
        let [idle_timeout, line_timeout, linger] = [1_000, 300, 500].map(Duration::from_millis);
        Limits { idle_timeout, line_timeout, linger, ..Limits::default() }
    }

    fn of(limits: &Limits) -> Deadlines {
        Deadlines::new(limits, Tick(0), 0)
    }

    /// A table of one connection, the first, whose last word was at tick 7.
    fn table() -> Connections<()> {
        let mut table = Connections::new(1);
        let peer = Peer::Unix { serial: 1 };
        table.vacant().insert(
            Newcomer { stream: (), peer, listener: 0, framing: Framing::Lines, opening: Opening::Fresh },
            Tick(7),
        );
        table
    }

    fn set_pending(conn: &mut Connection<()>, bytes: &[u8]) {
        let rules = Rules::new(&Limits::default(), Framing::Lines);
        let mut bytes = bytes.to_vec();
        let fed = conn.framer.feed(&mut bytes, 0, &rules, &mut Nowhere);
        conn.framer.keep(fed.tail, &rules);
    }

    /// When the wheel gives the connection, if it does.
    fn fires_at(deadlines: &mut Deadlines) -> Option<u64> {
        (0..1_000).find(|at| deadlines.pop_due(Tick(*at)) == Some(0))
    }

    #[test]
    fn p6_silence_is_over_one_tick_after_its_time_whatever_the_phase() {
        let lingering = Phase::Lingering { order: 0, spoke: Spoke::Before, last_bytes: 0 };
        let owed = Phase::Owed { position: 0, spoke: true };
        for (phase, at) in
            [(Phase::Silent, Some(108)), (Phase::Speaking, Some(108)), (lingering, Some(58)), (owed, None)]
        {
            let (mut table, mut deadlines) = (table(), of(&limits()));
            let (_, conn) = table.at(0).unwrap();
            conn.phase = phase;
            deadlines.arm_at(0, Tick(3));
            assert_eq!(deadlines.next(), Some(Tick(3)));
            deadlines.arm(0, conn);
            assert_eq!(deadlines.is_armed(0), at.is_some(), "{phase:?}");
            let due = |tick| deadlines.due(0, conn, Tick(tick));
            let is_silent = |silence| Due { line: false, silence, doubt: false };
            assert_eq!(at.map(|at| (due(at - 1), due(at))), at.map(|_| (is_silent(false), is_silent(true))));
            assert_eq!(fires_at(&mut deadlines), at, "{phase:?}");
        }
    }

    #[test]
    fn p33_a_handshake_has_ten_seconds_and_what_has_failed_is_read_for_five() {
        let (mut table, mut deadlines) = (table(), of(&Limits { linger: Duration::from_secs(3600), ..limits() }));
        let (key, conn) = table.at(0).unwrap();
        conn.opening = Opening::Secured;
        for phase in [Phase::Silent, Phase::Lingering { order: 0, spoke: Spoke::Never, last_bytes: 0 }] {
            conn.phase = phase;
            deadlines.arm(0, conn);
            let due = |tick| deadlines.due(0, conn, Tick(tick)).silence;
            assert_eq!((due(1007), due(1008)), (false, true), "from the accept on, whatever the phase");
        }
        let order = Lingering::default().insert(conn.peer.host(), key, Tick(200));
        conn.phase = Phase::Lingering { order, spoke: Spoke::Never, last_bytes: 0 };
        (conn.opening, conn.last_word) = (Opening::Failed, Tick(650));
        deadlines.arm(0, conn);
        let due = |tick| deadlines.due(0, conn, Tick(tick)).silence;
        assert_eq!((due(700), due(701)), (false, true), "whatever still comes");
    }

    #[test]
    fn p6_without_a_timeout_nobody_is_timed() {
        let never = Limits { idle_timeout: Duration::ZERO, line_timeout: Duration::ZERO, ..limits() };
        let (mut table, mut deadlines) = (table(), of(&never));
        let (_, conn) = table.at(0).unwrap();
        set_pending(conn, b"half");
        deadlines.begin_line(0, conn, Tick(7));
        assert!(!deadlines.has_line_timeout() && !deadlines.is_armed(0) && deadlines.next().is_none());
        assert!(!deadlines.due(0, conn, Tick(1_000_000)).is_any());
    }

    #[test]
    fn p6_when_needed_silence_is_not_timed_and_who_gives_way_has_a_second_whatever_it_says() {
        let needed = Limits { idle_close: IdleClose::Needed, linger: Duration::from_secs(3600), ..limits() };
        let (mut table, mut deadlines) = (table(), of(&needed));
        let (key, conn) = table.at(0).unwrap();
        deadlines.arm(0, conn);
        assert!(!deadlines.is_armed(0) && deadlines.next().is_none());
        let order = Lingering::default().insert(conn.peer.host(), key, Tick(200));
        conn.phase = Phase::Lingering { order, spoke: Spoke::Since, last_bytes: 0 };
        conn.last_word = Tick(290);
        deadlines.arm(0, conn);
        assert_eq!(fires_at(&mut deadlines), Some(301));
        deadlines.end_of_service();
        let due = |tick| deadlines.due(0, conn, Tick(tick)).silence;
        assert_eq!((due(390), due(391)), (false, true), "at the end it is read as long as it speaks");
    }

    #[test]
    fn p2_a_pending_line_is_due_from_its_own_beginning_and_only_while_it_is_pending() {
        let (mut table, mut deadlines) = (table(), of(&limits()));
        assert!(deadlines.has_line_timeout());
        let (_, conn) = table.at(0).unwrap();
        set_pending(conn, b"half");
        deadlines.begin_line(0, conn, Tick(20));
        let due = |deadlines: &Deadlines, conn: &_, tick| deadlines.due(0, conn, Tick(tick)).line;
        assert_eq!((due(&deadlines, conn, 50), due(&deadlines, conn, 51)), (false, true));
        assert!(deadlines.next().unwrap() <= Tick(51));
        deadlines.begin_line(0, conn, Tick(40));
        assert_eq!((due(&deadlines, conn, 70), due(&deadlines, conn, 71)), (false, true), "another line");
        // Further back in the table than any before.
        deadlines.begin_line(9, conn, Tick(60));
        assert!(
            deadlines.is_armed(9) && deadlines.due(9, conn, Tick(91)).line && !deadlines.due(9, conn, Tick(90)).line
        );
        deadlines.cancel(9);
        assert_eq!(fires_at(&mut deadlines), Some(71));
        set_pending(conn, b" a line\n");
        assert!(!due(&deadlines, conn, 1_000), "it has ended");
    }

    #[test]
    fn p5_a_crowd_that_has_left_leaves_nothing() {
        let (mut table, mut deadlines) = (table(), of(&limits()));
        let (_, conn) = table.at(0).unwrap();
        set_pending(conn, b"half");
        deadlines.begin_line(0, conn, Tick(20));
        deadlines.reset(0);
        assert_eq!((deadlines.is_armed(0), deadlines.line_since.len(), deadlines.next()), (false, 0, None));
    }
}
