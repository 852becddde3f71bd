//! `--receipt` of the built binary: what the receipt says is in the output when it comes, and on the disk with `--sync`.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::limits::{lower_free_descriptors_to, raise_descriptors_again};
use crate::common::patience::{Enough, PATIENCE, connect_unix};
use crate::support::conditions::{Dir, assert_same, until, until_equal};
use crate::support::receiver::{Receiver, Setup};
use crate::support::traced::{FailingSyncs, may_trace};

/// Sends lines and our end, and reads to the end of the answer.
fn receipt_for(receiver: &Receiver, host: u8, bytes: &[u8]) -> String {
    let mut client = receiver.client_from(host);
    client.write_all(bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn receipt_says_what_is_in_the_file_when_it_comes() {
    let dir = Dir::new();
    for args in
        [&[][..], &["--sync", "100ms"], &["--flush-every", "200ms"], &["--flush-every", "50ms", "--sync", "150ms"]]
    {
        let path = dir.file("out");
        let receiver = Receiver::start(&[&["--receipt", "--output", &path], args].concat());
        assert_eq!(receipt_for(&receiver, 1, b""), "0 lines\n", "{args:?}");
        let mut wanted = String::new();
        for round in 1..4 {
            let lines = format!("round {round} of {args:?}\n").repeat(round);
            // The last line has no end.
            assert_eq!(receipt_for(&receiver, 1, lines.trim_end().as_bytes()), format!("{round} lines\n"));
            wanted += &lines;
            assert_eq!(fs::read_to_string(&path).unwrap(), wanted, "{args:?}");
        }
        receiver.stop().assert_clean();
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn receipt_with_sync_waits_for_the_sync() {
    let dir = Dir::new();
    let receiver = Receiver::start(&["--receipt", "--sync", "1s", "--output", &dir.file("out")]);
    let begun = Instant::now();
    assert_eq!(receipt_for(&receiver, 1, b"one\ntwo\n"), "2 lines\n");
    assert_eq!(receipt_for(&receiver, 1, b"three\n"), "1 lines\n");
    // The first sync began after the first line came, and the second a second later.
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}: it did not wait", begun.elapsed());
    receiver.stop().assert_clean();
}

#[test]
fn p11_lines_that_gather_for_an_hour_are_written_and_receipted_at_the_end() {
    let dir = Dir::new();
    let receiver = Receiver::start(&["--receipt", "--flush-every", "1h", "--output", &dir.file("out")]);
    let mut client = receiver.client();
    client.write_all(b"one\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    // From here on it waits for its receipt, so that there is somebody to be served at the end.
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let early = client.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(early, Err(ErrorKind::WouldBlock), "before it is written");
    receiver.stop().assert_clean();
    let mut text = String::new();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), fs::read_to_string(dir.file("out")).unwrap().as_str()), ("1 lines\n", "one\n"));
}

#[test]
fn receipt_comes_at_the_end_though_the_next_sync_is_far_off() {
    let dir = Dir::new();
    let receiver = Receiver::start(&["--receipt", "--sync", "1h", "--output", &dir.file("out")]);
    assert_eq!(receipt_for(&receiver, 1, b"one\n"), "1 lines\n", "the first sync is due at once");
    let mut client = receiver.client();
    client.write_all(b"two\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    until_equal("the second line", &"one\ntwo\n".to_owned(), || fs::read_to_string(dir.file("out")).unwrap());
    client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let early = client.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(early, Err(ErrorKind::WouldBlock), "before the sync");
    receiver.assert_rests("while somebody waits for a receipt");
    receiver.stop().assert_clean();
    let mut text = String::new();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "1 lines\n");
}

#[test]
fn p11_who_waits_for_the_descriptor_of_one_who_waits_for_its_receipt_loses_nothing() {
    let dir = Dir::new();
    let path = dir.file("out");
    let receiver = Receiver::start(&["--receipt", "--sync", "1h", "--drain-timeout", "300ms", "--output", &path]);
    assert_eq!(receipt_for(&receiver, 1, b"one\n"), "1 lines\n", "the first sync is due at once");
    let mut client = receiver.client();
    client.write_all(b"two\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    until_equal("the second line", &"one\ntwo\n".to_owned(), || fs::read_to_string(&path).unwrap());
    lower_free_descriptors_to(&receiver, 0);
    receiver.client().write_all(b"three\n").unwrap();
    receiver.until_said("Cannot accept: ");
    receiver.stop().assert_clean();
    let mut text = String::new();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), fs::read_to_string(&path).unwrap().as_str()), ("1 lines\n", "one\ntwo\nthree\n"));
}

#[test]
fn receipt_waits_for_the_slowest_of_several_outputs() {
    let dir = Dir::new();
    let path = dir.file("out");
    let (receiver, unread) = Receiver::start_unread(&["--receipt", "--output", &path, "--output", "-"]);
    // More than a pipe holds, and less than keeps the server from reading.
    let block = format!("{}\n", "f".repeat(99)).repeat(1300);
    receiver.client().write_all(block.as_bytes()).unwrap();
    let mut client = receiver.client();
    until_equal("the block in the file", &block, || fs::read_to_string(&path).unwrap());
    client.write_all(b"asks\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let wanted = block + "asks\n";
    until_equal("its line in the file", &wanted, || fs::read_to_string(&path).unwrap());
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let early = client.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(early, Err(ErrorKind::WouldBlock), "a receipt while stdout takes nothing");
    let collected = unread.collect();
    let mut text = String::new();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "1 lines\n");
    receiver.stop().assert_clean();
    assert_same(&collected.finish(), wanted.as_bytes());
}

/// Others write all the time, so that no moment comes in which every file is at rest.
#[test]
fn receipt_comes_though_other_hosts_files_are_never_at_rest() {
    for args in [&["--sync", "100ms"][..], &["--flush-every", "100ms"], &[]] {
        let dir = Dir::new();
        let receiver = Receiver::start(&[&["--receipt", "--output", &dir.file("{host}.log")], args].concat());
        let is_enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _enough = Enough(&is_enough);
            for host in 2..5 {
                let mut busy = receiver.client_from(host);
                let is_enough = &is_enough;
                scope.spawn(move || {
                    while !is_enough.load(Ordering::Relaxed) {
                        busy.write_all(b"busy\n").unwrap();
                        // The input: a client that is never quiet for as long as a sync takes.
                        std::thread::sleep(Duration::from_micros(50));
                    }
                });
            }
            let mut wanted = String::new();
            for round in 0..5 {
                let line = format!("asks {round}\n");
                assert_eq!(receipt_for(&receiver, 1, line.as_bytes()), "1 lines\n", "{args:?}");
                wanted += &line;
                assert_eq!(fs::read_to_string(dir.file("127.0.0.1.log")).unwrap(), wanted, "{args:?}");
            }
            // A block that is written without being gathered.
            let block = format!("{}\n", "b".repeat(99)).repeat(1000);
            assert_eq!(receipt_for(&receiver, 1, block.as_bytes()), "1000 lines\n", "{args:?}");
        });
        let block = format!("{}\n", "c".repeat(99)).repeat(1000);
        assert_eq!(receipt_for(&receiver, 1, block.as_bytes()), "1000 lines\n", "{args:?}, alone");
        receiver.stop().assert_clean();
    }
}

#[test]
fn p20_a_host_whose_file_can_not_be_written_waits_for_its_receipt_alone() {
    for args in [&[][..], &["--sync", "100ms"], &["--flush-every", "50ms"], &["--output", "/dev/null"]] {
        let dir = Dir::new();
        let in_the_way = dir.file("127.0.0.1.log");
        fs::create_dir(&in_the_way).unwrap();
        let receiver = Receiver::start(&[&["--receipt", "--output", &dir.file("{host}.log")], args].concat());
        // One that waits for nothing, from before the first line on.
        let early = receiver.client_from(4);
        early.shutdown(Shutdown::Write).unwrap();
        let mut waits = receiver.client_from(1);
        waits.write_all(b"one\ntwo\n").unwrap();
        waits.shutdown(Shutdown::Write).unwrap();
        until("its file to be tried", || {
            let said = receiver.said();
            if said.contains("cannot write to") { Ok(()) } else { Err(said) }
        });
        for round in 0..3 {
            for host in [2, 3] {
                assert_eq!(receipt_for(&receiver, host, b"a line\n"), "1 lines\n", "{args:?} {host} {round}");
                let text = fs::read_to_string(dir.file(&format!("127.0.0.{host}.log"))).unwrap();
                assert_eq!(text.lines().count(), round + 1, "{args:?}");
            }
        }
        waits.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let early = waits.read(&mut [0; 1]).map_err(|error| error.kind());
        assert_eq!(early, Err(ErrorKind::WouldBlock), "{args:?}: nothing of it is written");
        fs::remove_dir(&in_the_way).unwrap();
        waits.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = String::new();
        waits.read_to_string(&mut text).unwrap();
        assert_eq!(text, "2 lines\n", "{args:?}");
        assert_eq!(fs::read_to_string(&in_the_way).unwrap(), "one\ntwo\n", "{args:?}");
        receiver.stop().assert_clean();
    }
}

#[test]
fn p7_a_unix_client_that_closes_wholly_waits_for_no_receipt() {
    let dir = Dir::new();
    let path = dir.file("sock");
    let place = format!("unix:{path}");
    let (receiver, unread) = Receiver::start_unread(&["--receipt", "--listen", &place, "--listen", "127.0.0.1:0"]);
    let flood = receiver.client();
    // The pipe is full, the server's own buffer is not: it still reads.
    let block = format!("{}\n", "f".repeat(99)).repeat(1300);
    (&flood).write_all(block.as_bytes()).unwrap();
    let base = receiver.fds();
    for round in 0..100 {
        let mut client = connect_unix(&path).unwrap();
        client.write_all(b"from unix\n").unwrap();
        if round % 2 == 0 {
            // Both ends at once, or one after the other.
            client.shutdown(Shutdown::Write).unwrap();
            until("it is taken", || if receiver.fds() > base { Ok(()) } else { Err(receiver.fds().to_string()) });
        }
    }
    until("they are gone", || if receiver.fds() <= base + 1 { Ok(()) } else { Err(receiver.fds().to_string()) });
    let mut stays = connect_unix(&path).unwrap();
    stays.write_all(b"from unix\n").unwrap();
    stays.shutdown(Shutdown::Write).unwrap();
    let collected = unread.collect();
    let mut text = String::new();
    stays.read_to_string(&mut text).unwrap();
    assert_eq!(text, "1 lines\n");
    receiver.stop().assert_clean();
    let text = String::from_utf8(collected.finish()).unwrap();
    assert_eq!(text.matches("from unix\n").count(), 101);
}

#[test]
fn p13_a_receipt_that_would_prove_nothing_is_refused() {
    for args in [&["--receipt", "--on-stall", "drop"][..], &["--check", "--receipt", "--on-stall=drop"]] {
        let ended = Setup::new(args).run();
        let wanted = "lumberjack: --receipt says that lines are written, and --on-stall drop may drop them: choose one of them\n";
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(2), wanted));
    }
}

/// What the kernel failed to write it forgets, and the next sync succeeds: those lines are in doubt for good.
#[test]
fn receipt_is_not_given_for_lines_whose_sync_failed() {
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let receiver = Receiver::start(&["--receipt", "--sync", "100ms", "--output", &dir.file("out")]);
    assert_eq!(receipt_for(&receiver, 1, b"one\n"), "1 lines\n");
    let Some(strace) = FailingSyncs::of(&receiver) else { return };
    let mut client = receiver.client();
    client.write_all(b"two\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    receiver.until_said("cannot sync ");
    strace.end();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "closed, without a receipt");
    assert_eq!(receipt_for(&receiver, 1, b"three\n"), "1 lines\n");
    receiver.stop().assert_clean();
    assert_eq!(fs::read(dir.file("out")).unwrap(), b"one\ntwo\nthree\n");
}

/// The sync of a new file's name needs a descriptor of its own: without one nothing is synced, and nobody may be told that it is.
#[test]
fn receipt_is_not_given_for_lines_that_could_not_be_synced_for_want_of_a_descriptor() {
    let dir = Dir::new();
    let receiver = Receiver::start(&["--receipt", "--sync", "100ms", "--output", &dir.file("out")]);
    let base = receiver.fds();
    let mut client = receiver.client();
    receiver.until_fds(base + 1);
    let limit = lower_free_descriptors_to(&receiver, 0);
    client.write_all(b"one\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    receiver.until_said("cannot sync ");
    raise_descriptors_again(&receiver, limit);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "closed, without a receipt");
    assert_eq!(receipt_for(&receiver, 1, b"two\n"), "1 lines\n");
    receiver.stop().assert_clean();
}
