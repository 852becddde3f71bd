//! SIGKILL in the middle of anything: at each system call of a rotation, and in the middle of writes. The next start goes
//! on without the loss of a whole line.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use crate::common::patience::{join, try_connect};
use crate::support::conditions::{Dir, assert_same, until};
use crate::support::follow::{LONGEST, all_files, push_line};
use crate::support::receiver::{Collected, Receiver, Setup, listens_at};
use crate::support::traced::{calls, may_trace, several_at_once, strace, until_logged};

const KEEP: usize = 2;
const SIZE: usize = 8 * 1024;
const OPTIONS: [&str; 6] = ["--rotate-size", "8KiB", "--rotate-keep", "2", "--max-line", "3KiB"];
/// The steps of a rotation and of a start. Not every processor has each of them.
const STEPS: [(&str, &[&str]); 4] = [
    ("?rename,?renameat,?renameat2", &["rename", "renameat", "renameat2"]),
    ("?unlink,?unlinkat", &["unlink", "unlinkat"]),
    ("?open,openat", &["open", "openat"]),
    ("writev", &["writev"]),
];
/// The runs that kill at one kind of call end before this.
const MOST_RUNS: usize = 100;

fn stream(client: usize, lines: u64) -> Vec<u8> {
    let mut stream = Vec::new();
    (0..lines).for_each(|number| push_line(client, number, &mut stream));
    stream
}

/// The rotated files' numbers, and what all files hold, the oldest first; none is too long.
fn files(path: &str) -> (Vec<usize>, Vec<u8>) {
    let (mut numbers, mut all) = (Vec::new(), Vec::new());
    for number in (1..=KEEP + 2).rev() {
        if let Ok(bytes) = fs::read(format!("{path}.{number}")) {
            assert!(bytes.len() <= SIZE && bytes.ends_with(b"\n"), "{path}.{number} has {} bytes", bytes.len());
            numbers.push(number);
            all.extend(bytes);
        }
    }
    let newest = fs::read(path).unwrap_or_default();
    assert!(newest.len() <= SIZE, "{path} has {} bytes", newest.len());
    all.extend(newest);
    (numbers, all)
}

/// Runs it with lines for several rotations, killed at the `when`th of these calls. None if it was not, as it makes fewer
/// of them; else the bytes that were written before.
fn run_until_killed(dir: &Dir, path: &str, step: &str, when: usize) -> Option<usize> {
    let trace = format!("writev,{step}");
    let under = strace(dir, &trace, &[format!("{step}:signal=KILL:when={when}")]);
    let args = [&["--listen", "127.0.0.1:0", "--output", path], &OPTIONS[..]].concat();
    let mut guard = Setup::new(&args).under(under).stdout(Stdio::null()).spawn(Stdio::piped());
    let stderr = Collected::from(guard.0.stderr.take().unwrap());
    let door: Option<SocketAddr> = until("the server's start, or its end", || {
        let is_running = guard.is_running();
        let said = stderr.text();
        match said.lines().find_map(listens_at) {
            Some(door) if said.contains("Memory budget") => Ok(Some(door)),
            _ if is_running => Err(said),
            _ => Ok(None),
        }
    });
    if let Some(mut client) = door.and_then(|door| try_connect(door).ok()) {
        client.set_nodelay(true).unwrap();
        // In pieces, so that there are several writes: until it is dead, or has taken all.
        let _ = stream(0, 64).chunks(2_000).try_for_each(|piece| client.write_all(piece));
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = client.read(&mut [0; 1]);
    }
    if guard.is_running() {
        guard.signal("TERM");
    }
    let code = guard.wait();
    until_logged(dir);
    let written: i64 = calls(dir, "writev").iter().filter_map(|call| call.returned()).sum();
    let is_killed = code.is_none();
    assert!(is_killed || code == Some(0), "{code:?}: {}", stderr.text());
    is_killed.then(|| usize::try_from(written).unwrap())
}

/// Kills at the `when`th of these calls, and starts again. False if there were not so many.
fn killed_and_started_again(step: &str, when: usize) -> bool {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let Some(written) = run_until_killed(&dir, &path, step, when) else { return false };
    let case = format!("killed at {step} number {when}, after {written} bytes");
    let sent = stream(0, 64);
    let (_, all) = files(&path);
    assert!(all.len() <= written, "{case}: {} bytes are there", all.len());
    assert_same(&all, &sent[written - all.len()..written]);
    // Only the oldest of too many may be gone: the file that was begun, and all but one of those to keep, are there.
    assert!(all.len() >= written.min((KEEP - 1) * (SIZE - LONGEST)), "{case}: only {} bytes are there", all.len());

    let more = stream(1, 16);
    let receiver = Receiver::start(&[&["--output", &path], &OPTIONS[..]].concat());
    receiver.client().write_all(&more).unwrap();
    receiver.stop().assert_clean();
    let (numbers, all) = files(&path);
    assert!(numbers.iter().rev().copied().eq(1..=numbers.len()) && numbers.len() <= KEEP, "{case}: {numbers:?}");
    let whole = [&sent[..written], &more].concat();
    assert_same(&all, &whole[whole.len() - all.len()..]);
    assert!(all.len() >= more.len(), "{case}: only {} bytes are there", all.len());
    assert!(!fs::exists(format!("{path}.new")).unwrap(), "{case}: a start leaves nothing behind");
    true
}

#[test]
fn a_kill_at_any_step_loses_no_whole_line_and_the_next_start_goes_on() {
    if !may_trace() {
        return;
    }
    several_at_once(STEPS.into_iter(), |(step, names)| {
        // Kills of the loader, and of what comes before the first look at the file, show nothing.
        let dir = Dir::new();
        assert_eq!(run_until_killed(&dir, &dir.file("app.log"), step, MOST_RUNS * 10), None);
        let all: Vec<_> = names.iter().flat_map(|name| calls(&dir, name)).collect();
        let first = all.iter().position(|call| step == "writev" || call.text.contains("app.log")).unwrap() + 1;
        let kills = (first..first + MOST_RUNS).take_while(|when| killed_and_started_again(step, *when)).count();
        eprintln!("{kills} kills at {step}, from number {first} of {}", all.len());
        assert!((5..MOST_RUNS).contains(&kills), "{kills} kills at {step}");
    });
}

/// How many of these lines are whole, and how many are the start of one; each client's whole ones are in order, without a
/// gap.
fn count_lines(bytes: &[u8]) -> (usize, usize) {
    let (mut whole, mut torn) = (0, 0);
    let mut next: [Option<u64>; 100] = [None; 100];
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let number = line.get(4..14).and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        let client = line.get(1..3).and_then(|client| std::str::from_utf8(client).ok()?.parse::<usize>().ok());
        let (Some(client), Some(number)) = (client, number) else {
            torn += 1;
            continue;
        };
        let mut expected = Vec::new();
        push_line(client, number, &mut expected);
        if line == expected {
            assert!(next[client].is_none_or(|next| next == number), "{number} of {client}, not {:?}", next[client]);
            next[client] = Some(number + 1);
            whole += 1;
        } else {
            let start = line.strip_suffix(b"\n").unwrap_or(line);
            assert!(expected.starts_with(start), "neither a line nor the start of one: {}", line.escape_ascii());
            torn += 1;
        }
    }
    (whole, torn)
}

#[test]
fn a_kill_in_the_middle_of_writes_tears_one_line_at_most_and_the_next_one_is_whole() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let args = ["--output", &path, "--rotate-size", "64MiB", "--rotate-keep", "9"];
    let mut torn = 0;
    for round in 0..10_usize {
        let receiver = Receiver::start(&args);
        let mut client = receiver.client();
        // One client a round, so that the numbers of each have no gap.
        let thread = std::thread::spawn(move || {
            let _ = client.write_all(&stream(round, 2_000));
        });
        let before = fs::metadata(&path).unwrap().len();
        until("some lines", || {
            let bytes = fs::metadata(&path).map_or(0, |found| found.len());
            if bytes > before { Ok(()) } else { Err(format!("{bytes} bytes of more than {before}")) }
        });
        std::thread::park_timeout(Duration::from_micros(300 * round as u64));
        receiver.signal("KILL");
        assert_eq!(receiver.wait().code, None);
        join("its client", thread);
        let (_, torn_now) = count_lines(&all_files(&path, 9).0);
        assert!(torn_now <= torn + 1, "{torn_now} after {torn}");
        torn = torn_now;
    }
    // A power cut can do what a kill seldom does; where the last kill did, that line is not the one that is meant.
    let is_torn = !fs::read(&path).unwrap().ends_with(b"\n");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(if is_torn { b"\n" } else { b"" }).unwrap();
    let mut torn_line = Vec::new();
    push_line(50, 0, &mut torn_line);
    file.write_all(&torn_line[..30]).unwrap();
    let receiver = Receiver::start(&args);
    receiver.client().write_all(&stream(51, 1)).unwrap();
    receiver.stop().assert_clean();
    let (bytes, _) = all_files(&path, 9);
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let last_two = &lines[lines.len() - 2..];
    assert_eq!(last_two, [&[&torn_line[..30], b"\n"].concat()[..], &stream(51, 1)]);
    eprintln!("{torn} lines torn by 10 kills");
}
