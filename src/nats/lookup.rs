//! What the stream's last message on our subject means: what is stored, and where to go on. Invariant: everything up to its last
//! line is stored, and nothing behind it is, so that no line is sent twice and none is left out, whatever became of a batch.

use super::answer::Message;
use super::{BoxId, Lines, Position};

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// Everything up to this line is stored.
    pub(super) stored: Position,
    /// What is known to be acked is not there any more: these lines are sent again.
    pub(super) rewind: Option<(u64, u64)>,
}

/// Why nothing may be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Objection {
    /// The message is of another box.
    OtherBox(BoxId),
    /// It is of this box, and our spool never had its segment: somebody else has a copy of it.
    Copied(Lines),
    /// It is of another program.
    Stranger,
}

/// What a message says. `known` is asked whether a batch may have been ours.
pub(super) fn found(
    message: &Message,
    box_id: &BoxId,
    acked: Option<&Position>,
    known: &mut dyn FnMut(&Lines) -> bool,
) -> Result<Start, Objection> {
    let Some(stored) = &message.stored else { return Err(Objection::Stranger) };
    if stored.box_id != *box_id {
        return Err(Objection::OtherBox(stored.box_id));
    }
    let lines = stored.lines;
    // The last one that was acked was ours, though the spool may have removed its segment.
    let was_acked = acked.is_some_and(|acked| acked.segment == lines.segment && lines.last <= acked.acked);
    if !was_acked && !known(&lines) {
        return Err(Objection::Copied(lines));
    }
    let stored = Position { acked: lines.last, sequence: message.sequence, segment: lines.segment };
    Ok(Start { stored, rewind: rewind(acked, lines.last) })
}

/// There is no message of ours. `was_removed`: the stream has removed it, as it does with old ones; else it has lost it.
pub(super) fn none(acked: Option<&Position>, was_removed: bool) -> Start {
    match acked {
        Some(acked) if was_removed || acked.sequence == 0 => {
            Start { stored: Position { sequence: 0, ..*acked }, rewind: None }
        }
        _ => Start { stored: Position::default(), rewind: rewind(acked, 0) },
    }
}

fn rewind(acked: Option<&Position>, last: u64) -> Option<(u64, u64)> {
    acked.filter(|acked| acked.acked > last).map(|acked| (last + 1, acked.acked))
}
