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
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"1 open 85 relp_version=0\n", "RELP"),
        (b"\xff\xfeh\0\n", "UTF-16"),
        (b"\xac\xed\x00\x05sr\n", "Java serialisation"),
        (b"\x00\x00\x01\x23}q\x00(X\n", "Python's pickle"),
        (b"\x00\x00\x01\x23\x80\x04\x95\n", "Python's pickle"),
        (b"\x93\xa3app\xce\n", "msgpack (fluentd forward)"),
        (b"\x1f\x8b\x08\x00\n", "gzip"),
        (b"one\0two\0three\0four\0five\0six\0seven\0eight\0 1\0 2\0 3\0 4\0 5\0 6\0 7\0 8\0\n", "NUL-ended messages"),
        (b"one\rtwo\rthree\rfour\rfive\rsix\rseven\reight\r 1\r 2\r 3\r 4\r 5\r 6\r 7\r 8\rx\n", "CR-ended messages"),
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
fn p12_a_protocol_is_named_however_its_first_bytes_are_cut() {
    for (first_bytes, protocol) in [
        (b"\x16\x03\x01\x02".as_slice(), "TLS"),
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"2W\0\0", "Beats"),
        (b"5 <34>hello", "octet-counted syslog"),
        (b"\r\n\r\n\0\r\nQUIT\n", "the PROXY protocol"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
        (b"1 open 85 relp_version=0\n", "RELP"),
        (b"\xff\xfeh\0", "UTF-16"),
        (b"\xac\xed\x00\x05", "Java serialisation"),
        (b"\x00\x00\x01\x23\x80\x04", "Python's pickle"),
        (b"\x93\xa3app", "msgpack (fluentd forward)"),
        (b"\x1f\x8b\x08", "gzip"),
    ] {
        for cut in 1..first_bytes.len() {
            // Each of its own: of many warnings in a row some are suppressed.
            let mut world = World::new(Limits::default());
            let mut client = world.taken_client();
            let words = format!("{} seems to speak {protocol}, not lines: ", name(&client));
            world.send_and_wait(&mut client, &first_bytes[..cut]);
            world.send_and_wait(&mut client, &first_bytes[cut..]);
            world.send_and_wait(&mut client, b"\nlast\n");
            world.until("its lines", |world| world.valve.lines().last().is_some_and(|line| line == b"last"));
            assert_eq!(said(&[&words]).len(), 1, "{protocol} cut at {cut}");
        }
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

#[test]
fn p12_messages_that_never_end_in_a_newline_are_told_of_before_one_comes() {
    for (mark, protocol) in [("\0", "NUL-ended messages"), ("\r", "CR-ended messages")] {
        let mut world = World::new(Limits::default());
        let mut client = world.taken_client();
        let words = format!("{} seems to speak {protocol}, not lines: ", name(&client));
        for number in 0..20 {
            let before = world.status().counters.bytes;
            send(&mut client, format!("message{mark}").as_bytes());
            world.until("it is read", |world| world.status().counters.bytes > before);
            assert_eq!(said(&[&words]).len(), usize::from(number >= 15), "after {} of {protocol}", number + 1);
        }
    }
    // One, and then a second of silence, or the end.
    for (mark, protocol, ends) in [("\0", "NUL", false), ("\0", "NUL", true), ("\r", "CR", false), ("\r", "CR", true)] {
        let mut world = World::new(Limits::default());
        let mut client = world.taken_client();
        let words = format!("{} seems to speak {protocol}-ended messages, not lines: ", name(&client));
        let message = format!("message{mark}");
        send(&mut client, message.as_bytes());
        world.until("it is read", |world| world.status().counters.bytes > 0);
        world.turns_for(std::time::Duration::from_millis(700));
        assert!(said(&[&words]).is_empty(), "more of it may be on its way");
        if ends {
            drop(client);
            world.until("it is told of", |_| said(&[&words]).len() == 1);
            continue;
        }
        world.until("it is told of", |_| said(&[&words]).len() == 1);
        send(&mut client, message.as_bytes());
        drop(client);
        world.until("it is gone", |world| world.status().active_connections == 0);
        assert_eq!(said(&[&words]).len(), 1, "once");
    }
    // Neither a progress bar's few, nor a NUL in a line that goes on.
    let mut world = World::new(Limits::default());
    let mut client = world.taken_client();
    let words = format!("{} seems to speak ", name(&client));
    world.send_and_wait(&mut client, b"10 %\r20 %");
    world.turns_for(std::time::Duration::from_millis(1200));
    send(&mut client, b"\r100 %\r\n");
    send(&mut client, b"a\0b\0c\n");
    drop(client);
    world.until("it is gone", |world| world.status().active_connections == 0);
    assert!(said(&[&words]).is_empty());
}

#[test]
fn p12_syslog_messages_that_nothing_ends_are_told_of() {
    let words = "seems to speak syslog messages that nothing ends, not lines: have the sender end each";
    let message = b"<134>1 2026-11-26T18:11:36.123Z box app 7 - - a message of log4j2";
    // A crowd of them without a pause, a few and then silence, or the end: they are one line either way.
    let mut world = World::new(Limits::default());
    let mut client = world.taken_client();
    let of_it = name(&client);
    world.send_and_wait(&mut client, &message.repeat(3));
    world.turns_for(std::time::Duration::from_millis(1200));
    assert!(said(&[&of_it, words]).is_empty(), "a line may have headers in it");
    world.send_and_wait(&mut client, message);
    world.until("it is told of", |_| said(&[&of_it, words]).len() == 1);
    for _ in 0..5 {
        world.send_and_wait(&mut client, message);
    }
    drop(client);
    world.until("the line", |world| world.valve.lines() == [message.repeat(9)]);
    assert_eq!(said(&[&of_it, words]).len(), 1, "once");
    for pieces in [1, 5] {
        let mut world = World::new(Limits::default());
        let mut client = world.taken_client();
        let of_it = name(&client);
        for _ in 0..pieces {
            world.send_and_wait(&mut client, &message.repeat(5));
        }
        assert_eq!(said(&[&of_it, words]).len(), usize::from(pieces > 1), "at once, if more comes");
        drop(client);
        world.until("it is told of", |_| said(&[&of_it, words]).len() == 1);
    }
}
