//! One log file as an output, synced beside the loop where that is asked for.

use std::ffi::OsString;
use std::fmt;
#[cfg(feature = "cli")]
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::compress::{self, Compressor};
use super::log_file::LogFile;
#[cfg(feature = "cli")]
use super::opener::{Obstacle, foresee, obstacle};
use super::path::{resolved, shown};
use super::rotate::{is_disk_full, numbered_name};
use super::sync::{Synced, Syncs, most_descriptors};
use crate::config::output::{OutputOptions, SyncEvery};
use crate::sink::claim::Claim;
use crate::sink::place::{DiskUse, Kept, Opened, OutputAddr, OutputAddrError, Place};
use crate::sink::stream::descriptor::Descriptor;
use crate::sink::target::{Books, GATHERED_BYTES, KEPT_BYTES, Standing, Target, Took, Whose, Wrote};
use crate::sink::waiting::Parts;

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
        match Descriptor::open_special(&self.0)? {
            Some(_) if options.rotates() => Err(no_file()),
            Some(descriptor) => {
                let identity = descriptor.identity();
                Ok(Opened { target: Box::new(descriptor), identity })
            }
            None => {
                let file = SingleFile::open(LogFile::new(&self.0, options, KEPT_BYTES), &self.0, options, books)?;
                let identity = file.file.identity().map(|(device, number)| (device, number, OsString::new()));
                Ok(Opened { target: Box::new(file), identity })
            }
        }
    }

    fn descriptors(&self, options: &OutputOptions) -> usize {
        2 + most_descriptors(options.sync) + compress::most_descriptors(options)
    }

    fn kept(&self, options: &OutputOptions) -> Kept {
        Kept { bytes: if options.flush_every.is_zero() { 0 } else { GATHERED_BYTES }, holds_a_line: false }
    }

    fn disk(&self, _: &OutputOptions) -> DiskUse {
        DiskUse::Files(1)
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
        let (syncs, compressor) = (syncs_of(path, options), Compressor::new(options));
        let mut single = Self { name: shown(path), file, syncs, compressor, now: Duration::ZERO };
        single.note_rotated();
        Ok(single)
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
        let Some(compressor) = &mut self.compressor else { return };
        if compressor.go_on(self.now, books) {
            self.syncs.iter_mut().for_each(Syncs::note_new_name);
        }
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

/// The syncs of the file at `path`, if they are asked for.
pub(super) fn syncs_of(path: &Path, options: &OutputOptions) -> Option<Syncs> {
    match options.sync {
        SyncEvery::Never => None,
        SyncEvery::Time(every) => Some(Syncs::new(every, path)),
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
