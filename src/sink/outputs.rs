//! The sink of the binary: one output or several, each with its own position. Lines are formatted once. The slowest output
//! sets the pace, unless it may be passed over (`--on-stall drop`). Invariant: an output that fails or stands still
//! keeps no other from being written.

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::time::Duration;

use super::claim::{User, conflict};
use super::error::OpenError;
use super::files::daily::{clock, complaint};
use super::format::{Format, Formatter};
use super::output::Output;
use super::place::{Identity, Kept, OutputAddr};
use super::said::Said;
use super::spooled::{self, Intake};
use super::target::{Books, KEPT_BYTES, Whose};
use super::waiting::{Parts, len_of};
use super::{Event, Loss, LossCause, Order, Origin, Sink, State, Watch, Welcome};
use crate::config::limits::Overhead;
use crate::config::output::{OnStall, OutputError, OutputOptions};
use crate::config::syslog::{Parse, SyslogOptions};
use crate::engine::framer::Lines;
use crate::engine::gap::Gap;
use crate::engine::peer::Peer;
use crate::engine::stats::OutputStats;
use crate::engine::syslog;

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
    /// Some output's name is made of what headers of messages say.
    asks_messages: bool,
    places: Vec<OutputAddr>,
    options: OutputOptions,
    outputs: Vec<Output>,
    /// Where lines enter the spool, if there is one. It is the last of the outputs.
    intake: Option<Intake>,
    /// Whether all others read from there, so that nothing has to be formatted for them.
    all_read: bool,
    stats: Vec<OutputStats>,
    /// Lines of one call, formatted.
    formatted: Vec<u8>,
    /// A line that came in two parts.
    whole_line: Vec<u8>,
    /// The sum over all outputs, after the last call. The server asks for it before each read.
    state: State,
    /// When the last lines came, in milliseconds since 1970.
    wall_ms: u64,
    /// Set when the last output that could take lines is gone, which is the end of the sink: its name, and what the system
    /// said.
    gone: Option<(String, Option<io::Error>)>,
    /// Outputs that were lost while others went on, of which the server was not told yet.
    losses: Vec<Loss>,
}

impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not derived: the binary would carry what prints all that is in it.
        f.write_str(&self.describe())
    }
}

impl Outputs {
    /// Checks outputs, and the options with them, without opening anything: their paths are looked at. No line is longer than `max_line` bytes.
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
        }
        let users: Vec<User> = outputs.iter().map(|output| output.uses(options)).collect();
        if let Some(sentence) = conflict(&users) {
            return Err(OutputError::new(sentence));
        }
        if let Some(output) = outputs.iter().find(|output| output.place().asks_messages(options))
            && options.syslog.is_none()
        {
            return Err(OutputError::new(format!(
                "--output {output:?} asks for what headers say, which nobody reads: add --parse syslog, or --listen ADDR:PORT,parse=syslog"
            )));
        }
        outputs.iter().try_for_each(|output| output.place().check(options)).map_err(OutputError::new)?;
        if let Some(output) = outputs.iter().find(|output| output.place().needs_json() && format != Format::Json) {
            return Err(OutputError::new(format!("--output {} takes JSON: add --format json", output.name())));
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
            if options.rotate_compress {
                return Err(OutputError::new(format!(
                    "--output {dated:?} has files that keep their names, and --rotate-compress is for rotated ones: \
                    take {{date}} out of the name and give --rotate-at, or leave it out"
                )));
            }
            options.rotate_at.get_or_insert_default();
        }
        let names: Vec<String> = readers(outputs, &options).map(|(_, name)| name).collect();
        if let Some(name) = spooled::name(&options).filter(|_| names.is_empty()) {
            return Err(OutputError::new(format!(
                "{name} would be read by no --output: --spool is for other machines; name one, such as tcp:192.0.2.7:4445, or leave it out"
            )));
        }
        spooled::validate(names, &options).map_err(OutputError::new)?;
        options
            .validate(has_file, format.overhead(&options.tag, options.mark_gaps, options.syslog).at_most(max_line, 1))
    }

    /// Opens each output.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(outputs: &[OutputAddr], format: Format, options: &OutputOptions) -> Result<Self, OpenError> {
        let mut opened: Vec<Output> = Vec::new();
        let mut identities: Vec<Identity> = Vec::new();
        let has_days = options.rotate_at.is_some()
            || options.syslog.is_some()
            || outputs.iter().any(|output| output.place().is_dated());
        let mut complaint = if has_days { complaint() } else { None };
        let mut of_spool = Books::default();
        let names: Vec<String> = readers(outputs, options).map(|(_, name)| name).collect();
        let intake = Intake::open(names, options, &mut of_spool)?;
        let mut readers_opened = 0;
        for output in outputs {
            let fails = |source| OpenError::of(output, source);
            let mut books = Books::default();
            let reads = intake.as_ref().filter(|_| output.place().reads_spool(options).is_some());
            if let Some(intake) = reads {
                // What is not grave enough never gets into the spool.
                let syslog = options.syslog.map(|syslog| SyslogOptions { min_severity: None, ..syslog });
                let name = output.place().name_with(options);
                let source = intake.source(name.clone(), (formatter(format, options, syslog), clock), &mut books);
                let target = output.place().open_reader(options, source, &mut books).map_err(fails)?;
                opened.push(Output::new(name, target, books, options));
                readers_opened += 1;
                continue;
            }
            let one = output.place().open(options, &mut books).map_err(fails)?;
            if let Some(identity) = one.identity {
                if identities.contains(&identity) {
                    return Err(fails(io::Error::other("another --output is the same file")));
                }
                identities.push(identity);
            }
            books.reports.extend(complaint.take());
            opened.push(Output::new(output.place().name_with(options), one.target, books, options));
        }
        if let (Some(intake), Some(name)) = (&intake, spooled::name(options)) {
            opened.push(Output::new(name, intake.writer(), of_spool, options));
        }
        let stats = opened.iter().map(|output| OutputStats {
            name: output.name().to_owned(),
            server: String::new(),
            counters: Default::default(),
        });
        Ok(Self {
            formatter: formatter(format, options, options.syslog),
            overhead: overhead(outputs, format, options),
            marks_gaps: options.mark_gaps,
            asks_messages: options.syslog.is_some()
                && outputs.iter().any(|output| output.place().asks_messages(options)),
            places: outputs.to_vec(),
            options: options.clone(),
            stats: stats.collect(),
            outputs: opened,
            all_read: intake.is_some() && readers_opened == outputs.len(),
            intake,
            formatted: Vec::new(),
            whole_line: Vec::new(),
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

    /// Takes over the options that can change while outputs are open: `rotate_size`, `rotate_age`, `rotate_keep`,
    /// `disk_full`, `flush_every`, `file_mode`, `file_group`, `make_dirs`, `on_stall`, `stall_timeout`, and `min_severity` of
    /// `syslog`. The others stay as they were. What became wrong by that is known from [`Self::validate`]; have files opened anew behind it ([`Order::Reopen`]).
    pub fn configure(&mut self, options: &OutputOptions) {
        self.options.renew(options);
        self.options.syslog.into_iter().for_each(|syslog| self.formatter.set_syslog(syslog));
        self.intake.iter_mut().for_each(|intake| intake.configure(&self.options));
        self.overhead = overhead(&self.places, self.formatter.format(), &self.options);
        self.outputs.iter_mut().for_each(|output| output.configure(&self.options));
        self.add_up();
    }

    fn give(&mut self, origin: &Origin<'_>, said: &Said, parts: Parts<'_>, lines: u64) {
        let len = len_of(parts);
        self.state.taken += len as u64;
        let mut all_waits = true;
        for output in &mut self.outputs {
            all_waits &= output.take(Whose::Client(origin, said), parts, lines);
        }
        if all_waits {
            // What a short line comes to: no output has to be asked.
            self.state.waiting += len * self.outputs.len();
            self.state.held += len * self.outputs.len();
        } else {
            self.add_up();
        }
    }

    /// Computes the sum over all outputs.
    fn add_up(&mut self) {
        let State { taken, filtered, .. } = self.state;
        let mut state = State { taken, delivered: taken, filtered, ..State::default() };
        for output in &self.outputs {
            let standing = output.standing();
            state.waiting += standing.waiting;
            state.held += standing.held;
            state.delivered = state.delivered.min(standing.delivered);
            state.held_up += standing.held_up;
            state.behind += standing.behind;
            state.releases += standing.releases;
            state.doubts += output.doubts();
            if let Some(since) = output.stuck_since() {
                state.stuck_since = Some(state.stuck_since.map_or(since, |before| before.min(since)));
            }
        }
        self.state = state;
    }

    /// Gives the formatted lines to all outputs; the buffer is used again.
    fn give_formatted(&mut self, origin: &Origin<'_>, said: &Said, lines: u64) {
        let mut formatted = mem::take(&mut self.formatted);
        self.give(origin, said, [&formatted, &[], &[]], lines);
        formatted.clear();
        formatted.shrink_to(KEPT_BYTES);
        self.formatted = formatted;
    }

    /// Messages whose headers say which file they go to: those of one kind that follow each other are given together.
    #[cold] // for who has no such outputs
    fn append_messages(&mut self, origin: &Origin<'_>, lines: Lines<'_>) {
        let trusts_host = self.options.syslog.is_some_and(|syslog| syslog.trust_host);
        let (mut said, mut count) = (Said::NOTHING, 0);
        let mut whole_line = mem::take(&mut self.whole_line);
        lines.each(|head, rest| {
            let mut line = rest;
            if !head.is_empty() {
                whole_line.clear();
                whole_line.extend_from_slice(head);
                whole_line.extend_from_slice(rest);
                line = &whole_line;
            }
            let header = syslog::parse(line);
            let says = Said::of(header.as_ref(), trusts_host);
            if says != said && count > 0 {
                self.give_formatted(origin, &said, mem::take(&mut count));
            }
            said = says;
            let is_kept = self.formatter.message(origin, header.as_ref(), line, &mut self.formatted);
            count += u64::from(is_kept);
            self.state.filtered = self.state.filtered.saturating_add(u64::from(!is_kept));
        });
        whole_line.clear();
        whole_line.shrink_to(KEPT_BYTES);
        self.whole_line = whole_line;
        if count > 0 {
            self.give_formatted(origin, &said, count);
        }
    }

    /// # Errors
    /// The output is gone for good.
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
            if let Some(cause) = output.passed_over() {
                self.losses.push(Loss { output: output.name().to_owned(), cause });
            }
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

    /// Gives up what outputs pass over by themselves; else each output that has taken nothing since before `since`, unless
    /// that is true of all.
    fn give_up(&mut self, since: Duration) -> bool {
        if self.outputs.iter_mut().map(Output::give_up).fold(false, |any, one| any | one) {
            return true;
        }
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
    let one = format.overhead(&options.tag, options.mark_gaps, options.syslog);
    let spool = spooled::overhead(options);
    let kept: Vec<Kept> = outputs.iter().map(|output| output.place().kept(options)).collect();
    let holds_a_line = kept.iter().any(|kept| kept.holds_a_line) || options.on_stall == OnStall::Drop;
    // Those that read the spool hold nothing of what comes, but for what they keep.
    let reading = if spool.per_byte > 0 { readers(outputs, options).count() } else { 0 };
    let count = outputs.len().saturating_sub(reading).max(usize::from(spool.per_byte == 0));
    Overhead {
        per_byte: spool.per_byte + one.per_byte * count,
        per_line: spool.per_line + one.per_line * count + kept.iter().map(|kept| kept.per_line).sum::<usize>(),
        kept: spool.kept + kept.iter().map(|kept| kept.bytes).sum::<usize>(),
        // An output that forwards may have to send a line again, and one that is passed over keeps one: room for one line
        // in each output.
        kept_lines: usize::from(holds_a_line),
    }
}

/// What writes lines as these options ask for.
fn formatter(format: Format, options: &OutputOptions, syslog: Option<SyslogOptions>) -> Formatter {
    let mut formatter = Formatter::new(format, &options.tag, options.mark_gaps);
    syslog.into_iter().for_each(|syslog| formatter.read_syslog(syslog, clock()));
    formatter
}

/// The outputs that read a spool where there is one, and what they are called there.
fn readers(outputs: &[OutputAddr], options: &OutputOptions) -> impl Iterator<Item = (usize, String)> {
    let named = outputs.iter().enumerate();
    named.filter_map(|(number, output)| Some((number, output.place().reads_spool(options)?)))
}

impl Sink for Outputs {
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>) {
        self.wall_ms = origin.wall_ms;
        if let Some(intake) = &mut self.intake {
            let left_out = intake.append(origin, lines);
            if self.all_read {
                self.state.filtered = self.state.filtered.saturating_add(left_out);
                let ending: &[u8] = if lines.ended { b"" } else { b"\n" };
                return self.give(origin, &Said::NOTHING, [lines.head, lines.body, ending], lines.count);
            }
        }
        if self.asks_messages && origin.parse == Parse::Syslog {
            return self.append_messages(origin, lines);
        }
        let said = &Said::NOTHING;
        if self.formatter.format() == Format::Raw && !self.formatter.reads(origin) {
            let ending: &[u8] = if lines.ended { b"" } else { b"\n" };
            return self.give(origin, said, [lines.head, lines.body, ending], lines.count);
        }
        let count = self.formatter.write(origin, lines, &mut self.formatted);
        self.state.filtered = self.state.filtered.saturating_add(lines.count.saturating_sub(count));
        if count > 0 {
            self.give_formatted(origin, said, count);
        }
    }

    fn gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        if self.marks_gaps {
            self.intake.iter_mut().for_each(|intake| intake.gap(origin, gap));
            self.formatter.gap(origin, gap, &mut self.formatted);
            self.give_formatted(origin, &Said::NOTHING, 1);
        }
    }

    fn flush(&mut self, now: Duration) -> io::Result<()> {
        // What others read is written first.
        let last = self.outputs.len().saturating_sub(1);
        let first = if self.intake.is_some() { last } else { 0 };
        for at in (first..=last).chain(0..first) {
            // The others get what is theirs, whatever becomes of this one.
            if let Err(error) = self.flush_one(at, now) {
                self.lose(at, Some(error));
            }
        }
        for (stats, output) in self.stats.iter_mut().zip(&self.outputs) {
            stats.counters = output.counters();
            if stats.server != output.server() {
                output.server().clone_into(&mut stats.server);
            }
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

    fn welcome(&self, peer: &Peer) -> Welcome {
        if self.state.held_up == 0 {
            return Welcome::All;
        }
        let host = peer.host();
        self.outputs.iter().map(|output| output.welcome(host)).min().unwrap_or(Welcome::All)
    }

    fn is_behind(&self, peer: &Peer) -> bool {
        self.state.behind > 0 && self.outputs.iter().any(|output| output.is_behind(peer.host()))
    }

    fn stuck_since(&self, output: usize) -> Option<Duration> {
        self.outputs.get(output)?.stuck_since()
    }

    fn is_falling_behind(&self, output: usize) -> bool {
        self.outputs.get(output).is_some_and(Output::is_falling_behind)
    }

    fn away_since(&self, output: usize) -> Option<Duration> {
        self.outputs.get(output)?.away_since()
    }

    fn unacked_since(&self, output: usize) -> Option<Duration> {
        self.outputs.get(output)?.unacked_since()
    }

    fn poll_event(&mut self) -> Option<Event<'_>> {
        if !self.losses.is_empty() {
            return Some(Event::Lost(self.losses.remove(0)));
        }
        let reports = (0..).zip(&mut self.outputs);
        let report = reports.into_iter().find_map(|(output, one)| Some((output, one.next_report()?)));
        if let Some((output, (weight, sentence))) = report {
            return Some(Event::Report { output, weight, sentence });
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
                self.formatter.set_clock(clock);
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
    use super::super::output::tests::{Next, World};
    use super::super::target::Wrote;
    use super::*;
    use crate::engine::gap::Why;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Outputs on these devices, after lines that fit none of their buffers were flushed.
    fn filled(devices: &[&str]) -> Outputs {
        let outputs: Vec<OutputAddr> = devices.iter().map(OutputAddr::file).collect();
        let mut outputs = Outputs::open(&outputs, Format::Raw, &OutputOptions::default()).unwrap();
        let peer = Peer::Unix { serial: 1 };
        let lines = Lines { head: b"", body: b"line\n", count: 1, ended: true };
        outputs.append(&Origin { peer: &peer, wall_ms: 0, parse: crate::config::syslog::Parse::Off }, lines);
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
    fn p8_an_event_for_an_output_that_is_gone_already_ends_nothing() {
        let mut outputs = filled(&["/dev/full", "/dev/null"]);
        assert!(outputs.obey(Order::GiveUp { since: Duration::from_secs(1) }));
        // Its descriptor may be open elsewhere, such as a socket that somebody shares with us: the kernel tells of it on.
        outputs.ready(0, true);
        assert!(outputs.flush(Duration::ZERO).is_ok(), "the other output goes on");
    }

    #[test]
    fn p8_the_slowest_output_is_named() {
        assert_eq!(filled(&["/dev/null", "/dev/full"]).describe(), "/dev/full");
    }

    /// Outputs that do what the test says.
    struct Played {
        outputs: Outputs,
        next: Vec<Rc<RefCell<Next>>>,
        told: Vec<Rc<RefCell<Vec<bool>>>>,
    }

    impl Played {
        fn new(worlds: Vec<World>, mark_gaps: bool) -> Self {
            let places: Vec<OutputAddr> = worlds.iter().map(|_| OutputAddr::file("/dev/null")).collect();
            let options = OutputOptions { mark_gaps, ..OutputOptions::default() };
            let mut outputs = Outputs::open(&places, Format::Raw, &options).unwrap();
            let (mut next, mut told) = (Vec::new(), Vec::new());
            outputs.outputs.clear();
            for world in worlds {
                next.push(world.next);
                told.push(world.told);
                outputs.outputs.push(world.output);
            }
            Self { outputs, next, told }
        }

        fn append(&mut self) {
            let lines = Lines { head: b"", body: b"a\n", count: 1, ended: true };
            self.outputs.append(
                &Origin { peer: &Peer::Unix { serial: 1 }, wall_ms: 0, parse: crate::config::syslog::Parse::Off },
                lines,
            );
        }

        /// What becomes of the next write of each.
        fn flush(&mut self, ms: u64, says: &[Result<Wrote, ErrorKind>]) -> io::Result<()> {
            for (next, says) in self.next.iter().zip(says) {
                let takes = if *says == Ok(Wrote::All) { usize::MAX } else { 0 };
                *next.borrow_mut() = Next { takes, says: *says };
            }
            self.outputs.flush(Duration::from_millis(ms))
        }

        /// Reports, with the number of their output, and those that were lost.
        fn events(&mut self) -> (Vec<(usize, String)>, Vec<Loss>) {
            let (mut reports, mut losses) = (Vec::new(), Vec::new());
            while let Some(event) = self.outputs.poll_event() {
                match event {
                    Event::Report { output, sentence, .. } => reports.push((output, sentence)),
                    Event::Lost(loss) => losses.push(loss),
                    Event::Watch(_) => panic!("none has a descriptor"),
                }
            }
            (reports, losses)
        }
    }

    const ALL: Result<Wrote, ErrorKind> = Ok(Wrote::All);
    const BLOCKED: Result<Wrote, ErrorKind> = Ok(Wrote::Blocked);
    const GONE: Result<Wrote, ErrorKind> = Err(ErrorKind::BrokenPipe);

    #[test]
    fn p8_together_they_hold_the_sum_and_are_as_far_as_the_slowest() {
        let mut played = Played::new(vec![World::waits(), World::waits()], false);
        played.append();
        let state = |played: &Played| played.outputs.state();
        assert_eq!(state(&played), State { taken: 2, waiting: 4, held: 4, ..State::default() });
        played.flush(1_000, &[BLOCKED, ALL]).unwrap();
        let stuck_since = Some(Duration::from_secs(1));
        let wanted = State { taken: 2, waiting: 2, held: 2, stuck_since, ..State::default() };
        assert_eq!(state(&played), wanted);
        let waiting: Vec<u64> = played.outputs.outputs().iter().map(|output| output.counters.waiting_bytes).collect();
        assert_eq!(waiting, [2, 0]);
        played.append();
        played.flush(2_000, &[BLOCKED, BLOCKED]).unwrap();
        assert_eq!(state(&played).stuck_since, stuck_since, "the one that is stuck for longer");
        for number in [0, 1] {
            played.outputs.ready(number, false);
        }
        played.flush(3_000, &[ALL, ALL]).unwrap();
        assert_eq!(state(&played), State { taken: 4, delivered: 4, ..State::default() });
        assert_eq!(played.outputs.due_in(Duration::from_secs(3)), None);
    }

    #[test]
    fn p11_one_that_is_gone_is_told_and_the_last_one_is_the_end() {
        for world in [World::waits as fn() -> World, World::drops] {
            let mut played = Played::new(vec![world(), world()], false);
            played.append();
            assert_eq!(played.outputs.describe(), "out");
            played.flush(0, &[ALL, GONE]).unwrap();
            assert_eq!(played.outputs.due_in(Duration::ZERO), Some(Duration::ZERO), "it is to be said");
            let (reports, lost) = played.events();
            let why = io::Error::from(ErrorKind::BrokenPipe);
            assert_eq!(reports, [(1, format!("out is gone for good ({why}): the other outputs go on without it"))]);
            assert!(matches!(&lost[..], [Loss { cause: LossCause::Gone { bytes: 2, .. }, .. }]), "{lost:?}");
            assert_eq!(played.outputs.state().waiting, 0);
            played.append();
            played.outputs.ready(0, false);
            assert_eq!(played.flush(1, &[ALL, ALL]).err().map(|error| error.kind()), None, "the other goes on");
            // Its reader closed it; that was the last.
            played.outputs.ready(0, true);
            assert_eq!(played.outputs.due_in(Duration::ZERO), Some(Duration::ZERO));
            assert_eq!(played.flush(2, &[ALL, ALL]).unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
    }

    #[test]
    fn p11_who_is_given_up_has_taken_nothing_since_before_the_time() {
        let mut played = Played::new(vec![World::waits(), World::waits()], false);
        played.append();
        played.flush(1_000, &[BLOCKED, ALL]).unwrap();
        let since = |ms| Order::GiveUp { since: Duration::from_millis(ms) };
        assert!(!played.outputs.obey(since(999)), "not for so long");
        assert!(played.outputs.obey(since(1_000)));
        assert_eq!((played.events().1.len(), played.outputs.state().waiting), (1, 0));
        assert!(!played.outputs.obey(since(9_000)), "the other has nothing that waits");
    }

    #[test]
    fn p13_what_is_ordered_is_done() {
        let mut played = Played::new(vec![World::waits(), World::waits()], false);
        played.append();
        played.flush(0, &[ALL, Err(ErrorKind::StorageFull)]).unwrap();
        assert_eq!(played.events().0.iter().map(|(output, _)| *output).collect::<Vec<_>>(), [1]);
        assert!(played.outputs.obey(Order::TryNow) && played.outputs.obey(Order::Reopen));
        played.flush(1, &[ALL, ALL]).unwrap();
        assert_eq!(played.outputs.state().waiting, 0, "it was tried before its pause was over");
    }

    #[test]
    fn p16_a_gap_is_marked_in_each_output_and_what_one_missed_only_in_that() {
        for (mark_gaps, blocks) in [(true, [2, 3]), (false, [1, 1])] {
            let mut played = Played::new(vec![World::waits(), World::drops()], mark_gaps);
            played.append();
            let gap = Gap { lines: 1, bytes: 1, why: Why::TooLong };
            played.outputs.gap(
                &Origin { peer: &Peer::Unix { serial: 1 }, wall_ms: 0, parse: crate::config::syslog::Parse::Off },
                gap,
            );
            played.flush(0, &[ALL, BLOCKED]).unwrap();
            played.flush(30_000, &[ALL, BLOCKED]).unwrap();
            played.outputs.ready(1, false);
            played.flush(30_001, &[ALL, ALL]).unwrap();
            let told = [0, 1].map(|number| played.told[number].borrow().len());
            assert_eq!((told, played.outputs.state().waiting), (blocks, 0), "with marks: {mark_gaps}");
        }
    }

    #[test]
    fn p11_all_are_asked_to_settle_and_one_that_is_passed_over_is_not_waited_for() {
        let mut played = Played::new(vec![World::waits(), World::drops()], false);
        played.append();
        played.flush(0, &[ALL, BLOCKED]).unwrap();
        assert!(!played.outputs.settle(Duration::ZERO));
        played.flush(30_000, &[ALL, BLOCKED]).unwrap();
        played.outputs.settle(Duration::from_secs(30));
        assert_eq!((played.outputs.left(), played.outputs.state().waiting), (1, 0));
        assert!(played.outputs.settle(Duration::from_secs(30)));
        let mut alone = Played::new(vec![World::drops()], false);
        alone.append();
        alone.flush(0, &[BLOCKED]).unwrap();
        alone.flush(30_000, &[BLOCKED]).unwrap();
        assert!(!alone.outputs.settle(Duration::from_secs(30)));
        assert_eq!((alone.outputs.left(), alone.outputs.state().waiting), (1, 2));
    }

    #[test]
    fn p5_each_output_holds_its_own_and_one_that_is_passed_over_a_line() {
        let files = ["a", "b", "c"].map(OutputAddr::file);
        let of = |outputs: &[OutputAddr], on_stall| {
            let found = overhead(outputs, Format::Raw, &OutputOptions { on_stall, ..OutputOptions::default() });
            (found.per_byte, found.per_line, found.kept_lines)
        };
        assert_eq!(of(&files[..1], OnStall::Wait), (1, 1, 0));
        assert_eq!(of(&files, OnStall::Wait), (3, 3, 0));
        assert_eq!((of(&files, OnStall::Drop), of(&[], OnStall::Wait)), ((3, 3, 1), (1, 1, 0)));
        let next: OutputAddr = "tcp:127.0.0.1:1".parse().unwrap();
        assert_eq!(of(&[files[0].clone(), next], OnStall::Wait), (2, 2, 1), "one that forwards may send a line again");
    }

    #[test]
    fn p15_no_two_outputs_write_to_the_same_file() {
        let of = |files: &[&str]| {
            let files: Vec<OutputAddr> = files.iter().map(OutputAddr::file).collect();
            Outputs::validate(&files, Format::Raw, &OutputOptions::default(), 100).err().map(|error| error.to_string())
        };
        assert!(of(&["a", "b", "a"]).is_some_and(|said| said.contains("is given twice")));
        assert_eq!(of(&["a", "b"]), None);
        let path = std::env::temp_dir().join(format!("lumberjack-outputs-{}", std::process::id()));
        let again = path.parent().unwrap().join(".").join(path.file_name().unwrap());
        let same = [OutputAddr::file(&path), OutputAddr::file(again)];
        let opened = Outputs::open(&same, Format::Raw, &OutputOptions::default());
        let _ = std::fs::remove_file(path);
        assert!(opened.unwrap_err().to_string().contains("another --output is the same file"));
    }

    #[test]
    fn p17_the_doubts_of_all_are_those_of_each() {
        let mut played = Played::new(vec![World::in_doubt(2), World::in_doubt(1), World::waits()], false);
        played.flush(0, &[ALL; 3]).unwrap();
        assert_eq!(played.outputs.state().doubts, 3);
    }
}
