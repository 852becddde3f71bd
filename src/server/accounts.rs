//! What each client brought, for the status endpoint. Invariant: nothing is kept before it is asked for.

use std::time::Duration;

/// What one connection brought so far.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(not(feature = "status"), expect(dead_code))] // nobody asks for it then
pub(super) struct Account {
    /// When it connected, on the clock that never stands still.
    pub(super) since: Duration,
    /// When bytes last came, on the same clock.
    pub(super) last: Duration,
    pub(super) bytes: u64,
    pub(super) lines: u64,
    /// Lines of it that were dropped or cut.
    pub(super) dropped: u64,
    /// Lines and bytes a second before the mark, which were these when it was made.
    pub(super) rates: [u64; 2],
    marked: [u64; 2],
}

impl Account {
    fn opened(now: Duration) -> Self {
        Self { since: now, last: now, ..Self::default() }
    }
}

/// An account for each place of the table of connections; none before the status endpoint asks for them.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    all: Option<Vec<Account>>,
    /// When all were marked the last time.
    #[cfg(feature = "status")]
    marked_at: Duration,
}

/// Rates are those of a second at least.
#[cfg(feature = "status")]
const LEAST_SPAN: Duration = Duration::from_secs(1);

impl Accounts {
    /// From now on accounts are kept. Whoever is in one of the `places` already counts as having connected now.
    #[cfg(feature = "status")]
    pub(super) fn begin(&mut self, places: usize, now: Duration) {
        self.all = Some(vec![Account::opened(now); places]);
    }

    /// A connection has come to the place `index`.
    pub(super) fn open(&mut self, index: u32, now: Duration) {
        let (Some(all), index) = (&mut self.all, index as usize) else { return };
        if all.len() <= index {
            all.resize(index + 1, Account::default());
        }
        if let Some(account) = all.get_mut(index) {
            *account = Account::opened(now);
        }
    }

    /// The connection at the place `index` brought this.
    pub(super) fn count(&mut self, index: u32, bytes: u64, lines: u64, now: Duration) {
        let Some(account) = self.all.as_mut().and_then(|all| all.get_mut(index as usize)) else { return };
        if bytes > 0 {
            account.last = now;
        }
        account.bytes = account.bytes.saturating_add(bytes);
        account.lines = account.lines.saturating_add(lines);
    }

    /// So many lines of the connection at the place `index` were dropped or cut.
    #[cold]
    pub(super) fn drop_lines(&mut self, index: u32, lines: u64) {
        if let Some(account) = self.all.as_mut().and_then(|all| all.get_mut(index as usize)) {
            account.dropped = account.dropped.saturating_add(lines);
        }
    }

    /// Marks what each has brought, if a second has passed since the last time, and computes the rates since then. It is
    /// done for who asks: nobody pays for it while nobody looks.
    #[cfg(feature = "status")]
    pub(super) fn roll(&mut self, now: Duration) {
        if now.saturating_sub(self.marked_at) < LEAST_SPAN {
            return;
        }
        let before = std::mem::replace(&mut self.marked_at, now);
        for account in self.all.iter_mut().flatten() {
            let span = crate::engine::stats::ms(now.saturating_sub(before.max(account.since))).max(1);
            let totals = [account.lines, account.bytes];
            for ((rate, marked), total) in account.rates.iter_mut().zip(account.marked).zip(totals) {
                *rate = total.saturating_sub(marked).saturating_mul(1000) / span;
            }
            account.marked = totals;
        }
    }

    /// What the connection at the place `index` brought.
    #[cfg(feature = "status")]
    pub(super) fn of(&self, index: usize) -> Account {
        self.all.as_ref().and_then(|all| all.get(index)).copied().unwrap_or_default()
    }

    /// Nobody is connected: gives back what a crowd's accounts took.
    pub(super) fn reset(&mut self) {
        if let Some(all) = &mut self.all {
            *all = Vec::new();
        }
    }
}

#[cfg(all(test, feature = "status"))]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_since_the_last_look_a_second_ago_at_least() {
        let ms = Duration::from_millis;
        let mut accounts = Accounts::default();
        accounts.begin(2, ms(0));
        accounts.count(0, 1_000, 10, ms(500));
        accounts.roll(ms(2_000));
        assert_eq!(accounts.of(0).rates, [5, 500]);
        accounts.open(1, ms(2_500));
        accounts.count(1, 100, 1, ms(2_600));
        accounts.count(0, 300, 3, ms(2_900));
        accounts.roll(ms(2_999));
        assert_eq!((accounts.of(0).rates, accounts.of(1).rates), ([5, 500], [0, 0]), "too soon");
        accounts.roll(ms(3_000));
        assert_eq!((accounts.of(0).rates, accounts.of(1).rates), ([3, 300], [2, 200]), "since it came");
        accounts.drop_lines(1, 2);
        accounts.roll(ms(9_000));
        assert_eq!((accounts.of(0).rates, accounts.of(1).dropped), ([0, 0], 2));
    }
}
