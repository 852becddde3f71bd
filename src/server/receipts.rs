//! Receipts (`--receipt`): who half-closes is told how many of its lines went to the output, once they are where they
//! belong for good. Invariant: no receipt is for a line that the sink has not delivered, and who is owed one is neither
//! read nor timed any more.

use std::io::ErrorKind;

use log::debug;

use super::Server;
use super::connection::{Phase, Readiness, Sum};
use super::life::Close;
use crate::net::{Key, Net};
use crate::sink::Sink;

/// Receipts given in one turn: when a slow output takes the lines of a crowd at once, others are read in between.
const RECEIPTS: usize = 256;

impl<S: Sink, N: Net> Server<S, N> {
    /// A client will send no more: its last line counts now (P2), and it waits until the sink has delivered. False if no
    /// receipt can reach it, after our goodbye or since it is gone.
    pub(super) fn owe_receipt(&mut self, key: Key) -> bool {
        let Some(conn) = self.connections.get_mut(key) else { return false };
        if !matches!(conn.phase, Phase::Silent | Phase::Speaking) || conn.readiness == Readiness::QueuedGone {
            return false;
        }
        self.flush_line(key);
        self.connections.owe(key, self.outlet.sink.taken());
        self.arm(key);
        true
    }

    /// Whether it is known what the first on the list is to be told.
    pub(super) fn is_receipt_due(&self) -> bool {
        let first = self.connections.first_owed();
        first.is_some_and(|(position, sum)| self.outlet.has_delivered(position) || self.is_in_doubt(sum))
    }

    /// Whether the sink may have lost some of these lines, wherever it says that it stands.
    fn is_in_doubt(&self, sum: Sum) -> bool {
        sum.lines > 0 && sum.doubts != self.outlet.sink.doubts()
    }

    /// Those whose lines the sink has delivered get their receipts, and are closed; those whose lines it may have lost are
    /// closed without.
    pub(super) fn give_receipts(&mut self) {
        for _ in 0..RECEIPTS {
            if !self.is_receipt_due() {
                return;
            }
            if let Some((key, sum)) = self.connections.pop_owed() {
                self.give_receipt(key, sum);
            }
        }
    }

    fn give_receipt(&mut self, key: Key, sum: Sum) {
        if self.is_in_doubt(sum) {
            return self.close(key, Close::InDoubt);
        }
        let Some(conn) = self.connections.get_mut(key) else { return };
        let receipt = format!("{} lines\n", sum.lines);
        let sent = loop {
            match self.net.write(&mut conn.stream, receipt.as_bytes()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                sent => break sent,
            }
        };
        if let Err(error) = sent {
            // It did not wait. Its lines are where they belong all the same.
            debug!("[tcp] No receipt for {}: {error}", conn.peer);
        }
        self.close(key, Close::Answered);
    }

    /// Asserts what must hold of those who wait for their receipts, between turns.
    pub(super) fn check_receipts(&self) {
        for (index, conn) in self.connections.iter().filter(|(_, conn)| conn.is_owed()) {
            assert!(self.limits.receipt, "6. receipts are only given where they are asked for");
            assert_eq!(conn.framer.held(), 0, "7. all lines of who waits for a receipt are in the sink (P2)");
            let is_timed = u32::try_from(index).is_ok_and(|id| self.wheel.deadline_of(id).is_some());
            assert!(!is_timed, "8. who waits for a receipt has no deadline (P6)");
        }
    }

    /// The server ends, and the sink has all that it will ever have: who can't get its receipt now never will, and a
    /// close without one tells it so.
    pub(super) fn settle_receipts(&mut self) {
        while self.is_receipt_due() {
            self.give_receipts();
        }
        let keys: Vec<Key> = self.connections.keys().collect();
        for key in keys {
            self.close(key, Close::Stopping);
        }
    }
}
