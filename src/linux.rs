//! Numbers of Linux that `std` has no names for. They are libc's: MIPS has others than the rest, and one that is wrong there
//! is another flag (the `O_NONBLOCK` of x86 is its `O_NOCTTY`, and that one its `O_CREAT`).

use std::io;

// `send` returns an error in place of SIGPIPE, and does not wait; a descriptor that never waits; a terminal that is opened
// and does not become ours.
pub(crate) use libc::{MSG_DONTWAIT, MSG_NOSIGNAL, O_NOCTTY, O_NONBLOCK};
// What a terminal says that has hung up, and a device that went; the second also where a process has no terminal.
pub(crate) use libc::{EIO, ENODEV, ENXIO};
// A connect goes on by itself.
pub(crate) use libc::EINPROGRESS;
// What was asked makes no sense for this file, or its file system has no such operation; the same, said more clearly; there
// is no such system call.
pub(crate) use libc::{EINVAL, ENOSYS, EOPNOTSUPP};
// The system, and the process, has no descriptor left; nor memory.
pub(crate) use libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
// That is no descriptor.
pub(crate) use libc::EBADF;
// The disk, and the user, has no room.
#[cfg(feature = "spool")]
pub(crate) use libc::{EDQUOT, ENOSPC};
// The network says that somebody is gone.
pub(crate) use libc::{EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ENONET, ENOPROTOOPT, EPROTO};

/// Whether no descriptor is left, of the process or of the system.
pub(crate) fn is_descriptor_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}
