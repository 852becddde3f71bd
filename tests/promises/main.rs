//! The original server's six tests and the promises of the design, over real sockets: a module for each group, a test name for
//! each promise (`cargo test p6_`).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod capture;
#[path = "../common/mod.rs"]
mod common;
mod datagrams;
mod fairness;
mod framings;
mod gaps;
mod giving_way;
mod goodbyes;
mod hosts;
mod house;
mod lines;
mod memory;
mod original;
mod proxied;
mod rates;
mod receipts;
mod reload;
mod sinks;
mod spoken;
mod valve;
#[cfg(feature = "status")]
mod visitors;
mod world;
