//! One side of a connection over TLS: bytes in, bytes out. Invariant: what a session holds is bounded, whatever the other side
//! sends, and no plaintext is lost or given twice, however the bytes were cut.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, Error, ProtocolVersion, ServerConfig};

use super::trouble::{Role, Trouble};

/// The most plaintext that one record has: RFC 8446, 5.1.
pub const MOST_PLAIN: usize = 1 << 14;
/// The longest record, with its head: RFC 5246, 6.2.3.
const MOST_RECORD: usize = MOST_PLAIN + 2048 + 5;
/// The most bytes that have to be kept until more come, once the handshake is over: they are less than a record.
pub const MOST_KEPT: usize = MOST_RECORD;
/// The same before that: a message may be cut into several records, and the one with certificates is long.
const MOST_KEPT_AT_FIRST: usize = 2 * MOST_RECORD;
/// What a record has besides plaintext, at most, in the versions and with the ciphers that are spoken.
const ADDED: usize = 64;

/// The first byte of a record: `change_cipher_spec` to `application_data`; the second is 3 in all versions.
const CONTENT_TYPES: core::ops::RangeInclusive<u8> = 20..=23;
const MAJOR_VERSION: u8 = 3;
/// The first byte of a message of SSL 2: the upper half of its length, less than 4 KiB, with the highest bit set. No text begins so.
const SSL_2: core::ops::RangeInclusive<u8> = 0x80..=0x8f;
/// Its third byte, if it is a greeting: RFC 5246, E.2.
const SSL_2_HELLO: u8 = 1;
/// The alert `protocol_version`, in a record of TLS 1.0, which those who greet so understand: RFC 5246, 7.2.
const OTHER_VERSION: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// One side of a connection. Some kilobytes: whoever has many of them keeps them in boxes.
pub struct Session {
    connection: Connection,
    /// What is to be sent.
    unsent: Vec<u8>,
    /// So much of it was sent.
    sent: usize,
    /// So many of the first two bytes were looked at.
    looked_at: usize,
    has_ended: bool,
    trouble: Option<Trouble>,
}

/// What the first bytes are.
enum First {
    /// A record of TLS, as far as they go.
    IsTls,
    /// More have to come.
    Waits,
}

/// What is to be written.
#[derive(Clone, Copy)]
enum What<'a> {
    Plain(&'a [u8]),
    End,
}

/// What a look at the records came to.
enum Step {
    /// There may be more in what has come.
    Again,
    /// A record had plaintext, and there is no room for another one's.
    Full,
    /// More has to come.
    Waits,
    /// The other side says that it ends.
    Ended,
}

impl Session {
    /// That of a server.
    ///
    /// # Errors
    /// The settings contradict each other.
    pub fn server(config: &Arc<ServerConfig>) -> Result<Self, Trouble> {
        let connection = UnbufferedServerConnection::new(Arc::clone(config));
        connection.map(|server| Self::new(Connection::Server(server))).map_err(|error| Trouble::of(error, Role::Server))
    }

    /// That of a client, which begins by itself: its first bytes are in [`Self::unsent`] after a first call of [`Self::received`].
    ///
    /// # Errors
    /// The settings contradict each other.
    pub fn client(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Trouble> {
        let connection = UnbufferedClientConnection::new(Arc::clone(config), name);
        connection.map(|client| Self::new(Connection::Client(client))).map_err(|error| Trouble::of(error, Role::Client))
    }

    fn new(connection: Connection) -> Self {
        Self { connection, unsent: Vec::new(), sent: 0, looked_at: 0, has_ended: false, trouble: None }
    }

    fn role(&self) -> Role {
        match self.connection {
            Connection::Server(_) => Role::Server,
            Connection::Client(_) => Role::Client,
        }
    }

    /// Takes what has come: the bytes that the last call left, *as it left them* (they may be decrypted in place), and what came
    /// behind. Returns how many bytes at the front are used up; the rest is to be given again, with more behind it or without.
    /// Each record's plaintext, which is never empty and at most [`MOST_PLAIN`] long, is given to `plain`, which says whether
    /// there is room for another one's; if not, the rest is left. Bytes behind the other side's end are used up and dropped.
    ///
    /// # Errors
    /// The session can't go on. What tells the other side so is in [`Self::unsent`], and each further call says the same.
    pub fn received(
        &mut self,
        cipher: &mut [u8],
        plain: &mut dyn FnMut(&[u8]) -> bool,
    ) -> (usize, Result<(), Trouble>) {
        if let Some(trouble) = &self.trouble {
            return (cipher.len(), Err(trouble.clone()));
        }
        match self.look_at(cipher) {
            Ok(First::IsTls) => {}
            Ok(First::Waits) => return (0, Ok(())),
            Err(trouble) => return (cipher.len(), self.fail(trouble)),
        }
        let mut used = 0;
        loop {
            if self.has_ended {
                return (cipher.len(), Ok(()));
            }
            let rest = cipher.get_mut(used..).unwrap_or_default();
            let (discard, step) = match &mut self.connection {
                Connection::Server(server) => step(server.process_tls_records(rest), &mut self.unsent, plain),
                Connection::Client(client) => step(client.process_tls_records(rest), &mut self.unsent, plain),
            };
            used += discard;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Full) => return (used, Ok(())),
                Ok(Step::Ended) => self.has_ended = true,
                Ok(Step::Waits) => {
                    let rest = cipher.get(used..).unwrap_or_default();
                    let is_bounded = if self.is_ready() { !has_record(rest) } else { rest.len() <= MOST_KEPT_AT_FIRST };
                    if is_bounded {
                        return (used, Ok(()));
                    }
                    let role = self.role();
                    return (cipher.len(), self.fail(Trouble::too_long(role)));
                }
                Err(error) => {
                    self.last_words(cipher.get_mut(used..).unwrap_or_default());
                    let role = self.role();
                    return (cipher.len(), self.fail(Trouble::of(error, role)));
                }
            }
        }
    }

    /// What is no TLS is told from its first bytes: the library would wait for what they say is the length of a record.
    fn look_at(&mut self, cipher: &[u8]) -> Result<First, Trouble> {
        if self.looked_at == 0 && cipher.first().is_some_and(|first| SSL_2.contains(first)) {
            return self.look_at_ssl_2(cipher.get(2).copied());
        }
        for byte in cipher.iter().skip(self.looked_at).take(2_usize.saturating_sub(self.looked_at)) {
            let is_tls = if self.looked_at == 0 { CONTENT_TYPES.contains(byte) } else { *byte == MAJOR_VERSION };
            if !is_tls {
                return Err(Trouble::no_tls(self.role()));
            }
            self.looked_at += 1;
        }
        Ok(First::IsTls)
    }

    /// Clients that are too old may greet in the form of SSL 2 (RFC 5246, E.2). Its third byte tells that from a line.
    fn look_at_ssl_2(&mut self, third: Option<u8>) -> Result<First, Trouble> {
        match third {
            None => Ok(First::Waits),
            Some(SSL_2_HELLO) => {
                self.unsent.extend_from_slice(&OTHER_VERSION);
                Err(Trouble::old_tls(self.role()))
            }
            Some(_) => Err(Trouble::no_tls(self.role())),
        }
    }

    fn fail(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        self.trouble = Some(trouble.clone());
        Err(trouble)
    }

    /// After a failure the library has an alert to send. `rest` is what its last look left: it is not looked at again, since
    /// what waits to be sent comes first. Asked once more, it would find the same failure, and have another alert.
    fn last_words(&mut self, rest: &mut [u8]) {
        let _ = match &mut self.connection {
            Connection::Server(server) => step(server.process_tls_records(rest), &mut self.unsent, &mut |_| false),
            Connection::Client(client) => step(client.process_tls_records(rest), &mut self.unsent, &mut |_| false),
        };
    }

    /// Whether the handshake is over, so that plaintext can be sent. The last message of it may still have to be sent.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.connection {
            Connection::Server(server) => !server.is_handshaking(),
            Connection::Client(client) => !client.is_handshaking(),
        }
    }

    /// Whether the other side has said that it ends (`close_notify`).
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// What is to be sent: messages of the handshake, alerts, our end.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        self.unsent.get(self.sent..).unwrap_or_default()
    }

    /// So much of that was sent.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.unsent.len() {
            // Until there is more, it takes no memory.
            self.unsent = Vec::new();
            self.sent = 0;
        }
    }

    /// Appends records with this plaintext. What is unsent has to go out before them.
    ///
    /// # Errors
    /// The handshake is not over, or the session can't go on.
    pub fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Trouble> {
        if plain.is_empty() { Ok(()) } else { self.write(What::Plain(plain), out) }
    }

    /// Says that we end (`close_notify`), behind what is unsent. Nothing can be encrypted any more.
    pub fn say_end(&mut self) {
        let mut unsent = std::mem::take(&mut self.unsent);
        let _ = self.write(What::End, &mut unsent);
        self.unsent = unsent;
    }

    /// Appends what is to be written.
    fn write(&mut self, what: What<'_>, out: &mut Vec<u8>) -> Result<(), Trouble> {
        if !self.is_ready() {
            return Err(Trouble::of(Error::HandshakeNotComplete, self.role()));
        }
        loop {
            // No part of a message is open (`received` sees to it), so nothing of what has come is needed.
            let went = match &mut self.connection {
                Connection::Server(server) => write(server.process_tls_records(&mut []), what, out),
                Connection::Client(client) => write(client.process_tls_records(&mut []), what, out),
            };
            match went {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => return Err(Trouble::of(error, self.role())),
            }
        }
    }

    /// The other side's own certificate, in DER, once the handshake is over, if it has sent one.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        let chain = match &self.connection {
            Connection::Server(server) => server.peer_certificates(),
            Connection::Client(client) => client.peer_certificates(),
        };
        chain?.first().map(|certificate| certificate.as_ref())
    }

    /// The version that both sides speak, once that is known.
    #[must_use]
    pub fn version(&self) -> Option<&'static str> {
        let version = match &self.connection {
            Connection::Server(server) => server.protocol_version(),
            Connection::Client(client) => client.protocol_version(),
        };
        match version? {
            ProtocolVersion::TLSv1_3 => Some("TLS 1.3"),
            ProtocolVersion::TLSv1_2 => Some("TLS 1.2"),
            _ => None,
        }
    }

    /// Bytes of memory that are held besides the session itself, as far as is known.
    #[must_use]
    pub fn held(&self) -> usize {
        self.unsent.capacity()
    }
}

/// Whether a whole record is at the front.
fn has_record(bytes: &[u8]) -> bool {
    match bytes {
        [_, _, _, high, low, behind @ ..] => behind.len() >= usize::from(u16::from_be_bytes([*high, *low])),
        _ => false,
    }
}

/// Acts on what the library found, and says how many bytes it used up.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    unsent: &mut Vec<u8>,
    plain: &mut dyn FnMut(&[u8]) -> bool,
) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut went = Ok(Step::Again);
            // One at a time, by how the library goes about it.
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        if !plain(record.payload) {
                            went = Ok(Step::Full);
                        }
                    }
                    Err(error) => went = Err(error),
                }
            }
            went
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => append(unsent, 0, |room| {
            data.encode(room).map_err(|error| match error {
                EncodeError::InsufficientSize(size) => Some(size.required_size),
                EncodeError::AlreadyEncoded => None,
            })
        })
        .map(|()| Step::Again),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It is sent before anything else is.
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Step::Ended),
        // Nothing is taken that comes before the handshake is over, and so nothing comes.
        Ok(ConnectionState::ReadEarlyData(_)) => Err(Error::HandshakeNotComplete),
        Ok(_) => Ok(Step::Waits),
        Err(error) => Err(error),
    };
    (discard, step)
}

/// Writes if it is its turn; whether it was.
fn write<Data>(status: UnbufferedStatus<'_, '_, Data>, what: What<'_>, out: &mut Vec<u8>) -> Result<bool, Error> {
    let mut traffic = match status.state {
        Ok(ConnectionState::WriteTraffic(traffic)) => traffic,
        // What the library has to say of itself goes out before; of what has come, nothing is given here.
        state => {
            return match step(UnbufferedStatus { discard: 0, state }, out, &mut |_| false).1 {
                Ok(Step::Again) => Ok(false),
                Ok(_) => Err(Error::HandshakeNotComplete),
                Err(error) => Err(error),
            };
        }
    };
    let failed = |error| match error {
        EncryptError::InsufficientSize(size) => Some(size.required_size),
        EncryptError::EncryptExhausted => None,
    };
    match what {
        What::Plain(plain) => {
            let room = plain.len() + (plain.len() / MOST_PLAIN + 1) * ADDED;
            append(out, room, |room| traffic.encrypt(plain, room).map_err(failed))
        }
        What::End => append(out, ADDED, |room| traffic.queue_close_notify(room).map_err(failed)),
    }
    .map(|()| true)
}

/// Appends what `write` puts into the room that it is given: so much at first, and as much as it asks for then.
fn append(
    out: &mut Vec<u8>,
    mut room: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), Error> {
    let start = out.len();
    loop {
        out.resize(start + room, 0);
        match write(out.get_mut(start..).unwrap_or_default()) {
            Ok(count) => {
                out.truncate(start + count);
                return Ok(());
            }
            Err(Some(more)) if more > room => room = more,
            Err(_) => {
                out.truncate(start);
                return Err(Error::EncryptError);
            }
        }
    }
}
