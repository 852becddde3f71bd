//! Lumberjack receives newline-delimited log lines over TCP, UDP and Unix sockets from many clients at once and writes each
//! to a sink: a file, stdout, another receiver, several of them, or one of your own. A single thread, a single poll
//! loop, no allocation per line. No client can make it leak, grow past its memory budget, stall the others, or lose a
//! line that was taken. Of the program of the same name this is everything but the command line.
//!
//! ```
//! use std::io::Write;
//! use lumberjack::{Config, ListenAddr, MemorySink, Server};
//!
//! let sink = MemorySink::new();
//! let mut server = Server::bind(Config::listen("127.0.0.1:0".parse()?), sink.clone())?;
//! let handle = server.handle(); // stop(), status(), diagnostics(), from any thread
//! let ListenAddr::Tcp(addr) = server.local_addrs()[0].clone() else { unreachable!() };
//!
//! let running = std::thread::spawn(move || server.run());
//! std::net::TcpStream::connect(addr)?.write_all(b"hello\nworld")?;
//! handle.stop(); // takes who waits, reads what came, writes it all, and only then is over
//! running.join().unwrap()?;
//! assert_eq!(sink.lines(), [b"hello".to_vec(), b"world".to_vec()]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In your program
//!
//! ```toml
//! lumberjack = { path = "…", default-features = false }    # without the program's own dependencies
//! ```
//!
//! - [`Config`] and [`Limits`] say where to listen and what clients may take. Every field has the name of the program's
//!   option, and its default.
//! - [`Server::bind`] opens the listeners. [`Server::run`] is the loop, for a thread of its own; [`Server::turn`] is one pass of
//!   it, for a program that has a loop already (`cargo run --example embed` shows that).
//! - [`Handle`] stops the server and asks how it is, from any thread: [`Status`] is the short form, [`Diagnostics`] the long one, both
//!   also as JSON.
//! - [`Outputs`] is the sink of the program: stdout, files that rotate, files for each host, the next receiver.
//!   [`MemorySink`] keeps lines in memory. A [`Sink`] of your own takes whole lines (`append`), writes them (`flush`), and
//!   says how much of them waits (`state`): that counts towards [`Limits::memory`], and while it is too much, clients wait.
//! - The feature `status` adds `Server::serve_status`, the HTTP endpoint. The feature `cli` is the program. The feature
//!   `calendar` reads the box's time zone, for [`OutputOptions::rotate_at`] and `{date}` in a file's name; `compress` is
//!   [`OutputOptions::rotate_compress`]; `syslog` is [`Parse::Syslog`].
//!
//! `docs/DESIGN.md` in the repository says what is promised (the numbers P1 to P27 in these pages), how the code is divided, and
//! which traps there are; `CONTRIBUTING.md` has the reading order.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod config;
mod dial;
mod engine;
mod gunzip;
mod host;
#[cfg(feature = "http")]
mod http;
mod inflate;
mod inherited;
mod linux;
#[cfg(feature = "nats")]
mod nats;
mod net;
#[cfg(feature = "poll")]
mod poll;
#[cfg(feature = "push")]
mod push;
mod server;
mod sink;
mod socket_file;
#[cfg(feature = "spool")]
mod spool;
#[cfg(feature = "status")]
mod status;
mod task;
#[cfg(feature = "tls")]
mod tls;
#[cfg_attr(not(feature = "udp"), path = "no_udp.rs")]
mod udp;

#[cfg(test)]
#[path = "../tests/common/skip.rs"]
#[allow(dead_code)] // the tests of `tests/` call the rest
mod skip;

#[cfg(test)]
#[cfg(feature = "tls")]
#[path = "../tests/common/certs.rs"]
#[allow(dead_code)] // the tests of `tests/` call the rest
mod certs;

#[cfg(feature = "alert")]
pub use config::alert::AlertOptions;
pub use config::calendar::TimeOfDay;
pub use config::limits::{
    Config, ConfigError, DEFAULT_UNIX_MODE, EmbeddedNewline, IdleClose, Limits, LongLines, Overhead, WhenFull,
    WordError,
};
pub use config::listen::{DEFAULT_LISTEN, Framing, Listen, ListenAddr, ListenAddrError, ListenError, ListenOptions};
pub use config::nats::NatsOptions;
pub use config::network::{Network, NetworkError, Networks};
pub use config::output::{DiskFull, MOST_OUTPUTS, OnStall, OutputError, OutputOptions, SyncEvery};
pub use config::push::{PushHeader, PushOptions};
pub use config::rate::{Rate, RateError};
pub use config::spool::{BoxId, SpoolDir, SpoolFull, SpoolOptions};
pub use config::syslog::{Parse, Severity, SyslogOptions};
pub use config::tls::{NamePattern, NamePatternError, TlsVersion};
#[cfg(feature = "tls")]
pub use config::tls_options::{NamePatterns, TlsFile, TlsFileError};
pub use config::tls_out::TlsOptions;
pub use config::units::{DisplayDuration, DisplaySize, UnitError, parse_duration, parse_size};
pub use engine::framer::Lines;
pub use engine::gap::{Gap, Why};
#[cfg(feature = "tls")]
pub use engine::peer::PeerName;
pub use engine::peer::{Host, Peer, PollerName};
#[cfg(feature = "tls")]
pub use engine::stats::{CertificateStats, TlsCounters};
pub use engine::stats::{
    Counters, Diagnostics, Gauges, HttpDiagnostics, OutputCounters, OutputStats, PollerCounters, PollerStats, Snapshot,
    Status, TcpDiagnostics,
};
pub use inherited::{InheritError, Inherited};
#[cfg(feature = "poll")]
pub use poll::{Poll, PollError, PollOptions, PollStart};
pub use server::{BindError, Handle, RunError, Server, Turn};
pub use sink::{
    Event, Format, Interest, Loss, LossCause, MemorySink, OpenError, Order, Origin, OutputAddr, OutputAddrError,
    Outputs, Sink, State, Watch, Weight, Welcome,
};

/// What the project's own tests and fuzzers reach beyond the public names. Not part of the library's promise.
#[doc(hidden)]
pub mod internals {
    pub use crate::config::{limits, listen, network, output, units};
    pub use crate::engine::{
        access, budget, framer, gap, json, peer, proxy, ranking, rate, sniff, stats, syslog, wheel,
    };
    pub use crate::net::{Key, LONGEST_DATAGRAM, Net, Now, Ready, SocketOptions, Source};
    pub use crate::sink::{Pacing, format};
    /// A client of HTTP servers.
    #[cfg(feature = "http")]
    pub mod http {
        pub use crate::http::*;
    }
    /// A publisher to NATS JetStream.
    #[cfg(feature = "nats")]
    pub mod nats {
        pub use crate::nats::*;
    }
    /// What a poller asks for and which lines of a page are new.
    #[cfg(feature = "poll")]
    pub mod poll {
        pub use crate::poll::*;
    }
    /// A spool on the disk.
    #[cfg(feature = "spool")]
    pub mod spool {
        pub use crate::spool::*;
    }
    /// TLS without sockets.
    #[cfg(feature = "tls")]
    pub mod tls {
        pub use crate::tls::*;
        pub use rustls;
    }
    #[cfg(feature = "status")]
    pub use crate::status::{board, history, request, respond, tail, visitor};
}
