//! What is polled, and how (`--poll` and the options beside it). Invariant: a [`Poll`] has a name that may stand anywhere, and a
//! URL that can be fetched.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;

use crate::config::limits::{WordError, word_enum};
use crate::config::tls_out::TlsOptions;
use crate::config::units::{DisplayDuration, DisplaySize};
use crate::engine::peer::{MOST_NAME_BYTES, PollerName};
use crate::http::Url;

/// The shortest time from the end of a fetch to the next: that of the original server.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);
/// Default of [`PollOptions::interval`], as the original server had it.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
/// Default of [`PollOptions::timeout`], as the original server had it.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Default of [`PollOptions::max_response`]: ten lines of the longest kind.
const DEFAULT_RESPONSE: usize = 1 << 20;
/// The least that it may be: a page of a few lines.
const LEAST_RESPONSE: usize = 4096;
/// The most: a length fits 32 bits then.
const MOST_RESPONSE: usize = 1 << 30;
/// Default of [`PollOptions::seen`], as the original server had it.
const DEFAULT_SEEN: usize = 10_000;
/// The most lines that may be remembered of each page: 8 MB.
const MOST_SEEN: usize = 1_000_000;
/// The most pollers at once.
pub const MOST_POLLERS: usize = 1000;

word_enum! {
    /// What the first fetch of a poller brings that remembers nothing (`--poll-start`).
    PollStart {
        /// All lines of the page.
        #[default]
        All = "all",
        /// None: what is there already is taken for old.
        New = "new",
    }
}

/// A page that is fetched again and again, and the name that its lines come under: `NAME=URL`.
///
/// ```
/// let poll: lumberjack::Poll = "plc-7=http://192.0.2.7/log.txt".parse()?;
/// assert_eq!(poll.to_string(), "plc-7=http://192.0.2.7/log.txt");
/// # Ok::<(), lumberjack::PollError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Poll {
    pub(crate) name: PollerName,
    pub(crate) url: Url,
}

impl Poll {
    /// Whether its text leaves out a password that it was given.
    pub(crate) fn has_secret(&self) -> bool {
        self.url.has_secret()
    }
}

impl FromStr for Poll {
    type Err = PollError;

    fn from_str(text: &str) -> Result<Self, PollError> {
        let Some((name, url)) = text.split_once('=') else {
            return Err(PollError::new("give a name and an address, such as plc-7=http://192.0.2.7/log.txt"));
        };
        let url = Url::parse(url).map_err(PollError)?;
        let name = PollerName::new(name).ok_or_else(|| {
            PollError(format!("a name has 1 to {MOST_NAME_BYTES} letters, digits, dots, dashes or underscores"))
        })?;
        Ok(Self { name, url })
    }
}

impl fmt::Display for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name.text(), self.url)
    }
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without its password.
        fmt::Display::fmt(self, f)
    }
}

/// Why something can't be polled. `Display` is the end of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollError(pub(crate) String);

impl PollError {
    pub(crate) fn new(sentence: &str) -> Self {
        Self(sentence.to_owned())
    }
}

impl fmt::Display for PollError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for PollError {}

/// What is polled, and how, each named as its flag. [`PollOptions::default`] polls nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollOptions {
    /// The pages (`--poll`). Default none; at most 1000.
    pub polls: Vec<Poll>,
    /// The time from the end of a fetch to the next (`--poll-interval`). Default 5 s; at least 1 s.
    pub interval: Duration,
    /// The longest that a fetch may take, from the lookup of its name to its last byte (`--poll-timeout`). Default 30 s.
    pub timeout: Duration,
    /// The longest page, in bytes, decompressed (`--poll-max-response`). Default 1 MiB; 4 KiB to 1 GiB.
    pub max_response: usize,
    /// How many lines of a page are remembered (`--poll-seen`), 8 bytes each. Default 10,000; 1 to 1,000,000.
    pub seen: usize,
    /// What the first fetch brings (`--poll-start`). Default all.
    pub start: PollStart,
    /// A directory where pollers keep over a restart what they have seen (`--poll-state`). Default none.
    pub state: Option<PathBuf>,
    /// A file of user names, passwords and tokens (`--http-auth`). Default none.
    pub auth: Option<PathBuf>,
    /// Whom connections over TLS trust, and who we are to them (`--tls-ca` and the like), by the feature `tls`.
    pub tls: TlsOptions,
}

impl Default for PollOptions {
    fn default() -> Self {
        Self {
            polls: Vec::new(),
            interval: DEFAULT_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
            max_response: DEFAULT_RESPONSE,
            seen: DEFAULT_SEEN,
            start: PollStart::All,
            state: None,
            auth: None,
            tls: TlsOptions::default(),
        }
    }
}

impl PollOptions {
    /// Checks these options.
    ///
    /// # Errors
    /// The first thing that makes no sense, as a sentence.
    pub fn validate(&self) -> Result<(), PollError> {
        let wrong = |sentence: String| Err(PollError(sentence));
        if self.polls.len() > MOST_POLLERS {
            return wrong(format!("too many pages to poll: at most {MOST_POLLERS} are possible"));
        }
        for (number, poll) in self.polls.iter().enumerate() {
            if self.polls.iter().take(number).any(|other| other.name == poll.name) {
                let name = poll.name.text();
                return wrong(format!("--poll {name} is given twice: give each page a name of its own"));
            }
        }
        Self::check_interval(self.interval)?;
        if self.timeout < LEAST_INTERVAL {
            let timeout = DisplayDuration(self.timeout);
            return wrong(format!("--poll-timeout is {timeout}: give 1s or more"));
        }
        if !(LEAST_RESPONSE..=MOST_RESPONSE).contains(&self.max_response) {
            let size = DisplaySize(self.max_response);
            return wrong(format!("--poll-max-response is {size}: give a size from 4KiB to 1GiB"));
        }
        if !(1..=MOST_SEEN).contains(&self.seen) {
            return wrong(format!("--poll-seen is {}: give a number from 1 to {MOST_SEEN}", self.seen));
        }
        Ok(())
    }

    /// Checks them as flags: what is about pages makes no sense without any. Elsewhere they may be started later.
    ///
    /// # Errors
    /// The first thing that makes no sense, as a sentence.
    #[cfg(feature = "cli")]
    pub(crate) fn validate_flags(&self) -> Result<(), PollError> {
        self.validate()?;
        if self.polls.is_empty() {
            let defaults = Self::default();
            for (flag, is_given) in [
                ("--poll-interval", self.interval != defaults.interval),
                ("--poll-timeout", self.timeout != defaults.timeout),
                ("--poll-max-response", self.max_response != defaults.max_response),
                ("--poll-seen", self.seen != defaults.seen),
                ("--poll-start", self.start != defaults.start),
                ("--poll-state", self.state.is_some()),
            ] {
                if is_given {
                    return Err(PollError(format!(
                        "{flag} is about pages that are polled, and there is none: give --poll, or leave it out"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Checks the time between two fetches.
    ///
    /// # Errors
    /// It is too short.
    pub(crate) fn check_interval(interval: Duration) -> Result<(), PollError> {
        if interval < LEAST_INTERVAL {
            let interval = DisplayDuration(interval);
            return Err(PollError(format!("--poll-interval is {interval}: give 1s or more")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p13_what_can_not_be_polled_says_what_to_write() {
        for (text, sentence) in [
            ("", "give a name and an address, such as "),
            ("http://gw/log", "give a name and an address, such as "),
            ("=http://gw/log", "a name has 1 to 64 "),
            ("a b=http://gw/log", "a name has 1 to 64 "),
            ("gw/1=http://gw/log", "a name has 1 to 64 "),
        ] {
            let error = text.parse::<Poll>().unwrap_err().to_string();
            assert!(error.starts_with(sentence), "{text}: {error}");
        }
        assert!("gw=ftp://gw/log".parse::<Poll>().is_err() && "gw=gw/log".parse::<Poll>().is_err());
    }

    #[test]
    fn p13_options_of_pollers_that_make_no_sense_are_refused_by_name() {
        let poll = || "a=http://gw/log".parse::<Poll>().unwrap();
        let some = || PollOptions { polls: vec![poll()], ..PollOptions::default() };
        assert_eq!((some().validate(), PollOptions::default().validate()), (Ok(()), Ok(())));
        let ms = Duration::from_millis;
        for (options, sentence) in [
            (PollOptions { polls: vec![poll(), poll()], ..some() }, "--poll a is given twice"),
            (PollOptions { polls: vec![poll(); MOST_POLLERS + 1], ..some() }, "too many pages to poll"),
            (PollOptions { interval: ms(999), ..some() }, "--poll-interval is 999ms: give 1s or more"),
            (PollOptions { timeout: ms(0), ..some() }, "--poll-timeout is 0"),
            (PollOptions { max_response: 4095, ..some() }, "--poll-max-response is 4095"),
            (PollOptions { seen: 0, ..some() }, "--poll-seen is 0"),
            (PollOptions { seen: MOST_SEEN + 1, ..some() }, "--poll-seen is 1000001"),
        ] {
            let error = options.validate().unwrap_err().to_string();
            assert!(error.starts_with(sentence), "{error}");
        }
        for (options, sentence) in [
            (PollOptions { polls: Vec::new(), start: PollStart::New, ..some() }, "--poll-start is about pages"),
            (PollOptions { polls: Vec::new(), state: Some("/x".into()), ..some() }, "--poll-state is about pages"),
        ] {
            // Who embeds it may start pollers later.
            assert_eq!(options.validate(), Ok(()));
            #[cfg(feature = "cli")]
            assert!(options.validate_flags().unwrap_err().to_string().starts_with(sentence));
            let _ = sentence;
        }
    }
}
