//! What a server is told: limits, places to listen at, outputs, and how each is written. Invariant: what prints parses
//! to the same, and nothing here opens or asks anything.

pub mod limits;
pub mod listen;
pub mod output;
pub mod units;
mod word;
