//! The words in a file's name that something else stands for: a row for each in a table, and nothing else knows which there
//! are. Invariant: a value leads to no other directory, and names that some pattern makes are known again.
//!
//! | host | its name |
//! | --- | --- |
//! | an IPv4 address | `192.0.2.7` |
//! | an IPv6 network, of which 64 bits tell it from others | `2001-db8-0-1` |
//! | a link-local IPv6 neighbour, with the number of its interface | `fe80-0-0-0-0-0-0-1_2` |
//! | clients of Unix sockets | `unix` |

use std::fmt::Write;
use std::net::Ipv4Addr;

use crate::config::calendar::day_of;
#[cfg(feature = "tls")]
use crate::config::output::NAME_WORD;
use crate::config::output::{APP_WORD, DATE_WORD, FACILITY_WORD, HOST_WORD, SEVERITY_WORD};
use crate::config::syslog::Severity;
use crate::config::text::whole;
use crate::engine::peer::Host;
use crate::engine::syslog::FACILITIES;
use crate::sink::said::{NONE, Safe, Said};

/// What stands for each value of the lines for which there is no file of their own.
pub(super) const OTHERS: &str = "other";

/// A word, and what is known of its values.
pub(super) struct Word {
    text: &'static str,
    /// The longest value.
    longest: &'static str,
    /// A value of each form, and all that are none of what it is about.
    values: &'static [&'static str],
    /// Whether this is any other value; with whether hosts of headers are believed.
    fits: fn(&str, bool) -> bool,
    /// Appends the value for a line.
    put: fn(Host, &Said, &mut String),
}

const WORDS: &[Word] = &[
    Word {
        text: HOST_WORD,
        longest: "fe80-ffff-ffff-ffff-ffff-ffff-ffff-ffff_4294967295",
        values: &["1.2.3.4", "1-2-3-4", "1-2-3-4-5-6-7-8_9", "unix", OTHERS],
        fits: |text, trusts| if trusts { is_safe(text, true) } else { is_host(text) },
        put: |host, said, name| match said.host.text() {
            Some(text) => name.push_str(text),
            None => put_host(host, said.dot, name),
        },
    },
    Word {
        text: APP_WORD,
        longest: "ffffffffffffffffffffffffffffffffffffffffffffffff",
        values: &["app", NONE, OTHERS],
        fits: is_safe,
        put: |_, said, name| name.push_str(said.app.text().unwrap_or(NONE)),
    },
    Word {
        text: SEVERITY_WORD,
        longest: "warning",
        values: &["err", NONE, OTHERS],
        fits: |text, _| is_one_of(Severity::WORDS, text),
        put: |_, said, name| name.push_str(said.severity),
    },
    Word {
        text: FACILITY_WORD,
        longest: "authpriv",
        values: &["kern", NONE, OTHERS],
        fits: |text, _| is_one_of(&FACILITIES, text),
        put: |_, said, name| name.push_str(said.facility),
    },
    #[cfg(feature = "tls")]
    Word {
        text: NAME_WORD,
        longest: "ffffffffffffffffffffffffffffffffffffffffffffffff",
        values: &["box", NONE, OTHERS],
        fits: is_safe,
        put: |_, said, name| name.push_str(said.name.text().unwrap_or(NONE)),
    },
    // The file itself knows which day it is: to each of these it is one.
    Word {
        text: DATE_WORD,
        longest: EXAMPLE_DATE,
        values: &[EXAMPLE_DATE],
        fits: |text, _| day_of(text).is_some(),
        put: |_, _, name| name.push_str(DATE_WORD),
    },
];

/// A date that an address may end with, as it has no `-0`.
const EXAMPLE_DATE: &str = "2026-11-26";

#[inline(never)] // one copy, for size
fn is_one_of(values: &[&str], text: &str) -> bool {
    values.contains(&text)
}

fn is_safe(text: &str, _: bool) -> bool {
    Safe::new(text.as_bytes()).text() == Some(text)
}

/// Appends what a host is called, with `dot` between the numbers of an IPv4 address.
fn put_host(host: Host, dot: char, name: &mut String) {
    // Writing to a `String` can't fail.
    let _ = match host {
        Host::V4([first, second, third, fourth]) => write!(name, "{first}{dot}{second}{dot}{third}{dot}{fourth}"),
        Host::V6(network) => put_groups(&network, name),
        Host::LinkLocal(ip, scope) => put_groups(&ip, name).and_then(|()| write!(name, "_{scope}")),
        Host::Unix => name.write_str("unix"),
        Host::Poller(poller) => name.write_str(Safe::new(poller.text().as_bytes()).text().unwrap_or_default()),
    };
}

/// Groups of 16 bits in hexadecimal, each written, with `-` between them.
fn put_groups(bytes: &[u8], name: &mut String) -> std::fmt::Result {
    let mut dash = "";
    for pair in bytes.chunks(2) {
        let group = pair.iter().fold(0_u16, |group, byte| group << 8 | u16::from(*byte));
        write!(name, "{dash}{group:x}")?;
        dash = "-";
    }
    Ok(())
}

/// Whether a host is called so.
fn is_host(text: &str) -> bool {
    let (groups, scope) = text.split_once('_').map_or((text, None), |(groups, scope)| (groups, Some(scope)));
    let is_group = |group: &str| {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        matches!(group.len(), 1..=4) && group.bytes().all(is_digit) && (group == "0" || !group.starts_with('0'))
    };
    let count = if groups.split('-').all(is_group) { groups.split('-').count() } else { 0 };
    match scope {
        Some(scope) => {
            count == 8 && !scope.starts_with(['0', '+']) && whole(scope).is_some_and(|scope| scope <= u32::MAX.into())
        }
        None => count == 4 || text == "unix" || text.parse::<Ipv4Addr>().is_ok(),
    }
}

/// What stands before the first word, the word, and what stands behind it.
#[inline(never)] // one copy, for size
pub(super) fn first(pattern: &str) -> Option<(&str, &'static Word, &str)> {
    let mut from = 0;
    loop {
        let at = from + pattern.get(from..)?.find('{')?;
        let (before, rest) = pattern.split_at_checked(at)?;
        if let Some(word) = WORDS.iter().find(|word| rest.starts_with(word.text)) {
            return Some((before, word, rest.get(word.text.len()..)?));
        }
        from = at + 1;
    }
}

/// Whether it has words whose values are what messages say.
pub(super) fn is_said(mut pattern: &str, trusts_host: bool) -> bool {
    while let Some((_, word, rest)) = first(pattern) {
        if word.text != DATE_WORD && (trusts_host || word.text != HOST_WORD) {
            return true;
        }
        pattern = rest;
    }
    false
}

/// The same without the name in a certificate, which no line says.
#[cfg(feature = "tls")]
pub(super) fn asks_headers(pattern: &str, trusts_host: bool) -> bool {
    is_said(&pattern.replace(NAME_WORD, ""), trusts_host)
}

/// The first word that is there twice.
pub(super) fn repeated(mut pattern: &str) -> Option<&'static str> {
    loop {
        let (_, word, rest) = first(pattern)?;
        let mut behind = rest;
        while let Some((_, other, rest)) = first(behind) {
            if other.text == word.text {
                return Some(word.text);
            }
            behind = rest;
        }
        pattern = rest;
    }
}

/// Appends the pattern with each word replaced by what `value` appends for it.
#[inline(never)] // one copy, for size
fn fill(mut pattern: &str, value: &mut dyn FnMut(&Word, &mut String), name: &mut String) {
    while let Some((before, word, rest)) = first(pattern) {
        name.push_str(before);
        value(word, name);
        pattern = rest;
    }
    name.push_str(pattern);
}

/// Appends the name for such a line.
pub(super) fn put(pattern: &str, host: Host, said: &Said, name: &mut String) {
    fill(pattern, &mut |word, name| (word.put)(host, said, name), name);
}

/// The name for all lines that have no file of their own. The day stays a word.
pub(super) fn others(pattern: &str) -> String {
    let mut name = String::new();
    fill(pattern, &mut |word, name| name.push_str(if word.text == DATE_WORD { DATE_WORD } else { OTHERS }), &mut name);
    name
}

/// The longest name.
pub(super) fn longest(pattern: &str) -> String {
    let mut name = String::new();
    fill(pattern, &mut |word, name| name.push_str(word.longest), &mut name);
    name
}

/// Names with a value of each form.
pub(super) fn examples(pattern: &str) -> impl Iterator<Item = String> {
    // The host has the most.
    (0..5).map(move |number| {
        let mut name = String::new();
        let value = |word: &Word| word.values.get(number).or(word.values.last()).copied().unwrap_or_default();
        fill(pattern, &mut |word, name| name.push_str(value(word)), &mut name);
        name
    })
}

/// The name that a pattern has made, with the day as a word; `None` if it can't have.
pub(super) fn known_again(pattern: &str, name: &str, trusts_host: bool) -> Option<String> {
    let mut known = String::new();
    takes(pattern, name, trusts_host, Some(&mut known)).then_some(known)
}

/// Whether a pattern can have made a name; appends that, with the day as a word, to `known`, where it is of any use only then.
#[inline(never)] // one copy, for size
pub(super) fn takes(pattern: &str, name: &str, trusts_host: bool, mut known: Option<&mut String>) -> bool {
    let Some((before, word, rest)) = first(pattern) else {
        known.into_iter().for_each(|known| known.push_str(name));
        return pattern == name;
    };
    let Some(tail) = name.strip_prefix(before) else { return false };
    let start = known.as_ref().map_or(0, |known| known.len());
    (1..=tail.len().min(word.longest.len())).any(|len| {
        let Some((value, tail)) = tail.split_at_checked(len) else { return false };
        if !is_one_of(word.values, value) && !(word.fits)(value, trusts_host) {
            return false;
        }
        if let Some(known) = known.as_deref_mut() {
            known.truncate(start);
            known.push_str(before);
            known.push_str(if word.text == DATE_WORD { DATE_WORD } else { value });
        }
        takes(rest, tail, trusts_host, known.as_deref_mut())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::peer::Peer;
    use crate::engine::syslog::parse;
    use std::net::SocketAddr;

    fn host(text: &str) -> Host {
        Peer::from(text.parse::<SocketAddr>().unwrap()).host()
    }

    fn name(pattern: &str, host: Host, line: &str, trusts: bool) -> String {
        let mut name = String::new();
        put(pattern, host, &Said::of(parse(line.as_bytes()).as_ref(), trusts), &mut name);
        name
    }

    #[test]
    fn a_hosts_name_is_safe_and_known_again() {
        for (host, expected) in [
            (host("192.0.2.7:1"), "192.0.2.7"),
            (host("[2001:db8:0:1::7]:1"), "2001-db8-0-1"),
            (host("[::1]:1"), "0-0-0-0"),
            (host("[fe80::1%2]:1"), "fe80-0-0-0-0-0-0-1_2"),
            (Host::LinkLocal([0xff; 16], u32::MAX), "ffff-ffff-ffff-ffff-ffff-ffff-ffff-ffff_4294967295"),
            (Host::Unix, "unix"),
        ] {
            for pattern in ["a-{host}.log", "{host}", "{host}.1", "{date}-{host}", "{host}-{app}-{severity}"] {
                let name = name(pattern, host, "", false);
                let expected = pattern.replace("{host}", expected).replace("{app}", NONE).replace("{severity}", NONE);
                assert_eq!(name, expected);
                let of_a_day = name.replace("{date}", "2026-11-26");
                assert_eq!(known_again(pattern, &of_a_day, false), Some(expected), "{pattern}");
                assert!(name.len() <= longest(pattern).len() + "{date}".len());
            }
        }
    }

    #[test]
    fn each_word_stands_for_what_the_header_says() {
        let all = "{host}/{facility}.{severity}-{app}-{date}";
        let line = "<34>1 - gw-7 su - - - x";
        assert_eq!(name(all, Host::Unix, line, false), "unix/auth.crit-su-{date}");
        assert_eq!(name(all, Host::Unix, line, true), "gw-7/auth.crit-su-{date}");
        assert_eq!(name(all, Host::Unix, "no header", true), "unix/none.none-none-{date}");
        assert_eq!(name(all, Host::Unix, "<191>x", true), "unix/local7.debug-none-{date}");
        assert_eq!(others(all), "other/other.other-other-{date}");
        assert_eq!(name("{{app}{ip}", Host::Unix, line, false), "{su{ip}", "what is no word stays");
        assert_eq!((repeated(all), repeated("{app}/{app}")), (None, Some("{app}")));
    }

    #[test]
    fn what_only_looks_like_a_name_is_none() {
        for name in [
            "syslog.log",
            "1.2.3.log",
            "1.2.3.4.5.log",
            "01.2.3.4.log",
            "2001-DB8-0-1.log",
            "2001-db8-0.log",
            "2001-0db8-0-1.log",
            "fe80-0-0-0-0-0-0-1_x.log",
            ".log",
        ] {
            assert_eq!(known_again("{host}.log", name, false), None, "{name}");
        }
        for (pattern, name) in [
            ("{app}.log", ".hidden.log"),
            ("{app}.log", "-x.log"),
            ("{app}.log", "a b.log"),
            ("{app}.log", "app.txt"),
            ("{severity}", "warn"),
            ("{facility}", "local8"),
            ("{app}-{date}", "app-2026-02-30"),
            ("{app}-{date}", "app-other"),
        ] {
            assert_eq!(known_again(pattern, name, true), None, "{name}");
        }
        let long = "a".repeat(49);
        assert_eq!(known_again("{app}", &long, true), None);
        assert_eq!(known_again("{app}", &long[1..], true).as_deref(), Some(&long[1..]));
        assert_eq!(known_again("{host}.log", "gw-7.log", true).as_deref(), Some("gw-7.log"));
        assert_eq!(known_again("{severity}-{app}", "err-a-b", false).as_deref(), Some("err-a-b"));
    }
}
