//! Why lines do not get into a stream, each in one sentence that says what to do. Invariant: nothing of a server's words that a
//! terminal would obey is in one, and no secret.

use core::fmt;

use super::{BoxId, Hex, Lines};

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// What answers is no server of NATS.
    NotNats,
    /// It wants TLS.
    Tls,
    /// It offers none, which was asked for.
    NoTls,
    /// It has said more than who it is before TLS, which anybody may have put there.
    TooMuch,
    /// It says who it is again and again, or never comes to an end of that.
    Endless,
    /// Its messages have no headers.
    NoHeaders {
        /// Its version.
        version: String,
    },
    /// It does not let us in.
    Unauthorized {
        /// Whether we said who we are.
        has_credentials: bool,
        /// What it said.
        said: String,
    },
    /// It lets us in, and not do this.
    Permission {
        /// What it said.
        said: String,
        /// The stream.
        stream: String,
        /// The subject.
        subject: String,
    },
    /// It has too many clients.
    Full {
        /// What it said.
        said: String,
    },
    /// Something else that it said before it ended the connection, or did not.
    Said(String),
    /// It does not answer.
    Unanswered,
    /// Its answers can't be read, or contradict each other.
    Puzzling,
    /// It is about to end.
    Leaving,
    /// Nobody has JetStream for us.
    NoJetStream,
    /// There is no such stream.
    NoStream(String),
    /// It could not be made.
    NotMade {
        /// The stream.
        stream: String,
        /// What the server said.
        said: String,
    },
    /// The stream is not one that keeps lines.
    Unfit {
        /// The stream.
        stream: String,
        /// Why.
        why: Unfit,
    },
    /// The stream does not take the subject.
    NotTaken {
        /// The stream.
        stream: String,
        /// Our subject.
        subject: String,
        /// Those that it takes.
        takes: String,
    },
    /// Nobody takes the subject.
    NoResponders {
        /// Our subject.
        subject: String,
        /// The stream that should.
        stream: String,
    },
    /// Another stream answers.
    OtherStream {
        /// The one that does.
        stream: String,
        /// The one that should.
        ours: String,
    },
    /// The server refused.
    Refused {
        /// Its number for it.
        code: u64,
        /// What it said.
        said: String,
    },
    /// Even little is too much for the server or the stream.
    TooSmall {
        /// What fits, headers and all, in bytes.
        most: usize,
    },
    /// Somebody else publishes on our subject, or an old leader answers.
    Contested(String),
    /// Another box publishes on our subject.
    OtherBox {
        /// Our subject.
        subject: String,
        /// Whose lines are there.
        other: BoxId,
        /// Ours.
        ours: BoxId,
    },
    /// A copy of our spool publishes on our subject.
    Copied {
        /// Our subject.
        subject: String,
        /// What is there.
        lines: Lines,
    },
    /// Another program publishes on our subject.
    Stranger(String),
}

/// Why a stream does not keep lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It removes them once somebody has read them.
    Retention(String),
    /// It does not say what it has.
    NoAck,
    /// It keeps them under other subjects.
    Transform,
    /// It keeps only the last few.
    PerSubject,
    /// It takes no more.
    Sealed,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNats => f.write_str("what answers is no NATS server: give the port of its clients (4222)"),
            Self::Tls => f.write_str(if cfg!(feature = "tls") {
                "the server wants TLS: give nats+tls:// in place of nats://"
            } else {
                "the server wants TLS, which is not in this build: take the one with it (lumberjack-tls) and give nats+tls://, or give it a listener without, or go through a tunnel"
            }),
            Self::NoTls => f.write_str(
                "the server offers no TLS, or somebody between us took that away: give it a certificate, or nats:// on a network of your own",
            ),
            Self::TooMuch => f.write_str(
                "there was more than INFO before TLS, which no server sends: somebody between us may have put it there",
            ),
            Self::Endless => {
                f.write_str("the server tells of itself (INFO) without end: is it a NATS server, and is its cluster at rest?")
            }
            Self::NoHeaders { version } => write!(f, "nats-server {version} has no headers: 2.10 or newer is needed"),
            Self::Unauthorized { has_credentials: true, said } => {
                write!(f, "the server does not take these credentials ({said}): see --nats-creds")
            }
            Self::Unauthorized { has_credentials: false, said } => {
                write!(f, "the server wants to know who we are ({said}): give --nats-creds FILE")
            }
            Self::Permission { said, stream, subject } => write!(
                f,
                "the server says: {said}; this user has to publish to {subject}, $JS.API.STREAM.INFO.{stream} and \
                 $JS.API.STREAM.MSG.GET.{stream} (with --nats-create to $JS.API.STREAM.CREATE.{stream} too), and subscribe to _INBOX.>"
            ),
            Self::Full { said } => {
                write!(f, "the server has no room for one more client ({said}): raise its max_connections")
            }
            Self::Said(said) => write!(f, "the server says: {said}"),
            Self::Unanswered => f.write_str("the server does not answer"),
            Self::Puzzling => {
                f.write_str("the server's answers make no sense: is it NATS JetStream, and all of it up?")
            }
            Self::Contested(_) | Self::OtherBox { .. } | Self::Copied { .. } | Self::Stranger(_) => self.put_others(f),
            _ => self.put_stream(f),
        }
    }
}

impl Trouble {
    /// About the stream.
    fn put_stream(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaving => f.write_str("the server is about to end (lame-duck mode), so another one is looked for"),
            Self::NoJetStream => f.write_str(
                "there is no JetStream for this user: start the server with -js, and enable it for the account",
            ),
            Self::NoStream(stream) => write!(
                f,
                "there is no stream {stream}: make it (nats stream add {stream}), or let --nats-create do that"
            ),
            Self::NotMade { stream, said } => write!(f, "stream {stream} can't be made: {said}"),
            Self::Unfit { stream, why } => write!(f, "stream {stream} {why}"),
            Self::NotTaken { stream, subject, takes } => {
                write!(
                    f,
                    "stream {stream} does not take {subject}, only {takes}: add it to the stream's subjects, or give another"
                )
            }
            Self::NoResponders { subject, stream } => {
                write!(f, "nobody takes {subject}: has stream {stream} lost its subjects, or its leader?")
            }
            Self::OtherStream { stream, ours } => {
                write!(f, "stream {stream} answers in place of {ours}: two take the same subject")
            }
            Self::Refused { code, said } => write!(f, "the server refuses: {said} ({code})"),
            Self::TooSmall { most } => {
                write!(
                    f,
                    "messages of {most} bytes are all that fits, headers included: raise max_payload, or the stream's max_msg_size"
                )
            }
            _ => Ok(()),
        }
    }

    /// About who else publishes on our subject.
    fn put_others(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contested(subject) => {
                write!(
                    f,
                    "{subject} moves while we look: somebody else publishes there, or an old leader answers; waiting"
                )
            }
            Self::OtherBox { subject, other, ours } => write!(
                f,
                "{subject} has lines of another box (id {}, ours is {}): give each box a name of its own (--box), or, if this \
                 one takes its place or has lost its spool, begin with an empty --spool directory and --take-over {}",
                Hex(other),
                Hex(ours),
                Hex(other)
            ),
            Self::Copied { subject, lines } => write!(
                f,
                "{subject} has lines {} to {} of segment {} of this box, which this spool never had: a copy of it is in use elsewhere; \
                 stop that one, or remove this spool's directory and give this box another name (--box)",
                lines.first, lines.last, lines.segment
            ),
            Self::Stranger(subject) => {
                write!(f, "{subject} has messages of another program: give this box a subject of its own")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retention(retention) => {
                write!(f, "has retention {retention}, which removes lines that were read: it has to be limits")
            }
            Self::NoAck => f.write_str("has no_ack, so that nobody could know what it has: turn that off"),
            Self::Transform => {
                f.write_str("has a subject transform, so that its last line could not be found: take that away")
            }
            Self::PerSubject => f.write_str(
                "has max_msgs_per_subject, which removes lines unseen: bound it by max_bytes, max_msgs or max_age",
            ),
            Self::Sealed => f.write_str("is sealed, and takes nothing: give another"),
        }
    }
}
