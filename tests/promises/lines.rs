//! P1 to P4: what becomes of the bytes of a line.

use std::time::{Duration, Instant};

use lumberjack::{Limits, LongLines};

use super::capture::said;
use super::world::{World, name, reset, send};

fn small(max_line: usize) -> Limits {
    Limits { max_line, max_buffer: 2 * max_line, ..Limits::default() }
}

#[test]
fn p1_every_byte_but_the_ending_passes_unchanged() {
    let mut world = World::new(Limits::default());
    let mut client = world.taken_client();
    send(&mut client, b"nul\0nul\ninvalid \xff\xfe\nlone\rcr\n\x1b[31mred\ncrlf\r\n\n\r\n\r\r\nlast\n");
    let expected: Vec<&[u8]> =
        vec![b"nul\0nul", b"invalid \xff\xfe", b"lone\rcr", b"\x1b[31mred", b"crlf", b"\r", b"last"];
    world.until("seven lines", |world| world.valve.lines().len() >= 7);
    assert_eq!(world.valve.lines(), expected);
}

#[test]
fn p1_lines_of_two_clients_never_mix_however_they_arrive() {
    let mut world = World::new(Limits::default());
    let (mut one, mut two) = (world.taken_client(), world.taken_client());
    for (bytes, of_one) in [("a1", true), ("b1", false), ("a2\na3", true), ("b2\n", false), ("\n", true)] {
        let before = world.status().counters.bytes;
        send(if of_one { &mut one } else { &mut two }, bytes.as_bytes());
        world.until("it is read", |world| world.status().counters.bytes == before + bytes.len() as u64);
    }
    world.until_lines(&["a1a2", "b1b2", "a3"]);
}

#[test]
fn p1_empty_lines_go_out_only_if_asked_for() {
    let mut world = World::new(Limits { keep_empty: true, ..Limits::default() });
    send(&mut world.client(), b"\na\n\r\n\nb\n");
    world.until_lines(&["", "a", "", "", "b"]);
}

#[test]
fn p2_the_last_line_counts_whether_it_ends_by_fin_or_rst() {
    let mut world = World::new(Limits::default());
    send(&mut world.client(), b"one\nended by a FIN");
    world.until_lines(&["one", "ended by a FIN"]);
    let mut client = world.taken_client();
    send(&mut client, b"two\nended by an RST");
    world.until("it is read", |world| world.status().gauges.pending_bytes > 0);
    reset(client);
    world.until_lines(&["one", "ended by a FIN", "two", "ended by an RST"]);
    assert_eq!(world.status().counters.unterminated, 2);
}

#[test]
fn p2_the_last_line_counts_at_eviction_and_at_shutdown() {
    let mut world = World::new(Limits { idle_timeout: Duration::from_millis(30), ..Limits::default() });
    let mut quiet = world.taken_client();
    send(&mut quiet, b"evicted");
    world.until_lines(&["evicted"]);
    let mut late = world.taken_client();
    send(&mut late, b"stopped");
    world.until("it is read", |world| world.status().counters.bytes == 14);
    world.stop().unwrap();
    assert_eq!(world.texts(), ["evicted", "stopped"]);
}

#[test]
fn p2_what_is_left_of_a_skipped_line_never_goes_out() {
    let mut world = World::new(small(8));
    send(&mut world.client(), b"123456789 and no end");
    world.until("the client is gone", |world| world.status().counters.skipped_lines == 1);
    world.until("the client is gone", |world| world.status().active_connections == 0);
    assert_eq!((world.texts().len(), world.status().counters.unterminated), (0, 0));
}

#[test]
fn p2_a_line_that_waits_too_long_for_its_end_goes_out() {
    let mut world = World::new(Limits { line_timeout: Duration::from_millis(40), ..Limits::default() });
    let mut client = world.taken_client();
    let begun = Instant::now();
    send(&mut client, b"no end");
    world.until_lines(&["no end"]);
    assert!(begun.elapsed() >= Duration::from_millis(40), "{:?} is early", begun.elapsed());
    send(&mut client, b"\nnext\n");
    world.until_lines(&["no end", "next"]);
    let counters = world.status().counters;
    assert_eq!((counters.unterminated, counters.lines), (1, 2), "its late ending is no line of its own");
}

#[test]
fn p3_line_longer_than_the_cap_is_skipped_whole_and_the_next_is_intact() {
    let mut world = World::new(small(8));
    let mut client = world.taken_client();
    send(&mut client, b"12345678\n12345678\r\n123456789\n123456789\r\nok\n");
    world.until_lines(&["12345678", "12345678", "ok"]);
    let counters = world.status().counters;
    assert_eq!((counters.skipped_lines, counters.dropped_bytes), (2, 19), "two lines, and the CR of one");
    assert_eq!(said(&["WARN [tcp] Line too long on ", &name(&client), ", skipping"]).len(), 2);
}

#[test]
fn p3_a_longer_line_can_be_cut() {
    let mut world = World::new(Limits { long_lines: LongLines::Cut, ..small(4) });
    let mut client = world.taken_client();
    send(&mut client, b"123456789\nok\n1234\n");
    world.until_lines(&["1234", "ok", "1234"]);
    let counters = world.status().counters;
    assert_eq!((counters.cut_lines, counters.dropped_bytes, counters.skipped_lines), (1, 5, 0));
    assert_eq!(said(&["WARN [tcp] Line too long on ", &name(&client), ", cutting"]).len(), 1);
}

#[test]
fn p3_a_longer_line_can_be_split_and_nothing_is_dropped() {
    let mut world = World::new(Limits { long_lines: LongLines::Split, ..small(4) });
    send(&mut world.client(), b"123456789\n12345678\nok\n");
    world.until_lines(&["1234", "5678", "9", "1234", "5678", "ok"]);
    assert_eq!(world.status().counters.dropped_bytes, 0);
}

#[test]
fn p4_a_client_without_newlines_holds_one_line_at_most_and_is_warned_of_once() {
    let mut world = World::new(Limits { max_line: 1000, max_buffer: 10_000, ..Limits::default() });
    let mut client = world.taken_client();
    for sent in (500..=20_000).step_by(500) {
        send(&mut client, &[b'x'; 500]);
        world.until("it is read", |world| world.status().counters.bytes == sent);
        let held = world.status().gauges.pending_bytes;
        assert!(held <= 1024, "{held} bytes held after {sent}");
        assert_eq!(world.status().counters.overflows, u64::from(sent > 10_000), "after {sent} bytes");
    }
    send(&mut client, b"\nnext\n");
    world.until_lines(&["next"]);
    assert_eq!(said(&["WARN [tcp] Buffer overflow on ", &name(&client)]).len(), 1);
}

#[test]
fn p1_urgent_bytes_stay_in_their_line_and_one_may_be_the_newline() {
    if super::client::over_tls() {
        return; // No byte of TLS is urgent.
    }
    let mut world = World::new(Limits::default());
    let mut client = world.taken_client();
    let urgent = |client: &super::client::Client, byte: &[u8]| {
        assert_eq!(socket2::SockRef::from(client.socket()).send_out_of_band(byte).unwrap(), 1);
    };
    // All of it is there before the server reads, and nothing comes after the last.
    send(&mut client, b"be");
    urgent(&client, b"f");
    send(&mut client, b"ore\ntwo");
    urgent(&client, b"\n");
    world.until_lines(&["before", "two"]);
    send(&mut client, b"thr");
    urgent(&client, b"e");
    send(&mut client, b"e\n");
    world.until_lines(&["before", "two", "three"]);
}

#[test]
fn p1_a_byte_order_mark_at_the_start_of_a_connection_is_no_part_of_its_first_line() {
    let mut world = World::new(Limits::default());
    let mark = b"\xef\xbb\xbf";
    let mut one = world.taken_client();
    send(&mut one, &[mark, &b"first\n"[..], mark, b"second\n"].concat());
    world.until("both lines", |world| world.valve.lines().len() == 2);
    let mut two = world.taken_client();
    send(&mut two, mark);
    world.until("it is read", |world| world.status().counters.bytes == 3 + 2 * 3 + 13);
    send(&mut two, b"third\n");
    world.until("the third", |world| world.valve.lines().len() == 3);
    // Only all of it is one, and only there.
    let mut three = world.taken_client();
    send(&mut three, b"\xef\xbbfourth\n");
    world.until("the fourth", |world| world.valve.lines().len() == 4);
    let expected: Vec<&[u8]> = vec![b"first", b"\xef\xbb\xbfsecond", b"third", b"\xef\xbbfourth"];
    assert_eq!(world.valve.lines(), expected);
}

#[test]
fn p1_a_byte_order_mark_that_comes_in_pieces_is_no_part_of_the_first_line_either() {
    let mut world = World::new(Limits { line_timeout: Duration::from_secs(3600), ..Limits::default() });
    let cases: [(&[&[u8]], &[&str]); 9] = [
        (&[b"\xef", b"\xbb\xbfone\n"], &["one"]),
        (&[b"\xef\xbb", b"\xbfone\n"], &["one"]),
        (&[b"\xef", b"\xbb", b"\xbf", b"one\n"], &["one"]),
        (&[b"\xef\xbb", b"\xbf"], &[]),
        (&[b"\xef\xbb\xbf"], &[]),
        // Only the first goes.
        (&[b"\xef\xbb\xbf\xef\xbb\xbfone\n"], &[r"\xef\xbb\xbfone"]),
        (&[b"\xef\xbb\xbf", b"\xef\xbb", b"\xbfone\n"], &[r"\xef\xbb\xbfone"]),
        (&[b"\xef\xbb\xbf\xef", b"\xbb\xbfone\n"], &[r"\xef\xbb\xbfone"]),
        // What is none stays, to the last byte.
        (&[b"\xef", b"\xbb"], &[r"\xef\xbb"]),
    ];
    let mut expected = Vec::new();
    for (pieces, lines) in cases {
        let mut client = world.taken_client();
        pieces.iter().for_each(|piece| world.send_and_wait(&mut client, piece));
        drop(client);
        world.until("it is gone", |world| world.status().active_connections == 0);
        expected.extend_from_slice(lines);
        assert_eq!(world.texts(), expected, "{pieces:?}");
    }
    assert_eq!(world.status().counters.dropped_bytes, 0);
}
