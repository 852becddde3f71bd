//! A listening socket that a supervisor opened and keeps open, so that clients can connect while the server is replaced.
//! Invariant: an [`Inherited`] can be listened on.

use std::fmt;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

use socket2::{Socket, Type};

use crate::config::listen::ListenAddr;
use crate::linux::EBADF;

/// A listening TCP or Unix stream socket, or a bound UDP socket, that was handed over. Whoever handed it over keeps it open: a server that ends
/// does not accept the clients that still wait there, but leaves them, and datagrams, to the next server.
///
/// ```
/// use lumberjack::{Config, Inherited, ListenAddr, MemorySink, Server};
///
/// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let inherited = Inherited::new(socket.try_clone()?.into())?;
/// let config = Config::listen(inherited.at().clone());
/// let server = Server::bind_inherited(config, MemorySink::new(), vec![inherited])?;
/// assert_eq!(server.local_addrs(), [ListenAddr::Tcp(socket.local_addr()?)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Inherited {
    socket: Socket,
    at: ListenAddr,
}

impl Inherited {
    /// Takes over a descriptor, and finds out which address it listens on.
    ///
    /// # Errors
    /// It is neither a listening socket of TCP or a Unix path, nor one of UDP that is not connected.
    pub fn new(descriptor: OwnedFd) -> Result<Self, InheritError> {
        let socket = Socket::from(descriptor);
        let is_stream = match socket.r#type() {
            Ok(Type::STREAM) => true,
            Ok(Type::DGRAM)
                if cfg!(feature = "udp") && socket.local_addr().is_ok_and(|local| local.as_socket().is_some()) =>
            {
                false
            }
            Ok(_) => return Err(InheritError::NoStream),
            Err(error) => {
                if error.raw_os_error() == Some(EBADF) {
                    // Nothing is open there, so a drop must not close it: something else may have that number by then.
                    let _ = socket.into_raw_fd();
                }
                return Err(InheritError::NoSocket(error));
            }
        };
        let is_connection =
            if is_stream { !socket.is_listener().map_err(InheritError::NoSocket)? } else { socket.peer_addr().is_ok() };
        if is_connection {
            return Err(InheritError::NotListening);
        }
        let local = socket.local_addr().map_err(InheritError::NoSocket)?;
        let ip = local.as_socket().map(if is_stream { ListenAddr::Tcp } else { ListenAddr::Udp });
        let at = ip.or_else(|| local.as_pathname().map(|path| ListenAddr::Unix(path.to_owned())));
        Ok(Self { socket, at: at.ok_or(InheritError::NoPlace)? })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn at(&self) -> &ListenAddr {
        &self.at
    }

    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }
}

/// Why a descriptor can't be listened on. `Display` is the end of a sentence that begins with its number.
#[derive(Debug)]
#[non_exhaustive]
pub enum InheritError {
    /// It is no socket, or not open.
    NoSocket(io::Error),
    /// A Unix socket for datagrams, or one for packets.
    NoStream,
    /// A socket that does not listen, such as a connection.
    NotListening,
    /// An abstract Unix socket, or one of another family.
    NoPlace,
}

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSocket(error) => write!(f, "it is no open socket ({error}); hand over a listening one"),
            Self::NoStream => f.write_str("it is a Unix socket for datagrams, or one for packets; use ListenStream="),
            Self::NotListening => f.write_str("it is a connection; use Accept=no"),
            Self::NoPlace => f.write_str("it is neither TCP, UDP nor a Unix socket with a path; use one of these"),
        }
    }
}

impl std::error::Error for InheritError {}
