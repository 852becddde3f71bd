//! How other threads stop a server and ask how it is. The loop publishes a snapshot once a turn, so that nobody else
//! has to reach into the server. Invariant: a question never waits for the loop.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::stats::{Diagnostics, Snapshot, Status};

/// Stops a [`Server`](crate::Server) and tells how it is, from any thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    snapshot: Mutex<Snapshot>,
    stop: Arc<AtomicBool>,
    reopen: Arc<AtomicBool>,
    waker: Option<UnixStream>,
}

impl Handle {
    pub(super) fn new(snapshot: Snapshot, waker: Option<UnixStream>) -> Self {
        let (stop, reopen) = (Arc::default(), Arc::default());
        Self { shared: Arc::new(Shared { snapshot: Mutex::new(snapshot), stop, reopen, waker }) }
    }

    /// Asks the server for its orderly end (P11). Returns at once; `run` returns when it is done.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Asks the server to write what waits and then to open its output file again by its name, as SIGHUP does: somebody
    /// has renamed the old one.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if let Some(mut waker) = self.shared.waker.as_ref() {
            // A full socket has a byte in it already, so the loop wakes up anyway.
            let _ = waker.write(&[1]);
        }
    }

    /// How the server is, as of its last turn.
    #[must_use]
    pub fn status(&self) -> Status {
        self.snapshot(|snapshot| Status::from(snapshot))
    }

    /// What it costs and what it dropped, as of its last turn.
    #[must_use]
    pub fn diagnostics(&self) -> Diagnostics {
        self.snapshot(|snapshot| Diagnostics::from(snapshot))
    }

    /// The flag that [`Self::stop`] sets, for signal handlers; the loop reads it when it is woken.
    #[must_use]
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.stop)
    }

    /// A socket of which each byte written wakes the loop up, for signal handlers.
    ///
    /// # Errors
    /// When no descriptor is free.
    pub fn signal_writer(&self) -> io::Result<UnixStream> {
        self.shared.waker.as_ref().map_or(Err(ErrorKind::Unsupported.into()), UnixStream::try_clone)
    }

    /// The flag that [`Self::reopen`] sets.
    #[must_use]
    pub fn reopen_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shared.reopen)
    }

    /// Whether [`Self::reopen`] was called since this was last asked.
    pub(super) fn is_reopen_asked(&self) -> bool {
        // A read first: a swap in every turn would cost more.
        self.shared.reopen.load(Ordering::Relaxed) && self.shared.reopen.swap(false, Ordering::SeqCst)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.shared.stop.load(Ordering::SeqCst)
    }

    pub(super) fn publish(&self, update: impl FnOnce(&mut Snapshot)) {
        // A reader that panicked has changed nothing: the snapshot is as good as before.
        update(&mut self.shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Reads the snapshot. The loop can't publish meanwhile.
    pub(super) fn snapshot<T>(&self, read: impl FnOnce(&Snapshot) -> T) -> T {
        read(&self.shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
