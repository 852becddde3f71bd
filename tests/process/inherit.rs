//! Sockets that a supervisor hands over (`LISTEN_FDS`): they are listened on, stay open, and who waits at them is served
//! by the next process.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::SockRef;

use crate::common::patience::{Enough, Pipe, connect, connect_unix, output_of};
use crate::common::skip::skip;
use crate::support::conditions::{
    Dir, assert_numbered, lines, read_goodbye, until, until_equal, write_until_held_back,
};
use crate::support::receiver::{Collected, Ended, Guard, Receiver, Setup, under_test};

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// One that gets this listener too, and listens there.
fn start(listener: &TcpListener, args: &[&str]) -> Receiver {
    Setup::new(args).inherit(listener.try_clone().unwrap()).start()
}

fn listening(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| Some(line.split_once("[tcp] Listening on ")?.1)).collect()
}

#[test]
fn an_inherited_socket_takes_the_place_of_the_default() {
    let (listener, addr) = listener();
    let receiver = start(&listener, &[]);
    assert_eq!(receiver.addr, addr);
    receiver.client().write_all(b"a line\n").unwrap();
    receiver.until_lines(&["a line"]);
    assert!(SockRef::from(&listener).keepalive().unwrap(), "--keepalive holds for it");
    let ended = receiver.stop();
    ended.assert_clean();
    assert_eq!(listening(&ended.stderr), [addr.to_string()]);
    assert!(ended.stderr.contains(&format!("Handed over by LISTEN_FDS, and open when this ends: {addr}")));
}

#[test]
fn an_inherited_socket_stands_beside_others_and_for_its_own_place() {
    let (listener, addr) = listener();
    let place = addr.to_string();
    // Its place is named: it is that place. Else it comes on top, since clients that connect would wait for nothing.
    for (args, places) in [(&["--listen", &place][..], 1), (&["--listen", "127.0.0.1:0"], 2)] {
        let receiver = start(&listener, args);
        connect(addr).write_all(b"a line\n").unwrap();
        receiver.until_lines(&["a line"]);
        let ended = receiver.stop();
        ended.assert_clean();
        let places_in_log = listening(&ended.stderr);
        assert_eq!(places_in_log.len(), places, "{}", ended.stderr);
        assert!(places_in_log.contains(&place.as_str()), "{}", ended.stderr);
    }
}

#[test]
fn an_inherited_unix_socket_keeps_its_file() {
    let dir = Dir::new();
    let path = dir.file("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let log = dir.file("log");
    for round in 0..2 {
        let mut setup = Setup::new(&["--output", &log]).inherit(listener.try_clone().unwrap());
        let mut guard = setup.spawn(Stdio::piped());
        let stderr = Collected::from(guard.0.stderr.take().unwrap());
        connect_unix(&path).unwrap().write_all(b"a line\n").unwrap();
        until_equal("a line each", &(round + 1), || fs::read_to_string(&log).unwrap_or_default().lines().count());
        guard.signal("TERM");
        let code = guard.wait();
        let said = String::from_utf8(stderr.finish()).unwrap();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(listening(&said), [format!("unix:{path}")]);
        assert!(fs::exists(&path).unwrap(), "round {round}: the socket's file is gone");
    }
}

fn refused(socket: impl Into<OwnedFd>) -> Ended {
    Setup::new(&[]).inherit(socket).run()
}

#[test]
fn p13_what_cannot_be_listened_on_is_refused_by_its_name() {
    let dir = Dir::new();
    let (listener, addr) = listener();
    let connection = connect(addr);
    let abstract_one = {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("lumberjack-inherit-{}", std::process::id());
        UnixListener::bind_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap()).unwrap()
    };
    for (ended, why) in [
        (refused(connection), "it is a connection; use Accept=no"),
        (refused(File::create(dir.file("file")).unwrap()), "it is no open socket ("),
        (refused(abstract_one), "it is neither TCP, UDP nor a Unix socket with a path; use one of these"),
    ] {
        let sentence = format!("lumberjack: cannot listen on descriptor 3 (lines) of LISTEN_FDS: {why}");
        assert!(ended.stderr.starts_with(&sentence), "{} instead of {sentence}", ended.stderr);
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(2), 1), "{}", ended.stderr);
    }
    for (environment, sentence) in [
        (
            "LISTEN_PID=$$ LISTEN_FDS=5",
            "lumberjack: cannot listen on descriptor 4 () of LISTEN_FDS: it is no open socket (",
        ),
        ("LISTEN_PID=$$ LISTEN_FDS=some", "lumberjack: LISTEN_FDS or LISTEN_PID is no number: unset both"),
        (
            "LISTEN_PID=$$ LISTEN_FDS=100000000",
            "lumberjack: LISTEN_FDS says that 100000000 sockets are handed over, and at most 28 can be: ",
        ),
        ("LISTEN_PID=$$ LISTEN_FDS=2147483647", "lumberjack: LISTEN_FDS says that 2147483647 sockets"),
        ("LISTEN_PID=me LISTEN_FDS=1", "lumberjack: LISTEN_FDS or LISTEN_PID is no number: unset both"),
    ] {
        let ended =
            Setup::new(&[]).inherit(listener.try_clone().unwrap()).before(&format!("export {environment};")).run();
        assert!(ended.stderr.starts_with(sentence), "{environment}: {}", ended.stderr);
        assert_eq!(ended.code, Some(2), "{environment}");
    }
}

#[test]
fn p13_a_place_that_an_inherited_socket_takes_the_clients_of_is_refused_by_name() {
    let (listener, addr) = listener();
    let wide = format!("0.0.0.0:{}", addr.port());
    let ended = Setup::new(&["--listen", &wide]).inherit(listener).run();
    let sentence = format!(
        "lumberjack: --listen {addr} is covered by --listen {wide}: give one of them; mind the sockets that LISTEN_FDS hands over\n"
    );
    assert_eq!((ended.code, ended.stderr), (Some(2), sentence));
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let (listener, addr) = listener();
    for environment in ["export LISTEN_PID=1;", "unset LISTEN_PID;", "unset LISTEN_FDS;", "export LISTEN_FDS=0;"] {
        let args = ["--listen", "127.0.0.1:0"];
        let receiver = Setup::new(&args).inherit(listener.try_clone().unwrap()).before(environment).start();
        assert_ne!(receiver.addr, addr, "{environment}");
        receiver.stop().assert_clean();
    }
}

#[test]
fn p11_who_waits_at_an_inherited_socket_is_left_to_the_next() {
    let (listener, _) = listener();
    let args = ["--max-connections", "1", "--max-per-host", "0"];
    let first = start(&listener, &args);
    let mut inside = first.client();
    inside.write_all(b"inside\n").unwrap();
    first.until_lines(&["inside"]);
    let mut waits = first.client();
    waits.write_all(b"waits 0\n").unwrap();
    first.until_said("new clients wait");
    first.signal("TERM");
    read_goodbye(&inside);
    drop(inside);
    let ended = first.wait();
    ended.assert_clean();
    assert_eq!(ended.lines(), ["inside"], "the other was not taken in");
    waits.write_all(b"waits 1\n").unwrap();
    let second = start(&listener, &args);
    waits.write_all(b"waits 2\n").unwrap();
    second.until_lines(&["waits 0", "waits 1", "waits 2"]);
    drop(waits);
    second.stop().assert_clean();
}

#[test]
fn p11_clients_of_the_next_do_not_wake_up_the_one_that_ends() {
    let (listener, addr) = listener();
    let (mut output, writer) = Pipe::new();
    let setup = Setup::new(&["--drain-timeout", "1h"]).inherit(listener.try_clone().unwrap());
    let receiver = setup.stdout(writer).start();
    let client = receiver.client();
    write_until_held_back(&client);
    receiver.signal("TERM");
    receiver.until_said("[tcp] Stopping server");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _enough = Enough(&is_over);
        scope.spawn(|| {
            // Each would be a wake-up; the pauses spread them over the second that is measured.
            for _ in 0..100 {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                drop(connect(addr));
                std::thread::park_timeout(Duration::from_millis(10));
            }
        });
        receiver.assert_rests("while clients come to the next");
    });
    drop(client);
    std::io::copy(&mut output, &mut std::io::sink()).unwrap();
    receiver.wait().assert_clean();
}

/// A client of a server that is replaced: it looks at its socket before each line, and connects anew after a goodbye.
struct Sender {
    name: String,
    addr: SocketAddr,
    stream: TcpStream,
    sent: usize,
    connects: usize,
}

impl Sender {
    fn new(name: &str, addr: SocketAddr) -> Self {
        let stream = connect(addr);
        Self { name: name.to_owned(), addr, stream, sent: 0, connects: 1 }
    }

    fn is_told_goodbye(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let seen = self.stream.peek(&mut [0; 1]);
        self.stream.set_nonblocking(false).unwrap();
        match seen {
            Ok(0) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            other => panic!("{}: {other:?}", self.name),
        }
    }

    fn send(&mut self) {
        if self.is_told_goodbye() {
            self.stream = connect(self.addr);
            self.connects += 1;
        }
        // The number and its end in one write: what is written is a whole line.
        self.stream.write_all(format!("{} {}\n", self.name, self.sent).as_bytes()).unwrap();
        self.sent += 1;
    }
}

/// Sends until it is enough. One of them never pauses; the others leave the machine something.
fn send_on(number: usize, addr: SocketAddr, is_enough: &AtomicBool) -> Sender {
    let mut sender = Sender::new(&format!("c{number}"), addr);
    while !is_enough.load(Ordering::Relaxed) {
        sender.send();
        if number > 0 {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    sender
}

/// Waits for this line in the file, behind its first `seen` bytes.
fn until_written(output: &str, seen: u64, line: &str) {
    until("a line in the file", || {
        let mut file = File::open(output).unwrap();
        file.seek(SeekFrom::Start(seen)).unwrap();
        let mut written = String::new();
        file.read_to_string(&mut written).unwrap();
        if written.contains(line) { Ok(()) } else { Err(format!("{} more bytes without {line:?}", written.len())) }
    });
}

#[test]
fn p11_ten_restarts_under_load_refuse_nobody_and_lose_nothing() {
    const RESTARTS: usize = 10;
    let dir = Dir::new();
    let output = dir.file("out");
    let (listener, addr) = listener();
    let args = ["--output", &output];
    let is_enough = AtomicBool::new(false);
    let (receiver, senders) = std::thread::scope(|scope| {
        let mut receiver = start(&listener, &args);
        let is_enough = &is_enough;
        let enough = Enough(is_enough);
        let threads: Vec<_> = (0..4).map(|number| scope.spawn(move || send_on(number, addr, is_enough))).collect();
        // And one that holds its connection, says something after each restart only, and looks for a goodbye only then.
        let mut holds = Sender::new("holds", addr);
        for restart in 0..RESTARTS {
            let seen = fs::metadata(&output).unwrap().len();
            holds.send();
            until_written(&output, seen, &format!("holds {restart}\n"));
            receiver.stop().assert_clean();
            assert!(holds.is_told_goodbye(), "restart {restart}");
            receiver = start(&listener, &args);
        }
        drop(enough);
        let mut senders: Vec<Sender> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        senders.push(holds);
        (receiver, senders)
    });
    receiver.stop().assert_clean();
    // Who was not accepted yet waits in the socket for one more.
    let receiver = start(&listener, &args);
    for Sender { name, sent, .. } in &senders {
        until_written(&output, 0, &format!("{name} {}\n", sent - 1));
    }
    receiver.stop().assert_clean();
    let lines = lines(&fs::read(&output).unwrap());
    for Sender { name, sent, connects, .. } in &senders {
        assert!(*connects >= RESTARTS, "{name} saw {connects} servers");
        assert_numbered(&lines, name, *sent);
    }
    assert_eq!(lines.len(), senders.iter().map(|sender| sender.sent).sum::<usize>());
    println!("{} lines, {} connections", lines.len(), senders.iter().map(|sender| sender.connects).sum::<usize>());
}

#[test]
fn p11_systemd_socket_activate_starts_it_at_the_first_client() {
    if let Err(error) = output_of(Command::new("systemd-socket-activate").arg("--version")) {
        return skip(&format!("systemd-socket-activate: {error}"));
    }
    let dir = Dir::new();
    let (path, output) = (dir.file("socket"), dir.file("out"));
    // It has no way to say which port it picked; this one was free a moment ago.
    let (free, addr) = listener();
    drop(free);
    let mut command = Command::new("systemd-socket-activate");
    command.args(["--listen", &addr.to_string(), "--listen", &path, "--fdname", "tcp:unix"]);
    command.args([&under_test(), "--output", &output]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut guard = Guard::spawn(&mut command).unwrap();
    let stderr = Collected::from(guard.0.stderr.take().unwrap());
    let mut client = until("a first connection", || connect_unix(&path).map_err(|error| error.to_string()));
    client.write_all(b"by unix\n").unwrap();
    connect(addr).write_all(b"by tcp\n").unwrap();
    let written = || fs::read_to_string(&output).unwrap_or_default();
    until_equal("both lines", &2, || written().lines().count());
    drop(client);
    guard.signal("TERM");
    let code = guard.wait();
    let said = String::from_utf8(stderr.finish()).unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(listening(&said), [addr.to_string(), format!("unix:{path}")], "{said}");
    assert!(fs::exists(&path).unwrap(), "the socket's file is its owner's");
    let written = written();
    assert!(written.contains("by unix\n") && written.contains("by tcp\n"), "{written}");
}
