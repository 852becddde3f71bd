//! P34 where somebody answers: pages, stores and alerts over `https://`, and NATS, whose servers speak first.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use crate::common::certs::Certs;
use crate::common::patience::{accept, join};
use crate::support::conditions::Dir;
use crate::support::receiver::{Receiver, Setup};
use crate::support::secure::{Manners, Peer, Secured, read_up_to, say_goodbye};

/// A server, and the certificates of its authority.
struct World {
    peer: Peer,
    ca: String,
    _dir: Dir,
}

impl World {
    fn new() -> Self {
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        Self { peer: Peer::new(&certs, Manners::default()), ca: certs.text("ca.pem"), _dir: dir }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.peer.port())
    }
}

/// The head of a request.
fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn body(stream: &mut impl Read, head: &str) -> String {
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    String::from_utf8(read_up_to(stream, length.unwrap())).unwrap()
}

fn answer(stream: &mut impl Write, fields: &str, body: &str) {
    write!(stream, "HTTP/1.1 200 OK\r\n{fields}\r\n{body}").unwrap();
}

#[test]
fn p34_a_page_is_polled_over_one_connection_and_who_we_are_is_said_inside() {
    let world = World::new();
    let poll = format!("gw={}", world.url("/log").replace("//", "//me:secret@"));
    let receiver = Receiver::start(&["--poll", &poll, "--poll-interval", "1s", "--tls-ca", &world.ca]);
    let mut stream = world.peer.accept();
    for page in ["one\n", "one\ntwo\n", "one\ntwo\nthree\n"] {
        let head = head(&mut stream);
        assert!(head.starts_with("GET /log HTTP/1.1\r\n") && head.contains("Authorization: Basic "), "{head}");
        assert!(head.contains(&format!("Host: localhost:{}\r\n", world.peer.port())), "{head}");
        answer(&mut stream, &format!("Content-Length: {}\r\n", page.len()), page);
    }
    receiver.until_lines(&["one", "two", "three"]);
}

#[test]
fn p34_a_page_that_ends_without_the_goodbye_of_tls_was_cut_short() {
    let world = World::new();
    let poll = format!("gw={}", world.url("/log"));
    let receiver = Receiver::start(&["--poll", &poll, "--poll-interval", "1s", "--tls-ca", &world.ca]);
    let mut stream = world.peer.accept();
    head(&mut stream);
    answer(&mut stream, "Connection: close\r\n", "one\ntwo\n");
    stream.sock.shutdown(Shutdown::Both).unwrap();
    receiver.until_said("ended without the goodbye of TLS (close_notify), and may have been cut short");
    assert_eq!(receiver.lines(), [""; 0]);
    let mut stream = world.peer.accept();
    head(&mut stream);
    answer(&mut stream, "Connection: close\r\n", "one\ntwo\n");
    say_goodbye(&mut stream, true);
    receiver.until_lines(&["one", "two"]);
    // What says how long it is needs none.
    let mut stream = world.peer.accept();
    head(&mut stream);
    answer(&mut stream, "Content-Length: 14\r\n", "one\ntwo\nthree\n");
    stream.sock.shutdown(Shutdown::Both).unwrap();
    receiver.until_lines(&["one", "two", "three"]);
}

#[test]
fn p34_no_redirect_leads_out_of_tls() {
    let world = World::new();
    let poll = format!("gw={}", world.url("/log"));
    let receiver = Receiver::start(&["--poll", &poll, "--poll-interval", "1s", "--tls-ca", &world.ca]);
    let mut stream = world.peer.accept();
    for (location, is_followed) in [(world.url("/a").replace("https", "http"), false), (world.url("/b"), true)] {
        while !head(&mut stream).starts_with("GET /log") {
            answer(&mut stream, "Content-Length: 4\r\n", "one\n");
        }
        write!(stream, "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").unwrap();
        if is_followed {
            assert!(head(&mut stream).starts_with("GET /b"));
        } else {
            receiver.until_said(&location);
            drop(stream);
            stream = world.peer.accept();
        }
    }
}

#[cfg(feature = "push")]
#[test]
fn p34_a_store_and_somebody_who_is_told_are_reached_over_https() {
    let world = World::new();
    let (store, told) = (world.url("/in"), world.url("/told"));
    let args = ["--output", &store, "--format", "json", "--alert", "bad", "--alert-url", &told, "--tls-ca", &world.ca];
    let receiver = Receiver::start(&args);
    receiver.client().write_all(b"it is bad\n").unwrap();
    let visits = [world.peer.accept(), world.peer.accept()].map(|mut stream| {
        let head = head(&mut stream);
        let body = body(&mut stream, &head);
        answer(&mut stream, "Content-Length: 0\r\n", "");
        (head, body)
    });
    for path in ["/in", "/told"] {
        let (_, body) = visits.iter().find(|(head, _)| head.starts_with(&format!("POST {path}"))).unwrap();
        assert!(body.contains("\"it is bad\""), "{body}");
    }
    receiver.stop().assert_clean();
}

#[test]
fn p34_a_file_that_is_of_no_use_ends_the_start_of_pollers_and_alerts() {
    for args in [["--poll", "gw=https://127.0.0.1:9/"], ["--alert-url", "https://127.0.0.1:9/"]] {
        let alert = if args[0] == "--poll" { vec![] } else { vec!["--alert", "bad"] };
        let args = [&args[..], &alert, &["--tls-ca", "/nowhere.pem", "--listen", "127.0.0.1:0"]].concat();
        let ended = Setup::new(&args).run();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("cannot read /nowhere.pem: No such file"), "{}", ended.stderr);
    }
}

/// What a client of NATS sends to a server that begins so and then goes on with `then`.
fn greeted(
    world: World,
    info: &'static str,
    then: impl FnOnce(&Peer, TcpStream) -> Vec<u8> + Send + 'static,
) -> (u16, String, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ca = world.ca.clone();
    let serving = thread::spawn(move || {
        let mut stream = accept(&listener);
        stream.write_all(info.as_bytes()).unwrap();
        let got = then(&world.peer, stream);
        // It would come again.
        drop(listener);
        drop(world);
        got
    });
    (port, ca, serving)
}

fn nats(scheme: &str, port: u16, ca: &str) -> Receiver {
    let place = format!("{scheme}://me:secret@localhost:{port}/logs");
    Receiver::start(&["--output", &place, "--nats-stream", "LOGS", "--tls-ca", ca])
}

fn hear_out(mut stream: TcpStream) -> Vec<u8> {
    read_up_to(&mut stream, usize::MAX)
}

fn first_words(mut stream: Secured) -> Vec<u8> {
    let mut words = vec![0; 8];
    stream.read_exact(&mut words).unwrap();
    words
}

#[cfg(feature = "nats")]
#[test]
fn p34_a_nats_server_without_tls_or_with_more_to_say_before_it_hears_nothing() {
    for (info, sentence) in [
        ("INFO {\"headers\":true,\"max_payload\":1000000}\r\n", "the server offers no TLS, or somebody between us"),
        (
            "INFO {\"headers\":true,\"tls_required\":true,\"max_payload\":1000000}\r\nPING\r\n",
            "there was more than INFO before TLS, which no server sends",
        ),
    ] {
        let (port, ca, serving) = greeted(World::new(), info, |_, stream| hear_out(stream));
        let receiver = nats("nats+tls", port, &ca);
        receiver.until_said(sentence);
        assert_eq!(join("the server", serving), b"", "{sentence}");
    }
}

#[cfg(feature = "nats")]
#[test]
fn p34_a_nats_server_is_told_who_we_are_inside_tls_alone() {
    for info in ["\"tls_required\":true", "\"tls_available\":true"] {
        let info: &str = format!("INFO {{\"headers\":true,{info},\"max_payload\":1000000}}\r\n").leak();
        let (port, ca, serving) = greeted(World::new(), info, |peer, stream| first_words(peer.secure(stream)));
        let receiver = nats("nats+tls", port, &ca);
        assert_eq!(join("the server", serving), b"CONNECT ", "{}", receiver.said());
    }
    let (port, ca, serving) = greeted(World::new(), "", |peer, stream| {
        let mut stream = peer.secure(stream);
        stream.write_all(b"INFO {\"headers\":true,\"max_payload\":1000000}\r\n").unwrap();
        first_words(stream)
    });
    let receiver = nats("nats+tls-first", port, &ca);
    assert_eq!(join("the server", serving), b"CONNECT ", "{}", receiver.said());
}

#[cfg(feature = "nats")]
#[test]
fn p34_a_nats_server_with_the_other_order_of_tls_is_told_from_one_that_has_none() {
    let info = "INFO {\"headers\":true,\"tls_required\":true,\"max_payload\":1000000}\r\n";
    let (port, ca, serving) = greeted(World::new(), info, |_, stream| hear_out(stream));
    let receiver = nats("nats+tls-first", port, &ca);
    receiver
        .until_said("does not speak TLS before it has said anything: give nats+tls:// if it has no handshake_first; ");
    drop(receiver);
    join("the server", serving);
    for scheme in ["nats+tls", "nats"] {
        let world = World::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = format!("{scheme}://localhost:{}/logs", listener.local_addr().unwrap().port());
        let mut args = vec!["--output", &place, "--nats-stream", "LOGS"];
        if scheme != "nats" {
            args.extend(["--tls-ca", &world.ca]);
        }
        let receiver = Receiver::start(&args);
        // It waits for the client's first words, and in vain.
        drop(accept(&listener));
        receiver.until_said("the server has closed the connection: give nats+tls-first:// if it has handshake_first; ");
    }
}

#[cfg(feature = "nats")]
#[test]
fn p34_a_nats_server_that_wants_tls_is_named_where_none_was_asked_for() {
    let info = "INFO {\"headers\":true,\"tls_required\":true,\"max_payload\":1000000}\r\n";
    let (port, _, serving) = greeted(World::new(), info, |_, stream| hear_out(stream));
    let place = format!("nats://me:secret@localhost:{port}/logs");
    let receiver = Receiver::start(&["--output", &place, "--nats-stream", "LOGS"]);
    receiver.until_said("the server wants TLS: give nats+tls:// in place of nats://");
    assert_eq!(join("the server", serving), b"");
}
