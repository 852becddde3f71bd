//! The simulated sink: takes lines as the real ones do, keeps what it can't write, and remembers whose they were, and
//! where in them something was missing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use lumberjack::internals::Pacing;
use lumberjack::{Event, Gap, Interest, Lines, Order, Origin, Overhead, Peer, Sink, State, Watch};

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
    /// The descriptor is dead, and with it what is not on the disk yet. A new one takes everything: the sink opens it at the
    /// try after the one that found that out, or when it is told to.
    Dead,
    /// Its reader is gone.
    Gone,
}

/// What went through the sink.
#[derive(Default)]
pub(crate) struct Record {
    /// What each peer's lines came to, in order.
    pub(crate) by_peer: HashMap<Peer, Vec<u8>>,
    /// How many lines that was.
    pub(crate) lines: HashMap<Peer, usize>,
    /// The gaps of each peer, among these.
    pub(crate) gaps: HashMap<Peer, Vec<Mark>>,
    /// All that was taken, in order.
    pub(crate) taken: Vec<u8>,
    /// How much of that was written.
    pub(crate) written: usize,
    /// How much of that is on the disk, in a world that syncs; else the same.
    pub(crate) delivered: usize,
    /// Where in `taken` each peer's lines begin and end.
    ends: HashMap<Peer, (usize, usize)>,
    /// What was written, and died with a descriptor: from where to where, in order.
    pub(crate) lost: Vec<(usize, usize)>,
}

impl Record {
    /// How many lines of a peer were taken.
    pub(crate) fn count(&self, peer: &Peer) -> usize {
        self.lines.get(peer).copied().unwrap_or(0)
    }

    /// How many lines of a peer were taken, and whether they are all delivered.
    pub(crate) fn lines_of(&self, peer: &Peer) -> (usize, bool) {
        let is_there = |(begin, end): &(usize, usize)| {
            *end <= self.delivered && !self.lost.iter().any(|lost| lost.0 < *end && *begin < lost.1)
        };
        (self.count(peer), self.ends.get(peer).is_none_or(is_there))
    }
}

impl Record {
    /// What was written and is not on the disk yet is gone with its descriptor, and is waited for no longer.
    /// Whether that was anything.
    fn lose(&mut self) -> bool {
        let is_any = self.delivered < self.written;
        if is_any {
            self.lost.push((self.delivered, self.written));
            self.delivered = self.written;
        }
        is_any
    }
}

/// One without a descriptor to watch is asked again after so long.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct SimSink {
    pub(crate) kernel: Rc<RefCell<Kernel>>,
    pub(crate) record: Rc<RefCell<Record>>,
    /// Whether there is a descriptor that tells when it can be written.
    pub(crate) is_watched: bool,
    /// The loop knows of it.
    pub(crate) is_told: bool,
    pub(crate) pacing: Pacing,
    /// When it is asked again.
    pub(crate) ask_at: Option<Duration>,
    /// Its reader is gone.
    pub(crate) is_gone: bool,
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
        *record.lines.entry(*origin.peer).or_default() +=
            if lines.ended { usize::try_from(lines.count).unwrap() } else { 1 };
        let end = record.taken.len();
        let begin = end - lines.head.len() - lines.body.len() - usize::from(!lines.ended);
        record.ends.entry(*origin.peer).or_insert((begin, end)).1 = end;
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

    fn flush(&mut self, now: Duration) -> io::Result<()> {
        if self.is_gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if !self.pacing.may_try(now) || self.ask_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        let record = &mut *self.record.borrow_mut();
        let kernel = &mut *self.kernel.borrow_mut();
        kernel.work += 1;
        kernel.hurry(None);
        let waiting = record.taken.len() - record.written;
        if kernel.sink == Drain::Dead {
            // The next try is with a new descriptor.
            kernel.has_doubts |= record.lose();
            kernel.reopen_sink();
            if waiting > 0 {
                self.pacing.fail(now, false);
                self.ask_at = None;
                return Ok(());
            }
        }
        let most = match &mut kernel.sink {
            // It is there to be synced only.
            _ if waiting == 0 => 0,
            Drain::Open => waiting,
            // A dead one is met above.
            Drain::Shut | Drain::Dead => 0,
            Drain::Pipe { room, .. } => {
                let count = waiting.min(*room);
                *room -= count;
                count
            }
            Drain::Failing => {
                self.pacing.fail(now, false);
                self.ask_at = None;
                return Ok(());
            }
            Drain::Gone => return Err(ErrorKind::BrokenPipe.into()),
        };
        record.written += most;
        if most > 0 {
            kernel.progress_at = kernel.now;
            self.pacing.progress();
        }
        match &mut self.sync {
            None => record.delivered = record.written,
            Some((every, next)) if *next <= now => {
                record.delivered = record.written;
                *next = now + *every;
            }
            Some(_) => {}
        }
        if most == waiting {
            self.pacing.done();
            self.ask_at = None;
        } else if self.is_watched {
            self.pacing.block(now, false);
        } else {
            self.pacing.wait(now);
            self.ask_at = Some(now + PAUSE);
        }
        Ok(())
    }

    fn state(&self) -> State {
        let record = self.record.borrow();
        let waiting = record.taken.len() - record.written;
        State {
            waiting,
            held: waiting,
            taken: record.taken.len() as u64,
            delivered: record.delivered as u64,
            doubts: record.lost.len() as u64,
            stuck_since: self.pacing.stuck_since(),
            ..State::default()
        }
    }

    fn overhead(&self) -> Overhead {
        Overhead::RAW
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        if self.is_gone {
            return Some(Duration::ZERO);
        }
        let record = self.record.borrow();
        // While it refuses, a time would end the wait for nothing.
        let is_due = record.written == record.taken.len() && record.delivered < record.written;
        let sync = self.sync.filter(|_| is_due).map(|(_, next)| next.saturating_sub(now));
        let again = self.ask_at.map(|at| at.saturating_sub(now)).filter(|_| self.pacing.may_try(now));
        self.pacing.due_in(now).into_iter().chain(sync).chain(again).min()
    }

    fn ready(&mut self, _: usize, is_gone: bool) {
        self.pacing.writable();
        self.is_gone |= is_gone;
    }

    fn poll_event(&mut self) -> Option<Event<'_>> {
        // Any descriptor will do: the simulated network does not look at it.
        let is_new = self.is_watched && !std::mem::replace(&mut self.is_told, true);
        is_new.then(|| Event::Watch(Watch { number: 0, descriptor: self.stdin.as_fd(), interest: Interest::Write }))
    }

    fn obey(&mut self, order: Order) -> bool {
        let is_asked = order == Order::TryNow || order == Order::Reopen;
        let kernel = &mut *self.kernel.borrow_mut();
        if order == Order::Reopen && kernel.sink == Drain::Dead {
            kernel.reopen_sink();
            kernel.has_doubts |= self.record.borrow_mut().lose();
        }
        if is_asked {
            self.pacing.try_now();
            self.ask_at = None;
        }
        is_asked
    }

    fn settle(&mut self, _: Duration) -> bool {
        let record = &mut *self.record.borrow_mut();
        let is_written = record.written == record.taken.len();
        let kernel = &mut *self.kernel.borrow_mut();
        if is_written && kernel.sink == Drain::Dead {
            kernel.has_doubts |= record.lose();
        }
        if is_written {
            record.delivered = record.written;
        }
        is_written
    }

    fn describe(&self) -> String {
        "the simulated sink".to_owned()
    }
}
