//! P24: who may connect.

use std::io::Read;

use lumberjack::{Limits, WhenFull};

use super::capture::said;
use super::world::{World, name, send};

const STRANGER: [u8; 4] = [127, 0, 23, 2];
const FRIEND: [u8; 4] = [127, 0, 23, 65];

#[test]
fn p24_who_is_not_allowed_is_closed_at_once_and_counted_and_who_is_comes_in() {
    let mut world = World::listening("0.0.0.0:0,allow=127.0.23.0/24,deny=127.0.23.0/26", Limits::default());
    let mut stranger = world.client_of(STRANGER);
    world.until("it is closed", |world| world.status().counters.not_allowed == 1);
    assert!(matches!(stranger.read(&mut [0; 1]), Ok(0) | Err(_)), "closed");
    assert_eq!(said(&["WARN [tcp]", &name(&stranger), "is not allowed to connect", "--allow"]).len(), 1);
    let mut other = world.client();
    world.until("who is not named is closed too", |world| world.status().counters.not_allowed == 2);
    assert!(matches!(other.read(&mut [0; 1]), Ok(0) | Err(_)), "closed");
    send(&mut world.client_of(FRIEND), b"welcome\n");
    world.until_lines(&["welcome"]);
    let counters = world.status().counters;
    assert_eq!((counters.accepted, counters.not_allowed, counters.probes), (1, 2, 0), "nothing was taken for them");
    world.stop().unwrap();
}

#[test]
fn p24_where_some_are_denied_all_others_come_in() {
    let mut world = World::listening("[::]:0,deny=127.0.23.2", Limits::default());
    drop(world.client_of(STRANGER));
    world.until("it is closed", |world| world.status().counters.not_allowed == 1);
    send(&mut world.client_of(FRIEND), b"an IPv4 client of an IPv6 listener\n");
    world.until_lines(&["an IPv4 client of an IPv6 listener"]);
}

#[test]
fn p24_nobody_gives_way_or_is_counted_for_who_is_not_allowed() {
    let limits = Limits { max_connections: 1, when_full: WhenFull::Reject, ..Limits::default() };
    let mut world = World::listening("0.0.0.0:0,deny=127.0.23.2", limits);
    let _inside = world.taken_client();
    for number in 1..=20 {
        drop(world.client_of(STRANGER));
        world.until("it is closed", |world| world.status().counters.not_allowed == number);
    }
    assert_eq!(world.status().counters.rejected, 0, "the house is full, and yet that is not why");
    assert_eq!(world.status().active_connections, 1);
    assert!(said(&["127.0.23.2:", "is not allowed to connect"]).len() <= 3 * 5, "a scanner can't fill the log (P12)");
}
