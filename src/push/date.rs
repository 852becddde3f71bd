//! How long a store wants to be left alone (`Retry-After`), in seconds or as a date. A date is measured by the store's own
//! clock, since that of a small box may be anywhere.

use core::time::Duration;

use crate::config::text::{trimmed, whole};
use crate::http::Head;

/// No store is believed to want more.
const MOST: Duration = Duration::from_secs(300);
const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";

/// What the head of an answer asks for.
pub(super) fn retry_after(head: &Head) -> Option<Duration> {
    wanted(head.header("retry-after")?, head.header("date"))
}

fn wanted(text: &str, date: Option<&str>) -> Option<Duration> {
    let text = trimmed(text);
    let seconds = match whole(text) {
        Some(seconds) => seconds,
        // More digits than a number has.
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => u64::MAX,
        None => seconds_of(text)?.saturating_sub(seconds_of(trimmed(date?))?),
    };
    Some(Duration::from_secs(seconds).min(MOST))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` in seconds since 1970.
fn seconds_of(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split([' ', ':']);
    let day = whole(parts.next()?)?;
    let month = parts.next().filter(|name| name.len() == 3).and_then(|name| MONTHS.find(name))? as u64 / 3;
    let mut number = || whole(parts.next()?);
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    let is_date = (1..=31).contains(&day) && (1970..10_000).contains(&year) && hour < 24 && minute < 60 && second <= 60;
    if !is_date || parts.next() != Some("GMT") {
        return None;
    }
    // Years begin in March, so that a leap day is the last.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days.checked_sub(719_468)? * 24 + hour) * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p30_a_date_is_measured_by_the_clock_of_the_store() {
        assert_eq!(seconds_of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds_of("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds_of("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (text, date, seconds) in [
            ("7", None, Some(7)),
            ("100000", None, Some(300)),
            ("99999999999999999999999", None, Some(300)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(now), Some(60)),
            ("Sun, 06 Nov 1994 08:40:37 GMT", Some(now), Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, None),
            ("soon", Some(now), None),
            ("", Some(now), None),
            ("-1", Some(now), None),
        ] {
            assert_eq!(wanted(text, date), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
