//! Clients over TLS (P33), by rustls' own sessions: handshakes, refusals, ends, and what they cost.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lumberjack::{Config, Limits, Server};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::capture::said;
use super::client::Client;
use super::common::patience::join;
use super::tls_client::{certs, config, options, usual};
use super::world::{World, name, send};

const ONE: [u8; 4] = [127, 0, 33, 1];
const OTHER: [u8; 4] = [127, 0, 33, 2];

fn world(more: &str, limits: Limits) -> World {
    let at = format!("0.0.0.0:0{}{more}", options());
    World::as_it_is(Config {
        listen: vec![at.parse().unwrap()],
        limits,
        ..Config::listen("0.0.0.0:0".parse().unwrap())
    })
}

fn client(world: &World, config: &Arc<rustls::ClientConfig>) -> Client {
    Client::secured(world.socket_of(ONE), config)
}

fn is_over(client: &Client) -> bool {
    let tls = client.tls();
    tls.end.is_some() || !tls.session.is_handshaking()
}

/// One that is in.
fn inside(world: &mut World) -> Client {
    let client = client(world, &usual());
    let before = world.status().tls.handshakes;
    world.until("its handshake", |world| world.status().tls.handshakes > before);
    client
}

fn until_gone(world: &mut World) {
    world.until("it is gone", |world| world.status().active_connections == 0);
}

#[test]
fn p33_lines_over_both_versions_are_lines_and_an_end_without_close_notify_is_counted() {
    for is_old in [false, true] {
        let mut world = world("", Limits::default());
        let mut first = client(&world, &config("ca", None, is_old));
        let first_name = name(&first);
        send(&mut first, b"one\ntwo\n");
        world.until_lines(&["one", "two"]);
        drop(first);
        until_gone(&mut world);
        assert_eq!(world.status().tls.truncated, 1);
        assert!(said(&["WARN [tls]", &first_name]).is_empty(), "many clients end so, and nothing is lost");
        let mut second = client(&world, &config("ca", None, is_old));
        let second_name = name(&second);
        send(&mut second, b"three\nhalf");
        drop(second);
        world.until_lines(&["one", "two", "three", "half"]);
        until_gone(&mut world);
        assert_eq!(said(&["WARN [tls]", &second_name, "ended in the middle of a line, without close_notify"]).len(), 1);
        let tls = world.status().tls;
        assert_eq!((tls.handshakes, tls.failed, tls.truncated, tls.active), (2, 0, 2, 0));
    }
}

#[test]
fn p33_close_notify_is_answered_and_what_comes_behind_it_is_dropped() {
    let mut world = world("", Limits::default());
    let mut client = inside(&mut world);
    send(&mut client, b"one\nhalf");
    client.tls().say_end();
    world.until_lines(&["one", "half"]);
    client.socket().write_all(b"\x17\x03\x03\0\x05 more and no TLS\n").unwrap();
    world.until("our close_notify and FIN", |_| client.tls().end == Some(Ok(())));
    // rustls tells a FIN without close_notify as an error.
    assert_eq!(client.tls().session.reader().read(&mut [0; 9]).unwrap(), 0, "close_notify came first");
    client.shutdown(Shutdown::Write).unwrap();
    until_gone(&mut world);
    assert_eq!(world.texts(), ["one", "half"]);
    assert_eq!((world.status().tls.truncated, world.status().counters.ended_at_goodbye), (0, 0));
}

/// Moves what both have to say, in pieces of so many bytes, a turn each, until the client has read nothing more to say.
fn trickle(world: &mut World, session: &mut ClientConnection, mut socket: &TcpStream, piece: usize) {
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut bytes).unwrap();
    }
    for piece in bytes.chunks(piece) {
        socket.write_all(piece).unwrap();
        world.turn(Duration::from_millis(1)).unwrap();
    }
    for _ in 0..3 {
        world.turn(Duration::ZERO).unwrap();
    }
    while session.read_tls(&mut socket).is_ok_and(|count| count > 0) {
        session.process_new_packets().unwrap();
    }
}

#[test]
fn p33_a_handshake_and_records_in_pieces_of_one_byte_are_what_they_are() {
    for (is_old, piece) in [(false, 1), (true, 1), (false, 7)] {
        let mut world = world("", Limits { gather: Duration::ZERO, ..Limits::default() });
        let socket = world.socket_of(ONE);
        socket.set_nonblocking(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(config("ca", None, is_old), name).unwrap();
        while session.is_handshaking() || session.wants_write() {
            trickle(&mut world, &mut session, &socket, piece);
        }
        session.writer().write_all(b"one\nand ").unwrap();
        trickle(&mut world, &mut session, &socket, piece);
        session.writer().write_all(b"two\n\nthree\n").unwrap();
        trickle(&mut world, &mut session, &socket, piece);
        world.until_lines(&["one", "and two", "three"]);
    }
}

#[test]
fn p12_lines_without_tls_are_told_so_and_never_become_lines() {
    let mut world = world("", Limits::default());
    let mut plain = Client::plain(world.socket_of(ONE));
    let name = name(&plain);
    send(&mut plain, b"a line\nand another\n");
    world.until("it is refused", |world| world.status().tls.failed == 1);
    until_gone(&mut world);
    // No goodbye, which would say that all was taken.
    let error = plain.socket().read(&mut [0; 9]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(world.texts().is_empty());
    let words = ["WARN [tls]", &name, "sends lines without TLS to 0.0.0.0:", ",tls", "turn TLS on at the sender"];
    assert_eq!(said(&words).len(), 1);
    assert_eq!((world.status().tls.failed, world.status().counters.probes), (1, 0));
}

#[test]
fn p33_who_does_not_belong_is_told_why_and_brings_no_line() {
    let ca = format!(",client-ca={},client-name=*.plant.example", certs().text("ca.pem"));
    for (own, trusted, words) in [
        (None, "ca", "has sent no certificate"),
        (Some("other-client"), "ca", "is signed by nobody who is trusted here"),
        (Some("expired-client"), "ca", "has expired"),
        (Some("common-name"), "ca", "is for no name that client-name has"),
        (Some("client"), "other-ca", "does not trust our certificate"),
    ] {
        for is_old in [false, true] {
            let mut world = world(&ca, Limits::default());
            let mut client = client(&world, &config(trusted, own, is_old));
            let name = name(&client);
            send(&mut client, b"never a line\n");
            world.until("it is refused", |world| world.status().tls.failed == 1);
            world.until("it hears of it", |_| client.tls().end.is_some());
            assert!(matches!(client.tls().end, Some(Err(_))), "an alert, and no RST: {:?}", client.tls().end);
            assert_eq!(said(&["WARN [tls]", &name, words]).len(), 1, "{own:?} {words}");
            drop(client);
            until_gone(&mut world);
            assert_eq!((world.texts().len(), world.status().tls.handshakes), (0, 0), "{own:?}");
        }
    }
    let mut world = world(&ca, Limits::default());
    let mut client = client(&world, &config("ca", Some("client"), false));
    send(&mut client, b"it belongs\n");
    world.until_lines(&["it belongs"]);
}

#[test]
fn p33_only_tls_1_3_where_that_is_asked_for() {
    let mut world = world(",tls-min=1.3", Limits::default());
    let old = client(&world, &config("ca", None, true));
    world.until("it is refused", |_| old.tls().end.is_some());
    assert_eq!(said(&["WARN [tls]", &name(&old), "the client offers no version of TLS that is taken here"]).len(), 1);
    send(&mut client(&world, &usual()), b"new\n");
    world.until_lines(&["new"]);
}

#[test]
fn p33_half_handshakes_that_stay_give_their_places() {
    let limits = Limits { max_per_host: Some(0), ..Limits::default() };
    let mut world = world("", limits);
    let halves: Vec<_> = (0..70)
        .map(|_| {
            let half = Client::plain(world.socket_of(OTHER));
            send(&mut half.try_clone().unwrap(), b"\x16\x03\x01\x02\0\x01");
            half
        })
        .collect();
    world.until("all places are taken", |world| world.status().active_connections == 64);
    let begun = Instant::now();
    let mut calm = client(&world, &usual());
    send(&mut calm, b"calm\n");
    world.until_lines(&["calm"]);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(world.status().tls.failed >= 7);
    assert!(!said(&["WARN [tls]", "its handshake took long, and others waited"]).is_empty());
    drop(halves);
}

#[test]
fn p6_a_goodbye_over_tls_is_a_fin_alone_and_loses_nothing() {
    let mut world = world("", Limits { idle_timeout: Duration::from_millis(150), ..Limits::default() });
    let mut client = inside(&mut world);
    send(&mut client, b"one\n");
    world.until("the goodbye", |_| client.tls().end == Some(Ok(())));
    assert!(client.tls().session.reader().read(&mut [0; 9]).is_err(), "no close_notify before the client's");
    send(&mut client, b"two\n");
    world.until_lines(&["one", "two"]);
    client.tls().say_end();
    client.shutdown(Shutdown::Write).unwrap();
    until_gone(&mut world);
    assert_eq!(world.status().counters.ended_at_goodbye, 0);
}

#[test]
fn p11_a_handshake_that_a_stop_has_met_is_brought_to_its_end() {
    let mut world = world("", Limits::default());
    let mut client = client(&world, &config("ca", None, true));
    send(&mut client, b"one\n");
    world.until("it is here", |world| world.status().active_connections == 1);
    assert_eq!(world.status().tls.handshakes, 0);
    world.stop().unwrap();
    assert_eq!(world.texts(), ["one"]);
}

#[test]
fn p17_a_receipt_comes_over_tls_behind_a_fin_or_close_notify() {
    for has_end in [false, true] {
        let mut world = world("", Limits { receipt: true, ..Limits::default() });
        let mut client = client(&world, &usual());
        send(&mut client, b"one\ntwo\nhalf");
        world.until("it is read", |world| world.status().counters.bytes == 12);
        if has_end {
            client.tls().say_end();
        } else {
            client.shutdown(Shutdown::Write).unwrap();
        }
        until_gone(&mut world);
        world.turn(Duration::ZERO).unwrap();
        let mut receipt = [0; 8];
        client.read_exact(&mut receipt).unwrap();
        assert_eq!((&receipt, world.texts().len()), (b"3 lines\n", 3));
        assert_eq!(client.tls().session.reader().read(&mut [0; 9]).unwrap(), 0, "and close_notify");
    }
}

#[test]
fn p21_octet_counting_over_tls_is_rfc_5425() {
    let mut world = world(",framing=octet", Limits::default());
    let mut client = client(&world, &usual());
    send(&mut client, b"3 one7 two\nand1 x");
    world.until_lines(&["one", "two\\\\nand", "x"]);
}

#[test]
fn p25_a_proxys_header_comes_before_the_handshake() {
    for pieces in [
        &[&b"PROXY TCP4 192.0.2.7 127.0.0.1 5000 6514\r\n"[..]][..],
        &[b"PROXY TCP4 192.0", b".2.7 127.0.0.1 5000 6514\r\n"],
    ] {
        let mut world = world(",proxy,allow=127.0.33.1", Limits::default());
        let mut socket = world.socket_of(ONE);
        for piece in pieces {
            socket.write_all(piece).unwrap();
            world.turns_for(Duration::from_millis(5));
        }
        let mut client = Client::secured(socket, &usual());
        send(&mut client, b"one\n");
        world.until_lines(&["one"]);
        drop(client);
        until_gone(&mut world);
        // At once, too.
        let mut socket = world.socket_of(ONE);
        socket.write_all(pieces.concat().as_slice()).unwrap();
        send(&mut Client::secured(socket, &usual()), b"two\n");
        world.until_lines(&["one", "two"]);
    }
}

#[test]
fn p5_each_connection_is_charged_and_without_memory_new_ones_wait() {
    let limits = Limits { memory: 4 << 20, max_per_host: Some(0), ..Limits::default() };
    let mut world = world("", limits);
    let mut clients: Vec<_> = (0..120).map(|_| client(&world, &usual())).collect();
    world.until("no more come in", |world| world.status().counters.accept_pauses == 1);
    world.turns_for(Duration::from_millis(300));
    let inside = world.status().active_connections;
    assert!((40..110).contains(&inside), "{inside} connections");
    assert_eq!(said(&["WARN [tls] The memory for connections over TLS is used up", "--memory sets it"]).len(), 1);
    // The first have left: others come in, in their order.
    drop(clients.drain(..30).collect::<Vec<_>>());
    world.until("others are in", |world| world.status().tls.handshakes >= inside + 10);
    drop(clients);
    until_gone(&mut world);
}

#[test]
fn p13_too_little_memory_for_any_connection_over_tls_is_told() {
    let limits = Limits { memory: 1 << 20, ..Limits::default() };
    let listen = vec![format!("127.0.0.1:0{}", options()).parse().unwrap()];
    let config = Config { listen, limits, ..Config::listen("127.0.0.1:0".parse().unwrap()) };
    let error = Server::bind(config, lumberjack::MemorySink::new()).err().unwrap().to_string();
    assert_eq!(error, "--memory 1MiB has no room for a connection over TLS: give more, such as 4MiB, or leave tls out");
}

#[test]
fn p27_new_connections_get_a_new_certificate_and_a_broken_file_changes_nothing() {
    let own = certs().path("renewed");
    fs::create_dir_all(&own).unwrap();
    let put = |name: &str| {
        fs::copy(certs().path(&format!("{name}.pem")), own.join("cert.pem")).unwrap();
        fs::copy(certs().path(&format!("{name}.key")), own.join("key.pem")).unwrap();
    };
    put("server");
    let at = format!("0.0.0.0:0,tls,cert={0}/cert.pem,key={0}/key.pem", own.display());
    let mut world =
        World::as_it_is(Config { listen: vec![at.parse().unwrap()], ..Config::listen("0.0.0.0:0".parse().unwrap()) });
    let mut old = inside(&mut world);
    put("other-server");
    world.handle.reopen();
    world.turn(Duration::from_millis(50)).unwrap();
    let mut new = client(&world, &config("other-ca", None, false));
    send(&mut new, b"new\n");
    world.until_lines(&["new"]);
    send(&mut old, b"old\n");
    world.until_lines(&["new", "old"]);
    fs::write(own.join("cert.pem"), "nothing").unwrap();
    world.handle.reopen();
    world.turn(Duration::from_millis(50)).unwrap();
    assert_eq!(said(&["WARN [tls]", "renewed/cert.pem", "goes on with what it has read before"]).len(), 1);
    let mut newer = client(&world, &config("other-ca", None, false));
    send(&mut newer, b"newer\n");
    world.until_lines(&["new", "old", "newer"]);
    world.until("all are in", |_| is_over(&newer));
}

#[test]
fn p11_who_floods_behind_its_own_end_cannot_put_off_the_end() {
    let limits = Limits { drain_timeout: Duration::from_millis(100), ..Limits::default() };
    let mut world = world("", limits);
    let mut client = inside(&mut world);
    send(&mut client, b"one\n");
    client.tls().say_end();
    world.until_lines(&["one"]);
    let mut socket = client.socket().try_clone().unwrap();
    socket.set_nonblocking(false).unwrap();
    let flooding = std::thread::spawn(move || {
        let (begun, block) = (Instant::now(), vec![b'x'; 1 << 16]);
        while begun.elapsed() < Duration::from_secs(15) && socket.write_all(&block).is_ok() {}
        begun.elapsed()
    });
    world.stop().unwrap();
    assert_eq!(world.status().counters.cut_off, 1);
    drop(world);
    assert!(join("the flood", flooding) < Duration::from_secs(14), "it was read on and on");
}

#[test]
fn p33_who_floods_behind_its_own_end_is_cut_off_and_keeps_no_place() {
    let mut world = world("", Limits::default());
    let mut client = inside(&mut world);
    let client_name = name(&client);
    send(&mut client, b"one\n");
    client.tls().say_end();
    world.until_lines(&["one"]);
    let block = vec![0x17; 64 * 1024];
    client.socket().set_nonblocking(true).unwrap();
    world.until("it is cut off", |world| {
        let _ = client.socket().write(&block);
        world.status().active_connections == 0
    });
    assert_eq!(world.texts(), ["one"]);
    assert!(!said(&["WARN", &client_name]).is_empty(), "that is said");
}
