//! Any bytes in any pieces as answers to the HTTP client: a reader that has all of them says the same, and little is held.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::response::run(input));
