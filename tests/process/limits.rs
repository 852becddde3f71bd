//! Crowds: more clients than descriptors, than places, than ever before (P1, P7, P10).

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;

use crate::support::conditions::{assert_numbered, may_open, read_close, until, until_equal};
use crate::support::receiver::{Receiver, Setup, is_emulated};

#[test]
fn p10_64_descriptors_serve_200_clients() {
    let receiver = Setup::new(&["--max-per-host", "0"]).before("ulimit -n 64;").start();
    assert_eq!(receiver.said().matches("; lowered to ").count(), 1, "one warning: {}", receiver.said());
    let mut clients: Vec<TcpStream> = (0..200).map(|_| receiver.client()).collect();
    for (name, client) in clients.iter_mut().enumerate() {
        writeln!(client, "c{name} 0").unwrap();
    }
    receiver.until_said(", new clients wait");
    receiver.assert_rests("while clients wait in the backlog");
    assert!(receiver.lines().len() < 64, "the others wait: {}", receiver.lines().len());
    drop(clients);
    until_equal("a line from each", &200, || receiver.lines().len());
    (0..200).for_each(|name| assert_numbered(&receiver.lines(), &format!("c{name}"), 1));
    receiver.until_said("nobody waits");
    assert_eq!(receiver.said().matches("new clients wait\n").count(), 1, "said once: {}", receiver.said());
    receiver.stop().assert_clean();
}

#[test]
fn p10_a_descriptor_that_is_missing_after_all_pauses_and_spins_not() {
    let receiver = Receiver::start(&[]);
    let base = receiver.fds();
    let limit = lower_free_descriptors_to(&receiver, 0);
    let mut client = receiver.client();
    client.write_all(b"waited\n").unwrap();
    receiver.until_said("[tcp] Cannot accept: ");
    receiver.assert_rests("without a descriptor");
    assert_eq!(receiver.fds(), base);
    rlimit::prlimit(pid(&receiver), rlimit::Resource::NOFILE, Some((limit + 8, limit + 8)), None).unwrap();
    receiver.until_lines(&["waited"]);
    receiver.stop().assert_clean();
}

#[test]
fn p10_the_last_free_descriptor_is_no_reason_for_an_alarm() {
    let receiver = Receiver::start(&[]);
    lower_free_descriptors_to(&receiver, 1);
    let mut client = receiver.client();
    client.write_all(b"got the last one\n").unwrap();
    receiver.until_lines(&["got the last one"]);
    let ended = receiver.stop();
    ended.assert_clean();
    // Trap: `accept` without a free descriptor says EMFILE even if nobody waits.
    assert!(!ended.stderr.contains("Cannot accept"), "nobody waits: {}", ended.stderr);
}

/// From now on only so many descriptors are free; gives the limit.
pub(crate) fn lower_free_descriptors_to(receiver: &Receiver, free: usize) -> u64 {
    let path = |fd: &u64| format!("/proc/{}/fd/{fd}", receiver.guard.pid());
    let first_beyond = (0..).filter(|fd| std::fs::symlink_metadata(path(fd)).is_err()).nth(free).unwrap();
    let hard = first_beyond + 64;
    rlimit::prlimit(pid(receiver), rlimit::Resource::NOFILE, Some((first_beyond, hard)), None).unwrap();
    first_beyond
}

/// All that [`lower_free_descriptors_to`], whose answer is given, left possible.
pub(crate) fn raise_descriptors_again(receiver: &Receiver, limit: u64) {
    rlimit::prlimit(pid(receiver), rlimit::Resource::NOFILE, Some((limit + 64, limit + 64)), None).unwrap();
}

fn pid(receiver: &Receiver) -> i32 {
    i32::try_from(receiver.guard.pid()).unwrap()
}

#[test]
fn p10_a_full_house_has_clients_wait() {
    let receiver = Receiver::start(&["--max-connections", "4", "--max-per-host", "0", "--when-full", "wait"]);
    let mut clients: Vec<TcpStream> = (0..8).map(|_| receiver.client()).collect();
    for (name, client) in clients.iter_mut().enumerate() {
        writeln!(client, "c{name}").unwrap();
    }
    receiver.until_said("[tcp] Connection limit reached (4), new clients wait");
    until_equal("a line from each who is in", &4, || receiver.lines().len());
    drop(clients);
    until_equal("a line from all", &8, || receiver.lines().len());
    let names: BTreeSet<String> = receiver.lines().into_iter().collect();
    assert_eq!(names, (0..8).map(|name| format!("c{name}")).collect());
    receiver.until_said("[tcp] Below the connection limit again");
    receiver.stop().assert_clean();
}

#[test]
fn p10_a_full_house_can_reject() {
    let receiver = Receiver::start(&["--max-connections", "4", "--max-per-host", "0", "--when-full", "reject"]);
    let base = receiver.fds();
    let inside: Vec<TcpStream> = (0..4).map(|_| receiver.client()).collect();
    receiver.until_fds(base + 4);
    let outside = receiver.client();
    read_close(&outside);
    let peer = outside.local_addr().unwrap();
    receiver.until_said(&format!("[tcp] Connection limit reached (4), rejecting connection from {peer}"));
    drop(inside);
    receiver.until_fds(base);
    receiver.client().write_all(b"in\n").unwrap();
    receiver.until_lines(&["in"]);
    receiver.stop().assert_clean();
}

#[test]
fn p7_a_thousand_idle_clients_cost_nothing_and_each_gets_its_line_through() {
    if !may_open(2_500) {
        return;
    }
    let receiver = Receiver::start(&["--max-connections", "1000", "--max-per-host", "0"]);
    let base = receiver.fds();
    let mut clients: Vec<TcpStream> = (0..1_000).map(|_| receiver.client()).collect();
    receiver.until_fds(base + 1_000);
    receiver.assert_rests("for idle clients");
    for (name, client) in clients.iter_mut().enumerate() {
        writeln!(client, "c{name} 0").unwrap();
    }
    until_equal("a line from each", &1_000, || receiver.lines().len());
    let names: BTreeSet<String> = receiver.lines().into_iter().collect();
    assert_eq!(names, (0..1_000).map(|name| format!("c{name} 0")).collect());
    drop(clients);
    receiver.until_fds(base);
    receiver.stop().assert_clean();
}

#[test]
fn p7_twenty_thousand_short_connections_leave_nothing_behind() {
    const BATCH: usize = 64;
    let receiver = Receiver::start(&["--max-per-host", "0"]);
    let base = receiver.fds();
    let batch = |first: usize| {
        let mut clients: Vec<TcpStream> = (0..BATCH).map(|_| receiver.client()).collect();
        for (number, client) in (first..).zip(&mut clients) {
            // Every other one ends without a newline.
            let ending = if number % 2 == 0 { "\n" } else { "" };
            write!(client, "{number}{ending}").unwrap();
        }
        drop(clients);
        receiver.until_fds(base);
    };
    batch(0);
    let rss_kib = receiver.rss_kib();
    let last = 20_000_usize.next_multiple_of(BATCH);
    (BATCH..last).step_by(BATCH).for_each(batch);
    until_equal("a line from each", &last, || receiver.lines().len());
    let numbers: BTreeSet<usize> = receiver.lines().iter().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.len(), last, "each once");
    until("the memory back where it was", || {
        let now_kib = receiver.rss_kib();
        // An emulator keeps what it has translated.
        let more = if is_emulated() { 4096 } else { 1024 };
        if now_kib <= rss_kib + more { Ok(()) } else { Err(format!("{now_kib} KiB, {rss_kib} KiB before")) }
    });
    receiver.stop().assert_clean();
}

#[test]
fn p1_a_hundred_clients_with_a_thousand_lines_each_arrive_once_and_in_order() {
    let receiver = Receiver::start(&["--max-per-host", "0"]);
    std::thread::scope(|scope| {
        for name in 0..100 {
            let mut client = receiver.client();
            scope.spawn(move || {
                for number in 0..1_000 {
                    // Cut in the middle now and then, so that lines come in pieces.
                    let line = format!("c{name} {number}\n");
                    let (head, tail) = line.split_at(if number % 7 == 0 { 3 } else { line.len() });
                    client.write_all(head.as_bytes()).unwrap();
                    client.write_all(tail.as_bytes()).unwrap();
                }
            });
        }
    });
    let ended = receiver.stop();
    ended.assert_clean();
    let lines = ended.lines();
    assert_eq!(lines.len(), 100_000);
    (0..100).for_each(|name| assert_numbered(&lines, &format!("c{name}"), 1_000));
}
