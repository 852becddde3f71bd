//! Nothing is allocated for a line, an event or a connection, and nothing is kept after a client has left (P5). An
//! allocator counts what this thread asks for. What the whole process takes is tested in `memory.rs`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::cell::Cell;
use std::hint::black_box;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::rc::Rc;
use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use common::patience::connect;
use common::watchdog::watch;
use lumberjack::internals::budget::{Budget, HOST_BYTES, RANKED_BYTES};
use lumberjack::internals::framer::{Framer, LineSink, Rules};
use lumberjack::{Config, Framing, Host, Limits, Lines, ListenAddr, Origin, Server, Sink, State};
use socket2::SockRef;

/// 20 bytes.
const LINE: &[u8] = b"a short line of ours";
/// The same with its newline, which costs no allocation to make.
const LINE_AND_END: &[u8] = b"a short line of ours\n";

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

    fn flush(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn state(&self) -> State {
        State::default()
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
    let rules = Rules::new(&Limits::default(), Framing::Lines);
    // Whole lines go out as a block; CRLF and empty lines are walked one by one.
    for ending in [&b"\n"[..], b"\r\n", b"\n\n"] {
        let (mut framer, mut out) = (Framer::default(), Counting::default());
        let mut chunk = whole_lines(50, ending);
        framer.feed(&mut chunk, 0, &rules, &mut out);
        let heap = measure(|| {
            for _ in 0..10_000 {
                let fed = framer.feed(&mut chunk, 0, &rules, &mut out);
                framer.keep(fed.tail, &rules);
            }
        });
        assert_eq!(out.lines.get(), 500_050);
        assert_eq!(heap, AllocationInfo::default(), "with the ending {:?}", ending.escape_ascii().to_string());
    }
}

#[cfg(feature = "syslog")]
#[test]
fn p22_a_warm_formatter_allocates_nothing_for_a_syslog_message() {
    use lumberjack::internals::format::Formatter;
    use lumberjack::{Format, Parse, Peer, SyslogOptions};

    watch();
    let params = " a=\"\\\"\" b=\"x\" a=\"y\"".repeat(20);
    let messages: String = (0..24)
        .flat_map(|hour| {
            [
                format!("<30>Nov 16 {hour:02}:01:02 gw-7 app[1]: x\n"),
                format!("<30>1 2026-11-16T{hour:02}:01:02Z gw-7 app 1 ID [s{params}][t] it's \u{1f600}\n"),
                "no header\n".to_owned(),
            ]
        })
        .collect();
    let origin = Origin { peer: &Peer::Unix { serial: 1 }, wall_ms: 1_795_704_286_003, parse: Parse::Syslog };
    let block = Lines { head: b"", body: messages.as_bytes(), count: 72, ended: true };
    let mut formatter = Formatter::new(Format::Json, "", false);
    formatter.read_syslog(SyslogOptions::default(), Box::new(|_| 3600));
    let mut out = Vec::new();
    assert_eq!(formatter.write(&origin, block, &mut out), 72);
    let heap = measure(|| {
        for _ in 0..100 {
            out.clear();
            formatter.write(&origin, block, &mut out);
        }
    });
    assert_eq!(heap, AllocationInfo::default());
}

#[cfg(feature = "syslog")]
#[test]
fn a_line_for_a_file_that_is_there_allocates_nothing_whatever_its_name_is_made_of() {
    use lumberjack::{Format, OutputAddr, OutputOptions, Outputs, Parse, Peer, SyslogOptions};

    watch();
    let folder = std::env::temp_dir().join(format!("lumberjack-allocation-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let pattern = folder.join("{host}/{severity}-{app}");
    let output: OutputAddr = pattern.to_str().unwrap().parse().unwrap();
    let options = OutputOptions { syslog: Some(SyslogOptions::default()), host_files: 3, ..OutputOptions::default() };
    let mut outputs = Outputs::open(&[output], Format::Raw, &options).unwrap();
    // Each line is for another file than the one before. Two would be named as rotated ones are, and one shares that of others.
    let messages =
        "<30>1 - - a - - - x\n<11>1 - - a.1 - - - x\n<30>1 - - b.7.gz - - - x\n<30>1 - - c - - - x\n".repeat(25);
    let origin = Origin { peer: &Peer::Unix { serial: 1 }, wall_ms: 1_795_704_286_003, parse: Parse::Syslog };
    let mut turn = |times: usize| {
        let block = Lines { head: b"", body: messages.as_bytes(), count: 100, ended: true };
        (0..times).for_each(|_| outputs.append(&origin, block));
        outputs.flush(Duration::ZERO).unwrap();
    };
    turn(1);
    let (once, often) = (measure(|| turn(1)), measure(|| turn(20)));
    let files = std::fs::read_dir(folder.join("unix")).unwrap().count();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(files, 3);
    // What is gathered in a turn is a buffer for each file, which doubles.
    assert!(once.count_total <= 4 * 8, "{once:?}");
    assert!(often.count_total <= once.count_total + 4 * 6, "{often:?} for 2,000 lines, {once:?} for 100");
}

#[test]
fn p5_a_line_in_two_chunks_costs_one_buffer_that_is_given_back() {
    let rules = Rules::new(&Limits::default(), Framing::Lines);
    let (mut framer, mut out) = (Framer::default(), Counting::default());
    let (mut begun, mut ended) = (*b"begun and ", *b"ended\n");
    let heap = measure(|| {
        for _ in 0..1_000 {
            let fed = framer.feed(&mut begun, 0, &rules, &mut out);
            framer.keep(fed.tail, &rules);
            let fed = framer.feed(&mut ended, 0, &rules, &mut out);
            framer.keep(fed.tail, &rules);
        }
    });
    assert_eq!(out.lines.get(), 1_000);
    assert_eq!((heap.count_total, heap.count_max, heap.bytes_current), (1_000, 1, 0), "one each, one at a time");
}

/// A server in this thread.
struct Alone {
    server: Server<Counting>,
    sink: Counting,
    addr: SocketAddr,
}

impl Alone {
    fn start(limits: Limits) -> Self {
        watch();
        let sink = Counting::default();
        let config = Config { limits, ..Config::listen("127.0.0.1:0".parse().unwrap()) };
        let server = Server::bind(config, sink.clone()).unwrap();
        let ListenAddr::Tcp(addr) = server.local_addrs()[0] else { panic!("no TCP listener") };
        Self { server, sink, addr }
    }

    fn client(&self) -> TcpStream {
        connect(self.addr)
    }

    /// Turns until so many lines have come in all, and costs no allocation to ask.
    fn turn_until_lines(&mut self, wanted: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.sink.lines.get() < wanted && Instant::now() < deadline {
            self.server.turn(Some(Duration::from_millis(100))).unwrap();
        }
        assert_eq!(self.sink.lines.get(), wanted, "lines that came");
    }

    /// Turns until everybody has left; to ask costs allocations, which are given back.
    fn turn_until_empty(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let handle = self.server.handle();
        self.server.turn(Some(Duration::ZERO)).unwrap();
        while handle.status().active_connections > 0 && Instant::now() < deadline {
            self.server.turn(Some(Duration::from_millis(100))).unwrap();
        }
        self.server.check();
        let status = handle.status();
        assert_eq!((status.active_connections, status.gauges.pending_bytes), (0, 0), "{status:?}");
    }
}

/// A server with one client that is known to it.
struct Warm {
    alone: Alone,
    client: TcpStream,
}

impl Warm {
    fn start() -> Self {
        let alone = Alone::start(Limits::default());
        let client = alone.client();
        let mut warm = Self { alone, client };
        warm.send_and_measure(1);
        warm
    }

    /// What it costs to take `count` lines that lie in the kernel already.
    fn send_and_measure(&mut self, count: usize) -> AllocationInfo {
        let wanted = self.alone.sink.lines.get() + count as u64;
        // Few enough to fit the first receive window whole, so that no read ends within a line.
        self.client.write_all(&whole_lines(count, b"\n")).unwrap();
        let heap = measure(|| self.alone.turn_until_lines(wanted));
        self.alone.server.check();
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
            warm.alone.server.turn(Some(Duration::ZERO)).unwrap();
        }
    });
    assert_eq!(heap, AllocationInfo::default(), "a hundred turns with nothing to do");
}

#[test]
fn p23_a_datagram_allocates_nothing_whoever_sent_it() {
    watch();
    let sink = Counting::default();
    let mut server = Server::bind(Config::listen("udp:127.0.0.1:0".parse().unwrap()), sink.clone()).unwrap();
    let ListenAddr::Udp(addr) = server.local_addrs()[0] else { panic!("no UDP listener") };
    let senders: Vec<UdpSocket> =
        (1..=100).map(|host| UdpSocket::bind(SocketAddr::from(([127, 0, 1, host], 0))).unwrap()).collect();
    for round in 1..=10 {
        for sender in &senders {
            sender.send_to(b"a line", addr).unwrap();
        }
        let heap = measure(|| {
            while sink.lines.get() < round * 100 {
                server.turn(Some(Duration::from_millis(100))).unwrap();
            }
        });
        // Once a second the kernel is asked for its drops, which takes the text of its answer for a moment.
        assert!(heap.count_total < 30 && heap.bytes_current == 0, "round {round}: {heap:?}");
    }
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

#[test]
fn a_warm_server_allocates_nothing_for_an_event() {
    const CLIENTS: u64 = 100;
    let mut alone = Alone::start(Limits { max_per_host: Some(0), ..Limits::default() });
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| alone.client()).collect();
    for round in 1..=10 {
        clients.iter_mut().for_each(|client| client.write_all(&whole_lines(1, b"\n")).unwrap());
        let heap = measure(|| alone.turn_until_lines(round * CLIENTS));
        // The first round takes them in, which sets up what is kept for their host.
        assert!(round == 1 || heap == AllocationInfo::default(), "round {round}: {heap:?}");
    }
    // The ends: half of them with a FIN, half with a reset, each behind a line.
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&whole_lines(1, b"\n")).unwrap();
        if number % 2 == 0 {
            SockRef::from(&*client).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    drop(clients);
    let heap = measure(|| alone.turn_until_lines(11 * CLIENTS));
    assert_eq!(heap, AllocationInfo::default(), "{CLIENTS} ends");
    alone.turn_until_empty();
}

#[test]
fn p5_a_connection_to_a_warm_server_allocates_nothing() {
    let mut alone = Alone::start(Limits::default());
    let one_after_another = |alone: &mut Alone, count: u64| {
        let before = alone.sink.lines.get();
        for number in 1..=count {
            // It has left before the server looks, and is let go in the turn that takes it.
            alone.client().write_all(LINE_AND_END).unwrap();
            alone.turn_until_lines(before + number);
        }
    };
    one_after_another(&mut alone, 10);
    let heap = measure(|| one_after_another(&mut alone, 1_000));
    assert_eq!(heap, AllocationInfo::default(), "a thousand connections, the only ones of their host");
    alone.turn_until_empty();

    let (mut warm, others) = (Warm::start(), 1_000);
    one_after_another(&mut warm.alone, 10);
    let heap = measure(|| one_after_another(&mut warm.alone, others));
    assert_eq!(heap, AllocationInfo::default(), "a thousand connections beside one of the same host");
}

/// Hoarders, over-long lines, overflows, pieces, probes and resets at once, within a budget that is too small for them;
/// all leave.
fn load(alone: &mut Alone) {
    let mut clients: Vec<TcpStream> = (0..200).map(|_| alone.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.set_nonblocking(true).unwrap();
        let bytes = match number % 5 {
            0 => vec![b'h'; 4_000],
            1 => vec![b'l'; 50_000],
            2 => [&whole_lines(100, b"\r\n"), &b"and a piece"[..]].concat(),
            3 => whole_lines(100, b"\n\n"),
            _ => Vec::new(),
        };
        // What the kernel does not take at once is not sent.
        let _ = client.write(&bytes);
        alone.server.turn(Some(Duration::ZERO)).unwrap();
        if number % 3 == 0 {
            SockRef::from(&*client).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
    drop(clients);
    alone.turn_until_empty();
}

fn tight() -> Limits {
    let memory = 192 * 1024;
    Limits { max_line: 4 * 1024, max_buffer: 16 * 1024, memory, max_per_host: Some(0), ..Limits::default() }
}

#[test]
fn p5_after_any_load_the_bytes_in_use_are_what_they_were() {
    let mut alone = Alone::start(tight());
    // What the first crowd leaves is what is kept for the next one.
    let first = measure(|| load(&mut alone));
    assert!(first.bytes_max > 64 * 1024, "they held nothing: the test shows nothing: {first:?}");
    assert!(first.bytes_current < 16 * 1024, "{first:?}");
    for round in 0..3 {
        let heap = measure(|| load(&mut alone));
        assert_eq!((heap.count_current, heap.bytes_current), (0, 0), "round {round}: {heap:?}");
    }
    let counters = alone.server.handle().status().counters;
    assert!(counters.dropped_for_budget > 0 && counters.skipped_lines > 0, "it was no load: {counters:?}");
}

#[test]
fn p5_a_whole_life_gives_everything_back() {
    let life = || {
        let mut alone = Alone::start(tight());
        load(&mut alone);
        // Some are there at the end, with half a line each, and are told goodbye.
        let mut clients: Vec<TcpStream> = (0..20).map(|_| alone.client()).collect();
        clients.iter_mut().for_each(|client| client.write_all(b"half a line").unwrap());
        alone.server.handle().stop();
        alone.server.run().unwrap();
    };
    // What std and the log keep for the thread is made in the first.
    life();
    let heap = measure(life);
    assert_eq!((heap.count_current, heap.bytes_current), (0, 0), "{heap:?}");
}

/// What is set aside for a host decides how many connections `--memory` has room for. With 1,793 the map has just
/// doubled, and the half as large one is not given back yet; the other tables are nearly full. With 1,025 these have
/// just doubled.
#[test]
#[cfg(target_pointer_width = "64")]
fn p5_what_is_set_aside_for_a_host_is_what_it_takes_and_no_more_than_a_quarter_besides() {
    let of = |count: u32| {
        let mut budget = Budget::new(usize::MAX, None, count as usize);
        let heap = measure(|| {
            for id in 0..count {
                budget.connect(id, Host::V4(id.to_be_bytes())).unwrap();
                budget.hold(id, 1);
            }
        });
        (heap, (count as usize * (HOST_BYTES + RANKED_BYTES)) as u64)
    };
    let (heap, set_aside) = of(1_793);
    let taken = heap.bytes_max;
    assert!((taken..taken * 5 / 4).contains(&set_aside), "{set_aside} bytes for hosts that take {taken}");
    let (heap, set_aside) = of(1_025);
    let kept = heap.bytes_current.unsigned_abs();
    assert!(kept <= set_aside, "{set_aside} bytes for hosts that keep {kept}");
}

/// The same for a pending line: its place in the ranking of its host's, which has just doubled.
#[test]
fn p5_what_is_set_aside_for_a_pending_line_is_what_its_place_takes_at_worst() {
    let (count, first_of_hosts) = (1025, 32);
    let mut budget = Budget::new(usize::MAX, None, count as usize);
    (0..count).for_each(|id| budget.connect(id, Host::Unix).unwrap());
    let heap = measure(|| (0..count).for_each(|id| budget.hold(id, 1)));
    let set_aside = count as usize * RANKED_BYTES;
    let taken = usize::try_from(heap.bytes_current).unwrap() - first_of_hosts;
    assert!((taken..=taken + RANKED_BYTES).contains(&set_aside), "{set_aside} bytes for {count} that take {taken}");
}

/// A page of lines of one byte has half as many as it has bytes: their numbers are not all kept, not even while it is read.
#[cfg(feature = "poll")]
#[test]
fn a_page_of_short_lines_takes_no_more_than_three_times_its_bytes() {
    use lumberjack::internals::http::{Client, Request, Rules, Url};
    use lumberjack::internals::poll::{Poller, Settings};
    watch();
    let (second, url) = (Duration::from_secs(1), Url::parse("http://box/log").unwrap());
    let settings = Settings {
        name: "box".to_owned(),
        url: url.clone(),
        interval: second,
        timeout: second,
        most_body: 1 << 20,
        most_seen: 100,
        starts_new: false,
    };
    let rules = Rules { head: second, whole: second, most_body: 1 << 20, asks_for_room: false };
    let answer = |body: &str| {
        let mut client = Client::new(url.clone(), None, rules);
        client.begin(Request::default(), Duration::ZERO);
        client.connected(Duration::ZERO);
        client.sent(client.unsent().concat().len(), Duration::ZERO);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        client.received(head.as_bytes(), Duration::ZERO);
        body.as_bytes().chunks(4096).for_each(|chunk| client.received(chunk, Duration::ZERO));
        client.result().unwrap()
    };
    let (mut poller, _) = Poller::new(settings, [1; 16], 1, None);
    for (body, most) in [("a\n".repeat(500_000), 3), ("b\n\n\n\n".repeat(200_000), 3), ("a\n".repeat(500_000), 3)] {
        let (answer, now) = (answer(&body), Duration::from_secs(100));
        assert!(poller.next_request(now + poller.due_in(now).unwrap()).is_some());
        let heap = measure(|| poller.answered(answer, now));
        assert!(heap.bytes_max < most * body.len() as u64, "{} bytes", heap.bytes_max);
        assert!(!poller.fresh().is_empty());
        poller.took(poller.fresh().len(), now);
        assert!(poller.held() < 8192, "{}", poller.held());
    }
}
