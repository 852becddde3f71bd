//! One descriptor as an output. Small blocks wait in a buffer and are written together; a large one is written from where
//! it lies, behind those that wait, without a copy. Invariant: bytes are written once and in order, and what a write did
//! not take stays in the buffer.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use socket2::SockRef;

use super::adopt::{Adopted, Borrowed, MEMORY, MSG_DONTWAIT_NOSIGNAL, Way, is_gone, major, open_device};
use super::scribe::Scribe;
use crate::linux::O_NONBLOCK;
use crate::sink::Interest;
use crate::sink::ending::End;
use crate::sink::place::Identity;
use crate::sink::target::{Books, DIRECT_BYTES, GATHERED_BYTES, KEPT_BYTES, Standing, Target, Took, Whose, Wrote};
use crate::sink::waiting::{Parts, Waiting, len_of};

/// An output that is one descriptor: stdout for as long as we live, a fifo or a device until it is opened anew.
pub(in crate::sink) struct Descriptor {
    file: File,
    way: Way,
    _borrowed: Option<Borrowed>,
    scribe: Option<Scribe>,
    waiting: Waiting,
    /// How what it got ends.
    end: End,
    /// Bytes taken so far.
    taken: u64,
    is_watched: bool,
}

/// What tells whether two outputs write to the same: of a device its own number, however many names it has. Any number of
/// outputs may throw lines away.
pub(in crate::sink) fn identity_of(found: &Metadata) -> Option<Identity> {
    let own = if found.file_type().is_char_device() {
        Some((u64::MAX, found.rdev())).filter(|_| major(found.rdev()) != MEMORY)
    } else {
        Some((found.dev(), found.ino()))
    };
    own.map(|(device, number)| (device, number, OsString::new()))
}

impl Descriptor {
    pub(in crate::sink) fn new(out: Adopted) -> Self {
        let Adopted { file, way, borrowed, scribe } = out;
        let waiting = Waiting::new(KEPT_BYTES);
        let is_watched = matches!(way, Way::Plain | Way::Device);
        Self { file, way, _borrowed: borrowed, scribe, waiting, end: End::Whole, taken: 0, is_watched }
    }

    /// Opens what is at `path` if that is no regular file; `None` if it is one, or nothing. A fifo is opened for ourselves,
    /// non-blocking, both ways: to write alone would fail until it has a reader, and would take that reader's every
    /// restart for the end of the output.
    ///
    /// # Errors
    /// Those of `open`.
    pub(in crate::sink) fn open_special(path: &Path) -> io::Result<Option<Self>> {
        let Ok(found) = fs::metadata(path) else { return Ok(None) };
        let mut options = OpenOptions::new();
        let way = match found.file_type() {
            kind if kind.is_file() => return Ok(None),
            kind if kind.is_fifo() => {
                options.read(true).write(true).custom_flags(O_NONBLOCK);
                Way::Polled
            }
            kind if kind.is_char_device() => return Ok(Some(Self::new(open_device(path, found.rdev())?))),
            _ => {
                options.append(true);
                Way::Plain
            }
        };
        let file = options.open(path)?;
        Ok(Some(Self::new(Adopted::new(file, way))))
    }

    /// What tells whether two outputs write to the same.
    pub(in crate::sink) fn identity(&self) -> Option<Identity> {
        identity_of(&self.file.metadata().ok()?)
    }

    /// Whether it is to be asked with each write whether it is still there: of what never waits, such as `/dev/null`, nobody
    /// removes the device.
    #[inline]
    pub(in crate::sink) fn may_be_replaced(&self) -> bool {
        self.way != Way::Plain
    }

    /// Whether its path leads to something else: somebody removed it, and put another in its place.
    pub(in crate::sink) fn is_replaced_at(&self, path: &Path) -> bool {
        self.may_be_replaced() && self.file.metadata().is_ok_and(|found| found.nlink() == 0) && path.exists()
    }

    /// Whether its path still leads to it, and it has the start of a line: what comes next is the rest of that, and opened anew it
    /// would get the start twice.
    pub(in crate::sink) fn is_torn_at(&self, path: &Path) -> bool {
        let place = |found: Metadata| (found.dev(), found.ino());
        let there = fs::metadata(path).map(place);
        matches!(self.end, End::Torn { .. }) && self.file.metadata().map(place).ok() == there.ok()
    }

    /// Bytes taken so far.
    pub(in crate::sink) fn taken(&self) -> u64 {
        self.taken
    }

    /// What it did not get, from the start of a line.
    pub(in crate::sink) fn into_waiting(mut self) -> Vec<u8> {
        if let End::Torn { start } = self.end {
            self.waiting.prepend(&start);
        }
        self.waiting.bytes().to_vec()
    }

    fn write_waiting(&mut self, books: &mut Books) -> io::Result<()> {
        while self.waiting.len() > 0 {
            let parts = [IoSlice::new(self.waiting.bytes())];
            match self.write_once(&parts) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.end.note_lines(&parts, count);
                    self.waiting.advance(count);
                    books.wrote(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes a large block behind what waits, without copying it; false if that was refused.
    fn write_directly(&mut self, parts: Parts<'_>, books: &mut Books) -> bool {
        let mut is_refused = false;
        let mut waiting = std::mem::replace(&mut self.waiting, Waiting::new(0));
        waiting.write_through(parts, |parts| match self.write_once(parts) {
            Ok(count) => {
                self.end.note_lines(parts, count);
                books.wrote(count);
                count
            }
            Err(error) => {
                is_refused = error.kind() != ErrorKind::Interrupted;
                0
            }
        });
        self.waiting = waiting;
        !is_refused
    }

    /// Whether an event tells when it takes more.
    fn is_told(&self) -> bool {
        !matches!(self.way, Way::Plain | Way::Device)
    }

    /// One part alone is written by the same call as several: our own log is what `write` is for, and a test that makes
    /// calls fail can tell them apart.
    fn write_once(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.way {
            Way::Plain | Way::Polled | Way::Device => (&self.file).write_vectored(parts),
            Way::Beside => {
                let first = parts.iter().find(|part| !part.is_empty()).map_or(&[][..], |part| part);
                self.scribe.as_ref().map_or(Err(ErrorKind::NotConnected.into()), |scribe| scribe.write(first))
            }
            Way::Socket => SockRef::from(&self.file).send_vectored_with_flags(parts, MSG_DONTWAIT_NOSIGNAL),
        }
    }
}

impl Target for Descriptor {
    fn take(&mut self, _: Whose<'_>, parts: Parts<'_>, may_write: bool, books: &mut Books) -> Took {
        let len = len_of(parts);
        self.taken += len as u64;
        let is_large = len >= DIRECT_BYTES;
        if is_large && may_write {
            if !self.write_directly(parts, books) {
                return Took::Refused;
            }
            if self.waiting.len() == 0 {
                return Took::Written;
            }
        } else {
            parts.iter().for_each(|part| self.waiting.end().extend_from_slice(part));
        }
        let is_much = self.waiting.len() >= if is_large { 1 } else { GATHERED_BYTES };
        // An error is met again by the flush at the end of the turn.
        match is_much && may_write {
            false => Took::Waits,
            true if self.write_waiting(books).is_ok() => Took::Written,
            true => Took::Refused,
        }
    }

    fn write(&mut self, _: Duration, books: &mut Books) -> io::Result<Wrote> {
        match self.write_waiting(books) {
            Ok(()) => Ok(Wrote::All),
            Err(error) if error.kind() == ErrorKind::WouldBlock && self.is_told() => Ok(Wrote::Blocked),
            // A terminal that has hung up is a reader that is gone.
            Err(error) if self.way != Way::Plain && is_gone(&error) => {
                Err(io::Error::new(ErrorKind::BrokenPipe, error))
            }
            Err(error) => Err(error),
        }
    }

    #[inline]
    fn waiting(&self) -> usize {
        self.waiting.len()
    }

    #[inline]
    fn standing(&self) -> Standing {
        let waiting = self.waiting.len();
        Standing { waiting, held: waiting, delivered: self.taken - waiting as u64, ..Standing::default() }
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        self.waiting.drop_lines()
    }

    fn unwatched(&mut self) -> Option<(BorrowedFd<'_>, Interest)> {
        if std::mem::replace(&mut self.is_watched, true) {
            return None;
        }
        Some(match &self.scribe {
            Some(scribe) => (scribe.bell().as_fd(), Interest::ReadWrite),
            // A fifo that is open both ways could be read after each write.
            None => (self.file.as_fd(), Interest::Write),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::adopt::{adopt, borrow};
    use super::*;
    use std::io::Read;
    use std::os::fd::OwnedFd;

    fn append(out: &mut Descriptor, body: &[u8]) {
        out.take(Whose::Mark, [b"", body, b""], true, &mut Books::default());
    }

    fn flush(out: &mut Descriptor) -> io::Result<Wrote> {
        out.write(Duration::ZERO, &mut Books::default())
    }

    fn numbered(lines: std::ops::Range<u32>) -> Vec<u8> {
        lines.flat_map(|number| format!("{number:0100}\n").into_bytes()).collect()
    }

    fn on(file: OwnedFd) -> Descriptor {
        Descriptor::new(adopt(File::from(file)).unwrap())
    }

    #[test]
    fn p8_a_pipe_that_takes_nothing_blocks_nothing_and_gets_every_byte_once() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut out = on(writer.into());
        let expected = numbered(0..20_000);
        for block in expected.chunks(101 * 700) {
            append(&mut out, block);
        }
        assert!(matches!(flush(&mut out), Ok(Wrote::Blocked)));
        let mut read = vec![0; expected.len()];
        let mut at = 0;
        while at < expected.len() {
            at += reader.read(&mut read[at..]).unwrap();
            flush(&mut out).unwrap();
        }
        assert!(read == expected, "bytes are lost, doubled or out of order");
        assert_eq!(out.waiting.len(), 0);
        assert!(out.waiting.end().capacity() <= KEPT_BYTES, "the buffer is given back");
    }

    #[test]
    fn p8_a_pipe_of_another_user_is_not_waited_for_and_is_blocking_again_afterwards() {
        let (_reader, writer) = io::pipe().unwrap();
        let shared = File::from(OwnedFd::from(writer.try_clone().unwrap()));
        let mut out = Descriptor::new(borrow(File::from(OwnedFd::from(writer))).unwrap());
        append(&mut out, &numbered(0..20_000));
        assert!(matches!(flush(&mut out), Ok(Wrote::Blocked)));
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
        assert_eq!(flush(&mut out).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn p8_a_socket_is_never_waited_for_and_keeps_its_flags() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut out = on(ours.into());
        let expected = numbered(0..20_000);
        append(&mut out, &expected);
        assert!(matches!(flush(&mut out), Ok(Wrote::Blocked)));
        let mut read = vec![0; expected.len()];
        let mut at = 0;
        while at < expected.len() {
            at += theirs.read(&mut read[at..]).unwrap();
            flush(&mut out).unwrap();
        }
        assert!(read == expected);
    }

    #[test]
    fn p13_a_full_disk_keeps_every_byte_waiting() {
        let Ok(full) = OpenOptions::new().write(true).open("/dev/full") else {
            return crate::skip::not_here("there is no /dev/full");
        };
        let mut out = Descriptor::new(Adopted::new(full, Way::Plain));
        let block = numbered(0..1000);
        append(&mut out, &block);
        append(&mut out, &block);
        assert!(matches!(flush(&mut out), Err(error) if error.kind() == ErrorKind::StorageFull));
        assert_eq!(out.waiting.len(), 2 * block.len());
    }
}
