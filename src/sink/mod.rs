//! Sinks: where lines go. A sink never blocks the loop if its descriptor can be written without waiting, never fails in
//! the middle, and never loses what it was given: what it could not write, it keeps, and says how much that is.

mod descriptor;
mod file;
mod format;
mod memory;
mod stdout;

use std::io;
use std::os::fd::BorrowedFd;

pub use self::file::{FileSink, OpenError};
pub use self::format::Format;
pub use self::memory::MemorySink;
pub use self::stdout::StdoutSink;

#[cfg(feature = "cli")]
pub(crate) use self::descriptor::{Adopted, Borrowed, Way, adopt, send_without_waiting};
#[cfg(feature = "cli")]
pub(crate) use self::format::write_time;

use crate::engine::config::Overhead;
use crate::engine::framer::Lines;
use crate::engine::gap::Gap;
use crate::engine::peer::Peer;

/// Whose lines these are, and when they came.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Who sent them.
    pub peer: &'a Peer,
    /// When the turn in which they were read began, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// What a flush came to.
#[derive(Debug)]
pub enum Flushed {
    /// Nothing waits any more.
    Done,
    /// The rest waits until the descriptor can be written.
    Blocked,
    /// A write failed, and may work later: a full disk, an I/O error.
    Failed(io::Error),
}

/// Takes whole lines. Everything that waits in it counts towards the memory budget (P5).
pub trait Sink {
    /// Takes some lines of one client. Never blocks on a pipe or socket, never fails, never loses: errors surface in
    /// [`Sink::flush`].
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>);

    /// Here, behind the lines taken so far, something is missing. A sink that marks gaps says so in its output.
    fn gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        let _ = (origin, gap);
    }

    /// Writes what waits, as far as possible.
    ///
    /// # Errors
    /// Only when the sink is gone for good, such as a pipe whose reader closed it.
    fn flush(&mut self) -> io::Result<Flushed>;

    /// Bytes taken and not yet written, as they will be written.
    fn waiting(&self) -> usize;

    /// What the sink adds to lines, at worst.
    fn overhead(&self) -> Overhead {
        Overhead::RAW
    }

    /// The descriptor that tells when a blocked sink can be written again, and when its reader is gone.
    fn watched(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What the sink is, for a sentence: `stdout`, `app.log`.
    fn describe(&self) -> String {
        "the output".to_owned()
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>) {
        (**self).append(origin, lines);
    }

    fn gap(&mut self, origin: &Origin<'_>, gap: Gap) {
        (**self).gap(origin, gap);
    }

    fn flush(&mut self) -> io::Result<Flushed> {
        (**self).flush()
    }

    fn waiting(&self) -> usize {
        (**self).waiting()
    }

    fn overhead(&self) -> Overhead {
        (**self).overhead()
    }

    fn watched(&self) -> Option<BorrowedFd<'_>> {
        (**self).watched()
    }

    fn describe(&self) -> String {
        (**self).describe()
    }
}
