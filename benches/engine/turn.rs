//! A whole turn of the server: all that is ours between the kernel's `read` and its `write`, mio left out. The network
//! is one in memory, whose clients send the same chunks for ever; the sink is the real one, on `/dev/null`.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use lumberjack::internals::{Key, Net, Now, Ready, SocketOptions, Source};
use lumberjack::{Config, Format, Framing, Limits, Listen, ListenAddr, OutputAddr, Outputs, Peer, Server};

use super::framer::copy;
use super::{Case, Pass};

const READ_BYTES: usize = 64 * 1024;
const LINE: usize = 128;

/// What every client sends.
#[derive(Clone)]
struct Script {
    framing: Framing,
    clients: u32,
    /// Clients that are only there.
    silent: u32,
    /// The chunks of one client, one a turn, from the first again after the last.
    chunks: Vec<Vec<u8>>,
}

/// Clients in memory.
struct Memory {
    script: Script,
    keys: Vec<Key>,
    /// Turns so far, which are milliseconds too.
    turns: u64,
    to_accept: u32,
    /// Whether the server's buffer holds the only chunk already. Copying it again would be the kernel's work, not ours,
    /// and as much as all that is ours.
    is_filled: Cell<bool>,
}

/// One connection: whether there is something to be read in this turn.
struct Stream {
    read_at: u64,
    at: usize,
}

impl Net for Memory {
    type Listener = ();
    type Stream = Stream;

    fn listen(&mut self, at: &ListenAddr, _: &SocketOptions, _: usize) -> io::Result<((), ListenAddr)> {
        Ok(((), at.clone()))
    }

    fn accept(&mut self, (): &mut ()) -> io::Result<(Stream, Peer)> {
        self.to_accept = self.to_accept.checked_sub(1).ok_or(ErrorKind::WouldBlock)?;
        Ok((Stream { read_at: 0, at: 0 }, Peer::V4 { ip: [127, 0, 0, 1], port: 1 }))
    }

    fn register(&mut self, _: &mut Stream, key: Key) -> io::Result<()> {
        self.keys.push(key);
        Ok(())
    }

    fn read(&mut self, stream: &mut Stream, buffer: &mut [u8]) -> io::Result<usize> {
        if std::mem::replace(&mut stream.read_at, self.turns) == self.turns {
            return Err(ErrorKind::WouldBlock.into());
        }
        let chunk = self.script.chunks.get(stream.at).ok_or(ErrorKind::NotFound)?;
        stream.at = (stream.at + 1) % self.script.chunks.len();
        if !self.is_filled.replace(self.script.chunks.len() == 1) {
            copy(chunk, &mut buffer[..chunk.len()]);
        }
        Ok(chunk.len())
    }

    fn peek(&mut self, _: &mut Stream, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    fn register_visitor(&mut self, _: &mut Self::Stream, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, _: &mut Self::Stream, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn say_goodbye(&mut self, _: &mut Stream) -> io::Result<()> {
        Ok(())
    }

    fn watch_sink(&mut self, _: usize, _: BorrowedFd<'_>, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn waker(&self) -> io::Result<Option<UnixStream>> {
        Ok(None)
    }

    fn pause(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn poll(&mut self, _: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.turns += 1;
        let event = |source| Ready { source, ends: false, failed: false };
        if self.to_accept > 0 {
            ready.push(event(Source::Listener(0)));
        }
        ready.extend(self.keys.iter().take(self.script.clients as usize).map(|key| event(Source::Connection(*key))));
        Ok(())
    }

    fn now(&self) -> Now {
        Now { since_start: Duration::from_millis(self.turns), wall_ms: self.turns }
    }
}

fn serve(script: &Script) -> Server<Outputs, Memory> {
    // A turn is a millisecond here: nobody is to be told goodbye after so many.
    let idle_timeout = Duration::ZERO;
    let limits = Limits { max_connections: 200_000, max_per_host: Some(0), idle_timeout, ..Limits::default() };
    let mut listen: Listen = "127.0.0.1:1".parse().unwrap();
    listen.options.framing = script.framing;
    let config = Config { limits, listen: vec![listen.clone()], ..Config::listen(listen.at) };
    let sink = Outputs::one(OutputAddr::file("/dev/null"), Format::Raw).unwrap();
    let (keys, to_accept, is_filled) = (Vec::new(), script.clients + script.silent, Cell::new(false));
    let net = Memory { script: script.clone(), keys, turns: 0, to_accept, is_filled };
    let mut server = Server::bind_with(config, sink, net).unwrap();
    while server.handle().status().active_connections < u64::from(script.clients + script.silent) {
        server.turn(None).unwrap();
    }
    server
}

fn case(name: &str, script: Script, turns: u32) -> Case {
    let bytes: usize = script.chunks.iter().map(Vec::len).sum();
    let rounds = u64::from(turns) / script.chunks.len() as u64;
    let bytes = bytes * script.clients as usize * usize::try_from(rounds).unwrap();
    let units = (bytes / LINE) as u64;
    let prepare = move || {
        let mut server = serve(&script);
        let handle = Rc::new(server.handle());
        Box::new(move || {
            let before = handle.diagnostics().counters.lines;
            for _ in 0..turns {
                server.turn(None).unwrap();
            }
            let taken = handle.diagnostics().counters.lines - before;
            assert!(taken == units, "{taken} lines were taken, {units} were sent");
        }) as Pass
    };
    Case { name: format!("turn/{name}"), unit: "line", units, bytes, prepare: Box::new(prepare) }
}

/// `len` bytes of lines, the first of which began in an earlier chunk, `before` bytes long so far.
fn chunk(len: usize, before: usize) -> Vec<u8> {
    (before..before + len).map(|at| if at % LINE == LINE - 1 { b'\n' } else { b'x' }).collect()
}

pub(crate) fn cases() -> Vec<Case> {
    let in_framing = |framing, clients, chunks| Script { framing, clients, silent: 0, chunks };
    let script = |clients, chunks| in_framing(Framing::Lines, clients, chunks);
    let one_of = |all: u32| Script { silent: all - 1, ..script(1, vec![chunk(LINE, 0)]) };
    // Two reads, so that one ends and the other begins within a message, and each is copied anew.
    let messages = |before: &[u8], after: &[u8]| {
        let text = vec![b'x'; LINE - before.len() - after.len()];
        let all = [before, &text, after].concat().repeat(2 * READ_BYTES / LINE);
        all.chunks(READ_BYTES + 37).map(<[u8]>::to_vec).collect()
    };
    vec![
        case("bulk-1", script(1, vec![chunk(READ_BYTES, 37)]), 16),
        case("bulk-whole-1", script(1, vec![chunk(READ_BYTES, 0)]), 16),
        case("bulk-1-octet", in_framing(Framing::Octet, 1, messages(b"124 ", b"")), 16),
        case("bulk-1-nul", in_framing(Framing::Nul, 1, messages(b"", b"\0")), 16),
        case("bulk-1000x1460", script(1000, vec![chunk(1408, 37)]), 1),
        case("lone-1", script(1, vec![chunk(LINE, 0)]), 1000),
        case("lone-1-of-1000", one_of(1_000), 1000),
        case("lone-1-of-10000", one_of(10_000), 1000),
        case("lone-1-of-100000", one_of(100_000), 1000),
        case("lone-50", script(50, vec![chunk(LINE, 0)]), 20),
        case("lone-1000", script(1000, vec![chunk(LINE, 0)]), 1),
        case("partial-1000", script(1000, vec![chunk(LINE, 37)]), 1),
        case("one-byte", script(1, (0..LINE).map(|at| chunk(1, at)).collect()), 1280),
    ]
}
