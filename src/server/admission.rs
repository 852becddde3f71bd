//! Accepting: who comes in, who waits, who is turned away, and which lingering connection is closed for somebody else
//! (P10, P14). Invariant: whoever can come in does, in the turn in which it can.

use std::io::{self, ErrorKind};

use log::debug;

use super::Server;
use super::clients::Refusal;
use super::life::Life;
use super::listener::{is_gone_client, is_shortage};
use super::notices::Notice;
use crate::config::limits::{MOST_CONNECTIONS, WhenFull};
use crate::engine::peer::{Host, Peer};
use crate::net::Net;
use crate::sink::Sink;

/// Clients taken from one listener in a turn, so that a storm of connects leaves time to read.
const ACCEPTS: usize = 64;

/// What was said about how full the server is, and what is still to be done about it.
#[derive(Default)]
pub(super) struct Fullness {
    is_full: bool,
    is_nearly_full: bool,
    /// Hosts over their share, as the sink had no room for what one of theirs that lingers may still send (P14).
    over_share: Vec<Host>,
}

/// How full the server is at one moment.
#[derive(Clone, Copy)]
struct Occupancy {
    connections: usize,
    max_connections: usize,
    /// Whether the next client would have to wait, or be rejected.
    is_full: bool,
    /// Whether a client may be waiting.
    is_waited_for: bool,
}

/// What an operator is to hear of when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Full,
    /// There is room again, and nobody waits any more.
    Room,
    /// 80 % of the connections are in use.
    NearlyFull,
}

impl Fullness {
    /// What has changed since the last time. Once when it gets full, once when there is room again, and once at 80 %.
    fn changes(&mut self, now: Occupancy) -> impl Iterator<Item = Change> {
        let (len, limit) = (now.connections, now.max_connections);
        let mut changes = [None; 2];
        if now.is_full && !self.is_full {
            self.is_full = true;
            changes[0] = Some(Change::Full);
        } else if self.is_full && !now.is_full && !now.is_waited_for {
            // Said when nobody waits any more, so that a queue that moves up one by one does not say it each time.
            self.is_full = false;
            changes[0] = Some(Change::Room);
        }
        // Back below 70 % before it is said again: a count that wavers around 80 % says it once.
        if !self.is_nearly_full && len < limit && len.saturating_mul(5) >= limit.saturating_mul(4) && limit >= 5 {
            self.is_nearly_full = true;
            changes[1] = Some(Change::NearlyFull);
        } else if self.is_nearly_full && len.saturating_mul(10) < limit.saturating_mul(7) {
            self.is_nearly_full = false;
        }
        changes.into_iter().flatten()
    }
}

/// What asking a listener for a client came to.
enum Asked {
    /// One came in, was turned away, or is about to come in.
    Somebody,
    /// The next client was gone before it came in, as this error says.
    Nobody(io::Error),
    /// The listener is not to be asked again in this turn.
    Enough,
    /// Nothing is to be accepted for a while, as this error says.
    Failed(io::Error),
}

impl<S: Sink, N: Net> Server<S, N> {
    /// Whether a client may be waiting that could come in now.
    pub(super) fn can_accept(&self) -> bool {
        self.listeners.may_have_clients() && (!self.is_full() || self.limits.when_full == WhenFull::Reject)
    }

    pub(super) fn is_full(&self) -> bool {
        match self.life {
            // With one that lingers, one more may come in, and takes its place.
            Life::Serving => {
                self.clients.connections.len()
                    >= self.limits.max_connections + usize::from(!self.clients.lingering.is_empty())
            }
            // Who waits in the backlog when the server stops is taken too: else its lines are lost (P11).
            _ => self.clients.connections.len() >= MOST_CONNECTIONS,
        }
    }

    /// Asks each listener for the clients that wait there.
    pub(super) fn accept_clients(&mut self) {
        self.listeners.end_old_pause(self.clock.now());
        self.note_fullness();
        // A turn that can't read can't close a lingering connection either: it would lose what that still sends.
        if self.outlet.is_stalled() {
            return;
        }
        self.make_room();
        for host in std::mem::take(&mut self.fullness.over_share) {
            self.hold_to_share(host);
        }
        for at in 0..self.listeners.len() {
            if let Err(error) = self.accept_from(at) {
                return self.pause_accepting(&error);
            }
        }
        self.note_fullness();
    }

    /// Asks the listener at one place, [`ACCEPTS`] times at most.
    ///
    /// # Errors
    /// What `accept` said, if accepting is to pause.
    fn accept_from(&mut self, at: usize) -> io::Result<()> {
        let mut was_somebody = false;
        for last in 1..=ACCEPTS {
            if !self.can_accept() {
                break;
            }
            match self.accept_one(at) {
                Asked::Somebody => was_somebody = true,
                Asked::Enough => break,
                // An error that lasts, whatever accept(2) says of it, must not make the loop spin.
                Asked::Nobody(error) if last == ACCEPTS && !was_somebody => return Err(error),
                Asked::Nobody(_) => {}
                Asked::Failed(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn accept_one(&mut self, at: usize) -> Asked {
        let error = match self.listeners.accept(at, &mut self.net) {
            Ok((stream, peer)) => {
                self.admit(stream, peer);
                return Asked::Somebody;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Asked::Enough,
            Err(error) if is_gone_client(&error) => return Asked::Nobody(error),
            Err(error) => error,
        };
        let may_help = is_shortage(&error) && self.listeners.may_free_descriptor();
        if may_help && self.close_longest_lingering(None) {
            self.listeners.note_freed_descriptor();
            return Asked::Somebody;
        }
        // If a lingering connection was not closed only because the sink has no room for what it may still send, it is
        // as soon as there is room.
        if may_help && self.outlet.is_stalled() { Asked::Enough } else { Asked::Failed(error) }
    }

    fn pause_accepting(&mut self, error: &io::Error) {
        self.counters.accept_pauses = self.counters.accept_pauses.saturating_add(1);
        let now = self.clock.now();
        self.listeners.pause(now, error);
        let cure = if is_shortage(error) { ". Raise the limit on open files, or lower --max-connections" } else { "" };
        let message = format_args!("[tcp] Cannot accept: {error}; new clients wait, trying again in a second{cure}");
        self.notices.warn(now, Notice::NoDescriptor, message);
    }

    fn admit(&mut self, stream: N::Stream, peer: Peer) {
        let now = self.clock.now();
        if self.life == Life::Serving && self.is_full() {
            self.counters.rejected = self.counters.rejected.saturating_add(1);
            let limit = self.limits.max_connections;
            let message = format_args!("[tcp] Connection limit reached ({limit}), rejecting connection from {peer}");
            return self.notices.warn(now, Notice::Rejected, message);
        }
        let admitted = self.clients.admit(stream, peer, &self.clock, |stream, key| self.net.register(stream, key));
        let key = match admitted {
            Ok(key) => key,
            Err(refusal) => return self.note_refusal(&peer, &refusal),
        };
        self.counters.accepted = self.counters.accepted.saturating_add(1);
        debug!("[tcp] Socket connected: {peer} (active: {})", self.clients.connections.len());
        if self.life == Life::Serving {
            self.hold_to_share(peer.host());
            self.make_room();
        } else {
            self.say_goodbye(key);
        }
    }

    fn note_refusal(&mut self, peer: &Peer, refusal: &Refusal) {
        let now = self.clock.now();
        match refusal {
            Refusal::PerHost => {
                self.counters.refused_per_host = self.counters.refused_per_host.saturating_add(1);
                let (host, limit) = (peer.host(), self.limits.per_host().unwrap_or_default());
                let message = format_args!(
                    "[tcp] Host {host} has {limit} connections already, rejecting connection from {peer}; --max-per-host sets the limit"
                );
                self.notices.warn(now, Notice::PerHost, message);
            }
            Refusal::Unwatched(error) => {
                self.counters.rejected = self.counters.rejected.saturating_add(1);
                let message = format_args!("[tcp] Cannot watch {peer}: {error}, rejecting connection");
                self.notices.warn(now, Notice::NoDescriptor, message);
            }
        }
    }

    /// A host that is over its share with those that linger pays by them, so that it can't fill the house (P14); if the
    /// sink has no room for what they may still have to say, in a later turn.
    fn hold_to_share(&mut self, host: Host) {
        while self.clients.is_over_share(host) {
            if !self.close_longest_lingering(Some(host)) {
                if !self.fullness.over_share.contains(&host) {
                    self.fullness.over_share.push(host);
                }
                return;
            }
        }
    }

    /// One more than the limit came in, as somebody lingers: that one goes now, or, if the sink has no room for what it
    /// may still have to say, in a later turn.
    fn make_room(&mut self) {
        if self.life == Life::Serving && self.clients.connections.len() > self.limits.max_connections {
            self.close_longest_lingering(None);
        }
    }

    /// Says what has changed about how full the server is.
    fn note_fullness(&mut self) {
        if self.life != Life::Serving {
            return;
        }
        let (len, limit) = (self.clients.connections.len(), self.limits.max_connections);
        let (is_full, is_waited_for) = (self.is_full(), self.can_accept());
        let waits = self.limits.when_full == WhenFull::Wait;
        for change in
            self.fullness.changes(Occupancy { connections: len, max_connections: limit, is_full, is_waited_for })
        {
            let now = self.clock.now();
            match change {
                Change::Full if waits => {
                    self.counters.accept_pauses = self.counters.accept_pauses.saturating_add(1);
                    let message = format_args!("[tcp] Connection limit reached ({limit}), new clients wait");
                    self.notices.warn(now, Notice::FullHouse, message);
                }
                Change::Room if waits => {
                    let message =
                        format_args!("[tcp] Below the connection limit again ({len} of {limit}), nobody waits");
                    self.notices.warn(now, Notice::FullHouse, message);
                }
                Change::Full | Change::Room => {}
                Change::NearlyFull => {
                    let then = if waits { "new clients wait" } else { "new ones are rejected" };
                    let message = format_args!(
                        "[tcp] {len} of {limit} connections in use: at {limit}, {then} (--max-connections)"
                    );
                    self.notices.warn(now, Notice::NearlyFull, message);
                }
            }
        }
    }

    /// At the end: a listener closes as soon as nobody waits at it. It is asked right before, since who came meanwhile
    /// would be reset.
    pub(super) fn close_empty_listeners(&mut self) {
        self.listeners.wake_all();
        self.accept_clients();
        self.listeners.close_empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_a_change_is_told_once_and_one_that_wavers_not_again() {
        let mut fullness = Fullness::default();
        let told: Vec<Vec<Change>> =
            [(7, false), (8, false), (7, false), (8, false), (10, true), (10, true), (9, true)]
                .into_iter()
                .chain([(9, false), (6, false), (8, false)])
                .map(|(connections, is_waited_for)| {
                    let is_full = connections == 10;
                    fullness.changes(Occupancy { connections, max_connections: 10, is_full, is_waited_for }).collect()
                })
                .collect();
        let (nearly, full, room) = (vec![Change::NearlyFull], vec![Change::Full], vec![Change::Room]);
        let nothing = Vec::new;
        let expected =
            [nothing(), nearly.clone(), nothing(), nothing(), full, nothing(), nothing(), room, nothing(), nearly];
        assert_eq!(told, expected);
    }
}
