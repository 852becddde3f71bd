//! The memory budget: what it costs that a connection holds more, less or nothing, among few and in a crowd.

use std::hint::black_box;

use lumberjack::Host;
use lumberjack::internals::budget::Budget;

use super::{Case, Pass};

/// Operations a pass.
const OPERATIONS: u32 = 1024;
/// Hosts that the connections come from.
const HOSTS: u32 = 10;
/// See `wheel.rs`.
const STRIDE: u32 = 7919;

/// `connections` of them, each of which holds something.
fn crowd(connections: u32) -> Budget {
    let mut budget = Budget::new(usize::MAX, None, connections as usize);
    for id in 0..connections {
        let [.., last] = (id % HOSTS).to_be_bytes();
        budget.connect(id, Host::V4([127, 0, 0, last])).unwrap();
        budget.hold(id, 64 * (1 + id as usize % 16));
    }
    budget
}

fn case(name: String, connections: u32, step: fn(&mut Budget, u32, usize)) -> Case {
    let prepare = move || {
        let (mut budget, mut id, mut bytes) = (crowd(connections), 0, 0);
        Box::new(move || {
            for _ in 0..OPERATIONS {
                id = (id + STRIDE) % connections;
                // 15 sizes: a connection whose turn comes again gets another one than it has.
                bytes = (bytes + 448) % 960;
                step(&mut budget, black_box(id), 64 + bytes);
                black_box(budget.payer());
            }
        }) as Pass
    };
    Case { name, unit: "hold", units: u64::from(OPERATIONS), bytes: 0, prepare: Box::new(prepare) }
}

pub(crate) fn cases() -> Vec<Case> {
    let change = |budget: &mut Budget, id, bytes| budget.hold(id, bytes);
    // The pending line of a connection ends, and the next begins.
    let end_and_begin = |budget: &mut Budget, id, bytes| {
        budget.hold(id, 0);
        budget.hold(id, bytes);
    };
    let mut cases = Vec::new();
    for connections in [10, 100_000] {
        cases.push(case(format!("budget/change-{connections}"), connections, change));
        let twice = case(format!("budget/end-and-begin-{connections}"), connections, end_and_begin);
        cases.push(Case { units: 2 * twice.units, ..twice });
    }
    cases
}
