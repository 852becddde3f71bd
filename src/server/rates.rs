//! Hosts that are slowed as they send more than they may (`--rate`, P26): what each has left, who of theirs waits to be read,
//! and when. Invariant: a host with somebody who waits is on the wheel, so nobody waits for ever; a connection waits exactly
//! when its readiness says so; and a host is forgotten only when it has all that it may have, or there are too many.

use std::collections::{HashMap, VecDeque};

use slab::Slab;

use super::Server;
use super::connection::{Connection, Readiness};
use super::life::Next;
use crate::config::limits::Limits;
use crate::config::listen::{Listen, ListenOptions};
use crate::config::rate::Rate;
use crate::config::text::as_text;
use crate::engine::gap::Gap;
use crate::engine::peer::{Host, Peer};
use crate::engine::rate::{Bucket, Limit};
use crate::engine::sniff::Opening;
use crate::engine::wheel::{Tick, TimerWheel};
use crate::net::{Key, Net};
use crate::sink::Sink;

/// A host that did not have to wait for so long keeps to its rate again: ten seconds. Less, and who sends just a little too
/// much would begin and end all the time.
const CALM_TICKS: u64 = 1000;
/// Hosts of which something is known before it is looked who can be forgotten.
const FEW: usize = 64;

/// One host.
struct Entry {
    host: Host,
    bucket: Bucket,
    /// Connections that are to be read, the first that was held up first.
    waiting: VecDeque<Key>,
    /// Since when it is slowed, and when one of its connections waited the last time.
    slowed: Option<(Tick, Tick)>,
    /// Datagrams of which the output has no mark yet, and who sent the last of them.
    lost: Lost,
    /// Datagrams that were dropped since it is slowed.
    dropped: u64,
}

impl Entry {
    /// What it cost the host to be slowed, if it is: ticks; or, where they are dropped, datagrams.
    fn cost(&self, now: Tick, is_udp: bool) -> Option<u64> {
        let (since, last) = self.slowed?;
        let last = if self.waiting.is_empty() { last } else { now };
        Some(if is_udp { self.dropped } else { last.0.saturating_sub(since.0) })
    }
}

/// What of a peer is not in the output, and not yet marked.
type Lost = Option<(Peer, Gap)>;

/// Bytes of memory that a connection may need here besides: two hosts, each with a place in a map that has just doubled,
/// one on the wheel and one among those with a mark to come, and itself in a list that has just doubled.
#[cfg(feature = "cli")]
pub(super) const BYTES_EACH: usize = 2
    * ((size_of::<Entry>() + size_of::<Lost>()) * 2 + (size_of::<(Host, u32)>() + 1) * 24 / 7 + 32)
    + 2 * size_of::<Key>();

/// What is known of the hosts of one listener.
struct Table {
    limit: Limit,
    /// The rate as people write it.
    shown: String,
    /// Its hosts send datagrams, which do not wait.
    is_udp: bool,
    hosts: HashMap<Host, u32>,
    entries: Slab<Entry>,
    wheel: TimerWheel,
    /// With so many hosts it is looked who can be forgotten.
    look_at: usize,
    most: usize,
}

/// The hosts of all listeners that have a rate.
#[derive(Default)]
pub(super) struct Rates {
    /// By the listener's number.
    tables: Vec<Option<Box<Table>>>,
    are_on: bool,
    /// What hosts have lost that are forgotten, or keep to their rate again.
    lost: Vec<(Peer, Gap)>,
}

/// How much may be read of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Any,
    Bytes(usize),
    Nothing,
}

/// What a server hears of a host when time has passed.
enum Woken {
    /// This connection may be read; if it has left, the next is asked for.
    Reads(Key),
    /// A host keeps to its rate again, and what it cost.
    Calm(Host, u64),
}

/// A rate as people write it.
fn shown(options: &ListenOptions) -> String {
    let mut shown = as_text(&options.rate);
    let unit = match options.rate {
        Rate::Lines(1) => " line/s",
        Rate::Lines(_) => " lines/s",
        _ => "/s",
    };
    shown.push_str(unit);
    shown
}

/// With so many hosts at most, those who need not be known are forgotten.
fn most_hosts(limits: &Limits) -> usize {
    limits.max_connections.saturating_mul(2)
}

impl Table {
    fn new(limit: Limit, listen: &Listen, most: usize, now: Tick) -> Self {
        let wheel = TimerWheel::new(now, 0);
        let (shown, is_udp) = (shown(&listen.options), listen.at.is_udp());
        Self { limit, shown, is_udp, hosts: HashMap::new(), entries: Slab::new(), wheel, look_at: FEW, most }
    }

    /// Another rate, of the same unit, holds from now on. What time brought until now, the old one says.
    fn set_limit(&mut self, limit: Limit, options: &ListenOptions, now: Tick) {
        for (id, entry) in &mut self.entries {
            entry.bucket.fill(&self.limit, now);
            if !entry.waiting.is_empty() {
                let at = now.saturating_add(entry.bucket.ticks_to_token(&limit));
                self.wheel.arm(u32::try_from(id).unwrap_or_default(), at);
            }
        }
        (self.limit, self.shown) = (limit, shown(options));
    }

    /// The host's entry, with what time has brought.
    #[inline(never)] // one copy, for size
    fn entry(&mut self, host: Host, now: Tick, lost: &mut Vec<(Peer, Gap)>) -> Option<(u32, &mut Entry)> {
        let id = match self.hosts.get(&host) {
            Some(id) => *id,
            None => self.add(host, now, lost),
        };
        let entry = self.entries.get_mut(id as usize)?;
        entry.bucket.fill(&self.limit, now);
        Some((id, entry))
    }

    fn add(&mut self, host: Host, now: Tick, lost: &mut Vec<(Peer, Gap)>) -> u32 {
        if self.entries.len() >= self.look_at {
            self.forget(now, None);
            // Hosts that come and go faster than their buckets fill: all begin anew, but for those who wait.
            if self.entries.len() >= self.most {
                self.forget(now, Some(lost));
            }
            self.look_at = (2 * self.entries.len()).clamp(FEW, self.most.max(FEW));
        }
        let bucket = self.limit.full(now);
        let id =
            self.entries.insert(Entry { host, bucket, waiting: VecDeque::new(), slowed: None, lost: None, dropped: 0 });
        let id = u32::try_from(id).unwrap_or_default();
        self.hosts.insert(host, id);
        id
    }

    /// Forgets hosts of which nothing has to be known; or, if what they have lost is asked for, all but those of which somebody
    /// waits.
    #[inline(never)] // one copy, for size
    fn forget(&mut self, now: Tick, mut all: Option<&mut Vec<(Peer, Gap)>>) {
        let Self { limit, hosts, entries, wheel, .. } = self;
        entries.retain(|id, entry| {
            entry.bucket.fill(limit, now);
            let is_known = entry.slowed.is_some() || !entry.bucket.is_full(limit);
            let stays = !entry.waiting.is_empty() || (is_known && all.is_none());
            if !stays {
                if let Some(lost) = &mut all {
                    lost.extend(entry.lost);
                }
                hosts.remove(&entry.host);
                wheel.cancel(u32::try_from(id).unwrap_or_default());
            }
            stays
        });
    }

    /// A connection of the host is not read until there are tokens. True if the host was not slowed before.
    fn wait(&mut self, host: Host, key: Key, now: Tick) -> bool {
        let limit = self.limit;
        // Who waits here has a connection, and loses nothing.
        let Some((id, entry)) = self.entry(host, now, &mut Vec::new()) else { return false };
        let since = entry.slowed.map(|(since, _)| since);
        entry.slowed = Some((since.unwrap_or(now), now));
        entry.waiting.push_back(key);
        let at = now.saturating_add(entry.bucket.ticks_to_token(&limit));
        self.wheel.arm(id, at);
        since.is_none()
    }

    /// Acts on each host whose time has come. `woken` answers whether that was of use.
    fn wake(&mut self, now: Tick, lost: &mut Vec<(Peer, Gap)>, woken: &mut dyn FnMut(Woken) -> bool) {
        while let Some(id) = self.wheel.pop_due(now) {
            let Some(entry) = self.entries.get_mut(id as usize) else { continue };
            entry.bucket.fill(&self.limit, now);
            let mut reads = if entry.bucket.room(&self.limit).is_some() { entry.bucket.reads(&self.limit) } else { 0 };
            while reads > 0
                && let Some(key) = entry.waiting.pop_front()
            {
                let is_read = woken(Woken::Reads(key));
                reads -= usize::from(is_read);
                // It was held up until now.
                if let Some((_, last)) = entry.slowed.as_mut().filter(|_| is_read) {
                    *last = now;
                }
            }
            let Some((_, last)) = entry.slowed else { continue };
            let calm = last.saturating_add(CALM_TICKS);
            if !entry.waiting.is_empty() {
                // Those who come first may leave something for the others.
                self.wheel.arm(id, now.saturating_add(entry.bucket.ticks_to_token(&self.limit)));
            } else if now < calm {
                self.wheel.arm(id, calm);
            } else {
                let cost = entry.cost(now, self.is_udp).unwrap_or_default();
                entry.slowed = None;
                lost.extend(entry.lost.take());
                woken(Woken::Calm(entry.host, cost));
            }
        }
    }
}

impl Rates {
    /// A listener with these options is added; nobody has come yet.
    #[inline(never)] // for size
    pub(super) fn add(&mut self, listen: &Listen, limits: &Limits, now: Tick) {
        let limit = Limit::new(listen.options.rate, listen.options.burst);
        self.are_on |= limit.is_some();
        self.tables.push(limit.map(|limit| Box::new(Table::new(limit, listen, most_hosts(limits), now))));
    }

    /// Other limits hold from now on.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.tables.iter_mut().flatten().for_each(|table| table.most = most_hosts(limits));
    }

    /// The listener with this number may have another rate from now on (P27). Where it is of the same unit, hosts keep what
    /// they owe; else all begin anew, and what was known of them is given back.
    #[inline(never)] // for size
    fn set_options(&mut self, number: usize, listen: &Listen, limits: &Limits, now: Tick) -> Option<Box<Table>> {
        // At the end there are none any more.
        let slot = self.tables.get_mut(number)?;
        let limit = Limit::new(listen.options.rate, listen.options.burst);
        let before = match (slot.as_deref_mut(), limit) {
            (Some(table), Some(limit)) if table.limit.is_like(&limit) => {
                table.set_limit(limit, &listen.options, now);
                None
            }
            _ => {
                let table = limit.map(|limit| Box::new(Table::new(limit, listen, most_hosts(limits), now)));
                std::mem::replace(slot, table)
            }
        };
        self.are_on = self.tables.iter().any(Option::is_some);
        before
    }

    /// Whether there is any rate to keep to.
    #[inline]
    pub(super) fn are_on(&self) -> bool {
        self.are_on
    }

    /// What is known of a host at a listener, if that has a rate.
    fn entry(&mut self, listener: u8, host: Host, now: Tick) -> Option<(Limit, &mut Entry)> {
        let table = self.tables.get_mut(usize::from(listener))?.as_deref_mut()?;
        let limit = table.limit;
        Some((limit, table.entry(host, now, &mut self.lost)?.1))
    }

    fn room(&mut self, listener: u8, host: Host, now: Tick) -> Room {
        let Some((limit, entry)) = self.entry(listener, host, now) else { return Room::Any };
        entry.bucket.room(&limit).map_or(Room::Nothing, Room::Bytes)
    }

    fn take(&mut self, listener: u8, host: Host, [lines, bytes]: [u64; 2], now: Tick) {
        if let Some((limit, entry)) = self.entry(listener, host, now) {
            entry.bucket.take(&limit, lines, bytes);
        }
    }

    /// Whether marks are to come of what hosts have lost.
    pub(super) fn have_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// When somebody's time has come.
    pub(super) fn next(&self) -> Option<Tick> {
        self.tables.iter().flatten().filter_map(|table| table.wheel.next_deadline()).min()
    }

    /// Everybody has left: what a crowd took is given back, but for what hosts owe.
    pub(super) fn forget_crowd(&mut self, now: Tick) {
        for table in self.tables.iter_mut().flatten() {
            table.forget(now, None);
            if table.entries.is_empty() {
                (table.hosts, table.entries) = (HashMap::new(), Slab::new());
            }
        }
    }

    /// Asserts the invariant. `is_waiting`: whether a connection is there and waits; so many do.
    pub(super) fn check(&self, waiting: usize, is_waiting: impl Fn(Key) -> bool) {
        let mut found = 0;
        for table in self.tables.iter().flatten() {
            table.wheel.check();
            assert_eq!(table.hosts.len(), table.entries.len(), "every host is found by its address");
            for (id, entry) in &table.entries {
                found += entry.waiting.iter().filter(|key| is_waiting(**key)).count();
                let is_armed = u32::try_from(id).is_ok_and(|id| table.wheel.deadline_of(id).is_some());
                assert_eq!(entry.slowed.is_some(), is_armed, "who is slowed is on the wheel");
                assert!(entry.slowed.is_some() || entry.waiting.is_empty(), "nobody waits of who is not slowed");
            }
        }
        assert_eq!(found, waiting, "who waits is waited for once (P26)");
    }
}

/// Of UDP.
#[cfg(feature = "udp")]
impl Rates {
    /// Whether a datagram of the host may be taken now: then what it has lost before, which is marked first.
    pub(super) fn let_in(&mut self, listener: u8, host: Host, now: Tick) -> Option<Lost> {
        let Some((limit, entry)) = self.entry(listener, host, now) else { return Some(None) };
        entry.bucket.room(&limit).map(|_| entry.lost.take())
    }

    /// A datagram is dropped. Gives the rate if the host kept to it before.
    pub(super) fn keep_out(&mut self, listener: u8, peer: &Peer, gap: Gap, now: Tick) -> Option<String> {
        let table = self.tables.get_mut(usize::from(listener))?.as_deref_mut()?;
        let (id, entry) = table.entry(peer.host(), now, &mut self.lost)?;
        let (lines, bytes) = entry.lost.map_or((0, 0), |(_, lost)| (lost.lines, lost.bytes));
        let (lines, bytes) = (gap.lines.saturating_add(lines), gap.bytes.saturating_add(bytes));
        entry.lost = Some((*peer, Gap { lines, bytes, ..gap }));
        let since = entry.slowed.map(|(since, _)| since);
        entry.slowed = Some((since.unwrap_or(now), now));
        if since.is_some() {
            entry.dropped = entry.dropped.saturating_add(1);
            return None;
        }
        entry.dropped = 1;
        table.wheel.arm(id, now.saturating_add(CALM_TICKS));
        Some(table.shown.clone())
    }

    /// The next of which a mark is to come.
    pub(super) fn next_lost(&mut self) -> Option<(Peer, Gap)> {
        self.lost.pop()
    }

    /// The sink had no room for that.
    pub(super) fn put_back(&mut self, peer: Peer, gap: Gap) {
        self.lost.push((peer, gap));
    }
}

impl<S: Sink, N: Net> Server<S, N> {
    /// Reads as much of a connection as its host may send.
    #[inline(never)] // most servers have no rates
    pub(super) fn read_at_rate(&mut self, key: Key) -> Next {
        let Some(conn) = self.clients.connections.get(key) else { return Next::Wait };
        let (listener, host, now) = (conn.listener, conn.peer.host(), self.clock.tick());
        // Who has said all, who has but a second, and who is not known yet.
        let is_final = self.clients.deadlines.are_final() || conn.framer.is_broken();
        let is_last = conn.is_owed() || (conn.is_lingering() && is_final);
        let is_headed = conn.opening == Opening::Proxied;
        let is_free = is_last || is_headed;
        let room = if is_free { Room::Any } else { self.rates.room(listener, host, now) };
        let most = match room {
            Room::Any => usize::MAX,
            Room::Bytes(bytes) => bytes,
            Room::Nothing => return Next::Slowed,
        };
        let most = self.read_buffer.limit(most);
        let sums = |server: &Self| [server.counters.lines + server.counters.skipped_lines, server.counters.bytes];
        let before = sums(self);
        // What is behind a header is read when it is known whose it is, and that its host may send it.
        let next = if is_headed { self.read_once(key, true) } else { self.read_freely(key) };
        self.read_buffer.limit_again(most);
        let [lines, bytes] = sums(self);
        // A header may have told meanwhile whose these were.
        let host = self.clients.connections.get(key).map_or(host, |conn| conn.peer.host());
        self.rates.take(listener, host, [lines - before[0], bytes - before[1]], now);
        next
    }

    /// Lines and bytes that came without a read count too, or a client could begin a connection for each.
    pub(super) fn charge(&mut self, listener: u8, host: Host, lines_and_bytes: [u64; 2]) {
        self.rates.take(listener, host, lines_and_bytes, self.clock.tick());
    }

    /// A connection that is on no queue waits until its host may send more. It is not timed meanwhile: it is our silence.
    pub(super) fn slow_down(&mut self, key: Key) {
        let now = self.clock.tick();
        let Some(conn) = self.clients.connections.get_mut(key) else { return };
        if std::mem::replace(&mut conn.readiness, Readiness::Slowed) == Readiness::Slowed {
            return;
        }
        self.clients.deadlines.cancel(key.index);
        let (listener, host) = (conn.listener, conn.peer.host());
        if let Some(table) = self.rates.tables.get_mut(usize::from(listener)).and_then(Option::as_deref_mut)
            && table.wait(host, key, now)
        {
            let shown = table.shown.clone();
            self.tally().slowed(host, &shown);
        }
    }

    /// Whoever has waited long enough is to be read.
    pub(super) fn wake_slowed(&mut self) {
        let now = self.clock.tick();
        let mut rates = std::mem::take(&mut self.rates);
        let Rates { tables, lost, .. } = &mut rates;
        for table in tables.iter_mut().flatten() {
            let (shown, is_udp) = (std::mem::take(&mut table.shown), table.is_udp);
            table.wake(now, lost, &mut |woken| match woken {
                Woken::Reads(key) => self.clients.speed_up(key, now),
                Woken::Calm(host, cost) => {
                    self.tally().not_slowed(host, format_args!("keeps to {shown} again"), cost, is_udp);
                    true
                }
            });
            table.shown = shown;
        }
        self.rates = rates;
    }

    /// The listener with this number may have another rate from now on.
    pub(super) fn set_rate(&mut self, number: usize, listen: &Listen) {
        if let Some(table) = self.rates.set_options(number, listen, &self.limits, self.clock.tick()) {
            self.free(&table, true);
        }
    }

    /// The end begins: no rate holds any more, and all who waited are to be read.
    pub(super) fn end_rates(&mut self) {
        let rates = std::mem::take(&mut self.rates);
        self.rates.lost = rates.lost;
        rates.tables.iter().flatten().for_each(|table| self.free(table, false));
    }

    /// Nothing is known of these hosts any more, and all who waited are to be read.
    #[inline(never)] // for size
    fn free(&mut self, table: &Table, is_said: bool) {
        let now = self.clock.tick();
        for (_, entry) in &table.entries {
            self.rates.lost.extend(entry.lost);
            if let Some(cost) = entry.cost(now, table.is_udp).filter(|_| is_said) {
                let why = format_args!("is free of {}", table.shown);
                self.tally().not_slowed(entry.host, why, cost, table.is_udp);
            }
            for key in &entry.waiting {
                self.clients.speed_up(*key, now);
            }
        }
    }

    /// Asserts that who waits is waited for.
    pub(super) fn check_rates(&self) {
        let is_slowed = |conn: &Connection<_>| conn.readiness == Readiness::Slowed;
        let connections = &self.clients.connections;
        let slowed = connections.iter().filter(|(_, conn)| is_slowed(conn)).count();
        self.rates.check(slowed, |key| connections.get(key).is_some_and(is_slowed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p26_the_time_that_a_host_was_slowed_has_its_last_pause_in_it() {
        let mut listen: Listen = "127.0.0.1:0".parse().unwrap();
        (listen.options.rate, listen.options.burst) = (Rate::Lines(1), Rate::Lines(1));
        let limit = Limit::new(listen.options.rate, listen.options.burst).unwrap();
        let mut table = Table::new(limit, &listen, 10, Tick(0));
        let (host, key) = (Host::V4([127, 0, 0, 1]), Key { index: 0, generation: 0 });
        // It owes three lines more than it has: 300 ticks until it has none, and 100 for one.
        table.entry(host, Tick(0), &mut Vec::new()).unwrap().1.bucket.take(&limit, 4, 0);
        assert!(table.wait(host, key, Tick(0)));
        let (mut reads, mut calm) = (Vec::new(), None);
        for now in (0..5000).map(Tick) {
            table.wake(now, &mut Vec::new(), &mut |woken| {
                match woken {
                    Woken::Reads(_) => reads.push(now),
                    Woken::Calm(_, ticks) => calm = Some((now, ticks)),
                }
                true
            });
        }
        assert_eq!(reads, [Tick(400)]);
        assert_eq!(calm, Some((Tick(400 + CALM_TICKS), 400)), "when, and how long it was");
    }
}
