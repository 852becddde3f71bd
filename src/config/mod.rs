//! Settings: limits, listeners, outputs, times of day, and how each is written as text. Invariant: what prints parses to the
//! same value, and nothing here opens anything or reads the clock.

pub(crate) mod calendar;
pub mod limits;
pub mod listen;
mod listen_addr;
mod listen_options;
pub mod network;
pub mod output;
pub(crate) mod pattern;
pub(crate) mod rate;
pub(crate) mod syslog;
pub mod units;
mod word;
