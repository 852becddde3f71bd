//! P5: one limit on all memory that clients and a slow sink can make the server hold.

use lumberjack::Limits;

use super::capture::said;
use super::client::Client;
use super::valve::Flow;
use super::world::World;

const BAD: [u8; 4] = [127, 0, 0, 2];
const GOOD: [u8; 4] = [127, 0, 0, 3];

fn tight() -> Limits {
    Limits { max_line: 8 * 1024, max_buffer: 16 * 1024, memory: 1 << 20, max_per_host: Some(0), ..Limits::default() }
}

/// Sends, and turns until the server has read it, within the budget.
fn send_and_wait(world: &mut World, client: &mut Client, bytes: &[u8]) {
    world.send_and_wait(client, bytes);
    let gauges = world.status().gauges;
    assert!(gauges.pending_bytes + gauges.sink_waiting_bytes <= 1 << 20, "{gauges:?}");
}

#[test]
fn p5_the_hoarder_pays_and_a_sender_of_normal_lines_never_does() {
    let mut world = World::new(tight());
    let mut good = world.client_of(GOOD);
    let mut hoard: Vec<_> = (0..300).map(|_| world.client_of(BAD)).collect();
    for (number, client) in hoard.iter_mut().enumerate() {
        send_and_wait(&mut world, client, &[b'x'; 8000]);
        if number % 30 == 29 {
            send_and_wait(&mut world, &mut good, &[b'g'; 4000]);
        }
        if number % 30 == 5 && number > 30 {
            // In between, five hoarders came: each needed room, and half a good line lay there.
            send_and_wait(&mut world, &mut good, b"gggg\n");
        }
    }
    drop(good);
    world.until("the last good line", |world| world.valve.lines().len() == 10);
    let expected = [vec![b'g'; 4004], vec![b'g'; 4000]];
    let lines = world.valve.lines();
    assert!(lines[..9].iter().all(|line| *line == expected[0]) && lines[9] == expected[1], "a good line is not whole");
    assert!(world.status().counters.dropped_for_budget >= 150, "{:?}", world.status());
    assert!(!said(&["WARN [tcp] Memory budget used up", "127.0.0.2:", "--memory sets it"]).is_empty());
    assert!(said(&["WARN [tcp] Memory budget used up", "127.0.0.3:"]).is_empty());
    drop(hoard);
    world.until("the hoard is gone", |world| world.status().active_connections == 0);
    assert_eq!(world.status().gauges.pending_bytes, 0);
}

#[test]
fn p5_who_brings_most_at_once_pays_itself() {
    let max_line = 30 * 1024;
    let limits = Limits { max_line, max_buffer: 2 * max_line, memory: 80 * 1024, ..tight() };
    let mut world = World::new(limits);
    let mut good: Vec<_> = (0..20).map(|_| world.client_of(GOOD)).collect();
    for client in &mut good {
        send_and_wait(&mut world, client, &[b'g'; 1000]);
    }
    let mut bad = world.client_of(BAD);
    // More than all others together, and more than is left.
    send_and_wait(&mut world, &mut bad, &[b'x'; 25_000]);
    assert_eq!(world.status().counters.dropped_for_budget, 1, "it alone pays");
    drop((good, bad));
    world.until("everybody is gone", |world| {
        world.status().active_connections == 0 && world.status().counters.accepted == 21
    });
    assert_eq!(world.valve.lines(), vec![vec![b'g'; 1000]; 20]);
}

#[test]
fn p5_a_slow_sink_and_hoarders_together_stay_within_the_budget() {
    let mut world = World::new(tight());
    world.valve.set(Flow::Shut);
    let mut clients: Vec<_> = (0..40).map(|_| world.client_of(BAD)).collect();
    for client in &mut clients {
        client.set_nonblocking(true).unwrap();
    }
    for round in 0..400 {
        for client in &mut clients {
            // What the kernel does not take is not sent: the server stopped reading.
            let _ = std::io::Write::write(client, &[b"line\n".as_slice(), &[b'y'; 7000]].concat());
        }
        if round % 40 == 39 {
            world.valve.set(if round % 80 == 79 { Flow::Shut } else { Flow::Slow(50_000) });
        }
        world.turn(std::time::Duration::from_millis(1)).unwrap();
        let gauges = world.status().gauges;
        assert!(gauges.pending_bytes + gauges.sink_waiting_bytes <= 1 << 20, "{gauges:?}");
    }
    assert!(world.status().counters.sink_stalls > 0, "the sink was never full: the test shows nothing");
}
