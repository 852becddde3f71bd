//! What an answer means: whether the lines are there, are to be sent again, or will never be taken. Invariant: lines count as
//! taken only if the store says so, and nothing of its own words gets into a sentence, since they may hold what clients sent.

use core::fmt;
use core::time::Duration;

use super::address::Kind;
use super::date::retry_after;
use crate::config::text::whole;
use crate::http::{Answer, Trouble};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All are there.
    Acked,
    /// So many are settled, from the first on, these of them refused for what is in them; whether any is there that was sent;
    /// and what became of the rest.
    Parts { settled: usize, refused: Vec<usize>, has_taken: bool, rest: Rest },
    /// Nobody knows, or the store has no time.
    Again(Option<Duration>),
    /// They are too many bytes at once.
    TooLarge,
    /// What is said of each is too many bytes: whether they are there nobody knows.
    TooLong,
    /// Something in them can't be taken.
    Refused,
    /// Nothing that is sent would be.
    Wait,
}

/// What became of those behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    Again,
}

/// Why lines were not taken, as the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// What it answers.
    Status(u16),
    /// What it answers for one of the lines.
    Item(u16),
    /// It says that all is well, and then that it is not.
    Exception,
    /// It says that all is well, and not of what.
    NoBulk,
    /// It says more of a single line than it could.
    LongBulk,
    /// There was no answer.
    Trouble(Trouble),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "it answers {}", Status(*status)),
            Self::Item(status) => write!(f, "it answers {} for a line", Status(*status)),
            Self::Exception => f.write_str("it answers 200 OK, and an exception with it"),
            Self::NoBulk => f.write_str("its answer is none of _bulk: is the path right?"),
            Self::LongBulk => {
                f.write_str("its answer to a single line is longer than one of _bulk can be: is the path right?")
            }
            Self::Trouble(trouble) => f.write_str(&trouble.unquoted()),
        }
    }
}

/// A status with its usual words.
struct Status(u16);

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.0 {
            200 => " OK",
            400 => " Bad Request",
            401 => " Unauthorized",
            403 => " Forbidden",
            404 => " Not Found",
            405 => " Method Not Allowed",
            408 => " Request Timeout",
            413 => " Content Too Large",
            415 => " Unsupported Media Type",
            422 => " Unprocessable Content",
            429 => " Too Many Requests",
            500 => " Internal Server Error",
            502 => " Bad Gateway",
            503 => " Service Unavailable",
            504 => " Gateway Timeout",
            _ => "",
        };
        write!(f, "{}{words}", self.0)
    }
}

/// What the answer to a request with so many lines means, and what a sentence says of it.
pub(super) fn verdict(kind: Kind, result: Result<Answer, Trouble>, count: usize) -> (Verdict, Reason) {
    let answer = match result {
        Ok(answer) => answer,
        Err(trouble) if kind == Kind::Elastic && trouble.is_too_long() => return (Verdict::TooLong, Reason::LongBulk),
        Err(trouble) => return (Verdict::Again(None), Reason::Trouble(trouble)),
    };
    let reason = Reason::Status(answer.status);
    let verdict = match answer.status {
        200..=299 => return accepted(kind, &answer, count),
        408 | 429 | 500..=599 => Verdict::Again(retry_after(&answer.head)),
        413 => Verdict::TooLarge,
        400 | 422 => Verdict::Refused,
        _ => Verdict::Wait,
    };
    (verdict, reason)
}

/// A 2xx, which not every store means.
fn accepted(kind: Kind, answer: &Answer, count: usize) -> (Verdict, Reason) {
    let reason = Reason::Status(answer.status);
    match kind {
        Kind::ClickHouse => {
            let has_exception = answer.head.header("x-clickhouse-exception-code").is_some()
                || places(&answer.body, b"DB::Exception").next().is_some();
            if has_exception { (Verdict::Again(None), Reason::Exception) } else { (Verdict::Acked, reason) }
        }
        Kind::Elastic => bulk(&answer.body, count),
        Kind::Loki | Kind::Ndjson => (Verdict::Acked, reason),
    }
}

/// What `_bulk` says of each line.
fn bulk(body: &[u8], count: usize) -> (Verdict, Reason) {
    let has_said = |word: &[u8]| places(body, b"\"errors\":").any(|rest| rest.trim_ascii_start().starts_with(word));
    let statuses = statuses(body);
    // What it says of a line counts more than what it says of all. One that can't be read is 0.
    let are_fine = statuses.iter().all(|status| matches!(status, 0 | 200..=299 | 409));
    let is_fine = has_said(b"false") && !has_said(b"true");
    if is_fine && are_fine && (statuses.is_empty() || statuses.len() == count) {
        return (Verdict::Acked, Reason::Status(200));
    }
    if !(is_fine || has_said(b"true")) || statuses.len() != count {
        return (Verdict::Again(None), Reason::NoBulk);
    }
    let (mut settled, mut refused, mut stopped) = (0, Vec::new(), None);
    for (at, status) in statuses.iter().enumerate() {
        match status {
            200..=299 | 409 => {}
            400 | 413 | 422 => refused.push(at),
            _ => {
                stopped = Some(*status);
                break;
            }
        }
        settled = at + 1;
    }
    let has_taken = statuses.iter().any(|status| matches!(status, 200..=299 | 409));
    let shown = stopped.or_else(|| refused.first().and_then(|at| statuses.get(*at).copied()));
    let rest = if stopped.is_some() { Rest::Again } else { Rest::Nothing };
    (Verdict::Parts { settled, refused, has_taken, rest }, Reason::Item(shown.unwrap_or_default()))
}

/// The status of each item, in order.
fn statuses(body: &[u8]) -> Vec<u16> {
    let status = |rest: &[u8]| {
        let digits = rest.trim_ascii_start().get(..3)?;
        u16::try_from(whole(str::from_utf8(digits).ok()?)?).ok()
    };
    let mut statuses = Vec::new();
    for rest in places(body, b"\"status\":") {
        statuses.push(status(rest).unwrap_or_default());
    }
    statuses
}

/// What stands behind each place with these bytes. One that begins with a quote is in no string, where that has a backslash
/// before it. By hand: what searches fast is 20 KB.
fn places<'b>(body: &'b [u8], bytes: &'static [u8]) -> impl Iterator<Item = &'b [u8]> {
    let starts = memchr::memchr_iter(bytes.first().copied().unwrap_or_default(), body);
    starts.filter_map(move |at| body.get(at..)?.strip_prefix(bytes))
}
