//! The lossless goodbye: who was told goodbye, or met a full house, and never looks at its socket before it writes,
//! loses nothing (P6, P10, P11).

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::limits::lower_free_descriptors_to;
use crate::common::patience::Enough;
use crate::support::conditions::{assert_numbered, assert_same, read_goodbye, until_equal, write_until_held_back};
use crate::support::receiver::Receiver;

/// Writes each line with a write of its own, and never reads.
fn write_lines(mut client: &TcpStream, name: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        client.write_all(format!("{name} {number}\n").as_bytes()).unwrap();
    }
}

fn peer(client: &TcpStream) -> String {
    client.local_addr().unwrap().to_string()
}

#[test]
fn p6_who_was_told_goodbye_and_does_not_look_loses_nothing() {
    let receiver = Receiver::start(&["--idle-timeout", "100ms"]);
    let base = receiver.fds();
    let client = receiver.client();
    write_lines(&client, "c", 0..1);
    receiver.until_said(&format!("[tcp] Socket timeout on {}, closing connection", peer(&client)));
    write_lines(&client, "c", 1..1_000);
    (&client).write_all(b"c 1000").unwrap();
    drop(client);
    until_equal("all lines", &1_001, || receiver.lines().len());
    assert_numbered(&receiver.lines(), "c", 1_001);
    receiver.until_fds(base);
    assert_eq!(receiver.said().matches("[tcp] Socket timeout").count(), 1, "{}", receiver.said());
    receiver.stop().assert_clean();
}

#[test]
fn p10_who_met_a_full_house_and_does_not_look_loses_nothing() {
    let receiver = Receiver::start(&["--max-connections", "2", "--max-per-host", "0"]);
    let base = receiver.fds();
    let inside = [receiver.client(), receiver.client()];
    receiver.until_fds(base + 2);
    let outside: Vec<TcpStream> = (0..4).map(|_| receiver.client()).collect();
    for (name, client) in outside.iter().enumerate() {
        write_lines(client, &format!("c{name}"), 0..500);
    }
    receiver.until_said("new clients wait");
    assert!(receiver.lines().is_empty());
    drop(inside);
    // Two of them have places now, and the others wait still; the end takes them too.
    until_equal("the lines of two", &1_000, || receiver.lines().len());
    let ended = receiver.stop();
    ended.assert_clean();
    (0..4).for_each(|name| assert_numbered(&ended.lines(), &format!("c{name}"), 500));
    drop(outside);
}

#[test]
fn p11_who_waits_when_it_stops_is_taken_in_within_the_limit_as_places_become_free() {
    const WAIT: usize = 60;
    let args = ["--max-connections", "4", "--max-per-host", "0", "--log-level", "debug"];
    let receiver = Receiver::start(&args);
    let base = receiver.fds();
    // Who is inside does not leave, nor looks at its socket.
    let inside: Vec<TcpStream> = (0..4).map(|_| receiver.client()).collect();
    receiver.until_fds(base + 4);
    let outside: Vec<TcpStream> = (0..WAIT).map(|_| receiver.client()).collect();
    for (name, client) in outside.iter().enumerate() {
        write_lines(client, &format!("c{name}"), 0..50);
    }
    receiver.until_said("new clients wait");
    let ended = receiver.stop();
    ended.assert_clean();
    (0..WAIT).for_each(|name| assert_numbered(&ended.lines(), &format!("c{name}"), 50));
    let connected = ended.stderr.lines().filter(|line| line.contains("[tcp] Socket connected: "));
    let active = connected.filter_map(|line| line.rsplit_once("(active: ")?.1.strip_suffix(')')?.parse().ok());
    let most: usize = active.max().unwrap();
    // One more for a moment: somebody is closed for it.
    assert!(most <= 5, "{most} connections at once");
    drop((inside, outside));
}

#[test]
fn p11_who_cannot_be_taken_in_at_the_end_for_want_of_a_descriptor_is_told_of_and_it_is_no_clean_end() {
    let receiver = Receiver::start(&[]);
    lower_free_descriptors_to(&receiver, 0);
    let client = receiver.client();
    write_lines(&client, "c", 0..1);
    receiver.until_said("[tcp] Cannot accept: ");
    let ended = receiver.stop();
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("lumberjack: clients that waited could not be taken in: "), "{}", ended.stderr);
    assert!(last.contains("raise the limit on open files"), "{last}");
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

#[test]
fn p11_who_writes_on_while_it_stops_and_does_not_look_loses_nothing() {
    let receiver = Receiver::start(&[]);
    let clients: Vec<TcpStream> = (0..4).map(|_| receiver.client()).collect();
    let is_enough = AtomicBool::new(false);
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let write_on = |(name, client): (usize, &TcpStream)| {
            let mut count = 0;
            while !is_enough.load(Ordering::Relaxed) {
                write_lines(client, &format!("c{name}"), count..count + 10);
                count += 10;
            }
            // Some more, without a pause, and the last without a newline; the client stays connected.
            write_lines(client, &format!("c{name}"), count..count + 200);
            let mut client = client;
            write!(client, "c{name} {}", count + 200).unwrap();
            count + 201
        };
        let enough = Enough(&is_enough);
        let writers: Vec<_> = clients.iter().enumerate().map(|place| scope.spawn(move || write_on(place))).collect();
        until_equal("lines from all", &true, || receiver.lines().len() > 1_000);
        receiver.signal("TERM");
        receiver.until_said("[tcp] Stopping server, closing 4 active socket(s)");
        drop(enough);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let ended = receiver.wait();
    ended.assert_clean();
    let lines = ended.lines();
    for (name, count) in counts.into_iter().enumerate() {
        assert_numbered(&lines, &format!("c{name}"), count);
    }
    clients.iter().for_each(read_goodbye);
}

#[test]
fn p6_nobody_is_evicted_while_the_output_is_blocked() {
    const IDLE: Duration = Duration::from_secs(2);
    let begun = Instant::now();
    let (receiver, output) = Receiver::start_unread(&["--idle-timeout", "2s"]);
    let [flooding, quiet, silent] = [(); 3].map(|()| receiver.client());
    let mut sent = write_until_held_back(&flooding);
    // In the kernel, where the server can't see it.
    (&quiet).write_all(b"in flight\n").unwrap();
    let read_before = begun.elapsed();
    // More than the time-out: a measurement, in which nothing is to happen.
    std::thread::sleep(IDLE + IDLE / 4);
    assert!(!receiver.said().contains("Socket timeout"), "while the output is blocked: {}", receiver.said());
    let resumed = Instant::now();
    let collected = output.collect();
    // Even the one that has nothing to say was not idle for as long as nobody read.
    receiver.until_said(&format!("[tcp] Socket timeout on {}", peer(&silent)));
    let left = IDLE.saturating_sub(read_before);
    assert!(resumed.elapsed() >= left, "{:?} after the output went on, {left:?} were left", resumed.elapsed());
    let rest = if sent.ends_with(b"\n") { &b"end\n"[..] } else { b"\nend\n" };
    (&flooding).write_all(rest).unwrap();
    sent.extend_from_slice(rest);
    receiver.stop().assert_clean();
    let text = String::from_utf8(collected.finish()).unwrap();
    assert_eq!(text.matches("in flight\n").count(), 1);
    assert_same(text.replacen("in flight\n", "", 1).as_bytes(), &sent);
}

/// Two that linger, the first the longer, each with a line that nobody has read yet when the third comes.
fn two_who_linger(receiver: &Receiver) -> [TcpStream; 2] {
    [(); 2].map(|()| {
        let client = receiver.client();
        read_goodbye(&client);
        client
    })
}

/// The peers whose connections are gone, in order.
fn cleaned_up(receiver: &Receiver) -> Vec<String> {
    let said = receiver.said();
    let peers = said.lines().filter_map(|line| line.split_once("[tcp] Socket cleaned up: "));
    peers.map(|(_, rest)| rest.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn p6_those_who_linger_give_way_to_new_clients_the_oldest_first() {
    let args = ["--idle-timeout", "100ms", "--max-connections", "2", "--max-per-host", "0", "--log-level", "debug"];
    let receiver = Receiver::start(&args);
    let [first, second] = two_who_linger(&receiver);
    // Who spoke last gives way last, so each is heard before the next speaks.
    write_lines(&first, "first", 0..1);
    receiver.until_lines(&["first 0"]);
    write_lines(&second, "second", 0..1);
    receiver.until_lines(&["first 0", "second 0"]);
    let third = receiver.client();
    write_lines(&third, "third", 0..1);
    until_equal("the oldest gave way", &vec![peer(&first)], || cleaned_up(&receiver));
    write_lines(&second, "second", 1..2);
    until_equal("the lines of all", &4, || receiver.lines().len());
    let fourth = receiver.client();
    write_lines(&fourth, "fourth", 0..1);
    until_equal("the next gave way", &vec![peer(&first), peer(&second)], || cleaned_up(&receiver));
    let ended = receiver.stop();
    ended.assert_clean();
    for (name, count) in [("first", 1), ("second", 2), ("third", 1), ("fourth", 1)] {
        assert_numbered(&ended.lines(), name, count);
    }
}

#[test]
fn p6_those_who_linger_give_way_when_no_descriptor_is_free_the_oldest_first() {
    let receiver = Receiver::start(&["--idle-timeout", "100ms", "--log-level", "debug"]);
    let [first, second] = two_who_linger(&receiver);
    lower_free_descriptors_to(&receiver, 0);
    write_lines(&first, "first", 0..1);
    receiver.until_lines(&["first 0"]);
    write_lines(&second, "second", 0..1);
    receiver.until_lines(&["first 0", "second 0"]);
    let third = receiver.client();
    write_lines(&third, "third", 0..1);
    until_equal("the oldest gave way", &Some(peer(&first)), || cleaned_up(&receiver).first().cloned());
    until_equal("the lines of all", &3, || receiver.lines().len());
    assert!(!receiver.said().contains("Cannot accept"), "{}", receiver.said());
    receiver.stop().assert_clean();
}

#[test]
fn p6_no_more_of_those_who_linger_give_way_than_have_to() {
    let receiver = Receiver::start(&["--idle-timeout", "100ms", "--log-level", "debug"]);
    let [first, second] = two_who_linger(&receiver);
    lower_free_descriptors_to(&receiver, 0);
    let third = receiver.client();
    write_lines(&third, "third", 0..1);
    receiver.until_lines(&["third 0"]);
    // Trap: `accept` without a free descriptor says EMFILE even if nobody waits.
    write_lines(&second, "second", 0..1);
    receiver.until_lines(&["third 0", "second 0"]);
    assert_eq!(cleaned_up(&receiver), [peer(&first)], "one came, one gave way");
    receiver.stop().assert_clean();
}
