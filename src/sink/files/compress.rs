//! Compressing rotated files beside the loop (`--rotate-compress`): at most one at a time for each output, in a thread that
//! gives way to everything else. Invariant: each line is in at least one whole file, whenever the process is killed, and
//! there is never more on the disk than the bound of the rotated files, and one file.
//!
//! The thread works on two open descriptors, the rotated file and `app.log.1.gz.new`, and knows no names: the files may move
//! up meanwhile, and the loop never waits. When it is done, which includes a sync, the loop looks for the number that the
//! rotated file has by then, renames the new one to `.gz` behind that number, and removes the plain one. A kill before the
//! rename leaves a `.gz.new`, which the next start removes; one behind it both, of which the next start removes the plain
//! one. What a power cut does is the same, for file systems with a journal keep the two in their order.

use std::fs::{self, File, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::gzip::{self, pack};
use super::opener::Opener;
use super::path::{has_name, identity_of, opened_to_read, shown, with_ending};
use super::rotate::{Rotated, remove, rename};
use super::sync::is_impossible;
use crate::config::output::OutputOptions;
use crate::sink::target::Books;
use crate::sink::task::{Task, be_nice};

/// Descriptors that it takes at most.
pub(super) fn most_descriptors(options: &OutputOptions) -> usize {
    if options.compresses() { 2 } else { 0 }
}

/// What compresses the rotated files of one output.
pub(super) struct Compressor {
    /// Output files that may have rotated ones to be compressed. Which is asked when it is their turn.
    queue: Vec<Rotated>,
    under_way: Option<UnderWay>,
    /// The last one could not be compressed, and that was said.
    is_failing: bool,
    /// Nothing more is begun.
    is_ending: bool,
}

/// One file that is being compressed.
struct UnderWay {
    task: Task<io::Result<bool>>,
    /// False: it is given up, and the thread ends as soon as it sees that.
    is_wanted: Arc<AtomicBool>,
    files: Rotated,
    /// What it was called.
    plain: PathBuf,
    identity: (u64, u64),
    /// Its length.
    len: u64,
    new: PathBuf,
    into: Arc<File>,
}

impl UnderWay {
    /// Gives it up, and its room back: the thread may write one piece more, to a file that is gone when it ends.
    fn give_up(&self) {
        self.is_wanted.store(false, Ordering::Relaxed);
        let _ = remove(&self.new);
        let _ = self.into.set_len(0);
    }
}

impl Compressor {
    /// If it is asked for.
    pub(super) fn new(options: &OutputOptions) -> Option<Self> {
        let new = Self { queue: Vec::new(), under_way: None, is_failing: false, is_ending: false };
        options.compresses().then_some(new)
    }

    /// These may have a file to be compressed.
    pub(super) fn note(&mut self, files: Rotated) {
        if !self.is_ending && !self.queue.iter().any(|other| other.is_of(&files)) {
            self.queue.push(files);
        }
    }

    /// Ends what is done, and begins what is next. Whether a file has another name now.
    pub(super) fn go_on(&mut self, now: Duration, books: &mut Books) -> bool {
        let mut has_new_name = false;
        if let Some(done) = self.under_way.take_if(|under_way| under_way.task.is_done()) {
            has_new_name = self.finish(done, books);
        }
        if self.under_way.is_none() && !self.queue.is_empty() {
            let files = self.queue.remove(0);
            match begin(files, now) {
                Ok(under_way) => self.under_way = under_way,
                Err((path, error)) => self.note_failure(&path, &error, books),
            }
        }
        has_new_name
    }

    /// How soon to look again.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        match &self.under_way {
            Some(under_way) => Some(under_way.task.due_in(now)),
            None => (!self.queue.is_empty()).then_some(Duration::ZERO),
        }
    }

    /// The disk is full, and lines come first. Whether that may have made room.
    pub(super) fn give_way(&mut self, books: &mut Books) -> bool {
        let Some(under_way) = self.under_way.as_ref().filter(|under_way| under_way.is_wanted.load(Ordering::Relaxed))
        else {
            return false;
        };
        under_way.give_up();
        let path = under_way.plain.clone();
        self.note_failure(&path, &io::ErrorKind::StorageFull.into(), books);
        true
    }

    /// Whether room would be free without it.
    pub(super) fn holds_room(&self) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.is_wanted.load(Ordering::Relaxed))
    }

    /// The server ends, and waits for nothing that the next start can do as well.
    pub(super) fn end(&mut self) {
        self.is_ending = true;
        self.queue.clear();
        if let Some(under_way) = self.under_way.take() {
            under_way.give_up();
        }
    }

    /// The thread is done: whether a file has another name now.
    fn finish(&mut self, done: UnderWay, books: &mut Books) -> bool {
        let UnderWay { task, is_wanted, files, plain, identity, len, new, .. } = done;
        let packed = task.result().unwrap_or_else(|| Err(io::Error::other("its thread has panicked")));
        if !is_wanted.load(Ordering::Relaxed) {
            return false;
        }
        let put = packed.and_then(|is_packed| {
            // It may have another number by now, or be gone.
            let Some(plain) = files.find(identity).filter(|_| is_packed) else { return Ok(false) };
            let compressed = with_ending(&plain, gzip::ENDING);
            if fs::symlink_metadata(&compressed).is_ok() {
                return Err(io::Error::other(format!("somebody else has made {}", shown(&compressed))));
            }
            // Whoever wrote to it after all wants to find that again.
            if fs::symlink_metadata(&plain)?.len() != len || !rename(&new, &compressed)? {
                return Ok(false);
            }
            // If that fails, both are there, and the next rotation tries again.
            remove(&plain)?;
            Ok(true)
        });
        match put {
            Ok(true) => {
                self.is_failing = false;
                // There may be more.
                self.note(files);
                return true;
            }
            Ok(false) => drop(remove(&new)),
            Err(error) => {
                let _ = remove(&new);
                self.note_failure(&plain, &error, books);
            }
        }
        false
    }

    fn note_failure(&mut self, path: &Path, error: &io::Error, books: &mut Books) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let path = shown(path);
            books.report(format_args!("cannot compress {path}: {error}; it stays as it is, and the next one is tried"));
        }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.end();
    }
}

/// Begins with the newest of these files that is not compressed, as it will be there longest; `None` if there is none.
fn begin(files: Rotated, now: Duration) -> Result<Option<UnderWay>, (PathBuf, io::Error)> {
    let plain = match files.newest_plain() {
        Ok(Some(plain)) => plain,
        Ok(None) => return Ok(None),
        Err(error) => return Err((files.numbered(0), error)),
    };
    let new = with_ending(&plain, &format!("{}.new", gzip::ENDING));
    let begun = opened_to_read(&plain).and_then(|(source, found)| {
        remove(&new)?;
        // It looks like the plain one, whatever is said of files for new lines.
        let into = Arc::new(Opener::new(&OutputOptions::default()).make(&new, Some(&found))?);
        let is_wanted = Arc::new(AtomicBool::new(true));
        let (identity, len) = (identity_of(&found), found.len());
        let (sent_into, sent_wanted) = (Arc::clone(&into), Arc::clone(&is_wanted));
        let task = Task::begin(now, move || compress(&source, &found, &sent_into, &sent_wanted))?;
        Ok(UnderWay { task, is_wanted, files, plain: plain.clone(), identity, len, new: new.clone(), into })
    });
    begun.map(Some).map_err(|error| {
        let _ = fs::remove_file(&new);
        (plain, error)
    })
}

/// What the thread does: false if it was given up.
fn compress(source: &File, found: &Metadata, into: &File, is_wanted: &AtomicBool) -> io::Result<bool> {
    be_nice();
    let rotated_at = u32::try_from(found.ctime()).unwrap_or_default();
    // One that is removed takes its place on the disk for as long as we read it.
    let goes_on = || is_wanted.load(Ordering::Relaxed) && has_name(source);
    if !pack(source, found.len(), rotated_at, into, &goes_on)? {
        return Ok(false);
    }
    // Which of the files of hosts was written to longest ago is told by this.
    into.set_times(FileTimes::new().set_modified(found.modified()?))?;
    match into.sync_all() {
        Err(error) if !is_impossible(&error) => Err(error),
        _ => Ok(true),
    }
}
