//! Headers of proxies that have come in part (P25). Invariant: of none more is kept than one of version 1 can have.

use crate::engine::proxy::{Header, Step};

/// Bytes of memory that a connection takes besides while its header is there in part.
#[cfg(feature = "cli")]
pub(super) const BYTES_EACH: usize = size_of::<Header>() + 2 * size_of::<Option<Box<Header>>>();

/// By the connection's place in the table. Most come in one piece, and are never here.
#[derive(Default)]
pub(super) struct Headers(Vec<Option<Box<Header>>>);

impl Headers {
    /// What is kept of the header of the connection at the place `index` is given, and kept no more.
    pub(super) fn take(&mut self, index: u32) -> Option<Box<Header>> {
        self.0.get_mut(index as usize)?.take()
    }

    /// How many of the bytes that come next are behind the header.
    pub(super) fn behind(&self, index: u32, read: &[u8]) -> usize {
        let mut header = self.0.get(index as usize).and_then(Clone::clone).unwrap_or_default();
        if let Step::Done(_, behind) = header.feed(read) { behind.len() } else { 0 }
    }

    pub(super) fn keep(&mut self, index: u32, header: Box<Header>) {
        let index = index as usize;
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        if let Some(place) = self.0.get_mut(index) {
            *place = Some(header);
        }
    }

    /// Nobody is connected: gives back what a crowd took.
    pub(super) fn reset(&mut self) {
        self.0 = Vec::new();
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }
}
