//! The listeners: which of them may have clients waiting, and the pause in which none is asked. Invariant: a listener
//! that may have clients waiting is remembered until `accept` says that it has none, as its event comes only once.

use std::io::{self, ErrorKind};
use std::time::Duration;

use super::connection::Newcomer;
use crate::config::limits::Limits;
use crate::config::listen::{Framing, Listen, ListenAddr, ListenOptions};
use crate::config::syslog::Parse;
use crate::config::text::as_text;
use crate::engine::access::Access;
use crate::engine::framer::Rules;
use crate::engine::peer::Peer;
use crate::engine::sniff::Opening;
use crate::linux::{
    EHOSTDOWN, EHOSTUNREACH, EMFILE, ENETDOWN, ENETUNREACH, ENFILE, ENOBUFS, ENOMEM, ENONET, ENOPROTOOPT, EOPNOTSUPP,
    EPROTO,
};
use crate::net::Net;

/// The longest that accepting pauses when no descriptor is free (P10).
const DESCRIPTOR_PAUSE: Duration = Duration::from_secs(1);
/// What `accept` says when the process or the system has no descriptor or no memory for one more: ENFILE, EMFILE,
/// ENOBUFS, ENOMEM.
const SHORTAGES: [i32; 4] = [ENFILE, EMFILE, ENOBUFS, ENOMEM];

/// What accept(2) says to treat as "no such client after all".
const NETWORK_ERRORS: [i32; 8] =
    [ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH];

/// Whether an error of `accept` is about one client, not about the listener: the client gave up while it waited, or the
/// network said that it is gone, which Linux hands on (accept(2)). Or a signal came.
pub(super) fn is_gone_client(error: &io::Error) -> bool {
    let is_network = |code: i32| NETWORK_ERRORS.contains(&code);
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted)
        || error.raw_os_error().is_some_and(is_network)
}

/// Whether `accept` failed for want of a descriptor or memory.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| SHORTAGES.contains(&code))
}

/// One listener.
struct Listener<L> {
    /// Its place in the configuration.
    number: u8,
    socket: L,
    may_have_clients: bool,
    /// Its clients speak TLS.
    is_secured: bool,
}

/// All listeners of connections that are open; and of all that were opened, where, and by what rules their clients are read.
pub(super) struct Listeners<L> {
    open: Vec<Listener<L>>,
    local_addrs: Vec<ListenAddr>,
    options: Vec<ListenOptions>,
    /// Who may connect to each (P24).
    access: Vec<Access>,
    rules: Vec<Rules>,
    /// What is not said otherwise.
    default_rules: Rules,
    /// Nothing is accepted until then, since accepting failed so: no descriptor is free.
    pause: Option<(Duration, io::Error)>,
    /// Closed though somebody waited who could not be taken in, for this reason.
    abandoned: Option<io::Error>,
    /// A lingering connection was closed for its descriptor, and nobody has come in since.
    has_freed_descriptor: bool,
    /// No more can come in where clients speak TLS, for the moment.
    holds_secured: bool,
}

impl<L> Listeners<L> {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            open: Vec::new(),
            local_addrs: Vec::new(),
            options: Vec::new(),
            access: Vec::new(),
            rules: Vec::new(),
            default_rules: Rules::new(limits, Framing::default()),
            pause: None,
            abandoned: None,
            has_freed_descriptor: false,
            holds_secured: false,
        }
    }

    /// One more listener, which is open.
    pub(super) fn add(&mut self, number: u8, socket: L) {
        // A client may have come before the first poll; the event then tells, but asking once costs nothing.
        let is_secured = self.options.get(usize::from(number)).is_some_and(ListenOptions::is_secured);
        self.open.push(Listener { number, socket, may_have_clients: true, is_secured });
    }

    /// Where one more listener is, also one of UDP, which is open elsewhere; and its number.
    pub(super) fn note(&mut self, local: Listen, limits: &Limits) -> u8 {
        self.rules.push(Rules::new(limits, local.framing()));
        self.access.push(Access::new(&local.options.allow.0, &local.options.deny.0));
        self.local_addrs.push(local.at);
        self.options.push(local.options);
        // There are at most `MOST_LISTENERS`.
        u8::try_from(self.local_addrs.len() - 1).unwrap_or(u8::MAX)
    }

    /// The limits have changed, or the options: the rules of each are made anew.
    pub(super) fn set_limits(&mut self, limits: &Limits) {
        self.default_rules = Rules::new(limits, Framing::default());
        self.rules = self.each().map(|listen| Rules::new(limits, listen.framing())).collect();
    }

    /// The listener with this number takes over the options that can change while it is open, and gives those that hold now.
    /// Who is connected stays so, whoever may connect from now on.
    pub(super) fn set_options(&mut self, number: usize, options: &ListenOptions) -> Option<Listen> {
        let own = self.options.get_mut(number)?;
        own.renew(options);
        if let Some(access) = self.access.get_mut(number) {
            *access = Access::new(&own.allow.0, &own.deny.0);
        }
        Some(Listen::new(self.local_addrs.get(number)?.clone(), own.clone()))
    }

    /// The rules of the listener with this number, also after it was closed.
    pub(super) fn rules(&self, number: u8) -> &Rules {
        self.rules.get(usize::from(number)).unwrap_or(&self.default_rules)
    }

    /// What the lines of its clients are read as.
    pub(super) fn parse(&self, number: u8) -> Parse {
        self.options.get(usize::from(number)).map_or(Parse::Off, |options| options.parse)
    }

    /// Whether this client may connect to the listener with this number (P24).
    pub(super) fn permits(&self, number: u8, peer: &Peer) -> bool {
        self.access.get(usize::from(number)).is_none_or(|access| access.permits(peer))
    }

    /// Each with its options, as people write it.
    pub(super) fn described(&self) -> Vec<String> {
        self.each().map(|listen| as_text(&listen)).collect()
    }

    /// The listener with this number, as it is now.
    #[cfg(feature = "tls")]
    pub(super) fn listen(&self, number: usize) -> Option<Listen> {
        Some(Listen::new(self.local_addrs.get(number)?.clone(), self.options.get(number)?.clone()))
    }

    fn each(&self) -> impl Iterator<Item = Listen> {
        let listeners = self.local_addrs.iter().zip(&self.options);
        listeners.map(|(at, options)| Listen::new(at.clone(), options.clone()))
    }

    /// Where they were opened, in the order of the configuration.
    pub(super) fn local_addrs(&self) -> &[ListenAddr] {
        &self.local_addrs
    }

    pub(super) fn are_closed(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// An event tells that clients wait at listener `number`.
    pub(super) fn wake(&mut self, number: usize) {
        self.open
            .iter_mut()
            .filter(|one| usize::from(one.number) == number)
            .for_each(|one| one.may_have_clients = true);
    }

    /// All of them are to be asked again.
    pub(super) fn wake_all(&mut self) {
        self.open.iter_mut().for_each(|one| one.may_have_clients = true);
    }

    /// Whether a client may be waiting, and accepting does not pause.
    pub(super) fn may_have_clients(&self) -> bool {
        let may_have = |one: &Listener<L>| one.may_have_clients && !(one.is_secured && self.holds_secured);
        self.pause.is_none() && self.open.iter().any(may_have)
    }

    /// Whether more may come in where clients speak TLS.
    #[cfg(feature = "tls")]
    pub(super) fn hold_secured(&mut self, holds: bool) {
        self.holds_secured = holds;
    }

    /// Whether a client may be waiting where they speak TLS.
    #[cfg(feature = "tls")]
    pub(super) fn may_have_secured_clients(&self) -> bool {
        self.open.iter().any(|one| one.is_secured && one.may_have_clients)
    }

    /// Whether a client waits now, by asking the kernel.
    #[cfg(feature = "status")]
    pub(super) fn is_waited_at<N: Net<Listener = L>>(&self, net: &mut N) -> bool {
        self.open.iter().any(|one| one.may_have_clients && net.has_client(&one.socket))
    }

    /// Takes the next client that waits at the listener at this place.
    ///
    /// # Errors
    /// `WouldBlock` when none waits, else those of `accept`.
    pub(super) fn accept<N: Net<Listener = L>>(&mut self, at: usize, net: &mut N) -> io::Result<Newcomer<N::Stream>> {
        let holds = self.holds_secured;
        let is_asked = |one: &&mut Listener<L>| one.may_have_clients && !(one.is_secured && holds);
        let Some(one) = self.open.get_mut(at).filter(is_asked) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let accepted = net.accept(&mut one.socket);
        match &accepted {
            Ok(_) => self.has_freed_descriptor = false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => one.may_have_clients = false,
            Err(_) => {}
        }
        let listener = one.number;
        let options = self.options.get(usize::from(listener));
        let framing = options.map_or(Framing::default(), |options| options.framing);
        let is_proxied = options.is_some_and(|options| options.proxy);
        let opening = match is_proxied {
            true => Opening::Proxied,
            false if one.is_secured => Opening::Secured,
            false => Opening::Fresh,
        };
        accepted.map(|(stream, peer)| Newcomer { stream, peer, listener, framing, opening })
    }

    /// Whether closing a lingering connection for its descriptor may help, now that none is free. If freeing one did
    /// not help, the whole system is short: then no more are closed, or all of them would go for nobody.
    pub(super) fn may_free_descriptor(&self) -> bool {
        !self.has_freed_descriptor
    }

    /// A lingering connection was closed for its descriptor.
    pub(super) fn note_freed_descriptor(&mut self) {
        self.has_freed_descriptor = true;
    }

    /// Nothing is accepted until a descriptor is free, or a second has passed; `error` is why. If it is our own limit
    /// that was reached, after the pause one more descriptor may be freed: the limit may have been lowered.
    pub(super) fn pause(&mut self, now: Duration, error: io::Error) {
        self.has_freed_descriptor &= error.raw_os_error() != Some(EMFILE);
        self.pause = Some((now + DESCRIPTOR_PAUSE, error));
    }

    /// A descriptor is free, or can be had now.
    pub(super) fn end_pause(&mut self) {
        self.pause = None;
    }

    /// Ends a pause that has lasted long enough.
    pub(super) fn end_old_pause(&mut self, now: Duration) {
        self.pause.take_if(|(until, _)| *until <= now);
    }

    /// Whether accepting waits for a descriptor.
    pub(super) fn are_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// How long until the pause ends, if there is one.
    pub(super) fn due_in(&self, now: Duration) -> Option<Duration> {
        self.pause.as_ref().map(|(until, _)| until.saturating_sub(now))
    }

    /// At the end: listeners that somebody else keeps open are left to our successor, with who waits there.
    pub(super) fn leave_inherited<N: Net<Listener = L>>(&mut self, net: &mut N) {
        self.open.retain_mut(|one| !net.leave(&mut one.socket));
    }

    /// At the end: closes those at which nobody waits.
    pub(super) fn close_empty(&mut self) {
        self.open.retain(|one| one.may_have_clients);
    }

    /// At the end: closes all of them, though somebody may wait; and who can't be taken in for want of a descriptor is
    /// remembered.
    pub(super) fn close_all(&mut self) {
        self.open.clear();
        self.abandoned = self.pause.take().map(|(_, error)| error).filter(is_shortage);
    }

    /// Why somebody could not be taken in at the end.
    pub(super) fn take_abandoned(&mut self) -> Option<io::Error> {
        self.abandoned.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::framer::{Framer, LineSink, Lines};

    struct Nowhere;

    impl LineSink for Nowhere {
        fn lines(&mut self, _: Lines<'_>) {}
    }

    #[test]
    fn each_listener_has_its_rules_also_after_it_was_closed() {
        let mut listeners = Listeners::new(&Limits::default());
        for max_line in [4, 3] {
            let limits = Limits { max_line, ..Limits::default() };
            let number = listeners.note(ListenAddr::Unix("/x".into()).into(), &limits);
            listeners.add(number, ());
        }
        listeners.close_all();
        let skipped = |number| {
            let mut sent = *b"12345\n1234\n123\n";
            Framer::default().feed(&mut sent, 0, listeners.rules(number), &mut Nowhere).skipped
        };
        assert_eq!((skipped(0), skipped(1)), (1, 2));
    }

    #[test]
    fn p10_an_error_of_accept_is_about_a_client_or_about_descriptors_or_neither() {
        for (codes, is_gone, is_short) in [
            (&[4, 64, 71, 92, 95, 100, 101, 103, 112, 113][..], true, false),
            (&[12, 23, 24, 105], false, true),
            (&[9, 11, 13, 22], false, false),
        ] {
            for code in codes {
                let error = io::Error::from_raw_os_error(*code);
                assert_eq!((is_gone_client(&error), is_shortage(&error)), (is_gone, is_short), "{error}");
            }
        }
    }
}
