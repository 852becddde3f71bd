//! Where lines go, as `--output` says it: what every kind of output has to tell without being opened. A new kind is a file
//! in one of the wings, with its [`Place`] and its target, and a row in `kinds.rs`.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::target::{Books, Target};
use crate::config::listen::ListenAddr;
use crate::config::output::OutputOptions;

/// One place where lines go (`--output`): `-` is stdout, `unix:/path` and `tcp:HOST:PORT` are the next receiver, anything
/// else is a file, or, with `{host}` in its name, a file for each host, and with `{date}`, for each day.
///
/// ```
/// let output: lumberjack::OutputAddr = "tcp:192.0.2.7:4445".parse()?;
/// assert_eq!(output.to_string(), "tcp:192.0.2.7:4445");
/// # Ok::<(), lumberjack::OutputAddrError>(())
/// ```
#[derive(Clone)]
pub struct OutputAddr(Arc<dyn Place>);

/// What of an output is known without opening it. Its `Display` is what parses to it.
#[cfg_attr(not(feature = "cli"), expect(dead_code))] // who asks for all of it is left out
pub(super) trait Place: fmt::Display + Send + Sync {
    /// Opens it.
    ///
    /// # Errors
    /// Of the system, or a sentence's end that says what it can't be.
    fn open(&self, options: &OutputOptions, books: &mut Books) -> io::Result<Opened>;

    /// What it is called in a sentence, on one line whatever is in it.
    fn name(&self) -> String {
        self.to_string().escape_debug().to_string()
    }

    /// Descriptors that it may hold at once, beyond the one that each output has.
    fn descriptors(&self, options: &OutputOptions) -> usize;

    /// What it may hold though nothing is wrong, in bytes, and whether it may hold on to one line more.
    fn kept(&self, options: &OutputOptions) -> Kept {
        let _ = options;
        Kept::default()
    }

    /// What it takes of a disk.
    fn disk(&self, options: &OutputOptions) -> DiskUse {
        let _ = options;
        DiskUse::Nothing
    }

    /// The file, or the pattern of files, that it writes to.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Whether it begins a file of its own each day.
    fn is_dated(&self) -> bool {
        false
    }

    /// Whether what goes there comes in at this listener, as far as the texts tell.
    fn comes_back_to(&self, listener: &ListenAddr) -> bool {
        let _ = listener;
        false
    }
}

/// What is held though nothing is wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    pub(super) bytes: usize,
    pub(super) holds_a_line: bool,
}

/// What an output takes of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskUse {
    /// It is no file.
    Nothing,
    /// Whatever stdout goes to.
    OfStdout,
    /// So many files, each with its rotated ones.
    Files(u64),
    /// A file for each day that is kept.
    Days,
}

/// What tells whether two outputs are one: device and number of a file; of files for hosts, those of their directory, and
/// their name.
pub(super) type Identity = (u64, u64, OsString);

/// An open output.
pub(super) struct Opened {
    pub(super) target: Box<dyn Target>,
    pub(super) identity: Option<Identity>,
}

impl OutputAddr {
    pub(super) fn new(place: impl Place + 'static) -> Self {
        Self(Arc::new(place))
    }

    /// What it is called in a sentence: `stdout`, `app.log`.
    #[must_use]
    pub fn name(&self) -> String {
        self.0.name()
    }

    pub(super) fn place(&self) -> &dyn Place {
        &*self.0
    }

    #[cfg(feature = "cli")]
    pub(crate) fn descriptors(&self, options: &OutputOptions) -> usize {
        self.0.descriptors(options)
    }

    #[cfg(feature = "cli")]
    pub(crate) fn disk(&self, options: &OutputOptions) -> DiskUse {
        self.0.disk(options)
    }

    #[cfg(feature = "cli")]
    pub(crate) fn comes_back_to(&self, listener: &ListenAddr) -> bool {
        self.0.comes_back_to(listener)
    }

    /// Whether it is `app.log.3`, and the other `app.log`.
    pub(super) fn is_rotated_file_of(&self, other: &Self) -> bool {
        let (Some(path), Some(other)) = (self.0.file(), other.0.file()) else { return false };
        let name = path.as_os_str().as_encoded_bytes();
        let Some(rest) = name.strip_prefix(other.as_os_str().as_encoded_bytes()) else { return false };
        rest.len() > 1 && rest.starts_with(b".") && rest.iter().skip(1).all(u8::is_ascii_digit)
    }
}

impl fmt::Display for OutputAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for OutputAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name())
    }
}

impl PartialEq for OutputAddr {
    fn eq(&self, other: &Self) -> bool {
        match (self.0.file(), other.0.file()) {
            // Paths are equal though one has a `./` in it.
            (Some(one), Some(other)) => one == other,
            _ => self.0.to_string() == other.0.to_string(),
        }
    }
}

impl Eq for OutputAddr {}

/// Why a text names no output. `Display` is the end of a sentence that begins with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputAddrError(pub(super) &'static str);

impl fmt::Display for OutputAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for OutputAddrError {}
