//! The file of a listening Unix socket: made where nothing is or where what is there is stale, and removed at the end.
//! Invariant: only our own file, or a stale one, is ever removed, by device and inode; and whoever looks at a path, takes
//! a file away there or makes one, is alone in its directory meanwhile, unless somebody keeps that locked.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

/// How long we wait to be alone in a directory: others take microseconds for what they do there, and a start against one
/// that was stopped in the middle of it is to end within a second.
const PATIENCE: Duration = Duration::from_millis(800);
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// The file of a listening socket; it is removed when this is dropped. Trap: while the socket is open, nobody else's file
/// can get the inode of ours, so this has to be dropped before the socket is.
pub struct SocketFile {
    path: PathBuf,
    id: Id,
}

/// Which file: a name may lead to another by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id {
    device: u64,
    inode: u64,
}

impl From<&Metadata> for Id {
    fn from(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// Listens at `path`, with these permission bits.
///
/// # Errors
/// `AddrInUse` if somebody listens there, `AlreadyExists` if there is another kind of file, else those of `bind` and
/// `listen`.
pub(crate) fn listen(path: &Path, mode: u32, backlog: i32) -> io::Result<(Socket, SocketFile)> {
    let _alone = Alone::at(path);
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), id: Id::from(&fs::symlink_metadata(path)?) };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(backlog)?;
    Ok((socket, file))
}

/// Removes a socket's file that nobody listens at: what a killed server leaves behind.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => Id::from(&found),
        Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // Non-blocking: a stopped server with a full backlog would let us wait for ever.
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => remove(path, found),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

/// Removes this very file, if it is still there.
fn remove(path: &Path, id: Id) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if Id::from(&found) == id => fs::remove_file(path),
        _ => Ok(()),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nothing can be done about a failure: the next start finds the file stale and removes it.
        let _alone = Alone::at(&self.path);
        let _ = remove(&self.path, self.id);
    }
}

/// A lock on the directory of a path, which leaves nothing behind, however we end.
struct Alone {
    /// `None`: this directory can't be locked, or somebody has it locked all the time, which anybody may do who can read it.
    /// The check by device and inode is all there is then.
    _directory: Option<File>,
}

impl Alone {
    fn at(path: &Path) -> Self {
        let Some(Ok(directory)) = path.parent().map(File::open) else { return Self { _directory: None } };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match directory.try_lock() {
                Ok(()) => return Self { _directory: Some(directory) },
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(BETWEEN_TRIES),
                Err(_) => return Self { _directory: None },
            }
        }
    }
}
