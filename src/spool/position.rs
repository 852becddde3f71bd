//! How far an output has come: two files that are written in turn, each at its full size from the start, so that writing one
//! never needs room. Invariant: it is a hint. Without it the output asks its server, or begins with the oldest line.

use core::fmt;

use std::io::{self, ErrorKind};

use super::bytes::{are_zero, array_at, put_at, u16_at, u32_at, u64_at};
use super::disk::{Disk, read_full_at, write_all_at};
use super::record::Salt;
use super::sum::sum_of;

/// Bytes of each file.
pub const POSITION_BYTES: usize = 4096;
/// So much has to be acked before it is written again, or so much time to pass: flash wears.
pub const STORE_EVERY_BYTES: u64 = 1 << 20;
/// See [`STORE_EVERY_BYTES`].
pub const STORE_EVERY_MS: u64 = 60_000;
const MAGIC: [u8; 8] = *b"LJpos 1\n";
const FIXED_BYTES: usize = 80;
const ENDING: &str = ".pos";

/// What a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Number of the last line that the output has, with all before it; 0 if it has none.
    pub acked: u64,
    /// How many lines there were up to that one, ever.
    pub lines: u64,
    /// What the server calls the message with that line in it.
    pub sequence: u64,
    /// First number and salt of the segment with that line, by which a copied spool is known.
    pub segment: (u64, Salt),
}

/// A file's content. The name of the output comes last, as far as there is room.
#[must_use]
pub fn encode(generation: u64, place: &Place, output: &str) -> [u8; POSITION_BYTES] {
    let mut bytes = [0; POSITION_BYTES];
    put_at(&mut bytes, 0, &MAGIC);
    put_at(&mut bytes, 16, &generation.to_le_bytes());
    put_at(&mut bytes, 24, &place.acked.to_le_bytes());
    put_at(&mut bytes, 32, &place.lines.to_le_bytes());
    put_at(&mut bytes, 40, &place.sequence.to_le_bytes());
    put_at(&mut bytes, 48, &place.segment.0.to_le_bytes());
    put_at(&mut bytes, 56, &place.segment.1);
    let name = shortened(output);
    put_at(&mut bytes, 72, &u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
    put_at(&mut bytes, FIXED_BYTES, name.as_bytes());
    let sum = sum_of(b"", bytes.get(12..).unwrap_or_default());
    put_at(&mut bytes, 8, &sum.to_le_bytes());
    bytes
}

/// Reads what [`encode`] writes: generation, place, and the output's name.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<(u64, Place, &str)> {
    if bytes.len() != POSITION_BYTES || !bytes.starts_with(&MAGIC) || sum_of(b"", bytes.get(12..)?) != u32_at(bytes, 8)?
    {
        return None;
    }
    let place = Place {
        acked: u64_at(bytes, 24)?,
        lines: u64_at(bytes, 32)?,
        sequence: u64_at(bytes, 40)?,
        segment: (u64_at(bytes, 48)?, array_at(bytes, 56)?),
    };
    let end = FIXED_BYTES + usize::from(u16_at(bytes, 72)?);
    let name = str::from_utf8(bytes.get(FIXED_BYTES..end)?).ok()?;
    let is_right = are_zero(bytes.get(12..16)?) && are_zero(bytes.get(74..FIXED_BYTES)?) && are_zero(bytes.get(end..)?);
    is_right.then_some((u64_at(bytes, 16)?, place, name))
}

fn shortened(output: &str) -> &str {
    let most = POSITION_BYTES - FIXED_BYTES;
    (0..=most).rev().find_map(|end| output.get(..end.min(output.len()))).unwrap_or_default()
}

/// The name of one of an output's two files: a hash of what the output is called.
fn file_name(output: &str, slot: usize) -> String {
    let letter = if slot == 0 { 'a' } else { 'b' };
    let [one, more] = [&b""[..], b"more"].map(|key| sum_of(key, output.as_bytes()));
    format!("{one:08x}{more:08x}-{letter}{ENDING}")
}

/// What a start finds of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It says how far the output has come.
    Known,
    /// There is none yet: the output is a new one.
    New,
    /// It was written, and can't be read any more.
    Lost,
}

/// The two files of an output.
pub struct Position<F> {
    output: String,
    files: [Option<F>; 2],
    /// Which of the two is written next: not the one that is the newest.
    slot: usize,
    generation: u64,
    place: Place,
    stored: Place,
    stored_at_ms: u64,
    unstored_bytes: u64,
    /// What is being written, until its sync is done.
    writing: Option<Place>,
    is_wanted: bool,
    has_failed: bool,
    found: Found,
}

impl<F> fmt::Debug for Position<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}", self.output, self.place)
    }
}

impl<F: Clone> Position<F> {
    /// Reads the files of an output, and makes those that are missing. Where that can't be done the output has no position.
    pub(super) fn open<D: Disk<File = F>>(disk: &D, output: &str, now_ms: u64) -> Self {
        let mut found: Option<(u64, Place, usize)> = None;
        let mut is_written = false;
        let mut bytes = vec![0; POSITION_BYTES];
        let files = [0, 1].map(|slot| {
            let file = open_or_make(disk, &file_name(output, slot)).ok()?;
            let Ok(count) = read_full_at(disk, &file, 0, &mut bytes) else {
                is_written = true;
                return None;
            };
            let bytes = bytes.get(..count)?;
            is_written |= !are_zero(bytes);
            if let Some((generation, place, name)) = decode(bytes)
                && name == shortened(output)
                && found.is_none_or(|(newest, ..)| newest < generation)
            {
                found = Some((generation, place, slot));
            }
            Some(file)
        });
        let (generation, place, slot) = found.unwrap_or((0, Place::default(), 1));
        Self {
            output: output.to_owned(),
            files,
            slot: 1 - slot,
            generation,
            place,
            stored: place,
            stored_at_ms: now_ms,
            unstored_bytes: 0,
            writing: None,
            is_wanted: false,
            has_failed: false,
            found: match found {
                Some(_) => Found::Known,
                None if is_written => Found::Lost,
                None => Found::New,
            },
        }
    }

    /// What the output is called.
    #[must_use]
    pub fn output(&self) -> &str {
        &self.output
    }

    /// How far it has come.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the start found out how far it has come.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.found == Found::Known
    }

    /// What the start found of it.
    #[must_use]
    pub fn found(&self) -> Found {
        self.found
    }

    /// Whether a file of this name is one of its own.
    pub(super) fn has_file(&self, name: &str) -> bool {
        (0..2).any(|slot| file_name(&self.output, slot) == name)
    }

    pub(super) fn set(&mut self, place: Place, bytes: u64) {
        self.place = place;
        self.unstored_bytes = self.unstored_bytes.saturating_add(bytes);
    }

    /// Whether it is written that the output has this line, or can't be.
    pub(super) fn has_stored(&self, number: u64) -> bool {
        self.stored.acked >= number || (self.has_failed && self.place.acked >= number)
    }

    /// Whether what is written is all there is to write, or can't be.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        (self.stored == self.place && self.generation > 0) || self.has_failed
    }

    /// It is to be written now.
    pub(super) fn want(&mut self) {
        self.is_wanted = true;
    }

    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        let is_late = now_ms.abs_diff(self.stored_at_ms) >= STORE_EVERY_MS;
        let is_new = self.place != self.stored || self.generation == 0;
        is_new && (self.is_wanted || is_late || self.unstored_bytes >= STORE_EVERY_BYTES)
    }

    /// Writes it. The answer is the file that has to be synced then.
    pub(super) fn write<D: Disk<File = F>>(&mut self, disk: &D, now_ms: u64) -> Option<F> {
        (self.stored_at_ms, self.unstored_bytes, self.is_wanted) = (now_ms, 0, false);
        let place = self.files.get_mut(self.slot)?;
        let file = match place {
            Some(file) => Ok(file.clone()),
            None => open_or_make(disk, &file_name(&self.output, self.slot)),
        };
        let bytes = encode(self.generation + 1, &self.place, &self.output);
        let written = file.and_then(|file| write_all_at(disk, &file, 0, &bytes).map(|()| file));
        match written {
            Ok(file) => {
                self.writing = Some(self.place);
                *place = Some(file.clone());
                Some(file)
            }
            Err(_) => {
                // Another descriptor may cure it.
                *place = None;
                self.has_failed = true;
                None
            }
        }
    }

    /// What came of the sync. The other file is written next only if this one is good.
    pub(super) fn synced(&mut self, is_good: bool) {
        let Some(place) = self.writing.take() else { return };
        self.has_failed = !is_good;
        if is_good {
            self.stored = place;
            self.generation += 1;
            self.slot = 1 - self.slot;
        } else if let Some(file) = self.files.get_mut(self.slot) {
            *file = None;
        }
    }
}

/// Opens a file that is at its full size afterwards, if there is room.
fn open_or_make<D: Disk>(disk: &D, name: &str) -> io::Result<D::File> {
    let file = match disk.open(name, true) {
        Err(error) if error.kind() == ErrorKind::NotFound => disk.create(name)?,
        opened => opened?,
    };
    let mut last = [0];
    if read_full_at(disk, &file, POSITION_BYTES as u64 - 1, &mut last).is_ok_and(|count| count == 0) {
        write_all_at(disk, &file, 0, &[0; POSITION_BYTES])?;
        disk.sync(&file)?;
        disk.sync_directory()?;
    }
    Ok(file)
}

/// Whose position a file is, if it says so.
pub(super) fn output_of<D: Disk>(disk: &D, name: &str) -> Option<String> {
    let (file, mut bytes) = (disk.open(name, false).ok()?, vec![0; POSITION_BYTES]);
    let count = read_full_at(disk, &file, 0, &mut bytes).ok()?;
    decode(bytes.get(..count)?).map(|(_, _, output)| output.to_owned())
}

/// Whether a file of this name is a position.
pub(super) fn is_named_so(name: &str) -> bool {
    name.ends_with(ENDING)
}

#[cfg(test)]
mod tests {
    use super::super::simulated::SimDisk;
    use super::*;

    const PLACE: Place = Place { acked: 77, lines: 70, sequence: 5, segment: (60, [3; 16]) };

    #[test]
    fn a_position_is_read_as_written_and_not_with_one_bit_another() {
        let bytes = encode(9, &PLACE, "tcp:host:1");
        assert_eq!(decode(&bytes), Some((9, PLACE, "tcp:host:1")));
        for bit in 0..POSITION_BYTES * 8 {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&other), None, "bit {bit}");
        }
        let long = "é".repeat(POSITION_BYTES);
        assert_eq!(
            decode(&encode(1, &PLACE, &long)).map(|(_, _, name)| name.len()),
            Some(POSITION_BYTES - FIXED_BYTES)
        );
    }

    fn stored(disk: &SimDisk) -> Place {
        *Position::open(disk, "tcp:host:1", 0).place()
    }

    fn store(disk: &SimDisk, position: &mut Position<<SimDisk as Disk>::File>, acked: u64) {
        position.set(Place { acked, ..PLACE }, 1);
        position.want();
        assert!(position.is_due(0));
        let file = position.write(disk, 0).unwrap();
        let synced = disk.sync(&file);
        position.synced(synced.is_ok());
    }

    #[test]
    fn the_newer_of_two_files_counts_and_the_other_when_that_is_torn() {
        let disk = SimDisk::new(1);
        let mut position = Position::open(&disk, "tcp:host:1", 0);
        assert!(!position.is_known());
        (1..=3).for_each(|acked| store(&disk, &mut position, acked));
        assert_eq!(stored(&disk).acked, 3);
        disk.flip(&file_name("tcp:host:1", 0), 100);
        assert_eq!(stored(&disk).acked, 2);
        disk.flip(&file_name("tcp:host:1", 1), 100);
        assert!(!Position::open(&disk, "tcp:host:1", 0).is_known(), "both are bad: it is lost, and no more");
        assert!(!Position::open(&disk, "tcp:other:1", 0).is_known(), "another output has its own");
    }

    #[test]
    fn after_a_failed_sync_the_good_file_is_left_alone() {
        let disk = SimDisk::new(1);
        let mut position = Position::open(&disk, "tcp:host:1", 0);
        store(&disk, &mut position, 1);
        for acked in 2..5 {
            disk.fail_next("sync", 5);
            store(&disk, &mut position, acked);
            assert_eq!(decode(&disk.read(&file_name("tcp:host:1", 0))).unwrap().1.acked, 1);
            assert!(position.has_stored(acked), "what can't be stored is not waited for");
        }
        store(&disk, &mut position, 9);
        assert_eq!(stored(&disk).acked, 9);
    }

    #[test]
    fn it_is_written_once_a_mebibyte_or_a_minute_and_when_that_is_wanted() {
        let disk = SimDisk::new(1);
        let mut position = Position::open(&disk, "tcp:host:1", 1_000);
        position.set(PLACE, STORE_EVERY_BYTES - 1);
        assert!(!position.is_due(1_000));
        assert!(position.is_due(1_000 + STORE_EVERY_MS));
        position.set(PLACE, 1);
        assert!(position.is_due(1_000));
        assert!(position.write(&disk, 2_000).is_some());
        position.synced(true);
        assert!(!position.is_due(100_000), "nothing has changed");
    }
}
