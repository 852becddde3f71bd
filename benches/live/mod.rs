//! What the benches over real sockets share: a receiver in a process of its own, be it `lumberjack` or a naive loop,
//! and what it costs. The naive loop is the bench itself, started with [`NAIVE`].

mod naive;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The argument that makes a bench the naive loop.
const NAIVE: &str = "naive-loop";
/// How long a client waits for the kernel before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Lumberjack,
    Naive,
}

impl Kind {
    pub(crate) const BOTH: [Self; 2] = [Self::Lumberjack, Self::Naive];
}

/// What a receiver has cost so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// Seconds of processor time, user and kernel.
    pub(crate) total: f64,
    /// The user's part of it, in steps of 10 ms.
    pub(crate) user: f64,
}

/// A running receiver, killed and reaped when it is dropped.
pub(crate) struct Receiver {
    child: Child,
    addr: SocketAddr,
}

/// If this process was started to be the naive loop, it is that, and ends here. Else: the flags that `lumberjack` is to
/// get besides ours, and this process may open as many descriptors as it can.
pub(crate) fn start() -> Vec<String> {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    if args.first().is_some_and(|arg| arg == NAIVE) {
        naive::run().unwrap();
        std::process::exit(0);
    }
    args
}

impl Receiver {
    /// Starts one on a port of its own, with its lines going to `stdout`.
    pub(crate) fn start(kind: Kind, flags: &[String], stdout: Stdio) -> Self {
        let mut command = match kind {
            Kind::Lumberjack => {
                let built = env!("CARGO_BIN_EXE_lumberjack").to_owned();
                let mut command = Command::new(std::env::var("BENCH_BINARY").unwrap_or(built));
                command.args(["--listen", "127.0.0.1:0", "--max-connections", "2000", "--max-per-host", "0"]);
                command.args(flags);
                command
            }
            Kind::Naive => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg(NAIVE);
                command
            }
        };
        let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let addr = loop {
            let before = said.len();
            assert!(stderr.read_line(&mut said).unwrap() > 0, "the receiver did not start: {said}");
            if let Some((_, place)) = said[before..].trim_end().split_once("Listening on ") {
                // Options of the listener follow.
                break place.split(',').next().unwrap().parse().unwrap();
            }
        };
        // What it says later is nothing to us, but it must not wait for us to read it.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { child, addr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap()
    }

    pub(crate) fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.addr).unwrap();
        client.set_nodelay(true).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        client
    }

    pub(crate) fn cpu(&self) -> Cpu {
        let file = |name| fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).unwrap_or_default();
        let stat = file("stat");
        // The name may hold spaces; after its bracket, user and system time are the 12th and 13th field, in ticks of
        // 10 ms.
        let mut fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11);
        let mut ticks = || fields.next().unwrap().parse::<f64>().unwrap() / 100.0;
        let (user, kernel) = (ticks(), ticks());
        // In nanoseconds, but not in every kernel.
        let exact = file("schedstat").split_whitespace().next().and_then(|field| field.parse::<f64>().ok());
        Cpu { total: exact.map_or(user + kernel, |ns| ns / 1e9), user }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Both fail if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Half-closes, and waits until the receiver has read everything and closed too.
pub(crate) fn finish(client: &mut TcpStream) {
    client.shutdown(Shutdown::Write).unwrap();
    let count = client.read(&mut [0; 16]).unwrap();
    assert_eq!(count, 0, "a receiver does not answer");
}
