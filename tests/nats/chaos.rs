//! Chaos: a box among servers that are killed, cut off, moved, put back and made slow, while clients send. All choices come
//! from a seed, which is printed, and so do the lines; what the kernel and the servers make of them is theirs.
//! `CHAOS_SECONDS` is how long it takes, `CHAOS_SEED` which choices; `tests/chaos.sh` sets both. With `CHAOS_KEEP` what
//! happened is kept though it went well. It goes in rounds: at the
//! end of each everything is up again, and what clients have a receipt for has to be in the stream.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::judge::{Rule, judge};
use super::middleman::{Middleman, Mood};
use super::ours::{Ours, STREAM};
use super::senders::{Senders, Sent};
use super::servers::{Copy, Program, Servers, Setup};
use crate::common::patience::{LONG_PATIENCE, until_within};
use crate::dice::Dice;

/// A round takes so long, and then as long as what is left takes to be delivered.
const ROUND: Duration = Duration::from_secs(20);
/// Without `CHAOS_SECONDS`, as part of `cargo test`.
const SHORT: u64 = 10;
/// What the stream keeps, so that an hour does not fill the disk: many rounds.
const KEPT: &str = r#","max_bytes":400000000,"discard":"old""#;

#[derive(Clone, Copy, Debug)]
enum Event {
    KillNode,
    KillAllNodes,
    StartNodes,
    KillOurs,
    StopOurs,
    Cut,
    CutsWithin,
    Delay,
    DropAcks,
    Hold,
    Calm,
    Away,
    MoveLeader,
    TakeCopies,
    PutBack,
}

/// How often each comes, of their sum.
const EVENTS: [(Event, u64); 15] = [
    (Event::KillNode, 16),
    (Event::KillAllNodes, 4),
    (Event::StartNodes, 22),
    (Event::KillOurs, 30),
    (Event::StopOurs, 4),
    (Event::Cut, 12),
    (Event::CutsWithin, 7),
    (Event::Delay, 3),
    (Event::DropAcks, 5),
    (Event::Hold, 6),
    (Event::Calm, 14),
    (Event::Away, 2),
    (Event::MoveLeader, 8),
    (Event::TakeCopies, 3),
    (Event::PutBack, 6),
];

/// How often what happened.
#[derive(Default, Debug)]
struct Sums {
    rounds: u64,
    node_kills: u64,
    own_kills: u64,
    own_stops: u64,
    leaders_moved: u64,
    put_back: u64,
    cuts: u64,
    acks_dropped: u64,
    connections: usize,
    receipts: usize,
    lines: u64,
    messages: usize,
    marked: u64,
}

struct Chaos {
    servers: Servers,
    middlemen: Vec<Middleman>,
    ours: Ours,
    dice: Dice,
    /// What the nodes had on their disks earlier in this round.
    copies: Vec<Copy>,
    begun: Instant,
    events: String,
    sums: Sums,
    /// The stream's last sequence at the end of the last round.
    judged: u64,
    markers_judged: usize,
}

impl Chaos {
    /// One server of either version, or a cluster of the newest.
    fn start(programs: &[Program], seed: u64) -> Self {
        let mut dice = Dice::from_seed(seed);
        let (is_alone, is_old) = (dice.chance(30), dice.chance(50));
        let program = if is_alone && is_old { programs.first() } else { programs.last() }.unwrap();
        let mut servers = if is_alone { Setup::one() } else { Setup::three() }.prepare(program);
        let before = |(at, port)| Middleman::before(port, seed.wrapping_add(at as u64));
        let middlemen: Vec<Middleman> = servers.nodes.iter().map(|node| node.port).enumerate().map(before).collect();
        for (node, middleman) in servers.nodes.iter_mut().zip(&middlemen) {
            node.advertised = middleman.port;
        }
        servers.start_all();
        servers.client().create(STREAM, servers.nodes.len(), KEPT);
        let ours = Ours::start(&servers, &["--spool-size", "64MiB", "--mark-gaps"]);
        let (copies, begun, events, sums) = (Vec::new(), Instant::now(), String::new(), Sums::default());
        Self { servers, middlemen, ours, dice, copies, begun, events, sums, judged: 0, markers_judged: 0 }
    }

    fn note(&mut self, what: &str) {
        writeln!(self.events, "{:9.3} {what}", self.begun.elapsed().as_secs_f64()).unwrap();
    }

    fn choose(&mut self) -> Event {
        let sum = EVENTS.iter().map(|(_, weight)| weight).sum();
        let mut at = self.dice.below(sum);
        for (event, weight) in EVENTS {
            if at < weight {
                return event;
            }
            at -= weight;
        }
        Event::Calm
    }

    /// One event. The choices that it needs are made whatever the servers do, so that the next ones stay the same.
    fn happen(&mut self) {
        let event = self.choose();
        let node = self.dice.size(self.servers.nodes.len());
        let amount = self.dice.below(1_000);
        self.note(&format!("{event:?} (node {node}, {amount})"));
        match event {
            Event::KillNode => self.kill_node(node),
            Event::KillAllNodes => (0..self.servers.nodes.len()).for_each(|at| self.kill_node(at)),
            Event::StartNodes => self.spawn_all(),
            Event::KillOurs => {
                self.ours.kill();
                self.sums.own_kills += 1;
                self.ours.begin();
            }
            Event::StopOurs => {
                self.ours.stop();
                self.sums.own_stops += 1;
                self.ours.begin();
            }
            Event::Cut => self.middlemen.iter().for_each(Middleman::cut),
            Event::CutsWithin => self.set(Mood { cut_within: 500 + amount * amount, ..Mood::default() }),
            Event::Delay => self.set(Mood { delay: Duration::from_millis(amount / 4), ..Mood::default() }),
            Event::DropAcks => self.set(Mood { drop_acks: true, ..Mood::default() }),
            Event::Away => self.set(Mood { is_away: true, ..Mood::default() }),
            Event::Hold => self.middlemen.iter().for_each(Middleman::hold),
            Event::Calm => self.calm(),
            Event::MoveLeader => {
                match self.servers.try_client().and_then(|mut client| client.step_down(STREAM)) {
                    Ok(()) => self.sums.leaders_moved += 1,
                    // Nobody leads, or nobody is there.
                    Err(why) => self.note(&why),
                }
            }
            Event::TakeCopies => self.take_copies(),
            Event::PutBack => self.put_back(),
        }
        // The input: how long it lasts.
        std::thread::sleep(Duration::from_millis(self.dice.below(700)));
    }

    fn set(&self, mood: Mood) {
        self.middlemen.iter().for_each(|middleman| middleman.set(mood));
    }

    fn calm(&self) {
        self.set(Mood::default());
        self.middlemen.iter().for_each(Middleman::release);
    }

    fn kill_node(&mut self, at: usize) {
        if self.servers.is_running(at) {
            self.servers.kill(at);
            self.sums.node_kills += 1;
        }
    }

    fn spawn_all(&mut self) {
        for at in 0..self.servers.nodes.len() {
            if !self.servers.is_running(at) {
                self.servers.spawn(at);
            }
        }
    }

    /// Of nodes that ended in order, all at the same moment: what a set of disks may really hold.
    fn take_copies(&mut self) {
        self.servers.start_all();
        let nodes = 0..self.servers.nodes.len();
        nodes.clone().for_each(|at| self.servers.stop(at));
        self.copies = nodes.map(|at| self.servers.copy_store(at)).collect();
        self.servers.start_all();
    }

    /// All nodes have lost what came since.
    fn put_back(&mut self) {
        if self.copies.is_empty() {
            return self.take_copies();
        }
        self.servers.kill_all();
        for (at, copy) in self.copies.iter().enumerate() {
            self.servers.put_back(at, copy);
        }
        self.sums.put_back += 1;
        self.servers.start_all();
    }

    fn round(&mut self, seed: u64) {
        let first = usize::try_from(self.sums.rounds).unwrap() * 10;
        self.sums.rounds += 1;
        let senders = Senders::start(self.ours.port, first, 4, seed, Duration::from_millis(60));
        let end = Instant::now() + ROUND;
        while Instant::now() < end {
            self.happen();
        }
        self.note("the end of the round");
        self.calm();
        self.servers.start_all();
        let sent = senders.finish();
        self.judge(&sent);
        // What was judged is gone from memory: no loss of the servers may go back before it.
        self.copies.clear();
    }

    fn judge(&mut self, sent: &[Sent]) {
        self.sums.connections += sent.len();
        self.sums.receipts += sent.iter().filter(|sent| sent.receipted.is_some()).count();
        self.ours.until_delivered(&self.servers);
        let stored = until_within(LONG_PATIENCE, "what is new in the stream", || {
            self.servers.try_client()?.fetch(STREAM, self.judged + 1)
        });
        self.judged = stored.last().map_or(self.judged, |stored| stored.sequence);
        let markers = &self.ours.sent[self.markers_judged..];
        let all: Vec<Sent> = sent.iter().chain(markers).copied().collect();
        self.markers_judged = self.ours.sent.len();
        let found = judge(&all, &stored, Rule::Everything).unwrap_or_else(|why| panic!("{why}"));
        // A record that a kill cut is told as missing. Nobody has a receipt for its lines.
        let marked: u64 = found.marks.iter().map(|mark| marked(mark)).sum();
        assert!(marked <= found.missing, "{} lines are missing, and the marks say {:?}", found.missing, found.marks);
        self.sums.marked += marked;
        self.sums.lines += found.lines;
        self.sums.messages += found.messages;
    }

    /// Everything that tells what happened, for whoever looks for the cause.
    fn keep(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("events"), &self.events).unwrap();
        fs::write(folder.join("log"), self.ours.said()).unwrap();
        fs::write(folder.join("servers"), self.servers.said()).unwrap();
    }
}

/// How many lines a mark says are missing; no other damage is expected than that of a kill.
fn marked(mark: &str) -> u64 {
    let lines =
        mark.split_once(" lines=").filter(|_| mark.starts_with("[lumberjack gap]") && mark.ends_with("why=damaged"));
    let count = lines.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("{mark} is no mark of damage"))
}

/// Also when it fails: what is known is kept.
struct Kept<'a>(&'a mut Chaos, std::path::PathBuf);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("CHAOS_KEEP").is_some() {
            self.0.keep(&self.1);
            eprintln!("what happened, and what was said, is in {}", self.1.display());
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().unwrap_or_else(|_| panic!("{variable} is to be a number")))
}

#[test]
fn chaos() {
    let programs = Program::all();
    if programs.is_empty() {
        return;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = number("CHAOS_SEED").unwrap_or(now.subsec_nanos().into());
    let seconds = number("CHAOS_SECONDS").unwrap_or(SHORT);
    let again = format!("CHAOS_SEED={seed} CHAOS_SECONDS={seconds} cargo test --test nats chaos::chaos");
    eprintln!("again: {again}");
    let mut chaos = Chaos::start(&programs, seed);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}"));
    let kept = Kept(&mut chaos, folder);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        kept.0.round(seed.wrapping_add(kept.0.sums.rounds));
        eprintln!("{:5} s: {:?}", kept.0.begun.elapsed().as_secs(), kept.0.sums);
    }
    let chaos = &mut *kept.0;
    chaos.sums.cuts = chaos.middlemen.iter().map(Middleman::cuts).sum();
    chaos.sums.acks_dropped = chaos.middlemen.iter().map(Middleman::dropped_acks).sum();
    eprintln!("CHAOS_SEED={seed}, {} servers: {:?}", chaos.servers.nodes.len(), chaos.sums);
    assert!(chaos.sums.lines > 0 && chaos.sums.receipts > 0, "{:?}", chaos.sums);
    chaos.ours.stop();
}
