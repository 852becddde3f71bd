//! A thread that writes to a terminal which can't be opened anew, so that its every write may wait. Invariant: bytes go out
//! once, in order, and how many were taken is told exactly once.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::task::spawn;

/// The most that waits in it, in bytes.
const MOST_BYTES: usize = 64 * 1024;
/// Time between two tries where it can't wait.
const PAUSE: Duration = Duration::from_millis(20);
/// It only writes.
const STACK_BYTES: usize = 64 * 1024;

/// What both sides know.
#[derive(Debug, Default)]
struct Desk {
    /// Given, and not begun.
    given: Vec<u8>,
    /// Bytes that it is at.
    begun: usize,
    /// Bytes that the terminal took, and nobody was told of.
    taken: usize,
    /// Why it takes no more.
    failed: Option<io::Error>,
    /// Nothing more will be given.
    is_over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    desk: Mutex<Desk>,
    changes: Condvar,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Nobody panics with it.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes it, however long that takes. Answers how much was taken, and why no more.
fn write_all(file: &mut File, block: &[u8]) -> (usize, Option<io::Error>) {
    let mut taken = 0;
    while let Some(rest) = block.get(taken..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(count) => taken += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody who shares its description has made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return (taken, Some(error)),
        }
    }
    (taken, None)
}

/// The thread, as its clients see it.
#[derive(Debug)]
pub(crate) struct Scribe {
    shared: Arc<Shared>,
    /// A byte for each answer.
    bell: UnixStream,
}

impl Scribe {
    /// Begins to write to this.
    ///
    /// # Errors
    /// The system has no thread, or no descriptor.
    pub(super) fn begin(mut file: File) -> io::Result<Self> {
        let (bell, rings) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rings.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        spawn(
            STACK_BYTES,
            Box::new(move || {
                let mut desk = ours.desk();
                while !desk.is_over {
                    if desk.given.is_empty() {
                        desk = ours.changes.wait(desk).unwrap_or_else(PoisonError::into_inner);
                        continue;
                    }
                    let block = std::mem::take(&mut desk.given);
                    desk.begun = block.len();
                    drop(desk);
                    let (taken, failed) = write_all(&mut file, &block);
                    desk = ours.desk();
                    desk.begun = 0;
                    desk.taken += taken;
                    desk.failed = failed;
                    // A full one has a byte in it already.
                    let _ = (&rings).write(&[1]);
                    ours.changes.notify_all();
                }
            }),
        )?;
        Ok(Self { shared, bell })
    }

    /// Tells when [`Self::write`] can go on: then it can be read.
    pub(super) fn bell(&self) -> &UnixStream {
        &self.bell
    }

    /// Writes as `write` does where nothing may wait: what it begins, it takes only when it is asked again with the same
    /// bytes. It begins no more than the rest of a line, as others may be dropped meanwhile.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        while matches!((&self.bell).read(&mut [0; 64]), Ok(1..)) {}
        let mut desk = self.shared.desk();
        if desk.taken > 0 {
            return Ok(std::mem::take(&mut desk.taken));
        }
        if let Some(error) = desk.failed.take() {
            return Err(error);
        }
        if desk.begun == 0 && desk.given.is_empty() {
            let end = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
            desk.given.extend_from_slice(bytes.get(..end.min(MOST_BYTES)).unwrap_or_default());
            self.shared.changes.notify_all();
        }
        Err(ErrorKind::WouldBlock.into())
    }

    /// Takes all of it, to be written later, or nothing: what our own log needs.
    #[cfg(feature = "cli")]
    pub(crate) fn give(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut desk = self.shared.desk();
        if desk.given.len() + desk.begun + bytes.len() > MOST_BYTES {
            return Err(ErrorKind::WouldBlock.into());
        }
        desk.given.extend_from_slice(bytes);
        self.shared.changes.notify_all();
        Ok(bytes.len())
    }

    /// Waits until all that was given is written, but not for longer than this.
    #[cfg(feature = "cli")]
    pub(crate) fn finish(&self, patience: Duration) {
        let is_busy = |desk: &mut Desk| desk.begun > 0 || !desk.given.is_empty();
        let _ = self.shared.changes.wait_timeout_while(self.shared.desk(), patience, is_busy);
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.shared.desk().is_over = true;
        self.shared.changes.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;

    #[test]
    fn p8_what_may_wait_is_written_beside_the_loop_once_and_in_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let scribe = Scribe::begin(File::from(OwnedFd::from(writer))).unwrap();
        let lines: Vec<u8> = (0..20_000).flat_map(|number| format!("{number:0100}\n").into_bytes()).collect();
        let reads = std::thread::spawn(move || {
            let mut read = Vec::new();
            reader.read_to_end(&mut read).map(|_| read)
        });
        let mut at = 0;
        while at < lines.len() {
            match scribe.write(&lines[at..]) {
                Ok(count) => at += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        drop(scribe);
        let read = reads.join().unwrap().unwrap();
        assert!(read == lines, "bytes are lost, doubled or out of order");
    }

    #[test]
    fn p13_its_failure_is_told() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let scribe = Scribe::begin(File::from(OwnedFd::from(writer))).unwrap();
        let error = loop {
            match scribe.write(b"lost\n") {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                other => break other.unwrap_err(),
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
