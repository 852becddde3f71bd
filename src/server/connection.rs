//! One client's connection, the table of all of them, and the queue of those that can be read. Invariant: a key finds
//! the connection that it was made for or nothing, and a connection is on the queue exactly when its readiness says so.

use std::collections::VecDeque;

use slab::{Slab, VacantEntry};

use crate::config::listen::Framing;
use crate::engine::budget::SLOT_BYTES;
use crate::engine::framer::Framer;
use crate::engine::peer::Peer;
use crate::engine::sniff::Opening;
use crate::engine::wheel::{ENTRY_BYTES, Tick};
use crate::net::{Key, Ready, Stream};

/// If there were so many connections, the memory of the tables is given back when all have left; for fewer, that is not
/// worth the calls.
const CROWD: usize = 1024;

/// Where a connection stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come yet. If it ends so, it was a probe (P12).
    Silent,
    /// Lines come.
    Speaking,
    /// We have said goodbye, and wait for the client to close. `order` is its place in the list of those that linger.
    /// So many `last_bytes` were read since it is to be closed for somebody else: beyond a limit it is, so that a client
    /// that floods can't keep its place.
    Lingering { order: u64, spoke: Spoke, last_bytes: u32 },
    /// It has closed its side, and gets a receipt once the sink has delivered all up to `position`. `spoke`: bytes had
    /// come from it.
    Owed { position: u64, spoke: bool },
}

/// When bytes came from a connection to which we have said goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoke {
    Never,
    /// Only before the goodbye.
    Before,
    /// Since then, too.
    Since,
}

/// Whether a connection can be read, by the last event and the last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Nothing is left to read: the next event says when there is more. Not on the ready queue.
    NotReady,
    /// On the ready queue; a short read will mean that nothing is left.
    Queued,
    /// On the ready queue, and the client's end is in the kernel: only a read of 0 bytes or an error means that nothing
    /// is left, since a FIN that came with data makes no second event.
    QueuedToEnd,
    /// The same, and the client is gone altogether: nobody would read a receipt.
    QueuedGone,
    /// There is more to read, but the sink takes no more of this host for the moment: on the list of those that are held
    /// up, and not on the ready queue.
    HeldUp,
    /// There may be more to read, but its host has sent what it may for now (P26): it waits in [`Rates`], and is not on the
    /// ready queue.
    ///
    /// [`Rates`]: super::rates::Rates
    Slowed,
}

/// One client.
pub(super) struct Connection<T> {
    pub(super) stream: T,
    pub(super) framer: Framer,
    /// When bytes last came, or when we said goodbye, if that is later. The timer wheel is not told: it asks when the
    /// connection's time there has come.
    pub(super) last_word: Tick,
    pub(super) phase: Phase,
    pub(super) peer: Peer,
    generation: u32,
    pub(super) readiness: Readiness,
    /// What it seems to speak, until its first newline.
    pub(super) opening: Opening,
    /// The number of its listener, by which its rules are known.
    pub(super) listener: u8,
}

/// A client that was accepted, and is in no table yet.
pub(super) struct Newcomer<T> {
    pub(super) stream: T,
    pub(super) peer: Peer,
    /// The number of its listener.
    pub(super) listener: u8,
    pub(super) framing: Framing,
    /// What has to come first.
    pub(super) opening: Opening,
}

impl<T> Connection<T> {
    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.phase, Phase::Lingering { .. })
    }

    pub(super) fn is_owed(&self) -> bool {
        matches!(self.phase, Phase::Owed { .. })
    }

    /// Whether nothing ever came from it (P12).
    pub(super) fn is_probe(&self) -> bool {
        match self.phase {
            Phase::Silent => true,
            Phase::Speaking => false,
            Phase::Lingering { spoke, .. } => spoke == Spoke::Never,
            Phase::Owed { spoke, .. } => !spoke,
        }
    }

    /// Whether it is on the ready queue.
    pub(super) fn is_queued(&self) -> bool {
        !matches!(self.readiness, Readiness::NotReady | Readiness::HeldUp | Readiness::Slowed)
    }

    /// Counts bytes that were read since the connection is to be closed; true if these are more than `most` now.
    pub(super) fn is_read_out(&mut self, bytes: u64, most: u32) -> bool {
        match &mut self.phase {
            Phase::Lingering { last_bytes, .. } => {
                *last_bytes = last_bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
                *last_bytes > most
            }
            Phase::Owed { .. } => false,
            Phase::Silent | Phase::Speaking => true,
        }
    }
}

/// Bytes of memory that a connection takes while nothing of it is pending: its place in the table, and what the wheel
/// and the budget know of it.
pub(super) const BYTES_EACH: usize = size_of::<Connection<Stream>>() + ENTRY_BYTES + SLOT_BYTES;

// In a debug build, sockets remember more than they need.
const _: () = assert!(BYTES_EACH <= 128 || cfg!(debug_assertions), "an idle connection costs little");

/// Every connection, and those that can be read.
pub(super) struct Connections<T> {
    slab: Slab<Connection<T>>,
    ready: VecDeque<Key>,
    /// Those that are held up.
    held_up: Vec<Key>,
    generation: u32,
    /// Places that have been used since the table was made, and so take memory.
    touched: usize,
}

impl<T> Connections<T> {
    /// Room for `expected` connections is set aside, which takes no memory until it is used. A table that grew while
    /// clients' lines lie around it would keep the allocator from giving their memory back to the system.
    pub(super) fn new(expected: usize) -> Self {
        Self {
            slab: Slab::with_capacity(expected),
            ready: VecDeque::with_capacity(expected),
            held_up: Vec::new(),
            generation: 0,
            touched: 0,
        }
    }

    /// The only count of connections there is.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The place of the next connection, and the key that it will have.
    pub(super) fn vacant(&mut self) -> Vacant<'_, T> {
        let entry = self.slab.vacant_entry();
        // There are at most `MOST_CONNECTIONS`, which 20 bits number.
        let key = Key::new(u32::try_from(entry.key()).unwrap_or_default(), self.generation);
        Vacant { entry, key, generation: &mut self.generation, touched: &mut self.touched }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Connection<T>> {
        self.slab.get_mut(key.index as usize).filter(|conn| conn.generation == key.generation)
    }

    pub(super) fn get(&self, key: Key) -> Option<&Connection<T>> {
        self.slab.get(key.index as usize).filter(|conn| conn.generation == key.generation)
    }

    /// The connection at a place of the table, whichever it is: what the wheel and the budget know it by.
    pub(super) fn at(&mut self, index: u32) -> Option<(Key, &mut Connection<T>)> {
        let conn = self.slab.get_mut(index as usize)?;
        Some((Key::new(index, conn.generation), conn))
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Connection<T>> {
        self.get_mut(key)?;
        self.slab.try_remove(key.index as usize)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        let key = |(index, conn): (usize, &Connection<T>)| Some(Key::new(u32::try_from(index).ok()?, conn.generation));
        self.slab.iter().filter_map(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Connection<T>)> {
        self.slab.iter()
    }

    #[cfg(feature = "status")]
    pub(super) fn at_place(&self, index: usize) -> Option<&Connection<T>> {
        self.slab.get(index)
    }

    /// An event says that a connection can be read. If the key is an earlier connection's, nothing happens.
    pub(super) fn mark_ready(&mut self, key: Key, event: Ready) {
        // Who is held up or slowed is read to its end later, whatever the event says.
        let takes_events = |conn: &&mut Connection<T>| conn.is_queued() || conn.readiness == Readiness::NotReady;
        let Some(conn) = self.get_mut(key).filter(takes_events) else { return };
        let was_queued = conn.is_queued();
        // An event that says less than an earlier one changes nothing: the end is still there.
        if event.failed {
            conn.readiness = Readiness::QueuedGone;
        } else if event.ends && conn.readiness != Readiness::QueuedGone {
            conn.readiness = Readiness::QueuedToEnd;
        } else if !was_queued {
            conn.readiness = Readiness::Queued;
        }
        if !was_queued {
            self.ready.push_back(key);
        }
    }

    /// A connection that is on no queue waits until the sink takes lines of its host again.
    pub(super) fn hold_up(&mut self, key: Key) {
        let Some(conn) = self.get_mut(key) else { return };
        if std::mem::replace(&mut conn.readiness, Readiness::HeldUp) != Readiness::HeldUp {
            self.held_up.push(key);
        }
    }

    /// All that are held up are to be read again: who still is comes back. Whether the end of one is in the kernel already
    /// is not known any more, so each is read to its end.
    pub(super) fn release(&mut self) {
        for key in std::mem::take(&mut self.held_up) {
            let Some(conn) = self.get_mut(key).filter(|conn| conn.readiness == Readiness::HeldUp) else { continue };
            conn.readiness = Readiness::QueuedToEnd;
            self.ready.push_back(key);
        }
    }

    /// A connection that was slowed is to be read to its end again. False if it has left.
    pub(super) fn speed_up(&mut self, key: Key, now: Tick) -> bool {
        let Some(conn) = self.get_mut(key).filter(|conn| conn.readiness == Readiness::Slowed) else { return false };
        conn.readiness = Readiness::QueuedToEnd;
        // Time in which nothing was read of it is no silence of its own (P6).
        conn.last_word = now;
        self.ready.push_back(key);
        true
    }

    /// Takes the next to be read off the queue. Its readiness still says that it is there: who reads it sets that anew.
    pub(super) fn pop_ready(&mut self) -> Option<Key> {
        self.ready.pop_front()
    }

    /// Puts a connection on the queue again, as more is to be read.
    pub(super) fn requeue(&mut self, key: Key, is_first: bool) {
        if is_first {
            self.ready.push_front(key);
        } else {
            self.ready.push_back(key);
        }
    }

    /// Asserts the invariant.
    pub(super) fn check(&self) {
        let is_there = |key: &&Key| self.get(**key).is_some();
        let queued = self.iter().filter(|(_, conn)| conn.is_queued()).count();
        assert_eq!(self.ready.iter().filter(is_there).count(), queued, "each is on the queue once, if it says so");
        let held_up = self.iter().filter(|(_, conn)| conn.readiness == Readiness::HeldUp).count();
        assert_eq!(self.held_up.iter().filter(is_there).count(), held_up, "and on the list of those that are held up");
    }

    /// Empties the queue, since all connections are about to be read, also those that are not on it.
    pub(super) fn forget_ready(&mut self) {
        while let Some(key) = self.ready.pop_front() {
            if let Some(conn) = self.get_mut(key) {
                conn.readiness = Readiness::NotReady;
            }
        }
    }

    /// Places that have been used since the table was made.
    pub(super) fn places(&self) -> usize {
        self.touched
    }

    /// How many are on the queue. Some of them may have been closed since.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Whether a crowd was here and everybody has left: then what it took can be given back.
    pub(super) fn is_after_crowd(&self) -> bool {
        self.slab.is_empty() && self.touched > CROWD
    }

    /// Makes the table anew. Its keys still differ from the earlier ones.
    pub(super) fn reset(&mut self, expected: usize) {
        *self = Self { generation: self.generation, ..Self::new(expected) };
    }
}

/// A free place in the table, for one connection that may still be turned away.
pub(super) struct Vacant<'a, T> {
    entry: VacantEntry<'a, Connection<T>>,
    key: Key,
    generation: &'a mut u32,
    touched: &'a mut usize,
}

impl<T> Vacant<'_, T> {
    /// The key of who comes to this place.
    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// A connection takes the place.
    pub(super) fn insert(self, newcomer: Newcomer<T>, now: Tick) {
        let Newcomer { stream, peer, listener, framing, opening } = newcomer;
        self.entry.insert(Connection {
            stream,
            framer: Framer::new(framing),
            last_word: now,
            phase: Phase::Silent,
            peer,
            generation: self.key.generation,
            readiness: Readiness::NotReady,
            opening,
            listener,
        });
        *self.touched = (*self.touched).max(self.key.index as usize + 1);
        *self.generation = self.generation.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Source;

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

    fn event(key: Key) -> Ready {
        Ready { source: Source::Connection(key), ends: false, failed: false }
    }

    #[test]
    fn p7_a_stale_key_finds_nothing_though_its_place_is_used_again() {
        let mut table = Connections::new(4);
        let first = insert(&mut table, 1);
        assert!(table.remove(first).is_some());
        let second = insert(&mut table, 2);
        assert_eq!(first.index, second.index);
        table.mark_ready(first, event(first));
        assert_eq!((table.get_mut(first).is_none(), table.ready_len()), (true, 0));
        assert!(table.remove(first).is_none());
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_connection_is_queued_once_however_many_events_come() {
        let mut table = Connections::new(4);
        let key = insert(&mut table, 1);
        table.mark_ready(key, event(key));
        table.mark_ready(key, Ready { ends: true, ..event(key) });
        table.mark_ready(key, event(key));
        assert_eq!(table.ready_len(), 1);
        assert_eq!(table.get_mut(key).unwrap().readiness, Readiness::QueuedToEnd, "the end is not forgotten");
        table.mark_ready(key, Ready { ends: true, failed: true, ..event(key) });
        table.mark_ready(key, Ready { ends: true, ..event(key) });
        assert_eq!(table.get_mut(key).unwrap().readiness, Readiness::QueuedGone, "nor that the client is gone");
        assert_eq!(table.ready_len(), 1);
    }
}
