//! A file for each host: `{host}` in the name stands for its address. Invariant: there are never more files than
//! `--host-files` and one, nor more of them open at rest than [`MOST_OPEN`].

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::LogFile;
use super::target::{Books, Target, Wrote};
use super::waiting::Parts;
use crate::engine::output::{HOST_WORD, OutputOptions};
use crate::engine::peer::{Host, Peer};

/// Files that stay open while nothing waits for them: each costs a descriptor, and opening one a few microseconds.
pub(super) const MOST_OPEN: usize = 64;
/// What all of them together may gather (`--flush-every`) before all is written.
pub(super) const MOST_GATHERED: usize = 256 * 1024;
/// The name of the file that hosts share for which there is none.
const OTHERS: &str = "other";

/// The files.
pub(super) struct HostFiles {
    pattern: PathBuf,
    options: OutputOptions,
    /// What stands for the host in the names of the files that there are, in order.
    known: Vec<String>,
    /// Those that are open, or have lines that wait: the one used last is the last.
    open: Vec<(String, LogFile, Reached)>,
    taken: u64,
    waiting: usize,
    /// Somebody was told that a host has to share a file.
    has_told: bool,
}

/// How far a file that is not at rest has come, for what all files together have delivered: no file may be waited for
/// until it is at rest, as one that is always written to never is.
#[derive(Debug, Default)]
struct Reached {
    /// Bytes that it took since it was opened.
    taken: u64,
    /// The position in all that was taken up to which this file's lines are delivered.
    position: u64,
    /// When it has delivered so many of its bytes, its lines are delivered up to that position.
    next: (u64, u64),
}

impl Reached {
    /// It takes `len` bytes, which come behind `position`.
    fn take(&mut self, len: u64, position: u64, was_at_rest: bool) {
        self.taken += len;
        if was_at_rest {
            (self.position, self.next) = (position, (self.taken, position + len));
        }
    }

    /// It has delivered so many of its bytes, and `taken` is what all files took.
    fn look(&mut self, delivered: u64, taken: u64) {
        if delivered >= self.next.0 {
            (self.position, self.next) = (self.next.1, (self.taken, taken));
        }
    }
}

impl HostFiles {
    /// Finds the files that are there already: they count.
    ///
    /// # Errors
    /// The directory can't be read or written to.
    pub(super) fn open(pattern: &Path, options: &OutputOptions) -> io::Result<Self> {
        let folder = pattern.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut known: Vec<String> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let Some(name) = host_in(pattern, &entry?.file_name()) else { continue };
            if let Err(at) = known.binary_search(&name) {
                known.insert(at, name);
            }
        }
        let options = options.clone();
        Ok(Self {
            pattern: pattern.to_owned(),
            options,
            known,
            open: Vec::new(),
            taken: 0,
            waiting: 0,
            has_told: false,
        })
    }

    /// The file of a host, at the end of the list of those that are open.
    fn file_of(&mut self, host: &Host, books: &mut Books) -> Option<&mut (String, LogFile, Reached)> {
        let mut name = safe_name(host);
        if let Err(at) = self.known.binary_search(&name) {
            if self.known.len() < self.options.host_files {
                self.known.insert(at, name.clone());
            } else {
                if !std::mem::replace(&mut self.has_told, true) {
                    let most = self.options.host_files;
                    books
                        .report(format_args!("{most} hosts have a file: further ones share one; --host-files sets it"));
                }
                OTHERS.clone_into(&mut name);
            }
        }
        if let Some(at) = self.open.iter().position(|(known, ..)| *known == name) {
            let last = self.open.len() - 1;
            // Two hosts that speak in turn cost no more than one.
            if last - at > MOST_OPEN / 4 {
                self.open.get_mut(at..).unwrap_or_default().rotate_left(1);
                return self.open.last_mut();
            }
            return self.open.get_mut(at);
        }
        let file = LogFile::new(&path_of(&self.pattern, &name), &self.options, 0);
        self.open.push((name, file, Reached::default()));
        self.open.last_mut()
    }

    /// The least recently used are closed first.
    fn close_some(&mut self) {
        let mut excess = self.open.len().saturating_sub(MOST_OPEN);
        self.open.retain(|(_, file, _)| {
            let closes = excess > 0 && file.is_at_rest();
            excess -= usize::from(closes);
            !closes
        });
    }
}

impl Target for HostFiles {
    fn take(&mut self, peer: &Peer, parts: Parts<'_>, books: &mut Books) {
        let position = self.taken;
        let len = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        self.taken += len;
        if let Some((_, file, reached)) = self.file_of(&peer.host(), books) {
            reached.take(len, position, file.is_at_rest());
            let before = file.waiting();
            file.take(peer, parts, books);
            let after = file.waiting();
            self.waiting = self.waiting + after - before;
        }
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        let is_much = self.waiting > MOST_GATHERED;
        let mut failed = None;
        for (_, file, reached) in &mut self.open {
            if is_much {
                file.hurry();
            }
            // The others are written all the same.
            failed = file.write(now, books).err().or(failed);
            reached.look(file.delivered(), self.taken);
        }
        self.waiting = self.open.iter().map(|(_, file, _)| file.waiting()).sum();
        self.close_some();
        match failed {
            Some(error) => Err(error),
            None if self.waiting == 0 => Ok(Wrote::All),
            None => Ok(Wrote::Later),
        }
    }

    fn waiting(&self) -> usize {
        self.waiting
    }

    fn delivered(&self) -> u64 {
        let busy = self.open.iter().filter(|(_, file, _)| !file.is_at_rest());
        busy.map(|(.., reached)| reached.position).min().unwrap_or(self.taken)
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        let dropped = self.open.iter_mut().map(|(_, file, _)| file.drop_lines());
        let (lines, bytes) = dropped.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        self.waiting -= bytes;
        (lines, bytes)
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        self.open.iter().filter_map(|(_, file, _)| file.due_in(now)).min()
    }

    fn reopen(&mut self) {
        self.open.iter_mut().for_each(|(_, file, _)| file.reopen());
    }

    fn settle(&mut self, now: Duration, books: &mut Books) -> bool {
        self.open.iter_mut().fold(true, |all, (_, file, _)| file.settle(now, books) && all)
    }
}

/// A host as a part of a file's name on any file system, FAT included: `:` becomes `-`, `%` becomes `_`, and the `/64`
/// of an IPv6 network is left out.
fn safe_name(host: &Host) -> String {
    let name = host.to_string();
    name.trim_end_matches("/64").replace(':', "-").replace('%', "_")
}

fn place_of_host(pattern: &[u8]) -> Option<usize> {
    pattern.windows(HOST_WORD.len()).position(|window| window == HOST_WORD.as_bytes())
}

fn path_of(pattern: &Path, name: &str) -> PathBuf {
    let bytes = pattern.as_os_str().as_bytes();
    let Some(at) = place_of_host(bytes) else { return pattern.to_owned() };
    let (before, after) = bytes.split_at(at);
    let after = after.get(HOST_WORD.len()..).unwrap_or_default();
    OsString::from_vec([before, name.as_bytes(), after].concat()).into()
}

/// What stands for the host in a file's name, if that is one of ours.
fn host_in(pattern: &Path, file_name: &std::ffi::OsStr) -> Option<String> {
    let pattern = pattern.file_name()?.as_bytes();
    let at = place_of_host(pattern)?;
    let (before, after) = pattern.split_at(at);
    let name = file_name.as_bytes().strip_prefix(before)?;
    let name = name.strip_suffix(after.get(HOST_WORD.len()..)?)?;
    let is_ours = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_hexdigit() || b".-_unix".contains(byte));
    is_ours.then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_name_is_safe_and_no_two_share_one() {
        let peer = |text: &str| Peer::from(text.parse::<std::net::SocketAddr>().unwrap()).host();
        for (host, name) in [
            (peer("192.0.2.7:1"), "192.0.2.7"),
            (peer("[2001:db8:0:1::7]:1"), "2001-db8-0-1--"),
            (peer("[fe80::1%2]:1"), "fe80--1_2"),
            (Host::Unix, "unix"),
        ] {
            assert_eq!(safe_name(&host), name);
            let pattern = Path::new("/logs/a-{host}.log");
            let path = path_of(pattern, name);
            assert_eq!(path, PathBuf::from(format!("/logs/a-{name}.log")));
            assert_eq!(host_in(pattern, path.file_name().unwrap()).as_deref(), Some(name));
        }
        assert_eq!(host_in(Path::new("{host}.log"), std::ffi::OsStr::new("syslog.log")), None);
    }
}
