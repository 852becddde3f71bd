//! One log file as an output, synced beside the loop where that is asked for.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::compress::{self, Compressor};
use super::log_file::LogFile;
use super::path::{resolved, shown};
use super::rotate::is_disk_full;
use super::sync::{Synced, Syncs};
use crate::config::output::{OutputOptions, SyncEvery};
use crate::sink::target::{Books, Standing, Target, Took, Whose, Wrote};
use crate::sink::waiting::Parts;

/// The file and its syncs.
pub(super) struct SingleFile {
    name: String,
    file: LogFile,
    syncs: Option<Syncs>,
    compressor: Option<Compressor>,
    /// The time of the last write.
    now: Duration,
}

impl SingleFile {
    /// Opens `file`, which is at `path`, or has a name of that pattern.
    ///
    /// # Errors
    /// Those of [`LogFile::open`].
    pub(super) fn open(mut file: LogFile, path: &Path, options: &OutputOptions, books: &mut Books) -> io::Result<Self> {
        compress::check_names(path, options)?;
        file.open(books)?;
        let (syncs, compressor) = (syncs_of(options), Compressor::new(options));
        let mut single = Self { name: shown(path), file, syncs, compressor, now: Duration::ZERO };
        single.note_rotated();
        Ok(single)
    }

    /// Device and number of the file.
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        self.file.identity()
    }

    /// Writes what waits. A file that is being compressed gives its room up before a rotated one goes.
    fn write_file(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        self.spare_oldest();
        match self.file.write(now, books) {
            Err(error) if is_disk_full(&error) && self.gives_way(books) => {
                self.spare_oldest();
                self.file.write(now, books)
            }
            written => written,
        }
    }

    fn gives_way(&mut self, books: &mut Books) -> bool {
        self.compressor.as_mut().is_some_and(|compressor| compressor.give_way(books))
    }

    fn spare_oldest(&mut self) {
        self.file.spare_oldest(self.compressor.as_ref().is_some_and(Compressor::holds_room));
    }

    /// There may be a file to be compressed.
    fn note_rotated(&mut self) {
        if let Some(compressor) = &mut self.compressor {
            self.file.take_rotated().into_iter().for_each(|files| compressor.note(files));
        }
    }

    fn compress(&mut self, books: &mut Books) {
        self.note_rotated();
        self.compressor.iter_mut().for_each(|compressor| compressor.go_on(self.now, books));
    }

    fn sync(&mut self, books: &mut Books) {
        let Some(syncs) = &mut self.syncs else { return };
        let file = &mut self.file;
        let written = file.written();
        let synced = syncs.go_on(self.now, written, &mut || file.dirty().into_iter().collect());
        if let Some(error) = note_sync(synced, &self.name, books) {
            self.file.distrust(&error);
        }
    }

    /// Whether so many files are to be synced that it can't wait.
    fn is_crowded(&mut self) -> bool {
        let Some(syncs) = &mut self.syncs else { return false };
        self.file.hand_over(syncs);
        syncs.is_crowded()
    }
}

impl Target for SingleFile {
    fn take(&mut self, _: Whose<'_>, parts: Parts<'_>, may_write: bool, books: &mut Books) -> Took {
        self.spare_oldest();
        let took = self.file.take(parts, may_write, books);
        self.note_rotated();
        if self.is_crowded() {
            self.sync(books);
        }
        took
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        self.now = now;
        let written = self.write_file(now, books);
        self.compress(books);
        let _ = self.is_crowded();
        self.sync(books);
        written
    }

    fn standing(&self) -> Standing {
        let waiting = self.file.waiting();
        let delivered = self.syncs.as_ref().map_or_else(|| self.file.written(), Syncs::synced);
        Standing { waiting, held: waiting, delivered, ..Standing::default() }
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        self.file.drop_lines()
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        let sync = self.syncs.as_ref().and_then(|syncs| syncs.due_in(now, self.file.written()));
        let compressing = self.compressor.as_ref().and_then(|compressor| compressor.due_in(now));
        self.file.due_in(now).into_iter().chain(sync).chain(compressing).min()
    }

    fn try_now(&mut self) {
        self.file.try_now();
    }

    fn configure(&mut self, options: &OutputOptions, books: &mut Books) {
        if self.file.configure(options) {
            let path = resolved(self.file.path());
            if let Err(error) = self.file.settle_rotated(&path, false, books) {
                books.report(format_args!("cannot bring the rotated files of {} into order: {error}", self.name));
            }
            self.note_rotated();
        }
    }

    fn reopen(&mut self) {
        self.file.reopen();
    }

    fn settle(&mut self, _: Duration, books: &mut Books) -> bool {
        let _ = self.file.end();
        self.compressor.iter_mut().for_each(Compressor::end);
        if self.file.waiting() > 0 {
            return false;
        }
        if let Some(syncs) = &mut self.syncs {
            self.file.hand_over(syncs);
            let files: Vec<Arc<_>> = self.file.dirty().into_iter().collect();
            books.unsynced = note_sync(syncs.last(self.file.written(), files), &self.name, books);
        }
        true
    }
}

/// The syncs of an output, if they are asked for.
pub(super) fn syncs_of(options: &OutputOptions) -> Option<Syncs> {
    match options.sync {
        SyncEvery::Never => None,
        SyncEvery::Time(every) => Some(Syncs::new(every)),
    }
}

/// Counts a sync, and says that one has failed; then gives the error, for the descriptors that it was of may be dead.
#[inline(never)] // one copy, for size
pub(super) fn note_sync(synced: Synced, name: &str, books: &mut Books) -> Option<io::Error> {
    let counters = &mut books.counters;
    match synced {
        Synced::Nothing => None,
        Synced::Done => {
            counters.syncs = counters.syncs.saturating_add(1);
            None
        }
        Synced::AsFarAsPossible(error) => {
            counters.syncs = counters.syncs.saturating_add(1);
            books.report(format_args!(
                "the file system of {name} can't sync all that --sync asks for ({error}): a power cut may cost more"
            ));
            None
        }
        Synced::Failed(error) => {
            counters.failures = counters.failures.saturating_add(1);
            books.doubts += 1;
            books.report(format_args!("cannot sync {name}: {error}; its newest lines may not be on the disk"));
            Some(error)
        }
    }
}
