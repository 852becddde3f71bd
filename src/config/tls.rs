//! What options say of TLS. It is read in each build, so that one without TLS can say so.

use core::fmt;
use core::str::FromStr;

use super::word::{WordError, word_enum};

word_enum! {
    /// The oldest version of TLS that is spoken (`tls-min`).
    TlsVersion {
        /// TLS 1.2.
        #[default]
        V12 = "1.2",
        /// TLS 1.3.
        V13 = "1.3",
    }
}

/// The longest name of DNS.
const MOST_NAME: usize = 253;

/// A name of a certificate, or a pattern of them, in which a label that is `*` is any one label: `*.plant.example`. Capitals
/// are small letters.
///
/// ```
/// use lumberjack::NamePattern;
///
/// let pattern: NamePattern = "*.plant.example".parse()?;
/// assert!(pattern.matches("Box1.plant.example") && !pattern.matches("a.box1.plant.example"));
/// # Ok::<(), lumberjack::NamePatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Whether a name is one of these. A `*` of the name is a text like any other.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let (mut labels, mut patterns) = (name.split('.'), self.0.split('.'));
        loop {
            match (labels.next(), patterns.next()) {
                (None, None) => return true,
                (Some(label), Some("*")) if !label.is_empty() => {}
                (Some(label), Some(pattern)) if label.eq_ignore_ascii_case(pattern) => {}
                _ => return false,
            }
        }
    }
}

impl FromStr for NamePattern {
    type Err = NamePatternError;

    fn from_str(text: &str) -> Result<Self, NamePatternError> {
        let is_sign = |sign: char| !sign.is_control() && !sign.is_whitespace() && !",\"'".contains(sign);
        let is_label = |label: &str| !label.is_empty() && (label == "*" || !label.contains('*'));
        let is_pattern = text.len() <= MOST_NAME && text.chars().all(is_sign) && text.split('.').all(is_label);
        if is_pattern { Ok(Self(text.to_ascii_lowercase())) } else { Err(NamePatternError) }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is no pattern of names. `Display` is the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamePatternError;

impl fmt::Display for NamePatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("give the name of a certificate, such as box1.plant.example, or *.plant.example, where * is one whole part between dots")
    }
}

impl core::error::Error for NamePatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p33_a_star_is_one_whole_label() {
        let matches = |pattern: &str, name: &str| pattern.parse::<NamePattern>().unwrap().matches(name);
        assert!(matches("box1.plant.example", "BOX1.Plant.example"));
        assert!(matches("*.plant.example", "box1.plant.example"));
        assert!(matches("box1.*.example", "box1.plant.example"));
        assert!(matches("*", "box1"));
        for (pattern, name) in [
            ("*.plant.example", "plant.example"),
            ("*.plant.example", "a.box1.plant.example"),
            ("*.plant.example", ".plant.example"),
            ("*", ""),
            ("*", "a.b"),
            ("box1", "box10"),
            ("box1.plant", "box1.plant.example"),
            ("box1.plant.example", "*.plant.example"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn p13_what_is_no_pattern_is_told() {
        for text in ["", "a..b", ".a", "a.", "box*.example", "**", "a b", "a,b", "a\n", &"a".repeat(254)] {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
        }
        assert_eq!("*.A.b".parse::<NamePattern>().unwrap().to_string(), "*.a.b");
    }
}
