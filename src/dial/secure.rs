//! TLS on outgoing connections: whom they trust, and the session of one. Invariants: nothing of ours is sent before the other side's
//! certificate was checked, and a byte counts as written once the record that holds it is the kernel's.

use std::io::{self, ErrorKind, IoSlice, Read};
use std::mem;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::Socket;

use crate::config::tls_out::TlsOptions;
use crate::config::units::DisplayDuration;
use crate::linux::MSG_NOSIGNAL;
use crate::tls::{MOST_PLAIN, Session, files};

/// Bytes of one read: a record, and the start of the next.
const READ_BYTES: usize = MOST_PLAIN + 512;
/// An own certificate that is valid for less than this is warned of.
const EXPIRY_WARNING: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Whom connections trust, and who we are to them. What is cloned is reloaded together.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Keys>);

struct Keys {
    options: TlsOptions,
    config: Mutex<Arc<ClientConfig>>,
}

impl Tls {
    /// Reads the files; and what there is to warn of.
    ///
    /// # Errors
    /// One of them is of no use, as a sentence that names it.
    pub(crate) fn open(options: &TlsOptions) -> io::Result<(Self, Vec<String>)> {
        let (config, warnings) = read(options)?;
        Ok((Self(Arc::new(Keys { options: options.clone(), config: Mutex::new(config) })), warnings))
    }

    /// Reads them again, for new connections; and what there is to warn of.
    ///
    /// # Errors
    /// One of them is of no use, as a sentence that names it; then what was read before goes on.
    pub(crate) fn reload(&self) -> io::Result<Vec<String>> {
        let (config, warnings) = read(&self.0.options)?;
        *self.0.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(warnings)
    }

    /// What connections to this host are held against.
    ///
    /// # Errors
    /// No certificate can be for such a host, as the end of a sentence.
    pub(crate) fn guard(&self, host: &str) -> io::Result<Guard> {
        let given = &self.0.options.server_name;
        // The zone of an address is of this box only.
        let name = if given.is_empty() { host.split('%').next().unwrap_or_default() } else { given };
        match ServerName::try_from(name.to_owned()) {
            Ok(name) => Ok(Guard { keys: Arc::clone(&self.0), name }),
            Err(_) => Err(io::Error::other(
                "no certificate can be for this name: give the one that its certificate is for with server-name",
            )),
        }
    }
}

fn read(options: &TlsOptions) -> io::Result<(Arc<ClientConfig>, Vec<String>)> {
    let own = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => Some((cert, files::own_key_pair(cert, key).map_err(io::Error::other)?)),
        _ => None,
    };
    let ca = files::authorities(options.ca.as_deref()).map_err(io::Error::other)?;
    let config = files::client_config(&ca, own.as_ref().map(|(_, keys)| keys)).map_err(io::Error::other)?;
    let mut warnings = Vec::new();
    if let Some((cert, keys)) = own {
        warnings.extend(keys.warning());
        warnings.extend(expiry(cert, keys.certificate().not_after));
    }
    Ok((config, warnings))
}

/// What to say of a certificate that is valid until then, in seconds since 1970.
fn expiry(cert: &Path, not_after: i64) -> Option<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let left = Duration::from_secs(u64::try_from(not_after).unwrap_or_default()).saturating_sub(now);
    let cert = cert.display();
    if left.is_zero() {
        return Some(format!(
            "our certificate in {cert} has expired: other sides may refuse it; renew it, and send SIGHUP"
        ));
    }
    (left < EXPIRY_WARNING).then(|| {
        let left = DisplayDuration(Duration::from_secs(left.as_secs()));
        format!("our certificate in {cert} expires in {left}: renew it, and send SIGHUP")
    })
}

/// What a connection is held against: the name that its other side's certificate has to be for.
#[derive(Clone)]
pub(crate) struct Guard {
    keys: Arc<Keys>,
    name: ServerName<'static>,
}

impl Guard {
    /// The session of a new connection.
    pub(super) fn session(&self) -> io::Result<Secured> {
        let config = Arc::clone(&self.keys.config.lock().unwrap_or_else(PoisonError::into_inner));
        let session =
            Session::client(&config, self.name.clone()).map_err(|trouble| io::Error::other(trouble.to_string()))?;
        Ok(Secured {
            session,
            cipher: Vec::new(),
            plain: Vec::new(),
            given: 0,
            pending: Vec::new(),
            gone: 0,
            begun: 0,
            is_cut: false,
        })
    }
}

/// The session of a connection, and the bytes on both sides of it.
pub(super) struct Secured {
    session: Session,
    /// What has come and was not decrypted yet: less than a record, or what there was no room for.
    cipher: Vec<u8>,
    /// What was decrypted, a record at a time, and how much of it was given to the owner.
    plain: Vec<u8>,
    given: usize,
    /// Records on their way, and how much of them the kernel has.
    pending: Vec<u8>,
    gone: usize,
    /// Bytes of the owner's that are in these, and do not count as written yet.
    begun: usize,
    /// The connection has ended, and without a word of TLS.
    is_cut: bool,
}

impl Secured {
    /// Goes on with the handshake; whether it is over.
    ///
    /// # Errors
    /// It has failed. The other side was told why.
    pub(super) fn shake(&mut self, socket: &Socket) -> io::Result<bool> {
        loop {
            let goes_on = self.decrypt(socket)?;
            let is_flushed = match self.flush(socket) {
                Ok(()) => true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(error) => return Err(self.last_words(socket).unwrap_or(error)),
            };
            if self.session.is_ready() && is_flushed {
                return Ok(true);
            }
            if goes_on {
                continue;
            }
            match self.fill(socket) {
                Ok(()) if self.is_cut => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "it closed the connection during the TLS handshake: perhaps it speaks no TLS there",
                    ));
                }
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the other side may refuse our certificate still, now that the handshake is over here.
    pub(super) fn may_refuse(&self) -> bool {
        self.session.version() == Some("TLS 1.3")
    }

    /// Whether anything has come since the handshake: who refuses says so first.
    ///
    /// # Errors
    /// It has refused.
    pub(super) fn is_taken(&mut self, socket: &Socket) -> io::Result<bool> {
        loop {
            if self.decrypt(socket)? || self.is_cut {
                return Ok(true);
            }
            match self.fill(socket) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn read(&mut self, socket: &Socket, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let ready = self.plain.get(self.given..).unwrap_or_default();
            if !ready.is_empty() {
                let count = ready.len().min(into.len());
                if let (Some(into), Some(ready)) = (into.get_mut(..count), ready.get(..count)) {
                    into.copy_from_slice(ready);
                }
                self.given += count;
                if self.given == self.plain.len() {
                    self.given = 0;
                    self.plain.clear();
                }
                return Ok(count);
            }
            if self.decrypt(socket)? {
                continue;
            }
            if self.session.has_ended() || self.is_cut {
                return Ok(0);
            }
            match self.fill(socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // One that is calm holds no more than it has to.
                    self.plain = Vec::new();
                    self.cipher.shrink_to_fit();
                    return Err(error);
                }
                other => other?,
            }
        }
    }

    /// Takes up to a record's worth, and counts it once all of that is the kernel's. Until then the owner comes again with the same
    /// bytes, and perhaps more behind them.
    pub(super) fn write(&mut self, socket: &Socket, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.begun == 0 {
            let mut record = Vec::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>().min(MOST_PLAIN));
            for part in parts {
                let room = MOST_PLAIN - record.len();
                record.extend_from_slice(part.get(..room).unwrap_or(part));
            }
            let went = self.session.encrypt(&record, &mut self.pending);
            went.map_err(|trouble| io::Error::other(trouble.to_string()))?;
            self.begun = record.len();
        }
        match self.flush(socket) {
            Ok(()) => Ok(mem::take(&mut self.begun)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            // It may have said why before.
            Err(error) => Err(self.last_words(socket).unwrap_or(error)),
        }
    }

    /// Bytes that were given to [`Self::write`] and do not count as written yet: a part of them may be on its way.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Whether the connection has ended without a word of TLS: what came may have been cut short by anybody.
    #[cfg(feature = "http")]
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Says that we end, if it is not in the middle of a record.
    pub(super) fn say_end(&mut self, socket: &Socket) {
        if self.pending.is_empty() {
            self.session.say_end();
            self.take_unsent();
            let _ = self.flush(socket);
        }
    }

    /// Why the other side has ended the connection, if it said so.
    fn last_words(&mut self, socket: &Socket) -> Option<io::Error> {
        loop {
            match self.decrypt(socket) {
                Ok(true) => {}
                Ok(false) if self.is_cut || self.session.has_ended() => return None,
                Ok(false) => self.fill(socket).ok()?,
                Err(error) => return Some(error),
            }
        }
    }

    /// Decrypts a record of what has come; whether that came to anything.
    fn decrypt(&mut self, socket: &Socket) -> io::Result<bool> {
        let plain = &mut self.plain;
        let (used, went) = self.session.received(&mut self.cipher, &mut |record| {
            plain.extend_from_slice(record);
            false
        });
        self.cipher.drain(..used);
        self.take_unsent();
        match went {
            Ok(()) => Ok(used > 0),
            Err(trouble) => {
                // The other side hears of it, if the kernel takes it at once.
                let _ = self.flush(socket);
                let kind = if trouble.is_no_tls() { ErrorKind::InvalidData } else { ErrorKind::Other };
                Err(io::Error::new(kind, trouble.to_string()))
            }
        }
    }

    /// What the session has to say goes behind the records that wait.
    fn take_unsent(&mut self) {
        let unsent = self.session.unsent();
        let count = unsent.len();
        if count > 0 {
            self.pending.extend_from_slice(unsent);
            self.session.sent(count);
        }
    }

    /// Reads some of what has come.
    fn fill(&mut self, mut socket: &Socket) -> io::Result<()> {
        let mut bytes = [0; READ_BYTES];
        loop {
            match socket.read(&mut bytes) {
                Ok(count) => {
                    self.is_cut = count == 0;
                    self.cipher.extend_from_slice(bytes.get(..count).unwrap_or_default());
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the records that wait.
    fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        while self.gone < self.pending.len() {
            match socket.send_with_flags(self.pending.get(self.gone..).unwrap_or_default(), MSG_NOSIGNAL) {
                Ok(count) => self.gone += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.gone = 0;
        self.pending.clear();
        Ok(())
    }
}
