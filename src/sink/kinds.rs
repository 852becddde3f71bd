//! The table of kinds of outputs: nothing else knows which there are.

use std::path::Path;
use std::str::FromStr;

use super::files::{dated, hosts_place, named};
use super::misread;
#[cfg(all(feature = "cli", feature = "spool", feature = "nats"))]
pub(crate) use super::next::nats_login::credentials_of;
#[cfg(feature = "nats")]
use super::next::nats_place;
use super::next::place as next;
#[cfg(feature = "push")]
use super::next::push_place;
use super::place::{OutputAddr, OutputAddrError};
use super::stream::stdout;

/// Reads the text of an `--output`; `None` if it is no output of this kind.
type Parse = fn(&str) -> Option<Result<OutputAddr, OutputAddrError>>;

/// Every kind of output. They are asked in this order, so the one that accepts any text, as a file's name, is the last.
const KINDS: &[Parse] = &[
    stdout::parse,
    next::parse,
    #[cfg(feature = "nats")]
    nats_place::parse,
    #[cfg(feature = "push")]
    push_place::parse,
    misread::parse,
    dated::parse,
    hosts_place::parse,
    named::parse,
];

/// What `--output` takes, in the order in which a person wants to read it.
#[cfg(feature = "cli")]
pub(crate) const SYNTAX: &str = match (cfg!(feature = "nats"), cfg!(feature = "push")) {
    (true, true) => "-|FILE|unix:/path|tcp:HOST:PORT|nats://HOST/SUBJECT|[loki+]http://HOST:PORT/PATH",
    (true, false) => "-|FILE|unix:/path|tcp:HOST:PORT|nats://HOST/SUBJECT",
    (false, true) => "-|FILE|unix:/path|tcp:HOST:PORT|[loki+]http://HOST:PORT/PATH",
    (false, false) => "-|FILE|unix:/path|tcp:HOST:PORT",
};

impl OutputAddr {
    /// Standard output: `-`.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(stdout::Stdout)
    }

    /// A file, appended to, whatever its name is.
    #[must_use]
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::new(named::FilePlace(path.as_ref().to_owned()))
    }
}

impl FromStr for OutputAddr {
    type Err = OutputAddrError;

    fn from_str(text: &str) -> Result<Self, OutputAddrError> {
        let known = KINDS.iter().filter(|_| !text.is_empty()).find_map(|parse| parse(text));
        known.unwrap_or(Err(OutputAddrError::new("name a file, or - for stdout")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_parses_and_prints_back() {
        for text in [
            "-",
            "app.log",
            "/var/log/{host}.log",
            "app-{date}.log",
            "/var/log/{host}/{app}-{severity}-{facility}-{date}.log",
            "unix:/run/next.sock",
            "tcp:gw:4445",
            "tcp:[::1]:1",
        ] {
            assert_eq!(text.parse::<OutputAddr>().map(|output| output.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("-".parse::<OutputAddr>().unwrap().name(), "stdout");
        assert_eq!("a\nb".parse::<OutputAddr>().unwrap().name(), "a\\nb");
    }

    #[test]
    fn p13_what_names_no_output_says_what_to_give() {
        for (text, error) in [
            ("", "name a file, or - for stdout"),
            (
                "unix:",
                "a Unix socket needs an absolute path without control characters, such as unix:/run/lumberjack.sock",
            ),
            ("tcp:host", "give a host and a port, such as tcp:192.0.2.7:4445"),
            ("tcp::1", "give a host and a port, such as tcp:192.0.2.7:4445"),
            ("tcp:host:0", "the port is a number from 1 to 65535"),
            ("tcp:::1:4445", "an IPv6 address needs brackets: tcp:[2001:db8::1]:4445"),
            ("{host}/", "this is the name of a directory: name a file in it"),
            ("{host}/../app.log", "behind {host} and the like, name a file, and no directory .."),
            ("{date}/app.log", "{date} may stand once, in the file's name, not in a directory's"),
            ("{date}{date}", "{date} may stand once, in the file's name, not in a directory's"),
            ("{app}/{date}/x.log", "{date} may stand once, in the file's name, not in a directory's"),
            ("{host}{host}", "{host} may stand once in a name"),
            ("{app}/{severity}-{app}", "{app} may stand once in a name"),
        ] {
            assert_eq!(text.parse::<OutputAddr>(), Err(OutputAddrError::new(error)), "{text}");
        }
    }
}
