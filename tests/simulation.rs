//! Seeded worlds: `cargo test --release --test simulation`. A seed that fails is printed and can be lived through again
//! alone with `SIM_SEED=…`; `SIM_SEEDS=FIRST..END` chooses others than the default ones.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod model;
mod sim;

use std::ops::Range;
use std::panic::catch_unwind;

use common::watchdog::watch;
use sim::{Dice, Report};

fn add(total: &mut Report, world: &Report) {
    total.simulated += world.simulated;
    total.lines += world.lines;
    total.turns += world.turns;
    total.evicted += world.evicted;
    total.stalls += world.stalls;
    total.pauses += world.pauses;
    total.budget_drops += world.budget_drops;
    total.gaps += world.gaps;
    total.refused += world.refused;
    total.errors += world.errors;
    total.receipts += world.receipts;
}

/// Lives through the worlds of these seeds; the first that fails ends it.
fn live_through(seeds: Range<u64>) -> Report {
    let mut total = Report::default();
    for seed in seeds {
        match catch_unwind(|| sim::run(Dice::from_seed(seed), Dice::from_seed(!seed))) {
            Ok(world) => add(&mut total, &world),
            Err(_) => panic!("this world failed; again: SIM_SEED={seed} cargo test --test simulation"),
        }
    }
    total
}

fn chosen_seeds() -> Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("SIM_SEED and SIM_SEEDS take numbers");
    if let Ok(seed) = std::env::var("SIM_SEED") {
        let seed = number(&seed);
        return seed..seed + 1;
    }
    match std::env::var("SIM_SEEDS") {
        Ok(range) => {
            let (first, end) = range.split_once("..").expect("SIM_SEEDS is FIRST..END");
            let seeds = number(first)..number(end);
            assert!(!seeds.is_empty(), "SIM_SEEDS is FIRST..END, and END comes after FIRST");
            seeds
        }
        // A debug build takes its time over each.
        Err(_) => 0..500,
    }
}

#[test]
fn in_every_world_nothing_is_lost_leaked_or_late() {
    watch();
    let seeds = chosen_seeds();
    let worlds = seeds.end - seeds.start;
    let half = seeds.start + worlds / 2;
    let (first, second) = (seeds.start..half, half..seeds.end);
    // Two cores, two threads.
    let other = std::thread::spawn(|| live_through(first));
    let mut total = live_through(second);
    add(&mut total, &other.join().expect("a world failed in the other thread"));
    let years = total.simulated.as_secs_f64() / (365.25 * 86_400.0);
    eprintln!("{worlds} worlds, {years:.2} simulated years: {total:?}");
    if worlds >= 500 {
        // Rare branches are forced on in a share of the worlds, or they are never met.
        for (count, what) in [
            (total.evicted, "an eviction"),
            (total.stalls, "a full sink"),
            (total.pauses, "a pause of accepting"),
            (total.budget_drops, "a budget at its end"),
            (total.gaps, "a gap"),
            (total.refused, "a refusal"),
            (total.errors, "a sink given up or gone"),
            (total.receipts, "a receipt"),
        ] {
            assert!(count > 0, "no world met {what}");
        }
    }
}
