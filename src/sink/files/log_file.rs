//! A log file: opened for append, made if it does not exist, and begun anew when it is full or old. Invariant: every
//! line is whole in one file, and where files have a size, none gets longer.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::mem;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::{memchr, memrchr};

use super::path::{identity_of, resolved, shown};
use super::rotate::{Removed, Rotated, remove};
use super::sync::Syncs;
use crate::config::output::{DiskFull, OutputOptions, SyncEvery};
use crate::engine::gap::{Gap, Why};
use crate::sink::target::{Books, DIRECT_BYTES, GATHERED_BYTES, Took, Wrote};
use crate::sink::waiting::{Parts, Waiting, len_of};

/// When a file is begun anew.
struct Rotation {
    files: Rotated,
    keep: usize,
    size: u64,
    age: Duration,
}

/// How the file ends, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With the end of a line, or it is empty.
    Whole,
    /// In the middle of a line that an earlier run began: a newline ends it before the next line.
    Unended,
    /// In the middle of a line of ours, whose rest waits and goes to the same file.
    Torn,
}

/// How old the file is (`--rotate-age`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Nobody asks, or it has not been looked at.
    Unknown,
    /// So old when it was opened; the next flush, which knows the time, makes [`Age::OldAt`] of that.
    Was(Duration),
    /// It is to be begun anew then, as time since the start.
    OldAt(Duration),
}

/// What is to be synced, if anybody asks for it.
struct Unsynced {
    is_wanted: bool,
    /// Something was written to the file that no sync has been told of yet.
    is_dirty: bool,
    /// Files that are written no more, of which the same is true.
    left: Vec<Arc<File>>,
    has_new_name: bool,
}

/// One file.
pub(super) struct LogFile {
    path: PathBuf,
    file: Option<Arc<File>>,
    end: End,
    age: Age,
    waiting: Waiting,
    rotation: Option<Rotation>,
    removes_when_full: bool,
    unsynced: Unsynced,
    /// Bytes taken so far.
    taken: u64,
    flush_every: Duration,
    /// When what waits is written at the latest (`--flush-every`).
    flush_at: Option<Duration>,
    /// The time of the last flush.
    now: Duration,
    reopens: bool,
    /// The server ends: nothing gathers any more.
    is_ending: bool,
}

impl LogFile {
    /// A file that is opened when it is first written to.
    pub(super) fn new(path: &Path, options: &OutputOptions, kept: usize) -> Self {
        let rotation = options.rotates().then(|| Rotation {
            files: Rotated::new(path, options.rotate_keep),
            keep: options.rotate_keep,
            size: if options.rotate_size == 0 { u64::MAX } else { options.rotate_size as u64 },
            age: options.rotate_age,
        });
        let is_wanted = options.sync != SyncEvery::Never;
        Self {
            path: path.to_owned(),
            file: None,
            end: End::Whole,
            age: Age::Unknown,
            waiting: Waiting::new(kept),
            rotation,
            removes_when_full: options.disk_full == DiskFull::DropOldest,
            unsynced: Unsynced { is_wanted, is_dirty: false, left: Vec::new(), has_new_name: false },
            taken: 0,
            flush_every: options.flush_every,
            flush_at: None,
            now: Duration::ZERO,
            reopens: false,
            is_ending: false,
        }
    }

    /// Opens it, and brings what an earlier run left into order: a torn last line is ended, and files beyond what is to
    /// be kept are removed.
    ///
    /// # Errors
    /// Those of opening and reading it, and of a directory in which it could not be rotated.
    pub(super) fn open(&mut self, books: &mut Books) -> io::Result<()> {
        if let Some(rotation) = &self.rotation {
            let path = resolved(&self.path);
            check_folder_of(&path)?;
            let files = Rotated::new(&path, rotation.keep);
            files.trim(|removed| books.report(format_args!("removed {}, beyond --rotate-keep", shown(removed))))?;
        }
        self.ensure_open()?;
        // On a full disk the newline waits, as lines do.
        let _ = self.end_torn_line(books);
        Ok(())
    }

    /// Device and number of the file: what tells whether two names are one file.
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        self.file.as_ref()?.metadata().ok().map(|found| identity_of(&found))
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Whether it is open, and not in the middle of a line.
    pub(super) fn is_closable(&self) -> bool {
        self.file.is_some() && self.end != End::Torn
    }

    /// Closes it until it is written to again.
    pub(super) fn close(&mut self) {
        self.leave_file();
    }

    /// How old it is, for one that is closed and opened again.
    pub(super) fn age(&self) -> Age {
        self.age
    }

    pub(super) fn set_age(&mut self, age: Age) {
        self.age = age;
    }

    /// What waits is written at the next flush, however early that is.
    pub(super) fn hurry(&mut self) {
        if self.waiting.len() > 0 {
            self.flush_at = Some(self.now);
        }
    }

    /// Bytes taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// How many of them are written.
    pub(super) fn written(&self) -> u64 {
        self.taken - self.waiting.len() as u64
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn drop_lines(&mut self) -> (u64, usize) {
        self.waiting.drop_lines()
    }

    pub(super) fn reopen(&mut self) {
        self.reopens = true;
    }

    /// From now on nothing waits on purpose.
    pub(super) fn end(&mut self) {
        self.is_ending = true;
    }

    /// Tells of what is to be synced: files that are written no more, and new names. The file itself, if it was written
    /// to since the last call of [`Self::dirty`], stays with us.
    pub(super) fn hand_over(&mut self, syncs: &mut Syncs) {
        self.unsynced.left.drain(..).for_each(|file| syncs.leave(file));
        if mem::take(&mut self.unsynced.has_new_name) {
            syncs.note_new_name();
        }
    }

    /// The file, if something was written to it since the last call: the caller syncs it.
    pub(super) fn dirty(&mut self) -> Option<Arc<File>> {
        self.file.clone().filter(|_| mem::take(&mut self.unsynced.is_dirty))
    }

    pub(super) fn take(&mut self, parts: Parts<'_>, may_write: bool, books: &mut Books) -> Took {
        let len = len_of(parts);
        self.taken += len as u64;
        let mut took = Took::Waits;
        let direct = if len >= DIRECT_BYTES && may_write { self.take_directly(parts, len, books) } else { None };
        match direct {
            Some(result) => took = result,
            None => parts.iter().for_each(|part| self.waiting.end().extend_from_slice(part)),
        }
        let is_much = self.waiting.len() >= if direct.is_some() { 1 } else { GATHERED_BYTES };
        if is_much && may_write && took != Took::Refused {
            // An error is met again by the flush at the end of the turn.
            took = if self.write_waiting(books).is_ok() { Took::Written } else { Took::Refused };
        }
        if self.waiting.len() == 0 {
            self.flush_at = None;
        }
        took
    }

    /// Whether a write has something to do.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.waiting.len() > 0 || self.reopens || matches!(self.age, Age::Was(_)) || self.is_old(now)
    }

    /// Writes what waits, unless it gathers; rotates and opens anew where that is due.
    ///
    /// # Errors
    /// Of the system: what was not written waits.
    pub(super) fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        self.now = now;
        self.note_age();
        if self.waiting.len() > 0 && !self.flush_every.is_zero() {
            self.flush_at.get_or_insert(now + self.flush_every);
        }
        if self.is_gathering() {
            return Ok(Wrote::Later);
        }
        // First, so that a program which was told that the old file is complete finds it complete.
        if self.reopens && self.end != End::Torn {
            self.reopen_now(books);
        }
        self.write_waiting(books)?;
        self.flush_at = None;
        if self.reopens {
            self.reopen_now(books);
        }
        self.note_age();
        if self.is_old(now) {
            self.room(books)?;
            self.note_age();
        }
        Ok(Wrote::All)
    }

    fn note_age(&mut self) {
        if let (Age::Was(age), Some(rotation)) = (self.age, &self.rotation) {
            self.age = Age::OldAt(self.now + rotation.age.saturating_sub(age));
        }
    }

    /// How long until a write is due.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        let old_at = match self.age {
            Age::Unknown => None,
            Age::Was(_) => Some(Duration::ZERO),
            Age::OldAt(at) => Some(at),
        };
        if self.reopens || (self.is_ending && self.waiting.len() > 0) {
            return Some(Duration::ZERO);
        }
        let times = [self.flush_at, old_at].into_iter().flatten();
        times.min().map(|at| at.saturating_sub(now))
    }

    fn is_old(&self, now: Duration) -> bool {
        matches!(self.age, Age::OldAt(at) if at <= now)
    }

    fn is_gathering(&self) -> bool {
        let is_early = self.flush_at.is_some_and(|at| self.now < at);
        let is_asked = self.reopens || self.is_ending || self.is_old(self.now);
        is_early && !is_asked && self.waiting.len() < GATHERED_BYTES
    }
}

/// Opening, and what may have become of the file meanwhile.
impl LogFile {
    fn ensure_open(&mut self) -> io::Result<()> {
        if self.file.is_some() { Ok(()) } else { self.adopt(open_for_append(&self.path)?) }
    }

    /// From now on this is the file.
    fn adopt(&mut self, file: File) -> io::Result<()> {
        let found = file.metadata()?;
        self.unsynced.has_new_name |= self.unsynced.is_wanted;
        let mut is_full = false;
        if let Some(rotation) = &mut self.rotation {
            rotation.files = Rotated::new(&resolved(&self.path), rotation.keep);
            is_full = found.len() >= rotation.size;
            let is_known = matches!(self.age, Age::OldAt(_)) && found.len() > 0;
            if !rotation.age.is_zero() && !is_known {
                self.age = Age::Was(rotation.age_of(&found));
            }
        }
        // A full file gets nothing more, not even a newline.
        let is_unended = found.is_file() && !is_full && is_unended(&self.path, found.len());
        self.end = if is_unended { End::Unended } else { End::Whole };
        self.file = Some(Arc::new(file));
        Ok(())
    }

    /// The length of the file, which is open then and ends at the end of a line, unless that line is ours. It is asked for
    /// each time, since others may remove the file, cut it or write to it.
    fn check_file(&mut self, books: &mut Books) -> io::Result<u64> {
        self.ensure_open()?;
        let Some(found) = self.file.as_ref().map(|file| file.metadata()).transpose()? else { return Ok(0) };
        // Not every file system counts names, so a file that has none is looked for.
        if found.nlink() == 0 && !self.is_at_path(&found) {
            self.forget_removed(books);
            self.ensure_open()?;
            let len = self.file.as_ref().map(|file| file.metadata()).transpose()?.map_or(0, |found| found.len());
            return self.end_torn_line(books).map(|added| len + added);
        }
        self.end_torn_line(books).map(|added| found.len() + added)
    }

    fn is_at_path(&self, ours: &Metadata) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| identity_of(&found) == identity_of(ours))
    }

    /// Somebody removed the file: what is written to it would be gone with it, and its place on the disk is free only
    /// when we close it. The rest of a line that is half in it goes the same way.
    fn forget_removed(&mut self, books: &mut Books) {
        let was_torn = mem::replace(&mut self.end, End::Whole) == End::Torn;
        (self.file, self.age, self.unsynced.is_dirty) = (None, Age::Unknown, false);
        books.report(format_args!("{} was removed; it is begun anew", shown(&self.path)));
        if was_torn {
            let waiting = self.waiting.bytes();
            let rest = memchr(b'\n', waiting).map_or(waiting.len(), |end| end + 1);
            self.waiting.advance(rest);
            books.dropped(1, rest as u64);
        }
    }

    /// A power cut may have left a line without its end: the next one is to be whole. Gives how many bytes that took.
    fn end_torn_line(&mut self, books: &mut Books) -> io::Result<u64> {
        let Some(mut file) = self.file.as_deref().filter(|_| self.end == End::Unended) else { return Ok(0) };
        if file.write_vectored(&[IoSlice::new(b"\n")])? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        self.end = End::Whole;
        self.unsynced.is_dirty = true;
        books.wrote(1);
        Ok(1)
    }

    /// Bytes that the file may still get; an old one is begun anew first.
    fn room(&mut self, books: &mut Books) -> io::Result<u64> {
        let mut len = self.check_file(books)?;
        let Some(rotation) = &self.rotation else { return Ok(u64::MAX) };
        let (size, age) = (rotation.size, rotation.age);
        if self.is_old(self.now) && len > 0 {
            self.rotate(books)?;
            len = self.check_file(books)?;
        } else if self.is_old(self.now) {
            self.age = Age::OldAt(self.now + age);
        }
        Ok(size.saturating_sub(len))
    }

    /// How many bytes of what waits go into the file as it is now, which is at least one line or the rest of one; begins
    /// it anew if it has no room for that.
    fn room_for_waiting(&mut self, books: &mut Books) -> io::Result<usize> {
        // Twice if the file that is gone on with is full too; more often only if others write to it as well.
        for _ in 0..4 {
            if self.end == End::Torn {
                self.check_file(books)?;
                if self.end == End::Torn {
                    return Ok(self.first_line());
                }
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
            if self.rotation.as_ref().is_none_or(|rotation| rotation.size == room) {
                // `--rotate-size` is at least the longest line, so an empty file has room for it.
                return Ok(self.first_line());
            }
            self.rotate(books)?;
        }
        Err(io::Error::other("others write to the file too"))
    }

    /// The length of what waits of one line.
    fn first_line(&self) -> usize {
        memchr(b'\n', self.waiting.bytes()).map_or(self.waiting.len(), |end| end + 1)
    }

    fn rotate(&mut self, books: &mut Books) -> io::Result<()> {
        let Some(rotation) = &self.rotation else { return Ok(()) };
        let ours = self.file.as_ref().map(|file| file.metadata()).transpose()?;
        // Somebody may have moved our file away: what has its name now is not ours to move, but to be gone on with.
        if ours.is_some_and(|ours| self.is_at_path(&ours)) {
            rotation.files.shift()?;
            books.counters.rotations = books.counters.rotations.saturating_add(1);
        }
        self.leave_file();
        self.age = Age::Unknown;
        self.ensure_open()
    }

    /// The file has another name now, or will have another place.
    fn leave_file(&mut self) {
        let unsynced = &mut self.unsynced;
        let is_left = mem::take(&mut unsynced.is_dirty) && unsynced.is_wanted;
        // Of what was removed meanwhile nothing has to reach the disk, and its descriptor is worth more.
        unsynced.left.retain(|file| file.metadata().is_ok_and(|found| found.nlink() > 0));
        unsynced.left.extend(self.file.take().filter(|_| is_left));
        self.end = End::Whole;
    }

    /// SIGHUP: the file at our path, whichever it is now. If there can be none, the old one is as good as before.
    fn reopen_now(&mut self, books: &mut Books) {
        self.reopens = false;
        let Some(ours) = self.identity() else { return };
        let opened = open_for_append(&self.path).and_then(|file| {
            if identity_of(&file.metadata()?) != ours {
                self.leave_file();
                self.age = Age::Unknown;
                self.adopt(file)?;
            }
            Ok(())
        });
        if let Err(error) = opened {
            let path = shown(&self.path);
            books.report(format_args!("cannot open {path} anew: {error}; lines go on to the file that had that name"));
        }
    }
}

/// Writing.
impl LogFile {
    fn write_waiting(&mut self, books: &mut Books) -> io::Result<()> {
        let mut has_removed = false;
        while self.waiting.len() > 0 {
            match self.write_some(books) {
                Ok(()) => has_removed = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // One file at a time: its place may not be free at once, such as while somebody still reads it.
                Err(error) if is_disk_full(&error) && !has_removed => {
                    if !self.remove_oldest(books)? {
                        return Err(error);
                    }
                    has_removed = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_some(&mut self, books: &mut Books) -> io::Result<()> {
        let end = self.room_for_waiting(books)?;
        let Some(mut file) = self.file.as_deref() else { return Err(ErrorKind::NotFound.into()) };
        let waiting = self.waiting.bytes().get(..end).unwrap_or_default();
        if waiting.is_empty() {
            return Ok(());
        }
        let count = file.write_vectored(&[IoSlice::new(waiting)])?;
        let Some(last) = count.checked_sub(1) else { return Err(ErrorKind::WriteZero.into()) };
        self.end = if waiting.get(last) == Some(&b'\n') { End::Whole } else { End::Torn };
        self.unsynced.is_dirty = true;
        self.waiting.advance(count);
        books.wrote(count);
        Ok(())
    }

    /// `--disk-full drop-oldest`: whether that may have made room.
    fn remove_oldest(&mut self, books: &mut Books) -> io::Result<bool> {
        let Some(rotation) = self.rotation.as_ref().filter(|_| self.removes_when_full) else { return Ok(false) };
        let removed = rotation.files.remove_oldest()?;
        Ok(removed.is_some_and(|removed| note_removed(&removed, books)))
    }

    /// Writes the block behind what waits without copying it; `None` if the file has no room for all of that.
    fn take_directly(&mut self, parts: Parts<'_>, len: usize, books: &mut Books) -> Option<Took> {
        let all = (self.waiting.len() + len) as u64;
        let has_room = self.end != End::Torn && self.room(books).is_ok_and(|room| room >= all);
        let mut file = self.file.as_deref().filter(|_| has_room)?;
        let mut took = Took::Written;
        let (end, is_dirty) = (&mut self.end, &mut self.unsynced.is_dirty);
        self.waiting.write_through(parts, |parts| match file.write_vectored(parts) {
            Ok(count) => {
                *end = if byte_before(parts, count).is_none_or(|last| last == b'\n') { End::Whole } else { End::Torn };
                *is_dirty = true;
                books.wrote(count);
                count
            }
            Err(error) => {
                if error.kind() != ErrorKind::Interrupted {
                    took = Took::Refused;
                }
                0
            }
        });
        Some(took)
    }
}

impl Rotation {
    /// How old a file is: it was begun when those before it were moved. One of which nothing tells, as there is none before
    /// it though some are kept, is older than anything: else, on a box that is switched on each morning, it might never be
    /// begun anew. A clock that was wrong when it was begun makes it older or younger, once.
    fn age_of(&self, found: &Metadata) -> Duration {
        if found.len() == 0 {
            return Duration::ZERO;
        }
        let Some(shifted_at) = self.files.shifted_at() else {
            return if self.keep == 0 { Duration::ZERO } else { Duration::MAX };
        };
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(shifted_at)
    }
}

/// Counts the lines of a removed file as dropped, and says so.
pub(super) fn note_removed(removed: &Removed, books: &mut Books) -> bool {
    let (path, lines, bytes) = (shown(&removed.path), removed.lines.unwrap_or_default(), removed.bytes);
    books.report(format_args!("the disk is full: removed {path} with {lines} lines, {bytes} bytes"));
    books.dropped(lines, bytes);
    let before = books.gap.unwrap_or(Gap { lines: 0, bytes: 0, why: Why::DiskFull });
    books.gap = Some(Gap { lines: before.lines + lines, bytes: before.bytes + bytes, why: Why::DiskFull });
    true
}

/// Whether files can be made in the directory of this one: else the first rotation would stop all clients, hours later.
///
/// # Errors
/// They can't.
pub(super) fn check_folder_of(path: &Path) -> io::Result<()> {
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    let path = PathBuf::from(name);
    match OpenOptions::new().write(true).create_new(true).open(&path) {
        // A full disk is for later, and one that a kill has left is as good.
        Err(error) if !is_disk_full(&error) && error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => remove(&path).map(drop),
    }
}

fn open_for_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Whether the last line of a file has no end. Who may write but not read can't know, and goes on.
fn is_unended(path: &Path, len: u64) -> bool {
    let mut byte = *b"\n";
    let Some(last) = len.checked_sub(1) else { return false };
    File::open(path).is_ok_and(|reader| reader.read_at(&mut byte, last).is_ok()) && byte != *b"\n"
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

pub(super) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file in a directory of this test's own, which is gone with it.
    struct Fixture {
        file: LogFile,
        folder: PathBuf,
        books: Books,
    }

    impl Fixture {
        fn new(name: &str, inside: &str, options: &OutputOptions) -> Self {
            let folder = std::env::temp_dir().join(format!("lumberjack-file-{}-{name}", std::process::id()));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("app.log"), inside).unwrap();
            let file = LogFile::new(&folder.join("app.log"), options, 0);
            Self { file, folder, books: Books::default() }
        }

        fn take(&mut self, line: &str) {
            self.file.take([line.as_bytes(), b"", b""], true, &mut self.books);
        }

        fn write(&mut self, seconds: u64) -> io::Result<Wrote> {
            self.file.write(Duration::from_secs(seconds), &mut self.books)
        }

        fn text(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.folder.join(name)).ok()
        }

        fn assert(&self, newest: &str, first: Option<&str>) {
            assert_eq!((self.text("app.log").as_deref(), self.text("app.log.1").as_deref()), (Some(newest), first));
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn aged(seconds: u64, keep: usize) -> OutputOptions {
        OutputOptions { rotate_age: Duration::from_secs(seconds), rotate_keep: keep, ..OutputOptions::default() }
    }

    #[test]
    fn a_file_of_unknown_age_is_begun_anew_unless_it_would_be_lost() {
        for (name, keep, expected) in [("kept", 1, ("", Some("old\n"))), ("lost", 0, ("old\n", None))] {
            let mut fixture = Fixture::new(name, "old\n", &aged(3600, keep));
            fixture.file.open(&mut fixture.books).unwrap();
            assert_eq!(fixture.file.due_in(Duration::ZERO), Some(Duration::ZERO), "its age is to be looked at");
            fixture.write(0).unwrap();
            fixture.assert(expected.0, expected.1);
            assert_eq!(fixture.file.due_in(Duration::ZERO), Some(Duration::from_secs(3600)));
        }
    }

    #[test]
    fn a_file_that_is_opened_late_is_young() {
        let mut fixture = Fixture::new("late", "", &aged(10, 3));
        // A large block is written, and the file opened for it, before anybody says what time it is.
        fixture.take(&("x".repeat(DIRECT_BYTES) + "\n"));
        assert!(fixture.file.is_open());
        fixture.write(1000).unwrap();
        assert_eq!(fixture.file.due_in(Duration::from_secs(1000)), Some(Duration::from_secs(10)));
        assert_eq!(fixture.text("app.log.1"), None);
        fixture.write(1010).unwrap();
        assert_eq!(fixture.text("app.log").as_deref(), Some(""));
    }

    #[test]
    fn a_file_that_is_old_is_begun_anew_though_lines_gather() {
        let options = OutputOptions { flush_every: Duration::from_secs(100), ..aged(10, 3) };
        let mut fixture = Fixture::new("gathers", "", &options);
        let block = "x".repeat(DIRECT_BYTES) + "\n";
        fixture.take(&block);
        fixture.write(0).unwrap();
        fixture.take("line\n");
        assert_eq!(fixture.write(5).unwrap(), Wrote::Later);
        assert_eq!(fixture.file.due_in(Duration::from_secs(5)), Some(Duration::from_secs(5)));
        assert_eq!(fixture.write(10).unwrap(), Wrote::All);
        assert!(fixture.text("app.log.1") == Some(block));
        assert_eq!(fixture.text("app.log").as_deref(), Some("line\n"), "what gathered is the first of the new one");
        assert_eq!(fixture.file.due_in(Duration::from_secs(10)), Some(Duration::from_secs(10)));
    }

    #[test]
    fn what_a_large_block_took_with_it_gathers_no_more() {
        let options = OutputOptions { flush_every: Duration::from_secs(100), ..OutputOptions::default() };
        let mut fixture = Fixture::new("took", "", &options);
        fixture.take("one\n");
        fixture.write(0).unwrap();
        fixture.take(&("x".repeat(DIRECT_BYTES) + "\n"));
        assert_eq!(fixture.file.waiting(), 0);
        fixture.take("two\n");
        assert_eq!(fixture.write(50).unwrap(), Wrote::Later);
        assert_eq!(fixture.file.due_in(Duration::from_secs(50)), Some(Duration::from_secs(100)), "a time of its own");
    }

    #[test]
    fn a_torn_line_is_ended_once_and_never_beyond_the_size() {
        for (name, inside, expected) in [
            ("torn", "torn", ("torn\nline\n", None)),
            ("whole", "whole\n", ("whole\nline\n", None)),
            ("empty", "", ("line\n", None)),
            // Ten bytes and the newline are eleven: no room for a line any more.
            ("ten", "1234567890", ("line\n", Some("1234567890\n"))),
            ("eleven", "12345678901", ("line\n", Some("12345678901"))),
        ] {
            let options = OutputOptions { rotate_size: 11, ..OutputOptions::default() };
            let mut fixture = Fixture::new(name, inside, &options);
            fixture.take("line\n");
            fixture.write(0).unwrap();
            fixture.assert(expected.0, expected.1);
        }
    }

    #[test]
    fn a_write_that_took_nothing_is_not_in_the_middle_of_a_line() {
        let parts = [&b"ab"[..], b"", b"c\n"].map(IoSlice::new);
        let found: Vec<Option<u8>> = (0..=5).map(|count| byte_before(&parts, count)).collect();
        assert_eq!(found, [None, Some(b'a'), Some(b'b'), Some(b'c'), Some(b'\n'), None]);
    }
}
