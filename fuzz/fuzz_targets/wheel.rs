//! Any arming, cancelling and passing of time: fires exactly what an ordered map says is due.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::wheel::run(input));
