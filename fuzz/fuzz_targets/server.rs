//! A whole server in a simulated world, of which the input makes every choice (`tests/sim`).
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;
#[path = "../../tests/sim/mod.rs"]
mod sim;

fuzz_target!(|input: &[u8]| {
    // One half says what the world is like, the other what chance does in it.
    let (world, luck) = input.split_at(input.len() / 2);
    sim::run(sim::Dice::from_script(world), sim::Dice::from_script(luck));
});
