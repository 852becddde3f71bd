//! The sink of the binary: one output or several, each with its own position. Lines are formatted once. The slowest output
//! sets the pace, unless it may be passed over (`--on-stall drop`). Invariant: an output that fails or stands still
//! keeps no other from being written.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::path::Path;
use std::time::Duration;

use super::files::hosts::{HostFiles, MOST_GATHERED};
use super::files::path::shown;
use super::files::single::SingleFile;
use super::format::{Format, Formatter};
use super::next::forward::{self, Forward};
use super::pace::Pace;
use super::stream::descriptor::{Descriptor, adopt};
use super::stream::stdout;
use super::target::{Books, GATHERED_BYTES, KEPT_BYTES, Target, Wrote};
use super::waiting::Parts;
use super::{Flushed, Loss, Origin, Sink, Watch};
use crate::config::limits::Overhead;
use crate::config::output::{OnStall, OutputAddr, OutputOptions};
use crate::engine::framer::Lines;
use crate::engine::gap::{Gap, Why};
use crate::engine::peer::Peer;
use crate::engine::stats::OutputStats;

/// After so long without a word an output that takes nothing is worth a warning.
const STUCK: Duration = Duration::from_secs(5);

/// Writes lines to one output or several.
///
/// ```
/// use lumberjack::{Format, OutputAddr, OutputOptions, Outputs};
///
/// let path = std::env::temp_dir().join(format!("lumberjack-{}.log", std::process::id()));
/// let options = OutputOptions { rotate_size: 1 << 20, ..OutputOptions::default() };
/// let outputs = Outputs::open(&[OutputAddr::File(path.clone())], Format::Raw, &options)?;
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
    taken: u64,
    /// When the last lines came, in milliseconds since 1970.
    wall_ms: u64,
    /// The output that is gone, and with it the sink.
    gone: Option<String>,
    /// The first that was lost while others went on.
    loss: Option<Loss>,
    wants_end: bool,
}

struct Output {
    name: String,
    target: Box<dyn Target>,
    pace: Pace,
    books: Books,
    /// After how long without a word it is passed over.
    stall_timeout: Option<Duration>,
    /// Since when it has taken nothing though something waits.
    stuck_since: Option<Duration>,
    /// That was said to be long.
    is_known_as_stuck: bool,
    /// The other side is away, of which the target tells itself.
    is_away: bool,
    /// What it does not get while it is passed over.
    missed: Option<Gap>,
    /// Bytes of marks that only it got.
    own_bytes: u64,
    /// It will never take lines again.
    is_gone: bool,
}

/// Why an output could not be opened. `Display` is one sentence.
#[derive(Debug)]
pub struct OpenError {
    output: OutputAddr,
    source: io::Error,
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not derived: the binary would carry what prints all that is in it.
        f.write_str(&self.describe())
    }
}

impl Outputs {
    /// Opens each output.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(outputs: &[OutputAddr], format: Format, options: &OutputOptions) -> Result<Self, OpenError> {
        let mut opened: Vec<Output> = Vec::new();
        let mut identities = Vec::new();
        for output in outputs {
            let fails = |source| OpenError { output: output.clone(), source };
            let mut books = Books::default();
            let (target, identity) = open(output, options, &mut books).map_err(fails)?;
            if identity.is_some() && identities.contains(&identity) {
                return Err(fails(io::Error::other("another --output is the same file")));
            }
            identities.push(identity);
            opened.push(Output::new(output.name(), target, books, options));
        }
        let stats = opened.iter().map(|output| OutputStats { name: output.name.clone(), counters: Default::default() });
        Ok(Self {
            formatter: Formatter::new(format, &options.tag, options.mark_gaps),
            overhead: overhead(outputs, format, options),
            marks_gaps: options.mark_gaps,
            stats: stats.collect(),
            outputs: opened,
            formatted: Vec::new(),
            taken: 0,
            wall_ms: 0,
            gone: None,
            loss: None,
            wants_end: false,
        })
    }

    /// One output, with the usual options.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn one(output: OutputAddr, format: Format) -> Result<Self, OpenError> {
        Self::open(&[output], format, &OutputOptions::default())
    }

    fn give(&mut self, peer: &Peer, parts: Parts<'_>, lines: u64) {
        self.taken += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        for output in &mut self.outputs {
            output.take(peer, parts, lines);
        }
    }

    /// What was formatted goes to all outputs, and its room is used again.
    fn give_formatted(&mut self, peer: &Peer, lines: u64) {
        let mut formatted = mem::take(&mut self.formatted);
        self.give(peer, [&formatted, &[], &[]], lines);
        formatted.clear();
        formatted.shrink_to(KEPT_BYTES);
        self.formatted = formatted;
    }

    fn flush_one(&mut self, at: usize, now: Duration) -> io::Result<()> {
        let Some(output) = self.outputs.get_mut(at) else { return Ok(()) };
        output.flush(now)?;
        let Some(gap) = output.gap().filter(|_| self.marks_gaps) else { return Ok(()) };
        let mut mark = Vec::new();
        self.formatter.gap_of_all(self.wall_ms, gap, &mut mark);
        output.own_bytes += mark.len() as u64;
        output.target.take(&Peer::Unix { serial: 0 }, [&mark, &[], &[]], &mut output.books);
        output.flush(now)
    }

    /// An output is gone for good: the end, at once if it was the last, else when the others have what is theirs; and no
    /// end if it may be passed over.
    fn lose(&mut self, at: usize, error: io::Error) -> Option<io::Error> {
        if self.left() < 2 {
            self.gone = self.outputs.get(at).map(|output| output.name.clone());
            return Some(error);
        }
        let output = self.outputs.get_mut(at)?;
        let is_passed_over = output.stall_timeout.is_some();
        let goes_on = if is_passed_over { "go on without it" } else { "get what is theirs, then this ends" };
        let bytes = output.lose(format_args!("is gone for good ({error}): the other outputs {goes_on}"));
        if !is_passed_over {
            let output = output.name.clone();
            self.loss.get_or_insert(Loss { output, bytes, error: Some(error) });
            self.wants_end = true;
        }
        None
    }

    /// How many outputs may still take lines.
    fn left(&self) -> usize {
        self.outputs.iter().filter(|output| !output.is_gone).count()
    }

    fn slowest(&self) -> Option<&Output> {
        self.outputs.iter().max_by_key(|output| output.target.waiting())
    }
}

/// What outputs add to lines at worst, all together: each holds its own.
pub(crate) fn overhead(outputs: &[OutputAddr], format: Format, options: &OutputOptions) -> Overhead {
    let one = format.overhead(&options.tag, options.mark_gaps);
    let kept = |output: &OutputAddr| match output {
        OutputAddr::File(_) if !options.flush_every.is_zero() => GATHERED_BYTES,
        OutputAddr::HostFiles(_) if !options.flush_every.is_zero() => MOST_GATHERED,
        OutputAddr::Unix(_) | OutputAddr::Tcp { .. } => forward::KEPT,
        _ => 0,
    };
    let forwards = outputs.iter().any(|output| matches!(output, OutputAddr::Unix(_) | OutputAddr::Tcp { .. }));
    let count = outputs.len().max(1);
    Overhead {
        per_byte: one.per_byte * count,
        per_line: one.per_line * count,
        kept: outputs.iter().map(kept).sum(),
        // What a line becomes in all outputs together is room for one in each: a forward may have to send one again,
        // and one that is passed over holds on to one.
        kept_lines: usize::from(forwards || options.on_stall == OnStall::Drop),
    }
}

/// Descriptors that an output may hold at once, beyond the one that each has: files at rest, one that is being opened,
/// those that are to be synced, and its directory.
#[cfg(feature = "cli")]
pub(crate) fn descriptors(output: &OutputAddr, options: &OutputOptions) -> usize {
    let syncs = super::files::sync::most_descriptors(options.sync);
    match output {
        OutputAddr::Stdout => 0,
        // Those that are being synced may have been closed by us meanwhile.
        OutputAddr::HostFiles(_) if syncs > 0 => 2 * super::files::hosts::most_open(options) + 2 + syncs,
        OutputAddr::HostFiles(_) => super::files::hosts::most_open(options) + 2,
        OutputAddr::File(_) => 2 + syncs,
        OutputAddr::Unix(_) | OutputAddr::Tcp { .. } => 2,
    }
}

/// What tells whether two outputs are one: device and number of a file; of files for hosts, those of their directory, and
/// their name.
type Identity = (u64, u64, OsString);
type Opened = (Box<dyn Target>, Option<Identity>);

fn of_file((device, number): (u64, u64)) -> Identity {
    (device, number, OsString::new())
}

fn open(output: &OutputAddr, options: &OutputOptions, books: &mut Books) -> io::Result<Opened> {
    Ok(match output {
        OutputAddr::Stdout => {
            let (file, identity) = stdout::own()?;
            (Box::new(Descriptor::new(adopt(file)?)), identity.map(of_file))
        }
        OutputAddr::File(path) => match Descriptor::open_special(path)? {
            Some(_) if options.rotates() => {
                return Err(io::Error::other("it is no regular file, which --rotate-size and --rotate-age need"));
            }
            Some(descriptor) => (Box::new(descriptor), None),
            None => {
                let file = SingleFile::open(path, options, books)?;
                let identity = file.identity();
                (Box::new(file), identity.map(of_file))
            }
        },
        OutputAddr::HostFiles(pattern) => {
            let files = HostFiles::open(pattern, options, books)?;
            let identity = files.identity();
            (Box::new(files), identity)
        }
        OutputAddr::Unix(_) | OutputAddr::Tcp { .. } => (Box::new(Forward::new(output)?), None),
    })
}

impl Output {
    fn new(name: String, target: Box<dyn Target>, books: Books, options: &OutputOptions) -> Self {
        Self {
            name,
            target,
            pace: Pace::Flowing,
            books,
            stall_timeout: (options.on_stall == OnStall::Drop).then_some(options.stall_timeout),
            stuck_since: None,
            is_known_as_stuck: false,
            is_away: false,
            missed: None,
            own_bytes: 0,
            is_gone: false,
        }
    }

    /// It gets nothing any more, for the reason that `why` says. Answers how many bytes it had been given in vain.
    fn lose(&mut self, why: fmt::Arguments<'_>) -> usize {
        let waiting = self.target.waiting();
        let (lines, _) = self.target.drop_lines();
        // The first line is not among them, as it may have been written in part.
        let lines = lines + u64::from(self.target.waiting() > 0);
        self.books.dropped(lines, waiting as u64);
        let missed = self.missed.get_or_insert(Gap { lines: 0, bytes: 0, why: Why::Stalled });
        missed.lines += lines;
        (self.is_gone, self.stuck_since, self.pace) = (true, None, Pace::Blocked { retry_at: None });
        self.target = Box::new(Gone);
        self.books.report(format_args!("{} {why}", self.name));
        waiting
    }

    /// The end has come: how much it missed is said, though it never took lines again.
    fn tell_missed(&mut self) {
        if let Some(missed) = self.missed.take_if(|missed| missed.lines > 0) {
            self.missed = Some(Gap { lines: 0, ..missed });
            self.books.report(format_args!("{} did not get {} lines", self.name, missed.lines));
        }
    }

    fn take(&mut self, peer: &Peer, parts: Parts<'_>, lines: u64) {
        let Some(missed) = &mut self.missed else { return self.target.take(peer, parts, &mut self.books) };
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        missed.lines += lines;
        missed.bytes += bytes;
        self.books.dropped(lines, bytes);
    }

    /// # Errors
    /// It is gone for good.
    fn flush(&mut self, now: Duration) -> io::Result<()> {
        if self.is_gone {
            return Ok(());
        }
        if self.pace.may_try(now) {
            let before = self.target.waiting();
            let written = self.target.write(now, &mut self.books);
            let left = self.target.waiting();
            if left < before && !matches!(written, Ok(Wrote::Away)) {
                self.stuck_since = None;
            }
            self.is_away = matches!(written, Ok(Wrote::Away));
            match written {
                Ok(Wrote::All | Wrote::Later) => {
                    self.stuck_since = None;
                    let was_stuck = mem::take(&mut self.is_known_as_stuck);
                    if (self.pace.done() || was_stuck) && self.missed.is_none() {
                        self.books.report(format_args!("{} takes lines again", self.name));
                    }
                }
                Ok(Wrote::Away) => {
                    self.stuck_since.get_or_insert(now);
                }
                Ok(Wrote::Blocked) => {
                    self.pace = Pace::Blocked { retry_at: None };
                    self.stuck_since.get_or_insert(now);
                }
                Err(error) if is_gone(&error) => return Err(error),
                Err(error) => {
                    self.books.counters.failures = self.books.counters.failures.saturating_add(1);
                    self.pace.failed(now, left < before);
                    self.stuck_since.get_or_insert(now);
                    let wait = if self.stall_timeout.is_some() { "lines" } else { "clients" };
                    self.books
                        .report(format_args!("cannot write to {}: {error}; {wait} wait, trying again", self.name));
                }
            }
        }
        self.note_stuck(now);
        self.pass_over(now);
        Ok(())
    }

    /// Who waits for what has to be seen: of several outputs, this one sets the pace.
    fn note_stuck(&mut self, now: Duration) {
        let is_long = self.stuck_since.is_some_and(|since| now.saturating_sub(since) >= STUCK);
        let is_news = is_long && self.missed.is_none() && !self.pace.is_failing() && !self.is_away;
        if is_news && !mem::replace(&mut self.is_known_as_stuck, true) {
            let seconds = STUCK.as_secs();
            self.books.report(format_args!("{} has taken nothing for {seconds} s: clients wait for it", self.name));
        }
    }

    /// `--on-stall drop`: an output that stands still too long is passed over, until it has taken what it held on to.
    fn pass_over(&mut self, now: Duration) {
        let Some(timeout) = self.stall_timeout else { return };
        if self.missed.is_some() {
            return;
        }
        let is_over = self.stuck_since.is_some_and(|since| now.saturating_sub(since) >= timeout);
        if is_over {
            let (lines, bytes) = self.target.drop_lines();
            self.missed = Some(Gap { lines, bytes: bytes as u64, why: Why::Stalled });
            self.books.dropped(lines, bytes as u64);
            let name = &self.name;
            self.books.report(format_args!(
                "{name} has taken nothing for --stall-timeout: it is passed over, its lines are dropped"
            ));
        }
    }

    /// What it missed, once it takes lines again; what it lost to a full disk.
    fn gap(&mut self) -> Option<Gap> {
        if self.target.waiting() > 0 || self.pace != Pace::Flowing {
            return None;
        }
        let Some(missed) = self.missed.take() else { return self.books.gap.take() };
        let (name, lines) = (&self.name, missed.lines);
        self.books.report(format_args!("{name} takes lines again; {lines} lines were dropped meanwhile"));
        Some(missed)
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        if !self.books.reports.is_empty() {
            return Some(Duration::ZERO);
        }
        let stuck_for = self.stuck_since.filter(|_| self.missed.is_none()).map(|since| now.saturating_sub(since));
        let left_of = |time: Duration| stuck_for.map(|passed| time.saturating_sub(passed));
        let stall = self.stall_timeout.and_then(left_of);
        let is_said = self.is_known_as_stuck || self.pace.is_failing() || self.is_away;
        let word = if is_said { None } else { left_of(STUCK) };
        // While it refuses, its own times would end the wait for nothing.
        let own = if self.pace == Pace::Flowing { self.target.due_in(now) } else { self.pace.due_in(now) };
        own.into_iter().chain(stall).chain(word).min()
    }

    fn delivered(&self) -> u64 {
        self.target.delivered().saturating_sub(self.own_bytes)
    }
}

/// In the place of an output that is gone for good.
struct Gone;

impl Target for Gone {
    fn take(&mut self, _: &Peer, _: Parts<'_>, _: &mut Books) {}

    fn write(&mut self, _: Duration, _: &mut Books) -> io::Result<Wrote> {
        Ok(Wrote::All)
    }

    fn waiting(&self) -> usize {
        0
    }

    fn delivered(&self) -> u64 {
        0
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        (0, 0)
    }
}

/// A reader that closed the pipe will not come back.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

impl Sink for Outputs {
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>) {
        self.wall_ms = origin.wall_ms;
        if self.formatter.format() == Format::Raw {
            let ending: &[u8] = if lines.ended { b"" } else { b"\n" };
            return self.give(origin.peer, [lines.head, lines.body, ending], lines.count);
        }
        self.formatter.write(origin, lines, &mut self.formatted);
        self.give_formatted(origin.peer, lines.count);
    }

    fn gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        if self.marks_gaps {
            self.formatter.gap(origin, gap, &mut self.formatted);
            self.give_formatted(origin.peer, 1);
        }
    }

    fn flush(&mut self, now: Duration) -> io::Result<Flushed> {
        let mut gone = None;
        for at in 0..self.outputs.len() {
            // The others get what is theirs, whatever becomes of this one.
            if let Err(error) = self.flush_one(at, now) {
                gone = gone.or(self.lose(at, error));
            }
        }
        for (stats, output) in self.stats.iter_mut().zip(&self.outputs) {
            stats.counters = output.books.counters;
            stats.counters.waiting_bytes = output.target.waiting() as u64;
        }
        match gone {
            Some(error) => Err(error),
            None if self.waiting() == 0 => Ok(Flushed::Done),
            None => Ok(Flushed::Paced),
        }
    }

    fn waiting(&self) -> usize {
        self.outputs.iter().map(|output| output.target.waiting()).sum()
    }

    fn held(&self) -> usize {
        self.outputs.iter().map(|output| output.target.held()).sum()
    }

    fn overhead(&self) -> Overhead {
        self.overhead
    }

    fn unwatched(&mut self) -> Option<Watch<'_>> {
        (0..).zip(&mut self.outputs).find_map(|(number, output)| {
            let (descriptor, interest) = output.target.unwatched()?;
            Some(Watch { number, descriptor, interest })
        })
    }

    fn ready(&mut self, number: usize, is_gone: bool) -> bool {
        let Some(output) = self.outputs.get_mut(number) else { return false };
        output.pace.writable();
        let is_gone = output.target.ready(is_gone);
        is_gone && self.lose(number, ErrorKind::BrokenPipe.into()).is_some()
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        self.outputs.iter().filter_map(|output| output.due_in(now)).min()
    }

    fn stuck_since(&self) -> Option<Duration> {
        self.outputs.iter().filter_map(|output| output.stuck_since).min()
    }

    fn try_at_once(&mut self) {
        self.outputs.iter_mut().filter(|output| !output.is_gone).for_each(|output| output.pace = Pace::Flowing);
    }

    fn reopen(&mut self) {
        self.outputs.iter_mut().for_each(|output| output.target.reopen());
    }

    fn settle(&mut self, now: Duration) -> bool {
        let mut are_settled = true;
        for output in &mut self.outputs {
            // Each is asked, so that all of them begin.
            are_settled &= output.target.settle(now, &mut output.books);
        }
        let has_others = self.left() > 1;
        for output in &mut self.outputs {
            // Who is passed over anyway keeps no end waiting.
            if output.missed.is_some() && !output.is_gone && has_others {
                output.lose(format_args!("still takes nothing, and is not waited for"));
            }
            output.tell_missed();
        }
        are_settled
    }

    fn taken(&self) -> u64 {
        self.taken
    }

    fn delivered(&self) -> u64 {
        self.outputs.iter().map(Output::delivered).min().unwrap_or(self.taken)
    }

    fn doubts(&self) -> u64 {
        self.outputs.iter().map(|output| output.books.doubts).sum()
    }

    fn wants_end(&self) -> bool {
        self.wants_end
    }

    fn give_up(&mut self, since: Duration) -> bool {
        let is_stuck = |output: &Output| !output.is_gone && output.stuck_since.is_some_and(|stuck| stuck <= since);
        let stuck = self.outputs.iter().filter(|output| is_stuck(output)).count();
        if stuck == 0 || stuck >= self.left() {
            return false;
        }
        for output in self.outputs.iter_mut().filter(|output| is_stuck(output)) {
            let bytes = output.lose(format_args!("took nothing for --drain-timeout and is given up; the others go on"));
            self.loss.get_or_insert(Loss { output: output.name.clone(), bytes, error: None });
        }
        true
    }

    fn loss(&mut self) -> Option<Loss> {
        self.loss.take()
    }

    fn report(&mut self) -> Option<(usize, String)> {
        let mut all = (0..).zip(&mut self.outputs);
        all.find_map(|(number, output)| Some((number, output.books.next_report()?)))
    }

    fn outputs(&self) -> &[OutputStats] {
        &self.stats
    }

    fn describe(&self) -> String {
        let slowest = || self.slowest().map(|output| output.name.clone());
        self.gone.clone().or_else(slowest).unwrap_or_default()
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { output, source } = self;
        let name = output.name();
        if *output == OutputAddr::Stdout {
            // Not every libc says that descriptors are open files.
            let cure = if is_shortage(source) { "; raise the limit on open files" } else { "" };
            return write!(f, "cannot use stdout: {source}{cure}");
        }
        write!(f, "cannot write to {name}: ")?;
        match source.kind() {
            ErrorKind::NotFound => {
                f.write_str("its directory does not exist; make it, or choose another file with --output")
            }
            ErrorKind::IsADirectory => {
                let inside = shown(&Path::new(&name).join("app.log"));
                write!(f, "it is a directory; name a file in it, such as {inside}, with --output")
            }
            ErrorKind::PermissionDenied => {
                f.write_str("no permission; change the owner or the mode, or choose another file with --output")
            }
            ErrorKind::ReadOnlyFilesystem => {
                f.write_str("the file system is read-only; remount it, or choose another file with --output")
            }
            ErrorKind::NotADirectory => {
                f.write_str("a part of the path is no directory; choose another file with --output")
            }
            _ if is_shortage(source) => write!(f, "{source}; raise the limit on open files"),
            _ => write!(f, "{source}; choose another file with --output"),
        }
    }
}

/// No descriptor is left, of the process or of the system.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
