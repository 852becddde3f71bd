//! The lines that are on their way to a store, one behind the other and each encoded as the store wants it. Invariant: the
//! lengths of all items are the length of the bytes, and their numbers rise.

use crate::engine::peer::Peer;

/// One line, formatted, with its `\n`; or a mark that says what is missing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// Its number; of a mark, the last that is missing.
    pub(crate) number: u64,
    /// When it came, in milliseconds since 1970; 0 of a mark, which came at no time.
    pub(crate) wall_ms: u64,
    /// Who sent it; nobody a mark.
    pub(crate) peer: Option<Peer>,
    /// The bytes.
    pub(crate) bytes: &'a [u8],
}

/// What is known of one that waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub(crate) number: u64,
    /// Its time for stores that want one, in nanoseconds since 1970.
    pub(crate) nanos: u64,
    pub(crate) peer: Option<Peer>,
    /// Bytes as it is encoded, and as it was given.
    pub(crate) len: u32,
    pub(crate) text_len: u32,
}

/// Lines that wait, and those in flight, which are the first.
#[derive(Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

impl Lines {
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The bytes of so many of them.
    pub(super) fn first(&self, count: usize) -> &[u8] {
        self.bytes.get(..self.len_of(count)).unwrap_or_default()
    }

    /// How long so many of them are.
    pub(super) fn len_of(&self, count: usize) -> usize {
        self.items.iter().take(count).fold(0, |len, item| len.saturating_add(item.len as usize))
    }

    /// How many fit into so many bytes: at least one, if there are any.
    pub(super) fn fitting(&self, most: usize) -> usize {
        let mut len = 0;
        let fit = self.items.iter().take_while(|item| {
            len += item.len as usize;
            len <= most
        });
        fit.count().max(1).min(self.items.len())
    }

    /// Appends one, which `encode` writes.
    pub(super) fn push(&mut self, item: Item, encode: &mut dyn FnMut(&mut Vec<u8>)) {
        let before = self.bytes.len();
        encode(&mut self.bytes);
        let len = u32::try_from(self.bytes.len() - before).unwrap_or(u32::MAX);
        self.items.push(Item { len, ..item });
    }

    /// Puts one before all others.
    pub(super) fn put_first(&mut self, item: Item, encoded: &[u8]) {
        let mut bytes = encoded.to_vec();
        bytes.append(&mut self.bytes);
        self.bytes = bytes;
        self.items.insert(0, Item { len: u32::try_from(encoded.len()).unwrap_or(u32::MAX), ..item });
    }

    /// The first so many are over.
    pub(super) fn remove(&mut self, count: usize) {
        let len = self.len_of(count).min(self.bytes.len());
        self.bytes.drain(..len);
        self.items.drain(..count.min(self.items.len()));
        if self.items.is_empty() && self.bytes.capacity() > KEPT_BYTES {
            // What a burst took goes back.
            *self = Self::default();
        }
    }
}

/// An empty buffer is kept at this size at most.
const KEPT_BYTES: usize = 64 * 1024;
