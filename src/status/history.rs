//! What has become of the server in the last minutes: a sample a second while its loop turns, and what an operator is to look
//! into (each a sentence, with since when). Invariant: it takes as much memory as [`HISTORY_BYTES`] at most, and nobody is
//! woken up for it.

use std::collections::VecDeque;
use std::fmt::Write;

use crate::engine::stats::{Counters, OutputStats};

/// Milliseconds since the start.
type Ms = u64;

/// The most samples that are kept: two minutes, if one is taken each second.
pub const MOST_SAMPLES: usize = 120;
/// Time between two samples.
const SAMPLE: Ms = 1_000;
/// What was counted is worth a sentence for so long after the last time.
const LATELY: Ms = 300_000;
/// If more and more bytes have waited for outputs for so long, that is one, too.
const GROWING: Ms = 10_000;
/// Fewer waiting bytes are nothing to speak of.
const MUCH: u64 = 64 * 1024;
/// The memory that samples take, and what is remembered of as many outputs as there may be.
pub const HISTORY_BYTES: usize = MOST_SAMPLES * size_of::<Sample>() + 8 * size_of::<[Streak; KINDS]>();
/// The most bytes of the samples as JSON.
pub const MOST_HISTORY_JSON: usize = MOST_SAMPLES * 180;

/// Names of the numbers of a sample.
pub const SAMPLES: &str = "uptimeMs lines bytes connections memory";

/// How the server stood at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// The numbers, in the order of their names.
    pub numbers: [u64; 5],
    /// Bytes that waited for the outputs.
    pub waiting: u64,
}

/// Something to look into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// A sentence without its full stop.
    pub text: String,
    /// For how long, in milliseconds.
    pub for_ms: u64,
}

/// How many times something was counted lately, and when first and last.
#[derive(Debug, Clone, Copy, Default)]
struct Streak {
    seen: u64,
    before: u64,
    first: Ms,
    last: Ms,
}

impl Streak {
    fn note(&mut self, total: u64, now: Ms) {
        if total > self.seen {
            if !self.is_late(now) || self.first == 0 {
                (self.first, self.before) = (now, self.seen);
            }
            (self.last, self.seen) = (now, total);
        }
    }

    fn is_late(&self, now: Ms) -> bool {
        self.first > 0 && now.saturating_sub(self.last) < LATELY
    }

    /// Tells what was counted lately, by a sentence for one or for many, with a `#` for their number.
    #[inline(never)] // for size
    fn say(&self, name: &str, [one, many]: [&str; 2], now: Ms, troubles: &mut Vec<Trouble>) {
        if !self.is_late(now) {
            return;
        }
        let count = self.seen - self.before;
        let sentence = if count == 1 { one } else { many };
        let (start, end) = sentence.split_once('#').unwrap_or((sentence, ""));
        let mut text = [name, start].concat();
        let _ = write!(text, "{count}{end}");
        troubles.push(Trouble { text, for_ms: now.saturating_sub(self.first) });
    }
}

/// How many things are counted of each output.
const KINDS: usize = 4;
/// What is said of them, behind the output's name, for one and for many.
const OUTPUTS: [[&str; 2]; KINDS] = [
    [" did not get # line", " did not get # lines"],
    [
        ": # rotation failed, and lines go on into the old file",
        ": # rotations failed, and lines go on into the old file",
    ],
    [
        ": # sync failed, and what was written before may be lost",
        ": # syncs failed, and what was written before may be lost",
    ],
    [": # write failed", ": # writes failed"],
];
/// What is said of limits.
const LIMITS: [[&str; 2]; 2] = [
    ["limits dropped # line: see what limits did", "limits dropped # lines: see what limits did"],
    ["# connection was turned away: see what limits did", "# connections were turned away: see what limits did"],
];

/// The samples, and the streaks.
#[derive(Debug, Default)]
pub struct History {
    samples: VecDeque<Sample>,
    /// Of lines that limits dropped, and of connections that were turned away.
    limits: [Streak; 2],
    outputs: Vec<[Streak; KINDS]>,
}

impl History {
    /// Whether it is time for a sample.
    #[must_use]
    pub fn is_due(&self, now: u64) -> bool {
        self.samples.back().is_none_or(|last| now.saturating_sub(last.numbers[0]) >= SAMPLE)
    }

    /// Takes a sample.
    #[inline(never)] // for size
    pub fn note(&mut self, sample: Sample, counters: &Counters, outputs: &[OutputStats]) {
        let now = sample.numbers[0];
        if self.samples.len() >= MOST_SAMPLES {
            self.samples.pop_front();
        }
        if self.samples.capacity() == 0 {
            self.samples.reserve_exact(MOST_SAMPLES);
        }
        self.samples.push_back(sample);
        let [lines, turned_away] = &mut self.limits;
        lines.note(
            counters.skipped_lines + counters.cut_lines + counters.bad_lengths + counters.dropped_for_budget,
            now,
        );
        turned_away.note(counters.rejected + counters.refused_per_host + counters.cut_off, now);
        self.outputs.resize(outputs.len(), Default::default());
        for (streaks, OutputStats { counters, .. }) in self.outputs.iter_mut().zip(outputs) {
            let totals =
                [counters.dropped_lines, counters.rotation_failures, counters.sync_failures, counters.failures];
            streaks.iter_mut().zip(totals).for_each(|(streak, total)| streak.note(total, now));
        }
    }

    /// The samples, the oldest first.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.samples.iter().copied().collect()
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.samples.capacity() * size_of::<Sample>() + self.outputs.capacity() * size_of::<[Streak; KINDS]>()
    }

    /// What was counted lately, and whether the outputs fall behind, at `now`.
    #[must_use]
    pub fn troubles(&self, outputs: &[OutputStats], now: u64) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for (streak, what) in self.limits.iter().zip(LIMITS) {
            streak.say("", what, now, &mut troubles);
        }
        for (streaks, OutputStats { name, .. }) in self.outputs.iter().zip(outputs) {
            for (streak, what) in streaks.iter().zip(OUTPUTS) {
                streak.say(name, what, now, &mut troubles);
            }
        }
        troubles.extend(self.lag(now));
        troubles
    }

    /// More bytes wait than ever in the last seconds, and none of these was without any.
    fn lag(&self, now: Ms) -> Option<Trouble> {
        let last = self.samples.back()?;
        let since = self.samples.iter().rev().take_while(|sample| sample.waiting > 0).last()?;
        let for_ms = now.saturating_sub(since.numbers[0]);
        let is_late = |sample: &&Sample| now.saturating_sub(sample.numbers[0]) < GROWING;
        let most = self.samples.iter().rev().skip_while(is_late).map(|sample| sample.waiting).next()?;
        let grows = last.waiting >= MUCH && last.waiting > most && for_ms >= GROWING;
        let text = "more and more bytes wait for the outputs: lines come faster than these take them".to_owned();
        grows.then_some(Trouble { text, for_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::stats::OutputCounters;

    fn sample(second: u64, waiting: u64) -> Sample {
        Sample { numbers: [second * 1_000, 0, 0, 0, 0], waiting }
    }

    fn outputs(counters: OutputCounters) -> [OutputStats; 1] {
        [OutputStats { name: "app.log".to_owned(), server: String::new(), counters }]
    }

    fn texts(history: &History, second: u64) -> Vec<(String, u64)> {
        let troubles = history.troubles(&outputs(OutputCounters::default()), second * 1_000);
        troubles.into_iter().map(|trouble| (trouble.text, trouble.for_ms)).collect()
    }

    #[test]
    fn two_minutes_are_kept_in_the_memory_that_is_set_aside() {
        let mut history = History::default();
        assert!(history.is_due(0));
        for second in 1..=500 {
            history.note(sample(second, 0), &Counters::default(), &outputs(OutputCounters::default()));
            assert!(!history.is_due(second * 1_000 + 999) && history.is_due(second * 1_000 + 1_000));
        }
        let samples = history.samples();
        assert_eq!((samples.len(), samples[0].numbers[0]), (120, 381_000));
        assert!(history.held() <= HISTORY_BYTES, "{}", history.held());
    }

    #[test]
    fn what_was_lost_is_told_with_its_number_and_since_when_for_five_minutes() {
        let (mut history, mut lost) = (History::default(), Counters::default());
        let fine = OutputCounters::default();
        history.note(sample(1, 0), &lost, &outputs(fine));
        assert_eq!(texts(&history, 1), []);
        lost.skipped_lines = 1;
        history.note(sample(2, 0), &lost, &outputs(fine));
        assert_eq!(texts(&history, 3), [("limits dropped 1 line: see what limits did".to_owned(), 1_000)]);
        (lost.skipped_lines, lost.refused_per_host) = (23, 2);
        let bad = OutputCounters { dropped_lines: 5, rotation_failures: 1, sync_failures: 2, failures: 3, ..fine };
        history.note(sample(200, 0), &lost, &outputs(bad));
        let all = [
            ("limits dropped 23 lines: see what limits did", 199_000),
            ("2 connections were turned away: see what limits did", 1_000),
            ("app.log did not get 5 lines", 1_000),
            ("app.log: 1 rotation failed, and lines go on into the old file", 1_000),
            ("app.log: 2 syncs failed, and what was written before may be lost", 1_000),
            ("app.log: 3 writes failed", 1_000),
        ];
        assert_eq!(texts(&history, 201), all.map(|(text, ms)| (text.to_owned(), ms)));
        assert_eq!(texts(&history, 499).len(), 6);
        assert_eq!(texts(&history, 500), [], "five minutes after the last");
        lost.skipped_lines = 24;
        history.note(sample(600, 0), &lost, &outputs(bad));
        assert_eq!(texts(&history, 600), [("limits dropped 1 line: see what limits did".to_owned(), 0)]);
    }

    #[test]
    fn outputs_that_fall_behind_are_told_and_those_that_only_have_much_to_write_are_not() {
        let lag = |waiting: &dyn Fn(u64) -> u64| {
            let mut history = History::default();
            for second in 1..=30 {
                history.note(sample(second, waiting(second)), &Counters::default(), &[]);
            }
            history.troubles(&[], 30_000).first().map(|trouble| trouble.for_ms)
        };
        assert_eq!(lag(&|second| second * 10_000), Some(29_000));
        assert_eq!(lag(&|second| if second < 15 { 0 } else { second * 10_000 }), Some(15_000));
        assert_eq!(lag(&|second| if second < 25 { 0 } else { second * 10_000 }), None, "for five seconds only");
        assert_eq!(lag(&|_| 1 << 20), None, "as many as before");
        assert_eq!(lag(&|second| second * 10), None, "little");
    }
}
