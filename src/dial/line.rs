//! A connection to another machine, as its owner reads and writes it. Invariant: no call waits.

#[cfg(any(feature = "nats", feature = "http", feature = "tls"))]
use std::io::IoSlice;
use std::io::{self, Read};
use std::mem;
use std::net::Shutdown;

use socket2::Socket;

#[cfg(feature = "tls")]
use super::secure::{Guard, Secured};
use crate::linux::MSG_NOSIGNAL;

/// A socket, whether the loop was told of it, and the session of TLS on it, if there is one.
pub(crate) struct Line {
    socket: Socket,
    is_watched: bool,
    #[cfg(feature = "tls")]
    secured: Option<Box<Secured>>,
}

/// How far a handshake is.
#[cfg(feature = "tls")]
pub(super) enum Shaken {
    GoesOn,
    /// It is over here, and the other side may still refuse us.
    MayRefuse,
    Done,
}

#[cfg(test)]
impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.socket)
    }
}

impl Line {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            is_watched: false,
            #[cfg(feature = "tls")]
            secured: None,
        }
    }

    /// Begins a handshake of TLS, which [`Self::shaken`] goes on with.
    #[cfg(feature = "tls")]
    pub(super) fn secure(&mut self, guard: &Guard) -> io::Result<()> {
        self.secured = Some(Box::new(guard.session()?));
        Ok(())
    }

    /// Goes on with a handshake, if it is not over already.
    ///
    /// # Errors
    /// It has failed, or the other side has refused us.
    #[cfg(feature = "tls")]
    pub(super) fn shaken(&mut self, is_over: bool) -> io::Result<Shaken> {
        let Some(secured) = &mut self.secured else { return Ok(Shaken::Done) };
        if !is_over && !secured.shake(&self.socket)? {
            return Ok(Shaken::GoesOn);
        }
        let is_done = !secured.may_refuse() || secured.is_taken(&self.socket)?;
        Ok(if is_done { Shaken::Done } else { Shaken::MayRefuse })
    }

    /// The socket, for what only the kernel knows. Nobody reads or writes it but here.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The socket, once: the loop is to watch it.
    pub(crate) fn unwatched(&mut self) -> Option<&Socket> {
        let is_new = !mem::replace(&mut self.is_watched, true);
        is_new.then_some(&self.socket)
    }

    /// What the other side has sent; 0 is its goodbye.
    ///
    /// # Errors
    /// `WouldBlock`: nothing more is here, and the loop is told of what comes. Else the connection is broken.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(secured) = &mut self.secured {
            return secured.read(&self.socket, into);
        }
        (&self.socket).read(into)
    }

    /// Writes some of it, and says how much. Who is told that nothing was written comes again with the same bytes, and perhaps more
    /// behind them.
    ///
    /// # Errors
    /// `WouldBlock`: the kernel takes no more now, and the loop is told when it does. Else the connection is broken.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(secured) = &mut self.secured {
            return secured.write(&self.socket, &[IoSlice::new(bytes)]);
        }
        self.socket.send_with_flags(bytes, MSG_NOSIGNAL)
    }

    /// The same of several parts.
    ///
    /// # Errors
    /// The same.
    #[cfg(any(feature = "nats", feature = "http"))]
    pub(crate) fn write_parts(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(secured) = &mut self.secured {
            return secured.write(&self.socket, parts);
        }
        self.socket.send_vectored_with_flags(parts, MSG_NOSIGNAL)
    }

    /// How many of the bytes that are to be written next may be on their way already, in part.
    pub(crate) fn begun(&self) -> usize {
        #[cfg(feature = "tls")]
        if let Some(secured) = &self.secured {
            return secured.begun();
        }
        0
    }

    /// Whether a read may give less than it was asked for though more is here.
    #[cfg(feature = "nats")]
    pub(crate) fn reads_short(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.secured.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// Whether the other side's goodbye may be anybody's: over TLS it was not said inside.
    #[cfg(feature = "http")]
    pub(crate) fn is_cut(&self) -> bool {
        #[cfg(feature = "tls")]
        if let Some(secured) = &self.secured {
            return secured.is_cut();
        }
        false
    }

    /// Our goodbye: nothing is written any more. Nobody hears of it if the connection is gone already. Over TLS it is said inside
    /// too, if it is the first: who has said goodbye may read no more, and what lies unread when it closes would be a reset, which
    /// tells of loss.
    pub(crate) fn say_goodbye(&mut self, is_first: bool) {
        #[cfg(feature = "tls")]
        if let Some(secured) = self.secured.as_mut().filter(|_| is_first) {
            secured.say_end(&self.socket);
        }
        #[cfg(not(feature = "tls"))]
        let _ = is_first;
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}
