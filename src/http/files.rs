//! The file that says who we are to servers (`--http-auth`). Invariant: nothing that is said of it holds a secret.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::logins::Logins;
use crate::config::text::escaped;

/// The longest such file.
const MOST_AUTH_BYTES: u64 = 1 << 20;
/// Others may read it.
const BY_OTHERS: u32 = 0o044;

/// What a file of passwords says.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) logins: Logins,
    /// Others may read it.
    by_others: bool,
}

impl Auth {
    /// What is wrong with it, for the log, if anything is.
    pub(crate) fn warning(&self, path: &Path) -> Option<String> {
        let shown = escaped(&path.to_string_lossy());
        self.by_others.then(|| format!("--http-auth {shown} can be read by others: chmod 600 it"))
    }
}

/// Reads a file of passwords.
///
/// # Errors
/// It can't be read, or is no such file.
pub(crate) fn read_auth(path: &Path) -> io::Result<Auth> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > MOST_AUTH_BYTES {
        return Err(io::Error::other(
            "it is no file of a few lines: give one with lines such as HOST:PORT user:password",
        ));
    }
    let logins = Logins::read(&fs::read_to_string(path)?).map_err(io::Error::other)?;
    Ok(Auth { logins, by_others: found.mode() & BY_OTHERS != 0 })
}
