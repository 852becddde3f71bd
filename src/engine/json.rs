//! Writes JSON objects: the status and the diagnostics. We have a writer of our own because it is smaller: for the same
//! objects it takes 5,216 bytes of the stripped binary, serde_json 8,240 (and five crates and a derive macro to build),
//! miniserde 28,696. Nothing here parses JSON. Invariant: what is written is one valid JSON object.

use core::fmt::Write;

/// A JSON object while it is being written: the methods add members to it.
#[derive(Debug)]
pub struct Json {
    text: String,
}

impl Json {
    /// An empty object.
    #[must_use]
    pub fn new() -> Self {
        Self { text: "{".to_owned() }
    }

    /// Adds a number.
    #[inline(never)] // one copy, for size
    pub fn number(&mut self, name: &str, number: u64) -> &mut Self {
        self.name(name);
        // Writing to a `String` can't fail.
        let _ = write!(self.text, "{number}");
        self
    }

    /// Adds several numbers; `names` are their names with spaces between.
    #[inline(never)] // one copy, for size
    pub fn numbers(&mut self, names: &str, numbers: &[u64]) {
        for (name, number) in names.split(' ').zip(numbers) {
            self.number(name, *number);
        }
    }

    /// Adds a boolean.
    #[inline(never)] // one copy, for size
    pub fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name);
        self.text.push_str(if value { "true" } else { "false" });
        self
    }

    /// Adds a text.
    #[inline(never)] // one copy, for size
    pub fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.name(name);
        self.quoted(text);
        self
    }

    /// Adds an array of texts.
    pub fn texts<T: AsRef<str>>(&mut self, name: &str, texts: &[T]) -> &mut Self {
        self.open(name, '[');
        for text in texts {
            self.comma();
            self.quoted(text.as_ref());
        }
        self.close(']')
    }

    /// Adds an object as a member; `fill` adds the members of that object.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.open(name, '{');
        fill(self);
        self.close('}')
    }

    /// Adds an array of objects, one for each item; `fill` adds the members of one.
    pub fn objects<T>(&mut self, name: &str, items: &[T], fill: impl Fn(&mut Self, &T)) -> &mut Self {
        self.open(name, '[');
        for item in items {
            self.comma();
            self.text.push('{');
            fill(self, item);
            self.close('}');
        }
        self.close(']')
    }

    #[inline(never)] // one copy, for size
    fn open(&mut self, name: &str, bracket: char) {
        self.name(name);
        self.text.push(bracket);
    }

    #[inline(never)] // one copy, for size
    fn close(&mut self, bracket: char) -> &mut Self {
        self.text.push(bracket);
        self
    }

    /// Adds a comma, unless what comes is the first in its object or array.
    #[inline(never)] // one copy, for size
    fn comma(&mut self) {
        if !self.text.ends_with(['{', '[']) {
            self.text.push(',');
        }
    }

    /// Ends the object.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }

    #[inline(never)] // one copy, for size
    fn name(&mut self, name: &str) {
        self.comma();
        self.quoted(name);
        self.text.push(':');
    }

    fn quoted(&mut self, text: &str) {
        quote(text, &mut self.text);
    }
}

/// Appends a text as a JSON string: in quotes, and escaped.
#[inline(never)] // one copy, for size
pub fn quote(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    // All bytes that are escaped are ASCII, so none is in the middle of a character.
    while let Some(at) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let (special, after) = special.split_at(1);
        if special < " " {
            let byte = special.bytes().next().unwrap_or_default();
            out.push_str(if byte < 16 { "\\u000" } else { "\\u001" });
            out.push(char::from_digit(u32::from(byte % 16), 16).unwrap_or_default());
        } else {
            out.push('\\');
            out.push_str(special);
        }
        rest = after;
    }
    out.push_str(rest);
    out.push('"');
}

impl Default for Json {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_written_and_escaped() {
        let mut json = Json::new();
        json.number("n", 1).boolean("b", false).text("t", "a\"\\\n\u{e9}");
        json.texts::<String>("none", &[]).texts("two", &["x", "y"]);
        json.object("o", |json| {
            json.number("i", u64::MAX);
        });
        let expected =
            r#"{"n":1,"b":false,"t":"a\"\\\u000aé","none":[],"two":["x","y"],"o":{"i":18446744073709551615}}"#;
        assert_eq!(json.finish(), expected);
    }
}
