//! The system calls of one connection to the next receiver, once it is there: it is listened to.
//! Invariant: none of them waits.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use socket2::Socket;

use crate::config::text::{whole, whole_of};
use crate::dial::{Buffers, Line};
use crate::host::word;

/// Size of the send buffer that the kernel is asked for. It doubles that, and takes one packet more, of 64 KiB at most. So
/// many bytes at most are not read by the other side of a Unix socket, or not acknowledged over TCP, and would be lost if
/// the connection broke.
/// Seen on Linux 6.18: 219,264 and 238,080 bytes; with 128 KiB it would be 292,352 and 291,678.
pub(super) const SEND_BUFFER: usize = 96 * 1024;
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

/// For one to which lines are sent, and of which nothing is heard. One that talks is held up soon: each of its packets would
/// wake us.
pub(super) const DEAF: Buffers = Buffers { send: SEND_BUFFER, receive: Some(HEARD_BYTES) };

/// Reads what the other side sends. Only its FIN matters; the bytes are thrown away.
#[inline(never)] // one copy, for size
pub(super) fn hear(line: &mut Line) -> io::Result<Heard> {
    let mut bytes = [0; HEARD_BYTES];
    let mut heard = Heard::Silence;
    for _ in 0..MOST_READS {
        match line.read(&mut bytes) {
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
    let inode = File::from(OwnedFd::from(socket.try_clone().ok()?)).metadata().ok()?.ino();
    let all = fs::read_to_string("/proc/net/unix").ok()?;
    let own = all.lines().find(|line| word(line, 6).and_then(whole) == Some(inode))?;
    u32::try_from(whole_of(word(own, 1)?, 16)?).ok()
}
