//! What the clocks of this box show: the time zone that `TZ` names, else that of `/etc/localtime`, else that of `/etc/TZ`,
//! which OpenWrt and uClibc have. Read by us, since musl and glibc would read it once and for all, by calls that need
//! `unsafe`. Invariant: what can't be read is an error, never a guess.

#[cfg(feature = "calendar")]
pub(super) use self::read::Zone;
#[cfg(not(feature = "calendar"))]
pub(super) use self::utc::Zone;

#[cfg(feature = "calendar")]
mod read {
    use std::env;
    use std::ffi::OsStr;
    use std::io::{self, ErrorKind};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use tz::TimeZone;

    use super::super::path::opened_to_read;

    /// A zone takes a hundredth of it.
    const MOST_BYTES: usize = 256 * 1024;
    /// Where zones are found by their names: the folders in which musl looks.
    const FOLDERS: [&str; 3] = ["/usr/share/zoneinfo", "/share/zoneinfo", "/etc/zoneinfo"];
    /// When clocks are changed if a text names summer time but no rules (`EST5EDT`): as in every libc, by the law of 2007
    /// of the USA.
    const USUAL_RULES: &str = ",M3.2.0,M11.1.0";
    /// The start of a zone file without a table, whose rules are those of the text that comes next: so times beyond a day
    /// are understood in a `TZ` too (`IST-2IDT,M3.4.4/26,M10.5.0`), which the crate takes from such files only.
    const HEAD: &[u8] =
        b"TZif3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\
        TZif3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\n";

    /// What is in a file, if it is one: a fifo would wait for a writer, and a device might have no end. One of the kernel's
    /// (`/proc/kmsg`) passes for a file, may wait too, and says that it is empty.
    fn content(path: &Path) -> io::Result<Vec<u8>> {
        let (file, found) = opened_to_read(path)?;
        let mut bytes = vec![0; usize::try_from(found.len()).unwrap_or(usize::MAX).min(MOST_BYTES)];
        file.read_exact_at(&mut bytes, 0).map(|()| bytes)
    }

    /// A time zone.
    #[derive(Debug)]
    pub(in super::super) struct Zone(TimeZone);

    impl Zone {
        /// The zone of the box as it is now.
        ///
        /// # Errors
        /// It can't be read: a sentence's start that says why.
        pub(in super::super) fn read() -> Result<Self, String> {
            if let Some(text) = env::var_os("TZ") {
                return Self::named(&text).ok_or_else(|| {
                    format!("TZ is {}, which is no time zone that is known here", text.to_string_lossy().escape_debug())
                });
            }
            match content(Path::new("/etc/localtime")) {
                Ok(bytes) => Self::of_file(&bytes).ok_or_else(|| "/etc/localtime holds no time zone".to_owned()),
                Err(error) if error.kind() == ErrorKind::NotFound => match content(Path::new("/etc/TZ")) {
                    Ok(text) => Self::named(OsStr::from_bytes(text.trim_ascii()))
                        .ok_or_else(|| "/etc/TZ names no time zone".to_owned()),
                    Err(_) => Err("TZ is not set, and there is no /etc/localtime".to_owned()),
                },
                Err(error) => Err(format!("/etc/localtime can't be read ({error})")),
            }
        }

        /// That of a `TZ`: a file, by its path or its name, or rules.
        pub(in super::super) fn named(text: &OsStr) -> Option<Self> {
            let text = text.to_str()?;
            let text = text.strip_prefix(':').unwrap_or(text);
            if matches!(text, "" | "UTC" | "GMT") {
                return Some(Self(TimeZone::utc()));
            }
            // A whole path stays what it is.
            let mut files = FOLDERS.iter().map(|folder| Path::new(folder).join(text));
            match files.find_map(|path| content(&path).ok()) {
                Some(bytes) => Self::of_file(&bytes),
                None => Self::of_rules(text).or_else(|| Self::of_rules(&format!("{text}{USUAL_RULES}"))),
            }
        }

        #[inline(never)] // one copy, for size
        fn of_file(bytes: &[u8]) -> Option<Self> {
            TimeZone::from_tz_data(bytes).ok().map(Self)
        }

        fn of_rules(text: &str) -> Option<Self> {
            Self::of_file(&[HEAD, text.as_bytes(), b"\n"].concat())
        }

        /// How many seconds its clocks show more than UTC, at this second since 1970.
        pub(in super::super) fn offset(&self, second: i64) -> i64 {
            let zone = self.0.as_ref();
            let kind = zone.find_local_time_type(second).ok().or_else(|| {
                // An old file without rules ends with its table: what holds last, goes on.
                let last = zone.transitions().last()?.local_time_type_index();
                zone.local_time_types().get(last)
            });
            kind.map_or(0, |kind| kind.ut_offset().into())
        }
    }
}

#[cfg(not(feature = "calendar"))]
mod utc {
    /// A build without the feature `calendar` knows none but UTC.
    #[derive(Debug)]
    pub(in super::super) struct Zone;

    impl Zone {
        /// # Errors
        /// Always: a sentence's start that says why.
        pub(in super::super) fn read() -> Result<Self, String> {
            Err("this build knows no time zones".to_owned())
        }

        pub(in super::super) fn offset(&self, _: i64) -> i64 {
            0
        }
    }
}

#[cfg(feature = "calendar")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::calendar::{Day, date, day_of};
    use crate::skip::skip;
    use std::ffi::OsStr;
    use std::path::Path;

    /// The rules that these places have in 2026.
    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
    const NEW_YORK: &str = "EST5EDT,M3.2.0,M11.1.0";
    const LORD_HOWE: &str = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
    const KATHMANDU: &str = "<+0545>-5:45";
    const SANTIAGO: &str = "<-04>4<-03>,M9.1.6/24,M4.1.6/24";
    const HAVANA: &str = "CST5CDT,M3.2.0/0,M11.1.0/1";
    const JERUSALEM: &str = "IST-2IDT,M3.4.4/26,M10.5.0";
    const NUUK: &str = "<-02>2<-01>,M3.5.0/-1,M10.5.0/0";
    const CASABLANCA: &str = "<+01>-1";
    const ODD: &str = "XXX-05:17:42";
    const ALL: [&str; 11] =
        ["UTC0", BERLIN, NEW_YORK, LORD_HOWE, KATHMANDU, SANTIAGO, HAVANA, JERUSALEM, NUUK, CASABLANCA, ODD];

    fn zone(text: &str) -> Zone {
        Zone::named(OsStr::new(text)).unwrap_or_else(|| panic!("{text}"))
    }

    /// `2026-03-29 01:00:00`, in UTC.
    fn utc(text: &str) -> i64 {
        let (day, time) = text.split_once(' ').unwrap();
        time.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap()) + day_of(day).unwrap() * 86_400
    }

    fn day(zone: &Zone, at: &str, second: i64) -> Day {
        Day::of(second, at.parse().unwrap(), &|second| zone.offset(second))
    }

    #[test]
    fn days_begin_when_clocks_first_show_their_time_or_more() {
        for (text, at, date_of_day, begin, end) in [
            ("UTC0", "00:00", "2026-11-25", "2026-11-25 00:00:00", "2026-11-26 00:00:00"),
            (KATHMANDU, "00:00", "2026-11-25", "2026-11-24 18:15:00", "2026-11-25 18:15:00"),
            (ODD, "00:00", "2026-11-25", "2026-11-24 18:42:18", "2026-11-25 18:42:18"),
            (BERLIN, "00:00", "2026-03-29", "2026-03-28 23:00:00", "2026-03-29 22:00:00"),
            (BERLIN, "00:00", "2026-10-25", "2026-10-24 22:00:00", "2026-10-25 23:00:00"),
            // 02:30 does not come, and comes twice.
            (BERLIN, "02:30", "2026-03-29", "2026-03-29 01:00:00", "2026-03-30 00:30:00"),
            (BERLIN, "02:30", "2026-10-25", "2026-10-25 00:30:00", "2026-10-26 01:30:00"),
            // The ends of the hour that does not come, and of the one that comes twice.
            (BERLIN, "02:00", "2026-03-29", "2026-03-29 01:00:00", "2026-03-30 00:00:00"),
            (BERLIN, "03:00", "2026-03-29", "2026-03-29 01:00:00", "2026-03-30 01:00:00"),
            (BERLIN, "02:00", "2026-10-25", "2026-10-25 00:00:00", "2026-10-26 01:00:00"),
            (BERLIN, "03:00", "2026-10-25", "2026-10-25 02:00:00", "2026-10-26 02:00:00"),
            (NEW_YORK, "02:30", "2026-03-08", "2026-03-08 07:00:00", "2026-03-09 06:30:00"),
            (NEW_YORK, "01:30", "2026-11-01", "2026-11-01 05:30:00", "2026-11-02 06:30:00"),
            // Half an hour, and on the southern half, where summer is at the turn of the year.
            (LORD_HOWE, "02:15", "2026-10-04", "2026-10-03 15:30:00", "2026-10-04 15:15:00"),
            (LORD_HOWE, "01:45", "2026-04-05", "2026-04-04 14:45:00", "2026-04-05 15:15:00"),
            (LORD_HOWE, "00:00", "2027-01-01", "2026-12-31 13:00:00", "2027-01-01 13:00:00"),
            // Midnight itself does not come; and the hour before it comes twice.
            (SANTIAGO, "00:00", "2026-09-06", "2026-09-06 04:00:00", "2026-09-07 03:00:00"),
            (SANTIAGO, "00:00", "2026-04-04", "2026-04-04 03:00:00", "2026-04-05 04:00:00"),
            (SANTIAGO, "23:30", "2026-04-04", "2026-04-05 02:30:00", "2026-04-06 03:30:00"),
            (HAVANA, "00:00", "2026-03-08", "2026-03-08 05:00:00", "2026-03-09 04:00:00"),
            (HAVANA, "00:00", "2026-11-01", "2026-11-01 04:00:00", "2026-11-02 05:00:00"),
            // Rules beyond the day of their date.
            (JERUSALEM, "02:30", "2026-03-27", "2026-03-27 00:00:00", "2026-03-27 23:30:00"),
            (NUUK, "23:30", "2026-03-28", "2026-03-29 01:00:00", "2026-03-30 00:30:00"),
        ] {
            let zone = zone(text);
            let (begin, end) = (utc(begin), utc(end));
            for second in [begin, begin + 1, begin.midpoint(end), end - 1] {
                let found = day(&zone, at, second);
                let wanted = Day { number: day_of(date_of_day).unwrap(), begin, end };
                assert_eq!(found, wanted, "{text} {at} {}", date(found.number));
            }
        }
    }

    /// The obvious way: every second is tried.
    fn begin_of(zone: &Zone, number: i64, at: &str) -> i64 {
        let shown = number * 86_400 + utc(&format!("1970-01-01 {at}:00"));
        (shown - 26 * 3600..).find(|second| second + zone.offset(*second) >= shown).unwrap()
    }

    #[test]
    fn over_years_each_date_has_one_day_and_each_second_too() {
        let (from, until) = (utc("2026-01-01 00:00:00"), utc("2028-03-02 00:00:00"));
        for text in ALL {
            let zone = zone(text);
            for at in ["00:00", "02:30"] {
                let mut today = day(&zone, at, from);
                while today.end < until {
                    let next = day(&zone, at, today.end);
                    assert_eq!((next.number, next.begin), (today.number + 1, today.end), "{text} {at}");
                    if next.end - next.begin != 86_400 {
                        assert_eq!(day(&zone, at, next.end - 1), next, "{text} {at}");
                        assert_eq!(next.begin, begin_of(&zone, next.number, at), "{text} {at}");
                        assert_eq!(next.end, begin_of(&zone, next.number + 1, at), "{text} {at}");
                    }
                    today = next;
                }
            }
        }
    }

    #[test]
    fn a_zone_is_named_in_every_way_that_a_libc_knows() {
        let noon = utc("2026-07-01 12:00:00");
        for (text, offset) in [
            ("", Some(0)),
            (":", Some(0)),
            ("UTC", Some(0)),
            ("GMT", Some(0)),
            ("UTC0", Some(0)),
            ("CET-1", Some(3600)),
            (BERLIN, Some(7200)),
            (":CET-1", Some(3600)),
            // No rules: those of the USA, in every libc.
            ("ABC5DEF", Some(-4 * 3600)),
            (SANTIAGO, Some(-4 * 3600)),
            (ODD, Some(5 * 3600 + 17 * 60 + 42)),
            ("Nowhere/Place", None),
            ("/no/such/file", None),
            ("/dev/null", None),
            // A regular file, so the kernel says, that never ends and makes its reader wait.
            ("/proc/kmsg", None),
            ("/proc/version", None),
            ("/", None),
            ("CET", None),
            ("CET-25", None),
            ("CET-1CEST,M13.5.0,M10.5.0", None),
            ("CET-1\nx", None),
            ("CET-1\0", None),
        ] {
            // Some of these names may be files here.
            if text != "CET" || !Path::new("/usr/share/zoneinfo/CET").exists() {
                assert_eq!(Zone::named(OsStr::new(text)).map(|zone| zone.offset(noon)), offset, "{text:?}");
            }
        }
    }

    #[test]
    fn the_files_of_zones_say_what_their_rules_say() {
        if !Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
            return skip("there are no files of time zones: apt-get install tzdata");
        }
        for (name, rules) in [
            ("Europe/Berlin", BERLIN),
            ("America/New_York", NEW_YORK),
            ("Australia/Lord_Howe", LORD_HOWE),
            ("Asia/Kathmandu", KATHMANDU),
            ("Asia/Jerusalem", JERUSALEM),
        ] {
            let (file, rules) = (zone(name), zone(rules));
            let mut second = utc("2024-01-01 00:00:00");
            while second < utc("2036-01-01 00:00:00") {
                assert_eq!(file.offset(second), rules.offset(second), "{name} at {second}");
                second += 900;
            }
        }
        let berlin = zone("Europe/Berlin");
        // In its table, before there were such rules: double summer time.
        assert_eq!(berlin.offset(utc("1970-01-01 00:00:00") - 775_000_000), 3 * 3600);
    }

    #[test]
    fn a_file_that_was_damaged_harms_nobody() {
        let whole = std::fs::read("/usr/share/zoneinfo/Europe/Berlin").unwrap_or_else(|_| b"TZif2".repeat(20));
        let folder = std::env::temp_dir().join(format!("lumberjack-zone-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("zone");
        for at in 0..whole.len() {
            for bytes in [whole.get(..at).unwrap().to_vec(), damaged(&whole, at)] {
                std::fs::write(&path, bytes).unwrap();
                if let Some(zone) = Zone::named(path.as_os_str()) {
                    let at = day(&zone, "00:00", utc("2026-11-25 12:00:00"));
                    assert!(at.holds(utc("2026-11-25 12:00:00")));
                }
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    fn damaged(whole: &[u8], at: usize) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0xa5;
        bytes
    }
}
