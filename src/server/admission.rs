//! Accepting: who comes in, who waits, who is turned away (P10, P14). Invariant: a listener that may have clients
//! waiting is remembered until `accept` says that it has none, as its event comes only once.

use std::io::{self, ErrorKind};
use std::time::Duration;

use log::debug;

use super::Server;
use super::clients::Refusal;
use super::life::Life;
use super::notices::Notice;
use crate::config::limits::{MOST_CONNECTIONS, WhenFull};
use crate::engine::peer::{Host, Peer};
use crate::net::{EMFILE, ENFILE, Net};
use crate::sink::Sink;

/// Clients taken from one listener in a turn, so that a storm of connects leaves time to read.
const ACCEPTS: usize = 64;
/// The longest that accepting pauses when no descriptor is free (P10).
const DESCRIPTOR_PAUSE: Duration = Duration::from_secs(1);
/// What `accept` says when the process or the system has no descriptor or no memory for one more: ENFILE, EMFILE,
/// ENOBUFS, ENOMEM. Linux numbers, the same on every architecture that Rust's std supports but MIPS and SPARC, where
/// ENOBUFS differs and falls under "any other error", which pauses too.
const SHORTAGES: [i32; 4] = [ENFILE, EMFILE, 105, 12];

/// ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH: what accept(2) says to treat
/// as "no such client after all".
const NETWORK_ERRORS: [i32; 8] = [100, 71, 92, 112, 64, 113, 95, 101];

/// Whether `accept` speaks of one client, not of the listener: it gave up while it waited, or the network said that it is
/// gone, which Linux hands on (accept(2)). Or a signal came.
pub(super) fn is_gone_client(error: &io::Error) -> bool {
    let is_network = |code: i32| NETWORK_ERRORS.contains(&code);
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted)
        || error.raw_os_error().is_some_and(is_network)
}

/// One listener.
pub(super) struct Door<L> {
    pub(super) number: usize,
    listener: L,
    may_have_clients: bool,
}

impl<L> Door<L> {
    pub(super) fn new(number: usize, listener: L) -> Self {
        // A client may have come before the first poll; the event then tells, but asking once costs nothing.
        Self { number, listener, may_have_clients: true }
    }

    pub(super) fn has_clients(&mut self) {
        self.may_have_clients = true;
    }
}

/// How full the house is, and what was said about it.
#[derive(Default)]
pub(super) struct House {
    paused_until: Option<Duration>,
    is_full: bool,
    is_nearly_full: bool,
    /// Somebody gave its descriptor up, and nobody has come in since.
    has_given_way: bool,
    /// Hosts over their share, as the sink had no room for what one of theirs that lingers may still say (P14).
    over_share: Vec<Host>,
}

impl House {
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        self.paused_until.map(|until| until.saturating_sub(now))
    }

    /// Whether accepting waits for a descriptor.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// A descriptor is free, or can be had now.
    pub(super) fn end_pause(&mut self) {
        self.paused_until = None;
    }
}

/// What one `accept` came to.
enum Accepted {
    One,
    /// A client that was gone before it came in, as this error says.
    Nobody(io::Error),
    NoMore,
    Pause,
}

impl<S: Sink, N: Net> Server<S, N> {
    /// Whether a client may be waiting that could come in now.
    pub(super) fn can_accept(&self) -> bool {
        self.house.paused_until.is_none()
            && self.doors.iter().any(|door| door.may_have_clients)
            && (!self.is_full() || self.limits.when_full == WhenFull::Reject)
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

    pub(super) fn accept_clients(&mut self) {
        if self.house.paused_until.is_some_and(|until| until <= self.clock.now()) {
            self.house.paused_until = None;
        }
        self.note_fullness();
        // A turn that can't read can't let a lingering connection give way either: it would lose what it holds.
        if self.outlet.is_stalled() {
            return;
        }
        self.make_room();
        for host in std::mem::take(&mut self.house.over_share) {
            self.hold_to_share(host);
        }
        for at in 0..self.doors.len() {
            let mut was_somebody = false;
            for last in 1..=ACCEPTS {
                if !self.can_accept() {
                    break;
                }
                match self.accept_one(at) {
                    Accepted::One => was_somebody = true,
                    // An error that lasts, whatever accept(2) says of it, must not make the loop spin.
                    Accepted::Nobody(error) if last == ACCEPTS && !was_somebody => {
                        self.note_accept_error(&error, false);
                        return self.pause_accepting();
                    }
                    Accepted::Nobody(_) => {}
                    Accepted::NoMore => break,
                    Accepted::Pause => return self.pause_accepting(),
                }
            }
        }
        self.note_fullness();
    }

    fn accept_one(&mut self, at: usize) -> Accepted {
        let Some(door) = self.doors.get_mut(at).filter(|door| door.may_have_clients) else { return Accepted::NoMore };
        match self.net.accept(&mut door.listener) {
            Ok((stream, peer)) => {
                self.house.has_given_way = false;
                self.admit(stream, peer);
                Accepted::One
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                door.may_have_clients = false;
                Accepted::NoMore
            }
            Err(error) if is_gone_client(&error) => Accepted::Nobody(error),
            Err(error) => {
                let is_shortage = error.raw_os_error().is_some_and(|code| SHORTAGES.contains(&code));
                // If one descriptor more did not help, all of those who linger would be driven out for nobody: the whole
                // system is short. Of our own limit one more may be missing after a pause.
                let may_help = is_shortage && !self.house.has_given_way;
                if may_help && self.close_longest_lingering(None) {
                    self.house.has_given_way = true;
                    return Accepted::One;
                }
                self.house.has_given_way &= error.raw_os_error() != Some(EMFILE);
                if may_help && self.outlet.is_stalled() {
                    // Somebody would give way, but the sink has no room for what it has to say: as soon as it has.
                    return Accepted::NoMore;
                }
                self.note_accept_error(&error, is_shortage);
                Accepted::Pause
            }
        }
    }

    fn note_accept_error(&mut self, error: &io::Error, is_shortage: bool) {
        let cure = if is_shortage { ". Raise the limit on open files, or lower --max-connections" } else { "" };
        let message = format_args!("[tcp] Cannot accept: {error}; new clients wait, trying again in a second{cure}");
        self.notices.warn(self.clock.now(), Notice::NoDescriptor, message);
    }

    fn pause_accepting(&mut self) {
        self.counters.accept_pauses = self.counters.accept_pauses.saturating_add(1);
        self.house.paused_until = Some(self.clock.now() + DESCRIPTOR_PAUSE);
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
                if !self.house.over_share.contains(&host) {
                    self.house.over_share.push(host);
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

    /// Says once when the house gets full, once when there is room again, and once at 80 %.
    fn note_fullness(&mut self) {
        if self.life != Life::Serving {
            return;
        }
        let (len, limit) = (self.clients.connections.len(), self.limits.max_connections);
        let is_full = self.is_full();
        let waits = self.limits.when_full == WhenFull::Wait;
        if is_full && !self.house.is_full {
            self.house.is_full = true;
            if waits {
                self.counters.accept_pauses = self.counters.accept_pauses.saturating_add(1);
                let message = format_args!("[tcp] Connection limit reached ({limit}), new clients wait");
                self.notices.warn(self.clock.now(), Notice::FullHouse, message);
            }
        } else if self.house.is_full && !is_full && !self.can_accept() {
            // Said when nobody waits any more, so that a queue that moves up one by one does not say it each time.
            self.house.is_full = false;
            if waits {
                let message = format_args!("[tcp] Below the connection limit again ({len} of {limit}), nobody waits");
                self.notices.warn(self.clock.now(), Notice::FullHouse, message);
            }
        }
        // Back below 70 % before it is said again: a count that wavers around 80 % says it once.
        if !self.house.is_nearly_full && len < limit && len.saturating_mul(5) >= limit.saturating_mul(4) && limit >= 5 {
            self.house.is_nearly_full = true;
            let then = if waits { "new clients wait" } else { "new ones are rejected" };
            let message =
                format_args!("[tcp] {len} of {limit} connections in use: at {limit}, {then} (--max-connections)");
            self.notices.warn(self.clock.now(), Notice::NearlyFull, message);
        } else if self.house.is_nearly_full && len.saturating_mul(10) < limit.saturating_mul(7) {
            self.house.is_nearly_full = false;
        }
    }

    /// At the end: who waits at a listener that somebody else keeps open waits for our successor, and loses nothing.
    pub(super) fn leave_inherited_doors(&mut self) {
        let net = &mut self.net;
        self.doors.retain_mut(|door| !net.leave(&mut door.listener));
    }

    /// At the end: a listener closes as soon as nobody waits at it. It is asked right before, since who came meanwhile
    /// would be reset.
    pub(super) fn close_empty_doors(&mut self) {
        self.doors.iter_mut().for_each(Door::has_clients);
        self.accept_clients();
        self.doors.retain(|door| door.may_have_clients);
    }
}
