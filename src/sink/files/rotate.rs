//! The rotated files of one output file: how they are named, moved up by one, and removed.
//! Invariant: the target of a rename does not exist, so only a removal takes lines away, and only the oldest file's.
//!
//! s6-log and svlogd set the mode of a file to 0744 when it is whole and synced, so that a start tells a file that a
//! crash left (0644, put aside as `.u`) and a half-made copy of it from a finished one; no such bits are needed here:
//! each file has one name at every moment, a kill between two renames leaves at most a gap in the numbers, which the next
//! shift closes, and an empty file whose name ends in `.new`, which it removes; and a torn last line is mended when a file
//! is opened. Only compressing copies: see `compress.rs`. `app.log.3.gz` has the number 3 as `app.log.3` would; of the two
//! there is one, but for a moment.

use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use memchr::{memchr_iter, memrchr};

use super::content::Content;
use super::gzip;
use super::path::{folder_of, shown, walk, with_ending};
use crate::config::output::MOST_KEPT;
use crate::sink::format::told_by;

/// Bytes read at once to count lines: what one `read` of a client asks for, too.
const PIECE_BYTES: usize = 64 * 1024;

/// The lines of a larger file are not counted: the loop stands still meanwhile, 3.4 s for this much at 20 MB/s.
const MOST_COUNTED_BYTES: u64 = 64 * 1024 * 1024;

/// The rotated files of one output file: `app.log.1` is the newest.
#[derive(Clone)]
pub(super) struct Rotated {
    path: PathBuf,
    keep: usize,
}

/// What [`Rotated::remove_oldest`] removed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) path: PathBuf,
    /// What it took of the disk.
    pub(super) freed: u64,
    /// Of lines of clients, before it was compressed.
    pub(super) bytes: u64,
    /// Those with a `\n`, and a torn last one, but for marks of gaps; `None` if the file was too large to count them, or
    /// unreadable.
    pub(super) lines: Option<u64>,
    /// What marks of gaps in it told of.
    pub(super) told: Told,
}

/// What marks of gaps tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Told {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// The name of an output file, and a number.
type Numbered<'a> = (&'a [u8], usize);

/// One system call of a shift. Number 0 is the output file itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// This file is removed.
    Remove(usize),
    /// This file gets the next number, which no file has.
    MoveUp(usize),
}

impl Rotated {
    /// Those of the output file `path`, of which `keep` are kept, [`MOST_KEPT`] at most.
    pub(super) fn new(path: &Path, keep: usize) -> Self {
        Self { path: path.to_owned(), keep: keep.min(MOST_KEPT) }
    }

    /// Puts a new file at the output's path: the one that is there becomes `.1` (with a `keep` of 0 it is removed), the
    /// others move up by one as far as the first gap, and if there is none, the oldest is removed. The new file is made
    /// first, by `make`, under a name of its own: so the number of the file that is removed (its inode), by which
    /// followers know it, is not that of the new one. Where no further file can be made, the oldest goes first.
    ///
    /// # Errors
    /// Of the system. The next call goes on from where this one failed.
    pub(super) fn shift(&self, mut make: impl FnMut(&Path) -> io::Result<File>) -> io::Result<File> {
        let mut steps: Vec<Step> = self.steps()?.collect();
        let new = new_name(&self.path);
        remove_left(&new)?;
        let file = match (make(&new), steps.first().copied()) {
            (Err(error), Some(first @ Step::Remove(_))) if is_disk_full(&error) => {
                self.take(first)?;
                steps.remove(0);
                make(&new)
            }
            (made, _) => made,
        };
        let file = named("cannot make", &new, file)?;
        let moves_file = steps.last() == Some(&Step::MoveUp(0));
        let moved = steps.into_iter().try_for_each(|step| self.take(step));
        let is_moved = moves_file && moved.is_ok();
        let done = moved.and_then(|()| match self.exists(0)? {
            true => Err(io::Error::other("somebody else has made a file of its name")),
            false => named("cannot rename", &new, fs::rename(&new, &self.path)),
        });
        if done.is_err() {
            // The next try makes it again; what can't be removed now is removed then.
            let _ = fs::remove_file(&new);
            // The file that lines go on into gets its name back, if it can.
            if is_moved && self.exists(0).is_ok_and(|is_there| !is_there) {
                let _ = fs::rename(self.numbered(1), &self.path);
            }
        }
        done.map(|()| file)
    }

    /// Removes the rotated files numbered above `keep`, since `--rotate-keep` may have been larger before, and tells of each;
    /// and, at the start (`is_first`), brings into order what a kill has left of compressing.
    ///
    /// # Errors
    /// Of the system: the last one, after every file was tried. A name that is too long is found here too, and not
    /// only by the first shift.
    pub(super) fn trim(&self, is_first: bool, mut removed: impl FnMut(&Path, &str)) -> io::Result<()> {
        // A directory of that name is told of elsewhere.
        there(fs::symlink_metadata(self.numbered(self.keep)).map(drop))?;
        let mut result = Ok(());
        for (number, path) in self.numbers()? {
            let done = match number > self.keep {
                // False: somebody else was faster.
                true => remove(&path).map(|is_gone| is_gone.then_some((path, "beyond --rotate-keep"))),
                false => self.settle(number),
            };
            match done {
                Ok(gone) => gone.into_iter().for_each(|(path, why)| removed(&path, why)),
                Err(error) => result = Err(error),
            }
        }
        for path in if is_first { self.unfinished()? } else { Vec::new() } {
            result = result.and(remove(&path).map(drop));
        }
        result
    }

    /// Of a file that is there twice, as it was and compressed, one goes: a kill has come between the two, or the plain one
    /// could not be removed. A compressed one that does not hold the other is somebody's, and older: that goes. Gives
    /// which one went, and why.
    ///
    /// # Errors
    /// It can't be removed.
    pub(super) fn settle(&self, number: usize) -> io::Result<Option<(PathBuf, &'static str)>> {
        let plain = self.numbered(number);
        let compressed = with_ending(&plain, gzip::ENDING);
        let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        if !is_file(&compressed) || !is_file(&plain) {
            return Ok(None);
        }
        let (goes, why) = match gzip::holds(&compressed, &plain) {
            true => (plain, "which is there compressed too"),
            false => (compressed, "whose number a newer file has"),
        };
        Ok(remove(&goes)?.then_some((goes, why)))
    }

    /// The newest rotated file that is not compressed. One that is there twice, and can't be settled, is none.
    pub(super) fn newest_plain(&self) -> Option<PathBuf> {
        self.first(&|number, found| self.settle(number).is_ok() && found.is_file())
    }

    /// The first of the files that are there as they were, and of which this is true.
    pub(super) fn first(&self, is_it: &dyn Fn(usize, &Metadata) -> bool) -> Option<PathBuf> {
        (1..=self.keep).find_map(|number| {
            let path = self.numbered(number);
            let found = fs::symlink_metadata(&path).ok()?;
            is_it(number, &found).then_some(path)
        })
    }

    /// Whether it is the same output's.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.path == other.path
    }

    /// What is known of the newest rotated file, compressed or not.
    pub(super) fn newest(&self) -> Option<Metadata> {
        let newest = self.numbered(1);
        fs::metadata(&newest).or_else(|_| fs::metadata(with_ending(&newest, gzip::ENDING))).ok()
    }

    /// When the last shift was, as time since 1970: a rename changes the time of its file's last change. `None` if
    /// there is no rotated file. The time of birth, which would tell of the first file too, is not asked for: flash file
    /// systems such as UBIFS and JFFS2 keep none, and `std` can't ask with every libc.
    pub(super) fn shifted_at(&self) -> Option<Duration> {
        let newest = self.numbered(1);
        let Ok(found) = fs::symlink_metadata(&newest) else {
            // Its own time is that of its end.
            return gzip::rotated_at(&with_ending(&newest, gzip::ENDING));
        };
        let nanoseconds = u32::try_from(found.ctime_nsec()).ok()?;
        Some(Duration::new(u64::try_from(found.ctime()).ok()?, nanoseconds))
    }

    /// Removes the oldest rotated file, even one numbered above `keep`. `None` if there is none.
    ///
    /// # Errors
    /// Of the system, when the directory can't be read or the file not be removed.
    pub(super) fn remove_oldest(&self, has_marks: bool) -> io::Result<Option<Removed>> {
        let oldest = self.last_number()?;
        if oldest == 0 {
            return Ok(None);
        }
        self.settle(oldest)?;
        let plain = self.numbered(oldest);
        let is_plain = fs::symlink_metadata(&plain).is_ok();
        remove_counted(if is_plain { plain } else { with_ending(&plain, gzip::ENDING) }, has_marks)
    }

    /// What a shift does now, in this order.
    fn steps(&self) -> io::Result<impl Iterator<Item = Step> + use<>> {
        let mut remove = None;
        let mut moving = 0;
        if self.exists(0)? {
            moving = 1;
            while moving <= self.keep && self.exists(moving)? {
                moving += 1;
            }
            if moving > self.keep {
                remove = Some(Step::Remove(self.keep));
                moving = self.keep;
            }
        }
        Ok(remove.into_iter().chain((0..moving).rev().map(Step::MoveUp)))
    }

    fn take(&self, step: Step) -> io::Result<()> {
        // What somebody moved away meanwhile leaves a gap and no more.
        match step {
            Step::Remove(number) => {
                let plain = self.numbered(number);
                let removed = if number > 0 { remove(&with_ending(&plain, gzip::ENDING)) } else { Ok(false) };
                removed.and_then(|_| remove(&plain)).map(drop)
            }
            Step::MoveUp(0) => rename(&self.path, &self.numbered(1)).map(drop),
            Step::MoveUp(number) => {
                self.settle(number)?;
                let (from, to) = (self.numbered(number), self.numbered(number + 1));
                if rename(&from, &to)? {
                    return Ok(());
                }
                rename(&with_ending(&from, gzip::ENDING), &with_ending(&to, gzip::ENDING)).map(drop)
            }
        }
    }

    /// Whether anything has this number, a link that leads nowhere too: a rename would replace it. A directory is somebody
    /// else's, and is not moved.
    fn exists(&self, number: usize) -> io::Result<bool> {
        let plain = self.numbered(number);
        Ok(is_there(&plain)? || (number > 0 && is_there_compressed(&plain)?))
    }

    pub(super) fn numbered(&self, number: usize) -> PathBuf {
        if number == 0 { self.path.clone() } else { with_ending(&self.path, &format!(".{number}")) }
    }

    /// The rotated files there are, compressed or not, with their numbers, above `keep` or not, in no order. A directory is
    /// none of them.
    fn numbers(&self) -> io::Result<Vec<(usize, PathBuf)>> {
        self.named(numbered_name)
    }

    /// The output file and those that were rotated, the oldest first, whatever is to be kept; of one that is there twice,
    /// the plain one.
    ///
    /// # Errors
    /// The directory can't be read.
    pub(super) fn all(&self) -> io::Result<Vec<PathBuf>> {
        let mut files: Vec<(usize, PathBuf)> = Vec::new();
        for (number, path) in self.numbers()? {
            let is_twice = gzip::is_named_so(&path) && fs::symlink_metadata(self.numbered(number)).is_ok();
            if let (false, Err(at)) = (is_twice, files.binary_search_by(|file| number.cmp(&file.0))) {
                files.insert(at, (number, path));
            }
        }
        let newest = Some(self.path.clone()).filter(|path| fs::symlink_metadata(path).is_ok());
        let mut paths = Vec::new();
        for (_, path) in files {
            paths.push(path);
        }
        paths.extend(newest);
        Ok(paths)
    }

    /// The highest number of a rotated file, 0 if there is none.
    ///
    /// # Errors
    /// The directory can't be read.
    pub(super) fn last_number(&self) -> io::Result<usize> {
        Ok(self.numbers()?.iter().fold(0, |last, file| last.max(file.0)))
    }

    /// What the rotated file with this number is called when it is compressed.
    pub(super) fn compressed(&self, number: usize) -> PathBuf {
        with_ending(&self.numbered(number), gzip::ENDING)
    }

    /// What a kill has left of compressing.
    fn unfinished(&self) -> io::Result<Vec<PathBuf>> {
        let found = self.named(|name| unfinished_name(name).and_then(numbered_name))?;
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    /// The files in whose names `read` finds the output's own, and a number.
    fn named(&self, read: fn(&[u8]) -> Option<Numbered<'_>>) -> io::Result<Vec<(usize, PathBuf)>> {
        let mut files = Vec::new();
        let Some(name) = self.path.file_name() else { return Ok(files) };
        walk(folder_of(&self.path), &mut |found, is_folder| {
            if let Some((base, number)) = read(found.as_bytes()).filter(|_| !is_folder)
                && base == name.as_bytes()
            {
                files.push((number, self.path.with_file_name(found)));
            }
        })?;
        Ok(files)
    }
}

/// Whether anything but a directory has this name.
///
/// # Errors
/// Of the system; a directory has it.
pub(super) fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Err(io::Error::other(format!("{} is a directory", shown(path)))),
        found => there(found.map(drop)),
    }
}

/// The same of what it is called when it is compressed. No file has a name that is too long.
fn is_there_compressed(plain: &Path) -> io::Result<bool> {
    match is_there(&with_ending(plain, gzip::ENDING)) {
        Err(error) if error.kind() == ErrorKind::InvalidFilename => Ok(false),
        found => found,
    }
}

/// Renames a file; false if it was gone already.
///
/// # Errors
/// Of the system, with the file's name.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<bool> {
    named("cannot rename", from, there(fs::rename(from, to)))
}

/// The name that a new file has until the others have moved.
pub(super) fn new_name(path: &Path) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    name.into()
}

/// Removes a new file that a kill has left, which is always an empty one. What else has its name is somebody's own.
///
/// # Errors
/// Of the system; and that something else has the name.
pub(super) fn remove_left(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.len() == 0 => remove(path).map(drop),
        Ok(_) => Err(in_the_way(path)),
        found => named("cannot look at", path, there(found.map(drop)).map(drop)),
    }
}

/// Somebody else's file has the name that ours needs.
fn in_the_way(path: &Path) -> io::Error {
    io::Error::other(format!("{} is in the way: move it away", shown(path)))
}

/// Removes a file; false if it was gone already.
///
/// # Errors
/// Of the system, with the file's name.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    named("cannot remove", path, there(fs::remove_file(path)))
}

/// Removes a rotated file, after its lines were counted. `None` if it was gone already.
///
/// # Errors
/// Of the system, when it can't be removed.
pub(super) fn remove_counted(path: PathBuf, has_marks: bool) -> io::Result<Option<Removed>> {
    let Ok(found) = fs::symlink_metadata(&path) else { return Ok(None) };
    let freed = found.len();
    let mut bytes = gzip::plain_len(&path, &found);
    // Opening a fifo would wait for a writer. A file that can't be read is removed all the same: space is needed.
    let is_counted = found.is_file() && bytes <= MOST_COUNTED_BYTES;
    let mut lines = if is_counted { count_lines(&path).ok() } else { None };
    let mut told = Told::default();
    if let Some(count) = lines.as_mut().filter(|_| has_marks) {
        // A file that was counted can be read once more; if not, its marks are lines like any other.
        let marks = count_marks(&path).unwrap_or_default();
        *count -= marks.count.min(*count);
        bytes -= marks.bytes.min(bytes);
        told = marks.told;
    }
    Ok(remove(&path)?.then_some(Removed { path, freed, bytes, lines, told }))
}

/// An error that says what was tried with which file.
pub(super) fn named<T>(what: &str, path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| about(what, path, &error))
}

#[inline(never)] // one copy, for size
fn about(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what} {}: {error}", shown(path)))
}

/// Whether what was asked for was there; any other error stays one.
fn there(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a file is to be called, from the name that it has while it is being compressed: `app.log.1.gz`.
pub(super) fn unfinished_name(found: &[u8]) -> Option<&[u8]> {
    found.strip_suffix(b".new").filter(|name| name.ends_with(gzip::ENDING.as_bytes()))
}

/// The name of an output file, and the number that a rotated file can have, from `app.log.1` or `app.log.1.gz`. The number
/// is not found by `parse`, which takes `+1` and `007` too.
pub(super) fn numbered_name(found: &[u8]) -> Option<Numbered<'_>> {
    let found = found.strip_suffix(gzip::ENDING.as_bytes()).unwrap_or(found);
    let dot = memrchr(b'.', found)?;
    let (name, digits) = (found.get(..dot)?, found.get(dot + 1..)?);
    if *digits.first()? == b'0' {
        return None;
    }
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + usize::from(digit - b'0');
        if number > MOST_KEPT {
            return None;
        }
    }
    Some((name, number))
}

/// Whether waiting for space may cure it.
pub(super) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Marks of gaps in a file.
#[derive(Default)]
struct Marks {
    count: u64,
    bytes: u64,
    told: Told,
}

fn count_marks(path: &Path) -> io::Result<Marks> {
    let mut reader = BufReader::new(Content::of(path)?.take(MOST_COUNTED_BYTES));
    let (mut marks, mut line) = (Marks::default(), Vec::new());
    loop {
        line.clear();
        let count = reader.read_until(b'\n', &mut line)?;
        if count == 0 {
            return Ok(marks);
        }
        if let Some((lines, bytes)) = told_by(&line) {
            marks.count += 1;
            marks.bytes += count as u64;
            marks.told = Told { lines: marks.told.lines + lines, bytes: marks.told.bytes + bytes };
        }
    }
}

fn count_lines(path: &Path) -> io::Result<u64> {
    // The bound holds even for a file that somebody still writes to.
    let mut file = Content::of(path)?.take(MOST_COUNTED_BYTES);
    let mut buffer = vec![0; PIECE_BYTES];
    let mut lines = 0;
    let mut is_torn = false;
    loop {
        let piece = match file.read(&mut buffer) {
            Ok(read_bytes) => buffer.get(..read_bytes).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let Some(last) = piece.last() else { return Ok(lines + u64::from(is_torn)) };
        lines += memchr_iter(b'\n', piece).count() as u64;
        is_torn = *last != b'\n';
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A directory of this test's own, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("lumberjack-rotate-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        /// One with these files, each with its own name in it.
        fn with(names: &[&str]) -> Self {
            let folder = Self::new();
            for name in names {
                fs::write(folder.0.join(name), name).unwrap();
            }
            folder
        }

        fn rotated(&self, keep: usize) -> Rotated {
            Rotated::new(&self.0.join("app.log"), keep)
        }

        /// Each file's name and what is in it, sorted.
        fn files(&self) -> Vec<(String, String)> {
            let mut files: Vec<_> = fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| (name_of(&path), fs::read_to_string(&path).unwrap_or_default()))
                .collect();
            files.sort();
            files
        }

        fn names(&self) -> Vec<String> {
            self.files().into_iter().map(|(name, _)| name).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn made(path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    /// The names of the files that a trim removes, sorted.
    fn trimmed(rotated: &Rotated) -> String {
        let mut names = Vec::new();
        rotated.trim(true, |path, _| names.push(name_of(path))).unwrap();
        names.sort();
        names.join(" ")
    }

    fn name_of(path: &Path) -> String {
        path.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn pairs(files: &[(String, String)]) -> Vec<(&str, &str)> {
        files.iter().map(|(name, inside)| (name.as_str(), inside.as_str())).collect()
    }

    /// What the files hold, the newest file first: the output file, then by number.
    fn by_number(rotated: &Rotated) -> Vec<u32> {
        let names = (0..=rotated.keep + 3).map(|number| rotated.numbered(number));
        names
            .flat_map(|name| [with_ending(&name, ".gz"), name])
            .filter_map(|name| fs::read_to_string(name).ok())
            .map(|inside| inside.parse().unwrap())
            .collect()
    }

    #[test]
    fn a_shift_is_these_steps() {
        use Step::{MoveUp, Remove};
        let full = ["app.log", "app.log.1", "app.log.2", "app.log.3"];
        for (case, keep, names, expected) in [
            ("no gap: the oldest goes", 3, &full[..], &[Remove(3), MoveUp(2), MoveUp(1), MoveUp(0)][..]),
            ("the end is a gap", 4, &full, &[MoveUp(3), MoveUp(2), MoveUp(1), MoveUp(0)]),
            ("the first gap is used", 3, &["app.log", "app.log.1", "app.log.3"], &[MoveUp(1), MoveUp(0)]),
            ("a gap right behind the output", 3, &["app.log", "app.log.2", "app.log.3"], &[MoveUp(0)]),
            ("the first rotation", 3, &["app.log"], &[MoveUp(0)]),
            ("nothing is kept", 0, &["app.log", "app.log.1"], &[Remove(0)]),
            ("the output was moved away", 2, &["app.log.1", "app.log.2"], &[]),
            ("the output was moved away, nothing is kept", 0, &["app.log.1"], &[]),
        ] {
            let folder = Folder::with(names);
            let steps: Vec<Step> = folder.rotated(keep).steps().unwrap().collect();
            assert_eq!(steps, expected, "{case}");
        }
    }

    #[test]
    fn a_shift_moves_each_file_up_and_leaves_other_files_alone() {
        let folder = Folder::with(&["app.log", "app.log.1", "app.log.2", "app.log.3", "app.log.gz", "app.logs", "b.1"]);
        folder.rotated(2).shift(made).unwrap();
        let expected = [
            ("app.log", ""),
            ("app.log.1", "app.log"),
            ("app.log.2", "app.log.1"),
            ("app.log.3", "app.log.3"),
            ("app.log.gz", "app.log.gz"),
            ("app.logs", "app.logs"),
            ("b.1", "b.1"),
        ];
        assert_eq!(pairs(&folder.files()), expected);
    }

    /// What a kill leaves is one of the sets of files to start from, so a kill of the next shift is tried too.
    #[test]
    fn a_kill_between_any_two_steps_loses_nothing_but_the_oldest_file() {
        for keep in 0..=4_usize {
            for there in 0..1_u32 << (keep + 1) {
                for killed_after in 0..=keep + 1 {
                    // None compressed, every second one, all.
                    [3, 1, 0].iter().for_each(|every| killed_and_started_again(keep, there, killed_after, *every));
                }
            }
        }
    }

    /// Starts with the files whose bits are set in `there`, of which those are compressed whose number has no bit of `plain`,
    /// is killed after so many steps of a shift, starts again, and
    /// then shifts until every file is a new one.
    fn killed_and_started_again(keep: usize, there: u32, killed_after: usize, plain: usize) {
        let case = format!("keep {keep}, files {there:#b}, plain {plain:#b}, killed after {killed_after} steps");
        let folder = Folder::new();
        let rotated = folder.rotated(keep);
        let mut newest = 0;
        for number in (0..=keep).rev().filter(|number| there & 1 << number != 0) {
            newest += 1;
            let name = rotated.numbered(number);
            let is_plain = number == 0 || number & plain != 0 || plain == 3;
            fs::write(if is_plain { name } else { with_ending(&name, ".gz") }, newest.to_string()).unwrap();
        }
        let whole = std::iter::repeat_n(usize::MAX, keep + 2);
        for steps in std::iter::once(killed_after).chain(whole) {
            assert_eq!(trimmed(&rotated), "", "{case}: none is too many at a start");
            if !rotated.exists(0).unwrap() {
                newest += 1;
                fs::write(&rotated.path, newest.to_string()).unwrap();
            }
            let mut expected = by_number(&rotated);
            for step in rotated.steps().unwrap().take(steps) {
                rotated.take(step).unwrap();
            }
            if expected.len() > keep && steps > 0 {
                expected.pop();
            }
            let found = by_number(&rotated);
            assert_eq!(found, expected, "{case}: the newest first, and only the oldest of too many gone");
            assert!(found.len() <= keep + 1, "{case}: never more than keep and the output");
        }
        let expected: Vec<u32> = (0..=newest).rev().take(keep).collect();
        assert_eq!(by_number(&rotated), expected, "{case}: the newest are kept");
        assert!(!rotated.exists(0).unwrap(), "{case}: there is room for a new file");
    }

    #[test]
    fn a_file_moved_away_in_the_middle_of_a_shift_is_a_gap() {
        let folder = Folder::with(&["app.log", "app.log.1", "app.log.2"]);
        let rotated = folder.rotated(2);
        let steps = rotated.steps().unwrap();
        fs::remove_file(rotated.numbered(2)).unwrap();
        fs::remove_file(rotated.numbered(1)).unwrap();
        for step in steps {
            rotated.take(step).unwrap();
        }
        assert_eq!(pairs(&folder.files()), [("app.log.1", "app.log")]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_a_file_and_not_a_gap() {
        let folder = Folder::with(&["app.log"]);
        let rotated = folder.rotated(2);
        symlink("/no/such/file", rotated.numbered(1)).unwrap();
        rotated.shift(made).unwrap();
        assert_eq!(folder.names(), ["app.log", "app.log.1", "app.log.2"]);
        assert_eq!(fs::read_link(rotated.numbered(2)).unwrap(), Path::new("/no/such/file"));
    }

    #[test]
    fn a_shift_that_fails_changes_nothing() {
        let folder = Folder::with(&["app.log", "app.log.1"]);
        fs::create_dir(folder.0.join("app.log.2")).unwrap();
        let error = folder.rotated(2).shift(made).unwrap_err();
        let expected = format!("{} is a directory", folder.0.join("app.log.2").display());
        assert_eq!(error.to_string(), expected);
        assert_eq!(folder.names(), ["app.log", "app.log.1", "app.log.2"]);
    }

    #[test]
    fn the_new_file_has_not_the_inode_of_the_one_that_was_removed() {
        let folder = Folder::with(&["app.log", "app.log.1"]);
        let rotated = folder.rotated(1);
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        for _ in 0..10 {
            let oldest = inode(&rotated.numbered(1));
            rotated.shift(made).unwrap();
            assert_ne!(inode(&rotated.path), oldest, "a follower would take the new file for the old one");
        }
    }

    #[test]
    fn where_no_further_file_can_be_made_the_oldest_goes_first() {
        let folder = Folder::with(&["app.log", "app.log.1", "app.log.2"]);
        let rotated = folder.rotated(2);
        let oldest = rotated.numbered(2);
        let scarce = |path: &Path| if oldest.exists() { Err(ErrorKind::StorageFull.into()) } else { made(path) };
        rotated.shift(scarce).unwrap();
        assert_eq!(pairs(&folder.files()), [("app.log", ""), ("app.log.1", "app.log"), ("app.log.2", "app.log.1")]);
        let error = rotated.shift(|_| Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert!(error.to_string().contains("cannot make"), "{error}");
        assert_eq!(folder.names(), ["app.log", "app.log.1"], "and one more would not have helped");
    }

    #[test]
    fn a_name_may_hold_any_byte() {
        let folder = Folder::new();
        let path = folder.0.join(OsStr::from_bytes(b"\xff {} \n.log"));
        let rotated = Rotated::new(&path, 1);
        for lines in [2, 1] {
            fs::write(&path, "line\n".repeat(lines)).unwrap();
            rotated.shift(made).unwrap();
        }
        let moved = folder.0.join(OsStr::from_bytes(b"\xff {} \n.log.1"));
        assert_eq!(fs::read(&moved).unwrap(), b"line\n");
        assert_eq!(rotated.remove_oldest(false).unwrap().unwrap().path, moved);
    }

    #[test]
    fn a_number_is_what_a_shift_would_write() {
        for (found, expected) in [
            ("app.log.1", Some(1)),
            ("app.log.10", Some(10)),
            ("app.log.9999", Some(9999)),
            ("app.log.10000", None),
            ("app.log.20260731", None),
            ("app.log.99999999999999999999999", None),
            ("app.log.0", None),
            ("app.log.03", None),
            ("app.log.+3", None),
            ("app.log.3 ", None),
            ("app.log.3.gz", Some(3)),
            ("app.log.gz", None),
            ("app.log.3.gz.gz", None),
            ("app.log.3.gz.new", None),
            ("app.log.3gz", None),
            ("app.log.\u{663}", None),
            ("app.log.", None),
            ("app.log", None),
            ("app.log3", None),
            ("app.log-3", None),
            ("old-app.log.3", None),
        ] {
            let number = numbered_name(found.as_bytes()).filter(|(name, _)| *name == b"app.log");
            assert_eq!(number.map(|(_, number)| number), expected, "{found:?}");
        }
    }

    #[test]
    fn trim_removes_what_is_numbered_above_keep_and_nothing_else() {
        let others = ["app.log.04", "app.log.4.xz", "app.log4", "app.log.20260731", "xapp.log.4"];
        let folder = Folder::with(&others);
        for number in ["1", "3", "4", "5", "7", "70", "8.gz", "9999"] {
            fs::write(folder.0.join(format!("app.log.{number}")), number).unwrap();
        }
        fs::create_dir(folder.0.join("app.log.6")).unwrap();
        assert_eq!(trimmed(&folder.rotated(3)), "app.log.4 app.log.5 app.log.7 app.log.70 app.log.8.gz app.log.9999");
        let mut left: Vec<_> = others.iter().chain(&["app.log.1", "app.log.3", "app.log.6"]).collect();
        left.sort();
        assert_eq!(folder.names().iter().collect::<Vec<_>>(), left);
        assert_eq!(trimmed(&folder.rotated(0)), "app.log.1 app.log.3", "with keep 0 all are too many");
    }

    /// The same, compressed.
    #[cfg(feature = "compress")]
    fn gzipped(text: &str) -> Vec<u8> {
        let path = std::env::temp_dir().join(format!("lumberjack-gzipped-{}-{}", std::process::id(), text.len()));
        fs::write(&path, text).unwrap();
        let (source, into) = (File::open(&path).unwrap(), Folder::new());
        let packed = into.0.join("packed");
        let is_packed = gzip::pack(&source, text.len() as u64, 7, &File::create(&packed).unwrap(), &|| true).unwrap();
        assert!(is_packed, "{} bytes are too few to be compressed", text.len());
        fs::remove_file(path).unwrap();
        fs::read(packed).unwrap()
    }

    #[test]
    #[cfg(feature = "compress")]
    fn of_a_file_that_is_there_twice_one_goes_at_the_start() {
        let (text, other) = ("line\n".repeat(100), "else\n".repeat(100));
        for (case, compressed, left, why) in [
            ("the same", gzipped(&text), "app.log.1.gz", "which is there compressed too"),
            ("another of the same length", gzipped(&other), "app.log.1", "whose number a newer file has"),
            ("a shorter one", gzipped(&text[..495]), "app.log.1", "whose number a newer file has"),
            ("one that is cut", gzipped(&text)[..30].to_vec(), "app.log.1", "whose number a newer file has"),
            ("none", b"text".to_vec(), "app.log.1", "whose number a newer file has"),
        ] {
            let folder = Folder::with(&["app.log", "app.log.2.gz", "app.log.1.gz.new", "app.log.gz.new", "b.1.gz.new"]);
            let rotated = folder.rotated(3);
            fs::write(rotated.numbered(1), &text).unwrap();
            fs::write(folder.0.join("app.log.1.gz"), compressed).unwrap();
            let mut said = Vec::new();
            rotated.trim(true, |_, why| said.push(why.to_owned())).unwrap();
            assert_eq!(said, [why], "{case}");
            assert_eq!(folder.names(), ["app.log", left, "app.log.2.gz", "app.log.gz.new", "b.1.gz.new"], "{case}");
        }
    }

    #[test]
    #[cfg(feature = "compress")]
    fn the_lines_of_a_compressed_file_are_counted_when_it_goes() {
        let folder = Folder::with(&["app.log"]);
        let rotated = folder.rotated(3);
        let bytes = gzipped(&"line\n".repeat(1_000));
        let oldest = folder.0.join("app.log.3.gz");
        fs::write(&oldest, &bytes).unwrap();
        fs::write(rotated.numbered(2), "newer\n").unwrap();
        let removed = rotated.remove_oldest(false).unwrap().unwrap();
        let freed = bytes.len() as u64;
        let told = Told::default();
        assert_eq!(removed, Removed { path: oldest.clone(), freed, bytes: 5_000, lines: Some(1_000), told });
        // One that is broken goes too: space is needed.
        fs::write(&oldest, &bytes[..bytes.len() - 9]).unwrap();
        let removed = rotated.remove_oldest(false).unwrap().unwrap();
        assert_eq!((removed.path, removed.lines), (oldest, None));
        assert_eq!(rotated.shifted_at(), None);
        fs::write(folder.0.join("app.log.1.gz"), bytes).unwrap();
        assert_eq!(
            rotated.shifted_at(),
            Some(Duration::from_secs(7)),
            "when it was rotated, not when it was compressed"
        );
    }

    #[test]
    fn a_path_without_a_directory_is_in_the_current_one() {
        // The tests of a package run in its directory, in which nothing is to be written.
        assert_eq!(trimmed(&Rotated::new(Path::new("Cargo.toml"), 1)), "");
    }

    #[test]
    fn a_name_too_long_for_its_number_is_found_at_start() {
        let folder = Folder::new();
        let path = folder.0.join("x".repeat(253));
        fs::write(&path, "").unwrap();
        assert_eq!(trimmed(&Rotated::new(&path, 9)), "", "255 bytes are possible");
        assert_eq!(Rotated::new(&path, 10).trim(true, |_, _| ()).unwrap_err().kind(), ErrorKind::InvalidFilename);
    }

    #[test]
    fn more_than_can_be_told_from_a_date_are_never_kept() {
        assert_eq!(Rotated::new(Path::new("app.log"), usize::MAX).keep, 9999);
    }

    #[test]
    fn the_oldest_is_removed_until_there_is_none() {
        let folder = Folder::with(&["app.log"]);
        let rotated = folder.rotated(3);
        let two_pieces = [&b"x".repeat(PIECE_BYTES)[..], b"\n\n", &b"y".repeat(PIECE_BYTES), b"\n"].concat();
        // Of .1, .3 and .12, the last is above keep, and the oldest: numbers, not names, are compared.
        for (number, bytes) in [(1, &b""[..]), (3, &b"a\nb\ntorn"[..]), (12, &two_pieces)] {
            fs::write(rotated.numbered(number), bytes).unwrap();
        }
        for (number, bytes, lines) in [(12, 2 * 65_536 + 3, 3), (3, 8, 3), (1, 0, 0)] {
            let path = rotated.numbered(number);
            let expected = Removed { path, freed: bytes, bytes, lines: Some(lines), told: Told::default() };
            assert_eq!(rotated.remove_oldest(false).unwrap(), Some(expected));
        }
        assert_eq!(rotated.remove_oldest(false).unwrap(), None);
        assert_eq!(folder.names(), ["app.log"]);
    }

    #[test]
    fn the_lines_of_a_huge_file_are_not_counted() {
        let folder = Folder::new();
        let rotated = folder.rotated(1);
        for (bytes, lines) in [(64 << 20, Some(1)), ((64 << 20) + 1, None)] {
            File::create(rotated.numbered(1)).unwrap().set_len(bytes).unwrap();
            let expected = Removed { path: rotated.numbered(1), freed: bytes, bytes, lines, told: Told::default() };
            assert_eq!(rotated.remove_oldest(false).unwrap(), Some(expected));
        }
    }

    #[test]
    fn what_is_no_regular_file_is_removed_unread() {
        let folder = Folder::with(&["elsewhere"]);
        let rotated = folder.rotated(2);
        let _bound = UnixListener::bind(rotated.numbered(2)).unwrap();
        symlink(folder.0.join("elsewhere"), rotated.numbered(1)).unwrap();
        for number in [2, 1] {
            let removed = rotated.remove_oldest(false).unwrap().unwrap();
            assert_eq!((removed.path, removed.lines), (rotated.numbered(number), None));
        }
        assert_eq!(pairs(&folder.files()), [("elsewhere", "elsewhere")]);
    }
}
