//! Connections over TLS (P33): what a listener with `tls` asks of its clients, and the session of each of them. Invariant: a
//! session is here exactly for those who came in at such a listener, and is in the list of unfinished handshakes exactly while
//! its handshake has begun and is not over; of what has come, less than [`BYTES_EACH`] is kept for each.

use std::io::{self, ErrorKind};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use crate::config::listen::{Listen, ListenOptions};
use crate::engine::peer::Host;
use crate::engine::stats::TlsCounters;
use crate::net::{Key, Net};
use crate::tls::files::{Authorities, authorities, own_key_pair, server_config};
use crate::tls::{Certificate, MOST_KEPT, Session, Trouble};

/// Handshakes that may be unfinished at once.
pub(super) const HANDSHAKES: usize = 64;
/// A handshake gives its place to somebody else's only after so long, in which the slowest round trip is done: else of a crowd that
/// comes back at once over such a way nobody would ever come in.
const GRACE: Duration = Duration::from_secs(1);
/// The same where not a byte has come: who wants a handshake begins with one, right behind its connect.
const SILENT_GRACE: Duration = Duration::from_millis(100);
/// Who has more at once than this has half of that time: it keeps others out.
const FEW: usize = HANDSHAKES / 4;
/// Handshake work in one turn: it goes on in the next one.
const TURN: Duration = Duration::from_millis(5);
/// Ciphertext that is read at once.
const CIPHER_BYTES: usize = 64 * 1024;
/// The same during a handshake, of which no message is as long.
const HANDSHAKE_BYTES: usize = 2 * MOST_KEPT;
/// Behind its end, or once its session has failed, a client may have so much on its way, and not more.
const MOST_SURPLUS: usize = 4 * 1024 * 1024;
/// What is to be sent may be so much: more, and the client does not read it.
const MOST_UNSENT: usize = 32 * 1024;
/// What a connection is charged besides itself, of the memory budget: what may be kept of ciphertext, or in its place of
/// plaintext, and what the library holds on the heap. An idle connection takes 3.8 KiB, itself included: a thousand were measured.
const KEPT_BYTES: usize = MOST_KEPT + 3 * 1024;

/// Bytes of memory that a connection over TLS takes besides.
pub(super) const BYTES_EACH: usize = size_of::<Secure>() + KEPT_BYTES;
/// Bytes that are set aside where any listener asks for TLS: while a handshake lasts, it may keep a record more.
pub(super) const BYTES_AT_ONCE: usize = HANDSHAKES * MOST_KEPT;
/// The buffer, which is there once.
#[cfg(feature = "cli")]
pub(super) const BUFFER_BYTES: usize = CIPHER_BYTES;

const _: () = assert!(CIPHER_BYTES >= HANDSHAKE_BYTES, "a handshake's bytes fit the buffer");

/// What pending lines keep of their share, however many connections over TLS there are: a quarter, and room for the longest.
pub(super) fn floor(pending_share: usize, max_line: usize) -> usize {
    (pending_share / 4).max(max_line + 1)
}

/// What a listener asks of its clients.
pub(super) struct Door {
    config: Arc<ServerConfig>,
    /// From when on our certificate is valid, and the last second in which it is, since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// It, in DER.
    pub(super) leaf: Vec<u8>,
    /// Who is trusted to sign those of clients, if they need any: others differ in this.
    pub(super) trusted: Option<u64>,
    /// Where it is, as people write it.
    pub(super) at: String,
}

impl Door {
    /// Reads the files that the options name; gives also what is wrong with them though they can be used.
    ///
    /// # Errors
    /// A sentence about the first file that can't be used.
    pub(super) fn open(listen: &Listen) -> Result<(Self, Option<String>), String> {
        let ListenOptions { cert, key, client_ca, client_name, tls_min, .. } = &listen.options;
        // `Config::validate` has seen that they are there.
        let (Some(cert), Some(key)) = (cert.path(), key.path()) else {
            return Err(format!("{} has no certificate", listen.at));
        };
        let sentence = |error: crate::tls::files::FileTrouble| error.to_string();
        let keys = own_key_pair(cert, key).map_err(sentence)?;
        let clients = client_ca.path().map(|path| authorities(Some(path))).transpose().map_err(sentence)?;
        let config = server_config(&keys, clients.as_ref(), &client_name.0, *tls_min).map_err(sentence)?;
        let Certificate { not_before, not_after, .. } = *keys.certificate();
        let leaf = keys.leaf().to_vec();
        let trusted = clients.as_ref().map(Authorities::fingerprint);
        Ok((Self { config, not_before, not_after, leaf, trusted, at: listen.at.to_string() }, keys.warning()))
    }
}

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A header of the PROXY protocol comes first. `owes_goodbye`: as below.
    Headed { owes_goodbye: bool },
    /// The handshake. `owes_goodbye`: the client was told goodbye meanwhile, but could not finish it behind our FIN.
    Shaking { has_begun: bool, owes_goodbye: bool },
    /// Lines come.
    Open,
    /// The client has said that it ends.
    Ended,
    /// It can't go on.
    Failed,
}

/// One connection.
pub(super) struct Secure {
    session: Session,
    /// Ciphertext that is no whole record yet, or for which there was no room.
    kept: Vec<u8>,
    /// Plaintext for which there was no room.
    plain: Vec<u8>,
    pub(super) stage: Stage,
    /// We have sent our FIN, behind which nothing can be sent.
    is_silent: bool,
    /// Bytes that came behind the client's end, or since the session has failed.
    surplus: usize,
    /// The number of its listener.
    listener: u8,
}

/// What a read came to.
#[derive(Default)]
pub(super) struct Got {
    /// Plaintext in the buffer.
    pub(super) count: usize,
    /// Bytes of ciphertext that came.
    pub(super) came: usize,
    /// There is more that was read already.
    pub(super) has_more: bool,
    /// The read brought less than it could have.
    pub(super) is_emptied: bool,
    /// The connection's end has come, or an error.
    pub(super) end: Option<io::Result<()>>,
    /// The handshake is over now.
    pub(super) is_ready: bool,
    /// The client has said now that it ends.
    pub(super) has_ended: bool,
    /// The session can't go on.
    pub(super) trouble: Option<Trouble>,
}

impl Secure {
    /// Whether a part of a record has come, and not the rest.
    pub(super) fn is_torn(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Whether nothing more is taken of it.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended | Stage::Failed)
    }

    /// Whether we have said goodbye.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Counts bytes that nobody wants; whether these are more than are read of anybody.
    pub(super) fn is_flooded(&mut self, bytes: usize) -> bool {
        self.surplus = self.surplus.saturating_add(bytes);
        self.surplus > MOST_SURPLUS
    }

    /// The certificate of the client, in DER.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        self.session.certificate()
    }

    pub(super) fn version(&self) -> &'static str {
        self.session.version().unwrap_or("TLS")
    }

    /// Moves plaintext that had no room before into the buffer; gives how much.
    fn give(&mut self, room: &mut [u8]) -> usize {
        let count = self.plain.len().min(room.len());
        for (place, byte) in room.iter_mut().zip(self.plain.drain(..count)) {
            *place = byte;
        }
        if self.plain.is_empty() {
            self.plain = Vec::new();
        }
        count
    }

    /// Reads once, and decrypts into `room`.
    fn read<N: Net>(&mut self, net: &mut N, stream: &mut N::Stream, cipher: &mut [u8], room: &mut [u8]) -> Got {
        let mut got = Got { count: self.give(room), ..Got::default() };
        if !self.plain.is_empty() {
            got.has_more = true;
            return got;
        }
        let room = room.get_mut(got.count..).unwrap_or_default();
        let mut kept = mem::take(&mut self.kept);
        // Of what is read, less than a record stays: a record has more bytes than its plaintext.
        let most = match self.stage {
            Stage::Shaking { .. } if kept.len() < MOST_KEPT => MOST_KEPT,
            Stage::Shaking { .. } => HANDSHAKE_BYTES,
            _ => room.len().max(MOST_KEPT),
        };
        let cipher = cipher.get_mut(..most.min(CIPHER_BYTES)).unwrap_or_default();
        let old = kept.len().min(cipher.len());
        let (before, free) = cipher.split_at_mut(old);
        before.copy_from_slice(kept.get(..old).unwrap_or_default());
        kept.clear();
        let read = if free.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { net.read(stream, free) };
        let asked = free.len();
        match read {
            Ok(0) => got.end = Some(Ok(())),
            Ok(count) => (got.came, got.is_emptied) = (count, count < asked),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => got.is_emptied = true,
                _ => got.end = Some(Err(error)),
            },
        }
        let cipher = cipher.get_mut(..old + got.came).unwrap_or_default();
        self.decrypt(cipher, room, &mut got);
        got
    }

    fn decrypt(&mut self, cipher: &mut [u8], room: &mut [u8], got: &mut Got) {
        let Self { session, kept, plain, stage, .. } = self;
        if matches!(stage, Stage::Ended | Stage::Failed) || cipher.is_empty() {
            return;
        }
        let (mut filled, mut is_full) = (0, false);
        let (used, result) = session.received(cipher, &mut |text| {
            let free = room.get_mut(filled..).unwrap_or_default();
            let (fits, rest) = text.split_at(text.len().min(free.len()));
            free.iter_mut().zip(fits).for_each(|(place, byte)| *place = *byte);
            filled += fits.len();
            plain.extend_from_slice(rest);
            is_full = filled == room.len();
            !is_full
        });
        got.count += filled;
        // Of its size exactly: most have nothing to keep.
        *kept = cipher.get(used..).unwrap_or_default().to_vec();
        got.has_more = !plain.is_empty() || (is_full && !kept.is_empty());
        if let Stage::Shaking { has_begun, .. } = stage {
            *has_begun = true;
        }
        got.is_ready = matches!(stage, Stage::Shaking { .. }) && session.is_ready();
        got.has_ended = session.has_ended() && !got.has_more;
        got.trouble = result.err();
    }

    /// Sends what is to be sent, as far as the kernel takes it.
    ///
    /// # Errors
    /// The client is gone, or does not read what it is sent.
    pub(super) fn send<N: Net>(&mut self, net: &mut N, stream: &mut N::Stream) -> io::Result<()> {
        while !self.session.unsent().is_empty() {
            if self.is_silent {
                let len = self.session.unsent().len();
                self.session.sent(len);
                return Ok(());
            }
            match net.write(stream, self.session.unsent()) {
                Ok(count) => self.session.sent(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.session.unsent().len() > MOST_UNSENT { Err(ErrorKind::WriteZero.into()) } else { Ok(()) }
    }

    /// Our end is to be sent too, as an answer to the client's.
    pub(super) fn say_end(&mut self) {
        self.session.say_end();
    }

    /// These bytes as records, behind what was to be sent before, with our end behind them.
    pub(super) fn last_words(&mut self, text: &[u8]) -> Vec<u8> {
        let mut bytes = self.session.unsent().to_vec();
        self.session.sent(bytes.len());
        if self.session.encrypt(text, &mut bytes).is_ok() {
            self.session.say_end();
            bytes.extend_from_slice(self.session.unsent());
        }
        bytes
    }

    /// Our FIN is about to go out: nothing can be sent any more.
    pub(super) fn fall_silent(&mut self) {
        self.is_silent = true;
    }
}

/// A handshake that is not over.
struct Shaking {
    key: Key,
    host: Host,
    since: Duration,
}

/// All of them.
#[derive(Default)]
pub(super) struct Secured {
    /// By the number of the listener.
    pub(super) doors: Vec<Option<Door>>,
    /// By the connection's place in the table.
    sessions: Vec<Option<Box<Secure>>>,
    count: usize,
    /// The oldest first.
    shaking: Vec<Shaking>,
    cipher: Vec<u8>,
    /// What is left for handshakes in this turn.
    spent: Duration,
    /// When it is looked again at how long our certificates last.
    pub(super) next_look: Duration,
    /// What has happened.
    pub(super) counters: TlsCounters,
    /// Bytes of the memory budget that stay for pending lines.
    pub(super) floor: usize,
    /// Bytes that came and brought no plaintext.
    unseen_bytes: u64,
    /// That there is no room was said.
    pub(super) is_full_said: bool,
}

impl Secured {
    /// One more listener: with TLS, if there is a door.
    pub(super) fn add(&mut self, door: Option<Door>) {
        if door.is_some() {
            self.cipher.resize(CIPHER_BYTES, 0);
        }
        self.doors.push(door);
    }

    /// Whether any listener asks for TLS.
    pub(super) fn is_any(&self) -> bool {
        !self.cipher.is_empty()
    }

    /// Whether the listener with this number asks for TLS.
    #[inline]
    pub(super) fn has(&self, listener: u8) -> bool {
        self.is_any() && self.door(listener).is_some()
    }

    fn door(&self, listener: u8) -> Option<&Door> {
        self.doors.get(usize::from(listener))?.as_ref()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// A connection has come in at a listener with TLS.
    ///
    /// # Errors
    /// There can be no session; what the listener asks for contradicts itself.
    pub(super) fn open(&mut self, key: Key, listener: u8) -> Result<(), Trouble> {
        let Some(door) = self.door(listener) else { return Ok(()) };
        let session = Session::server(&door.config)?;
        let (kept, plain) = (Vec::new(), Vec::new());
        let secure = Secure {
            session,
            kept,
            plain,
            stage: Stage::Headed { owes_goodbye: false },
            is_silent: false,
            surplus: 0,
            listener,
        };
        let index = key.index as usize;
        if self.sessions.len() <= index {
            self.sessions.resize_with(index + 1, || None);
        }
        if let Some(place) = self.sessions.get_mut(index) {
            *place = Some(Box::new(secure));
            self.count += 1;
        }
        Ok(())
    }

    pub(super) fn get(&self, key: Key) -> Option<&Secure> {
        self.sessions.get(key.index as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Secure> {
        self.sessions.get_mut(key.index as usize)?.as_deref_mut()
    }

    /// A connection leaves.
    pub(super) fn remove(&mut self, key: Key) -> Option<Box<Secure>> {
        let secure = self.sessions.get_mut(key.index as usize)?.take()?;
        self.count -= 1;
        self.end_handshake(key);
        Some(secure)
    }

    /// Reads a connection once, and decrypts into `room`.
    pub(super) fn read<N: Net>(&mut self, key: Key, net: &mut N, stream: &mut N::Stream, room: &mut [u8]) -> Got {
        let Self { sessions, cipher, spent, .. } = self;
        let Some(secure) = sessions.get_mut(key.index as usize).and_then(Option::as_deref_mut) else {
            return Got { is_emptied: true, ..Got::default() };
        };
        if !matches!(secure.stage, Stage::Shaking { .. }) {
            return secure.read(net, stream, cipher, room);
        }
        let began = net.now().since_start;
        let got = secure.read(net, stream, cipher, room);
        *spent += net.now().since_start.saturating_sub(began);
        got
    }

    /// Bytes came that brought no plaintext.
    pub(super) fn note_unseen(&mut self, bytes: usize) {
        self.unseen_bytes = self.unseen_bytes.wrapping_add(bytes as u64);
    }

    pub(super) fn unseen_bytes(&self) -> u64 {
        self.unseen_bytes
    }

    /// The handshake of a connection begins, at `now`.
    pub(super) fn begin_handshake(&mut self, key: Key, host: Host, now: Duration) {
        if let Some(secure) = self.get_mut(key) {
            let owes_goodbye = matches!(secure.stage, Stage::Headed { owes_goodbye: true });
            secure.stage = Stage::Shaking { has_begun: false, owes_goodbye };
            self.shaking.push(Shaking { key, host, since: now });
        }
    }

    /// The handshake of a connection is over, however that came.
    pub(super) fn end_handshake(&mut self, key: Key) {
        self.shaking.retain(|one| one.key != key);
    }

    /// Whether the handshake of this connection has begun at that time or later, and is not over.
    pub(super) fn is_shaking_since(&self, key: Key, time: Duration) -> bool {
        self.shaking.iter().any(|one| one.key == key && one.since >= time)
    }

    /// A turn begins.
    pub(super) fn begin_turn(&mut self) {
        self.spent = Duration::ZERO;
    }

    /// Whether the handshake of this connection is to go on in the next turn.
    pub(super) fn is_late(&self, key: Key) -> bool {
        self.spent >= TURN && self.get(key).is_some_and(|secure| matches!(secure.stage, Stage::Shaking { .. }))
    }

    /// Whether one more handshake can begin only if another gives its place.
    pub(super) fn is_full_of_handshakes(&self) -> bool {
        self.shaking.len() >= HANDSHAKES
    }

    /// The handshake that gives its place: of the host with most, the oldest whose time is over and that does not itself wait for us.
    pub(super) fn gives_way(&self, now: Duration, waits: impl Fn(Key) -> bool) -> Option<Key> {
        let may = |one: &&Shaking| self.grace_of(one) <= now.saturating_sub(one.since) && !waits(one.key);
        self.of_most().find(may).map(|one| one.key)
    }

    /// How long a handshake has before it may have to give its place.
    fn grace_of(&self, one: &Shaking) -> Duration {
        let has_begun =
            self.get(one.key).is_some_and(|secure| matches!(secure.stage, Stage::Shaking { has_begun: true, .. }));
        if !has_begun {
            SILENT_GRACE
        } else if self.of_most().count() > FEW {
            GRACE / 2
        } else {
            GRACE
        }
    }

    /// The handshakes of the host that has most, the oldest first.
    fn of_most(&self) -> impl Iterator<Item = &Shaking> {
        let host = self.oldest_of_most().map(|one| one.host);
        self.shaking.iter().filter(move |one| Some(one.host) == host)
    }

    /// Whether a handshake has begun, and is not over.
    pub(super) fn is_anybody_shaking(&self) -> bool {
        let begun = |one: &Shaking| {
            self.get(one.key).is_some_and(|secure| matches!(secure.stage, Stage::Shaking { has_begun: true, .. }))
        };
        self.shaking.iter().any(begun)
    }

    /// How long until one gives its place, if one more may wait for it.
    pub(super) fn handshakes_due_in(&self, now: Duration) -> Option<Duration> {
        if !self.is_full_of_handshakes() {
            return None;
        }
        let due = |one: &Shaking| (one.since + self.grace_of(one)).saturating_sub(now);
        // One that waits for us is looked at again after that.
        self.of_most().map(due).min().map(|due| due.max(TURN))
    }

    /// The oldest handshake of the host with most, however young it is.
    pub(super) fn oldest_handshake(&self) -> Option<Key> {
        self.oldest_of_most().map(|one| one.key)
    }

    fn oldest_of_most(&self) -> Option<&Shaking> {
        let count = |host: Host| self.shaking.iter().filter(|one| one.host == host).count();
        // The first of several with as many.
        self.shaking
            .iter()
            .rev()
            .max_by_key(|one| count(one.host))
            .and_then(|most| self.shaking.iter().find(|one| one.host == most.host))
    }

    /// Says goodbye: whether our FIN may go out now. During a handshake it goes out behind that.
    pub(super) fn may_say_goodbye(&mut self, key: Key) -> bool {
        let Some(secure) = self.get_mut(key) else { return true };
        if let Stage::Headed { owes_goodbye } | Stage::Shaking { owes_goodbye, .. } = &mut secure.stage {
            *owes_goodbye = true;
            return false;
        }
        secure.fall_silent();
        true
    }

    /// Nobody is connected: gives back what a crowd took.
    pub(super) fn reset(&mut self) {
        self.sessions = Vec::new();
    }

    /// Asserts the invariant. `is_there`: whether somebody who came in at this listener has this place.
    pub(super) fn check(&self, is_there: impl Fn(u32, u8) -> bool) {
        let all = self.sessions.iter().enumerate().filter_map(|(index, one)| Some((index, one.as_deref()?)));
        let (mut count, mut shaking) = (0, 0);
        for (index, secure) in all {
            count += 1;
            shaking += usize::from(matches!(secure.stage, Stage::Shaking { .. }));
            assert!(is_there(u32::try_from(index).unwrap_or(u32::MAX), secure.listener), "a session of nobody");
            let most = if matches!(secure.stage, Stage::Shaking { .. }) { HANDSHAKE_BYTES } else { MOST_KEPT };
            assert!(secure.kept.len() + secure.plain.len() <= most, "more is kept of a connection than it is charged");
        }
        assert_eq!((count, shaking), (self.count, self.shaking.len()), "each session and handshake is counted once");
        assert!(shaking <= HANDSHAKES, "{shaking} unfinished handshakes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p33_who_is_silent_or_has_many_handshakes_has_less_time_for_them() {
        let mut secured = Secured::default();
        let shaking = |index: usize, host| {
            let host = Host::V4([192, 0, 2, host]);
            Shaking { key: Key::new(u32::try_from(index).unwrap(), 0), host, since: Duration::ZERO }
        };
        secured.shaking.extend((0..HANDSHAKES / 2).map(|index| shaking(index, 1)));
        // Nothing is known of them: not a byte has come.
        let before = SILENT_GRACE - Duration::from_millis(1);
        assert_eq!(secured.gives_way(before, |_| false), None);
        assert_eq!(secured.gives_way(SILENT_GRACE, |_| false), Some(Key::new(0, 0)));
        assert_eq!(secured.gives_way(SILENT_GRACE, |key| key.index == 0), Some(Key::new(1, 0)), "not who waits for us");
        secured.shaking.extend((100..101 + HANDSHAKES / 2).map(|index| shaking(index, 2)));
        assert_eq!(secured.gives_way(SILENT_GRACE, |_| false), Some(Key::new(100, 0)), "of the host with most");
        assert_eq!(secured.handshakes_due_in(Duration::ZERO), Some(SILENT_GRACE));
    }
}
