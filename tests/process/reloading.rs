//! SIGHUP with `--config`: the file is read again (P27). What can change does, with an effect that can be seen; what can't is
//! named; and what is wrong changes nothing.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use crate::common::skip::not_here;
use crate::disk::Tmpfs;
use crate::support::conditions::{Dir, read_close, read_goodbye, until, until_equal, write_until_held_back};
use crate::support::follow::{Seen, Senders};
use crate::support::receiver::{Receiver, Setup};

/// A receiver that reads its settings from a file.
struct Configured {
    dir: Dir,
    receiver: Receiver,
    /// How many answers to a SIGHUP it has given.
    answers: usize,
}

/// What it says once it has read the file, or could not.
fn answers(said: &str) -> Vec<&str> {
    let is_answer =
        |line: &&str| line.contains(" was read again: ") || line.ends_with("; all settings stay as they are");
    said.lines().filter(is_answer).collect()
}

impl Configured {
    /// With this in its file, and these flags; its output is `app.log` in its directory.
    fn start(text: &str, flags: &[&str]) -> Self {
        let dir = Dir::new();
        let path = dir.file("app.log");
        Self::with(dir, text, flags, |setup| setup, &path)
    }

    fn with(dir: Dir, text: &str, flags: &[&str], change: impl FnOnce(Setup) -> Setup, output: &str) -> Self {
        let conf = dir.file("lumberjack.conf");
        fs::write(&conf, text).unwrap();
        let args: Vec<&str> =
            ["--config", &conf, "--output", output].into_iter().chain(flags.iter().copied()).collect();
        let receiver = change(Setup::new(&args)).start();
        Self { dir, receiver, answers: 0 }
    }

    fn path(&self) -> String {
        self.dir.file("app.log")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap_or_default()
    }

    fn until_text(&self, wanted: &str) {
        until_equal("this text", &wanted.to_owned(), || self.text());
    }

    /// Puts this into the file, sends SIGHUP, and waits for the answer: its words behind the file's name.
    fn reload(&mut self, text: &str) -> String {
        let (conf, new) = (self.dir.file("lumberjack.conf"), self.dir.file("new.conf"));
        fs::write(&new, text).unwrap();
        fs::rename(&new, &conf).unwrap();
        self.hang_up()
    }

    fn hang_up(&mut self) -> String {
        self.receiver.signal("HUP");
        let at = self.answers;
        self.answers += 1;
        until("an answer", || {
            let said = self.receiver.said();
            let answer = answers(&said).get(at).map(|line| line.split_once("[config] ").unwrap().1.to_owned());
            answer.ok_or(said)
        })
    }

    /// Answers `NAME is NOW, was BEFORE` to a file with this setting, and nothing else changes.
    fn assert_changes(&mut self, name: &str, before: &str, now: &str, others: &str) {
        let answer = self.reload(&format!("{others}{name} = {now}\n"));
        let wanted = format!("{} was read again: {name} is {now}, was {before}", self.dir.file("lumberjack.conf"));
        assert_eq!(answer, wanted);
    }

    /// The same of an option of listeners, which is not said of each of them too.
    fn assert_listener_changes(&mut self, (name, before, now): (&str, &str, &str), others: &str) {
        self.assert_changes(name, before, now, others);
        assert!(!self.receiver.said().contains("restart"), "{}", self.receiver.said());
    }

    fn client(&self) -> TcpStream {
        self.receiver.client()
    }

    /// All figures, as it logs them at SIGUSR1.
    fn diagnostics(&self) -> String {
        let count = |said: &str| said.matches("[status] {").count();
        let before = count(&self.receiver.said());
        self.receiver.signal("USR1");
        until("the diagnostics", || {
            let said = self.receiver.said();
            let last = said.lines().rfind(|line| line.contains("[status] {")).filter(|_| count(&said) > before);
            last.map(str::to_owned).ok_or(said.clone())
        })
    }

    fn stop(self) {
        self.receiver.stop().assert_clean();
    }
}

fn send(client: &mut TcpStream, bytes: &str) {
    client.write_all(bytes.as_bytes()).unwrap();
}

#[test]
fn p27_time_outs_hold_for_who_is_here_already() {
    let mut one = Configured::start("idle-timeout = 1h\n", &[]);
    let client = one.client();
    one.assert_changes("idle-timeout", "1h", "200ms", "");
    read_goodbye(&client);
    // It lingers, for an hour as it was said; and is closed when that is changed.
    one.assert_changes("linger", "1h", "200ms", "idle-timeout = 200ms\n");
    until("its end", || {
        let figures = one.diagnostics();
        if figures.contains("\"activeConnections\":0") { Ok(()) } else { Err(figures) }
    });
    let client = one.client();
    one.assert_changes("idle-timeout", "200ms", "0", "linger = 200ms\n");
    // The silence is the input.
    std::thread::sleep(Duration::from_millis(600));
    let mut client = client;
    send(&mut client, "still here\n");
    one.until_text("still here\n");
    one.stop();
}

#[test]
fn p27_who_lingers_has_to_go_when_nobody_lingers_any_more() {
    let mut one = Configured::start("idle-timeout = 200ms\n", &[]);
    let client = one.client();
    read_goodbye(&client);
    one.assert_changes("linger", "1h", "0", "idle-timeout = 200ms\n");
    until("its end", || {
        let figures = one.diagnostics();
        if figures.contains("\"activeConnections\":0") { Ok(()) } else { Err(figures) }
    });
    one.stop();
}

#[test]
fn p27_a_line_that_is_half_here_gets_the_deadline_of_lines() {
    let mut one = Configured::start("", &[]);
    let mut client = one.client();
    send(&mut client, "one\nhalf");
    one.until_text("one\n");
    one.assert_changes("line-timeout", "0", "100ms", "");
    one.until_text("one\nhalf\n");
    one.stop();
}

#[test]
fn p27_what_a_line_may_be_is_decided_anew_in_the_middle_of_it() {
    let base = "max-line = 10\nmark-gaps = on\n";
    let mut one = Configured::start(base, &["--format", "peer"]);
    let mut client = one.client();
    let lines = |one: &Configured| -> Vec<String> {
        one.text().lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect()
    };
    // Dropped as it was begun, with its gap; the next is cut, with the gap of what was cut off, though it ends under `skip`.
    send(&mut client, "first\n0123456789abc");
    until("the first", || if lines(&one).len() == 1 { Ok(()) } else { Err(one.text()) });
    one.assert_changes("long-lines", "skip", "cut", base);
    send(&mut client, "def\n0123456789abcd");
    until("the start", || if one.text().ends_with(" 0123456789\n") { Ok(()) } else { Err(one.text()) });
    let before = one.text();
    assert!(before.contains("bytes=16 "), "the first gap is the whole line: {before}");
    one.assert_changes("long-lines", "cut", "skip", base);
    send(&mut client, "ef\nlast\n");
    until("the last", || if one.text().ends_with(" last\n") { Ok(()) } else { Err(one.text()) });
    let after = one.text()[before.len()..].to_owned();
    assert!(after.contains(" bytes=6 "), "of the second what did not go out: {after}");
    one.stop();
}

#[test]
fn p27_what_a_line_may_hold_changes() {
    let mut one = Configured::start("framing = nul\n", &[]);
    let mut client = one.client();
    send(&mut client, "a\nb\0\0");
    one.until_text("a\\nb\n");
    one.assert_changes("embedded-newline", "escape", "space", "framing = nul\n");
    send(&mut client, "c\nd\0");
    one.until_text("a\\nb\nc d\n");
    one.assert_changes("keep-empty", "off", "on", "framing = nul\nembedded-newline = space\n");
    send(&mut client, "\0");
    one.until_text("a\\nb\nc d\n\n");
    one.stop();
}

#[test]
fn p27_places_change_and_nobody_who_is_in_has_to_go() {
    let hosts = "max-per-host = 0\n";
    let mut one = Configured::start(&format!("{hosts}max-connections = 1\n"), &[]);
    let mut first = one.client();
    send(&mut first, "first\n");
    one.until_text("first\n");
    // It waits for a place.
    let mut second = one.client();
    send(&mut second, "second\n");
    one.assert_changes("max-connections", "1", "2", hosts);
    one.until_text("first\nsecond\n");
    one.assert_changes("max-connections", "2", "1", hosts);
    send(&mut first, "first\n");
    one.until_text("first\nsecond\nfirst\n");
    send(&mut second, "second\n");
    one.until_text("first\nsecond\nfirst\nsecond\n");
    one.assert_changes("when-full", "wait", "reject", &format!("{hosts}max-connections = 1\n"));
    read_close(&one.client());
    let rest = "max-connections = 9\n";
    one.reload(rest);
    one.assert_changes("max-per-host", "half", "2", rest);
    read_close(&one.client());
    one.receiver.until_said("--max-per-host");
    one.assert_changes("max-per-host", "2", "3", rest);
    let mut third = one.client();
    send(&mut third, "third\n");
    one.until_text("first\nsecond\nfirst\nsecond\nthird\n");
    one.stop();
}

#[test]
fn p27_who_is_told_goodbye_keeps_its_place_when_there_are_fewer() {
    let base = "max-per-host = 0\nidle-timeout = 200ms\n";
    let mut one = Configured::start(&format!("{base}max-connections = 5\n"), &[]);
    let mut clients: Vec<TcpStream> = (0..3).map(|_| one.client()).collect();
    clients.iter().for_each(read_goodbye);
    one.assert_changes("max-connections", "5", "1", base);
    for client in &mut clients {
        let before = one.text();
        send(client, "still read\n");
        one.until_text(&format!("{before}still read\n"));
    }
    one.stop();
}

#[test]
fn p27_more_places_than_there_are_descriptors_are_lowered_and_that_is_said_once() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let mut one = Configured::with(dir, "", &[], |setup| setup.before("ulimit -n 64;"), &path);
    let said = |one: &Configured| one.receiver.said().matches("needs more than the 64 open files").count();
    assert_eq!(said(&one), 1, "of the default");
    let answer = one.reload("max-connections = 40000\n");
    assert!(answer.ends_with("nothing has changed"), "{answer}");
    assert_eq!(said(&one), 2, "of another number");
    one.reload("max-connections = 40000\nkeep-empty = on\n");
    assert_eq!(said(&one), 2, "it is known");
    let answer = one.reload("max-connections = 7\nkeep-empty = on\n");
    assert!(answer.contains("max-connections is 7, was "), "{answer}");
    one.stop();
}

#[test]
fn p27_the_loop_the_log_and_the_figures_change() {
    let mut one = Configured::start("", &[]);
    assert!(one.diagnostics().contains("\"gather\":5"));
    one.assert_changes("gather", "5ms", "20ms", "");
    assert!(one.diagnostics().contains("\"gather\":20"));
    one.assert_changes("report-interval", "0", "50ms", "gather = 20ms\n");
    one.receiver.until_said("[report] 0 connections");
    one.assert_changes("report-interval", "50ms", "0", "gather = 20ms\n");
    one.receiver.assert_rests("without reports");
    one.assert_changes("log-level", "info", "debug", "gather = 20ms\n");
    drop(one.client());
    one.receiver.until_said("[DEBUG] [tcp] Socket connected");
    // The change to what says less is said.
    one.assert_changes("log-level", "debug", "warn", "gather = 20ms\n");
    let before = one.receiver.said();
    drop(one.client());
    one.receiver.signal("HUP");
    let mut client = one.client();
    send(&mut client, "a line\n");
    one.until_text("a line\n");
    assert_eq!(one.receiver.said(), before);
    one.stop();
}

#[cfg(feature = "status")]
#[test]
fn p27_the_status_shows_what_is_in_force() {
    let mut one = Configured::start("", &["--status", "127.0.0.1:0"]);
    let said = one.receiver.said();
    let at = said.lines().find_map(|line| line.split_once("[status] Listening on ")).unwrap().1.to_owned();
    one.assert_changes("idle-timeout", "5m", "7m", "");
    let mut visitor = TcpStream::connect(&at).unwrap();
    visitor.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    visitor.write_all(b"GET /diagnostics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    visitor.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"idle-timeout\":\"7m\"") && answer.contains("420000"), "{answer}");
    one.stop();
}

#[test]
fn p27_the_end_keeps_to_the_time_that_it_was_given_last() {
    let dir = Dir::new();
    let (reader, writer) = crate::common::patience::Pipe::new();
    let mut one = Configured::with(dir, "drain-timeout = 1h\n", &[], |setup| setup.stdout(writer), "-");
    let client = one.client();
    write_until_held_back(&client);
    one.receiver.signal("TERM");
    one.receiver.until_said("[tcp] Stopping server");
    // In the middle of the end.
    one.assert_changes("drain-timeout", "1h", "300ms", "");
    let ended = one.receiver.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("gave up on stdout"), "{}", ended.stderr);
    drop(reader);
}

#[test]
fn p27_an_output_that_stands_still_may_be_passed_over_from_now_on() {
    let dir = Dir::new();
    let (_nobody_reads, writer) = crate::common::patience::Pipe::new();
    let mut one =
        Configured::with(dir, "drain-timeout = 0\nstall-timeout = 300ms\n", &[], |setup| setup.stdout(writer), "-");
    let client = one.client();
    write_until_held_back(&client);
    one.assert_changes("on-stall", "wait", "drop", "drain-timeout = 0\nstall-timeout = 300ms\n");
    one.receiver.until_said("stdout has taken nothing for --stall-timeout: it is passed over");
    drop(client);
    one.receiver.stop();
}

/// Lines of eight bytes, one after the other.
fn send_lines(one: &Configured, client: &mut TcpStream, numbers: std::ops::Range<usize>) {
    for number in numbers {
        send(client, &format!("{number:07}\n"));
        until("it is there", || {
            let found = fs::read_to_string(one.path()).unwrap_or_default();
            let before = fs::read_to_string(format!("{}.1", one.path())).unwrap_or_default();
            if (before + &found).contains(&format!("{number:07}\n")) { Ok(()) } else { Err(found) }
        });
    }
}

fn numbered(one: &Configured) -> Vec<usize> {
    (1..20).filter(|number| fs::exists(format!("{}.{number}", one.path())).unwrap()).collect()
}

#[test]
fn p27_rotation_begins_changes_and_ends() {
    let small = "max-line = 8\nmax-buffer = 16\n";
    let mut one = Configured::start(small, &[]);
    let mut client = one.client();
    send_lines(&one, &mut client, 0..10);
    assert_eq!(numbered(&one), [0; 0]);
    one.assert_changes("rotate-size", "0", "16", small);
    // The file is longer than that already.
    send_lines(&one, &mut client, 10..24);
    assert_eq!(numbered(&one), [1, 2, 3, 4, 5]);
    assert!(fs::metadata(one.path()).unwrap().len() <= 16);
    let sized = format!("{small}rotate-size = 16\n");
    one.assert_changes("rotate-keep", "5", "2", &sized);
    until_equal("the others are gone", &vec![1, 2], || numbered(&one));
    one.receiver.until_said("app.log.5, beyond --rotate-keep");
    let kept = format!("{small}rotate-keep = 2\n");
    one.assert_changes("rotate-size", "16", "0", &kept);
    let before = one.text();
    send_lines(&one, &mut client, 24..40);
    assert_eq!(one.text().len(), before.len() + 16 * 8, "it is not rotated any more");
    // By its age: nobody knows how old it is, and those before it are not older than a second.
    one.assert_changes("rotate-age", "0", "300ms", &kept);
    until_equal("a new one", &String::new(), || one.text());
    one.assert_changes("rotate-age", "300ms", "1h", &kept);
    send_lines(&one, &mut client, 40..41);
    // The time is the input.
    std::thread::sleep(Duration::from_millis(700));
    send_lines(&one, &mut client, 41..42);
    one.until_text("0000040\n0000041\n");
    one.stop();
}

#[test]
fn p27_a_file_is_old_by_the_age_that_holds_now() {
    let mut one = Configured::start("rotate-age = 1h\n", &[]);
    let mut client = one.client();
    send(&mut client, "old\n");
    one.until_text("old\n");
    // The time is the input: it is as old by then.
    std::thread::sleep(Duration::from_millis(400));
    one.assert_changes("rotate-age", "1h", "300ms", "");
    until_equal("a rotated one", &"old\n".to_owned(), || {
        fs::read_to_string(format!("{}.1", one.path())).unwrap_or_default()
    });
    one.stop();
}

#[test]
fn p27_files_of_hosts_change_and_so_do_those_to_come() {
    let dir = Dir::new();
    let pattern = dir.file("{host}.log");
    let small = "max-line = 8\nmax-buffer = 16\n";
    let mut one = Configured::with(dir, small, &[], |setup| setup, &pattern);
    let text = |one: &Configured, name: &str| fs::read_to_string(one.dir.file(name)).unwrap_or_default();
    let mut client = one.receiver.client_from(2);
    send(&mut client, "aaaaaaa\nbbbbbbb\nccccccc\n");
    until_equal("lines", &24, || text(&one, "127.0.0.2.log").len());
    one.assert_changes("rotate-size", "0", "16", small);
    send(&mut client, "ddddddd\n");
    until_equal("a new one", &"ddddddd\n".to_owned(), || text(&one, "127.0.0.2.log"));
    let mut other = one.receiver.client_from(3);
    send(&mut other, "1111111\n2222222\n3333333\n4444444\n5555555\n6666666\n7777777\n");
    until_equal("the newest", &"7777777\n".to_owned(), || text(&one, "127.0.0.3.log"));
    assert_eq!(text(&one, "127.0.0.3.log.1"), "5555555\n6666666\n");
    one.assert_changes("rotate-keep", "5", "1", &format!("{small}rotate-size = 16\n"));
    until_equal("it is gone", &false, || fs::exists(one.dir.file("127.0.0.3.log.2")).unwrap());
    assert!(fs::exists(one.dir.file("127.0.0.3.log.1")).unwrap());
    one.stop();
}

#[test]
fn p27_lines_gather_for_the_time_that_holds_now() {
    let mut one = Configured::start("flush-every = 1h\n", &[]);
    let mut client = one.client();
    send(&mut client, "one\n");
    until("it is read", || {
        let figures = one.diagnostics();
        if figures.contains("\"lines\":1") { Ok(()) } else { Err(figures) }
    });
    assert_eq!(one.text(), "");
    one.assert_changes("flush-every", "1h", "0", "");
    one.until_text("one\n");
    send(&mut client, "two\n");
    one.until_text("one\ntwo\n");
    one.assert_changes("flush-every", "0", "1h", "");
    send(&mut client, "three\n");
    until("it is read", || {
        let figures = one.diagnostics();
        if figures.contains("\"lines\":3") { Ok(()) } else { Err(figures) }
    });
    assert_eq!(one.text(), "one\ntwo\n");
    one.stop();
}

#[test]
fn p27_new_files_look_as_it_is_said_now() {
    let mut one = Configured::start("", &[]);
    let look = |one: &Configured| {
        let found = fs::metadata(one.path()).ok();
        found.map(|found| (found.permissions().mode() & 0o777, found.gid()))
    };
    fs::rename(one.path(), one.dir.file("old")).unwrap();
    one.assert_changes("file-mode", "as-before", "0604", "");
    let own = fs::metadata(one.dir.path()).unwrap().gid();
    until_equal("the new file", &Some((0o604, own)), || look(&one));
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let group = if is_root { 54_321 } else { own };
    if !is_root {
        not_here("only root may give a file to any group");
    }
    fs::rename(one.path(), one.dir.file("old")).unwrap();
    one.assert_changes("file-group", "as-before", &group.to_string(), "file-mode = 0604\n");
    until_equal("the new file", &Some((0o604, group)), || look(&one));
    one.stop();
}

#[test]
fn p27_a_file_in_place_of_a_fifo_looks_as_it_is_said_now() {
    let dir = Dir::new();
    let path = dir.file("fifo");
    nix::unistd::mkfifo(path.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut one = Configured::with(dir, "file-mode = 0600\n", &[], |setup| setup, &path);
    fs::remove_file(&path).unwrap();
    one.assert_changes("file-mode", "0600", "0604", "");
    let mode = || fs::metadata(&path).ok().map(|found| found.permissions().mode() & 0o777);
    until_equal("the file", &Some(0o604), mode);
    one.stop();
}

#[test]
fn p27_a_directory_that_is_missing_is_made_from_now_on() {
    let dir = Dir::new();
    fs::create_dir(dir.file("logs")).unwrap();
    let path = dir.file("logs/app.log");
    let mut one = Configured::with(dir, "", &[], Setup::by_default, &path);
    fs::rename(one.dir.file("logs"), one.dir.file("moved")).unwrap();
    one.receiver.signal("HUP");
    one.receiver.until_said("anew: ");
    one.answers += 1;
    one.assert_changes("make-dirs", "off", "on", "");
    let mut client = one.client();
    send(&mut client, "a line\n");
    until_equal("a line", &"a line\n".to_owned(), || fs::read_to_string(&path).unwrap_or_default());
    one.stop();
}

#[test]
fn p27_a_full_disk_may_be_freed_from_now_on() {
    let Some(disk) = Tmpfs::mount("size=256k") else { return };
    let (dir, path) = (Dir::new(), disk.file("app.log"));
    let rotation = "rotate-size = 16KiB\nmax-line = 1000\nmax-buffer = 2000\n";
    let mut one = Configured::with(dir, rotation, &[], |setup| setup, &path);
    let mut client = one.client();
    let lines = format!("{:0999}\n", 7).repeat(40);
    send(&mut client, &lines);
    until("rotated files", || fs::metadata(format!("{path}.2")).map(drop).map_err(|error| error.to_string()));
    let mut ballast = File::create(disk.file("ballast")).unwrap();
    while ballast.write_all(&[b'x'; 4096]).is_ok() {}
    send(&mut client, &lines);
    one.receiver.until_said("trying again");
    one.assert_changes("disk-full", "wait", "drop-oldest", rotation);
    one.receiver.until_said("the disk is full: removed ");
    one.stop();
}

#[test]
fn p27_a_list_of_who_may_connect_changes_and_who_is_in_stays() {
    let mut one = Configured::start("allow = 127.0.0.2\n", &[]);
    let mut inside = one.receiver.client_from(2);
    send(&mut inside, "in\n");
    one.until_text("in\n");
    read_close(&one.receiver.client_from(3));
    one.assert_listener_changes(("allow", "127.0.0.2", "127.0.0.3"), "");
    let mut new = one.receiver.client_from(3);
    send(&mut new, "new\n");
    one.until_text("in\nnew\n");
    read_close(&one.receiver.client_from(2));
    send(&mut inside, "still in\n");
    one.until_text("in\nnew\nstill in\n");
    one.assert_listener_changes(("deny", "none", "127.0.0.3"), "allow = 127.0.0.3\n");
    read_close(&one.receiver.client_from(3));
    // A list that is none leaves the one that holds.
    let answer = one.reload("allow = everybody\n");
    assert!(answer.ends_with("; all settings stay as they are"), "{answer}");
    read_close(&one.receiver.client_from(2));
    one.stop();
}

#[test]
fn p27_a_file_that_sets_nothing_any_more_lets_nobody_in_and_a_list_that_is_gone_is_told() {
    let mut one = Configured::start("allow = 127.0.0.2\n", &["--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"]);
    let conf = one.dir.file("lumberjack.conf");
    for empty in ["", "\n# allow = 127.0.0.2\n"] {
        let answer = one.reload(empty);
        let sentence = "sets nothing any more; restart if the defaults are meant; all settings stay as they are";
        assert_eq!(answer, format!("{conf} {sentence}"));
        read_close(&one.receiver.client_from(3));
    }
    one.reload("idle-timeout = 5m\n");
    let told = format!(
        "{conf} has no allow any more for 127.0.0.1:0, 127.0.0.2:0: anybody may connect or send now whom deny does not name"
    );
    one.receiver.until_said(&told);
    let said = one.receiver.said();
    assert_eq!(said.lines().filter(|line| line.contains("WARN") && line.ends_with(&told)).count(), 1, "{said}");
    let mut client = one.receiver.client_from(3);
    send(&mut client, "in\n");
    one.until_text("in\n");
    // Once.
    one.reload("idle-timeout = 6m\n");
    assert_eq!(one.receiver.said().matches("no allow any more").count(), 1);
    one.stop();
}

#[test]
fn p27_a_list_behind_an_address_changes_wherever_that_is_in_the_file() {
    let dir = Dir::new();
    // Handed over, so that the file alone says where it listens.
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let (path, at) = (dir.file("app.log"), socket.local_addr().unwrap().to_string());
    let one_socket = dir.file("s");
    let unix = format!("listen = unix:{one_socket}\n");
    let conf = dir.file("lumberjack.conf");
    let text = |list: &str| format!("listen = {at},allow={list}\n");
    fs::write(&conf, text("127.0.0.9") + &unix).unwrap();
    let receiver = Setup::new(&["--config", &conf, "--output", &path]).inherit(socket).start();
    let mut one = Configured { dir, receiver, answers: 0 };
    read_close(&one.client());
    let answer = one.reload(&(unix + &text("127.0.0.1")));
    assert!(answer.ends_with(&format!("was read again: {at}: allow is 127.0.0.1, was 127.0.0.9")), "{answer}");
    assert!(!one.receiver.said().contains("needs a restart"), "in another order: {}", one.receiver.said());
    let mut client = one.client();
    send(&mut client, "a line\n");
    one.until_text("a line\n");
    // What changes for all is said once, and of a listener only what is another there.
    let rates = |own: u32, all: u32| format!("rate = {all}\nlisten = unix:{one_socket}\nlisten = {at},rate={own}\n");
    one.reload(&rates(5, 200));
    assert!(one.reload(&rates(6, 20)).ends_with(&format!("again: {at}: rate is 6, was 5; rate is 20, was 200")));
    one.stop();
}

#[test]
fn p27_a_rate_changes() {
    let mut one = Configured::start("rate = 1\n", &[]);
    let mut client = one.client();
    send(&mut client, &"a line\n".repeat(400));
    one.receiver.until_said("sends more than 1 line/s");
    one.assert_listener_changes(("rate", "1", "off"), "");
    one.receiver.until_said("[WARN] [tcp] Host 127.0.0.1 is free of 1 line/s; it was slowed for ");
    one.until_text(&"a line\n".repeat(400));
    one.assert_listener_changes(("rate", "off", "2"), "");
    one.assert_listener_changes(("burst", "off", "5"), "rate = 2\n");
    send(&mut client, &"a line\n".repeat(400));
    one.receiver.until_said("sends more than 2 lines/s");
    // What goes only with the other is wrong without it.
    let answer = one.reload("burst = 5\n");
    assert!(answer.contains("a burst goes with a rate, and there is none"), "{answer}");
    one.stop();
}

#[cfg(feature = "syslog")]
#[test]
fn p27_which_messages_are_left_out_changes() {
    for format in ["raw", "json"] {
        let rest = "parse = syslog\n";
        let mut one = Configured::start(rest, &["--format", format]);
        let count = |one: &Configured, text: &str| one.text().matches(text).count();
        let mut client = one.client();
        let mut wanted = 0;
        for (least, others) in [("off", 1), ("err", 0), ("warning", 0), ("off", 1)] {
            if wanted > 0 {
                one.reload(&format!("{rest}min-severity = {least}\n"));
            }
            wanted += others;
            send(&mut client, &format!("<14>an info\n<11>an err for {least}\n"));
            until_equal("the grave one", &true, || count(&one, &format!("an err for {least}")) > 0);
            until_equal("the other", &wanted, || count(&one, "an info"));
        }
        one.stop();
    }
}

#[test]
fn p27_what_is_wrong_changes_nothing_and_is_a_sentence() {
    let good = "idle-timeout = 5m\nrotate-size = 1MiB\n";
    let mut one = Configured::start(good, &[]);
    let conf = one.dir.file("lumberjack.conf");
    let path = one.path();
    for (text, sentence) in [
        (
            "keep-empty = on\nidle-timout = 1s\n",
            format!("{conf}:2: idle-timout is no option; did you mean idle-timeout?"),
        ),
        ("keep-empty = on\nidle-timeout = 5\n", format!("{conf}:2: idle-timeout 5: a duration is a number with")),
        ("keep-empty = on\ngather = 1h\n", "--gather is 1h: give 1ms to 100ms".to_owned()),
        (
            "keep-empty = on\nrotate-size = 1KiB\n",
            "--rotate-size 1KiB is smaller than the longest line can be".to_owned(),
        ),
        // It makes sense with what stands beside it, but not with what stays.
        (
            "keep-empty = on\nrotate-size = 1KiB\nmax-line = 100\n",
            format!("{conf} says --max-line 100: that needs a restart, and the rest does not work without it; all"),
        ),
        ("keep-empty = on\nconfig = x\n", format!("{conf}:2: config is for the command line only")),
    ] {
        fs::rename(&path, one.dir.file("old")).unwrap();
        let answer = one.reload(text);
        assert!(answer.starts_with(&sentence), "{answer}");
        // The files are opened anew all the same.
        until("the new file", || fs::metadata(&path).map(drop).map_err(|error| error.to_string()));
    }
    // Gone, and no file any more.
    fs::remove_file(&conf).unwrap();
    assert!(one.hang_up().starts_with(&format!("--config {conf}: cannot be read (")));
    fs::create_dir(&conf).unwrap();
    assert!(one.hang_up().starts_with(&format!("--config {conf}: it is no regular file")));
    fs::remove_dir(&conf).unwrap();
    let mut client = one.client();
    send(&mut client, "one\n\ntwo\n");
    one.until_text("one\ntwo\n");
    assert!(one.reload(good).ends_with("was read again: nothing has changed"));
    one.stop();
}

#[test]
fn p27_a_file_that_was_piped_in_is_not_read_again() {
    let dir = Dir::new();
    let fifo = dir.file("fifo");
    nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || fs::write(fifo, "keep-empty = on\n").unwrap()
    });
    let path = dir.file("app.log");
    let receiver = Setup::new(&["--config", &fifo, "--output", &path]).start();
    writer.join().unwrap();
    let mut one = Configured { dir, receiver, answers: 0 };
    let answer = one.hang_up();
    assert_eq!(
        answer,
        format!("--config {fifo}: it is no regular file, and can't be read twice; all settings stay as they are")
    );
    let mut client = one.client();
    send(&mut client, "a\n\n");
    one.until_text("a\n\n");
    one.stop();
}

#[test]
fn p27_what_needs_a_restart_is_named_once() {
    let mut one = Configured::start("", &[]);
    let conf = one.dir.file("lumberjack.conf");
    let said = |one: &Configured| {
        let said = one.receiver.said();
        let lines = said.lines().filter(|line| line.contains("needs a restart"));
        lines.map(|line| line.split_once("[config] ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    let fixed = "max-line = 1KiB\nformat = json\nidle-close = needed\n";
    assert!(one.reload(fixed).ends_with("again: nothing else has changed"));
    let first = format!("{conf} says --format json; --max-line 1KiB; --idle-close needed: that needs a restart");
    assert_eq!(said(&one), [first.as_str()]);
    one.assert_changes("idle-timeout", "5m", "1m", fixed);
    assert_eq!(said(&one).len(), 1, "it is known");
    one.reload("format = json\n");
    assert_eq!(said(&one)[1..], [format!("{conf} says --format json: that needs a restart")]);
    one.reload("format = raw\n");
    one.reload("format = json\n");
    assert_eq!(said(&one).len(), 3, "it was as it is in between");
    // Listeners too, though one that flags give wins.
    one.reload("listen = 127.0.0.1:1\n");
    assert_eq!(said(&one).len(), 3);
    let mut client = one.client();
    send(&mut client, "raw\n");
    one.until_text("raw\n");
    one.stop();
}

#[test]
fn p27_flags_win_and_lists_that_were_given_by_them_stay() {
    let mut one = Configured::start("idle-timeout = 5m\n", &["--idle-timeout", "1h", "--keep-empty"]);
    let answer = one.reload("idle-timeout = 100ms\nkeep-empty = off\nlinger = 1m\noutput = -\n");
    assert!(answer.ends_with("was read again: linger is 1m, was 1h"), "{answer}");
    assert!(!one.receiver.said().contains("restart"), "{}", one.receiver.said());
    let mut client = one.client();
    send(&mut client, "a\n\n");
    one.until_text("a\n\n");
    one.stop();
}

#[test]
fn p27_rotation_of_what_is_no_file_is_refused() {
    let dir = Dir::new();
    let mut one = Configured::with(dir, "", &["--output", "-"], |setup| setup, "/dev/null");
    let answer = one.reload("rotate-size = 1MiB\nkeep-empty = on\n");
    assert!(answer.contains("it is no regular file, which --rotate-size"), "{answer}");
    let mut client = one.client();
    send(&mut client, "a\n\nb\n");
    one.receiver.until_lines(&["a", "b"]);
    one.stop();
}

#[test]
fn p27_many_changes_under_load_lose_and_double_nothing() {
    let base = "rotate-keep = 9999\n";
    let mut one = Configured::start(base, &[]);
    let senders = Senders::start((0..3).map(|_| one.client()).collect(), 20_000, None);
    for round in 0..12 {
        let size = [128, 192, 256][round % 3];
        let text = format!(
            "{base}rotate-size = {size}KiB\nflush-every = {}ms\ngather = {}ms\nline-timeout = {}s\nidle-timeout = {}m\n\
            max-connections = {}\nlong-lines = {}\n",
            round % 2 * 20,
            round % 4,
            round % 3 * 30,
            round + 1,
            2 + round,
            ["skip", "cut", "split"][round % 3],
        );
        one.reload(&text);
        // Twice, quickly: nothing has changed, or the two are one.
        one.receiver.signal("HUP");
        one.hang_up();
        one.answers = answers(&one.receiver.said()).len();
    }
    let sent = senders.finish();
    let path = one.path();
    let (dir, ended) = (one.dir, one.receiver.stop());
    ended.assert_clean();
    let mut names: Vec<String> =
        (1..9999).map(|number| format!("{path}.{number}")).take_while(|name| fs::exists(name).unwrap()).collect();
    assert!(names.len() > 5, "it was rotated: {names:?}");
    names.reverse();
    let mut seen = Seen::of(3);
    for name in names.into_iter().chain([path]) {
        let bytes = fs::read(&name).unwrap();
        assert_eq!(seen.take(&bytes), bytes.len(), "{name} ends in the middle of a line");
    }
    assert_eq!(seen.next, sent);
    drop(dir);
}

#[test]
fn p27_without_a_file_a_signal_opens_files_anew_and_no_more() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = Receiver::start(&["--output", &path]);
    fs::rename(&path, dir.file("old")).unwrap();
    receiver.signal("HUP");
    until("the new file", || fs::metadata(&path).map(drop).map_err(|error| error.to_string()));
    let ended = receiver.stop();
    ended.assert_clean();
    assert!(!ended.stderr.contains("[config]"), "{}", ended.stderr);
}
