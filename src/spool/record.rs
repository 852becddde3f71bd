//! Records: lines of one gathered batch, as bytes. A [`Batch`] makes one, a [`Record`] reads one; neither does more than that.
//! Invariant: bytes are a record only if they are what a batch makes, bit by bit, and no bytes make reading panic.
//!
//! The head has a sum of its own over its salt, which nobody who sends lines knows: what looks like a head inside a line is
//! none, so that looking for the next record after damage takes time linear in the bytes.

use super::bytes::{are_zero, array_at, narrow, put_at, u16_at, u32_at, u64_at};
use super::sum::sum_of;
use crate::config::syslog::Parse;
use crate::engine::gap::{Gap, Why};
#[cfg(feature = "tls")]
use crate::engine::peer::PeerName;
use crate::engine::peer::{MOST_NAME_BYTES, Peer, PollerName, scoped};

/// What only this segment's records begin with.
pub type Salt = [u8; 16];

/// Bytes of a record before its first entry.
pub const HEAD_BYTES: usize = 48;
/// Bytes of an entry before its line.
pub const ENTRY_BYTES: usize = 8;
/// Bytes of a peer in the table.
pub const PEER_BYTES: usize = 24;
/// Bytes of a poller's name in its first place there, and in each that follows.
const NAME_BYTES: (usize, usize) = (PEER_BYTES - 2, PEER_BYTES - 1);
/// The kind of a client with a name.
const NAMED: u8 = 5;
/// Records begin at multiples of this.
pub const STEP_BYTES: usize = 8;
/// The most that a record of one line takes beyond that line.
pub const OVERHEAD_BYTES: usize = HEAD_BYTES + ENTRY_BYTES + PEER_BYTES + STEP_BYTES;
/// The longest line: four bits of its length say what it is.
pub const MOST_LINE_BYTES: usize = (1 << 28) - 1;
/// The most lines of a segment, and so of a record: the number of a line is less than so much above the segment's first.
pub const MOST_LINES: u32 = (1 << 20) - 1;
/// How many of the newest peers are looked at before one is written again.
const PEERS_LOOKED_AT: usize = 16;

pub(super) const MAGIC: [u8; 4] = *b"LJr\n";
const GAP_BYTES: usize = 17;
const KINDS: [Kind; 3] = [Kind::Line, Kind::Syslog, Kind::Gap];
const REASONS: [Why; 7] =
    [Why::TooLong, Why::Memory, Why::Stalled, Why::BadLength, Why::DiskFull, Why::Rate, Why::PagePassed];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Line,
    Syslog,
    Gap,
}

/// What has a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A line, without its end, and what it is to be read as.
    Line(&'a [u8], Parse),
    /// Lines that were dropped before they came here.
    Gap(Gap),
}

/// An entry with all that is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number.
    pub number: u64,
    /// Who sent it.
    pub peer: Peer,
    /// When it came, in milliseconds since 1970.
    pub wall_ms: u64,
    /// What it is.
    pub entry: Entry<'a>,
}

/// Gathers lines, and makes a record of them.
#[derive(Debug)]
pub struct Batch {
    /// Room for the head, the entries, and once it is a record the rest of it.
    bytes: Vec<u8>,
    entries_end: usize,
    /// Those in the table; one that takes several places there is here as often.
    peers: Vec<Peer>,
    /// Which of them sent the latest line.
    latest: usize,
    count: u32,
    clock_ms: u64,
    most_bytes: usize,
}

impl Batch {
    /// An empty one that becomes no longer than this, but for one line, which always fits.
    #[must_use]
    pub fn new(most_bytes: usize) -> Self {
        let bytes = vec![0; HEAD_BYTES];
        Self { bytes, entries_end: HEAD_BYTES, peers: Vec::new(), latest: 0, count: 0, clock_ms: 0, most_bytes }
    }

    /// How many lines are in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How long its record is, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        record_bytes(self.entries_end - HEAD_BYTES, self.peers.len())
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes a line that is in two parts, without its end. False if it has to go to the next batch: this one is full, or its clock
    /// is another.
    pub fn push_line(&mut self, peer: &Peer, wall_ms: u64, parse: Parse, parts: [&[u8]; 2]) -> bool {
        let kind = if parse == Parse::Syslog { Kind::Syslog } else { Kind::Line };
        self.push(peer, wall_ms, kind, parts)
    }

    /// Takes the mark of lines that are missing.
    pub fn push_gap(&mut self, peer: &Peer, wall_ms: u64, gap: Gap) -> bool {
        let mut bytes = [0; GAP_BYTES];
        put_at(&mut bytes, 0, &gap.lines.to_le_bytes());
        put_at(&mut bytes, 8, &gap.bytes.to_le_bytes());
        let reason = REASONS.iter().zip(0..).find(|(why, _)| **why == gap.why).map_or(0, |(_, number)| number);
        put_at(&mut bytes, 16, &[reason]);
        self.push(peer, wall_ms, Kind::Gap, [&bytes, &[]])
    }

    fn push(&mut self, peer: &Peer, wall_ms: u64, kind: Kind, parts: [&[u8]; 2]) -> bool {
        let clock_ms = if self.is_empty() { wall_ms } else { self.clock_ms };
        let late_ms = wall_ms.checked_sub(clock_ms).and_then(|late| u16::try_from(late).ok());
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let len_and_kind = u32::try_from(len.min(MOST_LINE_BYTES)).map(|len| len | (kind as u32) << 28);
        let (Some(late_ms), Ok(len_and_kind)) = (late_ms, len_and_kind) else { return false };
        let known = self.index_of(peer);
        let Ok(index) = u16::try_from(known.unwrap_or(self.peers.len())) else { return false };
        let places = if known.is_none() { places(peer) } else { 0 };
        let peers = self.peers.len() + places;
        let entries = self.entries_end - HEAD_BYTES + ENTRY_BYTES + len;
        let is_full = record_bytes(entries, peers) > self.most_bytes || self.count >= MOST_LINES || peers > 0xffff;
        if is_full && !self.is_empty() {
            return false;
        }
        self.peers.resize(peers, *peer);
        self.latest = usize::from(index);
        self.bytes.truncate(self.entries_end);
        let [a, b, c, d] = len_and_kind.to_le_bytes();
        let ([e, f], [g, h]) = (index.to_le_bytes(), late_ms.to_le_bytes());
        self.bytes.extend_from_slice(&[a, b, c, d, e, f, g, h]);
        let mut rest = MOST_LINE_BYTES;
        for part in parts {
            let part = part.get(..rest).unwrap_or(part);
            self.bytes.extend_from_slice(part);
            rest -= part.len();
        }
        self.entries_end = self.bytes.len();
        self.clock_ms = clock_ms;
        self.count += 1;
        true
    }

    /// Where a peer is in the table, if it is one of the newest. Most lines come from who sent the line before.
    fn index_of(&self, peer: &Peer) -> Option<usize> {
        if self.peers.get(self.latest) == Some(peer) {
            return Some(self.latest);
        }
        let near = self.peers.len().saturating_sub(PEERS_LOOKED_AT);
        let mut found = near + self.peers.get(near..)?.iter().position(|known| known == peer)?;
        // That may be a later place of a long name.
        while found.checked_sub(1).and_then(|before| self.peers.get(before)) == Some(peer) {
            found -= 1;
        }
        Some(found)
    }

    /// The record, for a segment with this salt, its first line with this number. Lines may still be added, for another record
    /// in place of this one.
    pub fn record(&mut self, salt: &Salt, first: u64) -> &[u8] {
        self.bytes.truncate(self.entries_end);
        let mut rest = self.peers.as_slice();
        while let Some(peer) = rest.first() {
            let count = places(peer);
            for place in 0..count {
                self.bytes.extend_from_slice(&encode_peer(peer, place));
            }
            rest = rest.get(count..).unwrap_or_default();
        }
        let length = self.len();
        self.bytes.resize(length, 0);
        let low = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let peers = u16::try_from(self.peers.len()).unwrap_or(u16::MAX);
        let bytes = &mut self.bytes;
        put_at(bytes, 0, &MAGIC);
        put_at(bytes, 8, &low(length).to_le_bytes());
        put_at(bytes, 12, &low(self.entries_end - HEAD_BYTES).to_le_bytes());
        put_at(bytes, 16, &first.to_le_bytes());
        put_at(bytes, 24, &self.clock_ms.to_le_bytes());
        put_at(bytes, 32, &self.count.to_le_bytes());
        put_at(bytes, 36, &peers.to_le_bytes());
        put_at(bytes, 38, &[0; 10]);
        put_sums(bytes, salt);
        &self.bytes
    }

    /// The record that was made last, if no lines were added since.
    pub(super) fn made(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties it, and gives back what a long line took.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEAD_BYTES);
        self.bytes.shrink_to(self.most_bytes);
        self.entries_end = HEAD_BYTES;
        self.peers.clear();
        self.count = 0;
    }
}

/// The whole length of a record.
fn record_bytes(entries: usize, peers: usize) -> usize {
    (HEAD_BYTES + entries + peers * PEER_BYTES).next_multiple_of(STEP_BYTES)
}

fn put_sums(record: &mut [u8], salt: &Salt) {
    let payload = sum_of(salt, record.get(HEAD_BYTES..).unwrap_or_default());
    put_at(record, 40, &payload.to_le_bytes());
    let head = sum_of(salt, record.get(8..HEAD_BYTES).unwrap_or_default());
    put_at(record, 4, &head.to_le_bytes());
}

/// Gives another salt to records of our own that lie one behind the other; what each of them is told is its bytes.
pub fn resalt(mut records: &mut [u8], salt: &Salt, mut tell: impl FnMut(&[u8])) {
    while let Some(length) = u32_at(records, 8).map(|length| narrow(length.into()).min(records.len())) {
        let (record, rest) = records.split_at_mut(length.max(1));
        put_sums(record, salt);
        tell(record);
        records = rest;
    }
}

/// The sum over the sums of records' heads so far, and that of this one, which is over that of its payload too.
#[must_use]
pub fn add_head(sum: u32, record: &[u8]) -> u32 {
    sum_of(&sum.to_le_bytes(), record.get(4..8).unwrap_or_default())
}

/// What the head of a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Length of the whole record, in bytes; a multiple of [`STEP_BYTES`].
    pub length: usize,
    /// Number of its first line.
    pub first: u64,
    /// How many lines there are; at least one.
    pub count: u32,
    /// Milliseconds since 1970 when the first of them came.
    pub clock_ms: u64,
    entries: usize,
    peers: usize,
    payload_sum: u32,
}

impl Head {
    /// Reads the first [`HEAD_BYTES`] of a record. `None` if they are none of a segment with this salt.
    #[must_use]
    pub fn decode(bytes: &[u8], salt: &Salt) -> Option<Self> {
        let bytes = bytes.get(..HEAD_BYTES)?;
        if !bytes.starts_with(&MAGIC) || sum_of(salt, bytes.get(8..)?) != u32_at(bytes, 4)? {
            return None;
        }
        let head = Self {
            length: narrow(u32_at(bytes, 8)?.into()),
            first: u64_at(bytes, 16)?,
            count: u32_at(bytes, 32)?,
            clock_ms: u64_at(bytes, 24)?,
            entries: narrow(u32_at(bytes, 12)?.into()),
            peers: u16_at(bytes, 36)?.into(),
            payload_sum: u32_at(bytes, 40)?,
        };
        let payload = head.length.checked_sub(HEAD_BYTES)?;
        let is_right = head.entries.checked_add(head.peers * PEER_BYTES)?.checked_next_multiple_of(STEP_BYTES)?
            == payload
            && (1..=MOST_LINES).contains(&head.count)
            && (1..=u64::from(head.count) * MOST_PLACES).contains(&(head.peers as u64))
            && head.first > 0
            && head.first.checked_add(head.count.into()).is_some()
            && are_zero(&[bytes.get(38..40)?, bytes.get(44..)?].concat());
        is_right.then_some(head)
    }

    /// Number of its last line.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }
}

/// A record that is whole.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// What its head says.
    pub head: Head,
    entries: &'a [u8],
    peers: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record that the bytes begin with. `None` if they begin with none of a segment with this salt, or it is not
    /// whole.
    #[must_use]
    pub fn decode(bytes: &'a [u8], salt: &Salt) -> Option<Self> {
        Self::of(Head::decode(bytes, salt)?, bytes, salt)
    }

    /// The same for bytes whose head is known.
    #[must_use]
    pub fn of(head: Head, bytes: &'a [u8], salt: &Salt) -> Option<Self> {
        let payload = bytes.get(HEAD_BYTES..head.length)?;
        if sum_of(salt, payload) != head.payload_sum {
            return None;
        }
        Self::split(head, payload).filter(Self::is_right)
    }

    /// The same for bytes that were looked at already.
    pub(super) fn again(head: Head, bytes: &'a [u8]) -> Option<Self> {
        Self::split(head, bytes.get(HEAD_BYTES..head.length)?)
    }

    fn split(head: Head, payload: &'a [u8]) -> Option<Self> {
        let (entries, rest) = payload.split_at_checked(head.entries)?;
        let (peers, rest) = rest.split_at_checked(head.peers * PEER_BYTES)?;
        are_zero(rest).then_some(Self { head, entries, peers })
    }

    /// A sum can be right by chance, or made: what it is over is looked at all the same.
    fn is_right(&self) -> bool {
        let mut lines = self.lines();
        let all = (0..self.head.count).all(|_| lines.next().is_some());
        let mut rest = self.peers;
        while let Some(peer) = decode_peer(rest) {
            let count = if rest.first() == Some(&NAMED) { named_places(rest) } else { places(&peer) };
            rest = rest.get(count * PEER_BYTES..).unwrap_or_default();
        }
        all && lines.rest.is_empty() && rest.is_empty()
    }

    /// Its lines.
    #[must_use]
    pub fn lines(&self) -> Lines<'a> {
        Lines { number: self.head.first, clock_ms: self.head.clock_ms, rest: self.entries, peers: self.peers }
    }
}

/// The lines of a record, one by one.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    number: u64,
    clock_ms: u64,
    rest: &'a [u8],
    peers: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let len_and_kind = u32_at(self.rest, 0)?;
        let kind = *KINDS.get(narrow(u64::from(len_and_kind >> 28)))?;
        let len = narrow(u64::from(len_and_kind)) & MOST_LINE_BYTES;
        let start = usize::from(u16_at(self.rest, 4)?) * PEER_BYTES;
        let peer = decode_peer(self.peers.get(start..)?)?;
        let wall_ms = self.clock_ms.checked_add(u16_at(self.rest, 6)?.into())?;
        let (bytes, rest) = self.rest.get(ENTRY_BYTES..)?.split_at_checked(len)?;
        let entry = match kind {
            Kind::Line => Entry::Line(bytes, Parse::Off),
            Kind::Syslog => Entry::Line(bytes, Parse::Syslog),
            Kind::Gap => Entry::Gap(decode_gap(bytes)?),
        };
        let number = self.number;
        self.number = number.checked_add(1)?;
        self.rest = rest;
        Some(Line { number, peer, wall_ms, entry })
    }
}

fn decode_gap(bytes: &[u8]) -> Option<Gap> {
    let bytes: &[u8; GAP_BYTES] = bytes.try_into().ok()?;
    let why = *REASONS.get(usize::from(*bytes.last()?))?;
    Some(Gap { lines: u64_at(bytes, 0)?, bytes: u64_at(bytes, 8)?, why })
}

/// How many places a peer takes in the table.
fn places(peer: &Peer) -> usize {
    match peer {
        Peer::Poller(name) => 1 + name.text().len().saturating_sub(NAME_BYTES.0).div_ceil(NAME_BYTES.1),
        #[cfg(feature = "tls")]
        Peer::Named { name, .. } => 1 + name.text().len().div_ceil(NAME_BYTES.1),
        _ => 1,
    }
}

/// The same of a client with a name, by its first place.
fn named_places(bytes: &[u8]) -> usize {
    1 + bytes.get(1).map_or(0, |len| usize::from(*len)).div_ceil(NAME_BYTES.1)
}

/// The most that it can take.
const MOST_PLACES: u64 = 1 + MOST_NAME_BYTES.div_ceil(NAME_BYTES.1) as u64;

/// One place of a peer: kind, nothing, port, interface or number, address. Of a poller: kind, length of its name, the name; and
/// what follows, behind a kind of its own. Of a client with a name: kind, length of the name, port, nothing, address; and the name
/// behind that likewise.
fn encode_peer(peer: &Peer, place: usize) -> [u8; PEER_BYTES] {
    let mut bytes = [0; PEER_BYTES];
    match peer {
        Peer::V4 { ip, port } => {
            put_at(&mut bytes, 0, &[4]);
            put_at(&mut bytes, 2, &port.to_le_bytes());
            put_at(&mut bytes, 8, ip);
        }
        Peer::V6 { ip, port, scope } => {
            put_at(&mut bytes, 0, &[6]);
            put_at(&mut bytes, 2, &port.to_le_bytes());
            put_at(&mut bytes, 4, &scope.to_le_bytes());
            put_at(&mut bytes, 8, ip);
        }
        Peer::Unix { serial } => {
            put_at(&mut bytes, 0, &[1]);
            put_at(&mut bytes, 4, &serial.to_le_bytes());
        }
        #[cfg(feature = "tls")]
        Peer::Named { ip, port, name } => match place.checked_sub(1) {
            None => {
                put_at(&mut bytes, 0, &[NAMED, name.text().len().to_le_bytes()[0]]);
                put_at(&mut bytes, 2, &port.to_le_bytes());
                put_at(&mut bytes, 8, ip);
            }
            Some(later) => {
                put_at(&mut bytes, 0, &[3]);
                put_at(&mut bytes, 1, name.text().as_bytes().chunks(NAME_BYTES.1).nth(later).unwrap_or_default());
            }
        },
        Peer::Poller(name) => {
            let name = name.text().as_bytes();
            let (first, rest) = name.split_at(name.len().min(NAME_BYTES.0));
            match place.checked_sub(1) {
                None => {
                    put_at(&mut bytes, 0, &[2, name.len().to_le_bytes()[0]]);
                    put_at(&mut bytes, 2, first);
                }
                Some(later) => {
                    put_at(&mut bytes, 0, &[3]);
                    put_at(&mut bytes, 1, rest.chunks(NAME_BYTES.1).nth(later).unwrap_or_default());
                }
            }
        }
    }
    bytes
}

/// The peer whose places the bytes begin with.
fn decode_peer(bytes: &[u8]) -> Option<Peer> {
    let (port, number) = (u16_at(bytes, 2)?, u32_at(bytes, 4)?);
    let peer = match bytes.first()? {
        4 => Peer::V4 { ip: array_at(bytes, 8)?, port },
        6 => Peer::V6 { ip: array_at(bytes, 8)?, port, scope: number },
        1 => Peer::Unix { serial: number },
        2 => Peer::Poller(PollerName::new(&decode_name(bytes, 2)?)?),
        // A build without TLS wants to read it, too.
        #[cfg(not(feature = "tls"))]
        &NAMED => return decode_named(bytes),
        #[cfg(feature = "tls")]
        &NAMED => match PeerName::new(&decode_name(bytes, PEER_BYTES)?) {
            Some(name) => Peer::Named { ip: array_at(bytes, 8)?, port, name },
            // There were too many names.
            None => return decode_named(bytes),
        },
        _ => return None,
    };
    // What is not used has to be zero: there is one way to write a peer.
    let written = bytes.chunks_exact(PEER_BYTES).zip((0..places(&peer)).map(|place| encode_peer(&peer, place)));
    (bytes.len() >= places(&peer) * PEER_BYTES && written.into_iter().all(|(there, own)| there == own)).then_some(peer)
}

/// A client with a name, which is left out.
#[cold]
fn decode_named(bytes: &[u8]) -> Option<Peer> {
    Some(scoped(array_at(bytes, 8)?, u16_at(bytes, 2)?))
}

/// The name of a peer, which begins at `start` in its first place.
fn decode_name(bytes: &[u8], start: usize) -> Option<String> {
    let mut name = bytes.get(start..PEER_BYTES)?.to_vec();
    for later in bytes.chunks_exact(PEER_BYTES).skip(1).take_while(|place| place.first() == Some(&3)) {
        name.extend_from_slice(later.get(1..)?);
    }
    Some(str::from_utf8(name.get(..usize::from(*bytes.get(1)?))?).ok()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = *b"0123456789abcdef";
    const V4: Peer = Peer::V4 { ip: [192, 0, 2, 1], port: 514 };
    const V6: Peer = Peer::V6 { ip: [7; 16], port: 9, scope: 3 };
    const UNIX: Peer = Peer::Unix { serial: 77 };
    const GAP: Gap = Gap { lines: 3, bytes: 1 << 40, why: Why::Rate };

    fn poller(name: &str) -> Peer {
        Peer::Poller(PollerName::new(name).unwrap())
    }

    #[cfg(feature = "tls")]
    #[test]
    fn p33_clients_with_names_are_peers_whatever_the_length_of_their_names() {
        let named = |len: usize, peer: Peer| peer.with_name(PeerName::new(&"n".repeat(len)).unwrap());
        let link_local = Peer::V6 { ip: [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8], port: 1, scope: 3 };
        let peers: Vec<Peer> =
            [1, 22, 23, 24, 46, 47, 64].iter().flat_map(|len| [named(*len, V4), named(*len, link_local), V6]).collect();
        let mut batch = Batch::new(100_000);
        peers.iter().for_each(|peer| assert!(batch.push_line(peer, 7, Parse::Off, [b"x", b""])));
        let bytes = batch.record(&SALT, 1).to_vec();
        let record = Record::decode(&bytes, &SALT).unwrap();
        assert_eq!(record.lines().map(|line| line.peer).collect::<Vec<_>>(), peers);
        // What a build without TLS makes of it.
        for (at, place) in record.peers.chunks_exact(PEER_BYTES).enumerate().filter(|(_, place)| place[0] == NAMED) {
            let peer = decode_peer(&record.peers[at * PEER_BYTES..]).unwrap();
            assert_eq!(named_places(place), places(&peer));
            assert_eq!(decode_named(place), Some(peer.bare()));
        }
    }

    #[test]
    fn pollers_are_peers_whatever_the_length_of_their_names() {
        let names: Vec<String> = [1, 21, 22, 23, 45, 46, 64].iter().map(|len| "n".repeat(*len)).collect();
        let mut batch = Batch::new(1 << 16);
        let all: Vec<Peer> = names.iter().map(|name| poller(name)).chain([V4]).collect();
        for peer in all.iter().chain(&all) {
            assert!(batch.push_line(peer, 7, Parse::Off, [b"x", b""]));
        }
        let len = batch.len();
        let bytes = batch.record(&SALT, 1).to_vec();
        assert_eq!((bytes.len(), lines(&bytes).unwrap().len()), (len, 16));
        assert!(lines(&bytes).unwrap().iter().map(|line| line.peer).eq(all.iter().chain(&all).copied()));
        assert_eq!(Head::decode(&bytes, &SALT).unwrap().peers, 1 + 1 + 1 + 2 + 2 + 3 + 3 + 1);
        // Into a name, a line can't point, and what is behind one has to be zero.
        let table = bytes.len() - 14 * PEER_BYTES;
        for (at, value) in [(HEAD_BYTES + 4, 4), (table + 3, 1), (table + 1, 65), (table + 2, b'/')] {
            let mut bytes = bytes.clone();
            put_at(&mut bytes, at, &[value]);
            put_sums(&mut bytes, &SALT);
            assert!(lines(&bytes).is_none(), "byte {at}");
        }
    }

    fn batch() -> Batch {
        let mut batch = Batch::new(1 << 16);
        assert!(batch.push_line(&V4, 1_000, Parse::Off, [b"one", b""]));
        assert!(batch.push_line(&V6, 1_001, Parse::Syslog, [b"<13>", b"two"]));
        assert!(batch.push_gap(&UNIX, 66_535, GAP));
        assert!(batch.push_line(&V4, 1_000, Parse::Off, [b"", b""]));
        batch
    }

    fn lines(bytes: &[u8]) -> Option<Vec<Line<'_>>> {
        Record::decode(bytes, &SALT).map(|record| record.lines().collect())
    }

    #[test]
    fn what_a_batch_writes_a_record_reads() {
        let mut batch = batch();
        let len = batch.len();
        let bytes = batch.record(&SALT, 41);
        assert_eq!(bytes.len(), len);
        assert_eq!(
            lines(bytes).unwrap(),
            [
                Line { number: 41, peer: V4, wall_ms: 1_000, entry: Entry::Line(b"one", Parse::Off) },
                Line { number: 42, peer: V6, wall_ms: 1_001, entry: Entry::Line(b"<13>two", Parse::Syslog) },
                Line { number: 43, peer: UNIX, wall_ms: 66_535, entry: Entry::Gap(GAP) },
                Line { number: 44, peer: V4, wall_ms: 1_000, entry: Entry::Line(b"", Parse::Off) },
            ]
        );
        let head = Head::decode(bytes, &SALT).unwrap();
        assert_eq!((head.first, head.last(), head.clock_ms, head.length), (41, 44, 1_000, len));
    }

    #[test]
    fn one_bit_another_or_one_byte_less_is_no_record() {
        let mut batch = batch();
        let bytes = batch.record(&SALT, 41).to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(lines(&other).is_none(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(lines(&bytes[..len]).is_none(), "{len} bytes");
        }
        assert!(lines(&[&bytes[..], b"more"].concat()).is_some());
        assert!(Record::decode(&bytes, b"another salt 012").is_none());
    }

    #[test]
    fn what_has_right_sums_and_is_wrong_all_the_same_is_no_record() {
        let good = batch().record(&SALT, 41).to_vec();
        let table = HEAD_BYTES + 4 * ENTRY_BYTES + 3 + 7 + GAP_BYTES;
        let changed = |at: usize, value: &[u8]| {
            let mut bytes = good.clone();
            put_at(&mut bytes, at, value);
            put_sums(&mut bytes, &SALT);
            lines(&bytes).is_some()
        };
        assert!(changed(16, &7_u64.to_le_bytes()), "another first number is a record of its own");
        for (what, at, value) in [
            ("a length that is no multiple of 8", 8, &[good.len().to_le_bytes()[0] + 1][..]),
            ("no first number", 16, &[0; 8]),
            ("numbers beyond the last", 16, &[0xff; 8]),
            ("no line", 32, &[0; 4]),
            ("a line more", 32, &[5]),
            ("a line less", 32, &[3]),
            ("more peers than there are", 36, &[4]),
            ("a byte that is not used", 38, &[1]),
            ("another", 45, &[1]),
            ("a kind that there is none of", HEAD_BYTES + 3, &[0x30]),
            ("a line that goes beyond the entries", HEAD_BYTES, &[200]),
            ("a peer that is not in the table", HEAD_BYTES + 4, &[3]),
            ("a kind of peer that there is none of", table, &[9]),
            ("a peer with more than it needs", table + 1, &[1]),
            ("a clock that overflows", 24, &[0xff; 8]),
        ] {
            assert!(!changed(at, value), "{what}");
        }
    }

    #[test]
    fn a_batch_is_full_by_bytes_and_by_time_and_always_takes_one_line() {
        let mut batch = Batch::new(200);
        assert!(batch.push_line(&V4, 5_000, Parse::Off, [&[b'x'; 1000], b""]), "one always fits");
        assert!(!batch.push_line(&V4, 5_000, Parse::Off, [b"", b""]));
        batch.clear();
        assert!(batch.is_empty() && batch.push_line(&V4, 5_000, Parse::Off, [b"x", b""]));
        assert!(!batch.push_line(&V4, 4_999, Parse::Off, [b"x", b""]), "the clock went back");
        assert!(batch.push_line(&V4, 5_000 + 65_535, Parse::Off, [b"x", b""]));
        assert!(!batch.push_line(&V4, 5_000 + 65_536, Parse::Off, [b"x", b""]));
        let count = (0..).take_while(|_| batch.push_line(&V6, 5_000, Parse::Off, [b"1234", b"5678"])).count();
        assert_eq!(
            (count, batch.len()),
            (5, 200),
            "two lines of 9, five of 16, two peers, the head, and 6 to the next step"
        );
        assert_eq!(lines(batch.record(&SALT, 1)).unwrap().len(), 7);
    }

    #[test]
    fn a_batch_goes_on_after_its_record_was_made() {
        let mut batch = batch();
        batch.record(&SALT, 41);
        assert!(batch.push_line(&V4, 1_002, Parse::Off, [b"late", b""]));
        let found = lines(batch.record(&SALT, 41)).unwrap().last().map(|line| (line.number, line.entry));
        assert_eq!(found, Some((45, Entry::Line(b"late", Parse::Off))));
    }

    #[test]
    fn records_can_be_given_another_salt() {
        let one = batch().record(&SALT, 41).to_vec();
        let other = batch().record(&SALT, 45).to_vec();
        let (mut both, mut told) = ([&one[..], &other].concat(), 0);
        let salt = *b"fedcba9876543210";
        resalt(&mut both, &salt, |record| told += record.len());
        assert_eq!(told, both.len());
        assert_eq!(both, [batch().record(&salt, 41), batch().record(&salt, 45)].concat());
    }
}
