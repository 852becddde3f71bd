//! The reader of syslog headers beside a naive twin, written from RFC 5424, RFC 3164 and our own rules in another way:
//! texts, splits and one character at a time. Any bytes are a message; others are put together of parts that are right and
//! parts that are nearly so. Then all of them go through a formatter as one block, and each line of its JSON says what the
//! twin says, and is never longer than the overhead says (P5).

use std::fmt;
use std::net::Ipv6Addr;

use lumberjack::internals::format::Formatter;
use lumberjack::internals::syslog::{self, Local, Time};
use lumberjack::{Format, Lines, Origin, Parse, Peer, Severity, SyslogOptions};

use super::{Script, Shown, Story, assert_same_bytes};

/// Times, right ones first.
const TIMES: [&str; 25] = [
    "2003-10-11T22:14:15.003Z",
    "2003-08-24T05:14:15.000003-07:00",
    "2024-02-29T23:59:59+23:59",
    "2000-02-29T00:00:00Z",
    "Oct 11 22:14:15",
    "Jan  1 00:00:00",
    "Dec 31 23:59:59",
    "Feb 29 12:00:00",
    "Nov 06 09:01:02",
    "-",
    "2023-02-29T00:00:00Z",
    "1900-02-29T00:00:00Z",
    "2003-10-11T22:14:15.0000003Z",
    "2003-10-11T22:14:15.Z",
    "2003-10-11T22:14:60Z",
    "2003-10-11T24:14:15Z",
    "2003-13-11T22:14:15Z",
    "2003-10-11T22:14:15+24:00",
    "2003-10-11T22:14:15Z07:00",
    "2003-10-11t22:14:15Z",
    "2003-10-11T22:14:15",
    "Feb 30 12:00:00",
    "Oct  0 22:14:15",
    "oct 11 22:14:15",
    "Oct 11 22:14:15.003",
];

/// What stands between spaces.
const WORDS: [&str; 28] = [
    "-",
    "gw-7",
    "192.0.2.7",
    "fe80::1%eth0",
    "::ffff:192.0.2.1",
    "app",
    "postfix/smtpd",
    "12",
    "ID47",
    "2026",
    "UTC",
    "-x",
    "a:b",
    "12:34",
    "a,b",
    "a=b",
    "{\"a\"",
    "(squid-1)",
    "app[12]:",
    "app:",
    "app[]:",
    "app[1 2]:",
    "a:b:",
    "%SYS-5-CONFIG_I:",
    "4455:",
    "UTC:",
    "\u{e9}",
    "",
];

/// Structured data, piece by piece.
const DATA: [&str; 22] = [
    "-",
    "[a]",
    "[a@32473 b=\"1\"]",
    "[b c=\"x\" c=\"y\" d=\"z\" c=\"\"]",
    "[e f=\"\\\"\\\\\\]\"]",
    "[g h=\"\\n\\\\\"]",
    "[i j=\"\u{e9}\u{1}\"]",
    "[",
    "]",
    "k",
    " l=\"m\"",
    " l=\"n\"",
    " l=\"",
    "\"",
    "\\",
    "\\\"",
    "\\]",
    "=",
    " ",
    "[]",
    "[o  p=\"q\"]",
    "[r s=t]",
];

/// Messages.
const MESSAGES: [&str; 8] =
    ["It's \"it\"", "\u{feff}marked", "\u{feff}", "%SYS-5: x", " two", "a\tb\\", "app[1]: x: y", ""];

/// How one formatter is set up, who sends, and when.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) format: Format,
    pub(crate) options: SyslogOptions,
    pub(crate) peer: Peer,
    pub(crate) wall_ms: u64,
    /// How far the clocks of the box are from UTC, in seconds.
    pub(crate) offset: i64,
}

/// Structured data by ID; and by name the values.
pub(crate) type Elements = Vec<(String, Params)>;
pub(crate) type Params = Vec<(String, Vec<String>)>;

/// A time, as the twin has it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum When {
    Whole(String),
    /// Month, day, and the second of the day.
    Local(i64, i64, i64),
}

/// What the twin reads. Each byte of the line is a character, by its number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Said {
    severity: usize,
    facility: usize,
    time: Option<When>,
    hostname: Option<String>,
    app: Option<String>,
    pid: Option<String>,
    msgid: Option<String>,
    sd: Elements,
    message: String,
}

/// A value of a member of the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Object(Elements),
}

/// One line of the output, and what the twin says of it.
pub(crate) struct Written<'a> {
    /// Members but `ts` and `peer`, in order; only of JSON.
    pub(crate) members: Vec<(&'static str, Value)>,
    /// With its `\n`.
    pub(crate) out: &'a [u8],
}

/// Decodes a setup and lines, and compares; `also` looks at each line of the output.
pub(crate) fn run(input: &[u8], also: &mut dyn FnMut(&Setup, &Written<'_>)) {
    let mut script = Script::new(input);
    let setup = setup(&mut script);
    let mut lines = Vec::new();
    while !script.is_over() {
        lines.push(line(&mut script));
    }
    let cut = lines.first().map_or(0, |line| input.len() % (line.len() + 1));
    compare(&setup, &lines, cut, also);
}

impl Setup {
    /// JSON with nothing left out.
    pub(crate) fn plain() -> Self {
        let (options, peer) = (SyslogOptions::default(), Peer::V4 { ip: [192, 0, 2, 7], port: 514 });
        Self { format: Format::Json, options, peer, wall_ms: 1_767_323_045_000, offset: 7200 }
    }
}

fn setup(script: &mut Script<'_>) -> Setup {
    let (choice, least) = (script.byte(), script.byte());
    let mut options = SyslogOptions::default();
    options.keep_original = choice & 1 != 0;
    options.trust_host = choice & 2 != 0;
    options.min_severity = Severity::WORDS.get(usize::from(least % 16)).map(|word| word.parse().unwrap());
    let format = [Format::Json, Format::Json, Format::Peer, Format::Raw][usize::from(choice >> 2 & 3)];
    let (number, wall_ms) = (script.wide(32), script.wide(42));
    let ip = u32::try_from(number.min(u64::from(u32::MAX))).unwrap().to_be_bytes();
    let peer = match choice >> 4 & 1 {
        0 => Peer::V4 { ip, port: 514 },
        _ => Peer::V6 { ip: Ipv6Addr::from(u128::from(number) << 90 | 7).octets(), port: 514, scope: 0 },
    };
    let offset = [0, 3600, 7200, -34_200, 50_400, -43_200][script.below(6)];
    Setup { format, options, peer, wall_ms, offset }
}

fn line(script: &mut Script<'_>) -> Vec<u8> {
    let kind = script.byte();
    let text = match kind % 8 {
        0 => return without_newlines(script.take(usize::from(kind / 8))),
        1 => format!("<{}>", script.byte()) + one(script, &MESSAGES),
        2..=4 => new_header(script),
        _ => old_header(script),
    };
    let mut line = text.into_bytes();
    // Sometimes one byte is another.
    if kind >= 200 && !line.is_empty() {
        let at = script.below(256) % line.len();
        line[at] = script.byte();
    }
    without_newlines(&line)
}

fn without_newlines(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| *byte != b'\n').collect()
}

fn one<'a>(script: &mut Script<'_>, parts: &[&'a str]) -> &'a str {
    parts[script.below(parts.len())]
}

/// Now and then one as long as the grammar lets it be, or one byte longer.
fn word(script: &mut Script<'_>) -> String {
    match script.byte() {
        byte @ 250.. => "w".repeat([32, 33, 48, 49, 128, 129, 255][usize::from(byte) % 7]),
        byte => WORDS[usize::from(byte) % WORDS.len()].to_owned(),
    }
}

fn new_header(script: &mut Script<'_>) -> String {
    // Mostly the times that belong there.
    let time = TIMES[[0, 1, 2, 3, 9, script.below(TIMES.len())][script.below(6)]];
    let words: Vec<String> = (0..4).map(|_| word(script)).collect();
    let count = script.byte();
    let data: String = match count {
        250.. => (0..count - 220).map(|number| format!("[{number}]")).collect(),
        240.. => format!("[a{}]", " b=\"\"".repeat(usize::from(count) - 240 + 60)),
        _ => (0..1 + count % 4).map(|_| one(script, &DATA)).collect(),
    };
    let space = [" ", " ", " ", "", "  "][script.below(5)];
    let rest = format!("1 {time} {} {data}{space}{}", words.join(" "), one(script, &MESSAGES));
    format!("<{}>{rest}", script.byte())
}

fn old_header(script: &mut Script<'_>) -> String {
    let time = TIMES[[4, 5, 6, 7, 8, script.below(TIMES.len())][script.below(6)]];
    let mut words: Vec<String> = (0..script.below(3)).map(|_| word(script)).collect();
    let tag = [&word(script), "app:", "app[12]:", "a:", "%A-1-B:", "sw1:"][script.below(6)].to_owned();
    words.push(tag);
    let rest = format!("{time} {} {}", words.join(" "), one(script, &MESSAGES));
    format!("<{}>{rest}", script.byte())
}

/// Reads each line, then formats all of them as one block, the first of which was cut at `cut`; and compares.
pub(crate) fn compare(setup: &Setup, lines: &[Vec<u8>], cut: usize, also: &mut dyn FnMut(&Setup, &Written<'_>)) {
    let shown: Vec<Shown<'_>> = lines.iter().map(|line| Shown(line)).collect();
    let _story = Story(&(setup, &shown));
    for line in lines {
        assert_eq!(really(line), twin(&text_of(line)), "{:?}", Shown(line));
    }
    let mut formatter = Formatter::new(setup.format, "", false);
    let offset = setup.offset;
    formatter.read_syslog(setup.options, Box::new(move |_| offset));
    let bytes: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
    let (head, body) = bytes.split_at(cut.min(bytes.len()));
    let mut out = Vec::new();
    let block = Lines { head, body, count: lines.len() as u64, ended: true };
    let origin = Origin { peer: &setup.peer, wall_ms: setup.wall_ms, parse: Parse::Syslog };
    let kept = if lines.is_empty() { 0 } else { formatter.write(&origin, block, &mut out) };
    let mut rest = out.as_slice();
    let mut left = 0;
    for line in lines {
        let said = twin(&text_of(line));
        let least = setup.options.min_severity.map_or(7, |least| least as usize);
        if said.as_ref().is_some_and(|said| said.severity > least) {
            left += 1;
            continue;
        }
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        let (written, behind) = rest.split_at(end);
        rest = behind;
        let at_most = formatter.overhead().at_most(line.len(), 1);
        assert!(written.len() <= at_most, "{} bytes, and not {at_most}, from {}", written.len(), line.len());
        compare_line(setup, line, said.as_ref(), written, also);
    }
    assert_same_bytes("more than the lines", rest, b"");
    assert_eq!(kept, lines.len() as u64 - left, "how many were written");
}

fn compare_line(
    setup: &Setup,
    line: &[u8],
    said: Option<&Said>,
    out: &[u8],
    also: &mut dyn FnMut(&Setup, &Written<'_>),
) {
    let ending = [line, b"\n"].concat();
    match setup.format {
        Format::Raw => return assert_same_bytes("a line", out, &ending),
        Format::Peer => {
            let behind = format!("Z {} ", setup.peer).into_bytes();
            let start = out.len() - ending.len() - behind.len();
            return assert_same_bytes("a line", &out[start..], &[behind, ending].concat());
        }
        _ => {}
    }
    let members = members(setup, line, said);
    let start = out.iter().position(|byte| *byte == b',').unwrap_or(0);
    let text: String = members.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
    let expected = format!(",\"peer\":\"{}\"{text}}}\n", setup.peer);
    assert_same_bytes("a line", &out[start..], expected.as_bytes());
    also(setup, &Written { members, out });
}

/// What the object of a line is to have.
fn members(setup: &Setup, line: &[u8], said: Option<&Said>) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::Text(unicode(text));
    let address = match setup.peer {
        Peer::V4 { ip: [a, b, c, d], .. } => format!("{a}.{b}.{c}.{d}"),
        Peer::V6 { ip, .. } => Ipv6Addr::from(ip).to_string(),
        other => other.to_string(),
    };
    let Some(said) = said else {
        return vec![("host", Value::Text(address)), ("line", text(&text_of(line)))];
    };
    let host = said.hostname.as_ref().filter(|_| setup.options.trust_host).unwrap_or(&address);
    let severities = "emerg alert crit err warning notice info debug";
    let facilities = "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock local0 local1 local2 local3 local4 local5 local6 local7";
    let nth = |words: &str, number: usize| Value::Text(words.split(' ').nth(number).unwrap().to_owned());
    let mut members = vec![
        ("host", text(host)),
        ("severity", nth(severities, said.severity)),
        ("facility", nth(facilities, said.facility)),
    ];
    let time = said.time.as_ref().map(|time| match time {
        When::Whole(time) => time.clone(),
        When::Local(month, day, second) => nearest(setup, *month, *day, *second),
    });
    let words = [("time", &time), ("hostname", &said.hostname), ("app", &said.app), ("pid", &said.pid)];
    for (name, value) in words.into_iter().chain([("msgid", &said.msgid)]) {
        members.extend(value.as_ref().map(|value| (name, text(value))));
    }
    if !said.sd.is_empty() {
        members.push(("sd", Value::Object(said.sd.clone())));
    }
    if setup.options.keep_original {
        members.push(("original", text(&text_of(line))));
    }
    members.push(("line", text(&said.message)));
    members
}

/// Tries the years around, and takes the nearest.
fn nearest(setup: &Setup, month: i64, day: i64, second: i64) -> String {
    let near = i64::try_from(setup.wall_ms / 1000).unwrap();
    let this_year = 1970 + near / 31_556_952;
    // A box whose clock stands at its beginning knows no year before that.
    let years = (1970.max(this_year - 9)..this_year + 10).filter(|year| day <= days_of(*year, month));
    let away = |year: &i64| (days_since_1970(*year, month, day) * 86_400 + second - setup.offset - near).abs();
    let year = years.min_by_key(away).unwrap();
    let (sign, minutes) = (if setup.offset < 0 { '-' } else { '+' }, setup.offset.abs() / 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{sign}{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60,
        minutes / 60,
        minutes % 60
    )
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (first, last) = (year.min(1970), year.max(1970));
    let between: i64 = (first..last).map(|year| (1..13).map(|month| days_of(year, month)).sum::<i64>()).sum();
    let before: i64 = (1..month).map(|month| days_of(year, month)).sum();
    (if year < 1970 { -between } else { between }) + before + day - 1
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Object(elements) => {
                let value = |values: &Vec<String>| {
                    let texts: Vec<String> = values.iter().map(|value| quoted(&unicode(value))).collect();
                    if texts.len() == 1 { texts[0].clone() } else { format!("[{}]", texts.join(",")) }
                };
                let param = |(name, values): &(String, Vec<String>)| format!("{}:{}", quoted(name), value(values));
                let element = |(id, params): &(String, Params)| {
                    let params: Vec<String> = params.iter().map(param).collect();
                    format!("{}:{{{}}}", quoted(id), params.join(","))
                };
                let elements: Vec<String> = elements.iter().map(element).collect();
                write!(f, "{{{}}}", elements.join(","))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        '\t' => "\\t".to_owned(),
        '\0'..' ' => format!("\\u{:04x}", u32::from(c)),
        _ => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// A character for each byte, by its number.
fn text_of(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn bytes_of(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap()).collect()
}

/// What these bytes are as UTF-8.
pub(crate) fn unicode(text: &str) -> String {
    String::from_utf8_lossy(&bytes_of(text)).into_owned()
}

/// What is really read, in the form of the twin.
fn really(line: &[u8]) -> Option<Said> {
    let header = syslog::parse(line)?;
    let said = |bytes: &[u8]| text_of(bytes);
    let mut sd = Vec::new();
    for element in header.data.elements() {
        let mut params = Params::new();
        for (name, value) in element.params() {
            let value = said(&syslog::plain(value).collect::<Vec<_>>().concat());
            add(&mut params, said(name), value);
        }
        sd.push((said(element.id), params));
    }
    let facilities = "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock local0 local1 local2 local3 local4 local5 local6 local7";
    Some(Said {
        severity: header.priority.severity as usize,
        facility: facilities.split(' ').position(|word| word == header.priority.facility()).unwrap(),
        time: match header.time {
            Time::None => None,
            Time::Whole(time) => Some(When::Whole(said(time))),
            Time::Local(Local { month, day, hour, minute, second }) => Some(When::Local(
                month.into(),
                day.into(),
                i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second),
            )),
        },
        hostname: header.hostname.map(said),
        app: header.app.map(said),
        pid: header.pid.map(said),
        msgid: header.msgid.map(said),
        sd,
        message: said(header.message),
    })
}

fn add(params: &mut Params, name: String, value: String) {
    match params.iter_mut().find(|(known, _)| *known == name) {
        Some((_, values)) => values.push(value),
        None => params.push((name, vec![value])),
    }
}

/// What a message says, by the twin.
fn twin(line: &str) -> Option<Said> {
    let (number, rest) = line.strip_prefix('<')?.split_once('>')?;
    let priority: usize = number.parse().ok().filter(|priority| *priority < 192)?;
    // Neither a sign nor a zero before it.
    if priority.to_string() != number {
        return None;
    }
    let mut said =
        twin_5424(rest).or_else(|| twin_3164(rest)).unwrap_or(Said { message: rest.to_owned(), ..Said::default() });
    (said.severity, said.facility) = (priority % 8, priority / 8);
    if let Some(behind) = said.message.strip_prefix("\u{ef}\u{bb}\u{bf}") {
        said.message = behind.to_owned();
    }
    Some(said)
}

fn is_printed(c: char) -> bool {
    ('!'..='~').contains(&c)
}

fn twin_5424(rest: &str) -> Option<Said> {
    let parts: Vec<&str> = rest.splitn(7, ' ').collect();
    let [version, time, hostname, app, pid, msgid, rest] = parts[..] else { return None };
    let fits = |word: &str, most: usize| (1..=most).contains(&word.len()) && word.chars().all(is_printed);
    let words = [(hostname, 255), (app, 48), (pid, 128), (msgid, 32)];
    if version != "1" || !(time == "-" || is_whole(time)) || !words.iter().all(|(word, most)| fits(word, *most)) {
        return None;
    }
    let (sd, message) = if let Some(rest) = rest.strip_prefix('-') { (Vec::new(), rest) } else { twin_data(rest)? };
    let some = |word: &str| (word != "-").then(|| word.to_owned());
    let message = if message.is_empty() { message } else { message.strip_prefix(' ')? };
    Some(Said {
        time: some(time).map(When::Whole),
        hostname: some(hostname),
        app: some(app),
        pid: some(pid),
        msgid: some(msgid),
        sd,
        message: message.to_owned(),
        ..Said::default()
    })
}

/// One character at a time.
fn twin_data(text: &str) -> Option<(Elements, &str)> {
    let (mut elements, mut rest) = (Elements::new(), text);
    while let Some(inside) = rest.strip_prefix('[') {
        let (mut element, mut count) = ((twin_name(inside)?.to_owned(), Vec::new()), 0);
        rest = &inside[element.0.len()..];
        loop {
            match rest.chars().next()? {
                ']' => break,
                ' ' => rest = &rest[1..],
                _ => return None,
            }
            let name = twin_name(rest)?;
            let mut value = String::new();
            let mut letters = rest[name.len()..].strip_prefix("=\"")?.chars();
            loop {
                match letters.next()? {
                    '"' => break,
                    ']' => return None,
                    '\\' => {
                        let mut ahead = letters.clone();
                        match ahead.next()? {
                            c @ ('"' | '\\' | ']') => {
                                value.push(c);
                                letters = ahead;
                            }
                            _ => value.push('\\'),
                        }
                    }
                    c => value.push(c),
                }
            }
            rest = letters.as_str();
            add(&mut element.1, name.to_owned(), value);
            count += 1;
        }
        if count > 64 || elements.iter().any(|(id, _)| *id == element.0) {
            return None;
        }
        elements.push(element);
        rest = &rest[1..];
    }
    (1..=32).contains(&elements.len()).then_some((elements, rest))
}

fn twin_name(text: &str) -> Option<&str> {
    let name = text.split(|c| !is_printed(c) || "=]\"".contains(c)).next()?;
    (1..=32).contains(&name.len()).then_some(name)
}

fn twin_3164(rest: &str) -> Option<Said> {
    let (time, rest) = twin_time(rest)?;
    let said = Said { time: Some(time), message: rest.to_owned(), ..Said::default() };
    if let Some((app, pid, message)) = twin_tag(rest) {
        let mut first = message.chars();
        let is_cisco = first.next() == Some('%') && first.next().is_some_and(|c| c.is_ascii_uppercase());
        let app = Said { app: Some(app), pid, message, ..said.clone() };
        return Some(if is_cisco { said } else { app });
    }
    let Some((host, behind)) = rest.split_once(' ') else { return Some(said) };
    let Some((app, pid, message)) = twin_tag(behind).filter(|_| is_host(host)) else { return Some(said) };
    let hostname = (host != "-").then(|| host.to_owned());
    Some(Said { hostname, app: Some(app), pid, message, ..said })
}

fn twin_time(rest: &str) -> Option<(When, &str)> {
    let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
    if is_whole(word) {
        return Some((When::Whole(word.to_owned()), behind));
    }
    let time: String = rest.chars().take(15).collect();
    let behind = rest.strip_prefix(&*time)?;
    let behind = if behind.is_empty() { behind } else { behind.strip_prefix(' ')? };
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    for (number, month) in (1..).zip(months) {
        let Some(behind_month) = time.strip_prefix(month).and_then(|time| time.strip_prefix(' ')) else { continue };
        let (day, clock) = (behind_month.get(..2)?, behind_month.get(2..)?.strip_prefix(' ')?);
        let day = two_digits(&day.replacen(' ', "0", usize::from(day.starts_with(' '))))?;
        let parts: Vec<i64> = clock.split(':').map(two_digits).collect::<Option<_>>()?;
        let [hour, minute, second] = parts[..] else { return None };
        // A day that comes in some years, such as 2024.
        let is_time = (1..=days_of(2024, number)).contains(&day) && hour < 24 && minute < 60 && second < 60;
        return is_time.then_some((When::Local(number, day, hour * 3600 + minute * 60 + second), behind));
    }
    None
}

fn two_digits(text: &str) -> Option<i64> {
    (text.len() == 2 && text.chars().all(|c| c.is_ascii_digit())).then(|| text.parse().unwrap())
}

/// Whether this is a time of RFC 3339, as RFC 5424 has it.
fn is_whole(time: &str) -> bool {
    let read = || {
        let (date, clock) = time.split_once('T')?;
        let [year, month, day] = date.split('-').collect::<Vec<_>>()[..] else { return None };
        let is_year = year.len() == 4 && year.chars().all(|c| c.is_ascii_digit());
        let (month, day) = (two_digits(month)?, two_digits(day)?);
        let begins = clock.find(['Z', '+', '-'])?;
        let (clock, zone) = clock.split_at(begins);
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
        let clock: Vec<i64> = clock.split(':').map(two_digits).collect::<Option<_>>()?;
        let [hour, minute, second] = clock[..] else { return None };
        let is_fraction = (1..=6).contains(&fraction.len()) && fraction.chars().all(|c| c.is_ascii_digit());
        let is_zone = zone == "Z" || {
            let offset: Vec<i64> = zone.strip_prefix(['+', '-'])?.split(':').map(two_digits).collect::<Option<_>>()?;
            offset.len() == 2 && offset[0] < 24 && offset[1] < 60
        };
        let is_date = is_year && (1..13).contains(&month) && (1..=days_of(year.parse().ok()?, month)).contains(&day);
        Some(is_date && is_fraction && is_zone && hour < 24 && minute < 60 && second < 60)
    };
    time.is_ascii() && read().unwrap_or(false)
}

/// `APP: ` or `APP[PID]: `.
fn twin_tag(text: &str) -> Option<(String, Option<String>, String)> {
    let end = text.find(|c| !is_printed(c) || "[]{}<>:;,=|\"'\\".contains(c))?;
    let (app, behind) = text.split_at(end);
    if !(1..=48).contains(&app.len()) {
        return None;
    }
    let (pid, behind) = match behind.strip_prefix('[') {
        Some(inside) => {
            let (pid, behind) = inside.split_once(']')?;
            if !(1..=128).contains(&pid.len()) || !pid.chars().all(is_printed) {
                return None;
            }
            (Some(pid.to_owned()), behind)
        }
        None if is_zone(app) || !app.contains(|c: char| c.is_ascii_alphabetic()) => return None,
        None => (None, behind),
    };
    let message = behind.strip_prefix(':')?;
    if !(message.is_empty() || message.starts_with(' ')) {
        return None;
    }
    Some((app.to_owned(), pid, message.chars().skip(1).collect()))
}

fn is_zone(word: &str) -> bool {
    "UTC GMT WET WEST BST CET CEST EET EEST MSK EST EDT CST CDT MST PST PDT".split(' ').any(|zone| zone == word)
}

fn is_host(word: &str) -> bool {
    let is_name = |text: &str, also: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c));
    if word == "-" {
        return true;
    }
    if !(1..=255).contains(&word.len()) || is_zone(word) {
        return false;
    }
    if word.contains(':') {
        let (address, interface) = word.split_once('%').unwrap_or((word, ""));
        let is_address = address.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.');
        return is_address && address.matches(':').count() >= 2 && is_name(interface, "%.-_");
    }
    is_name(word, ".-_") && !word.starts_with('-') && word.contains(|c: char| !c.is_ascii_digit())
}
