//! P26: how much a host may send.

use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use lumberjack::{Config, Limits, Listen, MemorySink, Server};

use super::capture::said;
use super::common::patience::connect_unix;
use super::world::{World, is_told_goodbye, send};

const LOUD: [u8; 4] = [127, 0, 25, 1];
const CALM: [u8; 4] = [127, 0, 25, 2];

/// So many lines, each with its number.
fn numbered(name: &str, count: usize) -> (Vec<u8>, Vec<String>) {
    let lines: Vec<String> = (0..count).map(|number| format!("{name} {number}")).collect();
    (lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect(), lines)
}

#[test]
fn p26_who_sends_more_than_its_rate_is_slowed_and_loses_nothing_and_others_are_not() {
    let mut world = World::listening("0.0.0.0:0,rate=1000,burst=100", Limits::default());
    let (bytes, lines) = numbered("loud", 1500);
    let mut loud = world.client_of(LOUD);
    let begun = Instant::now();
    send(&mut loud, &bytes);
    world.until("it is slowed", |world| world.status().counters.slowed == 1);
    send(&mut world.client_of(CALM), b"calm\n");
    world.until("the other's line", |world| world.texts().contains(&"calm".to_owned()));
    assert!(world.valve.lines().len() < 1200, "it came at once, behind {} lines", world.valve.lines().len());
    world.until("all of it", |world| world.valve.lines().len() == 1501);
    // A hundred at once, and what one read brings beyond that.
    assert!(begun.elapsed() >= Duration::from_millis(1000), "1,500 lines in {:?}", begun.elapsed());
    assert_eq!(world.texts().into_iter().filter(|line| line != "calm").collect::<Vec<_>>(), lines);
    assert_eq!(said(&["Host 127.0.25.1 sends more than 1000 lines/s", "no line is lost", "--rate"]).len(), 1);
    assert_eq!(world.status().counters.slowed, 1, "said once while it lasts");
}

#[test]
fn p26_a_rate_of_bytes_holds_for_all_connections_of_a_host_together_in_turn() {
    let mut world = World::listening("0.0.0.0:0,rate=20KiB,burst=4KiB", Limits::default());
    let mut clients: Vec<_> = (0..3).map(|_| world.client_of([127, 0, 25, 3])).collect();
    let begun = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        send(client, &numbered(&format!("of {number}"), 800).0);
    }
    let count = |world: &World, number: usize| {
        world.texts().iter().filter(|line| line.starts_with(&format!("of {number} "))).count()
    };
    world.until("all of one", |world| (0..3).any(|number| count(world, number) == 800));
    for number in 0..3 {
        assert!(count(&world, number) > 200, "{number} has {} lines", count(&world, number));
    }
    world.until("all", |world| world.valve.lines().len() == 2400);
    let bytes = world.status().counters.bytes;
    let least = Duration::from_millis((bytes - 8 * 1024) * 1000 / (20 * 1024));
    assert!(begun.elapsed() >= least, "{bytes} bytes in {:?}, {least:?} at least", begun.elapsed());
}

#[test]
fn p26_who_is_slowed_is_not_idle_and_the_loop_sleeps_meanwhile() {
    let idle_timeout = Duration::from_millis(100);
    let mut world = World::listening("0.0.0.0:0,rate=1,burst=1", Limits { idle_timeout, ..Limits::default() });
    let mut client = world.client_of([127, 0, 25, 4]);
    send(&mut client, b"one\n");
    world.until_lines(&["one"]);
    send(&mut client, b"two\n");
    world.until("it is slowed", |world| world.status().counters.slowed == 1);
    let (begun, mut turns) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_millis(600) {
        world.turn(Duration::from_millis(100)).unwrap();
        turns += 1;
        assert!(!is_told_goodbye(&client), "it is our silence");
    }
    assert!(turns <= 30, "{turns} turns in which nothing was to do");
    world.until_lines(&["one", "two"]);
    world.until("its own silence", |world| world.status().counters.evicted_idle == 1);
}

#[test]
fn p26_a_host_cannot_begin_anew_with_another_connection() {
    let mut world = World::listening("0.0.0.0:0,rate=1,burst=5", Limits::default());
    let begun = Instant::now();
    // A line each, ended by a newline or by the connection's end.
    for number in 0..8 {
        let mut client = world.client_of([127, 0, 25, 5]);
        send(&mut client, if number % 2 == 0 { b"one\n".as_slice() } else { b"one" });
        drop(client);
    }
    world.until("five", |world| world.valve.lines().len() >= 5);
    world.until("all", |world| world.valve.lines().len() == 8);
    assert!(begun.elapsed() >= Duration::from_millis(1900), "eight of five and one a second in {:?}", begun.elapsed());
}

#[test]
fn p26_a_line_behind_a_proxys_header_waits_for_the_rate_of_the_host_that_it_names() {
    let mut world = World::listening("0.0.0.0:0,proxy,allow=127.0.0.0/8,rate=1,burst=5", Limits::default());
    let begun = Instant::now();
    let mut clients = Vec::new();
    // A header and a line in one piece each; some end right behind it, one comes before its header has ended.
    for number in 0..8 {
        let mut client = world.client();
        send(&mut client, b"PROXY TCP4 192.0.2.60 198.51.100.2 5 ");
        if number == 3 {
            world.turns_for(Duration::from_millis(5));
        }
        send(&mut client, b"6\r\none\n");
        if number < 6 {
            drop(client);
        } else {
            client.shutdown(Shutdown::Write).unwrap();
            clients.push(client);
        }
    }
    world.until("five", |world| world.valve.lines().len() >= 5);
    world.until("all", |world| world.valve.lines().len() == 8);
    assert!(begun.elapsed() >= Duration::from_millis(1900), "eight of five and one a second in {:?}", begun.elapsed());
    world.until("all have left", |world| world.status().active_connections == 0);
    assert_eq!((world.status().counters.proxy_errors, world.status().counters.probes), (0, 0));
}

#[test]
fn p26_the_end_does_not_wait_for_rates() {
    let mut world = World::listening("0.0.0.0:0,rate=10,burst=10", Limits::default());
    let (bytes, lines) = numbered("before the end", 5000);
    let mut client = world.client_of([127, 0, 25, 6]);
    send(&mut client, &bytes);
    drop(client);
    world.until("it is slowed", |world| world.status().counters.slowed == 1);
    let begun = Instant::now();
    world.stop().unwrap();
    assert_eq!(world.texts(), lines);
    assert!(begun.elapsed() < Duration::from_secs(4), "the end took {:?}", begun.elapsed());
}

#[test]
fn p26_who_keeps_to_its_rate_again_is_said_after_a_while() {
    let mut world = World::listening("0.0.0.0:0,rate=100,burst=1", Limits::default());
    let mut client = world.client_of([127, 0, 25, 7]);
    send(&mut client, &numbered("burst", 200).0);
    world.until("all of it", |world| world.valve.lines().len() == 200);
    let end = "Host 127.0.25.7 keeps to 100 lines/s again; it was slowed for ";
    assert_eq!(said(&[end]).len(), 0);
    world.until("it is said", |_| said(&[end]).len() == 1);
}

#[test]
fn p26_clients_of_a_unix_socket_are_one_host() {
    let path = std::env::temp_dir().join(format!("lumberjack-p25-{}.sock", std::process::id()));
    let listen: Listen = format!("unix:{},rate=50,burst=10", path.display()).parse().unwrap();
    let sink = MemorySink::new();
    let config = Config { listen: vec![listen], ..Config::listen("127.0.0.1:0".parse().unwrap()) };
    let mut server = Server::bind(config, sink.clone()).unwrap();
    let mut clients: Vec<_> = (0..2).map(|_| connect_unix(&path).unwrap()).collect();
    let begun = Instant::now();
    for client in &mut clients {
        for _ in 0..100 {
            client.write_all(b"a line that is longer than a few bytes, so that one read does not bring all\n").unwrap();
        }
    }
    while sink.lines().len() < 200 && begun.elapsed() < Duration::from_secs(60) {
        server.turn(Some(Duration::from_millis(5))).unwrap();
        server.check();
    }
    assert_eq!(sink.lines().len(), 200);
    assert!(begun.elapsed() >= Duration::from_secs(3), "200 lines at 50 a second in {:?}", begun.elapsed());
}
