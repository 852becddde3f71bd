//! Those that we have said goodbye to and that have not closed yet (P6): who has been silent longest comes first, of all
//! and of each host. Invariant: both orders hold the same connections.

use std::collections::BTreeMap;

use crate::engine::peer::Host;
use crate::net::Key;

/// The connections that linger. Each stands in one map twice, so that its code is there once: among all, as of no host,
/// and among those of its host.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    by_silence: BTreeMap<(Option<Host>, u64), Key>,
    next_order: u64,
}

impl Lingering {
    /// Puts one last, of all and of its host; the answer is the number that it is removed by.
    pub(super) fn insert(&mut self, host: Host, key: Key) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        for group in [None, Some(host)] {
            self.by_silence.insert((group, order), key);
        }
        order
    }

    pub(super) fn remove(&mut self, host: Host, order: u64) {
        for group in [None, Some(host)] {
            self.by_silence.remove(&(group, order));
        }
    }

    /// Who has been silent longest, of a host or of all.
    pub(super) fn first(&self, group: Option<Host>) -> Option<Key> {
        self.by_silence.range((group, 0)..=(group, u64::MAX)).next().map(|(_, key)| *key)
    }

    pub(super) fn len(&self) -> usize {
        self.by_silence.len() / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_silence.is_empty()
    }

    /// Asserts the invariant.
    pub(super) fn check(&self) {
        let (of_all, of_hosts): (Vec<_>, Vec<_>) = self.by_silence.iter().partition(|((group, _), _)| group.is_none());
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
        let first = lingering.insert(one, key(1));
        lingering.insert(two, key(2));
        lingering.insert(one, key(3));
        assert_eq!((lingering.first(None), lingering.first(Some(two))), (Some(key(1)), Some(key(2))));
        lingering.remove(one, first);
        lingering.check();
        assert_eq!((lingering.first(None), lingering.first(Some(one))), (Some(key(2)), Some(key(3))));
        // A host that has none, right before one that has: its search must end where the other begins.
        assert_eq!((lingering.len(), lingering.first(Some(Host::V4([127, 0, 0, 0])))), (2, None));
    }
}
