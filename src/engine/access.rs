//! Who may connect to a listener (`--allow`, `--deny`): the most specific network that an address is in decides, and of two
//! that are the same, the one that denies. Invariant: the rules are in the order in which they are asked, so the first
//! that fits is the answer.

use core::fmt;
use core::net::IpAddr;

use super::peer::Peer;
use crate::config::network::Network;

/// What is said of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    network: Network,
    allows: bool,
}

/// The rules of a listener. The default has none, and lets everybody in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    rules: Vec<Rule>,
    /// Somebody is allowed by name, so who is not is denied.
    is_closed: bool,
}

impl Access {
    /// Those of two lists. If anybody is allowed, all others are denied; if there are only some who are denied, all others
    /// are allowed.
    #[must_use]
    pub fn new(allow: &[Network], deny: &[Network]) -> Self {
        let mut rules: Vec<Rule> = Vec::with_capacity(allow.len() + deny.len());
        let mut add = |network: &Network, allows| {
            // Those who are denied come first, so that they stay before those of the same length.
            let place = rules.partition_point(|other| other.network.prefix() >= network.prefix());
            rules.insert(place, Rule { network: *network, allows });
        };
        deny.iter().for_each(|network| add(network, false));
        allow.iter().for_each(|network| add(network, true));
        Self { rules, is_closed: !allow.is_empty() }
    }

    /// Whether nobody is denied, as nothing was said.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether this client may connect. One of a Unix socket always may.
    #[must_use]
    #[inline(never)] // one copy, for size
    pub fn permits(&self, peer: &Peer) -> bool {
        let ip = match *peer {
            Peer::V4 { ip, .. } => IpAddr::from(ip),
            Peer::V6 { ip, .. } => IpAddr::from(ip),
            Peer::Unix { .. } | Peer::Poller(_) => return true,
            // Who may connect is asked before a name is known.
            #[cfg(feature = "tls")]
            Peer::Named { .. } => return self.permits(&peer.bare()),
        };
        self.rules.iter().find(|rule| rule.network.contains(ip)).map_or(!self.is_closed, |rule| rule.allows)
    }
}

/// The rules in the order in which they are asked.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |allows| if allows { "allow" } else { "deny" };
        for rule in &self.rules {
            write!(f, "{} {}, ", word(rule.allows), rule.network)?;
        }
        write!(f, "{} all others", word(!self.is_closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::network::Networks;

    fn access(allow: &str, deny: &str) -> Access {
        let list = |text: &str| if text.is_empty() { Networks::default() } else { text.parse().unwrap() };
        Access::new(&list(allow).0, &list(deny).0)
    }

    fn permits(access: &Access, ip: &str) -> bool {
        access.permits(&Peer::from(core::net::SocketAddr::new(ip.parse().unwrap(), 5)))
    }

    #[test]
    fn p24_the_most_specific_decides_and_of_the_same_length_who_denies() {
        let access = access("192.0.2.0/24,10.0.0.0/8,192.0.2.66", "192.0.2.64/26,10.0.0.0/8,::1,192.0.2.99");
        assert_eq!(
            access.to_string(),
            "deny ::1, deny 192.0.2.99, allow 192.0.2.66, deny 192.0.2.64/26, allow 192.0.2.0/24, deny 10.0.0.0/8, allow \
             10.0.0.0/8, deny all others"
        );
        for (ip, expected) in [
            ("192.0.2.1", true),
            ("192.0.2.65", false),
            ("192.0.2.66", true),
            ("::ffff:192.0.2.66", true),
            ("192.0.2.99", false),
            ("10.1.2.3", false),
            ("203.0.113.1", false),
            ("::2", false),
        ] {
            assert_eq!(permits(&access, ip), expected, "{ip}");
        }
    }

    #[test]
    fn p24_who_is_not_named_is_denied_where_somebody_is_allowed_and_else_allowed() {
        for (allow, deny, ip, expected) in [
            ("", "", "192.0.2.1", true),
            ("", "192.0.2.0/24", "192.0.2.1", false),
            ("", "192.0.2.0/24", "192.0.3.1", true),
            ("", "192.0.2.0/24", "2001:db8::1", true),
            ("192.0.2.0/24", "", "2001:db8::1", false),
            ("::/0", "", "192.0.2.1", false),
            ("0.0.0.0/0,::/0", "192.0.2.1", "192.0.2.1", false),
        ] {
            assert_eq!(permits(&access(allow, deny), ip), expected, "{ip} with {allow:?} and {deny:?}");
        }
        assert!(access("192.0.2.1", "").permits(&Peer::Unix { serial: 1 }), "a Unix socket has its own permissions");
        assert_eq!((access("", "").is_open(), access("", "::1").is_open()), (true, false));
        assert_eq!(access("", "::1").to_string(), "deny ::1, allow all others");
    }
}
