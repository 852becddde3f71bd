//! The next receiver (`--output tcp:HOST:PORT`, `unix:/path`): one connection at a time, made anew when it ends, with
//! pauses that grow. The protocol has no receipts, so what the last connection came to is told by how it ended. Invariant:
//! no line is written to a connection before it is known what became of the one before.
//!
//! | the connection ended | what is known | what the next one gets |
//! | --- | --- | --- |
//! | with a goodbye, and our own was taken after all we wrote | all has arrived | what was not written, from the start of a line |
//! | with a reset, an error, or without a word for too long | nothing | the last [`KEPT`] bytes too, from the start of a line |

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime};

use socket2::SockAddr;

use super::address::Next;
use super::retained::Retained;
use super::socket::{self, ALONE, Heard, SEND_BUFFER, hear, references};
use crate::config::units::DisplayDuration;
use crate::dial::numeric::numeric;
use crate::dial::{Dial, Line, Step, Terms, Trust};
use crate::host;
use crate::linux::MSG_NOSIGNAL;
use crate::sink::Interest;
use crate::sink::pace::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::sink::place::Place;
use crate::sink::target::{Books, GATHERED_BYTES, Standing, Target, Took, Whose, Wrote};
use crate::sink::waiting::{Parts, len_of};

pub(super) const PACKET: usize = 64 * 1024;
/// Bytes that are kept after they were written, to be sent again if the connection breaks. If so many are on their way at
/// once, that is 25 MB a second at a round trip of 10 ms.
pub(super) const KEPT: usize = 256 * 1024;
const _: () = assert!(2 * SEND_BUFFER + PACKET <= KEPT, "what may be lost with a connection can be sent again");
/// How long the other side may take, after goodbyes, for what is on its way: longer than a Lumberjack waits for its own
/// stuck output before it ends and resets us (`--drain-timeout`, 5 s).
const VERDICT_TIMEOUT: Duration = Duration::from_secs(6);
/// How soon one that talks is listened to again: at full speed it would take half of a processor.
const DEAF: Duration = Duration::from_millis(50);
/// How the next receiver is reached.
enum Way {
    At(SockAddr),
    Named { host: String, port: u16 },
}

/// The state of the connection.
#[cfg_attr(test, derive(Debug))]
enum State {
    /// There is none, and none is tried before `retry_at`.
    Away {
        retry_at: Duration,
    },
    /// A connection begins.
    Dialling(Dial),
    Connected(Link),
    /// A FIN was sent or has come. Nothing more is written; what was written is on its way.
    Leaving {
        link: Link,
        until: Duration,
        said: Said,
    },
}

/// Who has said goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// We have, first.
    We,
    /// The other side has, and we did not answer: only so its close can be seen.
    They,
    /// The other side has, and we have answered.
    Both,
}

/// A connection.
#[cfg_attr(test, derive(Debug))]
struct Link {
    line: Line,
    since: Duration,
    /// Bytes that were written to it.
    written: u64,
}

/// How a connection ended.
enum Ending {
    Goodbye,
    Broken(io::Error),
}

/// What has become of what was written to a connection after a FIN.
enum Verdict {
    Open,
    Arrived,
    Broken(io::Error),
}

/// A time without a connection.
struct Absence {
    since: Duration,
    /// The log says so already.
    is_said: bool,
    /// Bytes that will be sent a second time.
    again: usize,
}

/// One next receiver.
pub(super) struct Forward {
    name: String,
    trust: Trust,
    terms: Terms,
    way: Way,
    state: State,
    lines: Retained,
    /// Bytes taken so far.
    taken: u64,
    absence: Option<Absence>,
    /// The last pause before a connect.
    pause: Duration,
    random: u64,
    /// How the connection has ended, if that was found out in the middle of a turn: acted on at the turn's end.
    ending: Option<Ending>,
    /// An event of the socket came, or there is more to read from it.
    is_told: bool,
    /// The other side talks: nobody listens before then.
    is_deaf: bool,
    deaf_until: Duration,
    end: End,
}

/// Whether the server ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    Near,
    /// It ends, and a connection has broken since. What the next ones take does not count as progress until one of them
    /// has confirmed all of it.
    Doubtful,
}

impl Forward {
    /// An output for the next receiver, which keeps so many bytes to send them again. The first write connects to it; it may
    /// be away.
    ///
    /// # Errors
    /// A path that is too long for a Unix socket.
    pub(super) fn new(next: &Next, kept: usize, trust: Trust) -> io::Result<Self> {
        let way = match next {
            Next::Unix(path) => Way::At(SockAddr::unix(path)?),
            Next::Tcp { host, port, .. } => match numeric(host) {
                Some(address) => Way::At(SocketAddr::new(address, *port).into()),
                None => Way::Named { host: host.clone(), port: *port },
            },
        };
        // Boxes that have lost the same receiver at the same time must not all connect at the same time.
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let random = u64::from(clock.subsec_nanos()) << 32 | u64::from(std::process::id());
        let guard = match next {
            Next::Unix(_) => None,
            Next::Tcp { host, .. } => trust.guard(host)?,
        };
        Ok(Self {
            name: next.name(),
            trust,
            terms: Terms { buffers: socket::DEAF, guard },
            way,
            state: State::Away { retry_at: Duration::ZERO },
            lines: Retained::new(kept),
            taken: 0,
            absence: None,
            pause: FIRST_PAUSE / 2,
            random,
            ending: None,
            is_told: false,
            is_deaf: false,
            deaf_until: Duration::ZERO,
            end: End::NotYet,
        })
    }

    /// Whether lines can be sent.
    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected(_)) && self.ending.is_none()
    }

    /// Since when it is away, if that is said.
    pub(super) fn away_since(&self) -> Option<Duration> {
        self.absence.as_ref().filter(|absence| absence.is_said).map(|absence| absence.since)
    }

    /// Whether a connection begins.
    pub(super) fn is_dialling(&self) -> bool {
        matches!(self.state, State::Dialling(_))
    }

    /// Whether there is a connection, of which something may still be heard.
    pub(super) fn is_linked(&self) -> bool {
        matches!(self.state, State::Connected(_) | State::Leaving { .. })
    }

    /// Bytes taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// How many of them can't be sent again any more: the other side has them.
    pub(super) fn confirmed(&self) -> u64 {
        self.taken - self.lines.held() as u64
    }

    fn is_unix(&self) -> bool {
        matches!(&self.way, Way::At(address) if address.is_unix())
    }

    /// Whether the server ends and nothing is left to be sent.
    fn is_at_rest(&self) -> bool {
        self.end != End::NotYet && self.lines.waiting() == 0
    }

    /// The state that follows this one, or the same if nothing has changed. `was_told`: the kernel has told something of the
    /// socket.
    fn next(&mut self, state: State, was_told: bool, now: Duration, books: &mut Books) -> State {
        match state {
            State::Away { retry_at } if now < retry_at || self.is_at_rest() => State::Away { retry_at },
            State::Away { .. } => {
                let step = match &self.way {
                    Way::At(address) => {
                        let only = vec![address.clone()].into_iter();
                        Dial::addresses(only, self.terms.clone(), ErrorKind::NotFound.into(), now)
                    }
                    Way::Named { host, port } => Dial::host(host, *port, self.terms.clone(), now),
                };
                self.stepped(step, now, books)
            }
            State::Dialling(dial) => {
                if dial.is_late(now) {
                    self.be_away(&"its name is still being looked up", now, books);
                }
                self.stepped(dial.go_on(now), now, books)
            }
            State::Connected(_) => state,
            State::Leaving { mut link, until, said } => match self.verdict(&mut link.line, said, was_told) {
                Verdict::Open if now < until => State::Leaving { link, until, said },
                Verdict::Open => self.end_without_verdict(&link, said == Said::We, now, books),
                Verdict::Arrived => self.arrived(&link, now, books),
                Verdict::Broken(error) => self.broken(&error, &link, now, books),
            },
        }
    }

    fn stepped(&mut self, step: Step, now: Duration, books: &mut Books) -> State {
        match step {
            Step::Pending(dial) => State::Dialling(dial),
            Step::Connected(line) => self.connected(line, now, books),
            Step::Failed(error) => self.absent(&error, now, books),
        }
    }

    fn connected(&mut self, line: Line, now: Duration, books: &mut Books) -> State {
        books.counters.connections = books.counters.connections.saturating_add(1);
        if let Some(Absence { since, is_said: true, again }) = self.absence.take() {
            let (name, time) = (&self.name, DisplayDuration(now.saturating_sub(since)));
            books.report(format_args!("{name} is back after {time}; {again} bytes are sent again"));
        }
        self.is_deaf = false;
        State::Connected(Link { line, since: now, written: 0 })
    }

    /// It can't be connected to.
    fn absent(&mut self, why: &dyn fmt::Display, now: Duration, books: &mut Books) -> State {
        self.be_away(why, now, books);
        self.rest(false, now)
    }

    /// The connection broke: nobody knows whether what was written last has arrived, so it is sent again.
    fn broken(&mut self, why: &dyn fmt::Display, link: &Link, now: Duration, books: &mut Books) -> State {
        if self.end == End::Near {
            self.end = End::Doubtful;
        }
        let again = self.lines.nothing_arrived();
        self.send_again(again, now, books);
        // The kernel of the other side may have had more that it acknowledged and nobody read: as much as ours would hold,
        // for all that we know. All that a Unix socket holds can be sent again.
        match link.written.saturating_sub(again as u64).min(host::tcp_buffer()) {
            most @ 1.. if !self.is_unix() => {
                let why = format_args!(
                    "{why}; if it had not read them, up to {most} bytes before the last {again}, which are sent again, are lost"
                );
                self.be_away(&why, now, books);
            }
            _ => self.be_away(why, now, books),
        }
        self.rest(self.was_long(link, now), now)
    }

    /// The connection has ended, and the other side has all that was written. The log says nothing yet, as it may be back
    /// soon.
    fn arrived(&mut self, link: &Link, now: Duration, books: &mut Books) -> State {
        let was_useful = self.lines.unconfirmed() > 0;
        let again = self.lines.all_arrived();
        self.send_again(again, now, books);
        self.rest(was_useful || self.was_long(link, now), now)
    }

    /// A FIN was sent, and too much time has passed since.
    fn end_without_verdict(&mut self, link: &Link, is_ours: bool, now: Duration, books: &mut Books) -> State {
        if is_ours {
            let (name, bytes) = (&self.name, self.lines.unconfirmed());
            books.report(format_args!(
                "{name} has not confirmed the last {bytes} bytes: they are lost if it ends before it reads them"
            ));
        }
        if is_ours || self.is_unix() {
            // The other side can still read what is in a Unix socket's queue after we have closed it.
            return self.arrived(link, now, books);
        }
        // Closed with a reset, so that what is still on its way can't arrive behind what is sent again.
        let _ = link.line.socket().set_linger(Some(Duration::ZERO));
        self.broken(&"it said goodbye, and did not take what was on its way", link, now, books)
    }

    fn send_again(&mut self, bytes: usize, now: Duration, books: &mut Books) {
        books.counters.resent_bytes = books.counters.resent_bytes.saturating_add(bytes as u64);
        let absence = self.absence.get_or_insert(Absence { since: now, is_said: false, again: 0 });
        absence.again += bytes;
    }

    /// One warning for each absence, however often it is tried.
    fn be_away(&mut self, why: &dyn fmt::Display, now: Duration, books: &mut Books) {
        let absence = self.absence.get_or_insert(Absence { since: now, is_said: false, again: 0 });
        if !mem::replace(&mut absence.is_said, true) {
            books.report(format_args!("{} is away: {why}; lines for it wait, trying again", self.name));
        }
    }

    /// Whether a connection lasted longer than the pause before it. Not so if the other side accepts connections only to
    /// close them, again and again.
    fn was_long(&self, link: &Link, now: Duration) -> bool {
        now.saturating_sub(link.since) > self.pause
    }

    /// The pause before the next connect. It is doubled each time that the last connection was of no use.
    fn rest(&mut self, was_useful: bool, now: Duration) -> State {
        self.pause = if was_useful { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        // The upper bits of Knuth's generator (MMIX): from three quarters to five quarters of the pause.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = u32::try_from(self.random >> 55).unwrap_or_default();
        State::Away { retry_at: now + self.pause * 3 / 4 + self.pause * share / 1024 }
    }

    /// Whether what was written to a connection has arrived, after a FIN. Over TCP it has when our own FIN is acknowledged: the
    /// kernel then has no peer address for the socket any more. On a Unix socket it has when the other side has closed it and
    /// left nothing unread. If it has not arrived and never will, the socket has an error, which is set first. `was_told`: the
    /// kernel has told something of the socket.
    fn verdict(&mut self, line: &mut Line, said: Said, was_told: bool) -> Verdict {
        if self.is_deaf {
            return Verdict::Open;
        }
        match hear(line) {
            Ok(Heard::Goodbye) => {}
            Ok(Heard::Silence) => return Verdict::Open,
            Ok(Heard::Talk) => {
                self.is_deaf = true;
                return Verdict::Open;
            }
            Err(error) => return Verdict::Broken(error),
        }
        let socket = line.socket();
        let is_over = match (self.is_unix(), said) {
            (false, _) => socket.peer_addr().is_err(),
            (true, Said::Both) => was_told && references(socket).is_some_and(|count| count <= ALONE),
            (true, _) => socket.send_with_flags(&[], MSG_NOSIGNAL).is_err(),
        };
        match socket.take_error() {
            Ok(Some(error)) | Err(error) => Verdict::Broken(error),
            Ok(None) if is_over => Verdict::Arrived,
            Ok(None) => Verdict::Open,
        }
    }

    /// Writes what waits, until the kernel takes no more: then the answer is [`Took::Refused`]. Before each write it reads
    /// what the other side has sent, since nothing must be written after the other side's FIN.
    fn push(&mut self, books: &mut Books) -> Took {
        let Self { state: State::Connected(Link { line, written, .. }), lines, ending, is_deaf, .. } = self else {
            return Took::Written;
        };
        while ending.is_none() {
            match if *is_deaf { Ok(Heard::Silence) } else { hear(line) } {
                Ok(Heard::Silence) => {}
                Ok(Heard::Talk) => *is_deaf = true,
                Ok(Heard::Goodbye) => {
                    *ending = Some(Ending::Goodbye);
                    break;
                }
                Err(error) => {
                    *ending = Some(Ending::Broken(error));
                    break;
                }
            }
            if lines.waiting() == 0 {
                break;
            }
            match line.write(lines.unwritten()) {
                Ok(count) if count > 0 => {
                    lines.wrote(count);
                    books.wrote(count);
                    *written += count as u64;
                    if lines.waiting() == 0 {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => *ending = Some(Ending::Broken(error)),
                _ => return Took::Refused,
            }
        }
        Took::Written
    }

    /// The connection has ended.
    fn end(&mut self, ending: Ending, now: Duration, books: &mut Books) {
        let State::Connected(link) = mem::take(&mut self.state) else { return };
        self.state = match ending {
            Ending::Goodbye => self.leave(link, now, false),
            Ending::Broken(error) => self.broken(&error, &link, now, books),
        };
    }

    fn leave(&mut self, mut link: Link, now: Duration, is_ours: bool) -> State {
        // Trap: after FINs from both sides a Unix socket does not say any more that the other side has closed it. If nothing
        // else can say so, ours is not sent: the other side will close by itself.
        let said = match is_ours {
            true => Said::We,
            false if !self.is_unix() || references(link.line.socket()).is_some_and(|count| count > ALONE) => Said::Both,
            false => Said::They,
        };
        if said != Said::They {
            link.line.say_goodbye(is_ours);
        }
        self.is_told = true;
        State::Leaving { link, until: now + VERDICT_TIMEOUT, said }
    }
}

/// Short, since a derived one of all the states would be 10 KiB of code that nobody runs.
impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Default for State {
    fn default() -> Self {
        Self::Away { retry_at: Duration::ZERO }
    }
}

impl Target for Forward {
    fn take(&mut self, _: Whose<'_>, parts: Parts<'_>, may_write: bool, books: &mut Books) -> Took {
        self.taken += len_of(parts) as u64;
        self.lines.append(parts);
        if may_write && self.lines.waiting() >= GATHERED_BYTES { self.push(books) } else { Took::Waits }
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        books.report_all(&self.name, self.trust.take_unsaid());
        let was_told = mem::take(&mut self.is_told);
        self.is_deaf &= now < self.deaf_until;
        let state = mem::take(&mut self.state);
        self.state = self.next(state, was_told, now, books);
        self.push(books);
        if self.is_deaf && self.deaf_until <= now {
            self.deaf_until = now + DEAF;
        }
        if let Some(ending) = self.ending.take() {
            self.end(ending, now, books);
        }
        let is_flowing = matches!(self.state, State::Connected(_)) && !self.is_told;
        if self.end == End::Doubtful {
            return Ok(Wrote::Away);
        }
        Ok(match self.lines.waiting() {
            0 => Wrote::All,
            // As long as it is sent again what it was sent before, that is no progress for the lines that wait.
            waiting if is_flowing && waiting <= self.lines.unsent() => Wrote::Blocked,
            _ => Wrote::Away,
        })
    }

    fn standing(&self) -> Standing {
        // What was written once counts, even if it is sent again.
        let delivered = self.taken - self.lines.unsent() as u64;
        Standing { waiting: self.lines.waiting(), held: self.lines.held(), delivered, ..Standing::default() }
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        let begun = match &self.state {
            State::Connected(link) => link.line.begun(),
            _ => 0,
        };
        self.lines.drop_lines(begun)
    }

    fn reopen(&mut self) {
        self.trust.reload();
        // What that came to is said with the next write.
        self.is_told = true;
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        if self.is_told || self.ending.is_some() {
            return Some(Duration::ZERO);
        }
        match &self.state {
            State::Away { .. } if self.is_at_rest() => None,
            State::Away { retry_at: at } => Some(at.saturating_sub(now)),
            State::Dialling(dial) => Some(dial.due_in(now)),
            State::Leaving { until, .. } => {
                let at = if self.is_deaf { self.deaf_until.min(*until) } else { *until };
                Some(at.saturating_sub(now))
            }
            State::Connected(_) => self.is_deaf.then(|| self.deaf_until.saturating_sub(now)),
        }
    }

    fn unwatched(&mut self) -> Option<(BorrowedFd<'_>, Interest)> {
        let socket = match &mut self.state {
            State::Away { .. } => None,
            State::Dialling(dial) => dial.unwatched(),
            State::Connected(link) | State::Leaving { link, .. } => link.line.unwatched(),
        };
        socket.map(|socket| (socket.as_fd(), Interest::ReadWrite))
    }

    fn ready(&mut self, _: bool) -> bool {
        self.is_told = true;
        false
    }

    fn settle(&mut self, now: Duration, _: &mut Books) -> bool {
        if self.end == End::NotYet {
            self.end = End::Near;
        }
        if self.lines.waiting() > 0 || self.ending.is_some() {
            return false;
        }
        match mem::take(&mut self.state) {
            State::Connected(link) if self.lines.unconfirmed() > 0 => self.state = self.leave(link, now, true),
            State::Connected(mut link) => {
                // Others log an end over TLS that was not said inside.
                link.line.say_goodbye(true);
                return true;
            }
            state @ State::Leaving { .. } => self.state = state,
            _ => return true,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dial::progress;
    use socket2::Socket;
    use std::io::Read;
    use std::mem::MaybeUninit;
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::time::Instant;

    /// A next receiver that the test plays, one that forwards to it, and a clock that the test moves.
    struct World {
        listener: Socket,
        forward: Forward,
        now: Duration,
        books: Books,
        path: Option<PathBuf>,
    }

    impl Drop for World {
        fn drop(&mut self) {
            let _ = self.path.as_ref().map(std::fs::remove_file);
        }
    }

    impl World {
        fn both(name: &str) -> [Self; 2] {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = tcp.local_addr().unwrap().port();
            let path = std::env::temp_dir().join(format!("lumberjack-forward-{}-{name}", std::process::id()));
            let unix = UnixListener::bind(&path).unwrap();
            let place = Next::Tcp { host: "127.0.0.1".to_owned(), port, tls: None };
            [Self::new(tcp.into(), &place, None), Self::new(unix.into(), &Next::Unix(path.clone()), Some(path))]
        }

        fn new(listener: Socket, place: &Next, path: Option<PathBuf>) -> Self {
            let forward = Forward::new(place, KEPT, Trust::default()).unwrap();
            Self { listener, forward, now: Duration::ZERO, books: Books::default(), path }
        }

        fn write(&mut self) -> Wrote {
            self.forward.write(self.now, &mut self.books).unwrap()
        }

        fn take(&mut self, lines: &[u8]) {
            self.forward.take(Whose::Mark, [lines, b"", b""], true, &mut self.books);
        }

        /// Writes until something is so; the clock that the other side's kernel has is not ours to move.
        fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
            let deadline = Instant::now() + Duration::from_secs(10);
            while !is_so(self) {
                assert!(Instant::now() < deadline, "never came: {what}: {:?}", self.forward.state);
                self.forward.ready(false);
                self.write();
                std::thread::yield_now();
            }
        }

        /// A connection, from the other side's view.
        fn accept(&mut self) -> Socket {
            self.until("a connection", |world| matches!(world.forward.state, State::Connected(_)));
            let (socket, _) = self.listener.accept().unwrap();
            socket
        }

        /// Lines until the kernel takes no more.
        fn fill(&mut self) {
            let block: Vec<u8> = (0..20_000).flat_map(|number| format!("{number:098}\n").into_bytes()).collect();
            let deadline = Instant::now() + Duration::from_secs(10);
            while self.write() != Wrote::Blocked {
                assert!(Instant::now() < deadline, "never refused: {:?}", self.forward.state);
                // How much it takes is the kernel's to say: some megabytes at times.
                if self.forward.lines.waiting() < 4 * KEPT {
                    self.take(&block);
                }
            }
        }

        fn written(&self) -> u64 {
            self.books.counters.bytes
        }
    }

    #[test]
    fn p12_one_that_is_absent_is_tried_with_growing_pauses_and_one_warning() {
        let [mut world, _] = World::both("absent");
        let gone = std::env::temp_dir().join("lumberjack-forward-nobody");
        world.forward = Forward::new(&Next::Unix(gone), KEPT, Trust::default()).unwrap();
        world.take(b"line\n");
        let mut pauses = Vec::new();
        for _ in 0..40 {
            assert_eq!(world.write(), Wrote::Away);
            let pause = world.forward.due_in(world.now).unwrap();
            assert!(!pause.is_zero(), "a spin");
            world.now += pause;
            pauses.push(pause);
        }
        let [first, .., last] = &pauses[..] else { panic!() };
        assert!((75..=125).contains(&first.as_millis()), "{first:?}");
        assert!((3_750..=6_250).contains(&last.as_millis()), "{last:?}");
        let later = &pauses[20..];
        assert!(later.iter().max().unwrap().as_millis() > later.iter().min().unwrap().as_millis() + 500, "{later:?}");
        assert_eq!(world.books.reports.len(), 1, "{:?}", world.books.reports);
        assert!(world.books.reports[0].contains("-nobody is away: No such file"), "{:?}", world.books.reports);
    }

    #[test]
    fn p1_the_kernel_never_holds_more_than_can_be_sent_again() {
        for mut world in World::both("kept") {
            let other = world.accept();
            let mut queue = vec![MaybeUninit::uninit(); 8 * KEPT];
            for _ in 0..50 {
                world.fill();
                // What lies unread in a Unix socket's queue is lost with it; over TCP that is for the other side to say.
                let queued = if world.forward.is_unix() { 0 } else { other.peek(&mut queue).unwrap() };
                let at_stake = usize::try_from(world.written()).unwrap() - queued;
                assert!(at_stake <= KEPT, "{at_stake} bytes");
                assert!(world.forward.lines.unconfirmed() >= at_stake);
                // Only to leave the kernel time for another packet.
                std::thread::park_timeout(Duration::from_millis(1));
            }
            assert!(world.written() > KEPT as u64 / 2, "{} bytes: a test of nothing", world.written());
            assert_eq!(world.forward.standing().delivered, world.written());
        }
    }

    #[test]
    fn p1_one_that_said_goodbye_and_takes_nothing_is_waited_for_and_then_left() {
        let [mut tcp, mut unix] = World::both("stuck");
        for world in [&mut tcp, &mut unix] {
            let mut other = world.accept();
            world.fill();
            let written = world.written();
            other.shutdown(Shutdown::Write).unwrap();
            world.until("our goodbye", |world| matches!(world.forward.state, State::Leaving { .. }));
            world.now += VERDICT_TIMEOUT - Duration::from_millis(1);
            assert_eq!(world.write(), Wrote::Away);
            assert!(matches!(world.forward.state, State::Leaving { .. }), "too early");
            assert_eq!(world.written(), written, "written after its goodbye");
            world.now += Duration::from_millis(1);
            assert_eq!(world.write(), Wrote::Away);
            assert!(matches!(world.forward.state, State::Away { .. }), "{:?}", world.forward.state);
            let again = world.books.counters.resent_bytes;
            if world.forward.is_unix() {
                assert!(again < 99, "no more than the line that was cut: {again}");
            } else {
                assert!(again > KEPT as u64 / 3, "all that may not have arrived: {again}");
                // What comes behind the reset would come twice.
                let mut read = vec![0; KEPT * 2];
                let error = loop {
                    match other.read(&mut read) {
                        Ok(0) => panic!("a goodbye, where bytes are missing"),
                        Ok(_) => {}
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
        }
    }

    #[test]
    fn p1_one_that_said_goodbye_and_closes_with_lines_unread_has_not_got_them() {
        for mut world in World::both("throws") {
            let other = world.accept();
            world.fill();
            other.shutdown(Shutdown::Write).unwrap();
            world.until("our goodbye", |world| matches!(world.forward.state, State::Leaving { .. }));
            for _ in 0..10 {
                world.write();
            }
            assert!(matches!(world.forward.state, State::Leaving { .. }), "nothing is known yet");
            drop(other);
            world.until("the end", |world| matches!(world.forward.state, State::Away { .. }));
            assert_eq!(world.forward.lines.unconfirmed(), 0);
            assert!(world.books.counters.resent_bytes > KEPT as u64 / 3, "{:?}", world.books.counters);
        }
    }

    #[test]
    fn p8_a_goodbye_over_a_unix_socket_is_answered_and_the_close_that_follows_is_seen() {
        let [_, mut world] = World::both("answered");
        let mut other = world.accept();
        other.set_nonblocking(true).unwrap();
        world.take(b"line\n");
        assert_eq!(world.write(), Wrote::All);
        other.shutdown(Shutdown::Write).unwrap();
        world.until("our goodbye", |world| matches!(world.forward.state, State::Leaving { .. }));
        let mut read = [0; 10];
        assert_eq!(other.read(&mut read).unwrap(), 5);
        assert_eq!(other.read(&mut read).unwrap(), 0, "without our goodbye it would wait for more");
        for _ in 0..10 {
            world.forward.ready(false);
            world.write();
        }
        assert!(matches!(world.forward.state, State::Leaving { .. }), "it has not closed yet");
        drop(other);
        // The clock stands still: nothing but the kernel tells.
        world.until("the end", |world| matches!(world.forward.state, State::Away { .. }));
        assert_eq!((world.forward.lines.unconfirmed(), world.books.counters.resent_bytes), (0, 0));
    }

    #[test]
    fn p12_what_a_kernel_that_died_had_taken_beyond_what_is_sent_again_is_told_of() {
        for mut world in World::both("died") {
            let mut other = world.accept();
            let mut read = vec![0; 2 * PACKET];
            for _ in 0..8 {
                world.fill();
                other.read_exact(&mut read).unwrap();
            }
            world.fill();
            drop(other);
            world.until("the end of the connection", |world| !matches!(world.forward.state, State::Connected(_)));
            let (written, again) = (world.written(), world.books.counters.resent_bytes);
            assert!(written > again, "a test of nothing");
            let said = world.books.reports.pop().unwrap();
            let most = (written - again).min(host::tcp_buffer());
            let most = format!("up to {most} bytes before the last {again}, which are sent again, are lost");
            assert_eq!(said.contains(&most), !world.forward.is_unix(), "{most}: {said}");
        }
    }

    #[test]
    fn p8_what_is_sent_again_is_no_progress() {
        let [_, mut world] = World::both("again");
        let mut other = world.accept();
        world.fill();
        // More was sent than the kernel holds, so that the next connection takes less than all of that.
        let mut read = vec![0; 2 * PACKET];
        other.read_exact(&mut read).unwrap();
        world.fill();
        drop(other);
        world.until("the end of the connection", |world| !matches!(world.forward.state, State::Connected(_)));
        world.now += LONGEST_PAUSE * 2;
        let _other = world.accept();
        for _ in 0..10 {
            assert_eq!(world.write(), Wrote::Away, "an output that takes lines again would be one that is not stuck");
        }
        let lines = &world.forward.lines;
        assert!(lines.waiting() > lines.unsent(), "a test of nothing");
    }

    #[test]
    fn p11_at_the_end_one_that_never_closes_is_waited_for_and_that_is_said() {
        for mut world in World::both("never") {
            let _other = world.accept();
            world.take(b"last\n");
            assert_eq!(world.write(), Wrote::All);
            assert!(!world.forward.settle(world.now, &mut world.books));
            world.now += VERDICT_TIMEOUT - Duration::from_millis(1);
            world.write();
            assert!(!world.forward.settle(world.now, &mut world.books), "too early");
            world.now += Duration::from_millis(1);
            world.write();
            assert!(world.forward.settle(world.now, &mut world.books));
            assert_eq!(world.forward.due_in(world.now), None, "it would connect again");
            let said = world.books.reports.pop().unwrap();
            assert!(said.contains("has not confirmed the last 5 bytes"), "{said}");
        }
    }

    #[test]
    fn p11_at_the_end_one_that_throws_away_what_it_takes_makes_no_progress() {
        for mut world in World::both("doubtful") {
            let other = world.accept();
            world.take(b"last\n");
            assert_eq!(world.write(), Wrote::All);
            assert!(!world.forward.settle(world.now, &mut world.books));
            drop(other);
            for _ in 0..3 {
                world.until("the end", |world| matches!(world.forward.state, State::Away { .. }));
                assert_eq!(world.write(), Wrote::Away);
                world.now += LONGEST_PAUSE * 2;
                let other = world.accept();
                assert_eq!(world.write(), Wrote::Away, "all is written, and nothing gained");
                assert!(!world.forward.settle(world.now, &mut world.books));
                drop(other);
            }
            world.until("the end", |world| matches!(world.forward.state, State::Away { .. }));
            world.now += LONGEST_PAUSE * 2;
            let mut other = world.accept();
            world.until("its lines", |world| world.forward.lines.waiting() == 0);
            assert!(!world.forward.settle(world.now, &mut world.books));
            assert_eq!(other.read(&mut [0; 100]).unwrap(), 5);
            drop(other);
            world.until("the end", |world| matches!(world.forward.state, State::Away { .. }));
            assert!(world.forward.settle(world.now, &mut world.books));
        }
    }

    #[test]
    fn p11_an_end_with_nothing_to_confirm_waits_for_nothing() {
        for mut world in World::both("idle") {
            world.accept();
            assert!(world.forward.settle(world.now, &mut world.books));
        }
    }

    #[test]
    fn p1_what_the_other_side_says_is_thrown_away_and_keeps_no_line_waiting() {
        for mut world in World::both("talks") {
            let other = world.accept();
            other.set_nonblocking(true).unwrap();
            let talk = vec![b'!'; 64 * 1024];
            while other.send_with_flags(&talk, MSG_NOSIGNAL).is_ok() {}
            world.take(b"line\n");
            assert_eq!(world.write(), Wrote::All);
            assert_eq!(world.written(), 5);
            assert_eq!(world.forward.due_in(world.now), Some(DEAF), "and it is listened to again after a pause");
            let mut pauses = 0;
            while world.forward.is_deaf {
                world.now += DEAF;
                world.write();
                pauses += 1;
            }
            assert!(pauses > 1, "a talk that is heard at once");
            assert_eq!(world.forward.due_in(world.now), None);
        }
    }

    #[test]
    fn p12_one_that_takes_a_connection_and_closes_it_is_not_hammered() {
        for mut world in World::both("hammered") {
            world.take(b"line\n");
            let mut pauses = Vec::new();
            for _ in 0..8 {
                drop(world.accept());
                world.until("the end", |world| matches!(world.forward.state, State::Away { .. }));
                let pause = world.forward.due_in(world.now).unwrap();
                pauses.push(pause);
                world.now += pause;
            }
            assert!(pauses.last().unwrap().as_millis() >= 3_750, "{pauses:?}");
        }
    }

    #[test]
    fn a_connect_that_meets_itself_is_refused() {
        let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        assert_eq!(progress(&socket).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(progress(&other.into()).unwrap());
    }
}
