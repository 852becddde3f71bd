//! The simulated kernel: sockets with receive queues, edge-triggered events, a clock, and its bad days. Time passes only
//! in `poll`, so that a turn sees one moment, as the server reads its clock once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use lumberjack::internals::{Key, ListenOptions, Net, Now, Ready, Source};
use lumberjack::{Host, ListenAddr, Peer};

use super::client::Client;
use super::dice::Dice;
use super::sink::Drain;

/// What `accept` says when the process has no descriptor left, and when the system has none, or no memory: ENFILE, ENOBUFS,
/// ENOMEM.
const EMFILE: i32 = 24;
const FAMINE: [i32; 3] = [23, 105, 12];
/// What a network that is out of order says through it, for as long as it is: EPROTO, ENETDOWN, EHOSTUNREACH.
const NETWORK: [i32; 3] = [71, 100, 113];
/// What `epoll_ctl` says: ENOMEM, ENOSPC.
const UNWATCHED: [i32; 2] = [12, 28];
/// What a broken connection says, once: ECONNRESET, ETIMEDOUT, EHOSTUNREACH.
const BROKEN: [i32; 3] = [104, 110, 113];

/// A sink that failed is tried again after 5 s at most, and accepting that paused after 1 s; a little more.
const SINK_TRIED: Duration = Duration::from_millis(5100);
const ACCEPT_TRIED: Duration = Duration::from_millis(1100);
/// What the drain takes besides `--drain-timeout`, at most: its last looks.
const LAST_LOOKS: Duration = Duration::from_millis(600);

/// What the world does besides its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A client takes its next step.
    Client(usize),
    /// The sink changes.
    Sink(Drain),
    /// The sink's reader reads.
    SinkReads,
    /// The process stands still for so long.
    Jump(Duration),
    /// For so long, `accept` fails: with what the network says, or, if the flag is set, since the system is short of
    /// descriptors, whatever the server gives up.
    Outage(Duration, bool),
    /// Somebody asks the server to stop.
    Stop,
}

/// One end of a connection, as the kernel keeps it.
pub(crate) struct Socket {
    pub(crate) peer: Peer,
    client: usize,
    door: usize,
    pub(crate) queue: VecDeque<u8>,
    pub(crate) room: usize,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    is_reset_told: bool,
    /// Whether the kernel had no memory to watch it.
    is_unlucky: bool,
    /// The client whose write waits for room.
    pub(crate) waiting_writer: Option<usize>,
    key: Option<Key>,
    has_edge: bool,
    /// Since when something is there that was not read.
    arrived_at: Option<Duration>,
    /// When the server last read from it, or took it.
    last_activity: Duration,
    /// The same, before the turn in which that was.
    activity_before: Duration,
    pub(crate) goodbye_at: Option<Duration>,
    /// How many reads there had been, and may be before its own: since the server was told, or read less than there was.
    ready_since: Option<(u64, u64)>,
    pub(crate) is_closed: bool,
    pub(crate) closed_at: Option<Duration>,
    /// Whether it waited at a door that closed.
    pub(crate) is_stranded: bool,
    /// When the line that has no end yet began, and how long it is.
    pub(crate) line_since: Option<Duration>,
    line_len: usize,
    /// Every byte that the server read.
    pub(crate) read: Vec<u8>,
    /// Where in `read` the server said goodbye, and so sent its pending line out without an ending.
    pub(crate) flushes: Vec<usize>,
}

/// The rates of bad luck, in percent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Luck {
    pub(crate) interrupted: u64,
    pub(crate) aborted: u64,
    pub(crate) no_memory: u64,
    pub(crate) spurious: u64,
    pub(crate) meanwhile: u64,
}

/// What a world promises its clients, for the checks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) idle_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) gather: Duration,
    pub(crate) max_line: usize,
    /// The most that the sink may hold.
    pub(crate) sink_share: usize,
    pub(crate) max_connections: usize,
    pub(crate) doors: usize,
    pub(crate) per_host: Option<usize>,
    pub(crate) rejects: bool,
}

impl Socket {
    /// Whether the server took it in, and did not turn it away.
    pub(crate) fn is_taken(&self) -> bool {
        self.key.is_some()
    }

    fn note_line(&mut self, chunk: &[u8], now: Duration) {
        match chunk.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => {
                self.line_len = chunk.len() - at - 1;
                self.line_since = (self.line_len > 0).then_some(now);
            }
            None => {
                self.line_len += chunk.len();
                self.line_since = self.line_since.or(Some(now));
            }
        }
    }

    /// The most that the server may hold for its line: what is held grows by a quarter, and in steps of 64 (P4).
    fn most_held(&self, max_line: usize) -> usize {
        let is_there = !self.is_closed && self.line_len > 0;
        let most = (max_line + 1).next_multiple_of(64);
        if is_there { (self.line_len + self.line_len / 4 + 64).next_multiple_of(64).min(most) } else { 0 }
    }

    fn is_lingering(&self) -> bool {
        self.goodbye_at.is_some() && !self.is_closed
    }

    fn silent_since(&self) -> Option<Duration> {
        self.goodbye_at.map(|goodbye_at| goodbye_at.max(self.last_activity))
    }
}

pub(crate) struct Kernel {
    pub(crate) now: Duration,
    /// When the world began.
    pub(crate) start: Duration,
    pub(crate) dice: Dice,
    pub(crate) luck: Luck,
    pub(crate) terms: Terms,
    pub(crate) sockets: Vec<Socket>,
    pub(crate) clients: Vec<Client>,
    /// Who waits at which door; `None`: it is closed.
    backlogs: Vec<Option<VecDeque<usize>>>,
    listener_edges: BTreeSet<usize>,
    outage_until: Duration,
    is_famine: bool,
    /// Who gave way for a descriptor since somebody came in.
    gave_way: usize,
    /// Polls since a descriptor became free that somebody waits for.
    polls_since_free: Option<u32>,
    reads_in_turn: u64,
    accepts_in_turn: u64,
    pub(crate) descriptors: usize,
    pub(crate) descriptor_limit: usize,
    /// How many were taken in and are not closed.
    pub(crate) taken: usize,
    /// The most of them at once.
    pub(crate) most_taken: usize,
    was_short_at: Option<Duration>,
    pub(crate) stop_at: Option<Duration>,
    pub(crate) is_stop_asked: bool,
    /// A wake-up is on its way to the poll.
    pub(crate) is_woken: bool,
    /// Whether nothing ever keeps the server from its timers: then they are on time.
    pub(crate) is_calm: bool,
    /// Whether the server has ended, by an error or otherwise: what it closes then is excused.
    pub(crate) is_over: bool,
    last_read_at: Duration,
    /// Whether something was read since the last pause.
    has_read: bool,
    /// When a poll last left events for the next.
    cut_at: Option<Duration>,
    /// Whether the drain has seen a quarter of a second in which nothing came.
    was_quiet: bool,
    /// Who was read last, how often in a row, and what that brought.
    last_reader: Option<usize>,
    in_a_row: u64,
    bytes_in_a_row: usize,
    /// What the server may hold for all lines together, at most, and the most that this was.
    may_hold: usize,
    pub(crate) may_have_held: usize,
    /// Since when somebody waits who could come in.
    could_accept_since: Option<Duration>,
    pub(crate) sink: Drain,
    /// Since when the sink takes everything, and the loop runs on time.
    open_since: Duration,
    polls_since_open: u32,
    /// When the sink last took something.
    pub(crate) progress_at: Duration,
    pub(crate) has_sink_edge: bool,
    is_sink_watched: bool,
    timeline: BTreeMap<(Duration, u64), Event>,
    serial: u64,
    edges: BTreeSet<usize>,
    stale: Vec<Key>,
    /// Nothing will ever happen again, unless somebody stops the server.
    pub(crate) is_still: bool,
    /// Reads of clients that were not told goodbye.
    reads: u64,
    /// Calls and events since the last turn: without one of them, and without waiting, a turn did nothing.
    pub(crate) work: u64,
    pub(crate) polls: u64,
}

impl Kernel {
    pub(crate) fn new(dice: Dice, terms: Terms) -> Self {
        Self {
            now: Duration::ZERO,
            start: Duration::ZERO,
            dice,
            luck: Luck::default(),
            terms,
            sockets: Vec::new(),
            clients: Vec::new(),
            backlogs: Vec::new(),
            listener_edges: BTreeSet::new(),
            outage_until: Duration::ZERO,
            is_famine: false,
            gave_way: 0,
            polls_since_free: None,
            reads_in_turn: 0,
            accepts_in_turn: 0,
            descriptors: 0,
            descriptor_limit: usize::MAX,
            taken: 0,
            most_taken: 0,
            was_short_at: None,
            stop_at: None,
            is_stop_asked: false,
            is_woken: false,
            is_calm: true,
            is_over: false,
            last_read_at: Duration::ZERO,
            has_read: false,
            cut_at: None,
            was_quiet: false,
            last_reader: None,
            in_a_row: 0,
            bytes_in_a_row: 0,
            may_hold: 0,
            may_have_held: 0,
            could_accept_since: None,
            sink: Drain::Open,
            open_since: Duration::ZERO,
            polls_since_open: 0,
            progress_at: Duration::ZERO,
            has_sink_edge: false,
            is_sink_watched: false,
            timeline: BTreeMap::new(),
            serial: 0,
            edges: BTreeSet::new(),
            stale: Vec::new(),
            is_still: false,
            reads: 0,
            work: 0,
            polls: 0,
        }
    }

    pub(crate) fn at(&mut self, time: Duration, event: Event) {
        self.serial += 1;
        self.timeline.insert((time, self.serial), event);
    }

    /// A client connects. `None`: nobody listens.
    pub(crate) fn connect(&mut self, client: usize) -> Option<usize> {
        let Client { peer, room, door, .. } = self.clients[client];
        let index = self.sockets.len();
        self.backlogs.get_mut(door)?.as_mut()?.push_back(index);
        self.listener_edges.insert(door);
        self.sockets.push(Socket {
            peer,
            client,
            door,
            queue: VecDeque::new(),
            room,
            fin: false,
            rst: false,
            is_reset_told: false,
            is_unlucky: false,
            waiting_writer: None,
            key: None,
            has_edge: false,
            arrived_at: None,
            last_activity: Duration::ZERO,
            activity_before: Duration::ZERO,
            goodbye_at: None,
            ready_since: None,
            is_closed: false,
            closed_at: None,
            is_stranded: false,
            line_since: None,
            line_len: 0,
            read: Vec::new(),
            flushes: Vec::new(),
        });
        Some(index)
    }

    /// Something of a client has arrived: bytes or an end.
    pub(crate) fn arrived(&mut self, socket: usize) {
        let found = &mut self.sockets[socket];
        if found.key.is_some() && !found.is_closed {
            found.has_edge = true;
            found.arrived_at = found.arrived_at.or(Some(self.now));
            self.edges.insert(socket);
        }
    }

    fn next_event_at(&self) -> Option<Duration> {
        self.timeline.first_key_value().map(|((time, _), _)| *time)
    }

    /// Lets everything happen that is due.
    pub(crate) fn happen(&mut self) {
        while self.next_event_at().is_some_and(|time| time <= self.now) {
            let Some((_, event)) = self.timeline.pop_first() else { return };
            match event {
                Event::Client(client) => super::client::step(self, client),
                Event::Sink(drain) => {
                    self.sink = drain;
                    self.runs_again();
                    self.has_sink_edge |= drain != Drain::Shut;
                    if let Drain::Pipe { every, .. } = drain {
                        self.at(self.now + every, Event::SinkReads);
                    }
                }
                Event::SinkReads => {
                    if let Drain::Pipe { room, every, reads } = self.sink {
                        self.sink = Drain::Pipe { room: room.max(reads), every, reads };
                        self.has_sink_edge = true;
                        self.at(self.now + every, Event::SinkReads);
                    }
                }
                Event::Jump(time) => {
                    self.now += time;
                    self.runs_again();
                }
                Event::Outage(time, is_famine) => {
                    self.outage_until = self.now + time;
                    self.is_famine = is_famine;
                }
                Event::Stop => self.is_stop_asked = true,
            }
        }
    }

    /// What was expected of a server that runs on time begins anew.
    fn runs_again(&mut self) {
        (self.open_since, self.polls_since_open, self.could_accept_since) = (self.now, 0, None);
    }

    /// Whether the server has had the time to notice that the sink takes everything.
    fn is_open(&self) -> bool {
        self.sink == Drain::Open && self.polls_since_open > 2 && self.now - self.open_since >= SINK_TRIED
    }

    /// What somebody would do within the next millisecond happens now, while the server is in the middle of a turn:
    /// a given client's next step, or whoever's is first.
    pub(super) fn hurry(&mut self, client: Option<usize>) {
        if !self.dice.chance(self.luck.meanwhile) {
            return;
        }
        let latest = (self.now + Duration::from_millis(1), u64::MAX);
        // Between the last look at a door and its close no server can see who comes.
        let is_too_late = |number: usize| {
            let next = self.clients[number].script.front();
            self.stop_at.is_some() && matches!(next, Some((_, super::client::Step::Connect)))
        };
        let is_wanted = |event: &Event| match (event, client) {
            (Event::Client(found), Some(client)) => *found == client,
            (Event::Client(found), None) => !is_too_late(*found),
            _ => false,
        };
        let found = self.timeline.range(..latest).find(|(_, event)| is_wanted(event)).map(|(at, _)| *at);
        if let Some(Event::Client(client)) = found.and_then(|at| self.timeline.remove(&at)) {
            super::client::step(self, client);
        }
    }

    fn has_news(&self) -> bool {
        let is_sink_ready = self.has_sink_edge && self.is_sink_watched;
        !self.listener_edges.is_empty()
            || !self.edges.is_empty()
            || is_sink_ready
            || self.is_stop_asked
            || self.is_woken
    }

    fn collect(&mut self, ready: &mut Vec<Ready>) {
        if std::mem::take(&mut self.is_woken) {
            ready.push(Ready { source: Source::Wake, ends: false, failed: false });
        }
        for door in std::mem::take(&mut self.listener_edges) {
            ready.push(Ready { source: Source::Listener(door), ends: false, failed: false });
        }
        if self.is_sink_watched && std::mem::take(&mut self.has_sink_edge) {
            ready.push(Ready { source: Source::Sink, ends: false, failed: self.sink == Drain::Gone });
        }
        // A poll may bring fewer events than there are: the others come with the next.
        let most = if self.dice.chance(10) { 1 + self.dice.size(4) } else { usize::MAX };
        let chosen: Vec<usize> = self.edges.iter().copied().take(most).collect();
        if chosen.len() < self.edges.len() {
            self.cut_at = Some(self.now);
        }
        for index in chosen {
            self.edges.remove(&index);
            let socket = &mut self.sockets[index];
            socket.has_edge = false;
            if let (Some(key), false) = (socket.key, socket.is_closed) {
                let ends = socket.fin || socket.rst;
                socket.ready_since = socket.ready_since.or(Some((self.reads, 2 * self.taken as u64 + 2)));
                ready.push(Ready { source: Source::Connection(key), ends, failed: socket.rst });
            }
        }
        if self.dice.chance(self.luck.spurious) && !self.stale.is_empty() {
            let key = self.stale[self.dice.size(self.stale.len())];
            ready.push(Ready { source: Source::Connection(key), ends: self.dice.chance(50), failed: false });
        }
        self.work += ready.len() as u64;
    }

    /// Waits as epoll does: until there is news, or for `timeout`.
    fn wait(&mut self, timeout: Option<Duration>) {
        let end = timeout.map(|timeout| self.now + timeout);
        loop {
            self.happen();
            if self.has_news() || end.is_some_and(|end| self.now >= end) {
                return;
            }
            if self.dice.chance(self.luck.interrupted) {
                self.work += 1;
                return;
            }
            match (self.next_event_at(), end) {
                (Some(next), Some(end)) => self.now = next.min(end).max(self.now),
                (Some(next), None) => self.now = next.max(self.now),
                (None, Some(end)) => self.now = end,
                (None, None) => {
                    self.is_still = true;
                    return;
                }
            }
        }
    }

    /// There is room again, or an end: a write that waits goes on a little later, as a window update takes its time.
    fn wake_writer(&mut self, index: usize) {
        if let Some(client) = self.sockets[index].waiting_writer.take() {
            let soon = self.now + Duration::from_micros(self.dice.below(1500));
            self.at(soon, Event::Client(client));
        }
    }

    /// The server takes the next from a door. Only what goes on from there counts as work: an error that is tried again
    /// at once, again and again, is a spin.
    fn accept(&mut self, door: usize) -> io::Result<usize> {
        self.hurry(None);
        if self.dice.chance(self.luck.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.outage_until > self.now && !self.is_famine {
            return Err(io::Error::from_raw_os_error(self.dice.pick(&NETWORK)));
        }
        let backlog = self.backlogs[door].as_mut().expect("a listener that is open");
        if backlog.is_empty() {
            self.work += 1;
            return Err(ErrorKind::WouldBlock.into());
        }
        if self.outage_until > self.now {
            self.was_short_at = Some(self.now);
            return Err(io::Error::from_raw_os_error(self.dice.pick(&FAMINE)));
        }
        if self.descriptors >= self.descriptor_limit {
            // After a pause, one more may give way.
            self.gave_way *= usize::from(self.was_short_at == Some(self.now));
            self.was_short_at = Some(self.now);
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        if self.dice.chance(self.luck.aborted) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let index = backlog.pop_front().expect("somebody waits");
        assert_eq!(self.sockets[index].door, door, "at the door that it came to");
        self.work += 1;
        self.descriptors += 1;
        (self.could_accept_since, self.polls_since_free) = (None, None);
        self.gave_way = 0;
        self.accepts_in_turn += 1;
        Ok(index)
    }

    /// The server closes its end.
    fn close(&mut self, index: usize) {
        self.descriptors -= 1;
        self.wake_writer(index);
        let socket = &mut self.sockets[index];
        self.may_hold -= socket.most_held(self.terms.max_line);
        socket.is_closed = true;
        socket.closed_at = Some(self.now);
        self.edges.remove(&index);
        let Some(key) = socket.key else { return self.check_refusal(index) };
        self.taken -= 1;
        self.stale.push(key);
        if self.is_over {
            return;
        }
        if self.was_short_at.is_some() {
            self.polls_since_free = Some(0);
        }
        self.check_giving_way(index);
        let socket = &self.sockets[index];
        let by_client = socket.fin || socket.rst;
        assert!(
            socket.queue.is_empty(),
            "{} bytes of {} were in the kernel when the server closed it",
            socket.queue.len(),
            socket.peer
        );
        assert!(
            by_client || self.may_close(socket),
            "the server closed {} for no reason, at {:?}",
            socket.peer,
            self.now
        );
    }

    /// Nobody is driven out in vain: one gives its descriptor up for each who comes in.
    fn check_giving_way(&mut self, index: usize) {
        let socket = &self.sockets[index];
        let is_by_client = socket.fin || socket.rst;
        let Some(silent_since) = socket.silent_since() else { return };
        let has_lingered = self.now - silent_since >= self.terms.linger;
        let is_other = self.taken + 1 > self.terms.max_connections || self.is_over(socket.peer.host(), 1);
        if is_by_client || has_lingered || is_other || self.stop_at.is_some() || self.was_short_at != Some(self.now) {
            return;
        }
        self.gave_way += 1;
        assert!(self.gave_way <= 1, "{} gave way in vain", socket.peer);
    }

    /// Whoever is turned away is so for a reason (P10, P14).
    fn check_refusal(&self, index: usize) {
        let socket = &self.sockets[index];
        let is_full = self.terms.rejects && self.taken >= self.terms.max_connections;
        let has_share = self.is_over(socket.peer.host(), 1);
        let is_excused = self.is_over || socket.is_unlucky || is_full || has_share;
        assert!(is_excused, "{} was turned away for no reason", socket.peer);
    }

    /// Whether the server may close a connection whose client has not.
    fn may_close(&self, socket: &Socket) -> bool {
        let Some(goodbye_at) = socket.goodbye_at else {
            // Without lingering, the eviction is the close.
            return self.terms.linger.is_zero() && self.now - socket.last_activity >= self.terms.idle_timeout;
        };
        let silent_since = goodbye_at.max(socket.last_activity);
        let has_lingered = self.now - silent_since >= self.terms.linger;
        // Who gives its place up is silent longest, of all or of its host, before it is read once more. It has been
        // counted out already: it was one of `taken + 1`.
        let last_word = if socket.last_activity < self.now { socket.last_activity } else { socket.activity_before };
        let chosen_by = goodbye_at.max(last_word);
        let waits_longer = |other: &&Socket| {
            other.is_lingering() && !other.fin && !other.rst && other.silent_since() < Some(chosen_by)
        };
        let is_first = self.sockets.iter().find(waits_longer).is_none();
        let is_of_host = |other: &&Socket| other.peer.host() == socket.peer.host();
        let is_first_of_host = self.sockets.iter().filter(is_of_host).find(waits_longer).is_none();
        let is_full = self.taken + 1 > self.terms.max_connections || self.was_short_at == Some(self.now);
        let was_needed = (is_full && is_first) || (self.is_over(socket.peer.host(), 1) && is_first_of_host);
        has_lingered || was_needed || self.is_drain_over()
    }

    /// Who has something to say waits while the server lets bytes gather, right after a turn that read some, and never
    /// longer than that may be.
    fn check_wait(&mut self, index: usize) {
        let Some(arrived_at) = self.sockets[index].arrived_at.take() else { return };
        let (waited, gather) = (self.now - arrived_at, self.terms.gather);
        let was_cut = self.cut_at >= Some(arrived_at);
        if waited.is_zero() || was_cut || !self.is_calm || self.stop_at.is_some() {
            return;
        }
        let peer = self.sockets[index].peer;
        assert!(waited <= gather, "{peer} waited for {waited:?}");
        let calm = arrived_at.saturating_sub(self.last_read_at.min(arrived_at));
        assert!(calm <= gather, "{peer} waited for {waited:?}, after a calm of {calm:?}");
    }

    /// Round robin (P9): between being ready and being read, nobody waits for more than two reads of each other client.
    fn check_turn(&mut self, index: usize, count: usize) {
        let is_left = !self.sockets[index].queue.is_empty();
        self.count_in_a_row(index, count);
        // At the very end each is read to its own end.
        if self.is_drain_over() {
            return;
        }
        let most = 2 * self.taken as u64 + 2;
        let socket = &mut self.sockets[index];
        let (waited, most_then) = socket.ready_since.map_or((0, 0), |(since, most)| (self.reads - since, most));
        assert!(waited <= most_then, "{} waited for {waited} reads, and may for {most_then}", socket.peer);
        let counts = self.in_a_row == 1 || socket.goodbye_at.is_none();
        self.reads += u64::from(counts);
        self.reads_in_turn += u64::from(counts);
        // Twice when it is ready, twice when it is due; once more when it was told goodbye.
        let most_in_turn = 5 * (self.most_taken as u64 + self.accepts_in_turn) + 10;
        assert!(self.reads_in_turn <= most_in_turn, "{} reads in a turn", self.reads_in_turn);
        socket.ready_since = is_left.then_some((self.reads, most));
    }

    /// Who gives its place up is read to its end at once, or until the sink is full; any other who is told goodbye has
    /// its turn like all, so that its reads count.
    fn count_in_a_row(&mut self, index: usize, count: usize) {
        if self.last_reader == Some(index) {
            self.in_a_row += 1;
            self.bytes_in_a_row += count;
            return;
        }
        let share = self.terms.sink_share;
        let is_full = self.taken >= self.terms.max_connections || self.was_short_at == Some(self.now);
        let needs_place = |before: usize| is_full || self.is_over(self.sockets[before].peer.host(), 0);
        if self.last_reader.is_some_and(needs_place) {
            self.last_reader = None; // It gives its place up, if the sink lets it.
        }
        if let Some(before) = self.last_reader.replace(index).map(|before| &mut self.sockets[before])
            && before.is_lingering()
            && self.bytes_in_a_row > share
        {
            let more = self.in_a_row - 1;
            self.reads += more;
            // It did not wait for itself.
            before.ready_since = before.ready_since.map(|(since, most)| (since + more, most));
        }
        (self.in_a_row, self.bytes_in_a_row) = (1, count);
    }

    fn is_drain_over(&self) -> bool {
        self.stop_at.is_some_and(|stop_at| self.was_quiet || self.now - stop_at >= self.terms.drain_timeout)
    }

    /// Whether a host has more connections than it may, with `more` on top.
    fn is_over(&self, host: Host, more: usize) -> bool {
        let Some(limit) = self.terms.per_host.filter(|_| host != Host::Unix) else { return false };
        let is_there = |socket: &&Socket| socket.key.is_some() && !socket.is_closed && socket.peer.host() == host;
        self.sockets.iter().filter(is_there).count() + more > limit
    }

    /// No host has more than its share (P14).
    pub(crate) fn check_hosts(&self) {
        for host in [1, 2, 3].map(|last| Host::V4([127, 0, 0, last])) {
            let is_excused = self.stop_at.is_some() || !(self.is_calm || self.is_open());
            assert!(is_excused || !self.is_over(host, 0), "{host} has more than its share");
        }
    }

    /// Nobody waits at a door for more than the pause (P10), while there is room or somebody would make some.
    fn check_doors(&mut self) {
        let lingers = || self.sockets.iter().any(Socket::is_lingering);
        let has_room = || self.taken < self.terms.max_connections || self.terms.rejects;
        let could_accept = self.stop_at.is_none()
            && self.backlogs.iter().flatten().any(|backlog| !backlog.is_empty())
            && (self.is_calm || self.is_open())
            && self.outage_until <= self.now
            && ((has_room() && self.descriptors < self.descriptor_limit) || lingers());
        let since = *self.could_accept_since.get_or_insert(self.now);
        if !could_accept {
            self.could_accept_since = None;
        }
        self.polls_since_free = self.polls_since_free.filter(|_| could_accept).map(|polls| polls + 1);
        let is_lucky = self.is_calm && self.luck.aborted == 0 && self.luck.no_memory == 0;
        let is_seen = !is_lucky || self.polls_since_free.is_none_or(|polls| polls <= 2);
        assert!(is_seen, "a descriptor is free, and somebody waits for it");
        assert!(!could_accept || self.now - since < ACCEPT_TRIED, "somebody waits since {since:?}, with room");
    }

    /// A line without its ending goes out only at an end, at a goodbye, or when it has waited long enough (P2).
    pub(crate) fn check_unterminated(&self, count: u64, line_timeout: Duration) {
        if count == 0 {
            return;
        }
        let has_waited = |since: Duration| !line_timeout.is_zero() && self.now - since >= line_timeout;
        let may = |socket: &&Socket| {
            socket.closed_at == Some(self.now)
                || socket.goodbye_at == Some(self.now)
                || (!socket.is_closed && socket.line_since.is_some_and(has_waited))
        };
        let most = self.sockets.iter().filter(may).count() as u64;
        assert!(count <= most, "{count} lines went out without their ending, {most} may have");
    }

    /// A stop ends in time: not early, and late only by what a slow sink makes it.
    pub(crate) fn check_stop(&self, is_given_up: bool) {
        let Some(stop_at) = self.stop_at else { return };
        if is_given_up {
            let stuck = self.now - self.progress_at.max(stop_at);
            assert!(stuck >= self.terms.drain_timeout, "the sink was given up after {stuck:?}");
        } else if self.is_calm {
            let took = self.now - stop_at;
            assert!(took <= self.terms.drain_timeout + LAST_LOOKS, "the stop took {took:?}");
        }
    }

    /// What must hold when nothing will ever happen again, though nobody asked the server to stop: it has missed
    /// nothing.
    pub(crate) fn check_stillness(&self, sink_waiting: usize) {
        if !matches!(self.sink, Drain::Open | Drain::Pipe { .. }) {
            return;
        }
        assert_eq!(sink_waiting, 0, "lines wait for a sink that takes them");
        let is_full = self.taken >= self.terms.max_connections || self.descriptors >= self.descriptor_limit;
        let waiting: usize = self.backlogs.iter().flatten().map(VecDeque::len).sum();
        assert!(waiting == 0 || is_full, "{waiting} clients wait though there is room");
        for socket in self.sockets.iter().filter(|socket| socket.key.is_some() && !socket.is_closed) {
            assert!(socket.queue.is_empty(), "{} bytes of {} were never read", socket.queue.len(), socket.peer);
            assert!(!socket.fin && !socket.rst, "the end of {} was never seen", socket.peer);
            let is_due = socket.goodbye_at.is_some() || !self.terms.idle_timeout.is_zero();
            assert!(!is_due, "{} is there for ever, since {:?}", socket.peer, socket.goodbye_at);
        }
    }
}

/// The network that a server is given.
#[derive(Clone)]
pub(crate) struct SimNet(pub(crate) Rc<RefCell<Kernel>>);

/// A listener; dropping it resets who waits in its backlog.
pub(crate) struct SimListener {
    kernel: Rc<RefCell<Kernel>>,
    door: usize,
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // One failed check is enough.
        }
        let mut kernel = self.kernel.borrow_mut();
        kernel.descriptors -= 1;
        kernel.listener_edges.remove(&self.door);
        let waiting = kernel.backlogs[self.door].take().unwrap_or_default();
        // Nobody can be taken while the network is out of order, and the pause after that may outlast the drain.
        let is_excused = kernel.is_over || kernel.outage_until + ACCEPT_TRIED > kernel.now;
        assert!(waiting.is_empty() || is_excused, "{} clients waited when the listener closed", waiting.len());
        for socket in waiting {
            kernel.sockets[socket].is_closed = true;
            kernel.sockets[socket].is_stranded = true;
        }
    }
}

/// A connection; dropping it closes it.
pub(crate) struct SimStream {
    kernel: Rc<RefCell<Kernel>>,
    index: usize,
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.kernel.borrow_mut().close(self.index);
        }
    }
}

impl Net for SimNet {
    type Listener = SimListener;
    type Stream = SimStream;

    fn listen(&mut self, at: &ListenAddr, _: &ListenOptions, door: usize) -> io::Result<(SimListener, ListenAddr)> {
        let mut kernel = self.0.borrow_mut();
        kernel.backlogs.push(Some(VecDeque::new()));
        kernel.descriptors += 1;
        Ok((SimListener { kernel: Rc::clone(&self.0), door }, at.clone()))
    }

    fn accept(&mut self, listener: &mut SimListener) -> io::Result<(SimStream, Peer)> {
        let kernel = &mut *self.0.borrow_mut();
        let index = kernel.accept(listener.door)?;
        Ok((SimStream { kernel: Rc::clone(&self.0), index }, kernel.sockets[index].peer))
    }

    fn register(&mut self, stream: &mut SimStream, key: Key) -> io::Result<()> {
        let kernel = &mut *self.0.borrow_mut();
        if kernel.dice.chance(kernel.luck.no_memory) {
            kernel.sockets[stream.index].is_unlucky = true;
            return Err(io::Error::from_raw_os_error(kernel.dice.pick(&UNWATCHED)));
        }
        kernel.taken += 1;
        kernel.most_taken = kernel.most_taken.max(kernel.taken);
        let now = kernel.now;
        let socket = &mut kernel.sockets[stream.index];
        assert!(socket.key.is_none(), "registered twice");
        socket.key = Some(key);
        socket.last_activity = now;
        if !socket.queue.is_empty() || socket.fin || socket.rst {
            kernel.arrived(stream.index);
        }
        Ok(())
    }

    fn read(&mut self, stream: &mut SimStream, buffer: &mut [u8]) -> io::Result<usize> {
        let kernel = &mut *self.0.borrow_mut();
        kernel.work += 1;
        if kernel.dice.chance(kernel.luck.interrupted) {
            // Its turn is used up.
            kernel.sockets[stream.index].ready_since = Some((kernel.reads, 2 * kernel.taken as u64 + 2));
            return Err(ErrorKind::Interrupted.into());
        }
        assert!(!buffer.is_empty(), "a read of nothing looks like the end");
        let now = kernel.now;
        let socket = &mut kernel.sockets[stream.index];
        let count = buffer.len().min(socket.queue.len());
        if count == 0 {
            socket.ready_since = None;
            return match (socket.rst, socket.fin) {
                (true, _) if !std::mem::replace(&mut socket.is_reset_told, true) => {
                    Err(io::Error::from_raw_os_error(kernel.dice.pick(&BROKEN)))
                }
                (true, _) | (false, true) => Ok(0),
                (false, false) => Err(ErrorKind::WouldBlock.into()),
            };
        }
        socket.queue.read_exact(&mut buffer[..count])?;
        let held_before = socket.most_held(kernel.terms.max_line);
        socket.note_line(&buffer[..count], now);
        kernel.may_hold = kernel.may_hold - held_before + socket.most_held(kernel.terms.max_line);
        kernel.may_have_held = kernel.may_have_held.max(kernel.may_hold);
        socket.read.extend_from_slice(&buffer[..count]);
        kernel.check_wait(stream.index);
        kernel.check_turn(stream.index, count);
        let socket = &mut kernel.sockets[stream.index];
        if socket.last_activity < now {
            socket.activity_before = std::mem::replace(&mut socket.last_activity, now);
        }
        kernel.last_read_at = now;
        kernel.has_read = true;
        kernel.wake_writer(stream.index);
        // More arrives right behind the read, before the server polls again.
        let client = kernel.sockets[stream.index].client;
        kernel.hurry(Some(client));
        Ok(count)
    }

    fn say_goodbye(&mut self, stream: &mut SimStream) -> io::Result<()> {
        let kernel = &mut *self.0.borrow_mut();
        kernel.hurry(None);
        let (now, is_stopping, idle) = (kernel.now, kernel.stop_at.is_some(), kernel.terms.idle_timeout);
        let socket = &mut kernel.sockets[stream.index];
        assert!(socket.goodbye_at.is_none(), "two goodbyes to {}", socket.peer);
        socket.goodbye_at = Some(now);
        if !is_stopping {
            let silence = now - socket.last_activity;
            let is_late = silence > idle + Duration::from_millis(30);
            assert!(
                silence >= idle && !(kernel.is_calm && is_late),
                "{} was told goodbye after {silence:?}",
                socket.peer
            );
            socket.flushes.push(socket.read.len());
        }
        if socket.rst { Err(ErrorKind::NotConnected.into()) } else { Ok(()) }
    }

    fn watch_sink(&mut self, _: BorrowedFd<'_>) -> io::Result<()> {
        self.0.borrow_mut().is_sink_watched = true;
        Ok(())
    }

    fn waker(&self) -> io::Result<Option<UnixStream>> {
        Ok(None)
    }

    fn pause(&mut self, time: Duration) -> io::Result<()> {
        let kernel = &mut *self.0.borrow_mut();
        assert!(time <= kernel.terms.gather && std::mem::take(&mut kernel.has_read), "a pause of {time:?}");
        let end = kernel.now + time;
        while kernel.now < end && !kernel.is_stop_asked {
            kernel.happen();
            let next = kernel.next_event_at().unwrap_or(end);
            kernel.now = next.min(end).max(kernel.now);
        }
        kernel.happen();
        Ok(())
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let kernel = &mut *self.0.borrow_mut();
        kernel.last_reader = None;
        (kernel.reads_in_turn, kernel.accepts_in_turn) = (0, 0);
        kernel.polls += 1;
        kernel.polls_since_open += 1;
        kernel.check_doors();
        if kernel.is_open() {
            kernel.check_hosts();
        }
        let before = kernel.now;
        kernel.wait(timeout);
        let quiet = kernel.stop_at.map(|stop_at| kernel.now - kernel.last_read_at.max(stop_at));
        kernel.was_quiet |= quiet.is_some_and(|quiet| quiet >= Duration::from_millis(250));
        kernel.work += u64::from(kernel.now > before);
        kernel.collect(ready);
        Ok(())
    }

    fn now(&self) -> Now {
        let kernel = self.0.borrow();
        Now { since_start: kernel.now, wall_ms: 0 }
    }
}
