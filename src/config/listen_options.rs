//! Options of one listener, behind its address: `,KEY=VALUE`. One table says how each is written, what it is when not given,
//! and where it makes no sense; a further option is a field of [`ListenOptions`] and a row of [`ROWS`]. Invariant: what
//! prints parses to the same.

use core::fmt;
use core::str::FromStr;

use super::listen_addr::{ListenAddr, ListenAddrError};
use super::network::Networks;
use super::rate::Rate;
use super::syslog::Parse;
use super::text::as_text;
#[cfg(feature = "tls")]
use super::tls::TlsVersion;
#[cfg(feature = "tls")]
use super::tls_options::{NamePatterns, TlsFile};
use super::word::{WordError, word_enum};

word_enum! {
    /// How the bytes of a listener's clients become lines (`--framing`).
    Framing {
        /// Each line ends in `\n`, or in `\r\n` (P1).
        #[default]
        Lines = "lines",
        /// Each message has its length before it, and a space: RFC 6587, 3.4.1.
        Octet = "octet",
        /// Each message ends in a NUL.
        Nul = "nul",
        /// Each message ends in a CR.
        Cr = "cr",
        /// [`Self::Octet`] from who begins with a length, a space and a `<`; else [`Self::Lines`]. Decided once for each
        /// connection.
        AutoOctet = "auto-octet",
    }
}

/// How a listener treats its clients. [`ListenOptions::default`] is what holds where nothing is said.
///
/// ```
/// use lumberjack::{Framing, Listen, ListenOptions};
///
/// let mut listen: Listen = "127.0.0.1:4445,framing=lines".parse()?;
/// assert_eq!(listen.options.framing, Framing::Lines);
/// listen.options = ListenOptions::default();
/// # Ok::<(), lumberjack::ListenError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ListenOptions {
    /// How bytes become lines (`framing`). Default `lines`.
    pub framing: Framing,
    /// What a line is read as (`parse`). Default `off`.
    pub parse: Parse,
    /// Who may connect (`allow`, P24). If there is any, all others are denied. Default none.
    pub allow: Networks,
    /// Who may not (`deny`, P24), though a larger network that it is in may. Default none.
    pub deny: Networks,
    /// Whether each connection begins with a header of the PROXY protocol, which says who the client is (`proxy`, P25). Needs
    /// [`Self::allow`]. Default false.
    pub proxy: bool,
    /// What a host may send in a second (`rate`, P26); more datagrams are dropped. Default off.
    pub rate: Rate,
    /// What a host may send at once (`burst`, P26), in the unit of [`Self::rate`]. Default off: what it may in a second.
    pub burst: Rate,
    /// Whether clients have to speak TLS (`tls`, P33). Needs [`Self::cert`] and [`Self::key`]. Default false. This option and those
    /// below are in builds with the feature `tls` only.
    #[cfg(feature = "tls")]
    pub tls: bool,
    /// Our certificate, and those of the authorities between it and a root: a PEM file (`cert`). Default none.
    #[cfg(feature = "tls")]
    pub cert: TlsFile,
    /// The certificate's key, not encrypted: a PEM file (`key`). Default none.
    #[cfg(feature = "tls")]
    pub key: TlsFile,
    /// Certificates of authorities: a client needs a certificate that one of them has signed (`client-ca`). Default none: a client
    /// needs no certificate.
    #[cfg(feature = "tls")]
    pub client_ca: TlsFile,
    /// Names, of which a client's certificate has to have one (`client-name`). Needs [`Self::client_ca`]. Default none: any name.
    #[cfg(feature = "tls")]
    pub client_name: NamePatterns,
    /// The oldest version of TLS that a client may speak (`tls-min`). Default 1.2.
    #[cfg(feature = "tls")]
    pub tls_min: TlsVersion,
}

/// Is given a value that is to be shown.
type Each<'e> = &'e mut dyn FnMut(&dyn fmt::Display) -> fmt::Result;

/// How an option is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `KEY=VALUE`.
    Word,
    /// The same, and pieces without a key that come behind are more of it. It may be given more than once.
    List,
    /// `KEY=on`, `KEY=off`, or `KEY` alone.
    Switch,
}

/// One option.
struct Row {
    key: &'static str,
    form: Form,
    /// Sets it, or says what is wrong with the text.
    set: fn(&mut ListenOptions, &str) -> Result<(), String>,
    /// Calls back with its value, as [`Self::set`] takes it.
    show: fn(&ListenOptions, Each<'_>) -> fmt::Result,
    /// Whether it is what it is when not given.
    is_default: fn(&ListenOptions) -> bool,
    /// Takes its value from others.
    copy: fn(&mut ListenOptions, &ListenOptions),
    /// Why it can't be what it is, with the others and at this address: the end of a sentence.
    contradicts: fn(&ListenOptions, &ListenAddr) -> Option<&'static str>,
    /// Whether it can change while the listener is open (P27).
    is_live: bool,
}

/// One row an option: its key, its field, `live` if it can change while the listener is open, what it contradicts, and how it is
/// written if that is no `Word`.
macro_rules! rows {
    (@is_live) => { false };
    (@is_live live) => { true };
    (@form) => { Form::Word };
    (@form Names) => { Form::List };
    (@form $form:ident) => { Form::$form };
    (@set $field:ident List) => { |options, text| networks(&mut options.$field, text) };
    (@set $field:ident Names) => { |options, text| read(text).map(|name| options.$field.0.push(name)) };
    (@set $field:ident Switch) => { |options, text| switch(text).map(|value| options.$field = value) };
    (@set $field:ident) => { |options, text| read(text).map(|value| options.$field = value) };
    (@show $field:ident Switch) => { |options, each| each(if options.$field { &"on" } else { &"off" }) };
    (@show $field:ident $(List)? $(Names)?) => { |options, each| each(&options.$field) };
    ($($(#[$cfg:meta])? $key:literal = $field:ident $($live:ident)?, $contradicts:expr $(, $form:ident)?;)+) => {
        &[$($(#[$cfg])? Row {
            key: $key,
            form: rows!(@form $($form)?),
            set: rows!(@set $field $($form)?),
            show: rows!(@show $field $($form)?),
            is_default: |options| options.$field == ListenOptions::default().$field,
            copy: |options, others| options.$field.clone_from(&others.$field),
            contradicts: $contradicts,
            is_live: rows!(@is_live $($live)?),
        }),+]
    };
}

/// Every option of a listener.
const ROWS: &[Row] = rows! {
    "framing" = framing, |options, at| (at.is_udp() && options.framing != Framing::Lines).then_some(
        "a datagram of UDP has its end already: leave the framing out"
    );
    "parse" = parse, |_, _| None;
    "allow" = allow live, |options, at| on_unix(at, options.allow != Networks::default()), List;
    "deny" = deny live, |options, at| on_unix(at, options.deny != Networks::default()), List;
    "proxy" = proxy, |options, at| (options.proxy && at.is_udp()).then_some(
        "a datagram comes from who sent it, without a header: leave proxy out, and allow only the hosts that may send"
    ).or_else(|| on_unix(at, options.proxy)), Switch;
    "rate" = rate live, |_, _| None;
    "burst" = burst live, |_, _| None;
    #[cfg(feature = "tls")] "tls" = tls, |options, at| match at {
        ListenAddr::Tcp(_) => None,
        ListenAddr::Udp(_) => options.tls.then_some("a datagram has no connection to secure: use TCP with tls, or leave tls out"),
        ListenAddr::Unix(_) => options.tls.then_some("what comes through a Unix socket never leaves this box: leave tls out"),
    }, Switch;
    #[cfg(feature = "tls")] "cert" = cert live, |_, _| None;
    #[cfg(feature = "tls")] "key" = key live, |_, _| None;
    #[cfg(feature = "tls")] "client-ca" = client_ca live, |_, _| None;
    #[cfg(feature = "tls")] "client-name" = client_name live, |_, _| None, Names;
    #[cfg(feature = "tls")] "tls-min" = tls_min live, |_, _| None;
};

/// Why clients of a Unix socket are not asked for their addresses.
fn on_unix(at: &ListenAddr, is_given: bool) -> Option<&'static str> {
    let why =
        "clients of a Unix socket have no addresses: --unix-mode and the directory's permissions say who they are";
    (is_given && matches!(at, ListenAddr::Unix(_))).then_some(why)
}

/// Adds to a list.
#[inline(never)] // one copy, for size
fn networks(list: &mut Networks, text: &str) -> Result<(), String> {
    list.0.extend(read::<Networks>(text)?.0);
    Ok(())
}

/// Reads a switch.
fn switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("use on or off".to_owned()),
    }
}

/// Reads a value that its type can read.
fn read<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| as_text(&error))
}

/// Which options were given, a bit each, by their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Given(u32);

impl Given {
    fn has(self, row: usize) -> bool {
        self.0 >> row & 1 == 1
    }

    fn note(&mut self, row: usize) {
        self.0 |= 1 << row;
    }

    /// Of options that can change, those count as given that `newer` has.
    #[cfg(feature = "cli")]
    pub(super) fn renew(&mut self, newer: Self) {
        for (number, _) in ROWS.iter().enumerate().filter(|(_, row)| row.is_live) {
            self.0 = self.0 & !(1 << number) | newer.0 & 1 << number;
        }
    }
}

/// An option for TLS in a build without. The package and the feature are named, as nothing else helps.
#[cfg(not(feature = "tls"))]
const NO_TLS: &str = "this build has no TLS: the package lumberjack-tls has it, or cargo build --features tls";

/// Whether a piece is an option of a build with TLS alone.
#[cfg(not(feature = "tls"))]
fn is_of_tls(piece: &str) -> bool {
    let key = piece.split('=').next().unwrap_or_default();
    matches!(key, "tls" | "cert" | "key" | "client-ca" | "client-name" | "tls-min")
}

#[cfg(feature = "tls")]
fn is_of_tls(_: &str) -> bool {
    false
}

/// Where the address ends: at the first comma; that of a Unix socket, which may hold some, at the first before a key.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    let is_end = |at: &usize| {
        let piece = text.get(at + 1..).and_then(|rest| rest.split(',').next()).unwrap_or_default();
        !text.starts_with("unix:") || row_of(piece).is_some() || is_of_tls(piece)
    };
    let end = text.match_indices(',').map(|(at, _)| at).find(is_end);
    end.and_then(|at| text.split_at_checked(at)).map_or((text, None), |(at, rest)| (at, rest.get(1..)))
}

/// The row of a text that is a key, or begins with `KEY=`, by its number, and its value.
fn row_of(text: &str) -> Option<(usize, &'static Row, &str)> {
    let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value)));
    let (number, row) = ROWS.iter().enumerate().find(|(_, row)| row.key == key)?;
    let bare = if row.form == Form::Switch { "on" } else { "" };
    Some((number, row, value.unwrap_or(bare)))
}

/// Whether a piece looks like an address, and so like more of a list.
fn is_more(piece: &str) -> bool {
    !piece.contains('=') && piece.contains(['.', ':', '/'])
}

impl ListenOptions {
    /// Whether clients have to speak TLS.
    pub(crate) fn is_secured(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls;
        #[cfg(not(feature = "tls"))]
        return false;
    }

    /// Reads `KEY=VALUE,KEY=VALUE`.
    pub(super) fn parse(text: &str) -> Result<(Self, Given), ListenError> {
        let (mut options, mut given) = (Self::default(), Given::default());
        let mut last: Option<(usize, &Row)> = None;
        for piece in text.split(',') {
            // A piece without a key is more of the list before it.
            let more = last.filter(|(_, row)| row.form == Form::List && is_more(piece));
            let found = more.map(|(number, row)| (number, row, piece)).or_else(|| row_of(piece));
            let Some((number, row, value)) = found else { return Err(unknown(piece)) };
            if given.has(number) && row.form != Form::List {
                return Err(ListenError::Option(format!("{} is given twice: give it once", row.key)));
            }
            let key = row.key;
            (row.set)(&mut options, value).map_err(|error| {
                ListenError::Option(match value {
                    "" => format!("{key} needs a value, as in {key}=VALUE: {error}"),
                    _ => format!("{key}: {error}"),
                })
            })?;
            given.note(number);
            last = Some((number, row));
        }
        Ok((options, given))
    }

    /// Takes from `defaults` what was not given, where it makes sense.
    #[inline(never)] // for size
    pub(super) fn inherit(&mut self, given: &mut Given, defaults: &Self, at: &ListenAddr) {
        for (number, row) in ROWS.iter().enumerate().filter(|(_, row)| !(row.is_default)(defaults)) {
            // A burst in another unit is for those who have the default's rate.
            let is_apart = row.key == "burst" && !defaults.burst.is_like(self.rate);
            if !given.has(number) && !is_apart && (row.contradicts)(defaults, at).is_none() {
                (row.copy)(self, defaults);
                given.note(number);
            }
        }
    }

    /// Takes over what can change while the listener is open.
    pub(crate) fn renew(&mut self, newer: &Self) {
        ROWS.iter().filter(|row| row.is_live).for_each(|row| (row.copy)(self, newer));
    }

    /// Says what is another in `now` of what can change while the listener is open, but for what is as other in these defaults.
    #[cfg(feature = "cli")]
    pub(crate) fn changes(&self, now: &Self, defaults: [&Self; 2], say: &mut dyn FnMut(&str)) {
        let [before_by_default, now_by_default] = defaults;
        for row in ROWS.iter().filter(|row| row.is_live) {
            let change = self.change(now, row);
            if !change.is_empty() && change != before_by_default.change(now_by_default, row) {
                say(&change);
            }
        }
    }

    /// How an option is another in `now`; empty if it is not.
    #[cfg(feature = "cli")]
    #[inline(never)] // for size
    fn change(&self, now: &Self, row: &Row) -> String {
        let (before, now) = (self.value(row), now.value(row));
        if before == now { String::new() } else { format!("{} is {now}, was {before}", row.key) }
    }

    /// Why one can't be what it is at this address, whatever else is set.
    #[cfg(feature = "cli")]
    pub(super) fn misplaced(&self, at: &ListenAddr) -> Option<&'static str> {
        ROWS.iter().find_map(|row| (row.contradicts)(self, at))
    }

    /// The first that can't be what it is: its key, its value and why.
    #[inline(never)] // for size
    pub(super) fn contradiction(&self, at: &ListenAddr) -> Option<(&'static str, String, &'static str)> {
        ROWS.iter().find_map(|row| {
            let why = (row.contradicts)(self, at).or_else(|| self.lacks(row.key))?;
            Some((row.key, self.value(row), why))
        })
    }

    /// What an option lacks that has to be beside it, at whatever address.
    #[inline(never)] // for size
    fn lacks(&self, key: &str) -> Option<&'static str> {
        match key {
            "proxy" if self.proxy && self.allow == Networks::default() => Some(
                "anybody could say who its lines are from: name the addresses of the proxy itself with allow, such as allow=192.0.2.7",
            ),
            "burst" if self.burst != Rate::Off && self.rate == Rate::Off => Some(
                "a burst goes with a rate, and there is none: give one in the same unit too, such as --rate 200 or ,rate=200",
            ),
            "burst" if self.burst != Rate::Off && !self.burst.is_like(self.rate) => {
                Some("a burst goes with a rate in the same unit: a bare number is lines, one with KiB is bytes")
            }
            #[cfg(feature = "tls")]
            _ => self.lacks_of_tls(key),
            #[cfg(not(feature = "tls"))]
            _ => None,
        }
    }

    /// The same of the options for TLS.
    #[cfg(feature = "tls")]
    fn lacks_of_tls(&self, key: &str) -> Option<&'static str> {
        let is_given = match key {
            "tls" if self.tls && self.cert.is_none() && self.key.is_none() => {
                return Some(
                    "it needs a certificate and its key: add cert=FILE and key=FILE, such as cert=/etc/lumberjack/cert.pem",
                );
            }
            "client-name" if self.tls && !self.client_name.0.is_empty() && self.client_ca.is_none() => {
                return Some(
                    "anybody could give itself that name: say with client-ca=FILE whose certificates are trusted",
                );
            }
            "cert" if self.tls && self.key.is_none() => return Some("its key is missing: add key=FILE"),
            "key" if self.tls && self.cert.is_none() => return Some("its certificate is missing: add cert=FILE"),
            "cert" => !self.cert.is_none(),
            "key" => !self.key.is_none(),
            "client-ca" => !self.client_ca.is_none(),
            "client-name" => !self.client_name.0.is_empty(),
            "tls-min" => self.tls_min != TlsVersion::default(),
            _ => false,
        };
        (is_given && !self.tls).then_some("it is for TLS, which is off here: add tls, or leave it out")
    }

    /// Of these as defaults, the first that makes sense at none of these listeners: its key, its value and why.
    #[must_use]
    #[inline(never)] // for size
    pub fn useless<'a>(
        &self,
        listen: impl Iterator<Item = (&'a ListenAddr, &'a Self)> + Clone,
    ) -> Option<(&'static str, String, &'static str)> {
        ROWS.iter().filter(|row| !(row.is_default)(self)).find_map(|row| {
            // One listener may have the rate that goes with it.
            if row.key == "burst"
                && let Some(why) = self.lacks(row.key)
                && !listen.clone().any(|(_, options)| self.burst.is_like(options.rate))
            {
                return Some((row.key, self.value(row), why));
            }
            let mut whys = listen.clone().map(|(at, _)| (row.contradicts)(self, at));
            let first = whys.next()??;
            whys.all(|why| why.is_some()).then(|| (row.key, self.value(row), first))
        })
    }

    #[inline(never)] // for size
    fn value(&self, row: &Row) -> String {
        let mut text = String::new();
        let _ = (row.show)(self, &mut |value| fmt::Write::write_fmt(&mut text, format_args!("{value}")));
        text
    }

    /// Writes those that were given, or are not what they are by default, each behind a comma.
    pub(super) fn show(&self, given: Given, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, row) in ROWS.iter().enumerate() {
            if given.has(number) || !(row.is_default)(self) {
                write!(f, ",{}=", row.key)?;
                (row.show)(self, &mut |value| value.fmt(f))?;
            }
        }
        Ok(())
    }
}

/// Why a piece is no option: the end of a sentence.
#[inline(never)] // for size
fn unknown(piece: &str) -> ListenError {
    #[cfg(not(feature = "tls"))]
    if is_of_tls(piece) {
        return ListenError::Option(NO_TLS.to_owned());
    }
    if piece.trim().is_empty() {
        return ListenError::Option("there is nothing behind a comma of it: leave that comma out".to_owned());
    }
    // What comes out has no control characters, whatever went in.
    let shown = piece.escape_debug();
    if row_of(piece.trim()).is_some() {
        return ListenError::Option(format!("there are spaces around {}: leave them out", piece.trim().escape_debug()));
    }
    // The value alone.
    #[cfg(feature = "tls")]
    // (Any text may be a file or a name.)
    let mut rows = ROWS.iter().filter(|row| !matches!(row.key, "cert" | "key" | "client-ca" | "client-name"));
    #[cfg(not(feature = "tls"))]
    let mut rows = ROWS.iter();
    if let Some(row) = rows.find(|row| (row.set)(&mut ListenOptions::default(), piece).is_ok()) {
        return ListenError::Option(format!("{shown} is no option of a listener: did you mean {}={shown}?", row.key));
    }
    let keys = ROWS.iter().map(|row| row.key).collect::<Vec<_>>().join(", ");
    ListenError::Option(format!(
        "{shown} is no option of a listener: behind the address comes KEY=VALUE, or KEY alone to turn it on, with one of {keys}; give --listen once for each address"
    ))
}

/// Why a text is no listener. `Display` is the end of a sentence that begins with the value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenError {
    /// Its address is none.
    Addr(ListenAddrError),
    /// Something is wrong with what is behind the address.
    Option(String),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(error) => error.fmt(f),
            Self::Option(sentence) => f.write_str(sentence),
        }
    }
}

impl core::error::Error for ListenError {}
