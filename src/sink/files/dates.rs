//! What the file of a day is called: `{date}` in its name is the local date on which it was begun. Invariant: no file is
//! removed that this pattern could not have made, nor one of today or later.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::path::folder_of;
use super::rotate::{Removed, remove, remove_counted};
use crate::config::calendar::{date, day_of};
use crate::config::output::DATE_WORD;

/// The names of the files.
#[derive(Debug)]
pub(super) struct Dated {
    pattern: PathBuf,
    before: String,
    after: String,
}

/// Whether a file's name is that of a day's file. `pattern` is the name of the pattern.
pub(super) fn is_of_day(pattern: &[u8], name: &[u8]) -> bool {
    let names = Dated::new(Path::new(OsStr::from_bytes(pattern)));
    str::from_utf8(name).is_ok_and(|name| names.day_in(name).is_some())
}

impl Dated {
    /// Those of a pattern, which is one.
    pub(super) fn new(pattern: &Path) -> Self {
        let name = pattern.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (before, after) = name.split_once(DATE_WORD).unwrap_or((name, ""));
        Self { pattern: pattern.to_owned(), before: before.to_owned(), after: after.to_owned() }
    }

    /// The path of a day's file.
    pub(super) fn path_of(&self, day: i64) -> PathBuf {
        self.pattern.with_file_name(format!("{}{}{}", self.before, date(day), self.after))
    }

    /// The day that a name stands for, if the pattern could have made it.
    fn day_in(&self, name: &str) -> Option<i64> {
        day_of(name.strip_prefix(&self.before)?.strip_suffix(&self.after)?)
    }

    /// The days of which there are files, in no order. A directory is none of them.
    pub(super) fn days(&self) -> io::Result<Vec<i64>> {
        let mut days = Vec::new();
        for entry in fs::read_dir(folder_of(&self.pattern))? {
            let entry = entry?;
            let day = entry.file_name().to_str().and_then(|name| self.day_in(name));
            days.extend(day.filter(|_| entry.file_type().is_ok_and(|found| !found.is_dir())));
        }
        Ok(days)
    }

    /// Those before this day.
    fn days_before(&self, today: i64) -> io::Result<Vec<i64>> {
        let mut days = self.days()?;
        days.retain(|day| *day < today);
        Ok(days)
    }

    /// The newest day of which there is a file.
    pub(super) fn newest(&self) -> Option<i64> {
        last(&self.days().ok()?)
    }

    /// The file that comes before that of this day.
    pub(super) fn before(&self, today: i64) -> Option<PathBuf> {
        last(&self.days_before(today).ok()?).map(|day| self.path_of(day))
    }

    /// Removes the files of days before this one, but for the newest of them that are to be kept, and tells of each.
    ///
    /// # Errors
    /// Of the system: the last one, after every file was tried.
    pub(super) fn trim(&self, today: i64, keep: usize, mut removed: impl FnMut(&Path)) -> io::Result<()> {
        let mut days = self.days_before(today)?;
        let mut result = Ok(());
        // Not sorted, for size: at most times it is one that goes.
        while days.len() > keep
            && let Some(oldest) = first(&days)
        {
            days.retain(|day| *day != oldest);
            let path = self.path_of(oldest);
            match remove(&path) {
                Ok(true) => removed(&path),
                Ok(false) => {} // somebody else was faster
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Removes the file of the oldest day before this one. `None` if there is none.
    ///
    /// # Errors
    /// Of the system, when the directory can't be read or the file not be removed.
    pub(super) fn remove_oldest(&self, today: i64, has_marks: bool) -> io::Result<Option<Removed>> {
        match first(&self.days_before(today)?) {
            Some(oldest) => remove_counted(self.path_of(oldest), has_marks),
            None => Ok(None),
        }
    }
}

// One copy of each, and by key: `min` and `max` of numbers are made of vectors, which is 700 bytes.
#[inline(never)]
fn first(days: &[i64]) -> Option<i64> {
    days.iter().min_by_key(|day| **day).copied()
}

#[inline(never)]
fn last(days: &[i64]) -> Option<i64> {
    days.iter().max_by_key(|day| **day).copied()
}
