//! The sink of the binary: one output or several, each with its own position. Lines are formatted once. The slowest output
//! sets the pace, unless it may be passed over (`--on-stall drop`). Invariant: an output that fails or stands still
//! keeps no other from being written.

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::time::Duration;

use super::error::OpenError;
use super::files::daily::complaint;
use super::format::{Format, Formatter};
use super::output::Output;
use super::place::{Identity, Kept, OutputAddr};
use super::target::{Books, KEPT_BYTES, Whose};
use super::waiting::{Parts, len_of};
use super::{Event, Loss, LossCause, Order, Origin, Sink, State, Watch};
use crate::config::limits::Overhead;
use crate::config::output::{OnStall, OutputError, OutputOptions};
use crate::engine::framer::Lines;
use crate::engine::gap::Gap;
use crate::engine::peer::Peer;
use crate::engine::stats::OutputStats;

/// Writes lines to one output or several.
///
/// ```
/// use lumberjack::{Format, OutputAddr, OutputOptions, Outputs};
///
/// let path = std::env::temp_dir().join(format!("lumberjack-{}.log", std::process::id()));
/// let options = OutputOptions { rotate_size: 1 << 20, ..OutputOptions::default() };
/// let outputs = Outputs::open(&[OutputAddr::file(&path)], Format::Raw, &options)?;
/// # drop(outputs);
/// # std::fs::remove_file(path).unwrap();
/// # Ok::<(), lumberjack::OpenError>(())
/// ```
pub struct Outputs {
    formatter: Formatter,
    overhead: Overhead,
    marks_gaps: bool,
    outputs: Vec<Output>,
    stats: Vec<OutputStats>,
    /// Lines of one call, formatted.
    formatted: Vec<u8>,
    /// How all of them stand together, after the last call: it is asked for at each read.
    state: State,
    /// When the last lines came, in milliseconds since 1970.
    wall_ms: u64,
    /// The last output that could take lines is gone, and with it the sink: its name, and what the system said.
    gone: Option<(String, Option<io::Error>)>,
    /// Those that were lost while others went on, and nobody was told of.
    losses: Vec<Loss>,
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not derived: the binary would carry what prints all that is in it.
        f.write_str(&self.describe())
    }
}

impl Outputs {
    /// Checks outputs, and the options with them, without opening anything. No line is longer than `max_line` bytes.
    ///
    /// # Errors
    /// The first thing that makes no sense, as a sentence.
    pub fn validate(
        outputs: &[OutputAddr],
        format: Format,
        options: &OutputOptions,
        max_line: usize,
    ) -> Result<(), OutputError> {
        OutputOptions::check_count(outputs.len())?;
        for (number, one) in outputs.iter().enumerate() {
            if outputs.iter().take(number).any(|other| other == one) {
                return Err(OutputError::new(format!("--output {one:?} is given twice: give it once")));
            }
            if options.rotates() && outputs.iter().any(|other| other.is_rotated_file_of(one)) {
                let sentence = format!("another --output has the name of a rotated file of {one:?}: rename it");
                return Err(OutputError::new(sentence));
            }
        }
        let has_file = outputs.iter().any(|output| output.place().file().is_some());
        let mut options = options.clone();
        if let Some(dated) = outputs.iter().find(|output| output.place().is_dated()) {
            if options.rotate_size > 0 || !options.rotate_age.is_zero() {
                return Err(OutputError::new(format!(
                    "--output {dated:?} begins one file a day, and --rotate-size or --rotate-age would begin more: \
                    take {{date}} out of the name, or leave them out"
                )));
            }
            options.rotate_at.get_or_insert_default();
        }
        options.validate(has_file, format.overhead(&options.tag, options.mark_gaps).at_most(max_line, 1))
    }

    /// Opens each output.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(outputs: &[OutputAddr], format: Format, options: &OutputOptions) -> Result<Self, OpenError> {
        let mut opened: Vec<Output> = Vec::new();
        let mut identities: Vec<Identity> = Vec::new();
        let has_days = options.rotate_at.is_some() || outputs.iter().any(|output| output.place().is_dated());
        let mut complaint = if has_days { complaint() } else { None };
        for output in outputs {
            let fails = |source| OpenError { output: output.clone(), source };
            let mut books = Books::default();
            let one = output.place().open(options, &mut books).map_err(fails)?;
            if let Some(identity) = one.identity {
                if identities.contains(&identity) {
                    return Err(fails(io::Error::other("another --output is the same file")));
                }
                identities.push(identity);
            }
            books.reports.extend(complaint.take());
            opened.push(Output::new(output.name(), one.target, books, options));
        }
        let stats =
            opened.iter().map(|output| OutputStats { name: output.name().to_owned(), counters: Default::default() });
        Ok(Self {
            formatter: Formatter::new(format, &options.tag, options.mark_gaps),
            overhead: overhead(outputs, format, options),
            marks_gaps: options.mark_gaps,
            stats: stats.collect(),
            outputs: opened,
            formatted: Vec::new(),
            state: State::default(),
            wall_ms: 0,
            gone: None,
            losses: Vec::new(),
        })
    }

    /// One output, with the usual options.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn one(output: OutputAddr, format: Format) -> Result<Self, OpenError> {
        Self::open(&[output], format, &OutputOptions::default())
    }

    fn give(&mut self, origin: &Origin<'_>, parts: Parts<'_>, lines: u64) {
        let len = len_of(parts);
        self.state.taken += len as u64;
        let mut all_waits = true;
        for output in &mut self.outputs {
            all_waits &= output.take(Whose::Client(origin.peer), parts, lines);
        }
        if all_waits {
            // What a short line comes to: no output has to be asked.
            self.state.waiting += len * self.outputs.len();
            self.state.held += len * self.outputs.len();
        } else {
            self.add_up();
        }
    }

    /// Finds out how all outputs stand together.
    fn add_up(&mut self) {
        let taken = self.state.taken;
        let mut state = State { taken, delivered: taken, ..State::default() };
        for output in &self.outputs {
            let standing = output.standing();
            state.waiting += standing.waiting;
            state.held += standing.held;
            state.delivered = state.delivered.min(standing.delivered);
            state.held_up += standing.held_up;
            state.releases += standing.releases;
            state.doubts += output.doubts();
            state.stuck_since = state.stuck_since.into_iter().chain(output.stuck_since()).min();
        }
        self.state = state;
    }

    /// What was formatted goes to all outputs, and its room is used again.
    fn give_formatted(&mut self, origin: &Origin<'_>, lines: u64) {
        let mut formatted = mem::take(&mut self.formatted);
        self.give(origin, [&formatted, &[], &[]], lines);
        formatted.clear();
        formatted.shrink_to(KEPT_BYTES);
        self.formatted = formatted;
    }

    /// # Errors
    /// It is gone for good.
    fn flush_one(&mut self, at: usize, now: Duration) -> io::Result<()> {
        let Some(output) = self.outputs.get_mut(at) else { return Ok(()) };
        output.flush(now)?;
        let mut has_marked = false;
        while let Some(gap) = output.gap() {
            if self.marks_gaps {
                let mut mark = Vec::new();
                self.formatter.gap_of_all(self.wall_ms, gap, &mut mark);
                output.take_mark(&mark);
                has_marked = true;
            }
        }
        if has_marked { output.flush(now) } else { Ok(()) }
    }

    /// An output is gone for good: the end if it was the last. Else the others go on, and the end will not be a clean one.
    fn lose(&mut self, at: usize, error: Option<io::Error>) {
        let is_last = self.left() < 2;
        let Some(output) = self.outputs.get_mut(at) else { return };
        if is_last {
            self.gone = Some((output.name().to_owned(), error));
            return;
        }
        let error = error.unwrap_or_else(|| ErrorKind::BrokenPipe.into());
        let bytes = output.lose(format_args!("is gone for good ({error}): the other outputs go on without it"));
        self.losses.push(Loss { output: output.name().to_owned(), cause: LossCause::Gone { error, bytes } });
    }

    /// How many outputs may still take lines.
    fn left(&self) -> usize {
        self.outputs.iter().filter(|output| !output.is_gone()).count()
    }

    /// Gives up each output that has taken nothing since before `since`, if others go on.
    fn give_up(&mut self, since: Duration) -> bool {
        let is_stuck = |output: &Output| !output.is_gone() && output.stuck_since().is_some_and(|stuck| stuck <= since);
        let stuck = self.outputs.iter().filter(|output| is_stuck(output)).count();
        if stuck == 0 || stuck >= self.left() {
            return false;
        }
        for output in self.outputs.iter_mut().filter(|output| is_stuck(output)) {
            let why = format_args!("took nothing for --drain-timeout and is given up; the others go on");
            let cause = LossCause::Stuck { bytes: output.lose(why) };
            self.losses.push(Loss { output: output.name().to_owned(), cause });
        }
        true
    }
}

/// What outputs add to lines at worst, all together: each holds its own.
pub(crate) fn overhead(outputs: &[OutputAddr], format: Format, options: &OutputOptions) -> Overhead {
    let one = format.overhead(&options.tag, options.mark_gaps);
    let kept: Vec<Kept> = outputs.iter().map(|output| output.place().kept(options)).collect();
    let holds_a_line = kept.iter().any(|kept| kept.holds_a_line) || options.on_stall == OnStall::Drop;
    let count = outputs.len().max(1);
    Overhead {
        per_byte: one.per_byte * count,
        per_line: one.per_line * count,
        kept: kept.iter().map(|kept| kept.bytes).sum(),
        // What a line becomes in all outputs together is room for one in each: one that forwards may have to send a line
        // again, and one that is passed over holds on to one.
        kept_lines: usize::from(holds_a_line),
    }
}

impl Sink for Outputs {
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>) {
        self.wall_ms = origin.wall_ms;
        if self.formatter.format() == Format::Raw {
            let ending: &[u8] = if lines.ended { b"" } else { b"\n" };
            return self.give(origin, [lines.head, lines.body, ending], lines.count);
        }
        self.formatter.write(origin, lines, &mut self.formatted);
        self.give_formatted(origin, lines.count);
    }

    fn gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        if self.marks_gaps {
            self.formatter.gap(origin, gap, &mut self.formatted);
            self.give_formatted(origin, 1);
        }
    }

    fn flush(&mut self, now: Duration) -> io::Result<()> {
        for at in 0..self.outputs.len() {
            // The others get what is theirs, whatever becomes of this one.
            if let Err(error) = self.flush_one(at, now) {
                self.lose(at, Some(error));
            }
        }
        for (stats, output) in self.stats.iter_mut().zip(&self.outputs) {
            stats.counters = output.counters();
        }
        self.add_up();
        match &mut self.gone {
            None => Ok(()),
            Some((_, error)) => Err(error.take().unwrap_or_else(|| ErrorKind::BrokenPipe.into())),
        }
    }

    fn state(&self) -> State {
        self.state
    }

    fn overhead(&self) -> Overhead {
        self.overhead
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        if self.gone.is_some() || !self.losses.is_empty() {
            return Some(Duration::ZERO);
        }
        self.outputs.iter().filter_map(|output| output.due_in(now)).min()
    }

    fn ready(&mut self, number: usize, is_gone: bool) {
        if self.outputs.get_mut(number).is_some_and(|output| output.ready(is_gone)) {
            self.lose(number, None);
        }
        self.add_up();
    }

    fn holds_up(&self, peer: &Peer) -> bool {
        self.state.held_up > 0 && self.outputs.iter().any(|output| output.holds_up(peer.host()))
    }

    fn poll_event(&mut self) -> Option<Event<'_>> {
        if !self.losses.is_empty() {
            return Some(Event::Lost(self.losses.remove(0)));
        }
        let reports = (0..).zip(&mut self.outputs);
        let report = reports.into_iter().find_map(|(output, one)| Some((output, one.next_report()?)));
        if let Some((output, sentence)) = report {
            return Some(Event::Report { output, sentence });
        }
        (0..).zip(&mut self.outputs).find_map(|(number, output)| {
            let (descriptor, interest) = output.unwatched()?;
            Some(Event::Watch(Watch { number, descriptor, interest }))
        })
    }

    fn obey(&mut self, order: Order) -> bool {
        let is_done = match order {
            Order::TryNow => {
                self.outputs.iter_mut().for_each(Output::try_now);
                true
            }
            Order::Reopen => {
                self.outputs.iter_mut().for_each(Output::reopen);
                true
            }
            Order::GiveUp { since } => self.give_up(since),
        };
        self.add_up();
        is_done
    }

    fn settle(&mut self, now: Duration) -> bool {
        let has_others = self.left() > 1;
        let mut are_settled = true;
        for output in &mut self.outputs {
            // Each is asked, so that all of them begin.
            let is_settled = output.settle(now);
            are_settled &= is_settled;
            if let Some(cause) = output.end(is_settled || has_others) {
                self.losses.push(Loss { output: output.name().to_owned(), cause });
            }
        }
        self.add_up();
        are_settled
    }

    fn outputs(&self) -> &[OutputStats] {
        &self.stats
    }

    fn describe(&self) -> String {
        if let Some((name, _)) = &self.gone {
            return name.clone();
        }
        let slowest = self.outputs.iter().max_by_key(|output| output.standing().waiting);
        slowest.map(|output| output.name().to_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs on these devices, after lines that fit none of their buffers were flushed.
    fn filled(devices: &[&str]) -> Outputs {
        let outputs: Vec<OutputAddr> = devices.iter().map(OutputAddr::file).collect();
        let mut outputs = Outputs::open(&outputs, Format::Raw, &OutputOptions::default()).unwrap();
        let peer = Peer::Unix { serial: 1 };
        let lines = Lines { head: b"", body: b"line\n", count: 1, ended: true };
        outputs.append(&Origin { peer: &peer, wall_ms: 0 }, lines);
        outputs.flush(Duration::ZERO).unwrap();
        outputs
    }

    fn lost(outputs: &mut Outputs) -> Vec<String> {
        let mut lost = Vec::new();
        while let Some(event) = outputs.poll_event() {
            if let Event::Lost(loss) = event {
                lost.push(loss.output);
            }
        }
        lost
    }

    #[test]
    fn p11_who_stands_still_is_given_up_only_if_others_go_on() {
        let later = Order::GiveUp { since: Duration::from_secs(1) };
        let mut outputs = filled(&["/dev/full", "/dev/null"]);
        assert!(outputs.obey(later));
        assert_eq!((lost(&mut outputs), outputs.state().waiting), (vec!["/dev/full".to_owned()], 0));
        let mut outputs = filled(&["/dev/full", "/dev/full"]);
        assert!(!outputs.obey(later), "the server gives up the sink as a whole then");
        assert_eq!((lost(&mut outputs), outputs.state().waiting), (vec![], 10), "and loses nothing before");
    }

    #[test]
    fn p8_the_slowest_output_is_named() {
        assert_eq!(filled(&["/dev/null", "/dev/full"]).describe(), "/dev/full");
    }
}
