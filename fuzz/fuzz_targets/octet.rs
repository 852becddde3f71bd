//! Messages with lengths, and what is none, in any chunks, with drops and flushes: bytes and counts as a naive framing has
//! them, and never more memory than P4 says.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::framer::run_octet(input));
