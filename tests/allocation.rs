//! No allocation per line (S11), and nothing kept by who has left (P5): counted by an allocator that counts what this
//! thread asks for.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::Cell;
use std::hint::black_box;
use std::io::{self, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use lumberjack::internals::budget::Budget;
use lumberjack::internals::framer::{Framer, LineSink, Rules};
use lumberjack::{Config, Flushed, Host, Limits, Lines, ListenAddr, Origin, Server, Sink};

/// 20 bytes each, with its newline.
const LINE: &[u8] = b"a short line of ours";

/// Counts lines and drops them. Clones share the count.
#[derive(Clone, Default)]
struct Counting {
    lines: Rc<Cell<u64>>,
}

impl LineSink for Counting {
    fn lines(&mut self, lines: Lines<'_>) {
        black_box(lines);
        self.lines.set(self.lines.get() + lines.count);
    }
}

impl Sink for Counting {
    fn append(&mut self, _: &Origin<'_>, lines: Lines<'_>) {
        self.lines(lines);
    }

    fn flush(&mut self) -> io::Result<Flushed> {
        Ok(Flushed::Done)
    }

    fn waiting(&self) -> usize {
        0
    }
}

fn whole_lines(count: usize, ending: &[u8]) -> Vec<u8> {
    [LINE, ending].concat().repeat(count)
}

#[test]
fn the_counter_sees_a_vec_and_a_growing_one() {
    let one = measure(|| drop(black_box(vec![0_u8; 100])));
    assert_eq!((one.count_total, one.bytes_total, one.bytes_current), (1, 100, 0));
    let per_line = measure(|| whole_lines(10, b"\n").chunks(21).for_each(|line| drop(black_box(line.to_vec()))));
    assert!(per_line.count_total >= 10, "{per_line:?}");
}

#[test]
fn a_warm_framer_allocates_nothing_for_whole_lines() {
    let rules = Rules::new(&Limits::default());
    // Whole lines go out as a block; CRLF and empty lines are walked one by one.
    for ending in [&b"\n"[..], b"\r\n", b"\n\n"] {
        let (mut framer, mut out) = (Framer::default(), Counting::default());
        let chunk = whole_lines(50, ending);
        framer.feed(&chunk, &rules, &mut out);
        let heap = measure(|| {
            for _ in 0..10_000 {
                let fed = framer.feed(&chunk, &rules, &mut out);
                framer.keep(fed.tail, &rules);
            }
        });
        assert_eq!(out.lines.get(), 500_050);
        assert_eq!(heap, AllocationInfo::default(), "with the ending {:?}", ending.escape_ascii().to_string());
    }
}

#[test]
fn p5_a_line_in_two_chunks_costs_one_buffer_that_is_given_back() {
    let rules = Rules::new(&Limits::default());
    let (mut framer, mut out) = (Framer::default(), Counting::default());
    let heap = measure(|| {
        for _ in 0..1_000 {
            let fed = framer.feed(b"begun and ", &rules, &mut out);
            framer.keep(fed.tail, &rules);
            let fed = framer.feed(b"ended\n", &rules, &mut out);
            framer.keep(fed.tail, &rules);
        }
    });
    assert_eq!(out.lines.get(), 1_000);
    assert_eq!((heap.count_total, heap.count_max, heap.bytes_current), (1_000, 1, 0), "one each, one at a time");
}

/// A server in this thread, with one client that is known to it.
struct Warm {
    server: Server<Counting>,
    sink: Counting,
    client: TcpStream,
}

impl Warm {
    fn start() -> Self {
        let sink = Counting::default();
        let server = Server::bind(Config::listen("127.0.0.1:0".parse().unwrap()), sink.clone()).unwrap();
        let ListenAddr::Tcp(addr) = server.local_addrs()[0] else { panic!("no TCP listener") };
        let mut warm = Self { server, sink, client: TcpStream::connect(addr).unwrap() };
        warm.send_and_measure(1);
        warm
    }

    /// What it costs to take `count` lines that lie in the kernel already.
    fn send_and_measure(&mut self, count: usize) -> AllocationInfo {
        let before = self.sink.lines.get();
        // Few enough to fit the first receive window whole, so that no read ends within a line.
        self.client.write_all(&whole_lines(count, b"\n")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let heap = measure(|| {
            while self.sink.lines.get() < before + count as u64 && Instant::now() < deadline {
                self.server.turn(Some(Duration::from_millis(100))).unwrap();
            }
        });
        assert_eq!(self.sink.lines.get(), before + count as u64, "lines that came");
        self.server.check();
        heap
    }
}

#[test]
fn a_warm_server_allocates_nothing_for_a_turn_or_a_line() {
    let mut warm = Warm::start();
    for count in [1, 500, 1_000] {
        assert_eq!(warm.send_and_measure(count), AllocationInfo::default(), "{count} lines");
    }
    let heap = measure(|| {
        for _ in 0..100 {
            warm.server.turn(Some(Duration::ZERO)).unwrap();
        }
    });
    assert_eq!(heap, AllocationInfo::default(), "a hundred turns with nothing to do");
}

#[test]
fn p5_a_crowd_that_has_left_leaves_no_tables() {
    const CROWD: u32 = 10_000;
    let mut kept = None;
    let heap = measure(|| {
        let budget = kept.insert(Budget::new(usize::MAX / 2, None, 0));
        for id in 0..CROWD {
            budget.connect(id, Host::V4(id.to_be_bytes())).unwrap();
            budget.hold(id, 100);
        }
        (0..CROWD).for_each(|id| budget.disconnect(id));
        budget.reset(16);
    });
    assert!(heap.bytes_max > u64::from(CROWD) * 16, "they had tables: {heap:?}");
    assert!(heap.bytes_current < 16 * 1024, "{CROWD} have left, and this is still held: {heap:?}");
}
