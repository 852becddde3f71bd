//! What must come out of a connection: a naive framing of every byte that the server read, with the places at which a
//! pending line went out without its ending.

use lumberjack::{Limits, LongLines};

struct Twin<'a> {
    limits: &'a Limits,
    out: Vec<u8>,
    line: Vec<u8>,
    /// A part of this line went out already, or was given up: what follows up to the `\n` is no new line.
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Continued,
    Skipping,
}

impl Twin<'_> {
    fn emit(&mut self, line: &[u8]) {
        self.out.extend_from_slice(line);
        self.out.push(b'\n');
    }

    /// Sends out `line` by the policy; true if it was too long.
    fn settle(&mut self, line: &[u8]) -> bool {
        let max = self.limits.max_line;
        let is_long = line.len() > max;
        match self.limits.long_lines {
            LongLines::Skip if is_long => {}
            LongLines::Cut if is_long => self.emit(&line[..max]),
            LongLines::Split if is_long => line.chunks(max).for_each(|piece| self.emit(piece)),
            _ => self.emit(line),
        }
        is_long
    }

    fn newline(&mut self) {
        let line = std::mem::take(&mut self.line);
        let state = std::mem::replace(&mut self.state, State::Fresh);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let is_shown = !line.is_empty() || (self.limits.keep_empty && state == State::Fresh);
        if state != State::Skipping && is_shown {
            self.settle(line);
        }
    }

    fn flush(&mut self) {
        let line = std::mem::take(&mut self.line);
        if self.state == State::Skipping || line.is_empty() {
            return;
        }
        let is_over = self.settle(&line) && self.limits.long_lines != LongLines::Split;
        self.state = if is_over { State::Skipping } else { State::Continued };
    }
}

pub(crate) fn expected(read: &[u8], flushes: &[usize], limits: &Limits) -> Vec<u8> {
    let mut twin = Twin { limits, out: Vec::new(), line: Vec::new(), state: State::Fresh };
    for (at, byte) in read.iter().enumerate() {
        if flushes.contains(&at) {
            twin.flush();
        }
        match byte {
            b'\n' => twin.newline(),
            byte => twin.line.push(*byte),
        }
    }
    twin.flush();
    twin.out
}
