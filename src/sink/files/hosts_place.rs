//! A file for each name that is made of what is known of a line: what is known of such an output before it is opened.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::compress;
use super::hosts::{HOST_BYTES, HostFiles, MOST_GATHERED, most_open};
use super::names::{self, Names};
#[cfg(feature = "cli")]
use super::opener::foresee_folder;
use super::rotate::{new_name, numbered_name};
use super::sync::most_descriptors;
use super::words;
use crate::config::output::OutputOptions;
use crate::sink::claim::{Claim, NumberOf};
use crate::sink::place::{DiskUse, Kept, Opened, OutputAddr, OutputAddrError, Place};
use crate::sink::target::Books;

/// Reads a file's name that holds `{host}` or another such word.
pub(in crate::sink) fn parse(text: &str) -> Option<Result<OutputAddr, OutputAddrError>> {
    words::first(text)?;
    Some(if let Some(word) = words::repeated(text) {
        Err(OutputAddrError::new([word, " may stand once in a name"].concat()))
    } else if text.ends_with('/') || names::split(Path::new(text)).1.split('/').any(|part| part == "..") {
        Err(OutputAddrError::new("behind {host} and the like, name a file, and no directory .."))
    } else if !names::fits(text) {
        Err(OutputAddrError::new(
            "with the longest values in it, and the number of a rotated file, this name is too long: shorten it",
        ))
    } else {
        Ok(OutputAddr::new(HostFilesPlace(text.into())))
    })
}

impl HostFilesPlace {
    fn names(&self, options: &OutputOptions) -> Names {
        Names::new(&self.0, options.syslog.is_some_and(|syslog| syslog.trust_host))
    }
}

/// The pattern of their paths.
struct HostFilesPlace(PathBuf);

impl fmt::Display for HostFilesPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Place for HostFilesPlace {
    fn open(&self, options: &OutputOptions, books: &mut Books) -> io::Result<Opened> {
        let files = HostFiles::open(&self.0, options, books)?;
        let identity = files.identity();
        Ok(Opened { target: Box::new(files), identity })
    }

    fn descriptors(&self, options: &OutputOptions) -> usize {
        let others = 2 + compress::most_descriptors(options);
        match most_descriptors(options.sync) {
            0 => most_open(options) + others,
            // Those that are being synced may have been closed by us meanwhile.
            syncs => 2 * most_open(options) + others + syncs,
        }
    }

    fn least_descriptors(&self, options: &OutputOptions) -> usize {
        // A file, and, as each of them is asked for: the next one while it is rotated; one that is being synced, with the
        // directory; and what compressing takes.
        let syncing = if most_descriptors(options.sync) > 0 { 2 } else { 0 };
        1 + usize::from(options.rotates()) + syncing + compress::most_descriptors(options)
    }

    fn kept(&self, options: &OutputOptions) -> Kept {
        // What gathers (`--flush-every`), or what files that can't be written hold though the others go on.
        let per_line = if self.names(options).is_said() { HOST_BYTES } else { 0 };
        Kept { bytes: MOST_GATHERED, per_line, ..Kept::default() }
    }

    fn disk(&self, options: &OutputOptions) -> DiskUse {
        if self.is_dated() { DiskUse::Days } else { DiskUse::Files(options.host_files as u64 + 1) }
    }

    #[cfg(feature = "cli")]
    fn foresee(&self, options: &OutputOptions) -> io::Result<Option<String>> {
        let names = self.names(options);
        foresee_folder(&names.trial(), options)?;
        if names.folder().exists() { names.in_the_way(options.rotates()) } else { Ok(None) }
    }

    fn claims(&self, options: &OutputOptions) -> Vec<Claim> {
        let number_of = options.rotates().then_some(numbered_name as NumberOf);
        let names = self.names(options);
        let is_made = if names.is_said() { names::is_made_of_anything } else { names::is_made };
        let pattern = names.pattern();
        let mut claims =
            vec![Claim::pattern((names.folder(), pattern.as_bytes()), words::examples(pattern), is_made, number_of)];
        // By this one it is found out whether files can be made.
        claims.extend(Claim::path(&new_name(&names.trial()), None));
        claims
    }

    fn is_dated(&self) -> bool {
        self.names(&OutputOptions::default()).is_dated()
    }

    fn asks_messages(&self, options: &OutputOptions) -> bool {
        self.names(options).asks_headers()
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.0)
    }
}
