//! How a log file is opened: for append, made if it does not exist, never waiting for whoever is at the other side, and
//! never readable for more people than it is to be. Invariant: what [`Opener::open`] gives is a regular file or a
//! character device.

use std::ffi::OsString;
use std::fs::{self, File, FileType, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use super::gzip;
use super::path::{folder_of, resolved, shown, with_ending};
use super::rotate::{Rotated, new_name, remove, remove_left};
use crate::config::output::OutputOptions;
#[cfg(feature = "cli")]
use crate::host::may_write;
use crate::host::{OpenFor, behind_it};
use crate::linux::{O_NOCTTY, O_NONBLOCK};

/// The mode of a file that is made, until it has got that which it is to have.
const NARROW: u32 = 0o600;

/// Tries to open or make a file: more are needed only if somebody makes and removes it meanwhile.
const MOST_TRIES: usize = 8;

/// How new files are made.
#[derive(Debug, Clone)]
pub(super) struct Opener {
    /// `--file-mode`.
    mode: Option<u32>,
    /// `--file-group`, by its number.
    group: Option<u32>,
    /// `--make-dirs`.
    makes_folders: bool,
    /// How many directories at the end of a path are made in any case, since their names are made of what lines say.
    levels: usize,
}

impl Opener {
    pub(super) fn new(options: &OutputOptions) -> Self {
        Self { mode: options.file_mode, group: options.file_group, makes_folders: options.make_dirs, levels: 0 }
    }

    /// So many directories at the end of a path are made in any case.
    pub(super) fn set_levels(&mut self, levels: usize) {
        self.levels = levels;
    }

    /// See [`Self::set_levels`].
    pub(super) fn levels(&self) -> usize {
        self.levels
    }

    /// Other options hold from now on.
    pub(super) fn configure(&mut self, options: &OutputOptions) {
        *self = Self { levels: self.levels, ..Self::new(options) };
    }

    /// One whose files look like what was there before, whatever is said of new ones.
    pub(super) fn alike() -> Self {
        Self { mode: None, group: None, makes_folders: false, levels: 0 }
    }

    /// Makes the directory of a file, if that is asked for and there is none. Whether it was made.
    ///
    /// # Errors
    /// Of the system.
    pub(super) fn makes_folder(&self, path: &Path) -> io::Result<bool> {
        let folder = folder_of(path);
        if folder.exists() {
            return Ok(false);
        }
        let is_made = self.makes_folders || {
            let mut above = folder;
            (0..self.levels).for_each(|_| above = folder_of(above));
            self.levels > 0 && above.exists()
        };
        if is_made { fs::create_dir_all(folder).map(|()| true) } else { Ok(false) }
    }

    /// Opens what is at `path`, or makes it. One that is made looks like `before`, which had its name before, unless it is
    /// said how it is to look.
    ///
    /// # Errors
    /// Of the system; and when what is there is neither a regular file nor a character device.
    pub(super) fn open(&self, path: &Path, before: Option<&Metadata>) -> io::Result<File> {
        self.opened(path, before).map_err(|error| match behind_it(&error, &resolved(path), OpenFor::Writing) {
            "" => error,
            hint => io::Error::new(error.kind(), format!("{error}{hint}")),
        })
    }

    fn opened(&self, path: &Path, before: Option<&Metadata>) -> io::Result<File> {
        // What links lead to is made there: of a link alone Linux says that it is not there, and can't be made either.
        let path = &resolved(path);
        for _ in 0..MOST_TRIES {
            match options().open(path) {
                Ok(file) => return check(&file, path).map(|()| file),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // A fifo that nobody reads, or a socket: Linux says ENXIO.
                Err(error) => return Err(what_it_is(path).unwrap_or(error)),
            }
            match self.make(path, before) {
                // Somebody else was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound && self.makes_folder(path)? => {}
                made => return made,
            }
        }
        Err(io::Error::other("others make and remove it all the time"))
    }

    /// Makes a file where there is none.
    ///
    /// # Errors
    /// Of the system; `AlreadyExists` if there is one.
    pub(super) fn make(&self, path: &Path, before: Option<&Metadata>) -> io::Result<File> {
        let before = before.filter(|found| found.is_file());
        let has_mode = self.mode.is_some() || before.is_some();
        let file = options().mode(if has_mode { NARROW } else { 0o666 }).create_new(true).open(path)?;
        match self.dress(&file, before) {
            Ok(()) => Ok(file),
            Err(error) => {
                let _ = fs::remove_file(path);
                Err(error)
            }
        }
    }

    /// Gives a new file its owner, group and mode, in this order: nobody may do more before than after it.
    ///
    /// # Errors
    /// What was asked for can't be had. What `before` had is kept as far as that is allowed.
    fn dress(&self, file: &File, before: Option<&Metadata>) -> io::Result<()> {
        let mut mode = self.mode.or(before.map(|found| found.mode() & 0o777));
        if let Some(group) = self.group {
            fchown(file, None, Some(group)).map_err(|error| not_had("group", error))?;
        } else if let Some(found) = before {
            // Not everybody may give a file away.
            let (owner, group) = (Some(found.uid()), Some(found.gid()));
            let is_given = fchown(file, owner, group).is_ok() || fchown(file, None, group).is_ok();
            if !is_given && self.mode.is_none() {
                mode = mode.map(without_group);
            }
        }
        let Some(mode) = mode else { return Ok(()) };
        let given = file.set_permissions(Permissions::from_mode(mode));
        if self.mode.is_some() { given.map_err(|error| not_had("mode", error)) } else { Ok(()) }
    }

    /// Whether files can be made in the directory of this one, and look as they are to: else its first rotation would fail,
    /// hours later.
    ///
    /// # Errors
    /// They can't; the end of a sentence that begins with the file.
    pub(super) fn check_folder(&self, path: &Path, is_disk_full: fn(&io::Error) -> bool) -> io::Result<()> {
        let new = new_name(path);
        match self.make(&new, None) {
            // One that a kill has left is as good, and a name that is taken is in the way of rotating alone.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let _ = remove_left(&new);
                Ok(())
            }
            // A full disk is for later.
            Err(error) if is_disk_full(&error) => Ok(()),
            Err(error) if is_locked(&error) => Err(locked(folder_of(path), &error)),
            Err(error) => Err(error),
            Ok(_) => remove(&new).map(drop),
        }
    }
}

/// No file can be made in this directory.
fn locked(folder: &Path, error: &io::Error) -> io::Error {
    let folder = shown(folder);
    io::Error::other(format!(
        "no file can be made in {folder}, which --rotate-size, --rotate-age, --rotate-at, {{date}} and {{host}} need ({error}): let this program's user write there"
    ))
}

fn is_locked(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
}

fn not_had(what: &str, error: io::Error) -> io::Error {
    io::Error::other(format!("the {what} of --file-{what} can't be given to a file ({error})"))
}

/// The mode of a file whose group is another than it was meant for: that one may do what everybody may.
fn without_group(mode: u32) -> u32 {
    mode & (0o707 | (mode & 0o007) << 3)
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
pub(super) fn what_it_is(path: &Path) -> Option<io::Error> {
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

/// Why a file can never be rotated, as far as that can be known without trying.
pub(super) fn obstacle(path: &Path, keep: usize) -> Option<Obstacle> {
    let mounts = mount_points();
    let is_mounted = |path: &Path| fs::canonicalize(path).is_ok_and(|path| mounts.contains(&path));
    if is_mounted(path) {
        return Some(Obstacle::Mounted);
    }
    let files = Rotated::new(path, keep);
    let new = new_name(path);
    let mut names = vec![new.clone()];
    for number in 1..=keep {
        let plain = files.numbered(number);
        names.extend([with_ending(&plain, gzip::ENDING), plain]);
    }
    names.into_iter().find_map(|path| match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => Some(Obstacle::Taken { path, by: "a directory" }),
        Ok(_) if is_mounted(&path) => Some(Obstacle::Taken { path, by: "mounted on its own" }),
        // Only an empty file can be one that a kill has left.
        Ok(found) if path == new && !(found.is_file() && found.len() == 0) => {
            Some(Obstacle::Taken { path, by: "somebody else's" })
        }
        _ => None,
    })
}

/// What keeps a file from being rotated.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// A file system is mounted on it, so that it can't be renamed.
    Mounted,
    /// What has the name of a rotated file can't be moved.
    Taken { path: PathBuf, by: &'static str },
}

impl Obstacle {
    /// The end of a sentence that begins with the file.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Mounted => {
                "it is mounted on its own and can't be renamed, which --rotate-size, --rotate-age and --rotate-at need: \
                mount its directory, or leave rotating to whoever mounts it"
                    .to_owned()
            }
            Self::Taken { path, by } => {
                format!("{} is {by}, so that it can't be rotated: move that away", shown(path))
            }
        }
    }
}

/// Where something is mounted; containers do that with single files, too.
pub(super) fn mount_points() -> Vec<PathBuf> {
    let Ok(mounts) = fs::read("/proc/self/mountinfo") else { return Vec::new() };
    let place =
        |line: &[u8]| Some(PathBuf::from(OsString::from_vec(unescaped(line.split(|byte| *byte == b' ').nth(4)?))));
    mounts.split(|byte| *byte == b'\n').filter_map(place).collect()
}

/// The kernel writes a space, a tab, a newline and a backslash of a path as three octal digits behind a backslash.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// What [`Opener::open`] would say, as far as that can be known without making anything.
///
/// # Errors
/// It could not be opened, or never be rotated.
#[cfg(feature = "cli")]
pub(super) fn foresee(path: &Path, options: &OutputOptions) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        Ok(_) => may_write(path)?,
        // Where it can't be rotated either, that says more.
        Err(error) if error.kind() == ErrorKind::NotFound && !options.rotates() => may_make_at(path, options)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if options.rotates() { foresee_folder(path, options) } else { Ok(()) }
}

/// What [`Opener::check_folder`] would say.
///
/// # Errors
/// Files can't be made in the directory of this one.
#[cfg(feature = "cli")]
pub(super) fn foresee_folder(path: &Path, options: &OutputOptions) -> io::Result<()> {
    let folder = folder_of(path);
    may_make_at(path, options).map_err(|error| if is_locked(&error) { locked(folder, &error) } else { error })
}

/// Whether a file can be made here, in a directory that is made first if that is asked for.
///
/// # Errors
/// It can't.
#[cfg(feature = "cli")]
fn may_make_at(path: &Path, options: &OutputOptions) -> io::Result<()> {
    let mut folder = folder_of(path);
    while options.make_dirs && !folder.exists() && folder.parent().is_some() {
        folder = folder_of(folder);
    }
    may_write(folder)
}
