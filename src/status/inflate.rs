//! Unpacks the page: 13 KB less in the binary for 1 KB of code. Of DEFLATE (RFC 1951) only what a page needs, blocks with
//! codes of their own. Invariant: it is given nothing but what a test has unpacked before.

/// Bits, the lowest of each byte first.
struct Bits<'a> {
    input: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next `count` bits; zeros behind the end.
    #[inline(never)] // one copy, for size
    fn take(&mut self, count: usize) -> usize {
        let mut number = 0;
        for bit in 0..count {
            let byte = self.input.get(self.at / 8).copied().unwrap_or_default();
            number |= usize::from(byte >> (self.at % 8) & 1) << bit;
            self.at += 1;
        }
        number
    }
}

/// The longest code, in bits.
const LONGEST: usize = 15;

/// A code: its symbols, those with one bit first, and for each number of bits how many there are.
struct Code {
    counts: Vec<usize>,
    symbols: Vec<usize>,
}

impl Code {
    /// The code in which symbol `n` has `lengths[n]` bits, none if 0.
    #[inline(never)] // one copy, for size
    fn new(lengths: &[usize]) -> Self {
        let (mut counts, mut symbols) = (Vec::new(), Vec::new());
        for length in 1..=LONGEST {
            let before = symbols.len();
            for (symbol, of_symbol) in lengths.iter().enumerate() {
                if *of_symbol == length {
                    symbols.push(symbol);
                }
            }
            counts.push(symbols.len() - before);
        }
        Self { counts, symbols }
    }

    #[inline(never)] // one copy, for size
    fn next(&self, bits: &mut Bits<'_>) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &self.counts {
            code = code << 1 | bits.take(1);
            if code < first + count {
                return self.symbols.get(index + code - first).copied().unwrap_or_default();
            }
            index += count;
            first = (first + count) << 1;
        }
        END
    }
}

/// The symbol that ends a block.
const END: usize = 256;
/// In this order a block tells the lengths of the code that its other codes are written in.
const ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Unpacks what comes to some `expected` bytes.
#[must_use]
#[inline(never)] // for size
pub(super) fn inflate(input: &[u8], expected: usize) -> Vec<u8> {
    let (mut bits, mut out) = (Bits { input, at: 0 }, Vec::with_capacity(expected));
    loop {
        // The second and third bit are the block's kind.
        let is_last = bits.take(3) & 1 == 1;
        let (symbols, distances) = codes(&mut bits);
        loop {
            let symbol = symbols.next(&mut bits);
            if let Ok(byte) = u8::try_from(symbol) {
                out.push(byte);
                continue;
            }
            if symbol == END {
                break;
            }
            // Steps of 1, then four each of 2, 4, 8 and so on; the last is the longest alone.
            let length = if symbol == 285 { 258 } else { 3 + step(symbol - END - 1, 4, &mut bits) };
            let distance = 1 + step(distances.next(&mut bits), 2, &mut bits);
            // It may run into what it writes.
            for _ in 0..length {
                let byte = out.get(out.len().wrapping_sub(distance)).copied();
                out.push(byte.unwrap_or_default());
            }
        }
        if is_last {
            return out;
        }
    }
}

/// What a symbol and the bits behind it stand for, with `each` symbols for every number of bits.
#[inline(never)] // one copy, for size
fn step(symbol: usize, each: usize, bits: &mut Bits<'_>) -> usize {
    if symbol < 2 * each {
        return symbol;
    }
    let count = symbol / each - 1;
    ((each + symbol % each) << count) + bits.take(count)
}

/// The two codes of a block.
#[inline(never)] // for size
fn codes(bits: &mut Bits<'_>) -> (Code, Code) {
    let (symbols, distances, count) = (257 + bits.take(5), 1 + bits.take(5), 4 + bits.take(4));
    let mut lengths = vec![0; ORDER.len()];
    // Not over all of them: that would be unrolled.
    for at in 0..count {
        let length = bits.take(3);
        let symbol = ORDER.get(at).map_or(0, |symbol| usize::from(*symbol));
        lengths.iter_mut().skip(symbol).take(1).for_each(|of_symbol| *of_symbol = length);
    }
    let of_lengths = Code::new(&lengths);
    lengths.clear();
    while lengths.len() < symbols + distances {
        let (length, times) = match of_lengths.next(bits) {
            16 => (lengths.last().copied().unwrap_or_default(), 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            length => (length, 1),
        };
        for _ in 0..times {
            lengths.push(length);
        }
    }
    let (symbols, distances) = lengths.split_at(symbols);
    (Code::new(symbols), Code::new(distances))
}
