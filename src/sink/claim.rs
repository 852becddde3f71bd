//! The paths that the program uses, each with who uses it. They are compared before anything is opened: a rotation renames
//! and removes what has the names of its files, and a listener removes what it takes for a socket that somebody left.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use super::files::path::{folder_of, resolved, shown};

/// The name of a file in that of a rotated one, and the number of that.
pub(super) type NumberOf = fn(&[u8]) -> Option<(&[u8], usize)>;

/// Who uses paths, as a sentence calls it: `--output app.log`.
pub(crate) struct User {
    pub(super) name: String,
    pub(super) claims: Vec<Claim>,
}

/// A name in a directory, or all those that a pattern stands for; and what these are called when they are rotated.
pub(super) struct Claim {
    /// By the path that leads there without links.
    folder: PathBuf,
    /// As it was given.
    #[cfg_attr(not(feature = "sandbox"), expect(dead_code))] // who asks for it is left out
    given: PathBuf,
    /// A pattern may lead through directories below that one.
    name: Vec<u8>,
    /// Names that it stands for: at least one of each form.
    examples: Vec<Vec<u8>>,
    /// Whether the first stands for the second.
    stands_for: fn(&[u8], &[u8]) -> bool,
    number_of: Option<NumberOf>,
}

impl User {
    /// Who uses one path, such as a socket.
    #[cfg(feature = "cli")]
    pub(crate) fn of_path(name: String, path: &Path) -> Self {
        Self { name, claims: Claim::path(path, None) }
    }
}

#[cfg(feature = "sandbox")]
impl User {
    /// The directories of its paths, as they were given; of a pattern, the one that is the same for all its files.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.claims.iter().map(|claim| claim.given.as_path())
    }
}

impl Claim {
    /// A path, and where links at its end lead, which is what is rotated; nothing if that is a device, which is neither made
    /// nor moved.
    pub(super) fn path(path: &Path, number_of: Option<NumberOf>) -> Vec<Self> {
        if fs::metadata(path).is_ok_and(|found| found.file_type().is_char_device()) {
            return Vec::new();
        }
        let one = |path: &Path, number_of| {
            let (folder, given, name) = (without_links(folder_of(path)), folder_of(path).to_owned(), name_in(path));
            Self { folder, given, examples: vec![name.clone()], name, stands_for: |own, name| own == name, number_of }
        };
        let target = resolved(path);
        let link = (target != path).then(|| one(path, None));
        link.into_iter().chain([one(&target, number_of)]).collect()
    }

    /// Every file below `folder` whose path from there `pattern` stands for.
    pub(super) fn pattern(
        (folder, pattern): (&Path, &[u8]),
        examples: impl Iterator<Item = String>,
        stands_for: fn(&[u8], &[u8]) -> bool,
        number_of: Option<NumberOf>,
    ) -> Self {
        let examples = examples.map(String::into_bytes).collect();
        let given = folder.to_owned();
        Self { folder: without_links(folder), given, name: pattern.to_vec(), examples, stands_for, number_of }
    }

    /// Whether it uses a file of this name; and if so, whether as it is, or as one that is being rotated.
    #[inline(never)] // one copy, for size
    fn takes(&self, name: &[u8]) -> Option<Taken> {
        let is_one = |name: &[u8]| (self.stands_for)(&self.name, name);
        if is_one(name) {
            return Some(Taken::AsItIs);
        }
        let number_of = self.number_of?;
        let whole = name.strip_suffix(b".new").unwrap_or(name);
        let plain = whole.strip_suffix(b".gz").unwrap_or(whole);
        (is_one(whole) || number_of(plain).is_some_and(|(name, _)| is_one(name))).then_some(Taken::Rotated)
    }

    /// A path that both use, and how. To be asked of both: numbers are tried that may be a part of the other's name.
    #[inline(never)] // one copy, for size
    fn meets(&self, other: &Self) -> Option<(PathBuf, Taken)> {
        // What it may use is below its directory, at whatever depth.
        if !self.folder.starts_with(&other.folder) && !other.folder.starts_with(&self.folder) {
            return None;
        }
        let endings = if self.number_of.is_some() { endings_for(&other.name) } else { vec![String::new()] };
        for example in &self.examples {
            for ending in &endings {
                let name = [example, ending.as_bytes()].concat();
                let path = self.folder.join(OsStr::from_bytes(&name));
                let Ok(theirs) = path.strip_prefix(&other.folder) else { continue };
                // A number may be none that a rotated file can have.
                if let (Some(own), Some(their)) = (self.takes(&name), other.takes(theirs.as_os_str().as_bytes())) {
                    let taken = own.max(their);
                    return Some((path, taken));
                }
            }
        }
        None
    }
}

/// How a name is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Taken {
    AsItIs,
    Rotated,
}

/// What rotated files are called: with the number one, each number in a name, and each behind a one, for the first rotated
/// file of `10.0.0` is what `{host}` can stand for.
fn endings_for(name: &[u8]) -> Vec<String> {
    let mut endings = vec![String::new(), ".new".to_owned(), ".1".to_owned()];
    for run in name.split(|byte| !byte.is_ascii_digit()).filter(|run| !run.is_empty()) {
        let run = String::from_utf8_lossy(run);
        endings.extend([[".", &*run].concat(), [".1", &*run].concat()]);
    }
    endings
}

/// A sentence about the first two who use one path.
pub(crate) fn conflict(users: &[User]) -> Option<String> {
    for (number, one) in users.iter().enumerate() {
        for other in users.iter().skip(number + 1) {
            let pairs = one.claims.iter().flat_map(|own| other.claims.iter().map(move |their| (own, their)));
            let met = pairs.into_iter().find_map(|(own, their)| own.meets(their).or_else(|| their.meets(own)));
            if let Some((path, taken)) = met {
                let (one, other, path) = (&one.name, &other.name, shown(&path));
                let why = if taken == Taken::Rotated { ", a name of rotated files" } else { "" };
                return Some(format!("{one} and {other} would both use {path}{why}: give one of them another name"));
            }
        }
    }
    None
}

#[inline(never)] // one copy, for size
fn name_in(path: &Path) -> Vec<u8> {
    path.file_name().unwrap_or_default().as_bytes().to_vec()
}

/// A directory by the path that leads to it without links, as far as it is there.
#[inline(never)] // one copy, for size
fn without_links(folder: &Path) -> PathBuf {
    let mut missing = Vec::new();
    for there in folder.ancestors() {
        let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
        if let Ok(mut path) = fs::canonicalize(there) {
            for part in missing.into_iter().rev() {
                // What is missing is no link, so this is where `..` leads once it is made.
                if part == Component::ParentDir {
                    path.pop();
                } else {
                    path.push(part);
                }
            }
            return path;
        }
        missing.extend(there.components().next_back());
    }
    folder.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::output::OutputOptions;
    use crate::sink::OutputAddr;
    use std::os::unix::fs::symlink;

    /// A directory of this test's own, which is gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("lumberjack-claim-{}-{name}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        /// What is said of two outputs in it.
        fn conflict(&self, one: &str, other: &str, rotates: bool) -> Option<String> {
            let options = OutputOptions { rotate_size: usize::from(rotates), ..OutputOptions::default() };
            let at = |name: &str| match name.strip_prefix("unix:") {
                Some(name) => format!("unix:{}/{name}", self.0.display()),
                None => format!("{}/{name}", self.0.display()),
            };
            let users = [one, other].map(|name| at(name).parse::<OutputAddr>().unwrap().uses(&options));
            conflict(&users)
        }

        /// They meet at this name, whichever is the first.
        #[track_caller]
        fn assert_meet(&self, one: &str, other: &str, rotates: bool, name: &str) {
            let folder = self.0.canonicalize().unwrap();
            for (one, other) in [(one, other), (other, one)] {
                let said =
                    self.conflict(one, other, rotates).unwrap_or_else(|| panic!("{one} and {other} meet nowhere"));
                assert!(
                    said.contains(&format!("would both use {}/{name}", folder.display())),
                    "{one} and {other}: {said}"
                );
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn p13_what_two_outputs_would_both_use_is_found() {
        let folder = Folder::new("meet");
        fs::create_dir(folder.0.join("x")).unwrap();
        symlink("x", folder.0.join("y")).unwrap();
        symlink("x/real.log", folder.0.join("link.log")).unwrap();
        for (one, other, rotates, wanted) in [
            ("app.log", "app.log.1", true, "app.log.1"),
            ("app.log", "app.log.9999", true, "app.log.9999"),
            ("app.log", "app.log.3.gz", true, "app.log.3.gz"),
            ("app.log", "app.log.new", true, "app.log.new"),
            ("app.log", "app.log.3.gz.new", true, "app.log.3.gz.new"),
            ("app.log", "unix:app.log.1", true, "app.log.1"),
            ("app.log", "unix:app.log", false, "app.log"),
            ("app.log", "x/../app.log", false, "app.log"),
            ("x/app.log", "y//app.log", false, "x/app.log"),
            ("x/app.log", "y/./app.log.3", true, "x/app.log.3"),
            ("link.log", "x/real.log", false, "x/real.log"),
            ("link.log", "x/real.log.2", true, "x/real.log.2"),
            // What does not exist yet.
            ("new/app.log", "new/../new/app.log.1", true, "new/app.log.1"),
            ("{host}.log", "10.0.0.1.log", false, "10.0.0.1.log"),
            ("{host}.log", "unix.log", false, "unix.log"),
            ("{host}.log", "other.log", false, "other.log"),
            ("{host}.log", "other.log.new", false, "other.log.new"),
            ("{host}.log", "2001-db8-0-1.log", false, "2001-db8-0-1.log"),
            ("{host}.log", "10.0.0.1.log.3", true, "10.0.0.1.log.3"),
            ("{host}.log", "10.0.0.1.log.3.gz", true, "10.0.0.1.log.3.gz"),
            ("x/{host}.log", "y/10.0.0.1.log", false, "x/10.0.0.1.log"),
            ("{host}.log", "unix:unix.log", false, "unix.log"),
            ("app-{date}.log", "app-2026-11-26.log", false, "app-2026-11-26.log"),
            ("app-{date}.log", "app-2000-02-29.log.new", false, "app-2000-02-29.log.new"),
            ("app-{date}.log", "unix:app-2026-11-26.log", false, "app-2026-11-26.log"),
            ("app-{date}.log.1", "app-2026-11-26.log", true, "app-2026-11-26.log.1"),
            ("x/{date}", "y/{date}", false, "x/2026-11-26"),
            ("2001-{date}", "{host}", false, "2001-2026-11-26"),
            // Some host's file is another's rotated one, or that of a file.
            ("{host}", "10.0.0", true, "10.0.0.1"),
            ("{host}.7", "unix", true, "unix.7"),
            ("{host}7", "10.0.0", true, "10.0.0.17"),
            ("{host}", "{host}.5", true, "1.2.3.4.5"),
            ("{host}", "2{host}", false, "21.2.3.4"),
            ("{host}", "{host}1", false, "1.2.3.41"),
        ] {
            folder.assert_meet(one, other, rotates, wanted);
        }
    }

    #[test]
    fn what_meets_nowhere_is_left_alone() {
        let folder = Folder::new("apart");
        fs::create_dir(folder.0.join("x")).unwrap();
        symlink("/dev/null", folder.0.join("null")).unwrap();
        symlink("/dev/null", folder.0.join("none")).unwrap();
        for (one, other, rotates) in [
            ("app.log", "app.log.1", false),
            ("app.log", "app.log.10000", true),
            ("app.log", "app.log.20260731", true),
            ("app.log", "app.log.01", true),
            ("app.log", "app.log.1.2", true),
            ("app.log", "app.logs", true),
            ("app.log", "x/app.log.1", true),
            ("null", "none", false),
            ("{host}.log", "10.0.0.1.log.3", false),
            ("{host}.log", "syslog.log", true),
            ("{host}.log", "x/10.0.0.1.log", true),
            ("a-{host}.log", "b-{host}.log", true),
            ("{host}.log", "{host}.err", true),
            ("{host}", "{host}.log", true),
            ("app-{date}.log", "app-2026-02-29.log", true),
            ("app-{date}.log", "app-2026-11-26.log.1", true),
            ("app-{date}.log", "app.log", true),
            ("{date}", "{host}", true),
        ] {
            assert_eq!(folder.conflict(one, other, rotates), None, "{one} and {other}");
        }
    }
}
