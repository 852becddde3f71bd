//! A path as an output: what is known of it before it is opened. Any text is one, as the last row of the table of kinds.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::compress;
#[cfg(feature = "cli")]
use super::opener::{Obstacle, foresee, obstacle};
#[cfg(feature = "cli")]
use super::path::resolved;
use super::rotate::numbered_name;
use super::special::{Found, Special};
use super::sync::most_descriptors;
use crate::config::output::OutputOptions;
use crate::sink::claim::Claim;
use crate::sink::place::{DiskUse, Kept, Opened, OutputAddr, OutputAddrError, Place};
use crate::sink::target::{Books, GATHERED_BYTES};

/// Every text is the name of a file.
#[expect(clippy::unnecessary_wraps)] // the table's form
pub(in crate::sink) fn parse(text: &str) -> Option<Result<OutputAddr, OutputAddrError>> {
    Some(Ok(OutputAddr::new(FilePlace(text.into()))))
}

/// A file's path.
pub(in crate::sink) struct FilePlace(pub(in crate::sink) PathBuf);

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Place for FilePlace {
    fn open(&self, options: &OutputOptions, books: &mut Books) -> io::Result<Opened> {
        match Found::open(&self.0, options, books)? {
            Found::Special(_) if options.rotates() => Err(no_file()),
            Found::Special(descriptor) => {
                let identity = descriptor.identity();
                Ok(Opened { target: Box::new(Special::new(descriptor, &self.0, options)), identity })
            }
            Found::File(file) => {
                let identity = file.identity().map(|(device, number)| (device, number, OsString::new()));
                Ok(Opened { target: file, identity })
            }
        }
    }

    fn descriptors(&self, options: &OutputOptions) -> usize {
        2 + most_descriptors(options.sync) + compress::most_descriptors(options)
    }

    fn kept(&self, options: &OutputOptions) -> Kept {
        Kept { bytes: if options.flush_every.is_zero() { 0 } else { GATHERED_BYTES }, ..Kept::default() }
    }

    fn disk(&self, _: &OutputOptions) -> DiskUse {
        // Nothing stays of what a device or a fifo takes.
        let is_special = fs::metadata(&self.0).is_ok_and(|found| !found.is_file() && !found.is_dir());
        if is_special { DiskUse::Nothing } else { DiskUse::Files(1) }
    }

    #[cfg(feature = "cli")]
    fn foresee(&self, options: &OutputOptions) -> io::Result<Option<String>> {
        let path = resolved(&self.0);
        let found = fs::metadata(&path).map(|found| found.file_type());
        if options.rotates() && found.is_ok_and(|kind| !kind.is_file() && !kind.is_dir()) {
            return Err(no_file());
        }
        compress::check_names(&path, options)?;
        let obstacle = if options.rotates() { obstacle(&path, options.rotate_keep) } else { None };
        match obstacle {
            Some(obstacle @ Obstacle::Mounted) => Err(io::Error::other(obstacle.sentence())),
            obstacle => foresee(&path, options).map(|()| obstacle.map(|obstacle| obstacle.sentence())),
        }
    }

    fn claims(&self, options: &OutputOptions) -> Vec<Claim> {
        Claim::path(&self.0, options.rotates().then_some(numbered_name))
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.0)
    }
}

fn no_file() -> io::Error {
    io::Error::other("it is no regular file, which --rotate-size, --rotate-age and --rotate-at need")
}
