//! What is here in place of `udp` in a build without UDP. Invariant: there is never such a socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};

use socket2::{SockRef, Socket};

/// There is none.
pub(crate) enum Datagrams {}

impl Datagrams {
    pub(crate) fn new(_: Socket, _: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }

    pub(crate) fn socket(&self) -> SockRef<'_> {
        match *self {}
    }

    pub(crate) fn receive(&self, _: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match *self {}
    }

    pub(crate) fn buffer(&self) -> Option<usize> {
        match *self {}
    }

    pub(crate) fn new_drops(&mut self) -> u32 {
        match *self {}
    }
}

impl AsRawFd for Datagrams {
    fn as_raw_fd(&self) -> RawFd {
        match *self {}
    }
}
