//! Hostile clients: resets at every phase, a flood, a host that hoards or drips (P2, P5, P7, P9, P14).

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::common::patience::{Enough, Pipe};
use crate::support::conditions::{
    assert_numbered, may_open, read_close, read_goodbye, reset, until_equal, write_until_held_back,
};
use crate::support::receiver::Receiver;

const HOARDER: u8 = 2;
const NEIGHBOUR: u8 = 3;

#[test]
fn p7_a_reset_before_any_byte_leaves_nothing() {
    let receiver = Receiver::start(&[]);
    let base = receiver.fds();
    (0..50).for_each(|_| reset(receiver.client()));
    // Taken in order: when this one's line is here, all before it have come in.
    receiver.client().write_all(b"next\n").unwrap();
    receiver.until_lines(&["next"]);
    receiver.until_fds(base);
    receiver.stop().assert_clean();
}

#[test]
fn p2_what_came_before_a_reset_is_in_the_output() {
    for (sent, wanted) in
        [(&b"half"[..], &["half"][..]), (b"whole\n", &["whole"]), (b"one\ntwo\nhal", &["one", "two", "hal"])]
    {
        let receiver = Receiver::start(&[]);
        let base = receiver.fds();
        let mut client = receiver.client();
        client.write_all(sent).unwrap();
        reset(client);
        receiver.until_lines(wanted);
        receiver.until_fds(base);
        receiver.client().write_all(b"next\n").unwrap();
        receiver.until_lines(&[wanted, &["next"]].concat());
        receiver.stop().assert_clean();
    }
}

#[test]
fn p2_what_came_between_our_goodbye_and_a_reset_is_in_the_output() {
    let receiver = Receiver::start(&["--idle-timeout", "100ms"]);
    let base = receiver.fds();
    let mut client = receiver.client();
    read_goodbye(&client);
    client.write_all(b"late\nhalf").unwrap();
    reset(client);
    receiver.until_lines(&["late", "half"]);
    reset(receiver.client());
    receiver.until_fds(base);
    receiver.stop().assert_clean();
}

#[test]
fn p11_what_came_before_a_reset_during_the_drain_is_in_the_output() {
    let receiver = Receiver::start(&[]);
    let (mut client, stays) = (receiver.client(), receiver.client());
    receiver.signal("TERM");
    read_goodbye(&client);
    client.write_all(b"late\nhalf").unwrap();
    reset(client);
    let ended = receiver.wait();
    ended.assert_clean();
    assert_eq!(ended.lines(), ["late", "half"]);
    drop(stays);
}

#[test]
fn p8_a_reset_while_the_output_is_blocked_ends_nothing_and_doubles_nothing() {
    let (receiver, output) = Receiver::start_unread(&[]);
    let base = receiver.fds();
    let client = receiver.client();
    let sent = write_until_held_back(&client);
    reset(client);
    let collected = output.collect();
    receiver.until_fds(base);
    receiver.client().write_all(b"next\n").unwrap();
    receiver.stop().assert_clean();
    let output = collected.finish();
    // The reset threw away what the client's own kernel still held; what arrived is a start of what was sent.
    let got = output.strip_suffix(b"\nnext\n").expect("the next client's line, last");
    assert!(!got.is_empty() && sent.starts_with(got), "{} bytes of {} that are not its start", got.len(), sent.len());
}

#[test]
fn a_client_that_half_closes_and_waits_gets_our_fin() {
    let receiver = Receiver::start(&[]);
    let base = receiver.fds();
    let mut client = receiver.client();
    client.write_all(b"all I have").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    read_goodbye(&client);
    receiver.until_lines(&["all I have"]);
    receiver.until_fds(base);
    receiver.stop().assert_clean();
}

#[test]
fn p9_a_flood_delays_no_neighbour_and_both_lose_nothing() {
    let (receiver, output) = Receiver::start_unread(&[]);
    let is_over = AtomicBool::new(false);
    let others = Mutex::new(Vec::new());
    let (slow, flood) = (receiver.client(), receiver.client());
    std::thread::scope(|scope| {
        // The flood has to end for the test to fail.
        let enough = Enough(&is_over);
        let reader = scope.spawn(|| check_flood(output, &others));
        let flooding = scope.spawn(|| write_flood(flood, &is_over));
        for number in 0..50 {
            // The input: a client that has a line every 20 ms.
            std::thread::sleep(Duration::from_millis(20));
            (&slow).write_all(format!("slow {number}\n").as_bytes()).unwrap();
        }
        until_equal("the slow one's lines, while the flood goes on", &50, || others.lock().unwrap().len());
        drop(enough);
        let flooded = flooding.join().unwrap();
        drop(slow);
        receiver.stop().assert_clean();
        assert_eq!(reader.join().unwrap(), flooded, "lines of the flood");
        assert_numbered(&others.lock().unwrap(), "slow", 50);
        assert!(flooded > 1_000, "it was no flood: {flooded} lines");
    });
}

/// Lines of the flood, which begin anew after the last.
const FLOOD_LINES: usize = 1_000;

/// Long, so that neither the writer nor the reader of the flood is what limits it.
fn flood_line(number: usize) -> String {
    format!("flood {:01000}\n", number % FLOOD_LINES)
}

/// Numbered lines at full speed, as long as it lasts; gives how many there were.
fn write_flood(mut flood: TcpStream, is_over: &AtomicBool) -> usize {
    let block: String = (0..FLOOD_LINES).map(flood_line).collect();
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        flood.write_all(block.as_bytes()).unwrap();
        count += FLOOD_LINES;
    }
    count
}

/// Checks the flood's lines as they come, since they are too many to keep; gives how many there were.
fn check_flood(output: Pipe, others: &Mutex<Vec<String>>) -> usize {
    let mut output = BufReader::with_capacity(64 * 1024, output);
    let wanted: Vec<String> = (0..FLOOD_LINES).map(flood_line).collect();
    let (mut line, mut count) = (Vec::new(), 0);
    while output.read_until(b'\n', &mut line).unwrap() > 0 {
        if line.starts_with(b"flood ") {
            let wanted = &wanted[count % FLOOD_LINES];
            assert!(line == wanted.as_bytes(), "{} instead of {wanted:?}", line.escape_ascii());
            count += 1;
        } else {
            others.lock().unwrap().push(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
        }
        line.clear();
    }
    count
}

/// A line of 90 KiB that begins with its number.
fn long_line(number: usize) -> Vec<u8> {
    let mut line = format!("neighbour {number} ").into_bytes();
    line.resize(90 * 1024, b'n');
    line.push(b'\n');
    line
}

/// The neighbour sends line `number`, in pieces, so that most of it has to be held.
fn send_long_line(neighbour: &mut TcpStream, number: usize) {
    let line = long_line(number);
    for piece in line.chunks(20_000) {
        neighbour.write_all(piece).unwrap();
    }
}

fn assert_long_lines(receiver: &Receiver, count: usize) {
    let is_neighbours = |line: &String| line.starts_with("neighbour ");
    // Whole ones: the last may be on its way through the pipe.
    let is_whole = |line: &String| is_neighbours(line) && line.len() >= 90 * 1024;
    until_equal("all lines of the neighbour", &count, || receiver.lines().into_iter().filter(is_whole).count());
    for (number, line) in receiver.lines().iter().filter(|line| is_neighbours(line)).enumerate() {
        let wanted = String::from_utf8(long_line(number)).unwrap();
        assert!(*line == wanted.trim_end(), "line {number} is {} bytes: {:?}", line.len(), &line[..line.len().min(60)]);
    }
}

#[test]
fn p14_a_host_that_hoards_loses_its_own_lines_and_no_neighbours() {
    if !may_open(1_500) {
        return;
    }
    let receiver = Receiver::start(&["--memory", "4MiB"]);
    let mut neighbour = receiver.client_from(NEIGHBOUR);
    let hoard = vec![b'x'; 66 * 1024];
    let mut hoarders = Vec::new();
    for number in 0..50 {
        for _ in 0..10 {
            let mut hoarder = receiver.client_from(HOARDER);
            hoarder.write_all(&hoard).unwrap();
            hoarders.push(hoarder);
        }
        send_long_line(&mut neighbour, number);
    }
    assert_long_lines(&receiver, 50);
    // Its share of places is used up: one more is turned away, and the neighbour is not.
    read_close(&receiver.client_from(HOARDER));
    receiver.until_said("[tcp] Host 127.0.0.2 has 500 connections already");
    let said = receiver.said();
    assert!(said.contains("[tcp] Memory budget used up, dropping the unfinished line of 127.0.0.2:"), "{said}");
    assert!(!said.contains("unfinished line of 127.0.0.3:"), "{said}");
    drop(hoarders);
    receiver.stop().assert_clean();
}

#[test]
fn p14_a_host_that_drips_loses_its_own_lines_and_no_neighbours() {
    if !may_open(1_500) {
        return;
    }
    let receiver = Receiver::start(&["--memory", "1MiB"]);
    let mut neighbour = receiver.client_from(NEIGHBOUR);
    let hoarders: Vec<TcpStream> = (0..500).map(|_| receiver.client_from(HOARDER)).collect();
    // First as much as fits, then a byte at a time.
    for mut hoarder in &hoarders {
        hoarder.write_all(&[b'x'; 2_000]).unwrap();
    }
    for number in 0..40 {
        for mut hoarder in &hoarders {
            hoarder.write_all(b"x").unwrap();
        }
        send_long_line(&mut neighbour, number);
    }
    assert_long_lines(&receiver, 40);
    assert!(!receiver.said().contains("unfinished line of 127.0.0.3:"), "{}", receiver.said());
    drop(hoarders);
    receiver.stop().assert_clean();
}
