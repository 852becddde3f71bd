//! What is here in place of `datagrams` in a build without UDP. Invariant: no listener of UDP is ever opened.

use std::marker::PhantomData;
use std::time::Duration;

use super::Server;
use crate::net::Net;
use crate::sink::Sink;

/// No pause is shorter for what does not come.
pub(super) const LONGEST_GATHER: Duration = Duration::MAX;

/// No listeners.
pub(super) struct Datagrams<L>(PhantomData<L>);

impl<L> Datagrams<L> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }

    pub(super) fn add(&mut self, _: u8, _: L) {}

    pub(super) fn are_closed(&self) -> bool {
        true
    }

    pub(super) fn wake(&mut self, _: usize) {}

    pub(super) fn may_wait(&self) -> bool {
        false
    }

    pub(super) fn due_in(&self, _: Duration) -> Option<Duration> {
        None
    }

    pub(super) fn begin_end<N: Net<Listener = L>>(&mut self, _: &mut N) {}
}

impl<S: Sink, N: Net> Server<S, N> {
    pub(super) fn read_datagrams(&mut self) {}

    pub(super) fn read_datagrams_between(&mut self) {}

    pub(super) fn look_for_drops(&mut self) {}

    pub(super) fn close_read_out(&mut self) {}
}
