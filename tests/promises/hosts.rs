//! P14: what one host may have.

use std::io::Read;
use std::time::Duration;

use lumberjack::{Config, Limits, ListenAddr, MemorySink, Server};

use super::capture::said;
use super::common::patience::connect_unix;
use super::world::{World, name, send};

const BAD: [u8; 4] = [127, 0, 0, 2];
const GOOD: [u8; 4] = [127, 0, 0, 3];

#[test]
fn p14_one_host_gets_its_share_and_another_its_own() {
    let mut world = World::new(Limits { max_connections: 6, ..Limits::default() });
    let bad: Vec<_> = (0..3).map(|_| world.client_of(BAD)).collect();
    world.until("half of the house", |world| world.status().active_connections == 3);
    let mut fourth = world.client_of(BAD);
    world.until("it is refused", |world| world.status().counters.refused_per_host == 1);
    // Over TLS it has begun a handshake, which nobody has read.
    assert!(matches!(fourth.read(&mut [0; 1]), Ok(0)) || super::client::over_tls());
    let warning = said(&["WARN [tcp] Host 127.0.0.2 has 3 connections already", &name(&fourth), "--max-per-host"]);
    assert_eq!(warning.len(), 1);
    send(&mut world.client_of(GOOD), b"welcome\n");
    world.until_lines(&["welcome"]);
    drop(bad);
    world.until("they have left", |world| world.status().active_connections == 0);
    send(&mut world.client_of(BAD), b"again\n");
    world.until_lines(&["welcome", "again"]);
}

#[test]
fn p14_one_host_cannot_fill_the_house_with_those_that_linger() {
    let idle_timeout = Duration::from_millis(30);
    let mut world = World::new(Limits { max_connections: 8, idle_timeout, ..Limits::default() });
    let mut good = world.client_of(GOOD);
    world.until("its goodbye", |world| world.status().counters.evicted_idle == 1);
    let mut crowd = Vec::new();
    for number in 2..=20 {
        crowd.push(world.client_of(BAD));
        world.until("its goodbye", |world| world.status().counters.evicted_idle == number);
        assert!(world.status().active_connections <= 5, "four of one host and one of another");
    }
    send(&mut good, b"did not look\n");
    world.until_lines(&["did not look"]);
    assert_eq!(world.status().counters.refused_per_host, 0, "its own gave way");
}

#[test]
fn p14_unix_clients_are_one_host_without_a_limit() {
    let path = std::env::temp_dir().join(format!("lumberjack-p14-{}.sock", std::process::id()));
    let limits = Limits { max_per_host: Some(1), ..Limits::default() };
    let sink = MemorySink::new();
    let config = Config { limits, ..Config::listen(ListenAddr::Unix(path.clone())) };
    let mut server = Server::bind(config, sink.clone()).unwrap();
    let mut clients: Vec<_> = (0..5).map(|_| connect_unix(&path).unwrap()).collect();
    for client in &mut clients {
        std::io::Write::write_all(client, b"local\n").unwrap();
    }
    drop(clients);
    server.handle().stop();
    server.run().unwrap();
    assert_eq!(sink.lines(), vec![b"local".to_vec(); 5]);
    assert_eq!(server.handle().status().counters.refused_per_host, 0);
    drop(server);
    assert!(!path.exists(), "the socket's file is left behind");
}
