//! All that is known of the clients, in tables that a connection enters and leaves together (P7): the connections,
//! their deadlines, what they hold of the memory budget, who lingers, what their receipts say, and what each one
//! brought. Invariant: [`Clients::check`].

use std::io;

use super::accounts::Accounts;
use super::clock::Clock;
use super::connection::{Connection, Connections, Newcomer, Phase, Readiness, Spoke};
use super::deadlines::Deadlines;
use super::headers::Headers;
use super::lingering::{Group, Lingering};
use super::quiet::Quiet;
use super::receipts::Receipts;
use crate::config::limits::Limits;
use crate::engine::budget::Budget;
use crate::engine::framer::Rules;
use crate::engine::peer::{Host, Peer};
use crate::engine::sniff::Opening;
use crate::engine::stats::Gauges;
use crate::engine::wheel::Tick;
use crate::net::Key;

/// Connections that the tables have room for from the start: 2 MiB of addresses, none of memory.
const EXPECTED: usize = 16 * 1024;

/// How many connections they are made for.
fn expected(limits: &Limits) -> usize {
    limits.max_connections.min(EXPECTED)
}

/// The tables.
pub(super) struct Clients<T> {
    pub(super) connections: Connections<T>,
    pub(super) deadlines: Deadlines,
    pub(super) budget: Budget,
    pub(super) lingering: Lingering,
    pub(super) quiet: Quiet,
    pub(super) receipts: Receipts,
    pub(super) accounts: Accounts,
    pub(super) headers: Headers,
    /// How many connections the tables are made for.
    expected: usize,
    /// The most connections there were at once.
    peak: usize,
}

/// Why a client that was accepted can't stay.
pub(super) enum TurnedAway {
    /// There are as many connections as there may be (P10, `--when-full reject`).
    Full,
    /// Its host has as many connections as it may (P14).
    PerHost,
    /// Its address is not allowed at this listener (P24).
    NotAllowed,
    /// The kernel can't watch it.
    Unwatched(io::Error),
}

impl<T> Clients<T> {
    /// Nobody is connected; all pending lines together may hold `pending_share` bytes.
    pub(super) fn new(limits: &Limits, pending_share: usize, now: Tick) -> Self {
        let expected = expected(limits);
        Self {
            connections: Connections::new(expected),
            deadlines: Deadlines::new(limits, now, expected),
            budget: Budget::new(pending_share, limits.per_host(), expected),
            lingering: Lingering::default(),
            quiet: Quiet::new(limits),
            receipts: Receipts::default(),
            accounts: Accounts::default(),
            headers: Headers::default(),
            expected,
            peak: 0,
        }
    }

    /// Other limits hold from now on, also for who is here.
    pub(super) fn set_limits(&mut self, limits: &Limits, now: Tick) {
        self.expected = expected(limits);
        self.budget.set_max_per_host(limits.per_host());
        self.quiet.set_limits(limits);
        let begins_lines = self.deadlines.set_limits(limits);
        for (index, conn) in self.connections.iter() {
            // There are at most `MOST_CONNECTIONS`.
            let index = u32::try_from(index).unwrap_or_default();
            if begins_lines && conn.framer.pending() > 0 {
                self.deadlines.begin_line(index, conn, now);
            } else {
                self.deadlines.arm(index, conn);
            }
            // Who waits for its rate is not timed meanwhile.
            if conn.readiness == Readiness::Slowed {
                self.deadlines.cancel(index);
            }
        }
    }

    /// Takes a client into all tables, unless its host has too many connections, or `watch` fails, which asks the
    /// kernel to tell of its events.
    pub(super) fn admit(
        &mut self,
        mut newcomer: Newcomer<T>,
        clock: &Clock,
        watch: impl FnOnce(&mut T, Key) -> io::Result<()>,
    ) -> Result<Key, TurnedAway> {
        let place = self.connections.vacant();
        let key = place.key();
        // Whose a proxy's connection is, its header says.
        if newcomer.opening != Opening::Proxied {
            self.budget.connect(key.index, newcomer.peer.host()).map_err(|_| TurnedAway::PerHost)?;
        }
        if let Err(error) = watch(&mut newcomer.stream, key) {
            self.budget.disconnect(key.index);
            return Err(TurnedAway::Unwatched(error));
        }
        place.insert(newcomer, clock.tick());
        self.receipts.open(key.index);
        self.accounts.open(key.index, clock.now());
        self.peak = self.peak.max(self.connections.len());
        self.arm(key);
        Ok(key)
    }

    /// A connection leaves every table; its descriptor is closed when what this gives is dropped. `None` if it has left
    /// already.
    pub(super) fn remove(&mut self, key: Key) -> Option<Connection<T>> {
        let conn = self.connections.remove(key)?;
        self.deadlines.cancel(key.index);
        self.budget.disconnect(key.index);
        if let Phase::Lingering { order, .. } = conn.phase {
            self.lingering.remove(conn.peer.host(), order);
        }
        Some(conn)
    }

    /// Bytes have come from a connection.
    #[inline]
    pub(super) fn note_bytes(&mut self, key: Key, now: Tick) -> Option<&mut Connection<T>> {
        let conn = self.connections.get_mut(key)?;
        conn.last_word = now;
        match &mut conn.phase {
            Phase::Lingering { order, spoke, .. } => {
                if !self.deadlines.are_final() && !conn.framer.is_broken() {
                    // A client that still speaks is the last to be closed for somebody else.
                    self.lingering.remove(conn.peer.host(), *order);
                    *order = self.lingering.insert(conn.peer.host(), key, now);
                }
                *spoke = Spoke::Since;
            }
            phase => *phase = Phase::Speaking,
        }
        Some(conn)
    }

    /// A connection's pending line has changed: the budget learns what it holds now.
    pub(super) fn hold(&mut self, key: Key) {
        if let Some(conn) = self.connections.get(key) {
            self.budget.hold(key.index, conn.framer.held());
        }
    }

    /// Keeps the start of a line. False if the budget has no room for it (P5): it is counted and not kept, until
    /// [`Self::pay_and_keep`].
    pub(super) fn keep(&mut self, key: Key, tail: &[u8], rules: &Rules) -> bool {
        let Some(conn) = self.connections.get_mut(key) else { return true };
        // Counted before somebody pays, so that a client that brings more than all others pays itself, and not the
        // others.
        self.budget.hold(key.index, conn.framer.capacity_with(tail.len(), rules));
        let has_room = self.budget.payer().is_none();
        if has_room {
            conn.framer.keep(tail, rules);
        }
        has_room
    }

    /// Whether more is counted than the budget has room for.
    pub(super) fn lack_memory(&self) -> bool {
        self.budget.payer().is_some()
    }

    /// Keeps the start of a line that [`Self::keep`] did not. As long as the budget has no room, the host that holds most
    /// pays (P5): `dropped` hears whose line went, and how long it was.
    #[cold]
    pub(super) fn pay_and_keep(&mut self, key: Key, tail: &[u8], rules: &Rules, mut dropped: impl FnMut(&Peer, u64)) {
        while let Some((payer, conn)) = self.budget.payer().and_then(|index| self.connections.at(index)) {
            let is_self = payer == key;
            let bytes = if is_self { conn.framer.skip_with(tail) } else { conn.framer.drop_pending() };
            dropped(&conn.peer, bytes);
            self.accounts.drop_lines(payer.index, 1);
            self.budget.hold(payer.index, 0);
            if is_self {
                return;
            }
        }
        if let Some(conn) = self.connections.get_mut(key) {
            conn.framer.keep(tail, rules);
        }
    }

    /// The budget has less room: as long as there is too little, the host that holds most pays.
    #[cfg(feature = "tls")]
    pub(super) fn pay(&mut self, mut dropped: impl FnMut(&Peer, u64)) {
        while let Some((payer, conn)) = self.budget.payer().and_then(|index| self.connections.at(index)) {
            dropped(&conn.peer, conn.framer.drop_pending());
            self.accounts.drop_lines(payer.index, 1);
            self.budget.hold(payer.index, 0);
        }
    }

    /// A pending line of a connection begins now.
    pub(super) fn begin_line(&mut self, key: Key, now: Tick) {
        if self.deadlines.has_line_timeout()
            && let Some(conn) = self.connections.get(key)
        {
            self.deadlines.begin_line(key.index, conn, now);
        }
    }

    /// Sets a connection's one deadline anew.
    pub(super) fn arm(&mut self, key: Key) {
        if let Some(conn) = self.connections.get(key) {
            self.deadlines.arm(key.index, conn);
        }
    }

    /// A connection of a proxy is this client's from now on. Gives the proxy; `None` if the client's host has as many
    /// connections as it may.
    pub(super) fn introduce(&mut self, key: Key, client: Peer, now: Tick) -> Option<Peer> {
        let conn = self.connections.get_mut(key)?;
        self.budget.connect(key.index, client.host()).ok()?;
        let proxy = std::mem::replace(&mut conn.peer, client);
        conn.opening = Opening::Fresh;
        conn.last_word = now;
        if let Phase::Lingering { order, .. } = &mut conn.phase {
            self.lingering.remove(proxy.host(), *order);
            *order = self.lingering.insert(client.host(), key, now);
            self.budget.linger(key.index);
        }
        self.arm(key);
        Some(proxy)
    }

    /// A connection that was slowed is to be read again, and is timed again. False if it has left.
    pub(super) fn speed_up(&mut self, key: Key, now: Tick) -> bool {
        let is_there = self.connections.speed_up(key, now);
        if is_there {
            self.arm(key);
        }
        is_there
    }

    /// We have said goodbye to a connection that was not told before: from now on it lingers.
    pub(super) fn linger(&mut self, key: Key, now: Tick) {
        let Some(conn) = self.connections.get_mut(key) else { return };
        let order = self.lingering.insert(conn.peer.host(), key, now);
        let spoke = if conn.phase == Phase::Speaking { Spoke::Before } else { Spoke::Never };
        conn.phase = Phase::Lingering { order, spoke, last_bytes: 0 };
        conn.last_word = now;
        self.budget.linger(key.index);
        self.arm(key);
    }

    /// A connection is owed a receipt once the sink has delivered all up to `position`. It has no deadline until then.
    pub(super) fn owe(&mut self, key: Key, position: u64) {
        self.receipts.owe(&mut self.connections, key, position);
        self.arm(key);
    }

    /// The client that gives way next, of a group (`--idle-close needed`).
    pub(super) fn first_quiet(&mut self, of: Group, now: Tick) -> Option<Key> {
        self.quiet.first(of, &self.connections, now)
    }

    /// Whether somebody lingers or was found quiet, whose place one more client can have.
    pub(super) fn have_room_to_give(&self) -> bool {
        !self.lingering.is_empty() || self.quiet.has_found()
    }

    /// Whether a host has more connections than its limit, those that linger too, of which some may have to go.
    pub(super) fn is_over_share(&self, host: Host) -> bool {
        self.budget.is_over(host)
    }

    /// After a crowd has left, what the tables took for it is given back. True if that was now.
    pub(super) fn forget_crowd(&mut self) -> bool {
        let is_due = self.connections.is_after_crowd();
        if is_due {
            self.connections.reset(self.expected);
            self.deadlines.reset(self.expected);
            self.budget.reset(self.expected);
            self.receipts.reset();
            self.accounts.reset();
            self.quiet.reset();
            self.headers.reset();
        }
        is_due
    }

    /// How many there are, and what they hold. The gauge of what waits for the sink is left at 0.
    pub(super) fn gauges(&self) -> Gauges {
        Gauges {
            active_connections: self.connections.len() as u64,
            lingering: self.lingering.len() as u64,
            pending_bytes: self.budget.used() as u64,
            peak_connections: self.peak as u64,
            hosts: self.budget.hosts() as u64,
            ..Gauges::default()
        }
    }

    /// Asserts the invariant, by a walk over everything.
    pub(super) fn check(&self) {
        self.budget.check();
        self.connections.check();
        self.deadlines.check(self.connections.len());
        self.lingering.check();
        self.receipts.check(&self.connections);
        let held: usize = self.connections.iter().map(|(_, conn)| conn.framer.held()).sum();
        assert_eq!(self.budget.used(), held, "1. the budget is exactly what is held (P5)");
        assert!(self.budget.used() <= self.budget.limit(), "2. pending lines stay within their share (P5)");
        let lingering = self.connections.iter().filter(|(_, conn)| conn.is_lingering()).count();
        assert_eq!(self.lingering.len(), lingering, "3. the list of goodbyes is exactly those who linger (P6)");
        let headless = |conn: &Connection<T>| conn.opening == Opening::Proxied;
        for (index, conn) in self.connections.iter() {
            let has_host = u32::try_from(index).is_ok_and(|id| self.budget.host_place(id).is_some());
            assert_ne!(has_host, headless(conn), "8. who counts for no host has not told whose it is (P25)");
        }
        let headless = self.connections.iter().filter(|(_, conn)| headless(conn)).count();
        assert!(self.headers.len() <= headless, "9. headers are kept of those that have not ended");
        for (index, conn) in self.connections.iter().filter(|(_, conn)| conn.is_owed()) {
            assert_eq!(conn.framer.held(), 0, "4. all lines of who waits for a receipt are in the sink (P2)");
            let is_timed = u32::try_from(index).is_ok_and(|id| self.deadlines.is_armed(id));
            assert!(!is_timed, "5. who waits for a receipt has no deadline (P6)");
        }
    }
}
