//! The text of a config file, whatever its name leads to. Invariant: it is read within [`PATIENCE`] and [`MOST_BYTES`], so
//! that a start neither hangs at a pipe to which nobody writes nor fills the memory from a device.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::host::{OpenFor, behind_it};
use crate::linux::{O_NOCTTY, O_NONBLOCK};

/// The default config file with all its comments takes a fiftieth of it.
const MOST_BYTES: u64 = 1024 * 1024;
/// How long a pipe may take, such as that of a shell's `<(command)`.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at a pipe in which nothing is.
const PAUSE: Duration = Duration::from_millis(10);

/// Reads it. The error is what stands in the sentence's brackets.
#[inline(never)] // for size
pub(super) fn read(path: &str) -> Result<String, String> {
    let said = |error: std::io::Error| format!("{error}{}", behind_it(&error, Path::new(path), OpenFor::Reading));
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(path).map_err(said)?;
    let is_fifo = file.metadata().map_err(said)?.file_type().is_fifo();
    let (mut file, mut bytes) = (file.take(MOST_BYTES + 1), Vec::new());
    let began = Instant::now();
    loop {
        match file.read_to_end(&mut bytes) {
            // Without a writer a fifo is at its end, but one may come.
            Ok(_) if is_fifo && bytes.is_empty() => {}
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(said(error)),
        }
        if began.elapsed() >= PATIENCE {
            return Err("nothing more came from it for 2s".to_owned());
        }
        thread::sleep(PAUSE);
    }
    if bytes.len() as u64 > MOST_BYTES {
        return Err("it is larger than 1 MiB".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "it is not in UTF-8".to_owned())
}
