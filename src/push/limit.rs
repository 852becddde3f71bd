//! How many bytes a body may have: no more than half of one that was too large. It grows again where that is no longer so, by tries
//! that are few. Invariant: of all requests, less than one in a hundred is such a try that fails.

/// After so many bodies that got through, one of twice the size is tried.
const FIRST_TRY: u32 = 128;
/// The same after a try that got through, and so may the next.
const NEXT_TRY: u32 = 16;
/// Tries that fail are made after twice as many each time, up to this.
const LAST_TRY: u32 = 1 << 16;

/// A body that was too large, as far as is known.
#[derive(Debug, Clone, Copy)]
struct Refused {
    len: usize,
    count: usize,
}

/// The most bytes of a body.
#[derive(Debug, Clone)]
pub(super) struct BodyLimit {
    most: usize,
    now: usize,
    /// The smallest that was too large.
    refused: Option<Refused>,
    /// So many got through since the limit has changed.
    passed: u32,
    /// After so many of them a larger one is tried.
    patience: u32,
    /// The limit is a try: none of its size has got through yet.
    is_try: bool,
}

impl BodyLimit {
    pub(super) fn new(most: usize) -> Self {
        Self { most, now: most, refused: None, passed: 0, patience: FIRST_TRY, is_try: false }
    }

    /// The most bytes of the next body.
    pub(super) fn get(&self) -> usize {
        self.now
    }

    /// A body of so many bytes and lines was too large: from now on none has more than half of that, if it can be halved. Whether
    /// it can.
    pub(super) fn halve(&mut self, len: usize, count: usize) -> bool {
        if self.refused.is_none_or(|before| len < before.len) {
            self.refused = Some(Refused { len, count });
        }
        if count > 1 {
            self.patience = if self.is_try { (self.patience * 2).clamp(FIRST_TRY, LAST_TRY) } else { FIRST_TRY };
            (self.now, self.passed, self.is_try) = ((len / 2).max(1), 0, false);
        }
        count > 1
    }

    /// A body of so many bytes and lines got through.
    pub(super) fn got_through(&mut self, len: usize, count: usize) {
        // One with as much in it was too large: whoever refused it has another limit now, or had another reason. A long line alone
        // says nothing of a body with many.
        if self.refused.is_some_and(|before| len >= before.len && count >= before.count) {
            *self = Self::new(self.most);
        }
        if self.now == self.most {
            return;
        }
        if self.is_try && len > self.now / 2 {
            (self.is_try, self.patience, self.passed) = (false, NEXT_TRY, 0);
        }
        self.passed += 1;
        if self.passed >= self.patience && !self.is_try {
            (self.now, self.passed, self.is_try) = (self.now.saturating_mul(2).min(self.most), 0, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies that are as full as they may be, of lines of so many bytes, until the limit is what it was; how many it took, and
    /// how many of them were too large.
    fn filled(limit: &mut BodyLimit, line: usize, rounds: usize, takes: impl Fn(usize) -> bool) -> (usize, usize) {
        let mut refused = 0;
        for round in 0..rounds {
            if limit.get() == limit.most {
                return (round, refused);
            }
            let count = (limit.get() / line).max(1);
            if takes(count * line) {
                limit.got_through(count * line, count);
            } else {
                refused += 1;
                limit.halve(count * line, count);
            }
        }
        (rounds, refused)
    }

    #[test]
    fn p30_a_limit_grows_again_after_any_number_of_refusals_that_pass() {
        for refusals in 1..20 {
            let mut limit = BodyLimit::new(65_536);
            for _ in 0..refusals {
                let count = (limit.get() / 173).max(1);
                limit.halve(count * 173, count);
            }
            let (rounds, refused) = filled(&mut limit, 173, 1_000, |_| true);
            assert!(rounds < 400 && refused == 0, "{refusals}: {rounds}");
        }
    }

    #[test]
    fn p30_a_limit_that_stays_is_seldom_tried() {
        let mut limit = BodyLimit::new(65_536);
        limit.halve(65_000, 400);
        let (_, refused) = filled(&mut limit, 173, 100_000, |len| len <= 9_000);
        assert!((1..100).contains(&refused), "{refused}");
        // Nor is it where a long line alone gets through.
        limit.got_through(60_000, 1);
        assert!(limit.get() <= 9_000 * 2, "{}", limit.get());
    }
}
