//! A buffer of bytes that wait to be written, in order. Invariant: what a write took is never in [`Waiting::bytes`] again,
//! and an empty buffer has no more than the capacity that it was made with.

use std::io::IoSlice;

/// A block of whole lines, in three parts that follow each other; any of them may be empty. A line may begin in one part
/// and end in the next.
pub(super) type Parts<'a> = [&'a [u8]; 3];

/// Bytes of a block.
pub(super) fn len_of(parts: Parts<'_>) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// Lines of a block: each has its `\n`.
pub(super) fn lines_in(parts: Parts<'_>) -> u64 {
    parts.iter().map(|part| memchr::memchr_iter(b'\n', part).count() as u64).sum()
}

/// The buffer.
pub(super) struct Waiting {
    buffer: Vec<u8>,
    /// How much of `buffer` has been written.
    written: usize,
    /// The capacity that the buffer shrinks to when it is empty.
    kept: usize,
}

impl Waiting {
    /// An empty one that keeps room for `kept` bytes.
    pub(super) fn new(kept: usize) -> Self {
        Self { buffer: Vec::with_capacity(kept), written: 0, kept }
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len() - self.written
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.written..).unwrap_or_default()
    }

    /// Where more is appended.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Bytes that were written wait again, before all others.
    pub(super) fn prepend(&mut self, bytes: &[u8]) {
        let mut buffer = Vec::with_capacity(bytes.len() + self.len());
        buffer.extend_from_slice(bytes);
        buffer.extend_from_slice(self.bytes());
        (self.buffer, self.written) = (buffer, 0);
    }

    /// A write took the first `count` bytes.
    pub(super) fn advance(&mut self, count: usize) {
        self.written += count;
        if self.written >= self.buffer.len() {
            self.written = 0;
            self.buffer.clear();
            // It is asked for with each line, and makes a call of it.
            if self.buffer.capacity() > self.kept {
                self.buffer.shrink_to(self.kept);
            }
        } else if self.written >= self.kept.max(64 * 1024) / 2 && self.written * 2 >= self.buffer.len() {
            // Half of the buffer is behind us: moving the rest costs no more than writing it did.
            self.buffer.drain(..self.written);
            self.written = 0;
        }
    }

    /// Writes what waits and `parts` behind it, by one call of `write`, which returns how many bytes it wrote. The rest waits.
    pub(super) fn write_through(&mut self, parts: Parts<'_>, write: impl FnOnce(&[IoSlice<'_>]) -> usize) {
        let waiting = self.bytes();
        let waiting_len = waiting.len();
        let [first, second, third] = parts;
        let mut taken = write(&[waiting, first, second, third].map(IoSlice::new));
        self.advance(taken.min(waiting_len));
        taken = taken.saturating_sub(waiting_len);
        for part in parts {
            let rest = part.get(taken..).unwrap_or_default();
            taken = taken.saturating_sub(part.len());
            self.buffer.extend_from_slice(rest);
        }
    }

    /// Drops all that waits, and answers how many lines and bytes that were.
    pub(super) fn drop_all(&mut self) -> (u64, usize) {
        let dropped = (memchr::memchr_iter(b'\n', self.bytes()).count() as u64, self.len());
        self.buffer.clear();
        self.buffer.shrink_to(self.kept);
        self.written = 0;
        dropped
    }

    /// Drops all lines that wait but the first, which may have been written in part. Returns how many lines and bytes it
    /// dropped.
    pub(super) fn drop_lines(&mut self) -> (u64, usize) {
        let first = memchr::memchr(b'\n', self.bytes()).map_or(self.len(), |end| end + 1);
        let rest = self.bytes().get(first..).unwrap_or_default();
        let dropped = (memchr::memchr_iter(b'\n', rest).count() as u64, rest.len());
        self.buffer.truncate(self.written + first);
        self.buffer.shrink_to(self.kept);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that keeps room for 16 bytes, and got these lines.
    fn with(lines: &[u8]) -> Waiting {
        let mut waiting = Waiting::new(16);
        waiting.end().extend_from_slice(lines);
        waiting
    }

    #[test]
    fn p8_what_a_write_took_waits_no_more() {
        let mut waiting = with(b"one\ntwo\n");
        waiting.advance(5);
        assert_eq!((waiting.bytes(), waiting.len()), (&b"wo\n"[..], 3));
        waiting.end().extend_from_slice(b"3\n");
        waiting.advance(5);
        assert_eq!((waiting.bytes(), waiting.len(), waiting.written), (&b""[..], 0, 0));
    }

    #[test]
    fn p1_a_write_may_take_any_number_of_what_waits_and_of_the_parts_behind_it() {
        let whole = b"one\ntwo\nthree\n4\n";
        for taken in 0..=whole.len() {
            let mut waiting = with(b"_one\n");
            waiting.advance(1);
            waiting.write_through([b"two\n", b"three\n", b"4\n"], |slices| {
                assert_eq!(slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>(), whole);
                taken
            });
            assert_eq!(waiting.bytes(), &whole[taken..], "after {taken} bytes");
        }
    }

    #[test]
    fn p5_half_of_a_large_buffer_that_was_written_is_moved_out_and_an_empty_one_shrinks() {
        let mut waiting = with(&[b'x'; 70_000]);
        // Less than half of 64 KiB; then less than half of the buffer; then half.
        for (more, written) in [(32_767, 32_767), (2_232, 34_999), (1, 0)] {
            waiting.advance(more);
            assert_eq!(waiting.written, written);
        }
        assert_eq!(waiting.len(), 35_000);
        waiting.advance(32_767);
        assert_eq!(waiting.written, 32_767, "more than half, but little");
        waiting.advance(3_000);
        assert_eq!((waiting.len(), waiting.buffer.capacity()), (0, 16));
        let mut keeps_much = Waiting::new(100_000);
        keeps_much.end().extend_from_slice(&[b'x'; 90_000]);
        keeps_much.advance(49_999);
        assert_eq!(keeps_much.written, 49_999, "half of what it keeps is more");
        keeps_much.advance(1);
        assert_eq!(keeps_much.written, 0);
    }

    #[test]
    fn p8_what_is_dropped_is_whole_lines_behind_the_first() {
        let mut waiting = with(b"one\ntwo\n3\n");
        waiting.advance(2);
        assert_eq!((waiting.drop_lines(), waiting.bytes()), ((2, 6), &b"e\n"[..]));
        assert_eq!(waiting.drop_lines(), (0, 0));
        let mut half = with(b"no end");
        assert_eq!((half.drop_lines(), half.bytes()), ((0, 0), &b"no end"[..]));
    }
}
