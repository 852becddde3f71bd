//! The budget beside a plain map of connections, over hosts of every kind (P5, P14): what is used, what fits, who pays,
//! and who is turned away.

use std::collections::{BTreeMap, BTreeSet};

use lumberjack::Host;
use lumberjack::internals::budget::{Budget, PerHostFull};

use super::{Script, Story};

const HOSTS: [Host; 7] = [
    Host::V4([127, 0, 0, 2]),
    Host::V4([127, 0, 0, 3]),
    Host::V6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 1]),
    Host::V6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 2]),
    Host::LinkLocal([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 2),
    Host::LinkLocal([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 3),
    Host::Unix,
];

/// One thing that happens to the budget. Hosts are numbers of [`HOSTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// A connection comes; one that had this number is gone.
    Connect { id: u32, host: usize },
    /// It is gone.
    Disconnect { id: u32 },
    /// It holds so much, if that fits.
    Hold { id: u32, bytes: usize },
    /// It holds so much, and whoever holds most pays until it fits.
    HoldAndMakeRoom { id: u32, bytes: usize },
    /// It has been told goodbye.
    Linger { id: u32 },
}

/// Decodes limits and operations, and compares.
pub(crate) fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let limit = 1 + 4 * script.below(256);
    let max_per_host = Some(script.below(9)).filter(|most| *most > 0);
    let mut ops = Vec::new();
    while !script.is_over() {
        ops.push(op(&mut script, limit));
    }
    compare(limit, max_per_host, &ops);
}

fn op(script: &mut Script<'_>, limit: usize) -> Op {
    let choice = script.byte();
    let id = u32::from(script.byte() % 64);
    // Small numbers, so that ties are common; now and then what can't fit.
    let mut bytes = || match script.byte() {
        255 => limit + 1,
        byte => usize::from(byte % 32) * usize::from(byte / 32),
    };
    match choice % 16 {
        0..=4 => Op::Connect { id, host: usize::from(choice / 16) % HOSTS.len() },
        5 => Op::Disconnect { id },
        6..=10 => Op::Hold { id, bytes: bytes() },
        11..=14 => Op::HoldAndMakeRoom { id, bytes: bytes() },
        _ => Op::Linger { id },
    }
}

/// Does `ops` with the real budget and the map, and compares after each.
pub(crate) fn compare(limit: usize, max_per_host: Option<usize>, ops: &[Op]) {
    let _story = Story(&(limit, max_per_host, ops));
    let real = Budget::new(limit, max_per_host, 0);
    let mut pair = Pair { real, limit, max_per_host, connections: BTreeMap::new() };
    for op in ops {
        pair.apply(*op);
        pair.assert_same();
    }
    for id in pair.connections.keys().copied().collect::<Vec<_>>() {
        pair.apply(Op::Disconnect { id });
        pair.assert_same();
    }
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    host: usize,
    held: usize,
    is_lingering: bool,
}

/// The budget, and what it has to be the same as.
struct Pair {
    real: Budget,
    limit: usize,
    max_per_host: Option<usize>,
    connections: BTreeMap<u32, Connection>,
}

impl Pair {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Connect { id, host } => self.connect(id, host),
            Op::Disconnect { id } => {
                self.real.disconnect(id);
                self.connections.remove(&id);
            }
            Op::Hold { id, bytes } => {
                if self.fits(id, bytes) {
                    self.hold(id, bytes);
                }
            }
            Op::HoldAndMakeRoom { id, bytes } => self.make_room(id, bytes),
            Op::Linger { id } => {
                self.real.linger(id);
                self.connections.entry(id).and_modify(|conn| conn.is_lingering = true);
            }
        }
    }

    fn connect(&mut self, id: u32, host: usize) {
        self.connections.remove(&id);
        let talking = self.connections.values().filter(|conn| conn.host == host && !conn.is_lingering).count();
        let is_full = HOSTS[host] != Host::Unix && self.max_per_host.is_some_and(|most| talking >= most);
        let expected = if is_full { Err(PerHostFull) } else { Ok(()) };
        assert_eq!(self.real.connect(id, HOSTS[host]), expected, "{talking} of {} are there", HOSTS[host]);
        if !is_full {
            self.connections.insert(id, Connection { host, held: 0, is_lingering: false });
        }
    }

    fn hold(&mut self, id: u32, bytes: usize) {
        self.real.hold(id, bytes);
        self.connections.entry(id).and_modify(|conn| conn.held = bytes);
    }

    /// As the server does it; ends, since everybody pays once at most.
    fn make_room(&mut self, id: u32, bytes: usize) {
        self.hold(id, bytes);
        for _ in 0..=self.connections.len() {
            self.assert_payer();
            match self.real.payer() {
                Some(payer) => self.hold(payer, 0),
                None => return,
            }
        }
        panic!("everybody has paid, and {bytes} bytes for {id} do not fit yet");
    }

    fn fits(&self, id: u32, bytes: usize) -> bool {
        let others: usize = self.connections.iter().filter(|(other, _)| **other != id).map(|(_, conn)| conn.held).sum();
        others + bytes <= self.limit
    }

    fn total_of(&self, host: usize) -> usize {
        self.connections.values().filter(|conn| conn.host == host).map(|conn| conn.held).sum()
    }

    fn assert_same(&self) {
        self.real.check();
        let used: usize = (0..HOSTS.len()).map(|host| self.total_of(host)).sum();
        assert_eq!((self.real.used(), self.real.limit()), (used, self.limit), "used, of the limit");
        assert!(used <= self.limit, "{used} used of {} (P5)", self.limit);
        let hosts: BTreeSet<usize> = self.connections.values().map(|conn| conn.host).collect();
        assert_eq!(self.real.hosts(), hosts.len(), "hosts");
        for (number, host) in HOSTS.iter().enumerate() {
            let count = self.connections.values().filter(|conn| conn.host == number).count();
            assert_eq!(self.real.connections_of(*host), count, "connections of {host}");
        }
        for id in 0..64 {
            let held = self.connections.get(&id).map_or(0, |conn| conn.held);
            assert_eq!(self.real.held_by(id), held, "held by {id}");
        }
        self.assert_payer();
    }

    /// Who pays is the heaviest of the heaviest host; of those that are equally heavy, any.
    fn assert_payer(&self) {
        let totals = || (0..HOSTS.len()).map(|host| self.total_of(host));
        let (used, heaviest_total) = (totals().sum::<usize>(), totals().max().unwrap_or_default());
        let Some(payer) = self.real.payer() else {
            return assert!(used <= self.limit, "nobody pays, but {used} is more than {}", self.limit);
        };
        assert!(used > self.limit, "{payer} pays, but {used} fit in {}", self.limit);
        let conn = self.connections[&payer];
        assert_eq!(self.total_of(conn.host), heaviest_total, "what the host of {payer}, who pays, holds (P5)");
        let of_host = self.connections.values().filter(|other| other.host == conn.host);
        assert_eq!(Some(conn.held), of_host.map(|other| other.held).max(), "what {payer}, who pays, holds (P5)");
        assert!(conn.held > 0, "{payer} pays, and holds nothing");
    }
}
