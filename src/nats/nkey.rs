//! A user's key (an "nkey"), which signs what a server asks with. Invariant: its seed is never printed.

use ed25519_compact::{KeyPair, Seed};

use super::base::{from_base32, to_base64_url};

/// What a seed begins with: that it is one, and whose: 5 bits each.
const SEED_OF_USER: [u8; 2] = [18 << 3 | 20 << 3 >> 5, (20 << 3 & 31) << 3];
const SEED_BYTES: usize = 32;

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key([u8; SEED_BYTES]);

impl Key {
    /// Reads a seed as `nsc` writes it (`SU…`).
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = from_base32(text.as_bytes())?;
        let (body, sum) = bytes.split_last_chunk::<2>()?;
        let seed = body.strip_prefix(&SEED_OF_USER)?;
        (u16::from_le_bytes(*sum) == crc16(body)).then_some(Self(seed.try_into().ok()?))
    }

    /// The signature of a nonce, as it is sent.
    pub(super) fn sign(&self, nonce: &str) -> String {
        let pair = KeyPair::from_seed(Seed::new(self.0));
        to_base64_url(pair.sk.sign(nonce, None).as_ref())
    }
}

/// The sum at the end of a key: CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ u16::from(*byte) << 8, |sum: u16, _| sum << 1 ^ if sum & 0x8000 == 0 { 0 } else { 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standard() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }
}
