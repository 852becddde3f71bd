//! One run of the built binary under strace, which fails the calls that it is told to: clients come, send and go, the
//! server is stopped, and what was seen is judged.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::conditions::{Dir, reset, until};
use crate::common::patience::{Collected, Guard, PATIENCE, Patient, Pipe, connect_unix, try_connect};

/// `epoll_wait` is not everywhere a system call of its own.
pub(crate) const EPOLL_WAIT: &str = if cfg!(target_arch = "x86_64") { "epoll_wait" } else { "epoll_pwait" };
/// The calls that are logged: those that faults are put into, and those that say where the run stands.
const TRACED: &str = "accept4,recvfrom,writev,write,sendto,sendmsg,epoll_ctl,?epoll_wait,epoll_pwait,openat,read,\
                      shutdown,fcntl,close,epoll_create1,socketpair,socket,setsockopt,bind,listen,getsockname,?poll,ppoll";
/// That moment.
const SERVED: Duration = Duration::from_millis(150);
/// Between the two halves of a line that comes in pieces: what a slow client does, and nothing waits for it.
const SLOW: Duration = Duration::from_millis(5);
/// A run makes about two hundred calls; a loop that spins makes these many in the time of one pause.
const MOST_CALLS: usize = 2_000;

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Output {
    File,
    /// Stdout is a pipe, which somebody reads.
    Pipe,
    /// Stdout is a socket, as the journal's is.
    Socket,
}

impl Output {
    /// What the server is to have as stdout, and what comes out of it.
    fn stdout(self) -> (Stdio, Option<Collected>) {
        match self {
            Self::File => (Stdio::null(), None),
            Self::Pipe => {
                let (reader, writer) = Pipe::new();
                (writer.into(), Some(reader.collect()))
            }
            Self::Socket => {
                let (ours, theirs) = UnixStream::pair().unwrap();
                (OwnedFd::from(theirs).into(), Some(Collected::from(ours)))
            }
        }
    }
}

/// When the server is stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stop {
    /// When all lines are there, or after a moment: some faults delay them until it drains.
    Served,
    /// When so many faults have been met.
    Injected(usize),
}

/// What a fault may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// Nothing: exit 0, and every line is there.
    Nothing,
    /// The connection that it hit, and what it still had to say.
    Connection,
    /// The start: exit 1 or 2 with a sentence. A server that starts all the same loses nothing.
    Start,
    /// Either of the two.
    StartOrConnection,
    /// The run: exit 1 with a sentence.
    Run,
    /// Several faults, again and again: any of the above, and the sentence may be lost with the log.
    Anything,
}

impl Cost {
    fn may_fail(self) -> bool {
        !matches!(self, Self::Nothing | Self::Connection)
    }

    /// How many clients may have lost lines after exit 0.
    fn cut_short(self) -> usize {
        match self {
            Self::Nothing | Self::Start | Self::Run => 0,
            Self::Connection | Self::StartOrConnection => 1,
            Self::Anything => usize::MAX,
        }
    }
}

/// What each client sends, by its name: `a` a block large enough to go out straight from the read buffer, `b` in
/// pieces, `c` without a last newline, `d` ends with a reset, `g` stays until it is told goodbye, `u` is on the Unix
/// socket.
pub(crate) fn lines_of_all() -> BTreeMap<char, Vec<String>> {
    let counts = [('a', 400), ('b', 3), ('c', 3), ('d', 3), ('g', 3), ('u', 3)];
    let line = |name, number| format!("{name} {number} {}.", "x".repeat(40));
    counts.map(|(name, count)| (name, (0..count).map(|number| line(name, number)).collect())).into()
}

fn block_of(name: char) -> Vec<u8> {
    let mut block = lines_of_all()[&name].join("\n").into_bytes();
    if name != 'c' {
        block.push(b'\n');
    }
    block
}

/// What was seen of a run.
pub(crate) struct Seen {
    is_hung: bool,
    code: Option<i32>,
    stderr: String,
    output: Vec<u8>,
    pub(crate) log: String,
    /// Clients that could not connect or send.
    refused: Vec<char>,
}

/// Starts the server with these faults (`CALL:error=E:when=N`), has the clients come and go, and stops it.
pub(crate) fn run(output: Output, faults: &[String]) -> Seen {
    run_with("2s", output, faults, Stop::Served)
}

/// [`run`] with another `--drain-timeout` and another end.
pub(crate) fn run_with(drain_timeout: &str, output: Output, faults: &[String], stop: Stop) -> Seen {
    let dir = Dir::new();
    let (log, file, unix) = (dir.file("strace"), dir.file("out"), dir.file("socket"));
    let mut command = Command::new("strace");
    // `-D`: strace is beside the server and not above it, so that signals and exit codes are the server's own.
    command.args(["-D", "-q", "-o", &log, "-e", &format!("trace={TRACED}")]);
    for fault in faults {
        command.args(["-e", &format!("inject={fault}")]);
    }
    command.args([env!("CARGO_BIN_EXE_lumberjack"), "--listen", "127.0.0.1:0", "--listen", &format!("unix:{unix}")]);
    command.args(["--max-per-host", "0", "--drain-timeout", drain_timeout]);
    command.args(["--output", if output == Output::File { file.as_str() } else { "-" }]);
    let (out, stdout) = output.stdout();
    let mut guard = Guard::spawn(command.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped())).unwrap();
    // It keeps the writing ends of the pipes open, whose other ends are read to their end.
    drop(command);
    let stderr = Collected::from(guard.0.stderr.take().unwrap());

    let mut refused = Vec::new();
    if let Some(door) = until_it_serves(&mut guard, &log) {
        let stays = visit(door, &unix, &mut refused);
        let so_far = || stdout.as_ref().map_or_else(|| fs::read(&file).unwrap_or_default(), Collected::bytes);
        let began = Instant::now();
        let is_due = || match stop {
            Stop::Served => began.elapsed() >= SERVED || cut_short(&so_far()) == Ok(Vec::new()),
            Stop::Injected(wanted) => injected(&fs::read_to_string(&log).unwrap(), "") >= wanted,
        };
        while began.elapsed() < PATIENCE && guard.is_running() && !is_due() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        if guard.is_running() {
            guard.signal("TERM");
        }
        if let Some(client) = stays {
            until_goodbye(client);
        }
    }
    let is_hung = !ends(&mut guard);
    if is_hung {
        guard.0.kill().unwrap();
    }
    let code = guard.wait();
    // strace holds this pipe too: at its end, its log is complete.
    let stderr = String::from_utf8_lossy(&stderr.finish()).into_owned();
    let output = stdout.map_or_else(|| fs::read(&file).unwrap_or_default(), Collected::finish);
    Seen { is_hung, code, stderr, output, log: fs::read_to_string(&log).unwrap_or_default(), refused }
}

/// Whether it ends in time: far beyond its drain of two seconds.
fn ends(guard: &mut Guard) -> bool {
    let began = Instant::now();
    while guard.is_running() && began.elapsed() < PATIENCE {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    !guard.is_running()
}

/// Waits for the first wait of the loop, when signals are taken already, and tells the port, by strace's log: the
/// server's own may be what a fault hit. None if it has ended before.
fn until_it_serves(guard: &mut Guard, log: &str) -> Option<SocketAddr> {
    until("the server's first turn, or its end", || {
        let is_running = guard.is_running();
        let calls = fs::read_to_string(log).unwrap_or_default();
        if !calls.lines().any(|call| call.starts_with(EPOLL_WAIT)) {
            return if is_running { Err(calls) } else { Ok(None) };
        }
        let name = calls.lines().find(|call| call.starts_with("getsockname")).ok_or(calls.as_str())?;
        let port = name.split_once("htons(").and_then(|(_, rest)| rest.split_once(')')).ok_or(name)?.0;
        Ok(Some(SocketAddr::from(([127, 0, 0, 1], port.parse().map_err(|_| name)?))))
    })
}

/// All clients come, and all but `g`, which is given back, have gone.
fn visit(door: SocketAddr, unix: &str, refused: &mut Vec<char>) -> Option<TcpStream> {
    let mut clients: BTreeMap<char, TcpStream> = BTreeMap::new();
    for name in ['a', 'b', 'c', 'd', 'g'] {
        match try_connect(door) {
            Ok(client) => drop(clients.insert(name, client)),
            Err(_) => refused.push(name),
        }
    }
    let block = block_of('b');
    let (head, tail) = block.split_at(block.len() / 2);
    for (name, client) in &mut clients {
        let sent = if *name == 'b' { client.write_all(head) } else { client.write_all(&block_of(*name)) };
        if sent.is_err() {
            refused.push(*name);
        }
    }
    if connect_unix(unix).and_then(|mut client| client.write_all(&block_of('u'))).is_err() {
        refused.push('u');
    }
    std::thread::sleep(SLOW);
    if clients.get_mut(&'b').is_some_and(|client| client.write_all(tail).is_err()) {
        refused.push('b');
    }
    if let Some(client) = clients.remove(&'d') {
        reset(client);
    }
    clients.remove(&'g')
}

/// Waits for the goodbye or any other end, as a fault may have hit the goodbye. If none comes, the server hangs, which
/// is seen when its own end is waited for.
fn until_goodbye(mut client: TcpStream) {
    client.wait_at_most(PATIENCE);
    assert!(!matches!(client.read(&mut [0; 1]), Ok(1..)), "the server sends nothing");
}

/// Which clients' lines are not all there. Each client's must be the first ones of what it sent, once and in order;
/// where they end early, the last may be the start of a line, as pending bytes go out as a line (P2).
fn cut_short(output: &[u8]) -> Result<Vec<char>, String> {
    let text = std::str::from_utf8(output).map_err(|_| format!("not what was sent: {}", output.escape_ascii()))?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(format!("the output ends within a line: {text:?}"));
    }
    let mut received: BTreeMap<char, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        received.entry(line.chars().next().unwrap_or(' ')).or_default().push(line);
    }
    let mut missing = Vec::new();
    for (name, sent) in lines_of_all() {
        let lines = received.remove(&name).unwrap_or_default();
        let whole = lines.iter().zip(&sent).take_while(|(line, sent)| line == sent).count();
        let is_start = lines[whole..].len() == 1 && sent.get(whole).is_some_and(|sent| sent.starts_with(lines[whole]));
        if whole < lines.len() && !is_start {
            return Err(format!("{name}: {:?} instead of {:?}", lines.get(whole), sent.get(whole)));
        }
        if whole < sent.len() {
            missing.push(name);
        }
    }
    if received.is_empty() { Ok(missing) } else { Err(format!("nobody sent this: {received:?}")) }
}

fn injected(log: &str, call: &str) -> usize {
    log.lines().filter(|line| line.starts_with(call) && line.contains("(INJECTED)")).count()
}

impl Seen {
    /// How many faults were put into this call.
    pub(crate) fn injected(&self, call: &str) -> usize {
        injected(&self.log, call)
    }

    /// How many of these calls came before the program: a loader's failure is not ours. Rust's runtime begins by
    /// polling the standard descriptors.
    pub(crate) fn before_the_program(&self, call: &str) -> usize {
        let is_first = |line: &&str| line.starts_with("poll(") || line.starts_with("ppoll(");
        let loader = self.log.lines().take_while(|line| !is_first(line));
        loader.filter(|line| line.starts_with(&format!("{call}("))).count()
    }

    /// Whether this is what such a fault may cost; if not, why not.
    pub(crate) fn judge(&self, cost: Cost) -> Result<(), String> {
        let calls = self.log.lines().count();
        if calls > MOST_CALLS {
            return Err(format!("{calls} calls: it spins"));
        }
        if self.is_hung {
            return Err("it does not end".to_owned());
        }
        if self.stderr.contains("panicked") {
            return Err("it panicked".to_owned());
        }
        let missing = cut_short(&self.output)?;
        let sentences = self.stderr.lines().filter(|line| line.starts_with("lumberjack: ")).count();
        let is_said = |wanted| sentences == wanted || (cost == Cost::Anything && sentences < wanted);
        match self.code {
            Some(0) if !is_said(0) => Err("exit 0 with a complaint".to_owned()),
            Some(0) if cost == Cost::Anything => Ok(()),
            Some(0) if missing.len() > cost.cut_short() => Err(format!("lines of {missing:?} are missing")),
            Some(0) if self.refused.len() > cost.cut_short() => Err(format!("{:?} could not send", self.refused)),
            Some(0) => Ok(()),
            Some(1 | 2) if !cost.may_fail() => Err("it ended for what it has to bear".to_owned()),
            Some(1 | 2) if !is_said(1) => Err(format!("{sentences} sentences instead of one")),
            Some(1 | 2) => Ok(()),
            _ => Err("no exit code of ours".to_owned()),
        }
    }

    /// What is needed to understand a verdict.
    pub(crate) fn evidence(&self) -> String {
        let last: Vec<&str> = self.log.lines().rev().take(80).collect();
        let log: Vec<&str> = last.into_iter().rev().collect();
        let Self { code, stderr, refused, .. } = self;
        format!("exit {code:?}, refused {refused:?}\nstderr:\n{stderr}\nits last calls:\n{}", log.join("\n"))
    }
}
