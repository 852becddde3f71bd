//! A UDP socket: its datagrams, how large its receive buffer is, and how many datagrams the kernel has dropped there.
//! Invariant: nothing here waits.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use socket2::{SockRef, Socket};

/// Where the kernel lists its UDP sockets, a line each, by the family of their own address.
const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];
/// Which words of a line are the socket's inode, and how many datagrams were dropped there.
const INODE: usize = 9;
const DROPS: usize = 12;

/// A bound UDP socket.
pub(crate) struct Datagrams {
    socket: UdpSocket,
    /// The kernel's number for it, if that is known.
    inode: Option<u64>,
    table: &'static str,
    /// Its count of drops when it was asked last. It starts again at 0 after 2^32.
    drops: u32,
}

impl Datagrams {
    /// Takes a bound socket that does not wait. It is asked for a receive buffer of `buffer` bytes, if that is not 0.
    pub(crate) fn new(socket: Socket, buffer: usize) -> io::Result<Self> {
        if buffer > 0 {
            socket.set_recv_buffer_size(buffer)?;
        }
        let socket = UdpSocket::from(socket);
        let name = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap_or_default();
        let number = name.to_str().and_then(|name| name.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        let table = TABLES[usize::from(socket.local_addr()?.is_ipv6())];
        let mut datagrams = Self { socket, inode: number, table, drops: 0 };
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
        let listed = self.inode.and_then(|inode| drops_in(&fs::read(self.table).ok()?, inode));
        let drops = listed.unwrap_or(self.drops);
        drops.wrapping_sub(std::mem::replace(&mut self.drops, drops))
    }
}

impl AsRawFd for Datagrams {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The drops of the socket with this inode, in one of the kernel's tables.
fn drops_in(table: &[u8], inode: u64) -> Option<u32> {
    let table = std::str::from_utf8(table).ok()?;
    table.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(INODE);
        let is_it = words.next()?.parse() == Ok(inode);
        words.nth(DROPS - INODE - 1).filter(|_| is_it)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drops_of_a_socket_are_found_by_its_inode() {
        let table = b"   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            11793: 0100007F:B733 00000000:0000 07 00000000:00034000 00:00000000 00000000     0        0 75008 2 00000000afa0d34a 1744\n\
            14119: 00000000:8049 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 75009 2 00000000b0358d3a 0\n";
        for (inode, drops) in [(75_008, Some(1744)), (75_009, Some(0)), (1744, None)] {
            assert_eq!(drops_in(table, inode), drops, "{inode}");
        }
        assert_eq!(drops_in(b"", 1), None);
    }

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
