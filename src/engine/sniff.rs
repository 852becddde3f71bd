//! Which protocol a client seems to speak, from its first bytes and from what comes before the first end of a message, so that an
//! operator who pointed the wrong one at the port is told what to change (P12). Invariant: any bytes have an answer, one
//! a connection. It only makes a warning: the lines go out anyway.

use core::fmt;
use core::mem;

use crate::config::listen::Framing;

/// So many marks of another end before any newline are no accident. Fewer fit four bits.
const MANY_MARKS: u8 = 16;

/// A protocol that is not newline-delimited text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A TLS handshake.
    Tls,
    /// An HTTP request.
    Http,
    /// The Beats protocol, which is called "lumberjack" too.
    Beats,
    /// Syslog with a length before each message (RFC 6587, 3.4.1).
    OctetCounted,
    /// A proxy's header before the connection's bytes.
    Proxy,
    /// Text in 16-bit units.
    Utf16,
    /// Objects of Java's `ObjectOutputStream`.
    Java,
    /// Objects of Python, as `logging.handlers.SocketHandler` sends them.
    Pickle,
    /// An array of msgpack, as fluentd's forward protocol begins.
    Msgpack,
    /// What gzip packed.
    Gzip,
    /// Messages that end in a NUL.
    NulEnded,
    /// Messages that end in a CR alone.
    CrEnded,
    /// Lines, where something else was to end messages.
    NewlineEnded,
}

impl Protocol {
    /// What to change, and where.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self {
            Self::Tls => "turn TLS off at the sender, or put a TLS proxy in front",
            Self::Http => "this port takes plain lines, not requests; use the sender's TCP output",
            Self::Beats => "use an output that sends plain lines over TCP; this is not the Beats protocol",
            Self::OctetCounted => {
                "framing=octet takes it (--listen ADDR:PORT,framing=octet); or set the sender's framing to newlines"
            }
            Self::Proxy => {
                "its header is taken for a line: --proxy reads it, with --allow for the proxy; or turn it off there"
            }
            Self::Utf16 => "set the sender's encoding to UTF-8",
            Self::Java => {
                "give the sender's appender a layout that writes text (Log4j 2: PatternLayout or JsonTemplateLayout)"
            }
            Self::Pickle => "SocketHandler sends objects; use a handler that sends lines (docs/clients.md)",
            Self::Msgpack => "use an output that sends plain lines over TCP (Fluent Bit: tcp with Format json_lines)",
            Self::Gzip => "turn compression off at the sender",
            Self::NulEnded => "framing=nul takes them (--listen ADDR:PORT,framing=nul); else all of them are one line",
            Self::CrEnded => "framing=cr takes them (--listen ADDR:PORT,framing=cr); else all of them are one line",
            Self::NewlineEnded => {
                "framing=lines takes them (--listen ADDR:PORT,framing=lines); else all of them are one"
            }
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Beats => "Beats",
            Self::OctetCounted => "octet-counted syslog",
            Self::Proxy => "the PROXY protocol",
            Self::Utf16 => "UTF-16",
            Self::Java => "Java serialisation",
            Self::Pickle => "Python's pickle",
            Self::Msgpack => "msgpack (fluentd forward)",
            Self::Gzip => "gzip",
            Self::NulEnded => "NUL-ended messages",
            Self::CrEnded => "CR-ended messages",
            Self::NewlineEnded => "newline-ended messages",
        })
    }
}

/// What the clients of a listener are to speak.
#[must_use]
pub fn spoken(framing: Framing) -> &'static str {
    match framing {
        Framing::Lines => "lines",
        Framing::Octet => "octet counting",
        Framing::Nul => "NUL-ended messages",
        Framing::Cr => "CR-ended messages",
        Framing::AutoOctet => "lines or octet counting",
    }
}

/// The marks that may end messages: the one that does, and two of which many, or of the first one and then silence, tell
/// that the sender's framing is another. `None`: no mark is looked for.
fn marks(framing: Framing) -> Option<(u8, [(u8, Protocol); 2])> {
    let (nul, cr, newline) = ((0, Protocol::NulEnded), (b'\r', Protocol::CrEnded), (b'\n', Protocol::NewlineEnded));
    match framing {
        Framing::Lines | Framing::AutoOctet => Some((b'\n', [nul, cr])),
        Framing::Nul => Some((0, [newline, cr])),
        Framing::Cr => Some((b'\r', [newline, nul])),
        Framing::Octet => None,
    }
}

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Lines, as far as one can tell.
    Text,
    /// Something else.
    Foreign(Protocol),
}

const METHODS: [&[u8]; 7] = [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"CONNECT "];
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Which protocol the first bytes of a connection belong to.
#[must_use]
pub fn sniff(first_bytes: &[u8]) -> Verdict {
    let line_end = memchr::memchr(b'\n', first_bytes).unwrap_or(first_bytes.len());
    let line = first_bytes.get(..line_end).unwrap_or_default();
    let protocol = match first_bytes {
        [0x16, 0x03, 0..=4, ..] => Protocol::Tls,
        [b'1' | b'2', b'W', 0, 0, ..] => Protocol::Beats,
        [0xac, 0xed, 0, 5, ..] => Protocol::Java,
        // A length below 64 KiB, and protocol 2 to 5, or 1, which `SocketHandler` uses.
        [0, 0, _, _, 0x80, 2..=5, ..] | [0, 0, _, _, b'}', b'q', 0, ..] => Protocol::Pickle,
        // An array of two to four, the first of them a tag.
        [0x92..=0x94, 0xa1..=0xbf | 0xd9..=0xdb, ..] => Protocol::Msgpack,
        [0x1f, 0x8b, 8, ..] => Protocol::Gzip,
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Protocol::Utf16,
        [1..=255, 0, 1..=255, 0, 1..=255, 0, ..] | [0, 1..=255, 0, 1..=255, 0, 1..=255, ..] => Protocol::Utf16,
        _ if first_bytes.starts_with(PROXY_V2) || is_proxy_v1(line) => Protocol::Proxy,
        _ if is_http(line) => Protocol::Http,
        _ if is_octet_counted(line) => Protocol::OctetCounted,
        _ => return Verdict::Text,
    };
    Verdict::Foreign(protocol)
}

/// What is known of a connection's first message, while it has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Opening {
    /// Nothing has come.
    #[default]
    Fresh,
    /// A header of the PROXY protocol has to come first (P25).
    Proxied,
    /// The end of no message has come, but so many marks of other ends: of the first of the two in the lower four bits, of
    /// the second in the upper. Every connection has room for this.
    Open(u8),
    /// The end of a message has come, or the protocol was told.
    Decided,
}

impl Opening {
    /// Whether there is nothing left to find out.
    #[inline]
    #[must_use]
    pub fn is_decided(self) -> bool {
        self == Self::Decided
    }

    /// More bytes have come. `was_silent`: not right after those before. Tells the protocol, once.
    #[inline(never)] // no line after the first comes here
    pub fn feed(&mut self, bytes: &[u8], was_silent: bool, framing: Framing) -> Option<Protocol> {
        let before = mem::replace(self, Self::Decided);
        let seen = match before {
            Self::Decided => return None,
            Self::Open(seen) if was_silent && seen % MANY_MARKS > 0 => return first_of(framing),
            Self::Open(seen) => seen,
            Self::Fresh | Self::Proxied => match (sniff(bytes), framing) {
                (Verdict::Foreign(Protocol::OctetCounted), Framing::Octet | Framing::AutoOctet) => return None,
                (Verdict::Foreign(protocol), _) => return Some(protocol),
                // It may become a length, behind which any byte is a message's.
                (Verdict::Text, Framing::AutoOctet) if bytes.first().is_some_and(u8::is_ascii_digit) => return None,
                (Verdict::Text, _) => 0,
            },
        };
        let (end, [(first, first_protocol), (second, second_protocol)]) = marks(framing)?;
        let has_ended = memchr::memchr(end, bytes);
        let (mut firsts, mut seconds) = (seen % MANY_MARKS, seen / MANY_MARKS);
        for byte in bytes.get(..has_ended.unwrap_or(bytes.len())).unwrap_or_default() {
            firsts += u8::from(*byte == first);
            seconds += u8::from(*byte == second);
            if firsts >= MANY_MARKS {
                // A message may well be of so many lines: then its end comes before any silence.
                if first != b'\n' {
                    return Some(first_protocol);
                }
                firsts = MANY_MARKS - 1;
            }
            if seconds >= MANY_MARKS {
                // Each may be one of a CRLF.
                if first != b'\n' || firsts == 0 {
                    return Some(second_protocol);
                }
                seconds = MANY_MARKS - 1;
            }
        }
        if has_ended.is_none() {
            *self = Self::Open(seconds * MANY_MARKS + firsts);
        }
        None
    }

    /// Whether silence now would tell the protocol: a mark has come, and no end of a message.
    #[must_use]
    pub fn is_doubtful(self) -> bool {
        matches!(self, Self::Open(seen) if seen % MANY_MARKS > 0)
    }

    /// The connection has ended, or fallen silent. Tells the protocol, once.
    pub fn end(&mut self, framing: Framing) -> Option<Protocol> {
        let protocol = self.is_doubtful().then(|| first_of(framing))??;
        *self = Self::Decided;
        Some(protocol)
    }
}

/// What the first of the other marks tells.
fn first_of(framing: Framing) -> Option<Protocol> {
    marks(framing).map(|(_, [(_, protocol), _])| protocol)
}

fn is_proxy_v1(line: &[u8]) -> bool {
    [b"PROXY TCP4 ".as_slice(), b"PROXY TCP6 ", b"PROXY UNKNOWN"].iter().any(|start| line.starts_with(start))
}

/// A line that begins with a method and ends in a version. A log line may begin with a method too.
fn is_http(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    METHODS.iter().any(|method| line.starts_with(method))
        && (line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") || line.ends_with(b" HTTP/2.0"))
}

/// A line that begins with a length of up to six digits, a space, and a priority: `83 <34>1 2026-…`.
fn is_octet_counted(line: &[u8]) -> bool {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let Some(rest) = line.get(digits..).and_then(|rest| rest.strip_prefix(b" <")) else { return false };
    let priority = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=6).contains(&digits) && (1..=3).contains(&priority) && rest.get(priority) == Some(&b'>')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_other_protocols_are_recognised() {
        for (bytes, protocol) in [
            (b"\x16\x03\x01\x02\0\x01".as_slice(), Protocol::Tls),
            (b"GET / HTTP/1.1\r\nHost: x\r\n", Protocol::Http),
            (b"PUT /x HTTP/1.0\r\n", Protocol::Http),
            (b"POST /x HTTP/2.0\n", Protocol::Http),
            (b"2W\0\0\0\x01", Protocol::Beats),
            (b"83 <34>1 2026-01-01T00:00:00Z host app - - - hello", Protocol::OctetCounted),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n", Protocol::Proxy),
            (PROXY_V2, Protocol::Proxy),
            (b"\xff\xfeh\0", Protocol::Utf16),
            (b"h\0e\0l\0l\0o\0", Protocol::Utf16),
            (b"\xac\xed\0\x05sr\0", Protocol::Java),
            (b"\0\0\x01\x9a}q\0(X\x04\0\0\0name", Protocol::Pickle),
            (b"\0\0\x01\x9a\x80\x05\x95", Protocol::Pickle),
            (b"\x92\xa3app\xdc", Protocol::Msgpack),
            (b"\x94\xd9\x20tag", Protocol::Msgpack),
            (b"\x1f\x8b\x08\0", Protocol::Gzip),
        ] {
            assert_eq!(sniff(bytes), Verdict::Foreign(protocol), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn lines_are_text_even_when_they_begin_like_something_else() {
        for bytes in [
            b"".as_slice(),
            b"\n",
            b"hello\n",
            b"<34>Oct 11 22:14:15 host su: failed\n",
            b"{\"level\":30}\n",
            b"GET /index.html took 3 ms\nHTTP/1.1\n",
            b"83 bottles\n",
            b"1234567 <34>too many digits\n",
            b"\0\0\0\0\0\0\0\0",
            b"\xff\x00\x80",
            b"PROXY down\n",
            b"\x92quoted\x94 in Windows-1252\n",
            b"\0\0\x01\x9a}",
            b"\x1f\x8b",
        ] {
            assert_eq!(sniff(bytes), Verdict::Text, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn p12_each_protocol_has_a_name_and_a_cure_of_its_own() {
        use Protocol::{Beats, CrEnded, Gzip, Http, Java, Msgpack, NewlineEnded};
        use Protocol::{NulEnded, OctetCounted, Pickle, Proxy, Tls, Utf16};
        let one = [Beats, CrEnded, Gzip, Http, Java, Msgpack, NewlineEnded];
        let all = [&one[..], &[NulEnded, OctetCounted, Pickle, Proxy, Tls, Utf16]].concat();
        let of_all = |what: fn(&Protocol) -> String| {
            let mut said = all.iter().map(what).collect::<Vec<_>>();
            said.sort_unstable();
            said.dedup();
            said
        };
        assert_eq!((of_all(Protocol::to_string).len(), of_all(|one| one.cure().to_owned()).len()), (13, 13));
        assert!(all.iter().all(|one| !one.to_string().is_empty() && one.cure().contains(' ')));
    }

    /// What each piece brings, and the end.
    fn told_in(framing: Framing, pieces: &[(&[u8], bool)]) -> (Vec<Option<Protocol>>, Option<Protocol>) {
        let mut opening = Opening::default();
        let told = pieces.iter().map(|(bytes, was_silent)| opening.feed(bytes, *was_silent, framing)).collect();
        (told, opening.end(framing))
    }

    fn told(pieces: &[(&[u8], bool)]) -> (Vec<Option<Protocol>>, Option<Protocol>) {
        told_in(Framing::Lines, pieces)
    }

    #[test]
    fn p12_each_framing_tells_of_the_others_and_not_of_itself() {
        let (lines, nul, cr) = (Some(Protocol::NewlineEnded), Some(Protocol::NulEnded), Some(Protocol::CrEnded));
        let counted = b"83 <34>1 - - - - - - x".as_slice();
        for (framing, bytes, at_once, at_end) in [
            (Framing::Nul, b"one\ntwo\n".as_slice(), None, lines),
            (Framing::Nul, b"one\r\ntwo\r\n", None, lines),
            (Framing::Nul, b"one\ntwo\0", None, None),
            (Framing::Nul, &b"me\r".repeat(16), cr, None),
            (Framing::Nul, &b"me\r\n".repeat(100), None, lines),
            (Framing::Nul, counted, Some(Protocol::OctetCounted), None),
            (Framing::Cr, b"one\ntwo\n", None, lines),
            (Framing::Cr, b"one\r\ntwo", None, None),
            (Framing::Cr, &b"me\0".repeat(16), nul, None),
            (Framing::Octet, counted, None, None),
            (Framing::Octet, &b"8 me\0\0\0\0\0\0".repeat(16), None, None),
            (Framing::Octet, b"\x16\x03\x01\x02\0\x01", Some(Protocol::Tls), None),
            (Framing::AutoOctet, counted, None, None),
            (Framing::AutoOctet, b"8", None, None),
            (Framing::AutoOctet, &b"me\0".repeat(16), nul, None),
            (Framing::AutoOctet, b"GET / HTTP/1.1\r\n", Some(Protocol::Http), None),
        ] {
            let shown = bytes.escape_ascii();
            assert_eq!(told_in(framing, &[(bytes, false)]), (vec![at_once], at_end), "{framing} {shown}");
            assert!(spoken(framing).len() > 4);
        }
        // What may be a length is looked at no more: behind it any byte is a message's.
        let after = b"\0".repeat(99);
        assert_eq!(told_in(Framing::AutoOctet, &[(b"9", false), (&after, true)]), (vec![None, None], None));
    }

    #[test]
    fn p12_other_ends_are_told_of_once_after_sixteen_or_a_nul_and_a_silence() {
        let (nul, cr) = (Some(Protocol::NulEnded), Some(Protocol::CrEnded));
        let fifteen = [b"me\0".repeat(15), b"me\r".repeat(15)].concat();
        assert_eq!(told(&[(&fifteen, false), (b"m\0", false), (b"m\0", true)]), (vec![None, nul, None], None));
        assert_eq!(told(&[(&fifteen, false), (b"m\r", false), (b"m\r", true)]), (vec![None, cr, None], None));
        assert_eq!(told(&[(b"m\0", false), (b"m", true), (b"\0", true)]), (vec![None, nul, None], None));
        assert_eq!(told(&[(b"m\0", false), (b"m", false)]), (vec![None, None], nul), "at its end");
        // A newline decides it, also one that comes with the marks.
        assert_eq!(told(&[(b"m\0m\r\n", false), (&fifteen, true), (&fifteen, true)]), (vec![None, None, None], None));
        assert_eq!(told(&[(b"m\r", true), (b"m\r", true)]), (vec![None, None], None), "a CR may belong to a CRLF");
        assert_eq!(told(&[(b"GET / HTTP/1.1\r\n", false), (b"m\0", false)]).0, [Some(Protocol::Http), None]);
    }

    #[test]
    fn p12_where_the_bytes_are_cut_changes_nothing_about_marks() {
        let bytes = b"one\0two\0".repeat(8);
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            let (told, end) = told(&[(head, false), (tail, false)]);
            assert_eq!((told, end), (vec![None, Some(Protocol::NulEnded)], None), "{cut}");
        }
    }
}
