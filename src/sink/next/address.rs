//! Where the next receiver is: its address as text, and whether that is one of our own. Invariant: what prints reads as
//! the same, and what other programs would replace in it is refused.

use std::fmt;
use std::fs;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use crate::config::listen::{ListenAddr, ListenAddrError, MOST_UNIX_BYTES};
use crate::config::pattern;
use crate::config::text::{as_text, escaped, is, whole};
use crate::config::tls_out::TlsOptions;
use crate::dial::numeric::numeric;

/// The most links that are followed from one name to another.
const MOST_LINKS: usize = 8;

/// Where the next receiver is, as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Unix(PathBuf),
    /// Name or address, without brackets.
    Tcp {
        host: String,
        port: u16,
        /// What is said of TLS, if it is reached over that.
        tls: Option<TlsOptions>,
    },
}

/// Reads `unix:/path`, `tcp:HOST:PORT` and `tcp+tls:HOST:PORT`; `None` if the text is none of these. The error is the end of a
/// sentence.
pub(super) fn parse(text: &str) -> Option<Result<Next, String>> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Some(misread_path(path).map_or_else(|| Ok(Next::Unix(path.into())), Err));
    }
    if let Some(place) = text.strip_prefix("tcp+tls:").filter(|place| !place.starts_with('/')) {
        return Some(secured(place));
    }
    let place = text.strip_prefix("tcp:").filter(|place| !place.starts_with('/'))?;
    Some(tcp(place).map_err(ToOwned::to_owned))
}

/// Reads `HOST:PORT[,ca=FILE…]`.
#[inline(never)] // for size
fn secured(place: &str) -> Result<Next, String> {
    if !cfg!(feature = "tls") {
        return Err("TLS needs a build that has it (lumberjack-tls), which this is not: take that, or put a proxy such as stunnel on this box before it, and give tcp:127.0.0.1:PORT".to_owned());
    }
    let (place, options) = TlsOptions::behind(place)?;
    match tcp(place) {
        Ok(Next::Tcp { host, port, .. }) => Ok(Next::Tcp { host, port, tls: Some(options) }),
        other => other.map_err(|why| why.replace("tcp:", "tcp+tls:")),
    }
}

/// Whether this is a host and a port.
pub(in crate::sink) fn is_tcp(place: &str) -> bool {
    tcp(place).is_ok()
}

/// What is wrong with a path that hardly is a socket's.
#[inline(never)] // for size
fn misread_path(path: &str) -> Option<String> {
    if let (Some(sign), false) = (pattern::sign(path, &[]), pattern::is_literal(path) || !path.starts_with('/')) {
        let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
        let sentence = format!(
            "{sign} is taken as it is: nothing is replaced in the path of a socket; write unix:{folder}./{name} for one of that name"
        );
        return Some(escaped(&sentence));
    }
    let first = path.split('/').next().unwrap_or_default();
    let sentence = match path {
        _ if path.starts_with('@') => "abstract sockets are not served: give a path, such as unix:/run/next.sock",
        _ if first.contains(':') => "it reads like an address: write tcp:HOST:PORT, or a socket's path, unix:/path",
        _ if !path.starts_with('/') || path.ends_with('/') => return Some(ListenAddrError::UnixPath.to_string()),
        _ if path.len() > MOST_UNIX_BYTES => return Some(ListenAddrError::UnixTooLong.to_string()),
        _ => return None,
    };
    Some(sentence.to_owned())
}

/// Reads `HOST:PORT`; the error is the end of a sentence.
#[inline(never)] // one copy, for size
fn tcp(place: &str) -> Result<Next, &'static str> {
    let (host, port) = place.rsplit_once(':').unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    // Names may be of other scripts; what is of none is below.
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter > '\u{a0}' || "-._".contains(letter);
    let is_part = |letter: char| is_name(letter) || (bare.is_some() && ":%".contains(letter));
    if place.contains('=') {
        return Err("options of TLS stand behind tcp+tls:HOST:PORT, and this is tcp:");
    }
    if place.contains(',') {
        return Err("an output is one receiver: give --output once for each");
    }
    if bare.is_none() && pattern::sign(place, &[]).is_some() {
        return Err("nothing is replaced in an address: give the receiver's own, such as tcp:192.0.2.7:4445");
    }
    if host.parse::<Ipv6Addr>().is_ok() {
        return Err("an IPv6 address needs brackets: tcp:[2001:db8::1]:4445");
    }
    let host = bare.unwrap_or(host);
    if host.is_empty() || !host.chars().all(is_part) {
        return Err("give a host and a port, such as tcp:192.0.2.7:4445");
    }
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if numeric(host).is_none() && host.rsplit('.').next().is_some_and(is_number) {
        return Err("this is no address, and no name ends in a number");
    }
    match whole(port).and_then(|number| u16::try_from(number).ok()) {
        Some(number) if number != 0 && is_number(port) => {
            Ok(Next::Tcp { host: host.to_owned(), port: number, tls: None })
        }
        _ => Err("the port is a number from 1 to 65535"),
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port, tls } => {
                f.write_str(if tls.is_some() { "tcp+tls:" } else { "tcp:" })?;
                if host.contains(':') {
                    write!(f, "[{host}]:{port}")?
                } else {
                    write!(f, "{host}:{port}")?
                }
                tls.as_ref().map_or(Ok(()), |options| options.fmt(f))
            }
        }
    }
}

impl Next {
    /// What is said of TLS behind it, if it is reached over that.
    pub(super) fn tls(&self) -> Option<&TlsOptions> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp { tls, .. } => tls.as_ref(),
        }
    }

    /// The place alone, as text.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Tcp { host, port, tls: Some(_) } => {
                as_text(&Self::Tcp { host: host.clone(), port: *port, tls: Some(TlsOptions::default()) })
            }
            _ => as_text(&self),
        }
    }

    /// Whether lines that go there would come in again at this listener, as far as the two addresses tell.
    pub(super) fn is_at(&self, listener: &ListenAddr) -> bool {
        match (self, listener) {
            (Self::Unix(path), ListenAddr::Unix(own)) => path == own || resolved(path) == resolved(own),
            (Self::Tcp { host, port, .. }, ListenAddr::Tcp(own)) if *port == own.port() => {
                let own = own.ip().to_canonical();
                let is_here = own.is_unspecified() || own.is_loopback();
                match numeric(host) {
                    Some(ip) if ip.is_unspecified() => is_here,
                    Some(ip) => ip == own || (ip.is_loopback() && own.is_unspecified()),
                    None => is(host, "localhost") && is_here,
                }
            }
            _ => false,
        }
    }
}

/// A path without links and dots; its last part need not be there.
fn resolved(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        path.pop();
        path.push(target);
    }
    let folder = path.parent().and_then(|folder| fs::canonicalize(folder).ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_what_is_no_address_of_a_receiver_says_what_to_write() {
        for (text, sentence) in [
            ("tcp:", "give a host and a port, such as tcp:192.0.2.7:4445"),
            ("tcp:127.0.0.1", "give a host and a port, "),
            ("tcp:514", "give a host and a port, "),
            ("tcp:[::1]", "give a host and a port, "),
            ("tcp:user@gw:514", "give a host and a port, "),
            ("tcp:gw:514:514", "give a host and a port, "),
            ("tcp:gw:syslog", "the port is a number from 1 to 65535"),
            ("tcp:gw:0", "the port is "),
            ("tcp:127.0.0.1:65536", "the port is "),
            ("tcp:::1:514", "an IPv6 address needs brackets: tcp:["),
            ("tcp:gw:514,ca=x", "options of TLS stand behind tcp+tls:HOST:PORT"),
            #[cfg(not(feature = "tls"))]
            ("tcp+tls:gw:6514", "TLS needs a build that has it (lumberjack-tls), which this is not: take that, or put"),
            #[cfg(feature = "tls")]
            ("tcp+tls:gw", "give a host and a port, such as tcp+tls:192.0.2.7:4445"),
            #[cfg(feature = "tls")]
            ("tcp+tls:gw:6514,insecure", "insecure: certificates are always checked; to trust one machine, give ca="),
            ("tcp:gw:514,other:514", "an output is one receiver: give --output once for each"),
            ("tcp:a,b:514", "an output is one receiver"),
            ("tcp:%h:514", "nothing is replaced in an address: give the receiver's own"),
            ("tcp:$GW:514", "nothing is replaced "),
            ("tcp:{host}:514", "nothing is replaced "),
            ("tcp:*:514", "nothing is replaced "),
            ("tcp:300.1.1.1:514", "this is no address, and no name ends in a number"),
            ("unix:", "a Unix socket needs an absolute path "),
            ("unix:/run/", "a Unix socket needs an absolute path "),
            ("unix:rel.sock", "a Unix socket needs an absolute path without control characters, such as unix:/run/"),
            ("unix:./a", "a Unix socket needs an absolute path "),
            ("tcp:127.0.0.1:+514", "the port is a number from 1 to 65535"),
            ("unix:@next", "abstract sockets are not served: give a path, "),
            ("unix:tcp:gw:514", "it reads like an address: write tcp:HOST:PORT, or a socket's path, unix:/path"),
            (
                "unix:/run/{host}.sock",
                "{host} is taken as it is: nothing is replaced in the path of a socket; write unix:/run/./{host}.sock for one of that name",
            ),
            ("unix:/run/%n.sock", "% is taken as it is: "),
            ("unix:$DIR/x", "a Unix socket needs an absolute path "),
            ("unix:~/x", "a Unix socket needs an absolute path "),
        ] {
            let error = parse(text).unwrap().unwrap_err();
            assert!(error.starts_with(sentence), "{text}: {error}");
            if let Some((_, literally)) = error.split_once("; write ") {
                assert!(parse(literally.split(' ').next().unwrap()).unwrap().is_ok(), "{error}");
            }
        }
    }

    #[test]
    fn an_address_prints_as_it_reads() {
        for text in [
            "tcp:gw.example:514",
            "tcp:my_box-2:514",
            "tcp:127.1:514",
            "tcp:[::1]:514",
            "tcp:[fe80::1%eth0]:514",
            #[cfg(feature = "tls")]
            "tcp+tls:[::1]:6514,ca=/etc/ca.pem,cert=a,key=b,server-name=gw.example",
            "unix:/run/a:b",
            "unix:/run/./%n.sock",
        ] {
            assert_eq!(parse(text).unwrap().unwrap().to_string(), text);
        }
    }
}
