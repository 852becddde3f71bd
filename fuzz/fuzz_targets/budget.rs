//! Any hosts, connections and lines: a plain map agrees on who holds what, who is refused and who pays.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::budget::run(input));
