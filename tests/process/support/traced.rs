//! The binary under strace, which logs its system calls and fails or kills where it is told to.

use std::fs;
use std::process::{Command, Stdio};

use super::conditions::{Dir, until};
use super::receiver::{Collected, Guard, Receiver};
use crate::common::patience::output_of;
use crate::common::skip::{not_here, skip};

/// Whether strace is installed and may trace. If not, the test is noted as skipped.
pub(crate) fn may_trace() -> bool {
    match output_of(Command::new("strace").args(["-D", "-q", "-o", "/dev/null", "true"])) {
        Ok(tried) if tried.status.success() && tried.stderr.is_empty() => true,
        Ok(tried) => {
            not_here(&format!("strace may not trace here: {}", String::from_utf8_lossy(&tried.stderr).trim()));
            false
        }
        Err(error) => {
            skip(&format!("strace: {error}"));
            false
        }
    }
}

/// The strace command for a `Setup` to run under: it logs these calls, and injects faults, such as `writev:error=EIO:when=2`.
/// `-D`: strace is beside the server and not above it, so that signals and exit codes are the server's own.
pub(crate) fn strace(dir: &Dir, calls: &str, injections: &[String]) -> Vec<String> {
    let log = dir.file("strace");
    let mut command =
        ["strace", "-D", "-f", "-ttt", "-q", "-o", &log, "-e", &format!("trace={calls}")].map(str::to_owned);
    let mut command: Vec<String> = std::mem::take(&mut command).into();
    for injection in injections {
        command.extend(["-e".to_owned(), format!("inject={injection}")]);
    }
    command
}

/// Has each sync of a receiver fail, until it is over.
pub(crate) struct FailingSyncs(Guard);

impl FailingSyncs {
    /// None, and a word, where that can't be.
    pub(crate) fn of(receiver: &Receiver) -> Option<Self> {
        let mut strace = Command::new("strace");
        // Each sync is the first one of its thread.
        strace.args(["-f", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1", "-p"]);
        strace.arg(receiver.guard.pid().to_string()).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut strace = Guard::spawn(&mut strace).unwrap();
        let told = Collected::from(strace.0.stderr.take().unwrap());
        until("strace", || if told.bytes().ends_with(b"\n") { Ok(()) } else { Err(told.text()) });
        if !told.text().contains("attached") {
            not_here(&format!("strace may not attach to what runs: {}", told.text()));
            return None;
        }
        Some(Self(strace))
    }

    pub(crate) fn end(mut self) {
        self.0.signal("INT");
        self.0.wait();
    }
}

/// One call in the log.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) thread: u32,
    /// Seconds since 1970.
    pub(crate) at: f64,
    /// The line of the log, from the call's name on.
    pub(crate) text: String,
}

impl Call {
    /// What it returned, if that is a number.
    pub(crate) fn returned(&self) -> Option<i64> {
        self.text.rsplit_once(" = ")?.1.split_whitespace().next()?.parse().ok()
    }
}

/// The calls of this name so far, also those that have not returned.
pub(crate) fn calls(dir: &Dir, name: &str) -> Vec<Call> {
    let log = fs::read_to_string(dir.file("strace")).unwrap_or_default();
    let call = |line: &str| {
        let (thread, rest) = line.split_once(' ')?;
        let (at, text) = rest.trim_start().split_once(' ')?;
        Some(Call { thread: thread.parse().ok()?, at: at.parse().ok()?, text: text.to_owned() })
    };
    log.lines().filter_map(call).filter(|call| call.text.starts_with(&format!("{name}("))).collect()
}

/// Waits until the log is complete: strace is beside the server, and may end a moment later.
pub(crate) fn until_logged(dir: &Dir) {
    until("the end of the trace", || {
        let log = fs::read_to_string(dir.file("strace")).unwrap_or_default();
        let is_over = |line: &str| line.contains("+++ exited") || line.contains("+++ killed");
        if log.lines().next_back().is_some_and(is_over) { Ok(()) } else { Err(log) }
    });
}

/// Runs all `jobs`, several at once, since each of them waits most of its time.
pub(crate) fn several_at_once<J: Send>(jobs: impl Iterator<Item = J> + Send, work: impl Fn(J) + Sync) {
    let jobs = std::sync::Mutex::new(jobs);
    let next = || jobs.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..3 * std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(job) = next() {
                    work(job);
                }
            });
        }
    });
}
