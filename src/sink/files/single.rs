//! One log file as an output, synced beside the loop where that is asked for.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::log_file::LogFile;
use super::path::shown;
use super::sync::{Synced, Syncs};
use crate::config::output::{OutputOptions, SyncEvery};
use crate::engine::peer::Peer;
use crate::sink::target::{Books, KEPT_BYTES, Target, Wrote};
use crate::sink::waiting::Parts;

/// The file and its syncs.
pub(in crate::sink) struct SingleFile {
    name: String,
    file: LogFile,
    syncs: Option<Syncs>,
    /// The time of the last write.
    now: Duration,
}

impl SingleFile {
    /// Opens it.
    ///
    /// # Errors
    /// Those of [`LogFile::open`].
    pub(in crate::sink) fn open(path: &Path, options: &OutputOptions, books: &mut Books) -> io::Result<Self> {
        let mut file = LogFile::new(path, options, KEPT_BYTES);
        file.open(books)?;
        Ok(Self { name: shown(path), file, syncs: syncs_of(path, options), now: Duration::ZERO })
    }

    /// Device and number of the file.
    pub(in crate::sink) fn identity(&self) -> Option<(u64, u64)> {
        self.file.identity()
    }

    fn sync(&mut self, books: &mut Books) {
        let Some(syncs) = &mut self.syncs else { return };
        let file = &mut self.file;
        let written = file.written();
        note_sync(syncs.go_on(self.now, written, &mut || file.dirty().into_iter().collect()), &self.name, books);
    }

    /// Whether so many files are to be synced that it can't wait.
    fn is_crowded(&mut self) -> bool {
        let Some(syncs) = &mut self.syncs else { return false };
        self.file.hand_over(syncs);
        syncs.is_crowded()
    }
}

impl Target for SingleFile {
    fn take(&mut self, _: &Peer, parts: Parts<'_>, books: &mut Books) {
        self.file.take(parts, books);
        if self.is_crowded() {
            self.sync(books);
        }
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        self.now = now;
        let written = self.file.write(now, books);
        let _ = self.is_crowded();
        self.sync(books);
        written
    }

    fn waiting(&self) -> usize {
        self.file.waiting()
    }

    fn delivered(&self) -> u64 {
        self.syncs.as_ref().map_or_else(|| self.file.written(), Syncs::synced)
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        self.file.drop_lines()
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        let sync = self.syncs.as_ref().and_then(|syncs| syncs.due_in(now, self.file.written()));
        self.file.due_in(now).into_iter().chain(sync).min()
    }

    fn reopen(&mut self) {
        self.file.reopen();
    }

    fn settle(&mut self, _: Duration, books: &mut Books) -> bool {
        self.file.end();
        if self.file.waiting() > 0 {
            return false;
        }
        if let Some(syncs) = &mut self.syncs {
            self.file.hand_over(syncs);
            let files: Vec<Arc<_>> = self.file.dirty().into_iter().collect();
            note_sync(syncs.last(self.file.written(), files), &self.name, books);
        }
        true
    }
}

/// The syncs of the file at `path`, if they are asked for.
pub(super) fn syncs_of(path: &Path, options: &OutputOptions) -> Option<Syncs> {
    match options.sync {
        SyncEvery::Never => None,
        SyncEvery::Time(every) => Some(Syncs::new(every, path)),
    }
}

/// Counts a sync, and says that one has failed.
#[inline(never)] // one copy, for size
pub(super) fn note_sync(synced: Synced, name: &str, books: &mut Books) {
    let counters = &mut books.counters;
    match synced {
        Synced::Nothing => {}
        Synced::Done => counters.syncs = counters.syncs.saturating_add(1),
        Synced::Failed(error) => {
            counters.failures = counters.failures.saturating_add(1);
            books.doubts += 1;
            books.report(format_args!("cannot sync {name}: {error}; its newest lines may not be on the disk"));
        }
    }
}
