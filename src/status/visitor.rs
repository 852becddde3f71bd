//! One HTTP connection, without its socket: bytes come in, answers go out, and each has its time limit. Invariant: if
//! nothing arrives from a visitor and nothing can be sent to it, it needs nothing before [`Visitor::due_at`].

use super::request::{How, MOST_REQUEST_BYTES, Refusal, Request, parse};
use super::respond::{Content, Kind};
use super::tail::Viewer;

/// Milliseconds since the start. Seconds and nanoseconds apart would take twice the code.
pub type Ms = u64;

/// How long a request may take to arrive, and its answer to be sent.
pub const PATIENCE: Ms = 10_000;
/// How long we wait for the other side to close after our goodbye.
const GOODBYE: Ms = 1_000;
/// Time between two signs of life to a viewer of the tail. Without them neither side would notice that the other is gone.
const PING: Ms = 15_000;
const PING_EVENT: &[u8] = b": ping\n\n";
/// A visitor that does not get on for so long may lose its place to another: browsers connect long before they ask.
const SILENCE: Ms = 1_000;

/// What a visitor is in the middle of.
#[derive(Debug)]
enum Stage {
    /// We wait for a request.
    Asking,
    /// An answer is being sent; `keeps_alive`: another request may follow.
    Answering { keeps_alive: bool },
    /// It is a viewer of the tail: lines are sent to it as they come.
    Watching { viewer: Box<Viewer>, next_ping: Ms },
    /// We have said goodbye.
    Leaving,
}

/// What a visitor needs next.
#[derive(Debug, PartialEq, Eq)]
pub enum Need {
    /// To be read from and written to when its socket is ready, and a call of [`Visitor::next`] at [`Visitor::due_at`].
    Nothing,
    /// An answer, by [`Visitor::answer`], [`Visitor::refuse`] or [`Visitor::watch`].
    Answer(Request),
    /// Our FIN.
    Goodbye,
    /// To be closed.
    Close,
}

/// One HTTP connection.
#[derive(Debug)]
pub struct Visitor {
    stage: Stage,
    input: Vec<u8>,
    output: Vec<u8>,
    /// When its time is up. For a viewer: when it has accepted nothing for too long; never while nothing waits for it.
    deadline: Ms,
    /// It has got an answer before.
    was_served: bool,
    /// Since when it has asked without a pause, and whether it has got an answer meanwhile.
    asks_since: Ms,
    is_answered: bool,
    /// When it last accepted something of an answer, or the answer began.
    progress: Ms,
    /// The other side has closed, or its half.
    has_ended: bool,
    /// There is input that was not parsed.
    is_unparsed: bool,
}

impl Visitor {
    /// A visitor that connected at `now`.
    #[must_use]
    pub fn new(now: Ms) -> Self {
        Self {
            stage: Stage::Asking,
            input: Vec::new(),
            output: Vec::new(),
            deadline: now + PATIENCE,
            was_served: false,
            asks_since: now,
            is_answered: false,
            progress: now,
            has_ended: false,
            is_unparsed: false,
        }
    }

    /// How many bytes may be read from it now. Only those of a request are kept.
    #[must_use]
    pub fn wants(&self) -> usize {
        match self.stage {
            _ if self.has_ended => 0,
            Stage::Asking => MOST_REQUEST_BYTES - self.input.len(),
            // The next request waits in the kernel until this one is answered.
            Stage::Answering { .. } => 0,
            Stage::Watching { .. } | Stage::Leaving => usize::MAX,
        }
    }

    /// Takes bytes that were read, not more than [`Self::wants`]. There is memory for `room` of them.
    pub fn received(&mut self, bytes: &[u8], room: usize, now: Ms) {
        if !matches!(self.stage, Stage::Asking) {
            return;
        }
        if bytes.len() > room {
            return self.refuse(Refusal::Busy, How::default(), now);
        }
        if self.input.is_empty() {
            (self.asks_since, self.is_answered) = (now, false);
            if self.was_served {
                self.deadline = now + PATIENCE;
            }
        }
        self.input.reserve_exact(bytes.len());
        self.input.extend_from_slice(bytes);
        self.is_unparsed = true;
    }

    /// Notes that the other side has closed, or only its sending side: it still gets what it asked for.
    pub fn ended(&mut self) {
        self.has_ended = true;
    }

    /// Bytes of memory that it takes, without those of lines that are being sent to a viewer.
    #[must_use]
    pub fn held(&self) -> usize {
        let output = match &self.stage {
            Stage::Watching { viewer, .. } => viewer.held(),
            _ => self.output.capacity(),
        };
        self.input.capacity() + output
    }

    /// Bytes of memory for what is being sent to it.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.output.capacity()
    }

    /// Whether it is a viewer of the tail.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        matches!(self.stage, Stage::Watching { .. })
    }

    /// What has to be sent.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// Whether anything has to be sent, or a viewer is to be told at once what it missed.
    #[must_use]
    pub fn has_output(&self) -> bool {
        let has_news = matches!(&self.stage, Stage::Watching { viewer, .. } if viewer.has_news(&self.output));
        has_news || !self.output.is_empty()
    }

    /// From when on its place may be given to another. At once if it is between two requests. Any other has a second: to ask, to
    /// be answered all that it has asked for together, and to accept more of its answer.
    #[must_use]
    pub fn gives_way_at(&self) -> Option<Ms> {
        match self.stage {
            Stage::Asking if self.input.is_empty() && self.was_served => Some(self.deadline.saturating_sub(PATIENCE)),
            Stage::Asking => Some(self.asks_since + SILENCE),
            Stage::Answering { .. } => Some(self.progress + SILENCE),
            Stage::Watching { .. } | Stage::Leaving => None,
        }
    }

    /// The viewer, and the buffer for its events, if it is one.
    pub fn viewer(&mut self) -> Option<(&mut Viewer, &mut Vec<u8>)> {
        match &mut self.stage {
            Stage::Watching { viewer, .. } => Some((viewer, &mut self.output)),
            _ => None,
        }
    }

    /// What it needs. To be called after reading from it.
    pub fn next(&mut self, now: Ms) -> Need {
        if matches!(self.stage, Stage::Asking) {
            return self.next_request(now);
        }
        let is_late = now >= self.deadline;
        if let Stage::Watching { viewer, next_ping } = &mut self.stage {
            // It has probably gone. It could also have closed its sending side only, but its place is needed for others.
            if self.has_ended {
                return Need::Close;
            }
            viewer.say_lost(&mut self.output);
            if now >= *next_ping {
                *next_ping = now + PING;
                if self.output.is_empty() {
                    self.output.extend_from_slice(PING_EVENT);
                }
            }
        }
        let has_left = matches!(self.stage, Stage::Leaving) && self.has_ended;
        if is_late || has_left { Need::Close } else { Need::Nothing }
    }

    fn next_request(&mut self, now: Ms) -> Need {
        if std::mem::take(&mut self.is_unparsed) {
            match parse(&self.input) {
                Ok(Some(request)) => {
                    self.input.drain(..request.len);
                    self.is_unparsed = !self.input.is_empty();
                    return Need::Answer(request);
                }
                Ok(None) => {}
                Err(refusal) => {
                    self.refuse(refusal, How::default(), now);
                    return Need::Nothing;
                }
            }
        }
        match (self.input.is_empty(), self.has_ended, now >= self.deadline) {
            (_, false, false) => {}
            (true, ..) => return Need::Close,
            (false, true, _) => self.refuse(Refusal::Malformed, How::default(), now),
            (false, false, true) => self.refuse(Refusal::TooSlow, How::default(), now),
        }
        Need::Nothing
    }

    /// Answers with a refusal. With the default `how` the connection ends after it.
    pub fn refuse(&mut self, refusal: Refusal, how: How, now: Ms) {
        self.output = refusal.answer(how);
        self.begin_answer(how.keeps_alive, now);
    }

    /// Answers a request.
    pub fn answer(&mut self, how: How, content: &Content, now: Ms) {
        self.output = content.answer(how);
        self.begin_answer(how.keeps_alive, now);
    }

    /// Makes it a viewer of the tail.
    pub fn watch(&mut self, viewer: Viewer, how: How, now: Ms) {
        // The first event shows at once that the connection works.
        let events = Content { status: "200 OK", kind: Kind::Events, body: PING_EVENT.into() };
        self.answer(How { keeps_alive: false, ..how }, &events, now);
        if !how.is_head {
            self.stage = Stage::Watching { viewer: Box::new(viewer), next_ping: now + PING };
        }
    }

    fn begin_answer(&mut self, keeps_alive: bool, now: Ms) {
        if !keeps_alive || self.input.is_empty() {
            self.input = Vec::new();
        }
        self.stage = Stage::Answering { keeps_alive };
        self.was_served = true;
        // If much is asked for together, the kernel takes many answers that nobody reads: the time is for all of them.
        self.deadline = if self.is_answered { self.asks_since } else { now } + PATIENCE;
        (self.is_answered, self.progress) = (true, now);
    }

    /// Notes that a write accepted `count` bytes of the output.
    pub fn sent(&mut self, count: usize, now: Ms) -> Need {
        self.output.drain(..count.min(self.output.len()));
        if count > 0 {
            self.progress = now;
        }
        let is_done = self.output.is_empty();
        if is_done {
            self.output = Vec::new();
        }
        match self.stage {
            Stage::Watching { .. } if is_done => self.deadline = Ms::MAX,
            Stage::Watching { .. } if count > 0 || self.deadline == Ms::MAX => self.deadline = now + PATIENCE,
            Stage::Answering { keeps_alive } if is_done => {
                self.deadline = now + PATIENCE;
                self.is_unparsed = !self.input.is_empty();
                self.stage = Stage::Asking;
                if !keeps_alive || (self.has_ended && !self.is_unparsed) {
                    self.stage = Stage::Leaving;
                    self.deadline = now + GOODBYE;
                    return Need::Goodbye;
                }
            }
            _ => {}
        }
        Need::Nothing
    }

    /// When [`Self::next`] is to be called even if its socket is not ready before.
    #[must_use]
    pub fn due_at(&self) -> Ms {
        match &self.stage {
            Stage::Asking if self.is_unparsed => 0,
            Stage::Watching { next_ping, .. } => self.deadline.min(*next_ping),
            _ => self.deadline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tail::{Caption, MOST_WAITING};

    const ASK: &[u8] = b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n";

    /// One that came at 0 and has sent this at the given time.
    fn sent(bytes: &[u8], ms: u64) -> Visitor {
        let mut visitor = Visitor::new(0);
        visitor.received(bytes, MOST_REQUEST_BYTES, ms);
        visitor
    }

    fn answered(visitor: &mut Visitor, now: Ms) {
        let Need::Answer(request) = visitor.next(now) else { panic!("{visitor:?}") };
        visitor.answer(request.how, &Content { status: "200 OK", kind: Kind::Text, body: b"ok\n"[..].into() }, now);
    }

    fn all_sent(visitor: &mut Visitor, now: Ms) -> Need {
        visitor.sent(visitor.output().len(), now)
    }

    #[test]
    fn a_request_that_takes_too_long_gets_a_408_and_silence_a_close() {
        let mut slow = sent(&ASK[..9], 9_000);
        assert_eq!((slow.next(9_999), slow.due_at()), (Need::Nothing, 10_000));
        assert_eq!(slow.next(10_000), Need::Nothing);
        assert!(slow.output().starts_with(b"HTTP/1.1 408 "), "{slow:?}");
        assert_eq!(all_sent(&mut slow, 10_000), Need::Goodbye);
        let mut silent = Visitor::new(0);
        assert_eq!((silent.next(9_999), silent.next(10_000)), (Need::Nothing, Need::Close));
        // What came while nobody looked is answered, however late.
        answered(&mut sent(ASK, 60_000), 60_000);
    }

    #[test]
    fn the_next_request_has_ten_seconds_from_its_first_byte() {
        let mut visitor = sent(ASK, 0);
        answered(&mut visitor, 0);
        assert_eq!(all_sent(&mut visitor, 1_000), Need::Nothing);
        visitor.received(&ASK[..9], MOST_REQUEST_BYTES, 10_000);
        assert_eq!((visitor.next(19_999), visitor.due_at()), (Need::Nothing, 20_000));
    }

    #[test]
    fn who_does_not_take_its_answer_or_does_not_close_is_closed() {
        let mut visitor = sent(ASK, 0);
        answered(&mut visitor, 0);
        visitor.sent(5, 5_000);
        assert_eq!((visitor.next(9_999), visitor.due_at()), (Need::Nothing, 10_000));
        assert_eq!(visitor.next(10_000), Need::Close);
        let mut leaves = sent(b"nonsense\r\n\r\n", 0);
        leaves.next(0);
        assert_eq!((all_sent(&mut leaves, 0), leaves.due_at()), (Need::Goodbye, 1_000));
        assert_eq!((leaves.next(999), leaves.next(1_000)), (Need::Nothing, Need::Close));
    }

    fn watching(now: Ms) -> Visitor {
        let mut visitor = sent(b"GET /tail HTTP/1.1\r\nHost: a\r\n\r\n", 0);
        assert!(matches!(visitor.next(now), Need::Answer(_)));
        visitor.watch(Viewer::new(Vec::new(), Vec::new(), MOST_WAITING), How::default(), now);
        assert_eq!(all_sent(&mut visitor, now), Need::Nothing);
        visitor
    }

    fn show(visitor: &mut Visitor, line: &[u8]) {
        let (viewer, out) = visitor.viewer().unwrap();
        viewer.show(line, Caption { time: b"now", peer: b"unix#1" }, &mut Vec::new(), out);
    }

    #[test]
    fn a_viewer_stays_through_any_silence_and_hears_of_it() {
        let mut visitor = watching(0);
        for round in 1..100 {
            assert_eq!(visitor.due_at(), 15_000 * round);
            assert_eq!(visitor.next(15_000 * round), Need::Nothing);
            assert_eq!(visitor.output(), b": ping\n\n");
            all_sent(&mut visitor, 15_000 * round);
        }
        // A line after long silence has its ten seconds too.
        show(&mut visitor, b"line");
        assert_eq!((visitor.next(1_486_000), visitor.sent(0, 1_486_000)), (Need::Nothing, Need::Nothing));
        assert_eq!(visitor.due_at(), 1_496_000);
        assert_eq!((visitor.next(1_495_999), visitor.next(1_496_000)), (Need::Nothing, Need::Close));
    }

    #[test]
    fn a_viewer_that_takes_a_little_stays() {
        let mut visitor = watching(0);
        show(&mut visitor, &[b'x'; 1000]);
        for round in 0..50 {
            assert_eq!(visitor.sent(1, 9_000 * round), Need::Nothing);
            assert_eq!(visitor.next(9_000 * round + 8_999), Need::Nothing, "{round}");
        }
        visitor.ended();
        assert_eq!(visitor.next(450_000), Need::Close, "it seems to be gone");
    }

    #[test]
    fn p18_a_viewer_that_has_caught_up_is_told_at_once_what_it_missed() {
        let mut visitor = watching(0);
        show(&mut visitor, &[&[b'x'; 999][..], b"\n"].concat().repeat(20));
        let (viewer, out) = visitor.viewer().unwrap();
        viewer.pass_by(7);
        assert!(out.len() > MOST_WAITING / 2);
        visitor.next(0);
        all_sent(&mut visitor, 0);
        assert!(visitor.has_output() && visitor.output().is_empty(), "there is no wait for the ping");
        visitor.next(0);
        assert!(visitor.output().starts_with(b"event: lost\n"), "{visitor:?}");
        all_sent(&mut visitor, 0);
        assert!(!visitor.has_output(), "told once");
    }

    #[test]
    fn who_is_between_two_requests_gives_way_at_once_and_any_other_after_a_second() {
        let mut visitor = Visitor::new(0);
        assert_eq!(visitor.gives_way_at(), Some(1_000), "it has not asked");
        visitor.received(&ASK[..9], MOST_REQUEST_BYTES, 500);
        assert_eq!(visitor.gives_way_at(), Some(1_500), "half a request");
        visitor.received(&ASK[9..], MOST_REQUEST_BYTES, 600);
        answered(&mut visitor, 1_000);
        assert_eq!(visitor.gives_way_at(), Some(2_000), "its answer is on its way");
        visitor.sent(5, 1_500);
        assert_eq!(visitor.gives_way_at(), Some(2_500), "it takes some of it");
        all_sent(&mut visitor, 1_600);
        assert_eq!(visitor.gives_way_at(), Some(1_600));
        // Many requests at once have one second together.
        visitor.received(&ASK.repeat(50), MOST_REQUEST_BYTES, 3_000);
        for now in [3_000, 3_500, 4_500] {
            answered(&mut visitor, now);
            all_sent(&mut visitor, now);
        }
        assert_eq!(visitor.gives_way_at(), Some(4_000));
        assert_eq!(watching(0).gives_way_at(), None);
    }

    #[test]
    fn p18_who_asks_for_much_together_has_ten_seconds_for_all_of_it() {
        let mut visitor = sent(&ASK.repeat(200), 0);
        for now in [0, 5_000, 9_000] {
            answered(&mut visitor, now);
            all_sent(&mut visitor, now);
        }
        answered(&mut visitor, 9_500);
        assert_eq!((visitor.next(9_999), visitor.due_at(), visitor.next(10_000)), (Need::Nothing, 10_000, Need::Close));
    }

    #[test]
    fn p5_nothing_is_held_between_requests_nor_taken_without_room() {
        let mut visitor = sent(&[ASK, &ASK[..9]].concat(), 0);
        answered(&mut visitor, 0);
        all_sent(&mut visitor, 0);
        assert!(visitor.held() <= 2 * ASK.len(), "{}", visitor.held());
        visitor.received(&ASK[9..], MOST_REQUEST_BYTES, 0);
        answered(&mut visitor, 0);
        all_sent(&mut visitor, 0);
        assert_eq!(visitor.held(), 0);
        visitor.received(ASK, ASK.len() - 1, 0);
        assert!(visitor.output().starts_with(b"HTTP/1.1 503 "), "{visitor:?}");
    }
}
