//! Why a server could not start, and why it ended early. Each is one sentence: what, where, what to do (P13).

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use crate::config::limits::ConfigError;
use crate::config::listen::ListenAddr;
use crate::config::units::DisplayLines;
use crate::linux::is_descriptor_shortage;
use crate::sink::{Loss, LossCause};

/// Why [`Server::bind`](crate::Server::bind) failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// The configuration makes no sense.
    Config(ConfigError),
    /// Another program listens there.
    InUse {
        /// Where.
        at: ListenAddr,
    },
    /// Not allowed.
    Denied {
        /// Where.
        at: ListenAddr,
    },
    /// The box has no such address.
    NotAvailable {
        /// Where.
        at: ListenAddr,
    },
    /// The file of a Unix socket can't be made, as its directory does not exist.
    NoDirectory {
        /// Where.
        at: ListenAddr,
    },
    /// There is a file of another kind in a Unix socket's place.
    NotASocket {
        /// Where.
        at: ListenAddr,
    },
    /// Anything else that `bind` or `listen` said.
    Io {
        /// Where.
        at: ListenAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The status endpoint could not be opened, for one of the other reasons.
    Status(Box<Self>),
    /// What is to be polled or told makes no sense, or has no room in the memory budget. A whole sentence.
    Usage(String),
    /// A file or directory can't be used.
    File {
        /// The option that names it.
        flag: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What the system said, or what is wrong with it.
        source: io::Error,
    },
    /// A file for TLS can't be used.
    #[cfg(feature = "tls")]
    Tls {
        /// Where clients were to speak it.
        at: ListenAddr,
        /// A sentence about the file.
        why: String,
    },
    /// A file of certificates or keys can't be used. A whole sentence.
    Certificates(String),
    /// The poll loop can't be made.
    Poll(io::Error),
    /// The sink's descriptor can't be polled.
    Sink(io::Error),
}

impl BindError {
    pub(super) fn new(at: &ListenAddr, source: io::Error) -> Self {
        let at = at.clone();
        match source.kind() {
            ErrorKind::AddrInUse => Self::InUse { at },
            ErrorKind::PermissionDenied => Self::Denied { at },
            ErrorKind::AddrNotAvailable => Self::NotAvailable { at },
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NoDirectory { at },
            ErrorKind::AlreadyExists => Self::NotASocket { at },
            _ => Self::Io { at, source },
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Usage(sentence) | Self::Certificates(sentence) => f.write_str(sentence),
            Self::File { flag, path, source } => {
                write!(f, "cannot use {flag} {}: {source}", path.display().to_string().escape_debug())
            }
            #[cfg(feature = "tls")]
            Self::Tls { at, why } => write!(f, "cannot listen on {at} with TLS: {why}"),
            Self::Status(error) => f.write_str(&error.to_string().replace("--listen", "--status")),
            Self::InUse { at: at @ ListenAddr::Unix(_) } => {
                write!(
                    f,
                    "cannot listen on {at}: another program listens there; stop it, or choose another path with --listen"
                )
            }
            Self::InUse { at } => {
                write!(
                    f,
                    "cannot listen on {at}: another program has that port; stop it, or choose another with --listen"
                )
            }
            Self::Denied { at: at @ ListenAddr::Unix(_) } => {
                write!(
                    f,
                    "cannot listen on {at}: no permission to make a file there; choose another path with --listen"
                )
            }
            Self::Denied { at } => {
                write!(
                    f,
                    "cannot listen on {at}: no permission; ports below 1024 need CAP_NET_BIND_SERVICE, choose a higher one with --listen"
                )
            }
            Self::NotAvailable { at } => {
                write!(
                    f,
                    "cannot listen on {at}: this machine has no such address; choose one of its own, or 0.0.0.0 for all, with --listen"
                )
            }
            Self::NoDirectory { at } => {
                write!(
                    f,
                    "cannot listen on {at}: its directory does not exist; make it, or choose another path with --listen"
                )
            }
            Self::NotASocket { at } => {
                write!(
                    f,
                    "cannot listen on {at}: there is a file that is no socket; remove it, or choose another path with --listen"
                )
            }
            Self::Io { at, source } if is_descriptor_shortage(source) => {
                write!(f, "cannot listen on {at}: {source}; raise the limit on open files")
            }
            Self::Io { at, source } => {
                write!(f, "cannot listen on {at}: {source}; choose another place with --listen")
            }
            Self::Poll(source) => write!(f, "cannot start the poll loop: {source}; raise the limit on open files"),
            Self::Sink(source) => write!(f, "cannot watch the output: {source}; choose another with --output"),
        }
    }
}

impl std::error::Error for BindError {}

impl From<ConfigError> for BindError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Why a running server ended other than by an orderly stop.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// Nobody takes the output any more.
    SinkGone {
        /// What the output was.
        sink: String,
        /// What the system said.
        source: Option<io::Error>,
        /// Bytes that had been taken and could not be written.
        lost_bytes: usize,
        /// Lines that it did not get besides: it was passed over, or gone before they came.
        missed_lines: u64,
    },
    /// At shutdown, the output took nothing for `--drain-timeout`.
    SinkGivenUp {
        /// What the output is.
        sink: String,
        /// Bytes that had been taken and could not be written.
        lost_bytes: usize,
        /// Lines that it did not get besides: it was passed over, or gone before they came.
        missed_lines: u64,
        /// Connections from which more might have come.
        connections: usize,
    },
    /// An output was passed over (`--on-stall drop`), and took no lines again before the end.
    SinkMissed {
        /// Which.
        sink: String,
        /// Lines that it did not get.
        lines: u64,
    },
    /// Everything is written, but the last sync failed.
    NotSynced {
        /// Which output.
        sink: String,
        /// What the system said.
        source: io::Error,
    },
    /// All that was read is written, but at the end clients waited that could not be taken in.
    NotTakenIn {
        /// What the system said.
        source: io::Error,
    },
    /// The poll loop failed.
    Poll(io::Error),
}

impl RunError {
    /// What one of several outputs lost; `missed_lines`: what it did not get besides.
    pub(super) fn of(loss: Loss, missed_lines: u64) -> Self {
        let Loss { output: sink, cause } = loss;
        match cause {
            LossCause::Gone { error, bytes } => {
                Self::SinkGone { sink, source: Some(error), lost_bytes: bytes, missed_lines }
            }
            LossCause::Stuck { bytes } => Self::SinkGivenUp { sink, lost_bytes: bytes, missed_lines, connections: 0 },
            LossCause::Missed { lines } => Self::SinkMissed { sink, lines },
            LossCause::NotSynced(source) => Self::NotSynced { sink, source },
        }
    }
}

/// What is lost, as a part of a sentence behind `sign`. Nothing, if it is nothing.
#[inline(never)] // for size
fn lost(sign: &str, lost_bytes: usize, missed_lines: u64, connections: usize) -> String {
    let lost = match (lost_bytes, missed_lines) {
        (0, 0) => String::new(),
        (0, _) => format!("{missed_lines} line(s) that came since are lost"),
        (_, 0) => format!("{lost_bytes} bytes of lines are lost"),
        _ => format!("{lost_bytes} bytes of lines are lost, and {missed_lines} line(s) that came besides"),
    };
    match (lost.is_empty(), connections) {
        (true, 0) => lost,
        (false, 0) => [sign, &lost].concat(),
        (true, _) => format!("{sign}what {connections} connection(s) still had to say is lost"),
        (false, _) => format!("{sign}{lost}, and what {connections} connection(s) still had to say"),
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SinkGone { sink, source, lost_bytes, missed_lines } => {
                write!(f, "cannot write to {sink} any more: its reader is gone")?;
                if let Some(source) = source {
                    write!(f, " ({source})")?;
                }
                write!(f, "{}; start the reader again, then this", lost(", ", *lost_bytes, *missed_lines, 0))
            }
            Self::SinkGivenUp { sink, lost_bytes, missed_lines, connections } => write!(
                f,
                "gave up on {sink}, which took nothing for --drain-timeout{}; find out why it stands still",
                lost(": ", *lost_bytes, *missed_lines, *connections)
            ),
            Self::SinkMissed { sink, lines } => write!(
                f,
                "{sink} took nothing to the end and did not get {} (--on-stall drop); everything else is written; find out why it stands still",
                DisplayLines(*lines)
            ),
            Self::NotSynced { sink, source } => write!(
                f,
                "everything is written, but {sink} could not be synced at the end ({source}): its newest lines may not be on the disk; look after the disk"
            ),
            Self::NotTakenIn { source } => write!(
                f,
                "clients that waited could not be taken in: {source}; what they sent is lost, all else is written; raise the limit on open files"
            ),
            Self::Poll(source) => write!(f, "the poll loop failed: {source}; please report this"),
        }
    }
}

impl std::error::Error for RunError {}
