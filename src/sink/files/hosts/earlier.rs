//! The earlier files of many names: what other options or an earlier run left is brought into order, and the oldest go when the
//! disk is full. Invariant: of a name that senders choose, no earlier file is touched before lines have come for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::compress::Compressor;
use super::super::dates::Dated;
use super::super::log_file::note_removed;
use super::super::names::Names;
use super::super::path::{resolved, shown};
use super::super::rotate::{Rotated, remove, remove_counted};
use super::HostFiles;
use crate::config::output::OutputOptions;
use crate::sink::target::Books;

/// Removes rotated files beyond what is to be kept, and tells of each other file: its name, and its number. Of names that
/// senders choose, only those that `is_ours` knows: others may have files that are called so.
pub(super) fn settle(
    names: &Names,
    options: &OutputOptions,
    is_ours: &dyn Fn(&str) -> bool,
    books: &mut Books,
    each: &mut dyn FnMut(String, usize),
) -> io::Result<()> {
    for (path, name, number) in names.found()? {
        if number > 0 && !options.rotates() {
            continue;
        }
        if number > 0 && is_ours(&name) {
            if number > options.rotate_keep {
                if remove(&path)? {
                    books.report(format_args!("removed {}, beyond --rotate-keep", shown(&path)));
                }
                continue;
            }
            let files = Rotated::new(&names.path_of(&name), options.rotate_keep);
            if let Some((path, why)) = files.settle(number)? {
                books.report(format_args!("removed {}, {why}", shown(&path)));
            }
        }
        each(name, number);
    }
    Ok(())
}

/// A file with this name and number is there, which may be one to be compressed.
pub(super) fn note_rotated(
    compressor: &mut Option<Compressor>,
    names: &Names,
    options: &OutputOptions,
    (name, number): (&str, usize),
) {
    if let Some(compressor) = compressor.as_mut().filter(|_| number > 0) {
        compressor.note(Rotated::new(&names.path_of(name), options.rotate_keep));
    }
}

impl HostFiles {
    /// What an earlier run has left of a file that is not known to be ours before lines come for it is brought into order, and
    /// files of earlier days are: of one file a turn, since that takes a look at the whole directory, and clients wait.
    pub(super) fn settle_one(&mut self, books: &mut Books) {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.file.is_unsettled() && lane.file.is_open()) else {
            return;
        };
        if let Some(noted) = self.known.get_mut(&lane.name) {
            noted.is_settled = true;
        }
        let path = resolved(lane.file.path());
        if let Err(error) = lane.file.settle_rotated(&path, true, books) {
            books.report(format_args!("cannot bring the earlier files of {} into order: {error}", shown(&path)));
        }
        // There may be another one, for the next turn.
        self.due_at = Some(self.now);
    }

    /// `--disk-full drop-oldest`: the rotated files that were written to longest ago go, whosever they are, until so many
    /// bytes are free. Whether any was removed.
    pub(super) fn remove_oldest(&mut self, at: usize, needed: usize, books: &mut Books) -> bool {
        let Ok(found) = self.names.found() else { return false };
        let written_at = |path: &Path| fs::symlink_metadata(path).and_then(|found| found.modified());
        let today = self.lanes.get(at).and_then(|lane| lane.file.day());
        let is_earlier = |path: &Path, name: &str| match today {
            // Days come in the order of their names.
            Some(today) => path.as_os_str() < Dated::new(&self.names.path_of(name)).path_of(today).as_os_str(),
            None => false,
        };
        let is_ours = |name: &str| !self.names.is_said() || self.known.get(name).is_some_and(|noted| noted.is_settled);
        let mut rotated: Vec<(SystemTime, PathBuf, String)> = Vec::new();
        for (path, name, number) in found {
            if (number > 0 || is_earlier(&path, &name)) && is_ours(&name) {
                rotated.push((written_at(&path).unwrap_or(SystemTime::UNIX_EPOCH), path, name));
            }
        }
        let mut freed = 0;
        while freed < needed as u64 {
            let oldest = (0..rotated.len()).min_by_key(|at| rotated.get(*at).map(|found| found.0));
            let Some(oldest) = oldest else { break };
            let (_, path, name) = rotated.swap_remove(oldest);
            let Ok(Some(removed)) = remove_counted(path, self.options.mark_gaps) else { continue };
            freed += removed.freed.max(1);
            self.gaps.push_back((name, note_removed(&removed, books)));
        }
        if let Some(syncs) = &mut self.syncs {
            self.lanes.iter_mut().for_each(|lane| lane.file.hand_over(syncs));
            syncs.forget_removed();
        }
        freed > 0
    }
}
