//! The orderly end (P11): who waits is accepted, all are told goodbye and read until they have nothing left to send,
//! and everything is written. Invariant: [`plan`] alone says what the drain does next and how long the loop may wait
//! for it.

use std::time::Duration;

use log::info;

use super::Server;
use super::connection::{Connection, Readiness};
use super::error::RunError;
use super::life::{Close, Life};
use super::lingering::Group;
use crate::config::listen::ListenAddr;
use crate::config::units::soonest;
use crate::net::{Key, Net};
use crate::sink::{Order, Sink};

/// If nothing has come from any client for so long, the drain is over (P11): far more than a round trip in a plant
/// network.
const QUIET: Duration = Duration::from_millis(250);

/// At the very end, and as soon as somebody waits for its place, a connection from which nothing has come for so long is
/// closed: bytes that are on their way come within a round trip.
const LAST_SILENCE: Duration = Duration::from_millis(50);
/// At the very end, after so long every connection is closed.
const LAST_WAIT: Duration = Duration::from_millis(500);
/// The most clients that are accepted from a listener once the drain is over: what a backlog can hold (`net::BACKLOG`).
const MOST_WAITING: u64 = 4096;

/// What the drain sees of the server.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    now: Duration,
    /// The time in which the server was reading, and when bytes last came on that clock.
    reading: Duration,
    last_bytes: Duration,
    /// Nothing is read, since the sink is full; and since when the sink has taken nothing though something waits.
    is_stalled: bool,
    stuck_since: Option<Duration>,
    /// Nothing waits in the sink, and it has no work of its own left that we know of.
    is_written: bool,
    has_connections: bool,
    /// Somebody is connected who does not only wait for a receipt. Those who do are closed when the sink has settled.
    has_more_to_read: bool,
    /// Somebody is on the ready queue.
    is_ready: bool,
    /// Somebody is in the middle of a TLS handshake, and could not have heard our goodbye.
    is_shaking: bool,
    has_listeners: bool,
    /// A listener of UDP is open, whose queue is being read; or lines of a poller are on their way.
    has_datagrams: bool,
    /// Accepting waits for a descriptor.
    is_paused: bool,
    /// There are as many connections as there may be, and none of them can give way yet; one can then.
    is_full: bool,
    gives_way_in: Option<Duration>,
}

/// What the drain does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It reads on.
    Read,
    /// The time of those who are connected is up: each is read to its end and closed.
    Finish,
    /// Everybody is gone: once the sink has brought all where it belongs, the server has ended.
    Settle,
}

/// What comes next, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    step: Step,
    /// How long the loop may wait before the drain decides anew; `None`: until an event comes.
    due_in: Option<Duration>,
    /// How long until a sink that takes nothing is given up; `None`: it takes something.
    patience: Option<Duration>,
}

/// How much is left of a time that began at `since`.
#[inline(never)] // one copy, for size
fn left_of(time: Duration, since: Duration, now: Duration) -> Duration {
    time.saturating_sub(now.saturating_sub(since))
}

/// Plans the drain, from where the server stands and what it sees.
fn plan(life: Life, seen: &Seen, drain_timeout: Duration) -> Plan {
    let (Life::Draining { began, .. } | Life::Finishing { began, .. }) = life else {
        return Plan { step: Step::Read, due_in: None, patience: None };
    };
    let patience = seen.stuck_since.map(|since| left_of(drain_timeout, since.max(began), seen.now));
    let may_come_in = (seen.has_listeners && !seen.is_paused && !seen.is_full) || seen.has_datagrams;
    let are_open = seen.has_listeners || seen.has_datagrams;
    let (step, due_in) = match life {
        Life::Draining { .. } if seen.is_stalled => (Step::Read, patience),
        Life::Draining { since, .. } => {
            // On the clock that stands still while nothing is read: a client that waited for a slow sink still has
            // bytes on the way. One that floods is cut off (`note_last_bytes`), so that this comes to an end. Silence
            // ends nothing while somebody waits at a listener.
            let mut left = left_of(drain_timeout, since, seen.reading);
            if !are_open && !seen.is_ready && !seen.is_shaking {
                left = left.min(left_of(QUIET, since.max(seen.last_bytes), seen.reading));
            }
            if !are_open && !seen.has_connections {
                left = Duration::ZERO;
            }
            let step = if left.is_zero() { Step::Finish } else { Step::Read };
            // One that is late gives way as soon as the sink lets it, which no time tells.
            let room = seen.gives_way_in.filter(|room| seen.has_listeners && seen.is_full && !room.is_zero());
            (step, soonest(&[Some(left), patience, room]))
        }
        _ if !seen.has_more_to_read && !may_come_in => {
            // If all is written already, the sink only has to be asked.
            let is_now = seen.is_written && !seen.is_stalled;
            (Step::Settle, if is_now { Some(Duration::ZERO) } else { patience })
        }
        _ if seen.is_stalled => (Step::Read, patience),
        _ => (Step::Read, Some(if may_come_in || seen.is_ready { Duration::ZERO } else { LAST_SILENCE })),
    };
    Plan { step, due_in, patience }
}

impl<S: Sink, N: Net> Server<S, N> {
    /// The end begins: everybody is told goodbye.
    pub(super) fn begin_drain(&mut self) {
        self.life = Life::Draining { since: self.clock.reading(), began: self.clock.now() };
        self.clients.deadlines.end_of_service();
        self.end_rates();
        self.listeners.end_pause();
        self.listeners.leave_inherited(&mut self.net);
        self.datagrams.begin_end(&mut self.net);
        self.end_fetches();
        match self.listeners.local_addrs().iter().all(ListenAddr::is_udp) {
            true => info!("[udp] Stopping server"),
            false => info!("[tcp] Stopping server, closing {} active socket(s)", self.clients.connections.len()),
        }
        let keys: Vec<Key> = self.clients.connections.keys().collect();
        for key in keys {
            self.say_goodbye(key);
        }
    }

    /// While the drain goes on, closes the listeners at which nobody waits; and ends it when its time has come.
    pub(super) fn go_on_draining(&mut self) {
        let Life::Draining { began, .. } = self.life else { return };
        if self.outlet.is_stalled() {
            return;
        }
        self.close_empty_listeners();
        if self.drain_plan().step == Step::Finish {
            let since = self.clock.reading();
            let most_accepted = self.counters.accepted + MOST_WAITING * self.listeners.len() as u64;
            self.life = Life::Finishing { began, since, most_accepted };
        }
    }

    /// What the drain does next, and how long the loop may wait for it.
    fn drain_plan(&self) -> Plan {
        let connections = &self.clients.connections;
        let seen = Seen {
            is_shaking: self.secured.is_anybody_shaking(),
            now: self.clock.now(),
            reading: self.clock.reading(),
            last_bytes: self.clock.last_bytes(),
            is_stalled: self.outlet.is_stalled(),
            stuck_since: self.outlet.sink.state().stuck_since,
            is_written: self.outlet.sink.state().waiting == 0 && !self.outlet.is_settling(),
            has_connections: connections.len() > 0,
            has_more_to_read: connections.iter().any(|(_, conn)| !conn.is_owed()),
            is_ready: connections.ready_len() > 0,
            has_listeners: !self.listeners.are_closed(),
            has_datagrams: !self.datagrams.are_closed() || self.rates.have_lost() || self.are_polls_feeding(),
            is_paused: self.listeners.are_paused(),
            is_full: self.is_full(),
            gives_way_in: self.gives_way_in(),
        };
        plan(self.life, &seen, self.limits.drain_timeout)
    }

    /// How long until the connection that has been silent longest gives way to somebody who waits, while all are told
    /// goodbye.
    pub(super) fn gives_way_in(&self) -> Option<Duration> {
        let conn = self.clients.connections.get(self.clients.lingering.first(Group::All)?)?;
        Some(left_of(LAST_SILENCE, conn.last_word.begins_at(), self.clock.reading()))
    }

    /// How long the loop may wait before the drain decides anew.
    pub(super) fn drain_due_in(&self) -> Option<Duration> {
        // Most turns have no drain to plan.
        if self.life == Life::Serving { None } else { self.drain_plan().due_in }
    }

    /// Closes what is left, and ends when the sink has it all.
    ///
    /// # Errors
    /// A sink that takes nothing for `--drain-timeout` is given up.
    pub(super) fn finish_draining(&mut self) -> Result<(), RunError> {
        if self.life != Life::Serving {
            self.close_read_out();
        }
        match self.life {
            Life::Serving | Life::Stopped => return Ok(()),
            Life::Draining { .. } => {}
            Life::Finishing { since, most_accepted, .. } => {
                self.close_listeners(most_accepted);
                self.close_silent(since)?;
            }
        }
        if self.drain_plan().step == Step::Settle && self.outlet.settle(self.clock.now()) {
            self.give_last_receipts();
            // If somebody still waits at a listener, a client that was closed with its receipt may have made room for
            // it.
            return if self.listeners.are_closed() { self.end() } else { Ok(()) };
        }
        if self.drain_plan().patience.is_some_and(|patience| patience.is_zero()) { self.give_up() } else { Ok(()) }
    }

    /// The server has come to its end.
    fn end(&mut self) -> Result<(), RunError> {
        self.life = Life::Stopped;
        let _ = self.take_sink_events();
        self.notices.finish();
        // An end with an error ends this turn here, and who asks is to hear of the end.
        self.publish();
        if let Some(loss) = self.outlet.take_loss() {
            return Err(loss);
        }
        self.end_pollers();
        self.listeners.take_abandoned().map_or(Ok(()), |source| Err(RunError::NotTakenIn { source }))
    }

    /// Gives up a sink that has taken nothing for too long. It may take lines again without our having heard of it, so
    /// it is tried once more before they are lost.
    fn give_up(&mut self) -> Result<(), RunError> {
        let waiting = self.outlet.sink.state().waiting;
        // Twice: that a descriptor is dead may be found out by the first try only, and the second has a new one (P20).
        for _ in 0..2 {
            self.outlet.sink.obey(Order::TryNow);
            self.write()?;
        }
        let since = self.clock.now().saturating_sub(self.limits.drain_timeout);
        // Of several outputs, only those that stand still are given up.
        let is_given_up = self.outlet.sink.obey(Order::GiveUp { since });
        let _ = self.take_sink_events();
        if is_given_up || self.outlet.sink.state().waiting < waiting {
            return Ok(());
        }
        self.notices.finish();
        let sink = self.outlet.sink.describe();
        let of_it = self.outlet.sink.outputs().iter().find(|output| output.name == sink);
        Err(RunError::SinkGivenUp {
            // What it was passed over for before.
            missed_lines: of_it.map_or(0, |output| output.counters.dropped_lines),
            sink,
            lost_bytes: self.outlet.sink.state().held,
            connections: self.clients.connections.len(),
        })
    }

    /// Who waits in the backlogs is accepted as places become free, at most as many as these hold: somebody who connects
    /// without end can't put off the end.
    fn close_listeners(&mut self, most_accepted: u64) {
        if self.outlet.is_stalled() {
            return;
        }
        self.close_empty_listeners();
        let is_endless = self.counters.accepted > most_accepted && !self.listeners.are_closed();
        // A client that is still here may hold the descriptor that is missing.
        let is_hopeless = self.listeners.are_paused() && self.clients.connections.len() == 0;
        if is_endless {
            self.tally().not_taken_in();
        }
        if is_endless || is_hopeless {
            self.listeners.close_all();
        }
    }

    /// Reads everybody to the end, and closes those from whom nothing comes any more. Trap: while a slow sink kept us
    /// from reading, a client's bytes waited in its own kernel; they come when there is room here, a moment after a
    /// read that found nothing more.
    fn close_silent(&mut self, since: Duration) -> Result<(), RunError> {
        let reading = self.clock.reading();
        let is_late = reading.saturating_sub(since) >= LAST_WAIT;
        // All are read now; who is on the queue after that met a full sink.
        self.clients.connections.forget_ready();
        let keys: Vec<Key> = self.clients.connections.keys().collect();
        for key in keys {
            if self.outlet.is_stalled() {
                break;
            }
            if !self.read_to_end(key) {
                // One whose host is held up keeps no other waiting.
                let is_held_up = |conn: &Connection<_>| conn.readiness == Readiness::HeldUp;
                if self.clients.connections.get(key).is_some_and(is_held_up) {
                    continue;
                }
                break;
            }
            let Some(conn) = self.clients.connections.get_mut(key).filter(|conn| !conn.is_owed()) else { continue };
            let is_late = is_late && !self.secured.is_shaking_since(key, self.clock.now().saturating_sub(LAST_WAIT));
            if is_late || reading.saturating_sub(conn.last_word.begins_at()) >= LAST_SILENCE {
                self.close(key, Close::Stopping);
            }
        }
        self.write()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = ms(5000);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// One connection, a second after the drain began, 100 ms after bytes came, and nobody waits anywhere.
    fn seen() -> Seen {
        Seen {
            now: ms(3000),
            reading: ms(2000),
            last_bytes: ms(1900),
            is_written: true,
            has_connections: true,
            has_more_to_read: true,
            ..Seen::default()
        }
    }

    fn check(life: Life, rows: &[(&str, Seen, Step, Option<Duration>)]) {
        for (name, seen, step, due_in) in rows {
            let found = plan(life, seen, TIMEOUT);
            assert_eq!((found.step, found.due_in), (*step, *due_in), "{name}: {seen:?}");
        }
    }

    #[test]
    fn p11_the_drain_ends_when_all_are_gone_or_silent_or_late() {
        let now = Some(ms(0));
        let stuck = Seen { stuck_since: Some(ms(100)), is_written: false, ..seen() };
        let full = Seen { has_listeners: true, is_full: true, ..seen() };
        let rows = [
            ("silence is not over", seen(), Step::Read, Some(ms(150))),
            ("now it is", Seen { reading: ms(2150), ..seen() }, Step::Finish, now),
            ("somebody can be read", Seen { is_ready: true, reading: ms(2150), ..seen() }, Step::Read, Some(ms(3850))),
            ("a handshake", Seen { is_shaking: true, reading: ms(2150), ..seen() }, Step::Read, Some(ms(3850))),
            ("somebody may wait", Seen { has_listeners: true, reading: ms(5999), ..seen() }, Step::Read, Some(ms(1))),
            ("a place is free soon", Seen { gives_way_in: Some(ms(7)), ..full }, Step::Read, Some(ms(7))),
            ("when the sink lets it", Seen { gives_way_in: now, ..full }, Step::Read, Some(ms(4000))),
            ("for nobody", Seen { has_listeners: false, gives_way_in: Some(ms(7)), ..full }, Step::Read, Some(ms(150))),
            ("it is late", Seen { has_listeners: true, reading: ms(6000), ..seen() }, Step::Finish, now),
            ("all are gone", Seen { has_connections: false, ..seen() }, Step::Finish, now),
            // Stuck since before the drain began: its time counts from there.
            ("the sink is stuck", Seen { is_ready: true, now: ms(6990), ..stuck }, Step::Read, Some(ms(10))),
            ("it is full", Seen { is_stalled: true, reading: ms(9000), ..stuck }, Step::Read, Some(ms(4000))),
            ("it works", Seen { is_stalled: true, stuck_since: None, ..stuck }, Step::Read, None),
        ];
        check(Life::Draining { since: ms(1000), began: ms(2000) }, &rows);
    }

    #[test]
    fn p11_at_the_end_all_are_closed_and_then_the_sink_settles() {
        let now = Some(ms(0));
        let gone = Seen { has_connections: false, has_more_to_read: false, ..seen() };
        let stuck = Seen { stuck_since: Some(ms(2500)), is_written: false, ..gone };
        let rows = [
            ("bytes may be on their way", seen(), Step::Read, Some(LAST_SILENCE)),
            ("some are here", Seen { is_ready: true, ..seen() }, Step::Read, now),
            ("somebody may wait", Seen { has_listeners: true, ..gone }, Step::Read, now),
            ("and can't come in", Seen { has_listeners: true, is_paused: true, ..gone }, Step::Settle, now),
            (
                "and finds no place",
                Seen { has_listeners: true, is_full: true, ..seen() },
                Step::Read,
                Some(LAST_SILENCE),
            ),
            ("all places are owed", Seen { has_listeners: true, is_full: true, ..gone }, Step::Settle, now),
            ("all are gone", gone, Step::Settle, now),
            ("only receipts are owed", Seen { has_connections: true, ..gone }, Step::Settle, now),
            ("the sink is to tell", Seen { stuck_since: None, ..stuck }, Step::Settle, None),
            ("it takes nothing", stuck, Step::Settle, Some(ms(4500))),
            ("it is full", Seen { is_stalled: true, has_more_to_read: true, ..stuck }, Step::Read, Some(ms(4500))),
        ];
        check(Life::Finishing { began: ms(2000), since: ms(1500), most_accepted: 0 }, &rows);
    }

    #[test]
    fn p11_there_is_nothing_to_plan_before_and_after() {
        for life in [Life::Serving, Life::Stopped] {
            assert_eq!(plan(life, &seen(), TIMEOUT), Plan { step: Step::Read, due_in: None, patience: None });
        }
    }
}
