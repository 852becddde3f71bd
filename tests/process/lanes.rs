//! Files of hosts that can't be written: the others go on, whatever the limit on descriptors is, and nothing waits after
//! the cause is gone.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::disk::Tmpfs;
use crate::common::patience::{Enough, Patient};
use crate::support::conditions::{Dir, text, until, until_equal};
use crate::support::receiver::{Collected, Receiver, Setup, listens_at, under_test};

fn lines(name: &str, from: u32, to: u32) -> String {
    (from..to).map(|number| format!("{name} {number:035}\n")).collect()
}

fn ip(host: u16) -> [u8; 4] {
    let [high, low] = host.to_be_bytes();
    [127, 0, 1 + high, low]
}

fn name(host: u16) -> String {
    let [a, b, c, d] = ip(host);
    format!("{a}.{b}.{c}.{d}")
}

#[test]
fn p10_at_any_limit_on_descriptors_clients_get_in_and_files_get_their_lines() {
    for limit in [40, 64, 80, 128, 256, 1024] {
        for options in [&[][..], &["--sync", "100ms", "--receipt"], &["--rotate-size", "200", "--max-line", "60"]] {
            // With few descriptors a sync is waited for by few at a time.
            let hosts = if options.contains(&"--sync") && limit < 100 { 30 } else { 120 };
            let dir = Dir::new();
            let pattern = dir.file("{host}.log");
            let setup = Setup::new(&[&["--output", &pattern, "--max-per-host", "0"], options].concat());
            let receiver = setup.before(&format!("ulimit -n {limit};")).start();
            for round in 0..2 {
                let enter = |host: u16| {
                    let mut client = receiver.client_at(ip(host));
                    client.write_all(lines("a", round, round + 1).as_bytes()).unwrap();
                    client.shutdown(Shutdown::Write).unwrap();
                    client
                };
                let clients: Vec<TcpStream> = (1..=hosts).map(enter).collect();
                for (mut client, host) in clients.into_iter().zip(1..) {
                    // Its goodbye: it had a place, and is gone.
                    let mut answer = String::new();
                    let end = client.read_to_string(&mut answer).map(|_| answer);
                    let wanted = if options.contains(&"--receipt") { "1 lines\n" } else { "" };
                    let is_fine = end.as_ref().is_ok_and(|answer| answer == wanted);
                    assert!(is_fine, "{end:?}: {limit} {options:?} {host}: {}", receiver.said());
                }
            }
            for host in 1..=hosts {
                let path = dir.file(&format!("{}.log", name(host)));
                until_equal(&format!("{limit} {options:?} {host}"), &lines("a", 0, 2), || text(&path));
            }
            let ended = receiver.stop();
            ended.assert_clean();
            assert!(!ended.stderr.contains("[out]"), "{limit} {options:?}: {}", ended.stderr);
        }
    }
}

/// What there is to be tried with few descriptors, each of which takes some more.
const ASKED: [&[&str]; 5] = [
    &[],
    &["--sync", "1h"],
    &["--status", "127.0.0.1:0"],
    &["--rotate-size", "200", "--max-line", "60", "--rotate-keep", "20", "--rotate-compress"],
    &["--rotate-size", "200", "--max-line", "60", "--rotate-keep", "20", "--rotate-compress", "--sync", "100ms"],
];

/// Starts with so few descriptors: `None` if that was refused, with its sentence.
fn started_within(limit: u32, args: &[&str]) -> Option<Receiver> {
    let mut setup = Setup::new(&[args, &["--listen", "127.0.0.1:0"]].concat()).before(&format!("ulimit -n {limit};"));
    let mut guard = setup.spawn(Stdio::piped());
    let stderr = Collected::from(guard.0.stderr.take().unwrap());
    let code = until("a start or an end", || match guard.0.try_wait().unwrap() {
        Some(status) => Ok(status.code()),
        None if stderr.text().contains("Memory budget") => Ok(None),
        None => Err(stderr.text()),
    });
    let Some(code) = code else {
        let addr = stderr.text().lines().find_map(listens_at).unwrap();
        return Some(Receiver::of(guard, addr, stderr));
    };
    let said = String::from_utf8(stderr.finish()).unwrap();
    let last = said.lines().last().unwrap_or_default();
    assert!(code == 1 && last.starts_with("lumberjack: ") && last.contains("raise the limit on open files"), "{said}");
    None
}

#[cfg(feature = "compress")]
#[test]
fn p10_with_few_descriptors_a_start_is_refused_or_all_lines_arrive() {
    let tries = (0..ASKED.len()).flat_map(|asked| (1..=3).map(move |outputs| (asked, outputs)));
    std::thread::scope(|scope| {
        for (asked, outputs) in tries {
            scope.spawn(move || (10..=24).for_each(|limit| refused_or_served(limit, outputs, ASKED[asked])));
        }
    });
}

fn refused_or_served(limit: u32, outputs: usize, options: &[&str]) {
    let dir = Dir::new();
    let patterns = ["{host}.log", "b-{host}.log", "c-{host}.log"].map(|name| dir.file(name));
    let patterns = &patterns[..outputs];
    let named: Vec<&str> = patterns.iter().flat_map(|pattern| ["--output", pattern.as_str()]).collect();
    let Some(receiver) = started_within(limit, &[&named[..], &["--max-per-host", "0"], options].concat()) else {
        // The most that any of them needs, alone.
        assert!(limit < 22 || outputs > 1, "{limit} {options:?}");
        return;
    };
    for host in 1..=3 {
        receiver.client_from(host).write_all(lines("a", 0, 20).as_bytes()).unwrap();
    }
    for (pattern, host) in patterns.iter().flat_map(|pattern| (1..=3).map(move |host| (pattern, host))) {
        let path = pattern.replace("{host}", &format!("127.0.0.{host}"));
        let said = || format!("{limit} {outputs} {options:?}: {}", receiver.said());
        until_equal(&said(), &lines("a", 0, 20), || whole(&path));
    }
    receiver.stop().assert_clean();
}

/// What a set of files holds, as `lumberjack cat` shows it.
fn whole(path: &str) -> String {
    let output = std::process::Command::new(under_test()).args(["cat", path]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// What keeps a host's file from being written, and what ends that.
const CAUSES: [&str; 3] = ["folder", "nowhere", "fifo"];

fn put(cause: &str, path: &str) {
    match cause {
        "folder" => fs::create_dir(path).unwrap(),
        "nowhere" => symlink("/no/such/place", path).unwrap(),
        _ => assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success()),
    }
}

fn take_away(path: &str) {
    if fs::remove_file(path).is_err() {
        fs::remove_dir(path).unwrap();
    }
}

/// Sends until it is enough; how many lines that were.
fn send_on(mut client: TcpStream, name: &str, is_enough: &AtomicBool) -> u32 {
    let mut sent = 0;
    while !is_enough.load(Ordering::SeqCst) {
        client.write_all(lines(name, sent, sent + 500).as_bytes()).unwrap();
        sent += 500;
    }
    sent
}

fn len(path: &str) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// Three hosts send without pause into files of their own, and all they send into `other`, while `work` is done. None of
/// them stands still, and in the end all is there.
fn beside_busy_hosts(receiver: &Receiver, dir: &Dir, other: &str, work: impl FnOnce()) {
    let hosts = [1, 2, 3];
    let paths = hosts.map(|host| dir.file(&format!("127.0.0.{host}.log")));
    let lens = || [len(&paths[0]), len(&paths[1]), len(&paths[2]), len(other)];
    let clients = hosts.map(|host| receiver.client_from(host));
    let is_enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let enough = Enough(&is_enough);
        let senders = clients.map(|client| scope.spawn(|| send_on(client, "good", &is_enough)));
        // For as long as several pauses of the one that fails.
        let (began, mut last) = (Instant::now(), [0; 4]);
        while began.elapsed() < Duration::from_secs(3) {
            last = until("all others to go on", || {
                let now = lens();
                if (0..4).all(|at| now[at] > last[at]) { Ok(now) } else { Err(format!("{now:?} after {last:?}")) }
            });
        }
        work();
        drop(enough);
        for (sender, path) in senders.into_iter().zip(&paths) {
            let wanted = lines("good", 0, 1).len() as u64 * u64::from(sender.join().unwrap());
            until_equal(path, &wanted, || len(path));
        }
    });
}

fn one_bad_host(cause: &str, on_stall: &str) {
    let dir = Dir::new();
    let (pattern, other, bad) = (dir.file("{host}.log"), dir.file("all"), dir.file("127.0.0.66.log"));
    put(cause, &bad);
    let args = ["--output", &pattern, "--output", &other, "--on-stall", on_stall, "--stall-timeout", "500ms"];
    let receiver = Receiver::start(&[&args[..], &["--mark-gaps", "--max-per-host", "0"]].concat());
    let mut bad_one = receiver.client_from(66);
    bad_one.write_all(lines("bad", 0, 1).as_bytes()).unwrap();
    receiver.until_said(&format!("[out] cannot write to {bad}: "));
    let drops = on_stall == "drop";
    beside_busy_hosts(&receiver, &dir, &other, || {
        if drops {
            receiver.until_said(&format!("[out] {bad} has taken nothing for --stall-timeout: it is passed over"));
            bad_one.write_all(lines("bad", 1, 3).as_bytes()).unwrap();
            until("these lines in the other", || match text(&other) {
                found if found.contains(&lines("bad", 2, 3)) => Ok(()),
                found => Err(format!("{} bytes", found.len())),
            });
        }
        take_away(&bad);
        until("the bad one's first line", || match text(&bad) {
            found if found.starts_with(&lines("bad", 0, 1)) => Ok(()),
            found => Err(found),
        });
    });
    bad_one.write_all(lines("bad", 3, 4).as_bytes()).unwrap();
    until("its last line", || match text(&bad) {
        found if found.ends_with(&lines("bad", 3, 4)) => Ok(()),
        found => Err(format!("{cause} {on_stall}: {found}")),
    });
    if drops {
        let found = text(&bad);
        let (mark, rest) = found[lines("bad", 0, 1).len()..].split_once('\n').unwrap();
        let bytes = lines("bad", 1, 3).len();
        assert!(mark.ends_with(&format!("peer=* lines=2 bytes={bytes} why=stalled")), "{mark}");
        assert_eq!(rest, lines("bad", 3, 4));
    }
    drop(bad_one);
    receiver.stop().assert_clean();
    let all = text(&other);
    let from_bad: String = all.split_inclusive('\n').filter(|line| line.starts_with("bad")).collect();
    let wanted = if drops { lines("bad", 0, 4) } else { lines("bad", 0, 1) + &lines("bad", 3, 4) };
    assert_eq!(from_bad, wanted, "the other output has all");
}

#[test]
fn p14_one_hosts_file_that_can_not_be_written_is_no_other_hosts_business() {
    for cause in CAUSES {
        for on_stall in ["wait", "drop"] {
            one_bad_host(cause, on_stall);
        }
    }
}

#[test]
fn p8_a_host_whose_file_can_not_be_written_waits_and_loses_nothing() {
    let dir = Dir::new();
    let (pattern, bad) = (dir.file("{host}.log"), dir.file("127.0.0.66.log"));
    fs::create_dir(&bad).unwrap();
    let receiver = Receiver::start(&["--output", &pattern, "--memory", "2MiB"]);
    let client = receiver.client_from(66);
    let sent = crate::support::conditions::write_until_held_back(&client);
    receiver.client_from(1).write_all(b"good\n").unwrap();
    until_equal("a good one's line", &"good\n".to_owned(), || text(&dir.file("127.0.0.1.log")));
    receiver.assert_rests("while a host is held up");
    fs::remove_dir(&bad).unwrap();
    // The last line has no end before the client's.
    drop(client);
    until("all of its lines", || {
        let len = fs::metadata(&bad).map_or(0, |found| found.len());
        if len > sent.len() as u64 { Ok(()) } else { Err(format!("{len} of {}", sent.len())) }
    });
    assert!(fs::read(&bad).unwrap() == [&sent[..], b"\n"].concat());
    receiver.stop().assert_clean();
}

#[test]
fn p11_the_end_comes_in_time_though_one_host_is_stuck_and_says_so() {
    for on_stall in ["wait", "drop"] {
        for with_other in [false, true] {
            let dir = Dir::new();
            let (pattern, other, bad) = (dir.file("{host}.log"), dir.file("all"), dir.file("127.0.0.66.log"));
            fs::create_dir(&bad).unwrap();
            let args =
                ["--output", &pattern, "--drain-timeout", "1s", "--on-stall", on_stall, "--stall-timeout", "300ms"];
            let more = ["--output", &other];
            let receiver = Receiver::start(&[&args[..], if with_other { &more } else { &[] }].concat());
            let (mut bad_one, mut good) = (receiver.client_from(66), receiver.client_from(1));
            bad_one.write_all(lines("bad", 0, 3).as_bytes()).unwrap();
            receiver.until_said(&format!("[out] cannot write to {bad}: "));
            if on_stall == "drop" {
                receiver.until_said("it is passed over");
            }
            good.write_all(lines("good", 0, 3).as_bytes()).unwrap();
            let (began, ticks) = (Instant::now(), receiver.cpu_ticks());
            receiver.signal("TERM");
            let mut most = ticks;
            let mut guard = receiver.guard;
            let code = until("its end", || {
                if let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", guard.pid())) {
                    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
                    most = most.max(fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap());
                }
                guard.0.try_wait().unwrap().ok_or("it runs".to_owned())
            });
            let (took, said) = (began.elapsed(), String::from_utf8_lossy(&receiver.stderr.finish()).into_owned());
            let case = format!("{on_stall}, another output: {with_other}: {said}");
            assert!(took < Duration::from_secs(4), "{took:?}; {case}");
            assert!(most - ticks < 30, "{} ticks: it spins; {case}", most - ticks);
            assert_eq!(code.code(), Some(1), "{case}");
            assert!(said.lines().last().unwrap_or_default().starts_with("lumberjack: "), "{case}");
            assert!(!said.contains("everything is written"), "{case}");
            if on_stall == "drop" {
                let lost = format!("{bad} still takes nothing, and is not waited for: 3 lines were lost");
                assert!(said.contains(&lost) && said.contains(" did not get 3 lines "), "{case}");
            }
            assert_eq!(text(&dir.file("127.0.0.1.log")), lines("good", 0, 3), "{case}");
            if with_other {
                assert_eq!(text(&other).len(), lines("bad", 0, 3).len() + lines("good", 0, 3).len(), "{case}");
            }
        }
    }
}

#[test]
fn p5_two_hundred_and_fifty_stuck_hosts_stay_within_the_memory_and_keep_nobody_out() {
    for on_stall in ["wait", "drop"] {
        let dir = Dir::new();
        let (pattern, other) = (dir.file("hosts/{host}.log"), dir.file("all"));
        fs::create_dir(dir.file("hosts")).unwrap();
        let args = ["--output", &pattern, "--output", &other, "--on-stall", on_stall, "--stall-timeout", "1s"];
        let receiver = Receiver::start(&[&args[..], &["--memory", "4MiB", "--max-line", "64KiB"]].concat());
        // One that can be written, for good.
        let mut good = receiver.client_from(1);
        good.write_all(b"before\n").unwrap();
        until_equal("a first line", &"before\n".to_owned(), || text(&dir.file("hosts/127.0.0.1.log")));
        let before = receiver.rss_kib();
        for host in 1..=250 {
            fs::create_dir(dir.file(&format!("hosts/{}.log", name(host)))).unwrap();
        }
        let block = lines("bad", 0, 1_000);
        let clients: Vec<TcpStream> = (1..=250)
            .map(|host| {
                let client = receiver.client_at(ip(host));
                client.set_nonblocking(true).unwrap();
                match (&client).write(block.as_bytes()) {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                    _ => client,
                }
            })
            .collect();
        if on_stall == "drop" {
            receiver.until_said("it is passed over");
        }
        // Others go on.
        good.write_all(b"after\n").unwrap();
        let after = || text(&dir.file("hosts/127.0.0.1.log"));
        until("a line of one that is fine", || match after() {
            found if found == "before\nafter\n" => Ok(()),
            found => Err(format!("{on_stall}: {found}; {}", receiver.said())),
        });
        let grown = receiver.peak_kib() - before;
        assert!(grown < 12 * 1024, "{on_stall}: {grown} KiB more");
        for host in 1..=250 {
            fs::remove_dir(dir.file(&format!("hosts/{}.log", name(host)))).unwrap();
        }
        for client in &clients {
            client.set_nonblocking(false).unwrap();
            client.wait_at_most(Duration::from_secs(20));
        }
        drop(clients);
        if on_stall == "wait" {
            for host in 1..=250 {
                let path = dir.file(&format!("hosts/{}.log", name(host)));
                until("whole lines", || match text(&path) {
                    found if !found.is_empty() && found.ends_with('\n') => Ok(()),
                    found => Err(format!("{host}: {} bytes", found.len())),
                });
            }
        }
        receiver.signal("TERM");
        let ended = receiver.wait();
        assert!(ended.code == Some(0) || on_stall == "drop", "{}", ended.stderr);
    }
}

#[test]
fn p16_marks_of_removed_files_are_told_again_so_that_all_say_what_is_missing() {
    for format in ["raw", "peer", "json"] {
        for (pattern, size, sync) in [
            ("app.log", "16KiB", "never"),
            ("{host}.log", "7KiB", "never"),
            ("{host}.log", "7KiB", "100ms"),
            ("app.log", "16KiB", "1h"),
        ] {
            let Some(disk) = Tmpfs::mount("size=300k") else { return };
            let path = disk.file(pattern);
            let args = ["--output", &path, "--rotate-size", size, "--rotate-keep", "500", "--max-line", "1KiB"];
            let more = ["--disk-full", "drop-oldest", "--mark-gaps", "--format", format, "--sync", sync];
            let receiver = Receiver::start(&[&args[..], &more].concat());
            const SENT: u64 = 6_000;
            let mut client = receiver.client_from(9);
            client.wait_at_most(Duration::from_secs(60));
            let sent: String = (0..SENT).map(|number| format!("line {number:094}\n")).collect();
            client.write_all(sent.as_bytes()).unwrap();
            drop(client);
            let ended = receiver.stop();
            ended.assert_clean();
            let log = &ended.stderr;
            let folder = disk.file("");
            let mut all = String::new();
            for entry in fs::read_dir(&folder).unwrap() {
                all.push_str(&fs::read_to_string(entry.unwrap().path()).unwrap());
            }
            let (marks, left): (Vec<&str>, Vec<&str>) = all.lines().partition(|line| !line.contains("line 0"));
            let number = |mark: &str, word: &str| -> u64 {
                let rest = mark.split_once(word).unwrap_or_else(|| panic!("no mark: {mark}")).1;
                rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
            };
            let word = if format == "json" { "\"lines\":" } else { " lines=" };
            let told: u64 = marks.iter().map(|mark| number(mark, word)).sum();
            let case = format!("{format} {pattern} {sync}");
            assert!(left.len() < 4_000, "{case}: {} lines are left", left.len());
            assert_eq!(told + left.len() as u64, SENT, "{case}: {marks:?}; the log: {log}");
        }
    }
}

#[test]
fn p13_drop_oldest_with_many_small_files_of_hosts_does_not_crawl() {
    let Some(disk) = Tmpfs::mount("size=2m") else { return };
    let pattern = disk.file("{host}.log");
    let args = ["--output", &pattern, "--rotate-size", "4KiB", "--rotate-keep", "900", "--max-line", "1KiB"];
    let receiver = Receiver::start(&[&args[..], &["--disk-full", "drop-oldest", "--max-per-host", "0"]].concat());
    let block = lines("a", 0, 20_000);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for host in 1..=4 {
            let (mut client, block) = (receiver.client_from(host), &block);
            client.wait_at_most(Duration::from_secs(60));
            scope.spawn(move || client.write_all(block.as_bytes()).unwrap());
        }
    });
    let ended = receiver.stop();
    ended.assert_clean();
    // Some hundred files go: at one a pause of 100 ms that would take a minute.
    eprintln!("{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    for host in 1..=4 {
        assert!(block.ends_with(&text(&disk.file(&format!("127.0.0.{host}.log")))), "{host}");
    }
}
