//! A sink that a test opens, shuts, breaks and mends.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lumberjack::internals::Pacing;
use lumberjack::{Event, Gap, Lines, Order, Origin, Sink, State};

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
    lines: u64,
    /// Each gap as text, and how many lines came before it.
    gaps: Vec<(u64, String)>,
    /// Whether it tells how far it has come.
    counts: bool,
    doubts: u64,
    pacing: Pacing,
    /// When it is asked again.
    ask_at: Option<Duration>,
    /// What the server is to tell an operator.
    reports: Vec<String>,
}

/// A valve that takes nothing is asked again this often.
const PAUSE: Duration = Duration::from_millis(10);

/// The sink; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Valve(Arc<Mutex<Inside>>);

impl Valve {
    pub(crate) fn new() -> Self {
        let (waiting, taken, gaps) = (Vec::new(), Vec::new(), Vec::new());
        let inside = Inside {
            flow: Flow::Open,
            waiting,
            taken,
            flushes: 0,
            lines: 0,
            gaps,
            counts: true,
            doubts: 0,
            pacing: Pacing::default(),
            ask_at: None,
            reports: Vec::new(),
        };
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

    /// All lines taken as text, and among them, where something was missing, how much, why, and of whom.
    pub(crate) fn story(&self) -> Vec<String> {
        let lines = self.lines().into_iter().map(|line| line.escape_ascii().to_string());
        let mut story: Vec<_> = (1..).zip(lines).collect();
        story.extend(self.0.lock().unwrap().gaps.iter().cloned());
        // Stable: a gap behind `n` lines follows line number `n`.
        story.sort_by_key(|(number, _)| *number);
        story.into_iter().map(|(_, text)| text).collect()
    }

    /// From now on it is a sink that does not tell how far it has come.
    pub(crate) fn forget_to_count(&self) {
        self.0.lock().unwrap().counts = false;
    }

    /// What it has taken may be lost.
    pub(crate) fn doubt(&self) {
        self.0.lock().unwrap().doubts += 1;
    }

    /// How often the server tried to write.
    pub(crate) fn flushes(&self) -> usize {
        self.0.lock().unwrap().flushes
    }
}

impl Sink for Valve {
    fn append(&mut self, _: &Origin<'_>, lines: Lines<'_>) {
        let inside = &mut *self.0.lock().unwrap();
        inside.waiting.extend_from_slice(lines.head);
        inside.waiting.extend_from_slice(lines.body);
        if !lines.ended {
            inside.waiting.push(b'\n');
        }
        inside.lines += lines.count;
    }

    fn gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        let inside = &mut *self.0.lock().unwrap();
        let text = format!("{} of {} bytes, {}, of {}", gap.lines, gap.bytes, gap.why, origin.peer);
        inside.gaps.push((inside.lines, text));
    }

    fn flush(&mut self, now: Duration) -> io::Result<()> {
        let inside = &mut *self.0.lock().unwrap();
        if !inside.pacing.may_try(now) || inside.ask_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        inside.flushes += 1;
        let most = match inside.flow {
            Flow::Open => usize::MAX,
            Flow::Slow(most) => most,
            Flow::Shut => 0,
            Flow::Failing => {
                inside.pacing.fail(now, false);
                inside.ask_at = None;
                inside.reports.push("the valve fails".to_owned());
                return Ok(());
            }
            Flow::Gone => return Err(ErrorKind::BrokenPipe.into()),
        };
        let count = most.min(inside.waiting.len());
        inside.taken.extend(inside.waiting.drain(..count));
        if inside.waiting.is_empty() {
            inside.pacing.done();
            inside.ask_at = None;
        } else {
            if count > 0 {
                inside.pacing.progress();
            }
            inside.pacing.wait(now);
            inside.ask_at = Some(now + PAUSE);
        }
        Ok(())
    }

    fn state(&self) -> State {
        let inside = &*self.0.lock().unwrap();
        let (taken, waiting) = (inside.taken.len() as u64, inside.waiting.len());
        let (taken, delivered) = if inside.counts { (taken + waiting as u64, taken) } else { (0, 0) };
        let stuck_since = inside.pacing.stuck_since();
        State { waiting, held: waiting, taken, delivered, doubts: inside.doubts, stuck_since, ..State::default() }
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        let inside = &*self.0.lock().unwrap();
        inside.pacing.due_in(now).or(inside.ask_at.map(|at| at.saturating_sub(now)))
    }

    fn poll_event(&mut self) -> Option<Event<'_>> {
        let sentence = self.0.lock().unwrap().reports.pop()?;
        Some(Event::Report { output: 0, weight: lumberjack::Weight::Warning, sentence })
    }

    fn obey(&mut self, order: Order) -> bool {
        let is_asked = order == Order::TryNow;
        if is_asked {
            let inside = &mut *self.0.lock().unwrap();
            inside.pacing.try_now();
            inside.ask_at = None;
        }
        is_asked
    }

    fn describe(&self) -> String {
        "the valve".to_owned()
    }
}
