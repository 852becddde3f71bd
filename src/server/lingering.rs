//! Those that we have said goodbye to and that have not closed yet (P6): who has been silent longest comes first, of all
//! and of each host. Invariant: both orders hold the same connections.

use std::collections::BTreeMap;

use crate::engine::peer::Host;
use crate::net::Key;

/// The connections that linger.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    of_all: BTreeMap<u64, (Host, Key)>,
    of_host: BTreeMap<(Host, u64), Key>,
    next_order: u64,
}

impl Lingering {
    /// Puts one last, of all and of its host; the answer is the number that it is removed by.
    pub(super) fn insert(&mut self, host: Host, key: Key) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        self.of_all.insert(order, (host, key));
        self.of_host.insert((host, order), key);
        order
    }

    pub(super) fn remove(&mut self, order: u64) {
        if let Some((host, _)) = self.of_all.remove(&order) {
            self.of_host.remove(&(host, order));
        }
    }

    /// Who has been silent longest.
    pub(super) fn first(&self) -> Option<Key> {
        self.of_all.first_key_value().map(|(_, (_, key))| *key)
    }

    /// Who of this host has been silent longest.
    pub(super) fn first_of(&self, host: Host) -> Option<Key> {
        self.of_host.range((host, 0)..=(host, u64::MAX)).next().map(|(_, key)| *key)
    }

    pub(super) fn len(&self) -> usize {
        self.of_all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of_all.is_empty()
    }

    /// Asserts the invariant.
    pub(super) fn check(&self) {
        assert_eq!(self.of_all.len(), self.of_host.len(), "both orders hold the same");
        assert!(self.of_all.iter().all(|(order, (host, key))| self.of_host.get(&(*host, *order)) == Some(key)));
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
        let first = lingering.insert(one, key(1));
        lingering.insert(two, key(2));
        lingering.insert(one, key(3));
        assert_eq!((lingering.first(), lingering.first_of(two)), (Some(key(1)), Some(key(2))));
        lingering.remove(first);
        lingering.check();
        assert_eq!((lingering.first(), lingering.first_of(one)), (Some(key(2)), Some(key(3))));
        assert_eq!((lingering.len(), lingering.first_of(Host::Unix)), (2, None));
    }
}
