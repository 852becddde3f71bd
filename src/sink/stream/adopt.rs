//! How an open file is written without stopping the loop. Invariant: an open file description that other processes share
//! with us is left as it is, but for a pipe that can't be opened anew: that one is non-blocking while we live ([`Borrowed`]).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use socket2::SockRef;

use crate::linux::{MSG_DONTWAIT, MSG_NOSIGNAL, O_NONBLOCK};

pub(super) const MSG_DONTWAIT_NOSIGNAL: i32 = MSG_DONTWAIT | MSG_NOSIGNAL;

/// How a descriptor is written without stopping the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A file or a terminal: the kernel takes its time, and that is fine.
    Plain,
    /// A pipe whose description is non-blocking: one that we opened for ourselves, or a [`Borrowed`] one.
    Pipe,
    /// A socket: each send says that it will not wait.
    Socket,
}

/// A pipe's description that others share, made non-blocking for as long as this lives: how a pipe of another user has
/// to be written (a container's stdout, say), since it can't be opened anew. Dropping it puts the flag back.
#[derive(Debug)]
pub(crate) struct Borrowed(File);

impl Drop for Borrowed {
    fn drop(&mut self) {
        // Nothing is left to be done about a failure: the process ends.
        let _ = SockRef::from(&self.0).set_nonblocking(false);
    }
}

/// An inherited descriptor, and how to write it.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) file: File,
    pub(crate) way: Way,
    pub(crate) borrowed: Option<Borrowed>,
}

/// Finds out how an inherited descriptor can be written. A pipe is opened anew, so that the description which others
/// share is not changed; where that is not allowed, it is changed only while we live.
pub(crate) fn adopt(file: File) -> io::Result<Adopted> {
    let kind = file.metadata()?.file_type();
    if kind.is_socket() {
        return Ok(Adopted { file, way: Way::Socket, borrowed: None });
    }
    if !kind.is_fifo() {
        return Ok(Adopted { file, way: Way::Plain, borrowed: None });
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path) {
        Ok(own) => Ok(Adopted { file: own, way: Way::Pipe, borrowed: None }),
        Err(_) => borrow(file),
    }
}

pub(super) fn borrow(file: File) -> io::Result<Adopted> {
    let shared = SockRef::from(&file);
    let was_blocking = !shared.nonblocking()?;
    shared.set_nonblocking(true)?;
    let borrowed = if was_blocking { Some(Borrowed(file.try_clone()?)) } else { None };
    Ok(Adopted { file, way: Way::Pipe, borrowed })
}

/// Sends what a socket takes at once; its own flags stay as they are.
#[cfg(feature = "cli")]
pub(crate) fn send_without_waiting(socket: &File, bytes: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send_with_flags(bytes, MSG_DONTWAIT_NOSIGNAL)
}
