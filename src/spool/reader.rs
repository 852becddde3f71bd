//! Lines again: by number, from any line on, with what is missing between. For each output, and for who looks at a spool.
//! Invariant: numbers rise, each is given once or told to be missing, and a damaged file is passed and never waited for.

use std::io;

use super::bytes::wide;
use super::directory::{Directory, Found, PAGE_BYTES, Scanner};
use super::disk::Disk;
use super::record::{Head, Line, Record, Salt};
use super::segment::Name;
use crate::config::text::as_text;

/// A buffer that a long record took is given back down to this.
const KEPT_BYTES: usize = 256 * 1024;

/// How far may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The last number.
    pub last: u64,
    /// How many lines there are up to it, ever.
    pub lines: u64,
}

/// Lines that are not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The number of the first.
    pub first: u64,
    /// The number of the last; some between may have been given to no line.
    pub last: u64,
    /// How many they are.
    pub lines: u64,
    /// Whether their segments are gone, and not damaged.
    pub are_gone: bool,
}

/// What comes next.
#[derive(Debug)]
pub enum Next<'a> {
    /// These lines.
    Lines(Batch<'a>),
    /// These are missing.
    Missing(Missing),
    /// Nothing so far.
    End,
}

/// Lines of one record, from the one on that was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// The first number and the salt of the segment that they are in.
    pub segment: (u64, Salt),
    record: Record<'a>,
}

impl<'a> Batch<'a> {
    /// The lines.
    pub fn lines(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let (first, last) = (self.first, self.last);
        self.record.lines().skip_while(move |line| line.number < first).take_while(move |line| line.number <= last)
    }
}

/// Where the next record is.
#[derive(Debug, Clone)]
struct Place<F> {
    name: Name,
    salt: Salt,
    file: F,
    offset: u64,
}

/// The record that was read last: its bytes are still in the scanner.
#[derive(Debug, Clone, Copy)]
struct Held {
    head: Head,
    /// How many lines are before its first, ever.
    before: u64,
    segment: (u64, Salt),
}

impl Held {
    fn has(&self, number: u64) -> bool {
        (self.head.first..=self.head.last()).contains(&number)
    }
}

/// Goes through the lines of a spool.
#[derive(Debug)]
pub struct Reader<F> {
    wanted: u64,
    /// How many lines are before the wanted one, ever.
    before: u64,
    /// Where the record behind the last one is.
    place: Option<Place<F>>,
    held: Option<Held>,
    scanner: Scanner,
}

impl<F: Clone> Reader<F> {
    /// Begins with the line of this number, before which there were so many, ever.
    #[must_use]
    pub fn new(wanted: u64, before: u64) -> Self {
        Self { wanted, before, place: None, held: None, scanner: Scanner::default() }
    }

    /// The number of the line that comes next.
    #[must_use]
    pub fn wanted(&self) -> u64 {
        self.wanted
    }

    /// How many lines are before that, ever.
    #[must_use]
    pub fn before(&self) -> u64 {
        self.before
    }

    /// Goes on with another line, before or behind, before which there were so many, ever.
    pub fn go_to(&mut self, wanted: u64, before: u64) {
        (self.wanted, self.before, self.place) = (wanted, before, None);
    }

    /// Goes on with a line of the record that was read last, or the one behind it, and keeps its place. False if it is another.
    pub fn go_back(&mut self, wanted: u64) -> bool {
        let Some(held) = self.held.filter(|held| held.has(wanted) || wanted == held.head.last() + 1) else {
            return false;
        };
        (self.wanted, self.before) = (wanted, held.before.saturating_add(wanted - held.head.first));
        true
    }

    /// What can't be read counts as damage from now on, and is no error.
    pub fn pass_unreadable(&mut self, passes: bool) {
        self.scanner.passes_unreadable = passes;
    }

    /// Closes the file of a segment that is gone, so that its blocks are free.
    pub(super) fn forget(&mut self, name: Name) {
        self.place = self.place.take().filter(|place| place.name != name);
    }

    /// The next lines, or what is missing before them. Without a limit, what can't be found is not there yet.
    ///
    /// # Errors
    /// What the system says. Asked again, it tries again.
    pub fn next<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        directory: &Directory,
        limit: Option<Limit>,
    ) -> io::Result<Next<'_>> {
        if limit.is_some_and(|limit| self.wanted > limit.last) {
            return Ok(Next::End);
        }
        if self.held.is_some_and(|held| held.has(self.wanted)) {
            return Ok(self.give(limit));
        }
        self.held = None;
        self.scanner.shrink(KEPT_BYTES);
        if let Some(head) = self.look_here(disk)? {
            self.hold(head);
            return Ok(self.give(limit));
        }
        let hint = self.place.as_ref().map(|place| (place.name, place.offset));
        let found = directory.locate(disk, self.wanted, hint, &mut self.scanner)?;
        let within = found.filter(|found| limit.is_none_or(|limit| found.head.first <= limit.last));
        let (next, before) = match (within, limit) {
            (Some(found), _) => {
                self.go_on_at(disk, directory, &found)?;
                (found.head.first, found.before)
            }
            (None, Some(limit)) => (limit.last.saturating_add(1), limit.lines),
            (None, None) => return Ok(Next::End),
        };
        if next > self.wanted {
            let start = directory.start();
            let are_gone = start.0 > self.wanted;
            // Of what is missing, only that before the oldest segment is gone with its own.
            let (end, before) = if are_gone && start.0 < next { start } else { (next, before) };
            let (first, lines) = (self.wanted, before.saturating_sub(self.before));
            if lines > 0 && !are_gone {
                disk.check_place()?;
            }
            (self.wanted, self.before) = (end, before);
            if lines > 0 {
                return Ok(Next::Missing(Missing { first, last: end - 1, lines, are_gone }));
            }
            if end < next {
                return self.next(disk, directory, limit);
            }
        }
        let Some(found) = within else { return Ok(Next::End) };
        self.hold(found.head);
        Ok(self.give(limit))
    }

    /// The record behind the last one, or at the next page, where it is after a sync.
    fn look_here<D: Disk<File = F>>(&mut self, disk: &D) -> io::Result<Option<Head>> {
        let Some(place) = &mut self.place else { return Ok(None) };
        for offset in [place.offset, place.offset.next_multiple_of(PAGE_BYTES)] {
            let found = self.scanner.record_at(disk, &place.file, offset, &place.salt)?;
            if let Some((head, true)) = found.filter(|(head, _)| (head.first..=head.last()).contains(&self.wanted)) {
                place.offset = offset;
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn go_on_at<D: Disk<File = F>>(&mut self, disk: &D, directory: &Directory, found: &Found) -> io::Result<()> {
        if self.place.as_ref().is_none_or(|place| place.name != found.name) {
            let Some(header) = directory.get(found.name).and_then(|segment| segment.header) else { return Ok(()) };
            let file = disk.open(&as_text(&found.name), false)?;
            self.place = Some(Place { name: found.name, salt: header.salt, file, offset: found.offset });
        }
        if let Some(place) = &mut self.place {
            place.offset = found.offset;
        }
        Ok(())
    }

    /// The scanner has this record, with the wanted line in it, at the place; the next one is behind it.
    fn hold(&mut self, head: Head) {
        let Some(place) = &mut self.place else { return };
        place.offset += wide(head.length);
        let before = self.before.saturating_sub(self.wanted - head.first);
        self.held = Some(Held { head, before, segment: (place.name.first, place.salt) });
    }

    /// The lines of the record that is held, from the wanted one on.
    fn give(&mut self, limit: Option<Limit>) -> Next<'_> {
        let Some((held, record)) = self.held.and_then(|held| Some((held, self.scanner.record(held.head)?))) else {
            return Next::End;
        };
        let (first, last) = (self.wanted, limit.map_or(u64::MAX, |limit| limit.last).min(held.head.last()));
        self.before = self.before.saturating_add(last - first + 1);
        self.wanted = last + 1;
        Next::Lines(Batch { first, last, segment: held.segment, record })
    }
}
