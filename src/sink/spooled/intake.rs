//! Lines on their way into the spool. It is opened here, with the outputs that read it.

use std::cell::RefCell;
#[cfg(feature = "cli")]
use std::io::ErrorKind;
#[cfg(feature = "cli")]
use std::path::Path;
use std::rc::Rc;

use super::reader::Reader;
use super::store::{Shared, Store, Writer, wall_ms};
use crate::config::calendar::Clock;
use crate::config::limits::Overhead;
use crate::config::output::OutputOptions;
use crate::config::spool::SpoolOptions;
use crate::config::syslog::{Parse, SyslogOptions};
use crate::config::text::as_text;
#[cfg(feature = "cli")]
use crate::config::units::DisplaySize;
use crate::engine::framer::Lines;
use crate::engine::gap::Gap;
use crate::engine::syslog;
#[cfg(feature = "cli")]
use crate::host;
use crate::sink::Origin;
use crate::sink::error::{self, OpenError};
use crate::sink::format::Formatter;
use crate::sink::source::Source;
use crate::sink::target::{Books, KEPT_BYTES, Target};
#[cfg(feature = "cli")]
use crate::spool::disk::Disk;
use crate::spool::disk::RealDisk;
use crate::spool::error::Cause;
use crate::spool::record::{ENTRY_BYTES, HEAD_BYTES, PEER_BYTES, STEP_BYTES};
use crate::spool::{BATCH_BYTES, Settings, Spool};

/// Where lines enter the spool.
pub(in crate::sink) struct Intake {
    store: Shared,
    /// What is left out, of messages.
    syslog: Option<SyslogOptions>,
    whole_line: Vec<u8>,
}

impl Intake {
    /// Opens the spool for outputs of these names; `None` if there is to be none.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub(in crate::sink) fn open(
        names: Vec<String>,
        options: &OutputOptions,
        books: &mut Books,
    ) -> Result<Option<Self>, OpenError> {
        let Some(dir) = &options.spool.dir else { return Ok(None) };
        let path = dir.path();
        let refused = |cause: Cause| {
            let error = cause.at(path);
            OpenError(error::Cause::Spool { sentence: as_text(&error), is_usage: error.is_usage() })
        };
        let disk = RealDisk::make(path).map_err(|error| refused(error.into()))?;
        let spool = Spool::open(disk.clone(), settings(names, &options.spool), wall_ms()).map_err(refused)?;
        let store = Store::new(spool, disk, name(options).unwrap_or_default(), options);
        store.tell_start(options.spool.size, books);
        Ok(Some(Self { store: Rc::new(RefCell::new(store)), syslog: options.syslog, whole_line: Vec::new() }))
    }

    /// What it is written to as.
    pub(in crate::sink) fn writer(&self) -> Box<dyn Target> {
        Box::new(Writer::new(Rc::clone(&self.store)))
    }

    /// Lines for the next output that reads the spool, in the order of their names.
    pub(in crate::sink) fn source(
        &self,
        name: String,
        formatter: (Formatter, fn() -> Clock),
        books: &mut Books,
    ) -> Box<dyn Source> {
        Box::new(Reader::new(Rc::clone(&self.store), name, formatter, books))
    }

    /// Takes over what can change while it is open.
    pub(in crate::sink) fn configure(&mut self, options: &OutputOptions) {
        self.syslog = options.syslog;
        self.store.borrow_mut().lag_alarm = options.spool.lag_alarm;
    }

    /// Takes lines; how many of them were left out, as they are not grave enough.
    pub(in crate::sink) fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>) -> u64 {
        let Self { store, syslog, whole_line } = self;
        let store = &mut *store.borrow_mut();
        let chooses = syslog.filter(|options| origin.parse == Parse::Syslog && options.min_severity.is_some());
        let mut left_out = 0;
        lines.each(|head, rest| {
            if let Some(options) = chooses {
                let mut line = rest;
                if !head.is_empty() {
                    whole_line.clear();
                    whole_line.extend_from_slice(head);
                    whole_line.extend_from_slice(rest);
                    line = whole_line;
                }
                if syslog::parse(line).is_some_and(|header| !options.keeps(header.priority.severity)) {
                    left_out += 1;
                    return;
                }
            }
            store.push_line(origin, [head, rest]);
        });
        whole_line.shrink_to(KEPT_BYTES);
        left_out
    }

    /// Takes the mark of lines that are missing.
    pub(in crate::sink) fn gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        self.store.borrow_mut().push_gap(origin, gap);
    }
}

fn settings(outputs: Vec<String>, options: &SpoolOptions) -> Settings {
    Settings {
        size: options.size as u64,
        max_line: options.max_line,
        segment_bytes: None,
        full: options.full,
        outputs,
        take_over: options.take_over,
    }
}

/// Checks what is asked for, without opening anything.
///
/// # Errors
/// What makes no sense, as a sentence.
pub(in crate::sink) fn validate(names: Vec<String>, options: &OutputOptions) -> Result<(), String> {
    let Some(dir) = &options.spool.dir else { return Ok(()) };
    settings(names, &options.spool).validate().map_err(|cause| cause.at(dir.path()).to_string())
}

/// What the spool is called in a sentence; `None` if there is to be none.
pub(in crate::sink) fn name(options: &OutputOptions) -> Option<String> {
    let dir = options.spool.dir.as_ref()?;
    Some(format!("the spool {}", as_text(&dir).escape_debug()))
}

/// What lines take in memory on their way into the spool, and what it holds beside them: what is not synced yet is at most
/// a segment.
pub(in crate::sink) fn overhead(options: &OutputOptions) -> Overhead {
    if options.spool.dir.is_none() {
        return Overhead { per_byte: 0, per_line: 0, kept: 0, kept_lines: 0 };
    }
    let segment = settings(Vec::new(), &options.spool).segment();
    // Whatever is read is of one client, and at most ends one batch and begins another.
    let once = 2 * (HEAD_BYTES + PEER_BYTES + STEP_BYTES);
    let kept = usize::try_from(segment).unwrap_or(usize::MAX).saturating_add(BATCH_BYTES + once);
    Overhead { per_byte: 1, per_line: ENTRY_BYTES, kept, kept_lines: 0 }
}

/// What a start would say of the spool, as far as that can be known without making anything.
#[cfg(feature = "cli")]
pub(crate) fn foresee(options: &OutputOptions) -> Option<String> {
    let path = options.spool.dir.as_ref()?.path();
    let is_there = path.metadata();
    let folder = match path.parent() {
        _ if is_there.is_ok() => path,
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let found = match &is_there {
        Ok(found) if !found.is_dir() => Err(ErrorKind::NotADirectory.into()),
        _ => host::may_write(folder),
    };
    if let Err(error) = found {
        return Some(Cause::from(error).at(path).to_string());
    }
    let (mut has, size) = (0, options.spool.size as u64);
    let _ = RealDisk::new(path).list(&mut |_, len| has += len);
    let free = host::free_bytes(folder).filter(|free| free.saturating_add(has) < size)?;
    let (free, size) = (DisplaySize(usize::try_from(free >> 10 << 10).ok()?), DisplaySize(options.spool.size));
    Some(format!(
        "{} may take {size} (--spool-size), and its disk has {free} free: lower that, or make room",
        name(options)?
    ))
}

/// The most descriptors that a spool holds at once, with so many outputs that read it: its lock, the segment that is written, one
/// that is synced and the directory; and two positions and a segment for each output.
#[cfg(feature = "cli")]
pub(crate) fn descriptors(options: &OutputOptions, outputs: usize) -> usize {
    if options.spool.dir.is_some() { 4 + 3 * outputs } else { 0 }
}
