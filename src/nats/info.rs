//! What a server says of itself in `INFO`, at the start and at any moment later. Invariant: what is kept of it is bounded.

use core::time::Duration;

use super::json::{Malformed, Scanner, Value};

/// A server sends one whenever the cluster changes: more than so many within [`PACE_TIME`], or more bytes of them, are no news, and
/// would cost a processor.
const MOST_INFOS: u32 = 100;
const MOST_INFO_BYTES: usize = 1 << 20;
const PACE_TIME: Duration = Duration::from_secs(1);
const MOST_SERVERS: usize = 16;
const MOST_WORD: usize = 128;

/// What was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Info {
    pub(super) name: String,
    pub(super) version: String,
    /// The longest message, headers and all, in bytes.
    pub(super) max_payload: u64,
    /// Messages may have headers.
    pub(super) has_headers: bool,
    pub(super) needs_tls: bool,
    /// It would do with TLS, too.
    pub(super) offers_tls: bool,
    /// What credentials with a key have to sign.
    pub(super) nonce: String,
    /// Other servers of the cluster, as `HOST:PORT`.
    pub(super) servers: Vec<String>,
    /// It is about to end, and clients are to go elsewhere.
    pub(super) is_leaving: bool,
}

/// How much of it came lately.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Duration,
    infos: u32,
    bytes: usize,
}

impl Pace {
    /// So many bytes of an `INFO` have come, which are its end or not. Whether that is more than a server has to say.
    pub(super) fn is_exceeded(&mut self, bytes: usize, is_end: bool, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= PACE_TIME {
            *self = Self { since: now, infos: 0, bytes: 0 };
        }
        self.infos = self.infos.saturating_add(u32::from(is_end));
        self.bytes = self.bytes.saturating_add(bytes);
        self.infos > MOST_INFOS || self.bytes > MOST_INFO_BYTES
    }
}

/// An `INFO` that comes.
#[derive(Debug, Default)]
pub(super) struct Reading {
    scanner: Scanner,
    info: Info,
}

impl Reading {
    /// Takes a part of it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let info = &mut self.info;
        self.scanner.feed(bytes, &mut |path, value| info.take(path, value))
    }

    /// It is over.
    pub(super) fn finish(mut self) -> Result<Info, Malformed> {
        let info = &mut self.info;
        self.scanner.finish(&mut |path, value| info.take(path, value))?;
        Ok(self.info)
    }
}

impl Info {
    fn take(&mut self, path: &[u8], value: Value<'_>) {
        match (path, value) {
            (b"server_name", Value::Text(text)) => self.name = word(text),
            (b"version", Value::Text(text)) => self.version = word(text),
            (b"max_payload", _) => self.max_payload = value.number().unwrap_or_default(),
            (b"headers", Value::Boolean(is_so)) => self.has_headers = is_so,
            (b"tls_required", Value::Boolean(is_so)) => self.needs_tls = is_so,
            (b"tls_available", Value::Boolean(is_so)) => self.offers_tls = is_so,
            (b"nonce", Value::Text(text)) => self.nonce = word(text),
            (b"connect_urls", Value::Text(text)) if self.servers.len() < MOST_SERVERS && text.len() <= MOST_WORD => {
                self.servers.push(word(text));
            }
            (b"ldm", Value::Boolean(is_so)) => self.is_leaving = is_so,
            _ => {}
        }
    }
}

/// A word of somebody else, short and without anything that a terminal would obey.
#[inline(never)] // one copy, for size
pub(super) fn word(text: &[u8]) -> String {
    shown(text, MOST_WORD)
}

/// The same, no longer than `most`.
#[inline(never)] // one copy, for size
pub(super) fn shown(text: &[u8], most: usize) -> String {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
    text.iter().take(most).map(|byte| if is_plain(*byte) { char::from(*byte) } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Info, Malformed> {
        let mut reading = Reading::default();
        reading.feed(text.as_bytes())?;
        reading.finish()
    }

    #[test]
    fn what_a_real_server_says_is_read() {
        // nats-server 2.14.0, with some of its own fields.
        let info = read(concat!(
            r#" {"server_id":"NCOCE7SMFHYMVCI42RX4FGTWMHUQA5HIIWID54PBUZEHHXMAZ7WKEHEY","server_name":"n1","version":"2.14.0","#,
            r#""proto":1,"git_commit":"0cbd01c","go":"go1.26.2","host":"127.0.0.1","port":4222,"headers":true,"auth_required":true,"#,
            r#""max_payload":1048576,"jetstream":true,"client_id":5,"client_ip":"127.0.0.1","nonce":"a_Nonce-1","ldm":true,"#,
            r#""connect_urls":["127.0.0.1:4222","[::1]:4223"],"api_lvl":4,"tls_required":false,"tls_available":true} "#,
        ));
        let wanted = Info {
            name: "n1".to_owned(),
            version: "2.14.0".to_owned(),
            max_payload: 1_048_576,
            has_headers: true,
            needs_tls: false,
            offers_tls: true,
            nonce: "a_Nonce-1".to_owned(),
            servers: vec!["127.0.0.1:4222".to_owned(), "[::1]:4223".to_owned()],
            is_leaving: true,
        };
        assert_eq!(info, Ok(wanted));
    }

    #[test]
    fn p5_and_p12_of_a_strange_one_little_is_kept_and_nothing_that_a_terminal_obeys() {
        let servers = vec![format!("\"{}:1\"", "h".repeat(100)); 1000].join(",");
        let name = format!("{}\\u001b[2J\\n", "x".repeat(126));
        let info = read(&format!(r#"{{"server_name":"{name}","connect_urls":[{servers}],"max_payload":-1}}"#)).unwrap();
        assert_eq!((info.servers.len(), info.max_payload), (16, 0));
        assert_eq!(info.name, format!("{}?[", "x".repeat(126)));
        assert_eq!(read("{\"ldm\":true"), Err(Malformed));
    }
}
