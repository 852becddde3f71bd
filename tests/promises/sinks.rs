//! P8 and P13: a sink that is slow, fails or is gone.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lumberjack::{BindError, Config, Format, Limits, ListenAddr, MemorySink, OutputAddr, Outputs, Server};

use super::capture::said;
use super::common::patience::join;
use super::valve::Flow;
use super::world::{World, send};

#[test]
fn p8_a_sink_that_takes_nothing_stops_the_reading_and_loses_nothing() {
    let limits = Limits { max_line: 1024, max_buffer: 2048, memory: 64 * 1024, ..Limits::default() };
    let mut world = World::new(limits);
    let mut client = world.taken_client();
    world.valve.set(Flow::Shut);
    client.set_nonblocking(true).unwrap();
    let (mut sent, mut rest, begun) = (0_u64, Vec::new(), Instant::now());
    // Until the kernel has been full for a while: back-pressure has reached the client.
    let mut refused = 0;
    while refused < 50 {
        if rest.is_empty() {
            rest = format!("line {sent}\n").into_bytes();
            sent += 1;
        }
        match client.write(&rest) {
            Ok(count) => drop(rest.drain(..count)),
            Err(_) => {
                refused += 1;
                world.turn(Duration::from_millis(1)).unwrap();
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{sent} lines were taken, and no end");
    }
    let status = world.status();
    assert_eq!((status.counters.sink_stalls, world.valve.lines().len()), (1, 0));
    assert!(status.gauges.sink_waiting_bytes <= 32 * 1024, "{status:?}");
    world.valve.set(Flow::Slow(20_000));
    client.set_nonblocking(false).unwrap();
    let sender = std::thread::spawn(move || client.write_all(&rest).map(|()| client));
    world.until("all lines", |world| {
        let status = world.status();
        (status.counters.lines, status.gauges.sink_waiting_bytes) == (sent, 0)
    });
    let expected: Vec<String> = (0..sent).map(|number| format!("line {number}")).collect();
    assert_eq!(world.texts(), expected);
    join("the sender", sender).unwrap();
}

#[test]
fn p8_waiting_for_a_sink_is_no_spin() {
    let limits = Limits { max_line: 1024, max_buffer: 2048, memory: 64 * 1024, ..Limits::default() };
    let mut world = World::new(limits);
    let mut client = world.taken_client();
    world.valve.set(Flow::Shut);
    client.set_nonblocking(true).unwrap();
    while client.write(&b"line\n".repeat(1000)).is_ok() {}
    world.until("the sink is full", |world| world.status().counters.sink_stalls == 1);
    let (before, begun) = (world.valve.flushes(), Instant::now());
    let mut turns = 0;
    while begun.elapsed() < Duration::from_millis(200) {
        world.turn(Duration::from_millis(200)).unwrap();
        turns += 1;
    }
    assert!(turns <= 25, "{turns} turns in 200 ms, though the sink is asked every 10 ms at most");
    assert!(world.valve.flushes() - before <= 25);
}

#[test]
fn p13_a_sink_that_fails_is_tried_again_and_loses_nothing() {
    let mut world = World::new(Limits::default());
    world.valve.set(Flow::Failing);
    send(&mut world.client(), b"kept\n");
    world.until("it was tried twice", |world| world.valve.flushes() >= 2);
    world.valve.set(Flow::Open);
    world.until_lines(&["kept"]);
    assert!(!said(&["WARN [out] the valve fails"]).is_empty(), "what a sink reports is told");
}

#[test]
fn p13_an_output_that_fails_is_told_with_the_reason_and_at_growing_pauses() {
    let Ok(outputs) = Outputs::one(OutputAddr::file("/dev/full"), Format::Raw) else { return };
    let mut server = Server::bind(Config::listen("127.0.0.1:0".parse().unwrap()), outputs).unwrap();
    let ListenAddr::Tcp(at) = server.local_addrs()[0].clone() else { panic!("a port") };
    let mut client = TcpStream::connect(at).unwrap();
    client.write_all(b"kept\n").unwrap();
    let begun = Instant::now();
    let failures = |server: &Server<Outputs>| server.handle().diagnostics().outputs[0].counters.failures;
    while failures(&server) < 3 {
        server.turn(Some(Duration::from_millis(50))).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "it was tried {} times only", failures(&server));
    }
    assert!(begun.elapsed() >= Duration::from_millis(300), "pauses of 100 and 200 ms come first");
    let said = said(&["WARN [out] cannot write to /dev/full: No space left", "; clients wait, trying again"]);
    assert!((1..=5).contains(&said.len()), "{said:?}");
}

#[test]
fn p13_a_sink_whose_reader_is_gone_ends_the_server_with_a_sentence() {
    let mut world = World::new(Limits::default());
    world.valve.set(Flow::Gone);
    send(&mut world.client(), b"lost\n");
    let sentence = world.until_error().to_string();
    assert!(sentence.starts_with("cannot write to the valve any more: its reader is gone"), "{sentence}");
    assert!(sentence.contains("5 bytes of lines are lost"), "{sentence}");
}

#[test]
fn p13_a_port_in_use_is_named_with_a_cure() {
    let first = Server::bind(Config::listen("127.0.0.1:0".parse().unwrap()), MemorySink::new()).unwrap();
    let taken = first.local_addrs()[0].clone();
    let error = Server::bind(Config::listen(taken.clone()), MemorySink::new()).err().unwrap();
    assert!(matches!(&error, BindError::InUse { at } if *at == taken));
    let sentence = error.to_string();
    assert_eq!(
        sentence,
        format!("cannot listen on {taken}: another program has that port; stop it, or choose another with --listen")
    );
}
