//! A publisher to NATS JetStream without sockets, clock or files: bytes and times in, bytes and events out. `docs/beyond.md`
//! says what is promised; how the caller moves the bytes is at [`Session`].
//!
//! Lines have numbers, and go out in batches. Each message says in its headers which lines it holds, and is taken only if the
//! message before it on the same subject is the one that it names. What became of a batch is told by its ack, and if that
//! does not come, by the stream's last message on the subject (`lookup`). Invariant: nothing is published before it is known what
//! the stream has.

mod answer;
mod base;
pub mod credentials;
pub mod fetch;
mod info;
mod json;
mod lookup;
#[cfg(feature = "nkey")]
mod nkey;
mod outgoing;
mod request;
pub mod servers;
pub mod session;
pub mod subject;
pub mod trouble;
pub mod url;
mod wire;

use core::fmt;

pub use self::answer::Stream;
use self::credentials::Credentials;
pub use self::session::Session;
pub use self::trouble::Trouble;
pub use self::url::{Tls, Url};

/// The most bytes that a batch is to have: more gained nothing, and are one more batch's memory.
pub const BATCH_BYTES: usize = 256 * 1024;

/// Whose lines these are: what the spool calls its box.
pub type BoxId = [u8; 16];

/// What a segment of a spool is called: the number of its first line, and its salt. A spool that was copied goes on under other
/// salts, by which it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// Number of its first line.
    pub first: u64,
    /// What nobody else's segment has.
    pub salt: [u8; 16],
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, Hex(&self.salt))
    }
}

/// How far the stream has come, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Number of the last line that it has; 0 if it has none.
    pub acked: u64,
    /// The sequence of the message with that line; 0 if there is none.
    pub sequence: u64,
    /// The segment with that line.
    pub segment: Segment,
}

/// Lines that are one message in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// Number of the first.
    pub first: u64,
    /// Number of the last. Numbers between may be those of no line.
    pub last: u64,
    /// The segment with the last.
    pub segment: Segment,
}

/// What a session is told.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The stream's name (`--nats-stream`).
    pub stream: String,
    /// The subject, with the box's name in it ([`subject::Subject::of`]).
    pub subject: String,
    /// The subjects of the stream that is made if there is none ([`subject::Subject::to_make`]); `None`: none is made
    /// (`--nats-create`).
    pub create: Option<String>,
    /// Whose lines these are.
    pub box_id: BoxId,
    /// What the server calls this connection in its lists.
    pub client: String,
    /// Who we are.
    pub credentials: Credentials,
    /// Whether connections are secured. With [`Tls::First`] the caller does that before it tells of one.
    pub tls: Tls,
    /// Where the last process was; `None`: nobody knows.
    pub position: Option<Position>,
}

/// Bytes as hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads what [`Hex`] writes, of 16 bytes.
fn from_hex(text: &[u8]) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        *byte = base::hex_digit(pair[0])? << 4 | base::hex_digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod rules;
