//! Where lines go, as `--output` says it, and what is known of it before it is opened. A new kind of output is a file in
//! one of the wings, with its [`Place`] and its `Target`, and a row in `kinds.rs`. Invariant: only [`Place::open`] opens
//! anything.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::claim::{Claim, User};
use super::source::Source;
use super::target::{Books, Target};
use crate::config::listen::ListenAddr;
use crate::config::output::OutputOptions;
use crate::config::text::{self, as_text};
#[cfg(all(feature = "sandbox", feature = "tls"))]
use crate::config::tls_out::TlsOptions;

/// One place where lines go (`--output`): `-` is stdout, `unix:/path` and `tcp:HOST:PORT` are the next receiver, anything
/// else is a file, or, with `{host}` in its name, a file for each host, with `{date}`, for each day, and with `{app}`,
/// `{severity}` or `{facility}`, for each value of these in syslog messages. A text that reads
/// like another address, or like another pattern, is refused; behind `./` it is the name of a file.
///
/// ```
/// let output: lumberjack::OutputAddr = "tcp:192.0.2.7:4445".parse()?;
/// assert_eq!(output.to_string(), "tcp:192.0.2.7:4445");
/// # Ok::<(), lumberjack::OutputAddrError>(())
/// ```
#[derive(Clone)]
pub struct OutputAddr(Arc<dyn Place>);

/// What is known of an output without opening it: how many descriptors and how much memory it takes, whether it is a file.
/// Its `Display` is the text that parses to it.
#[cfg_attr(not(feature = "cli"), expect(dead_code))] // who asks for all of it is left out
pub(super) trait Place: fmt::Display + Send + Sync {
    /// Opens it.
    ///
    /// # Errors
    /// Of the system; or the end of a sentence about why it can't be opened with these options.
    fn open(&self, options: &OutputOptions, books: &mut Books) -> io::Result<Opened>;

    /// Whether it is a server that says what it has: what it refuses is said in its own words.
    fn is_stream(&self) -> bool {
        false
    }

    /// Whether it is a store over HTTP, about which there are options of their own.
    #[cfg_attr(all(feature = "cli", not(any(feature = "nats", feature = "push"))), expect(dead_code))]
    fn is_push(&self) -> bool {
        false
    }

    /// Whether its lines have to be JSON.
    fn needs_json(&self) -> bool {
        false
    }

    /// Whether it is reached over TLS.
    fn is_secured(&self) -> bool {
        false
    }

    /// What it says of TLS itself.
    #[cfg(all(feature = "sandbox", feature = "tls"))]
    fn tls(&self) -> Option<&TlsOptions> {
        None
    }

    /// Whether it was given a secret, which its text leaves out.
    fn has_secret(&self) -> bool {
        false
    }

    /// Checks the options that are about it.
    ///
    /// # Errors
    /// What makes no sense, as a sentence.
    fn check(&self, options: &OutputOptions) -> Result<(), String> {
        let _ = options;
        Ok(())
    }

    /// What its position in a spool is called, if it reads its lines there where there is one: the same for as long as it is the
    /// same output.
    fn reads_spool(&self, options: &OutputOptions) -> Option<String> {
        let _ = options;
        None
    }

    /// Opens it with lines from a spool, which only those are asked for that read one.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    fn open_reader(
        &self,
        options: &OutputOptions,
        source: Box<dyn Source>,
        books: &mut Books,
    ) -> io::Result<Box<dyn Target>> {
        let _ = (options, source, books);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What it is called in a sentence. Control characters are escaped, so that it is always on one line.
    fn name(&self) -> String {
        escaped(&self)
    }

    /// The same, with what these options put into it.
    fn name_with(&self, options: &OutputOptions) -> String {
        let _ = options;
        self.name()
    }

    /// The most descriptors that it holds at once, beyond the one that is counted for each output.
    fn descriptors(&self, options: &OutputOptions) -> usize;

    /// Descriptors without which it can't go on for ever, beyond those that it has open when the start is over. Where they
    /// are not to be had, the start fails.
    fn least_descriptors(&self, options: &OutputOptions) -> usize {
        let _ = options;
        0
    }

    /// What it may hold in memory even while it can be written to.
    fn kept(&self, options: &OutputOptions) -> Kept {
        let _ = options;
        Kept::default()
    }

    /// How much of a disk it may take, for `--check`.
    fn disk(&self, options: &OutputOptions) -> DiskUse {
        let _ = options;
        DiskUse::Nothing
    }

    /// What [`Self::open`] would say, as far as that can be known without making anything: a sentence's end that it would
    /// warn with, if any.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    #[cfg(feature = "cli")]
    fn foresee(&self, options: &OutputOptions) -> io::Result<Option<String>> {
        let _ = options;
        Ok(None)
    }

    /// The paths that it uses.
    fn claims(&self, options: &OutputOptions) -> Vec<Claim> {
        let _ = options;
        Vec::new()
    }

    /// The file, or the pattern of files, that it writes to.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Whether it begins a file of its own each day.
    fn is_dated(&self) -> bool {
        false
    }

    /// Whether its name has words whose values are what messages say in their headers.
    fn asks_messages(&self, options: &OutputOptions) -> bool {
        let _ = options;
        false
    }

    /// Whether lines that go there would come in again at this listener, as far as the two addresses tell.
    fn comes_back_to(&self, listener: &ListenAddr) -> bool {
        let _ = listener;
        false
    }
}

/// What an output may hold in memory even while it can be written to: bytes; whether it may hold one line more; and what it
/// remembers of each line that waits.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    pub(super) bytes: usize,
    pub(super) holds_a_line: bool,
    pub(super) per_line: usize,
}

/// How much of a disk an output may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskUse {
    /// Nothing: it is no file.
    Nothing,
    /// What stdout goes to, which may be a file.
    OfStdout,
    /// So many files, and the rotated files of each.
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

    /// Whether it is a stream.
    #[cfg(all(feature = "cli", feature = "nats"))]
    pub(crate) fn is_stream(&self) -> bool {
        self.0.is_stream() && !self.0.is_push()
    }

    /// Whether it is a store over HTTP.
    #[cfg(all(feature = "cli", feature = "push"))]
    pub(crate) fn is_push(&self) -> bool {
        self.0.is_push()
    }

    /// Whether its text leaves out a secret that it was given.
    #[cfg(feature = "cli")]
    pub(crate) fn has_secret(&self) -> bool {
        self.0.has_secret()
    }

    /// Whether it is reached over TLS.
    #[cfg(feature = "cli")]
    pub(crate) fn is_secured(&self) -> bool {
        self.0.is_secured()
    }

    /// What it says of TLS itself.
    #[cfg(all(feature = "sandbox", feature = "tls"))]
    pub(crate) fn tls(&self) -> Option<&TlsOptions> {
        self.0.tls()
    }

    #[cfg(feature = "cli")]
    pub(crate) fn descriptors(&self, options: &OutputOptions) -> usize {
        self.0.descriptors(options)
    }

    #[cfg(feature = "cli")]
    pub(crate) fn least_descriptors(&self, options: &OutputOptions) -> usize {
        self.0.least_descriptors(options)
    }

    #[cfg(feature = "cli")]
    pub(crate) fn disk(&self, options: &OutputOptions) -> DiskUse {
        self.0.disk(options)
    }

    /// What a start would say of it, as far as that is known before, as a whole sentence.
    #[cfg(feature = "cli")]
    pub(super) fn foresee(&self, options: &OutputOptions) -> Result<Option<String>, io::Error> {
        let warning = self.0.foresee(options)?;
        Ok(warning.map(|warning| format!("{}: {warning}", self.name())))
    }

    #[cfg(feature = "cli")]
    pub(crate) fn comes_back_to(&self, listener: &ListenAddr) -> bool {
        self.0.comes_back_to(listener)
    }

    /// The file, or the pattern of files, that it writes to.
    pub(crate) fn file_path(&self) -> Option<&Path> {
        self.0.file()
    }

    /// The paths that it uses.
    pub(crate) fn uses(&self, options: &OutputOptions) -> User {
        User { name: format!("--output {}", self.name()), claims: self.0.claims(options) }
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
            _ => as_text(&self.0) == as_text(&other.0),
        }
    }
}

impl Eq for OutputAddr {}

/// Why a text names no output. `Display` is the end of a sentence that begins with the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputAddrError(pub(super) Cow<'static, str>);

impl OutputAddrError {
    pub(super) fn new(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for OutputAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OutputAddrError {}

#[inline(never)] // one copy, for size
fn escaped(name: &dyn fmt::Display) -> String {
    text::escaped(&as_text(name))
}
