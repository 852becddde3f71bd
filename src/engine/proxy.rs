//! The header of the PROXY protocol, version 1 and 2, with which a proxy says who its client is. Strict: what is no such
//! header is told from its first byte on. Invariant: however the bytes are cut, what comes out is the same; and no more than
//! [`KEPT_BYTES`] of them are kept.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::peer::Peer;

/// A header of version 1 is never longer, its `\r\n` included.
const LONGEST_V1: usize = 107;
/// So much may follow the fixed bytes of a header of version 2 here; the protocol's limit is 64 KiB.
const MOST_DECLARED: u16 = 4096;
/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of it before the addresses: the signature, version and command, family, and the length of what follows.
const FIXED_BYTES: usize = 16;
/// Bytes of the addresses of Unix sockets.
const UNIX_BYTES: usize = 216;
/// The most of a header that is kept: a whole one of version 1; of version 2, addresses end earlier, and what is behind
/// them is passed over.
pub const KEPT_BYTES: usize = LONGEST_V1;

/// What the bytes from a connection's start on are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parsed {
    /// The start of a header.
    Partial,
    /// A header of so many bytes, which may not all be there yet.
    Header { len: usize, source: Option<Peer> },
    /// No header, whatever may follow.
    Invalid(Flaw),
}

/// What is wrong with what should be a header. `Display` is the middle of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It begins as none does.
    Start,
    /// Version 1: another protocol than TCP4, TCP6 and UNKNOWN.
    Protocol,
    /// Version 1: no end within `LONGEST_V1` bytes.
    Endless,
    /// Version 1: its `\n` has no `\r` before it.
    BareNewline,
    /// Version 1: its addresses or ports.
    Addresses,
    /// Another version than 2 behind the signature of that.
    Version(u8),
    /// Version 2: neither LOCAL nor PROXY.
    Command(u8),
    /// Version 2: family and transport.
    Family(u8),
    /// Version 2: fewer bytes than its addresses have.
    Short(u16),
    /// Version 2: more bytes than are taken here.
    Long(u16),
}

impl fmt::Display for Flaw {
    #[inline(never)] // for size
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("its first bytes are none"),
            Self::Protocol => f.write_str("its protocol is not TCP4, TCP6 or UNKNOWN"),
            Self::Endless => write!(f, "it has no end within {LONGEST_V1} bytes"),
            Self::BareNewline => f.write_str("its newline has no CR before it"),
            Self::Addresses => f.write_str("its addresses or ports are not two of each, of its protocol"),
            Self::Version(version) => write!(f, "its version is {version}, not 1 or 2"),
            Self::Command(command) => write!(f, "its command is {command}, not 0 (LOCAL) or 1 (PROXY)"),
            Self::Family(family) => write!(f, "its family and transport are {family:#04x}, which is none"),
            Self::Short(len) => write!(f, "its length is {len}, too little for its addresses"),
            Self::Long(len) => write!(f, "its length is {len}, and may be {MOST_DECLARED} at most"),
        }
    }
}

/// Reads a header at the start of `bytes`.
fn parse(bytes: &[u8]) -> Parsed {
    if bytes.first() == SIGNATURE.first() { parse_v2(bytes) } else { parse_v1(bytes) }
}

fn parse_v1(bytes: &[u8]) -> Parsed {
    let is_v4 = agree(bytes, b"PROXY TCP4 ");
    let is_known = is_v4 || agree(bytes, b"PROXY TCP6 ");
    if !is_known && !agree(bytes, b"PROXY UNKNOWN") {
        return Parsed::Invalid(if bytes.starts_with(b"PROXY ") { Flaw::Protocol } else { Flaw::Start });
    }
    let most = bytes.get(..LONGEST_V1).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', most) else {
        return if bytes.len() < LONGEST_V1 { Parsed::Partial } else { Parsed::Invalid(Flaw::Endless) };
    };
    let Some(line) = most.get(..end).and_then(|line| line.strip_suffix(b"\r")) else {
        return Parsed::Invalid(Flaw::BareNewline);
    };
    let source = if is_known {
        let rest = line.get(b"PROXY TCP4 ".len()..).unwrap_or_default();
        str::from_utf8(rest).ok().and_then(|rest| source(is_v4, rest)).map(Some)
    } else {
        // What is behind the word may be anything.
        let is_word = matches!(line.get(b"PROXY UNKNOWN".len()..), Some([] | [b' ', ..]));
        return if is_word { Parsed::Header { len: end + 1, source: None } } else { Parsed::Invalid(Flaw::Protocol) };
    };
    source.map_or(Parsed::Invalid(Flaw::Addresses), |source| Parsed::Header { len: end + 1, source })
}

/// Whether one begins with the other.
#[inline(never)] // one copy, for size
fn agree(bytes: &[u8], word: &[u8]) -> bool {
    let len = bytes.len().min(word.len());
    bytes.get(..len) == word.get(..len)
}

/// The client's address from the rest of a header of version 1: both addresses, and both ports.
fn source(is_v4: bool, rest: &str) -> Option<Peer> {
    let (mut words, mut count) = ([""; 4], 0);
    for word in rest.split(' ') {
        *words.get_mut(count)? = word;
        count += 1;
    }
    let [from, to, from_port, to_port] = words;
    let (mut source, ends) = (None, [(to, to_port), (from, from_port)]);
    for (ip, port) in ends {
        let ip = ip.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == is_v4)?;
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
        source = Some(SocketAddr::new(ip, port.parse().ok().filter(|_| is_number)?));
    }
    source.map(Peer::from)
}

fn parse_v2(bytes: &[u8]) -> Parsed {
    if !agree(bytes, SIGNATURE) {
        return Parsed::Invalid(Flaw::Start);
    }
    let Some((fixed, addresses)) = bytes.split_first_chunk::<FIXED_BYTES>() else { return Parsed::Partial };
    let [.., command, family, high, low] = *fixed;
    let declared = u16::from_be_bytes([high, low]);
    let len = usize::from(declared);
    // How many bytes of addresses there have to be, and how many of these are the client's.
    let (least, ip_bytes) = match (command, family) {
        // What the proxy says of itself, such as a check of health: anything.
        (0x20, _) | (0x21, 0) => (0, 0),
        (0x21, 0x11) => (12, 4),
        (0x21, 0x21) => (36, 16),
        // Datagrams, which never come by a stream, and Unix sockets, which have no addresses: who is connected stays.
        (0x21, 0x12) => (12, 0),
        (0x21, 0x22) => (36, 0),
        (0x21, 0x31 | 0x32) => (UNIX_BYTES, 0),
        // UNSPEC in one half alone is legal too.
        (0x21, 0x01 | 0x02 | 0x10 | 0x20 | 0x30) => (0, 0),
        (0x21, _) => return Parsed::Invalid(Flaw::Family(family)),
        (0x22..=0x2f, _) => return Parsed::Invalid(Flaw::Command(command & 15)),
        _ => return Parsed::Invalid(Flaw::Version(command >> 4)),
    };
    if len < least {
        return Parsed::Invalid(Flaw::Short(declared));
    }
    if declared > MOST_DECLARED {
        return Parsed::Invalid(Flaw::Long(declared));
    }
    let port = |at: usize| addresses.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes);
    let source = match ip_bytes {
        4 => addresses.first_chunk::<4>().map(|ip| IpAddr::from(Ipv4Addr::from(*ip))).zip(port(8)),
        16 => addresses.first_chunk::<16>().map(|ip| IpAddr::from(*ip)).zip(port(32)),
        _ => return Parsed::Header { len: FIXED_BYTES + len, source: None },
    };
    source.map_or(Parsed::Partial, |(ip, port)| {
        let source = Some(Peer::from(SocketAddr::new(ip, port)));
        Parsed::Header { len: FIXED_BYTES + len, source }
    })
}

/// What one more piece of a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The header has not ended.
    Partial,
    /// It has: who the client is, if it says so, and what is behind it.
    Done(Option<Peer>, &'a [u8]),
    /// That is no header.
    Invalid(Flaw),
}

/// The header of one connection, as far as it has come.
#[derive(Debug, Clone)]
pub struct Header {
    kept: [u8; KEPT_BYTES],
    len: u8,
    /// What it says is known, and so many bytes of it have still to be passed over.
    rest: Option<(u16, Option<Peer>)>,
}

impl Default for Header {
    fn default() -> Self {
        Self { kept: [0; KEPT_BYTES], len: 0, rest: None }
    }
}

impl Header {
    /// Takes the next piece.
    #[inline(never)] // for size
    pub fn feed<'a>(&mut self, chunk: &'a [u8]) -> Step<'a> {
        if let Some((left, source)) = &mut self.rest {
            let Some(behind) = chunk.get(usize::from(*left)..) else {
                *left -= u16::try_from(chunk.len()).unwrap_or(*left);
                return Step::Partial;
            };
            return Step::Done(*source, behind);
        }
        // All that is kept was too little; the kept bytes and these are one text.
        let before = usize::from(self.len);
        let mut both = self.kept;
        let bytes = if before == 0 {
            chunk
        } else {
            let more = chunk.len().min(KEPT_BYTES - before);
            let (Some(room), Some(piece)) = (both.get_mut(before..before + more), chunk.get(..more)) else {
                return Step::Invalid(Flaw::Endless);
            };
            room.copy_from_slice(piece);
            both.get(..before + more).unwrap_or_default()
        };
        match parse(bytes) {
            Parsed::Invalid(flaw) => Step::Invalid(flaw),
            Parsed::Header { len, source } => match chunk.get(len.saturating_sub(before)..) {
                Some(behind) => Step::Done(source, behind),
                None => {
                    let left = (len - before).saturating_sub(chunk.len());
                    self.rest = Some((u16::try_from(left).unwrap_or(u16::MAX), source));
                    Step::Partial
                }
            },
            Parsed::Partial => {
                let Some(room) = self.kept.get_mut(..bytes.len()) else { return Step::Invalid(Flaw::Endless) };
                room.copy_from_slice(bytes);
                self.len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
                Step::Partial
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2.
    fn v2(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
        let len = u16::try_from(behind.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &len, behind].concat()
    }

    fn peer(text: &str) -> Option<Peer> {
        Some(Peer::from(text.parse::<SocketAddr>().unwrap()))
    }

    /// Feeds it whole, cut in two at every place, and byte by byte; the answer has to be the same.
    fn feed(bytes: &[u8]) -> Result<(Option<Peer>, Vec<u8>), Flaw> {
        let cuts = |cuts: &[usize]| {
            let (mut header, mut from) = (Header::default(), 0);
            for to in cuts.iter().copied().chain([bytes.len()]) {
                match header.feed(&bytes[from..to]) {
                    Step::Partial => from = to,
                    Step::Done(source, behind) => return Ok((source, [behind, &bytes[to..]].concat())),
                    Step::Invalid(flaw) => return Err(flaw),
                }
            }
            panic!("{} has not ended", bytes.escape_ascii());
        };
        let whole = cuts(&[]);
        (0..=bytes.len()).for_each(|at| assert_eq!(cuts(&[at]), whole, "cut at {at}"));
        assert_eq!(cuts(&(0..bytes.len()).collect::<Vec<_>>()), whole, "byte by byte");
        whole
    }

    #[test]
    fn p25_headers_of_both_versions_say_who_the_client_is() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0xdb, 0xac, 0x11, 0x5d];
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15], v6[32], v6[33]) = (0x20, 1, 9, 1, 2);
        let mapped: Vec<u8> = [&[0; 10][..], &[255, 255, 192, 0, 2, 5], &[0; 16], &[0, 7, 0, 8]].concat();
        for (bytes, source) in [
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 56236 4445\r\n".to_vec(), peer("192.0.2.1:56236")),
            (b"PROXY TCP6 2001:db8::1 ::2 0 65535\r\n".to_vec(), peer("[2001:db8::1]:0")),
            (b"PROXY TCP6 ::ffff:192.0.2.9 ::2 1 2\r\n".to_vec(), peer("192.0.2.9:1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 x \xff\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), peer("192.0.2.1:56236")),
            (v2(0x21, 0x11, &[&v4[..], &[3, 0, 4, 1, 2, 3, 4]].concat()), peer("192.0.2.1:56236")),
            (v2(0x21, 0x11, &[&v4[..], &[4; 4084]].concat()), peer("192.0.2.1:56236")),
            (v2(0x21, 0x21, &v6), peer("[2001::9]:258")),
            (v2(0x21, 0x21, &mapped), peer("192.0.2.5:7")),
            (v2(0x20, 0, &[]), None),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x20, 0xff, &[7; 99]), None),
            (v2(0x21, 0, &[7; 4096]), None),
            (v2(0x21, 0x12, &v4), None),
            (v2(0x21, 0x31, &[b'/'; 216]), None),
        ] {
            for behind in [b"".as_slice(), b"a line\n", b"\r\n", b"PROXY TCP4 1"] {
                let expected = Ok((source, behind.to_vec()));
                assert_eq!(feed(&[&bytes, behind].concat()), expected, "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn p25_what_is_no_header_is_told_at_the_first_byte_that_can_be_none() {
        let longest = format!("PROXY UNKNOWN{}\r\n", " ".repeat(92));
        assert_eq!((longest.len(), feed(longest.as_bytes())), (107, Ok((None, vec![]))));
        for (text, at) in [
            ("a line\n", 0),
            ("<13>", 0),
            ("\n", 0),
            ("proxy", 0),
            ("PROXY TCP5", 9),
            ("PROXY  TCP4", 6),
            ("PROXY UNKNOWX", 12),
            ("\r\n\r\n\0\r\nQUIX", 10),
            ("\r\r", 1),
        ] {
            let mut header = Header::default();
            let told = text.bytes().position(|byte| matches!(header.feed(&[byte]), Step::Invalid(_)));
            assert_eq!(told, Some(at), "{text:?}");
        }
    }

    #[test]
    fn p25_what_is_wrong_with_a_header_is_told_wherever_it_is_cut() {
        for (bytes, flaw) in [
            (b"a line\n".to_vec(), Flaw::Start),
            (b"PROXYTCP4 ".to_vec(), Flaw::Start),
            (b"PROXY TCP5 ".to_vec(), Flaw::Protocol),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 5 6\n".to_vec(), Flaw::BareNewline),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 5\r\n".to_vec(), Flaw::Addresses),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 5 6 7\r\n".to_vec(), Flaw::Addresses),
            (b"PROXY TCP4 192.0.2.1  198.51.100.2 5 6\r\n".to_vec(), Flaw::Addresses),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 5 6 \r\n".to_vec(), Flaw::Addresses),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 05 6\r\n".to_vec(), Flaw::Addresses),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 +5 6\r\n".to_vec(), Flaw::Addresses),
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 6\r\n".to_vec(), Flaw::Addresses),
            (b"PROXY TCP4 192.0.2.01 198.51.100.2 5 6\r\n".to_vec(), Flaw::Addresses),
            (b"PROXY TCP4 ::1 ::2 5 6\r\n".to_vec(), Flaw::Addresses),
            (b"PROXY TCP6 192.0.2.1 198.51.100.2 5 6\r\n".to_vec(), Flaw::Addresses),
            (b"PROXY TCP6 fe80::1%1 ::2 5 6\r\n".to_vec(), Flaw::Addresses),
            (b"PROXY UNKNOWNS\r\n".to_vec(), Flaw::Protocol),
            (format!("PROXY UNKNOWN{}\r\n", " ".repeat(93)).into_bytes(), Flaw::Endless),
            (v2(0x11, 0x11, &[0; 12]), Flaw::Version(1)),
            (v2(0x22, 0x11, &[0; 12]), Flaw::Command(2)),
            (v2(0x21, 0x41, &[0; 12]), Flaw::Family(0x41)),
            (v2(0x21, 0x13, &[0; 12]), Flaw::Family(0x13)),
            (v2(0x21, 0x11, &[0; 11]), Flaw::Short(11)),
            (v2(0x21, 0x21, &[0; 35]), Flaw::Short(35)),
            (v2(0x21, 0x31, &[0; 215]), Flaw::Short(215)),
            (v2(0x20, 0, &[0; 4097]), Flaw::Long(4097)),
        ] {
            assert_eq!(feed(&bytes), Err(flaw), "{}", bytes.escape_ascii());
        }
    }
}
