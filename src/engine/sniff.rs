//! Which protocol a client seems to speak, from its first bytes and from what comes before the first end of a message, so that an
//! operator who pointed the wrong one at the port is told what to change (P12). Invariant: any bytes have an answer, one
//! a connection. It only makes a warning: the lines go out anyway.

use core::mem;

use super::protocol::Protocol;
use crate::config::listen::Framing;

/// So many marks of another end before any newline are no accident. Fewer fit four bits.
const MANY_MARKS: u8 = 16;
/// So many syslog headers in one message are no accident: a relay may send one inside another's.
const MANY_HEADERS: usize = 4;
/// They are looked for in so many bytes: four messages of nearly a kilobyte.
const HEADERS_BYTES: usize = 4096;

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

/// The last is how HTTP/2 begins.
const METHODS: [&[u8]; 8] = [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"PRI "];
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// U+FEFF in UTF-8: what some senders begin a connection with, though no byte order is to be told.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What tells a protocol is in so many bytes at the start of a line, or at its end.
const EDGE: usize = 16;

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
        _ if line.starts_with(b"SSH-2.0-") => Protocol::Ssh,
        _ if is_relp(line) => Protocol::Relp,
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
    /// A handshake of TLS has to come first (P33).
    Secured,
    /// TLS has failed: nothing of what comes is a line any more.
    Failed,
    /// A byte order mark has come, and nothing else.
    Marked,
    /// So many bytes of `PROXY_V2` have come, and nothing else. They do not stay pending: newlines are among them.
    Header(u8),
    /// All that has come is pending: no newline and no end of a message, but so many marks of other ends: of the first of
    /// the two in the lower four bits, of the second in the upper. Every connection has room for this.
    Begun(u8),
    /// The same marks, but how it began is not at hand any more.
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

    /// Where in these bytes a byte order mark ends that begins the connection, if one does: once. Of one that comes in
    /// pieces, the earlier ones are `pending`, and nothing else is. Where a length may come first, it is none.
    #[inline(never)] // no line after the first comes here
    pub fn end_of_mark(&mut self, pending: &[u8], bytes: &[u8], framing: Framing) -> Option<usize> {
        let is_at_start = match self {
            Self::Fresh => true,
            Self::Begun(_) => !pending.is_empty(),
            _ => false,
        };
        let may_be_one = is_at_start && !matches!(framing, Framing::Octet | Framing::AutoOctet);
        let rest = BYTE_ORDER_MARK.strip_prefix(pending).filter(|rest| may_be_one && bytes.starts_with(rest))?;
        *self = Self::Marked;
        Some(rest.len())
    }

    /// More bytes have come, behind those that are `pending`. `was_silent`: not right after those. Tells the protocol, once.
    #[inline(never)] // no line after the first comes here
    pub fn feed(&mut self, pending: &[u8], bytes: &[u8], was_silent: bool, framing: Framing) -> Option<Protocol> {
        if bytes.is_empty() {
            return None;
        }
        // A CR may have been the first half of an ending.
        let told = self.other_end(pending, framing);
        let told = told.filter(|end| *end != Protocol::CrEnded || !bytes.starts_with(b"\n"));
        let before = mem::replace(self, Self::Decided);
        if let (Some(protocol), true) = (told, was_silent) {
            return Some(protocol);
        }
        let (seen, is_at_hand) = match before {
            Self::Fresh | Self::Proxied | Self::Secured | Self::Failed | Self::Marked | Self::Header(_) => (0, true),
            Self::Begun(seen) => (seen, !pending.is_empty()),
            Self::Open(seen) => (seen, false),
            Self::Decided => return None,
        };
        let known = match before {
            Self::Header(known) => PROXY_V2.get(..known.into()).unwrap_or_default(),
            _ => &[],
        };
        let head = if known.is_empty() { pending } else { known };
        let newline = memchr::memchr(b'\n', bytes);
        // What a line is, its first bytes tell, or its end.
        if is_at_hand && (head.len() < EDGE || newline.is_some()) {
            let edges = Edges::of(head, bytes, newline.unwrap_or(bytes.len()));
            match (sniff(edges.bytes()), framing) {
                (Verdict::Foreign(Protocol::OctetCounted), Framing::Octet | Framing::AutoOctet) => return None,
                (Verdict::Foreign(protocol), _) => return Some(protocol),
                // It may become a length, behind which any byte is a message's.
                (Verdict::Text, Framing::AutoOctet) if edges.bytes().first().is_some_and(u8::is_ascii_digit) => {
                    return None;
                }
                (Verdict::Text, _) => {}
            }
            if edges.bytes().len() < PROXY_V2.len() && PROXY_V2.starts_with(edges.bytes()) {
                *self = Self::Header(edges.len);
                return None;
            }
        }
        // Where more comes without a pause, no silence would tell, and in the end the line is too long to be at hand.
        if newline.is_none() && has_many_headers(pending) {
            return Some(Protocol::Endless);
        }
        // What was taken for the start of a header may have marks, too.
        let seen = match count_marks(seen, known, framing)? {
            Ok(seen) => count_marks(seen, bytes, framing)?,
            Err(protocol) => Err(protocol),
        };
        match seen {
            Err(protocol) => return Some(protocol),
            // A second byte order mark would be a part of the line, in however many pieces it comes.
            Ok(seen) if is_at_hand && before != Self::Marked && newline.is_none() && !known.contains(&b'\n') => {
                *self = Self::Begun(seen);
            }
            Ok(seen) => *self = Self::Open(seen),
        }
        None
    }

    /// Whether silence now would tell the protocol. `pending`: what came and stayed.
    #[must_use]
    pub fn is_doubtful(self, pending: &[u8]) -> bool {
        let (Self::Begun(seen) | Self::Open(seen)) = self else { return false };
        has_marks(seen, pending) || has_many_headers(pending)
    }

    /// The connection has ended, or fallen silent. Tells the protocol, once.
    pub fn end(&mut self, pending: &[u8], framing: Framing) -> Option<Protocol> {
        let protocol = self.other_end(pending, framing)?;
        *self = Self::Decided;
        Some(protocol)
    }

    /// What messages end in, if nothing follows: a mark of the first kind has come, or one of the second is the last that has,
    /// or nothing has but headers; and no end of a message.
    fn other_end(self, pending: &[u8], framing: Framing) -> Option<Protocol> {
        let (Self::Begun(seen) | Self::Open(seen)) = self else { return None };
        let (_, [(_, first), (_, second)]) = marks(framing)?;
        if has_marks(seen, pending) {
            return Some(if seen % MANY_MARKS > 0 { first } else { second });
        }
        has_many_headers(pending).then_some(Protocol::Endless)
    }
}

/// Whether a mark of the first kind has come, or one of the second is the last that has. Of a NUL and a CR only one can be
/// pending and no mark of the first kind.
fn has_marks(seen: u8, pending: &[u8]) -> bool {
    let firsts = seen % MANY_MARKS;
    firsts > 0 || (seen > 0 && matches!(pending.last(), Some(0 | b'\r')))
}

/// Whether what is pending are several syslog messages, as senders over TCP that forget to end them make one of all.
fn has_many_headers(pending: &[u8]) -> bool {
    let start = pending.get(..HEADERS_BYTES).unwrap_or(pending);
    let is_header = |at: &usize| start.get(*at..).is_some_and(begins_with_header);
    is_header(&0) && memchr::memchr_iter(b'<', start).filter(is_header).count() >= MANY_HEADERS
}

/// Whether these bytes begin with a priority, and version and time of RFC 5424, or a month and a day of RFC 3164, or a year.
fn begins_with_header(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"<") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let Some(rest) = rest.get(digits..).and_then(|rest| rest.strip_prefix(b">")) else { return false };
    let is_time = matches!(
        rest,
        [b'1', b' ', b'0'..=b'9' | b'-', ..]
            | [b'A'..=b'Z', b'a'..=b'z', b'a'..=b'z', b' ', b'0'..=b'3' | b' ', ..]
            | [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', ..]
    );
    is_time && (1..=3).contains(&digits)
}

/// The marks of a message, with these bytes of it; the protocol, if they are many. `None`: it has ended, or no marks are looked
/// for.
fn count_marks(seen: u8, bytes: &[u8], framing: Framing) -> Option<Result<u8, Protocol>> {
    let (end, [(first, first_protocol), (second, second_protocol)]) = marks(framing)?;
    let has_ended = memchr::memchr(end, bytes);
    let (mut firsts, mut seconds) = (seen % MANY_MARKS, seen / MANY_MARKS);
    for byte in bytes.get(..has_ended.unwrap_or(bytes.len())).unwrap_or_default() {
        firsts += u8::from(*byte == first);
        seconds += u8::from(*byte == second);
        if firsts >= MANY_MARKS {
            // A message may well be of so many lines: then its end comes before any silence.
            if first != b'\n' {
                return Some(Err(first_protocol));
            }
            firsts = MANY_MARKS - 1;
        }
        if seconds >= MANY_MARKS {
            // Each may be one of a CRLF.
            if first != b'\n' || firsts == 0 {
                return Some(Err(second_protocol));
            }
            seconds = MANY_MARKS - 1;
        }
    }
    has_ended.is_none().then_some(Ok(seconds * MANY_MARKS + firsts))
}

/// The first bytes of a line that may have come in pieces, and its last ones: [`sniff`] looks at no others.
struct Edges {
    bytes: [u8; 2 * EDGE],
    len: u8,
}

impl Edges {
    /// Those of a line that goes on to `line_end` in `bytes`.
    fn of(head: &[u8], bytes: &[u8], line_end: usize) -> Self {
        let mut edges = Self { bytes: [0; 2 * EDGE], len: 0 };
        edges.push(head.get(..EDGE).unwrap_or(head));
        let (first, rest) = bytes.split_at(bytes.len().min(EDGE.saturating_sub(head.len())));
        edges.push(first);
        // Of a line that ends in the first bytes, these have its end.
        if let Some(rest) = line_end.checked_sub(first.len()).and_then(|len| rest.get(..len)) {
            let last = rest.len().min(EDGE);
            let before = head.get(EDGE.max((head.len() + last).saturating_sub(EDGE))..).unwrap_or_default();
            edges.push(before);
            edges.push(rest.get(rest.len() - last..).unwrap_or_default());
        }
        edges
    }

    #[inline(never)] // for size
    fn push(&mut self, bytes: &[u8]) {
        for (place, byte) in self.bytes.iter_mut().skip(self.len.into()).zip(bytes) {
            *place = *byte;
            self.len += 1;
        }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len.into()).unwrap_or_default()
    }
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

/// The first line of RELP: `1 open LENGTH relp_version=…`.
fn is_relp(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"1 open ") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && rest.get(digits..).is_some_and(|rest| rest.starts_with(b" relp_"))
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
    use crate::engine::protocol::spoken;

    #[test]
    fn p12_other_protocols_are_recognised() {
        for (bytes, protocol) in [
            (b"\x16\x03\x01\x02\0\x01".as_slice(), Protocol::Tls),
            (b"GET / HTTP/1.1\r\nHost: x\r\n", Protocol::Http),
            (b"PUT /x HTTP/1.0\r\n", Protocol::Http),
            (b"POST /x HTTP/2.0\n", Protocol::Http),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Protocol::Http),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Protocol::Ssh),
            (b"1 open 85 relp_version=0\nrelp_software=librelp,1.11.0", Protocol::Relp),
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
            b"1 open door\n",
            b"1 open 2 doors\n",
            b"SSH-2 is what it speaks\n",
            b"\x92quoted\x94 in Windows-1252\n",
            b"\0\0\x01\x9a}",
            b"\x1f\x8b",
        ] {
            assert_eq!(sniff(bytes), Verdict::Text, "{}", bytes.escape_ascii());
        }
    }

    /// What each piece brings, and the end. What has come is pending, up to the last end of a message.
    fn told_in(framing: Framing, pieces: &[(&[u8], bool)]) -> (Vec<Option<Protocol>>, Option<Protocol>) {
        let end = marks(framing).map_or(b'\n', |(end, _)| end);
        let (mut opening, mut pending) = (Opening::default(), Vec::new());
        let mut told = Vec::new();
        for (bytes, was_silent) in pieces {
            told.push(opening.feed(&pending, bytes, *was_silent, framing));
            pending.extend_from_slice(bytes);
            pending.drain(..memchr::memrchr(end, &pending).map_or(0, |end| end + 1));
            assert_eq!(opening.is_doubtful(&pending), opening.other_end(&pending, framing).is_some());
        }
        let end = opening.end(&pending, framing);
        assert_eq!(opening.end(&pending, framing), None, "once");
        (told, end)
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
            (Framing::Nul, b"one\r", None, cr),
            (Framing::Nul, b"one\r2", None, None),
            (Framing::Nul, b"\r\n\0", None, None),
            (Framing::Nul, &b"me\r".repeat(16), cr, None),
            (Framing::Nul, &b"me\r\n".repeat(100), None, lines),
            (Framing::Nul, counted, Some(Protocol::OctetCounted), None),
            (Framing::Cr, b"one\ntwo\n", None, lines),
            (Framing::Cr, b"one\r\ntwo", None, None),
            (Framing::Cr, b"one\0", None, nul),
            (Framing::Cr, b"one\0two", None, None),
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
            // Where no length comes, that is said, whatever is behind the first byte.
            for cut in 0..if framing == Framing::Octet { 0 } else { bytes.len() } {
                let (head, tail) = bytes.split_at(cut);
                let (told, end) = told_in(framing, &[(head, false), (tail, false)]);
                let once = told.into_iter().flatten().next();
                assert_eq!((once, end), (at_once, at_end), "{framing} {shown} cut at {cut}");
            }
        }
        // What may be a length is looked at no more: behind it any byte is a message's.
        let after = b"\0".repeat(99);
        assert_eq!(told_in(Framing::AutoOctet, &[(b"9", false), (&after, true)]), (vec![None, None], None));
    }

    #[test]
    fn p12_other_ends_are_told_of_once_after_sixteen_or_one_and_a_silence() {
        let (nul, cr) = (Some(Protocol::NulEnded), Some(Protocol::CrEnded));
        let fifteen = [b"me\0".repeat(15), b"me\r".repeat(15)].concat();
        assert_eq!(told(&[(&fifteen, false), (b"m\0", false), (b"m\0", true)]), (vec![None, nul, None], None));
        assert_eq!(told(&[(&fifteen, false), (b"m\r", false), (b"m\r", true)]), (vec![None, cr, None], None));
        assert_eq!(told(&[(b"m\0", false), (b"m", true), (b"\0", true)]), (vec![None, nul, None], None));
        assert_eq!(told(&[(b"m\0", false), (b"m", false)]), (vec![None, None], nul), "at its end");
        assert_eq!(told(&[(b"m\r", false), (b"m", true), (b"\r", true)]), (vec![None, cr, None], None));
        assert_eq!(told(&[(b"m\r", false), (b"m\r", false)]), (vec![None, None], cr), "at its end");
        // A newline decides it, also one that comes with the marks, and a CR may be the first half of an ending.
        assert_eq!(told(&[(b"m\0m\r\n", false), (&fifteen, true), (&fifteen, true)]), (vec![None, None, None], None));
        assert_eq!(told(&[(b"m\r", false), (b"\nm\r", true)]), (vec![None, None], None));
        // One that is not the last is no end: a progress bar.
        assert_eq!(told(&[(b"10 %\r20", true), (b" %", true)]), (vec![None, None], None));
        assert_eq!(told(&[(b"GET / HTTP/1.1\r\n", false), (b"m\0", false)]).0, [Some(Protocol::Http), None]);
    }

    #[test]
    fn p12_syslog_messages_that_nothing_ends_are_told_of_when_more_comes_or_nothing_does() {
        let endless = Some(Protocol::Endless);
        for message in [
            "<134>1 2026-11-26T18:11:36.123Z box app 7 - - me",
            "<13>1 - - - - - - me",
            "<134>Nov 26 18:11:36 box app[7]: me",
            "<134>Nov  6 18:11:36 box app[7]: me",
            "<30>2026-11-26T18:11:36Z box app[7]: me",
        ] {
            let (three, four) = (message.repeat(3), message.repeat(4));
            assert_eq!(told(&[(four.as_bytes(), false)]), (vec![None], endless), "{message}");
            assert_eq!(told(&[(four.as_bytes(), false), (b"x", false)]), (vec![None, endless], None), "{message}");
            assert_eq!(told(&[(four.as_bytes(), false), (b"x", true)]), (vec![None, endless], None), "{message}");
            assert_eq!(told(&[(three.as_bytes(), false), (b"x", true)]), (vec![None, None], None), "{message}");
            assert_eq!(told(&[(four.as_bytes(), false), (b"x\n", false)]), (vec![None, None], None), "its end came");
            assert_eq!(told(&[((four.clone() + "\n").as_bytes(), false)]), (vec![None], None), "one line");
            assert_eq!(
                told(&[(b"no header ", false), (four.as_bytes(), false)]),
                (vec![None, None], None),
                "{message}"
            );
            for framing in [Framing::Nul, Framing::Cr, Framing::AutoOctet] {
                assert_eq!(told_in(framing, &[(four.as_bytes(), false)]), (vec![None], endless), "{framing} {message}");
            }
            assert_eq!(told_in(Framing::Octet, &[(four.as_bytes(), false)]).1, None, "{message}");
            for cut in 0..four.len() {
                let (head, tail) = four.split_at(cut);
                let (told, end) = told(&[(head.as_bytes(), false), (tail.as_bytes(), false)]);
                assert_eq!(
                    told.into_iter().flatten().chain(end).collect::<Vec<_>>(),
                    [Protocol::Endless],
                    "{message} at {cut}"
                );
            }
        }
        for text in ["<1>", "<b>1 2", "<1234>1 2026", "<>1 2026", "<34>me", "<34>1  2026", "<13>MAY 1 ", "<13>May x"] {
            assert_eq!(told(&[(text.repeat(9).as_bytes(), false), (b"x", true)]), (vec![None, None], None), "{text}");
        }
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

    #[test]
    fn p12_where_the_bytes_are_cut_changes_nothing_about_a_protocol() {
        let long = [b"GET /".to_vec(), vec![b'x'; 5000], b" HTTP/1.1\r\n".to_vec()].concat();
        for (bytes, protocol) in [
            (b"\x16\x03\x01\x02\0\x01".as_slice(), Protocol::Tls),
            (b"GET / HTTP/1.1\r\nHost: x\r\n", Protocol::Http),
            (&long, Protocol::Http),
            (b"2W\0\0\0\x01", Protocol::Beats),
            (b"123456 <134>1 2026-01-01T00:00:00Z host app - - - hello", Protocol::OctetCounted),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n", Protocol::Proxy),
            (b"PROXY UNKNOWN\r\n", Protocol::Proxy),
            (PROXY_V2, Protocol::Proxy),
            (b"\xff\xfeh\0", Protocol::Utf16),
            (b"h\0e\0l\0l\0o\0", Protocol::Utf16),
            (b"\xac\xed\0\x05sr\0", Protocol::Java),
            (b"\0\0\x01\x9a}q\0(X", Protocol::Pickle),
            (b"\0\0\x01\x9a\x80\x05\x95", Protocol::Pickle),
            (b"\x92\xa3app\xdc", Protocol::Msgpack),
            (b"\x1f\x8b\x08\0", Protocol::Gzip),
        ] {
            let once = |told: Vec<Option<Protocol>>| told.into_iter().flatten().collect::<Vec<_>>();
            for cut in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(cut);
                assert_eq!(once(told(&[(head, false), (tail, false)]).0), [protocol], "{protocol} cut at {cut}");
            }
            let single: Vec<(&[u8], bool)> = bytes.chunks(1).map(|byte| (byte, false)).collect();
            assert_eq!(once(told(&single).0), [protocol], "{protocol} byte by byte");
        }
    }

    #[test]
    fn lines_that_come_in_pieces_are_text() {
        for line in [b"GET /index.html took 3 ms\nHTTP/1.1\n".as_slice(), b"83 bottles\n", b"\r\n\r\nQUIT\n", b"\r\nx"]
        {
            for cut in 0..=line.len() {
                let (head, tail) = line.split_at(cut);
                assert_eq!(told(&[(head, false), (tail, false)]), (vec![None, None], None), "{cut}");
            }
        }
        // How it began is gone: what comes now is in the middle of something.
        let mut opening = Opening::default();
        assert_eq!(opening.feed(b"", b"half a li", false, Framing::Lines), None);
        assert_eq!(opening.feed(b"", b"GET ", false, Framing::Lines), None);
        assert_eq!(opening.feed(b"GET ", b"/ HTTP/1.1\n", false, Framing::Lines), None);
    }

    #[test]
    fn p1_the_byte_order_mark_that_begins_a_connection_ends_in_whichever_piece_it_does() {
        let ends = |pieces: &[&[u8]]| {
            let (mut opening, mut pending, mut ends) = (Opening::default(), Vec::new(), Vec::new());
            for bytes in pieces {
                let end = opening.end_of_mark(&pending, bytes, Framing::Lines);
                ends.push(end);
                if end.is_some() {
                    pending.clear();
                }
                let rest = bytes.get(end.unwrap_or_default()..).unwrap();
                opening.feed(&pending, rest, false, Framing::Lines);
                pending.extend_from_slice(rest);
            }
            ends
        };
        assert_eq!(ends(&[b"\xef\xbb\xbfhello", b"x"]), [Some(3), None]);
        assert_eq!(ends(&[b"\xef", b"\xbb\xbfhello"]), [None, Some(2)]);
        assert_eq!(ends(&[b"\xef\xbb", b"\xbf", b"hello"]), [None, Some(1), None]);
        assert_eq!(ends(&[b"\xef", b"\xbb", b"\xbf"]), [None, None, Some(1)]);
        assert_eq!(ends(&[b"\xef\xbb\xbf\xef\xbb\xbf"]), [Some(3)], "only the first");
        assert_eq!(ends(&[b"\xef\xbb\xbf", b"\xef\xbb\xbf"]), [Some(3), None]);
        assert_eq!(ends(&[b"\xef\xbb\xbf\xef", b"\xbb\xbf"]), [Some(3), None]);
        assert_eq!(ends(&[b"\xef\xbb\xbf", b"\xef", b"\xbb\xbf"]), [Some(3), None, None]);
        assert_eq!(ends(&[b"x", b"\xef\xbb\xbf"]), [None, None]);
        assert_eq!(ends(&[b"\xef", b"x\xbb\xbf"]), [None, None]);
        let mut flushed = Opening::default();
        assert_eq!(flushed.feed(b"", b"\xef", false, Framing::Lines), None);
        assert_eq!(flushed.end_of_mark(b"", b"\xef\xbb\xbf", Framing::Lines), None, "it went out as a line");
    }
}
