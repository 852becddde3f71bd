//! Data to the disk beside the loop (`--sync`): each sync is a short-lived thread of its own, since the kernel may take
//! seconds for one and knows no other way to ask. Invariant: never more than one at a time for each output.

use std::fs::File;
use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How soon to look whether a thread is done: at first at once, then less and less often.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LAST_LOOK: Duration = Duration::from_millis(250);
/// A thread here does one thing; what `getaddrinfo` takes of a stack is the most.
const STACK_BYTES: usize = 256 * 1024;

/// Work that would stop the loop, in a thread.
#[cfg_attr(test, derive(Debug))]
pub(super) struct Task<T> {
    thread: JoinHandle<T>,
    began: Duration,
}

impl<T: Send + 'static> Task<T> {
    /// Begins it.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn begin(now: Duration, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let thread = Builder::new().stack_size(STACK_BYTES).spawn(work)?;
        Ok(Self { thread, began: now })
    }

    /// Whether it is done, so that [`Self::result`] does not wait.
    pub(super) fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// What it came to; waits for it. `None` if it panicked.
    pub(super) fn result(self) -> Option<T> {
        self.thread.join().ok()
    }

    /// How soon to look again; at once if it is done, or nobody would.
    pub(super) fn due_in(&self, now: Duration) -> Duration {
        if self.is_done() {
            return Duration::ZERO;
        }
        (now.saturating_sub(self.began) / 4).clamp(FIRST_LOOK, LAST_LOOK)
    }
}

/// The syncs of one output.
pub(super) struct Syncs {
    every: Duration,
    /// When the next may begin.
    next: Duration,
    /// The one under way, and the position up to which it syncs.
    task: Option<(Task<io::Result<()>>, u64)>,
    /// Files that are closed to us, or directories, and not synced yet.
    left: Vec<File>,
    /// The position up to which lines are on the disk.
    synced: u64,
}

/// What happened since the last look.
pub(super) enum Synced {
    Nothing,
    Done,
    Failed(io::Error),
}

impl Syncs {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, next: Duration::ZERO, task: None, left: Vec::new(), synced: 0 }
    }

    /// A file that is written no more, or the directory of one that got another name.
    pub(super) fn leave(&mut self, file: File) {
        self.left.push(file);
    }

    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// Ends a sync that is done, and begins the next if one is due: up to the position `written`, which is all in `file`
    /// and in those that were left.
    pub(super) fn go_on(&mut self, now: Duration, written: u64, file: Option<&File>) -> Synced {
        let mut outcome = Synced::Nothing;
        if self.task.as_ref().is_some_and(|(task, _)| task.is_done()) {
            outcome = self.finish();
        }
        if self.task.is_none() && written > self.synced && now >= self.next {
            self.next = now + self.every;
            // Without a descriptor for it the file would be left out, and taken for synced.
            let begun = file.map(File::try_clone).transpose().and_then(|file| {
                let files: Vec<File> = self.left.drain(..).chain(file).collect();
                Task::begin(now, move || sync_all(&files))
            });
            match begun {
                Ok(task) => self.task = Some((task, written)),
                Err(error) => outcome = Synced::Failed(error),
            }
        }
        outcome
    }

    /// Everything, now: the end has come, and waiting for the disk is what was asked for.
    pub(super) fn last(&mut self, written: u64, file: Option<&File>) -> Synced {
        let before = self.finish();
        let files = std::mem::take(&mut self.left);
        match file.map_or(Ok(()), File::sync_data).and(sync_all(&files)) {
            Ok(()) => self.synced = written,
            Err(error) => return Synced::Failed(error),
        }
        if matches!(before, Synced::Failed(_)) { before } else { Synced::Done }
    }

    fn finish(&mut self) -> Synced {
        let Some((task, position)) = self.task.take() else { return Synced::Nothing };
        match task.result() {
            Some(Ok(())) => {
                self.synced = position;
                Synced::Done
            }
            // What the kernel could not write it forgets: another sync would not tell of it again.
            Some(Err(error)) => Synced::Failed(error),
            None => Synced::Nothing,
        }
    }

    pub(super) fn due_in(&self, now: Duration, written: u64) -> Option<Duration> {
        match &self.task {
            Some((task, _)) => Some(task.due_in(now)),
            None => (written > self.synced).then(|| self.next.saturating_sub(now)),
        }
    }
}

fn sync_all(files: &[File]) -> io::Result<()> {
    files.iter().try_for_each(File::sync_data)
}
