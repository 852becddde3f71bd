//! Lines as numbers: SipHash-1-3 under a key that nobody outside knows, so that no page can be made whose lines are taken for
//! others. `std` has it without a key of ours only, and XXH64 gives way to who chooses what is summed.
//! Invariant: the same number for the same key and bytes, on every box and in every version: numbers are kept on the disk.

/// The key of the numbers.
#[derive(Clone, Copy)]
pub(super) struct Key([u8; 16]);

impl Key {
    pub(super) fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The number of these bytes.
    #[inline(never)] // one copy, for size
    pub(super) fn hash(&self, bytes: &[u8]) -> u64 {
        let (halves, _) = self.0.as_chunks::<8>();
        let (low, high) = (u64::from_le_bytes(halves[0]), u64::from_le_bytes(halves[1]));
        let mut state = [
            low ^ 0x736f_6d65_7073_6575,
            high ^ 0x646f_7261_6e64_6f6d,
            low ^ 0x6c79_6765_6e65_7261,
            high ^ 0x7465_6462_7974_6573,
        ];
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        last[7] = bytes.len().to_le_bytes()[0];
        for word in words.iter().chain([&last]) {
            let word = u64::from_le_bytes(*word);
            state[3] ^= word;
            round(&mut state);
            state[0] ^= word;
        }
        state[2] ^= 0xff;
        (0..3).for_each(|_| round(&mut state));
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }
}

#[inline(always)]
fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher};

    use super::*;

    #[test]
    fn numbers_are_those_of_siphash_1_3() {
        // What `std` hashes with is SipHash-1-3 with a key of zeros.
        let bytes: Vec<u8> = (0..200_u8).collect();
        for len in 0..bytes.len() {
            let mut theirs = DefaultHasher::new();
            theirs.write(&bytes[..len]);
            assert_eq!(Key::new([0; 16]).hash(&bytes[..len]), theirs.finish(), "{len}");
        }
    }

    #[test]
    fn a_number_is_another_under_each_other_key() {
        for at in 0..16 {
            let mut key = [7; 16];
            key[at] ^= 1;
            assert_ne!(Key::new(key).hash(b"line"), Key::new([7; 16]).hash(b"line"), "{at}");
        }
    }
}
