//! P12: where something was dropped, the sink is told, at its place among the lines.

use std::time::Duration;

use lumberjack::{Limits, LongLines};

use super::world::{World, is_told_goodbye, name, reset, send};

fn small(max_line: usize, long_lines: LongLines) -> Limits {
    Limits { max_line, max_buffer: 2 * max_line, long_lines, ..Limits::default() }
}

/// Turns until as much has come out as is expected; and nothing else has.
fn until_story(world: &mut World, expected: &[&str]) {
    world.until("the last line or gap", |world| world.valve.story().len() >= expected.len());
    assert_eq!(world.valve.story(), expected);
}

#[test]
fn p12_a_line_that_is_skipped_is_a_gap_between_its_neighbours() {
    let mut world = World::new(small(8, LongLines::Skip));
    let (mut one, mut two) = (world.taken_client(), world.taken_client());
    let (of_one, of_two) = (format!("too-long, of {}", name(&one)), format!("too-long, of {}", name(&two)));
    world.send_and_wait(&mut one, b"a\n123456789\n1234567890\r\nb\n");
    // In chunks, and the other client's lines in between.
    world.send_and_wait(&mut one, b"c\n12345678901234567890");
    world.send_and_wait(&mut two, b"d\n123456789");
    world.send_and_wait(&mut one, b"12345");
    world.send_and_wait(&mut two, b"\ne\n");
    world.send_and_wait(&mut one, b"\nf\n");
    let (nine, eleven) = (format!("1 of 9 bytes, {of_one}"), format!("1 of 11 bytes, {of_one}"));
    let (many, other) = (format!("1 of 25 bytes, {of_one}"), format!("1 of 9 bytes, {of_two}"));
    until_story(&mut world, &["a", &nine, &eleven, "b", "c", "d", &other, "e", &many, "f"]);
    let counters = world.status().counters;
    assert_eq!((counters.skipped_lines, counters.dropped_bytes), (4, 9 + 11 + 25 + 9));
}

#[test]
fn p12_of_a_line_that_is_cut_the_gap_is_what_did_not_go_out() {
    let mut world = World::new(small(4, LongLines::Cut));
    let mut client = world.taken_client();
    let gap = |bytes: u32| format!("1 of {bytes} bytes, too-long, of {}", name(&client));
    let (five, three) = (gap(5), gap(3));
    world.send_and_wait(&mut client, b"a\n123456789\nb\n12345");
    world.send_and_wait(&mut client, b"67");
    until_story(&mut world, &["a", "1234", &five, "b", "1234"]);
    world.send_and_wait(&mut client, b"\nc\n");
    until_story(&mut world, &["a", "1234", &five, "b", "1234", &three, "c"]);
    assert_eq!((world.status().counters.cut_lines, world.status().counters.dropped_bytes), (2, 8));
}

#[test]
fn p12_a_line_that_is_split_is_all_there_and_no_gap() {
    let mut world = World::new(small(4, LongLines::Split));
    send(&mut world.client(), b"a\n123456789\nb\n12345");
    until_story(&mut world, &["a", "1234", "5678", "9", "b", "1234", "5"]);
}

#[test]
fn p12_a_skipped_line_that_never_ends_is_a_gap_when_its_client_is_gone() {
    for is_reset in [false, true] {
        let mut world = World::new(small(8, LongLines::Skip));
        let mut client = world.taken_client();
        let gap = format!("1 of 12 bytes, too-long, of {}", name(&client));
        world.send_and_wait(&mut client, b"a\n1234567890");
        world.send_and_wait(&mut client, b"12");
        assert_eq!(world.valve.story(), ["a"], "the line has not ended");
        if is_reset {
            reset(client);
        } else {
            drop(client);
        }
        world.until("the client is gone", |world| world.status().active_connections == 0);
        assert_eq!(world.valve.story(), ["a", &gap]);
    }
}

#[test]
fn p12_a_goodbye_in_a_skipped_line_does_not_make_two_gaps_of_it() {
    let limits = Limits { idle_timeout: Duration::from_millis(30), ..small(8, LongLines::Skip) };
    let mut world = World::new(limits);
    let mut client = world.taken_client();
    let gap = format!("1 of 13 bytes, too-long, of {}", name(&client));
    world.send_and_wait(&mut client, b"1234567890");
    world.until("a goodbye", |_| is_told_goodbye(&client));
    // It had not noticed.
    world.send_and_wait(&mut client, b"123\nlast\n");
    drop(client);
    world.until("the client is gone", |world| world.status().active_connections == 0);
    assert_eq!(world.valve.story(), [gap.as_str(), "last"]);
}

#[test]
fn p12_a_stop_in_a_skipped_line_still_tells_of_it() {
    let mut world = World::new(small(8, LongLines::Skip));
    let mut client = world.taken_client();
    let gap = format!("1 of 10 bytes, too-long, of {}", name(&client));
    world.send_and_wait(&mut client, b"1234567890");
    world.stop().unwrap();
    assert_eq!(world.valve.story(), [gap]);
}

#[test]
fn p12_a_line_that_the_budget_took_is_a_gap_where_it_ends() {
    let limits = Limits { max_line: 16 * 1024, max_buffer: 32 * 1024, memory: 64 * 1024, ..Limits::default() };
    let mut world = World::new(limits);
    let mut clients: Vec<_> = (0..4).map(|_| world.taken_client()).collect();
    let mut sent = Vec::new();
    for (number, client) in (0..).zip(&mut clients) {
        let len = 13_000 + 100 * number;
        world.send_and_wait(client, &[&b"first\n"[..], &vec![b'x'; len]].concat());
        sent.push(len);
    }
    let drops = world.status().counters.dropped_for_budget;
    assert!((1..=3).contains(&drops), "{drops} of 4 lines were dropped: the test shows nothing");
    assert_eq!(world.valve.story(), ["first"; 4], "no line has ended");
    let mut expected = vec!["first".to_owned(); 4];
    let mut taken = 0;
    for (client, len) in clients.iter_mut().zip(sent) {
        let before = world.status().gauges.pending_bytes;
        // More of the line, after some of it was dropped or not.
        world.send_and_wait(client, b"yy\nlast\n");
        let was_dropped = world.status().gauges.pending_bytes == before;
        expected.push(if was_dropped {
            format!("1 of {} bytes, memory, of {}", len + 2, name(client))
        } else {
            format!("{}yy", "x".repeat(len))
        });
        expected.push("last".to_owned());
        taken += if was_dropped { len as u64 + 2 } else { 0 };
    }
    let story = world.valve.story();
    let shown: Vec<_> = story.iter().map(|text| &text[..text.len().min(60)]).collect();
    assert!(story == expected, "{shown:?}");
    let counters = world.status().counters;
    assert_eq!((counters.dropped_for_budget, counters.dropped_bytes, counters.skipped_lines), (drops, taken, 0));
}
