//! A stream of NATS JetStream: the connection to one of its servers, on which a `Session` talks, and the batches that it is given.
//! Invariant: a batch is given only when the session wants one, and what was not acked can be given again.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::batch::{Batch, segment};
use super::nats_login::Login;
use super::queue::Feed;
use super::socket::HEARD_BYTES;
use crate::config::output::OutputOptions;
use crate::config::text::as_text;
use crate::config::units::DisplayDuration;
use crate::config::units::soonest;
use crate::dial::{Buffers, Dial, Line, Step, Terms, Trust};
use crate::engine::gap::{Gap, Why};
use crate::nats::servers::Servers;
use crate::nats::session::{Event, Wanted};
use crate::nats::{Lines, Position, Session, Settings, Stream, Tls, Trouble};
use crate::sink::Interest;
use crate::sink::source::Reached;
use crate::sink::target::{Books, Standing, Target, Took, Whose, Wrote};
use crate::sink::waiting::{Parts, len_of};

/// A batch goes out in a few writes, and none of them waits for room.
const BUFFERS: Buffers = Buffers { send: 256 * 1024, receive: None };
/// Reads in one turn, of [`HEARD_BYTES`] each: a message that is looked up takes some hundred.
const MOST_READS: usize = 32;
/// So many troubles are remembered, so that those that take turns are said once each.
const MOST_TROUBLES: usize = 8;
/// At the end, lines go out and acks come in for so long.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The connection.
enum State {
    /// There is none, and none is tried before `retry_at`.
    Away {
        retry_at: Duration,
    },
    Dialling(Dial),
    /// There is a connection, of which the session wants that it is secured.
    Securing(Dial),
    Connected(Line),
}

/// A stream as an output.
pub(super) struct Publisher {
    name: String,
    session: Session,
    servers: Servers,
    /// When connections are secured, and whom they trust.
    tls: Tls,
    trust: Trust,
    login: Login,
    feed: Feed,
    state: State,
    /// The socket has told something since the last write.
    is_told: bool,
    /// Lines from this number on were read, up to the other one, and there was nothing in them to be published.
    passed: Option<(u64, u64)>,
    /// Bytes of the batch in flight.
    batch_bytes: u64,
    /// The highest number of a line that was too long, and is counted.
    too_long: u64,
    random: u32,
    /// Since when lines can't go there.
    away_since: Option<Duration>,
    /// Since when there were no acks, though batches went out.
    unacked_since: Option<Duration>,
    /// The log says that there is no connection.
    is_said: bool,
    /// What else it says already, since lines went there last.
    troubles: Vec<String>,
    /// The server that takes lines: its name and version.
    server: String,
    has_been_ready: bool,
    rewinds: u64,
    taken: u64,
    over_at: Option<Duration>,
    is_over: bool,
}

impl Publisher {
    /// An output for a stream. The first write connects.
    pub(super) fn new(
        name: String,
        mut settings: Settings,
        (servers, trust, login): (Servers, Trust, Login),
        feed: Feed,
    ) -> Self {
        settings.position = feed.source_ref().reached().map(|reached| Position {
            acked: reached.number,
            sequence: reached.sequence,
            segment: segment(reached.segment),
        });
        settings.box_id = feed.source_ref().box_id();
        let [a, b, c, d, ..] = random();
        Self {
            name,
            tls: settings.tls,
            session: Session::new(settings),
            servers,
            trust,
            login,
            feed,
            state: State::Away { retry_at: Duration::ZERO },
            is_told: false,
            passed: None,
            batch_bytes: 0,
            too_long: 0,
            random: u32::from_le_bytes([a, b, c, d]),
            away_since: None,
            unacked_since: None,
            is_said: false,
            troubles: Vec::new(),
            server: String::new(),
            has_been_ready: false,
            rewinds: 0,
            taken: 0,
            over_at: None,
            is_over: false,
        }
    }

    /// One step towards a connection, or on it. Whether there may be more to do at once.
    fn go_on(&mut self, now: Duration, books: &mut Books) -> bool {
        if !matches!(self.state, State::Connected(_)) {
            // What is told of a connection that begins is asked for below, and of one that is gone it is nothing.
            self.is_told = false;
        }
        match mem::replace(&mut self.state, State::Away { retry_at: Duration::MAX }) {
            State::Away { retry_at } if now < retry_at || self.over_at.is_some() => {
                self.state = State::Away { retry_at };
                false
            }
            State::Away { .. } => {
                if let Some(credentials) = self.login.before_connect() {
                    self.session.set_credentials(credentials);
                }
                let Some(address) = self.servers.current() else { return false };
                let step = match self.terms(self.tls == Tls::First) {
                    Ok(terms) => Dial::host(&address.host, address.port, terms, now),
                    Err(error) => Step::Failed(error),
                };
                self.stepped(step, now, books)
            }
            State::Dialling(dial) => {
                if dial.is_late(now) {
                    self.be_away(&"its name is still being looked up", now, books);
                }
                self.stepped(dial.go_on(now), now, books)
            }
            State::Securing(dial) => self.secured(dial.go_on(now), now, books),
            State::Connected(line) => {
                self.state = State::Connected(line);
                self.talk(now, books)
            }
        }
    }

    /// What a connection to the next server is to be like.
    fn terms(&self, is_secured: bool) -> io::Result<Terms> {
        let name = self.servers.certified().filter(|_| is_secured);
        let guard = name.map(|name| self.trust.guard(name)).transpose()?.flatten();
        Ok(Terms { buffers: BUFFERS, guard })
    }

    /// The session wants its connection to be secured.
    fn secure(&mut self, now: Duration, books: &mut Books) -> bool {
        let State::Connected(line) = mem::replace(&mut self.state, State::Away { retry_at: Duration::MAX }) else {
            return false;
        };
        let step = match self.terms(true) {
            Ok(terms) => Dial::secure(line, terms, now),
            Err(error) => Step::Failed(error),
        };
        self.secured(step, now, books)
    }

    fn secured(&mut self, step: Step, now: Duration, books: &mut Books) -> bool {
        match step {
            Step::Pending(dial) => {
                self.state = State::Securing(dial);
                false
            }
            Step::Connected(line) => {
                self.state = State::Connected(line);
                self.session.secured(now);
                self.is_told = true;
                true
            }
            Step::Failed(error) => self.lost(&error, now, books),
        }
    }

    fn stepped(&mut self, step: Step, now: Duration, books: &mut Books) -> bool {
        match step {
            Step::Pending(dial) => {
                self.state = State::Dialling(dial);
                false
            }
            Step::Connected(line) => {
                books.counters.connections = books.counters.connections.saturating_add(1);
                self.state = State::Connected(line);
                self.session.connected(random(), now);
                // Its first words may be here already, of which nothing will be told any more.
                self.is_told = true;
                true
            }
            Step::Failed(error) => {
                self.servers.advance();
                self.be_away(&self.with_cure(&error), now, books);
                self.rest(now);
                false
            }
        }
    }

    /// Reads, gives what is wanted, and writes. Whether there may be more to do at once.
    fn talk(&mut self, now: Duration, books: &mut Books) -> bool {
        let is_told = mem::take(&mut self.is_told);
        let mut has_more = false;
        if is_told {
            match self.hear(now) {
                Ok(more) => has_more = more,
                Err(error) => return self.lost(&error, now, books),
            }
        }
        self.session.tick(now);
        let goes_on = self.settle_events(now, books);
        let (needed, is_urgent) = (self.session.needed(), self.session.is_urgent());
        self.feed.source().need(needed, is_urgent);
        if !goes_on {
            return false;
        }
        if let Some(wanted) = self.session.wants()
            && self.over_at.is_none_or(|at| now + LAST_CALL < at)
        {
            self.publish(wanted, now, books);
        }
        match self.send(now, books) {
            Ok(()) => {}
            Err(error) => return self.lost(&error, now, books),
        }
        self.is_told |= has_more;
        has_more
    }

    /// Whether there is more to read.
    fn hear(&mut self, now: Duration) -> io::Result<bool> {
        let State::Connected(line) = &mut self.state else { return Ok(false) };
        let mut bytes = [0; HEARD_BYTES];
        for _ in 0..MOST_READS {
            match line.read(&mut bytes) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server has closed the connection")),
                Ok(count) => {
                    let source = self.feed.source_ref();
                    let mut knows = |lines: &Lines| source.knows(lines.segment.first, lines.segment.salt, lines.last);
                    self.session.receive(bytes.get(..count).unwrap_or_default(), now, &mut knows);
                    if count < bytes.len() && !line.reads_short() {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn send(&mut self, now: Duration, books: &mut Books) -> io::Result<()> {
        let State::Connected(line) = &mut self.state else { return Ok(()) };
        while self.session.has_unsent() {
            let parts = self.session.unsent().map(IoSlice::new);
            match line.write_parts(&parts) {
                Ok(count) if count > 0 => {
                    books.wrote(count);
                    self.session.sent(count, now);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => break,
            }
        }
        Ok(())
    }

    /// What the session has to tell. False if the connection is over.
    fn settle_events(&mut self, now: Duration, books: &mut Books) -> bool {
        while let Some(event) = self.session.next_event() {
            match event {
                Event::Acked(position) => {
                    let bytes = mem::take(&mut self.batch_bytes);
                    self.feed.source().acked(reached(position), bytes);
                    self.servers.succeeded();
                    // Whatever was said to be wrong, lines go there.
                    (self.away_since, self.unacked_since) = (None, None);
                }
                Event::Found(position) => {
                    let bytes = mem::take(&mut self.batch_bytes);
                    self.feed.source().found(reached(position), bytes);
                    self.servers.succeeded();
                }
                Event::Unacked(time) => self.unacked(time, now, books),
                Event::Rewound { first, last } => {
                    self.rewinds += 1;
                    books.counters.rewinds = self.rewinds;
                    let name = &self.name;
                    match self.feed {
                        Feed::Spool(_) => books.report(format_args!(
                            "{name} has lost lines {first} to {last} of the spool, which it had acked: they are sent again, as far as they are still there"
                        )),
                        Feed::Memory(_) => {
                            books.dropped((last - first).saturating_add(1), 0);
                            books.report(format_args!(
                                "{name} has lost lines {first} to {last}, which it had acked: they are gone, as there is no spool (--spool)"
                            ));
                        }
                    }
                }
                Event::Close { next_server } => {
                    if next_server {
                        self.servers.advance();
                    }
                    self.session.disconnected();
                    self.rest(now);
                    return false;
                }
                Event::Ready(stream) => self.ready(&stream, now, books),
                Event::Trouble(trouble) => {
                    if let Trouble::Unauthorized { .. } = trouble {
                        self.login.refused();
                    }
                    self.troubled(as_text(&trouble), now, books);
                }
                Event::Servers(told) => self.servers.learn(&told),
                Event::Secure => {
                    return self.secure(now, books);
                }
            }
        }
        true
    }

    /// Nothing goes there, for a reason that is said once.
    fn troubled(&mut self, trouble: String, now: Duration, books: &mut Books) {
        if !self.troubles.contains(&trouble) {
            let (name, wait) = (&self.name, self.feed.waiters());
            books.report(format_args!("{name} takes nothing: {trouble}; {wait}, trying again"));
            self.troubles.truncate(MOST_TROUBLES - 1);
            self.troubles.insert(0, trouble);
        }
        self.away_since.get_or_insert(now);
    }

    fn unacked(&mut self, time: Duration, now: Duration, books: &mut Books) {
        self.unacked_since = Some(now.saturating_sub(time));
        let (name, time) = (&self.name, DisplayDuration(time));
        books.report(format_args!(
            "{name} has not acknowledged for {time}, though its stream is as it has to be: what it has got is looked up, which lets few lines through; see that server's log"
        ));
    }

    fn ready(&mut self, stream: &Stream, now: Duration, books: &mut Books) {
        let (name, status) = (&self.name, self.session.status());
        self.server = format!("{} {}", status.server, status.version);
        self.is_said = false;
        self.troubles.clear();
        match self.away_since.take() {
            Some(since) if self.has_been_ready => {
                let time = DisplayDuration(now.saturating_sub(since));
                books.tell(format_args!("{name} is back after {time}, at {}", status.server));
            }
            None if self.has_been_ready => {}
            _ => books.tell(format_args!(
                "{name} takes lines: server {} {}; the stream keeps {}",
                status.server,
                status.version,
                Kept(stream)
            )),
        }
        self.has_been_ready = true;
    }

    /// Makes a batch of what there is.
    fn publish(&mut self, wanted: Wanted, now: Duration, books: &mut Books) {
        let mut payload = self.session.spare();
        let source = self.feed.source();
        let passed = self.passed.filter(|(from, _)| *from == wanted.from);
        if passed.is_none() {
            source.go_to(wanted.from);
        }
        let mut batch = Batch::default();
        source.read(now, books, &mut |piece| batch.take(&piece, &wanted, &mut payload));
        if let Some((number, bytes)) = batch.too_long {
            let is_new = number > self.too_long;
            self.too_long = self.too_long.max(number);
            let mark = source.gap_line(Gap { lines: 1, bytes, why: Why::Payload });
            if is_new {
                books.dropped(1, bytes);
                books.report(format_args!(
                    "{} misses a line of {bytes} bytes: a message has room for {} bytes beside its headers ({})",
                    self.name,
                    wanted.most,
                    self.session.bound()
                ));
            }
            if mark.len() <= wanted.most {
                batch.append(&mark, &mut payload);
            }
        }
        let Some(mut lines) = batch.lines else { return };
        if let Some((_, last)) = passed {
            lines.first = lines.first.min(last + 1).max(wanted.from);
        }
        if batch.count == 0 {
            self.passed = Some((wanted.from, lines.last));
            return;
        }
        self.passed = None;
        self.batch_bytes = payload.len() as u64;
        self.session.publish(lines, payload, now);
    }

    /// The connection is lost.
    fn lost(&mut self, error: &io::Error, now: Duration, books: &mut Books) -> bool {
        self.session.disconnected();
        self.settle_events(now, books);
        self.servers.advance();
        self.be_away(&self.with_cure(error), now, books);
        self.rest(now);
        false
    }

    /// Why a connection has failed, with the other way of TLS where it may be that.
    fn with_cure(&self, error: &io::Error) -> String {
        let cure = match self.tls {
            _ if cfg!(not(feature = "tls")) || self.has_been_ready => "",
            // Its own words come first, as they do by default.
            Tls::First if error.kind() == ErrorKind::InvalidData => {
                " before it has said anything: give nats+tls:// if it has no handshake_first"
            }
            Tls::No | Tls::Upgrade if error.kind() == ErrorKind::UnexpectedEof => {
                ": give nats+tls-first:// if it has handshake_first"
            }
            _ => "",
        };
        [&as_text(error), cure].concat()
    }

    /// One warning for each absence, however often it is tried.
    fn be_away(&mut self, why: &dyn fmt::Display, now: Duration, books: &mut Books) {
        self.away_since.get_or_insert(now);
        // Why is said, if it was somebody there who would not have us.
        if self.troubles.is_empty() && !mem::replace(&mut self.is_said, true) {
            let (name, wait) = (&self.name, self.feed.waiters());
            books.report(format_args!("{name} is away: {why}; {wait}, trying again"));
        }
    }

    fn rest(&mut self, now: Duration) {
        // Knuth's generator (MMIX), of which the upper bits are the better ones.
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.state = State::Away { retry_at: now + self.servers.failed(self.random) };
        self.server.clear();
        self.passed = None;
    }

    /// Whether a batch could be made at once.
    fn may_publish(&self) -> bool {
        matches!(self.state, State::Connected(_))
            && self.session.wants().is_some()
            && (self.feed.source_ref().has_more() || self.has_no_place())
    }

    /// In memory, lines have no numbers before the stream has told where they go on.
    fn has_no_place(&self) -> bool {
        matches!(&self.feed, Feed::Memory(queue) if queue.has_no_place())
    }
}

/// How far the stream has come, as it is written down.
fn reached(position: Position) -> Reached {
    Reached {
        number: position.acked,
        sequence: position.sequence,
        segment: (position.segment.first, position.segment.salt),
    }
}

/// What a stream does with lines.
struct Kept<'a>(&'a Stream);

impl fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.replicas {
            0 | 1 => f.write_str("one copy of each line")?,
            replicas => write!(f, "{replicas} copies of each line")?,
        }
        f.write_str(if self.0.is_in_memory { ", in its memory alone," } else { "" })?;
        f.write_str(" until its limits are reached")
    }
}

/// What nobody can guess.
fn random() -> [u8; 12] {
    let mut bytes = [0; 12];
    // Without it, places for answers are only unlikely to be somebody else's.
    let _ = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    bytes
}

impl Target for Publisher {
    fn take(&mut self, whose: Whose<'_>, parts: Parts<'_>, _: bool, _: &mut Books) -> Took {
        if let Feed::Memory(queue) = &mut self.feed {
            queue.take(whose, parts);
            self.taken += len_of(parts) as u64;
        }
        Took::Written
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        if self.is_over {
            return Ok(Wrote::All);
        }
        books.report_all(&self.name, self.trust.take_unsaid());
        books.report_all(&self.name, self.login.take_unsaid());
        while self.go_on(now, books) {}
        self.feed.source().note(now, books);
        Ok(match &self.feed {
            Feed::Spool(_) => Wrote::All,
            Feed::Memory(queue) if queue.len() == 0 => Wrote::All,
            Feed::Memory(_) if self.away_since.is_none() => Wrote::Busy,
            Feed::Memory(_) => Wrote::Away,
        })
    }

    fn standing(&self) -> Standing {
        self.feed.standing()
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        self.feed.drop_lines()
    }

    fn lines_left(&self) -> u64 {
        self.feed.lines_left()
    }

    fn away_since(&self) -> Option<Duration> {
        self.away_since
    }

    fn unacked_since(&self) -> Option<Duration> {
        self.unacked_since
    }

    fn server(&self) -> &str {
        &self.server
    }

    fn is_falling_behind(&self) -> bool {
        self.feed.source_ref().is_falling_behind()
    }

    fn passes_over_itself(&self) -> bool {
        matches!(self.feed, Feed::Spool(_))
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        if self.is_over {
            return None;
        }
        if self.is_told || self.may_publish() {
            return Some(Duration::ZERO);
        }
        let own = match &self.state {
            State::Away { .. } if self.over_at.is_some() => None,
            State::Away { retry_at } => Some(retry_at.saturating_sub(now)),
            State::Dialling(dial) | State::Securing(dial) => Some(dial.due_in(now)),
            State::Connected(_) => self.session.due_in(now),
        };
        let end = self.over_at.map(|at| at.saturating_sub(now));
        soonest(&[own, end, self.feed.source_ref().due_in(now)])
    }

    fn unwatched(&mut self) -> Option<(BorrowedFd<'_>, Interest)> {
        let socket = match &mut self.state {
            State::Away { .. } => None,
            State::Dialling(dial) | State::Securing(dial) => dial.unwatched(),
            State::Connected(line) => line.unwatched(),
        };
        socket.map(|socket| (socket.as_fd(), Interest::ReadWrite))
    }

    fn ready(&mut self, _: bool) -> bool {
        self.is_told = true;
        false
    }

    fn configure(&mut self, _: &OutputOptions, _: &mut Books) {}

    fn reopen(&mut self) {
        self.trust.reload();
        if let Some(credentials) = self.login.reload() {
            self.session.set_credentials(credentials);
        }
        // What that came to is said with the next write.
        self.is_told = true;
        self.feed.source().reopen();
    }

    /// What is there goes out for a moment, and what is in flight is waited for; what is in memory alone, for as long as the
    /// server lets it.
    fn settle(&mut self, now: Duration, books: &mut Books) -> bool {
        if self.is_over {
            return true;
        }
        if let Feed::Memory(queue) = &self.feed {
            return queue.len() == 0;
        }
        let over_at = *self.over_at.get_or_insert(now + 2 * LAST_CALL);
        let _ = self.write(now, books);
        let is_in_flight = self.session.status().in_flight_since.is_some();
        let may_take = !matches!(self.state, State::Away { .. }) && self.away_since.is_none();
        let has_time = now + LAST_CALL < over_at;
        let is_busy = is_in_flight || (may_take && has_time && self.feed.source_ref().has_rest());
        if is_busy && now < over_at {
            return false;
        }
        self.feed.source().note(now, books);
        self.feed.source().close();
        self.is_over = true;
        self.state = State::Away { retry_at: Duration::MAX };
        true
    }
}
