//! Settings: limits, listeners, outputs, times of day, and how each is written as text. Invariant: what prints parses to the
//! same value, and nothing here opens anything or reads the clock.

#[cfg(feature = "alert")]
pub(crate) mod alert;
pub(crate) mod calendar;
pub mod limits;
pub mod listen;
mod listen_addr;
mod listen_options;
pub(crate) mod nats;
pub mod network;
pub mod output;
pub(crate) mod pattern;
pub(crate) mod push;
pub(crate) mod rate;
pub(crate) mod spool;
pub(crate) mod syslog;
pub(crate) mod text;
pub(crate) mod tls;
#[cfg(feature = "tls")]
pub(crate) mod tls_options;
pub(crate) mod tls_out;
pub mod units;
mod word;
