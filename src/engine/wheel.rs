//! The timer wheel: one deadline per connection, set and cancelled in constant time (P6). Invariant: every entry with a
//! deadline is in exactly one slot: the one that follows from its deadline and the present.
//!
//! Six levels of 64 slots: a slot of level 0 is one tick long, and one of each further level 64 times as long. Deadline
//! and present are numbers with a digit of 6 bits for each level. An entry is on the level of the highest digit in
//! which its deadline differs from the present, in the slot that this digit names. When the present gets to the
//! beginning of that slot, the entry moves down to the level of the next digit that differs.

use core::time::Duration;

/// How long a tick is: as short as time-outs in a log receiver need it, and long enough that the process can sleep.
const TICK_MS: u64 = 10;
const TICK_NS: u128 = TICK_MS as u128 * 1_000_000;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// 64^6 ticks of 10 ms are 21 years.
const LEVELS: usize = 6;
const NONE: u32 = u32::MAX;
/// How far off a deadline can be: 10 years, half of what all levels span, so that no deadline gets into the slot of the
/// last level that the present is in.
const FURTHEST: u64 = 1 << (SLOT_BITS * 6 - 1);

/// A moment on the wheel's clock: ticks since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The first tick that is not before `time`: for deadlines, so that none is early.
    #[must_use]
    pub fn at_or_after(time: Duration) -> Self {
        Self(ticks(time))
    }

    /// The last tick that is not after `time`: for the clock.
    #[must_use]
    pub fn at_or_before(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos() / TICK_NS).unwrap_or(u64::MAX))
    }

    /// When it begins.
    #[must_use]
    pub fn begins_at(self) -> Duration {
        Duration::from_millis(self.0.saturating_mul(TICK_MS))
    }

    /// So many ticks later.
    #[must_use]
    pub fn saturating_add(self, ticks: u64) -> Self {
        Self(self.0.saturating_add(ticks))
    }
}

/// A duration in ticks, rounded up.
#[must_use]
pub fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(TICK_NS)).unwrap_or(u64::MAX)
}

/// One connection's entry: 16 bytes, linked by number to its neighbours in the slot. A deadline of fewer than 64 bits
/// would save nothing: an entry of 13 bytes is padded to 16.
#[derive(Debug, Clone, Copy)]
struct Entry {
    at: u64,
    next: u32,
    previous: u32,
}

/// An entry that is in no slot.
const IDLE: Entry = Entry { at: u64::MAX, next: NONE, previous: NONE };

/// Bytes that the wheel takes for each connection.
pub const ENTRY_BYTES: usize = size_of::<Entry>();

/// The wheel. Entries are known by small numbers, which index a vector.
#[derive(Debug)]
pub struct TimerWheel {
    now: u64,
    entries: Vec<Entry>,
    heads: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    len: usize,
}

impl TimerWheel {
    /// An empty wheel at `now`, with room for `expected` entries, which takes no memory until it is used.
    #[must_use]
    pub fn new(now: Tick, expected: usize) -> Self {
        Self {
            now: now.0,
            entries: Vec::with_capacity(expected),
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            len: 0,
        }
    }

    /// An empty wheel again, at the same time.
    pub fn reset(&mut self, expected: usize) {
        *self = Self::new(Tick(self.now), expected);
    }

    /// How many are armed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sets the deadline of `id`, in place of any before. One in the past is due at once. One that is more than ten
    /// years off is due in ten years: the caller finds then that it has not come, and sets it again.
    pub fn arm(&mut self, id: u32, at: Tick) {
        self.cancel(id);
        let needed = id as usize + 1;
        if self.entries.len() < needed {
            self.entries.resize(needed, IDLE);
        }
        self.link(id, at.0.min(self.now.saturating_add(FURTHEST)));
        self.len += 1;
    }

    /// Removes the deadline of `id`. False if it had none.
    pub fn cancel(&mut self, id: u32) -> bool {
        if self.deadline_of(id).is_none() {
            return false;
        }
        self.unlink(id);
        self.len -= 1;
        true
    }

    /// The deadline of `id`, if it has one.
    #[must_use]
    pub fn deadline_of(&self, id: u32) -> Option<Tick> {
        self.entries.get(id as usize).filter(|entry| entry.at != u64::MAX).map(|entry| Tick(entry.at))
    }

    /// Removes one whose deadline is not after `now`, the earliest first, and gives it. It can be set again at once.
    pub fn pop_due(&mut self, now: Tick) -> Option<u32> {
        loop {
            let found = self.next_slot().filter(|(_, _, begin)| *begin <= now.0.max(self.now));
            let Some((level, slot, begin)) = found else {
                // No slot with entries begins up to `now`, so the present can move there and all entries stay.
                self.now = self.now.max(now.0);
                return None;
            };
            let head = self.heads.get(level)?.get(slot).copied()?;
            if level == 0 {
                self.now = self.now.max(begin);
                self.cancel(head);
                return Some(head);
            }
            // Where an entry is follows from the present: out of its slot by the old one, and into one by the new one.
            self.detach(level, slot);
            self.now = self.now.max(begin);
            self.cascade(head);
        }
    }

    /// When [`Self::pop_due`] is to be called next: never after the earliest deadline, and before it only when entries
    /// have to move down a level.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.next_slot().map(|(_, _, begin)| Tick(begin))
    }

    /// Asserts the invariant, by a walk over everything.
    #[doc(hidden)]
    pub fn check(&self) {
        let mut linked = 0;
        for (level, heads) in self.heads.iter().enumerate() {
            for (slot, head) in heads.iter().enumerate() {
                let is_marked = self.occupied[level] >> slot & 1 == 1;
                assert_eq!(is_marked, *head != NONE, "1. a slot is marked exactly if it has entries");
                let (mut id, mut previous) = (*head, NONE);
                while id != NONE {
                    let entry = self.entries[id as usize];
                    assert_eq!(entry.previous, previous, "2. links agree");
                    assert_eq!(self.place(entry.at), (level, slot), "3. an entry is where its deadline belongs");
                    linked += 1;
                    (previous, id) = (id, entry.next);
                }
            }
        }
        assert_eq!(linked, self.len, "4. every armed entry is linked once");
    }

    /// The earliest slot with entries: its level, its number and the tick at which it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let mut earliest: Option<(usize, usize, u64)> = None;
        for (level, bits) in self.occupied.iter().enumerate() {
            if *bits == 0 {
                continue;
            }
            let shift = SLOT_BITS * u32::try_from(level).unwrap_or_default();
            let current = slot_of(self.now >> shift);
            let ahead = bits.rotate_right(u32::try_from(current).unwrap_or_default()).trailing_zeros();
            let begin = ((self.now >> shift) + u64::from(ahead)) << shift;
            let begin = begin.max(self.now);
            // If slots of two levels begin at once, that of the higher level goes first: its entries may move into the
            // other.
            if earliest.is_none_or(|(_, _, found)| begin <= found) {
                earliest = Some((level, slot_of((self.now >> shift) + u64::from(ahead)), begin));
            }
        }
        earliest
    }

    /// Empties a slot; its entries stay linked to each other.
    fn detach(&mut self, level: usize, slot: usize) {
        if let Some(head) = self.heads.get_mut(level).and_then(|heads| heads.get_mut(slot)) {
            *head = NONE;
        }
        if let Some(bits) = self.occupied.get_mut(level) {
            *bits &= !(1 << slot);
        }
    }

    /// Puts the entries of a slot that has begun, and was detached, where they belong now.
    fn cascade(&mut self, head: u32) {
        let mut id = head;
        while let Some(entry) = self.entries.get(id as usize).copied() {
            self.link(id, entry.at);
            id = entry.next;
        }
    }

    /// Level and slot of a deadline, seen from the present.
    fn place(&self, at: u64) -> (usize, usize) {
        let at = at.max(self.now);
        let differing = at ^ self.now;
        let mut level = ((63 - (differing | 1).leading_zeros()) / SLOT_BITS) as usize;
        level = level.min(LEVELS - 1);
        let shift = SLOT_BITS * u32::try_from(level).unwrap_or_default();
        (level, slot_of(at >> shift))
    }

    fn link(&mut self, id: u32, at: u64) {
        let (level, slot) = self.place(at);
        let Some(head) = self.heads.get_mut(level).and_then(|heads| heads.get_mut(slot)) else { return };
        let next = std::mem::replace(head, id);
        if let Some(entry) = self.entries.get_mut(next as usize) {
            entry.previous = id;
        }
        if let Some(entry) = self.entries.get_mut(id as usize) {
            *entry = Entry { at, next, previous: NONE };
        }
        if let Some(bits) = self.occupied.get_mut(level) {
            *bits |= 1 << slot;
        }
    }

    fn unlink(&mut self, id: u32) {
        let Some(entry) = self.entries.get_mut(id as usize) else { return };
        let Entry { at, next, previous } = std::mem::replace(entry, IDLE);
        if let Some(entry) = self.entries.get_mut(next as usize) {
            entry.previous = previous;
        }
        if let Some(entry) = self.entries.get_mut(previous as usize) {
            entry.next = next;
            return;
        }
        let (level, slot) = self.place(at);
        if let Some(head) = self.heads.get_mut(level).and_then(|heads| heads.get_mut(slot)) {
            *head = next;
        }
        if let Some(bits) = self.occupied.get_mut(level).filter(|_| next == NONE) {
            *bits &= !(1 << slot);
        }
    }
}

/// The slot of a time that was shifted to its level: its lowest six bits.
fn slot_of(shifted: u64) -> usize {
    usize::try_from(shifted % SLOTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut TimerWheel, now: u64) -> Vec<u32> {
        let mut due: Vec<u32> = core::iter::from_fn(|| wheel.pop_due(Tick(now))).collect();
        wheel.check();
        due.sort_unstable();
        due
    }

    #[test]
    fn p6_a_deadline_rounds_up_and_the_clock_down() {
        assert_eq!(Tick::at_or_after(Duration::from_millis(11)), Tick(2));
        assert_eq!(Tick::at_or_before(Duration::from_millis(19)), Tick(1));
        assert_eq!((Tick(2).begins_at(), Tick(2).saturating_add(3)), (Duration::from_millis(20), Tick(5)));
    }

    #[test]
    fn p6_each_fires_at_its_tick_on_every_level() {
        for far in [0, 1, 63, 64, 65, 4095, 4096, 262_143, 262_145, 1 << 30, (1 << 34) + 7] {
            for start in [0, 1, 63, 64, 4000] {
                let mut wheel = TimerWheel::new(Tick(start), 0);
                wheel.arm(7, Tick(start + far));
                if far > 0 {
                    assert_eq!(due(&mut wheel, start + far - 1), [], "{start} + {far} is early");
                }
                assert_eq!(due(&mut wheel, start + far), [7], "{start} + {far}");
                assert!(wheel.is_empty());
            }
        }
    }

    #[test]
    fn arming_again_replaces_and_cancelling_forgets() {
        let mut wheel = TimerWheel::new(Tick(0), 0);
        wheel.arm(1, Tick(10));
        wheel.arm(1, Tick(1000));
        wheel.arm(2, Tick(10));
        assert!(wheel.cancel(2));
        assert!(!wheel.cancel(2) && !wheel.cancel(99));
        assert_eq!(due(&mut wheel, 999), []);
        assert_eq!((wheel.len(), wheel.is_empty()), (1, false));
        assert_eq!(due(&mut wheel, 1000), [1]);
        assert_eq!((wheel.len(), wheel.is_empty()), (0, true));
        [3, 4].into_iter().for_each(|id| wheel.arm(id, Tick(2000)));
        assert_eq!(wheel.len(), 2);
        wheel.reset(0);
        assert_eq!((due(&mut wheel, 2000), wheel.len()), (vec![], 0));
    }

    #[test]
    fn a_jump_of_days_fires_everything_once() {
        let mut wheel = TimerWheel::new(Tick(0), 0);
        for id in 0..1000 {
            wheel.arm(id, Tick(u64::from(id) * 97));
        }
        assert_eq!(due(&mut wheel, 100 * 3600 * 24 * 9), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn one_beyond_ten_years_is_looked_at_in_ten_years() {
        let mut wheel = TimerWheel::new(Tick(0), 0);
        wheel.arm(0, Tick(u64::MAX));
        assert_eq!(due(&mut wheel, FURTHEST - 1), []);
        assert_eq!(due(&mut wheel, FURTHEST), [0]);
    }

    #[test]
    fn the_next_deadline_is_never_passed() {
        let mut wheel = TimerWheel::new(Tick(5), 0);
        wheel.arm(0, Tick(70));
        wheel.arm(1, Tick(5000));
        let mut looks = 0;
        while let Some(at) = wheel.next_deadline() {
            assert!(at.0 <= 70 || wheel.deadline_of(0).is_none());
            assert!(at.0 <= 5000);
            due(&mut wheel, at.0);
            looks += 1;
        }
        assert!(looks <= 5, "{looks} wake-ups for two deadlines");
    }
}
