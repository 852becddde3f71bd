//! The next receiver when there is a spool: what `Forward` sends, it gets from there as fast as it can send it. Nobody waits for
//! it: its lines are safe where they are. Invariant: what counts as acked was written to a connection at least [`KEPT`] bytes
//! ago, or was confirmed by the other side's goodbye.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::forward::{Forward, KEPT as KEPT_ON_ITS_WAY, PACKET};
use super::socket::SEND_BUFFER;
use crate::config::output::OutputOptions;
use crate::config::units::soonest;
use crate::sink::Interest;
use crate::sink::source::{Piece, Reached, Source};
use crate::sink::target::{Books, GATHERED_BYTES, Standing, Target, Took, Whose, Wrote};
use crate::sink::waiting::Parts;

/// What the other side's kernel has acknowledged and its program may not have read, and what ours holds and nobody has
/// acknowledged. How much that is at a moment only an `ioctl` tells (`SIOCOUTQ`), which is `unsafe`; this is the most.
pub(super) const KEPT: usize = KEPT_ON_ITS_WAY + 2 * SEND_BUFFER + PACKET;
/// Lines that lie so near each other are remembered as one place.
const NEAR_BYTES: u64 = 4096;
/// At the end, one that is connected gets lines for so long, and has so long again to confirm them.
const LAST_CALL: Duration = Duration::from_secs(1);

/// The next receiver, and where its lines come from.
pub(super) struct Reading {
    forward: Forward,
    source: Box<dyn Source>,
    /// Bytes that it was given end here with the line of this number.
    places: VecDeque<(u64, u64)>,
    reached: Reached,
    /// Bytes confirmed so far.
    confirmed: u64,
    /// The end has come: it is over then.
    over_at: Option<Duration>,
    is_over: bool,
}

impl Reading {
    /// An output for the next receiver, which keeps [`KEPT`] bytes to send them again.
    pub(super) fn new(forward: Forward, source: Box<dyn Source>) -> Self {
        let reached = source.reached().unwrap_or_default();
        Self { forward, source, places: VecDeque::new(), reached, confirmed: 0, over_at: None, is_over: false }
    }

    /// Whether it may be given lines.
    fn takes(&self) -> bool {
        self.forward.is_connected() && self.forward.waiting() < GATHERED_BYTES
    }

    /// Gives it what it takes.
    fn feed(&mut self, now: Duration, books: &mut Books) {
        let Self { forward, source, places, .. } = self;
        let mut aside = Books::default();
        source.read(now, books, &mut |piece: Piece<'_>| {
            if forward.waiting() >= GATHERED_BYTES {
                return false;
            }
            forward.take(Whose::Mark, [piece.bytes, &[], &[]], false, &mut aside);
            let (end, before) = (forward.taken(), places.len().checked_sub(2).and_then(|at| places.get(at)));
            let start = before.map_or(0, |(end, _)| *end);
            match places.back_mut().filter(|_| end.saturating_sub(start) < NEAR_BYTES) {
                Some(near) => *near = (end, piece.number),
                None => places.push_back((end, piece.number)),
            }
            true
        });
    }

    /// What was written is on its way, and what can't be sent again any more, it has.
    fn note_acked(&mut self) {
        let written = self.forward.taken() - self.forward.waiting() as u64;
        let sent = self.places.partition_point(|(end, _)| *end <= written);
        let sent =
            sent.checked_sub(1).and_then(|at| self.places.get(at)).map_or(self.reached.number, |(_, last)| *last);
        self.source.sent(sent);
        let confirmed = self.forward.confirmed();
        let mut last = None;
        while let Some((end, number)) = self.places.front().copied()
            && end <= confirmed
        {
            last = Some(number);
            self.places.pop_front();
        }
        if let Some(number) = last {
            let bytes = confirmed - self.confirmed;
            (self.confirmed, self.reached.number) = (confirmed, number);
            self.source.acked(self.reached, bytes);
        }
    }
}

impl Target for Reading {
    /// What comes is in the spool.
    fn take(&mut self, _: Whose<'_>, _: Parts<'_>, _: bool, _: &mut Books) -> Took {
        Took::Written
    }

    fn write(&mut self, now: Duration, books: &mut Books) -> io::Result<Wrote> {
        loop {
            self.forward.write(now, books)?;
            self.note_acked();
            if !self.takes() || !self.source.has_more() || self.is_over {
                break;
            }
            self.feed(now, books);
        }
        self.source.note(now, books);
        Ok(Wrote::All)
    }

    fn standing(&self) -> Standing {
        // What it has is in the spool, too: nobody waits for it, and it owes nobody anything.
        Standing { held: self.forward.standing().held, delivered: u64::MAX, ..Standing::default() }
    }

    fn drop_lines(&mut self) -> (u64, usize) {
        (0, 0)
    }

    fn away_since(&self) -> Option<Duration> {
        self.forward.away_since()
    }

    fn is_falling_behind(&self) -> bool {
        self.source.is_falling_behind()
    }

    fn passes_over_itself(&self) -> bool {
        true
    }

    fn due_in(&self, now: Duration) -> Option<Duration> {
        if self.is_over {
            return None;
        }
        if self.takes() && self.source.has_more() {
            return Some(Duration::ZERO);
        }
        let end = self.over_at.map(|at| at.saturating_sub(now));
        soonest(&[self.forward.due_in(now), self.source.due_in(now), end])
    }

    fn unwatched(&mut self) -> Option<(BorrowedFd<'_>, Interest)> {
        self.forward.unwatched()
    }

    fn ready(&mut self, is_gone: bool) -> bool {
        self.forward.ready(is_gone)
    }

    fn configure(&mut self, options: &OutputOptions, books: &mut Books) {
        self.forward.configure(options, books);
    }

    fn reopen(&mut self) {
        self.forward.reopen();
        self.source.reopen();
    }

    /// One that is connected gets what is there, for a moment, and says goodbye: so the next start knows what it has.
    fn settle(&mut self, now: Duration, books: &mut Books) -> bool {
        if self.is_over {
            return true;
        }
        let over_at = *self.over_at.get_or_insert(now + 2 * LAST_CALL);
        let has_time = now + LAST_CALL < over_at;
        let may_take = |forward: &Forward| forward.is_connected() || forward.is_dialling();
        if has_time && may_take(&self.forward) && self.source.has_rest() {
            let _ = self.write(now, books);
            if may_take(&self.forward) && self.source.has_rest() {
                return false;
            }
        }
        if now < over_at && self.forward.is_linked() && !self.forward.settle(now, books) {
            return false;
        }
        self.note_acked();
        self.source.note(now, books);
        self.source.close();
        self.is_over = true;
        true
    }
}
