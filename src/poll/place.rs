//! Where a page stands in what the server has: its validators, and how far a file was read that only grows.
//!
//! A server has ranges if it says so of a body that is plain and that is lines. Then the next request begins 1 KiB before the end of
//! the last line that was read. The answer is believed if it begins there, its first 1 KiB is what was read before, and the file
//! did not change without growing; else the whole page is asked for at once. A server that does not keep its word three
//! times in a row is asked for ranges again after [`RESTS`] whole pages. `If-Range` is never sent: there are servers that answer it with the whole of a
//! file that has grown.
//!
//! A page that is longer than an answer may be is asked for in parts, if the server has ranges: from where it was read to, or, if
//! that is not known or is another file's, from its beginning; or its end alone, if what is there at the start is old.
//!
//! Invariant: what is skipped of a range was read before.

use crate::config::text::is;
use crate::http::{Answer, add_field};

/// So much of what was read is read again, to know it.
pub(super) const CHECKED_BYTES: usize = 1024;
/// So often in a row a server may answer something else than the range.
const MOST_REFUSED: u8 = 3;
/// Then so many whole pages are asked for before it is asked for a range again: files are touched, and servers change.
const RESTS: u8 = 20;
/// Validators that are longer are not kept.
const MOST_VALIDATOR_BYTES: usize = 256;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The page.
    Whole,
    /// What is from this byte on.
    From(u64),
    /// As much from the first byte on as an answer may have.
    Start,
    /// The same up to the last byte.
    End,
}

/// What a server says of the state of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) modified: Option<String>,
}

impl Validators {
    fn of(answer: &Answer) -> Self {
        let header = |name| answer.head.header(name).filter(|value| value.len() <= MOST_VALIDATOR_BYTES);
        // A file can change again in the second that it was read in, and its date stays.
        let modified = header("last-modified").filter(|date| header("date").is_some_and(|now| now != *date));
        Self { etag: header("etag").map(str::to_owned), modified: modified.map(str::to_owned) }
    }

    /// They are those of another state, as far as both say.
    fn differ(&self, other: &Self) -> bool {
        match ((&self.etag, &other.etag), (&self.modified, &other.modified)) {
            ((Some(one), Some(other)), _) | (_, (Some(one), Some(other))) => one != other,
            _ => false,
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) validators: Validators,
    pub(super) has_ranges: bool,
    /// Where the last line that had an end ends.
    pub(super) offset: u64,
    /// The last [`CHECKED_BYTES`] before `offset`; empty while there is no range to ask for.
    pub(super) tail: Vec<u8>,
    /// How far the page was read, its last line included.
    pub(super) read_to: u64,
    /// How long the file was then, as far as it is known.
    pub(super) total: u64,
    /// How often in a row there was no range.
    pub(super) refused: u8,
    /// How many whole pages were asked for since then.
    pub(super) rests: u8,
    /// The whole page is longer than an answer may be.
    pub(super) is_over: bool,
    /// What is from there on was longer than an answer may be: so much of it is asked for at once, until its end is reached.
    pub(super) most: Option<u64>,
    /// There was a page, so that it is known whether it has ranges.
    pub(super) is_known: bool,
}

impl Place {
    /// What is to be asked for next.
    pub(super) fn next(&self, skips: bool) -> Asked {
        match self.offset.checked_sub(CHECKED_BYTES as u64) {
            Some(start) if self.can_range() && self.tail.len() == CHECKED_BYTES => Asked::From(start),
            _ if self.is_over && skips => Asked::End,
            _ if self.is_over => Asked::Start,
            _ => Asked::Whole,
        }
    }

    /// The headers for it, and whether it may be compressed. An answer may have `most` bytes.
    pub(super) fn ask(&self, asked: Asked, most: usize) -> (Vec<(String, String)>, bool) {
        let mut headers = Vec::new();
        match (&self.validators.etag, &self.validators.modified) {
            (Some(etag), _) => add_field(&mut headers, "If-None-Match", etag),
            (None, Some(date)) => add_field(&mut headers, "If-Modified-Since", date),
            (None, None) => {}
        }
        let range = match asked {
            Asked::Whole => None,
            Asked::From(start) => {
                let last = self.most.map(|most| start.saturating_add(most.saturating_sub(1)).to_string());
                Some(format!("bytes={start}-{}", last.unwrap_or_default()))
            }
            Asked::Start => Some(format!("bytes=0-{}", most.saturating_sub(1))),
            Asked::End => Some(format!("bytes=-{most}")),
        };
        if let Some(range) = &range {
            add_field(&mut headers, "Range", range);
        }
        (headers, self.is_known && !self.can_range())
    }

    fn can_range(&self) -> bool {
        self.is_over || self.has_ranges && self.has_patience()
    }

    fn has_patience(&self) -> bool {
        self.refused < MOST_REFUSED || self.rests >= RESTS
    }

    /// A whole page came, which is lines or is not.
    pub(super) fn is_whole(&mut self, answer: &Answer, is_lines: bool) {
        self.is_known = true;
        self.is_over = false;
        self.rests = self.rests.saturating_add(1);
        self.validators = Validators::of(answer);
        if is_plain(answer) {
            let ranges = answer.head.header("accept-ranges").unwrap_or_default();
            self.has_ranges = is_lines && is(ranges, "bytes");
        } else {
            self.has_ranges &= is_lines;
        }
        (self.offset, self.read_to) = (0, 0);
        self.tail = Vec::new();
        self.most = None;
        if self.has_ranges {
            self.read(0, &answer.body);
        }
    }

    /// An answer to the range from `start` on: where in its body is what was not read; `None` if it is not to be believed.
    pub(super) fn is_range(&mut self, answer: &Answer, start: u64, most: usize) -> Option<usize> {
        let range = ContentRange::of(answer.head.header("content-range")?)?;
        let end = start.checked_add(answer.body.len() as u64)?;
        let is_ours = range.start == start && range.last.checked_add(1)? == end;
        let total = range.total.unwrap_or(end);
        let validators = Validators::of(answer);
        // A file that was written anew may end as the old one did; but one that is too long to be read whole was only touched.
        let is_same = total > most as u64 || !validators.differ(&self.validators);
        let has_grown = total > self.read_to || total == self.read_to && is_same;
        if !is_ours || !has_grown || !answer.body.starts_with(&self.tail) {
            return None;
        }
        self.refused = 0;
        // Those of a file of which a part was not sent would hide that part.
        self.validators = if total == end { validators } else { Validators::default() };
        self.read(start, &answer.body);
        self.total = total;
        self.is_over = total > most as u64;
        if total == end {
            self.most = None;
        }
        Some(CHECKED_BYTES)
    }

    /// An answer to [`Asked::Start`] or [`Asked::End`]: where in the page its body begins; `None` if it is something else. From
    /// there on the page comes in parts.
    pub(super) fn is_edge(&mut self, answer: &Answer, asked: Asked, most: usize) -> Option<u64> {
        let range = ContentRange::of(answer.head.header("content-range")?)?;
        let end = range.start.checked_add(answer.body.len() as u64)?;
        let total = range.total.unwrap_or(end);
        let is_ours = if asked == Asked::End { end == total } else { range.start == 0 };
        if !is_ours || range.last.checked_add(1)? != end {
            return None;
        }
        (self.is_known, self.has_ranges) = (true, true);
        (self.offset, self.tail) = (0, Vec::new());
        self.read(range.start, &answer.body);
        self.total = total;
        self.is_over = total > most as u64;
        self.most = (total > end).then_some(most as u64);
        self.validators = if total == end { Validators::of(answer) } else { Validators::default() };
        Some(range.start)
    }

    /// Whether the page goes on behind what was read of it.
    pub(super) fn has_more(&self) -> bool {
        self.read_to < self.total
    }

    /// Whether a part of a page that is too long had nothing to go on from. Then it is as if it had not come.
    pub(super) fn is_lost(&mut self) -> bool {
        let is_lost = self.is_over && self.tail.is_empty();
        if is_lost {
            (self.is_over, self.most, self.validators) = (false, None, Validators::default());
        }
        is_lost
    }

    /// The whole page is longer than an answer may be. Whether it is worth asking for parts.
    pub(super) fn has_parts(&mut self) -> bool {
        self.rests = self.rests.saturating_add(1);
        let may_have = self.has_ranges || !self.is_known;
        self.is_over = may_have && (!self.tail.is_empty() || self.has_patience());
        self.is_over
    }

    fn read(&mut self, start: u64, body: &[u8]) {
        self.read_to = start.saturating_add(body.len() as u64);
        let Some(newline) = memchr::memrchr(b'\n', body) else { return };
        self.offset = start.saturating_add(newline as u64 + 1);
        let first = (newline + 1).saturating_sub(CHECKED_BYTES);
        let tail = body.get(first..=newline).filter(|tail| tail.len() == CHECKED_BYTES);
        self.tail = tail.map(<[u8]>::to_vec).unwrap_or_default();
    }

    /// What is from there on is longer than an answer may be. Whether parts of so many bytes are asked for from now on: not if
    /// they are already.
    pub(super) fn is_in_parts(&mut self, most: usize) -> bool {
        self.most.replace(most as u64).is_none()
    }

    /// There was no range, or none that was believed: the next request is for the whole page, whatever it is.
    pub(super) fn is_refused(&mut self) {
        self.refused = self.refused.saturating_add(1);
        self.rests = 0;
        self.is_over &= self.has_patience();
        self.validators = Validators::default();
        self.tail = Vec::new();
        self.most = None;
    }

    /// Bytes of memory.
    pub(super) fn held(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
        self.tail.capacity() + text(&self.validators.etag) + text(&self.validators.modified)
    }
}

/// The body came as it is.
#[inline(never)] // for size
fn is_plain(answer: &Answer) -> bool {
    answer.head.header("content-encoding").is_none_or(|coding| is(coding, "identity"))
}

/// `bytes 100-199/200`.
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    start: u64,
    last: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn of(value: &str) -> Option<Self> {
        let (unit, rest) = value.as_bytes().trim_ascii().split_at_checked(6)?;
        let mut rest = rest.trim_ascii_start();
        let start = number_before(&mut rest, Some(b'-'))?;
        let last = number_before(&mut rest, Some(b'/'))?;
        let total = if rest == b"*" { None } else { Some(number_before(&mut rest, None)?) };
        let is_sound = start <= last && total.is_none_or(|total| last < total);
        (unit.eq_ignore_ascii_case(b"bytes ") && is_sound).then_some(Self { start, last, total })
    }
}

/// Takes a number, and what is behind it: a byte, or the end.
#[inline(never)] // for size
fn number_before(text: &mut &[u8], end: Option<u8>) -> Option<u64> {
    let mut number: Option<u64> = None;
    loop {
        let Some((first, rest)) = text.split_first() else { return number.filter(|_| end.is_none()) };
        *text = rest;
        if Some(*first) == end {
            return number;
        }
        let digit = first.is_ascii_digit().then(|| u64::from(first - b'0'))?;
        number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_is_read_whole_or_not_at_all() {
        let range = |start, last, total| Some(ContentRange { start, last, total });
        for (value, expected) in [
            ("bytes 0-0/1", range(0, 0, Some(1))),
            ("Bytes 100-199/200", range(100, 199, Some(200))),
            ("bytes 100-199/*", range(100, 199, None)),
            ("bytes 100-200/200", None),
            ("bytes 3-2/10", None),
            ("bytes */200", None),
            ("bytes=0-1/2", None),
            ("lines 0-1/2", None),
            ("bytes 0-1", None),
            ("bytes 0-1/", None),
            ("bytes 0-1/2 ", range(0, 1, Some(2))),
            ("bytes 0-1/2x", None),
            ("bytes -/2", None),
            ("bytes -1/2", None),
            ("bytes 0-+1/2", None),
            ("bytes 0-18446744073709551616/*", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::of(value), expected, "{value}");
        }
    }
}
