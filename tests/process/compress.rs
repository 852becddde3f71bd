//! Rotated files that are compressed (`--rotate-compress`), and all of them read as one (`lumberjack cat`).

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::patience::{Collected, Enough, LONG_PATIENCE, output_of, try_connect, until_within};
use crate::disk::Tmpfs;
use crate::support::conditions::{Dir, assert_same, until, until_equal};
use crate::support::follow::{Following, LONGEST, Seen, Senders, push_line};
use crate::support::receiver::{Ended, Receiver, Setup, listens_at, under_test};
use crate::support::traced::{calls, may_trace, several_at_once, strace, until_logged};

const KIB: u64 = 1024;

fn start(path: &str, options: &[&str]) -> Receiver {
    Receiver::start(&[&["--output", path, "--rotate-compress"], options].concat())
}

fn names(dir: &Dir) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What gzip itself makes of a file.
fn gunzip(path: &str) -> Vec<u8> {
    let unpacked = output_of(std::process::Command::new("gzip").args(["-dc", path])).unwrap();
    assert!(unpacked.status.success(), "{path}: {}", String::from_utf8_lossy(&unpacked.stderr));
    unpacked.stdout
}

fn gzip(path: &str, text: &[u8]) {
    fs::write(path, text).unwrap();
    assert!(output_of(std::process::Command::new("gzip").arg(path)).unwrap().status.success());
}

/// What is in the file with this number, however it is there.
fn numbered(path: &str, number: usize) -> Option<Vec<u8>> {
    let plain = if number == 0 { path.to_owned() } else { format!("{path}.{number}") };
    let compressed = format!("{plain}.gz");
    match fs::read(&plain) {
        Ok(bytes) => {
            assert!(!fs::exists(compressed).unwrap(), "{plain} is there twice");
            Some(bytes)
        }
        Err(_) => fs::exists(&compressed).unwrap().then(|| gunzip(&compressed)),
    }
}

/// What all of them hold, the oldest first.
fn all(path: &str, keep: usize) -> Vec<u8> {
    (0..=keep + 2).rev().filter_map(|number| numbered(path, number)).flatten().collect()
}

/// Bytes of the files in a directory, as the disk has them.
fn taken(dir: &Dir) -> u64 {
    let entries = fs::read_dir(dir.path()).unwrap();
    // One may be gone meanwhile.
    entries.filter_map(|entry| entry.unwrap().metadata().ok()).map(|found| found.len().max(found.blocks() * 512)).sum()
}

fn cat(args: &[&str]) -> Ended {
    Setup::new(&[&["cat"], args].concat()).run()
}

fn stream(client: usize, lines: std::ops::Range<u64>) -> Vec<u8> {
    let mut stream = Vec::new();
    lines.for_each(|number| push_line(client, number, &mut stream));
    stream
}

/// Until every rotated file is compressed.
fn until_compressed(dir: &Dir) {
    // In a thread that gives way to everybody, all other tests among them.
    until_within(LONG_PATIENCE, "all to be compressed", || {
        let names = names(dir);
        let is_done = |name: &String| name == "app.log" || name.ends_with(".gz");
        if names.iter().all(is_done) { Ok(()) } else { Err(format!("{names:?}")) }
    });
}

#[test]
fn under_load_every_line_is_there_once_compressed_or_not() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = start(&path, &["--rotate-size", "256KiB", "--rotate-keep", "99", "--max-per-host", "0"]);
    let senders = Senders::start((0..4).map(|_| receiver.client()).collect(), 6_000, None);
    let sent = senders.finish();
    until_compressed(&dir);
    // 16,224,000 bytes in files of 256 KiB.
    assert!((60..=66).contains(&names(&dir).len()), "{:?}", names(&dir));
    receiver.stop().assert_clean();
    let bytes = all(&path, 99);
    let mut seen = Seen::of(4);
    assert_eq!(seen.take(&bytes), bytes.len());
    assert_eq!(seen.next, sent);
    let shown = cat(&[&path]);
    shown.assert_clean();
    assert_same(&shown.output, &bytes);
}

#[test]
fn the_bound_holds_on_the_disk_but_for_the_file_that_is_being_compressed() {
    const SIZE: u64 = 512 * KIB;
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = start(&path, &["--rotate-size", "512KiB", "--rotate-keep", "3", "--max-per-host", "0"]);
    let senders = Senders::start((0..3).map(|_| receiver.client()).collect(), 12_000, None);
    let is_over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = 0;
            while !is_over.load(Ordering::SeqCst) {
                most = most.max(taken(&dir));
                std::thread::park_timeout(Duration::from_millis(1));
            }
            most
        });
        let _enough = Enough(&is_over);
        senders.finish();
        until_compressed(&dir);
        is_over.store(true, Ordering::SeqCst);
        watching.join().unwrap()
    });
    assert_eq!(names(&dir), ["app.log", "app.log.1.gz", "app.log.2.gz", "app.log.3.gz"]);
    eprintln!("{most} bytes at most, {} at the end, of {}", taken(&dir), SIZE * 4);
    assert!(most <= SIZE * 5, "{most}");
    receiver.stop().assert_clean();
}

/// Follows files though they are compressed: what it has opened it goes on to read.
#[test]
fn a_follower_sees_every_line_though_files_are_compressed() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = start(&path, &["--rotate-size", "1MiB", "--rotate-keep", "9"]);
    let following = Following::start(&path, 9, 2);
    let clients = vec![receiver.client(), receiver.client()];
    let senders = Senders::start(clients, 5_000, Some(following.read.clone()));
    let sent = senders.finish();
    until_compressed(&dir);
    receiver.stop().assert_clean();
    assert_eq!(following.finish().seen.next, sent);
}

const OPTIONS: [&str; 7] = ["--rotate-compress", "--rotate-size", "16KiB", "--rotate-keep", "3", "--max-line", "3KiB"];
/// The steps of rotating, of compressing and of a start. Not every processor has each of them.
const STEPS: [(&str, &[&str]); 6] = [
    ("?rename,?renameat,?renameat2", &["rename", "renameat", "renameat2"]),
    ("?unlink,?unlinkat", &["unlink", "unlinkat"]),
    ("?open,openat", &["open", "openat"]),
    ("fsync", &["fsync"]),
    ("write", &["write"]),
    ("writev", &["writev"]),
];
/// The runs that kill at one kind of call end before this.
const MOST_RUNS: usize = 120;
const LINES: u64 = 120;

/// Runs it with lines for several rotations, killed at the `when`th of these calls. None if it was not, as it makes fewer
/// of them; else the bytes that were written before.
fn run_until_killed(dir: &Dir, path: &str, step: &str, when: usize) -> Option<usize> {
    let under = strace(dir, &format!("writev,{step}"), &[format!("{step}:signal=KILL:when={when}")]);
    let args = [&["--listen", "127.0.0.1:0", "--output", path], &OPTIONS[..]].concat();
    let mut guard = Setup::new(&args).under(under).stdout(Stdio::null()).spawn(Stdio::piped());
    let stderr = Collected::from(guard.0.stderr.take().unwrap());
    let door = until("the server's start, or its end", || {
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
        for piece in stream(0, 0..LINES).chunks(2_000) {
            if client.write_all(piece).is_err() {
                break;
            }
            // So that a file is compressed now and then before the next rotation.
            std::thread::park_timeout(Duration::from_millis(3));
        }
        let _ = client.shutdown(std::net::Shutdown::Write);
        let _ = client.read(&mut [0; 1]);
    }
    until("all to be compressed, or its end", || {
        let is_plain = (1..=3).any(|number| fs::exists(format!("{path}.{number}")).unwrap());
        if is_plain && guard.is_running() { Err("not yet".to_owned()) } else { Ok(()) }
    });
    if guard.is_running() {
        guard.signal("TERM");
    }
    let code = guard.wait();
    until_logged(dir);
    let written: i64 = calls(dir, "writev").iter().filter_map(|call| call.returned()).sum();
    assert!(code.is_none() || code == Some(0), "{code:?}: {}", stderr.text());
    code.is_none().then(|| usize::try_from(written).unwrap())
}

/// Kills at the `when`th of these calls, and starts again. False if there were not so many.
fn killed_and_started_again(step: &str, when: usize) -> bool {
    const SIZE: usize = 16 * 1024;
    let dir = Dir::new();
    let path = dir.file("app.log");
    let Some(written) = run_until_killed(&dir, &path, step, when) else { return false };
    let case = format!("killed at {step} number {when}, after {written} bytes, with {:?}", names(&dir));
    let sent = stream(0, 0..LINES);
    let whole = names(&dir).iter().filter(|name| name.starts_with("app.log") && !name.ends_with(".new")).count();
    assert!(whole <= 5, "{case}: one may be there twice, and no more");

    let more = stream(1, 0..4);
    let receiver = Receiver::start(&[&["--output", &path], &OPTIONS[..]].concat());
    let after_start: Vec<Vec<u8>> = (0..=4).rev().filter_map(|number| numbered_or_new(&path, number)).collect();
    let bytes = after_start.concat();
    // strace may die before it has logged what the last write of another thread returned.
    let written = (written..=sent.len()).find(|end| sent[..*end].ends_with(&bytes)).unwrap_or(written);
    assert_same(&bytes, &sent[written.saturating_sub(bytes.len())..written]);
    // Only the oldest of too many may be gone: the file that was begun, and all but one of those to keep, are there.
    assert!(bytes.len() >= written.min(2 * (SIZE - LONGEST)), "{case}: only {} bytes are there", bytes.len());
    receiver.client().write_all(&more).unwrap();
    receiver.stop().assert_clean();
    let bytes = all(&path, 3);
    let whole = [&sent[..written], &more].concat();
    assert_same(&bytes, &whole[whole.len() - bytes.len()..]);
    assert!(bytes.len() >= more.len(), "{case}: only {} bytes are there", bytes.len());
    assert!(names(&dir).iter().all(|name| !name.ends_with(".new")), "{case}: {:?}", names(&dir));
    true
}

/// [`numbered`] while files are being compressed.
fn numbered_or_new(path: &str, number: usize) -> Option<Vec<u8>> {
    let plain = if number == 0 { path.to_owned() } else { format!("{path}.{number}") };
    let compressed = format!("{plain}.gz");
    fs::read(&plain).ok().or_else(|| fs::exists(&compressed).unwrap().then(|| gunzip(&compressed)))
}

#[test]
fn a_kill_at_any_step_of_compressing_loses_no_line_and_doubles_none() {
    if !may_trace() {
        return;
    }
    several_at_once(STEPS.into_iter(), |(step, names)| {
        let dir = Dir::new();
        assert_eq!(run_until_killed(&dir, &dir.file("app.log"), step, MOST_RUNS * 10), None);
        let all: Vec<_> = names.iter().flat_map(|name| calls(&dir, name)).collect();
        let is_first = |text: &str| !matches!(names[0], "rename" | "unlink" | "open") || text.contains("app.log");
        let first = all.iter().position(|call| is_first(&call.text)).unwrap() + 1;
        let kills = (first..first + MOST_RUNS).take_while(|when| killed_and_started_again(step, *when)).count();
        eprintln!("{kills} kills at {step}, from number {first} of {}", all.len());
        // What a thread calls is counted for each thread anew.
        let least = if ["fsync", "write"].contains(&step) { 1 } else { 4 };
        assert!((least..MOST_RUNS).contains(&kills), "{kills} kills at {step}");
    });
}

/// Not every file system brings changes of names to the disk in their order: with the plain file's gone and the other's not
/// there yet, a power cut would cost all its lines.
#[test]
fn the_directory_is_synced_before_the_plain_file_is_removed() {
    if !may_trace() {
        return;
    }
    for options in [&[][..], &["--sync", "1h"]] {
        let dir = Dir::new();
        let path = dir.file("app.log");
        let names = ["rename", "renameat", "renameat2", "unlink", "unlinkat", "fsync", "fdatasync"];
        let under = strace(&dir, &names.map(|name| format!("?{name}")).join(","), &[]);
        let args = ["--output", &path, "--rotate-size", "16KiB", "--max-line", "1KiB", "--rotate-compress"];
        let receiver = Setup::new(&[&args[..], options].concat()).under(under).start();
        receiver.client().write_all(&stream(0, 0..1_000)).unwrap();
        until("one compressed file, and more", || {
            let all = names_of_kind(&dir);
            if all.0 >= 2 && all.1 == 0 { Ok(()) } else { Err(format!("{all:?}")) }
        });
        let own = receiver.guard.pid();
        receiver.stop().assert_clean();
        until_logged(&dir);
        let mut all: Vec<_> = names.iter().flat_map(|name| calls(&dir, name)).collect();
        all.sort_by(|one, other| one.at.total_cmp(&other.at));
        let is_put = |text: &str| text.starts_with("rename") && text.contains(".gz.new");
        let puts: Vec<usize> = (0..all.len()).filter(|at| is_put(&all[*at].text)).collect();
        let mut seen = 0;
        for at in puts {
            let text = &all[at].text;
            let plain = text.split('"').find(|part| part.ends_with(".gz")).unwrap().trim_end_matches(".gz");
            // It may be rotated meanwhile, or away.
            let (mut name, mut removal) = (plain.to_owned(), None);
            for (number, call) in all.iter().enumerate().skip(at + 1) {
                // `rename("one", "other")`, or `renameat(AT_FDCWD, "one", AT_FDCWD, "other")`.
                let paths: Vec<&str> = call.text.split('"').skip(1).step_by(2).collect();
                if call.text.starts_with("rename") && paths[0] == name {
                    name = paths[1].to_owned();
                } else if call.text.starts_with("unlink") && paths[0] == name {
                    removal = Some(number);
                    break;
                } else if call.text.starts_with("unlink") && paths[0] == format!("{name}.gz") {
                    break;
                }
            }
            let synced = |call: &crate::support::traced::Call| call.text.starts_with("fsync(") && call.thread != own;
            let is_safe = |removal: usize| all[at..removal].iter().any(synced);
            seen += usize::from(removal.is_some());
            assert!(removal.is_none_or(is_safe), "{options:?} {plain}: {all:#?}");
            assert!(all[..at].iter().any(synced), "its bytes: {all:#?}");
        }
        assert!(seen >= 2, "{all:#?}");
    }
}

#[test]
fn a_directory_that_can_not_be_synced_leaves_no_file_beside_its_compressed_one() {
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let path = dir.file("app.log");
    let mut under = strace(&dir, "fsync", &["fsync:error=EIO".to_owned()]);
    // Only calls about the directory itself.
    under.extend(["-P".to_owned(), dir.path().to_str().unwrap().to_owned()]);
    let args = ["--output", &path, "--rotate-size", "16KiB", "--max-line", "1KiB", "--rotate-compress"];
    let receiver = Setup::new(&args).under(under).start();
    let sent = stream(0, 0..1_000);
    receiver.client().write_all(&sent).unwrap();
    until("all compressed", || {
        let all = names_of_kind(&dir);
        if all.0 >= 2 && all.1 == 0 { Ok(()) } else { Err(format!("{all:?}: {}", receiver.said())) }
    });
    receiver.stop().assert_clean();
    until_logged(&dir);
    assert!(calls(&dir, "fsync").len() >= 2, "each was refused");
}

/// How many rotated files are compressed, and how many are not, or not yet.
fn names_of_kind(dir: &Dir) -> (usize, usize) {
    let (compressed, others): (Vec<_>, Vec<_>) =
        names(dir).into_iter().filter(|name| name.starts_with("app.log.")).partition(|name| name.ends_with(".gz"));
    (compressed.len(), others.len())
}

#[test]
fn a_start_that_finds_a_file_twice_removes_one_and_what_was_not_finished() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let (one, two) = (stream(0, 0..30), stream(0, 30..60));
    gzip(&format!("{path}.2"), &one);
    gzip(&format!("{path}.1"), &two);
    fs::write(format!("{path}.1"), &two).unwrap();
    fs::write(format!("{path}.1.gz.new"), "half").unwrap();
    fs::write(format!("{path}.7.gz"), "beyond").unwrap();
    let receiver = start(&path, &["--rotate-size", "1MiB", "--rotate-keep", "3"]);
    receiver.until_said(&format!("[out] removed {path}.1, which is there compressed too"));
    receiver.until_said(&format!("[out] removed {path}.7.gz, beyond --rotate-keep"));
    assert_eq!(names(&dir), ["app.log", "app.log.1.gz", "app.log.2.gz"]);
    receiver.stop().assert_clean();
    assert_same(&all(&path, 3), &[one, two].concat());
}

#[test]
fn what_an_earlier_run_has_left_is_compressed_and_shifted_without_the_option_too() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let lines = stream(0, 0..60);
    for (number, text) in [(1, &lines[..20_000]), (3, &lines[..10_000])] {
        fs::write(format!("{path}.{number}"), text).unwrap();
    }
    let receiver = start(&path, &["--rotate-size", "1MiB"]);
    until_compressed(&dir);
    receiver.assert_rests("with nothing to compress");
    receiver.stop().assert_clean();
    assert_eq!(names(&dir), ["app.log", "app.log.1.gz", "app.log.3.gz"]);
    fs::write(&path, "x".repeat(4_000) + "\n").unwrap();
    let receiver =
        Receiver::start(&["--output", &path, "--rotate-size", "4000", "--max-line", "2000", "--rotate-keep", "2"]);
    receiver.client().write_all(b"line\n").unwrap();
    receiver.stop().assert_clean();
    assert_eq!(names(&dir), ["app.log", "app.log.1", "app.log.2.gz"], "the third was beyond what is kept");
    assert_same(&gunzip(&format!("{path}.2.gz")), &lines[..20_000]);
}

#[test]
fn the_end_waits_for_no_file_that_is_being_compressed() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    // Some seconds of work.
    let large = b"a line that is the same as all others, for the file is to be large\n".repeat(1 << 20);
    fs::write(format!("{path}.1"), &large).unwrap();
    let receiver = start(&path, &["--rotate-size", "100MiB"]);
    until_equal("the beginning", &true, || fs::exists(format!("{path}.1.gz.new")).unwrap());
    receiver.client().write_all(b"line\n").unwrap();
    receiver.stop().assert_clean();
    assert_eq!(names(&dir), ["app.log", "app.log.1"]);
    assert!(fs::read(format!("{path}.1")).unwrap() == large);
}

#[test]
fn a_disk_without_room_for_it_keeps_the_file_as_it_is_and_never_costs_a_line() {
    let Some(disk) = Tmpfs::mount("size=2m") else { return };
    let path = disk.file("app.log");
    // Lines that get hardly smaller: compressed, this file needs more than the room that is left.
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'!' + u8::try_from((state >> 16) % 90).unwrap()
    };
    let first: Vec<u8> = (0..1_200_000).map(|at| if at % 100 == 99 { b'\n' } else { random() }).collect();
    for (policy, is_first) in [("wait", true), ("drop-oldest", true), ("wait", false), ("drop-oldest", false)] {
        // The room of the round before may come back a moment after its end.
        until("room", || fs::write(format!("{path}.1"), &first).map_err(|error| error.to_string()));
        let args = ["--output", &path, "--rotate-compress", "--rotate-size", "1200KiB", "--disk-full", policy];
        let receiver = Receiver::start(&args);
        if is_first {
            receiver.until_said(&format!("[out] cannot compress {path}.1: "));
        }
        let lines = stream(0, 0..700);
        receiver.client().write_all(&lines).unwrap();
        until_equal("all lines", &lines.len(), || fs::read(&path).unwrap_or_default().len());
        receiver.until_said(&format!("[out] cannot compress {path}.1: "));
        let ended = receiver.stop();
        ended.assert_clean();
        assert_eq!(ended.stderr.matches("cannot compress").count(), 1, "{}", ended.stderr);
        assert!(!ended.stderr.contains("the disk is full: removed"), "{}", ended.stderr);
        assert!(fs::read(format!("{path}.1")).unwrap() == first && !fs::exists(format!("{path}.1.gz.new")).unwrap());
        ["", ".1"].iter().for_each(|number| fs::remove_file(format!("{path}{number}")).unwrap());
    }
}

#[test]
fn each_hosts_files_are_compressed_one_at_a_time() {
    let dir = Dir::new();
    let pattern = dir.file("{host}.log");
    fs::write(dir.file("127.0.0.9.log.2"), stream(9, 0..20)).unwrap();
    fs::write(dir.file("127.0.0.9.log.1.gz.new"), "half").unwrap();
    let receiver = start(&pattern, &["--rotate-size", "64KiB", "--max-line", "8KiB"]);
    let lines = stream(0, 0..300);
    for host in 1..=3 {
        receiver.client_from(host).write_all(&lines).unwrap();
    }
    // In a thread that gives way to everybody, all other tests among them.
    until_within(LONG_PATIENCE, "all to be compressed", || {
        let names = names(&dir);
        let is_done = |name: &String| name.ends_with(".log") || name.ends_with(".gz");
        let is_all = names.len() == 1 + 3 * 4 && names.iter().all(is_done);
        if is_all { Ok(()) } else { Err(format!("{names:?}")) }
    });
    receiver.stop().assert_clean();
    for host in 1..=3 {
        assert_same(&all(&dir.file(&format!("127.0.0.{host}.log")), 5), &lines);
    }
    assert_same(&gunzip(&dir.file("127.0.0.9.log.2.gz")), &stream(9, 0..20));
}

#[test]
fn p13_what_cannot_rotate_is_not_to_be_compressed() {
    for (args, sentence) in [
        (&["--output", "app.log"][..], "--rotate-compress compresses rotated files: give --rotate-size or"),
        (&["--rotate-size", "1MiB"], "--rotate-size is for files, and no --output names one"),
        (&[], "--rotate-compress is for files, and no --output names one"),
        (
            &["--output", "app.log", "--rotate-size", "1MiB", "--rotate-keep", "0"],
            "--rotate-compress compresses rotated files, and --rotate-keep 0 keeps none",
        ),
    ] {
        let ended = Setup::new(&[&["--rotate-compress"], args].concat()).run();
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with(&format!("lumberjack: {sentence}")), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn cat_shows_a_mixed_set_from_its_oldest_line_on() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let line = |minute: u32, text: &str| format!("2024-11-25T20:{minute:02}:00.000Z 192.0.2.7:5000 {text}\n");
    gzip(&format!("{path}.10"), line(1, "one").as_bytes());
    fs::write(format!("{path}.2"), line(2, "two") + "torn").unwrap();
    gzip(&format!("{path}.1"), line(3, "three").as_bytes());
    fs::write(&path, line(4, "four pumps")).unwrap();
    fs::write(format!("{path}.1.gz.new"), "half").unwrap();
    let shown = |args: &[&str]| {
        let ended = cat(&[&[&path[..]], args].concat());
        ended.assert_clean();
        (String::from_utf8(ended.output).unwrap(), ended.stderr)
    };
    let all = line(1, "one") + &line(2, "two") + "torn\n" + &line(3, "three") + &line(4, "four pumps");
    assert_eq!(shown(&[]), (all, String::new()));
    assert_eq!(shown(&["--match", "pump"]), (line(4, "four pumps"), String::new()));
    let untimed = "lumberjack: 1 line was without a time, and shown whatever --since says\n".to_owned();
    let late = "torn\n".to_owned() + &line(3, "three") + &line(4, "four pumps");
    assert_eq!(shown(&["--since", "2024-11-25T21:02:30+01:00"]), (late, untimed));
    assert_eq!(shown(&["--since", "1h", "--match", "192"]), (String::new(), String::new()), "long ago");
    // The link leads to where the rotated ones are.
    std::os::unix::fs::symlink("app.log", dir.file("link")).unwrap();
    assert_eq!(cat(&[&dir.file("link")]).output, cat(&[&path]).output);
    assert_eq!(String::from_utf8(cat(&[&format!("{path}.10.gz")]).output).unwrap(), line(1, "one"));
}

/// A name behind which no number has room: no other file has one, and the search ends.
#[test]
fn cat_shows_a_file_whose_rotated_names_would_be_too_long() {
    let dir = Dir::new();
    let path = dir.file(&"a".repeat(254));
    fs::write(&path, "one\n").unwrap();
    let ended = cat(&[&path]);
    assert_eq!((ended.code, ended.lines()), (Some(0), vec!["one".to_owned()]), "{}", ended.stderr);
}

#[test]
fn cat_shows_days_in_their_order_and_asks_for_one_host() {
    let dir = Dir::new();
    for day in ["2026-01-02", "2025-12-31"] {
        fs::write(dir.file(&format!("app-{day}.log")), format!("{day}\n")).unwrap();
    }
    let ended = cat(&[&dir.file("app-{date}.log")]);
    ended.assert_clean();
    assert_eq!(ended.output, b"2025-12-31\n2026-01-02\n");
    for (args, sentence) in [
        (&["app-{host}.log"][..], "cat app-{host}.log: these files are not one set; name one of them"),
        (&["app.log", "--since", "2026-02-30"], "--since 2026-02-30: give a duration, such as 2h, or a time"),
    ] {
        let ended = cat(args);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.starts_with(&format!("lumberjack: {sentence}")), "{}", ended.stderr);
    }
}

#[test]
fn cat_ends_with_its_reader_and_names_what_it_cannot_read() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::write(&path, stream(0, 0..20_000)).unwrap();
    let script = format!("{{ {} cat {path}; echo $? >&2; }} | head -n 1", under_test());
    let ended = output_of(std::process::Command::new("sh").args(["-c", &script])).unwrap();
    assert_same(&ended.stdout, &stream(0, 0..1));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "0\n", "the exit code, and not a word");

    gzip(&format!("{path}.1"), &stream(0, 0..100));
    let compressed = fs::read(format!("{path}.1.gz")).unwrap();
    fs::write(format!("{path}.1.gz"), &compressed[..compressed.len() - 20]).unwrap();
    let ended = cat(&[&path]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.stderr,
        format!("lumberjack: cannot read all of {path}.1.gz: it is cut off; the rest of it is left out\n")
    );
    let lines = ended.output.split_inclusive(|byte| *byte == b'\n').count();
    assert!((20_000..20_100).contains(&lines), "{lines} lines: the next file is shown");
    for (path, why) in [
        (dir.file("no.log"), "there is no such file, nor a rotated one of that name"),
        (dir.file("no/such.log"), "there is no such file, nor a rotated one of that name"),
        (dir.file(""), "it is a directory; name a file in it"),
    ] {
        let ended = cat(&[&path]);
        assert_eq!((ended.code, ended.stderr), (Some(1), format!("lumberjack: cannot read {path}: {why}\n")));
    }
    let ended = Setup::new(&["cat", &path]).redirect(">/dev/full").run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot write to stdout: No space left"), "{}", ended.stderr);
    assert_eq!(cat(&[]).code, Some(2));
}

#[test]
fn cat_shows_the_files_beside_one_that_it_can_not_read() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::write(&path, "newest\n").unwrap();
    fs::write(format!("{path}.2"), "oldest\n").unwrap();
    let _bound = std::os::unix::net::UnixListener::bind(format!("{path}.1")).unwrap();
    let ended = cat(&[&path]);
    assert_eq!((ended.code, &ended.output[..]), (Some(1), &b"oldest\nnewest\n"[..]));
    assert!(ended.stderr.starts_with(&format!("lumberjack: cannot read {path}.1: ")), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("cannot read").count(), 1, "{}", ended.stderr);
}

#[test]
fn cat_shows_more_files_than_the_soft_limit_has_descriptors() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::write(&path, "0\n").unwrap();
    (1..60).for_each(|number| fs::write(format!("{path}.{number}"), format!("{number}\n")).unwrap());
    let ended = Setup::new(&["cat", &path]).before("ulimit -S -n 32;").run();
    let expected: String = (0..60).rev().map(|number| format!("{number}\n")).collect();
    assert_eq!((ended.code, &*ended.stderr, &ended.output[..]), (Some(0), "", expected.as_bytes()));
}

#[test]
fn p13_a_name_that_is_too_long_to_be_compressed_is_refused() {
    let dir = Dir::new();
    for (len, code) in [(246, 0), (247, 2)] {
        let path = dir.file(&"x".repeat(len));
        let args = ["--check", "--output", &path, "--rotate-size", "1MiB", "--rotate-compress", "--rotate-keep", "5"];
        let ended = Setup::new(&args).run();
        assert_eq!(ended.code, Some(code), "{len}: {}", ended.stderr);
        let is_said = String::from_utf8_lossy(&ended.output).contains(".gz.new, which --rotate-compress needs");
        assert_eq!(is_said, code == 2, "{len}");
        if code == 2 {
            let ended = Setup::new(&args[1..]).run();
            assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        }
    }
}
