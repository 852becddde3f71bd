//! Where lines go, and how: what `--output` and the options beside it say, and what of it makes no sense together.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;

use super::limits::{Overhead, WordError, word_enum};
use super::units::{DisplayDuration, DisplaySize};

/// What stands in a file's name for the host whose lines it holds.
pub(crate) const HOST_WORD: &str = "{host}";
/// The most outputs at once: each may take a descriptor that is watched.
pub const MOST_OUTPUTS: usize = 8;
/// Default of [`OutputOptions::rotate_keep`]: enough to look back, and with files of 1 MiB a small part of any flash.
const DEFAULT_KEEP: usize = 5;
/// The most files that may be kept: their names are looked for one by one.
const MOST_KEPT: usize = 9999;
/// Default of [`OutputOptions::host_files`]: a plant's worth of gateways.
const DEFAULT_HOST_FILES: usize = 256;
/// The most of them: each is known by name for as long as we run.
const MOST_HOST_FILES: usize = 65_536;
/// What `--sync interval` stands for: what a power cut takes is then at most what a second brought.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The least time between two syncs: an SD card takes some ten milliseconds for one.
const LEAST_SYNC: Duration = Duration::from_millis(100);
/// Default of [`OutputOptions::stall_timeout`]: longer than a restart of the next receiver takes.
const DEFAULT_STALL: Duration = Duration::from_secs(30);

/// One place where lines go (`--output`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputAddr {
    /// Standard output: `-`.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
    /// A file for each host, whose name takes the place of `{host}`.
    HostFiles(PathBuf),
    /// The next receiver, at a Unix socket: `unix:/path`.
    Unix(PathBuf),
    /// The next receiver, at a host's port: `tcp:HOST:PORT`.
    Tcp {
        /// Name or address, without brackets.
        host: String,
        /// Port.
        port: u16,
    },
}

/// Why a text names no output. `Display` is the end of a sentence that begins with the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputAddrError(&'static str);

impl fmt::Display for OutputAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for OutputAddrError {}

impl FromStr for OutputAddr {
    type Err = OutputAddrError;

    fn from_str(text: &str) -> Result<Self, OutputAddrError> {
        match text {
            "" => return Err(OutputAddrError("name a file, or - for stdout")),
            "-" => return Ok(Self::Stdout),
            _ => {}
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let is_path = !path.is_empty();
            return is_path
                .then(|| Self::Unix(path.into()))
                .ok_or(OutputAddrError("give a path, such as unix:/run/next.sock"));
        }
        if let Some(place) = text.strip_prefix("tcp:") {
            return tcp(place).ok_or(OutputAddrError("give a host and a port, such as tcp:192.0.2.7:4445"));
        }
        let Some(at) = text.find(HOST_WORD) else { return Ok(Self::File(text.into())) };
        let rest = text.get(at + HOST_WORD.len()..).unwrap_or_default();
        if rest.contains('/') || rest.contains(HOST_WORD) {
            return Err(OutputAddrError("{host} may stand once, in the file's name, not in a directory's"));
        }
        Ok(Self::HostFiles(text.into()))
    }
}

fn tcp(place: &str) -> Option<OutputAddr> {
    let (host, port) = place.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_fine = !host.is_empty() && !host.contains(char::is_whitespace) && (bare.is_some() || !host.contains(':'));
    is_fine.then(|| OutputAddr::Tcp { host: bare.unwrap_or(host).to_owned(), port })
}

impl fmt::Display for OutputAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("-"),
            Self::File(path) | Self::HostFiles(path) => path.display().fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
        }
    }
}

impl OutputAddr {
    /// What it is called in a sentence: `stdout`, `app.log`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Stdout => "stdout".to_owned(),
            other => other.to_string().escape_debug().to_string(),
        }
    }

    /// Whether it is `app.log.3`, and the other `app.log`.
    fn is_rotated_file_of(&self, other: &Self) -> bool {
        let (Self::File(path), Self::File(other)) = (self, other) else { return false };
        let name = path.as_os_str().as_encoded_bytes();
        let Some(rest) = name.strip_prefix(other.as_os_str().as_encoded_bytes()) else { return false };
        rest.len() > 1 && rest.starts_with(b".") && rest.iter().skip(1).all(u8::is_ascii_digit)
    }

    fn is_file(&self) -> bool {
        matches!(self, Self::File(_) | Self::HostFiles(_))
    }
}

word_enum! {
    /// What happens when the disk is full (`--disk-full`).
    DiskFull {
        /// Clients wait until there is space.
        #[default]
        Wait = "wait",
        /// The oldest rotated file is removed.
        DropOldest = "drop-oldest",
    }
}

word_enum! {
    /// What happens when an output takes nothing (`--on-stall`).
    OnStall {
        /// Clients wait until it does.
        #[default]
        Wait = "wait",
        /// After `--stall-timeout` it is passed over: it does not get the lines that come until it takes some again.
        Drop = "drop",
    }
}

/// How often a file is synced to the disk (`--sync`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncEvery {
    /// When the kernel likes.
    #[default]
    Never,
    /// At most this often, after lines were written.
    Time(Duration),
}

impl FromStr for SyncEvery {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "never" => Ok(Self::Never),
            "interval" => Ok(Self::Time(SYNC_INTERVAL)),
            _ => match super::units::parse_duration(text) {
                Ok(time) if time >= LEAST_SYNC => Ok(Self::Time(time)),
                _ => Err("use never, interval (1s), or a duration of at least 100ms, such as 5s"),
            },
        }
    }
}

impl fmt::Display for SyncEvery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Time(time) => DisplayDuration(*time).fmt(f),
        }
    }
}

/// Everything about the way out but the format, each named as its flag. [`OutputOptions::default`] is what the binary
/// runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputOptions {
    /// A file that would get longer is begun anew (`--rotate-size`). Default 0, which is never.
    pub rotate_size: usize,
    /// A file with lines that is this old is begun anew (`--rotate-age`). Default 0, which is never.
    pub rotate_age: Duration,
    /// How many earlier files are kept (`--rotate-keep`): `app.log.1` is the newest. Default 5; 0 keeps none.
    pub rotate_keep: usize,
    /// What happens when the disk is full (`--disk-full`). Default `wait`.
    pub disk_full: DiskFull,
    /// How often a file is synced to the disk (`--sync`). Default never.
    pub sync: SyncEvery,
    /// The longest that lines wait to be written to a file together (`--flush-every`). Default 0: until the turn ends.
    pub flush_every: Duration,
    /// What happens when an output takes nothing (`--on-stall`). Default `wait`.
    pub on_stall: OnStall,
    /// After how long (`--stall-timeout`). Default 30 s.
    pub stall_timeout: Duration,
    /// A constant field of each line, in the formats that have fields (`--tag`). Default none.
    pub tag: String,
    /// Whether the output says where something was dropped (`--mark-gaps`). Default no.
    pub mark_gaps: bool,
    /// Files for hosts at most (`--host-files`); further hosts share one. Default 256.
    pub host_files: usize,
}

impl Default for OutputOptions {
    fn default() -> Self {
        Self {
            rotate_size: 0,
            rotate_age: Duration::ZERO,
            rotate_keep: DEFAULT_KEEP,
            disk_full: DiskFull::Wait,
            sync: SyncEvery::Never,
            flush_every: Duration::ZERO,
            on_stall: OnStall::Wait,
            stall_timeout: DEFAULT_STALL,
            tag: String::new(),
            mark_gaps: false,
            host_files: DEFAULT_HOST_FILES,
        }
    }
}

/// Outputs that make no sense, alone or together. `Display` is a whole sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputError(String);

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for OutputError {}

fn wrong<T>(sentence: impl Into<String>) -> Result<T, OutputError> {
    Err(OutputError(sentence.into()))
}

impl OutputOptions {
    /// Whether files are begun anew at all.
    #[must_use]
    pub fn rotates(&self) -> bool {
        self.rotate_size > 0 || !self.rotate_age.is_zero()
    }

    /// Checks the outputs, and these options with them. `overhead` is what the format adds to a line of at most
    /// `max_line` bytes.
    ///
    /// # Errors
    /// The first thing that makes no sense, as a sentence.
    pub fn validate(&self, outputs: &[OutputAddr], overhead: Overhead, max_line: usize) -> Result<(), OutputError> {
        match outputs.len() {
            0 => return wrong("there is no output: give one with --output"),
            1..=MOST_OUTPUTS => {}
            _ => return wrong(format!("too many outputs: at most {MOST_OUTPUTS} are possible")),
        }
        for (number, one) in outputs.iter().enumerate() {
            if outputs.iter().take(number).any(|other| other == one) {
                return wrong(format!("--output {} is given twice: give it once", one.name()));
            }
            if self.rotates() && outputs.iter().any(|other| other.is_rotated_file_of(one)) {
                return wrong(format!("another --output has the name of a rotated file of {}: rename it", one.name()));
            }
        }
        let has_file = outputs.iter().any(OutputAddr::is_file);
        for (flag, is_given) in [
            ("--rotate-size", self.rotate_size > 0),
            ("--rotate-age", !self.rotate_age.is_zero()),
            ("--sync", self.sync != SyncEvery::Never),
            ("--flush-every", !self.flush_every.is_zero()),
        ] {
            if is_given && !has_file {
                return wrong(format!("{flag} is for files, and no --output names one: name a file, or leave it out"));
            }
        }
        let longest = overhead.at_most(max_line, 1);
        if self.rotate_size > 0 && self.rotate_size < longest {
            let (size, least) = (DisplaySize(self.rotate_size), DisplaySize(longest.div_ceil(1024) * 1024));
            return wrong(format!(
                "--rotate-size {size} is smaller than the longest line can be: give at least {least}, or lower --max-line"
            ));
        }
        if self.rotate_keep > MOST_KEPT {
            return wrong(format!("--rotate-keep is {}: give a number from 0 to {MOST_KEPT}", self.rotate_keep));
        }
        if self.disk_full == DiskFull::DropOldest && !(self.rotates() && self.rotate_keep > 0) {
            return wrong("--disk-full drop-oldest removes rotated files: give --rotate-size too, or leave it out");
        }
        if self.host_files == 0 || self.host_files > MOST_HOST_FILES {
            return wrong(format!("--host-files is {}: give a number from 1 to {MOST_HOST_FILES}", self.host_files));
        }
        if self.on_stall == OnStall::Drop && self.stall_timeout.is_zero() {
            return wrong("--stall-timeout is 0: give the time after which an output is passed over, such as 30s");
        }
        Ok(())
    }
}
