//! `nats://[USER:PASS@]HOST[:PORT][,HOST[:PORT]…]/SUBJECT`, and `nats+tls://` and `nats+tls-first://` with the same behind them: where
//! lines go, as text. Invariant: what prints reads as the same,
//! without its credentials.

use core::fmt;

use super::base::{halves, has_any, number};
use super::credentials::Credentials;
use super::subject::Subject;
use crate::config::text::is;

/// The port if none is given.
const PORT: u16 = 4222;
/// The most servers of one text.
const MOST_SERVERS: usize = 16;

/// A server's address: a name or a number, without brackets, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or address.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// Whether a connection is secured, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// Never.
    #[default]
    No,
    /// Once the server has told of itself (`INFO`), as servers have done it all along.
    Upgrade,
    /// Before anything is said, as servers with `handshake_first` do it.
    First,
}

impl Tls {
    /// All, with what their URLs begin with.
    const ALL: [(Self, &str); 3] = [(Self::No, "nats"), (Self::Upgrade, "nats+tls"), (Self::First, "nats+tls-first")];

    /// What its URLs begin with.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        Self::ALL.iter().find(|(tls, _)| *tls == self).map_or("", |(_, scheme)| scheme)
    }
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is secured.
    pub tls: Tls,
    /// At least one.
    pub servers: Vec<Address>,
    /// Where in the stream.
    pub subject: Subject,
    /// Those in the text, if any are.
    pub credentials: Credentials,
}

impl Url {
    /// Reads the text; `None` if it is about something else than NATS.
    ///
    /// # Errors
    /// It is about NATS, and not right; the end of a sentence that says what to give.
    #[must_use]
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        Self::parse_with(text, Subject::parse)
    }

    /// The same of what is read again, where the subject may have `*` and `>` in it.
    ///
    /// # Errors
    /// The same.
    #[must_use]
    pub fn parse_pattern(text: &str) -> Option<Result<Self, String>> {
        let url = Self::parse_with(text, Subject::pattern)?;
        Some(url.and_then(|url| {
            match url.tls {
                Tls::No => Ok(url),
                _ => Err(
                    "lines are read back without TLS alone: give nats://, through a tunnel, or use nats stream view"
                        .to_owned(),
                ),
            }
        }))
    }

    fn parse_with(text: &str, subject: fn(&str) -> Result<Subject, &'static str>) -> Option<Result<Self, String>> {
        let (scheme, rest) = halves(text, b':')?;
        let is = |name: &str| is(scheme, name);
        let known = Tls::ALL.into_iter().find(|(_, name)| *name == scheme);
        let sentence = if let Some((tls, _)) = known.filter(|(tls, _)| cfg!(feature = "tls") || *tls == Tls::No) {
            match rest.strip_prefix("//") {
                Some(rest) => return Some(Self::behind_scheme(rest, tls, subject).map_err(str::to_owned)),
                None => return Some(Err(["two slashes are missing: ", scheme, "://HOST/SUBJECT"].concat())),
            }
        } else if known.is_some() || (cfg!(not(feature = "tls")) && is("tls")) {
            "TLS needs a build that has it (lumberjack-tls), which this is not: take that, or give nats://, on a network of your own or through a tunnel"
        } else if is("nats") {
            "write it in small letters: nats://HOST/SUBJECT"
        } else if (is("tls") && rest.trim_start_matches('/').contains('/'))
            || is("nats+tls")
            || is("nats+tls-first")
            || is("natss")
        {
            "write nats+tls://HOST/SUBJECT, or nats+tls-first:// for a server with handshake_first"
        } else if is("ws") || is("wss") {
            "websockets are not spoken: give nats://, and the port of clients (4222)"
        } else {
            return None;
        };
        Some(Err(sentence.to_owned()))
    }

    fn behind_scheme(
        rest: &str,
        tls: Tls,
        read: fn(&str) -> Result<Subject, &'static str>,
    ) -> Result<Self, &'static str> {
        let (place, subject) = match halves(rest, b'/') {
            Some((place, subject)) if !place.ends_with(':') || !subject.starts_with('/') => (place, subject),
            Some(_) => return Err("write nats:// once, and servers with commas between"),
            None => {
                return Err("the subject is missing: nats://HOST/SUBJECT, such as nats://192.0.2.7/logs.{box}");
            }
        };
        let (credentials, places) = match place.rsplit_once('@') {
            Some((user, places)) => (credentials(user)?, places),
            None => (Credentials::default(), place),
        };
        let servers: Vec<Address> = places.split(',').map(address).collect::<Result<_, _>>()?;
        for (number, server) in servers.iter().enumerate() {
            if servers.iter().take(number).any(|other| other == server) {
                return Err("a server is there twice");
            }
        }
        if servers.len() > MOST_SERVERS {
            return Err("16 servers at most: the others are learnt from these");
        }
        Ok(Self { tls, servers, subject: read(subject)?, credentials })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, server) in self.servers.iter().enumerate() {
            match number {
                0 => write!(f, "{}://{server}", self.tls.scheme())?,
                _ => write!(f, ",{server}")?,
            }
        }
        write!(f, "/{}", self.subject.text())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if has_any(host, ":") { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Reads `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`.
pub(super) fn address(text: &str) -> Result<Address, &'static str> {
    let (host, port, is_bare) = match text.strip_prefix('[').and_then(|rest| halves(rest, b']')) {
        Some((host, "")) => (host, None, true),
        Some((host, rest)) => (host, rest.strip_prefix(':').or(Some("")), true),
        None if text.bytes().filter(|byte| *byte == b':').count() > 1 => {
            return Err("an IPv6 address needs brackets: nats://[2001:db8::1]:4222/SUBJECT");
        }
        None => halves(text, b':').map_or((text, None, false), |(host, port)| (host, Some(port), false)),
    };
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter > '\u{a0}' || "-._".contains(letter);
    let is_part = |letter: char| {
        if is_bare { letter.is_ascii_hexdigit() || ":.%".contains(letter) || is_name(letter) } else { is_name(letter) }
    };
    if host.is_empty() || !host.chars().all(is_part) || is_bare != has_any(host, ":") {
        return Err("give a server's name or address, such as nats://192.0.2.7:4222/SUBJECT");
    }
    let digits = port.unwrap_or("4222");
    match number(digits.as_bytes()).and_then(|port| u16::try_from(port).ok()) {
        Some(port) if port != 0 => Ok(Address { host: host.to_owned(), port }),
        _ => Err("the port is a number from 1 to 65535, and 4222 if it is left out"),
    }
}

/// Reads `USER:PASS`, or a token alone, as other programs do.
fn credentials(text: &str) -> Result<Credentials, &'static str> {
    let sentence =
        "behind % two hexadecimal digits are expected in user and password: write %25 for %, %40 for @, %2F for /";
    let decoded = |part: &str| unescaped(part).ok_or(sentence);
    if text.contains(['@', ',']) {
        return Err(
            "user and password stand once, before the first server, and hold for all: write %40 for an @ in them, %2C for a comma",
        );
    }
    match halves(text, b':') {
        Some((user, password)) if !user.is_empty() => Ok(Credentials::user(decoded(user)?, decoded(password)?)),
        None if !text.is_empty() => Ok(Credentials::token(decoded(text)?)),
        _ => Err("before the @ there is no user: give USER:PASS@, or nothing and --nats-creds"),
    }
}

/// A text with `%41` for what a URL can't hold.
fn unescaped(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            bytes.push(u8::try_from(digit(0)? << 4 | digit(1)?).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

const _: () = assert!(PORT == 4222, "the digits above");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_what_is_no_url_says_what_to_give() {
        for (text, sentence) in [
            ("nats:", "two slashes are missing"),
            ("nats:h/logs", "two slashes are missing: nats://HOST/SUBJECT"),
            ("NATS://h/logs", "write it in small letters"),
            #[cfg(not(feature = "tls"))]
            ("nats+tls://h/logs", "TLS needs a build that has it (lumberjack-tls), which this is not: take that, or "),
            #[cfg(not(feature = "tls"))]
            ("tls://h/logs", "TLS needs a build that has it (lumberjack-tls)"),
            #[cfg(feature = "tls")]
            ("tls://h/logs", "write nats+tls://HOST/SUBJECT, or nats+tls-first:// for a server with handshake_first"),
            #[cfg(feature = "tls")]
            ("Nats+TLS://h/logs", "write nats+tls://HOST/SUBJECT"),
            #[cfg(feature = "tls")]
            ("nats+tls:h/logs", "two slashes are missing: nats+tls://HOST/SUBJECT"),
            #[cfg(feature = "tls")]
            ("nats+tls-first:h/logs", "two slashes are missing: nats+tls-first://HOST/SUBJECT"),
            ("wss://h/logs", "websockets are not spoken"),
            ("nats://h", "the subject is missing: nats://HOST/SUBJECT"),
            ("nats://", "the subject is missing"),
            ("nats:///logs", "give a server's name or address"),
            ("nats://h/", "give the subject behind a slash"),
            ("nats://h,/logs", "give a server's name or address"),
            ("nats://a:4222,nats://b:4222/logs", "write nats:// once, and servers with commas between"),
            ("nats://h:0/logs", "the port is a number from 1 to 65535"),
            ("nats://h:/logs", "the port is a number"),
            ("nats://h:+5/logs", "the port is a number"),
            ("nats://h:65536/logs", "the port is a number"),
            ("nats://[::1]4222/logs", "the port is a number"),
            ("nats://::1/logs", "an IPv6 address needs brackets"),
            ("nats://::1:4222/logs", "an IPv6 address needs brackets"),
            ("nats://[h]/logs", "give a server's name or address"),
            ("nats://[::1/logs", "an IPv6 address needs brackets"),
            ("nats://h x/logs", "give a server's name or address"),
            ("nats://{host}/logs", "give a server's name or address"),
            ("nats://a,a:4222/logs", "a server is there twice"),
            ("nats://@h/logs", "before the @ there is no user"),
            ("nats://:p@h/logs", "before the @ there is no user"),
            ("nats://a:%@h/logs", "behind % two hexadecimal digits are expected in user and password"),
            ("nats://a:%zz@h/logs", "behind % two"),
            ("nats://a:%ff@h/logs", "behind % two"),
            ("nats://h/logs.{host}", "{host} is not replaced"),
            (
                &format!("nats://{}/logs", (0..17).map(|n| format!("h{n}")).collect::<Vec<_>>().join(",")),
                "16 servers at most",
            ),
        ] {
            let error = Url::parse(text).unwrap().unwrap_err();
            assert!(error.starts_with(sentence), "{text}: {error}");
        }
        for text in ["", "tcp:h:1", "/var/log/nats://x", "-", "http://h/logs"] {
            assert!(Url::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_url_prints_as_it_reads_without_its_credentials() {
        for (text, printed) in [
            ("nats://h/logs", "nats://h:4222/logs"),
            (
                "nats://h:1,[::1]:2,[fe80::1%eth0],10.0.0.1/a.{box}",
                "nats://h:1,[::1]:2,[fe80::1%eth0]:4222,10.0.0.1:4222/a.{box}",
            ),
            ("nats://user:pa%40%2F%3Ass@h/logs", "nats://h:4222/logs"),
            ("nats://t0ken@h/logs", "nats://h:4222/logs"),
            #[cfg(feature = "tls")]
            ("nats+tls://a:b@h/logs", "nats+tls://h:4222/logs"),
            #[cfg(feature = "tls")]
            ("nats+tls-first://h:1,i/logs", "nats+tls-first://h:1,i:4222/logs"),
        ] {
            let url = Url::parse(text).unwrap().unwrap();
            assert_eq!(url.to_string(), printed);
            let again = Url::parse(printed).unwrap().unwrap();
            assert_eq!(
                (again.to_string(), again.servers, again.subject),
                (printed.to_owned(), url.servers, url.subject)
            );
        }
    }

    #[test]
    fn credentials_in_a_url_are_decoded_and_never_shown() {
        let read = |text| Url::parse(text).unwrap().unwrap().credentials;
        assert_eq!(
            read("nats://us%20er:pa%40%2F%3A:ss@h/logs"),
            Credentials::user("us er".to_owned(), "pa@/::ss".to_owned())
        );
        assert_eq!(read("nats://s3cret@h/logs"), Credentials::token("s3cret".to_owned()));
        let shown = format!("{:?}", Url::parse("nats://user:s3cret@h/logs").unwrap().unwrap());
        assert!(!shown.contains("s3cret") && shown.contains("logs"), "{shown}");
    }
}
