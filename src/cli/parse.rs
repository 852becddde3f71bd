//! Reads arguments and config file into settings; flags win. Invariant: every mistake becomes one sentence that says what
//! is wrong, where, and what to do.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use lexopt::Arg;

#[cfg(feature = "status")]
use super::ask::{DEFAULT_STATUS, Question};
use super::cat::{Listing, Since};
use super::config_file;
use super::help;
use super::options::{COMMAND_LINE_ONLY, OPTIONS, Opt, Settings, feature_of, find, nearest};
use super::redact::{self, without_arguments, without_secrets};
#[cfg(feature = "spool")]
use super::{asked::Spooled, spooled::HELP};
use crate::config::listen::Listen;
#[cfg(feature = "status")]
use crate::config::listen::ListenAddrError;
use crate::config::output::{DATE_WORD, WORDS};
#[cfg(feature = "status")]
use crate::config::text::as_text;

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Run with these.
    Run(Box<Settings>),
    /// `--check`: show these settings, where each came from, and what they can cost.
    Check(Box<Settings>, Origins),
    /// `cat`: show an output file and those that were rotated.
    Cat(Listing),
    /// `read` and `verify`: look at a spool.
    #[cfg(feature = "spool")]
    Spooled(Box<Spooled>),
    /// `status`: ask a running server how it is.
    #[cfg(feature = "status")]
    Ask(Question),
    /// `--help`.
    Help,
    /// `cat --help` or `status --help`: this text.
    HelpOf(String),
    /// `--version`.
    Version,
}

/// Which options were given, in order, and where: `FILE:LINE`, or `flag`. If a flag is there more than once, the last counts;
/// of a list, all do.
pub type Origins = Vec<(&'static str, String)>;

/// A mistake in the arguments or the config file, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    /// Without what these texts, which it may repeat, say of who we are.
    fn hiding<'t>(self, texts: impl IntoIterator<Item = &'t str>) -> Self {
        Self(without_secrets(self.0, texts))
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Parses arguments, without the program's name.
///
/// # Errors
/// The first mistake.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let found = read(args.clone());
    found.map_err(|UsageError(sentence)| UsageError(without_arguments(sentence, args.into_iter())))
}

fn read(args: Vec<OsString>) -> Result<Invocation, UsageError> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut given: Vec<(&'static Opt, String)> = Vec::new();
    let (mut config_path, mut is_check) = (None, false);
    while let Some(arg) = next(&mut parser)? {
        let option = match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Invocation::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Invocation::Version),
            Arg::Long("check") => {
                is_check = true;
                continue;
            }
            Arg::Long("config") => {
                config_path = Some(value(&mut parser, "config")?);
                continue;
            }
            Arg::Long(name) => find(name).ok_or_else(|| unknown(name, "--"))?,
            Arg::Short(letter) => OPTIONS
                .iter()
                .find(|option| option.letter == Some(letter))
                .ok_or_else(|| UsageError(format!("-{} is no option; see --help", letter.escape_debug())))?,
            Arg::Value(text) if text == "cat" && given.is_empty() && config_path.is_none() => return listing(parser),
            #[cfg(feature = "spool")]
            Arg::Value(text) if (text == "read" || text == "verify") && given.is_empty() && config_path.is_none() => {
                return spooled(parser, text == "read");
            }
            #[cfg(feature = "status")]
            Arg::Value(text) if text == "status" && given.is_empty() && config_path.is_none() => {
                return question(parser);
            }
            Arg::Value(text) => return Err(alone(&text.to_string_lossy(), given.last())),
        };
        let text = match (option.value.is_empty(), parser.optional_value()) {
            (true, None) => "true".to_owned(),
            (_, Some(text)) => utf8(text, option.name)?,
            (false, None) => value(&mut parser, option.name)?,
        };
        given.push((option, text));
    }
    let (settings, origins) = put_together(config_path, given)?;
    let settings = Box::new(settings);
    Ok(if is_check { Invocation::Check(settings, origins) } else { Invocation::Run(settings) })
}

/// The defaults, then what the config file says, then what flags say.
fn put_together(
    config_path: Option<String>,
    given: Vec<(&'static Opt, String)>,
) -> Result<(Settings, Origins), UsageError> {
    let Some(path) = &config_path else { return merge(None, given) };
    let text = config_file::read(path).map_err(|error| {
        let path = path.escape_debug();
        UsageError(format!("--config {path}: cannot be read ({error}); name a readable file"))
    })?;
    merge(Some((path, &text)), given).map_err(|error| error.hiding(config_values(&text)))
}

/// The same, of a file's name and text.
fn merge(file: Option<(&str, &str)>, given: Vec<(&'static Opt, String)>) -> Result<(Settings, Origins), UsageError> {
    let (mut settings, mut origins) = (Settings::default(), Origins::new());
    if let Some((path, text)) = file {
        read_config_file(path, text, &mut settings, &mut origins)?;
        settings.sets_nothing = origins.is_empty();
    }
    let config_path = file.map(|(path, _)| path);
    // What flags give replaces what the file gave.
    for (option, _) in &given {
        (option.clear)(&mut settings);
        origins.retain(|(name, _)| *name != option.name);
    }
    for (option, text) in given {
        set(option, &mut settings, &format!("--{}", option.name), &text)?;
        origins.push((option.name, "flag".to_owned()));
    }
    settings.is_listen_given = is_given(&origins, "listen");
    settings.is_memory_given = is_given(&origins, "memory");
    settings.give_defaults();
    settings.validate().and_then(|()| settings.check_paths(config_path)).map_err(UsageError)?;
    settings.config_file = config_path.map(str::to_owned);
    Ok((settings, origins))
}

/// `lumberjack cat FILE [--since TIME|DURATION] [--match TEXT]`.
fn listing(mut parser: lexopt::Parser) -> Result<Invocation, UsageError> {
    let (mut path, mut since, mut wanted) = (None, None, Vec::new());
    while let Some(arg) = next(&mut parser)? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Invocation::HelpOf(help::of_cat())),
            Arg::Long("since") => {
                let text = value(&mut parser, "since")?;
                since = Some(Since::parse(&text).map_err(|error| wrong_value("--since", &text, error))?);
            }
            Arg::Long("match") => {
                let text = raw_value(&mut parser, "match")?;
                wanted = text.into_encoded_bytes();
            }
            Arg::Value(text) if path.is_none() => path = Some(text.into()),
            _ => {
                let sentence = "cat takes one file, --since and --match, and nothing else; see --help";
                return Err(UsageError(sentence.to_owned()));
            }
        }
    }
    let path: PathBuf =
        path.ok_or_else(|| UsageError("cat needs a file, such as lumberjack cat app.log".to_owned()))?;
    let name = path.to_string_lossy();
    if WORDS.iter().any(|word| *word != DATE_WORD && name.contains(word)) && !path.exists() {
        let name = name.escape_debug();
        return Err(UsageError(format!("cat {name}: these files are not one set; name one of them")));
    }
    Ok(Invocation::Cat(Listing { path, since, wanted }))
}

/// `lumberjack read [--from] DIR|nats://… [--first NUMBER] [--since TIME|DURATION] [--until TIME|DURATION] [--host HOST] [--match TEXT]
/// [--format FORMAT] [--follow]`, or `verify DIR`.
#[cfg(feature = "spool")]
fn spooled(mut parser: lexopt::Parser, reads: bool) -> Result<Invocation, UsageError> {
    let mut asked = Spooled { reads, ..Spooled::default() };
    let mut is_given = false;
    while let Some(arg) = next(&mut parser)? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Invocation::HelpOf(HELP.to_owned())),
            Arg::Long("follow") if reads => asked.follows = true,
            Arg::Long("match") if reads => {
                let text = raw_value(&mut parser, "match")?;
                asked.wanted = text.into_encoded_bytes();
            }
            Arg::Long("from") if reads && !is_given => {
                let text = raw_value(&mut parser, "from")?;
                (asked.directory, is_given) = (text.into(), true);
            }
            Arg::Long(name) if reads && name != "from" => {
                let name = name.to_owned();
                if !Spooled::OPTIONS.contains(&name.as_str()) {
                    return Err(unread(reads));
                }
                let text = value(&mut parser, &name)?;
                asked.set(&name, &text).map_err(|error| wrong_value(&format!("--{name}"), &text, error))?;
            }
            Arg::Value(text) if !is_given => (asked.directory, is_given) = (text.into(), true),
            _ => return Err(unread(reads)),
        }
    }
    if !is_given {
        let sentence = "give the directory of a spool, such as lumberjack verify /var/spool/lumberjack";
        return Err(UsageError(sentence.to_owned()));
    }
    #[cfg(feature = "nats")]
    asked.find_stream().map_err(UsageError)?;
    Ok(Invocation::Spooled(Box::new(asked)))
}

#[cfg(feature = "spool")]
fn unread(reads: bool) -> UsageError {
    let word = if reads {
        "read takes one directory, --first, --since, --until, --host, --match, --format and --follow"
    } else {
        "verify takes one directory"
    };
    UsageError(format!("{word}, and nothing else; see lumberjack read --help"))
}

/// `lumberjack status [ADDR] [--json] [--watch]`.
#[cfg(feature = "status")]
fn question(mut parser: lexopt::Parser) -> Result<Invocation, UsageError> {
    let (mut at, mut is_json, mut repeats) = (None, false, false);
    while let Some(arg) = next(&mut parser)? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Invocation::HelpOf(help::of_status())),
            Arg::Long("json") => is_json = true,
            Arg::Long("watch") => repeats = true,
            Arg::Value(text) if at.is_none() => {
                let text = utf8(text, "status")?;
                let wrong = |error: ListenAddrError| wrong_value("status", &text, &as_text(&error));
                at = Some(text.parse().map_err(wrong)?);
            }
            _ => {
                let sentence = "status takes an address, --json and --watch, and nothing else; see --help";
                return Err(UsageError(sentence.to_owned()));
            }
        }
    }
    let at = match at {
        Some(at) => at,
        None => DEFAULT_STATUS.parse().map_err(|error: ListenAddrError| UsageError(as_text(&error)))?,
    };
    Ok(Invocation::Ask(Question { at, is_json, repeats }))
}

/// Reads a config file's text into `settings`: `name = value` a line, `#` begins a comment.
///
/// # Errors
/// The first mistake, with its line.
pub fn parse_config_file(path: &str, text: &str, settings: &mut Settings) -> Result<(), UsageError> {
    let read = read_config_file(path, text, settings, &mut Origins::new());
    read.map_err(|error| error.hiding(config_values(text)))
}

/// What may be repeated of a config file: the value in each line, or the line, if there is none.
fn config_values(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(|line| {
        let line = strip_comment(line).trim();
        line.split_once('=').map_or(line, |(_, value)| value.trim())
    })
}

fn read_config_file(path: &str, text: &str, settings: &mut Settings, origins: &mut Origins) -> Result<(), UsageError> {
    // Some editors begin a file with a byte order mark, and a second one with another.
    let mut text = text;
    while let Some(rest) = text.strip_prefix('\u{feff}') {
        text = rest;
    }
    for (number, line) in (1..).zip(text.lines()) {
        let line = strip_comment(line).trim();
        if line.is_empty() {
            continue;
        }
        let place = format!("{}:{number}", path.escape_debug());
        let Some((name, text)) = line.split_once('=') else {
            let (name, value) = match find(line) {
                Some(option) if option.value.is_empty() => (option.name, "on"),
                _ => ("max-line", "64KiB"),
            };
            let line = redact::name(line);
            return Err(UsageError(format!("{place}: {line} has no =; write name = value, such as {name} = {value}")));
        };
        let (name, text) = (name.trim(), text.trim());
        let option = find(name).ok_or_else(|| UsageError(format!("{place}: {}", unknown(name, ""))))?;
        match origins.iter().find(|(known, _)| *known == name) {
            None => (option.clear)(settings),
            Some((_, first)) if !option.is_list() => {
                return Err(UsageError(format!(
                    "{place}: {name} is there a second time, and was set at {first}: take one of them out"
                )));
            }
            Some(_) => {}
        }
        set(option, settings, &format!("{place}: {name}"), text)?;
        origins.push((option.name, place));
    }
    Ok(())
}

/// What begins or ends a quotation somewhere.
const QUOTES: [char; 11] = ['"', '\'', '`', '“', '”', '„', '‘', '’', '‚', '«', '»'];

/// Sets an option. Quotes around a value, as other config files have them and a shell takes away, would be part of a name.
#[inline(never)] // one copy, for size
fn set(option: &Opt, settings: &mut Settings, place: &str, text: &str) -> Result<(), UsageError> {
    // A text that lines are searched for may begin with one: `"level":"error"`.
    let shown = match option.name {
        "push-header" => &redact::name(text),
        _ => text,
    };
    let is_quoted = match option.name {
        "alert" => text
            .strip_prefix(QUOTES)
            .and_then(|text| text.strip_suffix(QUOTES))
            .is_some_and(|text| !text.contains(QUOTES)),
        _ => text.starts_with(QUOTES) || text.ends_with(QUOTES),
    };
    if is_quoted {
        return Err(wrong_value(place, shown, "quotes would be part of the value; leave them out"));
    }
    (option.set)(settings, text).map_err(|error| wrong_value(place, shown, &error))?;
    // What no other setting can mend is said with its place.
    let why = settings.config.listen.last().and_then(Listen::misplaced);
    why.map_or(Ok(()), |why| Err(wrong_value(place, shown, why)))
}

fn is_given(origins: &Origins, wanted: &str) -> bool {
    origins.iter().any(|(name, _)| *name == wanted)
}

/// The line without its comment. A `#` begins one only at the start of a line, or after a space or tab: paths may hold `#`.
pub(super) fn strip_comment(line: &str) -> &str {
    let is_comment = |(at, _): &(usize, &str)| {
        line.get(..*at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\t']))
    };
    let end = line.match_indices('#').find(is_comment).map_or(line.len(), |(at, _)| at);
    line.get(..end).unwrap_or(line)
}

#[inline(never)] // one copy, for size
fn next(parser: &mut lexopt::Parser) -> Result<Option<Arg<'_>>, UsageError> {
    parser.next().map_err(|error| UsageError(format!("{error}; see --help")))
}

#[inline(never)] // one copy, for size
fn raw_value(parser: &mut lexopt::Parser, name: &str) -> Result<OsString, UsageError> {
    parser.value().map_err(|_| UsageError(format!("--{name} needs a value; see --help")))
}

#[inline(never)] // one copy, for size
fn value(parser: &mut lexopt::Parser, name: &str) -> Result<String, UsageError> {
    let text = utf8(raw_value(parser, name)?, name)?;
    // One that begins so all the same is written with a `=`.
    if text.len() > 2 && text.starts_with("--") {
        let text = text.escape_debug();
        return Err(UsageError(format!("--{name} needs a value, and {text} reads like an option; see --help")));
    }
    Ok(text)
}

fn utf8(text: OsString, name: &str) -> Result<String, UsageError> {
    text.into_string().map_err(|text| {
        UsageError(format!("--{name} {}: this is not UTF-8; write it in UTF-8", text.to_string_lossy().escape_debug()))
    })
}

fn wrong_value(place: &str, text: &str, error: &str) -> UsageError {
    let shown = if text.is_empty() { "(nothing)".to_owned() } else { text.escape_debug().to_string() };
    // Words of other programs are values of ours, too.
    let [end, hint] = meant(text).map_or(["", ""], |hint| ["; ", hint]);
    UsageError(format!("{place} {shown}: {error}{end}{hint}"))
}

/// Options of other programs, with spaces between, and what they are called here.
const MEANT: &[(&str, &str)] = &[
    ("out file logfile", "--output names where lines go, such as --output app.log"),
    ("port bind address host", "--listen names where clients connect, such as --listen 127.0.0.1:4445"),
    ("tls ssl cert", "TLS is an option of a listener: --listen 0.0.0.0:6514,tls,cert=FILE,key=FILE"),
    ("udp", "--listen takes UDP too, such as --listen udp:0.0.0.0:514"),
    ("gelf", "--listen ADDR:PORT,framing=nul takes GELF over TCP"),
    ("octet-counted octet-counting rfc6587", "octet counting is --framing octet"),
    ("syslog", "--parse syslog reads headers of syslog"),
    ("proxy-protocol haproxy", "--proxy is for clients behind a proxy that names them"),
    ("whitelist allowlist acl", "--allow says who may connect"),
    ("ratelimit rate-limit", "--rate says what a host may send in a second"),
    ("verbose quiet debug", "--log-level debug says more in the log, warn less"),
];

fn meant(name: &str) -> Option<&'static str> {
    MEANT.iter().find(|(names, _)| names.split(' ').any(|known| known == name)).map(|(_, meant)| *meant)
}

/// What is no option's value: a command that other builds have, or a mistake. What stands behind a field of HTTP may be a part of it.
fn alone(text: &str, before: Option<&(&'static Opt, String)>) -> UsageError {
    if let Some((_, header)) = before.filter(|(option, _)| option.name == "push-header") {
        let name = redact::name(header);
        return UsageError(format!(
            "what stands behind --push-header {name} stands alone: put quotes around a name and its value, as in 'X-Scope-OrgID: plant-7'"
        ));
    }
    // A field of HTTP has a value behind it.
    let shown = if text.contains(": ") { redact::name(text) } else { text.escape_debug().to_string() };
    let feature = match text {
        "read" | "verify" if cfg!(not(feature = "spool")) => "spool",
        "status" if cfg!(not(feature = "status")) => "status",
        _ => {
            let sentence = format!("{shown} stands alone: options begin with --, such as --output FILE; see --help");
            return UsageError(sentence);
        }
    };
    UsageError(format!("{shown} is not in this build: it is the feature `{feature}`"))
}

fn unknown(name: &str, dashes: &str) -> UsageError {
    let shown = redact::name(name);
    if let Some(meant) = meant(name) {
        return UsageError(format!("{dashes}{shown} is no option: {meant}"));
    }
    if let Some(feature) = feature_of(name) {
        return UsageError(format!("{dashes}{shown} is not in this build: it is the feature `{feature}`"));
    }
    match nearest(name, dashes.is_empty()) {
        _ if dashes.is_empty() && COMMAND_LINE_ONLY.iter().any(|option| option.0 == name) => {
            UsageError(format!("{shown} is for the command line only; take it out of the file"))
        }
        Some(real) => UsageError(format!("{dashes}{shown} is no option; did you mean {dashes}{real}?")),
        None => UsageError(format!("{dashes}{shown} is no option; see --help")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::help::help;
    use super::*;
    use crate::config::listen::DEFAULT_LISTEN;
    use crate::sink::OutputAddr;
    use std::time::Duration;

    #[test]
    fn cat_takes_a_file_and_what_to_choose() {
        let cat = |args: &[&str]| match parse(args.iter().map(OsString::from)) {
            Ok(Invocation::Cat(listing)) => Ok(listing),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        };
        let listing = |since, wanted: &[u8]| Listing { path: "app.log".into(), since, wanted: wanted.to_vec() };
        for (args, expected) in [
            (&["cat", "app.log"][..], listing(None, b"")),
            (&["cat", "--since=1h", "app.log"], listing(Some(Since::Ago(Duration::from_secs(3600))), b"")),
            (&["cat", "app.log", "--match", "--x"], listing(None, b"--x")),
        ] {
            assert_eq!(cat(args), Ok(expected), "{args:?}");
        }
        for (args, sentence) in [
            (&["cat"][..], "cat needs a file, such as lumberjack cat app.log"),
            (&["cat", "a", "b"], "cat takes one file, --since and --match"),
            (&["cat", "a", "--output", "b"], "cat takes one file, --since and --match"),
            (&["cat", "a", "--match"], "--match needs a value"),
            (&["cat", "a", "--since", "now"], "--since now: give a duration, such as 2h, or a time"),
            (&["--keep-empty", "cat", "a"], "cat stands alone: options begin with --,"),
        ] {
            let error = cat(args).unwrap_err();
            assert!(error.starts_with(sentence), "{args:?}: {error}");
        }
    }

    #[cfg(feature = "status")]
    #[test]
    fn status_asks_the_usual_place_or_another() {
        let ask = |args: &[&str]| match parse(args.iter().map(OsString::from)) {
            Ok(Invocation::Ask(Question { at, is_json, repeats })) => Ok((at.to_string(), is_json, repeats)),
            Ok(Invocation::HelpOf(text)) => Ok((text.lines().next().unwrap().to_owned(), false, false)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        };
        for (args, wanted) in [
            (&["status"][..], (DEFAULT_STATUS, false, false)),
            (&["status", "[::1]:1", "--json"], ("[::1]:1", true, false)),
            (&["status", "--watch", "unix:/run/s"], ("unix:/run/s", false, true)),
            (
                &["status", "--help"],
                ("Usage: lumberjack status [ADDR:PORT|unix:/path] [--json] [--watch]", false, false),
            ),
        ] {
            let (at, is_json, repeats) = wanted;
            assert_eq!(ask(args), Ok((at.to_owned(), is_json, repeats)), "{args:?}");
        }
        for (args, sentence) in [
            (&["status", "localhost:1"][..], "status localhost:1: names are not looked up"),
            (&["status", "127.0.0.1:1", "127.0.0.1:2"], "status takes an address, --json and --watch"),
            (&["status", "--config", "x"], "status takes an address, --json and --watch"),
            (
                &["--keep-empty", "status"],
                "status stands alone: options begin with --, such as --output FILE; see --help",
            ),
        ] {
            let error = ask(args).unwrap_err();
            assert!(error.starts_with(sentence), "{args:?}: {error}");
        }
    }

    #[cfg(feature = "status")]
    #[test]
    fn p13_a_status_endpoint_gets_a_place_of_its_own() {
        for (args, other) in [
            (&["--listen", "127.0.0.1:1", "--status", "127.0.0.1:1"][..], Some("127.0.0.1:1")),
            (&["--listen", "0.0.0.0:1", "--status", "127.0.0.1:1"], Some("0.0.0.0:1")),
            (&["--listen", "127.0.0.1:1", "--status", "[::]:1"], Some("127.0.0.1:1")),
            (&["--listen", "unix:/run/s", "--status", "unix:/run/s"], Some("unix:/run/s")),
            (&["--listen", "127.0.0.1:0", "--status", "127.0.0.1:0"], None),
            (&["--listen", "127.0.0.1:1", "--status", "127.0.0.1:2"], None),
            (&["--listen", "127.0.0.1:1", "--status", "off"], None),
        ] {
            let at = args[3];
            let wanted = other.map(|other| {
                format!("--status {at} is taken by --listen {other}: clients would not know what to speak; choose another port")
            });
            assert_eq!(run(args).err(), wanted, "{args:?}");
        }
    }

    fn run(args: &[&str]) -> Result<Settings, String> {
        match parse(args.iter().map(OsString::from)) {
            Ok(Invocation::Run(settings)) => Ok(*settings),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn flags_set_what_they_name() {
        let settings =
            run(&["-l", "[::1]:0", "--listen=unix:/run/x", "-o", "a.log", "--keep-empty", "--idle-timeout", "1s"]);
        let settings = settings.unwrap();
        assert_eq!(settings.config.listen.len(), 2);
        assert_eq!(settings.outputs, [OutputAddr::file("a.log")]);
        assert!(settings.config.limits.keep_empty);
        assert_eq!(settings.config.limits.idle_timeout, Duration::from_secs(1));
        assert_eq!(run(&[]).unwrap().config.listen, [DEFAULT_LISTEN.parse().unwrap()]);
    }

    #[test]
    fn p13_what_only_another_build_has_is_told_apart_from_a_mistake() {
        let cases: [(&[&str], &str, &str, bool); 9] = [
            (&["--spool", "/x"], "--spool", "spool", cfg!(feature = "spool")),
            (&["verify", "/x"], "verify", "spool", cfg!(feature = "spool")),
            (&["--status", "off"], "--status", "status", cfg!(feature = "status")),
            (&["status"], "status", "status", cfg!(feature = "status")),
            (&["--rotate-compress"], "--rotate-compress", "compress", cfg!(feature = "compress")),
            (&["--poll", "a=http://192.0.2.1/"], "--poll", "poll", cfg!(feature = "poll")),
            (&["--push-seq"], "--push-seq", "push", cfg!(feature = "push")),
            (&["-o", "nats://192.0.2.1/x"], "--output nats://192.0.2.1/x: nats:", "nats", cfg!(feature = "nats")),
            (&["-o", "loki+http://h:1/x"], "--output loki+http://h:1/x: loki+http:", "push", cfg!(feature = "push")),
        ];
        for (args, begin, feature, is_here) in cases {
            let expected = format!("{begin} is not in this build: it is the feature `{feature}`");
            let said = parse(args.iter().map(OsString::from)).err().map(|error| error.to_string());
            assert_eq!(said.is_some_and(|said| said.starts_with(&expected)), !is_here, "{args:?}");
        }
    }

    #[test]
    fn p13_every_mistake_is_a_sentence() {
        for (args, sentence) in [
            (&["--max-lin", "1"][..], "--max-lin is no option; did you mean --max-line?"),
            (&["--xyzzy"], "--xyzzy is no option; see --help"),
            (&["--out", "a"], "--out is no option: --output names where lines go, such as --output app.log"),
            (&["--port", "1"], "--port is no option: --listen names where clients connect, such as "),
            (&["--tls"], "--tls is no option: TLS is an option of a listener: --listen 0.0.0.0:6514,tls,"),
            (&["--udp"], "--udp is no option: --listen takes UDP too, such as "),
            (&["-x"], "-x is no option; see --help"),
            (&["--max-line"], "--max-line needs a value; see --help"),
            (
                &["-o", "--listen", "127.0.0.1:1"],
                "--output needs a value, and --listen reads like an option; see --help",
            ),
            (&["--tag", "--check"], "--tag needs a value, and --check reads like an option; see --help"),
            (&["-o", "--"], "--output --: it reads like an option: "),
            (&["-o", "\"a.log"], "--output \\\"a.log: quotes would be part of the value"),
            (&["--max-line", "twelve"], "--max-line twelve: it does not start with a whole number"),
            (&["--max-line", "0"], "--max-line is 0: give a number from 1 to 1073741824"),
            (
                &["--idle-timeout", "5"],
                "--idle-timeout 5: a duration is a number with ms, s, m, h or d, such as 30s, or 0",
            ),
            (&["--format", "xml"], "--format xml: use one of raw, peer, json"),
            (&["--unix-mode", "999"], "--unix-mode 999: give octal digits from 0 to 0777, such as 0660"),
            (&["--max-connections", "many"], "--max-connections many: give a whole number"),
            (&["4445"], "4445 stands alone: options begin with --, such as --output FILE; see --help"),
            (&["--output", ""], "--output (nothing): name a file, or - for stdout"),
            (&["--config", "/no/such.conf"], "--config /no/such.conf: cannot be read"),
            (&["--keep-empty=maybe"], "--keep-empty maybe: use true or false"),
            (&["--listen", "localhost:1"], "--listen localhost:1: names are not looked up"),
        ] {
            let error = run(args).unwrap_err();
            assert!(error.starts_with(sentence), "{args:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_config_file_takes_every_option_and_names_its_mistakes() {
        let defaults = Settings::default();
        for option in OPTIONS.iter().filter(|option| !option.values(&defaults).is_empty()) {
            let mut settings = Settings::default();
            let text = format!("# comment\n{} = {} # and another\n", option.name, option.current(&defaults));
            parse_config_file("a.conf", &text, &mut settings).unwrap();
        }
        for (text, sentence) in [
            ("max-line", "a.conf:1: max-line has no =; write name = value"),
            ("\n max-line = x", "a.conf:2: max-line x: it does not start"),
            (
                "max-line = 8KiB\n\nmax-line = 9KiB",
                "a.conf:3: max-line is there a second time, and was set at a.conf:1: take one of them out",
            ),
            ("keep-empty = on\nkeep-empty = on", "a.conf:2: keep-empty is there a second time, and was "),
            ("output = a\noutput = b\noutput = -x", "a.conf:3: output -x: it reads like an option"),
            ("max-lines = 1", "a.conf:1: max-lines is no option; did you mean max-line?"),
            ("tag = \"\"", "a.conf:1: tag \\\"\\\": quotes would be part of the value; leave them out"),
            ("output = \"a.log", "a.conf:1: output \\\"a.log: quotes would be "),
            ("output = a.log'", "a.conf:1: output a.log\\': quotes would be "),
            ("output = “a.log”", "a.conf:1: output “a.log”: quotes would be "),
            ("output = «a.log»", "a.conf:1: output «a.log»: quotes would be "),
            ("\u{feff}max-line = x", "a.conf:1: max-line x: it does not start"),
            ("\u{feff}\u{feff}max-line = x", "a.conf:1: max-line x: it does not start"),
        ] {
            let error = parse_config_file("a.conf", text, &mut Settings::default()).unwrap_err().to_string();
            assert!(error.starts_with(sentence), "{error}");
        }
    }

    #[test]
    fn a_comment_begins_where_a_word_could() {
        for (line, rest) in [
            ("# all of it", ""),
            ("max-line = 8 # bytes", "max-line = 8 "),
            ("max-line = 8\t# bytes", "max-line = 8\t"),
            ("output = a#b", "output = a#b"),
            ("output = a#b # c", "output = a#b "),
        ] {
            assert_eq!(strip_comment(line), rest);
        }
    }

    #[test]
    fn help_shows_every_option_and_the_default_that_the_parser_has() {
        let text = help();
        let defaults = Settings::default();
        for option in OPTIONS {
            let default = option.current(&defaults);
            let row = text.lines().find(|line| line.starts_with(' ') && line.contains(&format!("--{} ", option.name)));
            let row = row.unwrap();
            if option.values(&defaults).is_empty() {
                assert!(option.is_list() && !row.ends_with(']'), "{row}");
                continue;
            }
            assert!(row.ends_with(&format!("[{default}]")), "{row}");
            let mut settings = Settings::default();
            (option.clear)(&mut settings);
            (option.set)(&mut settings, &default).unwrap();
            assert_eq!(settings, defaults, "--{} {default} is not what it is without", option.name);
        }
        let shown = text.lines().filter(|line| line.contains(" --")).count();
        assert!(shown >= OPTIONS.len() + COMMAND_LINE_ONLY.len());
    }
}
