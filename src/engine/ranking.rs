//! A heap of small numbers by what each holds, most first, that knows where each stands, so that any of them can change
//! or leave in logarithmic time. Invariant: it holds exactly those that hold something, and each one's rank says where.

/// What somebody holds, and where that puts them. A connection's share fits 32 bits, a host's may not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rank<H> {
    /// Bytes held.
    pub held: H,
    /// Place in the heap; has a meaning only for those who hold something.
    place: u32,
}

/// Where the ranks are kept: beside whatever else is known of each.
pub trait Ranks {
    /// What counts the bytes that one of them holds; its default is nothing.
    type Held: Copy + Ord + Default + core::fmt::Debug;
    /// The rank of one of them.
    fn rank(&mut self, id: u32) -> Option<&mut Rank<Self::Held>>;
}

/// What a table has room for at first: most hosts have few connections with a line under way.
const FEW: usize = 8;
/// What it has room for next: 2 KiB of numbers.
const MANY: usize = 512;

/// The heap.
#[derive(Debug, Default)]
pub struct Ranking {
    heap: Vec<u32>,
}

impl Ranking {
    /// Who holds most.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        self.heap.first().copied()
    }

    /// `id` holds `held` now.
    pub fn set<R: Ranks>(&mut self, ranks: &mut R, id: u32, held: R::Held) {
        let Some(rank) = ranks.rank(id) else { return };
        let (before, place) = (std::mem::replace(&mut rank.held, held), rank.place as usize);
        let nothing = R::Held::default();
        match (before == nothing, held == nothing) {
            (true, true) => {}
            (true, false) => {
                self.make_room();
                self.heap.push(id);
                self.up(ranks, self.heap.len() - 1);
            }
            (false, true) => {
                self.heap.swap_remove(place);
                if place < self.heap.len() {
                    let place = self.up(ranks, place);
                    self.down(ranks, place);
                }
                if self.heap.is_empty() {
                    self.heap = Vec::new();
                }
            }
            (false, false) => {
                let place = self.up(ranks, place);
                self.down(ranks, place);
            }
        }
    }

    /// Asserts the invariant.
    #[doc(hidden)]
    pub fn check<H: Copy + Ord + Default>(&self, rank_of: impl Fn(u32) -> Rank<H>) {
        for (place, id) in self.heap.iter().enumerate() {
            let rank = rank_of(*id);
            assert_eq!(rank.place as usize, place, "1. each knows where it stands");
            assert!(rank.held > H::default(), "2. each holds something");
            let above = rank_of(self.heap[place.saturating_sub(1) / 2]);
            assert!(above.held >= rank.held, "3. nobody holds more than who stands above");
        }
    }

    /// Grows from few to many at once. A table that doubles leaves its earlier selves among the lines that are ranked;
    /// glibc keeps freed pieces of up to 1 KiB at hand where they are, and what lies below one of them does not go back
    /// to the system: 27 of 64 MiB stayed after 1000 hoarders had left.
    fn make_room(&mut self) {
        if self.heap.len() == self.heap.capacity() {
            let more = match self.heap.capacity() {
                0 => FEW,
                FEW => MANY - FEW,
                many => many,
            };
            self.heap.reserve_exact(more);
        }
    }

    fn up(&mut self, ranks: &mut impl Ranks, mut place: usize) -> usize {
        while place > 0 && self.held(ranks, place) > self.held(ranks, (place - 1) / 2) {
            self.swap(ranks, place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        self.swap(ranks, place, place);
        place
    }

    fn down(&mut self, ranks: &mut impl Ranks, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let child = if self.held(ranks, right) > self.held(ranks, left) { right } else { left };
            if self.held(ranks, child) <= self.held(ranks, place) {
                return;
            }
            self.swap(ranks, place, child);
            place = child;
        }
    }

    /// What the one at `place` holds; beyond the end, nothing.
    fn held<R: Ranks>(&self, ranks: &mut R, place: usize) -> R::Held {
        self.heap.get(place).and_then(|id| ranks.rank(*id)).map(|rank| rank.held).unwrap_or_default()
    }

    fn swap(&mut self, ranks: &mut impl Ranks, a: usize, b: usize) {
        self.heap.swap(a, b);
        for place in [a, b] {
            if let Some(rank) = self.heap.get(place).and_then(|id| ranks.rank(*id)) {
                // As many as there are connections at most, which are numbered by 20 bits.
                rank.place = u32::try_from(place).unwrap_or_default();
            }
        }
    }
}
