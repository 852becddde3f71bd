//! Lines as they come, for viewers: filtered, as server-sent events. Invariant: what waits for a viewer is bounded, what is
//! done for viewers at a time is bounded, and each is told how many lines it missed.

use crate::engine::framer::Lines;
use crate::sink::{escape, write_number};

/// The most bytes that wait for one viewer: a screen or two of lines.
pub const MOST_WAITING: usize = 32 * 1024;
/// Bytes of a line that are shown; the rest is cut off.
const MOST_SHOWN: usize = 2 * 1024;
/// The most bytes of an event: each byte of a line may become six, and time, peer and length are added.
pub const MOST_EVENT_BYTES: usize = 6 * MOST_SHOWN + 256;
/// Lines are looked at in pieces of so many bytes, or of one line: each takes some microseconds.
const PIECE_BYTES: usize = 8 * 1024;

/// One viewer: which lines it wants to see, and how many it missed.
#[derive(Debug, Default)]
pub struct Viewer {
    /// What a line has to hold, and the place of its rarest byte, by which it is searched for.
    part: Vec<u8>,
    rare: usize,
    peer: Vec<u8>,
    /// The most bytes that may wait for it.
    most: usize,
    /// Lines that it was not shown, and was not told of yet.
    lost: u64,
    /// How many of these nobody has compared with what it wants.
    unsearched: u64,
}

/// Whose lines are shown, and when they came, as texts.
#[derive(Debug, Clone, Copy)]
pub struct Caption<'a> {
    /// When.
    pub time: &'a [u8],
    /// Whose.
    pub peer: &'a [u8],
}

impl Viewer {
    /// A viewer of lines that contain `substring`, from this peer, or from all peers with this address. At most `most` bytes
    /// wait for it.
    #[must_use]
    pub fn new(substring: Vec<u8>, peer: Vec<u8>, most: usize) -> Self {
        let rarity = |byte: &u8| COMMON.iter().position(|common| common == byte).unwrap_or(COMMON.len());
        let rare = substring.iter().enumerate().max_by_key(|(_, byte)| rarity(byte)).map_or(0, |(at, _)| at);
        Self { part: substring, rare, peer, most, ..Self::default() }
    }

    /// Whether it wants to see lines of this peer.
    #[must_use]
    pub fn wants(&self, peer: &[u8]) -> bool {
        let text = if self.peer.starts_with(b"[") { peer } else { peer.strip_prefix(b"[").unwrap_or(peer) };
        // After an address there may be a port, a bracket and a port, or a scope; after `unix` a number.
        let rest = text.strip_prefix(self.peer.as_slice());
        rest.is_some_and(|rest| self.peer.is_empty() || rest.first().is_none_or(|next| b":]#%".contains(next)))
    }

    /// Adds those lines of `piece` that it wants to `out`, or counts them as lost. The piece is of a peer that it wants to see,
    /// with a `\n` between two lines. `event` is room for one event.
    pub fn show(&mut self, mut piece: &[u8], by: Caption<'_>, event: &mut Vec<u8>, out: &mut Vec<u8>) {
        while !piece.is_empty() {
            let Some(at) = find(piece, &self.part, self.rare) else { return };
            let (before, behind) = piece.split_at(at);
            let start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
            let end = memchr::memchr(b'\n', behind).map_or(piece.len(), |end| at + end);
            // Else it was found across the end of a line, and so it is in none.
            if at + self.part.len() <= end {
                self.show_line(piece.get(start..end).unwrap_or_default(), by, event, out);
            }
            piece = piece.get(end + 1..).unwrap_or_default();
        }
    }

    fn show_line(&mut self, line: &[u8], by: Caption<'_>, event: &mut Vec<u8>, out: &mut Vec<u8>) {
        self.say_lost(out);
        // An event is only made if there may be room for it.
        let is_shown = self.has_room(out) && {
            write_event(by.time, by.peer, line, event);
            append(event, self.most, out)
        };
        self.lost = self.lost.saturating_add(u64::from(!is_shown));
    }

    /// Counts lines that nobody had the time to show it.
    pub fn pass_by(&mut self, lines: u64) {
        self.lost = self.lost.saturating_add(lines);
        if !self.part.is_empty() {
            self.unsearched = self.unsearched.saturating_add(lines);
        }
    }

    /// Adds to `out` how many lines it missed, if there are any and there is room.
    pub fn say_lost(&mut self, out: &mut Vec<u8>) {
        if !self.has_news(out) {
            return;
        }
        let mut event = b"event: lost\ndata: {\"lines\":".to_vec();
        write_number(self.lost, &mut event);
        event.extend_from_slice(b",\"unsearched\":");
        write_number(self.unsearched, &mut event);
        event.extend_from_slice(b"}\n\n");
        if append(&event, self.most, out) {
            (self.lost, self.unsearched) = (0, 0);
        }
    }

    /// Whether it missed lines, and can be told of it now: only when half is free, otherwise there would be such an event
    /// after every few lines.
    #[must_use]
    pub fn has_news(&self, out: &[u8]) -> bool {
        self.lost > 0 && out.len() <= self.most / 2
    }

    /// Whether it only has to be told how many lines it misses, as it has no room for more and wants them all.
    #[must_use]
    pub fn is_full(&self, out: &[u8]) -> bool {
        self.part.is_empty() && !self.has_room(out) && !self.has_news(out)
    }

    fn has_room(&self, out: &[u8]) -> bool {
        self.lost == 0 && out.len() < self.most
    }

    /// Bytes of memory that it takes, without what waits for it.
    #[must_use]
    pub fn held(&self) -> usize {
        self.part.capacity() + self.peer.capacity()
    }
}

/// Appends an event, unless `out` would then have more than `most` bytes; nor does its buffer ever get larger.
fn append(event: &[u8], most: usize, out: &mut Vec<u8>) -> bool {
    let needed = out.len() + event.len();
    if needed > most {
        return false;
    }
    if needed > out.capacity() {
        // Doubled, but never beyond `most`.
        let capacity = needed.next_power_of_two().min(most);
        out.reserve_exact(capacity - out.len());
    }
    out.extend_from_slice(event);
    true
}

/// Writes a line as an event.
fn write_event(time: &[u8], peer: &[u8], line: &[u8], event: &mut Vec<u8>) {
    event.clear();
    // A long line is cut between two characters.
    let is_start = |at: &usize| line.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
    let end = line.len().min(MOST_SHOWN);
    let end = (end.saturating_sub(3)..=end).rev().find(is_start).unwrap_or(end);
    event.extend_from_slice(b"data: {\"ts\":\"");
    event.extend_from_slice(time);
    event.extend_from_slice(b"\",\"peer\":\"");
    event.extend_from_slice(peer);
    event.extend_from_slice(b"\",\"line\":\"");
    escape(line.get(..end).unwrap_or_default(), event);
    if end < line.len() {
        event.extend_from_slice(" … (".as_bytes());
        write_number(line.len() as u64, event);
        event.extend_from_slice(b" bytes)");
    }
    event.extend_from_slice(b"\"}\n\n");
}

/// Calls `each` with the lines of a block, some at a time and a `\n` between two, until it answers that it has had enough.
/// Gives how many lines it did not look at.
pub fn look_at(lines: Lines<'_>, mut each: impl FnMut(&[u8]) -> bool) -> u64 {
    let (mut left, mut rest) = (lines.count, lines.body);
    if !lines.head.is_empty() || !lines.ended {
        let end = memchr::memchr(b'\n', rest).filter(|_| lines.ended).unwrap_or(rest.len());
        let (first, behind) = rest.split_at(end);
        if !each(&[lines.head, first].concat()) {
            return left;
        }
        (left, rest) = (left.saturating_sub(1), behind.get(1..).unwrap_or_default());
    }
    while !rest.is_empty() {
        let most = rest.get(..PIECE_BYTES).unwrap_or(rest);
        let end = memchr::memrchr(b'\n', most).or_else(|| memchr::memchr(b'\n', rest)).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(end);
        if !each(piece) {
            return left;
        }
        left = left.saturating_sub(memchr::memchr_iter(b'\n', piece).count() as u64 + 1);
        rest = behind.get(1..).unwrap_or_default();
    }
    left
}

/// Bytes that are common in lines, the most common first. All others are rarer.
const COMMON: &[u8] = b" etaoinsrh0ldc1um2f3pgw4y5b6v7k8x9:.-/=,_jqz";

/// Where `part` is in `text`. It is looked for by the byte at `rare`. A library's search is 15 KB of code and its time has a
/// bound; here the time is measured, and ends.
fn find(text: &[u8], part: &[u8], rare: usize) -> Option<usize> {
    let Some(byte) = part.get(rare) else { return Some(0) };
    let mut from = rare;
    loop {
        from += memchr::memchr(*byte, text.get(from..)?)?;
        let start = from - rare;
        if text.get(start..)?.starts_with(part) {
            return Some(start);
        }
        from += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: Caption<'_> = Caption { time: b"now", peer: b"unix#1" };

    /// The lines of a piece that somebody sees who looks for this.
    fn found(piece: &[u8], part: &[u8]) -> Vec<String> {
        let (mut viewer, mut out) = (Viewer::new(part.into(), Vec::new(), MOST_WAITING), Vec::new());
        viewer.show(piece, BY, &mut Vec::new(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let lines = text.split("\"line\":\"").skip(1);
        lines.map(|line| line.split('"').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_part_is_found_in_each_line_wherever_it_is_and_never_across_two() {
        for (piece, part, lines) in [
            ("one\ntwo\n\nthree", "", &["one", "two", "", "three"][..]),
            ("abc", "abc", &["abc"]),
            ("aabc\nab\nxabcabc\nbc", "abc", &["aabc", "xabcabc"]),
            ("abab\nba", "ba", &["abab", "ba"]),
            ("abab", "bb", &[]),
            ("zeez\nzeze", "eze", &["zeze"]),
            ("ab", "abc", &[]),
            ("a\nb\na\nb", "a\nb", &[]),
            ("a\n", "\n", &[]),
        ] {
            assert_eq!(found(piece.as_bytes(), part.as_bytes()), lines, "{piece:?} {part:?}");
        }
    }

    #[test]
    fn a_peer_is_all_of_an_address_with_or_without_its_port() {
        for (wanted, peer, is_in) in [
            ("", "192.0.2.7:5000", true),
            ("192.0.2.7", "192.0.2.7:5000", true),
            ("192.0.2.7:5000", "192.0.2.7:5000", true),
            ("192.0.2.7:500", "192.0.2.7:5000", false),
            ("192.0.2.7", "192.0.2.70:5000", false),
            ("::1", "[::1]:5000", true),
            ("[::1]", "[::1]:5000", true),
            ("[::1]:5000", "[::1]:5000", true),
            ("fe80::1", "[fe80::1%2]:5000", true),
            ("::1", "[::11]:5000", false),
            ("unix", "unix#12", true),
            ("unix#1", "unix#12", false),
        ] {
            let viewer = Viewer::new(Vec::new(), wanted.into(), MOST_WAITING);
            assert_eq!(viewer.wants(peer.as_bytes()), is_in, "{wanted:?} {peer}");
        }
    }

    /// What a viewer that wants everything is shown of a line.
    fn event(line: &[u8]) -> String {
        let mut event = Vec::new();
        write_event(b"now", b"unix#1", line, &mut event);
        assert!(event.len() <= MOST_EVENT_BYTES, "{}", event.len());
        String::from_utf8(event).unwrap()
    }

    #[test]
    fn a_line_becomes_one_event_whatever_is_in_it() {
        let text = event(b"a <script>\xff\"\r\0");
        let wanted = "data: {\"ts\":\"now\",\"peer\":\"unix#1\",\"line\":\"a <script>\u{fffd}\\\"\\u000d\\u0000\"}\n\n";
        assert_eq!(text, wanted);
        event(&[0; 100_000]);
        event(&[0xff; 100_000]);
    }

    #[test]
    fn a_long_line_is_cut_between_characters_and_its_length_is_said() {
        for shift in 0..4 {
            let line = format!("{}{}", "x".repeat(shift), "\u{1f600}".repeat(1000));
            let text = event(line.as_bytes());
            assert!(!text.contains('\u{fffd}'), "{shift}");
            assert!(text.ends_with(&format!("\u{1f600} … ({} bytes)\"}}\n\n", line.len())), "{shift}: {text}");
        }
    }

    fn lines(body: &[u8]) -> Lines<'_> {
        let count = body.iter().filter(|byte| **byte == b'\n').count() as u64;
        Lines { head: b"", body, count, ended: true }
    }

    /// The pieces that are looked at if so many are enough, and how many lines are left.
    fn seen(lines: Lines<'_>, most: usize) -> (Vec<String>, u64) {
        let mut seen = Vec::new();
        let left = look_at(lines, |piece| {
            let is_enough = seen.len() == most;
            if !is_enough {
                seen.push(String::from_utf8(piece.to_vec()).unwrap());
            }
            !is_enough
        });
        (seen, left)
    }

    #[test]
    fn lines_are_looked_at_in_pieces_of_whole_lines_and_those_that_are_left_are_counted() {
        let pieces = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let all = lines(b"a\nbc\nd\n");
        assert_eq!(seen(all, 9), (pieces(&["a\nbc\nd"]), 0));
        assert_eq!(seen(all, 0), (vec![], 3));
        let joined = Lines { head: b"12345", ..all };
        assert_eq!(seen(joined, 9), (pieces(&["12345a", "bc\nd"]), 0));
        assert_eq!(seen(joined, 1), (pieces(&["12345a"]), 2));
        let unended = Lines { head: b"12", body: b"34", count: 1, ended: false };
        assert_eq!(seen(unended, 9), (pieces(&["1234"]), 0));
        assert_eq!(seen(unended, 0), (vec![], 1));
        let (long, short) = ("x".repeat(PIECE_BYTES), "y".repeat(PIECE_BYTES / 2 - 1));
        let text = format!("{long}\n{short}\n{short}\n{short}\n");
        let both = format!("{short}\n{short}");
        assert_eq!(seen(lines(text.as_bytes()), 9), (pieces(&[&long, &both, &short]), 0));
        assert_eq!(seen(lines(text.as_bytes()), 1), (pieces(&[&long]), 3));
    }

    #[test]
    fn a_viewer_that_is_too_slow_holds_little_and_is_told_what_it_missed() {
        for most in [100, 5_000, MOST_WAITING] {
            let (mut viewer, mut out, mut event) = (Viewer::new(b"1".into(), Vec::new(), most), Vec::new(), Vec::new());
            let (mut accounted, mut unsearched) = (0, 0);
            let mut count = |out: &[u8]| {
                let (lines, passed_by) = count_in(out);
                accounted += lines;
                unsearched += passed_by;
            };
            for _round in 0..3 {
                for _ in 0..1_000 {
                    viewer.show(&b"0123456789\nnot asked for\n".repeat(10), BY, &mut event, &mut out);
                    assert!(out.capacity() <= most, "{}", out.capacity());
                }
                viewer.pass_by(7);
                count(&out);
                assert!(viewer.has_news(b"") && !viewer.has_news(&vec![0; most / 2 + 1]));
                out.clear();
            }
            viewer.say_lost(&mut out);
            count(&out);
            assert_eq!(
                (accounted, unsearched),
                (3 * 10_007, 21),
                "each is seen or said to be lost, with at most {most}"
            );
            out.clear();
            viewer.say_lost(&mut out);
            assert!(out.is_empty() && !viewer.has_news(&out), "said once");
        }
    }

    /// Lines that a viewer saw or was told to have missed, and how many of these nobody looked at.
    fn count_in(out: &[u8]) -> (u64, u64) {
        let text = std::str::from_utf8(out).unwrap();
        let sum = |name: &str| -> u64 {
            let numbers = text.split(name).skip(1).map(|rest| rest.split([',', '}']).next().unwrap());
            numbers.map(|number| number.parse::<u64>().unwrap()).sum()
        };
        let shown = text.matches("data: {\"ts\"").count() as u64;
        (shown + sum("event: lost\ndata: {\"lines\":"), sum(",\"unsearched\":"))
    }
}
