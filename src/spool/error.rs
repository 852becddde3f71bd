//! Why a spool can't be opened, as a sentence: what, where, what to do (P13).

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::disk::is_full;
use super::segment::BoxId;
use crate::config::text::escaped;
use crate::config::units::DisplaySize;
use crate::linux::is_descriptor_shortage;

/// What is in the way. `Display` of [`OpenError`] is the sentence.
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// Another process has the directory.
    Locked,
    /// It is that of another machine.
    OtherMachine(BoxId),
    /// It is not that of the box whose place is to be taken.
    OtherBox {
        /// Whose it is.
        found: BoxId,
        /// Whose place is to be taken.
        wanted: BoxId,
    },
    /// A segment in it was written by a newer version of this program.
    Newer {
        /// The segment's name.
        segment: String,
        /// The version of its format.
        version: u32,
    },
    /// It is no spool, and holds something else, such as this.
    Occupied(String),
    /// There is no room for four segments.
    TooSmall {
        /// What was given, in bytes.
        size: u64,
        /// What it takes.
        least: u64,
    },
    /// The same output is given twice.
    Twice(String),
    /// The longest line would not fit into any record.
    LineTooLong(usize),
    /// What the system says.
    Io(io::Error),
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Cause {
    /// With the directory that it is about.
    #[must_use]
    pub fn at(self, directory: &Path) -> OpenError {
        OpenError { directory: directory.to_owned(), cause: self }
    }
}

/// Why a spool could not be opened. `Display` is one sentence.
#[derive(Debug)]
pub struct OpenError {
    directory: PathBuf,
    cause: Cause,
}

impl OpenError {
    /// Whether what was asked for is at fault (exit 2), and not the box (exit 1).
    #[must_use]
    pub fn is_usage(&self) -> bool {
        !matches!(self.cause, Cause::Locked | Cause::Io(_))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = escaped(&self.directory.to_string_lossy());
        match &self.cause {
            Cause::Locked => {
                write!(
                    f,
                    "another process uses the spool {directory}: stop that, or choose another directory with --spool"
                )
            }
            Cause::OtherMachine(id) => write!(
                f,
                "the spool {directory} is that of another machine, box {id}: if that is gone for good, take its place with --take-over {id}; else choose another directory with --spool"
            ),
            Cause::OtherBox { found, wanted } => write!(
                f,
                "the spool {directory} is that of box {found}, not {wanted}: leave --take-over out, or take that place with an empty directory (lumberjack read {directory} has the lines of this one)"
            ),
            Cause::Newer { segment, version } => write!(
                f,
                "the spool {directory} was written by a newer version of this program ({segment} has format {version}): use that one, or choose another directory with --spool"
            ),
            Cause::Occupied(name) => write!(
                f,
                "{directory} is no spool, and holds other files ({}): choose an empty directory, or one of its own, with --spool",
                name.escape_debug()
            ),
            Cause::TooSmall { size, least } => write!(
                f,
                "--spool-size {} is too small for the spool {directory}: give at least {}",
                Size(*size),
                Size(*least)
            ),
            Cause::Twice(output) => write!(f, "two outputs of the spool {directory} are {output}: give it once"),
            Cause::LineTooLong(most) => {
                write!(f, "--max-line is too large for the spool {directory}: give at most {}", DisplaySize(*most))
            }
            Cause::Io(error) => write_io(f, &directory, error),
        }
    }
}

fn write_io(f: &mut fmt::Formatter<'_>, directory: &str, error: &io::Error) -> fmt::Result {
    write!(f, "cannot use the spool {directory}: ")?;
    match error.kind() {
        ErrorKind::NotFound => f.write_str("the directory that it is to be made in does not exist; make that"),
        ErrorKind::PermissionDenied => {
            f.write_str("no permission; change the owner or the mode, or choose another directory with --spool")
        }
        ErrorKind::ReadOnlyFilesystem => {
            f.write_str("the file system is read-only; remount it, or choose another directory with --spool")
        }
        ErrorKind::NotADirectory => f.write_str("it is no directory; choose another with --spool"),
        _ if is_full(error) => f.write_str("the disk is full; make room, or choose another directory with --spool"),
        _ if is_descriptor_shortage(error) => write!(f, "{error}; raise the limit on open files"),
        _ => write!(f, "{error}; choose another directory with --spool"),
    }
}

impl std::error::Error for OpenError {}

/// A size on the disk, which a 32-bit box may not be able to count.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match usize::try_from(self.0) {
            Ok(size) => DisplaySize(size).fmt(f),
            Err(_) => write!(f, "{}MiB", self.0 >> 20),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::{EDQUOT, ENOSPC};

    #[test]
    fn p13_each_cause_is_a_sentence_that_says_what_to_do() {
        let (found, wanted) = (BoxId([0xab; 16]), BoxId([1; 16]));
        let newer = Cause::Newer { segment: "0000000000000001.seg".to_owned(), version: 2 };
        let io = |number| Cause::Io(io::Error::from_raw_os_error(number));
        for (cause, is_usage, words) in [
            (Cause::Locked, false, &["another process uses the spool /s", "stop that"][..]),
            (Cause::OtherMachine(found), true, &["another machine", "--take-over abababab"]),
            (Cause::OtherBox { found, wanted }, true, &["box abab", "not 0101", "leave --take-over out"]),
            (newer, true, &["newer version", "0000000000000001.seg has format 2"]),
            (Cause::TooSmall { size: 65_536, least: 1 << 20 }, true, &["--spool-size 64KiB", "at least 1MiB"]),
            (Cause::Occupied("passwd".to_owned()), true, &["/s is no spool", "(passwd)", "an empty directory"]),
            (Cause::Twice("tcp:a:1".to_owned()), true, &["two outputs", "tcp:a:1", "give it once"]),
            (Cause::LineTooLong(1 << 20), true, &["--max-line", "at most 1MiB"]),
            (io(2), false, &["does not exist; make that"]),
            (io(13), false, &["no permission; change the owner"]),
            (io(30), false, &["read-only; remount"]),
            (io(20), false, &["no directory"]),
            (io(24), false, &["raise the limit on open files"]),
            (io(ENOSPC), false, &["disk is full; make room"]),
            (io(EDQUOT), false, &["disk is full; make room"]),
            (io(5), false, &["choose another directory"]),
        ] {
            let error = cause.at(Path::new("/s"));
            let sentence = error.to_string();
            assert_eq!(error.is_usage(), is_usage, "{sentence}");
            assert!(words.iter().all(|word| sentence.contains(word)), "{sentence}");
            assert!(sentence.contains("/s") && !sentence.contains('\n'), "{sentence}");
        }
    }
}
