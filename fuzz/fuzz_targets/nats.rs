//! A publisher to NATS JetStream beside a model of a server, and servers that send anything: each line is in the stream once, and
//! what is held is bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

fuzz_target!(|input: &[u8]| model::nats::run(input));
