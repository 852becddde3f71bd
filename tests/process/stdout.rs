//! Whatever stdout is, lines get there; a slow reader slows the clients and a gone one ends the program (P8, P13).

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::common::patience::{Pipe, connect, output_of};
use crate::common::skip::skip;
use crate::support::conditions::{Dir, assert_same, until, write_until_held_back};
use crate::support::receiver::{Collected, Guard, Receiver, Setup, is_emulated, listens_at, signal, under_test};

/// Linux's `O_NONBLOCK`, which `std` has no name for.
const O_NONBLOCK: u32 = 0o4000;

/// Sends a small and a large block, and ends it: what was to come out.
fn send_and_stop(receiver: Receiver) -> Vec<u8> {
    let mut sent = b"small\n".to_vec();
    let mut client = receiver.client();
    client.write_all(&sent).unwrap();
    let large: Vec<u8> = (0..5_000).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
    client.write_all(&large).unwrap();
    sent.extend(large);
    receiver.stop().assert_clean();
    sent
}

/// Whether a description of ours, which the receiver shared, would make others' writes fail instead of wait.
fn is_non_blocking(own: &impl AsRawFd) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", own.as_raw_fd())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    u32::from_str_radix(flags.trim(), 8).unwrap() & O_NONBLOCK != 0
}

#[test]
fn stdout_can_be_a_pipe_and_stays_as_it_was() {
    let (reader, writer) = Pipe::new();
    let own = writer.try_clone().unwrap();
    let output = reader.collect();
    let receiver = Setup::new(&[]).stdout(writer).start();
    assert!(!is_non_blocking(&own), "while it runs");
    let sent = send_and_stop(receiver);
    assert!(!is_non_blocking(&own), "after its end");
    drop(own);
    assert_same(&output.finish(), &sent);
}

#[test]
fn stdout_can_be_a_fifo() {
    let dir = Dir::new();
    let path = dir.file("fifo");
    if !output_of(Command::new("mkfifo").arg(&path)).is_ok_and(|output| output.status.success()) {
        return skip("mkfifo makes no fifo here");
    }
    // Opened before the writer, which waits for a reader, and it waits for nobody.
    let reader = Pipe::open(&path);
    let writer = OpenOptions::new().write(true).open(&path).unwrap();
    let output = Collected::from(reader);
    let own = writer.try_clone().unwrap();
    let sent = send_and_stop(Setup::new(&[]).stdout(writer).start());
    assert!(!is_non_blocking(&own));
    drop(own);
    assert_same(&output.finish(), &sent);
}

#[test]
fn stdout_can_be_a_file_and_keeps_what_was_in_it() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::write(&path, "before\n").unwrap();
    let file = OpenOptions::new().append(true).open(&path).unwrap();
    let sent = send_and_stop(Setup::new(&[]).stdout(file).start());
    assert_same(&fs::read(&path).unwrap(), &[b"before\n", &sent[..]].concat());
}

#[test]
fn stdout_can_be_dev_null() {
    send_and_stop(Setup::new(&[]).stdout(Stdio::null()).start());
}

#[test]
fn stdout_can_be_a_socket_and_stays_as_it_was() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let own = theirs.try_clone().unwrap();
    let output = Collected::from(ours);
    let sent = send_and_stop(Setup::new(&[]).stdout(OwnedFd::from(theirs)).start());
    assert!(!is_non_blocking(&own));
    drop(own);
    assert_same(&output.finish(), &sent);
}

#[test]
fn stdout_can_be_a_terminal() {
    let dir = Dir::new();
    let (pid_path, log_path) = (dir.file("pid"), dir.file("log"));
    let command = format!("echo $$ >'{pid_path}'; exec '{}' --listen 127.0.0.1:0 2>'{log_path}'", under_test());
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &command, "/dev/null"]).env("SHELL", "/bin/sh");
    // When `script` is killed, its terminal goes, and the receiver with it.
    let mut guard = match Guard::spawn(script.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null())) {
        Ok(guard) => guard,
        Err(error) => return skip(&format!("script, which makes a terminal: {error}")),
    };
    let output = Collected::from(guard.0.stdout.take().unwrap());
    let addr = until("its address", || {
        let said = fs::read_to_string(&log_path).unwrap_or_default();
        // Said last, when signals are taken already: one that came before would kill it.
        let is_ready = said.contains("Memory budget");
        said.lines().find_map(listens_at).filter(|_| is_ready).ok_or(said)
    });
    let mut client = connect(addr);
    client.write_all(b"one\ntwo\nthree").unwrap();
    signal(fs::read_to_string(pid_path).unwrap().trim().parse().unwrap(), "TERM");
    assert_eq!(guard.wait(), Some(0), "{}", output.text());
    // A terminal makes CR LF of each newline.
    assert_same(&output.finish(), b"one\r\ntwo\r\nthree\r\n");
}

#[test]
fn p8_a_slow_reader_slows_the_client_and_loses_nothing() {
    let memory_kib = 1024;
    let (receiver, output) = Receiver::start_unread(&["--memory", "1MiB", "--idle-timeout", "0"]);
    let rss_before = receiver.rss_kib();
    let client = receiver.client();
    let mut sent = write_until_held_back(&client);
    let grown = receiver.rss_kib().saturating_sub(rss_before);
    // Beside the budget: the read buffer and pages of code that were not needed before; an emulator translates them too.
    let more = if is_emulated() { 4096 } else { 1024 };
    assert!(grown <= memory_kib + more, "{grown} KiB more with {} bytes on their way", sent.len());
    receiver.assert_rests("while it waits for the reader");
    let collected = output.collect();
    let rest = if sent.ends_with(b"\n") { &b"after\n"[..] } else { b"\nafter\n" };
    (&client).write_all(rest).unwrap();
    sent.extend_from_slice(rest);
    receiver.stop().assert_clean();
    assert_same(&collected.finish(), &sent);
}

#[test]
fn p8_a_reader_that_takes_a_little_at_a_time_gets_every_byte() {
    let (receiver, mut output) = Receiver::start_unread(&["--memory", "1MiB"]);
    let client = receiver.client();
    let mut sent = write_until_held_back(&client);
    let mut read = Vec::new();
    for size in [1, 100, 4095, 4096, 4097, 70_000, 1_000_000] {
        let mut part = vec![0; size];
        output.read_exact(&mut part).unwrap();
        read.extend(part);
    }
    let collected = output.collect();
    receiver.stop().assert_clean();
    read.extend(collected.finish());
    if !sent.ends_with(b"\n") {
        sent.push(b'\n');
    }
    assert_same(&read, &sent);
}

#[test]
fn p13_a_reader_that_is_gone_ends_it_with_a_sentence() {
    let (receiver, output) = Receiver::start_unread(&[]);
    let mut client = receiver.client();
    client.write_all(b"one\n").unwrap();
    let mut output = BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    drop(output);
    // No line has to come: the pipe itself tells.
    let ended = receiver.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.starts_with("lumberjack: cannot write to stdout any more: its reader is gone"), "{last}");
}

#[test]
fn p13_a_reader_that_goes_while_much_waits_ends_it_with_what_is_lost() {
    let (receiver, output) = Receiver::start_unread(&[]);
    let client = receiver.client();
    write_until_held_back(&client);
    drop(output);
    let ended = receiver.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    let (_, after) = last.split_once(", ").unwrap();
    let lost: u64 = after.split_once(" bytes of lines are lost").unwrap().0.parse().unwrap();
    assert!(last.starts_with("lumberjack: cannot write to stdout any more") && lost > 0, "{last}");
}

#[test]
fn p13_cat_without_a_stdout_is_a_sentence_and_exit_1() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::write(&path, "a line\n").unwrap();
    let ended = Setup::new(&["cat", &path]).redirect(">&-").run();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.starts_with("lumberjack: cannot write to stdout: it is closed"), "{}", ended.stderr);
}

#[test]
fn p13_a_stdout_that_takes_nothing_at_the_start_is_a_sentence_and_exit_1() {
    for (redirect, words) in [(">&-", "closed"), ("</dev/null 1</dev/zero", "open to read only; redirect it with >")] {
        let mut setup = Setup::new(&["--listen", "127.0.0.1:0"]).redirect(redirect);
        let mut guard = setup.spawn(Stdio::piped());
        let stderr = Collected::from(guard.0.stderr.take().unwrap());
        // Lines would vanish if it went on: it is to end before it takes any.
        let code = until("an end, and no start", || match guard.0.try_wait().unwrap() {
            Some(status) => Ok(status.code()),
            None => {
                let said = stderr.text();
                assert!(!said.contains("Memory budget"), "it started, and lines would go nowhere: {said}");
                Err(said)
            }
        });
        let said = String::from_utf8(stderr.finish()).unwrap();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with("lumberjack: ") && said.matches('\n').count() == 1, "{said}");
        assert!(said.contains("stdout") && said.contains(words), "it says what and what to do: {said}");
    }
}
