//! Stdout as an output (`-`), whatever it is: a pipe, a file, a terminal, a socket. The open file description that other
//! processes share with us is left as it is, but for a pipe that can't be opened anew: that one is non-blocking while we
//! live (`Borrowed` in `adopt.rs`).

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::adopt::{adopt, told_of_us};
use super::descriptor::Descriptor;
use crate::config::output::OutputOptions;
use crate::sink::place::{DiskUse, Opened, OutputAddr, OutputAddrError, Place};
use crate::sink::target::Books;

/// What it is called in a sentence.
pub(in crate::sink) const NAME: &str = "stdout";

/// Reads `-`.
pub(in crate::sink) fn parse(text: &str) -> Option<Result<OutputAddr, OutputAddrError>> {
    (text == "-").then(|| Ok(OutputAddr::new(Stdout)))
}

/// `-`.
pub(in crate::sink) struct Stdout;

impl fmt::Display for Stdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("-")
    }
}

impl Place for Stdout {
    fn open(&self, _: &OutputOptions, _: &mut Books) -> io::Result<Opened> {
        let own = own().map_err(|error| io::Error::other(format!("{error}{OR_ELSE}")))?;
        let descriptor = Descriptor::new(adopt(own)?);
        let identity = descriptor.identity();
        Ok(Opened { target: Box::new(descriptor), identity })
    }

    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn descriptors(&self, _: &OutputOptions) -> usize {
        0
    }

    fn disk(&self, _: &OutputOptions) -> DiskUse {
        DiskUse::OfStdout
    }
}

/// What else an output may be.
const OR_ELSE: &str = ", or name a file with --output (/dev/null throws lines away)";
/// The number of Linux's `/dev/null`: major 1, minor 3.
const NULL_DEVICE: u64 = 1 << 8 | 3;

/// A descriptor of our own for stdout.
///
/// # Errors
/// When stdout is closed, can't be duplicated, or takes nothing, and never will.
pub(crate) fn own() -> io::Result<File> {
    let own = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let info = told_of_us(&format!("fdinfo/{}", own.as_raw_fd()));
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
    // The last octal digit holds the access mode: 0 read, 1 write, 2 both. Where a process starts without stdout, Rust's
    // runtime puts `/dev/null` in its place, opened both ways: every line would be lost without a word. A shell's
    // `> /dev/null` opens it to write only, and is what somebody wanted.
    match flags.trim().as_bytes().last() {
        Some(b'0') => Err(io::Error::other(READ_ONLY)),
        Some(b'2') if is_null(&own)? => Err(io::Error::other(CLOSED)),
        _ => Ok(own),
    }
}

const READ_ONLY: &str = "it is open to read only; redirect it with >";
const CLOSED: &str = "it is closed, or /dev/null opened to read too; redirect it";

fn is_null(stdout: &File) -> io::Result<bool> {
    let found = stdout.metadata()?;
    Ok(found.file_type().is_char_device() && found.rdev() == NULL_DEVICE)
}
