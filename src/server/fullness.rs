//! How full the server is, and what an operator hears of it (P10): once when it gets full, once when there is room
//! again, and once at 80 %. Invariant: a count that wavers around one of these says nothing twice.

use crate::engine::peer::Host;

/// Clients that come in one by one while others wait, each when somebody has given way, before more than one gives way at
/// once: how many wait, the kernel does not tell.
const ONE_BY_ONE: usize = 4;
/// The most places that are made at once beyond those that are needed for certain.
const MOST_AHEAD: usize = 64;

/// What was said about how full the server is, and what is still to be done about it.
#[derive(Default)]
pub(super) struct Fullness {
    is_full: bool,
    is_nearly_full: bool,
    /// Hosts over their share, as the sink had no room for what one of theirs that lingers may still send (P14).
    over_share: Vec<Host>,
    /// Clients that have come in since all places were taken, while others waited.
    crowd: usize,
    /// So many were in when the limit was lowered, less those who have left since: none of them has to go for that.
    staying: usize,
}

/// How full the server is at one moment.
#[derive(Clone, Copy)]
pub(super) struct Occupancy {
    pub(super) connections: usize,
    pub(super) max_connections: usize,
    /// Whether the next client would have to wait, or be rejected.
    pub(super) is_full: bool,
    /// Whether a client may be waiting; it counts only if it was full.
    pub(super) is_waited_for: bool,
}

/// What an operator is to hear of when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Full,
    /// There is room again, and nobody waits any more.
    Room,
    /// 80 % of the connections are in use.
    NearlyFull,
}

impl Fullness {
    /// Whether it was full the last time.
    pub(super) fn was_full(&self) -> bool {
        self.is_full
    }

    /// The limit is lowered while so many are in.
    pub(super) fn let_stay(&mut self, connections: usize) {
        self.staying = connections;
    }

    /// So many are in now.
    pub(super) fn note_connections(&mut self, connections: usize) {
        self.staying = self.staying.min(connections);
    }

    /// How many may be in before somebody has to go.
    pub(super) fn most(&self, max_connections: usize) -> usize {
        self.staying.max(max_connections)
    }

    /// Whether so many connections are no news, and nothing was said that would have to be taken back: nearly always.
    #[inline]
    pub(super) fn is_calm(&self, connections: usize, max_connections: usize) -> bool {
        !self.is_full && !self.is_nearly_full && !is_nearly(connections, max_connections)
    }

    /// What has changed since the last time.
    pub(super) fn changes(&mut self, now: Occupancy) -> impl Iterator<Item = Change> + use<> {
        let (len, limit) = (now.connections, now.max_connections);
        let mut changes = [None; 2];
        if now.is_full && !self.is_full {
            self.is_full = true;
            changes[0] = Some(Change::Full);
        } else if self.is_full && !now.is_full && !now.is_waited_for {
            // Not before nobody waits: while clients wait, there is room for a moment each time that one leaves.
            self.is_full = false;
            changes[0] = Some(Change::Room);
        }
        // It has to fall below 70 % before this is said again: a count that wavers around 80 % says it once.
        if !self.is_nearly_full && len < limit && is_nearly(len, limit) && limit >= 5 {
            self.is_nearly_full = true;
            changes[1] = Some(Change::NearlyFull);
        } else if self.is_nearly_full && len.saturating_mul(10) < limit.saturating_mul(7) {
            self.is_nearly_full = false;
        }
        changes.into_iter().flatten()
    }

    /// How many places are to be made besides those that are needed for certain: while a crowd waits, as many as came in
    /// before, so that it does not wait a second for each who gives way.
    pub(super) fn places_ahead(&self) -> usize {
        self.crowd.saturating_sub(ONE_BY_ONE).min(MOST_AHEAD)
    }

    /// A client has come in.
    pub(super) fn note_newcomer(&mut self) {
        self.crowd += usize::from(self.is_full);
    }

    /// Whether somebody has come in so.
    pub(super) fn has_crowd(&self) -> bool {
        self.crowd > 0
    }

    /// Nobody waits any more.
    pub(super) fn forget_crowd(&mut self) {
        self.crowd = 0;
    }

    /// A host has more than its share, and could not be held to it yet.
    pub(super) fn postpone(&mut self, host: Host) {
        if !self.over_share.contains(&host) {
            self.over_share.push(host);
        }
    }

    /// The hosts that were postponed, to be tried again.
    pub(super) fn take_postponed(&mut self) -> Vec<Host> {
        std::mem::take(&mut self.over_share)
    }
}

/// Four of five places are taken.
#[inline]
fn is_nearly(connections: usize, max_connections: usize) -> bool {
    connections.saturating_mul(5) >= max_connections.saturating_mul(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p10_what_is_calm_has_nothing_to_tell() {
        let mut is_told = [false; 2];
        for (limit, connections) in (0..40).flat_map(|limit| (0..=limit + 1).map(move |len| (limit, len))) {
            let mut fullness = Fullness::default();
            let is_calm = fullness.is_calm(connections, limit);
            let is_full = connections >= limit;
            let now = Occupancy { connections, max_connections: limit, is_full, is_waited_for: false };
            let count = fullness.changes(now).count();
            assert!(!is_calm || count == 0, "{connections} of {limit}");
            assert!(count == 0 || !fullness.is_calm(0, limit), "what was told is to be taken back");
            is_told[usize::from(is_calm)] |= true;
        }
        assert_eq!(is_told, [true; 2]);
    }

    #[test]
    fn p10_a_change_is_told_once_and_one_that_wavers_not_again() {
        let mut fullness = Fullness::default();
        let told: Vec<Vec<Change>> =
            [(7, false), (8, false), (7, false), (8, false), (10, true), (10, true), (9, true)]
                .into_iter()
                .chain([(9, false), (6, false), (8, false)])
                .map(|(connections, is_waited_for)| {
                    let is_full = connections == 10;
                    fullness.changes(Occupancy { connections, max_connections: 10, is_full, is_waited_for }).collect()
                })
                .collect();
        let (nearly, full, room) = (vec![Change::NearlyFull], vec![Change::Full], vec![Change::Room]);
        let nothing = Vec::new;
        let expected =
            [nothing(), nearly.clone(), nothing(), nothing(), full, nothing(), nothing(), room, nothing(), nearly];
        assert_eq!(told, expected);
    }

    #[test]
    fn p10_who_is_full_at_once_is_not_told_to_be_nearly_full_and_knows_that_it_was() {
        let mut fullness = Fullness::default();
        let now = Occupancy { connections: 10, max_connections: 10, is_full: true, is_waited_for: false };
        assert!(!fullness.was_full());
        assert_eq!(fullness.changes(now).collect::<Vec<_>>(), [Change::Full]);
        assert!(fullness.was_full());
    }

    #[test]
    fn p14_a_host_over_its_share_is_tried_again_once() {
        let mut fullness = Fullness::default();
        [Host::Unix, Host::Unix].into_iter().for_each(|host| fullness.postpone(host));
        assert_eq!((fullness.take_postponed(), fullness.take_postponed()), (vec![Host::Unix], vec![]));
    }

    #[test]
    fn p10_places_are_made_ahead_for_a_crowd_and_not_for_a_few() {
        let mut fullness = Fullness::default();
        (0..100).for_each(|_| fullness.note_newcomer());
        assert_eq!(fullness.places_ahead(), 0, "there was room");
        let full = Occupancy { connections: 10, max_connections: 10, is_full: true, is_waited_for: false };
        assert_eq!(fullness.changes(full).count(), 1);
        let ahead = (0..100).map(|_| {
            fullness.note_newcomer();
            fullness.places_ahead()
        });
        let ahead: Vec<usize> = ahead.collect();
        assert_eq!((&ahead[..6], ahead[99]), (&[0, 0, 0, 0, 1, 2][..], MOST_AHEAD));
        fullness.forget_crowd();
        assert_eq!(fullness.places_ahead(), 0);
    }
}
