//! The sink as the server sees it: how much more it may be given, and when it is tried again after a failure (P8, P13).
//! Invariant: what waits for the sink never exceeds its share of the memory budget.

use std::io;
use std::time::Duration;

use super::alerts::Alerts;
use super::error::RunError;
use crate::config::limits::{LEAST_READ_BYTES, MemoryPlan, Overhead};
use crate::engine::framer::{LineSink, Lines};
use crate::engine::gap::Gap;
use crate::net::{LONGEST_DATAGRAM, Net, Source};
use crate::sink::{Loss, LossCause, Origin, Sink};

pub(super) struct Outlet<S> {
    pub(super) sink: S,
    overhead: Overhead,
    share: usize,
    /// Reading resumes when no more than this waits.
    resume_at: usize,
    /// The longest datagram that fits then, whatever it turns out to be.
    datagram_room: usize,
    is_stalled: bool,
    /// Everything is written, and the sink was asked to bring it to where it belongs for good.
    is_settling: bool,
    /// How often the sink had released a host when we last looked.
    releases: u64,
    /// The first of several outputs that was lost.
    loss: Option<Loss>,
    /// Lines that it did not get since.
    missed_lines: u64,
}

impl<S: Sink> Outlet<S> {
    pub(super) fn new(sink: S, plan: MemoryPlan, max_line: usize) -> Self {
        let (overhead, share) = (sink.overhead(), plan.sink_share);
        let mut outlet = Self {
            sink,
            overhead,
            share,
            resume_at: 0,
            datagram_room: 0,
            is_stalled: false,
            is_settling: false,
            releases: 0,
            loss: None,
            missed_lines: 0,
        };
        outlet.renew(max_line);
        outlet
    }

    /// What the sink adds to lines, or holds anyway, may be different from now on. Its share stays.
    pub(super) fn renew(&mut self, max_line: usize) {
        self.overhead = self.sink.overhead();
        let (overhead, share) = (self.overhead, self.share);
        let kept = overhead.most_kept(max_line);
        let least = overhead.least_share(max_line) - kept;
        let half = kept + share.saturating_sub(kept) / 2;
        self.resume_at = half.min(share.saturating_sub(least));
        self.datagram_room = self.bytes_in(share - self.resume_at, 0).unwrap_or_default().min(LONGEST_DATAGRAM);
    }

    /// How many bytes may be read from a connection that has `pending` bytes, so that whatever they turn out to be
    /// fits. `None`: too few to bother; the sink is full.
    #[inline(always)] // each read asks
    pub(super) fn allowance(&self, pending: usize) -> Option<usize> {
        let room = self.share.saturating_sub(self.sink.state().held);
        self.bytes_in(room, pending).filter(|bytes| *bytes >= LEAST_READ_BYTES)
    }

    /// How many bytes, behind `pending`, are sure to fit so much room.
    #[inline(always)] // each read asks
    fn bytes_in(&self, room: usize, pending: usize) -> Option<usize> {
        let room = room.checked_sub(self.overhead.at_most(pending, 1))?;
        // At worst each byte is a line of its own (`--keep-empty`).
        Some(room / (self.overhead.per_byte + self.overhead.per_line))
    }

    /// Whether a pending line may go out now.
    pub(super) fn has_room_for(&self, pending: usize) -> bool {
        self.sink.state().held.saturating_add(self.overhead.at_most(pending, 2)) <= self.share
    }

    /// The sink is full: nothing is read until it has taken enough. True if that is new.
    pub(super) fn stall(&mut self) -> bool {
        !std::mem::replace(&mut self.is_stalled, true)
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Has the sink write what waits; false if there was nothing to do.
    ///
    /// # Errors
    /// The sink is gone for good.
    pub(super) fn flush(&mut self, now: Duration) -> io::Result<bool> {
        let state = self.sink.state();
        // A sink that writes in its own time may have written it all.
        self.is_stalled &= state.waiting > 0 || state.held > self.resume_at;
        if state.waiting == 0 && !self.sink.due_in(now).is_some_and(|wait| wait.is_zero()) {
            return Ok(false);
        }
        self.sink.flush(now)?;
        self.is_stalled &= self.sink.state().held > self.resume_at;
        Ok(true)
    }

    /// Whether the sink has released a host that it held up since the last question.
    pub(super) fn has_released(&mut self) -> bool {
        let releases = self.sink.state().releases;
        std::mem::replace(&mut self.releases, releases) != releases
    }

    /// Remembers the first output that was lost, for the end, and what it missed since.
    pub(super) fn note_loss(&mut self, loss: Loss) {
        match (&self.loss, &loss.cause) {
            (None, _) => self.loss = Some(loss),
            (Some(first), LossCause::Missed { lines }) if first.output == loss.output => self.missed_lines += lines,
            _ => {}
        }
    }

    /// The first output that was lost, told at the end.
    pub(super) fn take_loss(&mut self) -> Option<RunError> {
        Some(RunError::of(self.loss.take()?, self.missed_lines))
    }

    /// Lines that the last output, which is gone, was passed over for.
    pub(super) fn missed_lines(&self, output: &str) -> u64 {
        match &self.loss {
            Some(Loss { output: lost, cause: LossCause::Missed { lines } }) if lost == output => *lines,
            _ => 0,
        }
    }

    /// Whether all up to a position is where it belongs. A sink that does not count is at 0 for ever: then nothing may
    /// wait in it.
    pub(super) fn has_delivered(&self, position: u64) -> bool {
        let state = self.sink.state();
        // Before its first byte one that counts owes nothing.
        let counts = position > 0 || state.taken > 0;
        state.delivered >= position && (counts || state.waiting == 0)
    }

    /// The server ends: whether all is written, and where it belongs for good. From the first time on nothing waits on
    /// purpose (`--flush-every`), so it is asked while something waits, too.
    pub(super) fn settle(&mut self, now: Duration) -> bool {
        let is_settled = self.sink.settle(now);
        let is_written = self.sink.state().waiting == 0;
        self.is_settling = is_written && !is_settled;
        is_written && is_settled
    }

    /// Whether the sink has work of its own left, of which its descriptors or its clock will tell.
    pub(super) fn is_settling(&self) -> bool {
        self.is_settling
    }

    pub(super) fn share(&self) -> usize {
        self.share
    }

    /// Whether so many lines with so many bytes fit.
    #[cfg(any(feature = "udp", feature = "poll"))]
    pub(super) fn fits(&self, bytes: usize, lines: usize) -> bool {
        self.sink.state().held.saturating_add(self.overhead.at_most(bytes, lines)) <= self.share
    }
}

/// Of UDP.
#[cfg(feature = "udp")]
impl<S: Sink> Outlet<S> {
    /// The longest datagram that is sure to fit: all of them, but with a tiny budget.
    pub(super) fn datagram_room(&self) -> usize {
        self.datagram_room
    }

    /// Whether a datagram may be read now. When reading resumes, that is so.
    pub(super) fn has_room_for_datagrams(&self) -> bool {
        self.allowance(0).is_some_and(|bytes| bytes >= self.datagram_room)
    }
}

/// Those who watch the lines through the status endpoint (`/tail`).
pub(super) trait Onlookers {
    /// Some lines of a peer went to the sink. `net` has the clock, as what onlookers take of the time is measured.
    fn lines<N: Net>(&mut self, net: &N, origin: &Origin<'_>, lines: Lines<'_>);
    /// An event told of one of them, or of one more.
    fn wake(&mut self, source: Source);
    /// How long until they are to be served.
    fn due_in(&self, now: Duration) -> Option<Duration>;
}

/// Without the status endpoint there are none.
#[cfg(not(feature = "status"))]
impl<L, T> Onlookers for std::marker::PhantomData<(L, T)> {
    fn lines<N: Net>(&mut self, _: &N, _: &Origin<'_>, _: Lines<'_>) {}

    fn wake(&mut self, _: Source) {}

    fn due_in(&self, _: Duration) -> Option<Duration> {
        None
    }
}

/// Gives one connection's lines to the sink, and shows them to the onlookers.
pub(super) struct Out<'a, S, O, N> {
    pub(super) net: &'a N,
    pub(super) sink: &'a mut S,
    pub(super) onlookers: &'a mut O,
    pub(super) alerts: &'a mut Option<Box<Alerts>>,
    pub(super) origin: Origin<'a>,
}

impl<S: Sink, O: Onlookers, N: Net> LineSink for Out<'_, S, O, N> {
    #[inline] // each block comes here
    fn lines(&mut self, lines: Lines<'_>) {
        self.sink.append(&self.origin, lines);
        self.onlookers.lines(self.net, &self.origin, lines);
        if let Some(alerts) = self.alerts {
            alerts.see(self.origin.peer, lines);
        }
    }

    fn gap(&mut self, gap: Gap) {
        self.sink.gap(&self.origin, gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{MemorySink, State};

    #[test]
    fn p5_a_pending_line_has_room_only_if_it_also_has_as_two_lines() {
        // `--long-lines split` makes two lines of a longest one and the `\r` behind it: two `\n`, which are added.
        let plan = MemoryPlan { sink_share: 10, pending_share: 10 };
        let outlet = Outlet::new(MemorySink::new(), plan, 7);
        assert_eq!((outlet.has_room_for(8), outlet.has_room_for(9)), (true, false));
    }

    /// A sink that stands as the test says, and takes so much at a flush.
    #[derive(Default)]
    struct Standing {
        state: State,
        takes: usize,
        due_in: Option<Duration>,
        is_settled: bool,
        flushes: u32,
    }

    impl Sink for Standing {
        fn append(&mut self, _: &Origin<'_>, _: Lines<'_>) {}

        fn flush(&mut self, _: Duration) -> io::Result<()> {
            self.flushes += 1;
            self.state.held -= self.takes;
            self.state.waiting -= self.takes;
            Ok(())
        }

        fn state(&self) -> State {
            self.state
        }

        fn due_in(&self, _: Duration) -> Option<Duration> {
            self.due_in
        }

        fn settle(&mut self, _: Duration) -> bool {
            self.is_settled
        }
    }

    /// One whose sink may hold 20,000 bytes, and does hold so many, of which so many wait.
    fn outlet(held: usize, waiting: usize) -> Outlet<Standing> {
        let state = State { held, waiting, ..State::default() };
        let plan = MemoryPlan { sink_share: 20_000, pending_share: 0 };
        Outlet::new(Standing { state, ..Standing::default() }, plan, 7)
    }

    #[test]
    fn p5_what_is_read_fits_though_each_byte_were_a_line_of_its_own() {
        assert_eq!(outlet(0, 0).allowance(0), Some(9_999));
        assert_eq!((outlet(1_000, 0).allowance(100), outlet(0, 0).share()), (Some(9_449), 20_000));
        let least = 20_000 - 1 - 2 * LEAST_READ_BYTES;
        assert_eq!((outlet(least, 0).allowance(0), outlet(least + 1, 0).allowance(0)), (Some(LEAST_READ_BYTES), None));
        assert_eq!((outlet(20_001, 0).allowance(0), outlet(0, 0).allowance(20_000)), (None, None));
    }

    #[test]
    fn p8_reading_goes_on_once_a_full_sink_has_taken_half() {
        for (takes, is_stalled) in [(9_999, true), (10_000, false)] {
            let mut outlet = outlet(20_000, 20_000);
            assert!(!outlet.is_stalled() && outlet.stall() && !outlet.stall(), "it is told once");
            outlet.sink.takes = takes;
            assert!(outlet.flush(Duration::ZERO).unwrap());
            assert_eq!(outlet.is_stalled(), is_stalled, "after {takes} bytes");
        }
    }

    #[test]
    fn p8_a_sink_that_wrote_in_its_own_time_is_not_full_any_more_and_not_asked() {
        for (held, waiting, is_stalled, flushes) in
            [(10_001, 0, true, 0), (10_000, 0, false, 0), (0, 0, false, 0), (15_000, 1, true, 1)]
        {
            let mut outlet = outlet(held, waiting);
            outlet.stall();
            assert_eq!(outlet.flush(Duration::ZERO).unwrap(), flushes > 0);
            assert_eq!(
                (outlet.is_stalled(), outlet.sink.flushes),
                (is_stalled, flushes),
                "{held} held, {waiting} wait"
            );
        }
    }

    #[test]
    fn p8_a_sink_is_flushed_when_its_time_has_come_though_nothing_waits() {
        for (ms, flushes) in [(0, 1), (1, 0)] {
            let mut outlet = outlet(0, 0);
            outlet.sink.due_in = Some(Duration::from_millis(ms));
            assert_eq!((outlet.flush(Duration::ZERO).unwrap(), outlet.sink.flushes), (flushes > 0, flushes));
        }
    }

    #[test]
    fn p17_what_is_delivered_is_what_the_sink_counts_or_all_if_it_does_not_count() {
        let has_delivered = |waiting, position| {
            let mut outlet = outlet(waiting, waiting);
            outlet.sink.state.delivered = 5;
            outlet.has_delivered(position)
        };
        assert_eq!((has_delivered(3, 5), has_delivered(0, 6)), (true, false));
        assert_eq!((has_delivered(3, 0), has_delivered(0, 0)), (false, true));
        let mut counting = outlet(3, 3);
        counting.sink.state.taken = 3;
        assert!(counting.has_delivered(0), "nothing came before what waits");
    }

    #[test]
    fn p11_it_has_settled_when_all_is_written_and_where_it_belongs() {
        for (waiting, is_settled, wanted, is_settling) in
            [(0, true, true, false), (0, false, false, true), (3, true, false, false), (3, false, false, false)]
        {
            let mut outlet = outlet(waiting, waiting);
            outlet.sink.is_settled = is_settled;
            assert_eq!((outlet.settle(Duration::ZERO), outlet.is_settling()), (wanted, is_settling));
        }
    }

    #[test]
    fn p11_the_first_output_that_was_lost_is_told_at_the_end() {
        let mut outlet = outlet(0, 0);
        assert!(outlet.take_loss().is_none());
        let mut note = |output: &str, cause| outlet.note_loss(Loss { output: output.to_owned(), cause });
        for output in ["one", "two"] {
            note(output, LossCause::Stuck { bytes: 0 });
            note(output, LossCause::Missed { lines: 7 });
        }
        let sentence = "gave up on one, which took nothing for --drain-timeout: 7 line(s) that came since are lost; ";
        let told = outlet.take_loss().unwrap().to_string();
        assert!(told.starts_with(sentence), "{told}");
    }
}
