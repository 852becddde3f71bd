//! How far an output is behind, what is said of it while it catches up, and whether it falls further and further behind.

use std::fmt;
use std::time::Duration;

use crate::config::units::About;
use crate::sink::target::Books;

/// From so many bytes on a backlog is worth a word.
const BACKLOG_BYTES: u64 = 8 << 20;
/// Below so many it is over.
const REST_BYTES: u64 = 1 << 20;
/// How often it is told how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What was seen of an output's lag.
#[derive(Default)]
pub(super) struct Lag {
    /// How many lines it was behind, and when, at the start of the time that is looked at.
    mark: Option<(Duration, u64)>,
    is_growing: bool,
    /// A backlog is being sent: since when, how many bytes of it were, and when that was told last.
    backlog: Option<(Duration, u64, Duration)>,
    has_told: bool,
}

impl Lag {
    /// It has so many bytes more.
    pub(super) fn acked(&mut self, bytes: u64) {
        if let Some((_, sent, _)) = &mut self.backlog {
            *sent = sent.saturating_add(bytes);
        }
    }

    /// So many lines and bytes wait for it, the oldest for so long. `alarm`: how long that may grow.
    pub(super) fn note(&mut self, now: Duration, (lines, seconds): (u64, u64), alarm: Duration) {
        let (since, before) = *self.mark.get_or_insert((now, lines));
        if lines == 0 {
            (self.mark, self.is_growing) = (None, false);
        } else if !alarm.is_zero() && now.saturating_sub(since) >= alarm {
            // One that has as many to send as before, and sends what is young, only has much to do.
            self.is_growing = lines >= before && Duration::from_secs(seconds) >= alarm;
            self.mark = Some((now, lines));
        } else if lines < before && self.is_growing {
            self.is_growing = false;
        }
    }

    /// Whether it falls further and further behind.
    pub(super) fn is_growing(&self) -> bool {
        self.is_growing
    }

    /// Says how far a backlog is sent.
    pub(super) fn tell(&mut self, now: Duration, name: &str, waiting: u64, books: &mut Books) {
        let (since, sent, told_at) = match &mut self.backlog {
            Some(backlog) => backlog,
            none if waiting >= BACKLOG_BYTES => none.insert((now, 0, now)),
            _ => return,
        };
        let (sent, time) = (*sent, now.saturating_sub(*since));
        if sent == 0 {
            // It waits for a connection.
            (*since, *told_at) = (now, now);
        } else if waiting < REST_BYTES {
            if std::mem::take(&mut self.has_told) {
                let time = About(time.as_secs());
                books.tell(format_args!("{name} has caught up: {} in {time}", Amount(sent)));
            }
            self.backlog = None;
        } else if now.saturating_sub(*told_at) >= TOLD_EVERY {
            *told_at = now;
            self.has_told = true;
            let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            let left_ms = u128::from(waiting) * u128::from(ms) / u128::from(sent);
            let left = About(u64::try_from(left_ms / 1000).unwrap_or(u64::MAX));
            let all = Amount(sent.saturating_add(waiting));
            books.tell(format_args!("{name}: {} of {all} of the spool sent, about {left} left", Amount(sent)));
        }
    }
}

/// Bytes, for a person.
struct Amount(u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, word) = if self.0 < 1_000_000_000 { (1_000_000, "MB") } else { (1_000_000_000, "GB") };
        let tenths = self.0 / (unit / 10);
        write!(f, "{}.{} {word}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALARM: Duration = Duration::from_secs(600);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn p28_what_falls_behind_is_told_from_what_has_much_to_send() {
        // Lines, and the age of the oldest, once a minute.
        let grows = |at: fn(u64) -> (u64, u64)| {
            let mut lag = Lag::default();
            (0..120).any(|minute| {
                lag.note(s(60 * minute), at(minute), ALARM);
                lag.is_growing()
            })
        };
        assert!(grows(|minute| (100 + minute, 60 * minute)), "it gets nothing");
        assert!(grows(|minute| (100 + 10 * minute, 1200)), "less than what comes");
        assert!(!grows(|minute| (1000 - minute, 4000)), "a backlog that gets shorter");
        assert!(!grows(|minute| (100 + minute % 7, 2)), "always on its way");
        assert!(!grows(|minute| (minute % 9, 60 * (minute % 9))), "again and again, and never for long");
        let mut lag = Lag::default();
        (0..100).for_each(|minute| lag.note(s(60 * minute), (100, 60 * minute), ALARM));
        assert!(lag.is_growing());
        lag.note(s(6001), (99, 6000), ALARM);
        assert!(!lag.is_growing(), "it moves again");
    }

    #[test]
    fn p28_a_backlog_that_is_sent_is_told_of_and_its_end_too() {
        let (mut lag, mut books) = (Lag::default(), Books::default());
        const MB: u64 = 1_000_000;
        lag.tell(s(0), "out", 7 * MB, &mut books);
        lag.tell(s(100), "out", 100 * MB, &mut books);
        lag.tell(s(200), "out", 100 * MB, &mut books);
        assert!(books.news.is_empty(), "nothing is sent yet");
        for second in 1..=20 {
            lag.acked(4 * MB);
            lag.tell(s(200 + second), "out", (100 - 4 * second) * MB, &mut books);
        }
        let said = [
            "out: 40.0 MB of 100.0 MB of the spool sent, about 15 s left",
            "out: 80.0 MB of 100.0 MB of the spool sent, about 5 s left",
        ];
        assert_eq!(books.news, said);
        lag.acked(20 * MB);
        lag.tell(s(221), "out", 0, &mut books);
        assert_eq!(books.news[2..], ["out has caught up: 100.0 MB in 21 s"]);
        lag.tell(s(222), "out", 0, &mut books);
        assert_eq!((books.news.len(), Amount(1_234_567_890).to_string()), (3, "1.2 GB".to_owned()));
    }
}
