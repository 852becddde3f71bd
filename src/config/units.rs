//! Sizes and durations as people write them: `100KiB`, `5m`. What parses prints back, and parses to the same value.

use core::fmt;
use core::time::Duration;

use super::text::{is, whole};

/// Those that are printed are the first three. A letter alone is binary, as `dd` and systemd have it; with a `B` it is what
/// disks are sold by.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];
const DURATION_UNITS_MS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Why a text is no size or no duration. `Display` is the end of a sentence that begins with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnitError {
    /// Nothing, or only a unit.
    NoNumber,
    /// Digits, then something that is no unit of a size.
    NotASize,
    /// Digits, then something that is no unit of a duration, or no unit at all.
    NotADuration,
    /// More than this machine's integers hold.
    TooLarge,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNumber => "it does not start with a whole number, as 64KiB and 30s do",
            Self::NotASize => {
                "a size is a number of bytes, or one with KiB, MiB or GiB (K, M, G), kB, MB or GB, such as 64KiB"
            }
            Self::NotADuration => "a duration is a number with ms, s, m, h or d, such as 30s, or 0",
            Self::TooLarge => "the number is too large for this machine; give a smaller one",
        })
    }
}

impl core::error::Error for UnitError {}

/// A number of lines in a sentence: `1 line`, `2 lines`; with `{:#}` its verb too: `1 line was`, `2 lines were`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplayLines(pub u64);

impl fmt::Display for DisplayLines {
    #[inline(never)] // for size
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [noun, verb] = if self.0 == 1 { ["line", " was"] } else { ["lines", " were"] };
        write!(f, "{} {noun}{}", self.0, if f.alternate() { verb } else { "" })
    }
}

/// Reads a size in bytes: digits, then optionally `KiB`, `MiB`, `GiB`, or their first letter alone, `kB`, `MB` or `GB`, in
/// any case. Spaces between are allowed.
///
/// # Errors
/// See [`UnitError`]; a size that does not fit `usize` (4 GiB on a 32-bit box) is too large.
///
/// ```
/// assert_eq!(lumberjack::parse_size("100KiB"), Ok(102_400));
/// assert_eq!(lumberjack::parse_size("100k"), Ok(102_400));
/// assert_eq!(lumberjack::parse_size("1 MB"), Ok(1_000_000));
/// assert!(lumberjack::parse_size("12 parsecs").is_err());
/// ```
pub fn parse_size(text: &str) -> Result<usize, UnitError> {
    let (number, unit) = split_number(text)?;
    let unit_bytes = match unit {
        "" | "B" => 1,
        _ => lookup(&SIZE_UNITS, unit).ok_or(UnitError::NotASize)?,
    };
    let bytes = number.checked_mul(unit_bytes).ok_or(UnitError::TooLarge)?;
    usize::try_from(bytes).map_err(|_| UnitError::TooLarge)
}

/// Reads a duration: digits with `ms`, `s`, `m`, `h` or `d` (24 hours); a bare `0` needs no unit.
///
/// # Errors
/// See [`UnitError`].
///
/// ```
/// use std::time::Duration;
/// assert_eq!(lumberjack::parse_duration("5m"), Ok(Duration::from_secs(300)));
/// assert_eq!(lumberjack::parse_duration("0"), Ok(Duration::ZERO));
/// assert!(lumberjack::parse_duration("300").is_err(), "300 what?");
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split_number(text)?;
    let unit_ms = match unit {
        "" if number == 0 => 1,
        _ => lookup(&DURATION_UNITS_MS, unit).ok_or(UnitError::NotADuration)?,
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or(UnitError::TooLarge)
}

/// A size in bytes, written with the largest binary unit that divides it: `102400` is `100KiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplaySize(pub usize);

impl fmt::Display for DisplaySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as u64;
        match SIZE_UNITS.iter().take(3).find(|(_, unit_bytes)| bytes != 0 && bytes.is_multiple_of(*unit_bytes)) {
            Some((unit, unit_bytes)) => write!(f, "{}{unit}", bytes / unit_bytes),
            None => write!(f, "{bytes}"),
        }
    }
}

/// A duration in whole milliseconds, written with the largest unit that divides it: 300 s is `5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DisplayDuration(pub Duration);

impl fmt::Display for DisplayDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match DURATION_UNITS_MS.iter().rev().find(|(_, unit_ms)| ms != 0 && ms.is_multiple_of(u128::from(*unit_ms))) {
            Some((unit, unit_ms)) => write!(f, "{}{unit}", ms / u128::from(*unit_ms)),
            None => f.write_str("0"),
        }
    }
}

/// Seconds for a person, who wants to know about how long something takes: `4 min`.
#[cfg(feature = "spool")]
pub(crate) struct About(pub(crate) u64);

#[cfg(feature = "spool")]
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(86_400, "days"), (3600, "h"), (60, "min"), (1, "s")];
        let (seconds, unit) = units.into_iter().find(|(seconds, _)| self.0 >= 2 * seconds).unwrap_or((1, "s"));
        write!(f, "{} {unit}", self.0 / seconds)
    }
}

/// The shortest of some times to wait, if there is any.
#[inline(never)] // one copy, for size
pub(crate) fn soonest(waits: &[Option<Duration>]) -> Option<Duration> {
    let mut soonest = None;
    for wait in waits.iter().flatten() {
        soonest = Some(soonest.map_or(*wait, |other: Duration| other.min(*wait)));
    }
    soonest
}

fn split_number(text: &str) -> Result<(u64, &str), UnitError> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    if digits.is_empty() {
        return Err(UnitError::NoNumber);
    }
    let number = whole(digits).ok_or(UnitError::TooLarge)?;
    Ok((number, unit.trim_start()))
}

fn lookup(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| is(name, unit)).map(|(_, factor)| *factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "spool")]
    #[test]
    fn a_person_hears_about_how_long() {
        for (seconds, text) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (400_000, "4 days")] {
            assert_eq!(About(seconds).to_string(), text);
        }
    }

    #[test]
    fn a_line_is_one_and_lines_are_several() {
        for (number, noun, with_verb) in
            [(0, "0 lines", "0 lines were"), (1, "1 line", "1 line was"), (12, "12 lines", "12 lines were")]
        {
            let lines = DisplayLines(number);
            assert_eq!((format!("{lines}").as_str(), format!("{lines:#}").as_str()), (noun, with_verb));
        }
    }

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, bytes) in [
            ("0", Ok(0)),
            ("1", Ok(1)),
            ("17B", Ok(17)),
            ("64KiB", Ok(65_536)),
            ("64 kib", Ok(65_536)),
            ("2MiB", Ok(2 << 20)),
            ("1GiB", Ok(1 << 30)),
            ("3kB", Ok(3_000)),
            ("3MB", Ok(3_000_000)),
            ("3GB", Ok(3_000_000_000)),
            ("", Err(UnitError::NoNumber)),
            ("KiB", Err(UnitError::NoNumber)),
            ("-1", Err(UnitError::NoNumber)),
            ("1.5MiB", Err(UnitError::NotASize)),
            ("64k", Ok(65_536)),
            ("1M", Ok(1 << 20)),
            ("2G", Ok(2 << 30)),
            ("1T", Err(UnitError::NotASize)),
            ("18446744073709551616", Err(UnitError::TooLarge)),
            ("18446744073709551615KiB", Err(UnitError::TooLarge)),
        ] {
            assert_eq!(parse_size(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, ms) in [
            ("0", Ok(0)),
            ("250ms", Ok(250)),
            ("30s", Ok(30_000)),
            ("5m", Ok(300_000)),
            ("2 h", Ok(7_200_000)),
            ("5", Err(UnitError::NotADuration)),
            ("5d", Ok(432_000_000)),
            ("5w", Err(UnitError::NotADuration)),
            ("", Err(UnitError::NoNumber)),
            ("s", Err(UnitError::NoNumber)),
            ("18446744073709551615h", Err(UnitError::TooLarge)),
        ] {
            assert_eq!(parse_duration(text), ms.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for bytes in [0, 1, 1023, 1024, 1536, 102_400, 1 << 20, (1 << 30) + 1, usize::MAX >> 1] {
            assert_eq!(parse_size(&DisplaySize(bytes).to_string()), Ok(bytes));
        }
        assert_eq!(DisplaySize(1 << 20).to_string(), "1MiB");
        for ms in [0, 1, 999, 1_000, 1_500, 60_000, 90_000, 3_600_000, 86_400_000, 90_000_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&DisplayDuration(duration).to_string()), Ok(duration));
        }
    }
}
