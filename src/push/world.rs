//! Worlds from seeds: a spool, a plan, and a store that loses requests and answers, is busy, refuses some lines and too much at
//! once; and kills of ours, after which any position may be found that was written down. What holds in all of them: each line that
//! the store takes is there, in order, and once where the store can know it again.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::address::{Address, Kind};
use super::lines::Line;
use super::plan::{Event, Plan, Position, Settings, Step};
use super::rules::answered;
use super::store::{Labels, Store};
use crate::engine::peer::Peer;
use crate::http::Request;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// What is in the spool under one number.
#[derive(Clone)]
enum Kept {
    /// A line, and when it came.
    Line(u64),
    /// One that no store takes.
    Bad(u64),
    /// Nothing: it is gone, and a mark says so.
    Missing,
}

struct World {
    random: Random,
    kind: Kind,
    kept: Vec<Kept>,
    /// The most bytes that the store takes at once.
    most: usize,
    /// What it has, in order, and what it knows again.
    has: Vec<String>,
    known: BTreeSet<String>,
    /// The position on the disk, and those that may be there instead.
    durable: Option<Position>,
    newer: Vec<Position>,
}

fn text(number: u64) -> String {
    format!("{{\"ts\":\"t\",\"line\":\"{number}\"}}")
}

impl World {
    fn new(seed: u64, kind: Kind) -> Self {
        let mut random = Random(seed);
        let mut wall = 1_795_737_600_000_u64;
        let kept = (0..150)
            .map(|number| {
                wall = match random.below(40) {
                    0 => wall.saturating_sub(30_000),
                    1 => 5_000,
                    2 => 1_795_737_600_000 + random.below(100_000_000),
                    3..20 => wall,
                    _ => wall + random.below(3),
                };
                match random.below(30) {
                    0 => Kept::Missing,
                    1 if number > 0 => Kept::Bad(wall),
                    _ => Kept::Line(wall),
                }
            })
            .collect();
        let most = 600 + usize::try_from(random.below(3000)).unwrap();
        let (has, known) = (Vec::new(), BTreeSet::new());
        Self { random, kind, kept, most, has, known, durable: None, newer: Vec::new() }
    }

    fn plan(&mut self) -> Plan {
        let url = match self.kind {
            Kind::Loki => "loki+http://h",
            Kind::Elastic => "elastic+http://h/logs",
            Kind::ClickHouse => "clickhouse+http://h/?query=INSERT",
            Kind::Ndjson => "http://h/in",
        };
        let labels = Labels { box_name: "b".to_owned(), id: "b0".to_owned() };
        let headers = [("Content-Encoding".to_owned(), "identity".to_owned())];
        let store = Store::new(&Address::parse(url).unwrap().unwrap(), labels, headers.to_vec(), false);
        let most = 300 + usize::try_from(self.random.below(4000)).unwrap();
        let settings = Settings { most: most.max(1024), every: Duration::from_millis(100), is_noted: true };
        Plan::new(store, settings, self.durable)
    }

    /// Gives lines from there on, as a spool does; where it stopped.
    fn feed(&mut self, plan: &mut Plan, from: u64, now: Duration) -> u64 {
        let mut at = from;
        // The spool has as much at the moment.
        let end = (at + self.random.below(60)).min(self.kept.len() as u64);
        while at < end {
            let number = at + 1;
            let peer = Some(Peer::V4 { ip: [10, 0, 0, u8::try_from(number % 3).unwrap()], port: 1 });
            let (wall_ms, peer, bytes) = match self.kept[usize::try_from(at).unwrap()] {
                Kept::Line(wall) => (wall, peer, text(number)),
                Kept::Bad(wall) => (wall, peer, text(number).replace("line", "bad")),
                Kept::Missing => (0, None, "{\"ts\":\"gap\"}".to_owned()),
            };
            if !plan.take(&Line { number, wall_ms, peer, bytes: format!("{bytes}\n").as_bytes() }, now) {
                break;
            }
            at = number;
        }
        at
    }

    /// What the store does with a request, and says.
    fn post(&mut self, request: &Request) -> String {
        let fate = self.random.below(12);
        match fate {
            0 => return "cut".to_owned(),
            1 => return "503".to_owned(),
            2 => return "429 Retry-After: 1".to_owned(),
            3 if self.random.one_in(3) => return "401".to_owned(),
            _ => {}
        }
        let body = str::from_utf8(&request.body).unwrap();
        let is_bulk = self.kind == Kind::Elastic;
        let answer = if body.len() > self.most {
            "413".to_owned()
        } else if body.contains("bad") && !is_bulk {
            "400".to_owned()
        } else {
            self.store(body, request.target.as_deref().unwrap())
        };
        if fate == 4 { "cut".to_owned() } else { answer }
    }

    fn store(&mut self, body: &str, target: &str) -> String {
        match self.kind {
            Kind::Ndjson => self.has.extend(body.lines().map(str::to_owned)),
            Kind::ClickHouse => {
                if self.known.insert(target.rsplit('=').next().unwrap().to_owned()) {
                    self.has.extend(body.lines().map(str::to_owned));
                }
            }
            Kind::Loki => {
                for entry in body.split("[\"").skip(1) {
                    let (time, line) = entry.split_once("\",\"").unwrap();
                    let line = line.split("\"]").next().unwrap().replace('\\', "");
                    if self.known.insert(format!("{time} {line}")) {
                        self.has.push(line);
                    }
                }
            }
            Kind::Elastic => return self.bulk(body),
        }
        "200".to_owned()
    }

    fn bulk(&mut self, body: &str) -> String {
        let lines: Vec<&str> = body.lines().collect();
        let mut statuses = Vec::new();
        for pair in lines.chunks(2) {
            statuses.push(if pair[1].contains("bad") {
                400
            } else if self.random.one_in(30) {
                429
            } else if self.known.insert(pair[0].to_owned()) {
                self.has.push(pair[1].replace("@timestamp", "ts"));
                201
            } else {
                409
            });
        }
        let items: Vec<String> =
            statuses.iter().map(|status| format!("{{\"create\":{{\"status\":{status}}}}}")).collect();
        let errors = statuses.iter().any(|status| *status != 201);
        format!("200 | {{\"errors\":{errors},\"items\":[{}]}}", items.join(","))
    }

    fn settle(&mut self, plan: &mut Plan) {
        while let Some(event) = plan.next_event() {
            match event {
                Event::Acked(position, _) => self.newer.push(position),
                Event::Dropped { .. } => plan.mark(b"{\"ts\":\"gap\"}\n"),
                _ => {}
            }
        }
    }

    /// One process: until all is acked, or it is killed.
    fn live(&mut self, kills: bool) -> bool {
        let mut plan = self.plan();
        let (mut at, mut now) = (self.durable.unwrap_or_default().acked, Duration::ZERO);
        for _ in 0..3_000 {
            if kills && self.random.one_in(25) {
                return false;
            }
            at = self.feed(&mut plan, at, now);
            now += Duration::from_millis(self.random.below(300));
            let step = plan.next(now, false);
            self.settle(&mut plan);
            match step {
                Some(Step::Note(position)) => {
                    // A kill may come before it is on the disk, or behind.
                    self.newer.push(position);
                    if kills && self.random.one_in(10) {
                        return false;
                    }
                    self.durable = Some(position);
                    self.newer.clear();
                    plan.noted();
                }
                Some(Step::Send(request, _)) => {
                    let answer = self.post(&request);
                    if kills && self.random.one_in(10) {
                        return false;
                    }
                    let random = u32::try_from(self.random.below(1 << 32)).unwrap();
                    plan.answered(answered(&answer), now, random);
                    self.settle(&mut plan);
                }
                None => now += plan.due_in(now, false).unwrap_or_default(),
            }
            let acked = self.newer.last().or(self.durable.as_ref()).map_or(0, |position| position.acked);
            if acked == self.kept.len() as u64 {
                return true;
            }
        }
        panic!("it stands still: {:?} {:?} {at}", self.durable, self.newer.last());
    }

    fn run(mut self, seed: u64) {
        for _ in 0..6 {
            self.live(true);
            // What is on the disk is what was written down last, or something newer.
            if !self.newer.is_empty() && self.random.one_in(2) {
                let at = usize::try_from(self.random.below(self.newer.len() as u64)).unwrap();
                self.durable = Some(self.newer[at]);
            }
            self.newer.clear();
        }
        assert!(self.live(false));
        let mut count: BTreeMap<String, u32> = BTreeMap::new();
        let mut first = Vec::new();
        for line in self.has.iter().filter(|line| line.contains("\"line\"")) {
            let times = count.entry(line.clone()).or_default();
            *times += 1;
            if *times == 1 {
                first.push(line.clone());
            }
        }
        let numbers = (1_u64..).zip(&self.kept);
        let wanted: Vec<String> =
            numbers.filter(|(_, kept)| matches!(kept, Kept::Line(_))).map(|(number, _)| text(number)).collect();
        // Loki sorts by time, and what is of one request comes by hosts; `_bulk` takes what is behind a busy one.
        if matches!(self.kind, Kind::Loki | Kind::Elastic) {
            let sorted = |lines: &[String]| lines.iter().cloned().collect::<BTreeSet<_>>();
            assert_eq!(sorted(&first), sorted(&wanted), "{:?} {seed}", self.kind);
        } else {
            assert_eq!(first, wanted, "{:?} {seed}", self.kind);
        }
        if self.kind != Kind::Ndjson {
            let twice: Vec<_> = count.iter().filter(|(_, times)| **times > 1).collect();
            assert!(twice.is_empty(), "{:?} {seed}: {twice:?}", self.kind);
        }
    }
}

#[test]
fn p30_in_every_world_each_line_is_there_and_once_where_the_store_can_know_it() {
    for seed in 0..200 {
        for kind in [Kind::Loki, Kind::Elastic, Kind::ClickHouse, Kind::Ndjson] {
            World::new(seed, kind).run(seed);
        }
    }
}
