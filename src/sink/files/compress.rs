//! Compressing rotated files beside the loop (`--rotate-compress`): at most one at a time for each output, in a thread that
//! gives way to everything else. Invariant: each line is in at least one whole file, whenever the process is killed, and
//! there is never more on the disk than the bound of the rotated files, and one file.
//!
//! The thread works on two open descriptors, the rotated file and `app.log.1.gz.new`, and knows no names: the files may move
//! up meanwhile, and the loop never waits. When it is done, which includes a sync, the loop looks for the number that the
//! rotated file has by then, and renames the new one to `.gz` behind that number. Another thread syncs the directory, for
//! not every file system keeps changes of names in their order, and then the plain one is removed. A kill before the rename
//! leaves a `.gz.new`, which the next start removes; one behind it both, of which the next start removes the plain one, and
//! so does a rotation that comes before that. What a power cut does is the same.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::gzip::{self, Packing, pack, packing};
use super::opener::Opener;
use super::path::{folder_of, has_name, identity_of, opened_to_read, shown, with_ending};
use super::rotate::{Rotated, is_there, remove, rename};
use super::sync::Outcome;
use crate::config::output::OutputOptions;
use crate::sink::target::Books;
use crate::task::{Task, be_nice};

/// What deflating takes of a stack: tables of 64 KiB that are made there before they are moved, without optimization
/// several times. What is not touched costs nothing.
const STACK_BYTES: usize = 1024 * 1024;

/// What the name of a rotated file gets while it is being compressed: [`super::rotate::unfinished_name`] knows it.
const UNFINISHED: &str = ".gz.new";

/// Descriptors that it takes at most.
pub(super) fn most_descriptors(options: &OutputOptions) -> usize {
    if options.compresses() { 2 } else { 0 }
}

/// Whether the files of the output at `path` can have the names that they get while they are compressed.
///
/// # Errors
/// They are too long; the end of a sentence.
pub(super) fn check_names(path: &Path, options: &OutputOptions) -> io::Result<()> {
    let longest = with_ending(path, &format!(".{}{UNFINISHED}", options.rotate_keep));
    match fs::symlink_metadata(longest) {
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename && options.compresses() => Err(io::Error::other(
            "with the number of a rotated file and .gz.new, which --rotate-compress needs, this name is too long: shorten it",
        )),
        _ => Ok(()),
    }
}

/// What compresses the rotated files of one output.
pub(super) struct Compressor {
    /// Output files that may have rotated ones to be compressed. Which is asked when it is their turn.
    queue: VecDeque<Rotated>,
    under_way: Option<UnderWay>,
    /// The last one could not be compressed, and that was said.
    is_failing: bool,
    /// Nothing more is begun.
    is_ending: bool,
    /// This build can.
    _packing: Packing,
}

/// One file that is being compressed.
struct UnderWay {
    task: Task<Outcome>,
    file: Packed,
    /// It has its name, and the directory is being synced.
    is_put: bool,
}

/// What is known of it.
struct Packed {
    job: Arc<Job>,
    files: Rotated,
    /// What it was called.
    plain: PathBuf,
    identity: (u64, u64),
    new: PathBuf,
}

/// What the thread has.
struct Job {
    /// False: it is given up, and the thread ends as soon as it sees that; or there is nothing to give up any more.
    is_wanted: AtomicBool,
    /// The whole of it is in the new file, which is smaller.
    is_packed: AtomicBool,
    into: File,
    /// The plain file.
    source: File,
    folder: PathBuf,
    len: u64,
    rotated_at: u32,
    written_at: SystemTime,
}

impl Packed {
    fn is_wanted(&self) -> bool {
        self.job.is_wanted()
    }

    /// Gives it up, and its room back, unless it has its name: the thread may write one piece more, to a file that is gone
    /// when it ends.
    fn give_up(&self) {
        if self.job.is_wanted.swap(false, Ordering::Relaxed) {
            let _ = remove(&self.new);
            let _ = self.job.into.set_len(0);
        }
    }

    /// Puts the new file beside the plain one, whatever number that has by now, or, when it is there, removes the plain one.
    /// False if that is not wanted any more: somebody has written to it after all, and wants to find that again.
    #[inline(never)] // one copy, for size
    fn put(&self, is_put: bool) -> io::Result<bool> {
        let is_it = |_, found: &Metadata| identity_of(found) == self.identity && found.len() == self.job.len;
        let is_packed = self.job.is_packed.load(Ordering::Relaxed);
        let Some(plain) = self.files.first(&is_it).filter(|_| is_packed) else { return Ok(false) };
        let compressed = with_ending(&plain, gzip::ENDING);
        if is_there(&compressed)? != is_put {
            return Ok(false);
        }
        if is_put {
            // If that fails, the next rotation tries again.
            return remove(&plain);
        }
        let is_put = rename(&self.new, &compressed)?;
        // From here on there is nothing to give up.
        self.job.is_wanted.fetch_and(!is_put, Ordering::Relaxed);
        Ok(is_put)
    }
}

impl Compressor {
    /// If it is asked for.
    pub(super) fn new(options: &OutputOptions) -> Option<Self> {
        let _packing = packing().filter(|_| options.rotate_compress)?;
        Some(Self { queue: VecDeque::new(), under_way: None, is_failing: false, is_ending: false, _packing })
    }

    /// These may have a file to be compressed.
    pub(super) fn note(&mut self, files: Rotated) {
        match self.queue.iter_mut().find(|other| other.is_of(&files)) {
            // Another number of them may be kept now.
            Some(known) => *known = files,
            None if self.is_ending => {}
            None => self.queue.push_back(files),
        }
    }

    /// Ends what is done, and begins what is next.
    pub(super) fn go_on(&mut self, now: Duration, books: &mut Books) {
        if let Some(done) = self.under_way.take_if(|under_way| under_way.task.is_done()) {
            self.finish(done, now, books);
        }
        // One after the other: a host that rotates often must not keep those that wait from their turn.
        if self.under_way.is_none()
            && let Some(files) = self.queue.pop_front()
            && let Some(plain) = files.newest_plain()
        {
            match open(files, &plain) {
                Ok(file) => self.begin(file, false, now, books),
                Err(error) => self.fail(&plain, &error, books),
            }
        }
    }

    /// Begins a thread for what is next.
    fn begin(&mut self, file: Packed, is_put: bool, now: Duration, books: &mut Books) {
        let job = Arc::clone(&file.job);
        match Task::begin_with(STACK_BYTES, now, move || if is_put { job.sync_names() } else { job.compress() }) {
            Ok(task) => self.under_way = Some(UnderWay { task, file, is_put }),
            Err(error) => {
                file.give_up();
                self.fail(&file.plain, &error, books);
            }
        }
    }

    /// Says it once, until one can be compressed again.
    fn fail(&mut self, path: &Path, error: &io::Error, books: &mut Books) {
        if !mem::replace(&mut self.is_failing, true) {
            let path = shown(path);
            books.report(format_args!("cannot compress {path}: {error}; it stays as it is, and the next one is tried"));
        }
    }

    /// How soon to look again.
    #[inline(never)] // one copy, for size
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        match &self.under_way {
            Some(under_way) => Some(under_way.task.due_in(now)),
            None => (!self.queue.is_empty()).then_some(Duration::ZERO),
        }
    }

    /// The disk is full, and lines come first. Whether that may have made room.
    pub(super) fn give_way(&mut self, books: &mut Books) -> bool {
        let Some(file) = self.under_way.as_ref().map(|under_way| &under_way.file).filter(|file| file.is_wanted())
        else {
            return false;
        };
        file.give_up();
        let plain = file.plain.clone();
        self.fail(&plain, &io::ErrorKind::StorageFull.into(), books);
        true
    }

    /// Whether room would be free without it.
    pub(super) fn holds_room(&self) -> bool {
        self.under_way.as_ref().is_some_and(|under_way| under_way.file.is_wanted())
    }

    /// The server ends, and waits for no file to be compressed, which the next start can do as well; but for one that only
    /// the other's removal is left of, or who looks at the files would see its lines twice.
    pub(super) fn end(&mut self) {
        self.is_ending = true;
        self.queue.clear();
        match self.under_way.take() {
            Some(UnderWay { task, file, is_put: true }) => {
                let _ = done(task);
                let _ = file.put(true);
            }
            Some(UnderWay { file, .. }) => file.give_up(),
            None => {}
        }
    }

    /// The thread is done.
    fn finish(&mut self, UnderWay { task, file, is_put }: UnderWay, now: Duration, books: &mut Books) {
        // A directory that can't be synced keeps nobody from going on: both files would stay, and have each line twice.
        let packed = if is_put { Ok(()) } else { done(task) };
        match packed.and_then(|()| file.put(is_put)) {
            Ok(_) if is_put => {
                self.is_failing = false;
                // There may be more.
                self.note(file.files);
            }
            Ok(true) => self.begin(file, true, now, books),
            done => {
                file.give_up();
                done.err().iter().for_each(|error| self.fail(&file.plain, error, books));
            }
        }
    }
}

/// What the thread came to; one that panicked has packed nothing.
fn done(task: Task<Outcome>) -> io::Result<()> {
    task.result().map_or(Ok(()), |outcome| outcome.result)
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.end();
    }
}

/// Opens this one of the files, and makes the one that it becomes.
fn open(files: Rotated, plain: &Path) -> io::Result<Packed> {
    let (source, found) = opened_to_read(plain)?;
    let new = with_ending(plain, UNFINISHED);
    remove(&new)?;
    let job = Job {
        is_wanted: AtomicBool::new(true),
        is_packed: AtomicBool::new(false),
        into: Opener::alike().make(&new, Some(&found))?,
        source,
        folder: folder_of(plain).to_owned(),
        len: found.len(),
        rotated_at: u32::try_from(found.ctime()).unwrap_or_default(),
        written_at: found.modified()?,
    };
    Ok(Packed { job: Arc::new(job), files, plain: plain.to_owned(), identity: identity_of(&found), new })
}

impl Job {
    fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// What the thread does first.
    fn compress(&self) -> Outcome {
        be_nice();
        // One that is removed takes its place on the disk for as long as we read it.
        let is_wanted = || self.is_wanted() && has_name(&self.source);
        let packed = pack(&self.source, self.len, self.rotated_at, &self.into, &is_wanted);
        // Which of the files of hosts was written to longest ago is told by this.
        let stamped = packed.and_then(|is_packed| self.into.set_modified(self.written_at).map(|()| is_packed));
        let is_packed = *stamped.as_ref().unwrap_or(&false);
        let mut outcome = Outcome::NOTHING;
        outcome.result = stamped.map(drop);
        if is_packed {
            outcome.add(self.into.sync_all());
            self.is_packed.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// And when the new file has its name.
    fn sync_names(&self) -> Outcome {
        let mut outcome = Outcome::NOTHING;
        outcome.add_folder(&self.folder);
        outcome
    }
}

#[cfg(feature = "compress")]
#[cfg(test)]
mod tests {
    use super::super::content::Content;
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    /// A set of files in a directory of this test's own, which is gone with it.
    struct Fixture {
        compressor: Compressor,
        files: Rotated,
        folder: PathBuf,
        books: Books,
        now: Duration,
    }

    impl Fixture {
        /// With these files, each with lines of its own name.
        fn with(test: &str, names: &[&str]) -> Self {
            let folder = std::env::temp_dir().join(format!("lumberjack-compress-{}-{test}", std::process::id()));
            fs::create_dir(&folder).unwrap();
            names.iter().for_each(|name| fs::write(folder.join(name), lines(name)).unwrap());
            let options = OutputOptions { rotate_compress: true, rotate_size: 1, ..OutputOptions::default() };
            let mut compressor = Compressor::new(&options).unwrap();
            let files = Rotated::new(&folder.join("app.log"), 5);
            compressor.note(files.clone());
            Self { compressor, files, folder, books: Books::default(), now: Duration::ZERO }
        }

        fn go_on(&mut self) {
            self.compressor.go_on(self.now, &mut self.books);
        }

        /// Until the thread is done, which is not noticed yet.
        fn until_done(&self) {
            let task = &self.compressor.under_way.as_ref().unwrap().task;
            while !task.is_done() {
                std::thread::yield_now();
            }
        }

        /// Until there is nothing to do.
        fn finish(&mut self) {
            while let Some(wait) = self.compressor.due_in(self.now) {
                std::thread::sleep(wait);
                self.now += wait;
                self.go_on();
            }
        }

        fn names(&self) -> String {
            let names = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names.join(" ")
        }

        fn text(&self, name: &str) -> String {
            let mut text = String::new();
            Content::of(&self.folder.join(name)).unwrap().read_to_string(&mut text).unwrap();
            text
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    fn lines(name: &str) -> String {
        (0..20_000).map(|number| format!("{name} {number}\n")).collect()
    }

    #[test]
    fn all_are_compressed_one_after_the_other_and_the_newest_first() {
        let names = ["app.log", "app.log.1", "app.log.2", "app.log.4", "app.log.6"];
        let mut fixture = Fixture::with("all", &names);
        fixture.go_on();
        assert_eq!(fixture.names(), "app.log app.log.1 app.log.1.gz.new app.log.2 app.log.4 app.log.6");
        fixture.until_done();
        fixture.go_on();
        assert_eq!(
            fixture.names(),
            "app.log app.log.1 app.log.1.gz app.log.2 app.log.4 app.log.6",
            "not before a sync"
        );
        fixture.until_done();
        fixture.go_on();
        assert_eq!(fixture.names(), "app.log app.log.1.gz app.log.2 app.log.2.gz.new app.log.4 app.log.6");
        fixture.finish();
        assert_eq!(
            fixture.names(),
            "app.log app.log.1.gz app.log.2.gz app.log.4.gz app.log.6",
            ".6 is beyond what is kept"
        );
        for name in &names[1..4] {
            assert_eq!(fixture.text(&format!("{name}.gz")), lines(name));
        }
        assert_eq!(fixture.compressor.due_in(fixture.now), None);
        assert!(fixture.books.reports.is_empty());
    }

    #[test]
    fn each_has_its_turn_in_the_order_in_which_they_came() {
        let mut fixture = Fixture::with("turns", &["app.log.1", "b.log.1", "c.log.1", "c.log.2"]);
        for name in ["b.log", "c.log"] {
            fixture.compressor.note(Rotated::new(&fixture.folder.join(name), 5));
        }
        fixture.go_on();
        assert_eq!(fixture.names(), "app.log.1 app.log.1.gz.new b.log.1 c.log.1 c.log.2");
        // One that rotates again and again waits like the others.
        fixture.compressor.note(Rotated::new(&fixture.folder.join("c.log"), 5));
        for name in ["b.log.1", "c.log.1"] {
            while !fixture.names().contains(&format!("{name}.gz.new")) {
                assert!(!fixture.names().contains(&format!("{name}.gz")), "{name} is over: {}", fixture.names());
                fixture.until_done();
                fixture.go_on();
            }
        }
        assert!(fixture.names().contains("b.log.1.gz "), "b had its turn before c: {}", fixture.names());
    }

    #[test]
    fn what_moves_up_meanwhile_gets_the_number_that_it_has_then() {
        let mut fixture = Fixture::with("moves", &["app.log", "app.log.1", "app.log.2"]);
        fixture.go_on();
        for _ in 0..2 {
            fixture.files.shift(|path| File::create_new(path)).unwrap();
        }
        fixture.until_done();
        fixture.go_on();
        assert_eq!(fixture.text("app.log.3.gz"), lines("app.log.1"));
        // While the directory is synced too.
        fixture.files.shift(|path| File::create_new(path)).unwrap();
        fixture.finish();
        assert_eq!(fixture.text("app.log.4.gz"), lines("app.log.1"));
        // The empty one does not get smaller.
        assert_eq!(fixture.names(), "app.log app.log.1 app.log.2 app.log.3 app.log.4.gz app.log.5");
    }

    #[test]
    fn what_is_removed_meanwhile_comes_to_nothing() {
        let mut fixture = Fixture::with("removed", &["app.log", "app.log.1"]);
        fixture.go_on();
        fs::remove_file(fixture.files.numbered(1)).unwrap();
        fixture.finish();
        assert_eq!(fixture.names(), "app.log");
        assert!(fixture.books.reports.is_empty());
    }

    #[test]
    fn what_somebody_writes_to_stays_as_it_is() {
        for (test, is_late) in [("early", false), ("late", true)] {
            let mut fixture = Fixture::with(test, &["app.log", "app.log.1"]);
            fixture.go_on();
            if is_late {
                fixture.until_done();
            }
            let mut file = fs::OpenOptions::new().append(true).open(fixture.files.numbered(1)).unwrap();
            std::io::Write::write_all(&mut file, b"a late line\n").unwrap();
            fixture.finish();
            assert_eq!(fixture.names(), "app.log app.log.1", "{test}");
        }
    }

    #[test]
    fn what_gets_no_smaller_stays_as_it_is() {
        let mut fixture = Fixture::with("random", &["app.log"]);
        let mut state = 1_u32;
        let random = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        let bytes: Vec<u8> = (0..200_000).map(random).collect();
        fs::write(fixture.files.numbered(1), &bytes).unwrap();
        fixture.finish();
        assert_eq!(fixture.names(), "app.log app.log.1");
        assert!(fs::read(fixture.files.numbered(1)).unwrap() == bytes && fixture.books.reports.is_empty());
    }

    #[test]
    fn a_compressed_file_looks_like_the_plain_one() {
        let mut fixture = Fixture::with("mode", &["app.log.1"]);
        let plain = fixture.files.numbered(1);
        fs::set_permissions(&plain, fs::Permissions::from_mode(0o640)).unwrap();
        let written = fs::metadata(&plain).unwrap();
        fixture.go_on();
        let mode = |name: &str| fs::metadata(fixture.folder.join(name)).unwrap().mode() & 0o777;
        assert_eq!(mode("app.log.1.gz.new"), 0o640);
        fixture.finish();
        let found = fs::metadata(fixture.folder.join("app.log.1.gz")).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid(), found.gid()), (0o640, written.uid(), written.gid()));
        assert_eq!(found.modified().unwrap(), written.modified().unwrap());
        let shifted_at = fixture.files.shifted_at().unwrap();
        assert_eq!(i64::try_from(shifted_at.as_secs()).unwrap(), written.ctime());
    }

    #[test]
    fn its_room_is_free_at_once_when_it_gives_way_and_the_next_one_is_tried() {
        let mut fixture = Fixture::with("way", &["app.log", "app.log.1"]);
        assert!(!fixture.compressor.give_way(&mut fixture.books), "nothing is under way");
        fixture.go_on();
        fixture.until_done();
        let job = Arc::clone(&fixture.compressor.under_way.as_ref().unwrap().file.job);
        assert!(job.into.metadata().unwrap().len() > 0);
        assert!(fixture.compressor.holds_room() && fixture.compressor.give_way(&mut fixture.books));
        assert!(!fixture.compressor.holds_room() && !fixture.compressor.give_way(&mut fixture.books));
        assert_eq!(fixture.names(), "app.log app.log.1");
        assert_eq!(job.into.metadata().unwrap().len(), 0, "the thread still has it open");
        fixture.finish();
        assert_eq!(fixture.names(), "app.log app.log.1");
        let path = fixture.files.numbered(1);
        let expected = format!(
            "cannot compress {}: no storage space; it stays as it is, and the next one is tried",
            path.display()
        );
        assert_eq!(fixture.books.reports, [expected]);
        fixture.files.shift(|path| File::create_new(path)).unwrap();
        fixture.compressor.note(fixture.files.clone());
        fixture.finish();
        assert_eq!(fixture.names(), "app.log app.log.1.gz app.log.2.gz");
    }

    #[test]
    fn a_file_that_cannot_be_compressed_is_said_once_until_one_can() {
        let mut fixture = Fixture::with("said", &["app.log", "app.log.1"]);
        let blocked = fixture.folder.join("app.log.1.gz.new");
        fs::create_dir(&blocked).unwrap();
        for round in 0..4 {
            if round == 2 {
                fs::remove_dir(&blocked).unwrap();
            }
            fixture.compressor.note(fixture.files.clone());
            fixture.finish();
            if round == 2 {
                fs::rename(fixture.folder.join("app.log.1.gz"), fixture.folder.join("other")).unwrap();
                fs::write(fixture.files.numbered(1), lines("again")).unwrap();
                fs::create_dir(&blocked).unwrap();
            }
        }
        assert_eq!(fixture.books.reports.len(), 2, "{:?}", fixture.books.reports);
        assert!(fixture.books.reports[1].contains("cannot remove "), "{:?}", fixture.books.reports);
    }

    #[test]
    fn one_that_has_its_name_is_not_given_up_any_more() {
        for test in ["way-late", "end-late"] {
            let mut fixture = Fixture::with(test, &["app.log", "app.log.1"]);
            fixture.go_on();
            fixture.until_done();
            fixture.go_on();
            match test {
                "end-late" => fixture.compressor.end(),
                _ => assert!(!fixture.compressor.holds_room() && !fixture.compressor.give_way(&mut fixture.books)),
            }
            assert_eq!(fixture.text("app.log.1.gz"), lines("app.log.1"), "{test}");
            fixture.finish();
            fixture.files.trim(true, |_, _| {}).unwrap();
            assert_eq!(fixture.names(), "app.log app.log.1.gz", "{test}");
        }
    }

    #[test]
    fn the_end_waits_for_nothing_and_leaves_nothing() {
        let mut fixture = Fixture::with("end", &["app.log", "app.log.1", "app.log.2"]);
        fixture.go_on();
        fixture.compressor.end();
        assert_eq!(fixture.names(), "app.log app.log.1 app.log.2");
        fixture.compressor.note(fixture.files.clone());
        assert_eq!(fixture.compressor.due_in(fixture.now), None);
    }
}
