//! The box: how many descriptors the process may have, and how much memory there is.

use std::fs;
use std::path::Path;

/// Raises the soft limit on open files to the hard one (P10), and tells what it is then.
#[must_use]
pub(crate) fn raise_descriptor_limit() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or(u64::MAX)
}

/// Memory that the process may have, in bytes: that of the box, or of its cgroup if that is less.
#[must_use]
pub(crate) fn memory() -> Option<u64> {
    let limits = [box_memory(), cgroup_v2(), cgroup_v1()];
    limits.into_iter().flatten().min()
}

fn box_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<u64>().ok()?.checked_mul(1024)
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

/// `max`, which is no limit, is no number.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
