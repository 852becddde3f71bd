//! Talks over HTTP: the socket of an `http::Client`, which it connects, reads and writes as the client wants. Invariant: the
//! loop never waits, and what was told of a socket is acted on until there is no more.

use std::io::{self, ErrorKind, IoSlice};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use super::{Buffers, Dial, Guard, Line, Step, Terms};
use crate::config::text::as_text;
use crate::config::units::soonest;
use crate::http::Client;

/// Bodies that are sent go out in a few writes.
const BUFFERS: Buffers = Buffers { send: 128 * 1024, receive: None };
/// Bytes of one read, and reads in one step: who has more comes again after others.
const READ_BYTES: usize = 16 * 1024;
const MOST_READS: usize = 8;

/// The connection.
enum State {
    Away,
    Dialling(Dial),
    Connected(Line),
}

/// A client, and its connection if there is one.
pub(crate) struct Caller {
    client: Client,
    state: State,
    /// A lookup that goes on though nobody waits for it. Who asks again waits for that one: where lookups hang, their threads would
    /// become more and more.
    lookup: Option<Dial>,
    /// The socket may have something, or take something.
    is_told: bool,
    wrote: usize,
    connections: u64,
    /// What connections are held against, if they are to be secured by TLS.
    guard: Option<Guard>,
}

impl Caller {
    pub(crate) fn new(client: Client, guard: Option<Guard>) -> Self {
        Self { client, state: State::Away, lookup: None, is_told: false, wrote: 0, connections: 0, guard }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// One step. True if there may be more to do at once.
    pub(crate) fn go_on(&mut self, now: Duration) -> bool {
        self.client.tick(now);
        self.close_if_needed();
        match mem::replace(&mut self.state, State::Away) {
            State::Away if self.client.wants_connection() => {
                let url = self.client.url();
                // What one that has ended found may be of long ago.
                let step = match self.lookup.take().filter(Dial::is_looking_up) {
                    Some(lookup) => Step::Pending(lookup),
                    None if url.is_secured && self.guard.is_none() => {
                        Step::Failed(io::Error::other("what TLS needs could not be read"))
                    }
                    None => {
                        let terms = Terms { buffers: BUFFERS, guard: self.guard.clone() };
                        Dial::host(&url.host, url.port, terms, now)
                    }
                };
                self.stepped(step, now)
            }
            State::Away => false,
            State::Dialling(dial) => self.stepped(dial.go_on(now), now),
            State::Connected(mut line) => {
                let went = talk(&mut line, &mut self.client, &mut self.is_told, &mut self.wrote, now);
                self.state = State::Connected(line);
                if let Err(error) = &went {
                    self.client.lost(&as_text(&error), now);
                }
                // What was lost on a kept connection is tried again at once.
                self.close_if_needed() && self.client.wants_connection()
            }
        }
    }

    fn stepped(&mut self, step: Step, now: Duration) -> bool {
        match step {
            Step::Pending(mut dial) => {
                if let Some(left) = self.client.due_in(now) {
                    dial.share(left, now);
                }
                self.state = State::Dialling(dial);
                // It has been asked for all that was told of it.
                self.is_told = false;
                false
            }
            Step::Connected(line) => {
                self.connections = self.connections.saturating_add(1);
                self.state = State::Connected(line);
                self.client.connected(now);
                // It may have spoken already, of which nothing will be told any more.
                self.is_told = true;
                true
            }
            Step::Failed(error) => {
                self.client.lost(&as_text(&error), now);
                self.close_if_needed();
                false
            }
        }
    }

    /// Whether the client was done with its connection.
    fn close_if_needed(&mut self) -> bool {
        let must_close = self.client.must_close();
        if must_close {
            if let State::Dialling(dial) = mem::replace(&mut self.state, State::Away)
                && dial.is_looking_up()
            {
                self.lookup = Some(dial);
            }
            self.is_told = false;
            self.client.closed();
        }
        must_close
    }

    /// The body may come now that there is room for it.
    #[cfg(feature = "poll")]
    pub(crate) fn grant(&mut self, now: Duration) {
        self.client.grant(now);
        // What waits in the kernel was told of before.
        self.is_told = true;
    }

    /// The socket was told of.
    pub(crate) fn told(&mut self) {
        self.is_told = true;
    }

    /// A descriptor that the loop is to watch from now on.
    pub(crate) fn unwatched(&mut self) -> Option<BorrowedFd<'_>> {
        let socket = match &mut self.state {
            State::Away => None,
            State::Dialling(dial) => dial.unwatched(),
            State::Connected(line) => line.unwatched(),
        };
        socket.map(AsFd::as_fd)
    }

    /// How long until [`Self::go_on`] is to be called though nothing is told. `None`: never.
    pub(crate) fn due_in(&self, now: Duration) -> Option<Duration> {
        let own = match &self.state {
            State::Away if self.client.wants_connection() => Some(Duration::ZERO),
            State::Away => None,
            State::Dialling(_) if self.is_told => Some(Duration::ZERO),
            State::Dialling(dial) => Some(dial.due_in(now)),
            // What waits for room stays in the kernel.
            State::Connected(_) if self.is_told && self.client.room_wanted().is_none() => Some(Duration::ZERO),
            State::Connected(_) => None,
        };
        soonest(&[own, self.client.due_in(now)])
    }

    /// Bytes that were written since this was last asked.
    #[cfg(feature = "push")]
    pub(crate) fn wrote(&mut self) -> usize {
        mem::take(&mut self.wrote)
    }

    /// How many connections were made.
    #[cfg(feature = "push")]
    pub(crate) fn connections(&self) -> u64 {
        self.connections
    }
}

/// Writes what there is, and reads what came.
///
/// # Errors
/// The connection broke.
fn talk(line: &mut Line, client: &mut Client, is_told: &mut bool, wrote: &mut usize, now: Duration) -> io::Result<()> {
    send(line, client, is_told, wrote, now)?;
    let mut bytes = [0; READ_BYTES];
    for _ in 0..MOST_READS {
        if !*is_told || client.room_wanted().is_some() || client.must_close() {
            break;
        }
        match line.read(&mut bytes) {
            // Anybody can end a connection so, in the middle of an answer.
            Ok(0) if line.is_cut() => {
                let why = "the connection ended without the goodbye of TLS (close_notify), and may have been cut short";
                return Err(io::Error::new(ErrorKind::UnexpectedEof, why));
            }
            Ok(0) => {
                *is_told = false;
                client.ended(now);
            }
            Ok(count) => client.received(bytes.get(..count).unwrap_or_default(), now),
            Err(error) if error.kind() == ErrorKind::WouldBlock => *is_told = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // A redirect asks again on the same connection.
    send(line, client, is_told, wrote, now)
}

fn send(line: &mut Line, client: &mut Client, is_told: &mut bool, wrote: &mut usize, now: Duration) -> io::Result<()> {
    while !client.must_close() {
        let parts = client.unsent();
        if parts.iter().all(|part| part.is_empty()) {
            break;
        }
        match line.write_parts(&parts.map(IoSlice::new)) {
            Ok(count) => {
                *wrote = wrote.saturating_add(count);
                client.sent(count, now);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // It may have said why before, which is still to be read; behind it is the end.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                *is_told = true;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::sync::mpsc::channel;
    use std::thread::sleep;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::http::{Request, Rules, Url};
    use crate::task::Task;

    #[test]
    fn who_asks_again_waits_for_the_lookup_that_hangs() {
        const NOW: Duration = Duration::ZERO;
        const LONG: Duration = Duration::from_secs(60);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (found, (done, wait)) = (vec![listener.local_addr().unwrap().into()], channel());
        let work = move || wait.recv().map(|()| found).map_err(io::Error::other);
        let task = Task::begin(NOW, work).unwrap();
        let rules = Rules { head: LONG, whole: LONG, most_body: 1, asks_for_room: false };
        // A name that nobody has.
        let mut caller = Caller::new(Client::new(Url::parse("http://x.invalid/").unwrap(), None, rules), None);
        caller.client_mut().begin(Request::default(), NOW);
        caller.state =
            State::Dialling(Dial::Resolving { task, since: NOW, terms: Terms { buffers: BUFFERS, guard: None } });
        for _ in 0..3 {
            caller.client_mut().cancel();
            caller.go_on(NOW);
            assert!(caller.due_in(NOW).is_none(), "nobody waits for it");
            caller.client_mut().begin(Request::default(), NOW);
            caller.go_on(NOW);
        }
        done.send(()).unwrap();
        for _ in 0..1000 {
            caller.go_on(NOW);
            if matches!(caller.state, State::Connected(_)) {
                return;
            }
            sleep(Duration::from_millis(5));
        }
        panic!("{:?}", caller.client_mut().result());
    }

    /// A listener that takes nobody in any more, so that the kernel drops who comes; and the one for whom there was room.
    fn swallowing() -> (Socket, SocketAddr, TcpStream) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let at = socket.local_addr().unwrap().as_socket().unwrap();
        let first = TcpStream::connect(at).unwrap();
        (socket, at, first)
    }

    #[test]
    fn an_address_that_says_nothing_leaves_the_next_ones_their_part_of_the_time() {
        let at = Duration::from_millis;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (_full, silent, _first) = swallowing();
        let found = vec![silent.into(), silent.into(), listener.local_addr().unwrap().into()];
        let task = Task::begin(at(0), move || Ok(found)).unwrap();
        let rules = Rules { head: at(6000), whole: at(6000), most_body: 1, asks_for_room: false };
        let mut caller = Caller::new(Client::new(Url::parse("http://x.invalid/").unwrap(), None, rules), None);
        caller.client_mut().begin(Request::default(), at(0));
        caller.state =
            State::Dialling(Dial::Resolving { task, since: at(0), terms: Terms { buffers: BUFFERS, guard: None } });
        while matches!(caller.state, State::Dialling(Dial::Resolving { .. })) {
            caller.go_on(at(0));
            sleep(at(1));
        }
        for (now, wait) in [(0, 2000), (1000, 1000), (2000, 2000), (3999, 1)] {
            caller.go_on(at(now));
            assert_eq!(caller.due_in(at(now)), Some(at(wait)), "{now}");
        }
        for _ in 0..1000 {
            caller.go_on(at(4000));
            if matches!(caller.state, State::Connected(_)) {
                return;
            }
            sleep(at(5));
        }
        panic!("{:?}", caller.client_mut().result());
    }
}
