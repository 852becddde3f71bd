//! The status endpoint beside those who log, in one thread: what its visitors hold and what lines hold stay within the
//! one budget (P5), and who logs comes first (P9). `World` checks every invariant after each turn.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lumberjack::{BindError, Limits, ListenAddr};

use super::client::Client;
use super::common::patience::connect;
use super::valve::Flow;
use super::world::{World, send};

const MEMORY: usize = 1 << 20;

fn tight() -> Limits {
    Limits { max_line: 8 * 1024, max_buffer: 16 * 1024, memory: MEMORY, max_per_host: Some(0), ..Limits::default() }
}

/// A world with a status endpoint, and where that is.
fn world(limits: Limits) -> (World, ListenAddr) {
    let mut world = World::new(limits);
    let at = world.server.serve_status(&"127.0.0.1:0".parse().unwrap(), true).unwrap();
    (world, at)
}

fn visitor(at: &ListenAddr) -> TcpStream {
    let ListenAddr::Tcp(addr) = at else { panic!("{at}") };
    let visitor = connect(*addr);
    visitor.set_nonblocking(true).unwrap();
    visitor
}

fn ask(mut visitor: &TcpStream, target: &str) {
    visitor
        .write_all(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n").as_bytes())
        .unwrap();
}

/// What has come so far.
fn read(mut visitor: &TcpStream) -> Vec<u8> {
    let (mut all, mut chunk) = (Vec::new(), [0; 64 * 1024]);
    loop {
        match visitor.read(&mut chunk) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Turns until the visitor has got something, and gives that.
fn answer(world: &mut World, visitor: &TcpStream) -> String {
    let mut all = Vec::new();
    for _ in 0..2000 {
        all.extend(read(visitor));
        if !all.is_empty() {
            return String::from_utf8_lossy(&all).into_owned();
        }
        world.turn(Duration::from_millis(5)).unwrap();
    }
    panic!("no answer: {:?}", world.status());
}

#[test]
fn p5_visitors_and_lines_together_stay_within_the_budget() {
    let (mut world, at) = world(tight());
    world.valve.set(Flow::Shut);
    let mut hoard: Vec<Client> = (0..200).map(|_| world.client_of([127, 0, 0, 2])).collect();
    // Those who never read what they asked for, and those who never end their request.
    let watch: Vec<TcpStream> = (0..8).map(|_| visitor(&at)).collect();
    watch.iter().for_each(|visitor| ask(visitor, "/tail"));
    let half = format!("GET /{} HTTP/1.1\r\nX: {}", "a".repeat(4000), "x".repeat(4000));
    let slow: Vec<TcpStream> = (0..4).map(|_| visitor(&at)).collect();
    slow.iter().for_each(|mut visitor| visitor.write_all(half.as_bytes()).unwrap());
    let asks: Vec<TcpStream> = (0..4).map(|_| visitor(&at)).collect();
    for round in 0..30 {
        for client in hoard.iter_mut().skip(round % 7).step_by(7) {
            send(client, &[b"line\x01\n".repeat(40).as_slice(), &[b'x'; 7000]].concat());
        }
        asks.iter().for_each(|visitor| ask(visitor, ["/diagnostics", "/", "/metrics"][round % 3]));
        for _ in 0..20 {
            world.turn(Duration::from_millis(2)).unwrap();
        }
        asks.iter().for_each(|visitor| drop(read(visitor)));
        if round == 15 {
            world.valve.set(Flow::Open);
        }
    }
    let gauges = world.status().gauges;
    assert!(gauges.pending_bytes > MEMORY as u64 / 3, "there was a need: {gauges:?}");
    assert!(world.status().counters.dropped_for_budget > 0, "{:?}", world.status());
    drop((hoard, watch, slow));
    let last = visitor(&at);
    ask(&last, "/healthz");
    assert!(answer(&mut world, &last).ends_with("\r\n\r\nok\n"));
    world.stop().unwrap();
}

#[test]
fn p5_what_visitors_may_hold_is_given_up_for_good() {
    let (mut world, at) = world(Limits { max_connections: 2000, ..tight() });
    // After a crowd the tables are made anew.
    let crowd: Vec<Client> = (0..1100).map(|_| world.client()).collect();
    world.until("a crowd", |world| world.status().active_connections == 1100);
    drop(crowd);
    world.until("all are gone", |world| world.status().active_connections == 0);
    // Asking again for a place does not give up more.
    let again = world.server.serve_status(&"127.0.0.1:0".parse().unwrap(), true).unwrap();
    assert_ne!(again, at);
    let mut hoard: Vec<Client> = (0..150).map(|_| world.client()).collect();
    hoard.iter_mut().for_each(|client| send(client, &[b'x'; 8000]));
    world.until("all is read", |world| world.status().counters.bytes == 150 * 8000);
    // Checked after each turn, all together keep within the budget; and nearly all of it is used.
    let pending = usize::try_from(world.status().gauges.pending_bytes).unwrap();
    assert!((MEMORY / 4..MEMORY - 256 * 1024).contains(&pending), "{pending}");
    world.stop().unwrap();
}

#[test]
fn p5_a_budget_without_room_for_visitors_is_refused_and_the_least_that_is_named_works() {
    let limits = |memory| Limits { memory, ..tight() };
    let mut world = World::new(limits(100 * 1024));
    let error = world.server.serve_status(&"127.0.0.1:0".parse().unwrap(), true).unwrap_err();
    assert!(matches!(error, BindError::Config(_)), "{error:?}");
    let sentence = error.to_string();
    let least = sentence.split("give at least ").nth(1).unwrap().split("KiB").next().unwrap();
    let least: usize = least.parse().unwrap();
    let mut world = World::new(limits(least * 1024));
    world.server.serve_status(&"127.0.0.1:0".parse().unwrap(), true).unwrap();
    world.turn(Duration::ZERO).unwrap();
    let mut longest = world.client();
    world.send_and_wait(&mut longest, &[b'x'; 8 * 1024]);
    assert_eq!(world.status().counters.dropped_for_budget, 0, "a line of the longest kind still fits");
}

#[test]
fn p9_visitors_wait_for_their_pass_while_lines_do_not() {
    let (mut world, at) = world(Limits::default());
    let (ask_all, mut client) = (visitor(&at), world.taken_client());
    let many = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    (&ask_all).write_all(many.as_bytes()).unwrap();
    let mut turns = 0;
    for number in 0..200 {
        send(&mut client, b"line\n");
        while world.valve.lines().len() == number && turns < 1000 {
            world.turn(Duration::from_millis(50)).unwrap();
            turns += 1;
        }
    }
    let answers = String::from_utf8_lossy(&read(&ask_all)).matches("HTTP/1.1 200 OK").count();
    assert!(turns < 1000, "{turns} turns for 200 lines");
    // However many are asked for, one comes with each pass; the lines took a moment.
    assert!(answers < 60, "{answers} answers");
    world.stop().unwrap();
}

#[test]
fn p11_when_the_server_has_stopped_its_place_is_free() {
    let (mut world, at) = world(Limits::default());
    let keeps = visitor(&at);
    ask(&keeps, "/healthz");
    assert!(answer(&mut world, &keeps).starts_with("HTTP/1.1 200"));
    world.stop().unwrap();
    // Though somebody still holds the server.
    let ListenAddr::Tcp(addr) = at else { panic!("{at}") };
    drop(std::net::TcpListener::bind(addr).unwrap());
    assert_eq!((&keeps).read(&mut [0; 1]).unwrap(), 0);
}
