//! What is to be sent, in order: short texts, and one batch's payload among them, which is never copied. Invariant: texts that wait
//! are bounded, whatever the server asks for.

/// More texts than this are not kept: a server that asks without reading gets no more answers.
const MOST_TEXT: usize = 64 * 1024;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    before: Vec<u8>,
    payload: Vec<u8>,
    behind: Vec<u8>,
    /// Bytes of all three together that are sent.
    sent: usize,
}

impl Outgoing {
    /// The bytes to be sent next, in this order.
    #[inline(never)] // one copy, for size
    pub(super) fn unsent(&self) -> [&[u8]; 3] {
        let mut skipped = self.sent;
        [&self.before, &self.payload, &self.behind].map(|part| {
            let here = skipped.min(part.len());
            skipped -= here;
            part.get(here..).unwrap_or_default()
        })
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.len()
    }

    /// Whether a payload waits, or its end.
    pub(super) fn has_payload(&self) -> bool {
        !self.payload.is_empty()
    }

    fn len(&self) -> usize {
        self.before.len() + self.payload.len() + self.behind.len()
    }

    /// That many bytes were sent. Gives a payload's memory back once it is gone.
    pub(super) fn sent(&mut self, bytes: usize) -> Option<Vec<u8>> {
        self.sent = self.sent.saturating_add(bytes).min(self.len());
        if !self.is_empty() {
            return None;
        }
        self.sent = 0;
        self.before.clear();
        self.behind.clear();
        let payload = core::mem::take(&mut self.payload);
        (payload.capacity() > 0).then_some(payload)
    }

    /// A text that goes behind all that waits.
    #[inline(never)] // one copy, for size
    pub(super) fn text(&mut self, text: &str) {
        let end = if self.has_payload() { &mut self.behind } else { &mut self.before };
        if end.len() + text.len() <= MOST_TEXT {
            end.extend_from_slice(text.as_bytes());
        }
    }

    /// A batch. There is none that waits.
    pub(super) fn batch(&mut self, head: &str, payload: Vec<u8>) {
        debug_assert!(!self.has_payload(), "one batch at a time");
        self.text(head);
        self.payload = payload;
        self.behind.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_sent_in_order_however_much_is_taken_at_a_time() {
        for step in 1..40 {
            let mut out = Outgoing::default();
            out.text("PONG\r\n");
            out.batch("HPUB\r\n", b"payload".to_vec());
            out.text("PING\r\n");
            let (mut sent, mut spare) = (Vec::new(), None);
            while !out.is_empty() {
                let bytes = out.unsent().concat();
                let taken = step.min(bytes.len());
                sent.extend_from_slice(&bytes[..taken]);
                spare = out.sent(taken);
            }
            assert_eq!(sent, b"PONG\r\nHPUB\r\npayload\r\nPING\r\n");
            assert_eq!(spare.unwrap(), b"payload");
            out.text("more");
            assert_eq!(out.unsent().concat(), b"more");
        }
    }

    #[test]
    fn p5_a_server_that_only_asks_gets_no_more_than_so_many_answers() {
        let mut out = Outgoing::default();
        (0..1_000_000).for_each(|_| out.text("PONG\r\n"));
        assert!(out.unsent().concat().len() <= MOST_TEXT);
    }
}
