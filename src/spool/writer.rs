//! Writing: lines get their numbers and go to the newest segment. It says what is to be synced, and is told what came of it;
//! what is not synced yet is kept in memory, and written again to a new segment when a sync has failed.
//! Invariant: no whole record is ever written over, and a file whose sync has failed is neither written nor synced again.

use std::io::{self, ErrorKind};

use super::bytes::wide;
use super::directory::{PAGE_BYTES, Recovered, Segment, on_disk};
use super::disk::{Disk, is_full, write_all_at};
use super::position::Position;
use super::reader::Limit;
use super::record::{Batch, MOST_LINES, add_head, resalt};
use super::segment::{FOOTER_BYTES, Footer, HEADER_BYTES, Header, Name};
use super::{FRAME_BYTES, Full, Spool};
use crate::config::text::as_text;

/// Why lines can't be written now.
#[derive(Debug)]
pub enum Wait {
    /// Until a job is done: [`Spool::next_job`] has one, or one is running.
    Sync,
    /// Until outputs have acked more: there is no room.
    Acks,
    /// Until files that are not ours are gone: none of ours may go, whatever is acked.
    Others,
    /// For a while: the disk does not take anything.
    Disk(io::Error),
}

/// What is to be synced, in this order. It can be sent to a thread.
#[derive(Debug)]
pub struct Job<F> {
    files: Vec<F>,
    has_directory: bool,
}

impl<F: Clone> Job<F> {
    /// Does it. The answer is for [`Spool::done`].
    ///
    /// # Errors
    /// The first that the system says.
    pub fn run<D: Disk<File = F>>(&self, disk: &D) -> io::Result<()> {
        self.files.iter().try_for_each(|file| disk.sync(file))?;
        if self.has_directory { disk.sync_directory() } else { Ok(()) }
    }
}

/// The segment that is written.
struct Open<F> {
    name: Name,
    header: Header,
    file: F,
    /// Where the next record begins.
    offset: u64,
    records: u32,
    sum: u32,
    /// Whether its name is on the disk.
    is_listed: bool,
    /// Whether its header is, too.
    is_safe: bool,
}

enum State<F> {
    /// The next record begins a segment.
    Closed,
    /// The next record goes here.
    Open(Open<F>),
    /// It takes no more, and is not synced yet.
    Sealing(Open<F>),
    /// Nobody knows what this segment has since its last sync. What is retained is to be written again.
    Failed(Header),
}

/// What a job that was given out is about.
enum Running {
    /// Records up to this number, and so many bytes of what is retained.
    Records(u64, usize),
    /// A whole segment.
    Seal,
    /// The name of a new one, unless it was begun since.
    Listing(Option<Name>),
    Positions,
}

/// The part of a spool that writes.
pub(super) struct Writer<F> {
    state: State<F>,
    /// The number of the next line.
    next: u64,
    /// The last that was given, as far as is known.
    last: u64,
    /// How many lines there were, ever.
    lines: u64,
    /// All lines up to this number are synced.
    synced: u64,
    /// The records behind that.
    retained: Vec<u8>,
    running: Option<Running>,
    wants_sync: bool,
    /// Whether the names of all segments before the one that is written are on the disk.
    is_listed: bool,
}

impl<F> Writer<F> {
    pub(super) fn new(recovered: Recovered, is_listed: bool) -> Self {
        let Recovered { last, next, lines } = recovered;
        Self {
            state: State::Closed,
            next,
            last,
            lines,
            // What was found is as safe as it will be.
            synced: next - 1,
            retained: Vec::new(),
            running: None,
            wants_sync: false,
            is_listed,
        }
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// A number leaves the box only if the name of its segment is on the disk: by that the next start knows that it was
    /// given.
    pub(super) fn readable(&self) -> Limit {
        let last = match &self.state {
            _ if !self.is_listed => 0,
            State::Failed(_) => self.synced,
            State::Open(open) | State::Sealing(open) if !open.is_listed => open.header.first - 1,
            _ => self.next - 1,
        };
        Limit { last, lines: self.lines_to(last) }
    }

    /// How many lines there were up to one of this process, ever.
    fn lines_to(&self, number: u64) -> u64 {
        self.lines.saturating_sub((self.next - 1).saturating_sub(number))
    }
}

impl<D: Disk> Spool<D> {
    /// The number that the next line gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.writer.next
    }

    /// The highest number that was given to a line, as far as is known.
    #[must_use]
    pub fn last_number(&self) -> u64 {
        self.writer.last
    }

    /// All lines up to this number are synced.
    #[must_use]
    pub fn synced(&self) -> u64 {
        self.writer.synced
    }

    /// Bytes in memory that are not synced yet.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        self.writer.retained.len()
    }

    /// Writes a batch, whose lines get their numbers, and empties it.
    ///
    /// # Errors
    /// Why it has to wait. The batch is as it was, and lines may be added to it. After [`Wait::Disk`] there has to be a
    /// pause.
    pub fn write(&mut self, batch: &mut Batch, now_ms: u64) -> Result<(), Wait> {
        if batch.is_empty() {
            return Ok(());
        }
        self.mend(now_ms)?;
        let len = wide(batch.len());
        if matches!(self.writer.state, State::Closed) {
            let room = self.settings.segment().max(len + FRAME_BYTES);
            let open = self.begin(now_ms, (self.writer.next, self.writer.last), room, false)?;
            self.writer.state = State::Open(open);
            self.remove_superseded();
        }
        let State::Open(open) = &self.writer.state else { return Err(Wait::Sync) };
        let end = (open.offset + len).next_multiple_of(PAGE_BYTES) + wide(FOOTER_BYTES);
        let number = (self.writer.next - open.header.first).saturating_add(batch.count().into());
        if open.records > 0 && (end > self.settings.segment() || number > MOST_LINES.into()) {
            self.seal();
            return Err(Wait::Sync);
        }
        loop {
            let State::Open(open) = &mut self.writer.state else { return Err(Wait::Sync) };
            let record = batch.record(&open.header.salt, self.writer.next);
            match write_all_at(&self.disk, &open.file, open.offset, record) {
                Ok(()) => {
                    self.wrote(batch);
                    return Ok(());
                }
                // Whatever was written of it is written over by the next try.
                Err(error) if is_full(&error) => self.make_room(error)?,
                Err(error) => {
                    self.fail();
                    return Err(Wait::Disk(error));
                }
            }
        }
    }

    /// The record of this batch is in the segment.
    fn wrote(&mut self, batch: &mut Batch) {
        let writer = &mut self.writer;
        let State::Open(open) = &mut writer.state else { return };
        let record = batch.made();
        open.offset += wide(record.len());
        open.records += 1;
        open.sum = add_head(open.sum, record);
        writer.retained.extend_from_slice(record);
        writer.next += u64::from(batch.count());
        writer.last = writer.next - 1;
        writer.lines += u64::from(batch.count());
        batch.clear();
        let (name, len) = (open.name, open.offset);
        self.set_len(name, len);
    }

    fn set_len(&mut self, name: Name, len: u64) {
        if let Some(segment) = self.directory.get_mut(name) {
            segment.len = len;
        }
    }

    /// What is written is to be synced.
    pub fn want_sync(&mut self) {
        self.writer.wants_sync = true;
    }

    /// What to sync now, if anything; [`Self::done`] has to be told what came of it before there is more.
    pub fn next_job(&mut self, now_ms: u64) -> Option<Job<D::File>> {
        if self.writer.running.is_some() {
            return None;
        }
        if !self.writer.is_listed {
            self.writer.running = Some(Running::Listing(None));
            return Some(Job { files: Vec::new(), has_directory: true });
        }
        let (wants_sync, is_empty) = (self.writer.wants_sync, self.writer.retained.is_empty());
        let (running, job) = match &mut self.writer.state {
            State::Sealing(open) => {
                (Running::Seal, Job { files: vec![open.file.clone()], has_directory: !open.is_listed })
            }
            State::Open(open) if wants_sync && !(is_empty && open.is_safe) => {
                // A page that is written again may be torn by a cut, with what was synced in it.
                open.offset = open.offset.next_multiple_of(PAGE_BYTES);
                self.writer.wants_sync = false;
                let running = Running::Records(self.writer.next - 1, self.writer.retained.len());
                (running, Job { files: vec![open.file.clone()], has_directory: !open.is_listed })
            }
            State::Open(open) if !open.is_listed => {
                (Running::Listing(Some(open.name)), Job { files: Vec::new(), has_directory: true })
            }
            _ => {
                let disk = &self.disk;
                let due = self.outlets.iter_mut().filter(|outlet| outlet.position.is_due(now_ms));
                let files: Vec<_> = due.filter_map(|outlet| outlet.position.write(disk, now_ms)).collect();
                if files.is_empty() {
                    return None;
                }
                (Running::Positions, Job { files, has_directory: false })
            }
        };
        self.writer.running = Some(running);
        Some(job)
    }

    /// What came of a job. After a failure there has to be a pause.
    pub fn done(&mut self, result: &io::Result<()>) {
        let Some(running) = self.writer.running.take() else { return };
        let is_good = result.is_ok();
        let writer = &mut self.writer;
        writer.is_listed |= is_good && matches!(running, Running::Listing(_));
        if is_good && let State::Open(open) | State::Sealing(open) = &mut writer.state {
            let is_synced = matches!(running, Running::Records(..) | Running::Seal);
            let is_named = matches!(running, Running::Listing(name) if name == Some(open.name));
            if (is_synced || is_named)
                && let Some(segment) = self.directory.get_mut(open.name)
            {
                (open.is_listed, segment.is_listed) = (true, true);
                (open.is_safe, segment.is_safe) = (open.is_safe || is_synced, segment.is_safe || is_synced);
                self.remove_superseded();
            }
        }
        let writer = &mut self.writer;
        match running {
            Running::Positions => {
                self.outlets.iter_mut().for_each(|outlet| outlet.position.synced(is_good));
                return;
            }
            Running::Listing(_) => return,
            Running::Records(last, len) if is_good => {
                writer.synced = last;
                writer.retained.drain(..len.min(writer.retained.len()));
            }
            Running::Seal if is_good => {
                writer.synced = writer.next - 1;
                writer.retained.clear();
                writer.state = State::Closed;
            }
            Running::Records(..) | Running::Seal => self.fail(),
        }
        let writer = &mut self.writer;
        if writer.retained.is_empty() {
            // What a burst took goes back.
            writer.retained = Vec::new();
            if matches!(writer.state, State::Failed(_)) {
                writer.state = State::Closed;
            }
        }
    }

    /// The newest segment takes no more. Without room for its footer it has none: what follows tells where it ends.
    fn seal(&mut self) {
        let open = match std::mem::replace(&mut self.writer.state, State::Closed) {
            State::Open(open) => open,
            other => return self.writer.state = other,
        };
        let footer = Footer { last: self.writer.next - 1, sum: open.sum, records: open.records, header: open.header };
        let written = write_all_at(&self.disk, &open.file, open.offset, &footer.encode());
        let (name, len) = (open.name, open.offset + wide(FOOTER_BYTES));
        self.writer.state = State::Sealing(open);
        match written {
            Ok(()) => {
                self.set_len(name, len);
                if let Some(segment) = self.directory.get_mut(name) {
                    segment.footer = Some(footer);
                }
            }
            Err(error) if is_full(&error) => {}
            Err(_) => self.fail(),
        }
    }

    /// The newest segment can't be relied on any more.
    fn fail(&mut self) {
        let state = std::mem::replace(&mut self.writer.state, State::Closed);
        if let State::Open(open) | State::Sealing(open) = state {
            if let Some(segment) = self.directory.get_mut(open.name) {
                segment.footer = None;
            }
            if !self.writer.retained.is_empty() || self.writer.running.is_some() {
                self.writer.state = State::Failed(open.header);
            }
        } else {
            self.writer.state = state;
        }
    }

    /// Writes again what may be lost since a sync failed. To be called after a pause; [`Self::write`] does it too.
    ///
    /// # Errors
    /// Why that has to wait.
    pub fn mend(&mut self, now_ms: u64) -> Result<(), Wait> {
        let State::Failed(failed) = self.writer.state else { return Ok(()) };
        if self.writer.retained.is_empty() {
            self.writer.state = State::Closed;
            return Ok(());
        }
        if self.writer.running.is_some() {
            return Err(Wait::Sync);
        }
        let first = self.writer.synced.max(failed.first - 1) + 1;
        let follows = if first == failed.first { failed.follows } else { first - 1 };
        let room = self.settings.segment().max(wide(self.writer.retained.len()) + FRAME_BYTES);
        let mut open = self.begin(now_ms, (first, follows), room, true)?;
        resalt(&mut self.writer.retained, &open.header.salt, |record| {
            open.records += 1;
            open.sum = add_head(open.sum, record);
        });
        if let Err(error) = write_all_at(&self.disk, &open.file, open.offset, &self.writer.retained) {
            self.remove(open.name);
            return Err(Wait::Disk(error));
        }
        open.offset += wide(self.writer.retained.len());
        self.set_len(open.name, open.offset);
        if let Some(segment) = self.directory.get_mut(open.name) {
            segment.is_complete = true;
        }
        self.writer.state = State::Open(open);
        self.writer.wants_sync = true;
        self.remove_superseded();
        Ok(())
    }

    /// Begins a segment.
    fn begin(
        &mut self,
        now_ms: u64,
        (first, follows): (u64, u64),
        room: u64,
        rewrites: bool,
    ) -> Result<Open<D::File>, Wait> {
        while self.bytes().saturating_add(on_disk(room)) > self.settings.size {
            self.free_oldest()?;
        }
        loop {
            match self.begin_file(now_ms, (first, follows), rewrites) {
                Ok(open) => return Ok(open),
                Err(error) => self.make_room(error)?,
            }
        }
    }

    /// After an error that room may cure, there is more.
    fn make_room(&mut self, error: io::Error) -> Result<(), Wait> {
        if !is_full(&error) {
            return Err(Wait::Disk(error));
        }
        match self.free_oldest() {
            Err(Wait::Acks | Wait::Others) => Err(Wait::Disk(error)),
            other => other,
        }
    }

    fn begin_file(&mut self, now_ms: u64, (first, follows): (u64, u64), rewrites: bool) -> io::Result<Open<D::File>> {
        self.disk.check_place()?;
        let salt = self.disk.random()?;
        let before = self.writer.lines_to(first - 1);
        let header = Header { box_id: self.box_id, salt, first, follows, before, clock_ms: now_ms, rewrites };
        let name = self.directory.new_name(first);
        let file = self.disk.create(&as_text(&name))?;
        let len = wide(HEADER_BYTES);
        self.directory.push(Segment { is_listed: false, is_safe: false, ..Segment::new(name, len, Some(header)) });
        if let Err(error) = write_all_at(&self.disk, &file, 0, &header.encode()) {
            self.remove(name);
            return Err(error);
        }
        Ok(Open { name, header, file, offset: len, records: 0, sum: 0, is_listed: false, is_safe: false })
    }

    /// Segments that began with the same line as the newest have nothing that is not in it. But while its name is not on the
    /// disk, theirs tells that the number was given.
    fn remove_superseded(&mut self) {
        let (State::Open(open) | State::Sealing(open)) = &self.writer.state else { return };
        let (name, is_listed) = (open.name, open.is_listed);
        let is_older = |other: &&Segment| other.name.first == name.first && other.name < name;
        let same = self.directory.segments().iter().filter(is_older).filter(|other| is_listed || !other.is_listed);
        let names: Vec<Name> = same.filter(|other| other.foreign.is_none()).map(|other| other.name).collect();
        names.into_iter().for_each(|name| self.remove(name));
    }

    /// Removes the oldest segment, if it may go.
    fn free_oldest(&mut self) -> Result<(), Wait> {
        self.disk.check_place().map_err(Wait::Disk)?;
        let Some((name, last)) = self.directory.oldest(self.writer.last) else {
            let is_new = matches!(&self.writer.state, State::Open(open) if !open.is_safe);
            self.writer.wants_sync |= is_new;
            if is_new {
                return Err(Wait::Sync);
            }
            // Somebody may have moved them away.
            return if self.directory.forget_gone(&self.disk) { Ok(()) } else { Err(Wait::Others) };
        };
        if self.outlets.iter().all(|outlet| outlet.position.place().acked >= last && outlet.needed > last) {
            // Written down first: else a cut could bring back the position without the lines.
            if !self.outlets.iter().all(|outlet| outlet.position.has_stored(last)) {
                self.outlets.iter_mut().for_each(|outlet| outlet.position.want());
                return Err(Wait::Sync);
            }
        } else if self.settings.full == Full::Wait {
            return Err(Wait::Acks);
        }
        // What is gone with it: up to its last line, from its first on.
        let (gone, before) = (self.directory.lines_before(last.saturating_add(1)), self.directory.start().1);
        self.try_remove(name).map_err(Wait::Disk)?;
        for outlet in &mut self.outlets {
            // What was read of it is on its way; if it does not arrive, it is missed when it is read again.
            let has = outlet.position.place().lines.max(outlet.reader.before());
            let missed = gone.saturating_sub(before.max(has));
            outlet.dropped = outlet.dropped.saturating_add(missed);
        }
        Ok(())
    }

    fn try_remove(&mut self, name: Name) -> io::Result<()> {
        match self.disk.unlink(&as_text(&name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.directory.remove(name);
        self.outlets.iter_mut().for_each(|outlet| outlet.reader.forget(name));
        Ok(())
    }

    /// Removes a segment that nobody needs; one that can't be removed is in the way, and no more.
    fn remove(&mut self, name: Name) {
        let _ = self.try_remove(name);
    }

    /// The end: seals the newest segment, and writes down all positions. [`Self::next_job`] has what is left to do.
    pub fn close(&mut self) {
        self.seal();
        self.outlets.iter_mut().for_each(|outlet| outlet.position.want());
    }

    /// Whether everything that was written is synced, and sealed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let are_stored = self.outlets.iter().all(|outlet| Position::is_stored(&outlet.position));
        self.writer.running.is_none() && matches!(self.writer.state, State::Closed) && are_stored
    }
}
