//! Structured data of RFC 5424 (6.3): elements in brackets, with parameters. Invariant: reading takes time linear in it, and
//! allocates nothing; what a [`Data`] holds is valid.

use memchr::memchr3;

/// Elements of structured data at most; a header with more is none. Messages have one to three of them.
const MOST_ELEMENTS: usize = 32;
/// Parameters of one element at most; likewise.
pub(crate) const MOST_PARAMS: usize = 64;
/// Structured data: elements with parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Data<'a>(&'a [u8]);

/// One element of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its name.
    pub id: &'a [u8],
    /// Its parameters, each behind a space.
    params: &'a [u8],
}

/// Elements in brackets, one behind the other; and what is behind them.
pub(super) fn data(text: &[u8]) -> Option<(Data<'_>, &[u8])> {
    let (mut rest, mut ids, mut count) = (text, [&b""[..]; MOST_ELEMENTS], 0);
    while let Some(inner) = rest.strip_prefix(b"[") {
        let (element, behind) = element(inner)?;
        if ids.get(..count)?.contains(&element.id) {
            return None;
        }
        *ids.get_mut(count)? = element.id;
        count += 1;
        rest = behind;
    }
    let len = text.len() - rest.len();
    (count > 0).then(|| (Data(text.get(..len).unwrap_or_default()), rest))
}

/// An element behind its bracket, and what is behind the one that ends it.
fn element(text: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (id, begin) = name(text)?;
    let (mut rest, mut count) = (begin, 0);
    while let Some(param) = rest.strip_prefix(b" ") {
        let (_, quoted) = name(param)?;
        let (_, behind) = value(quoted.strip_prefix(b"=\"")?)?;
        count += 1;
        if count > MOST_PARAMS {
            return None;
        }
        rest = behind;
    }
    let params = begin.get(..begin.len() - rest.len()).unwrap_or_default();
    Some((Element { id, params }, rest.strip_prefix(b"]")?))
}

/// A name of structured data, and what is behind it.
fn name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_part = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'=' | b']' | b'"');
    let len = text.iter().take(33).take_while(|byte| is_part(byte)).count();
    if (1..=32).contains(&len) { text.split_at_checked(len) } else { None }
}

/// A value behind its quote, as it was sent, and what is behind the quote that ends it. Quotes, brackets and backslashes in
/// it have a backslash before them.
fn value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    loop {
        at += memchr3(b'"', b'\\', b']', text.get(at..)?)?;
        match text.get(at..)? {
            [b'"', rest @ ..] => return Some((text.get(..at)?, rest)),
            [b'\\', b'"' | b'\\' | b']', ..] => at += 2,
            // Before any other byte it stands for itself.
            [b'\\', ..] => at += 1,
            _ => return None,
        }
    }
}

impl<'a> Data<'a> {
    /// Its elements, of which no two have the same name.
    pub fn elements(self) -> impl Iterator<Item = Element<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (found, behind) = element(rest.strip_prefix(b"[")?)?;
            rest = behind;
            Some(found)
        })
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Element<'a> {
    /// Its parameters: name and value. Values are as they were sent, with backslashes: see [`plain`].
    pub fn params(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.params;
        std::iter::from_fn(move || {
            let (name, quoted) = name(rest.strip_prefix(b" ")?)?;
            let (value, behind) = value(quoted.strip_prefix(b"=\"")?)?;
            rest = behind;
            Some((name, value))
        })
    }
}

/// The parts of a value that follow each other once its backslashes are gone.
pub fn plain(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // What a backslash stands before is in the next part, as its first byte.
        let is_escape = |at: &usize| matches!(rest.get(*at..), Some([b'\\', b'"' | b'\\' | b']', ..]));
        let skipped = usize::from(is_escape(&0));
        let from = rest.get(skipped..).unwrap_or_default();
        let end = memchr::memchr_iter(b'\\', from.get(1..).unwrap_or_default())
            .map(|at| at + 1 + skipped)
            .find(is_escape)
            .map_or(from.len(), |at| at - skipped);
        let (part, behind) = from.split_at_checked(end).unwrap_or((from, &[]));
        rest = behind;
        Some(part)
    })
}
