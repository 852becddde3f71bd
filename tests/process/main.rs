//! The built binary as a whole: signals, exit codes, sentences, what stdout may be, crowds, hostile clients, goodbyes,
//! supervisors.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// With fewer features (dist/flavour) there are fewer tests, which need less.
#![cfg_attr(not(feature = "push"), allow(dead_code, unused_imports))]

mod access;
#[cfg(all(feature = "push", feature = "spool", feature = "status"))]
mod alerts;
mod check;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "compress")]
mod compress;
#[cfg(feature = "udp")]
mod datagrams;
mod devices;
mod disk;
#[cfg(feature = "spool")]
mod endianness;
mod errors;
mod forward;
mod framings;
mod fuse;
mod goodbye;
mod hostile;
mod hosts;
mod inherit;
mod keepalive;
mod kills;
mod lanes;
mod limits;
#[cfg(feature = "calendar")]
mod midnight;
mod misused;
mod modes;
#[cfg(feature = "syslog")]
mod names;
mod outputs;
#[cfg(all(feature = "poll", feature = "status"))]
mod poll;
#[cfg(all(feature = "poll", feature = "status"))]
mod poll_hostile;
#[cfg(all(feature = "poll", feature = "status"))]
mod poll_states;
#[cfg(feature = "status")]
mod proxies;
#[cfg(all(feature = "push", feature = "spool", feature = "status"))]
mod push;
mod receipts;
mod reloading;
mod reopen;
mod rotation;
#[cfg(feature = "sandbox")]
mod sandbox;
mod secrets;
mod signals;
mod sockets;
mod sparing;
#[cfg(feature = "spool")]
mod spooled;
#[cfg(feature = "spool")]
mod spooling;
#[cfg(feature = "status")]
mod status;
mod stdout;
#[cfg(all(feature = "spool", feature = "nats"))]
mod streamed;
mod supervisors;
mod support;
mod syslog;
mod terminals;
mod tls;
#[cfg(feature = "tls")]
mod tls_out;
#[cfg(all(feature = "tls", feature = "poll", feature = "alert"))]
mod tls_out_talks;
#[allow(dead_code)] // clients need more
#[path = "../clients/tools.rs"]
mod tools;
