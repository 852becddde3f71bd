//! The framer against a naive model, with random limits and chunkings: same bytes, same counts (P1-P4).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lumberjack::internals::framer::{Framer, LineSink, Rules};
use lumberjack::{Limits, Lines, LongLines};
use proptest::prelude::*;

#[derive(Default, Debug, PartialEq, Eq)]
struct Outcome {
    bytes: Vec<u8>,
    lines: u64,
    skipped: u64,
    cut: u64,
    unterminated: u64,
}

impl LineSink for Outcome {
    fn lines(&mut self, lines: Lines<'_>) {
        self.bytes.extend_from_slice(lines.head);
        self.bytes.extend_from_slice(lines.body);
        if !lines.ended {
            self.bytes.push(b'\n');
        }
    }
}

fn model(input: &[u8], limits: &Limits) -> Outcome {
    let mut outcome = Outcome::default();
    let parts: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    for (at, part) in parts.iter().enumerate() {
        let is_ended = at + 1 < parts.len();
        let content = if is_ended { part.strip_suffix(b"\r").unwrap_or(part) } else { part };
        if content.is_empty() && (!is_ended || !limits.keep_empty) {
            continue;
        }
        let is_long = content.len() > limits.max_line;
        let pieces: Vec<&[u8]> = match limits.long_lines {
            LongLines::Skip if is_long => Vec::new(),
            LongLines::Cut if is_long => vec![&content[..limits.max_line]],
            LongLines::Split if is_long => content.chunks(limits.max_line).collect(),
            _ => vec![content],
        };
        outcome.skipped += u64::from(is_long && limits.long_lines == LongLines::Skip);
        outcome.cut += u64::from(is_long && limits.long_lines == LongLines::Cut);
        outcome.lines += pieces.len() as u64;
        for piece in pieces {
            outcome.bytes.extend_from_slice(piece);
            outcome.bytes.push(b'\n');
        }
    }
    outcome
}

fn framed(input: &[u8], cuts: &[usize], limits: &Limits) -> Outcome {
    let rules = Rules::new(limits);
    let (mut framer, mut out) = (Framer::default(), Outcome::default());
    let (mut rest, mut cuts) = (input, cuts.iter().cycle());
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
        let fed = framer.feed(chunk, &rules, &mut out);
        framer.keep(fed.tail, &rules);
        framer.check(&rules);
        out.lines += fed.lines;
        out.skipped += fed.skipped;
        out.cut += fed.cut;
        rest = after;
    }
    let fed = framer.finish(&rules, &mut out);
    out.lines += fed.lines;
    out.skipped += fed.skipped;
    out.cut += fed.cut;
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn p1_to_p4_any_chunking_gives_what_the_model_gives(
        input in prop::collection::vec(prop::sample::select(&b"ab\r\n\n"[..]), 0..60),
        cuts in prop::collection::vec(1_usize..9, 1..6),
        max_line in 1_usize..7,
        policy in 0..3,
        keep_empty: bool,
    ) {
        let long_lines = [LongLines::Skip, LongLines::Cut, LongLines::Split][policy as usize];
        let limits = Limits { max_line, max_buffer: 2 * max_line, long_lines, keep_empty, ..Limits::default() };
        prop_assert_eq!(framed(&input, &cuts, &limits), model(&input, &limits));
    }
}
