//! Seeded worlds over TLS: `cargo test --features tls --test tls_worlds`. A seed that fails is printed and can be lived through again
//! alone with `SIM_SEED=…`; `SIM_SEEDS=FIRST..END` chooses others than the default ones.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod tls_world;

use std::ops::Range;

use common::watchdog::watch;
use tls_world::{Dice, Report, live};

fn chosen_seeds() -> Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("SIM_SEED and SIM_SEEDS take numbers");
    if let Ok(seed) = std::env::var("SIM_SEED") {
        return number(&seed)..number(&seed) + 1;
    }
    match std::env::var("SIM_SEEDS") {
        Ok(range) => {
            let (first, end) = range.split_once("..").expect("SIM_SEEDS is FIRST..END");
            // Handshakes take their time: as many worlds as elsewhere would take all day.
            number(first)..number(end).min(number(first) + 1000)
        }
        Err(_) => 0..100,
    }
}

#[test]
fn p33_in_every_world_over_tls_nothing_is_lost_leaked_or_late() {
    watch();
    let mut total = Report::default();
    for seed in chosen_seeds() {
        let lived = std::panic::catch_unwind(|| live(Dice::from_seed(seed)));
        let report = lived.unwrap_or_else(|_| {
            panic!("this world failed; again: SIM_SEED={seed} cargo test --features tls --test tls_worlds")
        });
        total.worlds += report.worlds;
        total.lines += report.lines;
        total.clients += report.clients;
        total.handshakes_cut += report.handshakes_cut;
    }
    eprintln!("{total:?}");
    assert!(total.worlds < 50 || (total.lines > 0 && total.handshakes_cut > 0), "{total:?}");
}
