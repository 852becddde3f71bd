//! A guard around one running `lumberjack`, the built binary: it starts it on a port of its own, hears what it says, and
//! kills and reaps it, whatever becomes of the test.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::conditions::{lines, until, until_equal};
pub(crate) use crate::common::patience::{Collected, Guard, signal};
use crate::common::patience::{PATIENCE, Patient, Pipe, connect};

/// Whether the binary is one of another processor: time and memory of the process are those of what runs it, in part.
pub(crate) fn is_emulated() -> bool {
    std::env::var_os("LUMBERJACK_EMULATED").is_some()
}

/// What is tested: the binary that cargo built for these tests, or the one that `LUMBERJACK_UNDER_TEST` names, such as a
/// static one, or a script that runs one of another processor (`dist/test-emulated`).
pub(crate) fn under_test() -> String {
    std::env::var("LUMBERJACK_UNDER_TEST").unwrap_or_else(|_| env!("CARGO_BIN_EXE_lumberjack").to_owned())
}

/// What is to be started, and how.
pub(crate) struct Setup {
    args: Vec<String>,
    before: String,
    redirect: String,
    under: Vec<String>,
    /// Where the binary is, if it is a copy.
    copy: Option<String>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    /// A listening socket that it gets as its descriptor 3.
    inherited: Option<OwnedFd>,
    takes_no_more: bool,
}

impl Setup {
    /// With these flags.
    pub(crate) fn new(args: &[&str]) -> Self {
        let args = args.iter().map(ToString::to_string).collect();
        Self {
            args,
            before: String::new(),
            redirect: String::new(),
            under: Vec::new(),
            copy: None,
            stdin: None,
            stdout: None,
            inherited: None,
            takes_no_more: false,
        }
    }

    /// With nothing that `LUMBERJACK_TEST_ARGS` adds: a test of what `--sandbox require` gives up, directories that others take the
    /// place of.
    pub(crate) fn by_default(mut self) -> Self {
        self.takes_no_more = true;
        self
    }

    /// A shell runs this first, such as `ulimit -n 64;`.
    pub(crate) fn before(mut self, commands: &str) -> Self {
        self.before.push_str(commands);
        self
    }

    /// A shell redirects so, such as `>&-`.
    pub(crate) fn redirect(mut self, redirect: &str) -> Self {
        redirect.clone_into(&mut self.redirect);
        self
    }

    /// This command, such as a tracer, starts it, or the shell that does.
    pub(crate) fn under(mut self, command: Vec<String>) -> Self {
        self.under = command;
        self
    }

    /// As systemd hands a socket over; it then listens there, unless `--listen` is given too.
    pub(crate) fn inherit(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.inherited = Some(socket.into());
        self.before.push_str("export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=lines;");
        self.redirect.push_str(" 3<&0 </dev/null");
        self
    }

    /// A copy of the binary, where somebody else reaches it.
    pub(crate) fn of(mut self, copy: &str) -> Self {
        self.copy = Some(copy.to_owned());
        self
    }

    /// In place of nothing.
    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = Some(stdin.into());
        self
    }

    /// In place of a pipe whose bytes are collected.
    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.stdout = Some(stdout.into());
        self
    }

    /// What `LUMBERJACK_TEST_ARGS` adds to every server that is started here, such as `--sandbox kill`, if the test says nothing of
    /// that option itself.
    fn more_args(&self) -> Vec<String> {
        let more: Vec<String> = std::env::var("LUMBERJACK_TEST_ARGS")
            .map(|more| more.split_whitespace().map(ToOwned::to_owned).collect())
            .unwrap_or_default();
        let is_other_command = self.args.first().is_some_and(|first| !first.starts_with('-'))
            || self.args.iter().any(|arg| arg == "--check");
        let is_said = more.first().is_some_and(|flag| self.args.iter().any(|arg| arg.starts_with(flag)));
        if self.takes_no_more || is_other_command || is_said { Vec::new() } else { more }
    }

    pub(crate) fn spawn(&mut self, stderr: Stdio) -> Guard {
        let (inside, own) = inside_mounts(&self.args);
        let mut words = [inside, self.under.clone()].concat();
        if !self.before.is_empty() || !self.redirect.is_empty() {
            let shell = format!("{} exec \"$0\" \"$@\" {}", self.before, self.redirect);
            words.extend(["sh".to_owned(), "-c".to_owned(), shell]);
        }
        words.push(self.copy.clone().unwrap_or_else(under_test));
        let (program, args) = words.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(args).args(self.more_args());
        let stdin = self.inherited.take().map(Stdio::from).or(self.stdin.take());
        command.args(&own).stdin(stdin.unwrap_or_else(Stdio::null)).stderr(stderr);
        command.stdout(self.stdout.take().unwrap_or_else(Stdio::piped));
        Guard::spawn(&mut command).unwrap()
    }

    /// Runs what is to end by itself.
    pub(crate) fn run(mut self) -> Ended {
        let mut guard = self.spawn(Stdio::piped());
        let stderr = Collected::from(guard.0.stderr.take().unwrap());
        let stdout = guard.0.stdout.take().map(Collected::from);
        let code = guard.wait();
        let stderr = String::from_utf8_lossy(&stderr.finish()).into_owned();
        Ended { code, stderr, output: stdout.map(Collected::finish).unwrap_or_default() }
    }

    /// Starts it on a port that it picks, and waits until it says which. Its log has to be at `info` at least.
    pub(crate) fn start(mut self) -> Receiver {
        if self.inherited.is_none() && !self.args.iter().any(|arg| arg == "--listen") {
            self.args.extend(["--listen".to_owned(), "127.0.0.1:0".to_owned()]);
        }
        let mut guard = self.spawn(Stdio::piped());
        let stderr = Collected::from(guard.0.stderr.take().unwrap());
        let output = guard.0.stdout.take().map(Collected::from);
        let addr = until("its address", || {
            let is_running = guard.is_running();
            let said = stderr.text();
            assert!(is_running, "it ended: {said}");
            // The last thing that it says before its first turn: by then all of its own descriptors are open.
            if !said.contains("Memory budget") {
                return Err(said);
            }
            said.lines().find_map(listens_at).ok_or(said)
        });
        Receiver { guard, addr, stderr, output }
    }
}

/// Whose process's root a text names, as the files in the mounts of `support/mounts.rs` are named.
fn holder_in(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("/proc/")?;
    rest.split_once("/root/")?.0.parse().ok()
}

/// A text with names of such files as they are there.
pub(crate) fn named_inside(text: &str) -> String {
    match holder_in(text) {
        Some(holder) => text.replace(&format!("/proc/{holder}/root"), ""),
        None => text.to_owned(),
    }
}

/// Whose sandbox is up reaches no other process's root: it runs where those mounts are. What starts it so, and its arguments.
fn inside_mounts(args: &[String]) -> (Vec<String>, Vec<String>) {
    let Some(holder) = args.iter().find_map(|arg| holder_in(arg)) else { return (Vec::new(), args.to_vec()) };
    let inside = ["nsenter".to_owned(), format!("--mount=/proc/{holder}/ns/mnt"), "--".to_owned()];
    (inside.into(), args.iter().map(|arg| named_inside(arg)).collect())
}

pub(crate) fn listens_at(line: &str) -> Option<SocketAddr> {
    // Behind the address may be options.
    line.split_once("[tcp] Listening on ")?.1.split(',').next()?.parse().ok()
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    pub(crate) output: Vec<u8>,
}

impl Ended {
    /// The orderly end of P11.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.code, Some(0), "exit code; stderr: {}", self.stderr);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        lines(&self.output)
    }
}

/// A running receiver.
pub(crate) struct Receiver {
    pub(crate) guard: Guard,
    pub(crate) addr: SocketAddr,
    pub(crate) stderr: Collected,
    output: Option<Collected>,
}

impl Receiver {
    pub(crate) fn start(args: &[&str]) -> Self {
        Setup::new(args).start()
    }

    /// One that was started elsewhere, and whose stdout is nobody's.
    pub(crate) fn of(guard: Guard, addr: SocketAddr, stderr: Collected) -> Self {
        Self { guard, addr, stderr, output: None }
    }

    /// With a pipe as stdout that nobody reads yet.
    pub(crate) fn start_unread(args: &[&str]) -> (Self, Pipe) {
        let (reader, writer) = Pipe::new();
        (Setup::new(args).stdout(writer).start(), reader)
    }

    pub(crate) fn client(&self) -> TcpStream {
        connect(self.addr)
    }

    /// A client whose own address is `127.0.0.host`.
    pub(crate) fn client_from(&self, host: u8) -> TcpStream {
        self.client_at([127, 0, 0, host])
    }

    /// A client whose own address is this one of the loopback's.
    pub(crate) fn client_at(&self, ip: [u8; 4]) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
        socket.connect_timeout(&self.addr.into(), PATIENCE).unwrap();
        TcpStream::from(socket).patient()
    }

    pub(crate) fn said(&self) -> String {
        self.stderr.text()
    }

    pub(crate) fn until_said(&self, words: &str) {
        let words = &named_inside(words);
        until(words, || {
            let said = self.said();
            if said.contains(words) { Ok(()) } else { Err(said) }
        });
    }

    /// The lines in the output so far; only with a collected one.
    pub(crate) fn lines(&self) -> Vec<String> {
        lines(&self.output.as_ref().unwrap().bytes())
    }

    pub(crate) fn until_lines(&self, wanted: &[&str]) {
        until_equal("these lines", &wanted.iter().map(ToString::to_string).collect(), || self.lines());
    }

    pub(crate) fn fds(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.guard.pid())).unwrap().count()
    }

    pub(crate) fn until_fds(&self, wanted: usize) {
        until_equal("this many descriptors", &wanted, || self.fds());
    }

    pub(crate) fn rss_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    /// The most that it ever took.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.guard.pid())).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        kib.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Processor time so far, in the kernel's ticks of 10 ms.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.guard.pid())).unwrap();
        // The name may hold spaces; after its bracket, user and system time are the 12th and 13th field.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// How often it went to sleep so far: each time that it woke up is one.
    fn sleeps(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.guard.pid())).unwrap();
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap().trim().parse().unwrap()
    }

    /// Nothing to do costs nothing: no processor time to speak of, and hardly a wake-up.
    pub(crate) fn assert_rests(&self, why: &str) {
        self.assert_hardly_wakes(10, why);
    }

    /// The same while strace watches it, for which each call sleeps twice: a try that starts a thread is some 40 of these
    /// sleeps with musl, a spin thousands.
    pub(crate) fn assert_rests_traced(&self, why: &str) {
        self.assert_hardly_wakes(200, why);
    }

    /// Some second it has to rest: in the first ones it may still do what the test has asked of it, on a machine that is at work.
    fn assert_hardly_wakes(&self, most_sleeps: u64, why: &str) {
        // What comes for the first time, an emulator translates.
        let most = if is_emulated() { 5 } else { 1 };
        until(&format!("a second of rest {why}"), || {
            let (ticks, sleeps) = (self.cpu_ticks(), self.sleeps());
            // The second is the measurement; nothing waits for it.
            std::thread::sleep(Duration::from_secs(1));
            let (ticks, sleeps) = (self.cpu_ticks() - ticks, self.sleeps() - sleeps);
            let said = || format!("{ticks} ticks and {sleeps} wake-ups in a second");
            if ticks <= most && sleeps <= most_sleeps { Ok(()) } else { Err(said()) }
        });
    }

    pub(crate) fn signal(&self, name: &str) {
        self.guard.signal(name);
    }

    /// SIGTERM, and the end.
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }

    pub(crate) fn wait(mut self) -> Ended {
        let code = self.guard.wait();
        let stderr = String::from_utf8_lossy(&self.stderr.finish()).into_owned();
        Ended { code, stderr, output: self.output.map(Collected::finish).unwrap_or_default() }
    }
}
