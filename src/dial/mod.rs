//! A connection that begins: a name is looked up, its addresses are tried one after the other, and if it is to be secured, that is
//! done. Invariant: the loop never waits for any of these.

#[cfg(feature = "http")]
pub(crate) mod caller;
mod line;
#[cfg(not(feature = "tls"))]
mod no_secure;
pub(crate) mod numeric;
#[cfg(feature = "tls")]
mod secure;
#[cfg(test)]
#[cfg(feature = "tls")]
mod secured;
mod socket;
#[cfg(feature = "tls")]
mod trust;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;
use std::vec::IntoIter;

use socket2::{SockAddr, Socket};

pub(crate) use self::line::Line;
#[cfg(not(feature = "tls"))]
pub(crate) use self::no_secure::{Guard, Trust};
#[cfg(feature = "tls")]
pub(crate) use self::secure::Guard;
#[cfg(feature = "tls")]
use self::secure::Tls;
pub(crate) use self::socket::{Buffers, progress};
#[cfg(feature = "tls")]
pub(crate) use self::trust::Trust;

#[cfg(feature = "tls")]
use self::line::Shaken;
use self::numeric::numeric;
use self::socket::open;
use crate::task::Task;

/// The longest that one connect may take; less if that is more than its part of the time for all ([`Dial::share`]). By then the kernel has sent a lost SYN again three times, after 1, 3 and 7 s.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest that a handshake of TLS may take, from when there is a connection.
#[cfg(feature = "tls")]
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// With TLS 1.3 the other side looks at our certificate, or misses one, only once the handshake is over here. If it refuses, it says
/// so within this time, or else the log would say at each try that it is there again.
#[cfg(feature = "tls")]
const REFUSAL_TIME: Duration = Duration::from_millis(250);

/// What a connection is to be like.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) buffers: Buffers,
    /// What it is held against, if it is to be secured by TLS.
    #[cfg_attr(not(feature = "tls"), expect(dead_code))] // there is none to be read
    pub(crate) guard: Option<Guard>,
}

/// How far it is.
pub(crate) enum Dial {
    /// A thread resolves the name to addresses; nothing limits how long that takes.
    Resolving { task: Task<io::Result<Vec<SockAddr>>>, since: Duration, terms: Terms },
    /// A connect to one address is under way; the others are tried if it fails.
    Connecting { line: Line, deadline: Duration, others: IntoIter<SockAddr>, terms: Terms },
    /// There is a connection, and a handshake of TLS goes on. Once it is over, the other side may still refuse us until
    /// `deadline`.
    #[cfg(feature = "tls")]
    Securing { line: Line, deadline: Duration, is_over: bool, others: IntoIter<SockAddr>, terms: Terms },
}

#[cfg(test)]
impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolving { .. } => "Resolving",
            Self::Connecting { .. } => "Connecting",
            #[cfg(feature = "tls")]
            Self::Securing { .. } => "Securing",
        })
    }
}

/// What it has come to.
pub(crate) enum Step {
    /// It goes on.
    Pending(Dial),
    /// There is a connection.
    Connected(Line),
    /// There is none: what the last address, or the resolver, says.
    Failed(io::Error),
}

impl Dial {
    /// Begins to connect to a name or an address.
    pub(crate) fn host(host: &str, port: u16, terms: Terms, now: Duration) -> Step {
        if let Some(address) = numeric(host) {
            let only = vec![SocketAddr::new(address, port).into()];
            return Self::addresses(only.into_iter(), terms, ErrorKind::NotFound.into(), now);
        }
        let name = host.to_owned();
        // The system's resolver can only be waited for, so a thread does that.
        let resolve = move || {
            let mut addresses = Vec::new();
            for address in (name.as_str(), port).to_socket_addrs()? {
                addresses.push(SockAddr::from(address));
            }
            Ok(addresses)
        };
        match Task::begin(now, resolve) {
            Ok(task) => Step::Pending(Self::Resolving { task, since: now, terms }),
            Err(error) => Step::Failed(error),
        }
    }

    /// Begins to connect to the first of these addresses that does not fail at once. `why` is the error of the one before.
    pub(crate) fn addresses(mut others: IntoIter<SockAddr>, terms: Terms, mut why: io::Error, now: Duration) -> Step {
        while let Some(address) = others.next() {
            match open(&address, terms.buffers) {
                Ok(socket) => {
                    let line = Line::new(socket);
                    return Step::Pending(Self::Connecting { line, deadline: now + CONNECT_TIMEOUT, others, terms });
                }
                Err(error) => why = error,
            }
        }
        Step::Failed(why)
    }

    /// Looks how far it is.
    pub(crate) fn go_on(self, now: Duration) -> Step {
        match self {
            Self::Resolving { task, since, terms } if !task.is_done() => {
                Step::Pending(Self::Resolving { task, since, terms })
            }
            Self::Resolving { task, terms, .. } => match task.result() {
                Some(Ok(found)) => Self::addresses(found.into_iter(), terms, ErrorKind::NotFound.into(), now),
                Some(Err(error)) => Step::Failed(error),
                None => Step::Failed(ErrorKind::NotFound.into()),
            },
            Self::Connecting { line, deadline, others, terms } => {
                let why = match progress(line.socket()) {
                    Ok(true) => return Self::connected(line, others, terms, now),
                    Ok(false) if now < deadline => {
                        return Step::Pending(Self::Connecting { line, deadline, others, terms });
                    }
                    Ok(false) => ErrorKind::TimedOut.into(),
                    Err(error) => error,
                };
                Self::addresses(others, terms, why, now)
            }
            #[cfg(feature = "tls")]
            Self::Securing { mut line, deadline, is_over, others, terms } => {
                let why = match line.shaken(is_over) {
                    Ok(Shaken::Done) => return Step::Connected(line),
                    Ok(Shaken::GoesOn) if now < deadline => {
                        return Step::Pending(Self::Securing { line, deadline, is_over, others, terms });
                    }
                    Ok(Shaken::MayRefuse) if !is_over => {
                        let deadline = now + REFUSAL_TIME;
                        return Step::Pending(Self::Securing { line, deadline, is_over: true, others, terms });
                    }
                    Ok(Shaken::MayRefuse) if now < deadline => {
                        return Step::Pending(Self::Securing { line, deadline, is_over, others, terms });
                    }
                    Ok(Shaken::MayRefuse) => return Step::Connected(line),
                    Ok(Shaken::GoesOn) => io::Error::new(
                        ErrorKind::TimedOut,
                        "the TLS handshake was not over within 10s: perhaps it speaks no TLS there",
                    ),
                    Err(error) => error,
                };
                Self::addresses(others, terms, why, now)
            }
        }
    }

    /// There is a connection.
    #[cfg(not(feature = "tls"))]
    fn connected(line: Line, _: IntoIter<SockAddr>, _: Terms, _: Duration) -> Step {
        Step::Connected(line)
    }

    /// There is a connection, which is secured if it is to be.
    #[cfg(feature = "tls")]
    fn connected(mut line: Line, others: IntoIter<SockAddr>, terms: Terms, now: Duration) -> Step {
        let Some(guard) = &terms.guard else { return Step::Connected(line) };
        match line.secure(guard) {
            Ok(()) => {
                let deadline = now + HANDSHAKE_TIMEOUT;
                Self::Securing { line, deadline, is_over: false, others, terms }.go_on(now)
            }
            Err(error) => Self::addresses(others, terms, error, now),
        }
    }

    /// Secures a connection that there is.
    #[cfg(feature = "nats")]
    pub(crate) fn secure(line: Line, terms: Terms, now: Duration) -> Step {
        Self::connected(line, Vec::new().into_iter(), terms, now)
    }

    /// All of it has so much time left: the address that is tried gets its part of that at most, so that the others have theirs. To
    /// be called at each step; only the first for an address makes a difference, since what is left of each part only shrinks.
    #[cfg(feature = "http")]
    pub(crate) fn share(&mut self, left: Duration, now: Duration) {
        let (deadline, others) = match self {
            Self::Resolving { .. } => return,
            Self::Connecting { deadline, others, .. } => (deadline, others.len()),
            #[cfg(feature = "tls")]
            Self::Securing { deadline, others, .. } => (deadline, others.len()),
        };
        let parts = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
        *deadline = (*deadline).min(now + left / parts);
    }

    /// Whether a name is being looked up for longer than a connect may take.
    pub(crate) fn is_late(&self, now: Duration) -> bool {
        matches!(self, Self::Resolving { since, .. } if now >= *since + CONNECT_TIMEOUT)
    }

    /// Whether a name is being looked up still.
    #[cfg(feature = "http")]
    pub(crate) fn is_looking_up(&self) -> bool {
        matches!(self, Self::Resolving { task, .. } if !task.is_done())
    }

    /// A socket that is to be watched from now on.
    pub(crate) fn unwatched(&mut self) -> Option<&Socket> {
        match self {
            Self::Connecting { line, .. } => line.unwatched(),
            #[cfg(feature = "tls")]
            Self::Securing { line, .. } => line.unwatched(),
            Self::Resolving { .. } => None,
        }
    }

    /// When to look again, if nothing is heard.
    pub(crate) fn due_in(&self, now: Duration) -> Duration {
        match self {
            Self::Resolving { task, .. } => task.due_in(now),
            Self::Connecting { deadline, .. } => deadline.saturating_sub(now),
            #[cfg(feature = "tls")]
            Self::Securing { deadline, .. } => deadline.saturating_sub(now),
        }
    }
}
