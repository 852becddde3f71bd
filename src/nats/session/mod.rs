//! One output's talk with its servers, connection after connection: what it has to say next, and what came of it. Invariant:
//! one batch is in flight at most, and after anything that leaves its fate open the stream is asked for its last message
//! before the next.

mod deciding;
mod hearing;

use core::time::Duration;
use std::collections::VecDeque;

use super::answer::{Answer, Stream};
use super::credentials::Credentials;
use super::info::{Info, Pace, Reading};
use super::outgoing::Outgoing;
use super::request::{self, Question};
use super::trouble::Trouble;
use super::wire::Wire;
use super::{BATCH_BYTES, Hex, Lines, Position, Settings};

/// How long an answer may take: for a batch, from when its last byte has left us; else while nothing of it comes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the server is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// So many that are not answered end the connection.
const MOST_PINGS: u8 = 2;
/// So many questions that are not answered, or answers that make no sense, end it too.
const MOST_FAILURES: u8 = 2;
/// So many batches in a row that are refused straight after a look-up end it: another server may know more.
const MOST_CONTESTED: u8 = 4;
/// After a refusal; doubled with each, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Also between looks at what somebody has to mend.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// On a link that is slow a batch gets no shorter than this.
const LEAST_AIM: usize = 8 * 1024;
/// No server takes a longer message.
const MOST_MESSAGE: u64 = 64 * 1024 * 1024;
/// A message that can't be so long has no room for lines.
const LEAST_ROOM: usize = 1024;
/// How often a stream that takes lines is looked at: somebody may change it.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// So many batches in a row without an ack in time are told: one may be a slow moment.
const MOST_UNACKED: u32 = 3;
/// How often that is told.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// So many events wait to be fetched. Troubles beyond are not told.
const MOST_EVENTS: usize = 32;

/// What is wanted next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Number of the first line: what is older is in the stream. May be lower than before. If there is no such line any more, or
    /// no line has that number, the next one that there is.
    pub from: u64,
    /// Bytes that a batch is to have at most, where it has several lines.
    pub aim: usize,
    /// Bytes that it may have. A line that is longer alone never fits, and is to be passed over.
    pub most: usize,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server has acked a batch: the stream has all lines up to this one. May be lower than before: see [`Event::Rewound`].
    Acked(Position),
    /// A look-up has shown that the stream has all lines up to this one, and nothing was acked. May be lower, too.
    Found(Position),
    /// The stream has lost lines that it had acked: these are being sent again, as far as they are still there. Told once
    /// that is certain, which it is with the next ack at the latest, right before an [`Event::Acked`] or [`Event::Found`].
    Rewound {
        /// Number of the first.
        first: u64,
        /// Number of the last.
        last: u64,
    },
    /// The connection is of no use: end it, wait, and make another.
    Close {
        /// To the next server, if there is one.
        next_server: bool,
    },
    /// For so long there was no ack, batch after batch, though the stream is as it has to be. Once a minute at most.
    Unacked(Duration),
    /// All is well: lines go out on this connection. Once a connection, and again when a look at the stream finds mended what an
    /// earlier one had found wrong.
    Ready(Stream),
    /// All is not. Comes again as long as it lasts, so the log needs a limit.
    Trouble(Trouble),
    /// The connection is to be secured before anything else: do that, and call [`Session::secured`]. Nothing is to be read or sent
    /// before.
    Secure,
    /// Servers of the cluster, as `HOST:PORT`, in place of those told before.
    Servers(Vec<String>),
}

/// How things are, for status pages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// A word: `away`, `greeting`, `asking`, `ready`, `publishing`, `waiting` or `closing`.
    pub state: &'static str,
    /// The server's name.
    pub server: String,
    /// Its version.
    pub version: String,
    /// What the stream has.
    pub position: Position,
    /// When the last ack came.
    pub last_ack: Option<Duration>,
    /// Since when a batch is in flight.
    pub in_flight_since: Option<Duration>,
    /// Connections that were made, but for the first.
    pub reconnects_total: u64,
    /// How often the stream had lost lines.
    pub rewinds_total: u64,
    /// How often it was asked what it has.
    pub lookups_total: u64,
    /// Batches that were acked.
    pub batches_total: u64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// There is no connection.
    Away,
    /// The server is to say who it is.
    Greeting {
        until: Duration,
    },
    /// The connection is being secured, which the caller does, and ends if it takes too long.
    Securing,
    /// It is to let us in.
    Handshake {
        until: Duration,
    },
    Asking {
        question: Question,
        until: Duration,
    },
    Ready,
    /// A batch is in flight. `until` is set once all of it has left us.
    Publishing {
        lines: Lines,
        bytes: usize,
        since: Duration,
        until: Option<Duration>,
    },
    /// Nothing is tried for a while.
    Pausing {
        until: Duration,
        then: Question,
    },
    /// The connection is to be closed.
    Closing,
}

/// Batches in a row whose acks did not come in time.
#[derive(Debug, Default)]
struct Unacked {
    batches: u32,
    /// Since when the first of them was in flight.
    since: Duration,
    /// When that is told again.
    tell_at: Duration,
}

/// What is known of one connection.
#[derive(Debug, Default)]
struct Link {
    wire: Wire,
    out: Outgoing,
    /// Where answers go, without their number.
    inbox: String,
    info: Info,
    /// An `INFO` that comes, and how much of them came.
    reading: Reading,
    pace: Pace,
    /// An answer that comes, if it is the one that is waited for.
    answer: Option<Answer>,
    ping_at: Duration,
    pings: u8,
    /// When the stream is looked at again, as long as all is well.
    look_at: Duration,
    failures: u8,
    /// What the stream is like, until that is told.
    stream: Option<Stream>,
    was_ready: bool,
    was_made: bool,
}

/// A talk. The caller has the sockets: it calls [`connected`](Self::connected), gives what it reads to
/// [`receive`](Self::receive), writes [`unsent`](Self::unsent) and says how much of it was [`sent`](Self::sent), calls
/// [`tick`](Self::tick) when [`due_in`](Self::due_in) is over, and fetches [`next_event`](Self::next_event) after each of these until
/// there is none. When a batch is [wanted](Self::wants) it [publishes](Self::publish) one.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    phase: Phase,
    link: Link,
    /// The last number that a question or batch got; never given twice.
    number: u64,
    /// What was acked last; `None`: nobody knows.
    acked: Option<Position>,
    /// Where to go on: what the stream has.
    base: Position,
    /// Lines that the stream has lost, until that is certain.
    rewind: Option<(u64, u64)>,
    /// The stream did not have what was acked, when it was looked at.
    is_doubtful: bool,
    is_urgent: bool,
    /// Batches in a row that were refused straight after a look-up.
    contested: u8,
    /// Whether a batch was acked since the last look-up.
    was_acked: bool,
    unacked: Unacked,
    pause: Duration,
    aim: usize,
    /// The longest message that fits, from what was refused, headers and all.
    ceiling: usize,
    /// What the server and the stream take, headers and all.
    max_payload: u64,
    max_msg_size: Option<u64>,
    header_bytes: usize,
    events: VecDeque<Event>,
    spare: Vec<u8>,
    status: Status,
    has_connected: bool,
}

impl Session {
    /// A talk that has not begun.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let acked = settings.position;
        Self {
            header_bytes: request::most_header_bytes(&settings),
            settings,
            phase: Phase::Away,
            link: Link::default(),
            number: 0,
            acked,
            base: acked.unwrap_or_default(),
            rewind: None,
            is_doubtful: false,
            is_urgent: false,
            contested: 0,
            was_acked: false,
            unacked: Unacked::default(),
            pause: FIRST_PAUSE,
            aim: BATCH_BYTES,
            ceiling: usize::MAX,
            max_payload: 0,
            max_msg_size: None,
            events: VecDeque::new(),
            spare: Vec::new(),
            status: Status::default(),
            has_connected: false,
        }
    }

    /// A connection was made. `random` is what nobody can guess: answers go to a place that is named after it.
    pub fn connected(&mut self, random: [u8; 12], now: Duration) {
        self.link = Link { inbox: format!("_INBOX.{}", Hex(&random)), ping_at: now + PING_EVERY, ..Link::default() };
        self.phase = Phase::Greeting { until: now + ANSWER_TIMEOUT };
        self.status.reconnects_total += u64::from(self.has_connected);
        self.has_connected = true;
    }

    /// Who we are, from the next connection on.
    pub fn set_credentials(&mut self, credentials: Credentials) {
        self.settings.credentials = credentials;
    }

    /// The connection was secured.
    pub fn secured(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Securing) {
            self.greet(now);
        }
    }

    /// The connection has ended, whoever ended it. What was in flight may be stored or not.
    pub fn disconnected(&mut self) {
        if let Phase::Publishing { .. } = self.phase {
            self.shorten();
        }
        self.phase = Phase::Away;
        self.link = Link::default();
    }

    /// The bytes to be sent next, in this order.
    #[must_use]
    pub fn unsent(&self) -> [&[u8]; 3] {
        self.link.out.unsent()
    }

    /// Whether there are any.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        !self.link.out.is_empty()
    }

    /// So many of them were sent.
    pub fn sent(&mut self, bytes: usize, now: Duration) {
        if let Some(payload) = self.link.out.sent(bytes) {
            self.spare = payload;
        }
        if let Phase::Publishing { until: until @ None, .. } = &mut self.phase
            && !self.link.out.has_payload()
        {
            *until = Some(now + ANSWER_TIMEOUT);
        }
    }

    /// What is wanted; `None` if nothing is to be published now.
    #[must_use]
    #[inline(never)] // one copy, for size
    pub fn wants(&self) -> Option<Wanted> {
        let most = self.room().checked_sub(self.header_bytes)?;
        let is_ready = matches!(self.phase, Phase::Ready) && !self.link.out.has_payload();
        is_ready.then(|| Wanted { from: self.base.acked.saturating_add(1), aim: self.aim.min(most), most })
    }

    /// Publishes a batch, which was [wanted](Self::wants): lines with `\n` between them. `lines.first` is `from` or higher.
    pub fn publish(&mut self, lines: Lines, payload: Vec<u8>, now: Duration) {
        let is_wanted = self.wants().is_some_and(|wanted| lines.first >= wanted.from && payload.len() <= wanted.most);
        debug_assert!(
            is_wanted && lines.last >= lines.first,
            "{lines:?} of {} bytes, {:?}",
            payload.len(),
            self.wants()
        );
        if !is_wanted {
            return;
        }
        let reply = self.reply();
        let head = request::batch(&self.settings, &lines, self.base.sequence, &reply, payload.len());
        let bytes = self.header_bytes + payload.len();
        self.link.out.batch(&head, payload);
        self.phase = Phase::Publishing { lines, bytes, since: now, until: None };
    }

    /// What bounds a message, in words: who is to be told to take more.
    #[must_use]
    pub fn bound(&self) -> &'static str {
        let is_of_stream = self.max_msg_size.is_some_and(|most| most < self.max_payload);
        if is_of_stream { "the stream's max_msg_size" } else { "the server's max_payload" }
    }

    /// A buffer to make the next batch in: the last one's, emptied, or a new one.
    #[must_use]
    pub fn spare(&mut self) -> Vec<u8> {
        let mut spare = core::mem::take(&mut self.spare);
        spare.clear();
        spare
    }

    /// The lowest number that may still be wanted: it is not to be removed yet.
    #[must_use]
    pub fn needed(&self) -> u64 {
        self.base.acked.min(self.acked.unwrap_or_default().acked).saturating_add(1)
    }

    /// Whether the position is to be written down at once, and not some time later; once. The one before it is of a message that the
    /// stream has lost: with that, and a stream that has removed all that is left of ours meanwhile, the next process would take
    /// for removed what was lost.
    #[must_use]
    pub fn is_urgent(&mut self) -> bool {
        core::mem::take(&mut self.is_urgent)
    }

    /// What happened since it was asked last.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How things are.
    #[must_use]
    pub fn status(&self) -> Status {
        let (state, in_flight_since) = match self.phase {
            Phase::Away => ("away", None),
            Phase::Greeting { .. } | Phase::Securing | Phase::Handshake { .. } => ("greeting", None),
            Phase::Asking { .. } => ("asking", None),
            Phase::Ready => ("ready", None),
            Phase::Publishing { since, .. } => ("publishing", Some(since)),
            Phase::Pausing { .. } => ("waiting", None),
            Phase::Closing => ("closing", None),
        };
        Status {
            state,
            in_flight_since,
            server: self.link.info.name.clone(),
            version: self.link.info.version.clone(),
            position: self.acked.unwrap_or_default(),
            ..self.status.clone()
        }
    }

    /// How long nothing has to be done, if nothing comes.
    #[must_use]
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        let until = match self.phase {
            Phase::Away | Phase::Securing | Phase::Closing => return None,
            Phase::Greeting { until } | Phase::Handshake { until } | Phase::Asking { until, .. } => Some(until),
            Phase::Pausing { until, .. } => Some(until),
            Phase::Publishing { until, .. } => until,
            Phase::Ready => Some(self.link.look_at),
        };
        let at = until.map_or(self.link.ping_at, |until| until.min(self.link.ping_at));
        Some(at.saturating_sub(now))
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Duration) {
        match self.phase {
            Phase::Greeting { until } | Phase::Handshake { until } if until <= now => {
                return self.close(Some(Trouble::Unanswered));
            }
            Phase::Asking { question, until } if until <= now => self.ask_again(question, now),
            Phase::Publishing { since, until: Some(until), .. } if until <= now => self.miss_ack(since, now),
            Phase::Ready if self.link.look_at <= now => self.ask(Question::StreamAgain, now),
            Phase::Pausing { until, then } if until <= now => self.ask(then, now),
            _ => {}
        }
        if matches!(self.phase, Phase::Away | Phase::Securing | Phase::Closing) || self.link.ping_at > now {
            return;
        }
        if self.link.pings >= MOST_PINGS {
            return self.close(Some(Trouble::Unanswered));
        }
        self.link.pings += 1;
        self.link.ping_at = now + PING_EVERY;
        // Before `CONNECT` nothing may be said.
        if !matches!(self.phase, Phase::Greeting { .. }) {
            self.link.out.text("PING\r\n");
        }
    }

    /// Reads what came, cut anywhere. `known` is asked whether lines that the stream has may be ours: whether their segment is
    /// in our spool, or was before what it has now, and whether their last number was given.
    pub fn receive(&mut self, bytes: &[u8], now: Duration, known: &mut dyn FnMut(&Lines) -> bool) {
        let mut wire = core::mem::take(&mut self.link.wire);
        let mut rest = bytes;
        if matches!(self.phase, Phase::Securing) {
            return self.close(Some(Trouble::TooMuch));
        }
        while !matches!(self.phase, Phase::Away | Phase::Closing) {
            match wire.next(&mut rest) {
                Ok(Some(piece)) => {
                    self.take(piece, now, known);
                    if matches!(self.phase, Phase::Securing) && !rest.is_empty() {
                        self.close(Some(Trouble::TooMuch));
                    }
                }
                Ok(None) => break,
                Err(_) => self.close(Some(Trouble::NotNats)),
            }
        }
        // On a slow link a long answer takes its time.
        if let Phase::Asking { until, .. } = &mut self.phase
            && self.link.answer.is_some()
        {
            *until = now + ANSWER_TIMEOUT;
        }
        self.link.wire = wire;
    }

    /// No ack has come in time for a batch that is in flight since then. The stream may have been changed, so that none will.
    fn miss_ack(&mut self, since: Duration, now: Duration) {
        if self.unacked.batches == 0 {
            self.unacked.since = since;
        }
        self.unacked.batches = self.unacked.batches.saturating_add(1);
        self.shorten();
        self.ask(Question::Stream, now);
    }

    /// The stream is as it has to be: if there are no acks all the same, that is told.
    fn tell_unacked(&mut self, now: Duration) {
        if self.unacked.batches >= MOST_UNACKED && self.unacked.tell_at <= now {
            self.unacked.tell_at = now + TELL_EVERY;
            self.tell(Event::Unacked(now.saturating_sub(self.unacked.since)));
        }
    }

    /// A message of so many bytes did not fit.
    #[inline(never)] // one copy, for size
    fn lower(&mut self, bytes: usize) {
        self.ceiling = self.ceiling.min(bytes.saturating_sub(1));
        self.shorten();
    }

    #[inline(never)] // one copy, for size
    fn shorten(&mut self) {
        self.aim = (self.aim / 2).max(LEAST_AIM);
    }

    #[inline(never)] // one copy, for size
    fn reply(&mut self) -> String {
        self.number += 1;
        format!("{}.{}", self.link.inbox, self.number)
    }

    #[inline(never)] // one copy, for size
    fn ask(&mut self, question: Question, now: Duration) {
        self.status.lookups_total += u64::from(question == Question::Last);
        let reply = self.reply();
        self.link.out.text(&request::question(question, &self.settings, &reply));
        self.phase = Phase::Asking { question, until: now + ANSWER_TIMEOUT };
        self.leave();
    }

    /// Asks after a pause, which grows until a batch is acked.
    #[inline(never)] // one copy, for size
    fn wait(&mut self, then: Question, now: Duration) {
        self.phase = Phase::Pausing { until: now + self.pause, then };
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    /// Somebody has to mend something: says so, and looks again later.
    #[inline(never)] // one copy, for size
    fn hold(&mut self, trouble: Trouble, now: Duration) {
        self.tell(Event::Trouble(trouble));
        self.phase = Phase::Pausing { until: now + LONGEST_PAUSE, then: Question::Stream };
        self.leave();
    }

    #[inline(never)] // one copy, for size
    fn close(&mut self, trouble: Option<Trouble>) {
        if matches!(self.phase, Phase::Closing) {
            return;
        }
        // The same server again, if it only has to be told less at a time.
        let next_server = trouble.is_some() || self.link.info.is_leaving;
        if let Some(trouble) = trouble {
            self.tell(Event::Trouble(trouble));
        }
        if let Phase::Publishing { .. } = self.phase {
            self.shorten();
        }
        self.phase = Phase::Closing;
        self.events.retain(|event| !matches!(event, Event::Secure));
        self.tell(Event::Close { next_server });
    }

    #[inline(never)] // one copy, for size
    fn tell(&mut self, event: Event) {
        if let Event::Servers(_) = event {
            // Those told before are of no use any more.
            self.events.retain(|event| !matches!(event, Event::Servers(_)));
        }
        let event = match event {
            // Such a server takes its streams down first: whatever else is wrong with it comes from that.
            Event::Trouble(_) if self.link.info.is_leaving => Event::Trouble(Trouble::Leaving),
            other => other,
        };
        let is_needed = !matches!(event, Event::Trouble(_) | Event::Servers(_) | Event::Unacked(_));
        if is_needed || self.events.len() < MOST_EVENTS {
            self.events.push_back(event);
        }
    }
}
