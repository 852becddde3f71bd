//! A log file: opened for append, made if it does not exist, and begun anew when it is full or old. Invariant: every
//! line is whole in one file, and where files have a size, none gets longer while it can be rotated.
//!
//! What can go wrong is told apart by what cures it:
//!
//! | what | cure |
//! | --- | --- |
//! | the disk is full | waiting, or removing the oldest rotated file |
//! | this file takes no more, though the disk would | another file: rotating, or a SIGHUP after it was moved |
//! | any other error of a write or a sync | a new descriptor: the old one may be dead for good |
//! | rotating fails | nothing is to be cured for writing: lines go on into the file, and rotating is tried again |

mod configure;
mod opening;

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::daily::{Begun, Daily};
use super::dates::Dated;
use super::opener::Opener;
use super::path::{has_name, identity_of, resolved, shown};
use super::rotate::{Removed, Rotated, is_disk_full};
use super::rotation::{Age, Known, Rotation};
use super::sync::Syncs;
use crate::config::output::{DiskFull, OutputOptions, SyncEvery};
use crate::config::units::DisplayLines;
use crate::engine::gap::{Gap, Why};
use crate::sink::ending::End;
use crate::sink::pace::Backoff;
use crate::sink::target::{Books, DIRECT_BYTES, GATHERED_BYTES, Took, Wrote};
use crate::sink::waiting::{Parts, Waiting, len_of};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reopening {
    No,
    /// Somebody has moved the file away (SIGHUP): the line that is half written goes to the old one first.
    Asked,
    /// A write or a sync failed in a way that only a new descriptor may cure.
    Broken,
    /// It was tried, and failed: the old one is used as long as it takes lines.
    Failed(Backoff),
    /// The new one is on another file system than the one that was dead: that of an empty mount point, say. Should the
    /// device come back, the path leads to that: it is looked at again then.
    Elsewhere {
        look_at: Duration,
    },
}

/// When what an earlier run left, and files of days beyond what is to be kept, are brought into order: that takes a look at the
/// whole directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settling {
    /// At once.
    Now,
    /// When whoever has many files has time for it.
    Later,
    /// The same, and there may be something to do.
    Due,
}

/// What is to be synced, if anybody asks for it.
struct Unsynced {
    is_wanted: bool,
    /// Something was written to the file that no sync has been told of yet.
    is_dirty: bool,
    /// Files that are written no more, of which the same is true.
    left: Vec<Arc<File>>,
    has_new_name: bool,
    /// Rotated files were removed, some of which may still wait for their sync.
    has_removed: bool,
}

/// The longest pause between two tries to rotate.
const LONGEST_ROTATION_PAUSE: Duration = Duration::from_secs(60);

/// One file.
pub(super) struct LogFile {
    path: PathBuf,
    file: Option<Arc<File>>,
    /// What is known of the file that somebody removed, until the next one, which is to be like it, is open.
    removed: Option<Box<Metadata>>,
    end: End,
    age: Age,
    waiting: Waiting,
    rotation: Option<Rotation>,
    removes_when_full: bool,
    /// Files may hold marks of gaps.
    marks_gaps: bool,
    unsynced: Unsynced,
    /// Bytes taken so far.
    taken: u64,
    flush_every: Duration,
    /// When what waits is written at the latest (`--flush-every`).
    flush_at: Option<Duration>,
    /// The time of the last flush.
    now: Duration,
    reopening: Reopening,
    opener: Opener,
    /// The server ends: nothing gathers any more.
    is_ending: bool,
    settling: Settling,
    /// There may be rotated files that nobody has been told of.
    has_rotated: bool,
    /// For the moment no rotated file is removed to make room: there is something that gives its room first.
    spares_oldest: bool,
}

impl LogFile {
    /// A file that is opened when it is first written to.
    pub(super) fn new(path: &Path, options: &OutputOptions, kept: usize) -> Self {
        let rotation = Rotation::new(path, options);
        let is_wanted = options.sync != SyncEvery::Never;
        Self {
            path: path.to_owned(),
            file: None,
            removed: None,
            end: End::Whole,
            age: Age::Unknown,
            waiting: Waiting::new(kept),
            rotation,
            removes_when_full: options.disk_full == DiskFull::DropOldest,
            marks_gaps: options.mark_gaps,
            unsynced: Unsynced {
                is_wanted,
                is_dirty: false,
                left: Vec::new(),
                has_new_name: false,
                has_removed: false,
            },
            taken: 0,
            flush_every: options.flush_every,
            flush_at: None,
            now: Duration::ZERO,
            reopening: Reopening::No,
            opener: Opener::new(options),
            is_ending: false,
            settling: Settling::Now,
            has_rotated: false,
            spares_oldest: false,
        }
    }

    /// A file for each day, with these names; with options by which files rotate.
    pub(super) fn dated(dated: Dated, options: &OutputOptions, kept: usize) -> Self {
        let mut daily = Daily::new(options.rotate_at.unwrap_or_default());
        let day = daily.first_day(|| dated.newest());
        daily.set_begun(Begun::On(day));
        let mut file = Self::new(&dated.path_of(day), options, kept);
        if let Some(rotation) = &mut file.rotation {
            (rotation.daily, rotation.dated) = (Some(daily), Some(dated));
        }
        file
    }

    /// So many directories at the end of its path are made if they are missing.
    pub(super) fn makes_folders(&mut self, levels: usize) {
        self.opener.set_levels(levels);
    }

    /// Somebody else says when rotated files are brought into order; `is_due` if an earlier run may have left some.
    pub(super) fn settles_later(&mut self, is_due: bool) {
        self.settling = if is_due { Settling::Due } else { Settling::Later };
    }

    /// Whether there may be rotated files to be brought into order.
    pub(super) fn is_unsettled(&self) -> bool {
        self.settling == Settling::Due
    }

    /// `{date}`: the day whose file this is.
    pub(super) fn day(&self) -> Option<i64> {
        self.rotation.as_ref()?.day().map(|(_, day)| day)
    }

    /// Opens it, and brings what an earlier run left into order: a torn last line is ended, and files beyond what is to
    /// be kept are removed.
    ///
    /// # Errors
    /// Those of opening and reading it, and of a directory in which it could not be rotated.
    pub(super) fn open(&mut self, books: &mut Books) -> io::Result<()> {
        let path = resolved(&self.path);
        if self.opener.makes_folder(&path)? {
            books.report(format_args!("made the directory of {}", shown(&path)));
        }
        self.settle_rotated(&path, true, books)?;
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
        self.file.is_some() && !self.is_torn()
    }

    /// Closes it until it is written to again.
    pub(super) fn close(&mut self) {
        self.leave_file();
    }

    /// What is known of its age, for when it is opened again.
    pub(super) fn known(&self) -> Known {
        Known { age: self.age, begun: self.daily().map_or(Begun::Unknown, Daily::begun) }
    }

    pub(super) fn set_known(&mut self, known: Known) {
        self.age = known.age;
        if let Some(daily) = self.daily_mut() {
            daily.set_begun(known.begun);
        }
    }

    fn daily(&self) -> Option<&Daily> {
        self.rotation.as_ref()?.daily.as_ref()
    }

    fn daily_mut(&mut self) -> Option<&mut Daily> {
        self.rotation.as_mut()?.daily.as_mut()
    }

    /// Another file is there than before.
    fn forget_age(&mut self) {
        // The day that is in a name stays.
        let begun = self.known().begun;
        let begun = if matches!(begun, Begun::On(_)) { begun } else { Begun::Unknown };
        self.set_known(Known { age: Age::Unknown, begun });
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
        self.taken - self.waiting() as u64
    }

    /// Bytes that wait, with the start of the line that is half written.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.end.torn()
    }

    pub(super) fn drop_lines(&mut self) -> (u64, usize) {
        self.waiting.drop_lines()
    }

    /// The same, and the first line too if it is longer than this; what the file has of it is cut off.
    pub(super) fn drop_lines_over(&mut self, most: usize) -> (u64, usize) {
        if self.first_line() + self.end.torn() <= most {
            return self.waiting.drop_lines();
        }
        self.take_back();
        self.waiting.drop_all()
    }

    /// Opens it if it is not, so that it is known whether it can be.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn prepare(&mut self, books: &mut Books) -> io::Result<()> {
        self.check_file(books).map(drop)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its rotated files, if there may be new ones since the last call.
    pub(super) fn take_rotated(&mut self) -> Option<Rotated> {
        if !mem::take(&mut self.has_rotated) {
            return None;
        }
        self.rotation.as_ref().map(|rotation| rotation.files.clone())
    }

    pub(super) fn spare_oldest(&mut self, spares: bool) {
        self.spares_oldest = spares;
    }

    /// Whatever is tried again after a pause is tried now.
    pub(super) fn try_now(&mut self) {
        if let Reopening::Failed(backoff) = &mut self.reopening {
            *backoff = backoff.at_once();
        }
    }

    /// Somebody has moved the file away (SIGHUP), or what kept us from rotating: all is tried at once.
    pub(super) fn reopen(&mut self) {
        self.reopening = Reopening::Asked;
        if let Some(daily) = self.daily_mut() {
            daily.look_anew();
        }
        if let Some(backoff) = self.rotation.as_mut().and_then(|rotation| rotation.trouble.as_mut()) {
            *backoff = backoff.at_once();
        }
    }

    /// A sync of it failed: what is written from now on goes to a new descriptor.
    pub(super) fn distrust(&mut self, error: &io::Error) {
        if !is_cured_by_waiting(error) {
            self.reopening = Reopening::Broken;
        }
    }

    fn is_torn(&self) -> bool {
        matches!(self.end, End::Torn { .. })
    }

    /// Whether a new descriptor is to be tried now.
    fn reopens(&self, now: Duration) -> bool {
        match self.reopening {
            Reopening::No => false,
            Reopening::Asked | Reopening::Broken => true,
            Reopening::Failed(backoff) => backoff.is_due(now),
            Reopening::Elsewhere { look_at } => look_at <= now,
        }
    }

    /// From now on nothing waits on purpose. True if that is news.
    pub(super) fn end(&mut self) -> bool {
        !mem::replace(&mut self.is_ending, true)
    }

    /// Tells of what is to be synced: files that are written no more, and new names. The file itself, if it was written
    /// to since the last call of [`Self::dirty`], stays with us.
    pub(super) fn hand_over(&mut self, syncs: &mut Syncs) {
        self.unsynced.left.drain(..).for_each(|file| syncs.leave(file));
        if mem::take(&mut self.unsynced.has_new_name) {
            syncs.note_new_name(&self.path, self.opener.levels());
        }
        if mem::take(&mut self.unsynced.has_removed) {
            syncs.forget_removed();
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
        let looks = self.daily().is_some_and(|daily| daily.is_look_due(now));
        self.waiting.len() > 0 || self.reopens(now) || matches!(self.age, Age::Was(_)) || self.is_old(now) || looks
    }

    /// Writes what waits, unless it gathers; rotates and opens anew where that is due.
    ///
    /// # Errors
    /// Of the system: what was not written waits.
    pub(super) fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        self.now = now;
        self.note_age();
        self.note_day(books);
        if self.waiting.len() > 0 && !self.flush_every.is_zero() {
            self.flush_at.get_or_insert(now + self.flush_every);
        }
        if self.is_gathering() {
            return Ok(Wrote::Later);
        }
        // First, so that a program which was told that the old file is complete finds it complete.
        // But the rest of a line goes to the file that has its start, if that still takes it.
        if self.reopens(now) && (!self.is_torn() || self.reopening == Reopening::Broken) {
            self.reopen_now(books);
        }
        if let Err(error) = self.write_waiting(books) {
            match self.reopening {
                // What the old file can't take, be it the rest of a line, the new one gets.
                Reopening::Asked => {
                    self.reopen_now(books);
                    self.write_waiting(books)?;
                }
                before => {
                    // A file that could not be opened anew is tried again after its pause, unless that waits for this write.
                    let has_a_pause = matches!(before, Reopening::Failed(_)) && !self.is_torn();
                    // Somebody may have cured a full disk by giving the path another.
                    if (!is_cured_by_waiting(&error) || self.has_another_at_path()) && !has_a_pause {
                        self.reopening = Reopening::Broken;
                    }
                    return Err(error);
                }
            }
        }
        self.flush_at = None;
        if self.reopens(now) {
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

    /// Finds out whether its day is over. Lines that have gathered came before that, and are still the old file's.
    fn note_day(&mut self, books: &mut Books) {
        let (now, gathered) = (self.now, self.flush_at.is_some());
        let Some(daily) = self.daily_mut() else { return };
        if !daily.look(now) || !gathered {
            return;
        }
        daily.postpone(true);
        // What it can't take goes to the next one, or meets the error again.
        let _ = self.write_waiting(books);
        if let Some(daily) = self.daily_mut() {
            daily.postpone(false);
        }
    }

    /// How long until a write is due.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        let old_at = match self.age {
            Age::Unknown => None,
            Age::Was(_) => Some(Duration::ZERO),
            Age::OldAt(at) => Some(at),
        };
        let old_at = old_at.into_iter().chain(self.daily().map(Daily::due_at)).min();
        if matches!(self.reopening, Reopening::Asked | Reopening::Broken) || (self.is_ending && self.waiting.len() > 0)
        {
            return Some(Duration::ZERO);
        }
        let again = match self.reopening {
            Reopening::Failed(backoff) => Some(backoff.retry_at()),
            Reopening::Elsewhere { look_at } => Some(look_at),
            _ => None,
        };
        let trouble = self.rotation.as_ref().and_then(|rotation| rotation.trouble).map(Backoff::retry_at);
        // While it can't be rotated, its age would end the wait for nothing.
        let old_at = old_at.max(trouble.filter(|_| old_at.is_some()));
        let times = [self.flush_at, old_at, again].into_iter().flatten();
        times.min().map(|at| at.saturating_sub(now))
    }

    fn is_old(&self, now: Duration) -> bool {
        let may_rotate = self.rotation.as_ref().is_some_and(|rotation| rotation.may_try(now));
        let is_old = matches!(self.age, Age::OldAt(at) if at <= now) || self.daily().is_some_and(Daily::is_due);
        is_old && may_rotate
    }

    fn is_gathering(&self) -> bool {
        let is_early = self.flush_at.is_some_and(|at| self.now < at);
        let is_asked = self.reopens(self.now) || self.is_ending || self.is_old(self.now);
        is_early && !is_asked && self.waiting.len() < GATHERED_BYTES
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
                // Once: their place may not be free at once, such as while somebody still reads them.
                Err(error) if is_disk_full(&error) && !has_removed => {
                    if !self.remove_oldest(self.waiting.len() as u64, books)? {
                        return Err(error);
                    }
                    has_removed = true;
                }
                Err(error) if error.kind() == ErrorKind::FileTooLarge => self.give_to_another(books)?,
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
        self.end.note(&[IoSlice::new(waiting.get(..=last).unwrap_or_default())], count);
        self.unsynced.is_dirty = true;
        self.waiting.advance(count);
        books.wrote(count);
        Ok(())
    }

    /// `--disk-full drop-oldest`: removes as many of the oldest rotated files as are needed for so many bytes. Whether that
    /// may have made room.
    fn remove_oldest(&mut self, needed: u64, books: &mut Books) -> io::Result<bool> {
        let Some(rotation) = self.rotation.as_ref().filter(|_| self.removes_when_full && !self.spares_oldest) else {
            return Ok(false);
        };
        let mut freed = 0;
        while freed < needed {
            let Some(removed) = rotation.remove_oldest(self.marks_gaps)? else { break };
            freed += removed.freed.max(1);
            let gap = note_removed(&removed, books);
            let before = books.gap.unwrap_or(Gap { lines: 0, bytes: 0, ..gap });
            books.gap = Some(Gap { lines: before.lines + gap.lines, bytes: before.bytes + gap.bytes, ..gap });
        }
        self.forget_removed_ones();
        Ok(freed > 0)
    }

    /// Of a file that was removed nothing has to reach the disk, and its place is free only when we have closed it.
    fn forget_removed_ones(&mut self) {
        self.unsynced.left.retain(|file| has_name(file));
        self.unsynced.has_removed = true;
    }

    /// The file takes no more, though the disk would (a limit on the size of files, or that of its file system): what it
    /// has of a line is cut off, to be written whole to the next one, which rotating makes.
    ///
    /// # Errors
    /// There is none: not without rotation, nor if not even a line fits into an empty one.
    fn give_to_another(&mut self, books: &mut Books) -> io::Result<()> {
        self.take_back();
        let len = self.file.as_ref().map(|file| file.metadata()).transpose()?.map_or(0, |found| found.len());
        // A day has one file.
        let may_try = |rotation: &Rotation| rotation.may_try(self.now) && rotation.dated.is_none();
        if self.rotation.as_ref().is_some_and(may_try) && len > 0 {
            if let Some(rotation) = &mut self.rotation {
                rotation.is_full = true;
            }
            if self.rotate(books) {
                return Ok(());
            }
        }
        let is_dated = self.rotation.as_ref().is_some_and(|rotation| rotation.dated.is_some());
        let cure = if is_dated { "" } else { "--rotate-size begins a new one, or " };
        let why = format!(
            "it has reached the largest size that a file may have here (ulimit -f, or its file system); \
            {cure}move it away and send SIGHUP"
        );
        Err(io::Error::new(ErrorKind::FileTooLarge, why))
    }

    /// Writes the block behind what waits without copying it; `None` if the file has no room for all of that.
    fn take_directly(&mut self, parts: Parts<'_>, len: usize, books: &mut Books) -> Option<Took> {
        let all = (self.waiting.len() + len) as u64;
        let has_room = !self.is_torn() && self.room(books).is_ok_and(|room| room >= all);
        let mut file = self.file.as_deref().filter(|_| has_room)?;
        let mut took = Took::Written;
        let (end, is_dirty) = (&mut self.end, &mut self.unsynced.is_dirty);
        self.waiting.write_through(parts, |parts| match file.write_vectored(parts) {
            Ok(count) => {
                end.note(parts, count);
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

/// Counts the lines of a removed file as dropped, says so, and gives what is to be marked: those lines, and what the marks
/// among them told of, which is told again.
pub(super) fn note_removed(removed: &Removed, books: &mut Books) -> Gap {
    let (path, lines, bytes) = (shown(&removed.path), removed.lines.unwrap_or_default(), removed.bytes);
    let counted = DisplayLines(lines);
    books.report(format_args!("the disk is full: removed {path} with {counted}, {bytes} bytes"));
    books.dropped(lines, bytes);
    let told = removed.told;
    Gap { lines: lines + told.lines, bytes: bytes + told.bytes, why: Why::DiskFull }
}

/// Whether a descriptor that gave this error is as good as before.
fn is_cured_by_waiting(error: &io::Error) -> bool {
    let kinds = [ErrorKind::FileTooLarge, ErrorKind::WouldBlock, ErrorKind::Interrupted];
    is_disk_full(error) || kinds.contains(&error.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
}
