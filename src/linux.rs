//! Numbers of Linux that `std` has no names for; the same on every architecture that Rust's `std` supports but MIPS and
//! SPARC where that is said.

use std::io;

/// `send` returns an error in place of SIGPIPE.
pub(crate) const MSG_NOSIGNAL: i32 = 0x4000;
/// `send` does not wait.
pub(crate) const MSG_DONTWAIT: i32 = 0x40;
/// A descriptor that never waits.
pub(crate) const O_NONBLOCK: i32 = 0o4000;
/// A connect goes on by itself.
pub(crate) const EINPROGRESS: i32 = 115;
/// The system has no descriptor left.
pub(crate) const ENFILE: i32 = 23;
/// The process has no descriptor left.
pub(crate) const EMFILE: i32 = 24;

/// Whether no descriptor is left, of the process or of the system.
pub(crate) fn is_descriptor_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}
