//! Why a request came to no answer, each as the end of a sentence that begins with the URL. Invariant: nothing of a server's
//! words that a terminal would obey is in one, and no secret.

use core::fmt;
use core::time::Duration;

use crate::config::units::{DisplayDuration, DisplaySize};

/// So much is shown of what a server sent.
pub(super) const MOST_SHOWN_BYTES: usize = 40;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// There was no connection, or it broke: what the system says.
    Io(String),
    /// There was no connection within [`super::Rules::whole`].
    NoConnection(Duration),
    /// The head did not come in time.
    NoHead(Duration),
    /// All of it took too long.
    TooSlow(Duration),
    /// There was no room for the body in time ([`super::Client::grant`]).
    NoRoom(Duration),
    /// The connection ended before anything came.
    Silent,
    /// It ended before the answer did.
    Cut,
    /// The body is longer than it may be.
    TooLong(usize),
    /// The head is.
    HeadTooLong,
    /// A peer of TLS answers.
    Tls,
    /// What answers is no server of HTTP/1: how it begins, printable.
    NotHttp(String),
    /// It spoke before it was asked.
    Unasked,
    /// It can't be understood: the end of "its answer …".
    Malformed(&'static str),
    /// A redirect to another place, printable and without credentials.
    Elsewhere(String),
    /// One redirect after the other.
    Redirects,
    /// The body is coded in a way that was not asked for: the name of it, printable.
    Coding(String),
    /// It says that the body is gzip, and it is not.
    NotGzip,
}

impl Trouble {
    /// Whether the answer began and did not come to its end: of a file that was replaced meanwhile, say.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::Cut)
    }

    /// Whether the body is longer than [`super::Rules::most_body`].
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        matches!(self, Self::TooLong(_))
    }

    /// The sentence without a word of the server's, which may repeat what it was sent: lines, and who we are.
    #[cfg(feature = "push")]
    pub(crate) fn unquoted(&self) -> String {
        match self {
            Self::NotHttp(_) => "it does not speak HTTP/1.1".to_owned(),
            Self::Coding(_) => "its answer is coded in a way that was not asked for".to_owned(),
            other => other.to_string(),
        }
    }

    /// Whether time ran out.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        matches!(self, Self::NoConnection(_) | Self::NoHead(_) | Self::TooSlow(_))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io(why) => return f.write_str(why),
            Self::NoConnection(after) => return write!(f, "there was no connection in {}", DisplayDuration(*after)),
            Self::NoHead(after) => return write!(f, "no answer began in {}", DisplayDuration(*after)),
            Self::TooSlow(after) => return write!(f, "it took longer than {}", DisplayDuration(*after)),
            Self::NoRoom(after) => {
                return write!(f, "there was no memory for its body in {}: raise --memory", DisplayDuration(*after));
            }
            Self::TooLong(most) => return write!(f, "its body is longer than {}", DisplaySize(*most)),
            Self::NotHttp(found) => return write!(f, "it does not speak HTTP/1.1: it begins with {found}"),
            Self::Malformed(why) => return write!(f, "its answer {why}"),
            Self::Elsewhere(to) => {
                return write!(f, "it redirects to {to}, another server, which is not followed: give that URL instead");
            }
            Self::Coding(name) => return write!(f, "its body is coded as {name}, which was not asked for"),
            Self::Silent => "it closed the connection without an answer",
            Self::Cut => "the connection ended in the middle of the answer",
            Self::HeadTooLong => "the head of its answer is longer than 16KiB, or has more than 64 fields",
            Self::Tls => "it seems to speak TLS: give https://, or the port of plain HTTP",
            Self::Unasked => "it speaks before it is asked: is it an HTTP server?",
            Self::Redirects => "it redirects more than 3 times",
            Self::NotGzip => "its body is not the gzip that its head says it is",
        })
    }
}

impl core::error::Error for Trouble {}

/// The start of what came from elsewhere, as a terminal can show it.
pub(super) fn shown(bytes: &[u8]) -> String {
    let start = bytes.get(..MOST_SHOWN_BYTES).unwrap_or(bytes);
    let more = if start.len() < bytes.len() { "…" } else { "" };
    format!("{}{more}", start.escape_ascii())
}
