//! Texts that read like an address or a pattern and would be taken for a file's name: each is refused, with what to write
//! instead. Behind `./` a name is a name, whatever is in it.

use std::net::IpAddr;

use super::next::address;
use super::place::{OutputAddr, OutputAddrError};
use crate::config::output::WORDS;
use crate::config::pattern;
use crate::config::text::escaped;
use crate::config::text::{is, user_part};
use crate::config::tls_out;

/// Words by which others name a place, and what they are here.
const MEANT: &[(&str, &str)] = &[
    ("stdout", "-"),
    ("&1", "-"),
    ("stderr", "/dev/stderr"),
    ("&2", "/dev/stderr"),
    ("tcp", "tcp:HOST:PORT"),
    ("unix", "unix:/path"),
];

/// Knows texts that no file is meant by.
#[inline(never)] // for size
pub(super) fn parse(text: &str) -> Option<Result<OutputAddr, OutputAddrError>> {
    if pattern::is_literal(text) {
        return None;
    }
    let sentence = without_scheme(text).or_else(|| like_a_pattern(text));
    let sentence = sentence.or_else(|| like_an_address(text)).or_else(|| like_a_folder(text));
    let sentence = sentence.or_else(|| like_a_machine(text))?;
    Some(Err(OutputAddrError::new(sentence)))
}

/// A sentence's end of these parts; with how a file of this name is named all the same, if that is asked for.
#[inline(never)] // one copy, for size
fn sentence(parts: &[&str], name: Option<&str>) -> Option<String> {
    let mut sentence = parts.concat();
    // With a user and a password in it, no file is meant.
    if let Some(text) = name.filter(|text| user_part(text).is_none()) {
        let (folder, name) = text.split_at(text.rfind('/').map_or(0, |slash| slash + 1));
        sentence += &[", or write ", folder, "./", name, " for a file of that name"].concat();
    }
    // Whatever is in the text, it is one line.
    Some(escaped(&sentence))
}

/// A user and a password behind two slashes, and nothing that says how to get there.
fn without_scheme(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('/')?;
    let is_login = rest.starts_with('/') && user_part(text).is_some_and(|user| user.contains(':'));
    let words = "it reads like an address, and its scheme is missing or misspelt: write http://HOST/PATH, say";
    if is_login && !text.contains("://") { sentence(&[words], None) } else { None }
}

/// A colon before the first slash, an address, or what other programs know by a sign.
fn like_an_address(text: &str) -> Option<String> {
    if let Some((_, meant)) = MEANT.iter().find(|(word, _)| is(text, word)) {
        return sentence(&["write ", meant], Some(text));
    }
    let first = text.get(..1).unwrap_or_default();
    match first {
        "-" => return sentence(&["it reads like an option: name a file, or - for stdout"], Some(text)),
        "|" | ">" | "@" | "&" => {
            let cure = " is not served: write - and let a shell do it, or tcp:HOST:PORT";
            return sentence(&[first, cure], Some(text));
        }
        _ => {}
    }
    let bare = text.trim_matches(['[', ']']);
    let is_address = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if is_address(text) {
        let [open, close] = if bare.contains(':') { ["[", "]"] } else { ["", ""] };
        return sentence(&["it reads like an address: write tcp:", open, bare, close, ":PORT"], Some(text));
    }
    // As other programs take it: a host, and then a port.
    if let Some((host, port)) = text.split_once(' ')
        && is_address(host)
    {
        return sentence(&["it reads like an address: write tcp:", host, ":", port.trim()], Some(text));
    }
    let (scheme, rest) = text.split_once(':').filter(|(scheme, _)| !scheme.contains('/'))?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let is = |word: &str| is(scheme, word) && !rest.is_empty();
    let place = rest.trim_end_matches('/');
    if is("tcp") && address::is_tcp(place) {
        return sentence(&["write tcp:", place], None);
    }
    if is("tls") || is("tcp+tls") {
        return sentence(&["write tcp+tls:HOST:PORT"], Some(text));
    }
    if is("unix") || is("file") {
        return sentence(&["write ", if is("unix") { "unix:" } else { "" }, rest], None);
    }
    if is("fd") {
        let end = "; sockets to listen on come by LISTEN_FDS";
        return sentence(&["write /dev/fd/", rest, " for a descriptor that is open", end], Some(text));
    }
    if address::is_tcp(text) {
        return sentence(&["it reads like an address: write tcp:", text], Some(text));
    }
    let feature = match scheme {
        "nats" if cfg!(not(feature = "nats")) => "nats",
        "http" | "loki+http" | "elastic+http" | "clickhouse+http" if cfg!(not(feature = "push")) => "push",
        _ => "",
    };
    if !feature.is_empty() {
        return sentence(&[scheme, ": is not in this build: it is the feature `", feature, "`"], Some(text));
    }
    let known = "write tcp:HOST:PORT, unix:/path or a file";
    // What stands there may be a user, too.
    let is_user = user_part(text).is_some_and(|user| user.starts_with(scheme));
    if !scheme.is_empty()
        && !is_user
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        return sentence(&[scheme, ": is not served: ", known], Some(text));
    }
    sentence(&["it reads like an address: ", known], Some(text))
}

/// What says how another machine is reached, behind a file's name.
fn like_a_machine(text: &str) -> Option<String> {
    let (_, last) = text.rsplit_once(',')?;
    tls_out::WORDS.contains(&last.split_once('=')?.0).then_some(())?;
    sentence(&["options of TLS stand behind tcp+tls:HOST:PORT, and this is a file"], Some(text))
}

/// A name that only a directory can have.
fn like_a_folder(text: &str) -> Option<String> {
    text.ends_with('/').then(|| "this is the name of a directory: name a file in it".to_owned())
}

/// What other programs, or shells, replace.
fn like_a_pattern(text: &str) -> Option<String> {
    let sign = pattern::sign(text, WORDS).or_else(|| odd_brace(text))?;
    // Behind `./` it would be replaced all the same.
    let (cure, name) = match sign {
        "%" => ("; for a file a day, write {date}, or see --rotate-at", Some(text)),
        "{{" | "}}" => (", and in single braces", None),
        _ => ("", Some(text)),
    };
    let replaced = WORDS.join(", ");
    sentence(&[sign, " is taken as it is: only ", &replaced, " are replaced", cure], name)
}

/// A brace that is doubled, or has no other.
fn odd_brace(text: &str) -> Option<&'static str> {
    let (mut before, mut open) = (0, 0);
    for byte in text.bytes() {
        match (before, byte) {
            (b'{', b'{') => return Some("{{"),
            (b'}', b'}') => return Some("}}"),
            (_, b'{') => open += 1,
            (_, b'}') => open -= 1,
            _ => {}
        }
        before = byte;
    }
    match open {
        0 => None,
        1.. => Some("{"),
        _ => Some("}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO_TLS: &str = if cfg!(all(feature = "nats", not(feature = "tls"))) {
        "TLS needs a build that has it"
    } else {
        "write tcp+tls:HOST:PORT, or write "
    };

    #[test]
    fn p13_what_reads_like_an_address_says_what_to_write() {
        for (text, sentence) in [
            ("tcp://127.0.0.1:514", "write tcp:127.0.0.1:514"),
            ("tcp://[::1]:514/", "write tcp:[::1]:514"),
            ("TCP:gw:514", "write tcp:gw:514"),
            ("UNIX:/run/x", "write unix:/run/x"),
            ("file:///var/log/app.log", "write /var/log/app.log"),
            ("file:app.log", "write app.log"),
            (
                "127.0.0.1:514",
                "it reads like an address: write tcp:127.0.0.1:514, or write ./127.0.0.1:514 for a file of that name",
            ),
            ("gw.example:514", "it reads like an address: write tcp:gw.example:514, or "),
            ("[::1]:514", "it reads like an address: write tcp:[::1]:514, or "),
            (
                "192.0.2.1",
                "it reads like an address: write tcp:192.0.2.1:PORT, or write ./192.0.2.1 for a file of that name",
            ),
            ("::1", "it reads like an address: write tcp:[::1]:PORT, or "),
            ("[::1]", "it reads like an address: write tcp:[::1]:PORT, or "),
            (
                ":514",
                "it reads like an address: write tcp:HOST:PORT, unix:/path or a file, or write ./:514 for a file of that name",
            ),
            (
                "udp:192.0.2.1:514",
                "udp: is not served: write tcp:HOST:PORT, unix:/path or a file, or write ./udp:192.0.2.1:514 for ",
            ),
            (
                "udp://192.0.2.1:514",
                "udp: is not served: write tcp:HOST:PORT, unix:/path or a file, or write udp://./192.0.2.1:514 for ",
            ),
            ("syslog:", "syslog: is not served: "),
            ("amqp://gw:5672", "amqp: is not served: "),
            ("ftp://gw/x", "ftp: is not served: "),
            ("redis+tls:x", "redis+tls: is not served: "),
            ("tcp://gw", "tcp: is not served: "),
            ("C:\\log.txt", "C: is not served: "),
            ("a\nb:c", "it reads like an address: write tcp:HOST:PORT, unix:/path or a file, or write ./a\\nb:c for "),
            ("@192.0.2.1", "@ is not served: "),
            ("|gzip", "| is not served: write - and let a shell do it"),
            ("stdout", "write -, or write ./stdout for a file of that name"),
            ("tls:gw:6514", TO_TLS),
            ("tls://gw:6514", TO_TLS),
            ("tcp+tls://gw:6514", "write tcp+tls:HOST:PORT, or write "),
            ("TCP+TLS:gw:6514", "write tcp+tls:HOST:PORT, or write "),
            (
                "plant.log,ca=ca.pem",
                "options of TLS stand behind tcp+tls:HOST:PORT, and this is a file, or write ./plant.log,ca=ca.pem for a file of that name",
            ),
            (
                "/log/a,cert=/etc/a.pem,key=/etc/a.key",
                "options of TLS stand behind tcp+tls:HOST:PORT, and this is a file, or ",
            ),
            ("a.log,server-name=gw", "options of TLS stand behind "),
            ("STDERR", "write /dev/stderr, or "),
        ] {
            assert_refused(text, sentence);
        }
    }

    #[test]
    fn p13_a_name_that_only_a_directory_can_have_is_refused() {
        for text in ["app.log/", "/var/log/", "{host}.log/", "{date}/"] {
            assert_refused(text, "this is the name of a directory: name a file in it");
        }
    }

    #[test]
    fn p13_what_other_programs_or_shells_know_says_what_to_write() {
        for (text, sentence) in [
            ("&1", "write -, or write ./&1 for a file of that name"),
            ("&2", "write /dev/stderr, or "),
            ("&3", "& is not served: "),
            ("tcp", "write tcp:HOST:PORT, or write ./tcp for a file of that name"),
            ("Unix", "write unix:/path, or "),
            ("--", "it reads like an option: name a file, or - for stdout, or write ./-- for a file of that name"),
            ("--listen", "it reads like an option: "),
            ("-x", "it reads like an option: "),
            (
                "fd:3",
                "write /dev/fd/3 for a descriptor that is open; sockets to listen on come by LISTEN_FDS, or write ./fd:3 ",
            ),
            ("fd://3", "write /dev/fd/3 "),
            ("127.0.0.1  514", "it reads like an address: write tcp:127.0.0.1:514, or write ./127.0.0.1  514 for "),
            ("  127.0.0.1:514", "it reads like an address: write tcp:HOST:PORT, unix:/path or a file, or "),
            ("[::1] 514", "it reads like an address: write tcp:[::1]:514, or "),
        ] {
            assert_refused(text, sentence);
        }
    }

    #[test]
    fn p13_what_reads_like_a_pattern_says_that_it_is_none() {
        for (text, sentence) in [
            (
                "/log/%Y.log",
                "% is taken as it is: only {date}, {host}, {app}, {severity}, {facility} are replaced; for a file a day, write {date}, or see --rotate-at, or write /log/./%Y.log for a file of that name",
            ),
            ("{host}-%d.log", "% is taken as it is: "),
            ("%{host}.log", "% is taken as it is: "),
            (
                "{ip}.log",
                "{ip} is taken as it is: only {date}, {host}, {app}, {severity}, {facility} are replaced, or write ./{ip}.log for a file of that name",
            ),
            ("{host}-{HOST}.log", "{HOST} is taken as it is: "),
            ("{time:%Y}", "% is taken as it is: "),
            (
                "$HOME/app.log",
                "$ is taken as it is: only {date}, {host}, {app}, {severity}, {facility} are replaced, or write $HOME/./app.log for ",
            ),
            ("/log/${HOSTNAME}.log", "$ is taken as it is: "),
            ("~/app.log", "~ is taken as it is: "),
            (
                "{{host}}.log",
                "{{ is taken as it is: only {date}, {host}, {app}, {severity}, {facility} are replaced, and in single braces",
            ),
            ("{host}-{date}}", "}} is taken as it is: "),
            ("{{ip}}.log", "{ip} is taken as it is: "),
            (
                "{host",
                "{ is taken as it is: only {date}, {host}, {app}, {severity}, {facility} are replaced, or write ./{host for a file of that name",
            ),
            ("app-date}.log", "} is taken as it is: "),
            ("/log/*.log", "* is taken as it is: "),
        ] {
            assert_refused(text, sentence);
        }
    }

    #[test]
    fn what_is_behind_a_dot_and_a_slash_is_a_name() {
        for text in [
            "./tcp:x",
            "/log/./%Y.log",
            "./stdout",
            "./~/x",
            "/run/a:b",
            "dir/a:b",
            "app.log",
            "100%.log",
            "a{}b",
            "5$",
            "~",
            "syslog",
            "{host}.log",
            "{date}.log",
            "./{{host}}.log",
            "./{host",
            "1.2.3",
            "app 5",
            "fd",
            "a-b",
            "./a,ca=b",
            "a,b=c",
            "a=b",
            "ca=a",
        ] {
            assert!(parse(text).is_none(), "{text}: {:?}", parse(text));
            let output: OutputAddr = text.parse().unwrap();
            assert_eq!(output.to_string(), text);
        }
    }

    fn assert_refused(text: &str, sentence: &str) {
        let error = text.parse::<OutputAddr>().unwrap_err().to_string();
        let sentence = match cfg!(feature = "tls") {
            true => &sentence.replace("{facility} are", "{facility}, {name} are"),
            false => sentence,
        };
        assert!(error.starts_with(sentence), "{text}: {error}");
        assert!(!error.contains('\n'), "{error}");
        // What is said to be a file's name is one.
        if let Some((before, _)) = error.split_once(" for a file of that name") {
            let literally = before.rsplit_once("or write ").unwrap().1;
            assert!(parse(literally).is_none(), "{literally}");
        }
    }
}
