//! Which protocol a client seems to speak, from its first bytes, so that an operator who pointed the wrong one at the
//! port is told what to change (P12). Invariant: any bytes have an answer. It only makes a warning: the lines go out
//! anyway.

use core::fmt;

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
}

impl Protocol {
    /// What to change, and where.
    #[must_use]
    pub fn cure(&self) -> &'static str {
        match self {
            Self::Tls => "turn TLS off at the sender, or put a TLS proxy in front",
            Self::Http => "this port takes plain lines, not requests; use the sender's TCP output",
            Self::Beats => "use an output that sends plain lines over TCP; this is not the Beats protocol",
            Self::OctetCounted => "set the sender's framing to newlines (rsyslog: TCP_Framing=\"traditional\")",
            Self::Proxy => "turn the PROXY protocol off at the proxy; its header is taken for a line",
            Self::Utf16 => "set the sender's encoding to UTF-8",
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
        })
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
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Protocol::Utf16,
        [1..=255, 0, 1..=255, 0, 1..=255, 0, ..] | [0, 1..=255, 0, 1..=255, 0, 1..=255, ..] => Protocol::Utf16,
        _ if first_bytes.starts_with(PROXY_V2) || is_proxy_v1(line) => Protocol::Proxy,
        _ if is_http(line) => Protocol::Http,
        _ if is_octet_counted(line) => Protocol::OctetCounted,
        _ => return Verdict::Text,
    };
    Verdict::Foreign(protocol)
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
        ] {
            assert_eq!(sniff(bytes), Verdict::Text, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn p12_each_protocol_has_a_name_and_a_cure_of_its_own() {
        use Protocol::{Beats, Http, OctetCounted, Proxy, Tls, Utf16};
        let all = [Beats, Http, OctetCounted, Proxy, Tls, Utf16];
        let of_all = |what: fn(&Protocol) -> String| {
            let mut said = all.iter().map(what).collect::<Vec<_>>();
            said.sort_unstable();
            said.dedup();
            said
        };
        assert_eq!((of_all(Protocol::to_string).len(), of_all(|one| one.cure().to_owned()).len()), (6, 6));
        assert!(all.iter().all(|one| !one.to_string().is_empty() && one.cure().contains(' ')));
    }
}
