//! Lumberjack receives newline-delimited log lines over TCP and Unix sockets from many clients at once and writes each
//! to one output: a single thread, a single poll loop, no allocation per line. No client can make it leak, grow past
//! its memory budget, stall the others, or lose a line that was taken.
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
//! Reading order for the code: `config/limits.rs`, `engine/framing.rs`, `engine/line_framer.rs`, `engine/wheel.rs`,
//! `engine/budget.rs`, then `server/clients.rs`, `server/mod.rs` (the turn), `server/reading.rs`, `server/ending.rs`,
//! `server/drain.rs`, and `sink/mod.rs`. The README has the promises in the user's words and the map of the rooms.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod config;
mod engine;
#[cfg(any(feature = "cli", feature = "status"))]
mod host;
mod inherited;
mod net;
mod server;
mod sink;
#[cfg(feature = "status")]
mod status;

pub use config::limits::{Config, ConfigError, DEFAULT_UNIX_MODE, Limits, LongLines, Overhead, WhenFull, WordError};
pub use config::listen::{DEFAULT_LISTEN, Framing, Listen, ListenAddr, ListenAddrError};
pub use config::output::{
    DiskFull, MOST_OUTPUTS, OnStall, OutputAddr, OutputAddrError, OutputError, OutputOptions, SyncEvery,
};
pub use config::units::{DisplayDuration, DisplaySize, UnitError, parse_duration, parse_size};
pub use engine::framer::Lines;
pub use engine::gap::{Gap, Why};
pub use engine::peer::{Host, Peer};
pub use engine::stats::{Counters, Diagnostics, Gauges, OutputCounters, OutputStats, Snapshot, Status};
pub use inherited::{InheritError, Inherited};
pub use server::{BindError, Handle, RunError, Server, Turn};
pub use sink::{Flushed, Format, Interest, Loss, MemorySink, OpenError, Origin, Outputs, Sink, Watch};

/// What the project's own tests and fuzzers reach beyond the public names. Not part of the library's promise.
#[doc(hidden)]
pub mod internals {
    pub use crate::config::{limits, listen, output, units};
    pub use crate::engine::{budget, framer, gap, json, peer, ranking, sniff, stats, wheel};
    pub use crate::net::{Key, ListenOptions, Net, Now, Ready, Source};
    pub use crate::sink::format;
    #[cfg(feature = "status")]
    pub use crate::status::{board, request, respond, tail, visitor};
}
