//! The simulated kernel: sockets with receive queues, edge-triggered events, a clock, and its bad days. Time passes
//! only in `poll`, so that a turn sees one moment, as the server reads its clock once.

mod doors;
mod net;
mod promises;
mod udp;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::time::Duration;

use lumberjack::internals::{Key, Ready, Source};
use lumberjack::{Framing, Limits, Peer};

use super::client::Client;
use super::dice::Dice;
use super::doors::{Door, Head, Rules};
use super::sink::Drain;

pub(crate) use net::SimNet;
use udp::Udp;

/// What `accept` says when the process has no descriptor left, and when the system has none, or no memory: ENFILE,
/// ENOBUFS, ENOMEM.
const EMFILE: i32 = 24;
const FAMINE: [i32; 3] = [23, 105, 12];
/// What a network that is out of order says through it, for as long as it is: EPROTO, ENETDOWN, EHOSTUNREACH.
const NETWORK: [i32; 3] = [71, 100, 113];

/// A sink that failed is tried again after 5 s at most, and accepting that paused after 1 s; a little more.
const SINK_TRIED: Duration = Duration::from_millis(5100);
const ACCEPT_TRIED: Duration = Duration::from_millis(1100);

/// What the world does besides its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A client takes its next step.
    Client(usize),
    /// A client has heard our goodbye, and takes it for the end.
    #[allow(dead_code)] // a fuzzer does not script it
    Obeys(usize),
    /// The next datagram arrives.
    Datagram,
    /// The sink changes.
    Sink(Drain),
    /// The sink's reader reads.
    SinkReads,
    /// The process stands still for so long.
    Jump(Duration),
    /// For so long, `accept` fails: with what the network says, or, if the flag is set, since the system is short of
    /// descriptors, whatever the server gives up.
    Outage(Duration, bool),
    /// The process may have so many descriptors from now on: somebody else in it takes them, or gives them back.
    #[allow(dead_code)] // a fuzzer does not script it
    Descriptors(usize),
    /// From now on clients do in the middle of a turn what they would do within a millisecond after it.
    #[allow(dead_code)] // a fuzzer does not script it
    Haste,
    /// Somebody asks for files to be opened anew.
    Reopen,
    /// Somebody asks for the next of [`Kernel::changes`].
    Change,
    /// Somebody asks the server to stop.
    Stop,
}

/// One end of a connection, as the kernel keeps it.
pub(crate) struct Socket {
    pub(crate) peer: Peer,
    client: usize,
    listener: usize,
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
    /// How many reads there had been, and may be before its own: since the server was told, or read less than there
    /// was.
    ready_since: Option<(u64, u64)>,
    pub(crate) is_closed: bool,
    pub(crate) closed_at: Option<Duration>,
    /// Whether it waited at a listener that closed.
    pub(crate) is_stranded: bool,
    /// When the line that has no end yet began, and how long it is.
    pub(crate) line_since: Option<Duration>,
    line_len: usize,
    /// Every byte that the server read.
    pub(crate) read: Vec<u8>,
    /// When the server read its end.
    pub(crate) end_read_at: Option<Duration>,
    pub(crate) has_receipt: bool,
    /// Where in `read` the server said goodbye, and so sent its pending line out without an ending.
    pub(crate) flushes: Vec<usize>,
    /// What it begins with, where a proxy names its clients; and when that had come.
    pub(crate) head: Option<Head>,
    pub(crate) introduced_at: Option<Duration>,
    /// Its host had as many as it may then.
    pub(crate) may_be_refused: bool,
    /// Nobody of its host may connect.
    pub(crate) is_denied: bool,
    taken_at: Duration,
    /// How many of its lines its host's rate was charged with, and how often that had changed by then.
    charged: (usize, usize),
    /// When it was last read, and its host had something left before.
    had_room_at: Option<Duration>,
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
    /// Whether silence ends in a goodbye only when something is needed.
    pub(crate) is_when_needed: bool,
    /// The most that all pending lines may hold.
    pub(crate) pending_share: usize,
    pub(crate) linger: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) gather: Duration,
    pub(crate) max_line: usize,
    /// The most that the sink may hold.
    pub(crate) sink_share: usize,
    pub(crate) max_connections: usize,
    /// Those of connections.
    pub(crate) listeners: usize,
    /// Whether there is one of UDP behind them.
    pub(crate) has_udp: bool,
    /// What the clients of each listener send.
    pub(crate) framings: [Framing; 2],
    pub(crate) per_host: Option<usize>,
    pub(crate) rejects: bool,
    pub(crate) receipt: bool,
    /// How often the sink syncs at most.
    pub(crate) sync: Option<Duration>,
}

impl Socket {
    /// Whether the server took it in, and did not turn it away.
    pub(crate) fn is_taken(&self) -> bool {
        self.key.is_some()
    }

    fn note_line(&mut self, chunk: &[u8], framing: Framing, now: Duration) {
        let is_end = |byte: &u8| match framing {
            Framing::Lines => *byte == b'\n',
            Framing::Nul => *byte == 0,
            Framing::Cr => *byte == b'\r',
            // What is before a length, and how long ago it came, is not known here: the most that it can be.
            _ => false,
        };
        match chunk.iter().rposition(is_end) {
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
        // A newline in a message becomes two bytes.
        let line_len = 2 * self.line_len;
        if is_there { (line_len + line_len / 4 + 64).next_multiple_of(64).min(most) } else { 0 }
    }

    fn is_lingering(&self) -> bool {
        self.goodbye_at.is_some() && !self.is_closed
    }

    fn silent_since(&self) -> Option<Duration> {
        self.goodbye_at.map(|goodbye_at| goodbye_at.max(self.last_activity))
    }

    /// Whether it is in the house, has said whose it is, was not told goodbye, and nothing of it is left to be read.
    fn is_at_rest(&self) -> bool {
        let has_news = !self.queue.is_empty() || self.fin || self.rst || self.is_headless();
        self.key.is_some() && !self.is_closed && self.goodbye_at.is_none() && !has_news
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
    pub(crate) udp: Udp,
    /// Who waits at which listener; `None`: it is closed.
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
    /// The same, but for what a rate or a header makes it wait for.
    pub(crate) is_punctual: bool,
    /// What listeners ask of who comes, by their numbers. A script's have none.
    pub(crate) doors: Vec<Door>,
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
    /// Lines that were written died with a descriptor: whose they were, gets no receipt.
    pub(crate) has_doubts: bool,
    pub(crate) is_reopen_asked: bool,
    /// Limits that the server gets while it runs, and how many of them are asked for now.
    pub(crate) changes: VecDeque<(Limits, Option<Vec<Rules>>)>,
    pub(crate) changes_asked: usize,
    /// So many were in when there were to be fewer, less those who have left: none of them has to go.
    staying: usize,
    /// The limits have changed: what is beyond them may have been within others.
    has_changed: bool,
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
            udp: Udp::default(),
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
            is_punctual: true,
            doors: Vec::new(),
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
            has_doubts: false,
            is_reopen_asked: false,
            changes: VecDeque::new(),
            changes_asked: 0,
            staying: 0,
            has_changed: false,
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

    /// From now on the server keeps to these terms.
    pub(crate) fn change(&mut self, terms: Terms) {
        if terms.max_connections < self.terms.max_connections {
            self.staying = self.taken;
        }
        // An end that has come is not put off.
        self.was_quiet |= self.is_drain_over();
        (self.terms, self.has_changed) = (terms, true);
        // What is late by new limits need not be by those that were.
        (self.is_calm, self.is_punctual) = (false, false);
        self.runs_again();
    }

    /// How many may be in before somebody has to go.
    fn most(&self) -> usize {
        self.staying.max(self.terms.max_connections)
    }

    /// A new descriptor takes the place of a dead one, and takes everything.
    pub(crate) fn reopen_sink(&mut self) {
        self.sink = Drain::Open;
        self.at(self.now, Event::Sink(Drain::Open));
    }

    /// A client connects. `None`: nobody listens.
    pub(crate) fn connect(&mut self, client: usize) -> Option<usize> {
        let Client { peer, room, listener, head, .. } = self.clients[client];
        let index = self.sockets.len();
        self.backlogs.get_mut(listener)?.as_mut()?.push_back(index);
        self.listener_edges.insert(listener);
        self.sockets.push(Socket {
            peer,
            client,
            listener,
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
            end_read_at: None,
            has_receipt: false,
            flushes: Vec::new(),
            head,
            introduced_at: None,
            may_be_refused: false,
            is_denied: false,
            taken_at: Duration::ZERO,
            charged: (0, 0),
            had_room_at: None,
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
                Event::Datagram => self.datagram(),
                Event::Obeys(client) => super::client::obey(self, client),
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
                Event::Descriptors(limit) => self.descriptor_limit = limit,
                Event::Haste => self.luck.meanwhile = 100,
                Event::Reopen => self.is_reopen_asked = true,
                Event::Change => self.changes_asked += 1,
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
        // Between the last look at a listener and its close no server can see who comes.
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
            || self.is_reopen_asked
            || self.changes_asked > 0
            || self.is_woken
    }

    fn collect(&mut self, ready: &mut Vec<Ready>) {
        if std::mem::take(&mut self.is_woken) {
            ready.push(Ready { source: Source::Wake, ends: false, failed: false });
        }
        for listener in std::mem::take(&mut self.listener_edges) {
            ready.push(Ready { source: Source::Listener(listener), ends: false, failed: false });
        }
        if self.is_sink_watched && std::mem::take(&mut self.has_sink_edge) {
            ready.push(Ready { source: Source::Sink(0), ends: false, failed: self.sink == Drain::Gone });
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
        // What is there already may be told of again, with all that is known by then.
        if self.dice.chance(self.luck.spurious) && !self.sockets.is_empty() {
            let socket = &self.sockets[self.dice.size(self.sockets.len())];
            if let (Some(key), false) = (socket.key, socket.is_closed) {
                let ends = socket.fin || socket.rst;
                ready.push(Ready { source: Source::Connection(key), ends, failed: socket.rst });
            }
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

    /// The server takes the next from a listener. Only what goes on from there counts as work: an error that is tried
    /// again at once, again and again, is a spin.
    fn accept(&mut self, listener: usize) -> io::Result<usize> {
        self.hurry(None);
        if self.dice.chance(self.luck.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.outage_until > self.now && !self.is_famine {
            return Err(io::Error::from_raw_os_error(self.dice.pick(&NETWORK)));
        }
        let backlog = self.backlogs[listener].as_mut().expect("a listener that is open");
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
        assert_eq!(self.sockets[index].listener, listener, "at the listener that it came to");
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
        self.staying = self.staying.min(self.taken);
        self.stale.push(key);
        if self.is_over {
            return;
        }
        if self.was_short_at.is_some() {
            self.polls_since_free = Some(0);
        }
        self.check_giving_way(index);
        self.check_answer(index);
        let socket = &self.sockets[index];
        let by_client = socket.fin || socket.rst;
        if socket.may_be_turned_away(self.now) {
            return;
        }
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
}
