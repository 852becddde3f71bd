//! The connections that linger: we have said goodbye, and the client has not closed yet (P6). They are kept in the
//! order in which they fell silent, longest first, of all and of each host. Invariant: both orders hold the same
//! connections.

use std::collections::BTreeMap;

use crate::engine::peer::Host;
use crate::engine::wheel::Tick;
use crate::net::Key;

/// Connections among which one is the first to give way. One map holds the orders of all groups, so that the code of a
/// B-tree is in the binary once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    All,
    /// Those of one host.
    Of(Host),
    /// Those with an unfinished line, for whoever needs memory.
    Holding,
}

/// Bits of an order that number those of one tick; those above them are the tick.
const NUMBER_BITS: u32 = 24;

/// The connections that linger. Each is in the map twice, among all and among its host's.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    by_silence: BTreeMap<(Group, u64), Key>,
    next_order: u64,
}

impl Lingering {
    /// Puts a connection last, of all and of its host. The answer is the number by which it is removed.
    #[inline(never)] // one copy, for size
    pub(super) fn insert(&mut self, host: Host, key: Key, now: Tick) -> u64 {
        let order = self.next_order.max(now.0 << NUMBER_BITS);
        self.next_order = order + 1;
        for group in [Group::All, Group::Of(host)] {
            self.by_silence.insert((group, order), key);
        }
        order
    }

    /// When the connection with this number was put in.
    pub(super) fn since(order: u64) -> Tick {
        Tick(order >> NUMBER_BITS)
    }

    #[inline(never)] // one copy, for size
    pub(super) fn remove(&mut self, host: Host, order: u64) {
        for group in [Group::All, Group::Of(host)] {
            self.by_silence.remove(&(group, order));
        }
    }

    /// The connection that has been silent longest.
    pub(super) fn first(&self, of: Group) -> Option<Key> {
        self.by_silence.range((of, 0)..=(of, u64::MAX)).next().map(|(_, key)| *key)
    }

    pub(super) fn len(&self) -> usize {
        self.by_silence.len() / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_silence.is_empty()
    }

    /// Asserts the invariant.
    pub(super) fn check(&self) {
        let is_of_all = |((group, _), _): &(&(Group, u64), &Key)| *group == Group::All;
        let (of_all, of_hosts): (Vec<_>, Vec<_>) = self.by_silence.iter().partition(is_of_all);
        assert_eq!(of_all.len(), of_hosts.len(), "both orders hold the same");
        let is_there =
            |order: u64, key: &Key| of_all.iter().any(|((_, other), found)| *other == order && *found == key);
        assert!(of_hosts.iter().all(|((_, order), key)| is_there(*order, key)), "both orders hold the same");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p6_the_first_is_who_was_put_in_first_of_all_and_of_its_host() {
        let (one, two) = (Host::V4([127, 0, 0, 1]), Host::V4([127, 0, 0, 2]));
        let key = |index| Key::new(index, 0);
        let mut lingering = Lingering::default();
        assert!(lingering.is_empty());
        let first = lingering.insert(one, key(1), Tick(7));
        assert!(!lingering.is_empty());
        lingering.insert(two, key(2), Tick(7));
        let last = lingering.insert(one, key(3), Tick(9));
        assert_eq!((Lingering::since(first), Lingering::since(last)), (Tick(7), Tick(9)));
        let (of_one, of_two) = (Group::Of(one), Group::Of(two));
        assert_eq!((lingering.first(Group::All), lingering.first(of_two)), (Some(key(1)), Some(key(2))));
        lingering.remove(one, first);
        lingering.check();
        assert_eq!((lingering.first(Group::All), lingering.first(of_one)), (Some(key(2)), Some(key(3))));
        // A host that has none, right before one that has: its search must end where the other begins.
        assert_eq!((lingering.len(), lingering.first(Group::Of(Host::V4([127, 0, 0, 0])))), (2, None));
    }
}
