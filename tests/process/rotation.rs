//! Rotation (`--rotate-size`, `--rotate-age`, `--rotate-keep`): the bound holds, a follower sees every line once, and what
//! an earlier run left is gone on with.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::patience::{Collected, Guard, output_of};
use crate::common::skip::{not_here, skip};
use crate::support::conditions::{Dir, assert_same, text, until, until_equal};
use crate::support::follow::{Following, LONGEST, Senders, push_line};
use crate::support::receiver::{Receiver, Setup, under_test};

/// With a file as output, and these options.
fn start(path: &str, options: &[&str]) -> Receiver {
    Receiver::start(&[&["--output", path], options].concat())
}

/// Sends these lines and ends it.
fn send_and_stop(receiver: Receiver, lines: &[u8]) -> String {
    receiver.client().write_all(lines).unwrap();
    let ended = receiver.stop();
    ended.assert_clean();
    ended.stderr
}

fn names(dir: &Dir) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn inode(path: &str) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.ino())
}

#[test]
fn under_load_a_follower_sees_every_line_once_in_files_that_stay_small() {
    const KEEP: usize = 3;
    const SIZE: u64 = 256 * 1024;
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = start(&path, &["--rotate-size", "256KiB", "--rotate-keep", "3", "--max-per-host", "0"]);
    let following = Following::start(&path, KEEP, 6);
    let senders = Senders::start((0..6).map(|_| receiver.client()).collect(), 5_000, Some(following.read.clone()));
    let sent = senders.finish();
    receiver.stop().assert_clean();
    let followed = following.finish();
    assert_eq!(followed.seen.next, sent, "{followed:?}");
    assert_eq!((followed.gaps, followed.seen.missing), (0, 0), "the clients were paced, so no file can be missed");
    assert!(followed.longest <= SIZE, "{followed:?}");
    assert_eq!(followed.most_names, KEEP + 1, "{followed:?}");
    // At most a line's room is left in each.
    assert!(followed.files >= followed.seen.bytes / SIZE, "{followed:?}");
    assert!(followed.files <= followed.seen.bytes / (SIZE - LONGEST as u64) + 1, "{followed:?}");
}

#[test]
fn a_line_larger_than_what_is_left_goes_to_the_next_file() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = start(&path, &["--rotate-size", "1000", "--max-line", "900"]);
    let line = |letter: &str, length: usize| letter.repeat(length - 1) + "\n";
    let lines =
        [line("a", 400), line("b", 600), line("c", 1), line("d", 901), line("e", 98), line("f", 3), line("g", 2)];
    send_and_stop(receiver, lines.concat().as_bytes());
    // An empty line is skipped.
    assert_eq!(text(&format!("{path}.2")), line("a", 400) + &line("b", 600), "exactly full");
    assert_eq!(text(&format!("{path}.1")), line("d", 901) + &line("e", 98), "one byte is left");
    assert_eq!(text(&path), line("f", 3) + &line("g", 2));
}

#[test]
fn a_restart_goes_on_where_the_last_run_stopped() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let mut sent = Vec::new();
    for run in 0..4 {
        let receiver = start(&path, &["--rotate-size", "10KiB", "--max-line", "4KiB"]);
        let before = sent.len();
        for number in run * 8..run * 8 + 8 {
            push_line(0, number, &mut sent);
        }
        send_and_stop(receiver, &sent[before..]);
    }
    // 8 lines are 5,408 bytes: 21,632 in all.
    let files = [format!("{path}.2"), format!("{path}.1"), path.clone()].map(|path| fs::read(path).unwrap());
    assert_same(&files.concat(), &sent);
    let fits = |file: &[u8], next: &[u8]| {
        let first = next.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        assert!(file.len() <= 10_240 && file.len() + first > 10_240, "{} bytes, and {first} come next", file.len());
    };
    fits(&files[0], &files[1]);
    fits(&files[1], &files[2]);
    assert_eq!(names(&dir).len(), 3);
}

#[test]
fn a_file_that_is_too_large_at_start_is_kept_whole_and_the_next_begun() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    // Torn too: it gets nothing more, not even a newline.
    fs::write(&path, "x".repeat(5_000)).unwrap();
    let receiver = start(&path, &["--rotate-size", "4KiB", "--max-line", "1KiB"]);
    assert_eq!(names(&dir), ["app.log"], "nothing is moved before there is a line");
    send_and_stop(receiver, b"first\n");
    assert_eq!(text(&path), "first\n");
    assert_eq!(text(&format!("{path}.1")), "x".repeat(5_000));
}

#[test]
fn with_keep_0_the_full_file_goes() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = start(&path, &["--rotate-size", "100", "--max-line", "50", "--rotate-keep", "0"]);
    let line = "x".repeat(39) + "\n";
    send_and_stop(receiver, line.repeat(5).as_bytes());
    assert_eq!(text(&path), line, "two a file, and the fifth is alone");
    assert_eq!(names(&dir), ["app.log"]);
}

#[test]
fn fewer_to_keep_than_before_is_brought_into_order_at_start() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    for number in 1..=7 {
        fs::write(format!("{path}.{number}"), format!("{number}\n")).unwrap();
    }
    let receiver = start(&path, &["--rotate-size", "1MiB", "--rotate-keep", "2"]);
    receiver.until_said(&format!("[out] removed {path}.7, beyond --rotate-keep"));
    assert_eq!(names(&dir), ["app.log", "app.log.1", "app.log.2"]);
    let said = send_and_stop(receiver, b"line\n");
    assert_eq!(said.matches(", beyond --rotate-keep").count(), 5, "{said}");
}

/// A person at a terminal gets a greeting, and then the log: what happens before the greeting is not lost for that.
#[test]
fn p12_what_is_removed_at_the_start_is_said_at_a_terminal_too() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::write(format!("{path}.7"), "7\n").unwrap();
    let options = "--listen 127.0.0.1:0 --rotate-size 1MiB --rotate-keep 2";
    // `exec`: a shell that stays in between gets the signal of Ctrl-C too, and its end would be the one that is told.
    let command = format!("exec {} {options} --output {path}", under_test());
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut terminal) = Guard::spawn(&mut script) else {
        return skip("there is no `script` (bsdutils), which makes a terminal");
    };
    let screen = Collected::from(terminal.0.stdout.take().unwrap());
    until("the greeting and the log", || {
        let said = screen.text();
        if ["[out] removed ", "send one: printf"].iter().all(|part| said.contains(part)) { Ok(()) } else { Err(said) }
    });
    // What Ctrl-C sends.
    terminal.0.stdin.as_ref().unwrap().write_all(b"\x03").unwrap();
    assert_eq!(terminal.wait(), Some(0), "{}", screen.text());
    let said = String::from_utf8_lossy(&screen.finish()).into_owned();
    assert!(said.contains("Listening on 127.0.0.1:") && said.contains("send one: printf"), "no greeting: {said}");
    assert!(!said.contains("[INFO] [tcp] Listening"), "the greeting says it: {said}");
    assert!(said.contains(&format!("[out] removed {path}.7, beyond --rotate-keep")), "{said}");
}

#[test]
fn what_a_link_leads_to_is_rotated_and_the_link_stays() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::create_dir(dir.file("disk")).unwrap();
    symlink("second", &path).unwrap();
    // Relative, and it leads nowhere yet.
    symlink("disk/real.log", dir.file("second")).unwrap();
    let options = ["--rotate-size", "100", "--max-line", "99", "--rotate-keep", "2"];
    let line = |letter: &str| letter.repeat(59) + "\n";
    send_and_stop(start(&path, &options), line("a").as_bytes());
    send_and_stop(start(&path, &options), (line("b") + &line("c")).as_bytes());
    assert_eq!(names(&dir), ["app.log", "disk", "second"]);
    assert_eq!(text(&path), line("c"));
    assert_eq!(text(&dir.file("disk/real.log.1")), line("b"));
    assert_eq!(text(&dir.file("disk/real.log.2")), line("a"));
}

/// How long a rotation by age takes to come at the latest, on a busy machine.
const LATE: Duration = Duration::from_secs(10);

#[test]
fn a_file_with_lines_is_begun_anew_when_it_is_old_and_an_empty_one_is_not() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = start(&path, &["--rotate-age", "1s"]);
    let mut client = receiver.client();
    let began = Instant::now();
    client.write_all(b"one\n").unwrap();
    let first = format!("{path}.1");
    until("the rotation", || inode(&first).ok_or_else(|| format!("{:?}", names(&dir))));
    // The file was there a moment before the line; and it was made when the server started.
    assert!(began.elapsed() >= Duration::from_millis(700), "after {:?}", began.elapsed());
    assert!(began.elapsed() <= LATE);
    until_equal("an empty file", &Some(String::new()), || fs::read_to_string(&path).ok());
    assert_eq!(text(&first), "one\n");
    // The wait is the test: nothing happens to a file without lines, whatever its age, and the server sleeps.
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(names(&dir), ["app.log", "app.log.1"]);
    receiver.assert_rests("with an empty file");
    client.write_all(b"two\n").unwrap();
    until_equal("the second", &Some("two\n".to_owned()), || fs::read_to_string(&first).ok());
    receiver.stop().assert_clean();
    assert_eq!(text(&format!("{path}.2")), "one\n");
}

#[test]
fn the_age_of_a_file_outlives_a_restart() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let (first, second) = (format!("{path}.1"), format!("{path}.2"));
    let age = Duration::from_secs(3);
    // Of a file with lines and none before it nothing tells how old it is: it is begun anew.
    fs::write(&path, "old\n").unwrap();
    let receiver = start(&path, &["--rotate-age", "3s"]);
    until("the first rotation", || inode(&first).ok_or_else(|| format!("{:?}", names(&dir))));
    let begun = Instant::now();
    send_and_stop(receiver, b"new\n");
    assert_eq!(names(&dir), ["app.log", "app.log.1"], "not before it is old");
    // Time passes while nobody runs.
    std::thread::sleep(Duration::from_millis(1_500).saturating_sub(begun.elapsed()));
    let receiver = start(&path, &["--rotate-age", "3s"]);
    let restarted = Instant::now();
    // The last of its steps gives the new file its name: between them it has another one.
    until_equal("the second rotation", &["app.log", "app.log.1", "app.log.2"].map(str::to_owned).to_vec(), || {
        names(&dir)
    });
    assert!(begun.elapsed() > age - Duration::from_millis(300), "too early: {:?}", begun.elapsed());
    // Half of the age had passed before.
    let passed = restarted.elapsed();
    assert!(passed < age - Duration::from_millis(100), "it was counted from the restart: {passed:?}");
    assert_eq!((text(&second), text(&first)), ("old\n".to_owned(), "new\n".to_owned()));
    receiver.stop().assert_clean();
}

#[test]
fn a_file_that_somebody_moved_or_removed_is_not_rotated_but_begun_anew() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = start(&path, &["--rotate-size", "100", "--max-line", "50", "--rotate-keep", "2"]);
    let line = |letter: &str| letter.repeat(39) + "\n";
    let mut client = receiver.client();
    let mut send = |letter: &str, path: &str, wanted: &str| {
        client.write_all(line(letter).as_bytes()).unwrap();
        until_equal(path, &wanted.to_owned(), || fs::read_to_string(path).unwrap_or_default());
    };
    send("a", &path, &line("a"));
    fs::rename(&path, dir.file("moved")).unwrap();
    fs::write(&path, "theirs\n").unwrap();
    // It goes on in the moved one while that has room, as a program that was not told must, and then in the new one.
    send("b", &dir.file("moved"), &(line("a") + &line("b")));
    send("c", &path, &format!("theirs\n{}", line("c")));
    assert_eq!(names(&dir), ["app.log", "moved"], "nothing of theirs was moved");
    fs::remove_file(&path).unwrap();
    send("d", &path, &line("d"));
    assert_eq!(names(&dir), ["app.log", "moved"]);
    receiver.until_said(&format!("[out] {path} was removed; it is begun anew"));
    receiver.stop().assert_clean();
}

#[test]
fn a_directory_that_is_away_for_a_while_costs_nothing() {
    let dir = Dir::new();
    let (folder, path) = (dir.file("logs"), dir.file("logs/app.log"));
    fs::create_dir(&folder).unwrap();
    for options in [&[][..], &["--rotate-size", "4MiB"]] {
        let receiver = Setup::new(&[&["--output", &path], options].concat()).by_default().start();
        let mut client = receiver.client();
        client.write_all(b"before\n").unwrap();
        until_equal("the first line", &"before\n".to_owned(), || text(&path));
        fs::remove_dir_all(&folder).unwrap();
        let mut sent = Vec::new();
        (0..2_000).for_each(|number| push_line(0, number, &mut sent));
        client.write_all(&sent).unwrap();
        receiver.until_said(&format!("[out] cannot write to {path}: No such file or directory"));
        fs::create_dir(&folder).unwrap();
        until_equal("all lines", &sent.len(), || fs::read(&path).unwrap_or_default().len());
        assert_same(&fs::read(&path).unwrap(), &sent);
        receiver.until_said(&format!("[out] {path} takes lines again"));
        receiver.stop().assert_clean();
        fs::remove_file(&path).unwrap();
    }
}

/// Takes away from a file that it can be renamed or removed; gives it back at the end.
struct Immutable(String);

impl Immutable {
    /// `None`, and the test is noted as skipped, where that can't be had.
    fn new(path: &str) -> Option<Self> {
        let done = output_of(Command::new("chattr").args(["+i", path]));
        match done.is_ok_and(|done| done.status.success()) {
            true => Some(Self(path.to_owned())),
            false => {
                not_here("chattr +i: not here, not as this user, or not on this file system");
                None
            }
        }
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        assert!(Command::new("chattr").args(["-i", &self.0]).status().unwrap().success());
    }
}

#[test]
fn a_rotated_file_that_cannot_be_moved_is_named_by_the_warning() {
    for (keep, what) in [("1", "remove"), ("2", "rename")] {
        let dir = Dir::new();
        let path = dir.file("app.log");
        let first = format!("{path}.1");
        fs::write(&first, "old\n").unwrap();
        let Some(immutable) = Immutable::new(&first) else { return };
        let receiver = start(&path, &["--rotate-size", "100", "--max-line", "50", "--rotate-keep", keep]);
        let lines: String = (0..9).map(|number| format!("{number:039}\n")).collect();
        receiver.client().write_all(lines.as_bytes()).unwrap();
        receiver.until_said(&format!("[out] cannot rotate {path}: cannot {what} {first}: Operation not permitted"));
        until_equal("all lines", &lines, || text(&path));
        drop(immutable);
        receiver.stop().assert_clean();
    }
}

#[test]
fn what_is_to_be_kept_though_nothing_rotates_is_a_warning() {
    let dir = Dir::new();
    let sentence = "--rotate-keep 3 is of no use, as nothing rotates: give --rotate-size";
    for (name, more, is_of_no_use) in [
        ("app.log", &[][..], true),
        ("app.log", &["--rotate-age", "1h"], false),
        ("app.log", &["--rotate-at", "03:00"], false),
        ("{date}.log", &[], false),
    ] {
        let path = dir.file(name);
        let args = [&["--output", &path, "--rotate-keep", "3"], more].concat();
        let checked = Setup::new(&[&["--check"], &args[..]].concat()).run();
        assert_eq!(checked.stderr.contains(sentence), is_of_no_use, "{args:?}: {}", checked.stderr);
        assert_eq!(checked.code, Some(if is_of_no_use { 2 } else { 0 }), "{args:?}: {}", checked.stderr);
        let ended = Receiver::start(&args).stop();
        ended.assert_clean();
        let said = format!("[WARN] [out] {sentence}");
        assert_eq!(ended.stderr.contains(&said), is_of_no_use, "{args:?}: {}", ended.stderr);
    }
    // What `--check` says in full leads to the same settings, and to no warning.
    let checked = Setup::new(&["--check", "--output", &dir.file("app.log"), "--rotate-keep", "5"]).run();
    checked.assert_clean();
}

#[test]
fn p13_a_fifo_that_had_the_files_name_and_went_is_no_rotation() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = start(&path, &["--rotate-size", "100", "--max-line", "50", "--rotate-keep", "1"]);
    let lines = |from: u32, to: u32| (from..to).map(|number| format!("{number:039}\n")).collect::<String>();
    let mut client = receiver.client();
    client.write_all(lines(0, 1).as_bytes()).unwrap();
    until_equal("the first", &lines(0, 1), || text(&path));
    fs::rename(&path, dir.file("moved")).unwrap();
    nix::unistd::mkfifo(path.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    client.write_all(lines(1, 4).as_bytes()).unwrap();
    receiver.until_said(&format!("[out] cannot rotate {path}: a fifo has its name"));
    fs::remove_file(&path).unwrap();
    until("the new file", || {
        client.write_all(lines(4, 5).as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        fs::metadata(&path).map(drop).map_err(|error| error.to_string())
    });
    receiver.until_said(&format!("[out] {path} was opened anew, and is within its bound again"));
    assert!(!receiver.said().contains("was rotated"), "{}", receiver.said());
    receiver.stop().assert_clean();
}

#[test]
fn a_rotation_that_fails_is_said_once_stops_no_line_and_is_made_up_for() {
    for signal in ["", "HUP"] {
        let dir = Dir::new();
        let path = dir.file("app.log");
        let receiver = start(&path, &["--rotate-size", "100", "--max-line", "50", "--rotate-keep", "1"]);
        fs::create_dir(format!("{path}.1")).unwrap();
        let lines = |from: u32, to: u32| (from..to).map(|number| format!("{number:039}\n")).collect::<String>();
        let mut client = receiver.client();
        client.write_all(lines(0, 9).as_bytes()).unwrap();
        until_equal("all lines", &lines(0, 9), || text(&path));
        receiver.until_said(&format!("[out] cannot rotate {path}: {path}.1 is a directory; lines go on into it"));
        fs::remove_dir(format!("{path}.1")).unwrap();
        let mut sent = 9;
        if signal.is_empty() {
            // By itself, after a pause.
            until("a rotation", || {
                client.write_all(lines(sent, sent + 1).as_bytes()).unwrap();
                sent += 1;
                std::thread::sleep(Duration::from_millis(20));
                inode(&format!("{path}.1")).ok_or_else(|| format!("after {sent} lines"))
            });
        } else {
            receiver.signal(signal);
            client.write_all(lines(sent, sent + 1).as_bytes()).unwrap();
            sent += 1;
            until_equal("the new file", &lines(sent - 1, sent), || text(&path));
        }
        receiver.until_said(&format!("[out] {path} was rotated, and is within its bound again"));
        drop(client);
        let ended = receiver.stop();
        ended.assert_clean();
        assert_eq!(ended.stderr.matches("cannot rotate").count(), 1, "{}", ended.stderr);
        if !signal.is_empty() {
            assert_eq!(text(&format!("{path}.1")), lines(0, 9));
        }
        assert!(lines(0, sent).ends_with(&(text(&format!("{path}.1")) + &text(&path))), "a hole");
    }
}
