//! How a log file is opened: for append, made if it does not exist, never waiting for whoever is at the other side, and
//! never readable for more people than it is to be. Invariant: what [`Opener::open`] gives is a regular file or a
//! character device.

use std::fs::{self, File, FileType, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::path::{folder_of, resolved, shown};
use super::rotate::remove;
use crate::config::output::OutputOptions;
use crate::linux::{O_NOCTTY, O_NONBLOCK};

/// The mode of a file that is made, until it has got that which it is to have.
const NARROW: u32 = 0o600;

/// How new files are made.
#[derive(Debug, Clone)]
pub(super) struct Opener {
    /// `--file-mode`.
    mode: Option<u32>,
    /// `--file-group`, by its number.
    group: Option<u32>,
    /// `--make-dirs`.
    makes_folders: bool,
}

impl Opener {
    pub(super) fn new(options: &OutputOptions) -> Self {
        Self { mode: options.file_mode, group: options.file_group, makes_folders: options.make_dirs }
    }

    /// One whose files look like what was there before, whatever is said of new ones.
    pub(super) fn alike() -> Self {
        Self { mode: None, group: None, makes_folders: false }
    }

    /// Makes the directory of a file, if that is asked for and there is none. Whether it was made.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn makes_folder(&self, path: &Path) -> io::Result<bool> {
        let folder = folder_of(path);
        if !self.makes_folders || folder.exists() {
            return Ok(false);
        }
        fs::create_dir_all(folder).map(|()| true)
    }

    /// Opens what is at `path`, or makes it. One that is made looks like `before`, which had its name before, unless it is
    /// said how it is to look.
    ///
    /// # Errors
    /// Of the system; and when what is there is neither a regular file nor a character device.
    pub(super) fn open(&self, path: &Path, before: Option<&Metadata>) -> io::Result<File> {
        loop {
            match options().open(path) {
                Ok(file) => return check(&file, path).map(|()| file),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // A fifo that nobody reads, or a socket: Linux says ENXIO.
                Err(error) => return Err(what_it_is(path).unwrap_or(error)),
            }
            // Nothing is made by the name of a link that leads nowhere yet.
            let path = &resolved(path);
            match self.make(path, before) {
                // Somebody else was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound && self.makes_folders => {
                    self.makes_folder(path)?;
                    return self.make(path, before);
                }
                made => return made,
            }
        }
    }

    /// Makes a file where there is none.
    ///
    /// # Errors
    /// Of the system; `AlreadyExists` if there is one.
    pub(super) fn make(&self, path: &Path, before: Option<&Metadata>) -> io::Result<File> {
        let (group, mode) = (
            self.group.map(|group| (None, Some(group))).or(before.map(|found| (Some(found.uid()), Some(found.gid())))),
            self.mode.or(before.filter(|found| found.is_file()).map(|found| found.mode() & 0o777)),
        );
        let file = options().mode(if mode.is_some() { NARROW } else { 0o666 }).create_new(true).open(path)?;
        let mut is_given = true;
        if let Some((owner, group)) = group {
            let made = file.metadata()?;
            let is_so = group == Some(made.gid()) && owner.is_none_or(|owner| owner == made.uid());
            // Not everybody may give a file away. Then its group must not get what was meant for another one.
            is_given = is_so || fchown(&file, owner, group).is_ok() || fchown(&file, None, group).is_ok();
            if !is_given && self.group.is_some() {
                let _ = fs::remove_file(path);
                return Err(io::Error::new(ErrorKind::PermissionDenied, "its group can't be that of --file-group"));
            }
        }
        if let Some(mode) = mode {
            file.set_permissions(Permissions::from_mode(if is_given { mode } else { mode & !0o070 }))?;
        }
        Ok(file)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // Regular files take no notice; anything else would wait for a reader, or become our terminal.
    options.append(true).custom_flags(O_NONBLOCK | O_NOCTTY);
    options
}

fn is_fine(kind: FileType) -> bool {
    kind.is_file() || kind.is_char_device()
}

/// Whether what was opened is what a log file can be.
fn check(file: &File, path: &Path) -> io::Result<()> {
    if is_fine(file.metadata()?.file_type()) {
        Ok(())
    } else {
        Err(what_it_is(path).unwrap_or(ErrorKind::Other.into()))
    }
}

/// A sentence's end that says what is at a path, if that can be no log file.
fn what_it_is(path: &Path) -> Option<io::Error> {
    let kind = fs::metadata(path).ok()?.file_type();
    let name = match kind {
        kind if is_fine(kind) => return None,
        kind if kind.is_dir() => return Some(ErrorKind::IsADirectory.into()),
        kind if kind.is_fifo() => "a fifo has its name",
        kind if kind.is_socket() => "a socket has its name",
        _ => "what has its name is no file",
    };
    Some(io::Error::other(name))
}

/// Why a file can never be rotated, as far as that can be known without trying: something is mounted on it alone, or a
/// directory has the name of a rotated file.
pub(super) fn obstacle(path: &Path, numbered: impl Fn(usize) -> PathBuf, keep: usize) -> Option<Obstacle> {
    if is_mounted_on(path) {
        return Some(Obstacle::Mounted);
    }
    let in_the_way = (1..=keep).map(numbered).find(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()));
    in_the_way.map(Obstacle::NameTaken)
}

/// What keeps a file from being rotated.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// A file system is mounted on it, so that it can't be renamed.
    Mounted,
    /// This directory has the name of a rotated file.
    NameTaken(PathBuf),
}

impl Obstacle {
    /// The end of a sentence that begins with the file.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Mounted => {
                "it is mounted on its own and can't be renamed, which --rotate-size and --rotate-age need: \
                mount its directory, or leave rotating to whoever mounts it"
                    .to_owned()
            }
            Self::NameTaken(path) => {
                format!("{} is a directory, so that it can't be rotated: move that away", shown(path))
            }
        }
    }
}

/// Whether something is mounted on just this file, as containers do with single files.
fn is_mounted_on(path: &Path) -> bool {
    let (Ok(path), Ok(mounts)) = (fs::canonicalize(path), fs::read_to_string("/proc/self/mountinfo")) else {
        return false;
    };
    // The fifth field, in which a space is \040.
    let wanted = path.to_string_lossy().replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011");
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(wanted.replace('\n', "\\012").as_str()))
}

/// Whether files can be made in the directory of this one: else its first rotation would fail, hours later.
///
/// # Errors
/// They can't; the end of a sentence that begins with the file.
pub(super) fn check_folder_of(path: &Path, is_disk_full: fn(&io::Error) -> bool) -> io::Result<()> {
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    let new = PathBuf::from(name);
    match OpenOptions::new().write(true).create_new(true).open(&new) {
        // Those whose sentence says it all.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Err(error),
        // A full disk is for later, and one that a kill has left is as good.
        Err(error) if !is_disk_full(&error) && error.kind() != ErrorKind::AlreadyExists => {
            let folder = shown(folder_of(path));
            let why = format!(
                "no file can be made in {folder}, which --rotate-size, --rotate-age and {{host}} need ({error}); let its user write there"
            );
            Err(io::Error::other(why))
        }
        _ => remove(&new).map(drop),
    }
}
