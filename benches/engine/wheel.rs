//! The timer wheel, with few entries and with a crowd.

use std::hint::black_box;

use lumberjack::internals::wheel::{Tick, TimerWheel};

use super::{Case, Pass};

/// Operations a pass.
const OPERATIONS: u32 = 1024;
/// The default `--idle-timeout`, 5 minutes, in ticks of 10 ms.
const TIMEOUT: u64 = 30_000;
/// Steps from one entry to the next to be armed: a prime, so that all have their turn and neighbours do not follow
/// each other.
const STRIDE: u32 = 7919;

/// `entries` of them, each somewhere within the next five minutes.
fn armed(entries: u32) -> TimerWheel {
    let mut wheel = TimerWheel::new(Tick(0), entries as usize);
    for id in 0..entries {
        wheel.arm(id, Tick(u64::from(id) * u64::from(STRIDE) % TIMEOUT));
    }
    wheel
}

/// An entry gets another deadline.
fn arm(entries: u32) -> Case {
    let prepare = move || {
        let (mut wheel, mut id, mut at) = (armed(entries), 0, 0);
        Box::new(move || {
            for _ in 0..OPERATIONS {
                id = (id + STRIDE) % entries;
                at = (at + 10_007) % TIMEOUT;
                wheel.arm(id, Tick(black_box(at)));
            }
            black_box(&wheel);
        }) as Pass
    };
    let name = format!("wheel/arm-{entries}");
    Case { name, unit: "arm", units: u64::from(OPERATIONS), bytes: 0, prepare: Box::new(prepare) }
}

/// A server sleeps until the wheel asks for it, takes out what is due and arms it anew.
fn expire(entries: u32) -> Case {
    let prepare = move || {
        let mut wheel = armed(entries);
        Box::new(move || {
            let mut expired = 0;
            while expired < OPERATIONS {
                let Some(now) = wheel.next_deadline() else { return };
                while let Some(id) = wheel.pop_due(now) {
                    wheel.arm(id, now.saturating_add(TIMEOUT));
                    expired += 1;
                    if expired == OPERATIONS {
                        return; // The rest of this tick belongs to the next pass.
                    }
                }
            }
        }) as Pass
    };
    let name = format!("wheel/expire-{entries}");
    Case { name, unit: "expiry", units: u64::from(OPERATIONS), bytes: 0, prepare: Box::new(prepare) }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![arm(10), arm(100_000), expire(10), expire(100_000)]
}
