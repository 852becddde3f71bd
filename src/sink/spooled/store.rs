//! The spool, and what is on its way into it: batches that are not written yet, and the one job that runs beside the loop,
//! such as a sync. As an output's target it is written to, waited for, and named when it takes nothing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::config::output::{OutputOptions, SyncEvery};
use crate::config::units::soonest;
use crate::config::units::{DisplayLines, DisplaySize};
use crate::engine::gap::Gap;
use crate::sink::Origin;
use crate::sink::pace::Backoff;
use crate::sink::source::Reached;
use crate::sink::target::{Books, Standing, Target, Took, Whose, Wrote};
use crate::sink::waiting::{Parts, len_of};
use crate::spool::disk::RealDisk;
use crate::spool::position::Found;
use crate::spool::record::{Batch, OVERHEAD_BYTES};
use crate::spool::writer::Wait;
use crate::spool::{Spool, reader::Limit};
use crate::task::Task;

/// How often positions are looked at at least: a little more than a minute, after which they are to be written down.
const POSITIONS: Duration = Duration::from_secs(61);
/// After so many bytes that were acked, too.
const LOOK_BYTES: u64 = 1 << 20;
/// At the end, the last syncs may take so long: longer than a busy card needs for a segment.
const LAST_SYNC: Duration = Duration::from_secs(5);
/// The longest pause after a job has failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The spool and all who use it: one process has one.
pub(super) type Shared = Rc<RefCell<Store>>;

/// The spool, and what is on its way into it.
pub(super) struct Store {
    pub(super) spool: Spool<RealDisk>,
    disk: RealDisk,
    name: String,
    /// Lines that are not written yet, in order; the last one takes more.
    batches: VecDeque<Batch>,
    /// An empty batch, with its memory.
    spare: Option<Batch>,
    job: Option<Task<io::Result<()>>>,
    /// A job has failed, and the next one waits.
    rest: Option<Backoff>,
    sync: SyncEvery,
    /// How long an output may fall further behind.
    pub(super) lag_alarm: Duration,
    /// When the next sync may begin.
    next_sync: Duration,
    /// Bytes that the sink was given so far, and how many of them were pushed before the last batch was written.
    taken: u64,
    written: u64,
    /// How many of the bytes up to a number's line: of those that are written and not synced.
    unsynced: VecDeque<(u64, u64)>,
    synced: u64,
    /// Why the last write had to wait, as far as it was said.
    full: Option<mem::Discriminant<Wait>>,
    /// Outputs have more lines than at the last write.
    has_acks: bool,
    /// Bytes that they had acked by then.
    acked_bytes: u64,
    /// When positions are to be looked at: they are written down once a minute.
    look_at: Option<Duration>,
    /// Outputs that still read.
    pub(super) readers: usize,
    /// What each is called.
    names: Vec<String>,
    /// What the last job failed with.
    failed: Option<io::Error>,
    /// The end has come: it is over then, whatever the disk does.
    over_at: Option<Duration>,
}

impl Store {
    pub(super) fn new(spool: Spool<RealDisk>, disk: RealDisk, name: String, options: &OutputOptions) -> Self {
        Self {
            spool,
            disk,
            name,
            batches: VecDeque::new(),
            spare: None,
            job: None,
            rest: None,
            sync: options.sync,
            lag_alarm: options.spool.lag_alarm,
            next_sync: Duration::ZERO,
            taken: 0,
            written: 0,
            unsynced: VecDeque::new(),
            synced: 0,
            full: None,
            has_acks: false,
            acked_bytes: 0,
            look_at: None,
            readers: 0,
            names: Vec::new(),
            failed: None,
            over_at: None,
        }
    }

    /// What a start found, for the log.
    pub(super) fn tell_start(&self, size: usize, books: &mut Books) {
        let size = DisplaySize(size);
        let (name, start) = (&self.name, self.spool.start());
        books.tell(format_args!("{name} takes {size} at most, and is that of box {}", self.spool.box_id()));
        for output in &start.forgotten {
            books.report(format_args!(
                "{name} has a position of {output}, which is no --output any more: lines are not kept for it"
            ));
        }
        let damaged = start.headless + start.mended;
        if damaged > 0 {
            books.report(format_args!(
                "segments of {name} that are damaged: {damaged}; lumberjack verify says what is missing"
            ));
        }
        if start.foreign > 0 {
            books.report(format_args!(
                "segments of {name} that are another box's: {}; they are left alone, and take room",
                start.foreign
            ));
        }
    }

    /// One more output reads, which is called so; its number.
    pub(super) fn add_reader(&mut self, name: &str, books: &mut Books) -> usize {
        self.readers += 1;
        self.names.push(name.to_owned());
        let number = self.readers - 1;
        self.tell_position(number, books);
        number
    }

    /// What a start found of an output.
    fn tell_position(&self, number: usize, books: &mut Books) {
        let Some(position) = self.spool.position(number) else { return };
        let (name, output, lines) = (&self.name, self.name_of(number), DisplayLines(self.spool.lag(number)));
        if position.found() == Found::Lost {
            books.report(format_args!(
                "the position of {output} in {name} is lost: it begins with the oldest line, and may get lines again"
            ));
        }
        if lines.0 > 0 {
            books.tell(format_args!("up to {lines} wait in {name} for {output}"));
        }
    }

    fn name_of(&self, number: usize) -> &str {
        self.names.get(number).map_or("", String::as_str)
    }

    /// Takes a line, in two parts and without its end.
    pub(super) fn push_line(&mut self, origin: &Origin<'_>, parts: [&[u8]; 2]) {
        self.push(&mut |batch| batch.push_line(origin.peer, origin.wall_ms, origin.parse, parts));
    }

    /// Takes the mark of lines that are missing.
    pub(super) fn push_gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        self.push(&mut |batch| batch.push_gap(origin.peer, origin.wall_ms, gap));
    }

    fn push(&mut self, push: &mut dyn FnMut(&mut Batch) -> bool) {
        if self.batches.back_mut().is_some_and(&mut *push) {
            return;
        }
        // A full one is written at the end of the turn, or as soon as the sink is full.
        let mut batch = self.spare.take().unwrap_or_else(|| self.spool.batch());
        push(&mut batch);
        self.batches.push_back(batch);
    }

    /// Writes what waits, and begins the next job. True if nothing waits any more.
    fn go_on(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        let now_ms = wall_ms();
        self.end_job(now, books);
        if mem::take(&mut self.has_acks) {
            self.look_at.get_or_insert(now + POSITIONS);
            self.acked_bytes %= LOOK_BYTES;
        }
        self.look_at = self.look_at.filter(|at| *at > now);
        let mut wrote = Ok(Wrote::All);
        if self.may_work(now) {
            // What a failed sync left in doubt comes first, though nothing else may come.
            if let Err(wait) = self.spool.mend(now_ms) {
                wrote = self.waits(wait, books);
            }
            while let Some(batch) = self.batches.front_mut().filter(|_| matches!(wrote, Ok(Wrote::All))) {
                let bytes = batch.len();
                match self.spool.write(batch, now_ms) {
                    Ok(()) => {
                        books.wrote(bytes);
                        self.wrote();
                    }
                    Err(wait) => {
                        wrote = self.waits(wait, books);
                        break;
                    }
                }
            }
        } else if !self.batches.is_empty() {
            wrote = Ok(Wrote::Busy);
        }
        if self.batches.is_empty() {
            self.written = self.taken;
            self.note_room(books);
        }
        self.begin_job(now, now_ms);
        books.counters.spool_segments = self.spool.directory().segments().len() as u64;
        books.counters.spool_bytes = self.spool.bytes();
        wrote
    }

    /// The first batch is in the spool.
    fn wrote(&mut self) {
        let batch = self.batches.pop_front();
        self.spare = self.spare.take().or(batch);
        if self.batches.is_empty() {
            // Before that, nobody knows how much of what was given is in the batches that are written.
            self.written = self.taken;
        }
        if self.sync != SyncEvery::Never {
            let last = self.spool.last_number();
            match self.unsynced.back_mut() {
                Some((_, taken)) if *taken == self.written => {}
                _ => self.unsynced.push_back((last, self.written)),
            }
        }
    }

    /// Says why lines wait, if that is new.
    fn waits(&mut self, wait: Wait, books: &mut Books) -> io::Result<Wrote> {
        match wait {
            Wait::Sync => Ok(Wrote::Busy),
            Wait::Disk(error) => Err(error),
            Wait::Acks | Wait::Others => {
                let why = mem::discriminant(&wait);
                if self.full.replace(why) != Some(why) {
                    self.tell_full(&wait, books);
                }
                Ok(Wrote::Away)
            }
        }
    }

    fn tell_full(&self, wait: &Wait, books: &mut Books) {
        let name = &self.name;
        if matches!(wait, Wait::Others) {
            let kib = self.spool.directory().foreign_bytes().div_ceil(1024);
            books.report(format_args!(
                "{name} is full, and {kib} KiB in it are other boxes' segments or nobody's files: clients wait until those are moved elsewhere (lumberjack verify says which segments); or raise --spool-size"
            ));
        } else {
            let slowest = self.slowest();
            books.report(format_args!(
                "{name} is full: clients wait until {slowest} has taken lines; raise --spool-size, or give --spool-full drop-oldest"
            ));
        }
    }

    fn note_room(&mut self, books: &mut Books) {
        if self.full.take().is_some() {
            books.report(format_args!("{} takes lines again", self.name));
        }
    }

    /// The output that is furthest behind.
    fn slowest(&self) -> &str {
        self.name_of((0..self.names.len()).max_by_key(|output| self.spool.lag(*output)).unwrap_or_default())
    }

    fn end_job(&mut self, now: Duration, books: &mut Books) {
        let Some(job) = self.job.take_if(|job| job.is_done()) else { return };
        let result = job.result().unwrap_or_else(|| Err(io::Error::other("its thread has ended")));
        self.spool.done(&result);
        match result {
            Ok(()) => {
                books.counters.syncs = books.counters.syncs.saturating_add(1);
                (self.rest, self.failed) = (None, None);
            }
            Err(error) => {
                books.counters.failures = books.counters.failures.saturating_add(1);
                self.rest_longer(now);
                books.report(format_args!(
                    "cannot sync {}: {error}; what is not synced is still in memory, and is written again",
                    self.name
                ));
                self.failed = Some(error);
            }
        }
        let synced = self.spool.synced();
        while let Some((number, taken)) = self.unsynced.front().copied()
            && number <= synced
        {
            self.synced = taken;
            self.unsynced.pop_front();
        }
    }

    /// Whether no pause after a failed job stands against the next try.
    fn may_work(&self, now: Duration) -> bool {
        self.rest.is_none_or(|rest| rest.is_due(now))
    }

    fn rest_longer(&mut self, now: Duration) {
        self.rest = Some(self.rest.map_or_else(|| Backoff::begin(now), |rest| rest.again(now, LONGEST_PAUSE)));
    }

    fn begin_job(&mut self, now: Duration, now_ms: u64) {
        if self.job.is_some() || !self.may_work(now) {
            return;
        }
        if let SyncEvery::Time(every) = self.sync
            && !self.unsynced.is_empty()
            && now >= self.next_sync
        {
            self.spool.want_sync();
            self.next_sync = now + every;
        }
        let Some(job) = self.spool.next_job(now_ms) else {
            // What failed is of no matter any more.
            self.rest = None;
            return;
        };
        let disk = self.disk.clone();
        match Task::begin(now, move || job.run(&disk)) {
            Ok(task) => self.job = Some(task),
            Err(error) => {
                self.spool.done(&Err(error));
                self.rest_longer(now);
            }
        }
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        if self.has_acks && (self.full.is_some() || self.acked_bytes >= LOOK_BYTES) {
            return Some(Duration::ZERO);
        }
        let end = self.over_at.and_then(|at| at.checked_sub(now)).filter(|left| !left.is_zero());
        let job = self.job.as_ref().map(|job| job.due_in(now));
        let rest = self.rest.map(|rest| rest.retry_at().saturating_sub(now));
        let sync = (!self.unsynced.is_empty()).then(|| self.next_sync.saturating_sub(now));
        let own = match (job, rest) {
            (Some(job), _) => Some(job),
            (None, Some(rest)) => Some(rest),
            (None, None) => soonest(&[sync, self.look_at.map(|at| at.saturating_sub(now))]),
        };
        soonest(&[own, end])
    }

    /// An output has all lines up to this one.
    pub(super) fn acked(&mut self, output: usize, reached: Reached, bytes: u64) {
        self.spool.acked(output, reached.number, reached.sequence, bytes);
        self.has_acks = true;
        self.acked_bytes = self.acked_bytes.saturating_add(bytes);
    }

    /// The position of an output is to be written down at once.
    pub(super) fn want_position(&mut self, output: usize) {
        self.spool.want_position(output);
        (self.has_acks, self.acked_bytes) = (true, LOOK_BYTES);
    }

    /// How far outputs may read.
    pub(super) fn readable(&self) -> Limit {
        self.spool.readable()
    }

    /// The highest number of a line, one that is not written yet among them.
    pub(super) fn last_number(&self) -> u64 {
        let waiting: u64 = self.batches.iter().map(|batch| u64::from(batch.count())).sum();
        self.spool.last_number().saturating_add(waiting)
    }

    /// The end: all is written, synced and closed.
    fn settle(&mut self, now: Duration, books: &mut Books) -> bool {
        if self.readers > 0 || !self.batches.is_empty() {
            return false;
        }
        let over_at = match self.over_at {
            Some(at) => at,
            None => {
                self.spool.close();
                *self.over_at.insert(now + LAST_SYNC)
            }
        };
        let _ = self.go_on(now, books);
        if self.spool.is_closed() {
            return true;
        }
        // A disk that takes no sync now is not waited for: the next start syncs what was written.
        if now >= over_at {
            let error = self.failed.take().unwrap_or_else(|| ErrorKind::TimedOut.into());
            books.unsynced = Some(error);
            return true;
        }
        false
    }

    /// What each output has not got yet, for the end.
    fn left(&self) -> Vec<(String, u64)> {
        self.names.iter().enumerate().map(|(output, name)| (name.clone(), self.spool.lag(output))).collect()
    }
}

/// Milliseconds since 1970.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The spool as a target: what it takes is already in its batches, so that only bytes are counted.
pub(super) struct Writer {
    store: Shared,
    has_told: bool,
}

impl Writer {
    pub(super) fn new(store: Shared) -> Self {
        Self { store, has_told: false }
    }
}

impl Target for Writer {
    fn take(&mut self, _: Whose<'_>, parts: Parts<'_>, _: bool, _: &mut Books) -> Took {
        self.store.borrow_mut().taken += len_of(parts) as u64;
        // What waits is not what was given: the sum has to be made anew.
        Took::Written
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        self.store.borrow_mut().go_on(now, books)
    }

    fn standing(&self) -> Standing {
        let store = self.store.borrow();
        let waiting = store.batches.iter().map(Batch::len).sum::<usize>();
        let delivered = if store.sync == SyncEvery::Never { store.written } else { store.synced };
        let delivered = if store.unsynced.is_empty() { store.written } else { delivered };
        Standing { waiting, held: waiting + store.spool.retained_bytes(), delivered, ..Standing::default() }
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        let store = &mut *self.store.borrow_mut();
        let dropped = mem::take(&mut store.batches);
        let lines = dropped.iter().map(|batch| u64::from(batch.count())).sum();
        (lines, dropped.iter().map(|batch| batch.len().saturating_sub(OVERHEAD_BYTES)).sum())
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        self.store.borrow().due_in(now)
    }

    fn settle(&mut self, now: Duration, books: &mut Books) -> bool {
        let is_settled = self.store.borrow_mut().settle(now, books);
        if is_settled {
            self.tell_kept(books);
        }
        is_settled
    }

    fn tell_kept(&mut self, books: &mut Books) {
        if mem::replace(&mut self.has_told, true) {
            return;
        }
        let store = self.store.borrow();
        for (output, lines) in store.left().into_iter().filter(|(_, lines)| *lines > 0) {
            let lines = DisplayLines(lines);
            books.tell(format_args!("{} keeps {lines} for {output}, which the next start goes on with", store.name));
        }
    }
}
