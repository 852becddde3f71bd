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
}

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
