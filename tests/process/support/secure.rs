//! Servers of TLS inside a test, over rustls as it is usually used: with a thread that waits.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::common::certs::Certs;
use crate::common::patience::accept;

/// A connection that is secured.
pub(crate) type Secured = StreamOwned<ServerConnection, TcpStream>;

/// What a server is like.
pub(crate) struct Manners<'a> {
    /// The name of its certificate's file, without its ending.
    pub(crate) certificate: &'a str,
    /// Clients have to have a certificate of `ca.pem`.
    pub(crate) asks_clients: bool,
    /// It speaks TLS 1.2 alone.
    pub(crate) is_old: bool,
}

impl Default for Manners<'_> {
    fn default() -> Self {
        Self { certificate: "server", asks_clients: false, is_old: false }
    }
}

/// A server that listens.
pub(crate) struct Peer {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

impl Peer {
    pub(crate) fn new(certs: &Certs, manners: Manners<'_>) -> Self {
        Self::at(TcpListener::bind("127.0.0.1:0").unwrap(), certs, manners)
    }

    pub(crate) fn at(listener: TcpListener, certs: &Certs, manners: Manners<'_>) -> Self {
        let Manners { certificate, asks_clients, is_old } = manners;
        let read = |name: &str| fs::read(certs.path(name)).unwrap();
        let chain = |name: &str| -> Vec<CertificateDer<'static>> {
            CertificateDer::pem_slice_iter(&read(name)).map(Result::unwrap).collect()
        };
        let key = PrivateKeyDer::from_pem_slice(&read(&format!("{certificate}.key"))).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = if is_old { &[&rustls::version::TLS12][..] } else { rustls::ALL_VERSIONS };
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
        let builder = if asks_clients {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(chain("ca.pem"));
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(chain(&format!("{certificate}.pem")), key).unwrap();
        Self { listener, config: Arc::new(config) }
    }

    /// Without tickets, as Lumberjack itself.
    pub(crate) fn without_tickets(mut self) -> Self {
        Arc::get_mut(&mut self.config).unwrap().send_tls13_tickets = 0;
        self
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr().port()
    }

    /// The next connection, before its handshake: that comes with its first bytes.
    pub(crate) fn accept(&self) -> Secured {
        self.secure(accept(&self.listener))
    }

    /// Secures a connection that there is.
    pub(crate) fn secure(&self, stream: TcpStream) -> Secured {
        StreamOwned::new(ServerConnection::new(Arc::clone(&self.config)).unwrap(), stream)
    }

    pub(crate) fn listener(&self) -> &TcpListener {
        &self.listener
    }
}

/// What comes, until the connection ends, however it does; or until there are so many bytes.
pub(crate) fn read_up_to(stream: &mut impl Read, most: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut bytes = vec![0; 16 * 1024];
    while all.len() < most {
        match stream.read(&mut bytes) {
            Ok(count) if count > 0 => all.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => break,
        }
    }
    all
}

/// Says goodbye: inside too, or by its FIN alone.
pub(crate) fn say_goodbye(stream: &mut Secured, is_inside: bool) {
    if is_inside {
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }
    let _ = stream.sock.shutdown(Shutdown::Write);
}

/// Passes bytes on both ways, each direction in pieces of so many bytes, until one side ends.
pub(crate) fn middleman(to: SocketAddr, piece: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let Ok(server) = TcpStream::connect(to) else { return };
            for (from, to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                std::thread::spawn(move || pass(from, to, piece));
            }
        }
    });
    port
}

fn pass(mut from: TcpStream, mut to: TcpStream, piece: usize) {
    let _ = to.set_nodelay(true);
    let mut bytes = vec![0; piece];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
