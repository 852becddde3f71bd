//! One descriptor and what waits for it. Small blocks are gathered, a large one goes out straight from where it lies,
//! behind what waits. Invariant: bytes go out once, in order; what a write did not take stays in `buffer`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use socket2::SockRef;

use super::format::{Format, Formatter};
use super::{Flushed, Origin};
use crate::engine::framer::Lines;

/// From this size on a raw block is written without being copied: a copy of 16 KiB costs about as much as the system
/// call that it saves.
const DIRECT_BYTES: usize = 16 * 1024;
/// When this much has been gathered, it is written without waiting for the end of the turn.
const GATHERED_BYTES: usize = 64 * 1024;
/// What the buffer has room for from the start, and shrinks to when it is empty. From 128 KiB on glibc and musl map it by
/// itself: grown in the middle of a crowd of pending lines, it would lie above them, and keep their memory from going
/// back to the system for good (16 of 16 MiB). What was never written to is not resident.
const KEPT_BYTES: usize = 3 * GATHERED_BYTES;
/// Linux's `O_NONBLOCK`, `MSG_DONTWAIT` and `MSG_NOSIGNAL`, which `std` has no names for.
const O_NONBLOCK: i32 = 0o4000;
const MSG_DONTWAIT_NOSIGNAL: i32 = 0x40 | 0x4000;

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

#[derive(Debug)]
pub(crate) struct Descriptor {
    file: File,
    way: Way,
    _borrowed: Option<Borrowed>,
    formatter: Formatter,
    buffer: Vec<u8>,
    /// How much of `buffer` has been written.
    written: usize,
    /// The last write was refused; the next one waits for a flush.
    is_refused: bool,
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

fn borrow(file: File) -> io::Result<Adopted> {
    let shared = SockRef::from(&file);
    let was_blocking = !shared.nonblocking()?;
    shared.set_nonblocking(true)?;
    let borrowed = if was_blocking { Some(Borrowed(file.try_clone()?)) } else { None };
    Ok(Adopted { file, way: Way::Pipe, borrowed })
}

/// Opens a fifo for ourselves, non-blocking, both ways: to write alone would fail until it has a reader, and would take
/// that reader's every restart for the end of the output.
pub(crate) fn open_fifo(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(path)
}

/// Sends what a socket takes at once; its own flags stay as they are.
#[cfg(feature = "cli")]
pub(crate) fn send_without_waiting(socket: &File, bytes: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send_with_flags(bytes, MSG_DONTWAIT_NOSIGNAL)
}

impl Descriptor {
    pub(crate) fn new(out: Adopted, format: Format) -> Self {
        let Adopted { file, way, borrowed } = out;
        let formatter = Formatter::new(format);
        Self {
            file,
            way,
            _borrowed: borrowed,
            formatter,
            buffer: Vec::with_capacity(KEPT_BYTES),
            written: 0,
            is_refused: false,
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.buffer.len() - self.written
    }

    pub(crate) fn format(&self) -> Format {
        self.formatter.format()
    }

    pub(crate) fn watched(&self) -> Option<BorrowedFd<'_>> {
        (self.way != Way::Plain).then(|| self.file.as_fd())
    }

    pub(crate) fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>) {
        let is_large = lines.head.len() + lines.body.len() >= DIRECT_BYTES;
        if is_large && self.formatter.format() == Format::Raw && !self.is_refused {
            return self.append_direct(lines);
        }
        self.formatter.write(origin, lines, &mut self.buffer);
        if self.waiting() >= GATHERED_BYTES && !self.is_refused {
            // An error stays for the flush at the end of the turn, which meets it again.
            let _ = self.write_buffer();
        }
    }

    pub(crate) fn flush(&mut self) -> io::Result<Flushed> {
        self.is_refused = false;
        match self.write_buffer() {
            Ok(()) => Ok(Flushed::Done),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => Ok(Flushed::Blocked),
                ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Err(error),
                _ => Ok(Flushed::Failed(error)),
            },
        }
    }

    /// What waits and the block go out in one call; what that did not take is gathered.
    fn append_direct(&mut self, lines: Lines<'_>) {
        let ending: &[u8] = if lines.ended { b"" } else { b"\n" };
        let waiting = self.buffer.get(self.written..).unwrap_or_default();
        let waiting_len = waiting.len();
        let parts = [waiting, lines.head, lines.body, ending];
        let mut taken = match self.write_once(&parts.map(IoSlice::new)) {
            Ok(count) => count,
            Err(error) => {
                self.is_refused |= error.kind() != ErrorKind::Interrupted;
                0
            }
        };
        self.drop_written(taken.min(waiting_len));
        taken = taken.saturating_sub(waiting_len);
        for part in [lines.head, lines.body, ending] {
            let rest = part.get(taken..).unwrap_or_default();
            taken = taken.saturating_sub(part.len());
            self.buffer.extend_from_slice(rest);
        }
        if self.waiting() > 0 && !self.is_refused {
            let _ = self.write_buffer();
        }
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        while self.waiting() > 0 {
            let waiting = self.buffer.get(self.written..).unwrap_or_default();
            match self.write_once(&[IoSlice::new(waiting)]) {
                Ok(0) => {
                    self.is_refused = true;
                    return Err(ErrorKind::WriteZero.into());
                }
                Ok(count) => self.drop_written(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_refused = true;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// One part alone is written by the same call as several: our own log is what `write` is for, and a test that makes
    /// calls fail can tell them apart.
    fn write_once(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.way {
            Way::Plain | Way::Pipe => (&self.file).write_vectored(parts),
            Way::Socket => SockRef::from(&self.file).send_vectored_with_flags(parts, MSG_DONTWAIT_NOSIGNAL),
        }
    }

    fn drop_written(&mut self, count: usize) {
        self.written += count;
        if self.written >= self.buffer.len() {
            self.written = 0;
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BYTES);
        } else if self.written >= GATHERED_BYTES && self.written * 2 >= self.buffer.len() {
            // Half of the buffer is behind us: moving the rest costs no more than writing it did.
            self.buffer.drain(..self.written);
            self.written = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::peer::Peer;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    const PEER: Peer = Peer::Unix { serial: 1 };

    fn append(out: &mut Descriptor, body: &[u8]) {
        out.append(&Origin { peer: &PEER, wall_ms: 0 }, Lines { head: b"", body, count: 1, ended: true });
    }

    fn numbered(lines: std::ops::Range<u32>) -> Vec<u8> {
        lines.flat_map(|number| format!("{number:0100}\n").into_bytes()).collect()
    }

    fn on(file: OwnedFd) -> Descriptor {
        Descriptor::new(adopt(File::from(file)).unwrap(), Format::Raw)
    }

    #[test]
    fn p8_a_pipe_that_takes_nothing_blocks_nothing_and_gets_every_byte_once() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut out = on(writer.into());
        let expected = numbered(0..20_000);
        for block in expected.chunks(101 * 700) {
            append(&mut out, block);
        }
        assert!(matches!(out.flush(), Ok(Flushed::Blocked)));
        let mut read = vec![0; expected.len()];
        let mut at = 0;
        while at < expected.len() {
            at += reader.read(&mut read[at..]).unwrap();
            out.flush().unwrap();
        }
        assert!(read == expected, "bytes are lost, doubled or out of order");
        assert_eq!(out.waiting(), 0);
        assert!(out.buffer.capacity() <= KEPT_BYTES, "the buffer is given back");
    }

    #[test]
    fn p8_a_pipe_of_another_user_is_not_waited_for_and_is_blocking_again_afterwards() {
        let (_reader, writer) = io::pipe().unwrap();
        let shared = File::from(OwnedFd::from(writer.try_clone().unwrap()));
        let mut out = Descriptor::new(borrow(File::from(OwnedFd::from(writer))).unwrap(), Format::Raw);
        append(&mut out, &numbered(0..20_000));
        assert!(matches!(out.flush(), Ok(Flushed::Blocked)));
        assert!(SockRef::from(&shared).nonblocking().unwrap());
        drop(out);
        assert!(!SockRef::from(&shared).nonblocking().unwrap(), "left non-blocking");
    }

    #[test]
    fn p13_a_reader_that_is_gone_is_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        let mut out = on(writer.into());
        drop(reader);
        append(&mut out, b"lost\n");
        assert_eq!(out.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn p8_a_socket_is_never_waited_for_and_keeps_its_flags() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut out = on(ours.into());
        let expected = numbered(0..20_000);
        append(&mut out, &expected);
        assert!(matches!(out.flush(), Ok(Flushed::Blocked)));
        let mut read = vec![0; expected.len()];
        let mut at = 0;
        while at < expected.len() {
            at += theirs.read(&mut read[at..]).unwrap();
            out.flush().unwrap();
        }
        assert!(read == expected);
    }

    #[test]
    fn p13_a_full_disk_keeps_every_byte_waiting() {
        let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
            return eprintln!("skipped: there is no /dev/full here");
        };
        let mut out = Descriptor::new(Adopted { file: full, way: Way::Plain, borrowed: None }, Format::Raw);
        let block = numbered(0..1000);
        append(&mut out, &block);
        append(&mut out, &block);
        assert!(matches!(out.flush(), Ok(Flushed::Failed(error)) if error.kind() == ErrorKind::StorageFull));
        assert_eq!(out.waiting(), 2 * block.len());
    }
}
