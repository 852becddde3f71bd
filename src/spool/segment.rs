//! The frame of a segment: its name, the header that it begins with, and the footer that it ends with once it is sealed.
//! Invariant: bytes are a header or footer only if they are what this writes, and no bytes make reading panic.

use core::fmt;

use super::bytes::{are_zero, array_at, put_at, u32_at, u64_at};
use super::record::Salt;
use super::sum::sum_of;
pub use crate::config::spool::BoxId;
use crate::config::text::{as_text, whole_of};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 96;
/// Bytes of a footer: its own 32, and the header again, for the day when that can't be read.
pub const FOOTER_BYTES: usize = 32 + HEADER_BYTES;
/// The version that is written.
pub const VERSION: u32 = 1;

const HEADER_MAGIC: [u8; 8] = *b"LJspool\n";
const FOOTER_MAGIC: [u8; 8] = *b"LJsealed";
const ENDING: &str = ".seg";
/// A flag: what was retained of the segment before is in this one again.
const REWRITES: u32 = 1;

/// The name of a segment. They sort as their segments were begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// The number of its first line.
    pub first: u64,
    /// How many segments began with that line before: it had to be written again.
    pub again: u32,
}

impl Name {
    /// Reads a name as `Display` writes it, and no other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let stem = text.strip_suffix(ENDING)?;
        let (first, again) = stem.split_once('-').unwrap_or((stem, "0"));
        // One function for both, for size.
        let [first, again] = [first, again].map(|digits| whole_of(digits, 16));
        let name = Self { first: first.filter(|first| *first > 0)?, again: u32::try_from(again?).ok()? };
        (as_text(&name) == text).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.again {
            0 => write!(f, "{:016x}{ENDING}", self.first),
            again => write!(f, "{:016x}-{again:08x}{ENDING}", self.first),
        }
    }
}

/// What a segment begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whose lines these are.
    pub box_id: BoxId,
    /// What the sums of its records begin with.
    pub salt: Salt,
    /// The number of its first line.
    pub first: u64,
    /// The last number before that which was given to a line, as far as the disk told: those between were given to none.
    pub follows: u64,
    /// How many lines came before it, ever: two of these tell exactly how many lines are missing between.
    pub before: u64,
    /// When it was begun, in milliseconds since 1970.
    pub clock_ms: u64,
    /// Whether it begins with lines that are in the segment before too, whose sync failed.
    pub rewrites: bool,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoHeader {
    /// They are damaged.
    Damaged,
    /// They are one of a version that came after this program.
    Newer(u32),
}

impl Header {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        put_at(&mut bytes, 0, &HEADER_MAGIC);
        put_at(&mut bytes, 12, &VERSION.to_le_bytes());
        put_at(&mut bytes, 16, &self.box_id.0);
        put_at(&mut bytes, 32, &self.salt);
        put_at(&mut bytes, 48, &self.first.to_le_bytes());
        put_at(&mut bytes, 56, &self.follows.to_le_bytes());
        put_at(&mut bytes, 64, &self.before.to_le_bytes());
        put_at(&mut bytes, 72, &self.clock_ms.to_le_bytes());
        put_at(&mut bytes, 80, &if self.rewrites { REWRITES } else { 0 }.to_le_bytes());
        let sum = sum_of(b"", bytes.get(12..).unwrap_or_default());
        put_at(&mut bytes, 8, &sum.to_le_bytes());
        bytes
    }

    /// Reads the header that the bytes begin with. The version is believed only if the sum is right.
    ///
    /// # Errors
    /// There is none, or one of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoHeader> {
        let version = Self::version(bytes).ok_or(NoHeader::Damaged)?;
        if version > VERSION {
            return Err(NoHeader::Newer(version));
        }
        Self::fields(bytes).filter(|_| version == VERSION).ok_or(NoHeader::Damaged)
    }

    fn version(bytes: &[u8]) -> Option<u32> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let is_one = bytes.starts_with(&HEADER_MAGIC) && sum_of(b"", bytes.get(12..)?) == u32_at(bytes, 8)?;
        if is_one { u32_at(bytes, 12) } else { None }
    }

    fn fields(bytes: &[u8]) -> Option<Self> {
        let flags = u32_at(bytes, 80)?;
        let header = Self {
            box_id: BoxId(array_at(bytes, 16)?),
            salt: array_at(bytes, 32)?,
            first: u64_at(bytes, 48)?,
            follows: u64_at(bytes, 56)?,
            before: u64_at(bytes, 64)?,
            clock_ms: u64_at(bytes, 72)?,
            rewrites: flags == REWRITES,
        };
        let is_right = header.first > header.follows && flags <= REWRITES && are_zero(bytes.get(84..HEADER_BYTES)?);
        is_right.then_some(header)
    }
}

/// What a sealed segment ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// The number of its last line; the one before its first if there is none.
    pub last: u64,
    /// The sum over the sums of all its records' heads, each with those before it.
    pub sum: u32,
    /// How many records it has.
    pub records: u32,
    /// The header, once more.
    pub header: Header,
}

impl Footer {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        put_at(&mut bytes, 0, &FOOTER_MAGIC);
        put_at(&mut bytes, 16, &self.last.to_le_bytes());
        put_at(&mut bytes, 24, &self.sum.to_le_bytes());
        put_at(&mut bytes, 28, &self.records.to_le_bytes());
        put_at(&mut bytes, 32, &self.header.encode());
        let sum = sum_of(b"", bytes.get(12..).unwrap_or_default());
        put_at(&mut bytes, 8, &sum.to_le_bytes());
        bytes
    }

    /// Reads the last [`FOOTER_BYTES`] of a segment.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; FOOTER_BYTES] = bytes.try_into().ok()?;
        if !bytes.starts_with(&FOOTER_MAGIC) || sum_of(b"", bytes.get(12..)?) != u32_at(bytes, 8)? {
            return None;
        }
        let header = Header::decode(bytes.get(32..)?).ok()?;
        let footer = Self { last: u64_at(bytes, 16)?, sum: u32_at(bytes, 24)?, records: u32_at(bytes, 28)?, header };
        let is_right = footer.last.checked_add(1)? >= header.first && are_zero(bytes.get(12..16)?);
        is_right.then_some(footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        box_id: BoxId([7; 16]),
        salt: [9; 16],
        first: 1 << 20,
        follows: 77,
        before: 76,
        clock_ms: 1_700_000_000_000,
        rewrites: true,
    };

    #[test]
    fn frames_are_read_as_written_and_not_with_one_bit_another() {
        let footer = Footer { last: (1 << 20) + 3, sum: 5, records: 2, header: HEADER };
        let (head, foot) = (HEADER.encode(), footer.encode());
        assert_eq!(Header::decode(&head), Ok(HEADER));
        assert_eq!(Footer::decode(&foot), Some(footer));
        for bit in 0..HEADER_BYTES * 8 {
            let mut other = head;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&other), Err(NoHeader::Damaged), "bit {bit}");
        }
        for bit in 0..FOOTER_BYTES * 8 {
            let mut other = foot;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Footer::decode(&other), None, "bit {bit}");
        }
        (0..HEADER_BYTES).for_each(|len| assert!(Header::decode(&head[..len]).is_err()));
        (0..FOOTER_BYTES).for_each(|len| assert!(Footer::decode(&foot[..len]).is_none()));
    }

    #[test]
    fn a_newer_version_is_told_from_damage_only_by_a_right_sum() {
        let mut bytes = HEADER.encode();
        put_at(&mut bytes, 12, &2_u32.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(NoHeader::Damaged));
        let sum = sum_of(b"", &bytes[12..]);
        put_at(&mut bytes, 8, &sum.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(NoHeader::Newer(2)));
    }

    #[test]
    fn names_sort_as_segments_were_begun_and_no_other_name_is_one() {
        let names =
            ["0000000000000001.seg", "000000000000000a.seg", "000000000000000a-00000001.seg", "0000000000100001.seg"];
        let parsed: Vec<Name> = names.iter().map(|name| Name::parse(name).unwrap()).collect();
        assert!(parsed.is_sorted());
        assert_eq!(parsed[2], Name { first: 10, again: 1 });
        for other in [
            "",
            ".seg",
            "1.seg",
            "0000000000000000.seg",
            "000000000000000A.seg",
            "+00000000000000a.seg",
            "000000000000000a-00000000.seg",
            "000000000000000a-1.seg",
            "000000000000000a.seg.bak",
            "lock",
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
