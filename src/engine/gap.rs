//! What is missing from the output, and why: the value behind a gap mark (`--mark-gaps`).

use core::fmt;

/// Lines that were dropped at one place of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// How many lines are missing; a line of which only the start went out is one of them.
    pub lines: u64,
    /// How many bytes are missing, newlines not counted. Of one line no more than 4 GiB are counted here; the counters
    /// count all.
    pub bytes: u64,
    /// Why.
    pub why: Why,
}

/// Why lines are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Why {
    /// The line was longer than `--max-line` (P3): dropped whole, or all but its start.
    #[default]
    TooLong,
    /// The memory budget was used up, and this unfinished line was dropped for it (P5).
    Memory,
    /// The output took nothing for `--stall-timeout`, with `--on-stall drop`.
    Stalled,
    /// The length before a message could not be one (`framing=octet`): all that came behind it is one such line.
    BadLength,
    /// The disk was full, and the oldest rotated file had to go, with `--disk-full drop-oldest`.
    DiskFull,
    /// The host sent more datagrams than its `--rate` lets through (P26).
    Rate,
    /// The spool was full, and its oldest lines had to go, with `--spool-full drop-oldest`; or somebody removed them.
    SpoolFull,
    /// The spool's files are damaged there.
    Damaged,
    /// The line was longer than a message of the server may be.
    Payload,
    /// A page that is polled had moved on: what was on it in between was never seen, and nobody knows how much that is.
    PagePassed,
    /// The store refused this line for what it is.
    Refused,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "too-long",
            Self::Memory => "memory",
            Self::Stalled => "stalled",
            Self::BadLength => "bad-length",
            Self::DiskFull => "disk-full",
            Self::Rate => "rate",
            Self::SpoolFull => "spool-full",
            Self::Damaged => "damaged",
            Self::Payload => "payload",
            Self::PagePassed => "page-passed",
            Self::Refused => "refused",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p16_each_reason_has_its_word() {
        let all = [Why::TooLong, Why::Memory, Why::Stalled, Why::BadLength, Why::DiskFull, Why::Rate];
        assert_eq!(
            all.map(|why| why.to_string()),
            ["too-long", "memory", "stalled", "bad-length", "disk-full", "rate"]
        );
        let of_spools = [Why::SpoolFull, Why::Damaged, Why::Payload];
        assert_eq!(of_spools.map(|why| why.to_string()), ["spool-full", "damaged", "payload"]);
        assert_eq!([Why::PagePassed, Why::Refused].map(|why| why.to_string()), ["page-passed", "refused"]);
    }
}
