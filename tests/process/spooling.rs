//! Outputs that read a spool: clients never wait for them, and neither a receiver that is away nor a kill of ours costs a line.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::disk::Tmpfs;
use super::errors::assert_sentence;
use super::forward::Next;
use super::support::http::get;
use crate::support::conditions::{Dir, assert_same, until_equal, write_until_held_back};
use crate::support::receiver::{Receiver, Setup};
use crate::support::somebody::somebody_else;
use crate::support::traced::{FailingSyncs, may_trace};

/// Lines that no other has, so many, from this one on.
fn block(first: usize, count: usize) -> Vec<u8> {
    (first..first + count).flat_map(|number| format!("line {number} of the spool's tests\n").into_bytes()).collect()
}

/// Sends lines and our end, and waits for the other one.
fn send(receiver: &Receiver, bytes: &[u8]) {
    let mut client = receiver.client();
    client.write_all(bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

/// A receiver whose output reads a spool.
struct Spooling {
    dir: Dir,
    next: Next,
}

impl Spooling {
    fn both() -> [Self; 2] {
        Next::both().map(|next| Self { dir: Dir::new(), next })
    }

    fn tcp() -> Self {
        Self { dir: Dir::new(), next: Next::tcp() }
    }

    fn spool(&self) -> String {
        self.dir.file("spool")
    }

    fn start(&self, args: &[&str]) -> Receiver {
        let (spool, place) = (self.spool(), self.next.place());
        Receiver::start(&[&["--spool", &spool, "--output", &place], args].concat())
    }

    fn until_next_has(&self, wanted: &[u8]) {
        until_equal("bytes that have arrived", &wanted.len(), || self.next.bytes().len());
        assert_same(&self.next.bytes(), wanted);
    }
}

#[test]
fn p28_clients_do_not_wait_for_a_receiver_that_is_away_and_it_gets_all_when_it_is_back() {
    for world in Spooling::both() {
        let receiver = world.start(&[]);
        let lines = block(0, 100_000);
        // More than memory would hold for an output.
        send(&receiver, &lines);
        assert!(world.next.bytes().is_empty());
        let next = world.next.start();
        world.until_next_has(&lines);
        // And from then on as it comes.
        send(&receiver, b"one more\n");
        let all = [&lines[..], b"one more\n"].concat();
        world.until_next_has(&all);
        receiver.stop().assert_clean();
        next.stop().assert_clean();
        assert_same(&world.next.bytes(), &all);
    }
}

#[test]
fn p28_after_an_orderly_end_it_goes_on_where_the_receiver_confirmed() {
    for world in Spooling::both() {
        let next = world.next.start();
        let mut all = Vec::new();
        for round in 0..3 {
            let receiver = world.start(&[]);
            let lines = block(round * 20_000, 20_000);
            all.extend_from_slice(&lines);
            send(&receiver, &lines);
            // What came just before is sent on.
            let ended = receiver.stop();
            ended.assert_clean();
            assert!(!ended.stderr.contains("keeps"), "{}", ended.stderr);
        }
        next.stop().assert_clean();
        assert_same(&world.next.bytes(), &all);
    }
}

#[test]
fn p28_an_end_with_lines_in_the_spool_is_clean_says_so_and_the_next_start_goes_on() {
    let world = Spooling::tcp();
    let receiver = world.start(&[]);
    send(&receiver, &block(0, 1000));
    let began = Instant::now();
    let ended = receiver.stop();
    ended.assert_clean();
    assert!(began.elapsed() < Duration::from_secs(4), "nobody waits for a receiver that is away");
    let place = world.next.place();
    let words = format!("keeps 1000 lines for {place}, which the next start goes on with");
    assert!(ended.stderr.contains(&words), "{}", ended.stderr);
    let receiver = world.start(&[]);
    receiver.until_said(&format!("up to 1000 lines wait in the spool {} for {place}", world.spool()));
    let next = world.next.start();
    world.until_next_has(&block(0, 1000));
    receiver.stop().assert_clean();
    next.stop().assert_clean();
    assert_same(&world.next.bytes(), &block(0, 1000));
}

#[test]
fn p28_a_kill_of_ours_costs_no_line_that_a_client_has_a_receipt_for() {
    let world = Spooling::tcp();
    let mut wanted = Vec::new();
    for round in 0..4 {
        let mut receiver = world.start(&["--receipt"]);
        let lines = block(round * 5000, 5000);
        let mut client = receiver.client();
        client.write_all(&lines).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut receipt = String::new();
        client.read_to_string(&mut receipt).unwrap();
        assert_eq!(receipt, "5000 lines\n", "though the next receiver is away");
        wanted.extend_from_slice(&lines);
        receiver.signal("KILL");
        receiver.guard.wait();
    }
    let next = world.next.start();
    let receiver = world.start(&[]);
    world.until_next_has(&wanted);
    receiver.stop().assert_clean();
    next.stop().assert_clean();
}

#[test]
fn p28_after_a_kill_lines_may_come_twice_and_none_is_missing() {
    let world = Spooling::tcp();
    let next = world.next.start();
    let mut receiver = world.start(&[]);
    let lines = block(0, 200_000);
    send(&receiver, &lines);
    world.until_next_has(&lines);
    receiver.signal("KILL");
    receiver.guard.wait();
    // Its position is written once a MiB that is known to be there.
    let receiver = world.start(&[]);
    send(&receiver, b"the last\n");
    world.next.until_it_ends(b"the last\n");
    let bytes = world.next.bytes();
    let again = bytes.len() - lines.len() - b"the last\n".len();
    assert!(again < 3 << 20, "{again} bytes came twice");
    let rest = &bytes[lines.len()..];
    assert!(lines.ends_with(&rest[..rest.len() - b"the last\n".len()]), "what came again is the end of what was there");
    receiver.stop().assert_clean();
    next.stop().assert_clean();
}

#[test]
fn p17_a_receipt_waits_for_the_sync_of_the_spool() {
    let world = Spooling::tcp();
    let receiver = world.start(&["--receipt", "--sync", "1s"]);
    let mut client = receiver.client();
    let mut receipts = Vec::new();
    let began = Instant::now();
    for _ in 0..2 {
        client.write_all(&block(0, 10)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        receipts.push(text);
        client = receiver.client();
    }
    assert_eq!(receipts, ["10 lines\n"; 2]);
    assert!(began.elapsed() >= Duration::from_secs(1), "the second sync is a second later");
    receiver.stop().assert_clean();
}

#[test]
fn p17_what_a_failed_sync_left_in_doubt_is_written_again_and_then_receipted() {
    if !may_trace() {
        return;
    }
    let world = Spooling::tcp();
    let receiver = world.start(&["--receipt", "--sync", "100ms"]);
    let Some(strace) = FailingSyncs::of(&receiver) else { return };
    let mut client = receiver.client();
    client.write_all(&block(0, 10)).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    receiver.until_said(&format!("cannot sync the spool {}: ", world.spool()));
    // Until the pauses between tries are long.
    std::thread::sleep(Duration::from_millis(3_500));
    receiver.assert_rests_traced("while syncs fail");
    strace.end();
    let mut receipt = String::new();
    client.read_to_string(&mut receipt).unwrap();
    assert_eq!(receipt, "10 lines\n");
    receiver.client().write_all(&block(10, 10)).unwrap();
    let next = world.next.start();
    world.until_next_has(&block(0, 20));
    receiver.stop().assert_clean();
    next.stop().assert_clean();
}

#[test]
fn p11_a_spool_that_can_not_be_synced_at_the_end_is_said_and_waited_for_no_longer() {
    if !may_trace() {
        return;
    }
    let world = Spooling::tcp();
    let receiver = world.start(&["--drain-timeout", "1s"]);
    send(&receiver, &block(0, 10));
    let Some(strace) = FailingSyncs::of(&receiver) else { return };
    let ended = receiver.stop();
    strace.end();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    // What the C libraries call it differs.
    let words = format!("the spool {} could not be synced at the end (", world.spool());
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.contains(&words) && last.contains("(os error 5)"), "{}", ended.stderr);
}

#[test]
fn p8_a_full_spool_makes_clients_wait_and_says_for_whom() {
    let world = Spooling::tcp();
    let receiver = world.start(&["--spool-size", "1MiB", "--memory", "8MiB"]);
    let client = receiver.client();
    let sent = write_until_held_back(&client);
    let words = format!("[out] the spool {} is full: clients wait until {}", world.spool(), world.next.place());
    receiver.until_said(&words);
    let size: u64 = fs::read_dir(world.spool()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(size <= 1 << 20, "{size}");
    receiver.assert_rests("while the spool is full");
    // An end that gives it up says what it has.
    let other = Spooling::tcp();
    let ending = other.start(&["--spool-size", "1MiB", "--memory", "8MiB", "--drain-timeout", "1s"]);
    let _ = write_until_held_back(&ending.client());
    let ended = ending.stop();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let words = format!(" for {}, which the next start goes on with", other.next.place());
    assert!(ended.stderr.contains(&words) && ended.stderr.contains("is given up"), "{}", ended.stderr);
    let next = world.next.start();
    client.shutdown(Shutdown::Write).unwrap();
    receiver.until_said("takes lines again");
    let whole = sent.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    world.next.until_bytes(whole);
    receiver.stop().assert_clean();
    next.stop().assert_clean();
    assert_same(&world.next.bytes()[..whole], &sent[..whole]);
}

#[test]
fn p28_what_can_not_be_read_of_a_spool_is_tried_again_and_passed_in_the_end() {
    let world = Spooling::tcp();
    let receiver = world.start(&["--spool-size", "1MiB", "--memory", "8MiB"]);
    let lines = block(0, 10_000);
    send(&receiver, &lines);
    let names = fs::read_dir(world.spool()).unwrap().map(|entry| entry.unwrap().path());
    let oldest = names.filter(|name| name.extension().is_some_and(|end| end == "seg")).min().unwrap();
    fs::remove_file(&oldest).unwrap();
    fs::create_dir(&oldest).unwrap();
    let next = world.next.start();
    receiver.until_said(&format!("cannot read the spool for {}: ", world.next.place()));
    receiver.until_said(" lines: the spool is damaged there");
    world.next.until_it_ends(&block(9_999, 1));
    let rest = world.next.bytes();
    assert!(rest.len() > lines.len() / 2, "{}", rest.len());
    assert_same(&rest, &lines[lines.len() - rest.len()..]);
    receiver.stop().assert_clean();
    next.stop().assert_clean();
}

#[test]
fn p8_a_spool_whose_directory_is_moved_away_waits_for_it_and_loses_nothing() {
    let world = Spooling::tcp();
    let receiver = world.start(&["--spool-size", "1MiB", "--memory", "8MiB"]);
    send(&receiver, &block(0, 10_000));
    let (spool, away) = (world.spool(), world.dir.file("away"));
    fs::rename(&spool, &away).unwrap();
    fs::create_dir(&spool).unwrap();
    let next = world.next.start();
    let client = receiver.client();
    (&client).write_all(&block(10_000, 10_000)).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    receiver.until_said(&format!("cannot write to the spool {spool}: its directory was moved away"));
    receiver.assert_rests("while the directory is away");
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 0);
    fs::remove_dir(&spool).unwrap();
    fs::rename(&away, &spool).unwrap();
    world.until_next_has(&block(0, 20_000));
    receiver.stop().assert_clean();
    next.stop().assert_clean();
}

#[test]
fn p13_a_lock_that_was_removed_is_taken_again_and_keeps_others_out() {
    let world = Spooling::tcp();
    let receiver = world.start(&["--spool-size", "1MiB", "--memory", "8MiB"]);
    send(&receiver, &block(0, 1_000));
    let lock = format!("{}/lock", world.spool());
    fs::remove_file(&lock).unwrap();
    // More than a segment.
    send(&receiver, &block(1_000, 10_000));
    until_equal("a lock", &true, || fs::exists(&lock).unwrap());
    let (spool, place) = (world.spool(), world.next.place());
    let other = Setup::new(&["--listen", "127.0.0.1:0", "--spool", &spool, "--output", &place]).run();
    assert!(other.stderr.contains("another process uses the spool"), "{}", other.stderr);
    let next = world.next.start();
    world.until_next_has(&block(0, 11_000));
    receiver.stop().assert_clean();
    next.stop().assert_clean();
}

#[test]
fn p16_a_full_spool_that_drops_the_oldest_marks_and_counts_what_is_gone() {
    let world = Spooling::tcp();
    let status = ["--status", "127.0.0.1:0"];
    let args = ["--spool-size", "1MiB", "--memory", "8MiB", "--spool-full", "drop-oldest", "--mark-gaps"];
    let receiver = world.start(&[&args[..], &status].concat());
    let count = 200_000;
    send(&receiver, &block(0, count));
    let next = world.next.start();
    let last = block(count - 1, 1);
    world.next.until_it_ends(&last);
    let text = String::from_utf8(world.next.bytes()).unwrap();
    let (mark, rest) = text.split_once('\n').unwrap();
    let lines = rest.lines().count();
    assert!(mark.contains("why=spool-full"), "{mark}");
    assert!(mark.contains(&format!("lines={}", count - lines)), "{mark}: {lines} came");
    assert_same(rest.as_bytes(), &block(count - lines, lines));
    receiver.until_said("the spool is full: its oldest ");
    receiver.until_said(&format!("misses {} lines: the spool has them no more", count - lines));
    receiver.stop().assert_clean();
    next.stop().assert_clean();
}

#[test]
fn p13_a_full_disk_under_the_spool_costs_nothing_but_time() {
    let Some(disk) = Tmpfs::mount("size=4m") else { return };
    let next = Next::tcp();
    let spool = disk.file("spool");
    let receiver = Receiver::start(&["--spool", &spool, "--output", &next.place(), "--memory", "8MiB"]);
    send(&receiver, &block(0, 10));
    disk.fill_up();
    let client = receiver.client();
    let sent = write_until_held_back(&client);
    receiver.until_said(&format!("cannot write to the spool {spool}: No space left on device"));
    receiver.assert_rests("while the disk is full");
    disk.free();
    let taken = next.start();
    client.shutdown(Shutdown::Write).unwrap();
    let whole = sent.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let wanted = [&block(0, 10)[..], &sent[..whole]].concat();
    next.until_bytes(wanted.len());
    receiver.stop().assert_clean();
    taken.stop().assert_clean();
    assert_same(&next.bytes()[..wanted.len()], &wanted);
}

#[test]
fn a_file_beside_it_gets_each_line_too_and_what_is_not_grave_enough_gets_nowhere() {
    let world = Spooling::tcp();
    let file = world.dir.file("beside.log");
    let receiver =
        world.start(&["--output", &file, "--parse", "syslog", "--min-severity", "warning", "--format", "json"]);
    send(&receiver, b"<11>Nov 26 10:00:00 box one: grave\n<14>Nov 26 10:00:00 box two: not\nno header\n<12>Nov 26 10:00:00 box three: grave enough\n");
    let next = world.next.start();
    until_equal("lines", &3, || world.next.bytes().iter().filter(|byte| **byte == b'\n').count());
    assert_same(&world.next.bytes(), &fs::read(&file).unwrap());
    let text = String::from_utf8(world.next.bytes()).unwrap();
    assert!(!text.contains("two") && text.contains(r#""app":"three""#), "{text}");
    receiver.stop().assert_clean();
    next.stop().assert_clean();
}

#[test]
fn p12_how_far_an_output_is_behind_is_seen() {
    let world = Spooling::tcp();
    let receiver = world.start(&["--status", "127.0.0.1:0"]);
    let at = super::support::http::status_of(&receiver);
    let number = |name: &str| -> u64 {
        let answer = get(&at, "/diagnostics").body;
        let (_, of_it) = answer.split_once(&format!("\"{}\":{{", world.next.place())).unwrap();
        let (_, rest) = of_it.split_once(&format!("\"{name}\":")).unwrap();
        rest[..rest.find([',', '}']).unwrap()].parse().unwrap()
    };
    assert_eq!((number("lagLines"), number("lagSeconds")), (0, 0));
    send(&receiver, &block(0, 1000));
    until_equal("lines behind", &1000, || number("lagLines"));
    assert!((20_000..200_000).contains(&number("lagBytes")), "{}", number("lagBytes"));
    let next = world.next.start();
    world.until_next_has(&block(0, 1000));
    let ended = receiver.stop();
    ended.assert_clean();
    next.stop().assert_clean();
}

#[test]
fn p28_health_checks_fail_while_an_output_falls_further_and_further_behind() {
    let world = Spooling::tcp();
    let receiver = world.start(&["--status", "127.0.0.1:0", "--lag-alarm", "1s"]);
    let at = super::support::http::status_of(&receiver);
    let health = || (get(&at, "/healthz").status, get(&at, "/healthz").body);
    assert_eq!(health(), (200, "ok\n".to_owned()));
    send(&receiver, &block(0, 10));
    until_equal("health", &(503, "an output falls further and further behind (--lag-alarm)\n".to_owned()), health);
    let troubles = get(&at, "/diagnostics").body;
    assert!(troubles.contains("falls behind: 10 lines in the spool"), "{troubles}");
    let next = world.next.start();
    until_equal("health", &(200, "ok\n".to_owned()), health);
    receiver.stop().assert_clean();
    next.stop().assert_clean();
}

#[test]
fn p13_what_makes_no_sense_with_a_spool_is_a_sentence_and_exit_2() {
    let dir = Dir::new();
    let spool = dir.file("spool");
    let away = "tcp:127.0.0.1:9";
    for (args, begins, ends) in [
        (&["--spool-size", "1MiB"][..], "--spool-size is about a spool, and there is none", "leave it out"),
        (&["--spool-full", "drop-oldest"], "--spool-full is about a spool", ""),
        (&["--lag-alarm", "1m"], "--lag-alarm is about a spool", ""),
        (&["--spool", &spool], &format!("the spool {spool} would be read by no --output"), "leave it out"),
        (&["--spool", &spool, "-o", away, "--spool-size", "100KiB"], "--spool-size 100KiB is too small", ""),
        (&["--spool", &spool, "-o", away, "--spool-full", "explode"], "--spool-full explode: use one of wait", ""),
        (&["--spool", &spool, "-o", away, "--take-over", "12"], "--take-over 12: give the 32 hexadecimal digits", ""),
        (&["--spool", "", "-o", away], "--spool (nothing): name a directory", ""),
        (&["--spool", &spool, "-o", away, "--on-stall", "drop"], "--spool keeps lines for outputs that are away", ""),
    ] {
        let ended = Setup::new(&[&["--listen", "127.0.0.1:0"], args].concat()).run();
        assert_sentence(&ended, 2, begins, ends);
        assert!(!fs::exists(&spool).unwrap(), "{args:?}: nothing is made");
    }
}

#[test]
fn p13_a_spool_that_can_not_be_used_is_a_sentence_and_is_left_as_it_was() {
    let world = Spooling::tcp();
    let receiver = world.start(&[]);
    let (spool, place) = (world.spool(), world.next.place());
    let args = ["--listen", "127.0.0.1:0", "--spool", &spool, "--output", &place];
    assert_sentence(&Setup::new(&args).run(), 1, &format!("another process uses the spool {spool}"), "--spool");
    receiver.stop().assert_clean();
    let nowhere = world.dir.file("not/there");
    let missing = ["--listen", "127.0.0.1:0", "--spool", &nowhere, "--output", &place];
    assert_sentence(&Setup::new(&missing).run(), 1, &format!("cannot use the spool {nowhere}"), "make that");
    let file = world.dir.file("a-file");
    fs::write(&file, "content").unwrap();
    let no_directory = ["--listen", "127.0.0.1:0", "--spool", &file, "--output", &place];
    assert_sentence(&Setup::new(&no_directory).run(), 1, &format!("cannot use the spool {file}"), "--spool");
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");
    let folder = world.dir.file("");
    let occupied = ["--listen", "127.0.0.1:0", "--spool", &folder, "--output", &place];
    assert_sentence(
        &Setup::new(&occupied).run(),
        2,
        &format!("{folder} is no spool, and holds other files ("),
        "--spool",
    );
    assert!(!fs::exists(world.dir.file("box")).unwrap());
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o700)).unwrap();
    let Some(run) = somebody_else(&world.dir, &spool) else { return };
    let refused = run(&args);
    assert_sentence(&refused, 1, &format!("cannot use the spool {spool}: no permission"), "--spool");
}

#[cfg(feature = "nats")]
#[test]
fn p29_nothing_spins_while_no_server_is_there() {
    let dir = Dir::new();
    let spool = dir.file("spool");
    for args in [&["--spool", &spool][..], &[]] {
        let stream = ["--output", "nats://127.0.0.1:9/x", "--nats-stream", "L"];
        let receiver = Receiver::start(&[&stream[..], args].concat());
        receiver.until_said("nats://127.0.0.1:9/x is away");
        receiver.client().write_all(b"line\n").unwrap();
        // Until the pauses between tries are long.
        std::thread::sleep(Duration::from_secs(3));
        receiver.assert_rests("while no server is there");
        let ended = receiver.stop();
        assert_eq!(ended.code, Some(if args.is_empty() { 1 } else { 0 }), "{}", ended.stderr);
    }
}
