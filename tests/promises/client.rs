//! A client of a world: a socket, or one over TLS, whose own side of it is rustls' buffered one. Where `LUMBERJACK_TEST_TLS` is 1,
//! all clients of all worlds speak TLS, and every promise is kept once more. As the test makes the server's turns itself, nobody
//! waits for a handshake: what is written before it is over goes out in the turns.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::common::patience::Patient;
#[cfg(feature = "tls")]
use super::tls_client::Tls;
#[cfg(feature = "tls")]
use std::sync::{Arc, Mutex};

/// Whether all clients speak TLS.
pub(crate) fn over_tls() -> bool {
    cfg!(feature = "tls") && std::env::var_os("LUMBERJACK_TEST_TLS").is_some_and(|value| value == "1")
}

thread_local! {
    /// Those over TLS that this test has made.
    #[cfg(feature = "tls")]
    static CLIENTS: RefCell<Vec<Arc<Mutex<Tls>>>> = const { RefCell::new(Vec::new()) };
    #[cfg(not(feature = "tls"))]
    static CLIENTS: RefCell<Vec<()>> = const { RefCell::new(Vec::new()) };
}

/// Has the clients of this test do their part.
pub(crate) fn pump() {
    #[cfg(feature = "tls")]
    CLIENTS.with_borrow_mut(|clients| clients.retain(|tls| tls.lock().unwrap().pump()));
}

pub(crate) struct Client {
    socket: TcpStream,
    #[cfg(feature = "tls")]
    tls: Option<Arc<Mutex<Tls>>>,
}

impl Client {
    /// One without TLS.
    pub(crate) fn plain(socket: TcpStream) -> Self {
        Self {
            socket,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// One over TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(socket: TcpStream, config: &Arc<rustls::ClientConfig>) -> Self {
        let tls = Arc::new(Mutex::new(Tls::new(socket.try_clone().unwrap(), config)));
        CLIENTS.with_borrow_mut(|clients| clients.push(Arc::clone(&tls)));
        Self { socket, tls: Some(tls) }
    }

    /// What there is of it besides the socket.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(&self) -> std::sync::MutexGuard<'_, Tls> {
        self.tls.as_ref().expect("a client over TLS").lock().unwrap()
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(crate) fn set_nonblocking(&self, is_nonblocking: bool) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            tls.lock().unwrap().waits = !is_nonblocking;
            return Ok(());
        }
        self.socket.set_nonblocking(is_nonblocking)
    }

    /// Ends our side. With TLS that is a FIN alone, as most clients have it, behind what is still to be sent.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            assert_eq!(how, Shutdown::Write);
            let mut tls = tls.lock().unwrap();
            tls.ends = true;
            tls.pump();
            return Ok(());
        }
        self.socket.shutdown(how)
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
        })
    }

    /// Closes with an RST instead of a FIN.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let mut tls = tls.lock().unwrap();
            tls.pump();
            tls.is_left = true;
            tls.socket = None;
        }
    }

    /// Whether the server's FIN is there.
    pub(crate) fn is_told_goodbye(&self) -> bool {
        self.set_nonblocking(true).unwrap();
        let read = (&mut &*self).read(&mut [0; 1]);
        self.set_nonblocking(false).unwrap();
        matches!(read, Ok(0))
    }
}

impl Patient for Client {
    fn wait_at_most(&self, patience: Duration) {
        self.socket.wait_at_most(patience);
    }
}

impl Read for &Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return super::tls_client::wait_for(tls, |tls| tls.read(buffer));
        }
        (&self.socket).read(buffer)
    }
}

impl Write for &Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return super::tls_client::wait_for(tls, |tls| tls.write(bytes));
        }
        (&self.socket).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Client {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Client {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "tls")]
impl Drop for Client {
    fn drop(&mut self) {
        if let Some(tls) = &self.tls
            // Of clones, the last one leaves: one is in the list.
            && Arc::strong_count(tls) <= 2
        {
            let mut tls = tls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tls.is_left = true;
            tls.pump();
        }
    }
}
