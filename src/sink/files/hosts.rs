//! A file for each host: `{host}` in the name stands for its address. Invariant: there are never more files than
//! `--host-files` and one, each with its rotated ones, nor more of them open at rest than [`most_open`], and as many again
//! while they are synced.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::log_file::{Age, LogFile, check_folder_of, is_disk_full, note_removed};
use super::path::{folder_of, shown};
use super::rotate::{numbered_name, remove, remove_counted};
use super::single::{note_sync, syncs_of};
use super::sync::{Syncs, most_descriptors};
use crate::config::output::{DiskFull, HOST_WORD, OutputOptions};
use crate::engine::peer::{Host, Peer};
use crate::sink::place::{DiskUse, Identity, Kept, Opened, OutputAddr, OutputAddrError, Place};
use crate::sink::target::{Books, Standing, Target, Took, Whose, Wrote};
use crate::sink::waiting::{Parts, len_of};

/// Reads a file's name that holds `{host}`.
pub(in crate::sink) fn parse(text: &str) -> Option<Result<OutputAddr, OutputAddrError>> {
    let rest = text.get(text.find(HOST_WORD)? + HOST_WORD.len()..).unwrap_or_default();
    Some(if rest.contains('/') || rest.contains(HOST_WORD) {
        Err(OutputAddrError("{host} may stand once, in the file's name, not in a directory's"))
    } else {
        Ok(OutputAddr::new(HostFilesPlace(text.into())))
    })
}

/// The pattern of their paths.
struct HostFilesPlace(PathBuf);

impl fmt::Display for HostFilesPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Place for HostFilesPlace {
    fn open(&self, options: &OutputOptions, books: &mut Books) -> io::Result<Opened> {
        let files = HostFiles::open(&self.0, options, books)?;
        let identity = files.identity();
        Ok(Opened { target: Box::new(files), identity })
    }

    fn descriptors(&self, options: &OutputOptions) -> usize {
        match most_descriptors(options.sync) {
            0 => most_open(options) + 2,
            // Those that are being synced may have been closed by us meanwhile.
            syncs => 2 * most_open(options) + 2 + syncs,
        }
    }

    fn kept(&self, options: &OutputOptions) -> Kept {
        Kept { bytes: if options.flush_every.is_zero() { 0 } else { MOST_GATHERED }, holds_a_line: false }
    }

    fn disk(&self, options: &OutputOptions) -> DiskUse {
        DiskUse::Files(options.host_files as u64 + 1)
    }

    fn file(&self) -> Option<&Path> {
        Some(&self.0)
    }
}

/// Files that stay open while nothing waits for them: a descriptor each, and some memory of the kernel. Opening one
/// costs as much as writing some lines; with `--sync`, one that is closed may be synced early.
const MOST_OPEN: usize = 256;
/// How many are closed at once: finding those that were used least recently costs a look at all.
const CLOSED_AT_ONCE: usize = 16;
/// What all of them together may gather (`--flush-every`) before all is written.
const MOST_GATHERED: usize = 256 * 1024;
/// The name of the file that hosts share for which there is none.
const OTHERS: &[u8] = b"other";

/// Whose file it is; `None`: that of all others.
type Owner = Option<Host>;

/// The files.
struct HostFiles {
    pattern: PathBuf,
    name: String,
    options: OutputOptions,
    removes_when_full: bool,
    /// The hosts for which there is a file, in order, and how old it is, for one that was closed.
    known: Vec<(Host, Age)>,
    /// Those that are open, or have lines that wait, by owner.
    open: Vec<Open>,
    syncs: Option<Syncs>,
    taken: u64,
    waiting: usize,
    /// The position up to which all is written, if something waits.
    written: u64,
    /// A position that is to be the next: when each file has written up to its own mark.
    checkpoint: u64,
    /// The time of the last write.
    now: Duration,
    /// What [`Target::due_in`] says: when a file is to be written to though nothing came.
    due_at: Option<Duration>,
    /// Whose file tells of what is missing: that of the host whose lines were lost last.
    marked: Owner,
    /// Somebody was told that a host has to share a file.
    has_told: bool,
}

struct Open {
    owner: Owner,
    file: LogFile,
    /// The position at which it was last used.
    used: u64,
    /// The position within the file up to which it had taken lines at the checkpoint.
    mark: u64,
    /// A write in the middle of a turn was refused: the next waits for the flush.
    is_refused: bool,
}

/// Where in the list of known hosts one is, or would be.
#[inline(never)] // one copy, for size
fn place_in(known: &[(Host, Age)], host: Host) -> Result<usize, usize> {
    known.binary_search_by_key(&host, |known| known.0)
}

/// How many files stay open at rest.
fn most_open(options: &OutputOptions) -> usize {
    MOST_OPEN.min(options.host_files.saturating_add(1))
}

impl HostFiles {
    /// Finds the files that are there already: they count. Rotated ones beyond what is to be kept are removed.
    ///
    /// # Errors
    /// The directory can't be read, or no files be made in it.
    fn open(pattern: &Path, options: &OutputOptions, books: &mut Books) -> io::Result<Self> {
        check_folder_of(&path_of(pattern, b"any"))?;
        let mut known: Vec<(Host, Age)> = Vec::new();
        for (path, owner, number) in found(pattern)? {
            if number > 0 && !options.rotates() {
                continue;
            }
            if number > options.rotate_keep {
                if remove(&path)? {
                    books.report(format_args!("removed {}, beyond --rotate-keep", shown(&path)));
                }
                continue;
            }
            let Some(host) = owner else { continue };
            if let Err(at) = place_in(&known, host) {
                known.insert(at, (host, Age::Unknown));
            }
        }
        // The oldest file of all hosts is removed here, not that of the one who met the full disk.
        let removes_when_full = options.disk_full == DiskFull::DropOldest;
        Ok(Self {
            pattern: pattern.to_owned(),
            name: shown(pattern),
            options: OutputOptions { disk_full: DiskFull::Wait, ..options.clone() },
            removes_when_full,
            syncs: syncs_of(pattern, options),
            known,
            open: Vec::new(),
            taken: 0,
            waiting: 0,
            written: 0,
            checkpoint: 0,
            now: Duration::ZERO,
            due_at: None,
            marked: None,
            has_told: false,
        })
    }

    /// Device and number of the directory, and the name in it: what tells whether two outputs write to the same files.
    fn identity(&self) -> Option<Identity> {
        let found = fs::metadata(folder_of(&self.pattern)).ok()?;
        Some((found.dev(), found.ino(), self.pattern.file_name()?.to_owned()))
    }

    fn path_of(&self, owner: Owner) -> PathBuf {
        path_of(&self.pattern, &owner.map_or_else(|| OTHERS.to_owned(), |host| safe_name(&host)))
    }

    /// Whose file a host's lines go to.
    fn owner_of(&mut self, host: Host, books: &mut Books) -> Owner {
        if self.find(Some(host)).is_ok() {
            return Some(host);
        }
        let Err(at) = place_in(&self.known, host) else { return Some(host) };
        let most = self.options.host_files;
        if self.known.len() < most {
            self.known.insert(at, (host, Age::Unknown));
            return Some(host);
        }
        if !std::mem::replace(&mut self.has_told, true) {
            books.report(format_args!("{most} hosts have a file: further ones share one; --host-files sets it"));
        }
        None
    }

    #[inline(never)] // one copy, for size
    fn find(&self, owner: Owner) -> Result<usize, usize> {
        self.open.binary_search_by_key(&owner, |open| open.owner)
    }

    /// Where in the list the file of an owner is, which need not be open yet.
    fn place_of(&mut self, owner: Owner) -> usize {
        self.find(owner).unwrap_or_else(|at| {
            let mut file = LogFile::new(&self.path_of(owner), &self.options, 0);
            let known = owner.and_then(|host| place_in(&self.known, host).ok());
            file.set_age(known.and_then(|at| self.known.get(at)).map_or(Age::Unknown, |known| known.1));
            self.open.insert(at, Open { owner, file, used: 0, mark: 0, is_refused: false });
            at
        })
    }

    /// One file was opened: the least recently used are closed, if there are too many now.
    fn close_some(&mut self, books: &mut Books) {
        let most = most_open(&self.options);
        let count = self.open.iter().filter(|open| open.file.is_open()).count();
        if count <= most {
            return;
        }
        for _ in most.saturating_sub(CLOSED_AT_ONCE.min(most / 4))..count {
            let closable = self.open.iter_mut().filter(|open| open.file.is_closable());
            let Some(oldest) = closable.min_by_key(|open| open.used) else { return };
            let owner = oldest.owner;
            oldest.file.close();
            if let Ok(at) = self.find(owner) {
                self.hand_over(at, books);
            }
        }
    }

    /// What the file at this place in the list has left is to be synced: at once, if that is too much already.
    fn hand_over(&mut self, at: usize, books: &mut Books) {
        let (Some(syncs), Some(open)) = (&mut self.syncs, self.open.get_mut(at)) else { return };
        open.file.hand_over(syncs);
        if syncs.is_crowded() {
            self.sync(books);
        }
    }

    fn sync(&mut self, books: &mut Books) {
        let written = self.written();
        let (Some(syncs), open) = (&mut self.syncs, &mut self.open) else { return };
        let mut dirty = || open.iter_mut().filter_map(|open| open.file.dirty()).collect();
        note_sync(syncs.go_on(self.now, written, &mut dirty), &self.name, books);
    }

    /// What is closed and has nothing to write is known by its host alone.
    fn forget_closed(&mut self) {
        let known = &mut self.known;
        self.open.retain(|open| {
            let is_at_rest = !open.file.is_open() && open.file.waiting() == 0;
            let at = open.owner.and_then(|host| place_in(known, host).ok());
            if let Some(known) = at.and_then(|at| known.get_mut(at)).filter(|_| is_at_rest) {
                known.1 = open.file.age();
            }
            !is_at_rest
        });
    }

    /// Writes the file at this place in the list. If the disk is full, and the oldest file may go, it is tried once more;
    /// the next may go when that has helped.
    fn write_one(&mut self, at: usize, may_remove: &mut bool, books: &mut Books) -> io::Result<()> {
        loop {
            let Some(open) = self.open.get_mut(at) else { return Ok(()) };
            let (before, was_open) = (open.file.waiting(), open.file.is_open());
            let written = open.file.write(self.now, books);
            open.is_refused = written.is_err();
            self.waiting = self.waiting + open.file.waiting() - before;
            let owner = open.owner;
            if !was_open && open.file.is_open() {
                self.close_some(books);
            }
            self.hand_over(at, books);
            let Err(error) = written else {
                *may_remove = self.removes_when_full;
                return Ok(());
            };
            let removes = is_disk_full(&error) && std::mem::replace(may_remove, false);
            if !removes || !self.remove_oldest(books)? {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", shown(&self.path_of(owner)))));
            }
        }
    }

    /// `--disk-full drop-oldest`: the rotated file that was written to longest ago goes, whosever it is.
    fn remove_oldest(&mut self, books: &mut Books) -> io::Result<bool> {
        let written_at = |path: &Path| fs::symlink_metadata(path).and_then(|found| found.modified());
        let rotated = found(&self.pattern)?.into_iter().filter(|(_, _, number)| *number > 0);
        let oldest = rotated.min_by_key(|(path, _, _)| written_at(path).unwrap_or(SystemTime::UNIX_EPOCH));
        let Some((path, owner, _)) = oldest else { return Ok(false) };
        let Some(removed) = remove_counted(path)? else { return Ok(false) };
        self.marked = owner;
        note_removed(&removed, books);
        Ok(true)
    }

    /// The position up to which all is written.
    fn written(&self) -> u64 {
        if self.waiting == 0 { self.taken } else { self.written }
    }

    /// While some file always waits on purpose, all is written up to the last checkpoint that every file has passed.
    fn note_written(&mut self) {
        if self.waiting == 0 {
            (self.written, self.checkpoint) = (self.taken, self.taken);
        } else if self.open.iter().all(|open| open.file.written() >= open.mark) {
            (self.written, self.checkpoint) = (self.checkpoint, self.taken);
            self.open.iter_mut().for_each(|open| open.mark = open.file.taken());
        }
    }
}

impl Target for HostFiles {
    fn take(&mut self, whose: Whose<'_>, parts: Parts<'_>, may_write: bool, books: &mut Books) -> Took {
        self.taken += len_of(parts) as u64;
        let owner = match whose {
            Whose::Client(peer) => self.owner_of(peer.host(), books),
            Whose::Mark => self.marked,
        };
        let used = self.taken;
        let at = self.place_of(owner);
        let Some(open) = self.open.get_mut(at) else { return Took::Waits };
        open.used = used;
        let (before, was_open) = (open.file.waiting(), open.file.is_open());
        // That the file of one host was refused is no reason to write no other: its own turn comes at the flush.
        let took = open.file.take(parts, may_write && !open.is_refused, books);
        open.is_refused |= took == Took::Refused;
        self.waiting = self.waiting + open.file.waiting() - before;
        if !was_open && open.file.is_open() {
            self.due_at = Some(Duration::ZERO);
            self.close_some(books);
        }
        self.hand_over(at, books);
        if took == Took::Waits { Took::Waits } else { Took::Written }
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        self.now = now;
        let is_much = self.waiting > MOST_GATHERED;
        let mut may_remove = self.removes_when_full;
        let mut result = Ok(());
        for at in 0..self.open.len() {
            let Some(open) = self.open.get_mut(at) else { break };
            if is_much {
                open.file.hurry();
            }
            if open.file.is_due(now) {
                // The others are written all the same.
                result = self.write_one(at, &mut may_remove, books).and(result);
            }
        }
        self.forget_closed();
        self.note_written();
        let due_in = self.open.iter().filter_map(|open| open.file.due_in(now)).min();
        self.due_at = due_in.map(|wait| now + wait);
        self.sync(books);
        result.map(|()| if self.waiting == 0 { Wrote::All } else { Wrote::Later })
    }

    fn standing(&self) -> Standing {
        let delivered = self.syncs.as_ref().map_or_else(|| self.written(), Syncs::synced);
        Standing { waiting: self.waiting, held: self.waiting, delivered }
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        let dropped = self.open.iter_mut().map(|open| open.file.drop_lines());
        let (lines, bytes) = dropped.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        self.waiting -= bytes;
        (lines, bytes)
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        let sync = self.syncs.as_ref().and_then(|syncs| syncs.due_in(now, self.written()));
        self.due_at.map(|at| at.saturating_sub(now)).into_iter().chain(sync).min()
    }

    fn reopen(&mut self) {
        self.due_at = Some(Duration::ZERO);
        self.open.iter_mut().for_each(|open| open.file.reopen());
    }

    fn settle(&mut self, _: Duration, books: &mut Books) -> bool {
        self.open.iter_mut().for_each(|open| open.file.end());
        if self.waiting > 0 {
            self.due_at = Some(Duration::ZERO);
            return false;
        }
        let written = self.written();
        if let Some(syncs) = &mut self.syncs {
            let files: Vec<Arc<_>> = self.open.iter_mut().filter_map(|open| open.file.dirty()).collect();
            note_sync(syncs.last(written, files), &self.name, books);
        }
        true
    }
}

/// A host as a part of a file's name on any file system, FAT included: `:` becomes `-`, `%` becomes `_`, and the `/64`
/// of an IPv6 network is left out.
#[inline(never)] // one copy, for size
fn safe_name(host: &Host) -> Vec<u8> {
    let mut name = host.to_string().into_bytes();
    if name.ends_with(b"/64") {
        name.truncate(name.len() - 3);
    }
    exchange(&mut name, *b":%", *b"-_");
    name
}

/// The host that [`safe_name`] made this name of, if it is one.
fn host_of(name: &[u8]) -> Option<Host> {
    let mut text = name.to_owned();
    exchange(&mut text, *b"-_", *b":%");
    let text = str::from_utf8(&text).ok()?;
    let (ip, scope) = text.split_once('%').unwrap_or((text, "0"));
    let host = match ip.parse() {
        Ok(IpAddr::V4(ip)) => Host::V4(ip.octets()),
        Ok(IpAddr::V6(ip)) => Peer::from(SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, scope.parse().ok()?))).host(),
        Err(_) => Host::Unix,
    };
    (safe_name(&host) == name).then_some(host)
}

fn exchange(name: &mut [u8], from: [u8; 2], to: [u8; 2]) {
    for byte in name {
        for (from, to) in from.into_iter().zip(to) {
            if *byte == from {
                *byte = to;
            }
        }
    }
}

fn place_of_host(pattern: &[u8]) -> Option<usize> {
    pattern.windows(HOST_WORD.len()).position(|window| window == HOST_WORD.as_bytes())
}

fn path_of(pattern: &Path, name: &[u8]) -> PathBuf {
    let bytes = pattern.as_os_str().as_bytes();
    let Some(at) = place_of_host(bytes) else { return pattern.to_owned() };
    let (before, after) = bytes.split_at(at);
    let after = after.get(HOST_WORD.len()..).unwrap_or_default();
    OsString::from_vec([before, name, after].concat()).into()
}

/// Whose file has this name.
fn owner_in(pattern: &Path, file_name: &[u8]) -> Option<Owner> {
    let pattern = pattern.file_name()?.as_bytes();
    let (before, after) = pattern.split_at(place_of_host(pattern)?);
    let name = file_name.strip_prefix(before)?.strip_suffix(after.get(HOST_WORD.len()..)?)?;
    if name == OTHERS { Some(None) } else { host_of(name).map(Some) }
}

/// The files of hosts that there are: each with its owner, and its number if it was rotated, else 0.
fn found(pattern: &Path) -> io::Result<Vec<(PathBuf, Owner, usize)>> {
    let folder = folder_of(pattern);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let rotated = |name| numbered_name(name).and_then(|(base, number)| Some((owner_in(pattern, base)?, number)));
        // First as it is: the end of an address looks like a number.
        let owner = owner_in(pattern, name.as_bytes()).map(|owner| (owner, 0));
        if let Some((owner, number)) = owner.or_else(|| rotated(name.as_bytes())) {
            files.push((folder.join(&name), owner, number));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Host {
        Peer::from(text.parse::<SocketAddr>().unwrap()).host()
    }

    /// Files in a directory of this test's own, which is gone with them.
    struct Fixture {
        files: HostFiles,
        folder: PathBuf,
        books: Books,
    }

    impl Fixture {
        fn new(name: &str, options: &OutputOptions) -> Self {
            let folder = std::env::temp_dir().join(format!("lumberjack-hosts-{}-{name}", std::process::id()));
            fs::create_dir(&folder).unwrap();
            let mut books = Books::default();
            let files = HostFiles::open(&folder.join("{host}"), options, &mut books).unwrap();
            Self { files, folder, books }
        }

        fn take(&mut self, host: u16, line: &[u8]) {
            let [high, low] = host.to_be_bytes();
            let peer = Peer::V4 { ip: [10, 0, high, low], port: 1 };
            self.files.take(Whose::Client(&peer), [line, b"", b""], true, &mut self.books);
        }

        fn write(&mut self, seconds: u64) -> Wrote {
            self.files.write(Duration::from_secs(seconds), &mut self.books).unwrap()
        }

        fn is_open(&self, host: u16) -> bool {
            let [high, low] = host.to_be_bytes();
            let at = self.files.find(Some(Host::V4([10, 0, high, low])));
            at.is_ok_and(|at| self.files.open[at].file.is_open())
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn the_least_recently_used_is_closed_first() {
        let mut fixture = Fixture::new("used", &OutputOptions { host_files: 1000, ..OutputOptions::default() });
        (0..256).for_each(|host| fixture.take(host, b"line\n"));
        assert_eq!(fixture.write(1), Wrote::All);
        assert!((0..256).all(|host| fixture.is_open(host)));
        fixture.take(0, b"again\n");
        fixture.take(256, b"line\n");
        fixture.write(2);
        let closed: Vec<u16> = (0..257).filter(|host| !fixture.is_open(*host)).collect();
        assert_eq!(closed, (1..=17).collect::<Vec<u16>>(), "some at once, and the first not among them");
        assert_eq!(fixture.files.open.len(), 257 - 17);
        fixture.take(1, b"back\n");
        fixture.write(3);
        assert_eq!(fs::read(fixture.folder.join("10.0.0.1")).unwrap(), b"line\nback\n");
    }

    #[test]
    fn what_is_delivered_is_known_though_some_file_always_gathers() {
        let options = OutputOptions { flush_every: Duration::from_secs(10), ..OutputOptions::default() };
        let mut fixture = Fixture::new("gathers", &options);
        let mut last = 0;
        for second in 0..100 {
            // Four hosts in turn, so that something waits at every moment.
            if second % 2 == 0 {
                fixture.take(second / 2 % 4, b"line\n");
            }
            fixture.write(u64::from(second));
            let delivered = fixture.files.standing().delivered;
            assert!(delivered >= last, "it never goes back");
            let taken = u64::from(second / 2 + 1) * 5;
            assert!(fixture.files.waiting > 0 && delivered <= taken - fixture.files.waiting as u64);
            // A checkpoint is passed ten seconds after it was made, and the next is made then.
            assert!(second < 20 || delivered + 5 * 11 >= taken, "{delivered} of {taken} at {second}");
            last = delivered;
        }
    }

    #[test]
    fn a_file_that_was_closed_does_not_get_younger() {
        let options =
            OutputOptions { host_files: 1000, rotate_age: Duration::from_secs(1000), ..OutputOptions::default() };
        let mut fixture = Fixture::new("age", &options);
        fixture.take(0, b"line\n");
        fixture.write(0);
        (1..300).for_each(|host| fixture.take(host, b"line\n"));
        fixture.write(900);
        assert!(!fixture.is_open(0));
        fixture.take(0, b"more\n");
        fixture.write(999);
        assert!(!fs::exists(fixture.folder.join("10.0.0.0.1")).unwrap(), "not old yet");
        fixture.write(1000);
        assert_eq!(fs::read(fixture.folder.join("10.0.0.0.1")).unwrap(), b"line\nmore\n");
        assert!(!fs::exists(fixture.folder.join("10.0.0.1.1")).unwrap(), "begun 900 s later");
    }

    #[test]
    fn a_hosts_name_is_safe_and_leads_back_to_it() {
        for (host, name) in [
            (peer("192.0.2.7:1"), "192.0.2.7"),
            (peer("[2001:db8:0:1::7]:1"), "2001-db8-0-1--"),
            (peer("[fe80::1%2]:1"), "fe80--1_2"),
            (Host::Unix, "unix"),
        ] {
            assert_eq!(safe_name(&host), name.as_bytes());
            for pattern in ["/logs/a-{host}.log", "{host}", "{host}.1"] {
                let pattern = Path::new(pattern);
                let path = path_of(pattern, name.as_bytes());
                assert_eq!(path, PathBuf::from(pattern.to_str().unwrap().replace("{host}", name)));
                assert_eq!(owner_in(pattern, path.file_name().unwrap().as_bytes()), Some(Some(host)));
            }
        }
        assert_eq!(owner_in(Path::new("{host}.log"), b"other.log"), Some(None));
    }

    #[test]
    fn what_only_looks_like_a_hosts_file_is_none() {
        for name in
            ["syslog.log", "1.2.3.log", "1.2.3.4.5.log", "01.2.3.4.log", "2001-DB8--.log", "fe80--1_x.log", ".log"]
        {
            assert_eq!(owner_in(Path::new("{host}.log"), name.as_bytes()), None, "{name}");
        }
    }
}
