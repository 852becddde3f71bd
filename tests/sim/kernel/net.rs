//! The kernel as the server sees it: its system calls, and its sockets, which close when they are dropped.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use lumberjack::internals::{Key, Net, Now, Ready, SocketOptions};
use lumberjack::{ListenAddr, Peer};

use super::super::sink::Record;
use super::{ACCEPT_TRIED, Kernel};

/// What `epoll_ctl` says: ENOMEM, ENOSPC.
const UNWATCHED: [i32; 2] = [12, 28];
/// What a broken connection says, once: ECONNRESET, ETIMEDOUT, EHOSTUNREACH.
const BROKEN: [i32; 3] = [104, 110, 113];
/// What a write to a client that is gone says.
const EPIPE: i32 = 32;

/// The network that a server is given, and what became of the lines that it brought.
#[derive(Clone)]
pub(crate) struct SimNet(pub(crate) Rc<RefCell<Kernel>>, pub(crate) Rc<RefCell<Record>>);

/// A listener; dropping it resets who waits in its backlog.
pub(crate) struct SimListener {
    kernel: Rc<RefCell<Kernel>>,
    number: usize,
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return; // One failed check is enough.
        }
        let mut kernel = self.kernel.borrow_mut();
        kernel.descriptors -= 1;
        kernel.listener_edges.remove(&self.number);
        let waiting = kernel.backlogs[self.number].take().unwrap_or_default();
        if self.number == kernel.terms.listeners {
            let is_over = kernel.is_over;
            return kernel.udp.close(is_over);
        }
        // Nobody can be taken while the network is out of order, and the pause after that may outlast the drain.
        let is_excused = kernel.is_over || kernel.outage_until + ACCEPT_TRIED > kernel.now;
        assert!(waiting.is_empty() || is_excused, "{} clients waited when the listener closed", waiting.len());
        for socket in waiting {
            kernel.sockets[socket].is_closed = true;
            kernel.sockets[socket].is_stranded = true;
        }
    }
}

/// A connection; dropping it closes it.
pub(crate) struct SimStream {
    kernel: Rc<RefCell<Kernel>>,
    index: usize,
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.kernel.borrow_mut().close(self.index);
        }
    }
}

impl Kernel {
    /// What a read says where no bytes are.
    fn read_nothing(&mut self, index: usize) -> io::Result<usize> {
        let (now, socket) = (self.now, &mut self.sockets[index]);
        socket.ready_since = None;
        socket.end_read_at = socket.end_read_at.or(socket.fin.then_some(now));
        match (socket.rst, socket.fin) {
            (true, false) if !std::mem::replace(&mut socket.is_reset_told, true) => {
                Err(io::Error::from_raw_os_error(self.dice.pick(&BROKEN)))
            }
            (true, _) | (false, true) => Ok(0),
            (false, false) => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Net for SimNet {
    type Listener = SimListener;
    type Stream = SimStream;

    fn listen(&mut self, at: &ListenAddr, _: &SocketOptions, number: usize) -> io::Result<(SimListener, ListenAddr)> {
        let mut kernel = self.0.borrow_mut();
        kernel.backlogs.push(Some(VecDeque::new()));
        kernel.descriptors += 1;
        if at.is_udp() {
            assert_eq!(number, kernel.terms.listeners, "it is the last");
            kernel.udp.open();
        }
        Ok((SimListener { kernel: Rc::clone(&self.0), number }, at.clone()))
    }

    fn accept(&mut self, listener: &mut SimListener) -> io::Result<(SimStream, Peer)> {
        let kernel = &mut *self.0.borrow_mut();
        let index = kernel.accept(listener.number)?;
        Ok((SimStream { kernel: Rc::clone(&self.0), index }, kernel.sockets[index].peer))
    }

    fn receive(&mut self, _: &mut SimListener, buffer: &mut [u8]) -> io::Result<(usize, Peer)> {
        let kernel = &mut *self.0.borrow_mut();
        kernel.check_rate_of_datagrams(&self.1.borrow());
        kernel.receive(buffer)
    }

    fn new_drops(&mut self, _: &mut SimListener) -> u32 {
        self.0.borrow_mut().udp.new_drops()
    }

    fn udp_buffer(&self, listener: &SimListener) -> Option<usize> {
        let kernel = self.0.borrow();
        (listener.number == kernel.terms.listeners).then(|| kernel.udp.buffer())
    }

    fn register(&mut self, stream: &mut SimStream, key: Key) -> io::Result<()> {
        let kernel = &mut *self.0.borrow_mut();
        if kernel.dice.chance(kernel.luck.no_memory) {
            kernel.sockets[stream.index].is_unlucky = true;
            return Err(io::Error::from_raw_os_error(kernel.dice.pick(&UNWATCHED)));
        }
        let found = &kernel.sockets[stream.index];
        assert!(kernel.permits(found.listener, &found.peer), "{} came in, and may not connect", found.peer);
        kernel.taken += 1;
        // One more for a moment, while somebody is closed for it (P10), and at the end likewise (P11).
        assert!(kernel.taken <= kernel.terms.max_connections + 1, "{} connections", kernel.taken);
        kernel.most_taken = kernel.most_taken.max(kernel.taken);
        let now = kernel.now;
        let socket = &mut kernel.sockets[stream.index];
        assert!(socket.key.is_none(), "registered twice");
        socket.key = Some(key);
        (socket.last_activity, socket.taken_at) = (now, now);
        if !socket.queue.is_empty() || socket.fin || socket.rst {
            kernel.arrived(stream.index);
        }
        Ok(())
    }

    fn read(&mut self, stream: &mut SimStream, buffer: &mut [u8]) -> io::Result<usize> {
        let kernel = &mut *self.0.borrow_mut();
        kernel.work += 1;
        if kernel.dice.chance(kernel.luck.interrupted) {
            // Its turn is used up.
            kernel.sockets[stream.index].ready_since = Some((kernel.reads, 2 * kernel.taken as u64 + 2));
            return Err(ErrorKind::Interrupted.into());
        }
        assert!(!buffer.is_empty(), "a read of nothing looks like the end");
        let now = kernel.now;
        let socket = &mut kernel.sockets[stream.index];
        let count = buffer.len().min(socket.queue.len());
        if count == 0 {
            return kernel.read_nothing(stream.index);
        }
        kernel.check_rate(stream.index, count, &self.1.borrow());
        let socket = &mut kernel.sockets[stream.index];
        socket.queue.read_exact(&mut buffer[..count])?;
        socket.read.extend_from_slice(&buffer[..count]);
        let behind = kernel.take_head(stream.index, count);
        kernel.check_head(stream.index, behind, count);
        kernel.charge_bytes(stream.index, count);
        let socket = &mut kernel.sockets[stream.index];
        let held_before = socket.most_held(kernel.terms.max_line);
        if behind > 0 {
            socket.note_line(&buffer[count - behind..count], kernel.terms.framings[socket.listener], now);
        }
        kernel.may_hold = kernel.may_hold - held_before + socket.most_held(kernel.terms.max_line);
        kernel.may_have_held = kernel.may_have_held.max(kernel.may_hold);
        kernel.check_wait(stream.index);
        kernel.check_turn(stream.index, count);
        let socket = &mut kernel.sockets[stream.index];
        if socket.last_activity < now {
            socket.activity_before = std::mem::replace(&mut socket.last_activity, now);
        }
        kernel.last_read_at = now;
        kernel.has_read = true;
        kernel.wake_writer(stream.index);
        // More arrives right behind the read, before the server polls again.
        let client = kernel.sockets[stream.index].client;
        kernel.hurry(Some(client));
        Ok(count)
    }

    fn peek(&mut self, stream: &mut SimStream, buffer: &mut [u8]) -> io::Result<usize> {
        let kernel = &mut *self.0.borrow_mut();
        kernel.work += 1;
        if kernel.dice.chance(kernel.luck.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        let socket = &kernel.sockets[stream.index];
        assert!(socket.is_headless(), "all but headers is read as it comes");
        let count = buffer.len().min(socket.queue.len());
        buffer.iter_mut().zip(&socket.queue).for_each(|(to, from)| *to = *from);
        if count == 0 { kernel.read_nothing(stream.index) } else { Ok(count) }
    }

    fn register_visitor(&mut self, _: &mut Self::Stream, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write(&mut self, stream: &mut SimStream, bytes: &[u8]) -> io::Result<usize> {
        let kernel = &mut *self.0.borrow_mut();
        kernel.work += 1;
        if kernel.dice.chance(kernel.luck.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        kernel.check_receipt(stream.index, bytes, &self.1.borrow());
        let socket = &mut kernel.sockets[stream.index];
        socket.has_receipt = true;
        if socket.rst { Err(io::Error::from_raw_os_error(EPIPE)) } else { Ok(bytes.len()) }
    }

    fn say_goodbye(&mut self, stream: &mut SimStream) -> io::Result<()> {
        let kernel = &mut *self.0.borrow_mut();
        let is_when_needed = kernel.terms.is_when_needed;
        if is_when_needed && kernel.stop_at.is_none() {
            kernel.check_need(stream.index);
        }
        kernel.hurry(None);
        let (now, is_stopping, idle) = (kernel.now, kernel.stop_at.is_some(), kernel.terms.idle_timeout);
        let client = kernel.sockets[stream.index].client;
        if let Some(delay) = kernel.clients[client].obeys {
            kernel.at(now + delay, super::Event::Obeys(client));
        }
        let socket = &mut kernel.sockets[stream.index];
        assert!(socket.goodbye_at.is_none(), "two goodbyes to {}", socket.peer);
        assert!(socket.end_read_at.is_none(), "a goodbye to {}, which has ended", socket.peer);
        socket.goodbye_at = Some(now);
        if !is_stopping {
            let silence = now - socket.last_activity;
            let is_late = silence > idle + Duration::from_millis(30) && !is_when_needed;
            assert!(
                silence >= idle && !(kernel.is_calm && is_late),
                "{} was told goodbye after {silence:?}",
                socket.peer
            );
            socket.flushes.push(socket.lines().len());
            kernel.check_silence(stream.index);
        }
        let socket = &kernel.sockets[stream.index];
        if socket.rst { Err(ErrorKind::NotConnected.into()) } else { Ok(()) }
    }

    fn watch_sink(&mut self, _: usize, _: BorrowedFd<'_>, _: bool) -> io::Result<()> {
        self.0.borrow_mut().is_sink_watched = true;
        Ok(())
    }

    fn waker(&self) -> io::Result<Option<UnixStream>> {
        Ok(None)
    }

    fn pause(&mut self, time: Duration) -> io::Result<()> {
        let kernel = &mut *self.0.borrow_mut();
        assert!(time <= kernel.terms.gather && std::mem::take(&mut kernel.has_read), "a pause of {time:?}");
        let end = kernel.now + time;
        let is_asked = |kernel: &Kernel| kernel.is_stop_asked || kernel.is_reopen_asked || kernel.changes_asked > 0;
        while kernel.now < end && !is_asked(kernel) {
            kernel.happen();
            let next = kernel.next_event_at().unwrap_or(end);
            kernel.now = next.min(end).max(kernel.now);
        }
        kernel.happen();
        Ok(())
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let kernel = &mut *self.0.borrow_mut();
        kernel.last_reader = None;
        (kernel.reads_in_turn, kernel.accepts_in_turn) = (0, 0);
        kernel.polls += 1;
        kernel.polls_since_open += 1;
        kernel.check_listeners();
        kernel.check_gone();
        if kernel.is_open() {
            kernel.check_hosts();
        }
        let before = kernel.now;
        kernel.wait(timeout);
        let quiet = kernel.stop_at.map(|stop_at| kernel.now - kernel.last_read_at.max(stop_at));
        kernel.was_quiet |= quiet.is_some_and(|quiet| quiet >= Duration::from_millis(250));
        kernel.work += u64::from(kernel.now > before);
        kernel.collect(ready);
        Ok(())
    }

    fn now(&self) -> Now {
        let kernel = self.0.borrow();
        Now { since_start: kernel.now, wall_ms: 0 }
    }
}
