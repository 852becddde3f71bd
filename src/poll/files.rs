//! What each poller has seen, kept over a restart (`--poll-state`). Invariant: a state is whole, or that of before; and nobody else
//! may read it.

use std::ffi::OsString;
#[cfg(feature = "cli")]
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[cfg(feature = "cli")]
use crate::config::text::escaped;
#[cfg(feature = "cli")]
use crate::http::files::read_auth;

/// The longest state that is read: that of a poller which remembers as much as one may.
const MOST_STATE_BYTES: u64 = 16 << 20;

/// What nobody can guess.
///
/// # Errors
/// The box has no source of it.
pub(crate) fn random() -> io::Result<[u8; 20]> {
    let mut bytes = [0; 20];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The directory of states.
#[derive(Debug)]
pub(crate) struct States {
    path: PathBuf,
    /// As long as it is open, no other process has the directory for its own.
    _lock: File,
}

impl States {
    /// Takes the directory.
    ///
    /// # Errors
    /// It is not there, may not be written, or another process has it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let lock = File::open(path)?;
        if !lock.metadata()?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(io::Error::other("another process keeps its states there")),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The file of a poller with this name.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.seen"))
    }
}

/// The state that was kept in this file; `None` if there is none.
///
/// # Errors
/// It can't be read.
pub(crate) fn read_state(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Of a fifo, opening would wait for somebody who writes.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is no file"));
    }
    match File::open(path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(MOST_STATE_BYTES).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps a state in this file. Waits for the disk.
///
/// # Errors
/// It can't be written; the one of before is still there.
pub(crate) fn write_state(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = OsString::from(path);
    new.push(".new");
    let new = PathBuf::from(new);
    // What a kill left there, or somebody else put there, is not written into.
    let _ = fs::remove_file(&new);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    let renamed = written.and_then(|()| fs::rename(&new, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&new);
    }
    renamed
}

/// What a start would say of these files, as far as that is known before, a whole sentence each.
#[cfg(feature = "cli")]
pub(crate) fn foresee(state: Option<&Path>, auth: Option<&Path>) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut say = |flag: &str, path: &Path, why: &dyn fmt::Display| {
        sentences.push(format!("{flag} {}: {why}", escaped(&path.to_string_lossy())));
    };
    if let Some(path) = state {
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => say("--poll-state", path, &io::Error::from(ErrorKind::NotADirectory)),
            Err(error) => say("--poll-state", path, &error),
        }
    }
    let mut warning = None;
    if let Some(path) = auth {
        match read_auth(path) {
            Ok(auth) => warning = auth.warning(path),
            Err(error) => say("--http-auth", path, &error),
        }
    }
    sentences.extend(warning);
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn dir(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("lumberjack-states-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn a_state_is_read_as_it_was_written_and_nobody_else_may_read_it() {
        let path = dir("one");
        let states = States::open(&path).unwrap();
        let file = states.file("plc-7");
        assert_eq!(read_state(&file).unwrap(), None);
        for bytes in [&b"a longer state"[..], b"", b"short"] {
            write_state(&file, bytes).unwrap();
            assert_eq!(read_state(&file).unwrap().as_deref(), Some(bytes));
        }
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing else is left there");
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn what_is_no_file_is_neither_waited_for_nor_written_into() {
        let path = dir("four");
        let file = path.join("a.seen");
        // Reading it would never end.
        std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
        assert_eq!(read_state(&file).unwrap_err().to_string(), "it is no file");
        let victim = path.join("victim");
        fs::write(&victim, b"precious").unwrap();
        std::os::unix::fs::symlink(&victim, path.join("a.seen.new")).unwrap();
        write_state(&file, b"state").unwrap();
        assert_eq!((fs::read(&victim).unwrap(), fs::read(&file).unwrap()), (b"precious".to_vec(), b"state".to_vec()));
        // One that a kill left there, and that others may read.
        fs::write(path.join("a.seen.new"), b"old").unwrap();
        fs::set_permissions(path.join("a.seen.new"), fs::Permissions::from_mode(0o644)).unwrap();
        write_state(&file, b"newer").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn what_can_not_be_written_leaves_the_state_of_before() {
        let path = dir("two");
        let file = States::open(&path).unwrap().file("a");
        write_state(&file, b"before").unwrap();
        // A directory in the place of the new one.
        fs::create_dir(path.join("a.seen.new")).unwrap();
        assert!(write_state(&file, b"after").is_err());
        assert_eq!(read_state(&file).unwrap().as_deref(), Some(&b"before"[..]));
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_directory_belongs_to_one_process() {
        let path = dir("three");
        let held = States::open(&path).unwrap();
        assert!(States::open(&path).unwrap_err().to_string().contains("another process"));
        drop(held);
        assert!(States::open(&path).is_ok() && States::open(&path.join("none")).is_err());
        fs::write(path.join("file"), b"").unwrap();
        assert_eq!(States::open(&path.join("file")).unwrap_err().kind(), ErrorKind::NotADirectory);
        fs::remove_dir_all(&path).unwrap();
    }
}
