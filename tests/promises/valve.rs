//! A sink that a test opens, shuts, breaks and mends.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lumberjack::{Flushed, Lines, Origin, Sink};

/// What the valve does with lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Takes everything.
    Open,
    /// Takes nothing, as a pipe that nobody reads.
    Shut,
    /// Takes so many bytes a flush.
    Slow(usize),
    /// Fails, as a full disk.
    Failing,
    /// Is gone, as a pipe whose reader closed it.
    Gone,
}

#[derive(Debug)]
struct Inside {
    flow: Flow,
    waiting: Vec<u8>,
    taken: Vec<u8>,
    flushes: usize,
}

/// The sink; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Valve(Arc<Mutex<Inside>>);

impl Valve {
    pub(crate) fn new() -> Self {
        let inside = Inside { flow: Flow::Open, waiting: Vec::new(), taken: Vec::new(), flushes: 0 };
        Self(Arc::new(Mutex::new(inside)))
    }

    pub(crate) fn set(&self, flow: Flow) {
        self.0.lock().unwrap().flow = flow;
    }

    /// All whole lines taken, without their `\n`.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        let inside = self.0.lock().unwrap();
        let mut lines: Vec<_> = inside.taken.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.pop();
        lines
    }

    /// How often the server tried to write.
    pub(crate) fn flushes(&self) -> usize {
        self.0.lock().unwrap().flushes
    }
}

impl Sink for Valve {
    fn append(&mut self, _: &Origin<'_>, lines: Lines<'_>) {
        let waiting = &mut self.0.lock().unwrap().waiting;
        waiting.extend_from_slice(lines.head);
        waiting.extend_from_slice(lines.body);
        if !lines.ended {
            waiting.push(b'\n');
        }
    }

    fn flush(&mut self, _: Duration) -> io::Result<Flushed> {
        let inside = &mut *self.0.lock().unwrap();
        inside.flushes += 1;
        let most = match inside.flow {
            Flow::Open => usize::MAX,
            Flow::Slow(most) => most,
            Flow::Shut => return Ok(Flushed::Blocked),
            Flow::Failing => return Ok(Flushed::Failed(ErrorKind::StorageFull.into())),
            Flow::Gone => return Err(ErrorKind::BrokenPipe.into()),
        };
        inside.taken.extend(inside.waiting.drain(..most.min(inside.waiting.len())));
        Ok(if inside.waiting.is_empty() { Flushed::Done } else { Flushed::Blocked })
    }

    fn waiting(&self) -> usize {
        self.0.lock().unwrap().waiting.len()
    }

    fn describe(&self) -> String {
        "the valve".to_owned()
    }
}
