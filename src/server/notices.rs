//! Warnings that a client can cause, limited per kind (P12): a burst goes out, then one a window says how many more
//! there were. Invariant: what was suppressed is reported once, by the next window's end at the latest.

use std::fmt;
use std::time::Duration;

use log::warn;

use crate::config::output::MOST_OUTPUTS;

/// Warnings of one kind that go out in one window. Five show a pattern; a thousand a second would fill the disk.
pub(super) const BURST: u32 = 5;
/// How long a window lasts.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// The kinds of warnings, and what the sum of those suppressed calls each: from one list, so that there is a name and a
/// window for every kind.
macro_rules! notices {
    ($($(#[$cfg:meta])? $kind:ident = $name:literal),+ $(,)?) => {
        /// A kind of warning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(not(feature = "udp"), allow(dead_code))] // a build without some of what warns
        pub(super) enum Notice { $($(#[$cfg])? $kind),+ }

        const NAMES: [&str; KINDS] = [$($(#[$cfg])? $name),+];

        /// How many kinds there are.
        pub(super) const KINDS: usize = [$($(#[$cfg])? Notice::$kind),+].len();
    };
}

notices! {
    LineTooLong = "Line too long",
    BufferOverflow = "Buffer overflow",
    Timeout = "Socket timeout",
    Memory = "memory budget",
    Rejected = "rejected connection",
    PerHost = "host limit",
    NotAllowed = "not allowed",
    NoHeader = "PROXY header",
    Slowed = "rate",
    OtherProtocol = "other protocol",
    NoDescriptor = "descriptor",
    FullHouse = "connection limit",
    CutOff = "cut off",
    NearlyFull = "connections in use",
    BadLength = "bad length",
    EndedAtGoodbye = "closed at our goodbye",
    Missed = "dropped by the kernel",
    HeldUp = "datagrams of a host",
    #[cfg(feature = "tls")] NoHandshake = "TLS handshake",
    #[cfg(feature = "tls")] TlsRefused = "TLS refused by clients",
    #[cfg(feature = "tls")] TlsCertificate = "certificates of clients",
    #[cfg(feature = "tls")] NoTls = "lines without TLS",
    #[cfg(feature = "tls")] TlsCut = "TLS cut off",
    #[cfg(feature = "tls")] TlsFull = "memory for TLS",
}

#[derive(Default)]
struct Window {
    begin: Duration,
    sent: u32,
    suppressed: u64,
    /// The last that was suppressed, kept only of warnings about one output: it says how that output stands now.
    last: Option<String>,
}

/// How many warnings of each kind were logged lately, and how many were only counted.
pub(super) struct Notices {
    /// One for each kind, and behind these one for each output, so that a noisy output can't hide what is said of
    /// another. No array, or each loop over them would be unrolled.
    windows: Vec<Window>,
    /// Whether any of them is open. Most turns find none.
    has_open: bool,
}

impl Notices {
    pub(super) fn new() -> Self {
        Self { windows: (0..KINDS + MOST_OUTPUTS).map(|_| Window::default()).collect(), has_open: false }
    }

    /// Logs a warning, or only counts it if there were too many of its kind lately.
    pub(super) fn warn(&mut self, now: Duration, notice: Notice, message: fmt::Arguments<'_>) {
        if self.window(now, notice as usize).is_some_and(|window| window.admits(now)) {
            warn!("{message}");
        }
    }

    /// The same for a sentence about one output, by its number.
    pub(super) fn warn_of_output(&mut self, now: Duration, number: usize, sentence: String) {
        let Some(window) = self.window(now, KINDS + number.min(MOST_OUTPUTS - 1)) else { return };
        if window.admits(now) {
            warn!("[out] {sentence}");
        } else {
            window.last = Some(sentence);
        }
    }

    /// Reports what was suppressed in windows that have ended.
    pub(super) fn summarise(&mut self, now: Duration) {
        if self.has_open {
            self.close(|window| now.saturating_sub(window.begin) >= WINDOW);
        }
    }

    /// The server ends: reports all that was suppressed.
    pub(super) fn finish(&mut self) {
        self.close(|_| true);
    }

    /// How long until a report is due.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        if !self.has_open {
            return None;
        }
        let pending = self.windows.iter().filter(|window| window.suppressed > 0);
        pending.map(|window| (window.begin + WINDOW).saturating_sub(now)).min()
    }

    /// The window at a place, after those that have ended were closed. It is about to be used.
    fn window(&mut self, now: Duration, place: usize) -> Option<&mut Window> {
        self.summarise(now);
        self.has_open = true;
        self.windows.get_mut(place)
    }

    /// Closes the open windows that have ended, and reports what was suppressed in each.
    fn close(&mut self, has_ended: impl Fn(&Window) -> bool) {
        self.has_open = false;
        for (place, window) in self.windows.iter_mut().enumerate() {
            if window.sent > 0 && has_ended(window) {
                // A sentence about an output names that output itself, so that one word is enough there.
                report(window, NAMES.get(place).unwrap_or(&"output"));
            }
            self.has_open |= window.sent > 0;
        }
    }
}

impl Window {
    /// Whether one more may go out; if not, it is counted.
    fn admits(&mut self, now: Duration) -> bool {
        if self.sent == 0 {
            self.begin = now;
        }
        let is_one_of_few = self.sent < BURST;
        if is_one_of_few {
            self.sent += 1;
        } else {
            self.suppressed = self.suppressed.saturating_add(1);
        }
        is_one_of_few
    }
}

fn report(window: &mut Window, name: &str) {
    if let Some(sentence) = summary(window, name) {
        warn!("{sentence}");
    }
    *window = Window::default();
}

/// What there is to say of a window at its end.
fn summary(window: &Window, name: &str) -> Option<String> {
    match (window.suppressed, &window.last) {
        (0, _) => None,
        (1, Some(last)) => Some(format!("[out] {last}")),
        (count, Some(last)) => Some(format!("[out] {last} ({} similar suppressed)", count - 1)),
        (count, None) => Some(format!("[tcp] {count} similar suppressed ({name})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_a_burst_goes_out_then_only_a_count() {
        let mut notices = Notices::new();
        for _ in 0..100 {
            notices.warn(Duration::from_secs(1), Notice::LineTooLong, format_args!("long"));
        }
        let window = &notices.windows[Notice::LineTooLong as usize];
        assert_eq!((window.sent, window.suppressed), (BURST, 95));
        assert_eq!(notices.due_in(Duration::from_secs(31)), Some(Duration::from_secs(30)));
        notices.summarise(Duration::from_secs(61));
        assert_eq!(notices.due_in(Duration::from_secs(61)), None);
    }

    #[test]
    fn p12_a_window_lasts_from_its_first_warning_and_the_next_begins_anew() {
        let (mut notices, second) = (Notices::new(), Duration::from_secs);
        for at in [1, 2, 3, 4, 5, 6, 7] {
            notices.warn(second(at), Notice::Memory, format_args!("full"));
        }
        // Of another kind, with nothing to report, and open for longer.
        notices.warn(second(50), Notice::Timeout, format_args!("silent"));
        assert_eq!(notices.due_in(second(50)), Some(second(11)));
        notices.summarise(second(61));
        assert_eq!((notices.due_in(second(61)), notices.has_open), (None, true), "the other is still open");
        notices.warn(second(61), Notice::Memory, format_args!("full"));
        let window = &notices.windows[Notice::Memory as usize];
        assert_eq!((window.begin, window.sent, window.suppressed), (second(61), 1, 0));
        notices.finish();
        assert!(!notices.has_open && notices.windows.iter().all(|window| window.sent == 0));
    }

    #[test]
    fn p12_nothing_suppressed_is_not_said() {
        for (suppressed, last, said) in [
            (0, None, None),
            (1, None, Some("[tcp] 1 similar suppressed (rate)")),
            (1, Some("a is full"), Some("[out] a is full")),
            (3, Some("a is full"), Some("[out] a is full (2 similar suppressed)")),
        ] {
            let window = Window { suppressed, last: last.map(str::to_owned), ..Window::default() };
            assert_eq!(summary(&window, "rate").as_deref(), said);
        }
    }

    #[test]
    fn p12_each_output_has_a_window_of_its_own_and_its_last_sentence_is_kept() {
        let mut notices = Notices::new();
        for number in [0, 1, MOST_OUTPUTS] {
            for count in 0..=BURST {
                notices.warn_of_output(Duration::ZERO, number, format!("sentence {count}"));
            }
        }
        let used: Vec<usize> = (0..).zip(&notices.windows).filter(|(_, one)| one.sent > 0).map(|(at, _)| at).collect();
        assert_eq!(used, [KINDS, KINDS + 1, KINDS + MOST_OUTPUTS - 1], "one beyond the most has the last");
        assert_eq!(notices.windows[KINDS].last.as_deref(), Some("sentence 5"));
    }
}
