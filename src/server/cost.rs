//! The memory that a server takes besides the lines that it holds, computed from the sizes of its types: the figures
//! behind `--check`.

use super::accounts::Account;
use super::connection::BYTES_EACH;
use super::lingering::Group;
use super::notices;
use super::reading::READ_BYTES;
use super::receipts::Sum;
use super::{headers, rates};
use crate::config::limits::{IdleClose, Limits};
use crate::config::listen::{Framing, Listen};
use crate::config::rate::Rate;
use crate::engine::budget;
use crate::net::{EVENTS, Key, Ready};

/// A place in the order of a group; nodes of a B-tree may be little more than 5/11 full, and have edges.
const ORDERED_BYTES: usize = size_of::<((Group, u64), Key)>() * 5 / 2;

/// What one connection takes in all tables at rest: those of the connections, the wheel and the budget, and the queue.
pub(crate) const REST_BYTES: usize = BYTES_EACH + size_of::<Key>() + budget::RANKED_BYTES;

/// What a connection takes at worst: when it is the only one of its host, and lingers. With `--idle-close needed` it may
/// besides have been found quiet, among all, its host's, and those with an unfinished line. With `--receipt` it has a sum
/// too, and a part of the list of receipts, which may have twice as many entries as there are connections, and room for
/// twice as many again.
pub(crate) fn connection_bytes(limits: &Limits) -> usize {
    let receipt = if limits.receipt { size_of::<Sum>() + 2 * 2 * size_of::<(u64, Key)>() } else { 0 };
    let orders = if limits.idle_close == IdleClose::Needed { 2 + 3 } else { 2 };
    REST_BYTES + budget::HOST_BYTES + orders * ORDERED_BYTES + receipt
}

/// What a connection takes besides if there is a status endpoint: its account, and the sums of its host while a table
/// is made.
pub(crate) const STATUS_BYTES: usize = size_of::<Account>() + size_of::<([u64; 5], usize)>();

/// What a connection takes besides at worst for the options of its listener: while its header is there in part, and for
/// what its host may send.
pub(crate) fn option_bytes(listen: &[Listen]) -> usize {
    let proxied = if listen.iter().any(|one| one.options.proxy) { headers::BYTES_EACH } else { 0 };
    let rated = listen.iter().filter(|one| one.options.rate != Rate::Off).count();
    proxied + rated * rates::BYTES_EACH
}

/// What a connection over TLS is charged of the memory budget, and how many can be in at once with so much for pending lines;
/// `None` if no listener has TLS.
#[cfg(feature = "tls")]
pub(crate) fn tls_bytes(listen: &[Listen], limits: &Limits, pending_share: usize) -> Option<(usize, usize)> {
    use super::sessions::{BYTES_AT_ONCE, BYTES_EACH, floor};
    let room = pending_share.saturating_sub(BYTES_AT_ONCE);
    let most = room.saturating_sub(floor(room, limits.max_line)) / BYTES_EACH;
    listen.iter().any(|one| one.options.tls).then_some((BYTES_EACH, most.min(limits.max_connections)))
}

/// What there is once: the read buffer, twice as much of it where messages may become longer, and room for events, ours and
/// the kernel's of up to 16 bytes.
pub(crate) fn buffer_bytes(listen: &[Listen]) -> usize {
    #[cfg(feature = "tls")]
    let cipher = if listen.iter().any(|one| one.options.tls) { super::sessions::BUFFER_BYTES } else { 0 };
    #[cfg(not(feature = "tls"))]
    let cipher = 0;
    let translates = listen.iter().any(|one| one.options.framing != Framing::Lines);
    cipher + READ_BYTES * (1 + usize::from(translates)) + EVENTS * (size_of::<Ready>() + 16)
}

/// Lines that warnings can bring to our own log in a day: of each kind and each output, in each window, a burst and the
/// sum of the rest.
pub(crate) fn log_lines_a_day(outputs: usize) -> u64 {
    let kinds = (notices::KINDS + outputs) as u64;
    kinds * (u64::from(notices::BURST) + 1) * (24 * 3600 / notices::WINDOW.as_secs())
}
