//! What is known of a stream before anything is connected to.

use std::fmt;
use std::fs;
use std::io;

use super::nats::Publisher;
use super::nats_login::Login;
use super::queue::{Feed, LINE_BYTES, Queue};
use crate::config::output::OutputOptions;
use crate::config::text::{as_text, escaped};
use crate::config::tls_out::TlsOptions;
use crate::dial::Trust;
use crate::host;
use crate::nats::servers::Servers;
use crate::nats::subject::{BOX, misread_stream, token};
use crate::nats::{BATCH_BYTES, Settings, Tls, Url};
use crate::sink::place::{Kept, Opened, OutputAddr, OutputAddrError, Place};
use crate::sink::source::Source;
use crate::sink::target::{Books, Target};

/// A stream, and what is said of TLS behind it.
struct NatsPlace {
    url: Url,
    tls: TlsOptions,
}

/// Reads `nats://…`, and `nats+tls://…[,ca=FILE…]`.
pub(in crate::sink) fn parse(text: &str) -> Option<Result<OutputAddr, OutputAddrError>> {
    let (place, tls) = match text.split(':').next() {
        Some("nats+tls" | "nats+tls-first") if cfg!(feature = "tls") => match TlsOptions::behind(text) {
            Ok(split) => split,
            Err(why) => return Some(Err(OutputAddrError::new(why))),
        },
        _ => (text, TlsOptions::default()),
    };
    let place = Url::parse(place)?.map(|url| OutputAddr::new(NatsPlace { url, tls }));
    Some(place.map_err(OutputAddrError::new))
}

impl fmt::Display for NatsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.url, self.tls)
    }
}

impl NatsPlace {
    fn publisher(
        &self,
        options: &OutputOptions,
        (settings, login): (Settings, Login),
        feed: Feed,
        books: &mut Books,
    ) -> io::Result<Box<dyn Target>> {
        let name = self.name_with(options);
        let tls = self.tls.or(&options.tls);
        let mut trust = Trust::open((self.url.tls != Tls::No).then_some(&tls))?;
        books.report_all(&name, trust.take_unsaid());
        Ok(Box::new(Publisher::new(name, settings, (Servers::new(&self.url.servers), trust, login), feed)))
    }
}

/// What stands for `{box}`.
fn box_name(options: &OutputOptions) -> String {
    if options.nats.box_name.is_empty() { host::name() } else { options.nats.box_name.clone() }
}

impl Place for NatsPlace {
    fn open(&self, options: &OutputOptions, books: &mut Books) -> io::Result<Opened> {
        let settings = settings(&self.url, options, books)?;
        let salt = {
            let mut salt = [0; 16];
            io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut salt)?;
            salt
        };
        let feed = Feed::Memory(Queue::new(id_of(&settings.0.subject), salt));
        Ok(Opened { target: self.publisher(options, settings, feed, books)?, identity: None })
    }

    fn name(&self) -> String {
        escaped(&as_text(&self.url))
    }

    fn name_with(&self, options: &OutputOptions) -> String {
        self.name().replace(BOX, &token(&box_name(options)))
    }

    fn reads_spool(&self, options: &OutputOptions) -> Option<String> {
        // In order, by hand: `sort` of strings would be 3 KB for a few.
        let mut servers: Vec<String> = Vec::new();
        for server in &self.url.servers {
            let server = as_text(&server);
            let at = servers.iter().position(|other| *other > server).unwrap_or(servers.len());
            servers.insert(at, server);
        }
        let subject = self.url.subject.of(&box_name(options));
        Some(format!("nats:{}/{subject}@{}", options.nats.stream, servers.join(",")))
    }

    fn open_reader(
        &self,
        options: &OutputOptions,
        source: Box<dyn Source>,
        books: &mut Books,
    ) -> io::Result<Box<dyn Target>> {
        let settings = settings(&self.url, options, books)?;
        self.publisher(options, settings, Feed::Spool(source), books)
    }

    fn descriptors(&self, _: &OutputOptions) -> usize {
        2
    }

    fn kept(&self, options: &OutputOptions) -> Kept {
        if options.spool.dir.is_some() {
            // The batch in flight, the next one's buffer, and the record that is read.
            return Kept { bytes: 3 * BATCH_BYTES.max(options.spool.max_line), ..Kept::default() };
        }
        Kept { bytes: 2 * BATCH_BYTES, holds_a_line: true, per_line: LINE_BYTES }
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn is_secured(&self) -> bool {
        self.url.tls != Tls::No
    }

    #[cfg(all(feature = "sandbox", feature = "tls"))]
    fn tls(&self) -> Option<&TlsOptions> {
        Some(&self.tls)
    }

    fn has_secret(&self) -> bool {
        !self.url.credentials.is_none()
    }

    #[cfg(feature = "cli")]
    fn foresee(&self, options: &OutputOptions) -> io::Result<Option<String>> {
        // What a start warns of is no reason not to start.
        let mut books = Books::default();
        let settings = settings(&self.url, options, &mut books)?;
        let feed = Feed::Memory(Queue::new([0; 16], [0; 16]));
        self.publisher(options, settings, feed, &mut books).map(|_| None)
    }

    fn check(&self, options: &OutputOptions) -> Result<(), String> {
        let name = self.name();
        if options.nats.stream.is_empty() {
            return Err(format!("--output {name} needs the name of its stream: give it with --nats-stream"));
        }
        if let Some(why) = misread_stream(&options.nats.stream) {
            return Err(format!("--nats-stream {}: {why}", options.nats.stream.escape_debug()));
        }
        if !self.url.credentials.is_none() && options.nats.creds.is_some() {
            return Err(format!("--output {name} says who we are, and --nats-creds does: leave one out"));
        }
        Ok(())
    }
}

/// What a session is told.
///
/// # Errors
/// The file of credentials can't be read, as the end of a sentence.
fn settings(url: &Url, options: &OutputOptions, books: &mut Books) -> io::Result<(Settings, Login)> {
    let (login, credentials) = Login::open(options.nats.creds.as_deref())?;
    if !url.credentials.is_none() {
        books.report(format_args!(
            "{}: its password can be seen by who sees the command line (ps) or the config file: put it into a file of its own, and give --nats-creds FILE",
            escaped(&as_text(&url))
        ));
    }
    let name = box_name(options);
    let settings = Settings {
        stream: options.nats.stream.clone(),
        subject: url.subject.of(&name),
        create: options.nats.create.then(|| url.subject.to_make(&name)),
        box_id: [0; 16],
        client: format!("lumberjack {}", token(&name)),
        credentials: credentials.unwrap_or_else(|| url.credentials.clone()),
        tls: url.tls,
        position: None,
    };
    Ok((settings, login))
}

/// Whose lines these are, where no spool knows: the same after each start of the same box, and another's elsewhere. FNV-1a,
/// whose 128 bits are as good as any here.
fn id_of(subject: &str) -> [u8; 16] {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;
    let machine = fs::read("/etc/machine-id").unwrap_or_default();
    let bytes = machine.trim_ascii().iter().chain(subject.as_bytes());
    bytes.fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME)).to_be_bytes()
}
