//! Text as the inside of a JSON string. Invariant: what is appended is valid UTF-8 without a quote, a control character or a
//! lone backslash, whatever the bytes were.

/// Bytes looked at in a step: with 32 the compiler makes vectors of them (`count_lines` in the framer found the same).
pub(super) const LANES: usize = 32;

/// `extend_from_slice` as a function call, for places where its cost does not matter.
#[inline(never)] // one copy, for size
pub(super) fn put(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
}

/// Finds out which kinds of bytes are in a block of lines, in one pass that the compiler makes vector instructions of.
pub(super) fn scan_block(body: &[u8]) -> u8 {
    let mut seen = [0; LANES];
    let (chunks, rest) = body.as_chunks();
    chunks.iter().for_each(|chunk| scan(chunk, &mut seen));
    scan(&padded(rest), &mut seen);
    seen.iter().fold(0, |all, lane| all | lane)
}

/// What [`scan`] sees: a byte that JSON escapes, and one that is not ASCII.
pub(super) const SPECIAL: u8 = 1;
pub(super) const HIGH: u8 = 0x80;

/// Finds out which of the two kinds are in these bytes. A `\n` is of neither: it is between lines.
fn scan(chunk: &[u8; LANES], seen: &mut [u8; LANES]) {
    for lane in 0..LANES {
        let byte = chunk[lane];
        let is_control = (byte < b' ') & (byte != b'\n');
        seen[lane] |= byte & HIGH | u8::from(is_control | (byte == b'"') | (byte == b'\\'));
    }
}

/// Fewer bytes than there are lanes, with spaces behind them.
fn padded(rest: &[u8]) -> [u8; LANES] {
    let mut lanes = [b' '; LANES];
    if let Some(part) = lanes.get_mut(..rest.len()) {
        part.copy_from_slice(rest);
    }
    lanes
}

/// Appends a line as the inside of a JSON string. Bytes that are no UTF-8 become U+FFFD, as in
/// [`String::from_utf8_lossy`].
pub(crate) fn escape(line: &[u8], out: &mut Vec<u8>) {
    if str::from_utf8(line).is_ok() {
        return escape_text(line, out);
    }
    for chunk in line.utf8_chunks() {
        if !chunk.valid().is_empty() {
            escape_text(chunk.valid().as_bytes(), out);
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Appends UTF-8 as the inside of a JSON string. Runs of bytes that need no escape are copied at once.
pub(super) fn escape_text(text: &[u8], out: &mut Vec<u8>) {
    if text.len() < LANES / 2 {
        return escape_bytes(text, out);
    }
    let (chunks, rest) = text.as_chunks();
    let (mut copied, mut at) = (0, 0);
    for chunk in chunks {
        if has_special(chunk) {
            put(text.get(copied..at).unwrap_or_default(), out);
            escape_bytes(chunk, out);
            copied = at + LANES;
        }
        at += LANES;
    }
    if !has_special(&padded(rest)) {
        return put(text.get(copied..).unwrap_or_default(), out);
    }
    put(text.get(copied..at).unwrap_or_default(), out);
    escape_bytes(rest, out);
}

fn has_special(chunk: &[u8; LANES]) -> bool {
    let mut seen = [0; LANES];
    scan(chunk, &mut seen);
    // A line may hold a newline (`--embedded-newline keep`).
    let newlines = chunk.iter().fold(0, |any, byte| any | u8::from(*byte == b'\n'));
    (seen.iter().fold(0, |all, lane| all | lane) & SPECIAL) | newlines != 0
}

/// [`escape_text`], one byte at a time.
fn escape_bytes(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if (*byte >= b' ') & (*byte != b'"') & (*byte != b'\\') {
            out.push(*byte);
        } else if *byte >= b' ' {
            out.extend_from_slice(&[b'\\', *byte]);
        } else if *byte == b'\t' {
            out.extend_from_slice(b"\\t");
        } else if *byte == b'\n' {
            out.extend_from_slice(b"\\n");
        } else {
            let last = HEX[usize::from(byte & 15)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), last]);
        }
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
