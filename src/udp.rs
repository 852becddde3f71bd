//! A UDP socket: its datagrams, how large its receive buffer is, and how many datagrams the kernel has dropped there.
//! Invariant: nothing here waits.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;

use socket2::{SockRef, Socket};

use crate::host;

/// A bound UDP socket.
pub(crate) struct Datagrams {
    socket: UdpSocket,
    /// The kernel's number for it; 0 if that is not known.
    inode: u64,
    /// The kernel's count of drops when it was asked last. It starts again at 0 after 2^32.
    drops: u32,
}

impl Datagrams {
    /// Takes a bound socket that does not wait. It is asked for a receive buffer of `buffer` bytes, if that is not 0.
    pub(crate) fn new(socket: Socket, buffer: usize) -> io::Result<Self> {
        if buffer > 0 {
            socket.set_recv_buffer_size(buffer)?;
        }
        let socket = UdpSocket::from(socket);
        let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
        let inode = fs::metadata(link).map_or(0, |found| found.ino());
        let mut datagrams = Self { socket, inode, drops: 0 };
        // One that was handed over may have dropped some before our time.
        datagrams.new_drops();
        Ok(datagrams)
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// To ask for its options.
    pub(crate) fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.socket)
    }

    /// Takes the next datagram. What does not fit the buffer is lost.
    ///
    /// # Errors
    /// `WouldBlock` when none waits, else those of `recvfrom`.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.recv_from(buffer)
    }

    /// The size of the receive buffer, as it was asked for: the kernel tells twice that, since it counts its own overhead.
    pub(crate) fn buffer(&self) -> Option<usize> {
        self.socket().recv_buffer_size().ok().map(|size| size / 2)
    }

    /// How many datagrams the kernel has dropped here since the last question; 0 if it does not tell.
    pub(crate) fn new_drops(&mut self) -> u32 {
        let drops = host::udp_drops(self.inode).unwrap_or(self.drops);
        drops.wrapping_sub(std::mem::replace(&mut self.drops, drops))
    }
}

impl AsRawFd for Datagrams {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_drops_is_told_once() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut datagrams = Datagrams::new(socket.into(), 4096).unwrap();
        assert_eq!((datagrams.buffer(), datagrams.new_drops()), (Some(4096), 0));
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            sender.send_to(&[b'x'; 1000], datagrams.local_addr().unwrap()).unwrap();
        }
        let (mut taken, mut buffer) = (0, [0; 2000]);
        while let Ok((1000, _)) = datagrams.receive(&mut buffer) {
            taken += 1;
        }
        assert!(taken > 0 && taken < 100, "{taken} were taken");
        assert_eq!((datagrams.new_drops(), datagrams.new_drops()), (100 - taken, 0));
    }
}
