//! How much a host may send (`--rate`, `--burst`): a bucket of tokens, one for each line or byte, that fills with time.
//! Who has read more than there was owes it, and waits. Invariant: over any time, what was taken is no more than the burst,
//! what the time brought, and what the last read brought beyond that.

use super::wheel::Tick;
use crate::config::rate::Rate;

/// Ticks in a second; a level is counted in hundredths of a token, so that a tick brings a whole number of them.
const TICKS: i64 = 100;
/// Of a host that may send anything at all, so much is read, a few lines: less would be more system calls than lines.
const LEAST_BYTES: usize = 256;
/// How long lines are taken to be, so that a read brings about as many as there are tokens.
const LINE_BYTES: usize = 64;

/// What each host may send.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Tokens a second, or hundredths of a token a tick.
    rate: i64,
    /// The most hundredths that a bucket holds.
    burst: i64,
    is_bytes: bool,
}

impl Limit {
    /// That of two settings; none if nothing is limited.
    #[must_use]
    pub fn new(rate: Rate, burst: Rate) -> Option<Self> {
        let number = |amount| match amount {
            Rate::Off => None,
            Rate::Lines(number) | Rate::Bytes(number) => Some(i64::from(number)),
        };
        let a_second = number(rate)?;
        let most = number(burst).unwrap_or(a_second);
        Some(Self { rate: a_second, burst: most * TICKS, is_bytes: matches!(rate, Rate::Bytes(_)) })
    }

    /// Whether both count the same: lines, or bytes.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.is_bytes == other.is_bytes
    }

    /// A full bucket.
    #[must_use]
    pub fn full(&self, now: Tick) -> Bucket {
        Bucket { level: self.burst, at: now }
    }
}

/// What one host has left.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// In hundredths of a token; below 0 is what it owes.
    level: i64,
    /// When that was.
    at: Tick,
}

impl Bucket {
    /// Adds what time has brought.
    pub fn fill(&mut self, limit: &Limit, now: Tick) {
        let ticks = i64::try_from(now.0.saturating_sub(self.at.0)).unwrap_or(i64::MAX);
        self.at = self.at.max(now);
        self.level = self.level.saturating_add(limit.rate.saturating_mul(ticks)).min(limit.burst);
    }

    /// How many bytes may be read of the host; `None`: none now.
    #[must_use]
    pub fn room(&self, limit: &Limit) -> Option<usize> {
        let tokens = usize::try_from(self.level / TICKS).ok().filter(|tokens| *tokens > 0)?;
        let each = if limit.is_bytes { 1 } else { LINE_BYTES };
        Some(tokens.saturating_mul(each).max(LEAST_BYTES))
    }

    /// How many reads of the least size there are tokens for, at least one.
    #[must_use]
    pub fn reads(&self, limit: &Limit) -> usize {
        self.room(limit).map_or(1, |room| room / LEAST_BYTES)
    }

    /// So many lines and bytes were read.
    pub fn take(&mut self, limit: &Limit, lines: u64, bytes: u64) {
        let tokens = i64::try_from(if limit.is_bytes { bytes } else { lines }).unwrap_or(i64::MAX);
        self.level = self.level.saturating_sub(tokens.saturating_mul(TICKS));
    }

    /// How many ticks it takes until there is a token, one at least.
    #[must_use]
    pub fn ticks_to_token(&self, limit: &Limit) -> u64 {
        let missing = TICKS.saturating_sub(self.level).max(1);
        u64::try_from(missing.saturating_add(limit.rate - 1) / limit.rate).unwrap_or(1)
    }

    /// Whether it holds as much as it can: then nothing is known of the host that has to be remembered.
    #[must_use]
    pub fn is_full(&self, limit: &Limit) -> bool {
        self.level >= limit.burst
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p26_a_bucket_gives_its_burst_and_then_what_time_brings() {
        for (rate, burst, at_once) in
            [(Rate::Lines(10), Rate::Off, 10), (Rate::Lines(10), Rate::Lines(25), 25), (Rate::Lines(1), Rate::Off, 1)]
        {
            let limit = Limit::new(rate, burst).unwrap();
            let (mut bucket, mut taken) = (limit.full(Tick(7)), 0);
            while bucket.room(&limit).is_some() {
                bucket.take(&limit, 1, 1000);
                taken += 1;
            }
            assert_eq!(taken, at_once, "{rate} {burst}");
            let ticks = bucket.ticks_to_token(&limit);
            bucket.fill(&limit, Tick(7 + ticks - 1));
            assert_eq!(bucket.room(&limit), None, "one tick early");
            bucket.fill(&limit, Tick(7 + ticks));
            assert_eq!(bucket.room(&limit), Some(LEAST_BYTES));
        }
        assert!(Limit::new(Rate::Off, Rate::Lines(3)).is_none());
    }

    #[test]
    fn p26_what_was_read_beyond_the_tokens_is_owed() {
        let limit = Limit::new(Rate::Bytes(1000), Rate::Bytes(5000)).unwrap();
        let mut bucket = limit.full(Tick(0));
        assert_eq!((bucket.room(&limit), bucket.reads(&limit), bucket.is_full(&limit)), (Some(5000), 19, true));
        bucket.take(&limit, 1, 8000);
        assert_eq!((bucket.room(&limit), bucket.ticks_to_token(&limit), bucket.is_full(&limit)), (None, 301, false));
        bucket.fill(&limit, Tick(301));
        assert_eq!((bucket.room(&limit), bucket.reads(&limit)), (Some(LEAST_BYTES), 1));
        bucket.fill(&limit, Tick(100));
        assert_eq!(bucket.room(&limit), Some(LEAST_BYTES), "time does not go back");
        bucket.fill(&limit, Tick(u64::MAX));
        assert!(bucket.is_full(&limit));
        bucket.take(&limit, u64::MAX, u64::MAX);
        assert!(bucket.ticks_to_token(&limit) > 1_000_000);
    }

    #[test]
    fn p26_a_read_brings_about_as_many_lines_as_there_are_tokens() {
        let limit = Limit::new(Rate::Lines(100_000), Rate::Off).unwrap();
        assert_eq!(limit.full(Tick(0)).room(&limit), Some(6_400_000));
        let most = Limit::new(Rate::Lines(u32::MAX), Rate::Off).unwrap();
        assert!(most.full(Tick(0)).room(&most).is_some());
    }
}
