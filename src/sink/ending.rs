//! How what was written ends: what a line that is written in part has to know, and the one who writes behind it.

use std::io::IoSlice;
use std::mem;

use memchr::memrchr;

/// How a file, or what a descriptor got, ends, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// With the end of a line, or it is empty.
    Whole,
    /// In the middle of a line that is not gone on with: a newline ends it before the next line.
    Unended,
    /// In the middle of a line of ours, which begins so; the rest waits and goes to the same file. Should that be lost, the
    /// next one gets the line as a whole.
    Torn { start: Vec<u8> },
}

impl End {
    /// How many bytes of a line of ours the file ends with.
    pub(super) fn torn(&self) -> usize {
        if let Self::Torn { start } = self { start.len() } else { 0 }
    }

    /// The first `count` bytes of these parts, which are whole lines, were written behind it.
    #[inline]
    pub(super) fn note_lines(&mut self, parts: &[IoSlice<'_>], count: usize) {
        // Nearly every write takes all.
        if parts.iter().map(|part| part.len()).sum::<usize>() == count {
            *self = Self::Whole;
        } else {
            self.note(parts, count);
        }
    }

    /// The first `count` bytes of these parts were written behind it.
    pub(super) fn note(&mut self, parts: &[IoSlice<'_>], count: usize) {
        let (mut torn, mut left) = (self.torn(), count);
        for part in parts {
            let written = part.get(..left.min(part.len())).unwrap_or_default();
            left -= written.len();
            torn = memrchr(b'\n', written).map_or(torn + written.len(), |end| written.len() - end - 1);
        }
        // Hardly ever is anything to be kept.
        let before = mem::replace(self, Self::Whole);
        if torn > 0 {
            let mut start = if let Self::Torn { start } = before { start } else { Vec::new() };
            if torn <= count {
                start.clear();
            }
            let (mut skipped, mut left) = (count.saturating_sub(torn), count);
            for part in parts {
                let written = part.get(..left.min(part.len())).unwrap_or_default();
                left -= written.len();
                start.extend_from_slice(written.get(skipped..).unwrap_or_default());
                skipped = skipped.saturating_sub(written.len());
            }
            *self = Self::Torn { start };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_file_ends_is_known_after_any_part_of_a_write() {
        let parts = [&b"ab"[..], b"", b"c\n", b"d"].map(IoSlice::new);
        let torn = |start: &str| End::Torn { start: start.into() };
        let after = |before: &End| -> Vec<End> {
            (0..=5)
                .map(|count| {
                    let mut end = before.clone();
                    end.note(&parts, count);
                    end
                })
                .collect()
        };
        assert_eq!(after(&End::Whole), [End::Whole, torn("a"), torn("ab"), torn("abc"), End::Whole, torn("d")]);
        let found = after(&torn("xyz"));
        assert_eq!(found, [torn("xyz"), torn("xyza"), torn("xyzab"), torn("xyzabc"), End::Whole, torn("d")]);
    }
}
