//! Where it listens. The files of Unix sockets: only what is ours is removed, and of two that start at once over the same
//! path one serves. Addresses that the box has later.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::common::patience::{connect_unix, output_of, until};
use crate::common::skip::not_here;
use crate::support::conditions::Dir;
use crate::support::receiver::{Collected, Guard, Setup, under_test};

/// One that listens at a path only, and what it says.
fn start(path: &str, output: &str) -> (Guard, Collected) {
    let args = ["--listen", &format!("unix:{path}"), "--output", output];
    let mut guard = Setup::new(&args).spawn(Stdio::piped());
    let stderr = Collected::from(guard.0.stderr.take().unwrap());
    (guard, stderr)
}

/// Waits until it serves or has ended; tells whether it serves.
fn serves((guard, stderr): &mut (Guard, Collected)) -> bool {
    until("a start or an end", || match guard.is_running() {
        false => Ok(false),
        true if stderr.text().contains("Memory budget") => Ok(true),
        true => Err(stderr.text()),
    })
}

fn assert_refused((guard, stderr): (Guard, Collected), sentence: &str) {
    let mut guard = guard;
    let code = guard.wait();
    let said = String::from_utf8(stderr.finish()).unwrap();
    assert!(said.starts_with(sentence), "{said} instead of {sentence}");
    assert_eq!((code, said.lines().count()), (Some(1), 1), "{said}");
}

/// Serves a client, and ends well.
fn assert_serves((mut guard, stderr): (Guard, Collected), path: &str, output: &str) {
    connect_unix(path).unwrap().write_all(b"a line\n").unwrap();
    until("the line", || match fs::read_to_string(output) {
        Ok(text) if text == "a line\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    guard.signal("TERM");
    assert_eq!(guard.wait(), Some(0), "{}", String::from_utf8_lossy(&stderr.finish()));
}

#[test]
fn p13_of_those_that_start_at_once_over_a_stale_socket_one_serves_and_the_others_say_why_not() {
    const AT_ONCE: usize = 4;
    let dir = Dir::new();
    let path = dir.file("sock");
    let sentence = format!("lumberjack: cannot listen on unix:{path}: another program listens there; stop it");
    for round in 0..25 {
        // What one that was killed leaves behind.
        drop(UnixListener::bind(&path).unwrap());
        let output = |number: usize| dir.file(&format!("{round}-{number}"));
        let mut all: Vec<_> = (0..AT_ONCE).map(|number| (number, start(&path, &output(number)))).collect();
        let serving: Vec<usize> = all.iter_mut().filter_map(|(number, one)| serves(one).then_some(*number)).collect();
        assert_eq!(serving.len(), 1, "round {round}: these serve");
        for (number, one) in all {
            if serving == [number] {
                assert_serves(one, &path, &output(number));
            } else {
                assert_refused(one, &sentence);
            }
        }
        assert!(!fs::exists(&path).unwrap(), "round {round}: its file is left");
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_str().unwrap().contains('-')), "only outputs: {left:?}");
}

#[test]
fn p13_a_successors_socket_is_left_alone() {
    let dir = Dir::new();
    let (path, first_output, second_output) = (dir.file("sock"), dir.file("first"), dir.file("second"));
    let mut first = start(&path, &first_output);
    assert!(serves(&mut first));
    fs::remove_file(&path).unwrap();
    let mut second = start(&path, &second_output);
    assert!(serves(&mut second));
    first.0.signal("TERM");
    assert_eq!(first.0.wait(), Some(0));
    assert_serves(second, &path, &second_output);
    assert!(!fs::exists(&path).unwrap(), "its own it removes");
}

#[test]
fn p13_a_stopped_servers_socket_is_taken_also_with_a_full_backlog() {
    let dir = Dir::new();
    let (path, output) = (dir.file("sock"), dir.file("out"));
    let mut first = start(&path, &output);
    assert!(serves(&mut first));
    first.0.signal("STOP");
    let sentence = format!("lumberjack: cannot listen on unix:{path}: another program listens there; stop it");
    assert_refused(start(&path, &output), &sentence);
    // A backlog has an end, however large it is; each of these clients goes at once, and still waits there.
    let at = SockAddr::unix(&path).unwrap();
    let full = (0..1_000_000).find_map(|_| {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        client.connect(&at).err()
    });
    assert_eq!(full.map(|error| error.kind()), Some(ErrorKind::WouldBlock), "the backlog is full");
    assert_refused(start(&path, &output), &sentence);
    first.0.signal("CONT");
    assert_serves(first, &path, &output);
}

#[test]
fn p13_a_directory_that_another_program_keeps_locked_stops_no_start_and_no_end() {
    let dir = Dir::new();
    let (path, output) = (dir.file("sock"), dir.file("out"));
    // Anybody can do that who may read the directory.
    let locked = fs::File::open(dir.path()).unwrap();
    locked.lock_shared().unwrap();
    let mut first = start(&path, &output);
    assert!(serves(&mut first));
    first.0.signal("TERM");
    assert_eq!(first.0.wait(), Some(0));
    assert!(!fs::exists(&path).unwrap(), "its file is removed");
    let mut next = start(&path, &output);
    assert!(serves(&mut next));
    assert_serves(next, &path, &output);
}

#[cfg(feature = "udp")]
#[test]
fn p13_an_address_that_the_box_gets_later_is_listened_on_with_one_warning() {
    let dir = Dir::new();
    let (said, output) = (dir.file("said"), dir.file("out"));
    // 192.0.2.0/24 and 2001:db8::/32 are kept for documentation: no machine has them, but in a network of its own.
    let script = r#"
        until_says() { until grep -q "$1" "$2"; do kill -0 $receiver || exit 9; sleep 0.01; done; }
        # Without any interface, IPv4 takes every address for one of its own.
        ip link set lo up || exit 8
        "$0" --listen 192.0.2.1:4445 --listen '[2001:db8::1]:4445' --listen udp:192.0.2.1:4445 --listen 0.0.0.0:4446 --output "$2" 2>"$1" & receiver=$!
        trap 'kill -KILL $receiver 2>/dev/null' EXIT
        until_says 'Memory budget' "$1"
        ip address add 192.0.2.1/32 dev lo && ip address add 2001:db8::1/128 dev lo nodad || exit 8
        # The kernel makes the route to a new address of IPv6 a moment later.
        until (echo by-v6 >/dev/tcp/2001:db8::1/4445) 2>/dev/null; do kill -0 $receiver || exit 9; sleep 0.01; done
        echo by-v4 >/dev/tcp/192.0.2.1/4445 || exit 7
        echo by-udp >/dev/udp/192.0.2.1/4445 || exit 7
        until_says by-v4 "$2" && until_says by-v6 "$2" && until_says by-udp "$2"
        kill -TERM $receiver && wait $receiver"#;
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--map-root-user", "bash", "-c", script, &under_test(), &said, &output]);
        output_of(&mut command)
    };
    if inside("ip link set lo up").map_or(true, |output| !output.status.success()) {
        return not_here("no network of our own can be made here");
    }
    fs::write(&said, "").unwrap();
    fs::write(&output, "").unwrap();
    let ended = inside(script).unwrap();
    let said = fs::read_to_string(&said).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    for at in ["192.0.2.1:4445", "[2001:db8::1]:4445", "udp:192.0.2.1:4445"] {
        let warning = format!("[WARN] [tcp] This machine has no such address yet: {at}; ");
        assert_eq!(said.matches(&warning).count(), 1, "{said}");
    }
    assert_eq!(said.matches("[WARN]").count(), 3, "{said}");
}

/// Whether this kernel leaves urgent bytes of Unix sockets where they are, if it is asked to.
fn has_urgent_bytes() -> bool {
    let Ok((one, other)) = std::os::unix::net::UnixStream::pair() else { return false };
    let is_asked = SockRef::from(&other).set_out_of_band_inline(true).is_ok();
    let is_sent = SockRef::from(&one).send_out_of_band(b"x").is_ok();
    other.set_nonblocking(true).unwrap();
    is_asked && is_sent && std::io::Read::read(&mut &other, &mut [0; 2]).is_ok_and(|count| count == 1)
}

#[test]
fn p1_an_urgent_newline_on_a_unix_socket_ends_its_line() {
    if !has_urgent_bytes() {
        return not_here("this kernel has no urgent bytes that stay in their place on Unix sockets");
    }
    let dir = Dir::new();
    let (path, output) = (dir.file("s"), dir.file("out"));
    let (guard, _) = start(&path, &output);
    let mut client = until("it listens", || connect_unix(&path).map_err(|error| error.to_string()));
    client.write_all(b"one").unwrap();
    assert_eq!(SockRef::from(&client).send_out_of_band(b"\n").unwrap(), 1);
    client.write_all(b"two\n").unwrap();
    until("both lines", || match fs::read_to_string(&output) {
        Ok(text) if text == "one\ntwo\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    drop(guard);
}
