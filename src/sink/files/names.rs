//! Names of many files, made of what is known of a line (`{host}`, `{app}`). What stands there for a line is a *name*; the
//! part of the pattern before it, up to a `/`, is the directory that all of them are below. Invariant: a file has one name,
//! a name has one file, and no name that lines lead to is that of a rotated file of another name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::opener::mount_points;
use super::path::{shown, walk};
use super::rotate::{numbered_name, unfinished_name};
use super::words;
use crate::config::output::{DATE_WORD, HOST_WORD};
use crate::engine::peer::Host;
use crate::sink::said::Said;

/// What is added to a name: the number of a rotated file, or what one has that is being made or compressed.
const LONGEST_ENDING: usize = ".9999.gz.new".len();
/// The longest name of a file that Linux takes, in bytes.
const NAME_MAX: usize = 255;

/// The names that a pattern makes.
pub(super) struct Names {
    folder: PathBuf,
    /// The pattern below that directory.
    pattern: String,
    trusts_host: bool,
    /// Whether values are what messages say.
    is_said: bool,
}

/// A file, its name, and its number, if it was rotated, else 0.
pub(super) type Found = (PathBuf, String, usize);

/// The directory before the first word of a pattern, and the rest.
pub(super) fn split(pattern: &Path) -> (&str, &str) {
    let text = pattern.to_str().unwrap_or_default();
    let before = words::first(text).map_or(text, |(before, ..)| before);
    text.split_at(before.rfind('/').map_or(0, |slash| slash + 1))
}

/// Whether each part of every name fits into a file's name, and what is added when it is rotated.
pub(super) fn fits(pattern: &str) -> bool {
    let longest = words::longest(pattern);
    longest.split('/').all(|part| part.len() + LONGEST_ENDING <= NAME_MAX)
}

/// The name in that of a file, and its number, if it was rotated.
fn read(pattern: &str, path: &str, trusts_host: bool) -> Option<(String, usize)> {
    let known = |name: &str| words::known_again(pattern, name, trusts_host);
    let rotated = rotated(path).and_then(|(name, number)| Some((known(name)?, number)));
    // The end of an address only looks like a number.
    rotated.or_else(|| Some((known(path)?, 0)))
}

/// Whether a pattern has made a name of a file that was not rotated.
fn has_made(pattern: &[u8], name: &[u8], trusts_host: bool) -> bool {
    let (Ok(pattern), Ok(name)) = (str::from_utf8(pattern), str::from_utf8(name)) else { return false };
    read(pattern, name, trusts_host).is_some_and(|(_, number)| number == 0)
}

/// The same as a claim asks, where hosts are addresses.
pub(super) fn is_made(pattern: &[u8], name: &[u8]) -> bool {
    has_made(pattern, name, false)
}

/// The same where hosts are what messages say.
pub(super) fn is_made_of_anything(pattern: &[u8], name: &[u8]) -> bool {
    has_made(pattern, name, true)
}

impl Names {
    pub(super) fn new(pattern: &Path, trusts_host: bool) -> Self {
        let (folder, inner) = split(pattern);
        Self {
            folder: folder.into(),
            pattern: inner.to_owned(),
            trusts_host,
            is_said: words::is_said(inner, trusts_host),
        }
    }

    /// The directory that all of them are below.
    pub(super) fn folder(&self) -> &Path {
        if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder }
    }

    pub(super) fn pattern(&self) -> &str {
        &self.pattern
    }

    /// How many directories there are between that one and a file.
    pub(super) fn levels(&self) -> usize {
        self.pattern.bytes().filter(|byte| *byte == b'/').count()
    }

    /// Whether senders choose names.
    pub(super) fn is_said(&self) -> bool {
        self.is_said
    }

    /// Whether names hold what headers say.
    pub(super) fn asks_headers(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.is_said && words::asks_headers(&self.pattern, self.trusts_host);
        #[cfg(not(feature = "tls"))]
        return self.is_said;
    }

    /// Whether each day has a file of its own.
    pub(super) fn is_dated(&self) -> bool {
        self.pattern.contains(DATE_WORD)
    }

    /// Writes the name for such a line.
    pub(super) fn put(&self, host: Host, said: &Said, name: &mut String) {
        // `sshd.1` must not become the rotated file of `sshd`, nor 192.0.2.1 that of a host which calls itself 192.0.2.
        // First the dots of what was said go, then those of the sender's address.
        let undotted = said.undotted();
        for said in [*said, undotted, Said { dot: '_', ..undotted }] {
            name.clear();
            words::put(&self.pattern, host, &said, name);
            if !self.is_said || !(self.is_of_rotated(name) || self.owns_addresses(name)) {
                return;
            }
        }
    }

    /// Whether rotated files of this name are called as those of addresses are where no header's host is believed: an earlier
    /// run may have left some.
    fn owns_addresses(&self, name: &mut String) -> bool {
        if !self.trusts_host || !self.pattern.ends_with(HOST_WORD) {
            return false;
        }
        let len = name.len();
        name.push_str(".1");
        let is_one = words::takes(&self.pattern, name, false, None);
        name.truncate(len);
        is_one
    }

    /// Whether this is what a rotated file of another name is called, or one that is being made.
    fn is_of_rotated(&self, name: &str) -> bool {
        let whole = name.strip_suffix(".new").unwrap_or(name);
        let is_name = |name: &str| words::takes(&self.pattern, name, self.trusts_host, None);
        whole.len() < name.len() && is_name(whole) || rotated(whole).is_some_and(|(name, _)| is_name(name))
    }

    /// The name of all lines that have no file of their own.
    pub(super) fn others(&self) -> String {
        words::others(&self.pattern)
    }

    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file by which it is found out whether files can be made.
    pub(super) fn trial(&self) -> PathBuf {
        self.path_of(self.others().split('/').next().unwrap_or_default())
    }

    /// The name of a file that is called so below the directory, and its number, if it was rotated.
    pub(super) fn read(&self, path: &str) -> Option<(String, usize)> {
        read(&self.pattern, path, self.trusts_host)
    }

    /// The files that there are. A directory is none of them.
    ///
    /// # Errors
    /// The directory can't be read.
    pub(super) fn found(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        self.visit(&mut |path, is_folder| {
            let read = self.read(path).filter(|_| !is_folder);
            found.extend(read.map(|(name, number)| (self.path_of(path), name, number)));
        })?;
        Ok(found)
    }

    /// What a kill has left of compressing.
    ///
    /// # Errors
    /// The directory can't be read.
    pub(super) fn unfinished(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        self.visit(&mut |path, is_folder| {
            let plain = unfinished_name(path.as_bytes()).and_then(|name| str::from_utf8(name).ok());
            let is_one = plain.and_then(|name| self.read(name)).is_some_and(|(_, number)| number > 0);
            found.extend(Some(self.path_of(path)).filter(|_| is_one && !is_folder));
        })?;
        Ok(found)
    }

    /// Shows what is in each directory that files may be in, by its path from that on which all are below, and whether it is a
    /// directory.
    ///
    /// # Errors
    /// That one can't be read. Of those below it, what can't be read is left out.
    fn visit(&self, each: &mut dyn FnMut(&str, bool)) -> io::Result<()> {
        self.visit_below("", &self.pattern, each)
    }

    fn visit_below(&self, above: &str, pattern: &str, each: &mut dyn FnMut(&str, bool)) -> io::Result<()> {
        let (part, rest) = pattern.split_once('/').unwrap_or((pattern, ""));
        let mut below = Vec::new();
        walk(&self.folder().join(above), &mut |name, is_folder| {
            let Some(name) = name.to_str() else { return };
            let path = [above, name].concat();
            if rest.is_empty() {
                each(&path, is_folder);
            } else if is_folder && words::takes(part, name, self.trusts_host, None) {
                below.push(path + "/");
            }
        })?;
        for folder in below {
            let _ = self.visit_below(&folder, rest, each);
        }
        Ok(())
    }

    /// What has the name of a file and keeps that from being written or rotated, as a sentence; the first such thing.
    ///
    /// # Errors
    /// The directory can't be read.
    pub(super) fn in_the_way(&self, rotates: bool) -> io::Result<Option<String>> {
        // The name that a new file has first belongs to rotating, too.
        let number_of = |path: &str| {
            let is_new = || self.read(path.strip_suffix(".new")?).map(|_| 1);
            self.read(path).map(|(_, number)| number).or_else(is_new)
        };
        let [no_line, no_rotation] = match self.is_said {
            true => ["no line that belongs there can be written", "no file of that name can be rotated"],
            false => ["no line of its host can be written", "its host's file can't be rotated"],
        };
        let mut taken = None;
        let canonical = fs::canonicalize(self.folder())?;
        self.visit(&mut |path, is_folder| {
            let number = number_of(path).filter(|number| is_folder && taken.is_none() && (*number == 0 || rotates));
            taken = number.map(|number| (canonical.join(path), number)).or_else(|| taken.take());
        })?;
        if let Some((path, number)) = taken {
            let (path, harm) = (shown(&path), if number == 0 { no_line } else { no_rotation });
            return Ok(Some(format!("{path} is a directory, so that {harm}: move that away")));
        }
        let mounts = if rotates { mount_points() } else { Vec::new() };
        let is_one = |path: &&PathBuf| {
            let below = path.strip_prefix(&canonical).ok().and_then(Path::to_str);
            below.and_then(number_of).is_some()
        };
        Ok(mounts.iter().find(is_one).map(|path| {
            let path = shown(path);
            format!("{path} is mounted on its own, so that {no_rotation}: mount the directory instead")
        }))
    }
}

/// The same as [`numbered_name`] of a text.
fn rotated(name: &str) -> Option<(&str, usize)> {
    let (plain, number) = numbered_name(name.as_bytes())?;
    Some((name.get(..plain.len())?, number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::syslog::parse;

    fn names(pattern: &str) -> Names {
        Names::new(Path::new(pattern), true)
    }

    fn name(pattern: &str, app: &str) -> String {
        let mut name = String::new();
        let line = format!("<34>1 - - {app} - - - x");
        names(pattern).put(Host::Unix, &Said::of(parse(line.as_bytes()).as_ref(), true), &mut name);
        name
    }

    #[test]
    fn a_pattern_is_parted_where_the_first_directory_with_a_word_begins() {
        for (pattern, folder, inner) in [
            ("/var/log/{host}/{app}.log", "/var/log/", "{host}/{app}.log"),
            ("{app}.log", ".", "{app}.log"),
            ("./a-{host}/x.log", "./", "a-{host}/x.log"),
            ("/{app}", "/", "{app}"),
            ("/a/{b}/{app}", "/a/{b}/", "{app}"),
        ] {
            let names = names(pattern);
            assert_eq!((names.folder(), names.pattern()), (Path::new(folder), inner));
            assert_eq!(names.path_of(inner), Path::new(pattern));
        }
        for (pattern, plain, trusting) in
            [("{host}.log", false, true), ("{host}-{date}", false, true), ("{app}", true, true)]
        {
            let is_said = |trusts| Names::new(Path::new(pattern), trusts).is_said();
            assert_eq!((is_said(false), is_said(true)), (plain, trusting));
        }
    }

    #[test]
    fn p1_no_name_that_a_sender_chooses_is_that_of_a_rotated_file() {
        for (pattern, app, expected) in [
            ("{app}", "sshd.1", "sshd_1"),
            ("{app}", "sshd.9999", "sshd_9999"),
            ("{app}", "sshd.10000", "sshd.10000"),
            ("{app}", "sshd.0", "sshd.0"),
            ("{app}", "sshd.1.gz", "sshd_1_gz"),
            ("{app}", "sshd.gz", "sshd.gz"),
            ("{app}", "sshd.new", "sshd_new"),
            ("{app}", "a.b", "a.b"),
            ("{app}.1", "sshd.1", "sshd_1.1"),
            ("{app}.log", "sshd.1", "sshd.1.log"),
            ("{host}/{app}", "sshd.1", "unix/sshd_1"),
        ] {
            let name = name(pattern, app);
            assert_eq!(name, expected);
            for ending in ["", ".3", ".3.gz"] {
                let number = if ending.is_empty() { 0 } else { 3 };
                assert_eq!(names(pattern).read(&format!("{name}{ending}")), Some((name.clone(), number)), "{pattern}");
            }
        }
    }

    #[test]
    fn p15_no_host_that_a_header_names_owns_the_files_of_addresses() {
        let peer = Host::V4([192, 0, 2, 1]);
        for (pattern, hostname, expected) in [
            ("{host}", "-", "192_0_2_1"),
            ("{host}", "192.0.2.1", "192_0_2_1"),
            ("{host}", "192.0.2", "192_0_2"),
            // A `.0` is no number of a rotated file, but 10.0.0.7 would be the seventh of this.
            ("{host}", "10.0.0", "10_0_0"),
            ("{severity}/{host}", "10.0.0", "crit/10_0_0"),
            ("{host}", "gw.example", "gw.example"),
            ("{host}.log", "-", "192.0.2.1.log"),
            ("{host}.log", "192.0.2.1", "192.0.2.1.log"),
            ("{host}/{app}", "192.0.2", "192.0.2/a"),
            ("{host}/{app}", "-", "192.0.2.1/a"),
        ] {
            let (line, mut name) = (format!("<34>1 - {hostname} a - - - x"), String::new());
            names(pattern).put(peer, &Said::of(parse(line.as_bytes()).as_ref(), true), &mut name);
            assert_eq!(name, expected, "{pattern} {hostname}");
            assert_eq!(names(pattern).read(&name), Some((name.clone(), 0)));
        }
        // Where headers name no host, an address has its dots.
        let mut name = String::new();
        Names::new(Path::new("{host}"), false).put(peer, &Said::NOTHING, &mut name);
        assert_eq!(name, "192.0.2.1");
    }

    #[test]
    fn p15_whatever_the_header_says_the_file_stays_below_its_directory() {
        // A small generator, so that a failure comes again.
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        const PIECES: &[&str] =
            &["..", "/", ".", "-", "a", "\0", "%2e", "~", "{app}", "\\", ".1", ".new", ".gz", "\u{e9}", "x"];
        for _ in 0..50_000 {
            let mut text = || (0..next() % 12).map(|_| PIECES[next() % PIECES.len()]).collect::<String>();
            let header = format!("<34>1 - {} {} - - - x", text(), text());
            let tag = format!("<34>Nov 16 09:01:02 {} {}: x", text(), text());
            for line in [header, tag] {
                let said = Said::of(parse(line.as_bytes()).as_ref(), true);
                for pattern in ["/logs/{app}", "/logs/{host}/{app}-{severity}.log", "/logs/{facility}.{host}"] {
                    let (names, mut name) = (names(pattern), String::new());
                    names.put(Host::Unix, &said, &mut name);
                    let parts: Vec<&str> = name.split('/').collect();
                    assert_eq!(parts.len(), pattern.matches('/').count() - 1, "{line:?}: {name}");
                    for part in parts {
                        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                        assert!(!part.starts_with(['.', '-']) && part.bytes().all(is_safe), "{line:?}: {name}");
                        assert!(!part.is_empty() && part.len() <= 60, "{line:?}: {name}");
                    }
                    assert_eq!(names.read(&name), Some((name.clone(), 0)), "{line:?}");
                }
            }
        }
    }

    #[test]
    fn p13_a_pattern_that_some_value_does_not_fit_into_is_known() {
        let longest = NAME_MAX - words::longest("{host}").len() - LONGEST_ENDING;
        for (len, expected) in [(longest, true), (longest + 1, false)] {
            assert_eq!(fits(&("x".repeat(len) + "{host}")), expected, "{len}");
            assert_eq!(fits(&("x".repeat(len) + "{host}/{app}")), expected, "{len}");
        }
    }
}
