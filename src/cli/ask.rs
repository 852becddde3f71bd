//! `lumberjack status`: asks a running server how it is, and shows the answer on one screen. Invariant: stdout gets what
//! the server answered, and nothing else.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::logging::complain;
use super::reader::has_lost_reader;
use crate::config::listen::ListenAddr;

/// Where it asks if no address is given: the one that the README shows for `--status`.
pub const DEFAULT_STATUS: &str = "127.0.0.1:4446";
/// The longest that connecting, and the whole answer, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Time between two questions with `--watch`.
const PAUSE: Duration = Duration::from_secs(1);
/// What is asked for a screen: with 12 connections it fits one.
const SCREEN: &str = "/diagnostics?format=text&connections=12";
/// The HTTP status of a good answer.
const OK: &str = "200 OK";
/// What each answer of a receiver has in its head, in small letters, as a proxy may send it.
const MARK: &str = "\r\ncontent-security-policy: default-src 'none'";
/// The longest head that is waited for.
const MOST_HEAD_BYTES: usize = 16 * 1024;
/// The largest answer that is read.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What the arguments of `lumberjack status` ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Address of the server's `--status`.
    pub at: ListenAddr,
    /// Whether the answer is shown as JSON, not as a screen.
    pub is_json: bool,
    /// Whether it is asked again each second.
    pub repeats: bool,
}

/// What the server is, as the exit code says it: 0 healthy, 1 unhealthy, 2 unreachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Healthy,
    Unhealthy,
    Unreachable,
}

/// Asks the server, and shows its answer.
pub(super) fn ask(question: &Question) -> Found {
    loop {
        let (found, is_shown) = match fetch_both(&question.at, if question.is_json { "/diagnostics" } else { SCREEN }) {
            Ok((shown, reasons)) => show(question, &shown, reasons.as_deref()),
            Err(error) => {
                let at = &question.at;
                complain(&format_args!(
                    "cannot ask {at} how it is: {error}; is a receiver running with --status {at}?"
                ));
                (Found::Unreachable, true)
            }
        };
        // Whoever read our stdout has closed it: nobody would see another answer.
        if !question.repeats || !is_shown {
            return found;
        }
        if has_lost_reader(PAUSE) {
            return found;
        }
    }
}

/// Writes the answer to stdout, and tells whether that worked. With JSON, the `reasons` why lines do not flow go to stderr.
fn show(question: &Question, shown: &str, reasons: Option<&str>) -> (Found, bool) {
    let clear = if question.repeats && !question.is_json { "\x1b[H\x1b[2J" } else { "" };
    let is_shown = io::stdout().write_all([clear, shown].concat().as_bytes()).is_ok();
    let Some(reasons) = reasons else { return (Found::Healthy, is_shown) };
    // The screen has them already.
    if question.is_json {
        reasons.trim_end().split('\n').for_each(|reason| complain(&reason));
    }
    (Found::Unhealthy, is_shown)
}

/// What to show, and the reasons why lines do not flow, if they do not.
fn fetch_both(at: &ListenAddr, target: &str) -> io::Result<(String, Option<String>)> {
    let (status, shown) = fetch(at, target)?;
    if status != OK {
        return Err(io::Error::other("the answer is ".to_owned() + &status));
    }
    let (status, reasons) = fetch(at, "/healthz")?;
    Ok((shown, (status != OK).then_some(reasons)))
}

/// HTTP status and body of the answer to one request.
fn fetch(at: &ListenAddr, target: &str) -> io::Result<(String, String)> {
    let (domain, address) = match at {
        ListenAddr::Tcp(addr) | ListenAddr::Udp(addr) => (Domain::for_address(*addr), SockAddr::from(*addr)),
        ListenAddr::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
    };
    let mut socket = Socket::new(domain, Type::STREAM, None)?;
    let deadline = Instant::now() + PATIENCE;
    // On Linux it also limits how long connecting may take.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(&address)?;
    let parts = ["GET ", target, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"];
    // A new socket takes so few bytes in one call.
    socket.send(parts.concat().as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    let mut is_known = false;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A time-out of 0 would mean to wait without end.
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match socket.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) if answer.len() < MOST_BYTES && !left.is_zero() => {
                answer.extend_from_slice(chunk.get(..count).unwrap_or_default());
                // Others may never end, or keep the connection: what they say is no answer to this.
                is_known = is_known || is_receivers(&answer)?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => return Err(ErrorKind::TimedOut.into()),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let parts = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split_once("\r\n\r\n"));
    let (head, body) = parts.ok_or_else(|| io::Error::other("the answer has no end"))?;
    let (status, _) = head.split_once("\r\n").unwrap_or((head, ""));
    Ok((status.to_owned(), body.to_owned()))
}

/// Whether an answer so far is one of a receiver; not yet, if its head is not all there.
///
/// # Errors
/// It is somebody else's.
#[inline(never)] // for size
fn is_receivers(answer: &[u8]) -> io::Result<bool> {
    let start = b"HTTP/1.";
    if !answer.iter().zip(start).all(|(is, wanted)| is == wanted) {
        return Err(io::Error::other("what answers there speaks no HTTP"));
    }
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n");
    let has = |head: &[u8]| head.windows(MARK.len()).any(|part| part.eq_ignore_ascii_case(MARK.as_bytes()));
    match end.and_then(|end| answer.get(..end)) {
        Some(head) if has(head) => Ok(true),
        None if answer.len() < MOST_HEAD_BYTES => Ok(false),
        _ => Err(io::Error::other("another web server answers there")),
    }
}
