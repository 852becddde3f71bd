//! P10: a full house.

use std::io::Read;

use lumberjack::{Limits, WhenFull};

use super::capture::said;
use super::world::{World, name, send};

fn room_for(max_connections: usize) -> Limits {
    Limits { max_connections, max_per_host: Some(0), ..Limits::default() }
}

#[test]
fn p10_who_meets_a_full_house_waits_and_loses_nothing() {
    // The number is in the messages: no other test uses it.
    let mut world = World::new(room_for(7));
    let mut inside: Vec<_> = (0..7).map(|_| world.taken_client()).collect();
    let mut waiting: Vec<_> = (0..5).map(|_| world.client()).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        send(client, format!("waited {number}\n").as_bytes());
    }
    world.turn(std::time::Duration::from_millis(50)).unwrap();
    assert_eq!((world.status().active_connections, world.texts().len()), (7, 0));
    for number in 0..5 {
        inside.pop();
        waiting.remove(0);
        world.until("the next has come in", |world| world.texts().len() == number + 1);
    }
    assert_eq!(world.texts(), (0..5).map(|number| format!("waited {number}")).collect::<Vec<_>>());
    world.until("it is said", |_| !said(&["Below the connection limit again (", " of 7)"]).is_empty());
    assert_eq!(said(&["WARN [tcp] Connection limit reached (7), new clients wait"]).len(), 1, "once, when it begins");
    assert_eq!(said(&["Below the connection limit again (", " of 7)"]).len(), 1, "once, when it ends");
    assert_eq!(said(&["WARN [tcp] 6 of 7 connections in use"]).len(), 1, "once, at 80 %");
    assert_eq!(world.status().counters.rejected, 0);
}

#[test]
fn p10_a_full_house_can_reject_with_a_warning() {
    let mut world = World::new(Limits { when_full: WhenFull::Reject, ..room_for(1) });
    let _inside = world.taken_client();
    let mut second = world.client();
    world.until("it is counted", |world| world.status().counters.rejected == 1);
    // Over TLS it has begun a handshake, which nobody has read.
    assert!(matches!(second.read(&mut [0; 1]), Ok(0)) || super::client::over_tls());
    let words = ["WARN [tcp] Connection limit reached (1), rejecting connection from ", &name(&second)];
    assert_eq!(said(&words).len(), 1);
}
