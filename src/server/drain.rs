//! The orderly end (P11): who waits is taken, all are told goodbye and read until they have nothing left to say, and
//! everything is written. Invariant: a life only moves forward, from serving to stopped.

use std::time::Duration;

use log::info;

use super::Server;
use super::error::RunError;
use super::life::{Close, Life};
use crate::net::{Key, Net};
use crate::sink::Sink;

/// Silence of all clients after which the drain is over (P11): far beyond a round trip in a plant network.
const QUIET: Duration = Duration::from_millis(250);

/// Silence after which a connection is closed at the very end, and the longest that this takes: bytes that are on their
/// way come within a round trip.
const LAST_SILENCE: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_millis(500);
/// The most clients that are taken from the backlogs once the drain is over: what they can hold (`net::BACKLOG`).
const MOST_WAITING: u64 = 4096;

impl<S: Sink, N: Net> Server<S, N> {
    pub(super) fn begin_drain(&mut self) {
        self.life = Life::Draining { since: self.clock.reading(), began: self.clock.now() };
        self.listeners.end_pause();
        self.listeners.leave_inherited(&mut self.net);
        info!("[tcp] Stopping server, closing {} active socket(s)", self.clients.connections.len());
        let keys: Vec<Key> = self.clients.connections.keys().collect();
        for key in keys {
            self.say_goodbye(key);
        }
    }

    pub(super) fn go_on_draining(&mut self) {
        let Life::Draining { since, began } = self.life else { return };
        if self.outlet.is_stalled() {
            return;
        }
        self.close_empty_listeners();
        // On the clock that stands still while nothing is read: who waited for a slow sink still has bytes on the way. A
        // client that floods is cut off (`note_last_bytes`), so that this comes to an end.
        let reading = self.clock.reading();
        let is_late = reading.saturating_sub(since) >= self.limits.drain_timeout;
        let is_silent = reading.saturating_sub(since.max(self.clock.last_bytes())) >= QUIET;
        let is_quiet = is_silent && self.clients.connections.ready_len() == 0 && self.listeners.are_closed();
        let is_empty = self.clients.connections.len() == 0 && self.listeners.are_closed();
        if is_empty || is_quiet || is_late {
            self.life = Life::Finishing { began, since: reading, accepted: self.counters.accepted };
        }
    }

    /// Whether the drain's time is up by the wall, though a full sink may have made its own clock stand still: from then
    /// on a client that floods is cut off after a while.
    pub(super) fn is_past_drain_timeout(&self) -> bool {
        match self.life {
            Life::Draining { began, .. } | Life::Finishing { began, .. } => {
                self.clock.now().saturating_sub(began) >= self.limits.drain_timeout
            }
            Life::Serving | Life::Stopped => false,
        }
    }

    /// Closes what is left, and ends when the sink has it all.
    ///
    /// # Errors
    /// A sink that takes nothing for `--drain-timeout` is given up.
    pub(super) fn finish_draining(&mut self) -> Result<(), RunError> {
        let began = match self.life {
            Life::Serving | Life::Stopped => return Ok(()),
            Life::Draining { began, .. } => began,
            Life::Finishing { began, since, accepted } => {
                self.close_listeners(accepted);
                self.close_all(since)?;
                began
            }
        };
        let is_over = matches!(self.life, Life::Finishing { .. }) && self.is_closed();
        if is_over && self.outlet.settle(self.clock.now()) {
            self.give_last_receipts();
            if self.listeners.are_closed() {
                self.life = Life::Stopped;
                self.tell_reports();
                self.notices.finish();
                return self.outlet.sink.loss().map_or(Ok(()), |loss| Err(RunError::from(loss)));
            }
            return Ok(());
        }
        let stuck_for = self.outlet.stuck_since().map(|since| self.clock.now().saturating_sub(since.max(began)));
        if stuck_for.is_some_and(|time| time >= self.limits.drain_timeout) {
            // It may take lines again without having told: one more try before they are lost.
            let waiting = self.outlet.sink.waiting();
            self.outlet.try_at_once();
            self.write()?;
            let since = self.clock.now().saturating_sub(self.limits.drain_timeout);
            // Of several outputs, only who stands still is lost.
            if self.outlet.sink.give_up(since) || self.outlet.sink.waiting() < waiting {
                return Ok(());
            }
            self.tell_reports();
            self.notices.finish();
            return Err(RunError::SinkGivenUp {
                sink: self.outlet.sink.describe(),
                lost_bytes: self.outlet.sink.held(),
                connections: self.clients.connections.len(),
            });
        }
        Ok(())
    }

    /// Who waits in the backlog is taken, at most as many as it holds: somebody who connects without end can't put off
    /// the end.
    fn close_listeners(&mut self, accepted_before: u64) {
        if self.outlet.is_stalled() {
            return;
        }
        self.close_empty_listeners();
        let is_endless = self.counters.accepted - accepted_before > MOST_WAITING;
        // Who is owed a receipt may hold the descriptor that is missing, and gives it back when the sink has settled.
        let is_hopeless =
            self.listeners.are_paused() && !self.clients.connections.iter().any(|(_, conn)| conn.is_owed());
        if is_endless || is_hopeless {
            self.listeners.close_all();
        }
    }

    /// Closes whoever has nothing left. Trap: while a slow sink kept us from reading, a client's bytes waited in its own
    /// kernel; they come when there is room here, a moment after a read that found nothing more.
    fn close_all(&mut self, since: Duration) -> Result<(), RunError> {
        let reading = self.clock.reading();
        let is_late = reading.saturating_sub(since) >= LAST_WAIT;
        // All are looked at now; who is queued after that met a full sink.
        self.clients.connections.forget_ready();
        let keys: Vec<Key> = self.clients.connections.keys().collect();
        for key in keys {
            if self.outlet.is_stalled() || !self.read_to_end(key) {
                break;
            }
            let Some(conn) = self.clients.connections.get_mut(key).filter(|conn| !conn.is_owed()) else { continue };
            if is_late || reading.saturating_sub(conn.last_word.begins_at()) >= LAST_SILENCE {
                self.close(key, Close::Stopping);
            }
        }
        self.write()
    }

    /// Whether nobody is left, or can come in, but those who are owed a receipt, which the sink's settling decides on.
    fn is_closed(&self) -> bool {
        let is_shut = self.listeners.are_closed() || self.listeners.are_paused();
        is_shut && self.clients.connections.iter().all(|(_, conn)| conn.is_owed())
    }

    /// How long until the drain has something to decide.
    pub(super) fn drain_due_in(&self) -> Option<Duration> {
        let reading = self.clock.reading();
        let now = self.clock.now();
        let stuck = |began: Duration| {
            let since = self.outlet.stuck_since()?.max(began);
            Some((since + self.limits.drain_timeout).saturating_sub(now))
        };
        match self.life {
            Life::Serving | Life::Stopped => None,
            Life::Draining { began, .. } if self.outlet.is_stalled() => stuck(began),
            Life::Draining { since, began } => {
                // Silence ends nothing while somebody waits at a door.
                let quiet = self
                    .listeners
                    .are_closed()
                    .then(|| (since.max(self.clock.last_bytes()) + QUIET).saturating_sub(reading));
                let late = (since + self.limits.drain_timeout).saturating_sub(reading);
                stuck(began).into_iter().chain(quiet).chain([late]).min()
            }
            Life::Finishing { began, .. } => {
                let is_closed = self.is_closed();
                let is_written = self.outlet.sink.waiting() == 0 && !self.outlet.is_settling();
                // All closed and written: the next turn sees it, and there is nothing to wait for.
                let waits = self.outlet.is_stalled() || (is_closed && !is_written);
                let may_come_in = !self.listeners.are_closed() && !self.listeners.are_paused();
                let is_now = is_closed || may_come_in || self.clients.connections.ready_len() > 0;
                let next_look = if is_now { Duration::ZERO } else { LAST_SILENCE };
                if waits { stuck(began) } else { Some(next_look) }
            }
        }
    }
}
