//! What is remembered of a page, and what of the next one is handed out: whole new lines, the oldest first.
//!
//! A last line without its newline waits until it ends, or is the same at the next fetch: half of it may not be written yet. If
//! the next page has neither it nor a line that begins with it, it was whole, and is handed out. Once handed out it is old,
//! however it ends; if it goes on, the whole line is new. Of a page that is known to have its newest line first, new lines are
//! handed out from the last to the first.
//!
//! Invariant: an empty page changes nothing.

use std::mem;

use memchr::{memchr, memrchr};

use super::hash::Key;
use super::overlap::{Found, Last, Told};

/// What is remembered of the last page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Numbers of its last lines that had an end.
    pub(super) lines: Vec<u64>,
    /// How many lines were before them.
    pub(super) above: u64,
    /// The line behind them, which had none.
    pub(super) open: Option<Open>,
    /// Its newest line was the first one.
    pub(super) newest_first: bool,
}

/// A last line without its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) hash: u64,
    /// Its length, without a `\r` at its end.
    pub(super) len: usize,
    /// The line, while it is not handed out.
    pub(super) waits: Option<Vec<u8>>,
}

impl Open {
    fn told(&self) -> Told {
        if self.waits.is_some() { Told::Not } else { Told::Yes }
    }

    /// The line begins with this one.
    fn goes_on(&self, line: &[u8], key: &Key) -> bool {
        line.get(..self.len).is_some_and(|start| key.hash(start) == self.hash)
    }
}

/// What came of a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// New lines, each with its newline.
    pub(super) fresh: Vec<u8>,
    /// How many.
    pub(super) fresh_lines: u64,
    /// How many lines the page had.
    pub(super) lines: usize,
    /// Nothing of the last page was on this one.
    pub(super) is_gap: bool,
    /// What is remembered is another page.
    pub(super) is_changed: bool,
}

/// What is done with a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It is compared with the last one.
    Compared,
    /// It is what comes behind the last one's lines.
    Behind,
    /// It is old from its first line to its last.
    Skipped,
}

/// The lines of a text, without their ends. What is behind the last newline is one if there is anything.
struct Lines<'a> {
    /// Without the newline at its end.
    rest: Option<&'a [u8]>,
}

fn lines_in(text: &[u8]) -> Lines<'_> {
    Lines { rest: (!text.is_empty()).then(|| text.strip_suffix(b"\n").unwrap_or(text)) }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    #[inline(never)] // one copy, for size
    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let (line, after) = match memchr(b'\n', rest) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        self.rest = after;
        Some(without_return(line))
    }
}

impl DoubleEndedIterator for Lines<'_> {
    #[inline(never)] // one copy, for size
    fn next_back(&mut self) -> Option<Self::Item> {
        let rest = self.rest?;
        let (before, line) = match memrchr(b'\n', rest) {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        self.rest = before;
        Some(without_return(line))
    }
}

impl Page {
    /// Nothing is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.open.is_none()
    }

    /// How many lines are remembered.
    pub(super) fn len(&self) -> usize {
        self.lines.len() + usize::from(self.open.is_some())
    }

    /// Bytes of memory.
    pub(super) fn held(&self) -> usize {
        let waits = self.open.as_ref().and_then(|open| open.waits.as_ref()).map_or(0, Vec::capacity);
        self.lines.capacity() * size_of::<u64>() + waits
    }

    /// Takes a page, and remembers the last `most` of its lines.
    pub(super) fn take(&mut self, text: &[u8], how: How, key: &Key, most: usize) -> Taken {
        if text.is_empty() || how != How::Behind && text.iter().all(|byte| matches!(byte, b'\n' | b'\r')) {
            return Taken::default();
        }
        let mut found = match how {
            How::Compared if !self.is_empty() => self.compare(text, key),
            How::Behind => self.behind(text, key),
            How::Compared | How::Skipped => {
                let is_new = vec![how == How::Compared; lines_in(text).count()];
                Found { is_new, newest_first: self.newest_first, is_gap: false }
            }
        };
        let before = self.open.take();
        // What waited and is not on this page was whole.
        let gone = before.as_ref().and_then(|open| {
            let mut new_lines = lines_in(text).zip(&found.is_new).filter(|(_, is_new)| **is_new).map(|(line, _)| line);
            open.waits.as_ref().filter(|_| !new_lines.any(|line| open.goes_on(line, key)))
        });
        let lines = found.is_new.len();
        let above = lines.saturating_sub(most + 1);
        let mut whole = Vec::with_capacity(lines - above);
        for line in lines_in(text).skip(above) {
            whole.push(key.hash(line));
        }
        let is_alone = how != How::Behind || lines == 1;
        if !text.ends_with(b"\n")
            && let (Some(hash), Some(is_new), Some(line)) =
                (whole.pop(), found.is_new.last_mut(), lines_in(text).next_back())
        {
            // Behind other new lines it is the beginning of another line, which begins so too.
            let is_same = is_alone && before.as_ref().is_some_and(|open| open.hash == hash && open.waits.is_some());
            let waits = (*is_new && !is_same).then(|| line.to_vec());
            *is_new &= is_same;
            self.open = Some(Open { hash, len: line.len(), waits });
        }
        let (fresh, fresh_lines) = fresh_of(text, &found, gone.map(Vec::as_slice));
        let is_changed =
            self.remember(whole, above, how, most) || self.open != before || self.newest_first != found.newest_first;
        self.newest_first = found.newest_first;
        Taken { fresh, fresh_lines, lines, is_gap: found.is_gap, is_changed }
    }

    /// Takes the first part of a page that is too long to be compared whole. Where lines were forgotten, all of it is new.
    pub(super) fn take_start(&mut self, text: &[u8], key: &Key, most: usize) -> Taken {
        if self.above == 0 {
            return self.take(text, How::Compared, key, most);
        }
        self.lines = Vec::new();
        (self.above, self.newest_first) = (0, false);
        Taken { is_gap: true, ..self.take(text, How::Behind, key, most) }
    }

    /// The page is the last one still: what waited was whole.
    pub(super) fn is_same(&mut self) -> Taken {
        let Some(mut fresh) = self.open.as_mut().and_then(|open| open.waits.take()) else { return Taken::default() };
        fresh.push(b'\n');
        Taken { fresh, fresh_lines: 1, is_changed: true, ..Taken::default() }
    }

    fn compare(&mut self, text: &[u8], key: &Key) -> Found {
        self.lines.extend(self.open.as_ref().map(|open| open.hash));
        let last = Last {
            lines: &self.lines,
            above: usize::try_from(self.above).unwrap_or(usize::MAX),
            open: self.open.as_ref().map(Open::told),
            newest_first: self.newest_first,
        };
        let goes_on = || {
            let first = lines_in(text).next().unwrap_or_default();
            self.open.as_ref().is_some_and(|open| open.goes_on(first, key))
        };
        let found = last.compare(&|| lines_in(text).map(|line| key.hash(line)), &goes_on);
        if self.open.is_some() {
            self.lines.pop();
        }
        found
    }

    /// What is behind the lines with an end: the first may be the one that was handed out without.
    fn behind(&self, text: &[u8], key: &Key) -> Found {
        let mut is_new = vec![true; lines_in(text).count()];
        let first = lines_in(text).next().map(|line| key.hash(line));
        if self.open.as_ref().is_some_and(|open| open.told() == Told::Yes && first == Some(open.hash)) {
            is_new.iter_mut().take(1).for_each(|is_new| *is_new = false);
        }
        Found { is_new, newest_first: false, is_gap: false }
    }

    /// Takes the page's last lines, so many of which are above them; and says whether that is something else than before.
    fn remember(&mut self, mut whole: Vec<u64>, above: usize, how: How, most: usize) -> bool {
        let above_before = self.above;
        if how == How::Behind {
            let is_changed = !whole.is_empty();
            if above > 0 {
                self.cut(0);
            }
            self.above = self.above.saturating_add(above as u64);
            self.lines.extend(whole);
            self.cut(most);
            return is_changed;
        }
        self.above = above as u64;
        mem::swap(&mut self.lines, &mut whole);
        self.cut(most);
        self.lines != whole || self.above != above_before
    }

    /// Forgets all but the last `most` lines.
    pub(super) fn cut(&mut self, most: usize) {
        let surplus = self.lines.len().saturating_sub(most);
        self.lines.drain(..surplus);
        self.above = self.above.saturating_add(surplus as u64);
        self.lines.shrink_to_fit();
    }
}

/// The new lines of a text, and what was handed in before them; and how many.
fn fresh_of(text: &[u8], found: &Found, gone: Option<&[u8]>) -> (Vec<u8>, u64) {
    let mut len = gone.map_or(0, |line| line.len() + 1);
    for (line, is_new) in lines_in(text).zip(&found.is_new) {
        len += if *is_new { line.len() + 1 } else { 0 };
    }
    let (mut fresh, mut count) = (Vec::with_capacity(len), 0);
    let (mut lines, mut flags) = (lines_in(text), found.is_new.iter());
    let mut next = gone;
    loop {
        if let Some(line) = next {
            fresh.extend_from_slice(line);
            fresh.push(b'\n');
            count += 1;
        }
        let (line, is_new) =
            if found.newest_first { (lines.next_back(), flags.next_back()) } else { (lines.next(), flags.next()) };
        let Some(is_new) = is_new else { return (fresh, count) };
        next = line.filter(|_| *is_new);
    }
}
