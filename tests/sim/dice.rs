//! Where a world's choices come from: a seed, or a fuzzer's bytes. The same source makes the same world.

#[allow(dead_code)]
enum Source {
    /// SplitMix64, a generator of one word of state.
    Seed(u64),
    /// Bytes, used up from the front. When they are gone every choice is the first one, which ends the world soon.
    Script { bytes: Vec<u8>, at: usize },
}

/// The choices of one world.
pub(crate) struct Dice(Source);

impl Dice {
    // Each feeder uses one of the two.
    #[allow(dead_code)]
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(Source::Seed(seed))
    }

    #[allow(dead_code)]
    pub(crate) fn from_script(bytes: &[u8]) -> Self {
        Self(Source::Script { bytes: bytes.to_vec(), at: 0 })
    }

    /// A number from 0 to `n - 1`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        match &mut self.0 {
            Source::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut word = *state;
                word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (word ^ (word >> 31)) % n.max(1)
            }
            Source::Script { bytes, at } => {
                let mut word = 0;
                let mut range = 1;
                while range < n {
                    word = word << 8 | u64::from(bytes.get(*at).copied().unwrap_or(0));
                    *at += 1;
                    range <<= 8;
                }
                word % n.max(1)
            }
        }
    }

    /// True in so many of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) >= 100 - percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    pub(crate) fn size(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap()
    }
}
