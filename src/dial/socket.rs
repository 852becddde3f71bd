//! The system calls of a connect: a socket begins it, and is done or has failed. Invariant: none of them waits.

use std::io::{self, ErrorKind};
use std::time::Duration;

use socket2::{SockAddr, Socket, TcpKeepalive, Type};

use crate::linux::EINPROGRESS;

/// Silence after which TCP asks whether the other side is alive, as `--keepalive` does for clients; then every
/// [`KEEPALIVE_INTERVAL`], three times. Trap: `TCP_USER_TIMEOUT` would find a dead host sooner while bytes are on their way,
/// but it also ends the connection to one that is alive and takes nothing for that long (seen on Linux 6.18).
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(6);
const KEEPALIVE_PROBES: u32 = 3;

/// The sizes of a socket's buffers, in bytes: the kernel doubles them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffers {
    pub(crate) send: usize,
    /// Over TCP; `None`: as the kernel likes.
    pub(crate) receive: Option<usize>,
}

/// A socket that begins to connect to an address.
pub(crate) fn open(address: &SockAddr, buffers: Buffers) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_send_buffer_size(buffers.send)?;
    if !address.is_unix() {
        // The lines of a turn are written together anyway, and the last of them must not wait for an acknowledgement.
        socket.set_tcp_nodelay(true)?;
        if let Some(receive) = buffers.receive {
            socket.set_recv_buffer_size(receive)?;
        }
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
        socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
    }
    match socket.connect(address) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// Whether a connect is done.
pub(crate) fn progress(socket: &Socket) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    let Ok(peer) = socket.peer_addr() else { return Ok(false) };
    // Trap: a connect to a port of this machine at which nobody listens can get that very port as its own, and is then
    // connected to itself.
    if !peer.is_unix() && socket.local_addr()? == peer {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(true)
}
