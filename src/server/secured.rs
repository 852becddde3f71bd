//! Clients over TLS (P33): their handshakes, their reads and their ends. Invariant: what they send goes the same way as that of
//! others once it is plaintext; nothing is sent behind our FIN, and no `close_notify` before the client's.

use std::fmt;
use std::time::Duration;

use log::{debug, warn};

use super::Server;
use super::connection::Connection;
use super::error::BindError;
use super::life::{Close, Life, Next};
use super::lingering::Group;
use super::notices::Notice;
pub(super) use super::sessions::Secured;
use super::sessions::{BYTES_AT_ONCE, BYTES_EACH, Door, Got, Stage, floor};
use crate::config::limits::MemoryPlan;
use crate::config::listen::Listen;
use crate::config::units::DisplaySize;
use crate::engine::peer::{Peer, PeerName};
use crate::engine::sniff::Opening;
use crate::engine::stats::{CertificateStats, Snapshot};
use crate::net::{Key, Net};
use crate::sink::Sink;
use crate::tls::{Certificate, Kind, Trouble};

/// Reads of bytes that nobody wants, before a connection is closed.
const LAST_READS: usize = 16;

/// What the end of a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// Nothing that is to be said.
    Nothing,
    /// It was said, or there is nothing more to say of it.
    Noted,
}

impl Secured {
    /// Reads the files that listeners name.
    ///
    /// # Errors
    /// One can't be used.
    pub(super) fn read_files(listen: &[Listen], _: &MemoryPlan) -> Result<Self, BindError> {
        let mut secured = Self::default();
        for one in listen {
            let door = one.options.is_secured().then(|| Door::open(one)).transpose();
            let door = door.map_err(|why| BindError::Tls { at: one.at.clone(), why })?;
            if let Some(warning) = door.as_ref().and_then(|(_, warning)| warning.as_ref()) {
                warn!("[tls] {warning}");
            }
            secured.add(door.map(|(door, _)| door));
        }
        Ok(secured)
    }

    /// How long until something is to be done though nothing comes.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        if !self.is_any() {
            return None;
        }
        let look = self.next_look.saturating_sub(now);
        Some(self.handshakes_due_in(now).map_or(look, |due| due.min(look)))
    }

    /// What is shown of it.
    pub(super) fn publish(&self, snapshot: &mut Snapshot) {
        if !self.is_any() {
            return;
        }
        snapshot.tls = self.counters;
        snapshot.tls.active = self.len() as u64;
        let doors = self.doors.iter().flatten();
        let known = snapshot.certificates.iter().map(|one| one.not_after);
        if !known.eq(doors.clone().map(|door| door.not_after)) {
            let shown = |door: &Door| CertificateStats { listener: door.at.clone(), not_after: door.not_after };
            snapshot.certificates = doors.map(shown).collect();
        }
    }
}

/// Coming in.
impl<S: Sink, N: Net> Server<S, N> {
    /// What handshakes may need is set aside, where there are any.
    ///
    /// # Errors
    /// There is no room for a connection.
    pub(super) fn set_memory_aside(&mut self) -> Result<(), BindError> {
        if !self.secured.is_any() {
            return Ok(());
        }
        self.clients.budget.lower(BYTES_AT_ONCE);
        self.secured.floor = floor(self.clients.budget.limit(), self.limits.max_line);
        if self.has_room_for_session() {
            return Ok(());
        }
        let memory = DisplaySize(self.limits.memory);
        Err(BindError::Usage(format!(
            "--memory {memory} has no room for a connection over TLS: give more, such as 4MiB, or leave tls out"
        )))
    }

    /// Whether one more connection over TLS has room in the memory budget.
    fn has_room_for_session(&self) -> bool {
        self.clients.budget.limit() >= self.secured.floor + BYTES_EACH
    }

    /// Somebody may wait where clients speak TLS: who lingers gives way, if there is no memory. Holds back those who can't come in.
    pub(super) fn make_room_for_session(&mut self) {
        if !self.secured.is_any() {
            return;
        }
        let is_waited_for = self.listeners.may_have_secured_clients();
        if self.gives_way_when_needed() {
            if is_waited_for && !self.has_room_for_session() && self.clients.lingering.is_empty() {
                self.ask_to_give_way(Group::All);
            }
        } else {
            while is_waited_for && !self.has_room_for_session() && self.close_longest_lingering(Group::All) {}
        }
        self.hold_sessions();
    }

    /// Whether those who wait where clients speak TLS have to wait on.
    fn hold_sessions(&mut self) {
        let has_room = self.has_room_for_session();
        if !has_room && self.listeners.may_have_secured_clients() && !self.secured.is_full_said {
            self.secured.is_full_said = true;
            self.counters.accept_pauses = self.counters.accept_pauses.saturating_add(1);
            let (len, now) = (self.secured.len(), self.clock.now());
            let message = format_args!(
                "[tls] The memory for connections over TLS is used up ({len} connections of {} KiB each), new clients wait; --memory sets it",
                BYTES_EACH.div_ceil(1024)
            );
            self.notices.warn(now, Notice::TlsFull, message);
        }
        self.secured.is_full_said &= !has_room;
        let has_place = !self.secured.is_full_of_handshakes() || self.handshake_that_gives_way().is_some();
        self.listeners.hold_secured(!has_room || !has_place);
    }

    fn handshake_that_gives_way(&self) -> Option<Key> {
        let waits = |key| self.clients.connections.get(key).is_some_and(Connection::is_queued);
        self.secured.gives_way(self.clock.now(), waits)
    }

    /// A connection has come in. If that is where clients speak TLS, it has a session, and is charged for it.
    pub(super) fn open_session(&mut self, key: Key) {
        let Some(conn) = self.clients.connections.get(key).filter(|conn| self.secured.has(conn.listener)) else {
            return;
        };
        let is_headed = conn.opening == Opening::Proxied;
        if let Err(trouble) = self.secured.open(key, conn.listener) {
            // Files were read that can't be used after all.
            let peer = conn.peer;
            self.warn_of_trouble(&peer, "No TLS", &trouble);
            return self.close(key, Close::Refused);
        }
        self.clients.budget.lower(BYTES_EACH);
        self.pay_for_session();
        if !is_headed {
            self.begin_handshake(key);
        }
        self.hold_sessions();
    }

    /// Whoever holds most pays for a connection that has come.
    fn pay_for_session(&mut self) {
        let (counters, notices, now) = (&mut self.counters, &mut self.notices, self.clock.now());
        let mut tally = super::tally::Tally { counters, notices, limits: &self.limits, now };
        self.clients.pay(|peer, bytes| tally.dropped_for_budget(peer, bytes));
    }

    /// Nothing stands before the handshake of a connection any more, if it is one with TLS.
    pub(super) fn begin_handshake(&mut self, key: Key) {
        let now = self.clock.now();
        let Some(conn) = self.clients.connections.get_mut(key).filter(|conn| self.secured.has(conn.listener)) else {
            return;
        };
        conn.opening = Opening::Secured;
        let host = conn.peer.host();
        self.clients.arm(key);
        if self.secured.is_full_of_handshakes()
            && let Some(oldest) = self.handshake_that_gives_way().or_else(|| self.secured.oldest_handshake())
        {
            self.close(oldest, Close::GaveWay);
        }
        self.secured.begin_handshake(key, host, now);
    }
}

/// Reading.
impl<S: Sink, N: Net> Server<S, N> {
    /// A turn begins.
    #[inline]
    pub(super) fn begin_handshakes(&mut self) {
        self.secured.begin_turn();
    }

    /// Whether the handshake of a connection goes on in the next turn, since this one had enough of them.
    #[inline]
    pub(super) fn is_handshake_late(&self, key: Key) -> bool {
        self.secured.is_any() && self.secured.is_late(key)
    }

    /// Reads once from a connection over TLS.
    #[inline(never)] // the way of all others is to stay short
    pub(super) fn read_secured(&mut self, key: Key, allowance: usize, is_to_end: bool) -> Next {
        let most = allowance.min(self.read_buffer.most());
        let Some(conn) = self.clients.connections.get_mut(key) else { return Next::Wait };
        let start = conn.framer.room_before(most);
        let mut buffer = self.read_buffer.take();
        let room = buffer.get_mut(start..start + most).unwrap_or_default();
        let got = self.secured.read(key, &mut self.net, &mut conn.stream, room);
        if got.is_ready {
            self.finish_handshake(key);
        }
        let is_flooded = self.note_word(key, &got);
        if got.count > 0
            && let Some(conn) = self.clients.connections.get(key)
        {
            let is_open = !conn.opening.is_decided();
            self.feed(key, buffer.get_mut(..start + got.count).unwrap_or_default(), start, is_open);
        }
        self.read_buffer.put_back(buffer);
        if is_flooded {
            if let Some(conn) = self.clients.connections.get(key) {
                let peer = conn.peer;
                self.tally().cut_off(&peer);
            }
            return Next::Close(Close::CutOff);
        }
        self.after_read(key, got, is_to_end)
    }

    /// What has come counts as a word, though it may be no line; not during the handshake, which has but its time. True if it is too
    /// much of what nobody wants.
    fn note_word(&mut self, key: Key, got: &Got) -> bool {
        if got.came == 0 {
            return false;
        }
        self.clock.note_bytes();
        if got.count == 0 {
            // Whoever floods with them is cut off in the end all the same.
            self.secured.note_unseen(got.came);
        }
        if let Some(secure) = self.secured.get_mut(key).filter(|secure| secure.is_over()) {
            self.counters.dropped_bytes = self.counters.dropped_bytes.saturating_add(got.came as u64);
            if secure.is_flooded(got.came) {
                return true;
            }
        }
        let is_serving = self.life == Life::Serving;
        let Some(conn) = self.clients.connections.get_mut(key) else { return false };
        let is_timed = matches!(conn.opening, Opening::Secured | Opening::Failed);
        if !is_timed || !is_serving {
            conn.last_word = self.clock.tick();
        }
        false
    }

    fn after_read(&mut self, key: Key, got: Got, is_to_end: bool) -> Next {
        let next = if got.has_more || !got.is_emptied || is_to_end { Next::Again } else { Next::Wait };
        if got.trouble.as_ref().is_some_and(Trouble::is_no_tls) {
            self.refuse_lines(key);
            return Next::Close(Close::Refused);
        }
        if got.trouble.is_some() && self.is_answer_to_goodbye(key, got.trouble.as_ref()) {
            self.note_truncated(key);
            self.end_quietly(key);
        } else if let Some(trouble) = &got.trouble {
            self.fail(key, trouble);
            if self.limits.linger.is_zero() && self.life == Life::Serving {
                return Next::Close(Close::Refused);
            }
        } else if self.send(key).is_err() {
            // It is gone, or does not read; what it has sent is read on.
            debug!("[tls] Cannot answer a client");
        }
        if got.has_ended && self.answer_end(key) {
            return Next::Wait;
        }
        match got.end {
            // All of what has come goes out before its end.
            _ if got.has_more => next,
            None => {
                if got.came == 0 && got.is_emptied {
                    Next::Wait
                } else {
                    next
                }
            }
            Some(Ok(())) => {
                self.note_truncated(key);
                if self.limits.receipt && self.owe_receipt(key) { Next::Wait } else { Next::Close(Close::Ended) }
            }
            Some(Err(error)) => Next::Close(Close::Failed(error)),
        }
    }

    /// Sends what a session has to send.
    fn send(&mut self, key: Key) -> std::io::Result<()> {
        let Some(conn) = self.clients.connections.get_mut(key) else { return Ok(()) };
        self.secured.get_mut(key).map_or(Ok(()), |secure| secure.send(&mut self.net, &mut conn.stream))
    }

    /// The handshake is over: lines come now, from a client that may have a name.
    fn finish_handshake(&mut self, key: Key) {
        let _ = self.send(key);
        self.secured.end_handshake(key);
        let (Some(secure), Some(conn)) = (self.secured.get_mut(key), self.clients.connections.get_mut(key)) else {
            return;
        };
        let owes_goodbye = matches!(secure.stage, Stage::Shaking { owes_goodbye: true, .. });
        secure.stage = Stage::Open;
        conn.opening = Opening::Fresh;
        // Its silence counts from now on.
        conn.last_word = self.clock.tick();
        let name = secure.certificate().and_then(Certificate::read).and_then(|read| read.names.into_iter().next());
        if let Some(name) = name.as_deref().and_then(cleaned) {
            conn.peer = conn.peer.with_name(name);
        }
        debug!("[tls] {} has come over {}", conn.peer, secure.version());
        if owes_goodbye {
            secure.fall_silent();
            let _ = self.net.say_goodbye(&mut conn.stream);
        }
        self.secured.counters.handshakes = self.secured.counters.handshakes.saturating_add(1);
        self.clients.arm(key);
        self.hold_sessions();
    }
}

/// The name of a client as it is shown, made as harmless as the `{app}` of a message. `None` if there is nothing of it.
fn cleaned(name: &str) -> Option<PeerName> {
    let is_fine = |sign: char| sign.is_ascii_alphanumeric() || "_.-".contains(sign);
    let mut text: String = name
        .chars()
        .take(crate::engine::peer::MOST_NAME_BYTES)
        .map(|sign| if is_fine(sign) { sign } else { '_' })
        .collect();
    if text.starts_with(['.', '-']) {
        text.replace_range(..1, "_");
    }
    PeerName::new(&text)
}

/// Ends.
impl<S: Sink, N: Net> Server<S, N> {
    /// The client has said that it ends: its last line goes out (P2), and it is answered, and told our FIN; or it is owed a
    /// receipt, and hears all that behind it. True if nothing more is read of it.
    fn answer_end(&mut self, key: Key) -> bool {
        let Some(secure) = self.secured.get_mut(key).filter(|secure| secure.stage == Stage::Open) else { return false };
        secure.stage = Stage::Ended;
        if self.limits.receipt && self.owe_receipt(key) {
            return true;
        }
        self.flush_line(key);
        if let Some(secure) = self.secured.get_mut(key) {
            secure.say_end();
        }
        let _ = self.send(key);
        self.say_goodbye(key);
        false
    }

    /// Some answer a FIN that comes without `close_notify` with an alert (OpenSSL: 50), and close: that is their end, as a FIN is.
    fn is_answer_to_goodbye(&self, key: Key, trouble: Option<&Trouble>) -> bool {
        let is_told = self.secured.get(key).is_some_and(|secure| secure.stage == Stage::Open && secure.is_silent());
        is_told && trouble.is_some_and(|trouble| trouble.kind() == Kind::Refused)
    }

    /// A session ends without anything that is to be said of it.
    fn end_quietly(&mut self, key: Key) {
        self.flush_line(key);
        if let Some(secure) = self.secured.get_mut(key) {
            secure.stage = Stage::Ended;
        }
    }

    /// Who speaks no TLS is reset: a goodbye would tell a sender of lines that what it has written was taken.
    fn refuse_lines(&mut self, key: Key) {
        let (Some(secure), Some(conn)) = (self.secured.get_mut(key), self.clients.connections.get_mut(key)) else {
            return;
        };
        secure.stage = Stage::Failed;
        self.secured.end_handshake(key);
        let (peer, listener) = (conn.peer, conn.listener);
        self.net.refuse(&mut conn.stream);
        self.warn_of_no_tls(&peer, listener);
        self.hold_sessions();
    }

    /// A session can't go on: the client is told why, and what it sends is dropped from now on.
    fn fail(&mut self, key: Key, trouble: &Trouble) {
        let _ = self.send(key);
        let (Some(secure), Some(conn)) = (self.secured.get_mut(key), self.clients.connections.get_mut(key)) else {
            return;
        };
        if secure.stage == Stage::Failed {
            return;
        }
        let was_open = secure.stage == Stage::Open;
        secure.stage = Stage::Failed;
        self.secured.end_handshake(key);
        let peer = conn.peer;
        if was_open {
            self.flush_line(key);
        }
        if let Some(conn) = self.clients.connections.get_mut(key) {
            conn.opening = Opening::Failed;
        }
        let what = if was_open { "TLS broke off" } else { "No TLS" };
        self.warn_of_trouble(&peer, what, trouble);
        self.say_goodbye(key);
        self.clients.arm(key);
        self.hold_sessions();
    }

    /// The connection has ended without a word from TLS: nobody can tell whether the client or somebody between has ended it.
    fn note_truncated(&mut self, key: Key) {
        let Some(secure) = self.secured.get(key).filter(|secure| secure.stage == Stage::Open) else { return };
        let is_torn = secure.is_torn();
        let Some(conn) = self.clients.connections.get(key) else { return };
        let (peer, has_pending) = (conn.peer, conn.framer.pending() > 0);
        self.secured.counters.truncated = self.secured.counters.truncated.saturating_add(1);
        let what = match (is_torn, has_pending) {
            (true, _) => "a record",
            (false, true) => "a line",
            (false, false) => return,
        };
        let message = format_args!(
            "[tls] {peer} ended in the middle of {what}, without close_notify: somebody on the way may have cut it off; what has come is written"
        );
        self.notices.warn(self.clock.now(), Notice::TlsCut, message);
    }

    /// A connection leaves: what it was charged is given back.
    pub(super) fn end_session(&mut self, key: Key, conn: &Connection<N::Stream>, why: &Close) -> SessionEnd {
        let Some(secure) = self.secured.remove(key) else { return SessionEnd::Nothing };
        self.clients.budget.raise(BYTES_EACH);
        self.hold_sessions();
        match secure.stage {
            Stage::Headed { .. } | Stage::Open => return SessionEnd::Nothing,
            Stage::Ended | Stage::Failed => {}
            Stage::Shaking { has_begun, .. } => {
                let why = match why {
                    Close::Unsecured if has_begun => "its handshake was not over after 10 seconds",
                    Close::Unsecured => "nothing came within 10 seconds",
                    Close::GaveWay => "its handshake took long, and others waited",
                    _ if has_begun => "the connection ended in the middle of the handshake",
                    _ => return SessionEnd::Nothing,
                };
                self.warn_of_failure(Notice::NoHandshake, format_args!("No TLS with {}: {why}", conn.peer));
            }
        }
        SessionEnd::Noted
    }

    /// What a client is told last, as it has to be sent.
    pub(super) fn sealed(&mut self, key: Key, text: Vec<u8>) -> Vec<u8> {
        let Some(secure) = self.secured.get_mut(key) else { return text };
        let bytes = secure.last_words(&text);
        // Bytes that nobody has read when it is closed would take the answer with them.
        let mut unread = self.read_buffer.take();
        if let Some(conn) = self.clients.connections.get_mut(key) {
            for _ in 0..LAST_READS {
                if !matches!(self.net.read(&mut conn.stream, &mut unread), Ok(1..)) {
                    break;
                }
            }
        }
        self.read_buffer.put_back(unread);
        bytes
    }
}

/// Warnings.
impl<S: Sink, N: Net> Server<S, N> {
    /// Each kind has its own limit, so that a noisy client does not hide what ails another.
    fn warn_of_trouble(&mut self, peer: &Peer, what: &str, trouble: &Trouble) {
        let notice = match trouble.kind() {
            Kind::Refused => Notice::TlsRefused,
            Kind::Certificate => Notice::TlsCertificate,
            Kind::Version | Kind::Broken => Notice::NoHandshake,
        };
        self.warn_of_failure(notice, format_args!("{what} with {peer}: {trouble}"));
    }

    fn warn_of_failure(&mut self, notice: Notice, text: fmt::Arguments<'_>) {
        self.secured.counters.failed = self.secured.counters.failed.saturating_add(1);
        self.notices.warn(self.clock.now(), notice, format_args!("[tls] {text}; the connection is closed"));
    }

    fn warn_of_no_tls(&mut self, peer: &Peer, listener: u8) {
        self.secured.counters.failed = self.secured.counters.failed.saturating_add(1);
        let at = self.secured.doors.get(usize::from(listener)).and_then(Option::as_ref).map_or("", |door| &door.at);
        let message = format_args!(
            "[tls] {peer} sends lines without TLS to {at},tls: none is taken, and the connection is reset; turn TLS on at the sender, or give it a listener without tls"
        );
        self.notices.warn(self.clock.now(), Notice::NoTls, message);
    }
}

/// Checks.
impl<S: Sink, N: Net> Server<S, N> {
    /// Asserts that sessions are those of who came in at a listener with TLS.
    pub(super) fn check_sessions(&self) {
        let connections = &self.clients.connections;
        self.secured.check(|index, listener| {
            connections.iter().any(|(place, conn)| place == index as usize && conn.listener == listener)
        });
        let secured = connections.iter().filter(|(_, conn)| self.secured.has(conn.listener)).count();
        assert_eq!(secured, self.secured.len(), "10. who came in at a listener with TLS has a session");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p33_a_name_is_made_as_harmless_as_an_app() {
        for (name, shown) in [
            ("box1.plant.example", "box1.plant.example"),
            ("*.plant.example", "_.plant.example"),
            ("..", "_."),
            ("a/b c\n\u{e9}", "a_b_c__"),
            (&"x".repeat(300), &"x".repeat(64)),
        ] {
            assert_eq!(cleaned(name).map(PeerName::text), Some(shown), "{name:?}");
        }
        assert_eq!(cleaned(""), None);
    }
}
