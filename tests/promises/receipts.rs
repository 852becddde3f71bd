//! `--receipt`: who half-closes is told how many of its lines are written, and never before they are.

use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use lumberjack::{Limits, MemorySink, Server, Turn};

use super::capture::said;
use super::client::Client;
use super::common::patience::connect;
use super::common::skip::not_here;
use super::valve::Flow;
use super::world::{World, is_told_goodbye, name, reset, send};

fn receipts() -> Limits {
    Limits { receipt: true, max_per_host: Some(0), ..Limits::default() }
}

/// Sends bytes and our end; the answer can still be read.
fn ask(client: &Client, bytes: &[u8]) {
    std::io::Write::write_all(&mut &*client, bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
}

/// What has come so far, and whether the server has closed.
fn answer(client: &Client) -> (String, bool) {
    client.set_nonblocking(true).unwrap();
    let (mut text, mut chunk) = (String::new(), [0; 64]);
    loop {
        match (&*client).read(&mut chunk) {
            Ok(0) => return (text, true),
            Ok(count) => text.push_str(std::str::from_utf8(&chunk[..count]).unwrap()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (text, false),
            Err(error) => panic!("{error} after {text:?}"),
        }
    }
}

fn is_silent(client: &Client) -> bool {
    answer(client) == (String::new(), false)
}

/// Turns until the server has closed, and gives all that it said.
fn last_answer(world: &mut World, client: &Client) -> String {
    let begun = Instant::now();
    let mut text = String::new();
    loop {
        let (more, is_closed) = answer(client);
        text += &more;
        if is_closed {
            return text;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no end after {text:?}: {:?}", world.status());
        world.turn(Duration::from_millis(5)).unwrap();
    }
}

fn until_waiting(world: &mut World, bytes: u64) {
    world.until("the lines wait for the sink", |world| world.status().gauges.sink_waiting_bytes == bytes);
}

#[test]
fn receipt_comes_when_the_lines_are_written_and_not_before() {
    let mut world = World::new(receipts());
    world.valve.set(Flow::Shut);
    let client = world.client();
    ask(&client, b"one\n\ntwo\nthe last has no end");
    until_waiting(&mut world, 28);
    assert_eq!(world.status().counters.unterminated, 1, "the last line counts at once (P2)");
    for _ in 0..20 {
        world.turn(Duration::from_millis(5)).unwrap();
        assert!(is_silent(&client), "a receipt for what is not written");
    }
    world.valve.set(Flow::Open);
    assert_eq!(last_answer(&mut world, &client), "3 lines\n");
    assert_eq!(world.texts(), ["one", "two", "the last has no end"]);
    assert_eq!(world.status().active_connections, 0);
}

#[test]
fn receipt_of_a_sink_that_does_not_count_waits_until_nothing_waits() {
    let mut world = World::new(receipts());
    world.valve.forget_to_count();
    world.valve.set(Flow::Shut);
    let client = world.client();
    ask(&client, b"one\n");
    until_waiting(&mut world, 4);
    world.turn(Duration::from_millis(20)).unwrap();
    assert!(is_silent(&client), "a receipt for what is not written");
    world.valve.set(Flow::Open);
    assert_eq!(last_answer(&mut world, &client), "1 lines\n");
}

#[test]
fn receipt_does_not_wait_for_lines_that_came_later() {
    let mut world = World::new(receipts());
    world.valve.set(Flow::Shut);
    let first = world.taken_client();
    ask(&first, b"aaa\n");
    until_waiting(&mut world, 4);
    let second = world.taken_client();
    ask(&second, b"bbb\n");
    until_waiting(&mut world, 8);
    world.valve.set(Flow::Slow(4));
    world.until("the first line is written", |world| world.texts() == ["aaa"]);
    world.valve.set(Flow::Shut);
    assert_eq!(answer(&first), ("1 lines\n".to_owned(), true));
    world.turn(Duration::from_millis(20)).unwrap();
    assert!(is_silent(&second));
    world.valve.set(Flow::Open);
    assert_eq!(last_answer(&mut world, &second), "1 lines\n");
}

#[test]
fn receipt_counts_what_went_to_the_output() {
    let mut world = World::new(Limits { max_line: 8, max_buffer: 16, keep_empty: false, ..receipts() });
    for (sent, answer) in [
        (&b""[..], "0 lines\n"),
        (b"\n\r\n\n", "0 lines\n"),
        (b"123456789\nok\r\n", "1 lines\n"),
        (b"123456789", "0 lines\n"),
        (b"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11", "11 lines\n"),
    ] {
        let client = world.client();
        ask(&client, sent);
        assert_eq!(last_answer(&mut world, &client), answer, "to {}", sent.escape_ascii());
    }
    assert_eq!(world.status().counters.probes, 1, "one without a byte");
    assert_eq!(world.texts().len(), 12);
}

#[test]
fn receipt_is_not_given_unasked() {
    let mut world = World::new(Limits::default());
    let client = world.client();
    ask(&client, b"one\n");
    assert_eq!(last_answer(&mut world, &client), "");
}

#[test]
fn receipt_is_not_given_by_a_sink_in_doubt() {
    let mut world = World::new(receipts());
    let (mut before, after) = (world.taken_client(), world.taken_client());
    send(&mut before, b"one\n");
    world.until_lines(&["one"]);
    world.valve.doubt();
    ask(&before, b"two\n");
    ask(&after, b"three\n");
    assert_eq!(last_answer(&mut world, &before), "", "its first line may be lost");
    assert_eq!(last_answer(&mut world, &after), "1 lines\n");
    world.valve.set(Flow::Shut);
    let waits = world.taken_client();
    ask(&waits, b"four\n");
    until_waiting(&mut world, 5);
    world.valve.doubt();
    assert_eq!(last_answer(&mut world, &waits), "", "it waits no longer, as nothing that comes can help");
    let empty = world.taken_client();
    ask(&empty, b"");
    world.turn(Duration::from_millis(20)).unwrap();
    world.valve.doubt();
    world.turn(Duration::from_millis(20)).unwrap();
    assert!(is_silent(&empty), "of no line there is no doubt");
    world.valve.set(Flow::Open);
    assert_eq!(last_answer(&mut world, &empty), "0 lines\n");
}

#[test]
fn receipt_goes_to_nobody_who_was_told_goodbye() {
    let mut world = World::new(Limits { idle_timeout: Duration::from_millis(30), ..receipts() });
    let client = world.taken_client();
    world.until("our goodbye", |world| world.status().counters.evicted_idle == 1);
    world.until("the FIN", |_| is_told_goodbye(&client));
    ask(&client, b"one\n");
    world.until("it is gone", |world| world.status().active_connections == 0);
    assert_eq!((answer(&client), world.texts()), ((String::new(), true), vec!["one".to_owned()]));
}

#[test]
fn p6_who_waits_for_its_receipt_is_not_idle() {
    let idle_timeout = Duration::from_millis(50);
    let mut world = World::new(Limits { idle_timeout, ..receipts() });
    world.valve.set(Flow::Shut);
    let client = world.client();
    ask(&client, b"one\n");
    until_waiting(&mut world, 4);
    let begun = Instant::now();
    world.until("far more than the time-out", |_| begun.elapsed() > 4 * idle_timeout);
    assert_eq!((world.status().counters.evicted_idle, is_silent(&client)), (0, true));
    world.valve.set(Flow::Open);
    assert_eq!(last_answer(&mut world, &client), "1 lines\n");
}

#[test]
fn p7_who_leaves_without_its_receipt_gives_its_place_back_and_its_lines_stay() {
    let mut world = World::new(receipts());
    world.valve.set(Flow::Shut);
    let stays = world.taken_client();
    ask(&stays, b"stays\n");
    until_waiting(&mut world, 6);
    for round in 1..200 {
        let client = world.client();
        ask(&client, b"left\n");
        until_waiting(&mut world, 6 + 5 * round);
        reset(client);
        world.until("it is gone", |world| world.status().active_connections == 1);
    }
    world.valve.set(Flow::Open);
    assert_eq!(last_answer(&mut world, &stays), "1 lines\n");
    assert_eq!(world.texts().len(), 200);
}

#[test]
fn p8_waiting_to_give_a_receipt_is_no_spin() {
    let mut world = World::new(receipts());
    world.valve.set(Flow::Shut);
    let client = world.client();
    ask(&client, b"one\n");
    until_waiting(&mut world, 4);
    let (begun, mut turns) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_millis(200) {
        world.turn(Duration::from_millis(200)).unwrap();
        turns += 1;
    }
    assert!(turns <= 25, "{turns} turns in 200 ms, though the sink is asked every 10 ms at most");
}

#[test]
fn p10_who_waits_for_its_receipt_keeps_its_place() {
    let limits = Limits { max_connections: 2, idle_timeout: Duration::from_millis(200), ..receipts() };
    let mut world = World::new(limits);
    world.valve.set(Flow::Shut);
    let waits = world.taken_client();
    ask(&waits, b"waits\n");
    until_waiting(&mut world, 6);
    let lingers = world.taken_client();
    world.until("our goodbye", |world| world.status().counters.evicted_idle == 1);
    // The one that lingers gives way to the third; for the fourth there is no place.
    let (third, fourth) = (world.client(), world.client());
    ask(&third, b"third\n");
    ask(&fourth, b"fourth\n");
    until_waiting(&mut world, 12);
    world.until("it has given way", |_| !said(&["[tcp] Socket cleaned up: ", &name(&lingers)]).is_empty());
    world.turn(Duration::from_millis(20)).unwrap();
    assert_eq!((world.status().active_connections, world.status().counters.accepted), (2, 3));
    assert!(is_silent(&waits) && is_silent(&third));
    world.valve.set(Flow::Open);
    for client in [waits, third, fourth] {
        assert_eq!(last_answer(&mut world, &client), "1 lines\n");
    }
}

#[test]
fn p11_who_waits_for_its_receipt_when_the_server_stops_gets_it() {
    let mut world = World::new(receipts());
    world.valve.set(Flow::Shut);
    let client = world.client();
    ask(&client, b"one\n");
    until_waiting(&mut world, 4);
    world.handle.stop();
    let begun = Instant::now();
    world.until("more than the quiet at the end", |_| begun.elapsed() > Duration::from_millis(400));
    assert!(is_silent(&client), "neither a goodbye nor a receipt");
    world.valve.set(Flow::Open);
    world.stop().unwrap();
    assert_eq!(answer(&client), ("1 lines\n".to_owned(), true));
    assert_eq!(world.status().active_connections, 0);
}

#[test]
fn p11_a_sink_that_is_given_up_closes_without_a_receipt() {
    let mut world = World::new(Limits { drain_timeout: Duration::from_millis(60), ..receipts() });
    world.valve.set(Flow::Shut);
    let client = world.client();
    ask(&client, b"lost\n");
    until_waiting(&mut world, 5);
    world.stop().unwrap_err();
    drop(world);
    assert_eq!(answer(&client), (String::new(), true));
}

#[test]
fn p7_a_crowd_gets_its_receipts_at_once_and_leaves_nothing() {
    const CROWD: usize = 3000;
    if rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0) < 2 * CROWD as u64 + 100 {
        return not_here("too few open files are allowed");
    }
    let mut world = World::new(Limits { max_connections: 2 * CROWD, memory: 128 << 20, ..receipts() });
    world.valve.set(Flow::Shut);
    let mut clients = Vec::new();
    for number in 0..CROWD {
        let (client, lines) = (world.client(), 1 + number % 3);
        ask(&client, format!("line {number}\n").repeat(lines).as_bytes());
        clients.push((client, format!("{lines} lines\n")));
        if number % 50 == 0 {
            world.turn(Duration::ZERO).unwrap();
        }
    }
    world.until("all lines", |world| world.status().counters.lines == 2 * CROWD as u64);
    // A third has no patience.
    let mut number = 0;
    clients.retain(|(client, _)| {
        number += 1;
        let stays = number % 3 != 0;
        if !stays {
            reset(client.try_clone().unwrap());
        }
        stays
    });
    let patient = clients.len() as u64;
    world.until("they are gone", |world| world.status().active_connections == patient);
    world.valve.set(Flow::Open);
    // A few at a time, so that others are heard in between.
    world.until("the first are answered", |world| world.status().active_connections < patient);
    assert!(world.status().active_connections >= patient - 256, "all at once: {:?}", world.status());
    let (begun, longest) = (Instant::now(), Duration::from_secs(20));
    while world.status().active_connections > 0 {
        world.turn(longest).unwrap();
        assert!(begun.elapsed() < longest, "a turn waited for events though receipts were due: {:?}", world.status());
    }
    for (client, receipt) in clients {
        assert_eq!(answer(&client), (receipt, true));
    }
    let gauges = world.status().gauges;
    assert_eq!((gauges.pending_bytes, gauges.hosts, gauges.sink_waiting_bytes), (0, 0, 0));
}

#[test]
fn receipt_of_lines_in_memory_comes_at_once() {
    let config =
        lumberjack::Config { limits: receipts(), ..lumberjack::Config::listen("127.0.0.1:0".parse().unwrap()) };
    let mut server = Server::bind(config, MemorySink::new()).unwrap();
    let lumberjack::ListenAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!("no TCP listener") };
    let client = connect(addr);
    let client = Client::plain(client);
    ask(&client, b"one\ntwo\n");
    let begun = Instant::now();
    loop {
        assert_eq!(server.turn(Some(Duration::from_millis(5))).unwrap(), Turn::Running);
        match answer(&client) {
            (text, true) => break assert_eq!(text, "2 lines\n"),
            _ => assert!(begun.elapsed() < Duration::from_secs(20), "no answer"),
        }
    }
}
