//! What is here in place of `pollers` in a build without them. Invariant: nothing is ever fetched.

use std::time::Duration;

use super::Server;
use crate::net::Net;
use crate::sink::Sink;

/// No pollers.
pub(super) struct Pollers;

impl Pollers {
    pub(super) fn wake(&mut self, _: u32) {}
}

impl<S: Sink, N: Net> Server<S, N> {
    pub(super) fn offer_polls(&self) {}

    pub(super) fn reopen_pollers(&mut self) {}

    pub(super) fn serve_pollers(&mut self) {}

    pub(super) fn end_fetches(&mut self) {}

    pub(super) fn are_polls_feeding(&self) -> bool {
        false
    }

    pub(super) fn pollers_due_in(&self) -> Option<Duration> {
        None
    }

    pub(super) fn end_pollers(&mut self) {}

    pub(super) fn check_pollers(&self) {}
}
