//! Opening a log file, and what may have become of it meanwhile: removed, moved, full, or of yesterday.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use memchr::{memchr, memrchr};

use super::super::daily::Begun;
use super::super::path::{identity_of, is_unended, not_opened_anew, resolved, shown};
use super::super::rotate::{Rotated, is_disk_full};
use super::super::rotation::{Age, Rotation};
use super::{LONGEST_ROTATION_PAUSE, LogFile, Reopening, Settling};
use crate::sink::ending::End;
use crate::sink::pace::{Backoff, LONGEST_PAUSE};
use crate::sink::target::Books;

impl LogFile {
    pub(super) fn ensure_open(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        self.keep_line();
        let is_one_of_many = self.settling != Settling::Now;
        let predecessor = || self.rotation.as_ref().and_then(|rotation| rotation.predecessor(is_one_of_many));
        let rotated = if self.removed.is_some() { None } else { predecessor() };
        let file = self.opener.open(&self.path, self.removed.as_deref().or(rotated.as_ref()))?;
        (self.reopening, self.removed) = (Reopening::No, None);
        self.adopt(file)
    }

    /// From now on this is the file.
    pub(super) fn adopt(&mut self, file: File) -> io::Result<()> {
        let found = file.metadata()?;
        self.unsynced.has_new_name |= self.unsynced.is_wanted;
        let mut is_full = false;
        if let Some(rotation) = &mut self.rotation {
            rotation.files = Rotated::new(&resolved(&self.path), rotation.keep);
            rotation.is_full = false;
            is_full = found.len() >= rotation.size;
            let is_known = matches!(self.age, Age::OldAt(_)) && found.len() > 0;
            if !rotation.age.is_zero() && !is_known {
                self.age = Age::Was(rotation.age_of(&found));
            }
            rotation.note_begun(&found);
        }
        // A full file gets nothing more, not even a newline.
        let is_unended = found.is_file() && !is_full && is_unended(&self.path, found.len());
        self.end = if is_unended { End::Unended } else { End::Whole };
        self.file = Some(Arc::new(file));
        Ok(())
    }

    /// The length of the file, which is open then and ends at the end of a line, unless that line is ours. It is asked for
    /// each time, since others may remove the file, cut it or write to it.
    pub(super) fn check_file(&mut self, books: &mut Books) -> io::Result<u64> {
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

    pub(super) fn is_at_path(&self, ours: &Metadata) -> bool {
        fs::metadata(&self.path).is_ok_and(|found| identity_of(&found) == identity_of(ours))
    }

    /// Whether the path leads to another file than the one that is open: a link, a mount or a rename has come between.
    pub(super) fn has_another_at_path(&self) -> bool {
        let found = fs::metadata(&self.path).ok();
        let ours = self.file.as_ref().and_then(|file| file.metadata().ok());
        found.zip(ours).is_some_and(|(found, ours)| identity_of(&found) != identity_of(&ours))
    }

    /// Somebody removed the file: what is written to it would be gone with it, and its place on the disk is free only
    /// when we close it. A line that is half in it goes to the next one.
    pub(super) fn forget_removed(&mut self, books: &mut Books) {
        self.keep_line();
        self.removed = self.file.as_ref().and_then(|file| file.metadata().ok()).map(Box::new);
        (self.file, self.unsynced.is_dirty) = (None, false);
        self.forget_age();
        books.report(format_args!("{} was removed; it is begun anew", shown(&self.path)));
    }

    /// The file with the start of a line is lost to us: the line waits as a whole.
    pub(super) fn keep_line(&mut self) {
        if let End::Torn { start } = mem::replace(&mut self.end, End::Whole) {
            self.waiting.prepend(&start);
        }
    }

    /// The line that is half written waits as a whole, and what the file has of it is cut off. Where that can't be, a
    /// newline comes behind it.
    pub(super) fn take_back(&mut self) {
        if !self.is_torn() {
            return;
        }
        let is_cut = self.cut_off(self.end.torn() as u64).is_ok();
        self.keep_line();
        if !is_cut {
            self.end = End::Unended;
        }
    }

    /// Cuts the last bytes off the file.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn cut_off(&self, bytes: u64) -> io::Result<()> {
        let Some(file) = self.file.as_deref() else { return Ok(()) };
        // If it is shorter, somebody was faster.
        file.metadata()?.len().checked_sub(bytes).map_or(Ok(()), |len| file.set_len(len))
    }

    /// A power cut may have left a line without its end: the next one is to be whole. Gives how many bytes that took.
    pub(super) fn end_torn_line(&mut self, books: &mut Books) -> io::Result<u64> {
        let Some(mut file) = self.file.as_deref().filter(|_| self.end == End::Unended) else { return Ok(0) };
        if file.write_vectored(&[IoSlice::new(b"\n")])? == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        self.end = End::Whole;
        self.unsynced.is_dirty = true;
        books.wrote(1);
        Ok(1)
    }

    /// Bytes that the file may still get; an old one is begun anew first. One that can't be rotated gets all.
    pub(super) fn room(&mut self, books: &mut Books) -> io::Result<u64> {
        let mut len = self.check_file(books)?;
        if self.is_old(self.now) {
            let is_dated = self.rotation.as_ref().is_some_and(|rotation| rotation.dated.is_some());
            if (len > 0 || is_dated) && self.rotate(books) {
                len = self.check_file(books)?;
            } else if let (0, Some(rotation)) = (len, &mut self.rotation) {
                self.age = rotation.begin_empty(self.now);
            }
        }
        let Some(rotation) = self.rotation.as_ref().filter(|rotation| rotation.may_try(self.now)) else {
            return Ok(u64::MAX);
        };
        Ok(if rotation.is_full && len > 0 { 0 } else { rotation.size.saturating_sub(len) })
    }

    /// How many bytes of what waits go into the file as it is now, which is at least one line or the rest of one; begins
    /// it anew if it has no room for that.
    pub(super) fn room_for_waiting(&mut self, books: &mut Books) -> io::Result<usize> {
        // Twice if the file that is gone on with is full too; more often only if others write to it as well.
        for _ in 0..4 {
            if self.is_torn() {
                self.check_file(books)?;
                if self.is_torn() {
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
            self.rotate(books);
        }
        Err(io::Error::other("others write to the file too"))
    }

    /// The length of what waits of one line.
    pub(super) fn first_line(&self) -> usize {
        memchr(b'\n', self.waiting.bytes()).map_or(self.waiting.len(), |end| end + 1)
    }

    /// Begins the file anew; false if that could not be done: then lines go on into the one that is there, since writing
    /// needs no rotation. That is said once, and tried again after pauses.
    pub(super) fn rotate(&mut self, books: &mut Books) -> bool {
        let (name, before) = (shown(&self.path), books.counters.rotations);
        let rotated = match self.try_rotate(books) {
            // Not even a name has room.
            Err(error) if is_disk_full(&error) && self.remove_oldest(1, books).is_ok_and(|is_removed| is_removed) => {
                self.try_rotate(books)
            }
            rotated => rotated,
        };
        let now = self.now;
        let Some(rotation) = &mut self.rotation else { return false };
        match (rotated, rotation.trouble) {
            (Ok(()), trouble) => {
                rotation.trouble = None;
                if trouble.is_some() {
                    // Where somebody has moved our file away, or put a fifo there, what has its name now is only opened.
                    let how = if books.counters.rotations > before { "rotated" } else { "opened anew" };
                    books.report(format_args!("{name} was {how}, and is within its bound again"));
                }
                return true;
            }
            (Err(_), Some(before)) => rotation.trouble = Some(before.again(now, LONGEST_ROTATION_PAUSE)),
            (Err(error), None) => {
                rotation.trouble = Some(Backoff::begin(now));
                books.report(format_args!(
                    "cannot rotate {name}: {error}; lines go on into it, whatever its size and age, and rotating is tried again"
                ));
            }
        }
        books.counters.rotation_failures = books.counters.rotation_failures.saturating_add(1);
        false
    }

    pub(super) fn try_rotate(&mut self, books: &mut Books) -> io::Result<()> {
        if self.rotation.as_ref().is_some_and(|rotation| rotation.dated.is_some()) {
            return self.begin_day(books);
        }
        if self.is_unsettled() {
            self.settle_rotated(&resolved(&self.path), true, books)?;
        }
        let Some(rotation) = &self.rotation else { return Ok(()) };
        let ours = self.file.as_ref().map(|file| file.metadata()).transpose()?;
        // Somebody may have moved our file away: what has its name now is not ours to move, but to be gone on with.
        let file = match &ours {
            Some(ours) if self.is_at_path(ours) => {
                let file = rotation.files.shift(|path| self.opener.make(path, Some(ours)))?;
                books.counters.rotations = books.counters.rotations.saturating_add(1);
                self.has_rotated = true;
                file
            }
            _ => self.opener.open(&self.path, ours.as_ref())?,
        };
        self.leave_file();
        self.forget_age();
        self.adopt(file)
    }

    /// `{date}`: lines go on into the file of today.
    pub(super) fn begin_day(&mut self, books: &mut Books) -> io::Result<()> {
        let ours = self.file.as_ref().map(|file| file.metadata()).transpose()?;
        let Some(Rotation { daily: Some(daily), dated: Some(dated), keep, .. }) = &mut self.rotation else {
            return Ok(());
        };
        let today = daily.today();
        let path = dated.path_of(today);
        let opened = self.opener.open(&path, ours.as_ref());
        let file =
            opened.map_err(|error| io::Error::new(error.kind(), format!("cannot open {}: {error}", shown(&path))))?;
        daily.set_begun(Begun::On(today));
        // What can't be removed now may be tomorrow, and at a start.
        if self.settling != Settling::Now {
            self.settling = Settling::Due;
        } else if let Err(error) = dated.trim(today, *keep, |_| ()) {
            books.report(format_args!("{error}; it is beyond --rotate-keep"));
        }
        books.counters.rotations = books.counters.rotations.saturating_add(1);
        self.leave_file();
        self.path = path;
        self.adopt(file)
    }

    /// The file has another name now, or will have another place.
    pub(super) fn leave_file(&mut self) {
        // Of what was removed meanwhile nothing has to reach the disk, and its descriptor is worth more.
        self.forget_removed_ones();
        self.keep_for_sync();
        self.end = End::Whole;
    }

    /// The descriptor is not written to any more. What it has taken is synced by itself: if it is a dead one, another one of
    /// the same file would not tell what became of that.
    pub(super) fn keep_for_sync(&mut self) {
        let unsynced = &mut self.unsynced;
        let is_left = mem::take(&mut unsynced.is_dirty) && unsynced.is_wanted;
        unsynced.left.extend(self.file.take().filter(|_| is_left));
    }

    /// Takes a new descriptor of the path, whatever the old one says it is: of one that is dead some file systems still
    /// tell what they remember. If there can be none, the old one is used as long as it takes lines.
    pub(super) fn reopen_now(&mut self, books: &mut Books) {
        if self.file.is_none() {
            // It is opened when something is to be written.
            self.reopening = Reopening::No;
            return;
        }
        let ours = self.file.as_ref().and_then(|file| file.metadata().ok());
        let opened = self.opener.open(&self.path, ours.as_ref()).and_then(|file| {
            let is_same = ours
                .as_ref()
                .is_some_and(|ours| file.metadata().is_ok_and(|new| identity_of(&new) == identity_of(ours)));
            if is_same {
                let (end, age) = (mem::replace(&mut self.end, End::Whole), self.age);
                self.keep_for_sync();
                let adopted = self.adopt(file);
                self.end = end;
                // Nobody asked before: then it is as old as it was found now.
                if age != Age::Unknown {
                    self.age = age;
                }
                adopted?;
            } else {
                self.take_back();
                self.leave_file();
                self.forget_age();
                self.adopt(file)?;
            }
            Ok(())
        });
        let is_elsewhere = ours.is_none_or(|ours| {
            let file = self.file.as_ref().and_then(|file| file.metadata().ok());
            file.is_some_and(|new| new.dev() != ours.dev())
        });
        let look_at = self.now + LONGEST_PAUSE;
        self.reopening = match (opened, self.reopening) {
            // What is open takes lines, whatever becomes of the path.
            (_, Reopening::Elsewhere { .. }) => Reopening::Elsewhere { look_at },
            (Ok(()), Reopening::Broken | Reopening::Failed(_)) if is_elsewhere => Reopening::Elsewhere { look_at },
            (Ok(()), _) => Reopening::No,
            (Err(_), Reopening::Failed(before)) => Reopening::Failed(before.again(self.now, LONGEST_PAUSE)),
            (Err(error), _) => {
                not_opened_anew(&self.path, &error, books);
                Reopening::Failed(Backoff::begin(self.now))
            }
        };
    }
}
