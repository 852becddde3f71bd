//! What the framings cost beside lines: the same payloads, framed in each way, to the built binary over loopback sockets, in
//! rounds that take turns. Exit 1 if a message costs more than 1.2 times what a line does. `cargo bench --bench framings`;
//! flags after `--` go to `lumberjack`, and `BENCH_BINARY` names another build of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)] // what `hard_cases` and `latency` need beyond this
#[path = "live/mod.rs"]
mod live;

use std::io::Write;
use std::process::{ExitCode, Stdio};

use live::{Kind, Receiver, finish};

/// Bytes of a payload.
const PAYLOAD: usize = 128;
/// Clients, and messages of each in a round: 160 MB in all.
const CLIENTS: usize = 8;
const MESSAGES: usize = 160_000;
/// Messages of a write, some 64 KiB.
const TOGETHER: usize = 500;
/// Odd, so that one is in the middle.
const ROUNDS: usize = 11;
/// A message may cost so many times what a line costs.
const MOST_OF_LINES: f64 = 1.2;

/// How a payload is sent.
struct Shape {
    name: &'static str,
    framing: &'static str,
    before: &'static str,
    after: &'static [u8],
}

/// The first is what the others are compared with.
const SHAPES: [Shape; 6] = [
    Shape { name: "lines", framing: "lines", before: "", after: b"\n" },
    Shape { name: "octet", framing: "octet", before: "128 ", after: b"" },
    Shape { name: "octet, LF at the end", framing: "octet", before: "129 ", after: b"\n" },
    Shape { name: "octet or lines: octet", framing: "auto-octet", before: "128 ", after: b"" },
    Shape { name: "NUL", framing: "nul", before: "", after: b"\0" },
    Shape { name: "CR", framing: "cr", before: "", after: b"\r" },
];

impl Shape {
    /// Processor time of a message in nanoseconds.
    #[allow(clippy::cast_precision_loss)] // far from 2^52
    fn run(&self, flags: &[String]) -> f64 {
        let flags = [&["--framing".to_owned(), self.framing.to_owned()], flags].concat();
        let receiver = Receiver::start(Kind::Lumberjack, &flags, Stdio::null());
        // The first byte is what begins a message of syslog: `auto-octet` looks at it.
        let payload = [b"<".as_slice(), &[b'x'; PAYLOAD - 1]].concat();
        let block = [self.before.as_bytes(), &payload, self.after].concat().repeat(TOGETHER);
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| receiver.client()).collect();
        let before = receiver.cpu();
        std::thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| {
                    for _ in 0..MESSAGES / TOGETHER {
                        client.write_all(&block).unwrap();
                    }
                    finish(client);
                });
            }
        });
        (receiver.cpu().total - before.total) * 1e9 / (CLIENTS * MESSAGES) as f64
    }
}

/// The middle one, and the least.
fn middle_and_least(mut figures: Vec<f64>) -> [f64; 2] {
    figures.sort_by(f64::total_cmp);
    [figures[figures.len() / 2], figures[0]]
}

fn main() -> ExitCode {
    let flags = live::start();
    let mut figures = vec![Vec::new(); SHAPES.len()];
    for _ in 0..ROUNDS {
        for (shape, figures) in SHAPES.iter().zip(&mut figures) {
            figures.push(shape.run(&flags));
        }
    }
    let mut over = 0;
    println!("{:<24} {:>8} {:>8} {:>8} {:>8} {:>8}", "CPU-ns/message", "middle", "best", "ratio", "rounds", "best");
    let lines = middle_and_least(figures[0].clone());
    for (shape, of_shape) in SHAPES.iter().zip(&figures) {
        let [middle, least] = middle_and_least(of_shape.clone());
        // In each round the machine was as busy with the one as with the other.
        let [rounds, _] = middle_and_least(of_shape.iter().zip(&figures[0]).map(|(one, line)| one / line).collect());
        let ratios = [middle / lines[0], rounds, least / lines[1]];
        // Only what all three say is more than the noise of the machine.
        let is_over = ratios.iter().all(|ratio| *ratio > MOST_OF_LINES);
        over += usize::from(is_over);
        let [of_middle, of_rounds, of_best] = ratios;
        println!(
            "{:<24} {middle:>8.1} {least:>8.1} {of_middle:>8.2} {of_rounds:>8.2} {of_best:>8.2}{}",
            shape.name,
            if is_over { "  OVER" } else { "" },
        );
    }
    if over == 0 {
        println!("none costs more than {MOST_OF_LINES} times a line");
        return ExitCode::SUCCESS;
    }
    println!("{over} cost too much: run it again on a quiet machine, then count instructions (benches/README.md)");
    ExitCode::FAILURE
}
