//! One server, and one request after the other to it, on a connection that somebody else moves the bytes of. Invariant: every
//! request that is begun comes to a result: each thing that is waited for ends with [`Rules::whole`] at the latest.

use core::fmt;
use core::time::Duration;

use super::body::Body;
use super::head::{Coding, Framing, Head, HeadReader, Start};
use super::request::{Method, Request};
use super::secret::Secret;
use super::trouble::Trouble;
use super::url::Url;
use crate::gunzip::{Fault, Gunzip, MOST_RATIO};

/// The most redirects of one request.
const MOST_HOPS: u8 = 3;
/// So much is kept of the body of an answer that is no success: it holds an error's words.
const MOST_ERROR_BYTES: usize = 16 * 1024;
/// A body that nobody needs is waited for so long, for then the connection is kept, which spares the next request a new one.
const UNNEEDED_BODY: Duration = Duration::from_secs(1);
/// What may come along with a head before there is room for the body: one read of the owner's.
const MOST_EARLY_BYTES: usize = 256 * 1024;

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The longest until there is a head, from when the last byte of the request was sent.
    pub head: Duration,
    /// The longest for all of it, from [`Client::begin`] on: names, connecting and redirects are part of it.
    pub whole: Duration,
    /// The most bytes of a body, as it comes and once it is unpacked.
    pub most_body: usize,
    /// Whether room is asked for before a body is read: [`Client::room_wanted`].
    pub asks_for_room: bool,
}

/// What a server says. If it is no success (2xx), the body is its beginning, as far as it came, and at most 16 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// From 200 on.
    pub status: u16,
    /// The fields.
    pub head: Head,
    /// Unpacked.
    pub body: Vec<u8>,
    /// Where it came from, after redirects.
    pub url: Url,
}

/// The connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    None,
    /// Whether it gave an answer before.
    Open {
        is_kept: bool,
    },
    /// It is to be closed, if there is one; or the dialling is to end.
    Closing,
}

/// How a connection ended.
#[derive(Debug)]
enum End {
    Fin,
    Lost(String),
}

/// How far the answer is.
enum Stage {
    Head(HeadReader),
    /// Nothing is read until there is room, but what came with the head.
    Room {
        start: Start,
        body: Body,
        early: Vec<u8>,
        end: Option<End>,
    },
    Body {
        start: Start,
        body: Body,
    },
    /// All of it is there.
    Packed {
        start: Start,
        gunzip: Box<Gunzip>,
    },
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head(_) => "Head",
            Self::Room { .. } => "Room",
            Self::Body { .. } => "Body",
            Self::Packed { .. } => "Packed",
        })
    }
}

/// A request that is under way.
struct Exchange {
    request: Request,
    url: Url,
    begun: Duration,
    hops: u8,
    /// It goes over another connection already, since a kept one had ended.
    is_again: bool,
    head: Vec<u8>,
    sent_bytes: usize,
    /// When the last byte was.
    sent_at: Option<Duration>,
    /// When the head of the answer was here.
    head_at: Duration,
    stage: Stage,
}

impl Exchange {
    fn is_sent(&self) -> bool {
        self.sent_bytes == self.head.len() + self.request.body.len()
    }

    /// From its first byte on, over a connection or another.
    fn start_over(&mut self) {
        (self.sent_bytes, self.sent_at, self.stage) = (0, None, Stage::Head(HeadReader::default()));
    }

    /// Since when nothing but the body is missing: its head is here, and of a success the server has the whole request.
    fn complete_but_for_body(&self) -> Option<Duration> {
        let Stage::Body { start, .. } = &self.stage else { return None };
        match self.sent_at {
            Some(sent_at) => Some(self.head_at.max(sent_at)),
            None => (!is_success(start.status)).then_some(self.head_at),
        }
    }
}

/// A client of one server, for one request at a time.
///
/// Its owner has the connection. After every call it looks at what is wanted, in this order: [`must_close`](Self::must_close),
/// [`wants_connection`](Self::wants_connection), [`result`](Self::result), [`room_wanted`](Self::room_wanted), and
/// [`unsent`](Self::unsent); and it calls [`tick`](Self::tick) once [`due_in`](Self::due_in) has passed. A connection that is kept
/// between requests is to be watched: [`ended`](Self::ended), [`lost`](Self::lost).
pub struct Client {
    url: Url,
    secret: Option<Secret>,
    rules: Rules,
    /// [`Self::by_heads`].
    goes_by_heads: bool,
    line: Line,
    exchange: Option<Box<Exchange>>,
    result: Option<Result<Answer, Trouble>>,
}

/// Without the head that is sent, which may hold a secret.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = self.exchange.as_ref().map(|exchange| &exchange.stage);
        write!(f, "{} {:?} {stage:?} {:?}", self.url, self.line, self.result)
    }
}

/// What the owner asks.
impl Client {
    /// One for this server. The secret goes before what is in the URL.
    #[must_use]
    pub fn new(url: Url, secret: Option<Secret>, rules: Rules) -> Self {
        let secret = secret.or_else(|| url.secret().cloned());
        Self { url, secret, rules, goes_by_heads: false, line: Line::None, exchange: None, result: None }
    }

    /// The same for an owner who needs no body: the head of an answer is all of it, whatever comes behind. A body that can't be read,
    /// or does not come to its end soon, is left where it is, with the connection.
    #[must_use]
    pub fn by_heads(self) -> Self {
        Self { goes_by_heads: true, ..self }
    }

    /// Whether a request may begin. A connection may be kept.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.exchange.is_none() && self.result.is_none()
    }

    /// Whether a request waits for a connection: the owner dials, and calls [`connected`](Self::connected) or
    /// [`lost`](Self::lost).
    #[must_use]
    pub fn wants_connection(&self) -> bool {
        let waits = |exchange: &Exchange| matches!(exchange.stage, Stage::Head(_));
        self.line == Line::None && self.exchange.as_deref().is_some_and(waits)
    }

    /// The server.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether the owner is to close its socket, or to dial no more, and to call [`closed`](Self::closed).
    #[must_use]
    pub fn must_close(&self) -> bool {
        self.line == Line::Closing
    }

    /// What is to be sent: a head's rest and a body's. Empty slices if there is nothing.
    #[must_use]
    pub fn unsent(&self) -> [&[u8]; 2] {
        let (Line::Open { .. }, Some(exchange)) = (self.line, &self.exchange) else { return [&[], &[]] };
        let goes_on = match &exchange.stage {
            Stage::Head(_) => true,
            Stage::Room { start, .. } | Stage::Body { start, .. } => is_success(start.status),
            Stage::Packed { .. } => false,
        };
        if !goes_on {
            return [&[], &[]];
        }
        let in_body = exchange.sent_bytes.saturating_sub(exchange.head.len());
        let head = exchange.head.get(exchange.sent_bytes..).unwrap_or_default();
        [head, exchange.request.body.get(in_body..).unwrap_or_default()]
    }

    /// How many bytes are wanted for the body whose head is here ([`Rules::asks_for_room`]). Nothing more is to be read until
    /// [`grant`](Self::grant).
    #[must_use]
    pub fn room_wanted(&self) -> Option<usize> {
        let Stage::Room { start, body, .. } = &self.exchange.as_ref()?.stage else { return None };
        let packed = body.most_to_come();
        let plain = match start.coding {
            Coding::Gzip => packed.saturating_mul(MOST_RATIO).min(self.rules.most_body),
            _ => 0,
        };
        Some(packed.saturating_add(plain))
    }

    /// When [`tick`](Self::tick) is wanted, if nothing happens before.
    #[must_use]
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        if self.is_packed() {
            return Some(Duration::ZERO);
        }
        self.deadline().map(|(deadline, _)| deadline.saturating_sub(now))
    }

    /// Whether what came of the request waits to be taken.
    #[must_use]
    pub fn has_result(&self) -> bool {
        self.result.is_some()
    }

    /// What came of the request, once.
    pub fn result(&mut self) -> Option<Result<Answer, Trouble>> {
        self.result.take()
    }

    /// Bytes of memory.
    #[must_use]
    pub fn held(&self) -> usize {
        let exchange = self.exchange.as_ref().map_or(0, |exchange| {
            let stage = match &exchange.stage {
                Stage::Head(reader) => reader.held(),
                Stage::Room { start, body, early, .. } => start.head.held() + body.held() + early.capacity(),
                Stage::Body { start, body } => start.head.held() + body.held(),
                Stage::Packed { start, gunzip } => start.head.held() + gunzip.held(),
            };
            exchange.head.capacity() + exchange.request.body.capacity() + stage
        });
        let result = match &self.result {
            Some(Ok(answer)) => answer.body.capacity() + answer.head.held(),
            _ => 0,
        };
        exchange + result
    }

    /// Whether there is something to do that nobody else is waited for.
    fn is_packed(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| matches!(exchange.stage, Stage::Packed { .. }))
    }

    /// The next moment at which something ends, and what that means.
    fn deadline(&self) -> Option<(Duration, Trouble)> {
        let exchange = self.exchange.as_ref()?;
        let whole = exchange.begun.saturating_add(self.rules.whole);
        if let Some(since) = exchange.complete_but_for_body().filter(|_| self.goes_by_heads) {
            return Some((whole.min(since.saturating_add(UNNEEDED_BODY)), Trouble::TooSlow(self.rules.whole)));
        }
        let head = match exchange.stage {
            Stage::Head(_) => exchange.sent_at.map(|sent_at| sent_at.saturating_add(self.rules.head)),
            _ => None,
        };
        Some(match head {
            Some(head) if head < whole => (head, Trouble::NoHead(self.rules.head)),
            _ if matches!(exchange.stage, Stage::Room { .. }) => (whole, Trouble::NoRoom(self.rules.whole)),
            _ if self.line == Line::None => (whole, Trouble::NoConnection(self.rules.whole)),
            _ => (whole, Trouble::TooSlow(self.rules.whole)),
        })
    }
}

/// What the owner tells.
impl Client {
    /// Begins a request. Only while [`is_idle`](Self::is_idle).
    pub fn begin(&mut self, request: Request, now: Duration) {
        debug_assert!(self.is_idle(), "one request at a time");
        let url = match &request.target {
            Some(target) => self.url.with_target(target),
            None => self.url.clone(),
        };
        let head = request.head(&url, self.secret.as_ref());
        self.result = None;
        self.exchange = Some(Box::new(Exchange {
            request,
            url,
            begun: now,
            hops: 0,
            is_again: false,
            head,
            sent_bytes: 0,
            sent_at: None,
            head_at: Duration::ZERO,
            stage: Stage::Head(HeadReader::default()),
        }));
    }

    /// Forgets the request, and its late answer.
    pub fn cancel(&mut self) {
        let was_busy = self.exchange.take().is_some();
        self.result = None;
        if was_busy || self.line != Line::None {
            self.line = Line::Closing;
        }
    }

    /// There is a connection.
    pub fn connected(&mut self, _now: Duration) {
        self.line = if self.wants_connection() { Line::Open { is_kept: false } } else { Line::Closing };
    }

    /// The owner has closed its socket, and dials no more.
    pub fn closed(&mut self) {
        self.line = Line::None;
    }

    /// There is no connection, or it broke.
    pub fn lost(&mut self, why: &str, now: Duration) {
        self.line_ended(End::Lost(why.to_owned()), now);
    }

    /// The server has ended the connection (FIN).
    pub fn ended(&mut self, now: Duration) {
        self.line_ended(End::Fin, now);
    }

    /// So many of the bytes of [`unsent`](Self::unsent) went out.
    pub fn sent(&mut self, count: usize, now: Duration) {
        let (Line::Open { .. }, Some(exchange)) = (self.line, &mut self.exchange) else { return };
        let all = exchange.head.len() + exchange.request.body.len();
        exchange.sent_bytes = exchange.sent_bytes.saturating_add(count).min(all);
        if exchange.is_sent() && exchange.sent_at.is_none() {
            exchange.sent_at = Some(now);
        }
    }

    /// Bytes came, 256 KiB at most: they may have to wait for room for the body that they begin.
    pub fn received(&mut self, bytes: &[u8], now: Duration) {
        let Line::Open { is_kept } = self.line else { return };
        let Some(exchange) = self.exchange.as_mut().filter(|_| !bytes.is_empty()) else {
            // Nobody asked for these, and whose answer comes behind them nobody knows.
            self.line = if bytes.is_empty() { self.line } else { Line::Closing };
            return;
        };
        let mut rest = bytes;
        if let Stage::Head(reader) = &mut exchange.stage {
            if exchange.sent_bytes == 0 {
                return self.again_or(is_kept, Trouble::Unasked);
            }
            match reader.take(bytes) {
                Err(trouble) => return self.fail(trouble),
                Ok(None) => return,
                Ok(Some((start, used))) => {
                    rest = rest.get(used..).unwrap_or_default();
                    self.begin_body(start, now);
                }
            }
        }
        self.go_on(rest);
    }

    /// There is room for the body.
    pub fn grant(&mut self, now: Duration) {
        let Some(mut exchange) = self.exchange.take() else { return };
        let (early, end) = match exchange.stage {
            Stage::Room { start, body, early, end } => {
                exchange.stage = Stage::Body { start, body };
                (early, end)
            }
            other => {
                exchange.stage = other;
                (Vec::new(), None)
            }
        };
        self.exchange = Some(exchange);
        self.go_on(&early);
        if let Some(end) = end {
            self.exchange_ended(end, false, now);
        }
    }

    /// Looks at the time, and unpacks some of what is packed.
    pub fn tick(&mut self, now: Duration) {
        // Twice, if the first was a redirect whose body did not come.
        while let Some((_, trouble)) = self.deadline().filter(|(deadline, _)| now >= *deadline) {
            self.break_off(trouble);
        }
        self.unpack();
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// What comes of it.
impl Client {
    /// The head is here.
    fn begin_body(&mut self, start: Start, now: Duration) {
        let (most, rules) = (self.rules.most_body, self.rules);
        let is_success = is_success(start.status);
        let most = if is_success { most } else { most.min(MOST_ERROR_BYTES) };
        let framing = match &start.framing {
            Ok(framing) => *framing,
            // Wherever it ends, the connection is not kept.
            Err(_) if self.goes_by_heads => Framing::UntilEnd,
            Err(trouble) => return self.fail(trouble.clone()),
        };
        let body = Body::new(framing, most);
        let too_long = matches!(framing, Framing::Length(length) if length > most as u64);
        let trouble = match &start.coding {
            _ if !is_success || self.goes_by_heads || body.is_over() => None,
            // Of a part of what was packed nothing can be unpacked.
            Coding::Gzip if start.status == 206 => Some(Trouble::Coding("gzip".to_owned())),
            Coding::Other(name) => Some(Trouble::Coding(name.clone())),
            _ if too_long => Some(Trouble::TooLong(most)),
            _ => None,
        };
        if let Some(trouble) = trouble {
            return self.fail(trouble);
        }
        let asks = rules.asks_for_room && is_success && !body.is_over();
        if let Some(exchange) = &mut self.exchange {
            exchange.head_at = now;
            exchange.stage = match asks {
                true => Stage::Room { start, body, early: Vec::new(), end: None },
                false => Stage::Body { start, body },
            };
        }
    }

    /// Takes bytes of the body, if that is what is read, and completes it if it is over.
    fn go_on(&mut self, bytes: &[u8]) {
        let Some(exchange) = &mut self.exchange else { return };
        match &mut exchange.stage {
            Stage::Head(_) => {}
            Stage::Room { early, .. } => {
                if early.len() + bytes.len() > MOST_EARLY_BYTES {
                    return self.fail(Trouble::TooLong(self.rules.most_body));
                }
                early.extend_from_slice(bytes);
            }
            Stage::Body { body, .. } => match body.take(bytes) {
                Err(trouble) => self.break_off(trouble),
                Ok(used) if body.is_over() => self.complete(used == bytes.len()),
                Ok(_) => {}
            },
            // The answer is over.
            Stage::Packed { .. } if bytes.is_empty() => {}
            Stage::Packed { .. } => self.line = Line::Closing,
        }
    }

    fn line_ended(&mut self, end: End, now: Duration) {
        let is_kept = match self.line {
            Line::Closing => return,
            // A dial that failed.
            Line::None if !self.wants_connection() => return,
            Line::None => false,
            Line::Open { is_kept } => is_kept,
        };
        self.line = Line::Closing;
        self.exchange_ended(end, is_kept, now);
    }

    /// No more comes.
    fn exchange_ended(&mut self, end: End, is_kept: bool, _now: Duration) {
        let Some(exchange) = &mut self.exchange else { return };
        match &mut exchange.stage {
            Stage::Head(reader) => {
                let trouble = match end {
                    End::Fin => reader.end(),
                    End::Lost(why) => Trouble::Io(why),
                };
                // It ended while it was kept, and we did not know yet.
                let is_kept = is_kept && reader.is_empty();
                self.again_or(is_kept, trouble);
            }
            Stage::Room { end: later, .. } => *later = Some(end),
            Stage::Packed { .. } => {}
            Stage::Body { body, .. } => match end {
                End::Fin if body.is_over_at_end() => self.complete(false),
                End::Fin => self.break_off(Trouble::Cut),
                End::Lost(why) => self.break_off(Trouble::Io(why)),
            },
        }
    }

    /// Over another connection, if this was a kept one, and once.
    fn again_or(&mut self, is_kept: bool, trouble: Trouble) {
        match &mut self.exchange {
            Some(exchange) if is_kept && !exchange.is_again => {
                exchange.start_over();
                exchange.is_again = true;
                self.line = Line::Closing;
            }
            _ => self.fail(trouble),
        }
    }

    /// It goes on no more. What is no success is an answer by its head, and so is what nobody needs the body of.
    fn break_off(&mut self, trouble: Trouble) {
        match self.exchange.as_deref() {
            Some(Exchange { stage: Stage::Body { start, .. }, .. }) if !is_success(start.status) => {
                self.complete(false)
            }
            Some(exchange) if self.goes_by_heads && exchange.complete_but_for_body().is_some() => self.complete(false),
            _ => self.fail(trouble),
        }
    }

    fn fail(&mut self, trouble: Trouble) {
        self.exchange = None;
        self.result = Some(Err(trouble));
        self.line = Line::Closing;
    }

    /// The answer is here.
    fn complete(&mut self, is_clean: bool) {
        let Some(mut exchange) = self.exchange.take() else { return };
        let (is_sent, is_post) = (exchange.is_sent(), exchange.request.method == Method::Post);
        let keeps = is_clean && is_sent;
        let Stage::Body { start, body } = exchange.stage else { return };
        if is_success(start.status) && is_post && !is_sent {
            // It says that it has what never left this box.
            return self.fail(Trouble::Malformed("came before it had the whole request"));
        }
        self.line = match self.line {
            Line::Open { .. } if keeps && start.keeps_alive => Line::Open { is_kept: true },
            Line::None => Line::None,
            _ => Line::Closing,
        };
        let is_redirect = [301, 302, 303, 307, 308].contains(&start.status) && exchange.request.method == Method::Get;
        if let Some(location) = start.head.header("location").filter(|_| is_redirect) {
            if exchange.hops == MOST_HOPS {
                return self.fail(Trouble::Redirects);
            }
            match exchange.url.resolve(location) {
                Err(trouble) => return self.fail(trouble),
                Ok(url) => exchange.url = url,
            }
            exchange.head = exchange.request.head(&exchange.url, self.secret.as_ref());
            exchange.hops += 1;
            exchange.is_again = false;
            exchange.stage = Stage::Head(HeadReader::default());
            exchange.start_over();
            self.exchange = Some(exchange);
            return;
        }
        let most =
            if is_success(start.status) { self.rules.most_body } else { self.rules.most_body.min(MOST_ERROR_BYTES) };
        let body = body.into_bytes();
        match start.coding {
            // Nobody reads it.
            _ if self.goes_by_heads => self.answer(start, Vec::new(), exchange.url),
            Coding::Gzip if !body.is_empty() => {
                exchange.stage = Stage::Packed { start, gunzip: Box::new(Gunzip::new(body, most)) };
                self.exchange = Some(exchange);
                self.unpack();
            }
            // An error's words that nobody can read.
            Coding::Other(_) => self.answer(start, Vec::new(), exchange.url),
            _ => self.answer(start, body, exchange.url),
        }
    }

    /// Unpacks some of a body that is packed.
    fn unpack(&mut self) {
        let Some(Stage::Packed { gunzip, .. }) = self.exchange.as_mut().map(|exchange| &mut exchange.stage) else {
            return;
        };
        let Some(went) = gunzip.step() else { return };
        let Some(exchange) = self.exchange.take() else { return };
        let Exchange { stage: Stage::Packed { start, gunzip }, url, .. } = *exchange else { return };
        match went {
            Err(fault) if is_success(start.status) => {
                self.result = Some(Err(match fault {
                    Fault::TooLong => Trouble::TooLong(self.rules.most_body),
                    Fault::Broken => Trouble::NotGzip,
                }));
            }
            _ => self.answer(start, gunzip.into_plain(), url),
        }
    }

    fn answer(&mut self, start: Start, body: Vec<u8>, url: Url) {
        self.result = Some(Ok(Answer { status: start.status, head: start.head, body, url }));
    }
}
