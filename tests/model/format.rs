//! The formats beside a naive twin: `format!`, a calendar that counts years, and an escaper that looks at one character
//! at a time. Lines of three peers come through framers, in chunks that are cut anywhere, with gaps and steps of time
//! between them; what one formatter keeps from line to line has to be right for each. What goes out is whole lines, and
//! never more than the overhead says (P5).

use std::fmt;

use lumberjack::internals::format::{Formatter, parse_tag};
use lumberjack::internals::framer::{Framer, LineSink, Rules};
use lumberjack::{Format, Gap, Limits, Lines, Origin, Peer, Why};

use super::{Script, Shown, Story, assert_same_bytes};

/// What chunks are made of, so that plain runs, characters of every length and everything special are near each other.
const PIECES: [&[u8]; 24] = [
    b"\n",
    b"\n",
    b"\n",
    b"\r\n",
    b"a",
    b"plain words of less than a vector",
    b"plain words that take more than the sixty-four bytes of one block, and some",
    b"31 bytes, one less than a step.",
    b"{\"level\":\"info\",\"msg\":\"a \\\"b\\\"\"}",
    b"\"",
    b"\\",
    b"\t",
    b"\x1b[0m",
    b"\0",
    b"\x1f",
    b"\x7f",
    "\u{e9}".as_bytes(),
    "\u{65e5}\u{5fd7}".as_bytes(),
    "\u{1f600}".as_bytes(),
    "\u{fffd}\u{2028}".as_bytes(),
    b"\xff",
    b"\xc3",
    b"\xa9",
    b"\xf0\x9f\x98",
];

/// How one formatter is set up, and who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) format: Format,
    pub(crate) tag: String,
    pub(crate) marks_gaps: bool,
    pub(crate) peers: [Peer; 3],
    pub(crate) max_line: usize,
    pub(crate) keep_empty: bool,
}

/// One thing that happens. Peers are places in [`Setup::peers`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Op {
    /// A chunk of a peer comes.
    Feed(usize, Vec<u8>),
    /// What is pending of a peer goes out as a line.
    Flush(usize),
    /// A turn begins at this time, in milliseconds since 1970.
    Time(u64),
    /// Lines of a peer are missing, or of many.
    Gap(Option<usize>, Gap),
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feed(peer, chunk) => write!(f, "Feed({peer}, {:?})", Shown(chunk)),
            Self::Flush(peer) => write!(f, "Flush({peer})"),
            Self::Time(wall_ms) => write!(f, "Time({wall_ms})"),
            Self::Gap(peer, gap) => write!(f, "Gap({peer:?}, {gap:?})"),
        }
    }
}

/// One line of the output, and what it stands for.
pub(crate) struct Written<'a> {
    /// Who; `None` for a gap in the lines of many.
    pub(crate) peer: Option<Peer>,
    /// A line as it came, or a gap.
    pub(crate) what: What<'a>,
    /// With its `\n`.
    pub(crate) out: &'a [u8],
}

/// What a line of the output stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What<'a> {
    Line(&'a [u8]),
    Gap(Gap),
}

/// Decodes a setup and operations, and compares; `also` looks at each line of the output.
pub(crate) fn run(input: &[u8], also: &mut dyn FnMut(&Setup, &Written<'_>)) {
    let mut script = Script::new(input);
    let setup = setup(&mut script);
    let mut ops = Vec::new();
    while !script.is_over() {
        op(&mut script, &mut ops);
    }
    compare(&setup, &ops, also);
}

fn setup(script: &mut Script<'_>) -> Setup {
    let choice = script.byte();
    let format = [Format::Json, Format::Json, Format::Peer, Format::Raw][usize::from(choice & 3)];
    // Mostly none, or one that is short; sometimes one that is too long.
    let tag_len = [0, 0, 4, 9, 64, 66][script.below(6)];
    let tag = String::from_utf8_lossy(script.take(tag_len)).into_owned();
    let is_word = tag.chars().all(|c| !c.is_whitespace() && !c.is_control());
    let parsed = parse_tag(&tag);
    assert_eq!(parsed.is_ok(), is_word && (1..=64).contains(&tag.len()), "{tag:?} as a tag");
    let peers = [peer(script), peer(script), peer(script)];
    let max_line = [1, 7, 40, 300, 100_000][script.below(5)];
    let (marks_gaps, keep_empty) = (choice & 4 != 0, choice & 8 != 0);
    Setup { format, tag: parsed.unwrap_or_default(), marks_gaps, peers, max_line, keep_empty }
}

fn peer(script: &mut Script<'_>) -> Peer {
    let kind = script.byte();
    let mut numbers = || u16::from_be_bytes([script.byte(), script.byte()]);
    let (port, number) = (numbers(), u32::from(numbers()) << (kind >> 4));
    let [a, b, ..] = number.to_be_bytes();
    match kind & 3 {
        0 | 1 => Peer::V4 { ip: number.to_be_bytes(), port },
        2 => Peer::V6 { ip: [0xfe, 0x80 | a, b, 0, 0, 0, 0, a, b, 0, 7, 0, 0, b, 0xff, a], port, scope: number & !3 },
        _ => Peer::Unix { serial: number },
    }
}

fn op(script: &mut Script<'_>, ops: &mut Vec<Op>) {
    let choice = script.byte();
    let peer = usize::from(choice >> 4) % 3;
    match choice % 16 {
        // Many pieces, cut once, perhaps in the middle of a character.
        0..=8 => {
            let pieces = script.take(4 * usize::from(choice % 16));
            let bytes: Vec<u8> = pieces.iter().flat_map(|byte| PIECES[usize::from(byte % 24)]).copied().collect();
            let (start, end) = bytes.split_at(script.below(256) % (bytes.len() + 1));
            ops.extend([Op::Feed(peer, start.to_vec()), Op::Feed(peer, end.to_vec())]);
        }
        9 | 10 => {
            let len = script.below(100);
            ops.push(Op::Feed(peer, script.take(len).to_vec()));
        }
        11 => ops.push(Op::Flush(peer)),
        12 | 13 => ops.push(Op::Time(script.wide(48))),
        _ => {
            let why = [Why::TooLong, Why::Memory, Why::Stalled, Why::DiskFull][script.below(4)];
            let gap = Gap { lines: script.wide(63), bytes: script.wide(63), why };
            ops.push(Op::Gap((choice % 16 == 14).then_some(peer), gap));
        }
    }
}

/// Does `ops` with the framers and the formatter, and compares each line with the twin's. Gives back what went out.
pub(crate) fn compare(setup: &Setup, ops: &[Op], also: &mut dyn FnMut(&Setup, &Written<'_>)) -> Vec<u8> {
    let _story = Story(&(setup, ops));
    let max_buffer = 2 * setup.max_line;
    let limits = Limits { max_line: setup.max_line, max_buffer, keep_empty: setup.keep_empty, ..Limits::default() };
    let rules = Rules::new(&limits, lumberjack::Framing::Lines);
    let mut framers: [Framer; 3] = Default::default();
    let formatter = Formatter::new(setup.format, &setup.tag, setup.marks_gaps);
    let mut side = Side { setup, formatter, peer: setup.peers[0], wall_ms: 0, out: Vec::new(), also };
    for op in ops {
        match op {
            Op::Feed(peer, chunk) => {
                side.peer = setup.peers[*peer];
                let mut chunk = chunk.clone();
                let fed = framers[*peer].feed(&mut chunk, 0, &rules, &mut side);
                framers[*peer].keep(fed.tail, &rules);
            }
            Op::Flush(peer) => {
                side.peer = setup.peers[*peer];
                framers[*peer].flush_pending(&rules, &mut side);
            }
            Op::Time(wall_ms) => side.wall_ms = *wall_ms,
            Op::Gap(peer, gap) => side.mark(peer.map(|peer| setup.peers[peer]), *gap),
        }
    }
    for (peer, framer) in setup.peers.iter().zip(&mut framers) {
        side.peer = *peer;
        framer.finish(&rules, &mut side);
    }
    side.out
}

/// The formatter and the twin, side by side.
struct Side<'a> {
    setup: &'a Setup,
    formatter: Formatter,
    peer: Peer,
    wall_ms: u64,
    out: Vec<u8>,
    also: &'a mut dyn FnMut(&Setup, &Written<'_>),
}

impl LineSink for Side<'_> {
    fn lines(&mut self, lines: Lines<'_>) {
        let start = self.out.len();
        self.formatter.write(
            &Origin { peer: &self.peer, wall_ms: self.wall_ms, parse: lumberjack::Parse::Off },
            lines,
            &mut self.out,
        );
        let mut bytes = [lines.head, lines.body].concat();
        if !lines.ended {
            bytes.push(b'\n');
        }
        let came: Vec<&[u8]> =
            bytes.split_inclusive(|byte| *byte == b'\n').map(|line| &line[..line.len() - 1]).collect();
        assert_eq!(came.len() as u64, lines.count, "the count of a block");
        let expected: Vec<Vec<u8>> = came.iter().map(|line| self.expected_line(line)).collect();
        assert_same_bytes("lines", &self.out[start..], &expected.concat());
        for (came, out) in came.iter().zip(&expected) {
            assert!(out.len() <= self.formatter.overhead().at_most(came.len(), 1), "{} from {}", out.len(), came.len());
            (self.also)(self.setup, &Written { peer: Some(self.peer), what: What::Line(came), out });
        }
    }

    fn gap(&mut self, gap: Gap) {
        self.mark(Some(self.peer), gap);
    }
}

impl Side<'_> {
    fn mark(&mut self, peer: Option<Peer>, gap: Gap) {
        let start = self.out.len();
        match &peer {
            Some(peer) => self.formatter.gap(
                &Origin { peer, wall_ms: self.wall_ms, parse: lumberjack::Parse::Off },
                gap,
                &mut self.out,
            ),
            None => self.formatter.gap_of_all(self.wall_ms, gap, &mut self.out),
        }
        let out = &self.out[start..];
        if !self.setup.marks_gaps {
            return assert_same_bytes("marks that nobody wants", out, b"");
        }
        assert_same_bytes("a mark", out, self.expected_mark(peer, gap).as_bytes());
        assert!(out.len() <= self.formatter.overhead().at_most(0, 1), "a mark of {} bytes", out.len());
        (self.also)(self.setup, &Written { peer, what: What::Gap(gap), out });
    }

    /// What the twin makes of a line.
    fn expected_line(&self, line: &[u8]) -> Vec<u8> {
        let Setup { format, tag, .. } = self.setup;
        let (time, peer) = (time(self.wall_ms), self.peer);
        let mut out = match format {
            Format::Raw => Vec::new(),
            Format::Peer if tag.is_empty() => format!("{time} {peer} ").into_bytes(),
            Format::Peer => format!("{time} {peer} {tag} ").into_bytes(),
            _ => {
                let (tag, text) = (member("tag", tag), escaped(&String::from_utf8_lossy(line)));
                return format!("{{\"ts\":\"{time}\",\"peer\":\"{peer}\"{tag},\"line\":\"{text}\"}}\n").into_bytes();
            }
        };
        out.extend_from_slice(line);
        out.push(b'\n');
        out
    }

    /// What the twin makes of a gap.
    fn expected_mark(&self, peer: Option<Peer>, gap: Gap) -> String {
        let Setup { format, tag, .. } = self.setup;
        let (time, peer) = (time(self.wall_ms), peer.map_or("*".to_owned(), |peer| peer.to_string()));
        let Gap { lines, bytes, why } = gap;
        if *format == Format::Json {
            let (tag, gap) = (member("tag", tag), format!("{{\"lines\":{lines},\"bytes\":{bytes},\"why\":\"{why}\"}}"));
            return format!("{{\"ts\":\"{time}\",\"peer\":\"{peer}\"{tag},\"gap\":{gap}}}\n");
        }
        let tag = if tag.is_empty() || *format == Format::Raw { String::new() } else { format!(" tag={tag}") };
        format!("[lumberjack gap] {time} peer={peer} lines={lines} bytes={bytes}{tag} why={why}\n")
    }
}

fn member(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!(",\"{name}\":\"{}\"", escaped(value)) }
}

/// One character at a time.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            '\t' => "\\t".to_owned(),
            '\0'..' ' => format!("\\u{:04x}", u32::from(c)),
            _ => c.to_string(),
        })
        .collect()
}

/// Counts years, then months, from 1970 on; the last millisecond of 9999 is the last that has a name.
fn time(unix_ms: u64) -> String {
    let unix_ms = unix_ms.min(253_402_300_799_999);
    let (mut day, mut year, mut month) = (unix_ms / 86_400_000, 1970, 0);
    let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        month += 1;
        if day < days {
            break;
        }
        day -= days;
    }
    let (seconds, ms) = (unix_ms / 1000 % 86_400, unix_ms % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z", day + 1)
}
