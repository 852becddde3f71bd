//! A spool: lines on the disk between clients and outputs, so that an output may be away, and this process be killed, without
//! a line lost. `docs/spool.md` has the format byte by byte, and what is promised.
//!
//! Lines have numbers. They are kept in segments (`segment`), files that are written once, record by record (`record`), and
//! removed whole. A [`Spool`] writes them (`writer`); a `Reader` gives them again, for an output or for a person. What it
//! has to sync, the caller does, in a thread of its own, and tells what came of it. Everything goes through a
//! [`Disk`], so that a world of tests can be one.
//! Invariant: a number that may have left the box is never given to another line.

mod bytes;
pub mod directory;
pub mod disk;
pub mod error;
pub mod identity;
pub mod position;
pub mod reader;
pub mod record;
pub mod segment;
mod sum;
pub mod writer;

#[cfg(test)]
mod outputs;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod world;

use std::io;

pub use crate::config::spool::SpoolFull as Full;

use self::bytes::{narrow, wide};
use self::directory::{Directory, PAGE_BYTES, Scanner, Segment};
use self::disk::{Disk, Unopened, open_to_read};
use self::error::Cause;
use self::position::{POSITION_BYTES, Place, Position};
use self::reader::{Limit, Next, Reader};
use self::record::{Batch, MOST_LINE_BYTES, OVERHEAD_BYTES, Salt};
use self::segment::{BoxId, FOOTER_BYTES, HEADER_BYTES};
use self::writer::Writer;
use crate::config::text::as_text;

/// What a segment has beside its records, and what they may leave free before its footer.
const FRAME_BYTES: u64 = HEADER_BYTES as u64 + PAGE_BYTES + FOOTER_BYTES as u64;
const LEAST_SEGMENT_BYTES: u64 = 64 * 1024;
const MOST_SEGMENT_BYTES: u64 = 1 << 20;
/// A spool is at most so many segments when it is full: that bounds what is known of them in memory.
const MOST_SEGMENTS: u64 = 4096;
const LEAST_SEGMENTS: u64 = 4;
/// So many of the newest segments are synced at a start: a kill may have left them.
const MOST_LEFT: usize = 16;
/// A batch is written once it is so long: enough to make a write cheap, and little to have in memory.
pub(crate) const BATCH_BYTES: usize = 256 * 1024;

/// What a spool is told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The most that its files take, in bytes (`--spool-size`).
    pub size: u64,
    /// The longest line, in bytes (`--max-line`).
    pub max_line: usize,
    /// How long a segment becomes, in bytes, if the longest line fits; `None`: a share of `size`.
    pub segment_bytes: Option<u64>,
    /// What happens then.
    pub full: Full,
    /// What each output is called, without its credentials: its position is found by that.
    pub outputs: Vec<String>,
    /// Whose place is to be taken (`--take-over`).
    pub take_over: Option<BoxId>,
}

impl Settings {
    /// How long a segment becomes, in bytes.
    #[must_use]
    #[inline(never)] // one copy, for size
    pub fn segment(&self) -> u64 {
        let share = (self.size / 16).clamp(LEAST_SEGMENT_BYTES, MOST_SEGMENT_BYTES).max(self.size / MOST_SEGMENTS);
        let share = self.segment_bytes.unwrap_or(share);
        let least = wide(self.max_line).saturating_add(wide(OVERHEAD_BYTES) + FRAME_BYTES);
        share.max(least).next_multiple_of(PAGE_BYTES)
    }

    /// The smallest `size` with which there are four segments.
    #[must_use]
    pub fn least_size(&self) -> u64 {
        let segment = Self { size: 0, ..self.clone() }.segment();
        LEAST_SEGMENTS * segment + self.position_bytes() + 2 * PAGE_BYTES
    }

    fn position_bytes(&self) -> u64 {
        wide(self.outputs.len() * 2 * POSITION_BYTES)
    }

    /// Checks them, without looking at any file.
    ///
    /// # Errors
    /// What makes no sense.
    pub fn validate(&self) -> Result<(), Cause> {
        if self.max_line > MOST_LINE_BYTES - OVERHEAD_BYTES {
            return Err(Cause::LineTooLong(MOST_LINE_BYTES - OVERHEAD_BYTES));
        }
        let least = self.least_size();
        if self.size < least {
            return Err(Cause::TooSmall { size: self.size, least });
        }
        for (number, output) in self.outputs.iter().enumerate() {
            if self.outputs.iter().take(number).any(|other| other == output) {
                return Err(Cause::Twice(output.clone()));
            }
        }
        Ok(())
    }
}

/// A line as it is reckoned with, in bytes.
pub const USUAL_LINE_BYTES: u64 = 100;

/// What lines of [`USUAL_LINE_BYTES`] take in an hour, in bytes, if so many come each second, one by one; `sync_ms`: how often
/// they are synced, after which the next one begins a page.
#[must_use]
pub fn bytes_an_hour(lines_a_second: u64, sync_ms: Option<u64>) -> u64 {
    let record =
        (USUAL_LINE_BYTES + wide(OVERHEAD_BYTES - record::STEP_BYTES)).next_multiple_of(wide(record::STEP_BYTES));
    let lines = lines_a_second * 3600;
    let Some(sync_ms) = sync_ms else { return lines * record };
    let syncs = (3_600_000 / sync_ms.max(1)).min(lines).max(1);
    syncs * (lines * record / syncs).next_multiple_of(PAGE_BYTES)
}

/// What a process that was killed left is to be on the disk before anything of this one. Whether the names are; until then
/// nothing leaves.
fn secure<D: Disk>(disk: &D, directory: &Directory) -> io::Result<bool> {
    for segment in directory.segments().iter().rev().filter(|segment| segment.foreign.is_none()).take(MOST_LEFT) {
        match open_to_read(disk, &as_text(&segment.name)) {
            // If that fails, what was not synced is not in memory either.
            Ok(file) => drop(disk.sync(&file)),
            Err(Unopened::Short(error)) => return Err(error),
            Err(_) => {}
        }
    }
    Ok(disk.sync_directory().is_ok())
}

/// An output's part of a spool.
struct Outlet<F> {
    position: Position<F>,
    reader: Reader<F>,
    /// Lines that were removed and that the output did not have.
    dropped: u64,
    /// What it may ask for again, from this number on, though it has acked more.
    needed: u64,
}

/// What a start found. What waits for an output then is its [`Spool::lag`], and what became of its position
/// [`Position::found`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Whether the last process came to an orderly end, or there was none.
    pub is_orderly: bool,
    /// How many segments have no header that can be read: their lines are missing.
    pub headless: usize,
    /// How many have one only in their footer.
    pub mended: usize,
    /// How many are another box's, and left alone.
    pub foreign: usize,
    /// Outputs that have a position here, and are not among those that were given.
    pub forgotten: Vec<String>,
}

impl Start {
    fn of<D: Disk>(disk: &D, directory: &Directory, outlets: &[Outlet<D::File>]) -> Self {
        let count = |is: fn(&Segment) -> bool| directory.segments().iter().filter(|segment| is(segment)).count();
        let mut forgotten: Vec<String> = Vec::new();
        let is_ours = |name: &str| outlets.iter().any(|outlet| outlet.position.has_file(name));
        for name in directory.positions().iter().filter(|name| !is_ours(name)) {
            let output = position::output_of(disk, name).filter(|output| !forgotten.contains(output));
            forgotten.extend(output);
        }
        Self {
            is_orderly: directory.is_orderly(),
            headless: count(|segment| segment.header.is_none()),
            mended: count(|segment| segment.is_mended),
            foreign: count(|segment| segment.foreign.is_some()),
            forgotten,
        }
    }
}

/// The spool of one process.
pub struct Spool<D: Disk> {
    disk: D,
    settings: Settings,
    box_id: BoxId,
    directory: Directory,
    outlets: Vec<Outlet<D::File>>,
    writer: Writer<D::File>,
    start: Start,
    /// Held until the end.
    _lock: D::File,
}

impl<D: Disk> Spool<D> {
    /// Opens the spool in a directory, or makes one there. Whatever its files hold, nothing in them is changed.
    ///
    /// # Errors
    /// See [`Cause`]. Damage is none of them.
    pub fn open(disk: D, settings: Settings, now_ms: u64) -> Result<Self, Cause> {
        settings.validate()?;
        identity::is_spool(&disk)?;
        let lock = identity::lock(&disk)?;
        let mut box_id = None;
        let directory = Directory::load(&disk, &mut |found| {
            box_id = Some(identity::settle(&disk, found, settings.take_over)?);
            Ok(box_id)
        })?;
        let mut scanner = Scanner::passing();
        let mut recovered = directory.recover(&disk, &mut scanner)?;
        let outlets: Vec<_> = settings
            .outputs
            .iter()
            .map(|output| {
                let mut position = Position::open(&disk, output, now_ms);
                let (oldest, before) = directory.start();
                if !position.is_known() {
                    // Written down, too: what goes before it has acked anything is told as missing.
                    position.set(Place { acked: oldest - 1, lines: before, ..Place::default() }, 0);
                    position.want();
                }
                let reader = match position.is_known() {
                    true => {
                        let wanted = position.place().acked.saturating_add(1);
                        // What a cut took of the newest lines was counted when they were acked.
                        let counted = position.place().lines.min(before);
                        let before = if oldest <= wanted { directory.lines_before(wanted) } else { counted };
                        Reader::new(wanted, before.min(recovered.lines))
                    }
                    false => Reader::new(oldest, before),
                };
                Outlet { position, reader, dropped: 0, needed: u64::MAX }
            })
            .collect();
        // A line that is acked has left the box. If its segment is gone, so may later ones be, and nobody knows how many.
        let acked = outlets.iter().map(|outlet| outlet.position.place().acked).max().unwrap_or(0);
        if acked >= recovered.next {
            recovered.next = acked.saturating_add(u64::from(record::MOST_LINES) + 1);
            recovered.last = recovered.last.max(acked);
        }
        if settings.take_over.is_some() && directory.segments().is_empty() {
            // What the box that is gone gave to lines nobody knows. With each start it jumped by this much at most, and it was not
            // started every second.
            recovered.next = recovered.next.max((now_ms / 1000).saturating_mul(u64::from(record::MOST_LINES) + 1));
            recovered.last = recovered.next - 1;
        }
        let start = Start::of(&disk, &directory, &outlets);
        let box_id = box_id.unwrap_or(BoxId([0; 16]));
        let is_listed = secure(&disk, &directory)?;
        let writer = Writer::new(recovered, is_listed);
        Ok(Self { disk, settings, box_id, directory, outlets, writer, start, _lock: lock })
    }

    /// Whose lines these are.
    #[must_use]
    pub fn box_id(&self) -> BoxId {
        self.box_id
    }

    /// What is on the disk.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// What it takes on the disk, in bytes; of the segment that is written, what that has so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.directory.bytes(self.settings.position_bytes())
    }

    /// An empty batch whose record fits into a segment.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch::new(BATCH_BYTES.min(narrow(self.settings.segment() - FRAME_BYTES)))
    }

    /// How far outputs may read.
    #[must_use]
    pub fn readable(&self) -> Limit {
        self.writer.readable()
    }

    /// How far an output has come.
    #[must_use]
    pub fn position(&self, output: usize) -> Option<&Position<D::File>> {
        self.outlets.get(output).map(|outlet| &outlet.position)
    }

    /// What the start found.
    #[must_use]
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// How many lines wait for an output: it does not have them yet, and they are not gone.
    #[must_use]
    pub fn lag(&self, output: usize) -> u64 {
        let gone = self.directory.start().1;
        let has = |outlet: &Outlet<D::File>| outlet.position.place().lines.max(gone);
        self.outlets.get(output).map_or(0, |outlet| self.writer.lines().saturating_sub(has(outlet)))
    }

    /// About how many bytes of the spool's files wait for an output.
    #[must_use]
    pub fn lag_bytes(&self, output: usize) -> u64 {
        let acked = |outlet: &Outlet<D::File>| outlet.position.place().acked;
        let behind = |number| self.directory.bytes_behind(number, self.writer.last());
        self.outlets.get(output).map(acked).map_or(0, behind)
    }

    /// How many lines there are behind the one of this number that are not gone, and about how many bytes of the spool's files that
    /// is.
    #[must_use]
    pub fn behind(&self, number: u64) -> (u64, u64) {
        let (oldest, before) = self.directory.start();
        let had = self.directory.lines_before(number.saturating_add(1).max(oldest)).max(before);
        (self.writer.lines().saturating_sub(had), self.directory.bytes_behind(number, self.writer.last()))
    }

    /// How many lines were removed since the start that an output did not have ([`Full::DropOldest`]).
    #[must_use]
    pub fn dropped(&self, output: usize) -> u64 {
        self.outlets.get(output).map_or(0, |outlet| outlet.dropped)
    }

    /// Whether a segment with this first line and salt is, or was, one of this spool. `None`: it is older than what is left,
    /// and nobody knows.
    #[must_use]
    pub fn is_known_segment(&self, first: u64, salt: Salt) -> Option<bool> {
        let is_told = |outlet: &Outlet<D::File>| outlet.position.place().segment == (first, salt);
        if self.directory.has_had((first, salt)) || self.outlets.iter().any(is_told) {
            return Some(true);
        }
        let oldest = if self.directory.segments().is_empty() { self.next_number() } else { self.directory.start().0 };
        if first < oldest { None } else { Some(false) }
    }

    /// What an output gets next.
    ///
    /// # Errors
    /// What the system says. After a pause it may be asked again; a file that can't be read in the end is passed by
    /// [`Self::pass_unreadable`].
    pub fn read(&mut self, output: usize) -> io::Result<Next<'_>> {
        let limit = self.writer.readable();
        match self.outlets.get_mut(output) {
            Some(outlet) => outlet.reader.next(&self.disk, &self.directory, Some(limit)),
            None => Ok(Next::End),
        }
    }

    /// What this output can't read counts as damage from now on, until it is said to be an error again.
    pub fn pass_unreadable(&mut self, output: usize, passes: bool) {
        if let Some(outlet) = self.outlets.get_mut(output) {
            outlet.reader.pass_unreadable(passes);
        }
    }

    /// An output goes on with this line, before or behind the one that it was to get next. One of the record that it read
    /// last costs no read of the disk.
    pub fn go_to(&mut self, output: usize, number: u64) {
        let Some(outlet) = self.outlets.get_mut(output) else { return };
        if outlet.reader.go_back(number) {
            return;
        }
        let (oldest, all) = self.directory.start();
        let place = outlet.position.place();
        // Of what is gone the position knows more than the segments that are left.
        let before = match place.acked.saturating_add(1).checked_sub(number) {
            Some(back) if number < oldest => place.lines.saturating_sub(back).min(all),
            _ => self.directory.lines_before(number).min(self.writer.lines()),
        };
        outlet.reader.go_to(number, before);
    }

    /// Lines from this number on may be asked for again, though the output has acked more: they stay. To be said again with
    /// each change.
    pub fn need(&mut self, output: usize, number: u64) {
        if let Some(outlet) = self.outlets.get_mut(output) {
            outlet.needed = number;
        }
    }

    /// The position of an output is to be written down soon, and not only once a minute.
    pub fn want_position(&mut self, output: usize) {
        if let Some(outlet) = self.outlets.get_mut(output) {
            outlet.position.want();
        }
    }

    /// An output has all lines up to this number; also fewer than were acked before, if its server lost them. `sequence` is
    /// what the server calls the last message, and `bytes` how much came with this ack.
    pub fn acked(&mut self, output: usize, number: u64, sequence: u64, bytes: u64) {
        let of = self.directory.segments().iter().rev().find(|segment| segment.name.first <= number);
        let segment =
            of.and_then(|segment| segment.header).map(|header| (header.first, header.salt)).unwrap_or_default();
        let lines = self.directory.lines_before(number.saturating_add(1));
        if let Some(outlet) = self.outlets.get_mut(output) {
            outlet.position.set(Place { acked: number, lines, sequence, segment }, bytes);
        }
    }
}
