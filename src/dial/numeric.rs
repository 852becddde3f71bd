//! Hosts that are addresses and no names, as the system's resolver reads them. Invariant: what is an address here is never
//! looked up.

use std::net::IpAddr;

use crate::config::text::whole_of;

/// The address that a host is, if it is no name. IPv4 also within IPv6, and as the system's resolver reads it: `127.1`,
/// `0x7f000001`.
pub(crate) fn numeric(host: &str) -> Option<IpAddr> {
    let classic = || {
        let mut parts = Vec::new();
        for part in host.split('.') {
            let (digits, radix) = match part.as_bytes() {
                [b'0', b'x' | b'X', ..] => (part.get(2..)?, 16),
                [b'0', _, ..] => (part, 8),
                [b'0'..=b'9', ..] => (part, 10),
                _ => return None,
            };
            parts.push(u32::try_from(whole_of(digits, radix)?).ok()?);
        }
        let (last, bytes) = parts.split_last()?;
        let bits = 32_u32.checked_sub(8 * u32::try_from(bytes.len()).ok()?).filter(|bits| *bits > 0)?;
        let is_fine = u64::from(*last) < 1 << bits && bytes.iter().all(|byte| *byte < 256);
        let front = bytes.iter().fold(0, |front: u64, byte| front << 8 | u64::from(*byte));
        let address = u32::try_from(front << bits | u64::from(*last)).ok().filter(|_| is_fine)?;
        Some(IpAddr::V4(address.into()))
    };
    host.parse::<IpAddr>().ok().or_else(classic).map(|ip| ip.to_canonical())
}
