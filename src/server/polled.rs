//! The table of pollers: who there is, who may have room for its page, and what the diagnostics show of each. Invariant: what is
//! granted to pages stays within [`Plan::pool`].

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use log::warn;

use super::poll_plan::Plan;
use crate::config::listen::Framing;
use crate::config::text::as_text;
use crate::dial::caller::Caller;
use crate::dial::{Guard, Trust};
use crate::engine::framer::Framer;
use crate::engine::peer::Peer;
use crate::engine::stats::{PollerCounters, PollerStats, ms};
use crate::http::{Client, Logins, Rules, Url};
use crate::poll::files::{self, States};
use crate::poll::{Poll, PollOptions, PollStart, Poller, Settings};
use crate::task::Task;

/// One poller.
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) peer: Peer,
    pub(super) interval: Duration,
    pub(super) poller: Poller,
    pub(super) caller: Caller,
    pub(super) framer: Framer,
    /// Something was told of it.
    pub(super) is_told: bool,
    /// When it is to be served though nothing was told of it.
    pub(super) due_at: Option<Duration>,
    /// Bytes of the pool that are set aside for the page that it fetches.
    pub(super) granted: usize,
    /// Since when it waits for these.
    pub(super) asked_at: Option<Duration>,
    /// It has lines that wait for room in the sink.
    pub(super) is_feeding: bool,
    /// The file of its name takes nothing: its lines are offered again then.
    pub(super) held_up_until: Option<Duration>,
    /// Its next fetch waits for the sink to take lines again: memory is for those that it has brought.
    pub(super) is_held_back: bool,
    pub(super) last_fetch_ms: u64,
    /// Where its state is kept.
    pub(super) file: Option<PathBuf>,
    /// Its lines end at this position of the sink; what it has seen is kept once they are there.
    pub(super) unkept: Option<u64>,
    pub(super) keep_at: Duration,
    /// Changes of its state that are kept.
    pub(super) kept: u64,
    /// Why it brings nothing, as the log says, and when that was said.
    pub(super) said: Option<(String, Duration)>,
    /// Since when it brings nothing, and when a gap was said last.
    pub(super) failing_since: Option<Duration>,
    pub(super) gap_said: Option<Duration>,
    /// It was stopped. It asks for no more, and is here until its lines are gone and what it has seen is kept.
    pub(super) is_leaving: bool,
}

/// A state that is being written, of the poller with this number.
pub(super) struct Keeping {
    pub(super) id: u64,
    pub(super) task: Task<io::Result<()>>,
}

/// All of them.
pub(super) struct Pollers {
    pub(super) options: PollOptions,
    pub(super) logins: Logins,
    /// Whom connections over TLS trust, once there is one.
    pub(super) trust: Option<Trust>,
    pub(super) states: Option<States>,
    /// Their number is the place.
    pub(super) places: Vec<Option<Box<Entry>>>,
    pub(super) plan: Plan,
    /// Something was told of one.
    pub(super) has_told: bool,
    /// When the next is due; `None`: none is.
    pub(super) due_at: Option<Duration>,
    pub(super) keeping: Option<Keeping>,
    /// A state could not be written, and that is said.
    pub(super) cannot_keep: bool,
    pub(super) random: u32,
    /// What the diagnostics show is another.
    pub(super) is_changed: bool,
}

impl Pollers {
    pub(super) fn new(options: PollOptions, plan: Plan, logins: Logins, states: Option<States>) -> Self {
        Self {
            options,
            logins,
            trust: None,
            states,
            places: Vec::new(),
            plan,
            has_told: false,
            due_at: None,
            keeping: None,
            cannot_keep: false,
            random: files::random().map_or(1, |[a, b, c, d, ..]| u32::from_le_bytes([a, b, c, d])),
            is_changed: true,
        }
    }

    /// Something was told of the connection of one.
    pub(super) fn wake(&mut self, number: u32) {
        let place = number as usize;
        if let Some(entry) = self.places.get_mut(place).and_then(Option::as_mut) {
            entry.caller.told();
            (entry.is_told, self.has_told) = (true, true);
        }
    }

    /// How long until one is due. `is_stalled`: the sink has no room, so new lines wait.
    pub(super) fn due_in(&self, now: Duration, is_stalled: bool) -> Option<Duration> {
        if self.has_told || (!is_stalled && self.entries().any(Entry::waits_for_sink)) {
            return Some(Duration::ZERO);
        }
        self.due_at.map(|at| at.saturating_sub(now))
    }

    /// Whether lines wait for room in the sink.
    pub(super) fn are_feeding(&self) -> bool {
        self.entries().any(|entry| entry.is_feeding)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().flatten().map(Box::as_ref)
    }

    /// One more. The place of its connection's events is new, or that of one that has left.
    pub(super) fn start(&mut self, id: u64, poll: &Poll, interval: Duration) {
        let name = poll.name.text();
        let file = self.states.as_ref().map(|states| states.file(name));
        let kept = file.as_deref().map_or(Ok(None), files::read_state).unwrap_or_else(|error| {
            warn!("[poll] {name}: what it has seen can't be read ({error}): it begins anew");
            None
        });
        let [a, b, c, d, key @ ..] = files::random().unwrap_or_default();
        let settings = Settings {
            name: name.to_owned(),
            url: poll.url.clone(),
            interval,
            timeout: self.options.timeout,
            most_body: self.options.max_response,
            most_seen: self.options.seen,
            starts_new: self.options.start == PollStart::New,
        };
        let rules = Rules {
            head: settings.timeout,
            whole: settings.timeout,
            most_body: settings.most_body,
            asks_for_room: true,
        };
        let (client, secret) = (poll.url.clone(), self.logins.of(&poll.url));
        let client = Client::new(client, secret, rules);
        let (poller, refused) = Poller::new(settings, key, u32::from_le_bytes([a, b, c, d]), kept.as_deref());
        if let Some(why) = refused {
            warn!("[poll] {name}: what it has seen can't be used ({why}): it begins anew");
        }
        let caller = Caller::new(client, self.guard(&poll.url, name));
        let entry = Entry::new((id, poll, interval), poller, caller, file);
        let place = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        if let Some(free) = self.places.get_mut(place) {
            *free = Some(Box::new(entry));
        }
        self.due_at = Some(Duration::ZERO);
        self.is_changed = true;
    }

    /// Reads the files of certificates and keys, if they were not read yet.
    pub(super) fn read_trust(&mut self) -> io::Result<()> {
        if self.trust.is_none() {
            self.trust = Some(Trust::open(Some(&self.options.tls))?);
            self.warn_of_trust();
        }
        Ok(())
    }

    /// Reads them again.
    pub(super) fn reopen(&mut self) {
        self.trust.iter_mut().for_each(Trust::reload);
        self.warn_of_trust();
    }

    fn warn_of_trust(&mut self) {
        for sentence in self.trust.iter_mut().flat_map(Trust::take_unsaid) {
            warn!("[poll] {sentence}");
        }
    }

    /// What connections to this place are held against. Without one, no connection is made to a place that needs one.
    fn guard(&mut self, url: &Url, name: &str) -> Option<Guard> {
        if !url.is_secured {
            return None;
        }
        let guard = self.read_trust().and_then(|()| match &self.trust {
            Some(trust) => trust.guard(&url.host),
            None => Ok(None),
        });
        guard.unwrap_or_else(|error| {
            warn!("[poll] {name} can't be fetched: {error}");
            None
        })
    }

    /// One leaves. What it is fetching is thrown away.
    pub(super) fn stop(&mut self, id: u64) {
        if let Some(entry) = self.places.iter_mut().flatten().find(|entry| entry.id == id) {
            entry.is_leaving = true;
            entry.caller.client_mut().cancel();
            (entry.due_at, entry.keep_at) = (Some(Duration::ZERO), Duration::ZERO);
            self.due_at = Some(Duration::ZERO);
            self.is_changed = true;
        }
        // While the sink takes nothing, those who leave would become more and more.
        if self.entries().count() > self.plan.most {
            let longest = self.places.iter_mut().find(|place| place.as_ref().is_some_and(|entry| entry.is_leaving));
            longest.into_iter().for_each(|place| *place = None);
        }
    }

    /// Lets those have room for their pages that have waited longest. Who waits gets it once others are done, and each of these is
    /// within its time. Only small pages overtake, in the room that is kept for them: else servers that announce much and send
    /// nothing would hold up all others.
    pub(super) fn grant(&mut self, now: Duration) {
        let (pool, kept) = (self.plan.pool(self.entries().count()), self.plan.kept);
        let is_small = |bytes: usize| bytes <= kept / 4;
        loop {
            let granted = |is_counted: &dyn Fn(usize) -> bool| -> usize {
                self.entries().map(|entry| entry.granted).filter(|bytes| is_counted(*bytes)).sum()
            };
            let (small, large) = (granted(&is_small), granted(&|bytes| !is_small(bytes)));
            let fits = |wanted: usize| {
                let most = if is_small(wanted) { pool } else { pool - kept };
                small + large == 0 || large + wanted <= most && small + large + wanted <= pool
            };
            let may_overtake = |wanted: usize| is_small(wanted) && small + wanted <= kept;
            let waiting = || self.entries().filter(|entry| entry.asked_at.is_some());
            let first = waiting().min_by_key(|entry| entry.asked_at).filter(|entry| fits(entry.wanted()));
            let others = || waiting().filter(|entry| may_overtake(entry.wanted())).min_by_key(|entry| entry.asked_at);
            let Some((id, wanted)) = first.or_else(others).map(|entry| (entry.id, entry.wanted())) else { return };
            let Some(entry) = self.places.iter_mut().flatten().find(|entry| entry.id == id) else { return };
            (entry.granted, entry.asked_at) = (wanted, None);
            entry.caller.grant(now);
            (entry.is_told, self.has_told) = (true, true);
        }
    }

    /// A state was written, or was not: then it is tried again, at the end at the latest.
    pub(super) fn note_kept(&mut self, keeping: Keeping) {
        match keeping.task.result() {
            Some(Ok(())) => self.cannot_keep = false,
            Some(Err(error)) => {
                say_unkept(&error, &mut self.cannot_keep);
                let is_its = |entry: &&mut Box<Entry>| entry.id == keeping.id && !entry.is_leaving;
                if let Some(entry) = self.places.iter_mut().flatten().find(is_its) {
                    entry.unkept.get_or_insert(0);
                }
            }
            None => {}
        }
    }

    /// Bytes of memory that all take.
    pub(super) fn held(&self) -> usize {
        let held = |entry: &Entry| entry.poller.held() + entry.caller.client().held() + entry.framer.held();
        self.entries().map(held).sum()
    }

    /// What the diagnostics show of each, in the order in which they were started.
    pub(super) fn stats(&self) -> Vec<PollerStats> {
        let mut all: Vec<PollerStats> = Vec::new();
        for entry in self.entries().filter(|entry| !entry.is_leaving) {
            // They are nearly in order, and sorting is 3 KB.
            let place = all.partition_point(|one| one.id < entry.id);
            all.insert(place, entry.stats());
        }
        all
    }
}

impl Entry {
    /// Bytes that its page takes: as it comes, and once more when its lines are looked at.
    fn wanted(&self) -> usize {
        2 * self.caller.client().room_wanted().unwrap_or_default()
    }

    pub(super) fn new(
        (id, poll, interval): (u64, &Poll, Duration),
        poller: Poller,
        caller: Caller,
        file: Option<PathBuf>,
    ) -> Self {
        Self {
            id,
            peer: Peer::Poller(poll.name),
            interval,
            poller,
            caller,
            framer: Framer::new(Framing::Lines),
            is_told: false,
            due_at: Some(Duration::ZERO),
            granted: 0,
            asked_at: None,
            is_feeding: false,
            held_up_until: None,
            is_held_back: false,
            last_fetch_ms: 0,
            file,
            unkept: None,
            keep_at: Duration::ZERO,
            kept: 0,
            said: None,
            failing_since: None,
            gap_said: None,
            is_leaving: false,
        }
    }

    pub(super) fn waits_for_sink(&self) -> bool {
        self.is_feeding || self.is_held_back
    }

    pub(super) fn stats(&self) -> PollerStats {
        let details = self.poller.details();
        PollerStats {
            id: self.id,
            name: as_text(&self.peer),
            url: self.poller.settings().url.to_string(),
            interval_ms: ms(self.interval),
            state: details.state,
            last_fetch_ms: self.last_fetch_ms,
            last_status: details.last_status.unwrap_or_default(),
            last_error: details.last_error.unwrap_or_default(),
            failing_since_ms: self.failing_since.map(ms),
            counters: PollerCounters {
                seen_entries: details.seen_entries as u64,
                fetches: details.fetches,
                failures: details.failures,
                not_modified: details.not_modified,
                lines: details.lines,
                bytes: details.bytes,
                gaps: details.gaps,
            },
        }
    }
}

pub(super) fn say_unkept(error: &io::Error, cannot_keep: &mut bool) {
    if !std::mem::replace(cannot_keep, true) {
        warn!("[poll] what was seen can't be kept (--poll-state): {error}; a restart may bring lines again");
    }
}
