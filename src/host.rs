//! The box: how many descriptors the process may have, and how much memory there is.
#![cfg_attr(not(feature = "cli"), allow(dead_code))] // most of it is for the door

use std::fs;
use std::path::Path;

#[cfg(feature = "cli")]
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one (P10), and tells what it is then.
#[cfg(feature = "cli")]
#[must_use]
pub(crate) fn raise_descriptor_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return u64::MAX };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// Memory that the process may have, in bytes: that of the box, or of its cgroup if that is less.
#[must_use]
pub(crate) fn memory() -> Option<u64> {
    let limits = [box_memory(), cgroup_v2(), cgroup_v1()];
    limits.into_iter().flatten().min()
}

fn box_memory() -> Option<u64> {
    number_after(Path::new("/proc/meminfo"), "MemTotal:", 0)?.checked_mul(1024)
}

/// The least limit on the way from our cgroup up to the root.
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

/// The most that the kernel lets one TCP connection's receive buffer grow to, in bytes.
#[must_use]
pub(crate) fn tcp_buffer() -> u64 {
    number_after(Path::new("/proc/sys/net/ipv4/tcp_rmem"), "", 2).unwrap_or_default()
}

/// The most that all of TCP may take on this box, in bytes; without end where nothing tells.
#[must_use]
pub(crate) fn tcp_memory() -> u64 {
    let pages = number_after(Path::new("/proc/sys/net/ipv4/tcp_mem"), "", 2);
    let page_kib = number_after(Path::new("/proc/self/smaps"), "KernelPageSize:", 0).unwrap_or(4);
    pages.map_or(u64::MAX, |pages| pages.saturating_mul(page_kib * 1024))
}

/// What a client of a Unix socket may send before it is read, in bytes: its own send buffer.
#[must_use]
pub(crate) fn unix_buffer() -> u64 {
    number_after(Path::new("/proc/sys/net/core/wmem_default"), "", 0).unwrap_or_default()
}

/// What this program takes so far at most, in bytes, with its libraries, and with all of its code that it has not run
/// yet. 4 MiB where nothing tells.
#[must_use]
pub(crate) fn program_memory() -> u64 {
    let [kib, code_kib] = ["VmHWM:", "VmExe:"].map(|name| number_after(Path::new("/proc/self/status"), name, 0));
    (kib.unwrap_or(4096) + code_kib.unwrap_or_default()) * 1024
}

/// Memory that the process takes now, in bytes.
#[cfg(feature = "status")]
#[must_use]
pub(crate) fn resident_memory() -> u64 {
    number_after(Path::new("/proc/self/status"), "VmRSS:", 0).unwrap_or_default() * 1024
}

/// Descriptors that are open.
#[cfg(feature = "status")]
#[must_use]
pub(crate) fn descriptors_in_use() -> u64 {
    let folder = "/proc/self/fd";
    match fs::metadata(folder).map(|folder| folder.len()) {
        // Since 6.2, Linux tells their number as the folder's size.
        Ok(count @ 1..) => count,
        // One is the folder itself.
        _ => fs::read_dir(folder).map_or(0, |entries| entries.count().saturating_sub(1) as u64),
    }
}

/// Descriptors that may be open.
#[cfg(feature = "status")]
#[must_use]
pub(crate) fn descriptor_limit() -> u64 {
    number_after(Path::new("/proc/self/limits"), "Max open files", 0).unwrap_or_default()
}

/// The number after this name, or further on.
#[inline(never)] // one copy, for size
fn number_after(path: &Path, name: &str, at: usize) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.split_once(name)?.1.split_ascii_whitespace().nth(at)?.parse().ok()
}

/// `max`, which is no limit, is no number.
fn number(path: &Path) -> Option<u64> {
    number_after(path, "", 0)
}
