//! Sums over bytes: the low half of XXH64. It needs no tables, and takes a seventh of the time that CRC32C takes without the
//! processor's own instruction, which would need `unsafe`.
//! Invariant: the same sum on every box.

use super::bytes::{u32_at, u64_at};

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_4: u64 = 0x85eb_ca77_c2b2_ae63;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

/// XXH64.
#[inline(never)] // one copy, for size
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let (stripes, mut rest) = bytes.as_chunks::<32>();
    let mut hash = seed.wrapping_add(PRIME_5);
    if !stripes.is_empty() {
        let second = seed.wrapping_add(PRIME_2);
        let mut lanes = [second.wrapping_add(PRIME_1), second, seed, seed.wrapping_sub(PRIME_1)];
        for stripe in stripes {
            let (words, _) = stripe.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane = round(*lane, u64::from_le_bytes(*word));
            }
        }
        let [a, b, c, d] = lanes;
        hash = a.rotate_left(1);
        hash = hash.wrapping_add(b.rotate_left(7)).wrapping_add(c.rotate_left(12)).wrapping_add(d.rotate_left(18));
        for lane in lanes {
            hash = (hash ^ round(0, lane)).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
        }
    }
    hash = hash.wrapping_add(bytes.len() as u64);
    while let Some(word) = u64_at(rest, 0) {
        hash = (hash ^ round(0, word)).rotate_left(27).wrapping_mul(PRIME_1).wrapping_add(PRIME_4);
        rest = rest.get(8..).unwrap_or_default();
    }
    if let Some(word) = u32_at(rest, 0) {
        hash = (hash ^ u64::from(word).wrapping_mul(PRIME_1)).rotate_left(23).wrapping_mul(PRIME_2);
        hash = hash.wrapping_add(PRIME_3);
        rest = rest.get(4..).unwrap_or_default();
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(PRIME_5)).rotate_left(11).wrapping_mul(PRIME_1);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(PRIME_2);
    hash = (hash ^ hash >> 29).wrapping_mul(PRIME_3);
    hash ^ hash >> 32
}

/// The sum of bytes. Under another key it is another one.
pub(super) fn sum_of(key: &[u8], bytes: &[u8]) -> u32 {
    let seed = if key.is_empty() { 0 } else { hash(0, key) };
    let [a, b, c, d, ..] = hash(seed, bytes).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_xxh64() {
        let rising: Vec<u8> = (0..100).collect();
        for (bytes, without_seed, with_seed) in [
            (&b""[..], 0xef46_db37_51d8_e999, 0xac75_fda2_929b_17ef),
            (b"a", 0xd24e_c4f1_a98c_6e5b, 0x393d_a8b7_8992_279b),
            (b"abc", 0x44bc_2cf5_ad77_0999, 0x1318_df30_094a_85fd),
            (b"123456789", 0x8cb8_41db_40e6_ae83, 0x6bc4_32bf_21c3_e5e2),
            (&rising[..32], 0xcbf5_9c51_16ff_32b4, 0x7181_3547_74e0_d600),
            (&rising, 0x6ac1_e580_3216_6597, 0x8832_442a_8828_4f11),
        ] {
            assert_eq!((hash(0, bytes), hash(2_654_435_761, bytes)), (without_seed, with_seed), "{bytes:?}");
        }
    }

    #[test]
    fn a_sum_is_another_with_another_key_another_byte_or_one_byte_more() {
        let bytes: Vec<u8> = (0..200_u8).collect();
        for len in 0..bytes.len() {
            let sum = sum_of(b"key", &bytes[..len]);
            assert_ne!(sum, sum_of(b"another", &bytes[..len]));
            assert_ne!(sum, sum_of(b"key", &bytes[..=len]));
            for at in 0..len {
                let mut other = bytes[..len].to_vec();
                other[at] ^= 1;
                assert_ne!(sum, sum_of(b"key", &other), "{at} of {len}");
            }
        }
    }
}
