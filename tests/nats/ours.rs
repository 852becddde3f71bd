//! One box: the program with a spool and a `nats:` output, which is stopped, killed and started again on the same port.

use std::path::PathBuf;

use super::jetstream::Stored;
use super::judge::{Found, assert_everything};
use super::senders::{Sent, send};
use super::servers::{Servers, free_port};
use crate::common::patience::{LONG_PATIENCE, until, until_within};
use crate::support::conditions::Dir;
use crate::support::receiver::{Ended, Receiver, Setup};

/// The stream of nearly all tests.
pub(crate) const STREAM: &str = "LOGS";
/// The client that sends the marker of [`Ours::until_delivered`].
const MARKER: usize = 9_999;

pub(crate) struct Ours {
    receiver: Option<Receiver>,
    pub(crate) port: u16,
    pub(crate) name: String,
    output: String,
    spool: PathBuf,
    more: Vec<String>,
    /// What earlier runs have said.
    said: String,
    markers: usize,
    /// What [`Ours::send`] sent.
    pub(crate) sent: Vec<Sent>,
    dir: Dir,
}

impl Ours {
    /// A box with this name and these further options, whose server is at these addresses.
    pub(crate) fn prepare(name: &str, addresses: &str, more: &[&str]) -> Self {
        let dir = Dir::new();
        Self {
            receiver: None,
            port: free_port(),
            name: name.to_owned(),
            output: format!("nats://{addresses}/logs.{{box}}"),
            spool: dir.path().join("spool"),
            more: more.iter().map(ToString::to_string).collect(),
            said: String::new(),
            markers: 0,
            sent: Vec::new(),
            dir,
        }
    }

    /// Started, with the servers as they are.
    pub(crate) fn start(servers: &Servers, more: &[&str]) -> Self {
        let mut ours = Self::prepare("box", &servers.addresses(), more);
        ours.begin();
        ours
    }

    /// Its output begins so, and not with `nats`.
    #[cfg(feature = "tls")]
    pub(crate) fn over(mut self, scheme: &str) -> Self {
        self.output = self.output.replacen("nats", scheme, 1);
        self
    }

    /// Its spool is there.
    pub(crate) fn with_spool(mut self, spool: PathBuf) -> Self {
        self.spool = spool;
        self
    }

    pub(crate) fn spool(&self) -> &std::path::Path {
        &self.spool
    }

    /// A file of its own.
    pub(crate) fn file(&self, name: &str) -> String {
        self.dir.file(name)
    }

    /// Further options from the next start on.
    pub(crate) fn options(&mut self, more: &[&str]) {
        self.more = more.iter().map(ToString::to_string).collect();
    }

    fn arguments(&self) -> Vec<String> {
        let spool = self.spool.display().to_string();
        let listen = format!("127.0.0.1:{}", self.port);
        let fixed = ["--listen", &listen, "--receipt", "--spool", &spool, "--box", &self.name];
        let output = ["--output", &self.output, "--nats-stream", STREAM];
        let mut all: Vec<String> = fixed.iter().chain(&output).map(ToString::to_string).collect();
        all.extend(self.more.clone());
        if !all.iter().any(|option| option == "--sync") {
            all.extend(["--sync", "100ms"].map(str::to_owned));
        }
        all
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup::new(&self.arguments().iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(crate) fn begin(&mut self) {
        assert!(self.receiver.is_none(), "it runs already");
        self.receiver = Some(self.setup().start());
    }

    /// The same under what this setup adds.
    pub(crate) fn begin_as(&mut self, setup: Setup) {
        self.receiver = Some(setup.start());
    }

    pub(crate) fn receiver(&self) -> &Receiver {
        self.receiver.as_ref().expect("it runs")
    }

    fn end(&mut self, signal: &str) -> Ended {
        let receiver = self.receiver.take().expect("it runs");
        receiver.signal(signal);
        let ended = receiver.wait();
        self.said += &ended.stderr;
        ended
    }

    /// SIGTERM and an orderly end.
    pub(crate) fn stop(&mut self) -> Ended {
        let ended = self.end("TERM");
        ended.assert_clean();
        ended
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.end("KILL");
    }

    /// What all runs have said.
    pub(crate) fn said(&self) -> String {
        let now = self.receiver.as_ref().map(Receiver::said).unwrap_or_default();
        format!("{}{now}", self.said)
    }

    /// Waits until it has said all of these words in one line, in whatever case.
    pub(crate) fn until_said(&self, words: &[&str]) {
        until_within(LONG_PATIENCE, &format!("{words:?} in the log"), || {
            let said = self.said();
            let has_all = |line: &str| words.iter().all(|word| line.contains(&word.to_lowercase()));
            if said.to_lowercase().lines().any(has_all) { Ok(()) } else { Err(said) }
        });
    }

    /// A client sends so many lines, and has to get the receipt.
    pub(crate) fn send(&mut self, client: usize, lines: u64) {
        let connection = self.sent.iter().filter(|sent| sent.client == client).count();
        let sent = send(self.port, client, connection, lines);
        assert_eq!(sent.receipted, Some(lines), "no receipt: {}", self.said());
        self.sent.push(sent);
    }

    /// Waits until everything that was taken up to now is in the stream: a line that is sent last is there. Returns what
    /// is there.
    pub(crate) fn until_delivered(&mut self, servers: &Servers) -> Vec<Stored> {
        let marker = until("the marker's receipt", || {
            let marker = send(self.port, MARKER, self.markers, 1);
            self.markers += 1;
            self.sent.push(marker);
            if marker.receipted.is_some() { Ok(marker) } else { Err(self.said()) }
        });
        let line = super::senders::line_of(MARKER, marker.connection, 0);
        let subject = format!("logs.{}", self.name);
        until_within(LONG_PATIENCE, "the last line in the stream", || {
            let mut client = servers.try_client()?;
            let why = |why: &str| format!("{why}\n{}\n{}", self.said(), servers.said());
            // The last message first: a stream is read whole only once it is complete.
            let last = client.info(STREAM)?.last;
            let newest = client.fetch(STREAM, last.saturating_sub(20)).map_err(|error| why(&error))?;
            let is_there = |stored: &Stored| {
                let text = String::from_utf8_lossy(&stored.message.payload);
                stored.message.subject == subject && text.split('\n').any(|found| found == line)
            };
            if newest.iter().any(is_there) { Ok(()) } else { Err(why("it is not there")) }
        });
        servers.all(STREAM)
    }

    /// [`Ours::until_delivered`], and all that [`Ours::send`] and these clients sent is in the stream once, in order.
    pub(crate) fn assert_delivered(&mut self, servers: &Servers, others: &[Sent]) -> Found {
        let stored = self.until_delivered(servers);
        let all: Vec<Sent> = self.sent.iter().chain(others).copied().collect();
        assert_everything(&all, &stored, &format!("{}\n{}", self.said(), servers.said()))
    }
}
