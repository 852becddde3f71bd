//! What a connection over TLS does for its owner, with a server of the test's own on the other side of a socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Buffers, Dial, Line, Step, Terms, Trust};
use crate::certs::Certs;
use crate::config::tls::TlsVersion;
use crate::config::tls_out::TlsOptions;
use crate::tls::{Session, files};

const BUFFERS: Buffers = Buffers { send: 16 * 1024, receive: Some(4096) };
const PATIENCE: Duration = Duration::from_secs(20);

/// Certificates in a folder, and a listener.
struct World {
    dir: PathBuf,
    certs: Certs,
    listener: TcpListener,
    trust: Trust,
}

impl Drop for World {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// The other side.
struct Server {
    stream: TcpStream,
    session: Session,
    cipher: Vec<u8>,
    plain: Vec<u8>,
}

impl World {
    fn new(test: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lumberjack-dial-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let certs = Certs::new(&dir);
        let options = TlsOptions { ca: Some(certs.path("ca.pem")), ..TlsOptions::default() };
        let trust = Trust::open(Some(&options)).unwrap();
        Self { dir, certs, listener: TcpListener::bind("127.0.0.1:0").unwrap(), trust }
    }

    fn dial(&self, now: Duration) -> Step {
        let terms = Terms { buffers: BUFFERS, guard: self.trust.guard("127.0.0.1").unwrap() };
        Dial::host("127.0.0.1", self.listener.local_addr().unwrap().port(), terms, now)
    }

    fn accept(&self) -> Server {
        let keys = files::own_key_pair(&self.certs.path("server.pem"), &self.certs.path("server.key")).unwrap();
        let config = files::server_config(&keys, None, &[], TlsVersion::V12).unwrap();
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        Server { stream, session: Session::server(&config).unwrap(), cipher: Vec::new(), plain: Vec::new() }
    }

    /// Both sides, after their handshake.
    fn both(&self) -> (Line, Server) {
        let (mut step, deadline) = (self.dial(Duration::ZERO), Instant::now() + PATIENCE);
        let mut server = self.accept();
        let mut now = Duration::ZERO;
        loop {
            match step {
                Step::Connected(line) => return (line, server),
                Step::Failed(error) => panic!("{error}"),
                Step::Pending(dial) => step = dial.go_on(now),
            }
            assert!(Instant::now() < deadline, "no handshake");
            server.hear();
            now += Duration::from_millis(10);
        }
    }
}

impl Server {
    /// Takes what has come, and answers it; whether the connection has ended.
    fn hear(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        let count = match self.stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return false,
            Err(error) => panic!("{error}"),
        };
        self.cipher.extend_from_slice(&bytes[..count]);
        loop {
            let plain = &mut self.plain;
            let (used, went) = self.session.received(&mut self.cipher, &mut |record| {
                plain.extend_from_slice(record);
                true
            });
            went.unwrap();
            self.cipher.drain(..used);
            if used == 0 {
                break;
            }
        }
        self.flush();
        false
    }

    fn flush(&mut self) {
        let count = self.session.unsent().len();
        self.stream.write_all(self.session.unsent()).unwrap();
        self.session.sent(count);
    }
}

#[test]
fn p34_a_byte_counts_as_written_once_the_record_that_holds_it_is_the_kernels() {
    let world = World::new("counts");
    let (mut line, mut server) = world.both();
    let text: Vec<u8> = (0..400_000_u32).flat_map(|number| format!("{number:07}\n").into_bytes()).collect();
    let mut written = 0;
    let mut rounds = 0;
    while written < text.len() && rounds < 30 {
        match line.write(&text[written..]) {
            Ok(count) => written += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                assert!(line.begun() > 0, "a record that the kernel took no part of, or all of it");
                rounds += 1;
                // As much as makes room for a part of the next record.
                server.hear();
            }
        }
    }
    assert!(rounds > 5 && line.begun() > 0, "a test of nothing: {rounds} rounds");
    // The connection breaks: whatever was counted has to be whole on the other side.
    line.socket().shutdown(Shutdown::Write).unwrap();
    while !server.hear() {}
    assert_eq!(server.plain.len(), written);
    assert!(server.plain == text[..written], "other bytes");
}

#[test]
fn p34_what_comes_is_read_however_little_is_asked_for_and_an_end_is_told_from_a_cut() {
    let world = World::new("reads");
    for is_inside in [true, false] {
        let (mut line, mut server) = world.both();
        let mut records = Vec::new();
        let text: Vec<u8> = (0..50_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        server.session.encrypt(&text, &mut records).unwrap();
        if is_inside {
            server.session.say_end();
            records.extend_from_slice(server.session.unsent());
        }
        let mut stream = server.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            stream.write_all(&records).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
        });
        let (mut got, mut bytes, deadline) = (Vec::new(), [0; 777], Instant::now() + PATIENCE);
        loop {
            match line.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => got.extend_from_slice(&bytes[..count]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert!(Instant::now() < deadline, "{} bytes", got.len());
        }
        assert!(got == text, "{} bytes", got.len());
        assert_eq!(line.is_cut(), !is_inside);
        assert_eq!(line.read(&mut bytes).unwrap(), 0, "and it stays so");
        sending.join().unwrap();
    }
}

#[test]
fn p34_a_handshake_that_does_not_go_on_fails_after_ten_seconds() {
    let world = World::new("silent");
    let mut step = world.dial(Duration::ZERO);
    let deadline = Instant::now() + PATIENCE;
    let connected = Duration::from_secs(3);
    loop {
        match step {
            Step::Pending(dial @ Dial::Securing { .. }) => {
                step = Step::Pending(dial);
                break;
            }
            Step::Pending(dial) => step = dial.go_on(connected),
            _ => panic!("no handshake"),
        }
        assert!(Instant::now() < deadline, "no connection");
    }
    let ten = Duration::from_secs(10);
    let Step::Pending(dial) = step else { panic!() };
    assert_eq!(dial.due_in(connected), ten);
    let Step::Pending(dial) = dial.go_on(connected + ten - Duration::from_millis(1)) else { panic!("too early") };
    let Step::Failed(error) = dial.go_on(connected + ten) else { panic!("too late") };
    assert!(error.to_string().starts_with("the TLS handshake was not over within 10s"), "{error}");
}
