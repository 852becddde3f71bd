//! Listeners: the place of each, how it is written, which places get in each other's way, and how the bytes that come
//! there become lines. Invariant: what prints parses to the same.

use core::fmt::{self, Write};
use core::net::SocketAddr;
use core::str::FromStr;
use std::path::PathBuf;

use super::word::{WordError, word_enum};

/// Where the binary listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:4445";
/// The most listeners a server can have: the numbers a token keeps for what is no connection, but two.
pub const MOST_LISTENERS: usize = 28;

word_enum! {
    /// How the bytes of a listener's clients become lines.
    Framing {
        /// Each line ends in `\n`, or in `\r\n` (P1).
        #[default]
        Lines = "lines",
    }
}

/// A listener: where it is, and what its clients send. Any [`ListenAddr`] is one whose clients send lines.
///
/// ```
/// use lumberjack::{Framing, Listen};
///
/// let listen: Listen = "127.0.0.1:4445".parse()?;
/// assert_eq!((listen.at.to_string().as_str(), listen.framing), ("127.0.0.1:4445", Framing::Lines));
/// # Ok::<(), lumberjack::ListenAddrError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listen {
    /// Where.
    pub at: ListenAddr,
    /// How bytes become lines. Default `lines`.
    pub framing: Framing,
}

impl From<ListenAddr> for Listen {
    fn from(at: ListenAddr) -> Self {
        Self { at, framing: Framing::default() }
    }
}

impl FromStr for Listen {
    type Err = ListenAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<ListenAddr>().map(Self::from)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}

/// A place to listen at: `ADDR:PORT`, `[ADDR]:PORT` or `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddr {
    /// TCP. Port 0 lets the system pick one; `[::]` takes IPv4 clients too, unless `0.0.0.0` is given with that port.
    Tcp(SocketAddr),
    /// A stream socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => {
                f.write_str("unix:")?;
                // What names a place is one line in the log and in a sentence, whatever is in it.
                path.to_string_lossy().chars().try_for_each(|letter| match letter.is_control() {
                    true => letter.escape_debug().fmt(f),
                    false => f.write_char(letter),
                })
            }
        }
    }
}

/// Why a text is no place to listen at. `Display` is the end of a sentence that begins with the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenAddrError {
    /// `unix:` without an absolute path behind it, or with control characters in it.
    UnixPath,
    /// An address without a port.
    NoPort,
    /// A host name.
    Name,
    /// Neither.
    NotAnAddress,
}

impl fmt::Display for ListenAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnixPath => {
                "a Unix socket needs an absolute path without control characters, such as unix:/run/lumberjack.sock"
            }
            Self::NoPort => "the port is missing: write 127.0.0.1:4445, or [::1]:4445 for IPv6",
            Self::Name => "names are not looked up: give the address itself, such as 127.0.0.1:4445 or 0.0.0.0:4445",
            Self::NotAnAddress => "write ADDR:PORT such as 127.0.0.1:4445, [::1]:4445 for IPv6, or unix:/path",
        })
    }
}

impl core::error::Error for ListenAddrError {}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let is_usable = path.starts_with('/') && path.len() > 1 && !path.contains(char::is_control);
            return if is_usable { Ok(Self::Unix(path.into())) } else { Err(ListenAddrError::UnixPath) };
        }
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self::Tcp(addr));
        }
        let is_bare_ip = text.trim_matches(['[', ']']).parse::<core::net::IpAddr>().is_ok();
        let host_end = text.rfind(':').unwrap_or(text.len());
        let (host, port) = text.split_at(host_end);
        let is_name = host.contains(|c: char| c.is_ascii_alphabetic())
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_');
        Err(match port.strip_prefix(':') {
            _ if is_bare_ip => ListenAddrError::NoPort,
            Some(port) if is_name && port.parse::<u16>().is_ok() => ListenAddrError::Name,
            None if is_name => ListenAddrError::Name,
            _ => ListenAddrError::NotAnAddress,
        })
    }
}

impl ListenAddr {
    /// Whether this place, given beside `all`, takes the clients of `other`, so that the system would refuse that.
    #[must_use]
    pub fn covers(&self, other: &Self, all: &[Listen]) -> bool {
        let (Self::Tcp(one), Self::Tcp(two)) = (self, other) else { return self == other };
        if one.port() == 0 || one.port() != two.port() {
            return false;
        }
        let takes_family = one.is_ipv4() == two.is_ipv4() || (one.is_ipv6() && !self.leaves_ipv4(all));
        one.ip() == two.ip() || (one.ip().is_unspecified() && takes_family)
    }

    /// Whether an IPv6 place leaves IPv4 to a `0.0.0.0` that is given too, with the same port; otherwise `[::]` takes
    /// both.
    #[must_use]
    pub fn leaves_ipv4(&self, all: &[Listen]) -> bool {
        let Self::Tcp(here) = self else { return false };
        let is_any_v4 = |at: &SocketAddr| at.is_ipv4() && at.ip().is_unspecified();
        let takes_it = |other: &Listen| matches!(&other.at, Self::Tcp(at) if is_any_v4(at) && at.port() == here.port());
        here.is_ipv6() && here.port() != 0 && all.iter().any(takes_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print_back() {
        for text in ["127.0.0.1:4445", "0.0.0.0:0", "[::1]:4445", "[::]:0", "unix:/run/lumberjack.sock"] {
            assert_eq!(text.parse::<ListenAddr>().map(|at| at.to_string()), Ok(text.into()));
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
            ("127.0.0.1:99999", ListenAddrError::NotAnAddress),
            (":4445", ListenAddrError::NotAnAddress),
            ("4445", ListenAddrError::NotAnAddress),
            ("unix:", ListenAddrError::UnixPath),
            ("unix:relative.sock", ListenAddrError::UnixPath),
        ] {
            assert_eq!(text.parse::<ListenAddr>(), Err(error), "{text:?}");
        }
    }
}
