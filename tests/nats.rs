//! The spool and `nats:` outputs against real NATS servers, alone and as clusters of three: whatever is killed, cut, away,
//! full, refused or put back to an earlier state, each line of which a client has a receipt is in the stream once, and in
//! each client's order. `docs/TESTING.md` says which servers are needed; without them these tests are skipped.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[allow(dead_code)] // worlds need more choices
#[path = "sim/dice.rs"]
mod dice;
#[allow(dead_code, unused_imports)] // what `tests/process` needs beyond this
#[path = "process/support/mod.rs"]
mod support;

#[path = "nats/acks.rs"]
mod acks;
#[path = "nats/boxes.rs"]
mod boxes;
#[path = "nats/chaos.rs"]
mod chaos;
#[path = "nats/clusters.rs"]
mod clusters;
#[path = "nats/flash.rs"]
mod flash;
#[path = "nats/jetstream.rs"]
mod jetstream;
#[path = "nats/judge.rs"]
mod judge;
#[path = "nats/middleman.rs"]
mod middleman;
#[path = "nats/ours.rs"]
mod ours;
#[path = "nats/outages.rs"]
mod outages;
#[path = "nats/refused.rs"]
mod refused;
#[path = "nats/rewinds.rs"]
mod rewinds;
#[cfg(feature = "tls")]
#[path = "nats/secured.rs"]
mod secured;
#[path = "nats/senders.rs"]
mod senders;
#[path = "nats/servers.rs"]
mod servers;
#[path = "nats/sizes.rs"]
mod sizes;
