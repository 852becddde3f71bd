//! What looking on costs those who log: CPU in bulk with a scrape a second beside no endpoint at all, and the throughput
//! of a client at full speed beside 1,000 HTTP clients. `cargo bench --bench status`; flags after `--` go to `lumberjack`
//! in all rounds, and `BENCH_BINARY` names another build of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)] // what the other benches need beyond this
#[path = "live/mod.rs"]
mod live;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use live::{Kind, Receiver};

/// Rounds of each question, each of one with and one without.
const ROUNDS: usize = 7;
/// Bytes of a round in bulk: some seconds, so that there are scrapes in it.
const BULK_BYTES: usize = 6_000_000_000;
/// How long a client sends beside the crowd.
const CROWD_TIME: Duration = Duration::from_secs(5);
const VISITORS: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// A place for the status endpoint that was free a moment ago.
fn free_place() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(flags: &[String], status: Option<SocketAddr>) -> Receiver {
    let mut flags = flags.to_vec();
    if let Some(at) = status {
        flags.extend(["--status".to_owned(), at.to_string()]);
    }
    let receiver = Receiver::start(Kind::Lumberjack, &flags, Stdio::null());
    let begun = Instant::now();
    while status.is_some_and(|at| ask(at, "/healthz").is_none()) {
        assert!(begun.elapsed() < PATIENCE, "the status endpoint does not answer");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    receiver
}

/// One question and its whole answer; nothing if the endpoint does not answer, as at its end.
fn ask(at: SocketAddr, target: &str) -> Option<usize> {
    let mut visitor = TcpStream::connect_timeout(&at, PATIENCE).ok()?;
    visitor.set_read_timeout(Some(PATIENCE)).ok()?;
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    visitor.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    visitor.read_to_end(&mut answer).ok()?;
    answer.starts_with(b"HTTP/1.1 200 OK\r\n").then_some(answer.len())
}

fn block() -> Vec<u8> {
    [[b'x'; 127].as_slice(), b"\n"].concat().repeat(2048)
}

/// Processor seconds for 10^9 bytes of 128-byte lines.
fn bulk(flags: &[String], status: Option<SocketAddr>) -> f64 {
    let receiver = start(flags, status);
    let is_over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        if let Some(at) = status {
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    assert!(ask(at, "/metrics").is_some() && ask(at, "/diagnostics").is_some());
                    std::thread::park_timeout(Duration::from_secs(1));
                }
            });
        }
        let (mut client, block, before) = (receiver.client(), block(), receiver.cpu().total);
        for _ in 0..BULK_BYTES / block.len() {
            client.write_all(&block).unwrap();
        }
        live::finish(&mut client);
        is_over.store(true, Ordering::Relaxed);
        (receiver.cpu().total - before) * 1e9 / BULK_BYTES as f64
    })
}

/// Megabytes that one client sends in a second, and answers that a crowd of visitors got.
fn beside_a_crowd(flags: &[String], status: Option<SocketAddr>) -> (f64, u64) {
    // The endpoint is there in both; only the visitors are not.
    let at = status.unwrap_or_else(free_place);
    let receiver = start(flags, Some(at));
    let (is_over, answers) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let mut client = receiver.client();
    std::thread::scope(|scope| {
        for number in 0..if status.is_some() { VISITORS } else { 0 } {
            let visitor = move || {
                while !is_over.load(Ordering::Relaxed) {
                    let target = ["/metrics", "/diagnostics", "/", "/status"][number % 4];
                    answers.fetch_add(ask(at, target).map_or(0, |_| 1), Ordering::Relaxed);
                }
            };
            std::thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, visitor).unwrap();
        }
        // The first answers show that the crowd is there.
        while status.is_some() && answers.load(Ordering::Relaxed) < 32 {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let (block, begun, mut sent) = (block(), Instant::now(), 0);
        while begun.elapsed() < CROWD_TIME {
            client.write_all(&block).unwrap();
            sent += block.len();
        }
        let rate = sent as f64 / begun.elapsed().as_secs_f64() / 1e6;
        let answered = answers.load(Ordering::Relaxed);
        is_over.store(true, Ordering::Relaxed);
        // Ends what still waits for an answer.
        drop(receiver);
        (rate, answered)
    })
}

/// The middle one.
fn middle(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A row: the middle and the best of both, and their ratios; and the middle of the ratios of each round.
fn report(question: &str, without: &mut [f64], with: &mut [f64], best: fn(f64, f64) -> f64) {
    let mut ratios: Vec<f64> = with.iter().zip(without.iter()).map(|(with, without)| with / without).collect();
    let of_rounds = middle(&mut ratios);
    let (without_best, with_best) =
        (without.iter().copied().reduce(best).unwrap(), with.iter().copied().reduce(best).unwrap());
    let (without, with) = (middle(without), middle(with));
    println!(
        "{question:<36} {without:>9.3} {with:>9.3} {:>8.3} {of_rounds:>8.3} {:>8.3}",
        with / without,
        with_best / without_best
    );
}

fn main() {
    let flags = live::start();
    println!(
        "{:<36} {:>9} {:>9} {:>8} {:>8} {:>8}",
        "middle of 7 rounds", "without", "with", "ratio", "rounds", "best"
    );
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // In turns, so that what changes on the machine hits both.
        for is_on in [round % 2 == 0, round % 2 == 1] {
            let figure = bulk(&flags, is_on.then(free_place));
            if is_on { with.push(figure) } else { without.push(figure) }
        }
    }
    report("bulk, CPU s/GB; a scrape a second", &mut without, &mut with, f64::min);
    let (mut without, mut with, mut answers) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        for is_on in [round % 2 == 0, round % 2 == 1] {
            let (figure, answered) = beside_a_crowd(&flags, is_on.then(free_place));
            answers += answered;
            if is_on { with.push(figure) } else { without.push(figure) }
        }
    }
    report("one client, MB/s; 1000 visitors", &mut without, &mut with, f64::max);
    let seconds = CROWD_TIME.as_secs() * ROUNDS as u64;
    println!("the visitors got {} answers a second", answers / seconds);
}
