//! How much a host may send (`--rate`, `--burst`): a bare number is lines, one with a unit of size is bytes. Invariant: what
//! prints parses to the same.

use core::fmt;
use core::str::FromStr;

use super::units::{DisplaySize, parse_size};

/// An amount of lines or bytes: what may come in a second (`--rate`), or at once (`--burst`).
///
/// ```
/// use lumberjack::Rate;
///
/// assert_eq!("200".parse(), Ok(Rate::Lines(200)));
/// assert_eq!("64KiB".parse(), Ok(Rate::Bytes(65_536)));
/// assert_eq!("off".parse(), Ok(Rate::Off));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rate {
    /// Nothing is said.
    #[default]
    Off,
    /// So many lines.
    Lines(u32),
    /// So many bytes.
    Bytes(u32),
}

impl Rate {
    /// Whether both are lines, or both bytes.
    #[must_use]
    pub fn is_like(self, other: Self) -> bool {
        core::mem::discriminant(&self) == core::mem::discriminant(&other)
    }
}

/// A text is no amount. `Display` is the end of a sentence that begins with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateError;

impl fmt::Display for RateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bare number is lines, one with B, KiB or MiB is bytes, such as 200 or 64KiB, each below 4294967296, and without lines or /s behind it; or off")
    }
}

impl core::error::Error for RateError {}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let text = text.trim();
        if text == "off" {
            return Ok(Self::Off);
        }
        let number = u32::try_from(parse_size(text).map_err(|_| RateError)?).map_err(|_| RateError)?;
        Ok(match number {
            0 => Self::Off,
            _ if text.ends_with(|last: char| last.is_ascii_digit()) => Self::Lines(number),
            _ => Self::Bytes(number),
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Off => f.write_str("off"),
            Self::Lines(number) => number.fmt(f),
            Self::Bytes(number) => {
                DisplaySize(number as usize).fmt(f)?;
                f.write_str(if number % 1024 == 0 { "" } else { "B" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p26_amounts_parse_and_print_back_and_a_unit_makes_them_bytes() {
        for (text, rate, shown) in [
            ("off", Rate::Off, "off"),
            ("0", Rate::Off, "off"),
            ("0KiB", Rate::Off, "off"),
            ("1", Rate::Lines(1), "1"),
            ("1024", Rate::Lines(1024), "1024"),
            ("1024B", Rate::Bytes(1024), "1KiB"),
            ("1 MB", Rate::Bytes(1_000_000), "1000000B"),
            ("64KiB", Rate::Bytes(65_536), "64KiB"),
            ("4294967295", Rate::Lines(u32::MAX), "4294967295"),
        ] {
            assert_eq!((text.parse(), rate.to_string().as_str(), shown.parse()), (Ok(rate), shown, Ok(rate)), "{text}");
        }
        for text in ["", "x", "-1", "1.5", "100/s", "4GiB", "4294967296", "10lines"] {
            assert_eq!(text.parse::<Rate>(), Err(RateError), "{text}");
        }
    }
}
