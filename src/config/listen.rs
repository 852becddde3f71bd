//! Listeners: the address of each with its options, how that is written, and which addresses can't be used together.
//! Invariant: what prints parses to the same.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddr};
use core::str::FromStr;

use super::listen_options::{Given, split};
use super::syslog::Parse;

pub(crate) use super::listen_addr::MOST_UNIX_BYTES;
pub use super::listen_addr::{ListenAddr, ListenAddrError};
pub use super::listen_options::{Framing, ListenError, ListenOptions};

/// Where the binary listens without `--listen`.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:4445";
/// The most listeners that a server can have: a poll token has 64 numbers for what is no connection, and visitors, outputs
/// and the like take the rest.
pub const MOST_LISTENERS: usize = 28;

/// A listener: where it is, and how its clients are treated; as text `ADDR:PORT,KEY=VALUE`, the same with `udp:` or
/// `unix:/path` in place of the address. Any
/// [`ListenAddr`] is one with the default options.
///
/// ```
/// use lumberjack::{Listen, ListenOptions};
///
/// let listen: Listen = "127.0.0.1:4445".parse()?;
/// assert_eq!((listen.at.to_string().as_str(), listen.options), ("127.0.0.1:4445", ListenOptions::default()));
/// # Ok::<(), lumberjack::ListenError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listen {
    /// Where.
    pub at: ListenAddr,
    /// How its clients are treated.
    pub options: ListenOptions,
    /// Which options it was given by name: defaults don't change them.
    given: Given,
}

impl Listen {
    /// A listener with these options.
    #[must_use]
    pub fn new(at: ListenAddr, options: ListenOptions) -> Self {
        Self { at, options, given: Given::default() }
    }

    /// Options that it was not given as text are those of `defaults`, where they make sense.
    pub fn inherit(&mut self, defaults: &ListenOptions) {
        self.options.inherit(&mut self.given, defaults, &self.at);
    }

    /// How what comes here becomes lines: a syslog message over UDP is all of its datagram, and may hold newlines.
    pub(crate) fn framing(&self) -> Framing {
        let is_message = self.at.is_udp() && self.options.parse == Parse::Syslog;
        if is_message { Framing::Nul } else { self.options.framing }
    }

    /// Takes over what can change while it is open, if `newer` is the same place.
    #[cfg(feature = "cli")]
    pub(crate) fn renew(&mut self, newer: &Self) {
        if self.at == newer.at {
            self.options.renew(&newer.options);
            self.given.renew(newer.given);
        }
    }

    /// Why one of its options can't be what it is at this address, whatever else is set.
    #[cfg(feature = "cli")]
    pub(crate) fn misplaced(&self) -> Option<&'static str> {
        self.options.misplaced(&self.at)
    }

    /// The first of its options that can't be what it is: its key, its value and why.
    pub(super) fn contradiction(&self) -> Option<(&'static str, String, &'static str)> {
        self.options.contradiction(&self.at)
    }
}

impl From<ListenAddr> for Listen {
    fn from(at: ListenAddr) -> Self {
        Self::new(at, ListenOptions::default())
    }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (at, options) = split(text);
        let at = at.parse().map_err(ListenError::Addr)?;
        let (options, given) = options.map_or(Ok(Default::default()), ListenOptions::parse)?;
        Ok(Self { at, options, given })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)?;
        self.options.show(self.given, f)
    }
}

impl ListenAddr {
    /// Whether this address includes `other`, so that the system would refuse to listen on both. `all` is every address that
    /// is listened on.
    #[must_use]
    pub fn covers(&self, other: &Self, all: &[Listen]) -> bool {
        let (one, two) = match (self, other) {
            (Self::Tcp(one), Self::Tcp(two)) | (Self::Udp(one), Self::Udp(two)) => (one, two),
            _ => return self == other,
        };
        if one.port() == 0 || one.port() != two.port() {
            return false;
        }
        let takes_family = one.is_ipv4() == two.is_ipv4() || (one.is_ipv6() && !self.leaves_ipv4(all));
        one.ip() == two.ip() || (one.ip().is_unspecified() && takes_family)
    }

    /// Whether this is an IPv6 address with the port of a `0.0.0.0` in `all`, and so takes no IPv4 clients; else `[::]` takes
    /// them too.
    #[must_use]
    pub fn leaves_ipv4(&self, all: &[Listen]) -> bool {
        let Some(here) = self.socket_addr().filter(|here| here.is_ipv6() && here.port() != 0) else { return false };
        let any_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, here.port()));
        all.iter().any(|other| other.at.is_udp() == self.is_udp() && other.at.socket_addr() == Some(any_v4))
    }

    /// Whether datagrams come there.
    #[must_use]
    pub fn is_udp(&self) -> bool {
        matches!(self, Self::Udp(_))
    }

    /// The address and port of TCP or UDP.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(at) | Self::Udp(at) => Some(*at),
            Self::Unix(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_parse_and_print_back_with_what_was_given() {
        for text in [
            "127.0.0.1:4445",
            "127.0.0.1:4445,framing=lines",
            "[::]:0,framing=lines",
            "unix:/run/a,b.sock",
            "unix:/run/a,b=c.sock,framing=lines",
        ] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()), Ok(text.into()));
        }
        let unix: Listen = "unix:/run/a,b.sock,framing=lines".parse().unwrap();
        assert_eq!(unix.at, ListenAddr::Unix("/run/a,b.sock".into()));
    }

    #[test]
    fn p13_what_is_behind_an_address_is_an_option_or_says_why_not() {
        for (text, words) in [
            ("127.0.0.1:1,framing=xml", "framing: use one of lines"),
            ("127.0.0.1:1,framing=", "framing needs a value, as in framing=VALUE: use one of lines"),
            ("127.0.0.1:1,framing", "framing needs a value, as in framing=VALUE: use one of lines"),
            (
                "127.0.0.1:1,frame",
                "frame is no option of a listener: behind the address comes KEY=VALUE, or KEY alone to turn it on, with one of",
            ),
            ("127.0.0.1:1, proxy", "there are spaces around proxy: leave them out"),
            ("127.0.0.1:1,proxy ,rate=2", "there are spaces around proxy: leave them out"),
            ("127.0.0.1:1, rate=2", "there are spaces around rate=2: leave them out"),
            ("127.0.0.1:1,nul", "nul is no option of a listener: did you mean framing=nul?"),
            ("127.0.0.1:1,\n9", "\\n9 is no option of a listener: did you mean rate=\\n9?"),
            ("127.0.0.1:1,", "there is nothing behind a comma of it: leave that comma out"),
            ("127.0.0.1:1,allow=192.0.2.1,", "there is nothing behind a comma of it: leave that comma out"),
            ("127.0.0.1:1,allow=192.0.2.1,,rate=2", "there is nothing behind a comma of it: leave that comma out"),
            ("127.0.0.1:1, ,rate=2", "there is nothing behind a comma of it: leave that comma out"),
            ("127.0.0.1:1,framing=lines,framing=lines", "framing is given twice: give it once"),
            ("127.0.0.1:1,127.0.0.1:2", "127.0.0.1:2 is no option of a listener"),
            ("127.0.0.1:1,a\nb=c", "a\\nb=c is no option of a listener"),
            ("127.0.0.1,framing=lines", "the port is missing"),
            ("unix:/run/,framing=lines", "a Unix socket needs an absolute path"),
        ] {
            let error = text.parse::<Listen>().unwrap_err().to_string();
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }
}
