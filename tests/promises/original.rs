//! The six tests of the original server, the Node.js program that this one replaces (`docs/DESIGN.md`), by name.

use lumberjack::Limits;

use super::capture::said;
use super::world::{World, is_told_goodbye, name, send};

#[test]
fn original_1_sockets_are_tracked_when_connected() {
    let mut world = World::new(Limits::default());
    let client = world.taken_client();
    assert_eq!(world.status().active_connections, 1);
    assert_eq!(said(&["[tcp] Socket connected: ", &name(&client), " (active: 1)"]).len(), 1);
}

#[test]
fn original_2_sockets_are_cleaned_up_when_disconnected_normally() {
    let mut world = World::new(Limits::default());
    let mut client = world.taken_client();
    let name = name(&client);
    send(&mut client, b"a line\n");
    drop(client);
    world.until("nobody is left", |world| world.status().active_connections == 0);
    assert_eq!(said(&["[tcp] Socket cleaned up: ", &name, " (active: 0)"]).len(), 1);
    assert_eq!(world.texts(), ["a line"]);
}

#[test]
fn original_3_multiple_simultaneous_connections_work() {
    let mut world = World::new(Limits::default());
    let mut clients: Vec<_> = (0..50).map(|_| world.client()).collect();
    world.until("fifty", |world| world.status().active_connections == 50);
    for (number, client) in clients.iter_mut().enumerate() {
        send(client, format!("line {number}\n").as_bytes());
    }
    world.until("fifty lines", |world| world.valve.lines().len() == 50);
    let mut numbers: Vec<usize> = world.texts().iter().map(|line| line[5..].parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    drop(clients);
    world.until("nobody", |world| world.status().active_connections == 0);
    assert_eq!(world.status().gauges.peak_connections, 50);
}

#[test]
fn original_4_buffer_overflow_protection_prevents_unbounded_growth() {
    let mut world = World::new(Limits::default());
    let mut client = world.taken_client();
    for _ in 0..48 {
        send(&mut client, &[b'x'; 64 * 1024]);
        world.until("it is read", |world| world.status().counters.bytes % (64 * 1024) == 0);
        let pending = world.status().gauges.pending_bytes;
        assert!(pending <= 102_400 + 64, "{pending} bytes are held for one client");
    }
    send(&mut client, b"\nnext\n");
    world.until_lines(&["next"]);
    let counters = world.status().counters;
    assert_eq!((counters.overflows, counters.skipped_lines, counters.dropped_bytes), (1, 1, 48 * 64 * 1024));
    assert_eq!(said(&["[tcp] Buffer overflow on ", &name(&client), ", dropping oldest data"]).len(), 1);
}

#[test]
fn original_5_the_server_closes_all_active_sockets_when_stopped() {
    let mut world = World::new(Limits::default());
    let clients: Vec<_> = (0..5).map(|_| world.client()).collect();
    world.until("five", |world| world.status().active_connections == 5);
    assert!(world.status().running);
    world.stop().unwrap();
    assert!(clients.iter().all(is_told_goodbye), "a FIN, not an RST");
    let status = world.status();
    assert_eq!((status.running, status.port, status.active_connections), (false, None, 0));
    assert_eq!(status.message, "Not running");
}

#[test]
fn original_6_diagnostics_report_resource_usage() {
    let mut world = World::new(Limits::default());
    let mut client = world.taken_client();
    send(&mut client, b"whole\nhalf");
    world.until("the half line is held", |world| world.status().gauges.pending_bytes > 0);
    let diagnostics = world.handle.diagnostics();
    assert_eq!((diagnostics.tcp.running, diagnostics.tcp.port), (true, Some(world.port())));
    assert_eq!((diagnostics.tcp.active_connections, diagnostics.http.active_pollers), (1, 0));
    assert_eq!((diagnostics.counters.lines, diagnostics.counters.bytes, diagnostics.gauges.hosts), (1, 10, 1));
    let json = diagnostics.to_json();
    assert!(json.contains("\"maxLine\":102400") && json.contains("\"pendingBytes\":64"), "{json}");
}
