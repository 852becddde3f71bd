//! Subjects: what may be one, what a stream takes, and a box's name within one. Invariant: a box has one subject, since the
//! order of its lines, and that each is there once, hold within one.

use super::base::{has, has_any, replaced};

/// What stands for the name of the box.
pub const BOX: &str = "{box}";
const MOST_BYTES: usize = 200;
const MOST_NAME: usize = 64;

/// A subject as it was given, perhaps with [`BOX`] in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// Reads a subject.
    ///
    /// # Errors
    /// It is none that lines can go to; the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let bare = replaced(text, BOX, "box");
        let sentence = match text {
            "" => "give the subject behind a slash, such as nats://192.0.2.7/logs.{box}",
            _ if has(text.as_bytes(), "{host}") => {
                "{host} is not replaced: lines of one box keep their order within one subject; give {box}, and look for hosts in the lines"
            }
            _ if has_any(&bare, "{}") => "only {box} is replaced in a subject, by --box",
            _ if has_any(&bare, "*>") => "* and > stand for many subjects: give the one that this box's lines go to",
            _ if has_any(&bare, "/?#%\\~") => {
                "a subject is words with dots between, such as logs.{box}, and ends the text"
            }
            _ if bare.starts_with(['$', '_']) => "subjects that begin with $ or _ are the server's own: give another",
            _ if has_any(&bare, "$") => "nothing but {box} is replaced in a subject: leave out the $",
            _ if bare.as_bytes().split(|byte| *byte == b'.').any(<[u8]>::is_empty) => {
                "there is a word missing beside a dot"
            }
            _ if !bare.bytes().all(|byte| byte.is_ascii_graphic()) => {
                "a subject is letters, digits and signs, without blanks"
            }
            _ if text.len() > MOST_BYTES => "a subject has at most 200 bytes",
            _ => return Ok(Self(text.to_owned())),
        };
        Err(sentence)
    }

    /// Reads one that may stand for many, with `*` and `>` in it.
    ///
    /// # Errors
    /// It is none; the end of a sentence.
    pub fn pattern(text: &str) -> Result<Self, &'static str> {
        let (mut bare, mut words) = (String::new(), text.split('.').peekable());
        while let Some(word) = words.next() {
            let is_wild = word == "*" || (word == ">" && words.peek().is_none());
            bare.push_str(if is_wild { "any" } else { word });
            bare.push_str(if words.peek().is_some() { "." } else { "" });
        }
        if has_any(&bare, "*>") {
            return Err("* stands for one whole word, and > for all at the end, such as logs.* or logs.>");
        }
        Self::parse(&bare).map(|_| Self(text.to_owned()))
    }

    /// The subject of the box of this name.
    #[must_use]
    pub fn of(&self, name: &str) -> String {
        replaced(&self.0, BOX, &token(name))
    }

    /// The subjects of a stream that is made for it: those of all boxes whose lines go to the same text.
    #[must_use]
    pub fn to_make(&self, name: &str) -> String {
        let mut subjects = String::new();
        for word in self.0.split('.') {
            subjects.push_str(if subjects.is_empty() { "" } else { "." });
            subjects.push_str(if has(word.as_bytes(), BOX) { "*" } else { word });
        }
        // Every subject of one word: that is more than anybody would want to have taken.
        if subjects == "*" { self.of(name) } else { subjects }
    }

    /// As it was given.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// A name as one word of a subject: letters, digits, `-` and `_` stay, and all else becomes `_`.
#[must_use]
pub fn token(name: &str) -> String {
    let mut word = String::new();
    for letter in name.chars().take(MOST_NAME) {
        let is_fine = letter.is_ascii_alphanumeric() || letter == '-';
        word.push(if is_fine { letter } else { '_' });
    }
    if word.is_empty() { "box".to_owned() } else { word }
}

/// What is wrong with the name of a stream, as the end of a sentence.
#[must_use]
pub fn misread_stream(name: &str) -> Option<&'static str> {
    let is_fine = |byte: u8| byte.is_ascii_graphic() && !b".*>/\\\"".contains(&byte);
    match name {
        "" => Some("a stream has a name: give that of nats stream ls"),
        _ if !name.bytes().all(is_fine) => Some("a stream's name has no dots, blanks, slashes, quotes, * or >"),
        _ if name.len() > MOST_BYTES => Some("a stream's name has at most 200 bytes"),
        _ => None,
    }
}

/// Whether a stream's subject, perhaps with `*` and `>` in it, takes this one.
pub(super) fn covers(pattern: &[u8], subject: &[u8]) -> bool {
    let mut words = subject.split(|byte| *byte == b'.');
    for part in pattern.split(|byte| *byte == b'.') {
        match (part, words.next()) {
            (_, None) => return false,
            (b">", Some(_)) => return true,
            (b"*", Some(_)) => {}
            (part, Some(word)) if part == word => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_what_is_no_subject_says_what_to_give() {
        for (text, sentence) in [
            ("", "give the subject behind a slash, such as nats://"),
            ("logs.{host}", "{host} is not replaced: lines of one box keep their order within one subject; give {box}"),
            ("logs.{date}", "only {box} is replaced"),
            ("logs.{box", "only {box} is replaced"),
            ("logs.*", "* and > stand for many subjects"),
            ("logs.>", "* and > stand for many subjects"),
            ("logs/a", "a subject is words with dots between"),
            ("logs?x=1", "a subject is words with dots between"),
            ("%h", "a subject is words with dots between"),
            ("$JS.API.x", "subjects that begin with $ or _ are the server's own"),
            ("$SYS.x", "subjects that begin with $ or _ "),
            ("_INBOX.x", "subjects that begin with $ or _ "),
            ("logs.$HOST", "nothing but {box} is replaced in a subject: leave out the $"),
            ("logs..a", "there is a word missing beside a dot"),
            (".logs", "there is a word missing beside a dot"),
            ("logs.", "there is a word missing beside a dot"),
            ("logs a", "a subject is letters, digits and signs, without blanks"),
            ("logs.ä", "a subject is letters, digits and signs"),
            ("logs\n", "a subject is letters, digits and signs"),
            (&"x".repeat(201), "a subject has at most 200 bytes"),
        ] {
            let error = Subject::parse(text).unwrap_err();
            assert!(error.starts_with(sentence), "{text}: {error}");
        }
        for (name, sentence) in [
            ("", "a stream has a name"),
            ("a.b", "a stream's name has no dots"),
            ("a b", "a stream's name has no"),
            (&"x".repeat(201), "a stream's name has at most"),
        ] {
            assert!(misread_stream(name).unwrap().starts_with(sentence), "{name}");
        }
        assert_eq!(misread_stream("LOGS-1"), None);
    }

    #[test]
    fn what_is_read_may_be_of_many_subjects() {
        for text in ["logs", "logs.{box}", "logs.*", "*", ">", "logs.>", "*.{box}.*", "a.*.>"] {
            assert_eq!(Subject::pattern(text), Ok(Subject(text.to_owned())), "{text}");
        }
        for (text, sentence) in [
            ("logs.a*", "* stands for one whole word"),
            ("logs.>.a", "* stands for one whole word"),
            ("logs>", "* stands for one whole word"),
            ("*.", "there is a word missing"),
            (".logs", "there is a word missing"),
            ("", "give the subject behind a slash"),
            ("$JS.>", "subjects that begin with $"),
        ] {
            let error = Subject::pattern(text).unwrap_err();
            assert!(error.starts_with(sentence), "{text}: {error}");
        }
    }

    #[test]
    fn a_name_of_a_box_is_one_word_whatever_it_is() {
        for (name, word) in [
            ("web1", "web1"),
            ("web1.example.com", "web1_example_com"),
            ("a b>*", "a_b__"),
            ("", "box"),
            ("Bär", "B_r"),
        ] {
            assert_eq!(token(name), word);
        }
        assert_eq!(token(&"x".repeat(1000)).len(), 64);
    }

    #[test]
    fn a_stream_that_is_made_takes_the_subjects_of_every_box() {
        for (text, subject, made) in [
            ("logs.{box}", "logs.web_1", "logs.*"),
            ("logs.{box}.app", "logs.web_1.app", "logs.*.app"),
            ("logs.b-{box}", "logs.b-web_1", "logs.*"),
            ("logs", "logs", "logs"),
            ("{box}", "web_1", "web_1"),
            ("{box}.{box}", "web_1.web_1", "*.*"),
        ] {
            let parsed = Subject::parse(text).unwrap();
            assert_eq!((parsed.of("web.1"), parsed.to_make("web.1")), (subject.to_owned(), made.to_owned()), "{text}");
            assert!(covers(made.as_bytes(), subject.as_bytes()));
        }
    }

    #[test]
    fn a_stream_takes_what_its_subjects_say() {
        for (pattern, subject, is_so) in [
            ("logs.>", "logs.a", true),
            ("logs.>", "logs.a.b", true),
            ("logs.>", "logs", false),
            ("logs.*", "logs.a", true),
            ("logs.*", "logs.a.b", false),
            ("*.a", "logs.a", true),
            ("logs.a", "logs.a", true),
            ("logs.a", "logs.ab", false),
            ("logs.a.b", "logs.a", false),
            (">", "logs.a", true),
            ("", "logs", false),
        ] {
            assert_eq!(covers(pattern.as_bytes(), subject.as_bytes()), is_so, "{pattern} {subject}");
        }
    }
}
