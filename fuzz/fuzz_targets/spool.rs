//! Any bytes as parts of a spool, and records that were written and damaged: what is read would be written just so.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::spool::run(input));
