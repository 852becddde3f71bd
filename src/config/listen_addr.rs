//! Addresses to listen on, and how each is written. Invariant: what prints parses to the same.

use core::fmt::{self, Write};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::str::FromStr;
use std::path::PathBuf;

use super::pattern;
use super::text::{is, whole};

/// What an address of UDP begins with.
const UDP: &str = "udp:";
/// The longest path that the address of a Unix socket has room for, with the NUL behind it: `sun_path` has 108 bytes.
pub(crate) const MOST_UNIX_BYTES: usize = 107;

/// An address to listen on: `ADDR:PORT`, `[ADDR]:PORT`, `udp:ADDR:PORT` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddr {
    /// TCP. Port 0 lets the system pick one; `[::]` takes IPv4 clients too, unless `0.0.0.0` is given with that port.
    Tcp(SocketAddr),
    /// UDP, likewise: each datagram is a line, or several.
    Udp(SocketAddr),
    /// A stream socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Udp(addr) => write!(f, "{UDP}{addr}"),
            Self::Unix(path) => {
                f.write_str("unix:")?;
                // An address may have to fit a log line or a sentence: no control character may break it.
                path.to_string_lossy().chars().try_for_each(|letter| match letter.is_control() {
                    true => letter.escape_debug().fmt(f),
                    false => f.write_char(letter),
                })
            }
        }
    }
}

/// Why a text is no address to listen on. `Display` is the end of a sentence that begins with the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddrError {
    /// `unix:` without an absolute path after it, or with control characters in the path, or with a folder's.
    UnixPath,
    /// `unix:` with a path of more bytes than an address has room for.
    UnixTooLong,
    /// `unix:` with a path in which other programs would replace something.
    UnixPattern,
    /// A path without `unix:` before it.
    BarePath,
    /// `tcp:` before an address.
    Tcp,
    /// `udp://` before an address.
    UdpSlashes,
    /// UDP, in a build without it.
    NoUdp,
    /// Another scheme, such as `http:`.
    Scheme,
    /// A port alone.
    PortAlone,
    /// A port that is no number, or too large a one.
    Port,
    /// An interface by its name.
    Interface,
    /// Several addresses in one, or spaces.
    Several,
    /// A multicast or broadcast address.
    Group,
    /// The number of a descriptor.
    Descriptor,
    /// An address without a port.
    NoPort,
    /// A host name.
    Name,
    /// Anything else.
    NotAnAddress,
}

impl fmt::Display for ListenAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnixPath => {
                "a Unix socket needs an absolute path without control characters, such as unix:/run/lumberjack.sock"
            }
            Self::UnixTooLong => "the path of a Unix socket has 107 bytes at most: choose a shorter one",
            Self::UnixPattern => {
                "nothing is replaced in a socket's path; write ./ before its name if it is meant, such as unix:/run/./%i.sock"
            }
            Self::BarePath => "a Unix socket has unix: before its path, such as unix:/run/lumberjack.sock",
            Self::Tcp => "an address is one of TCP anyway: leave out what is before it",
            Self::UdpSlashes => "write it as udp:ADDR:PORT, such as udp:0.0.0.0:514",
            Self::NoUdp => "this program was built without UDP: listen on TCP, or build it with the feature udp",
            Self::Scheme => "that is not served; write ADDR:PORT for TCP, ADDR:PORT,tls for TLS, udp:ADDR:PORT, or unix:/path",
            Self::PortAlone => {
                "name the address before it: 127.0.0.1 for this machine alone, 0.0.0.0 for all who reach it, [::] for those of IPv6 as well"
            }
            Self::Port => "the port is a number up to 65535",
            Self::Interface => "name the interface by its number, such as [fe80::1%2]:4445 (ip link shows it)",
            Self::Several => "that is more than one, or has spaces in it: write ADDR:PORT, and give the option once for each",
            Self::Group => "nobody can connect to a group: give an address of this machine, or 0.0.0.0 for all",
            Self::Descriptor => {
                "sockets that somebody else has opened come by LISTEN_FDS, as systemd sets it, and need no --listen"
            }
            Self::NoPort => "the port is missing: write 127.0.0.1:4445, or [::1]:4445 for IPv6",
            Self::Name => "names are not looked up: give the address itself, such as 127.0.0.1:4445 or 0.0.0.0:4445",
            Self::NotAnAddress => {
                "write ADDR:PORT such as 127.0.0.1:4445, [::1]:4445 for IPv6, udp:ADDR:PORT, or unix:/path"
            }
        })
    }
}

impl core::error::Error for ListenAddrError {}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let is_usable = path.starts_with('/') && !path.ends_with('/') && !path.contains(char::is_control);
            return match is_usable {
                false => Err(ListenAddrError::UnixPath),
                true if path.len() > MOST_UNIX_BYTES => Err(ListenAddrError::UnixTooLong),
                true if pattern::sign(path, &[]).is_some() && !pattern::is_literal(path) => {
                    Err(ListenAddrError::UnixPattern)
                }
                true => Ok(Self::Unix(path.into())),
            };
        }
        let is_group = |at: &SocketAddr| at.ip().is_multicast() || at.ip() == IpAddr::V4(Ipv4Addr::BROADCAST);
        if let Some(addr) = text.strip_prefix(UDP) {
            return match addr.parse() {
                Ok(_) if cfg!(not(feature = "udp")) => Err(ListenAddrError::NoUdp),
                Ok(addr) if is_group(&addr) => Err(ListenAddrError::Group),
                Ok(addr) => Ok(Self::Udp(addr)),
                Err(_) => Err(misread_udp(addr)),
            };
        }
        match text.parse::<SocketAddr>() {
            Ok(at) if is_group(&at) => Err(ListenAddrError::Group),
            Ok(at) => Ok(Self::Tcp(at)),
            Err(_) => Err(misread(text)),
        }
    }
}

/// What is wrong with a text behind `udp:` that is no address.
fn misread_udp(text: &str) -> ListenAddrError {
    if text.starts_with("//") { ListenAddrError::UdpSlashes } else { misread(text) }
}

/// What is wrong with a text that is no address.
#[inline(never)] // for size
fn misread(text: &str) -> ListenAddrError {
    if text.bytes().any(|byte| b",; ".contains(&byte)) {
        return ListenAddrError::Several;
    }
    if text.starts_with(['/', '.']) {
        return ListenAddrError::BarePath;
    }
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return ListenAddrError::NoPort;
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let has_port = text.contains(':');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if (!has_port && is_number(host)) || (is_number(port) && matches!(host, "" | "*" | "0" | "::" | "[*]")) {
        return ListenAddrError::PortAlone;
    }
    if let Some((scheme, rest)) = text.split_once(':') {
        let is = |word: &str| is(scheme, word);
        if is("tcp") {
            return ListenAddrError::Tcp;
        }
        if is("unix") {
            return ListenAddrError::BarePath;
        }
        if is("fd") {
            return ListenAddrError::Descriptor;
        }
        if is("udp") {
            return ListenAddrError::UdpSlashes;
        }
        if rest.starts_with("//") || is("tls") || is("tcp+tls") {
            return ListenAddrError::Scheme;
        }
    }
    if host.contains('%') {
        return ListenAddrError::Interface;
    }
    if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() != host.starts_with('[')) {
        return ListenAddrError::Port;
    }
    let is_name = host.contains(|c: char| c.is_ascii_alphabetic())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_');
    if is_name && (!has_port || whole(port).is_some_and(|port| port <= 0xffff)) {
        return ListenAddrError::Name;
    }
    ListenAddrError::NotAnAddress
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print_back() {
        for text in
            ["127.0.0.1:4445", "0.0.0.0:0", "[::1]:4445", "[::]:0", "unix:/run/lumberjack.sock", "unix:/run/./%i.sock"]
        {
            assert_eq!(text.parse::<ListenAddr>().map(|at| at.to_string()), Ok(text.into()));
        }
    }

    #[test]
    fn an_address_of_udp_parses_and_prints_back_where_there_is_udp() {
        for text in ["udp:0.0.0.0:514", "udp:[::1]:0"] {
            let expected = if cfg!(feature = "udp") { Ok(text.into()) } else { Err(ListenAddrError::NoUdp) };
            assert_eq!(text.parse::<ListenAddr>().map(|at| at.to_string()), expected);
        }
    }

    #[test]
    fn a_wrong_address_says_what_is_wrong() {
        for (text, error) in [
            ("", ListenAddrError::NotAnAddress),
            ("127.0.0.1", ListenAddrError::NoPort),
            ("::1", ListenAddrError::NoPort),
            ("[::1]", ListenAddrError::NoPort),
            ("localhost:4445", ListenAddrError::Name),
            ("localhost", ListenAddrError::Name),
            ("127.0.0.1:99999", ListenAddrError::Port),
            ("127.0.0.1:syslog", ListenAddrError::Port),
            ("[::1]:99999", ListenAddrError::Port),
            ("[127.0.0.1]:4445", ListenAddrError::NotAnAddress),
            ("127.1:4445", ListenAddrError::NotAnAddress),
            (":4445", ListenAddrError::PortAlone),
            ("4445", ListenAddrError::PortAlone),
            ("*:4445", ListenAddrError::PortAlone),
            (":::4445", ListenAddrError::PortAlone),
            ("tcp:127.0.0.1:4445", ListenAddrError::Tcp),
            ("TCP://127.0.0.1:4445", ListenAddrError::Tcp),
            ("udp:", ListenAddrError::NotAnAddress),
            ("udp:514", ListenAddrError::PortAlone),
            ("udp:127.0.0.1", ListenAddrError::NoPort),
            ("udp:localhost:514", ListenAddrError::Name),
            ("udp:127.0.0.1:99999", ListenAddrError::Port),
            ("udp:[fe80::1%eth0]:514", ListenAddrError::Interface),
            ("udp:tcp:127.0.0.1:514", ListenAddrError::Tcp),
            ("udp://127.0.0.1:514", ListenAddrError::UdpSlashes),
            ("UDP:127.0.0.1:514", ListenAddrError::UdpSlashes),
            ("udp:udp:127.0.0.1:514", ListenAddrError::UdpSlashes),
            ("http://127.0.0.1:80", ListenAddrError::Scheme),
            ("tls:127.0.0.1:6514", ListenAddrError::Scheme),
            ("TCP+TLS:[::1]:6514", ListenAddrError::Scheme),
            ("[fe80::1%eth0]:4445", ListenAddrError::Interface),
            ("127.0.0.1:4445,127.0.0.1:4446", ListenAddrError::Several),
            ("127.0.0.1  4445", ListenAddrError::Several),
            ("224.0.0.1:4445", ListenAddrError::Group),
            ("[ff02::1]:4445", ListenAddrError::Group),
            ("255.255.255.255:4445", ListenAddrError::Group),
            ("fd:3", ListenAddrError::Descriptor),
            ("fd://3", ListenAddrError::Descriptor),
            ("/run/x.sock", ListenAddrError::BarePath),
            ("./x.sock", ListenAddrError::BarePath),
            ("UNIX:/run/x.sock", ListenAddrError::BarePath),
            ("unix:", ListenAddrError::UnixPath),
            ("unix:/run/", ListenAddrError::UnixPath),
            ("unix:@name", ListenAddrError::UnixPath),
            ("unix:relative.sock", ListenAddrError::UnixPath),
            (&format!("unix:/{}", "x".repeat(MOST_UNIX_BYTES)), ListenAddrError::UnixTooLong),
            ("unix:/run/%i.sock", ListenAddrError::UnixPattern),
            ("unix:/run/$NAME.sock", ListenAddrError::UnixPattern),
            ("unix:/run/{host}.sock", ListenAddrError::UnixPattern),
        ] {
            assert_eq!(text.parse::<ListenAddr>(), Err(error), "{text:?}");
        }
    }
}
