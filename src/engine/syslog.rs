//! What a syslog message says in its header: RFC 5424, RFC 3164, or nothing but its priority. Each is read strictly, since a
//! guess would file a line under a wrong host: what fits no grammar stays message. Invariant: nothing is allocated, and
//! reading takes time linear in the line.

use memchr::memchr;

use super::structured::data;
use crate::config::syslog::Severity;

pub use super::structured::{Data, Element, plain};

/// The byte order mark that may come before a message (RFC 5424, 6.4).
const MARK: &[u8] = b"\xef\xbb\xbf";

/// What the numbers of a facility are called, from 0 on: as rsyslog and `syslog.conf` have it.
pub(crate) const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// What the numbers of a severity stand for, from 0 on.
const SEVERITIES: [Severity; 8] = [
    Severity::Emerg,
    Severity::Alert,
    Severity::Crit,
    Severity::Err,
    Severity::Warning,
    Severity::Notice,
    Severity::Info,
    Severity::Debug,
];

/// What `<34>` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// How grave it is.
    pub severity: Severity,
    facility: u8,
}

impl Priority {
    /// The word for the part of a system that it came from: `kern` to `local7`.
    #[must_use]
    pub fn facility(self) -> &'static str {
        FACILITIES.get(usize::from(self.facility)).copied().unwrap_or_default()
    }
}

/// When the message was made, as far as it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time<'a> {
    /// It does not say.
    None,
    /// As RFC 3339 has it, with its zone.
    Whole(&'a [u8]),
    /// Without year and zone (RFC 3164).
    Local(Local),
}

/// A time of RFC 3164.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub struct Local {
    /// From 1 on.
    pub month: u8,
    /// From 1 on.
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

/// The header of a message, and the message behind it. What it does not say is `None`, or empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its priority.
    pub priority: Priority,
    /// Its time.
    pub time: Time<'a>,
    /// The host that it names. Whoever sent it may have written anything.
    pub hostname: Option<&'a [u8]>,
    /// The program.
    pub app: Option<&'a [u8]>,
    /// Its process, which need be no number.
    pub pid: Option<&'a [u8]>,
    /// The kind of the message.
    pub msgid: Option<&'a [u8]>,
    /// Structured data as it was sent, all of it valid.
    pub data: Data<'a>,
    /// The rest.
    pub message: &'a [u8],
}

/// The header of a line; `None` if it does not begin with a priority.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Header<'_>> {
    let (priority, rest) = priority(line)?;
    let bare = Header {
        priority,
        time: Time::None,
        hostname: None,
        app: None,
        pid: None,
        msgid: None,
        data: Data::default(),
        message: rest,
    };
    let mut header = rfc5424(rest, bare).or_else(|| rfc3164(rest, bare)).unwrap_or(bare);
    header.message = header.message.strip_prefix(MARK).unwrap_or(header.message);
    Some(header)
}

/// `<0>` to `<191>`, and what comes behind it.
fn priority(line: &[u8]) -> Option<(Priority, &[u8])> {
    let (number, rest) = match *line {
        [b'<', a @ b'0'..=b'9', b'>', ref rest @ ..] => (u32::from(a - b'0'), rest),
        [b'<', a @ b'1'..=b'9', b @ b'0'..=b'9', b'>', ref rest @ ..] => {
            (u32::from(a - b'0') * 10 + u32::from(b - b'0'), rest)
        }
        [b'<', b'1', b @ b'0'..=b'9', c @ b'0'..=b'9', b'>', ref rest @ ..] => {
            (100 + u32::from(b - b'0') * 10 + u32::from(c - b'0'), rest)
        }
        _ => return None,
    };
    let number = u8::try_from(number).ok().filter(|number| *number <= 191)?;
    let severity = SEVERITIES.get(usize::from(number % 8))?;
    Some((Priority { severity: *severity, facility: number / 8 }, rest))
}

/// `1 TIME HOST APP PID MSGID DATA MESSAGE`, with `-` for what is not there.
fn rfc5424<'a>(rest: &'a [u8], bare: Header<'a>) -> Option<Header<'a>> {
    let rest = rest.strip_prefix(b"1 ")?;
    let (time, rest) = word(rest, 64)?;
    let time = if time == b"-" { Time::None } else { Time::Whole(Some(time).filter(|time| is_rfc3339(time))?) };
    let (hostname, rest) = field(rest, 255)?;
    let (app, rest) = field(rest, 48)?;
    let (pid, rest) = field(rest, 128)?;
    let (msgid, rest) = field(rest, 32)?;
    let (data, rest) = match rest.strip_prefix(b"-") {
        Some(rest) => (Data::default(), rest),
        None => data(rest)?,
    };
    let message = if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? };
    Some(Header { time, hostname, app, pid, msgid, data, message, ..bare })
}

/// Up to the next space, and what is behind that; at most so many bytes, and no control characters.
fn word(text: &[u8], most: usize) -> Option<(&[u8], &[u8])> {
    let end = memchr(b' ', text.get(..=most).unwrap_or(text))?;
    let (word, rest) = text.split_at_checked(end)?;
    (end > 0 && word.iter().all(u8::is_ascii_graphic)).then(|| (word, rest.get(1..).unwrap_or_default()))
}

/// A word, or `-` for none.
fn field(text: &[u8], most: usize) -> Option<(Option<&[u8]>, &[u8])> {
    let (word, rest) = word(text, most)?;
    Some((Some(word).filter(|word| *word != b"-"), rest))
}

/// `TIME HOST APP[PID]: MESSAGE` or `TIME APP[PID]: MESSAGE`; else, behind the time, all is message.
fn rfc3164<'a>(rest: &'a [u8], bare: Header<'a>) -> Option<Header<'a>> {
    let (time, rest) = local_time(rest).or_else(|| {
        let end = memchr(b' ', rest.get(..64).unwrap_or(rest)).unwrap_or(rest.len());
        let (time, rest) = rest.split_at_checked(end)?;
        is_rfc3339(time).then_some((Time::Whole(time), rest))
    })?;
    let rest = if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? };
    let header = Header { time, message: rest, ..bare };
    if let Some((app, pid, message)) = tag(rest) {
        // Trap: what Cisco's mnemonic has before it is its host, or the zone of its time.
        let is_app = !matches!(message, [b'%', b'A'..=b'Z', ..]);
        return Some(if is_app { Header { app: Some(app), pid, message, ..header } } else { header });
    }
    let found = word(rest, 255).and_then(|(host, rest)| Some((host, tag(rest)?)));
    Some(match found {
        Some((host, (app, pid, message))) if is_host(host) => {
            Header { hostname: Some(host).filter(|host| *host != b"-"), app: Some(app), pid, message, ..header }
        }
        _ => header,
    })
}

/// Zones that devices write behind a time, where a host or an app would be.
const ZONES: [&[u8]; 17] = [
    b"UTC", b"GMT", b"WET", b"WEST", b"BST", b"CET", b"CEST", b"EET", b"EEST", b"MSK", b"EST", b"EDT", b"CST", b"CDT",
    b"MST", b"PST", b"PDT",
];

/// A name or an address; or `-` for none. A number alone is none: it is a year, or a count of messages.
fn is_host(word: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if memchr(b':', word).is_some() {
        return is_ipv6(word);
    }
    let is_number = word.iter().all(u8::is_ascii_digit);
    word == b"-" || word.iter().all(is_part) && !word.starts_with(b"-") && !is_number && !ZONES.contains(&word)
}

/// Whether this looks like an IPv6 address, with the name of an interface or without.
fn is_ipv6(word: &[u8]) -> bool {
    let (address, zone) = word.split_at_checked(memchr(b'%', word).unwrap_or(word.len())).unwrap_or_default();
    let is_part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let is_zone_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'.' | b'-' | b'_');
    address.iter().all(is_part)
        && address.iter().filter(|byte| **byte == b':').count() >= 2
        && zone.iter().all(is_zone_part)
}

/// App and pid, and what is behind them.
type Tag<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

/// `APP: ` or `APP[PID]: `; the colon may be the end.
fn tag(text: &[u8]) -> Option<Tag<'_>> {
    let len = text.iter().take(49).take_while(|byte| is_app_part(**byte)).count();
    let (app, rest) = text.split_at_checked(len).filter(|(app, _)| (1..=48).contains(&app.len()))?;
    let (pid, rest) = match rest.strip_prefix(b"[") {
        // Numbers of messages and addresses of relays stand there, too.
        None if !app.iter().any(u8::is_ascii_alphabetic) || ZONES.contains(&app) => return None,
        None => (None, rest),
        Some(rest) => {
            let end = memchr(b']', rest.get(..129).unwrap_or(rest))?;
            let (pid, rest) = rest.split_at_checked(end)?;
            (Some(pid).filter(|pid| !pid.is_empty() && pid.iter().all(u8::is_ascii_graphic)).map(Some)?, rest.get(1..)?)
        }
    };
    let rest = rest.strip_prefix(b":")?;
    Some((app, pid, if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? }))
}

/// What names of programs have. JSON, `key=value` and lists of models and versions (UniFi) are none, whatever ends them.
fn is_app_part(byte: u8) -> bool {
    let is_other = matches!(
        byte,
        b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b':' | b';' | b',' | b'=' | b'|' | b'"' | b'\'' | b'\\'
    );
    byte.is_ascii_graphic() && !is_other
}

/// `Oct 11 22:14:15`; a day of one digit has a space before it, or a zero.
fn local_time(text: &[u8]) -> Option<(Time<'_>, &[u8])> {
    const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    /// The most days that they have, in any year.
    const DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (time, rest) = text.split_first_chunk::<15>()?;
    let [m1, m2, m3, b' ', d1, d2, b' ', h1, h2, b':', n1, n2, b':', s1, s2] = *time else { return None };
    let month = MONTHS.chunks(3).position(|month| month == [m1, m2, m3])?;
    let day = number(if d1 == b' ' { b'0' } else { d1 }, d2)?;
    let (hour, minute, second) = (number(h1, h2)?, number(n1, n2)?, number(s1, s2)?);
    let is_day = (1..=*DAYS.get(month)?).contains(&day);
    let month = u8::try_from(month).ok()? + 1;
    (is_day && hour < 24 && minute < 60 && second < 60)
        .then_some((Time::Local(Local { month, day, hour, minute, second }), rest))
}

fn number(tens: u8, ones: u8) -> Option<u8> {
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
}

/// Whether this is `2003-10-11T22:14:15.003Z`: at most six digits behind the second, and `Z` or `+hh:mm` behind that.
fn is_rfc3339(time: &[u8]) -> bool {
    /// What it begins with: digits are `0`.
    const FORM: &[u8; 19] = b"0000-00-00T00:00:00";
    let Some((begin, mut rest)) = time.split_first_chunk::<19>() else { return false };
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    if !begin.iter().zip(FORM).all(fits) {
        return false;
    }
    if let Some(digits) = rest.strip_prefix(b".") {
        let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=6).contains(&len) {
            return false;
        }
        rest = digits.get(len..).unwrap_or_default();
    }
    let is_zone = match *rest {
        [b'Z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => {
            number(h1, h2).is_some_and(|hours| hours < 24) && number(m1, m2).is_some_and(|minutes| minutes < 60)
        }
        _ => false,
    };
    let at = |at: usize| number(begin[at], begin[at + 1]).unwrap_or(u8::MAX);
    is_zone && is_date(at(0), at(2), at(5), at(8)) && at(11) < 24 && at(14) < 60 && at(17) < 60
}

/// Whether a year of `century` and `year`, its month and its day are one.
fn is_date(century: u8, year: u8, month: u8, day: u8) -> bool {
    let is_leap = if year == 0 { century.is_multiple_of(4) } else { year.is_multiple_of(4) };
    let days = match month {
        2 => 28 + u8::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a line says, each field that is there as `name=value`, and the message.
    fn said(line: &str) -> String {
        let Some(header) = parse(line.as_bytes()) else { return "nothing".to_owned() };
        let mut text = format!("{}.{}", header.priority.facility(), header.priority.severity);
        match header.time {
            Time::None => {}
            Time::Whole(time) => text += &format!(" time={}", str::from_utf8(time).unwrap()),
            Time::Local(Local { month, day, hour, minute, second }) => {
                text += &format!(" time={month}-{day} {hour}:{minute}:{second}");
            }
        }
        let fields = [("host", header.hostname), ("app", header.app), ("pid", header.pid), ("msgid", header.msgid)];
        for (name, value) in fields {
            text += &value.map_or(String::new(), |value| format!(" {name}={}", str::from_utf8(value).unwrap()));
        }
        for element in header.data.elements() {
            text += &format!(" [{}", str::from_utf8(element.id).unwrap());
            for (name, value) in element.params() {
                let value: Vec<u8> = plain(value).flatten().copied().collect();
                text += &format!(" {}={}", str::from_utf8(name).unwrap(), String::from_utf8(value).unwrap());
            }
            text += "]";
        }
        text + " | " + str::from_utf8(header.message).unwrap()
    }

    #[test]
    fn p22_the_examples_of_rfc_5424_are_read() {
        for (line, expected) in [
            (
                "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8",
                "auth.crit time=2003-10-11T22:14:15.003Z host=mymachine.example.com app=su msgid=ID47 | 'su root' failed for lonvick on /dev/pts/8",
            ),
            (
                "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
                "local4.notice time=2003-08-24T05:14:15.000003-07:00 host=192.0.2.1 app=myproc pid=8710 | %% It's time to make the do-nuts.",
            ),
            (
                "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"Application\" eventID=\"1011\"] \u{feff}An application event log entry...",
                "local4.notice time=2003-10-11T22:14:15.003Z host=mymachine.example.com app=evntslog msgid=ID47 [exampleSDID@32473 iut=3 eventSource=Application eventID=1011] | An application event log entry...",
            ),
            (
                "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\"][examplePriority@32473 class=\"high\"]",
                "local4.notice time=2003-10-11T22:14:15.003Z host=mymachine.example.com app=evntslog msgid=ID47 [exampleSDID@32473 iut=3] [examplePriority@32473 class=high] | ",
            ),
            ("<0>1 - - - - - -", "kern.emerg | "),
            ("<191>1 - - - - - - x", "local7.debug | x"),
            (r#"<14>1 - h a p m [x a="\"\\\]\n" b="]"#, r#"user.info | 1 - h a p m [x a="\"\\\]\n" b="]"#),
            (
                r#"<14>1 - h a p m [x a="\"\\\]\n\\" b=""] "#,
                r#"user.info host=h app=a pid=p msgid=m [x a="\]\n\ b=] | "#,
            ),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
    }

    #[test]
    fn p22_the_examples_of_rfc_3164_and_what_devices_send_are_read() {
        for (line, expected) in [
            (
                "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
                "auth.crit time=10-11 22:14:15 host=mymachine app=su | 'su root' failed for lonvick on /dev/pts/8",
            ),
            ("<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!", "user.notice time=2-5 17:32:18 | 10.0.0.99 Use the BFG!"),
            (
                "<165>Aug 24 05:34:00 CST 1987 mymachine myproc[10]: %% It's time",
                "local4.notice time=8-24 5:34:0 | CST 1987 mymachine myproc[10]: %% It's time",
            ),
            (
                "<0>1990 Oct 22 10:52:01 TZ-6 scapegoat.dmz.example.org 10.1.2.3 sched[0]: That's All Folks!",
                "kern.emerg | 1990 Oct 22 10:52:01 TZ-6 scapegoat.dmz.example.org 10.1.2.3 sched[0]: That's All Folks!",
            ),
            // pfSense and busybox; MikroTik; ESXi; Cisco; a name in brackets.
            ("<30>Nov  6 09:01:02 filterlog[1]: 4,,,", "daemon.info time=11-6 9:1:2 app=filterlog pid=1 | 4,,,"),
            (
                "<30>Nov  6 09:01:02 router system,info user in",
                "daemon.info time=11-6 9:1:2 | router system,info user in",
            ),
            (
                "<166>2026-11-26T14:44:46.003Z esx1 Hostd: info hostd[1]: x",
                "local4.info time=2026-11-26T14:44:46.003Z host=esx1 app=Hostd | info hostd[1]: x",
            ),
            (
                "<189>29: *Mar  1 18:48:50.483 UTC: %SYS-5-CONFIG_I: x",
                "local7.notice | 29: *Mar  1 18:48:50.483 UTC: %SYS-5-CONFIG_I: x",
            ),
            ("<30>Nov 06 09:01:02 fe80::1%2 a/b[x y]: z", "daemon.info time=11-6 9:1:2 | fe80::1%2 a/b[x y]: z"),
            ("<30>Nov 16 09:01:02 fe80::1%2 a/b: z", "daemon.info time=11-16 9:1:2 host=fe80::1%2 app=a/b | z"),
            ("<30>Nov 16 09:01:02 - a: z", "daemon.info time=11-16 9:1:2 app=a | z"),
            ("<30>Nov 16 09:01:02 h a:z", "daemon.info time=11-16 9:1:2 | h a:z"),
            ("<30>Nov 16 09:01:02 h a[1]:", "daemon.info time=11-16 9:1:2 host=h app=a pid=1 | "),
            ("<30>Nov 16 09:01:02 h a[]: z", "daemon.info time=11-16 9:1:2 | h a[]: z"),
            ("<30>Nov 16 09:01:02", "daemon.info time=11-16 9:1:2 | "),
            ("<30>Nov 16 09:01:02 (\"U7\",1) a: z", "daemon.info time=11-16 9:1:2 | (\"U7\",1) a: z"),
            ("<30>message alone", "daemon.info | message alone"),
            ("<30>", "daemon.info | "),
        ] {
            assert_eq!(said(line), expected, "{line}");
        }
    }

    /// As each device sends it: out of its manual, out of questions about it, or off its wire. And what is said of it.
    const DEVICES: &[(&str, &str)] = &[
        // Cisco IOS: a number, a clock that is not set, milliseconds, a zone, its own name; relayed with an address.
        (
            "<189>4455: Nov 16 09:01:02: %SYS-5-CONFIG_I: Configured",
            "local7.notice | 4455: Nov 16 09:01:02: %SYS-5-CONFIG_I: Configured",
        ),
        ("<189>4455: sw1: Nov 16 09:01:02 UTC: %SYS-5: x", "local7.notice | 4455: sw1: Nov 16 09:01:02 UTC: %SYS-5: x"),
        ("<189>Nov 16 09:01:02.123: %SYS-5: x", "local7.notice | Nov 16 09:01:02.123: %SYS-5: x"),
        ("<189>Nov 16 09:01:02 UTC: %SYS-5: x", "local7.notice time=11-16 9:1:2 | UTC: %SYS-5: x"),
        ("<189>Nov 16 09:01:02 AEST: %SYS-5: x", "local7.notice time=11-16 9:1:2 | AEST: %SYS-5: x"),
        ("<189>Nov 16 09:01:02 sw1: %SYS-5: x", "local7.notice time=11-16 9:1:2 | sw1: %SYS-5: x"),
        ("<189>Nov 16 09:01:02 CET app[1]: x", "local7.notice time=11-16 9:1:2 | CET app[1]: x"),
        (
            "<189>Nov 16 09:01:02 10.1.1.1 4455: Nov 16 09:01:01: %SYS-5: x",
            "local7.notice time=11-16 9:1:2 | 10.1.1.1 4455: Nov 16 09:01:01: %SYS-5: x",
        ),
        (
            "<189>Nov 16 09:01:02 sw1 %LINK-3-UPDOWN: Interface",
            "local7.notice time=11-16 9:1:2 host=sw1 app=%LINK-3-UPDOWN | Interface",
        ),
        (
            "<189>: 2026 Nov 16 09:01:02 UTC: %ETHPORT-5-IF_DOWN: x",
            "local7.notice | : 2026 Nov 16 09:01:02 UTC: %ETHPORT-5-IF_DOWN: x",
        ),
        // Cisco ASA: with a year, with a device-id, with EMBLEM, with times of RFC 5424.
        ("<166>Nov 16 2026 09:01:02: %ASA-6-1: x", "local4.info | Nov 16 2026 09:01:02: %ASA-6-1: x"),
        ("<166>Nov 16 2026 09:01:02 asa : %ASA-6-1: x", "local4.info | Nov 16 2026 09:01:02 asa : %ASA-6-1: x"),
        ("<166>:Nov 16 09:01:02 UTC: %ASA-6-1: x", "local4.info | :Nov 16 09:01:02 UTC: %ASA-6-1: x"),
        ("<166>Nov 16 09:01:02 asa : %ASA-6-1: x", "local4.info time=11-16 9:1:2 | asa : %ASA-6-1: x"),
        ("<166>2026-11-16T09:01:02Z asa : %ASA-6-1: x", "local4.info time=2026-11-16T09:01:02Z | asa : %ASA-6-1: x"),
        ("<166>2026-11-16T09:01:02Z: %ASA-6-1: x", "local4.info | 2026-11-16T09:01:02Z: %ASA-6-1: x"),
        (
            "<189>Nov 16 09:01:02 sw1 Ebra: %LINEPROTO-5-UPDOWN: x",
            "local7.notice time=11-16 9:1:2 host=sw1 app=Ebra | %LINEPROTO-5-UPDOWN: x",
        ),
        // Fortinet, also a relayed one.
        (
            "<189>date=2026-11-16 time=09:01:02 devname=\"FG1\" devid=\"F\" msg=\"a: b\"",
            "local7.notice | date=2026-11-16 time=09:01:02 devname=\"FG1\" devid=\"F\" msg=\"a: b\"",
        ),
        (
            "<189>Nov 16 09:01:02 fg1 date=2026-11-16 time=09:01:02 msg=a: b",
            "local7.notice time=11-16 9:1:2 | fg1 date=2026-11-16 time=09:01:02 msg=a: b",
        ),
        ("<189>Nov 16 09:01:02 fg1 msg=a: b", "local7.notice time=11-16 9:1:2 | fg1 msg=a: b"),
        // pfSense and OPNsense, in both forms.
        (
            "<134>1 2026-11-16T09:01:02.003456+01:00 pfSense.home.arpa filterlog 81 - - 4,,,1",
            "local0.info time=2026-11-16T09:01:02.003456+01:00 host=pfSense.home.arpa app=filterlog pid=81 | 4,,,1",
        ),
        (
            "<134>1 2026-11-16T09:01:02+01:00 OPNsense.localdomain filterlog 81 - [meta sequenceId=\"7\"] 4,,,1",
            "local0.info time=2026-11-16T09:01:02+01:00 host=OPNsense.localdomain app=filterlog pid=81 [meta sequenceId=7] | 4,,,1",
        ),
        ("<30>Nov 16 09:01:02 (squid-1)[12]: x", "daemon.info time=11-16 9:1:2 app=(squid-1) pid=12 | x"),
        // UniFi: models, addresses and versions, with a name before them and without; a switch; CEF.
        (
            "<30>Nov 16 09:01:02 (\"U7PG2,f09fc2000001,v4.0.66.10832\") hostapd: ath1: x",
            "daemon.info time=11-16 9:1:2 | (\"U7PG2,f09fc2000001,v4.0.66.10832\") hostapd: ath1: x",
        ),
        (
            "<30>Nov 16 09:01:02 U7PG2,f09fc2000001,v4.3.20.11298: hostapd: ath0: x",
            "daemon.info time=11-16 9:1:2 | U7PG2,f09fc2000001,v4.3.20.11298: hostapd: ath0: x",
        ),
        (
            "<30>Nov 16 09:01:02 Attic f09fc2000001,U7PG2-4.3.28.11361: hostapd[12]: ath0: x",
            "daemon.info time=11-16 9:1:2 | Attic f09fc2000001,U7PG2-4.3.28.11361: hostapd[12]: ath0: x",
        ),
        (
            "<14>Nov 16 09:01:02 US-8 switch: TRAPMGR: Link Up: 0/1",
            "user.info time=11-16 9:1:2 host=US-8 app=switch | TRAPMGR: Link Up: 0/1",
        ),
        (
            "<14>Nov 16 09:01:02 UDM CEF:0|Ubiquiti|UniFi Network|9|400|a: b|1|",
            "user.info time=11-16 9:1:2 | UDM CEF:0|Ubiquiti|UniFi Network|9|400|a: b|1|",
        ),
        // MikroTik, with and without the form of BSD.
        ("system,info,account user admin logged in", "nothing"),
        (
            "<30>Nov 16 09:01:02 MikroTik firewall,info forward: in:ether1 out:ether2",
            "daemon.info time=11-16 9:1:2 | MikroTik firewall,info forward: in:ether1 out:ether2",
        ),
        ("<30>Nov 16 09:01:02 MikroTik script,info: x", "daemon.info time=11-16 9:1:2 | MikroTik script,info: x"),
        // ESXi; Synology; Juniper; HP ProCurve; Aruba; AIX; a relay's address.
        (
            "<181>2026-11-16T09:01:02.041Z esx1.lan vmkernel: cpu4:32774)ScsiDeviceIO: x",
            "local6.notice time=2026-11-16T09:01:02.041Z host=esx1.lan app=vmkernel | cpu4:32774)ScsiDeviceIO: x",
        ),
        (
            "<166>2026-11-16T09:01:02.041Z esx1 Hostd[2099]: info hostd[2099]: x",
            "local4.info time=2026-11-16T09:01:02.041Z host=esx1 app=Hostd pid=2099 | info hostd[2099]: x",
        ),
        (
            "<14>Nov 16 09:01:02 DiskStation Connection: User [admin] from [192.0.2.1] signed in.",
            "user.info time=11-16 9:1:2 host=DiskStation app=Connection | User [admin] from [192.0.2.1] signed in.",
        ),
        (
            "<14>Nov 16 09:01:02 DiskStation WinFileService Event: delete, Path: /a",
            "user.info time=11-16 9:1:2 | DiskStation WinFileService Event: delete, Path: /a",
        ),
        (
            "<14>1 2026-11-16T09:01:02.003Z srx RT_FLOW - RT_FLOW_SESSION_CREATE [junos@2636.1.1.1.2.36 source-address=\"192.0.2.1\"] x",
            "user.info time=2026-11-16T09:01:02.003Z host=srx app=RT_FLOW msgid=RT_FLOW_SESSION_CREATE [junos@2636.1.1.1.2.36 source-address=192.0.2.1] | x",
        ),
        (
            "<14>Nov 16 09:01:02 192.0.2.5 00076 ports: port 1 is now on-line",
            "user.info time=11-16 9:1:2 | 192.0.2.5 00076 ports: port 1 is now on-line",
        ),
        ("<14>Nov 16 09:01:02 00076 ports: port 1", "user.info time=11-16 9:1:2 | 00076 ports: port 1"),
        ("<141>Nov 16 09:01:02 2026 stm[12]: <501106> x", "local1.notice time=11-16 9:1:2 | 2026 stm[12]: <501106> x"),
        (
            "<38>Nov 16 09:01:02 Message forwarded from aix1: sshd[12]: x",
            "auth.info time=11-16 9:1:2 | Message forwarded from aix1: sshd[12]: x",
        ),
        ("<38>Nov 16 09:01:02 relay 192.0.2.7: x", "auth.info time=11-16 9:1:2 | relay 192.0.2.7: x"),
        // HAProxy and nginx.
        (
            "<134>Nov 16 09:01:02 haproxy[12]: 192.0.2.1:5000 [16/Nov/2026:09:01:02.003] a b/c 0/0/0/1/1 200 1 - -",
            "local0.info time=11-16 9:1:2 app=haproxy pid=12 | 192.0.2.1:5000 [16/Nov/2026:09:01:02.003] a b/c 0/0/0/1/1 200 1 - -",
        ),
        (
            "<134>1 2026-11-16T09:01:02.003456+01:00 lb1 haproxy 12 - - x",
            "local0.info time=2026-11-16T09:01:02.003456+01:00 host=lb1 app=haproxy pid=12 | x",
        ),
        (
            "<190>Nov 16 09:01:02 web1 nginx: 192.0.2.1 - - [16/Nov/2026:09:01:02 +0100] \"GET / HTTP/1.1\" 200",
            "local7.info time=11-16 9:1:2 host=web1 app=nginx | 192.0.2.1 - - [16/Nov/2026:09:01:02 +0100] \"GET / HTTP/1.1\" 200",
        ),
        ("<190>Nov 16 09:01:02 nginx: x", "local7.info time=11-16 9:1:2 app=nginx | x"),
        // JSON, with a host and without.
        ("<190>Nov 16 09:01:02 web1 {\"a\": 1}", "local7.info time=11-16 9:1:2 | web1 {\"a\": 1}"),
        ("<190>Nov 16 09:01:02 {\"a\": 1}", "local7.info time=11-16 9:1:2 | {\"a\": 1}"),
        ("<190>Nov 16 09:01:02 nginx: {\"a\": 1}", "local7.info time=11-16 9:1:2 app=nginx | {\"a\": 1}"),
        // busybox, and what the kernel says; syslogd's own.
        ("<13>Nov 16 09:01:02 root: x", "user.notice time=11-16 9:1:2 app=root | x"),
        (
            "<6>Nov 16 09:01:02 ap kernel: [   12.3] eth0: up",
            "kern.info time=11-16 9:1:2 host=ap app=kernel | [   12.3] eth0: up",
        ),
        ("<46>Nov 16 09:01:02 ap -- MARK --", "syslog.info time=11-16 9:1:2 | ap -- MARK --"),
        (
            "<30>Nov 16 09:01:02 ap last message repeated 3 times",
            "daemon.info time=11-16 9:1:2 | ap last message repeated 3 times",
        ),
        (
            "<86>Nov 16 09:01:02 box sudo:    me : TTY=pts/0",
            "authpriv.info time=11-16 9:1:2 host=box app=sudo |    me : TTY=pts/0",
        ),
        (
            "<22>Nov 16 09:01:02 mail postfix/smtpd[12]: connect",
            "mail.info time=11-16 9:1:2 host=mail app=postfix/smtpd pid=12 | connect",
        ),
        // systemd-netlogd; Docker: default, rfc3164, rfc5424, rfc5424micro; its names of containers may be numbers.
        (
            "<30>1 2026-11-16T09:01:02.003456+01:00 box systemd 1 - - Started x.",
            "daemon.info time=2026-11-16T09:01:02.003456+01:00 host=box app=systemd pid=1 | Started x.",
        ),
        (
            "<30>2026-11-16T09:01:02+01:00 box 3f4e5d6c7b8a[987]: x: y",
            "daemon.info time=2026-11-16T09:01:02+01:00 host=box app=3f4e5d6c7b8a pid=987 | x: y",
        ),
        (
            "<30>Nov 16 09:01:02 box 314159265358[987]: x",
            "daemon.info time=11-16 9:1:2 host=box app=314159265358 pid=987 | x",
        ),
        ("<30>Nov 16 09:01:02 docker/web[987]: x", "daemon.info time=11-16 9:1:2 app=docker/web pid=987 | x"),
        (
            "<30>1 2026-11-16T09:01:02.003456Z box web/3f4e 987 web/3f4e - x",
            "daemon.info time=2026-11-16T09:01:02.003456Z host=box app=web/3f4e pid=987 msgid=web/3f4e | x",
        ),
        // Windows: NXLog, Snare with tabs, and the same by name alone.
        (
            "<14>Nov 16 09:01:02 WIN-1 Microsoft-Windows-Security-Auditing[600]: An account was logged off.",
            "user.info time=11-16 9:1:2 host=WIN-1 app=Microsoft-Windows-Security-Auditing pid=600 | An account was logged off.",
        ),
        (
            "<14>1 2026-11-16T09:01:02.003456+01:00 WIN-1 Service_Control_Manager 600 - [NXLOG@14506 EventID=\"7036\" SourceName=\"Service Control Manager\"] x",
            "user.info time=2026-11-16T09:01:02.003456+01:00 host=WIN-1 app=Service_Control_Manager pid=600 [NXLOG@14506 EventID=7036 SourceName=Service Control Manager] | x",
        ),
        (
            "<14>Nov 16 09:01:02 WIN-1 MSWinEventLog\t1\tSecurity\t600\tMon: x",
            "user.info time=11-16 9:1:2 | WIN-1 MSWinEventLog\t1\tSecurity\t600\tMon: x",
        ),
        ("<14>WIN-1\tMSWinEventLog\t1: x", "user.info | WIN-1\tMSWinEventLog\t1: x"),
        // No addresses, though they have colons.
        ("<14>Nov 16 09:01:02 error:5 code: x", "user.info time=11-16 9:1:2 | error:5 code: x"),
        ("<14>Nov 16 09:01:02 12:34 code: x", "user.info time=11-16 9:1:2 | 12:34 code: x"),
        (
            "<14>Nov 16 09:01:02 ::ffff:192.0.2.1 code: x",
            "user.info time=11-16 9:1:2 host=::ffff:192.0.2.1 app=code | x",
        ),
    ];

    #[test]
    fn p22_no_device_is_given_a_wrong_host_or_app() {
        for (line, expected) in DEVICES {
            assert_eq!(said(line), *expected, "{line}");
        }
    }

    #[test]
    fn p22_what_fits_no_grammar_stays_message() {
        for line in ["", "<", "<>x", "<00>x", "<192>x", "<200>x", "<034>x", "<1234>x", "< 4>x", "x<34>y", "<3", "<3x>"]
        {
            assert_eq!(said(line), "nothing", "{line}");
        }
        let long = |part: &str, count: usize| part.repeat(count);
        let ids = |count: u32| (0..count).map(|number| format!("[e{number}]")).collect::<String>();
        for rest in [
            "1 2003-10-11T22:14:15.0000003Z h a p m - x".to_owned(),
            "1 2003-10-11T22:14:15.Z h a p m - x".to_owned(),
            "1 2003-10-11t22:14:15Z h a p m - x".to_owned(),
            "1 2003-10-11T22:14:60Z h a p m - x".to_owned(),
            "1 2003-10-11T24:14:15Z h a p m - x".to_owned(),
            "1 2003-02-29T22:14:15Z h a p m - x".to_owned(),
            "1 2003-13-01T22:14:15Z h a p m - x".to_owned(),
            "1 2003-10-11T22:14:15+25:00 h a p m - x".to_owned(),
            "1 2003-10-11T22:14:15 h a p m - x".to_owned(),
            "2 - h a p m - x".to_owned(),
            "01 - h a p m - x".to_owned(),
            "1  - h a p m - x".to_owned(),
            "1 - h\u{e9} a p m - x".to_owned(),
            format!("1 - {} a p m - x", long("h", 256)),
            format!("1 - h {} p m - x", long("a", 49)),
            format!("1 - h a {} m - x", long("p", 129)),
            format!("1 - h a p {} - x", long("m", 33)),
            "1 - h a p m -x".to_owned(),
            "1 - h a p m [] x".to_owned(),
            "1 - h a p m [a][a] x".to_owned(),
            "1 - h a p m [a b] x".to_owned(),
            "1 - h a p m [a  b=\"c\"] x".to_owned(),
            "1 - h a p m [a b=\"c]\"] x".to_owned(),
            "1 - h a p m [a b=\"c\\".to_owned(),
            "1 - h a p m [a b=c] x".to_owned(),
            "1 - h a p m [a b=\"c\"]x".to_owned(),
            format!("1 - h a p m [{}] x", long("i", 33)),
            format!("1 - h a p m {} x", ids(33)),
            format!("1 - h a p m [a{}] x", long(" b=\"\"", 65)),
            "Oct 32 22:14:15 h a: x".to_owned(),
            "Oct  0 22:14:15 h a: x".to_owned(),
            "Feb 30 22:14:15 h a: x".to_owned(),
            "oct 11 22:14:15 h a: x".to_owned(),
            "Oct 11 24:14:15 h a: x".to_owned(),
            "Oct 11 22:14:15: h a: x".to_owned(),
            "Oct 11 22:14 h a: x".to_owned(),
        ] {
            assert_eq!(said(&format!("<30>{rest}")), format!("daemon.info | {rest}"));
        }
        // As much as fits.
        for rest in [
            format!("1 - {} {} {} {} - x", long("h", 255), long("a", 48), long("p", 128), long("m", 32)),
            format!("1 - h a p m {} x", ids(32)),
            format!("1 - h a p m [{}{}] x", long("i", 32), long(" b=\"\"", 64)),
            "1 2004-02-29T22:14:15.123456+23:59 h a p m - x".to_owned(),
            format!("Oct 11 22:14:15 {} {}[{}]: x", long("h", 255), long("a", 48), long("p", 128)),
        ] {
            assert!(said(&format!("<30>{rest}")).ends_with(" | x"), "{rest}");
        }
        assert!(
            said(&format!("<30>Oct 11 22:14:15 {}: x", long("a", 49)))
                .starts_with("daemon.info time=10-11 22:14:15 | a")
        );
    }
}
