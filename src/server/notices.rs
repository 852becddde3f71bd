//! Warnings that a client can cause, limited per kind (P12): a burst goes out, then one a window says how many more
//! there were. Invariant: what was suppressed is reported once, by the next window's end at the latest.

use std::fmt;
use std::time::Duration;

use log::warn;

/// Warnings of one kind that go out in one window. Five show a pattern; a thousand a second would fill the disk.
pub(super) const BURST: u32 = 5;
/// How long a window lasts.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// The kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    LineTooLong,
    BufferOverflow,
    Timeout,
    Memory,
    Rejected,
    PerHost,
    OtherProtocol,
    NoDescriptor,
    FullHouse,
    Sink,
    CutOff,
    NearlyFull,
}

/// How many kinds there are.
pub(super) const KINDS: usize = 12;

#[derive(Default, Clone, Copy)]
struct Window {
    begin: Duration,
    sent: u32,
    suppressed: u64,
}

/// What went out lately, by kind.
#[derive(Default)]
pub(super) struct Notices {
    windows: [Window; KINDS],
}

const NAMES: [&str; KINDS] = [
    "Line too long",
    "Buffer overflow",
    "Socket timeout",
    "memory budget",
    "rejected connection",
    "host limit",
    "other protocol",
    "descriptor",
    "connection limit",
    "output",
    "cut off",
    "connections in use",
];

impl Notices {
    /// Sends a warning, or counts it.
    pub(super) fn warn(&mut self, now: Duration, notice: Notice, message: fmt::Arguments<'_>) {
        self.summarise(now);
        let Some(window) = self.windows.get_mut(notice as usize) else { return };
        if window.sent == 0 {
            window.begin = now;
        }
        if window.sent < BURST {
            window.sent += 1;
            warn!("{message}");
        } else {
            window.suppressed = window.suppressed.saturating_add(1);
        }
    }

    /// Reports what was suppressed in windows that have ended.
    pub(super) fn summarise(&mut self, now: Duration) {
        for (window, name) in self.windows.iter_mut().zip(NAMES) {
            if window.sent > 0 && now.saturating_sub(window.begin) >= WINDOW {
                report(window, name);
            }
        }
    }

    /// The server ends: reports all that was suppressed.
    pub(super) fn finish(&mut self) {
        self.windows.iter_mut().zip(NAMES).for_each(|(window, name)| report(window, name));
    }

    /// How long until a report is due.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        let pending = self.windows.iter().filter(|window| window.suppressed > 0);
        pending.map(|window| (window.begin + WINDOW).saturating_sub(now)).min()
    }
}

fn report(window: &mut Window, name: &str) {
    if window.suppressed > 0 {
        warn!("[tcp] {} similar suppressed ({name})", window.suppressed);
    }
    *window = Window::default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_a_burst_goes_out_then_only_a_count() {
        let mut notices = Notices::default();
        for _ in 0..100 {
            notices.warn(Duration::from_secs(1), Notice::LineTooLong, format_args!("long"));
        }
        let window = notices.windows[Notice::LineTooLong as usize];
        assert_eq!((window.sent, window.suppressed), (BURST, 95));
        assert_eq!(notices.due_in(Duration::from_secs(31)), Some(Duration::from_secs(30)));
        notices.summarise(Duration::from_secs(61));
        assert_eq!(notices.due_in(Duration::from_secs(61)), None);
    }
}
