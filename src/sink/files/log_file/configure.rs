//! What of a log file can change while it is open (P27), and the order of its rotated files: brought about at the start, and
//! when it begins to rotate or fewer of them are to be kept.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::super::opener::{Obstacle, obstacle};
use super::super::path::{resolved, shown};
use super::super::rotate::{Rotated, is_disk_full};
use super::super::rotation::Rotation;
use super::{LogFile, Settling};
use crate::config::output::{DiskFull, OutputOptions};
use crate::sink::target::Books;

impl LogFile {
    /// Takes over the options that can change. A reopening follows. True if its rotated files are to be looked at, since it
    /// rotates for the first time, or another number of them is kept.
    pub(in super::super) fn configure(&mut self, options: &OutputOptions) -> bool {
        self.removes_when_full = options.disk_full == DiskFull::DropOldest;
        self.flush_every = options.flush_every;
        self.opener.configure(options);
        // What has gathered for the time that was, is written with the reopening.
        self.hurry();
        let is_dated = |rotation: &Rotation| rotation.dated.is_some();
        let (keep_before, mut age_before) = (self.rotation.as_ref().map(|rotation| rotation.keep), Duration::ZERO);
        match &mut self.rotation {
            Some(rotation) if options.rotates() || is_dated(rotation) => {
                age_before = rotation.age;
                rotation.configure(&resolved(&self.path), options);
            }
            rotation => *rotation = Rotation::new(&resolved(&self.path), options),
        }
        self.age = self.age.renewed(age_before, options.rotate_age);
        let keep = self.rotation.as_ref().map(|rotation| rotation.keep);
        keep.is_some() && keep != keep_before
    }

    /// Brings what other options left into order: rotated files beyond what is to be kept are removed; and, at the start
    /// (`is_first`), what an earlier run left.
    ///
    /// # Errors
    /// That of a directory in which it could not be rotated.
    pub(in super::super) fn settle_rotated(
        &mut self,
        path: &Path,
        is_first: bool,
        books: &mut Books,
    ) -> io::Result<()> {
        if self.settling == Settling::Due {
            self.settling = Settling::Later;
        }
        let Some(rotation) = &self.rotation else { return Ok(()) };
        // The file of a day keeps its name.
        let obstacle = if rotation.dated.is_none() { obstacle(path, rotation.keep) } else { None };
        match obstacle {
            Some(obstacle @ Obstacle::Mounted) => return Err(io::Error::other(obstacle.sentence())),
            // A restart must not turn what was a warning into no log.
            Some(obstacle) => books.report(format_args!("{}: {}", shown(path), obstacle.sentence())),
            None => {}
        }
        self.opener.check_folder(path, is_disk_full)?;
        let mut removed = |removed: &Path, why: &str| books.report(format_args!("removed {}, {why}", shown(removed)));
        match rotation.day() {
            Some((dated, day)) => dated.trim(day, rotation.keep, |path| removed(path, "beyond --rotate-keep")),
            None => {
                Rotated::new(path, rotation.keep).trim(is_first, removed)?;
                self.forget_removed_ones();
                self.has_rotated = true;
                Ok(())
            }
        }
    }
}
