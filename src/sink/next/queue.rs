//! Lines for a server that says what it has, where there is no spool: they wait in memory, and are gone with the process.
//! Invariant: what was not acked is still here.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::peer::Peer;
use crate::sink::source::{Piece, Reached, Source};
use crate::sink::target::{Books, Standing, Whose};
use crate::sink::waiting::Parts;

/// Where its lines are.
pub(super) enum Feed {
    /// In the spool.
    Spool(Box<dyn Source>),
    /// In memory alone.
    Memory(Queue),
}

impl Feed {
    pub(super) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Spool(source) => &mut **source,
            Self::Memory(queue) => queue,
        }
    }

    pub(super) fn source_ref(&self) -> &dyn Source {
        match self {
            Self::Spool(source) => &**source,
            Self::Memory(queue) => queue,
        }
    }

    /// What is held in memory, and how far that has come: what is in the spool, nobody waits for.
    pub(super) fn standing(&self) -> Standing {
        match self {
            Self::Spool(_) => Standing { held: 0, delivered: u64::MAX, ..Standing::default() },
            Self::Memory(queue) => Standing {
                waiting: queue.len(),
                held: queue.held(),
                delivered: queue.acked_bytes(),
                ..Standing::default()
            },
        }
    }

    /// Drops the lines in memory that were not given out. Returns how many lines and bytes those were.
    pub(super) fn drop_lines(&mut self) -> (u64, usize) {
        match self {
            Self::Spool(_) => (0, 0),
            Self::Memory(queue) => queue.drop_lines(),
        }
    }

    /// Lines in memory alone that were not acked.
    pub(super) fn lines_left(&self) -> u64 {
        match self {
            Self::Spool(_) => 0,
            Self::Memory(queue) => queue.lines(),
        }
    }

    /// Who waits while nothing is taken.
    pub(super) fn waiters(&self) -> &'static str {
        match self {
            Self::Spool(_) => "its lines wait in the spool",
            Self::Memory(_) => "its lines wait in memory, and clients once --memory is used up",
        }
    }
}

/// The lines that were not acked yet, one behind the other.
pub(super) struct Queue {
    bytes: VecDeque<u8>,
    /// How long each is.
    lens: VecDeque<u32>,
    /// When each came, and from whom, where that is asked for.
    origins: Option<VecDeque<Came>>,
    /// The number of the first, once that is known: the lines of earlier processes are in the stream under lower ones.
    first: Option<u64>,
    /// How many of them were given out.
    given: usize,
    given_bytes: usize,
    /// Whose lines these are, and what this process's are told by.
    box_id: [u8; 16],
    salt: [u8; 16],
    /// Bytes of all lines that were acked.
    acked: u64,
    scratch: Vec<u8>,
}

/// When a line came, in milliseconds since 1970, and who sent it; of a mark: 0, nobody.
type Came = (u64, Option<Peer>);

impl Queue {
    /// With the origin of each line, and numbers from 1 on.
    #[cfg(feature = "push")]
    pub(super) fn with_origins(box_id: [u8; 16], salt: [u8; 16]) -> Self {
        Self { origins: Some(VecDeque::new()), first: Some(1), ..Self::new(box_id, salt) }
    }

    pub(super) fn new(box_id: [u8; 16], salt: [u8; 16]) -> Self {
        Self {
            bytes: VecDeque::new(),
            lens: VecDeque::new(),
            origins: None,
            first: None,
            given: 0,
            given_bytes: 0,
            box_id,
            salt,
            acked: 0,
            scratch: Vec::new(),
        }
    }

    /// Takes whole lines.
    pub(super) fn take(&mut self, whose: Whose<'_>, parts: Parts<'_>) {
        let before = self.lens.len();
        let mut len = 0;
        for part in parts {
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', part) {
                self.lens.push_back(u32::try_from(len + end + 1 - start).unwrap_or(u32::MAX));
                (len, start) = (0, end + 1);
            }
            len += part.len() - start;
            self.bytes.extend(part);
        }
        if let Some(origins) = &mut self.origins {
            let came = match whose {
                Whose::Client(origin, _) => (origin.wall_ms, Some(*origin.peer)),
                Whose::Mark => (0, None),
            };
            for _ in before..self.lens.len() {
                origins.push_back(came);
            }
        }
    }

    /// Whether there are lines, and nobody has said where they go on.
    #[cfg(feature = "nats")]
    pub(super) fn has_no_place(&self) -> bool {
        self.first.is_none() && !self.lens.is_empty()
    }

    /// Bytes that were not acked yet.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Memory that they take.
    pub(super) fn held(&self) -> usize {
        let origins = self.origins.as_ref().map_or(0, |origins| origins.len() * ORIGIN_BYTES);
        self.bytes.len() + self.lens.len() * LINE_BYTES + origins
    }

    /// Bytes of all lines that were acked.
    pub(super) fn acked_bytes(&self) -> u64 {
        self.acked
    }

    /// Lines that were not acked.
    pub(super) fn lines(&self) -> u64 {
        self.lens.len() as u64
    }

    /// Drops the lines that were not given out. Returns how many lines and bytes those were.
    pub(super) fn drop_lines(&mut self) -> (u64, usize) {
        let dropped = ((self.lens.len() - self.given) as u64, self.bytes.len() - self.given_bytes);
        self.lens.truncate(self.given);
        self.origins.iter_mut().for_each(|origins| origins.truncate(self.given));
        self.bytes.truncate(self.given_bytes);
        dropped
    }
}

/// What is remembered of each line.
pub(super) const LINE_BYTES: usize = size_of::<u32>();
/// And where its origin is.
pub(super) const ORIGIN_BYTES: usize = size_of::<Came>();

impl Source for Queue {
    fn read(&mut self, _: Duration, _: &mut Books, take: &mut dyn FnMut(Piece<'_>) -> bool) {
        let Some(first) = self.first else { return };
        while let Some(len) = self.lens.get(self.given) {
            let end = self.given_bytes + *len as usize;
            self.scratch.clear();
            self.scratch.extend(self.bytes.range(self.given_bytes..end.min(self.bytes.len())));
            let number = first + self.given as u64;
            let origin = self.origins.as_ref().and_then(|origins| origins.get(self.given));
            let (wall_ms, peer) = origin.copied().unwrap_or_default();
            if !take(Piece { number, segment: (1, self.salt), wall_ms, peer, bytes: &self.scratch }) {
                return;
            }
            self.given += 1;
            self.given_bytes = end;
        }
    }

    fn has_more(&self) -> bool {
        self.first.is_some() && self.given < self.lens.len()
    }

    fn due_in(&self, _: Duration) -> Option<Duration> {
        None
    }

    fn go_to(&mut self, number: u64) {
        let first = *self.first.get_or_insert(number);
        // What was acked is not here any more: the server was asked first, so nothing lower is wanted but after it has lost
        // lines, and those are gone.
        self.given = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX).min(self.lens.len());
        self.given_bytes = (0..self.given)
            .filter_map(|at| self.lens.get(at))
            .fold(0, |bytes, len| bytes.saturating_add(*len as usize));
    }

    fn reached(&self) -> Option<Reached> {
        None
    }

    fn acked(&mut self, reached: Reached, _: u64) {
        if reached.segment.1 != self.salt {
            // Another process of this box is there, or was: none of these lines is ours, and ours come behind them. Of a batch of
            // which nobody knows whether it was stored before those, the lines may come twice.
            self.first = Some(reached.number + 1);
            (self.given, self.given_bytes) = (0, 0);
            return;
        }
        let Some(first) = self.first else { return };
        let count = usize::try_from((reached.number + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let count = count.min(self.lens.len());
        let bytes = self.lens.drain(..count).fold(0_usize, |bytes, len| bytes.saturating_add(len as usize));
        self.bytes.drain(..bytes);
        self.origins.iter_mut().for_each(|origins| drop(origins.drain(..count.min(origins.len()))));
        self.acked += bytes as u64;
        self.first = Some(first + count as u64);
        self.given = self.given.saturating_sub(count);
        self.given_bytes = self.given_bytes.saturating_sub(bytes);
        if self.bytes.is_empty() {
            // What a burst took goes back.
            (self.bytes, self.lens) = (VecDeque::new(), VecDeque::new());
            self.origins.iter_mut().for_each(|origins| *origins = VecDeque::new());
        }
    }

    fn note(&mut self, _: Duration, _: &mut Books) {}

    fn gap_line(&mut self, _: crate::engine::gap::Gap) -> Vec<u8> {
        Vec::new()
    }

    fn box_id(&self) -> [u8; 16] {
        self.box_id
    }

    fn knows(&self, _: u64, _: [u8; 16], _: u64) -> bool {
        // Those of earlier processes are ours, too.
        true
    }

    fn reopen(&mut self) {}

    fn close(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(queue: &mut Queue, most: usize) -> Vec<(u64, String)> {
        let mut lines = Vec::new();
        queue.read(Duration::ZERO, &mut Books::default(), &mut |piece| {
            if lines.len() >= most {
                return false;
            }
            lines.push((piece.number, String::from_utf8(piece.bytes.to_vec()).unwrap()));
            true
        });
        lines
    }

    fn ours(number: u64) -> Reached {
        Reached { number, sequence: 1, segment: (1, [2; 16]) }
    }

    /// Where each line came from is known of it until it is acked, and of a mark that it came from nobody.
    #[cfg(feature = "push")]
    #[test]
    fn p30_each_line_keeps_its_origin() {
        let mut queue = Queue::with_origins([1; 16], [2; 16]);
        let take = |queue: &mut Queue, port: u16, lines: &[u8]| {
            let peer = Peer::V4 { ip: [10, 0, 0, 1], port };
            let origin = crate::sink::Origin {
                peer: &peer,
                wall_ms: u64::from(port) * 100,
                parse: crate::config::syslog::Parse::Off,
            };
            queue.take(Whose::Client(&origin, &crate::sink::said::Said::NOTHING), [lines, b"", b""]);
        };
        take(&mut queue, 1, b"one\ntwo\n");
        queue.take(Whose::Mark, [b"mark\n", b"", b""]);
        take(&mut queue, 2, b"three\n");
        let origins = |queue: &mut Queue| {
            let mut found = Vec::new();
            queue.read(Duration::ZERO, &mut Books::default(), &mut |piece| {
                let port = piece.peer.map(|peer| matches!(peer, Peer::V4 { port: 1, .. }));
                found.push((piece.number, piece.wall_ms, port));
                true
            });
            found
        };
        let all = [(1, 100, Some(true)), (2, 100, Some(true)), (3, 0, None), (4, 200, Some(false))];
        assert_eq!(origins(&mut queue), all);
        queue.acked(ours(2), 0);
        queue.go_to(3);
        assert_eq!(origins(&mut queue), all[2..]);
        take(&mut queue, 1, b"five\n");
        assert_eq!(queue.drop_lines(), (1, 5));
        take(&mut queue, 2, b"six\n");
        assert_eq!(origins(&mut queue), [(5, 200, Some(false))]);
        assert_eq!(queue.held(), 4 + 5 + 6 + 3 * (LINE_BYTES + ORIGIN_BYTES));
        queue.acked(ours(5), 0);
        assert_eq!(queue.held(), 0);
    }

    #[test]
    fn what_another_process_has_sent_takes_none_of_our_lines_away() {
        let mut queue = Queue::new([1; 16], [2; 16]);
        queue.take(Whose::Mark, [b"one\ntwo\n", b"", b""]);
        queue.go_to(8);
        assert_eq!(read(&mut queue, 1).len(), 1);
        queue.acked(Reached { number: 20, sequence: 9, segment: (1, [3; 16]) }, 0);
        assert_eq!((queue.len(), queue.acked_bytes()), (8, 0));
        queue.go_to(21);
        let lines = [(21, "one\n".to_owned()), (22, "two\n".to_owned())];
        assert_eq!(read(&mut queue, 9), lines);
        queue.acked(ours(22), 0);
        assert_eq!((queue.len(), queue.acked_bytes()), (0, 8));
    }

    #[test]
    fn lines_are_numbered_from_where_the_stream_goes_on_and_stay_until_they_are_acked() {
        let mut queue = Queue::new([1; 16], [2; 16]);
        queue.take(Whose::Mark, [b"on", b"e\ntwo\n", b"three\n"]);
        #[cfg(feature = "nats")]
        assert!(queue.has_no_place());
        assert!(read(&mut queue, 9).is_empty(), "nobody knows their numbers yet");
        queue.go_to(8);
        let owned = |number: u64, text: &str| (number, text.to_owned());
        assert_eq!(read(&mut queue, 2), [owned(8, "one\n"), owned(9, "two\n")]);
        assert_eq!(read(&mut queue, 9), [owned(10, "three\n")]);
        assert!(!queue.has_more());
        queue.go_to(9);
        assert_eq!(read(&mut queue, 1), [owned(9, "two\n")]);
        queue.acked(ours(9), 0);
        assert_eq!((queue.len(), queue.acked_bytes()), (6, 8));
        assert_eq!(read(&mut queue, 9), [owned(10, "three\n")]);
        queue.take(Whose::Mark, [b"4\n", b"", b""]);
        assert_eq!(queue.drop_lines(), (1, 2));
        queue.acked(ours(10), 0);
        assert_eq!((queue.held(), queue.acked_bytes()), (0, 14));
    }
}
