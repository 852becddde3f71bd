//! Feeds the models of the engine with random bytes, and with the named cases that random bytes seldom meet.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod model;

use common::watchdog::watch;
use lumberjack::internals::framer::{Framer, LineSink, Rules};
use lumberjack::{EmbeddedNewline, Format, Framing, Gap, Limits, Lines, LongLines, Peer};
#[cfg(feature = "status")]
use model::http;
#[cfg(feature = "tls")]
use model::tls;
use model::{budget, config, format, framer, proxy, syslog, wheel};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that a server asks of one read.
const READ_BYTES: usize = 64 * 1024;
const POLICIES: [LongLines; 3] = [LongLines::Skip, LongLines::Cut, LongLines::Split];

fn cases(cases: u32) -> ProptestConfig {
    watch();
    // Each shrunk case that fails says so: a thousand of them are enough to read.
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 1_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(12_000))]

    #[test]
    fn p1_to_p5_the_framer_does_what_its_model_does(input in vec(any::<u8>(), 0..200)) {
        framer::run(&input);
    }

    #[test]
    fn p21_messages_with_lengths_come_out_as_their_model_has_them(input in vec(any::<u8>(), 0..200)) {
        framer::run_octet(&input);
    }

    #[test]
    fn p1_and_p5_every_format_writes_what_its_model_does(input in vec(any::<u8>(), 0..300)) {
        format::run(&input, &mut |_, _| ());
    }

    #[test]
    fn p22_any_bytes_are_read_as_the_syslog_twin_reads_them(input in vec(any::<u8>(), 0..300)) {
        syslog::run(&input, &mut |_, _| ());
    }

    #[test]
    fn p25_a_header_in_any_pieces_says_what_its_model_says(input in vec(any::<u8>(), 0..60)) {
        proxy::run(&input);
    }

    #[test]
    fn p13_any_text_is_read_without_a_panic_and_prints_back(input in vec(any::<u8>(), 0..40)) {
        config::run(&input);
    }
}

#[cfg(feature = "tls")]
proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn p33_two_sessions_give_what_was_said_whatever_is_done_to_their_bytes(input in vec(any::<u8>(), 0..300)) {
        tls::run(&input);
    }
}

#[cfg(feature = "poll")]
proptest! {
    #![proptest_config(cases(6_000))]

    #[test]
    fn the_new_lines_of_any_pages_are_those_of_their_twins(input in vec(any::<u8>(), 0..300)) {
        model::page::run(&input);
    }
}

#[cfg(feature = "nats")]
proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn n1_each_line_is_in_the_stream_once_and_in_order_whatever_happened(input in vec(any::<u8>(), 0..600)) {
        model::nats::world(&input);
    }

    #[test]
    fn n8_whatever_a_server_sends_little_is_held_and_nothing_waits_for_ever(input in vec(any::<u8>(), 0..300)) {
        model::nats::run(&input);
    }
}

/// The bytes of a world: more of what goes well than random bytes have, so that it comes somewhere.
#[cfg(feature = "nats")]
fn world_of(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0;
    let mut roll = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    let calm = roll() % 4;
    let steps = 50 + roll() % 400;
    let mut bytes = Vec::new();
    for _ in 0..steps {
        let [what, how, is_calm, ..] = roll().to_le_bytes();
        bytes.extend([if u64::from(is_calm % 4) < calm { what % 19 } else { what }, how]);
    }
    bytes
}

/// `NATS_SEEDS=0..100000` for more worlds, `NATS_SEED=42` for one.
#[cfg(feature = "nats")]
#[test]
fn n1_worlds_of_a_stream_that_loses_delays_and_forgets() {
    watch();
    let number = |text: &str| text.parse::<u64>().unwrap();
    let one = std::env::var("NATS_SEED").ok().map(|seed| number(&seed)..number(&seed) + 1);
    let many = std::env::var("NATS_SEEDS").ok();
    let many = many.map(|seeds| seeds.split_once("..").map(|(from, to)| number(from)..number(to)).unwrap());
    let mut sums = model::nats::Sums::default();
    for seed in one.or(many).unwrap_or(0..2_000) {
        let _story = model::Story(&format!("NATS_SEED={seed} cargo test --test models n1_worlds"));
        sums.add(model::nats::world(&world_of(seed)));
    }
    println!("{sums:?}");
    let is_eventful = sums.rewinds > 100 && sums.removed > 10_000 && sums.lookups > 2_000;
    assert!(
        is_eventful || std::env::vars().any(|(name, _)| name.starts_with("NATS_SEED")),
        "worlds where nothing happens"
    );
}

#[cfg(feature = "spool")]
proptest! {
    #![proptest_config(cases(6_000))]

    #[test]
    fn any_bytes_of_a_spool_are_read_as_they_would_be_written(input in vec(any::<u8>(), 0..300)) {
        model::spool::run(&input);
    }
}

#[cfg(any(feature = "poll", feature = "push"))]
proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn an_answer_in_any_pieces_says_what_its_model_says(input in vec(any::<u8>(), 0..120)) {
        model::response::run(&input);
    }
}

#[cfg(feature = "status")]
proptest! {
    #![proptest_config(cases(12_000))]

    #[test]
    fn p8_a_visitor_gets_well_formed_answers_and_rests(input in vec(any::<u8>(), 0..150)) {
        http::run(&input);
    }

    /// Requests that are all right are all answered, in order, however they are cut.
    #[test]
    fn every_request_is_answered_however_it_is_cut(count in 1..8_usize, cuts in vec(1..120_usize, 1..10)) {
        let requests = "GET /status HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n".repeat(count);
        let mut ops = vec![http::Op::Take(1 << 20)];
        let (mut rest, mut cuts) = (requests.as_bytes(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            ops.push(http::Op::Send(piece.to_vec()));
            rest = after;
        }
        ops.push(http::Op::End);
        let sent = String::from_utf8(http::live(&ops)).unwrap();
        assert_eq!(sent.matches("HTTP/1.1 200 OK\r\n").count(), count, "{sent}");
    }
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn p6_the_wheel_does_what_an_ordered_map_does(input in vec(any::<u8>(), 0..300)) {
        wheel::run(&input);
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn p5_and_p14_the_budget_does_what_a_plain_map_does(input in vec(any::<u8>(), 0..300)) {
        budget::run(&input);
    }
}

fn small(max_line: usize, long_lines: LongLines, keep_empty: bool) -> Limits {
    watch();
    Limits { max_line, max_buffer: 2 * max_line, long_lines, keep_empty, ..Limits::default() }
}

fn every_small(each: impl Fn(&Limits)) {
    for long_lines in POLICIES {
        for keep_empty in [false, true] {
            [1, 2, 3, 8].iter().for_each(|max_line| each(&small(*max_line, long_lines, keep_empty)));
        }
    }
}

/// Messages of every kind in each framing: with a newline in the middle and at the end, with a `\r` before each mark, empty,
/// over-long, and one without an end.
const FRAMED: [(Framing, &[u8]); 7] = [
    (Framing::Nul, b"ab\0c\nd\0\0\n\0\r\n\0e\r\x00123456789\0\nf\r"),
    (Framing::Cr, b"ab\rc\nd\r\r\n\r\0\n\r123456789\r12\n345678\nf\0"),
    (Framing::Octet, b"2 ab3 c\nd4 ab\r\n\n3 a\r\x001 \n1 \r5 12345\n\n2 \n\n2 \r\n4 f\0\n\r"),
    (Framing::Octet, b"2 ab3 a\r\r2 \r\n3 \n\n\n3 \0\0\x004 ab\rc03 xyz"),
    (Framing::AutoOctet, b"3 <a>2 <\n3 c\nd2 \r\n99999999 too long"),
    (Framing::AutoOctet, b"12 <\n3 c\n"),
    (Framing::AutoOctet, b"123456789 ab\r\n2 <a\n\r\nc"),
];

/// A few limits, with lengths of up to 16.
fn each_embedded(each: impl Fn(&Limits)) {
    for embedded_newline in framer::EMBEDDED {
        let caps = [1, 2, 8, 2, 3].into_iter().zip([POLICIES, POLICIES].concat());
        for (number, (max_line, long_lines)) in caps.enumerate() {
            let limits = small(max_line, long_lines, number % 2 == 0);
            each(&Limits { embedded_newline, max_buffer: limits.max_buffer.max(8), ..limits });
        }
    }
}

#[test]
fn p21_each_framing_comes_out_the_same_wherever_it_is_cut_once_or_twice() {
    each_embedded(|limits| {
        for (framing, sample) in FRAMED {
            for first in 0..=sample.len() {
                framer::compare_in(framing, limits, &[feed(&sample[..first])]);
                for second in first..=sample.len() {
                    let (start, middle, end) = (&sample[..first], &sample[first..second], &sample[second..]);
                    framer::alongside_in(framing, limits, &[feed(start), feed(middle), feed(end)]);
                }
            }
        }
    });
}

#[test]
fn p21_a_flush_or_a_drop_can_come_at_any_byte_of_each_framing() {
    each_embedded(|limits| {
        for (framing, sample) in FRAMED {
            for at in 0..=sample.len() {
                let (start, end) = sample.split_at(at);
                for between in [framer::Op::Flush, framer::Op::Drop] {
                    framer::compare_in(framing, limits, &[feed(start), between.clone(), feed(end)]);
                    let next = feed(&end[..end.len().min(1)]);
                    framer::compare_in(framing, limits, &[feed(start), between, next, framer::Op::Flush]);
                }
                framer::compare_in(framing, limits, &[framer::Op::FeedWithoutRoom(start.to_vec()), feed(end)]);
            }
        }
    });
}

/// What comes out of a framing, a line each.
fn out_of(framing: Framing, embedded_newline: EmbeddedNewline, sent: &[u8]) -> String {
    watch();
    let limits = Limits { embedded_newline, ..Limits::default() };
    String::from_utf8(framer::compare_in(framing, &limits, &[feed(sent)])).unwrap()
}

#[test]
fn p21_what_each_framing_takes_off_and_what_a_newline_inside_becomes() {
    let [escape, space, keep] = framer::EMBEDDED;
    for (framing, embedded, sent, lines) in [
        (Framing::Nul, escape, &b"a\r\0 b\n\0c\nd\0\0e"[..], "a\r\n b\\n\nc\\nd\ne\n"),
        (Framing::Nul, space, b"c\nd\0\\n\0", "c d\n\\n\n"),
        (Framing::Nul, keep, b"c\nd\0", "c\nd\n"),
        (Framing::Cr, escape, b"a\rb\n\r\nc\0\r", "a\nb\\n\n\\nc\0\n"),
        (Framing::Octet, escape, b"5 hello5 a\nb\nc7 world\r\n\n\n2 x\0", "hello\na\\nb\\nc\nworld\nx\n"),
        (Framing::Octet, escape, b"3 a\0\x003 b\r\x003 c\n\n3 d\n\r3 e\0\n", "a\0\nb\r\nc\\n\nd\\n\r\ne\0\n"),
        (Framing::Octet, space, b"6 a\nb\n\r\n", "a b \n"),
        (Framing::Octet, keep, b"6 a\nb\n\r\n5 hi", "a\nb\n\nhi\n"),
        // Nothing is behind the lengths that it stops at, and the digits of the last were no message.
        (Framing::Octet, escape, b"2 ok\n2 ok0", "ok\nok\n"),
        (Framing::Octet, escape, b"2 ok2", "ok\n"),
        (Framing::Octet, escape, b"2 ok2 ", "ok\n"),
        (Framing::Octet, escape, b"2 ok1048577 x", "ok\n"),
        (Framing::Octet, escape, b"2 ok-1 x", "ok\n"),
        (Framing::AutoOctet, escape, b"5 <1>hi5 hello", "<1>hi\nhello\n"),
        (Framing::AutoOctet, escape, b"2026-11-26 a\n5 <1>hi\n", "2026-11-26 a\n5 <1>hi\n"),
        (Framing::AutoOctet, escape, b"1732604584 <1>\r\n", "1732604584 <1>\n"),
        (Framing::AutoOctet, escape, b"0 <1>\n", "0 <1>\n"),
        (Framing::AutoOctet, escape, b"123456789", "123456789\n"),
        (Framing::AutoOctet, escape, b"12 ", "12 \n"),
    ] {
        assert_eq!(out_of(framing, embedded, sent), lines, "{framing} {embedded} {}", sent.escape_ascii());
    }
}

fn feed(chunk: &[u8]) -> framer::Op {
    watch();
    framer::Op::Feed(chunk.to_vec())
}

#[test]
fn p1_a_byte_that_json_escapes_is_found_wherever_it_is() {
    watch();
    let peers = [Peer::Unix { serial: 1 }; 3];
    let setup = format::Setup {
        format: Format::Json,
        tag: String::new(),
        marks_gaps: false,
        peers,
        max_line: 1000,
        keep_empty: true,
    };
    for special in ["\"", "\\", "\t", "\x1f", "\r.", "\u{e9}"].map(str::as_bytes).into_iter().chain([&b"\xff"[..]]) {
        for len in [0, 1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 95, 96, 97, 128, 129] {
            for at in 0..=len {
                let line = [&b"x".repeat(at)[..], special, &b"y".repeat(len - at), b"\n"].concat();
                let block = [&line, &b"a plain one\n"[..], &line].concat();
                for ops in [vec![block.clone()], vec![block[..at].to_vec(), block[at..].to_vec()]] {
                    let ops: Vec<format::Op> = ops.into_iter().map(|chunk| format::Op::Feed(0, chunk)).collect();
                    format::compare(&setup, &ops, &mut |_, _| ());
                }
            }
        }
    }
}

/// CRLF, empty lines, lone `\r`, NUL, invalid UTF-8, over-long lines, and one without an end.
const MIXED: &[u8] = b"ab\r\n\n\r\n\rc\r\r\n\x00\xff\xc3\n123456789\n12345678\r\n1234567890123456789\r\nend\r";

#[test]
fn p1_a_mixed_sample_comes_out_the_same_wherever_it_is_cut_once_or_twice() {
    every_small(|limits| {
        for first in 0..=MIXED.len() {
            for second in first..=MIXED.len() {
                let (start, middle, end) = (&MIXED[..first], &MIXED[first..second], &MIXED[second..]);
                framer::compare(limits, &[feed(start), feed(middle), feed(end)]);
            }
        }
    });
}

#[test]
fn p2_and_p5_a_flush_or_a_drop_can_come_at_any_byte_of_a_mixed_sample() {
    every_small(|limits| {
        for at in 0..=MIXED.len() {
            let (start, end) = MIXED.split_at(at);
            for between in [framer::Op::Flush, framer::Op::Drop] {
                framer::compare(limits, &[feed(start), between.clone(), feed(end)]);
                framer::compare(limits, &[feed(start), between, feed(&end[..end.len().min(1)]), framer::Op::Flush]);
            }
            framer::compare(limits, &[framer::Op::FeedWithoutRoom(start.to_vec()), feed(end)]);
        }
    });
}

#[test]
fn p3_lines_around_the_cap_come_out_as_the_policy_says_with_both_endings() {
    for max_line in [1, 2, 8, 64, 1000] {
        for ending in ["\n", "\r\n"] {
            for length in [max_line - 1, max_line, max_line + 1] {
                let line = "x".repeat(length);
                let input = format!("{line}{ending}ok{ending}", ending = ending).into_bytes();
                let (start, last) = line.split_at(length.min(max_line));
                let ok = if max_line == 1 { ["", "o", "o\nk"] } else { ["ok", "ok", "ok"] };
                for (policy, ok) in POLICIES.into_iter().zip(ok) {
                    let whole = match policy {
                        LongLines::Skip if !last.is_empty() => "",
                        _ => start,
                    };
                    let last = if policy == LongLines::Split { last } else { "" };
                    let expected: Vec<&str> = [whole, last, ok].into_iter().filter(|part| !part.is_empty()).collect();
                    let expected = expected.iter().map(|line| format!("{line}\n")).collect::<String>();
                    let given = framer::compare(&small(max_line, policy, false), &[feed(&input)]);
                    model::assert_same_bytes("lines", &given, expected.as_bytes());
                }
            }
        }
    }
}

#[test]
fn p4_a_line_that_ends_anywhere_around_the_end_of_a_read_is_whole() {
    let max_line = 100 * 1024;
    for policy in POLICIES {
        for around in [READ_BYTES, max_line, 2 * READ_BYTES] {
            for end in around - 2..=around + 2 {
                for ending in [&b"\n"[..], b"\r\n"] {
                    let mut input = b"first\n".to_vec();
                    input.resize(end, b'x');
                    input.extend_from_slice(ending);
                    input.extend_from_slice(b"last\n");
                    let ops: Vec<framer::Op> = input.chunks(READ_BYTES).map(feed).collect();
                    framer::compare_once(&Limits { long_lines: policy, ..Limits::default() }, &ops);
                }
            }
        }
    }
}

#[test]
fn p4_a_line_of_many_reads_holds_no_more_than_one_line() {
    for policy in POLICIES {
        let mut ops = vec![feed(&vec![b'x'; READ_BYTES]); 40];
        ops.push(feed(b"\r\nnext\r\n"));
        let given = framer::compare_once(&Limits { long_lines: policy, ..Limits::default() }, &ops);
        assert!(given.ends_with(b"\nnext\n") || given == b"next\n", "{:?}", model::Shown(&given));
    }
}

#[test]
fn p4_a_line_that_grows_in_small_steps_never_holds_more_than_the_longest() {
    for max_line in [64, 200, 400, 1_000, 5_000] {
        for step in [1, 7, 63, 100] {
            let line = [vec![b'x'; max_line], b"\r".to_vec()].concat();
            let mut ops: Vec<framer::Op> = line.chunks(step).map(feed).collect();
            ops.push(feed(b"\n"));
            let given = framer::compare_once(&small(max_line, LongLines::Skip, false), &ops);
            assert_eq!(given.len(), max_line + 1, "{:?}", model::Shown(&given));
        }
    }
}

/// Counts how often it is given something.
#[derive(Default)]
struct Blocks(Vec<Vec<u8>>);

impl LineSink for Blocks {
    fn lines(&mut self, lines: Lines<'_>) {
        self.0.push([lines.head, lines.body].concat());
    }
}

#[test]
fn a_clean_chunk_goes_out_as_one_block_with_what_was_pending_before_it() {
    for policy in POLICIES {
        let rules = Rules::new(&small(8, policy, false), Framing::Lines);
        let (mut framer, mut out) = (Framer::default(), Blocks::default());
        for chunk in [&b"abcdef"[..], b"gh\n12345678\n1\r2\n12345678\n1234567\n123", b"\n12345678\n"] {
            let mut chunk = chunk.to_vec();
            let fed = framer.feed(&mut chunk, 0, &rules, &mut out);
            framer.keep(fed.tail, &rules);
        }
        assert_eq!(out.0, [&b"abcdefgh\n12345678\n1\r2\n12345678\n1234567\n"[..], b"123\n12345678\n"]);
    }
}

#[test]
fn p1_a_cr_at_the_end_of_a_chunk_belongs_to_the_ending_only_if_a_newline_follows() {
    for (rest, expected) in
        [(&b"\n"[..], &b"abc\n"[..]), (b"d\n", b"abc\rd\n"), (b"\r\n", b"abc\r\n"), (b"", b"abc\r\n")]
    {
        for max_line in [5, 8] {
            for policy in POLICIES {
                let given = framer::compare(&small(max_line, policy, false), &[feed(b"abc\r"), feed(rest)]);
                model::assert_same_bytes("lines", &given, expected);
            }
        }
    }
}

#[test]
fn p3_a_cr_just_over_the_cap_is_content_unless_a_newline_follows() {
    let [skip, cut, split] = POLICIES;
    for (policy, rest, expected) in [
        (skip, &b"\nok\n"[..], &b"abc\nok\n"[..]),
        (skip, b"d\nok\n", b"ok\n"),
        (skip, b"", b""),
        (cut, b"\nok\n", b"abc\nok\n"),
        (cut, b"d\nok\n", b"abc\nok\n"),
        (cut, b"", b"abc\n"),
        (split, b"\nok\n", b"abc\nok\n"),
        (split, b"d\nok\n", b"abc\n\rd\nok\n"),
        (split, b"", b"abc\n\r\n"),
    ] {
        let given = framer::compare(&small(3, policy, false), &[feed(b"abc\r"), feed(rest)]);
        model::assert_same_bytes("lines", &given, expected);
    }
}

/// What goes out for `ops` with a cap of 3 bytes, the gaps among the lines: `abc|-5 too-long|d`.
fn story(policy: LongLines, ops: &[framer::Op]) -> String {
    let limits = small(3, policy, false);
    framer::compare(&limits, ops);
    let expected = framer::expected(Framing::Lines, &limits, ops);
    let mut story = Vec::new();
    let mut start = 0;
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect::<Vec<_>>();
    for (at, Gap { bytes, why, .. }) in &expected.gaps {
        story.extend(lines(&expected.bytes[start..*at]));
        story.push(format!("-{bytes} {why}"));
        start = *at;
    }
    story.extend(lines(&expected.bytes[start..]));
    story.join("|")
}

#[test]
fn p12_what_is_dropped_of_a_line_is_one_gap_where_the_line_ends() {
    use framer::Op::{Drop, FeedWithoutRoom, Flush};
    let [skip, cut, split] = POLICIES;
    for (policy, ops, expected) in [
        // In one chunk, with any ending, and with the line's bytes cut into chunks.
        (skip, vec![feed(b"a\n12345\nb\n")], "a|-5 too-long|b"),
        (skip, vec![feed(b"a\n12345\r\n1234\nb\n")], "a|-6 too-long|-4 too-long|b"),
        (skip, vec![feed(b"a\n1234"), feed(b"56"), feed(b"7\nb\n")], "a|-7 too-long|b"),
        (skip, vec![feed(b"123"), feed(b"\r"), feed(b"4"), feed(b"\nb")], "-5 too-long|b"),
        // The end of the connection is the end of the line.
        (skip, vec![feed(b"a\n12345")], "a|-5 too-long"),
        (skip, vec![feed(b"123\r")], "-4 too-long"),
        // A line that was cut: behind its start.
        (cut, vec![feed(b"a\n12345\nb\n")], "a|123|-2 too-long|b"),
        (cut, vec![feed(b"1234"), feed(b"56\r"), feed(b"\nb\n")], "123|-4 too-long|b"),
        (cut, vec![feed(b"123\r"), Flush, feed(b"45\nb\n")], "123|-3 too-long|b"),
        (cut, vec![feed(b"123\r")], "123|-1 too-long"),
        // A goodbye while a line is skipped ends nothing: one gap, with what came after it.
        (skip, vec![feed(b"1234"), Flush, Flush, feed(b"56\nb"), Flush], "-6 too-long|b"),
        (cut, vec![feed(b"1234"), Flush, feed(b"56")], "123|-3 too-long"),
        // The budget: what it took, and what came of that line after it, with any policy.
        (skip, vec![feed(b"a\n12"), Drop, feed(b"345\nb\n")], "a|-5 memory|b"),
        (cut, vec![feed(b"12"), Drop, feed(b"345\nb\n")], "-5 memory|b"),
        (split, vec![feed(b"12"), Drop, Flush, feed(b"345")], "-5 memory"),
        (skip, vec![FeedWithoutRoom(b"a\n12".to_vec()), feed(b"\nb\n")], "a|-2 memory|b"),
        (split, vec![FeedWithoutRoom(b"12345".to_vec()), feed(b"6\nb\n")], "123|-3 memory|b"),
        // A piece that went out before is not missing.
        (skip, vec![feed(b"ab"), Flush, feed(b"cd"), Drop, feed(b"e\nf\n")], "ab|-3 memory|f"),
        // Nothing dropped, no gap.
        (split, vec![feed(b"a\n12345\nb\n")], "a|123|45|b"),
        (skip, vec![feed(b"\n\r\n123\r\n"), Drop, feed(b"b")], "123|b"),
    ] {
        assert_eq!(story(policy, &ops), expected, "{policy:?} {ops:?}");
    }
}

#[test]
fn p2_the_ending_of_a_line_that_went_out_before_is_no_empty_line() {
    for keep_empty in [false, true] {
        let limits = small(8, LongLines::Skip, keep_empty);
        for ending in [&b"\n"[..], b"\r\n"] {
            let ops = [feed(b"ab"), framer::Op::Flush, feed(ending), feed(b"c\n")];
            model::assert_same_bytes("lines", &framer::compare(&limits, &ops), b"ab\nc\n");
        }
    }
}

fn arm(id: u32, after: u64) -> wheel::Op {
    watch();
    wheel::Op::Arm { id, after }
}

#[test]
fn p6_deadlines_past_one_rotation_of_every_level_fire_on_their_tick() {
    for level in 0..6 {
        let rotation = 64_u64.pow(level + 1);
        for start in [0, 1, 63, rotation - 1, rotation, 3 * rotation / 2] {
            for after in [rotation - 1, rotation, rotation + 1, 2 * rotation + 1] {
                let ops = [arm(0, after), arm(1, after + 1), wheel::Op::Advance { ticks: after - 1 }, wheel::Op::Sleep];
                wheel::compare(start, &ops);
                wheel::compare(start, &ops[..2]);
            }
        }
    }
}

#[test]
fn p6_more_entries_than_slots_fire_after_jumps_of_days() {
    for apart in [0, 1, 63, 64, 97, 100_000] {
        let many = wheel::Op::ArmMany { count: 1_000, apart };
        for ticks in [0, 1, 64, 24 * 3600 * 100, 9 * 24 * 3600 * 100] {
            let jump = wheel::Op::Advance { ticks };
            wheel::compare(12_345, &[many, jump, many, wheel::Op::Rearm { ticks, count: 500, after: 64 }, jump]);
        }
    }
}

#[test]
fn p6_a_deadline_beyond_the_furthest_is_looked_at_in_ten_years() {
    watch();
    let ten_years = 1 << 35;
    for after in [ten_years - 1, ten_years, ten_years + 1, u64::MAX] {
        wheel::compare(7, &[arm(0, after), wheel::Op::Advance { ticks: ten_years - 2 }, wheel::Op::Sleep]);
    }
}

#[test]
fn p6_time_that_passes_while_nothing_is_armed_has_passed() {
    watch();
    for ticks in [1, 64, 3_000_000, 1 << 33] {
        let away = wheel::Op::Advance { ticks };
        wheel::compare(0, &[away, arm(0, 30_001), wheel::Op::Sleep]);
        wheel::compare(0, &[away, wheel::Op::ArmForEver { id: 0 }, wheel::Op::Sleep]);
        wheel::compare(0, &[arm(0, 5), wheel::Op::Cancel { id: 0 }, away, arm(0, 30_001), wheel::Op::Sleep]);
    }
}

#[test]
fn p5_a_crowd_of_equals_pays_one_by_one() {
    watch();
    let mut ops = Vec::new();
    for id in 0..60 {
        ops.push(budget::Op::Connect { id, host: id as usize % 7 });
        ops.push(budget::Op::Hold { id, bytes: 10 });
    }
    ops.extend((0..60).map(|id| budget::Op::HoldAndMakeRoom { id, bytes: 100 }));
    ops.extend((0..60).rev().map(|id| budget::Op::Disconnect { id }));
    budget::compare(600, None, &ops);
    budget::compare(600, Some(5), &ops);
}

#[test]
fn p13_every_option_with_any_default_reads_as_a_config_line() {
    watch();
    for option in lumberjack::cli::options::OPTIONS {
        let default = option.current(&lumberjack::cli::options::Settings::default());
        config::compare(&format!("{} = {default}", option.name));
        config::compare(&format!("--{}={default}", option.name));
        config::compare(&format!("{} = \u{7}{default}\u{85}", option.name));
    }
}

/// Lines of one kind, about `len` bytes of them; now and then (in one of `rare`) one that is not clean.
fn lines_of_a_kind(next: &mut impl FnMut(usize) -> usize, kind: usize, len: usize) -> Vec<u8> {
    let mut input = Vec::new();
    let rare = 1 + next(3000);
    while input.len() < len {
        let is_odd = next(rare) == 0;
        match kind {
            0 => input.push(b"a\n\r\n"[next(4)]),
            1 => input.extend_from_slice(if is_odd { b"\r\n" } else { b"abc\n" }),
            2 => {
                input.resize(input.len() + next(60), b'x');
                input.extend_from_slice(if is_odd { b"\n\n" } else { b"\n" });
            }
            3 => {
                input.resize(input.len() + next(5000), b'\r');
                input.push(b'\n');
            }
            4 => input.extend_from_slice(if next(3) == 0 { b"\r\r\n" } else { b"\r\n" }),
            _ => {
                input.resize(input.len() + next(90), b'y');
                input.extend_from_slice(b"\r\n");
            }
        }
    }
    input
}

/// A block is looked at in pieces of 2 and 8 KiB, which short inputs do not reach.
#[test]
fn p1_long_chunks_of_every_kind_come_to_the_same() {
    watch();
    let mut seed = 7_u64;
    let mut next = move |n: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % n as u64).unwrap()
    };
    for round in 0..600 {
        let (kind, len) = (next(6), next(20_000));
        let input = lines_of_a_kind(&mut next, kind, len);
        let max_line = [1, 5, 40, 700, 3000, 100_000][next(6)];
        let (long_lines, keep_empty) = (POLICIES[round % 3], next(2) == 0);
        let limits = Limits { max_line, max_buffer: 2 * max_line, long_lines, keep_empty, ..Limits::default() };
        let mut ops = Vec::new();
        let mut rest = input.as_slice();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at((1 + next(12_000)).min(rest.len()));
            ops.push(framer::Op::Feed(chunk.to_vec()));
            rest = after;
        }
        framer::compare_once(&limits, &ops);
    }
}
