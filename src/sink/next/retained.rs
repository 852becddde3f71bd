//! Lines for the next receiver, held on to until it has them: what was written last may still be on its way when a
//! connection breaks, and is then sent again, from the start of a line. Invariant: `start <= written <= sent <= end`,
//! `start` is the start of a line, and of what was written on this connection at least the last `kept` bytes are here.

use memchr::{memchr, memchr_iter, memrchr};

use crate::sink::waiting::Parts;

/// The lines that wait, and before them those that may have to be sent again.
pub(super) struct Retained {
    buffer: Vec<u8>,
    /// Where it begins in `buffer`; what lies before was given up.
    start: usize,
    /// How far it has been written on the present connection.
    written: usize,
    /// How far it has been written on any.
    sent: usize,
    /// How many of the last bytes that were written may not have arrived.
    kept: usize,
}

impl Retained {
    /// An empty one, of which the last `kept` bytes that were written can be sent again.
    pub(super) fn new(kept: usize) -> Self {
        // Room for what is kept, as much again for the part that was given up, and twice as much for what waits. Memory that
        // was never touched is not resident. A buffer that grows while many clients have pending lines would lie above them,
        // and keep their memory from going back to the system.
        Self { buffer: Vec::with_capacity(4 * kept), start: 0, written: 0, sent: 0, kept }
    }

    /// Takes whole lines.
    pub(super) fn append(&mut self, parts: Parts<'_>) {
        parts.iter().for_each(|part| self.buffer.extend_from_slice(part));
    }

    /// The bytes that are to be written next on the present connection.
    pub(super) fn unwritten(&self) -> &[u8] {
        self.buffer.get(self.written..).unwrap_or_default()
    }

    pub(super) fn waiting(&self) -> usize {
        self.buffer.len() - self.written
    }

    pub(super) fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Bytes that were written on this connection, and may have to be sent again.
    pub(super) fn unconfirmed(&self) -> usize {
        self.written - self.start
    }

    /// Bytes that were never written on any connection.
    pub(super) fn unsent(&self) -> usize {
        self.buffer.len() - self.sent
    }

    /// A write took so many bytes.
    pub(super) fn wrote(&mut self, count: usize) {
        self.written = (self.written + count).min(self.buffer.len());
        self.sent = self.sent.max(self.written);
        let surely = self.buffer.get(self.start..self.written.saturating_sub(self.kept)).unwrap_or_default();
        if let Some(end) = memrchr(b'\n', surely) {
            self.start += end + 1;
            self.compact();
        }
    }

    /// The connection has ended, and what was written is where it belongs: only the line whose end was not written goes
    /// to the next one, whole. Returns how many bytes of that line are sent again.
    pub(super) fn all_arrived(&mut self) -> usize {
        let written = self.buffer.get(self.start..self.written).unwrap_or_default();
        self.start += memrchr(b'\n', written).map_or(0, |end| end + 1);
        let again = self.nothing_arrived();
        self.compact();
        again
    }

    /// The connection has ended, and nobody knows what has arrived: all that is here goes to the next one. Returns how many
    /// bytes are sent again.
    pub(super) fn nothing_arrived(&mut self) -> usize {
        let again = self.written - self.start;
        self.written = self.start;
        again
    }

    /// Drops the lines that were never written, but for the first, of which a part may have been, and those of which a part is
    /// among the next `begun` bytes, which are on their way. Returns how many lines and bytes it dropped.
    pub(super) fn drop_lines(&mut self, begun: usize) -> (u64, usize) {
        let sent = self.sent.max((self.written + begun).min(self.buffer.len()));
        let unsent = self.buffer.get(sent..).unwrap_or_default();
        let first = memchr(b'\n', unsent).map_or(unsent.len(), |end| end + 1);
        let rest = unsent.get(first..).unwrap_or_default();
        let dropped = (memchr_iter(b'\n', rest).count() as u64, rest.len());
        self.buffer.truncate(sent + first);
        self.compact();
        dropped
    }

    /// Frees the part of the buffer that was given up, once it is half of it: moving the rest then costs no more than
    /// writing it did.
    fn compact(&mut self) {
        if self.start * 2 >= self.buffer.len() {
            self.buffer.drain(..self.start);
            self.written -= self.start;
            self.sent -= self.start;
            self.start = 0;
            self.buffer.shrink_to(4 * self.kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const KEPT: usize = 16;

    #[derive(Debug, Clone)]
    enum Op {
        /// A line with so many letters, after its number.
        Take(usize),
        Write(usize),
        Goodbye,
        /// What of the last bytes written never arrived.
        Break(usize),
        DropLines,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (0..40_usize).prop_map(Op::Take),
            8 => (1..60_usize).prop_map(Op::Write),
            2 => Just(Op::Goodbye),
            1 => (0..=KEPT).prop_map(Op::Break),
        ]
    }

    /// Lines, what has been written of them, and what each receiver got.
    struct World {
        lines: Retained,
        /// The number of each line that was not dropped, and where it ends.
        taken: Vec<(usize, usize)>,
        next_number: usize,
        written: usize,
        sent: usize,
        connections: Vec<Vec<u8>>,
    }

    impl World {
        fn new() -> Self {
            let connections = vec![Vec::new()];
            Self { lines: Retained::new(KEPT), taken: Vec::new(), next_number: 0, written: 0, sent: 0, connections }
        }

        fn end(&self) -> usize {
            self.taken.last().map_or(0, |(_, end)| *end)
        }

        fn write(&mut self, count: usize) {
            let count = count.min(self.lines.waiting());
            let connection = self.connections.last_mut().unwrap();
            connection.extend_from_slice(&self.lines.unwritten()[..count]);
            self.lines.wrote(count);
            self.written += count;
            self.sent = self.sent.max(self.written);
        }

        fn run(&mut self, op: &Op) {
            match op {
                Op::Take(letters) => {
                    let line = format!("{}:{}\n", self.next_number, "x".repeat(*letters));
                    self.taken.push((self.next_number, self.end() + line.len()));
                    self.next_number += 1;
                    let (head, body) = line.as_bytes().split_at(1);
                    self.lines.append([head, body, b""]);
                }
                Op::Write(count) => self.write(*count),
                Op::Goodbye => {
                    self.written -= self.lines.all_arrived();
                    self.connections.push(Vec::new());
                }
                Op::Break(lost) => {
                    let connection = self.connections.last_mut().unwrap();
                    connection.truncate(connection.len().saturating_sub(*lost));
                    self.written -= self.lines.nothing_arrived();
                    self.connections.push(Vec::new());
                }
                Op::DropLines => {
                    let first = self.taken.iter().position(|(_, end)| *end > self.sent).unwrap_or(self.taken.len());
                    let rest = self.taken.split_off((first + 1).min(self.taken.len()));
                    let kept_end = self.end();
                    let bytes = rest.last().map_or(0, |(_, end)| end - kept_end);
                    assert_eq!(self.lines.drop_lines(0), (rest.len() as u64, bytes));
                }
            }
            self.check();
        }

        fn check(&self) {
            let lines = &self.lines;
            assert!(lines.start <= lines.written && lines.written <= lines.sent && lines.sent <= lines.buffer.len());
            assert_eq!(lines.waiting(), self.end() - self.written, "what waits");
            assert_eq!(lines.unsent(), self.end() - self.sent, "what was never sent");
            let held = &lines.buffer[lines.start..];
            let first = held.split(|byte| *byte == b'\n').next().unwrap();
            assert!(held.is_empty() || number_of(first).is_some(), "it begins in the middle of a line");
            // A number of up to three digits, and 40 letters.
            assert!(lines.unconfirmed() <= KEPT + 45, "{} bytes held on to", lines.unconfirmed());
            assert!(lines.start * 2 < lines.buffer.len().max(1), "what was given up takes more than what is held");
        }

        /// The numbers of the whole lines that each receiver got.
        fn received(&self) -> Vec<Vec<usize>> {
            let whole = |bytes: &Vec<u8>| {
                let text = String::from_utf8(bytes.clone()).unwrap();
                let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
                lines.map(|line| number_of(line.trim_end().as_bytes()).unwrap()).collect()
            };
            self.connections.iter().map(whole).collect()
        }
    }

    fn number_of(line: &[u8]) -> Option<usize> {
        let (number, letters) = std::str::from_utf8(line).ok()?.split_once(':')?;
        letters.bytes().all(|letter| letter == b'x').then_some(())?;
        number.parse().ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn p1_whatever_breaks_every_line_arrives_and_once_if_goodbye_was_said(
            ops in vec(op(), 0..60),
            drops_at in proptest::option::of(0..60_usize),
        ) {
            let mut world = World::new();
            for (number, op) in ops.iter().enumerate() {
                if drops_at == Some(number) {
                    world.run(&Op::DropLines);
                }
                world.run(op);
            }
            world.write(usize::MAX);
            world.run(&Op::Goodbye);
            let wanted: Vec<usize> = world.taken.iter().map(|(number, _)| *number).collect();
            let received = world.received();
            let mut reached = 0;
            for numbers in received.iter().filter(|numbers| !numbers.is_empty()) {
                let first = wanted.iter().position(|number| *number == numbers[0]).unwrap();
                prop_assert!(first <= reached, "a gap before {}", numbers[0]);
                prop_assert_eq!(&wanted[first..first + numbers.len()], &numbers[..], "order");
                reached = reached.max(first + numbers.len());
            }
            prop_assert_eq!(reached, wanted.len(), "lines that never arrived");
            if !ops.iter().any(|op| matches!(op, Op::Break(_))) {
                prop_assert_eq!(received.concat(), wanted, "more than once");
            }
            prop_assert_eq!(world.lines.held(), 0);
        }
    }

    fn holding(written: &[u8], waiting: &[u8]) -> Retained {
        let mut lines = Retained::new(KEPT);
        lines.append([written, waiting, b""]);
        lines.wrote(written.len());
        lines
    }

    #[test]
    fn what_is_sent_again_begins_with_a_line() {
        for (written, waiting, after_goodbye, after_break) in [
            ("", "", "", ""),
            ("", "one\n", "one\n", "one\n"),
            ("one\n", "", "", "one\n"),
            ("one\ntw", "o\n", "two\n", "one\ntwo\n"),
            ("one\ntwo\n", "three\n", "three\n", "one\ntwo\nthree\n"),
            ("on", "e\n", "one\n", "one\n"),
            // Of these 20 and 17 bytes 16 may be on their way: the first line is not, in the first case.
            ("1\n456789abcdef\n0123\n", "", "", "456789abcdef\n0123\n"),
            ("12345\n456789abcd\n", "", "", "12345\n456789abcd\n"),
        ] {
            let mut lines = holding(written.as_bytes(), waiting.as_bytes());
            let again = lines.nothing_arrived();
            let text = String::from_utf8_lossy(lines.unwritten()).into_owned();
            assert_eq!((text.as_str(), again), (after_break, after_break.len() - waiting.len()), "{written:?} broken");
            let mut lines = holding(written.as_bytes(), waiting.as_bytes());
            let again = lines.all_arrived();
            let text = String::from_utf8_lossy(lines.unwritten()).into_owned();
            assert_eq!((text.as_str(), again), (after_goodbye, after_goodbye.len() - waiting.len()), "{written:?}");
        }
    }

    #[test]
    fn a_line_that_was_sent_is_never_dropped() {
        let mut lines = holding(b"one\ntwo\nth", b"ree\nfour\nfive\n");
        assert_eq!(lines.drop_lines(0), (2, 10));
        assert_eq!(lines.nothing_arrived(), 10);
        assert_eq!(lines.unwritten(), b"one\ntwo\nthree\n");
        assert_eq!(lines.drop_lines(0), (0, 0), "though it is to be sent again");
    }

    #[test]
    fn p34_nor_is_one_that_is_in_a_record_on_its_way() {
        // holding() has written the first nine bytes; the record has some more.
        let begun = |bytes| holding(b"one\ntwo\nth", b"ree\nfour\nfive\nsix\n").drop_lines(bytes);
        assert_eq!(
            [begun(0), begun(3), begun(4), begun(8), begun(9), begun(99)],
            [(3, 14), (3, 14), (2, 9), (2, 9), (1, 4), (0, 0)]
        );
    }

    #[test]
    fn p19_what_is_held_is_what_waits_and_what_may_have_to_be_sent_again() {
        let mut lines = Retained::new(4);
        lines.append([b"one\n", b"two\n", b"three\n"]);
        let sums = |lines: &Retained| [lines.held(), lines.unconfirmed(), lines.waiting(), lines.unsent()];
        assert_eq!(sums(&lines), [14, 0, 14, 14]);
        lines.wrote(9);
        assert_eq!(sums(&lines), [10, 5, 5, 5], "the first line is where it belongs");
        assert_eq!(lines.nothing_arrived(), 5);
        assert_eq!(sums(&lines), [10, 0, 10, 5]);
    }

    #[test]
    fn p5_what_was_given_up_takes_no_more_room_than_what_is_held() {
        let mut lines = Retained::new(4);
        lines.append([b"a line that always waits\n", b"", b""]);
        for _ in 0..1_000 {
            lines.append([b"a line that always waits\n", b"", b""]);
            lines.wrote(25);
            assert!(lines.buffer.len() <= 2 * lines.held(), "{} for {}", lines.buffer.len(), lines.held());
        }
    }
}
