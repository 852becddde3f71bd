//! How connections end: timers, goodbyes, and the one way out (P2, P6, P7). Invariant: only `close` removes a
//! connection, and it gives everything back.

use log::debug;

use super::Server;
use super::connection::{Connection, Phase};
use super::error::RunError;
use super::life::{Close, Life, Next};
use super::notices::Notice;
use super::outlet::Out;
use crate::engine::peer::Host;
use crate::engine::wheel::{Tick, ticks};
use crate::net::{Key, Net, Ready, Source};
use crate::sink::{Origin, Sink};

/// Bytes that are read from a connection when its place is needed: 16 MiB, more than Linux lets a receive queue hold by
/// default (`net.ipv4.tcp_rmem`, 6 MiB), so that all that was there is read, and a client that floods can't keep its
/// connection for ever.
const LAST_BYTES: u32 = 16 * 1024 * 1024;

/// Timers that fire in one turn: a crowd that came at once is told goodbye in turns that leave time to read.
const FIRES: usize = 256;

impl<S: Sink, N: Net> Server<S, N> {
    /// The one way out (P7): gives back descriptor, buffer, wheel entry, slot and counts, and logs it.
    pub(super) fn close(&mut self, key: Key, why: Close) {
        let Some(mut conn) = self.connections.remove(key) else { return };
        let origin = Origin { peer: &conn.peer, wall_ms: self.clock.wall_ms() };
        let last = conn
            .framer
            .finish(&self.rules, &mut Out { sink: &mut self.outlet.sink, onlookers: &mut self.desk, origin });
        self.wheel.cancel(key.index);
        self.budget.disconnect(key.index);
        let was_silent = match conn.phase {
            Phase::Silent => true,
            Phase::Speaking => false,
            Phase::Lingering { order, spoke, .. } => {
                self.lingering.remove(conn.peer.host(), order);
                !spoke
            }
            Phase::Owed { spoke, .. } => !spoke,
        };
        if was_silent {
            self.counters.probes = self.counters.probes.saturating_add(1);
        }
        self.house.end_pause();
        self.note(key, &conn.peer, &last);
        match why {
            Close::Failed(error) => debug!("[tcp] Socket failed: {}: {error}", conn.peer),
            why => debug!("[tcp] Socket ended: {}: {why:?}", conn.peer),
        }
        debug!("[tcp] Socket cleaned up: {} (active: {})", conn.peer, self.connections.len());
    }

    /// Sets the connection's one deadline.
    pub(super) fn arm(&mut self, key: Key) {
        let limits = Timeouts::of(self, key);
        let Some(conn) = self.connections.get_mut(key) else { return };
        match limits.earliest(conn) {
            Some(at) => self.wheel.arm(key.index, at),
            None => {
                self.wheel.cancel(key.index);
            }
        }
    }

    /// A line has been begun, or goes on: its own deadline may be the earliest.
    pub(super) fn time_line(&mut self, key: Key, is_new: bool) {
        if self.limits.line_timeout.is_zero() || !is_new {
            return;
        }
        let now = self.clock.tick();
        self.connections.begin_line(key, now);
        self.arm(key);
    }

    /// Deadlines that have come are acted on.
    ///
    /// # Errors
    /// The sink is gone: it is written to when those before have filled it, or a crowd's goodbyes would come late.
    pub(super) fn fire_timers(&mut self) -> Result<(), RunError> {
        let now = self.clock.tick();
        for _ in 0..FIRES {
            if self.outlet.is_stalled() || self.life != Life::Serving {
                return Ok(());
            }
            let Some(id) = self.wheel.pop_due(now) else { return Ok(()) };
            let Some(pending) = self.connections.at(id).map(|(_, conn)| conn.framer.pending()) else { continue };
            if !self.outlet.has_room_for(pending) {
                self.write()?;
            }
            let Some((key, conn)) = self.connections.at(id) else { continue };
            if conn.is_queued() || !self.outlet.has_room_for(pending) {
                // It is to be read first, or the sink is to take some first; look again in a tick.
                self.wheel.arm(id, now.saturating_add(1));
                continue;
            }
            self.fire(key, now);
            if self.outlet.is_stalled() {
                self.write()?;
            }
        }
        Ok(())
    }

    /// A deadline has come. The real one is computed from the connection's state, and bytes that came meanwhile count.
    fn fire(&mut self, key: Key, now: Tick) {
        let limits = Timeouts::of(self, key);
        let Some(conn) = self.connections.get_mut(key) else { return };
        if limits.earliest(conn).is_none_or(|at| at > now) {
            return self.arm(key);
        }
        let next = self.read(key);
        self.settle(key, next);
        let limits = Timeouts::of(self, key);
        let Some(conn) = self.connections.get_mut(key) else { return };
        if conn.is_queued() {
            return self.wheel.arm(key.index, now.saturating_add(1));
        }
        let is_line_due = limits.line(conn).is_some_and(|at| at <= now);
        let is_silence_due = limits.silence(conn).is_some_and(|at| at <= now);
        let is_lingering = conn.is_lingering();
        if is_silence_due && is_lingering {
            return self.close(key, Close::Lingered);
        }
        if is_line_due || is_silence_due {
            self.flush_line(key);
        }
        if is_silence_due {
            return self.evict(key);
        }
        self.arm(key);
    }

    /// What is pending goes out as a line of its own (P2).
    pub(super) fn flush_line(&mut self, key: Key) {
        let Some(conn) = self.connections.get_mut(key) else { return };
        let peer = conn.peer;
        let origin = Origin { peer: &peer, wall_ms: self.clock.wall_ms() };
        let fed = conn
            .framer
            .flush_pending(&self.rules, &mut Out { sink: &mut self.outlet.sink, onlookers: &mut self.desk, origin });
        self.budget.hold(key.index, conn.framer.held());
        self.connections.count(key, 0, fed.lines, self.clock.now());
        self.note(key, &peer, &fed);
    }

    fn evict(&mut self, key: Key) {
        let Some(conn) = self.connections.get_mut(key) else { return };
        let peer = conn.peer;
        self.counters.evicted_idle = self.counters.evicted_idle.saturating_add(1);
        let message = format_args!("[tcp] Socket timeout on {peer}, closing connection");
        self.notices.warn(self.clock.now(), Notice::Timeout, message);
        if self.limits.linger.is_zero() {
            return self.close(key, Close::Lingered);
        }
        self.say_goodbye(key);
    }

    /// Our FIN. The connection is read on until the client closes too, so that a sender that has not noticed loses
    /// nothing (P6). Who is owed a receipt has closed already, and gets that instead.
    pub(super) fn say_goodbye(&mut self, key: Key) {
        let now = self.clock.tick();
        let is_heard = |conn: &&mut Connection<_>| !conn.is_lingering() && !conn.is_owed();
        let Some(conn) = self.connections.get_mut(key).filter(is_heard) else { return };
        let said = self.net.say_goodbye(&mut conn.stream);
        let order = self.lingering.insert(conn.peer.host(), key);
        conn.phase = Phase::Lingering { order, spoke: conn.phase == Phase::Speaking, last_bytes: 0 };
        conn.last_word = now;
        if let Err(error) = said {
            // The client is gone already, but what it sent may still be here: it is read to its end, which closes it.
            debug!("[tcp] No goodbye to {}: {error}", conn.peer);
            self.connections.mark_ready(key, Ready { source: Source::Connection(key), ends: true, failed: true });
        }
        self.budget.linger(key.index);
        // It would give its descriptor to somebody who waits for one.
        self.house.end_pause();
        self.arm(key);
    }

    /// The one that has lingered longest without a word, of a host or of all, gives its place to somebody else. False if
    /// nobody lingers, or if the sink has no room for what it may still have to say.
    pub(super) fn give_way(&mut self, group: Option<Host>) -> bool {
        let Some(key) = self.lingering.first(group) else { return false };
        let is_read = self.drain_connection(key);
        if is_read {
            self.close(key, Close::GaveWay);
        }
        is_read
    }

    /// Reads what a connection has left in the kernel, before it is closed. False if the sink is too full for it; then
    /// the connection is on the ready queue, since no event will tell again of what is left.
    pub(super) fn drain_connection(&mut self, key: Key) -> bool {
        loop {
            let before = self.counters.bytes;
            // To the end: what came right behind a short read would be lost.
            match self.read_once(key, true) {
                Next::Full => {
                    let was_queued = self.connections.get_mut(key).is_none_or(|conn| conn.is_queued());
                    if !was_queued {
                        self.settle(key, Next::Full);
                    }
                    return false;
                }
                Next::Again => {
                    self.note_last_bytes(key, self.counters.bytes - before);
                    if self.connections.get_mut(key).is_none() {
                        return true;
                    }
                }
                Next::Wait => return true,
                Next::Close(why) => {
                    self.close(key, why);
                    return true;
                }
            }
        }
    }
}

impl<S: Sink, N: Net> Server<S, N> {
    /// Bytes were read from a connection whose place is needed. Beyond [`LAST_BYTES`] it is closed, whatever it still
    /// sends.
    pub(super) fn note_last_bytes(&mut self, key: Key, bytes: u64) {
        let Some(conn) = self.connections.get_mut(key) else { return };
        if !conn.is_read_out(bytes, LAST_BYTES) {
            return;
        }
        let peer = conn.peer;
        self.counters.cut_off = self.counters.cut_off.saturating_add(1);
        let message = format_args!("[tcp] {peer} sends faster than it can be closed: what it still sends is lost");
        self.notices.warn(self.clock.now(), Notice::CutOff, message);
        self.close(key, Close::CutOff);
    }
}

/// The three time-outs, in ticks, 0 is never; and when a connection's pending line began.
struct Timeouts {
    idle: u64,
    line: u64,
    linger: u64,
    line_since: Option<Tick>,
}

impl Timeouts {
    fn of<S: Sink, N: Net>(server: &Server<S, N>, key: Key) -> Self {
        let limits = &server.limits;
        Self {
            idle: ticks(limits.idle_timeout),
            line: ticks(limits.line_timeout),
            linger: ticks(limits.linger),
            line_since: server.connections.line_since(key),
        }
    }

    /// When silence has lasted too long, for one that we listen to or that lingers: who is owed a receipt waits for us.
    /// One tick more: the last byte came somewhere within its tick, and no deadline is early.
    fn silence<T>(&self, conn: &Connection<T>) -> Option<Tick> {
        let longest = match conn.phase {
            Phase::Silent | Phase::Speaking => self.idle,
            Phase::Lingering { .. } => self.linger,
            Phase::Owed { .. } => 0,
        };
        (longest > 0).then(|| conn.last_word.saturating_add(longest + 1))
    }

    /// When the pending line has waited too long.
    fn line<T>(&self, conn: &Connection<T>) -> Option<Tick> {
        let since = self.line_since.filter(|_| self.line > 0 && conn.framer.pending() > 0)?;
        Some(since.saturating_add(self.line + 1))
    }

    fn earliest<T>(&self, conn: &Connection<T>) -> Option<Tick> {
        self.silence(conn).into_iter().chain(self.line(conn)).min()
    }
}
