//! One line of rates, connections and memory: for the log (`--report-interval`), and for the supervisor (`STATUS=`).

use std::fmt;
use std::time::{Duration, Instant};

use log::info;

use crate::config::units::DisplayLines;
use crate::server::Pulse;

/// The start of the time that rates are measured over, and what the numbers were then.
pub(super) struct Span {
    pub(super) begun: Instant,
    pub(super) seen: Pulse,
}

impl Span {
    /// What happened since then, as one line such as `3 connections, 1234 lines/s, 2.5 MB/s, 4.1 of 64 MiB; clients wait for the output`.
    #[inline(never)] // one copy, for size
    pub(super) fn describe(&self, now: Instant, pulse: &Pulse, memory: usize) -> String {
        let ms = u64::try_from(now.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX).max(1);
        let tenths_a_second = |more: u64| more.saturating_mul(10_000).div_ceil(ms);
        let lines = Tenths(tenths_a_second(pulse.lines - self.seen.lines));
        let mut bytes = tenths_a_second(pulse.bytes - self.seen.bytes);
        let mut units = ["", "k", "M", "G"].into_iter();
        let mut unit = units.next().unwrap_or_default();
        while let Some(larger) = units.next().filter(|_| bytes >= 10_000) {
            (bytes, unit) = (bytes / 1000, larger);
        }
        let bytes = Tenths(bytes);
        let mib = |bytes: usize| Tenths((bytes as u64).saturating_mul(10) / (1024 * 1024));
        let (used, memory, connections) = (mib(pulse.held_bytes), mib(memory), pulse.connections);
        let plural = if connections == 1 { "" } else { "s" };
        let waits = if pulse.is_stalled { "; clients wait for the output" } else { "" };
        let lag = match pulse.lag_lines {
            0 => String::new(),
            lines => format!(", {} in the spool", DisplayLines(lines)),
        };
        format!(
            "{connections} connection{plural}, {lines} lines/s, {bytes} {unit}B/s, {used} of {memory} MiB{lag}{waits}"
        )
    }
}

/// A number in tenths. Below 10 it is shown with one digit behind the point.
struct Tenths(u64);

impl fmt::Display for Tenths {
    #[inline(never)] // one copy, for size
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, tenths) = (self.0 / 10, self.0 % 10);
        if whole < 10 && tenths > 0 { write!(f, "{whole}.{tenths}") } else { whole.fmt(f) }
    }
}

/// `--report-interval`.
pub(super) struct Report {
    interval: Duration,
    due: Instant,
    span: Span,
}

impl Report {
    /// `None` if `--report-interval` is 0.
    pub(super) fn new(interval: Duration, begun: Instant, seen: Pulse) -> Option<Self> {
        let due = begun.checked_add(interval).filter(|_| !interval.is_zero())?;
        Some(Self { interval, due, span: Span { begun, seen } })
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn write_if_due(&mut self, now: Instant, pulse: &Pulse, memory: usize) {
        if now < self.due {
            return;
        }
        info!("[report] {}", self.span.describe(now, pulse, memory));
        self.span = Span { begun: now, seen: *pulse };
        // Reports that were due while the loop stood still are left out.
        self.due = now.checked_add(self.interval).unwrap_or(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Pulse =
        Pulse { lines: 0, bytes: 0, connections: 0, held_bytes: 0, is_stalled: false, lag_lines: 0, is_ending: false };

    /// The line after so many milliseconds.
    fn described(ms: u64, pulse: Pulse) -> String {
        let begun = Instant::now();
        Span { begun, seen: NOTHING }.describe(begun + Duration::from_millis(ms), &pulse, 64 << 20)
    }

    #[test]
    fn rates_are_for_people() {
        for (ms, lines, bytes, said) in [
            (1000, 0, 0, "0 lines/s, 0 B/s"),
            (5000, 1, 100, "0.2 lines/s, 20 B/s"),
            // Rates are rounded up: 0 means that nothing came.
            (100_000, 1, 1, "0.1 lines/s, 0.1 B/s"),
            (1000, 12, 999, "12 lines/s, 999 B/s"),
            (1000, 1, 1000, "1 lines/s, 1 kB/s"),
            (2000, 2468, 5_000_000, "1234 lines/s, 2.5 MB/s"),
            (1000, 9, 4_000_000_000_000, "9 lines/s, 4000 GB/s"),
            (0, 1, 1, "1000 lines/s, 1 kB/s"),
        ] {
            let pulse = Pulse { lines, bytes, connections: 3, ..NOTHING };
            assert_eq!(described(ms, pulse), format!("3 connections, {said}, 0 of 64 MiB"));
        }
    }

    #[test]
    fn memory_is_told_with_its_limit_and_who_waits() {
        let pulse = Pulse { connections: 1, held_bytes: 4_300_000, is_stalled: true, ..NOTHING };
        assert_eq!(
            described(1000, pulse),
            "1 connection, 0 lines/s, 0 B/s, 4.1 of 64 MiB; clients wait for the output"
        );
        let behind = Pulse { connections: 1, lag_lines: 12, ..NOTHING };
        assert_eq!(described(1000, behind), "1 connection, 0 lines/s, 0 B/s, 0 of 64 MiB, 12 lines in the spool");
    }
}
