//! Connections that a proxy makes for its clients (`--proxy`, P25): each begins with a header that says who the client is.
//! Invariant: until the header has come, a connection counts for no host; from then on it is the client's.

use std::io::{self, ErrorKind};

use log::debug;

use super::Server;
use super::clients::TurnedAway;
use super::life::{Close, Life, Next};
use crate::engine::peer::Peer;
use crate::engine::proxy::{Flaw, Step};
use crate::net::{Key, Net};
use crate::sink::Sink;

/// So much is read at once while the header has not come: what the protocol says that every header of a proxy fits into.
pub(super) const READ_BYTES: usize = 536;

impl<S: Sink, N: Net> Server<S, N> {
    /// Reads of a connection what is header, and nothing behind it: that waits in the kernel, as the host that the header names
    /// may owe (P26).
    #[cold]
    pub(super) fn read_header(&mut self, key: Key, room: &mut [u8]) -> io::Result<usize> {
        let Some(conn) = self.clients.connections.get_mut(key) else { return Err(ErrorKind::WouldBlock.into()) };
        let count = self.net.peek(&mut conn.stream, room)?;
        let (behind, room) = (self.clients.headers.behind(key.index, room.get(..count).unwrap_or_default()), room);
        match room.get_mut(..count - behind) {
            Some(header) if !header.is_empty() => self.net.read(&mut conn.stream, header),
            _ => Ok(0),
        }
    }

    /// How many of the bytes that were read from a connection are of the header that it has to begin with: all, until it has
    /// ended.
    ///
    /// # Errors
    /// What becomes of it: that was no header, or the host that it names has too many connections.
    #[cold]
    pub(super) fn take_header(&mut self, key: Key, read: &[u8]) -> Result<usize, Next> {
        let Some(proxy) = self.clients.connections.get(key).map(|conn| conn.peer) else { return Ok(read.len()) };
        let mut header = self.clients.headers.take(key.index).unwrap_or_default();
        let behind = match header.feed(read) {
            Step::Partial => {
                self.clients.headers.keep(key.index, header);
                0
            }
            Step::Done(client, behind) => {
                self.introduce(key, client.unwrap_or(proxy))?;
                behind.len()
            }
            Step::Invalid(flaw) => {
                self.tally().no_header(&proxy, format_args!("{flaw}"), flaw != Flaw::Start);
                return Err(Next::Close(Close::Refused));
            }
        };
        let bytes = read.len() - behind;
        self.clock.note_bytes();
        self.counters.bytes = self.counters.bytes.saturating_add(bytes as u64);
        Ok(bytes)
    }

    /// The header has come, and the connection is this client's from now on.
    ///
    /// # Errors
    /// Its host has as many connections as it may.
    #[inline(never)] // for size
    fn introduce(&mut self, key: Key, client: Peer) -> Result<(), Next> {
        if self.life == Life::Serving {
            self.give_way_unread(client.host());
        }
        let Some(proxy) = self.clients.introduce(key, client, self.clock.tick()) else {
            self.tally().turned_away(&client, &TurnedAway::PerHost);
            return Err(Next::Close(Close::Refused));
        };
        debug!("[tcp] {proxy} is a proxy for {client}");
        self.begin_handshake(key);
        // Not now: nothing can be read in the middle of a read.
        if self.clients.is_over_share(client.host()) && self.life == Life::Serving {
            self.fullness.postpone(client.host());
        }
        Ok(())
    }

    /// A connection has ended, or its time is up, before its header was there. True if it was more than a probe.
    #[cold]
    pub(super) fn note_headless(&mut self, key: Key, peer: &Peer, why: &Close) -> bool {
        let is_begun = self.clients.headers.take(key.index).is_some();
        match why {
            Close::Refused => return true,
            Close::Headless if is_begun => {
                self.tally().no_header(peer, format_args!("it had not ended after 5 seconds"), true);
            }
            Close::Headless => self.tally().no_header(peer, format_args!("none came within 5 seconds"), false),
            _ if is_begun => {
                self.tally().no_header(peer, format_args!("the connection ended in the middle of it"), true)
            }
            _ => return false,
        }
        true
    }
}
