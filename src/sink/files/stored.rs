//! What files hold, compressed or not, and which files are one set: an output file, and those that were rotated.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::gzip;
use super::path::opened_to_read;

/// What a file holds; of a compressed one, what was compressed.
///
/// # Errors
/// It can't be opened; it is compressed, and this build has no `compress`.
pub(super) fn content(path: &Path) -> io::Result<Box<dyn Read>> {
    let (file, _) = opened_to_read(path)?;
    unpacked(file, path)
}

/// The same of an open file.
fn unpacked(file: File, path: &Path) -> io::Result<Box<dyn Read>> {
    if !gzip::is_named_so(path) {
        return Ok(Box::new(file));
    }
    #[cfg(feature = "compress")]
    return Ok(Box::new(gzip::Unpacked::new(file)));
    #[cfg(not(feature = "compress"))]
    Err(io::Error::new(io::ErrorKind::Unsupported, "this build reads no compressed files"))
}
