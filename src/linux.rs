//! Numbers of Linux that `std` has no names for; the same on every architecture that Rust's `std` supports but MIPS and
//! SPARC where that is said.

use std::io;

/// `send` returns an error in place of SIGPIPE.
pub(crate) const MSG_NOSIGNAL: i32 = 0x4000;
/// `send` does not wait.
pub(crate) const MSG_DONTWAIT: i32 = 0x40;
/// A descriptor that never waits.
pub(crate) const O_NONBLOCK: i32 = 0o4000;
/// A terminal that is opened does not become ours.
pub(crate) const O_NOCTTY: i32 = 0o400;
/// What a terminal says that has hung up, and a device that went; the second also where a process has no terminal.
pub(crate) const EIO: i32 = 5;
pub(crate) const ENXIO: i32 = 6;
pub(crate) const ENODEV: i32 = 19;
/// A connect goes on by itself.
pub(crate) const EINPROGRESS: i32 = 115;
/// What was asked makes no sense for this file, or its file system has no such operation.
pub(crate) const EINVAL: i32 = 22;
/// The same, said more clearly.
pub(crate) const EOPNOTSUPP: i32 = 95;
/// There is no such system call.
pub(crate) const ENOSYS: i32 = 38;
/// The system has no descriptor left.
pub(crate) const ENFILE: i32 = 23;
/// The process has no descriptor left.
pub(crate) const EMFILE: i32 = 24;

/// Whether no descriptor is left, of the process or of the system.
pub(crate) fn is_descriptor_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}
