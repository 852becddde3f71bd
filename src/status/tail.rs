//! Lines as they come, for viewers: filtered, as server-sent events. Invariant: what waits for a viewer is bounded, what is
//! searched for all viewers in one pass is bounded, and each is told how many lines it missed.

use crate::engine::framer::Lines;
use crate::sink::{escape, write_number};

/// The most bytes that wait for one viewer: a screen or two of lines.
pub const MOST_WAITING: usize = 32 * 1024;
/// Bytes of a line that are shown; the rest is cut off.
const MOST_SHOWN: usize = 2 * 1024;
/// The most bytes of an event: each byte of a line may become six, and time, peer and length are added.
pub const MOST_EVENT_BYTES: usize = 6 * MOST_SHOWN + 256;

/// One viewer: which lines it wants to see, and how many it missed.
#[derive(Debug, Default)]
pub struct Viewer {
    substring: Vec<u8>,
    peer: Vec<u8>,
    /// The most bytes that may wait for it.
    most: usize,
    lost: u64,
}

impl Viewer {
    /// A viewer of lines that contain `substring`, from this peer, or from all peers with this address. At most `most` bytes
    /// wait for it.
    #[must_use]
    pub fn new(substring: Vec<u8>, peer: Vec<u8>, most: usize) -> Self {
        Self { substring, peer, most, lost: 0 }
    }

    /// Whether it wants to see lines of this peer.
    #[must_use]
    pub fn wants(&self, peer: &[u8]) -> bool {
        let text = if self.peer.starts_with(b"[") { peer } else { peer.strip_prefix(b"[").unwrap_or(peer) };
        // After an address there may be a port, a bracket and a port, or a scope; after `unix` a number.
        let rest = text.strip_prefix(self.peer.as_slice());
        rest.is_some_and(|rest| self.peer.is_empty() || rest.first().is_none_or(|next| b":]#%".contains(next)))
    }

    /// Adds a line of a peer that it wants to see to `out`, or counts it as lost. `event` is the line as an event, which is
    /// made once for all viewers.
    pub fn line(&mut self, line: &[u8], event: &[u8], out: &mut Vec<u8>) {
        if !holds(line, &self.substring) {
            return;
        }
        self.say_lost(out);
        if self.lost > 0 || !append(event, self.most, out) {
            self.lose(1);
        }
    }

    /// Counts lines that it was not shown.
    pub fn lose(&mut self, lines: u64) {
        self.lost = self.lost.saturating_add(lines);
    }

    /// Adds to `out` how many lines it missed, if there are any and there is room.
    pub fn say_lost(&mut self, out: &mut Vec<u8>) {
        if self.lost == 0 {
            return;
        }
        let mut event = b"event: lost\ndata: {\"lines\":".to_vec();
        write_number(self.lost, &mut event);
        event.extend_from_slice(b"}\n\n");
        // Only when half is free: otherwise there would be such an event after every few lines.
        if out.len() <= self.most / 2 && append(&event, self.most, out) {
            self.lost = 0;
        }
    }

    /// Whether a line could be shown to it.
    #[must_use]
    pub fn has_room(&self, out: &[u8]) -> bool {
        out.len() <= self.most / 2 || (self.lost == 0 && out.len() < self.most)
    }

    /// Whether it missed lines that it was not told of yet.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// Bytes of memory that it takes, without what waits for it.
    #[must_use]
    pub fn held(&self) -> usize {
        self.substring.capacity() + self.peer.capacity()
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
pub fn write_event(time: &[u8], peer: &[u8], line: &[u8], event: &mut Vec<u8>) {
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

/// Calls `each` with every line that ends within the first `most` bytes of a block. Returns how many these are.
pub fn look_at(lines: Lines<'_>, most: usize, mut each: impl FnMut(&[u8])) -> u64 {
    let mut part = lines;
    if lines.head.len() + lines.body.len() > most {
        let body = lines.body.get(..most.saturating_sub(lines.head.len())).unwrap_or_default();
        let Some(end) = memchr::memrchr(b'\n', body).filter(|_| lines.ended) else { return 0 };
        part.body = body.get(..end + 1).unwrap_or_default();
    }
    let mut count = 0;
    part.each(|head, body| {
        count += 1;
        if head.is_empty() { each(body) } else { each(&[head, body].concat()) }
    });
    count
}

/// Whether `line` contains `part`. A faster search would be 8 KB of code, and nobody reads faster than this one finds.
fn holds(mut line: &[u8], part: &[u8]) -> bool {
    let Some((first, _)) = part.split_first() else { return true };
    while let Some(at) = memchr::memchr(*first, line) {
        line = line.get(at..).unwrap_or_default();
        if line.starts_with(part) {
            return true;
        }
        line = line.get(1..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_wherever_it_is() {
        for (line, part, found) in [
            ("", "", true),
            ("abc", "", true),
            ("abc", "abc", true),
            ("aabc", "abc", true),
            ("abab", "ba", true),
            ("abab", "bb", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(holds(line.as_bytes(), part.as_bytes()), found, "{line} {part}");
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

    fn seen(lines: Lines<'_>, most: usize) -> Vec<String> {
        let mut seen = Vec::new();
        let count = look_at(lines, most, |line| seen.push(String::from_utf8(line.to_vec()).unwrap()));
        assert_eq!(count, seen.len() as u64);
        seen
    }

    #[test]
    fn only_whole_lines_within_the_bound_are_looked_at() {
        let all = lines(b"a\nbc\nd\n");
        assert_eq!(seen(all, 7), ["a", "bc", "d"]);
        assert_eq!(seen(all, 6), ["a", "bc"]);
        assert_eq!(seen(all, 4), ["a"]);
        assert!(seen(all, 1).is_empty());
        let joined = Lines { head: b"12345", ..all };
        assert_eq!(seen(joined, 12), ["12345a", "bc", "d"]);
        assert_eq!(seen(joined, 7), ["12345a"]);
        assert!(seen(joined, 6).is_empty() && seen(joined, 3).is_empty());
        let unended = Lines { head: b"12", body: b"34", count: 1, ended: false };
        assert_eq!(seen(unended, 4), ["1234"]);
        assert!(seen(unended, 3).is_empty());
    }

    #[test]
    fn a_viewer_that_is_too_slow_holds_little_and_is_told_what_it_missed() {
        for most in [100, 5_000, MOST_WAITING] {
            let (mut viewer, mut out, mut event) =
                (Viewer::new(b"1".to_vec(), Vec::new(), most), Vec::new(), Vec::new());
            let mut accounted = 0;
            for _round in 0..3 {
                for line in [&b"0123456789"[..]; 10_000] {
                    write_event(b"now", b"unix#1", line, &mut event);
                    viewer.line(line, &event, &mut out);
                    assert!(out.capacity() <= most, "{}", out.capacity());
                }
                viewer.line(b"not asked for", &event, &mut out);
                viewer.lose(7);
                accounted += count_in(&out);
                out.clear();
            }
            viewer.say_lost(&mut out);
            accounted += count_in(&out);
            assert_eq!(accounted, 3 * 10_007, "each is seen or said to be lost, with at most {most}");
            out.clear();
            viewer.say_lost(&mut out);
            assert!(out.is_empty() && !viewer.has_lost(), "said once");
        }
    }

    /// Lines that a viewer saw, and that it was told to have missed.
    fn count_in(out: &[u8]) -> u64 {
        let text = std::str::from_utf8(out).unwrap();
        let lost = text.split("event: lost\ndata: {\"lines\":").skip(1);
        let lost: u64 = lost.map(|rest| rest.split('}').next().unwrap().parse::<u64>().unwrap()).sum();
        lost + text.matches("data: {\"ts\"").count() as u64
    }
}
