//! UDP of the built binary: where it listens, sockets that are handed over, the end, hosts' files, and what is told (P23).

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;

use socket2::SockRef;

use super::errors::assert_sentence;
use crate::common::patience::until;
use crate::support::conditions::{Dir, until_equal};
#[cfg(feature = "status")]
use crate::support::http::{get, status_of};
use crate::support::receiver::{Receiver, Setup};

/// Of TCP, as all of these tests have, and of UDP.
const BOTH: [&str; 4] = ["--listen", "127.0.0.1:0", "--listen", "udp:127.0.0.1:0"];

fn setup(args: &[&str]) -> Setup {
    Setup::new(&[&BOTH, args].concat())
}

/// Where it listens for datagrams.
fn place(receiver: &Receiver) -> SocketAddr {
    let said = receiver.said();
    let at = said.lines().find_map(|line| Some(line.split_once("[udp] Listening on udp:")?.1.parse().unwrap()));
    at.unwrap_or_else(|| panic!("{said}"))
}

/// A sender whose own address is `127.0.0.host`.
fn sender(host: u8) -> UdpSocket {
    UdpSocket::bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap()
}

#[test]
fn p23_datagrams_become_lines_beside_those_of_clients() {
    let receiver = setup(&["--format", "peer"]).start();
    let from = sender(2);
    from.send_to(b"<13>one\n", place(&receiver)).unwrap();
    from.send_to(b"two\nthree\0", place(&receiver)).unwrap();
    until_equal("three lines", &3, || receiver.lines().len());
    let name = from.local_addr().unwrap();
    let lines: Vec<String> = receiver.lines().iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect();
    assert_eq!(lines, ["<13>one", "two", "three"].map(|line| format!("{name} {line}")));
    receiver.assert_rests("after datagrams have come");
    receiver.stop().assert_clean();
}

#[test]
#[cfg(feature = "syslog")]
fn p22_a_syslog_message_is_all_of_its_datagram() {
    let args = ["--listen", "127.0.0.1:0", "--listen", "udp:127.0.0.1:0,parse=syslog", "--format", "json"];
    let receiver = Setup::new(&args).start();
    let said = receiver.said();
    let at = said.lines().find_map(|line| line.split_once("[udp] Listening on udp:")?.1.split(',').next());
    let from = sender(2);
    from.send_to(b"<13>Oct 11 22:14:15 gw app[7]: one\n\ttwo\r\n", at.unwrap()).unwrap();
    // A NUL inside ends nothing: else anybody could send in another's name.
    from.send_to(b"<14>1 - gw app - - - one\0<8>1 - other kernel - - - forged\0\0", at.unwrap()).unwrap();
    until_equal("two lines", &2, || receiver.lines().len());
    let forged = receiver.lines().remove(1);
    assert!(
        forged.ends_with(r#""hostname":"gw","app":"app","line":"one <8>1 - other kernel - - - forged"}"#),
        "{forged}"
    );
    let line = receiver.lines().remove(0);
    let (_, fields) = line.split_once(r#""host":"#).unwrap();
    assert!(fields.starts_with(r#""127.0.0.2","severity":"notice","facility":"user","time":"2"#), "{line}");
    // The newline is what `--embedded-newline` makes of it, as in any message that may hold one.
    assert!(fields.ends_with(r#""hostname":"gw","app":"app","pid":"7","line":"one\\n\ttwo"}"#), "{line}");
    receiver.stop().assert_clean();
}

#[test]
fn p11_datagrams_that_are_queued_at_sigterm_are_written() {
    let receiver = setup(&[]).start();
    receiver.signal("STOP");
    let (from, at) = (sender(1), place(&receiver));
    for number in 0..100 {
        from.send_to(format!("line {number}").as_bytes(), at).unwrap();
    }
    receiver.signal("TERM");
    receiver.signal("CONT");
    let ended = receiver.wait();
    ended.assert_clean();
    assert_eq!(ended.lines(), (0..100).map(|number| format!("line {number}")).collect::<Vec<_>>());
}

#[test]
fn p11_the_port_can_be_bound_again_at_once_and_is_nobody_elses_meanwhile() {
    let receiver = setup(&[]).start();
    let at = format!("udp:{}", place(&receiver));
    let ended = Setup::new(&["--listen", &at]).run();
    let sentence =
        format!("cannot listen on {at}: another program has that port; stop it, or choose another with --listen");
    assert_eq!((ended.code, ended.stderr), (Some(1), format!("lumberjack: {sentence}\n")));
    sender(1).send_to(b"a line", place(&receiver)).unwrap();
    receiver.until_lines(&["a line"]);
    receiver.stop().assert_clean();
    let again = Setup::new(&["--listen", "127.0.0.1:0", "--listen", &at]).start();
    sender(1).send_to(b"again", place(&again)).unwrap();
    again.until_lines(&["again"]);
    // TCP has ports of its own: one that is taken there is free here.
    let taken = format!("udp:{}", again.addr);
    Setup::new(&["--listen", "127.0.0.1:0", "--listen", &taken]).start().stop().assert_clean();
}

#[test]
fn an_inherited_udp_socket_is_listened_on_and_left_with_what_is_queued_there() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    let start = || Setup::new(&["--listen", "127.0.0.1:0"]).inherit(socket.try_clone().unwrap()).start();
    let first = start();
    assert_eq!(place(&first), at);
    sender(1).send_to(b"one", at).unwrap();
    first.until_lines(&["one"]);
    first.signal("STOP");
    sender(1).send_to(b"two", at).unwrap();
    first.signal("TERM");
    first.signal("CONT");
    let ended = first.wait();
    ended.assert_clean();
    assert_eq!(ended.lines(), ["one"], "the other is the next one's");
    assert!(ended.stderr.contains(&format!("Handed over by LISTEN_FDS, and open when this ends: udp:{at}\n")));
    let second = start();
    second.until_lines(&["two"]);
    second.stop().assert_clean();
    assert_eq!(SockRef::from(&socket).r#type().unwrap(), socket2::Type::DGRAM, "it is open still");
}

#[test]
fn p13_a_socket_for_datagrams_that_is_none_of_udp_or_is_connected_is_refused() {
    let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
    connected.connect(connected.local_addr().unwrap()).unwrap();
    for (ended, why) in [
        (Setup::new(&[]).inherit(connected).run(), "it is a connection; use Accept=no"),
        (
            Setup::new(&[]).inherit(UnixDatagram::unbound().unwrap()).run(),
            "it is a Unix socket for datagrams, or one for packets; use ListenStream=",
        ),
    ] {
        assert_sentence(&ended, 2, &format!("cannot listen on descriptor 3 (lines) of LISTEN_FDS: {why}"), "");
    }
}

#[test]
fn p13_udp_options_that_make_no_sense_are_one_sentence_and_exit_2() {
    let udp = ["--listen", "udp:127.0.0.1:0"];
    for (args, begins, ends) in [
        (&["--listen", "udp:514"][..], "--listen udp:514: name the address before it", ""),
        (
            &["--listen", "udp://0.0.0.0:514"],
            "--listen udp://0.0.0.0:514: write it as udp:ADDR:PORT",
            "udp:0.0.0.0:514",
        ),
        (&["--listen", "udp:localhost:514"], "--listen udp:localhost:514: names are not looked up", ""),
        (
            &["--listen", "udp:[::]:1", "--listen", "udp:[::1]:1"],
            "--listen udp:[::1]:1 is covered by --listen udp:[::]:1",
            "",
        ),
        (
            &["--listen", "udp:127.0.0.1:0,framing=octet"],
            "--listen udp:127.0.0.1:0,framing=octet: a datagram of UDP has its end already",
            "leave the framing out",
        ),
        (
            &[&udp[..], &["--framing", "nul"]].concat(),
            "--framing nul fits no --listen: a datagram of UDP has its end",
            "",
        ),
        (
            &["--listen", "udp:127.0.0.1:0,proxy,allow=192.0.2.7"],
            "--listen udp:127.0.0.1:0,proxy,allow=192.0.2.7: a datagram comes from who sent it, without a header",
            "allow only the hosts that may send",
        ),
        (
            &[&udp[..], &["--proxy", "--allow", "192.0.2.7"]].concat(),
            "--proxy on fits no --listen: a datagram comes from who sent it",
            "",
        ),
        (
            &["--udp-buffer", "1MiB"],
            "--udp-buffer fits no --listen: none of them is udp:ADDR:PORT",
            "leave the buffer out",
        ),
        (
            &[&udp[..], &["--udp-buffer", "1GiB"]].concat(),
            "--udp-buffer is 1073741824: give a number from 0 to 536870912",
            "",
        ),
        (&[&udp[..], &["--udp-buffer", "much"]].concat(), "--udp-buffer much: ", ""),
        (&[&udp[..], &["--receipt"]].concat(), "--receipt fits no --listen: UDP has no way back", "leave it out"),
        #[cfg(feature = "status")]
        (&["--status", "udp:127.0.0.1:1"], "--status udp:127.0.0.1:1: HTTP needs connections", "unix:/path"),
    ] {
        assert_sentence(&Setup::new(args).run(), 2, begins, ends);
    }
    // What fits one of two is fine.
    setup(&["--receipt", "--udp-buffer", "64KiB"]).start().stop().assert_clean();
}

#[test]
fn p23_a_receive_buffer_that_the_kernel_does_not_give_is_warned_of() {
    let most: usize = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    for (asked, is_warned) in [(most, false), (most + 1024, true)] {
        let receiver = setup(&["--udp-buffer", &asked.to_string()]).start();
        let ended = receiver.stop();
        ended.assert_clean();
        let warning = "of --udp-buffer: raise net.core.rmem_max";
        assert_eq!(ended.stderr.matches(warning).count(), usize::from(is_warned), "{asked}: {}", ended.stderr);
    }
}

#[test]
fn p23_one_hosts_file_that_can_not_be_written_costs_no_other_hosts_datagrams() {
    let dir = Dir::new();
    let (pattern, bad) = (dir.file("{host}.log"), dir.file("127.0.0.66.log"));
    fs::create_dir(&bad).unwrap();
    let receiver = setup(&["--output", &pattern]).start();
    let at = place(&receiver);
    let (from_bad, from_good) = (sender(66), sender(2));
    // What comes before its file is known to be bad is kept; all that follows is dropped.
    until("a datagram is dropped", || {
        from_bad.send_to(b"bad", at).unwrap();
        let said = receiver.said();
        let warning = "[udp] The file of 127.0.0.66 takes nothing, dropping a datagram of 3 bytes";
        if said.contains(warning) { Ok(()) } else { Err(said) }
    });
    from_good.send_to(b"good", at).unwrap();
    let text = |name: &str| fs::read_to_string(dir.file(name)).unwrap_or_default();
    until_equal("the good one's line", &"good\n".to_owned(), || text("127.0.0.2.log"));
    fs::remove_dir(&bad).unwrap();
    until("the bad one's lines, and the next", || {
        from_bad.send_to(b"next", at).unwrap();
        let found = text("127.0.0.66.log");
        if found.starts_with("bad\n") && found.contains("next\n") { Ok(()) } else { Err(found) }
    });
    receiver.stop().assert_clean();
}

#[cfg(feature = "status")]
#[test]
fn p23_the_status_endpoint_tells_of_datagrams_and_of_those_that_the_kernel_dropped() {
    let receiver = setup(&["--status", "127.0.0.1:0", "--udp-buffer", "4KiB"]).start();
    let at = place(&receiver);
    receiver.signal("STOP");
    for _ in 0..100 {
        sender(1).send_to(&[b'x'; 1000], at).unwrap();
    }
    receiver.signal("CONT");
    receiver.until_said(&format!("datagram(s) at udp:{at}: "));
    let status = status_of(&receiver);
    let diagnostics = get(&status, "/diagnostics").json();
    let (read, missed) = (diagnostics.number("counters.datagrams"), diagnostics.number("counters.missedDatagrams"));
    assert!(read > 0 && missed > 0 && read + missed == 100, "{read} read, {missed} missed");
    assert_eq!(diagnostics.text_at("listen.1"), format!("udp:{at}"));
    let metrics = get(&status, "/metrics").body;
    for line in [format!("missed_datagrams_total {missed}\n"), format!("received_datagrams_total {read}\n")] {
        assert!(metrics.contains(&line), "{line} in {metrics}");
    }
    receiver.stop().assert_clean();
}
