//! Why an output can't be opened, as a sentence: what, where, what to do (P13).

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::files::path::shown;
use super::place::OutputAddr;
use super::stream::stdout;
#[cfg(feature = "cli")]
use crate::config::output::OutputOptions;
use crate::linux::is_descriptor_shortage;

/// Why an output could not be opened. `Display` is one sentence.
#[derive(Debug)]
pub struct OpenError(pub(super) Cause);

/// What is in the way.
#[derive(Debug)]
pub(super) enum Cause {
    /// What the system says of this output.
    Output(OutputAddr, io::Error),
    /// The spool.
    #[cfg_attr(not(feature = "spool"), expect(dead_code))]
    Spool {
        /// The sentence.
        sentence: String,
        /// Whether what was asked for is at fault, and not the box.
        is_usage: bool,
    },
}

impl OpenError {
    pub(super) fn of(output: &OutputAddr, source: io::Error) -> Self {
        Self(Cause::Output(output.clone(), source))
    }

    /// Whether what was asked for is at fault, and not the box.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(self.0, Cause::Spool { is_usage: true, .. })
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (output, source) = match &self.0 {
            Cause::Output(output, source) => (output, source),
            Cause::Spool { sentence, .. } => return f.write_str(sentence),
        };
        let name = output.name();
        if name == stdout::NAME {
            // Not every libc says that descriptors are open files.
            let cure = if is_descriptor_shortage(source) { "; raise the limit on open files" } else { "" };
            return write!(f, "cannot use stdout: {source}{cure}");
        }
        write!(f, "cannot write to {name}: ")?;
        if output.place().is_stream() {
            return write!(f, "{source}");
        }
        match source.kind() {
            ErrorKind::NotFound => {
                f.write_str("its directory does not exist; make it, or have it made by --make-dirs, or choose another file with --output")
            }
            ErrorKind::IsADirectory => {
                let inside = shown(&Path::new(&name).join("app.log"));
                write!(f, "it is a directory; name a file in it, such as {inside}, with --output")
            }
            ErrorKind::PermissionDenied => {
                f.write_str("no permission; change the owner or the mode, or choose another file with --output")
            }
            ErrorKind::ReadOnlyFilesystem => {
                f.write_str("the file system is read-only; remount it, or choose another file with --output")
            }
            ErrorKind::NotADirectory => {
                f.write_str("a part of the path is no directory; choose another file with --output")
            }
            _ if is_descriptor_shortage(source) => write!(f, "{source}; raise the limit on open files"),
            _ if output.file_path().is_none() => write!(f, "{source}"),
            _ => write!(f, "{source}; choose another file with --output"),
        }
    }
}

/// What a start would say of an output, as far as that can be known without making anything.
#[cfg(feature = "cli")]
pub(crate) fn foresee(output: &OutputAddr, options: &OutputOptions) -> Option<String> {
    match output.foresee(options) {
        Ok(warning) => warning,
        Err(source) => Some(OpenError::of(output, source).to_string()),
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Cause::Output(_, source) => Some(source),
            Cause::Spool { .. } => None,
        }
    }
}
