//! The built binary as a whole: signals, exit codes, sentences, what stdout may be, crowds, hostile clients, goodbyes,
//! supervisors.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod check;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "compress")]
mod compress;
mod datagrams;
mod devices;
mod disk;
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
mod midnight;
mod misused;
mod modes;
#[cfg(feature = "syslog")]
mod names;
mod outputs;
#[cfg(feature = "status")]
mod proxies;
mod receipts;
mod reloading;
mod reopen;
mod rotation;
mod signals;
mod sockets;
mod sparing;
#[cfg(feature = "status")]
mod status;
mod stdout;
mod supervisors;
mod support;
mod syslog;
mod terminals;
#[allow(dead_code)] // clients need more
#[path = "../clients/tools.rs"]
mod tools;
