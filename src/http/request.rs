//! What a server is asked, and the head that says so. Invariant: nothing that a field or a target holds begins another field or
//! another request.

use core::fmt::{self, Write as _};

use super::secret::Secret;
use super::url::Url;
use crate::config::text::{is, trimmed};

/// Fields that are ours to write.
const OURS: [&str; 8] =
    ["host", "connection", "content-length", "transfer-encoding", "accept-encoding", "user-agent", "expect", "upgrade"];

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// A page is fetched.
    #[default]
    Get,
    /// The body is handed over.
    Post,
}

/// What a server is asked.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// What is done.
    pub method: Method,
    /// Path and query, in place of the URL's own.
    pub target: Option<String>,
    /// Further fields. Those that can't be sent are left out: see [`header_fault`].
    pub headers: Vec<(String, String)>,
    /// What is handed over.
    pub body: Vec<u8>,
    /// Whether the answer's body may come as gzip. It is unpacked here.
    pub takes_gzip: bool,
}

/// Without what fields hold, which may be a key.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|field| field.0.as_str()).collect();
        write!(f, "{:?} {:?} with {names:?} and {} bytes", self.method, self.target, self.body.len())
    }
}

/// Why a field can't be sent, as the end of a sentence.
#[must_use]
pub fn header_fault(name: &str, value: &str) -> Option<&'static str> {
    let is_token = |letter: u8| letter.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&letter);
    if name.is_empty() || !name.bytes().all(is_token) {
        Some("the name of a field has letters, digits and hyphens only")
    } else if value.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
        Some("there is a control character in the field")
    } else if OURS.iter().any(|ours| is(name, ours)) {
        Some("this field is written by us")
    } else {
        None
    }
}

/// Adds a field.
#[cfg(any(feature = "poll", feature = "push"))]
#[inline(never)] // one copy, for size
pub(crate) fn add_field(fields: &mut Vec<(String, String)>, name: &str, value: &str) {
    fields.push((name.to_owned(), value.to_owned()));
}

impl Request {
    /// The head that says so. An `Authorization` of the caller's goes before the secret.
    pub(super) fn head(&self, url: &Url, secret: Option<&Secret>) -> Vec<u8> {
        let mut head = String::new();
        let method = match self.method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        let coding = if self.takes_gzip { "gzip" } else { "identity" };
        // Writing to a text does not fail.
        let _ = write!(
            head,
            "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: lumberjack/{}\r\nConnection: keep-alive\r\nAccept-Encoding: {coding}\r\n",
            url.target(),
            url.authority(),
            env!("CARGO_PKG_VERSION"),
        );
        if self.method == Method::Post {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        let mut has_authorization = false;
        for (name, value) in &self.headers {
            if header_fault(name, value).is_none() {
                has_authorization |= is(name, "authorization");
                let _ = write!(head, "{name}: {}\r\n", trimmed(value));
            }
        }
        if let Some(secret) = secret.filter(|_| !has_authorization) {
            let _ = write!(head, "Authorization: {}\r\n", secret.field());
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(request: &Request, url: &str) -> String {
        let url = Url::parse(url).unwrap();
        String::from_utf8(request.head(&url, url.secret())).unwrap()
    }

    #[test]
    fn a_head_says_what_is_asked() {
        assert_eq!(
            head(&Request::default(), "http://h/log?n=5"),
            concat!(
                "GET /log?n=5 HTTP/1.1\r\nHost: h\r\nUser-Agent: lumberjack/",
                env!("CARGO_PKG_VERSION"),
                "\r\nConnection: keep-alive\r\nAccept-Encoding: identity\r\n\r\n"
            )
        );
        let request = Request {
            method: Method::Post,
            headers: vec![("Content-Type".to_owned(), " application/json ".to_owned())],
            body: b"{}".to_vec(),
            takes_gzip: true,
            ..Request::default()
        };
        let found = head(&request, "http://Aladdin:open%20sesame@[::1]:81/");
        let (start, rest) = found.split_once("Accept-Encoding: gzip\r\n").unwrap();
        assert!(start.starts_with("POST / HTTP/1.1\r\nHost: [::1]:81\r\n"), "{found}");
        assert_eq!(
            rest,
            "Content-Length: 2\r\nContent-Type: application/json\r\nAuthorization: Basic \
             QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
        );
    }

    #[test]
    fn no_field_begins_another_and_ours_are_ours() {
        let fields = [
            ("A", "b\r\nX: y"),
            ("A\r\nX", "y"),
            ("A B", "c"),
            ("", "c"),
            ("A:", "c"),
            ("\u{e9}", "c"),
            ("A", "\0"),
            ("host", "other"),
            ("Content-Length", "0"),
            ("transfer-encoding", "chunked"),
            ("Connection", "close"),
        ];
        let headers = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        for (name, value) in &headers {
            assert!(header_fault(name, value).is_some(), "{name:?}: {value:?}");
        }
        let request = Request { headers, ..Request::default() };
        assert_eq!(head(&request, "http://h/"), head(&Request::default(), "http://h/"));
        assert_eq!(header_fault("X-Scope-OrgID", "tenant\t\u{e9}"), None);
    }

    #[test]
    fn an_authorization_of_the_callers_goes_before_the_secret() {
        let headers = vec![("authorization".to_owned(), "ApiKey x".to_owned())];
        let found = head(&Request { headers, ..Request::default() }, "http://user:pass@h/");
        assert!(found.contains("\r\nauthorization: ApiKey x\r\n") && !found.contains("Basic"), "{found}");
    }

    #[test]
    fn what_fields_hold_is_not_shown() {
        let headers = vec![("X-Api-Key".to_owned(), "s3cret".to_owned())];
        let shown = format!("{:?}", Request { headers, ..Request::default() });
        assert!(shown.contains("X-Api-Key") && !shown.contains("s3cret"), "{shown}");
    }
}
