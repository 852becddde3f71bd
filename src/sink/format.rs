//! How a line looks in the output: as it came, with time and peer before it, or as JSON; and how a gap mark looks.
//! Invariant: what one line or one gap becomes is never more than [`Formatter::overhead`] says, and holds one `\n`, at its end.

use core::net::Ipv6Addr;
use std::fmt;
use std::io::Write;
use std::mem;
use std::str::{self, FromStr};

use memchr::{memchr, memchr_iter};

use super::Origin;
use super::escape::{HIGH, SPECIAL, escape, escape_text, put, scan_block};
use super::fields::{self, Came, Fields};
use crate::config::calendar::{Clock, civil};
use crate::config::limits::{Overhead, WordError};
use crate::config::syslog::{Parse, SyslogOptions};
use crate::engine::framer::Lines;
use crate::engine::gap::Gap;
use crate::engine::peer::Peer;
use crate::engine::syslog::{self, Header};

/// Bytes of a tag at most.
const MAX_TAG: usize = 64;
/// Bytes of a time.
const TIME_BYTES: usize = "2026-11-25T20:51:46.123Z".len();
/// What the longest peer takes, a link-local IPv6 address with the number of its interface, and a port.
const PEER_BYTES: usize = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535".len() + NAME_BYTES;
/// What its name takes besides, with a `/`.
const NAME_BYTES: usize = if cfg!(feature = "tls") { crate::engine::peer::MOST_NAME_BYTES + 1 } else { 0 };
/// What the longest mark takes besides the tag: one in JSON, with two numbers of 20 digits.
const MARK_BYTES: usize = 186 + NAME_BYTES;
/// Bytes copied in a step by [`append_start`]. Most prefixes are one step, the usual line is two.
const BLOCK_BYTES: usize = 64;
/// A buffer for first lines that is no larger than this is kept.
const KEPT_BYTES: usize = 4096;

/// How a line is written (`--format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Format {
    /// The line and `\n`.
    #[default]
    Raw,
    /// RFC 3339 time, peer address, line.
    Peer,
    /// One object a line: `{"ts","peer","line"}`, always valid UTF-8; invalid bytes become U+FFFD.
    Json,
}

impl Format {
    /// Every word that `--format` takes, the default first.
    pub const WORDS: &[&str] = &["raw", "peer", "json"];

    /// The most that it adds to a line, with this tag. If gaps are marked, that is at least the length of a mark: a line
    /// that was dropped has room for one, since it was counted as a line.
    pub(crate) fn overhead(self, tag: &str, marks_gaps: bool, syslog: Option<SyslogOptions>) -> Overhead {
        self.overhead_with(&self.tag_field(tag), marks_gaps, syslog)
    }

    fn overhead_with(self, tag_field: &[u8], marks_gaps: bool, syslog: Option<SyslogOptions>) -> Overhead {
        let Layout { before_time, before_peer, before_line, ending, .. } = self.layout();
        let prefix = before_time.len() + TIME_BYTES + before_peer.len() + PEER_BYTES + before_line.len();
        let (per_byte, per_line) = match self {
            Self::Raw => (1, 1),
            Self::Peer => (1, prefix + ending.len()),
            Self::Json => {
                let (per_byte, more) = syslog.map_or((6, 0), fields::most_bytes);
                (per_byte, prefix + ending.len() + more)
            }
        };
        let per_line = if marks_gaps { per_line.max(MARK_BYTES) } else { per_line };
        Overhead { per_byte, per_line: per_line + tag_field.len(), kept: 0, kept_lines: 0 }
    }

    /// The tag as it stands in each line, with the bytes between the peer and it; empty if there is no tag.
    fn tag_field(self, tag: &str) -> Vec<u8> {
        let mut field = Vec::new();
        if self != Self::Raw && !tag.is_empty() {
            field.extend_from_slice(self.layout().before_tag);
            if self == Self::Json {
                escape_text(tag.as_bytes(), &mut field)
            } else {
                field.extend_from_slice(tag.as_bytes())
            }
        }
        field
    }

    /// Only of the formats that have a prefix.
    fn layout(self) -> &'static Layout {
        if self == Self::Json { &JSON } else { &PEER }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Peer => "peer",
            Self::Json => "json",
        })
    }
}

impl FromStr for Format {
    type Err = WordError;

    fn from_str(text: &str) -> Result<Self, WordError> {
        match text {
            "raw" => Ok(Self::Raw),
            "peer" => Ok(Self::Peer),
            "json" => Ok(Self::Json),
            _ => Err(WordError { words: Self::WORDS }),
        }
    }
}

/// What stands around the fields of a line.
struct Layout {
    before_time: &'static [u8],
    before_peer: &'static [u8],
    before_tag: &'static [u8],
    before_line: &'static [u8],
    ending: &'static [u8],
}

const PEER: Layout = Layout { before_time: b"", before_peer: b" ", before_tag: b" ", before_line: b" ", ending: b"\n" };
const JSON: Layout = Layout {
    before_time: b"{\"ts\":\"",
    before_peer: b"\",\"peer\":\"",
    before_tag: b"\",\"tag\":\"",
    before_line: b"\",\"line\":\"",
    ending: b"\"}\n",
};

/// Reads a tag (`--tag`): a word that can stand between peer and line.
///
/// # Errors
/// What to give instead, the end of a sentence.
pub fn parse_tag(text: &str) -> Result<String, &'static str> {
    if (1..=MAX_TAG).contains(&text.len()) && !text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        Ok(text.to_owned())
    } else {
        Err("give 1 to 64 bytes without spaces, such as gateway-7")
    }
}

/// Writes lines in a format. It keeps its buffers for the next lines.
#[derive(Debug)]
pub struct Formatter {
    format: Format,
    marks_gaps: bool,
    tag_field: Vec<u8>,
    /// The bytes between two lines: the end of one, and the start of the next with `time_ms` and `peer` as text. Behind
    /// them are [`BLOCK_BYTES`] more, so that [`append_start`] can copy whole blocks.
    between: Vec<u8>,
    between_len: usize,
    time_ms: Option<u64>,
    peer: Option<Peer>,
    first_line: Vec<u8>,
    /// How far the prefix goes that each line of a peer has: what the header says comes behind that.
    peer_end: usize,
    /// What is done with the headers of syslog messages, if any may come.
    fields: Option<Fields>,
    /// The peer's host, as text.
    host: Vec<u8>,
}

impl Formatter {
    /// `tag` is empty, or what [`parse_tag`] lets pass; [`Format::Raw`] has no place for it. Without `marks_gaps`, a
    /// gap becomes nothing.
    #[must_use]
    pub fn new(format: Format, tag: &str, marks_gaps: bool) -> Self {
        debug_assert!(tag.is_empty() || parse_tag(tag).is_ok(), "what is no word would break lines");
        let between = [format.layout().ending, format.layout().before_time, &[0; TIME_BYTES]].concat();
        let tag_field = format.tag_field(tag);
        Self {
            format,
            marks_gaps,
            tag_field,
            between,
            between_len: 0,
            time_ms: None,
            peer: None,
            first_line: Vec::new(),
            peer_end: 0,
            fields: None,
            host: Vec::new(),
        }
    }

    /// Lines may be syslog messages, and times without a zone are those of this clock.
    pub fn read_syslog(&mut self, options: SyslogOptions, clock: Clock) {
        self.fields = Some(Fields::new(options, clock));
    }

    /// Other options hold from the next line on, if lines may be syslog messages.
    pub(super) fn set_syslog(&mut self, options: SyslogOptions) {
        self.fields.iter_mut().for_each(|fields| fields.set_options(options));
    }

    /// The clocks of this box may show something else from now on.
    pub(super) fn set_clock(&mut self, clock: fn() -> Clock) {
        self.fields.iter_mut().for_each(|fields| fields.set_clock(clock()));
    }

    /// Whether these lines are to be looked at one by one.
    pub(super) fn reads(&self, origin: &Origin<'_>) -> bool {
        let Some(fields) = self.fields.as_ref().filter(|_| cfg!(feature = "syslog")) else { return false };
        let shows_fields = self.format == Format::Json || fields.options().min_severity.is_some();
        origin.parse == Parse::Syslog && shows_fields
    }

    /// The format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The most that it adds to a line; a mark is no longer than that.
    #[must_use]
    pub fn overhead(&self) -> Overhead {
        self.format.overhead_with(&self.tag_field, self.marks_gaps, self.fields.as_ref().map(Fields::options))
    }

    /// Appends lines to `out`, formatted. Returns how many: messages that are not grave enough are left out.
    pub fn write(&mut self, origin: &Origin<'_>, lines: Lines<'_>, out: &mut Vec<u8>) -> u64 {
        if self.reads(origin) {
            return self.write_messages(origin, lines, out);
        }
        self.write_lines(origin, lines, out);
        lines.count
    }

    fn write_messages(&mut self, origin: &Origin<'_>, lines: Lines<'_>, out: &mut Vec<u8>) -> u64 {
        if self.format != Format::Raw {
            self.set_prefix(origin);
        }
        let (mut kept, mut first_line) = (0, mem::take(&mut self.first_line));
        lines.each(|head, rest| {
            let mut line = rest;
            if !head.is_empty() {
                first_line.clear();
                put(head, &mut first_line);
                put(rest, &mut first_line);
                line = &first_line;
            }
            kept += u64::from(self.write_message(origin.wall_ms, syslog::parse(line).as_ref(), line, out));
        });
        self.first_line = first_line;
        self.shrink();
        kept
    }

    /// Appends a message whose header was read, unless it is not grave enough.
    pub(super) fn message(
        &mut self,
        origin: &Origin<'_>,
        header: Option<&Header<'_>>,
        line: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        if self.format != Format::Raw {
            self.set_prefix(origin);
        }
        self.write_message(origin.wall_ms, header, line, out)
    }

    /// Appends a message, unless it is not grave enough.
    fn write_message(&mut self, wall_ms: u64, header: Option<&Header<'_>>, line: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(fields) = &mut self.fields else { return false };
        if header.is_some_and(|header| !fields.options().keeps(header.priority.severity)) {
            return false;
        }
        if self.format == Format::Raw {
            out.extend_from_slice(line);
            out.push(b'\n');
            return true;
        }
        let ending = self.format.layout().ending;
        if self.format == Format::Json {
            out.extend_from_slice(self.between.get(ending.len()..self.peer_end).unwrap_or_default());
            fields.write(&Came { header, line, host: &self.host, wall_ms }, out);
        } else {
            put(self.between().get(ending.len()..).unwrap_or_default(), out);
            put(line, out);
        }
        put(ending, out);
        true
    }

    /// Gives back what a long line took.
    fn shrink(&mut self) {
        if self.first_line.capacity() > KEPT_BYTES {
            self.first_line = Vec::new();
        }
    }

    fn write_lines(&mut self, origin: &Origin<'_>, lines: Lines<'_>, out: &mut Vec<u8>) {
        if self.format == Format::Raw {
            out.extend_from_slice(lines.head);
            out.extend_from_slice(lines.body);
            if !lines.ended {
                out.push(b'\n');
            }
            return;
        }
        self.set_prefix(origin);
        let ending = self.format.layout().ending;
        let body = lines.body.strip_suffix(b"\n").filter(|_| lines.ended).unwrap_or(lines.body);
        put(self.between().get(ending.len()..).unwrap_or_default(), out);
        if self.format == Format::Peer {
            put(lines.head, out);
            if lines.ended { self.splice(body, out) } else { put(body, out) }
        } else {
            self.write_json(Lines { body, ..lines }, out);
        }
        put(ending, out);
    }

    /// Appends lines with `\n` between them; or if none is `ended`, one, which may hold some.
    fn write_json(&mut self, lines: Lines<'_>, out: &mut Vec<u8>) {
        let Lines { head, mut body, ended, .. } = lines;
        let newline = memchr(b'\n', body);
        if !head.is_empty() || (newline.is_some() && !ended) {
            // A character may be cut in two between the parts.
            let end = newline.filter(|_| ended).unwrap_or(body.len());
            self.first_line.clear();
            put(head, &mut self.first_line);
            put(body.get(..end).unwrap_or_default(), &mut self.first_line);
            escape(&self.first_line, out);
            self.shrink();
            let Some(rest) = body.get(end + 1..) else { return };
            put(self.between(), out);
            body = rest;
        }
        let seen = scan_block(body);
        // A `\n` is never inside a character, so the lines are valid if the block is.
        let is_text = seen & HIGH == 0 || str::from_utf8(body).is_ok();
        if is_text && seen & SPECIAL == 0 {
            return self.splice(body, out);
        }
        let write = if is_text { escape_text } else { escape };
        let mut start = 0;
        for end in memchr_iter(b'\n', body) {
            write(body.get(start..end).unwrap_or_default(), out);
            put(self.between(), out);
            start = end + 1;
        }
        write(body.get(start..).unwrap_or_default(), out);
    }

    /// Appends lines with `between` for each `\n`.
    fn splice(&self, body: &[u8], out: &mut Vec<u8>) {
        let (mut rest, mut start) = (body, 0);
        for end in memchr_iter(b'\n', body) {
            append_start(rest, end - start, out);
            append_start(&self.between, self.between_len, out);
            start = end + 1;
            rest = body.get(start..).unwrap_or_default();
        }
        put(rest, out);
    }

    fn between(&self) -> &[u8] {
        self.between.get(..self.between_len).unwrap_or_default()
    }

    /// Brings `between` up to date for this peer and this time, and changes only what differs.
    fn set_prefix(&mut self, origin: &Origin<'_>) {
        let layout = self.format.layout();
        let time_at = layout.ending.len() + layout.before_time.len();
        if self.time_ms != Some(origin.wall_ms) {
            self.time_ms = Some(origin.wall_ms);
            if let Some(place) = self.between.get_mut(time_at..time_at + TIME_BYTES) {
                place.copy_from_slice(&time(origin.wall_ms));
            }
        }
        if self.peer != Some(*origin.peer) {
            self.peer = Some(*origin.peer);
            self.between.truncate(time_at + TIME_BYTES);
            put(layout.before_peer, &mut self.between);
            write_peer(origin.peer, &mut self.between);
            put(&self.tag_field, &mut self.between);
            self.peer_end = self.between.len();
            if self.fields.is_some() {
                self.host.clear();
                // Writing to a `Vec` can't fail.
                let _ = match origin.peer.bare() {
                    Peer::V6 { ip, scope: 0, .. } => write!(self.host, "{}", Ipv6Addr::from(ip)),
                    _ => write!(self.host, "{}", origin.peer.host()),
                };
            }
            put(layout.before_line, &mut self.between);
            self.between_len = self.between.len();
            self.between.resize(self.between_len + BLOCK_BYTES, 0);
        }
    }
}

/// Gaps: one line each, if they are marked at all.
///
/// ```text
/// [lumberjack gap] 2026-11-25T20:51:46.123Z peer=192.0.2.7:5000 lines=1 bytes=120000 why=too-long
/// [lumberjack gap] 2026-11-25T20:51:46.123Z peer=* lines=9 bytes=1200 tag=gateway-7 why=stalled
/// {"ts":"2026-11-25T20:51:46.123Z","peer":"192.0.2.7:5000","gap":{"lines":1,"bytes":120000,"why":"too-long"}}
/// ```
///
/// In `peer` and `json` no client can send what looks like one: its lines have a prefix. In `raw` it can, since there
/// its lines are all that there is.
impl Formatter {
    /// Appends the mark of a gap in the lines of one peer.
    pub fn gap(&self, origin: &Origin<'_>, gap: Gap, out: &mut Vec<u8>) {
        self.mark(origin.wall_ms, Some(origin.peer), gap, out);
    }

    /// Appends the mark of a gap in the lines of many peers, `*` in place of one.
    pub fn gap_of_all(&self, wall_ms: u64, gap: Gap, out: &mut Vec<u8>) {
        self.mark(wall_ms, None, gap, out);
    }

    fn mark(&self, wall_ms: u64, peer: Option<&Peer>, gap: Gap, out: &mut Vec<u8>) {
        if !self.marks_gaps {
            return;
        }
        let is_json = self.format == Format::Json;
        let [before_time, before_peer, before_lines, before_bytes, before_why, ending] = if is_json {
            ["{\"ts\":\"", "\",\"peer\":\"", "\",\"gap\":{\"lines\":", ",\"bytes\":", ",\"why\":\"", "\"}}\n"]
        } else {
            ["[lumberjack gap] ", " peer=", " lines=", " bytes=", " why=", "\n"]
        };
        put(before_time.as_bytes(), out);
        write_time(wall_ms, out);
        put(before_peer.as_bytes(), out);
        match peer {
            Some(peer) => write_peer(peer, out),
            None => out.push(b'*'),
        }
        if is_json {
            put(&self.tag_field, out);
        }
        put(before_lines.as_bytes(), out);
        write_number(gap.lines, out);
        put(before_bytes.as_bytes(), out);
        write_number(gap.bytes, out);
        if let (false, Some(tag)) = (is_json, self.tag_field.get(PEER.before_tag.len()..)) {
            put(b" tag=", out);
            put(tag, out);
        }
        // Writing to a `Vec` can't fail.
        let _ = write!(out, "{before_why}{}{ending}", gap.why);
    }
}

/// How many lines and bytes a mark tells of, if this line is one.
pub(super) fn told_by(line: &[u8]) -> Option<(u64, u64)> {
    let (before_lines, before_bytes) = match line.first()? {
        b'[' if line.starts_with(b"[lumberjack gap] ") => (&b" lines="[..], &b" bytes="[..]),
        // In a line of a client no quote stands without a backslash before it.
        b'{' => (&b"\"gap\":{\"lines\":"[..], &b",\"bytes\":"[..]),
        _ => return None,
    };
    let number_after = |word: &[u8]| {
        let rest = line.get(line.windows(word.len()).position(|part| part == word)? + word.len()..)?;
        let mut digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).peekable();
        // A client that names its structured data so can write no number there, but only a text.
        digits.peek()?;
        digits.try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
    };
    Some((number_after(before_lines)?, number_after(before_bytes)?))
}

/// Appends the first `len` of these bytes. It copies whole blocks, so more than that, and then cuts off the rest. With glibc
/// a call of `memcpy` for each line and prefix would cost no more, but that of musl is made for long copies: 24 ns a line
/// against 7.
fn append_start(bytes: &[u8], len: usize, out: &mut Vec<u8>) {
    let end = out.len() + len;
    let mut rest = bytes;
    while out.len() < end {
        let Some((block, after)) = rest.split_first_chunk::<BLOCK_BYTES>() else {
            return out.extend_from_slice(rest.get(..end - out.len()).unwrap_or_default());
        };
        out.extend_from_slice(block);
        rest = after;
    }
    out.truncate(end);
}

/// Appends what `Display` writes, without `core::fmt` for the kinds that are common.
#[inline(never)] // one copy, for size
pub(crate) fn write_peer(peer: &Peer, out: &mut Vec<u8>) {
    match *peer {
        Peer::V4 { ip, port } => {
            for (part, after) in ip.iter().zip(b"...:") {
                write_number(u64::from(*part), out);
                out.push(*after);
            }
            write_number(u64::from(port), out);
        }
        Peer::Unix { serial } => {
            put(b"unix#", out);
            write_number(u64::from(serial), out);
        }
        Peer::Poller(name) => put(name.text().as_bytes(), out),
        Peer::V6 { .. } => {
            let _ = write!(out, "{peer}");
        }
        #[cfg(feature = "tls")]
        Peer::Named { name, .. } => {
            put(name.text().as_bytes(), out);
            out.push(b'/');
            write_peer(&peer.bare(), out);
        }
    }
}

#[inline(never)] // one copy, for size
pub(crate) fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20]; // as many as u64::MAX has
    let mut start = digits.len();
    for place in digits.iter_mut().rev() {
        *place = digit(number);
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    put(digits.get(start..).unwrap_or_default(), out);
}

/// The last digit of a number.
fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or_default()
}

/// Fills the places with the last digits of a number.
#[inline(never)] // one copy, for size
fn put_digits(places: &mut [u8], mut number: u64) {
    for place in places.iter_mut().rev() {
        *place = digit(number);
        number /= 10;
    }
}

/// The last millisecond of the year 9999, beyond which RFC 3339 has no year.
const LAST_MS: u64 = 253_402_300_799_999;

/// Appends a time as RFC 3339 has it, in UTC with milliseconds: 24 bytes.
pub(crate) fn write_time(unix_ms: u64, out: &mut Vec<u8>) {
    put(&time(unix_ms), out);
}

#[inline(never)] // one copy, for size
fn time(unix_ms: u64) -> [u8; TIME_BYTES] {
    let unix_ms = unix_ms.min(LAST_MS);
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    put_digits(&mut text[0..4], year);
    put_digits(&mut text[5..7], month);
    put_digits(&mut text[8..10], day);
    put_digits(&mut text[11..13], ms / 3_600_000);
    put_digits(&mut text[14..16], ms / 60_000 % 60);
    put_digits(&mut text[17..19], ms / 1000 % 60);
    put_digits(&mut text[20..23], ms % 1000);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::gap::Why;

    const PEER: Peer = Peer::V4 { ip: [192, 0, 2, 7], port: 5000 };
    const LONGEST_PEER: Peer = Peer::V6 { ip: [0xfe; 16], port: 65535, scope: u32::MAX };
    const FORMATS: [Format; 3] = [Format::Raw, Format::Peer, Format::Json];
    /// 2026-09-21T14:13:20.123Z
    const WALL_MS: u64 = 1_790_000_000_123;

    fn formatted(format: Format, tag: &str, head: &[u8], body: &[u8], ended: bool) -> String {
        let mut out = Vec::new();
        let lines = Lines { head, body, count: 1, ended };
        Formatter::new(format, tag, false).write(
            &Origin { peer: &PEER, wall_ms: WALL_MS, parse: Parse::Off },
            lines,
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            let mut out = Vec::new();
            write_time(ms, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
    }

    #[test]
    fn peers_are_written_as_they_are_displayed() {
        let v4 = |ip, port| Peer::V4 { ip, port };
        let [zeros, nines] = [v4([0; 4], 0), v4([255, 99, 10, 9], 65535)];
        for peer in [PEER, LONGEST_PEER, zeros, nines, Peer::Unix { serial: 1 }, Peer::Unix { serial: u32::MAX }] {
            let mut out = Vec::new();
            write_peer(&peer, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), peer.to_string());
        }
    }

    #[test]
    fn each_format_writes_each_line() {
        assert_eq!(formatted(Format::Raw, "gw", b"a", b"b\nc\n", true), "ab\nc\n");
        assert_eq!(formatted(Format::Raw, "", b"a", b"b", false), "ab\n");
        assert_eq!(
            formatted(Format::Peer, "", b"a", b"b\nc\n", true),
            "2026-09-21T14:13:20.123Z 192.0.2.7:5000 ab\n2026-09-21T14:13:20.123Z 192.0.2.7:5000 c\n"
        );
        assert_eq!(formatted(Format::Peer, "gw", b"", b"a\n", true), "2026-09-21T14:13:20.123Z 192.0.2.7:5000 gw a\n");
        assert_eq!(
            formatted(Format::Json, "", b"a\"\xc3", b"\xa9\xff\\\x01\t", false),
            "{\"ts\":\"2026-09-21T14:13:20.123Z\",\"peer\":\"192.0.2.7:5000\",\"line\":\"a\\\"é\u{fffd}\\\\\\u0001\\t\"}\n"
        );
        assert_eq!(
            formatted(Format::Json, "g\"w", b"", b"a\n", true),
            "{\"ts\":\"2026-09-21T14:13:20.123Z\",\"peer\":\"192.0.2.7:5000\",\"tag\":\"g\\\"w\",\"line\":\"a\"}\n"
        );
    }

    #[test]
    fn a_line_shows_its_own_peer_and_time_whatever_came_before_it() {
        let mut formatter = Formatter::new(Format::Peer, "", false);
        let mut out = Vec::new();
        let unix = Peer::Unix { serial: 9 };
        for (peer, wall_ms) in [(PEER, 0), (PEER, 1), (unix, 1), (LONGEST_PEER, 1), (PEER, 2), (unix, 3)] {
            out.clear();
            let lines = Lines { head: b"", body: b"a\n", count: 1, ended: true };
            formatter.write(&Origin { peer: &peer, wall_ms, parse: Parse::Off }, lines, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("1970-01-01T00:00:00.00{wall_ms}Z {peer} a\n"));
        }
    }

    #[test]
    fn a_tag_is_one_word_of_1_to_64_bytes() {
        let longest = "x".repeat(64);
        for text in ["gateway-7", "a", "\"\\", "größe", &longest] {
            assert_eq!(parse_tag(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            " ",
            "two words",
            "tab\tbed",
            "new\nline",
            "nul\0",
            "\u{85}",
            "\u{2028}",
            &"x".repeat(65),
            &"é".repeat(33),
        ] {
            assert_eq!(parse_tag(text), Err("give 1 to 64 bytes without spaces, such as gateway-7"), "{text:?}");
        }
    }

    #[test]
    fn p12_a_gap_is_one_line_that_says_how_much_of_whom_and_why() {
        let gap = Gap { lines: 1, bytes: 120_000, why: Why::TooLong };
        let marks = |format, tag| {
            let formatter = Formatter::new(format, tag, true);
            let mut out = Vec::new();
            formatter.gap(&Origin { peer: &PEER, wall_ms: WALL_MS, parse: Parse::Off }, gap, &mut out);
            formatter.gap_of_all(WALL_MS, Gap { lines: 0, bytes: u64::MAX, why: Why::DiskFull }, &mut out);
            String::from_utf8(out).unwrap()
        };
        let plain = "[lumberjack gap] 2026-09-21T14:13:20.123Z peer=192.0.2.7:5000 lines=1 bytes=120000 why=too-long\n\
            [lumberjack gap] 2026-09-21T14:13:20.123Z peer=* lines=0 bytes=18446744073709551615 why=disk-full\n";
        assert_eq!(marks(Format::Raw, "gw"), plain);
        assert_eq!(marks(Format::Peer, ""), plain);
        assert_eq!(marks(Format::Peer, "gw"), plain.replace(" why", " tag=gw why"));
        let json = "{\"ts\":\"2026-09-21T14:13:20.123Z\",\"peer\":\"192.0.2.7:5000\",\
            \"gap\":{\"lines\":1,\"bytes\":120000,\"why\":\"too-long\"}}\n\
            {\"ts\":\"2026-09-21T14:13:20.123Z\",\"peer\":\"*\",\
            \"gap\":{\"lines\":0,\"bytes\":18446744073709551615,\"why\":\"disk-full\"}}\n";
        assert_eq!(marks(Format::Json, ""), json);
        assert_eq!(marks(Format::Json, "gw"), json.replace(",\"gap", ",\"tag\":\"gw\",\"gap"));
        for format in FORMATS {
            for line in marks(format, "gw").split_inclusive('\n').zip([(1, 120_000), (0, u64::MAX)]) {
                assert_eq!(told_by(line.0.as_bytes()), Some(line.1), "what is written is understood");
            }
        }
        for line in ["", "[lumberjack gap]", "{\"line\":\"\\\"gap\\\":{\\\"lines\\\":1,\\\"bytes\\\":1\"}", "a line"] {
            assert_eq!(told_by(line.as_bytes()), None, "{line}");
        }
        let mut out = Vec::new();
        Formatter::new(Format::Raw, "", false).gap_of_all(0, gap, &mut out);
        assert_eq!(out, b"", "a mark that nobody asked for");
    }

    /// Every setup, the tags as long as they can get.
    fn every_setup(each: impl Fn(Format, &str, bool)) {
        for format in FORMATS {
            for tag in ["", "gateway-7", &"\"".repeat(64), &"é".repeat(32)] {
                [false, true].iter().for_each(|marks_gaps| each(format, tag, *marks_gaps));
            }
        }
    }

    #[test]
    fn p5_no_line_becomes_more_than_the_overhead_says() {
        let origin = Origin { peer: &LONGEST_PEER, wall_ms: u64::MAX, parse: Parse::Off };
        every_setup(|format, tag, marks_gaps| {
            let overhead = format.overhead(tag, marks_gaps, None);
            let mut formatter = Formatter::new(format, tag, marks_gaps);
            assert_eq!(formatter.overhead(), overhead);
            for byte in (0..=u8::MAX).filter(|byte| *byte != b'\n') {
                for len in [0, 1, 100] {
                    let mut out = Vec::new();
                    let lines = Lines { head: &[], body: &[byte; 100][..len], count: 1, ended: false };
                    formatter.write(&origin, lines, &mut out);
                    assert!(out.len() <= overhead.at_most(len, 1), "{format} {tag} {byte}: {} of {len}", out.len());
                }
            }
        });
    }

    #[test]
    fn p5_no_mark_is_longer_than_what_a_line_adds_at_worst() {
        every_setup(|format, tag, marks_gaps| {
            let formatter = Formatter::new(format, tag, marks_gaps);
            for why in [Why::TooLong, Why::Memory, Why::Stalled, Why::DiskFull] {
                let mut out = Vec::new();
                let gap = Gap { lines: u64::MAX, bytes: u64::MAX, why };
                formatter.gap(&Origin { peer: &LONGEST_PEER, wall_ms: u64::MAX, parse: Parse::Off }, gap, &mut out);
                assert!(out.len() <= formatter.overhead().per_line, "{format} {tag} {why}: {}", out.len());
            }
        });
    }
}
