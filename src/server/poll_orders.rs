//! Pollers as other threads see them, who start and stop them without waiting for the loop. Invariant: who is known here, the
//! loop has, or will have in its next turn.

use std::mem;
use std::time::Duration;

use crate::engine::peer::PollerName;
use crate::poll::{Poll, PollError};

/// What is asked of the loop.
#[derive(Debug)]
pub(super) enum PollOrder {
    Start { id: u64, poll: Poll, interval: Duration },
    Stop { id: u64 },
}

/// Who is known, and what is asked.
#[derive(Debug, Default)]
pub(super) struct PollOrders {
    last_id: u64,
    known: Vec<(u64, PollerName)>,
    /// The most of them: the memory budget has room for no more.
    most: usize,
    orders: Vec<PollOrder>,
}

impl PollOrders {
    /// Takes one in. Gives its number.
    ///
    /// # Errors
    /// There is one of that name, or there are too many.
    pub(super) fn admit(&mut self, name: PollerName) -> Result<u64, PollError> {
        if self.known.iter().any(|(_, known)| *known == name) {
            return Err(PollError(format!("there is a poller {} already", name.text())));
        }
        if self.known.len() >= self.most {
            return Err(PollError(format!(
                "--memory has room for {} pollers: raise it, or lower --poll-seen or --poll-max-response",
                self.most
            )));
        }
        self.last_id += 1;
        self.known.push((self.last_id, name));
        Ok(self.last_id)
    }

    /// There may be so many.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// One that the loop is to start.
    ///
    /// # Errors
    /// Those of [`Self::admit`].
    pub(super) fn start(&mut self, poll: &Poll, interval: Duration) -> Result<u64, PollError> {
        let id = self.admit(poll.name)?;
        self.orders.push(PollOrder::Start { id, poll: poll.clone(), interval });
        Ok(id)
    }

    /// One that the loop is to stop.
    ///
    /// # Errors
    /// There is none with this number.
    pub(super) fn stop(&mut self, id: u64) -> Result<(), PollError> {
        let Some(at) = self.known.iter().position(|(known, _)| *known == id) else {
            return Err(PollError(format!("there is no poller {id}")));
        };
        self.known.remove(at);
        self.orders.push(PollOrder::Stop { id });
        Ok(())
    }

    /// All are to be stopped. Returns how many those are.
    pub(super) fn stop_all(&mut self) -> usize {
        let known = mem::take(&mut self.known);
        self.orders.extend(known.iter().map(|(id, _)| PollOrder::Stop { id: *id }));
        known.len()
    }

    /// What was asked since the last time.
    pub(super) fn take(&mut self) -> Vec<PollOrder> {
        mem::take(&mut self.orders)
    }
}
