//! A file for each day as an output: `{date}` in its name stands for the day.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::dates::Dated;
use super::log_file::LogFile;
use super::path::folder_of;
use super::single::SingleFile;
use super::sync::most_descriptors;
use crate::config::output::{DATE_WORD, HOST_WORD, OutputOptions};
use crate::sink::place::{DiskUse, Kept, Opened, OutputAddr, OutputAddrError, Place};
use crate::sink::target::{Books, GATHERED_BYTES, KEPT_BYTES};

/// Reads a file's name that holds `{date}`.
pub(in crate::sink) fn parse(text: &str) -> Option<Result<OutputAddr, OutputAddrError>> {
    let (_, rest) = text.split_once(DATE_WORD)?;
    Some(if text.contains(HOST_WORD) {
        Err(OutputAddrError(
            "{date} and {host} can't stand in one name: choose one of them, and --rotate-at with {host}",
        ))
    } else if rest.contains('/') || rest.contains(DATE_WORD) {
        Err(OutputAddrError("{date} may stand once, in the file's name, not in a directory's"))
    } else {
        Ok(OutputAddr::new(DatedPlace(text.into())))
    })
}

/// The pattern of their paths.
struct DatedPlace(PathBuf);

impl fmt::Display for DatedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Place for DatedPlace {
    fn open(&self, options: &OutputOptions, books: &mut Books) -> io::Result<Opened> {
        let file = LogFile::dated(Dated::new(&self.0), options, KEPT_BYTES);
        let file = SingleFile::open(file, &self.0, options, books)?;
        let folder = fs::metadata(folder_of(&self.0))?;
        let name = self.0.file_name().unwrap_or_default().to_owned();
        Ok(Opened { target: Box::new(file), identity: Some((folder.dev(), folder.ino(), name)) })
    }

    fn descriptors(&self, options: &OutputOptions) -> usize {
        2 + most_descriptors(options.sync)
    }

    fn kept(&self, options: &OutputOptions) -> Kept {
        Kept { bytes: if options.flush_every.is_zero() { 0 } else { GATHERED_BYTES }, holds_a_line: false }
    }

    fn disk(&self, _: &OutputOptions) -> DiskUse {
        DiskUse::Days
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.0)
    }

    fn is_dated(&self) -> bool {
        true
    }
}
