//! How an open file is written without stopping the loop. Invariant: an open file description that other processes share
//! with us is left as it is, but for a pipe that can't be opened anew: that one is non-blocking while we live ([`Borrowed`]).

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal};
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use socket2::SockRef;

use super::scribe::Scribe;
use crate::config::text::as_text;
use crate::linux::{EIO, ENODEV, ENXIO, MSG_DONTWAIT, MSG_NOSIGNAL, O_NOCTTY, O_NONBLOCK};

pub(super) const MSG_DONTWAIT_NOSIGNAL: i32 = MSG_DONTWAIT | MSG_NOSIGNAL;

/// The number of Linux's `/dev/ptmx`: to open it anew makes another terminal.
const NEW_TERMINAL: u64 = 5 << 8 | 2;
/// Devices of this kind never wait: `/dev/null`, `/dev/full`, `/dev/kmsg`.
pub(super) const MEMORY: u64 = 1;
/// Pseudo terminals.
const PSEUDO: RangeInclusive<u64> = 136..=143;

/// How a descriptor is written without stopping the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A file, or a device such as `/dev/null`: the kernel takes its time, and that is fine.
    Plain,
    /// A pipe or a terminal whose description is non-blocking: one that we opened for ourselves, or a [`Borrowed`] one. It
    /// can be watched.
    Polled,
    /// Another device: it does not wait either, but nobody tells when it takes more.
    Device,
    /// A socket: each send says that it will not wait.
    Socket,
    /// By a [`Scribe`], since it can't be opened anew.
    Beside,
}

/// A pipe's description that others share, made non-blocking for as long as this lives: how a pipe of another user has
/// to be written (a container's stdout, say), since it can't be opened anew. Dropping it puts the flag back.
#[derive(Debug)]
pub(crate) struct Borrowed(File);

impl Drop for Borrowed {
    fn drop(&mut self) {
        // Nothing is left to be done about a failure: the process ends.
        let _ = SockRef::from(&self.0).set_nonblocking(false);
    }
}

/// An open file, and how to write it.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) file: File,
    pub(crate) way: Way,
    pub(crate) borrowed: Option<Borrowed>,
    /// With [`Way::Beside`].
    pub(crate) scribe: Option<Scribe>,
}

impl Adopted {
    pub(super) fn new(file: File, way: Way) -> Self {
        Self { file, way, borrowed: None, scribe: None }
    }
}

/// Finds out how an inherited descriptor can be written. A pipe or a terminal is opened anew, so that the description which
/// others share is not changed. Where that is not allowed, a pipe's is changed only while we live, and a terminal is left to
/// a thread. So is any other device, of which nobody knows whether it would be the same one.
pub(crate) fn adopt(file: File) -> io::Result<Adopted> {
    let found = file.metadata()?;
    let kind = found.file_type();
    if kind.is_socket() {
        return Ok(Adopted::new(file, Way::Socket));
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    if kind.is_fifo() {
        return match open(Path::new(&path)) {
            Ok(own) => Ok(Adopted::new(own, Way::Polled)),
            Err(_) => borrow(file),
        };
    }
    let number = found.rdev();
    if !kind.is_char_device() || major(number) == MEMORY {
        return Ok(Adopted::new(file, Way::Plain));
    }
    // One that has hung up does not say that it is a terminal.
    if number != NEW_TERMINAL && (file.is_terminal() || PSEUDO.contains(&major(number))) {
        match open(Path::new(&path)) {
            Ok(own) => return Ok(Adopted::new(own, Way::Polled)),
            // Its description has hung up with it: a write fails at once, and an event tells.
            Err(error) if error.raw_os_error() == Some(EIO) => return Ok(Adopted::new(file, Way::Polled)),
            Err(_) => {}
        }
        // A terminal of another user that is ours all the same (`su`).
        let ours = if controls_us(number) { open(Path::new("/dev/tty")).ok() } else { None };
        if let Some(own) = ours {
            return Ok(Adopted::new(own, Way::Polled));
        }
    }
    let scribe = Some(Scribe::begin(file.try_clone()?)?);
    Ok(Adopted { file, way: Way::Beside, borrowed: None, scribe })
}

/// Opens a character device.
///
/// # Errors
/// Those of `open`.
pub(super) fn open_device(path: &Path, number: u64) -> io::Result<Adopted> {
    let file = open(path)?;
    let way = match file.is_terminal() {
        true => Way::Polled,
        false if major(number) == MEMORY => Way::Plain,
        false => Way::Device,
    };
    Ok(Adopted::new(file, way))
}

/// Opens a description of our own, which does not wait: a serial line would for its carrier.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path)
}

/// The kind of a device.
pub(super) fn major(number: u64) -> u64 {
    number >> 8 & 0xfff
}

/// What Linux tells of this process under this name; nothing where it does not.
#[inline(never)] // one copy, for size
pub(crate) fn told_of_us(name: &str) -> String {
    fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default()
}

/// Whether a terminal of this number is the one that controls our session.
fn controls_us(number: u64) -> bool {
    let stat = told_of_us("stat");
    // Behind the name, in which anything may be: a space, state, parent, group, session and terminal. Bytes, for size.
    let terminal =
        stat.as_bytes().rsplit(|byte| *byte == b')').next().and_then(|rest| rest.split(|byte| *byte == b' ').nth(5));
    terminal == Some(as_text(&number).as_bytes())
}

/// Whether a device said that it is there no more, and will not be by itself.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EIO | ENXIO | ENODEV))
}

pub(super) fn borrow(file: File) -> io::Result<Adopted> {
    let shared = SockRef::from(&file);
    let was_blocking = !shared.nonblocking()?;
    shared.set_nonblocking(true)?;
    let borrowed = if was_blocking { Some(Borrowed(file.try_clone()?)) } else { None };
    Ok(Adopted { borrowed, ..Adopted::new(file, Way::Polled) })
}

/// Sends what a socket takes at once; its own flags stay as they are.
#[cfg(feature = "cli")]
pub(crate) fn send_without_waiting(socket: &File, bytes: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send_with_flags(bytes, MSG_DONTWAIT_NOSIGNAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::OFlag;
    use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
    use std::io::{ErrorKind, Read, Write};
    use std::os::fd::AsFd;

    /// The two sides of a new terminal, as others have them.
    fn terminal() -> (File, File) {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(ptsname_r(&master).unwrap());
        (File::from(master.as_fd().try_clone_to_owned().unwrap()), slave.unwrap())
    }

    #[test]
    fn p8_a_terminal_gets_a_description_of_its_own_that_does_not_wait() {
        let (mut master, slave) = terminal();
        let Adopted { file, way, .. } = adopt(slave.try_clone().unwrap()).unwrap();
        assert_eq!(way, Way::Polled);
        let refused = (0..10_000).find_map(|_| (&file).write(&[b'x'; 100]).err()).unwrap();
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert!(!SockRef::from(&slave).nonblocking().unwrap(), "the shell's is left alone");
        master.read_exact(&mut [0; 100]).unwrap();
    }

    #[test]
    fn p13_a_terminal_that_has_hung_up_says_so_at_once() {
        let (master, slave) = terminal();
        drop(master);
        let Adopted { file, way, .. } = adopt(slave).unwrap();
        assert_eq!(way, Way::Polled);
        assert!(is_gone(&(&file).write(b"lost\n").unwrap_err()));
    }

    #[test]
    fn p8_what_would_be_another_device_if_it_were_opened_anew_is_left_to_a_thread() {
        let (master, slave) = terminal();
        let out = adopt(master).unwrap();
        assert_eq!(out.way, Way::Beside);
        let scribe = out.scribe.unwrap();
        while scribe.write(b"one\n").is_err() {
            std::thread::yield_now();
        }
        let mut line = [0; 4];
        (&slave).read_exact(&mut line).unwrap();
        assert_eq!(&line, b"one\n");
    }
}
