//! P25: clients that come through a proxy.

use std::io::Read;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use lumberjack::{Config, IdleClose, Limits, Listen, MemorySink, Server};

use super::capture::said;
use super::world::{World, is_told_goodbye, name, reset, send};

const PROXIED: &str = "0.0.0.0:0,proxy,allow=127.0.0.0/8";

/// A header of version 2 with an IPv4 client.
fn v2(ip: [u8; 4], port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &ip, &[127, 0, 0, 1, high, low, 0, 1]].concat()
}

#[test]
fn p25_the_peer_is_who_the_header_names_and_lines_begin_behind_it() {
    let mut world = World::listening(PROXIED, Limits::default());
    for (header, peer) in [
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 5000 4445\r\n".to_vec(), Some("192.0.2.1:5000")),
        (b"PROXY TCP6 2001:db8::1 ::2 5001 4445\r\n".to_vec(), Some("[2001:db8::1]:5001")),
        (v2([192, 0, 2, 9], 5002), Some("192.0.2.9:5002")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x02xx".to_vec(), None),
    ] {
        let mut client = world.client();
        let number = world.valve.lines().len();
        let lines = format!("first {number}\nsecond\n");
        // The start of the line comes with the header, or byte by byte.
        let whole = [&header, lines.as_bytes()].concat();
        if number.is_multiple_of(4) {
            send(&mut client, &whole);
        } else {
            for byte in &whole {
                send(&mut client, &[*byte]);
                world.turns_for(Duration::from_millis(1));
            }
        }
        world.until("both lines", |world| world.valve.lines().len() == number + 2);
        assert_eq!(world.texts()[number..], [format!("first {number}"), "second".to_owned()]);
        let peer = peer.map_or_else(|| name(&client), str::to_owned);
        drop(client);
        world.until("it has left", |world| world.status().active_connections == 0);
        assert_eq!(said(&[&format!("Socket ended: {peer}: Ended")]).len(), 1, "{peer}");
    }
    assert_eq!(world.status().counters.proxy_errors, 0);
}

#[test]
fn p25_accounts_follow_the_peer_and_who_has_not_told_counts_for_no_host() {
    let limits = Limits { max_per_host: Some(2), ..Limits::default() };
    let mut world = World::listening(PROXIED, limits);
    let mut clients: Vec<_> = (0..6).map(|_| world.taken_client()).collect();
    assert_eq!((world.status().active_connections, world.status().gauges.hosts), (6, 0), "more than a host may have");
    let mut tell = |world: &mut World, number: usize, ip: [u8; 4], lines: &[u8]| {
        send(&mut clients[number], &[&v2(ip, 7), lines].concat());
        world.turns_for(Duration::from_millis(20));
    };
    tell(&mut world, 0, [192, 0, 2, 70], b"a\n");
    tell(&mut world, 1, [192, 0, 2, 70], b"b\n");
    tell(&mut world, 2, [192, 0, 2, 71], b"c\n");
    assert_eq!(world.status().gauges.hosts, 2);
    tell(&mut world, 3, [192, 0, 2, 70], b"too many\n");
    world.until("it is refused", |world| world.status().counters.refused_per_host == 1);
    assert_eq!(said(&["Host 192.0.2.70 has 2 connections already"]).len(), 1);
    assert_eq!((world.texts(), world.status().counters.probes), (vec!["a".into(), "b".into(), "c".into()], 0));
    drop(clients);
    world.until("all have left", |world| world.status().active_connections == 0);
    assert_eq!((world.status().gauges.hosts, world.status().counters.probes), (0, 2));
}

#[test]
fn p25_what_is_no_header_is_one_warning_and_a_close_and_a_probe_is_none() {
    let mut world = World::listening(PROXIED, Limits { receipt: true, ..Limits::default() });
    let mut errors = 0;
    for (bytes, why) in [
        (b"a line of somebody who is no proxy\n".as_slice(), Some("its first bytes are none")),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x41\0\0", Some("its family and transport are 0x41, which is none")),
        (b"PROXY TCP4 192.0.2.1 ", Some("the connection ended in the middle of it")),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 5 6 7\r\n", Some("its addresses or ports are not two of each")),
        (b"", None),
        (b"PROXY UNKNOWN\r\n", None),
    ] {
        let mut client = world.client();
        let (name, probes) = (name(&client), world.status().counters.probes);
        send(&mut client, bytes);
        client.shutdown(Shutdown::Write).unwrap();
        errors += u64::from(why.is_some());
        world.until("it is gone", |world| {
            world.status().counters.accepted > 0 && world.status().active_connections == 0
        });
        world.turns_for(Duration::from_millis(20));
        let counters = world.status().counters;
        // One that says who it is, and then nothing, is a probe too: a proxy's check of health.
        let is_probe = u64::from(why.is_none());
        assert_eq!((counters.proxy_errors, counters.probes - probes), (errors, is_probe), "{why:?}");
        if let Some(why) = why {
            let what = if bytes.starts_with(b"a") { "No" } else { "Broken" };
            let cure = match what {
                "No" => {
                    "turn it on at the proxy (HAProxy: send-proxy, nginx: proxy_protocol on); give clients without a proxy a listener without proxy"
                }
                _ => "it takes whole headers of version 1 and 2",
            };
            assert_eq!(said(&["WARN [tcp] ", what, " PROXY header from", &name, why, cure]).len(), 1, "{why}");
        }
    }
    let client = world.taken_client();
    reset(client);
    world.until("it is gone", |world| world.status().active_connections == 0);
    assert_eq!((world.status().counters.proxy_errors, world.texts()), (errors, vec![]));
}

#[test]
fn p25_a_header_has_five_seconds_and_then_the_connection_is_like_any_other() {
    let idle_timeout = Duration::from_millis(300);
    let mut world = World::listening(PROXIED, Limits { idle_timeout, ..Limits::default() });
    let (begun, mut silent, mut client) = (Instant::now(), world.taken_client(), world.taken_client());
    let name = name(&silent);
    world.turns_for(Duration::from_millis(600));
    assert!(!is_told_goodbye(&silent), "silence before a header is not that of --idle-timeout");
    send(&mut client, b"PROXY TCP4 192.0.2.40 198.51.100.2 5 6\r\n");
    world.until("it is told goodbye", |world| world.status().counters.evicted_idle == 1);
    assert_eq!(said(&["Socket timeout on 192.0.2.40:5"]).len(), 1);
    send(&mut client, b"lossless\n");
    world.until_lines(&["lossless"]);
    world.until("the other is closed", |world| world.status().counters.proxy_errors == 1);
    assert!(begun.elapsed() >= Duration::from_secs(5), "after {:?}", begun.elapsed());
    assert_eq!(said(&["No PROXY header from", &name, "none came within 5 seconds"]).len(), 1);
    assert!(matches!(silent.read(&mut [0; 1]), Ok(0) | Err(_)), "closed");
}

#[test]
fn p25_a_header_that_comes_while_the_server_ends_still_says_whose_the_lines_are() {
    let mut world = World::listening(PROXIED, Limits::default());
    let mut client = world.taken_client();
    world.handle.stop();
    world.until("its goodbye", |world| world.status().gauges.lingering == 1);
    send(&mut client, &[&v2([192, 0, 2, 41], 1), b"last".as_slice()].concat());
    drop(client);
    world.stop().unwrap();
    assert_eq!((world.texts(), said(&["is a proxy for 192.0.2.41:1"]).len()), (vec!["last".into()], 1));
}

#[test]
fn p25_a_quiet_one_of_the_host_that_the_header_names_gives_way() {
    let limits = Limits {
        max_per_host: Some(1),
        idle_close: IdleClose::Needed,
        idle_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let mut world = World::listening(PROXIED, limits);
    let (mut old, mut new) = (world.taken_client(), world.taken_client());
    send(&mut old, &[&v2([192, 0, 2, 42], 1), b"old\nunfinished".as_slice()].concat());
    world.until_lines(&["old"]);
    world.turns_for(Duration::from_millis(150));
    send(&mut new, &[&v2([192, 0, 2, 42], 2), b"new\n".as_slice()].concat());
    world.until_lines(&["old", "unfinished", "new"]);
    send(&mut old, b"after its goodbye\n");
    world.until_lines(&["old", "unfinished", "new", "after its goodbye"]);
    assert_eq!(world.status().counters.refused_per_host, 0);
}

#[test]
fn p25_a_proxy_has_to_be_named_and_comes_over_tcp() {
    for (listen, words) in [
        ("127.0.0.1:0,proxy", "--listen 127.0.0.1:0,proxy=on: anybody could say who its lines are from"),
        ("unix:/run/x.sock,proxy=on", "--listen unix:/run/x.sock,proxy=on: clients of a Unix socket have no addresses"),
    ] {
        let config = Config {
            listen: vec![listen.parse::<Listen>().unwrap()],
            ..Config::listen("127.0.0.1:0".parse().unwrap())
        };
        let error = Server::bind(config, MemorySink::new()).err().unwrap().to_string();
        assert!(error.starts_with(words), "{error}");
    }
}
