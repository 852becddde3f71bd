//! The reading end of a receiver's output, which finds the lines that are measured among all others.

use std::io::{ErrorKind, Read};
use std::process::ChildStdout;
use std::time::Instant;

use mio::unix::pipe;
use mio::{Events, Interest, Poll, Token};

/// The first byte of a measured line, which no other holds; its number follows.
pub(crate) const MARK: u8 = 1;

pub(crate) struct Output {
    pipe: pipe::Receiver,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    /// Where in `buffer` the part begins that was not looked at, and where it ends.
    start: usize,
    end: usize,
    /// When `buffer` was filled.
    read_at: Instant,
    /// The number so far, while a measured line is read.
    serial: Option<usize>,
}

impl Output {
    pub(crate) fn new(stdout: ChildStdout) -> Self {
        let mut pipe = pipe::Receiver::from(stdout);
        // Only our end: what the receiver writes to stays as it is.
        pipe.set_nonblocking(true).unwrap();
        let poll = Poll::new().unwrap();
        poll.registry().register(&mut pipe, Token(0), Interest::READABLE).unwrap();
        let (events, buffer) = (Events::with_capacity(1), vec![0; 64 * 1024]);
        Self { pipe, poll, events, buffer, start: 0, end: 0, read_at: Instant::now(), serial: None }
    }

    /// The next measured line's number, and when it arrived.
    pub(crate) fn next(&mut self, deadline: Instant) -> (usize, Instant) {
        loop {
            if let Some(serial) = self.look() {
                return (serial, self.read_at);
            }
            self.fill(deadline);
        }
    }

    /// Looks for the end of a measured line in what was read.
    fn look(&mut self) -> Option<usize> {
        while self.start < self.end {
            let rest = &self.buffer[self.start..self.end];
            let Some(serial) = self.serial else {
                let mark = memchr::memchr(MARK, rest);
                self.start += mark.map_or(rest.len(), |at| at + 1);
                self.serial = mark.map(|_| 0);
                continue;
            };
            let byte = rest[0];
            self.start += 1;
            if byte == b'\n' {
                self.serial = None;
                return Some(serial);
            }
            self.serial = Some(serial * 10 + usize::from(byte - b'0'));
        }
        None
    }

    fn fill(&mut self, deadline: Instant) {
        loop {
            let now = Instant::now();
            assert!(now < deadline, "a line has not arrived");
            match self.pipe.read(&mut self.buffer) {
                Ok(0) => panic!("the receiver has closed its output"),
                Ok(count) => {
                    (self.start, self.end, self.read_at) = (0, count, Instant::now());
                    return;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.poll.poll(&mut self.events, Some(deadline - now)).unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
