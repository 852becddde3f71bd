//! The original server's six tests and the promises of the design, over real sockets: a module for each group, a test name for
//! each promise (`cargo test p6_`).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod capture;
mod client;
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
#[cfg(feature = "poll")]
mod pollers;
mod proxied;
mod rates;
mod receipts;
mod reload;
#[cfg(feature = "tls")]
mod secured;
mod sinks;
mod spoken;
#[cfg(feature = "tls")]
mod tls_client;
mod valve;
#[cfg(feature = "status")]
mod visitors;
mod world;
