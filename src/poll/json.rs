//! A body of JSON as lines: each element of an array, or the object, without the blanks between its parts, and otherwise byte for
//! byte. It is read strictly, as a text log may begin with `[` or `{` too; bytes that are no UTF-8 are taken inside a string.
//! Invariant: no line has a newline in it, since JSON allows none inside a string.

/// The deepest nesting that is taken: a bit of a number for each level, as in other readers.
const MOST_DEPTH: u32 = 128;

/// What may come next.
#[derive(Clone, Copy, PartialEq)]
enum Want {
    /// A value, or the end of the array that has just begun.
    FirstValue,
    Value,
    /// A name, or the end of the object that has just begun.
    FirstName,
    Name,
    /// A comma or an end.
    More,
}

struct Skimmer<'a> {
    rest: &'a [u8],
    lines: Vec<u8>,
    /// What is open, the innermost as the lowest bit: 1 is an array.
    open: u128,
    depth: u32,
    /// The outermost is an array, whose elements are the lines.
    has_elements: bool,
}

/// The lines of a body that is one array or one object from its first byte to its last, blanks aside, each with its newline.
pub(super) fn lines_of(body: &[u8]) -> Option<Vec<u8>> {
    let body = body.trim_ascii_start();
    let first = *body.first()?;
    if first != b'[' && first != b'{' {
        return None;
    }
    let mut skimmer = Skimmer {
        rest: body,
        lines: Vec::with_capacity(body.len() + 1),
        open: 0,
        depth: 0,
        has_elements: first == b'[',
    };
    let mut want = Want::Value;
    loop {
        want = skimmer.step(want)?;
        if skimmer.depth == 0 {
            skimmer.skip_blanks();
            return skimmer.rest.is_empty().then_some(skimmer.lines);
        }
    }
}

impl Skimmer<'_> {
    fn step(&mut self, want: Want) -> Option<Want> {
        self.skip_blanks();
        let first = *self.rest.first()?;
        let is_array = self.open & 1 == 1;
        match (want, first) {
            (Want::FirstValue | Want::More, b']') if is_array => self.close(),
            (Want::FirstName | Want::More, b'}') if !is_array => self.close(),
            (Want::More, b',') => self.comma(is_array),
            (Want::FirstValue | Want::Value, b'[' | b'{') => self.nest(first == b'['),
            (Want::FirstValue | Want::Value, _) => {
                let len = match first {
                    b'"' => string(self.rest)?,
                    b't' => self.rest.starts_with(b"true").then_some(4)?,
                    b'f' => self.rest.starts_with(b"false").then_some(5)?,
                    b'n' => self.rest.starts_with(b"null").then_some(4)?,
                    _ => number(self.rest)?,
                };
                self.take(len);
                Some(Want::More)
            }
            (Want::FirstName | Want::Name, b'"') => {
                self.take(string(self.rest)?);
                self.skip_blanks();
                self.rest.starts_with(b":").then(|| self.take(1))?;
                Some(Want::Value)
            }
            _ => None,
        }
    }

    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn take(&mut self, len: usize) {
        if let Some((taken, rest)) = self.rest.split_at_checked(len) {
            self.lines.extend_from_slice(taken);
            self.rest = rest;
        }
    }

    /// Passes the byte that is next, and writes another, if any.
    fn pass(&mut self, instead: Option<u8>) {
        self.rest = self.rest.get(1..).unwrap_or_default();
        self.lines.extend(instead);
    }

    fn nest(&mut self, is_array: bool) -> Option<Want> {
        if self.depth == MOST_DEPTH {
            return None;
        }
        if self.depth == 0 && self.has_elements {
            self.pass(None)
        } else {
            self.take(1)
        }
        self.depth += 1;
        self.open = self.open << 1 | u128::from(is_array);
        Some(if is_array { Want::FirstValue } else { Want::FirstName })
    }

    fn close(&mut self) -> Option<Want> {
        self.depth -= 1;
        self.open >>= 1;
        if self.depth > 0 {
            self.take(1);
        } else if !self.has_elements {
            self.take(1);
            self.lines.push(b'\n');
        } else {
            // An array without elements has no line.
            let has_any = !self.lines.is_empty();
            self.pass(has_any.then_some(b'\n'));
        }
        Some(Want::More)
    }

    fn comma(&mut self, is_array: bool) -> Option<Want> {
        let ends_element = self.depth == 1 && self.has_elements;
        self.pass(Some(if ends_element { b'\n' } else { b',' }));
        Some(if is_array { Want::Value } else { Want::Name })
    }
}

/// How long the string at the start is, its quotes included.
fn string(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match *text.get(at + 1)? {
                b'u' => {
                    let digits = text.get(at + 2..at + 6)?;
                    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                    at += 6;
                }
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                _ => return None,
            },
            ..0x20 => return None,
            _ => at += 1,
        }
    }
}

/// How long the number at the start is.
fn number(text: &[u8]) -> Option<usize> {
    let digits = |at: usize| {
        let rest = text.get(at..).unwrap_or_default();
        at + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let start = usize::from(text.first() == Some(&b'-'));
    let mut end = if text.get(start) == Some(&b'0') { start + 1 } else { digits(start) };
    if end == start {
        return None;
    }
    if text.get(end) == Some(&b'.') {
        let after = digits(end + 1);
        (after > end + 1).then_some(())?;
        end = after;
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let start = end + 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        end = digits(start);
        (end > start).then_some(())?;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn lines(body: &str) -> Option<String> {
        lines_of(body.as_bytes()).map(|lines| String::from_utf8(lines).unwrap())
    }

    #[test]
    fn an_array_is_a_line_for_each_element_and_an_object_is_one() {
        for (body, expected) in [
            ("[]", ""),
            (" [ ] \r\n", ""),
            ("{}", "{}\n"),
            ("[{}]", "{}\n"),
            ("[[], [ ]]", "[]\n[]\n"),
            ("[1, -2.50, 3e+07,0,-0, 1E9]", "1\n-2.50\n3e+07\n0\n-0\n1E9\n"),
            ("[true,false , null]", "true\nfalse\nnull\n"),
            ("{\n  \"a b\" : [ 1 , { \"c\" : \"d  e\" } ]\n}\n", "{\"a b\":[1,{\"c\":\"d  e\"}]}\n"),
            (
                r#"[ "\" \\ \/ \b\f\n\r\t \u00Fe" , {"x":", "} ]"#,
                "\"\\\" \\\\ \\/ \\b\\f\\n\\r\\t \\u00Fe\"\n{\"x\":\", \"}\n",
            ),
            ("{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}\n"),
        ] {
            assert_eq!(lines(body).as_deref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn what_is_not_json_from_first_to_last_is_none() {
        for body in [
            "",
            " ",
            "1",
            "\"a\"",
            "null",
            "[",
            "{",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1]]",
            "[1] x",
            "[1]\n[2]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{1:2}",
            "{\"a\" 1}",
            "{\"a\":1]",
            "[1}",
            "[01]",
            "[1.]",
            "[.5]",
            "[-]",
            "[1e]",
            "[1e+]",
            "[+1]",
            "[tru]",
            "[nul]",
            "[True]",
            "[NaN]",
            "['a']",
            "[\"a]",
            "[\"\\x\"]",
            "[\"\\u12g4\"]",
            "[\"\\u12\"]",
            "[\"\t\"]",
            "[\"a\nb\"]",
            "[12:00:01] started",
            "{\"a\":1}\n{\"b\":2}\n",
            "[/* */]",
            "[\u{a0}]",
        ] {
            assert_eq!(lines(body), None, "{body}");
        }
    }

    #[test]
    fn nesting_ends_at_128_levels() {
        for (depth, is_taken) in [(128, true), (129, false), (100_000, false)] {
            let body = "[".repeat(depth) + &"]".repeat(depth);
            assert_eq!(lines(&body).is_some(), is_taken, "{depth}");
            let body = "[".to_owned() + &"{\"a\":".repeat(depth - 1) + "1" + &"}".repeat(depth - 1) + "]";
            assert_eq!(lines(&body).is_some(), is_taken, "{depth}");
        }
    }

    #[test]
    fn a_body_that_ends_anywhere_before_its_end_is_none() {
        let body = br#" {"a": [1.5e3, "\u0041\n", true, {"b": null}], "c": -0} "#;
        assert!(lines_of(body).is_some());
        for len in 0..body.len() - 1 {
            assert_eq!(lines_of(&body[..len]), None, "{len}");
        }
    }
}
