//! SIGHUP with `--config`: the file is read again, and what of it can change while the program runs is taken over (P27).
//! Invariant: either all of that is in force, or, where anything is wrong with it, nothing has changed.

use std::fmt::{self, Write};
use std::fs;

use log::{info, warn};

use super::check::added;
use super::fit_to_the_box;
use super::inherit;
use super::options::{OPTIONS, Settings, without_secrets};
use super::parse::{Invocation, parse};
use crate::config::limits::MemoryPlan;
use crate::config::listen::{Listen, ListenAddr};
use crate::config::network::Networks;
use crate::config::text::as_text;
use crate::server::Server;
use crate::sink::{Outputs, foresee};

/// What has to be known to read the file again.
pub(super) struct Reload {
    /// Its name, as it is shown.
    file: String,
    /// Where sockets of a supervisor listen.
    inherited: Vec<ListenAddr>,
    /// What is in force.
    running: Settings,
    /// What was set aside for the outputs at the start, in bytes.
    share: usize,
    /// What was said to need a restart.
    told: String,
    /// What was said of a limit that this box has no room for.
    lowered: Option<String>,
}

/// What the file and the flags say now.
struct Read {
    /// What is in force, with what can change as it is asked for.
    wanted: Settings,
    /// What else is asked for, and needs a restart.
    fixed: String,
    lowered: Option<String>,
}

impl Reload {
    /// If there is a file. The settings are those of the start, `lowered` what was said of them then.
    pub(super) fn new(settings: &Settings, inherited: Vec<ListenAddr>, lowered: Option<String>) -> Option<Self> {
        let file = settings.config_file.as_ref()?.escape_debug().to_string();
        // What does not work ends the start.
        let plan = MemoryPlan::new(&settings.config.limits, added(settings));
        let share = plan.map_or(0, |plan| plan.sink_share);
        Some(Self { file, inherited, running: settings.clone(), share, told: String::new(), lowered })
    }

    /// Reads the file again, takes over what can change, and says what has changed, what can't, or what is wrong. The
    /// settings that are in force now, if anything has changed.
    #[inline(never)] // for size
    pub(super) fn read_again(&mut self, server: &mut Server<Outputs>) -> Option<&Settings> {
        let read = self.read().and_then(|read| {
            server.set_limits(&read.wanted.config.limits).map_err(|error| as_text(&error))?;
            Ok(read)
        });
        let Read { wanted, fixed, lowered } = match read {
            Ok(read) => *read,
            Err(sentence) => {
                warn!("[config] {sentence}; all settings stay as they are");
                return None;
            }
        };
        // Once, until it is another.
        let is_told = !fixed.is_empty() && fixed != self.told;
        if is_told {
            warn!("[config] {} says {fixed}: that needs a restart", self.file);
        }
        if let Some(warning) = lowered.as_ref().filter(|_| lowered != self.lowered) {
            warn!("[tcp] {warning}");
        }
        (self.told, self.lowered) = (fixed, lowered);
        let mut changes = self.listeners_changes(&wanted);
        for option in OPTIONS.iter().filter(|option| option.name != "listen") {
            let (before, now) = (option.current(&self.running), option.current(&wanted));
            if before != now {
                append(&mut changes, "; ", format_args!("{} is {now}, was {before}", option.name));
            }
        }
        if changes.is_empty() {
            changes.push_str(if is_told { "nothing else has changed" } else { "nothing has changed" });
        }
        server.change_sink(|sink| sink.configure(&wanted.output));
        server.set_listen_options(&wanted.config.listen);
        #[cfg(feature = "status")]
        server.show_settings(super::options::shown(&wanted));
        // By the level that says more, whichever that is.
        log::set_max_level(wanted.log_level.max(self.running.log_level));
        info!("[config] {} was read again: {changes}", self.file);
        log::set_max_level(wanted.log_level);
        self.warn_of_open_doors(&wanted);
        self.running = wanted;
        Some(&self.running)
    }

    /// What is another at listeners, but for what is said of all of them anyway.
    fn listeners_changes(&self, wanted: &Settings) -> String {
        let mut changes = String::new();
        for (before, now) in self.running.config.listen.iter().zip(&wanted.config.listen) {
            let mut say = |change: &str| append(&mut changes, "; ", format_args!("{}: {change}", now.at));
            let defaults = [&self.running.listen_defaults, &wanted.listen_defaults];
            before.options.changes(&now.options, defaults, &mut say);
        }
        changes
    }

    /// Says where anybody may connect that only some could before: a list may have been lost rather than taken out.
    fn warn_of_open_doors(&self, wanted: &Settings) {
        let mut places = String::new();
        for (before, now) in self.running.config.listen.iter().zip(&wanted.config.listen) {
            if before.options.allow != Networks::default() && now.options.allow == Networks::default() {
                append(&mut places, ", ", format_args!("{}", now.at));
            }
        }
        if !places.is_empty() {
            let rest = "anybody may connect or send now whom deny does not name";
            warn!("[config] {} has no allow any more for {places}: {rest}", self.file);
        }
    }

    /// Reads the file again, with the flags of the start, and checks all as at the start.
    ///
    /// # Errors
    /// A sentence about the first thing that is wrong.
    fn read(&self) -> Result<Box<Read>, String> {
        let running = &self.running;
        let path = running.config_file.as_deref().unwrap_or_default();
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(format!("--config {}: it is no regular file, and can't be read twice", self.file));
        }
        let invocation = parse(std::env::args_os().skip(1)).map_err(|error| as_text(&error))?;
        let Invocation::Run(mut asked) = invocation else {
            return Err("the arguments ask for something else".to_owned());
        };
        inherit::listen_on(&self.inherited, &mut asked);
        asked.validate()?;
        // An editor or a full disk may have cut it off: back to the defaults would let in whoever may not connect.
        if asked.sets_nothing && !running.sets_nothing {
            return Err(format!("{} sets nothing any more; restart if the defaults are meant", self.file));
        }
        let memory = running.config.limits.memory;
        if !asked.is_memory_given && !running.is_memory_given {
            asked.config.limits.memory = memory;
        }
        let mut read = Box::new(Read { wanted: running.clone(), fixed: String::new(), lowered: None });
        let wanted = &mut read.wanted;
        wanted.sets_nothing = asked.sets_nothing;
        OPTIONS.iter().filter_map(|option| option.renew).for_each(|renew| renew(wanted, &asked));
        renew_listeners(&mut wanted.config.listen, &asked.config.listen);
        let min_severity = wanted.syslog.min_severity;
        wanted.output.syslog.iter_mut().for_each(|syslog| syslog.min_severity = min_severity);
        for option in OPTIONS.iter().filter(|option| option.renew.is_none()) {
            // In which order listeners and outputs are given is all the same. A sort would be 6 KB of code.
            let (newer, older) = (option.values(&asked), option.values(wanted));
            if newer.len() != older.len() || newer.iter().any(|value| !older.contains(value)) {
                append(&mut read.fixed, "; ", format_args!("--{} {}", option.name, without_secrets(option, &asked)));
            }
        }
        read.lowered = fit_to_the_box(wanted);
        wanted.config.limits.memory = memory;
        // What is asked for makes sense with what else is asked for; but perhaps not with what stays.
        let fixed = &read.fixed;
        wanted.validate().map_err(|error| match fixed.is_empty() {
            true => error,
            false => format!("{} says {fixed}: that needs a restart, and the rest does not work without it", self.file),
        })?;
        if added(wanted).least_share(wanted.config.limits.max_line) > self.share {
            return Err(
                "--flush-every and --on-stall drop need more memory for the outputs than was set aside: restart"
                    .to_owned(),
            );
        }
        if wanted.output.rotates() && !running.output.rotates() {
            wanted.outputs.iter().find_map(|output| foresee(output, &wanted.output)).map_or(Ok(()), Err)?;
        }
        Ok(read)
    }
}

/// Each listener takes over what can change from the one at its address, wherever that is in the file now: who may connect must
/// not hang on the order. Of several with port 0, each does from that at its own place.
fn renew_listeners(running: &mut [Listen], asked: &[Listen]) {
    for (number, own) in running.iter_mut().enumerate() {
        let is_same = |newer: &&Listen| newer.at == own.at;
        let same = asked.get(number).filter(is_same).or_else(|| asked.iter().find(is_same));
        if let Some(newer) = same {
            own.renew(newer);
        }
    }
}

#[inline(never)] // one copy, for size
fn append(list: &mut String, between: &str, item: fmt::Arguments<'_>) {
    if !list.is_empty() {
        list.push_str(between);
    }
    let _ = list.write_fmt(item);
}
