//! What a spool costs beside a plain file: the same lines, gathered and written to a file as an output does it, and through a
//! spool on the same disk, without syncs and with one a second, in rounds that take turns. Exit 1 if the spool takes more than
//! 1.3 times the processor's time. Then what a day offline writes, at 10 lines a second. `cargo bench --bench spool --features spool`; `BENCH_DIR` names another disk.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::cast_precision_loss)] // far from 2^52

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use lumberjack::internals::spool::disk::{Disk, RealDisk};
use lumberjack::internals::spool::record::{Batch, Record};
use lumberjack::internals::spool::writer::Wait;
use lumberjack::internals::spool::{Full, Settings, Spool};
use lumberjack::{Parse, Peer};
use nix::sys::resource::{UsageWho, getrusage};

/// Bytes of a line, with its end.
const LINE: usize = 128;
/// Lines of a round: 128 MB.
const LINES: usize = 1_000_000;
/// Lines of one peer, one behind the other, as one read brings them.
const TOGETHER: usize = 16;
const PEERS: u8 = 8;
/// As an output gathers.
const WRITE_BYTES: usize = 64 * 1024;
/// What the spool and the plain file keep at most.
const KEPT_BYTES: u64 = 64 << 20;
/// Odd, so that one is in the middle.
const ROUNDS: usize = 7;
/// The spool may take so many times what the file takes.
const MOST: f64 = 1.3;

/// Processor's time of all threads, in the kernel too, and time, in seconds.
fn now() -> (f64, Instant) {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    (seconds(usage.user_time()) + seconds(usage.system_time()), Instant::now())
}

/// Processor's time and time of what is done, in nanoseconds a line.
fn measure(work: impl FnOnce()) -> [f64; 2] {
    let (cpu, time) = now();
    work();
    let (cpu, took) = (now().0 - cpu, time.elapsed().as_secs_f64());
    [cpu, took].map(|seconds| seconds * 1e9 / LINES as f64)
}

/// A sync each so many bytes: a second of a quick sender.
const SYNC_EVERY_BYTES: usize = 16 << 20;

/// When the next sync is due: each so many bytes, if at all.
struct Syncs {
    every: Option<usize>,
    left: usize,
}

impl Syncs {
    fn new(every: Option<usize>) -> Self {
        Self { every, left: every.unwrap_or(0) }
    }

    fn are_due(&mut self, written: usize) -> bool {
        self.left = self.left.saturating_sub(written);
        let is_due = self.every.is_some() && self.left == 0;
        if is_due {
            self.left = self.every.unwrap_or(0);
        }
        is_due
    }
}

fn plain(dir: &Path, line: &[u8; LINE], mut syncs: Syncs) {
    let path = dir.join("plain");
    let open = || File::create(&path).unwrap();
    let (mut file, mut written, mut text) = (open(), 0, Vec::new());
    for number in 1..=LINES {
        text.extend_from_slice(line);
        if text.len() >= WRITE_BYTES || number == LINES {
            file.write_all(&text).unwrap();
            written += text.len() as u64;
            let is_due = syncs.are_due(text.len());
            text.clear();
            if is_due {
                file.sync_data().unwrap();
            }
            if written > KEPT_BYTES {
                (file, written) = (open(), 0);
            }
        }
    }
}

fn push(batch: &mut Batch, line: &[u8; LINE], number: usize) -> bool {
    let peer = u8::try_from(number / TOGETHER % usize::from(PEERS)).unwrap();
    let peer = Peer::V4 { ip: [10, 0, 0, peer], port: 5000 };
    batch.push_line(&peer, 1_000_000, Parse::Off, [&line[..LINE - 1], &[]])
}

fn spool(dir: &Path, line: &[u8; LINE], mut syncs: Syncs) {
    let disk = RealDisk::make(&dir.join("spool")).unwrap();
    let settings = Settings { size: KEPT_BYTES, max_line: 100 * 1024, full: Full::DropOldest, ..Settings::default() };
    let mut spool = Spool::open(disk.clone(), settings, 1_000).unwrap();
    let mut batch = spool.batch();
    let work = |spool: &mut Spool<RealDisk>| {
        while let Some(job) = spool.next_job(1_000) {
            let result = job.run(&disk);
            spool.done(&result);
        }
    };
    let write = |spool: &mut Spool<RealDisk>, batch: &mut Batch| {
        loop {
            match spool.write(batch, 1_000) {
                Ok(()) => return,
                Err(Wait::Sync) => work(spool),
                Err(wait) => panic!("{wait:?}"),
            }
        }
    };
    for number in 0..LINES {
        while !push(&mut batch, line, number) {
            let len = batch.len();
            write(&mut spool, &mut batch);
            if syncs.are_due(len) {
                spool.want_sync();
                work(&mut spool);
            }
        }
    }
    write(&mut spool, &mut batch);
    drop(spool);
    fs::remove_dir_all(dir.join("spool")).unwrap();
}

/// Records in memory: made, and read again.
fn records(line: &[u8; LINE]) {
    let mut batch = Batch::new(256 * 1024);
    let made = |batch: &mut Batch| {
        let record = batch.record(&[7; 16], 1);
        assert!(Record::decode(record, &[7; 16]).is_some());
        batch.clear();
    };
    for number in 0..LINES {
        while !push(&mut batch, line, number) {
            made(&mut batch);
        }
    }
    made(&mut batch);
}

/// A disk that counts what is asked of it, and syncs nothing.
struct Counting {
    disk: RealDisk,
    counts: Rc<RefCell<Counts>>,
}

#[derive(Default, Clone, Copy)]
struct Counts {
    writes: u64,
    bytes: u64,
    syncs: u64,
    directory_syncs: u64,
    files: u64,
}

impl Disk for Counting {
    type File = <RealDisk as Disk>::File;

    fn list(&self, tell: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        self.disk.list(tell)
    }

    fn create(&self, name: &str) -> io::Result<Self::File> {
        self.counts.borrow_mut().files += 1;
        self.disk.create(name)
    }

    fn open(&self, name: &str, is_written: bool) -> io::Result<Self::File> {
        self.disk.open(name, is_written)
    }

    fn read_at(&self, file: &Self::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.read_at(file, offset, buffer)
    }

    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let count = self.disk.write_at(file, offset, bytes)?;
        let mut counts = self.counts.borrow_mut();
        counts.writes += 1;
        counts.bytes += count as u64;
        Ok(count)
    }

    fn sync(&self, _: &Self::File) -> io::Result<()> {
        self.counts.borrow_mut().syncs += 1;
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.counts.borrow_mut().directory_syncs += 1;
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.disk.unlink(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Self::File>> {
        self.disk.lock(name)
    }

    fn check_place(&self) -> io::Result<()> {
        self.disk.check_place()
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        self.disk.random()
    }

    fn machine(&self) -> Option<Vec<u8>> {
        self.disk.machine()
    }
}

/// 864,000 lines of 100 bytes, so many in a record, synced after every record or only when a segment is full.
fn day(dir: &Path, together: u64, is_synced: bool) {
    let counts = Rc::new(RefCell::new(Counts::default()));
    let disk = || Counting { disk: RealDisk::make(&dir.join("day")).unwrap(), counts: Rc::clone(&counts) };
    let outputs = vec!["tcp:away:1".to_owned()];
    let settings = Settings { size: 1 << 30, max_line: 100 * 1024, outputs, ..Settings::default() };
    let (other, mut spool) = (disk(), Spool::open(disk(), settings, 0).unwrap());
    let mut batch = spool.batch();
    let peer = Peer::V4 { ip: [10, 0, 0, 1], port: 5000 };
    for number in 1..=864_000_u64 {
        let now_ms = number * 100;
        assert!(batch.push_line(&peer, now_ms, Parse::Off, [&[b'x'; 100], &[]]));
        if number % together > 0 {
            continue;
        }
        while spool.write(&mut batch, now_ms).is_err() {
            let job = spool.next_job(now_ms).unwrap();
            spool.done(&job.run(&other));
        }
        if is_synced {
            spool.want_sync();
        }
        while let Some(job) = spool.next_job(now_ms) {
            spool.done(&job.run(&other));
        }
    }
    let (counts, taken) = (*counts.borrow(), spool.bytes());
    drop(spool);
    fs::remove_dir_all(dir.join("day")).unwrap();
    let synced = if is_synced { "synced each" } else { "no --sync" };
    println!(
        "{together:3} in a record, {synced}: {:.0} MB taken, {} writes of {:.0} MB, {} syncs, {} of the directory, {} files",
        taken as f64 / 1e6,
        counts.writes,
        counts.bytes as f64 / 1e6,
        counts.syncs,
        counts.directory_syncs,
        counts.files
    );
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> ExitCode {
    let dir = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("lumberjack-bench-spool-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let mut line = [b'x'; LINE];
    line[LINE - 1] = b'\n';
    let (never, often, each_segment) = (None, Some(SYNC_EVERY_BYTES), Some(1 << 20));
    let mut figures: [Vec<[f64; 2]>; 6] = Default::default();
    for _ in 0..ROUNDS {
        figures[0].push(measure(|| plain(&dir, &line, Syncs::new(never))));
        figures[1].push(measure(|| spool(&dir, &line, Syncs::new(never))));
        figures[2].push(measure(|| plain(&dir, &line, Syncs::new(often))));
        figures[3].push(measure(|| spool(&dir, &line, Syncs::new(often))));
        figures[4].push(measure(|| plain(&dir, &line, Syncs::new(each_segment))));
        figures[5].push(measure(|| records(&line)));
    }
    println!("a day offline, 10 lines a second of 100 bytes:");
    [(1, false), (10, false), (10, true)].iter().for_each(|(together, is_synced)| day(&dir, *together, *is_synced));
    fs::remove_dir_all(&dir).unwrap();
    let names = [
        "file",
        "spool",
        "file, synced each 16 MiB",
        "spool, synced each 16 MiB",
        "file, synced each MiB",
        "records, no file",
    ];
    let figures = figures.map(|rounds| [0, 1].map(|which| middle(rounds.iter().map(|round| round[which]).collect())));
    println!("{:28} {:>12} {:>12} {:>8}", "lines of 128 bytes to", "cpu, ns/line", "lines/s", "cpu");
    for (number, (name, [cpu, took])) in names.iter().zip(figures).enumerate() {
        let ratio = cpu / figures[if number / 2 == 1 { 2 } else { 0 }][0];
        println!("{name:28} {cpu:12.0} {:12.0} {ratio:7.2}x", 1e9 / took);
    }
    // The spool syncs each segment, whether asked or not.
    let is_cheap = [1, 3].iter().all(|spool| figures[*spool][0] <= MOST * figures[spool - 1][0]);
    if is_cheap { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
