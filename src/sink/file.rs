//! A file opened for append, made if it does not exist. A fifo is written without waiting for its
//! reader, which may come, go and come again: what it has not read waits.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::descriptor::{Adopted, Descriptor, Way, open_fifo};
use super::{Flushed, Format, Origin, Sink};
use crate::engine::config::Overhead;
use crate::engine::framer::Lines;

/// Appends to a file.
#[derive(Debug)]
pub struct FileSink {
    out: Descriptor,
    path: PathBuf,
}

/// Why a file could not be opened. `Display` is one sentence.
#[derive(Debug)]
pub struct OpenError {
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = shown(&self.path);
        write!(f, "cannot write to {path}: ")?;
        match self.source.kind() {
            ErrorKind::NotFound => {
                f.write_str("its directory does not exist; make it, or choose another file with --output")
            }
            ErrorKind::IsADirectory => {
                let inside = shown(&self.path.join("app.log"));
                write!(f, "it is a directory; name a file in it, such as {inside}, with --output")
            }
            ErrorKind::PermissionDenied => {
                f.write_str("no permission; change the owner or the mode, or choose another file with --output")
            }
            ErrorKind::ReadOnlyFilesystem => {
                f.write_str("the file system is read-only; remount it, or choose another file with --output")
            }
            ErrorKind::NotADirectory => {
                f.write_str("a part of the path is no directory; choose another file with --output")
            }
            _ if matches!(self.source.raw_os_error(), Some(23 | 24)) => {
                write!(f, "{}; raise the limit on open files", self.source)
            }
            _ => write!(f, "{}; choose another file with --output", self.source),
        }
    }
}

/// A path as a part of one line, whatever is in it.
fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl FileSink {
    /// Opens `path` for append, and makes it if need be.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: impl AsRef<Path>, format: Format) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let is_fifo = fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
        let opened = if is_fifo {
            open_fifo(path).map(|file| Adopted { file, way: Way::Pipe, borrowed: None })
        } else {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.map(|file| Adopted { file, way: Way::Plain, borrowed: None })
        };
        match opened {
            Ok(out) => Ok(Self { out: Descriptor::new(out, format), path: path.to_owned() }),
            Err(source) => Err(OpenError { path: path.to_owned(), source }),
        }
    }
}

impl Sink for FileSink {
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>) {
        self.out.append(origin, lines);
    }

    fn flush(&mut self) -> io::Result<Flushed> {
        self.out.flush()
    }

    fn waiting(&self) -> usize {
        self.out.waiting()
    }

    fn overhead(&self) -> Overhead {
        self.out.format().overhead()
    }

    fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.out.watched()
    }

    fn describe(&self) -> String {
        shown(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_a_file_that_cannot_be_opened_says_why_and_what_to_do() {
        for (path, words) in [
            ("/", "cannot write to /: it is a directory"),
            ("/no/such/place/app.log", "cannot write to /no/such/place/app.log: its directory does not exist"),
            ("/dev/null/app.log", "cannot write to /dev/null/app.log: a part of the path is no directory"),
        ] {
            let sentence = FileSink::open(path, Format::Raw).unwrap_err().to_string();
            assert!(sentence.starts_with(words), "{sentence}");
        }
    }
}
