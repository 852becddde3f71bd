//! P12: nothing is silent, and nobody can make the server talk without end.

use lumberjack::Limits;

use super::capture::said;
use super::world::{World, name, send};

#[test]
fn p12_a_probe_is_counted_and_said_at_debug_only() {
    let mut world = World::new(Limits::default());
    let probe = world.taken_client();
    let name = name(&probe);
    drop(probe);
    world.until("it is counted", |world| world.status().counters.probes == 1);
    let messages = said(&[&name]);
    assert!(!messages.is_empty() && messages.iter().all(|message| message.starts_with("DEBUG ")), "{messages:?}");
}

#[test]
fn p12_a_client_that_speaks_another_protocol_is_named_with_a_cure_and_its_lines_go_out() {
    for (first_bytes, protocol) in [
        (b"\x16\x03\x01\x02\x00\x01\n".as_slice(), "TLS"),
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"2W\0\0\0\x01\n", "Beats"),
        (b"5 <34>hello\n", "octet-counted syslog"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n", "the PROXY protocol"),
        (b"\xff\xfeh\0\n", "UTF-16"),
    ] {
        let mut world = World::new(Limits::default());
        let mut client = world.taken_client();
        send(&mut client, first_bytes);
        send(&mut client, first_bytes);
        world.until("both lines", |world| world.valve.lines().len() == 2);
        let words = format!("{} seems to speak {protocol}, not lines: ", name(&client));
        assert_eq!(said(&["WARN [tcp] ", &words]).len(), 1, "once a connection: {protocol}");
    }
}

#[test]
fn p12_one_client_cannot_fill_the_log() {
    let mut world = World::new(Limits { max_line: 4, max_buffer: 8, ..Limits::default() });
    let mut client = world.taken_client();
    let name = name(&client);
    for _ in 0..100 {
        send(&mut client, &b"too long\n".repeat(10));
    }
    world.until("a thousand are skipped", |world| world.status().counters.skipped_lines == 1000);
    let messages = said(&["Line too long on ", &name]);
    assert!(messages.len() <= 5, "{} warnings for one client", messages.len());
    world.stop().unwrap();
    assert!(!said(&["similar suppressed (Line too long)"]).is_empty(), "what was left out is told");
}

#[test]
fn p12_what_a_client_sent_never_reaches_the_log() {
    let mut world = World::new(Limits { max_line: 16, max_buffer: 32, ..Limits::default() });
    let mut client = world.taken_client();
    send(&mut client, b"GET /secret-of-p12\x1b[31m HTTP/1.1\r\nsecret-of-p12, and far too long\n");
    send(&mut client, &b"secret-of-p12".repeat(10));
    drop(client);
    world.until("it is gone", |world| world.status().active_connections == 0);
    assert!(said(&["secret-of-p12"]).is_empty());
}
