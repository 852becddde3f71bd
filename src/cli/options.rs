//! The one table of options: the parser, the config file and `--help` are all made from it, so that they can't differ.

use core::fmt;
use core::str::FromStr;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::limits::{Config, DEFAULT_UNIX_MODE, Limits, WordError, word_enum};
use crate::config::listen::{DEFAULT_LISTEN, ListenAddr};
use crate::config::output::{OnStall, OutputAddr, OutputOptions};
use crate::config::units::{DisplayDuration, DisplaySize, parse_duration, parse_size};
use crate::sink::{Format, parse_tag};

word_enum! {
    /// How a line of our own log begins (`--log-format`).
    LogFormat {
        /// As the journal wants it if stderr is the journal, else with the time.
        #[default]
        Auto = "auto",
        /// With the time.
        Plain = "plain",
        /// With its priority, and without a time, which the journal knows.
        Journal = "journal",
    }
}

/// What the command line and the config file come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen, and the limits.
    pub config: Config,
    /// Where lines go.
    pub outputs: Vec<OutputAddr>,
    /// How lines are written.
    pub format: Format,
    /// How files and the next receivers are treated.
    pub output: OutputOptions,
    /// Where the status endpoint is.
    #[cfg(feature = "status")]
    pub status: Option<ListenAddr>,
    /// Whether it shows lines.
    #[cfg(feature = "status")]
    pub status_tail: bool,
    /// How much of our own log is shown.
    pub log_level: log::LevelFilter,
    /// How its lines begin.
    pub log_format: LogFormat,
    /// How often it gets a summary; 0 is never.
    pub report_interval: Duration,
    /// Whether `--listen` was given; else sockets that are handed over take the default's place.
    pub is_listen_given: bool,
    /// Whether `--memory` was given; else the box decides.
    pub is_memory_given: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let config = Config { listen: Vec::new(), unix_mode: DEFAULT_UNIX_MODE, limits: Limits::default() };
        Self {
            config,
            outputs: Vec::new(),
            format: Format::Raw,
            output: OutputOptions::default(),
            #[cfg(feature = "status")]
            status: None,
            #[cfg(feature = "status")]
            status_tail: true,
            log_level: log::LevelFilter::Info,
            log_format: LogFormat::Auto,
            report_interval: Duration::ZERO,
            is_listen_given: false,
            is_memory_given: false,
        }
    }
}

impl Settings {
    /// Whether there is a status endpoint.
    #[must_use]
    pub fn has_status(&self) -> bool {
        #[cfg(feature = "status")]
        return self.status.is_some();
        #[cfg(not(feature = "status"))]
        false
    }

    /// Checks all that can be checked without the box.
    ///
    /// # Errors
    /// The first thing that makes no sense, as a sentence.
    pub fn validate(&self) -> Result<(), String> {
        self.config.validate().map_err(|error| error.to_string())?;
        #[cfg(feature = "status")]
        if let Some(status) = &self.status {
            let listen = &self.config.listen;
            let mut others = listen.iter().map(|listen| &listen.at);
            if let Some(other) = others.find(|other| other.covers(status, listen) || status.covers(other, listen)) {
                return Err(format!(
                    "--status {status} is taken by --listen {other}: clients would not know what to speak; choose another port"
                ));
            }
        }
        let max_line = self.config.limits.max_line;
        let overhead = self.format.overhead(&self.output.tag, self.output.mark_gaps);
        self.output.validate(&self.outputs, overhead, max_line).map_err(|error| error.to_string())?;
        if self.format == Format::Raw && !self.output.tag.is_empty() {
            return Err("--tag is a field of --format peer and json, and raw has none: choose one of them".to_owned());
        }
        if self.config.limits.receipt && self.output.on_stall == OnStall::Drop {
            return Err("--receipt says that lines are written, and --on-stall drop may drop them: choose one of them"
                .to_owned());
        }
        match self.outputs.iter().find(|output| self.config.listen.iter().any(|listen| is_own(output, &listen.at))) {
            Some(own) => Err(format!(
                "--output {} is where this program listens itself, and would send its lines round for ever: name the next receiver",
                own.name()
            )),
            None => Ok(()),
        }
    }
}

/// Whether what goes to `output` comes in at `listener`, as far as the texts tell.
fn is_own(output: &OutputAddr, listener: &ListenAddr) -> bool {
    match (output, listener) {
        (OutputAddr::Unix(path), ListenAddr::Unix(own)) => path == own,
        (OutputAddr::Tcp { host, port }, ListenAddr::Tcp(own)) if *port == own.port() => {
            let is_here = own.ip().is_unspecified() || own.ip().is_loopback();
            match host.parse::<IpAddr>() {
                Ok(ip) if ip.is_unspecified() => is_here,
                Ok(ip) => ip == own.ip() || (ip.is_loopback() && own.ip().is_unspecified()),
                Err(_) => host == "localhost" && is_here,
            }
        }
        _ => false,
    }
}

/// Headings of `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Where lines come from.
    Input,
    /// Where they go.
    Output,
    /// Files.
    Files,
    /// What a line may be.
    Lines,
    /// Memory and connections.
    Room,
    /// Time-outs.
    Times,
    /// The rest.
    Program,
}

impl Group {
    /// In the order of `--help`, with their headings.
    pub const ALL: [(Self, &str); 7] = [
        (Self::Input, "Input"),
        (Self::Output, "Output"),
        (Self::Files, "Output files"),
        (Self::Lines, "Lines"),
        (Self::Room, "Memory and connections"),
        (Self::Times, "Time-outs (0 turns one off, where nothing else is said)"),
        (Self::Program, "Program"),
    ];
}

/// Puts a value into the settings, or says what is wrong with it.
pub type Set = fn(&mut Settings, &str) -> Result<(), String>;

/// One option that takes a value.
pub struct Opt {
    /// Its name, without dashes: also its key in a config file.
    pub name: &'static str,
    /// Its letter, if it has one.
    pub letter: Option<char>,
    /// What it takes, for `--help`. Empty: a switch, which takes `true` or `false` in a config file.
    pub value: &'static str,
    /// Its heading.
    pub group: Group,
    /// What it does.
    pub help: &'static str,
    /// What it is in these settings; in [`Settings::default`], what it is when not given. `listen` and `output`, which
    /// may be there more than once, are always their default.
    pub default: fn(&Settings) -> String,
    /// Sets it.
    pub set: Set,
}

#[inline(never)] // one copy, for size
fn size(text: &str) -> Result<usize, String> {
    parse_size(text).map_err(|error| error.to_string())
}

#[inline(never)] // one copy, for size
fn number(text: &str) -> Result<usize, String> {
    text.trim().parse().map_err(|_| "give a whole number".to_owned())
}

fn word<T: core::str::FromStr<Err: core::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn on_or_off(is_on: bool) -> String {
    if is_on { "on" } else { "off" }.to_owned()
}

#[inline(never)] // one copy, for size
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

#[inline(never)] // one copy, for size
fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err("use true or false".to_owned()),
    }
}

macro_rules! duration {
    ($name:literal, $field:ident, $help:literal) => {
        Opt {
            name: $name,
            letter: None,
            value: "DURATION",
            group: Group::Times,
            help: $help,
            default: |settings| DisplayDuration(settings.config.limits.$field).to_string(),
            set: |settings, text| {
                settings.config.limits.$field = duration(text)?;
                Ok(())
            },
        }
    };
}

macro_rules! output_duration {
    ($name:literal, $group:ident, $field:ident, $help:literal) => {
        Opt {
            name: $name,
            letter: None,
            value: "DURATION",
            group: Group::$group,
            help: $help,
            default: |settings| DisplayDuration(settings.output.$field).to_string(),
            set: |settings, text| {
                settings.output.$field = duration(text)?;
                Ok(())
            },
        }
    };
}

macro_rules! limit {
    ($name:literal, $value:literal, $group:ident, $help:literal, $default:expr, $set:expr) => {
        Opt {
            name: $name,
            letter: None,
            value: $value,
            group: Group::$group,
            help: $help,
            default: $default,
            set: $set,
        }
    };
}

/// Every option but `--config`, `--check`, `--help` and `--version`, which only the command line has.
pub const OPTIONS: &[Opt] = &[
    Opt {
        name: "listen",
        letter: Some('l'),
        value: "ADDR:PORT|unix:/path",
        group: Group::Input,
        help: "where to listen; may be given more than once; port 0 picks one",
        default: |_| DEFAULT_LISTEN.to_owned(),
        set: |settings, text| {
            settings.config.listen.push(word(text)?);
            Ok(())
        },
    },
    limit!(
        "unix-mode",
        "OCTAL",
        Input,
        "permission bits of a Unix socket's file",
        |settings| format!("{:04o}", settings.config.unix_mode),
        |settings, text| {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
            settings.config.unix_mode = mode.ok_or("give octal digits from 0 to 0777, such as 0660")?;
            Ok(())
        }
    ),
    limit!(
        "receipt",
        "",
        Input,
        "a client that half-closes is told \"N lines\" once its lines are written",
        |settings| on_or_off(settings.config.limits.receipt),
        |settings, text| {
            settings.config.limits.receipt = switch(text)?;
            Ok(())
        }
    ),
    Opt {
        name: "output",
        letter: Some('o'),
        value: "-|FILE|unix:/path|tcp:HOST:PORT",
        group: Group::Output,
        help: "where lines go: stdout, a file ({host} in its name: one for each host), or the next receiver; may be given more than once",
        default: |_| "-".to_owned(),
        set: |settings, text| {
            settings.outputs.push(word(text)?);
            Ok(())
        },
    },
    limit!(
        "format",
        "raw|peer|json",
        Output,
        "raw: the line; peer: time, peer, line; json: one object a line",
        |settings| settings.format.to_string(),
        |settings, text| {
            settings.format = word(text)?;
            Ok(())
        }
    ),
    limit!(
        "tag",
        "NAME",
        Output,
        "a constant field of each line, with --format peer or json",
        |settings| settings.output.tag.clone(),
        |settings, text| {
            settings.output.tag = if text.is_empty() { String::new() } else { parse_tag(text)? };
            Ok(())
        }
    ),
    limit!(
        "mark-gaps",
        "",
        Output,
        "the output says where something was dropped, and how much",
        |settings| on_or_off(settings.output.mark_gaps),
        |settings, text| {
            settings.output.mark_gaps = switch(text)?;
            Ok(())
        }
    ),
    limit!(
        "rotate-size",
        "SIZE",
        Files,
        "a file that would get longer is begun anew; 0 is never",
        |settings| DisplaySize(settings.output.rotate_size).to_string(),
        |settings, text| {
            settings.output.rotate_size = size(text)?;
            Ok(())
        }
    ),
    output_duration!("rotate-age", Files, rotate_age, "a file this old is begun anew; 0 is never"),
    limit!(
        "rotate-keep",
        "NUMBER",
        Files,
        "how many earlier files are kept: FILE.1 is the newest",
        |settings| settings.output.rotate_keep.to_string(),
        |settings, text| {
            settings.output.rotate_keep = number(text)?;
            Ok(())
        }
    ),
    limit!(
        "disk-full",
        "wait|drop-oldest",
        Files,
        "when the disk is full: clients wait, or the oldest rotated file goes",
        |settings| settings.output.disk_full.to_string(),
        |settings, text| {
            settings.output.disk_full = word(text)?;
            Ok(())
        }
    ),
    limit!(
        "sync",
        "never|interval|DURATION",
        Files,
        "how often lines are synced to the disk at most; interval is 1s",
        |settings| settings.output.sync.to_string(),
        |settings, text| {
            settings.output.sync = word(text)?;
            Ok(())
        }
    ),
    output_duration!(
        "flush-every",
        Files,
        flush_every,
        "longest that lines gather before a write, to spare flash; 0 is not at all"
    ),
    limit!(
        "host-files",
        "NUMBER",
        Files,
        "files for hosts at most; further hosts share one",
        |settings| settings.output.host_files.to_string(),
        |settings, text| {
            settings.output.host_files = number(text)?;
            Ok(())
        }
    ),
    limit!(
        "on-stall",
        "wait|drop",
        Output,
        "when an output takes nothing: clients wait, or lines for it are dropped",
        |settings| settings.output.on_stall.to_string(),
        |settings, text| {
            settings.output.on_stall = word(text)?;
            Ok(())
        }
    ),
    output_duration!("stall-timeout", Output, stall_timeout, "after how long they are dropped"),
    limit!(
        "max-line",
        "SIZE",
        Lines,
        "longest line, without its ending",
        |settings| DisplaySize(settings.config.limits.max_line).to_string(),
        |settings, text| {
            settings.config.limits.max_line = size(text)?;
            Ok(())
        }
    ),
    limit!(
        "long-lines",
        "skip|cut|split",
        Lines,
        "what happens to a longer one",
        |settings| settings.config.limits.long_lines.to_string(),
        |settings, text| {
            settings.config.limits.long_lines = word(text)?;
            Ok(())
        }
    ),
    limit!(
        "max-buffer",
        "SIZE",
        Lines,
        "bytes without a newline that get the overflow warning",
        |settings| DisplaySize(settings.config.limits.max_buffer).to_string(),
        |settings, text| {
            settings.config.limits.max_buffer = size(text)?;
            Ok(())
        }
    ),
    limit!(
        "keep-empty",
        "",
        Lines,
        "empty lines go out too",
        |settings| on_or_off(settings.config.limits.keep_empty),
        |settings, text| {
            settings.config.limits.keep_empty = switch(text)?;
            Ok(())
        }
    ),
    limit!(
        "memory",
        "SIZE",
        Room,
        "all memory that clients and a slow output may take; by default at most a quarter of the box",
        |settings| DisplaySize(settings.config.limits.memory).to_string(),
        |settings, text| {
            settings.config.limits.memory = size(text)?;
            settings.is_memory_given = true;
            Ok(())
        }
    ),
    limit!(
        "max-connections",
        "NUMBER",
        Room,
        "connections at once",
        |settings| settings.config.limits.max_connections.to_string(),
        |settings, text| {
            settings.config.limits.max_connections = number(text)?;
            Ok(())
        }
    ),
    limit!(
        "when-full",
        "wait|reject",
        Room,
        "what happens to one more: it waits in the backlog, or is closed",
        |settings| settings.config.limits.when_full.to_string(),
        |settings, text| {
            settings.config.limits.when_full = word(text)?;
            Ok(())
        }
    ),
    limit!(
        "max-per-host",
        "NUMBER|half",
        Room,
        "connections of one host at once; 0 is no limit",
        |settings| settings.config.limits.max_per_host.map_or("half".to_owned(), |limit| limit.to_string()),
        |settings, text| {
            let wrong = |_| "give a whole number, half, or 0 for no limit".to_owned();
            settings.config.limits.max_per_host =
                if text == "half" { None } else { Some(number(text).map_err(wrong)?) };
            Ok(())
        }
    ),
    duration!("idle-timeout", idle_timeout, "silence after which a client is told goodbye"),
    duration!("line-timeout", line_timeout, "time after which a line without its newline goes out as it is"),
    duration!("linger", linger, "time that a client may take to close after our goodbye; 0 closes at once"),
    duration!("keepalive", keepalive, "silence after which TCP asks whether a client is alive"),
    duration!(
        "drain-timeout",
        drain_timeout,
        "longest wait for clients, and for a stuck output, at shutdown; 0 waits for neither"
    ),
    duration!(
        "gather",
        gather,
        "longest that a line waits for others, while many come alone; 0 is never, at most 100ms"
    ),
    #[cfg(feature = "status")]
    limit!(
        "status",
        "ADDR:PORT|unix:/path|off",
        Program,
        "where to show over HTTP how it is: a page, metrics, diagnostics, lines as they come",
        |settings| settings.status.as_ref().map_or("off".to_owned(), ToString::to_string),
        |settings, text| {
            settings.status = if text == "off" { None } else { Some(word(text)?) };
            Ok(())
        }
    ),
    #[cfg(feature = "status")]
    limit!(
        "status-tail",
        "on|off",
        Program,
        "whether lines are shown there",
        |settings| on_or_off(settings.status_tail),
        |settings, text| {
            settings.status_tail = switch(text)?;
            Ok(())
        }
    ),
    limit!(
        "log-level",
        "LEVEL",
        Program,
        "own log on stderr: off, error, warn, info, debug or trace",
        |settings| settings.log_level.to_string().to_lowercase(),
        |settings, text| {
            let error = "use one of off, error, warn, info, debug, trace";
            settings.log_level = text.parse().map_err(|_| error.to_owned())?;
            Ok(())
        }
    ),
    limit!(
        "log-format",
        "auto|plain|journal",
        Program,
        "plain: with the time; journal: with <N>, its priority; auto: what stderr is",
        |settings| settings.log_format.to_string(),
        |settings, text| {
            settings.log_format = word(text)?;
            Ok(())
        }
    ),
    limit!(
        "report-interval",
        "DURATION",
        Program,
        "how often the log gets a line of rates, connections and memory; 0 is never",
        |settings| DisplayDuration(settings.report_interval).to_string(),
        |settings, text| {
            settings.report_interval = duration(text)?;
            Ok(())
        }
    ),
];

/// Options that only the command line has, as `--help` shows them.
pub const COMMAND_LINE_ONLY: &[(&str, Option<char>, &str, &str)] = &[
    ("config", None, "FILE", "the same options, one a line: max-line = 64KiB; flags win"),
    ("check", None, "", "print the settings, their origin and what they can cost at worst, and run nothing"),
    ("help", Some('h'), "", "this text"),
    ("version", Some('V'), "", "the version"),
];

/// The option with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.name == name)
}

/// The nearest real option to a mistyped one, if any is near. In a config file, those of the command line are not.
#[must_use]
pub fn nearest(name: &str, is_in_file: bool) -> Option<&'static str> {
    let only_here = COMMAND_LINE_ONLY.iter().filter(|_| !is_in_file).map(|option| option.0);
    let names = OPTIONS.iter().map(|option| option.name).chain(only_here);
    let by_distance = names.map(|real| (strsim::osa_distance(name, real), real));
    // A third of the letters may be wrong: more is another word.
    by_distance.filter(|(distance, real)| *distance <= real.len().div_ceil(3)).min().map(|(_, real)| real)
}
