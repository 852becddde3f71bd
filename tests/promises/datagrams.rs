//! P23: datagrams of UDP.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lumberjack::{Config, Limits, Lines, ListenAddr, LongLines, Origin, Server, Sink, State, Turn};

use super::capture::said;
use super::common::patience::connect;
use super::common::skip::not_here;
use super::valve::Flow;
use super::world::{World, send};

/// A receive buffer for all that a test queues. A system may give less.
const LARGE: usize = 4 * 1024 * 1024;

/// How many short datagrams are sure to find room in the largest receive buffer here.
fn most_queued() -> usize {
    let most = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    // The kernel doubles what it is asked for, and takes 768 bytes or so for each.
    LARGE.min(most) * 2 / 1024
}

fn sender() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// Sends these, one after the other.
fn send_all<D: AsRef<[u8]>>(from: &UdpSocket, at: SocketAddr, datagrams: impl IntoIterator<Item = D>) {
    for datagram in datagrams {
        let datagram = datagram.as_ref();
        assert_eq!(from.send_to(datagram, at).unwrap(), datagram.len());
    }
}

#[test]
fn p23_a_datagram_is_a_line_whatever_ends_it_and_newlines_in_it_separate_lines() {
    let datagrams: [&[u8]; 10] = [
        b"bare",
        b"lf\n",
        b"crlf\r\n",
        b"nul\0",
        b"all\r\n\0\n\0",
        b"",
        b"\n\0",
        b"one\ntwo\r\n\nfour\n",
        b"\0nul \xff",
        b"end",
    ];
    let all = ["bare", "lf", "crlf", "nul", "all", "", "", "one", "two", "", "four", "\\x00nul \\xff", "end"];
    for keep_empty in [true, false] {
        let (mut world, at) = World::with_udp(Limits { keep_empty, ..Limits::default() }, 0);
        send_all(&sender(), at, datagrams);
        let expected: Vec<&str> = all.iter().copied().filter(|line| keep_empty || !line.is_empty()).collect();
        world.until_lines(&expected);
        let counters = world.status().counters;
        let bytes: usize = datagrams.iter().map(|datagram| datagram.len()).sum();
        assert_eq!((counters.datagrams, counters.bytes), (10, bytes as u64));
        assert_eq!((counters.lines, counters.unterminated), (expected.len() as u64, 0));
    }
}

#[test]
fn p23_the_longest_datagram_is_whole() {
    let (mut world, at) = World::with_udp(Limits::default(), LARGE);
    let longest = [b'x'; 65_507];
    send_all(&sender(), at, [&longest[..], b"next"]);
    world.until("both", |world| world.valve.lines().len() == 2);
    assert_eq!(world.valve.lines(), [longest.to_vec(), b"next".to_vec()]);
}

#[test]
fn p23_nothing_is_kept_of_who_sent_a_datagram() {
    let (mut world, at) =
        World::with_udp(Limits { max_connections: 1, max_per_host: Some(1), ..Limits::default() }, LARGE);
    for host in 1..=200 {
        let from = UdpSocket::bind(SocketAddr::from(([127, 0, 1, host], 0))).unwrap();
        send_all(&from, at, [b"a line"]);
    }
    world.until("all of them", |world| world.status().counters.datagrams == 200);
    let gauges = world.status().gauges;
    assert_eq!((gauges.active_connections, gauges.hosts, gauges.pending_bytes, gauges.peak_connections), (0, 0, 0, 0));
    // Nor has any of them taken a place.
    send(&mut world.client(), b"of a client\n");
    world.until("its line", |world| world.valve.lines().len() == 201);
}

#[test]
fn p23_lines_of_a_datagram_keep_to_max_line() {
    for (long_lines, lines, gap) in [
        (LongLines::Skip, &["short", "tail"][..], "1 of 9 bytes, too-long, of "),
        (LongLines::Cut, &["short", "12345678", "tail"], "1 of 1 bytes, too-long, of "),
        (LongLines::Split, &["short", "12345678", "9", "tail"], ""),
    ] {
        let limits = Limits { max_line: 8, max_buffer: 16, long_lines, ..Limits::default() };
        let (mut world, at) = World::with_udp(limits, 0);
        let from = sender();
        send_all(&from, at, [b"short\n123456789\ntail"]);
        world.until_lines(lines);
        let story: Vec<String> =
            world.valve.story().into_iter().filter(|text| !lines.contains(&text.as_str())).collect();
        let name = from.local_addr().unwrap();
        assert_eq!(story, if gap.is_empty() { vec![] } else { vec![format!("{gap}{name}")] });
        let warned = said(&["WARN [tcp] Line too long on", &name.to_string()]).len();
        assert_eq!(warned, usize::from(!gap.is_empty()), "{long_lines:?}");
    }
}

#[test]
fn p23_a_full_output_leaves_datagrams_in_the_kernel_and_what_it_drops_is_counted() {
    let limits = Limits { memory: 1024 * 1024, max_line: 1000, max_buffer: 2000, ..Limits::default() };
    let (mut world, at) = World::with_udp(limits, 64 * 1024);
    world.valve.set(Flow::Shut);
    let from = sender();
    let line = [b'x'; 1000];
    // Turn by turn, so that it is the output that is full, and then the kernel.
    let mut sent = 0;
    while world.status().counters.sink_stalls == 0 {
        send_all(&from, at, [line; 10]);
        sent += 10;
        world.turn(Duration::from_millis(5)).unwrap();
    }
    send_all(&from, at, vec![line; 1000]);
    sent += 1000;
    world.until("the kernel has dropped some", |world| world.status().counters.missed_datagrams > 0);
    let counters = world.status().counters;
    let queued = sent - counters.datagrams - counters.missed_datagrams;
    assert!(queued > 10, "{queued} are left in the kernel: {counters:?}");
    let warned = said(&["WARN [udp] The kernel dropped", &format!("udp:0.0.0.0:{}", at.port()), "the valve is full"]);
    assert_eq!(warned.len(), 1);
    world.valve.set(Flow::Open);
    world.until("the rest", |world| world.status().counters.datagrams + counters.missed_datagrams == sent);
    assert_eq!(world.status().counters.missed_datagrams, counters.missed_datagrams);
    world.until("its lines", |world| world.valve.lines().len() as u64 == sent - counters.missed_datagrams);
}

#[test]
fn p23_drops_are_told_once_and_cost_a_warning_a_minute_at_most_five() {
    let (mut world, at) = World::with_udp(Limits::default(), 4096);
    send_all(&sender(), at, [[b'x'; 1000]; 100]);
    world.until("the drops", |world| world.status().counters.missed_datagrams > 0);
    let counters = world.status().counters;
    assert_eq!(counters.datagrams + counters.missed_datagrams, 100);
    let at = format!("dropped {} datagram(s) at udp:0.0.0.0:{}:", counters.missed_datagrams, at.port());
    assert_eq!(said(&["WARN [udp]", &at, "a larger --udp-buffer holds more"]).len(), 1);
    // Nothing comes, and the kernel is not asked again: no turn is due.
    world.turns_for(Duration::from_millis(1500));
    let begun = Instant::now();
    world.turn(Duration::from_millis(1500)).unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(1500), "it woke up after {:?}", begun.elapsed());
    assert_eq!(world.status().counters.missed_datagrams, counters.missed_datagrams);
}

#[test]
fn p23_what_has_no_room_in_a_tiny_budget_is_cut_and_told() {
    let limits = Limits { max_line: 16, max_buffer: 32, memory: 40 * 1024, ..Limits::default() };
    let (mut world, at) = World::with_udp(limits, LARGE);
    let from = sender();
    // Lines of one byte, each of which becomes two.
    send_all(&from, at, [b"x\n".repeat(10_000)]);
    world.until("it is read", |world| world.status().counters.datagrams == 1);
    let (counters, name) = (world.status().counters, from.local_addr().unwrap());
    world.until("its lines", |world| world.valve.lines().len() as u64 == counters.lines);
    let (kept, lost) = (counters.lines, 10_000 - counters.lines);
    assert!((2048..9_000).contains(&kept), "{kept} lines");
    let gaps: Vec<String> = world.valve.story().into_iter().filter(|text| text != "x").collect();
    assert_eq!(gaps, [format!("{lost} of {lost} bytes, memory, of {name}")]);
    assert_eq!((counters.dropped_bytes, counters.dropped_for_budget), (lost, lost));
    assert_eq!(said(&["WARN [udp] A datagram of", &name.to_string(), "19999 bytes", "--memory sets it"]).len(), 1);
    // One that may have as many lines, but has not, is whole.
    send_all(&from, at, [b"yyyyyyyyyyyyyyy\n".repeat(900)]);
    world.until("it is there", |world| world.valve.lines().len() as u64 == kept + 900);
    assert_eq!(world.status().counters.dropped_bytes, lost);
}

#[test]
fn p23_a_flood_of_datagrams_leaves_clients_their_turn() {
    if most_queued() < 4000 {
        return not_here("net.core.rmem_max is too small for a flood");
    }
    let (mut world, at) = World::with_udp(Limits::default(), LARGE);
    let mut client = world.taken_client();
    let from = sender();
    send_all(&from, at, [b"a datagram"; 4000]);
    send(&mut client, b"of a client\n");
    world.turn(Duration::from_millis(100)).unwrap();
    let counters = world.status().counters;
    assert!(counters.datagrams < 4000, "a turn reads a round");
    assert_eq!(counters.datagrams, counters.lines - 1, "and what clients sent");
    world.until("all of them", |world| world.status().counters.datagrams == 4000);
}

/// A sink that sends a datagram to its own server when a line comes, so many times.
#[derive(Clone)]
struct Echo(Arc<Mutex<Echoes>>);

#[derive(Default)]
struct Echoes {
    at: Option<SocketAddr>,
    left: usize,
    lines: Vec<Vec<u8>>,
}

impl Echo {
    /// From now on, so many times.
    fn begin(&self, at: SocketAddr, left: usize) {
        let echoes = &mut *self.0.lock().unwrap();
        (echoes.at, echoes.left) = (Some(at), left);
    }
}

impl Sink for Echo {
    fn append(&mut self, _: &Origin<'_>, lines: Lines<'_>) {
        let Echoes { at, left, lines: taken } = &mut *self.0.lock().unwrap();
        if let Some(at) = at.filter(|_| *left > 0) {
            *left -= 1;
            send_all(&sender(), at, [b"a datagram"]);
        }
        lines.each(|head, body| taken.push([head, body].concat()));
    }

    fn flush(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn state(&self) -> State {
        State::default()
    }
}

#[test]
fn p23_a_crowd_of_clients_does_not_keep_a_datagram_waiting_for_its_whole_turn() {
    let echo = Echo(Arc::default());
    let mut config = Config::listen("127.0.0.1:0".parse().unwrap());
    config.listen.push("udp:127.0.0.1:0".parse().unwrap());
    let mut server = Server::bind(config, echo.clone()).unwrap();
    let [ListenAddr::Tcp(tcp), ListenAddr::Udp(udp)] = server.local_addrs()[..] else { panic!("two listeners") };
    let mut clients: Vec<_> = (0..100).map(|_| connect(tcp)).collect();
    while server.handle().status().active_connections < 100 {
        server.turn(Some(Duration::from_millis(5))).unwrap();
    }
    echo.begin(udp, 1);
    clients.iter_mut().for_each(|client| std::io::Write::write_all(client, b"of a client\n").unwrap());
    while echo.0.lock().unwrap().lines.len() < 101 {
        server.turn(Some(Duration::from_millis(5))).unwrap();
    }
    let place = echo.0.lock().unwrap().lines.iter().position(|line| line == b"a datagram").unwrap();
    assert!(place <= 17, "it is number {place}, behind so many clients");
}

#[test]
fn p11_what_is_queued_at_the_stop_is_read_and_a_flood_does_not_put_it_off() {
    let count = most_queued().min(3000);
    for drain_timeout in [Duration::ZERO, Duration::from_secs(5)] {
        let (mut world, at) = World::with_udp(Limits { drain_timeout, ..Limits::default() }, LARGE);
        let from = sender();
        send_all(&from, at, vec![b"a datagram"; count]);
        world.stop().unwrap();
        assert_eq!((world.valve.lines().len(), world.status().counters.missed_datagrams), (count, 0));
    }
    // For each that is read another comes: the end takes what the receive buffer can hold, and no more.
    let echo = Echo(Arc::default());
    let config = Config { udp_buffer: 64 * 1024, ..Config::listen("udp:127.0.0.1:0".parse().unwrap()) };
    let mut server = Server::bind(config, echo.clone()).unwrap();
    let ListenAddr::Udp(at) = server.local_addrs()[0] else { panic!("no UDP listener") };
    echo.begin(at, 100_000);
    send_all(&sender(), at, [b"the first"]);
    server.handle().stop();
    while server.turn(Some(Duration::from_millis(50))).unwrap() == Turn::Running {}
    let taken = echo.0.lock().unwrap().lines.len();
    assert!((1..=1025).contains(&taken), "{taken} were taken");
    // There is no connection to close.
    assert_eq!(said(&["INFO [udp] Stopping server"]), ["INFO [udp] Stopping server"]);
}

#[test]
fn p11_the_output_that_is_full_at_the_stop_gets_what_was_queued() {
    let limits = Limits { memory: 100 * 1024, max_line: 1000, max_buffer: 2000, ..Limits::default() };
    let (mut world, at) = World::with_udp(limits, LARGE);
    world.valve.set(Flow::Shut);
    send_all(&sender(), at, [[b'x'; 1000]; 100]);
    world.until("it is full", |world| world.status().counters.sink_stalls > 0);
    world.handle.stop();
    world.turns_for(Duration::from_millis(300));
    assert!(world.status().counters.datagrams < 100, "the rest is in the kernel");
    world.valve.set(Flow::Slow(20_000));
    world.stop().unwrap();
    assert_eq!(world.valve.lines().len(), 100);
}

/// A sender of another loopback address: another host.
fn sender_of(ip: [u8; 4]) -> UdpSocket {
    UdpSocket::bind(SocketAddr::from((ip, 0))).unwrap()
}

#[test]
fn p24_a_datagram_of_who_is_not_allowed_is_dropped_and_counted() {
    let options = ",allow=127.0.24.0/24,deny=127.0.24.0/26";
    let (mut world, at) = World::listening_udp(options, Limits::default(), LARGE);
    let (stranger, friend) = (sender_of([127, 0, 24, 2]), sender_of([127, 0, 24, 65]));
    send_all(&stranger, at, [b"forged"; 100]);
    // Who is not named at all.
    send_all(&sender(), at, [b"forged"]);
    send_all(&friend, at, [b"welcome"]);
    world.until_lines(&["welcome"]);
    let counters = world.status().counters;
    assert_eq!((counters.datagrams, counters.not_allowed, counters.lines), (102, 101, 1));
    assert_eq!((counters.bytes, counters.dropped_bytes), (7, 0), "what is not allowed is no loss");
    let name = stranger.local_addr().unwrap().to_string();
    let told = said(&["WARN [udp]", &name, "is not allowed to send", "--allow"]).len();
    assert_eq!(told, 5, "told of, but a flood can't fill the log (P12)");
    // The other listener has its own list.
    let mut client = world.client_of([127, 0, 24, 2]);
    send(&mut client, b"of a client\n");
    world.until_lines(&["welcome", "of a client"]);
}

#[test]
fn p26_beyond_the_rate_datagrams_are_dropped_counted_and_marked_and_others_are_not() {
    let (mut world, at) = World::listening_udp(",rate=2,burst=5", Limits::default(), LARGE);
    let (loud, calm) = (sender_of([127, 0, 26, 1]), sender_of([127, 0, 26, 2]));
    send_all(&loud, at, (0..5).map(|number| format!("loud {number}")));
    send_all(&loud, at, [b"lost\nlost too\n"; 10]);
    send_all(&calm, at, [b"calm"]);
    world.until("the other's line", |world| world.texts().contains(&"calm".to_owned()));
    let counters = world.status().counters;
    assert_eq!((counters.datagrams, counters.over_rate_datagrams, counters.slowed), (16, 10, 1));
    assert_eq!((counters.lines, counters.dropped_bytes), (6, 10 * 12), "newlines do not count");
    assert_eq!(said(&["WARN [udp] Host 127.0.26.1 sends more than 2 lines/s", "is dropped; --rate sets it"]).len(), 1);
    // Its next line has the mark of them before it.
    world.turns_for(Duration::from_millis(700));
    send_all(&loud, at, [b"next"]);
    world.until("the next", |world| world.texts().contains(&"next".to_owned()));
    let gap = format!("20 of 120 bytes, rate, of {}", loud.local_addr().unwrap());
    assert_eq!(world.valve.story()[5..], ["calm".to_owned(), gap, "next".to_owned()]);
    // Without a next one the mark comes when it keeps to its rate again, and that is said.
    send_all(&loud, at, [b"a"; 3]);
    world.until("it is dropped", |world| world.status().counters.over_rate_datagrams >= 12);
    let lost = world.status().counters.over_rate_datagrams;
    // One more host loses but one.
    send_all(&sender_of([127, 0, 26, 3]), at, [b"b"; 6]);
    world.until("it is dropped", |world| world.status().counters.over_rate_datagrams == lost + 1);
    for (host, dropped) in [(1, format!("{lost} of its datagrams were")), (3, "1 of its datagrams was".to_owned())] {
        let end = format!("WARN [udp] Host 127.0.26.{host} keeps to 2 lines/s again; {dropped} dropped");
        world.until("the end is said", |_| said(&[&end]).len() == 1);
        let mark = format!("rate, of 127.0.26.{host}:");
        world.until("its mark", |world| world.valve.story().iter().skip(8).any(|line| line.contains(&mark)));
    }
    assert_eq!(world.status().counters.slowed, 2, "said once while it lasts");
}

#[test]
fn p26_hosts_without_number_are_forgotten_with_their_marks_and_the_end_marks_what_is_left() {
    let limits = Limits { max_connections: 50, ..Limits::default() };
    let (mut world, at) = World::listening_udp(",rate=1,burst=1", limits, LARGE);
    for host in 0..300_u16 {
        let [high, low] = host.to_be_bytes();
        send_all(&sender_of([127, 26, high, low]), at, [b"taken", b"taken", b"last."]);
        if host % 50 == 49 {
            let expected = 3 * (u64::from(host) + 1);
            world.until("these", |world| world.status().counters.datagrams == expected);
        }
    }
    let marks = |world: &World| world.valve.story().iter().filter(|one| one.contains(" rate, of ")).count();
    let before = marks(&world);
    assert!((100..300).contains(&before), "{before} marks: of those who are forgotten, and not yet of the others");
    world.stop().unwrap();
    let counters = world.status().counters;
    let lost: u64 = world.valve.story().iter().filter_map(|one| one.split_once(" of ")?.0.parse::<u64>().ok()).sum();
    assert_eq!((lost, counters.lines + lost), (counters.over_rate_datagrams, 900), "each is a line or in a mark");
}

#[test]
fn p26_a_rate_of_bytes_is_owed_by_long_datagrams() {
    let (mut world, at) = World::listening_udp(",rate=1KiB", Limits::default(), LARGE);
    let from = sender_of([127, 0, 26, 3]);
    send_all(&from, at, [[b'x'; 4096]; 2]);
    world.until("both", |world| world.status().counters.datagrams == 2);
    assert_eq!((world.valve.lines().len(), world.status().counters.over_rate_datagrams), (1, 1));
    world.turns_for(Duration::from_millis(1500));
    send_all(&from, at, [b"too early"]);
    world.until("it is read", |world| world.status().counters.over_rate_datagrams == 2);
    world.turns_for(Duration::from_millis(2000));
    send_all(&from, at, [b"paid"]);
    world.until("it is there", |world| world.texts().contains(&"paid".to_owned()));
}
