//! What a spool promises, each by a small case of its own; the numbers are those of `docs/spool.md`.

use super::directory::{Directory, PAGE_BYTES};
use super::disk::Disk as _;
use super::error::Cause;
use super::position::Place;
use super::reader::{Missing, Next, Reader};
use super::segment::{BoxId, HEADER_BYTES, Header, VERSION};
use super::simulated::SimDisk;
use super::writer::Wait;
use super::{Full, Settings, Spool};
use crate::config::syslog::Parse;
use crate::engine::peer::Peer;
use crate::spool::record::Entry;

const PEER: Peer = Peer::V4 { ip: [192, 0, 2, 1], port: 514 };
pub(super) const SEGMENT: u64 = 3 * PAGE_BYTES;
pub(super) const JUMP: u64 = 1 << 20;

pub(super) fn settings(outputs: &[&str]) -> Settings {
    let outputs = outputs.iter().map(|output| (*output).to_owned()).collect();
    let mut settings = Settings { max_line: 2_000, segment_bytes: Some(SEGMENT), outputs, ..Settings::default() };
    settings.size = settings.least_size();
    settings
}

pub(super) fn open(disk: &SimDisk, settings: &Settings) -> Spool<SimDisk> {
    disk.unlock();
    Spool::open(disk.clone(), settings.clone(), 1_000).unwrap()
}

fn text_of(number: u64) -> Vec<u8> {
    format!("line {number}").into_bytes()
}

/// One batch of so many lines, each of which tells its number.
fn try_write(spool: &mut Spool<SimDisk>, count: u64, padding: usize) -> Result<(), Wait> {
    let mut batch = spool.batch();
    let first = spool.next_number();
    for number in first..first + count {
        assert!(batch.push_line(&PEER, 1_000, Parse::Off, [&text_of(number), &vec![b'.'; padding]]));
    }
    spool.write(&mut batch, 1_000)
}

/// Writes a line of that length, or does a job for it: whether it is written. None if it has to wait for acks.
pub(super) fn try_padded(spool: &mut Spool<SimDisk>, padding: usize) -> Option<bool> {
    match try_write(spool, 1, padding) {
        Ok(()) => Some(true),
        Err(Wait::Sync) => Some(!work(spool)),
        Err(_) => None,
    }
}

pub(super) fn write(spool: &mut Spool<SimDisk>, count: u64) {
    write_padded(spool, count, 0);
}

/// Lines of which a few fill a segment. What has to be synced for them is.
pub(super) fn write_padded(spool: &mut Spool<SimDisk>, count: u64, padding: usize) {
    for _ in 0..10 {
        match try_write(spool, count, padding) {
            Ok(()) => return,
            Err(Wait::Sync) => assert!(work(spool), "a wait for a sync has one"),
            Err(wait) => panic!("{wait:?}"),
        }
    }
    panic!("it always waits for a sync");
}

/// Does one job; whether there was one.
pub(super) fn work(spool: &mut Spool<SimDisk>) -> bool {
    let Some(job) = spool.next_job(1_000) else { return false };
    let result = job.run(&spool.disk);
    spool.done(&result);
    true
}

pub(super) fn sync(spool: &mut Spool<SimDisk>) {
    spool.want_sync();
    while work(spool) {}
}

pub(super) fn close(spool: &mut Spool<SimDisk>) {
    spool.close();
    while work(spool) {}
    assert!(spool.is_closed());
}

/// What an output gets: numbers, and what is missing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Got {
    Line(u64),
    Missing(Missing),
}

pub(super) fn read(spool: &mut Spool<SimDisk>, output: usize) -> Vec<Got> {
    let mut got = Vec::new();
    loop {
        match spool.read(output).unwrap() {
            Next::Lines(lines) => got.extend(lines.lines().map(|line| {
                let Entry::Line(bytes, _) = line.entry else { panic!("{line:?}") };
                assert!(bytes.starts_with(&text_of(line.number)), "{line:?}");
                Got::Line(line.number)
            })),
            Next::Missing(missing) => got.push(Got::Missing(missing)),
            Next::End => return got,
        }
        assert!(got.len() < 10_000, "reading ends");
    }
}

pub(super) fn lines(numbers: impl IntoIterator<Item = u64>) -> Vec<Got> {
    numbers.into_iter().map(Got::Line).collect()
}

fn missing(first: u64, last: u64, lines: u64) -> Got {
    Got::Missing(Missing { first, last, lines, are_gone: false })
}

pub(super) fn segments(disk: &SimDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.ends_with(".seg")).collect()
}

#[test]
fn s1_numbers_go_on_after_an_orderly_end_and_jump_after_a_kill() {
    let (disk, settings) = (SimDisk::new(1), settings(&["out"]));
    let mut spool = open(&disk, &settings);
    write(&mut spool, 3);
    close(&mut spool);
    let mut spool = open(&disk, &settings);
    assert_eq!(spool.next_number(), 4);
    write(&mut spool, 2);
    sync(&mut spool);
    disk.restart();
    let mut spool = open(&disk, &settings);
    assert_eq!(spool.next_number(), 4 + JUMP, "above anything that may have left");
    write(&mut spool, 1);
    sync(&mut spool);
    assert_eq!(read(&mut spool, 0), lines([1, 2, 3, 4, 5, 4 + JUMP]), "and between them nothing is missing");
}

#[test]
fn s1_a_number_that_left_is_not_given_again_though_its_lines_are_lost() {
    let (disk, mut settings) = (SimDisk::new(1), settings(&["out"]));
    settings.size += 40 * SEGMENT;
    for _ in 0..20 {
        let mut spool = open(&disk, &settings);
        let next = spool.next_number();
        write(&mut spool, 5);
        let early = read(&mut spool, 0).into_iter().find(|got| matches!(got, Got::Line(number) if *number >= next));
        assert_eq!(early, None, "nothing leaves before the segment's name is on the disk");
        work(&mut spool);
        let left = spool.next_number() - 1;
        assert_eq!(read(&mut spool, 0).last(), Some(&Got::Line(left)));
        disk.cut();
        assert!(open(&disk, &settings).next_number() > left);
        disk.restart();
    }
}

#[test]
fn s1_the_newest_segment_that_is_on_the_disk_stays_until_a_newer_one_is() {
    let (disk, settings) = (SimDisk::new(1), settings(&[]));
    let mut spool = open(&disk, &settings);
    write_padded(&mut spool, 3, 1_900);
    close(&mut spool);
    let mut spool = open(&disk, &settings);
    // Room for a header, and not for the lines: nobody needs the first segment.
    disk.set_capacity(disk.used() + 4096);
    assert!(matches!(try_write(&mut spool, 3, 1_900), Err(Wait::Sync)));
    assert_eq!(segments(&disk).len(), 2, "what tells of numbers stays");
    while work(&mut spool) {}
    assert!(try_write(&mut spool, 3, 1_900).is_ok());
    assert_eq!(segments(&disk), ["0000000000000004.seg"]);
    disk.cut();
    assert!(open(&disk, &settings).next_number() > 3);
}

#[test]
fn s1_a_spool_whose_segments_are_gone_does_not_begin_anew_where_a_position_is() {
    let (disk, settings) = (SimDisk::new(1), settings(&["out"]));
    let mut spool = open(&disk, &settings);
    write(&mut spool, 7);
    sync(&mut spool);
    spool.acked(0, 7, 0, 1);
    close(&mut spool);
    segments(&disk).iter().for_each(|name| disk.remove(name));
    assert_eq!(open(&disk, &settings).next_number(), 7 + JUMP);
}

#[test]
fn s2_after_a_sync_the_next_record_begins_at_the_next_page() {
    let disk = SimDisk::new(1);
    let mut spool = open(&disk, &settings(&["out"]));
    write(&mut spool, 1);
    write(&mut spool, 1);
    let before = spool.directory().segments()[0].len;
    assert!(before < PAGE_BYTES / 2, "without a sync they are close");
    spool.want_sync();
    let job = spool.next_job(1_000).unwrap();
    write(&mut spool, 1);
    let synced = job.run(&disk);
    spool.done(&synced);
    let after = spool.directory().segments()[0].len;
    assert!(after > PAGE_BYTES, "also one that comes while the sync is under way: {after}");
    assert_eq!(spool.synced(), 2);
    while work(&mut spool) {}
    assert_eq!(read(&mut spool, 0), lines([1, 2, 3]));
}

#[test]
fn s3_what_waits_for_a_failed_sync_is_written_again_and_that_file_is_not_synced_again() {
    for seed in 0..50 {
        let (disk, settings) = (SimDisk::new(seed), settings(&["out"]));
        let mut spool = open(&disk, &settings);
        write(&mut spool, 2);
        sync(&mut spool);
        write(&mut spool, 2);
        write(&mut spool, 3);
        disk.fail_next("sync", 5);
        spool.want_sync();
        assert!(work(&mut spool) && spool.synced() == 2);
        assert_eq!(read(&mut spool, 0), lines([1, 2]), "what is in doubt is not given away");
        spool.mend(1_000).unwrap();
        sync(&mut spool);
        assert_eq!((spool.synced(), spool.next_number()), (7, 8));
        disk.cut();
        let mut spool = open(&disk, &settings);
        assert_eq!(read(&mut spool, 0), lines(1..=7), "in the world of seed {seed}");
        let newest = spool.directory().segments().last().unwrap().header.unwrap();
        assert!(newest.rewrites && (newest.first, newest.follows) == (3, 2));
    }
}

#[test]
fn s3_a_first_segment_whose_sync_fails_again_and_again_leaves_no_others() {
    let disk = SimDisk::new(1);
    let mut spool = open(&disk, &settings(&[]));
    write(&mut spool, 4);
    for _ in 0..30 {
        disk.fail_next("sync", 28);
        spool.want_sync();
        work(&mut spool);
        spool.mend(1_000).unwrap();
        assert_eq!(segments(&disk).len(), 1);
    }
    sync(&mut spool);
    assert_eq!(spool.synced(), 4);
}

#[test]
fn s4_room_is_made_only_of_what_all_outputs_have_and_after_that_is_written_down() {
    let (disk, settings) = (SimDisk::new(1), settings(&["one", "other"]));
    let mut spool = open(&disk, &settings);
    let wait = loop {
        assert!(spool.next_number() < 100, "there is a bound");
        match try_write(&mut spool, 1, 1_900) {
            Ok(()) => {}
            Err(Wait::Sync) => assert!(work(&mut spool)),
            Err(wait) => break wait,
        }
    };
    assert!(matches!(wait, Wait::Acks), "the bound is a wait: {wait:?}");
    let all = segments(&disk);
    let last = spool.synced();
    spool.acked(0, last, 0, 1);
    assert!(matches!(try_write(&mut spool, 1, 1_900), Err(Wait::Acks)), "one of two has it");
    spool.acked(1, last, 0, 1);
    assert!(matches!(try_write(&mut spool, 1, 1_900), Err(Wait::Sync)), "positions come first");
    assert_eq!(segments(&disk), all, "nothing is removed before");
    while work(&mut spool) {}
    assert!(try_write(&mut spool, 1, 1_900).is_ok());
    assert_eq!(segments(&disk).len(), all.len(), "one has gone for one that came: the others stay as history");
    disk.cut();
    let spool = open(&disk, &settings);
    assert_eq!([0, 1].map(|output| spool.position(output).unwrap().place().acked), [last, last]);
}

#[test]
fn s5_the_bound_holds_after_a_restart_and_the_oldest_goes_with_a_gap_if_that_is_asked_for() {
    let disk = SimDisk::new(1);
    let size = settings(&["out", "new"]).size;
    let settings = Settings { full: Full::DropOldest, size, ..settings(&["out"]) };
    for _ in 0..6 {
        let mut spool = open(&disk, &settings);
        (0..20).for_each(|_| write_padded(&mut spool, 1, 1_900));
        close(&mut spool);
        assert!(disk.most_bytes() as u64 <= settings.size);
    }
    let mut spool = open(&disk, &settings);
    let first = spool.directory().start().0;
    let got = read(&mut spool, 0);
    let gap = Missing { first: 1, last: first - 1, lines: first - 1, are_gone: true };
    let all = |gap| [Got::Missing(gap)].into_iter().chain(lines(first..=120)).collect::<Vec<_>>();
    assert_eq!(got, all(gap), "what is gone is told exactly");
    spool.acked(0, 110, 0, 1);
    spool.go_to(0, 50);
    let gap = Missing { first: 50, last: first - 1, lines: first - 50, are_gone: true };
    assert_eq!(read(&mut spool, 0), all(gap), "from any line on");
    close(&mut spool);
    let settings = Settings { outputs: vec!["out".to_owned(), "new".to_owned()], ..settings };
    assert_eq!(read(&mut open(&disk, &settings), 1), lines(first..=120), "a new output begins with the oldest line");
}

#[test]
fn s6_a_damaged_record_is_one_gap_told_exactly_and_what_is_behind_it_is_read() {
    let (disk, settings) = (SimDisk::new(1), settings(&["out"]));
    let mut spool = open(&disk, &settings);
    let mut starts = Vec::new();
    for _ in 0..6 {
        write(&mut spool, 3);
        starts.push(usize::try_from(spool.directory().segments()[0].len).unwrap());
    }
    sync(&mut spool);
    // The head of the second record, the payload of the fourth and fifth.
    for at in [starts[0] + 9, starts[2] + 60, starts[3] + 60] {
        disk.flip(&segments(&disk)[0], at);
    }
    let wanted: Vec<Got> = lines(1..=3)
        .into_iter()
        .chain([missing(4, 6, 3)])
        .chain(lines(7..=9))
        .chain([missing(10, 15, 6)])
        .chain(lines(16..=18))
        .collect();
    assert_eq!(read(&mut spool, 0), wanted);
    disk.flip(&segments(&disk)[0], starts[4] + 60);
    disk.restart();
    let mut spool = open(&disk, &settings);
    assert_eq!(spool.last_number(), 18, "the head tells which numbers there were");
    write(&mut spool, 1);
    sync(&mut spool);
    let got = read(&mut spool, 0);
    assert_eq!(got[got.len() - 2..], [missing(10, JUMP, 9), Got::Line(JUMP + 1)]);
}

#[test]
fn s6_a_record_is_found_inside_the_place_of_one_that_the_disk_had_no_room_for() {
    let (disk, mut settings) = (SimDisk::new(1), settings(&["out"]));
    (settings.segment_bytes, settings.size) = (Some(4 * SEGMENT), 20 * SEGMENT);
    let mut spool = open(&disk, &settings);
    write(&mut spool, 1);
    sync(&mut spool);
    write(&mut spool, 1);
    disk.set_capacity(disk.used());
    assert!(matches!(try_write(&mut spool, 3, 1_900), Err(Wait::Disk(_))));
    // The next try is at the next page, where the head of the first says that its own lines are.
    sync(&mut spool);
    disk.set_capacity(usize::MAX);
    write_padded(&mut spool, 4, 1_900);
    sync(&mut spool);
    for number in 1..=6 {
        spool.go_to(0, number);
        assert_eq!(read(&mut spool, 0), lines(number..=6));
    }
    disk.restart();
    assert_eq!(open(&disk, &settings).last_number(), 6);
}

#[test]
fn s6_a_header_that_is_damaged_is_read_from_the_footer() {
    let (disk, settings) = (SimDisk::new(1), settings(&["out"]));
    let mut spool = open(&disk, &settings);
    write(&mut spool, 3);
    close(&mut spool);
    disk.flip(&segments(&disk)[0], 40);
    let mut spool = open(&disk, &settings);
    assert!(spool.directory().segments()[0].is_mended);
    assert_eq!(read(&mut spool, 0), lines(1..=3));
}

#[test]
fn s6_a_segment_without_a_header_is_a_gap_and_the_next_one_tells_how_many() {
    let (disk, settings) = (SimDisk::new(1), settings(&["out"]));
    let mut spool = open(&disk, &settings);
    write(&mut spool, 3);
    close(&mut spool);
    let mut spool = open(&disk, &settings);
    write(&mut spool, 5);
    sync(&mut spool);
    disk.restart();
    let mut spool = open(&disk, &settings);
    write(&mut spool, 1);
    sync(&mut spool);
    disk.flip(&segments(&disk)[1], 40);
    disk.restart();
    let mut spool = open(&disk, &settings);
    let (mut wanted, next) = (lines(1..=3), 4 + JUMP);
    wanted.extend([missing(4, next - 1, 5), Got::Line(next)]);
    assert_eq!(read(&mut spool, 0), wanted);
}

#[test]
fn s6_a_sector_that_can_not_be_read_is_an_error_until_it_is_to_be_passed() {
    let (disk, settings) = (SimDisk::new(1), settings(&["out"]));
    let mut spool = open(&disk, &settings);
    for _ in 0..2 {
        write(&mut spool, 2);
        sync(&mut spool);
    }
    disk.spoil(&segments(&disk)[0], 10);
    assert!(spool.read(0).is_err());
    spool.pass_unreadable(0, true);
    assert_eq!(read(&mut spool, 0), [missing(1, 2, 2), Got::Line(3), Got::Line(4)]);
    disk.restart();
    assert_eq!(open(&disk, &settings).next_number(), 1 + JUMP, "and nothing refuses to start for it");
}

#[test]
fn s7_no_bytes_in_a_directory_keep_a_spool_from_starting() {
    let good = settings(&["out"]);
    let settings = Settings { size: good.size + 40 * PAGE_BYTES, ..good };
    let names =
        ["0000000000000001.seg", "0000000000000009.seg", "0000000000000009-00000001.seg", "box", "lock", "x", "z.pos"];
    for (number, bytes) in [&b""[..], &[0; 96], &[0xff; 5_000], b"LJspool\n", &[b'L'; 10_000]].iter().enumerate() {
        let disk = SimDisk::new(number as u64);
        names.iter().for_each(|name| disk.put(name, bytes));
        let mut spool = open(&disk, &settings);
        assert_eq!(spool.next_number(), 9 + JUMP);
        write(&mut spool, 2);
        sync(&mut spool);
        assert_eq!(read(&mut spool, 0), lines([9 + JUMP, 10 + JUMP]));
    }
}

/// That of a segment which begins with line 500.
fn header_of_another_box() -> Header {
    Header {
        box_id: BoxId([9; 16]),
        salt: [1; 16],
        first: 500,
        follows: 499,
        before: 499,
        clock_ms: 0,
        rewrites: false,
    }
}

#[test]
fn s8_segments_of_another_box_are_left_alone_and_take_their_room() {
    let (disk, settings) = (SimDisk::new(1), settings(&[]));
    let header = header_of_another_box();
    let mut spool = open(&disk, &settings);
    write(&mut spool, 1);
    close(&mut spool);
    disk.put("00000000000001f4.seg", &header.encode());
    let mut spool = open(&disk, &settings);
    assert_eq!(spool.next_number(), 2);
    assert_eq!(spool.directory().segments()[1].foreign, Some(header.box_id));
    for _ in 0..40 {
        write_padded(&mut spool, 1, 1_900);
    }
    assert!(segments(&disk).contains(&"00000000000001f4.seg".to_owned()));
    assert!(disk.most_bytes() as u64 <= settings.size);
}

#[test]
fn s8_room_that_other_boxes_take_is_told_apart_and_found_when_it_is_free() {
    let (disk, mut settings) = (SimDisk::new(1), settings(&["out"]));
    settings.full = Full::DropOldest;
    let header = header_of_another_box();
    let mut spool = open(&disk, &settings);
    write(&mut spool, 1);
    close(&mut spool);
    let mut foreign = header.encode().to_vec();
    foreign.resize(usize::try_from(settings.size).unwrap() - 16_384, 0);
    disk.put("00000000000001f4.seg", &foreign);
    let mut spool = open(&disk, &settings);
    assert!(matches!(try_write(&mut spool, 1, 1_900), Err(Wait::Others)));
    assert!(spool.directory().foreign_bytes() >= foreign.len() as u64);
    disk.unlink("00000000000001f4.seg").unwrap();
    assert!(matches!(try_write(&mut spool, 1, 1_900), Ok(())));
    assert!(spool.directory().foreign_bytes() < 40_000);
}

#[test]
fn s9_a_directory_that_took_the_place_of_ours_is_left_alone_and_nothing_counts_as_missing() {
    let (disk, mut settings) = (SimDisk::new(1), settings(&["out"]));
    settings.full = Full::DropOldest;
    let mut spool = open(&disk, &settings);
    // Three segments.
    let mut count = 0;
    while spool.directory().segments().len() < 3 {
        write_padded(&mut spool, 1, 1_900);
        count += 1;
    }
    sync(&mut spool);
    disk.exchange();
    let refused = |result: std::io::Result<()>| assert!(result.unwrap_err().to_string().contains("was moved away"));
    for _ in 0..4 {
        refused(spool.read(0).map(drop));
    }
    // What the newest takes still it takes.
    let wait = loop {
        match try_write(&mut spool, 1, 1_900) {
            Ok(()) => count += 1,
            Err(Wait::Sync) => assert!(work(&mut spool)),
            Err(wait) => break wait,
        }
    };
    let Wait::Disk(error) = wait else { panic!("{wait:?}") };
    refused(Err(error));
    assert_eq!((disk.names(), spool.dropped(0)), (Vec::new(), 0));
    disk.exchange();
    write_padded(&mut spool, 1, 1_900);
    sync(&mut spool);
    let mut numbers = Vec::new();
    while let Next::Lines(lines) = spool.read(0).unwrap() {
        numbers.extend(lines.lines().map(|line| line.number));
    }
    assert_eq!(numbers, (1..=count + 1).collect::<Vec<_>>());
}

#[test]
fn s9_what_can_not_be_used_is_refused_with_its_cause_and_nothing_is_made() {
    let good = settings(&["out"]);
    let refused = |disk: &SimDisk, settings: &Settings| Spool::open(disk.clone(), settings.clone(), 0).err().unwrap();
    let disk = SimDisk::new(1);
    let small = Settings { size: good.size - 1, ..good.clone() };
    assert!(matches!(refused(&disk, &small), Cause::TooSmall { least, .. } if least == good.size));
    let twice = settings(&["out", "other", "out"]);
    assert!(matches!(refused(&disk, &twice), Cause::Twice(output) if output == "out"));
    let long = Settings { max_line: 1 << 28, size: u64::MAX, ..good.clone() };
    assert!(matches!(refused(&disk, &long), Cause::LineTooLong(_)));
    disk.fail_next("lock", 30);
    assert!(matches!(refused(&disk, &good), Cause::Io(error) if error.raw_os_error() == Some(30)));
    assert_eq!(disk.names(), [""; 0]);

    let mut spool = open(&disk, &good);
    write(&mut spool, 1);
    close(&mut spool);
    assert!(matches!(refused(&disk, &good), Cause::Locked));
    disk.unlock();
    let name = segments(&disk)[0].clone();
    let mut bytes = disk.read(&name);
    bytes[12..16].copy_from_slice(&(VERSION + 1).to_le_bytes());
    disk.put(&name, &bytes);
    assert!(Spool::open(disk.clone(), good.clone(), 0).is_ok(), "a version without a right sum is damage");
    disk.unlock();
    let sum = super::sum::sum_of(b"", &bytes[12..HEADER_BYTES]);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    disk.put(&name, &bytes);
    assert!(matches!(refused(&disk, &good), Cause::Newer { version: 2, segment } if segment == name));
    assert_eq!(disk.read(&name), bytes, "nothing is changed");
}

#[test]
fn s10_any_line_can_be_gone_on_with_and_a_limit_cuts_a_record() {
    let disk = SimDisk::new(1);
    let mut spool = open(&disk, &settings(&["out"]));
    (0..4).for_each(|_| write(&mut spool, 10));
    sync(&mut spool);
    for from in 1..=40 {
        spool.go_to(0, from);
        assert_eq!(read(&mut spool, 0), lines(from..=40));
        let mut reader = Reader::new(from, from - 1);
        let limit = super::reader::Limit { last: 25, lines: 25 };
        let mut last = from - 1;
        while let Next::Lines(lines) = reader.next(&disk, spool.directory(), Some(limit)).unwrap() {
            assert_eq!(
                lines.lines().map(|line| line.number).collect::<Vec<_>>(),
                (last + 1..=lines.last).collect::<Vec<_>>()
            );
            last = lines.last;
        }
        assert_eq!(last, 25.max(from - 1));
    }
}

#[test]
fn s11_a_position_says_where_an_output_goes_on_and_is_told_by_its_segment() {
    let (disk, settings) = (SimDisk::new(1), settings(&["out"]));
    let mut spool = open(&disk, &settings);
    write(&mut spool, 5);
    sync(&mut spool);
    spool.acked(0, 3, 77, 1);
    assert_eq!(spool.lag(0), 2);
    close(&mut spool);
    let mut spool = open(&disk, &settings);
    let Place { acked, lines: count, sequence, segment } = *spool.position(0).unwrap().place();
    assert_eq!((acked, count, sequence, segment.0), (3, 3, 77, 1));
    assert_eq!(segment.1, spool.directory().segments()[0].header.unwrap().salt);
    assert_eq!(read(&mut spool, 0), lines(4..=5));
}

/// A life with everything in it that writes, as far as it comes; the numbers that it was told are synced.
fn small_life(disk: &SimDisk, settings: &Settings) -> u64 {
    disk.unlock();
    let Ok(mut spool) = Spool::open(disk.clone(), settings.clone(), 1_000) else { return 0 };
    let mut synced = 0;
    for round in 0..4 {
        for _ in 0..8 {
            let written = try_write(&mut spool, 2, if round == 2 { 1_900 } else { 0 });
            spool.want_sync();
            let has_worked = work(&mut spool);
            synced = synced.max(spool.synced());
            if written.is_ok() && !has_worked {
                break;
            }
        }
    }
    spool.acked(0, synced.min(4), 0, 1);
    spool.close();
    for _ in 0..8 {
        let _ = spool.mend(1_000);
        spool.close();
        work(&mut spool);
    }
    synced.max(spool.synced())
}

/// Everything that is synced is there, and goes on.
fn check_after(disk: &SimDisk, settings: &Settings, synced: u64, what: &str) {
    let mut spool = open(disk, settings);
    let acked = spool.position(0).unwrap().place().acked;
    let mut got = read(&mut spool, 0);
    // Of what was not synced a part may be there.
    let rest = got.split_off(got.len().min(usize::try_from(synced - acked).unwrap()));
    assert_eq!(got, lines(acked + 1..=synced), "{what}");
    assert!(rest.len() < 200, "{what}");
    assert!(spool.next_number() > synced, "{what}");
    let next = spool.next_number();
    spool.acked(0, next - 1, 0, 1);
    write(&mut spool, 1);
    sync(&mut spool);
    assert_eq!(read(&mut spool, 0).last(), Some(&Got::Line(next)), "{what}");
}

#[test]
fn s12_a_kill_or_a_power_cut_after_any_byte_loses_nothing_that_was_synced() {
    let settings = settings(&["out"]);
    let whole = SimDisk::new(1);
    assert!(small_life(&whole, &settings) >= 8);
    let bytes = whole.written();
    for left in 1..bytes {
        // In positions one byte is as another.
        if left % 61 != 0 && whole.is_position(left) {
            continue;
        }
        let disk = SimDisk::new(1);
        disk.die_after(Some(left));
        let synced = small_life(&disk, &settings);
        assert!(disk.is_dead());
        if left % 2 == 0 {
            disk.cut()
        } else {
            disk.restart()
        }
        check_after(&disk, &settings, synced, &format!("after {left} bytes"));
    }
}

#[test]
fn s12_any_call_may_fail_with_any_error_and_nothing_that_was_synced_is_lost() {
    let settings = settings(&["out"]);
    let calls =
        ["list", "create", "open", "read", "write", "sync", "sync directory", "unlink", "rename", "lock", "random"];
    for call in calls {
        for number in [28, 5, 30, 24, 122, 4] {
            for skipped in 0..40 {
                let disk = SimDisk::new(skipped);
                disk.fail_after(call, skipped, number);
                let synced = small_life(&disk, &settings);
                let what = format!("{call} number {skipped} with error {number}");
                let is_over = disk.is_waiting_to_fail();
                disk.cut();
                check_after(&disk, &settings, synced, &what);
                if is_over {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_directory_can_be_looked_at_without_a_spool() {
    let (disk, settings) = (SimDisk::new(1), settings(&[]));
    let mut spool = open(&disk, &settings);
    write(&mut spool, 3);
    let directory = Directory::load(&disk, &mut |_| Ok(None)).unwrap();
    let (first, before) = directory.start();
    let mut reader = Reader::new(first, before);
    assert!(matches!(reader.next(&disk, &directory, None).unwrap(), Next::Lines(lines) if lines.last == 3));
    assert!(matches!(reader.next(&disk, &directory, None).unwrap(), Next::End));
    write(&mut spool, 2);
    assert!(
        matches!(reader.next(&disk, &directory, None).unwrap(), Next::Lines(lines) if lines.last == 5),
        "it goes on"
    );
}
