//! What the kernel demands of the server that runs on it: the promises, as they can be seen from below.

use std::collections::VecDeque;
use std::time::Duration;

use lumberjack::Host;

use super::super::doors::LAST;
use super::super::sink::{Drain, Record};
use super::{ACCEPT_TRIED, Kernel, Socket};

/// What the drain takes besides `--drain-timeout`, at most: its last looks.
const LAST_LOOKS: Duration = Duration::from_millis(600);

impl Kernel {
    /// Nobody is driven out in vain: one gives its descriptor up for each who comes in.
    pub(super) fn check_giving_way(&mut self, index: usize) {
        let socket = &self.sockets[index];
        let is_by_client = socket.fin || socket.rst;
        let has_lingered = self.has_lingered(socket);
        if socket.goodbye_at.is_none() {
            return;
        }
        let is_other = self.taken + 1 > self.most() || self.is_over(socket.peer.host(), 1);
        if is_by_client || has_lingered || is_other || self.stop_at.is_some() || self.was_short_at != Some(self.now) {
            return;
        }
        self.gave_way += 1;
        assert!(self.gave_way <= 1, "{} gave way in vain", socket.peer);
    }

    /// Whoever is turned away is so for a reason (P10, P14).
    pub(super) fn check_refusal(&mut self, index: usize) {
        let socket = &self.sockets[index];
        let is_full = self.terms.rejects && self.taken >= self.terms.max_connections;
        let host = socket.peer.host();
        let late = self.terms.idle_timeout + Duration::from_millis(50);
        let is_quiet = |other: &&Socket| other.is_at_rest() && self.now - other.last_activity > late;
        let mut of_host = self.sockets.iter().filter(|other| other.peer.host() == host);
        // Who was told of for nothing is not asked while it waits to be read.
        let is_lucky = self.is_calm && self.luck.spurious == 0;
        let would_give_way = is_lucky && self.gives_way() && of_host.any(|other| is_quiet(&other));
        let has_share = self.is_over(host, 1) && !would_give_way;
        let is_denied = !self.permits(socket.listener, &socket.peer);
        let is_excused = self.is_over || socket.is_unlucky || is_full || has_share || is_denied;
        assert!(is_excused, "{} was turned away for no reason", socket.peer);
        self.sockets[index].is_denied = is_denied;
    }

    /// Whether silence makes a client the first to give way.
    fn gives_way(&self) -> bool {
        self.terms.is_when_needed && !self.terms.idle_timeout.is_zero()
    }

    /// Whether a client that was told goodbye has had its time: since its last word, or, where it gives way, since our
    /// goodbye.
    fn has_lingered(&self, socket: &Socket) -> bool {
        let since = if self.terms.is_when_needed { socket.goodbye_at } else { socket.silent_since() };
        since.is_some_and(|since| self.now - since >= self.terms.linger)
    }

    /// A client gives way when something of it is needed, and is the one that has been silent longest of those that
    /// have it: a place, one of its host's, a descriptor, or memory.
    pub(super) fn check_need(&self, index: usize) {
        let socket = &self.sockets[index];
        let host = socket.peer.host();
        let tick = Duration::from_millis(20); // The server knows of ticks of 10 ms.
        let is_older = |other: &Socket| other.is_at_rest() && other.last_activity + tick < socket.last_activity;
        // Who was told of for nothing, or could not be read, is not asked while it waits to be read.
        let is_unlucky = self.luck.spurious + self.luck.interrupted > 0 || !self.is_punctual;
        // Whose host is slowed is silent from when it may be read again, which is not seen here.
        let has_bad_luck = is_unlucky || self.doors.iter().any(|door| door.is_rated());
        let is_oldest = |may: &dyn Fn(&Socket) -> bool| {
            has_bad_luck || !self.sockets.iter().any(|other| may(other) && is_older(other))
        };
        let needs_place = self.taken > self.most() || self.was_short_at == Some(self.now);
        let by_all = needs_place && is_oldest(&|_| true);
        let by_host = self.is_over(host, 1) && is_oldest(&|other| other.peer.host() == host);
        // Of a line that is skipped nothing is held, so that who would be first is not known here.
        let by_memory = self.may_hold > self.terms.pending_share;
        let is_needed = [needs_place, self.is_over(host, 1), by_memory];
        let is_right = by_all || by_host || by_memory;
        assert!(socket.queue.is_empty() || by_memory, "{} has spoken, and gave way", socket.peer);
        assert!(is_right, "{} gave way; a place, a host's place, memory was needed: {is_needed:?}", socket.peer);
    }

    /// Who gives way is gone when its time is up, whatever it still sends.
    pub(super) fn check_gone(&self) {
        if !self.terms.is_when_needed || !self.is_calm || self.stop_at.is_some() {
            return;
        }
        let latest = self.terms.linger + Duration::from_millis(30);
        for socket in self.sockets.iter().filter(|socket| socket.is_lingering()) {
            let since = socket.goodbye_at.map(|goodbye_at| self.now - goodbye_at);
            assert!(since <= Some(latest), "{} is there still, {since:?} after our goodbye", socket.peer);
        }
    }

    /// Whether the server may close a connection whose client has not.
    pub(super) fn may_close(&self, socket: &Socket) -> bool {
        let Some(goodbye_at) = socket.goodbye_at else {
            // Without lingering, the eviction is the close.
            return self.terms.linger.is_zero() && self.now - socket.last_activity >= self.terms.idle_timeout;
        };
        if self.terms.is_when_needed && self.stop_at.is_none() {
            return self.has_lingered(socket);
        }
        // Bytes of a header are no word of a client's.
        if socket.is_headless() && self.stop_at.is_some() {
            return true;
        }
        // Who gives its place up is silent longest, of all or of its host, before it is read once more. It has been
        // counted out already: it was one of `taken + 1`.
        let last_word = if socket.last_activity < self.now { socket.last_activity } else { socket.activity_before };
        let chosen_by = goodbye_at.max(last_word);
        let waits_longer = |other: &&Socket| {
            other.is_lingering() && !other.fin && !other.rst && other.silent_since() < Some(chosen_by)
        };
        // Who was told goodbye shortly before the stop, and has spoken since, is not put behind the others.
        let is_first = self.terms.is_when_needed || self.sockets.iter().find(waits_longer).is_none();
        let is_of_host = |other: &&Socket| other.peer.host() == socket.peer.host();
        let is_first_of_host = self.sockets.iter().filter(is_of_host).find(waits_longer).is_none();
        let is_full = self.taken + 1 > self.most() || self.was_short_at == Some(self.now);
        let was_needed = (is_full && is_first) || (self.is_over(socket.peer.host(), 1) && is_first_of_host);
        self.has_lingered(socket) || was_needed || self.is_drain_over()
    }

    /// A receipt is given where it was asked for, once, to who has sent its end and was not told goodbye; it is right,
    /// and comes as soon as all its lines are where they belong, and not before.
    pub(super) fn check_receipt(&self, index: usize, text: &[u8], record: &Record) {
        let socket = &self.sockets[index];
        let peer = socket.peer;
        assert!(self.terms.receipt && !socket.has_receipt, "a receipt too many for {peer}");
        assert!(socket.queue.is_empty() && socket.goodbye_at.is_none(), "a receipt for {peer} at the wrong time");
        let ended_at = socket.end_read_at.expect("only who has ended gets a receipt");
        let (lines, is_delivered) = record.lines_of(&peer);
        assert!(is_delivered, "a receipt for lines of {peer} that are not where they belong");
        let text = text.escape_ascii().to_string();
        assert_eq!(text, format!("{lines} lines\\n"), "what the receipt of {peer} says");
        let longest = self.terms.sync.map_or(Duration::ZERO, |sync| sync + self.terms.gather);
        let waited = self.now - ended_at;
        assert!(!self.is_calm || waited <= longest, "{peer} waited for {waited:?} for its receipt");
    }

    /// Who has sent its end and was not told goodbye is closed with a receipt, unless it has left.
    pub(super) fn check_answer(&self, index: usize) {
        let socket = &self.sockets[index];
        let waits = self.terms.receipt && socket.end_read_at.is_some() && socket.goodbye_at.is_none() && !socket.rst;
        let waits = waits && !socket.is_headless();
        assert!(!waits || socket.has_receipt || self.has_doubts, "{} is closed without its receipt", socket.peer);
    }

    /// Who has something to say waits while the server lets bytes gather, right after a turn that read some, and never
    /// longer than that may be.
    pub(super) fn check_wait(&mut self, index: usize) {
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
    pub(super) fn check_turn(&mut self, index: usize, count: usize) {
        let is_left = !self.sockets[index].queue.is_empty();
        self.count_in_a_row(index, count);
        // At the very end each is read to its own end.
        if self.is_drain_over() {
            return;
        }
        let most = 2 * self.taken as u64 + 2;
        let socket = &mut self.sockets[index];
        // Who waits for its rate has no turn.
        if self.doors.get(socket.listener).is_some_and(|door| door.is_rated()) {
            socket.ready_since = None;
        }
        let (waited, most_then) = socket.ready_since.map_or((0, 0), |(since, most)| (self.reads - since, most));
        assert!(waited <= most_then, "{} waited for {waited} reads, and may for {most_then}", socket.peer);
        // Who is slowed is read little by little.
        let is_rated = self.doors.get(socket.listener).is_some_and(|door| door.is_rated());
        let counts = (self.in_a_row == 1 || socket.goodbye_at.is_none()) && !is_rated;
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

    pub(super) fn is_drain_over(&self) -> bool {
        self.stop_at.is_some_and(|stop_at| self.was_quiet || self.now - stop_at >= self.terms.drain_timeout)
    }

    /// Whether a host has more connections than it may, with `more` on top.
    pub(super) fn is_over(&self, host: Host, more: usize) -> bool {
        let Some(limit) = self.terms.per_host.filter(|_| host != Host::Unix) else { return false };
        // Who gives way has given its place back already.
        let counts = |socket: &Socket| !self.terms.is_when_needed || socket.goodbye_at.is_none();
        let is_there = |socket: &&Socket| {
            socket.key.is_some()
                && !socket.is_closed
                && !socket.is_headless()
                && socket.peer.host() == host
                && counts(socket)
        };
        self.sockets.iter().filter(is_there).count() + more > limit
    }

    /// No host has more than its share (P14).
    pub(crate) fn check_hosts(&self) {
        for host in LAST.into_iter().flat_map(|last| [Host::V4([127, 0, 0, last]), Host::V4([10, 0, 0, last])]) {
            let is_new = self.has_just_come(host);
            let is_excused = is_new || self.stop_at.is_some() || self.has_changed || !(self.is_calm || self.is_open());
            assert!(is_excused || !self.is_over(host, 0), "{host} has more than its share");
        }
    }

    /// Nobody waits at a listener for more than the pause (P10), while there is room or somebody would make some.
    pub(super) fn check_listeners(&mut self) {
        // A little later than it may be, as that is when the server may have looked.
        let idle = self.terms.idle_timeout + Duration::from_millis(50);
        let is_quiet = |socket: &Socket| socket.is_at_rest() && self.now - socket.last_activity > idle;
        let may_give_way = || {
            let is_one_more = self.taken > self.terms.max_connections;
            self.gives_way() && self.is_calm && !is_one_more && self.sockets.iter().any(is_quiet)
        };
        let lingers = || self.sockets.iter().any(Socket::is_lingering) || may_give_way();
        let has_room = || self.taken < self.terms.max_connections || self.terms.rejects;
        // Who is in beyond lower limits makes no room by going.
        let are_too_many = self.has_changed && self.taken > self.terms.max_connections;
        let could_accept = self.stop_at.is_none()
            && self.backlogs.iter().flatten().any(|backlog| !backlog.is_empty())
            && (self.is_calm || self.is_open())
            && self.outage_until <= self.now
            && ((has_room() && self.descriptors < self.descriptor_limit) || (lingers() && !are_too_many));
        let since = *self.could_accept_since.get_or_insert(self.now);
        if !could_accept {
            self.could_accept_since = None;
        }
        self.polls_since_free = self.polls_since_free.filter(|_| could_accept).map(|polls| polls + 1);
        let is_lucky = self.is_calm && self.luck.aborted == 0 && self.luck.no_memory == 0;
        let is_seen = !is_lucky || self.polls_since_free.is_none_or(|polls| polls <= 2);
        assert!(is_seen, "a descriptor is free, and somebody waits for it");
        // Who gives its descriptor up when the pause is over has its time after that.
        let gives_way = self.gives_way() && self.descriptor_limit < usize::MAX;
        let longest = ACCEPT_TRIED + if gives_way { self.terms.linger } else { Duration::ZERO };
        assert!(!could_accept || self.now - since < longest, "somebody waits since {since:?}, with room");
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
                || (self.terms.receipt && socket.end_read_at == Some(self.now))
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
        } else if self.is_punctual {
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
        self.udp.check_stillness();
        let is_full = self.taken >= self.terms.max_connections || self.descriptors >= self.descriptor_limit;
        let waiting: usize = self.backlogs.iter().flatten().map(VecDeque::len).sum();
        assert!(waiting == 0 || is_full, "{waiting} clients wait though there is room");
        for socket in self.sockets.iter().filter(|socket| socket.key.is_some() && !socket.is_closed) {
            assert!(socket.queue.is_empty(), "{} bytes of {} were never read", socket.queue.len(), socket.peer);
            assert!(!socket.fin && !socket.rst, "the end of {} was never seen", socket.peer);
            let is_timed = !self.terms.idle_timeout.is_zero() && !self.terms.is_when_needed;
            let is_due = socket.goodbye_at.is_some() || is_timed || socket.is_headless();
            assert!(!is_due, "{} is there for ever, since {:?}", socket.peer, socket.goodbye_at);
        }
    }
}
