//! The other side of a connection: the [`Peer`], its address and port, which messages and formats show; and the
//! [`Host`], whose connections and pending bytes are counted together (P14).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Address and port of one client, or the number of a Unix-socket client. 24 bytes, since every connection holds one.
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
}

const _: () = assert!(size_of::<Peer>() == 24, "every connection holds a Peer");

impl Peer {
    /// The host that this peer's connection and pending bytes are counted for (P14).
    #[must_use]
    pub fn host(&self) -> Host {
        match *self {
            Self::V4 { ip, .. } => Host::V4(ip),
            // Link-local neighbours all share fe80::/64: there, the whole address and interface are the host.
            Self::V6 { ip, scope, .. } if ip[0] == 0xfe && ip[1] & 0xc0 == 0x80 => Host::LinkLocal(ip, scope),
            Self::V6 { ip: [a, b, c, d, e, f, g, h, ..], .. } => Host::V6([a, b, c, d, e, f, g, h]),
            Self::Unix { .. } => Host::Unix,
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
    }
}
