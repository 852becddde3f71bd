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
}

pub(crate) struct SimSink {
    pub(crate) kernel: Rc<RefCell<Kernel>>,
    pub(crate) record: Rc<RefCell<Record>>,
    pub(crate) is_watched: bool,
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

    fn flush(&mut self, _: Duration) -> io::Result<Flushed> {
        let record = &mut *self.record.borrow_mut();
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.work += 1;
        kernel.hurry(None);
        let waiting = record.taken.len() - record.written;
        let most = match &mut kernel.sink {
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

    fn describe(&self) -> String {
        "the simulated sink".to_owned()
    }
}
