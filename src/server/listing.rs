//! The connections and hosts that the status endpoint lists: those that rank highest, of all or of those that are looked
//! for. Invariant: a listing walks over all connections once, and makes a text of no more than [`MOST_TEXTS`] of them.

use std::io::Write;
use std::time::Duration;

use super::accounts::Account;
use super::clients::Clients;
use super::connection::{Connection, Readiness};
use crate::config::text::as_text;
use crate::engine::stats::ms;
use crate::sink::write_peer;
use crate::status::board::{CONNECTION, HOST, Listed, Row};
use crate::status::request::Listing;

/// The most connections whose address is compared with what is looked for: 9,000 take 2 ms.
const MOST_TEXTS: u64 = 10_000;

type Ranked = ([u64; 3], usize);

/// The few that rank highest, the highest first. What sorts everything would be 12 KB of code.
struct Top {
    list: Vec<Ranked>,
    most: usize,
}

impl Top {
    fn new(most: usize) -> Self {
        Self { list: Vec::new(), most }
    }

    fn offer(&mut self, rank: [u64; 3], place: usize) {
        if self.list.len() >= self.most && self.list.last().is_none_or(|(lowest, _)| *lowest >= rank) {
            return;
        }
        let at = self.list.partition_point(|(higher, _)| *higher >= rank);
        self.list.insert(at, (rank, place));
        self.list.truncate(self.most);
    }
}

/// Which numbers rank: the one that is asked for, and then the bytes a second and the bytes.
#[inline(never)] // for size
fn ranks(names: &str, sort: &str) -> [usize; 3] {
    let place = |wanted: &str| names.split(' ').position(|name| name == wanted);
    [place(sort).or_else(|| place("pendingBytes")), place("bytesPerSecond"), place("bytes")]
        .map(Option::unwrap_or_default)
}

fn rank(ranks: [usize; 3], numbers: &[u64; 8]) -> [u64; 3] {
    ranks.map(|place| numbers.get(place).copied().unwrap_or_default())
}

/// At most so many connections that rank highest, and hosts that do, of those that are asked for.
#[inline(never)] // for size
pub(super) fn list<T>(
    clients: &mut Clients<T>,
    listing: &Listing,
    most: usize,
    now: Duration,
    is_stalled: bool,
) -> Listed {
    clients.accounts.roll(now);
    let (mut listed, mut ranked) = (Listed::default(), Top::new(most));
    let (by, hosts_by) = (ranks(CONNECTION, &listing.sort), ranks(HOST, &listing.sort));
    // Of each host, besides what is shown, one of its connections.
    let mut hosts = vec![([0; 8], 0); clients.budget.host_places()];
    let mut text = Vec::new();
    for (index, conn) in clients.connections.iter() {
        if !listing.part.is_empty() {
            if listed.searched == MOST_TEXTS {
                break;
            }
            listed.searched += 1;
            text.clear();
            write_peer(&conn.peer, &mut text);
            text.push(b' ');
            text.extend_from_slice(state(conn, is_stalled).as_bytes());
            // Of an IPv6 address a host is only the start.
            let _ = write!(text, " {}", conn.peer.host());
            if !text.windows(listing.part.len()).any(|part| part.eq_ignore_ascii_case(&listing.part)) {
                continue;
            }
        }
        listed.matching += 1;
        let numbers = numbers(conn, clients.accounts.of(index), now);
        ranked.offer(rank(by, &numbers), index);
        let place = u32::try_from(index).ok().and_then(|id| clients.budget.host_place(id));
        let Some((sums, one)) = place.and_then(|place| hosts.get_mut(place)) else { continue };
        *one = index;
        let [_, _, bytes, lines, pending, lines_rate, bytes_rate, dropped] = numbers;
        let own = [1, pending, bytes, lines, lines_rate, bytes_rate, dropped];
        for (sum, number) in sums.iter_mut().zip(own) {
            *sum = u64::saturating_add(*sum, number);
        }
    }
    let mut ranked_hosts = Top::new(most);
    for (place, (sums, _)) in hosts.iter().enumerate() {
        if sums[0] > 0 {
            listed.matching_hosts += 1;
            ranked_hosts.offer(rank(hosts_by, sums), place);
        }
    }
    listed.connections.reserve_exact(ranked.list.len());
    for (_, index) in ranked.list {
        if let Some(conn) = clients.connections.at_place(index) {
            let numbers = numbers(conn, clients.accounts.of(index), now);
            listed.connections.push(Row { who: as_text(&conn.peer), state: state(conn, is_stalled), numbers });
        }
    }
    for (_, place) in ranked_hosts.list {
        let Some((numbers, one)) = hosts.get(place) else { continue };
        if let Some(conn) = clients.connections.at_place(*one) {
            listed.hosts.push(Row { who: conn.peer.host().to_string(), state: "", numbers: *numbers });
        }
    }
    listed
}

/// The numbers of a connection, in the order of their names.
fn numbers<T>(conn: &Connection<T>, account: Account, now: Duration) -> [u64; 8] {
    let Account { bytes, lines, dropped, rates: [lines_rate, bytes_rate], .. } = account;
    let age = |then: Duration| ms(now.saturating_sub(then));
    let pending = conn.framer.pending() as u64;
    [age(account.since), age(account.last), bytes, lines, pending, lines_rate, bytes_rate, dropped]
}

fn state<T>(conn: &Connection<T>, is_stalled: bool) -> &'static str {
    if conn.is_lingering() {
        "lingering"
    } else if conn.is_owed() {
        "waiting for its receipt"
    } else if conn.readiness == Readiness::Slowed {
        "slowed by its rate"
    } else if is_stalled && conn.is_queued() {
        "waiting for the output"
    } else if conn.framer.is_skipping() {
        "skipping"
    } else if conn.framer.pending() > 0 {
        "partial line"
    } else {
        "reading"
    }
}
