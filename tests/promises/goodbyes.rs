//! P2, P6, P7 and P11: how connections end, and what no end may cost.

use std::io::Write;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lumberjack::{Limits, Turn};

use super::capture::said;
use super::client::{Client, over_tls};
use super::common::patience::join;
use super::valve::Flow;
use super::world::{World, is_told_goodbye, name, reset, send};

fn idle(ms: u64) -> Limits {
    Limits { idle_timeout: Duration::from_millis(ms), ..Limits::default() }
}

/// A budget that a few reads fill.
fn small_memory() -> Limits {
    Limits { max_line: 1024, max_buffer: 2048, memory: 64 * 1024, ..Limits::default() }
}

fn until_goodbye(world: &mut World, count: u64) {
    world.until("our goodbye", |world| world.status().counters.evicted_idle == count);
}

#[test]
fn p6_a_quiet_client_is_told_goodbye_not_early_and_loses_nothing_it_sends_then() {
    let mut world = World::new(idle(60));
    let begun = Instant::now();
    let mut client = world.taken_client();
    until_goodbye(&mut world, 1);
    assert!(begun.elapsed() >= Duration::from_millis(60), "{:?} is early", begun.elapsed());
    world.until("the FIN", |_| is_told_goodbye(&client));
    for number in 0..3 {
        send(&mut client, format!("{number}\n").as_bytes());
    }
    world.until_lines(&["0", "1", "2"]);
    assert_eq!(world.status().gauges.lingering, 1);
    assert_eq!(said(&["WARN [tcp] Socket timeout on ", &name(&client), ", closing connection"]).len(), 1);
    drop(client);
    world.until("it is gone", |world| world.status().active_connections == 0);
}

#[test]
fn p6_a_heartbeat_of_empty_lines_keeps_a_connection() {
    let mut world = World::new(idle(200));
    let mut client = world.taken_client();
    let begun = Instant::now();
    let mut beats = 0;
    while begun.elapsed() < Duration::from_millis(700) {
        send(&mut client, b"\n");
        beats += 1;
        world.until("it is read", |world| world.status().counters.bytes == beats);
        world.turn(Duration::from_millis(20)).unwrap();
    }
    assert_eq!((world.status().counters.evicted_idle, world.valve.lines().len()), (0, 0));
    until_goodbye(&mut world, 1);
}

#[test]
fn p6_time_in_which_the_sink_was_full_is_no_silence() {
    let idle_timeout = Duration::from_millis(150);
    let mut world = World::new(Limits { idle_timeout, ..small_memory() });
    let mut flood = world.taken_client();
    let begun = Instant::now();
    let _quiet = world.taken_client();
    world.valve.set(Flow::Shut);
    flood.set_nonblocking(true).unwrap();
    while flood.write(&b"line\n".repeat(1000)).is_ok() {}
    world.until("the sink is full", |world| world.status().counters.sink_stalls == 1);
    let before = begun.elapsed();
    let begun = Instant::now();
    world.until("far more than the time-out", |_| begun.elapsed() > 3 * idle_timeout);
    assert_eq!(world.status().counters.evicted_idle, 0, "evicted while nobody was reading");
    world.valve.set(Flow::Open);
    let begun = Instant::now();
    until_goodbye(&mut world, 1);
    let reading = before + begun.elapsed();
    assert!(reading >= idle_timeout, "evicted after {reading:?} in which the server was reading");
}

#[test]
fn p6_who_lingers_too_long_is_closed() {
    let mut world = World::new(Limits { linger: Duration::from_millis(50), ..idle(20) });
    let _client = world.taken_client();
    until_goodbye(&mut world, 1);
    let begun = Instant::now();
    world.until("it is closed", |world| world.status().active_connections == 0);
    assert!(begun.elapsed() >= Duration::from_millis(30), "it may still write: {:?}", begun.elapsed());
}

#[test]
fn p6_lingering_clients_give_way_oldest_first_and_lose_nothing() {
    let limits = Limits { max_connections: 2, max_per_host: Some(0), ..idle(30) };
    let mut world = World::new(limits);
    let mut oldest = world.taken_client();
    until_goodbye(&mut world, 1);
    let mut newer = world.taken_client();
    until_goodbye(&mut world, 2);
    send(&mut oldest, b"sent before it gave way\n");
    let _third = world.taken_client();
    world.until("one has given way", |world| world.status().active_connections == 2);
    assert_eq!(world.texts(), ["sent before it gave way"]);
    assert_eq!(world.status().counters.accept_pauses, 0, "nobody had to wait");
    send(&mut newer, b"still heard\n");
    world.until_lines(&["sent before it gave way", "still heard"]);
}

/// Writes without end and without looking; ends when the server does not take it any more.
fn flood(mut client: Client) -> JoinHandle<()> {
    let begun = Instant::now();
    std::thread::spawn(move || {
        let block = b"flood\n".repeat(10_000);
        while begun.elapsed() < Duration::from_secs(20) && client.write_all(&block).is_ok() {}
    })
}

/// Sends a line now and then, for 40 s at most.
fn speak(mut client: Client) -> JoinHandle<()> {
    let begun = Instant::now();
    std::thread::spawn(move || {
        while begun.elapsed() < Duration::from_secs(40) && client.write_all(b"next\n").is_ok() {
            std::thread::sleep(Duration::from_millis(3));
        }
    })
}

#[test]
fn p6_a_lingering_client_that_still_speaks_gives_way_after_one_that_is_silent() {
    let limits = Limits { max_connections: 2, max_per_host: Some(0), ..idle(30) };
    let mut world = World::new(limits);
    let mut speaks = world.taken_client();
    until_goodbye(&mut world, 1);
    let silent = world.taken_client();
    until_goodbye(&mut world, 2);
    send(&mut speaks, b"one\n");
    world.until_lines(&["one"]);
    let silent_name = name(&silent);
    let _third = world.taken_client();
    world.until("the silent one is closed", |_| !said(&["[tcp] Socket cleaned up: ", &silent_name]).is_empty());
    send(&mut speaks, b"two\n");
    world.until_lines(&["one", "two"]);
}

#[test]
fn p6_a_lingering_client_that_floods_gives_way_in_the_end() {
    let idle_timeout = Duration::from_millis(30);
    // The sink is slower than the client, so that no turn can read all that the client has to say.
    let mut world = World::new(Limits { max_connections: 1, idle_timeout, ..small_memory() });
    let client = world.taken_client();
    until_goodbye(&mut world, 1);
    world.valve.set(Flow::Slow(16 * 1024));
    let flooding = flood(client);
    world.until("the sink is full", |world| world.status().counters.sink_stalls > 0);
    // It speaks, or it would be told goodbye too, and give its own place up first.
    let speaking = speak(world.client());
    world.until("the next client", |world| world.status().counters.accepted == 2);
    world.until("the flood gives way", |world| world.status().active_connections == 1);
    join("the flood", flooding);
    drop(world);
    join("the other", speaking);
}

#[test]
fn p7_every_way_out_gives_everything_back() {
    let limits = Limits { linger: Duration::from_millis(20), ..idle(20) };
    let mut world = World::new(limits);
    let ends: [fn(Client); 2] = [drop, reset];
    for end in ends {
        for bytes in [b"".as_slice(), b"half a line", b"a line\n", b"a line\nand a half"] {
            let mut client = world.taken_client();
            send(&mut client, bytes);
            end(client);
            world.until("it is gone", |world| world.status().active_connections == 0);
        }
    }
    let _evicted = world.taken_client();
    world.until("it has lingered", |world| world.status().counters.evicted_idle == 1);
    world.until("it is closed", |world| world.status().active_connections == 0);
    let gauges = world.status().gauges;
    assert_eq!((gauges.pending_bytes, gauges.lingering, gauges.hosts), (0, 0, 0));
    assert_eq!(gauges.sink_waiting_bytes, 0);
    assert_eq!(world.status().counters.probes, 3, "two without a byte, and the evicted one");
}

#[test]
fn p11_what_was_written_before_the_stop_is_in_the_output_even_from_who_was_not_taken_yet() {
    let mut world = World::new(Limits::default());
    let mut taken = world.taken_client();
    send(&mut taken, b"taken\nhalf");
    // Over TLS no more than may shake hands at once: one host's slow handshakes make room for its next ones, and these are slow on
    // a machine that is at work, since all clients' part of them is done here too.
    let crowd = if over_tls() { 50 } else { 100 };
    let mut waiting: Vec<_> = (0..crowd).map(|_| world.client()).collect();
    for client in &mut waiting {
        send(client, b"waited\n");
    }
    world.stop().unwrap();
    let lines = world.texts();
    assert_eq!(lines.iter().filter(|line| *line == "waited").count(), crowd);
    assert!(lines.contains(&"taken".to_owned()) && lines.contains(&"half".to_owned()), "{lines:?}");
    assert!(is_told_goodbye(&taken));
}

#[test]
fn p11_who_does_not_look_and_goes_on_writing_is_read_until_it_pauses() {
    let mut world = World::new(Limits::default());
    let mut client = world.taken_client();
    world.handle.stop();
    for number in 0..20 {
        send(&mut client, format!("{number}\n").as_bytes());
        world.turn(Duration::from_millis(10)).unwrap();
    }
    world.stop().unwrap();
    assert_eq!(world.texts(), (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn p11_clients_that_close_at_once_end_the_drain_at_once() {
    let mut world = World::new(Limits::default());
    let clients: Vec<_> = (0..3).map(|_| world.client()).collect();
    world.until("three", |world| world.status().active_connections == 3);
    world.handle.stop();
    world.turn(Duration::ZERO).unwrap();
    drop(clients);
    let begun = Instant::now();
    world.stop().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(200), "nobody was left to wait for: {:?}", begun.elapsed());
}

#[test]
fn p11_a_timer_that_comes_due_in_the_drain_is_no_spin() {
    let mut world = World::new(idle(30));
    let _silent = world.taken_client();
    world.handle.stop();
    let mut turns = 0;
    while world.turn(Duration::from_secs(1)).unwrap() == Turn::Running {
        turns += 1;
        assert!(turns < 20, "{turns} turns in a drain in which nothing comes");
    }
}

#[test]
fn p11_who_waits_in_the_backlog_is_taken_though_there_is_no_time_to_drain() {
    let mut world = World::new(Limits { drain_timeout: Duration::ZERO, ..Limits::default() });
    for _ in 0..300 {
        send(&mut world.client(), b"waited\n");
    }
    world.stop().unwrap();
    assert_eq!(world.texts().len(), 300);
}

#[test]
fn p11_a_client_that_floods_cannot_put_off_the_end() {
    let drain_timeout = Duration::from_millis(200);
    let mut world = World::new(Limits { drain_timeout, ..small_memory() });
    let client = world.taken_client();
    let flooding = flood(client);
    world.stop().unwrap();
    let lines = world.valve.lines();
    let (last, whole) = lines.split_last().unwrap();
    assert!(whole.iter().all(|line| line == b"flood") && b"flood".starts_with(last), "a line is torn");
    join("the flood", flooding);
}

#[test]
fn p11_several_clients_that_flood_cannot_put_off_the_end_either() {
    let drain_timeout = Duration::from_millis(200);
    let mut world = World::new(Limits { drain_timeout, ..small_memory() });
    let flooding: Vec<_> = (0..2).map(|_| flood(world.taken_client())).collect();
    world.valve.set(Flow::Slow(1 << 20));
    world.stop().unwrap();
    flooding.into_iter().for_each(|flooding| join("the flood", flooding));
}

#[test]
fn p11_who_stopped_writing_loses_nothing_to_a_stop_though_the_sink_is_slow() {
    let drain_timeout = Duration::from_millis(100);
    let mut world = World::new(Limits { drain_timeout, ..small_memory() });
    let mut client = world.taken_client();
    world.valve.set(Flow::Slow(64 * 1024));
    client.set_nonblocking(true).unwrap();
    // As much as the kernel takes, on both sides, while the server reads a little now and then.
    let (mut sent, mut refused) = (Vec::new(), 0);
    while refused < 20 && sent.len() < 8 << 20 {
        let from = sent.len();
        sent.extend((0..4096).flat_map(|at| format!("{:07}\n", from / 8 + at).into_bytes()));
        let count = client.write(&sent[from..]).unwrap_or(0);
        sent.truncate(from + count / 8 * 8);
        if count % 8 > 0 {
            // The rest of the line that was cut.
            let rest = format!("{:07}\n", sent.len() / 8).into_bytes();
            client.set_nonblocking(false).unwrap();
            let writing = rest[count % 8..].to_vec();
            let mut blocking = client.try_clone().unwrap();
            let sender = std::thread::spawn(move || blocking.write_all(&writing));
            while !sender.is_finished() {
                world.turn(Duration::from_millis(1)).unwrap();
            }
            join("the sender", sender).unwrap();
            client.set_nonblocking(true).unwrap();
            sent.extend(rest);
        }
        refused += u32::from(count == 0);
        world.turn(Duration::from_millis(1)).unwrap();
    }
    world.stop().unwrap();
    let lines = world.valve.lines();
    assert_eq!(lines.len(), sent.len() / 8, "lines at a stop");
    assert!(lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).eq(sent), "not the lines that were sent");
}

#[test]
fn p11_a_sink_that_takes_nothing_is_given_up_with_a_sentence() {
    let mut world = World::new(Limits { drain_timeout: Duration::from_millis(60), ..Limits::default() });
    world.valve.set(Flow::Shut);
    send(&mut world.client(), b"lost\n");
    world.until("it waits for the sink", |world| world.status().gauges.sink_waiting_bytes == 5);
    let begun = Instant::now();
    let sentence = world.stop().unwrap_err().to_string();
    assert!(begun.elapsed() >= Duration::from_millis(60), "given up after {:?}", begun.elapsed());
    assert!(
        sentence.starts_with("gave up on the valve, which took nothing for --drain-timeout: 5 bytes"),
        "{sentence}"
    );
}
