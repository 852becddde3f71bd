//! Writes HTTP answers into a buffer. Invariant: each says its length; only the tail goes on until its connection ends.

use std::borrow::Cow;

use super::request::{How, Refusal};

/// The page, as it is sent: `gzip -9nc page.html > page.html.gz`. As it is, it would be 17 KB more of the binary.
pub const PAGE: &[u8] = include_bytes!("page.html.gz");

/// What a browser lets the page do: use its own style and script, named by their hash, and ask the server that it came from.
/// A test computes the hashes.
const PAGE_POLICY: &str = "default-src 'none'; connect-src 'self'; img-src data:; style-src 'sha256-dC+vWyEFEBNi35JEy2Pkmg1/AIHBahEitVpHONfxDGU='; script-src 'sha256-dbkvdHzrqL5vr2JJ4CJ6XiwqqHNmm5Xae5Jsd0CCFg0='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The page, which is packed with gzip.
    Page,
    /// JSON.
    Json,
    /// Prometheus' text format 0.0.4.
    Metrics,
    /// Text.
    Text,
    /// CSV.
    Csv,
    /// Server-sent events.
    Events,
    /// No body at all, only what may be asked for.
    Nothing,
}

/// Status and body of an answer.
#[derive(Debug, Clone)]
pub struct Content {
    /// The HTTP status, such as `200 OK`.
    pub status: &'static str,
    /// The type of the body.
    pub kind: Kind,
    /// The body.
    pub body: Cow<'static, [u8]>,
}

/// The most bytes of a head without the page's policy, and of a whole refusal.
pub const MOST_HEAD_BYTES: usize = 512;

impl Content {
    /// The whole answer, in a buffer of exactly its length. If it is [`Kind::Events`], more events may follow until the
    /// connection ends. There is no `Date`: it is for caches, and no answer is stored.
    #[must_use]
    pub fn answer(&self, how: How) -> Vec<u8> {
        let (kind, policy) = match self.kind {
            Kind::Page => ("text/html; charset=utf-8", PAGE_POLICY),
            Kind::Json => ("application/json", "default-src 'none'"),
            Kind::Metrics => ("text/plain; version=0.0.4; charset=utf-8", "default-src 'none'"),
            Kind::Text => ("text/plain; charset=utf-8", "default-src 'none'"),
            Kind::Csv => ("text/csv; charset=utf-8", "default-src 'none'"),
            // nginx would keep events until it has some kilobytes of them.
            Kind::Events => ("text/event-stream\r\nX-Accel-Buffering: no", "default-src 'none'"),
            Kind::Nothing => ("text/plain", "default-src 'none'"),
        };
        let length = self.body.len().to_string();
        let allows = self.status.starts_with("405") || self.kind == Kind::Nothing;
        let allow = if allows { "\r\nAllow: GET, HEAD, OPTIONS" } else { "" };
        let has_length = !matches!(self.kind, Kind::Events | Kind::Nothing);
        let parts = [
            "HTTP/1.1 ",
            self.status,
            "\r\nContent-Type: ",
            kind,
            "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\nContent-Security-Policy: ",
            policy,
            allow,
            if self.kind == Kind::Page { "\r\nContent-Encoding: gzip" } else { "" },
            // HTTP 1.1 does not need a `keep-alive`, but clients of 1.0 do.
            if how.keeps_alive { "\r\nConnection: keep-alive" } else { "\r\nConnection: close" },
            if has_length { "\r\nContent-Length: " } else { "" },
            if has_length { &length } else { "" },
            "\r\n\r\n",
        ];
        let head = parts.concat();
        [head.as_bytes(), if how.is_head { &[] } else { &self.body }].concat()
    }
}

impl Refusal {
    /// The answer: its status, and a sentence.
    #[must_use]
    pub fn answer(self, how: How) -> Vec<u8> {
        let (status, sentence) = match self {
            Self::Malformed => ("400 Bad Request", "this is not a request that is understood here\n"),
            Self::Connections => ("400 Bad Request", "connections= is how many to list: a number\n"),
            Self::Format => ("400 Bad Request", "format= is json, csv or text\n"),
            Self::Sort => ("400 Bad Request", "sort= is a number of a connection or host, such as bytesPerSecond\n"),
            Self::TailOff => {
                ("404 Not Found", "the lines are not shown here: this server runs with --status-tail off\n")
            }
            Self::Unknown => ("404 Not Found", "there are /, /status, /diagnostics, /metrics, /healthz and /tail\n"),
            Self::Method => ("405 Method Not Allowed", "only GET, HEAD and OPTIONS are served\n"),
            Self::Unpacked => (
                "406 Not Acceptable",
                "the page is sent packed with gzip only: use a browser, curl --compressed, or /diagnostics?format=text\n",
            ),
            Self::TooSlow => ("408 Request Timeout", "the request took more than 10 s\n"),
            Self::Misdirected => ("421 Misdirected Request", "ask for localhost or for an address, not for a name\n"),
            Self::TooLarge => {
                ("431 Request Header Fields Too Large", "a request may have 8 KiB, 64 fields, 256 bytes a value\n")
            }
            Self::Busy => ("503 Service Unavailable", "too much is asked for at once: try again\n"),
        };
        Content { status, kind: Kind::Text, body: sentence.as_bytes().into() }.answer(how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_a_length_but_for_events_and_says_whether_it_goes_on() {
        let answer = |kind, is_head, keeps_alive| {
            let content = Content { status: "200 OK", kind, body: b"body"[..].into() };
            String::from_utf8(content.answer(How { is_head, keeps_alive })).unwrap()
        };
        let json = answer(Kind::Json, false, true);
        assert!(json.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"), "{json}");
        assert!(json.ends_with("\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbody"), "{json}");
        let head = answer(Kind::Json, true, false);
        assert!(head.ends_with("\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"), "{head}");
        let events = answer(Kind::Events, false, false);
        assert!(events.ends_with("\r\nConnection: close\r\n\r\nbody"), "{events}");
        assert!(events.contains("\r\nContent-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n"), "{events}");
        let nothing = answer(Kind::Nothing, true, true);
        assert!(nothing.ends_with("\r\nAllow: GET, HEAD, OPTIONS\r\nConnection: keep-alive\r\n\r\n"), "{nothing}");
    }

    #[test]
    fn p5_a_refusal_fits_what_is_kept_for_it() {
        for refusal in [
            Refusal::Malformed,
            Refusal::Connections,
            Refusal::Format,
            Refusal::Sort,
            Refusal::Unknown,
            Refusal::TailOff,
            Refusal::Method,
            Refusal::Unpacked,
            Refusal::TooSlow,
            Refusal::Misdirected,
            Refusal::TooLarge,
            Refusal::Busy,
        ] {
            let answer = refusal.answer(How { is_head: false, keeps_alive: true });
            assert!(answer.len() <= MOST_HEAD_BYTES && answer.capacity() == answer.len(), "{}", answer.len());
            assert!(answer.ends_with(b"\n"));
        }
        let page = Content { status: "200 OK", kind: Kind::Page, body: b""[..].into() };
        let page = page.answer(How { is_head: true, keeps_alive: true });
        assert!(page.len() <= 2 * MOST_HEAD_BYTES, "{}", page.len());
    }

    /// SHA-256, as in FIPS 180-4, for the one thing that is hashed.
    fn sha256(text: &[u8]) -> [u8; 32] {
        let primes: Vec<u32> = (2..312).filter(|n| (2..*n).all(|m| n % m != 0)).collect();
        // The first 32 bits of the fractional parts of a root, by integers alone.
        let root = |prime: u32, power: u32| {
            let wanted = u128::from(prime) << (32 * power);
            let (mut low, mut high) = (0_u128, 1 << 37);
            while high - low > 1 {
                let middle = (low + high) / 2;
                if middle.pow(power) <= wanted { low = middle } else { high = middle }
            }
            u32::try_from(low & 0xffff_ffff).unwrap()
        };
        let rounds: Vec<u32> = primes.iter().map(|prime| root(*prime, 3)).collect();
        assert_eq!(rounds.len(), 64);
        let mut state: Vec<u32> = primes[..8].iter().map(|prime| root(*prime, 2)).collect();
        let mut padded = text.to_vec();
        padded.push(0x80);
        while padded.len() % 64 != 56 {
            padded.push(0);
        }
        padded.extend((text.len() as u64 * 8).to_be_bytes());
        for block in padded.chunks(64) {
            let mut words: Vec<u32> =
                block.chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
            for at in 16..64 {
                let (two, fifteen) = (words[at - 2], words[at - 15]);
                let small0 = fifteen.rotate_right(7) ^ fifteen.rotate_right(18) ^ (fifteen >> 3);
                let small1 = two.rotate_right(17) ^ two.rotate_right(19) ^ (two >> 10);
                words.push(words[at - 16].wrapping_add(small0).wrapping_add(words[at - 7]).wrapping_add(small1));
            }
            let mut s = state.clone();
            for (round, word) in rounds.iter().zip(&words) {
                let big1 = s[4].rotate_right(6) ^ s[4].rotate_right(11) ^ s[4].rotate_right(25);
                let choice = (s[4] & s[5]) ^ (!s[4] & s[6]);
                let one = [big1, choice, *round, *word].iter().fold(s[7], |sum, part| sum.wrapping_add(*part));
                let big0 = s[0].rotate_right(2) ^ s[0].rotate_right(13) ^ s[0].rotate_right(22);
                let two = big0.wrapping_add((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
                s.rotate_right(1);
                s[4] = s[4].wrapping_add(one);
                s[0] = one.wrapping_add(two);
            }
            state.iter_mut().zip(s).for_each(|(sum, part)| *sum = sum.wrapping_add(part));
        }
        let bytes: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.try_into().unwrap()
    }

    fn base64(bytes: &[u8]) -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(*chunk.get(at).unwrap_or(&0)));
            for at in 0..4 {
                text.push(if at <= chunk.len() { char::from(letters[bits >> (18 - 6 * at) & 63]) } else { '=' });
            }
        }
        text
    }

    #[test]
    fn the_policy_names_the_style_and_the_script_of_the_page_by_their_hash() {
        assert_eq!(base64(&sha256(b"")), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(base64(&sha256(b"abc")), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        let page = include_str!("page.html");
        for tag in ["style", "script"] {
            let parts: Vec<&str> = page.split(&format!("<{tag}>")).collect();
            assert_eq!(parts.len(), 2, "there is one <{tag}>");
            let inside = parts[1].split(&format!("</{tag}>")).next().unwrap();
            let wanted = format!("{tag}-src 'sha256-{}';", base64(&sha256(inside.as_bytes())));
            assert!(PAGE_POLICY.contains(&wanted), "PAGE_POLICY needs {wanted}");
        }
        assert!(!page.contains(" style=") && !page.contains(" onclick="), "nothing that the policy forbids");
    }

    #[test]
    fn the_page_is_what_was_packed() {
        let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/src/status/page.html.gz");
        let unpacked = std::process::Command::new("gzip").args(["-dc", packed]).output().unwrap().stdout;
        let command = "cd src/status && gzip -9nc page.html > page.html.gz";
        assert!(unpacked == include_bytes!("page.html"), "the page has changed since it was packed: {command}");
        assert!(unpacked.len() < 32 * 1024 && PAGE.len() < 12 * 1024, "{} bytes", unpacked.len());
    }
}
