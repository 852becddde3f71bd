//! The framer: good lines by length and by chunk, and the worst that a client can send.

use std::hint::black_box;

use lumberjack::internals::framer::{Framer, LineSink, Rules};
use lumberjack::{Framing, Limits, Lines};

use super::{Case, Pass};

/// What a server reads at once.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of input a pass, about: four full reads.
const INPUT_BYTES: usize = 4 * READ_BYTES;
/// Length of the first chunk: it leaves all others starting and ending within a line, as reads from a socket do.
const FIRST_CHUNK: usize = 37;

/// Counts, and keeps the compiler from leaving out what leads to it.
#[derive(Default)]
struct Counting {
    lines: u64,
}

impl LineSink for Counting {
    fn lines(&mut self, lines: Lines<'_>) {
        self.lines += black_box(lines).count;
    }
}

/// Lines of `len` bytes, their ending counted, about [`INPUT_BYTES`] of them.
pub(crate) fn lines_of(len: usize, ending: &[u8]) -> Vec<u8> {
    let mut line = vec![b'x'; len - ending.len()];
    line.extend_from_slice(ending);
    line.repeat(INPUT_BYTES.div_ceil(len))
}

pub(crate) fn newlines(input: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', input).count() as u64
}

fn case(name: String, input: Vec<u8>, chunk: usize, limits: &Limits) -> Case {
    let (units, bytes, limits) = (newlines(&input), input.len(), limits.clone());
    let prepare = move || {
        let (mut input, rules) = (input.clone(), Rules::new(&limits, Framing::Lines));
        let (mut framer, mut out) = (Framer::default(), Counting::default());
        Box::new(move || {
            let (first, rest) = input.split_at_mut(FIRST_CHUNK.min(chunk));
            for chunk in std::iter::once(first).chain(rest.chunks_mut(chunk)) {
                let fed = framer.feed(black_box(chunk), 0, &rules, &mut out);
                framer.keep(fed.tail, &rules);
            }
            black_box(out.lines);
        }) as Pass
    };
    Case { name: format!("framer/{name}"), unit: "line", units, bytes, prepare: Box::new(prepare) }
}

/// Messages in another framing than lines. They are translated where they lie, so they are copied there for each pass, as the
/// kernel does: 17 instructions of 128 bytes.
fn framed(name: &str, framing: Framing, message: &[u8]) -> Case {
    let count = INPUT_BYTES / message.len();
    let (input, bytes) = (message.repeat(count), count * message.len());
    let prepare = move || {
        let (input, rules) = (input.clone(), Rules::new(&Limits::default(), framing));
        let (mut framer, mut out) = (Framer::new(framing), Counting::default());
        let start = framer.room_before(READ_BYTES);
        let mut buffer = vec![0; start + READ_BYTES];
        Box::new(move || {
            let (first, rest) = input.split_at(FIRST_CHUNK);
            for chunk in std::iter::once(first).chain(rest.chunks(READ_BYTES)) {
                let read = &mut buffer[..start + chunk.len()];
                copy(chunk, &mut read[start..]);
                let fed = framer.feed(black_box(read), start, &rules, &mut out);
                framer.keep(fed.tail, &rules);
            }
            black_box(out.lines);
        }) as Pass
    };
    Case { name: format!("framer/{name}"), unit: "message", units: count as u64, bytes, prepare: Box::new(prepare) }
}

/// Copies in pieces of less than those for which glibc takes `rep movsb`, as callgrind counts each byte of that.
pub(crate) fn copy(from: &[u8], to: &mut [u8]) {
    from.chunks(1024).zip(to.chunks_mut(1024)).for_each(|(from, to)| to.copy_from_slice(from));
}

/// Every 64 KiB of good lines hold one that needs a second look.
fn spoilt(len: usize, by: &[u8]) -> Vec<u8> {
    let mut input = lines_of(len, b"\n");
    for at in (READ_BYTES / 2..input.len()).step_by(READ_BYTES) {
        let end = at + input[at..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
        input[end - by.len()..end].copy_from_slice(by);
    }
    input
}

pub(crate) fn cases() -> Vec<Case> {
    let limits = Limits::default();
    let mut cases = Vec::new();
    for len in [16, 64, 128, 1024, 16 * 1024, 64 * 1024] {
        cases.push(case(format!("line-{len}"), lines_of(len, b"\n"), READ_BYTES, &limits));
    }
    for len in [3, 16, 128] {
        cases.push(case(format!("crlf-{len}"), lines_of(len, b"\r\n"), READ_BYTES, &limits));
    }
    for chunk in [1, 64, 1460] {
        cases.push(case(format!("chunk-{chunk}"), lines_of(128, b"\n"), chunk, &limits));
    }
    cases.push(case("line-16-chunk-1".to_owned(), lines_of(16, b"\n"), 1, &limits));
    let long = Limits { max_line: 15, max_buffer: 30, ..Limits::default() };
    let mut lone_cr = vec![b'\r'; 127];
    lone_cr.extend_from_slice(b"x\n");
    let mut some_cr = lines_of(128, b"\n");
    some_cr.chunks_mut(128).for_each(|line| line[64] = b'\r');
    for (name, input, limits) in [
        ("bad/empty", vec![b'\n'; INPUT_BYTES], &limits),
        ("bad/empty-crlf", b"\r\n".repeat(INPUT_BYTES / 2), &limits),
        ("bad/other-empty", b"x\n\n".repeat(INPUT_BYTES / 3), &limits),
        ("bad/long-17-of-15", lines_of(17, b"\n"), &long),
        ("bad/long-100K", lines_of(limits.max_line + 2, b"\n"), &limits),
        ("bad/cr-inside", some_cr, &limits),
        ("bad/cr-only", lone_cr.repeat(INPUT_BYTES / lone_cr.len()), &limits),
        ("bad/one-empty-16", spoilt(16, b"\n\n"), &limits),
        ("bad/one-crlf-16", spoilt(16, b"\r\n"), &limits),
        ("bad/one-crlf-128", spoilt(128, b"\r\n"), &limits),
    ] {
        cases.push(case(name.to_owned(), input, READ_BYTES, limits));
    }
    let (text, mut newlines) = ([b'x'; 127], [b'x'; 127]);
    newlines[30] = b'\n';
    for (name, framing, message) in [
        ("octet-131", Framing::Octet, [b"127 ".as_slice(), &text].concat()),
        ("octet-lf-132", Framing::Octet, [b"128 ".as_slice(), &text, b"\n"].concat()),
        ("octet-newline-131", Framing::Octet, [b"127 ".as_slice(), &newlines].concat()),
        ("octet-3", Framing::Octet, b"1 x".to_vec()),
        ("nul-128", Framing::Nul, [text.as_slice(), b"\0"].concat()),
    ] {
        cases.push(framed(name, framing, &message));
    }
    cases
}
