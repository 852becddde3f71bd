//! A simulated world over TLS (P33): a whole server over a network of the test's own, and clients that speak TLS and end in every
//! way, in bytes cut anywhere; beside them clients that never finish a handshake, speak no TLS, or break it. What an honest client
//! said is in the sink once and in order, nothing of the others is, no handshake lasts, and nothing is left. (Keys are drawn anew by
//! the library each time: sizes and order stay.)

#[path = "../certs/paths.rs"]
mod certs;
#[path = "../sim/dice.rs"]
mod dice;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use certs::cert;
pub(crate) use dice::Dice;
use lumberjack::internals::tls::Session;
use lumberjack::internals::tls::files::{authorities, client_config, own_key_pair};
use lumberjack::internals::tls::rustls::ClientConfig;
use lumberjack::internals::tls::rustls::pki_types::ServerName;
use lumberjack::internals::{Key, Net, Now, Ready, SocketOptions, Source};
use lumberjack::{Config, Limits, Lines, Listen, ListenAddr, Origin, Peer, Server, Sink, State, Turn};

/// Clients with a certificate, and without one.
static CLIENTS: LazyLock<[Arc<ClientConfig>; 2]> = LazyLock::new(|| {
    let own = own_key_pair(&cert("client.pem"), &cert("client.key")).unwrap();
    let trusted = authorities(Some(&cert("ca.pem"))).unwrap();
    [Some(&own), None].map(|own| client_config(&trusted, own).unwrap())
});

/// The longest that a handshake may take, and a tick of the wheel.
const HANDSHAKE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(100);
/// More turns than any world needs.
const MOST_TURNS: u32 = 100_000;

/// How a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It says its lines, and then that it ends, and closes.
    Honest,
    /// It closes without a word.
    Curt,
    /// It stays silent, and closes once it is told goodbye.
    Quiet,
    /// It resets the connection after its lines.
    Broken,
    /// It never finishes its handshake.
    Half,
    /// It has no certificate, and has to.
    Nameless,
    /// It speaks no TLS.
    Plain,
    /// Something changes a byte on the way.
    Changed,
}

const KINDS: [Kind; 11] = [
    Kind::Honest,
    Kind::Honest,
    Kind::Honest,
    Kind::Curt,
    Kind::Curt,
    Kind::Quiet,
    Kind::Broken,
    Kind::Half,
    Kind::Nameless,
    Kind::Plain,
    Kind::Changed,
];

/// One client, and its end of the wire.
struct Client {
    kind: Kind,
    session: Option<Session>,
    /// What the server has written.
    inbox: Vec<u8>,
    /// What it still has to say, each at its time.
    script: VecDeque<(Duration, Vec<u8>)>,
    /// All that it said once the handshake was over.
    said: Vec<u8>,
    /// What is on its way to the server, with the client's end behind it.
    wire: VecDeque<u8>,
    has_ended: bool,
    is_reset: bool,
    /// Whether the server said goodbye, has closed, and took it in.
    was_told: bool,
    is_closed: bool,
    key: Option<Key>,
    taken_at: Duration,
    closed_at: Option<Duration>,
    has_edge: bool,
}

#[derive(Default)]
struct Wire {
    now: Duration,
    clients: Vec<Client>,
    backlog: VecDeque<usize>,
    arrivals: BTreeMap<(Duration, usize), ()>,
    is_listener_told: bool,
    dice: Option<Dice>,
}

impl Wire {
    fn chance(&mut self, percent: u64) -> bool {
        self.dice.as_mut().unwrap().chance(percent)
    }

    fn size(&mut self, end: usize) -> usize {
        self.dice.as_mut().unwrap().size(end)
    }

    /// A client does what it can: hears what came, shakes hands, says what is due, and ends.
    fn step(&mut self, number: usize) {
        let now = self.now;
        let client = &mut self.clients[number];
        if client.is_reset || client.key.is_none() {
            return;
        }
        let before = (client.wire.len(), client.has_ended);
        client.step(now);
        if client.kind == Kind::Changed && client.wire.len() > 400 && !client.said.is_empty() {
            let at = client.wire.len() - 3;
            client.wire[at] ^= 0x10;
            client.kind = Kind::Broken;
        }
        client.has_edge |= before != (client.wire.len(), client.has_ended) || client.is_reset;
    }

    fn next_at(&self) -> Option<Duration> {
        let due = |client: &Client| client.script.front().filter(|_| client.is_ready()).map(|(at, _)| *at);
        let said = self.clients.iter().filter_map(due).min();
        let comes = self.arrivals.keys().next().map(|(at, _)| *at);
        said.into_iter().chain(comes).min()
    }
}

impl Client {
    fn is_ready(&self) -> bool {
        self.session.as_ref().is_none_or(Session::is_ready) && !self.has_ended && !self.is_reset && self.key.is_some()
    }

    fn step(&mut self, now: Duration) {
        let Self { session, inbox, wire, .. } = self;
        if let Some(session) = session {
            // What it is told of is no line of its own.
            let (used, went) = session.received(inbox, &mut |_| true);
            inbox.drain(..used);
            let unsent = session.unsent().to_vec();
            if self.kind != Kind::Half || self.taken_at == now {
                wire.extend(&unsent);
                // Half of a first message is all that comes.
                if self.kind == Kind::Half {
                    wire.truncate(unsent.len() / 2);
                }
            }
            session.sent(unsent.len());
            self.has_ended |= went.is_err();
        }
        while self.is_ready() && self.script.front().is_some_and(|(at, _)| *at <= now) {
            let (_, lines) = self.script.pop_front().unwrap();
            match &mut self.session {
                Some(session) => {
                    let mut cipher = Vec::new();
                    session.encrypt(&lines, &mut cipher).unwrap();
                    self.wire.extend(cipher);
                    self.said.extend_from_slice(&lines);
                }
                None => self.wire.extend(lines),
            }
        }
        if self.is_ready() && self.script.is_empty() {
            self.end();
        }
    }

    fn end(&mut self) {
        match self.kind {
            Kind::Honest => {
                let session = self.session.as_mut().unwrap();
                session.say_end();
                self.wire.extend(session.unsent());
                let count = session.unsent().len();
                session.sent(count);
                self.has_ended = true;
            }
            Kind::Quiet => self.has_ended = self.was_told,
            Kind::Broken => self.is_reset = true,
            Kind::Half => {}
            Kind::Curt | Kind::Plain | Kind::Nameless | Kind::Changed => self.has_ended = true,
        }
    }
}

/// The network that the server has.
#[derive(Clone)]
struct World(Rc<RefCell<Wire>>);

/// A connection; dropping it closes it.
struct Stream(Rc<RefCell<Wire>>, usize);

impl Drop for Stream {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let wire = &mut *self.0.borrow_mut();
        let (now, client) = (wire.now, &mut wire.clients[self.1]);
        client.is_closed = true;
        client.closed_at = Some(now);
        // A close before the end was read resets: nothing that was taken in may be lost by it.
        let is_excused =
            matches!(client.kind, Kind::Half | Kind::Nameless | Kind::Plain | Kind::Changed | Kind::Broken);
        assert!(client.wire.is_empty() || is_excused, "client {} was closed before its end", self.1);
    }
}

impl Net for World {
    type Listener = ();
    type Stream = Stream;

    fn listen(&mut self, at: &ListenAddr, _: &SocketOptions, _: usize) -> io::Result<((), ListenAddr)> {
        Ok(((), at.clone()))
    }

    fn accept(&mut self, (): &mut ()) -> io::Result<(Stream, Peer)> {
        let wire = &mut *self.0.borrow_mut();
        let number = wire.backlog.pop_front().ok_or(ErrorKind::WouldBlock)?;
        wire.clients[number].taken_at = wire.now;
        let address = SocketAddr::from(([10, 0, u8::try_from(number / 8).unwrap(), 1], port_of(number)));
        Ok((Stream(Rc::clone(&self.0), number), address.into()))
    }

    fn register(&mut self, stream: &mut Stream, key: Key) -> io::Result<()> {
        let wire = &mut *self.0.borrow_mut();
        wire.clients[stream.1].key = Some(key);
        wire.step(stream.1);
        Ok(())
    }

    fn read(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
        let wire = &mut *self.0.borrow_mut();
        assert!(!buffer.is_empty());
        let client = &wire.clients[stream.1];
        if client.is_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if client.wire.is_empty() {
            return if client.has_ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        // Some of it has not arrived yet, and is told of when it has.
        let there = client.wire.len();
        let arrived = if wire.chance(30) { 1 + wire.size(there) } else { there };
        let most = buffer.len().min(arrived);
        wire.clients[stream.1].has_edge |= arrived < there;
        for (to, from) in buffer.iter_mut().zip(wire.clients[stream.1].wire.drain(..most)) {
            *to = from;
        }
        Ok(most)
    }

    fn peek(&mut self, _: &mut Stream, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    fn register_visitor(&mut self, _: &mut Stream, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
        let wire = &mut *self.0.borrow_mut();
        // A client that is gone takes nothing.
        if wire.clients[stream.1].is_reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        wire.clients[stream.1].inbox.extend_from_slice(bytes);
        wire.step(stream.1);
        Ok(bytes.len())
    }

    fn say_goodbye(&mut self, stream: &mut Stream) -> io::Result<()> {
        let wire = &mut *self.0.borrow_mut();
        wire.clients[stream.1].was_told = true;
        wire.step(stream.1);
        Ok(())
    }

    fn watch_sink(&mut self, _: usize, _: BorrowedFd<'_>, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn waker(&self) -> io::Result<Option<UnixStream>> {
        Ok(None)
    }

    fn pause(&mut self, time: Duration) -> io::Result<()> {
        self.0.borrow_mut().now += time;
        Ok(())
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let wire = &mut *self.0.borrow_mut();
        let has_news = wire.is_listener_told || wire.clients.iter().any(|client| client.has_edge && !client.is_closed);
        if !has_news {
            let end = timeout.map_or(wire.now + HANDSHAKE, |timeout| wire.now + timeout);
            wire.now = wire.next_at().unwrap_or(end).min(end).max(wire.now);
        }
        while let Some((&(at, number), ())) = wire.arrivals.first_key_value().filter(|((at, _), ())| *at <= wire.now) {
            wire.arrivals.remove(&(at, number));
            wire.backlog.push_back(number);
            wire.is_listener_told = true;
        }
        (0..wire.clients.len()).for_each(|number| wire.step(number));
        if std::mem::take(&mut wire.is_listener_told) {
            ready.push(Ready { source: Source::Listener(0), ends: false, failed: false });
        }
        for client in wire.clients.iter_mut().filter(|client| client.has_edge && !client.is_closed) {
            client.has_edge = false;
            let ends = client.has_ended || client.is_reset;
            ready.push(Ready { source: Source::Connection(client.key.unwrap()), ends, failed: client.is_reset });
        }
        Ok(())
    }

    fn now(&self) -> Now {
        Now { since_start: self.0.borrow().now, wall_ms: 0 }
    }
}

/// The port of a client's end, by which its lines are known: one that breaks off says no more of itself than it has sent.
fn port_of(number: usize) -> u16 {
    u16::try_from(1024 + number).unwrap()
}

/// The lines of each client, by its port.
#[derive(Clone, Default)]
struct Kept(Rc<RefCell<BTreeMap<u16, Vec<u8>>>>);

impl Sink for Kept {
    fn append(&mut self, origin: &Origin<'_>, lines: Lines<'_>) {
        let Peer::V4 { port, .. } = origin.peer.bare() else { panic!("clients here are IPv4") };
        let mut by_port = self.0.borrow_mut();
        let kept = by_port.entry(port).or_default();
        kept.extend_from_slice(lines.head);
        kept.extend_from_slice(lines.body);
        if !lines.ended {
            kept.push(b'\n');
        }
    }

    fn flush(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn state(&self) -> State {
        State::default()
    }

    fn describe(&self) -> String {
        "what each client said".to_owned()
    }
}

/// What worlds had in them.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) worlds: u64,
    pub(crate) lines: usize,
    pub(crate) handshakes_cut: usize,
    pub(crate) clients: usize,
}

/// The clients of a world.
fn populate(dice: &mut Dice) -> Wire {
    let mut wire = Wire::default();
    for number in 0..1 + dice.size(24) {
        let kind = dice.pick(&KINDS);
        let name = ServerName::try_from("localhost").unwrap();
        let config = &CLIENTS[usize::from(kind == Kind::Nameless)];
        let session = (kind != Kind::Plain).then(|| Session::client(config, name).unwrap());
        let comes = Duration::from_millis(dice.below(3000));
        let (mut at, mut script) = (comes, VecDeque::new());
        for write in 0..dice.size(6) {
            at += Duration::from_millis(dice.pick(&[0, 0, 1, 50, 900]));
            let mut lines = Vec::new();
            for line in 0..dice.pick(&[1, 1, 3, 40, 2000]) {
                lines.extend(format!("{number} {write} {line} {}\n", "x".repeat(dice.size(40))).bytes());
            }
            script.push_back((at, lines));
        }
        let (inbox, said, wire_of) = (Vec::new(), Vec::new(), VecDeque::new());
        wire.clients.push(Client {
            kind,
            session,
            inbox,
            script,
            said,
            wire: wire_of,
            has_ended: false,
            is_reset: false,
            was_told: false,
            is_closed: false,
            key: None,
            taken_at: Duration::ZERO,
            closed_at: None,
            has_edge: false,
        });
        wire.arrivals.insert((comes, number), ());
    }
    wire
}

/// Lives through the world that these choices make.
pub(crate) fn live(mut dice: Dice) -> Report {
    let mut wire = populate(&mut dice);
    let idle_timeout = Duration::from_millis(dice.pick(&[700, 5000]));
    let receipt = dice.chance(50);
    wire.dice = Some(dice);
    let world = World(Rc::new(RefCell::new(wire)));
    let listen = format!(
        "127.0.0.1:1,tls,cert={},key={},client-ca={}",
        cert("server.pem").display(),
        cert("server.key").display(),
        cert("ca.pem").display()
    );
    let limits = Limits { idle_timeout, receipt, ..Limits::default() };
    let listen: Listen = listen.parse().unwrap();
    let config = Config { limits, listen: vec![listen.clone()], ..Config::listen(listen.at) };
    let sink = Kept::default();
    let mut server = Server::bind_with(config, sink.clone(), world.clone()).unwrap();
    let handle = server.handle();
    let mut is_stopped = false;
    for turns in 0.. {
        assert!(turns < MOST_TURNS, "no end: {:?}", handle.status());
        if server.turn(Some(Duration::from_secs(1))).unwrap() == Turn::Stopped {
            break;
        }
        if turns % 16 == 0 {
            server.check();
        }
        let wire = world.0.borrow();
        let is_over = wire.arrivals.is_empty() && wire.clients.iter().all(|client| client.is_closed);
        if is_over && !std::mem::replace(&mut is_stopped, true) {
            handle.stop();
        }
    }
    drop(server);
    let by_port = sink.0.borrow();
    judge(&world.0.borrow(), &by_port)
}

/// What honest clients said is there, once and in order; of the others nothing, or the beginning.
fn judge(wire: &Wire, by_port: &BTreeMap<u16, Vec<u8>>) -> Report {
    let mut report = Report { worlds: 1, clients: wire.clients.len(), ..Report::default() };
    for (number, client) in wire.clients.iter().enumerate() {
        let got = by_port.get(&port_of(number)).map_or(&[][..], Vec::as_slice);
        report.lines += got.iter().filter(|byte| **byte == b'\n').count();
        match client.kind {
            // (One that was to be changed, and said too little for that, is an honest one.)
            Kind::Honest | Kind::Curt | Kind::Quiet | Kind::Changed => {
                assert!(got == client.said, "{:?} {number}", client.kind)
            }
            // What is pending of it is a line too (P2), which ends here.
            Kind::Broken => assert!(client.said.starts_with(got.strip_suffix(b"\n").unwrap_or_default()), "{number}"),
            Kind::Half => {
                report.handshakes_cut += 1;
                let lasted = client.closed_at.unwrap() - client.taken_at;
                assert!(got.is_empty() && (HANDSHAKE..HANDSHAKE + 2 * TICK).contains(&lasted), "{number}: {lasted:?}");
            }
            Kind::Nameless | Kind::Plain => assert!(got.is_empty(), "{:?} {number}", client.kind),
        }
    }
    report
}
