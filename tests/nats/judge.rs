//! Compares what clients sent and were told with what is in the stream: what is receipted is there once, what is not is
//! there once or not at all, each connection's lines are in order without a gap, what a client sends after a receipt is
//! behind what that is for, and the numbers that messages carry rise.

use std::collections::BTreeMap;

use super::jetstream::Stored;
use super::senders::{Sent, line_of, read_line};

/// What was found besides.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) lines: u64,
    pub(crate) messages: usize,
    /// Lines that were sent, have no receipt, and are not there.
    pub(crate) missing: u64,
    /// Lines that no client sent: marks.
    pub(crate) marks: Vec<String>,
}

/// How strict it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Everything that is receipted is there.
    Everything,
    /// The stream or the spool had no room for all, or something removed messages: what is there is in order, once, and
    /// nothing is missing between the first and the last that are there of a connection.
    TheNewest,
}

/// The first and last number that a message says it has.
fn numbers(stored: &Stored) -> Result<(u64, u64), String> {
    let at = stored.sequence;
    let text = stored.message.header("Lumberjack-Lines").ok_or(format!("message {at} has no Lumberjack-Lines"))?;
    let pair = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    pair.ok_or(format!("message {at} has the lines {text}"))
}

/// What is there of each client's lines so far.
struct Lines<'a> {
    rule: Rule,
    /// What was sent, by client and connection.
    sent: BTreeMap<(usize, usize), &'a Sent>,
    /// First number, and the one that comes next, by client and connection.
    there: BTreeMap<(usize, usize), (u64, u64)>,
    /// The newest connection of each client.
    newest: BTreeMap<usize, usize>,
}

impl Lines<'_> {
    /// One more; what is wrong with it.
    fn add(&mut self, (client, connection, number): (usize, usize, u64)) -> Result<(), String> {
        let who = (client, connection);
        // Where the oldest may be gone, any number may be a connection's first.
        let first = if self.rule == Rule::TheNewest { number } else { 0 };
        let place = self.there.entry(who).or_insert((first, first));
        if place.1 != number {
            return Err(format!("{connection}.{number} of client {client} instead of {}", place.1));
        }
        place.1 += 1;
        let newest = self.newest.entry(client).or_insert(connection);
        // A client that had its receipt sent the next connection's lines later. Without one both may have been on their way.
        let is_receipted = self.sent.get(&who).is_some_and(|sent| sent.receipted.is_some());
        if connection < *newest && is_receipted {
            return Err(format!("{connection}.{number} of client {client} behind its connection {newest}"));
        }
        *newest = connection.max(*newest);
        Ok(())
    }

    /// Compares with what was sent: how many lines are missing.
    fn end(mut self) -> Result<u64, String> {
        let mut missing = 0;
        for (who, one) in &self.sent {
            let (_, end) = self.there.remove(who).unwrap_or((0, 0));
            let least = if self.rule == Rule::Everything { one.receipted.unwrap_or(0) } else { 0 };
            if end < least || end > one.lines {
                return Err(format!("{end} lines are there of {one:?}"));
            }
            missing += one.lines - end;
        }
        match self.there.pop_first() {
            Some((who, lines)) => Err(format!("nobody sent {lines:?} of {who:?}")),
            None => Ok(missing),
        }
    }
}

/// What is wrong, or what was found.
pub(crate) fn judge(sent: &[Sent], stored: &[Stored], rule: Rule) -> Result<Found, String> {
    let mut found = Found { messages: stored.len(), ..Found::default() };
    // Of each subject: the last number so far, and whose it is.
    let mut subjects: BTreeMap<&str, (u64, String)> = BTreeMap::new();
    let sent = sent.iter().map(|sent| ((sent.client, sent.connection), sent)).collect();
    let mut lines = Lines { rule, sent, there: BTreeMap::new(), newest: BTreeMap::new() };
    for message in stored {
        let at = message.sequence;
        let (first, last) = numbers(message)?;
        let owner = message.message.header("Lumberjack-Box").ok_or(format!("message {at} has no box"))?.to_owned();
        let before = subjects.entry(&message.message.subject).or_insert((0, owner.clone()));
        if first <= before.0 || last < first || owner != before.1 {
            return Err(format!("message {at} has lines {first}-{last} of {owner} behind {before:?}"));
        }
        before.0 = last;
        let text = String::from_utf8(message.message.payload.clone()).map_err(|_| format!("message {at}: no UTF-8"))?;
        let mut count = 0;
        for line in text.split('\n') {
            count += 1;
            match read_line(line) {
                Some(numbers) => lines.add(numbers).map_err(|why| format!("message {at}: {why}"))?,
                None => found.marks.push(line.to_owned()),
            }
        }
        found.lines += count;
        if count > last - first + 1 {
            return Err(format!("message {at} has {count} lines, and says {first}-{last}"));
        }
    }
    found.missing = lines.end()?;
    found.lines -= found.marks.len() as u64;
    Ok(found)
}

/// [`judge`], and no mark is expected.
#[track_caller]
pub(crate) fn assert_everything(sent: &[Sent], stored: &[Stored], said: &str) -> Found {
    let found = judge(sent, stored, Rule::Everything).unwrap_or_else(|why| panic!("{why}\n{said}"));
    assert_eq!(found.marks, Vec::<String>::new(), "{said}");
    found
}

/// A message as the program sends it, for the test of the judge.
#[cfg(test)]
fn message(sequence: u64, lines: &str, which: &[(usize, usize, u64)]) -> Stored {
    let text: Vec<String> =
        which.iter().map(|(client, connection, number)| line_of(*client, *connection, *number)).collect();
    let headers = [("Lumberjack-Lines", lines), ("Lumberjack-Box", "b")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Stored { sequence, message: super::jetstream::Message::made("logs.b", headers, text.join("\n").into_bytes()) }
}

#[test]
fn the_judge_finds_what_is_doubled_missing_moved_or_torn() {
    let sent = [
        Sent { client: 1, connection: 0, lines: 2, receipted: Some(2) },
        Sent { client: 1, connection: 1, lines: 2, receipted: None },
        Sent { client: 2, connection: 0, lines: 1, receipted: Some(1) },
    ];
    let whole = |which: &[(usize, usize, u64)]| vec![message(1, &format!("1-{}", which.len()), which)];
    let judged = |stored: &[Stored]| judge(&sent, stored, Rule::Everything).map(|found| found.lines);
    assert_eq!(judged(&whole(&[(1, 0, 0), (2, 0, 0), (1, 0, 1)])), Ok(3), "what has no receipt may be missing");
    assert_eq!(judged(&whole(&[(1, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 0)])), Ok(4), "or be there in part");
    let doubled = judged(&whole(&[(1, 0, 0), (1, 0, 0), (1, 0, 1), (2, 0, 0)]));
    assert_eq!(doubled, Err("message 1: 0.0 of client 1 instead of 1".to_owned()));
    let missing = judged(&whole(&[(1, 0, 0), (1, 0, 1)]));
    assert_eq!(missing, Err(format!("0 lines are there of {:?}", sent[2])));
    let cut = judged(&whole(&[(1, 0, 0), (2, 0, 0)]));
    assert_eq!(cut, Err(format!("1 lines are there of {:?}", sent[0])));
    let moved = judged(&whole(&[(1, 1, 0), (1, 0, 0), (1, 0, 1), (2, 0, 0)]));
    assert_eq!(moved, Err("message 1: 0.0 of client 1 behind its connection 1".to_owned()));
    let gap = judged(&whole(&[(1, 0, 1), (2, 0, 0)]));
    assert_eq!(gap, Err("message 1: 0.1 of client 1 instead of 0".to_owned()));
    let again = [message(1, "1-2", &[(1, 0, 0), (1, 0, 1)]), message(2, "2-3", &[(2, 0, 0)])];
    assert_eq!(judged(&again), Err("message 2 has lines 2-3 of b behind (2, \"b\")".to_owned()));
    let mut torn = whole(&[(1, 0, 0), (2, 0, 0), (1, 0, 1)]);
    torn[0].message.payload.pop();
    assert_eq!(judged(&torn), Err(format!("1 lines are there of {:?}", sent[0])), "it counts as a mark");
    let newest = |stored: &[Stored]| judge(&sent, stored, Rule::TheNewest).map(|found| found.lines);
    assert_eq!(newest(&whole(&[(1, 0, 1), (2, 0, 0)])), Ok(2), "the oldest is gone");
    assert_eq!(newest(&whole(&[(1, 0, 1), (1, 0, 1)])), Err("message 1: 0.1 of client 1 instead of 2".to_owned()));
}
