//! Headers of the PROXY protocol beside a reader that has all bytes at once and takes its time (P25): after every piece both
//! say the same, and what is behind the header is untouched.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use lumberjack::Peer;
use lumberjack::internals::proxy::{Header, Step};

use super::{Script, Story};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What headers are made of, whole and broken.
const PIECES: [&[u8]; 24] = [
    b"PROXY TCP4 ",
    b"PROXY TCP6 ",
    b"PROXY UNKNOWN",
    b"PROXY ",
    b"192.0.2.1 ",
    b"198.51.100.22 ",
    b"2001:db8::1 ",
    b"::ffff:192.0.2.1 ",
    b"0",
    b"5",
    b"65535",
    b"65536",
    b" ",
    b"\r\n",
    b"\r",
    b"\n",
    SIGNATURE,
    b"\x20\x00\x00\x00",
    b"\x21\x11\x00\x0c",
    b"\x21\x21\x00\x26",
    b"\x21\x11\x10\x00",
    b"\x21\x31\x00\xd8",
    b"a line\n",
    b"\x03\x00\x04\x01\x02\x03\x04",
];

/// What a header says: whose the connection is, and where what is behind it begins.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Partial,
    Done(Option<Peer>, usize),
    Invalid,
}

/// Decodes pieces, and compares after each.
pub(crate) fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    while !script.is_over() {
        let choice = script.byte();
        let piece = match choice {
            0..=191 => PIECES[usize::from(choice) % PIECES.len()].to_vec(),
            192..=223 => vec![script.byte()],
            224..=247 => vec![b'x'; script.below(256)],
            _ => vec![0; script.below(256) * 17],
        };
        // Some go together, some are cut in two.
        match script.byte() % 4 {
            0 => pieces.push(piece),
            1 => {
                let (start, end) = piece.split_at(piece.len().min(script.below(24)));
                pieces.extend([start.to_vec(), end.to_vec()]);
            }
            _ => match pieces.last_mut() {
                Some(last) => last.extend(piece),
                None => pieces.push(piece),
            },
        }
    }
    compare(&pieces);
}

/// Feeds the pieces to the real reader, and all that has come so far to the slow one.
pub(crate) fn compare(pieces: &[Vec<u8>]) {
    let _story = Story(&pieces);
    let (mut header, mut all) = (Header::default(), Vec::new());
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        all.extend_from_slice(piece);
        let said = match header.feed(piece) {
            Step::Partial => Said::Partial,
            Step::Invalid(_) => Said::Invalid,
            Step::Done(peer, behind) => {
                assert!(all.ends_with(behind) && behind.len() < all.len(), "what is behind it is what came");
                Said::Done(peer, all.len() - behind.len())
            }
        };
        assert_eq!(said, slowly(&all), "of {}", all.escape_ascii());
        if said != Said::Partial {
            return;
        }
    }
}

fn slowly(all: &[u8]) -> Said {
    if all[0] == b'\r' { slowly_v2(all) } else { slowly_v1(all) }
}

fn slowly_v1(all: &[u8]) -> Said {
    let is_possible = ["PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN"]
        .iter()
        .any(|start| all.iter().zip(start.bytes()).all(|(one, other)| *one == other));
    if !is_possible {
        return Said::Invalid;
    }
    let Some(end) = all.iter().take(107).position(|byte| *byte == b'\n') else {
        return if all.len() < 107 { Said::Partial } else { Said::Invalid };
    };
    let line = &all[..=end];
    if line.starts_with(b"PROXY UNKNOWN\r\n") || (line.starts_with(b"PROXY UNKNOWN ") && line.ends_with(b"\r\n")) {
        return Said::Done(None, line.len());
    }
    let Ok(text) = String::from_utf8(line.to_vec()) else { return Said::Invalid };
    let words: Vec<&str> = text.strip_suffix("\r\n").map(|text| text.split(' ').collect()).unwrap_or_default();
    let [_, family, from, to, from_port, to_port] = words[..] else { return Said::Invalid };
    // A number is written in one way only.
    let port = |word: &str| word.parse::<u16>().ok().filter(|port| port.to_string() == word);
    let (Some(port), Some(_)) = (port(from_port), port(to_port)) else { return Said::Invalid };
    let peer = match family {
        "TCP4" => {
            let both = from.parse::<Ipv4Addr>().ok().zip(to.parse::<Ipv4Addr>().ok());
            both.map(|(ip, _)| SocketAddr::from((ip, port)))
        }
        "TCP6" => {
            let both = from.parse::<Ipv6Addr>().ok().zip(to.parse::<Ipv6Addr>().ok());
            both.map(|(ip, _)| SocketAddr::from((ip, port)))
        }
        _ => None, // what begins as UNKNOWN and goes on
    };
    peer.map_or(Said::Invalid, |addr| Said::Done(Some(Peer::from(addr)), line.len()))
}

fn slowly_v2(all: &[u8]) -> Said {
    if all.iter().zip(SIGNATURE).any(|(one, other)| one != other) {
        return Said::Invalid;
    }
    if all.len() < 16 {
        return Said::Partial;
    }
    let (version, command) = (all[12] >> 4, all[12] & 15);
    let (family, transport) = (all[13] >> 4, all[13] & 15);
    let len = usize::from(all[14]) * 256 + usize::from(all[15]);
    if version != 2 || command > 1 || len > 4096 {
        return Said::Invalid;
    }
    if command == 0 {
        return done(all, None, len);
    }
    if family > 3 || transport > 2 {
        return Said::Invalid;
    }
    let is_said = family > 0 && transport > 0;
    let least = if is_said { [0, 12, 36, 216][usize::from(family)] } else { 0 };
    if len < least {
        return Said::Invalid;
    }
    if transport != 1 || family == 0 || family == 3 {
        return done(all, None, len);
    }
    if all.len() < 16 + least {
        // The client's address may be there before the other one; nothing can be done with it yet.
        return Said::Partial;
    }
    let number = |at: usize| u16::from(all[at]) * 256 + u16::from(all[at + 1]);
    let addr = if family == 1 {
        SocketAddr::from((Ipv4Addr::new(all[16], all[17], all[18], all[19]), number(24)))
    } else {
        let groups: Vec<u16> = (0..8).map(|group| number(16 + 2 * group)).collect();
        let [a, b, c, d, e, f, g, h] = groups[..] else { unreachable!() };
        SocketAddr::from((Ipv6Addr::new(a, b, c, d, e, f, g, h), number(48)))
    };
    done(all, Some(Peer::from(addr)), len)
}

/// A header of version 2 has ended once all of its length is there.
fn done(all: &[u8], peer: Option<Peer>, len: usize) -> Said {
    if all.len() < 16 + len { Said::Partial } else { Said::Done(peer, 16 + len) }
}
