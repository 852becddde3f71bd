//! How much memory pollers get, and how many of them that is enough for (P5). Invariant: there is always room for one page of
//! the longest kind, and beside it for small ones.

use crate::config::limits::Limits;
use crate::config::units::DisplaySize;
use crate::poll::{MOST_POLLERS, PollOptions};

/// What a page takes besides its lines' hashes, for each that is remembered, while it is looked at.
const SCRATCH_BYTES: usize = 48;
/// What a poller takes besides.
const POLLER_BYTES: usize = 8 * 1024;
/// Pages of the longest kind that may be here at once, if memory allows.
const MANY_PAGES: usize = 8;

/// How much memory pollers get.
pub(super) struct Plan {
    /// All of it.
    pub(super) share: usize,
    /// What of it is for what is remembered, by each; and for the page that is looked at.
    each: usize,
    looked_at: usize,
    /// What of it is for small pages alone.
    pub(super) kept: usize,
    /// How many pollers there may be.
    pub(super) most: usize,
}

impl Plan {
    /// For pollers with these options, of which there are so many at least; all pending lines together have `pending_share` so far.
    ///
    /// # Errors
    /// That is too little, as a sentence.
    pub(super) fn new(limits: &Limits, pending_share: usize, options: &PollOptions) -> Result<Self, String> {
        let each = POLLER_BYTES + 8 * options.seen;
        // A page as it comes and decompressed, or with what of it is new.
        let page = 2 * options.max_response;
        let kept = options.max_response / 4;
        // The one that is looked at may be there twice more, as JSON and as lines; and then there is the line that goes out.
        let looked_at = page + limits.max_line + SCRATCH_BYTES * options.seen;
        // One at least: they may be started later.
        let count = options.polls.len().max(1);
        let least = (page + kept + looked_at).saturating_add(count.saturating_mul(each));
        let room = pending_share.saturating_sub(limits.max_line + 1);
        if room < least {
            // Of what is added, pending lines get half at least.
            let missing = least + limits.max_line + 1 - pending_share;
            let needed = (limits.memory + 2 * missing).div_ceil(1024) * 1024;
            let (memory, needed) = (DisplaySize(limits.memory), DisplaySize(needed));
            return Err(format!(
                "--memory {memory} is too little for {count} page(s) to poll: give at least {needed}, or lower --poll-max-response or --poll-seen"
            ));
        }
        let much = least.saturating_add(MANY_PAGES * page);
        let share = least.max(much.min(limits.memory / 4)).min(room);
        let most = ((share - page - kept - looked_at) / each).min(MOST_POLLERS).max(count);
        Ok(Self { share, each, looked_at, kept, most })
    }

    /// What is left for pages that come, where there are so many pollers.
    pub(super) fn pool(&self, count: usize) -> usize {
        self.share.saturating_sub(self.looked_at + count * self.each)
    }
}

/// Bytes of the memory of clients that pollers take, all pending lines together having `pending_share` before.
///
/// # Errors
/// That is too little, as a sentence.
#[cfg(feature = "cli")]
pub(crate) fn poll_share(limits: &Limits, pending_share: usize, options: &PollOptions) -> Result<usize, String> {
    Plan::new(limits, pending_share, options).map(|plan| plan.share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(count: usize, max_response: usize, seen: usize) -> PollOptions {
        let polls = (0..count).map(|number| format!("p{number}=http://192.0.2.7/").parse().unwrap()).collect();
        PollOptions { polls, max_response, seen, ..PollOptions::default() }
    }

    fn plan(memory: usize, options: &PollOptions) -> Result<Plan, String> {
        Plan::new(&Limits { memory, ..Limits::default() }, memory / 2, options)
    }

    #[test]
    fn p5_the_memory_that_the_sentence_names_is_enough_and_always_has_room_for_a_page() {
        for (count, max_response, seen) in
            [(1, 1 << 20, 10_000), (100, 1 << 20, 10_000), (1, 4096, 1), (1000, 4096, 100)]
        {
            let options = options(count, max_response, seen);
            let sentence = plan(4096, &options).err().unwrap();
            let least = sentence.split("at least ").nth(1).unwrap().split(',').next().unwrap();
            let least = crate::config::units::parse_size(least).unwrap();
            let plan = plan(least, &options).unwrap();
            assert!(plan.most >= count && plan.pool(plan.most) - plan.kept >= 2 * max_response, "{sentence}");
            assert!(plan.pool(count) <= plan.share);
        }
    }

    #[test]
    fn p5_pollers_take_a_quarter_at_most_of_what_they_do_not_need() {
        let plan = plan(64 << 20, &options(1, 1 << 20, 10_000)).unwrap();
        assert!(plan.share <= 16 << 20 && plan.most > 50, "{} {}", plan.share, plan.most);
    }
}
