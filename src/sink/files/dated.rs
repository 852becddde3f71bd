//! A file for each day as an output: `{date}` in its name stands for the day.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::dates::{Dated, is_of_day};
use super::log_file::LogFile;
#[cfg(feature = "cli")]
use super::opener::{foresee, what_it_is};
use super::path::folder_of;
#[cfg(feature = "cli")]
use super::path::resolved;
use super::rotate::new_name;
use super::single::SingleFile;
use super::sync::most_descriptors;
use super::words;
use crate::config::output::{DATE_WORD, OutputOptions};
use crate::sink::claim::Claim;
use crate::sink::place::{DiskUse, Kept, Opened, OutputAddr, OutputAddrError, Place};
use crate::sink::target::{Books, GATHERED_BYTES, KEPT_BYTES};

/// Reads a file's name that holds `{date}`.
pub(in crate::sink) fn parse(text: &str) -> Option<Result<OutputAddr, OutputAddrError>> {
    let (before, rest) = text.split_once(DATE_WORD)?;
    if rest.contains('/') || rest.contains(DATE_WORD) {
        return Some(Err(OutputAddrError::new("{date} may stand once, in the file's name, not in a directory's")));
    }
    // With other words beside it, there are many files for each day.
    let is_alone = words::first(before).or(words::first(rest)).is_none();
    is_alone.then(|| Ok(OutputAddr::new(DatedPlace(text.into()))))
}

/// The pattern of their paths.
struct DatedPlace(PathBuf);

impl fmt::Display for DatedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// A date that an address may end with, as it has no `-0`.
const EXAMPLE: &str = "2026-11-26";

impl DatedPlace {
    fn file_of_today(&self, options: &OutputOptions) -> LogFile {
        LogFile::dated(Dated::new(&self.0), &with_days(options), KEPT_BYTES)
    }
}

/// Each day ends at midnight, unless it is said when.
pub(super) fn with_days(options: &OutputOptions) -> OutputOptions {
    OutputOptions { rotate_at: Some(options.rotate_at.unwrap_or_default()), ..options.clone() }
}

impl Place for DatedPlace {
    fn open(&self, options: &OutputOptions, books: &mut Books) -> io::Result<Opened> {
        let file = SingleFile::open(self.file_of_today(options), &self.0, options, books)?;
        let folder = fs::metadata(folder_of(&self.0))?;
        let name = self.0.file_name().unwrap_or_default().to_owned();
        Ok(Opened { target: Box::new(file), identity: Some((folder.dev(), folder.ino(), name)) })
    }

    fn descriptors(&self, options: &OutputOptions) -> usize {
        2 + most_descriptors(options.sync)
    }

    fn kept(&self, options: &OutputOptions) -> Kept {
        Kept { bytes: if options.flush_every.is_zero() { 0 } else { GATHERED_BYTES }, ..Kept::default() }
    }

    fn disk(&self, _: &OutputOptions) -> DiskUse {
        DiskUse::Days
    }

    #[cfg(feature = "cli")]
    fn foresee(&self, options: &OutputOptions) -> io::Result<Option<String>> {
        let path = resolved(self.file_of_today(options).path());
        what_it_is(&path).map_or(Ok(()), Err)?;
        foresee(&path, &with_days(options)).map(|()| None)
    }

    fn claims(&self, _: &OutputOptions) -> Vec<Claim> {
        // By the second it is found out whether files can be made.
        let patterns = [self.0.clone(), new_name(&self.0)];
        let claim = |pattern: &PathBuf| {
            let name = pattern.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let example = name.replace(DATE_WORD, EXAMPLE);
            Claim::pattern((folder_of(pattern), name.as_bytes()), [example].into_iter(), is_of_day, None)
        };
        patterns.iter().map(claim).collect()
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.0)
    }

    fn is_dated(&self) -> bool {
        true
    }
}
