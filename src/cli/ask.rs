//! `lumberjack status`: asks a running server how it is, and shows it on one screen. Invariant: what it says on stdout is
//! what the server answered, and nothing else.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::logging::complain;
use crate::config::listen::ListenAddr;

/// Where it asks unless told otherwise: the place that the README shows for `--status`.
pub const DEFAULT_STATUS: &str = "127.0.0.1:4446";
/// The longest that connecting, and the whole answer, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Connections on a screen.
const ROWS: &str = "/diagnostics?format=text&connections=12";
/// The status of an answer that is one.
const OK: &str = "200 OK";
/// The largest answer that is looked at.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What `lumberjack status` was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Where the server's `--status` is.
    pub at: ListenAddr,
    /// JSON in place of a screen.
    pub is_json: bool,
    /// Again each second.
    pub watches: bool,
}

/// What came of it, as an exit code: 0 healthy, 1 not, 2 unreachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Healthy,
    Unhealthy,
    Unreachable,
}

/// Asks, shows, and tells what came of it.
pub(super) fn look(look: &Look) -> Seen {
    loop {
        let (seen, is_shown) = match ask_both(&look.at, if look.is_json { "/diagnostics" } else { ROWS }) {
            Ok((shown, reasons)) => show(look, &shown, reasons.as_deref()),
            Err(error) => {
                let at = &look.at;
                complain(&format_args!(
                    "cannot ask {at} how it is: {error}; is a receiver running with --status {at}?"
                ));
                (Seen::Unreachable, true)
            }
        };
        // Who has closed our stdout has seen enough.
        if !look.watches || !is_shown {
            return seen;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Shows an answer, and, if there are `reasons` why lines do not flow, says those.
fn show(look: &Look, shown: &str, reasons: Option<&str>) -> (Seen, bool) {
    let clear = if look.watches && !look.is_json { "\x1b[H\x1b[2J" } else { "" };
    let is_shown = io::stdout().write_all([clear, shown].concat().as_bytes()).is_ok();
    let Some(reasons) = reasons else { return (Seen::Healthy, is_shown) };
    // The screen says them itself.
    if look.is_json {
        reasons.trim_end().split('\n').for_each(|reason| complain(&reason));
    }
    (Seen::Unhealthy, is_shown)
}

/// What is to be shown, and why lines do not flow, if so.
fn ask_both(at: &ListenAddr, target: &str) -> io::Result<(String, Option<String>)> {
    let (status, shown) = ask(at, target)?;
    if status != OK {
        return Err(io::Error::other("the answer is ".to_owned() + &status));
    }
    let (status, reasons) = ask(at, "/healthz")?;
    Ok((shown, (status != OK).then_some(reasons)))
}

/// Status and body of an answer.
fn ask(at: &ListenAddr, target: &str) -> io::Result<(String, String)> {
    let (domain, address) = match at {
        ListenAddr::Tcp(addr) => (Domain::for_address(*addr), SockAddr::from(*addr)),
        ListenAddr::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
    };
    let mut socket = Socket::new(domain, Type::STREAM, None)?;
    let deadline = Instant::now() + PATIENCE;
    // On Linux connecting obeys it too.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(&address)?;
    let parts = ["GET ", target, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"];
    // So little always goes at once.
    socket.send(parts.concat().as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // A time-out of 0 would be none.
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match socket.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) if answer.len() < MOST_BYTES && !left.is_zero() => {
                answer.extend_from_slice(chunk.get(..count).unwrap_or_default());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => return Err(ErrorKind::TimedOut.into()),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let parts = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split_once("\r\n\r\n"));
    let (head, body) = parts.ok_or_else(|| io::Error::other("the answer is no HTTP"))?;
    let (status, _) = head.split_once("\r\n").unwrap_or((head, ""));
    Ok((status.to_owned(), body.to_owned()))
}
