//! How long a line takes from its client's write to the output's reader, a pipe: at calm, and for 999 calm clients
//! beside one at full speed. The naive loop stands beside it. `cargo bench --bench latency`; flags after `--`, such as
//! `--gather 0`, go to `lumberjack`, and `BENCH_BINARY` names another build of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)] // what `hard_cases` needs beyond this
#[path = "live/mod.rs"]
mod live;
#[path = "live/output.rs"]
mod output;

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use live::{Kind, Receiver};
use output::{MARK, Output};

/// Lines measured a round.
const LINES: usize = 1_000;
const ROUNDS: usize = 3;
/// Silence before each line: far longer than a turn, so that each comes alone.
const PAUSE: Duration = Duration::from_millis(2);
const CALM_CLIENTS: usize = 999;
/// How long a line may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is measured: it gives each line's time.
type Question = fn(&mut Receiver) -> Vec<Duration>;

fn marked(serial: usize) -> Vec<u8> {
    [&[MARK], serial.to_string().as_bytes(), b"\n"].concat()
}

/// One client, one line, and the next only when it has arrived.
fn at_calm(receiver: &mut Receiver) -> Vec<Duration> {
    let mut output = Output::new(receiver.stdout());
    let mut client = receiver.client();
    let mut measure = |serial| {
        std::thread::sleep(PAUSE);
        let start = Instant::now();
        client.write_all(&marked(serial)).unwrap();
        let (arrived, at) = output.next(start + PATIENCE);
        assert_eq!(arrived, serial);
        at - start
    };
    (0..LINES).map(&mut measure).collect()
}

/// Lines of calm clients, one after the other, whether or not the last has arrived, while another sends all it can.
fn beside_a_flood(receiver: &mut Receiver) -> Vec<Duration> {
    let mut output = Output::new(receiver.stdout());
    let mut calm: Vec<TcpStream> = (0..CALM_CLIENTS).map(|_| receiver.client()).collect();
    let mut flooder = receiver.client();
    let stop = flooder.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let block = [[b'x'; 127].as_slice(), b"\n"].concat().repeat(512);
            // Until its socket is shut down.
            while flooder.write_all(&block).is_ok() {}
        });
        let sender = scope.spawn(move || {
            let send = |serial: usize| {
                std::thread::sleep(PAUSE);
                let start = Instant::now();
                // Neighbours in the table do not follow each other.
                calm[serial * 7 % CALM_CLIENTS].write_all(&marked(serial)).unwrap();
                start
            };
            // The clients stay until the last line has arrived.
            ((0..LINES).map(send).collect::<Vec<_>>(), calm)
        });
        let mut arrivals = vec![None; LINES];
        let deadline = Instant::now() + 3 * PATIENCE;
        for _ in 0..LINES {
            let (serial, at) = output.next(deadline);
            arrivals[serial] = Some(at);
        }
        stop.shutdown(Shutdown::Both).unwrap();
        let (starts, _calm) = sender.join().unwrap();
        starts.iter().zip(arrivals).map(|(start, at)| at.unwrap() - *start).collect()
    })
}

/// The figure below which that part of them lies.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a few thousand
    let at = (part * (sorted.len() - 1) as f64).round() as usize;
    sorted[at]
}

fn main() {
    let flags = live::start();
    // The naive loop reads one client dry before it turns to the next: beside a flood, seconds pass until a calm one
    // has its turn, and one round is enough to see it.
    let questions: [(&str, Question, [usize; 2]); 2] =
        [("one line at calm", at_calm, [ROUNDS, ROUNDS]), ("999 calm beside a flood", beside_a_flood, [ROUNDS, 1])];
    println!("{:<26} {:<12} {:>9} {:>9} {:>9}", "microseconds", "who", "p50", "p99", "most");
    for (name, question, rounds) in questions {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for ((kind, times), rounds) in Kind::BOTH.into_iter().zip(&mut times).zip(rounds) {
                if round >= rounds {
                    continue;
                }
                let mut receiver = Receiver::start(kind, &flags, Stdio::piped());
                times.extend(question(&mut receiver).iter().map(|time| time.as_secs_f64() * 1e6));
            }
        }
        for (who, times) in ["lumberjack", "naive loop"].into_iter().zip(&mut times) {
            times.sort_by(f64::total_cmp);
            let [half, most, all] = [0.5, 0.99, 1.0].map(|part| quantile(times, part));
            println!("{name:<26} {who:<12} {half:>9.1} {most:>9.1} {all:>9.1}");
        }
    }
}
