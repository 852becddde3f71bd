//! A box of 16 MiB and a fifth of a processor, made of control groups: the receiver in it, 16 clients outside that send
//! all they can, then 200 that keep lines unfinished beside them. Every line is checked, and memory is looked at in
//! thirds. `cargo bench --bench small_box`, as root; `BENCH_BINARY` names another build, such as the static one. Where no
//! group can be made, the address space is limited instead (`ulimit -v`), and the processor not at all; it says so.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)] // what the other benches need beyond this
#[path = "live/mod.rs"]
mod live;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};
use std::time::{Duration, Instant};

use live::{Kind, Receiver};

const BOX_BYTES: u64 = 16 * 1024 * 1024;
/// Of each period of 100 ms.
const CPU_US: u64 = 20_000;
const CLIENTS: usize = 16;
const LINE: usize = 128;
/// Lines of each client: some 20 s of work for a fifth of a processor.
const LINES: usize = 100_000;
const HOARDERS: usize = 200;

/// Groups that hold a process, and that go with it.
struct Small(Vec<PathBuf>);

impl Small {
    /// Limits, as (controller of version 1, file there, file of version 2, value).
    fn new() -> Option<Self> {
        let quota = CPU_US.to_string();
        let v2 = Path::new("/sys/fs/cgroup/lumberjack-bench").to_owned();
        let cpu_max = format!("{quota} 100000");
        let is_v2 = fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
        if is_v2 {
            let group = Self(vec![v2.clone()]);
            fs::create_dir(&v2).ok()?;
            fs::write(v2.join("memory.max"), BOX_BYTES.to_string()).ok()?;
            fs::write(v2.join("cpu.max"), cpu_max).ok()?;
            return Some(group);
        }
        let mut group = Self(Vec::new());
        let limits = [("memory", "memory.limit_in_bytes", BOX_BYTES.to_string()), ("cpu", "cpu.cfs_quota_us", quota)];
        for (controller, file, value) in limits {
            let folder = Path::new("/sys/fs/cgroup").join(controller).join("lumberjack-bench");
            fs::create_dir(&folder).ok()?;
            group.0.push(folder.clone());
            fs::write(folder.join(file), value).ok()?;
        }
        Some(group)
    }

    fn take_in(&self, pid: u32) {
        for folder in &self.0 {
            fs::write(folder.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        for folder in &self.0 {
            // The kernel may still be at the process that has just ended.
            for _ in 0..100 {
                if fs::remove_dir(folder).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

fn main() {
    let mut flags = live::start();
    flags.extend(["--memory", "4MiB", "--log-level", "info"].map(str::to_owned));
    let small = Small::new();
    if small.is_none() {
        println!("no control group can be made here: nothing but this process's own limits applies");
    }
    let mut receiver = Receiver::start(Kind::Lumberjack, &flags, Stdio::piped());
    if let Some(small) = &small {
        small.take_in(receiver.pid());
    }
    let output = receiver.stdout();
    println!("{:>10} {:>12} {:>10}   RSS after each third, KiB; every line is checked", "hoarders", "lines/s", "MB/s");
    let mut output = BufReader::new(output);
    for hoarders in [0, HOARDERS] {
        measure(&receiver, &mut output, hoarders);
    }
    // The receiver leaves its groups before they go.
    drop(receiver);
    drop(small);
}

fn measure(receiver: &Receiver, output: &mut BufReader<ChildStdout>, hoarders: usize) {
    let mut hoard: Vec<_> = (0..hoarders).map(|_| receiver.client()).collect();
    hoard.iter_mut().for_each(|client| client.write_all(&[b'h'; 16 * 1024]).unwrap());
    let start = Instant::now();
    let rss = std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || send(receiver, number));
        }
        check(receiver, output)
    });
    let seconds = start.elapsed().as_secs_f64();
    let lines = (CLIENTS * LINES) as f64;
    let rates = (lines / seconds, lines * LINE as f64 / seconds / 1e6);
    println!("{hoarders:>10} {:>12.0} {:>10.1}   {rss:?}", rates.0, rates.1);
    drop(hoard);
    // Their unfinished lines come out now; what follows would otherwise begin with them.
    for _ in 0..hoarders {
        assert!(!read_line(output).is_empty(), "the output has ended");
    }
}

fn send(receiver: &Receiver, number: usize) {
    let mut client = receiver.client();
    let mut block = Vec::new();
    for serial in 0..LINES {
        let head = format!("{number:02} {serial:08} ");
        block.extend_from_slice(head.as_bytes());
        block.resize(block.len() + LINE - 1 - head.len(), b'x');
        block.push(b'\n');
        if block.len() >= 16 * 1024 || serial + 1 == LINES {
            client.write_all(&block).unwrap();
            block.clear();
        }
    }
}

/// Every line of every client, whole, once and in order; memory after each third.
fn check(receiver: &Receiver, output: &mut BufReader<ChildStdout>) -> [u64; 3] {
    let mut next = [0; CLIENTS];
    let mut rss = [0; 3];
    for count in 0..CLIENTS * LINES {
        let line = read_line(output);
        assert_eq!(line.len(), LINE, "a line that is not whole: {}", line.escape_ascii());
        let field = |from: usize, to: usize| std::str::from_utf8(&line[from..to]).unwrap().parse::<usize>().unwrap();
        let (number, serial) = (field(0, 2), field(3, 11));
        assert_eq!(serial, next[number], "of client {number}");
        next[number] += 1;
        let third = CLIENTS * LINES / 3;
        if (count + 1) % third == 0 && count / third < 3 {
            rss[count / third] = receiver.rss_kib();
        }
    }
    rss
}

/// The next line, with its ending.
fn read_line(output: &mut BufReader<ChildStdout>) -> Vec<u8> {
    let mut line = Vec::new();
    output.read_until(b'\n', &mut line).unwrap();
    line
}
