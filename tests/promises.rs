//! The seed's tests and the promises, over real sockets. Nothing sleeps to wait: a condition is asked until a deadline.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lumberjack::{Config, Handle, Limits, ListenAddr, MemorySink, RunError, Server, WhenFull};

struct TestServer {
    addr: SocketAddr,
    handle: Handle,
    sink: MemorySink,
    running: JoinHandle<Result<(), RunError>>,
}

impl TestServer {
    fn start(limits: Limits) -> Self {
        let sink = MemorySink::new();
        let config = Config { limits, ..Config::listen("127.0.0.1:0".parse().unwrap()) };
        let mut server = Server::bind(config, sink.clone()).unwrap();
        let ListenAddr::Tcp(addr) = server.local_addrs()[0] else { panic!("no TCP listener") };
        let handle = server.handle();
        let running = std::thread::spawn(move || server.run());
        Self { addr, handle, sink, running }
    }

    fn client(&self) -> TcpStream {
        TcpStream::connect(self.addr).unwrap()
    }

    fn active(&self) -> u64 {
        self.handle.status().active_connections
    }

    fn lines(&self) -> Vec<String> {
        self.sink.lines().iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    fn stop(self) -> Vec<String> {
        self.handle.stop();
        self.running.join().unwrap().unwrap();
        self.sink.lines().iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn seed_1_sockets_are_tracked_when_connected() {
    let server = TestServer::start(Limits::default());
    let _client = server.client();
    eventually("one connection", || server.active() == 1);
}

#[test]
fn seed_2_sockets_are_cleaned_up_when_disconnected() {
    let server = TestServer::start(Limits::default());
    let client = server.client();
    eventually("one connection", || server.active() == 1);
    drop(client);
    eventually("none", || server.active() == 0);
    assert_eq!(server.handle.status().counters.probes, 1);
}

#[test]
fn seed_3_many_connections_at_once() {
    let server = TestServer::start(Limits::default());
    let mut clients: Vec<TcpStream> = (0..50).map(|_| server.client()).collect();
    eventually("fifty", || server.active() == 50);
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(format!("line {number}\n").as_bytes()).unwrap();
    }
    eventually("fifty lines", || server.lines().len() == 50);
    drop(clients);
    eventually("none", || server.active() == 0);
}

#[test]
fn seed_4_buffer_overflow_is_bounded() {
    let server = TestServer::start(Limits::default());
    let mut client = server.client();
    client.write_all(&vec![b'x'; 3 << 20]).unwrap();
    client.write_all(b"\nnext\n").unwrap();
    eventually("the next line", || server.lines() == ["next"]);
    eventually("its count", || server.handle.status().counters.skipped_lines == 1);
    let status = server.handle.status();
    assert_eq!((status.counters.overflows, status.gauges.pending_bytes), (1, 0));
}

#[test]
fn seed_5_stop_closes_all_sockets() {
    let server = TestServer::start(Limits::default());
    let mut clients: Vec<TcpStream> = (0..5).map(|_| server.client()).collect();
    eventually("five", || server.active() == 5);
    let handle = server.handle.clone();
    server.stop();
    for client in &mut clients {
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "a FIN, not an RST");
    }
    assert_eq!((handle.status().running, handle.status().active_connections), (false, 0));
}

#[test]
fn seed_6_diagnostics_report_resource_usage() {
    let server = TestServer::start(Limits::default());
    let _client = server.client();
    eventually("one", || server.handle.diagnostics().tcp.active_connections == 1);
    assert_eq!(server.handle.diagnostics().tcp.port, Some(server.addr.port()));
}

#[test]
fn p2_the_last_line_counts() {
    let server = TestServer::start(Limits::default());
    server.client().write_all(b"no ending").unwrap();
    eventually("the line", || server.lines() == ["no ending"]);
}

#[test]
fn p3_line_longer_than_the_cap_is_skipped_whole() {
    let server = TestServer::start(Limits { max_line: 8, ..Limits::default() });
    server.client().write_all(b"123456789\nok\n12345678\r\n").unwrap();
    eventually("the others", || server.lines() == ["ok", "12345678"]);
}

#[test]
fn p6_an_evicted_sender_that_does_not_look_loses_nothing() {
    let limits = Limits { idle_timeout: Duration::from_millis(50), ..Limits::default() };
    let server = TestServer::start(limits);
    let mut client = server.client();
    let begun = Instant::now();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "our FIN");
    assert!(begun.elapsed() >= Duration::from_millis(50), "never early");
    for number in 0..3 {
        client.write_all(format!("{number}\n").as_bytes()).unwrap();
    }
    eventually("all three", || server.lines() == ["0", "1", "2"]);
    eventually("lingering", || server.handle.status().gauges.lingering == 1);
    drop(client);
    eventually("gone", || server.active() == 0);
}

#[test]
fn p10_who_meets_a_full_house_waits_and_loses_nothing() {
    let limits = Limits { max_connections: 1, max_per_host: Some(0), ..Limits::default() };
    let server = TestServer::start(limits);
    let first = server.client();
    eventually("full", || server.active() == 1);
    server.client().write_all(b"waited\n").unwrap();
    drop(first);
    eventually("the line", || server.lines() == ["waited"]);
}

#[test]
fn p10_a_full_house_can_reject() {
    let when_full = WhenFull::Reject;
    let server =
        TestServer::start(Limits { max_connections: 1, max_per_host: Some(0), when_full, ..Limits::default() });
    let _first = server.client();
    eventually("full", || server.active() == 1);
    let mut second = server.client();
    assert_eq!(second.read(&mut [0; 1]).unwrap_or(0), 0);
    eventually("counted", || server.handle.status().counters.rejected == 1);
}

#[test]
fn p11_what_was_written_before_the_stop_is_in_the_output() {
    let server = TestServer::start(Limits::default());
    let mut clients: Vec<TcpStream> = (0..20).map(|_| server.client()).collect();
    for client in &mut clients {
        client.write_all(b"one\ntwo\nhalf").unwrap();
    }
    assert_eq!(server.stop().len(), 60);
}

#[test]
fn p14_one_host_gets_its_share_of_connections() {
    let server = TestServer::start(Limits { max_per_host: Some(1), ..Limits::default() });
    let _first = server.client();
    eventually("one", || server.active() == 1);
    let mut second = server.client();
    assert_eq!(second.read(&mut [0; 1]).unwrap_or(0), 0);
    eventually("counted", || server.handle.status().counters.refused_per_host == 1);
}
