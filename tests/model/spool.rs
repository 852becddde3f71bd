//! Bytes of a spool beside a twin that takes its time: any bytes as a record, header, footer or position, and records that
//! a batch made, with some of their bytes changed. What is read is what would be written, byte for byte, or nothing.

use lumberjack::internals::spool::position;
use lumberjack::internals::spool::record::{Batch, Entry, HEAD_BYTES, Head, Record, Salt};
use lumberjack::internals::spool::segment::{Footer, Header, Name};
use lumberjack::{Gap, Parse, Peer, Why};

use super::{Script, Story, assert_same_bytes};

const SALT: Salt = *b"a salt of tests.";
const REASONS: [Why; 6] = [Why::TooLong, Why::Memory, Why::Stalled, Why::BadLength, Why::DiskFull, Why::Rate];

/// The first byte says what the others are.
pub(crate) fn run(input: &[u8]) {
    let mut script = Script::new(input);
    match script.below(4) {
        0 => any_bytes(script.take(usize::MAX)),
        1 => name(script.take(40)),
        _ => batch(&mut script),
    }
}

/// Whatever is read of them would be written so.
fn any_bytes(bytes: &[u8]) {
    let _story = Story(&super::Shown(bytes));
    if let Ok(header) = Header::decode(bytes) {
        assert_same_bytes("headers", &header.encode(), &bytes[..header.encode().len()]);
    }
    if let Some(footer) = Footer::decode(bytes) {
        assert_same_bytes("footers", &footer.encode(), bytes);
    }
    if let Some((generation, place, output)) = position::decode(bytes) {
        assert_same_bytes("positions", &position::encode(generation, &place, output), bytes);
    }
    check_record(bytes);
}

/// What a record has is what a batch of the same lines is.
fn check_record(bytes: &[u8]) -> Option<u64> {
    let head = Head::decode(bytes, &SALT);
    let record = Record::decode(bytes, &SALT)?;
    assert_eq!(head, Some(record.head));
    assert!(record.head.length >= HEAD_BYTES && record.head.length <= bytes.len());
    let numbers: Vec<u64> = record.lines().map(|line| line.number).collect();
    assert!(numbers.iter().copied().eq(record.head.first..=record.head.last()), "{numbers:?}");
    assert!(record.lines().all(|line| line.wall_ms >= record.head.clock_ms));
    Some(record.head.last())
}

fn name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(name) = Name::parse(&text) {
        assert_eq!(name.to_string(), text, "a name is written in one way");
    }
}

fn peer(script: &mut Script<'_>) -> Peer {
    let byte = script.byte();
    match byte % 3 {
        0 => Peer::V4 { ip: [byte; 4], port: byte.into() },
        1 => Peer::V6 { ip: [byte; 16], port: byte.into(), scope: byte.into() },
        _ => Peer::Unix { serial: byte.into() },
    }
}

/// What a batch took: whose, when, what, and the line's bytes.
type Pushed = (Peer, u64, Option<Gap>, Parse, Vec<u8>);

/// Lines into a batch, which says what fits, and out of its record again; then with a byte changed.
fn batch(script: &mut Script<'_>) {
    let most_bytes = script.below(256) * script.below(64);
    let first = script.wide(62) + 1;
    let mut batch = Batch::new(most_bytes);
    let mut pushed: Vec<Pushed> = Vec::new();
    let mut clock_ms = 1_000_000;
    while !script.is_over() && pushed.len() < 200 {
        let peer = peer(script);
        clock_ms = if script.below(20) == 0 { script.wide(40) } else { clock_ms + script.wide(12) };
        let (kind, len) = (script.below(8), script.below(256));
        let line = script.take(len).to_vec();
        let gap = Gap { lines: script.wide(40), bytes: script.wide(63), why: REASONS[kind % 6] };
        let parse = if kind % 2 == 0 { Parse::Off } else { Parse::Syslog };
        let is_taken = if kind == 7 {
            batch.push_gap(&peer, clock_ms, gap)
        } else {
            let (head, rest) = line.split_at(line.len() / 2);
            batch.push_line(&peer, clock_ms, parse, [head, rest])
        };
        if is_taken {
            pushed.push((peer, clock_ms, (kind == 7).then_some(gap), parse, line));
        } else {
            assert!(!pushed.is_empty(), "the first always fits");
            break;
        }
    }
    let _story = Story(&pushed);
    if pushed.is_empty() {
        return;
    }
    let len = batch.len();
    assert!(len <= most_bytes.max(HEAD_BYTES + 8 + 24 + 8 + 256) || pushed.len() == 1, "no longer than it may be");
    let bytes = batch.record(&SALT, first).to_vec();
    assert_eq!(bytes.len(), len);
    let record = Record::decode(&bytes, &SALT).expect("what a batch wrote");
    assert_eq!(record.lines().count(), pushed.len());
    for (line, (number, (peer, wall_ms, gap, parse, bytes))) in record.lines().zip((first..).zip(&pushed)) {
        assert_eq!((line.number, line.peer, line.wall_ms), (number, *peer, *wall_ms));
        match (line.entry, gap) {
            (Entry::Gap(found), Some(gap)) => assert_eq!(found, *gap),
            (Entry::Line(found, as_what), None) => {
                assert_same_bytes("lines", found, bytes);
                assert_eq!(as_what, *parse);
            }
            other => panic!("{other:?}"),
        }
    }
    let mut changed = bytes.clone();
    let at = script.below(256) * 37 % changed.len();
    changed[at] ^= 1 << (first % 8);
    assert_eq!(check_record(&changed), None, "one bit another, at {at}");
    assert_eq!(check_record(&bytes[..at]), None, "cut at {at}");
}
