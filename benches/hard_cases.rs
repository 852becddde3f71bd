//! What the worst clients cost: the built binary and a naive loop beside it take the same bytes over loopback sockets,
//! and nothing may cost more than four times the plain case a byte. Exit 1 if anything does. `cargo bench --bench
//! hard_cases`; flags after `--` go to `lumberjack`, and `BENCH_BINARY` names another build of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)] // what `latency` needs beyond this
#[path = "live/mod.rs"]
mod live;

use std::io::Write;
use std::net::TcpStream;
use std::process::{ExitCode, Stdio};

use live::{Cpu, Kind, Receiver, finish};

/// Bytes of a shape that the cores decide, and clients that bring them.
const BYTES: usize = 160 << 20;
const CLIENTS: usize = 8;
/// Bytes of each client that writes one at a time: a system call a byte.
const LONE_BYTES: usize = 50_000;
/// The best of so many rounds counts: what else the machine does only ever adds. For the user's part, which comes in
/// steps of 10 ms, it is their mean.
const ROUNDS: u32 = 3;
/// A byte may cost so many times what it costs in the plain case.
const MOST_OF_PLAIN: f64 = 4.0;
/// Where system calls decide: so many times what the naive loop takes.
const MOST_OF_NAIVE: f64 = 2.0;

/// What clients send.
struct Shape {
    name: &'static str,
    clients: usize,
    /// Bytes of each client.
    bytes: usize,
    /// Bytes of a write.
    write: usize,
    /// One after the other, as often as it takes.
    lines: Vec<u8>,
    is_decided_by_calls: bool,
}

fn shapes() -> Vec<Shape> {
    let line = |len: usize, ending: &[u8]| [vec![b'x'; len - ending.len()].as_slice(), ending].concat();
    let bulk = |name, lines| Shape {
        name,
        clients: CLIENTS,
        bytes: BYTES / CLIENTS,
        write: 64 * 1024,
        lines,
        is_decided_by_calls: false,
    };
    let plain = || line(128, b"\n");
    vec![
        bulk("plain 128-byte lines", plain()),
        bulk("16-byte lines", line(16, b"\n")),
        bulk("CRLF, 128 bytes", line(128, b"\r\n")),
        bulk("CRLF, 16 bytes", line(16, b"\r\n")),
        bulk("CRLF, 3 bytes", line(3, b"\r\n")),
        bulk("every line empty", b"\n".to_vec()),
        bulk("every line empty, CRLF", b"\r\n".to_vec()),
        bulk("every other line empty", line(3, b"\n\n")),
        bulk("every line over-long", line(100 * 1024 + 2, b"\n")),
        bulk("lines of CR alone", [vec![b'\r'; 126].as_slice(), b"x\n"].concat()),
        // Each write ends in a line, and each client has had one before any has its next.
        Shape { clients: 1000, bytes: BYTES / 1000, write: 4173, ..bulk("1,000 partial lines at once", plain()) },
        Shape {
            clients: 4,
            bytes: LONE_BYTES,
            write: 1,
            is_decided_by_calls: true,
            ..bulk("one byte a write", plain())
        },
    ]
}

impl Shape {
    /// A buffer of which [`Self::next`] is always a part, wherever in a line it begins.
    fn buffer(&self) -> Vec<u8> {
        self.lines.repeat(self.write.div_ceil(self.lines.len()) + 1)
    }

    /// The write that follows `sent` bytes.
    fn next<'b>(&self, buffer: &'b [u8], sent: usize) -> &'b [u8] {
        let at = sent % self.lines.len();
        &buffer[at..at + self.write.min(self.bytes - sent)]
    }

    fn send_in_turns(&self, clients: &mut [TcpStream]) {
        let (buffer, mut sent) = (self.buffer(), 0);
        while sent < self.bytes {
            let part = self.next(&buffer, sent);
            clients.iter_mut().for_each(|client| client.write_all(part).unwrap());
            sent += part.len();
        }
        clients.iter_mut().for_each(finish);
    }

    /// Sends everything to one receiver. What that cost it.
    fn run(&self, kind: Kind, flags: &[String]) -> Cpu {
        let receiver = Receiver::start(kind, flags, Stdio::null());
        let mut clients: Vec<TcpStream> = (0..self.clients).map(|_| receiver.client()).collect();
        let before = receiver.cpu();
        // A thousand threads would be a load of their own.
        let each = if self.clients > CLIENTS { self.clients } else { 1 };
        std::thread::scope(|scope| {
            for clients in clients.chunks_mut(each) {
                scope.spawn(|| self.send_in_turns(clients));
            }
        });
        let after = receiver.cpu();
        Cpu { total: after.total - before.total, user: after.user - before.user }
    }

    #[allow(clippy::cast_precision_loss)] // far from 2^52
    fn gigabytes(&self) -> f64 {
        (self.clients * self.bytes) as f64 / 1e9
    }
}

/// Seconds a gigabyte of each shape: Lumberjack's, and the naive loop's.
fn measure(shapes: &[Shape], flags: &[String]) -> Vec<[Cpu; 2]> {
    let none = Cpu { total: f64::INFINITY, user: 0.0 };
    let mut figures = vec![[none; 2]; shapes.len()];
    for _ in 0..ROUNDS {
        for (shape, figures) in shapes.iter().zip(&mut figures) {
            for (kind, figure) in Kind::BOTH.into_iter().zip(figures) {
                let cpu = shape.run(kind, flags);
                figure.total = figure.total.min(cpu.total / shape.gigabytes());
                figure.user += cpu.user / shape.gigabytes() / f64::from(ROUNDS);
            }
        }
    }
    figures
}

fn main() -> ExitCode {
    let flags = live::start();
    let shapes = shapes();
    let figures = measure(&shapes, &flags);
    let plain = figures[0][0].total;
    let mut over = 0;
    println!("{:<28} {:>8} {:>7} {:>8} {:>8} {:>8}", "CPU-s/GB", "ours", "user", "x plain", "naive", "x naive");
    for (shape, [ours, naive]) in shapes.iter().zip(&figures) {
        let (of_plain, of_naive) = (ours.total / plain, ours.total / naive.total);
        let is_over = if shape.is_decided_by_calls { of_naive > MOST_OF_NAIVE } else { of_plain > MOST_OF_PLAIN };
        over += usize::from(is_over);
        println!(
            "{:<28} {:>8.3} {:>7.3} {of_plain:>8.2} {:>8.3} {of_naive:>8.2}{}",
            shape.name,
            ours.total,
            ours.user,
            naive.total,
            if is_over { "  OVER" } else { "" },
        );
    }
    if over == 0 {
        let calls = format!("{MOST_OF_NAIVE} times the naive loop where system calls decide");
        println!("none costs more than {MOST_OF_PLAIN} times the plain case, or {calls}");
        return ExitCode::SUCCESS;
    }
    println!("{over} cost too much: run it again on a quiet machine, then profile what is marked (benches/README.md)");
    ExitCode::FAILURE
}
