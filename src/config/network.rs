//! Networks that clients may come from (`--allow`, `--deny`): `192.0.2.0/24`, `2001:db8::/32`, or one address. Invariant:
//! no bit is set behind the prefix, an IPv4 address that is written as IPv6 is IPv4, and what prints parses to the same.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use super::text::whole;
use crate::config::text::escaped;

/// An IPv4 address within IPv6 has so many bits before it.
const MAPPED_BITS: u8 = 96;

/// All addresses that begin with the same bits.
///
/// ```
/// use lumberjack::Network;
///
/// let network: Network = "192.0.2.0/24".parse()?;
/// assert!(network.contains("192.0.2.7".parse().unwrap()));
/// assert!(network.contains("::ffff:192.0.2.7".parse().unwrap()));
/// assert!(!network.contains("192.0.3.7".parse().unwrap()));
/// # Ok::<(), lumberjack::NetworkError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    ip: IpAddr,
    prefix: u8,
}

/// The bits of an address, from the highest on, and how many there are.
fn bits(ip: IpAddr) -> (u128, u8) {
    match ip {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()) << MAPPED_BITS, 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    }
}

/// The first bits, with zeros behind them.
fn start(bits: u128, prefix: u8) -> u128 {
    bits & !u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0)
}

impl Network {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ((own, family), (other, other_family)) = (bits(self.ip), bits(ip.to_canonical()));
        family == other_family && start(other, self.prefix) == own
    }

    /// How many bits all its addresses begin with.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip.fmt(f)?;
        if self.prefix == bits(self.ip).1 { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// Why a text is no network. `Display` is a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkError {
    /// The text is neither a network nor an address.
    NotANetwork(String),
    /// Bits are set behind the prefix.
    HostBits {
        /// The address before the prefix.
        ip: IpAddr,
        /// The network that it is in.
        network: Network,
    },
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What comes out has no control characters, whatever went in.
            Self::NotANetwork(text) => write!(
                f,
                "{} is no network: give one as 192.0.2.0/24 or 2001:db8::/32, or an address alone; everybody is 0.0.0.0/0,::/0; several have commas between, and a netmask of 255.255.255.0 is /24",
                if text.is_empty() { "nothing".into() } else { escaped(text) }
            ),
            Self::HostBits { ip, network } => write!(
                f,
                "{ip}/{} has bits set behind its prefix: write {network} for that network, or {ip} for this address alone",
                network.prefix
            ),
        }
    }
}

impl core::error::Error for NetworkError {}

impl FromStr for Network {
    type Err = NetworkError;

    #[inline(never)] // one copy, for size
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let is_number = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let read = |(ip, prefix): (&str, Option<&str>)| {
            let ip: IpAddr = ip.parse().ok()?;
            let longest = bits(ip).1;
            let prefix =
                prefix.map_or(Some(longest), |text| u8::try_from(whole(Some(text).filter(is_number)?)?).ok())?;
            (prefix <= longest).then_some((ip, prefix))
        };
        let (mut ip, mut prefix) = read(parts).ok_or_else(|| NetworkError::NotANetwork(text.to_owned()))?;
        let canonical = ip.to_canonical();
        if prefix >= MAPPED_BITS && canonical.is_ipv4() && !ip.is_ipv4() {
            (ip, prefix) = (canonical, prefix - MAPPED_BITS);
        }
        let (all, longest) = bits(ip);
        let first = start(all, prefix);
        let network = Self { ip: if longest == 32 { v4(first) } else { IpAddr::from(first.to_be_bytes()) }, prefix };
        if first == all { Ok(network) } else { Err(NetworkError::HostBits { ip, network }) }
    }
}

/// The IPv4 address with these bits.
fn v4(bits: u128) -> IpAddr {
    let [a, b, c, d, ..] = bits.to_be_bytes();
    IpAddr::from([a, b, c, d])
}

/// How no network is written.
const NONE: &str = "none";

/// Some networks, with commas between them, or `none`, which is the default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(pub Vec<Network>);

impl FromStr for Networks {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut networks = Vec::new();
        if text.trim() == NONE {
            return Ok(Self(networks));
        }
        for network in text.split(',') {
            networks.push(network.trim().parse()?);
        }
        Ok(Self(networks))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NONE);
        }
        for (place, network) in self.0.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { "," })?;
            network.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p24_networks_parse_and_print_back_in_one_spelling() {
        for (text, shown) in [
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:DB8:0::/32", "2001:db8::/32"),
            ("::1/128", "::1"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("none", "none"),
            ("192.0.2.0/24, 2001:db8::/32 ,::1", "192.0.2.0/24,2001:db8::/32,::1"),
        ] {
            assert_eq!(text.parse::<Networks>().map(|networks| networks.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn p24_what_is_no_network_gets_a_sentence_and_host_bits_the_right_spelling() {
        for (text, words) in [
            (
                "192.0.2.7/24",
                "192.0.2.7/24 has bits set behind its prefix: write 192.0.2.0/24 for that network, or 192",
            ),
            ("2001:db8::1/64", "2001:db8::1/64 has bits set behind its prefix: write 2001:db8::/64 for that network"),
            ("::ffff:192.0.2.7/120", "192.0.2.7/24 has bits set behind its prefix: write 192.0.2.0/24"),
            ("::ffff:0:0/95", "::ffff:0.0.0.0/95 has bits set behind its prefix: write ::fffe:0:0/95"),
            ("192.0.2.0/33", "192.0.2.0/33 is no network: give one as 192.0.2.0/24"),
            ("192.0.2.0/+8", "192.0.2.0/+8 is no network"),
            ("192.0.2.0/", "192.0.2.0/ is no network"),
            ("192.0.2.0/255.255.255.0", "192.0.2.0/255.255.255.0 is no network"),
            ("192.0.2", "192.0.2 is no network"),
            ("fe80::1%eth0", "fe80::1%eth0 is no network"),
            ("all", "all is no network: give one as 192.0.2.0/24 or 2001:db8::/32, or an address alone; everybody is"),
            ("a\nb", "a\\nb is no network"),
            ("", "nothing is no network"),
            ("192.0.2.1,,192.0.2.2", "nothing is no network"),
        ] {
            let error = text.parse::<Networks>().unwrap_err().to_string();
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }

    #[test]
    fn p24_a_network_holds_what_begins_as_it_does() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.0/24", "::ffff:192.0.2.1", "::192.0.2.1"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "::1", "203.0.113.9"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1", "::1", "::2"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(inside.parse().unwrap()), "{inside} in {network}");
            assert!(!parsed.contains(outside.parse().unwrap()), "{outside} in {network}");
        }
    }
}
