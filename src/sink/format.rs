//! How a line looks in the output: as it came, with time and peer before it, or as JSON. Invariant: what one line
//! becomes is never more than [`Format::overhead`] says, and holds one `\n`, at its end.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use super::Origin;
use crate::engine::config::{Overhead, WordError};
use crate::engine::framer::Lines;

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

    /// What it adds to a line at worst. The longest prefix is that of a link-local IPv6 peer: 24 bytes of time, 58 of
    /// address, and at most 30 around them.
    pub(crate) fn overhead(self, _tag: &str, _marks_gaps: bool) -> Overhead {
        match self {
            Self::Raw => Overhead::RAW,
            Self::Peer => Overhead { per_byte: 1, per_line: 96, kept: 0 },
            Self::Json => Overhead { per_byte: 6, per_line: 128, kept: 0 },
        }
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

/// Writes lines in a format; what it needs for that is kept and used again.
#[derive(Debug, Default)]
pub(super) struct Formatter {
    format: Format,
    time: Vec<u8>,
    time_ms: Option<u64>,
    prefix: Vec<u8>,
    first_line: Vec<u8>,
}

impl Formatter {
    pub(super) fn gap(&mut self, _: &Origin<'_>, _: crate::engine::gap::Gap, _: &mut Vec<u8>) {}
    pub(super) fn gap_of_all(&mut self, _: u64, _: crate::engine::gap::Gap, _: &mut Vec<u8>) {}
    pub(super) fn new(format: Format, _tag: &str, _marks_gaps: bool) -> Self {
        Self { format, ..Self::default() }
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// Appends lines to `out`, formatted.
    pub(super) fn write(&mut self, origin: &Origin<'_>, lines: Lines<'_>, out: &mut Vec<u8>) {
        if self.format == Format::Raw {
            out.extend_from_slice(lines.head);
            out.extend_from_slice(lines.body);
            if !lines.ended {
                out.push(b'\n');
            }
            return;
        }
        self.set_prefix(origin);
        let Self { format, prefix, first_line, .. } = self;
        lines.each(|head, body| {
            out.extend_from_slice(prefix);
            if *format == Format::Peer {
                out.extend_from_slice(head);
                out.extend_from_slice(body);
                return out.push(b'\n');
            }
            if head.is_empty() {
                escape(body, out);
            } else {
                // A character may be cut in two between the parts.
                first_line.clear();
                first_line.extend_from_slice(head);
                first_line.extend_from_slice(body);
                escape(first_line, out);
            }
            out.extend_from_slice(b"\"}\n");
        });
        if self.first_line.capacity() > 4096 {
            self.first_line = Vec::new();
        }
    }

    fn set_prefix(&mut self, origin: &Origin<'_>) {
        if self.time_ms != Some(origin.wall_ms) {
            self.time.clear();
            write_time(origin.wall_ms, &mut self.time);
            self.time_ms = Some(origin.wall_ms);
        }
        let prefix = &mut self.prefix;
        prefix.clear();
        // Writing to a `Vec` can't fail.
        let _ = match self.format {
            Format::Raw => Ok(()),
            Format::Peer => {
                prefix.extend_from_slice(&self.time);
                write!(prefix, " {} ", origin.peer)
            }
            Format::Json => {
                prefix.extend_from_slice(b"{\"ts\":\"");
                prefix.extend_from_slice(&self.time);
                write!(prefix, "\",\"peer\":\"{}\",\"line\":\"", origin.peer)
            }
        };
    }
}

pub(crate) fn parse_tag(text: &str) -> Result<&str, &'static str> {
    Ok(text)
}
/// Appends bytes as the inside of a JSON string.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid().as_bytes();
        while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')) {
            let (plain, special) = rest.split_at(at);
            out.extend_from_slice(plain);
            let Some((first, after)) = special.split_first() else { break };
            let _ = match first {
                b'"' | b'\\' => out.write_all(&[b'\\', *first]),
                b'\t' => out.write_all(b"\\t"),
                control => write!(out, "\\u{control:04x}"),
            };
            rest = after;
        }
        out.extend_from_slice(rest);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// The last millisecond of the year 9999, beyond which RFC 3339 has no year.
const LAST_MS: u64 = 253_402_300_799_999;

/// Appends a time as RFC 3339 has it, in UTC with milliseconds: 24 bytes.
pub(crate) fn write_time(unix_ms: u64, out: &mut Vec<u8>) {
    let unix_ms = unix_ms.min(LAST_MS);
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z");
}

/// Year, month and day of a day since 1970, by the Gregorian calendar: years are counted from March, so that the leap
/// day is the last of its year, in eras of 400 years, which all have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // days from 0000-03-01 to 1970-01-01
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * months_from_march + 2) / 5 + 1;
    let month = if months_from_march < 10 { months_from_march + 3 } else { months_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::peer::Peer;

    fn formatted(format: Format, head: &[u8], body: &[u8], ended: bool) -> Vec<u8> {
        let peer = Peer::V4 { ip: [192, 0, 2, 7], port: 5000 };
        let mut out = Vec::new();
        let lines = Lines { head, body, count: 1, ended };
        Formatter::new(format, "", false).write(&Origin { peer: &peer, wall_ms: 1_790_000_000_123 }, lines, &mut out);
        out
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
    fn each_format_writes_each_line() {
        assert_eq!(formatted(Format::Raw, b"a", b"b\nc\n", true), b"ab\nc\n");
        assert_eq!(formatted(Format::Raw, b"a", b"b", false), b"ab\n");
        let peer = String::from_utf8(formatted(Format::Peer, b"a", b"b\nc\n", true)).unwrap();
        assert_eq!(peer, "2026-09-21T14:13:20.123Z 192.0.2.7:5000 ab\n2026-09-21T14:13:20.123Z 192.0.2.7:5000 c\n");
        let json = String::from_utf8(formatted(Format::Json, b"a\"\xc3", b"\xa9\xff\\\x01", false)).unwrap();
        let expected = "{\"ts\":\"2026-09-21T14:13:20.123Z\",\"peer\":\"192.0.2.7:5000\",\"line\":\"a\\\"é\u{fffd}\\\\\\u0001\"}\n";
        assert_eq!(json, expected);
    }

    #[test]
    fn p5_no_line_becomes_more_than_the_overhead_says() {
        let peer = Peer::V6 { ip: [0xfe; 16], port: 65535, scope: u32::MAX };
        for format in [Format::Raw, Format::Peer, Format::Json] {
            for byte in 0..=u8::MAX {
                if byte == b'\n' {
                    continue;
                }
                let line = [byte; 100];
                let mut out = Vec::new();
                let lines = Lines { head: &[], body: &line, count: 1, ended: false };
                Formatter::new(format, "", false).write(&Origin { peer: &peer, wall_ms: u64::MAX }, lines, &mut out);
                assert!(out.len() <= format.overhead("", false).at_most(100, 1), "{format} {byte}: {}", out.len());
            }
        }
    }
}
