//! A heap of ids, ordered by how many bytes each holds, most first. Each id's place in the heap is kept too, so that
//! any of them can change or leave in logarithmic time. Invariant: the heap has exactly the ids that hold something,
//! and the rank of each says where it is.

/// How many bytes an id holds, and its place in the heap. What a connection holds fits 32 bits, what a host holds may
/// not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rank<H> {
    /// Bytes held.
    pub held: H,
    /// Its place in the heap, if it holds something; else it is not in the heap, and this means nothing.
    place: u32,
}

/// The table in which the caller keeps the ranks, beside whatever else it knows of each id.
pub trait Ranks {
    /// The type of a number of bytes; its default is none.
    type Held: Copy + Ord + Default + core::fmt::Debug;
    /// The rank of an id.
    fn rank(&mut self, id: u32) -> Option<&mut Rank<Self::Held>>;
}

/// How many ids a heap has room for at first: most hosts have few connections with a pending line.
const FEW: usize = 8;
/// How many it has room for next: 2 KiB.
const MANY: usize = 512;

/// The heap.
#[derive(Debug, Default)]
pub struct Ranking {
    heap: Vec<u32>,
}

impl Ranking {
    /// The id that holds most.
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

    /// Grows from few to many at once. If it doubled, each size before would leave a freed piece among the pending
    /// lines; glibc keeps freed pieces of up to 1 KiB for later use, and does not give back to the system what lies
    /// below one of them: 27 of 64 MiB stayed after 1000 clients with long pending lines had left.
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

    /// What the id at `place` holds; beyond the end, nothing.
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(Vec<Rank<u32>>);

    impl Ranks for Table {
        type Held = u32;

        fn rank(&mut self, id: u32) -> Option<&mut Rank<u32>> {
            self.0.get_mut(id as usize)
        }
    }

    #[test]
    fn p5_room_grows_from_few_to_many_at_once_and_is_given_back() {
        let (mut table, mut ranking) = (Table(vec![Rank::default(); 513]), Ranking::default());
        let mut rooms = Vec::new();
        for id in 0..513 {
            ranking.set(&mut table, id, 1);
            rooms.push(ranking.heap.capacity());
        }
        rooms.dedup();
        assert_eq!(rooms, [FEW, MANY, 2 * MANY]);
        (0..513).for_each(|id| ranking.set(&mut table, id, 0));
        assert_eq!(ranking.heap.capacity(), 0);
    }
}
