//! Bytes as text: base64, base32, digits; and searches in texts, of which there is one copy each, for size.

/// Whether a text is in another.
#[inline(never)] // one copy, for size
pub(super) fn has(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|part| part == word.as_bytes())
}

/// Whether one of the signs, which are ASCII, is in a text.
#[inline(never)] // one copy, for size
pub(super) fn has_any(text: &str, signs: &str) -> bool {
    text.bytes().any(|byte| signs.as_bytes().contains(&byte))
}

/// A text around the first of a sign, which is ASCII.
#[inline(never)] // one copy, for size
pub(super) fn halves(text: &str, sign: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == sign)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// A text with another in place of each that is a word. The word is not in what it is replaced by.
#[inline(never)] // one copy, for size
pub(super) fn replaced(text: &str, word: &str, by: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let is_word = rest.as_bytes().starts_with(word.as_bytes());
        out.push_str(if is_word { by } else { rest.get(..first.len_utf8()).unwrap_or_default() });
        rest = rest.get(if is_word { word.len() } else { first.len_utf8() }..).unwrap_or_default();
    }
    out
}

/// A whole number of digits alone.
#[inline(never)] // one copy, for size
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Sign of the digit, in base64 or, with `-` and `_` at the end, for URLs.
#[cfg(feature = "nkey")]
const URL_DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The value of a digit, 0 to 15; capitals are none.
pub(super) fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Reads digits that stand for `bits` each, up to padding. Bits of the last digit that fill no byte are not looked at.
fn decode(text: &[u8], bits: u32, value: impl Fn(u8) -> Option<u8>) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut held, mut held_bits) = (0_u32, 0);
    let end = text.iter().rposition(|digit| *digit != b'=').map_or(0, |last| last + 1);
    for digit in text.get(..end)? {
        held = held << bits | u32::from(value(*digit)?);
        held_bits += bits;
        if held_bits >= 8 {
            held_bits -= 8;
            bytes.push((held >> held_bits).to_le_bytes()[0]);
        }
    }
    Some(bytes)
}

/// Reads base64, as servers write headers.
pub(super) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    decode(text, 6, |digit| match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    })
}

/// Reads base32, as keys are written.
#[cfg(feature = "nkey")]
pub(super) fn from_base32(text: &[u8]) -> Option<Vec<u8>> {
    decode(text, 5, |digit| match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'2'..=b'7' => Some(digit - b'2' + 26),
        _ => None,
    })
}

/// Writes base64 for URLs, without padding, as signatures are sent.
#[cfg(feature = "nkey")]
pub(super) fn to_base64_url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            let digit = word >> (18 - 6 * at) & 63;
            text.extend(URL_DIGITS.get(digit as usize).map(|digit| char::from(*digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_and_without_padding_and_nothing_else_is() {
        for (text, bytes) in
            [("", &b""[..]), ("TQ==", b"M"), ("TWE=", b"Ma"), ("TWFu", b"Man"), ("TQ", b"M"), ("-_8", b"\xfb\xff")]
        {
            assert_eq!(from_base64(text.as_bytes()).unwrap(), bytes, "{text}");
        }
        assert_eq!(from_base64(b"TW*u"), None);
        assert_eq!(from_base64(b"T=Wu"), None);
    }

    #[cfg(feature = "nkey")]
    #[test]
    fn base64_for_urls_and_base32_are_what_others_write() {
        assert_eq!(to_base64_url(b""), "");
        assert_eq!(to_base64_url(b"M"), "TQ");
        assert_eq!(to_base64_url(b"Ma"), "TWE");
        assert_eq!(to_base64_url(b"\xfb\xff\xfe"), "-__-");
        assert_eq!(from_base32(b"MZXW6YTBOI").unwrap(), b"foobar");
        assert_eq!(from_base32(b"mzxw"), None);
    }
}
