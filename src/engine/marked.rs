//! Messages that end in a mark (`framing=nul`, `framing=cr`), translated in place: each mark becomes a `\n`, and a `\n` inside
//! a message what `--embedded-newline` says. Invariant: of a message nothing else changes.

use core::ops::Range;

use memchr::{memchr, memchr_iter};

use super::framing::{Fed, LineSink, Rules};
use super::line_framer::LineFramer;
use crate::config::limits::EmbeddedNewline;

/// What messages became in the buffer that they were read into.
pub(super) struct Moved {
    /// Where they are.
    pub(super) range: Range<usize>,
    /// How many `\n` they have, if it is known, and that each of them ends something.
    pub(super) lines: Option<u64>,
}

/// Translates the bytes of `buffer` from `start` on, where newlines are not kept.
pub(super) fn translate(buffer: &mut [u8], start: usize, rules: &Rules) -> Moved {
    let mut begin = start;
    let messages = buffer.get(start..).unwrap_or_default();
    if let Some(first) = memchr(b'\n', messages) {
        if rules.embedded_newline == EmbeddedNewline::Space {
            replace(buffer, start + first, b'\n', b' ');
        } else {
            begin = start.saturating_sub(memchr_iter(b'\n', messages).count());
            move_down(buffer, start..buffer.len(), begin, true, rules);
        }
    }
    replace(buffer, begin, rules.mark, b'\n');
    Moved { range: begin..buffer.len(), lines: None }
}

/// One byte for another, from a place on.
#[inline(never)] // one copy, for size
fn replace(buffer: &mut [u8], start: usize, from: u8, to: u8) {
    let bytes = buffer.get_mut(start..).unwrap_or_default();
    bytes.iter_mut().for_each(|byte| *byte = if *byte == from { to } else { *byte });
}

/// Gives each message away as it is, since it may hold newlines.
pub(super) fn walk<'c>(lines: &mut LineFramer, chunk: &'c [u8], rules: &Rules, out: &mut impl LineSink) -> Fed<'c> {
    let (mut fed, mut start) = (Fed::default(), 0);
    for end in memchr_iter(rules.mark, chunk) {
        lines.end_line(chunk.get(start..end).unwrap_or_default(), rules, out, &mut fed);
        start = end + 1;
    }
    fed.tail = lines.begin(chunk.get(start..).unwrap_or_default(), rules, out, &mut fed);
    fed.is_new = fed.tail.len() < chunk.len();
    fed
}

/// Moves a part of the buffer down to `to`, its newlines translated, if there may be any. Tells where it ends then: no
/// further down than there was room for, a byte for each newline.
#[inline(never)] // one copy, for size
pub(super) fn move_down(
    buffer: &mut [u8],
    part: Range<usize>,
    mut to: usize,
    may_have_newlines: bool,
    rules: &Rules,
) -> usize {
    let Range { mut start, end } = part;
    let translated: &[u8] = if rules.embedded_newline == EmbeddedNewline::Space { b" " } else { b"\\n" };
    while may_have_newlines && let Some(newline) = buffer.get(start..end).and_then(|rest| memchr(b'\n', rest)) {
        buffer.copy_within(start..start + newline, to);
        to += newline;
        if let Some(place) = buffer.get_mut(to..to + translated.len()) {
            place.copy_from_slice(translated);
        }
        to += translated.len();
        start += newline + 1;
    }
    buffer.copy_within(start..end, to);
    to + (end - start)
}
