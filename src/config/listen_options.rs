//! Options of one listener, behind its address: `,KEY=VALUE`. One table says how each is written, what it is when not given,
//! and where it makes no sense; a further option is a field of [`ListenOptions`] and a row of [`ROWS`]. Invariant: what
//! prints parses to the same.

use core::fmt;
use core::str::FromStr;

use super::listen_addr::{ListenAddr, ListenAddrError};
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
}

/// Is given a value that is to be shown.
type Each<'e> = &'e mut dyn FnMut(&dyn fmt::Display) -> fmt::Result;

/// One option.
struct Row {
    key: &'static str,
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
    /// Whether it can change while the listener is open (P26).
    is_live: bool,
}

/// One row an option: its key, its field, `live` if it can change while the listener is open, and what it contradicts.
macro_rules! rows {
    (@is_live) => { false };
    (@is_live live) => { true };
    ($($key:literal = $field:ident $($live:ident)?, $contradicts:expr;)+) => {
        &[$(Row {
            key: $key,
            set: |options, text| read(text).map(|value| options.$field = value),
            show: |options, each| each(&options.$field),
            is_default: |options| options.$field == ListenOptions::default().$field,
            copy: |options, others| options.$field.clone_from(&others.$field),
            contradicts: $contradicts,
            is_live: rows!(@is_live $($live)?),
        }),+]
    };
}

/// Every option of a listener.
const ROWS: &[Row] = rows! {
    "framing" = framing, |_, _| None;
};

/// Reads a value that its type can read.
fn read<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
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

/// Where the address ends: at the first comma; that of a Unix socket, which may hold some, at the first before a key.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    let is_end = |at: &usize| !text.starts_with("unix:") || row_of(text.get(at + 1..).unwrap_or_default()).is_some();
    let end = text.match_indices(',').map(|(at, _)| at).find(is_end);
    end.and_then(|at| text.split_at_checked(at)).map_or((text, None), |(at, rest)| (at, rest.get(1..)))
}

/// The row of a text that begins with `KEY=`, by its number, and what is behind that.
fn row_of(text: &str) -> Option<(usize, &Row, &str)> {
    let (key, value) = text.split_once('=')?;
    ROWS.iter().enumerate().find(|(_, row)| row.key == key).map(|(number, row)| (number, row, value))
}

impl ListenOptions {
    /// Reads `KEY=VALUE,KEY=VALUE`.
    pub(super) fn parse(text: &str) -> Result<(Self, Given), ListenError> {
        let (mut options, mut given) = (Self::default(), Given::default());
        for piece in text.split(',') {
            let Some((number, row, value)) = row_of(piece) else { return Err(unknown(piece)) };
            if given.has(number) {
                return Err(ListenError::Option(format!("{} is given twice: give it once", row.key)));
            }
            (row.set)(&mut options, value).map_err(|error| ListenError::Option(format!("{}: {error}", row.key)))?;
            given.note(number);
        }
        Ok((options, given))
    }

    /// Takes from `defaults` what was not given, where it makes sense.
    pub(super) fn inherit(&mut self, given: &mut Given, defaults: &Self, at: &ListenAddr) {
        for (number, row) in ROWS.iter().enumerate().filter(|(_, row)| !(row.is_default)(defaults)) {
            let mut own = self.clone();
            (row.copy)(&mut own, defaults);
            if !given.has(number) && (row.contradicts)(&own, at).is_none() {
                *self = own;
                given.note(number);
            }
        }
    }

    /// Takes over what can change while the listener is open.
    pub(crate) fn renew(&mut self, newer: &Self) {
        ROWS.iter().filter(|row| row.is_live).for_each(|row| (row.copy)(self, newer));
    }

    /// The first that can't be what it is: its key, its value and why.
    pub(super) fn contradiction(&self, at: &ListenAddr) -> Option<(&'static str, String, &'static str)> {
        ROWS.iter().find_map(|row| {
            let why = (row.contradicts)(self, at)?;
            Some((row.key, self.value(row), why))
        })
    }

    /// Of these as defaults, the first that makes sense at none of these addresses: its key, its value and why.
    #[must_use]
    pub fn useless<'a>(
        &self,
        places: impl Iterator<Item = &'a ListenAddr> + Clone,
    ) -> Option<(&'static str, String, &'static str)> {
        ROWS.iter().filter(|row| !(row.is_default)(self)).find_map(|row| {
            let mut alone = Self::default();
            (row.copy)(&mut alone, self);
            let mut whys = places.clone().map(|at| (row.contradicts)(&alone, at));
            let first = whys.next()??;
            whys.all(|why| why.is_some()).then(|| (row.key, self.value(row), first))
        })
    }

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
    let keys = ROWS.iter().map(|row| row.key).collect::<Vec<_>>().join(", ");
    // What comes out has no control characters, whatever went in.
    ListenError::Option(format!(
        "{} is no option of a listener: behind the address comes KEY=VALUE, with one of {keys}; give --listen once for each address",
        piece.escape_debug()
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
