//! Which files are one set: an output file, and those that were rotated.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::content::Content;
use super::dates::Dated;
use super::path::{identity_of, opened_to_read, resolved};
use super::rotate::{Rotated, named};
use crate::config::output::DATE_WORD;

/// How often it is looked anew, while files get other names, before what was found has to do.
const MOST_LOOKS: usize = 500;

/// One file of a set.
#[cfg_attr(not(feature = "cli"), expect(dead_code))]
pub(crate) struct Stored {
    /// What it was called when it was opened.
    pub(crate) path: PathBuf,
    pub(crate) content: Content,
}

/// The files of a set, the oldest first, and of each that can't be read, why.
#[cfg_attr(not(feature = "cli"), expect(dead_code))]
pub(crate) struct Set {
    pub(crate) files: Vec<Stored>,
    /// Sentences, each with the file's name.
    pub(crate) unreadable: Vec<io::Error>,
}

/// Opens an output file and those that were rotated, or those of all days, if `{date}` is in the name. They are what was there at one moment, though files
/// get other names all the time: if that has happened meanwhile, it is looked again.
///
/// # Errors
/// There is none.
#[cfg_attr(not(feature = "cli"), expect(dead_code))]
pub(crate) fn open_set(path: &Path) -> io::Result<Set> {
    if path.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.contains(DATE_WORD)) && !path.exists() {
        return Set::new(open_days(&Dated::new(path))?);
    }
    let files = Rotated::new(&resolved(path), 0);
    let mut looks = 0;
    loop {
        let found = open_all(&files)?;
        looks += 1;
        let is_steady = found.0.iter().map(|(path, _, found)| (path, identity_of(found))).eq(now_of(&files.all()?));
        if is_steady || looks >= MOST_LOOKS {
            return Set::new(found);
        }
    }
}

/// A file of the set, open: its name, and what is known of it.
type Open = (PathBuf, File, fs::Metadata);

impl Set {
    /// Of these, and of those that can't be opened.
    ///
    /// # Errors
    /// There is none.
    fn new((opened, unreadable): (Vec<Open>, Vec<io::Error>)) -> io::Result<Self> {
        if opened.is_empty() && unreadable.is_empty() {
            return Err(ErrorKind::NotFound.into());
        }
        let stored = |(path, file, _): Open| Stored { content: Content::new(file, &path), path };
        Ok(Self { files: opened.into_iter().map(stored).collect(), unreadable })
    }
}

/// The files of all days, open, the oldest first. They keep their names; one may be removed meanwhile.
fn open_days(names: &Dated) -> io::Result<(Vec<Open>, Vec<io::Error>)> {
    let (mut opened, mut unreadable) = (Vec::new(), Vec::new());
    let mut days = Vec::new();
    for day in names.days()? {
        // A sort would be 3 KB of code for each kind.
        let at = days.binary_search(&day).unwrap_or_else(|at| at);
        days.insert(at, day);
    }
    for day in days {
        match open_one(names.path_of(day)) {
            Ok(found) => opened.extend(found),
            Err(error) => unreadable.push(error),
        }
    }
    Ok((opened, unreadable))
}

/// All files of the set that there are, open, the oldest first. They are looked for from the newest name on: a file only ever
/// moves up, so what moves meanwhile is met at its next name, and none is left out. Only as many rotations as there are
/// files, all in one look, bring newer files to where older ones are looked for.
fn open_all(files: &Rotated) -> io::Result<(Vec<Open>, Vec<io::Error>)> {
    let (mut opened, mut unreadable): (Vec<Open>, _) = (Vec::new(), Vec::new());
    let last = files.last_number()?;
    for number in 0.. {
        let found = match open_one(files.numbered(number)) {
            Ok(None) if number > 0 => open_one(files.compressed(number)),
            found => found,
        };
        // Of a name beyond the last that was seen, an error tells of no file: it may be too long, or no descriptor be free.
        if number > last && !matches!(found, Ok(Some(_))) {
            break;
        }
        let found = found.unwrap_or_else(|error| {
            unreadable.push(error);
            None
        });
        // One that has moved up behind us is met twice.
        let is_known = |one: &Open| opened.iter().any(|other| identity_of(&other.2) == identity_of(&one.2));
        if let Some(found) = found.filter(|found| !is_known(found)) {
            opened.push(found);
        }
    }
    opened.reverse();
    Ok((opened, unreadable))
}

/// `None` if there is no such file.
fn open_one(path: PathBuf) -> io::Result<Option<Open>> {
    match opened_to_read(&path) {
        Ok((file, found)) => Ok(Some((path, file, found))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => named("cannot read", &path, Err(error)),
    }
}

/// Which file has each of these names now.
fn now_of(paths: &[PathBuf]) -> impl Iterator<Item = (&PathBuf, (u64, u64))> {
    let found = |path: &PathBuf| fs::metadata(path).ok().filter(fs::Metadata::is_file);
    paths.iter().filter_map(move |path| Some((path, identity_of(&found(path)?))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lumberjack-stored-{}-{test}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).unwrap();
        }

        fn read(&self, name: &str) -> io::Result<String> {
            let mut text = String::new();
            let set = open_set(&self.0.join(name))?;
            if let Some(error) = set.unreadable.into_iter().next() {
                return Err(error);
            }
            for mut stored in set.files {
                stored.content.read_to_string(&mut text)?;
            }
            Ok(text)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_set_is_read_from_its_oldest_file_on() {
        let folder = Folder::new("order");
        for (name, text) in [
            ("app.log", "5\n"),
            ("app.log.1", "4\n"),
            ("app.log.2", "3\n"),
            ("app.log.10", "2\n"),
            ("app.log.20260731", "no\n"),
            ("app.log.1.gz.new", "no\n"),
            ("app.log.new", "no\n"),
            ("app.log.old", "no\n"),
            ("b.log.1", "no\n"),
        ] {
            folder.write(name, text);
        }
        assert_eq!(folder.read("app.log").unwrap(), "2\n3\n4\n5\n");
        assert_eq!(folder.read("app.log.2").unwrap(), "3\n", "one of them alone");
        fs::remove_file(folder.0.join("app.log")).unwrap();
        assert_eq!(folder.read("app.log").unwrap(), "2\n3\n4\n", "a moment of a rotation");
        assert_eq!(folder.read("b.log").unwrap(), "no\n");
    }

    #[test]
    fn days_are_one_set_and_come_in_their_order() {
        let folder = Folder::new("days");
        for (name, text) in [
            ("app-2026-01-02.log", "2\n"),
            ("app-2025-12-31.log", "1\n"),
            ("app-2026-01-10.log", "3\n"),
            ("app-2026-02-30.log", "no\n"),
            ("app-.log", "no\n"),
            ("b-2026-01-01.log", "no\n"),
        ] {
            folder.write(name, text);
        }
        assert_eq!(folder.read("app-{date}.log").unwrap(), "1\n2\n3\n");
        assert_eq!(folder.read("c-{date}.log").unwrap_err().kind(), ErrorKind::NotFound);
        folder.write("app-{date}.log", "itself\n");
        assert_eq!(folder.read("app-{date}.log").unwrap(), "itself\n", "an output ./app-{{date}}.log");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = Folder::new("missing");
        assert_eq!(folder.read("app.log").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(folder.read("no/such").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(folder.read("").unwrap_err().kind(), ErrorKind::IsADirectory);
        folder.write("app.log.1", "line\n");
        let _bound = std::os::unix::net::UnixListener::bind(folder.0.join("app.log")).unwrap();
        let error = folder.read("app.log").unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot read {}: ", folder.0.join("app.log").display())), "{error}");
    }

    /// A file is read whole or not at all, and none twice, whatever happens to the names.
    #[test]
    fn files_that_move_up_meanwhile_are_each_read_once() {
        let folder = Folder::new("moves");
        folder.write("app.log", "0\n");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let rotated = Rotated::new(&folder.0.join("app.log"), 8);
                for number in 1..2_000 {
                    let make = |path: &Path| fs::write(path, format!("{number}\n")).and_then(|()| File::open(path));
                    rotated.shift(make).unwrap();
                }
                is_over.store(true, Ordering::SeqCst);
            });
            while !is_over.load(Ordering::SeqCst) {
                let Ok(text) = folder.read("app.log") else { continue };
                let numbers: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
                assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
            }
        });
    }
}
