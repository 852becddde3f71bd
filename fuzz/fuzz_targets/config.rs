//! Any text as size, duration, address, option and config file: no panic, one-line errors, and what parses prints back.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::config::run(input));
