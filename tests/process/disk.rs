//! A disk that is full, and small ones: every line arrives once there is room, nothing is torn or doubled, and the bound
//! of rotated files holds. On a real tmpfs, where one can be mounted.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::patience::Collected;
use crate::common::skip::not_here;
use crate::support::conditions::{Dir, assert_same, until, until_equal};
use crate::support::follow::{Following, Seen, Senders, all_files, push_line};
use crate::support::receiver::{Guard, Receiver, Setup};
use crate::support::traced::{calls, may_trace, strace, until_logged};

/// A small file system in a name space of its own, which is gone with the process that holds it, whatever becomes of this
/// one. It is reached through that process's root.
pub(crate) struct Tmpfs {
    holder: Guard,
    dir: Dir,
}

impl Tmpfs {
    /// None, and a word, where nothing can be mounted.
    pub(crate) fn mount(options: &str) -> Option<Self> {
        // `cat` ends with its stdin, which is ours.
        let script = format!("mount -t tmpfs -o {options} none \"$0\" && echo mounted && exec cat");
        for as_user in [&[][..], &["--map-root-user"]] {
            let dir = Dir::new();
            let mut command = Command::new("unshare");
            command.arg("--mount").args(as_user).args(["sh", "-c", &script]).arg(dir.path());
            let spawned = Guard::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()));
            let Ok(mut holder) = spawned else { continue };
            let word = Collected::from(holder.0.stdout.take().unwrap());
            let is_mounted = until("a word of the mount, or its end", || match word.text().as_str() {
                "mounted\n" => Ok(true),
                _ if !holder.is_running() => Ok(false),
                other => Err(other.to_owned()),
            });
            let disk = Self { holder, dir };
            if is_mounted && fs::read_dir(disk.file("")).is_ok() {
                return Some(disk);
            }
        }
        not_here("no file system can be mounted here");
        None
    }

    pub(crate) fn file(&self, name: &str) -> String {
        format!("/proc/{}/root{}", self.holder.pid(), self.dir.file(name))
    }

    /// Takes up room.
    pub(crate) fn fill(&self, bytes: usize) {
        File::create(self.file("ballast")).unwrap().write_all(&vec![b'x'; bytes]).unwrap();
    }

    /// Takes up all room.
    pub(crate) fn fill_up(&self) {
        let mut file = File::create(self.file("ballast")).unwrap();
        while file.write_all(&[b'x'; 4096]).is_ok() {}
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.file("ballast")).unwrap();
    }
}

/// For how long clients send at full speed, or a disk stays full: a minute in CI.
fn seconds(default: u64) -> Duration {
    let seconds = std::env::var("LUMBERJACK_TMPFS_SECONDS").ok().map(|text| text.parse().expect("a whole number"));
    Duration::from_secs(seconds.unwrap_or(default))
}

const MIB: usize = 1024 * 1024;

/// Every client's lines are there, once and in order.
fn assert_all(bytes: &[u8], sent: &[u64]) {
    let mut seen = Seen::of(sent.len());
    assert_eq!(seen.take(bytes), bytes.len(), "the last line is torn");
    assert_eq!(seen.next, sent);
}

/// Waits until a file gets no longer for a while.
fn until_stuck(path: &str) {
    let mut last = (u64::MAX, Instant::now());
    until("a file that gets no longer", || {
        let len = fs::metadata(path).map_or(0, |found| found.len());
        if len != last.0 {
            last = (len, Instant::now());
        }
        if last.1.elapsed() > Duration::from_millis(200) { Ok(()) } else { Err(format!("{len} bytes")) }
    });
}

#[test]
fn p13_a_full_disk_costs_nothing_but_time_and_a_handful_of_words() {
    let Some(disk) = Tmpfs::mount("size=4m") else { return };
    let path = disk.file("app.log");
    disk.fill(3 * MIB);
    let receiver = Receiver::start(&["--output", &path, "--max-per-host", "0"]);
    let senders = Senders::start((0..6).map(|_| receiver.client()).collect(), 500, None);
    receiver.until_said(&format!("[out] cannot write to {path}: No space left on device"));
    let began = Instant::now();
    // The stay is the test: what it says, and whether it spins, while the disk is full.
    std::thread::sleep(seconds(2));
    receiver.assert_rests("while the disk is full");
    let (said, full_for) = (receiver.said(), began.elapsed());
    let words = said.matches("[out] ").count() + said.matches("similar suppressed").count();
    eprintln!("{words} lines of our own log in {full_for:?} of a full disk");
    // Five a minute, and one that counts the rest.
    let minutes = usize::try_from(full_for.as_secs() / 60).unwrap() + 1;
    assert!(words <= 6 * minutes, "{said}");
    disk.free();
    let sent = senders.finish();
    receiver.stop().assert_clean();
    assert_all(&fs::read(&path).unwrap(), &sent);
}

#[test]
fn p13_a_disk_that_is_full_again_and_again_tears_and_doubles_nothing() {
    let Some(disk) = Tmpfs::mount("size=8m") else { return };
    let path = disk.file("app.log");
    let receiver = Receiver::start(&["--output", &path, "--max-per-host", "0"]);
    let senders = Senders::start((0..4).map(|_| receiver.client()).collect(), 2_400, None);
    for _ in 0..4 {
        disk.fill_up();
        until_stuck(&path);
        disk.free();
    }
    let sent = senders.finish();
    receiver.stop().assert_clean();
    assert_all(&fs::read(&path).unwrap(), &sent);
}

#[test]
fn p13_a_file_moved_away_while_the_disk_is_full_ends_with_a_whole_line() {
    let Some(disk) = Tmpfs::mount("size=2m") else { return };
    let (path, moved) = (disk.file("app.log"), disk.file("moved"));
    disk.fill(MIB);
    let receiver = Receiver::start(&["--output", &path]);
    let senders = Senders::start(vec![receiver.client()], 2_400, None);
    receiver.until_said("No space left on device");
    until_stuck(&path);
    fs::rename(&path, &moved).unwrap();
    receiver.signal("HUP");
    // It may be that no line is torn, and the new file there at once; else the old one is to be completed first.
    std::thread::sleep(Duration::from_millis(300));
    disk.free();
    // 1,622,400 bytes in all.
    let len = |path: &str| fs::metadata(path).map_or(0, |found| found.len());
    until_equal("all bytes", &1_622_400, || len(&path) + len(&moved));
    let sent = senders.finish();
    receiver.stop().assert_clean();
    let (old, new) = (fs::read(&moved).unwrap(), fs::read(&path).unwrap());
    assert!(old.ends_with(b"\n") && !new.is_empty(), "{} and {} bytes", old.len(), new.len());
    assert_all(&[old, new].concat(), &sent);
}

#[test]
fn p13_a_file_removed_to_make_room_is_let_go() {
    let Some(disk) = Tmpfs::mount("size=2m") else { return };
    let path = disk.file("app.log");
    let receiver = Receiver::start(&["--output", &path]);
    let senders = Senders::start(vec![receiver.client()], 4_800, None);
    receiver.until_said("No space left on device");
    until_stuck(&path);
    // What an operator does; but the room is free only when nobody has the file any more.
    fs::remove_file(&path).unwrap();
    receiver.until_said(&format!("[out] {path} was removed; it is begun anew"));
    let sent = senders.finish();
    receiver.stop().assert_clean();
    let bytes = fs::read(&path).unwrap();
    let mut expected = Vec::new();
    (0..sent[0]).for_each(|number| push_line(0, number, &mut expected));
    let from = expected.len() - bytes.len();
    assert!(expected[..from].ends_with(b"\n") && from >= MIB, "it begins in the middle of a line, at {from}");
    assert_same(&bytes, &expected[from..]);
}

#[test]
fn p13_a_start_on_a_full_disk_waits_with_the_end_of_a_torn_line_too() {
    let Some(disk) = Tmpfs::mount("size=1m") else { return };
    let path = disk.file("app.log");
    // A page of the file is full, so that one byte more needs a page.
    fs::write(&path, "x".repeat(4096)).unwrap();
    disk.fill_up();
    let receiver = Receiver::start(&["--output", &path]);
    receiver.client().write_all(b"line\n").unwrap();
    receiver.until_said("No space left on device");
    disk.free();
    until_equal("the line", &("x".repeat(4096) + "\nline\n"), || fs::read_to_string(&path).unwrap());
    receiver.stop().assert_clean();
}

/// Sends more than the disk has room for, and gives what is left in the files, and the log.
fn drop_oldest(disk: &Tmpfs, options: &[&str]) -> (Vec<u8>, Vec<u64>, String) {
    let path = disk.file("app.log");
    let args = ["--output", &path, "--rotate-size", "512KiB", "--rotate-keep", "20", "--disk-full", "drop-oldest"];
    let receiver = Receiver::start(&[&args, options].concat());
    let senders = Senders::start(vec![receiver.client(), receiver.client()], 4_000, None);
    // 5,408,000 bytes into 4 MiB: nobody makes room but the server itself.
    let sent = senders.finish();
    let ended = receiver.stop();
    ended.assert_clean();
    let (bytes, files) = all_files(&path, 20);
    assert!((6..=8).contains(&files), "{files} files");
    (0..=20).for_each(|number| drop(fs::remove_file(format!("{path}.{number}"))));
    fs::remove_file(path).unwrap();
    (bytes, sent, ended.stderr)
}

#[test]
fn p13_on_a_full_disk_the_oldest_file_goes_if_that_is_wanted_and_its_lines_are_counted() {
    let Some(disk) = Tmpfs::mount("size=4m") else { return };
    for marks in [false, true] {
        let (bytes, sent, said) = drop_oldest(&disk, if marks { &["--mark-gaps"] } else { &[] });
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let is_mark = |line: &&&[u8]| line.starts_with(b"[lumberjack gap] ");
        let gaps: Vec<String> = lines.iter().filter(is_mark).map(|line| String::from_utf8_lossy(line).into()).collect();
        let others: Vec<&[u8]> = lines.iter().filter(|line| !is_mark(line)).copied().collect();
        // No hole: the lines that are left are each client's last ones.
        let mut seen = Seen::after_gap(2);
        assert_eq!(seen.take(&others.concat()), others.concat().len());
        assert_eq!(seen.next, sent);
        let removed: Vec<u64> = said
            .lines()
            .filter_map(|line| line.split_once("[out] the disk is full: removed ")?.1.split_once(" with "))
            .map(|(_, rest)| rest.split_once(" lines").unwrap().0.parse().unwrap())
            .collect();
        assert!((2..=5).contains(&removed.len()), "{said}");
        let lost = seen.missing;
        assert_eq!(removed.iter().sum::<u64>(), lost, "{said}");
        if marks {
            let count = |mark: &String| mark.split_once("lines=").unwrap().1.split_once(' ').unwrap().0.parse::<u64>();
            assert_eq!(gaps.iter().map(|mark| count(mark).unwrap()).sum::<u64>(), lost, "{gaps:?}, {said}");
            assert!(gaps.iter().all(|mark| mark.ends_with(" why=disk-full\n")), "{gaps:?}");
        } else {
            assert!(gaps.is_empty(), "{gaps:?}");
        }
    }
}

#[test]
fn p13_errors_that_pass_lose_nothing_whatever_they_are() {
    if !may_trace() {
        return;
    }
    for fault in [
        "writev:error=EIO:when=3",
        "writev:error=EIO:when=2..5",
        "writev:error=EROFS:when=2..5",
        "writev:error=EDQUOT:when=2..4",
    ] {
        let dir = Dir::new();
        let path = dir.file("app.log");
        let call = fault.split_once(':').unwrap().0;
        let under = strace(&dir, &format!("writev,{call}"), &[fault.to_owned()]);
        let args = ["--output", &path, "--rotate-size", "16KiB", "--rotate-keep", "3", "--max-line", "4KiB"];
        let receiver = Setup::new(&args).under(under).start();
        let following = Following::start(&path, 3, 1);
        let senders = Senders::start(vec![receiver.client()], 160, None);
        let sent = senders.finish();
        let written =
            || calls(&dir, "writev").iter().filter_map(|call| call.returned()).filter(|count| *count > 0).sum();
        until_equal("all bytes", &108_160, written);
        let ended = receiver.stop();
        ended.assert_clean();
        until_logged(&dir);
        let log = fs::read_to_string(dir.file("strace")).unwrap();
        assert!(log.contains("(INJECTED)"), "{fault} was not met");
        // One that is over when the turn ends is no word worth.
        let is_said = ended.stderr.contains("[out] cannot write to ");
        assert!(is_said || fault.ends_with("when=3"), "{fault}: {}", ended.stderr);
        let followed = following.finish();
        assert!(followed.longest <= 16_384 && followed.most_names <= 4, "{fault}: {followed:?}");
        // The reader may miss what was removed before it came; what is left has no hole.
        let mut seen = Seen::after_gap(1);
        let (bytes, _) = all_files(&path, 3);
        assert_eq!(seen.take(&bytes), bytes.len(), "{fault}");
        assert_eq!(seen.next, sent, "{fault}");
    }
}

#[test]
fn p13_no_call_of_a_rotation_that_fails_stops_or_loses_a_line() {
    if !may_trace() {
        return;
    }
    // A directory that is full, a file system that went read-only, a device that is gone for a while, no descriptor.
    for (names, error, keep) in [
        (&["rename", "renameat", "renameat2"][..], "ENOSPC", "3"),
        (&["rename", "renameat", "renameat2"], "EROFS", "3"),
        (&["rename", "renameat", "renameat2"], "EIO", "0"),
        (&["unlink", "unlinkat"], "EIO", "3"),
        (&["unlink", "unlinkat"], "EACCES", "0"),
        (&["open", "openat"], "EMFILE", "3"),
        (&["open", "openat"], "EIO", "0"),
        (&["fchmod"], "EPERM", "3"),
        (&["fchown"], "EPERM", "3"),
    ] {
        let step = names.iter().map(|name| format!("?{name}")).collect::<Vec<_>>().join(",");
        let args = ["--rotate-size", "16KiB", "--rotate-keep", keep, "--max-line", "4KiB"];
        let run = |faults: &[String]| {
            let dir = Dir::new();
            let path = dir.file("app.log");
            let under = strace(&dir, &step, faults);
            let receiver = Setup::new(&[&["--output", &path], &args[..]].concat()).under(under).start();
            let senders = Senders::start(vec![receiver.client()], 160, None);
            let sent = senders.finish();
            let ended = receiver.stop();
            ended.assert_clean();
            until_logged(&dir);
            assert!(!ended.stderr.contains("cannot write"), "{faults:?}: {}", ended.stderr);
            let mut seen = Seen::after_gap(1);
            let (bytes, _) = all_files(&path, 3);
            assert_eq!(seen.take(&bytes), bytes.len(), "{faults:?}: a torn line");
            assert_eq!(seen.next, sent, "{faults:?}: {}", ended.stderr);
            let log = fs::read_to_string(dir.file("strace")).unwrap();
            let is_call = |line: &&str| names.iter().any(|name| line.contains(&format!(" {name}(")));
            log.lines().filter(is_call).map(str::to_owned).collect::<Vec<String>>()
        };
        // Calls that the start makes too come once before the first rotation: it tries whether a new file can be made.
        let skipped = usize::from(["unlink", "open"].contains(&names[0]));
        let sound = run(&[]);
        let is_of_rotation = |line: &&String| {
            let is_there = line.contains("app.log") && (names[0] != "open" || line.contains(".new"));
            is_there || line.contains("fch")
        };
        let first = sound.iter().filter(is_of_rotation).nth(skipped).unwrap();
        let first = sound.iter().position(|line| line == first).unwrap();
        for when in [format!("{}", first + 1), format!("{}..{}", first + 2, first + 4), format!("{}+", first + 1)] {
            let log = run(&[format!("{step}:error={error}:when={when}")]);
            assert!(log.iter().any(|line| line.contains("INJECTED")), "{step} {error} {when}: {log:?}");
        }
    }
}

#[test]
fn p13_a_directory_without_room_for_a_name_counts_as_a_full_disk() {
    if !may_trace() {
        return;
    }
    for fault in ["?rename,?renameat,?renameat2:error=ENOSPC:when=5", "writev:error=EDQUOT:when=5"] {
        let dir = Dir::new();
        let path = dir.file("app.log");
        let under = strace(&dir, "all", &[fault.to_owned()]);
        let args = ["--output", &path, "--rotate-size", "16KiB", "--rotate-keep", "5", "--max-line", "4KiB"];
        let receiver = Setup::new(&[&args[..], &["--disk-full", "drop-oldest"]].concat()).under(under).start();
        let senders = Senders::start(vec![receiver.client()], 160, None);
        senders.finish();
        receiver.until_said("[out] the disk is full: removed ");
        let ended = receiver.stop();
        ended.assert_clean();
        assert!(!ended.stderr.contains("cannot write"), "{fault}: {}", ended.stderr);
    }
}

#[test]
fn p13_a_small_disk_at_full_speed_never_stops_and_a_follower_sees_every_line() {
    const KEEP: usize = 5;
    const SIZE: u64 = 2 * 1024 * 1024;
    let Some(disk) = Tmpfs::mount("size=16m") else { return };
    let path = disk.file("app.log");
    let args = ["--output", &path, "--rotate-size", "2MiB", "--rotate-keep", "5", "--max-per-host", "0"];
    let receiver = Receiver::start(&args);
    let following = Following::start(&path, KEEP, 4);
    let senders = Senders::start((0..4).map(|_| receiver.client()).collect(), u64::MAX, None);
    let (began, length) = (Instant::now(), seconds(10));
    let (mut last, mut longest_pause) = ((0, Instant::now()), Duration::ZERO);
    while began.elapsed() < length {
        assert!(following.is_running(), "the follower has found something");
        let read = following.read.load(std::sync::atomic::Ordering::SeqCst);
        if read > last.0 {
            longest_pause = longest_pause.max(last.1.elapsed());
            last = (read, Instant::now());
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    senders.stop();
    let sent = senders.finish();
    let ended = receiver.stop();
    ended.assert_clean();
    let followed = following.finish();
    eprintln!("{length:?}: {} lines sent; longest pause {longest_pause:?}; {followed:?}", sent.iter().sum::<u64>());
    eprintln!("{}", ended.stderr);
    assert!(followed.longest <= SIZE, "{followed:?}");
    assert!(followed.most_names <= KEEP + 1, "{followed:?}");
    assert!(followed.most_bytes <= SIZE * (KEEP as u64 + 1), "{followed:?}");
    assert_eq!(followed.seen.next, sent, "{followed:?}");
    assert!(followed.gaps > 0 || followed.seen.missing == 0, "{followed:?}");
    // It never stops: even a reader that holds removed files, and with them their room, makes it wait for a moment only.
    assert!(longest_pause < Duration::from_secs(15), "{longest_pause:?}");
    assert!(followed.seen.bytes > 10 * SIZE, "{followed:?}");
}
