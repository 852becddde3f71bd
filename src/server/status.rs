//! The status endpoint: its visitors are served at the end of a turn, in short passes that are at least 20 ms apart and
//! take at most a thirtieth of the time, so that the clients that log come first (P9). Invariant: what all visitors
//! hold stays within [`Desk::share`], by which the memory budget of the clients was lowered (P5).

use std::io::{self, ErrorKind};
use std::time::Duration;

use log::{info, warn};

use super::Server;
use super::error::BindError;
use super::life::Life;
use super::listener::is_gone_client;
use super::listing::list;
use super::outlet::Onlookers;
use super::reading::ReadBuffer;
use crate::config::limits::{ConfigError, MemoryPlan, WhenFull};
use crate::config::listen::ListenAddr;
use crate::config::text::as_text;
use crate::config::units::DisplayLines;
use crate::engine::framer::Lines;
use crate::engine::peer::Peer;
use crate::engine::stats::{OutputStats, PollerStats, Snapshot, View, ms};
use crate::host;
use crate::net::{MOST_VISITORS, Net, STATUS_LISTENER, SocketOptions, Source};
use crate::sink::{Origin, Sink, write_peer, write_time};
use crate::status::board::{Board, Listed, MOST_ROW_BYTES};
use crate::status::history::{HISTORY_BYTES, History, MOST_HISTORY_JSON, Sample, Trouble};
use crate::status::request::{Form, Listing, Refusal, Request, Route};
use crate::status::respond::{Content, Kind, MOST_HEAD_BYTES, PAGE};
use crate::status::tail::{self, Caption, MOST_EVENT_BYTES, MOST_WAITING, Viewer};
use crate::status::visitor::{Ms, Need, Visitor};

/// Time between two passes: 50 a second, of at most one answer for each visitor.
const PASS: Ms = 20;
/// After so long a pass ends. The visitors that were not served are the first in the next.
const LONGEST_PASS: Duration = Duration::from_millis(2);
/// The time after a pass is at least so many times what it took.
const REST: u32 = 30;
/// Pause before accepting is tried again, when no descriptor is free.
const ACCEPT_PAUSE: Ms = 1_000;
/// If an output has accepted nothing for so long, `/healthz` says so.
const STALLED: Duration = Duration::from_secs(10);
/// If it has for so long, that is worth a sentence.
const NOTABLE: Duration = Duration::from_secs(1);
/// Open descriptors are counted once in so long at most: that needs some microseconds, and on an old kernel more.
const RECOUNT: Ms = 1_000;
/// The most visitors that may watch lines as they come: the other places stay free for those who ask once and go.
const MOST_VIEWERS: usize = MOST_VISITORS * 3 / 4;
/// What is done for viewers while lines come needs twice the rest, and so do passes meanwhile: each gets a half.
const REST_OF_TWO: u32 = 2 * REST;
/// Lines are looked at for viewers while no more rest than this is owed for it: after 3 ms without a pause there is one.
const MOST_OWED: Duration = Duration::from_millis(200);
/// Looking at a piece of lines for one viewer, and at a byte of it, takes no longer than this. If it did, another process
/// had the processor.
const LONGEST_LOOK: (Duration, Duration) = (Duration::from_micros(50), Duration::from_nanos(20));
/// Of the share, a half is for the tail. Of the other half so much is kept for refusals, which need no more room than
/// this, for an event in the making and for the history; the rest is for requests and answers.
const KEPT: usize = MOST_VISITORS * MOST_HEAD_BYTES + MOST_EVENT_BYTES + HISTORY_BYTES;

/// One place for a visitor.
struct Place<T> {
    stream: T,
    peer: Peer,
    visitor: Visitor,
    /// What it asks for, until it is its turn.
    asked: Option<Request>,
    can_read: bool,
    can_write: bool,
}

impl<T> Place<T> {
    /// Whether it has asked for something or sent what may be read, or something waits that its socket accepts.
    fn is_ready(&self) -> bool {
        self.asked.is_some()
            || (self.can_read && self.visitor.wants() > 0)
            || (self.can_write && self.visitor.has_output())
    }

    /// Reads once, if the visitor may send anything; its request may take so much room.
    fn read<N: Net<Stream = T>>(
        &mut self,
        net: &mut N,
        buffer: &mut ReadBuffer,
        room: usize,
        now: Ms,
    ) -> io::Result<()> {
        let buffer = buffer.first(self.visitor.wants());
        if !self.can_read || buffer.is_empty() {
            return Ok(());
        }
        match net.read(&mut self.stream, buffer) {
            Ok(0) => self.visitor.ended(),
            Ok(count) => {
                self.visitor.received(buffer.get(..count).unwrap_or_default(), room, now);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.can_read = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes once, if there is anything to write.
    fn write<N: Net<Stream = T>>(&mut self, net: &mut N, now: Ms) -> Need {
        if !self.can_write || self.visitor.output().is_empty() {
            return Need::Nothing;
        }
        let count = match net.write(&mut self.stream, self.visitor.output()) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.can_write = false;
                0
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => 0,
            Err(_) => return Need::Close,
        };
        self.visitor.sent(count, now)
    }
}

/// The endpoint.
pub(super) struct Desk<L, T> {
    listener: L,
    may_have_visitors: bool,
    /// Accepting failed, and is tried again then.
    retry_at: Ms,
    /// As many as [`MOST_VISITORS`], always; no array, or each loop over them would be unrolled.
    places: Vec<Option<Box<Place<T>>>>,
    /// The place that is served first in the next pass.
    first: usize,
    share: usize,
    serves_tail: bool,
    /// It listens on loopback: only requests for localhost or for an address are answered, so that no web page can
    /// reach it through the browser of somebody on this box.
    is_local: bool,
    next_pass: Ms,
    /// When there is something to do; never before [`Self::next_pass`].
    due_at: Option<Ms>,
    viewers: usize,
    /// The end of the rest that is owed for looking at lines, and whether any were since the last pass.
    rested_at: Duration,
    has_looked: bool,
    peer: Vec<u8>,
    time: Vec<u8>,
    event: Vec<u8>,
    /// Open descriptors that are no client's and no visitor's, when they were counted, and how many may be open.
    descriptors: Option<(u64, Ms, u64)>,
    settings: Vec<(&'static str, String)>,
    history: History,
}

impl<L, T> Onlookers for Option<Box<Desk<L, T>>> {
    fn lines<N: Net>(&mut self, net: &N, origin: &Origin<'_>, lines: Lines<'_>) {
        if let Some(desk) = self.as_mut().filter(|desk| desk.viewers > 0) {
            desk.show(&|| net.now().since_start, origin, lines);
        }
    }

    fn wake(&mut self, source: Source) {
        let Some(desk) = self else { return };
        match source {
            Source::Visitor(number) => {
                if let Some(place) = desk.places.get_mut(number).and_then(Option::as_mut) {
                    (place.can_read, place.can_write) = (true, true);
                }
            }
            _ => desk.may_have_visitors = true,
        }
        desk.due_at = Some(desk.next_pass);
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        // Not before: a pass that came too early would do nothing, and be due at once again.
        self.as_ref()?.due_at.map(|at| Duration::from_millis(at).saturating_sub(now))
    }
}

impl<L, T> Desk<L, T> {
    fn new(listener: L, share: usize, serves_tail: bool, is_local: bool) -> Self {
        Self {
            listener,
            may_have_visitors: true,
            retry_at: 0,
            places: (0..MOST_VISITORS).map(|_| None).collect(),
            first: 0,
            share,
            serves_tail,
            is_local,
            next_pass: 0,
            due_at: Some(0),
            viewers: 0,
            rested_at: Duration::ZERO,
            has_looked: false,
            peer: Vec::new(),
            time: Vec::new(),
            event: Vec::new(),
            descriptors: None,
            settings: Vec::new(),
            history: History::default(),
        }
    }

    /// Shows lines that go to the sink to those who watch. That is visitors' time: what there is no time for, they miss, and
    /// are told so.
    #[inline(never)] // off the path of those who log while nobody looks on
    fn show(&mut self, clock: Clock<'_>, origin: &Origin<'_>, lines: Lines<'_>) {
        let (mut now, mut is_seen) = (clock(), false);
        self.peer.clear();
        write_peer(origin.peer, &mut self.peer);
        self.time.clear();
        write_time(origin.wall_ms, &mut self.time);
        let Self { places, peer, time, event, rested_at, .. } = self;
        let by = Caption { time, peer };
        each_viewer(places, peer, &mut |viewer, out, _| is_seen |= !viewer.is_full(out));
        // All at once: when a vector grows, it takes more memory than asked for.
        event.clear();
        event.reserve_exact(MOST_EVENT_BYTES);
        let left = tail::look_at(lines, |piece| {
            if !is_seen || rested_at.saturating_sub(now) > MOST_OWED {
                return false;
            }
            let (began, mut most) = (now, Duration::ZERO);
            each_viewer(places, peer, &mut |viewer, out, _| {
                viewer.show(piece, by, event, out);
                most += LONGEST_LOOK.0 + LONGEST_LOOK.1 * u32::try_from(piece.len()).unwrap_or(u32::MAX);
            });
            now = clock();
            *rested_at = now.max(*rested_at) + now.saturating_sub(began).min(most) * REST_OF_TWO;
            true
        });
        let mut has_news = false;
        each_viewer(places, peer, &mut |viewer, out, can_write| {
            viewer.pass_by(left);
            has_news |= can_write && (viewer.has_news(out) || !out.is_empty());
        });
        self.has_looked = true;
        if has_news {
            self.due_at = Some(self.next_pass);
        }
    }
}

/// Tells the time since the start.
type Clock<'c> = &'c dyn Fn() -> Duration;

/// What is done with a viewer, with its output, and with whether its socket takes any.
type Each<'a> = &'a mut dyn FnMut(&mut Viewer, &mut Vec<u8>, bool);

/// Calls `each` with every viewer who wants to see lines of this peer.
fn each_viewer<T>(places: &mut [Option<Box<Place<T>>>], peer: &[u8], each: Each<'_>) {
    for place in places.iter_mut().flatten() {
        if let Some((viewer, out)) = place.visitor.viewer().filter(|(viewer, _)| viewer.wants(peer)) {
            each(viewer, out, place.can_write);
        }
    }
}

impl<L, T> Desk<L, T> {
    fn visitors(&self) -> impl Iterator<Item = &Place<T>> {
        self.places.iter().flatten().map(Box::as_ref)
    }

    /// All that its visitors hold.
    fn held(&self) -> usize {
        let of_viewer = |place: &Place<T>| if place.visitor.is_watching() { place.visitor.waiting() } else { 0 };
        self.history.held()
            + self.event.capacity()
            + self.visitors().map(|place| place.visitor.held() + of_viewer(place)).sum::<usize>()
    }

    fn count_viewers(&self) -> usize {
        self.visitors().filter(|place| place.visitor.is_watching()).count()
    }

    /// What is left for requests and answers. The tail has the other half of the share.
    fn room(&self) -> usize {
        let held: usize = self.visitors().map(|place| place.visitor.held()).sum();
        (self.share / 2).saturating_sub(KEPT + held)
    }

    /// The place that the next visitor can have, and from when on: a free one, or that of a visitor that only keeps its
    /// connection open, or has had it for itself for long enough.
    fn next_place(&self) -> Option<(Ms, usize)> {
        let mut next: Option<(Ms, usize)> = None;
        for (number, place) in self.places.iter().enumerate() {
            let at = match place {
                None => 0,
                Some(place) if place.asked.is_some() => Ms::MAX,
                Some(place) => place.visitor.gives_way_at().unwrap_or(Ms::MAX),
            };
            if at < next.map_or(Ms::MAX, |(before, _)| before) {
                next = Some((at, number));
            }
        }
        next
    }

    /// A pass that took so long ends at `now`: sets when the next may begin, and whether one is needed.
    fn end_pass(&mut self, now: Ms, took: Duration) {
        self.viewers = self.count_viewers();
        if self.viewers == 0 {
            self.event = Vec::new();
        }
        let rest = took * if std::mem::take(&mut self.has_looked) { REST_OF_TWO } else { REST };
        self.next_pass = now.saturating_add(PASS.max(ms(rest)));
        let mut due = Ms::MAX;
        for place in self.places.iter().flatten() {
            due = due.min(if place.is_ready() { 0 } else { place.visitor.due_at() });
        }
        if let Some((at, _)) = self.next_place().filter(|_| self.may_have_visitors) {
            due = due.min(at.max(self.retry_at));
        }
        self.due_at = (due < Ms::MAX).then_some(due.max(self.next_pass));
    }
}

impl<S: Sink, N: Net> Server<S, N> {
    /// Serves the status endpoint at `at` too, from the same loop; with `serves_tail`, also the lines as they come. It
    /// shows who logs what to whoever reaches it: loopback or a Unix socket, which only its owner can open, is the
    /// place for it. Answers where that is, when a port was picked.
    ///
    /// ```
    /// use lumberjack::{Config, MemorySink, Server};
    ///
    /// let mut server = Server::bind(Config::listen("127.0.0.1:0".parse()?), MemorySink::new())?;
    /// let at = server.serve_status(&"127.0.0.1:0".parse()?, true)?; // http://{at}/
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BindError::Status`]; or [`BindError::Config`] when the memory budget has no room for it.
    pub fn serve_status(&mut self, at: &ListenAddr, serves_tail: bool) -> Result<ListenAddr, BindError> {
        if at.is_udp() {
            return Err(ConfigError::StatusUdp { at: at.clone() }.into());
        }
        let plan = MemoryPlan { sink_share: self.outlet.share(), pending_share: self.clients.budget.limit() };
        let share = match &self.desk {
            Some(desk) => desk.share,
            None => plan.status_share(&self.limits)?,
        };
        let options = SocketOptions::of_status(self.limits.keepalive);
        let (listener, local) = self
            .net
            .listen(at, &options, STATUS_LISTENER)
            .map_err(|error| BindError::Status(Box::new(BindError::new(at, error))))?;
        info!("[status] Listening on {local}");
        if self.net.is_early(&listener) {
            warn!("[status] This machine has no such address yet: {local}; it can be asked once it has (--status)");
        }
        if self.desk.is_none() {
            self.clients.budget.lower(share);
            self.clients.accounts.begin(self.clients.connections.places(), self.clock.now());
        }
        let is_local = matches!(&local, ListenAddr::Tcp(addr) if addr.ip().is_loopback());
        self.desk = Some(Box::new(Desk::new(listener, share, serves_tail, is_local)));
        Ok(local)
    }

    /// What the diagnostics show besides the limits: every option of the program, and its value.
    #[doc(hidden)]
    pub fn show_settings(&mut self, settings: Vec<(&'static str, String)>) {
        if let Some(desk) = &mut self.desk {
            desk.settings = settings;
        }
    }

    /// One pass over all visitors, if it is time for one.
    #[inline(never)] // for size
    pub(super) fn serve_visitors(&mut self) {
        if self.life == Life::Stopped {
            self.desk = None;
        }
        let now = ms(self.clock.now());
        // Whenever the loop turns anyway: nobody is woken up for it.
        if let Some(desk) = self.desk.as_mut().filter(|desk| desk.history.is_due(now)) {
            let status = desk.held() as u64;
            self.handle.snapshot(|Snapshot { counters, gauges, outputs, .. }| {
                let memory = gauges.pending_bytes + gauges.sink_waiting_bytes + status;
                let numbers = [now, counters.lines, counters.bytes, gauges.active_connections, memory];
                desk.history.note(Sample { numbers, waiting: gauges.sink_waiting_bytes }, counters, outputs);
            });
        }
        let Some(mut desk) = self.desk.take_if(|desk| desk.due_at.is_some_and(|at| at <= now)) else { return };
        let began = self.net.now().since_start;
        // Who waits to come in is first: those inside could keep each pass busy with questions for ever.
        for _ in 0..MOST_VISITORS {
            let Some((at, number)) = desk.next_place().filter(|_| desk.may_have_visitors) else { break };
            if at.max(desk.retry_at) > now {
                break;
            }
            self.admit_visitor(&mut desk, number);
        }
        for number in 0..MOST_VISITORS {
            self.keep_if(&mut desk, number, Self::hears);
        }
        for offset in 0..MOST_VISITORS {
            let number = (desk.first + offset) % MOST_VISITORS;
            self.keep_if(&mut desk, number, Self::serves);
            if self.net.now().since_start.saturating_sub(began) > LONGEST_PASS {
                desk.first = number + 1;
                break;
            }
        }
        let took = self.net.now().since_start.saturating_sub(began);
        desk.end_pass(now, took);
        self.desk = Some(desk);
    }

    /// Accepts a visitor. If there was one in its place, that one is closed.
    fn admit_visitor(&mut self, desk: &mut Visited<N>, number: usize) {
        match self.net.accept(&mut desk.listener) {
            Ok((mut stream, peer)) => {
                if self.net.register_visitor(&mut stream, number).is_err() {
                    return;
                }
                let visitor = Visitor::new(ms(self.clock.now()));
                let place = Box::new(Place { stream, peer, visitor, asked: None, can_read: true, can_write: true });
                if let Some(free) = desk.places.get_mut(number) {
                    *free = Some(place);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => desk.may_have_visitors = false,
            Err(error) if is_gone_client(&error) => {}
            // No event will come for a visitor that waits already, nor when a descriptor is free again.
            Err(_) => desk.retry_at = ms(self.clock.now()) + ACCEPT_PAUSE,
        }
    }

    /// Does something for the visitor in a place, which is not in it meanwhile; if that answers that it has left or is to be
    /// closed, the place is free.
    #[inline(never)] // for size
    fn keep_if(&mut self, desk: &mut Visited<N>, number: usize, work: Work<Self, N>) {
        let Some(mut place) = desk.places.get_mut(number).and_then(Option::take) else { return };
        if !work(self, desk, &mut place) {
            // A client that logs may wait for its descriptor.
            return self.listeners.end_pause();
        }
        if let Some(free) = desk.places.get_mut(number) {
            *free = Some(place);
        }
    }

    /// Reads a visitor once. A question about health is answered at once, any other in its turn.
    fn hears(&mut self, desk: &mut Visited<N>, place: &mut Place<N::Stream>) -> bool {
        if place.asked.is_some() {
            return true;
        }
        let now = ms(self.clock.now());
        let room = desk.room().saturating_sub(place.visitor.held());
        if place.read(&mut self.net, &mut self.read_buffer, room, now).is_err() {
            return false;
        }
        match place.visitor.next(now) {
            Need::Close => return false,
            Need::Answer(request) => place.asked = Some(request),
            Need::Nothing | Need::Goodbye => {}
        }
        let is_health = place.asked.as_ref().is_some_and(|asked| asked.route == Ok(Route::Health));
        !is_health || self.serves(desk, place)
    }

    /// Answers a visitor and writes to it, each at most once.
    fn serves(&mut self, desk: &mut Visited<N>, place: &mut Place<N::Stream>) -> bool {
        let now = ms(self.clock.now());
        if let Some(request) = place.asked.take() {
            self.answer(desk, place, request);
        }
        match place.write(&mut self.net, now) {
            Need::Close => false,
            Need::Goodbye => self.net.say_goodbye(&mut place.stream).is_ok() && place.visitor.next(now) != Need::Close,
            Need::Nothing | Need::Answer(_) => true,
        }
    }

    #[inline(never)] // for size
    fn answer(&mut self, desk: &mut Visited<N>, place: &mut Place<N::Stream>, request: Request) {
        let (now, how) = (ms(self.clock.now()), request.how);
        let room = desk.room().saturating_sub(place.visitor.held());
        let refusal = match request.route {
            _ if desk.is_local && !request.is_local => Refusal::Misdirected,
            Err(refusal) => refusal,
            Ok(Route::Tail { .. }) if !desk.serves_tail => Refusal::TailOff,
            Ok(Route::Tail { .. }) if desk.count_viewers() >= MOST_VIEWERS => Refusal::Busy,
            Ok(Route::Tail { substring, peer }) => {
                let most = MOST_WAITING.min(desk.share / 2 / MOST_VIEWERS);
                return place.visitor.watch(Viewer::new(substring, peer, most), how, now);
            }
            Ok(route) => {
                let content = self.content(desk, &route, room);
                if content.body.len() + 2 * MOST_HEAD_BYTES <= room {
                    return place.visitor.answer(how, &content, now);
                }
                Refusal::Busy
            }
        };
        place.visitor.refuse(refusal, how, now);
    }

    #[inline(never)] // for size
    fn content(&mut self, desk: &mut Visited<N>, route: &Route, room: usize) -> Content {
        let mut status = "200 OK";
        let (kind, text) = match route {
            Route::Page | Route::Tail { .. } => {
                return Content { status, kind: Kind::Page, body: PAGE.into() };
            }
            Route::Options => return Content { status: "204 No Content", kind: Kind::Nothing, body: b""[..].into() },
            Route::Status => (Kind::Json, self.handle.status().to_json() + "\n"),
            Route::Metrics => (Kind::Metrics, self.board(desk, 0, &Listing::default(), &|board| board.to_metrics())),
            Route::Health => {
                let mut reasons = self.reasons();
                if reasons.is_empty() {
                    reasons.push("ok");
                } else {
                    status = "503 Service Unavailable";
                }
                (Kind::Text, reasons.join("\n") + "\n")
            }
            Route::Diagnostics { connections, form, listing } => {
                let room = room.saturating_sub(if listing.has_history { MOST_HISTORY_JSON } else { 0 });
                let (kind, write): (_, Write) = match form {
                    Form::Json => (Kind::Json, &|board| board.to_json() + "\n"),
                    Form::Csv => (Kind::Csv, &|board| board.to_csv()),
                    Form::Text => (Kind::Text, &|board| board.to_text()),
                };
                (kind, self.board(desk, *connections.min(&(room / MOST_ROW_BYTES)), listing, write))
            }
        };
        Content { status, kind, body: text.into_bytes().into() }
    }

    /// Why lines do not flow, if so.
    fn reasons(&mut self) -> Vec<&'static str> {
        let now = self.clock.now();
        let is_stalled = self.outlet.sink.state().stuck_since.is_some_and(|since| now.saturating_sub(since) > STALLED);
        let is_serving = self.life == Life::Serving;
        let is_full = is_serving && self.is_full() && self.limits.when_full == WhenFull::Wait;
        // A house in which all have a place is as it should be.
        let is_full = is_full && self.listeners.is_waited_at(&mut self.net);
        let sink = &self.outlet.sink;
        let is_behind = (0..sink.outputs().len()).any(|output| sink.is_falling_behind(output));
        let is_unacked = (0..sink.outputs().len()).any(|output| sink.unacked_since(output).is_some());
        let mut reasons = Vec::new();
        for (is_so, reason) in [
            (is_stalled, "an output has taken nothing for more than 10 s"),
            (is_behind, "an output falls further and further behind (--lag-alarm)"),
            (is_unacked, "an output does not acknowledge what it is sent"),
            (is_serving && self.listeners.are_paused(), "accepting is paused: no descriptor is free"),
            (is_full, "accepting is paused: all connections are taken (--max-connections)"),
            (!is_serving, "the server is stopping"),
        ] {
            if is_so {
                reasons.push(reason);
            }
        }
        reasons
    }

    /// What is to be looked into though lines may flow, the outputs that take nothing first.
    fn troubles(&self, history: &History, outputs: &[OutputStats], pollers: &[PollerStats]) -> Vec<Trouble> {
        let now = self.clock.now();
        let mut troubles = Vec::new();
        for (number, OutputStats { name, .. }) in outputs.iter().enumerate() {
            let since = self.outlet.sink.stuck_since(number);
            let for_ms = since.map_or(0, |since| ms(now.saturating_sub(since)));
            if for_ms >= ms(NOTABLE) {
                let waits = if self.outlet.is_stalled() { ", and clients wait for it" } else { "" };
                troubles.push(Trouble { text: [name, " takes nothing", waits].concat(), for_ms });
            }
        }
        for (number, OutputStats { name, counters, .. }) in outputs.iter().enumerate() {
            let (sink, lines) = (&self.outlet.sink, DisplayLines(counters.lag_lines));
            if let Some(since) = sink.unacked_since(number) {
                let text = format!("{name} does not acknowledge what it is sent");
                troubles.push(Trouble { text, for_ms: ms(now.saturating_sub(since)) });
            }
            if sink.is_falling_behind(number) {
                let text = format!("{name} falls behind: {lines} in the spool");
                troubles.push(Trouble { text, for_ms: counters.lag_seconds.saturating_mul(1000) });
            } else if let Some(since) = sink.away_since(number).filter(|since| now.saturating_sub(*since) >= NOTABLE)
                && sink.stuck_since(number).is_none()
            {
                let text = format!("{name} takes nothing: {lines} in the spool");
                troubles.push(Trouble { text, for_ms: ms(now.saturating_sub(since)) });
            }
        }
        for PollerStats { name, last_error, failing_since_ms, .. } in pollers {
            if let Some(since) = failing_since_ms {
                let text = format!("poller {name} brings nothing: {last_error}");
                troubles.push(Trouble { text, for_ms: ms(now).saturating_sub(*since) });
            }
        }
        #[cfg(feature = "tls")]
        troubles.extend(self.secured.troubles(self.clock.wall_ms(), ms(now)));
        troubles.extend(history.troubles(outputs, ms(now)));
        troubles
    }

    /// What there is to be seen, with so many connections and hosts.
    #[inline(never)] // for size
    fn board(&mut self, desk: &mut Visited<N>, most: usize, listing: &Listing, write: Write<'_>) -> String {
        // The visitor that asked is not in its place meanwhile: it is the 1.
        let (mut viewers, mut clients) = (Vec::new(), self.clients.connections.len() as u64 + 1);
        for place in desk.visitors() {
            clients += 1;
            if place.visitor.is_watching() {
                viewers.push(as_text(&place.peer));
            }
        }
        let now = ms(self.clock.now());
        if desk.descriptors.is_none_or(|known| now.saturating_sub(known.1) >= RECOUNT) {
            let others = host::descriptors_in_use().saturating_sub(clients);
            desk.descriptors = Some((others, now, host::descriptor_limit()));
        }
        let (others, _, allowed) = desk.descriptors.unwrap_or_default();
        let listed = match most {
            0 => Listed::default(),
            most => list(&mut self.clients, listing, most, self.clock.now(), self.outlet.is_stalled()),
        };
        let samples = if listing.has_history { desk.history.samples() } else { Vec::new() };
        let reasons = self.reasons();
        self.handle.snapshot(|snapshot| {
            write(&Board {
                view: View::new(snapshot, &viewers),
                settings: &desk.settings,
                uptime_ms: now,
                wall_ms: self.clock.wall_ms(),
                reasons,
                status_bytes: desk.held() as u64,
                rss: host::resident_memory(),
                descriptors: (others + clients, allowed),
                listed,
                troubles: &self.troubles(&desk.history, &snapshot.outputs, &snapshot.pollers),
                samples: &samples,
            })
        })
    }

    /// Asserts the invariant.
    pub(super) fn check_desk(&self) {
        let Some(desk) = &self.desk else { return };
        assert!(desk.held() <= desk.share, "8. visitors stay within their share: {} of {}", desk.held(), desk.share);
        let shares = desk.share + self.clients.budget.limit() + self.outlet.share();
        assert!(shares <= self.limits.memory, "9. and all shares within the budget (P5)");
        assert_eq!(desk.viewers, desk.count_viewers(), "10. lines go by those who look on");
    }
}

/// Does something for a visitor; false if that was the last.
type Work<S, N> = fn(&mut S, &mut Visited<N>, &mut Place<<N as Net>::Stream>) -> bool;

/// The desk of a server with this network.
type Visited<N> = Desk<<N as Net>::Listener, <N as Net>::Stream>;

/// Makes a body.
type Write<'w> = &'w dyn Fn(&Board<'_>) -> String;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::request::How;

    #[test]
    fn p9_passes_take_a_thirtieth_of_the_time_at_most_and_are_20_ms_apart_at_least() {
        let mut desk = Desk::<(), ()>::new((), 1 << 20, true, true);
        for (took_us, rest_ms) in [(0, 20), (600, 20), (700, 21), (2_000, 60), (50_000, 1_500)] {
            desk.end_pass(1_000, Duration::from_micros(took_us));
            assert_eq!(desk.next_pass - 1_000, rest_ms, "after {took_us} us");
        }
    }

    /// One whose only visitor watches the lines that hold this.
    fn watched(part: &[u8]) -> Desk<(), ()> {
        let mut desk = Desk::<(), ()>::new((), 1 << 20, true, true);
        let mut visitor = Visitor::new(0);
        visitor.watch(Viewer::new(part.into(), Vec::new(), MOST_WAITING), How::default(), 0);
        visitor.sent(visitor.output().len(), 0);
        let peer = Peer::Unix { serial: 1 };
        desk.places[0] =
            Some(Box::new(Place { stream: (), peer, visitor, asked: None, can_read: false, can_write: true }));
        (desk.viewers, desk.may_have_visitors) = (1, false);
        desk
    }

    #[test]
    fn p18_searching_is_visitors_time_too_and_what_there_is_no_time_for_is_told() {
        let (mut desk, now) = (watched(b"wanted"), std::cell::Cell::new(Duration::from_secs(1)));
        // Each look at the clock takes 100 us, and so does each piece.
        let clock = || now.replace(now.get() + Duration::from_micros(100));
        let body = [&b"x".repeat(9_000)[..], b"\n"].concat().repeat(100);
        let origin = Origin { peer: &Peer::Unix { serial: 1 }, wall_ms: 0, parse: crate::config::syslog::Parse::Off };
        let block = Lines { head: b"", body: &body, count: 100, ended: true };
        let lost = |count| format!("event: lost\ndata: {{\"lines\":{count},\"unsearched\":{count}}}\n\n");
        let show = |desk: &mut Desk<(), ()>| {
            desk.show(&clock, &origin, block);
            let visitor = &mut desk.places[0].as_mut().unwrap().visitor;
            visitor.next(0);
            let said = String::from_utf8(visitor.output().to_vec()).unwrap();
            visitor.sent(said.len(), 0);
            said
        };
        // 6 ms of rest are owed for each piece, and no more is begun when these are 200 ms.
        assert_eq!(show(&mut desk), lost(66));
        assert_eq!(show(&mut desk), lost(100));
        // It is told in the next pass, which rests for it, too.
        assert_eq!(desk.due_at, Some(0));
        desk.end_pass(1_000, Duration::from_millis(1));
        assert_eq!((desk.next_pass, desk.due_at), (1_060, Some(15_000)));
        now.set(now.get() + Duration::from_millis(60));
        assert_eq!(show(&mut desk), lost(89));
        // If another process has the processor meanwhile, that is nobody's time.
        now.set(now.get() + Duration::from_secs(1));
        let slow = || now.replace(now.get() + Duration::from_secs(1));
        desk.show(&slow, &origin, Lines { body: &body[..9_001], count: 1, ..block });
        assert_eq!(desk.rested_at + Duration::from_secs(1) - now.get(), (LONGEST_LOOK.0 + LONGEST_LOOK.1 * 9_000) * 60);
        desk.end_pass(3_000, Duration::from_millis(1));
        desk.end_pass(4_000, Duration::from_millis(1));
        assert_eq!(desk.next_pass, 4_030, "nobody has looked at lines");
        // What is told in no event yet makes the next pass due.
        desk.places[0].as_mut().unwrap().visitor.viewer().unwrap().0.pass_by(1);
        desk.end_pass(5_000, Duration::ZERO);
        assert_eq!(desk.due_at, Some(5_020));
    }
}
