//! The built binary as a whole: signals, exit codes, sentences, what stdout may be, crowds, hostile clients, goodbyes,
//! supervisors.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// The paths are given since a test's root looks for its modules beside itself, where each would be a test of its own.
#[path = "process/check.rs"]
mod check;
#[path = "process/checks.rs"]
mod checks;
#[path = "process/disk.rs"]
mod disk;
#[path = "process/errors.rs"]
mod errors;
#[path = "process/follow.rs"]
mod follow;
#[path = "process/forward.rs"]
mod forward;
#[path = "process/goodbye.rs"]
mod goodbye;
#[path = "process/hostile.rs"]
mod hostile;
#[path = "process/hosts.rs"]
mod hosts;
#[cfg(feature = "status")]
#[path = "process/http.rs"]
mod http;
#[path = "process/inherit.rs"]
mod inherit;
#[path = "process/keepalive.rs"]
mod keepalive;
#[path = "process/kills.rs"]
mod kills;
#[path = "process/limits.rs"]
mod limits;
#[path = "process/misused.rs"]
mod misused;
#[path = "process/outputs.rs"]
mod outputs;
#[path = "process/receipts.rs"]
mod receipts;
#[path = "process/receiver.rs"]
mod receiver;
#[path = "process/reopen.rs"]
mod reopen;
#[path = "process/rotation.rs"]
mod rotation;
#[path = "process/signals.rs"]
mod signals;
#[path = "process/sparing.rs"]
mod sparing;
#[cfg(feature = "status")]
#[path = "process/status.rs"]
mod status;
#[path = "process/stdout.rs"]
mod stdout;
#[path = "process/supervisors.rs"]
mod supervisors;
#[allow(dead_code)] // clients need more
#[path = "clients/tools.rs"]
mod tools;
#[path = "process/traced.rs"]
mod traced;
