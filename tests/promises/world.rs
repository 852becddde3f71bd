//! A server and its clients in one thread: the test makes every turn, and every invariant is checked after each.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lumberjack::{Config, Framing, Handle, Limits, Listen, ListenAddr, RunError, Server, Status, Turn};
use socket2::{Domain, Socket, Type};

use super::capture;
use super::client::{Client, over_tls, pump};
use super::common::patience::{PATIENCE, Patient};
use super::common::watchdog::watch;
use super::valve::Valve;

/// Longest wait for anything; it is never reached unless something is wrong.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) server: Server<Valve>,
    pub(crate) handle: Handle,
    pub(crate) valve: Valve,
    addr: SocketAddr,
    /// Clients speak TLS.
    #[cfg_attr(not(feature = "tls"), expect(dead_code))]
    is_secured: bool,
}

/// A socket with an address that no other client of these tests has had: what the log says of it is told by that.
fn bound_anew(ip: [u8; 4]) -> Socket {
    static HAD: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((ip, 0)).into()).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        if HAD.lock().unwrap().insert(addr) {
            return socket;
        }
    }
}

impl World {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::with(limits, Framing::Lines)
    }

    /// One whose clients send messages in this framing.
    pub(crate) fn with(limits: Limits, framing: Framing) -> Self {
        Self::listening(&format!("0.0.0.0:0,framing={framing}"), limits)
    }

    /// One that listens there, as `--listen` has it.
    pub(crate) fn listening(at: &str, limits: Limits) -> Self {
        let listen = vec![at.parse::<Listen>().unwrap()];
        Self::of(Config { listen, limits, ..Config::listen(ListenAddr::Unix("/x".into())) })
    }

    /// One that listens on UDP too, with a receive buffer of so many bytes; and where.
    pub(crate) fn with_udp(limits: Limits, udp_buffer: usize) -> (Self, SocketAddr) {
        Self::listening_udp("", limits, udp_buffer)
    }

    /// The same with these options behind its address.
    pub(crate) fn listening_udp(options: &str, limits: Limits, udp_buffer: usize) -> (Self, SocketAddr) {
        let mut config = Config { limits, udp_buffer, ..Config::listen("0.0.0.0:0".parse().unwrap()) };
        config.listen.push(format!("udp:0.0.0.0:0{options}").parse().unwrap());
        let world = Self::of(config);
        let ListenAddr::Udp(at) = world.server.local_addrs()[1] else { panic!("no UDP listener") };
        (world, SocketAddr::from((Ipv4Addr::LOCALHOST, at.port())))
    }

    fn of(mut config: Config) -> Self {
        // What a proxy would send before is no TLS, a few KiB of memory are none for it, and its handshake takes longer than the
        // silence of some tests. Bytes that rates let through come by records.
        let (limits, own) = (&config.limits, &config.listen[0].options);
        let is_quick = (1..100).contains(&limits.idle_timeout.as_millis());
        let is_apart = own.proxy || own.rate != lumberjack::Rate::Off || config.listen.len() > 1;
        let is_secured = over_tls() && limits.memory >= 8 << 20 && !is_quick && !is_apart;
        if is_secured {
            let listen = config.listen[0].to_string() + &options();
            config.listen[0] = listen.parse().unwrap();
        }
        Self { is_secured, ..Self::as_it_is(config) }
    }

    /// One whose clients speak TLS only as they choose to.
    pub(crate) fn as_it_is(config: Config) -> Self {
        watch();
        capture::start();
        let valve = Valve::new();
        let server = Server::bind(config, valve.clone()).unwrap();
        let ListenAddr::Tcp(addr) = server.local_addrs()[0].clone() else { panic!("no TCP listener") };
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, addr.port()));
        Self { handle: server.handle(), server, valve, addr, is_secured: false }
    }

    pub(crate) fn status(&self) -> Status {
        self.handle.status()
    }

    pub(crate) fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Connects; the server has not accepted it yet.
    pub(crate) fn client(&self) -> Client {
        self.client_of([127, 0, 0, 1])
    }

    /// Connects from another loopback address: another host.
    pub(crate) fn client_of(&self, ip: [u8; 4]) -> Client {
        let socket = self.socket_of(ip);
        #[cfg(feature = "tls")]
        if self.is_secured {
            return Client::secured(socket, &super::tls_client::usual());
        }
        Client::plain(socket)
    }

    /// The socket of a client.
    pub(crate) fn socket_of(&self, ip: [u8; 4]) -> TcpStream {
        let socket = bound_anew(ip);
        socket.connect_timeout(&self.addr.into(), PATIENCE).unwrap();
        // A write that the server is to make room for, in this thread, would wait for ever.
        TcpStream::from(socket).patient()
    }

    /// Connects, and makes turns until the server has accepted it.
    pub(crate) fn taken_client(&mut self) -> Client {
        let before = self.status().counters.accepted;
        let client = self.client();
        self.until("the client is taken", |world| world.status().counters.accepted > before);
        #[cfg(feature = "tls")]
        if self.is_secured {
            self.until("its handshake", |_| !client.tls().session.is_handshaking());
            // The server has the last message of it.
            self.turn(Duration::ZERO).unwrap();
            self.turn(Duration::ZERO).unwrap();
        }
        client
    }

    /// One turn that waits for at most `timeout`.
    pub(crate) fn turn(&mut self, timeout: Duration) -> Result<Turn, RunError> {
        pump();
        let turn = self.server.turn(Some(timeout))?;
        pump();
        self.server.check();
        Ok(turn)
    }

    /// Turns for so long: a silence of the clients.
    pub(crate) fn turns_for(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.turn(Duration::from_millis(5)).unwrap();
        }
    }

    /// Turns until `holds`.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < DEADLINE, "never came: {what}; {:?}", self.status());
            self.turn(Duration::from_millis(5)).unwrap();
        }
    }

    /// Turns until it ends by itself, with this error.
    pub(crate) fn until_error(&mut self) -> RunError {
        let begun = Instant::now();
        loop {
            if let Err(error) = self.turn(Duration::from_millis(50)) {
                return error;
            }
            assert!(begun.elapsed() < DEADLINE, "it goes on: {:?}", self.status());
        }
    }

    /// Sends, and turns until the server has read it.
    pub(crate) fn send_and_wait(&mut self, client: &mut Client, bytes: &[u8]) {
        let expected = self.status().counters.bytes + bytes.len() as u64;
        send(client, bytes);
        self.until("it is read", |world| world.status().counters.bytes == expected);
    }

    pub(crate) fn until_lines(&mut self, expected: &[&str]) {
        let begun = Instant::now();
        while self.valve.lines().len() < expected.len() && begun.elapsed() < DEADLINE {
            self.turn(Duration::from_millis(5)).unwrap();
        }
        assert_eq!(self.texts(), expected);
    }

    /// The output's lines as text.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.valve.lines().iter().map(|line| line.escape_ascii().to_string()).collect()
    }

    /// Stops the server and turns to its end.
    pub(crate) fn stop(&mut self) -> Result<(), RunError> {
        self.handle.stop();
        let begun = Instant::now();
        while self.turn(Duration::from_millis(50))? == Turn::Running {
            assert!(begun.elapsed() < DEADLINE, "the drain does not end: {:?}", self.status());
        }
        Ok(())
    }
}

/// Sends all of it; the kernel takes it, or the test is wrong.
pub(crate) fn send(client: &mut Client, bytes: &[u8]) {
    client.write_all(bytes).unwrap();
}

/// Closes with an RST instead of a FIN.
pub(crate) fn reset(client: Client) {
    client.reset();
}

/// Whether the server's FIN is there.
pub(crate) fn is_told_goodbye(client: &Client) -> bool {
    client.is_told_goodbye()
}

/// The address that the server's messages name a client by.
pub(crate) fn name(client: &Client) -> String {
    client.local_addr().unwrap().to_string()
}

/// What a listener with TLS has behind its address.
#[cfg(feature = "tls")]
fn options() -> String {
    super::tls_client::options()
}

#[cfg(not(feature = "tls"))]
fn options() -> String {
    String::new()
}
