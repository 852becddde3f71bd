//! `lumberjack read --from nats://…`: a stream of a real `nats-server` that this program filled, and what is said where there
//! is none.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::patience::{Collected, Guard, until};
use crate::common::skip::skip;
use crate::support::conditions::Dir;
use crate::support::receiver::{Ended, Setup};

/// The server that `LUMBERJACK_NATS_SERVER` names, or that is in PATH.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("LUMBERJACK_NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push(PathBuf::from("/usr/sbin"));
    let found =
        named.into_iter().chain(places.iter().map(|place| place.join("nats-server"))).find(|path| path.is_file());
    if found.is_none() {
        skip("nats-server is neither in PATH nor named by LUMBERJACK_NATS_SERVER");
    }
    found
}

/// A server with a password on a port that it picks.
fn serve(program: &Path, dir: &Dir) -> (Guard, u16) {
    let config = "port: -1\nhost: 127.0.0.1\nauthorization { user: web, password: s3cret }\n";
    let config = format!("{config}jetstream {{ store_dir: '{}' }}\n", dir.file("store"));
    fs::write(dir.file("server.conf"), config).unwrap();
    let mut command = Command::new(program);
    command.args(["-c", &dir.file("server.conf")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut guard = Guard::spawn(&mut command).unwrap();
    let said = Collected::from(guard.0.stderr.take().unwrap());
    let port = until("its port", || {
        let said = said.text();
        let port =
            said.split("client connections on 127.0.0.1:").nth(1).and_then(|rest| rest.split_whitespace().next());
        port.filter(|_| said.contains("Server is ready")).and_then(|port| port.parse().ok()).ok_or(said.clone())
    });
    (guard, port)
}

fn read(args: &[&str]) -> Ended {
    Setup::new(&[&["read"], args].concat()).run()
}

fn text(ended: &Ended) -> String {
    String::from_utf8_lossy(&ended.output).into_owned()
}

#[test]
fn lines_of_two_boxes_are_read_again_from_their_stream() {
    let Some(program) = program() else { return };
    let dir = Dir::new();
    let (mut server, port) = serve(&program, &dir);
    let creds = dir.file("creds");
    fs::write(&creds, "user = web\npassword = s3cret\n").unwrap();
    let place = |subject: &str| format!("nats://127.0.0.1:{port}/{subject}");
    let login = ["--nats-stream", "LOGS", "--nats-creds", &creds];
    let to = place("logs.{box}");
    let start = |name: &str, format: &str| {
        let args = ["--output", &to, "--nats-create", "--box", name, "--format", format];
        Setup::new(&[&args[..], &login].concat()).start()
    };
    let boxes = [start("web.1", "peer"), start("web.2", "raw")];
    let mut clients = boxes.each_ref().map(|receiver| receiver.client());
    let all = place("logs.>");
    let mut follower = Setup::new(&[&["read", "--from", &all, "--follow"], &login[..]].concat());
    clients[0].write_all(b"one\ntwo\n").unwrap();
    // The first box makes the stream, and nobody follows what is not there.
    let first = until("the first box's lines", || {
        let ended = read(&[&["--from", &all], &login[..]].concat());
        if text(&ended).lines().count() == 2 { Ok(ended) } else { Err(ended.stderr) }
    });
    assert_eq!((first.code, &*first.stderr), (Some(0), ""));
    let mut guard = follower.spawn(Stdio::null());
    let followed = Collected::from(guard.0.stdout.take().unwrap());
    clients[1].write_all(b"three\n").unwrap();
    let ends = |wanted: &'static str| {
        until(wanted, || if followed.text().ends_with(wanted) { Ok(()) } else { Err(followed.text()) });
    };
    ends("three\n");
    clients[0].write_all(b"four\n").unwrap();
    ends(" four\n");

    for (subject, more, wanted) in [
        ("logs.>", &[][..], &["one", "two", "three", "four"][..]),
        ("logs.*", &["--match", "o"], &["one", "two", "four"]),
        ("logs.{box}", &["--box", "web.1"], &["one", "two", "four"]),
        ("logs.web_2", &[], &["three"]),
        ("logs.*", &["--since", "1h"], &["one", "two", "three", "four"]),
        ("logs.*", &["--until", "1h"], &[]),
        ("logs.none", &[], &[]),
    ] {
        let ended = read(&[&["--from", &place(subject)], more, &login[..]].concat());
        let shown = text(&ended);
        let lines: Vec<&str> = shown.lines().filter_map(|line| line.split(' ').next_back()).collect();
        assert_eq!((lines.as_slice(), ended.code, &*ended.stderr), (wanted, Some(0), ""), "{subject} {more:?}");
    }
    let local = read(&[&["--from", &all, "--host", "127.0.0.1"], &login[..]].concat());
    assert_eq!((text(&local).lines().count(), local.code), (3, Some(0)));
    assert!(local.stderr.contains("1 line was without a sender, and left out"), "{}", local.stderr);

    refused(&all, &creds);
    guard.signal("TERM");
    guard.wait();
    server.signal("TERM");
    server.wait();
}

/// What is said to who may not read, or reads what is not there.
fn refused(all: &str, creds: &str) {
    for (args, sentence) in [
        (
            &["--nats-stream", "LOGS"][..],
            "the server wants to know who we are (Authorization Violation): give --nats-creds FILE",
        ),
        (
            &["--nats-stream", "OTHER", "--nats-creds", creds],
            "there is no stream OTHER: give one that nats stream ls shows",
        ),
    ] {
        let ended = read(&[&["--from", all], args].concat());
        assert_eq!(ended.stderr, format!("lumberjack: cannot read {all}: {sentence}\n"));
        assert_eq!((ended.code, ended.output.is_empty()), (Some(1), true));
    }
    fs::write(creds, "user = web\npassword = wrong\n").unwrap();
    let ended = read(&[&["--from", all], &["--nats-stream", "LOGS", "--nats-creds", creds][..]].concat());
    assert!(
        ended.stderr.contains("the server does not take these credentials") && ended.code == Some(1),
        "{}",
        ended.stderr
    );
}

#[test]
fn p13_a_stream_that_can_not_be_read_is_a_sentence() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let from = format!("nats://{nobody}/logs.>");
    let ended = read(&["--from", &from, "--nats-stream", "LOGS", "--follow"]);
    assert_eq!(ended.stderr, format!("lumberjack: cannot read {from}: Connection refused (os error 111)\n"));
    assert_eq!(ended.code, Some(1));
    let ended = read(&["--from", &from, "--nats-stream", "LOGS", "--nats-creds", "/nowhere"]);
    assert_eq!(ended.stderr, "lumberjack: --nats-creds /nowhere: No such file or directory (os error 2)\n");
    for (args, words) in [
        (&["--from", &from][..], "give the name of the stream with --nats-stream"),
        (&["--from", "nats://h", "--nats-stream", "LOGS"], "--from nats://h: the subject is missing"),
        (&["--from", &from, "--nats-stream", "a b"], "--nats-stream a b: a stream's name has no dots"),
        (&["--from", &from, "--nats-stream", "L", "--first", "7"], "leave out --first and --format"),
        (&["--from", "/tmp", "--box", "a"], "--nats-stream, --nats-creds and --box are for --from nats://HOST/SUBJECT"),
    ] {
        let ended = read(args);
        assert!(ended.stderr.contains(words) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
        assert_eq!(ended.code, Some(2), "{args:?}");
    }
}
