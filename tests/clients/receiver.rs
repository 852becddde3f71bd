//! The built binary as a child process, and the folder that a test works in. Both are gone when the test ends, however
//! it ends.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::common::patience::{Guard, until_within};

/// Far beyond what anything here takes, on a box with two busy cores and a JVM that starts.
const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until there is an answer; after the deadline it fails and shows what was there instead.
pub(crate) fn eventually<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    until_within(DEADLINE, what, ask)
}

/// How a process has ended, if it has.
pub(crate) fn ended(guard: &mut Guard) -> Result<ExitStatus, String> {
    guard.0.try_wait().unwrap().ok_or_else(|| "still running".to_owned())
}

/// A folder of one test.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `lumberjack` that writes to a file. Fields drop in this order: first the process ends, then its folder.
pub(crate) struct Receiver {
    running: Guard,
    scratch: Scratch,
    port: u16,
}

impl Receiver {
    /// `name` is the test's own: tests of one process must not share a folder.
    pub(crate) fn start(name: &str, options: &[&str]) -> Self {
        Self::start_as(name, "", options)
    }

    /// The same, whose port has these options, with their comma before them.
    pub(crate) fn start_as(name: &str, of_port: &str, options: &[&str]) -> Self {
        // Not in `target/`: syslog-ng puts a Unix socket here, whose path may have 107 bytes.
        let scratch = Scratch(std::env::temp_dir().join(format!("lumberjack-{}-{name}", std::process::id())));
        fs::create_dir_all(&scratch.0).unwrap();
        let running = Self::spawn(&scratch, 0, of_port, options);
        let mut receiver = Self { running, scratch, port: 0 };
        receiver.port = eventually("the port in the log", || receiver.port_in_log());
        receiver
    }

    fn spawn(scratch: &Scratch, port: u16, of_port: &str, options: &[&str]) -> Guard {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lumberjack"));
        command.arg("--listen").arg(format!("127.0.0.1:{port}{of_port}")).arg("--output").arg(scratch.0.join("out"));
        command.args(options).arg("--listen").arg(format!("unix:{}", scratch.0.join("socket").display()));
        let log = File::options().create(true).append(true).open(scratch.0.join("log")).unwrap();
        Guard::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log)).unwrap()
    }

    /// Stops it, and starts it again at the same port.
    #[cfg(feature = "tls")]
    pub(crate) fn restart(&mut self, of_port: &str, options: &[&str]) {
        self.stop();
        let said = self.log().len();
        self.running = Self::spawn(&self.scratch, self.port, of_port, options);
        eventually("the port in the log again", || {
            let log = self.log();
            if log[said..].contains("[tcp] Listening on 127.0.0.1:") { Ok(()) } else { Err(log) }
        });
    }

    fn port_in_log(&mut self) -> Result<u16, String> {
        let log = self.log();
        // A whole line only: the log may be caught in the middle of a write.
        let port = log.split_inclusive('\n').find_map(|line| {
            line.strip_suffix('\n')?.split_once("[tcp] Listening on 127.0.0.1:")?.1.split(',').next()?.parse().ok()
        });
        if let Ok(status) = ended(&mut self.running) {
            panic!("the receiver ended with {status} at once; its log: {log}");
        }
        port.ok_or(log)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// That of its UDP listener.
    pub(crate) fn udp_port(&self) -> u16 {
        eventually("the UDP port in the log", || {
            let log = self.log();
            let place = |line: &str| {
                line.strip_suffix('\n')?
                    .split_once("[udp] Listening on udp:127.0.0.1:")?
                    .1
                    .split(',')
                    .next()?
                    .parse()
                    .ok()
            };
            log.split_inclusive('\n').find_map(place).ok_or(log)
        })
    }

    /// A file in the test's folder.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.scratch.0.join(file)
    }

    /// What is in the output now.
    pub(crate) fn output(&self) -> Vec<u8> {
        fs::read(self.path("out")).unwrap()
    }

    /// Its own log so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap()).into_owned()
    }

    /// SIGTERM, and a clean end: exit code 0.
    pub(crate) fn stop(&mut self) {
        self.running.signal("TERM");
        let status = eventually("the receiver's end", || ended(&mut self.running));
        assert_eq!(status.code(), Some(0), "the receiver ended with {status}; its log: {}", self.log());
    }
}
