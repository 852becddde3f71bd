//! gzip (RFC 1952), the way out: the frame, and the check of what comes out. The inflating is in `inflate.rs`. Invariant: memory
//! is bounded, whatever comes in, and what is given out was packed, or an error comes behind it.

use std::io::{self, ErrorKind, Read};

#[cfg(feature = "http")]
use crate::inflate::WINDOW_BYTES;
use crate::inflate::{Inflater, Source, broken};

/// How a part begins that was deflated, which is the only way there is.
pub(crate) const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// Magic, flags, time, effort, system.
pub(crate) const HEADER_BYTES: usize = 10;
/// No byte of it stands for more.
#[cfg(feature = "http")]
pub(crate) const MOST_RATIO: usize = 1032;
/// Read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// The same of what is in memory.
#[cfg(feature = "http")]
const STEP_BYTES: usize = 4 * 1024;
#[cfg(feature = "http")]
const MOST_READS: usize = 512;
/// Bits of a header's flags: what stands behind it.
const HAS_CRC: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;
/// One more is a hint, and the others are to be refused.
const HAS_ALL: u8 = 31;

/// The check sum of gzip, of zip and of Ethernet.
#[derive(Clone, Copy)]
pub(crate) struct Crc(u32);

const CRC_TABLE: [u32; 256] = crc_table();

#[expect(clippy::cast_possible_truncation)] // below 256
const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let (mut value, mut bit) = (byte as u32, 0);
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
}

impl Crc {
    pub(crate) const EMPTY: Self = Self(u32::MAX);

    #[inline(never)] // one copy, for size
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let step = |crc: u32, byte: &u8| CRC_TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ crc >> 8;
        self.0 = bytes.iter().fold(self.0, step);
    }

    pub(crate) fn value(self) -> u32 {
        !self.0
    }
}

/// What the last bytes of a part say of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) crc: u32,
    /// The rest of a division by 2^32.
    pub(crate) len: u32,
}

impl Trailer {
    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { crc: u32::from_le_bytes([a, b, c, d]), len: u32::from_le_bytes([e, f, g, h]) }
    }
}

/// Length as a trailer has it.
pub(crate) fn len_of(bytes: u64) -> u32 {
    let [a, b, c, d, ..] = bytes.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[inline(never)] // one copy, for size
fn read_some(source: &mut Fetch, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// What reads more, as `Read` does. No `dyn Read`: that would bring all that one can do.
type Fetch = Box<dyn FnMut(&mut [u8]) -> io::Result<usize> + Send>;

/// Bytes of a source, one by one.
struct Input {
    source: Fetch,
    piece: Vec<u8>,
    /// What of it was not used yet.
    at: usize,
    end: usize,
}

impl Input {
    /// Reads more if all was used; false at the end.
    fn refill(&mut self) -> io::Result<bool> {
        if self.at >= self.end {
            (self.at, self.end) = (0, read_some(&mut self.source, &mut self.piece)?);
        }
        Ok(self.at < self.end)
    }

    /// Passes over a header; false if there is none.
    fn header(&mut self) -> io::Result<bool> {
        for byte in MAGIC {
            if self.next()? != byte {
                return Ok(false);
            }
        }
        let flags = self.next()?;
        if flags & !HAS_ALL != 0 {
            return Ok(false);
        }
        self.skip(HEADER_BYTES - MAGIC.len() - 1)?;
        if flags & HAS_EXTRA != 0 {
            let len = u16::from_le_bytes([self.next()?, self.next()?]);
            self.skip(usize::from(len))?;
        }
        for text in [HAS_NAME, HAS_COMMENT] {
            while flags & text != 0 && self.next()? != 0 {}
        }
        self.skip(if flags & HAS_CRC != 0 { 2 } else { 0 })?;
        Ok(true)
    }

    fn skip(&mut self, bytes: usize) -> io::Result<()> {
        (0..bytes).try_for_each(|_| self.next().map(drop))
    }

    /// [`Self::byte`] where few are read.
    #[inline(never)] // one copy, for size
    fn next(&mut self) -> io::Result<u8> {
        self.byte()
    }
}

impl Source for Input {
    fn byte(&mut self) -> io::Result<u8> {
        if !self.refill()? {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at += 1;
        Ok(self.piece.get(self.at - 1).copied().unwrap_or_default())
    }
}

/// Where the reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the header of the first part, or of another behind it.
    Header {
        is_first: bool,
    },
    Body,
    End,
}

/// Reads what was compressed. As of `cat *.gz`, several one behind the other are one.
pub(crate) struct Unpacked {
    input: Input,
    inflater: Inflater,
    /// What came out was given out up to there.
    given: usize,
    crc: Crc,
    len: u64,
    place: Place,
    /// Why it ended, if that was not its end. What came out before is given out first.
    error: Option<io::Error>,
}

impl Unpacked {
    pub(crate) fn new(source: impl FnMut(&mut [u8]) -> io::Result<usize> + Send + 'static) -> Self {
        Self {
            input: Input { source: Box::new(source), piece: vec![0; PIECE_BYTES], at: 0, end: 0 },
            inflater: Inflater::new(),
            given: 0,
            crc: Crc::EMPTY,
            len: 0,
            place: Place::Header { is_first: true },
            error: None,
        }
    }

    fn begin_part(&mut self, is_first: bool) -> io::Result<()> {
        // As gzip does: what is behind the last part is nobody's.
        let is_part = (is_first || self.input.refill()?) && self.input.header()?;
        if is_first && !is_part {
            return Err(broken());
        }
        self.inflater.begin();
        (self.crc, self.len) = (Crc::EMPTY, 0);
        self.place = if is_part { Place::Body } else { Place::End };
        Ok(())
    }

    fn unpack(&mut self) -> io::Result<()> {
        self.given = self.inflater.next_place();
        let is_end = self.inflater.unpack(&mut self.input);
        let made = self.inflater.made_from(self.given);
        self.crc.add(made);
        self.len += made.len() as u64;
        if !is_end? {
            return Ok(());
        }
        let mut trailer = [0; 8];
        for byte in &mut trailer {
            *byte = self.input.next()?;
        }
        if Trailer::from_bytes(trailer) != (Trailer { crc: self.crc.value(), len: len_of(self.len) }) {
            return Err(broken());
        }
        self.place = Place::Header { is_first: false };
        Ok(())
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let ready = self.inflater.made_from(self.given);
            let count = ready.len().min(buffer.len());
            if count > 0 || buffer.is_empty() {
                if let (Some(to), Some(from)) = (buffer.get_mut(..count), ready.get(..count)) {
                    to.copy_from_slice(from);
                }
                self.given += count;
                return Ok(count);
            }
            let done = match self.place {
                Place::End => return self.error.take().map_or(Ok(0), Err),
                Place::Body => self.unpack(),
                Place::Header { is_first } => self.begin_part(is_first),
            };
            if let Err(error) = done {
                (self.place, self.error) = (Place::End, Some(error));
            }
        }
    }
}

/// What keeps bytes from being unpacked.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// They are no gzip, or not all of it.
    Broken,
    /// More comes out than may.
    TooLong,
}

/// Unpacks bytes that are all there, a little at a time: 1 MiB of logs takes 15 ms where a turn of the loop takes none.
#[cfg(feature = "http")]
pub(crate) struct Gunzip {
    unpacked: Unpacked,
    plain: Vec<u8>,
    most: usize,
    packed_bytes: usize,
}

#[cfg(feature = "http")]
impl Gunzip {
    /// Of these bytes, at most `most` are to come out.
    pub(crate) fn new(packed: Vec<u8>, most: usize) -> Self {
        let packed_bytes = packed.capacity();
        let mut packed = io::Cursor::new(packed);
        let mut unpacked = Unpacked::new(move |buffer| packed.read(buffer));
        unpacked.input.piece = vec![0; STEP_BYTES];
        Self { unpacked, plain: Vec::new(), most, packed_bytes }
    }

    /// Unpacks some; `None` if there is more to do.
    pub(crate) fn step(&mut self) -> Option<Result<(), Fault>> {
        let mut piece = [0; STEP_BYTES];
        let mut made = 0;
        // Of small parts a few hundred.
        for _ in 0..MOST_READS {
            let count = match self.unpacked.read(&mut piece) {
                Ok(0) => return Some(Ok(())),
                Ok(count) => count,
                Err(_) => return Some(Err(Fault::Broken)),
            };
            let room = self.most - self.plain.len();
            let fitting = piece.get(..count.min(room)).unwrap_or_default();
            if self.plain.capacity() - self.plain.len() < fitting.len() {
                // As a vector grows, and not beyond what it may hold.
                self.plain.reserve_exact(self.plain.len().max(STEP_BYTES).min(room));
            }
            self.plain.extend_from_slice(fitting);
            if fitting.len() < count {
                return Some(Err(Fault::TooLong));
            }
            made += count;
            if made >= WINDOW_BYTES {
                break;
            }
        }
        None
    }

    /// What came out; before a fault, too.
    pub(crate) fn into_plain(self) -> Vec<u8> {
        self.plain
    }

    /// Bytes of memory.
    pub(crate) fn held(&self) -> usize {
        self.packed_bytes + self.plain.capacity() + WINDOW_BYTES + STEP_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_sum_is_that_of_the_standard() {
        let mut crc = Crc::EMPTY;
        assert_eq!(crc.value(), 0);
        crc.add(b"1234");
        crc.add(b"56789");
        assert_eq!(crc.value(), 0xcbf4_3926);
    }
}
