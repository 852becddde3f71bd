//! How lines go to stores over HTTP (`--output loki+http://…` and the like, and the options beside it).

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use std::path::PathBuf;

/// Default of [`PushOptions::batch`]: what all stores take unless they are told otherwise.
const DEFAULT_BATCH: usize = 1 << 20;
/// Default of [`PushOptions::every`]: nobody reads sooner, and a store is not asked for each line.
const DEFAULT_EVERY: Duration = Duration::from_secs(1);
/// The least and the most of a batch.
#[cfg(feature = "push")]
const BATCH: core::ops::RangeInclusive<usize> = 1024..=(64 << 20);

/// One field that goes with each request.
#[derive(Clone, PartialEq, Eq)]
pub struct PushHeader {
    /// Its name.
    pub name: String,
    /// What it says.
    pub value: String,
}

impl FromStr for PushHeader {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text.split_once(':') {
            Some((name, value)) if !name.is_empty() && name == name.trim() => {
                Ok(Self { name: name.to_owned(), value: value.trim().to_owned() })
            }
            _ => Err("give a name, a colon and a value, such as 'X-Scope-OrgID: plant-7'"),
        }
    }
}

impl fmt::Display for PushHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

impl fmt::Debug for PushHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it says may be a secret.
        write!(f, "{}: …", self.name)
    }
}

/// What outputs of this kind are told. [`PushOptions::default`] is what holds if nothing is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushOptions {
    /// Fields that go with each request (`--push-header`). Default none.
    pub headers: Vec<PushHeader>,
    /// The most bytes of one request, before they are packed (`--push-batch`). Default 1 MiB.
    pub batch: usize,
    /// How long a line waits for others to go with it (`--push-every`). Default 1 s.
    pub every: Duration,
    /// Whether each line has its number with it (`--push-seq`). Default no.
    pub seq: bool,
    /// The file that says who we are to which server (`--http-auth`), for pollers too. Default none.
    pub http_auth: Option<PathBuf>,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self { headers: Vec::new(), batch: DEFAULT_BATCH, every: DEFAULT_EVERY, seq: false, http_auth: None }
    }
}

#[cfg(feature = "push")]
impl PushOptions {
    /// Whether a batch may be so large.
    pub(crate) fn is_batch(bytes: usize) -> bool {
        BATCH.contains(&bytes)
    }
}
