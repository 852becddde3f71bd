//! Reads HTTP requests from bytes that may not all be there yet. Invariant: whatever the bytes are, the result is a request,
//! a refusal with its HTTP status, or that more bytes are needed.

use super::board::{CONNECTION, HOST};
use crate::config::text::whole;

/// The longest request, head and all: more is answered with 431.
pub const MOST_REQUEST_BYTES: usize = 8 * 1024;
/// The most header fields; browsers send some twenty.
pub const MOST_HEADERS: usize = 64;
/// The longest value in a query. The text of `/tail?match=` is searched in every line, and a long one could take much CPU
/// time in lines that are made for it.
pub const MOST_VALUE_BYTES: usize = 256;

/// Why a request is refused, by its HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the bytes are no request.
    Malformed,
    /// 400: `connections=` is no number.
    Connections,
    /// 400: `format=` is none that there is.
    Format,
    /// 400: `sort=` is none that there is.
    Sort,
    /// 404: there is no such path.
    Unknown,
    /// 404: lines are not shown.
    TailOff,
    /// 405: only GET, HEAD and OPTIONS are served.
    Method,
    /// 406: it asks for the page, and does not accept gzip.
    Unpacked,
    /// 408: it took too long.
    TooSlow,
    /// 421: it came to a loopback address, and its `Host` is another name.
    Misdirected,
    /// 431: it is too long.
    TooLarge,
    /// 503: there is no memory for the answer, or there are too many viewers.
    Busy,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The page.
    Page,
    /// A short status as JSON.
    Status,
    /// Everything that is known.
    Diagnostics {
        /// How many connections, and hosts, it lists at most.
        connections: usize,
        /// In which form.
        form: Form,
        /// Which ones, and what else.
        listing: Listing,
    },
    /// Metrics for Prometheus.
    Metrics,
    /// Whether lines flow.
    Health,
    /// What may be asked for: some proxies ask so whether anybody is here.
    Options,
    /// Lines as they come.
    Tail {
        /// Bytes that a line has to hold.
        substring: Vec<u8>,
        /// Whose lines: an address, with or without its port.
        peer: Vec<u8>,
    },
}

/// Which connections and hosts are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// What the address or the state of a connection has to contain.
    pub part: Vec<u8>,
    /// The number by which they are ranked; empty for the usual one.
    pub sort: String,
    /// Whether the samples of the last minutes are wanted, too.
    pub has_history: bool,
}

/// The forms of the diagnostics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object.
    Json,
    /// The connections, for a spreadsheet.
    Csv,
    /// A screen of text, for a terminal.
    Text,
}

/// How a request is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct How {
    /// Only the head of the answer is wanted.
    pub is_head: bool,
    /// Another request may follow on this connection.
    pub keeps_alive: bool,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked for, or that there is no such thing.
    pub route: Result<Route, Refusal>,
    /// How it is to be answered.
    pub how: How,
    /// Whether its `Host` is an address or localhost. A web page that lets its own name resolve to a loopback address ("DNS
    /// rebinding") sends that name.
    pub is_local: bool,
    /// Its length in bytes.
    pub len: usize,
}

/// How many connections the diagnostics list without `connections=`.
const DEFAULT_CONNECTIONS: usize = 100;

/// Parses the first request in `bytes`; `None` if it is not all there yet.
///
/// # Errors
/// See [`Refusal`]: the connection is of no use after it.
pub fn parse(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut found = httparse::Request::new(&mut headers);
    let len = match found.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len <= MOST_REQUEST_BYTES => len,
        Ok(httparse::Status::Partial) if bytes.len() < MOST_REQUEST_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(_) => return Err(Refusal::Malformed),
    };
    let (is_head, is_options) = (found.method == Some("HEAD"), found.method == Some("OPTIONS"));
    if !is_head && !is_options && found.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let is_newer = found.version == Some(1);
    let (mut keeps_alive, mut closes, mut hosts, mut is_local) = (is_newer, false, 0, true);
    let mut takes_gzip = false;
    for header in found.headers.iter() {
        let (name, value) = (header.name.as_bytes(), header.value.trim_ascii());
        if is(name, b"connection") {
            keeps_alive |= names(value, b"keep-alive");
            closes |= names(value, b"close");
        } else if is(name, b"host") {
            hosts += 1;
            is_local = is_local_name(value);
        } else if is(name, b"accept-encoding") {
            takes_gzip |= accepts(value, b"gzip");
        } else if is(name, b"transfer-encoding") || (is(name, b"content-length") && value != b"0") {
            // Its body would be read as the next request.
            return Err(Refusal::Malformed);
        }
    }
    // RFC 9112, 3.2.
    if hosts > 1 || (is_newer && hosts == 0) {
        return Err(Refusal::Malformed);
    }
    let (authority, target) = split(found.path.unwrap_or_default());
    is_local &= authority.is_none_or(|name| is_local_name(name.as_bytes()));
    let route = match route(target) {
        _ if is_options => Ok(Route::Options),
        Ok(Route::Page) if !takes_gzip => Err(Refusal::Unpacked),
        route => route,
    };
    Ok(Some(Request { route, how: How { is_head, keeps_alive: keeps_alive && !closes }, is_local, len }))
}

#[inline(never)] // one copy, for size
fn is(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether a field's list of words has this one.
#[inline(never)] // one copy, for size
fn names(list: &[u8], word: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|part| is(part.trim_ascii(), word))
}

/// Whether a field's list of words has this one, and not with the weight 0: RFC 9110, 12.4.2.
fn accepts(list: &[u8], word: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|part| {
        let end = part.iter().position(|byte| *byte == b';').unwrap_or(part.len());
        let (name, weight) = part.split_at(end);
        is(name.trim_ascii(), word) && (weight.is_empty() || weight.iter().any(|byte| (b'1'..=b'9').contains(byte)))
    })
}

/// Whether a Host field is an address, or localhost.
fn is_local_name(host: &[u8]) -> bool {
    let end = host.iter().rposition(|byte| *byte == b':').unwrap_or(host.len());
    let is_v4 = host.iter().all(|byte| byte.is_ascii_digit() || b".:".contains(byte));
    is_v4 || host.starts_with(b"[") || is(host.get(..end).unwrap_or_default(), b"localhost")
}

/// The name of the server in a target, and the rest. Clients ask a proxy so, and RFC 9112, 3.2.2 says that servers have to
/// understand it too.
fn split(target: &str) -> (Option<&str>, &str) {
    match target.strip_prefix("http://") {
        Some(rest) => match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
            Some((name, path)) => (Some(name), path),
            None => (Some(rest), "/"),
        },
        None => (None, target),
    }
}

fn route(target: &str) -> Result<Route, Refusal> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(match path {
        "/" => Route::Page,
        "/status" => Route::Status,
        "/metrics" => Route::Metrics,
        "/healthz" => Route::Health,
        "/diagnostics" => {
            let connections = value(query, "connections")?;
            let connections = match std::str::from_utf8(&connections) {
                Ok("") => DEFAULT_CONNECTIONS,
                text => text
                    .ok()
                    .and_then(whole)
                    .and_then(|number| usize::try_from(number).ok())
                    .ok_or(Refusal::Connections)?,
            };
            let form = match value(query, "format")?.as_slice() {
                b"" | b"json" => Form::Json,
                b"csv" => Form::Csv,
                b"text" => Form::Text,
                _ => return Err(Refusal::Format),
            };
            let sort = String::from_utf8(value(query, "sort")?).unwrap_or_default();
            if !sort.is_empty() && ![CONNECTION, HOST].iter().any(|names| names.split(' ').any(|name| name == sort)) {
                return Err(Refusal::Sort);
            }
            let has_history = !value(query, "history")?.is_empty();
            let listing = Listing { part: value(query, "match")?, sort, has_history };
            Route::Diagnostics { connections, form, listing }
        }
        "/tail" => Route::Tail { substring: value(query, "match")?, peer: value(query, "peer")? },
        _ => return Err(Refusal::Unknown),
    })
}

/// The value of a name in a query, decoded; empty if it is not there.
#[inline(never)] // one copy, for size
fn value(query: &str, name: &str) -> Result<Vec<u8>, Refusal> {
    let raw = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let mut rest = raw.unwrap_or_default().as_bytes();
    let mut decoded = Vec::new();
    while let Some((byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (*byte, rest.get(1..).unwrap_or_default()),
            },
            (b'+', _) => (b' ', after),
            _ => (*byte, after),
        };
        if decoded.len() >= MOST_VALUE_BYTES {
            return Err(Refusal::TooLarge);
        }
        decoded.push(byte);
        rest = after;
    }
    Ok(decoded)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Result<Option<Request>, Refusal> {
        parse(text.as_bytes())
    }

    #[test]
    fn each_path_is_found_with_its_query() {
        let tail = |substring: &[u8], peer: &[u8]| Route::Tail { substring: substring.to_vec(), peer: peer.to_vec() };
        let diagnostics = |connections, form| Route::Diagnostics { connections, form, listing: Listing::default() };
        let listing = Listing { part: b"192.0.2.7".to_vec(), sort: "bytesPerSecond".to_owned(), has_history: true };
        let sorted = Route::Diagnostics { connections: 100, form: Form::Json, listing };
        let longest = format!("/tail?match={}", "%41".repeat(MOST_VALUE_BYTES));
        for (target, route) in [
            ("/", Route::Page),
            ("/?x=1", Route::Page),
            ("/status", Route::Status),
            ("/metrics", Route::Metrics),
            ("/healthz", Route::Health),
            ("http://a:1/status?x", Route::Status),
            ("http://a", Route::Page),
            ("/diagnostics", diagnostics(100, Form::Json)),
            ("/diagnostics?connections=&format=", diagnostics(100, Form::Json)),
            ("/diagnostics?connections=5&format=csv", diagnostics(5, Form::Csv)),
            ("/diagnostics?format=text&connections=99999", diagnostics(99_999, Form::Text)),
            ("/diagnostics?match=192.0.2.7&sort=bytesPerSecond&history=1", sorted),
            ("/tail", tail(b"", b"")),
            ("/tail?match", tail(b"", b"")),
            ("/tail?matches=x&match=a%20b+c%ff%zz%+1%4&peer=192.0.2.7", tail(b"a b c\xff%zz% 1%4", b"192.0.2.7")),
            (&longest, tail(&[b'A'; MOST_VALUE_BYTES], b"")),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\nrest");
            let request = ask(&text).unwrap().unwrap();
            assert_eq!((request.route, request.len), (Ok(route), text.len() - 4), "{target}");
            assert!(request.how.keeps_alive && !request.how.is_head);
        }
    }

    #[test]
    fn what_is_no_request_is_refused_with_its_status() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MOST_REQUEST_BYTES));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MOST_HEADERS + 1));
        for (text, refusal) in [
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Method),
            ("get / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Method),
            ("\x16\x03\x01\x02\0", Refusal::Malformed),
            ("GET / HTTP/9.9\r\nHost: a\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refusal::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Refusal::Malformed),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Malformed),
            (&long, Refusal::TooLarge),
            (&many, Refusal::TooLarge),
        ] {
            assert_eq!(ask(text), Err(refusal), "{text}");
        }
        assert!(ask("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").unwrap().is_some());
    }

    #[test]
    fn what_is_not_there_is_said_and_the_connection_goes_on() {
        let long = format!("/tail?match={}", "a".repeat(MOST_VALUE_BYTES + 1));
        for (target, refusal) in [
            ("/nothing", Refusal::Unknown),
            ("/../etc/passwd", Refusal::Unknown),
            ("*", Refusal::Unknown),
            ("/diagnostics?connections=x", Refusal::Connections),
            ("/diagnostics?connections=-1", Refusal::Connections),
            ("/diagnostics?format=xml", Refusal::Format),
            ("/diagnostics?sort=colour", Refusal::Sort),
            (&long, Refusal::TooLarge),
        ] {
            let request = ask(&format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap().unwrap();
            assert_eq!((request.route, request.how.keeps_alive), (Err(refusal), true), "{target}");
        }
    }

    #[test]
    fn a_request_that_is_not_all_there_is_waited_for() {
        let text = "HEAD /status HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(ask(&text[..end]), Ok(None), "{end}");
        }
        let request = ask(text).unwrap().unwrap();
        assert!(request.how.is_head && !request.how.keeps_alive && request.is_local);
    }

    #[test]
    fn a_connection_goes_on_if_the_client_says_so_or_says_nothing_in_1_1() {
        for (version, field, keeps_alive) in [
            ("1.0", "X: y", false),
            ("1.0", "Connection: Keep-Alive", true),
            ("1.0", "Connection: keep-alive, close", false),
            ("1.1", "Connection: upgrade", true),
            ("1.1", "Connection: Upgrade, CLOSE", false),
            ("1.1", "Connection: close\r\nConnection: keep-alive", false),
        ] {
            let request = ask(&format!("GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n\r\n")).unwrap().unwrap();
            assert_eq!(request.how.keeps_alive, keeps_alive, "{version} {field}");
        }
    }

    #[test]
    fn the_page_is_for_those_who_accept_gzip() {
        for (field, is_accepted) in [
            ("Accept-Encoding: gzip, deflate, br, zstd", true),
            ("accept-encoding: br;q=1.0,GZIP ; q=0.8", true),
            ("Accept-Encoding: br\r\nAccept-Encoding: gzip;q=1", true),
            ("Accept-Encoding: gzip;q=0.001", true),
            ("Accept-Encoding: gzip;q=0", false),
            ("Accept-Encoding: gzip; q=0.000, br", false),
            ("Accept-Encoding: gzipped, x-gzip", false),
            ("Accept-Encoding:", false),
            ("Accept: gzip", false),
        ] {
            let request = ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n")).unwrap().unwrap();
            let wanted = if is_accepted { Ok(Route::Page) } else { Err(Refusal::Unpacked) };
            assert_eq!((request.route, request.how.keeps_alive), (wanted, true), "{field}");
        }
    }

    #[test]
    fn who_asks_what_there_is_gets_that_whatever_the_target() {
        for text in ["OPTIONS / HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"] {
            assert_eq!(ask(text).unwrap().unwrap().route, Ok(Route::Options), "{text}");
        }
    }

    #[test]
    fn a_whole_address_as_target_names_its_host_too() {
        for (target, is_local) in [
            ("http://127.0.0.1:4446/status", true),
            ("http://localhost", true),
            ("http://evil.example/status", false),
            ("http://evil.example", false),
            ("/http://evil.example", true),
        ] {
            let request = ask(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).unwrap().unwrap();
            assert_eq!(request.is_local, is_local, "{target}");
        }
    }

    #[test]
    fn a_name_is_told_from_an_address() {
        for (host, is_local) in [
            ("127.0.0.1:4446", true),
            ("192.0.2.7", true),
            ("[::1]:4446", true),
            ("LocalHost:4446", true),
            ("localhost", true),
            ("", true),
            ("localhost.evil.example", false),
            ("evil.example:4446", false),
            ("127.0.0.1.evil.example", false),
        ] {
            let request = ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).unwrap().unwrap();
            assert_eq!(request.is_local, is_local, "{host}");
        }
    }
}
