//! Paths and what stands at them: how they are shown, where links lead, and which two are one file.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::config::text::escaped;
use crate::linux::{O_NOCTTY, O_NONBLOCK};
use crate::sink::target::Books;

/// The directory that a file is in.
#[inline(never)] // one copy, for size
pub(in crate::sink) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path with something behind the file's name.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(ending);
    name.into()
}

/// Where the symbolic links at the end of a path lead, whether there is a file or not: the link itself stays where it is
/// when the file is rotated.
pub(in crate::sink) fn resolved(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many as the kernel follows.
    for _ in 0..40 {
        let Ok(target) = fs::read_link(&path) else { break };
        path = folder_of(&path).join(target);
    }
    path
}

/// Shows each name in a directory, and whether it is that of a directory.
///
/// # Errors
/// It can't be read.
#[inline(never)] // one copy, for size
pub(super) fn walk(folder: &Path, each: &mut dyn FnMut(&OsStr, bool)) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        each(&entry.file_name(), entry.file_type().is_ok_and(|found| found.is_dir()));
    }
    Ok(())
}

/// Opens a regular file to read it, and never waits for whoever is at the other side of anything else.
///
/// # Errors
/// Of the system; what is there is no regular file.
pub(super) fn opened_to_read(path: &Path) -> io::Result<(File, Metadata)> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if found.is_file() { Ok((file, found)) } else { Err(io::Error::other("it is no regular file")) }
}

/// Whether the last line of a file has no end. Who may write but not read can't know, and goes on.
pub(super) fn is_unended(path: &Path, len: u64) -> bool {
    let mut byte = *b"\n";
    let Some(last) = len.checked_sub(1) else { return false };
    File::open(path).is_ok_and(|reader| reader.read_at(&mut byte, last).is_ok()) && byte != *b"\n"
}

/// Device and number: what tells whether two names are one file.
pub(super) fn identity_of(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Whether a file has a name: one that was removed has none. Of one that can't be asked that is not known, and not every
/// file system counts names: those the kernel remembers whether it was removed by us.
pub(super) fn has_name(file: &File) -> bool {
    let is_counted = |found: Metadata| found.nlink() > 0;
    file.metadata().map_or(true, is_counted)
        || fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
            .is_ok_and(|path| !path.as_os_str().as_encoded_bytes().ends_with(b" (deleted)"))
}

/// What is at a path could not be opened anew.
pub(super) fn not_opened_anew(path: &Path, error: &io::Error, books: &mut Books) {
    books.report(format_args!(
        "cannot open {} anew: {error}; lines go on to what had that name, as long as it takes them, trying again",
        shown(path)
    ));
}

/// A path as a part of one line, whatever is in it.
pub(in crate::sink) fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}
