//! Lines that somebody is to be told of: which lines hold a text, and when that is told. The first is told at once, and then,
//! for as long as there are more, all of a time together. Invariant: each line with the text is in the count of exactly one
//! telling, but for those that nobody could be told of.

use core::time::Duration;

use memchr::{memchr, memchr2, memrchr};

use super::framing::Lines;
use super::peer::Peer;

/// Bytes of a line that are told.
const MOST_LINE_BYTES: usize = 4096;

/// Bytes from the most to the least frequent in logs; all others are rarer.
const FREQUENT: &[u8] = b" e0t1a2o3i4n5s6r7h8l9d:c-u.mfpgwybvkxjqz";

/// A text that is looked for. It holds no newline.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    text: Vec<u8>,
    ignores_case: bool,
    /// Where in it the byte is that is looked for first, and that byte as it may be: the rarest.
    rarest: usize,
    either: [u8; 2],
}

impl Wanted {
    /// The text, and whether large and small letters of ASCII are the same.
    #[must_use]
    pub(crate) fn new(text: &str, ignores_case: bool) -> Self {
        let text = text.as_bytes().to_vec();
        let (mut rarest, mut either, mut highest) = (0, [0; 2], 0);
        for (place, byte) in text.iter().enumerate() {
            let small = if ignores_case { byte.to_ascii_lowercase() } else { *byte };
            let rank = memchr(small, FREQUENT).unwrap_or(FREQUENT.len());
            if rank >= highest {
                (rarest, highest) = (place, rank);
                either = [small, if ignores_case { byte.to_ascii_uppercase() } else { *byte }];
            }
        }
        Self { rarest, either, text, ignores_case }
    }

    /// Where it is in these bytes first.
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        // Of our own: `memmem` is 10 KB of the program, for what few ask.
        let [one, other] = self.either;
        let mut from = self.rarest;
        loop {
            from += memchr2(one, other, bytes.get(from..)?)?;
            let start = from - self.rarest;
            let there = bytes.get(start..start + self.text.len())?;
            let is_it = if self.ignores_case { there.eq_ignore_ascii_case(&self.text) } else { there == self.text };
            if is_it {
                return Some(start);
            }
            from += 1;
        }
    }
}

/// What is told: a line, who sent it, and how many there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Telling {
    /// The first of them, or its first 4 KiB.
    pub(crate) line: Vec<u8>,
    /// Who sent that.
    pub(crate) peer: Peer,
    /// How many lines these are.
    pub(crate) count: u64,
}

/// One text, and what is to be told of it.
#[derive(Debug)]
pub(crate) struct Alert {
    wanted: Wanted,
    every: Duration,
    /// What waits to be told, and since when it may be.
    telling: Option<Telling>,
    may_at: Duration,
    /// What is being told.
    told: Option<Telling>,
}

impl Alert {
    /// Tells of this text, after the first time once in `every` at most.
    #[must_use]
    pub(crate) fn new(wanted: Wanted, every: Duration) -> Self {
        Self { wanted, every, telling: None, may_at: Duration::ZERO, told: None }
    }

    /// Looks at some lines.
    pub(crate) fn see(&mut self, peer: &Peer, lines: Lines<'_>) {
        let Lines { head, body, ended, .. } = lines;
        // The first line may be in two parts, and what is wanted, too. One with newlines in it (`--embedded-newline keep`) is one.
        let first_end = if ended { memchr(b'\n', body).unwrap_or(body.len()) } else { body.len() };
        let mut rest = body;
        if !head.is_empty() || !ended {
            let (first, others) = body.split_at(first_end);
            let line = [head, first].concat();
            if self.wanted.find(&line).is_some() {
                self.note(peer, &line);
            }
            rest = others;
        }
        while let Some(at) = self.wanted.find(rest) {
            let start = rest.get(..at).and_then(|before| memrchr(b'\n', before)).map_or(0, |before| before + 1);
            let behind = rest.get(at..).unwrap_or_default();
            let end = at + memchr(b'\n', behind).unwrap_or(behind.len());
            self.note(peer, rest.get(start..end).unwrap_or_default());
            rest = rest.get(end..).unwrap_or_default();
        }
    }

    #[cold]
    fn note(&mut self, peer: &Peer, line: &[u8]) {
        match &mut self.telling {
            Some(telling) => telling.count = telling.count.saturating_add(1),
            None => {
                let line = line.get(..MOST_LINE_BYTES).unwrap_or(line).to_vec();
                self.telling = Some(Telling { line, peer: *peer, count: 1 });
            }
        }
    }

    /// How long until something is to be told; `None`: nothing is.
    #[must_use]
    pub(crate) fn due_in(&self, now: Duration) -> Option<Duration> {
        let waits = self.told.is_none() && self.telling.is_some();
        waits.then(|| self.may_at.saturating_sub(now))
    }

    /// Begins to tell. `None` if it is not time.
    pub(crate) fn tell(&mut self, now: Duration) -> Option<&Telling> {
        if self.due_in(now).is_none_or(|wait| !wait.is_zero()) {
            return None;
        }
        self.told = self.telling.take();
        self.told.as_ref()
    }

    /// Whether what was begun to be told was heard. If not, it may be told again at once, with what comes until then.
    pub(crate) fn heard(&mut self, is_heard: bool, now: Duration) {
        // What nobody has heard does not wait for the others of its time.
        self.may_at = if is_heard { now.saturating_add(self.every) } else { now };
        if let Some(told) = self.told.take().filter(|_| !is_heard) {
            let since = self.telling.take().map_or(0, |telling| telling.count);
            self.telling = Some(Telling { count: told.count.saturating_add(since), ..told });
        }
    }

    /// Bytes of memory.
    #[cfg(test)]
    fn held(&self) -> usize {
        let lines = [&self.telling, &self.told].map(|telling| telling.as_ref().map_or(0, |one| one.line.capacity()));
        size_of::<Self>() + self.wanted.text.capacity() + lines.iter().sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Peer = Peer::Unix { serial: 1 };
    const MINUTE: Duration = Duration::from_secs(60);

    fn alert(text: &str, ignores_case: bool) -> Alert {
        Alert::new(Wanted::new(text, ignores_case), MINUTE)
    }

    /// What is told of these lines, the first of which is in two parts.
    fn seen(alert: &mut Alert, head: &str, body: &str) -> Option<(String, u64)> {
        let lines = Lines { head: head.as_bytes(), body: body.as_bytes(), count: 0, ended: body.ends_with('\n') };
        alert.see(&PEER, lines);
        let told = alert.tell(Duration::ZERO).map(|told| (String::from_utf8(told.line.clone()).unwrap(), told.count));
        alert.heard(true, Duration::ZERO);
        alert.may_at = Duration::ZERO;
        told
    }

    #[test]
    fn each_line_that_has_the_text_counts_once_however_it_comes() {
        let told = |line: &str, count| Some((line.to_owned(), count));
        for (text, head, body, wanted) in [
            ("err", "", "an error\n", told("an error", 1)),
            ("err", "", "a\nerr err\nb\nerr\n", told("err err", 2)),
            ("err", "an er", "ror\nb\n", told("an error", 1)),
            ("err", "err", "\nerr\n", told("err", 2)),
            ("err", "", "the last err", told("the last err", 1)),
            ("err", "the last e", "rr", told("the last err", 1)),
            ("err", "", "e\nrr\nER\n", None),
            ("err", "er", "\nr\n", None),
            ("err", "", "\n", None),
        ] {
            assert_eq!(seen(&mut alert(text, false), head, body), wanted, "{head:?} {body:?}");
        }
    }

    #[test]
    fn letters_are_the_same_if_that_is_asked_for() {
        for (text, body, is_there) in [
            ("Error", "an eRRoR\n", true),
            ("Error", "errerrorx\n", true),
            ("Error", "an erro\n", false),
            ("[a", "{A [A\n", true),
            ("\u{e4}", "\u{c4}\n", false),
            ("aXa", "AXA axa\n", true),
        ] {
            assert_eq!(seen(&mut alert(text, true), "", body).is_some(), is_there, "{text} {body}");
        }
    }

    #[test]
    fn the_first_is_told_at_once_and_then_all_of_a_time_together() {
        let mut alert = alert("x", false);
        let see = |alert: &mut Alert, line: &str| {
            alert.see(&PEER, Lines { head: b"", body: format!("{line}\n").as_bytes(), count: 1, ended: true });
        };
        assert_eq!(alert.due_in(Duration::ZERO), None);
        see(&mut alert, "x1");
        assert_eq!(alert.tell(Duration::ZERO).map(|told| told.count), Some(1));
        see(&mut alert, "x2");
        assert_eq!((alert.due_in(MINUTE), alert.tell(MINUTE)), (None, None), "one at a time");
        alert.heard(true, MINUTE);
        see(&mut alert, "x3");
        assert_eq!((alert.due_in(MINUTE), alert.tell(MINUTE)), (Some(MINUTE), None));
        assert_eq!(alert.tell(2 * MINUTE).map(|told| (told.line.clone(), told.count)), Some((b"x2".to_vec(), 2)));
        see(&mut alert, "x4");
        alert.heard(false, 2 * MINUTE);
        assert_eq!(alert.due_in(2 * MINUTE), Some(Duration::ZERO), "whoever tells it knows how often to try");
        assert_eq!(
            alert.tell(3 * MINUTE).map(|told| (told.line.clone(), told.count)),
            Some((b"x2".to_vec(), 3)),
            "again"
        );
        alert.heard(true, 3 * MINUTE);
        assert_eq!(alert.due_in(9 * MINUTE), None);
        see(&mut alert, "x5");
        assert_eq!(alert.due_in(9 * MINUTE), Some(Duration::ZERO), "after a quiet time at once");
    }

    #[test]
    fn what_is_kept_of_a_line_is_bounded() {
        let mut alert = alert("x", false);
        let line = ["x".repeat(1 << 20).as_bytes(), b"\n"].concat();
        alert.see(&PEER, Lines { head: b"", body: &line, count: 1, ended: true });
        assert!(alert.held() < 2 * MOST_LINE_BYTES);
    }
}
