//! The memory of the built binary: what a crowd of hoarders took is back when they have left, and connection after
//! connection leaves nothing. `MEMORY_CONNECTIONS=1000000 cargo test --release --test memory -- --nocapture` makes so
//! many of them. What the server allocates, counted byte by byte, is asked in `allocation.rs`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[allow(dead_code, unused_imports)] // what `tests/process` needs beyond this
#[path = "process/support/conditions.rs"]
mod conditions;
#[allow(dead_code, unused_imports)]
#[path = "process/support/receiver.rs"]
mod receiver;

use std::io::Write;
use std::net::TcpStream;

use conditions::{may_open, reset, until};
use receiver::Receiver;

/// What the allocator may keep of what it once had.
const KEPT_KIB: u64 = 1024;

#[test]
fn p5_a_thousand_hoarders_that_left_have_left_no_memory_behind() {
    const HOARDERS: u64 = 1_000;
    const HOARD_KIB: u64 = 64;
    let hoard = vec![b'h'; 64 * 1024];
    if !may_open(2_500) {
        return;
    }
    let receiver = Receiver::start(&["--max-per-host", "0", "--memory", "96MiB"]);
    let (fds, start_kib) = (receiver.fds(), receiver.rss_kib());
    let mut most_kib = 0;
    for round in 0..3 {
        let mut clients: Vec<TcpStream> = (0..HOARDERS).map(|_| receiver.client()).collect();
        clients.iter_mut().for_each(|client| client.write_all(&hoard).unwrap());
        until("the whole hoard in its memory", || {
            let now_kib = receiver.rss_kib();
            if now_kib >= start_kib + HOARDERS * HOARD_KIB { Ok(()) } else { Err(format!("{now_kib} KiB")) }
        });
        most_kib = most_kib.max(receiver.rss_kib());
        drop(clients);
        receiver.until_fds(fds);
        until("the memory back where it was", || {
            let now_kib = receiver.rss_kib();
            let refusal = || format!("round {round}: {now_kib} KiB, {start_kib} KiB at the start");
            if now_kib <= start_kib + KEPT_KIB { Ok(()) } else { Err(refusal()) }
        });
        let end_kib = receiver.rss_kib();
        eprintln!("hoarders, round {round}: {start_kib} KiB before, {most_kib} KiB at most, {end_kib} KiB after");
    }
    receiver.stop().assert_clean();
}

#[test]
fn p5_hoarders_whose_lines_grew_in_small_steps_leave_no_memory_behind_either() {
    const HOARDERS: usize = 900;
    if !may_open(2_500) {
        return;
    }
    let receiver = Receiver::start(&["--max-per-host", "0", "--memory", "16MiB"]);
    let (fds, start_kib) = (receiver.fds(), receiver.rss_kib());
    let mut clients: Vec<TcpStream> = (0..HOARDERS).map(|_| receiver.client()).collect();
    for step in 0..12 {
        let more = vec![b'h'; 3000 + step * 997];
        clients.iter_mut().for_each(|client| client.write_all(&more).unwrap());
        if step == 4 {
            until("much of the budget used", || {
                let now_kib = receiver.rss_kib();
                if now_kib > start_kib + 8 * 1024 { Ok(()) } else { Err(format!("{now_kib} KiB")) }
            });
        }
    }
    drop(clients);
    receiver.until_fds(fds);
    // A small block that is still in use can lie above all that was freed, and glibc's heap shrinks from its end only: it goes
    // with the next client.
    until("the memory back where it was", || {
        receiver.client().write_all(b"a line\n").unwrap();
        let now_kib = receiver.rss_kib();
        if now_kib <= start_kib + KEPT_KIB {
            Ok(())
        } else {
            Err(format!("{now_kib} KiB, {start_kib} KiB at the start"))
        }
    });
    receiver.stop().assert_clean();
}

/// How many connections the flat line is drawn over.
fn connections() -> usize {
    let Ok(number) = std::env::var("MEMORY_CONNECTIONS") else { return 20_000 };
    number.parse().expect("MEMORY_CONNECTIONS is a number")
}

#[test]
fn p7_connection_after_connection_leaves_neither_memory_nor_descriptors() {
    const BATCH: usize = 64;
    const SAMPLES: usize = 10;
    let receiver = Receiver::start(&["--max-per-host", "0"]);
    let fds = receiver.fds();
    let batch = |first: usize| {
        let clients: Vec<TcpStream> = (0..BATCH).map(|_| receiver.client()).collect();
        for (number, mut client) in (first..).zip(clients) {
            // With a newline and without, a FIN and a reset.
            write!(client, "{number}{}", if number % 2 == 0 { "\n" } else { "" }).unwrap();
            if number % 4 < 2 {
                reset(client);
            }
        }
        receiver.until_fds(fds);
    };
    let batches = connections().div_ceil(BATCH).next_multiple_of(SAMPLES);
    let mut samples_kib = Vec::new();
    for number in 0..batches {
        batch(number * BATCH);
        if (number + 1) % (batches / SAMPLES) == 0 {
            samples_kib.push(receiver.rss_kib());
        }
    }
    let count = batches * BATCH;
    eprintln!("{count} connections, {fds} descriptors before and after, KiB at each tenth: {samples_kib:?}");
    let (first, last) = (samples_kib[1], samples_kib[SAMPLES - 1]);
    assert!(last <= first + KEPT_KIB / 4, "it grew with their number: {samples_kib:?} KiB");
    let ended = receiver.stop();
    ended.assert_clean();
    let mut numbers: Vec<usize> = ended.lines().iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers == (0..count).collect::<Vec<_>>(), "not each once: {} lines", numbers.len());
}
