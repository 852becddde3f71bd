//! One client, and the table of all of them. Invariant: a key finds the connection that it was made for or nothing,
//! a connection is on the ready queue exactly when its readiness says so, and on the list of receipts exactly when its
//! phase says so.

use std::collections::VecDeque;
use std::time::Duration;

use slab::Slab;

use crate::engine::budget::SLOT_BYTES;
use crate::engine::framer::Framer;
use crate::engine::peer::Peer;
use crate::engine::wheel::{ENTRY_BYTES, Tick};
use crate::net::{Key, Ready, Stream};

/// From so many connections on, what they took is given back when all have left; below, it is not worth the calls.
const CROWD: usize = 1024;

/// Where a connection stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come yet. If it ends so, it was a probe (P12).
    Silent,
    /// Lines come.
    Speaking,
    /// We have said goodbye, as number `order`, and wait for the client to close. `last_bytes` were read since its place
    /// was needed: a client that floods can't put off its end by them.
    Lingering { order: u64, spoke: bool, last_bytes: u32 },
    /// It has half-closed, and is owed a receipt once the sink has delivered all up to `position`.
    Owed { position: u64, spoke: bool },
}

/// What the last event and the last read leave to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Read to the end: the next event tells of more.
    Drained,
    /// On the ready queue; a short read will mean that nothing is left.
    Queued,
    /// On the ready queue, and the end is in the kernel: only `0` or an error means that nothing is left, since a FIN
    /// that came with the data makes no second event.
    QueuedToEnd,
    /// The same, and the client is gone: nobody would read a receipt.
    QueuedGone,
}

/// What a connection's receipt is to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// Lines that went to the sink.
    pub(super) lines: u64,
    /// The sink's doubts when the first of them did: with more of them there is no receipt.
    pub(super) doubts: u64,
}

/// What a connection brought so far.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(not(feature = "status"), expect(dead_code))] // who asks for it is left out
pub(super) struct Account {
    /// When it came, on the clock that never stands still.
    pub(super) since: Duration,
    /// When bytes last came, on the same.
    pub(super) last: Duration,
    pub(super) bytes: u64,
    pub(super) lines: u64,
}

/// One client.
pub(super) struct Connection<T> {
    pub(super) stream: T,
    pub(super) framer: Framer,
    /// When bytes last came, or we said goodbye; the wheel learns of it only when its deadline fires.
    pub(super) last_word: Tick,
    pub(super) phase: Phase,
    pub(super) peer: Peer,
    generation: u32,
    pub(super) readiness: Readiness,
}

impl<T> Connection<T> {
    pub(super) fn is_lingering(&self) -> bool {
        matches!(self.phase, Phase::Lingering { .. })
    }

    pub(super) fn is_owed(&self) -> bool {
        matches!(self.phase, Phase::Owed { .. })
    }

    /// Whether it is on the ready queue.
    pub(super) fn is_queued(&self) -> bool {
        self.readiness != Readiness::Drained
    }

    /// Counts bytes that were read before the close; true when that makes more than `most`.
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
    generation: u32,
    /// When each one's pending line began; only where `--line-timeout` asks for it.
    line_since: Vec<Tick>,
    /// What each one's receipt is to say; only where `--receipt` asks for it.
    sums: Vec<Sum>,
    /// Who is owed a receipt for what is delivered at which position, which only grows; also who was, and has left.
    owed: VecDeque<(u64, Key)>,
    /// What each one brought, by its place; only where the status endpoint asks for it.
    accounts: Option<Vec<Account>>,
    /// Places that have been used, and so take memory.
    touched: usize,
}

impl<T> Connections<T> {
    /// Room for `expected` connections is set aside, which takes no memory until it is used. A table that grew while
    /// clients' lines lie around it would keep the allocator from giving their memory back to the system.
    pub(super) fn new(expected: usize) -> Self {
        Self {
            slab: Slab::with_capacity(expected),
            ready: VecDeque::with_capacity(expected),
            generation: 0,
            line_since: Vec::new(),
            sums: Vec::new(),
            owed: VecDeque::new(),
            accounts: None,
            touched: 0,
        }
    }

    /// The only count of connections there is.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The key that the next [`Self::insert`] will use.
    pub(super) fn next_key(&self) -> Option<Key> {
        let index = u32::try_from(self.slab.vacant_key()).ok()?;
        Some(Key::new(index, self.generation))
    }

    pub(super) fn insert(&mut self, stream: T, peer: Peer, now: Tick) {
        let index = self.slab.insert(Connection {
            stream,
            framer: Framer::default(),
            last_word: now,
            phase: Phase::Silent,
            peer,
            generation: Key::new(0, self.generation).generation,
            readiness: Readiness::Drained,
        });
        if let Some(sum) = self.sums.get_mut(index) {
            *sum = Sum::default();
        }
        if let Some(accounts) = self.accounts.as_mut().filter(|accounts| accounts.len() <= index) {
            accounts.resize(index + 1, Account::default());
        }
        self.touched = self.touched.max(index + 1);
        self.generation = self.generation.wrapping_add(1);
    }

    /// From now on it is known what each connection brought. Who is there already counts as having come now.
    #[cfg(feature = "status")]
    pub(super) fn keep_accounts(&mut self, now: Duration) {
        self.accounts = Some(vec![Account { since: now, last: now, ..Account::default() }; self.touched]);
    }

    /// A connection has come.
    pub(super) fn open_account(&mut self, key: Key, now: Duration) {
        if let Some(account) = self.accounts.as_mut().and_then(|all| all.get_mut(key.index as usize)) {
            *account = Account { since: now, last: now, ..Account::default() };
        }
    }

    /// A connection brought this.
    pub(super) fn count(&mut self, key: Key, bytes: u64, lines: u64, now: Duration) {
        let Some(account) = self.accounts.as_mut().and_then(|all| all.get_mut(key.index as usize)) else { return };
        if bytes > 0 {
            account.last = now;
        }
        account.bytes = account.bytes.saturating_add(bytes);
        account.lines = account.lines.saturating_add(lines);
    }

    /// What the connection at a place brought.
    #[cfg(feature = "status")]
    pub(super) fn account(&self, index: usize) -> Account {
        self.accounts.as_ref().and_then(|all| all.get(index)).copied().unwrap_or_default()
    }

    /// The pending line of a connection begins now.
    pub(super) fn begin_line(&mut self, key: Key, now: Tick) {
        let needed = key.index as usize + 1;
        if self.line_since.len() < needed {
            self.line_since.resize(needed, now);
        }
        if let Some(since) = self.line_since.get_mut(key.index as usize) {
            *since = now;
        }
    }

    /// When the pending line of a connection began, if anybody asked for it to be known.
    pub(super) fn line_since(&self, key: Key) -> Option<Tick> {
        self.line_since.get(key.index as usize).copied()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Connection<T>> {
        self.slab.get_mut(key.index as usize).filter(|conn| conn.generation == key.generation)
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

    /// An event said that a connection can be read. A stale key finds nothing.
    pub(super) fn mark_ready(&mut self, key: Key, event: Ready) {
        let Some(conn) = self.get_mut(key) else { return };
        let was_queued = conn.is_queued();
        // An event that knows less than one before it takes nothing back.
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

    /// The next to be read, off the queue; its readiness is for the reader to set.
    pub(super) fn pop_ready(&mut self) -> Option<Key> {
        self.ready.pop_front()
    }

    /// Back on the queue, as more is to be read.
    pub(super) fn requeue(&mut self, key: Key, is_first: bool) {
        if is_first {
            self.ready.push_front(key);
        } else {
            self.ready.push_back(key);
        }
    }

    /// Lines of a connection went to the sink, which has had so many doubts.
    pub(super) fn count_lines(&mut self, key: Key, lines: u64, doubts: u64) {
        let needed = key.index as usize + 1;
        if self.sums.len() < needed {
            self.sums.resize(needed, Sum::default());
        }
        if let Some(sum) = self.sums.get_mut(key.index as usize) {
            if sum.lines == 0 {
                sum.doubts = doubts;
            }
            sum.lines = sum.lines.saturating_add(lines);
        }
    }

    /// A connection is owed a receipt once the sink has delivered all up to `position`, which is no less than any before.
    pub(super) fn owe(&mut self, key: Key, position: u64) {
        let Some(conn) = self.get_mut(key) else { return };
        conn.phase = Phase::Owed { position, spoke: conn.phase == Phase::Speaking };
        self.owed.push_back((position, key));
        // Who comes, asks and leaves again while the sink takes nothing must not make the list grow.
        if self.owed.len() > most_owed(self.slab.len()) {
            let slab = &self.slab;
            self.owed.retain(|entry| is_owed(slab, entry));
        }
    }

    /// The position that the first on the list waits for, and what it is told, if it is still there.
    pub(super) fn first_owed(&self) -> Option<(u64, Sum)> {
        self.owed.front().map(|(position, key)| (*position, self.sum(*key)))
    }

    fn sum(&self, key: Key) -> Sum {
        self.sums.get(key.index as usize).copied().unwrap_or_default()
    }

    /// The first on the list, off it, and what it is told; `None` if it has left, or if there is nobody.
    pub(super) fn pop_owed(&mut self) -> Option<(Key, Sum)> {
        let entry = self.owed.pop_front()?;
        let key = is_owed(&self.slab, &entry).then_some(entry.1)?;
        Some((key, self.sum(key)))
    }

    /// Asserts the invariant.
    pub(super) fn check(&self) {
        let is_there =
            |key: &&Key| self.slab.get(key.index as usize).is_some_and(|conn| conn.generation == key.generation);
        let queued = self.slab.iter().filter(|(_, conn)| conn.is_queued()).count();
        assert_eq!(self.ready.iter().filter(is_there).count(), queued, "each is on the queue once, if it says so");
        let owed = self.slab.iter().filter(|(_, conn)| conn.is_owed()).count();
        let on_list = self.owed.iter().filter(|entry| is_owed(&self.slab, entry)).count();
        assert_eq!(on_list, owed, "who is owed a receipt is on the list once, and nobody else");
        assert!(self.owed.iter().is_sorted_by_key(|(position, _)| *position), "the first receipt is due first");
        assert!(self.owed.len() <= most_owed(self.touched), "those who have left go from the list too");
        assert!(self.sums.len() <= self.touched, "no more sums than places");
    }

    /// Empties the queue, as all are about to be read whether they are on it or not.
    pub(super) fn forget_ready(&mut self) {
        while let Some(key) = self.ready.pop_front() {
            if let Some(conn) = self.get_mut(key) {
                conn.readiness = Readiness::Drained;
            }
        }
    }

    /// How many can be read, some perhaps closed since.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Whether a crowd was here and everybody has left: then what it took can be given back.
    pub(super) fn is_after_crowd(&self) -> bool {
        self.slab.is_empty() && self.touched > CROWD
    }

    /// An empty table again, whose keys are still told from the earlier ones.
    pub(super) fn reset(&mut self, expected: usize) {
        let accounts = self.accounts.as_ref().map(|_| Vec::new());
        *self = Self { generation: self.generation, accounts, ..Self::new(expected) };
    }
}

/// The most that the list of receipts holds beside so many connections: from then on, who has left is looked for.
fn most_owed(connections: usize) -> usize {
    2 * connections + 64
}

/// Whether who is on the list is still there, and is owed just that. A key alone may be used again after a while.
fn is_owed<T>(slab: &Slab<Connection<T>>, (position, key): &(u64, Key)) -> bool {
    slab.get(key.index as usize).is_some_and(|conn| {
        let is_same = matches!(conn.phase, Phase::Owed { position: found, .. } if found == *position);
        conn.generation == key.generation && is_same
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Source;

    fn event(key: Key) -> Ready {
        Ready { source: Source::Connection(key), ends: false, failed: false }
    }

    #[test]
    fn p7_a_stale_key_finds_nothing_though_its_place_is_used_again() {
        let mut table = Connections::new(4);
        let first = table.next_key().unwrap();
        table.insert((), Peer::Unix { serial: 1 }, Tick(0));
        assert!(table.remove(first).is_some());
        let second = table.next_key().unwrap();
        table.insert((), Peer::Unix { serial: 2 }, Tick(0));
        assert_eq!(first.index, second.index);
        table.mark_ready(first, event(first));
        assert_eq!((table.get_mut(first).is_none(), table.ready_len()), (true, 0));
        assert!(table.remove(first).is_none());
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_connection_is_queued_once_however_many_events_come() {
        let mut table = Connections::new(4);
        let key = table.next_key().unwrap();
        table.insert((), Peer::Unix { serial: 1 }, Tick(0));
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

    #[test]
    fn a_receipt_goes_to_who_is_owed_it_and_to_nobody_who_came_to_its_place_since() {
        let mut table = Connections::new(4);
        let first = table.next_key().unwrap();
        table.insert((), Peer::Unix { serial: 1 }, Tick(0));
        table.count_lines(first, 7, 0);
        table.owe(first, 10);
        assert!(table.remove(first).is_some());
        let second = table.next_key().unwrap();
        table.insert((), Peer::Unix { serial: 2 }, Tick(0));
        assert_eq!(first.index, second.index);
        table.count_lines(second, 2, 1);
        table.count_lines(second, 3, 4);
        table.owe(second, 20);
        table.check();
        assert_eq!((table.first_owed().unwrap().0, table.pop_owed()), (10, None), "it has left");
        let sum = Sum { lines: 5, doubts: 1 };
        assert_eq!((table.first_owed(), table.pop_owed()), (Some((20, sum)), Some((second, sum))));
        assert_eq!((table.first_owed(), table.pop_owed()), (None, None));
    }

    #[test]
    fn p11_who_is_owed_a_receipt_is_not_cut_off_as_one_that_floods() {
        let mut table = Connections::new(4);
        let key = table.next_key().unwrap();
        table.insert((), Peer::Unix { serial: 1 }, Tick(0));
        assert!(table.get_mut(key).unwrap().is_read_out(0, 10), "nobody else has anything to be read at the end");
        table.owe(key, 0);
        // An event that tells again of the end that was read.
        assert!(!table.get_mut(key).unwrap().is_read_out(0, 10));
    }

    #[test]
    fn those_who_come_ask_and_leave_do_not_make_the_list_of_receipts_grow() {
        let mut table = Connections::new(4);
        let waits = table.next_key().unwrap();
        table.insert((), Peer::Unix { serial: 0 }, Tick(0));
        table.owe(waits, 0);
        for serial in 1..1000 {
            let key = table.next_key().unwrap();
            table.insert((), Peer::Unix { serial }, Tick(0));
            table.owe(key, u64::from(serial));
            table.check();
            assert!(table.remove(key).is_some());
            assert!(table.owed.len() <= most_owed(2), "{} on the list", table.owed.len());
        }
        assert_eq!(table.pop_owed(), Some((waits, Sum::default())));
    }
}
