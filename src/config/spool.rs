//! The spool between clients and outputs (`--spool` and the options beside it): where it is, how large it may be, and what
//! happens at its bound.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::path::{Path, PathBuf};

use super::word::{WordError, word_enum};

/// Default of [`SpoolOptions::size`]: at 10 lines a second of 100 bytes it lasts for four hours, and wears no flash out.
const DEFAULT_SIZE: usize = 16 << 20;
/// Default of [`SpoolOptions::lag_alarm`]: longer than a restart of a server, or of the link to it, takes.
const DEFAULT_LAG_ALARM: Duration = Duration::from_secs(600);

word_enum! {
    /// What becomes of lines when the spool is full (`--spool-full`).
    SpoolFull {
        /// They wait, and so do clients.
        #[default]
        Wait = "wait",
        /// The oldest segment goes, though not every output has its lines; the gap is told.
        DropOldest = "drop-oldest",
    }
}

/// 128 random bits, by which the lines of a box are told from those of others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BoxId(pub [u8; 16]);

impl fmt::Display for BoxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BoxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BoxId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let digits = text.as_bytes();
        let mut id = [0; 16];
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err("give the 32 hexadecimal digits of a box id, as the refusal of its spool names it");
        }
        for (byte, digits) in id.iter_mut().zip(digits.chunks(2)) {
            *byte = str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(0);
        }
        Ok(Self(id))
    }
}

/// The directory of a spool.
#[derive(Clone, PartialEq, Eq)]
pub struct SpoolDir(PathBuf);

impl SpoolDir {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl From<PathBuf> for SpoolDir {
    fn from(path: PathBuf) -> Self {
        Self(path)
    }
}

impl FromStr for SpoolDir {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "" => Err("name a directory, such as /var/spool/lumberjack"),
            path => Ok(Self(path.into())),
        }
    }
}

impl fmt::Display for SpoolDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl fmt::Debug for SpoolDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a spool is told. [`SpoolOptions::default`] has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// Where it is (`--spool`); `None`, the default: there is none.
    pub dir: Option<SpoolDir>,
    /// The most that its files take, in bytes (`--spool-size`). Default 16 MiB; at least four segments.
    pub size: usize,
    /// What happens then (`--spool-full`). Default `wait`.
    pub full: SpoolFull,
    /// The box whose place is to be taken (`--take-over`): a spool that another machine made is believed then.
    pub take_over: Option<BoxId>,
    /// How long an output may fall further behind before `/healthz` says so (`--lag-alarm`). Default 10 minutes; 0 is never.
    pub lag_alarm: Duration,
    /// The longest line, in bytes: that of the limits (`--max-line`).
    pub max_line: usize,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            dir: None,
            size: DEFAULT_SIZE,
            full: SpoolFull::Wait,
            take_over: None,
            lag_alarm: DEFAULT_LAG_ALARM,
            max_line: super::limits::DEFAULT_MAX_LINE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_id_prints_and_parses_to_the_same() {
        let id = BoxId([0xa5; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "a5", &"+1".repeat(16), &"g0".repeat(16), &"a5".repeat(17)] {
            assert!(text.parse::<BoxId>().is_err(), "{text}");
        }
    }
}
