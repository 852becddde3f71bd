//! The clients of a world: each has a script and follows it, however the server behaves. Most never look at their
//! socket before they write, as most real ones do.

use std::collections::VecDeque;
use std::time::Duration;

use lumberjack::Peer;

use super::doors::Head;
use super::kernel::{Event, Kernel};

/// What a client does next.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Connect,
    /// These bytes, of which so many have gone out.
    Write(Vec<u8>, usize),
    HalfClose,
    Reset,
}

pub(crate) struct Client {
    pub(crate) peer: Peer,
    /// The number of the listener that it connects to.
    pub(crate) listener: usize,
    pub(crate) script: VecDeque<(Duration, Step)>,
    /// Whether it notices our goodbye before it writes, and closes then.
    pub(crate) looks: bool,
    /// Whether it takes our goodbye for the end: it closes so long after it, and what it had to say is never said.
    pub(crate) obeys: Option<Duration>,
    /// What it says first, where a proxy names its clients.
    pub(crate) head: Option<Head>,
    /// Room in the receive queue that it gets.
    pub(crate) room: usize,
    pub(crate) socket: Option<usize>,
    /// Bytes whose write succeeded before the server closed.
    pub(crate) delivered: Vec<u8>,
}

/// How a client goes on.
#[derive(PartialEq, Eq)]
enum Then {
    GoesOn,
    /// Its write waits for room.
    Waits,
    Ends,
}

/// One more step of a client, and when the next is.
pub(crate) fn step(kernel: &mut Kernel, number: usize) {
    let Some((_, step)) = kernel.clients[number].script.pop_front() else { return };
    let then = match step {
        Step::Connect => connect(kernel, number),
        Step::Write(bytes, gone) => write(kernel, number, bytes, gone),
        Step::HalfClose => end(kernel, number, false),
        Step::Reset => end(kernel, number, true),
    };
    if then == Then::Ends {
        kernel.clients[number].script.clear();
    }
    if then == Then::GoesOn
        && let Some((delay, _)) = kernel.clients[number].script.front()
    {
        let next = kernel.now + *delay;
        kernel.at(next, Event::Client(number));
    }
}

/// A client that takes our goodbye for the end hears it.
pub(crate) fn obey(kernel: &mut Kernel, number: usize) {
    kernel.clients[number].script.clear();
    end(kernel, number, false);
}

fn connect(kernel: &mut Kernel, number: usize) -> Then {
    kernel.clients[number].socket = kernel.connect(number);
    if kernel.clients[number].socket.is_some() { Then::GoesOn } else { Then::Ends }
}

fn write(kernel: &mut Kernel, number: usize, bytes: Vec<u8>, gone: usize) -> Then {
    let Some(index) = kernel.clients[number].socket else { return Then::Ends };
    let socket = &mut kernel.sockets[index];
    if socket.goodbye_at.is_some() && kernel.clients[number].looks {
        end(kernel, number, false);
        return Then::Ends;
    }
    if socket.is_closed {
        // The first write after the server's close succeeds into nothing; the answer to it is an RST.
        return Then::Ends;
    }
    let count = (bytes.len() - gone).min(socket.room - socket.queue.len());
    let taken = &bytes[gone..gone + count];
    socket.queue.extend(taken);
    kernel.clients[number].delivered.extend_from_slice(taken);
    if count > 0 {
        kernel.arrived(index);
    }
    if gone + count == bytes.len() {
        return Then::GoesOn;
    }
    kernel.sockets[index].waiting_writer = Some(number);
    kernel.clients[number].script.push_front((Duration::ZERO, Step::Write(bytes, gone + count)));
    Then::Waits
}

fn end(kernel: &mut Kernel, number: usize, is_reset: bool) -> Then {
    let Some(index) = kernel.clients[number].socket else { return Then::Ends };
    let socket = &mut kernel.sockets[index];
    if is_reset && socket.is_closed {
        return Then::Ends;
    }
    socket.rst |= is_reset;
    socket.fin |= !is_reset;
    kernel.arrived(index);
    // After its end a client has nothing left to do but to lose patience.
    if is_reset { Then::Ends } else { Then::GoesOn }
}
