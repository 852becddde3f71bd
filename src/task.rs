//! Work for which the kernel or a library would make the loop wait, in a thread of its own: a sync, or the resolving of a
//! name. Invariant: the loop never waits for the thread, it asks whether it has ended.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// When the loop asks whether a thread has ended: after a quarter of the time that it has run, within these bounds.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// Stack of such a thread. `getaddrinfo` needs the most.
const STACK_BYTES: usize = 256 * 1024;

/// From here on this thread gives way to everything else, where the system lets it.
pub(crate) fn be_nice() {
    // Of a thread, not of the process: so Linux has it, whatever POSIX says.
    #[cfg(feature = "compress")]
    let _ = rustix::process::nice(19);
}

/// A thread, whatever its work is: what `std` needs for one is 3 KB of code for each kind.
///
/// # Errors
/// The system gives no thread.
#[inline(never)] // one copy, for size
pub(crate) fn spawn(stack: usize, work: Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>> {
    Builder::new().stack_size(stack).spawn(work)
}

/// Work in a thread of its own, which returns a `T`.
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Task<T> {
    thread: JoinHandle<()>,
    result: Arc<Mutex<Option<T>>>,
    began: Duration,
}

impl<T: Send + 'static> Task<T> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system can't start one more thread.
    pub(crate) fn begin(now: Duration, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        Self::begin_with(STACK_BYTES, now, work)
    }

    /// The same, with a stack of this size.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn begin_with(
        stack: usize,
        now: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<Self> {
        let result = Arc::new(Mutex::new(None));
        let put = Arc::clone(&result);
        let work = move || *put.lock().unwrap_or_else(PoisonError::into_inner) = Some(work());
        Ok(Self { thread: spawn(stack, Box::new(work))?, result, began: now })
    }

    /// Whether the work is done, so that [`Self::result`] does not wait.
    pub(crate) fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// What the work returned; waits for its end. `None` if it panicked.
    pub(crate) fn result(self) -> Option<T> {
        self.thread.join().ok()?;
        self.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How long until [`Self::is_done`] is to be asked again; zero when it is done.
    #[inline(never)] // one copy, for size
    pub(crate) fn due_in(&self, now: Duration) -> Duration {
        if self.is_done() {
            return Duration::ZERO;
        }
        (now.saturating_sub(self.began) / 4).clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }
}
