//! The outside world: the system calls of the loop behind one small trait, [`Net`], and [`Mio`], which makes them for
//! real. This is the only file that names mio. The simulation of the tests has a `Net` of its own, without a kernel. The
//! server is generic over it, so that the trait costs the program nothing at run time.

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::{Duration, Instant, SystemTime};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use crate::config::listen::ListenAddr;
use crate::engine::peer::Peer;
use crate::inherited::Inherited;
use crate::linux::{MSG_NOSIGNAL, is_descriptor_shortage};
use crate::socket_file::{self, SocketFile};
use crate::udp::Datagrams;

/// A token of mio is one number. Its lower bits are a connection's place in the table, or one of the numbers below; the
/// rest is the connection's generation.
const INDEX_BITS: u32 = 20;
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
/// The largest generation that fits a token: 2^32 of them on a 64-bit machine, 2^12 on a 32-bit one.
const GENERATION_MASK: u32 = if usize::BITS >= 52 { u32::MAX } else { (1 << (usize::BITS - INDEX_BITS)) - 1 };
/// Indexes from here on are no connections: first come listeners, then pollers, visitors, the sink's descriptors, and the wake-up.
const FIRST_LISTENER: usize = crate::config::limits::MOST_CONNECTIONS;
const FIRST_VISITOR: usize = FIRST_SINK - MOST_VISITORS;
const FIRST_SINK: usize = WAKE - MOST_WATCHED;
/// All sockets of pollers: their number is where a connection's generation is.
const POLLER: usize = FIRST_VISITOR - 1;
const WAKE: usize = INDEX_MASK;

const _: () = assert!(FIRST_LISTENER + STATUS_LISTENER < POLLER, "listeners end before what comes next");

/// The number of the status endpoint's listener, behind all others.
pub(crate) const STATUS_LISTENER: usize = crate::config::listen::MOST_LISTENERS;
/// The most connections of the status endpoint: they are numbered from 0.
pub(crate) const MOST_VISITORS: usize = 16;

/// The connection to who is told of lines (`--alert`), which is behind all of pollers.
pub(crate) const ALERTS: u32 = MOST_POLLERS - 1;
/// The most connections of pollers: they are numbered from 0, in as many bits as a generation has.
pub(crate) const MOST_POLLERS: u32 = 1 << 12;
const _: () = assert!(MOST_POLLERS as u64 <= GENERATION_MASK as u64 + 1, "their numbers fit a token");

/// What the kernel is to hold of answers to one visitor: as much as one write has, twice. The kernel doubles it.
const VISITOR_BUFFER: usize = 32 * 1024;

/// The most descriptors of a sink that are watched: they are numbered from 0.
pub(crate) const MOST_WATCHED: usize = 16;

/// Connections that may wait for `accept`; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;
/// No datagram is longer: its length has 16 bits.
pub const LONGEST_DATAGRAM: usize = 65_535;
/// Events taken from one `poll`: more of them wait for the next turn.
pub(crate) const EVENTS: usize = 1024;
/// Unanswered keepalive probes after which a client is dead, a tenth of `--keepalive` apart.
const KEEPALIVE_PROBES: u32 = 3;

/// Names one connection: its place in the table, and a generation, which differs from those of earlier connections at the
/// same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Place in the table.
    pub index: u32,
    /// Counts the connections that have been at that place, in as many bits as a token has for it.
    pub generation: u32,
}

impl Key {
    /// A key whose generation is cut to what a token can carry.
    #[must_use]
    pub fn new(index: u32, generation: u32) -> Self {
        Self { index, generation: generation & GENERATION_MASK }
    }
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A listener, by its number, has clients waiting.
    Listener(usize),
    /// A byte came at the wake-up socket: the loop is to look at its flags (stop, reopen).
    Wake,
    /// One of the sink's descriptors, by its number.
    Sink(usize),
    /// A connection of the status endpoint, by its number.
    Visitor(usize),
    /// The connection of a poller, by its number.
    Poller(u32),
    /// A connection can be read.
    Connection(Key),
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// What it is about.
    pub source: Source,
    /// The other side has ended or broken the connection, after which no further event will come, or has sent urgent data,
    /// before which a read ends: it has to be read to its end, and a read that returns less than was asked for does not mean
    /// that nothing is left.
    pub ends: bool,
    /// The connection is broken, so that nothing can be sent any more. Of a descriptor of the sink: its reader has closed
    /// it.
    pub failed: bool,
}

/// The clock, read once a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the start.
    pub since_start: Duration,
    /// Wall-clock time, in milliseconds since 1970.
    pub wall_ms: u64,
}

/// How a listener is set up.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions {
    /// Permission bits of a Unix socket's file.
    pub unix_mode: u32,
    /// Silence after which TCP probes a client; 0 is never.
    pub keepalive: Duration,
    /// Whether an IPv6 listener accepts no IPv4 clients, as another listener does.
    pub only_v6: bool,
    /// Receive buffer to ask for at UDP, in bytes; 0 is that of the system.
    pub udp_buffer: usize,
}

impl SocketOptions {
    /// Those of the status endpoint.
    #[must_use]
    pub fn of_status(keepalive: Duration) -> Self {
        Self { unix_mode: 0o600, keepalive, only_v6: false, udp_buffer: 0 }
    }
}

/// The kernel, as the loop sees it. Every call may return `Interrupted` or `WouldBlock`, and never blocks but `poll`.
pub trait Net {
    /// A listening socket; dropping it closes it.
    type Listener;
    /// A connection; dropping it closes it.
    type Stream;

    /// Listens at `at`, as listener number `number`. Also returns the address, with the port that the system picked if
    /// `at` has port 0.
    ///
    /// # Errors
    /// Those of `bind` and `listen`.
    fn listen(
        &mut self,
        at: &ListenAddr,
        options: &SocketOptions,
        number: usize,
    ) -> io::Result<(Self::Listener, ListenAddr)>;
    /// Whether the box does not have a listener's address yet: clients can connect as soon as it does.
    fn is_early(&self, listener: &Self::Listener) -> bool {
        let _ = listener;
        false
    }
    /// Whether somebody else keeps this listener open, so that clients that wait in its backlog wait for the next process
    /// that uses it. If so, `poll` reports no more events of it.
    fn leave(&mut self, listener: &mut Self::Listener) -> bool {
        let _ = listener;
        false
    }
    /// Accepts one client.
    ///
    /// # Errors
    /// `WouldBlock` when none waits, else those of `accept`.
    fn accept(&mut self, listener: &mut Self::Listener) -> io::Result<(Self::Stream, Peer)>;
    /// Takes the next datagram from a UDP listener, and says who sent it. The buffer has room for the longest there can be,
    /// [`LONGEST_DATAGRAM`].
    ///
    /// # Errors
    /// `WouldBlock` when none waits, else those of `recvfrom`.
    fn receive(&mut self, listener: &mut Self::Listener, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        let _ = (listener, buffer);
        Err(ErrorKind::WouldBlock.into())
    }
    /// How many datagrams the kernel has dropped at a UDP listener since the last question, as there was no room for them.
    fn new_drops(&mut self, listener: &mut Self::Listener) -> u32 {
        let _ = listener;
        0
    }
    /// The size of a UDP listener's receive buffer in bytes, if the kernel tells.
    fn udp_buffer(&self, listener: &Self::Listener) -> Option<usize> {
        let _ = listener;
        None
    }
    /// Whether a client waits at this listener; true if nobody knows.
    fn has_client(&mut self, listener: &Self::Listener) -> bool {
        let _ = listener;
        true
    }
    /// Makes `poll` report when the connection can be read: once each time that bytes arrive (edge-triggered).
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    fn register(&mut self, stream: &mut Self::Stream, key: Key) -> io::Result<()>;
    /// Reads what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is, else those of `read`.
    fn read(&mut self, stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;
    /// The same of a connection over TCP, and all of it is there still.
    ///
    /// # Errors
    /// Those of `read`.
    fn peek(&mut self, stream: &mut Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;
    /// Makes `poll` report when a connection of the status endpoint can be read or written.
    ///
    /// # Errors
    /// When the kernel has no memory for it.
    fn register_visitor(&mut self, stream: &mut Self::Stream, number: usize) -> io::Result<()>;
    /// Sends as many bytes as the kernel takes without waiting; returns how many.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing, else those of `send`.
    fn write(&mut self, stream: &mut Self::Stream, bytes: &[u8]) -> io::Result<usize>;
    /// Sends our FIN; reading goes on.
    ///
    /// # Errors
    /// When the connection is gone already.
    fn say_goodbye(&mut self, stream: &mut Self::Stream) -> io::Result<()>;
    /// When the connection is closed, it is reset: whoever wrote to it learns that nothing was taken.
    fn refuse(&mut self, stream: &mut Self::Stream) {
        let _ = stream;
    }
    /// Makes `poll` report when a descriptor of the sink can be written (or also read, if `is_read`), and when its other side
    /// has closed it.
    ///
    /// # Errors
    /// When it can't be polled.
    fn watch_sink(&mut self, number: usize, descriptor: BorrowedFd<'_>, is_read: bool) -> io::Result<()>;
    /// Makes `poll` report when the connection of the poller with this number, below 4096, can be read or written.
    ///
    /// # Errors
    /// When it can't be polled.
    fn watch_poller(&mut self, number: u32, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let _ = (number, descriptor);
        Err(ErrorKind::Unsupported.into())
    }
    /// A socket by which other threads and signals wake the loop up: each byte that is written to it ends a `poll`. `None`
    /// if polls end by themselves, as in a simulation.
    ///
    /// # Errors
    /// When no descriptor is free.
    fn waker(&self) -> io::Result<Option<StdUnixStream>>;
    /// Waits for `time`, in which more bytes may arrive (`--gather`); a wake-up ends it.
    ///
    /// # Errors
    /// Those of `epoll_wait` but `Interrupted`.
    fn pause(&mut self, time: Duration) -> io::Result<()>;
    /// Waits for events, at most `timeout`, and appends them.
    ///
    /// # Errors
    /// Those of `epoll_wait` but `Interrupted`.
    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;
    /// Reads the clock.
    fn now(&self) -> Now;
}

/// The real [`Net`]: epoll, by mio.
pub struct Mio {
    poll: Poll,
    /// A second epoll. It watches the wake-up alone, for [`Net::pause`]. When `accept` fails because no descriptor is free,
    /// it is also used to ask whether a client waits at all.
    probe: Poll,
    events: Events,
    wake_reader: mio::net::UnixStream,
    wake_writer: StdUnixStream,
    start: Instant,
    unix_serial: u32,
    /// Listening sockets that somebody else has opened, until [`Net::listen`] is called for their address.
    inherited: Vec<Inherited>,
    /// The same of those that we have opened before.
    bound: Vec<Bound>,
}

/// A socket that was bound before there is a loop, such as by root, which its process gives up then.
pub struct Bound {
    at: ListenAddr,
    socket: Socket,
    file: Option<SocketFile>,
}

impl Bound {
    /// Binds one.
    ///
    /// # Errors
    /// Of the system.
    pub fn new(at: &ListenAddr, options: &SocketOptions) -> io::Result<Self> {
        let at = at.clone();
        match &at {
            ListenAddr::Tcp(addr) => open(*addr, Type::STREAM, options).map(|socket| (socket, None)),
            ListenAddr::Udp(addr) => open(*addr, Type::DGRAM, options).map(|socket| (socket, None)),
            ListenAddr::Unix(path) => {
                let (socket, file) = socket_file::listen(path, options.unix_mode, BACKLOG)?;
                Ok((socket, Some(file)))
            }
        }
        .map(|(socket, file)| Self { at, socket, file })
    }
}

/// A listening socket. Its file, which the keeper has, goes before it is closed.
pub enum Listener {
    /// TCP.
    Tcp(Keeper, mio::net::TcpListener),
    /// UDP.
    Udp(Keeper, UdpListener),
    /// Unix.
    Unix(Keeper, mio::net::UnixListener),
}

/// Who keeps a listening socket open.
pub enum Keeper {
    /// We: it is closed when we end, and its file is removed if it has one.
    We(Option<SocketFile>),
    /// Somebody else, who has opened it and keeps it open.
    Another,
}

/// A UDP socket.
pub struct UdpListener(Datagrams);

/// A connection.
pub enum Stream {
    /// TCP.
    Tcp(mio::net::TcpStream),
    /// Unix.
    Unix(mio::net::UnixStream),
}

impl Mio {
    /// An empty poll loop.
    ///
    /// # Errors
    /// When no descriptor is free.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let (wake_reader, wake_writer) = StdUnixStream::pair()?;
        wake_reader.set_nonblocking(true)?;
        wake_writer.set_nonblocking(true)?;
        let mut wake_reader = mio::net::UnixStream::from_std(wake_reader);
        poll.registry().register(&mut wake_reader, Token(WAKE), Interest::READABLE)?;
        let events = Events::with_capacity(EVENTS);
        let probe = Poll::new()?;
        probe.registry().register(&mut SourceFd(&wake_reader.as_raw_fd()), Token(WAKE), Interest::READABLE)?;
        let (start, inherited, bound) = (Instant::now(), Vec::new(), Vec::new());
        Ok(Self { poll, probe, events, wake_reader, wake_writer, start, unix_serial: 0, inherited, bound })
    }

    /// From now on [`Net::listen`] uses one of these sockets if it has the address that is asked for.
    pub fn inherit(&mut self, inherited: Vec<Inherited>) {
        self.inherited = inherited;
    }

    /// And one of these.
    pub fn have(&mut self, bound: Vec<Bound>) {
        self.bound = bound;
    }

    /// One that was bound before, or a new one. Several with port 0 come in their order.
    fn bind(&mut self, at: &ListenAddr, options: &SocketOptions) -> io::Result<Bound> {
        match self.bound.iter().position(|one| one.at == *at) {
            Some(found) => Ok(self.bound.remove(found)),
            None => Bound::new(at, options),
        }
    }

    fn take_inherited(&mut self, at: &ListenAddr) -> Option<Inherited> {
        let found = self.inherited.iter().position(|one| one.at() == at)?;
        Some(self.inherited.swap_remove(found))
    }

    fn accept_one(&mut self, listener: &mut Listener) -> io::Result<(Stream, Peer)> {
        match listener {
            Listener::Tcp(_, listener) => listener.accept().map(|(stream, addr)| (Stream::Tcp(stream), addr.into())),
            // No connection ever comes there.
            Listener::Udp(..) => Err(ErrorKind::WouldBlock.into()),
            Listener::Unix(_, listener) => {
                let (stream, _) = listener.accept()?;
                // As at TCP, which hands it on to each connection. Older kernels know no urgent bytes here.
                let _ = SockRef::from(&stream).set_out_of_band_inline(true);
                self.unix_serial = self.unix_serial.wrapping_add(1);
                Ok((Stream::Unix(stream), Peer::Unix { serial: self.unix_serial }))
            }
        }
    }

    /// Asks whether a client waits at a listener: adds it to the second epoll for a moment, and asks that.
    fn probe(&mut self, listener: &Listener) -> io::Result<bool> {
        let descriptor = listener.as_raw_fd();
        let mut events = Events::with_capacity(2);
        self.probe.registry().register(&mut SourceFd(&descriptor), Token(FIRST_LISTENER), Interest::READABLE)?;
        let polled = self.probe.poll(&mut events, Some(Duration::ZERO));
        self.probe.registry().deregister(&mut SourceFd(&descriptor))?;
        polled?;
        Ok(events.iter().any(|event| event.token() == Token(FIRST_LISTENER)))
    }

    /// Reads the wake-up socket until it is empty, or its next byte would make no event.
    fn drain_wake_up(&mut self) {
        let mut bytes = [0; 64];
        while matches!(self.wake_reader.read(&mut bytes), Ok(1..)) {}
    }
}

impl Net for Mio {
    type Listener = Listener;
    type Stream = Stream;

    fn listen(
        &mut self,
        at: &ListenAddr,
        options: &SocketOptions,
        number: usize,
    ) -> io::Result<(Listener, ListenAddr)> {
        let token = Token(FIRST_LISTENER + number);
        let (socket, keeper) = match self.take_inherited(at) {
            Some(inherited) => (adopt(inherited, options)?, Keeper::Another),
            None => {
                let Bound { socket, file, .. } = self.bind(at, options)?;
                (socket, Keeper::We(file))
            }
        };
        match at {
            ListenAddr::Tcp(_) => {
                let mut listener = mio::net::TcpListener::from_std(socket.into());
                let local = ListenAddr::Tcp(listener.local_addr()?);
                self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
                Ok((Listener::Tcp(keeper, listener), local))
            }
            ListenAddr::Udp(_) => {
                let datagrams = Datagrams::new(socket, options.udp_buffer)?;
                let local = ListenAddr::Udp(datagrams.local_addr()?);
                let registry = self.poll.registry();
                registry.register(&mut SourceFd(&datagrams.as_raw_fd()), token, Interest::READABLE)?;
                Ok((Listener::Udp(keeper, UdpListener(datagrams)), local))
            }
            ListenAddr::Unix(_) => {
                let mut listener = mio::net::UnixListener::from_std(socket.into());
                self.poll.registry().register(&mut listener, token, Interest::READABLE)?;
                Ok((Listener::Unix(keeper, listener), at.clone()))
            }
        }
    }

    fn is_early(&self, listener: &Listener) -> bool {
        let socket = match listener {
            Listener::Tcp(_, listener) => SockRef::from(listener),
            Listener::Udp(_, listener) => listener.0.socket(),
            Listener::Unix(..) => return false,
        };
        socket.freebind_v4().unwrap_or_default() || socket.freebind_v6().unwrap_or_default()
    }

    fn leave(&mut self, listener: &mut Listener) -> bool {
        let (Listener::Tcp(keeper, _) | Listener::Udp(keeper, _) | Listener::Unix(keeper, _)) = listener;
        let is_kept = matches!(keeper, Keeper::Another);
        if is_kept {
            // Trap: a close takes nothing out of an epoll while somebody else has the socket open.
            let _ = self.poll.registry().deregister(&mut SourceFd(&listener.as_raw_fd()));
        }
        is_kept
    }

    fn accept(&mut self, listener: &mut Listener) -> io::Result<(Stream, Peer)> {
        match self.accept_one(listener) {
            // Linux looks for a free descriptor before it looks for a client, so this error may come though no client
            // waits. Then no lingering connection has to be closed for it, and nobody has to be warned.
            Err(error) if is_descriptor_shortage(&error) && !self.probe(listener)? => Err(ErrorKind::WouldBlock.into()),
            accepted => accepted,
        }
    }

    fn receive(&mut self, listener: &mut Listener, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        let Listener::Udp(_, UdpListener(datagrams)) = listener else { return Err(ErrorKind::WouldBlock.into()) };
        datagrams.receive(buffer).map(|(count, addr)| (count, addr.into()))
    }

    fn new_drops(&mut self, listener: &mut Listener) -> u32 {
        if let Listener::Udp(_, UdpListener(datagrams)) = listener { datagrams.new_drops() } else { 0 }
    }

    fn udp_buffer(&self, listener: &Listener) -> Option<usize> {
        if let Listener::Udp(_, UdpListener(datagrams)) = listener { datagrams.buffer() } else { None }
    }

    fn has_client(&mut self, listener: &Listener) -> bool {
        self.probe(listener).unwrap_or(true)
    }

    fn register(&mut self, stream: &mut Stream, key: Key) -> io::Result<()> {
        let token = Token(pack(key));
        // Urgent data is told of, since a read ends before it.
        let interest = Interest::READABLE | Interest::PRIORITY;
        match stream {
            Stream::Tcp(stream) => self.poll.registry().register(stream, token, interest),
            Stream::Unix(stream) => self.poll.registry().register(stream, token, interest),
        }
    }

    fn read(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
        match stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }

    fn peek(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
        match stream {
            Stream::Tcp(stream) => stream.peek(buffer),
            // No proxy is asked for a header there.
            Stream::Unix(_) => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn register_visitor(&mut self, stream: &mut Stream, number: usize) -> io::Result<()> {
        let (token, interest) = (Token(FIRST_VISITOR + number), Interest::READABLE | Interest::WRITABLE);
        // One that does not read costs no more of the kernel's memory, and is known for what it is sooner.
        let _ = match stream {
            Stream::Tcp(stream) => SockRef::from(&*stream).set_send_buffer_size(VISITOR_BUFFER),
            Stream::Unix(stream) => SockRef::from(&*stream).set_send_buffer_size(VISITOR_BUFFER),
        };
        match stream {
            Stream::Tcp(stream) => self.poll.registry().register(stream, token, interest),
            Stream::Unix(stream) => self.poll.registry().register(stream, token, interest),
        }
    }

    fn write(&mut self, stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
        let socket = match stream {
            Stream::Tcp(stream) => SockRef::from(&*stream),
            Stream::Unix(stream) => SockRef::from(&*stream),
        };
        socket.send_with_flags(bytes, MSG_NOSIGNAL)
    }

    fn say_goodbye(&mut self, stream: &mut Stream) -> io::Result<()> {
        match stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn refuse(&mut self, stream: &mut Stream) {
        if let Stream::Tcp(stream) = stream {
            let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
        }
    }

    fn watch_sink(&mut self, number: usize, descriptor: BorrowedFd<'_>, is_read: bool) -> io::Result<()> {
        let interest = if is_read { Interest::WRITABLE | Interest::READABLE } else { Interest::WRITABLE };
        let token = Token(FIRST_SINK + number.min(MOST_WATCHED - 1));
        self.poll.registry().register(&mut SourceFd(&descriptor.as_raw_fd()), token, interest)
    }

    fn watch_poller(&mut self, number: u32, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        // It is no place in the table of connections, so this is no token of one.
        let token = Token(pack(Key { index: 0, generation: number }) | POLLER);
        let interest = Interest::WRITABLE | Interest::READABLE;
        self.poll.registry().register(&mut SourceFd(&descriptor.as_raw_fd()), token, interest)
    }

    fn waker(&self) -> io::Result<Option<StdUnixStream>> {
        self.wake_writer.try_clone().map(Some)
    }

    fn pause(&mut self, time: Duration) -> io::Result<()> {
        match self.probe.poll(&mut self.events, Some(time)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut is_woken = false;
        for event in &self.events {
            let source = unpack(event.token().0);
            is_woken |= source == Source::Wake;
            let failed = event.is_error() || event.is_write_closed();
            ready.push(Ready { source, ends: failed || event.is_read_closed() || event.is_priority(), failed });
        }
        if is_woken {
            self.drain_wake_up();
        }
        Ok(())
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { since_start: self.start.elapsed(), wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX) }
    }
}

fn pack(key: Key) -> usize {
    // A generation has no more bits than are left above the index (`Key::new`), so nothing is shifted out.
    (key.generation as usize) << INDEX_BITS | key.index as usize
}

fn unpack(token: usize) -> Source {
    match token {
        WAKE => Source::Wake,
        FIRST_SINK..WAKE => Source::Sink(token - FIRST_SINK),
        FIRST_VISITOR..FIRST_SINK => Source::Visitor(token - FIRST_VISITOR),
        FIRST_LISTENER..FIRST_VISITOR if token != POLLER => Source::Listener(token - FIRST_LISTENER),
        _ => {
            let index = u32::try_from(token & INDEX_MASK).unwrap_or_default();
            let generation = u32::try_from(token >> INDEX_BITS).unwrap_or_default();
            if index as usize == POLLER {
                Source::Poller(generation)
            } else {
                Source::Connection(Key::new(index, generation))
            }
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Tcp(_, listener) => listener.as_raw_fd(),
            Self::Udp(_, listener) => listener.0.as_raw_fd(),
            Self::Unix(_, listener) => listener.as_raw_fd(),
        }
    }
}

/// Prepares an inherited socket for the loop: non-blocking, closed on exec, with keepalive. It stays non-blocking for
/// everybody who shares it, also when we end: the next process may be using it already.
fn adopt(inherited: Inherited, options: &SocketOptions) -> io::Result<Socket> {
    let is_tcp = matches!(inherited.at(), ListenAddr::Tcp(_));
    let socket = inherited.into_socket();
    socket.set_nonblocking(true)?;
    socket.set_cloexec(true)?;
    if is_tcp {
        prepare(&socket, options.keepalive)?;
    }
    Ok(socket)
}

/// Binds a socket of TCP, which listens then, or of UDP.
fn open(addr: SocketAddr, kind: Type, options: &SocketOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, None)?;
    let is_tcp = kind == Type::STREAM;
    if addr.is_ipv6() {
        socket.set_only_v6(options.only_v6)?;
    }
    if is_tcp {
        // The port can be bound again at once after a restart (P11). Of UDP it can anyway, and there this would let another
        // program take the datagrams.
        socket.set_reuse_address(true)?;
        prepare(&socket, options.keepalive)?;
    }
    socket.set_nonblocking(true)?;
    match socket.bind(&addr.into()) {
        // At boot, an address may come after us (DHCP, a VPN): `is_early` tells.
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            if addr.is_ipv6() { socket.set_freebind_v6(true) } else { socket.set_freebind_v4(true) }?;
            socket.bind(&addr.into())?;
        }
        bound => bound?,
    }
    if is_tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

/// These are set on the listener, since Linux hands them on to every accepted connection: no system call per client.
/// Keepalive; and urgent bytes stay where they are among the others.
fn prepare(listener: &Socket, silence: Duration) -> io::Result<()> {
    listener.set_out_of_band_inline(true)?;
    if silence.is_zero() {
        return Ok(());
    }
    let between = (silence / 10).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(silence).with_interval(between).with_retries(KEEPALIVE_PROBES);
    listener.set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_brings_back_what_it_was_made_of() {
        for key in [Key::new(0, 0), Key::new(1, 7), Key::new(1_048_511, u32::MAX)] {
            assert_eq!(unpack(pack(key)), Source::Connection(key));
        }
        assert_eq!(unpack(FIRST_LISTENER), Source::Listener(0));
        assert_eq!((unpack(FIRST_SINK), unpack(WAKE - 1)), (Source::Sink(0), Source::Sink(MOST_WATCHED - 1)));
        assert_eq!(unpack(WAKE), Source::Wake);
        for number in [0, MOST_POLLERS - 1] {
            assert_eq!(unpack(pack(Key { index: 0, generation: number }) | POLLER), Source::Poller(number));
        }
    }
}
