//! What a file holds, compressed or not.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::gzip;
use super::path::opened_to_read;
use crate::gunzip::Unpacked;

/// What a file holds; of a compressed one, what was compressed.
pub(crate) struct Content(Kind);

// No `dyn Read`: that would bring all that one can do.
enum Kind {
    Plain(File),
    Compressed(Box<Unpacked>),
}

impl Content {
    /// Of the file at this path.
    ///
    /// # Errors
    /// It can't be opened.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        opened_to_read(path).map(|(file, _)| Self::new(file, path))
    }

    pub(super) fn new(mut file: File, path: &Path) -> Self {
        Self(match gzip::is_named_so(path) {
            true => Kind::Compressed(Box::new(Unpacked::new(move |buffer| file.read(buffer)))),
            false => Kind::Plain(file),
        })
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Plain(file) => file.read(buffer),
            Kind::Compressed(unpacked) => unpacked.read(buffer),
        }
    }
}
