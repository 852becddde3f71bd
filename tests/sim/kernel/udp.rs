//! A UDP socket of the simulated kernel: datagrams arrive, wait for their turn, and are dropped when there is no room.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::time::Duration;

use lumberjack::Peer;

use super::{Event, Kernel, NETWORK};

/// The longest pause of a server that has such a socket.
const LONGEST_PAUSE: Duration = Duration::from_millis(1);

/// A datagram that was read.
pub(crate) struct Read {
    pub(crate) peer: Peer,
    pub(crate) bytes: Vec<u8>,
    /// Whether its sender may send.
    pub(crate) is_permitted: bool,
    /// Whether it may be dropped, as there is a rate.
    pub(crate) is_rated: bool,
}

/// The socket, and who sends to it.
#[derive(Default)]
pub(crate) struct Udp {
    /// What is sent, and how long after the one before.
    pub(crate) script: VecDeque<(Duration, Peer, Vec<u8>)>,
    /// The most datagrams that wait.
    pub(crate) room: usize,
    is_open: bool,
    queue: VecDeque<(Duration, Peer, Vec<u8>)>,
    /// All that the server read, in order.
    pub(crate) read: Vec<Read>,
    /// How many were dropped, and how many of these the server was told of.
    pub(crate) dropped: u32,
    told: u32,
    /// How many lines of each peer its host's rate was charged with.
    pub(super) charged: HashMap<Peer, usize>,
    /// How often the rate had changed by then.
    pub(super) changes: usize,
    /// How many had come in when the server was told to stop.
    before_stop: Option<usize>,
}

impl Udp {
    pub(super) fn open(&mut self) {
        self.is_open = true;
    }

    /// Bytes of its receive buffer: the server takes each datagram for 256 of twice these.
    pub(super) fn buffer(&self) -> usize {
        self.room * 128
    }

    /// The server closes it: all that waited at its stop was read.
    pub(super) fn close(&mut self, is_over: bool) {
        self.is_open = false;
        let left = self.before_stop.unwrap_or(usize::MAX).saturating_sub(self.read.len());
        assert!(is_over || left == 0, "{left} datagrams were queued at the stop, and are lost");
        assert!(is_over || self.told == self.dropped, "{} were dropped, {} told", self.dropped, self.told);
    }

    /// What is true when nothing will ever happen again.
    pub(super) fn check_stillness(&self) {
        assert!(self.queue.is_empty(), "{} datagrams were never read", self.queue.len());
        assert_eq!(self.told, self.dropped, "drops that nobody was told of");
    }

    /// What the server is told of the drops.
    pub(super) fn new_drops(&mut self) -> u32 {
        self.dropped - std::mem::replace(&mut self.told, self.dropped)
    }
}

impl Kernel {
    /// The next datagram arrives.
    pub(super) fn datagram(&mut self) {
        let (now, number) = (self.now, self.terms.listeners);
        let Some((_, peer, bytes)) = self.udp.script.pop_front() else { return };
        if self.udp.is_open && self.udp.queue.len() < self.udp.room {
            self.udp.queue.push_back((now, peer, bytes));
            self.listener_edges.insert(number);
        } else if self.udp.is_open {
            self.udp.dropped += 1;
        }
        if let Some((delay, ..)) = self.udp.script.front() {
            let next = now + *delay;
            self.at(next, Event::Datagram);
        }
    }

    /// The server is told to stop.
    pub(crate) fn note_stop_of_datagrams(&mut self) {
        self.udp.before_stop = Some(self.udp.read.len() + self.udp.queue.len());
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        if self.dice.chance(self.luck.interrupted) {
            self.work += 1;
            return Err(ErrorKind::Interrupted.into());
        }
        // At the end, errors without end would be the end of what is queued.
        if self.stop_at.is_none() && self.dice.chance(self.luck.aborted) {
            return Err(io::Error::from_raw_os_error(self.dice.pick(&NETWORK)));
        }
        self.work += 1;
        let Some((arrived_at, peer, bytes)) = self.udp.queue.pop_front() else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let waited = self.now - arrived_at;
        let is_excused = !self.is_calm || self.luck.aborted > 0 || self.stop_at.is_some();
        assert!(
            is_excused || waited <= self.terms.gather.min(LONGEST_PAUSE),
            "a datagram of {peer} waited for {waited:?}"
        );
        buffer[..bytes.len()].copy_from_slice(&bytes);
        (self.last_read_at, self.has_read) = (self.now, true);
        let count = bytes.len();
        // At the end there are no rates; in the turn of the stop there may be.
        let (is_permitted, number) = (self.permits(self.terms.listeners, &peer), self.terms.listeners);
        let has_ended = self.stop_at.is_some_and(|stop_at| stop_at < self.now);
        let is_rated = self.doors.get(number).is_some_and(|door| door.is_rated()) && !has_ended;
        if let Some(door) = self.doors.get_mut(number) {
            door.last_datagram = Some((peer, bytes.len(), self.now));
        }
        self.udp.read.push(Read { peer, bytes, is_permitted, is_rated });
        Ok((count, peer))
    }
}
