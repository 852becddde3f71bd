//! Stdout, whatever it is: a pipe, a file, a terminal, a socket. The description that others share is never changed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::descriptor::{Descriptor, adopt};
use super::{Flushed, Format, Origin, Sink};
use crate::engine::config::Overhead;
use crate::engine::framer::Lines;

/// Writes to stdout. Use one a process, and nothing else that writes there.
#[derive(Debug)]
pub struct StdoutSink {
    out: Descriptor,
}

impl StdoutSink {
    /// Finds out what stdout is, and how to write it without stopping the loop.
    ///
    /// # Errors
    /// When stdout can't be duplicated.
    pub fn new(format: Format) -> io::Result<Self> {
        let own = io::stdout().as_fd().try_clone_to_owned()?;
        let (file, way) = adopt(File::from(own))?;
        Ok(Self { out: Descriptor::new(file, way, format) })
    }
}

impl Sink for StdoutSink {
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>) {
        self.out.append(origin, lines);
    }

    fn flush(&mut self) -> io::Result<Flushed> {
        self.out.flush()
    }

    fn waiting(&self) -> usize {
        self.out.waiting()
    }

    fn overhead(&self) -> Overhead {
        self.out.format().overhead()
    }

    fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.out.watched()
    }

    fn describe(&self) -> String {
        "stdout".to_owned()
    }
}
