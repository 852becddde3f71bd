//! Settings of TLS that a listener has: its files, and the names that clients may have. What they lead to is in `src/tls`.
//! Invariant: what prints parses to the same.

use core::fmt;
use core::str::FromStr;
use std::path::Path;

use super::tls::NamePattern;

/// A PEM file. [`TlsFile::default`] is none.
///
/// ```
/// use lumberjack::TlsFile;
///
/// let file: TlsFile = "/etc/lumberjack/cert.pem".parse()?;
/// assert_eq!(file.to_string(), "/etc/lumberjack/cert.pem");
/// # Ok::<(), lumberjack::TlsFileError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFile(String);

impl TlsFile {
    /// Its path, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        (!self.is_none()).then(|| Path::new(&self.0))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for TlsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text is no name of a file. `Display` is the end of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsFileError;

impl fmt::Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("give the name of a PEM file, such as /etc/lumberjack/cert.pem, without control characters")
    }
}

impl core::error::Error for TlsFileError {}

impl FromStr for TlsFile {
    type Err = TlsFileError;

    fn from_str(text: &str) -> Result<Self, TlsFileError> {
        if text.is_empty() || text.contains(char::is_control) { Err(TlsFileError) } else { Ok(Self(text.to_owned())) }
    }
}

/// Names that clients may have (`client-name`): one of them is enough, and where there are none, any will do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamePatterns(pub Vec<NamePattern>);

impl fmt::Display for NamePatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, pattern) in self.0.iter().enumerate() {
            // One without a dot would be taken for a key of its own.
            f.write_str(if number == 0 { "" } else { ",client-name=" })?;
            pattern.fmt(f)?;
        }
        Ok(())
    }
}
