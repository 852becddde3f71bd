//! The engine: what the server knows, without a descriptor, clock, socket or log in it. Time comes in as a [`Tick`],
//! bytes as a slice, and results go out as values, so that fuzzers and simulations can drive every part of it.
//!
//! [`Tick`]: wheel::Tick

pub mod access;
#[cfg(feature = "alert")]
pub(crate) mod alert;
pub mod budget;
pub mod framer;
mod framing;
pub mod gap;
pub mod json;
mod line_framer;
mod marked;
mod octet;
pub mod peer;
pub(crate) mod protocol;
pub mod proxy;
pub mod ranking;
pub mod rate;
pub mod sniff;
pub mod stats;
pub(crate) mod structured;
pub mod syslog;
pub mod wheel;
