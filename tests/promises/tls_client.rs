//! A client's side of TLS, by rustls' buffered sessions, over a socket that never waits.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::common::certs::Certs;
use super::common::patience::PATIENCE;

/// The certificates of all tests of this process.
pub(crate) fn certs() -> &'static Certs {
    static CERTS: OnceLock<Certs> = OnceLock::new();
    CERTS.get_or_init(|| Certs::new(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("promises")))
}

/// The options of a listener with TLS.
pub(crate) fn options() -> String {
    format!(",tls,cert={},key={}", certs().text("server.pem"), certs().text("server.key"))
}

/// How a client speaks TLS: whom it trusts, what certificate of its own it shows, and which versions it knows.
pub(crate) fn config(ca: &str, own: Option<&str>, is_old: bool) -> Arc<ClientConfig> {
    let path = |name: &str, ending: &str| -> PathBuf { certs().path(&format!("{name}.{ending}")) };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path(ca, "pem")).unwrap()).unwrap();
    let versions = if is_old { &[&TLS12][..] } else { &[&TLS13][..] };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::pem_file_iter(path(own, "pem")).unwrap().map(Result::unwrap).collect();
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(path(own, "key")).unwrap()).unwrap()
        }
    };
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// The usual: it trusts the server, and has no certificate.
pub(crate) fn usual() -> Arc<ClientConfig> {
    config("ca", None, false)
}

pub(crate) struct Tls {
    /// `None`: it was closed with an RST.
    pub(crate) socket: Option<TcpStream>,
    pub(crate) session: ClientConnection,
    /// Calls wait.
    pub(crate) waits: bool,
    /// Our FIN goes out behind all else.
    pub(crate) ends: bool,
    has_ended: bool,
    /// The test has closed it.
    pub(crate) is_left: bool,
    /// The other side's end, or what broke the connection.
    pub(crate) end: Option<Result<(), String>>,
}

impl Tls {
    pub(crate) fn new(socket: TcpStream, config: &Arc<ClientConfig>) -> Self {
        socket.set_nonblocking(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::clone(config), name).unwrap();
        Self { socket: Some(socket), session, waits: true, ends: false, has_ended: false, is_left: false, end: None }
    }

    /// Sends and reads what can be. False if nothing is left to do.
    pub(crate) fn pump(&mut self) -> bool {
        let Self { socket, session, .. } = self;
        let Some(socket) = socket else { return false };
        loop {
            let mut has_moved = false;
            while session.wants_write() {
                match session.write_tls(socket) {
                    Ok(count) => has_moved |= count > 0,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => {
                        self.end = Some(Err(error.to_string()));
                        break;
                    }
                }
            }
            if self.end.is_none() {
                match session.read_tls(socket) {
                    Ok(0) => self.end = Some(Ok(())),
                    Ok(_) => {
                        has_moved = true;
                        if let Err(error) = session.process_new_packets() {
                            // The alert that tells the other side.
                            let _ = session.write_tls(socket);
                            self.end = Some(Err(error.to_string()));
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => self.end = Some(Err(error.to_string())),
                }
            }
            if !has_moved {
                break;
            }
        }
        let is_broken = matches!(self.end, Some(Err(_)));
        let is_sent = is_broken || (!session.wants_write() && !session.is_handshaking());
        if self.ends && is_sent && !self.has_ended {
            self.has_ended = true;
            let _ = socket.shutdown(Shutdown::Write);
        }
        // Without an end of its own, a handshake goes on though the test has left.
        if self.is_left && (is_sent || self.end.is_some()) {
            self.socket = None;
            return false;
        }
        true
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.pump();
        match (self.session.reader().read(buffer), &self.end) {
            (Ok(count), _) => Ok(count),
            (Err(error), None) if error.kind() == ErrorKind::WouldBlock => Err(error),
            // A FIN alone is the server's goodbye.
            (Err(_), Some(Ok(()))) => Ok(0),
            (Err(_), Some(Err(why))) => Err(io::Error::new(ErrorKind::ConnectionReset, why.clone())),
            (Err(error), None) => Err(error),
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pump();
        if let Some(Err(why)) = &self.end {
            return Err(io::Error::new(ErrorKind::ConnectionReset, why.clone()));
        }
        // Before the handshake is over, all has room: the test makes the turns that would make some.
        let limit = if self.session.is_handshaking() { None } else { Some(64 * 1024) };
        self.session.set_buffer_limit(limit);
        let count = self.session.writer().write(bytes)?;
        self.pump();
        if count == 0 && !bytes.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    /// Says that we end, as TLS has it.
    pub(crate) fn say_end(&mut self) {
        self.session.send_close_notify();
        self.pump();
    }
}

/// Calls until there is an answer, if calls wait.
pub(crate) fn wait_for<T>(tls: &Mutex<Tls>, mut call: impl FnMut(&mut Tls) -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut locked = tls.lock().unwrap();
        match call(&mut locked) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && locked.waits && Instant::now() < deadline => {}
            answer => return answer,
        }
        drop(locked);
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
