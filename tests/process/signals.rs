//! Signals: the orderly end, the second signal, the end that does not come by itself (P11).

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::conditions::{assert_numbered, assert_same, read_goodbye, write_until_held_back};
use crate::support::receiver::Receiver;

#[test]
fn p11_sigterm_and_sigint_end_cleanly_with_every_line_written() {
    for signal in ["TERM", "INT"] {
        let receiver = Receiver::start(&[]);
        let clients: Vec<TcpStream> = (0..5).map(|_| receiver.client()).collect();
        for (name, mut client) in clients.iter().enumerate() {
            write!(client, "c{name} 0\nc{name} 1\nc{name} 2").unwrap();
        }
        receiver.signal(signal);
        clients.iter().for_each(read_goodbye);
        let ended = receiver.wait();
        ended.assert_clean();
        assert!(ended.stderr.contains("[tcp] Stopping server, closing "), "{signal}: {}", ended.stderr);
        assert_eq!(ended.lines().len(), 15, "{signal}: {:?}", ended.lines());
        // The last line of each had no newline.
        (0..5).for_each(|name| assert_numbered(&ended.lines(), &format!("c{name}"), 3));
    }
}

#[test]
fn p11_a_second_signal_ends_at_once_with_exit_1() {
    for (first, second) in [("TERM", "TERM"), ("TERM", "INT"), ("INT", "INT")] {
        let (mut receiver, _nobody_reads) = Receiver::start_unread(&["--drain-timeout", "1h"]);
        let client = receiver.client();
        write_until_held_back(&client);
        receiver.signal(first);
        // Two signals of one kind that come before the first is taken are one to the kernel.
        receiver.until_said("[tcp] Stopping server");
        assert!(receiver.guard.is_running(), "the first signal waits for the output: {}", receiver.said());
        receiver.signal(second);
        let ended = receiver.wait();
        assert_eq!(ended.code, Some(1), "{first}, {second}: {}", ended.stderr);
    }
}

#[test]
fn p11_the_port_can_be_bound_again_at_once() {
    let first = Receiver::start(&[]);
    let (addr, mut client) = (first.addr.to_string(), first.client());
    client.write_all(b"one\n").unwrap();
    // The server says goodbye first and the client is still there: the port is left in FIN_WAIT or TIME_WAIT.
    assert_eq!(first.stop().lines(), ["one"]);
    let second = Receiver::start(&["--listen", &addr]);
    assert_eq!(second.addr.to_string(), addr);
    second.client().write_all(b"two\n").unwrap();
    second.until_lines(&["two"]);
    drop(client);
}

#[test]
fn p11_what_lay_unread_in_the_kernel_at_the_signal_is_in_the_output() {
    const LINES: usize = 2_000;
    let receiver = Receiver::start(&["--max-per-host", "0"]);
    let mut clients = vec![receiver.client()];
    clients[0].write_all(b"before 0\n").unwrap();
    receiver.until_lines(&["before 0"]);
    // The stopped process can't read or accept: all of this waits in the kernel, and half of the clients are gone.
    receiver.signal("STOP");
    clients.extend((0..8).map(|_| receiver.client()));
    for (name, client) in clients.iter_mut().enumerate() {
        let text: String = (0..LINES).map(|number| format!("c{name} {number}\n")).collect();
        client.write_all(text.as_bytes()).unwrap();
    }
    clients.truncate(5);
    receiver.signal("TERM");
    receiver.signal("CONT");
    let ended = receiver.wait();
    ended.assert_clean();
    assert_eq!(ended.lines().len(), 1 + 9 * LINES);
    (0..9).for_each(|name| assert_numbered(&ended.lines(), &format!("c{name}"), LINES));
}

#[test]
fn p11_an_output_that_takes_nothing_is_given_up_with_a_sentence() {
    let (receiver, _nobody_reads) = Receiver::start_unread(&["--drain-timeout", "300ms"]);
    let client = receiver.client();
    write_until_held_back(&client);
    let ended = receiver.stop();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.starts_with("lumberjack: gave up on stdout"), "{last}");
    let lost: u64 = last.split_once("--drain-timeout: ").unwrap().1.split_once(" bytes").unwrap().0.parse().unwrap();
    assert!(lost > 0, "it says how much is lost: {last}");
}

#[test]
fn p11_an_output_that_is_only_slow_is_waited_for() {
    let (receiver, mut output) = Receiver::start_unread(&["--drain-timeout", "2s"]);
    let client = receiver.client();
    let sent = write_until_held_back(&client);
    receiver.signal("TERM");
    receiver.until_said("[tcp] Stopping server");
    let mut first = vec![0; 100];
    output.read_exact(&mut first).unwrap();
    let collected = output.collect();
    receiver.wait().assert_clean();
    let mut wanted = sent;
    // The last line was cut by the kernel, unless it was cut at its end.
    if !wanted.ends_with(b"\n") {
        wanted.push(b'\n');
    }
    first.extend(collected.finish());
    assert_same(&first, &wanted);
}

#[test]
fn p13_sigpipe_does_not_end_it() {
    let receiver = Receiver::start(&[]);
    let mut client = receiver.client();
    client.write_all(b"before\n").unwrap();
    receiver.until_lines(&["before"]);
    receiver.signal("PIPE");
    client.write_all(b"after\n").unwrap();
    receiver.until_lines(&["before", "after"]);
    receiver.stop().assert_clean();
}
