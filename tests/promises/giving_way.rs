//! P6, P10 and P14 with `--idle-close needed`: a quiet client is left alone until something of it is needed, and then gives
//! way in a second in which nothing is lost. And with `always`: who closes at our goodbye is named.

use std::time::{Duration, Instant};

use lumberjack::{IdleClose, Limits};

use super::capture::said;
use super::client::Client;
use super::valve::Flow;
use super::world::{World, is_told_goodbye, name, send};

const IDLE: Duration = Duration::from_millis(60);
/// What a client that gives way has, to a tick.
const SECOND: Duration = Duration::from_secs(1);

fn needed(max_connections: usize) -> Limits {
    let max_per_host = Some(0);
    Limits { max_connections, max_per_host, idle_timeout: IDLE, idle_close: IdleClose::Needed, ..Limits::default() }
}

/// Turns until all who are connected have been silent for long enough.
fn until_quiet(world: &mut World) {
    let begun = Instant::now();
    world.until("they are quiet", |_| begun.elapsed() > 2 * IDLE);
}

fn until_goodbye(world: &mut World, client: &Client) {
    world.until("our goodbye", |_| is_told_goodbye(client));
}

#[test]
fn p6_while_nothing_is_needed_no_quiet_client_is_told_goodbye() {
    let mut world = World::new(needed(3));
    let mut clients: Vec<_> = (0..2).map(|_| world.taken_client()).collect();
    let begun = Instant::now();
    world.until("many times the time-out", |_| begun.elapsed() > 8 * IDLE);
    // A place is left for this one.
    let _third = world.taken_client();
    assert!(!clients.iter().any(is_told_goodbye));
    for (number, client) in clients.iter_mut().enumerate() {
        send(client, format!("{number}\n").as_bytes());
        world.until("it is read", |world| world.texts().len() == number + 1);
    }
    assert_eq!((world.status().counters.evicted_idle, world.texts()), (0, vec!["0".to_owned(), "1".to_owned()]));
}

#[test]
fn p6_without_a_timer_a_quiet_client_does_not_wake_the_loop() {
    let mut world = World::new(needed(3));
    let _client = world.taken_client();
    world.turn(Duration::from_millis(1)).unwrap();
    let begun = Instant::now();
    world.turn(5 * IDLE).unwrap();
    assert!(begun.elapsed() >= 5 * IDLE, "it woke after {:?}", begun.elapsed());
}

#[test]
fn p6_the_client_silent_longest_gives_way_for_a_place_and_what_it_sends_in_its_second_is_kept() {
    let mut world = World::new(needed(2));
    let mut oldest = world.taken_client();
    let newer = world.taken_client();
    until_quiet(&mut world);
    let mut third = world.client();
    send(&mut third, b"third\n");
    let begun = Instant::now();
    until_goodbye(&mut world, &oldest);
    assert!(!is_told_goodbye(&newer), "one place was needed");
    for number in 0..3 {
        send(&mut oldest, format!("{number}\n").as_bytes());
    }
    world.until("all that was sent", |world| world.texts().len() == 4);
    send(&mut oldest, b"its last");
    world.until("it is closed", |world| world.status().active_connections == 2);
    assert!(begun.elapsed() >= SECOND, "it had {:?}", begun.elapsed());
    assert!(begun.elapsed() < 5 * SECOND, "it had {:?}, though it spoke", begun.elapsed());
    let third = world.texts().iter().position(|line| line == "third").unwrap();
    // After its handshake, over TLS.
    assert!(third == 0 || super::client::over_tls());
    assert_eq!(
        world.texts().into_iter().filter(|line| line != "third").collect::<Vec<_>>(),
        ["0", "1", "2", "its last"]
    );
    assert_eq!(said(&["WARN [tcp] Socket timeout on ", &name(&oldest), ", giving way"]).len(), 1);
    assert_eq!(world.status().counters.ended_at_goodbye, 0, "it is to close");
}

#[test]
fn p6_who_gives_way_and_closes_makes_room_at_once() {
    let mut world = World::new(needed(1));
    let mut clients = vec![world.taken_client()];
    for number in 1..=5 {
        until_quiet(&mut world);
        let next = world.client();
        let begun = Instant::now();
        until_goodbye(&mut world, &clients[0]);
        clients = vec![next];
        world.until("its place is free", |world| world.status().active_connections == 1);
        assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
        assert_eq!(world.status().counters.evicted_idle, number);
    }
}

#[test]
fn p6_a_client_that_speaks_is_not_the_one_that_gives_way() {
    let mut world = World::new(needed(2));
    let mut speaks = world.taken_client();
    let quiet = world.taken_client();
    until_quiet(&mut world);
    // In the kernel, when the next comes in.
    send(&mut speaks, b"here\n");
    let _third = world.client();
    until_goodbye(&mut world, &quiet);
    assert!(!is_told_goodbye(&speaks));
    world.until_lines(&["here"]);
}

#[test]
fn p10_who_waits_at_a_full_house_comes_in_as_soon_as_somebody_is_quiet() {
    let mut world = World::new(needed(1));
    let first = world.taken_client();
    send(&mut world.client(), b"waited\n");
    // Nothing else wakes the loop.
    let begun = Instant::now();
    while !is_told_goodbye(&first) {
        world.turn(30 * SECOND).unwrap();
        assert!(begun.elapsed() < 20 * SECOND, "nobody gave way");
    }
    assert!(begun.elapsed() >= IDLE / 2, "it was not silent yet");
    world.until_lines(&["waited"]);
}

#[test]
fn p10_a_crowd_does_not_wait_a_second_for_each_who_gives_way() {
    let mut world = World::new(needed(40));
    let _quiet: Vec<_> = (0..40).map(|_| world.taken_client()).collect();
    until_quiet(&mut world);
    let begun = Instant::now();
    let _crowd: Vec<_> = (0..40).map(|_| world.client()).collect();
    world.until("all are in", |world| world.status().counters.accepted == 80);
    assert!(begun.elapsed() < 20 * SECOND, "{:?} for forty", begun.elapsed());
}

#[test]
fn p14_for_a_place_of_its_host_a_quiet_client_of_that_host_gives_way() {
    let mut world = World::new(Limits { max_per_host: Some(2), ..needed(10) });
    let [one, other] = [[127, 0, 0, 2], [127, 0, 0, 3]];
    let oldest_of_all = world.client_of(other);
    world.until("it is in", |world| world.status().active_connections == 1);
    let mut of_one: Vec<_> = (0..2).map(|_| world.client_of(one)).collect();
    world.until("they are in", |world| world.status().active_connections == 3);
    until_quiet(&mut world);
    of_one.push(world.client_of(one));
    until_goodbye(&mut world, &of_one[0]);
    send(&mut of_one[0], b"gives way\n");
    send(&mut of_one[2], b"comes in\n");
    world.until("both", |world| world.texts().len() == 2);
    assert!(!is_told_goodbye(&oldest_of_all) && !is_told_goodbye(&of_one[1]));
    world.until("it has left", |world| world.status().active_connections == 3);
    assert_eq!((world.status().counters.evicted_idle, world.status().counters.refused_per_host), (1, 0));
    // While nobody of the host is quiet, its next is refused as ever.
    send(&mut of_one[1], b"speaks\n");
    send(&mut of_one[2], b"too\n");
    world.until("they have spoken", |world| world.texts().len() == 4);
    let _refused = world.client_of(one);
    world.until("it is refused", |world| world.status().counters.refused_per_host == 1);
}

#[test]
fn p5_for_memory_a_quiet_client_gives_its_unfinished_line_to_the_output_and_nobody_loses_one() {
    let limits = Limits { max_line: 8 * 1024, max_buffer: 16 * 1024, memory: 1 << 20, ..needed(1000) };
    let mut world = World::new(limits);
    let mut empty = world.taken_client();
    let mut hoard: Vec<_> = (0..80).map(|_| world.taken_client()).collect();
    for client in &mut hoard {
        world.send_and_wait(client, &[b'x'; 8000]);
    }
    until_quiet(&mut world);
    assert_eq!(world.status().counters.dropped_for_budget, 0, "it fits so far");
    let mut more: Vec<_> = (0..80).map(|_| world.taken_client()).collect();
    for client in &mut more {
        world.send_and_wait(client, &[b'm'; 8000]);
    }
    let counters = world.status().counters;
    assert!(counters.evicted_idle > 0 && counters.dropped_for_budget == 0, "{counters:?}");
    assert!(is_told_goodbye(&hoard[0]) && !is_told_goodbye(&hoard[79]) && !is_told_goodbye(&empty));
    let lines = world.valve.lines();
    assert_eq!(lines.len() as u64, counters.evicted_idle);
    assert!(lines.iter().all(|line| *line == [b'x'; 8000]), "a line is not whole");
    send(&mut empty, b"there still\n");
    world.until("it is heard", |world| world.valve.lines().last().is_some_and(|line| line == b"there still"));
}

#[test]
fn p6_a_client_that_floods_in_its_second_is_cut_off_and_its_place_is_free() {
    let mut world = World::new(needed(1));
    let mut client = world.taken_client();
    until_quiet(&mut world);
    let _next = world.client();
    until_goodbye(&mut world, &client);
    let begun = Instant::now();
    let flooding = std::thread::spawn(move || {
        let block = b"flood\n".repeat(10_000);
        while begun.elapsed() < 20 * SECOND && std::io::Write::write_all(&mut client, &block).is_ok() {}
    });
    world.until("it is closed", |world| world.status().active_connections == 1);
    assert!(begun.elapsed() < 10 * SECOND, "it kept its place for {:?}", begun.elapsed());
    flooding.join().unwrap();
}

#[test]
fn p8_while_the_sink_is_full_nobody_gives_way_and_nothing_is_lost() {
    let mut world = World::new(Limits { max_line: 1024, max_buffer: 2048, memory: 64 * 1024, ..needed(2) });
    let mut flood = world.taken_client();
    let quiet = world.taken_client();
    until_quiet(&mut world);
    world.valve.set(Flow::Shut);
    flood.set_nonblocking(true).unwrap();
    while std::io::Write::write(&mut flood, &b"line\n".repeat(1000)).is_ok() {}
    world.until("the sink is full", |world| world.status().counters.sink_stalls == 1);
    let _third = world.client();
    let begun = Instant::now();
    world.until("a while", |_| begun.elapsed() > 4 * IDLE);
    assert!(!is_told_goodbye(&quiet) && world.status().counters.evicted_idle == 0);
    world.valve.set(Flow::Open);
    until_goodbye(&mut world, &quiet);
}

#[test]
fn p11_at_the_end_who_gives_way_is_read_like_all() {
    let mut world = World::new(needed(1));
    let mut client = world.taken_client();
    until_quiet(&mut world);
    let mut next = world.client();
    until_goodbye(&mut world, &client);
    world.handle.stop();
    for number in 0..20 {
        send(&mut client, format!("{number}\n").as_bytes());
        world.turn(Duration::from_millis(10)).unwrap();
    }
    send(&mut next, b"next\n");
    world.stop().unwrap();
    assert_eq!(world.texts().len(), 21);
}

/// A client that speaks, is told goodbye, and then does this; how many were counted as closed by it.
fn at_goodbye(says: &[u8], then: impl FnOnce(&mut World, Client)) -> (u64, usize) {
    let mut world = World::new(Limits { idle_timeout: IDLE, ..Limits::default() });
    let mut client = world.taken_client();
    send(&mut client, says);
    let name = name(&client);
    until_goodbye(&mut world, &client);
    then(&mut world, client);
    world.until("it is gone", |world| world.status().active_connections == 0);
    let words = ["WARN [tcp] ", &name, " closed at our goodbye", "--idle-close needed"];
    (world.status().counters.ended_at_goodbye, said(&words).len())
}

#[test]
fn p6_who_closes_right_after_our_goodbye_is_named_with_the_cure() {
    assert_eq!(at_goodbye(b"a line\n", |_, client| drop(client)), (1, 1));
    assert_eq!(at_goodbye(b"a line\n", |_, client| super::world::reset(client)), (1, 1));
}

#[test]
fn p6_who_never_spoke_or_speaks_on_or_closes_later_is_not_named() {
    assert_eq!(at_goodbye(b"", |_, client| drop(client)), (0, 0), "a probe");
    let speaks_on = |world: &mut World, mut client: Client| {
        world.send_and_wait(&mut client, b"one more\n");
    };
    assert_eq!(at_goodbye(b"a line\n", speaks_on), (0, 0), "it has lost nothing");
    let waits = |world: &mut World, client: Client| {
        let begun = Instant::now();
        world.until("more than a second", |_| begun.elapsed() > SECOND + IDLE);
        drop(client);
    };
    assert_eq!(at_goodbye(b"a line\n", waits), (0, 0), "not because of the goodbye");
}
