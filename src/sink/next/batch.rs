//! The lines of one message to a stream: as many as fit, whole, of one segment of the spool. Invariant: what was taken is in the
//! payload, or told as too long.

use crate::nats::session::Wanted;
use crate::nats::{Lines, Segment};
use crate::sink::source::Piece;

/// A batch that is being made.
#[derive(Default)]
pub(super) struct Batch {
    /// Which lines it has; numbers between may be those of marks.
    pub(super) lines: Option<Lines>,
    /// How many there are in its payload.
    pub(super) count: u64,
    /// The number of a line that can never be sent, and how long it is.
    pub(super) too_long: Option<(u64, u64)>,
}

impl Batch {
    /// Takes a line, if it fits.
    pub(super) fn take(&mut self, piece: &Piece<'_>, wanted: &Wanted, payload: &mut Vec<u8>) -> bool {
        // A mark of what is gone is in no segment.
        let own = if piece.segment.0 > 0 { Some(segment(piece.segment)) } else { None };
        let before = self.lines.map(|lines| lines.segment).filter(|before| before.first > 0);
        // The message names but one segment, by which a copy of this spool is told.
        let is_other = own.is_some_and(|own| before.is_some_and(|before| before != own));
        if self.too_long.is_some() || is_other {
            return false;
        }
        let text = piece.bytes.strip_suffix(b"\n").unwrap_or(piece.bytes);
        if text.len() > wanted.most {
            if self.count > 0 {
                // What says so needs room, too.
                return false;
            }
            self.too_long = Some((piece.number, text.len() as u64));
        } else if self.count > 0 && payload.len() + 1 + text.len() > wanted.aim {
            return false;
        } else {
            self.append(piece.bytes, payload);
        }
        let first = self.lines.map_or(piece.number, |lines| lines.first);
        let segment = own.or(before).unwrap_or_default();
        self.lines = Some(Lines { first, last: piece.number, segment });
        true
    }

    /// Appends a line to the payload, without its end.
    pub(super) fn append(&mut self, line: &[u8], payload: &mut Vec<u8>) {
        let Some(text) = line.strip_suffix(b"\n") else { return };
        if self.count > 0 {
            payload.push(b'\n');
        }
        payload.extend_from_slice(text);
        self.count += 1;
    }
}

/// A segment, as a message names it.
pub(super) fn segment((first, salt): (u64, [u8; 16])) -> Segment {
    Segment { first, salt }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of pieces of these numbers and lengths, in these segments: what it took, and its payload.
    fn batch(pieces: &[(u64, usize, u64)], most: usize) -> (Vec<bool>, Batch, Vec<u8>) {
        let (mut batch, mut payload) = (Batch::default(), Vec::new());
        let wanted = Wanted { from: 1, aim: most, most };
        let took = pieces.iter().map(|(number, len, segment)| {
            let line = [&vec![b'x'; *len][..], b"\n"].concat();
            batch.take(
                &Piece { number: *number, segment: (*segment, [0; 16]), wall_ms: 0, peer: None, bytes: &line },
                &wanted,
                &mut payload,
            )
        });
        (took.collect(), batch, payload)
    }

    #[test]
    fn p29_a_line_that_never_fits_is_told_of_in_a_batch_of_its_own() {
        let (took, lines, payload) = batch(&[(1, 90, 1), (2, 101, 1), (3, 1, 1)], 100);
        assert_eq!((took, lines.too_long, payload.len()), (vec![true, false, true], None, 92));
        let (took, lines, payload) = batch(&[(2, 101, 1), (3, 1, 1)], 100);
        assert_eq!((took, lines.too_long, payload.len()), (vec![true, false], Some((2, 101)), 0));
    }

    #[test]
    fn p29_a_batch_is_whole_lines_of_one_segment_that_fit_but_for_one_that_is_alone() {
        let (took, lines, payload) = batch(&[(1, 40, 1), (2, 40, 1), (3, 40, 1)], 100);
        assert_eq!((took, payload.len(), lines.lines.unwrap().last), (vec![true, true, false], 81, 2));
        let (took, lines, _) = batch(&[(1, 4, 1), (2, 4, 0), (3, 4, 2)], 100);
        let lines = lines.lines.unwrap();
        assert_eq!((took, lines.first, lines.last, lines.segment.first), (vec![true, true, false], 1, 2, 1));
    }
}
