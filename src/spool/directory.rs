//! The segments of a spool as the disk tells of them: which there are, what they take, and where a line is.
//! Invariant: whatever the files hold, everything here ends, and finds each line whose record is whole.

use std::io;
use std::ops::Range;

use super::bytes::{narrow, wide};
use super::disk::{Disk, Unopened, open_to_read, read_full_at};
use super::error::Cause;
use super::position;
use super::record::{HEAD_BYTES, Head, MAGIC, MOST_LINES, Record, STEP_BYTES, Salt};
use super::segment::{BoxId, FOOTER_BYTES, Footer, HEADER_BYTES, Header, Name, NoHeader};
use crate::config::text::as_text;

/// What disks write at once: a cut takes whole pages along.
pub const PAGE_BYTES: u64 = 4096;
/// Positions among which a record is looked for with one read.
const WINDOW_BYTES: usize = 4096;
/// So many of the segments that were removed are remembered: what was sent of them may come back in an answer.
const MOST_REMOVED: usize = 64;
/// Of a record, so much is read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// What a file takes on the disk.
pub(super) fn on_disk(len: u64) -> u64 {
    len.next_multiple_of(PAGE_BYTES)
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its name.
    pub name: Name,
    /// How long its file is, in bytes.
    pub len: u64,
    /// What its header says, or the copy of that in the footer.
    pub header: Option<Header>,
    /// Its footer, if it is sealed.
    pub footer: Option<Footer>,
    /// Whether it can't be read as its own header is damaged, and the footer's copy stands for it.
    pub is_mended: bool,
    /// Whose it is, if it is not this box's: it is left alone.
    pub foreign: Option<BoxId>,
    /// Whether its name is on the disk, so that lines may have left the box.
    pub is_listed: bool,
    /// Whether its header is, too.
    pub is_safe: bool,
    /// Whether all that it was to have again is in it, if it begins with lines of the segment before: a kill may have come first.
    pub is_complete: bool,
}

impl Segment {
    pub(super) fn new(name: Name, len: u64, header: Option<Header>) -> Self {
        Self {
            name,
            len,
            header,
            footer: None,
            is_mended: false,
            foreign: None,
            is_listed: true,
            is_safe: true,
            is_complete: false,
        }
    }

    fn known(&self) -> Option<&Header> {
        self.header.as_ref().filter(|_| self.foreign.is_none())
    }
}

/// A record that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// In which segment.
    pub name: Name,
    /// Where in it.
    pub offset: u64,
    /// What its head says.
    pub head: Head,
    /// How many lines were before its first, ever.
    pub before: u64,
}

/// What the newest segments tell of the lines so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The highest number that was given to a line, as far as can be seen; 0 if there is none.
    pub last: u64,
    /// The next number.
    pub next: u64,
    /// How many lines there were, ever.
    pub lines: u64,
}

/// The segments of a spool, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    segments: Vec<Segment>,
    /// What positions take, also those of outputs that are no longer.
    position_bytes: u64,
    /// What other files take.
    other_bytes: u64,
    /// The files of positions, as they were when it was looked.
    positions: Vec<String>,
    /// The newest of those that were removed since.
    removed: Vec<(u64, Salt)>,
}

impl Directory {
    /// Looks at all files: headers and footers are read, no records. `box_id` is asked with what the newest segment says, and
    /// tells whose segments are ours; `None` if that does not matter.
    ///
    /// # Errors
    /// The directory can't be read, or holds what a newer version wrote. Damage is no error.
    #[inline(never)] // one copy, for size
    pub fn load<D: Disk>(
        disk: &D,
        box_id: &mut dyn FnMut(Option<BoxId>) -> Result<Option<BoxId>, Cause>, // one copy, for size
    ) -> Result<Self, Cause> {
        let mut directory = Self::default();
        let mut found: Vec<(Name, u64)> = Vec::new();
        // Put in at their places: a sort of `std` is thousands of bytes of code.
        disk.list(&mut |name, len| match Name::parse(name) {
            Some(name) => found.insert(found.partition_point(|(other, _)| *other < name), (name, len)),
            None if position::is_named_so(name) => {
                directory.position_bytes += on_disk(len);
                directory.positions.push(name.to_owned());
            }
            None => directory.other_bytes += on_disk(len),
        })?;
        for (name, len) in found {
            directory.segments.extend(look(disk, name, len)?);
        }
        let newest = directory.segments.iter().rev().find_map(|segment| segment.header).map(|header| header.box_id);
        if let Some(own) = box_id(newest)? {
            for segment in &mut directory.segments {
                segment.foreign = segment.header.map(|header| header.box_id).filter(|id| *id != own);
            }
        }
        Ok(directory)
    }

    /// All of them, the oldest first.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// What all files take, in bytes, where positions take so much at least.
    #[must_use]
    pub fn bytes(&self, positions: u64) -> u64 {
        let others = self.other_bytes.max(2 * PAGE_BYTES) + self.position_bytes.max(positions);
        others + self.segments.iter().map(|segment| on_disk(segment.len)).sum::<u64>()
    }

    /// The segment of this name.
    #[must_use]
    pub fn get(&self, name: Name) -> Option<&Segment> {
        self.segments.iter().rev().find(|segment| segment.name == name)
    }

    pub(super) fn get_mut(&mut self, name: Name) -> Option<&mut Segment> {
        self.segments.iter_mut().rev().find(|segment| segment.name == name)
    }

    pub(super) fn push(&mut self, segment: Segment) {
        self.segments.push(segment);
    }

    pub(super) fn remove(&mut self, name: Name) {
        let salt = self.get(name).and_then(Segment::known).map(|header| header.salt);
        self.removed.extend(salt.map(|salt| (name.first, salt)));
        let most = self.removed.len().saturating_sub(MOST_REMOVED);
        self.removed.drain(..most);
        self.segments.retain(|segment| segment.name != name);
    }

    /// What is not this box's, in bytes: segments of others, and files of nobody.
    #[must_use]
    pub fn foreign_bytes(&self) -> u64 {
        let foreign = self.segments.iter().filter(|segment| segment.foreign.is_some());
        self.other_bytes + foreign.map(|segment| on_disk(segment.len)).sum::<u64>()
    }

    /// Looks which of that are gone. Whether there is more room.
    pub(super) fn forget_gone<D: Disk>(&mut self, disk: &D) -> bool {
        let (before, mut names, mut other_bytes) = (self.foreign_bytes(), Vec::new(), 0);
        let listed = disk.list(&mut |name, len| match Name::parse(name) {
            Some(name) => names.push(name),
            None if position::is_named_so(name) => {}
            None => other_bytes += on_disk(len),
        });
        if listed.is_ok() {
            self.other_bytes = other_bytes;
            self.segments.retain(|segment| segment.foreign.is_none() || names.contains(&segment.name));
        }
        self.foreign_bytes() < before
    }

    /// The names of the files of positions.
    pub(super) fn positions(&self) -> &[String] {
        &self.positions
    }

    /// Whether a segment with this first line and salt is one of this box's here, or was until it was removed a short time ago.
    pub(super) fn has_had(&self, wanted: (u64, Salt)) -> bool {
        let mut known = self.segments.iter().filter_map(Segment::known);
        known.any(|header| (header.first, header.salt) == wanted) || self.removed.contains(&wanted)
    }

    /// Whether nothing was under way when the last process ended: its newest segment is sealed.
    #[must_use]
    pub fn is_orderly(&self) -> bool {
        let newest = self.segments.iter().rev().find(|segment| segment.foreign.is_none());
        newest.is_none_or(|newest| newest.footer.is_some())
    }

    /// About how many bytes lie behind the line of this number, where `all` is the last; by the segments' lengths.
    #[must_use]
    pub fn bytes_behind(&self, number: u64, all: u64) -> u64 {
        let (mut bytes, mut end) = (0_u64, all);
        for segment in self.segments.iter().rev().filter(|segment| segment.foreign.is_none()) {
            let first = segment.name.first;
            let last = segment.footer.map_or(end, |footer| footer.last);
            let (behind, count) = (last.saturating_sub(number), last.saturating_sub(first).saturating_add(1));
            if behind == 0 && first <= number {
                break;
            }
            // Less than a share of the whole length, unless all of it is.
            let share = u128::from(segment.len) * u128::from(behind) / u128::from(count);
            bytes = bytes.saturating_add(u64::try_from(share).map_or(segment.len, |share| share.min(segment.len)));
            end = segment.known().map_or(first - 1, |header| header.follows);
        }
        bytes
    }

    /// The oldest segment that is ours, unless it is the newest whose header is on the disk, which tells the next start of
    /// all numbers, and how many lines there were; and the number up to which lines may be in it alone, `all` at most.
    #[must_use]
    pub fn oldest(&self, all: u64) -> Option<(Name, u64)> {
        let mut own = self.segments.iter().filter(|segment| segment.foreign.is_none());
        let oldest = own.next()?;
        let later = own.clone();
        // One that was to have the newest lines again, and does not have all, tells of fewer.
        let is_part = |later: &Segment| later.known().is_some_and(|header| header.rewrites) && !later.is_complete;
        if !own.any(|later| later.is_safe && !is_part(later)) {
            return None;
        }
        let mut ends = later.filter_map(|later| match later.known() {
            Some(header) if header.rewrites && !later.is_complete => None,
            Some(header) => Some(header.follows),
            None => Some(later.name.first - 1),
        });
        Some((oldest.name, ends.next().unwrap_or(all)))
    }

    /// A name for a new segment that begins with this line.
    pub(super) fn new_name(&self, first: u64) -> Name {
        let same = self.segments.iter().rev().find(|segment| segment.name.first == first);
        Name { first, again: same.map_or(0, |same| same.name.again.saturating_add(1)) }
    }

    /// Where an output begins that has nothing: the oldest line, and how many were before it.
    #[must_use]
    pub fn start(&self) -> (u64, u64) {
        let mut own = self.segments.iter().filter(|segment| segment.foreign.is_none());
        let first = own.next().map_or(1, |oldest| oldest.name.first);
        (first, self.lines_before(first))
    }

    /// How many lines were before this one, ever. Before the oldest segment, that is as far as is known.
    #[must_use]
    pub fn lines_before(&self, number: u64) -> u64 {
        let behind = self.segments.partition_point(|segment| segment.name.first <= number);
        let (before, after) = self.segments.split_at(behind);
        let next = after.iter().find_map(Segment::known);
        let Some(header) = before.iter().rev().find_map(Segment::known) else {
            // Nothing is left of those between. Where a start jumped, nobody knows how many there were.
            let Some(next) = next.filter(|_| number > 1) else { return 0 };
            let between = (next.follows + 1).saturating_sub(number);
            return next.before.saturating_sub(if between > MOST_LINES.into() { 0 } else { between });
        };
        let counted = header.before.saturating_add(number - header.first);
        // Behind the last line of a segment are numbers that were given to none.
        next.map_or(counted, |next| counted.min(next.before.max(header.before)))
    }

    /// Looks for a line with this number; if there is none, for the first after it. `hint` is a place in a segment before
    /// which there is none. The record is in `scanner` then.
    ///
    /// # Errors
    /// What the system says, unless the scanner passes what can't be read.
    pub fn locate<D: Disk>(
        &self,
        disk: &D,
        number: u64,
        hint: Option<(Name, u64)>,
        scanner: &mut Scanner,
    ) -> io::Result<Option<Found>> {
        let behind = self.segments.partition_point(|segment| segment.name.first <= number);
        let mut best: Option<Found> = None;
        // Where a sync had failed, the segment before has the same lines.
        for segment in self.segments.get(..behind).unwrap_or_default().iter().rev() {
            let found = look_in(disk, segment, number, hint, scanner)?;
            if found.is_some_and(|found| found.head.first <= number) {
                return Ok(found);
            }
            best = nearer(best, found);
            if segment.known().is_some_and(|header| !header.rewrites) {
                break;
            }
        }
        for segment in self.segments.get(behind..).unwrap_or_default() {
            if best.is_some_and(|best| best.head.first <= segment.name.first) {
                break;
            }
            best = nearer(best, look_in(disk, segment, number, None, scanner)?);
        }
        let Some(best) = best else { return Ok(None) };
        // Another may have been looked at since.
        let Some(segment) = self.get(best.name) else { return Ok(None) };
        let again = look_in(disk, segment, best.head.first, Some((best.name, best.offset)), scanner)?;
        // Removed since: of what is behind it nobody has been asked.
        if again.is_none() && matches!(open_to_read(disk, &as_text(&best.name)), Err(Unopened::Gone)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(again)
    }

    /// What the newest segments tell of the lines so far. Only one that is not sealed is read.
    ///
    /// # Errors
    /// A file can't be opened. Damage is no error.
    pub fn recover<D: Disk>(&self, disk: &D, scanner: &mut Scanner) -> io::Result<Recovered> {
        let mut own = self.segments.iter().filter(|segment| segment.foreign.is_none()).rev();
        let Some(newest) = own.clone().next() else { return Ok(Recovered { last: 0, next: 1, lines: 0 }) };
        // Without any header nothing is known of any line.
        let mut recovered = Recovered { last: self.start().0 - 1, ..Recovered::default() };
        let mut is_found = false;
        for (segment, header) in own.by_ref().filter_map(|segment| Some((segment, segment.known()?))) {
            let last = match segment.footer {
                Some(footer) => footer.last,
                None => highest(disk, segment, header, scanner)?,
            };
            // A segment without lines says what was before it.
            let (last, lines) = match last.checked_sub(header.first) {
                Some(more) => (last, header.before.saturating_add(more).saturating_add(1)),
                None => (header.follows, header.before),
            };
            if !is_found || last > recovered.last {
                (recovered.last, recovered.lines) = (last, lines);
            }
            is_found = true;
            if !header.rewrites {
                break;
            }
        }
        let next = match newest.footer {
            Some(footer) => footer.last.saturating_add(1),
            None => newest.name.first.saturating_add(u64::from(MOST_LINES) + 1),
        };
        recovered.next = next.max(recovered.last.saturating_add(1));
        Ok(recovered)
    }
}

fn nearer(one: Option<Found>, other: Option<Found>) -> Option<Found> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.head.first < one.head.first { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// Reads header and footer. `None` if the file has just been removed.
#[inline(never)] // one copy, for size
fn look<D: Disk>(disk: &D, name: Name, len: u64) -> Result<Option<Segment>, Cause> {
    let file = match open_to_read(disk, &as_text(&name)) {
        Ok(file) => file,
        Err(Unopened::Gone) => return Ok(None),
        Err(Unopened::Short(error)) => return Err(error.into()),
        // Nothing that was written here, and perhaps nothing that could be removed.
        Err(Unopened::Damaged(error)) if error.kind() == io::ErrorKind::InvalidData => return Err(error.into()),
        Err(Unopened::Damaged(_)) => {
            return Ok(Some(Segment::new(name, len, None)));
        }
    };
    let (mut head, mut foot) = ([0; HEADER_BYTES], [0; FOOTER_BYTES]);
    // A bad sector is damage.
    let filled =
        |offset, buffer: &mut [u8]| read_full_at(disk, &file, offset, buffer).is_ok_and(|count| count == buffer.len());
    let header = match filled(0, &mut head).then(|| Header::decode(&head)) {
        Some(Err(NoHeader::Newer(version))) => return Err(Cause::Newer { segment: as_text(&name), version }),
        Some(Ok(header)) => Some(header),
        _ => None,
    };
    let start = len.checked_sub(wide(FOOTER_BYTES)).filter(|start| *start >= wide(HEADER_BYTES));
    let footer = start.filter(|start| filled(*start, &mut foot)).and_then(|_| Footer::decode(&foot));
    // What an older file left in the same blocks has another name.
    let header = header.filter(|header| header.first == name.first);
    let footer =
        footer.filter(|footer| header.map_or(footer.header.first == name.first, |header| header == footer.header));
    let is_mended = header.is_none() && footer.is_some();
    let header = header.or(footer.map(|footer| footer.header));
    Ok(Some(Segment { footer, is_mended, is_complete: footer.is_some(), ..Segment::new(name, len, header) }))
}

/// The first record in a segment that has this line or a later one.
fn look_in<D: Disk>(
    disk: &D,
    segment: &Segment,
    number: u64,
    hint: Option<(Name, u64)>,
    scanner: &mut Scanner,
) -> io::Result<Option<Found>> {
    let Some(header) = segment.known() else { return Ok(None) };
    if segment.footer.is_some_and(|footer| footer.last < number) {
        return Ok(None);
    }
    let file = match open_to_read(disk, &as_text(&segment.name)) {
        Ok(file) => file,
        // Removed while we looked.
        Err(Unopened::Gone) => return Ok(None),
        Err(Unopened::Damaged(_)) if scanner.passes_unreadable => return Ok(None),
        Err(Unopened::Short(error) | Unopened::Damaged(error)) => return Err(error),
    };
    let start = hint.filter(|(name, _)| *name == segment.name).map_or(wide(HEADER_BYTES), |(_, offset)| offset);
    Ok(scanner.next_record(disk, &file, &header.salt, (start..segment.len, number))?.map(|(offset, head)| Found {
        name: segment.name,
        offset,
        head,
        before: header.before.saturating_add(head.first.saturating_sub(header.first)),
    }))
}

/// The highest number in a segment, 0 if there is none. A record whose head alone is whole counts.
fn highest<D: Disk>(disk: &D, segment: &Segment, header: &Header, scanner: &mut Scanner) -> io::Result<u64> {
    let file = match open_to_read(disk, &as_text(&segment.name)) {
        Ok(file) => file,
        Err(Unopened::Short(error)) => return Err(error),
        Err(_) => return Ok(0),
    };
    scanner.next_record(disk, &file, &header.salt, (wide(HEADER_BYTES)..segment.len, u64::MAX))?;
    Ok(scanner.highest)
}

/// Reads records, and keeps the last one.
#[derive(Debug, Default)]
pub struct Scanner {
    record: Vec<u8>,
    /// Whether what can't be read counts as damage, and not as an error.
    pub passes_unreadable: bool,
    /// The highest number in the heads of the last walk.
    highest: u64,
    /// How long the file is that is walked: behind that what can't be read is its end.
    len: u64,
}

impl Scanner {
    /// One that passes what can't be read.
    #[must_use]
    pub fn passing() -> Self {
        Self { passes_unreadable: true, ..Self::default() }
    }

    /// The record that was found last.
    #[must_use]
    pub fn record(&self, head: Head) -> Option<Record<'_>> {
        Record::again(head, &self.record)
    }

    /// The first record at or behind a place of a file that is whole and has a line of this number or a later one.
    fn next_record<D: Disk>(
        &mut self,
        disk: &D,
        file: &D::File,
        salt: &Salt,
        (range, least): (Range<u64>, u64),
    ) -> io::Result<Option<(u64, Head)>> {
        let offset = range.start;
        self.len = range.end;
        Walk { disk, file, salt, offset, least }.next(self)
    }

    /// Gives back what a long record took.
    pub(super) fn shrink(&mut self, most: usize) {
        self.record.shrink_to(most);
    }

    /// Reads the record at a place. `None`: no head of a record is there. False: the rest of it is not whole.
    pub(super) fn record_at<D: Disk>(
        &mut self,
        disk: &D,
        file: &D::File,
        offset: u64,
        salt: &Salt,
    ) -> io::Result<Option<(Head, bool)>> {
        let mut bytes = [0; HEAD_BYTES];
        self.fill(disk, file, offset, &mut bytes)?;
        let Some(head) = Head::decode(&bytes, salt) else { return Ok(None) };
        Ok(Some((head, self.read(disk, file, offset, (head, salt))?)))
    }

    fn read<D: Disk>(
        &mut self,
        disk: &D,
        file: &D::File,
        offset: u64,
        (head, salt): (Head, &Salt),
    ) -> io::Result<bool> {
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        let is_long_enough = self.grow(disk, file, offset, (head.length, &mut record));
        self.record = record;
        Ok(is_long_enough? && Record::of(head, &self.record, salt).is_some())
    }

    /// Reads a piece at a time: a length that is wrong takes no more memory than the file is long.
    fn grow<D: Disk>(
        &self,
        disk: &D,
        file: &D::File,
        offset: u64,
        (length, record): (usize, &mut Vec<u8>),
    ) -> io::Result<bool> {
        while record.len() < length {
            let start = record.len();
            record.resize(length.min(start + PIECE_BYTES), 0);
            let piece = record.get_mut(start..).unwrap_or_default();
            if self.fill(disk, file, offset + wide(start), piece)? < piece.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads as much as there is. What can't be read is zeros, page by page, if that is to be passed.
    fn fill<D: Disk>(&self, disk: &D, file: &D::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match read_full_at(disk, file, offset, buffer) {
            Err(_) if self.passes_unreadable => {}
            result => return result,
        }
        let (mut at, len) = (0, buffer.len());
        while at < len {
            let here = offset + wide(at);
            let end = at.saturating_add(narrow(on_disk(here + 1) - here)).min(len);
            let Some(page) = buffer.get_mut(at..end) else { break };
            match read_full_at(disk, file, here, page) {
                Ok(count) if count < page.len() => return Ok(at + count),
                Ok(_) => {}
                Err(_) if here >= self.len => return Ok(at),
                Err(_) => page.fill(0),
            }
            at = end;
        }
        Ok(len)
    }
}

/// Goes through a segment's records, and over what is none.
struct Walk<'a, D: Disk> {
    disk: &'a D,
    file: &'a D::File,
    salt: &'a Salt,
    offset: u64,
    /// Records without a line of this number or a later one are passed.
    least: u64,
}

impl<D: Disk> Walk<'_, D> {
    /// The next record that is whole. Its bytes are in the scanner.
    fn next(&mut self, scanner: &mut Scanner) -> io::Result<Option<(u64, Head)>> {
        scanner.highest = 0;
        let mut window = [0; WINDOW_BYTES + HEAD_BYTES];
        self.offset = self.offset.next_multiple_of(wide(STEP_BYTES));
        loop {
            let count = scanner.fill(self.disk, self.file, self.offset, &mut window)?;
            let seen = window.get(..count).unwrap_or_default();
            let mut at = 0;
            while at < WINDOW_BYTES && at + HEAD_BYTES <= seen.len() {
                let bytes = seen.get(at..).unwrap_or_default();
                let Some(head) = bytes.starts_with(&MAGIC).then(|| Head::decode(bytes, self.salt)).flatten() else {
                    at += STEP_BYTES;
                    continue;
                };
                scanner.highest = scanner.highest.max(head.last());
                let offset = self.offset + wide(at);
                if !scanner.read(self.disk, self.file, offset, (head, self.salt))? {
                    // Not behind its end: a record that the disk had no room for may have been written again inside.
                    at += STEP_BYTES;
                    continue;
                }
                if head.last() >= self.least {
                    return Ok(Some((offset, head)));
                }
                at += head.length;
            }
            if count < window.len() && at >= count.saturating_sub(HEAD_BYTES - 1) {
                return Ok(None);
            }
            self.offset += wide(at);
        }
    }
}
