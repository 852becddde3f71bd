//! Without the feature `spool` there is none, and whoever asks for one is told so before.

use super::Origin;
use super::error::OpenError;
use super::format::Formatter;
use super::source::Source;
use super::target::{Books, Target};
use crate::config::calendar::Clock;
use crate::config::limits::Overhead;
use crate::config::output::OutputOptions;
use crate::engine::framer::Lines;
use crate::engine::gap::Gap;

/// None.
pub(super) enum Intake {}

impl Intake {
    pub(super) fn open(_: Vec<String>, _: &OutputOptions, _: &mut Books) -> Result<Option<Self>, OpenError> {
        Ok(None)
    }

    pub(super) fn writer(&self) -> Box<dyn Target> {
        match *self {}
    }

    pub(super) fn source(&self, _: String, _: (Formatter, fn() -> Clock), _: &mut Books) -> Box<dyn Source> {
        match *self {}
    }

    pub(super) fn configure(&mut self, _: &OutputOptions) {
        match *self {}
    }

    pub(super) fn append(&mut self, _: &Origin<'_>, _: Lines<'_>) -> u64 {
        match *self {}
    }

    pub(super) fn gap(&mut self, _: &Origin<'_>, _: Gap) {
        match *self {}
    }
}

pub(super) fn validate(_: Vec<String>, _: &OutputOptions) -> Result<(), String> {
    Ok(())
}

pub(super) fn name(_: &OutputOptions) -> Option<String> {
    None
}

pub(super) fn overhead(_: &OutputOptions) -> Overhead {
    Overhead { per_byte: 0, per_line: 0, kept: 0, kept_lines: 0 }
}

#[cfg(feature = "cli")]
pub(crate) fn foresee(_: &OutputOptions) -> Option<String> {
    None
}

#[cfg(feature = "cli")]
pub(crate) fn descriptors(_: &OutputOptions, _: usize) -> usize {
    0
}
