//! Receipts (`--receipt`): a client that half-closes is told how many of its lines went to the output, once they are
//! where they belong for good. Invariant: no receipt is for a line that the sink has not delivered, and a connection is
//! in the ledger's list exactly when its phase says that it is owed a receipt, but for those that wait for a host which is
//! behind; it is neither read nor timed any more.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::mem;

use log::debug;

use super::Server;
use super::connection::{Connections, Phase, Readiness};
use super::life::Close;
use crate::engine::sniff::Opening;
use crate::net::{Key, Net};
use crate::sink::Sink;

/// Receipts that are sent in one turn. If a slow output takes the lines of thousands at once, others are read in
/// between.
const RECEIPTS: usize = 256;

/// The position of one that is on no list.
const LEFT_OUT: u64 = u64::MAX;
/// A position that the sink has delivered when it has delivered anything.
const AT_ONCE: u64 = 1;

/// What a connection's receipt is to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// Lines that went to the sink.
    pub(super) lines: u64,
    /// The sink's doubts when the first of them did: if it has more of them later, there is no receipt.
    pub(super) doubts: u64,
}

/// The ledger: what each connection's receipt is to say, and who is owed one. Empty unless `--receipt` is given.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// By the connection's place in the table.
    sums: Vec<Sum>,
    /// Each connection that is owed a receipt, behind the position that the sink has to have delivered first. Positions
    /// only grow from one entry to the next. Connections that have left meanwhile may still be in it.
    owed: VecDeque<(u64, Key)>,
    /// Some are owed a receipt and not on the list: the file of their host can't be written, and others don't wait for it.
    has_left_out: bool,
}

impl Receipts {
    /// A connection has come to the place `index`.
    pub(super) fn open(&mut self, index: u32) {
        if let Some(sum) = self.sums.get_mut(index as usize) {
            *sum = Sum::default();
        }
    }

    /// Lines of the connection at the place `index` went to the sink, which has had so many doubts.
    pub(super) fn count(&mut self, index: u32, lines: u64, doubts: u64) {
        let index = index as usize;
        if self.sums.len() <= index {
            self.sums.resize(index + 1, Sum::default());
        }
        if let Some(sum) = self.sums.get_mut(index) {
            if sum.lines == 0 {
                sum.doubts = doubts;
            }
            sum.lines = sum.lines.saturating_add(lines);
        }
    }

    /// A connection is owed a receipt once the sink has delivered all up to `position`, which is no less than any
    /// before.
    pub(super) fn owe<T>(&mut self, connections: &mut Connections<T>, key: Key, position: u64) {
        let Some(conn) = connections.get_mut(key) else { return };
        conn.phase = Phase::Owed { position, spoke: conn.phase == Phase::Speaking };
        self.owed.push_back((position, key));
        // Clients that connect, half-close and leave again while the sink takes nothing must not make the list grow.
        if self.owed.len() > most_owed(connections.len()) {
            self.owed.retain(|entry| is_owed(connections, entry));
        }
    }

    /// The position that the first on the list waits for, and what it is told, if it is still there.
    pub(super) fn first(&self) -> Option<(u64, Sum)> {
        self.owed.front().map(|(position, key)| (*position, self.sum(*key)))
    }

    /// Takes the first off the list, and says what it is told; `None` if it has left, or if there is nobody.
    pub(super) fn pop<T>(&mut self, connections: &Connections<T>) -> Option<(Key, Sum)> {
        let entry = self.owed.pop_front()?;
        let key = is_owed(connections, &entry).then_some(entry.1)?;
        Some((key, self.sum(key)))
    }

    /// Whom the last [`Self::pop`] named, `key`, is told when its host is behind no more: [`Self::take_back`].
    fn leave_out<T>(&mut self, connections: &mut Connections<T>, key: Key) {
        if let Some(Phase::Owed { position, .. }) = connections.get_mut(key).map(|conn| &mut conn.phase) {
            *position = LEFT_OUT;
            self.has_left_out = true;
        }
    }

    /// A host is behind no more: all who are owed a receipt are on the list again. Those who were left out are due first,
    /// and at once.
    pub(super) fn take_back<T>(&mut self, connections: &mut Connections<T>) {
        if !mem::take(&mut self.has_left_out) {
            return;
        }
        for key in connections.keys().collect::<Vec<Key>>() {
            if let Some(Phase::Owed { position, .. }) = connections.get_mut(key).map(|conn| &mut conn.phase)
                && *position == LEFT_OUT
            {
                *position = AT_ONCE;
                self.owed.push_front((AT_ONCE, key));
            }
        }
    }

    /// Nobody is connected: gives back what a crowd took.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Asserts the invariant.
    pub(super) fn check<T>(&self, connections: &Connections<T>) {
        let owed = connections.iter().filter(|(_, conn)| conn.is_owed()).count();
        let on_list = self.owed.iter().filter(|entry| is_owed(connections, entry)).count();
        let is_whole = on_list == owed || (self.has_left_out && on_list < owed);
        assert!(is_whole, "who is owed a receipt is on the list once, and nobody else: {on_list} of {owed}");
        assert!(self.owed.iter().is_sorted_by_key(|(position, _)| *position), "the first receipt is due first");
        assert!(self.owed.len() <= most_owed(connections.places()), "those who have left go from the list too");
        assert!(self.sums.len() <= connections.places(), "no more sums than places");
    }

    fn sum(&self, key: Key) -> Sum {
        self.sums.get(key.index as usize).copied().unwrap_or_default()
    }
}

/// The most entries that the list holds beside so many connections: when there are more, those who have left go.
fn most_owed(connections: usize) -> usize {
    2 * connections + 64
}

/// Whether the connection of an entry is still there, and is owed just that. A key alone may be used again after a
/// while.
fn is_owed<T>(connections: &Connections<T>, (position, key): &(u64, Key)) -> bool {
    connections
        .get(*key)
        .is_some_and(|conn| matches!(conn.phase, Phase::Owed { position: found, .. } if found == *position))
}

impl<S: Sink, N: Net> Server<S, N> {
    /// A client has closed its side: its last line goes out now (P2), and it gets a receipt once the sink has delivered
    /// its lines. False if no receipt can reach it: we have sent our FIN, or the client is gone.
    pub(super) fn owe_receipt(&mut self, key: Key) -> bool {
        let Some(conn) = self.clients.connections.get(key) else { return false };
        if matches!(conn.opening, Opening::Proxied | Opening::Secured | Opening::Failed) {
            return false;
        }
        if !matches!(conn.phase, Phase::Silent | Phase::Speaking) || conn.readiness == Readiness::QueuedGone {
            return false;
        }
        self.flush_line(key);
        self.clients.owe(key, self.outlet.sink.state().taken);
        true
    }

    /// Lines of a connection went to the sink.
    #[inline(never)] // one copy, for size
    pub(super) fn count_for_receipt(&mut self, key: Key, lines: u64) {
        self.clients.receipts.count(key.index, lines, self.outlet.sink.state().doubts);
    }

    /// Whether the first on the list can be told now: its lines are delivered, or may be lost.
    pub(super) fn is_receipt_due(&self) -> bool {
        let first = self.clients.receipts.first();
        first.is_some_and(|(position, sum)| self.outlet.has_delivered(position) || self.is_in_doubt(sum))
    }

    /// Whether the sink may have lost some of these lines, though it counts them as delivered.
    fn is_in_doubt(&self, sum: Sum) -> bool {
        sum.lines > 0 && sum.doubts != self.outlet.sink.state().doubts
    }

    /// Whether the file of a connection's host has not got all of what the sink counts as delivered.
    fn is_behind(&self, key: Key) -> bool {
        self.clients.connections.get(key).is_some_and(|conn| self.outlet.sink.is_behind(&conn.peer))
    }

    /// Those whose lines the sink has delivered get their receipts, and are closed; those whose lines it may have lost
    /// are closed without.
    pub(super) fn give_receipts(&mut self) {
        for _ in 0..RECEIPTS {
            if !self.is_receipt_due() {
                return;
            }
            let Some((key, sum)) = self.clients.receipts.pop(&self.clients.connections) else { continue };
            if self.is_behind(key) && !self.is_in_doubt(sum) {
                self.clients.receipts.leave_out(&mut self.clients.connections, key);
            } else {
                self.give_receipt(key, sum);
            }
        }
    }

    fn give_receipt(&mut self, key: Key, sum: Sum) {
        if self.is_in_doubt(sum) {
            return self.close(key, Close::InDoubt);
        }
        let receipt = self.sealed(key, format!("{} lines\n", sum.lines).into_bytes());
        let Some(conn) = self.clients.connections.get_mut(key) else { return };
        let sent = loop {
            match self.net.write(&mut conn.stream, &receipt) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                sent => break sent,
            }
        };
        if let Err(error) = sent {
            // The client did not wait for it. Its lines are where they belong all the same.
            debug!("[tcp] No receipt for {}: {error}", conn.peer);
        }
        self.close(key, Close::Answered);
    }

    /// The server ends, and the sink has all that it will ever have. Receipts that are due are sent; all others are
    /// closed without one, which tells them that their lines may be lost.
    pub(super) fn give_last_receipts(&mut self) {
        self.clients.receipts.take_back(&mut self.clients.connections);
        while self.is_receipt_due() {
            self.give_receipts();
        }
        let keys: Vec<Key> = self.clients.connections.keys().collect();
        for key in keys {
            self.close(key, Close::Stopping);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::listen::Framing;
    use crate::engine::peer::Peer;
    use crate::engine::wheel::Tick;
    use crate::server::connection::Newcomer;

    fn insert(table: &mut Connections<()>, serial: u32) -> Key {
        let place = table.vacant();
        let key = place.key();
        let peer = Peer::Unix { serial };
        place.insert(
            Newcomer { stream: (), peer, listener: 0, framing: Framing::Lines, opening: Opening::Fresh },
            Tick(0),
        );
        key
    }

    #[test]
    fn a_receipt_goes_to_who_is_owed_it_and_to_nobody_who_came_to_its_place_since() {
        let (mut table, mut ledger) = (Connections::new(4), Receipts::default());
        let first = insert(&mut table, 1);
        ledger.count(first.index, 7, 0);
        ledger.owe(&mut table, first, 10);
        assert!(table.remove(first).is_some());
        let second = insert(&mut table, 2);
        assert_eq!(first.index, second.index);
        ledger.open(second.index);
        ledger.count(second.index, 2, 1);
        ledger.count(second.index, 3, 4);
        ledger.owe(&mut table, second, 20);
        ledger.check(&table);
        assert_eq!((ledger.first().unwrap().0, ledger.pop(&table)), (10, None), "it has left");
        let sum = Sum { lines: 5, doubts: 1 };
        assert_eq!((ledger.first(), ledger.pop(&table)), (Some((20, sum)), Some((second, sum))));
        assert_eq!((ledger.first(), ledger.pop(&table)), (None, None));
    }

    #[test]
    fn p11_who_is_owed_a_receipt_is_not_cut_off_as_one_that_floods() {
        let (mut table, mut ledger) = (Connections::new(4), Receipts::default());
        let key = insert(&mut table, 1);
        assert!(table.get_mut(key).unwrap().is_read_out(0, 10), "nobody else has anything to be read at the end");
        ledger.owe(&mut table, key, 0);
        // An event that tells again of the end that was read.
        assert!(!table.get_mut(key).unwrap().is_read_out(0, 10));
    }

    #[test]
    fn those_who_come_ask_and_leave_do_not_make_the_list_of_receipts_grow() {
        let (mut table, mut ledger) = (Connections::new(4), Receipts::default());
        let waits = insert(&mut table, 0);
        ledger.owe(&mut table, waits, 0);
        for serial in 1..1000 {
            let key = insert(&mut table, serial);
            ledger.owe(&mut table, key, u64::from(serial));
            ledger.check(&table);
            assert!(table.remove(key).is_some());
            assert!(ledger.owed.len() <= most_owed(2), "{} on the list", ledger.owed.len());
        }
        assert_eq!(ledger.pop(&table), Some((waits, Sum::default())));
    }

    #[test]
    fn p20_who_waits_for_a_host_that_is_behind_is_left_out_until_it_is_not() {
        let (mut table, mut ledger) = (Connections::new(4), Receipts::default());
        let keys = [1, 2, 3].map(|serial| insert(&mut table, serial));
        for (key, position) in keys.into_iter().zip([10, 20, 30]) {
            ledger.owe(&mut table, key, position);
        }
        assert_eq!(ledger.pop(&table).map(|(key, _)| key), Some(keys[0]));
        ledger.leave_out(&mut table, keys[0]);
        ledger.check(&table);
        assert_eq!(ledger.first().map(|(position, _)| position), Some(20), "the others don't wait for it");
        assert_eq!(ledger.pop(&table).map(|(key, _)| key), Some(keys[1]));
        assert!(table.remove(keys[1]).is_some());
        ledger.take_back(&mut table);
        ledger.check(&table);
        let told = [(); 3].map(|()| ledger.pop(&table).map(|(key, _)| key));
        assert_eq!(told, [Some(keys[0]), Some(keys[2]), None]);
    }
}
