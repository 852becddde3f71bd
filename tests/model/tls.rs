//! Two sessions of TLS, and a wire between them that cuts, changes, drops and adds bytes. The twin is what each side said: what
//! the other hears is that, or its beginning if the wire touched anything; and a session that has failed stays so.

use std::sync::{Arc, LazyLock};

use lumberjack::TlsVersion;
use lumberjack::internals::tls::files::{authorities, client_config, own_key_pair, server_config};
use lumberjack::internals::tls::rustls::pki_types::ServerName;
use lumberjack::internals::tls::rustls::{ClientConfig, ServerConfig};
use lumberjack::internals::tls::{Certificate, MOST_KEPT, Session, Trouble};

use super::{Script, assert_same_bytes};

#[path = "../certs/paths.rs"]
mod certs;

use certs::cert;

/// The longest that one side says at once: several records.
const MOST_SAID: usize = 40_000;

/// Settings of both sides: a client without a certificate, and with one.
static SETTINGS: LazyLock<(Arc<ServerConfig>, [Arc<ClientConfig>; 2])> = LazyLock::new(|| {
    let keys = |name: &str| own_key_pair(&cert(&format!("{name}.pem")), &cert(&format!("{name}.key"))).unwrap();
    let trusted = authorities(Some(&cert("ca.pem"))).unwrap();
    let server = server_config(&keys("server"), Some(&trusted), &[], TlsVersion::V12).unwrap();
    let clients = [None, Some(keys("client"))].map(|own| client_config(&trusted, own.as_ref()).unwrap());
    (server, clients)
});

/// One side.
struct Side {
    session: Session,
    /// What the wire brings it, and whether that was touched.
    wire: Vec<u8>,
    is_touched: bool,
    kept: Vec<u8>,
    heard: Vec<u8>,
    /// What the other side has said.
    said: Vec<u8>,
    failed: Option<Trouble>,
}

impl Side {
    fn new(session: Session) -> Self {
        let (wire, kept, heard, said) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { session, wire, is_touched: false, kept, heard, said, failed: None }
    }

    /// So many bytes come; there is room for `rooms` records at once.
    fn hear(&mut self, count: usize, rooms: usize) {
        self.kept.extend(self.wire.drain(..count.min(self.wire.len())));
        let (heard, mut rooms) = (&mut self.heard, rooms.max(1));
        let (used, went) = self.session.received(&mut self.kept, &mut |plain| {
            assert!(!plain.is_empty());
            heard.extend_from_slice(plain);
            rooms -= 1;
            rooms > 0
        });
        self.kept.drain(..used);
        assert!(self.kept.len() <= 2 * MOST_KEPT || rooms == 0, "{} bytes are kept", self.kept.len());
        match (&self.failed, went) {
            (Some(before), went) => assert_eq!(went, Err(before.clone()), "it stays so"),
            (None, Err(trouble)) => {
                assert!(!trouble.to_string().contains(['\n', '\0', '\u{1b}']), "{trouble}");
                self.failed = Some(trouble);
            }
            (None, Ok(())) => {}
        }
        assert!(self.heard.len() <= self.said.len());
        assert_same_bytes("lines", &self.heard, &self.said[..self.heard.len()]);
    }

    /// What it has to say goes onto the other's wire.
    fn flush(&mut self, other: &mut Self) {
        let unsent = self.session.unsent();
        other.wire.extend_from_slice(unsent);
        let count = unsent.len();
        self.session.sent(count);
    }

    fn say(&mut self, plain: &[u8], other: &mut Self) {
        self.flush(other);
        let len = other.wire.len();
        if self.session.encrypt(plain, &mut other.wire).is_ok() {
            other.said.extend_from_slice(plain);
        } else {
            assert_eq!(other.wire.len(), len, "nothing is half said");
        }
    }
}

/// Bytes of the input are what happens.
pub(crate) fn run(input: &[u8]) {
    let _ = Certificate::read(input);
    let mut script = Script::new(input);
    let (server, clients) = &*SETTINGS;
    let name = ServerName::try_from("localhost").unwrap();
    let mut server = Side::new(Session::server(server).unwrap());
    let mut client = Side::new(Session::client(&clients[script.below(2)], name).unwrap());
    client.hear(0, 1);
    client.flush(&mut server);
    let mut is_ended = false;
    while !script.is_over() {
        let to_server = script.below(2) == 0;
        let (one, other) = if to_server { (&mut server, &mut client) } else { (&mut client, &mut server) };
        match script.below(8) {
            0 => one.hear(script.below(256), 2),
            1 => one.hear(usize::MAX, script.below(4)),
            2 => one.hear(usize::MAX, usize::MAX),
            3 => {
                let len = script.below(256) * MOST_SAID / 255;
                let plain: Vec<u8> = (0..=250).cycle().take(len).collect();
                if !is_ended {
                    one.say(&plain, other);
                }
            }
            4 => {
                let (at, bit) = (usize::try_from(script.wide(14)).unwrap(), script.below(8));
                if let Some(byte) = one.wire.get_mut(at) {
                    *byte ^= 1 << bit;
                    one.is_touched = true;
                }
            }
            5 => {
                let (at, count) = (usize::try_from(script.wide(14)).unwrap(), script.below(256));
                if at < one.wire.len() {
                    one.wire.drain(at..(at + count).min(one.wire.len()));
                    one.is_touched = true;
                }
            }
            6 => {
                let count = script.below(64);
                one.wire.extend_from_slice(script.take(count));
                one.is_touched |= count > 0;
            }
            _ => {
                is_ended = true;
                one.session.say_end();
            }
        }
        server.flush(&mut client);
        client.flush(&mut server);
    }
    end(&mut server, &mut client, is_ended);
}

/// Whatever is on the wires arrives. Where nothing was touched, all is heard.
fn end(server: &mut Side, client: &mut Side, is_ended: bool) {
    for _ in 0..20 {
        server.hear(usize::MAX, usize::MAX);
        client.hear(usize::MAX, usize::MAX);
        server.flush(client);
        client.flush(server);
    }
    if server.is_touched || client.is_touched || is_ended {
        return;
    }
    for side in [server, client] {
        if side.failed.is_none() {
            assert_eq!(side.heard.len(), side.said.len(), "what was said is heard");
        }
    }
}
