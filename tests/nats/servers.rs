//! Real `nats-server`s on ports of their own, alone or as a cluster, each with a folder for its streams. Invariant: however
//! a test ends, its servers end before it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use super::jetstream::{JetStream, Stored};
use crate::common::patience::{Guard, LONG_PATIENCE, until, until_within};
use crate::common::skip::skip;
use crate::support::conditions::Dir;

/// A `nats-server` that was found.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
}

impl Program {
    /// The one that `LUMBERJACK_NATS_SERVER` names, or that is in PATH. If there is none, the test is noted as skipped.
    pub(crate) fn newest() -> Option<Self> {
        let found = named("LUMBERJACK_NATS_SERVER").or_else(in_path);
        if found.is_none() {
            skip("nats-server is neither in PATH nor named by LUMBERJACK_NATS_SERVER");
        }
        found
    }

    /// That one, and Debian's, if it is another.
    pub(crate) fn all() -> Vec<Self> {
        let unpacked = std::env::var_os("LUMBERJACK_PEERS").map(|root| Path::new(&root).join("usr/sbin/nats-server"));
        let debian = unpacked.filter(|path| path.is_file()).map(|path| Self { path });
        if debian.is_none() {
            skip("Debian's nats-server is not under LUMBERJACK_PEERS");
        }
        debian.into_iter().chain(Self::newest()).collect()
    }
}

fn named(variable: &str) -> Option<Program> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file()).map(|path| Program { path })
}

fn in_path() -> Option<Program> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push(PathBuf::from("/usr/sbin"));
    let found = places.iter().map(|place| place.join("nats-server")).find(|path| path.is_file());
    found.map(|path| Program { path })
}

/// A port that nobody has, and that the kernel gives to nobody: below its range for clients, so that who is started again
/// finds it free.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 100).unwrap() * 100;
    for _ in 0..10_000 {
        let port = 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port from 20000 to 29999 is free");
}

/// One server.
pub(crate) struct Node {
    pub(crate) port: u16,
    /// What it tells clients to connect to: a port of a middleman, or its own.
    pub(crate) advertised: u16,
    cluster_port: u16,
    running: Option<Guard>,
}

/// How they are set up.
#[derive(Clone)]
pub(crate) struct Setup {
    nodes: usize,
    jetstream: String,
    /// More lines of the configuration.
    more: String,
}

impl Setup {
    pub(crate) fn one() -> Self {
        Self { nodes: 1, jetstream: "max_memory_store: 64MB, max_file_store: 4GB".to_owned(), more: String::new() }
    }

    pub(crate) fn three() -> Self {
        Self { nodes: 3, ..Self::one() }
    }

    /// With these lines in the configuration of each.
    pub(crate) fn with(mut self, more: &str) -> Self {
        self.more = format!("{more}\n");
        self
    }

    /// What its JetStream may take.
    pub(crate) fn with_storage(mut self, jetstream: &str) -> Self {
        jetstream.clone_into(&mut self.jetstream);
        self
    }

    pub(crate) fn without_jetstream(mut self) -> Self {
        self.jetstream.clear();
        self
    }

    /// Starts them, and waits until they take requests.
    pub(crate) fn start(self, program: &Program) -> Servers {
        let mut servers = self.prepare(program);
        servers.start_all();
        servers
    }

    /// Their ports and folders; nothing runs yet.
    pub(crate) fn prepare(self, program: &Program) -> Servers {
        let node = || {
            let port = free_port();
            Node { port, advertised: port, cluster_port: free_port(), running: None }
        };
        let nodes = (0..self.nodes).map(|_| node()).collect();
        Servers { nodes, setup: self, program: program.clone(), dir: Dir::new(), login: String::new() }
    }
}

/// Servers of one test. Fields drop in this order: first the processes end, then their folder.
pub(crate) struct Servers {
    pub(crate) nodes: Vec<Node>,
    setup: Setup,
    program: Program,
    dir: Dir,
    /// What the test's own client says of itself, as fields of its CONNECT.
    login: String,
}

impl Servers {
    pub(crate) fn port(&self) -> u16 {
        self.nodes[0].port
    }

    /// `HOST:PORT` of each, separated by commas, as `--output` takes them.
    pub(crate) fn addresses(&self) -> String {
        let all: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.advertised)).collect();
        all.join(",")
    }

    /// From now on the test's own client logs in so, such as `"user":"a","pass":"b"`.
    pub(crate) fn log_in_with(&mut self, login: &str) {
        self.login = format!(",{login}");
    }

    /// What takes effect at the next start.
    pub(crate) fn reconfigure(&mut self, change: impl FnOnce(Setup) -> Setup) {
        self.setup = change(self.setup.clone());
    }

    fn store(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("store-{node}"))
    }

    fn configuration(&self, at: usize) -> String {
        let node = &self.nodes[at];
        let mut text = format!("server_name: n{at}\nlisten: \"127.0.0.1:{}\"\n", node.port);
        text += &format!("client_advertise: \"127.0.0.1:{}\"\n", node.advertised);
        if !self.setup.jetstream.is_empty() {
            text += &format!("jetstream {{ store_dir: \"{}\", {} }}\n", self.store(at).display(), self.setup.jetstream);
        }
        if self.nodes.len() > 1 {
            let routes: Vec<String> =
                self.nodes.iter().map(|other| format!("\"nats://127.0.0.1:{}\"", other.cluster_port)).collect();
            let (port, routes) = (node.cluster_port, routes.join(", "));
            text += &format!("cluster {{ name: c, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n");
        }
        text + &self.setup.more
    }

    /// Starts one, and does not wait.
    pub(crate) fn spawn(&mut self, at: usize) {
        assert!(self.nodes[at].running.is_none(), "server {at} runs already");
        let config = self.dir.path().join(format!("{at}.conf"));
        fs::write(&config, self.configuration(at)).unwrap();
        let log = File::options().create(true).append(true).open(self.dir.file(&format!("{at}.log"))).unwrap();
        let mut command = Command::new(&self.program.path);
        command.arg("-c").arg(&config).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.nodes[at].running = Some(Guard::spawn(&mut command).unwrap());
    }

    pub(crate) fn start_all(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].running.is_none() {
                self.spawn(at);
            }
        }
        self.until_ready();
    }

    /// What the servers have logged, the last of it, for the message of a failed test.
    pub(crate) fn said(&self) -> String {
        let mut all = String::new();
        for at in 0..self.nodes.len() {
            let log = fs::read_to_string(self.dir.file(&format!("{at}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            all += &format!("server {at}:\n{}\n", lines[lines.len().saturating_sub(15)..].join("\n"));
        }
        all
    }

    /// Waits until each node that runs answers, and streams can be made.
    pub(crate) fn until_ready(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].running.is_none() {
                continue;
            }
            until_within(LONG_PATIENCE, "a server that answers", || {
                let guard = self.nodes[at].running.as_mut().unwrap();
                let is_running = guard.is_running();
                assert!(is_running, "server {at} ended: {}", self.said());
                let mut client = self.try_client_of(at)?;
                if self.setup.jetstream.is_empty() { Ok(()) } else { client.api("INFO", "").map(drop) }
            });
        }
    }

    pub(crate) fn is_running(&self, at: usize) -> bool {
        self.nodes[at].running.is_some()
    }

    /// SIGKILL, and its end.
    pub(crate) fn kill(&mut self, at: usize) {
        // The guard kills and reaps.
        self.nodes[at].running = None;
    }

    pub(crate) fn kill_all(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.kill(at));
    }

    /// SIGTERM, and its end: everything is on the disk.
    pub(crate) fn stop(&mut self, at: usize) {
        let mut guard = self.nodes[at].running.take().unwrap();
        guard.signal("TERM");
        guard.wait_within(LONG_PATIENCE);
    }

    pub(crate) fn restart_all(&mut self) {
        self.kill_all();
        self.start_all();
    }

    /// Lame-duck mode: it takes no new clients, and sends those that it has away.
    pub(crate) fn be_lame(&self, at: usize) {
        self.nodes[at].running.as_ref().unwrap().signal("USR2");
    }

    /// Takes a copy of what a server that is stopped has on its disk.
    pub(crate) fn copy_store(&self, at: usize) -> Copy {
        assert!(!self.is_running(at), "a copy of what is written to is none");
        let to = Dir::new();
        copy_tree(&self.store(at), &to.path().join("store"));
        Copy(to)
    }

    /// Puts a server's disk back to that copy.
    pub(crate) fn put_back(&self, at: usize, copy: &Copy) {
        assert!(!self.is_running(at), "it would write on");
        fs::remove_dir_all(self.store(at)).unwrap();
        copy_tree(&copy.0.path().join("store"), &self.store(at));
    }

    pub(crate) fn try_client_of(&self, at: usize) -> Result<JetStream, String> {
        JetStream::connect(self.nodes[at].port, &self.login)
    }

    /// A client of the first server that has time for it.
    pub(crate) fn client(&self) -> JetStream {
        until_within(LONG_PATIENCE, "a server that takes a client", || self.try_client())
    }

    pub(crate) fn try_client(&self) -> Result<JetStream, String> {
        let running = (0..self.nodes.len()).filter(|at| self.is_running(*at));
        let mut why = "no server runs".to_owned();
        for at in running {
            match self.try_client_of(at) {
                Ok(client) => return Ok(client),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// All messages of a stream, in order. Asked on a new connection until it is answered whole.
    pub(crate) fn all(&self, stream: &str) -> Vec<Stored> {
        until_within(LONG_PATIENCE, "what is in the stream", || {
            let mut client = self.try_client()?;
            let stored = client.fetch(stream, 0)?;
            let info = client.info(stream)?;
            if stored.len() as u64 == info.messages { Ok(stored) } else { Err(format!("{} of {info:?}", stored.len())) }
        })
    }

    /// Which node leads this stream.
    pub(crate) fn leader(&self, stream: &str) -> usize {
        until("a leader", || {
            let info = self.try_client()?.info(stream)?;
            info.leader.strip_prefix('n').and_then(|at| at.parse().ok()).ok_or(info.leader)
        })
    }
}

/// What a server had on its disk.
pub(crate) struct Copy(Dir);

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The time that a lame duck waits before it sends clients away, and the least that it takes for that: `nats-server` takes
/// no less.
pub(crate) const LAME: &str = "lame_duck_grace_period: \"1s\"\nlame_duck_duration: \"30s\"";
