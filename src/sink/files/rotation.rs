//! When a file is begun anew: how full, how old or of which day it may be, and whether that could be done. How it is done is
//! in `rotate`.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::daily::{Begun, Daily, Found};
use super::dates::Dated;
use super::rotate::{Removed, Rotated};
use crate::config::output::OutputOptions;
use crate::sink::pace::Backoff;

/// When a file is begun anew.
pub(super) struct Rotation {
    pub(super) files: Rotated,
    pub(super) keep: usize,
    pub(super) size: u64,
    pub(super) age: Duration,
    /// When the day ends (`--rotate-at`, `{date}`).
    pub(super) daily: Option<Daily>,
    /// Each day has a name of its own.
    pub(super) dated: Option<Dated>,
    /// It takes no more, whatever its size is.
    pub(super) is_full: bool,
    /// It could not be rotated: until the next try, its size and age do not count.
    pub(super) trouble: Option<Backoff>,
}

/// What a rename may have come later than its time stamp says: that is the time of the kernel's last tick, and in a compressed
/// file it is in whole seconds.
const STAMP_SLACK: Duration = Duration::from_secs(1);
/// So many days before today are asked for by name, before the whole directory is looked at.
const RECENT_DAYS: i64 = 31;

/// How old the file is (`--rotate-age`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Age {
    /// Nobody asks, or it has not been looked at.
    #[default]
    Unknown,
    /// So old when it was opened; the next flush, which knows the time, makes [`Age::OldAt`] of that.
    Was(Duration),
    /// It is to be begun anew then, as time since the start.
    OldAt(Duration),
}

impl Age {
    /// The same of a file that may be so old from now on (0: nobody asks), and could be as old as `before` says.
    pub(super) fn renewed(self, before: Duration, longest: Duration) -> Self {
        match self {
            Self::OldAt(at) if !before.is_zero() && !longest.is_zero() => {
                Self::OldAt((at + longest).saturating_sub(before))
            }
            Self::Was(age) if !longest.is_zero() => Self::Was(age),
            _ => Self::Unknown,
        }
    }
}

/// What is known of when a file was begun, for one that is closed and opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Known {
    pub(super) age: Age,
    pub(super) begun: Begun,
}

impl Rotation {
    /// That of the file at `path`, if these options ask for it.
    pub(super) fn new(path: &Path, options: &OutputOptions) -> Option<Self> {
        options.rotates().then(|| {
            let mut rotation = Self {
                files: Rotated::new(path, 0),
                keep: 0,
                size: 0,
                age: Duration::ZERO,
                daily: options.rotate_at.map(Daily::new),
                dated: None,
                is_full: false,
                trouble: None,
            };
            rotation.configure(path, options);
            rotation
        })
    }

    /// Takes over what can change (P27).
    pub(super) fn configure(&mut self, path: &Path, options: &OutputOptions) {
        self.files = Rotated::new(path, options.rotate_keep);
        self.keep = options.rotate_keep;
        self.size = if options.rotate_size == 0 { u64::MAX } else { options.rotate_size as u64 };
        self.age = options.rotate_age;
    }

    /// Whether it may be rotated: not shortly after that has failed.
    pub(super) fn may_try(&self, now: Duration) -> bool {
        self.trouble.is_none_or(|backoff| backoff.is_due(now))
    }

    /// `{date}`: the names, and the day whose file this is.
    pub(super) fn day(&self) -> Option<(&Dated, i64)> {
        match (&self.dated, self.daily.as_ref()?.begun()) {
            (Some(dated), Begun::On(day)) => Some((dated, day)),
            _ => None,
        }
    }

    /// The file that comes before the one that is written to; `is_one_of_many`: no look at a whole directory is worth it.
    pub(super) fn predecessor(&self, is_one_of_many: bool) -> Option<Metadata> {
        match self.day() {
            Some((dated, day)) => {
                let of_day = |back: i64| fs::metadata(dated.path_of(day - back)).ok().filter(Metadata::is_file);
                let recent = (1..=RECENT_DAYS).find_map(of_day);
                recent.or_else(|| if is_one_of_many { None } else { fs::metadata(dated.before(day)?).ok() })
            }
            None => self.files.newest(),
        }
    }

    pub(super) fn remove_oldest(&self, has_marks: bool) -> io::Result<Option<Removed>> {
        match self.day() {
            Some((dated, day)) => dated.remove_oldest(day, has_marks),
            None => self.files.remove_oldest(has_marks),
        }
    }

    /// A file is old that has no lines: it is begun now, whatever was said before.
    pub(super) fn begin_empty(&mut self, now: Duration) -> Age {
        if let Some(daily) = &mut self.daily {
            daily.adopt(&Found::Empty);
        }
        if self.age.is_zero() { Age::Unknown } else { Age::OldAt(now + self.age) }
    }

    pub(super) fn note_begun(&mut self, found: &Metadata) {
        let Some(daily) = &mut self.daily else { return };
        let shifted_at = self.files.shifted_at().and_then(|at| i64::try_from((at + STAMP_SLACK).as_secs()).ok());
        daily.adopt(&match shifted_at {
            _ if found.len() == 0 => Found::Empty,
            None if self.keep > 0 => Found::Alone,
            _ => Found::Lines { shifted_at, changed_at: found.mtime() },
        });
    }

    /// How old a file is: it was begun when those before it were moved. One of which nothing tells, as there is none before
    /// it though some are kept, is older than anything: else, on a box that is switched on each morning, it might never be
    /// begun anew. A clock that was wrong when it was begun makes it older or younger, once.
    pub(super) fn age_of(&self, found: &Metadata) -> Duration {
        if found.len() == 0 {
            return Duration::ZERO;
        }
        let Some(shifted_at) = self.files.shifted_at() else {
            return if self.keep == 0 { Duration::ZERO } else { Duration::MAX };
        };
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(shifted_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::calendar::TimeOfDay;

    #[test]
    fn a_file_that_was_compressed_may_have_been_rotated_in_the_next_second() {
        let folder = std::env::temp_dir().join(format!("lumberjack-rotation-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("app.log");
        fs::write(&path, "a line\n").unwrap();
        let rotated_at = 1_800_000_000_u32;
        let [a, b, c, d] = rotated_at.to_le_bytes();
        // Nothing, compressed: header, one empty block, checksum and length.
        let packed = [0x1f, 0x8b, 8, 0, a, b, c, d, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        fs::write(folder.join("app.log.1.gz"), packed).unwrap();
        let mut rotation = Rotation {
            files: Rotated::new(&path, 5),
            keep: 5,
            size: u64::MAX,
            age: Duration::ZERO,
            daily: Some(Daily::new(TimeOfDay::default())),
            dated: None,
            is_full: false,
            trouble: None,
        };
        rotation.note_begun(&fs::metadata(&path).unwrap());
        fs::remove_dir_all(&folder).unwrap();
        // Midnight may lie between: it would be rotated once more.
        assert_eq!(rotation.daily.unwrap().begun(), Begun::At(i64::from(rotated_at) + 1));
    }
}
