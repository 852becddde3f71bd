//! What `lumberjack read` and `lumberjack verify` are asked for, of a spool or a stream, and where they write. Invariant: what
//! makes no sense together is a sentence before anything is read.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use super::cat::Since;
#[cfg(feature = "nats")]
use crate::config::text::as_text;
use crate::config::text::whole;
use crate::sink::Format;
#[cfg(feature = "nats")]
use crate::{
    host,
    nats::subject::{misread_stream, token},
    nats::{Settings, Url},
    sink::credentials_of,
};

/// How often a spool is looked at for more.
pub(super) const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// What the arguments of `lumberjack read` or `verify` ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spooled {
    /// Where the spool is.
    pub directory: PathBuf,
    /// Whether lines are shown; else segments.
    pub reads: bool,
    /// The number of the first line.
    pub first: Option<u64>,
    /// Lines that are older are left out.
    pub since: Option<Since>,
    /// So are those from then on.
    pub until: Option<Since>,
    /// So are those of others: an address, or `None` for clients of Unix sockets.
    pub host: Option<Option<IpAddr>>,
    /// So are lines without this in them.
    pub wanted: Vec<u8>,
    /// How a line is shown; `None`: with its number.
    pub format: Option<Format>,
    /// Whether to wait for more.
    pub follows: bool,
    /// What is read in place of a directory.
    #[cfg(feature = "nats")]
    pub stream: Streamed,
}

impl Spooled {
    /// The options that have a value which is text.
    pub(super) const OPTIONS: &[&str] = &[
        "first",
        "since",
        "until",
        "host",
        "format",
        #[cfg(feature = "nats")]
        "nats-stream",
        #[cfg(feature = "nats")]
        "nats-creds",
        #[cfg(feature = "nats")]
        "box",
    ];

    /// Reads the value of one of these.
    ///
    /// # Errors
    /// What to give instead, the end of a sentence.
    pub(super) fn set(&mut self, option: &str, text: &str) -> Result<(), &'static str> {
        match option {
            "first" => self.first = Some(whole(text).ok_or("give the number of a line")?),
            "since" => self.since = Some(Since::parse(text)?),
            "until" => self.until = Some(Since::parse(text)?),
            "format" => self.format = Some(text.parse().map_err(|_| "give raw, peer or json")?),
            #[cfg(feature = "nats")]
            "nats-stream" | "nats-creds" | "box" => self.stream.set(option, text)?,
            _ if text == "unix" => self.host = Some(None),
            _ => {
                let address = text.parse::<IpAddr>().map_err(|_| "give an address without its port, or unix")?;
                self.host = Some(Some(address.to_canonical()));
            }
        }
        Ok(())
    }
}

/// What the arguments of `lumberjack read` say of a stream.
#[cfg(feature = "nats")]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Streamed {
    /// Where it is; `None`: a directory is read.
    pub url: Option<Url>,
    /// Its name.
    pub name: String,
    /// The file that says who we are.
    pub creds: Option<PathBuf>,
    /// What stands for `{box}`; empty: this box's name.
    pub box_name: String,
}

#[cfg(feature = "nats")]
impl Streamed {
    /// Reads the value of an option.
    ///
    /// # Errors
    /// What to give instead, the end of a sentence.
    pub(super) fn set(&mut self, option: &str, text: &str) -> Result<(), &'static str> {
        match option {
            "nats-stream" => {
                text.clone_into(&mut self.name);
                return misread_stream(text).map_or(Ok(()), Err);
            }
            "nats-creds" => self.creds = Some(text.into()),
            _ => text.clone_into(&mut self.box_name),
        }
        Ok(())
    }

    /// What a connection is told.
    pub(super) fn settings(&self, url: &Url) -> Result<Settings, End> {
        let credentials = match &self.creds {
            None => url.credentials.clone(),
            Some(path) => credentials_of(path).map_err(|error| End::Sentence(as_text(&error)))?,
        };
        let name = if self.box_name.is_empty() { host::name() } else { self.box_name.clone() };
        Ok(Settings {
            stream: self.name.clone(),
            subject: url.subject.of(&name),
            client: format!("lumberjack read {}", token(&name)),
            credentials,
            ..Settings::default()
        })
    }
}

#[cfg(feature = "nats")]
impl Spooled {
    /// Looks whether it is a stream that is to be read, and whether all is said that this needs.
    ///
    /// # Errors
    /// What is missing, or too much, in a sentence.
    pub(super) fn find_stream(&mut self) -> Result<(), String> {
        // Whoever has a directory of that name gives it as `./nats:…`.
        let text = self.directory.to_string_lossy();
        let place = text.rsplit_once('@').map_or(&*text, |(_, place)| place).escape_debug().to_string();
        let stream = &mut self.stream;
        let Some(url) = Url::parse_pattern(&text) else {
            let is_for_stream = !stream.name.is_empty() || stream.creds.is_some() || !stream.box_name.is_empty();
            let sentence = "--nats-stream, --nats-creds and --box are for --from nats://HOST/SUBJECT";
            return if is_for_stream { Err(sentence.to_owned()) } else { Ok(()) };
        };
        let url = url.map_err(|error| format!("--from {place}: {error}"))?;
        let sentence = if !self.reads {
            "verify looks at directories: a stream has no segments"
        } else if stream.name.is_empty() {
            "give the name of the stream with --nats-stream"
        } else if stream.creds.is_some() && !url.credentials.is_none() {
            "it says who we are, and --nats-creds does: leave one out"
        } else if self.first.is_some() || self.format.is_some() {
            "a stream has its lines as they were formatted, without numbers: leave out --first and --format"
        } else {
            stream.url = Some(url);
            return Ok(());
        };
        Err(format!("{url}: {sentence}"))
    }
}

/// Why there is no more.
#[derive(Debug)]
pub(super) enum End {
    /// Nobody reads it.
    Enough,
    /// Something is in the way.
    Sentence(String),
}

impl End {
    pub(super) fn of_stdout(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Enough,
            _ => Self::Sentence(format!("cannot write to stdout: {error}; redirect it elsewhere")),
        }
    }
}

pub(super) fn stdout() -> Result<BufWriter<File>, End> {
    let file = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    file.map(BufWriter::new).map_err(|error| End::of_stdout(&error))
}
