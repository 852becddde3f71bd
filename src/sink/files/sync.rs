//! Data to the disk beside the loop (`--sync`): each sync is a short-lived thread of its own, since the kernel may take
//! seconds for one and knows no other way to ask. Invariant: never more than one at a time for each output.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::path::folder_of;
use crate::config::output::SyncEvery;
use crate::sink::task::Task;

/// Files that may wait for their sync while nobody asks for it yet: each is a descriptor.
const MOST_LEFT: usize = 16;

/// Descriptors that syncs take at most: those that wait, those that the one under way has, and a directory.
pub(super) fn most_descriptors(sync: SyncEvery) -> usize {
    if sync == SyncEvery::Never { 0 } else { 2 * MOST_LEFT + 1 }
}

/// The syncs of one output.
pub(super) struct Syncs {
    every: Duration,
    folder: PathBuf,
    /// When the next may begin.
    next: Duration,
    /// The one under way, and the position up to which all is synced then, if it is of all.
    task: Option<(Task<io::Result<()>>, Option<u64>)>,
    /// Files that are written no more, and not synced yet.
    left: Vec<Arc<File>>,
    /// A name in the directory is new, and may not be on the disk yet.
    has_new_name: bool,
    /// The position up to which lines were synced, or could not be: what the kernel could not write it forgets, and
    /// another sync would not tell of it again.
    synced: u64,
}

/// What happened since the last look.
pub(super) enum Synced {
    Nothing,
    Done,
    Failed(io::Error),
}

impl Synced {
    /// Both: a failure is not hidden by what comes after it.
    fn and(self, after: Self) -> Self {
        if matches!(self, Self::Failed(_)) { self } else { after }
    }
}

impl Syncs {
    /// Those of the file at `path`, at most so often.
    pub(super) fn new(every: Duration, path: &Path) -> Self {
        Self {
            every,
            folder: folder_of(path).to_owned(),
            next: Duration::ZERO,
            task: None,
            left: Vec::new(),
            has_new_name: false,
            synced: 0,
        }
    }

    /// A file that is written no more. With too many of them the next sync comes early, or a rotation every second would
    /// take all descriptors within the hour that `--sync 1h` allows.
    pub(super) fn leave(&mut self, file: Arc<File>) {
        self.left.push(file);
    }

    /// A file was made, or has another name.
    pub(super) fn note_new_name(&mut self) {
        self.has_new_name = true;
    }

    /// The position up to which all is on the disk, but for what [`Synced::Failed`] told of.
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// Whether so many files were left that the next sync comes early.
    pub(super) fn is_crowded(&self) -> bool {
        self.left.len() >= MOST_LEFT
    }

    /// Ends a sync that is done, and begins the next if one is due: up to the position `written`, which is all in `files`
    /// and in those that were left. One that comes early is of the latter alone.
    #[inline(never)] // one copy, for size
    pub(super) fn go_on(&mut self, now: Duration, written: u64, files: &mut dyn FnMut() -> Vec<Arc<File>>) -> Synced {
        let is_crowded = self.is_crowded();
        let mut outcome = Synced::Nothing;
        // With many files left, the loop waits for the disk, as it would if it wrote to that itself.
        if self.task.as_ref().is_some_and(|(task, _)| is_crowded || task.is_done()) {
            outcome = self.finish();
        }
        let is_due = written > self.synced && now >= self.next;
        if self.task.is_some() || !(is_due || is_crowded) {
            return outcome;
        }
        let (batch, position) = if is_due {
            self.next = now + self.every;
            (self.batch(files()), Some(written))
        } else {
            (Batch { files: mem::take(&mut self.left), folder: None }, None)
        };
        let batch = Arc::new(batch);
        let work = Arc::clone(&batch);
        match Task::begin(now, move || work.sync()) {
            Ok(task) => self.task = Some((task, position)),
            // There is no thread for it, so it is done here.
            Err(_) => outcome = outcome.and(self.note(position, batch.sync())),
        }
        outcome
    }

    /// Everything, now: the end has come, and waiting for the disk is what was asked for.
    pub(super) fn last(&mut self, written: u64, files: Vec<Arc<File>>) -> Synced {
        let before = self.finish();
        if written <= self.synced {
            return before;
        }
        let result = self.batch(files).sync();
        before.and(self.note(Some(written), result))
    }

    /// What is to be synced: `files`, and those that were left.
    fn batch(&mut self, mut files: Vec<Arc<File>>) -> Batch {
        files.append(&mut self.left);
        Batch { files, folder: mem::take(&mut self.has_new_name).then(|| self.folder.clone()) }
    }

    fn finish(&mut self) -> Synced {
        let Some((task, position)) = self.task.take() else { return Synced::Nothing };
        let result = task.result().unwrap_or_else(|| Err(ErrorKind::Other.into()));
        self.note(position, result)
    }

    fn note(&mut self, position: Option<u64>, result: io::Result<()>) -> Synced {
        self.synced = position.unwrap_or(self.synced);
        self.has_new_name |= result.is_err();
        result.map_or_else(Synced::Failed, |()| Synced::Done)
    }

    /// How soon to look again.
    pub(super) fn due_in(&self, now: Duration, written: u64) -> Option<Duration> {
        match &self.task {
            Some((task, _)) => Some(task.due_in(now)),
            None => (written > self.synced).then(|| self.next.saturating_sub(now)),
        }
    }
}

/// What one sync is to bring to the disk.
struct Batch {
    files: Vec<Arc<File>>,
    folder: Option<PathBuf>,
}

impl Batch {
    fn sync(&self) -> io::Result<()> {
        let mut result = Ok(());
        for file in &self.files {
            // Of a file that was removed meanwhile nothing will be left anyway. The others are synced after a failure too.
            if file.metadata().is_ok_and(|found| found.nlink() > 0) {
                result = result.and(file.sync_data());
            }
        }
        let Some(folder) = &self.folder else { return result };
        // It may be gone or locked, and not every file system can sync a directory.
        let is_fine = |error: &io::Error| {
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::InvalidInput)
        };
        match File::open(folder).and_then(|folder| folder.sync_all()) {
            Err(error) if !is_fine(&error) => result.and(Err(error)),
            _ => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    const EVERY: Duration = Duration::from_secs(10);

    /// A file that can't be synced: a pipe.
    fn broken() -> Arc<File> {
        Arc::new(File::from(OwnedFd::from(std::io::pipe().unwrap().1)))
    }

    fn sound() -> Arc<File> {
        Arc::new(File::open("Cargo.toml").unwrap())
    }

    fn syncs() -> Syncs {
        Syncs::new(EVERY, Path::new("app.log"))
    }

    /// Goes on until the sync under way is done.
    fn finished(syncs: &mut Syncs, written: u64) -> Synced {
        while syncs.task.as_ref().is_some_and(|(task, _)| !task.is_done()) {
            std::thread::yield_now();
        }
        assert_eq!(syncs.due_in(Duration::ZERO, written), Some(Duration::ZERO), "it is to be looked at");
        syncs.go_on(Duration::ZERO, written, &mut || unreachable!("none is due"))
    }

    #[test]
    fn a_position_is_synced_when_its_sync_is_done_and_the_next_waits() {
        let mut syncs = syncs();
        assert_eq!(syncs.due_in(Duration::ZERO, 0), None, "nothing is written");
        assert_eq!(syncs.due_in(Duration::ZERO, 100), Some(Duration::ZERO));
        syncs.go_on(Duration::ZERO, 100, &mut || vec![sound()]);
        assert_eq!(syncs.synced(), 0);
        assert!(matches!(finished(&mut syncs, 150), Synced::Done));
        assert_eq!(syncs.synced(), 100);
        assert_eq!(syncs.due_in(Duration::from_secs(4), 150), Some(Duration::from_secs(6)));
        assert_eq!(syncs.due_in(Duration::from_secs(4), 100), None);
        syncs.go_on(EVERY - Duration::from_millis(1), 150, &mut || unreachable!("it is early"));
        syncs.go_on(EVERY, 150, &mut || vec![sound()]);
        assert!(syncs.task.is_some());
    }

    #[test]
    fn a_sync_that_failed_is_told_of_and_not_tried_again() {
        let mut syncs = syncs();
        syncs.go_on(Duration::ZERO, 100, &mut || vec![sound()]);
        finished(&mut syncs, 100);
        syncs.note_new_name();
        syncs.go_on(EVERY, 200, &mut || vec![broken(), sound()]);
        assert!(matches!(finished(&mut syncs, 200), Synced::Failed(_)));
        assert!(syncs.has_new_name, "names are tried again, as the kernel keeps them");
        assert_eq!(syncs.due_in(EVERY * 2, 200), None, "the kernel would say that all is well: it is not asked again");
        syncs.go_on(EVERY * 2, 300, &mut || vec![sound()]);
        assert!(matches!(finished(&mut syncs, 300), Synced::Done), "what comes after it is synced");
        assert!(matches!(syncs.last(400, vec![sound()]), Synced::Done));
        assert_eq!(syncs.synced(), 400);
    }

    #[test]
    fn a_failure_of_the_sync_under_way_is_not_hidden_by_the_last_one() {
        let mut syncs = syncs();
        syncs.go_on(Duration::ZERO, 100, &mut || vec![broken()]);
        assert!(matches!(syncs.last(200, vec![sound()]), Synced::Failed(_)));
        assert_eq!(syncs.synced(), 200);
    }

    #[test]
    fn many_files_that_were_left_are_synced_early_and_alone() {
        let mut syncs = syncs();
        syncs.go_on(Duration::ZERO, 100, &mut || vec![sound()]);
        finished(&mut syncs, 100);
        for number in 0..MOST_LEFT {
            assert!(!syncs.is_crowded(), "{number}");
            syncs.leave(sound());
            if number + 1 < MOST_LEFT {
                syncs.go_on(Duration::ZERO, 200, &mut || unreachable!("it is early"));
            }
        }
        assert!(syncs.is_crowded());
        syncs.go_on(Duration::ZERO, 200, &mut || unreachable!("only those that were left"));
        assert!(syncs.left.is_empty() && syncs.task.is_some());
        // More of them wait for that one to end, or there would be no bound.
        (0..MOST_LEFT).for_each(|_| syncs.leave(broken()));
        assert!(matches!(syncs.go_on(Duration::ZERO, 200, &mut || unreachable!("early")), Synced::Done));
        assert_eq!(syncs.synced(), 100, "these are not all");
        assert!(matches!(finished(&mut syncs, 200), Synced::Failed(_)));
    }

    #[test]
    fn of_a_removed_file_nothing_is_synced() {
        let path = std::env::temp_dir().join(format!("lumberjack-sync-{}", std::process::id()));
        let file = Arc::new(File::create(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let folder = Some(PathBuf::from("/nowhere"));
        // A directory that is gone is no failure either.
        assert!(Batch { files: vec![file], folder }.sync().is_ok());
        assert!(Batch { files: vec![broken()], folder: None }.sync().is_err());
    }
}
