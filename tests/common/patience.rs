//! How tests wait: for a condition, never for a time, and never without an end. Whatever a test waits for goes through
//! here, or is a stream on which no call waits longer than [`PATIENCE`].

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, PipeReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::watchdog::watch;

/// How long a test waits for a condition, or for the next byte, before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// The same where the wait is part of the test, such as for a client whose lines wait for a full disk.
pub(crate) const LONG_PATIENCE: Duration = Duration::from_secs(100);

/// Linux's `O_NONBLOCK`, which `std` has no name for.
const O_NONBLOCK: i32 = 0o4000;

/// A moment between two questions, in which the processor is free for whoever is waited for. No test relies on its length.
fn rest() {
    std::thread::park_timeout(Duration::from_millis(1));
}

/// Calls `ask` until it returns `Ok`. If that does not happen in time, the test fails and shows the last `Err`.
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    until_within(PATIENCE, what, ask)
}

/// [`until`] with another time to wait.
pub(crate) fn until_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    watch();
    let deadline = Instant::now() + patience;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) => assert!(Instant::now() < deadline, "never came: {what}; the last answer: {last}"),
        }
        rest();
    }
}

/// Waits for the end of a thread, and returns its result. If it does not end in time, the test fails.
pub(crate) fn join<T>(what: &str, thread: JoinHandle<T>) -> T {
    until_within(LONG_PATIENCE, what, || if thread.is_finished() { Ok(()) } else { Err("it runs".to_owned()) });
    match thread.join() {
        Ok(answer) => answer,
        // As the thread has said it.
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Tells threads to stop when it is dropped, also when the test fails: else a scope would wait for its threads for ever.
pub(crate) struct Enough<'a>(pub(crate) &'a AtomicBool);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A stream on which no call waits for ever.
pub(crate) trait Patient {
    /// Each call waits for so long at most.
    fn wait_at_most(&self, patience: Duration);

    /// Each call waits for [`PATIENCE`] at most.
    fn patient(self) -> Self
    where
        Self: Sized,
    {
        self.wait_at_most(PATIENCE);
        self
    }
}

impl Patient for TcpStream {
    fn wait_at_most(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
        self.set_write_timeout(Some(patience)).unwrap();
    }
}

impl Patient for UnixStream {
    fn wait_at_most(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
        self.set_write_timeout(Some(patience)).unwrap();
    }
}

/// A patient client.
pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    try_connect(addr).unwrap()
}

pub(crate) fn try_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&addr, PATIENCE).map(Patient::patient)
}

/// A patient client of a Unix socket.
pub(crate) fn connect_unix(path: impl AsRef<Path>) -> io::Result<UnixStream> {
    UnixStream::connect(path).map(Patient::patient)
}

/// Accepts the next client of a listener of the test, as a patient stream.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let (conn, _) = until("a connection", || listener.accept().map_err(|error| error.to_string()));
    conn.set_nonblocking(false).unwrap();
    conn.patient()
}

/// [`accept`] at a Unix socket.
pub(crate) fn accept_unix(listener: &UnixListener) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    let (conn, _) = until("a connection", || listener.accept().map_err(|error| error.to_string()));
    conn.set_nonblocking(false).unwrap();
    conn.patient()
}

/// The reading end of a pipe, on which no call waits for ever.
pub(crate) struct Pipe {
    /// The descriptor that is read.
    file: File,
    /// The end as the pipe was made with it, on which reads wait. A fifo has none.
    waits: Option<PipeReader>,
}

impl Pipe {
    /// A new pipe, and its writing end, on which writes wait as usual.
    pub(crate) fn new() -> (Self, io::PipeWriter) {
        let (reader, writer) = io::pipe().unwrap();
        // Opened anew, since who shares a description shares whether it waits.
        let pipe = Self::open(format!("/proc/self/fd/{}", reader.as_raw_fd()));
        (Self { waits: Some(reader), ..pipe }, writer)
    }

    /// Opens a fifo, even if nobody has it open for writing yet. Until somebody has, reads find its end.
    pub(crate) fn open(path: impl AsRef<Path>) -> Self {
        let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path).unwrap();
        Self { file, waits: None }
    }

    /// Collects in a thread what comes, however late.
    pub(crate) fn collect(self) -> Collected {
        Collected::from(self.waits.expect("a pipe of ours"))
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return other,
            }
            if begun.elapsed() > PATIENCE {
                return Err(ErrorKind::TimedOut.into());
            }
            rest();
        }
    }
}

/// Everything that comes out of a pipe or a socket, collected by a thread.
pub(crate) struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Collected {
    pub(crate) fn from(mut source: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut chunk = vec![0; 64 * 1024];
            loop {
                match source.read(&mut chunk) {
                    // A terminal whose other side is gone says EIO: an end like any other.
                    Ok(0) => return,
                    Err(error) if error.kind() != ErrorKind::Interrupted => return,
                    Err(_) => {}
                    Ok(count) => shared.lock().unwrap().extend_from_slice(&chunk[..count]),
                }
            }
        });
        Self { bytes, thread }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Waits for the pipe's end.
    pub(crate) fn finish(self) -> Vec<u8> {
        until("the end of the pipe", || if self.thread.is_finished() { Ok(()) } else { Err(shown(&self.bytes())) });
        self.thread.join().unwrap();
        self.bytes.lock().unwrap().clone()
    }
}

/// The beginning of some bytes as text, for the message of a failed test.
pub(crate) fn shown(bytes: &[u8]) -> String {
    format!("{} bytes, beginning {}", bytes.len(), bytes[..bytes.len().min(200)].escape_ascii())
}

/// A child process that is killed and reaped when the test ends, however it ends.
pub(crate) struct Guard(pub(crate) std::process::Child);

impl Guard {
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        watch();
        command.spawn().map(Self)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end: the exit code, or none if a signal killed it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.wait_within(PATIENCE).code()
    }

    pub(crate) fn wait_within(&mut self, patience: Duration) -> std::process::ExitStatus {
        until_within(patience, "the end of the process", || self.0.try_wait().unwrap().ok_or("it runs".to_owned()))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail if it was reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -s {name} {pid}: {status}");
}

/// `Command::output` of a command that should end by itself soon. If it does not, it is killed.
pub(crate) fn output_of(command: &mut Command) -> io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut guard = Guard::spawn(command)?;
    let stdout = Collected::from(guard.0.stdout.take().unwrap());
    let stderr = Collected::from(guard.0.stderr.take().unwrap());
    let status = guard.wait_within(PATIENCE);
    Ok(Output { status, stdout: stdout.finish(), stderr: stderr.finish() })
}
