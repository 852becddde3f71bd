//! A file for each host as an output: what is known of it before it is opened.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::compress;
use super::hosts::{HostFiles, MOST_GATHERED, most_open};
use super::names;
#[cfg(feature = "cli")]
use super::opener::foresee_folder;
#[cfg(feature = "cli")]
use super::path::folder_of;
use super::rotate::{new_name, numbered_name};
use super::sync::most_descriptors;
use crate::config::output::{HOST_WORD, OutputOptions};
use crate::sink::claim::{Claim, NumberOf};
use crate::sink::place::{DiskUse, Kept, Opened, OutputAddr, OutputAddrError, Place};
use crate::sink::target::Books;

/// Reads a file's name that holds `{host}`.
pub(in crate::sink) fn parse(text: &str) -> Option<Result<OutputAddr, OutputAddrError>> {
    let rest = text.get(text.find(HOST_WORD)? + HOST_WORD.len()..).unwrap_or_default();
    Some(if rest.contains('/') || rest.contains(HOST_WORD) {
        Err(OutputAddrError::new("{host} may stand once, in the file's name, not in a directory's"))
    } else if !names::fits(Path::new(text)) {
        Err(OutputAddrError::new(
            "with the longest address in it, and the number of a rotated file, this name is too long: shorten it",
        ))
    } else {
        Ok(OutputAddr::new(HostFilesPlace(text.into())))
    })
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

    fn kept(&self, _: &OutputOptions) -> Kept {
        // What gathers (`--flush-every`), or what files that can't be written hold though the others go on.
        Kept { bytes: MOST_GATHERED, holds_a_line: false }
    }

    fn disk(&self, options: &OutputOptions) -> DiskUse {
        DiskUse::Files(options.host_files as u64 + 1)
    }

    #[cfg(feature = "cli")]
    fn foresee(&self, options: &OutputOptions) -> io::Result<Option<String>> {
        foresee_folder(&self.0, options)?;
        if folder_of(&self.0).exists() { names::in_the_way(&self.0, options.rotates()) } else { Ok(None) }
    }

    fn claims(&self, options: &OutputOptions) -> Vec<Claim> {
        let number_of = options.rotates().then_some(numbered_name as NumberOf);
        let all = Claim::pattern(&self.0, names::examples(&self.0), names::is_of_host, number_of);
        // By this one it is found out whether files can be made.
        let tried = Claim::path(&new_name(&names::path_of(&self.0, None)), None);
        [all].into_iter().chain(tried).collect()
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.0)
    }
}
