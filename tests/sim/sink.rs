//! The simulated sink: takes lines as the real ones do, keeps what it can't write, and remembers whose they were, and
//! where in them something was missing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use lumberjack::{Flushed, Gap, Interest, Lines, Origin, Overhead, Peer, Sink, Watch};

use super::kernel::Kernel;
use crate::model::framer::Mark;

/// Where lines go to, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Takes everything.
    Open,
    /// Takes nothing.
    Shut,
    /// A pipe with so much room, whose reader takes `reads` bytes `every` so often.
    Pipe { room: usize, every: Duration, reads: usize },
    /// A full disk.
    Failing,
    /// Its reader is gone.
    Gone,
}

/// What went through the sink.
#[derive(Default)]
pub(crate) struct Record {
    /// What each peer's lines came to, in order.
    pub(crate) by_peer: HashMap<Peer, Vec<u8>>,
    /// The gaps of each peer, among these.
    pub(crate) gaps: HashMap<Peer, Vec<Mark>>,
    /// All that was taken, in order.
    pub(crate) taken: Vec<u8>,
    /// How much of that was written.
    pub(crate) written: usize,
    /// How much of that is on the disk, in a world that syncs; else the same.
    pub(crate) delivered: usize,
    /// Where in `taken` each peer's last line ends.
    ends: HashMap<Peer, usize>,
}

impl Record {
    /// How many lines of a peer were taken, and whether they are all delivered.
    pub(crate) fn lines_of(&self, peer: &Peer) -> (usize, bool) {
        let newlines = |bytes: &Vec<u8>| bytes.iter().filter(|byte| **byte == b'\n').count();
        let is_delivered = self.ends.get(peer).is_none_or(|end| *end <= self.delivered);
        (self.by_peer.get(peer).map_or(0, newlines), is_delivered)
    }
}

pub(crate) struct SimSink {
    pub(crate) kernel: Rc<RefCell<Kernel>>,
    pub(crate) record: Rc<RefCell<Record>>,
    pub(crate) is_watched: bool,
    /// How often it syncs at most, and when it may again.
    pub(crate) sync: Option<(Duration, Duration)>,
    pub(crate) stdin: std::io::Stdin,
}

impl Sink for SimSink {
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>) {
        let record = &mut *self.record.borrow_mut();
        let of_peer = record.by_peer.entry(*origin.peer).or_default();
        for out in [of_peer, &mut record.taken] {
            out.extend_from_slice(lines.head);
            out.extend_from_slice(lines.body);
            if !lines.ended {
                out.push(b'\n');
            }
        }
        record.ends.insert(*origin.peer, record.taken.len());
        let block = [lines.head, lines.body].concat();
        let newlines = block.split(|byte| *byte == b'\n').count() as u64 - 1;
        let expected = if lines.ended { lines.count } else { 0 };
        assert_eq!((newlines, lines.ended), (expected, block.ends_with(b"\n")), "a block is whole lines");
    }

    fn gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        let record = &mut *self.record.borrow_mut();
        let at = record.by_peer.get(origin.peer).map_or(0, Vec::len);
        record.gaps.entry(*origin.peer).or_default().push((at, gap));
    }

    fn flush(&mut self, now: Duration) -> io::Result<Flushed> {
        let record = &mut *self.record.borrow_mut();
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.work += 1;
        kernel.hurry(None);
        let waiting = record.taken.len() - record.written;
        let most = match &mut kernel.sink {
            // It is there to be synced only.
            _ if waiting == 0 => 0,
            Drain::Open => waiting,
            Drain::Shut => 0,
            Drain::Pipe { room, .. } => {
                let count = waiting.min(*room);
                *room -= count;
                count
            }
            Drain::Failing => return Ok(Flushed::Failed(ErrorKind::StorageFull.into())),
            Drain::Gone => return Err(ErrorKind::BrokenPipe.into()),
        };
        record.written += most;
        if most > 0 {
            kernel.progress_at = kernel.now;
        }
        match &mut self.sync {
            None => record.delivered = record.written,
            Some((every, next)) if *next <= now => {
                record.delivered = record.written;
                *next = now + *every;
            }
            Some(_) => {}
        }
        Ok(if most == waiting { Flushed::Done } else { Flushed::Blocked })
    }

    fn waiting(&self) -> usize {
        let record = self.record.borrow();
        record.taken.len() - record.written
    }

    fn overhead(&self) -> Overhead {
        Overhead::RAW
    }

    fn unwatched(&mut self) -> Option<Watch<'_>> {
        // Any descriptor will do: the simulated network does not look at it.
        let is_new = std::mem::take(&mut self.is_watched);
        is_new.then(|| Watch { number: 0, descriptor: self.stdin.as_fd(), interest: Interest::Write })
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        let record = self.record.borrow();
        // While it refuses, a time would end the wait for nothing.
        let is_due = record.written == record.taken.len() && record.delivered < record.written;
        self.sync.filter(|_| is_due).map(|(_, next)| next.saturating_sub(now))
    }

    fn settle(&mut self, _: Duration) -> bool {
        let record = &mut *self.record.borrow_mut();
        let is_written = record.written == record.taken.len();
        if is_written {
            record.delivered = record.written;
        }
        is_written
    }

    fn taken(&self) -> u64 {
        self.record.borrow().taken.len() as u64
    }

    fn delivered(&self) -> u64 {
        self.record.borrow().delivered as u64
    }

    fn describe(&self) -> String {
        "the simulated sink".to_owned()
    }
}
