//! DEFLATE (RFC 1951), the way out: what a compressed file or body holds, for who reads it. Of our own, since it takes 3 KB of the
//! binary, and that of `miniz_oxide` 14: no table but the codes' own lengths is built, and each bit is looked at alone. Logs
//! have few bits for many bytes, so it is fast enough (docs/files.md). Invariant: memory is bounded, and whatever comes in,
//! what goes out is refused or what a correct inflater makes of it.

use std::hint::black_box;
use std::io::{self, ErrorKind};

/// How far back a copy may reach: what is kept of what came out.
pub(crate) const WINDOW_BYTES: usize = 32 * 1024;
/// The longest code, in bits.
const MOST_BITS: usize = 15;
/// Literals, the end of a block, lengths.
const MOST_LITERALS: usize = 288;
const MOST_DISTANCES: usize = 30;
const END_OF_BLOCK: u16 = 256;

/// Length and extra bits of a symbol from 257 on, and of a distance.
const LENGTHS: [(u16, u8); 29] = {
    let mut table = [(0, 0); 29];
    let (mut at, mut base, mut bits) = (0, 3, 0);
    while at < 28 {
        table[at] = (base, bits);
        base += 1 << bits;
        at += 1;
        bits += if at >= 8 && at % 4 == 0 { 1 } else { 0 };
    }
    // The longest has a symbol of its own.
    table[28] = (258, 0);
    table
};
const DISTANCES: [(u16, u8); MOST_DISTANCES] = {
    let mut table = [(0, 0); MOST_DISTANCES];
    let (mut at, mut base, mut bits) = (0, 1_u16, 0);
    while at < MOST_DISTANCES {
        table[at] = (base, bits);
        // After the last it is one more than fits, and not needed.
        base = base.saturating_add(1 << bits);
        at += 1;
        bits += if at >= 4 && at % 2 == 0 { 1 } else { 0 };
    }
    table
};
/// In which order the lengths of the codes come for which other lengths come.
const ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// It is none, or broken.
pub(crate) fn broken() -> io::Error {
    ErrorKind::InvalidData.into()
}

/// Where bytes come from, one at a time; an error when there is none.
pub(crate) trait Source {
    fn byte(&mut self) -> io::Result<u8>;
}

/// Bits of a stream, the lowest of each byte first.
#[derive(Default)]
struct Bits {
    value: u32,
    count: u32,
}

impl Bits {
    /// The next `count` bits, 16 at most.
    #[inline(never)] // one copy, for size
    fn take(&mut self, count: u8, source: &mut impl Source) -> io::Result<u16> {
        let count = u32::from(count);
        while self.count < count {
            self.value |= u32::from(source.byte()?) << self.count;
            self.count += 8;
        }
        let [low, high, ..] = (self.value & ((1 << count) - 1)).to_le_bytes();
        self.value >>= count;
        self.count -= count;
        Ok(u16::from_le_bytes([low, high]))
    }
}

/// A canonical Huffman code: how many codes there are of each length, and their symbols in order.
struct Code {
    counts: [u16; MOST_BITS + 1],
    symbols: [u16; MOST_LITERALS],
}

impl Code {
    const EMPTY: Self = Self { counts: [0; MOST_BITS + 1], symbols: [0; MOST_LITERALS] };

    /// That of symbols with codes of these lengths, 0 for none. All codes are used, unless there is one alone, or none.
    fn set(&mut self, lengths: &[u8]) -> io::Result<()> {
        *self = Self::EMPTY;
        let code = self;
        for len in lengths.iter().filter(|len| **len > 0) {
            *code.counts.get_mut(usize::from(*len)).ok_or_else(broken)? += 1;
        }
        let (mut left, mut at) = (1_i32, 0);
        let mut places = [0; MOST_BITS + 1];
        for (count, place) in code.counts.iter().zip(&mut places).skip(1) {
            left = 2 * left - i32::from(*count);
            if left < 0 {
                return Err(broken());
            }
            (*place, at) = (at, at + usize::from(*count));
        }
        let is_alone = at == 0 || (at == 1 && code.counts.get(1) == Some(&1));
        if left > 0 && !is_alone {
            return Err(broken());
        }
        for (symbol, len) in (0..).zip(lengths).filter(|(_, len)| **len > 0) {
            let place = places.get_mut(usize::from(*len)).ok_or_else(broken)?;
            *code.symbols.get_mut(*place).ok_or_else(broken)? = symbol;
            *place += 1;
        }
        Ok(())
    }

    /// The next symbol: of the codes of each length the first is known, and how many there are.
    #[inline(never)] // one copy, for size
    fn next(&self, bits: &mut Bits, source: &mut impl Source) -> io::Result<u16> {
        let (mut value, mut first, mut at) = (0, 0, 0);
        let mut len = 1;
        while let Some(count) = self.counts.get(len) {
            value |= bits.take(1, source)?;
            if value < first + count {
                return self.symbols.get(usize::from(at + value - first)).copied().ok_or_else(broken);
            }
            at += count;
            (first, value) = ((first + count) << 1, value << 1);
            // One more, and the compiler does not see it: it would write this down fifteen times.
            len = black_box(len + 1);
        }
        Err(broken())
    }
}

/// What comes next.
enum Place {
    Block,
    /// So many bytes that were not compressed.
    Stored(u16),
    Symbol,
    /// So much of what came out before, from that far back.
    Copy {
        len: u16,
        distance: u16,
    },
    End,
}

/// What inflates a stream.
pub(crate) struct Inflater {
    window: Vec<u8>,
    /// Where in the window the next byte goes to.
    made: usize,
    /// Bytes of this stream, as far as copies may reach back.
    history: usize,
    bits: Bits,
    is_last: bool,
    place: Place,
    literals: Code,
    distances: Code,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self {
            window: vec![0; WINDOW_BYTES],
            made: 0,
            history: 0,
            bits: Bits::default(),
            is_last: false,
            place: Place::Block,
            literals: Code::EMPTY,
            distances: Code::EMPTY,
        }
    }

    /// From here on it is another stream.
    pub(crate) fn begin(&mut self) {
        (self.history, self.bits, self.is_last, self.place) = (0, Bits::default(), false, Place::Block);
    }

    /// What came out, from there on.
    pub(crate) fn made_from(&self, start: usize) -> &[u8] {
        self.window.get(start..self.made).unwrap_or_default()
    }

    /// Where the next byte goes to: to the window's start, if that is full.
    pub(crate) fn next_place(&mut self) -> usize {
        if self.made == WINDOW_BYTES {
            self.made = 0;
        }
        self.made
    }

    /// Unpacks until the window is full or the stream ends: true.
    ///
    /// # Errors
    /// Of the source; it is no such stream.
    pub(crate) fn unpack(&mut self, source: &mut impl Source) -> io::Result<bool> {
        while self.made < WINDOW_BYTES {
            self.place = match self.place {
                Place::End => return Ok(true),
                Place::Block if self.is_last => Place::End,
                Place::Block => self.begin_block(source)?,
                Place::Stored(0) => Place::Block,
                Place::Stored(left) => {
                    let byte = source.byte()?;
                    self.put(byte);
                    Place::Stored(left - 1)
                }
                Place::Copy { len: 0, .. } => Place::Symbol,
                Place::Copy { len, distance } => {
                    let from = (self.made + WINDOW_BYTES - usize::from(distance)) % WINDOW_BYTES;
                    let byte = self.window.get(from).copied().unwrap_or_default();
                    self.put(byte);
                    Place::Copy { len: len - 1, distance }
                }
                Place::Symbol => self.symbol(source)?,
            };
        }
        Ok(false)
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.window.get_mut(self.made) {
            *place = byte;
        }
        self.made += 1;
        self.history = (self.history + 1).min(WINDOW_BYTES);
    }

    fn begin_block(&mut self, source: &mut impl Source) -> io::Result<Place> {
        self.is_last = self.bits.take(1, source)? == 1;
        match self.bits.take(2, source)? {
            0 => {
                // The rest of the byte is nobody's.
                self.bits = Bits::default();
                let (len, inverse) = (self.bits.take(16, source)?, self.bits.take(16, source)?);
                if len == !inverse { Ok(Place::Stored(len)) } else { Err(broken()) }
            }
            1 => {
                let mut lengths = [8; MOST_LITERALS];
                lengths.iter_mut().take(256).skip(144).for_each(|len| *len = 9);
                lengths.iter_mut().take(280).skip(256).for_each(|len| *len = 7);
                // Two of each are never used, and make the code whole.
                self.literals.set(&lengths)?;
                self.distances.set(&[5; MOST_DISTANCES + 2])?;
                Ok(Place::Symbol)
            }
            2 => self.read_codes(source).map(|()| Place::Symbol),
            _ => Err(broken()),
        }
    }

    fn read_codes(&mut self, source: &mut impl Source) -> io::Result<()> {
        let literals = usize::from(self.bits.take(5, source)?) + 257;
        let all = literals + usize::from(self.bits.take(5, source)?) + 1;
        let count = usize::from(self.bits.take(4, source)?) + 4;
        let mut lengths = [0; MOST_LITERALS + MOST_DISTANCES];
        if literals > MOST_LITERALS - 2 || all - literals > MOST_DISTANCES {
            return Err(broken());
        }
        for symbol in ORDER.iter().take(count) {
            let [len, _] = self.bits.take(3, source)?.to_le_bytes();
            if let Some(place) = lengths.get_mut(usize::from(*symbol)) {
                *place = len;
            }
        }
        // Those of the lengths are read before those of the literals are known.
        let code = &mut self.literals;
        code.set(lengths.get(..ORDER.len()).unwrap_or_default())?;
        let (mut at, mut last) = (0, None);
        while at < all {
            let (len, repeat) = match code.next(&mut self.bits, source)? {
                16 => (last.ok_or_else(broken)?, 3 + self.bits.take(2, source)?),
                17 => (0, 3 + self.bits.take(3, source)?),
                18 => (0, 11 + self.bits.take(7, source)?),
                len => (len.to_le_bytes()[0], 1),
            };
            let end = at + usize::from(repeat);
            lengths.get_mut(at..end).filter(|_| end <= all).ok_or_else(broken)?.fill(len);
            (at, last) = (end, Some(len));
        }
        let (literals, distances) = lengths.get(..all).unwrap_or_default().split_at(literals);
        if literals.get(usize::from(END_OF_BLOCK)) == Some(&0) {
            return Err(broken());
        }
        self.literals.set(literals)?;
        self.distances.set(distances)
    }

    fn symbol(&mut self, source: &mut impl Source) -> io::Result<Place> {
        let symbol = self.literals.next(&mut self.bits, source)?;
        match symbol.checked_sub(END_OF_BLOCK + 1) {
            None if symbol == END_OF_BLOCK => Ok(Place::Block),
            None => {
                self.put(symbol.to_le_bytes()[0]);
                Ok(Place::Symbol)
            }
            Some(length) => {
                let (base, extra) = *LENGTHS.get(usize::from(length)).ok_or_else(broken)?;
                let len = base + self.bits.take(extra, source)?;
                let distance = self.distances.next(&mut self.bits, source)?;
                let (base, extra) = *DISTANCES.get(usize::from(distance)).ok_or_else(broken)?;
                let distance = base + self.bits.take(extra, source)?;
                if usize::from(distance) > self.history {
                    return Err(broken());
                }
                Ok(Place::Copy { len, distance })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Source for &[u8] {
        fn byte(&mut self) -> io::Result<u8> {
            let (first, rest) = self.split_first().ok_or(ErrorKind::UnexpectedEof)?;
            *self = rest;
            Ok(*first)
        }
    }

    fn inflated(mut packed: &[u8]) -> Option<Vec<u8>> {
        let (mut inflater, mut bytes) = (Inflater::new(), Vec::new());
        loop {
            let start = inflater.next_place();
            let is_done = inflater.unpack(&mut packed);
            bytes.extend_from_slice(inflater.made_from(start));
            if is_done.ok()? {
                return Some(bytes);
            }
        }
    }

    #[test]
    fn tables_are_those_of_the_standard() {
        assert_eq!(LENGTHS.map(|row| row.0)[..10], [3, 4, 5, 6, 7, 8, 9, 10, 11, 13]);
        assert_eq!((LENGTHS[27], LENGTHS[28]), ((227, 5), (258, 0)));
        assert_eq!(DISTANCES.map(|row| row.0)[..8], [1, 2, 3, 4, 5, 7, 9, 13]);
        assert_eq!(DISTANCES[29], (24_577, 13));
    }

    #[test]
    fn each_kind_of_block_is_read() {
        assert_eq!(inflated(b"\x01\x03\x00\xfc\xffabc").unwrap(), b"abc", "stored");
        assert_eq!(inflated(b"\x03\x00").unwrap(), b"", "an empty one of fixed codes");
        assert_eq!(inflated(b"\x4b\x4c\x84\x01\x00").unwrap(), b"aaaaaaaaaa", "a copy of what is being copied");
        assert_eq!(inflated(b"\x07"), None, "there are three kinds");
        assert_eq!(inflated(b"\x01\x03\x00\xfd\xffabc"), None, "another length");
        assert_eq!(inflated(b"\x03\x02\x00"), None, "a copy from before the start");
    }

    /// Against another inflater: what a deflater makes, at each effort, with bits turned and parts cut away.
    #[test]
    #[cfg(feature = "compress")]
    fn it_says_what_another_says() {
        let mut state = 7_u32;
        let mut random = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            usize::try_from(state >> 8).unwrap() % below
        };
        let (mut whole, mut refused) = (0, 0);
        for round in 0..600 {
            let letters = [2, 40, 256][round % 3];
            let words: Vec<Vec<u8>> =
                (0..20).map(|_| (0..random(30)).map(|_| random(letters).to_le_bytes()[0]).collect()).collect();
            let text: Vec<u8> = (0..random(6_000)).flat_map(|_| words[random(20)].clone()).collect();
            let mut packed = miniz_oxide::deflate::compress_to_vec(&text, u8::try_from(round % 11).unwrap());
            assert!(inflated(&packed).unwrap() == text, "{round}");
            for _ in 0..20 {
                let at = random(packed.len());
                match random(3) {
                    0 => packed.truncate(at.max(1)),
                    1 => packed[at] ^= 1 << random(8),
                    _ => packed[at] = random(256).to_le_bytes()[0],
                }
                let most = 1 << 22;
                let expected = miniz_oxide::inflate::decompress_to_vec_with_limit(&packed, most).ok();
                let found = inflated(&packed).filter(|found| found.len() <= most);
                assert!(found == expected, "{round}: {} {:?}", found.is_some(), packed.escape_ascii().to_string());
                if found.is_some() { whole += 1 } else { refused += 1 }
            }
        }
        assert!(whole > 100 && refused > 1_000, "{whole} {refused}");
    }
}
