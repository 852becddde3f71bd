//! The rules of sessions, certificates and files, with sessions of both sides in one process.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ServerConfig};

use super::check::Pinned;
use super::files::{Authorities, OwnKeys, authorities, client_config, own_key_pair, server_config};
use super::{Certificate, MOST_KEPT, Session, Side, Trouble};
use crate::certs::Certs;
use crate::config::tls::{NamePattern, TlsVersion};

/// The certificates, in a folder that is removed.
struct Dir {
    certs: Certs,
    dir: PathBuf,
}

impl Dir {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lumberjack-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self { certs: Certs::new(&dir), dir }
    }

    fn keys(&self, name: &str) -> OwnKeys {
        let path = |end: &str| self.certs.path(&format!("{name}.{end}"));
        own_key_pair(&path("pem"), &path("key")).unwrap()
    }

    fn trusted(&self, name: &str) -> Authorities {
        authorities(Some(&self.certs.path(&format!("{name}.pem")))).unwrap()
    }

    /// A server with a certificate, that wants clients with one.
    fn server(&self, name: &str, clients: Option<&str>, patterns: &[&str]) -> Arc<ServerConfig> {
        let patterns: Vec<NamePattern> = patterns.iter().map(|text| text.parse().unwrap()).collect();
        let clients = clients.map(|name| self.trusted(name));
        server_config(&self.keys(name), clients.as_ref(), &patterns, TlsVersion::V12).unwrap()
    }

    fn client(&self, ca: &str, own: Option<&str>) -> Arc<ClientConfig> {
        client_config(&self.trusted(ca), own.map(|name| self.keys(name)).as_ref()).unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// One side, and what it has heard.
struct Talker {
    session: Session,
    kept: Vec<u8>,
    heard: Vec<u8>,
    went: Result<(), Trouble>,
}

impl Talker {
    fn new(session: Session) -> Self {
        Self { session, kept: Vec::new(), heard: Vec::new(), went: Ok(()) }
    }

    fn server(config: &Arc<ServerConfig>) -> Self {
        Self::new(Session::server(config).unwrap())
    }

    fn client(config: &Arc<ClientConfig>, name: &str) -> Self {
        Self::new(Session::client(config, ServerName::try_from(name.to_owned()).unwrap()).unwrap())
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        let heard = &mut self.heard;
        let (used, went) = self.session.received(&mut self.kept, &mut |plain| {
            heard.extend_from_slice(plain);
            true
        });
        self.kept.drain(..used);
        self.went = went;
    }

    fn say(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = self.take();
        self.session.encrypt(plain, &mut out).unwrap();
        out
    }

    fn take(&mut self) -> Vec<u8> {
        let unsent = self.session.unsent().to_vec();
        self.session.sent(unsent.len());
        unsent
    }
}

/// Both talk until neither has anything to say, in pieces of so many bytes.
fn shake_hands(client: &mut Talker, server: &mut Talker, piece: usize) {
    client.hear(&[]);
    loop {
        let (to_server, to_client) = (client.take(), server.take());
        if to_server.is_empty() && to_client.is_empty() {
            return;
        }
        to_server.chunks(piece).for_each(|piece| server.hear(piece));
        to_client.chunks(piece).for_each(|piece| client.hear(piece));
    }
}

/// What both sides say of it.
fn said(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (String, String) {
    let (mut client, mut server) = (Talker::client(client, "localhost"), Talker::server(server));
    shake_hands(&mut client, &mut server, usize::MAX);
    let text = |talker: &Talker| talker.went.as_ref().map_or_else(Trouble::to_string, |()| String::new());
    (text(&client), text(&server))
}

#[test]
fn p33_lines_pass_however_the_bytes_are_cut() {
    let dir = Dir::new("cut");
    let server = dir.server("rsa", Some("ca"), &["*.plant.example"]);
    let client = dir.client("ca", Some("client"));
    let lines: Vec<u8> = (0..40_000_u32).flat_map(u32::to_be_bytes).collect();
    for piece in [1, 7, 1000, usize::MAX] {
        let (mut client, mut server) = (Talker::client(&client, "localhost"), Talker::server(&server));
        shake_hands(&mut client, &mut server, piece);
        assert_eq!((&client.went, &server.went), (&Ok(()), &Ok(())));
        assert!(client.session.is_ready() && server.session.is_ready());
        assert_eq!(server.session.version(), Some("TLS 1.3"));
        let certificate = Certificate::read(server.session.certificate().unwrap()).unwrap();
        assert_eq!(certificate.names, ["box1.plant.example", "box1"]);
        client.say(&lines).chunks(piece).for_each(|piece| server.hear(piece));
        assert_eq!(server.heard, lines);
        server.say(b"3 lines\n").chunks(piece).for_each(|piece| client.hear(piece));
        assert_eq!(client.heard, b"3 lines\n");
        assert_eq!((server.session.held(), client.session.held()), (0, 0), "who is silent holds nothing");
        client.session.say_end();
        server.hear(&client.take());
        assert!(server.session.has_ended() && server.went.is_ok());
        // What comes behind is dropped.
        server.hear(b"abc");
        assert_eq!((server.heard.len(), server.kept.len()), (lines.len(), 0));
        server.session.say_end();
        client.hear(&server.take());
        assert!(client.session.has_ended());
    }
}

#[test]
fn p33_a_server_sends_nothing_behind_its_handshake() {
    let dir = Dir::new("tickets");
    let (mut client, mut server) =
        (Talker::client(&dir.client("ca", None), "localhost"), Talker::server(&dir.server("server", None, &[])));
    shake_hands(&mut client, &mut server, usize::MAX);
    assert!(server.session.is_ready());
    // A ticket would come with the client's last message.
    assert_eq!(server.take(), b"");
}

#[test]
fn p33_who_has_no_room_is_given_one_record_and_the_rest_later() {
    let dir = Dir::new("room");
    let (mut client, mut server) =
        (Talker::client(&dir.client("ca", None), "localhost"), Talker::server(&dir.server("server", None, &[])));
    shake_hands(&mut client, &mut server, usize::MAX);
    let lines = vec![b'x'; 100_000];
    let (mut cipher, mut heard, mut calls) = (client.say(&lines), Vec::new(), 0);
    while !cipher.is_empty() {
        let (used, went) = server.session.received(&mut cipher, &mut |plain| {
            heard.extend_from_slice(plain);
            false
        });
        assert_eq!(went, Ok(()));
        cipher.drain(..used);
        calls += 1;
        assert!(calls <= 8);
    }
    assert_eq!((heard, calls), (lines, 7));
}

#[test]
fn p33_each_refusal_of_a_server_says_who_refused_and_why() {
    let dir = Dir::new("refused");
    let plain = dir.server("server", None, &[]);
    assert_eq!(said(&dir.client("ca", None), &plain), (String::new(), String::new()));
    let pairs = [
        (
            dir.client("other-ca", None),
            plain,
            "the certificate of the server is signed by nobody who is trusted here",
            "the client does not trust our certificate: it does not know who signed it",
        ),
        (
            dir.client("ca", None),
            dir.server("expired", None, &[]),
            "the certificate of the server has expired, or the clock here is wrong",
            "the client says that our certificate has expired or is not valid yet",
        ),
        (
            dir.client("ca", None),
            dir.server("later", None, &[]),
            "the certificate of the server is not valid yet, or the clock here is wrong",
            "the client says that our certificate has expired or is not valid yet",
        ),
        (
            dir.client("ca", None),
            dir.server("elsewhere", None, &[]),
            "the certificate of the server is not for localhost, but for elsewhere.example",
            "the client does not trust our certificate",
        ),
        (
            dir.client("other-self", None),
            dir.server("self", None, &[]),
            "the certificate of the server is that of an authority, as `openssl req -x509` makes it: sign one with it, or trust this very one",
            "the client does not trust our certificate",
        ),
    ];
    for (client, server, by_client, by_server) in pairs {
        assert_eq!(said(&client, &server), (by_client.to_owned(), by_server.to_owned()));
    }
}

#[test]
fn p33_each_refusal_of_a_client_says_who_refused_and_why() {
    let dir = Dir::new("refused-client");
    let strict = dir.server("server", Some("ca"), &["*.plant.example"]);
    let pairs = [
        (
            None,
            "the server wants a certificate of ours, and there is none",
            "the client has sent no certificate, and has to",
        ),
        (
            Some("other-client"),
            "the server does not trust our certificate: it does not know who signed it",
            "the certificate of the client is signed by nobody who is trusted here",
        ),
        (
            Some("expired-client"),
            "the server says that our certificate has expired or is not valid yet",
            "the certificate of the client has expired, or the clock here is wrong",
        ),
        (
            Some("common-name"),
            "the server does not trust our certificate",
            "the certificate of the client is for no name that client-name has, but for box 2:x",
        ),
    ];
    for (own, by_client, by_server) in pairs {
        assert_eq!(said(&dir.client("ca", own), &strict), (by_client.to_owned(), by_server.to_owned()));
    }
}

#[test]
fn p34_two_boxes_trust_the_very_certificates_that_they_show() {
    let dir = Dir::new("pinned");
    let server = dir.server("self", Some("other-self"), &["localhost"]);
    assert_eq!(said(&dir.client("self", Some("other-self")), &server), (String::new(), String::new()));
    // Its name still counts, and so do its dates.
    let mut client = Talker::client(&dir.client("self", Some("other-self")), "elsewhere.example");
    shake_hands(&mut client, &mut Talker::server(&server), usize::MAX);
    assert!(client.went.unwrap_err().to_string().contains("not for elsewhere.example"));
    let (client, server) = (dir.client("expired", None), dir.server("expired", None, &[]));
    assert!(said(&client, &server).0.contains("has expired"));
    // Another one that was signed by itself is none of them.
    assert!(!said(&dir.client("self", Some("self")), &dir.server("self", Some("other-self"), &[])).1.is_empty());
}

#[test]
fn p34_the_dates_of_a_certificate_that_is_trusted_as_it_is_count() {
    let dir = Dir::new("dates");
    let der = |name: &str| CertificateDer::from(dir.keys(name).leaf().to_vec());
    let own = vec![der("self")];
    let read = Certificate::read(&own[0]).unwrap();
    let (pinned, first, last) = (Pinned(own), read.not_before.unsigned_abs(), read.not_after.unsigned_abs());
    let at =
        |second: u64| pinned.has(&pinned.0[0], UnixTime::since_unix_epoch(core::time::Duration::from_secs(second)));
    assert_eq!(at(first - 1), Err(CertificateError::NotValidYet.into()));
    assert_eq!((at(first), at(last)), (Ok(true), Ok(true)));
    assert_eq!(at(last + 1), Err(CertificateError::Expired.into()));
    assert_eq!(
        pinned.has(&der("other-self"), UnixTime::since_unix_epoch(core::time::Duration::ZERO)),
        Ok(false),
        "whatever its dates"
    );
}

#[test]
fn p12_what_is_no_tls_is_told_from_its_first_bytes() {
    let dir = Dir::new("plain");
    let config = dir.server("server", None, &[]);
    for text in [&b"<13>one\n"[..], b"GET / HTTP/1.1\r\n", b"\x80\x2e\x04\x00\x02", b"\x90\x2e\x01", b"\x16\x02", b"\n"]
    {
        let mut server = Talker::server(&config);
        text.iter().for_each(|byte| server.hear(&[*byte]));
        let trouble = server.went.clone().unwrap_err();
        assert_eq!((trouble.is_no_tls(), trouble.side()), (true, Side::We), "{text:?}");
        assert_eq!((server.heard.len(), server.take().len()), (0, 0));
    }
}

#[test]
fn p12_who_greets_in_the_form_of_ssl_2_is_too_old_and_is_told() {
    let dir = Dir::new("ssl2");
    let config = dir.server("server", None, &[]);
    for hello in [&b"\x80\x2e\x01\x00\x02"[..], b"\x80\x2e\x01\x03\x01", b"\x8f\xff\x01"] {
        let mut server = Talker::server(&config);
        hello.iter().for_each(|byte| server.hear(&[*byte]));
        let trouble = server.went.clone().unwrap_err();
        assert_eq!((trouble.is_no_tls(), trouble.side()), (false, Side::We), "{hello:?}");
        assert!(trouble.to_string().contains("TLS 1.1 or older"), "{trouble}");
        assert_eq!(server.take(), b"\x15\x03\x01\x00\x02\x02\x46", "an alert: protocol_version");
    }
}

/// The authority of `ca.pem`, and so many more with its key and names of that length.
fn authorities_with_names(dir: &Dir, count: usize, len: usize) -> Authorities {
    let text = std::fs::read(dir.certs.path("ca.pem")).unwrap();
    let whole: CertificateDer = rustls::pki_types::pem::PemObject::from_pem_slice(&text).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(whole.clone()).unwrap();
    let anchor = roots.roots[0].clone();
    for number in 0..count {
        let mut anchor = anchor.clone();
        anchor.subject = format!("{number:0len$}").into_bytes().into();
        roots.roots.push(anchor);
    }
    Authorities::of(roots, vec![whole])
}

#[test]
fn p33_clients_come_in_however_many_authorities_are_trusted() {
    let dir = Dir::new("many");
    for (count, len) in [(0, 0), (10, 100), (300, 300)] {
        let clients = authorities_with_names(&dir, count, len);
        let server = server_config(&dir.keys("server"), Some(&clients), &[], TlsVersion::V12).unwrap();
        let none = (String::new(), String::new());
        assert_eq!(said(&dir.client("ca", Some("client")), &server), none, "{count} names");
    }
}

#[test]
fn p5_messages_that_never_end_are_cut_off() {
    let dir = Dir::new("long");
    let config = dir.server("server", None, &[]);
    // A ClientHello of 16 MiB, as its head says, in records.
    let mut server = Talker::server(&config);
    let mut record = vec![0x16, 3, 1, 0x40, 0];
    record.resize(5 + 0x4000, 0);
    record[5..9].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
    for _ in 0..4 {
        server.hear(&record);
        assert!(server.kept.len() <= 2 * MOST_KEPT, "{}", server.kept.len());
    }
    assert!(server.went.is_err());
}

#[test]
fn p33_what_was_changed_on_its_way_ends_the_session() {
    let dir = Dir::new("changed");
    let (mut client, mut server) =
        (Talker::client(&dir.client("ca", None), "localhost"), Talker::server(&dir.server("server", None, &[])));
    shake_hands(&mut client, &mut server, usize::MAX);
    let mut cipher = client.say(b"one\n");
    *cipher.last_mut().unwrap() ^= 1;
    server.hear(&cipher);
    assert_eq!(server.heard, b"");
    assert!(server.went.clone().unwrap_err().to_string().contains("was changed on its way"));
    assert_ne!(server.take(), b"", "it says so");
    server.hear(&client.say(b"two\n"));
    assert!(server.went.is_err() && server.heard.is_empty());
}

#[test]
fn p33_a_certificate_says_its_names_and_its_end() {
    let dir = Dir::new("said");
    let said = |name: &str| dir.keys(name).certificate().clone();
    assert_eq!(said("common-name").names, ["box 2:x"]);
    assert_eq!(said("client").names, ["box1.plant.example", "box1"]);
    let server = said("server");
    assert_eq!(
        (server.names, server.not_before, server.not_after),
        (vec!["localhost".to_owned()], 1_577_836_800, 4_733_510_400)
    );
    // A part of it is none, and nothing is read behind its end.
    let der = std::fs::read(dir.certs.path("server.der")).unwrap();
    assert!(Certificate::read(&der).is_some());
    let whole_subject = (0..der.len()).rev().find(|len| Certificate::read(&der[..*len]).is_some());
    assert_eq!(whole_subject, None);
}

#[test]
fn p13_each_file_that_is_wrong_is_a_sentence_that_names_it() {
    let dir = Dir::new("files");
    let path = |name: &str| dir.certs.path(name);
    let (folder, empty, fifo) = (dir.dir.clone(), dir.dir.join("empty"), dir.dir.join("fifo"));
    std::fs::write(&empty, "").unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let long = dir.dir.join("long");
    let one = std::fs::read(path("server.pem")).unwrap();
    let more = std::fs::read(path("ca.pem")).unwrap();
    std::fs::write(&long, [one, more.repeat(100)].concat()).unwrap();
    let pair = |cert: &PathBuf, key: &PathBuf| own_key_pair(cert, key).unwrap_err().to_string();
    for (said, file, why) in [
        (pair(&path("none"), &path("server.key")), path("none"), "cannot read "),
        (pair(&path("server.pem"), &path("none")), path("none"), "cannot read "),
        (pair(&path("server.pem"), &path("client.key")), path("client.key"), " is not the key of "),
        (pair(&path("server.pem"), &path("encrypted.key")), path("encrypted.key"), " is encrypted"),
        (pair(&path("server.der"), &path("server.key")), path("server.der"), " is in DER"),
        (pair(&path("server.key"), &path("server.key")), path("server.key"), " holds no certificate"),
        (pair(&long, &path("server.key")), long.clone(), " holds 101 certificates, of 39 KiB together: "),
        (pair(&path("server.pem"), &path("server.pem")), path("server.pem"), " holds no key"),
        (pair(&empty, &path("server.key")), empty.clone(), " holds no certificate"),
        (pair(&folder, &path("server.key")), folder.clone(), " is no file"),
        (pair(&fifo, &path("server.key")), fifo.clone(), " is no file"),
        (pair(&path("old.pem"), &path("old.key")), path("old.pem"), " is of version 1 of X.509"),
        (authorities(Some(&empty)).unwrap_err().to_string(), empty.clone(), " holds no certificate"),
    ] {
        assert!(said.contains(file.to_str().unwrap()) && said.contains(why), "{said}");
    }
    assert_eq!(dir.keys("server").warning(), None);
    std::fs::set_permissions(path("server.key"), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(dir.keys("server").warning().unwrap().contains("server.key can be read by everybody"));
}
