//! What answers mean for a session: whether the stream is fit, what it has, and what became of a batch. Invariant: after any
//! answer but an ack, the stream is looked at before the next batch.

use core::time::Duration;

use super::super::answer::{Facts, Refusal, Stream};
use super::super::lookup::{self, Objection, Start};
use super::super::request::Question;
use super::super::trouble::{Trouble, Unfit};
use super::{
    BATCH_BYTES, Event, FIRST_PAUSE, LEAST_ROOM, LOOK_EVERY, Lines, MOST_CONTESTED, MOST_FAILURES, MOST_MESSAGE, Phase,
    Position, Session, Unacked,
};

impl Session {
    /// An answer to a question; `None` if it can't be read.
    pub(super) fn answered(
        &mut self,
        question: Question,
        facts: Option<Facts>,
        now: Duration,
        known: &mut dyn FnMut(&Lines) -> bool,
    ) {
        self.decide(question, facts, now, known);
        // What a look has found wrong is over once another one finds nothing.
        self.link.was_ready &= !matches!(self.phase, Phase::Pausing { .. });
    }

    fn decide(
        &mut self,
        question: Question,
        facts: Option<Facts>,
        now: Duration,
        known: &mut dyn FnMut(&Lines) -> bool,
    ) {
        let Some(facts) = facts else {
            return self.puzzled(question, now);
        };
        let code = facts.refusal.as_ref().map(|refusal| refusal.code);
        match (question, code) {
            (Question::Stream | Question::StreamAgain, Some(10059))
                if self.settings.create.is_some() && !self.link.was_made =>
            {
                self.link.was_made = true;
                self.ask(Question::Create, now);
            }
            // 10058: there is one with other settings; another box may have been faster. What they are is looked at.
            (Question::Create, None | Some(10058)) => self.ask(Question::Stream, now),
            (Question::Last, Some(10037)) => match self.acked {
                Some(acked) if acked.sequence > 0 => self.ask(Question::LastSequence, now),
                _ => self.go(lookup::none(self.acked.as_ref(), true)),
            },
            (Question::AtSequence(_), Some(10037)) => self.go(lookup::none(self.acked.as_ref(), true)),
            (_, Some(_)) => self.refused(question, facts.refusal.unwrap_or_default(), now),
            (Question::Stream | Question::StreamAgain, None) => match facts.config {
                Some(stream) => self.found_stream(question, stream, now),
                None => self.puzzled(question, now),
            },
            (Question::Last, None) => match facts.message {
                Some(message) => match lookup::found(&message, &self.settings.box_id, self.acked.as_ref(), known) {
                    Ok(start) => self.go(start),
                    Err(objection) => self.objects(objection, now),
                },
                None => self.puzzled(question, now),
            },
            (Question::LastSequence, None) => {
                let ours = self.acked.unwrap_or_default().sequence;
                match facts.last_sequence {
                    Some(last) if last < ours => self.go(lookup::none(self.acked.as_ref(), false)),
                    Some(_) => self.ask(Question::AtSequence(ours), now),
                    None => self.puzzled(question, now),
                }
            }
            (Question::AtSequence(_), None) => match facts.message {
                // Somebody else's is where ours was.
                Some(message) if !message.is_of_our_subject => self.go(lookup::none(self.acked.as_ref(), false)),
                // Ours is there, and was said not to be.
                _ => self.puzzled(Question::Last, now),
            },
        }
    }

    /// An answer makes no sense, or not together with another.
    fn puzzled(&mut self, question: Question, now: Duration) {
        self.fails(Trouble::Puzzling, question, now);
    }

    /// No answer has come.
    pub(super) fn ask_again(&mut self, question: Question, now: Duration) {
        self.link.failures += 1;
        if self.link.failures >= MOST_FAILURES {
            return self.close(Some(Trouble::Unanswered));
        }
        self.ask(question, now);
    }

    /// An answer is of no use: says so, and asks once more; then another server.
    #[inline(never)] // one copy, for size
    fn fails(&mut self, trouble: Trouble, then: Question, now: Duration) {
        self.link.failures += 1;
        if self.link.failures >= MOST_FAILURES {
            return self.close(Some(trouble));
        }
        self.tell(Event::Trouble(trouble));
        self.wait(then, now);
    }

    /// A question was answered with an error.
    fn refused(&mut self, question: Question, refusal: Refusal, now: Duration) {
        let stream = self.settings.stream.clone();
        let Refusal { code, description: said } = refusal;
        let trouble = match code {
            503 | 10039 | 10076 => {
                // Another server of the cluster may have it.
                return self.fails(Trouble::NoJetStream, Question::Stream, now);
            }
            _ if question == Question::Create => Trouble::NotMade { stream, said },
            10059 => Trouble::NoStream(stream),
            // For a moment: a leader is elected.
            10008 => {
                self.tell(Event::Trouble(Trouble::Refused { code, said }));
                return self.wait(Question::Stream, now);
            }
            _ => Trouble::Refused { code, said },
        };
        self.hold(trouble, now);
    }

    /// The stream is there.
    fn found_stream(&mut self, question: Question, stream: Stream, now: Duration) {
        let why = match &stream {
            _ if stream.retention != "limits" => Some(Unfit::Retention(stream.retention.clone())),
            _ if stream.has_no_acks => Some(Unfit::NoAck),
            _ if stream.has_transform => Some(Unfit::Transform),
            _ if stream.is_bounded_by_subject => Some(Unfit::PerSubject),
            _ if stream.is_sealed => Some(Unfit::Sealed),
            _ => None,
        };
        let name = self.settings.stream.clone();
        if let Some(why) = why {
            return self.hold(Trouble::Unfit { stream: name, why }, now);
        }
        if !stream.covers_ours {
            let subject = self.settings.subject.clone();
            return self.hold(Trouble::NotTaken { stream: name, subject, takes: stream.subjects }, now);
        }
        if stream.max_msg_size != self.max_msg_size {
            self.max_msg_size = stream.max_msg_size;
            self.ceiling = usize::MAX;
        }
        if self.is_too_small() {
            // Limits that were raised are told to new connections only.
            return self.close(Some(Trouble::TooSmall { most: self.room() }));
        }
        self.link.look_at = now + LOOK_EVERY;
        self.tell_unacked(now);
        if question == Question::StreamAgain {
            // Nothing was in flight, so what it has is known.
            self.link.failures = 0;
            self.phase = Phase::Ready;
            return self.leave();
        }
        self.link.stream = Some(stream);
        self.ask(Question::Last, now);
    }

    pub(super) fn is_too_small(&self) -> bool {
        self.room() < self.header_bytes + LEAST_ROOM
    }

    /// The longest message that fits, headers and all.
    #[inline(never)] // one copy, for size
    pub(super) fn room(&self) -> usize {
        let narrow = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let most = [self.max_payload, self.max_msg_size.unwrap_or(u64::MAX), MOST_MESSAGE].into_iter().min();
        narrow(most.unwrap_or_default()).min(self.ceiling)
    }

    /// It is known where to go on.
    #[inline(never)] // one copy, for size
    fn go(&mut self, start: Start) {
        self.link.failures = 0;
        self.base = start.stored;
        self.rewind = start.rewind;
        self.is_doubtful = self.acked != Some(start.stored) && (self.is_doubtful || start.rewind.is_some());
        self.was_acked = false;
        // An old leader knows nothing of later messages: one that is later, with fewer lines, tells of a loss for certain.
        if self.acked.is_some_and(|acked| acked.sequence > 0 && acked.sequence < start.stored.sequence) {
            self.tell_rewind();
        }
        if self.rewind.is_none() && self.acked != Some(start.stored) {
            self.tell_stored(start.stored, Event::Found);
        }
        self.phase = Phase::Ready;
        if let Some(stream) = self.link.stream.take().filter(|_| !self.link.was_ready) {
            self.link.was_ready = true;
            self.tell(Event::Ready(stream));
        }
        self.leave();
    }

    fn objects(&mut self, objection: Objection, now: Duration) {
        let subject = self.settings.subject.clone();
        let trouble = match objection {
            Objection::OtherBox(other) => Trouble::OtherBox { subject, other, ours: self.settings.box_id },
            Objection::Copied(lines) => Trouble::Copied { subject, lines },
            Objection::Stranger => Trouble::Stranger(subject),
        };
        self.hold(trouble, now);
    }

    /// What became of the batch in flight, headers and all of so many bytes.
    pub(super) fn judged(&mut self, lines: Lines, bytes: usize, facts: Facts, now: Duration) {
        if let Some(refusal) = facts.refusal {
            return self.rejected(bytes, refusal, now);
        }
        if !facts.stream.is_empty() && facts.stream != self.settings.stream {
            // Ours may answer yet.
            let ours = self.settings.stream.clone();
            return self.tell(Event::Trouble(Trouble::OtherStream { stream: facts.stream, ours }));
        }
        let (Some(sequence), false) = (facts.sequence, facts.stream.is_empty()) else { return };
        let position = Position { acked: lines.last, sequence, segment: lines.segment };
        self.tell_rewind();
        self.tell_stored(position, Event::Acked);
        self.base = position;
        self.status.last_ack = Some(now);
        self.status.batches_total += 1;
        self.was_acked = true;
        self.unacked = Unacked::default();
        self.contested = 0;
        self.link.failures = 0;
        self.pause = FIRST_PAUSE;
        self.aim = (self.aim * 2).min(BATCH_BYTES);
        self.phase = Phase::Ready;
        self.leave();
    }

    #[inline(never)] // one copy, for size
    fn tell_stored(&mut self, position: Position, event: fn(Position) -> Event) {
        self.is_urgent |= core::mem::take(&mut self.is_doubtful);
        self.acked = Some(position);
        self.tell(event(position));
    }

    #[inline(never)] // one copy, for size
    fn tell_rewind(&mut self) {
        if let Some((first, last)) = self.rewind.take() {
            self.status.rewinds_total += 1;
            self.tell(Event::Rewound { first, last });
        }
    }

    /// The batch in flight was refused, as far as this answer tells; the look-up decides.
    fn rejected(&mut self, bytes: usize, refusal: Refusal, now: Duration) {
        let Refusal { code, description: said } = refusal;
        match code {
            10071 | 10163 | 10164 if self.was_acked => self.ask(Question::Last, now),
            10071 | 10163 | 10164 => {
                self.contested += 1;
                let trouble = Trouble::Contested(self.settings.subject.clone());
                if self.contested >= MOST_CONTESTED {
                    self.contested = 0;
                    return self.close(Some(trouble));
                }
                if self.contested > 1 {
                    self.tell(Event::Trouble(trouble));
                }
                self.wait(Question::Last, now);
            }
            10054 => {
                self.lower(bytes);
                self.ask(Question::Stream, now);
            }
            503 => {
                let (subject, stream) = (self.settings.subject.clone(), self.settings.stream.clone());
                self.tell(Event::Trouble(Trouble::NoResponders { subject, stream }));
                self.wait(Question::Stream, now);
            }
            _ => {
                self.tell(Event::Trouble(Trouble::Refused { code, said }));
                self.wait(Question::Stream, now);
            }
        }
    }
}
