//! Helpers: conditions to wait for, comparisons, and what clients do (write until held back, reset, wait for a goodbye).

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::SockRef;

pub(crate) use crate::common::patience::until;
use crate::common::patience::{PATIENCE, Patient};
use crate::common::skip::not_here;
use crate::common::watchdog::watch;

/// A write that makes no progress for this long is one that the receiver holds back.
const HELD_BACK: Duration = Duration::from_millis(300);

/// [`until`] two values are equal.
pub(crate) fn until_equal<T: PartialEq + std::fmt::Debug>(what: &str, wanted: &T, mut ask: impl FnMut() -> T) {
    until(what, || {
        let answer = ask();
        if answer == *wanted { Ok(()) } else { Err(format!("{answer:?} instead of {wanted:?}")) }
    });
}

/// What a file holds; nothing while there is none, as for a moment of each rotation.
pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Writes numbered lines until the receiver stops reading and the kernel takes no more. Returns all bytes that the kernel
/// took. Afterwards the client's write time-out is [`PATIENCE`] again.
pub(crate) fn write_until_held_back(client: &TcpStream) -> Vec<u8> {
    client.set_write_timeout(Some(HELD_BACK)).unwrap();
    let mut sent = Vec::new();
    // A bound, so that a receiver that never holds back ends the test: far beyond the kernel's buffers.
    for block_number in 0..2_000 {
        let mut block = Vec::new();
        for number in block_number * 1_000..(block_number + 1) * 1_000 {
            writeln!(block, "{number:090}").unwrap();
        }
        let mut at = 0;
        while at < block.len() {
            match (&*client).write(&block[at..]) {
                Ok(count) => at += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    sent.extend_from_slice(&block[..at]);
                    client.wait_at_most(PATIENCE);
                    return sent;
                }
                // A call with a time-out is not begun anew when the process was stopped and goes on (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("after {} bytes: {error}", sent.len() + at),
            }
        }
        sent.extend_from_slice(&block);
    }
    panic!("{} bytes went out, and nothing held the client back", sent.len());
}

/// Waits for the server's FIN, and fails if the server has sent anything before it.
pub(crate) fn read_goodbye(client: &TcpStream) {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!((&*client).read(&mut [0; 1]).unwrap(), 0, "a FIN, and nothing before it");
}

/// Waits for a FIN or an RST: a client that is turned away gets an RST if it has sent something.
pub(crate) fn read_close(client: &TcpStream) {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    match (&*client).read(&mut [0; 1]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?} instead of a close"),
    }
}

/// Closes with an RST instead of a FIN.
pub(crate) fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

pub(crate) fn lines(output: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(output).lines().map(str::to_owned).collect()
}

/// Compares bytes, and shows them around the first difference.
pub(crate) fn assert_same(output: &[u8], wanted: &[u8]) {
    let Some(at) = (0..output.len().max(wanted.len())).find(|at| output.get(*at) != wanted.get(*at)) else { return };
    let around = |bytes: &[u8]| {
        let (begin, end) = (at.saturating_sub(40).min(bytes.len()), (at + 120).min(bytes.len()));
        bytes[begin..end].escape_ascii().to_string()
    };
    let (len, wanted_len) = (output.len(), wanted.len());
    panic!("at byte {at} of {len} ({wanted_len} wanted): {:?} instead of {:?}", around(output), around(wanted));
}

/// The lines `NAME 0`, `NAME 1` and so on are each there once, in order.
pub(crate) fn assert_numbered(lines: &[String], name: &str, count: usize) {
    let prefix = format!("{name} ");
    let numbers: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(&prefix)).collect();
    for at in 0..count.max(numbers.len()) {
        let wanted = if at < count { Some(at.to_string()) } else { None };
        assert_eq!(numbers.get(at), wanted.as_deref().as_ref(), "line {at} of {name}, {} of {count}", numbers.len());
    }
}

/// Whether this process, and so a receiver that it starts, may have this many files open. If not, the test is noted as
/// skipped.
pub(crate) fn may_open(files: u64) -> bool {
    let allowed = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(0);
    if allowed < files {
        not_here(&format!("{files} open files are needed, {allowed} are allowed here"));
    }
    allowed >= files
}

/// A directory that is removed at the end of its test.
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        watch();
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lumberjack-process-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
