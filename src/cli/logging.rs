//! Our own log, on stderr. Invariant: a stderr that is full or broken neither stops the loop nor ends the program: a line
//! that it does not take at once is dropped and counted.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};

use super::redact::without_arguments;
use super::settings::LogFormat;
use crate::config::text::as_text;
use crate::sink::{Adopted, Borrowed, Way, adopt, send_without_waiting, write_time};

/// Lines of our own log that stderr did not take. MIPS has no atomic of 64 bits.
static DROPPED: AtomicUsize = AtomicUsize::new(0);
/// Whether lines begin as the journal wants them.
static IS_FOR_JOURNAL: AtomicBool = AtomicBool::new(false);

/// Capacity of the buffer at the start, in bytes: most lines fit.
const USUAL: usize = 512;
/// A line that gets longer than this is written in pieces. Ours are far shorter.
const LONGEST: usize = 16 * 1024;
/// How long the end waits for a terminal that only a thread can write to.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What a line of this level begins with: for the journal its priority, as syslog numbers them.
fn priority(level: Level) -> &'static str {
    if !IS_FOR_JOURNAL.load(Ordering::Relaxed) {
        return "";
    }
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// Puts priority and level before each text. simplelog itself writes neither: its level would stand before the priority.
struct Leveled(Box<WriteLogger<Stderr>>);

impl Log for Leveled {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let (level, text) = (record.level(), record.args());
        self.0.log(&Record::builder().level(level).args(format_args!("{}[{level}] {text}", priority(level))).build());
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Gathers a line, puts the time before it unless the journal knows it, and writes it in one piece.
struct Stderr {
    to: Adopted,
    line: Vec<u8>,
    /// Of a line of which only the start was taken: it goes before all others.
    rest: Vec<u8>,
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.line.is_empty() && !IS_FOR_JOURNAL.load(Ordering::Relaxed) {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            write_time(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), &mut self.line);
            self.line.push(b' ');
        }
        self.line.extend_from_slice(bytes);
        if bytes.ends_with(b"\n") || self.line.len() > LONGEST {
            self.write_line();
        }
        Ok(bytes.len())
    }

    /// Writes what it can of what is left; only a thread is waited for, and not for long.
    fn flush(&mut self) -> io::Result<()> {
        self.write_rest();
        if let Some(scribe) = &self.to.scribe {
            scribe.finish(LAST_WAIT);
        }
        Ok(())
    }
}

impl Stderr {
    fn new(to: Adopted, line: Vec<u8>) -> Self {
        Self { to, line, rest: Vec::new() }
    }

    fn write_line(&mut self) {
        let written = if self.write_rest() { self.write_once(&self.line) } else { 0 };
        if written < self.line.len() {
            // Until the rest has followed, if some of it went out.
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        if (1..self.line.len()).contains(&written) {
            self.rest.extend(self.line.drain(written..));
        }
        self.line.clear();
    }

    /// Writes the rest of a line; true if none is left.
    fn write_rest(&mut self) -> bool {
        if self.rest.is_empty() {
            return true;
        }
        let written = self.write_once(&self.rest);
        self.rest.drain(..written);
        let is_whole = self.rest.is_empty();
        DROPPED.fetch_sub(usize::from(is_whole), Ordering::Relaxed);
        is_whole
    }

    /// How much was taken, without waiting.
    fn write_once(&self, bytes: &[u8]) -> usize {
        let Adopted { file, way, scribe, .. } = &self.to;
        loop {
            let result = match (way, scribe) {
                (Way::Socket, _) => send_without_waiting(file, bytes),
                (_, Some(scribe)) => scribe.give(bytes),
                _ => (&*file).write(bytes),
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result.unwrap_or(0),
            }
        }
    }
}

/// Starts the log; a second call does nothing. The caller keeps what is returned until the program ends: it is what puts
/// stderr back as it was.
///
/// # Errors
/// No descriptor is free.
pub(super) fn start(level: LevelFilter, format: LogFormat) -> io::Result<Option<Borrowed>> {
    match format {
        LogFormat::Auto => {}
        format => IS_FOR_JOURNAL.store(format == LogFormat::Journal, Ordering::Relaxed),
    }
    let mut to = adopt_stderr()?;
    let borrowed = to.borrowed.take();
    let config = ConfigBuilder::new()
        .set_time_level(LevelFilter::Off)
        .set_max_level(LevelFilter::Off)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build();
    let stderr = Stderr::new(to, Vec::with_capacity(USUAL));
    log::set_max_level(level);
    // How much is said may change (P27): the macros alone decide that.
    let _ = log::set_boxed_logger(Box::new(Leveled(WriteLogger::new(LevelFilter::Trace, config, stderr))));
    Ok(borrowed)
}

/// Finds out whether stderr is the journal: then its device and inode are those in `JOURNAL_STREAM`. The variable alone
/// proves nothing: a child of a service inherits it, but may have another stderr.
pub(super) fn find_journal() {
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return };
    let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned().map(File::from) else { return };
    let is_journal = stderr.metadata().is_ok_and(|found| *named == *format!("{}:{}", found.dev(), found.ino()));
    IS_FOR_JOURNAL.store(is_journal, Ordering::Relaxed);
}

/// How many lines of our own log stderr did not take.
pub(super) fn dropped() -> u64 {
    u64::try_from(DROPPED.load(Ordering::Relaxed)).unwrap_or(u64::MAX)
}

/// Writes one line to stderr, log or not, and does not wait: if stderr does not take it, it is lost. What an argument says of who we
/// are is not in it.
pub(super) fn complain(error: &dyn fmt::Display) {
    let error = without_arguments(as_text(error), env::args_os().skip(1));
    say(&format_args!("{}lumberjack: {error}", priority(Level::Error)));
}

/// The same, as it is.
pub(super) fn say(text: &dyn fmt::Display) {
    let line = format!("{text}\n").into_bytes();
    log::logger().flush();
    match adopt_stderr() {
        Ok(to) => {
            let mut stderr = Stderr::new(to, line);
            stderr.write_line();
            let _ = stderr.flush();
        }
        // No descriptor is free; this may be the very error that is reported.
        Err(_) => drop(io::stderr().write_all(&line)),
    }
}

fn adopt_stderr() -> io::Result<Adopted> {
    adopt(File::from(io::stderr().as_fd().try_clone_to_owned()?))
}
