//! A log file: opened for append, made if it does not exist, and begun anew when it is full or old. Invariant: every
//! line is whole in one file, and where files have a size, none gets longer.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use memchr::{memchr, memrchr};

use super::rotate::Rotated;
use super::sync::{Synced, Syncs};
use super::target::{Books, DIRECT_BYTES, GATHERED_BYTES, Target, Wrote};
use super::waiting::{Parts, Waiting};
use crate::engine::gap::{Gap, Why};
use crate::engine::output::{DiskFull, OutputOptions, SyncEvery};
use crate::engine::peer::Peer;

/// When a file is begun anew.
pub(super) struct Rotation {
    files: Rotated,
    size: u64,
    age: Duration,
    removes_when_full: bool,
}

/// One file.
pub(super) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    waiting: Waiting,
    rotation: Option<Rotation>,
    flush_every: Duration,
    syncs: Option<Syncs>,
    /// Bytes taken so far.
    taken: u64,
    /// When what waits is written at the latest (`--flush-every`).
    flush_at: Option<Duration>,
    /// When the file is old.
    rotate_at: Option<Duration>,
    /// The time of the last flush.
    now: Duration,
    /// The last byte written is in the middle of a line: its rest goes to the same file.
    is_torn: bool,
    /// The last write was refused; the next one waits for a flush.
    is_refused: bool,
    reopens: bool,
    is_ending: bool,
}

impl LogFile {
    /// A file that is opened when it is first written to.
    pub(super) fn new(path: &Path, options: &OutputOptions, kept: usize) -> Self {
        let rotation = options.rotates().then(|| Rotation {
            files: Rotated::new(path, options.rotate_keep),
            size: if options.rotate_size == 0 { u64::MAX } else { options.rotate_size as u64 },
            age: options.rotate_age,
            removes_when_full: options.disk_full == DiskFull::DropOldest,
        });
        let syncs = match options.sync {
            SyncEvery::Never => None,
            SyncEvery::Time(every) => Some(Syncs::new(every)),
        };
        Self {
            path: path.to_owned(),
            file: None,
            waiting: Waiting::new(kept),
            rotation,
            flush_every: options.flush_every,
            syncs,
            taken: 0,
            flush_at: None,
            rotate_at: None,
            now: Duration::ZERO,
            is_torn: false,
            is_refused: false,
            reopens: false,
            is_ending: false,
        }
    }

    /// Opens it, and brings what an earlier run left into order: a torn last line is ended, and files beyond what is to
    /// be kept are removed.
    ///
    /// # Errors
    /// Those of opening and reading it.
    pub(super) fn open(&mut self, books: &mut Books) -> io::Result<()> {
        if let Some(rotation) = &self.rotation {
            for removed in rotation.files.trim()? {
                books.report(format_args!("removed {}, more than --rotate-keep keeps", shown(&removed)));
            }
        }
        self.ensure_open()
    }

    /// Device and number of the file: what tells whether two names are one file.
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        let found = self.file.as_ref()?.metadata().ok()?;
        Some((found.dev(), found.ino()))
    }

    /// What waits is written at the next flush, however early that is.
    pub(super) fn hurry(&mut self) {
        if self.waiting.len() > 0 {
            self.flush_at = Some(self.now);
        }
    }

    /// Nothing waits, and nothing is left to be synced: it can be closed and opened again later.
    pub(super) fn is_at_rest(&self) -> bool {
        self.waiting.len() == 0 && self.syncs.as_ref().is_none_or(|syncs| syncs.synced() == self.taken)
    }

    fn ensure_open(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let file = open_for_append(&self.path)?;
        let found = file.metadata()?;
        if let Some(rotation) = self.rotation.as_ref().filter(|rotation| !rotation.age.is_zero()) {
            let age = found.created().ok().and_then(|born| born.elapsed().ok()).unwrap_or_default();
            self.rotate_at = Some(self.now + rotation.age.saturating_sub(age));
        }
        let is_full = self.rotation.as_ref().is_some_and(|rotation| found.len() >= rotation.size);
        if found.is_file() && !is_full {
            end_torn_line(&file, &self.path, found.len())?;
        }
        self.file = Some(file);
        Ok(())
    }

    /// How many bytes of what waits go into the file as it is now, which is at least one line; begins it anew if it has
    /// no room for that.
    fn room_for_waiting(&mut self, books: &mut Books) -> io::Result<usize> {
        let waiting = self.waiting.bytes();
        if self.is_torn && self.file.is_some() {
            return Ok(memchr(b'\n', waiting).map_or(waiting.len(), |end| end + 1));
        }
        let room = self.room(books)?;
        let waiting = self.waiting.bytes();
        if waiting.len() as u64 <= room {
            return Ok(waiting.len());
        }
        let fits = waiting.get(..usize::try_from(room).unwrap_or(usize::MAX)).unwrap_or(waiting);
        if let Some(end) = memrchr(b'\n', fits) {
            return Ok(end + 1);
        }
        // `--rotate-size` is at least the longest line, so an empty file has room for it.
        self.rotate(books)?;
        Ok(memchr(b'\n', self.waiting.bytes()).map_or(self.waiting.len(), |end| end + 1))
    }

    /// Bytes that the file may still get. It is asked each time, since others may remove it, cut it or write to it.
    fn room(&mut self, books: &mut Books) -> io::Result<u64> {
        self.ensure_open()?;
        let Some(found) = self.file.as_ref().map(File::metadata).transpose()? else { return Ok(0) };
        if found.nlink() == 0 {
            // Somebody removed it: what is written to it would be gone with it.
            self.file = None;
            books.report(format_args!("{} was removed; it is begun anew", shown(&self.path)));
            self.ensure_open()?;
            return Ok(self.rotation.as_ref().map_or(u64::MAX, |rotation| rotation.size));
        }
        let Some(rotation) = &self.rotation else { return Ok(u64::MAX) };
        let room = rotation.size.saturating_sub(found.len());
        let is_old = self.rotate_at.is_some_and(|at| at <= self.now);
        if is_old && found.len() == 0 {
            self.rotate_at = Some(self.now + rotation.age);
        } else if is_old {
            let size = rotation.size;
            self.rotate(books)?;
            return Ok(size);
        }
        Ok(room)
    }

    fn rotate(&mut self, books: &mut Books) -> io::Result<()> {
        let Some(rotation) = &self.rotation else { return Ok(()) };
        rotation.files.shift()?;
        self.leave_file();
        books.counters.rotations = books.counters.rotations.saturating_add(1);
        self.ensure_open()
    }

    /// The file has another name now, or will have another place.
    fn leave_file(&mut self) {
        let file = self.file.take();
        let Some(syncs) = &mut self.syncs else { return };
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        file.into_iter().chain(folder).for_each(|file| syncs.leave(file));
    }

    /// SIGHUP: the file at our path, whichever it is now. If there can be none, the old one is as good as before.
    fn reopen_now(&mut self, books: &mut Books) {
        self.reopens = false;
        match open_for_append(&self.path) {
            Ok(_) => {
                self.leave_file();
                if let Err(error) = self.ensure_open() {
                    books.report(format_args!("cannot open {} anew: {error}; trying again", shown(&self.path)));
                }
            }
            Err(error) => {
                books.report(format_args!(
                    "cannot open {} anew: {error}; lines go on to the file that had that name",
                    shown(&self.path)
                ));
            }
        }
    }

    fn write_waiting(&mut self, books: &mut Books) -> io::Result<()> {
        while self.waiting.len() > 0 {
            let end = self.room_for_waiting(books)?;
            let Some(file) = self.file.as_mut() else { return Err(ErrorKind::NotFound.into()) };
            let waiting = self.waiting.bytes().get(..end).unwrap_or_default();
            match file.write_vectored(&[IoSlice::new(waiting)]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.is_torn = count.checked_sub(1).and_then(|last| waiting.get(last)) != Some(&b'\n');
                    self.waiting.advance(count);
                    books.wrote(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_disk_full(&error) && self.remove_oldest(books)? => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// `--disk-full drop-oldest`: whether that made room.
    fn remove_oldest(&mut self, books: &mut Books) -> io::Result<bool> {
        let Some(rotation) = self.rotation.as_ref().filter(|rotation| rotation.removes_when_full) else {
            return Ok(false);
        };
        let Some(removed) = rotation.files.remove_oldest()? else { return Ok(false) };
        let lines = removed.lines.unwrap_or_default();
        books.report(format_args!(
            "the disk is full: removed {} with {lines} lines, {} bytes",
            shown(&removed.path),
            removed.bytes
        ));
        let counters = &mut books.counters;
        counters.dropped_lines = counters.dropped_lines.saturating_add(lines);
        counters.dropped_bytes = counters.dropped_bytes.saturating_add(removed.bytes);
        let before = books.gap.unwrap_or(Gap { lines: 0, bytes: 0, why: Why::DiskFull });
        books.gap = Some(Gap { lines: before.lines + lines, bytes: before.bytes + removed.bytes, why: Why::DiskFull });
        Ok(true)
    }

    /// Writes the block behind what waits without copying it, if the file has room for all of that.
    fn take_directly(&mut self, parts: Parts<'_>, len: usize, books: &mut Books) -> bool {
        let all = (self.waiting.len() + len) as u64;
        let has_room = !self.is_torn && self.room(books).is_ok_and(|room| room >= all);
        let Some(file) = self.file.as_mut().filter(|_| has_room) else { return false };
        let (is_torn, is_refused) = (&mut self.is_torn, &mut self.is_refused);
        self.waiting.write_through(parts, |parts| match file.write_vectored(parts) {
            Ok(count) => {
                *is_torn = byte_before(parts, count) != Some(b'\n');
                books.wrote(count);
                count
            }
            Err(error) => {
                *is_refused |= error.kind() != ErrorKind::Interrupted;
                0
            }
        });
        true
    }

    fn sync(&mut self, now: Duration, books: &mut Books) {
        let written = self.taken - self.waiting.len() as u64;
        let Some(syncs) = &mut self.syncs else { return };
        let is_last = self.is_ending && self.waiting.len() == 0 && syncs.synced() < written;
        let file = self.file.as_ref();
        match if is_last { syncs.last(written, file) } else { syncs.go_on(now, written, file) } {
            Synced::Nothing => {}
            Synced::Done => books.counters.syncs = books.counters.syncs.saturating_add(1),
            Synced::Failed(error) => {
                books.counters.failures = books.counters.failures.saturating_add(1);
                books.doubts += 1;
                let path = shown(&self.path);
                books.report(format_args!("cannot sync {path}: {error}; its newest lines may not be on the disk"));
            }
        }
    }

    fn is_gathering(&self) -> bool {
        let is_early = self.flush_at.is_some_and(|at| self.now < at);
        is_early && self.waiting.len() < GATHERED_BYTES && !self.reopens && !self.is_ending
    }
}

impl Target for LogFile {
    fn take(&mut self, _: &Peer, parts: Parts<'_>, books: &mut Books) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.taken += len as u64;
        let is_direct = len >= DIRECT_BYTES && !self.is_refused && self.take_directly(parts, len, books);
        if !is_direct {
            parts.iter().for_each(|part| self.waiting.end().extend_from_slice(part));
        }
        let is_much = self.waiting.len() >= if is_direct { 1 } else { GATHERED_BYTES };
        if is_much && !self.is_refused {
            // An error stays for the flush at the end of the turn, which meets it again.
            self.is_refused = self.write_waiting(books).is_err();
        }
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        self.now = now;
        self.is_refused = false;
        if self.waiting.len() > 0 && !self.flush_every.is_zero() {
            self.flush_at.get_or_insert(now + self.flush_every);
        }
        if self.is_gathering() {
            self.sync(now, books);
            return Ok(Wrote::Later);
        }
        let written = self.write_waiting(books);
        self.is_refused = written.is_err();
        written?;
        self.flush_at = None;
        if self.rotate_at.is_some_and(|at| at <= now) {
            self.room(books)?;
        }
        if self.reopens && !self.is_torn {
            self.reopen_now(books);
        }
        self.sync(now, books);
        Ok(Wrote::All)
    }

    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn delivered(&self) -> u64 {
        self.syncs.as_ref().map_or(self.taken - self.waiting.len() as u64, Syncs::synced)
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        self.waiting.drop_lines()
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        if self.reopens || (self.is_ending && self.waiting.len() > 0) {
            return Some(Duration::ZERO);
        }
        let written = self.taken - self.waiting.len() as u64;
        let sync = self.syncs.as_ref().and_then(|syncs| syncs.due_in(now, written));
        let times = [self.flush_at, self.rotate_at].into_iter().flatten().map(|at| at.saturating_sub(now));
        times.chain(sync).min()
    }

    fn reopen(&mut self) {
        self.reopens = true;
    }

    fn settle(&mut self, now: Duration, books: &mut Books) -> bool {
        self.is_ending = true;
        if self.waiting.len() == 0 {
            self.sync(now, books);
        }
        self.waiting.len() == 0
    }
}

fn open_for_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// A power cut may have left a line without its end: the next one is to be whole.
fn end_torn_line(mut file: &File, path: &Path, len: u64) -> io::Result<()> {
    let Some(last) = len.checked_sub(1) else { return Ok(()) };
    let mut byte = [0];
    // Who may write but not read can't know, and goes on.
    let Ok(reader) = File::open(path) else { return Ok(()) };
    if reader.read_at(&mut byte, last)? == 1 && byte != *b"\n" {
        file.write_vectored(&[IoSlice::new(b"\n")])?;
    }
    Ok(())
}

/// The last byte of the first `count` bytes in these parts.
fn byte_before(parts: &[IoSlice<'_>], count: usize) -> Option<u8> {
    let mut at = count.checked_sub(1)?;
    for part in parts {
        if let Some(byte) = part.get(at) {
            return Some(*byte);
        }
        at -= part.len();
    }
    None
}

fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// A path as a part of one line, whatever is in it.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
