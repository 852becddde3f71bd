//! What this machine ("the box") gives to the process: how many descriptors it may open, how much memory there
//! is, its groups, and where it may write.
//! All of it is read from `/proc`, `/sys` and the limits of the process; what can't be read is `None` or a stated default.
#![cfg_attr(not(feature = "cli"), allow(dead_code))] // most of it is for the program

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(feature = "cli")]
use nix::errno::Errno;
#[cfg(feature = "cli")]
use nix::sys::resource::{Resource, getrlimit, setrlimit};
#[cfg(feature = "cli")]
use nix::unistd::{AccessFlags, access};

/// Raises the soft limit on open files to the hard one (P10). Returns the limit that holds then, or `u64::MAX` if it can't
/// be read.
#[cfg(feature = "cli")]
#[must_use]
pub(crate) fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Bytes of memory that the process may take: all of the machine's, or the limit of its cgroup if that is less.
#[must_use]
pub(crate) fn memory() -> Option<u64> {
    let limits = [box_memory(), cgroup_v2(), cgroup_v1()];
    limits.into_iter().flatten().min()
}

fn box_memory() -> Option<u64> {
    number_after(Path::new("/proc/meminfo"), "MemTotal:", 0)?.checked_mul(1024)
}

/// The smallest of the memory limits of our cgroup and of all cgroups above it.
fn cgroup_v2() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    root.join(own)
        .ancestors()
        .take_while(|path| path.starts_with(root))
        .filter_map(|path| number(&path.join("memory.max")))
        .min()
}

fn cgroup_v1() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.split_once(":memory:/"))?.1;
    let root = Path::new("/sys/fs/cgroup/memory");
    number(&root.join(own).join("memory.limit_in_bytes")).or_else(|| number(&root.join("memory.limit_in_bytes")))
}

/// The most bytes that the kernel lets the receive buffer of one TCP connection grow to.
#[must_use]
pub(crate) fn tcp_buffer() -> u64 {
    number_after(Path::new("/proc/sys/net/ipv4/tcp_rmem"), "", 2).unwrap_or_default()
}

/// The most bytes of memory that all TCP sockets of this machine may take together, or `u64::MAX` if that can't be read.
#[must_use]
pub(crate) fn tcp_memory() -> u64 {
    let pages = number_after(Path::new("/proc/sys/net/ipv4/tcp_mem"), "", 2);
    let page_kib = number_after(Path::new("/proc/self/smaps"), "KernelPageSize:", 0).unwrap_or(4);
    pages.map_or(u64::MAX, |pages| pages.saturating_mul(page_kib * 1024))
}

/// The most bytes that a client of a Unix socket can send before we read any: the default size of a send buffer.
#[must_use]
pub(crate) fn unix_buffer() -> u64 {
    number_after(Path::new("/proc/sys/net/core/wmem_default"), "", 0).unwrap_or_default()
}

/// The size of a receive buffer of UDP that is not asked for, and the most that can be asked for.
#[must_use]
pub(crate) fn udp_buffers() -> (u64, u64) {
    let [own, most] = ["/proc/sys/net/core/rmem_default", "/proc/sys/net/core/rmem_max"]
        .map(|file| number_after(Path::new(file), "", 0).unwrap_or_default());
    (own, most)
}

/// How many datagrams the kernel has dropped at the UDP socket with this inode, modulo 2^32.
#[cfg(feature = "udp")]
#[must_use]
pub(crate) fn udp_drops(inode: u64) -> Option<u32> {
    // In a line of these tables: a time-out, which UDP does not have, the inode, references, an address, drops.
    let name = format!(" 0 {inode} ");
    let drops = ["/proc/net/udp", "/proc/net/udp6"].iter().find_map(|table| number_after(Path::new(table), &name, 2));
    u32::try_from(drops?).ok()
}

/// The most bytes of memory that this process has taken so far, and the size of its code, since not every page of it is
/// loaded yet. 4 MiB stands for the first if it can't be read.
#[must_use]
pub(crate) fn program_memory() -> u64 {
    let [kib, code_kib] = ["VmHWM:", "VmExe:"].map(|name| number_after(Path::new("/proc/self/status"), name, 0));
    (kib.unwrap_or(4096) + code_kib.unwrap_or_default()) * 1024
}

/// Bytes of memory that the process takes now; 0 if that can't be read.
#[cfg(feature = "status")]
#[must_use]
pub(crate) fn resident_memory() -> u64 {
    number_after(Path::new("/proc/self/status"), "VmRSS:", 0).unwrap_or_default() * 1024
}

/// How many descriptors the process has open.
#[cfg(feature = "status")]
#[must_use]
pub(crate) fn descriptors_in_use() -> u64 {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).map(|folder| folder.len()) {
        // Since Linux 6.2 the size of the folder is their number.
        Ok(count @ 1..) => count,
        // One of the entries is the descriptor by which the folder is being read.
        _ => fs::read_dir(folder).map_or(0, |entries| entries.count().saturating_sub(1) as u64),
    }
}

/// The number of a group, as /etc/group has it: what else a libc may ask is not there in a static program.
///
/// # Errors
/// The file can't be read.
#[cfg(feature = "cli")]
pub(crate) fn group_number(name: &str) -> io::Result<Option<u32>> {
    let groups = fs::read("/etc/group")?;
    let groups = String::from_utf8_lossy(&groups);
    let number = |line: &str| {
        let mut fields = line.split(':');
        fields.next().filter(|found| *found == name)?;
        u32::try_from(number_of(fields.nth(1)?)?).ok()
    };
    Ok(groups.lines().find_map(number))
}

/// Whether this process may write to a file, or make files in a directory.
///
/// # Errors
/// It may not; or there is neither.
#[cfg(feature = "cli")]
pub(crate) fn may_write(path: &Path) -> io::Result<()> {
    let search = if path.is_dir() { AccessFlags::X_OK } else { AccessFlags::empty() };
    access(path, AccessFlags::W_OK | search).map_err(io::Error::from)
}

/// Bytes that this process may still write to the file system of a path; `None` where that can't be told.
#[cfg(all(feature = "cli", feature = "spool"))]
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let found = nix::sys::statvfs::statvfs(path).ok()?;
    // How wide these are depends on the target.
    fn wide(number: impl TryInto<u64>) -> u64 {
        number.try_into().unwrap_or(u64::MAX)
    }
    Some(wide(found.blocks_available()).saturating_mul(wide(found.fragment_size())))
}

/// Whether this process is confined to places that it had at its start (`--sandbox`).
static IS_FENCED: AtomicBool = AtomicBool::new(false);

/// From now on it is.
#[cfg(feature = "sandbox")]
pub(crate) fn set_fenced() {
    IS_FENCED.store(true, Ordering::Relaxed);
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenFor {
    /// Its bytes.
    Reading,
    /// Ours; it is made if there is none.
    Writing,
}

/// What else may be behind an error that a file can't be opened: the end of a sentence, or nothing. Nothing where owner and mode of
/// the file or its directory are the cause: those this process's confinement does not touch, and a restart would not cure them.
pub(crate) fn behind_it(error: &io::Error, path: &Path, what: OpenFor) -> &'static str {
    let is_fenced = error.kind() == io::ErrorKind::PermissionDenied && IS_FENCED.load(Ordering::Relaxed);
    if is_fenced && modes_allow(path, what) {
        "; --sandbox reaches only what was there at the start: restart"
    } else {
        ""
    }
}

/// Whether owner, group and mode let this process open a file. The kernel's rules for a confined process are not asked here.
#[cfg(feature = "cli")]
fn modes_allow(path: &Path, what: OpenFor) -> bool {
    let asked = match what {
        OpenFor::Reading => access(path, AccessFlags::R_OK),
        OpenFor::Writing => access(path, AccessFlags::W_OK),
    };
    match asked {
        // A new file is made in its directory.
        Err(Errno::ENOENT) => {
            path.parent().is_some_and(|folder| access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok())
        }
        asked => asked.is_ok(),
    }
}

/// Nothing confines the process of an embedder from here.
#[cfg(not(feature = "cli"))]
fn modes_allow(_: &Path, _: OpenFor) -> bool {
    false
}

/// How many descriptors may be open; without end where nothing tells.
#[must_use]
pub(crate) fn descriptor_limit() -> u64 {
    number_after(Path::new("/proc/self/limits"), "Max open files", 0).unwrap_or(u64::MAX)
}

/// The word at a place of a text, counted from 0.
#[inline(never)] // one copy, for size
pub(crate) fn word(text: &str, at: usize) -> Option<&str> {
    text.split_ascii_whitespace().nth(at)
}

#[inline(never)] // one copy, for size
fn number_of(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// A number in a file of words: of the words after `name`, the one at place `at`, counted from 0.
#[inline(never)] // one copy, for size
fn number_after(path: &Path, name: &str, at: usize) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    number_of(word(text.split_once(name)?.1, at)?)
}

/// The number that a file holds. `None` for `max`, which stands for no limit.
fn number(path: &Path) -> Option<u64> {
    number_after(path, "", 0)
}

/// What this box is called, as the kernel has it; `box` if it says nothing.
#[cfg(any(feature = "nats", feature = "push"))]
pub(crate) fn name() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match text.trim() {
        "" => "box".to_owned(),
        name => name.to_owned(),
    }
}
