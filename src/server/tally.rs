//! What happens to clients and their bytes, counted and said (P12). Invariant: whatever is dropped, turned away or cut
//! off has a counter and a warning, and both are made here together.

use std::fmt;
use std::io;
use std::time::Duration;

use super::clients::TurnedAway;
use super::fullness::{Change, Occupancy};
use super::listener::is_shortage;
use super::notices::{Notice, Notices};
use crate::config::limits::{IdleClose, Limits, LongLines, WhenFull};
use crate::config::listen::Framing;
use crate::config::units::DisplayDuration;
use crate::engine::framer::Fed;
#[cfg(feature = "udp")]
use crate::engine::gap::Gap;
use crate::engine::peer::{Host, Peer};
use crate::engine::protocol::{Protocol, spoken};
use crate::engine::stats::Counters;
use crate::engine::wheel::Tick;

/// Datagrams that the kernel dropped.
#[cfg(feature = "udp")]
pub(super) struct Missed {
    /// Where.
    pub(super) listener: String,
    pub(super) drops: u32,
    /// Why: the end of a sentence.
    pub(super) why: String,
}

/// The counters and the warnings, at a moment.
pub(super) struct Tally<'a> {
    pub(super) counters: &'a mut Counters,
    pub(super) notices: &'a mut Notices,
    pub(super) limits: &'a Limits,
    pub(super) now: Duration,
}

fn count(counter: &mut u64, more: u64) {
    *counter = counter.saturating_add(more);
}

impl Tally<'_> {
    /// What a framer did with bytes of a client.
    pub(super) fn fed(&mut self, peer: &Peer, fed: &Fed<'_>) {
        let counters = &mut *self.counters;
        count(&mut counters.lines, fed.lines);
        count(&mut counters.unterminated, fed.unterminated);
        count(&mut counters.skipped_lines, fed.skipped);
        count(&mut counters.cut_lines, fed.cut);
        count(&mut counters.dropped_bytes, fed.dropped_bytes);
        count(&mut counters.overflows, u64::from(fed.overflows));
        if fed.too_long > 0 || fed.overflows > 0 {
            self.fed_too_much(peer, fed);
        }
    }

    #[cold]
    fn fed_too_much(&mut self, peer: &Peer, fed: &Fed<'_>) {
        let what = if self.limits.long_lines == LongLines::Cut { "cutting" } else { "skipping" };
        for _ in 0..fed.too_long {
            self.notices.warn(self.now, Notice::LineTooLong, format_args!("[tcp] Line too long on {peer}, {what}"));
        }
        for _ in 0..fed.overflows {
            let message = format_args!("[tcp] Buffer overflow on {peer}, dropping oldest data");
            self.notices.warn(self.now, Notice::BufferOverflow, message);
        }
    }

    /// The memory budget was used up, and a client's unfinished line had to go.
    #[cold]
    pub(super) fn dropped_for_budget(&mut self, peer: &Peer, dropped_bytes: u64) {
        count(&mut self.counters.dropped_for_budget, 1);
        count(&mut self.counters.dropped_bytes, dropped_bytes);
        let message = format_args!(
            "[tcp] Memory budget used up, dropping the unfinished line of {peer} ({dropped_bytes} bytes so far); --memory sets it"
        );
        self.notices.warn(self.now, Notice::Memory, message);
    }

    /// A client seems to speak another protocol than its listener.
    #[cold]
    pub(super) fn speaks(&mut self, peer: &Peer, protocol: Protocol, framing: Framing) {
        let (cure, spoken) = (protocol.cure(), spoken(framing));
        let message = format_args!("[tcp] {peer} seems to speak {protocol}, not {spoken}: {cure}");
        self.notices.warn(self.now, Notice::OtherProtocol, message);
    }

    /// A client sent something else where the length of a message has to be.
    #[cold]
    pub(super) fn sent_no_length(&mut self, peer: &Peer, framing: Framing) {
        count(&mut self.counters.bad_lengths, 1);
        let most = self.limits.max_buffer;
        let cure = match framing {
            Framing::AutoOctet => {
                "it began as octet counting does, and auto-octet took it for that; if it sends lines, use framing=lines"
            }
            _ => "framing=octet is for octet counting alone, auto-octet takes lines too",
        };
        let message = format_args!(
            "[tcp] {peer} sent no length from 1 to {most} and a space where a message begins, dropping what follows, closing connection; {cure}"
        );
        self.notices.warn(self.now, Notice::BadLength, message);
    }

    /// A client was accepted and closed at once.
    #[cold]
    pub(super) fn turned_away(&mut self, peer: &Peer, why: &TurnedAway) {
        match why {
            TurnedAway::Full => {
                count(&mut self.counters.rejected, 1);
                let limit = self.limits.max_connections;
                let message =
                    format_args!("[tcp] Connection limit reached ({limit}), rejecting connection from {peer}");
                self.notices.warn(self.now, Notice::Rejected, message);
            }
            TurnedAway::PerHost => {
                count(&mut self.counters.refused_per_host, 1);
                let (host, limit) = (peer.host(), self.limits.per_host().unwrap_or_default());
                let message = format_args!(
                    "[tcp] Host {host} has {limit} connections already, rejecting connection from {peer}; --max-per-host sets the limit"
                );
                self.notices.warn(self.now, Notice::PerHost, message);
            }
            TurnedAway::NotAllowed => {
                count(&mut self.counters.not_allowed, 1);
                let message = format_args!(
                    "[tcp] {peer} is not allowed to connect, closing connection; --allow and --deny say who is"
                );
                self.notices.warn(self.now, Notice::NotAllowed, message);
            }
            TurnedAway::Unwatched(error) => {
                count(&mut self.counters.rejected, 1);
                let message = format_args!("[tcp] Cannot watch {peer}: {error}, rejecting connection");
                self.notices.warn(self.now, Notice::NoDescriptor, message);
            }
        }
    }

    /// A connection that has to begin with a header of the PROXY protocol did not; or its header is broken, which is no
    /// question of settings.
    #[cold]
    pub(super) fn no_header(&mut self, proxy: &Peer, why: fmt::Arguments<'_>, is_broken: bool) {
        count(&mut self.counters.proxy_errors, 1);
        let [what, cure] = match is_broken {
            true => ["Broken", "it takes whole headers of version 1 and 2"],
            false => [
                "No",
                "turn it on at the proxy (HAProxy: send-proxy, nginx: proxy_protocol on); give clients without a proxy a listener without proxy",
            ],
        };
        let message = format_args!("[tcp] {what} PROXY header from {proxy}: {why}, closing connection; {cure}");
        self.notices.warn(self.now, Notice::NoHeader, message);
    }

    /// A host is slowed.
    #[cold]
    pub(super) fn slowed(&mut self, host: Host, rate: &str) {
        count(&mut self.counters.slowed, 1);
        let message = format_args!(
            "[tcp] Host {host} sends more than {rate}: it is read more slowly, no line is lost; --rate sets it"
        );
        self.notices.warn(self.now, Notice::Slowed, message);
    }

    /// And is not any more. `cost`: for so many ticks it was; over UDP, so many datagrams were dropped.
    #[cold]
    pub(super) fn not_slowed(&mut self, host: Host, why: fmt::Arguments<'_>, cost: u64, is_udp: bool) {
        if is_udp {
            let verb = if cost == 1 { "was" } else { "were" };
            let message = format_args!("[udp] Host {host} {why}; {cost} of its datagrams {verb} dropped");
            return self.notices.warn(self.now, Notice::Slowed, message);
        }
        let time = DisplayDuration(Tick(cost).begins_at());
        self.notices.warn(self.now, Notice::Slowed, format_args!("[tcp] Host {host} {why}; it was slowed for {time}"));
    }

    /// Accepting pauses, since it failed.
    #[cold]
    pub(super) fn cannot_accept(&mut self, error: &io::Error) {
        count(&mut self.counters.accept_pauses, 1);
        let cure = if is_shortage(error) { ". Raise the limit on open files, or lower --max-connections" } else { "" };
        let message = format_args!("[tcp] Cannot accept: {error}; new clients wait, trying again in a second{cure}");
        self.notices.warn(self.now, Notice::NoDescriptor, message);
    }

    /// The end can't be put off any longer, though more and more clients come.
    #[cold]
    pub(super) fn not_taken_in(&mut self) {
        let message = format_args!("[tcp] Clients connect without end: who still waits is not taken in");
        self.notices.warn(self.now, Notice::FullHouse, message);
    }

    /// How full the server is has changed.
    #[cold]
    pub(super) fn fullness(&mut self, change: Change, occupancy: Occupancy) {
        let Occupancy { connections: len, max_connections: limit, .. } = occupancy;
        let waits = self.limits.when_full == WhenFull::Wait;
        match change {
            Change::NearlyFull => {
                let then = if waits { "new clients wait" } else { "new ones are rejected" };
                let message =
                    format_args!("[tcp] {len} of {limit} connections in use: at {limit}, {then} (--max-connections)");
                self.notices.warn(self.now, Notice::NearlyFull, message);
            }
            // Who is rejected is told of one by one.
            Change::Full | Change::Room if !waits => {}
            Change::Full => {
                count(&mut self.counters.accept_pauses, 1);
                let message = format_args!("[tcp] Connection limit reached ({limit}), new clients wait");
                self.notices.warn(self.now, Notice::FullHouse, message);
            }
            Change::Room => {
                let message = format_args!("[tcp] Below the connection limit again ({len} of {limit}), nobody waits");
                self.notices.warn(self.now, Notice::FullHouse, message);
            }
        }
    }

    /// A client was silent for too long, and is told goodbye.
    #[cold]
    pub(super) fn evicted(&mut self, peer: &Peer) {
        count(&mut self.counters.evicted_idle, 1);
        let why = if self.limits.idle_close == IdleClose::Needed { "giving way, " } else { "" };
        let message = format_args!("[tcp] Socket timeout on {peer}, {why}closing connection");
        self.notices.warn(self.now, Notice::Timeout, message);
    }

    /// A client that had spoken has closed right after our goodbye.
    #[cold]
    pub(super) fn ended_at_goodbye(&mut self, peer: &Peer) {
        count(&mut self.counters.ended_at_goodbye, 1);
        let message = format_args!(
            "[tcp] {peer} closed at our goodbye: a proxy or client that takes a FIN for the end (nginx, socat, nc, Node) loses what comes after; --idle-close needed leaves quiet clients alone"
        );
        self.notices.warn(self.now, Notice::EndedAtGoodbye, message);
    }

    /// A client is closed in the middle of a flood.
    #[cold]
    pub(super) fn cut_off(&mut self, peer: &Peer) {
        count(&mut self.counters.cut_off, 1);
        let message = format_args!("[tcp] {peer} sends faster than it can be closed: what it still sends is lost");
        self.notices.warn(self.now, Notice::CutOff, message);
    }
}

/// Of UDP.
#[cfg(feature = "udp")]
impl Tally<'_> {
    /// The kernel had no room for datagrams.
    #[cold]
    pub(super) fn missed(&mut self, missed: &Missed) {
        let Missed { listener, drops, why } = missed;
        count(&mut self.counters.missed_datagrams, u64::from(*drops));
        let message = format_args!("[udp] The kernel dropped {drops} datagram(s) at {listener}: {why}");
        self.notices.warn(self.now, Notice::Missed, message);
    }

    /// A datagram came from who may not send any.
    #[cold]
    pub(super) fn datagram_not_allowed(&mut self, peer: &Peer) {
        count(&mut self.counters.not_allowed, 1);
        let message =
            format_args!("[udp] {peer} is not allowed to send, dropping a datagram; --allow and --deny say who is");
        self.notices.warn(self.now, Notice::NotAllowed, message);
    }

    /// A datagram is dropped, as its host sends more than it may. That it does is said once.
    pub(super) fn datagram_over_rate(&mut self, bytes: u64) {
        count(&mut self.counters.over_rate_datagrams, 1);
        count(&mut self.counters.dropped_bytes, bytes);
    }

    /// A host sends more than it may.
    #[cold]
    pub(super) fn datagrams_over_rate(&mut self, host: Host, rate: &str) {
        count(&mut self.counters.slowed, 1);
        let message =
            format_args!("[udp] Host {host} sends more than {rate}: what is beyond that is dropped; --rate sets it");
        self.notices.warn(self.now, Notice::Slowed, message);
    }

    /// A datagram came whose lines its host's file does not take.
    #[cold]
    pub(super) fn datagram_held_up(&mut self, peer: &Peer, bytes: usize) {
        count(&mut self.counters.held_up_datagrams, 1);
        count(&mut self.counters.dropped_bytes, bytes as u64);
        let message =
            format_args!("[udp] The file of {} takes nothing, dropping a datagram of {bytes} bytes", peer.host());
        self.notices.warn(self.now, Notice::HeldUp, message);
    }

    /// A datagram was longer than the memory budget has room for.
    #[cold]
    pub(super) fn datagram_cut(&mut self, peer: &Peer, bytes: usize, room: usize, gap: &Gap) {
        count(&mut self.counters.dropped_for_budget, gap.lines);
        count(&mut self.counters.dropped_bytes, gap.bytes);
        let message = format_args!(
            "[udp] A datagram of {peer} has {bytes} bytes, of which {room} fit the memory budget, dropping the rest; --memory sets it"
        );
        self.notices.warn(self.now, Notice::Memory, message);
    }
}
