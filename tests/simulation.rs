//! Seeded worlds: `cargo test --release --test simulation`. A seed that fails is printed and can be lived through again
//! alone with `SIM_SEED=…`; `SIM_SEEDS=FIRST..END` chooses others than the default ones.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod model;
mod sim;

use std::ops::Range;
use std::panic::catch_unwind;

use common::watchdog::watch;
use lumberjack::{IdleClose, Limits};
use sim::{Dice, Event, Report, Step, ms};

fn add(total: &mut Report, world: &Report) {
    total.simulated += world.simulated;
    total.lines += world.lines;
    total.turns += world.turns;
    total.evicted += world.evicted;
    total.gave_way += world.gave_way;
    total.obeyed += world.obeyed;
    total.stalls += world.stalls;
    total.pauses += world.pauses;
    total.budget_drops += world.budget_drops;
    total.gaps += world.gaps;
    total.refused += world.refused;
    total.errors += world.errors;
    total.receipts += world.receipts;
    total.datagrams += world.datagrams;
    total.missed += world.missed;
    total.changes += world.changes;
    total.denied += world.denied;
    total.introduced += world.introduced;
    total.no_headers += world.no_headers;
    total.slowed += world.slowed;
    total.over_rate += world.over_rate;
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
            (total.gave_way, "a client that gave way"),
            (total.obeyed, "a client that took our goodbye for the end"),
            (total.stalls, "a full sink"),
            (total.pauses, "a pause of accepting"),
            (total.budget_drops, "a budget at its end"),
            (total.gaps, "a gap"),
            (total.refused, "a refusal"),
            (total.errors, "a sink given up or gone"),
            (total.receipts, "a receipt"),
            (total.datagrams, "a datagram"),
            (total.missed, "a datagram that the kernel dropped"),
            (total.changes, "a change of the limits"),
            (total.denied, "somebody who may not connect"),
            (total.introduced, "a client of a proxy"),
            (total.no_headers, "a header that is none"),
            (total.slowed, "a host that is slowed"),
            (total.over_rate, "a datagram beyond its rate"),
        ] {
            assert!(count > 0, "no world met {what}");
        }
    }
}

/// Five clients that are told goodbye after 50 ms and stay, and two that come after a second and one and a half.
fn live_with_five_that_linger(events: &[(u64, Event)]) -> Report {
    let limits = Limits { idle_timeout: ms(50), max_per_host: Some(0), ..Limits::default() };
    let (lingers, first, second) = ([(0, Step::Connect)], [(1000, Step::Connect)], [(1500, Step::Connect)]);
    let lingers: &[(u64, Step)] = &lingers;
    let report = sim::run_script(limits, &[lingers, lingers, lingers, lingers, lingers, &first, &second], events);
    assert_eq!(report.evicted, 7, "all of them came in, and were told goodbye");
    report
}

#[test]
fn p10_when_the_whole_system_is_short_of_descriptors_one_lingering_client_is_closed_and_no_more() {
    // That more are not closed in vain, the kernel checks.
    let report = live_with_five_that_linger(&[(900, Event::Outage(ms(2500), true)), (5000, Event::Stop)]);
    assert_eq!(report.pauses, 3, "they come in when the system has a descriptor again");
}

#[test]
fn p10_after_a_pause_one_more_lingering_client_is_closed_for_a_descriptor_of_our_own() {
    // A listener and five clients have six: two too many, of which one goes at once. That nobody waits for longer than
    // a pause, the kernel checks.
    let report = live_with_five_that_linger(&[(900, Event::Descriptors(5)), (5000, Event::Stop)]);
    assert_eq!(report.pauses, 1, "the first comes in after one pause");
}

#[test]
fn p10_for_each_who_comes_in_one_lingering_client_gives_its_descriptor() {
    let report = live_with_five_that_linger(&[(900, Event::Descriptors(6)), (5000, Event::Stop)]);
    assert_eq!(report.pauses, 0, "nobody has to wait");
}

/// Three clients that fall silent at 0, 10 and 20 ms, in a house for so many, which give way when something is needed; and
/// others that come at these times.
fn live_when_needed(max_connections: usize, others: &[u64], events: &[(u64, Event)]) -> Report {
    let limits = Limits {
        max_connections,
        max_per_host: Some(0),
        idle_timeout: ms(50),
        idle_close: IdleClose::Needed,
        ..Limits::default()
    };
    let silent = [0, 10, 20].into_iter().chain(others.iter().copied()).map(|at| vec![(at, Step::Connect)]);
    let silent: Vec<_> = silent.collect();
    let clients: Vec<&[(u64, Step)]> = silent.iter().map(Vec::as_slice).collect();
    sim::run_script(limits, &clients, events)
}

#[test]
fn p6_while_nothing_is_needed_silence_is_no_goodbye_and_no_wake_up() {
    let report = live_when_needed(4, &[], &[(1_000_000, Event::Stop)]);
    assert_eq!(report.evicted, 0, "nobody is told goodbye");
    assert!(report.turns < 15, "{} turns, of which none but those of the clients and the end are needed", report.turns);
}

#[test]
fn p6_for_each_who_comes_to_a_full_house_one_quiet_client_gives_way() {
    // That it is the one silent longest, that it has its second, and that nobody waits for more, the kernel checks.
    for (others, evicted) in [(&[1000][..], 1), (&[1000, 5000], 2), (&[1000, 1000, 1000], 3)] {
        let report = live_when_needed(3, others, &[(20_000, Event::Stop)]);
        assert_eq!(report.evicted, evicted, "{others:?}");
    }
}

#[test]
fn p6_when_the_one_that_is_asked_has_left_nobody_else_gives_way() {
    let limits = Limits {
        max_connections: 6,
        max_per_host: Some(0),
        idle_timeout: ms(50),
        idle_close: IdleClose::Needed,
        ..Limits::default()
    };
    // Five of a crowd come in for one each. When the sixth does, for which two would have to go, the first of them leaves.
    let (silent, late) = ([(0, Step::Connect)], [(1000, Step::Connect)]);
    let leaves = [(5, Step::Connect), (6046, Step::HalfClose)];
    let late: &[_] = &late;
    let clients = [[&silent[..]; 5].as_slice(), &[&leaves], &[late; 6]].concat();
    let report = sim::run_script(limits, &clients, &[(5500, Event::Haste), (20_000, Event::Stop)]);
    assert_eq!(report.evicted, 5, "one for each but the last, which had its place already");
}

#[test]
fn p6_who_waits_at_a_full_house_comes_in_when_somebody_falls_quiet() {
    let report = live_when_needed(3, &[30, 40], &[(20_000, Event::Stop)]);
    assert_eq!((report.evicted, report.pauses), (2, 1), "both come in, and wait for that");
}

#[test]
fn p10_a_quiet_client_gives_way_for_a_descriptor_of_our_own_and_the_system_gets_none() {
    let report = live_when_needed(100, &[1000], &[(900, Event::Descriptors(4)), (10_000, Event::Stop)]);
    assert_eq!((report.evicted, report.pauses), (1, 2), "one gives its descriptor, in its second");
    let report = live_when_needed(100, &[1000], &[(900, Event::Outage(ms(9000), true)), (20_000, Event::Stop)]);
    assert_eq!(report.evicted, 1, "more would go for nobody");
}
