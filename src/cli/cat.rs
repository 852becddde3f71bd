//! `lumberjack cat`: an output file and those that were rotated, compressed or not, the oldest first, as one stream.
//! Invariant: stdout gets lines of these files and nothing else, and memory is bounded, whatever they hold.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memchr::{memchr, memchr_iter};

use super::logging::complain;
use crate::config::text::escaped;
use crate::config::units::{DisplayLines, parse_duration};
use crate::host;
use crate::sink::open_set;

/// Read, and written, at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Whether a longer line is shown, so many of its first bytes decide. No line is longer unless `--max-line` is.
const MOST_JUDGED_BYTES: usize = 16 * 1024 * 1024;

/// What the arguments of `lumberjack cat` ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The output file: those that were rotated are found by its name.
    pub path: PathBuf,
    /// Lines that are older are left out.
    pub since: Option<Since>,
    /// So are lines without this in them.
    pub wanted: Vec<u8>,
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// A time, in milliseconds since 1970.
    At(i64),
    /// So long ago.
    Ago(Duration),
}

impl Since {
    /// Reads a time or a duration.
    ///
    /// # Errors
    /// What to give instead, the end of a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match read_time(text.as_bytes()) {
            Some(Time { unix_ms, len, .. }) if len == text.len() => Ok(Self::At(unix_ms)),
            _ => parse_duration(text).map(Self::Ago).map_err(
                |_| "give a duration, such as 2h, or a time, such as 2026-11-25T20:51Z or 2026-11-25T21:51:46+01:00",
            ),
        }
    }

    pub(super) fn unix_ms(self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        match self {
            Self::At(unix_ms) => unix_ms,
            Self::Ago(time) => i64::try_from(now.saturating_sub(time).as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// Writes all lines to stdout; whether all could be read. A reader of stdout that has enough is no failure.
pub(super) fn cat(listing: &Listing) -> bool {
    match try_cat(listing) {
        Ok(is_whole) => is_whole,
        Err(sentence) => {
            complain(&sentence);
            false
        }
    }
}

fn try_cat(listing: &Listing) -> Result<bool, String> {
    let name = escaped(&listing.path.to_string_lossy());
    // All files are open at once, so that none is left out or shown twice while they rotate.
    let _ = host::raise_descriptor_limit();
    let set = open_set(&listing.path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("cannot read {name}: there is no such file, nor a rotated one of that name"),
        ErrorKind::IsADirectory => format!("cannot read {name}: it is a directory; name a file in it"),
        _ => format!("cannot read {name}: {error}"),
    })?;
    let unwritable = |error: &io::Error| format!("cannot write to stdout: {error}; redirect it elsewhere");
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(|error| unwritable(&error))?;
    let filter = Filter { since_ms: listing.since.map(Since::unix_ms), wanted: &listing.wanted };
    let mut lines = Lines { filter, out: &stdout, ready: Vec::new(), pending: Vec::new(), verdict: None, untimed: 0 };
    set.unreadable.iter().for_each(|error| complain(error));
    let (mut is_whole, mut piece) = (set.unreadable.is_empty(), vec![0; PIECE_BYTES]);
    for mut file in set.files {
        loop {
            match file.content.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => match lines.add(piece.get(..count).unwrap_or_default()) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(is_whole),
                    Err(error) => return Err(unwritable(&error)),
                },
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    is_whole = false;
                    let path = escaped(&file.path.to_string_lossy());
                    let why: &dyn fmt::Display = match error.kind() {
                        ErrorKind::UnexpectedEof => &"it is cut off",
                        ErrorKind::InvalidData => &"it is no gzip, or broken",
                        _ => &error,
                    };
                    complain(&format_args!("cannot read all of {path}: {why}; the rest of it is left out"));
                    break;
                }
            }
        }
        lines.end_of_file();
    }
    match lines.flush() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(unwritable(&error)),
        _ => {}
    }
    if lines.untimed > 0 {
        let untimed = DisplayLines(lines.untimed);
        complain(&format_args!("{untimed:#} without a time, and shown whatever --since says"));
    }
    Ok(is_whole)
}

/// Which lines are shown.
struct Filter<'a> {
    since_ms: Option<i64>,
    wanted: &'a [u8],
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Shown,
    /// It has no time to be compared.
    ShownUntimed,
    LeftOut,
}

impl Filter<'_> {
    fn judge(&self, line: &[u8]) -> Verdict {
        if !contains(line, self.wanted) {
            return Verdict::LeftOut;
        }
        match (self.since_ms, time_of(line)) {
            (None, _) => Verdict::Shown,
            (Some(_), None) => Verdict::ShownUntimed,
            (Some(since), Some(time)) if time >= since => Verdict::Shown,
            _ => Verdict::LeftOut,
        }
    }

    fn shows_all(&self) -> bool {
        self.since_ms.is_none() && self.wanted.is_empty()
    }
}

/// Puts lines together from pieces of files, and writes those that are shown.
struct Lines<'a, W> {
    filter: Filter<'a>,
    out: W,
    ready: Vec<u8>,
    /// The start of a line whose end has not come.
    pending: Vec<u8>,
    /// What becomes of the rest of that line, if it is too long to be waited for.
    verdict: Option<Verdict>,
    untimed: u64,
}

impl<W: Write> Lines<'_, W> {
    fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        if self.filter.shows_all() {
            self.ready.extend_from_slice(piece);
        } else {
            let mut rest = piece;
            while let Some(end) = memchr(b'\n', rest) {
                let (line, after) = rest.split_at(end + 1);
                self.end_line(line);
                rest = after;
            }
            self.wait_with(rest);
        }
        if self.ready.len() >= PIECE_BYTES { self.flush() } else { Ok(()) }
    }

    /// The line that is pending ends with this.
    fn end_line(&mut self, end: &[u8]) {
        let verdict = match (self.verdict.take(), self.pending.is_empty()) {
            (Some(verdict), _) => return self.put(verdict, end),
            (None, true) => self.filter.judge(end),
            (None, false) => {
                self.pending.extend_from_slice(end);
                self.filter.judge(&self.pending)
            }
        };
        self.untimed += u64::from(verdict == Verdict::ShownUntimed);
        if self.pending.is_empty() {
            return self.put(verdict, end);
        }
        let line = std::mem::take(&mut self.pending);
        self.put(verdict, &line);
    }

    fn wait_with(&mut self, start: &[u8]) {
        if let Some(verdict) = self.verdict {
            return self.put(verdict, start);
        }
        self.pending.extend_from_slice(start);
        if self.pending.len() >= MOST_JUDGED_BYTES {
            let start = std::mem::take(&mut self.pending);
            let verdict = self.filter.judge(&start);
            self.untimed += u64::from(verdict == Verdict::ShownUntimed);
            self.put(verdict, &start);
            self.verdict = Some(verdict);
        }
    }

    fn put(&mut self, verdict: Verdict, bytes: &[u8]) {
        if verdict != Verdict::LeftOut {
            self.ready.extend_from_slice(bytes);
        }
    }

    /// A line that a crash has torn must not become one with the next file's first.
    fn end_of_file(&mut self) {
        if self.verdict.is_some() || !self.pending.is_empty() {
            self.end_line(b"\n");
        } else if self.filter.shows_all() && self.ready.last().is_some_and(|last| *last != b'\n') {
            self.ready.push(b'\n');
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.ready)?;
        self.ready.clear();
        Ok(())
    }
}

pub(super) fn contains(line: &[u8], wanted: &[u8]) -> bool {
    let Some((first, rest)) = wanted.split_first() else { return true };
    memchr_iter(*first, line).any(|at| line.get(at + 1..).is_some_and(|after| after.starts_with(rest)))
}

/// When a line came, in milliseconds since 1970: what `--format peer` and `json` begin it with, or its sender has.
pub(super) fn time_of(line: &[u8]) -> Option<i64> {
    let text = line.strip_prefix(br#"{"ts":""#).unwrap_or(line);
    let Time { unix_ms, len, is_whole } = read_time(text)?;
    let ends_there = text.get(len).is_none_or(|next| matches!(next, b' ' | b'"' | b'\t' | b'\n'));
    (is_whole && ends_there).then_some(unix_ms)
}

/// A time at the start of a text.
struct Time {
    unix_ms: i64,
    /// Of the text.
    len: usize,
    /// It has seconds and a zone, as RFC 3339 wants it.
    is_whole: bool,
}

/// Reads `2026-11-25`, `2026-11-25T20:51`, `2026-11-25T20:51:46.123`, with `Z` or an offset behind it; else it is UTC.
fn read_time(text: &[u8]) -> Option<Time> {
    let mut text = Text { bytes: text, at: 0 };
    let year = text.number(4, 9999)?;
    text.mark(b"-")?;
    let month = text.number(2, 12).filter(|month| *month >= 1)?;
    text.mark(b"-")?;
    let day = text.number(2, 31).filter(|day| *day >= 1)?;
    let days = days_from_civil(year, month, day);
    // 2026-02-30 would be the second of March.
    if day > 28 && days >= days_from_civil(year + month / 12, month % 12 + 1, 1) {
        return None;
    }
    let mut ms = days * 86_400_000;
    if text.mark(b"Tt ").is_none() {
        return Some(Time { unix_ms: ms, len: text.at, is_whole: false });
    }
    ms += text.number(2, 23)? * 3_600_000;
    text.mark(b":")?;
    ms += text.number(2, 59)? * 60_000;
    let has_seconds = text.mark(b":").is_some();
    if has_seconds {
        // A leap second is one.
        ms += text.number(2, 60)? * 1000;
        if text.mark(b".").is_some() {
            ms += text.fraction()?;
        }
    }
    let zone = text.mark(b"Zz+-");
    if let Some(sign @ (b'+' | b'-')) = zone {
        let minutes = text.number(2, 23)? * 60 + text.mark(b":").and_then(|_| text.number(2, 59))?;
        ms += if sign == b'+' { -minutes } else { minutes } * 60_000;
    }
    Some(Time { unix_ms: ms, len: text.at, is_whole: has_seconds && zone.is_some() })
}

/// Days since 1970 of a day of the Gregorian calendar: the other way round as `civil` in `sink/format.rs` goes.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A text that is read from its start.
struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Text<'_> {
    /// One of these.
    fn mark(&mut self, marks: &[u8]) -> Option<u8> {
        let mark = *self.bytes.get(self.at).filter(|byte| marks.contains(byte))?;
        self.at += 1;
        Some(mark)
    }

    /// A number of so many digits, this at most.
    fn number(&mut self, digits: usize, most: i64) -> Option<i64> {
        let text = self.bytes.get(self.at..self.at + digits)?;
        self.at += digits;
        let number = |number, digit: &u8| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'));
        text.iter().try_fold(0, number).filter(|number| *number <= most)
    }

    /// Digits behind the point, as milliseconds.
    fn fraction(&mut self) -> Option<i64> {
        let (mut ms, mut worth, begin) = (0, 100, self.at);
        while let Some(digit) = self.bytes.get(self.at).filter(|digit| digit.is_ascii_digit()) {
            ms += i64::from(digit - b'0') * worth;
            worth /= 10;
            self.at += 1;
        }
        (self.at > begin).then_some(ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::write_time;

    #[test]
    fn a_time_that_was_written_is_read() {
        for unix_ms in [0, 951_782_399_999, 951_782_400_000, 1_709_164_800_123, 1_790_000_000_001, 4_107_542_400_000] {
            let mut text = Vec::new();
            write_time(unix_ms, &mut text);
            let expected = i64::try_from(unix_ms).unwrap();
            for line in
                [[&text[..], b" 192.0.2.7:1 line"].concat(), [b"{\"ts\":\"", &text[..], b"\",\"peer\""].concat()]
            {
                assert_eq!(time_of(&line), Some(expected), "{}", line.escape_ascii());
            }
        }
    }

    #[test]
    fn a_line_has_a_time_if_its_first_word_is_one() {
        for (line, expected) in [
            ("1970-01-02T00:00:01.5+01:00 x", Some(86_401_500 - 3_600_000)),
            ("1970-01-02t00:00:01z", Some(86_401_000)),
            ("1970-01-02 00:00:01-00:30\tx", Some(86_401_000 + 1_800_000)),
            ("1970-01-02T00:00:01 local, wherever that was", None),
            ("1970-01-02T00:00Z too short", None),
            ("1970-01-02T00:00:01Zulu", None),
            ("1970-13-02T00:00:01Z", None),
            ("1970-01-02T00:00:01.Z", None),
            ("1970-01-02T00:00:01+1", None),
            ("{\"line\":\"1970-01-02T00:00:01Z\"}", None),
            ("1970", None),
            ("", None),
        ] {
            assert_eq!(time_of(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn since_is_a_time_or_so_long_ago() {
        assert_eq!(Since::parse("2h"), Ok(Since::Ago(Duration::from_secs(7200))));
        assert_eq!(Since::parse("1970-01-02"), Ok(Since::At(86_400_000)));
        assert_eq!(Since::parse("1970-01-02T00:01"), Ok(Since::At(86_460_000)));
        assert_eq!(Since::parse("1970-01-02T00:00:00+02:00"), Ok(Since::At(79_200_000)));
        assert_eq!(Since::parse("1972-02-29"), Ok(Since::At(789 * 86_400_000)));
        assert_eq!(Since::parse("1970-12-31T23:59:60Z"), Ok(Since::At(365 * 86_400_000)));
        let no_days =
            ["2026-02-30", "2026-02-29", "1900-02-29", "2026-04-31", "2026-00-01", "2026-13-01", "2026-01-00"];
        let no_times = ["2026-01-01T24:00", "2026-01-01T10:60", "2026-01-01T10:00:61Z", "2026-01-01T10:00:00+24:00"];
        let others = ["", "yesterday", "1970-01-02x", "5", "20:51"];
        for text in no_days.into_iter().chain(no_times).chain(others) {
            assert!(Since::parse(text).unwrap_err().starts_with("give a duration, such as 2h"), "{text}");
        }
    }

    /// What is written of these files, in pieces of this size.
    fn shown(files: &[&str], since_ms: Option<i64>, wanted: &str, piece: usize) -> (String, u64) {
        let filter = Filter { since_ms, wanted: wanted.as_bytes() };
        let (ready, pending) = (Vec::new(), Vec::new());
        let mut lines = Lines { filter, out: Vec::new(), ready, pending, verdict: None, untimed: 0 };
        for file in files {
            file.as_bytes().chunks(piece).for_each(|piece| lines.add(piece).unwrap());
            lines.end_of_file();
        }
        lines.flush().unwrap();
        (String::from_utf8(lines.out).unwrap(), lines.untimed)
    }

    #[test]
    fn lines_are_chosen_by_time_and_by_what_is_in_them_however_they_are_read() {
        let files =
            ["1970-01-01T00:00:01Z one pump\n1970-01-01T00:00:02Z two\ntorn", "1970-01-01T00:00:03Z three pump\n\n"];
        for piece in 1..50 {
            let all = files[0].to_owned() + "\n" + files[1];
            assert_eq!(shown(&files, None, "", piece), (all, 0));
            let pumps = "1970-01-01T00:00:01Z one pump\n1970-01-01T00:00:03Z three pump\n";
            assert_eq!(shown(&files, None, "pump", piece), (pumps.to_owned(), 0));
            let late = "1970-01-01T00:00:02Z two\ntorn\n1970-01-01T00:00:03Z three pump\n\n";
            assert_eq!(shown(&files, Some(2000), "", piece), (late.to_owned(), 2), "a torn line, and an empty one");
            assert_eq!(shown(&files, Some(3000), "pump", piece).0, "1970-01-01T00:00:03Z three pump\n");
            assert_eq!(
                shown(&files, Some(3000), "t", piece),
                ("torn\n1970-01-01T00:00:03Z three pump\n".to_owned(), 1)
            );
        }
    }

    #[test]
    fn of_a_line_that_is_far_too_long_the_start_decides() {
        let long = "x".repeat(MOST_JUDGED_BYTES + 100_000);
        let lines = format!("short\n{long} word\nword\n");
        assert!(shown(&[&lines], None, "word", PIECE_BYTES).0 == "word\n");
        assert!(shown(&[&lines], None, "xx", PIECE_BYTES).0 == format!("{long} word\n"));
    }

    #[test]
    fn a_text_is_found_wherever_it_is() {
        for (line, wanted, expected) in [
            ("aab", "ab", true),
            ("aab", "aab", true),
            ("aab", "b", true),
            ("aab", "abc", false),
            ("", "a", false),
            ("", "", true),
        ] {
            assert_eq!(contains(line.as_bytes(), wanted.as_bytes()), expected, "{line} {wanted}");
        }
    }
}
