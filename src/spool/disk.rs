//! All that a spool asks of the disk: one directory, its files, and a few facts of the box. [`RealDisk`] is the real one.
//! Invariant: nothing else in this room touches a file.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::linux::{EDQUOT, ENOMEM, ENOSPC, O_NONBLOCK, is_descriptor_shortage};

/// Whether room may cure it: another descriptor would not.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(ENOSPC | EDQUOT))
}

/// One directory. Names are those of files in it.
pub trait Disk {
    /// An open file; all clones are the same one.
    type File: Clone;

    /// Calls with each file's name and length.
    ///
    /// # Errors
    /// What the system says; here and below.
    fn list(&self, tell: &mut dyn FnMut(&str, u64)) -> io::Result<()>;

    /// Makes a file that is not there yet.
    ///
    /// # Errors
    /// See [`Self::list`].
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Opens one that is there, to be read, and if asked for written.
    ///
    /// # Errors
    /// See [`Self::list`].
    fn open(&self, name: &str, is_written: bool) -> io::Result<Self::File>;

    /// Reads at most as much as fits; 0 at the end.
    ///
    /// # Errors
    /// See [`Self::list`].
    fn read_at(&self, file: &Self::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes some of the bytes, at least one.
    ///
    /// # Errors
    /// See [`Self::list`].
    fn write_at(&self, file: &Self::File, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// What was written to the file is on the disk when this returns.
    ///
    /// # Errors
    /// See [`Self::list`].
    fn sync(&self, file: &Self::File) -> io::Result<()>;

    /// The names in the directory are.
    ///
    /// # Errors
    /// See [`Self::list`].
    fn sync_directory(&self) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// See [`Self::list`].
    fn unlink(&self, name: &str) -> io::Result<()>;

    /// Gives a file another's name.
    ///
    /// # Errors
    /// See [`Self::list`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Locks a file, which is made if it is not there, until it is dropped. `None` if another process has it.
    ///
    /// # Errors
    /// See [`Self::list`].
    fn lock(&self, name: &str) -> io::Result<Option<Self::File>>;

    /// Makes sure that no other directory has taken the place of the one in which a file was locked, if one was.
    ///
    /// # Errors
    /// One has, as the end of a sentence.
    fn check_place(&self) -> io::Result<()>;

    /// Random bytes.
    ///
    /// # Errors
    /// See [`Self::list`].
    fn random(&self) -> io::Result<[u8; 16]>;

    /// What only this machine is called, if it has such a name.
    fn machine(&self) -> Option<Vec<u8>>;
}

/// What [`Disk::check_place`] says.
pub(super) fn moved() -> io::Error {
    io::Error::other(
        "its directory was moved away, removed or replaced: put it back; or restart this program, which costs the lines that wait in memory",
    )
}

/// Writes all of the bytes; how many it could, and why no more.
pub(super) fn write_all_at<D: Disk>(disk: &D, file: &D::File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match disk.write_at(file, offset + written as u64, rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How often what can't be read is tried: a card that was busy is not damaged.
pub(super) const TRIES: u32 = 3;

/// A file that is there and can't be opened.
pub(super) enum Unopened {
    /// It was removed.
    Gone,
    /// Nothing is wrong with it: others could not be opened either.
    Short(io::Error),
    /// It is damaged, as far as can be told.
    Damaged(io::Error),
}

/// Opens a file to be read; a card that was busy is not damaged.
pub(super) fn open_to_read<D: Disk>(disk: &D, name: &str) -> Result<D::File, Unopened> {
    let mut tries = 1;
    loop {
        match disk.open(name, false) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Unopened::Gone),
            Err(error) if is_shortage(&error) => return Err(Unopened::Short(error)),
            Err(error) if tries == TRIES => return Err(Unopened::Damaged(error)),
            Err(_) => tries += 1,
        }
    }
}

fn is_shortage(error: &io::Error) -> bool {
    is_descriptor_shortage(error) || error.raw_os_error() == Some(ENOMEM) || error.kind() == ErrorKind::PermissionDenied
}

/// Fills the buffer as far as the file goes.
pub(super) fn read_full_at<D: Disk>(disk: &D, file: &D::File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let (mut count, mut failed) = (0, 0);
    while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match disk.read_at(file, offset + count as u64, rest) {
            Ok(0) => break,
            Ok(more) => (count, failed) = (count + more, 0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                failed += 1;
                if failed == TRIES {
                    return Err(error);
                }
            }
        }
    }
    Ok(count)
}

/// A directory of this box.
#[derive(Debug, Clone)]
pub struct RealDisk {
    directory: PathBuf,
    locked: Arc<Mutex<Option<Locked>>>,
}

/// Device and number of a file, which no other has as long as that is open or there.
type Identity = (u64, u64);

fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}

/// What was locked.
#[derive(Debug)]
struct Locked {
    name: String,
    file: Identity,
    directory: Identity,
    /// The file of that name that was made because the first one was removed.
    again: Option<Arc<File>>,
}

impl RealDisk {
    /// The directory at this path, which need not be there to be read.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), locked: Arc::default() }
    }

    /// Makes the directory, unless it is there.
    ///
    /// # Errors
    /// It can't be made.
    pub fn make(directory: &Path) -> io::Result<Self> {
        // Lines are nobody else's business.
        match fs::DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(Self::new(directory)),
        }
    }

    /// The file that was locked is no more. If that is all that was removed, another one takes its place.
    fn lock_again(&self, locked: &mut Locked) -> io::Result<()> {
        let is_same = fs::metadata(&self.directory).is_ok_and(|found| identity(&found) == locked.directory);
        // One that was removed and made anew may have the same number, and nothing in it.
        if !is_same || fs::read_dir(&self.directory)?.next().is_none() {
            return Err(moved());
        }
        // Who makes it has the right to it, and no other process did.
        let file = self.create(&locked.name).map_err(|_| moved())?;
        file.try_lock().map_err(|_| moved())?;
        locked.file = identity(&file.metadata()?);
        locked.again = Some(file);
        Ok(())
    }

    fn options(is_written: bool) -> OpenOptions {
        let mut options = OpenOptions::new();
        // A fifo of that name would be waited for until somebody writes to it.
        options.read(true).write(is_written).mode(0o600).custom_flags(O_NONBLOCK);
        options
    }
}

impl Disk for RealDisk {
    type File = Arc<File>;

    fn list(&self, tell: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // One that is being removed has no length any more.
            if let (Some(name), Ok(found)) = (entry.file_name().to_str(), entry.metadata()) {
                tell(name, found.len());
            }
        }
        Ok(())
    }

    fn create(&self, name: &str) -> io::Result<Arc<File>> {
        Self::options(true).create_new(true).open(self.directory.join(name)).map(Arc::new)
    }

    fn open(&self, name: &str, is_written: bool) -> io::Result<Arc<File>> {
        let file = Self::options(is_written).open(self.directory.join(name))?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("{name} is no regular file: remove it")));
        }
        Ok(Arc::new(file))
    }

    fn read_at(&self, file: &Arc<File>, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        file.read_at(buffer, offset)
    }

    fn write_at(&self, file: &Arc<File>, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        file.write_at(bytes, offset)
    }

    fn sync(&self, file: &Arc<File>) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.check_place()?;
        // Opened anew each time: after a failure the old descriptor would not tell again.
        File::open(&self.directory)?.sync_all()
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn lock(&self, name: &str) -> io::Result<Option<Arc<File>>> {
        let file = Self::options(true).create(true).truncate(false).open(self.directory.join(name))?;
        match file.try_lock() {
            Ok(()) => {
                let (found, directory) = (identity(&file.metadata()?), identity(&fs::metadata(&self.directory)?));
                let locked = Locked { name: name.to_owned(), file: found, directory, again: None };
                *self.locked.lock().unwrap_or_else(PoisonError::into_inner) = Some(locked);
                Ok(Some(Arc::new(file)))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn check_place(&self) -> io::Result<()> {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(locked) = &mut *locked else { return Ok(()) };
        match fs::metadata(self.directory.join(&locked.name)) {
            Ok(found) if identity(&found) == locked.file => Ok(()),
            Ok(_) => Err(moved()),
            Err(error) if error.kind() == ErrorKind::NotFound => self.lock_again(locked),
            Err(error) if error.kind() == ErrorKind::NotADirectory => Err(moved()),
            Err(error) => Err(error),
        }
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn machine(&self) -> Option<Vec<u8>> {
        let places = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
        let ids = places.iter().filter_map(|path| fs::read(path).ok());
        // An image that was not started yet has an empty one, or a word in its place.
        ids.map(|id| id.trim_ascii().to_vec()).find(|id| id.len() == 32)
    }
}
