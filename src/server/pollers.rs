//! Pollers: pages that are fetched again and again, and whose new lines go the way of a client's. Each turn serves those of which
//! something was told or whose time has come. Invariant: what all pollers hold stays within [`Plan::share`], by which the
//! memory budget of the clients was lowered (P5).

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use log::{info, warn};
use memchr::{memchr_iter, memrchr};

use super::Server;
use super::error::BindError;
use super::life::Life;
use super::outlet::Out;
use super::poll_orders::PollOrder;
use super::poll_plan::Plan;
pub(super) use super::polled::Pollers;
use super::polled::{Entry, Keeping, say_unkept};
use crate::config::listen::Framing;
use crate::config::syslog::Parse;
use crate::config::units::{DisplayDuration, soonest};
use crate::engine::framer::{self};
use crate::engine::gap::{Gap, Why};
use crate::engine::peer::Peer;
use crate::http::Logins;
use crate::http::files::read_auth;
use crate::net::Net;
use crate::poll::files::{self, States};
use crate::poll::{News, PollOptions};
use crate::sink::{Origin, Sink, Welcome};
use crate::task::Task;

/// Bytes of new lines that go to the sink at once: as much as a client may bring in one read.
const PIECE_BYTES: usize = 64 * 1024;
/// The same when the sink is short of room: it always has room for so many, once it is empty.
const LEAST_PIECE_BYTES: usize = crate::config::limits::LEAST_READ_BYTES;
/// A page of so many bytes is looked at in a turn, and other pages in the next: in that time nobody else is served.
const LONG_PAGE_BYTES: usize = 64 * 1024;
/// Steps of one poller in a turn, of 128 KiB each at most.
const MOST_STEPS: usize = 2;
/// What a poller has seen is written to the disk this often at most: flash wears out.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// That a poller brings nothing, and why, is said again after this; and another reason no sooner than this.
const SAY_EVERY: Duration = Duration::from_secs(3600);
const SAY_ANOTHER: Duration = Duration::from_secs(60);
/// A state that can't be kept yet is looked at again after this.
const LEAST_WAIT: Duration = Duration::from_millis(100);
/// If the file of a poller's name can't be written, it is asked again after this.
const HELD_UP: Duration = Duration::from_secs(1);

impl<S: Sink, N: Net> Server<S, N> {
    /// Fetches pages too, from the same loop, and takes their new lines in like those of clients. [`Handle::start_poller`] starts
    /// more of them later; where that is all, this need not be called.
    ///
    /// [`Handle::start_poller`]: crate::Handle::start_poller
    ///
    /// # Errors
    /// [`BindError::Usage`], what makes no sense or has no room in the memory budget; [`BindError::File`], a file or directory
    /// that can't be used.
    pub fn serve_polls(&mut self, options: PollOptions) -> Result<(), BindError> {
        options.validate().map_err(|error| BindError::Usage(error.to_string()))?;
        self.begin_polls(options)?;
        let Some(mut pollers) = self.pollers.take() else { return Ok(()) };
        if pollers.options.polls.iter().any(|poll| poll.url.is_secured) {
            pollers.read_trust().map_err(|error| BindError::Certificates(error.to_string()))?;
        }
        for poll in pollers.options.polls.clone() {
            if poll.has_secret() {
                warn!(
                    "[poll] {poll}: its password can be seen by who sees the command line (ps) or the config file: put it into a file of its own, and give --http-auth FILE"
                );
            }
            let interval = pollers.options.interval;
            let id = self
                .handle
                .with_poll_orders(|orders| orders.admit(poll.name))
                .map_err(|error| BindError::Usage(error.to_string()))?;
            pollers.start(id, &poll, interval);
        }
        if !pollers.options.polls.is_empty() {
            let (count, every) = (pollers.options.polls.len(), DisplayDuration(pollers.options.interval));
            info!("[poll] {count} page(s) are polled, {every} after each fetch");
        }
        self.pollers = Some(pollers);
        Ok(())
    }

    /// How many pollers may be started by a handle, if nothing else is said.
    pub(super) fn offer_polls(&self) {
        let plan = Plan::new(&self.limits, self.clients.budget.limit(), &PollOptions::default());
        self.handle.with_poll_orders(|orders| orders.set_most(plan.map_or(0, |plan| plan.most)));
    }

    /// Sets memory aside, and opens what pollers need.
    fn begin_polls(&mut self, options: PollOptions) -> Result<(), BindError> {
        let plan = Plan::new(&self.limits, self.clients.budget.limit(), &options).map_err(BindError::Usage)?;
        let files = |path: &PathBuf, flag: &'static str, error: io::Error| BindError::File {
            flag,
            path: path.clone(),
            source: error,
        };
        let states = match &options.state {
            None => None,
            Some(path) => Some(States::open(path).map_err(|error| files(path, "--poll-state", error))?),
        };
        let mut logins = Logins::default();
        if let Some(path) = &options.auth {
            let read = read_auth(path).map_err(|error| files(path, "--http-auth", error))?;
            if let Some(warning) = read.warning(path) {
                warn!("[poll] {warning}");
            }
            logins = read.logins;
        }
        if self.pollers.is_none() {
            self.clients.budget.lower(plan.share);
        }
        self.handle.with_poll_orders(|orders| orders.set_most(plan.most));
        self.pollers = Some(Box::new(Pollers::new(options, plan, logins, states)));
        Ok(())
    }

    /// Reads files of certificates and keys again.
    pub(super) fn reopen_pollers(&mut self) {
        if let Some(pollers) = &mut self.pollers {
            pollers.reopen();
        }
    }

    /// Serves the pollers of which something was told, and those that are due.
    pub(super) fn serve_pollers(&mut self) {
        if self.handle.has_poll_orders() {
            self.obey_poll_orders();
        }
        let now = self.clock.now();
        let is_stalled = self.outlet.is_stalled();
        if self.pollers.as_ref().is_some_and(|all| all.due_in(now, is_stalled).is_some_and(|wait| wait.is_zero())) {
            self.serve_due_pollers();
        }
    }

    #[inline(never)] // most servers have none
    fn obey_poll_orders(&mut self) {
        for order in self.handle.take_poll_orders() {
            if self.pollers.is_none()
                && let Err(error) = self.begin_polls(PollOptions::default())
            {
                warn!("[poll] {error}");
                return;
            }
            let Some(pollers) = &mut self.pollers else { return };
            match order {
                PollOrder::Start { id, poll, interval } if self.life == Life::Serving => {
                    pollers.start(id, &poll, interval);
                }
                PollOrder::Start { .. } => {}
                PollOrder::Stop { id } => pollers.stop(id),
            }
        }
        self.publish_pollers();
    }

    #[inline(never)] // most servers have none
    fn serve_due_pollers(&mut self) {
        let Some(mut pollers) = self.pollers.take() else { return };
        let now = self.clock.now();
        let can_feed = !self.outlet.is_stalled();
        let is_due = |entry: &mut Box<Entry>| {
            entry.is_told || entry.due_at.is_some_and(|at| at <= now) || (can_feed && entry.waits_for_sink())
        };
        pollers.has_told = false;
        // From another one each time: those in front are not to be the first for ever.
        pollers.random = pollers.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let count = pollers.places.len();
        let first = pollers.random as usize % count.max(1);
        let mut room = LONG_PAGE_BYTES;
        for place in (first..count).chain(0..first) {
            let Some(mut entry) = pollers.places.get_mut(place).and_then(|place| place.take_if(is_due)) else {
                continue;
            };
            entry.is_told = false;
            self.serve_poller(&mut entry, place, &mut room, &mut pollers.is_changed);
            let is_gone = entry.is_leaving && entry.poller.fresh().is_empty() && entry.unkept.is_none();
            pollers.places[place] = Some(entry).filter(|_| !is_gone);
        }
        pollers.grant(now);
        self.keep_states(&mut pollers);
        let entries = pollers.entries().filter_map(|entry| entry.due_at);
        let keeping = pollers.keeping.as_ref().map(|keeping| now + keeping.task.due_in(now));
        pollers.due_at = entries.chain(keeping).min();
        self.pollers = Some(pollers);
        self.publish_pollers();
    }

    /// One poller: its connection, its page, its lines, and its next fetch.
    fn serve_poller(&mut self, entry: &mut Entry, place: usize, room: &mut usize, is_changed: &mut bool) {
        let now = self.clock.now();
        for _ in 0..MOST_STEPS {
            if !entry.caller.go_on(now) {
                break;
            }
        }
        self.take_page(entry, room, is_changed);
        self.feed_from(entry);
        let is_serving = self.life == Life::Serving && !entry.is_leaving;
        let has_delivered = entry.poller.fresh().is_empty();
        if has_delivered && entry.caller.client().is_idle() {
            entry.granted = 0;
        }
        entry.is_held_back =
            is_serving && self.outlet.is_stalled() && entry.poller.due_in(now).is_some_and(|wait| wait.is_zero());
        let may_ask = has_delivered && is_serving && *room > 0 && !entry.is_held_back;
        if let Some(request) = may_ask.then(|| entry.poller.next_request(now)).flatten() {
            *is_changed = true;
            entry.caller.client_mut().begin(request, now);
            entry.caller.go_on(now);
        }
        if entry.caller.client().room_wanted().is_some() {
            entry.asked_at.get_or_insert(now);
        } else {
            entry.asked_at = None;
        }
        if let Some(descriptor) = entry.caller.unwatched() {
            // One that can't be watched is never told of, and its fetch ends when its time is over.
            let number = u32::try_from(place).unwrap_or(u32::MAX);
            if let Err(error) = self.net.watch_poller(number, descriptor) {
                warn!("[poll] {}: its connection can't be watched: {error}", entry.peer);
            }
        }
        // A page that there was no time for in this turn is looked at in the next.
        let page = entry.caller.client().has_result().then_some(Duration::ZERO);
        let next = entry.poller.due_in(now).filter(|_| is_serving && !entry.is_held_back);
        let held_up = entry.held_up_until.map(|until| until.saturating_sub(now));
        let own_at = soonest(&[page, entry.caller.due_in(now), next, held_up]).map(|wait| now + wait);
        let is_whole = entry.poller.fresh().is_empty();
        let is_there = |position: &u64| is_whole && self.is_written(&entry.peer, *position);
        let keep_at = entry.unkept.filter(is_there).map(|_| entry.keep_at);
        let keep_at = keep_at.map(|at| at.max(now + LEAST_WAIT));
        entry.due_at = soonest(&[own_at, keep_at]);
    }

    /// A fetch that has ended: its page is looked at, if there is time for one more.
    fn take_page(&mut self, entry: &mut Entry, room: &mut usize, is_changed: &mut bool) {
        if *room == 0 {
            return;
        }
        let Some(result) = entry.caller.client_mut().result() else { return };
        let now = self.clock.now();
        let bytes = result.as_ref().map_or(0, |answer| answer.body.len());
        *room = room.saturating_sub(bytes);
        entry.poller.answered(result, now);
        entry.last_fetch_ms = self.clock.wall_ms();
        *is_changed = true;
        while let Some(news) = entry.poller.news() {
            self.tell_of_poller(entry, &news);
        }
        self.note_unkept(entry);
    }

    /// If the state of a poller has changed, it is to be kept, once the lines that it has given are where they belong.
    fn note_unkept(&self, entry: &mut Entry) {
        if entry.file.is_some() && entry.kept != entry.poller.changes() {
            entry.unkept = Some(self.outlet.sink.state().taken);
        }
    }

    /// Gives new lines to the sink, as far as it has room.
    fn feed_from(&mut self, entry: &mut Entry) {
        (entry.is_feeding, entry.held_up_until) = (false, None);
        let rules = framer::Rules::new(&self.limits, Framing::Lines);
        while !entry.poller.fresh().is_empty() {
            if self.outlet.sink.welcome(&entry.peer) == Welcome::Nothing {
                entry.held_up_until = Some(self.clock.now() + HELD_UP);
                return;
            }
            entry.is_feeding = true;
            let Some(mut piece) = self.next_piece(entry) else { return };
            let count = piece.len();
            let origin = Origin { peer: &entry.peer, wall_ms: self.clock.wall_ms(), parse: Parse::Off };
            let mut out = Out {
                net: &self.net,
                sink: &mut self.outlet.sink,
                onlookers: &mut self.desk,
                alerts: &mut self.alerts,
                origin,
            };
            let fed = entry.framer.feed(&mut piece, 0, &rules, &mut out);
            entry.framer.keep(fed.tail, &rules);
            entry.poller.took(count, self.clock.now());
            self.counters.bytes = self.counters.bytes.saturating_add(count as u64);
            self.tally().fed(&entry.peer, &fed);
        }
        if std::mem::take(&mut entry.is_feeding) {
            self.note_unkept(entry);
        }
    }

    /// The next new lines that there is room for. None: the sink is full.
    fn next_piece(&mut self, entry: &Entry) -> Option<Vec<u8>> {
        if self.outlet.is_stalled() {
            return None;
        }
        let (fresh, pending) = (entry.poller.fresh(), entry.framer.pending());
        for most in [PIECE_BYTES, LEAST_PIECE_BYTES] {
            let piece = fresh.get(..most).unwrap_or(fresh);
            let end = memrchr(b'\n', piece).map_or(piece.len(), |last| last + 1);
            let piece = piece.get(..end).unwrap_or_default();
            if self.outlet.fits(pending + piece.len(), memchr_iter(b'\n', piece).count() + 1) {
                return Some(piece.to_vec());
            }
        }
        self.stall();
        None
    }

    fn tell_of_poller(&mut self, entry: &mut Entry, news: &News) {
        let (now, name) = (self.clock.now(), entry.peer);
        let url = &entry.poller.settings().url;
        match news {
            // Once, until it is another; and now and then, for who reads only the end of the log. One poller hides no other.
            News::Trouble(why) => {
                entry.failing_since.get_or_insert(now);
                let is_new = entry.said.as_ref().is_none_or(|(said, at)| {
                    let pause = if said == why { SAY_EVERY } else { SAY_ANOTHER };
                    now >= *at + pause
                });
                if is_new {
                    warn!("[poll] {name}: {url} brings nothing: {why}; trying again");
                    entry.said = Some((why.clone(), now));
                }
            }
            News::Recovered { after, failures } => {
                (entry.said, entry.failing_since) = (None, None);
                let after = DisplayDuration(*after);
                info!("[poll] {name}: {url} is back after {after} and {failures} fetch(es) that failed");
            }
            News::Gap => {
                if entry.gap_said.is_none_or(|at| now >= at + SAY_EVERY) {
                    entry.gap_said = Some(now);
                    warn!(
                        "[poll] {name}: nothing on its page was there before: lines in between may never have been seen; a shorter --poll-interval sees more"
                    );
                }
                let origin = Origin { peer: &name, wall_ms: self.clock.wall_ms(), parse: Parse::Off };
                self.outlet.sink.gap(&origin, Gap { lines: 0, bytes: 0, why: Why::PagePassed });
            }
            News::SeenTooSmall { lines, most } => warn!(
                "[poll] {name}: its page has {lines} lines, and {most} are remembered: what is above them is taken for old; give --poll-seen {lines} or more"
            ),
        }
    }

    /// Whether lines of a poller up to this position are written. Where the file of its name takes nothing, all others are counted
    /// as written without it.
    fn is_written(&self, peer: &Peer, position: u64) -> bool {
        self.outlet.has_delivered(position) && self.outlet.sink.welcome(peer) != Welcome::Nothing
    }

    /// What pollers have seen is kept, one after the other, once their lines are where they belong.
    fn keep_states(&mut self, pollers: &mut Pollers) {
        let now = self.clock.now();
        if let Some(keeping) = pollers.keeping.take_if(|keeping| keeping.task.is_done()) {
            pollers.note_kept(keeping);
        }
        if pollers.keeping.is_some() {
            return;
        }
        let is_due = |entry: &&mut Box<Entry>| {
            let is_whole = entry.poller.fresh().is_empty();
            let is_there = |position| self.is_written(&entry.peer, position);
            is_whole && entry.keep_at <= now && entry.unkept.is_some_and(is_there)
        };
        let Some(entry) = pollers.places.iter_mut().flatten().find(is_due) else { return };
        (entry.unkept, entry.keep_at, entry.kept) = (None, now + KEEP_EVERY, entry.poller.changes());
        let (Some(file), Some(state)) = (entry.file.clone(), entry.poller.stored()) else { return };
        match Task::begin(now, move || files::write_state(&file, &state)) {
            Ok(task) => pollers.keeping = Some(Keeping { id: entry.id, task }),
            Err(_) => entry.unkept = Some(0),
        }
    }

    /// The end begins: what is being fetched is dropped, and nothing more is asked for. Lines that are here go their way.
    pub(super) fn end_fetches(&mut self) {
        for entry in self.pollers.iter_mut().flat_map(|pollers| pollers.places.iter_mut()).flatten() {
            entry.caller.client_mut().cancel();
            entry.caller.go_on(self.clock.now());
        }
    }

    /// Whether lines of pollers wait for room in the sink.
    pub(super) fn are_polls_feeding(&self) -> bool {
        self.pollers.as_ref().is_some_and(|pollers| pollers.are_feeding())
    }

    /// How long until a poller is due.
    pub(super) fn pollers_due_in(&self) -> Option<Duration> {
        self.pollers.as_ref()?.due_in(self.clock.now(), self.outlet.is_stalled())
    }

    /// The end has come, and all lines are where they belong: what was seen is kept.
    pub(super) fn end_pollers(&mut self) {
        let Some(mut pollers) = self.pollers.take() else { return };
        if let Some(keeping) = pollers.keeping.take() {
            pollers.note_kept(keeping);
        }
        for entry in pollers.places.iter().flatten().filter(|entry| entry.unkept.is_some()) {
            if let (Some(file), Some(state)) = (&entry.file, entry.poller.stored())
                && let Err(error) = files::write_state(file, &state)
            {
                say_unkept(&error, &mut pollers.cannot_keep);
            }
        }
        self.handle.publish(|snapshot| snapshot.pollers = Vec::new());
    }

    fn publish_pollers(&mut self) {
        if let Some(pollers) = self.pollers.as_mut().filter(|pollers| pollers.is_changed) {
            pollers.is_changed = false;
            let stats = pollers.stats();
            self.handle.publish(|snapshot| snapshot.pollers = stats);
        }
    }

    /// Asserts the invariant.
    pub(super) fn check_pollers(&self) {
        if let Some(pollers) = &self.pollers {
            assert!(pollers.held() <= pollers.plan.share, "8. pollers stay within their share (P5)");
        }
    }
}
