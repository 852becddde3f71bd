//! What every test binary shares: how a test waits, what ends one that hangs, and how one that can't run is counted.

// Each binary needs some of it.
#![allow(dead_code, unused_imports)]

pub(crate) mod certs;
pub(crate) mod patience;
pub(crate) mod skip;
pub(crate) mod watchdog;
