//! Worlds from seeds: lines, outputs, failing disks, kills, power cuts and damage in an order that dice choose, beside a slow
//! model that knows of each line what has become of it.
//!
//! `SPOOL_SEEDS=0..1000000 cargo test --release --lib spool::world` runs more of them, `SPOOL_SEED=42` one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::directory::{PAGE_BYTES, Segment};
use super::error::Cause;
use super::reader::{Next, Reader};
use super::record::{Batch, Entry, Line};
use super::simulated::{Dice, SimDisk};
use super::writer::{Job, Wait};
use super::{Full, Settings, Spool};
use crate::config::syslog::Parse;
use crate::engine::gap::{Gap, Why};
use crate::engine::peer::{Peer, PollerName};

const MAX_LINE: usize = 1500;
/// More calls than that for one step are a loop.
const MOST_CALLS: u64 = 50_000;

/// What a line was, by what it was called when it was made.
fn line_of(id: u64) -> Vec<u8> {
    let mut dice = Dice::new(id);
    let len = if dice.one_in(30) { MAX_LINE } else { dice.below(200) };
    let text = format!("{id} ").into_bytes();
    (0..len).map(|at| text[at % text.len()]).collect()
}

fn peer_of(id: u64) -> Peer {
    match id % 4 {
        0 => Peer::V4 { ip: [10, 0, 0, (id % 7).to_le_bytes()[0]], port: 5 },
        1 => Peer::V6 { ip: [(id % 5).to_le_bytes()[0]; 16], port: 6, scope: 1 },
        2 => Peer::Poller(PollerName::new("a-poller-with-a-name-of-more-than-one-place").unwrap()),
        _ => Peer::Unix { serial: 9 },
    }
}

fn is_gap(id: u64) -> bool {
    id % 17 == 16
}

fn push(batch: &mut Batch, id: u64, now_ms: u64) -> bool {
    if is_gap(id) {
        return batch.push_gap(&peer_of(id), now_ms, Gap { lines: id, bytes: 2 * id, why: Why::Memory });
    }
    let line = line_of(id);
    let (head, rest) = line.split_at(line.len() / 3);
    batch.push_line(&peer_of(id), now_ms, if id.is_multiple_of(2) { Parse::Off } else { Parse::Syslog }, [head, rest])
}

fn is_line(line: &Line<'_>, id: u64) -> bool {
    let wanted = line_of(id);
    let parse = if id.is_multiple_of(2) { Parse::Off } else { Parse::Syslog };
    let entry = match is_gap(id) {
        true => Entry::Gap(Gap { lines: id, bytes: 2 * id, why: Why::Memory }),
        false => Entry::Line(&wanted, parse),
    };
    (line.entry, line.peer) == (entry, peer_of(id))
}

/// What has become of each line.
#[derive(Debug, Default)]
struct Model {
    /// What was written under each number, the last time that it was given.
    given: BTreeMap<u64, u64>,
    /// What was to be written under each number when that failed.
    tried: BTreeMap<u64, Vec<u64>>,
    /// Numbers of lines that count, as the disk told at the start, or since.
    counted: BTreeSet<u64>,
    /// Numbers whose line has to be there: it was synced.
    safe: BTreeSet<u64>,
    /// Numbers whose line was not synced when the power went, and may be torn; or is not in memory, and a sync failed.
    doubtful: BTreeSet<u64>,
    /// Numbers that an output has seen.
    left: BTreeSet<u64>,
    /// For each output, what it got or was told to be missing, and the highest number that it acked.
    outputs: Vec<Output>,
}

impl Model {
    fn check(&self, line: &Line<'_>) {
        let tried = self.tried.get(&line.number).into_iter().flatten().rev();
        let mut ids = self.given.get(&line.number).into_iter().chain(tried);
        assert!(ids.any(|id| is_line(line, *id)), "{line:?} is what was written");
    }
}

#[derive(Debug, Default)]
struct Output {
    got: BTreeSet<u64>,
    told_missing: BTreeSet<u64>,
    acked: u64,
    most_acked: u64,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Orderly,
    Kill,
    Cut,
}

struct World {
    dice: Dice,
    disk: SimDisk,
    settings: Settings,
    model: Model,
    now_ms: u64,
    next_id: u64,
    /// No power cut, no error, no damage: whatever was written is as safe as if it was synced.
    is_gentle: bool,
    /// Bits were flipped, or a bad page was passed: safe lines may be missing.
    is_damaged: bool,
    wrote_lines: u64,
    /// The first number of this life, how many syncs had failed before it, and what is synced in it.
    life_began_at: u64,
    /// Segments with lower numbers were removed at some time; a cut may bring some of them back.
    removed_below: u64,
    next_number: u64,
    doubts: u64,
    synced: u64,
    is_told: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let is_gentle = dice.one_in(4);
        let outputs: Vec<String> = (0..dice.below(3)).map(|number| format!("tcp:host:{number}")).collect();
        let segment = PAGE_BYTES * (2 + dice.below(6)) as u64;
        let full = if dice.one_in(2) { Full::Wait } else { Full::DropOldest };
        let mut settings =
            Settings { size: 0, max_line: MAX_LINE, segment_bytes: Some(segment), full, outputs, take_over: None };
        settings.size = settings.least_size() + dice.below(4) as u64 * segment;
        let mut model = Model::default();
        model.outputs.resize_with(settings.outputs.len(), Output::default);
        let disk = SimDisk::new(dice.roll());
        World {
            dice,
            disk,
            settings,
            model,
            now_ms: 1_000_000,
            next_id: 1,
            is_gentle,
            is_damaged: false,
            wrote_lines: 0,
            life_began_at: 0,
            removed_below: 0,
            next_number: 1,
            doubts: 0,
            synced: 0,
            is_told: std::env::var_os("SPOOL_SEED").is_some(),
        }
    }

    fn run(&mut self) {
        for _ in 0..1 + self.dice.below(5) {
            let end = match self.dice.below(3) {
                0 => End::Orderly,
                1 if !self.is_gentle => End::Cut,
                _ => End::Kill,
            };
            if !self.is_gentle && self.dice.one_in(2) {
                self.disk.fail_one_in(20 + self.dice.below(100));
            }
            if self.dice.one_in(6) {
                let share = self.dice.below(usize::try_from(self.settings.size).unwrap());
                self.disk.set_capacity(share);
            }
            if end != End::Orderly && self.dice.one_in(2) {
                self.disk.die_after(Some(self.dice.below(40_000)));
            }
            let steps = 5 + self.dice.below(60);
            self.live(steps, end);
            self.disk.fail_one_in(0);
            self.disk.set_capacity(usize::MAX);
            if !self.is_gentle && self.dice.one_in(8) {
                self.damage();
            }
        }
        self.judge();
    }

    fn damage(&mut self) {
        self.is_damaged = true;
        for _ in 0..1 + self.dice.below(4) {
            let names = self.disk.names();
            if names.is_empty() {
                return;
            }
            let name = self.dice.pick(&names).clone();
            let len = self.disk.read(&name).len();
            // Most hit nothing but what belongs to records.
            let byte = if self.dice.one_in(4) { self.dice.below(len) } else { 96 + self.dice.below(len) };
            self.disk.flip(&name, byte);
        }
    }

    fn open(&mut self) -> Option<Spool<SimDisk>> {
        let before = self.disk.calls();
        for tries in 0.. {
            let spool = Spool::open(self.disk.clone(), self.settings.clone(), self.now_ms);
            assert!(self.disk.calls() - before < MOST_CALLS, "a start ends");
            match spool {
                // It may have died while it started.
                Ok(spool) => return Some(spool).filter(|_| !self.disk.is_dead()),
                Err(Cause::Io(_)) if self.disk.is_dead() => return None,
                Err(Cause::Io(error)) => {
                    assert!(tries < 10, "nothing but a failing disk refuses: {error}");
                    if tries == 8 {
                        self.disk.fail_one_in(0);
                        self.disk.set_capacity(usize::MAX);
                    }
                    // The lock goes with who could not open it.
                    self.unlock();
                }
                Err(cause) => panic!("nothing refuses to start for damage: {cause:?}"),
            }
        }
        None
    }

    /// With one seed, what happens is told.
    fn tell(&self, what: &dyn std::fmt::Debug) {
        if self.is_told {
            eprintln!("{what:?}");
        }
    }

    fn unlock(&self) {
        self.disk.unlock();
    }

    /// A spool was opened: what it takes for given is what may be, and has all that was safe.
    fn started(&mut self, spool: &Spool<SimDisk>) {
        let last = spool.last_number();
        let next_before = std::mem::replace(&mut self.next_number, spool.next_number()).max(1);
        if self.disk.doubts() > self.doubts {
            self.model.doubtful.extend(self.model.counted.difference(&self.model.safe));
        }
        (self.life_began_at, self.doubts, self.synced) = (spool.next_number(), self.disk.doubts(), spool.synced());
        self.tell(&format_args!("started: last {last}, next {}", spool.next_number()));
        for segment in spool.directory().segments() {
            self.tell(segment);
        }
        let model = &mut self.model;
        let lost: Vec<u64> = model.counted.range(last + 1..).copied().collect();
        for number in lost {
            assert!(self.is_damaged || !model.safe.contains(&number), "{number} was safe, and {last} is the last");
            model.counted.remove(&number);
            model.safe.remove(&number);
        }
        // Of a record that was being written the head may be there: its lines count, as lost.
        if last >= next_before && last - next_before < 1_000 {
            model.counted.extend(next_before..=last);
        }
        // What an earlier life left is synced now. Of a torn record the lines count, but are not there.
        let is_there = |number: &&u64| model.given.contains_key(number) && !model.doubtful.contains(number);
        // Unless the directory could not be synced: then nothing may leave.
        let left: Vec<u64> = match spool.readable().last {
            0 => Vec::new(),
            _ => model.counted.iter().filter(is_there).copied().collect(),
        };
        model.safe.extend(left);
        let reused = model.left.range(spool.next_number()..).next();
        assert_eq!(reused, None, "a number that has left is not given again, next is {}", spool.next_number());
        let safe = model.safe.range(spool.next_number()..).next();
        assert_eq!(safe, None, "nor is one that was synced");
        for (number, output) in self.model.outputs.iter_mut().enumerate() {
            let position = spool.position(number).unwrap();
            let acked = position.place().acked;
            if !position.is_known() {
                // It begins with the oldest line, as a new one does.
                output.most_acked = output.most_acked.max(acked);
            }
            assert!(acked <= output.most_acked, "a position is never beyond what was acked");
            output.acked = acked;
        }
    }

    fn live(&mut self, steps: usize, end: End) {
        self.now_ms += 10_000;
        let Some(mut spool) = self.open() else { return self.end(end) };
        self.started(&spool);
        let mut batch = spool.batch();
        let mut ids = Vec::new();
        let mut job: Option<(Job<u32>, Option<io::Result<()>>)> = None;
        for _ in 0..steps {
            self.now_ms += self.dice.roll() % 20_000;
            let calls = self.disk.calls();
            match self.dice.below(10) {
                0..=2 => self.gather(&mut batch, &mut ids),
                3 | 4 => self.write(&mut spool, &mut batch, &mut ids),
                5 => spool.want_sync(),
                6 | 7 => {
                    if let Some((job, early)) = job.take() {
                        let result = early.unwrap_or_else(|| job.run(&self.disk));
                        spool.done(&result);
                        self.tell(&format_args!("{job:?}: {result:?}, synced {}", spool.synced()));
                    } else {
                        // A thread may be done long before that is heard of, or begin late.
                        let is_early = self.dice.one_in(2);
                        job = spool.next_job(self.now_ms).map(|job| {
                            let early = is_early.then(|| job.run(&self.disk));
                            (job, early)
                        });
                    }
                }
                _ => self.read(&mut spool),
            }
            assert!(self.disk.calls() - calls < MOST_CALLS, "a step ends");
            self.note_synced(&spool);
            assert!(self.disk.most_bytes() as u64 <= self.settings.size, "the bound is never passed");
            if self.disk.is_dead() {
                return self.end(end);
            }
        }
        if end == End::Orderly {
            self.close(&mut spool, job);
        }
        drop(spool);
        self.end(end);
    }

    fn gather(&mut self, batch: &mut Batch, ids: &mut Vec<u64>) {
        for _ in 0..1 + self.dice.below(12) {
            if !push(batch, self.next_id, self.now_ms) {
                return;
            }
            ids.push(self.next_id);
            self.next_id += 1;
        }
    }

    fn write(&mut self, spool: &mut Spool<SimDisk>, batch: &mut Batch, ids: &mut Vec<u64>) {
        let first = spool.next_number();
        let written = spool.write(batch, self.now_ms);
        self.tell(&format_args!("write from {first}: {written:?}, next {}", spool.next_number()));
        match written {
            Ok(()) => {
                for (number, id) in (first..).zip(ids.drain(..)) {
                    self.wrote_lines += 1;
                    assert!(!self.model.left.contains(&number), "{number} has left, and is given again");
                    self.model.given.insert(number, id);
                    self.model.counted.insert(number);
                    if self.is_gentle {
                        self.model.safe.insert(number);
                    }
                }
                assert!(batch.is_empty() && spool.next_number() >= first);
            }
            Err(Wait::Acks) => assert_eq!(self.settings.full, Full::Wait, "room is made"),
            Err(Wait::Others) => assert!(spool.directory().segments().len() < 3, "room is made"),
            // A process that died while it wrote may have written all of it.
            Err(Wait::Disk(_)) => {
                let tried = (first..).zip(ids.iter().copied());
                tried.for_each(|(number, id)| self.model.tried.entry(number).or_default().push(id));
            }
            Err(Wait::Sync) => {}
        }
    }

    fn note_synced(&mut self, spool: &Spool<SimDisk>) {
        self.next_number = spool.next_number();
        // Of one that was to be in the next again, that may not have all.
        let mut left = spool.directory().segments().iter();
        let kept = left.find(|segment| segment.header.is_none_or(|header| !header.rewrites));
        let oldest = kept.map_or(u64::MAX, |kept| kept.name.first);
        let is_part = |first: &Segment| first.header.is_some_and(|header| header.rewrites) && !first.is_complete;
        let is_whole = !spool.directory().segments().first().is_some_and(is_part);
        let removed = if is_whole { spool.directory().start().0 } else { oldest };
        self.removed_below = self.removed_below.max(removed);
        if self.disk.doubts() > self.doubts {
            let model = &mut self.model;
            model.doubtful.extend(model.counted.difference(&model.safe));
        }
        if spool.synced() <= self.synced {
            return;
        }
        let synced = self.model.counted.range(self.life_began_at..=spool.synced());
        self.model.safe.extend(synced);
        self.synced = spool.synced();
    }

    fn read(&mut self, spool: &mut Spool<SimDisk>) {
        if self.model.outputs.is_empty() {
            return;
        }
        let output = self.dice.below(self.model.outputs.len());
        for _ in 0..1 + self.dice.below(6) {
            if !self.read_once(spool, output) {
                return;
            }
        }
        if self.dice.one_in(12) {
            let acked = self.model.outputs[output].acked;
            spool.go_to(output, acked + 1);
        }
    }

    /// Of an oldest segment that has no header nobody knows how many lines were before it.
    fn is_start_known(&self, spool: &Spool<SimDisk>) -> bool {
        let oldest = spool.directory().segments().first();
        oldest.is_none_or(|oldest| oldest.header.is_some() || oldest.name.first == 1)
    }

    /// Reads what comes next; whether there was anything.
    fn read_once(&mut self, spool: &mut Spool<SimDisk>, output: usize) -> bool {
        let limit = spool.readable();
        let is_known = self.is_start_known(spool);
        let model = &mut self.model;
        let mut part = None;
        let last = match spool.read(output) {
            Ok(Next::Lines(lines)) => {
                let numbers: Vec<u64> = lines.lines().map(|line| line.number).collect();
                assert!(numbers.iter().copied().eq(lines.first..=lines.last), "whole, and in order");
                for line in lines.lines() {
                    model.check(&line);
                    model.left.insert(line.number);
                    model.outputs[output].got.insert(line.number);
                }
                if self.dice.one_in(6) {
                    part = Some(lines.first + self.dice.below(lines.lines().count()) as u64);
                }
                lines.last
            }
            Ok(Next::Missing(missing)) => {
                let range = missing.first..=missing.last;
                let counted = model.counted.range(range.clone()).count() as u64;
                if !self.is_damaged && is_known {
                    assert_eq!(missing.lines, counted, "a gap is told exactly: {missing:?}");
                }
                let is_excused = self.is_damaged || (missing.are_gone && self.settings.full == Full::DropOldest);
                let acked = model.outputs.iter().map(|output| output.most_acked).min().unwrap_or(0);
                let is_left = |number: &&u64| **number > acked && **number >= self.removed_below;
                let lost = model.safe.range(range.clone()).find(is_left);
                assert!(is_excused || lost.is_none(), "{lost:?} was safe: {missing:?}");
                model.outputs[output].told_missing.extend(model.counted.range(range));
                missing.last
            }
            Ok(Next::End) => return false,
            Err(_) => return self.dice.one_in(2),
        };
        assert!(last <= limit.last, "nothing leaves before its name is on the disk");
        // It took a part of a record, and asks for the rest.
        if let Some(part) = part {
            spool.go_to(output, part + 1);
        }
        let last = part.unwrap_or(last);
        let output_model = &mut model.outputs[output];
        if self.dice.one_in(3) && last > output_model.acked {
            output_model.acked = last;
            output_model.most_acked = output_model.most_acked.max(last);
            spool.acked(output, last, last, 500_000);
        }
        true
    }

    fn close(&mut self, spool: &mut Spool<SimDisk>, job: Option<(Job<u32>, Option<io::Result<()>>)>) {
        if let Some((job, early)) = job {
            let result = early.unwrap_or_else(|| job.run(&self.disk));
            spool.done(&result);
        }
        for tries in 0..400 {
            if tries == 200 {
                self.disk.fail_one_in(0);
                self.disk.set_capacity(usize::MAX);
            }
            // A disk that can't be written again waits for room that only outputs make.
            if matches!(spool.mend(self.now_ms), Err(Wait::Acks | Wait::Others)) {
                return;
            }
            spool.close();
            if spool.is_closed() {
                break;
            }
            if let Some(job) = spool.next_job(self.now_ms) {
                let result = job.run(&self.disk);
                spool.done(&result);
            }
        }
        assert!(spool.is_closed(), "an end comes to its end");
        self.note_synced(spool);
        let most = self.model.given.range(..spool.next_number()).next_back();
        assert!(most.is_none_or(|(most, _)| *most <= spool.synced()), "at an orderly end everything is synced");
    }

    fn end(&mut self, end: End) {
        self.tell(&end);
        match end {
            End::Orderly | End::Kill => self.disk.restart(),
            End::Cut => {
                self.disk.cut();
                let model = &mut self.model;
                model.doubtful.extend(model.counted.difference(&model.safe));
            }
        }
        // Damage ends what the orderly end promised, and so does a cut.
        if self.disk.doubts() > 0 {
            self.is_gentle = false;
        }
    }

    /// The disk is well again: everything that was safe is read back, once and in order, and every output gets it.
    fn judge(&mut self) {
        let mut spool = self.open().expect("a spool on a good disk opens");
        self.started(&spool);
        let last = spool.readable();
        let (first, before) = spool.directory().start();
        let mut reader = Reader::new(first, before);
        let (mut seen, mut highest) = (BTreeSet::new(), 0);
        loop {
            match reader.next(&self.disk, spool.directory(), Some(last)).unwrap() {
                Next::Lines(lines) => {
                    for line in lines.lines() {
                        assert!(line.number > highest, "numbers rise");
                        highest = line.number;
                        self.model.check(&line);
                        seen.insert(line.number);
                    }
                }
                Next::Missing(missing) => {
                    assert!(missing.first > highest);
                    highest = missing.last;
                    let counted: Vec<u64> = self.model.counted.range(missing.first..=missing.last).copied().collect();
                    assert!(counted.iter().all(|number| !seen.contains(number)));
                    let is_excused = self.is_damaged || !self.is_start_known(&spool);
                    assert!(is_excused || missing.lines == counted.len() as u64, "{missing:?}");
                }
                Next::End => break,
            }
        }
        let acked = self.model.outputs.iter().map(|output| output.most_acked).min().unwrap_or(u64::MAX);
        let oldest = first.max(self.removed_below);
        let may_be_gone = |number: u64| number < oldest && (self.settings.full == Full::DropOldest || number <= acked);
        let lost: Vec<u64> =
            self.model.safe.iter().copied().filter(|number| !seen.contains(number) && !may_be_gone(*number)).collect();
        assert!(self.is_damaged || lost.is_empty(), "safe, and not there: {lost:?}, the oldest is {first}");
        for output in 0..self.model.outputs.len() {
            let mut calls = 0;
            while self.read_once(&mut spool, output) {
                calls += 1;
                assert!(calls < 100_000, "reading ends");
            }
            let got = &self.model.outputs[output];
            let lost = self.model.safe.iter().find(|number| {
                !got.got.contains(number) && !got.told_missing.contains(number) && **number > got.most_acked
            });
            assert!(self.is_damaged || lost.is_none(), "output {output} did not get {lost:?}");
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    let number = |text: &str| text.trim().parse::<u64>().expect("a number");
    if let Ok(seed) = std::env::var("SPOOL_SEED") {
        return number(&seed)..number(&seed) + 1;
    }
    match std::env::var("SPOOL_SEEDS") {
        Ok(range) => {
            let (start, end) = range.split_once("..").expect("SPOOL_SEEDS is START..END");
            number(start)..number(end)
        }
        Err(_) => 0..if cfg!(debug_assertions) { 1_000 } else { 10_000 },
    }
}

/// Says which world it was, since an assertion knows only its own values.
struct Story(u64);

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was the world of SPOOL_SEED={}", self.0);
        }
    }
}

#[test]
fn what_was_synced_is_read_back_once_and_in_order_in_every_world() {
    let (mut lines, mut damaged, mut gentle) = (0, 0, 0);
    let seeds = seeds();
    let worlds = seeds.end - seeds.start;
    for seed in seeds {
        let _story = Story(seed);
        let mut world = World::new(seed);
        world.run();
        lines += world.wrote_lines;
        damaged += u64::from(world.is_damaged);
        gentle += u64::from(world.is_gentle);
    }
    println!("{worlds} worlds, {lines} lines, {damaged} of the worlds damaged, {gentle} gentle");
    if worlds > 500 {
        assert!(lines > worlds * 20 && damaged * 20 > worlds && gentle * 20 > worlds, "they are about something");
    }
}
