//! What a poller asks a server for, and which lines of what it answers are new, without sockets, clock or files: times and
//! answers in, requests and lines out. `docs/pollers.md` says what is promised; `overlap` has the rule.
//!
//! - A fetch begins at once, the next one an interval after the last one ended and its lines were taken. Errors wait 1, 2, 4, 8, then
//!   10 intervals, and up to a quarter more, so that a thousand pollers do not come back together.
//! - New lines wait in [`Poller::fresh`] until the owner took them, the oldest first. Of a page with its newest line first that is
//!   from the last new line to the first; a poller's first page is handed out as it stands, as nobody knows yet.
//! - A line that came is remembered from then on, a line that was remembered is old: what was handed out comes again only where
//!   the page lost what came before it too, or changed the line.
//!
//! Invariant: an error, an empty page and a 204 change nothing of what is remembered.

pub(crate) mod files;
mod hash;
mod json;
mod kept;
mod options;
mod overlap;
mod page;
mod place;

use std::time::Duration;

pub use self::options::{MOST_POLLERS, Poll, PollError, PollOptions, PollStart};

use self::hash::Key;
use self::page::{How, Page, Taken};
use self::place::{Asked, Place};
use crate::config::text::as_text;
use crate::config::text::{cut, is, trimmed};
use crate::config::units::DisplaySize;
use crate::http::{Answer, Method, Request, Trouble, Url};

/// After so many intervals comes the next fetch, by the errors in a row; then always the last.
const BACK_OFF: [u32; 5] = [1, 2, 4, 8, 10];

/// The body of a first fetch is expected to be so long at most.
const FIRST_BODY_BYTES: usize = 64 * 1024;

/// A server that sends a file in parts is asked for the next at once if one brought so much: a server could send byte after byte.
const LONG_PART_BYTES: usize = 64 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// What a poller is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What it is called (`--poll NAME=URL`).
    pub name: String,
    /// What it fetches.
    pub url: Url,
    /// From the end of a fetch to the next (`--poll-interval`).
    pub interval: Duration,
    /// The longest that a fetch may take (`--poll-timeout`); the client looks to that.
    pub timeout: Duration,
    /// The longest body, decoded (`--poll-max-response`); the client looks to that.
    pub most_body: usize,
    /// So many lines of a page are remembered (`--poll-seen`).
    pub most_seen: usize,
    /// What is there at the first fetch is old (`--poll-start new`).
    pub starts_new: bool,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A fetch failed: the end of a sentence that begins with the URL.
    Trouble(String),
    /// A fetch succeeded after some that had not.
    Recovered {
        /// Since the first that failed.
        after: Duration,
        /// How many failed.
        failures: u64,
    },
    /// Nothing of the last page is on this one, so lines may have been missed, before those that are fresh now.
    Gap,
    /// A page has more lines than are remembered. Told once.
    SeenTooSmall {
        /// How many the page has.
        lines: usize,
        /// How many are remembered.
        most: usize,
    },
}

/// How a poller is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Details {
    /// What it is called.
    pub name: String,
    /// What it fetches, without credentials.
    pub url: String,
    /// From the end of a fetch to the next.
    pub interval: Duration,
    /// `fetching`, `delivering` (new lines wait to be taken), `failing` (the last fetch failed, and the next one waits) or
    /// `waiting`.
    pub state: &'static str,
    /// When the last fetch ended.
    pub last_fetch: Option<Duration>,
    /// The status of the last answer.
    pub last_status: Option<u16>,
    /// Why the last fetch failed, if it did.
    pub last_error: Option<String>,
    /// New lines.
    pub lines: u64,
    /// Bytes of bodies, decoded.
    pub bytes: u64,
    /// Answers that said that nothing is new (304).
    pub not_modified: u64,
    /// Lines that are remembered.
    pub seen_entries: usize,
    /// Requests.
    pub fetches: u64,
    /// Fetches that failed.
    pub failures: u64,
    /// How often nothing of the last page was on the next.
    pub gaps: u64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Until the next fetch.
    Waiting {
        due: Duration,
    },
    Fetching(Asked),
    /// New lines wait to be taken, the first bytes of which were.
    Delivering {
        taken: usize,
        pause: Duration,
    },
}

/// Fetches that failed, one after the other.
#[derive(Debug, Clone, Copy)]
struct Failing {
    since: Duration,
    count: u64,
}

/// What came of an answer.
enum Outcome {
    Good {
        pause: Duration,
    },
    /// The whole page is to be asked for at once.
    Again,
    Bad(String),
}

/// One poller. Its owner begins what [`next_request`](Self::next_request) gives, hands in what came of it
/// ([`answered`](Self::answered)), and takes the new lines piece by piece ([`fresh`](Self::fresh), [`took`](Self::took)).
/// To stop it, drop it with its client.
pub struct Poller {
    settings: Settings,
    key: Key,
    /// Random enough for jitter; never 0.
    jitter: u32,
    phase: Phase,
    page: Page,
    place: Place,
    fresh: Vec<u8>,
    news: Vec<News>,
    failing: Option<Failing>,
    /// [`News::SeenTooSmall`] was told.
    told_too_small: bool,
    /// A page was fetched, which may have been empty: what comes from now on is no more what was there at the start.
    has_begun: bool,
    /// How long the last body was, of a page and of a range.
    last_bodies: [Option<usize>; 2],
    details: Details,
    changes: u64,
}

impl Poller {
    /// A poller whose first fetch is due at once. `key` and `seed` are random. `stored` is what [`stored`](Self::stored) gave a
    /// process before; if it can't be used, the end of a sentence says why.
    #[must_use]
    pub fn new(settings: Settings, key: [u8; 16], seed: u32, stored: Option<&[u8]>) -> (Self, Option<String>) {
        let url = as_text(&settings.url);
        let kept = stored.map(|bytes| kept::read(bytes, &url));
        let (kept, refusal) = match kept {
            Some(Ok(kept)) => (Some(kept), None),
            Some(Err(why)) => (None, Some(why.to_owned())),
            None => (None, None),
        };
        let has_begun = kept.is_some();
        let (key, mut page, place) = kept.unwrap_or_else(|| (Key::new(key), Page::default(), Place::default()));
        page.cut(settings.most_seen);
        let details = Details {
            name: settings.name.clone(),
            url,
            interval: settings.interval,
            state: "waiting",
            last_fetch: None,
            last_status: None,
            last_error: None,
            lines: 0,
            bytes: 0,
            not_modified: 0,
            seen_entries: 0,
            fetches: 0,
            failures: 0,
            gaps: 0,
        };
        let poller = Self {
            settings,
            key,
            jitter: seed | 1,
            phase: Phase::Waiting { due: Duration::ZERO },
            page,
            place,
            fresh: Vec::new(),
            news: Vec::new(),
            failing: None,
            told_too_small: false,
            has_begun,
            last_bodies: [None; 2],
            details,
            changes: 0,
        };
        (poller, refusal)
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes other settings for the same URL; with another URL it is another poller. A fetch that waits comes after the new interval at
    /// the latest.
    pub fn reconfigure(&mut self, settings: Settings, now: Duration) {
        if let Phase::Waiting { due } = &mut self.phase {
            *due = (*due).min(now.saturating_add(settings.interval));
        }
        self.told_too_small &= settings.most_seen == self.settings.most_seen;
        self.page.cut(settings.most_seen);
        self.details.name.clone_from(&settings.name);
        self.details.interval = settings.interval;
        self.settings = settings;
    }

    /// How long until the next fetch; `None` while one is under way or new lines wait to be taken.
    #[must_use]
    pub fn due_in(&self, now: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Waiting { due } => Some(due.saturating_sub(now)),
            Phase::Fetching(_) | Phase::Delivering { .. } => None,
        }
    }

    /// What to ask for, when it is time. From then on a fetch is under way.
    pub fn next_request(&mut self, now: Duration) -> Option<Request> {
        if self.due_in(now) != Some(Duration::ZERO) {
            return None;
        }
        let asked = self.next_asked();
        let (headers, takes_gzip) = self.place.ask(asked, self.settings.most_body);
        self.phase = Phase::Fetching(asked);
        self.details.fetches += 1;
        Some(Request { method: Method::Get, target: None, headers, body: Vec::new(), takes_gzip })
    }

    fn next_asked(&self) -> Asked {
        self.place.next(self.settings.starts_new && !self.has_begun)
    }

    /// What came of the fetch. Without one, this is nothing: an answer that came too late.
    pub fn answered(&mut self, result: Result<Answer, Trouble>, now: Duration) {
        let Phase::Fetching(asked) = self.phase else { return };
        self.details.last_fetch = Some(now);
        let outcome = match result {
            Ok(answer) => {
                self.details.last_status = Some(answer.status);
                self.details.bytes = self.details.bytes.saturating_add(answer.body.len() as u64);
                self.judge(answer, asked)
            }
            // The client takes no coded part.
            Err(Trouble::Coding(_)) if asked != Asked::Whole => {
                self.place.is_refused();
                Outcome::Again
            }
            Err(trouble) if trouble.is_too_long() && self.comes_in_parts(asked) => Outcome::Again,
            Err(trouble) => Outcome::Bad(sentence(&trouble)),
        };
        let pause = match outcome {
            Outcome::Good { pause } => {
                self.recover(now);
                pause
            }
            Outcome::Again => Duration::ZERO,
            Outcome::Bad(why) => self.fail(why, now),
        };
        self.phase = Phase::Delivering { taken: 0, pause };
        self.took(0, now);
    }

    /// What was asked for is longer than an answer may be. Whether it is asked for in parts now.
    fn comes_in_parts(&mut self, asked: Asked) -> bool {
        let is_to_try = match asked {
            Asked::Whole => self.place.has_parts(),
            // The file has grown by more than that.
            Asked::From(_) => self.place.is_in_parts(self.settings.most_body),
            Asked::Start | Asked::End => false,
        };
        self.place.is_over &= is_to_try;
        is_to_try
    }

    fn recover(&mut self, now: Duration) {
        self.details.last_error = None;
        if let Some(Failing { since, count }) = self.failing.take() {
            self.news.push(News::Recovered { after: now.saturating_sub(since), failures: count });
        }
    }

    /// Gives the time to the next try.
    fn fail(&mut self, why: String, now: Duration) -> Duration {
        self.details.failures += 1;
        self.details.last_error = Some(why.clone());
        self.news.push(News::Trouble(why));
        let failing = self.failing.get_or_insert(Failing { since: now, count: 0 });
        let step = usize::try_from(failing.count).unwrap_or(usize::MAX).min(BACK_OFF.len() - 1);
        failing.count += 1;
        let pause = self.settings.interval.saturating_mul(BACK_OFF[step]);
        // Marsaglia's xorshift.
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 17;
        self.jitter ^= self.jitter << 5;
        pause.saturating_add((pause / 4 / 0x1_0000).saturating_mul(self.jitter >> 16))
    }

    fn judge(&mut self, answer: Answer, asked: Asked) -> Outcome {
        let pause = self.settings.interval;
        match (answer.status, asked) {
            (304, _) if self.place.is_known => {
                self.details.not_modified += 1;
                let taken = self.page.is_same();
                self.hand_out(taken);
            }
            (206, Asked::From(start)) => return self.take_range(&answer, start),
            (206, Asked::Start | Asked::End) => return self.take_edge(&answer, asked),
            (416, Asked::From(_)) => {
                self.place.is_refused();
                return Outcome::Again;
            }
            // The page was emptied meanwhile.
            (416, Asked::Start | Asked::End) if answer.head.header("content-range") == Some("bytes */0") => {
                self.place.is_over = false;
                self.begin();
            }
            (200..=299, _) if answer.status != 206 => {
                self.take_whole(&answer, asked);
            }
            (401 | 403, _) => {
                return Outcome::Bad(format!("it answered {}: see --http-auth for a login", answer.status));
            }
            (status, _) => {
                self.place.is_over &= matches!(asked, Asked::From(_));
                return Outcome::Bad(format!("it answered {status}"));
            }
        }
        Outcome::Good { pause }
    }

    fn take_range(&mut self, answer: &Answer, start: u64) -> Outcome {
        self.last_bodies[1] = Some(answer.body.len());
        let offset = self.place.offset;
        let Some(first) = self.place.is_range(answer, start, self.settings.most_body) else {
            self.place.is_refused();
            return Outcome::Again;
        };
        let has_more = self.place.has_more();
        if has_more && self.place.offset == offset {
            return Outcome::Bad(self.without_an_end(answer.body.len()));
        }
        let rest = lines_of(answer.body.get(first..).unwrap_or_default(), has_more);
        let taken = self.page.take(rest, How::Behind, &self.key, self.settings.most_seen);
        self.hand_out(taken);
        Outcome::Good { pause: self.pause_after(answer.body.len(), has_more) }
    }

    /// The first or last part of a page that is too long to be taken whole.
    fn take_edge(&mut self, answer: &Answer, asked: Asked) -> Outcome {
        let most = self.settings.most_body;
        let start = if is_json(answer) { None } else { self.place.is_edge(answer, asked, most) };
        let Some(start) = start else {
            self.place.is_refused();
            self.place.is_over = false;
            return Outcome::Bad(sentence(&Trouble::TooLong(most)));
        };
        if self.place.is_lost() {
            return Outcome::Bad(self.without_an_end(answer.body.len()));
        }
        let has_more = self.place.has_more();
        let text = lines_of(answer.body.strip_prefix(BOM).unwrap_or(&answer.body), has_more);
        self.begin();
        let most_seen = self.settings.most_seen;
        let taken = if asked == Asked::Start {
            self.page.take_start(text, &self.key, most_seen)
        } else {
            // What is before the first newline is the end of a line, unless all is here.
            let first = if start > 0 { memchr::memchr(b'\n', text).map_or(text.len(), |at| at + 1) } else { 0 };
            self.page.take(text.get(first..).unwrap_or_default(), How::Skipped, &self.key, most_seen)
        };
        self.hand_out(taken);
        // A page that is another each time is not to be read again and again without a pause.
        Outcome::Good { pause: self.pause_after(answer.body.len(), has_more && self.place.refused == 0) }
    }

    /// A server may send less than all, and says so: the rest is there already.
    fn pause_after(&self, part: usize, has_more: bool) -> Duration {
        let is_long = part >= LONG_PART_BYTES.min(self.settings.most_body);
        if is_long && has_more { Duration::ZERO } else { self.settings.interval }
    }

    /// In a part of so many bytes no line ends, and the page goes on: the same would come again and again.
    fn without_an_end(&self, part: usize) -> String {
        if part < self.settings.most_body {
            return format!("it sends no more than {part} bytes of it at a time, in which no line ends");
        }
        format!("a line of it is longer than {}: raise --poll-max-response", DisplaySize(self.settings.most_body))
    }

    fn take_whole(&mut self, answer: &Answer, asked: Asked) {
        if asked != Asked::Whole {
            self.place.is_refused();
        }
        self.last_bodies[0] = Some(answer.body.len());
        let text = answer.body.strip_prefix(BOM).unwrap_or(&answer.body);
        let json = if is_lines(answer.head.header("content-type"), text) { None } else { json::lines_of(text) };
        let text = json.as_deref().unwrap_or(text);
        if text.iter().all(|byte| matches!(byte, b'\n' | b'\r')) {
            return self.begin();
        }
        let how = if self.has_begun || !self.settings.starts_new { How::Compared } else { How::Skipped };
        self.begin();
        let most = self.settings.most_seen;
        let taken = self.page.take(text, how, &self.key, most);
        self.place.is_whole(answer, json.is_none());
        if taken.lines > most && !self.place.has_ranges && !self.told_too_small {
            self.told_too_small = true;
            self.news.push(News::SeenTooSmall { lines: taken.lines, most });
        }
        self.hand_out(taken);
    }

    /// The first page is here. That it was empty is kept too, where it is not the same as none.
    fn begin(&mut self) {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        self.changes += u64::from(is_first && self.settings.starts_new);
    }

    fn hand_out(&mut self, taken: Taken) {
        if taken.is_gap {
            self.details.gaps += 1;
            self.news.push(News::Gap);
        }
        self.changes += u64::from(taken.is_changed);
        self.details.lines = self.details.lines.saturating_add(taken.fresh_lines);
        self.fresh = taken.fresh;
    }

    /// New lines that wait, whole, each with its newline, the oldest first.
    #[must_use]
    pub fn fresh(&self) -> &[u8] {
        match self.phase {
            Phase::Delivering { taken, .. } => self.fresh.get(taken..).unwrap_or_default(),
            Phase::Waiting { .. } | Phase::Fetching(_) => &[],
        }
    }

    /// So many bytes of [`fresh`](Self::fresh) were taken. When it was all, the time to the next fetch begins.
    pub fn took(&mut self, count: usize, now: Duration) {
        if let Phase::Delivering { taken, pause } = &mut self.phase {
            *taken = taken.saturating_add(count);
            if *taken >= self.fresh.len() {
                self.fresh = Vec::new();
                self.phase = Phase::Waiting { due: now.saturating_add(*pause) };
            }
        }
    }

    /// What is to be told, in order.
    pub fn news(&mut self) -> Option<News> {
        if self.news.is_empty() { None } else { Some(self.news.remove(0)) }
    }

    /// How it is.
    #[must_use]
    pub fn details(&self) -> Details {
        let state = match (self.phase, self.failing) {
            (Phase::Fetching(_), _) => "fetching",
            (Phase::Delivering { .. }, _) => "delivering",
            (Phase::Waiting { .. }, Some(_)) => "failing",
            (Phase::Waiting { .. }, None) => "waiting",
        };
        Details { state, seen_entries: self.page.len(), ..self.details.clone() }
    }

    /// What is to be kept for the next process, once the lines that were taken are written; `None` while new lines wait or nothing is
    /// remembered. It holds the key of the numbers, so nobody else should read it.
    #[must_use]
    pub fn stored(&self) -> Option<Vec<u8>> {
        let is_delivering = matches!(self.phase, Phase::Delivering { .. });
        let is_to_keep = !is_delivering && (!self.page.is_empty() || self.has_begun && self.settings.starts_new);
        is_to_keep.then(|| kept::write(&self.key, &self.details.url, &self.page, &self.place))
    }

    /// Grows whenever [`stored`](Self::stored) may be another.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// How many bytes the body of the next fetch, or of the one under way, will probably have.
    #[must_use]
    pub fn expected(&self) -> usize {
        let asked = if let Phase::Fetching(asked) = self.phase { asked } else { self.next_asked() };
        if matches!(asked, Asked::Start | Asked::End) {
            return self.settings.most_body;
        }
        let last = self.last_bodies[usize::from(asked != Asked::Whole)];
        let bytes = last.map_or(FIRST_BODY_BYTES, |last| last.saturating_add(last / 8 + 4096));
        bytes.min(self.settings.most_body)
    }

    /// Bytes of memory.
    #[must_use]
    pub fn held(&self) -> usize {
        size_of::<Self>() + self.page.held() + self.place.held() + self.fresh.capacity()
    }
}

/// A body without the line at its end that is cut off there, if the page goes on.
fn lines_of(text: &[u8], has_more: bool) -> &[u8] {
    let end = if has_more { memchr::memrchr(b'\n', text).map_or(0, |at| at + 1) } else { text.len() };
    text.get(..end).unwrap_or_default()
}

/// The server says that it is JSON, of which a part is none.
fn is_json(answer: &Answer) -> bool {
    answer.head.header("content-type").is_some_and(|media| has_media(media, &["/json", "+json"]))
}

/// The end of a sentence, with the option that helps.
fn sentence(trouble: &Trouble) -> String {
    let option = match trouble {
        trouble if trouble.is_too_long() => ": nothing of it was taken; raise --poll-max-response",
        trouble if trouble.is_cut() => ": nothing of it was taken",
        trouble if trouble.is_slow() => "; see --poll-timeout",
        _ => "",
    };
    format!("{trouble}{option}")
}

/// The text is lines and no JSON, whatever it looks like.
fn is_lines(content_type: Option<&str>, text: &[u8]) -> bool {
    let Some(content_type) = content_type else { return false };
    let ends = |names: &[&str]| has_media(content_type, names);
    // A file to which an object a line is written may have one yet.
    let is_one_line = text.first() == Some(&b'{') && memchr::memchr(b'\n', text) == text.len().checked_sub(1);
    ends(&["ndjson", "jsonl", "json-lines", "jsonlines"]) || is_one_line && !ends(&["/json", "+json"])
}

/// The content type has one of these ends.
fn has_media(content_type: &str, names: &[&str]) -> bool {
    let media = trimmed(cut(content_type, b";").0);
    let end = |name: &str| media.get(media.len().saturating_sub(name.len())..).unwrap_or_default();
    names.iter().any(|name| is(end(name), name))
}

#[cfg(test)]
mod rules;
