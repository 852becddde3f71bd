//! The binary under strace, which logs its system calls and fails or kills where it is told to.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use super::conditions::{Dir, until};

/// Why a test that needs a tool passes without it, or why it doesn't: in CI every tool is there.
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os("LUMBERJACK_REQUIRE_CLIENTS").is_none(),
        "{why}, and LUMBERJACK_REQUIRE_CLIENTS is set: run .ci/install-clients"
    );
    not_here(why);
}

/// Why a test passes that can't be run everywhere, such as where nothing may be mounted.
pub(crate) fn not_here(why: &str) {
    // Not `eprintln!`: the test runner would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// Whether strace is here and may trace; says so if not.
pub(crate) fn may_trace() -> bool {
    match Command::new("strace").args(["-D", "-q", "-o", "/dev/null", "true"]).stdout(Stdio::null()).output() {
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

/// A trace of these calls, and what is put into it, such as `writev:error=EIO:when=2`: what a `Setup` is to run under.
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

/// One call in the log.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) thread: u32,
    /// Seconds since 1970.
    pub(crate) at: f64,
    /// From its name on.
    pub(crate) text: String,
}

impl Call {
    /// What it returned, if that is a number.
    pub(crate) fn returned(&self) -> Option<i64> {
        self.text.rsplit_once(" = ")?.1.split_whitespace().next()?.parse().ok()
    }
}

/// The calls of this name so far, those too that never returned.
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

/// Works off `jobs` on every core.
pub(crate) fn on_every_core<J: Send>(jobs: Vec<J>, work: impl Fn(J) + Sync) {
    let jobs = std::sync::Mutex::new(jobs.into_iter());
    let next = || jobs.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(job) = next() {
                    work(job);
                }
            });
        }
    });
}
