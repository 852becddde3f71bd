//! A file for each host (`{host}` in the name): the right lines in each, files and descriptors bounded, each rotated.

use std::fs;
use std::io::Write;

use super::disk::Tmpfs;
use crate::common::patience::{connect, connect_unix};
use crate::support::conditions::{Dir, until_equal};
use crate::support::receiver::Receiver;

fn start(dir: &Dir, options: &[&str]) -> Receiver {
    let pattern = dir.file("app-{host}.log");
    Receiver::start(&[&["--output", &pattern, "--max-per-host", "0"], options].concat())
}

/// Each file's name and what is in it, sorted.
fn files(dir: &Dir) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn file_of(host: &str, inside: &str) -> (String, String) {
    (format!("app-{host}.log"), inside.to_owned())
}

fn sorted(mut files: Vec<(String, String)>) -> Vec<(String, String)> {
    files.sort();
    files
}

#[test]
fn each_of_two_hundred_hosts_has_its_own_file_and_a_restart_goes_on() {
    let dir = Dir::new();
    let hosts: Vec<u8> = (1..=200).collect();
    let round = |receiver: &Receiver, word: &str| {
        // All at once, in two pieces each, so that their lines are mixed.
        let mut clients: Vec<_> = hosts.iter().map(|host| (*host, receiver.client_from(*host))).collect();
        clients.iter_mut().for_each(|(host, client)| write!(client, "{word} {host}\nsecond ").unwrap());
        clients.iter_mut().for_each(|(host, client)| writeln!(client, "{word} {host}").unwrap());
    };
    let lines = |word: &str, host: &u8| format!("{word} {host}\nsecond {word} {host}\n");
    let receiver = start(&dir, &[]);
    round(&receiver, "one");
    let wanted = |words: &[&str]| {
        let inside = |host: &u8| words.iter().map(|word| lines(word, host)).collect::<String>();
        sorted(hosts.iter().map(|host| file_of(&format!("127.0.0.{host}"), &inside(host))).collect())
    };
    until_equal("a file for each", &wanted(&["one"]), || files(&dir));
    receiver.stop().assert_clean();
    // Those that are there count: of two more hosts the first has a file still, and the other shares one.
    let receiver = start(&dir, &["--host-files", "201"]);
    round(&receiver, "two");
    until_equal("the same files", &wanted(&["one", "two"]), || files(&dir));
    for host in [201, 202] {
        receiver.client_from(host).write_all(b"new\n").unwrap();
        until_equal("one more file", &(200 + usize::from(host) - 200), || files(&dir).len());
    }
    let more = vec![file_of("127.0.0.201", "new\n"), file_of("other", "new\n")];
    until_equal("one more and others", &sorted([wanted(&["one", "two"]), more].concat()), || files(&dir));
    receiver.until_said("[out] 201 hosts have a file: further ones share one; --host-files sets it");
    receiver.stop().assert_clean();
}

#[test]
fn more_hosts_than_files_share_one_and_are_said_once() {
    let dir = Dir::new();
    let receiver = start(&dir, &["--host-files", "3"]);
    for host in 1..=9 {
        receiver.client_from(host).write_all(format!("{host}\n").as_bytes()).unwrap();
        // One after the other, so that it is known who comes first.
        let total = |files: Vec<(String, String)>| files.iter().map(|(_, inside)| inside.len()).sum::<usize>();
        until_equal("its line", &(2 * usize::from(host)), || total(files(&dir)));
    }
    let own = [1, 2, 3].map(|host| file_of(&format!("127.0.0.{host}"), &format!("{host}\n")));
    let shared = file_of("other", "4\n5\n6\n7\n8\n9\n");
    assert_eq!(files(&dir), sorted([&own[..], &[shared]].concat()));
    let ended = receiver.stop();
    ended.assert_clean();
    assert_eq!(ended.stderr.matches("further ones share one").count(), 1, "{}", ended.stderr);
}

/// Files that stay open, whatever `--host-files` allows.
const MOST_OPEN: usize = 256;

/// The descriptors of files in this directory.
fn open_files(receiver: &Receiver, dir: &Dir) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", receiver.guard.pid())).unwrap();
    let names = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    names.filter(|name| name.starts_with(dir.path())).count()
}

#[test]
fn descriptors_are_bounded_and_a_file_that_was_closed_is_gone_on_with() {
    for options in [&[][..], &["--flush-every", "300ms"], &["--sync", "100ms"]] {
        let dir = Dir::new();
        let receiver = start(&dir, &[&["--host-files", "1000"], options].concat());
        let mut most = 0;
        let hosts: Vec<[u8; 4]> =
            (0..600_u16).map(|number| [127, 1, number.to_be_bytes()[0], number.to_be_bytes()[1]]).collect();
        for round in 1..=2 {
            for hosts in hosts.chunks(100) {
                let mut clients: Vec<_> = hosts.iter().map(|host| receiver.client_at(*host)).collect();
                clients.iter_mut().for_each(|client| client.write_all(b"line\n").unwrap());
                drop(clients);
                most = most.max(open_files(&receiver, &dir));
            }
            let total = || files(&dir).iter().map(|(_, inside)| inside.len()).sum::<usize>();
            until_equal("all lines", &(round * 600 * 5), total);
            most = most.max(open_files(&receiver, &dir));
        }
        let all = files(&dir);
        assert!(all.len() == 600 && all.iter().all(|(_, inside)| inside == "line\nline\n"), "{all:?}");
        // One that is being opened; and those that wait for a sync or are being synced.
        let synced = if options.contains(&"--sync") { MOST_OPEN + 33 } else { 0 };
        // The system lists descriptors one after the other: as many as are closed at once may be seen beside those opened then.
        let listed_late = 16;
        assert!(most <= MOST_OPEN + 1 + synced + listed_late, "{most} files open; {options:?}");
        let now = open_files(&receiver, &dir);
        assert!(now >= MOST_OPEN - 32, "only {now} files stay open; {options:?}");
        receiver.stop().assert_clean();
    }
}

#[test]
fn each_host_has_rotated_files_of_its_own_and_too_many_are_removed_at_start() {
    let dir = Dir::new();
    for name in [
        "127.0.0.9.log.3",
        "127.0.0.9.log.1",
        "other.log.4",
        "nobody.log.7",
        "127.0.0.9.log.4.gz",
        "127.0.0.9.log.3.xz",
    ] {
        fs::write(dir.file(&format!("app-{name}")), "old\n").unwrap();
    }
    let options = ["--rotate-size", "100", "--max-line", "50", "--rotate-keep", "2", "--host-files", "3"];
    let receiver = start(&dir, &options);
    receiver.until_said("app-other.log.4, beyond --rotate-keep");
    let line = |number: u32| format!("{number:039}\n");
    let lines: String = (0..7).map(line).collect();
    for host in [1, 2] {
        receiver.client_from(host).write_all(lines.as_bytes()).unwrap();
    }
    let wanted = |host: &str| {
        let files = [(".1", line(4) + &line(5)), (".2", line(2) + &line(3)), ("", line(6))];
        files.map(|(number, inside)| (format!("app-{host}.log{number}"), inside))
    };
    let old = ["127.0.0.9.log.1", "127.0.0.9.log.3.xz", "nobody.log.7"];
    let old: Vec<_> = old.iter().map(|name| (format!("app-{name}"), "old\n".to_owned())).collect();
    let all = sorted([&old[..], &wanted("127.0.0.1"), &wanted("127.0.0.2")].concat());
    until_equal("rotated files of each", &all, || files(&dir));
    // A host of which only a rotated file is left has a file too: with these three there is none for a fourth.
    receiver.client_from(3).write_all(b"shared\n").unwrap();
    let all = sorted([all, vec![file_of("other", "shared\n")]].concat());
    until_equal("the shared file", &all, || files(&dir));
    receiver.stop().assert_clean();
}

#[test]
fn a_name_that_ends_in_the_address_is_told_from_a_rotated_one() {
    let dir = Dir::new();
    let pattern = dir.file("{host}");
    let args = ["--output", &pattern, "--rotate-size", "100", "--max-line", "50", "--host-files", "2"];
    for run in 1..=3 {
        let receiver = Receiver::start(&args);
        let line = "x".repeat(39) + "\n";
        receiver.client_from(1).write_all(line.repeat(3).as_bytes()).unwrap();
        receiver.client_from(2).write_all(b"two\n").unwrap();
        let ended = receiver.stop();
        ended.assert_clean();
        assert!(!ended.stderr.contains("share one"), "run {run}: {}", ended.stderr);
    }
    let names: Vec<String> = files(&dir).into_iter().map(|(name, _)| name).collect();
    let wanted = ["127.0.0.1", "127.0.0.1.1", "127.0.0.1.2", "127.0.0.1.3", "127.0.0.1.4", "127.0.0.2"];
    assert_eq!(names, wanted);
}

#[test]
fn clients_of_unix_sockets_share_a_file_and_ipv6_hosts_have_one() {
    let dir = Dir::new();
    let socket = format!("unix:{}", dir.file("socket"));
    let receiver = start(&dir, &["--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--listen", &socket]);
    connect_unix(dir.file("socket")).unwrap().write_all(b"unix\n").unwrap();
    receiver.client().write_all(b"four\n").unwrap();
    let said = receiver.said();
    let six = said.lines().filter_map(crate::support::receiver::listens_at).find(|addr| addr.is_ipv6()).unwrap();
    connect(six).write_all(b"six\n").unwrap();
    let wanted = vec![file_of("127.0.0.1", "four\n"), file_of("0-0-0-0", "six\n"), file_of("unix", "unix\n")];
    until_equal("a file of each kind", &sorted(wanted), || files(&dir));
    receiver.stop().assert_clean();
}

#[test]
fn a_signal_opens_all_of_them_anew() {
    let dir = Dir::new();
    let receiver = start(&dir, &[]);
    let mut clients = [1, 2].map(|host| receiver.client_from(host));
    clients.iter_mut().for_each(|client| client.write_all(b"one\n").unwrap());
    let wanted = [1, 2].map(|host| file_of(&format!("127.0.0.{host}"), "one\n"));
    until_equal("a file of each", &wanted.to_vec(), || files(&dir));
    for host in [1, 2] {
        fs::rename(dir.file(&format!("app-127.0.0.{host}.log")), dir.file(&format!("moved.{host}"))).unwrap();
    }
    receiver.signal("HUP");
    let moved = [1, 2].map(|host| (format!("moved.{host}"), "one\n".to_owned()));
    let empty = [1, 2].map(|host| file_of(&format!("127.0.0.{host}"), ""));
    until_equal("new files", &sorted([empty, moved.clone()].concat()), || files(&dir));
    clients.iter_mut().for_each(|client| client.write_all(b"two\n").unwrap());
    let new = [1, 2].map(|host| file_of(&format!("127.0.0.{host}"), "two\n"));
    until_equal("lines in them", &sorted([new, moved].concat()), || files(&dir));
    receiver.stop().assert_clean();
}

#[test]
fn p13_on_a_full_disk_hosts_wait_together_or_the_oldest_file_of_all_goes() {
    let Some(disk) = Tmpfs::mount("size=1m") else { return };
    let pattern = disk.file("{host}.log");
    let args = ["--output", &pattern, "--rotate-size", "64KiB", "--max-line", "1KiB", "--rotate-keep", "20"];
    let lines = |from: u32, to: u32| (from..to).map(|number| format!("{number:0999}\n")).collect::<String>();
    let receiver = Receiver::start(&[&args[..], &["--disk-full", "drop-oldest", "--mark-gaps"]].concat());
    // The first has all of the disk, and nothing more to say when the second comes.
    receiver.client_from(1).write_all(lines(0, 1_000).as_bytes()).unwrap();
    let path = |host: u8, number: &str| disk.file(&format!("127.0.0.{host}.log{number}"));
    let end = |host: u8| fs::read_to_string(path(host, "")).unwrap_or_default();
    until_equal("the end of the first", &true, || end(1).ends_with(&lines(999, 1_000)));
    receiver.client_from(2).write_all(lines(0, 300).as_bytes()).unwrap();
    until_equal("the end of the second", &true, || end(2).ends_with(&lines(299, 300)));
    let ended = receiver.stop();
    ended.assert_clean();
    assert!(ended.stderr.contains("[out] the disk is full: removed "), "{}", ended.stderr);
    let all = |host: u8| {
        let files = (1..=20).rev().filter_map(|number| fs::read_to_string(path(host, &format!(".{number}"))).ok());
        files.chain([end(host)]).collect::<String>()
    };
    assert_eq!(all(2), lines(0, 300), "nothing of the second's, who has none that are older");
    let (marks, left): (Vec<_>, Vec<_>) = all(1).lines().map(str::to_owned).partition(|line| line.contains("gap"));
    let first: u32 = left[0].parse().unwrap();
    assert!(first > 64 && left.join("\n") + "\n" == lines(first, 1_000), "from {first}");
    assert!(!marks.is_empty(), "its own file says what is gone of it");
    assert!(!fs::exists(disk.file("unix.log")).unwrap() && !fs::exists(disk.file("other.log")).unwrap());
}
