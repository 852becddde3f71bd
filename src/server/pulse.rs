//! How a server is between two turns, for the thread that runs its loop: without a lock and without an allocation.

use super::Server;
use super::life::Life;
use crate::net::Net;
use crate::sink::Sink;

/// How things stand after a turn. As long as nothing happens, it stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pulse {
    /// Lines that went to the sink since the start.
    pub(crate) lines: u64,
    /// Bytes read since the start.
    pub(crate) bytes: u64,
    /// Connections now.
    pub(crate) connections: usize,
    /// Bytes of the memory budget that are used.
    pub(crate) held_bytes: usize,
    /// Nothing is read, since the output is full.
    pub(crate) is_stalled: bool,
    /// Lines in the spool that an output does not have yet; of several outputs, the one that is furthest behind.
    pub(crate) lag_lines: u64,
    /// The orderly end has begun.
    pub(crate) is_ending: bool,
}

impl<S: Sink, N: Net> Server<S, N> {
    pub(crate) fn pulse(&self) -> Pulse {
        Pulse {
            lines: self.counters.lines,
            bytes: self.counters.bytes,
            connections: self.clients.connections.len(),
            held_bytes: self.clients.budget.used() + self.outlet.sink.state().held,
            is_stalled: self.outlet.is_stalled(),
            lag_lines: self.outlet.sink.outputs().iter().map(|output| output.counters.lag_lines).max().unwrap_or(0),
            is_ending: self.life != Life::Serving,
        }
    }
}
