//! Which lines of a page are new, by the numbers of the lines of the last one.
//!
//! *f* is the longest end of the last page that begins this one: a page that grows, or that slides with its newest line last. *b*
//! is the longest beginning of the last page that ends this one: its newest line is first. The longer of the two is old and the
//! rest is new; at a tie it is *f*.
//!
//! If it is shorter than half of the page it may be an accident: a ruler or a blank line that is both the first line and the last.
//! Then what a page has once, and had once, is asked ([`Tally`]), as lines that repeat prove little. It is not believed
//! - if the *frame* explains more: what both pages begin with, and what both end with, are a head and a foot that stay, and the lines
//!   between them are compared by themselves. It explains more if it keeps more of those single lines; or as many, and the
//!   overlap between head and foot is half of the lines there;
//! - if all that it calls gone is on the page still; or more than a third of the single lines that it calls gone are, and more of them
//!   than it has itself.
//!
//! Where no overlap is believed, the lines between head and foot are compared by themselves, if there is a head or a foot; else each
//! line is new that is there more often than on the last page.
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
    /// They end the page.
    is_back: bool,
}

impl Overlap {
    /// It is half of the lines at least.
    fn is_long(&self, len: usize) -> bool {
        self.known > 0 && self.known.saturating_mul(2) >= len
    }
}

/// How many lines stay where they were, at the top and at the bottom of a page.
#[derive(Clone, Copy)]
struct Frame {
    head: usize,
    foot: usize,
}

impl Last<'_> {
    /// Compares a page with this one. `goes_on` is asked whether the page's first line begins with the one that had no end.
    /// `page` gives the numbers of its lines.
    pub(super) fn compare<I: DoubleEndedIterator<Item = u64>>(
        &self,
        page: &dyn Fn() -> I,
        goes_on: &dyn Fn() -> bool,
    ) -> Found {
        let (overlap, len) = self.overlap(page);
        let frame = if overlap.is_long(len) { None } else { self.frame(page, len) };
        if self.is_believed(&overlap, frame, page, len) {
            return self.believe(&overlap, len);
        }
        // All that was there is a line that has grown.
        if self.lines.len() == 1 && self.open.is_some() && self.above == 0 && goes_on() {
            return Found { is_new: vec![true; len], newest_first: self.newest_first, is_gap: false };
        }
        match frame {
            Some(frame) => self.compare_within(frame, page, len),
            None if self.above == 0 => self.count(page(), len),
            // A line that is remembered is the last one that is like it: what is alike and above was forgotten.
            None => {
                let mut found = self.count(page().rev(), len);
                found.is_new.reverse();
                self.forget_above(&mut found);
                found
            }
        }
    }

    /// The longer of the overlaps at the two ends, and how many lines the page has.
    fn overlap<I: Iterator<Item = u64>>(&self, page: &dyn Fn() -> I) -> (Overlap, usize) {
        let longest_end = Ends::of(self.lines, page(), self.above);
        let len = longest_end.len;
        let mut first = Vec::with_capacity(self.lines.len().min(len));
        for line in page().take(self.lines.len()) {
            first.push(line);
        }
        let front = self.front(&first, &longest_end);
        let known = longest_end.state;
        let back = Overlap { lines: known + self.above, known, has_open: false, is_back: true };
        (if back.known > front.known { back } else { front }, len)
    }

    /// What overlaps is old, and the rest is new.
    fn believe(&self, overlap: &Overlap, len: usize) -> Found {
        let mut is_new = vec![true; len];
        let mut newest_first = self.newest_first;
        if overlap.is_back {
            let first_old = len.saturating_sub(overlap.lines);
            is_new.iter_mut().skip(first_old).for_each(|is_new| *is_new = false);
            newest_first = true;
            if overlap.known == self.lines.len() && self.open == Some(Told::Not) {
                is_new.last_mut().into_iter().for_each(|is_new| *is_new = true);
            }
        } else {
            is_new.iter_mut().take(overlap.lines).for_each(|is_new| *is_new = false);
            newest_first &= overlap.lines == len;
            if overlap.has_open && self.open == Some(Told::Not) {
                is_new.iter_mut().take(overlap.lines).next_back().into_iter().for_each(|is_new| *is_new = true);
            }
        }
        Found { is_new, newest_first, is_gap: false }
    }

    /// The remembered lines that are on the page still by this overlap, and those that are gone. A line without an end may
    /// have got more, and is in neither.
    fn kept_and_gone(&self, overlap: &Overlap) -> (&[u64], &[u64]) {
        if overlap.is_back {
            return self.lines.split_at(overlap.known.min(self.lines.len()));
        }
        let grown = usize::from(self.open.is_some() && !overlap.has_open);
        let end = self.lines.len().saturating_sub(grown);
        let (gone, kept) = self.lines[..end].split_at(end.saturating_sub(overlap.known));
        (kept, gone)
    }

    /// Whether an overlap is no accident: see the module.
    fn is_believed<I: Iterator<Item = u64>>(
        &self,
        overlap: &Overlap,
        frame: Option<Frame>,
        page: &dyn Fn() -> I,
        len: usize,
    ) -> bool {
        let (kept, gone) = self.kept_and_gone(overlap);
        if overlap.known == 0 || gone.is_empty() || overlap.is_long(len) {
            return overlap.known > 0;
        }
        // Before the tally, as both take memory.
        let framed = frame.map(|frame| self.within(frame).overlap(&|| frame.within(page(), len)).0);
        let mut tally = Tally::of(self.lines);
        tally.look_at(page());
        let single = tally.singles(kept);
        if let (Some(frame), Some(inner)) = (frame, framed) {
            let outer = self.lines.iter().take(frame.head).chain(self.lines.iter().rev().take(frame.foot));
            let singles = tally.singles(outer) + tally.singles(self.within(frame).kept_and_gone(&inner).0);
            if singles > single || singles == single && inner.is_long(frame.lines_of(len)) {
                return false;
            }
        }
        let back = tally.singles(gone);
        let are_all_there = gone.iter().all(|line| tally.is_there_as_often(*line));
        !(are_all_there || back > single && back * 3 > tally.were_single(gone))
    }

    /// What both pages begin with and end with, if that is anything.
    fn frame<I: DoubleEndedIterator<Item = u64>>(&self, page: &dyn Fn() -> I, len: usize) -> Option<Frame> {
        let alike =
            |lines: &mut dyn Iterator<Item = (&u64, u64)>| lines.take_while(|(one, other)| **one == *other).count();
        let head = alike(&mut self.lines.iter().zip(page()));
        let most = self.lines.len().min(len) - head;
        let foot = alike(&mut self.lines.iter().rev().zip(page().rev()).take(most));
        (self.above == 0 && head + foot > 0).then_some(Frame { head, foot })
    }

    /// The last page between head and foot.
    fn within(&self, frame: Frame) -> Last<'_> {
        Last {
            lines: &self.lines[frame.head..self.lines.len() - frame.foot],
            above: 0,
            open: self.open.filter(|_| frame.foot == 0),
            newest_first: self.newest_first,
        }
    }

    /// Compares what is between head and foot, and these are old.
    fn compare_within<I: Iterator<Item = u64>>(&self, frame: Frame, page: &dyn Fn() -> I, len: usize) -> Found {
        let middle = self.within(frame);
        let inner = || frame.within(page(), len);
        let (overlap, inner_len) = middle.overlap(&inner);
        let found = if middle.is_believed(&overlap, None, &inner, inner_len) {
            middle.believe(&overlap, inner_len)
        } else {
            middle.count(inner(), inner_len)
        };
        let mut is_new = vec![false; len];
        for (to, is_one) in is_new.iter_mut().skip(frame.head).zip(found.is_new) {
            *to = is_one;
        }
        if frame.foot > 0 && self.open == Some(Told::Not) {
            is_new.last_mut().into_iter().for_each(|is_new| *is_new = true);
        }
        // Where lines came in and none left, head or foot has the old ones.
        let newest_first =
            if middle.lines.is_empty() && inner_len > 0 { frame.foot > frame.head } else { found.newest_first };
        Found { is_new, newest_first, is_gap: false }
    }

    /// The end of the last page that begins this one; with the line that had no end, or, as that may have got more, without.
    fn front(&self, first: &[u64], ends: &Ends) -> Overlap {
        let (before_last, all) = longest_end_that_begins(self.lines, first);
        let has_open = self.open.is_some();
        let len = self.lines.len();
        let mut front = Overlap { lines: all, known: all, has_open, is_back: false };
        if has_open && before_last > all {
            front = Overlap { lines: before_last, known: before_last, has_open: false, is_back: false };
        }
        // Where they were is believed before where they could have slid to.
        match (ends.last_whole, ends.last_but_one) {
            (Some(lines), _) => Overlap { lines, known: len, has_open, is_back: false },
            (None, Some(lines)) if has_open && (len > front.known + 1 || !front.has_open) => {
                Overlap { lines, known: len - 1, has_open: false, is_back: false }
            }
            _ => front,
        }
    }

    /// Each line beyond its count is new.
    fn count(&self, page: impl Iterator<Item = u64>, len: usize) -> Found {
        let untold = usize::from(self.open == Some(Told::Not));
        let (told, untold) = self.lines.split_at(self.lines.len() - untold);
        let mut tally = Tally::of(told);
        let mut has_untold = false;
        let mut is_new = Vec::with_capacity(len);
        for line in page {
            has_untold |= untold.contains(&line);
            is_new.push(!tally.take(line));
        }
        let is_gap = is_new.iter().all(|is_new| *is_new) && !has_untold;
        Found { is_new, newest_first: self.newest_first, is_gap }
    }

    /// What is before a line that is remembered was there before, but not remembered.
    fn forget_above(&self, found: &mut Found) {
        if !self.newest_first
            && let Some(first_old) = found.is_new.iter().position(|is_new| !is_new)
        {
            found.is_new.iter_mut().take(first_old.min(self.above)).for_each(|is_new| *is_new = false);
        }
    }
}

impl Frame {
    /// The lines of a page of so many between head and foot.
    fn within(self, page: impl Iterator<Item = u64>, len: usize) -> impl Iterator<Item = u64> {
        page.skip(self.head).take(self.lines_of(len))
    }

    /// How many these are.
    fn lines_of(self, len: usize) -> usize {
        len.saturating_sub(self.head + self.foot)
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

/// How often lines are on two pages: a table with open addressing, as the numbers are as good as random already.
struct Tally {
    slots: Vec<Slot>,
}

/// A line of the last page.
#[derive(Clone, Copy, Default)]
struct Slot {
    line: u64,
    /// How often it was on the last page; 0 in a slot that was never taken.
    before: u32,
    /// How often it is on this one.
    now: u32,
}

impl Tally {
    fn of(last: &[u64]) -> Self {
        // At least a third of the slots stay empty, so that each search ends soon: 16 bytes each, 48 for a line.
        let slots = (last.len() + last.len() / 2 + 1).next_power_of_two();
        let mut tally = Self { slots: vec![Slot::default(); slots] };
        for line in last {
            if let Some(slot) = tally.place(*line).and_then(|at| tally.slots.get_mut(at)) {
                (slot.line, slot.before) = (*line, slot.before.saturating_add(1));
            }
        }
        tally
    }

    /// Counts the lines of the page.
    fn look_at(&mut self, page: impl Iterator<Item = u64>) {
        for line in page {
            self.take(line);
        }
    }

    /// Where a line is, or would be.
    fn place(&self, line: u64) -> Option<usize> {
        let mask = self.slots.len() - 1;
        #[expect(clippy::cast_possible_truncation)] // the low bits are all that is asked for
        let start = line as usize;
        (0..=mask).map(|step| start.wrapping_add(step) & mask).find(|at| {
            let slot = self.slots[*at];
            slot.before == 0 || slot.line == line
        })
    }

    /// One more of this line; and whether there were so many on the last page.
    fn take(&mut self, line: u64) -> bool {
        let Some(slot) = self.place(line).and_then(|at| self.slots.get_mut(at)) else { return false };
        // An empty slot stays empty.
        slot.now = slot.now.saturating_add(u32::from(slot.before > 0));
        slot.before > 0 && slot.now <= slot.before
    }

    fn slot(&self, line: u64) -> Slot {
        self.place(line).and_then(|at| self.slots.get(at)).copied().unwrap_or_default()
    }

    /// How many of these lines both pages have once.
    fn singles<'a>(&self, lines: impl IntoIterator<Item = &'a u64>) -> usize {
        lines.into_iter().map(|line| self.slot(*line)).filter(|slot| (slot.before, slot.now) == (1, 1)).count()
    }

    /// How many of these lines the last page had once.
    fn were_single(&self, lines: &[u64]) -> usize {
        lines.iter().filter(|line| self.slot(**line).before == 1).count()
    }

    fn is_there_as_often(&self, line: u64) -> bool {
        let slot = self.slot(line);
        slot.now >= slot.before
    }
}
