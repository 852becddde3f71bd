//! Data to the disk beside the loop (`--sync`): each sync is a short-lived thread of its own, since the kernel may take
//! seconds for one and knows no other way to ask. Invariant: never more than one at a time for each output.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::path::{folder_of, has_name};
use crate::config::output::SyncEvery;
use crate::host::descriptor_limit;
use crate::linux::{EINVAL, ENOSYS, EOPNOTSUPP};
use crate::task::Task;

/// Files that may wait for their sync while nobody asks for it yet: each is a descriptor.
const MOST_LEFT: usize = 16;
/// The share of all descriptors that they may take.
const SHARE_OF_DESCRIPTORS: usize = 16;

/// How many may wait at the limit on descriptors that holds here: one at least.
fn most_left() -> usize {
    let allowed = usize::try_from(descriptor_limit()).unwrap_or(usize::MAX);
    MOST_LEFT.min(allowed / SHARE_OF_DESCRIPTORS).max(1)
}

/// Descriptors that syncs take at most: those that wait, those that the one under way has, and a directory.
pub(super) fn most_descriptors(sync: SyncEvery) -> usize {
    if sync == SyncEvery::Never { 0 } else { 2 * most_left() + 1 }
}

/// The syncs of one output.
pub(super) struct Syncs {
    every: Duration,
    /// When the next may begin.
    next: Duration,
    /// The one under way, and the position up to which all is synced then, if it is of all.
    task: Option<UnderWay>,
    /// Files that are written no more, and not synced yet.
    left: Vec<Arc<File>>,
    most_left: usize,
    /// Directories in which a name is new, and may not be on the disk yet.
    new_in: Vec<PathBuf>,
    /// Lines were written later than others that came after them: they need a sync, though their position may have had its.
    has_late: bool,
    /// How many syncs of all were begun.
    begun: u64,
    /// It was said that this file system can't sync everything.
    has_told: bool,
    /// The position up to which lines were synced, or could not be: what the kernel could not write it forgets, and
    /// another sync would not tell of it again.
    synced: u64,
}

/// A sync in its thread.
struct UnderWay {
    task: Task<Outcome>,
    batch: Arc<Batch>,
    position: Option<u64>,
}

/// What happened since the last look.
pub(super) enum Synced {
    Nothing,
    Done,
    /// Done, as far as that can be had: this file system can't sync what the error is about.
    AsFarAsPossible(io::Error),
    Failed(io::Error),
}

impl Synced {
    /// Both: a failure is not hidden by what comes after it.
    fn and(self, after: Self) -> Self {
        if matches!(self, Self::Failed(_) | Self::AsFarAsPossible(_)) { self } else { after }
    }
}

impl Syncs {
    /// Syncs at most so often.
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            next: Duration::ZERO,
            task: None,
            left: Vec::new(),
            most_left: most_left(),
            new_in: Vec::new(),
            has_late: false,
            begun: 0,
            has_told: false,
            synced: 0,
        }
    }

    /// A file that is written no more. With too many of them the next sync comes early, or a rotation every second would
    /// take all descriptors within the hour that `--sync 1h` allows.
    pub(super) fn leave(&mut self, file: Arc<File>) {
        self.left.push(file);
    }

    /// Rotated files may have been removed: of those nothing has to reach the disk, and their place is free only when we
    /// have closed them. The one that is being synced at the moment is closed when that is done.
    pub(super) fn forget_removed(&mut self) {
        self.left.retain(|file| has_name(file));
        if let Some(under_way) = &self.task {
            under_way.batch.lock().retain(|file| has_name(file));
        }
    }

    /// A file was made, or has another name; and so many of the directories that it is in may have been made for it.
    #[inline(never)] // for size
    pub(super) fn note_new_name(&mut self, path: &Path, levels: usize) {
        let mut folder = folder_of(path);
        for _ in 0..=levels {
            if !self.new_in.iter().any(|known| known.as_os_str() == folder.as_os_str()) {
                self.new_in.push(folder.to_owned());
            }
            folder = folder_of(folder);
        }
    }

    /// Lines were written later than others that came after them. The answer is what [`Self::has_synced`] wants to know.
    pub(super) fn note_late(&mut self) -> u64 {
        self.has_late = true;
        self.begun
    }

    /// Whether a sync that had not begun when [`Self::note_late`] gave this answer is done.
    pub(super) fn has_synced(&self, begun_then: u64) -> bool {
        let is_under_way = self.task.as_ref().is_some_and(|under_way| under_way.position.is_some());
        self.begun - u64::from(is_under_way) > begun_then
    }

    fn is_wanted(&self, written: u64) -> bool {
        written > self.synced || self.has_late
    }

    /// The position up to which all is on the disk, but for what [`Synced::Failed`] told of.
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// Whether so many files were left that the next sync comes early.
    pub(super) fn is_crowded(&self) -> bool {
        self.left.len() >= self.most_left
    }

    /// Ends a sync that is done, and begins the next if one is due: up to the position `written`, which is all in `files`
    /// and in those that were left. One that comes early is of the latter alone.
    #[inline(never)] // one copy, for size
    pub(super) fn go_on(&mut self, now: Duration, written: u64, files: &mut dyn FnMut() -> Vec<Arc<File>>) -> Synced {
        let is_crowded = self.is_crowded();
        let mut outcome = Synced::Nothing;
        // With many files left, the loop waits for the disk, as it would if it wrote to that itself.
        if self.task.as_ref().is_some_and(|under_way| is_crowded || under_way.task.is_done()) {
            outcome = self.finish();
        }
        let is_due = self.is_wanted(written) && now >= self.next;
        if self.task.is_some() || !(is_due || is_crowded) {
            return outcome;
        }
        let (batch, position) = if is_due {
            self.next = now + self.every;
            (self.batch(files()), Some(written))
        } else {
            (Batch::new(mem::take(&mut self.left), Vec::new()), None)
        };
        let batch = Arc::new(batch);
        let work = Arc::clone(&batch);
        match Task::begin(now, move || work.sync()) {
            Ok(task) => self.task = Some(UnderWay { task, batch, position }),
            // There is no thread for it, so it is done here.
            Err(_) => outcome = outcome.and(self.note(position, batch.sync(), &batch)),
        }
        outcome
    }

    /// Everything, now: the end has come, and waiting for the disk is what was asked for.
    pub(super) fn last(&mut self, written: u64, files: Vec<Arc<File>>) -> Synced {
        let before = self.finish();
        if !self.is_wanted(written) {
            return before;
        }
        let batch = self.batch(files);
        before.and(self.note(Some(written), batch.sync(), &batch))
    }

    /// What is to be synced: `files`, and those that were left.
    fn batch(&mut self, mut files: Vec<Arc<File>>) -> Batch {
        self.has_late = false;
        self.begun += 1;
        files.append(&mut self.left);
        Batch::new(files, mem::take(&mut self.new_in))
    }

    fn finish(&mut self) -> Synced {
        let Some(UnderWay { task, position, batch }) = self.task.take() else { return Synced::Nothing };
        let panicked = || Outcome { result: Err(ErrorKind::Other.into()), impossible: None };
        self.note(position, task.result().unwrap_or_else(panicked), &batch)
    }

    fn note(&mut self, position: Option<u64>, outcome: Outcome, batch: &Batch) -> Synced {
        self.synced = position.unwrap_or(self.synced);
        if outcome.result.is_err() {
            self.new_in.extend_from_slice(&batch.folders);
        }
        match (outcome.result, outcome.impossible) {
            (Err(error), _) => Synced::Failed(error),
            (Ok(()), Some(error)) if !mem::replace(&mut self.has_told, true) => Synced::AsFarAsPossible(error),
            (Ok(()), _) => Synced::Done,
        }
    }

    /// How soon to look again.
    pub(super) fn due_in(&self, now: Duration, written: u64) -> Option<Duration> {
        match &self.task {
            Some(under_way) => Some(under_way.task.due_in(now)),
            None => self.is_wanted(written).then(|| self.next.saturating_sub(now)),
        }
    }
}

/// What one sync is to bring to the disk.
struct Batch {
    /// Each is taken out when its turn comes, so that one that is removed meanwhile can be closed.
    files: Mutex<Vec<Arc<File>>>,
    folders: Vec<PathBuf>,
}

/// What a sync came to.
pub(super) struct Outcome {
    pub(super) result: io::Result<()>,
    /// What this file system can't do.
    impossible: Option<io::Error>,
}

impl Outcome {
    pub(super) const NOTHING: Self = Self { result: Ok(()), impossible: None };

    pub(super) fn add(&mut self, done: io::Result<()>) {
        match done {
            Ok(()) => {}
            Err(error) if is_impossible(&error) => self.impossible = Some(error),
            // The others are synced after a failure too.
            Err(error) => self.result = mem::replace(&mut self.result, Ok(())).and(Err(error)),
        }
    }

    /// Syncs the names in a directory.
    pub(super) fn add_folder(&mut self, folder: &Path) {
        // It may be gone or locked.
        let is_fine = |error: &io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied);
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        self.add(if synced.as_ref().is_err_and(is_fine) { Ok(()) } else { synced });
    }
}

/// Whether the file system has no such operation: that is nothing to be cured.
fn is_impossible(error: &io::Error) -> bool {
    error.kind() == ErrorKind::InvalidInput || matches!(error.raw_os_error(), Some(EINVAL | EOPNOTSUPP | ENOSYS))
}

impl Batch {
    fn new(files: Vec<Arc<File>>, folders: Vec<PathBuf>) -> Self {
        Self { files: Mutex::new(files), folders }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<File>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync(&self) -> Outcome {
        let mut outcome = Outcome::NOTHING;
        loop {
            let next = self.lock().pop();
            let Some(file) = next else { break };
            // Of a file that was removed meanwhile nothing will be left anyway.
            if has_name(&file) {
                outcome.add(file.sync_data());
            }
        }
        self.folders.iter().for_each(|folder| outcome.add_folder(folder));
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::OpenOptionsExt;

    const EVERY: Duration = Duration::from_secs(10);

    /// A file that no sync can do anything about: a pipe.
    fn impossible() -> Arc<File> {
        Arc::new(File::from(OwnedFd::from(std::io::pipe().unwrap().1)))
    }

    /// A file whose sync fails: one that is known by its path only, which Linux says is no descriptor to sync (EBADF).
    fn broken() -> Arc<File> {
        const O_PATH: i32 = 0o10_000_000;
        Arc::new(std::fs::OpenOptions::new().read(true).custom_flags(O_PATH).open("Cargo.toml").unwrap())
    }

    fn sound() -> Arc<File> {
        Arc::new(File::open("Cargo.toml").unwrap())
    }

    fn syncs() -> Syncs {
        Syncs::new(EVERY)
    }

    /// Goes on until the sync under way is done.
    fn finished(syncs: &mut Syncs, written: u64) -> Synced {
        while syncs.task.as_ref().is_some_and(|under_way| !under_way.task.is_done()) {
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
        syncs.note_new_name(Path::new("a/b/app.log"), 1);
        syncs.go_on(EVERY, 200, &mut || vec![broken(), sound()]);
        assert!(matches!(finished(&mut syncs, 200), Synced::Failed(_)));
        assert_eq!(
            syncs.new_in,
            [PathBuf::from("a/b"), PathBuf::from("a")],
            "names are tried again, as the kernel keeps them"
        );
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
        let most_left = syncs.most_left;
        for number in 0..most_left {
            assert!(!syncs.is_crowded(), "{number}");
            syncs.leave(sound());
            if number + 1 < most_left {
                syncs.go_on(Duration::ZERO, 200, &mut || unreachable!("it is early"));
            }
        }
        assert!(syncs.is_crowded());
        syncs.go_on(Duration::ZERO, 200, &mut || unreachable!("only those that were left"));
        assert!(syncs.left.is_empty() && syncs.task.is_some());
        // More of them wait for that one to end, or there would be no bound.
        (0..most_left).for_each(|_| syncs.leave(broken()));
        assert!(matches!(syncs.go_on(Duration::ZERO, 200, &mut || unreachable!("early")), Synced::Done));
        assert_eq!(syncs.synced(), 100, "these are not all");
        assert!(matches!(finished(&mut syncs, 200), Synced::Failed(_)));
    }

    #[test]
    fn of_a_removed_file_nothing_is_synced() {
        let path = std::env::temp_dir().join(format!("lumberjack-sync-{}", std::process::id()));
        let file = Arc::new(File::create(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let folder = vec![PathBuf::from("/nowhere")];
        // A directory that is gone is no failure either.
        assert!(Batch::new(vec![file], folder).sync().result.is_ok());
    }

    #[test]
    fn a_removed_file_is_closed_before_the_next_sync() {
        let path = std::env::temp_dir().join(format!("lumberjack-sync-removed-{}", std::process::id()));
        let file = Arc::new(File::create(&path).unwrap());
        let mut syncs = syncs();
        syncs.leave(Arc::clone(&file));
        syncs.forget_removed();
        assert_eq!(Arc::strong_count(&file), 2, "it has a name: it is to be synced");
        std::fs::remove_file(&path).unwrap();
        syncs.forget_removed();
        assert_eq!(Arc::strong_count(&file), 1, "its place on the disk is free");
    }

    #[test]
    fn what_this_file_system_cannot_sync_is_said_once_and_is_no_failure() {
        let mut syncs = syncs();
        let mut said = 0;
        for position in [100, 200, 300] {
            match syncs.last(position, vec![impossible()]) {
                Synced::AsFarAsPossible(_) => said += 1,
                Synced::Done => {}
                Synced::Nothing | Synced::Failed(_) => panic!("neither done nor said"),
            }
            assert_eq!(syncs.synced(), position);
        }
        assert_eq!(said, 1);
        for (number, expected) in [(EINVAL, true), (EOPNOTSUPP, true), (5, false), (28, false)] {
            assert_eq!(is_impossible(&io::Error::from_raw_os_error(number)), expected, "{number}");
        }
    }

    #[test]
    fn what_was_written_late_gets_a_sync_of_its_own() {
        let mut syncs = syncs();
        syncs.go_on(Duration::ZERO, 100, &mut || vec![sound()]);
        // The sync under way may not have seen it.
        let late = syncs.note_late();
        assert!(!syncs.has_synced(late));
        finished(&mut syncs, 100);
        assert!(!syncs.has_synced(late));
        assert_eq!(syncs.due_in(EVERY, 100), Some(Duration::ZERO), "though all positions are synced");
        syncs.go_on(EVERY, 100, &mut || vec![sound()]);
        assert!(!syncs.has_synced(late), "not before it is done");
        finished(&mut syncs, 100);
        assert!(syncs.has_synced(late));
        assert_eq!(syncs.due_in(EVERY * 2, 100), None);
        let late = syncs.note_late();
        assert!(!syncs.has_synced(late));
        assert!(matches!(syncs.last(100, vec![sound()]), Synced::Done));
        assert!(syncs.has_synced(late));
    }
}
