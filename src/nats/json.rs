//! Reads JSON as it comes, in any pieces: each value is told with the path that leads to it, and nothing is kept but the value
//! that is being read. Invariant: what is held is bounded, whatever comes; a text that is longer than [`MOST_TEXT`] is passed over,
//! and told as such.

use super::base::number;

/// The longest text that is kept, in bytes: the headers of a message of ours, in base64, are a tenth of it.
const MOST_TEXT: usize = 8 * 1024;
/// The same where the lines of a message are wanted, in base64: no server takes a longer one.
const MOST_LONG_TEXT: usize = 64 * 1024 * 1024;
/// How deep objects and arrays may be in each other.
const MOST_DEPTH: usize = 32;
/// The longest path that is told. What is behind a longer one is not told at all.
const MOST_PATH: usize = 128;

/// One value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Without escapes. May be any bytes.
    Text(&'a [u8]),
    /// A text that was too long to keep.
    LongText,
    /// As it was written.
    Number(&'a [u8]),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`.
    Null,
    /// An object or an array begins.
    Begin,
}

impl Value<'_> {
    /// A whole number; one below zero, or too large, is none.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(digits) => number(digits),
            _ => None,
        }
    }
}

/// This is no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// A value comes.
    #[default]
    Value,
    /// A value, or the end of an array that has none.
    FirstItem,
    /// A name, or the end of an object that has none.
    FirstName,
    /// A name.
    Name,
    Colon,
    /// A comma or an end.
    Behind,
    /// In a text, or, if the flag is set, in a name.
    Text(bool),
    /// Behind a backslash.
    Escape(bool),
    /// In the four digits of `\u`, of which so many came.
    Unicode(bool, u8),
    /// In a number or a word.
    Bare,
    /// The value is over, and nothing but blanks may come.
    Over,
}

/// What an open object or array was.
#[derive(Debug, Clone, Copy)]
struct Level {
    is_object: bool,
    /// How long the path was before it.
    path_len: usize,
}

/// Reads one value.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    levels: Vec<Level>,
    path: Vec<u8>,
    text: Vec<u8>,
    is_too_long: bool,
    keeps_long_texts: bool,
    /// The digits of `\u` so far, and the first half of a pair.
    unicode: (u32, Option<u32>),
}

impl Scanner {
    /// Whether one value has come, whole.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Over
    }

    /// Texts are kept up to [`MOST_LONG_TEXT`].
    pub(super) fn keep_long_texts(&mut self) {
        self.keeps_long_texts = true;
    }

    /// Reads more bytes. `told` gets each path, such as `error.err_code`, and its value.
    pub(super) fn feed(&mut self, bytes: &[u8], told: &mut dyn FnMut(&[u8], Value<'_>)) -> Result<(), Malformed> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if let State::Text(_) = self.state {
                // `memchr2` would be 1.2 KB, for the lines of a look-up.
                let is_sign = |byte: &u8| matches!(byte, b'"' | b'\\');
                let plain = rest.iter().position(is_sign).unwrap_or(rest.len());
                self.keep(rest.get(..plain).unwrap_or_default());
                rest = rest.get(plain..).unwrap_or_default();
                if let Some((&sign, after)) = rest.split_first() {
                    self.sign(sign, told);
                    rest = after;
                }
            } else if self.state == State::Bare && !b",]} \t\r\n".contains(&byte) {
                self.keep(&[byte]);
                rest = after;
            } else if self.state == State::Bare {
                // This byte is looked at again, as what comes behind the value.
                self.bare(told)?;
            } else {
                self.step(byte, told)?;
                rest = after;
            }
        }
        Ok(())
    }

    /// No more comes: a number at the end is over.
    pub(super) fn finish(&mut self, told: &mut dyn FnMut(&[u8], Value<'_>)) -> Result<(), Malformed> {
        if self.state == State::Bare {
            self.bare(told)?;
        }
        if self.is_whole() { Ok(()) } else { Err(Malformed) }
    }

    fn step(&mut self, byte: u8, told: &mut dyn FnMut(&[u8], Value<'_>)) -> Result<(), Malformed> {
        match (self.state, byte) {
            (State::Escape(is_name), _) => self.escape(byte, is_name)?,
            (State::Unicode(is_name, count), _) => self.digit(byte, is_name, count)?,
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (State::Value | State::FirstItem, b'{') => self.open(true, told)?,
            (State::Value | State::FirstItem, b'[') => self.open(false, told)?,
            (State::Value | State::FirstItem, b'"') => self.begin(State::Text(false)),
            (State::Value | State::FirstItem, b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                self.begin(State::Bare);
                self.keep(&[byte]);
            }
            (State::FirstName | State::Name, b'"') => self.begin(State::Text(true)),
            (State::Colon, b':') => self.state = State::Value,
            (State::Behind, b',') => {
                let is_object = self.levels.last().is_some_and(|level| level.is_object);
                self.state = if is_object { State::Name } else { State::Value };
            }
            (State::FirstItem | State::Behind, b']') => self.close(false)?,
            (State::FirstName | State::Behind, b'}') => self.close(true)?,
            _ => return Err(Malformed),
        }
        Ok(())
    }

    #[inline(never)] // one copy, for size
    fn begin(&mut self, state: State) {
        self.text.clear();
        self.is_too_long = false;
        self.state = state;
    }

    #[inline(never)] // one copy, for size
    fn keep(&mut self, bytes: &[u8]) {
        let most = if self.keeps_long_texts { MOST_LONG_TEXT } else { MOST_TEXT };
        if self.is_too_long || self.text.len() + bytes.len() > most {
            self.is_too_long = true;
            self.text.clear();
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    /// A quote or a backslash in a text.
    fn sign(&mut self, sign: u8, told: &mut dyn FnMut(&[u8], Value<'_>)) {
        let State::Text(is_name) = self.state else { return };
        if sign == b'\\' {
            self.state = State::Escape(is_name);
        } else if is_name {
            let at = self.levels.last().map_or(0, |level| level.path_len);
            self.path.truncate(at);
            if self.is_too_long || at + self.text.len() >= MOST_PATH {
                // No path has this in it, so nothing behind it is told to be what it is not.
                self.path.push(0);
            } else {
                if at > 0 {
                    self.path.push(b'.');
                }
                self.path.extend_from_slice(&self.text);
            }
            self.state = State::Colon;
        } else {
            told(&self.path, if self.is_too_long { Value::LongText } else { Value::Text(&self.text) });
            self.is_over();
        }
    }

    fn escape(&mut self, byte: u8, is_name: bool) -> Result<(), Malformed> {
        let sign = match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                self.unicode.0 = 0;
                self.state = State::Unicode(is_name, 0);
                return Ok(());
            }
            _ => return Err(Malformed),
        };
        self.keep(&[sign]);
        self.state = State::Text(is_name);
        Ok(())
    }

    fn digit(&mut self, byte: u8, is_name: bool, count: u8) -> Result<(), Malformed> {
        let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
        self.unicode.0 = self.unicode.0 << 4 | digit;
        if count < 3 {
            self.state = State::Unicode(is_name, count + 1);
            return Ok(());
        }
        self.state = State::Text(is_name);
        let (half, first) = (self.unicode.0, self.unicode.1.take());
        let code = match (first, half) {
            (_, 0xd800..0xdc00) => {
                self.unicode.1 = Some(half);
                return Ok(());
            }
            (Some(first), 0xdc00..0xe000) => 0x1_0000 + ((first - 0xd800) << 10) + (half - 0xdc00),
            _ => half,
        };
        let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.keep(letter.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    #[inline(never)] // one copy, for size
    fn bare(&mut self, told: &mut dyn FnMut(&[u8], Value<'_>)) -> Result<(), Malformed> {
        let value = match self.text.as_slice() {
            b"true" => Value::Boolean(true),
            b"false" => Value::Boolean(false),
            b"null" => Value::Null,
            [b'-' | b'0'..=b'9', rest @ ..]
                if rest.iter().all(|digit| digit.is_ascii_digit() || b"+-.eE".contains(digit)) =>
            {
                Value::Number(&self.text)
            }
            _ => return Err(Malformed),
        };
        told(&self.path, value);
        self.is_over();
        Ok(())
    }

    fn open(&mut self, is_object: bool, told: &mut dyn FnMut(&[u8], Value<'_>)) -> Result<(), Malformed> {
        if self.levels.len() >= MOST_DEPTH {
            return Err(Malformed);
        }
        told(&self.path, Value::Begin);
        self.levels.push(Level { is_object, path_len: self.path.len() });
        self.state = if is_object { State::FirstName } else { State::FirstItem };
        Ok(())
    }

    fn close(&mut self, is_object: bool) -> Result<(), Malformed> {
        let level = self.levels.pop().filter(|level| level.is_object == is_object).ok_or(Malformed)?;
        self.path.truncate(level.path_len);
        self.is_over();
        Ok(())
    }

    /// A value is over.
    #[inline(never)] // one copy, for size
    fn is_over(&mut self) {
        // A text can be 8 KiB, and the next one seldom is.
        if self.text.capacity() > 256 {
            self.text = Vec::new();
        }
        self.state = if self.levels.is_empty() { State::Over } else { State::Behind };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<String>, Malformed> {
        let (mut scanner, mut said) = (Scanner::default(), Vec::new());
        let mut told = |path: &[u8], value: Value<'_>| {
            let value = match value {
                Value::Text(text) => format!("\"{}\"", String::from_utf8_lossy(text)),
                Value::Number(digits) => String::from_utf8_lossy(digits).into_owned(),
                other => format!("{other:?}"),
            };
            said.push(format!("{} {value}", path.escape_ascii()));
        };
        for piece in pieces {
            scanner.feed(piece, &mut told)?;
        }
        scanner.finish(&mut told)?;
        Ok(said)
    }

    #[test]
    fn values_are_told_with_their_paths_wherever_the_text_is_cut() {
        let text =
            r#" {"a":1,"b":{"c":"x\"\u00e4\n\ud83d\ude00","d":[true,null,{"e":-2.5e3}],"f":{}},"g":[],"h":false} "#;
        let wanted = [
            " Begin",
            "a 1",
            "b Begin",
            "b.c \"x\"ä\n😀\"",
            "b.d Begin",
            "b.d Boolean(true)",
            "b.d Null",
            "b.d Begin",
            "b.d.e -2.5e3",
            "b.f Begin",
            "g Begin",
            "h Boolean(false)",
        ];
        for cut in 0..=text.len() {
            for second in cut..=text.len() {
                let bytes = text.as_bytes();
                assert_eq!(
                    read(&[&bytes[..cut], &bytes[cut..second], &bytes[second..]]).unwrap(),
                    wanted,
                    "{cut} {second}"
                );
            }
        }
        assert_eq!(read(&[b"12"]).unwrap(), [" 12"]);
    }

    #[test]
    fn what_is_no_json_or_is_too_deep_is_malformed_and_never_held() {
        for text in [
            "",
            "{",
            "}",
            "{]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "[1,]",
            "{\"a\":1,}",
            "tru",
            "1x",
            "[}",
            "\"\\x\"",
            "\"\\u00g0\"",
            "{} {}",
            "\"a",
            "nul",
            "- ",
            "{\"a\" 1}",
            "[,1]",
        ] {
            // A sign alone reads as a number here, and as none when it is asked for.
            if text == "- " {
                assert_eq!(Value::Number(b"-").number(), None);
                continue;
            }
            assert_eq!(read(&[text.as_bytes()]), Err(Malformed), "{text}");
        }
        assert!(read(&["[".repeat(32).as_bytes(), "]".repeat(32).as_bytes()]).is_ok());
        assert_eq!(read(&["[".repeat(33).as_bytes()]), Err(Malformed));
    }

    #[test]
    fn p5_a_text_that_is_too_long_is_passed_over_and_so_is_what_has_too_long_a_name() {
        let long = format!(
            "{{\"{}\":1,\"data\":\"{}\",\"b\":\"{}\"}}",
            "n".repeat(130),
            "x".repeat(400_000),
            "y".repeat(MOST_TEXT)
        );
        let mut scanner = Scanner::default();
        let mut said = Vec::new();
        for piece in long.as_bytes().chunks(1000) {
            scanner
                .feed(piece, &mut |path, value| said.push((path.to_vec(), matches!(value, Value::LongText))))
                .unwrap();
            assert!(scanner.text.capacity() <= 2 * MOST_TEXT && scanner.path.len() <= MOST_PATH);
        }
        assert!(scanner.is_whole());
        let names: Vec<(&[u8], bool)> = said.iter().map(|(path, is_long)| (path.as_slice(), *is_long)).collect();
        assert_eq!(names, [(&b""[..], false), (b"\0", false), (b"data", true), (b"b", false)]);
    }
}
