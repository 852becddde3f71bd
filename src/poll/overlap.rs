//! Which lines of a page are new, by the numbers of the lines of the last one.
//!
//! *f* is the longest end of the last page that begins this one: a page that grows, or that slides with its newest line last. *b*
//! is the longest beginning of the last page that ends this one: its newest line is first. The longer of the two is old and the
//! rest is new; at a tie it is *f*. It is not believed if it is shorter than half of the page while both pages hold the same lines:
//! then they were put in another order. Without an overlap each line is new that is there more often than on the last page.
//!
//! Of a page that was too long to be remembered, its last lines are (`above` says how many were before them). They are old
//! with all that is before them, where they are found no further down than they were; further down, new lines came in before
//! them, so the newest is first.
//!
//! Invariant: the time is linear in the two pages. What is taken for it is given back, and is a byte for each line of the page, and
//! no more for each line that is remembered than 48: a page of short lines has half as many as it has bytes, so their numbers are
//! made anew where they are needed twice.

/// What was on the last page.
pub(super) struct Last<'a> {
    /// Numbers of its last lines, and of the one that had no end.
    pub(super) lines: &'a [u64],
    /// How many lines were before them.
    pub(super) above: usize,
    /// The last of the lines had no end; and whether it was handed out yet.
    pub(super) open: Option<Told>,
    /// The page that was last understood had its newest line first.
    pub(super) newest_first: bool,
}

/// Whether a line without an end was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Not,
    Yes,
}

/// What is new on a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// For each line.
    pub(super) is_new: Vec<bool>,
    /// The newest line is the first one.
    pub(super) newest_first: bool,
    /// Nothing of the last page is on this one: lines may have been missed.
    pub(super) is_gap: bool,
}

/// What of a page is old, at one of its ends.
struct Overlap {
    /// How many of its lines.
    lines: usize,
    /// How many of these are remembered.
    known: usize,
    /// The last page's line without an end is the last of them.
    has_open: bool,
}

impl Last<'_> {
    /// Compares a page with this one. `goes_on` is asked whether the page's first line begins with the one that had no end.
    /// `page` gives the numbers of its lines.
    pub(super) fn compare<I: Iterator<Item = u64>>(
        &self,
        page: impl Fn() -> I,
        goes_on: impl FnOnce() -> bool,
    ) -> Found {
        let longest_end = Ends::of(self.lines, page(), self.above);
        let len = longest_end.len;
        let mut first = Vec::with_capacity(self.lines.len().min(len));
        for line in page().take(self.lines.len()) {
            first.push(line);
        }
        let front = self.front(&first, &longest_end);
        let back = Overlap { lines: longest_end.state + self.above, known: longest_end.state, has_open: false };
        let is_back = back.known > front.known;
        let longer = if is_back { &back } else { &front };
        let is_believed = longer.known > 0 && !(longer.known.saturating_mul(2) < len && self.has_lines_of(&first, len));
        if !is_believed {
            // All that was there is a line that has grown.
            let has_grown = self.lines.len() == 1 && self.open.is_some() && self.above == 0 && goes_on();
            return if has_grown { self.all_of(len) } else { self.count(page(), len) };
        }
        let mut is_new = vec![true; len];
        let mut newest_first = self.newest_first;
        if is_back {
            let first_old = len.saturating_sub(back.lines);
            is_new.iter_mut().skip(first_old).for_each(|is_new| *is_new = false);
            newest_first = true;
            if back.known == self.lines.len() && self.open == Some(Told::Not) {
                is_new.last_mut().into_iter().for_each(|is_new| *is_new = true);
            }
        } else {
            is_new.iter_mut().take(front.lines).for_each(|is_new| *is_new = false);
            newest_first &= front.lines == len;
            if front.has_open && self.open == Some(Told::Not) {
                is_new.iter_mut().take(front.lines).next_back().into_iter().for_each(|is_new| *is_new = true);
            }
        }
        Found { is_new, newest_first, is_gap: false }
    }

    fn all_of(&self, len: usize) -> Found {
        Found { is_new: vec![true; len], newest_first: self.newest_first, is_gap: false }
    }

    /// The end of the last page that begins this one; with the line that had no end, or, as that may have got more, without.
    fn front(&self, first: &[u64], ends: &Ends) -> Overlap {
        let (before_last, all) = longest_end_that_begins(self.lines, first);
        let has_open = self.open.is_some();
        let len = self.lines.len();
        let mut front = Overlap { lines: all, known: all, has_open };
        if has_open && before_last > all {
            front = Overlap { lines: before_last, known: before_last, has_open: false };
        }
        // Where they were is believed before where they could have slid to.
        match (ends.last_whole, ends.last_but_one) {
            (Some(lines), _) => Overlap { lines, known: len, has_open },
            (None, Some(lines)) if has_open && (len > front.known + 1 || !front.has_open) => {
                Overlap { lines, known: len - 1, has_open: false }
            }
            _ => front,
        }
    }

    /// Both pages have the same lines, each as often.
    fn has_lines_of(&self, first: &[u64], len: usize) -> bool {
        if self.above > 0 || self.lines.len() != len {
            return false;
        }
        let mut counts = Counts::of(self.lines);
        first.iter().all(|line| counts.take(*line))
    }

    /// Each line beyond its count is new.
    fn count(&self, page: impl Iterator<Item = u64>, len: usize) -> Found {
        let untold = usize::from(self.open == Some(Told::Not));
        let (told, untold) = self.lines.split_at(self.lines.len() - untold);
        let mut counts = Counts::of(told);
        let mut has_untold = false;
        let mut is_new = Vec::with_capacity(len);
        for line in page {
            has_untold |= untold.contains(&line);
            is_new.push(!counts.take(line));
        }
        let first_old = is_new.iter().position(|is_new| !is_new);
        let is_gap = first_old.is_none() && !has_untold;
        if !self.newest_first
            && let Some(first_old) = first_old
        {
            // What is before a line that is remembered was there before, but not remembered.
            is_new.iter_mut().take(first_old.min(self.above)).for_each(|is_new| *is_new = false);
        }
        Found { is_new, newest_first: self.newest_first, is_gap }
    }
}

/// For each beginning of the pattern, the longest shorter one that is also its end (Knuth, Morris and Pratt).
fn borders(pattern: &[u64]) -> Vec<u32> {
    let mut borders = Vec::with_capacity(pattern.len());
    let mut state = 0;
    for (at, line) in pattern.iter().enumerate() {
        if at > 0 {
            state = next(pattern, &borders, state, *line);
        }
        borders.push(u32::try_from(state).unwrap_or(u32::MAX));
    }
    borders
}

/// How much of the pattern ends with this line, if `state` of it ended before.
fn next(pattern: &[u64], borders: &[u32], mut state: usize, line: u64) -> usize {
    loop {
        if pattern.get(state) == Some(&line) {
            return state + 1;
        }
        let Some(shorter) = state.checked_sub(1).and_then(|at| borders.get(at)) else { return 0 };
        state = *shorter as usize;
    }
}

/// The longest end of `last` that begins the page: of all of `last` but its last line, and of all of it. `first` is as much of the
/// page as that can be.
fn longest_end_that_begins(last: &[u64], first: &[u64]) -> (usize, usize) {
    let borders = borders(first);
    last.iter().fold((0, 0), |(_, state), line| (state, next(first, &borders, state, *line)))
}

/// Where a page has beginnings of the last one.
struct Ends {
    /// How many lines this one has.
    len: usize,
    /// How much of the last page ends this one.
    state: usize,
    /// Where all of it ends for the last time, no further down than it was.
    last_whole: Option<usize>,
    /// Where all of it but its last line does.
    last_but_one: Option<usize>,
}

impl Ends {
    fn of(last: &[u64], page: impl Iterator<Item = u64>, above: usize) -> Self {
        let borders = borders(last);
        let mut ends = Self { len: 0, state: 0, last_whole: None, last_but_one: None };
        let most = above.saturating_add(last.len());
        for (at, line) in page.enumerate() {
            ends.len = at + 1;
            ends.state = next(last, &borders, ends.state, line);
            if ends.state == last.len() && at < most {
                ends.last_whole = Some(at + 1);
                ends.last_but_one = Some(at);
            } else if ends.state + 1 == last.len() && at + 1 < most {
                ends.last_but_one = Some(at + 1);
            }
        }
        ends
    }
}

/// How often each line is there: a table with open addressing, as the numbers are as good as random already.
struct Counts {
    /// A line, and 0 for a slot that was never taken, else its count and 1 more.
    slots: Vec<(u64, u32)>,
}

impl Counts {
    fn of(lines: &[u64]) -> Self {
        // At least half of the slots stay empty, so that each search ends soon.
        let mut counts = Self { slots: vec![(0, 0); lines.len().saturating_mul(2).next_power_of_two()] };
        for line in lines {
            if let Some(slot) = counts.slot(*line) {
                *slot = (*line, slot.1.max(1).saturating_add(1));
            }
        }
        counts
    }

    /// The slot of a line, or the one that it would have.
    fn slot(&mut self, line: u64) -> Option<&mut (u64, u32)> {
        let mask = self.slots.len() - 1;
        #[expect(clippy::cast_possible_truncation)] // the low bits are all that is asked for
        let start = line as usize;
        let at = (0..=mask).map(|step| start.wrapping_add(step) & mask).find(|at| {
            let (other, count) = self.slots[*at];
            count == 0 || other == line
        })?;
        self.slots.get_mut(at)
    }

    /// One less of this line, if there is one.
    fn take(&mut self, line: u64) -> bool {
        match self.slot(line) {
            Some((_, count)) if *count > 1 => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}
