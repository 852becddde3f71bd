//! Limits of a server: their defaults with the reason for each, and which do not work, alone or together.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use super::listen::{Listen, ListenAddr, MOST_LISTENERS};
use super::units::{DisplayDuration, DisplaySize};

pub use super::word::WordError;
pub(crate) use super::word::word_enum;

/// Default of [`Limits::max_line`]: 100 KiB, as the original server had it (`MAX_LINE_LENGTH`): the Node.js program that
/// this one replaces (`docs/DESIGN.md`).
pub const DEFAULT_MAX_LINE: usize = 100 * 1024;
/// Default of [`Limits::max_buffer`]: 1 MiB, as the original server had it (`MAX_BUFFER_SIZE`).
pub const DEFAULT_MAX_BUFFER: usize = 1024 * 1024;
/// Default of [`Limits::memory`]: 64 MiB, which holds 650 pending lines of the longest kind. The binary lowers it to
/// a quarter of the memory of the box or the cgroup.
pub const DEFAULT_MEMORY: usize = 64 * 1024 * 1024;
/// Default of [`Limits::max_connections`]. At rest, 1000 connections cost 124 KB of ours.
pub const DEFAULT_MAX_CONNECTIONS: usize = 1000;
/// The most that [`Limits::max_connections`] may be: a poll token has 20 bits for the number of a connection, and the last
/// 64 numbers are for listeners and the like.
pub const MOST_CONNECTIONS: usize = (1 << 20) - 64;
/// The longest line that [`Limits::max_line`] may allow: 1 GiB, so that a length always fits 32 bits.
pub const LONGEST_LINE: usize = 1 << 30;
/// The most that [`Limits::max_buffer`] may be: the length of a line so far is counted in 32 bits, and has to be able to
/// exceed it.
pub const LARGEST_BUFFER: usize = u32::MAX as usize - 1;
/// Bytes that a server reads at once at least, however short its memory is; the sink's share of the budget has room for them.
pub const LEAST_READ_BYTES: usize = 4096;

const _: () = assert!(DEFAULT_MAX_BUFFER >= 2 * DEFAULT_MAX_LINE, "P4 needs twice --max-line");
const _: () = assert!(DEFAULT_MEMORY >= 4 * DEFAULT_MAX_BUFFER, "the default budget holds several long lines");

word_enum! {
    /// What happens to a line longer than [`Limits::max_line`] (`--long-lines`, P3).
    LongLines {
        /// It is dropped whole.
        #[default]
        Skip = "skip",
        /// Its first `max_line` bytes are a line; the rest is dropped.
        Cut = "cut",
        /// It becomes a line every `max_line` bytes; nothing is dropped.
        Split = "split",
    }
}

word_enum! {
    /// What becomes of a `\n` inside a message whose framing lets it hold one (`--embedded-newline`, P21).
    EmbeddedNewline {
        /// It becomes `\` and `n`; nothing else of the message changes.
        #[default]
        Escape = "escape",
        /// It becomes a space.
        Space = "space",
        /// It stays, so that readers of lines see more than one, but for those of JSON.
        Keep = "keep",
    }
}

word_enum! {
    /// What happens to a client that connects while `max_connections` are open (`--when-full`, P10).
    WhenFull {
        /// It waits in the kernel's backlog until there is room.
        #[default]
        Wait = "wait",
        /// It is accepted and closed at once, so that it can try another receiver.
        Reject = "reject",
    }
}

word_enum! {
    /// When a client that was silent for `idle_timeout` is told goodbye (`--idle-close`, P6).
    IdleClose {
        /// At once.
        #[default]
        Always = "always",
        /// When its place, its host's place, its descriptor or its memory is needed: then it is the first to give way.
        Needed = "needed",
    }
}

/// Every limit of a server, each named as its flag. [`Limits::default`] is what the binary runs with.
///
/// ```
/// let limits = lumberjack::Limits { max_line: 4096, ..lumberjack::Limits::default() };
/// assert!(limits.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Longest line accepted, in bytes, without its ending (`--max-line`, P3). Default 100 KiB; 1 byte to 1 GiB.
    pub max_line: usize,
    /// What happens to a line longer than that (`--long-lines`, P3). Default `skip`.
    pub long_lines: LongLines,
    /// Whether empty lines are written (`--keep-empty`, P1). Default no.
    pub keep_empty: bool,
    /// What becomes of a `\n` inside a message (`--embedded-newline`, P21). Default `escape`. The binary refuses `keep` where
    /// the next reader would take it for the end of a line.
    pub embedded_newline: EmbeddedNewline,
    /// Bytes without a newline at which a client gets the `Buffer overflow` warning (`--max-buffer`, P4). Default
    /// 1 MiB; at least twice `max_line`, and less than 4 GiB.
    pub max_buffer: usize,
    /// The one limit, in bytes, on what clients and a slow sink can make the server hold (`--memory`, P5). Default
    /// 64 MiB.
    pub memory: usize,
    /// Connections at once (`--max-connections`, P10). Default 1000; 1 to 1,048,512.
    pub max_connections: usize,
    /// What happens to a client beyond `max_connections` (`--when-full`, P10). Default `wait`.
    pub when_full: WhenFull,
    /// Connections of one host at once (`--max-per-host`, P14). `None`, the default, is half of `max_connections`;
    /// `Some(0)` is no limit.
    pub max_per_host: Option<usize>,
    /// Silence after which a client is told goodbye (`--idle-timeout`, P6). Default 5 min, as the
    /// original server had it (`SOCKET_TIMEOUT_MS`); 0 is never.
    pub idle_timeout: Duration,
    /// Whether such a client is told at once, or only when something of it is needed (`--idle-close`, P6). Default
    /// `always`.
    pub idle_close: IdleClose,
    /// Time after which an unfinished line is written as if its `\n` had come (`--line-timeout`, P2). Default 0, which is
    /// never.
    pub line_timeout: Duration,
    /// Time that a client may take to close after our goodbye (`--linger`, P6). Default 1 h; 0 closes at once. A client
    /// that gives way ([`IdleClose::Needed`]) has a second at most.
    pub linger: Duration,
    /// Silence after which the kernel begins to send TCP keepalive probes (`--keepalive`, P6). Default 60 s; 0 is never, else
    /// 1 s to 32,767 s, the kernel's limit.
    pub keepalive: Duration,
    /// How long shutdown goes on reading at most, not counting time in which the sink is full, and how long it waits for a
    /// sink that accepts nothing (`--drain-timeout`, P11). Default 5 s; 0 waits for neither.
    pub drain_timeout: Duration,
    /// How long a line may wait for lines of other clients, while most reads bring a single one (`--gather`): together they
    /// take fewer system calls. The first line after a quiet time never waits. Default 1 ms; 0 is never; at most 100 ms.
    pub gather: Duration,
    /// Whether a client that ends its sending side is sent the number of its lines once they are written (`--receipt`).
    /// Default no. With outputs that may be skipped ([`crate::OnStall::Drop`]) that number proves nothing; the binary
    /// refuses the two together.
    pub receipt: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_line: DEFAULT_MAX_LINE,
            long_lines: LongLines::Skip,
            keep_empty: false,
            embedded_newline: EmbeddedNewline::Escape,
            max_buffer: DEFAULT_MAX_BUFFER,
            memory: DEFAULT_MEMORY,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            when_full: WhenFull::Wait,
            max_per_host: None,
            idle_timeout: Duration::from_secs(5 * 60),
            idle_close: IdleClose::Always,
            line_timeout: Duration::ZERO,
            linger: Duration::from_secs(3600),
            keepalive: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(5),
            gather: DEFAULT_GATHER,
            receipt: false,
        }
    }
}

/// The longest keepalive time that Linux takes: `MAX_TCP_KEEPIDLE`, 32,767 s.
const LONGEST_KEEPALIVE: Duration = Duration::from_secs(32_767);
/// Default of [`Limits::gather`]. CPU time of single lines from 1000 clients, as a multiple of what a plain loop takes that
/// reads and writes each at once, in one run: with 1 ms 0.84, 3 ms 0.78, 5 ms 0.64; from 50 clients, with 1 ms 0.50, 5 ms
/// 0.37. Nobody reads logs within 5 ms, and a line at calm takes what it took with 1 ms.
const DEFAULT_GATHER: Duration = Duration::from_millis(5);
/// The most that [`Limits::gather`] may be: a person just notices it.
const LONGEST_GATHER: Duration = Duration::from_millis(100);

impl Limits {
    /// Connections that one host may hold; `None` is no limit.
    #[must_use]
    pub fn per_host(&self) -> Option<usize> {
        match self.max_per_host {
            None => Some(self.max_connections.div_ceil(2)),
            Some(0) => None,
            Some(limit) => Some(limit),
        }
    }

    /// These, but for what can change while a server runs (P27): that is as `newer` has it.
    pub(crate) fn renewed(&self, newer: &Self) -> Self {
        Self {
            max_line: self.max_line,
            max_buffer: self.max_buffer,
            memory: self.memory,
            idle_close: self.idle_close,
            keepalive: self.keepalive,
            receipt: self.receipt,
            ..newer.clone()
        }
    }

    /// Checks each limit, and those that depend on each other.
    ///
    /// # Errors
    /// The first that does not work; its sentence names the flag and what it takes.
    pub fn validate(&self) -> Result<(), ConfigError> {
        use ConfigError::{Duration as BadDuration, MaxBuffer, Size};
        let sizes = [
            ("max-line", self.max_line, 1, LONGEST_LINE),
            ("max-buffer", self.max_buffer, 2, LARGEST_BUFFER),
            ("max-connections", self.max_connections, 1, MOST_CONNECTIONS),
        ];
        for (flag, value, least, most) in sizes {
            if value < least || value > most {
                return Err(Size { flag, value, least, most });
            }
        }
        let most = LONGEST_KEEPALIVE;
        if !self.keepalive.is_zero() && !(Duration::from_secs(1)..=most).contains(&self.keepalive) {
            return Err(BadDuration { flag: "keepalive", value: self.keepalive, least: Duration::from_secs(1), most });
        }
        if self.gather > LONGEST_GATHER {
            let (least, most) = (Duration::from_millis(1), LONGEST_GATHER);
            return Err(BadDuration { flag: "gather", value: self.gather, least, most });
        }
        if self.max_buffer < self.max_line.saturating_mul(2) {
            return Err(MaxBuffer { max_buffer: self.max_buffer, max_line: self.max_line });
        }
        MemoryPlan::new(self, Overhead::RAW).map(|_| ())
    }
}

/// How many bytes a sink makes of a line at worst: `per_byte` for each of its bytes, and `per_line` more. And how many it
/// may hold even while it could write: `kept`, for which its share of the budget gets room besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overhead {
    /// Bytes written for each byte of a line: 1, or 6 for JSON, where a control character becomes `\u0000`.
    pub per_byte: usize,
    /// Bytes written for each line besides, its `\n` included.
    pub per_line: usize,
    /// Bytes that it may hold even while it could write them.
    pub kept: usize,
    /// Lines of the longest kind that it may hold likewise.
    pub kept_lines: usize,
}

impl Overhead {
    /// A sink that writes the line and its `\n`.
    pub const RAW: Self = Self { per_byte: 1, per_line: 1, kept: 0, kept_lines: 0 };

    /// The most that `lines` lines of `bytes` bytes together can become.
    #[must_use]
    pub fn at_most(self, bytes: usize, lines: usize) -> usize {
        bytes.saturating_mul(self.per_byte).saturating_add(lines.saturating_mul(self.per_line))
    }

    /// The most bytes that it may hold even while it could write them.
    pub(crate) fn most_kept(self, max_line: usize) -> usize {
        self.kept.saturating_add(self.at_most(max_line, 1).saturating_mul(self.kept_lines))
    }

    /// The least that a sink's share of the budget may be: room for the longest line, the smallest read, and what it holds
    /// anyway. With `--keep-empty` a read can be as many lines as bytes.
    pub(crate) fn least_share(self, max_line: usize) -> usize {
        let kept = self.most_kept(max_line);
        self.at_most(max_line + 1 + LEAST_READ_BYTES, 1 + LEAST_READ_BYTES).saturating_add(kept)
    }
}

/// How the memory budget is split (P5): what the sink may hold, and what pending lines may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The most that waits for the sink, in bytes.
    pub sink_share: usize,
    /// The most that all pending lines together hold, in bytes.
    pub pending_share: usize,
}

/// Room in the sink's share for many small reads, beyond the longest line and one read.
const SMALL_READS_BYTES: usize = 256 * 1024;
/// A read of this size should fit whatever its lines are: with reads of 8 KiB, `--format peer` took a third more CPU time.
const USUAL_READ_BYTES: usize = 64 * 1024;

impl MemoryPlan {
    /// Splits `limits.memory`: the sink gets room for the longest line, a full read and many small ones, but at most half.
    ///
    /// # Errors
    /// [`ConfigError::Memory`] when half is too little for the longest line and the smallest read.
    pub fn new(limits: &Limits, overhead: Overhead) -> Result<Self, ConfigError> {
        let least_share = overhead.least_share(limits.max_line);
        let half = limits.memory / 2;
        if half < least_share {
            let least = least_share.saturating_mul(2).div_ceil(1024).saturating_mul(1024);
            return Err(ConfigError::Memory { memory: limits.memory, max_line: limits.max_line, least });
        }
        // In a format that can make six bytes of one, a read of the usual size needs much room; a quarter of the budget is
        // enough.
        let usual_read = overhead.at_most(USUAL_READ_BYTES, USUAL_READ_BYTES).min(limits.memory / 4);
        let sink_share = half.min(least_share.saturating_add(SMALL_READS_BYTES.max(usual_read)));
        Ok(Self { sink_share, pending_share: limits.memory - sink_share })
    }

    /// Bytes that the status endpoint takes of the share of pending lines: a sixteenth of the budget, within bounds. The rest
    /// still holds a line of the longest kind.
    ///
    /// # Errors
    /// [`ConfigError::StatusMemory`] when there is too little for both.
    pub fn status_share(&self, limits: &Limits) -> Result<usize, ConfigError> {
        let longest = limits.max_line + 1;
        let room = self.pending_share.saturating_sub(longest);
        if room < LEAST_STATUS_BYTES {
            // The pending lines' share is at least a half.
            let least = (LEAST_STATUS_BYTES + longest).saturating_mul(2).div_ceil(1024).saturating_mul(1024);
            return Err(ConfigError::StatusMemory { memory: limits.memory, least });
        }
        Ok((limits.memory / 16).clamp(LEAST_STATUS_BYTES, MOST_STATUS_BYTES).min(room))
    }
}

/// Bytes that the status endpoint needs at least: for its page, a request of each visitor, and a few lines on their way.
const LEAST_STATUS_BYTES: usize = 256 * 1024;
/// Bytes that it gets at most: enough for an answer with more than a thousand connections.
const MOST_STATUS_BYTES: usize = 2 * 1024 * 1024;

/// Settings that do not work, alone or together. `Display` is a whole sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number outside its range.
    Size {
        /// Its flag, without the dashes.
        flag: &'static str,
        /// What was given.
        value: usize,
        /// The least it may be.
        least: usize,
        /// The most it may be.
        most: usize,
    },
    /// A duration outside its range.
    Duration {
        /// Its flag, without the dashes.
        flag: &'static str,
        /// What was given.
        value: Duration,
        /// The least it may be, besides 0.
        least: Duration,
        /// The most it may be.
        most: Duration,
    },
    /// `max_buffer` is less than twice `max_line`.
    MaxBuffer {
        /// What was given.
        max_buffer: usize,
        /// The line cap that it has to hold twice.
        max_line: usize,
    },
    /// `memory` is too small for a line of the longest kind.
    Memory {
        /// What was given.
        memory: usize,
        /// The line cap.
        max_line: usize,
        /// The least that works with it.
        least: usize,
    },
    /// `memory` has no room for the status endpoint.
    StatusMemory {
        /// What was given.
        memory: usize,
        /// The least that works with it.
        least: usize,
    },
    /// Two addresses to listen on are the same, or one includes the other.
    Covered {
        /// The one that includes the other.
        by: ListenAddr,
        /// The one that is included.
        listener: ListenAddr,
    },
    /// An option of a listener that makes no sense there.
    ListenOption {
        /// The listener.
        listener: ListenAddr,
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        why: &'static str,
    },
    /// The status endpoint, at an address of UDP.
    StatusUdp {
        /// The address.
        at: ListenAddr,
    },
    /// A receive buffer for UDP, and no UDP listener.
    NoUdp,
    /// Receipts, and only UDP listeners.
    NoReceipts,
    /// No address to listen on.
    NoListener,
    /// More than [`MOST_LISTENERS`] addresses.
    TooManyListeners,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { flag, value, least, most } => {
                write!(f, "--{flag} is {value}: give a number from {least} to {most}")
            }
            Self::Duration { flag, value, least, most } => {
                let (value, least, most) = (DisplayDuration(*value), DisplayDuration(*least), DisplayDuration(*most));
                write!(f, "--{flag} is {value}: give {least} to {most}, or 0 to turn it off")
            }
            Self::MaxBuffer { max_buffer, max_line } => {
                let (max_buffer, max_line) = (DisplaySize(*max_buffer), DisplaySize(*max_line));
                write!(
                    f,
                    "--max-buffer {max_buffer} is less than twice --max-line {max_line}: raise the first, or lower the second"
                )
            }
            Self::Memory { memory, max_line, least } => {
                let (memory, max_line, least) = (DisplaySize(*memory), DisplaySize(*max_line), DisplaySize(*least));
                write!(
                    f,
                    "--memory {memory} is too little for --max-line {max_line} in this format: give at least {least}, or lower --max-line"
                )
            }
            Self::StatusMemory { memory, least } => {
                let (memory, least) = (DisplaySize(*memory), DisplaySize(*least));
                write!(f, "--memory {memory} is too little for --status: give at least {least}, or leave --status out")
            }
            Self::Covered { by, listener } if by == listener => {
                write!(f, "--listen {listener} is given twice: give it once")
            }
            Self::Covered { by, listener } => {
                write!(f, "--listen {listener} is covered by --listen {by}: give one of them")
            }
            Self::ListenOption { listener, option, value, why } => {
                write!(f, "--listen {listener},{option}={value}: {why}")
            }
            Self::StatusUdp { at } => {
                write!(f, "--status {at}: HTTP needs connections, and UDP has none; write ADDR:PORT or unix:/path")
            }
            Self::NoUdp => f.write_str(
                "--udp-buffer fits no --listen: none of them is udp:ADDR:PORT; give one, or leave the buffer out",
            ),
            Self::NoReceipts => f.write_str(
                "--receipt fits no --listen: UDP has no way back to who sent a datagram; listen on TCP too, or leave it out",
            ),
            Self::NoListener => f.write_str("there is no address to listen on: give one with --listen"),
            Self::TooManyListeners => {
                write!(f, "too many addresses to listen on: at most {MOST_LISTENERS} are possible")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

/// Everything that [`Server::bind`](crate::Server::bind) needs to know besides the sink.
///
/// ```
/// let config = lumberjack::Config::listen("127.0.0.1:0".parse()?);
/// assert_eq!(config.limits.max_line, 100 * 1024);
/// # Ok::<(), lumberjack::ListenAddrError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Listeners (`--listen`), in this order.
    pub listen: Vec<Listen>,
    /// Permission bits of the Unix sockets' files (`--unix-mode`). Default 0666, as `/dev/log` has it.
    pub unix_mode: u32,
    /// Receive buffer to ask the kernel for at each UDP listener, in bytes (`--udp-buffer`). Default 0: what the system has as
    /// its own.
    pub udp_buffer: usize,
    /// The limits.
    pub limits: Limits,
}

/// The kernel takes the size of a receive buffer as a C `int`, and doubles it.
const LARGEST_UDP_BUFFER: usize = 1 << 29;

/// Default of [`Config::unix_mode`]: without write permission for others nobody else can log.
pub const DEFAULT_UNIX_MODE: u32 = 0o666;
impl Config {
    /// Listens at one place for lines, with the default limits.
    #[must_use]
    pub fn listen(at: ListenAddr) -> Self {
        Self { listen: vec![at.into()], unix_mode: DEFAULT_UNIX_MODE, udp_buffer: 0, limits: Limits::default() }
    }

    /// Checks the limits and the addresses to listen on.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        match self.listen.len() {
            0 => return Err(ConfigError::NoListener),
            1..=MOST_LISTENERS => {}
            _ => return Err(ConfigError::TooManyListeners),
        }
        for (number, one) in self.listen.iter().enumerate() {
            let others = self.listen.iter().enumerate().filter(|(other, _)| *other != number);
            if let Some((_, other)) = others.into_iter().find(|(_, other)| one.at.covers(&other.at, &self.listen)) {
                return Err(ConfigError::Covered { by: one.at.clone(), listener: other.at.clone() });
            }
            if let Some((option, value, why)) = one.contradiction() {
                return Err(ConfigError::ListenOption { listener: one.at.clone(), option, value, why });
            }
        }
        let is_udp = |one: &Listen| one.at.is_udp();
        if self.udp_buffer > 0 && !self.listen.iter().any(is_udp) {
            return Err(ConfigError::NoUdp);
        }
        if self.udp_buffer > LARGEST_UDP_BUFFER {
            let (flag, value) = ("udp-buffer", self.udp_buffer);
            return Err(ConfigError::Size { flag, value, least: 0, most: LARGEST_UDP_BUFFER });
        }
        if self.limits.receipt && self.listen.iter().all(is_udp) {
            return Err(ConfigError::NoReceipts);
        }
        self.limits.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_those_of_the_original() {
        let limits = Limits::default();
        assert_eq!(limits.validate(), Ok(()));
        assert_eq!((limits.max_line, limits.max_buffer), (102_400, 1_048_576));
        assert_eq!((limits.idle_timeout, limits.per_host()), (Duration::from_secs(300), Some(500)));
    }

    #[test]
    fn p13_listeners_that_collide_are_refused_by_name() {
        for (listen, expected) in [
            (&["127.0.0.1:1", "127.0.0.1:2", "[::1]:1"][..], None),
            (&["127.0.0.1:0", "127.0.0.1:0"], None),
            (&["[::]:1", "0.0.0.0:1"], None),
            (&["127.0.0.1:1", "127.0.0.1:1"], Some("--listen 127.0.0.1:1 is given twice: give it once")),
            (&["unix:/a", "unix:/a"], Some("--listen unix:/a is given twice: give it once")),
            (
                &["127.0.0.1:1", "0.0.0.0:1"],
                Some("--listen 127.0.0.1:1 is covered by --listen 0.0.0.0:1: give one of them"),
            ),
            (&["[::]:1", "127.0.0.1:1"], Some("--listen 127.0.0.1:1 is covered by --listen [::]:1: give one of them")),
        ] {
            let listen = listen.iter().map(|at| at.parse().unwrap()).collect();
            let config = Config { listen, unix_mode: 0, udp_buffer: 0, limits: Limits::default() };
            let error = config.validate().err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), expected);
        }
    }

    #[test]
    fn limits_that_make_no_sense_are_refused_by_name() {
        let small = || Limits { max_line: 8, max_buffer: 16, memory: 1 << 20, ..Limits::default() };
        assert_eq!(small().validate(), Ok(()));
        for (limits, words) in [
            (Limits { max_line: 0, ..small() }, "--max-line is 0"),
            (Limits { max_line: LONGEST_LINE + 1, max_buffer: usize::MAX, ..small() }, "--max-line is 1073741825"),
            (Limits { max_buffer: 15, ..small() }, "--max-buffer 15 is less than twice --max-line 8"),
            (Limits { max_connections: 0, ..small() }, "--max-connections is 0"),
            (Limits { max_connections: 1 << 20, ..small() }, "--max-connections is 1048576"),
            (Limits { keepalive: Duration::from_millis(1), ..small() }, "--keepalive is 1ms"),
            (Limits { memory: 1000, ..small() }, "--memory 1000 is too little"),
        ] {
            let sentence = limits.validate().unwrap_err().to_string();
            assert!(sentence.starts_with(words), "{sentence}");
        }
    }

    #[test]
    fn the_memory_that_the_sentence_names_is_enough() {
        for overhead in [Overhead::RAW, Overhead { per_byte: 6, per_line: 120, kept: 1000, kept_lines: 1 }] {
            let limits = Limits { memory: 0, ..Limits::default() };
            let Err(ConfigError::Memory { least, .. }) = MemoryPlan::new(&limits, overhead) else { panic!() };
            assert!(MemoryPlan::new(&Limits { memory: least, ..limits.clone() }, overhead).is_ok());
        }
    }

    #[test]
    fn the_shares_are_the_whole_budget() {
        let plan = MemoryPlan::new(&Limits::default(), Overhead::RAW).unwrap();
        assert_eq!(plan.sink_share + plan.pending_share, DEFAULT_MEMORY);
        assert!(plan.sink_share < DEFAULT_MEMORY / 100, "a raw sink needs little: {}", plan.sink_share);
    }
}
