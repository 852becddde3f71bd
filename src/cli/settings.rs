//! What the command line and the config file say together, and what of it makes no sense. Invariant: nothing is opened or made
//! here.

use core::fmt;
use core::str::FromStr;
use std::path::Path;
#[cfg(feature = "http")]
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

#[cfg(feature = "sandbox")]
use super::user::Account;
#[cfg(feature = "alert")]
use crate::config::alert::AlertOptions;
use crate::config::limits::{Config, DEFAULT_UNIX_MODE, EmbeddedNewline, Limits, WordError, word_enum};
use crate::config::listen::{DEFAULT_LISTEN, ListenAddr, ListenOptions};
use crate::config::output::{DATE_WORD, DEFAULT_KEEP, HOST_WORD, OnStall, OutputOptions};
#[cfg(feature = "push")]
use crate::config::push::PushOptions;
use crate::config::spool::SpoolOptions;
use crate::config::syslog::{Parse, SyslogOptions};
use crate::config::text::as_text;
use crate::config::tls_out::TlsOptions;
#[cfg(feature = "push")]
use crate::config::units::DisplaySize;
#[cfg(feature = "poll")]
use crate::poll::PollOptions;
use crate::sink::{DiskUse, Format, OutputAddr, Outputs, User, conflict};

/// How many times its batch an output for a store may keep.
#[cfg(feature = "push")]
const BATCHES_KEPT: usize = 6;

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

#[cfg(feature = "sandbox")]
word_enum! {
    /// Whether this process confines itself (`--sandbox`).
    Sandbox {
        /// As far as the kernel can, and nothing stops working for it.
        #[default]
        Auto = "auto",
        /// It does not.
        Off = "off",
        /// All that there is for this processor, or no start.
        Require = "require",
        /// The same, and a call that is forbidden ends the process.
        Kill = "kill",
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
    /// What is polled.
    #[cfg(feature = "poll")]
    pub poll: PollOptions,
    /// Who is told of which lines.
    #[cfg(feature = "alert")]
    pub alert: AlertOptions,
    /// A file of user names, passwords and tokens for servers.
    #[cfg(feature = "http")]
    pub http_auth: Option<PathBuf>,
    /// Whom connections over TLS to other machines trust, and who we are to them.
    pub tls: TlsOptions,
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
    /// Whether this process confines itself.
    #[cfg(feature = "sandbox")]
    pub sandbox: Sandbox,
    /// Who root becomes.
    #[cfg(feature = "sandbox")]
    pub user: Option<Account>,
    /// The file that `--config` names.
    pub config_file: Option<String>,
    /// Whether that file sets nothing: it is empty, or has but comments.
    pub sets_nothing: bool,
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
            #[cfg(feature = "poll")]
            poll: PollOptions::default(),
            #[cfg(feature = "alert")]
            alert: AlertOptions::default(),
            #[cfg(feature = "http")]
            http_auth: None,
            tls: TlsOptions::default(),
            #[cfg(feature = "status")]
            status: None,
            #[cfg(feature = "status")]
            status_tail: true,
            log_level: LevelFilter::Info,
            log_format: LogFormat::Auto,
            report_interval: Duration::ZERO,
            #[cfg(feature = "sandbox")]
            sandbox: Sandbox::default(),
            #[cfg(feature = "sandbox")]
            user: None,
            config_file: None,
            sets_nothing: false,
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

    /// Gives each listener the options that it says nothing of.
    pub fn give_defaults(&mut self) {
        self.config.listen.iter_mut().for_each(|listen| listen.inherit(&self.listen_defaults));
        let has_syslog = self.config.listen.iter().any(|listen| listen.options.parse == Parse::Syslog);
        self.output.syslog = has_syslog.then_some(self.syslog);
        self.output.spool.max_line = self.config.limits.max_line;
        self.output.tls.clone_from(&self.tls);
        #[cfg(feature = "poll")]
        self.poll.tls.clone_from(&self.tls);
        #[cfg(feature = "alert")]
        self.alert.tls.clone_from(&self.tls);
        #[cfg(feature = "poll")]
        self.poll.auth.clone_from(&self.http_auth);
        #[cfg(feature = "alert")]
        self.alert.auth.clone_from(&self.http_auth);
        #[cfg(feature = "push")]
        self.output.push.http_auth.clone_from(&self.http_auth);
    }

    /// Checks all that is known before anything is opened or made. Of the box only the paths are looked at.
    ///
    /// # Errors
    /// A sentence about the first setting that does not work.
    pub fn validate(&self) -> Result<(), String> {
        self.config.validate().map_err(|error| as_text(&error))?;
        let listeners = self.config.listen.iter().map(|listen| (&listen.at, &listen.options));
        if let Some((option, value, why)) = self.listen_defaults.useless(listeners) {
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
        self.check_spool().and_then(|()| self.check_tls())?;
        #[cfg(feature = "nats")]
        self.check_nats()?;
        #[cfg(feature = "poll")]
        self.poll.validate_flags().map_err(|error| error.to_string())?;
        #[cfg(feature = "alert")]
        self.alert.validate()?;
        #[cfg(feature = "alert")]
        if let Some(Err(why)) = self.alert.url.as_deref().map(crate::http::Url::parse) {
            return Err(format!("--alert-url: {why}"));
        }
        #[cfg(feature = "http")]
        self.check_http()?;
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

    /// Whether an output is a store over HTTP.
    #[cfg(feature = "nats")]
    fn has_push(&self) -> bool {
        #[cfg(feature = "push")]
        return self.outputs.iter().any(OutputAddr::is_push);
        #[cfg(not(feature = "push"))]
        false
    }

    /// Options of stores need one.
    #[cfg(feature = "push")]
    fn check_push(&self) -> Result<(), String> {
        let (given, default) = (&self.output.push, PushOptions::default());
        let flags = [
            ("--push-header", !given.headers.is_empty()),
            ("--push-batch", given.batch != default.batch),
            ("--push-every", given.every != default.every),
            ("--push-seq", given.seq),
        ];
        let count = self.outputs.iter().filter(|output| output.is_push()).count();
        let has_push = count > 0;
        // What an output keeps of a batch: the lines, what is remembered of each, the body and the answer.
        let memory = self.config.limits.memory;
        let most = memory / 2 / (BATCHES_KEPT * count.max(1));
        if has_push && given.batch > most {
            let (batch, memory, most) =
                (DisplaySize(given.batch), DisplaySize(memory), DisplaySize(most / 1024 * 1024));
            return Err(format!(
                "--push-batch {batch} is too much for --memory {memory} and {count} store(s): give at most {most}, or raise --memory"
            ));
        }
        match flags.into_iter().find(|(_, is_given)| *is_given && !has_push) {
            Some((flag, _)) => Err(format!(
                "{flag} is about a store over HTTP, and no --output names one: give loki+http://HOST:PORT or the like, or leave it out"
            )),
            None => Ok(()),
        }
    }

    /// Options of streams need one.
    #[cfg(feature = "nats")]
    fn check_nats(&self) -> Result<(), String> {
        let given = &self.output.nats;
        let flags = [
            ("--nats-stream", !given.stream.is_empty()),
            ("--nats-create", given.create),
            ("--nats-creds", given.creds.is_some()),
            ("--box", !given.box_name.is_empty() && !self.has_push()),
        ];
        let has_stream = self.outputs.iter().any(OutputAddr::is_stream);
        match flags.into_iter().find(|(_, is_given)| *is_given && !has_stream) {
            Some((flag, _)) => Err(format!(
                "{flag} is about a stream, and no --output names one: give nats://HOST/SUBJECT, or leave it out"
            )),
            None => Ok(()),
        }
    }

    /// Who we are is asked by nobody, if nothing speaks HTTP.
    #[cfg(feature = "http")]
    fn check_http(&self) -> Result<(), String> {
        #[cfg(feature = "push")]
        self.check_push()?;
        #[cfg(feature = "poll")]
        let polls = !self.poll.polls.is_empty();
        #[cfg(not(feature = "poll"))]
        let polls = false;
        #[cfg(feature = "alert")]
        let tells = !self.alert.patterns.is_empty();
        #[cfg(not(feature = "alert"))]
        let tells = false;
        #[cfg(feature = "push")]
        let pushes = self.outputs.iter().any(OutputAddr::is_push);
        #[cfg(not(feature = "push"))]
        let pushes = false;
        match &self.http_auth {
            Some(_) if !polls && !pushes && !tells => Err(
                "--http-auth is about servers that are asked over HTTP, and there is none: give --poll, or --output loki+http://HOST:PORT or the like, or leave it out"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }

    /// Options of TLS need somebody who is connected to over that.
    fn check_tls(&self) -> Result<(), String> {
        self.tls.validate()?;
        #[cfg(feature = "poll")]
        let polls = self.poll.polls.iter().any(|poll| poll.url.is_secured);
        #[cfg(not(feature = "poll"))]
        let polls = false;
        #[cfg(feature = "alert")]
        let tells =
            self.alert.url.as_deref().is_some_and(|url| crate::http::Url::parse(url).is_ok_and(|url| url.is_secured));
        #[cfg(not(feature = "alert"))]
        let tells = false;
        let is_used = polls || tells || self.outputs.iter().any(OutputAddr::is_secured);
        let given = [
            ("--tls-ca", self.tls.ca.is_some()),
            ("--tls-cert", self.tls.cert.is_some()),
            ("--tls-key", self.tls.key.is_some()),
            ("--tls-server-name", !self.tls.server_name.is_empty()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given && !is_used) {
            Some((flag, _)) if !cfg!(feature = "tls") => Err(format!(
                "{flag} needs a build with TLS (lumberjack-tls), which this is not: take that, or leave it out"
            )),
            Some((flag, _)) => Err(format!(
                "{flag} is about connections over TLS to other machines, and there are none: give --output tcp+tls:HOST:PORT, nats+tls:// or https://, or leave it out"
            )),
            None => Ok(()),
        }
    }

    /// Options of the spool need one, and lines in it wait for as long as it takes.
    fn check_spool(&self) -> Result<(), String> {
        let (spool, default) = (&self.output.spool, SpoolOptions::default());
        if spool.dir.is_none() {
            let given = [
                ("--spool-size", spool.size != default.size),
                ("--spool-full", spool.full != default.full),
                ("--take-over", spool.take_over.is_some()),
                ("--lag-alarm", spool.lag_alarm != default.lag_alarm),
            ];
            let useless = given.into_iter().find(|(_, is_given)| *is_given);
            return useless.map_or(Ok(()), |(flag, _)| {
                Err(format!(
                    "{flag} is about a spool, and there is none: give its directory with --spool, or leave it out"
                ))
            });
        }
        match self.output.on_stall {
            OnStall::Drop => Err("--spool keeps lines for outputs that are away, and --on-stall drop drops them: choose one of them (--spool-full drop-oldest bounds what is kept)".to_owned()),
            OnStall::Wait => Ok(()),
        }
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
            // A name may show the host that is believed, too.
            let is_in_name =
                || flag == "trust-host" && self.outputs.iter().any(|one| as_text(&one).contains(HOST_WORD));
            if needs_fields && self.format != Format::Json && !is_in_name() {
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
