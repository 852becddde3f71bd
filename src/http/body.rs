//! The body of an answer, out of bytes in any pieces: by its length, in chunks (RFC 9112, 7.1), or until the connection ends.
//! Invariant: no more memory than `most` bytes, and what is not wanted of it (extensions, trailers) is passed over, bounded.

use super::head::Framing;
use super::trouble::Trouble;

/// The most bytes of extensions and trailers of one body. Nobody sends any.
const MOST_EXTRA_BYTES: usize = 16 * 1024;
const NO_CHUNK: Trouble = Trouble::Malformed("has chunks that cannot be read");

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// So many bytes, and then it is over.
    Length(u64),
    UntilEnd,
    /// The first digit of a chunk's length.
    Digit,
    /// Another, or the end of the line.
    Size(u64),
    /// What stands behind the length.
    Extension(u64),
    /// The `\n` of that line.
    SizeEnd(u64),
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The `\r` and `\n` behind it.
    ChunkReturn,
    ChunkEnd,
    /// The first byte of a line behind the last chunk.
    Line,
    /// The rest of one.
    Trailer,
    /// Its `\n`.
    TrailerEnd,
    /// The last `\n`.
    LastEnd,
    Over,
}

/// One body.
#[derive(Debug)]
pub(super) struct Body {
    place: Place,
    bytes: Vec<u8>,
    most: usize,
    extra_bytes: usize,
}

impl Body {
    /// One that may have `most` bytes.
    pub(super) fn new(framing: Framing, most: usize) -> Self {
        let place = match framing {
            Framing::Length(0) => Place::Over,
            Framing::Length(length) => Place::Length(length),
            Framing::Chunked => Place::Digit,
            Framing::UntilEnd => Place::UntilEnd,
        };
        Self { place, bytes: Vec::new(), most, extra_bytes: 0 }
    }

    /// Whether all of it is there.
    pub(super) fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    /// The most bytes that may still come, as far as is known.
    pub(super) fn most_to_come(&self) -> usize {
        let most = self.most - self.bytes.len();
        match self.place {
            Place::Length(left) => usize::try_from(left).map_or(most, |left| left.min(most)),
            Place::Over => 0,
            _ => most,
        }
    }

    /// What came.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes of memory.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// The connection has ended: whether that is the body's end.
    pub(super) fn is_over_at_end(&self) -> bool {
        [Place::Over, Place::UntilEnd].contains(&self.place)
    }

    /// Takes bytes until it is over; gives how many.
    ///
    /// # Errors
    /// It is no body, or too long; what came before that is kept.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Trouble> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_over() {
            rest = match self.place {
                Place::Length(left) => {
                    let (left, rest) = self.keep(rest, left)?;
                    self.place = if left == 0 { Place::Over } else { Place::Length(left) };
                    rest
                }
                Place::Chunk(left) => {
                    let (left, rest) = self.keep(rest, left)?;
                    self.place = if left == 0 { Place::ChunkReturn } else { Place::Chunk(left) };
                    rest
                }
                Place::UntilEnd => self.keep(rest, u64::MAX)?.1,
                _ => match rest.split_first() {
                    Some((byte, rest)) => {
                        self.place = self.after(*byte)?;
                        rest
                    }
                    None => rest,
                },
            };
        }
        Ok(bytes.len() - rest.len())
    }

    /// Keeps at most `left` bytes; gives how many are left then, and those behind.
    fn keep<'a>(&mut self, bytes: &'a [u8], left: u64) -> Result<(u64, &'a [u8]), Trouble> {
        let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (kept, rest) = bytes.split_at(count);
        let room = self.most_to_come();
        let fitting = kept.get(..room).unwrap_or(kept);
        let needed = self.bytes.len() + fitting.len();
        if needed > self.bytes.capacity() {
            // As a vector grows, and not beyond what may come.
            let wanted = needed.max(self.bytes.capacity() * 2).min(self.bytes.len() + room);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(fitting);
        if fitting.len() < kept.len() { Err(Trouble::TooLong(self.most)) } else { Ok((left - count as u64, rest)) }
    }

    /// Where it goes on behind a byte of what holds the chunks together.
    fn after(&mut self, byte: u8) -> Result<Place, Trouble> {
        let digit = char::from(byte).to_digit(16).map(u64::from);
        let place = match (self.place, byte) {
            (Place::Digit, _) => Place::Size(digit.ok_or(NO_CHUNK)?),
            (Place::Size(size) | Place::Extension(size), b'\r') => Place::SizeEnd(size),
            (Place::Size(size), b';' | b' ' | b'\t') => Place::Extension(size),
            (Place::Size(size), _) => {
                let larger = size.checked_mul(16).and_then(|size| size.checked_add(digit?));
                Place::Size(larger.ok_or(NO_CHUNK)?)
            }
            (Place::SizeEnd(0), b'\n') => Place::Line,
            (Place::SizeEnd(size), b'\n') => Place::Chunk(size),
            (Place::ChunkReturn, b'\r') => Place::ChunkEnd,
            (Place::ChunkEnd, b'\n') => Place::Digit,
            (Place::TrailerEnd, b'\n') => Place::Line,
            (Place::Line, b'\r') => Place::LastEnd,
            (Place::Trailer, b'\r') => Place::TrailerEnd,
            (Place::LastEnd, b'\n') => Place::Over,
            // A line feed alone ends no line: others see another end of it.
            (Place::Extension(_) | Place::Line | Place::Trailer, b'\n') => return Err(NO_CHUNK),
            (Place::Extension(size), _) => Place::Extension(size),
            (Place::Line | Place::Trailer, _) => Place::Trailer,
            _ => return Err(NO_CHUNK),
        };
        if matches!(place, Place::Extension(_) | Place::Trailer) {
            self.extra_bytes += 1;
            if self.extra_bytes > MOST_EXTRA_BYTES {
                return Err(Trouble::Malformed("has more than 16KiB around its chunks"));
            }
        }
        Ok(place)
    }
}
