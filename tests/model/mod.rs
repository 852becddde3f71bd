//! Models of the engine: each decodes arbitrary bytes to limits and operations, and drives the real thing and a slow,
//! obvious twin side by side. One decoder, three feeders: libFuzzer, its corpus, and random bytes in `cargo test`.
//! Invariant: every input is a legal sequence of operations, so that a panic is always a finding.

// Each feeder calls some of these.
#![allow(dead_code)]

pub(crate) mod budget;
pub(crate) mod config;
pub(crate) mod format;
pub(crate) mod framer;
#[cfg(feature = "status")]
pub(crate) mod http;
#[cfg(feature = "nats")]
pub(crate) mod nats;
#[cfg(feature = "poll")]
pub(crate) mod page;
pub(crate) mod proxy;
#[cfg(any(feature = "poll", feature = "push"))]
pub(crate) mod response;
#[cfg(feature = "spool")]
pub(crate) mod spool;
pub(crate) mod syslog;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod wheel;

use std::fmt;

/// Bytes that are shown around a difference.
const SHOWN_BYTES: usize = 40;

/// The bytes that say what happens. When they run out, they go on as zeros, so that a cut input is an input too.
pub(crate) struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    /// A number below `end`, which is at most 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// A number of any size up to `1 << most_bits`, often beside a power of two, where levels and steps begin.
    pub(crate) fn wide(&mut self, most_bits: usize) -> u64 {
        let (bits, offset) = (self.below(most_bits + 1), u64::from(self.byte()));
        match offset {
            0..=9 => (1_u64 << bits).saturating_add(offset).saturating_sub(5),
            _ => (1_u64 << bits) / 256 * offset,
        }
    }
}

/// Tells how to replay a failure, since an assertion deep inside knows only its own values.
pub(crate) struct Story<'a, T: fmt::Debug>(pub(crate) &'a T);

impl<T: fmt::Debug> Drop for Story<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this is what was done: {:?}", self.0);
        }
    }
}

/// Bytes as a person can read them, cut when there are many.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.0.get(..5 * SHOWN_BYTES).unwrap_or(self.0);
        write!(f, "b\"{}\"", start.escape_ascii())?;
        if start.len() < self.0.len() { write!(f, " and more, {} bytes", self.0.len()) } else { Ok(()) }
    }
}

/// Compares bytes, and shows those around the first difference.
pub(crate) fn assert_same_bytes(what: &str, real: &[u8], twin: &[u8]) {
    if real == twin {
        return;
    }
    let at = real.iter().zip(twin).take_while(|(real, twin)| real == twin).count();
    let around = |bytes: &[u8]| {
        let start = at.saturating_sub(SHOWN_BYTES / 2);
        bytes.get(start..(start + SHOWN_BYTES).min(bytes.len())).unwrap_or_default().escape_ascii().to_string()
    };
    let (real_len, twin_len) = (real.len(), twin.len());
    panic!(
        "{what} differ from byte {at} on: real ({real_len} bytes) …{}… expected ({twin_len} bytes) …{}…",
        around(real),
        around(twin)
    );
}
