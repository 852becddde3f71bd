//! The framer beside a twin that looks at one byte at a time and keeps whole lines (P1-P4), with the budget's drops and
//! the line time-out's flushes at any moment. Where there are none of these, beside `split` on the whole input too.
//! Invariant: what was dropped and the gaps are the same lines and bytes, and each gap stands where its line would.

use std::fmt;

use lumberjack::internals::framer::{Fed, Framer, LineSink, Rules};
use lumberjack::{EmbeddedNewline, Framing, Gap, Limits, Lines, LongLines, Why};

use super::{Script, Shown, Story, assert_same_bytes};

/// What a framer holds grows in steps of this many bytes (P4, P5).
const ALLOCATION_STEP: usize = 64;
/// What fed bytes are drawn from, so that random input is full of endings.
const ALPHABET: &[u8; 16] = b"abcdef \0\xff\r\r\r\n\n\n\n";
/// The same where messages end in a NUL or a CR.
const MARKS: &[u8; 16] = b"abcdef \xff\0\0\0\r\r\r\n\n";
/// The same of what begins a message with a length, or lines.
const STARTS: &[u8; 16] = b"0112399  <<\n\r\0ab";

/// One thing that happens to a connection's bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// A chunk comes, and its tail is kept.
    Feed(Vec<u8>),
    /// A chunk comes, and the budget has no room for its tail.
    FeedWithoutRoom(Vec<u8>),
    /// The line time-out.
    Flush,
    /// The budget takes what is pending, if anything is.
    Drop,
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feed(chunk) => write!(f, "Feed({:?})", Shown(chunk)),
            Self::FeedWithoutRoom(chunk) => write!(f, "FeedWithoutRoom({:?})", Shown(chunk)),
            Self::Flush => f.write_str("Flush"),
            Self::Drop => f.write_str("Drop"),
        }
    }
}

/// Decodes limits and operations of lines, or of messages that end in a mark, and compares.
pub(crate) fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let (framing, alphabet) =
        [(Framing::Lines, ALPHABET), (Framing::Nul, MARKS), (Framing::Cr, MARKS)][script.below(3)];
    let limits = limits(&mut script);
    let mut ops = Vec::new();
    while !script.is_over() {
        ops.push(op(&mut script, &limits, alphabet));
    }
    compare_in(framing, &limits, &ops);
}

/// The same for messages with lengths. Most of them are well-formed, and cut anywhere.
pub(crate) fn run_octet(input: &[u8]) {
    let mut script = Script::new(input);
    let framing = [Framing::Octet, Framing::AutoOctet][script.below(2)];
    let limits = limits(&mut script);
    let (mut ops, mut sent) = (Vec::new(), Vec::new());
    while !script.is_over() {
        let choice = script.byte();
        match choice % 8 {
            0 => ops.push(op(&mut script, &limits, STARTS)),
            1 => sent.extend(from(STARTS, script.take(usize::from(choice >> 5)))),
            2..=4 => {
                let around = [0, 0, limits.max_line, limits.max_buffer][usize::from(choice >> 6)];
                let mut message = vec![b'x'; around.saturating_sub(script.below(4))];
                if sent.is_empty() && ops.is_empty() && framing == Framing::AutoOctet {
                    message.insert(0, b'<');
                }
                let count = script.below(6);
                message.extend(from(ALPHABET, script.take(count)));
                sent.extend_from_slice(&with_length(&message));
                sent.extend_from_slice([&b""[..], b"\n"][script.below(2)]);
            }
            _ => {
                let rest = sent.split_off(script.below(1 + sent.len().min(200)));
                ops.push(Op::Feed(std::mem::replace(&mut sent, rest)));
            }
        }
    }
    ops.push(Op::Feed(sent));
    compare_in(framing, &limits, &ops);
}

/// A message with its length before it.
pub(crate) fn with_length(message: &[u8]) -> Vec<u8> {
    [format!("{} ", message.len()).as_bytes(), message].concat()
}

fn limits(script: &mut Script<'_>) -> Limits {
    let choice = script.byte();
    let long_lines = [LongLines::Skip, LongLines::Cut, LongLines::Split][usize::from(choice % 3)];
    // Mostly small caps: what is interesting lies at them. Larger ones reach the growing of the buffer.
    let max_line = match choice >> 5 {
        0..=5 => 1 + script.below(8),
        6 => 1 + script.below(100),
        _ => 1 + 3 * script.below(256),
    };
    let max_buffer = 2 * max_line + script.below(3) * max_line;
    let embedded_newline = EMBEDDED[script.below(3)];
    Limits { max_line, max_buffer, long_lines, keep_empty: choice & 16 != 0, embedded_newline, ..Limits::default() }
}

pub(crate) const EMBEDDED: [EmbeddedNewline; 3] =
    [EmbeddedNewline::Escape, EmbeddedNewline::Space, EmbeddedNewline::Keep];

fn op(script: &mut Script<'_>, limits: &Limits, alphabet: &[u8; 16]) -> Op {
    let choice = script.byte();
    match choice % 16 {
        0..=8 => Op::Feed(from(alphabet, script.take(usize::from(choice >> 4)))),
        9 => Op::Feed(script.take(usize::from(choice >> 4)).to_vec()),
        10 | 11 => {
            // A long run, around the caps, perhaps with an ending.
            let around = [limits.max_line, 2 * limits.max_line, limits.max_buffer][script.below(3)];
            let mut run = vec![b'x'; (around + script.below(5)).saturating_sub(2)];
            run.extend_from_slice([&b""[..], b"\n", b"\r\n", b"\r", b"\0", b"\n\n\0"][script.below(6)]);
            Op::Feed(run)
        }
        12 => Op::FeedWithoutRoom(from(alphabet, script.take(usize::from(choice >> 4)))),
        13 | 14 => Op::Flush,
        _ => Op::Drop,
    }
}

fn from(alphabet: &[u8; 16], bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| alphabet[usize::from(byte % 16)]).collect()
}

/// [`compare_in`] for lines.
#[allow(dead_code)] // not every fuzzer has lines
pub(crate) fn compare(limits: &Limits, ops: &[Op]) -> Vec<u8> {
    compare_in(Framing::Lines, limits, ops)
}

/// [`compare_once`]; besides, the same bytes in one-byte chunks and in the longest possible ones have to come to the
/// same.
pub(crate) fn compare_in(framing: Framing, limits: &Limits, ops: &[Op]) -> Vec<u8> {
    let real = alongside(framing, limits, ops);
    for (how, ops) in [("one-byte chunks", in_bytes(ops)), ("the longest chunks", joined(ops))] {
        let told = (framing, shown(limits), &ops);
        let _story = Story(&told);
        let mut other = Real::new(framing, limits);
        ops.iter().for_each(|op| other.apply(op));
        other.finish();
        assert_same_bytes(how, &other.given.bytes, &real.given.bytes);
        assert_eq!(other.counts, real.counts, "counts with {how}");
        assert_eq!(other.given.gaps, real.given.gaps, "gaps with {how}");
    }
    real.given.bytes
}

/// Does `ops` with the real framer and the twin, and compares after each. Gives back what went out.
pub(crate) fn compare_once(limits: &Limits, ops: &[Op]) -> Vec<u8> {
    alongside(Framing::Lines, limits, ops).given.bytes
}

/// The same in any framing.
pub(crate) fn alongside_in(framing: Framing, limits: &Limits, ops: &[Op]) {
    alongside(framing, limits, ops);
}

/// What the story of a panic shows of limits.
fn shown(limits: &Limits) -> impl fmt::Debug {
    (limits.max_line, limits.max_buffer, limits.long_lines, limits.keep_empty, limits.embedded_newline)
}

fn alongside(framing: Framing, limits: &Limits, ops: &[Op]) -> Real {
    let told = (framing, shown(limits), ops);
    let _story = Story(&told);
    let (mut real, mut twin) = (Real::new(framing, limits), Twin::new(framing, limits));
    for op in ops {
        real.apply(op);
        twin.apply(op);
        assert_same(&real, &twin);
    }
    real.finish();
    twin.finish();
    assert_same(&real, &twin);
    check_sums(&real);
    if let [Op::Feed(input)] = joined(ops).as_slice() {
        let whole = split_up(framing, input, limits);
        assert_same_bytes("the whole input, split,", &real.given.bytes, &whole.bytes);
        assert_eq!(real.counts, whole.counts, "counts of the whole input, split");
        assert_eq!(real.given.gaps, whole.gaps, "gaps of the whole input, split");
    }
    real
}

/// Once every line has ended, all that was dropped is in a gap.
fn check_sums(real: &Real) {
    let sums = Sums::of(real.given.gaps.iter().map(|(_, gap)| gap));
    let too_long = real.counts.skipped + real.counts.cut;
    let bad_length = real.counts.broken;
    let expected = Sums { too_long, memory: real.drops, bad_length, bytes: real.counts.dropped_bytes };
    assert_eq!(sums, expected, "what the gaps add up to, and what was counted");
}

fn assert_same(real: &Real, twin: &Twin<'_>) {
    real.framer.check(&real.rules);
    assert_same_bytes("lines", &real.given.bytes, &twin.bytes);
    assert_eq!(real.counts, twin.counts, "counts");
    assert_eq!(real.given.gaps, twin.gaps, "gaps");
    let pending = if twin.passed_bytes.is_some() { 0 } else { twin.line.len() };
    let (undecided, is_broken) = match &twin.front {
        Front::Undecided(start) => (start.len(), false),
        front => (0, matches!(front, Front::Broken)),
    };
    let is_skipping = twin.passed_bytes.is_some() || (is_broken && twin.missing.is_some());
    assert_eq!((real.framer.pending(), real.framer.is_skipping()), (pending + undecided, is_skipping));
    assert_eq!((real.framer.is_undecided(), real.framer.is_broken()), (twin.is_undecided(), is_broken));
    let (held, most) = (real.framer.held(), (twin.limits.max_line + 1).next_multiple_of(ALLOCATION_STEP));
    assert!((pending..=most).contains(&held), "{held} bytes held for {pending}, and {most} is the most (P4)");
    assert!(pending > 0 || held == 0, "{held} bytes held for nothing (P5)");
}

/// The same operations, each chunk in chunks of one byte.
fn in_bytes(ops: &[Op]) -> Vec<Op> {
    let mut bytewise = Vec::new();
    for op in ops {
        match op {
            Op::Feed(chunk) | Op::FeedWithoutRoom(chunk) => {
                bytewise.extend(chunk.iter().map(|byte| Op::Feed(vec![*byte])));
                // An empty chunk has no tail, for which there would be no room.
                bytewise.extend((!chunk.is_empty() && matches!(op, Op::FeedWithoutRoom(_))).then_some(Op::Drop));
            }
            other => bytewise.push(other.clone()),
        }
    }
    bytewise
}

/// The same operations, chunks with nothing between them made one.
fn joined(ops: &[Op]) -> Vec<Op> {
    let mut joined: Vec<Op> = Vec::new();
    for op in ops {
        match (joined.last_mut(), op) {
            (Some(Op::Feed(before)), Op::Feed(chunk)) => before.extend_from_slice(chunk),
            _ => joined.push(op.clone()),
        }
    }
    joined
}

/// What the twin makes of `ops` and the end after them.
pub(crate) fn expected(framing: Framing, limits: &Limits, ops: &[Op]) -> Expected {
    if let [Op::Feed(input)] = ops {
        return split_up(framing, input, limits);
    }
    let mut twin = Twin::new(framing, limits);
    ops.iter().for_each(|op| twin.apply(op));
    twin.finish();
    Expected { bytes: twin.bytes, counts: twin.counts, gaps: twin.gaps }
}

/// What has to come out of a connection.
pub(crate) struct Expected {
    pub(crate) bytes: Vec<u8>,
    pub(crate) counts: Counts,
    pub(crate) gaps: Vec<Mark>,
}

/// A gap, and how many bytes of lines came out before it.
pub(crate) type Mark = (usize, Gap);

/// What gaps add up to: lines by the reason, and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) too_long: u64,
    pub(crate) memory: u64,
    pub(crate) bad_length: u64,
    pub(crate) bytes: u64,
}

impl Sums {
    pub(crate) fn of<'g>(gaps: impl IntoIterator<Item = &'g Gap>) -> Self {
        let mut sums = Self::default();
        for gap in gaps {
            // Empty, or of more than one line: such a gap has nothing that it could stand for.
            assert!(gap.lines == 1 && gap.bytes > 0, "{gap:?}");
            sums.bytes += gap.bytes;
            match gap.why {
                Why::TooLong => sums.too_long += 1,
                Why::Memory => sums.memory += 1,
                Why::BadLength => sums.bad_length += 1,
                why => panic!("no framer drops a line as {why}"),
            }
        }
        sums
    }
}

/// Every number of [`Fed`], added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) lines: u64,
    pub(crate) skipped: u64,
    pub(crate) cut: u64,
    pub(crate) dropped_bytes: u64,
    pub(crate) unterminated: u64,
    pub(crate) overflows: u64,
    pub(crate) too_long: u64,
    pub(crate) broken: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.skipped += other.skipped;
        self.cut += other.cut;
        self.dropped_bytes += other.dropped_bytes;
        self.unterminated += other.unterminated;
        self.overflows += other.overflows;
        self.too_long += other.too_long;
        self.broken += other.broken;
    }
}

impl From<&Fed<'_>> for Counts {
    fn from(fed: &Fed<'_>) -> Self {
        Self {
            lines: fed.lines,
            skipped: fed.skipped,
            cut: fed.cut,
            dropped_bytes: fed.dropped_bytes,
            unterminated: fed.unterminated,
            overflows: u64::from(fed.overflows),
            too_long: u64::from(fed.too_long),
            broken: u64::from(fed.is_broken),
        }
    }
}

/// What a framer gave away. Checks that each block is what its docs say.
#[derive(Default)]
struct Given {
    bytes: Vec<u8>,
    gaps: Vec<Mark>,
    /// A line may hold newlines, if it is alone.
    may_hold_newlines: bool,
}

impl LineSink for Given {
    fn lines(&mut self, lines: Lines<'_>) {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(lines.head);
        self.bytes.extend_from_slice(lines.body);
        if !lines.ended {
            self.bytes.push(b'\n');
            if self.may_hold_newlines {
                return assert_eq!(lines.count, 1);
            }
        }
        assert!(!lines.head.contains(&b'\n'), "a head holds no newline: {:?}", Shown(lines.head));
        let given = &self.bytes[before..];
        let newlines = given.iter().filter(|byte| **byte == b'\n').count() as u64;
        assert!(given.ends_with(b"\n") && newlines == lines.count, "{} lines: {:?}", lines.count, Shown(given));
        let mut one_by_one = Vec::new();
        lines.each(|head, body| one_by_one.extend([head, body, b"\n"].concat()));
        assert_same_bytes("lines one by one", &one_by_one, given);
    }

    fn gap(&mut self, gap: Gap) {
        self.gaps.push((self.bytes.len(), gap));
    }
}

/// The real framer, used as a server uses it.
struct Real {
    framer: Framer,
    rules: Rules,
    given: Given,
    counts: Counts,
    /// Lines that the budget took.
    drops: u64,
}

impl Real {
    fn new(framing: Framing, limits: &Limits) -> Self {
        let may_hold_newlines = framing != Framing::Lines && limits.embedded_newline == EmbeddedNewline::Keep;
        let given = Given { may_hold_newlines, ..Given::default() };
        let (framer, rules) = (Framer::new(framing), Rules::new(limits, framing));
        Self { framer, rules, given, counts: Counts::default(), drops: 0 }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Feed(chunk) => self.feed(chunk, true),
            Op::FeedWithoutRoom(chunk) => self.feed(chunk, false),
            Op::Flush => {
                let fed = self.framer.flush_pending(&self.rules, &mut self.given);
                self.counts.add(&Counts::from(&fed));
            }
            // Only who holds something can be the one that pays.
            Op::Drop => self.pay(),
        }
    }

    fn pay(&mut self) {
        if self.framer.held() > 0 {
            self.counts.dropped_bytes += self.framer.drop_pending();
            self.drops += 1;
        }
    }

    fn feed(&mut self, chunk: &[u8], has_room: bool) {
        // As much room before the bytes as a server has.
        let start = self.framer.room_before(chunk.len());
        let mut buffer = vec![b'#'; start];
        buffer.extend_from_slice(chunk);
        let fed = self.framer.feed(&mut buffer, start, &self.rules, &mut self.given);
        self.counts.add(&Counts::from(&fed));
        if has_room {
            let promised = self.framer.capacity_with(fed.tail.len(), &self.rules);
            self.framer.keep(fed.tail, &self.rules);
            assert_eq!(self.framer.held(), promised, "bytes held, and what the budget was asked for");
        } else if !fed.tail.is_empty() {
            self.counts.dropped_bytes += self.framer.skip_with(fed.tail);
            self.drops += 1;
        } else if !chunk.is_empty() {
            self.pay();
        }
    }

    fn finish(&mut self) {
        let fed = self.framer.finish(&self.rules, &mut self.given);
        self.counts.add(&Counts::from(&fed));
    }
}

/// How the twin finds the ends of messages.
enum Front {
    Lines,
    Marked(u8),
    /// The start of a connection, which may be a length.
    Undecided(Vec<u8>),
    /// A length so far.
    Length(Vec<u8>),
    /// How many bytes of a message are still to come, and a `\r` that may belong to its end.
    Message(u64, bool),
    Broken,
}

impl Front {
    fn new(framing: Framing) -> Self {
        match framing {
            Framing::Octet => Self::Length(Vec::new()),
            Framing::AutoOctet => Self::Undecided(Vec::new()),
            Framing::Nul => Self::Marked(0),
            Framing::Cr => Self::Marked(b'\r'),
            _ => Self::Lines,
        }
    }
}

/// What the start of a connection may be.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    Open,
    Length(u64),
    Lines,
}

fn start_of(bytes: &[u8]) -> Start {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 9 || bytes.first() == Some(&b'0') {
        return Start::Lines;
    }
    match &bytes[digits..] {
        [] => Start::Open,
        [b' '] if digits > 0 => Start::Open,
        [b' ', b'<', ..] if digits > 0 => {
            Start::Length(std::str::from_utf8(&bytes[..digits]).unwrap().parse().unwrap())
        }
        _ => Start::Lines,
    }
}

/// The twin: one byte at a time, and every line kept whole until its end is known.
struct Twin<'a> {
    limits: &'a Limits,
    front: Front,
    /// What has come of this line and has not gone out or been dropped.
    line: Vec<u8>,
    /// Whether a part of this line went out before.
    is_piece: bool,
    /// The rest of this line is dropped; so many bytes of it have come.
    passed_bytes: Option<u64>,
    /// How many bytes of this line are missing, and why.
    missing: Option<(u64, Why)>,
    bytes: Vec<u8>,
    counts: Counts,
    gaps: Vec<Mark>,
}

impl<'a> Twin<'a> {
    fn new(framing: Framing, limits: &'a Limits) -> Self {
        let (line, bytes, counts, gaps) = (Vec::new(), Vec::new(), Counts::default(), Vec::new());
        Self {
            limits,
            front: Front::new(framing),
            line,
            is_piece: false,
            passed_bytes: None,
            missing: None,
            bytes,
            counts,
            gaps,
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Feed(chunk) => chunk.iter().for_each(|byte| self.byte(*byte)),
            Op::FeedWithoutRoom(chunk) => {
                chunk.iter().for_each(|byte| self.byte(*byte));
                if !chunk.is_empty() {
                    self.drop_line();
                }
            }
            Op::Flush => {
                let start = if let Front::Undecided(start) = &self.front { start.clone() } else { Vec::new() };
                if self.is_undecided() {
                    self.front = Front::Lines;
                }
                self.flush(&start);
            }
            Op::Drop => self.drop_line(),
        }
    }

    fn is_undecided(&self) -> bool {
        matches!(self.front, Front::Undecided(_))
    }

    fn byte(&mut self, byte: u8) {
        let max_buffer = self.limits.max_buffer as u64;
        match &mut self.front {
            Front::Lines if byte == b'\n' => self.newline(),
            Front::Lines => self.content(byte),
            Front::Marked(mark) if byte == *mark => self.newline(),
            Front::Marked(_) => self.message_byte(byte),
            Front::Undecided(start) => {
                start.push(byte);
                match start_of(start) {
                    Start::Open => {}
                    Start::Lines => {
                        let start = std::mem::take(start);
                        self.front = Front::Lines;
                        start.into_iter().for_each(|byte| self.byte(byte));
                    }
                    Start::Length(length) if length > max_buffer => self.break_off(),
                    Start::Length(length) => {
                        self.front = Front::Message(length, false);
                        self.byte(byte);
                    }
                }
            }
            Front::Length(digits) => match byte {
                b'\n' if digits.is_empty() => {}
                b' ' if !digits.is_empty() => {
                    let length = std::str::from_utf8(digits).unwrap().parse().unwrap();
                    self.front = Front::Message(length, false);
                }
                b'0'..=b'9' => {
                    digits.push(byte);
                    let length = std::str::from_utf8(digits).unwrap().parse::<u64>().unwrap();
                    if length > max_buffer || digits[0] == b'0' {
                        self.break_off();
                    }
                }
                _ => self.break_off(),
            },
            Front::Message(left, has_cr) => {
                let (last, had_cr) = (*left == 1, std::mem::take(has_cr));
                *left -= 1;
                if *left == 1 && byte == b'\r' {
                    *has_cr = true;
                    return;
                }
                if had_cr && byte != b'\n' {
                    self.message_byte(b'\r');
                }
                if !last || !matches!(byte, b'\n' | 0) {
                    self.message_byte(byte);
                }
                if last {
                    self.front = Front::Length(Vec::new());
                    self.newline();
                }
            }
            Front::Broken => self.lose(1, Why::BadLength),
        }
    }

    fn break_off(&mut self) {
        self.front = Front::Broken;
        self.counts.broken += 1;
        self.lose(1, Why::BadLength);
    }

    /// A byte of a message, which may be a newline.
    fn message_byte(&mut self, byte: u8) {
        match self.limits.embedded_newline {
            EmbeddedNewline::Escape if byte == b'\n' => b"\\n".iter().for_each(|byte| self.content(*byte)),
            EmbeddedNewline::Space if byte == b'\n' => self.content(b' '),
            _ => self.content(byte),
        }
    }

    fn content(&mut self, byte: u8) {
        match &mut self.passed_bytes {
            Some(passed_bytes) => {
                *passed_bytes += 1;
                self.counts.overflows += u64::from(*passed_bytes == self.limits.max_buffer as u64 + 1);
                self.lose(1, Why::TooLong);
            }
            None => {
                self.line.push(byte);
                // A `\r` may belong to the ending.
                let certain = self.line.len() - usize::from(byte == b'\r' && matches!(self.front, Front::Lines));
                self.shorten_to(certain);
            }
        }
    }

    fn newline(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') && matches!(self.front, Front::Lines) {
            line.pop();
        }
        let is_dropped = self.passed_bytes.take().is_some();
        let was_piece = std::mem::take(&mut self.is_piece);
        if !is_dropped && (!line.is_empty() || (self.limits.keep_empty && !was_piece)) {
            self.give(&line);
        }
        self.mark();
    }

    /// So many more bytes of this line are missing; why, the first of them say.
    fn lose(&mut self, bytes: u64, why: Why) {
        self.counts.dropped_bytes += bytes;
        self.missing.get_or_insert((0, why)).0 += bytes;
    }

    /// The line is over: what is missing of it is a gap.
    fn mark(&mut self) {
        if let Some((bytes, why)) = self.missing.take() {
            self.gaps.push((self.bytes.len(), Gap { lines: 1, bytes, why }));
        }
    }

    fn finish(&mut self) {
        let withheld = match &self.front {
            Front::Undecided(start) => start.clone(),
            Front::Message(1, true) => b"\r".to_vec(),
            _ => Vec::new(),
        };
        self.flush(&withheld);
        self.passed_bytes = None;
        self.mark();
    }

    /// Applies the policy while more than the cap allows is certain to be no ending.
    fn shorten_to(&mut self, mut certain: usize) {
        let max_line = self.limits.max_line;
        while certain > max_line && self.passed_bytes.is_none() {
            let total = self.line.len() as u64;
            match self.limits.long_lines {
                LongLines::Split => {
                    let rest = self.line.split_off(max_line);
                    let piece = std::mem::replace(&mut self.line, rest);
                    self.give(&piece);
                    self.is_piece = true;
                    certain -= max_line;
                    continue;
                }
                LongLines::Cut => {
                    let start = self.line[..max_line].to_vec();
                    self.give(&start);
                    self.counts.cut += 1;
                    self.lose(total - max_line as u64, Why::TooLong);
                }
                _ => {
                    self.counts.skipped += 1;
                    self.lose(total, Why::TooLong);
                }
            }
            self.line.clear();
            self.passed_bytes = Some(total);
            self.counts.too_long += 1;
            self.counts.overflows += u64::from(total > self.limits.max_buffer as u64);
        }
    }

    /// What is pending, and `rest`, is a line; a `\r` at its end belongs to it.
    fn flush(&mut self, rest: &[u8]) {
        let lines_before = self.counts.lines;
        rest.iter().for_each(|byte| self.content(*byte));
        self.shorten_to(self.line.len());
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.give(&line);
            self.is_piece = true;
        }
        self.counts.unterminated += u64::from(self.counts.lines > lines_before);
    }

    fn drop_line(&mut self) {
        if !self.line.is_empty() {
            self.passed_bytes = Some(self.line.len() as u64);
            self.lose(self.line.len() as u64, Why::Memory);
            self.line.clear();
        }
    }

    fn give(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
        self.counts.lines += 1;
    }
}

/// A message of a whole input.
struct Message {
    /// Its bytes, newlines translated, and with a `\r` that belongs to the end of a line.
    part: Vec<u8>,
    /// How many bytes of that are its end.
    ending: usize,
    is_ended: bool,
    /// So many bytes at its end were not known to be of it before the end of the input.
    uncertain: usize,
}

/// The messages of a whole input; and of what begins where a length has to be and is not, the length.
fn messages(framing: Framing, input: &[u8], limits: &Limits) -> (Vec<Message>, usize) {
    let translated = |message: &[u8]| match limits.embedded_newline {
        EmbeddedNewline::Escape => message.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\\n"[..]),
        EmbeddedNewline::Space => message.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b' '),
        _ => message.to_vec(),
    };
    let ends_in_cr = |bytes: &[u8]| usize::from(bytes.ends_with(b"\r"));
    let mark = match framing {
        Framing::Lines => b'\n',
        Framing::Nul => 0,
        Framing::Cr => b'\r',
        Framing::AutoOctet => match start_of(input) {
            Start::Lines => return messages(Framing::Lines, input, limits),
            Start::Length(length) if length > limits.max_buffer as u64 => {
                return (Vec::new(), input.len() - length.to_string().len() - 1);
            }
            Start::Length(_) => return messages(Framing::Octet, input, limits),
            Start::Open => {
                let (part, uncertain) = (input.to_vec(), input.len());
                return (vec![Message { part, ending: 0, is_ended: false, uncertain }], 0);
            }
        },
        _ => return messages_with_lengths(input, limits, &translated),
    };
    let parts: Vec<&[u8]> = input.split(|byte| *byte == mark).collect();
    let message = |(at, part): (usize, &&[u8])| {
        let is_ended = at + 1 < parts.len();
        if framing != Framing::Lines {
            return Message { part: translated(part), ending: 0, is_ended, uncertain: 0 };
        }
        let ending = if is_ended { ends_in_cr(part) } else { 0 };
        Message { part: part.to_vec(), ending, is_ended, uncertain: ends_in_cr(&part[..part.len() - ending]) }
    };
    (parts.iter().enumerate().map(message).collect(), 0)
}

fn messages_with_lengths(
    mut rest: &[u8],
    limits: &Limits,
    translated: &impl Fn(&[u8]) -> Vec<u8>,
) -> (Vec<Message>, usize) {
    let mut messages = Vec::new();
    loop {
        rest = &rest[rest.iter().take_while(|byte| **byte == b'\n').count()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // Of a length that is too long, the digits up to the one that makes it so.
        let length_of =
            |digits: usize| std::str::from_utf8(&rest[..digits]).unwrap().parse::<u64>().unwrap_or(u64::MAX);
        let is_bad = |digits: &usize| rest[0] == b'0' || length_of(*digits) > limits.max_buffer as u64;
        if let Some(first_bad) = (1..=digits).find(is_bad) {
            return (messages, rest.len() - first_bad + 1);
        }
        if digits == rest.len() {
            return (messages, 0);
        }
        if digits == 0 || rest[digits] != b' ' {
            return (messages, rest.len() - digits);
        }
        let length = usize::try_from(length_of(digits)).unwrap();
        let here = &rest[digits + 1..];
        if here.len() < length {
            let uncertain = usize::from(here.len() + 1 == length && here.ends_with(b"\r"));
            messages.push(Message { part: translated(here), ending: 0, is_ended: false, uncertain });
            return (messages, 0);
        }
        let (message, behind) = here.split_at(length);
        let message =
            [&b"\r\n"[..], b"\n", b"\0"].iter().find_map(|ending| message.strip_suffix(*ending)).unwrap_or(message);
        messages.push(Message { part: translated(message), ending: 0, is_ended: true, uncertain: 0 });
        rest = behind;
    }
}

/// A whole input at once, without a state: take it apart, leave out the empty, deal with the long.
fn split_up(framing: Framing, input: &[u8], limits: &Limits) -> Expected {
    let (mut bytes, mut counts, mut gaps) = (Vec::new(), Counts::default(), Vec::new());
    let (messages, broken_bytes) = messages(framing, input, limits);
    for Message { part, ending, is_ended, uncertain } in messages {
        let content = &part[..part.len() - ending];
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
        counts.lines += pieces.len() as u64;
        // Of a cut line, the start went out long before the end; only a `\r` could make that uncertain until then.
        let is_cut_before = limits.long_lines == LongLines::Cut && content.len() - uncertain > limits.max_line;
        counts.unterminated += u64::from(!is_ended && !pieces.is_empty() && !is_cut_before);
        let is_dropped = is_long && limits.long_lines != LongLines::Split;
        let dropped = part.len() - pieces.iter().map(|piece| piece.len()).sum::<usize>();
        if is_dropped {
            counts.too_long += 1;
            counts.skipped += u64::from(limits.long_lines == LongLines::Skip);
            counts.cut += u64::from(limits.long_lines == LongLines::Cut);
            counts.overflows += u64::from(part.len() > limits.max_buffer);
            counts.dropped_bytes += dropped as u64;
        }
        for piece in pieces {
            bytes.extend_from_slice(piece);
            bytes.push(b'\n');
        }
        if is_dropped {
            gaps.push((bytes.len(), Gap { lines: 1, bytes: dropped as u64, why: Why::TooLong }));
        }
    }
    if broken_bytes > 0 {
        counts.broken += 1;
        counts.dropped_bytes += broken_bytes as u64;
        gaps.push((bytes.len(), Gap { lines: 1, bytes: broken_bytes as u64, why: Why::BadLength }));
    }
    Expected { bytes, counts, gaps }
}
