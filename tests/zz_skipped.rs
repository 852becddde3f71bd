//! The last word of `cargo test`: how many tests could not run, and why. No test itself: cargo runs it after all others.
#![allow(missing_docs, clippy::unwrap_used)]

#[allow(dead_code)] // the tests call the rest
#[path = "common/skip.rs"]
mod skip;

use std::collections::{BTreeMap, BTreeSet};

fn main() {
    // Who lists tests finds none.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let notes = std::fs::read_to_string(skip::notes()).unwrap_or_default();
    let own = skip::run_id().to_string();
    let mut tests: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for note in notes.lines() {
        let [run, binary, test, why] = note.splitn(4, '\t').collect::<Vec<_>>()[..] else { continue };
        if run == own {
            tests.entry(why).or_default().insert(format!("{binary} {test}"));
        }
    }
    println!("\n{} tests were skipped", tests.values().map(BTreeSet::len).sum::<usize>());
    for (why, tests) in tests {
        println!("    {why}");
        tests.iter().for_each(|test| println!("        {test}"));
    }
    println!();
    if std::env::var_os("LUMBERJACK_SKIPPED").is_none() {
        let _ = std::fs::remove_file(skip::notes());
    }
}
