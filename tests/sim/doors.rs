//! What a world's listeners ask of who comes: lists of who may connect (P24), a proxy's header (P25), and rates (P26), with
//! a slow twin of the last. Invariant: the twin never has less left than the server may have.

use std::collections::HashMap;
use std::time::Duration;

use lumberjack::{Host, Peer, Rate};

use super::client::Step;
use super::dice::Dice;
use super::kernel::Kernel;
use super::{draw_delay, ms};

/// Last parts of the addresses that clients, and whom proxies name, come from.
pub(crate) const LAST: [u8; 3] = [1, 2, 3];
/// The least that is read of a host that may send anything.
const LEAST_BYTES: f64 = 256.0;
/// How long a header may take.
pub(crate) const HEADER_TIME: Duration = Duration::from_secs(5);

/// Who may connect, of the three hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    None,
    Allow([bool; 3]),
    Deny([bool; 3]),
}

/// What of a listener may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) list: List,
    pub(crate) rate: Rate,
    pub(crate) burst: Rate,
}

/// One listener.
pub(crate) struct Door {
    pub(crate) rules: Rules,
    pub(crate) is_proxied: bool,
    buckets: HashMap<Host, Bucket>,
    /// How often they have changed: what was read before that counts no more.
    pub(crate) changes: usize,
    /// The connection that was read last: its lines are not charged yet.
    pub(crate) last: Option<usize>,
    /// The datagram that was read last, likewise: whose, how long, and when.
    pub(crate) last_datagram: Option<(Peer, usize, Duration)>,
}

/// What a host has left, in lines or bytes.
struct Bucket {
    left: f64,
    at: Duration,
}

/// What a client sends before its lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// Its bytes.
    pub(crate) len: usize,
    /// Whom it names.
    pub(crate) named: Option<Peer>,
    pub(crate) is_valid: bool,
}

impl Rules {
    pub(crate) const OPEN: Self = Self { list: List::None, rate: Rate::Off, burst: Rate::Off };

    fn draw(dice: &mut Dice, is_proxied: bool) -> Self {
        let set = [0, 0, 0].map(|_: i32| dice.chance(65));
        let list = match dice.below(4) {
            _ if is_proxied => List::Allow(set),
            0 => List::Allow(set),
            1 => List::Deny(set),
            _ => List::None,
        };
        // At the slowest a host waits for longer than the shorter of `--idle-timeout`.
        let (rate, burst) = match dice.below(6) {
            0 => (Rate::Lines(dice.pick(&[50, 5, 3000])), dice.pick(&[Rate::Off, Rate::Lines(1), Rate::Lines(400)])),
            1 | 2 => {
                let rate = Rate::Bytes(dice.pick(&[4000, 300, 100_000]));
                (rate, dice.pick(&[Rate::Off, Rate::Bytes(1), Rate::Bytes(20_000)]))
            }
            _ => (Rate::Off, Rate::Off),
        };
        Self { list, rate, burst }
    }

    /// As it stands behind the address.
    pub(crate) fn text(&self, is_proxied: bool) -> String {
        let hosts = |key: &str, set: [bool; 3]| {
            let chosen = LAST.iter().zip(set).filter(|(_, is_in)| *is_in);
            chosen.map(|(last, _)| format!(",{key}=127.0.0.{last}")).collect::<String>()
        };
        let mut text = match self.list {
            List::None => String::new(),
            List::Allow(set) if set == [false; 3] => ",allow=192.0.2.9".to_owned(),
            List::Allow(set) => hosts("allow", set),
            List::Deny(set) => hosts("deny", set),
        };
        if is_proxied {
            text += ",proxy";
        }
        if self.rate != Rate::Off {
            text += &format!(",rate={}", self.rate);
        }
        if self.burst != Rate::Off {
            text += &format!(",burst={}", self.burst);
        }
        text
    }

    pub(crate) fn permits(&self, peer: &Peer) -> bool {
        let Peer::V4 { ip: [127, 0, 0, last], .. } = *peer else { return true };
        let is_in = |set: [bool; 3]| set[usize::from(last) - 1];
        match self.list {
            List::None => true,
            List::Allow(set) => is_in(set),
            List::Deny(set) => !is_in(set),
        }
    }

    pub(crate) fn is_bytes(&self) -> bool {
        matches!(self.rate, Rate::Bytes(_))
    }

    /// Tokens a second, and the most that there are at once.
    fn limit(&self) -> Option<(f64, f64)> {
        let number = |amount| match amount {
            Rate::Off => None,
            Rate::Lines(number) | Rate::Bytes(number) => Some(f64::from(number)),
        };
        let rate = number(self.rate)?;
        Some((rate, number(self.burst).unwrap_or(rate)))
    }
}

impl Door {
    pub(crate) fn new(rules: Rules, is_proxied: bool) -> Self {
        Self { rules, is_proxied, buckets: HashMap::new(), changes: 0, last: None, last_datagram: None }
    }

    pub(crate) fn is_rated(&self) -> bool {
        self.rules.rate != Rate::Off
    }

    /// Other rules hold from now on.
    pub(crate) fn change(&mut self, rules: Rules, now: Duration) {
        let is_like = std::mem::discriminant(&rules.rate) == std::mem::discriminant(&self.rules.rate);
        let hosts: Vec<Host> = self.buckets.keys().copied().collect();
        for host in hosts {
            // By the old rate until now.
            self.bucket(host, now);
        }
        if !is_like {
            self.buckets.clear();
        }
        (self.rules, self.last, self.changes) = (rules, None, self.changes + 1);
        self.last_datagram = None;
    }

    /// What a host has left, with what time has brought.
    fn bucket(&mut self, host: Host, now: Duration) -> Option<&mut Bucket> {
        let (rate, burst) = self.rules.limit()?;
        let bucket = self.buckets.entry(host).or_insert(Bucket { left: burst, at: now });
        bucket.left = (bucket.left + rate * (now.saturating_sub(bucket.at)).as_secs_f64()).min(burst);
        bucket.at = now;
        Some(bucket)
    }

    /// What a host was read of last is known: what it has left was looked at then, and time has brought nothing since.
    pub(crate) fn charge(&mut self, host: Host, tokens: usize, at: Duration) {
        if let Some(bucket) = self.buckets.get_mut(&host) {
            bucket.left -= tokens as f64;
        } else if let Some(bucket) = self.bucket(host, at) {
            bucket.left -= tokens as f64;
        }
    }

    /// How much may be read of a host now: nothing, or so many bytes. The server knows of ticks of 10 ms.
    pub(crate) fn room(&mut self, host: Host, now: Duration) -> Option<f64> {
        let (Some((rate, _)), is_bytes) = (self.rules.limit(), self.rules.is_bytes()) else { return Some(f64::MAX) };
        let left = self.bucket(host, now)?.left + rate * 0.02 + 1.0;
        (left > 0.0).then(|| if is_bytes { left.max(LEAST_BYTES) } else { f64::MAX })
    }
}

/// Rules of the listeners of a third of the worlds; and for their clients what they ask for.
pub(crate) fn draw_doors(dice: &mut Dice, kernel: &mut Kernel) {
    let count = kernel.terms.listeners + usize::from(kernel.terms.has_udp);
    kernel.doors = (0..count).map(|_| Door::new(Rules::OPEN, false)).collect();
    kernel.is_punctual = kernel.is_calm;
    if !dice.chance(35) {
        return;
    }
    for number in 0..count {
        let is_proxied = number < kernel.terms.listeners && dice.chance(40);
        kernel.doors[number] = Door::new(Rules::draw(dice, is_proxied), is_proxied);
    }
    for number in 0..kernel.clients.len() {
        if kernel.doors[kernel.clients[number].listener].is_proxied {
            give_head(dice, kernel, number);
        }
    }
    note_delays(kernel);
}

/// Who is slowed, or has to say who it is first, is not read on time.
fn note_delays(kernel: &mut Kernel) {
    kernel.is_calm &= !kernel.doors.iter().any(|door| door.is_proxied || door.is_rated());
}

/// Rules for a change, where there are some.
pub(crate) fn draw_change(dice: &mut Dice, kernel: &mut Kernel) -> Option<Vec<Rules>> {
    let is_any = kernel.doors.iter().any(|door| door.is_proxied || door.rules != Rules::OPEN);
    (is_any && dice.chance(70)).then(|| kernel.doors.iter().map(|door| Rules::draw(dice, door.is_proxied)).collect())
}

/// A header for a client, in pieces.
fn give_head(dice: &mut Dice, kernel: &mut Kernel, number: usize) {
    let (bytes, head) = draw_head(dice, u16::try_from(number + 1).unwrap());
    let client = &mut kernel.clients[number];
    client.head = Some(head);
    let mut script: Vec<_> = client.script.drain(..).collect();
    let mut pieces = vec![bytes];
    // Some come together with the first lines, cut anywhere.
    if dice.chance(50)
        && let Some((_, Step::Write(lines, _))) = script.get(1)
    {
        pieces[0].extend_from_slice(lines);
        script.remove(1);
    }
    for _ in 0..dice.below(4) {
        let last = pieces.pop().unwrap();
        let (start, end) = last.split_at(dice.size(last.len() + 1));
        pieces.extend([start.to_vec(), end.to_vec()]);
    }
    pieces.retain(|piece| !piece.is_empty());
    // A probe says nothing at all; some are too late.
    if dice.chance(10) {
        pieces.clear();
        script.retain(|(_, step)| !matches!(step, Step::Write(..)));
    }
    let mut at = script.len().min(1);
    for piece in pieces {
        let delay = dice.pick(&[ms(0), ms(0), ms(0), ms(1), ms(300), ms(4000)]);
        script.insert(at, (delay, Step::Write(piece, 0)));
        at += 1;
    }
    // Who reads nothing but a header waits a little.
    if dice.chance(20) {
        let delay = draw_delay(dice);
        if let Some((after, _)) = script.get_mut(at) {
            *after += delay;
        }
    }
    client.script = script.into();
}

fn draw_head(dice: &mut Dice, port: u16) -> (Vec<u8>, Head) {
    let last = LAST[dice.size(3)];
    let named = Peer::V4 { ip: [10, 0, 0, last], port };
    let v1 = format!("PROXY TCP4 10.0.0.{last} 192.0.2.1 {port} 4445\r\n").into_bytes();
    let v2 = |command: u8, family: u8, rest: &[u8]| {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &len, rest].concat()
    };
    let from = [&[10, 0, 0, last, 192, 0, 2, 1][..], &port.to_be_bytes(), &4445_u16.to_be_bytes()].concat();
    let more = vec![4; dice.pick(&[0, 0, 3, 90, 300, 4000])];
    let (bytes, named, is_valid) = match dice.below(10) {
        0..=2 => (v1, Some(named), true),
        3..=5 => (v2(0x21, 0x11, &[from, more].concat()), Some(named), true),
        6 => (b"PROXY UNKNOWN and more\r\n".to_vec(), None, true),
        7 => (v2(0x20, 0, &more), None, true),
        8 => (v2(0x21, 0x51, &from), None, false),
        _ => {
            (dice.pick(&[&b"a line of somebody\n"[..], b"PROXY TCP4 10.0.0.1 x 1 2\r\n", b"\0"]).to_vec(), None, false)
        }
    };
    let len = bytes.len();
    (bytes, Head { len, named, is_valid })
}
