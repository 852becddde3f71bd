//! The memory budget (P5) and the connections of each host (P14): how many bytes each connection's pending line holds,
//! and each host's together. Invariant: `used` is the sum of what connections hold; it is more than `limit` only until
//! the connection that [`Budget::payer`] names has dropped its line; and the two rankings hold exactly the connections
//! and hosts that hold something.
//!
//! That connection is found without a walk over all: hosts are ranked by what they hold, and each host's connections by
//! what they hold, in heaps in which everybody's place is known.

use std::collections::HashMap;

use slab::Slab;

use super::peer::Host;
use super::ranking::{Rank, Ranking};

/// The host has as many connections as it may (P14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerHostFull;

/// One connection's part.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    rank: Rank<u32>,
    /// The place of its host in the table of hosts, plus one; 0: there is no connection. The highest bit is
    /// [`LINGERS`].
    host: u32,
}

/// The bit of [`Slot::host`] that says that the connection lingers: places of hosts need only 20 bits.
const LINGERS: u32 = 1 << 31;

/// Bytes of memory that the budget needs for each connection.
pub const SLOT_BYTES: usize = size_of::<Slot>();

impl Slot {
    fn is_lingering(self) -> bool {
        self.host & LINGERS != 0
    }
}

/// One host's part.
#[derive(Debug)]
struct HostEntry {
    host: Host,
    /// All its connections, those that linger too.
    connections: usize,
    lingering: usize,
    ranking: Ranking,
}

impl HostEntry {
    /// Whether it has as many connections as it may, those that linger not counted.
    fn is_full(&self, max_per_host: Option<usize>) -> bool {
        let is_limited = self.host != Host::Unix;
        is_limited && max_per_host.is_some_and(|limit| self.connections - self.lingering >= limit)
    }
}

/// Bytes that it needs besides for a connection with a pending line: a place in a ranking that has just doubled.
pub const RANKED_BYTES: usize = 2 * size_of::<u32>();
/// Bytes that it needs for a host at worst: its entry and rank, in tables that grow by half or more; a ranking of 8
/// numbers, as allocators round it; and a place in a hash map that has just doubled and is 7/16 full, beside the half
/// as large one that it was copied from.
pub const HOST_BYTES: usize =
    (size_of::<HostEntry>() + size_of::<Rank<usize>>()) * 3 / 2 + 48 + (size_of::<(Host, u32)>() + 1) * 24 / 7;

/// The memory budget, and the count of connections per host.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    max_per_host: Option<usize>,
    used: usize,
    slots: Vec<Slot>,
    hosts: Slab<HostEntry>,
    host_ranks: Vec<Rank<usize>>,
    host_ranking: Ranking,
    by_host: HashMap<Host, u32>,
}

impl Budget {
    /// Nobody holds anything; all together may hold `limit` bytes, and each host `max_per_host` connections. Room for
    /// `expected` connections is set aside, which takes no memory until it is used.
    #[must_use]
    pub fn new(limit: usize, max_per_host: Option<usize>, expected: usize) -> Self {
        Self {
            limit,
            max_per_host,
            used: 0,
            slots: Vec::with_capacity(expected),
            hosts: Slab::new(),
            host_ranks: Vec::new(),
            host_ranking: Ranking::default(),
            by_host: HashMap::new(),
        }
    }

    /// All together may hold `bytes` less from now on.
    pub fn lower(&mut self, bytes: usize) {
        self.limit = self.limit.saturating_sub(bytes);
    }

    /// All together may hold `bytes` more again.
    #[cfg(feature = "tls")]
    pub fn raise(&mut self, bytes: usize) {
        self.limit = self.limit.saturating_add(bytes);
    }

    /// Each host may have so many connections from now on. Who has more keeps them.
    pub fn set_max_per_host(&mut self, max_per_host: Option<usize>) {
        self.max_per_host = max_per_host;
    }

    /// All have left: gives back the memory of tables that were made for many.
    pub fn reset(&mut self, expected: usize) {
        *self = Self::new(self.limit, self.max_per_host, expected);
    }

    /// Counts connection `id`, which comes from `host`.
    ///
    /// # Errors
    /// [`PerHostFull`] when the host has as many as it may, those that linger not counted; `id` is not counted then.
    pub fn connect(&mut self, id: u32, host: Host) -> Result<(), PerHostFull> {
        self.disconnect(id);
        let place = match self.by_host.get(&host) {
            Some(place) => *place,
            None => self.add_host(host),
        };
        let Some(entry) = self.hosts.get_mut(place as usize) else { return Err(PerHostFull) };
        if entry.is_full(self.max_per_host) {
            return Err(PerHostFull);
        }
        entry.connections += 1;
        let needed = id as usize + 1;
        if self.slots.len() < needed {
            self.slots.resize(needed, Slot::default());
        }
        if let Some(slot) = self.slots.get_mut(id as usize) {
            *slot = Slot { host: place + 1, ..Slot::default() };
        }
        Ok(())
    }

    /// Connection `id` is gone, with all that it held.
    pub fn disconnect(&mut self, id: u32) {
        let Some(place) = self.host_of(id) else { return };
        self.hold(id, 0);
        let Some(slot) = self.slots.get_mut(id as usize) else { return };
        let was_lingering = std::mem::take(slot).is_lingering();
        let Some(entry) = self.hosts.get_mut(place as usize) else { return };
        entry.connections -= 1;
        entry.lingering -= usize::from(was_lingering);
        if entry.connections == 0 {
            let host = self.hosts.remove(place as usize).host;
            self.by_host.remove(&host);
        }
    }

    /// Connection `id` lingers: it no longer counts towards its host's limit, but its bytes do.
    pub fn linger(&mut self, id: u32) {
        let Some(place) = self.host_of(id) else { return };
        let Some(slot) = self.slots.get_mut(id as usize).filter(|slot| !slot.is_lingering()) else { return };
        slot.host |= LINGERS;
        if let Some(entry) = self.hosts.get_mut(place as usize) {
            entry.lingering += 1;
        }
    }

    /// Connection `id` holds `bytes` now, in place of what it held before; 4 GiB at most.
    pub fn hold(&mut self, id: u32, bytes: usize) {
        let Some(place) = self.host_of(id) else { return };
        let before = self.held_by(id);
        // A line has 1 GiB at most.
        let held = u32::try_from(bytes).unwrap_or(u32::MAX);
        let bytes = held as usize;
        if before == bytes {
            return;
        }
        self.used = self.used - before + bytes;
        let Some(entry) = self.hosts.get_mut(place as usize) else { return };
        let total = self.host_ranks.get(place as usize).map_or(0, |rank| rank.held) - before + bytes;
        entry.ranking.set(&mut SlotRanks(&mut self.slots), id, held);
        self.host_ranking.set(&mut HostRanks(&mut self.host_ranks), place, total);
    }

    /// If all together hold more than they may, the connection whose line has to be dropped: of the host that holds
    /// most, the connection that holds most.
    #[must_use]
    pub fn payer(&self) -> Option<u32> {
        if self.used <= self.limit {
            return None;
        }
        let place = self.host_ranking.first()?;
        self.hosts.get(place as usize)?.ranking.first()
    }

    /// What connection `id` holds.
    #[must_use]
    pub fn held_by(&self, id: u32) -> usize {
        self.slots.get(id as usize).map_or(0, |slot| slot.rank.held as usize)
    }

    /// What all hold together.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// What they may hold together.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Hosts with at least one connection.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// A number for the host of connection `id`, below [`Self::host_places`].
    #[must_use]
    pub fn host_place(&self, id: u32) -> Option<usize> {
        let slot = self.slots.get(id as usize)?;
        ((slot.host & !LINGERS) as usize).checked_sub(1)
    }

    /// How many numbers of hosts are, or were, in use.
    #[must_use]
    pub fn host_places(&self) -> usize {
        self.host_ranks.len()
    }

    /// Whether a host has as many connections as it may, those that linger not counted.
    #[must_use]
    pub fn is_full(&self, host: Host) -> bool {
        let entry = self.by_host.get(&host).and_then(|place| self.hosts.get(*place as usize));
        entry.is_some_and(|entry| entry.is_full(self.max_per_host))
    }

    /// Whether a host has more connections than its limit, those that linger too.
    #[must_use]
    pub fn is_over(&self, host: Host) -> bool {
        host != Host::Unix && self.max_per_host.is_some_and(|limit| self.connections_of(host) > limit)
    }

    /// Connections of one host, those that linger too.
    #[must_use]
    pub fn connections_of(&self, host: Host) -> usize {
        let place = self.by_host.get(&host).copied();
        place.and_then(|place| self.hosts.get(place as usize)).map_or(0, |entry| entry.connections)
    }

    /// Asserts the invariant, by a walk over everything.
    #[doc(hidden)]
    pub fn check(&self) {
        let held: usize = self.slots.iter().map(|slot| slot.rank.held as usize).sum();
        assert_eq!(held, self.used, "1. what is used is what is held");
        for (place, entry) in &self.hosts {
            let of_host = |slot: &&Slot| (slot.host & !LINGERS) as usize == place + 1;
            let held: usize = self.slots.iter().filter(of_host).map(|slot| slot.rank.held as usize).sum();
            assert_eq!(self.host_ranks[place].held, held, "2. a host holds what its connections hold");
            assert_eq!(self.slots.iter().filter(of_host).count(), entry.connections, "3. each is counted once");
            let lingering = self.slots.iter().filter(of_host).filter(|slot| slot.is_lingering()).count();
            assert_eq!(entry.lingering, lingering, "4. and each that lingers");
            entry.ranking.check(|id| self.slots[id as usize].rank);
        }
        self.host_ranking.check(|place| self.host_ranks[place as usize]);
        assert_eq!(self.hosts.len(), self.by_host.len(), "5. every host is found by its address");
    }

    fn host_of(&self, id: u32) -> Option<u32> {
        (self.slots.get(id as usize)?.host & !LINGERS).checked_sub(1)
    }

    fn add_host(&mut self, host: Host) -> u32 {
        let entry = HostEntry { host, connections: 0, lingering: 0, ranking: Ranking::default() };
        let place = self.hosts.insert(entry);
        if self.host_ranks.len() <= place {
            self.host_ranks.resize(place + 1, Rank::default());
        }
        // There are at most as many hosts as connections, which are numbered by 20 bits.
        let place = u32::try_from(place).unwrap_or_default();
        self.by_host.insert(host, place);
        place
    }
}

/// Where connections keep their rank.
struct SlotRanks<'a>(&'a mut Vec<Slot>);

impl super::ranking::Ranks for SlotRanks<'_> {
    type Held = u32;

    fn rank(&mut self, id: u32) -> Option<&mut Rank<u32>> {
        self.0.get_mut(id as usize).map(|slot| &mut slot.rank)
    }
}

/// Where hosts keep theirs.
struct HostRanks<'a>(&'a mut Vec<Rank<usize>>);

impl super::ranking::Ranks for HostRanks<'_> {
    type Held = usize;

    fn rank(&mut self, id: u32) -> Option<&mut Rank<usize>> {
        self.0.get_mut(id as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Host = Host::V4([127, 0, 0, 2]);
    const GOOD: Host = Host::V4([127, 0, 0, 3]);

    #[test]
    fn p5_the_longest_line_of_the_host_that_holds_most_pays() {
        let mut budget = Budget::new(1000, None, 0);
        for id in 0..9 {
            budget.connect(id, BAD).unwrap();
            budget.hold(id, 66 + id as usize);
        }
        budget.connect(9, GOOD).unwrap();
        budget.hold(9, 370);
        budget.check();
        assert_eq!(budget.payer(), None, "1000 of 1000");
        budget.hold(9, 371);
        assert_eq!(budget.payer(), Some(8), "the good host's one line is longer, but the bad host holds more");
        budget.disconnect(8);
        budget.check();
        assert_eq!(budget.payer(), None);
        budget.connect(8, Host::Unix).unwrap();
        budget.hold(8, 900);
        assert_eq!(budget.payer(), Some(8), "who brings most, and not all that are smaller");
    }

    #[test]
    fn p14_one_host_gets_its_number_of_connections_and_no_more() {
        let mut budget = Budget::new(1000, Some(2), 0);
        assert_eq!(budget.connect(0, BAD), Ok(()));
        assert_eq!(budget.connect(1, BAD), Ok(()));
        assert_eq!(budget.connect(2, BAD), Err(PerHostFull));
        assert_eq!(budget.connect(2, GOOD), Ok(()));
        budget.linger(1);
        assert_eq!(budget.connect(3, BAD), Ok(()), "who lingers does not count");
        budget.disconnect(1);
        assert_eq!(budget.connect(1, BAD), Err(PerHostFull));
        for id in 10..20 {
            assert_eq!(budget.connect(id, Host::Unix), Ok(()), "one host without a limit");
        }
        assert_eq!((budget.hosts(), budget.connections_of(BAD)), (3, 2));
        budget.check();
    }

    #[test]
    fn p14_a_host_is_over_its_number_only_with_those_that_linger() {
        let mut budget = Budget::new(1000, Some(2), 0);
        let mut come = |id, host| {
            budget.connect(id, host).unwrap();
            budget.linger(id);
            budget.is_over(host)
        };
        assert_eq!([0, 1, 2].map(|id| come(id, BAD)), [false, false, true], "two are its share");
        assert_eq!([3, 4, 5].map(|id| come(id, Host::Unix)), [false; 3], "one host without a limit");
        let mut unlimited = Budget::new(1000, None, 0);
        (0..9).for_each(|id| unlimited.connect(id, BAD).unwrap());
        assert!(!unlimited.is_over(BAD));
    }

    #[test]
    fn each_host_has_a_number_of_its_own_also_for_those_that_linger() {
        let mut budget = Budget::new(1000, None, 0);
        for (id, host) in [BAD, GOOD, BAD, Host::Unix].into_iter().enumerate() {
            budget.connect(u32::try_from(id).unwrap(), host).unwrap();
        }
        budget.linger(2);
        assert_eq!([0, 1, 2, 3].map(|id| budget.host_place(id)), [Some(0), Some(1), Some(0), Some(2)]);
        assert_eq!((budget.host_places(), budget.host_place(4)), (3, None), "nobody has the place 4");
        budget.disconnect(1);
        assert_eq!((budget.host_places(), budget.host_place(1)), (3, None), "its host's number waits for another");
    }

    #[test]
    fn p5_all_hold_less_once_it_is_lowered_and_nothing_once_all_have_left() {
        let mut budget = Budget::new(1000, None, 0);
        budget.connect(0, BAD).unwrap();
        budget.lower(300);
        budget.hold(0, 700);
        assert_eq!((budget.used(), budget.limit(), budget.payer()), (700, 700, None));
        budget.hold(0, 701);
        assert_eq!(budget.payer(), Some(0));
        budget.reset(0);
        budget.check();
        assert_eq!((budget.used(), budget.limit(), budget.hosts(), budget.host_places()), (0, 700, 0, 0));
    }
}
