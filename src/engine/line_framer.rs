//! Bytes to lines: finds the ends of lines in each chunk and keeps the unfinished tail (P1-P4).
//! Invariant: `pending.len() <= max_line + 1` (a last `\r` may belong to the ending), and 0 in the skip state. A line
//! of which bytes were dropped is one gap, between the lines before it and those after it, as soon as it has ended.
//!
//! Most chunks are never split: the last newline is found, one pass counts the lines and finds that none of them has to
//! be changed, and all of them go out as one block. Only a chunk in which one has is worked through, in pieces: a piece
//! without such a line goes out as it is, short lines are copied together, and only the rest goes line by line.

use memchr::{memchr, memchr_iter, memrchr};

use super::framing::{Fed, Frame, LineSink, Lines, Place, Rules};
use super::gap::{Gap, Why};
use crate::config::limits::{EmbeddedNewline, LongLines};

/// The buffer of a pending line grows in multiples of this many bytes, to which allocators round anyway.
const ROUNDING: usize = 64;
/// Bytes that a step of [`count_lines`] compares: with 32 the compiler makes vector instructions of it, with 16 it does
/// not.
pub(super) const LANES: usize = 32;
/// Bytes after which the counts, one byte for each lane, are added up: none of them may overflow.
const PASS_BYTES: usize = 254 * LANES;
/// A block that can't go out as it is is worked through in pieces of so many bytes.
const PIECE_BYTES: usize = 2 * 1024;
/// If the lines of a piece are shorter than this on average, they are copied together instead of going out one by one.
const SHORT_BYTES: u64 = 32;

/// A line that has not ended. As large as a `Vec`: every connection has one.
#[derive(Debug)]
enum Line {
    /// What has come of it and has not gone out.
    Pending(Vec<u8>),
    /// It was dropped or cut: the rest of it is dropped as it comes, and its gap goes out when it has ended.
    Skipped {
        /// How many bytes of the line have come so far, also those that went out if it was cut. If it was dropped for
        /// the memory budget, those that were dropped then and all since. This tells when the line is longer than
        /// `max_buffer`, and how large the gap is. It stops at 4 GiB.
        passed_bytes: u32,
        why: Why,
        /// Its first `max_line` bytes went out.
        is_cut: bool,
    },
}

const _: () = assert!(size_of::<LineFramer>() <= 8 + size_of::<Vec<u8>>(), "every connection has one");

impl Default for Line {
    fn default() -> Self {
        Self::Pending(Vec::new())
    }
}

/// Finds the lines of one connection that end in `\n`, be it that the client sends them so or that another framing was
/// translated.
///
/// Attack: a client that never sends a newline makes a naive reader buffer for ever. This one holds at most
/// `max_line + 1` bytes, whatever comes.
#[derive(Debug)]
pub(super) struct LineFramer {
    line: Line,
    /// A part of this line went out already: if only its ending comes now, that is not an empty line.
    is_piece: bool,
    /// What the framing of the connection has to remember: it fits where else nothing would be.
    pub(super) frame: Frame,
}

impl LineFramer {
    /// That of a connection that has just come.
    pub(super) fn new(frame: Frame) -> Self {
        Self { line: Line::default(), is_piece: false, frame }
    }
}

/// Input: these methods take bytes or their end, and give lines to `out`.
impl LineFramer {
    /// Finds the lines of one chunk. The tail in the answer has to be given to [`Self::keep`] or [`Self::skip_with`]
    /// before the next. `counted`: how many `\n` it has, if that is known, and that there is something before each.
    #[inline(always)] // most servers have nothing else
    pub(super) fn feed<'c>(
        &mut self,
        chunk: &'c [u8],
        counted: Option<u64>,
        rules: &Rules,
        out: &mut impl LineSink,
    ) -> Fed<'c> {
        let mut fed = Fed::default();
        if self.pending() > rules.max_line && chunk.first().is_some_and(|byte| *byte != b'\n') {
            self.shorten_pending(rules, out, &mut fed);
        }
        let Some(last) = memrchr(b'\n', chunk) else {
            fed.tail = self.begin(chunk, rules, out, &mut fed);
            fed.is_new = fed.tail.len() < chunk.len();
            return fed;
        };
        let (block, tail) = chunk.split_at(last + 1);
        match self.count_if_clean(block, counted, rules) {
            Some((head, count)) => {
                let has_pending = !head.is_empty();
                out.lines(Lines { head, body: block, count, ended: true });
                fed.lines += count;
                if has_pending {
                    self.line = Line::default();
                }
                self.is_piece = false;
            }
            None => self.walk(block, rules, out, &mut fed),
        }
        if !tail.is_empty() {
            fed.tail = self.begin(tail, rules, out, &mut fed);
        }
        fed.is_new = true;
        fed
    }

    /// The pending bytes, and `rest` behind them, go out as a line, since its deadline has come or the client is told goodbye.
    /// What follows is a new line.
    ///
    /// If a line is being skipped, nothing is pending, and its gap does not go out yet: the line has not ended, and
    /// what still comes of it is dropped too. So each line has one gap, with all its bytes.
    pub(super) fn flush_pending(&mut self, rest: &[u8], rules: &Rules, out: &mut impl LineSink) -> Fed<'static> {
        let mut fed = Fed::default();
        self.emit_pending(rest, rules, out, &mut fed);
        self.is_piece |= fed.unterminated > 0 && !self.is_skipping();
        fed
    }

    /// The connection has ended: the pending bytes, and `rest` behind them, go out as a line (P2), and a line that was being
    /// skipped as a gap.
    pub(super) fn finish(&mut self, rest: &[u8], rules: &Rules, out: &mut impl LineSink) -> Fed<'static> {
        let mut fed = Fed::default();
        self.emit_pending(rest, rules, out, &mut fed);
        if let Line::Skipped { passed_bytes, why, is_cut } = std::mem::take(&mut self.line) {
            out.gap(gap(passed_bytes, why, is_cut, rules));
        }
        self.is_piece = false;
        fed
    }

    /// The pending bytes, and `rest` behind them, go out as a line. A `\r` at their end belongs to it, as no `\n` follows.
    fn emit_pending(&mut self, rest: &[u8], rules: &Rules, out: &mut impl LineSink, fed: &mut Fed<'static>) {
        if self.pending() > rules.max_line {
            self.shorten_pending(rules, out, fed);
        }
        let tail = self.begin(rest, rules, out, fed);
        fed.unterminated += fed.cut;
        let pending = self.take_pending();
        if !pending.is_empty() || !tail.is_empty() {
            emit(&pending, tail, fed, out);
            fed.unterminated += 1;
        }
    }
}

/// Keeping: what stays between chunks, and who gives it up.
impl LineFramer {
    /// What [`Self::held`] will be once a tail of `tail_len` bytes has been kept: exact at first, then growing by a
    /// quarter, and never more than the longest line needs.
    pub(super) fn capacity_with(&self, tail_len: usize, rules: &Rules) -> usize {
        let need = self.pending().saturating_add(tail_len);
        let held = self.held();
        if need <= held {
            return held;
        }
        let grown = if held == 0 { need } else { need.max(held + held / 4) };
        let most = round_up(rules.max_line + 1);
        round_up(grown).min(most).max(round_up(need))
    }

    /// Keeps the tail of the last chunk.
    pub(super) fn keep(&mut self, tail: &[u8], rules: &Rules) {
        let capacity = self.capacity_with(tail.len(), rules);
        let Line::Pending(pending) = &mut self.line else { return };
        if capacity > pending.capacity() {
            // Not by growing in place: glibc keeps the piece that is left over then at hand where it lies, and what is
            // below it does not go back to the system. 13 of 16 MiB stayed after 900 hoarders had left.
            let mut grown = Vec::with_capacity(capacity);
            grown.extend_from_slice(pending);
            *pending = grown;
        }
        pending.extend_from_slice(tail);
    }

    /// Forgets what is pending: it was no part of a line.
    pub(super) fn forget(&mut self) {
        self.line = Line::default();
    }

    /// Other rules hold from now on. A newline inside what is pending, where the new ones let none stay, becomes a space: what
    /// it else would become may have no room.
    pub(super) fn obey(&mut self, rules: &Rules) {
        let Line::Pending(pending) = &mut self.line else { return };
        while let Some(newline) = memchr(b'\n', pending).filter(|_| rules.embedded_newline != EmbeddedNewline::Keep) {
            pending.get_mut(newline).into_iter().for_each(|byte| *byte = b' ');
        }
    }

    /// Drops what is pending, and a tail that was not kept yet, for the memory budget: the rest of the line will be
    /// skipped, and then be a gap. Tells how many bytes were dropped.
    pub(super) fn skip_with(&mut self, tail: &[u8]) -> u64 {
        let dropped = self.pending() as u64 + tail.len() as u64;
        self.line = Line::Skipped { passed_bytes: saturated(dropped), why: Why::Memory, is_cut: false };
        dropped
    }
}

/// Answers.
impl LineFramer {
    /// Bytes of the line whose `\n` has not come yet.
    #[inline]
    pub(super) fn pending(&self) -> usize {
        self.pending_bytes().len()
    }

    /// These bytes.
    #[inline]
    pub(super) fn pending_bytes(&self) -> &[u8] {
        match &self.line {
            Line::Pending(pending) => pending,
            Line::Skipped { .. } => &[],
        }
    }

    /// Bytes of memory that hold them: what the budget counts.
    pub(super) fn held(&self) -> usize {
        match &self.line {
            Line::Pending(pending) => pending.capacity(),
            Line::Skipped { .. } => 0,
        }
    }

    /// Whether the rest of a line that was dropped or cut is still coming.
    pub(super) fn is_skipping(&self) -> bool {
        matches!(self.line, Line::Skipped { .. })
    }

    /// Asserts what must hold between chunks.
    pub(super) fn check(&self, rules: &Rules) {
        let pending = self.pending_bytes();
        assert!(pending.len() <= rules.max_line + 1, "1. pending is at most one line and a `\\r` (P4)");
        let may_be_ending = self.strips_cr() && pending.last() == Some(&b'\r');
        assert!(pending.len() <= rules.max_line || may_be_ending, "2. only a `\\r` is more");
        assert!(!pending.is_empty() || self.held() == 0, "3. nothing pending, no buffer (P5)");
        let may_have_newline = rules.embedded_newline == EmbeddedNewline::Keep && self.frame.place != Place::Lines;
        assert!(may_have_newline || memchr(b'\n', pending).is_none(), "4. pending has no newline");
    }

    /// Takes what is pending. A line that is being skipped has nothing, and is skipped on.
    fn take_pending(&mut self) -> Vec<u8> {
        match &mut self.line {
            Line::Pending(pending) => std::mem::take(pending),
            Line::Skipped { .. } => Vec::new(),
        }
    }

    /// Whether a `\r` before a newline belongs to the ending.
    fn strips_cr(&self) -> bool {
        self.frame.place == Place::Lines
    }
}

impl LineFramer {
    /// What is pending, and how many lines `block`, which ends in `\n`, holds with it, if all of it can go out as it is.
    #[inline(always)] // each read comes here
    fn count_if_clean(&self, block: &[u8], counted: Option<u64>, rules: &Rules) -> Option<(&[u8], u64)> {
        let Line::Pending(pending) = &self.line else { return None };
        if self.is_piece && rules.keep_empty {
            return None;
        }
        if block.first() == Some(&b'\n') {
            if pending.last() == Some(&b'\r') && self.strips_cr() {
                return None;
            }
            if !rules.keep_empty && pending.is_empty() {
                return None;
            }
        }
        if has_long_line(pending.len(), block, rules.max_line) {
            return None;
        }
        let (count, is_clean) = match counted {
            Some(count) => (count, true),
            None => count_lines(block, self.strips_cr(), !rules.keep_empty),
        };
        is_clean.then_some((pending, count))
    }

    /// Works through `block`, which ends in `\n` and can't go out as it is, piece by piece: one line that has to be
    /// changed slows down only its neighbours, and no client finds bytes that cost much more than others.
    fn walk(&mut self, mut block: &[u8], rules: &Rules, out: &mut impl LineSink, fed: &mut Fed<'_>) {
        while !block.is_empty() {
            let window = block.get(..PIECE_BYTES).unwrap_or(block);
            let is_at_start = matches!(&self.line, Line::Pending(pending) if pending.is_empty()) && !self.is_piece;
            match memrchr(b'\n', window).filter(|_| is_at_start) {
                Some(last) => {
                    let (piece, after) = block.split_at(last + 1);
                    self.walk_piece(piece, rules, out, fed);
                    block = after;
                }
                None => {
                    let Some(newline) = memchr(b'\n', block) else { return };
                    let (line, after) = block.split_at(newline);
                    self.end_line(line, rules, out, fed);
                    block = after.get(1..).unwrap_or_default();
                }
            }
        }
    }

    /// Works through whole lines of at most [`PIECE_BYTES`] together; nothing is pending.
    fn walk_piece(&mut self, piece: &[u8], rules: &Rules, out: &mut impl LineSink, fed: &mut Fed<'_>) {
        let strips_cr = self.strips_cr();
        if !has_long_line(0, piece, rules.max_line) {
            let starts_empty = !rules.keep_empty && piece.first() == Some(&b'\n');
            // If the first line ends in `\r\n`, all of them most likely do.
            let (count, is_clean) = match memchr(b'\n', piece).filter(|_| strips_cr) {
                Some(end) if end > 0 && piece.get(end - 1) == Some(&b'\r') => {
                    (memchr_iter(b'\n', piece).count() as u64, false)
                }
                _ => count_lines(piece, strips_cr, !rules.keep_empty),
            };
            if is_clean && !starts_empty {
                out.lines(Lines { head: &[], body: piece, count, ended: true });
                fed.lines += count;
                return;
            }
            if (piece.len() as u64) < count * SHORT_BYTES {
                return squeeze(piece, strips_cr, rules.keep_empty, fed, out);
            }
        }
        let mut start = 0;
        for newline in memchr_iter(b'\n', piece) {
            let line = piece.get(start..newline).unwrap_or_default();
            start = newline + 1;
            let content = if strips_cr { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
            if content.len() > rules.max_line {
                self.end_line(line, rules, out, fed);
            } else if !content.is_empty() || rules.keep_empty {
                emit(&[], content, fed, out);
            }
        }
    }

    /// The line that is pending ends with `line`: its `\n` has come.
    pub(super) fn end_line(&mut self, line: &[u8], rules: &Rules, out: &mut impl LineSink, fed: &mut Fed<'_>) {
        let mut is_piece = std::mem::take(&mut self.is_piece);
        let pending = match std::mem::take(&mut self.line) {
            Line::Pending(pending) => pending,
            Line::Skipped { passed_bytes, why, is_cut } => {
                let passed_bytes = pass_by(passed_bytes, line.len(), rules, fed);
                return out.gap(gap(passed_bytes, why, is_cut, rules));
            }
        };
        let strips_cr = self.strips_cr();
        let (mut head, mut rest) = if strips_cr { without_cr(&pending, line) } else { (pending.as_slice(), line) };
        if head.len() + rest.len() > rules.max_line {
            rest = shorten(head, rest, rules, out, fed);
            if rules.long_lines != LongLines::Split {
                let has_cr = line.last() == Some(&b'\r') || (line.is_empty() && pending.last() == Some(&b'\r'));
                fed.dropped_bytes += u64::from(strips_cr && has_cr);
                let passed_bytes = note_overflow(0, pending.len() + line.len(), rules, fed);
                return out.gap(gap(passed_bytes, Why::TooLong, rules.cuts(), rules));
            }
            (head, is_piece) = (&[], true);
        }
        let is_empty = head.is_empty() && rest.is_empty();
        if !is_empty || (rules.keep_empty && !is_piece) {
            emit(head, rest, fed, out);
        }
    }

    /// The start of a line, or more of it, has come without its `\n`. The answer is what has to be kept of it: all, or if
    /// the line is too long, less.
    #[inline(always)] // each read comes here
    pub(super) fn begin<'c>(
        &mut self,
        bytes: &'c [u8],
        rules: &Rules,
        out: &mut impl LineSink,
        fed: &mut Fed<'_>,
    ) -> &'c [u8] {
        match &self.line {
            Line::Pending(pending) if pending.len() + bytes.len() <= rules.max_line => bytes,
            _ => self.begin_long(bytes, rules, out, fed),
        }
    }

    #[inline(never)]
    fn begin_long<'c>(
        &mut self,
        bytes: &'c [u8],
        rules: &Rules,
        out: &mut impl LineSink,
        fed: &mut Fed<'_>,
    ) -> &'c [u8] {
        if let Line::Skipped { passed_bytes, .. } = &mut self.line {
            *passed_bytes = pass_by(*passed_bytes, bytes.len(), rules, fed);
            return &[];
        }
        if bytes.is_empty() {
            return bytes; // Nothing has come, so a `\r` that is pending may still belong to the ending.
        }
        // The last byte may be the `\r` of an ending, which doesn't count towards the cap.
        let certain = bytes.len() - usize::from(self.strips_cr() && bytes.last() == Some(&b'\r'));
        if self.pending() + certain <= rules.max_line {
            return bytes;
        }
        let pending = self.take_pending();
        let (certain, cr) = bytes.split_at(certain);
        let rest = shorten(&pending, certain, rules, out, fed);
        if rules.long_lines == LongLines::Split {
            self.is_piece = true;
            bytes.get(bytes.len() - rest.len() - cr.len()..).unwrap_or_default()
        } else {
            fed.dropped_bytes += cr.len() as u64;
            let passed_bytes = note_overflow(0, pending.len() + bytes.len(), rules, fed);
            self.line = Line::Skipped { passed_bytes, why: Why::TooLong, is_cut: rules.cuts() };
            &[]
        }
    }

    /// All that comes of this connection is dropped from now on, for this reason; so many bytes have come already.
    pub(super) fn drop_all(&mut self, bytes: usize, why: Why, fed: &mut Fed<'_>) {
        let before = match self.line {
            Line::Skipped { passed_bytes, .. } => passed_bytes,
            Line::Pending(_) => 0,
        };
        fed.dropped_bytes += bytes as u64;
        let passed_bytes = saturated(u64::from(before) + bytes as u64);
        self.line = Line::Skipped { passed_bytes, why, is_cut: false };
    }

    /// `pending` may be one byte longer than `max_line`, if its last is a `\r`, which might have belonged to the line's
    /// ending. What follows is no `\n`, so it did not, and the line is too long.
    #[inline(never)] // few reads come here
    fn shorten_pending(&mut self, rules: &Rules, out: &mut impl LineSink, fed: &mut Fed<'_>) {
        let pending = self.take_pending();
        let rest = shorten(&[], &pending, rules, out, fed);
        if rules.long_lines == LongLines::Split {
            self.keep(rest, rules);
            self.is_piece = true;
        } else {
            let passed_bytes = saturated(pending.len() as u64);
            self.line = Line::Skipped { passed_bytes, why: Why::TooLong, is_cut: rules.cuts() };
        }
    }
}

/// Whether a line of the block, the first behind so many bytes of it, is longer than `max_line`. Not every newline has to be
/// found for that: within the `max_line + 1` bytes behind one newline there has to be another, and the search goes on behind
/// the last of those.
fn has_long_line(pending: usize, block: &[u8], max_line: usize) -> bool {
    let mut room = max_line.saturating_sub(pending);
    let mut rest = block;
    while rest.len() > room + 1 {
        let Some(newline) = rest.get(..=room).and_then(|window| memrchr(b'\n', window)) else { return true };
        rest = rest.get(newline + 1..).unwrap_or_default();
        room = max_line;
    }
    false
}

/// Does with `head` and `rest`, a line longer than `max_line`, what `long_lines` says. With `split`, the answer is the
/// end of `rest`, the last part of the line, which has still to go out; it is empty only if there is no more.
fn shorten<'c>(head: &[u8], rest: &'c [u8], rules: &Rules, out: &mut impl LineSink, fed: &mut Fed<'_>) -> &'c [u8] {
    let (piece, mut after) = rest.split_at(rules.max_line.saturating_sub(head.len()).min(rest.len()));
    match rules.long_lines {
        LongLines::Skip => {
            fed.skipped += 1;
            fed.dropped_bytes += (head.len() + rest.len()) as u64;
        }
        LongLines::Cut => {
            emit(head, piece, fed, out);
            fed.cut += 1;
            fed.dropped_bytes += after.len() as u64;
        }
        LongLines::Split => {
            emit(head, piece, fed, out);
            while after.len() > rules.max_line {
                let (piece, more) = after.split_at(rules.max_line);
                emit(&[], piece, fed, out);
                after = more;
            }
            return after;
        }
    }
    fed.too_long += 1;
    &[]
}

/// Bytes of a dropped line have come; tells how many that makes.
fn pass_by(passed_bytes: u32, len: usize, rules: &Rules, fed: &mut Fed<'_>) -> u32 {
    fed.dropped_bytes += len as u64;
    note_overflow(passed_bytes, len, rules, fed)
}

/// Tells how long a line is, now that `len` more bytes have come. When that passes `max_buffer`, it is counted, once
/// (P4).
fn note_overflow(passed_bytes: u32, len: usize, rules: &Rules, fed: &mut Fed<'_>) -> u32 {
    let now_passed = saturated(u64::from(passed_bytes) + len as u64);
    fed.overflows += u32::from(passed_bytes <= rules.max_buffer && now_passed > rules.max_buffer);
    now_passed
}

/// The gap of a line that has ended. If it was cut, its start went out, and is not missing.
fn gap(passed_bytes: u32, why: Why, is_cut: bool, rules: &Rules) -> Gap {
    let kept_bytes = if is_cut { rules.max_line as u64 } else { 0 };
    Gap { lines: 1, bytes: u64::from(passed_bytes).saturating_sub(kept_bytes), why }
}

/// As 32 bits, which are enough to tell whether a line is longer than `max_buffer` (`Limits::validate`).
fn saturated(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// One line whose `\n` is not beside it.
fn emit(head: &[u8], body: &[u8], fed: &mut Fed<'_>, out: &mut impl LineSink) {
    out.lines(Lines { head, body, count: 1, ended: false });
    fed.lines += 1;
}

/// Counts the lines of a block that ends in `\n`, and tells whether none, if `if_cr`, ends in `\r\n` or, if `if_empty`, is
/// empty, the first left out: what was before it is not here. The count ends within 8 KiB of the first that is. One pass that
/// the compiler makes vector instructions of: each byte beside the one before it.
fn count_lines(block: &[u8], if_cr: bool, if_empty: bool) -> (u64, bool) {
    let Some((_, before)) = block.split_last() else { return (0, true) };
    let Some((first, after)) = block.split_first() else { return (0, true) };
    // Most clients send a line at a time.
    if memchr(b'\n', before).is_none() {
        return (1, !if_cr || before.last() != Some(&b'\r'));
    }
    let (cr_before, newline_before) = match (if_cr, if_empty) {
        (true, true) => (b'\r', b'\n'),
        (true, false) => (b'\r', b'\r'),
        (false, true) => (b'\n', b'\n'),
        (false, false) => return (memchr_iter(b'\n', block).count() as u64, true),
    };
    let mut count = u64::from(*first == b'\n');
    for (before, after) in before.chunks(PASS_BYTES).zip(after.chunks(PASS_BYTES)) {
        let (mut counts, mut is_bad) = ([0; LANES], [0; LANES]);
        let mut compare = |before: &[u8; LANES], after: &[u8; LANES]| {
            for lane in 0..LANES {
                let newline = u8::from(after[lane] == b'\n');
                counts[lane] += newline;
                is_bad[lane] |= newline & u8::from((before[lane] == cr_before) | (before[lane] == newline_before));
            }
        };
        let (before, before_rest) = before.as_chunks();
        let (after, after_rest) = after.as_chunks();
        before.iter().zip(after).for_each(|(before, after)| compare(before, after));
        compare(&padded(before_rest), &padded(after_rest));
        count += counts.iter().map(|lane| u64::from(*lane)).sum::<u64>();
        if is_bad != [0; LANES] {
            return (count, false);
        }
    }
    (count, true)
}

/// Fewer bytes than there are lanes, with zeros behind them.
fn padded(rest: &[u8]) -> [u8; LANES] {
    let mut lanes = [0; LANES];
    if let Some(part) = lanes.get_mut(..rest.len()) {
        part.copy_from_slice(rest);
    }
    lanes
}

/// Copies lines together, without their `\r` if `drops_cr` and, unless `keep_empty`, without the empty ones, and sends them out as
/// one block. Which bytes stay is decided without a branch, so that no client finds bytes that cost more than others.
fn squeeze(piece: &[u8], drops_cr: bool, keep_empty: bool, fed: &mut Fed<'_>, out: &mut impl LineSink) {
    // The piece, with the ending before it and a byte behind it.
    let mut window = [b'\n'; PIECE_BYTES + 3];
    let (mut stays, mut squeezed) = ([0_u8; PIECE_BYTES], [0_u8; PIECE_BYTES]);
    let Some(inside) = window.get_mut(2..2 + piece.len()) else { return };
    inside.copy_from_slice(piece);
    let from = |at| window.get(at..).unwrap_or_default();
    let neighbours = from(0).iter().zip(from(1)).zip(from(2)).zip(from(3));
    let (drops_cr, drops_empty) = (u8::from(drops_cr), u8::from(!keep_empty));
    for (stays, (((second_before, before), byte), after)) in stays.iter_mut().take(piece.len()).zip(neighbours) {
        let is_cr = u8::from(*byte == b'\r') & u8::from(*after == b'\n') & drops_cr;
        let follows_cr = u8::from(*before == b'\r') & u8::from(*second_before == b'\n') & drops_cr;
        let follows_ending = u8::from(*before == b'\n') | follows_cr;
        let is_empty = u8::from(*byte == b'\n') & follows_ending & drops_empty;
        *stays = 1 - (is_cr | is_empty);
    }
    let mut len = 0;
    for (byte, stays) in piece.iter().zip(&stays) {
        if let Some(place) = squeezed.get_mut(len) {
            *place = *byte;
        }
        len += usize::from(*stays);
    }
    let body = squeezed.get(..len).unwrap_or_default();
    if !body.is_empty() {
        let count = memchr_iter(b'\n', body).count() as u64;
        out.lines(Lines { head: &[], body, count, ended: true });
        fed.lines += count;
    }
}

/// A line without the one `\r` right before its `\n`, which is in `rest`, or in `head` if `rest` is empty.
fn without_cr<'h, 'r>(head: &'h [u8], rest: &'r [u8]) -> (&'h [u8], &'r [u8]) {
    match (rest.strip_suffix(b"\r"), head.strip_suffix(b"\r")) {
        (Some(rest), _) => (head, rest),
        (None, Some(head)) if rest.is_empty() => (head, rest),
        _ => (head, rest),
    }
}

const fn round_up(bytes: usize) -> usize {
    bytes.div_ceil(ROUNDING) * ROUNDING
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::Limits;
    use crate::config::listen::Framing;

    #[derive(Default)]
    struct Gaps(Vec<Gap>);

    impl LineSink for Gaps {
        fn lines(&mut self, _: Lines<'_>) {}

        fn gap(&mut self, gap: Gap) {
            self.0.push(gap);
        }
    }

    #[test]
    fn p4_a_line_of_more_than_32_bits_counts_as_their_most_and_is_one_gap_and_no_second_overflow() {
        for (long_lines, kept) in [(LongLines::Skip, 0), (LongLines::Cut, 10)] {
            let limits = Limits { max_line: 10, max_buffer: 20, long_lines, ..Limits::default() };
            let (rules, mut out) = (Rules::new(&limits, Framing::Lines), Gaps::default());
            let line = Line::Skipped { passed_bytes: u32::MAX - 2, why: Why::TooLong, is_cut: kept > 0 };
            let mut framer = LineFramer { line, ..LineFramer::new(Frame::new(Framing::Lines)) };
            for chunk in [&b"xxxx"[..], b"xxxx\n"] {
                let fed = framer.feed(chunk, None, &rules, &mut out);
                assert_eq!((fed.dropped_bytes, fed.overflows), (4, 0), "the counters go on");
            }
            let bytes = u64::from(u32::MAX) - kept;
            assert_eq!(out.0, [Gap { lines: 1, bytes, why: Why::TooLong }]);
        }
    }
}
