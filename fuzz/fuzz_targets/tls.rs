//! Two sessions of TLS whose bytes are cut, changed, dropped and mixed with others: what was said comes out, or its beginning, what
//! is kept is bounded, and any bytes at all are a certificate or none.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::tls::run(input));
