//! What the header of a syslog message becomes in JSON. Invariant: what one line becomes is never more than
//! [`most_bytes`] says.

use std::fmt;

use super::escape::{escape, put};
use crate::config::calendar::{Clock, civil, nearest};
use crate::config::syslog::SyslogOptions;
use crate::engine::structured::{Data, Element, MOST_PARAMS, plain};
use crate::engine::syslog::{Header, Local, Time};

/// What the names of all fields take, with severity and facility as words, a completed time, and the longest host.
const NAMES_BYTES: usize = 240;

/// Hours that are remembered with their year: those of senders in a few zones.
const HOURS: usize = 8;

/// Bytes of a time without year and zone, once it has both.
const TIME_BYTES: usize = "2026-10-11T22:14:15+02:00".len();

/// How many bytes a byte of a line can become, and how many more a line: each is in one field, or with the original in two.
pub(super) fn most_bytes(options: SyslogOptions) -> (usize, usize) {
    (if options.keep_original { 12 } else { 6 }, NAMES_BYTES)
}

/// A line, what its header says, and from where and when it came.
pub(super) struct Came<'a> {
    pub(super) header: Option<&'a Header<'a>>,
    pub(super) line: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) wall_ms: u64,
}

/// Writes headers.
pub(super) struct Fields {
    options: SyslogOptions,
    clock: Clock,
    /// The last hours of times without a year, each in its place, by our clock's hour, and what both are.
    known: [Option<Hour>; HOURS],
}

/// Month, day and hour; the hour of our clock when they came; and the time that they are.
type Hour = ([u8; 3], u64, [u8; TIME_BYTES]);

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

impl Fields {
    pub(super) fn new(options: SyslogOptions, clock: Clock) -> Self {
        Self { options, clock, known: [None; HOURS] }
    }

    pub(super) fn options(&self) -> SyslogOptions {
        self.options
    }

    /// From now on these hold.
    pub(super) fn set_options(&mut self, options: SyslogOptions) {
        self.options = options;
    }

    /// From now on clocks show this.
    pub(super) fn set_clock(&mut self, clock: Clock) {
        (self.clock, self.known) = (clock, [None; HOURS]);
    }

    /// Appends the members of a line, behind the text of another; the message is the last of them, and its quote is left
    /// to the caller, too.
    pub(super) fn write(&mut self, came: &Came<'_>, out: &mut Vec<u8>) {
        let Came { header, line, host, wall_ms } = *came;
        out.push(b'"');
        let named = header.and_then(|header| header.hostname);
        // What the message says of itself anybody can write.
        let trusted = named.filter(|_| self.options.trust_host);
        member("host", trusted.unwrap_or(host), out);
        let Some(header) = header else { return open_member("line", line, out) };
        member("severity", header.priority.severity.word().as_bytes(), out);
        member("facility", header.priority.facility().as_bytes(), out);
        match header.time {
            Time::None => {}
            Time::Whole(time) => member("time", time, out),
            Time::Local(time) => member("time", &self.whole(time, wall_ms), out),
        }
        let words = [("hostname", named), ("app", header.app), ("pid", header.pid), ("msgid", header.msgid)];
        for (name, value) in words {
            value.iter().for_each(|value| member(name, value, out));
        }
        if !header.data.is_empty() {
            write_data(header.data, out);
        }
        if self.options.keep_original {
            member("original", line, out);
        }
        open_member("line", header.message, out);
    }

    /// A time with the year that brings it nearest to our clock, and the zone of this box.
    fn whole(&mut self, time: Local, wall_ms: u64) -> [u8; TIME_BYTES] {
        let (key, wall_hour) = ([time.month, time.day, time.hour], wall_ms / 3_600_000);
        let place = usize::from(time.hour) % HOURS;
        let known = self.known[place].filter(|(known, at, _)| (*known, *at) == (key, wall_hour));
        let mut text = known.map(|(.., text)| text).unwrap_or_else(|| {
            let near = i64::try_from(wall_ms / 1000).unwrap_or(i64::MAX);
            let text = in_year(time, near, &self.clock);
            self.known[place] = Some((key, wall_hour, text));
            text
        });
        digits(&mut text[14..16], u64::from(time.minute));
        digits(&mut text[17..19], u64::from(time.second));
        text
    }
}

#[cold]
fn in_year(time: Local, near: i64, clock: &Clock) -> [u8; TIME_BYTES] {
    let mut text = *b"0000-00-00T00:00:00+00:00";
    let seconds = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second);
    // Each date that can be read comes within eight years.
    let (second, offset) = nearest(time.month, time.day, seconds, near, clock).unwrap_or((near, 0));
    let (year, ..) = civil(u64::try_from((second + offset).div_euclid(86_400)).unwrap_or_default());
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], u64::from(time.month));
    digits(&mut text[8..10], u64::from(time.day));
    digits(&mut text[11..13], u64::from(time.hour));
    if offset < 0 {
        text[19] = b'-';
    }
    let minutes = offset.unsigned_abs() / 60;
    digits(&mut text[20..22], minutes / 60);
    digits(&mut text[23..25], minutes % 60);
    text
}

/// Fills the places with the last digits of a number.
fn digits(places: &mut [u8], mut number: u64) {
    for place in places.iter_mut().rev() {
        *place = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// Appends a member, all but the quote at its end.
#[inline(never)] // one copy, for size
fn open_member(name: &str, value: &[u8], out: &mut Vec<u8>) {
    put(b",\"", out);
    put(name.as_bytes(), out);
    put(b"\":\"", out);
    escape(value, out);
}

#[inline(never)] // likewise
fn member(name: &str, value: &[u8], out: &mut Vec<u8>) {
    open_member(name, value, out);
    out.push(b'"');
}

/// Appends structured data: an object for each element, whose members are texts, or arrays where a name comes again.
fn write_data(data: Data<'_>, out: &mut Vec<u8>) {
    put(b",\"sd\":{", out);
    for (number, element) in data.elements().enumerate() {
        put(if number == 0 { b"\"" } else { b",\"" }, out);
        escape(element.id, out);
        put(b"\":{", out);
        write_params(element, out);
        out.push(b'}');
    }
    out.push(b'}');
}

#[inline(never)] // for size
fn write_params(element: Element<'_>, out: &mut Vec<u8>) {
    let mut params = [(&b""[..], &b""[..]); MOST_PARAMS];
    let count = params.iter_mut().zip(element.params()).map(|(place, param)| *place = param).count();
    let params = params.get(..count).unwrap_or_default();
    let mut is_first = true;
    for (number, (name, value)) in params.iter().enumerate() {
        if params.iter().take(number).any(|(before, _)| before == name) {
            continue;
        }
        put(if is_first { b"\"" } else { b",\"" }, out);
        is_first = false;
        escape(name, out);
        put(b"\":", out);
        let others = || params.iter().skip(number + 1).filter(|(other, _)| other == name);
        let is_array = others().next().is_some();
        put(if is_array { b"[\"" } else { b"\"" }, out);
        write_value(value, out);
        for (_, value) in others() {
            put(b"\",\"", out);
            write_value(value, out);
        }
        put(if is_array { b"\"]" } else { b"\"" }, out);
    }
}

#[inline(never)] // likewise
fn write_value(value: &[u8], out: &mut Vec<u8>) {
    // A character is never cut: what a part ends with, or begins with, is ASCII.
    plain(value).for_each(|part| escape(part, out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::syslog::parse;

    /// 2026-01-02T03:04:05Z, two hours from UTC.
    const WALL_MS: u64 = 1_767_323_045_000;
    const HOST: &[u8] = b"192.0.2.7";

    fn fields(options: SyslogOptions) -> Fields {
        Fields::new(options, Box::new(|_| 7200))
    }

    fn written(options: SyslogOptions, line: &[u8]) -> String {
        let mut out = Vec::new();
        let header = parse(line);
        fields(options).write(&Came { header: header.as_ref(), line, host: HOST, wall_ms: WALL_MS }, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn plainly(line: &str) -> String {
        written(SyslogOptions::default(), line.as_bytes())
    }

    #[test]
    fn each_field_that_is_there_is_a_member_and_the_message_the_last() {
        assert_eq!(
            plainly("<165>1 2003-10-11T22:14:15.003Z gw-7 app 12 ID47 [a@1 x=\"1\" y=\"\\\"\" x=\"2\"][b] It's \"it\""),
            r#"","host":"192.0.2.7","severity":"notice","facility":"local4","time":"2003-10-11T22:14:15.003Z","hostname":"gw-7","app":"app","pid":"12","msgid":"ID47","sd":{"a@1":{"x":["1","2"],"y":"\""},"b":{}},"line":"It's \"it\""#
        );
        assert_eq!(plainly("<0>x"), r#"","host":"192.0.2.7","severity":"emerg","facility":"kern","line":"x"#);
        assert_eq!(plainly("no header"), r#"","host":"192.0.2.7","line":"no header"#);
        assert_eq!(
            written(SyslogOptions::default(), b"<0>1 - - - - - [a b=\"\xff\\]\"] \xff"),
            "\",\"host\":\"192.0.2.7\",\"severity\":\"emerg\",\"facility\":\"kern\",\"sd\":{\"a\":{\"b\":\"\u{fffd}]\"}},\"line\":\"\u{fffd}"
        );
    }

    #[test]
    fn the_host_of_a_header_is_believed_only_if_that_is_said_and_the_line_kept_only_if_asked_for() {
        let options = SyslogOptions { trust_host: true, keep_original: true, ..SyslogOptions::default() };
        assert_eq!(
            written(options, b"<0>Jan  1 00:00:00 gw-7 app: x"),
            r#"","host":"gw-7","severity":"emerg","facility":"kern","time":"2026-01-01T00:00:00+02:00","hostname":"gw-7","app":"app","original":"<0>Jan  1 00:00:00 gw-7 app: x","line":"x"#
        );
        assert_eq!(written(options, b"x"), r#"","host":"192.0.2.7","line":"x"#, "all of it is the message");
    }

    #[test]
    fn a_time_without_a_year_is_in_the_year_that_brings_it_nearest_and_has_the_zone_of_the_box() {
        let mut fields = fields(SyslogOptions::default());
        let mut whole = |month, day, hour, wall_ms| {
            let time = Local { month, day, hour, minute: 59, second: 58 };
            String::from_utf8(fields.whole(time, wall_ms).to_vec()).unwrap()
        };
        // At New Year: what comes a little late is of last year, and a clock that is a little ahead is of the next.
        assert_eq!(whole(12, 31, 23, WALL_MS), "2025-12-31T23:59:58+02:00");
        assert_eq!(whole(1, 2, 5, WALL_MS), "2026-01-02T05:59:58+02:00");
        assert_eq!(whole(1, 2, 5, WALL_MS), "2026-01-02T05:59:58+02:00", "known");
        assert_eq!(whole(1, 1, 0, WALL_MS - 2 * 86_400_000), "2026-01-01T00:59:58+02:00");
        assert_eq!(whole(7, 1, 0, WALL_MS), "2026-07-01T00:59:58+02:00");
        assert_eq!(whole(7, 5, 0, WALL_MS), "2025-07-05T00:59:58+02:00");
        // A leap day has the nearest leap year; a box whose clock stands at 1970 has some year too.
        assert_eq!(whole(2, 29, 12, WALL_MS), "2024-02-29T12:59:58+02:00");
        assert_eq!(whole(2, 29, 12, 0), "1972-02-29T12:59:58+02:00");
        fields.set_clock(Box::new(|_| -(9 * 3600 + 1800)));
        let time = Local { month: 1, day: 2, hour: 5, minute: 0, second: 0 };
        assert_eq!(&fields.whole(time, WALL_MS), b"2026-01-02T05:00:00-09:30", "the clocks were changed");
    }

    #[test]
    fn p5_no_message_becomes_more_than_is_said() {
        let all = |options| {
            let (per_byte, per_line) = most_bytes(options);
            let most = "\\".repeat(64);
            for line in [
                format!(
                    "<191>1 2003-10-11T22:14:15.000003-07:00 {most} {} {most} {} [{}] \u{1}",
                    "\"".repeat(48),
                    "\"".repeat(32),
                    "\\".repeat(32)
                ),
                "<86>Oct 11 22:14:15 h a[1]:".to_owned(),
                format!("<86>1 - - - - - {}", (0..32).map(|number| format!("[{number}]")).collect::<String>()),
                format!("<86>1 - - - - - [a{}]", " a=\"\"".repeat(64)),
                format!(
                    "<86>1 - - - - - [a{}]",
                    (0..64).map(|number| format!(" {number}=\"\u{1}\"")).collect::<String>()
                ),
                "<86>".to_owned() + &"\u{1}".repeat(200),
                "\u{1}".repeat(200),
                String::new(),
            ] {
                let (mut out, line) = (Vec::new(), line.as_bytes());
                let (header, host) = (parse(line), b"fe80:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295");
                fields(options).write(&Came { header: header.as_ref(), line, host, wall_ms: WALL_MS }, &mut out);
                let most = per_byte * line.len() + per_line;
                assert!(out.len() <= most, "{} and not {most} of {}", out.len(), line.escape_ascii());
            }
        };
        all(SyslogOptions::default());
        all(SyslogOptions { keep_original: true, trust_host: true, ..SyslogOptions::default() });
    }
}
