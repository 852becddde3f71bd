//! Simulated worlds: a whole server over a kernel of our own, its clients, its sink and their bad days, all from one
//! source of choices; and the checks that hold in every world. Feeders: seeds (`tests/simulation.rs`) and a fuzzer.

mod client;
mod dice;
mod doors;
mod kernel;
mod sink;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use lumberjack::internals::Pacing;
use lumberjack::internals::limits::{LEAST_READ_BYTES, MemoryPlan, Overhead};
use lumberjack::{
    Config, EmbeddedNewline, Framing, Handle, IdleClose, Limits, Listen, LongLines, Peer, RunError, Server, Turn,
    WhenFull, Why,
};

use crate::model::framer::{Counts, Mark, Op, Sums, expected, with_length};
use client::Client;
#[allow(unused_imports)] // a fuzzer makes its own worlds
pub(crate) use client::Step;
pub(crate) use dice::Dice;
use doors::{draw_change, draw_doors};
#[allow(unused_imports)]
pub(crate) use kernel::Event;
use kernel::{Kernel, Luck, SimNet, Terms};
use sink::{Drain, Record, SimSink};

/// More turns than any world needs.
const MOST_TURNS: u64 = 1_000_000;
/// Hosts that clients come from, with the one of all Unix sockets.
const HOSTS: usize = 4;
/// The most that a client writes in one step, in bytes.
const MOST_AT_ONCE: usize = 60_000;
/// Turns in a row that may find nothing to do: more is a spin.
const MOST_IDLE_TURNS: u32 = 8;

/// What a world was like.
#[allow(dead_code)] // a fuzzer does not ask
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) simulated: Duration,
    pub(crate) lines: u64,
    pub(crate) turns: u64,
    pub(crate) evicted: u64,
    pub(crate) gave_way: u64,
    pub(crate) obeyed: u64,
    pub(crate) stalls: u64,
    pub(crate) pauses: u64,
    pub(crate) budget_drops: u64,
    pub(crate) gaps: u64,
    pub(crate) refused: u64,
    pub(crate) errors: u64,
    pub(crate) receipts: u64,
    pub(crate) datagrams: u64,
    pub(crate) missed: u64,
    pub(crate) changes: u64,
    pub(crate) denied: u64,
    pub(crate) introduced: u64,
    pub(crate) no_headers: u64,
    pub(crate) slowed: u64,
    pub(crate) over_rate: u64,
}

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct World {
    server: Server<SimSink, SimNet>,
    handle: Handle,
    kernel: Rc<RefCell<Kernel>>,
    record: Rc<RefCell<Record>>,
    limits: Limits,
    /// What lines are made of has changed: which lines there have to be is not known.
    has_other_rules: bool,
    /// A line may have come in pieces.
    had_line_timeout: bool,
    changes: u64,
    checks_every: u64,
    /// The longest poll that the server is given, as in somebody else's loop.
    longest_poll: Option<Duration>,
}

/// Lives through one world: what it is like comes from one source, what chance does in it from the other.
pub(crate) fn run(mut dice: Dice, luck: Dice) -> Report {
    let limits = draw_limits(&mut dice);
    let terms = Terms {
        listeners: dice.pick(&[1, 1, 2]),
        framings: [draw_framing(&mut dice), draw_framing(&mut dice)],
        sync: dice.pick(&[None, None, Some(ms(100)), Some(ms(1500))]),
        ..terms(&limits)
    };
    let is_watched = dice.chance(70);
    let mut kernel = Kernel::new(luck, terms);
    let has_stop = populate(&mut dice, &mut kernel, &limits);
    // A check walks over everything: after every turn in some worlds, now and then in the others.
    let checks_every = if kernel.clients.len() > 50 { 64 } else { dice.pick(&[1, 16, 16, 16]) };
    // Without a stop of its own a world goes on until nothing more will ever happen, which only a poll without end
    // finds.
    let longest_poll = dice.pick(&[None, None, Some(ms(500)), Some(ms(7000))]).filter(|_| has_stop);
    draw_doors(&mut dice, &mut kernel);
    draw_changes(&mut dice, &mut kernel, &limits);
    World { checks_every, longest_poll, ..World::new(limits, kernel, is_watched) }.live()
}

/// Limits that change while the server runs (P27).
fn draw_changes(dice: &mut Dice, kernel: &mut Kernel, limits: &Limits) {
    if !dice.chance(30) {
        return;
    }
    let mut time = kernel.start;
    for _ in 0..=dice.below(3) {
        let drawn = draw_limits(dice);
        let mut newer = Limits {
            max_line: limits.max_line,
            max_buffer: limits.max_buffer,
            memory: limits.memory,
            idle_close: limits.idle_close,
            receipt: limits.receipt,
            ..drawn
        };
        // In half of the worlds every line is compared, by rules that stay.
        if dice.chance(50) {
            newer.long_lines = limits.long_lines;
            newer.keep_empty = limits.keep_empty;
            newer.embedded_newline = limits.embedded_newline;
            newer.line_timeout = limits.line_timeout;
        }
        let rules = draw_change(dice, kernel);
        kernel.changes.push_back((newer, rules));
        time += draw_delay(dice);
        kernel.at(time, Event::Change);
    }
}

/// Lives through a world in which nothing is left to chance: these clients, each of which does its steps with these
/// delays before them, and what happens besides at which time. Each client is a host of its own.
#[allow(dead_code)] // a fuzzer makes its own worlds
pub(crate) fn run_script(limits: Limits, clients: &[&[(u64, Step)]], events: &[(u64, Event)]) -> Report {
    let mut kernel = Kernel::new(Dice::from_script(&[]), terms(&limits));
    kernel.is_calm = false;
    for (number, steps) in clients.iter().enumerate() {
        let ip = [10, 0, 0, u8::try_from(number).unwrap()];
        let script: VecDeque<_> = steps.iter().map(|(delay, step)| (ms(*delay), step.clone())).collect();
        let first = script.front().map_or(Duration::ZERO, |(delay, _)| *delay);
        let (peer, room) = (Peer::V4 { ip, port: 1 }, 1 << 20);
        kernel.clients.push(Client {
            peer,
            listener: 0,
            script,
            looks: false,
            obeys: None,
            head: None,
            room,
            socket: None,
            delivered: Vec::new(),
        });
        kernel.at(first, Event::Client(number));
    }
    for (time, event) in events {
        kernel.at(ms(*time), *event);
    }
    World::new(limits, kernel, true).live()
}

/// What a world with these limits promises its clients.
fn terms(limits: &Limits) -> Terms {
    let plan = MemoryPlan::new(limits, Overhead::RAW).unwrap();
    let is_when_needed = limits.idle_close == IdleClose::Needed;
    Terms {
        max_line: limits.max_line,
        sink_share: plan.sink_share,
        pending_share: plan.pending_share,
        idle_timeout: limits.idle_timeout,
        is_when_needed,
        // Who gives way has a second at most.
        linger: if is_when_needed { limits.linger.min(ms(1000)) } else { limits.linger },
        drain_timeout: limits.drain_timeout,
        gather: limits.gather,
        max_connections: limits.max_connections,
        listeners: 1,
        has_udp: false,
        framings: [Framing::Lines; 2],
        per_host: limits.per_host(),
        rejects: limits.when_full == WhenFull::Reject,
        receipt: limits.receipt,
        sync: None,
    }
}

fn draw_framing(dice: &mut Dice) -> Framing {
    let lines = [Framing::Lines; 4];
    let others = [Framing::Octet, Framing::AutoOctet, Framing::Nul, Framing::Cr];
    dice.pick(&[lines, others].concat())
}

/// The same bytes as a client of this framing sends them: where lines end, its messages do.
fn framed(dice: &mut Dice, framing: Framing, limits: &Limits, bytes: Vec<u8>) -> Vec<u8> {
    let swapped = |mark: u8| {
        let swap = |byte: &u8| match *byte {
            b'\n' => mark,
            byte if byte == mark => b'\n',
            byte => byte,
        };
        bytes.iter().map(swap).collect()
    };
    match framing {
        Framing::Nul => swapped(0),
        Framing::Cr => swapped(b'\r'),
        Framing::Octet => {
            let mut sent = Vec::new();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let most = limits.max_buffer.min(rest.len()).min(1 + dice.size(2 * limits.max_line));
                let (message, behind) = rest.split_at(most);
                sent.extend_from_slice(&with_length(message));
                rest = behind;
            }
            sent
        }
        _ => bytes,
    }
}

fn draw_limits(dice: &mut Dice) -> Limits {
    let max_line = dice.pick(&[8, 1, 2, 60, 300, 5000, 20_000]);
    let least_memory = 2 * (max_line + 2 + 2 * 4096);
    Limits {
        max_line,
        long_lines: dice.pick(&[LongLines::Skip, LongLines::Cut, LongLines::Split]),
        keep_empty: dice.chance(20),
        embedded_newline: dice.pick(&[EmbeddedNewline::Escape, EmbeddedNewline::Space]),
        max_buffer: 2 * max_line + dice.size(1000),
        memory: least_memory.next_multiple_of(1024) + dice.pick(&[1 << 20, 0, 1000, 30_000]),
        max_connections: dice.pick(&[1000, 1, 2, 5, 20]),
        when_full: if dice.chance(20) { WhenFull::Reject } else { WhenFull::Wait },
        max_per_host: dice.pick(&[Some(0), None, Some(1), Some(3)]),
        idle_timeout: dice.pick(&[Duration::ZERO, ms(50), ms(500), ms(5000), ms(300_000)]),
        idle_close: dice.pick(&[IdleClose::Always, IdleClose::Needed]),
        line_timeout: dice.pick(&[Duration::ZERO, Duration::ZERO, Duration::ZERO, ms(100)]),
        linger: dice.pick(&[ms(3_600_000), ms(3_600_000), ms(100), Duration::ZERO]),
        keepalive: Duration::ZERO,
        drain_timeout: dice.pick(&[ms(5000), ms(600), Duration::ZERO]),
        gather: dice.pick(&[ms(1), Duration::ZERO, ms(20)]),
        receipt: dice.chance(50),
    }
}

/// Clients, the sink's behaviour, bad luck, and the end. Whether an end is set.
fn populate(dice: &mut Dice, kernel: &mut Kernel, limits: &Limits) -> bool {
    // A server that has run for years: more ticks than 32 bits count.
    kernel.now = dice.pick(&[Duration::ZERO, Duration::ZERO, ms(600 * 86_400_000)]);
    kernel.start = kernel.now;
    let start = kernel.start;
    let count = dice.pick(&[3, 1, 8, 8, 30, 30, 30, 200]);
    for number in 0..count {
        let client = draw_client(dice, limits, number, &kernel.terms);
        let first = client.script.front().map_or(start, |(delay, _)| start + *delay);
        kernel.clients.push(client);
        kernel.at(first, Event::Client(number));
    }
    let has_bad_sink = dice.chance(40);
    if has_bad_sink {
        kernel.is_calm = false;
        draw_sink(dice, kernel);
    }
    if dice.chance(20) {
        kernel.is_calm = false;
        let (time, jump) = (start + draw_delay(dice), dice.pick(&[ms(1500), ms(10_000), ms(86_400_000)]));
        kernel.at(time, Event::Jump(jump));
    }
    if dice.chance(40) {
        kernel.luck = draw_luck(dice);
        kernel.is_calm &= kernel.luck.interrupted == 0;
    }
    if dice.chance(10) {
        let (time, is_famine) = (dice.pick(&[ms(10), ms(3000)]), dice.chance(50));
        kernel.at(start + draw_delay(dice), Event::Outage(time, is_famine));
    }
    let has_few_descriptors = dice.chance(15);
    if has_few_descriptors {
        kernel.descriptor_limit = kernel.terms.listeners + 1 + dice.size(6);
    }
    let has_stop = dice.chance(50);
    if has_stop {
        kernel.at(start + draw_delay(dice) + draw_delay(dice), Event::Stop);
    } else if has_few_descriptors {
        // An accept without a descriptor is tried again for ever.
        kernel.at(start + ms(10_000_000), Event::Stop);
    }
    if dice.chance(40) {
        draw_datagrams(dice, kernel, limits.max_line);
    }
    has_stop
}

/// A UDP socket, and what is sent to it.
fn draw_datagrams(dice: &mut Dice, kernel: &mut Kernel, max_line: usize) {
    kernel.terms.has_udp = true;
    kernel.descriptor_limit = kernel.descriptor_limit.saturating_add(1);
    kernel.udp.room = dice.pick(&[1, 4, 64, 1000]);
    for _ in 0..dice.pick(&[3, 20, 20, 200, 2000]) {
        let peer = Peer::V4 { ip: [127, 0, 0, 1 + u8::try_from(dice.below(3)).unwrap()], port: 50_000 };
        let delay = if dice.chance(80) { Duration::ZERO } else { draw_delay(dice) };
        let mut bytes = draw_bytes(dice, max_line, true);
        // One that is longer may be cut where memory is short.
        bytes.truncate(LEAST_READ_BYTES);
        if dice.chance(10) {
            bytes.clear();
        }
        kernel.udp.script.push_back((delay, peer, bytes));
    }
    let first = kernel.start + draw_delay(dice);
    kernel.at(first, Event::Datagram);
}

fn draw_luck(dice: &mut Dice) -> Luck {
    let rate = |dice: &mut Dice| dice.pick(&[0, 0, 1, 10, 40]);
    Luck {
        interrupted: rate(dice),
        aborted: rate(dice),
        no_memory: dice.pick(&[0, 0, 10]),
        spurious: rate(dice),
        meanwhile: rate(dice),
    }
}

fn draw_delay(dice: &mut Dice) -> Duration {
    let most_ms = dice.pick(&[0, 0, 1, 20, 300, 6000, 400_000]);
    ms(dice.below(most_ms + 1))
}

fn draw_sink(dice: &mut Dice, kernel: &mut Kernel) {
    let mut time = kernel.now + draw_delay(dice);
    for _ in 0..=dice.below(4) {
        // A reader that takes little at a time takes its time too, or a world has turns without end.
        let (reads, every_ms) = dice.pick(&[(4096, 1), (65_536, 20), (4096, 100), (1, 700), (100, 200)]);
        let pipe = Drain::Pipe { room: dice.size(65_536), every: ms(every_ms), reads };
        let drain = dice.pick(&[Drain::Shut, Drain::Open, pipe, pipe, Drain::Failing, Drain::Dead]);
        kernel.at(time, Event::Sink(drain));
        // A sink without a descriptor is asked every 10 ms: not for hours.
        time += draw_delay(dice).min(ms(5000));
        if dice.chance(20) {
            kernel.at(time, Event::Reopen);
        }
    }
    let last = match dice.below(10) {
        0 => Drain::Gone,
        1 => Drain::Shut,
        2 => Drain::Failing,
        _ => Drain::Open,
    };
    kernel.at(time, Event::Sink(last));
    if last != Drain::Open {
        // It would be tried again for ever.
        kernel.at(time + ms(7000), Event::Stop);
    }
}

fn draw_client(dice: &mut Dice, limits: &Limits, number: usize, terms: &Terms) -> Client {
    let listener = dice.size(terms.listeners);
    // Who sends lengths from the start on, where lines may come, too.
    let framing = match terms.framings[listener] {
        Framing::AutoOctet if dice.chance(50) => Framing::Octet,
        framing => framing,
    };
    let is_first_a_priority = terms.framings[listener] == Framing::AutoOctet && framing == Framing::Octet;
    let host = u8::try_from(dice.below(4)).unwrap();
    let port = u16::try_from(number + 1).unwrap();
    let peer = match host {
        0 => Peer::Unix { serial: u32::from(port) },
        host => Peer::V4 { ip: [127, 0, 0, host], port },
    };
    let mut script = VecDeque::from([(draw_delay(dice), Step::Connect)]);
    let writes = dice.pick(&[3, 0, 1, 10, 40]);
    // A hoarder ends no line, a flood leaves no pause, a drip sends a byte at a time.
    let kind = dice.below(6);
    for _ in 0..writes {
        let delay = if kind == 1 { Duration::ZERO } else { draw_delay(dice) };
        let has_endings = kind != 0 || dice.chance(5);
        let mut bytes = draw_bytes(dice, limits.max_line, has_endings);
        if kind == 2 {
            bytes.truncate(1);
        }
        if kind == 1 {
            bytes = bytes.repeat(1 + dice.size(20));
            // More would take its time, and fill the sink no fuller.
            bytes.truncate(MOST_AT_ONCE);
        }
        if is_first_a_priority && script.len() == 1 {
            bytes.insert(0, b'<');
        }
        script.push_back((delay, Step::Write(framed(dice, framing, limits, bytes), 0)));
    }
    match dice.below(4) {
        0 => {}
        1 => script.push_back((draw_delay(dice), Step::Reset)),
        half => {
            script.push_back((draw_delay(dice), Step::HalfClose));
            // It waits for its receipt, but not for ever.
            if half == 3 && limits.receipt {
                script.push_back((draw_delay(dice), Step::Reset));
            }
        }
    }
    let bytes: usize =
        script.iter().map(|(_, step)| if let Step::Write(bytes, _) = step { bytes.len() } else { 0 }).sum();
    // A small receive queue makes many turns, which are not to be without end.
    let room = dice.pick(&[65_536, 1 << 20, 1, 100, 5000]).max(bytes / 1000);
    let obeys = dice.pick(&[None, None, Some(ms(0)), Some(ms(700)), Some(ms(1500))]);
    let looks = dice.chance(25);
    Client { peer, listener, script, looks, obeys, head: None, room, socket: None, delivered: Vec::new() }
}

/// Pieces of lines of every kind.
fn draw_bytes(dice: &mut Dice, max_line: usize, has_endings: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.below(8) {
        match dice.below(8) {
            0 => bytes.extend_from_slice(b"\r"),
            1 => bytes.extend_from_slice(b"\0\xff"),
            2 => bytes.extend(std::iter::repeat_n(b'x', (max_line + dice.size(4)).saturating_sub(2))),
            3 if has_endings => bytes.extend_from_slice(b"\r\n"),
            4..=6 if has_endings => bytes.extend_from_slice(b"\n"),
            _ => bytes.extend((0..dice.below(12)).map(|at| b"abcdefghijkl"[usize::try_from(at).unwrap()])),
        }
    }
    bytes
}

/// The listeners of a world, with what holds now.
fn places(kernel: &Kernel) -> Vec<Listen> {
    let terms = &kernel.terms;
    let options =
        |number: usize| kernel.doors.get(number).map_or(String::new(), |door| door.rules.text(door.is_proxied));
    let tcp = |number: usize| format!("127.0.0.1:{},framing={}", number + 1, terms.framings[number]) + &options(number);
    let udp = terms.has_udp.then(|| "udp:127.0.0.1:3".to_owned() + &options(terms.listeners));
    (0..terms.listeners).map(tcp).chain(udp).map(|place| place.parse().unwrap()).collect()
}

impl World {
    /// A server over this kernel, checked after every turn.
    fn new(limits: Limits, kernel: Kernel, is_watched: bool) -> Self {
        let terms = kernel.terms;
        let kernel = Rc::new(RefCell::new(kernel));
        let record = Rc::new(RefCell::new(Record::default()));
        let (sync, stdin) = (terms.sync.map(|every| (every, Duration::ZERO)), std::io::stdin());
        let sink = SimSink {
            kernel: Rc::clone(&kernel),
            record: Rc::clone(&record),
            is_watched,
            is_told: false,
            pacing: Pacing::default(),
            ask_at: None,
            is_gone: false,
            sync,
            stdin,
        };
        let net = SimNet(Rc::clone(&kernel), Rc::clone(&record));
        let mut config = Config { limits: limits.clone(), ..Config::listen("127.0.0.1:1".parse().unwrap()) };
        config.listen = places(&kernel.borrow());
        let server = Server::bind_with(config, sink, net).unwrap();
        let handle = server.handle();
        Self {
            server,
            handle,
            kernel,
            record,
            had_line_timeout: !limits.line_timeout.is_zero(),
            has_other_rules: false,
            changes: 0,
            limits,
            checks_every: 1,
            longest_poll: None,
        }
    }

    fn live(mut self) -> Report {
        let (mut turns, mut idle_turns) = (0, 0);
        let ended = loop {
            turns += 1;
            assert!(turns < MOST_TURNS, "no end: {:?}", self.handle.status());
            self.change_limits();
            self.pass_on_the_stop();
            let before = self.kernel.borrow().work;
            let unterminated = self.unterminated();
            match self.server.turn(self.longest_poll) {
                Ok(Turn::Running) => {}
                Ok(Turn::Stopped) => break Ok(()),
                Err(error) => break Err(error),
            }
            idle_turns = if self.kernel.borrow().work == before { idle_turns + 1 } else { 0 };
            assert!(idle_turns < MOST_IDLE_TURNS, "the loop spins: {:?}", self.handle.status());
            if turns % self.checks_every == 0 {
                self.server.check();
                self.kernel.borrow().check_hosts();
            }
            self.kernel.borrow().check_unterminated(self.unterminated() - unterminated, self.limits.line_timeout);
            self.look_for_stillness();
        };
        self.server.check();
        self.kernel.borrow_mut().is_over = true;
        self.check_the_end(&ended);
        let report = self.report(turns, ended.is_err());
        let Self { server, kernel, .. } = self;
        drop(server);
        assert_eq!(kernel.borrow().descriptors, 0, "descriptors are left behind");
        report
    }

    fn unterminated(&self) -> u64 {
        self.handle.status().counters.unterminated
    }

    /// Somebody has other limits for the server.
    fn change_limits(&mut self) {
        let mut kernel = self.kernel.borrow_mut();
        for _ in 0..std::mem::take(&mut kernel.changes_asked) {
            let (newer, rules) = kernel.changes.pop_front().unwrap();
            let terms = kernel.terms;
            kernel.change(Terms {
                listeners: terms.listeners,
                has_udp: terms.has_udp,
                framings: terms.framings,
                sync: terms.sync,
                ..self::terms(&newer)
            });
            drop(kernel);
            self.server.set_limits(&newer).unwrap();
            if let Some(rules) = rules {
                let mut kernel = self.kernel.borrow_mut();
                kernel.change_rules(&rules);
                let listen = places(&kernel);
                drop(kernel);
                self.server.set_listen_options(&listen);
            }
            self.server.check();
            assert_eq!(self.handle.diagnostics().limits, newer, "what is shown is in force");
            kernel = self.kernel.borrow_mut();
            self.has_other_rules |= newer.long_lines != self.limits.long_lines
                || newer.keep_empty != self.limits.keep_empty
                || newer.embedded_newline != self.limits.embedded_newline;
            self.had_line_timeout |= !newer.line_timeout.is_zero();
            self.changes += 1;
            self.limits = newer;
        }
    }

    fn pass_on_the_stop(&mut self) {
        let kernel = &mut *self.kernel.borrow_mut();
        if std::mem::take(&mut kernel.is_reopen_asked) {
            kernel.is_woken = true;
            self.handle.reopen();
        }
        if std::mem::take(&mut kernel.is_stop_asked) && kernel.stop_at.is_none() {
            kernel.stop_at = Some(kernel.now);
            kernel.note_stop_of_datagrams();
            kernel.is_woken = true;
            self.handle.stop();
        }
    }

    /// Nothing will ever happen again: all must have been done that could be. Then the world is stopped.
    fn look_for_stillness(&mut self) {
        let kernel = &mut *self.kernel.borrow_mut();
        if std::mem::take(&mut kernel.is_still) {
            assert!(kernel.stop_at.is_none(), "the drain waits for ever");
            let record = self.record.borrow();
            kernel.check_stillness(record.taken.len() - record.written);
            kernel.is_stop_asked = true;
        }
    }

    fn check_the_end(&self, ended: &Result<(), RunError>) {
        let (kernel, record) = (self.kernel.borrow(), self.record.borrow());
        let unwritten = record.taken.len() - record.written;
        match ended {
            Ok(()) | Err(RunError::NotTakenIn { .. }) => {
                let is_told = ended.is_err();
                assert!(!is_told || kernel.sockets.iter().any(|socket| socket.is_stranded), "nobody was left out");
                assert_eq!(unwritten, 0, "not all is written");
                let gauges = self.handle.status().gauges;
                let left = (gauges.active_connections, gauges.pending_bytes, gauges.lingering, gauges.hosts);
                assert_eq!(left, (0, 0, 0, 0), "something is left: {ended:?}");
                kernel.check_stop(false);
                self.check_counters(&kernel, &record);
                self.check_gaps(&record);
            }
            Err(RunError::SinkGone { lost_bytes, .. }) => {
                assert_eq!((kernel.sink, *lost_bytes), (Drain::Gone, unwritten));
            }
            Err(RunError::SinkGivenUp { lost_bytes, .. }) => {
                assert_ne!(kernel.sink, Drain::Open);
                assert_eq!(*lost_bytes, unwritten, "what is said to be lost");
                kernel.check_stop(true);
            }
            Err(error) => panic!("{error}"),
        }
        let mut balance = Balance { least_missing: self.least_missing(&kernel), ..Balance::default() };
        for client in &kernel.clients {
            self.check_lines(client, &kernel, &record, &mut balance);
        }
        self.check_datagrams(&kernel, &record, &mut balance);
        // A sink that failed leaves lines pending.
        if ended.is_ok() {
            self.check_balance(&balance);
        }
    }

    fn check_counters(&self, kernel: &Kernel, record: &Record) {
        let counters = self.handle.status().counters;
        let newlines = record.taken.split(|byte| *byte == b'\n').count() as u64 - 1;
        assert_eq!(counters.lines, newlines, "lines");
        let read: usize = kernel.sockets.iter().map(|socket| socket.read.len()).sum();
        let permitted = || kernel.udp.read.iter().filter(|read| read.is_permitted);
        let of_datagrams: usize = permitted().map(|read| read.bytes.len()).sum();
        // Of what is turned away the last read does not count.
        let is_uncertain =
            |socket: &&kernel::Socket| socket.head.is_some_and(|head| !head.is_valid) || socket.may_be_refused;
        let uncertain: usize = kernel.sockets.iter().filter(is_uncertain).map(|socket| socket.read.len()).sum();
        let most = (read + of_datagrams) as u64;
        assert!((most - uncertain as u64..=most).contains(&counters.bytes), "{} of {most} bytes", counters.bytes);
        assert_eq!(counters.datagrams, kernel.udp.read.len() as u64, "datagrams");
        assert_eq!(counters.missed_datagrams, u64::from(kernel.udp.dropped), "datagrams that the kernel dropped");
        let taken = || kernel.sockets.iter().filter(|socket| socket.is_taken());
        assert_eq!(counters.accepted, taken().count() as u64, "accepted");
        self.check_doors(kernel);
        self.check_obeyed(kernel);
        let turned_away = kernel.sockets.iter().filter(|socket| !socket.is_taken() && !socket.is_stranded);
        let turned_away = turned_away.filter(|socket| !socket.is_denied).count() as u64;
        let counted = counters.rejected + counters.refused_per_host;
        let may_be = taken().filter(|socket| socket.may_be_refused).count() as u64;
        assert!((turned_away..=turned_away + may_be).contains(&counted), "{counted} turned away, not {turned_away}");
    }

    /// Who may not connect, who sent no header, and who sent nothing at all.
    fn check_doors(&self, kernel: &Kernel) {
        let counters = self.handle.status().counters;
        let denied = kernel.sockets.iter().filter(|socket| socket.is_denied).count();
        let datagrams = kernel.udp.read.iter().filter(|read| !read.is_permitted).count();
        assert_eq!(counters.not_allowed, (denied + datagrams) as u64, "not allowed");
        let taken = || kernel.sockets.iter().filter(|socket| socket.is_taken());
        let headless = || taken().filter(|socket| socket.head.is_some() && socket.introduced_at.is_none());
        let begun = headless().filter(|socket| !socket.read.is_empty()).count() as u64;
        // Of those without a byte, who was closed for that is an error, and who left a probe.
        let silent = headless().filter(|socket| socket.read.is_empty()).count() as u64;
        let errors = counters.proxy_errors;
        assert!((begun..=begun + silent).contains(&errors), "{errors} headers were none, not {begun}");
        let is_probe = |socket: &&kernel::Socket| socket.lines().is_empty();
        let probes = taken().filter(|socket| socket.head.is_none() || socket.introduced_at.is_some()).filter(is_probe);
        let probes = probes.count() as u64 + silent - (errors - begun);
        let refused = taken().filter(|socket| socket.may_be_refused).count() as u64;
        assert!(
            (probes.saturating_sub(refused)..=probes).contains(&counters.probes),
            "{} probes, not {probes}",
            counters.probes
        );
    }

    /// Who had spoken, and has closed within a second of a goodbye without another word, is counted: to a tick.
    fn check_obeyed(&self, kernel: &Kernel) {
        let obeyed = |within: Duration, is_certain: bool| {
            let has = |socket: &&kernel::Socket| {
                let (Some(goodbye_at), Some(closed_at)) = (socket.goodbye_at, socket.closed_at) else { return false };
                let is_silent = !socket.read.is_empty() && socket.flushes.last() == Some(&socket.read.len());
                let is_early =
                    kernel.stop_at.is_none_or(|stop_at| closed_at < stop_at || (!is_certain && closed_at == stop_at));
                // An end that came right behind the last read is not seen.
                let has_ended = socket.end_read_at.is_some() || (!is_certain && (socket.fin || socket.rst));
                is_silent && is_early && has_ended && closed_at - goodbye_at <= within
            };
            kernel.sockets.iter().filter(has).count() as u64
        };
        let counted = self.handle.status().counters.ended_at_goodbye;
        if kernel.terms.is_when_needed {
            assert_eq!(counted, 0, "who gives way is to close");
        } else if kernel.is_calm {
            let (least, most) = (obeyed(ms(990), true), obeyed(ms(1020), false));
            assert!((least..=most).contains(&counted), "{counted} closed at our goodbye, not {least} to {most}");
        }
    }

    /// All that was dropped is a gap in the output of who sent it (P12), now that every line has ended.
    fn check_gaps(&self, record: &Record) {
        let counters = self.handle.status().counters;
        let gaps = || record.gaps.values().flatten().map(|(_, gap)| gap);
        let of_rates: u64 = gaps().filter(|gap| gap.why == Why::Rate).map(|gap| gap.bytes).sum();
        let sums = Sums::of(gaps().filter(|gap| gap.why != Why::Rate));
        let expected = Sums {
            too_long: counters.skipped_lines + counters.cut_lines,
            memory: counters.dropped_for_budget,
            bad_length: counters.bad_lengths,
            bytes: counters.dropped_bytes - of_rates,
        };
        assert_eq!(sums, expected, "what the gaps add up to, and what was counted");
    }

    fn pending_share(&self) -> usize {
        MemoryPlan::new(&self.limits, Overhead::RAW).unwrap().pending_share
    }

    /// The shortest line that the budget may have taken: of those that hold most, the longest, by the number of hosts
    /// and of connections that share it. What is held grows by a quarter, and to a multiple of 64.
    fn least_missing(&self, kernel: &Kernel) -> usize {
        let hosts = if kernel.has_proxies() { HOSTS + doors::LAST.len() } else { HOSTS };
        let held = self.pending_share() / (hosts * kernel.most_taken.max(1));
        held.saturating_sub(64) * 4 / 5
    }

    /// What came out of one client's bytes is what a naive framing makes of them.
    fn check_lines(&self, client: &Client, kernel: &Kernel, record: &Record, balance: &mut Balance) {
        // Whose it is by its header.
        let peer = client.socket.map_or(client.peer, |index| kernel.sockets[index].peer);
        let out = record.by_peer.get(&peer).map_or(&[][..], Vec::as_slice);
        let gaps = record.gaps.get(&peer).map_or(&[][..], Vec::as_slice);
        let Some(socket) = client.socket.map(|index| &kernel.sockets[index]) else {
            return assert!(out.is_empty() && gaps.is_empty());
        };
        if peer != client.peer {
            assert!(!record.by_peer.contains_key(&client.peer), "lines of {peer} are those of its proxy");
        }
        assert!(client.delivered.starts_with(&socket.read), "bytes were read that nobody sent");
        let framing = kernel.terms.framings[client.listener];
        let is_refused = socket.may_be_refused && out.is_empty() && gaps.is_empty();
        if self.has_other_rules || is_refused {
            return;
        }
        if self.had_line_timeout {
            if framing != Framing::Lines {
                return;
            }
            return self.check_pieces(client, socket.lines(), out, balance);
        }
        let expected = expected(framing, &self.limits, &operations(socket.lines(), &socket.flushes));
        balance.counts.add(&expected.counts);
        if *out == expected.bytes {
            return self.check_places(client, gaps, &expected.gaps);
        }
        let mut got = out.split(|byte| *byte == b'\n').peekable();
        for line in expected.bytes.split(|byte| *byte == b'\n') {
            if got.peek() == Some(&line) {
                got.next();
            } else {
                balance.missing += 1;
                // A goodbye cuts a line in two, of which both are missing, and one may be short.
                let len = if socket.flushes.is_empty() { line.len() } else { usize::MAX };
                balance.shortest = Some(balance.shortest.unwrap_or(usize::MAX).min(len));
            }
        }
        let extra = got.next().map(|line| line.escape_ascii().to_string());
        let lines = expected.bytes.escape_ascii();
        assert_eq!(extra, None, "it is no line of {}, whose lines are {lines}", client.peer);
    }

    /// What came out of datagrams is what a naive framing makes of each, without what ends it (P23).
    fn check_datagrams(&self, kernel: &Kernel, record: &Record, balance: &mut Balance) {
        if self.has_other_rules {
            return;
        }
        let mut by_peer: HashMap<Peer, Vec<u8>> = HashMap::new();
        let is_rated = kernel.udp.read.iter().any(|read| read.is_rated);
        for read in kernel.udp.read.iter().filter(|read| read.is_permitted) {
            by_peer.entry(read.peer).or_default().extend([content(&read.bytes), b"\n"].concat());
        }
        for read in kernel.udp.read.iter().filter(|read| !read.is_permitted && !by_peer.contains_key(&read.peer)) {
            assert!(!record.by_peer.contains_key(&read.peer), "{} may not send", read.peer);
        }
        if is_rated {
            return by_peer.into_keys().for_each(|peer| self.check_slowed_datagrams(peer, kernel, record));
        }
        for (peer, bytes) in by_peer {
            let expected = expected(Framing::Lines, &self.limits, &[Op::Feed(bytes)]);
            balance.counts.add(&expected.counts);
            let out = record.by_peer.get(&peer).map_or(&[][..], Vec::as_slice);
            assert_eq!(
                out.escape_ascii().to_string(),
                expected.bytes.escape_ascii().to_string(),
                "datagrams of {peer}"
            );
            assert_eq!(record.gaps.get(&peer).map_or(&[][..], Vec::as_slice), expected.gaps, "gaps of {peer}");
        }
    }

    /// Where there is a rate, each datagram came out whole, in order, or is a part of a gap.
    fn check_slowed_datagrams(&self, peer: Peer, kernel: &Kernel, record: &Record) {
        let out = record.by_peer.get(&peer).map_or(&[][..], Vec::as_slice);
        // How much of the output there may be after each, and the least and the most that was dropped by then.
        let mut ways: BTreeMap<usize, (u64, u64)> = BTreeMap::from([(0, (0, 0))]);
        for read in kernel.udp.read.iter().filter(|read| read.is_permitted && read.peer == peer) {
            let datagram = content(&read.bytes);
            let piece = expected(Framing::Lines, &self.limits, &[Op::Feed([datagram, b"\n"].concat())]).bytes;
            let dropped = datagram.iter().filter(|byte| **byte != b'\n').count() as u64;
            let mut next: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
            for (at, (least, most)) in ways {
                let mut add = |at: usize, more: u64| {
                    let found = next.entry(at).or_insert((u64::MAX, 0));
                    *found = (found.0.min(least + more), found.1.max(most + more));
                };
                if out[at..].starts_with(&piece) {
                    add(at + piece.len(), 0);
                }
                if read.is_rated {
                    add(at, dropped);
                }
            }
            ways = next;
        }
        let (least, most) =
            ways.get(&out.len()).unwrap_or_else(|| panic!("datagrams of {peer}: {}", out.escape_ascii()));
        let gaps = record.gaps.get(&peer).into_iter().flatten().filter(|(_, gap)| gap.why == Why::Rate);
        let marked: u64 = gaps.map(|(_, gap)| gap.bytes).sum();
        assert!((*least..=*most).contains(&marked), "{marked} bytes of {peer} are marked, not {least} to {most}");
    }

    /// Each gap of a client whose lines all came stands where its line would, and is as large. None is missing but at
    /// the end of one whose sink failed, or the sums would differ. What the budget took of a line that is too long is a
    /// gap of another kind.
    fn check_places(&self, client: &Client, gaps: &[Mark], expected: &[Mark]) {
        if self.handle.status().counters.dropped_for_budget == 0 {
            assert!(expected.starts_with(gaps), "the gaps of {} are {gaps:?}, not {expected:?}", client.peer);
        }
    }

    /// With `--line-timeout` a line may come in pieces, and an ending be taken for a byte of it; but all else comes
    /// out, in order.
    fn check_pieces(&self, client: &Client, read: &[u8], out: &[u8], balance: &mut Balance) {
        let has_long = read.split(|byte| *byte == b'\n').any(|line| line.len() > self.limits.max_line);
        if has_long || self.handle.status().counters.dropped_for_budget > 0 {
            return;
        }
        let is_content = |byte: &&u8| !matches!(byte, b'\r' | b'\n');
        let is_same = read.iter().filter(is_content).eq(out.iter().filter(is_content));
        balance.broken = balance.broken.take().or_else(|| {
            (!is_same).then(|| format!("of {}: {} came to {}", client.peer, read.escape_ascii(), out.escape_ascii()))
        });
    }

    /// What is missing was dropped for the budget, and was the longest of who held most (P5).
    fn check_balance(&self, balance: &Balance) {
        assert_eq!(balance.broken, None);
        let counters = self.handle.status().counters;
        let (missing, drops) = (balance.missing, counters.dropped_for_budget);
        // Of a line that is split, what goes missing are pieces, one of them short.
        if self.limits.long_lines != LongLines::Split {
            let (shortest, least) = (balance.shortest.unwrap_or(usize::MAX), balance.least_missing);
            assert!(shortest >= least, "a line of {shortest} bytes paid, {least} is the least");
            let most = drops + counters.evicted_idle;
            assert!(missing <= most, "{missing} lines are missing, {drops} were dropped");
        }
        assert!(missing == 0 || drops > 0, "{missing} lines are missing");
        let (share, may_have_held) = (self.pending_share(), self.kernel.borrow().may_have_held);
        assert!(drops == 0 || may_have_held > share, "{drops} dropped, of {may_have_held} bytes, for {share}");
        let is_whole = counters.dropped_for_budget == 0 && counters.over_rate_datagrams == 0;
        if is_whole && !self.had_line_timeout && !self.has_other_rules && !self.kernel.borrow().has_rated_datagrams() {
            let told = Counts {
                lines: counters.lines,
                skipped: counters.skipped_lines,
                cut: counters.cut_lines,
                dropped_bytes: counters.dropped_bytes,
                unterminated: counters.unterminated,
                overflows: counters.overflows,
                too_long: balance.counts.too_long,
                broken: counters.bad_lengths,
            };
            assert_eq!(told, balance.counts, "what is counted");
        }
    }

    fn report(&self, turns: u64, has_failed: bool) -> Report {
        let counters = self.handle.status().counters;
        let kernel = self.kernel.borrow();
        Report {
            simulated: kernel.now - kernel.start,
            lines: counters.lines,
            turns,
            evicted: counters.evicted_idle,
            gave_way: if kernel.terms.is_when_needed { counters.evicted_idle } else { 0 },
            obeyed: counters.ended_at_goodbye,
            stalls: counters.sink_stalls,
            pauses: counters.accept_pauses,
            budget_drops: counters.dropped_for_budget,
            gaps: self.record.borrow().gaps.values().map(|gaps| gaps.len() as u64).sum(),
            refused: counters.refused_per_host + counters.rejected,
            errors: u64::from(has_failed),
            changes: self.changes,
            receipts: kernel.sockets.iter().filter(|socket| socket.has_receipt).count() as u64,
            datagrams: counters.datagrams,
            missed: counters.missed_datagrams,
            denied: counters.not_allowed,
            introduced: kernel.sockets.iter().filter(|socket| socket.introduced_at.is_some()).count() as u64,
            no_headers: counters.proxy_errors,
            slowed: counters.slowed,
            over_rate: counters.over_rate_datagrams,
        }
    }
}

/// What all clients' lines add up to.
#[derive(Default)]
struct Balance {
    counts: Counts,
    missing: u64,
    /// The shortest of the missing, and what it may be at least.
    shortest: Option<usize>,
    least_missing: usize,
    /// A line that is not whole, as a sentence.
    broken: Option<String>,
}

/// A datagram without what ends it.
fn content(datagram: &[u8]) -> &[u8] {
    let end = datagram.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0)).map_or(0, |last| last + 1);
    &datagram[..end]
}

/// What happened to a connection's bytes: they came, and at some places the pending line went out without its ending.
fn operations(read: &[u8], flushes: &[usize]) -> Vec<Op> {
    let mut done = 0;
    let mut operations = Vec::new();
    for at in flushes {
        operations.extend([Op::Feed(read[done..*at].to_vec()), Op::Flush]);
        done = *at;
    }
    operations.push(Op::Feed(read[done..].to_vec()));
    operations
}
