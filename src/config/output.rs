//! Where lines go, and how: what `--output` and the options beside it say, and what of it makes no sense together.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use super::calendar::TimeOfDay;
use super::limits::{WordError, word_enum};
use super::nats::NatsOptions;
use super::push::PushOptions;
use super::spool::SpoolOptions;
use super::syslog::SyslogOptions;
use super::tls_out::TlsOptions;
use super::units::{DisplayDuration, DisplaySize};

/// What stands in a file's name for the host whose lines it holds.
pub(crate) const HOST_WORD: &str = "{host}";
/// What stands there for the day.
pub(crate) const DATE_WORD: &str = "{date}";
/// What stands there for the program that a syslog message names.
pub(crate) const APP_WORD: &str = "{app}";
/// What stands there for how grave it is.
pub(crate) const SEVERITY_WORD: &str = "{severity}";
/// What stands there for the part of a system that it came from.
pub(crate) const FACILITY_WORD: &str = "{facility}";
/// What stands there for the name in the certificate of a client over TLS.
#[cfg(feature = "tls")]
pub(crate) const NAME_WORD: &str = "{name}";
/// All of these.
pub(crate) const WORDS: &[&str] = &[
    DATE_WORD,
    HOST_WORD,
    APP_WORD,
    SEVERITY_WORD,
    FACILITY_WORD,
    #[cfg(feature = "tls")]
    NAME_WORD,
];
/// The most outputs at once: each may take a descriptor that is watched.
pub const MOST_OUTPUTS: usize = 8;
/// Default of [`OutputOptions::rotate_keep`]: enough to look back, and with files of 1 MiB a small part of any flash.
pub(crate) const DEFAULT_KEEP: usize = 5;
/// The most files that may be kept: their names are looked for one by one. A larger number behind a name is none of ours:
/// `app.log.20260731` is a date.
pub(crate) const MOST_KEPT: usize = 9999;
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
    /// A file with lines is begun anew each day at this local time (`--rotate-at`). Default never; with `{date}` in the
    /// file's name, midnight. Without the feature `calendar` local time is UTC.
    pub rotate_at: Option<TimeOfDay>,
    /// How many earlier files are kept (`--rotate-keep`): `app.log.1` is the newest; with
    /// `{date}` in the name, those of so many earlier days. Default 5; 0 keeps none.
    pub rotate_keep: usize,
    /// Whether they are compressed (`--rotate-compress`), by the feature `compress`. Default no.
    pub rotate_compress: bool,
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
    /// What is done with the headers of syslog messages; `None`, the default: no listener has `parse=syslog`.
    pub syslog: Option<SyslogOptions>,
    /// Mode of new files (`--file-mode`). Default: that of the file that had the name before, else 0666 less the umask.
    pub file_mode: Option<u32>,
    /// Group of new files, by its number (`--file-group`). Default: that of the file that had the name before.
    pub file_group: Option<u32>,
    /// Whether directories that are missing are made (`--make-dirs`). Default no.
    pub make_dirs: bool,
    /// Files for hosts at most (`--host-files`); further hosts share one. Default 256.
    pub host_files: usize,
    /// What stands between clients and the outputs to other machines (`--spool` and the like), by the feature `spool`. Default
    /// nothing.
    pub spool: SpoolOptions,
    /// What outputs to streams are told (`--nats-stream` and the like), by the feature `nats`.
    pub nats: NatsOptions,
    /// What outputs to stores over HTTP are told (`--push-batch` and the like), by the feature `push`.
    pub push: PushOptions,
    /// Whom connections over TLS trust, and who we are to them (`--tls-ca` and the like), where the output itself says nothing of
    /// it, by the feature `tls`.
    pub tls: TlsOptions,
}

impl Default for OutputOptions {
    fn default() -> Self {
        Self {
            rotate_size: 0,
            rotate_age: Duration::ZERO,
            rotate_at: None,
            rotate_keep: DEFAULT_KEEP,
            rotate_compress: false,
            disk_full: DiskFull::Wait,
            sync: SyncEvery::Never,
            flush_every: Duration::ZERO,
            on_stall: OnStall::Wait,
            stall_timeout: DEFAULT_STALL,
            tag: String::new(),
            mark_gaps: false,
            syslog: None,
            file_mode: None,
            file_group: None,
            make_dirs: false,
            host_files: DEFAULT_HOST_FILES,
            spool: SpoolOptions::default(),
            nats: NatsOptions::default(),
            push: PushOptions::default(),
            tls: TlsOptions::default(),
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

impl OutputError {
    pub(crate) fn new(sentence: String) -> Self {
        Self(sentence)
    }
}

fn wrong<T>(sentence: impl AsRef<str>) -> Result<T, OutputError> {
    Err(refusal(sentence.as_ref()))
}

#[inline(never)] // one copy, for size
fn refusal(sentence: &str) -> OutputError {
    OutputError(sentence.to_owned())
}

impl OutputOptions {
    /// Takes over from `newer` what can change while outputs are open (P27).
    pub(crate) fn renew(&mut self, newer: &Self) {
        self.rotate_size = newer.rotate_size;
        self.rotate_age = newer.rotate_age;
        self.rotate_keep = newer.rotate_keep;
        self.disk_full = newer.disk_full;
        self.flush_every = newer.flush_every;
        self.on_stall = newer.on_stall;
        self.stall_timeout = newer.stall_timeout;
        self.file_mode = newer.file_mode;
        self.file_group = newer.file_group;
        self.make_dirs = newer.make_dirs;
        self.spool.lag_alarm = newer.spool.lag_alarm;
        if let (Some(own), Some(newer)) = (&mut self.syslog, newer.syslog) {
            own.min_severity = newer.min_severity;
        }
    }

    /// Whether files are begun anew at all.
    #[must_use]
    pub fn rotates(&self) -> bool {
        self.rotate_size > 0 || !self.rotate_age.is_zero() || self.rotate_at.is_some()
    }

    /// Whether rotated files are compressed.
    pub(crate) fn compresses(&self) -> bool {
        cfg!(feature = "compress") && self.rotate_compress
    }

    /// Checks how many outputs there are.
    ///
    /// # Errors
    /// None, or too many, as a sentence.
    pub(crate) fn check_count(outputs: usize) -> Result<(), OutputError> {
        match outputs {
            0 => wrong("there is no output: give one with --output"),
            1..=MOST_OUTPUTS => Ok(()),
            _ => wrong(format!("too many outputs: at most {MOST_OUTPUTS} are possible")),
        }
    }

    /// Checks these options. `has_file`: whether an output is a file. `longest` is what the longest line can become, in
    /// bytes.
    ///
    /// # Errors
    /// The first thing that makes no sense, as a sentence.
    pub(crate) fn validate(&self, has_file: bool, longest: usize) -> Result<(), OutputError> {
        for (flag, is_given) in [
            ("--rotate-size", self.rotate_size > 0),
            ("--rotate-age", !self.rotate_age.is_zero()),
            ("--rotate-at", self.rotate_at.is_some()),
            ("--rotate-compress", self.rotate_compress),
            ("--sync", self.sync != SyncEvery::Never && self.spool.dir.is_none()),
            ("--flush-every", !self.flush_every.is_zero()),
            ("--file-mode", self.file_mode.is_some()),
            ("--file-group", self.file_group.is_some()),
            ("--make-dirs", self.make_dirs),
        ] {
            if is_given && !has_file {
                return wrong(format!("{flag} is for files, and no --output names one: name a file, or leave it out"));
            }
        }
        if self.rotate_size > 0 && self.rotate_size < longest {
            let (size, least) = (DisplaySize(self.rotate_size), DisplaySize(longest.div_ceil(1024) * 1024));
            return wrong(format!(
                "--rotate-size {size} is smaller than the longest line can be: give at least {least}, or lower --max-line"
            ));
        }
        if self.rotate_keep > MOST_KEPT {
            return wrong(format!("--rotate-keep is {}: give a number from 0 to {MOST_KEPT}", self.rotate_keep));
        }
        if self.rotate_compress && !self.rotates() {
            return wrong(
                "--rotate-compress compresses rotated files: give --rotate-size or --rotate-at too, or leave it out",
            );
        }
        if self.rotate_compress && self.rotate_keep == 0 {
            return wrong("--rotate-compress compresses rotated files, and --rotate-keep 0 keeps none: give 1 or more");
        }
        if self.rotate_compress && !cfg!(feature = "compress") {
            return wrong("--rotate-compress is not in this build: it is the feature `compress`");
        }
        if self.spool.dir.is_some() && !cfg!(feature = "spool") {
            return wrong("a spool is not in this build: it is the feature `spool`");
        }
        if self.syslog.is_some() && !cfg!(feature = "syslog") {
            return wrong("parse=syslog is not in this build: it is the feature `syslog`");
        }
        if self.disk_full == DiskFull::DropOldest && !(self.rotates() && self.rotate_keep > 0) {
            return wrong("--disk-full drop-oldest removes rotated files: give --rotate-size too, or leave it out");
        }
        if self.host_files == 0 || self.host_files > MOST_HOST_FILES {
            return wrong(format!("--host-files is {}: give a number from 1 to {MOST_HOST_FILES}", self.host_files));
        }
        if let Some(mode) = self.file_mode.filter(|mode| mode & !0o777 != 0 || mode & 0o200 == 0) {
            return wrong(format!(
                "--file-mode is {mode:04o}, by which the owner could not write: give octal digits from 0200 to 0777, such as 0640"
            ));
        }
        if self.on_stall == OnStall::Drop && self.stall_timeout.is_zero() {
            return wrong("--stall-timeout is 0: give the time after which an output is passed over, such as 30s");
        }
        Ok(())
    }
}
