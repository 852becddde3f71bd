//! Any bytes in any pieces where a header of the PROXY protocol is expected: a reader that has all of them says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::proxy::run(input));
