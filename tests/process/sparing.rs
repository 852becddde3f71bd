//! What a disk is asked to do: syncs (`--sync`), at most so often and beside the loop, and writes (`--flush-every`), few
//! and large.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::conditions::{Dir, until, until_equal};
use crate::support::receiver::{Receiver, Setup};
use crate::support::traced::{calls, may_trace, strace, until_logged};

/// Ten lines a second, of 100 bytes with the newline, for so long.
fn drip(receiver: &Receiver, length: Duration) -> usize {
    let mut client = receiver.client();
    client.set_nodelay(true).unwrap();
    let began = Instant::now();
    let mut lines = 0;
    while began.elapsed() < length {
        client.write_all((format!("{lines:099}") + "\n").as_bytes()).unwrap();
        lines += 1;
        // A slow client is the input.
        std::thread::sleep(
            (Duration::from_millis(100) * u32::try_from(lines).unwrap()).saturating_sub(began.elapsed()),
        );
    }
    lines
}

/// Waits until a client's line is taken, though nobody can see it in the file yet.
fn send_and_leave(receiver: &Receiver, lines: &[u8]) {
    let before = receiver.said().matches("Socket cleaned up").count();
    receiver.client().write_all(lines).unwrap();
    until("the end of the client", || {
        let said = receiver.said();
        if said.matches("Socket cleaned up").count() > before { Ok(()) } else { Err(said) }
    });
}

fn length(path: &str) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

#[test]
fn a_sync_comes_at_most_so_often_in_another_thread_and_one_at_the_end() {
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let path = dir.file("app.log");
    let under = strace(&dir, "fdatasync,writev", &[]);
    let args = ["--output", &path, "--sync", "400ms"];
    let receiver = Setup::new(&args).under(under).start();
    drip(&receiver, Duration::from_millis(1_500));
    let syncs = || calls(&dir, "fdatasync");
    until("a sync of the last line", || {
        let (syncs, writes) = (syncs(), calls(&dir, "writev"));
        let is_synced = syncs.last().map(|sync| sync.at) > writes.last().map(|write| write.at);
        if is_synced && !writes.is_empty() { Ok(()) } else { Err(format!("{syncs:?}")) }
    });
    let before = syncs();
    // 1.5 s of lines and one interval behind them, and one at once.
    assert!((3..=6).contains(&before.len()), "{before:#?}");
    for pair in before.windows(2) {
        // strace stamps what it sees when it comes to see it, on a busy machine later; without a limit it were 15 ms.
        assert!(pair[1].at - pair[0].at > 0.2, "{pair:#?}");
    }
    let own = receiver.guard.pid();
    assert!(before.iter().all(|sync| sync.thread != own && sync.returned().unwrap_or(0) == 0), "{before:#?}");
    // The wait is the test: with nothing written there is nothing to sync.
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(syncs().len(), before.len());
    receiver.client().write_all(b"last\n").unwrap();
    until_equal("the last line", &(15 * 100 + 5), || length(&path));
    receiver.stop().assert_clean();
    until_logged(&dir);
    let (all, writes) = (syncs(), calls(&dir, "writev"));
    assert!((1..=2).contains(&(all.len() - before.len())), "{all:#?}");
    assert!(all.last().unwrap().at > writes.last().unwrap().at, "the last line is synced: {all:#?}");
}

#[test]
fn without_sync_there_is_none() {
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let under = strace(&dir, "fdatasync,?fsync,?sync_file_range,writev", &[]);
    let receiver = Setup::new(&["--output", &dir.file("app.log")]).under(under).start();
    drip(&receiver, Duration::from_millis(300));
    receiver.stop().assert_clean();
    until_logged(&dir);
    assert!(calls(&dir, "fdatasync").is_empty() && calls(&dir, "fsync").is_empty());
    assert!(!calls(&dir, "writev").is_empty());
}

#[test]
fn rotated_files_are_synced_and_their_names_too() {
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let path = dir.file("app.log");
    let under = strace(&dir, "fdatasync,fsync,writev,?open,openat", &[]);
    let args = ["--output", &path, "--sync", "1h", "--rotate-size", "1000", "--max-line", "100", "--rotate-keep", "4"];
    let receiver = Setup::new(&args).under(under).start();
    // Each file has room for ten lines of 100 bytes; the first sync comes with the first line.
    drip(&receiver, Duration::from_millis(300));
    let lines: String = (0..297).map(|number| format!("{number:099}\n")).collect();
    receiver.client().write_all(lines.as_bytes()).unwrap();
    receiver.stop().assert_clean();
    until_logged(&dir);
    let opened = ["open", "openat"].map(|name| calls(&dir, name)).concat();
    let most = opened.iter().filter_map(crate::support::traced::Call::returned).max().unwrap();
    // Thirty files have been written, of which five are left; within the hour each took a descriptor until it was removed.
    assert!(most < 30, "descriptor {most}");
    assert!(calls(&dir, "fdatasync").len() >= 5, "{:#?}", calls(&dir, "fdatasync"));
    assert!(!calls(&dir, "fsync").is_empty(), "the directory is not synced");
}

#[test]
fn a_sync_that_fails_is_said_once_and_costs_no_line() {
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let path = dir.file("app.log");
    // Each sync is a thread's first: all fail.
    let under = strace(&dir, "fdatasync", &["fdatasync:error=EIO:when=1+".to_owned()]);
    let receiver = Setup::new(&["--output", &path, "--sync", "100ms"]).under(under).start();
    let mut client = receiver.client();
    client.write_all(b"one\n").unwrap();
    receiver.until_said(&format!("[out] cannot sync {path}: "));
    receiver.until_said("(os error 5); its newest lines may not be on the disk");
    // The wait is the test: it is not tried again, as the kernel would say that all is well.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(receiver.said().matches("cannot sync").count(), 1, "{}", receiver.said());
    client.write_all(b"two\n").unwrap();
    until_equal("both", &"one\ntwo\n".to_owned(), || fs::read_to_string(&path).unwrap());
    receiver.stop().assert_clean();
}

#[test]
fn gathered_lines_are_written_when_their_time_has_come_and_not_before() {
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let path = dir.file("app.log");
    let under = strace(&dir, "writev", &[]);
    let receiver = Setup::new(&["--output", &path, "--flush-every", "700ms"]).under(under).start();
    let began = Instant::now();
    let mut client = receiver.client();
    client.write_all(b"first\n").unwrap();
    until_equal("the line", &6, || length(&path));
    let passed = began.elapsed();
    assert!(passed >= Duration::from_millis(700) && passed < Duration::from_secs(10), "after {passed:?}");
    let lines = drip(&receiver, Duration::from_millis(2_400));
    receiver.stop().assert_clean();
    until_logged(&dir);
    assert_eq!(length(&path), 6 + 100 * lines as u64);
    let writes = calls(&dir, "writev");
    assert!((2..=6).contains(&writes.len()), "{lines} lines in {writes:#?}");
}

#[test]
fn a_signal_a_full_buffer_and_the_end_write_what_was_gathered() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let args = ["--output", &path, "--flush-every", "1h", "--log-level", "debug"];
    let receiver = Receiver::start(&args);
    send_and_leave(&receiver, b"one\n");
    assert_eq!(length(&path), 0);
    receiver.assert_rests("while lines are gathered");
    receiver.signal("HUP");
    until_equal("what was gathered", &4, || length(&path));
    // Small blocks, so that they are gathered: the buffer has room for 64 KiB.
    let block = [b'x'; 999].map(char::from).iter().collect::<String>() + "\n";
    for _ in 0..65 {
        send_and_leave(&receiver, block.as_bytes());
    }
    assert_eq!(length(&path), 4);
    send_and_leave(&receiver, block.as_bytes());
    until_equal("a full buffer", &(4 + 66_000), || length(&path));
    send_and_leave(&receiver, b"last\n");
    assert_eq!(length(&path), 4 + 66_000);
    let began = Instant::now();
    receiver.stop().assert_clean();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(length(&path), 4 + 66_000 + 5);
}

#[test]
fn a_file_that_is_old_while_lines_are_gathered_is_begun_anew_without_a_spin() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let args = ["--output", &path, "--flush-every", "1h", "--rotate-age", "1s"];
    let receiver = Receiver::start(&args);
    receiver.client().write_all(b"line\n").unwrap();
    let first = format!("{path}.1");
    until_equal("the rotation", &"line\n".to_owned(), || fs::read_to_string(&first).unwrap_or_default());
    receiver.client().write_all(b"more\n").unwrap();
    receiver.assert_rests("while lines are gathered in a file that will be old");
    receiver.stop().assert_clean();
}
