//! The timer wheel beside an ordered map of deadlines (P6): what is due fires at once, never early, earliest first, and
//! between deadlines there are only a few moments to look at.

use std::collections::{BTreeMap, BTreeSet};

use lumberjack::internals::wheel::{Tick, TimerWheel};

use super::{Script, Story};

/// How far off a deadline can be, in ticks of 10 ms: ten years and ten months.
const FURTHEST: u64 = 1 << 35;
/// The wheel has six levels, and an entry moves down one at a time.
const LEVELS: usize = 6;
const DAY: u64 = 24 * 3600 * 100;

/// One thing that happens to a wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Sets a deadline so many ticks after the present.
    Arm { id: u32, after: u64 },
    /// Sets a deadline so many ticks before the present.
    ArmLate { id: u32, before: u64 },
    /// Sets one that is further off than any can be.
    ArmForEver { id: u32 },
    /// Sets `count` deadlines, `apart` from each other.
    ArmMany { count: u32, apart: u64 },
    /// Takes one away.
    Cancel { id: u32 },
    /// Time passes, and all that is due is taken out.
    Advance { ticks: u64 },
    /// Time passes, and at most `count` of those due are taken out; each is armed again.
    Rearm { ticks: u64, count: usize, after: u64 },
    /// Looks only when the wheel asks for it, until something is due.
    Sleep,
}

/// Decodes a start and operations, and compares.
pub(crate) fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let start = script.wide(44);
    let mut ops = Vec::new();
    while !script.is_over() {
        ops.push(op(&mut script));
    }
    compare(start, &ops);
}

fn op(script: &mut Script<'_>) -> Op {
    let choice = script.byte() % 16;
    let id = u32::from(script.byte());
    match choice {
        0..=4 => Op::Arm { id, after: script.wide(36) },
        5 => Op::ArmLate { id, before: script.wide(36) },
        6 => Op::ArmForEver { id },
        7 => Op::ArmMany { count: id / 8, apart: script.wide(20) },
        8 => Op::Cancel { id },
        9 | 10 => Op::Advance { ticks: u64::from(id) },
        11 => Op::Advance { ticks: script.wide(34) },
        12 => Op::Advance { ticks: u64::from(id) * DAY },
        13 => Op::Rearm { ticks: script.wide(24), count: 1 + usize::from(script.byte() % 8), after: u64::from(id) },
        _ => Op::Sleep,
    }
}

/// Does `ops` with the real wheel and the map, and compares after each.
pub(crate) fn compare(start: u64, ops: &[Op]) {
    let _story = Story(&(start, ops));
    let mut pair = Pair::new(start);
    for op in ops {
        pair.apply(*op);
        pair.assert_same();
    }
    // Whatever is left comes out in the end.
    while !pair.by_time.is_empty() {
        pair.sleep();
        pair.assert_same();
    }
}

/// The wheel, and what it has to be the same as.
struct Pair {
    real: TimerWheel,
    /// The time up to which everything due has been taken out, or of the last one taken out.
    now: u64,
    /// When each fires: its deadline, or the present when that had passed already.
    by_time: BTreeSet<(u64, u32)>,
    /// Deadline and time of firing.
    by_id: BTreeMap<u32, (u64, u64)>,
}

impl Pair {
    fn new(start: u64) -> Self {
        Self { real: TimerWheel::new(Tick(start), 0), now: start, by_time: BTreeSet::new(), by_id: BTreeMap::new() }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Arm { id, after } => self.arm(id, self.now.saturating_add(after)),
            Op::ArmLate { id, before } => self.arm(id, self.now.saturating_sub(before)),
            Op::ArmForEver { id } => self.arm(id, u64::MAX),
            Op::ArmMany { count, apart } => {
                (0..count).for_each(|id| self.arm(id, self.now + apart * u64::from(id)));
            }
            Op::Cancel { id } => self.cancel(id),
            Op::Advance { ticks } => {
                let until = self.now + ticks;
                while self.pop(until).is_some() {}
            }
            Op::Rearm { ticks, count, after } => {
                let until = self.now + ticks;
                for _ in 0..count {
                    let Some(id) = self.pop(until) else { return };
                    self.arm(id, until + after);
                }
            }
            Op::Sleep => self.sleep(),
        }
    }

    fn arm(&mut self, id: u32, at: u64) {
        self.real.arm(id, Tick(at));
        self.forget(id);
        let at = at.min(self.now + FURTHEST);
        self.by_id.insert(id, (at, at.max(self.now)));
        self.by_time.insert((at.max(self.now), id));
    }

    fn cancel(&mut self, id: u32) {
        let was_armed = self.by_id.contains_key(&id);
        assert_eq!(self.real.cancel(id), was_armed, "cancelling {id}");
        self.forget(id);
    }

    fn forget(&mut self, id: u32) {
        if let Some((_, fires)) = self.by_id.remove(&id) {
            self.by_time.remove(&(fires, id));
        }
    }

    /// Takes out one that is due at `until`.
    fn pop(&mut self, until: u64) -> Option<u32> {
        let earliest = self.by_time.first().map(|(fires, _)| *fires).filter(|fires| *fires <= until);
        match (self.real.pop_due(Tick(until)), earliest) {
            (None, None) => {
                self.now = self.now.max(until);
                None
            }
            (Some(id), Some(earliest)) => {
                let fires = self.by_id.get(&id).map(|(_, fires)| *fires);
                assert_eq!(fires, Some(earliest), "{id} came, and the time of the earliest is {earliest}");
                self.forget(id);
                self.now = self.now.max(earliest);
                Some(id)
            }
            (None, Some(earliest)) => panic!("nothing came at {until}, though one was due at {earliest}"),
            (Some(id), None) => panic!("{id} came at {until}, too early: {:?}", self.by_id.get(&id)),
        }
    }

    /// As a loop does that has nothing else to do: waits until the wheel wants to be looked at.
    fn sleep(&mut self) {
        for _ in 0..LEVELS {
            let Some(Tick(at)) = self.real.next_deadline() else { return };
            let mut is_due = false;
            while self.pop(at).is_some() {
                is_due = true;
            }
            if is_due {
                return;
            }
        }
        panic!("looked {LEVELS} times, and nothing was due; the earliest is {:?}", self.by_time.first());
    }

    fn assert_same(&self) {
        self.real.check();
        assert_eq!(self.real.len(), self.by_id.len(), "armed");
        assert_eq!(self.real.is_empty(), self.by_id.is_empty(), "empty");
        for (id, (at, _)) in &self.by_id {
            assert_eq!(self.real.deadline_of(*id), Some(Tick(*at)), "the deadline of {id}");
        }
        match (self.real.next_deadline(), self.by_time.first()) {
            (None, None) => {}
            (Some(Tick(at)), Some((fires, _))) => {
                assert!(at <= *fires, "to be looked at at {at}, but one is due at {fires}");
                assert!(at >= self.now, "to be looked at at {at}, but it is {} already: the loop would spin", self.now);
            }
            (at, fires) => panic!("to be looked at at {at:?}, and the earliest is {fires:?}"),
        }
    }
}
