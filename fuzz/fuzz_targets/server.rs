//! A whole server in a simulated world, of which the input makes every choice (`tests/sim`); if it begins with 0xf5, in one whose
//! clients speak TLS (`tests/tls_world`).
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;
#[path = "../../tests/sim/mod.rs"]
mod sim;
#[path = "../../tests/tls_world/mod.rs"]
mod tls_world;

fuzz_target!(|input: &[u8]| {
    if let [0xf5, choices @ ..] = input {
        tls_world::live(tls_world::Dice::from_script(choices));
        return;
    }
    // One half says what the world is like, the other what chance does in it.
    let (world, luck) = input.split_at(input.len() / 2);
    sim::run(sim::Dice::from_script(world), sim::Dice::from_script(luck));
});
