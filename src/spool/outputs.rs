//! What outputs and the log are told of a spool, each by a small case.

use super::position::Found;
use super::promises::{JUMP, SEGMENT, close, lines, open, read, segments, settings, sync, write, write_padded};
use super::reader::Next;
use super::simulated::SimDisk;
use super::{Full, Settings};

#[test]
fn going_back_into_the_record_that_was_read_costs_no_call() {
    let disk = SimDisk::new(1);
    let mut spool = open(&disk, &settings(&["out"]));
    (0..3).for_each(|_| write(&mut spool, 10));
    sync(&mut spool);
    for part in [3, 7, 10, 13, 18, 20, 21] {
        let calls = disk.calls();
        let Next::Lines(lines) = spool.read(0).unwrap() else { panic!("there are lines") };
        let (first, last) = (lines.first, lines.last);
        let most = if first == 1 { 20 } else { 2 };
        assert!(disk.calls() - calls <= most, "{first}: a head and a record, and nothing is looked for");
        let calls = disk.calls();
        spool.go_to(0, part + 1);
        if part < last {
            let Next::Lines(rest) = spool.read(0).unwrap() else { panic!("the rest is there") };
            assert_eq!((rest.first, rest.last), (part + 1, last), "{first}");
            assert_eq!(rest.lines().count() as u64, last - part);
            spool.go_to(0, part + 1);
        }
        assert_eq!(disk.calls(), calls, "{part}: the record is in memory");
    }
    assert_eq!(read(&mut spool, 0), lines(22..=30), "and what follows is found from there");
    spool.go_to(0, 5);
    assert_eq!(read(&mut spool, 0), lines(5..=30), "as is an earlier record");
}

#[test]
fn what_waits_is_told_in_lines_and_about_in_bytes() {
    let (disk, mut settings) = (SimDisk::new(1), settings(&["out"]));
    settings.size += 40 * SEGMENT;
    let mut spool = open(&disk, &settings);
    assert_eq!((spool.lag(0), spool.lag_bytes(0)), (0, 0));
    (0..20).for_each(|_| write_padded(&mut spool, 1, 1_000));
    sync(&mut spool);
    let all: u64 = spool.directory().segments().iter().map(|segment| segment.len).sum();
    assert_eq!((spool.lag(0), spool.lag_bytes(0)), (20, all));
    for acked in 1..=20 {
        let before = disk.calls();
        spool.acked(0, acked, 0, 1);
        let (lines, bytes) = (spool.lag(0), spool.lag_bytes(0));
        assert_eq!((lines, disk.calls()), (20 - acked, before));
        let wanted = all * lines / 20;
        assert!(bytes.abs_diff(wanted) < 1_500, "{bytes} are about {wanted}");
    }
    assert_eq!(spool.lag_bytes(0), 0);
}

#[test]
fn what_an_output_did_not_have_when_it_was_removed_is_counted() {
    let disk = SimDisk::new(1);
    let settings = Settings { full: Full::DropOldest, ..settings(&["slow", "quick"]) };
    let mut spool = open(&disk, &settings);
    for _ in 0..30 {
        write_padded(&mut spool, 1, 1_900);
        let last = spool.last_number();
        spool.acked(1, last, 0, 1);
        if last == 4 {
            spool.acked(0, 2, 0, 1);
        }
    }
    sync(&mut spool);
    let first = spool.directory().start().0;
    assert!(first > 3);
    assert_eq!([0, 1].map(|output| spool.dropped(output)), [first - 3, 0]);
    assert_eq!(spool.lag(0), 31 - first, "what is gone does not wait");
    spool.go_to(0, 3);
    let Next::Missing(missing) = spool.read(0).unwrap() else { panic!("a gap comes first") };
    assert_eq!(missing.lines, first - 3, "as many as are told in the end");
}

/// It has them in memory, and may well bring them there.
#[test]
fn what_an_output_has_read_is_not_counted_when_it_is_removed() {
    let disk = SimDisk::new(1);
    let settings = Settings { full: Full::DropOldest, ..settings(&["slow"]) };
    let mut spool = open(&disk, &settings);
    for _ in 0..30 {
        write_padded(&mut spool, 1, 1_900);
        if spool.last_number() == 4 {
            sync(&mut spool);
            spool.acked(0, 2, 0, 1);
            while !matches!(spool.read(0).unwrap(), Next::End) {}
        }
    }
    sync(&mut spool);
    let first = spool.directory().start().0;
    assert!(first > 5);
    assert_eq!(spool.dropped(0), first - 5, "3 and 4 are on their way");
    spool.go_to(0, 3);
    let Next::Missing(missing) = spool.read(0).unwrap() else { panic!("a gap comes first") };
    assert_eq!(missing.lines, first - 3, "they did not arrive");
}

#[test]
fn a_start_tells_what_it_found() {
    let (disk, both) = (SimDisk::new(1), settings(&["out", "old"]));
    let mut spool = open(&disk, &both);
    assert!(spool.start().is_orderly && spool.start().forgotten.is_empty());
    assert_eq!(spool.position(0).unwrap().found(), Found::New);
    write(&mut spool, 3);
    close(&mut spool);
    let mut spool = open(&disk, &both);
    assert!(spool.start().is_orderly);
    assert_eq!((spool.position(0).unwrap().found(), spool.lag(0)), (Found::Known, 3));
    write(&mut spool, 2);
    sync(&mut spool);
    disk.restart();
    let one = Settings { size: both.size, ..settings(&["out"]) };
    let spool = open(&disk, &one);
    let start = spool.start();
    assert_eq!((start.is_orderly, start.forgotten.as_slice()), (false, &["old".to_owned()][..]));
    assert_eq!((start.headless, start.mended, start.foreign, spool.lag(0)), (0, 0, 0, 5));
    assert_eq!(disk.names().iter().filter(|name| name.ends_with(".pos")).count(), 4, "its files stay");
    disk.restart();
    disk.flip(&segments(&disk)[0], 40);
    disk.flip(&segments(&disk)[1], 40);
    disk.names().iter().filter(|name| name.ends_with(".pos")).for_each(|name| disk.flip(name, 100));
    let spool = open(&disk, &one);
    let start = spool.start();
    assert_eq!((start.headless, start.mended), (1, 1), "one of them has a footer");
    assert_eq!((spool.position(0).unwrap().found(), start.forgotten.len()), (Found::Lost, 0));
}

#[test]
fn segments_that_are_or_were_here_are_told_from_those_of_a_copy() {
    let (disk, settings) = (SimDisk::new(1), settings(&["out"]));
    let mut spool = open(&disk, &settings);
    write_padded(&mut spool, 1, 1_900);
    let (first, salt) = spool.directory().segments()[0].header.map(|header| (header.first, header.salt)).unwrap();
    assert_eq!(spool.is_known_segment(first, salt), Some(true));
    assert_eq!(spool.is_known_segment(first, [9; 16]), Some(false), "one of a copy that went on by itself");
    while spool.directory().start().0 == 1 {
        write_padded(&mut spool, 1, 1_900);
        let last = spool.last_number();
        spool.acked(0, last, 0, 1);
    }
    assert_eq!(spool.is_known_segment(first, salt), Some(true), "it was here a moment ago");
    assert_eq!(spool.is_known_segment(first, [9; 16]), None, "as old as that, nobody knows");
    spool.acked(0, 1, 0, 1);
    let oldest = spool.directory().segments()[0].header.unwrap();
    spool.acked(0, oldest.first, 0, 1);
    close(&mut spool);
    segments(&disk).iter().for_each(|name| disk.remove(name));
    let spool = open(&disk, &settings);
    assert_eq!(spool.next_number(), oldest.first + JUMP);
    assert_eq!(spool.is_known_segment(oldest.first, oldest.salt), Some(true), "a position tells");
    assert_eq!(spool.is_known_segment(oldest.first + 1, oldest.salt), None, "all of them are gone");
    assert_eq!(spool.is_known_segment(spool.next_number(), oldest.salt), Some(false));
}

#[test]
fn a_file_none_of_which_can_be_read_comes_to_an_end() {
    let (disk, settings) = (SimDisk::new(1), settings(&["out"]));
    let mut spool = open(&disk, &settings);
    write(&mut spool, 3);
    sync(&mut spool);
    spool.pass_unreadable(0, true);
    // Behind its end too, as of a card that was pulled.
    (0..2_000).for_each(|page| disk.spoil(&segments(&disk)[0], page * 4096));
    let calls = disk.calls();
    assert!(matches!(spool.read(0).unwrap(), Next::Missing(missing) if missing.lines == 3));
    assert!(matches!(spool.read(0).unwrap(), Next::End));
    assert!(disk.calls() - calls < 100, "{} calls", disk.calls() - calls);
}

#[test]
fn who_takes_a_place_with_an_empty_directory_gives_numbers_above_all_that_were_given() {
    let settings = Settings { take_over: Some(super::segment::BoxId([7; 16])), ..settings(&["out"]) };
    // Years after 1970, by a box that was started less often than once a second.
    let now_ms = 1_800_000_000_000;
    let mut spool = super::Spool::open(SimDisk::new(1), settings, now_ms).unwrap();
    let (first, salt) = (1_000_000 * JUMP, [3; 16]);
    assert!(spool.next_number() > first, "{}", spool.next_number());
    assert_eq!(spool.is_known_segment(first, salt), None, "it was one of that box's");
    write(&mut spool, 10);
    assert_eq!(spool.is_known_segment(first, salt), None);
    assert_eq!(spool.is_known_segment(spool.next_number(), salt), Some(false), "and this is nobody's");
}

#[test]
fn what_may_be_asked_for_again_stays_though_it_was_acked() {
    for (needed, is_kept) in [(1, true), (u64::MAX, false)] {
        let mut spool = open(&SimDisk::new(1), &settings(&["out"]));
        let is_written = (0..60).all(|_| {
            spool.need(0, needed);
            let tries: Vec<bool> = (0..5).map_while(|_| super::promises::try_padded(&mut spool, 1_900)).collect();
            let last = spool.last_number();
            spool.acked(0, last, 0, 1);
            sync(&mut spool);
            tries.contains(&true)
        });
        assert_eq!((spool.directory().start().0 == 1, is_written), (is_kept, !is_kept), "{needed}");
    }
}
