//! How other threads stop a server and ask how it is. The loop publishes a snapshot once a turn, so that nobody else
//! has to reach into the server. Invariant: a question never waits for the loop.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
#[cfg(feature = "poll")]
use std::time::Duration;

#[cfg(feature = "poll")]
use super::poll_orders::{PollOrder, PollOrders};
use crate::engine::stats::{Diagnostics, Snapshot, Status};
#[cfg(feature = "poll")]
use crate::poll::{Poll, PollError, PollOptions};

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
    /// Something was asked of the pollers.
    #[cfg(feature = "poll")]
    has_poll_orders: AtomicBool,
    #[cfg(feature = "poll")]
    poll_orders: Mutex<PollOrders>,
    waker: Option<UnixStream>,
}

impl Handle {
    pub(super) fn new(snapshot: Snapshot, waker: Option<UnixStream>) -> Self {
        let (stop, reopen) = (Arc::default(), Arc::default());
        let shared = Shared {
            snapshot: Mutex::new(snapshot),
            stop,
            reopen,
            #[cfg(feature = "poll")]
            has_poll_orders: AtomicBool::new(false),
            #[cfg(feature = "poll")]
            poll_orders: Mutex::default(),
            waker,
        };
        Self { shared: Arc::new(shared) }
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

    /// Nobody can ask anything.
    #[cfg(not(feature = "poll"))]
    #[expect(clippy::unused_self)]
    pub(super) fn has_poll_orders(&self) -> bool {
        false
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

/// Pollers.
#[cfg(feature = "poll")]
impl Handle {
    /// Begins to fetch a page, and to take its new lines in as those of a client of that name; at once, and then again `interval`
    /// after each fetch has ended. Gives its number, for [`Self::stop_poller`]. How it does is in
    /// [`Diagnostics`], as `http.pollerDetails`.
    ///
    /// What [`Server::serve_polls`](crate::Server::serve_polls) was told holds for it too.
    ///
    /// # Errors
    /// The interval is shorter than a second, there is a poller of that name, the memory budget has room for no more, or the server
    /// has ended.
    pub fn start_poller(&self, poll: &Poll, interval: Duration) -> Result<u64, PollError> {
        PollOptions::check_interval(interval)?;
        if !self.snapshot(|snapshot| snapshot.running) {
            return Err(PollError::new("the server has ended, or is about to"));
        }
        self.ask_of_pollers(|orders| orders.start(poll, interval))
    }

    /// Ends a poller. What it fetches at that moment is thrown away; lines that it has given already go their way.
    ///
    /// # Errors
    /// There is none with this number.
    pub fn stop_poller(&self, id: u64) -> Result<(), PollError> {
        self.ask_of_pollers(|orders| orders.stop(id))
    }

    /// Ends all pollers. Returns how many there were.
    pub fn stop_all_pollers(&self) -> usize {
        self.ask_of_pollers(PollOrders::stop_all)
    }

    fn ask_of_pollers<T>(&self, ask: impl FnOnce(&mut PollOrders) -> T) -> T {
        let answer = self.with_poll_orders(ask);
        self.shared.has_poll_orders.store(true, Ordering::SeqCst);
        self.wake();
        answer
    }

    pub(super) fn with_poll_orders<T>(&self, ask: impl FnOnce(&mut PollOrders) -> T) -> T {
        ask(&mut self.shared.poll_orders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether something was asked of the pollers since [`Self::take_poll_orders`].
    pub(super) fn has_poll_orders(&self) -> bool {
        self.shared.has_poll_orders.load(Ordering::Relaxed)
    }

    /// What was asked of the pollers since the last time.
    pub(super) fn take_poll_orders(&self) -> Vec<PollOrder> {
        self.shared.has_poll_orders.store(false, Ordering::SeqCst);
        self.with_poll_orders(PollOrders::take)
    }
}
