//! The other side of a connection: the [`Peer`], its address and port, which messages and formats show; and the
//! [`Host`], whose connections and pending bytes are counted together (P14).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::{Mutex, PoisonError};

/// The longest name of a poller, in bytes.
pub const MOST_NAME_BYTES: usize = 64;
/// The most names of pollers that a process can have had: each is kept for good, so that a [`Peer`] is small and copied
/// freely.
const MOST_NAMES: usize = 4096;

static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// Whether a text can be a name.
fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=MOST_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_part)
}

/// The name of a poller: letters, digits, `_`, `.` and `-`, at most [`MOST_NAME_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PollerName(&'static str);

impl PollerName {
    /// The name with this text. `None` if it is none, or the process has had too many names.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        if !is_name(text) {
            return None;
        }
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.iter().find(|known| **known == text) {
            return Some(Self(known));
        }
        if names.len() == MOST_NAMES {
            return None;
        }
        let name: &'static str = Box::leak(text.into());
        names.push(name);
        Some(Self(name))
    }

    /// Its text.
    #[must_use]
    pub fn text(self) -> &'static str {
        self.0
    }
}

/// The name in a client's certificate (P33), by its number: a [`Peer`] has no room for more. As harmless as that of a poller.
#[cfg(feature = "tls")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerName(u16);

/// The names of clients that this process has seen. None is forgotten, since nobody knows who still holds its number: lines that
/// wait may. Who has a certificate that is trusted could fill it, but then only new names are not shown.
#[cfg(feature = "tls")]
static PEER_NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

#[cfg(feature = "tls")]
impl PeerName {
    /// The name with this text. `None` if it is none, or the process has had too many names.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        if !is_name(text) {
            return None;
        }
        let mut names = PEER_NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let known = names.iter().position(|known| *known == text);
        if known.is_none() {
            if names.len() == MOST_NAMES {
                return None;
            }
            names.push(Box::leak(text.into()));
        }
        u16::try_from(known.unwrap_or(names.len() - 1)).ok().map(Self)
    }

    /// Its text.
    #[must_use]
    pub fn text(self) -> &'static str {
        let names = PEER_NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(usize::from(self.0)).copied().unwrap_or_default()
    }
}

/// Address and port of one client, the number of a Unix-socket client, or the name of a poller. 24 bytes, since every connection holds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An IPv4 client, also one that reached an IPv6 listener.
    V4 {
        /// Address.
        ip: [u8; 4],
        /// Port.
        port: u16,
    },
    /// An IPv6 client.
    V6 {
        /// Address.
        ip: [u8; 16],
        /// Port.
        port: u16,
        /// The interface of a link-local address, else 0.
        scope: u32,
    },
    /// A client of a Unix socket: these have no address, so they are numbered from 1 as they come.
    Unix {
        /// The number.
        serial: u32,
    },
    /// A poller of ours, which fetched the lines.
    Poller(PollerName),
    /// A client over TLS with a certificate (P33). In builds with the feature `tls`.
    #[cfg(feature = "tls")]
    Named {
        /// Address; that of IPv4 within IPv6, and the interface of a link-local address in its third to sixth byte, which are
        /// always 0 otherwise (RFC 4291, 2.5.6).
        ip: [u8; 16],
        /// Port.
        port: u16,
        /// The name.
        name: PeerName,
    },
}

const _: () = assert!(size_of::<Peer>() == 24, "every connection holds a Peer");

#[cfg(feature = "tls")]
impl Peer {
    /// The same peer, with this name. Who has no address has none.
    #[must_use]
    pub fn with_name(self, name: PeerName) -> Self {
        match self.bare() {
            Self::V4 { ip, port } => Self::Named { ip: Ipv4Addr::from(ip).to_ipv6_mapped().octets(), port, name },
            Self::V6 { mut ip, port, scope } => {
                if scope != 0 {
                    ip[2..6].copy_from_slice(&scope.to_be_bytes());
                }
                Self::Named { ip, port, name }
            }
            other => other,
        }
    }

    /// The name in its certificate, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<PeerName> {
        if let Self::Named { name, .. } = self { Some(*name) } else { None }
    }
}

/// The peer of which a `Peer::Named` has these.
#[cfg(any(feature = "tls", feature = "spool"))]
pub(crate) fn scoped(mut ip: [u8; 16], port: u16) -> Peer {
    if let IpAddr::V4(ip) = IpAddr::from(ip).to_canonical() {
        return Peer::V4 { ip: ip.octets(), port };
    }
    let mut scope = [0; 4];
    if is_link_local(&ip)
        && let Some(place) = ip.get_mut(2..6)
    {
        scope.copy_from_slice(place);
        place.fill(0);
    }
    Peer::V6 { ip, port, scope: u32::from_be_bytes(scope) }
}

/// Whether an address is of `fe80::/10`.
fn is_link_local(ip: &[u8; 16]) -> bool {
    ip[0] == 0xfe && ip[1] & 0xc0 == 0x80
}

impl Peer {
    /// The same without the name in its certificate.
    #[must_use]
    pub fn bare(self) -> Self {
        #[cfg(feature = "tls")]
        if let Self::Named { ip, port, .. } = self {
            return scoped(ip, port);
        }
        self
    }

    /// The host that this peer's connection and pending bytes are counted for (P14).
    #[must_use]
    pub fn host(&self) -> Host {
        match *self {
            Self::V4 { ip, .. } => Host::V4(ip),
            // Link-local neighbours all share fe80::/64: there, the whole address and interface are the host.
            Self::V6 { ip, scope, .. } if is_link_local(&ip) => Host::LinkLocal(ip, scope),
            Self::V6 { ip: [a, b, c, d, e, f, g, h, ..], .. } => Host::V6([a, b, c, d, e, f, g, h]),
            Self::Unix { .. } => Host::Unix,
            Self::Poller(name) => Host::Poller(name),
            #[cfg(feature = "tls")]
            Self::Named { .. } => self.bare().host(),
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Self {
        match (addr.ip().to_canonical(), addr) {
            (IpAddr::V4(ip), _) => Self::V4 { ip: ip.octets(), port: addr.port() },
            (IpAddr::V6(ip), SocketAddr::V6(v6)) => {
                Self::V6 { ip: ip.octets(), port: addr.port(), scope: v6.scope_id() }
            }
            (IpAddr::V6(ip), SocketAddr::V4(_)) => Self::V6 { ip: ip.octets(), port: addr.port(), scope: 0 },
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4 { ip, port } => SocketAddrV4::new(Ipv4Addr::from(ip), port).fmt(f),
            Self::V6 { ip, port, scope } => SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).fmt(f),
            Self::Unix { serial } => write!(f, "unix#{serial}"),
            Self::Poller(name) => f.write_str(name.text()),
            #[cfg(feature = "tls")]
            Self::Named { name, .. } => write!(f, "{}/{}", name.text(), self.bare()),
        }
    }
}

/// Whose connections are counted together: an IPv4 address, an IPv6 /64, one link-local neighbour, or all Unix-socket
/// clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// One IPv4 address.
    V4([u8; 4]),
    /// The first 64 bits of an IPv6 address: a machine can give itself any of the addresses that begin so.
    V6([u8; 8]),
    /// One `fe80::/10` address on one interface.
    LinkLocal([u8; 16], u32),
    /// All clients of Unix sockets: one host without a limit on its connections.
    Unix,
    /// A poller of ours.
    Poller(PollerName),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4(ip) => Ipv4Addr::from(ip).fmt(f),
            Self::V6([a, b, c, d, e, g, h, i]) => {
                let network = Ipv6Addr::from([a, b, c, d, e, g, h, i, 0, 0, 0, 0, 0, 0, 0, 0]);
                write!(f, "{network}/64")
            }
            Self::LinkLocal(ip, scope) => write!(f, "{}%{scope}", Ipv6Addr::from(ip)),
            Self::Unix => f.write_str("unix"),
            Self::Poller(name) => f.write_str(name.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::from(text.parse::<SocketAddr>().unwrap())
    }

    #[test]
    fn a_mapped_ipv4_client_is_shown_as_ipv4() {
        assert_eq!(peer("[::ffff:192.0.2.7]:5000"), peer("192.0.2.7:5000"));
        assert_eq!(peer("[::ffff:192.0.2.7]:5000").to_string(), "192.0.2.7:5000");
    }

    #[test]
    fn a_host_is_an_ipv4_address_an_ipv6_64_or_one_neighbour() {
        assert_eq!(peer("192.0.2.7:1").host(), peer("192.0.2.7:2").host());
        assert_ne!(peer("192.0.2.7:1").host(), peer("192.0.2.8:1").host());
        assert_eq!(peer("[2001:db8:0:1::7]:1").host(), peer("[2001:db8:0:1:ffff::8]:2").host());
        assert_ne!(peer("[2001:db8:0:1::7]:1").host(), peer("[2001:db8:0:2::7]:1").host());
        assert_ne!(peer("[fe80::1%2]:1").host(), peer("[fe80::2%2]:1").host());
        assert_eq!(Peer::Unix { serial: 1 }.host(), Peer::Unix { serial: 2 }.host());
    }

    #[test]
    fn peers_and_hosts_print_as_operators_write_them() {
        assert_eq!(peer("[2001:db8::7]:514").to_string(), "[2001:db8::7]:514");
        assert_eq!(peer("[2001:db8::7]:514").host().to_string(), "2001:db8::/64");
        assert_eq!(Peer::Unix { serial: 3 }.to_string(), "unix#3");
        let poller = Peer::Poller(PollerName::new("plc-7.log").unwrap());
        assert_eq!((poller.to_string(), poller.host().to_string()), ("plc-7.log".to_owned(), "plc-7.log".to_owned()));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn p33_a_peer_with_a_name_keeps_its_address_and_its_host() {
        let name = PeerName::new("box1.plant.example").unwrap();
        for text in ["192.0.2.7:5000", "[2001:db8::7]:514", "[fe80::1%3]:5", "[fe80::1]:5", "[::1]:1"] {
            let bare = peer(text);
            let named = bare.with_name(name);
            assert_eq!(named.to_string(), format!("box1.plant.example/{text}"));
            assert_eq!((named.bare(), named.host(), named.name()), (bare, bare.host(), Some(name)));
            assert_eq!(named.with_name(name), named);
        }
        let unix = Peer::Unix { serial: 1 };
        assert_eq!((unix.with_name(name), unix.name()), (unix, None), "who has no address has no name");
        assert_eq!(PeerName::new("box1.plant.example"), Some(name));
        assert_eq!(PeerName::new("a b"), None);
    }

    #[test]
    fn the_name_of_a_poller_is_short_and_plain_and_each_is_kept_once() {
        let longest = "x".repeat(MOST_NAME_BYTES);
        for text in ["a", "A-9_z.log", &*longest] {
            let (one, other) = (PollerName::new(text).unwrap(), PollerName::new(text).unwrap());
            assert_eq!(one.text(), text);
            assert!(core::ptr::eq(one.text(), other.text()), "no second copy of {text}");
        }
        for text in ["", "a b", "a/b", "a\n", "\u{e9}", &*(longest.clone() + "x")] {
            assert_eq!(PollerName::new(text), None, "{text:?}");
        }
    }
}
