//! Who is told of lines (`--alert`): each telling is one POST, one after the other, from the same loop. Invariant: clients never
//! wait for it, and what could not be told is told with what comes next.

use std::time::Duration;

use log::{info, warn};

use super::Server;
use super::error::BindError;
use crate::config::alert::AlertOptions;
use crate::config::text::as_text;
use crate::config::units::soonest;
use crate::dial::Trust;
use crate::dial::caller::Caller;
use crate::engine::alert::{Alert, Wanted};
use crate::engine::framer::Lines;
use crate::engine::json::Json;
use crate::engine::peer::Peer;
use crate::http::files::read_auth;
use crate::http::{Client, Method, Request, Rules, Url};
use crate::net::{ALERTS, Net};
use crate::sink::Sink;

/// How long who is told may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer: nobody reads it.
const MOST_ANSWER: usize = 64 * 1024;
/// After a telling that failed comes the next try, of any.
const PAUSE: Duration = Duration::from_secs(10);
/// Why nobody hears it is said again after this.
const SAY_EVERY: Duration = Duration::from_secs(3600);

/// All of them, and who is told.
pub(super) struct Alerts {
    texts: Vec<String>,
    alerts: Vec<Alert>,
    caller: Caller,
    trust: Trust,
    /// Which is being told.
    telling: Option<usize>,
    /// Nothing is told before.
    retry_at: Duration,
    /// Why nobody hears it, as the log says, and when that was said.
    said: Option<(String, Duration)>,
}

impl Alerts {
    /// Looks at lines that go to the sink.
    #[inline(never)] // off the path of those who have none
    pub(super) fn see(&mut self, peer: &Peer, lines: Lines<'_>) {
        self.alerts.iter_mut().for_each(|alert| alert.see(peer, lines));
    }

    /// Something was told of the connection.
    pub(super) fn wake(&mut self) {
        self.caller.told();
    }

    fn warn_of_trust(&mut self) {
        for sentence in self.trust.take_unsaid() {
            warn!("[alert] {}: {sentence}", self.caller.client().url());
        }
    }

    /// Ends a telling, begins the next, and moves its bytes.
    fn go_on(&mut self, now: Duration) {
        while self.caller.go_on(now) {}
        if let Some(result) = self.caller.client_mut().result() {
            let why = match result {
                Ok(answer) if (200..300).contains(&answer.status) => None,
                Ok(answer) => Some(format!("it answered {}", answer.status)),
                Err(trouble) => Some(as_text(&trouble)),
            };
            if let Some(alert) = self.telling.take().and_then(|at| self.alerts.get_mut(at)) {
                alert.heard(why.is_none(), now);
            }
            self.say(why, now);
        }
        if self.telling.is_none() && now >= self.retry_at && self.caller.client().is_idle() {
            self.begin(now);
            while self.caller.go_on(now) {}
        }
    }

    fn say(&mut self, why: Option<String>, now: Duration) {
        let url = self.caller.client().url();
        match (why, &self.said) {
            (None, Some(_)) => {
                info!("[alert] {url} hears of lines again");
                self.said = None;
            }
            (None, None) => {}
            (Some(why), said) => {
                self.retry_at = now + PAUSE;
                if said.as_ref().is_none_or(|(before, at)| *before != why || now >= *at + SAY_EVERY) {
                    warn!("[alert] {url} hears of no line: {why}; trying again");
                    self.said = Some((why, now));
                }
            }
        }
    }

    /// Begins the next telling that is due.
    fn begin(&mut self, now: Duration) {
        for (at, (alert, text)) in self.alerts.iter_mut().zip(&self.texts).enumerate() {
            let Some(telling) = alert.tell(now) else { continue };
            let mut json = Json::new();
            json.text("pattern", text).text("line", &String::from_utf8_lossy(&telling.line));
            json.text("peer", &as_text(&telling.peer)).number("count", telling.count);
            let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
            let body = json.finish().into_bytes();
            let request = Request { method: Method::Post, target: None, headers, body, takes_gzip: false };
            self.caller.client_mut().begin(request, now);
            self.telling = Some(at);
            return;
        }
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        let own = match self.telling {
            Some(_) => None,
            None => {
                let soonest = self.alerts.iter().filter_map(|alert| alert.due_in(now)).min();
                soonest.map(|wait| wait.max(self.retry_at.saturating_sub(now)))
            }
        };
        soonest(&[own, self.caller.due_in(now)])
    }
}

impl<S: Sink, N: Net> Server<S, N> {
    /// Tells a URL of lines that hold a text: one POST of a JSON object, `{"pattern", "line", "peer", "count"}`, at the first of them,
    /// and then one at the end of each [`AlertOptions::every`] in which there were more.
    ///
    /// # Errors
    /// [`BindError::Usage`], what makes no sense; [`BindError::File`], a file of passwords that can't be used.
    pub fn send_alerts_to(&mut self, options: &AlertOptions) -> Result<(), BindError> {
        let url = options
            .url
            .as_deref()
            .map(Url::parse)
            .transpose()
            .map_err(|why| BindError::Usage(format!("--alert-url: {why}")))?;
        let Some(url) = url.filter(|_| !options.patterns.is_empty()) else { return Ok(()) };
        let mut secret = None;
        if let Some(path) = &options.auth {
            let flag = "--http-auth";
            let auth = read_auth(path).map_err(|source| BindError::File { flag, path: path.clone(), source })?;
            if let Some(warning) = auth.warning(path) {
                warn!("[alert] {warning}");
            }
            secret = auth.logins.of(&url);
        }
        if url.has_secret() {
            warn!(
                "[alert] {url}: its password can be seen by who sees the command line (ps) or the config file: put it into a file of its own, and give --http-auth FILE"
            );
        }
        let rules = Rules { head: TIMEOUT, whole: TIMEOUT, most_body: MOST_ANSWER, asks_for_room: false };
        let trust = Trust::open(url.is_secured.then_some(&options.tls))
            .map_err(|error| BindError::Certificates(as_text(&error)))?;
        let guard = trust.guard(&url.host).map_err(|error| BindError::Usage(format!("--alert-url {url}: {error}")))?;
        let caller = Caller::new(Client::new(url, secret, rules).by_heads(), guard);
        let wanted = |text: &String| Alert::new(Wanted::new(text, options.ignores_case), options.every);
        self.alerts = Some(Box::new(Alerts {
            texts: options.patterns.clone(),
            alerts: options.patterns.iter().map(wanted).collect(),
            caller,
            trust,
            telling: None,
            retry_at: Duration::ZERO,
            said: None,
        }));
        Ok(())
    }

    /// Reads files of certificates and keys again.
    pub(super) fn reopen_alerts(&mut self) {
        if let Some(alerts) = &mut self.alerts {
            alerts.trust.reload();
            alerts.warn_of_trust();
        }
    }

    /// Tells what is due.
    pub(super) fn send_alerts(&mut self) {
        let now = self.clock.now();
        let Some(alerts) = &mut self.alerts else { return };
        if alerts.due_in(now).is_some_and(|wait| wait.is_zero()) {
            alerts.go_on(now);
            if let Some(descriptor) = alerts.caller.unwatched() {
                // One that can't be watched is never told of, and it ends when its time is over.
                let _ = self.net.watch_poller(ALERTS, descriptor);
            }
        }
    }

    pub(super) fn alerts_due_in(&self) -> Option<Duration> {
        self.alerts.as_ref()?.due_in(self.clock.now())
    }
}
