//! The system calls of one connection to the next receiver: it begins to connect, is done or has failed, and is listened to.
//! Invariant: none of them waits.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use socket2::{SockAddr, Socket, TcpKeepalive, Type};

use crate::linux::EINPROGRESS;

/// Size of the send buffer that the kernel is asked for. It doubles that, and takes one packet more, of 64 KiB at most. So
/// many bytes at most are not read by the other side of a Unix socket, or not acknowledged over TCP, and would be lost if
/// the connection broke.
/// Seen on Linux 6.18: 219,264 and 238,080 bytes; with 128 KiB it would be 292,352 and 291,678.
pub(super) const SEND_BUFFER: usize = 96 * 1024;
/// Silence after which TCP asks whether the other side is alive, as `--keepalive` does for clients; then every
/// [`KEEPALIVE_INTERVAL`], three times. Trap: `TCP_USER_TIMEOUT` would find a dead host sooner while bytes are on their way,
/// but it also ends the connection to one that is alive and takes nothing for that long (seen on Linux 6.18).
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(6);
const KEEPALIVE_PROBES: u32 = 3;
/// Reads in one look at what the other side sends, of [`HEARD_BYTES`] each. One that talks is looked at again only after
/// a pause, and the kernel holds it up meanwhile: at full speed it would take half of a processor.
const MOST_READS: usize = 16;
pub(super) const HEARD_BYTES: usize = 4096;

/// What the other side sends.
pub(super) enum Heard {
    /// Nothing.
    Silence,
    /// Some bytes, and there may be more.
    Talk,
    /// Its FIN.
    Goodbye,
}

/// A socket that begins to connect to an address.
pub(super) fn open(address: &SockAddr) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    if !address.is_unix() {
        // The lines of a turn are written together anyway, and the last of them must not wait for an acknowledgement.
        socket.set_tcp_nodelay(true)?;
        // One that talks is held up soon: each of its packets would wake us.
        socket.set_recv_buffer_size(HEARD_BYTES)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
        socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
    }
    match socket.connect(address) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

/// Whether a connect is done.
pub(super) fn progress(socket: &Socket) -> io::Result<bool> {
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

/// Reads what the other side sends. Only its FIN matters; the bytes are thrown away.
#[inline(never)] // one copy, for size
pub(super) fn hear(mut socket: &Socket) -> io::Result<Heard> {
    let mut bytes = [0; HEARD_BYTES];
    let mut heard = Heard::Silence;
    for _ in 0..MOST_READS {
        match socket.read(&mut bytes) {
            Ok(0) => return Ok(Heard::Goodbye),
            Ok(_) => heard = Heard::Talk,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(heard)
}

/// References to a Unix socket in the kernel when it has no other side any more: its descriptor's, and that of the list of
/// all. The other side has one until it is closed, also after goodbyes from both.
pub(super) const ALONE: u32 = 2;

/// How many references the kernel has to a Unix socket, as /proc/net/unix shows; `None` where there is no such file.
#[inline(never)] // rare
pub(super) fn references(socket: &Socket) -> Option<u32> {
    let inode = File::from(OwnedFd::from(socket.try_clone().ok()?)).metadata().ok()?.ino().to_string();
    let all = fs::read_to_string("/proc/net/unix").ok()?;
    let own = all.lines().find(|line| line.split_ascii_whitespace().nth(6) == Some(&inode))?;
    u32::from_str_radix(own.split_ascii_whitespace().nth(1)?, 16).ok()
}
