//! What is known of a store before anything is connected to.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use super::push::Push;
use super::queue::{Feed, LINE_BYTES, ORIGIN_BYTES, Queue};
use crate::config::output::OutputOptions;
use crate::config::push::PushOptions;
use crate::config::text::{escaped, is};
use crate::config::units::DisplaySize;
use crate::dial::Trust;
use crate::dial::caller::Caller;
use crate::host;
use crate::http::files::read_auth;
use crate::http::{Client, Rules, Secret, header_fault};
use crate::push::{Address, ITEM_BYTES, Kind, Labels, Settings, Store};
use crate::sink::place::{Kept, Opened, OutputAddr, OutputAddrError, Place};
use crate::sink::source::Source;
use crate::sink::target::{Books, Target};

/// The longest until an answer begins. Trap: what was sent may still be in the kernel, 256 KiB of it, which takes a minute over
/// a slow link ([`SLOWEST`]); and a store may have to merge, or to wait for its disks.
const HEAD: Duration = Duration::from_secs(120);
/// The slowest link that a batch gets over, in bytes a second: one that took no batch whole would never take any.
const SLOWEST: u64 = 4096;
/// What an answer may be besides what it says of each line.
const ANSWER_BYTES: usize = 64 * 1024;

/// Reads `loki+http://…` and the like.
pub(in crate::sink) fn parse(text: &str) -> Option<Result<OutputAddr, OutputAddrError>> {
    Some(Address::parse(text)?.map(OutputAddr::new).map_err(OutputAddrError::new))
}

impl Place for Address {
    fn open(&self, options: &OutputOptions, books: &mut Books) -> io::Result<Opened> {
        let (mut id, mut salt) = ([0; 16], [0; 16]);
        let mut random = File::open("/dev/urandom")?;
        random.read_exact(&mut id)?;
        random.read_exact(&mut salt)?;
        // The numbers of another run are others.
        let feed = Feed::Memory(Queue::with_origins(id, salt));
        Ok(Opened { target: self.target(options, feed, id, books)?, identity: None })
    }

    fn name(&self) -> String {
        Self::name(self)
    }

    fn reads_spool(&self, _: &OutputOptions) -> Option<String> {
        // Of the query, which may hold a password and names the table, a sum: FNV-1a.
        let (_, query) = self.parts();
        let sum = query
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let name = Self::name(self);
        Some(if query.is_empty() { name } else { format!("{name}?{sum:016x}") })
    }

    fn open_reader(
        &self,
        options: &OutputOptions,
        source: Box<dyn Source>,
        books: &mut Books,
    ) -> io::Result<Box<dyn Target>> {
        let id = source.box_id();
        self.target(options, Feed::Spool(source), id, books)
    }

    fn descriptors(&self, _: &OutputOptions) -> usize {
        2
    }

    fn kept(&self, options: &OutputOptions) -> Kept {
        let batch = options.push.batch;
        // The lines that are collected, what is remembered of each, the body of a request, and the answer.
        let bytes =
            3 * batch + batch / ITEM_BYTES * ITEM_BYTES + answer_bytes(self.kind, batch) + options.spool.max_line;
        let is_in_memory = options.spool.dir.is_none();
        let per_line = if is_in_memory { LINE_BYTES + ORIGIN_BYTES } else { 0 };
        Kept { bytes, holds_a_line: is_in_memory, per_line }
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn is_push(&self) -> bool {
        true
    }

    fn needs_json(&self) -> bool {
        self.kind.needs_json()
    }

    fn is_secured(&self) -> bool {
        self.url.is_secured
    }

    fn has_secret(&self) -> bool {
        self.url.has_secret()
    }

    #[cfg(feature = "cli")]
    fn foresee(&self, options: &OutputOptions) -> io::Result<Option<String>> {
        // What a start warns of is no reason not to start.
        let mut books = Books::default();
        self.trust(options, &mut books)?;
        self.secret(&options.push, &mut books).map(|_| None)
    }

    fn check(&self, options: &OutputOptions) -> Result<(), String> {
        let push = &options.push;
        if !PushOptions::is_batch(push.batch) {
            return Err(format!("--push-batch is {}: give a size from 1KiB to 64MiB", DisplaySize(push.batch)));
        }
        for header in &push.headers {
            // A colon further on may be one in the value.
            let name = header.name.split_whitespace().next().unwrap_or_default().escape_debug();
            if let Some(why) = header_fault(&header.name, &header.value) {
                return Err(format!("--push-header {name}: {why}"));
            }
            let coding = header.value.as_str();
            if is(&header.name, "content-encoding") {
                if !["gzip", "identity"].contains(&coding) {
                    return Err(format!("--push-header {name}: bodies are gzip or identity, which is as they are"));
                }
                if coding == "gzip" && !cfg!(feature = "compress") {
                    return Err(
                        "--push-header Content-Encoding: gzip is not in this build: it is the feature `compress`"
                            .to_owned(),
                    );
                }
            }
        }
        if self.url.has_secret() && push.http_auth.is_some() {
            return Err(format!("--output {} says who we are, and --http-auth may: leave one out", Self::name(self)));
        }
        Ok(())
    }
}

/// The longest answer.
fn answer_bytes(kind: Kind, batch: usize) -> usize {
    // Of Elasticsearch, a few words of each line, or more if somebody between us has lost the filter.
    ANSWER_BYTES + if kind == Kind::Elastic { 2 * batch } else { 0 }
}

impl Address {
    fn target(
        &self,
        options: &OutputOptions,
        feed: Feed,
        id: [u8; 16],
        books: &mut Books,
    ) -> io::Result<Box<dyn Target>> {
        let push = &options.push;
        let secret = self.secret(push, books)?;
        let rules = Rules {
            head: HEAD,
            whole: HEAD + Duration::from_secs(push.batch as u64 / SLOWEST),
            most_body: answer_bytes(self.kind, push.batch),
            asks_for_room: false,
        };
        let given = &options.nats.box_name;
        let labels = Labels {
            box_name: if given.is_empty() { host::name() } else { given.clone() },
            id: format!("{:032x}", u128::from_be_bytes(id)),
        };
        let headers: Vec<(String, String)> =
            push.headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect();
        let store = Store::new(self, labels, headers, push.seq);
        let is_noted = matches!(feed, Feed::Spool(_));
        let settings = Settings { most: push.batch, every: push.every, is_noted };
        let client = Client::new(self.url.clone(), secret, rules);
        let client = if self.kind.needs_body() { client } else { client.by_heads() };
        let trust = self.trust(options, books)?;
        let caller = Caller::new(client, trust.guard(&self.url.host)?);
        Ok(Box::new(Push::new(Self::name(self), (store, settings), caller, trust, feed)))
    }

    /// Whom its connections trust.
    fn trust(&self, options: &OutputOptions, books: &mut Books) -> io::Result<Trust> {
        let mut trust = Trust::open(self.url.is_secured.then_some(&options.tls))?;
        books.report_all(&Self::name(self), trust.take_unsaid());
        Ok(trust)
    }

    /// Who we are to this store, if a file says so.
    ///
    /// # Errors
    /// That file can't be read, as the end of a sentence.
    fn secret(&self, push: &PushOptions, books: &mut Books) -> io::Result<Option<Secret>> {
        let is_shown = push.headers.iter().any(|header| is(&header.name, "authorization"));
        if self.url.has_secret() || is_shown {
            books.report(format_args!(
                "{}: its password can be seen by who sees the command line (ps) or the config file: put it into a file of its own, and give --http-auth FILE",
                Self::name(self)
            ));
        }
        let Some(path) = &push.http_auth else { return Ok(None) };
        let auth = read_auth(path)
            .map_err(|why| io::Error::other(format!("--http-auth {}: {why}", escaped(&path.to_string_lossy()))))?;
        if let Some(warning) = auth.warning(path) {
            books.report(format_args!("{warning}"));
        }
        Ok(auth.logins.of(&self.url))
    }
}
