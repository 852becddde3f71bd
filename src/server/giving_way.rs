//! Who gives way when a place, a host's place, a descriptor or memory is needed (P6, P10, P14): those who linger are
//! closed at once; or, with `--idle-close needed`, those who have been silent for `--idle-timeout` are told goodbye now,
//! and have a second. Invariant: nobody is told goodbye for a place that somebody who was told before still leaves.

use std::time::Duration;

use super::Server;
use super::connection::{Connection, Readiness};
use super::ending::HELD_UP_TICKS;
use super::life::{Close, Life};
use super::lingering::Group;
use crate::config::limits::IdleClose;
use crate::engine::peer::Host;
use crate::net::{Key, Net};
use crate::sink::Sink;

impl<S: Sink, N: Net> Server<S, N> {
    /// If a host has more than its share, connections of its own that linger are closed, so that it can't take up all
    /// that there are (P14); or in a later turn, if the sink has no room for what they may still send.
    pub(super) fn hold_to_share(&mut self, host: Host) {
        // Who gives way has its second, and is gone then.
        if self.gives_way_when_needed() {
            return;
        }
        while self.clients.is_over_share(host) {
            if !self.close_longest_lingering(Group::Of(host)) {
                return self.fullness.postpone(host);
            }
        }
    }

    /// A client of this host is about to come in. If the host has as many as it may, one that is quiet gives way.
    pub(super) fn make_room_of(&mut self, host: Host) {
        if self.clients.budget.is_full(host) {
            self.ask_to_give_way(Group::Of(host));
        }
    }

    /// If one more than the limit came in, as somebody can give way, that one does now; or in a later turn, if the sink
    /// has no room for what it may still send.
    pub(super) fn make_room(&mut self) {
        let most = self.fullness.most(self.limits.max_connections);
        if self.clients.connections.len() <= most {
            return;
        }
        if !self.gives_way_when_needed() {
            self.close_longest_lingering(Group::All);
            return;
        }
        // Who is asked may turn out to have left: then one more has its place, and nobody goes before the next comes in.
        let is_needed = |server: &Self| {
            let len = server.clients.connections.len();
            len > most && len - server.clients.lingering.len() + server.fullness.places_ahead() > most
        };
        while is_needed(self) && self.ask_to_give_way(Group::All) {}
    }

    /// No descriptor is free: somebody gives way. True if there is one now.
    pub(super) fn free_descriptor(&mut self) -> bool {
        let before = self.clients.connections.len();
        let gave_way = if self.gives_way_when_needed() {
            self.clients.lingering.is_empty() && self.ask_to_give_way(Group::All)
        } else {
            self.close_longest_lingering(Group::All)
        };
        if gave_way {
            self.listeners.note_freed_descriptor();
        }
        self.clients.connections.len() < before
    }

    /// Pending lines have no room: those who are quiet and hold one give way, before somebody pays who is not (P5).
    #[cold]
    pub(super) fn free_memory(&mut self) {
        let now = self.clock.tick();
        while self.clients.lack_memory()
            && let Some(key) = self.clients.first_quiet(Group::Holding, now)
            && self.has_room_for_line(key)
        {
            self.flush_line(key);
            self.evict(key);
        }
    }

    /// The same for a client of this host that is about to come in, in the middle of a read: what the one that gives way has
    /// sent is read after its goodbye.
    pub(super) fn give_way_unread(&mut self, host: Host) {
        if self.gives_way_when_needed()
            && self.clients.budget.is_full(host)
            && let Some(key) = self.clients.first_quiet(Group::Of(host), self.clock.tick())
            && self.has_room_for_line(key)
        {
            self.flush_line(key);
            self.evict(key);
        }
    }

    /// When to look again who is quiet, while somebody may wait for a place.
    pub(super) fn quiet_due_in(&self) -> Option<Duration> {
        let next_look = self.clients.quiet.next_look()?;
        let (len, most) = (self.clients.connections.len(), self.limits.max_connections);
        let is_over = len > self.fullness.most(most);
        // Beyond a limit that was lowered nobody gives way: a place is free when enough have left.
        let is_needed = is_over || (len <= most && self.is_place_needed() && self.is_full());
        let can_be_met = self.clients.lingering.is_empty() && !self.outlet.is_stalled() && self.life == Life::Serving;
        (is_needed && can_be_met).then(|| self.clock.until(next_look))
    }

    /// Somebody may wait for a place, and all are taken: who is quiet is looked for.
    pub(super) fn look_for_quiet(&mut self) {
        if self.is_place_needed() {
            self.clients.first_quiet(Group::All, self.clock.tick());
        }
    }

    /// A client that was told goodbye as something of it is needed has had its second: what it sent is read, and it is
    /// closed, though it may still send.
    pub(super) fn cut(&mut self, key: Key) {
        if self.read_to_end(key) {
            return self.close(key, Close::GaveWay);
        }
        let is_held_up = |conn: &Connection<_>| conn.readiness == Readiness::HeldUp;
        let ticks = if self.clients.connections.get(key).is_some_and(is_held_up) { HELD_UP_TICKS } else { 1 };
        self.clients.deadlines.arm_at(key.index, self.clock.tick().saturating_add(ticks));
    }

    /// Whether somebody is told goodbye when something is needed. At the end all have been told.
    pub(super) fn gives_way_when_needed(&self) -> bool {
        self.limits.idle_close == IdleClose::Needed && self.life == Life::Serving
    }

    fn is_place_needed(&self) -> bool {
        let is_full = self.clients.connections.len() >= self.limits.max_connections;
        is_full && self.life == Life::Serving && self.listeners.may_have_clients()
    }

    fn has_room_for_line(&self, key: Key) -> bool {
        let pending = self.clients.connections.get(key).map_or(0, |conn| conn.framer.pending());
        !self.outlet.is_stalled() && self.outlet.has_room_for(pending)
    }

    /// The client of this group that has been silent longest gives way. False if there is none, or if the sink has no room
    /// for what it may still have to send.
    pub(super) fn ask_to_give_way(&mut self, of: Group) -> bool {
        let now = self.clock.tick();
        while let Some(key) = self.clients.first_quiet(of, now) {
            if !self.has_room_for_line(key) {
                return false;
            }
            // Bytes that are in the kernel by now count.
            let next = self.read(key);
            self.act_on(key, next);
            let Some(conn) = self.clients.connections.get(key) else { return true };
            if self.clients.quiet.is_quiet(conn, now) {
                self.flush_line(key);
                self.evict(key);
                return true;
            }
        }
        false
    }
}
