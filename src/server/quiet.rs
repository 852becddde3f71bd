//! Who gives way first when something is needed (`--idle-close needed`, P6): those who have been silent for
//! `--idle-timeout`, oldest first, of all, of a host, and of those who hold an unfinished line. They are looked for when
//! something is needed, so that silence costs neither a timer nor a wake-up. Invariant: what a look has found is given
//! only while it still holds; who has spoken or left since is passed over.

use std::collections::BTreeMap;

use super::connection::{Connection, Connections, Phase, Readiness};
use super::lingering::Group;
use crate::config::limits::{IdleClose, Limits};
use crate::engine::sniff::Opening;
use crate::engine::wheel::{Tick, ticks};
use crate::net::Key;

/// Bits of an order that number the connection; those above them are the tick of its last word.
const INDEX_BITS: u32 = 20;
/// A look at a thousand connections takes some 10 µs. So many connections may be looked at in a tick of 10 ms.
const LOOKED_AT_IN_A_TICK: u64 = 1000;

/// One that is to be read has been by then, or can't be for longer: a second.
const READ_BY_THEN_TICKS: u64 = 100;

/// What the last look has found.
pub(super) struct Quiet {
    /// How long silence lasts that makes a client give way, in ticks; 0: nobody does.
    idle: u64,
    found: BTreeMap<(Group, u64), Key>,
    /// Before this, another look would find nobody new, or is not worth its time.
    next_look: Tick,
}

impl Quiet {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut quiet = Self { idle: 0, found: BTreeMap::new(), next_look: Tick(0) };
        quiet.set_limits(limits);
        quiet
    }

    /// Other limits hold: what was found by the old ones is forgotten.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.idle = if limits.idle_close == IdleClose::Needed { ticks(limits.idle_timeout) } else { 0 };
        self.reset();
    }

    /// The connection of this group that has been silent longest, if it has been for long enough.
    pub(super) fn first<T>(&mut self, of: Group, connections: &Connections<T>, now: Tick) -> Option<Key> {
        self.first_found(of, connections).or_else(|| {
            self.look(connections, now);
            self.first_found(of, connections)
        })
    }

    /// Whether somebody was found, who may have spoken or left since.
    pub(super) fn has_found(&self) -> bool {
        !self.found.is_empty()
    }

    /// When another look may find somebody; `None`: never.
    pub(super) fn next_look(&self) -> Option<Tick> {
        (self.idle > 0).then_some(self.next_look)
    }

    /// Whether a connection has been silent for long enough, and all that came from it was read.
    pub(super) fn is_quiet<T>(&self, conn: &Connection<T>, now: Tick) -> bool {
        is_at_rest(conn) && self.due(conn) <= now
    }

    /// Forgets what was found.
    pub(super) fn reset(&mut self) {
        self.found = BTreeMap::new();
        self.next_look = Tick(0);
    }

    /// One tick more: the last byte came somewhere within its tick, and nobody is told too early.
    fn due<T>(&self, conn: &Connection<T>) -> Tick {
        conn.last_word.saturating_add(self.idle + 1)
    }

    /// What is still true of what was found; the rest is forgotten.
    fn first_found<T>(&mut self, of: Group, connections: &Connections<T>) -> Option<Key> {
        loop {
            let (place, key) = self.found.range((of, 0)..=(of, u64::MAX)).next().map(|(place, key)| (*place, *key))?;
            let holds = |conn: &&Connection<T>| {
                let is_as_found = is_at_rest(conn) && order(conn, key.index) == place.1;
                is_as_found && (of != Group::Holding || conn.framer.held() > 0)
            };
            if connections.get(key).filter(holds).is_some() {
                return Some(key);
            }
            self.found.remove(&place);
        }
    }

    /// Looks at all connections, unless it is too early for that.
    #[cold]
    fn look<T>(&mut self, connections: &Connections<T>, now: Tick) {
        if self.idle == 0 || now < self.next_look {
            return;
        }
        self.found.clear();
        // Whoever comes or speaks from now on is not due before that.
        let mut next = now.saturating_add(self.idle + 1);
        for key in connections.keys() {
            let Some(conn) = connections.get(key).filter(|conn| is_expected(conn)) else { continue };
            let due = self.due(conn);
            if !is_at_rest(conn) {
                // It may turn out to have nothing to say.
                next = next.min(due.max(now.saturating_add(READ_BY_THEN_TICKS)));
                continue;
            }
            if due > now {
                next = next.min(due);
                continue;
            }
            let holding = (conn.framer.held() > 0).then_some(Group::Holding);
            for group in [Some(Group::All), Some(Group::Of(conn.peer.host())), holding].into_iter().flatten() {
                self.found.insert((group, order(conn, key.index)), key);
            }
        }
        let pause = 1 + connections.len() as u64 / LOOKED_AT_IN_A_TICK;
        self.next_look = next.max(now.saturating_add(pause));
    }
}

/// Whether a connection is expected to speak, and we were not told that it has said all: then it waits for its receipt. One
/// whose header is still to come has a few seconds for that, and is no client of any host yet (P25).
fn is_expected<T>(conn: &Connection<T>) -> bool {
    matches!(conn.phase, Phase::Silent | Phase::Speaking) && conn.opening != Opening::Proxied
}

/// Whether it is, and nothing of it is left to be read.
fn is_at_rest<T>(conn: &Connection<T>) -> bool {
    is_expected(conn) && conn.readiness == Readiness::NotReady
}

/// The older the last word, the lower; unlike that of any other connection.
fn order<T>(conn: &Connection<T>, index: u32) -> u64 {
    conn.last_word.0 << INDEX_BITS | u64::from(index)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::listen::Framing;
    use crate::engine::framer::{LineSink, Lines, Rules};
    use crate::engine::peer::{Host, Peer};
    use crate::server::connection::Newcomer;

    struct Nowhere;

    impl LineSink for Nowhere {
        fn lines(&mut self, _: Lines<'_>) {}
    }

    /// Silence of 100 ticks is long enough.
    fn quiet(idle_close: IdleClose) -> Quiet {
        Quiet::new(&Limits { idle_timeout: Duration::from_secs(1), idle_close, ..Limits::default() })
    }

    /// A connection for each of these: the last byte of its host's address, and the tick of its last word.
    fn table(rows: &[(u8, u64)]) -> (Connections<()>, Vec<Key>) {
        let mut table = Connections::new(rows.len());
        for (host, last_word) in rows {
            let peer = Peer::V4 { ip: [127, 0, 0, *host], port: 1 };
            let newcomer = Newcomer { stream: (), peer, listener: 0, framing: Framing::Lines, opening: Opening::Fresh };
            table.vacant().insert(newcomer, Tick(*last_word));
        }
        let keys = table.keys().collect();
        (table, keys)
    }

    #[test]
    fn p25_who_has_not_said_whose_it_is_is_not_quiet() {
        let (mut table, mut quiet) = (Connections::new(1), quiet(IdleClose::Needed));
        let peer = Peer::V4 { ip: [127, 0, 0, 1], port: 1 };
        table.vacant().insert(
            Newcomer { stream: (), peer, listener: 0, framing: Framing::Lines, opening: Opening::Proxied },
            Tick(7),
        );
        let key = table.keys().next().unwrap();
        for group in [Group::All, Group::Of(peer.host())] {
            assert_eq!(quiet.first(group, &table, Tick(5000)), None);
        }
        let conn = table.get_mut(key).unwrap();
        conn.opening = Opening::Fresh;
        assert_eq!(quiet.first(Group::All, &table, Tick(9000)), Some(key));
    }

    fn set_pending(conn: &mut Connection<()>) {
        let rules = Rules::new(&Limits::default(), Framing::Lines);
        let mut half = *b"half";
        let fed = conn.framer.feed(&mut half, 0, &rules, &mut Nowhere);
        conn.framer.keep(fed.tail, &rules);
    }

    #[test]
    fn p6_the_first_is_who_was_silent_longest_of_all_of_its_host_and_of_those_who_hold_a_line() {
        let (mut table, keys) = table(&[(1, 30), (2, 20), (1, 10), (2, 40), (3, 900)]);
        set_pending(table.get_mut(keys[0]).unwrap());
        set_pending(table.get_mut(keys[3]).unwrap());
        let mut quiet = quiet(IdleClose::Needed);
        let host = |last| Group::Of(Host::V4([127, 0, 0, last]));
        let groups = [Group::All, host(1), host(2), host(3), host(4), Group::Holding];
        let found = groups.map(|of| quiet.first(of, &table, Tick(500)));
        let [first, second, third] = [keys[2], keys[1], keys[0]].map(Some);
        assert_eq!(found, [first, first, second, None, None, third]);
        assert!(quiet.has_found());
        // Who speaks, is to be read, waits for a receipt or leaves is passed over.
        table.get_mut(keys[2]).unwrap().last_word = Tick(499);
        table.get_mut(keys[1]).unwrap().readiness = Readiness::Queued;
        assert_eq!(quiet.first(Group::All, &table, Tick(500)), third);
        table.get_mut(keys[0]).unwrap().phase = Phase::Owed { position: 0, spoke: true };
        table.remove(keys[3]);
        assert_eq!(quiet.first(Group::All, &table, Tick(500)), None);
    }

    #[test]
    fn p6_silence_is_long_enough_one_tick_after_its_time_and_nobody_is_looked_for_before() {
        let (table, keys) = table(&[(1, 7), (1, 50)]);
        let mut quiet = quiet(IdleClose::Needed);
        assert_eq!(quiet.first(Group::All, &table, Tick(60)), None);
        assert_eq!(quiet.next_look(), Some(Tick(108)));
        assert_eq!(quiet.first(Group::All, &table, Tick(107)), None);
        assert_eq!(quiet.first(Group::All, &table, Tick(108)), Some(keys[0]));
        assert_eq!(quiet.next_look(), Some(Tick(151)));
        let is_quiet = |key| quiet.is_quiet(table.get(key).unwrap(), Tick(150));
        assert_eq!((is_quiet(keys[0]), is_quiet(keys[1])), (true, false));
        quiet.reset();
        assert!(!quiet.has_found());
    }

    #[test]
    fn p6_one_that_was_to_be_read_and_said_nothing_is_looked_for_again() {
        let (mut table, keys) = table(&[(1, 7)]);
        let mut quiet = quiet(IdleClose::Needed);
        table.get_mut(keys[0]).unwrap().readiness = Readiness::Queued;
        assert_eq!(quiet.first(Group::All, &table, Tick(500)), None);
        table.get_mut(keys[0]).unwrap().readiness = Readiness::NotReady;
        assert_eq!(quiet.first(Group::All, &table, Tick(599)), None);
        assert_eq!(quiet.first(Group::All, &table, Tick(600)), Some(keys[0]));
    }

    #[test]
    fn p6_many_are_not_looked_at_in_every_tick() {
        let (table, _) = table(&[(1, 399); 5000]);
        let mut quiet = quiet(IdleClose::Needed);
        assert_eq!(quiet.first(Group::All, &table, Tick(499)), None, "all are due in a tick");
        assert_eq!(quiet.next_look(), Some(Tick(499 + 6)));
    }

    #[test]
    fn p6_who_is_told_at_once_gives_way_to_nobody() {
        let (table, _) = table(&[(1, 7)]);
        let mut quiet = quiet(IdleClose::Always);
        assert_eq!((quiet.first(Group::All, &table, Tick(10_000)), quiet.next_look()), (None, None));
    }
}
