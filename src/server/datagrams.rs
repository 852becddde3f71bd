//! UDP: each datagram becomes lines as it is read, and nothing is kept of who sent it (P23), but what its host's rate has
//! left. Invariant: a datagram is taken from the kernel only while the sink has room for it; until then it waits there, and
//! what the kernel has to drop is told.

use std::io::ErrorKind;
use std::time::Duration;

use memchr::memchr_iter;

use super::Server;
use super::outlet::Out;
use super::tally::Missed;
use crate::config::listen::Framing;
use crate::config::syslog::Parse;
use crate::engine::framer::{Fed, Framer};
use crate::engine::gap::{Gap, Why};
use crate::engine::peer::Peer;
use crate::net::{LONGEST_DATAGRAM, Net};
use crate::sink::{Origin, Sink, Welcome};

/// Datagrams read from one listener before others are read: a default receive buffer holds some 270 small ones, and all of
/// it can be read at once. A thousand small ones take half a millisecond.
const ROUND: usize = 1024;
/// The same in bytes: as much as four connections may bring in a turn.
const ROUND_BYTES: usize = 1024 * 1024;
/// The kernel takes more than this of a receive buffer for each datagram, however short: what was queued when the server was
/// told to stop is no more than the buffer has of these.
const LEAST_KERNEL_BYTES: usize = 256;
/// The same where the kernel does not tell how large the buffer is.
const MOST_QUEUED: usize = 1 << 20;
/// How often the kernel is asked what it has dropped, while datagrams come.
const LOOK: Duration = Duration::from_secs(1);
/// After so many errors in a row nothing more is asked until the next look, or one that lasts would spin.
const MOST_ERRORS: usize = 8;
/// The longest pause for gathering beside a listener of UDP: in 5 ms, 55,000 datagrams a second fill a default receive buffer.
pub(super) const LONGEST_GATHER: Duration = Duration::from_millis(1);

/// A listener.
struct Socket<L> {
    /// Its place in the configuration.
    number: u8,
    socket: L,
    /// Whether a datagram may wait there: an event comes only once.
    may_have: bool,
    /// How many more are read before it is closed. Without end, while the server serves.
    left: usize,
}

#[inline(never)] // one copy, for size
fn newlines(bytes: &[u8]) -> usize {
    memchr_iter(b'\n', bytes).count()
}

/// The listeners of UDP that are open.
pub(super) struct Datagrams<L> {
    open: Vec<Socket<L>>,
    /// When the kernel is to be asked what it has dropped.
    look_at: Option<Duration>,
}

impl<L> Datagrams<L> {
    pub(super) fn new() -> Self {
        Self { open: Vec::new(), look_at: None }
    }

    /// One more listener, which is open.
    pub(super) fn add(&mut self, number: u8, socket: L) {
        self.open.push(Socket { number, socket, may_have: true, left: usize::MAX });
    }

    pub(super) fn are_closed(&self) -> bool {
        self.open.is_empty()
    }

    /// An event tells that datagrams wait at listener `number`.
    pub(super) fn wake(&mut self, number: usize) {
        let found = self.open.iter_mut().filter(|one| usize::from(one.number) == number);
        found.for_each(|one| one.may_have = true);
    }

    /// Whether a datagram may be waiting.
    pub(super) fn may_wait(&self) -> bool {
        self.open.iter().any(|one| one.may_have)
    }

    /// How long until the kernel is to be asked what it has dropped.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        self.look_at.map(|at| at.saturating_sub(now))
    }

    /// The end begins: what is queued is read, and no more. Sockets that somebody else keeps open are left to our successor,
    /// with what is queued there.
    #[inline(never)] // for size
    pub(super) fn begin_end<N: Net<Listener = L>>(&mut self, net: &mut N) {
        self.open.retain_mut(|one| !net.leave(&mut one.socket));
        for one in &mut self.open {
            one.may_have = true;
            one.left = net.udp_buffer(&one.socket).map_or(MOST_QUEUED, |bytes| 2 * bytes / LEAST_KERNEL_BYTES + 1);
        }
    }
}

impl<S: Sink, N: Net> Server<S, N> {
    /// Reads a round from each listener of UDP, as far as the sink has room.
    pub(super) fn read_datagrams(&mut self) {
        if self.rates.have_lost() || self.datagrams.may_wait() {
            self.read_rounds();
        }
    }

    #[inline(never)] // most servers have no UDP
    fn read_rounds(&mut self) {
        if !self.mark_lost() || !self.datagrams.may_wait() {
            return;
        }
        // The server's methods need `self` while they use what was read, so the buffer is not in it meanwhile.
        let mut buffer = self.read_buffer.take();
        let before = self.counters.datagrams;
        for at in 0..self.datagrams.open.len() {
            self.read_round(at, &mut buffer);
        }
        self.read_buffer.put_back(buffer);
        if self.counters.datagrams > before || self.datagrams.may_wait() {
            self.datagrams.look_at.get_or_insert(self.clock.now() + LOOK);
        }
    }

    /// The same for a listener though no event has told of it: in a long turn.
    pub(super) fn read_datagrams_between(&mut self) {
        self.datagrams.open.iter_mut().for_each(|one| one.may_have = true);
        self.read_datagrams();
    }

    fn read_round(&mut self, at: usize, buffer: &mut [u8]) {
        let (mut bytes, mut errors) = (0, 0);
        for _ in 0..ROUND {
            if self.outlet.is_stalled() || bytes >= ROUND_BYTES || !self.mark_lost() {
                return;
            }
            let Some(one) = self.datagrams.open.get_mut(at).filter(|one| one.may_have && one.left > 0) else { return };
            if !self.outlet.has_room_for_datagrams() {
                return self.stall();
            }
            // Behind it is room for a newline.
            let room = buffer.get_mut(..LONGEST_DATAGRAM).unwrap_or_default();
            match self.net.receive(&mut one.socket, room) {
                Ok((count, peer)) => {
                    let number = one.number;
                    one.left = one.left.saturating_sub(usize::from(one.left < usize::MAX));
                    (bytes, errors) = (bytes + count, 0);
                    self.take_datagram(number, &peer, buffer, count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    errors += 1;
                    one.may_have = error.kind() != ErrorKind::WouldBlock && errors < MOST_ERRORS;
                    if errors == MOST_ERRORS {
                        self.datagrams.look_at.get_or_insert(self.clock.now() + LOOK);
                    }
                }
            }
        }
    }

    /// A datagram of `count` bytes has come, at the start of `buffer`.
    fn take_datagram(&mut self, number: u8, peer: &Peer, buffer: &mut [u8], count: usize) {
        self.counters.datagrams = self.counters.datagrams.saturating_add(1);
        if !self.listeners.permits(number, peer) {
            return self.tally().datagram_not_allowed(peer);
        }
        self.counters.bytes = self.counters.bytes.saturating_add(count as u64);
        self.clock.note_bytes();
        // What ends it is no part of it: some senders put a `\n`, `\r\n` or NUL there.
        let datagram = buffer.get(..count).unwrap_or_default();
        let end = datagram.iter().rposition(|byte| !b"\n\r\0".contains(byte)).map_or(0, |last| last + 1);
        let datagram = datagram.get(..end).unwrap_or_default();
        if self.rates.are_on() && !self.keeps_to_rate(number, peer, datagram) {
            return;
        }
        if self.outlet.sink.welcome(peer) == Welcome::Nothing {
            // Its host's file can't be written. A connection would not be read; all other hosts can't wait for this one.
            return self.tally().datagram_held_up(peer, count);
        }
        let kept = if end > self.outlet.datagram_room() { self.cut_to_room(peer, datagram) } else { end };
        let lines = |server: &Self| server.counters.lines + server.counters.skipped_lines;
        let before = lines(self);
        self.frame_datagram(number, peer, buffer, kept);
        if self.rates.are_on() {
            self.charge(number, peer.host(), [lines(self) - before, count as u64]);
        }
    }

    /// Whether the host of a datagram keeps to its rate (P26). If not, the datagram is dropped, as UDP can't be slowed: the mark
    /// of it comes before the host's next line.
    fn keeps_to_rate(&mut self, number: u8, peer: &Peer, datagram: &[u8]) -> bool {
        if let Some(gap) = self.rates.let_in(number, peer.host(), self.clock.tick()) {
            if let Some((peer, gap)) = gap {
                self.mark_gap(&peer, gap);
            }
            return true;
        }
        // A syslog message is one, however many newlines it has.
        let is_message = self.listeners.rules(number).framing() == Framing::Nul;
        let ends = if is_message { 0 } else { newlines(datagram) };
        let gap = Gap { lines: ends as u64 + 1, bytes: (datagram.len() - ends) as u64, why: Why::Rate };
        let is_new = self.rates.keep_out(number, peer, gap, self.clock.tick());
        self.tally().datagram_over_rate(gap.bytes);
        if let Some(rate) = is_new {
            self.tally().datagrams_over_rate(peer.host(), &rate);
        }
        false
    }

    fn mark_gap(&mut self, peer: &Peer, gap: Gap) {
        self.outlet.sink.gap(&Origin { peer, wall_ms: self.clock.wall_ms(), parse: Parse::Off }, gap);
    }

    /// Marks what hosts lost that have not sent since, as far as the sink has room. False if some is left.
    pub(super) fn mark_lost(&mut self) -> bool {
        while let Some((peer, gap)) = self.rates.next_lost() {
            if !self.outlet.has_room_for(0) {
                self.rates.put_back(peer, gap);
                self.stall();
                return false;
            }
            self.mark_gap(&peer, gap);
        }
        true
    }

    /// How much of a long datagram is taken: all of it, unless the budget is so small that its lines, as they will be written, may
    /// not fit (P5).
    #[cold]
    fn cut_to_room(&mut self, peer: &Peer, datagram: &[u8]) -> usize {
        let room = self.outlet.datagram_room();
        if self.outlet.fits(datagram.len(), newlines(datagram) + 1) {
            return datagram.len();
        }
        let rest = datagram.get(room..).unwrap_or_default();
        // The line before it is whole then.
        let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        let ends = newlines(rest);
        let gap = Gap { lines: ends as u64 + 1, bytes: (rest.len() - ends) as u64, why: Why::Memory };
        self.tally().datagram_cut(peer, datagram.len(), room, &gap);
        self.mark_gap(peer, gap);
        room
    }

    /// The lines of a datagram, which are the first `end` bytes of the buffer, go to the sink: `\n` separates them. A syslog
    /// message is all of its datagram (RFC 5426); to the framers it ends in a NUL then, and may hold newlines.
    fn frame_datagram(&mut self, number: u8, peer: &Peer, buffer: &mut [u8], end: usize) {
        let (rules, parse) = (self.listeners.rules(number), self.listeners.parse(number));
        let is_message = rules.framing() == Framing::Nul;
        let mut start = 0;
        if is_message {
            // One inside would end the message, and what follows could pretend to be another's.
            buffer.iter_mut().take(end).filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
        }
        if is_message && newlines(buffer.get(..end).unwrap_or_default()) > 0 {
            // Each may become two bytes.
            start = LONGEST_DATAGRAM;
            buffer.copy_within(..end, start);
        }
        if let Some(mark) = buffer.get_mut(start + end) {
            *mark = if is_message { 0 } else { b'\n' };
        }
        let lines = buffer.get_mut(..=start + end).unwrap_or_default();
        let origin = Origin { peer, wall_ms: self.clock.wall_ms(), parse };
        let mut out = Out {
            net: &self.net,
            sink: &mut self.outlet.sink,
            onlookers: &mut self.desk,
            alerts: &mut self.alerts,
            origin,
        };
        let fed: Fed<'_> = Framer::new(rules.framing()).feed(lines, start, rules, &mut out);
        self.tally().fed(peer, &fed);
    }

    /// Asks the kernel what it has dropped, when it is time.
    pub(super) fn look_for_drops(&mut self) {
        let now = self.clock.now();
        if self.datagrams.look_at.take_if(|at| *at <= now).is_some() {
            self.look_at_all();
        }
    }

    #[inline(never)] // for size
    fn look_at_all(&mut self) {
        for at in 0..self.datagrams.open.len() {
            self.note_drops(at);
        }
        // One that had too many errors is asked again.
        self.datagrams.open.iter_mut().for_each(|one| one.may_have = true);
    }

    #[inline(never)] // for size
    fn note_drops(&mut self, at: usize) {
        let Some(one) = self.datagrams.open.get_mut(at) else { return };
        let (number, drops) = (usize::from(one.number), self.net.new_drops(&mut one.socket));
        if drops > 0 {
            let why = match self.outlet.is_stalled() {
                true => self.outlet.sink.describe() + " is full",
                false => "they came faster than they were read; a larger --udp-buffer holds more".to_owned(),
            };
            let listener = self.listeners.local_addrs().get(number).map(ToString::to_string).unwrap_or_default();
            self.tally().missed(&Missed { listener, drops, why });
        }
    }

    /// At the end: closes the listeners whose queue was read.
    #[inline(never)] // for size
    pub(super) fn close_read_out(&mut self) {
        while let Some(at) = self.datagrams.open.iter().position(|one| !one.may_have || one.left == 0) {
            self.note_drops(at);
            self.datagrams.open.swap_remove(at);
        }
    }
}
