//! What the kernel knows of listeners that ask more of who comes, and demands of the server for it (P24, P25, P26).

use lumberjack::{Host, Peer};

use super::super::doors::{HEADER_TIME, Rules};
use super::super::sink::Record;
use super::{Kernel, Socket};

impl Socket {
    /// Whether its header has not come, so that it counts for no host.
    pub(super) fn is_headless(&self) -> bool {
        self.head.is_some() && self.introduced_at.is_none()
    }

    /// Whether it may be closed whatever it still says: that can be no header, or comes too late, or its host has enough.
    pub(super) fn may_be_turned_away(&self, now: std::time::Duration) -> bool {
        let is_none = self.head.is_some_and(|head| !head.is_valid) && !self.read.is_empty();
        let is_late = self.is_headless() && now.saturating_sub(self.taken_at) >= HEADER_TIME;
        is_none || is_late || (self.may_be_refused && self.introduced_at == Some(now))
    }

    /// What it was read of behind its header.
    pub(crate) fn lines(&self) -> &[u8] {
        match self.head {
            Some(_) if self.introduced_at.is_none() => &[],
            Some(head) => &self.read[head.len..],
            None => &self.read,
        }
    }
}

impl Kernel {
    /// The listeners get these.
    pub(crate) fn change_rules(&mut self, rules: &[Rules]) {
        let now = self.now;
        self.doors.iter_mut().zip(rules).for_each(|(door, rules)| door.change(*rules, now));
    }

    pub(crate) fn permits(&self, listener: usize, peer: &Peer) -> bool {
        self.doors.get(listener).is_none_or(|door| door.rules.permits(peer))
    }

    /// Whether datagrams may have been dropped for a rate.
    pub(crate) fn has_rated_datagrams(&self) -> bool {
        self.udp.read.iter().any(|read| read.is_rated)
    }

    pub(crate) fn has_proxies(&self) -> bool {
        self.doors.iter().any(|door| door.is_proxied)
    }

    /// So many bytes of a connection have been read: how many of them are behind its header. With its end, it is whose the
    /// header says.
    pub(super) fn take_head(&mut self, index: usize, count: usize) -> usize {
        let socket = &self.sockets[index];
        let Some(head) = socket.head.filter(|_| socket.is_headless()) else { return count };
        if !head.is_valid || socket.read.len() < head.len {
            return 0;
        }
        let peer = head.named.unwrap_or(socket.peer);
        let may_be_refused = self.is_over(peer.host(), 1);
        let now = self.now;
        let socket = &mut self.sockets[index];
        (socket.introduced_at, socket.peer, socket.may_be_refused) = (Some(now), peer, may_be_refused);
        socket.read.len() - head.len
    }

    /// What is behind a header waits until it is known that its host may send it: of `count` bytes, none is.
    pub(super) fn check_head(&self, index: usize, behind: usize, count: usize) {
        let socket = &self.sockets[index];
        let is_rated = self.doors.get(socket.listener).is_some_and(|door| door.is_rated());
        let has_header = behind < count && is_rated && self.stop_at.is_none();
        assert!(!has_header || behind == 0, "{behind} bytes behind the header of {} are read with it", socket.peer);
    }

    /// A host is read only as far as its rate lets it: `count` bytes are about to be.
    pub(super) fn check_rate(&mut self, index: usize, count: usize, record: &Record) {
        let door = self.doors.get_mut(self.sockets[index].listener).filter(|door| door.is_rated());
        let Some(last) = door.map(|door| door.last.replace(index)) else { return };
        last.into_iter().for_each(|last| self.charge_lines(last, record));
        self.charge_lines(index, record);
        let (now, socket) = (self.now, &self.sockets[index]);
        // Who is told goodbye may have to be read to its end, and the end has no rates.
        let is_free = socket.is_headless() || socket.goodbye_at.is_some() || self.stop_at.is_some();
        if is_free {
            return;
        }
        // Who may have its end behind what comes is read twice with what its host had before.
        let may_be_second = last == Some(index) && socket.had_room_at == Some(now);
        let (host, peer) = (socket.peer.host(), socket.peer);
        let room = self.doors[socket.listener].room(host, now);
        self.sockets[index].had_room_at = room.map(|_| now);
        assert!(room.is_some() || may_be_second, "{peer} is read, though its host owes");
        let is_within = room.is_some_and(|room| count as f64 <= room);
        assert!(is_within || may_be_second, "{count} bytes of {peer} are read, and its host may send {room:?}");
    }

    /// Charges what a connection brought of lines since.
    fn charge_lines(&mut self, index: usize, record: &Record) {
        let socket = &mut self.sockets[index];
        let at = socket.last_activity;
        let lines = record.count(&socket.peer);
        let door = &mut self.doors[socket.listener];
        let (before, changes) = std::mem::replace(&mut socket.charged, (lines, door.changes));
        let more = lines - before;
        if socket.goodbye_at.is_none() && !door.rules.is_bytes() && changes == door.changes {
            door.charge(socket.peer.host(), more, at);
        }
    }

    /// Charges what was read of a connection.
    pub(super) fn charge_bytes(&mut self, index: usize, count: usize) {
        let (now, socket) = (self.now, &self.sockets[index]);
        if socket.goodbye_at.is_none()
            && !socket.is_headless()
            && !socket.may_be_refused
            && let Some(door) = self.doors.get_mut(socket.listener).filter(|door| door.rules.is_bytes())
        {
            door.charge(socket.peer.host(), count, now);
        }
    }

    /// The datagram before the next was let in if it came to lines: then its host had something left.
    pub(super) fn check_rate_of_datagrams(&mut self, record: &Record) {
        let is_stopping = self.stop_at.is_some();
        let Some(door) = self.doors.get_mut(self.terms.listeners).filter(|door| door.is_rated()) else { return };
        if std::mem::replace(&mut self.udp.changes, door.changes) != door.changes {
            let lines_of = |peer: &Peer| (*peer, record.count(peer));
            self.udp.charged = record.by_peer.keys().map(lines_of).collect();
        }
        let Some((peer, bytes, at)) = door.last_datagram.take() else { return };
        let lines = record.count(&peer);
        let more = lines - self.udp.charged.insert(peer, lines).unwrap_or(0);
        if more == 0 || is_stopping {
            return;
        }
        assert!(door.room(peer.host(), at).is_some(), "a datagram of {peer} came in, though its host owes");
        door.charge(peer.host(), if door.rules.is_bytes() { bytes } else { more }, at);
    }

    /// Somebody whose host is slowed is not silent (P26).
    pub(super) fn check_silence(&self, index: usize) {
        let socket = &self.sockets[index];
        let is_rated = self.doors.get(socket.listener).is_some_and(|door| door.is_rated());
        let has_waited = !socket.queue.is_empty() && socket.arrived_at != Some(self.now);
        let is_checked = is_rated && self.is_punctual && !self.terms.is_when_needed;
        assert!(!is_checked || !has_waited, "{} was told goodbye, and has bytes that wait to be read", socket.peer);
    }

    /// Whether the host has somebody whose header came just now: who lingers for it has to go in the next turn.
    pub(super) fn has_just_come(&self, host: Host) -> bool {
        let is_new = |socket: &Socket| socket.introduced_at == Some(self.now) && socket.peer.host() == host;
        self.has_proxies() && self.sockets.iter().any(is_new)
    }
}
