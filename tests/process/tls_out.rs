//! P34: connections over TLS to other machines. Nothing is said to one whose certificate is not what it has to be, what is refused is
//! a sentence, and lines get there as they do over TCP, whatever becomes of the other side.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use super::errors::assert_sentence;
use crate::common::certs::Certs;
use crate::common::patience::{accept, join};
use crate::support::conditions::{Dir, assert_numbered, assert_same, lines, reset, until};
use crate::support::receiver::{Receiver, Setup};
use crate::support::secure::{Manners, Peer, Secured, middleman, read_up_to, say_goodbye};

/// Certificates, and a folder that they are in.
struct World {
    dir: Dir,
    certs: Certs,
}

impl World {
    fn new() -> Self {
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        Self { dir, certs }
    }

    fn peer(&self, manners: Manners<'_>) -> Peer {
        Peer::new(&self.certs, manners)
    }

    /// As `--output` names it.
    fn place(&self, port: u16) -> String {
        format!("tcp+tls:127.0.0.1:{port},ca={}", self.certs.text("ca.pem"))
    }
}

fn numbered(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| format!("line {number}\n")).collect()
}

fn send(receiver: &Receiver, text: &str) {
    let mut client = receiver.client();
    client.write_all(text.as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn p34_lines_get_there_and_the_goodbye_at_the_end_is_said_inside_too() {
    let world = World::new();
    for is_old in [false, true] {
        let peer = world.peer(Manners { is_old, ..Manners::default() });
        let receiver = Receiver::start(&["--output", &world.place(peer.port())]);
        let reading = thread::spawn(move || {
            let mut stream = peer.accept();
            let mut all = Vec::new();
            // Without its own word for it, an end is an error.
            stream.read_to_end(&mut all).unwrap();
            all
        });
        let text = numbered(0..100_000);
        send(&receiver, &text);
        receiver.stop().assert_clean();
        assert_same(&join("the server", reading), text.as_bytes());
    }
}

#[test]
fn p34_bytes_may_be_cut_anywhere() {
    let world = World::new();
    for (piece, count) in [(1, 300), (7, 3_000), (1_001, 100_000)] {
        let peer = world.peer(Manners::default());
        let port = middleman(peer.addr(), piece);
        let receiver = Receiver::start(&["--output", &world.place(port)]);
        let (text, mut client) = (numbered(0..count), receiver.client());
        let (wanted, sending) = (text.clone(), thread::spawn(move || client.write_all(text.as_bytes()).unwrap()));
        let mut stream = peer.accept();
        assert_same(&read_up_to(&mut stream, wanted.len()), wanted.as_bytes());
        join("the sender", sending);
        assert!(!receiver.said().contains("WARN"), "{}", receiver.said());
    }
}

/// Servers that end in this way after so many bytes each, until all lines are there. Gives what whole lines each had.
fn fall(peer: &Peer, (last, most): (&str, usize), mut end: impl FnMut(usize, Secured) -> Vec<u8>) -> Vec<String> {
    let mut all = Vec::new();
    for number in 0.. {
        let mut stream = peer.accept();
        let mut got = read_up_to(&mut stream, most);
        let is_last = String::from_utf8_lossy(&got).contains(last);
        got.extend(end(number, stream));
        let whole = got.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        all.extend(lines(&got[..whole]));
        if is_last || all.last().is_some_and(|line| line == last) {
            break;
        }
    }
    all
}

#[test]
fn p34_a_server_that_says_goodbye_has_each_line_once() {
    let world = World::new();
    for has_tickets in [true, false] {
        let peer = world.peer(Manners::default());
        let peer = if has_tickets { peer } else { peer.without_tickets() };
        let receiver = Receiver::start(&["--output", &world.place(peer.port())]);
        let text = numbered(0..40_000);
        let sending = thread::spawn(move || {
            send(&receiver, &text);
            receiver
        });
        let got = fall(&peer, ("line 39999", 40_000), |number, mut stream| {
            say_goodbye(&mut stream, number % 2 == 0);
            read_up_to(&mut stream, usize::MAX)
        });
        assert_numbered(&got, "line", 40_000);
        let receiver = join("the sender", sending);
        assert!(!receiver.said().contains("sent again, are lost"), "{}", receiver.said());
    }
}

#[cfg(feature = "spool")]
#[test]
fn p34_a_server_that_is_killed_again_and_again_has_each_line_in_the_end() {
    let world = World::new();
    let peer = world.peer(Manners::default()).without_tickets();
    let spool = world.dir.file("spool");
    fs::create_dir(&spool).unwrap();
    let receiver = Receiver::start(&["--output", &world.place(peer.port()), "--spool", &spool]);
    let text = numbered(0..200_000);
    send(&receiver, &text);
    let mut kills = 0;
    let got = fall(&peer, ("line 199999", 800_000), |_, stream| {
        kills += 1;
        // What it had read is there; what it had not is lost with it.
        reset(stream.sock);
        Vec::new()
    });
    assert!(kills > 2, "{kills} kills are a test of nothing");
    let mut numbers: Vec<usize> = got.iter().map(|line| line[5..].parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let missing = (0..200_000).find(|number| numbers.binary_search(number).is_err());
    assert_eq!(missing, None, "after {kills} kills, of {} lines", got.len());
}

#[test]
fn p34_one_whose_certificate_is_not_right_hears_nothing_and_one_that_is_gets_the_lines() {
    let world = World::new();
    let ca = world.certs.text("ca.pem");
    for (certificate, more, sentence) in [
        ("other-server", "", "the certificate of the server is signed by nobody who is trusted here"),
        ("expired", "", "the certificate of the server has expired, or the clock here is wrong"),
        ("later", "", "the certificate of the server is not valid yet"),
        ("elsewhere", "", "the certificate of the server is not for 127.0.0.1, but for "),
        ("server", ",server-name=gw.example", "the certificate of the server is not for gw.example, but for localhost"),
        ("self", "", "the certificate of the server is "),
    ] {
        let wrong = world.peer(Manners { certificate, ..Manners::default() });
        let receiver = Receiver::start(&["--output", &format!("tcp+tls:127.0.0.1:{},ca={ca}{more}", wrong.port())]);
        receiver.client().write_all(b"secret\n").unwrap();
        let mut stream = wrong.accept();
        assert_eq!(read_up_to(&mut stream, usize::MAX), b"", "{certificate}");
        receiver.until_said(&format!("is away: {sentence}"));
        receiver.until_said("; lines for it wait, trying again");
        if more.is_empty() {
            // Somebody gives it the right one.
            let right = Peer::at(wrong.listener().try_clone().unwrap(), &world.certs, Manners::default());
            until("its line", || match read_up_to(&mut right.accept(), 7).as_slice() {
                b"secret\n" => Ok(()),
                other => Err(format!("{other:?}")),
            });
            receiver.until_said("is back after");
        }
        let said = receiver.said();
        assert_eq!(said.matches("is away").count(), 1, "{said}");
    }
}

#[test]
fn p34_a_certificate_may_be_for_the_name_that_is_given_or_be_trusted_itself() {
    let world = World::new();
    for (certificate, ca, more) in
        [("server", "ca.pem", ",server-name=localhost"), ("self", "self.pem", ""), ("rsa", "ca.pem", "")]
    {
        let peer = world.peer(Manners { certificate, ..Manners::default() });
        let place = format!("tcp+tls:127.0.0.1:{},ca={}{more}", peer.port(), world.certs.text(ca));
        let receiver = Receiver::start(&["--output", &place]);
        receiver.client().write_all(b"line\n").unwrap();
        assert_eq!(read_up_to(&mut peer.accept(), 5), b"line\n", "{place}: {}", receiver.said());
    }
    // Nor does a name decide that the box's own store has not: this authority is nobody's.
    let peer = world.peer(Manners::default());
    let store = world.certs.text("ca.pem");
    let setup = Setup::new(&["--output", &format!("tcp+tls:localhost:{}", peer.port())]);
    let receiver = setup.before(&format!("export SSL_CERT_FILE={store};")).start();
    receiver.client().write_all(b"line\n").unwrap();
    assert_eq!(read_up_to(&mut peer.accept(), 5), b"line\n", "the box's own store: {}", receiver.said());
}

#[test]
fn p34_a_server_that_wants_a_certificate_gets_ours_or_none_and_then_one_warning() {
    let world = World::new();
    for is_old in [false, true] {
        let peer = world.peer(Manners { asks_clients: true, is_old, ..Manners::default() }).without_tickets();
        let place = world.place(peer.port());
        let receiver = Receiver::start(&["--output", &place]);
        receiver.client().write_all(b"line\n").unwrap();
        for _ in 0..4 {
            assert_eq!(read_up_to(&mut peer.accept(), usize::MAX), b"");
        }
        receiver.until_said("certificate of ours");
        let said = receiver.said();
        assert_eq!(said.matches("WARN").count(), 1, "{said}");
        assert!(!said.contains("is back"), "{said}");
        drop(receiver);
        let (cert, key) = (world.certs.text("client.pem"), world.certs.text("client.key"));
        for args in [vec!["--output", &format!("{place},cert={cert},key={key}")], {
            vec!["--output", &place, "--tls-cert", &cert, "--tls-key", &key]
        }] {
            let receiver = Receiver::start(&args);
            receiver.client().write_all(b"line\n").unwrap();
            let mut stream = peer.accept();
            assert_eq!(read_up_to(&mut stream, 5), b"line\n", "{}", receiver.said());
            assert_eq!(stream.conn.peer_certificates().unwrap().len(), 1);
        }
    }
}

#[test]
fn p34_what_speaks_no_tls_or_an_old_one_is_named() {
    let world = World::new();
    type Speak = fn(&mut TcpStream);
    let cases: [(Speak, &str); 4] = [
        (|stream| stream.write_all(b"220 ready\r\n").unwrap(), "the server does not speak TLS"),
        (|stream| stream.shutdown(Shutdown::Write).unwrap(), "it closed the connection during the TLS handshake"),
        // An alert of TLS 1.1: protocol_version.
        (
            |stream| stream.write_all(b"\x15\x03\x02\x00\x02\x02\x46").unwrap(),
            "the server speaks another version of TLS",
        ),
        (|stream| stream.write_all(&[0x16, 3, 3, 0xff, 0xff]).unwrap(), "the server sent "),
    ];
    for (speak, sentence) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Receiver::start(&["--output", &world.place(listener.local_addr().unwrap().port())]);
        receiver.client().write_all(b"secret\n").unwrap();
        let mut stream = accept(&listener);
        speak(&mut stream);
        let got = read_up_to(&mut stream, usize::MAX);
        assert!(!String::from_utf8_lossy(&got).contains("secret"));
        receiver.until_said(&format!("is away: {sentence}"));
    }
}

#[test]
fn p34_sighup_reads_files_again_and_a_broken_one_leaves_the_old_in_use() {
    let world = World::new();
    let ca = world.dir.file("trusted.pem");
    fs::copy(world.certs.path("other-ca.pem"), &ca).unwrap();
    let peer = world.peer(Manners::default());
    let receiver = Receiver::start(&["--output", &format!("tcp+tls:127.0.0.1:{}", peer.port()), "--tls-ca", &ca]);
    receiver.client().write_all(b"one\n").unwrap();
    assert_eq!(read_up_to(&mut peer.accept(), usize::MAX), b"");
    receiver.until_said("signed by nobody who is trusted here");
    fs::copy(world.certs.path("ca.pem"), &ca).unwrap();
    receiver.signal("HUP");
    let mut stream = until("a connection that is trusted", || {
        let mut stream = peer.accept();
        let got = read_up_to(&mut stream, 4);
        if got == b"one\n" { Ok(stream) } else { Err(format!("{got:?}")) }
    });
    fs::write(&ca, "no certificate").unwrap();
    receiver.signal("HUP");
    receiver.until_said("trusted.pem holds no certificate in PEM");
    receiver.until_said("what was read before is used");
    receiver.client().write_all(b"two\n").unwrap();
    assert_eq!(read_up_to(&mut stream, 4), b"two\n", "a connection that there is goes on");
    say_goodbye(&mut stream, true);
    read_up_to(&mut stream, usize::MAX);
    receiver.client().write_all(b"three\n").unwrap();
    assert_eq!(read_up_to(&mut peer.accept(), 6), b"three\n", "and so do new ones");
}

#[test]
fn p34_and_p13_files_and_options_that_are_of_no_use_are_sentences() {
    let world = World::new();
    let path = |name: &str| world.certs.text(name);
    let (ca, cert, key, other) = (path("ca.pem"), path("client.pem"), path("client.key"), path("server.key"));
    let missing = world.dir.file("missing.pem");
    let to = |more: String| vec!["--output".to_owned(), format!("tcp+tls:127.0.0.1:9{more}")];
    let (encrypted, der) = (path("encrypted.key"), path("server.der"));
    for (args, code, sentence) in [
        (to(format!(",ca={missing}")), 1, "missing.pem: No such file"),
        (to(format!(",ca={key}")), 1, "client.key holds no certificate in PEM"),
        (to(format!(",ca={der}")), 1, "server.der is in DER, and not in PEM"),
        (to(format!(",ca={ca},cert={cert},key={other}")), 1, "server.key is not the key of "),
        (to(format!(",ca={ca},cert={cert},key={encrypted}")), 1, "encrypted.key is encrypted"),
        (to(format!(",ca={ca},insecure")), 2, "certificates are always checked; to trust one machine, give ca="),
        (to(format!(",ca={ca},cert={cert}")), 2, "cert= needs key="),
        (to(",server-name=a b".to_owned()), 2, "give a name such as gw.example"),
        ([to(String::new()), vec!["--tls-cert".to_owned(), cert.clone()]].concat(), 2, "--tls-key"),
        (
            vec!["--output".to_owned(), "tcp:127.0.0.1:9".to_owned(), "--tls-ca".to_owned(), ca.clone()],
            2,
            "--tls-ca is about connections over TLS to other machines, and there are none",
        ),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).chain(["--listen", "127.0.0.1:0"]).collect();
        let ended = Setup::new(&args).run();
        assert!(ended.stderr.contains(sentence), "{sentence:?} is not in {:?}", ended.stderr);
        assert!(!ended.stderr.contains("choose another file"), "{:?}", ended.stderr);
        assert_sentence(&ended, code, "", "");
    }
}

#[test]
fn p34_an_own_certificate_that_has_expired_and_a_key_that_all_can_read_are_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let (cert, key) = (world.certs.text("expired-client.pem"), world.certs.text("expired-client.key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let peer = world.peer(Manners::default());
    let place = format!("{},cert={cert},key={key}", world.place(peer.port()));
    let receiver = Receiver::start(&["--output", &place]);
    receiver.until_said("expired-client.key can be read by everybody: chmod 640 or 600 it");
    receiver.until_said("has expired: other sides may refuse it");
    receiver.client().write_all(b"line\n").unwrap();
    assert_eq!(read_up_to(&mut peer.accept(), 5), b"line\n", "and it starts");
}
