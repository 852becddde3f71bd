//! Local days, each of which begins at a time of day, and their dates. What the clocks of a place show comes in as a
//! function, so nothing here knows a zone, or the time. Invariant: the day of a moment has begun, and has not ended.

use core::fmt;
use core::str::FromStr;

/// Seconds of a day whose clocks are not changed.
const DAY: i64 = 86_400;
/// No clock shows more or less than this, in seconds, beside UTC: what RFC 9636 allows a zone.
const FARTHEST: i64 = 26 * 3600;
/// How closely clocks that are changed are looked for: what is changed for less than half an hour is not seen.
const STEP: i64 = 1800;
/// Days from 0000-03-01, where [`civil`] begins, to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;
/// 9999-12-31, the last date of four digits.
const LAST_DATE: i64 = 2_932_896;

/// A time of day, as clocks show it: `03:30` (`--rotate-at`). Its default is midnight.
///
/// ```
/// let at: lumberjack::TimeOfDay = "03:30".parse()?;
/// assert_eq!(at.to_string(), "03:30");
/// assert!("3:30".parse::<lumberjack::TimeOfDay>().is_err());
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeOfDay {
    minutes: u16,
}

impl TimeOfDay {
    fn seconds(self) -> i64 {
        i64::from(self.minutes) * 60
    }
}

impl FromStr for TimeOfDay {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        // Both digits of an hour: what `--check` and the docs show is the one form that there is.
        let minutes = match *text.as_bytes() {
            [h1 @ b'0'..=b'9', h2 @ b'0'..=b'9', b':', m1 @ b'0'..=b'5', m2 @ b'0'..=b'9'] => {
                let [h1, h2, m1, m2] = [h1, h2, m1, m2].map(|digit| u16::from(digit - b'0'));
                (h1 * 10 + h2) * 60 + m1 * 10 + m2
            }
            _ => u16::MAX,
        };
        if minutes < 24 * 60 {
            Ok(Self { minutes })
        } else {
            Err("give a time from 00:00 to 23:59, such as 03:30, or off")
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

/// How many seconds clocks show more than UTC, at this second since 1970.
pub(crate) type Offset<'a> = &'a dyn Fn(i64) -> i64;

/// A local day, from its time of day to that of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day {
    /// Days since 1970: its date is that of its first moment.
    pub(crate) number: i64,
    /// Its first second since 1970.
    pub(crate) begin: i64,
    /// The first second of the next one.
    pub(crate) end: i64,
}

impl Day {
    /// The one that holds this second.
    pub(crate) fn of(second: i64, at: TimeOfDay, offset: Offset<'_>) -> Self {
        let mut number = (second + bounded(offset, second) - at.seconds()).div_euclid(DAY);
        let (mut begin, mut end) = (begin_of(number, at, offset), begin_of(number + 1, at, offset));
        // Clocks that were put back show the day before once more; and a day that a place leaves out has no second.
        while end <= second {
            number += 1;
            (begin, end) = (end, begin_of(number + 1, at, offset));
        }
        Self { number, begin: begin.min(second), end }
    }

    pub(crate) fn holds(&self, second: i64) -> bool {
        (self.begin..self.end).contains(&second)
    }
}

#[inline(never)] // one copy, for size
fn bounded(offset: Offset<'_>, second: i64) -> i64 {
    offset(second).clamp(-FARTHEST, FARTHEST)
}

/// The first second at which clocks show this day and time, or more: of a time that comes twice that is the first, and of
/// one that is left out the moment at which it is.
#[inline(never)] // one copy, for size
fn begin_of(number: i64, at: TimeOfDay, offset: Offset<'_>) -> i64 {
    let shown = number * DAY + at.seconds();
    let mut from = shown - FARTHEST;
    // Each change of the clocks that comes before is passed once.
    loop {
        let begin = from.max(shown - bounded(offset, from));
        match first_change(from, begin, offset) {
            Some(change) => from = change,
            None => return begin,
        }
    }
}

/// The first second behind `from`, and up to `until`, with another offset.
fn first_change(from: i64, until: i64, offset: Offset<'_>) -> Option<i64> {
    let before = bounded(offset, from);
    let is_changed = |second: &i64| bounded(offset, *second) != before;
    let mut same = from;
    while same < until {
        let mut changed = (same + STEP).min(until);
        if is_changed(&changed) {
            while same + 1 < changed {
                let middle = same + (changed - same) / 2;
                if is_changed(&middle) { changed = middle } else { same = middle }
            }
            return Some(changed);
        }
        same = changed;
    }
    None
}

/// The same, for whoever keeps it.
pub(crate) type Clock = Box<dyn Fn(i64) -> i64 + Send>;

/// The second since 1970 nearest to `near` at which clocks show this month, day and second of the day, in whatever year; and
/// how far they are from UTC then. `None` if there is no such day within four years.
pub(crate) fn nearest(month: u8, day: u8, seconds: i64, near: i64, offset: Offset<'_>) -> Option<(i64, i64)> {
    let (year, ..) = civil(u64::try_from(near.div_euclid(DAY)).unwrap_or_default());
    let year = i64::try_from(year).ok()?;
    let candidates = (year - 4..=year + 4).filter_map(|year| {
        let shown = day_number(year, i64::from(month), i64::from(day))? * DAY + seconds;
        // Of a time that comes twice that is one of the two, and of one that is left out one close by.
        let second = shown - bounded(offset, shown - bounded(offset, shown));
        Some((second, bounded(offset, second)))
    });
    candidates.min_by_key(|(second, _)| second.abs_diff(near))
}

/// Bytes of a date.
pub(crate) const DATE_BYTES: usize = "2026-09-21".len();

/// The date of a day: `2026-09-21`.
pub(crate) fn date(number: i64) -> String {
    let (year, month, day) = civil(u64::try_from(number.min(LAST_DATE)).unwrap_or_default());
    format!("{year:04}-{month:02}-{day:02}")
}

/// The day of a date, if it is one, and written as [`date`] does.
pub(crate) fn day_of(text: &str) -> Option<i64> {
    let digits = <&[u8; DATE_BYTES]>::try_from(text.as_bytes()).ok()?;
    // What is no digit gives a number all the same, and another date below.
    let number = |places: &[u8]| places.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit.wrapping_sub(b'0')));
    let (year, month, day) = (number(&digits[..4]), number(&digits[5..7]), number(&digits[8..]));
    // What is no real date, or none at all, comes out as another.
    day_number(year, month, day).filter(|number| date(*number) == text)
}

/// The days from 1970 to a date; `None` if there is no such date.
pub(crate) fn day_number(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) {
        return None;
    }
    let asked = [year, month, day].map(|part| u64::try_from(part).ok());
    let (year, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let number = year * 365 + leap_days + of_year - DAYS_TO_1970;
    let back = u64::try_from(number).map(civil).ok()?;
    (asked == [Some(back.0), Some(back.1), Some(back.2)]).then_some(number)
}

/// Year, month and day of a day since 1970, by the Gregorian calendar: years are counted from March, so that the leap
/// day is the last of its year, in eras of 400 years, which all have 146,097 days.
pub(crate) fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970.unsigned_abs();
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * months_from_march + 2) / 5 + 1;
    let month = if months_from_march < 10 { months_from_march + 3 } else { months_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_a_time_of_day_has_one_form() {
        for text in ["00:00", "03:30", "09:05", "23:59"] {
            assert_eq!(text.parse::<TimeOfDay>().map(|at| at.to_string()), Ok(text.to_owned()));
        }
        for text in
            ["", "9:00", "09:5", "24:00", "25:00", "12:60", "0900", "09:00:00", " 09:00", "+9:00", "09-00", "٠٩:00"]
        {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar_and_lead_back_to_their_day() {
        for (number, text) in [
            (0, "1970-01-01"),
            (11_015, "2000-02-28"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_782, "2026-11-25"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
            (LAST_DATE, "9999-12-31"),
        ] {
            assert_eq!((date(number).as_str(), day_of(text)), (text, Some(number)));
        }
        assert!((0..60_000).all(|number| day_of(&date(number)) == Some(number)));
        // A clock that shows nonsense has a date all the same.
        assert_eq!((date(-1).as_str(), date(i64::MAX).as_str()), ("1970-01-01", "9999-12-31"));
    }

    #[test]
    fn what_only_looks_like_a_date_is_none() {
        for text in [
            "",
            "2026",
            "2026-11",
            "2026-11-31",
            "2026-02-29",
            "2100-02-29",
            "2026-00-10",
            "2026-13-10",
            "2026-11-00",
            "2026-11-1",
            "2026-1-011",
            "26-11-0025",
            "+026-11-25",
            "2026-+1-25",
            "2026-11--5",
            "2026-11-25 ",
            "20261125",
            "1969-12-31",
            "2026/11/25",
            "2026-11-2x",
        ] {
            assert_eq!(day_of(text), None, "{text}");
        }
    }

    /// Clocks that are changed once.
    fn changed(at: i64, before: i64, after: i64) -> impl Fn(i64) -> i64 {
        move |second| if second < at { before } else { after }
    }

    #[test]
    fn a_day_that_a_place_leaves_out_is_no_day() {
        // Samoa went to the other side of the date line at the end of 2011-12-29, in summer time.
        let change = day_of("2011-12-30").unwrap() * DAY + 10 * 3600;
        let samoa = changed(change, -10 * 3600, 14 * 3600);
        let midnight = TimeOfDay::default();
        let last = Day::of(change - 1, midnight, &samoa);
        assert_eq!((date(last.number).as_str(), last.end), ("2011-12-29", change));
        let first = Day::of(change, midnight, &samoa);
        assert_eq!((date(first.number).as_str(), first.begin, first.end), ("2011-12-31", change, change + DAY));
        // At noon there is a day of twelve hours between them: what is left out comes at the moment at which it is.
        let noon = "12:00".parse().unwrap();
        let days = [change - 1, change, change + DAY / 2].map(|second| Day::of(second, noon, &samoa));
        assert_eq!(days.map(|day| day.begin), [change - DAY / 2, change, change + DAY / 2]);
    }

    #[test]
    fn a_day_that_comes_twice_is_one() {
        let change = 20_782 * DAY + 12 * 3600;
        let back = changed(change, 0, -24 * 3600);
        let day = Day::of(change - 1, TimeOfDay::default(), &back);
        assert_eq!(day, Day::of(change + DAY, TimeOfDay::default(), &back), "the second time too");
        assert_eq!((day.number, day.end - day.begin), (20_782, 2 * DAY));
    }

    #[test]
    fn clocks_that_show_nonsense_have_days_all_the_same() {
        let step = |second: i64| if second % 7200 < 3600 { i64::MIN } else { i64::MAX };
        for second in (0..40 * DAY).step_by(5_000) {
            let day = Day::of(second, TimeOfDay::default(), &step);
            assert!(day.holds(second), "{second}: {day:?}");
        }
    }
}
