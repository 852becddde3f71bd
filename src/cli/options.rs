//! The one table of options. The parser, the config file, `--help`, `--check` and the pages in `dist/` are all made from
//! it. A new option is a field of [`Settings`], its default, and a row of [`OPTIONS`].

use core::fmt;
use core::str::FromStr;
use std::path::Path;
use std::time::Duration;

use log::LevelFilter;

use crate::config::limits::{Config, DEFAULT_UNIX_MODE, EmbeddedNewline, Limits, WordError, word_enum};
use crate::config::listen::{DEFAULT_LISTEN, ListenAddr, ListenOptions};
use crate::config::network::{NetworkError, Networks};
use crate::config::output::{DATE_WORD, DEFAULT_KEEP, OnStall, OutputOptions};
use crate::config::syslog::{Parse, SyslogOptions};
use crate::config::units::{DisplayDuration, DisplaySize, parse_duration, parse_size};
use crate::host::group_number;
use crate::sink::{DiskUse, Format, OutputAddr, Outputs, SYNTAX, User, conflict, parse_tag};

word_enum! {
    /// How a line of our own log begins (`--log-format`).
    LogFormat {
        /// `journal` if stderr is the journal, else `plain`.
        #[default]
        Auto = "auto",
        /// With the time.
        Plain = "plain",
        /// With the priority, for the journal, which adds the time itself.
        Journal = "journal",
    }
}

/// What the command line and the config file say together. [`Settings::default`] is what holds if they say nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where to listen, and the limits.
    pub config: Config,
    /// Options of listeners that say nothing else.
    pub listen_defaults: ListenOptions,
    /// What is done with syslog headers.
    pub syslog: SyslogOptions,
    /// Where lines go.
    pub outputs: Vec<OutputAddr>,
    /// How lines are written.
    pub format: Format,
    /// How files and the next receivers are treated.
    pub output: OutputOptions,
    /// Address of the status endpoint, if there is one.
    #[cfg(feature = "status")]
    pub status: Option<ListenAddr>,
    /// Whether the status endpoint shows lines.
    #[cfg(feature = "status")]
    pub status_tail: bool,
    /// How much of our own log is shown.
    pub log_level: LevelFilter,
    /// How lines of our own log begin.
    pub log_format: LogFormat,
    /// How often our own log gets a line of rates; 0 is never.
    pub report_interval: Duration,
    /// The file that `--config` names.
    pub config_file: Option<String>,
    /// Whether `--listen` was given. If not, sockets that a supervisor hands over replace its default.
    pub is_listen_given: bool,
    /// Whether `--memory` was given. If not, it is lowered on a box with little memory.
    pub is_memory_given: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let listen = DEFAULT_LISTEN.parse().into_iter().collect();
        Self {
            config: Config { listen, unix_mode: DEFAULT_UNIX_MODE, udp_buffer: 0, limits: Limits::default() },
            listen_defaults: ListenOptions::default(),
            syslog: SyslogOptions::default(),
            outputs: vec![OutputAddr::stdout()],
            format: Format::Raw,
            output: OutputOptions::default(),
            #[cfg(feature = "status")]
            status: None,
            #[cfg(feature = "status")]
            status_tail: true,
            log_level: LevelFilter::Info,
            log_format: LogFormat::Auto,
            report_interval: Duration::ZERO,
            config_file: None,
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

    /// Every option, and its value.
    #[cfg(feature = "status")]
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static str, String)> {
        OPTIONS.iter().map(|option| (option.name, option.current(self))).collect()
    }

    /// Gives each listener the options that it says nothing of.
    pub fn give_defaults(&mut self) {
        self.config.listen.iter_mut().for_each(|listen| listen.inherit(&self.listen_defaults));
        let has_syslog = self.config.listen.iter().any(|listen| listen.options.parse == Parse::Syslog);
        self.output.syslog = has_syslog.then_some(self.syslog);
    }

    /// Checks all that is known before anything is opened or made. Of the box only the paths are looked at.
    ///
    /// # Errors
    /// A sentence about the first setting that does not work.
    pub fn validate(&self) -> Result<(), String> {
        self.config.validate().map_err(|error| error.to_string())?;
        if let Some((option, value, why)) = self.listen_defaults.useless(self.config.listen.iter().map(|one| &one.at)) {
            return Err(format!("--{option} {value} fits no --listen: {why}"));
        }
        #[cfg(feature = "status")]
        if let Some(status) = &self.status {
            if status.is_udp() {
                return Err(crate::config::limits::ConfigError::StatusUdp { at: status.clone() }.to_string());
            }
            let listen = &self.config.listen;
            let mut others = listen.iter().map(|listen| &listen.at);
            if let Some(other) = others.find(|other| other.covers(status, listen) || status.covers(other, listen)) {
                return Err(format!(
                    "--status {status} is taken by --listen {other}: clients would not know what to speak; choose another port"
                ));
            }
        }
        self.check_syslog()?;
        let max_line = self.config.limits.max_line;
        Outputs::validate(&self.outputs, self.format, &self.output, max_line).map_err(|error| error.to_string())?;
        if self.format == Format::Raw && !self.output.tag.is_empty() {
            return Err("--tag is a field of --format peer and json, and raw has none: choose one of them".to_owned());
        }
        let not_stdout = self.outputs.iter().find(|output| **output != OutputAddr::stdout());
        let keeps = self.config.limits.embedded_newline == EmbeddedNewline::Keep;
        if let Some(output) = not_stdout.filter(|_| keeps && self.format != Format::Json) {
            return Err(format!(
                "--embedded-newline keep would make two lines of one for who reads --output {}: choose escape or space, or --format json",
                output.name()
            ));
        }
        if self.config.limits.receipt && self.output.on_stall == OnStall::Drop {
            return Err("--receipt says that lines are written, and --on-stall drop may drop them: choose one of them"
                .to_owned());
        }
        match self
            .outputs
            .iter()
            .find(|output| self.config.listen.iter().any(|listen| output.comes_back_to(&listen.at)))
        {
            Some(own) => Err(format!(
                "--output {} is where this program listens itself, and would send its lines round for ever: name the next receiver",
                own.name()
            )),
            None => self.check_paths(None),
        }
    }

    /// What is asked for and comes to nothing, as a sentence. No refusal: there are config files that have it.
    pub(super) fn warning(&self) -> Option<String> {
        let keep = self.output.rotate_keep;
        let rotates =
            || self.output.rotates() || self.outputs.iter().any(|output| output.disk(&self.output) == DiskUse::Days);
        (keep != DEFAULT_KEEP && !rotates()).then(|| {
            format!("--rotate-keep {keep} is of no use, as nothing rotates: give --rotate-size, --rotate-age or --rotate-at too, or {DATE_WORD} in a file's name")
        })
    }

    /// Options about headers need somebody who reads them, and fields that show them.
    fn check_syslog(&self) -> Result<(), String> {
        let given = self.syslog;
        let flags = [
            ("min-severity", given.min_severity.is_some(), false),
            ("keep-original", given.keep_original, true),
            ("trust-host", given.trust_host, true),
        ];
        for (flag, _, needs_fields) in flags.into_iter().filter(|(_, is_given, _)| *is_given) {
            if self.output.syslog.is_none() {
                return Err(format!(
                    "--{flag} is about headers, which nobody reads: add --parse syslog, or --listen ADDR:PORT,parse=syslog"
                ));
            }
            if needs_fields && self.format != Format::Json {
                return Err(format!("--{flag} is about the fields of --format json: add that, or leave it out"));
            }
        }
        Ok(())
    }

    /// Checks that each path is used for one thing, those of outputs, sockets and the config file.
    ///
    /// # Errors
    /// A sentence about the first two that use one path.
    pub(super) fn check_paths(&self, config_file: Option<&str>) -> Result<(), String> {
        let mut users: Vec<User> = self.outputs.iter().map(|output| output.uses(&self.output)).collect();
        let mut add_socket = |flag: &str, at: &ListenAddr| {
            if let ListenAddr::Unix(path) = at {
                users.push(User::of_path(format!("{flag} {at}"), path));
            }
        };
        self.config.listen.iter().for_each(|listen| add_socket("--listen", &listen.at));
        #[cfg(feature = "status")]
        self.status.iter().for_each(|status| add_socket("--status", status));
        // One that is piped in is no path of ours.
        if let Some(path) = config_file.filter(|path| Path::new(path).is_file()) {
            users.push(User::of_path(format!("--config {}", path.escape_debug()), path.as_ref()));
        }
        conflict(&users).map_or(Ok(()), Err)
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

/// Puts a value into the settings, or returns what is wrong with it.
pub type Set = fn(&mut Settings, &str) -> Result<(), String>;
/// Takes a value over from newer settings.
pub type Renew = fn(&mut Settings, &Settings);
/// Is given each value that an option has.
pub type Each<'e> = &'e mut dyn FnMut(&dyn fmt::Display);

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
    /// Sets it. A list gets one more value.
    pub set: Set,
    /// Empties it, if it is a list: flags replace a list of the config file, and both replace the default.
    pub clear: fn(&mut Settings),
    /// Calls back with its value in these settings; for a list, with each of its values.
    show: fn(&Settings, Each<'_>),
    /// Takes it from newer settings, if it can change while the program runs (P27).
    pub renew: Option<Renew>,
}

impl Opt {
    /// Its value in these settings, as [`Self::set`] takes it; of a list, all of them. In [`Settings::default`]: what it is
    /// when not given.
    #[must_use]
    pub fn values(&self, settings: &Settings) -> Vec<String> {
        let mut values = Vec::new();
        (self.show)(settings, &mut |value| values.push(value.to_string()));
        values
    }

    /// Whether it may be given more than once.
    #[must_use]
    pub fn is_list(&self) -> bool {
        let mut settings = Settings::default();
        (self.clear)(&mut settings);
        self.values(&settings).is_empty()
    }

    /// The same as one text.
    #[must_use]
    pub fn current(&self, settings: &Settings) -> String {
        self.values(settings).join(", ")
    }
}

/// How a field of the settings is read from text and shown as text.
trait Kind<T> {
    fn set(field: &mut T, text: &str) -> Result<(), String>;
    fn show(field: &T, each: Each<'_>);
    fn clear(_: &mut T) {}
}

/// Bytes: `64KiB`.
struct Size;
/// A whole number.
struct Number;
/// A duration: `30s`.
struct Time;
/// `on` or `off`.
struct Switch;
/// What the field's own type reads and prints.
struct Word;
/// The same, or `off`.
struct WordOrOff;
/// The same, given any number of times.
struct List;
/// Networks with commas between, given any number of times.
struct Nets;
/// Permission bits of a file: `0660`.
struct Octal;
/// The same, or [`AS_BEFORE`].
struct OctalOrBefore;
/// A group by its name or number, or [`AS_BEFORE`].
struct GroupOrBefore;
/// What `--tag` takes; empty is no tag.
struct Tag;
/// A whole number, or `half`.
struct NumberOrHalf;
/// A level of our own log, in lower case.
struct Level;

impl Kind<usize> for Size {
    #[inline(never)] // one copy, for size
    fn set(field: &mut usize, text: &str) -> Result<(), String> {
        *field = parse_size(text).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn show(field: &usize, each: Each<'_>) {
        each(&DisplaySize(*field));
    }
}

impl Kind<usize> for Number {
    #[inline(never)] // one copy, for size
    fn set(field: &mut usize, text: &str) -> Result<(), String> {
        *field = text.trim().parse().map_err(|_| "give a whole number".to_owned())?;
        Ok(())
    }

    fn show(field: &usize, each: Each<'_>) {
        each(field);
    }
}

impl Kind<Duration> for Time {
    #[inline(never)] // one copy, for size
    fn set(field: &mut Duration, text: &str) -> Result<(), String> {
        *field = parse_duration(text).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn show(field: &Duration, each: Each<'_>) {
        each(&DisplayDuration(*field));
    }
}

impl Kind<bool> for Switch {
    #[inline(never)] // one copy, for size
    fn set(field: &mut bool, text: &str) -> Result<(), String> {
        *field = match text {
            "true" | "yes" | "on" => true,
            "false" | "no" | "off" => false,
            _ => return Err("use true or false".to_owned()),
        };
        Ok(())
    }

    #[inline(never)] // one copy, for size
    fn show(field: &bool, each: Each<'_>) {
        each(if *field { &"on" } else { &"off" });
    }
}

impl<T: FromStr<Err: fmt::Display> + fmt::Display> Kind<T> for Word {
    fn set(field: &mut T, text: &str) -> Result<(), String> {
        *field = text.parse().map_err(|error: T::Err| error.to_string())?;
        Ok(())
    }

    fn show(field: &T, each: Each<'_>) {
        each(field);
    }
}

impl Kind<Networks> for Nets {
    #[inline(never)] // one copy, for size
    fn set(field: &mut Networks, text: &str) -> Result<(), String> {
        let more: Networks = text.parse().map_err(|error: NetworkError| error.to_string())?;
        field.0.extend(more.0);
        Ok(())
    }

    fn show(field: &Networks, each: Each<'_>) {
        each(field);
    }

    fn clear(field: &mut Networks) {
        field.0.clear();
    }
}

impl<T: FromStr<Err: fmt::Display> + fmt::Display> Kind<Option<T>> for WordOrOff {
    fn set(field: &mut Option<T>, text: &str) -> Result<(), String> {
        *field = match text {
            "off" => None,
            _ => Some(text.parse().map_err(|error: T::Err| error.to_string())?),
        };
        Ok(())
    }

    fn show(field: &Option<T>, each: Each<'_>) {
        match field {
            Some(value) => each(value),
            None => each(&"off"),
        }
    }
}

impl<T: FromStr<Err: fmt::Display> + fmt::Display> Kind<Vec<T>> for List {
    fn set(field: &mut Vec<T>, text: &str) -> Result<(), String> {
        field.push(text.parse().map_err(|error: T::Err| error.to_string())?);
        Ok(())
    }

    fn show(field: &Vec<T>, each: Each<'_>) {
        field.iter().for_each(|value| each(value));
    }

    fn clear(field: &mut Vec<T>) {
        field.clear();
    }
}

impl Kind<u32> for Octal {
    fn set(field: &mut u32, text: &str) -> Result<(), String> {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        *field = mode.ok_or("give octal digits from 0 to 0777, such as 0660")?;
        Ok(())
    }

    fn show(field: &u32, each: Each<'_>) {
        each(&format_args!("{field:04o}"));
    }
}

/// What stands for what the file of the same name had before, if there was one.
const AS_BEFORE: &str = "as-before";

impl Kind<Option<u32>> for OctalOrBefore {
    fn set(field: &mut Option<u32>, text: &str) -> Result<(), String> {
        *field = None;
        if text == AS_BEFORE { Ok(()) } else { Octal::set(field.insert(0), text) }
    }

    fn show(field: &Option<u32>, each: Each<'_>) {
        match field {
            Some(mode) => Octal::show(mode, each),
            None => each(&AS_BEFORE),
        }
    }
}

impl Kind<Option<u32>> for GroupOrBefore {
    fn set(field: &mut Option<u32>, text: &str) -> Result<(), String> {
        *field = match (text, text.parse()) {
            (AS_BEFORE, _) => None,
            // The largest number stands for no group.
            (_, Ok(number)) if number < u32::MAX => Some(number),
            _ => match group_number(text) {
                Ok(Some(number)) => Some(number),
                Ok(None) => {
                    return Err("there is no such group in /etc/group: give one of those, or a number".to_owned());
                }
                Err(error) => return Err(format!("/etc/group can't be read ({error}): give its number")),
            },
        };
        Ok(())
    }

    fn show(field: &Option<u32>, each: Each<'_>) {
        match field {
            Some(number) => each(number),
            None => each(&AS_BEFORE),
        }
    }
}

impl Kind<String> for Tag {
    fn set(field: &mut String, text: &str) -> Result<(), String> {
        *field = if text.is_empty() { String::new() } else { parse_tag(text)? };
        Ok(())
    }

    fn show(field: &String, each: Each<'_>) {
        each(field);
    }
}

impl Kind<Option<usize>> for NumberOrHalf {
    fn set(field: &mut Option<usize>, text: &str) -> Result<(), String> {
        let wrong = |_| "give a whole number, half, or 0 for no limit".to_owned();
        *field = if text == "half" { None } else { Some(text.trim().parse().map_err(wrong)?) };
        Ok(())
    }

    fn show(field: &Option<usize>, each: Each<'_>) {
        match field {
            Some(limit) => each(limit),
            None => each(&"half"),
        }
    }
}

impl Kind<LevelFilter> for Level {
    fn set(field: &mut LevelFilter, text: &str) -> Result<(), String> {
        let wrong = |_| "use one of off, error, warn, info, debug, trace".to_owned();
        *field = text.parse().map_err(wrong)?;
        Ok(())
    }

    fn show(field: &LevelFilter, each: Each<'_>) {
        each(&field.as_str().to_lowercase());
    }
}

/// One row an option: name, letter if it has one, what it takes, heading, kind and field, and `live` if it can change while
/// the program runs; then what it does.
macro_rules! options {
    (@letter) => { None };
    (@letter $letter:literal) => { Some($letter) };
    (@renew ($($field:tt)+)) => { None };
    (@renew ($($field:tt)+) live) => {
        Some(|settings, newer| settings.$($field)+.clone_from(&newer.$($field)+))
    };
    ($(
        $(#[$when:meta])*
        $name:literal $(/ $letter:literal)? = $value:tt $group:ident $kind:ident($($field:tt)+) $($live:ident)?
            $help:literal;
    )+) => {
        &[$(
            $(#[$when])*
            Opt {
                name: $name,
                letter: options!(@letter $($letter)?),
                value: $value,
                group: Group::$group,
                help: $help,
                set: |settings, text| $kind::set(&mut settings.$($field)+, text),
                clear: |settings| $kind::clear(&mut settings.$($field)+),
                show: |settings, each| $kind::show(&settings.$($field)+, each),
                renew: options!(@renew ($($field)+) $($live)?),
            },
        )+]
    };
}

/// Every option but `--config`, `--check`, `--help` and `--version`, which only the command line has.
pub const OPTIONS: &[Opt] = options! {
    "listen" / 'l' = "[udp:]ADDR:PORT|unix:/path" Input List(config.listen)
        "where clients connect, or, with udp:, send datagrams; may be given more than once; port 0: the system picks one; with ,framing=... or ,allow=... and so on behind it: for this one alone";
    "framing" = "lines|octet|nul|cr|auto-octet" Input Word(listen_defaults.framing)
        "how messages end, where --listen says nothing else: lines: in a newline; octet: by the length before them (RFC 6587); nul, cr: in a NUL or CR; auto-octet: octet from who begins with a length and a <, else lines";
    "parse" = "off|syslog" Input Word(listen_defaults.parse)
        "what lines are read as, where --listen says nothing else: syslog: messages with a header of RFC 5424 or 3164, whose fields json shows";
    #[cfg(feature = "syslog")]
    "min-severity" = "WORD|off" Lines WordOrOff(syslog.min_severity) live
        "with parse=syslog: leaves out messages less grave than this: emerg, alert, crit, err, warning, notice, info or debug";
    #[cfg(feature = "syslog")]
    "keep-original" = "" Output Switch(syslog.keep_original)
        "with parse=syslog: json has each message as it came, too";
    #[cfg(feature = "syslog")]
    "trust-host" = "" Output Switch(syslog.trust_host)
        "with parse=syslog: the host in a header is taken for the one that sent it; anybody can write any";
    "allow" = "NETWORK,..." Input Nets(listen_defaults.allow) live
        "who may connect, or send datagrams, such as 192.0.2.0/24,2001:db8::/32: all others may not; where --listen says nothing else";
    "deny" = "NETWORK,..." Input Nets(listen_defaults.deny) live
        "who may not connect; of several networks that an address is in, the smallest decides";
    "proxy" = "" Input Switch(listen_defaults.proxy)
        "clients come through a proxy that says who they are, by the PROXY protocol, version 1 or 2; needs --allow for the proxy";
    "rate" = "LINES|SIZE|off" Input Word(listen_defaults.rate) live
        "what a host may send in a second: 200 is lines, 64KiB bytes; who sends more is read more slowly, and loses nothing; more datagrams are dropped";
    "burst" = "LINES|SIZE|off" Input Word(listen_defaults.burst) live
        "what a host may send at once before --rate slows it; off: what it may send in a second";
    "unix-mode" = "OCTAL" Input Octal(config.unix_mode)
        "permission bits of a Unix socket's file";
    "udp-buffer" = "SIZE" Input Size(config.udp_buffer)
        "receive buffer that the kernel is asked for at each UDP listener; 0 is its own default";
    "receipt" = "" Input Switch(config.limits.receipt)
        "a client that ends its sending side gets \"N lines\" back once its lines are written";
    "output" / 'o' = SYNTAX Output List(outputs)
        "where lines go: - is stdout, a file ({host} in its name: one for each client host; {date}: one for each day), or another receiver; may be given more than once";
    "format" = "raw|peer|json" Output Word(format)
        "raw: the line as it came; peer: time, client address, line; json: the same as an object";
    "tag" = "NAME" Output Tag(output.tag)
        "a word that is added to each line, in --format peer and json";
    "mark-gaps" = "" Output Switch(output.mark_gaps)
        "where lines were dropped, the output gets a line that says how many, and why";
    "rotate-size" = "SIZE" Files Size(output.rotate_size) live
        "a file that would get longer is rotated: renamed to FILE.1, and a new one begun; 0 is never";
    "rotate-age" = "DURATION" Files Time(output.rotate_age) live
        "a file this old is rotated; 0 is never";
    "rotate-at" = "HH:MM|off" Files WordOrOff(output.rotate_at)
        "a file with lines is rotated each day at this local time";
    "rotate-keep" = "NUMBER" Files Number(output.rotate_keep) live
        "how many rotated files are kept: FILE.1 is the newest; with {date}, how many earlier days";
    #[cfg(feature = "compress")]
    "rotate-compress" = "" Files Switch(output.rotate_compress)
        "rotated files are compressed, one after the other: FILE.1.gz; zcat and zless read them";
    "disk-full" = "wait|drop-oldest" Files Word(output.disk_full) live
        "when the disk is full: clients wait, or the oldest rotated file is removed";
    "sync" = "never|interval|DURATION" Files Word(output.sync)
        "how often written lines are forced to the disk (fdatasync); interval is 1s";
    "flush-every" = "DURATION" Files Time(output.flush_every) live
        "how long lines may wait in memory to be written to a file together, to spare flash; 0 is not at all";
    "file-mode" = "OCTAL|as-before" Files OctalOrBefore(output.file_mode) live
        "permission bits of new files, whatever the umask; as-before: those of the file before it, else 0666 less the umask";
    "file-group" = "NAME|GID|as-before" Files GroupOrBefore(output.file_group) live
        "group of new files; as-before: that of the file before it, as far as that is allowed, else the program's";
    "make-dirs" = "" Files Switch(output.make_dirs) live
        "a directory of output files that is missing is made, at the start and later";
    "host-files" = "NUMBER" Files Number(output.host_files)
        "most files that {host} makes; further hosts share one";
    "on-stall" = "wait|drop" Output Word(output.on_stall) live
        "when an output accepts nothing: clients wait, or it is skipped and misses lines";
    "stall-timeout" = "DURATION" Output Time(output.stall_timeout) live
        "how long an output may accept nothing before --on-stall drop skips it";
    "max-line" = "SIZE" Lines Size(config.limits.max_line)
        "longest line in bytes, without its line ending";
    "long-lines" = "skip|cut|split" Lines Word(config.limits.long_lines) live
        "what happens to a longer line: it is dropped, cut off, or made into several";
    "max-buffer" = "SIZE" Lines Size(config.limits.max_buffer)
        "bytes without a newline after which the log warns of a client";
    "keep-empty" = "" Lines Switch(config.limits.keep_empty) live
        "empty lines are written too";
    "embedded-newline" = "escape|space|keep" Lines Word(config.limits.embedded_newline) live
        "what becomes of a newline inside a message, where --framing is not lines: \\n, a space, or it stays, for --format json";
    "memory" = "SIZE" Room Size(config.limits.memory)
        "most memory that clients and slow outputs may use; by default at most a quarter of the box's";
    "max-connections" = "NUMBER" Room Number(config.limits.max_connections) live
        "most client connections at once";
    "when-full" = "wait|reject" Room Word(config.limits.when_full) live
        "what happens to a client beyond --max-connections: it waits until there is room, or is closed";
    "max-per-host" = "NUMBER|half" Room NumberOrHalf(config.limits.max_per_host) live
        "most connections of one client host; 0 is no limit";
    "idle-timeout" = "DURATION" Times Time(config.limits.idle_timeout) live
        "silence after which a client is told goodbye: a FIN; it is still read until it closes";
    "idle-close" = "always|needed" Times Word(config.limits.idle_close)
        "whether such a client is told at once, or only when its place or memory is needed; needed suits proxies and tools that close at a FIN";
    "line-timeout" = "DURATION" Times Time(config.limits.line_timeout) live
        "how long a line may wait for its newline before it is written as it is";
    "linger" = "DURATION" Times Time(config.limits.linger) live
        "how long a client may be silent after the goodbye before it is closed; 0 closes at once";
    "keepalive" = "DURATION" Times Time(config.limits.keepalive)
        "silence after which TCP probes whether a client is still there";
    "drain-timeout" = "DURATION" Times Time(config.limits.drain_timeout) live
        "longest wait, at shutdown, for clients that still send, and for an output that accepts nothing; 0 waits for neither";
    "gather" = "DURATION" Times Time(config.limits.gather) live
        "under load, how long a line may wait to be written together with others; 0 is never, at most 100ms";
    #[cfg(feature = "status")]
    "status" = "ADDR:PORT|unix:/path|off" Program WordOrOff(status)
        "where to answer HTTP requests: a page, metrics, diagnostics, lines as they come";
    #[cfg(feature = "status")]
    "status-tail" = "on|off" Program Switch(status_tail)
        "whether --status may show the lines themselves";
    "log-level" = "LEVEL" Program Level(log_level) live
        "how much the program's own log on stderr says: off, error, warn, info, debug or trace";
    "log-format" = "auto|plain|journal" Program Word(log_format)
        "its lines begin with: plain: the time; journal: <N>, the priority; auto: journal if stderr is the journal";
    "report-interval" = "DURATION" Program Time(report_interval) live
        "how often that log gets a line of rates, connections and memory; 0 is never";
};

/// Options that only the command line has, as `--help` shows them.
pub const COMMAND_LINE_ONLY: &[(&str, Option<char>, &str, &str)] = &[
    ("config", None, "FILE", "a file with these options, one a line: max-line = 64KiB; the command line wins"),
    ("check", None, "", "print all settings, where each was set, and what they can cost at worst; run nothing"),
    ("help", Some('h'), "", "show all options"),
    ("version", Some('V'), "", "show the version"),
];

/// The option with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.name == name)
}

/// The option whose name is most like a mistyped one, if any is like it. In a config file, options that only the command
/// line has do not count.
#[must_use]
pub fn nearest(name: &str, is_in_file: bool) -> Option<&'static str> {
    let only_here = COMMAND_LINE_ONLY.iter().filter(|_| !is_in_file).map(|option| option.0);
    let names = OPTIONS.iter().map(|option| option.name).chain(only_here);
    let by_distance = names.map(|real| (strsim::osa_distance(name, real), real));
    // Up to a third of the letters may be wrong.
    by_distance.filter(|(distance, real)| *distance <= real.len().div_ceil(3)).min().map(|(_, real)| real)
}
