//! When a file is begun anew by the clock on the wall: each day at a local time (`--rotate-at`, `{date}`). That clock may be
//! set at any moment, so it is looked at again and again, and what it says is compared with when the file was begun.
//! Invariant: a day that has come makes the file due once, however often the clock shows its beginning.
//!
//! | the clock | the file |
//! | --- | --- |
//! | shows a later day than the file's | is due |
//! | shows an earlier one: it was put back, or is not set yet | is not; it is when the next day comes while we look |
//! | is set for the first time | of which only a time before that is known: was begun now |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::zone::Zone;
use crate::config::calendar::{Clock, Day, Offset, TimeOfDay};

/// How long a step of the clock may go unnoticed: files look at it together, when as many seconds have passed once more.
const LONGEST_LOOK_SECONDS: u64 = 60;
/// 2025-01-01: a clock that shows less is not set, as on a box without a battery until the network is there. What compiles
/// this program is younger.
const SET: i64 = 1_735_689_600;

/// When a file was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Begun {
    /// It has not been looked at.
    #[default]
    Unknown,
    /// Before all that is known.
    LongAgo,
    /// At this second since 1970, as the clock showed it then.
    At(i64),
    /// Whenever: it is the file of this day, by its name.
    On(i64),
}

/// What a file tells of when it was begun, all in seconds since 1970.
#[derive(Debug)]
pub(super) enum Found {
    /// It is begun now.
    Empty,
    /// It has lines, and there is none before it, though some are kept: else it might never be begun anew on a box that is
    /// switched on each morning.
    Alone,
    /// It has lines: it was begun when the one before it got its name. If that is not known, then it was at the latest
    /// when something was last written to it.
    Lines {
        /// When the one before it got its name.
        shifted_at: Option<i64>,
        /// When it was last written to.
        changed_at: i64,
    },
}

/// The days of one file.
#[derive(Debug)]
pub(super) struct Daily {
    at: TimeOfDay,
    /// The day that the clock showed when it was last looked at.
    today: Option<Day>,
    begun: Begun,
    is_due: bool,
    /// It is not to be begun anew yet, though it is due.
    is_postponed: bool,
    /// When the clock is to be looked at again, as time since the start.
    look_at: Duration,
    /// What clocks here showed more than UTC, when the zone could last be read.
    offset: i64,
}

/// What the clock shows, as time since 1970.
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seconds(wall: Duration) -> i64 {
    i64::try_from(wall.as_secs()).unwrap_or(i64::MAX / 4)
}

fn is_set(second: i64) -> bool {
    second >= SET
}

/// What the clocks of this box show; UTC, if its zone can't be read.
pub(crate) fn clock() -> Clock {
    let zone = Zone::read().ok();
    Box::new(move |second| zone.as_ref().map_or(0, |zone| zone.offset(second)))
}

/// Why days are those of UTC, if the zone of the box can't be read.
pub(in crate::sink) fn complaint() -> Option<String> {
    let why = Zone::read().err()?;
    Some(format!("{why}: the days of --rotate-at and {{date}} are those of UTC"))
}

impl Daily {
    /// Of a file that is not open yet.
    pub(super) fn new(at: TimeOfDay) -> Self {
        Self {
            at,
            today: None,
            begun: Begun::Unknown,
            is_due: false,
            is_postponed: false,
            look_at: Duration::ZERO,
            offset: 0,
        }
    }

    /// The day that holds this second. The zone is read anew, since a box may be moved: whenever a day ends, at a start and
    /// at a SIGHUP. If it can't be read, the clocks go on as they last did.
    #[inline(never)] // one copy, for size
    fn day(&mut self, second: i64) -> Day {
        let zone = Zone::read();
        let last = self.offset;
        let offset: Offset<'_> = &|second| zone.as_ref().map_or(last, |zone| zone.offset(second));
        self.offset = offset(second);
        Day::of(second, self.at, offset)
    }

    /// Whether the file is to be begun anew.
    pub(super) fn is_due(&self) -> bool {
        self.is_due && !self.is_postponed
    }

    pub(super) fn postpone(&mut self, is_postponed: bool) {
        self.is_postponed = is_postponed;
    }

    /// When there is something to do, as time since the start.
    pub(super) fn due_at(&self) -> Duration {
        if self.is_due { Duration::ZERO } else { self.look_at }
    }

    pub(super) fn is_look_due(&self, now: Duration) -> bool {
        self.look_at <= now
    }

    /// Looks at the clock, if it is time to. True if that has made the file due.
    pub(super) fn look(&mut self, now: Duration) -> bool {
        if !self.is_look_due(now) {
            return false;
        }
        let (wall, was_due) = (wall(), self.is_due);
        self.see(seconds(wall));
        let end = self.today.and_then(|today| u64::try_from(today.end).ok());
        let left = end.map_or(Duration::MAX, |end| Duration::from_secs(end).saturating_sub(wall));
        let soon = Duration::from_secs((now.as_secs() / LONGEST_LOOK_SECONDS + 1) * LONGEST_LOOK_SECONDS);
        self.look_at = soon.min(now.saturating_add(left));
        self.is_due && !was_due
    }

    /// Looks at the clock and reads the zone at the next [`Self::look`].
    pub(super) fn look_anew(&mut self) {
        (self.today, self.look_at) = (None, Duration::ZERO);
    }

    #[inline(never)] // one copy, for size
    fn see(&mut self, second: i64) {
        if self.today.is_none_or(|today| !today.holds(second)) {
            let today = self.day(second);
            self.show(second, today);
        }
    }

    /// The clock shows this second, of another day than before.
    fn show(&mut self, second: i64, today: Day) {
        let has_passed = self.today.is_some_and(|before| before.end == today.begin);
        self.today = Some(today);
        self.judge(second, has_passed);
    }

    /// `has_passed`: the day has come while we looked, and not by a step of the clock.
    fn judge(&mut self, second: i64, has_passed: bool) {
        let Some(today) = self.today else { return };
        if matches!(self.begun, Begun::At(begun) if !is_set(begun)) && is_set(second) {
            self.begun = Begun::At(second);
        }
        self.is_due = match self.begun {
            Begun::Unknown => false,
            Begun::LongAgo => true,
            Begun::At(begun) => begun < today.begin || (begun >= today.end && has_passed),
            Begun::On(day) => day < today.number || (day > today.number && has_passed && is_set(second)),
        };
    }

    /// The number of today, by the last look.
    pub(super) fn today(&mut self) -> i64 {
        self.see(seconds(wall()));
        self.today.map_or(0, |today| today.number)
    }

    pub(super) fn begun(&self) -> Begun {
        self.begun
    }

    pub(super) fn set_begun(&mut self, begun: Begun) {
        self.begun = begun;
    }

    /// The file is open, and this is known of it.
    #[inline(never)] // one copy, for size
    pub(super) fn adopt(&mut self, found: &Found) {
        let second = seconds(wall());
        self.see(second);
        self.adopt_at(second, found);
    }

    fn adopt_at(&mut self, second: i64, found: &Found) {
        self.begun = match (self.begun, found) {
            (Begun::On(day), _) => Begun::On(day),
            (_, Found::Empty) => Begun::At(second),
            (Begun::Unknown, Found::Alone) => Begun::LongAgo,
            (Begun::Unknown, Found::Lines { shifted_at, changed_at }) => {
                Begun::At(shifted_at.filter(|at| is_set(*at)).unwrap_or(*changed_at))
            }
            (known, _) => known,
        };
        self.judge(second, false);
    }

    /// The day for whose file this is when nobody has opened one yet: today, or, while the clock is not set, that of the
    /// newest file that there is.
    pub(super) fn first_day(&mut self, newest: impl FnOnce() -> Option<i64>) -> i64 {
        let today = self.today();
        if is_set(seconds(wall())) { today } else { newest().unwrap_or(today) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::calendar::day_of;

    const UTC: Offset<'_> = &|_| 0;

    /// `11-25 23:59:58`, of 2026 if no year stands before it, in UTC.
    fn second(text: &str) -> i64 {
        let text = if text.len() == "11-25 23:59:58".len() { format!("2026-{text}") } else { text.to_owned() };
        let (day, time) = text.split_once(' ').unwrap();
        let of_day = time.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap());
        day_of(day).unwrap() * 86_400 + of_day
    }

    fn begun_at(text: &str) -> Begun {
        Begun::At(second(text))
    }

    fn begun_on(text: &str) -> Begun {
        Begun::On(day_of(text).unwrap())
    }

    /// Lets the clock show these times, one after the other, and gives those at which the file was begun anew.
    fn begun_anew(begun: Begun, clock: &[&str]) -> Vec<String> {
        let mut daily = Daily::new(TimeOfDay::default());
        daily.begun = begun;
        let mut anew = Vec::new();
        for text in clock {
            let second = second(text);
            // What `see` does, with a zone of its own.
            if daily.today.is_none_or(|today| !today.holds(second)) {
                daily.show(second, Day::of(second, daily.at, UTC));
            }
            if daily.is_due() {
                anew.push((*text).to_owned());
                match daily.begun {
                    Begun::On(_) => daily.begun = Begun::On(daily.today.unwrap().number),
                    _ => daily.begun = Begun::Unknown,
                }
                daily.adopt_at(second, &Found::Empty);
                assert!(!daily.is_due(), "{text}: twice");
            }
        }
        anew
    }

    #[test]
    fn whatever_the_clock_does_a_day_comes_once() {
        let yesterday = begun_at("11-25 08:00:00");
        let today = begun_at("11-26 00:00:00");
        for (name, begun, clock, anew) in [
            (
                "a day passes",
                yesterday,
                &["11-25 23:59:59", "11-26 00:00:00", "11-26 00:01:00"][..],
                &["11-26 00:00:00"][..],
            ),
            ("it was missed", yesterday, &["11-26 09:00:00", "11-26 09:01:00"], &["11-26 09:00:00"]),
            ("it was not", today, &["11-26 09:00:00", "11-27 00:00:00"], &["11-27 00:00:00"]),
            ("nothing is known", Begun::LongAgo, &["11-26 09:00:00", "11-26 09:01:00"], &["11-26 09:00:00"]),
            ("days are slept through", today, &["11-26 10:00:00", "11-30 10:00:00"], &["11-30 10:00:00"]),
            (
                "put back over midnight",
                yesterday,
                &["11-25 23:59:59", "11-26 00:00:03", "11-25 23:59:58", "11-26 00:00:00", "11-27 00:00:01"],
                &["11-26 00:00:03", "11-27 00:00:01"],
            ),
            (
                "put back by days",
                begun_at("12-24 10:00:00"),
                &["12-24 10:01:00", "11-26 10:00:00", "11-27 00:00:00", "11-28 00:00:00"],
                &["11-27 00:00:00", "11-28 00:00:00"],
            ),
            (
                "not set until today's",
                today,
                &["1970-01-01 00:00:30", "11-26 10:00:00", "11-27 00:00:00"],
                &["11-27 00:00:00"],
            ),
            ("not set until tomorrow", yesterday, &["1970-01-01 00:00:30", "11-26 10:00:00"], &["11-26 10:00:00"]),
            (
                "begun before it was set",
                begun_at("1970-01-01 00:00:20"),
                &["1970-01-01 00:00:30", "11-26 10:00:00", "11-27 00:00:00"],
                &["11-27 00:00:00"],
            ),
            (
                "nothing is known, nor the time",
                Begun::LongAgo,
                &["1970-01-01 00:00:30", "11-26 10:00:00", "11-27 00:00:00"],
                &["1970-01-01 00:00:30", "11-27 00:00:00"],
            ),
            (
                "never set",
                begun_at("1970-01-01 00:00:20"),
                &["1970-01-01 00:00:30", "1970-01-02 00:00:00", "1970-01-03 00:00:00"],
                &["1970-01-02 00:00:00", "1970-01-03 00:00:00"],
            ),
            (
                "set once, and never again",
                today,
                &["1970-01-01 00:00:30", "1970-01-02 00:00:00", "1970-01-03 00:00:00"],
                &["1970-01-02 00:00:00", "1970-01-03 00:00:00"],
            ),
        ] {
            assert_eq!(begun_anew(begun, clock), anew, "{name}");
        }
    }

    #[test]
    fn a_file_with_a_date_in_its_name_is_that_of_the_day() {
        let today = begun_on("2026-11-26");
        for (name, begun, clock, anew) in [
            (
                "a day passes",
                today,
                &["11-26 23:59:59", "11-27 00:00:00", "11-27 00:01:00"][..],
                &["11-27 00:00:00"][..],
            ),
            ("put back over midnight", today, &["11-26 00:00:03", "11-25 23:59:58", "11-26 00:00:00"], &[]),
            (
                "put back by days",
                begun_on("2026-12-24"),
                &["11-26 10:00:00", "11-27 00:00:00", "11-28 00:00:00"],
                &["11-27 00:00:00", "11-28 00:00:00"],
            ),
            (
                "not set, and gone on with",
                today,
                &["1970-01-01 23:59:59", "1970-01-02 00:00:00", "11-26 10:00:00"],
                &[],
            ),
            ("not set until tomorrow", today, &["1970-01-01 00:00:30", "11-27 10:00:00"], &["11-27 10:00:00"]),
            ("begun in 1970", begun_on("1970-01-01"), &["1970-01-01 00:00:30", "11-27 10:00:00"], &["11-27 10:00:00"]),
        ] {
            assert_eq!(begun_anew(begun, clock), anew, "{name}");
        }
    }

    #[test]
    fn when_a_file_was_begun_is_told_by_the_one_before_it() {
        let now = second("11-26 09:00:00");
        let [yesterday, today, unset] = ["11-25 23:59:59", "11-26 08:00:00", "1970-01-01 00:05:00"].map(second);
        let lines = |shifted_at, changed_at| Found::Lines { shifted_at, changed_at };
        for (found, is_due) in [
            (Found::Empty, false),
            (Found::Alone, true),
            (lines(Some(yesterday), today), true),
            (lines(Some(today), today), false),
            // None is kept: a file that was last written to yesterday is older than today.
            (lines(None, yesterday), true),
            (lines(None, today), false),
            // Moved when the clock was not set.
            (lines(Some(unset), yesterday), true),
            (lines(Some(unset), unset), false),
        ] {
            let mut daily = Daily::new(TimeOfDay::default());
            daily.show(now, Day::of(now, daily.at, UTC));
            daily.adopt_at(now, &found);
            assert_eq!(daily.is_due(), is_due, "{found:?}");
            let known = daily.begun;
            daily.adopt_at(now + 1, &lines(Some(unset), unset));
            assert_eq!(daily.begun, known, "what is known stays, though it is closed and opened again");
        }
    }

    #[test]
    fn files_look_at_the_clock_together_once_a_minute_and_when_the_day_ends() {
        for (now, soon) in [(0, 60), (59, 60), (60, 120), (61, 120)] {
            let (now, soon) = (Duration::from_secs(now), Duration::from_secs(soon));
            let mut daily = Daily::new(TimeOfDay::default());
            daily.look(now);
            let end = Duration::from_secs(daily.today.unwrap().end.unsigned_abs());
            let due_at = daily.due_at();
            assert!(due_at == soon || (due_at < soon && due_at >= now + end.saturating_sub(wall())), "{due_at:?}");
            daily.today = None;
            daily.look(due_at - Duration::from_millis(1));
            assert_eq!(daily.today, None, "not before");
            daily.look_anew();
            assert!(daily.is_look_due(now), "a SIGHUP");
        }
    }
}
