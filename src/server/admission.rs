//! Accepting: who comes in, who waits, and who is turned away (P10, P14). Invariant: whoever can come in does, in the turn in which it can.

use std::io::{self, ErrorKind};

use log::debug;

use super::Server;
use super::clients::TurnedAway;
use super::connection::Newcomer;
use super::fullness::Occupancy;
use super::life::Life;
use super::listener::{is_gone_client, is_shortage};
use crate::config::limits::WhenFull;
use crate::engine::sniff::Opening;
use crate::net::Net;
use crate::sink::Sink;

/// Clients that are accepted from one listener in a turn. If thousands connect at once, others are read in between.
const ACCEPTS: usize = 64;

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
        let rejects = self.life == Life::Serving && self.limits.when_full == WhenFull::Reject;
        self.listeners.may_have_clients() && (!self.is_full() || rejects)
    }

    /// Whether the next client has to wait, or is rejected.
    pub(super) fn is_full(&self) -> bool {
        // If somebody can give way, one more may come in.
        let gives_way = match self.life {
            Life::Serving => self.clients.have_room_to_give(),
            // Who waits when the server stops is taken in too: else its lines are lost (P11).
            Life::Draining { .. } => self.gives_way_in().is_some_and(|left| left.is_zero()),
            Life::Finishing { .. } | Life::Stopped => false,
        };
        self.clients.connections.len() >= self.limits.max_connections + usize::from(gives_way)
    }

    /// Asks each listener for the clients that wait there.
    pub(super) fn accept_clients(&mut self) {
        self.listeners.end_old_pause(self.clock.now());
        self.fullness.note_connections(self.clients.connections.len());
        self.note_fullness();
        // A turn that can't read can't close a lingering connection either: it would lose what that still sends.
        if self.outlet.is_stalled() {
            return;
        }
        self.look_for_quiet();
        self.make_room_for_session();
        // At the end all who are here may go on for as long as nobody waits for a place.
        if self.life == Life::Serving {
            self.make_room();
        }
        for host in self.fullness.take_postponed() {
            self.hold_to_share(host);
        }
        for at in 0..self.listeners.len() {
            if let Err(error) = self.accept_from(at) {
                self.tally().cannot_accept(&error);
                return self.listeners.pause(self.clock.now(), error);
            }
        }
        if self.fullness.has_crowd() && !self.listeners.may_have_clients() {
            self.fullness.forget_crowd();
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
            Ok(newcomer) => {
                self.admit(newcomer);
                return Asked::Somebody;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Asked::Enough,
            Err(error) if is_gone_client(&error) => return Asked::Nobody(error),
            Err(error) => error,
        };
        let may_help = is_shortage(&error) && self.listeners.may_free_descriptor();
        if may_help && self.free_descriptor() {
            return Asked::Somebody;
        }
        // If a lingering connection was not closed only because the sink has no room for what it may still send, it is
        // as soon as there is room.
        if may_help && self.outlet.is_stalled() { Asked::Enough } else { Asked::Failed(error) }
    }

    fn admit(&mut self, newcomer: Newcomer<N::Stream>) {
        let peer = newcomer.peer;
        // Before anything is taken or anybody gives way for it.
        if !self.listeners.permits(newcomer.listener, &peer) {
            return self.tally().turned_away(&peer, &TurnedAway::NotAllowed);
        }
        if self.life == Life::Serving && self.is_full() {
            return self.tally().turned_away(&peer, &TurnedAway::Full);
        }
        let is_known = newcomer.opening != Opening::Proxied;
        if self.life == Life::Serving && is_known {
            self.make_room_of(peer.host());
        }
        let admitted = self.clients.admit(newcomer, &self.clock, |stream, key| self.net.register(stream, key));
        let key = match admitted {
            Ok(key) => key,
            Err(why) => return self.tally().turned_away(&peer, &why),
        };
        self.counters.accepted = self.counters.accepted.saturating_add(1);
        debug!("[tcp] Socket connected: {peer} (active: {})", self.clients.connections.len());
        self.open_session(key);
        if self.life == Life::Serving {
            self.fullness.note_newcomer();
            if is_known {
                self.hold_to_share(peer.host());
            }
        } else {
            self.say_goodbye(key);
        }
        self.make_room();
    }

    /// Says what has changed about how full the server is.
    fn note_fullness(&mut self) {
        let connections = self.clients.connections.len();
        if self.life != Life::Serving || self.fullness.is_calm(connections, self.limits.max_connections) {
            return;
        }
        let occupancy = Occupancy {
            connections,
            max_connections: self.limits.max_connections,
            is_full: self.is_full(),
            is_waited_for: self.fullness.was_full() && self.can_accept(),
        };
        for change in self.fullness.changes(occupancy) {
            self.tally().fullness(change, occupancy);
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
