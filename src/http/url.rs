//! `http[s]://[USER:PASS@]HOST[:PORT][/PATH][?QUERY]`: where a request goes, as text. Invariant: what prints reads as the same,
//! without its credentials, and holds visible ASCII only.

use core::fmt;

use super::secret::Secret;
use super::trouble::{Trouble, shown};
use crate::config::text::{cut, halves, is, last_halves, number, trimmed};

/// The port if none is given.
const PORT: u16 = 80;
/// The same of `https://`.
const TLS_PORT: u16 = 443;
/// A longer one is nobody's, and has to fit into a head.
const MOST_BYTES: usize = 4096;

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    /// A name or an address, without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
    /// Whether connections are secured by TLS (`https://`).
    pub is_secured: bool,
    /// Path and query, at least `/`.
    target: String,
    /// Of the user and the password in the text.
    secret: Option<Secret>,
}

impl Clone for Url {
    #[inline(never)] // one copy, for size
    fn clone(&self) -> Self {
        let Self { port, is_secured, .. } = *self;
        Self { host: self.host.clone(), port, is_secured, target: self.target.clone(), secret: self.secret.clone() }
    }
}

impl Url {
    /// Reads the text.
    ///
    /// # Errors
    /// The end of a sentence that says what to give.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (rest, is_secured) = behind_scheme(text)?;
        if text.len() > MOST_BYTES {
            return Err("it is longer than 4096 bytes".to_owned());
        }
        let (authority, target) = cut(rest, b"/?#");
        let (secret, place) = match last_halves(authority, b'@') {
            Some((user, place)) => (Some(credentials(user)?), place),
            None => (None, authority),
        };
        let (host, port) = address(place, usual_port(is_secured))?;
        fit(target)?;
        Ok(Self { host, port, is_secured, target: rooted(target), secret })
    }

    /// Path and query, at least `/`.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The same place, and another path and query. What a head can't hold is written as `%20`.
    #[must_use]
    pub fn with_target(&self, target: &str) -> Self {
        let target = rooted(&encoded(cut(target, b"#").0));
        Self { target, ..self.clone() }
    }

    /// Whether the other one leads to the same server.
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        is(&self.host, &other.host) && self.port == other.port && self.is_secured == other.is_secured
    }

    /// Whether user and password are in the text.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Those, for a request.
    pub(super) fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// What a `Host` field holds.
    pub(super) fn authority(&self) -> impl fmt::Display {
        struct Authority<'a>(&'a Url);
        impl fmt::Display for Authority<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // What is behind the `%` of an address is of this box only.
                let host = cut(&self.0.host, b"%").0;
                write_place(f, host, self.0.port, self.0.is_secured)
            }
        }
        Authority(self)
    }

    /// Where an answer's `Location` leads, which is followed on the same server only.
    ///
    /// # Errors
    /// It is elsewhere, or nowhere.
    pub fn resolve(&self, location: &str) -> Result<Self, Trouble> {
        let location = trimmed(location);
        let elsewhere = || Trouble::Elsewhere(without_credentials(location));
        let (scheme, behind) = cut(location, b":/?#");
        let mut whole = String::new();
        if location.starts_with("//") {
            whole.push_str(if self.is_secured { "https:" } else { "http:" });
        } else if scheme.is_empty() || !behind.starts_with(':') {
            return Ok(self.with_target(&self.merged(location)));
        }
        whole.push_str(&encoded(cut(location, b"#").0));
        let found = Self::parse(&whole).map_err(|_| elsewhere())?;
        if self.same_origin(&found) { Ok(self.with_target(&dotless(&found.target))) } else { Err(elsewhere()) }
    }

    /// The path and query of a reference without a server: RFC 3986, 5.2.
    fn merged(&self, reference: &str) -> String {
        let path = cut(&self.target, b"?").0;
        match reference.bytes().next() {
            Some(b'/') => dotless(reference),
            Some(b'?') => [path, reference].concat(),
            None | Some(b'#') => self.target.clone(),
            Some(_) => {
                let folder = last_halves(path, b'/').map_or("", |(folder, _)| folder);
                dotless(&[folder, "/", reference].concat())
            }
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_secured { "https://" } else { "http://" })?;
        write_place(f, &self.host, self.port, self.is_secured)?;
        f.write_str(&self.target)
    }
}

fn usual_port(is_secured: bool) -> u16 {
    if is_secured { TLS_PORT } else { PORT }
}

fn write_place(f: &mut fmt::Formatter<'_>, host: &str, port: u16, is_secured: bool) -> fmt::Result {
    if halves(host, b':').is_some() {
        write!(f, "[{host}]")?
    } else {
        f.write_str(host)?
    }
    if port == usual_port(is_secured) { Ok(()) } else { write!(f, ":{port}") }
}

/// What is behind `http://` or `https://`, and whether it is the latter.
fn behind_scheme(text: &str) -> Result<(&str, bool), String> {
    let (scheme, rest) = halves(text, b':').unwrap_or(("", text));
    let is = |name: &str| is(scheme, name);
    Err(match rest.strip_prefix("//") {
        Some(rest) if is("http") => return Ok((rest, false)),
        Some(rest) if is("https") && cfg!(feature = "tls") => return Ok((rest, true)),
        Some(_) if is("https") => {
            "https:// needs a build with TLS (lumberjack-tls), which this is not: take that, or put a proxy such as stunnel \
             or nginx on this box before it, and give that one, over http://"
        }
        None if is("http") || is("https") => "two slashes are missing: http://HOST/PATH",
        None if text.starts_with("http//") || text.starts_with("https//") => "a colon is missing: http://HOST/PATH",
        Some(_) if cfg!(feature = "tls") => "only http:// and https:// are spoken: https://HOST/PATH",
        Some(_) => "only http:// is spoken: http://HOST/PATH",
        None => "it begins with http://, as in http://192.0.2.7:8080/PATH",
    }
    .to_owned())
}

/// Whether a path and query can stand in a head as they are.
fn fit(target: &str) -> Result<(), String> {
    let unfit = target.chars().find(|letter| !letter.is_ascii_graphic() || *letter == '#');
    Err(match unfit {
        None => return Ok(()),
        Some('#') => "what is behind # is never sent to a server: leave it out, or write %23 for a # itself".to_owned(),
        Some(' ') => "write %20 for a space".to_owned(),
        Some(letter) if letter.is_ascii() => "there is a control character in it".to_owned(),
        Some(letter) => {
            let mut bytes = [0; 4];
            format!("write {} for {letter}", encoded(letter.encode_utf8(&mut bytes)))
        }
    })
}

/// The text, with `%20` for what a head can't hold.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for value in [byte >> 4, byte & 15] {
                out.push(char::from(if value < 10 { b'0' + value } else { b'A' - 10 + value }));
            }
        }
    }
    out
}

fn rooted(target: &str) -> String {
    [if target.starts_with('/') { "" } else { "/" }, target].concat()
}

/// A path and query in which no part of the path is `.` or `..`.
fn dotless(target: &str) -> String {
    let (path, query) = cut(target, b"?#");
    let (mut out, mut rest) = (String::new(), path.get(1..).unwrap_or_default());
    loop {
        let (part, behind) = cut(rest, b"/");
        match part {
            ".." => {
                let len = last_halves(&out, b'/').map_or(0, |(before, _)| before.len());
                out.truncate(len);
            }
            "." => {}
            _ => {
                out.push('/');
                out.push_str(part);
            }
        }
        let Some(behind) = behind.get(1..) else {
            if out.is_empty() || [".", ".."].contains(&part) {
                out.push('/');
            }
            out.push_str(query);
            return out;
        };
        rest = behind;
    }
}

/// A text from elsewhere that may be a URL with credentials, printable.
fn without_credentials(text: &str) -> String {
    let (scheme, rest) = cut(text, b"/");
    let (slashes, rest) =
        if rest.starts_with("//") { rest.split_at_checked(2).unwrap_or_default() } else { ("", rest) };
    let (authority, path) = cut(rest, b"/?#");
    let place = last_halves(authority, b'@').map_or(authority, |(_, place)| place);
    shown([scheme, slashes, place, path].concat().as_bytes())
}

/// Reads `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`.
pub(super) fn address(text: &str, usual: u16) -> Result<(String, u16), String> {
    let no_host = "give a server's name or address, as in http://192.0.2.7:8080/PATH";
    let (host, port, is_v6) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = halves(rest, b']').ok_or("the ] behind an IPv6 address is missing")?;
            match behind.strip_prefix(':') {
                Some(port) => (host, Some(port), true),
                None if behind.is_empty() => (host, None, true),
                None => return Err("behind ] there is a port or nothing: http://[2001:db8::1]:8080/PATH".to_owned()),
            }
        }
        None if halves(text, b':').is_some_and(|(_, rest)| halves(rest, b':').is_some()) => {
            return Err("an IPv6 address needs brackets: http://[2001:db8::1]:8080/PATH".to_owned());
        }
        None => halves(text, b':').map_or((text, None, false), |(host, port)| (host, Some(port), false)),
    };
    if let Some(letter) = host.chars().find(|letter| !is_of_host(*letter, is_v6)) {
        return Err(format!("a server's name holds no {}", letter.escape_default()));
    }
    if host.is_empty() || is_v6 == halves(host, b':').is_none() {
        return Err(no_host.to_owned());
    }
    let port = port.map_or(Some(usual), |digits| u16::try_from(number(digits)?).ok());
    match port {
        // As URLs write what this box calls `fe80::1%eth0`.
        Some(port) if port != 0 => Ok((host.replace("%25", "%"), port)),
        _ => Err(format!("the port is a number from 1 to 65535, and {usual} if it is left out")),
    }
}

fn is_of_host(letter: char, is_v6: bool) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_') || (is_v6 && matches!(letter, ':' | '%'))
}

/// Reads `USER:PASS`.
fn credentials(text: &str) -> Result<Secret, &'static str> {
    let (user, password) = halves(text, b':').unwrap_or((text, ""));
    if user.is_empty() {
        return Err("before the @ there is no user: give USER:PASS@, or nothing and --http-auth");
    }
    if halves(text, b'@').is_some() {
        return Err("write %40 for an @ in user or password");
    }
    let decoded = |part: &str| {
        unescaped(part).ok_or("behind % two hexadecimal digits are expected in user and password: write %25 for %")
    };
    Secret::basic(&decoded(user)?, &decoded(password)?)
}

/// A text with `%41` for what a URL can't hold.
fn unescaped(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digit = |at: usize| digits.get(at).and_then(|digit| char::from(*digit).to_digit(16));
            bytes.push(u8::try_from(digit(0)? << 4 | digit(1)?).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn p13_what_is_no_url_says_what_to_give() {
        for (text, sentence) in [
            ("", "it begins with http://"),
            ("h", "it begins with http://"),
            ("h:80/log", "it begins with http://"),
            ("/log", "it begins with http://"),
            ("http:", "two slashes are missing"),
            ("http:/h/log", "two slashes are missing"),
            ("https:h", "two slashes are missing"),
            ("http//h/log", "a colon is missing"),
            ("ftp://h/log", "only http://"),
            #[cfg(not(feature = "tls"))]
            (
                "https://h/log",
                "https:// needs a build with TLS (lumberjack-tls), which this is not: take that, or put a proxy such as \
                 stunnel or nginx on this box before it, and give that one, over http://",
            ),
            #[cfg(not(feature = "tls"))]
            ("HTTPS://h/log", "https:// needs a build with TLS"),
            #[cfg(feature = "tls")]
            ("https://h:0/log", "the port is a number from 1 to 65535, and 443 if it is left out"),
            ("http://", "give a server's name or address"),
            ("http:///log", "give a server's name or address"),
            ("http://:80/log", "give a server's name or address"),
            ("http://[h]/log", "give a server's name or address"),
            ("http://h:/log", "the port is a number"),
            ("http://h:0/log", "the port is a number"),
            ("http://h:+5/log", "the port is a number"),
            ("http://h:65536/log", "the port is a number"),
            ("http://::1/log", "an IPv6 address needs brackets"),
            ("http://[::1/log", "the ] behind an IPv6 address is missing"),
            ("http://[::1]80/log", "behind ] there is a port or nothing"),
            ("http://h x/log", "a server's name holds no  "),
            ("http://h\n/log", "a server's name holds no \\n"),
            ("http://{host}/log", "a server's name holds no {"),
            ("http://h\u{e9}/log", "a server's name holds no \\u{e9}"),
            ("http://h/a b", "write %20 for a space"),
            ("http://h/a\tb", "there is a control character in it"),
            ("http://h/a\r\nHost: x", "there is a control character in it"),
            ("http://h/a#b", "what is behind # is never sent to a server"),
            ("http://h#b", "what is behind # is never sent to a server"),
            ("http://h/\u{e9}", "write %C3%A9 for \u{e9}"),
            ("http://@h/", "before the @ there is no user"),
            ("http://:p@h/", "before the @ there is no user"),
            ("http://a:b@c@h/", "write %40 for an @"),
            ("http://a:%zz@h/", "behind % two hexadecimal digits"),
            ("http://a:%4@h/", "behind % two"),
            ("http://a:%ff@h/", "behind % two"),
            ("http://a%3Ab:c@h/", "a user's name has no colon in it"),
            ("http://a:%0d@h/", "there is a control character in user or password"),
            (&format!("http://h/{}", "a".repeat(5_000)), "it is longer than 4096 bytes"),
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(error.starts_with(sentence), "{text}: {error}");
        }
    }

    #[test]
    fn a_url_prints_as_it_reads_without_its_credentials() {
        for (text, printed) in [
            ("http://h", "http://h/"),
            ("HTTP://h:80/log?n=5", "http://h/log?n=5"),
            ("http://h?n=5", "http://h/?n=5"),
            ("http://box_1.lan:8080/a/b", "http://box_1.lan:8080/a/b"),
            ("http://[2001:db8::1]:8080/", "http://[2001:db8::1]:8080/"),
            ("http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/"),
            ("http://user:s3cret@h/a@b", "http://h/a@b"),
        ] {
            let found = url(text);
            assert_eq!(found.to_string(), printed);
            let again = url(printed);
            assert_eq!((&again.host, again.port, again.target()), (&found.host, found.port, found.target()));
        }
        assert_eq!(url("http://[fe80::1%eth0]:81/").authority().to_string(), "[fe80::1]:81", "the zone is this box's");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn p34_a_secured_one_has_a_port_of_its_own_and_no_redirect_leaves_it() {
        for (text, printed, port) in [
            ("https://h", "https://h/", 443),
            ("HTTPS://h:443/a", "https://h/a", 443),
            ("https://h:80/a", "https://h:80/a", 80),
            ("http://h:443/a", "http://h:443/a", 80 + 363),
        ] {
            assert_eq!((url(text).to_string().as_str(), url(text).port), (printed, port));
        }
        let from = url("https://h/a");
        assert_eq!(from.authority().to_string(), "h");
        for (location, target) in [("/b", "/b"), ("//h/b", "/b"), ("https://h:443/b", "/b")] {
            assert_eq!(from.resolve(location).unwrap().to_string(), format!("https://h{target}"));
        }
        for location in ["http://h/b", "http://h:443/b", "https://other/b", "https://h:444/b"] {
            assert_eq!(from.resolve(location), Err(Trouble::Elsewhere(location.to_owned())));
        }
        assert!(url("http://h:443/").resolve("https://h/").is_err());
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let found = url("http://us%20er:pa%40%2F%3A:s3cret@h/");
        assert_eq!(found.secret(), Secret::basic("us er", "pa@/::s3cret").ok().as_ref());
        assert_eq!(url("http://user@h/").secret(), Secret::basic("user", "").ok().as_ref());
        assert!(found.has_secret() && !url("http://h/@").has_secret());
        let shown = format!("{found:?} {found}");
        assert!(!shown.contains("s3cret") && !shown.contains("us er") && !shown.contains("Basic"), "{shown}");
    }

    #[test]
    fn a_redirect_leads_where_the_standard_says() {
        let from = url("http://h:81/a/b/c?q");
        // The examples of RFC 3986, 5.4, as far as they stay on the server.
        for (location, target) in [
            ("g", "/a/b/g"),
            ("./g", "/a/b/g"),
            ("g/", "/a/b/g/"),
            ("/g", "/g"),
            ("?y", "/a/b/c?y"),
            ("g?y", "/a/b/g?y"),
            ("#s", "/a/b/c?q"),
            ("g#s", "/a/b/g"),
            ("", "/a/b/c?q"),
            (".", "/a/b/"),
            ("..", "/a/"),
            ("../g", "/a/g"),
            ("../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g;x=1/../y", "/a/b/y"),
            ("g?y/../x", "/a/b/g?y/../x"),
            ("//h:81/x", "/x"),
            ("//H:81", "/"),
            ("http://h:81/x/../y?z#f", "/y?z"),
            ("http://other:pw@h:81/x", "/x"),
            (" /x ", "/x"),
            ("/a b\u{e9}", "/a%20b%C3%A9"),
            ("/a\r\nX: y", "/a%0D%0AX:%20y"),
        ] {
            let found = from.resolve(location).unwrap();
            assert_eq!(found.target(), target, "{location}");
            assert_eq!((found.host.as_str(), found.port), ("h", 81));
        }
    }

    #[test]
    fn a_redirect_elsewhere_is_named_without_credentials() {
        let from = url("http://user:pass@h/a");
        for (location, shown) in [
            ("http://h:81/a", "http://h:81/a"),
            ("https://h/a", "https://h/a"),
            ("http://other/a", "http://other/a"),
            ("//other/a", "//other/a"),
            ("http://me:s3cret@other/a", "http://other/a"),
            ("https://s3cret@h/", "https://h/"),
            ("file:///etc/passwd", "file:///etc/passwd"),
            ("javascript:x", "javascript:x"),
            ("http://\x1b[31mh/", "http://\\x1b[31mh/"),
            (&format!("https://h/{}", "a".repeat(90)), "https://h/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\u{2026}"),
        ] {
            assert_eq!(from.resolve(location), Err(Trouble::Elsewhere(shown.to_owned())), "{location}");
        }
        assert_eq!(from.resolve("/b").unwrap().secret(), from.secret(), "on the same server they hold");
    }

    #[test]
    fn another_target_is_on_the_same_server_and_fits_a_head() {
        let from = url("http://user:pass@h:81/a");
        assert_eq!(from.with_target("x y\r\n#z").to_string(), "http://h:81/x%20y%0D%0A");
        assert!(from.with_target("").same_origin(&from) && from.with_target("b").has_secret());
        assert!(from.same_origin(&url("http://H:81/")) && !from.same_origin(&url("http://h/")));
    }
}
