//! P21: messages that end in something else than a newline.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use lumberjack::{EmbeddedNewline, Framing, Limits};

use super::capture::said;
use super::client::Client;
use super::world::{World, name, send};

fn world(framing: Framing, limits: Limits) -> World {
    World::with(limits, framing)
}

#[test]
fn p21_each_framing_comes_out_as_lines_however_it_is_cut() {
    for (framing, sent, lines) in [
        (Framing::Nul, b"one\r\0two\nlines\0three\0".as_slice(), ["one\\r", "two\\\\nlines", "three"]),
        (Framing::Cr, b"one\0\rtwo\nlines\rthree\r", ["one\\x00", "two\\\\nlines", "three"]),
        (Framing::Octet, b"4 one\r9 two\nlines7 three\r\n", ["one\\r", "two\\\\nlines", "three"]),
        (Framing::AutoOctet, b"4 <one9 two\nlines6 three\0", ["<one", "two\\\\nlines", "three"]),
        (Framing::AutoOctet, b"1 line\n12 lines\r\n123456789 <\n", ["1 line", "12 lines", "123456789 <"]),
    ] {
        for piece in [1, 3, sent.len()] {
            let mut world = world(framing, Limits::default());
            let mut client = world.taken_client();
            sent.chunks(piece).for_each(|bytes| world.send_and_wait(&mut client, bytes));
            world.until_lines(&lines);
            drop(client);
            world.until("it is gone", |world| world.status().active_connections == 0);
            let counters = world.status().counters;
            assert_eq!((counters.unterminated, counters.dropped_bytes, counters.bad_lengths), (0, 0, 0), "{framing}");
        }
    }
}

#[test]
fn p21_a_byte_order_mark_goes_where_a_mark_ends_messages_and_stays_where_a_length_may_come_first() {
    for (framing, sent, lines, bad_lengths) in [
        (Framing::Nul, b"\xef\xbb\xbfone\0\xef\xbb\xbftwo\0".as_slice(), &["one", r"\xef\xbb\xbftwo"][..], 0),
        (Framing::Cr, b"\xef\xbb\xbfone\rtwo\r", &["one", "two"], 0),
        (Framing::AutoOctet, b"\xef\xbb\xbfone\ntwo\n", &[r"\xef\xbb\xbfone", "two"], 0),
        (Framing::AutoOctet, b"\xef\xbb\xbf5 <34>x\n", &[r"\xef\xbb\xbf5 <34>x"], 0),
        (Framing::Octet, b"\xef\xbb\xbf3 one", &[], 1),
    ] {
        for cut in 0..=4 {
            let mut world = world(framing, Limits::default());
            let mut client = world.taken_client();
            world.send_and_wait(&mut client, &sent[..cut]);
            world.send_and_wait(&mut client, &sent[cut..]);
            drop(client);
            world.until("it is gone", |world| world.status().active_connections == 0);
            assert_eq!(
                (&world.texts()[..], cut),
                (&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()[..], cut)
            );
            assert_eq!(world.status().counters.bad_lengths, bad_lengths, "{framing}");
        }
    }
}

#[test]
fn p21_a_newline_in_a_message_becomes_what_is_asked_for() {
    for (embedded_newline, line) in [(EmbeddedNewline::Escape, "a\\\\nb"), (EmbeddedNewline::Space, "a b")] {
        let mut world = world(Framing::Octet, Limits { embedded_newline, ..Limits::default() });
        send(&mut world.client(), b"3 a\nb");
        world.until_lines(&[line]);
    }
}

#[test]
fn p21_an_unfinished_message_is_delivered_and_counted_and_a_length_alone_is_none() {
    let mut world = world(Framing::Octet, Limits::default());
    for (sent, unterminated) in [(b"2 ok9 half".as_slice(), 1), (b"2 ok9 \r", 2), (b"2 ok9 ", 2), (b"2 ok9", 2)] {
        send(&mut world.client(), sent);
        world.until("it is read", |world| world.status().counters.bytes > 0);
        world.until("it is gone", |world| world.status().active_connections == 0);
        world.turns_for(Duration::from_millis(20));
        world.until("it is counted", |world| world.status().counters.unterminated == unterminated);
    }
    world.until_lines(&["ok", "half", "ok", "\\r", "ok", "ok"]);
}

#[test]
fn p21_a_message_past_the_cap_is_treated_as_a_line_is_and_the_next_is_intact() {
    let limits = Limits { max_line: 8, max_buffer: 16, ..Limits::default() };
    let mut world = world(Framing::Octet, limits);
    let mut client = world.taken_client();
    send(&mut client, b"9 123456789\n8 12345678\n10 12345678\r\n2 ok");
    world.until_lines(&["12345678", "12345678", "ok"]);
    let counters = world.status().counters;
    assert_eq!((counters.skipped_lines, counters.dropped_bytes, counters.bad_lengths), (1, 9, 0));
}

/// Reads to the end of what the server sends: its goodbye.
fn has_heard_goodbye(client: &mut Client) -> bool {
    client.set_nonblocking(true).unwrap();
    let read = client.read(&mut [0; 1]);
    client.set_nonblocking(false).unwrap();
    matches!(read, Ok(0))
}

#[test]
fn p21_no_length_is_one_warning_and_a_goodbye_and_nothing_before_it_is_lost() {
    for (sent, dropped_bytes) in [
        (b"2 one\n".as_slice(), 2),
        (b"2 on\n0 x", 3),
        (b"2 on01 x", 4),
        (b"2 on1048577 x", 3),
        (b"2 on12<x", 2),
        (b"2 on99999999999999999999 x", 16),
        (b"2 on\r\n", 2),
    ] {
        let mut world = world(Framing::Octet, Limits::default());
        let mut client = world.taken_client();
        let name = name(&client);
        send(&mut client, sent);
        world.until("it is told", |world| world.status().gauges.lingering == 1);
        world.until_lines(&["on"]);
        assert!(has_heard_goodbye(&mut client));
        // What comes later is read, dropped and counted.
        world.send_and_wait(&mut client, b"2 no2 no");
        let counters = world.status().counters;
        assert_eq!((counters.bad_lengths, counters.lines), (1, 1));
        assert_eq!(counters.dropped_bytes, dropped_bytes + 8, "{}", sent.escape_ascii());
        drop(client);
        world.until("it is gone", |world| world.status().active_connections == 0);
        assert_eq!(said(&[&name, "WARN [tcp] "]).len(), 1, "one warning");
        assert_eq!(said(&[&name, "sent no length from 1 to 1048576 and a space"]).len(), 1);
        assert_eq!(world.status().counters.ended_at_goodbye, 0);
    }
}

#[test]
fn p21_who_was_taken_for_octet_counting_is_told_so_and_what_to_use() {
    let mut world = world(Framing::AutoOctet, Limits::default());
    let mut client = world.taken_client();
    let name = name(&client);
    send(&mut client, b"4 <one and then a line\n");
    world.until_lines(&["<one"]);
    world.until("it is told", |world| world.status().gauges.lingering == 1);
    let words = ["it began as octet counting does, and auto-octet took it for that", "use framing=lines"];
    assert_eq!(said(&[&name, words[0], words[1]]).len(), 1);
}

#[test]
fn p21_who_sends_no_length_and_floods_is_closed_after_five_seconds() {
    let mut world = world(Framing::Octet, Limits::default());
    let mut client = world.taken_client();
    send(&mut client, b"2 okGET / HTTP/1.1\r\n");
    world.until("it is told", |world| world.status().gauges.lingering == 1);
    let (begun, flood) = (Instant::now(), vec![b'x'; 4096]);
    client.set_nonblocking(true).unwrap();
    let closed_after = loop {
        match client.write(&flood) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break begun.elapsed(),
        }
        world.turn(Duration::from_millis(5)).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20), "a flood keeps its place");
    };
    assert!(closed_after >= Duration::from_millis(4900), "{closed_after:?}");
    world.until("it is gone", |world| world.status().active_connections == 0);
    assert_eq!(world.texts(), ["ok"]);
}

#[test]
fn p21_without_lingering_who_sends_no_length_is_closed_at_once() {
    let mut world = world(Framing::Octet, Limits { linger: Duration::ZERO, ..Limits::default() });
    let mut client = world.taken_client();
    send(&mut client, b"2 okx");
    world.until("it is gone", |world| world.status().active_connections == 0);
    assert_eq!((world.texts(), world.status().counters.bad_lengths), (vec!["ok".to_owned()], 1));
}

#[test]
fn p21_a_message_that_waits_too_long_goes_out_in_pieces_and_ends_by_its_length() {
    let mut world = world(Framing::Octet, Limits { line_timeout: Duration::from_millis(30), ..Limits::default() });
    let mut client = world.taken_client();
    send(&mut client, b"6 half");
    world.until_lines(&["half"]);
    send(&mut client, b"\r\n4 next");
    world.until_lines(&["half", "next"]);
    send(&mut client, b"6 half");
    world.until_lines(&["half", "next", "half"]);
    send(&mut client, b"!!2 ok");
    world.until_lines(&["half", "next", "half", "!!", "ok"]);
    // A length that has no message yet waits for nothing.
    send(&mut client, b"2");
    world.turns_for(Duration::from_millis(100));
    send(&mut client, b" ok");
    world.until_lines(&["half", "next", "half", "!!", "ok", "ok"]);
}

#[test]
fn p21_digits_that_may_be_a_length_are_pending_until_they_are_certain_or_wait_too_long() {
    let limits = Limits { line_timeout: Duration::from_millis(30), ..Limits::default() };
    let mut world = world(Framing::AutoOctet, limits);
    let mut client = world.taken_client();
    send(&mut client, b"12 ");
    world.until_lines(&["12 "]);
    // It was the start of lines.
    send(&mut client, b"<5 a\nb\n");
    world.until_lines(&["12 ", "<5 a", "b"]);
    send(&mut world.client(), b"34");
    world.until_lines(&["12 ", "<5 a", "b", "34"]);
    assert_eq!(world.status().counters.unterminated, 2);
}

#[test]
fn p21_who_is_told_goodbye_within_a_message_goes_on_with_it() {
    let mut world = world(Framing::Octet, Limits { idle_timeout: Duration::from_millis(30), ..Limits::default() });
    let mut client = world.taken_client();
    send(&mut client, b"2 ok6 half");
    world.until_lines(&["ok", "half"]);
    world.until("it lingers", |world| world.status().gauges.lingering == 1);
    send(&mut client, b"!!2 ok");
    world.until_lines(&["ok", "half", "!!", "ok"]);
}

#[test]
fn p21_the_receipt_of_messages_counts_what_is_written() {
    let mut world = world(Framing::Octet, Limits { receipt: true, ..Limits::default() });
    let mut client = world.taken_client();
    send(&mut client, b"3 one3 two1 \n9 half");
    client.shutdown(Shutdown::Write).unwrap();
    world.until("it is gone", |world| world.status().active_connections == 0);
    let mut receipt = String::new();
    client.read_to_string(&mut receipt).unwrap();
    assert_eq!(receipt, "3 lines\n");
    // Who sent no length gets none.
    let mut client = world.taken_client();
    send(&mut client, b"3 onex");
    client.shutdown(Shutdown::Write).unwrap();
    world.until("it is gone", |world| world.status().active_connections == 0);
    let mut receipt = String::new();
    client.read_to_string(&mut receipt).unwrap();
    assert_eq!(receipt, "");
}

#[test]
fn p12_the_warning_of_another_framing_names_the_option_that_takes_it() {
    for (framing, sent, option) in [
        (Framing::Lines, b"5 <34>x".as_slice(), "framing=octet"),
        (Framing::Lines, b"one\0", "framing=nul"),
        (Framing::Lines, &b"one\r".repeat(16), "framing=cr"),
        (Framing::Lines, b"one\r", "framing=cr"),
        (Framing::Nul, b"one\ntwo\n", "framing=lines"),
        (Framing::Nul, b"5 <34>x", "framing=octet"),
        (Framing::Nul, b"one\r", "framing=cr"),
        (Framing::Cr, b"one\ntwo\n", "framing=lines"),
        (Framing::Cr, b"one\0", "framing=nul"),
        (Framing::AutoOctet, b"one\0", "framing=nul"),
        (Framing::Octet, b"one\n", "framing=octet is for octet counting alone"),
    ] {
        let mut world = world(framing, Limits::default());
        let mut client = world.taken_client();
        let name = name(&client);
        send(&mut client, sent);
        drop(client);
        world.until("it is gone", |world| {
            world.status().counters.accepted == 1 && world.status().active_connections == 0
        });
        let said = said(&["WARN [tcp] ", &name, option]);
        assert_eq!(said.len(), 1, "{framing}: {option}");
    }
}
