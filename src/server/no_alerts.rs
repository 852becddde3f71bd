//! What is here in place of `alerts` in a build without them. Invariant: nobody is told of anything.

use std::time::Duration;

use super::Server;
use crate::engine::framer::Lines;
use crate::engine::peer::Peer;
use crate::net::Net;
use crate::sink::Sink;

/// Nobody.
pub(super) struct Alerts;

impl Alerts {
    pub(super) fn see(&mut self, _: &Peer, _: Lines<'_>) {}

    pub(super) fn wake(&mut self) {}
}

impl<S: Sink, N: Net> Server<S, N> {
    pub(super) fn reopen_alerts(&mut self) {}

    pub(super) fn send_alerts(&mut self) {}

    pub(super) fn alerts_due_in(&self) -> Option<Duration> {
        None
    }
}
