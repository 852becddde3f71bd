//! A whole server in a simulated world, of which the input makes every choice (`tests/sim`).
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/sim/mod.rs"]
mod sim;

fuzz_target!(|input: &[u8]| {
    sim::run(sim::Dice::from_script(input));
});
