//! Reading: bytes of a ready connection go through its framer to the sink, and the start of an unfinished line stays
//! (P1-P5, P8, P9). Invariant: nothing is read that the sink and the memory budget have no room for.

use std::io::ErrorKind;

use log::debug;

use super::Server;
use super::connection::{Connection, Readiness};
use super::deadlines::SILENCE_TICKS;
use super::life::{Close, Next};
use super::outlet::Out;
use super::proxied;
use super::tally::Tally;
use crate::engine::sniff::Opening;
use crate::net::{Key, LONGEST_DATAGRAM, Net};
use crate::sink::{Origin, Sink, Welcome};

/// Bytes asked of one `read`. CPU for 128-byte lines beside that of a loop that only copies, with reads of 64 KiB, from
/// 1, 16 and 1000 clients, best of five or six rounds, by KiB a read (two cores with 1 MiB of second-level cache each):
/// 16: 1.35, 1.35, 1.32; 32: 1.25, 1.33, 1.13; 64: 1.06, 1.09, 1.04; 96: 1.05, 1.06, 1.08; 128: 1.06, 1.06, 1.02;
/// 192: 0.98, 0.97, 1.11; 256: 0.98, 1.01, 1.09. Memory that was never read into is not resident.
pub(super) const READ_BYTES: usize = 256 * 1024;
/// The same when many connections are ready, so that turns stay short: a client that sends one line beside many that
/// send without pause waits for a turn.
const CROWD_READ_BYTES: usize = 64 * 1024;
/// So many ready connections are many: with full reads of the larger size, 4 MiB a turn, which take 3 ms.
const CROWD: usize = 16;

/// What the buffer has: before what is read of other framings than lines there is as much room, and a little more. Where all
/// are lines, none of that is ever resident.
pub(super) const BUFFER_BYTES: usize = 2 * READ_BYTES + 64;

const _: () = assert!(READ_BYTES > 2 * LONGEST_DATAGRAM, "a datagram and a newline fit, though each byte becomes two");

/// So much is read of a host whose file is not open while those of others can't be written: what a thousand of them hold on
/// to is no more than the least [`crate::Limits::memory`] that makes sense for so many.
const LITTLE_BYTES: usize = 1024;

/// The one buffer that all reads go to, and how much of it a read may use in this turn.
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    most: usize,
}

impl ReadBuffer {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BUFFER_BYTES], most: READ_BYTES }
    }

    /// A turn begins in which so many connections can be read.
    fn begin_turn(&mut self, ready: usize) {
        self.most = if ready > CROWD { CROWD_READ_BYTES } else { READ_BYTES };
    }

    /// All of it, for who needs the server while it uses what was read. [`Self::put_back`] has to follow.
    #[cfg(any(feature = "udp", feature = "tls"))]
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    #[cfg(any(feature = "udp", feature = "tls"))]
    pub(super) fn put_back(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// The most that a read may bring.
    #[cfg(feature = "tls")]
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Reads bring at most so much for a while. Gives what it was before.
    pub(super) fn limit(&mut self, most: usize) -> usize {
        let limited = most.min(self.most);
        std::mem::replace(&mut self.most, limited)
    }

    /// Ends that while.
    pub(super) fn limit_again(&mut self, most: usize) {
        self.most = most;
    }

    /// Its first bytes, `most` at most.
    #[cfg(feature = "status")]
    pub(super) fn first(&mut self, most: usize) -> &mut [u8] {
        let len = most.min(self.bytes.len());
        self.bytes.get_mut(..len).unwrap_or_default()
    }
}

impl<S: Sink, N: Net> Server<S, N> {
    /// Reads once from every ready connection, in the order in which they became ready (P9).
    pub(super) fn read_ready(&mut self) {
        let ready = self.clients.connections.ready_len();
        self.read_buffer.begin_turn(ready);
        self.begin_handshakes();
        for number in 1..=ready {
            if self.outlet.is_stalled() || !self.life.reads_in_turn() {
                return;
            }
            let Some(key) = self.clients.connections.pop_ready() else { return };
            let before = self.bytes_read();
            let next = if self.is_handshake_late(key) { Next::Again } else { self.read(key) };
            self.act_on(key, next);
            if self.life.is_past(self.limits.drain_timeout, self.clock.now()) {
                self.note_last_bytes(key, self.bytes_read() - before);
            }
            // Datagrams can't wait for a crowd of clients.
            if number % CROWD == 0 && !self.datagrams.are_closed() {
                self.read_datagrams_between();
            }
        }
    }

    /// Bytes that were read so far, also those that are of no line.
    pub(super) fn bytes_read(&self) -> u64 {
        self.counters.bytes.wrapping_add(self.secured.unseen_bytes())
    }

    /// Acts on what a read came to. The connection is not on the ready queue.
    pub(super) fn act_on(&mut self, key: Key, next: Next) {
        let Some(conn) = self.clients.connections.get_mut(key) else { return };
        match next {
            Next::Again | Next::Full => {
                if !conn.is_queued() {
                    conn.readiness = Readiness::Queued;
                }
                // Behind the others, those that filled the sink now would fill it again before it is this one's turn
                // (P9).
                self.clients.connections.requeue(key, matches!(next, Next::Full));
            }
            Next::HeldUp => self.clients.connections.hold_up(key),
            Next::Slowed => self.slow_down(key),
            Next::Wait => conn.readiness = Readiness::NotReady,
            Next::Close(why) => self.close(key, why),
        }
    }

    /// Reads once, as much as the rate of its host leaves.
    pub(super) fn read(&mut self, key: Key) -> Next {
        if self.rates.are_on() { self.read_at_rate(key) } else { self.read_freely(key) }
    }

    /// Reads once; or twice, if the client's end is in the kernel already, so that a client that sent a line and its
    /// FIN at once is closed in the turn in which it came.
    pub(super) fn read_freely(&mut self, key: Key) -> Next {
        let ends = |conn: &mut Connection<_>| matches!(conn.readiness, Readiness::QueuedToEnd | Readiness::QueuedGone);
        let is_to_end = self.clients.connections.get_mut(key).is_some_and(ends);
        match self.read_once(key, is_to_end) {
            Next::Again if is_to_end => match self.read_once(key, is_to_end) {
                // It was read in this turn: the others are first once the sink has room.
                Next::Full => Next::Again,
                next => next,
            },
            next => next,
        }
    }

    /// Reads once. `is_to_end`: the end is in the kernel, so a short read does not mean that nothing is left.
    pub(super) fn read_once(&mut self, key: Key, is_to_end: bool) -> Next {
        let Some(conn) = self.clients.connections.get_mut(key) else { return Next::Wait };
        if conn.is_owed() {
            // Its end was read already. An event can only say that it is gone, and does not wait for its receipt.
            return if conn.readiness == Readiness::QueuedGone { Next::Close(Close::Gone) } else { Next::Wait };
        }
        let Some(allowance) = self.outlet.allowance(conn.framer.pending()) else {
            self.stall();
            return Next::Full;
        };
        let is_headed = conn.opening == Opening::Proxied;
        let allowance = match self.outlet.sink.welcome(&conn.peer) {
            // Who is welcome is not known before.
            _ if is_headed => allowance.min(proxied::READ_BYTES),
            Welcome::All => allowance,
            Welcome::Little => allowance.min(LITTLE_BYTES),
            Welcome::Nothing => return Next::HeldUp,
        };
        let is_open = !conn.opening.is_decided();
        if !is_headed && self.secured.has(conn.listener) {
            return self.read_secured(key, allowance, is_to_end);
        }
        // What is behind a header may owe, or is no line there.
        let is_secured = is_headed && self.secured.has(conn.listener);
        let (is_to_end, leaves_rest) = (is_to_end || is_secured, is_headed && (is_secured || self.rates.are_on()));
        // The server's methods need `self` while they use what was read, so the buffer is not in it meanwhile.
        let mut buffer = std::mem::take(&mut self.read_buffer.bytes);
        let most = allowance.min(self.read_buffer.most);
        let start = conn.framer.room_before(most);
        let room = buffer.get_mut(start..start + most).unwrap_or_default();
        let read = if leaves_rest { self.read_header(key, room) } else { self.net.read(&mut conn.stream, room) };
        let next = match read {
            Ok(0) if self.limits.receipt && self.owe_receipt(key) => Next::Wait,
            Ok(0) => Next::Close(Close::Ended),
            Ok(count) => {
                // Trap: a FIN that came with the data makes no second event, so a short read alone is not the end.
                let is_emptied = count < room.len() && !is_to_end;
                let header =
                    if is_headed { self.take_header(key, room.get(..count).unwrap_or_default()) } else { Ok(0) };
                let next = if is_emptied { Next::Wait } else { Next::Again };
                match header {
                    Err(refused) => refused,
                    // All of it is header.
                    Ok(header) if header == count => next,
                    Ok(header) => {
                        let read = buffer.get_mut(..start + count).unwrap_or_default();
                        self.feed(key, read, start + header, is_open);
                        next
                    }
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Next::Again,
                ErrorKind::WouldBlock => Next::Wait,
                _ => Next::Close(Close::Failed(error)),
            },
        };
        self.read_buffer.bytes = buffer;
        next
    }

    /// The sink is full: nothing is read until it has taken some.
    #[cold]
    pub(super) fn stall(&mut self) {
        if self.outlet.stall() {
            self.counters.sink_stalls = self.counters.sink_stalls.saturating_add(1);
            debug!("[out] {} is full: reading stops until it has taken some", self.outlet.sink.describe());
        }
    }

    /// Keeps the start of a line for which the memory budget has no room: whoever is quiet gives way, and then somebody
    /// pays (P5).
    #[cold]
    fn keep_at_a_price(&mut self, key: Key, tail: &[u8]) {
        self.free_memory();
        let Some(listener) = self.clients.connections.get(key).map(|conn| conn.listener) else { return };
        // Not `tally()`, which would borrow the clients too.
        let (counters, notices, now) = (&mut self.counters, &mut self.notices, self.clock.now());
        let mut tally = Tally { counters, notices, limits: &self.limits, now };
        let rules = self.listeners.rules(listener);
        self.clients.pay_and_keep(key, tail, rules, |peer, bytes| tally.dropped_for_budget(peer, bytes));
    }

    /// Gives what was read from a connection, the bytes of `buffer` from `start` on, to its framer. `is_open`: what it speaks
    /// is not known yet.
    pub(super) fn feed(&mut self, key: Key, buffer: &mut [u8], start: usize, is_open: bool) {
        let read_bytes = (buffer.len() - start) as u64;
        let start = if is_open { start + self.look_at(key, buffer.get(start..).unwrap_or_default()) } else { start };
        let Some(conn) = self.clients.note_bytes(key, self.clock.tick()) else { return };
        self.clock.note_bytes();
        self.counters.bytes = self.counters.bytes.saturating_add(read_bytes);
        let peer = conn.peer;
        let had_pending = conn.framer.pending() > 0;
        let parse = self.listeners.parse(conn.listener);
        let origin = Origin { peer: &peer, wall_ms: self.clock.wall_ms(), parse };
        let mut out = Out {
            net: &self.net,
            sink: &mut self.outlet.sink,
            onlookers: &mut self.desk,
            alerts: &mut self.alerts,
            origin,
        };
        let rules = self.listeners.rules(conn.listener);
        let fed = conn.framer.feed(buffer, start, rules, &mut out);
        if !fed.tail.is_empty() {
            if !self.clients.keep(key, fed.tail, rules) {
                self.keep_at_a_price(key, fed.tail);
            }
            if !had_pending || fed.is_new {
                self.clients.begin_line(key, self.clock.tick());
            }
        } else if had_pending {
            self.clients.hold(key);
        } else if is_open && conn.framer.is_undecided() {
            self.clients.begin_line(key, self.clock.tick());
        }
        self.account(key, read_bytes, fed.lines);
        if fed.skipped + fed.cut > 0 {
            self.clients.accounts.drop_lines(key.index, fed.skipped + fed.cut);
        }
        self.tally().fed(&peer, &fed);
        if is_open {
            self.await_silence(key);
        }
        if fed.is_broken {
            self.break_off(key);
        }
    }

    /// Looks at what comes before a connection's first newline, and says so if that is another protocol. Returns how many
    /// bytes at its start are no line: none, but for a byte order mark. No line after the first comes here.
    #[cold]
    fn look_at(&mut self, key: Key, read: &[u8]) -> usize {
        let Some(conn) = self.clients.connections.get_mut(key) else { return 0 };
        let framing = self.listeners.rules(conn.listener).framing();
        let mark_end = conn.opening.end_of_mark(conn.framer.pending_bytes(), read, framing);
        if mark_end.is_some() {
            // Of one that came in pieces, the others are there.
            conn.framer.forget();
        }
        let lines = read.get(mark_end.unwrap_or_default()..).unwrap_or_default();
        let was_silent = self.clock.tick() >= conn.last_word.saturating_add(SILENCE_TICKS);
        let (peer, protocol) = (conn.peer, conn.opening.feed(conn.framer.pending_bytes(), lines, was_silent, framing));
        if mark_end.is_some() {
            self.clients.hold(key);
        }
        if let Some(protocol) = protocol {
            self.tally().speaks(&peer, protocol, framing);
        }
        read.len() - lines.len()
    }

    /// If silence would tell what a connection speaks, its end is looked for. No line after the first comes here.
    #[cold]
    fn await_silence(&mut self, key: Key) {
        let is_asked = |conn: &Connection<_>| conn.opening.is_doubtful(conn.framer.pending_bytes());
        if self.clients.connections.get(key).is_some_and(is_asked) {
            self.clients.arm(key);
        }
    }

    /// Counts what a connection brought, for the status endpoint and for its receipt.
    #[inline]
    pub(super) fn account(&mut self, key: Key, bytes: u64, lines: u64) {
        self.clients.accounts.count(key.index, bytes, lines, self.clock.now());
        if self.limits.receipt {
            self.count_for_receipt(key, lines);
        }
    }

    /// Where what happens is counted and said.
    pub(super) fn tally(&mut self) -> Tally<'_> {
        let now = self.clock.now();
        Tally { counters: &mut self.counters, notices: &mut self.notices, limits: &self.limits, now }
    }
}
