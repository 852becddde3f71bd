//! Any bytes, in any pieces and at any time, from a visitor of the status endpoint: answers are well-formed HTTP, what is
//! held is bounded, and whoever waits for nothing has nothing to do.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::http::run(input));
