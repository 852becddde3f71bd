//! A writer for the few JSON objects we make, a screen of code. Two libraries were measured on the same objects
//! (stripped bytes beyond a program without JSON): this 5,216; serde_json 8,240, with five crates and a derive macro to
//! build; miniserde 28,696. Nothing here needs the parsers that they come with. Invariant: what is written is one valid
//! JSON object.

use core::fmt::Write;

/// An object in the making.
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
    pub fn number(&mut self, name: &str, number: u64) -> &mut Self {
        self.name(name);
        // Writing to a `String` can't fail.
        let _ = write!(self.text, "{number}");
        self
    }

    /// Adds a boolean.
    pub fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name);
        self.text.push_str(if value { "true" } else { "false" });
        self
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.name(name);
        self.quoted(text);
        self
    }

    /// Adds an array of texts.
    pub fn texts(&mut self, name: &str, texts: &[String]) -> &mut Self {
        self.name(name);
        self.text.push('[');
        for (at, text) in texts.iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            self.quoted(text);
        }
        self.text.push(']');
        self
    }

    /// Adds an object, which `fill` fills.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.name(name);
        self.text.push('{');
        fill(self);
        self.text.push('}');
        self
    }

    /// The whole object.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }

    fn name(&mut self, name: &str) {
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        self.quoted(name);
        self.text.push(':');
    }

    fn quoted(&mut self, text: &str) {
        self.text.push('"');
        for letter in text.chars() {
            match letter {
                '"' | '\\' => self.text.extend(['\\', letter]),
                '\0'..' ' => {
                    let _ = write!(self.text, "\\u{:04x}", u32::from(letter));
                }
                _ => self.text.push(letter),
            }
        }
        self.text.push('"');
    }
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
        json.texts("none", &[]).texts("two", &["x".into(), "y".into()]);
        json.object("o", |json| {
            json.number("i", u64::MAX);
        });
        let expected =
            r#"{"n":1,"b":false,"t":"a\"\\\u000aé","none":[],"two":["x","y"],"o":{"i":18446744073709551615}}"#;
        assert_eq!(json.finish(), expected);
    }
}
