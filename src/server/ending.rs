//! How connections end: deadlines, our goodbyes, and the one function that closes (P2, P6, P7). Invariant: only `close`
//! removes a connection, and it gives everything back.

use log::debug;

use super::Server;
use super::connection::{Connection, Phase, Readiness, Spoke};
use super::deadlines::Due;
use super::error::RunError;
use super::life::{Close, Life, Next};
use super::lingering::{Group, Lingering};
use super::outlet::Out;
use super::secured::SessionEnd;
use crate::engine::sniff::Opening;
use crate::engine::wheel::Tick;
use crate::net::{Key, Net, Ready, Source};
use crate::sink::{Origin, Sink};

/// Bytes that are read from a connection when its place is needed: 16 MiB, more than Linux lets a receive queue hold by
/// default (`net.ipv4.tcp_rmem`, 6 MiB), so that all that was there is read, and a client that floods can't keep its
/// connection for ever.
const LAST_BYTES: u32 = 16 * 1024 * 1024;

/// Deadlines that are acted on in one turn. If thousands of clients come due at once, others are read in between.
const FIRES: usize = 256;

/// When the deadlines of a client whose host is held up are looked at again: a second.
pub(super) const HELD_UP_TICKS: u64 = 100;

/// A client that closes so soon after our goodbye does it because of that: a second.
const AT_ONCE_TICKS: u64 = 100;

impl<S: Sink, N: Net> Server<S, N> {
    /// The one way out (P7): gives back descriptor, buffer, deadline, slot and counts, and logs it.
    pub(super) fn close(&mut self, key: Key, why: Close) {
        let Some(mut conn) = self.clients.remove(key) else { return };
        let end = self.end_session(key, &conn, &why);
        let parse = self.listeners.parse(conn.listener);
        let origin = Origin { peer: &conn.peer, wall_ms: self.clock.wall_ms(), parse };
        let rules = self.listeners.rules(conn.listener);
        let framing = rules.framing();
        let spoken = conn.opening.end(conn.framer.pending_bytes(), framing);
        let last = conn.framer.finish(
            rules,
            &mut Out {
                net: &self.net,
                sink: &mut self.outlet.sink,
                onlookers: &mut self.desk,
                alerts: &mut self.alerts,
                origin,
            },
        );
        let is_known = conn.opening != Opening::Proxied || !self.note_headless(key, &conn.peer, &why);
        if is_known && conn.is_probe() && end == SessionEnd::Nothing {
            self.counters.probes = self.counters.probes.saturating_add(1);
        }
        if end == SessionEnd::Nothing && self.has_ended_at_goodbye(&conn, &why) {
            self.tally().ended_at_goodbye(&conn.peer);
        }
        self.listeners.end_pause();
        self.charge(conn.listener, conn.peer.host(), [last.lines, 0]);
        self.tally().fed(&conn.peer, &last);
        if let Some(protocol) = spoken {
            self.tally().speaks(&conn.peer, protocol, framing);
        }
        match why {
            Close::Failed(error) => debug!("[tcp] Socket failed: {}: {error}", conn.peer),
            why => debug!("[tcp] Socket ended: {}: {why:?}", conn.peer),
        }
        debug!("[tcp] Socket cleaned up: {} (active: {})", conn.peer, self.clients.connections.len());
    }

    /// Whether a client seems to have taken our goodbye for the end: it had spoken, and closed right after it.
    fn has_ended_at_goodbye(&self, conn: &Connection<N::Stream>, why: &Close) -> bool {
        let Phase::Lingering { order, spoke: Spoke::Before, .. } = conn.phase else { return false };
        if conn.framer.is_broken() {
            return false;
        }
        let is_its_own = matches!(why, Close::Ended | Close::Failed(_));
        let is_at_once = self.clock.tick() <= Lingering::since(order).saturating_add(AT_ONCE_TICKS);
        is_its_own && is_at_once && self.life == Life::Serving && !self.gives_way_when_needed()
    }

    /// Which of a connection's deadlines have come.
    fn due(&self, key: Key, now: Tick) -> Due {
        let due = |conn| self.clients.deadlines.due(key.index, conn, now);
        self.clients.connections.get(key).map_or(Due { line: false, silence: false, doubt: false }, due)
    }

    /// Acts on the deadlines that have come.
    ///
    /// # Errors
    /// The sink is gone. It is written to as soon as the lines that went out here have filled it: the goodbyes of
    /// thousands would come late if each turn ended there.
    pub(super) fn fire_timers(&mut self) -> Result<(), RunError> {
        let now = self.clock.tick();
        if self.rates.are_on() && !self.outlet.is_stalled() && self.life == Life::Serving {
            self.wake_slowed();
        }
        for _ in 0..FIRES {
            if self.outlet.is_stalled() || self.life != Life::Serving {
                return Ok(());
            }
            let Some(index) = self.clients.deadlines.pop_due(now) else { return Ok(()) };
            let Some((key, conn)) = self.clients.connections.at(index) else { continue };
            // One that gives way is read to its end when its time is up, however much comes; one that is broken not even that.
            let is_final = conn.is_lingering() && (self.clients.deadlines.are_final() || conn.framer.is_broken());
            let (pending, is_queued) = (conn.framer.pending(), conn.is_queued() && !is_final);
            if !self.outlet.has_room_for(pending) {
                self.write()?;
            }
            if is_queued || !self.outlet.has_room_for(pending) {
                // What came from it has to be read first, or the sink needs room first: it is asked again in a tick.
                self.clients.deadlines.arm_at(index, now.saturating_add(1));
                continue;
            }
            self.fire(key, now);
            if self.outlet.is_stalled() {
                self.write()?;
            }
        }
        Ok(())
    }

    /// A connection's time on the wheel has come. Whether one of its deadlines has, is computed from its state; bytes
    /// that are in the kernel by now are read first, so that they count.
    fn fire(&mut self, key: Key, now: Tick) {
        let due = self.due(key, now);
        if !due.is_any() {
            return self.clients.arm(key);
        }
        let Some(conn) = self.clients.connections.get(key) else { return };
        if due.silence && conn.is_lingering() && conn.framer.is_broken() {
            return self.close(key, Close::BadLength);
        }
        if due.silence && conn.is_lingering() && self.clients.deadlines.are_final() {
            return self.cut(key);
        }
        let next = self.read(key);
        self.act_on(key, next);
        let Some(conn) = self.clients.connections.get_mut(key) else { return };
        if conn.readiness == Readiness::HeldUp {
            // Time in which nothing is read of a client is no silence of its own (P6).
            conn.last_word = now;
            return self.clients.deadlines.arm_at(key.index, now.saturating_add(HELD_UP_TICKS));
        }
        if conn.readiness == Readiness::Slowed {
            return;
        }
        if conn.is_queued() {
            return self.clients.deadlines.arm_at(key.index, now.saturating_add(1));
        }
        let (due, is_lingering) = (self.clients.deadlines.due(key.index, conn, now), conn.is_lingering());
        let framing = self.listeners.rules(conn.listener).framing();
        let is_headless = conn.opening == Opening::Proxied;
        let is_unsecured = conn.opening == Opening::Secured;
        if due.doubt
            && let Some(protocol) = conn.opening.end(conn.framer.pending_bytes(), framing)
        {
            let peer = conn.peer;
            self.tally().speaks(&peer, protocol, framing);
        }
        if due.silence && is_headless {
            return self.close(key, Close::Headless);
        }
        if due.silence && is_unsecured {
            return self.close(key, Close::Unsecured);
        }
        if due.silence && is_lingering {
            return self.close(key, Close::Lingered);
        }
        if due.line || due.silence {
            self.flush_line(key);
        }
        if due.silence {
            return self.evict(key);
        }
        self.clients.arm(key);
    }

    /// Writes the pending bytes as a line, though their `\n` has not come (P2).
    pub(super) fn flush_line(&mut self, key: Key) {
        let Some(conn) = self.clients.connections.get_mut(key) else { return };
        let peer = conn.peer;
        let parse = self.listeners.parse(conn.listener);
        let origin = Origin { peer: &peer, wall_ms: self.clock.wall_ms(), parse };
        let rules = self.listeners.rules(conn.listener);
        let fed = conn.framer.flush_pending(
            rules,
            &mut Out {
                net: &self.net,
                sink: &mut self.outlet.sink,
                onlookers: &mut self.desk,
                alerts: &mut self.alerts,
                origin,
            },
        );
        let (listener, host) = (conn.listener, peer.host());
        self.clients.hold(key);
        self.charge(listener, host, [fed.lines, 0]);
        self.account(key, 0, fed.lines);
        self.tally().fed(&peer, &fed);
    }

    /// Something else came where the length of a message has to be: no message can be found behind it.
    #[cold]
    pub(super) fn break_off(&mut self, key: Key) {
        let Some(conn) = self.clients.connections.get(key) else { return };
        let (peer, framing) = (conn.peer, self.listeners.rules(conn.listener).framing());
        self.tally().sent_no_length(&peer, framing);
        if self.limits.linger.is_zero() && self.life == Life::Serving {
            return self.close(key, Close::BadLength);
        }
        self.say_goodbye(key);
        // If it was told before, it has less time now.
        self.clients.arm(key);
    }

    pub(super) fn evict(&mut self, key: Key) {
        let Some(conn) = self.clients.connections.get(key) else { return };
        let peer = conn.peer;
        self.tally().evicted(&peer);
        if self.limits.linger.is_zero() {
            return self.close(key, Close::Lingered);
        }
        self.say_goodbye(key);
    }

    /// Says goodbye: sends our FIN, and reads on until the client closes too, so that a sender that has not noticed
    /// loses nothing (P6). A client that is owed a receipt has closed its side already, and gets the receipt instead.
    pub(super) fn say_goodbye(&mut self, key: Key) {
        let is_heard = |conn: &&mut Connection<_>| !conn.is_lingering() && !conn.is_owed();
        let Some(conn) = self.clients.connections.get_mut(key).filter(is_heard) else { return };
        let is_now = self.secured.may_say_goodbye(key);
        if let Some(Err(error)) = is_now.then(|| self.net.say_goodbye(&mut conn.stream)) {
            // The client is gone already, but what it sent may still be here: it is read to its end, which closes it.
            debug!("[tcp] No goodbye to {}: {error}", conn.peer);
            let gone = Ready { source: Source::Connection(key), ends: true, failed: true };
            self.clients.connections.mark_ready(key, gone);
        }
        self.clients.linger(key, self.clock.tick());
        // If somebody waits for a descriptor, this connection can be closed for it now.
        self.listeners.end_pause();
    }

    /// The connection that has lingered longest without sending anything, of a host or of all, is closed, so that
    /// somebody else can have its place. False if nobody lingers, or if the sink has no room for what it may still have
    /// to send.
    pub(super) fn close_longest_lingering(&mut self, of: Group) -> bool {
        let Some(key) = self.clients.lingering.first(of) else { return false };
        let is_read = self.read_to_end(key);
        if is_read {
            self.close(key, Close::GaveWay);
        }
        is_read
    }

    /// Reads what a connection has left in the kernel, before it is closed. False if the sink has no room for all of
    /// it; then the connection is on the ready queue, since no event will come again for what is left.
    pub(super) fn read_to_end(&mut self, key: Key) -> bool {
        loop {
            let before = self.bytes_read();
            // A short read is not taken for the end: what came right behind it would be lost.
            match self.read_once(key, true) {
                Next::Full => {
                    let was_queued = self.clients.connections.get(key).is_none_or(Connection::is_queued);
                    if !was_queued {
                        self.act_on(key, Next::Full);
                    }
                    return false;
                }
                Next::Again => {
                    self.note_last_bytes(key, self.bytes_read() - before);
                    if self.clients.connections.get(key).is_none() {
                        return true;
                    }
                }
                Next::HeldUp => {
                    self.act_on(key, Next::HeldUp);
                    return false;
                }
                // (Nobody is slowed here: these are its last bytes.)
                Next::Wait | Next::Slowed => return true,
                Next::Close(why) => {
                    self.close(key, why);
                    return true;
                }
            }
        }
    }

    /// Bytes were read from a connection whose place is needed. Beyond [`LAST_BYTES`] it is closed, whatever it still
    /// sends.
    pub(super) fn note_last_bytes(&mut self, key: Key, bytes: u64) {
        let Some(conn) = self.clients.connections.get_mut(key) else { return };
        if !conn.is_read_out(bytes, LAST_BYTES) {
            return;
        }
        let peer = conn.peer;
        self.tally().cut_off(&peer);
        self.close(key, Close::CutOff);
    }
}
