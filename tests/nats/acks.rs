//! Connections that are cut in the middle of any byte, and acknowledgements that come late or never.

use std::time::Duration;

use super::middleman::{Middleman, Mood};
use super::ours::Ours;
use super::outages::{each_version, one};
use super::senders::Senders;
use crate::common::patience::{LONG_PATIENCE, until_within};
use crate::support::conditions::until_equal;
use crate::support::http::{get, status_of};

/// A box that reaches its server through a middleman.
fn box_behind(middleman: &Middleman, more: &[&str]) -> Ours {
    let mut ours = Ours::prepare("box", &format!("127.0.0.1:{}", middleman.port), more);
    ours.begin();
    ours
}

#[test]
fn a_connection_that_is_cut_at_any_byte_loses_and_doubles_nothing() {
    each_version(|mut servers| {
        let middleman = Middleman::before(servers.port(), 5);
        // Who is connected is told of the middleman alone.
        servers.nodes[0].advertised = middleman.port;
        servers.restart_all();
        middleman.set(Mood { cut_within: 60_000, ..Mood::default() });
        let mut ours = box_behind(&middleman, &[]);
        let senders = Senders::start(ours.port, 0, 4, 5, Duration::from_millis(5));
        until_within(LONG_PATIENCE, "cuts", || {
            let cuts = middleman.cuts();
            if cuts >= 15 { Ok(()) } else { Err(format!("{cuts} cuts; {}", ours.said())) }
        });
        middleman.set(Mood::default());
        let sent = senders.finish();
        ours.assert_delivered(&servers, &sent);
        ours.stop();
    });
}

/// In the dialogue of a connection's start each byte is one where it may end.
#[test]
fn a_connection_that_is_cut_at_each_byte_of_its_start_is_made_again() {
    let Some(mut servers) = one("") else { return };
    let middleman = Middleman::before(servers.port(), 6);
    servers.nodes[0].advertised = middleman.port;
    servers.restart_all();
    middleman.set(Mood { cut_within: 1_500, ..Mood::default() });
    let mut ours = box_behind(&middleman, &[]);
    ours.send(0, 200);
    until_within(LONG_PATIENCE, "cuts", || {
        let cuts = middleman.cuts();
        if cuts >= 10 { Ok(()) } else { Err(format!("{cuts} cuts; {}", ours.said())) }
    });
    middleman.set(Mood::default());
    middleman.cut();
    ours.assert_delivered(&servers, &[]);
    ours.stop();
}

/// Later than the five seconds after which it asks what became of its message.
#[test]
fn acknowledgements_that_come_late_double_nothing() {
    let Some(servers) = one("") else { return };
    let middleman = Middleman::before(servers.port(), 7);
    let mut ours = box_behind(&middleman, &[]);
    ours.send(0, 100);
    ours.assert_delivered(&servers, &[]);
    middleman.set(Mood { delay: Duration::from_millis(6_500), ..Mood::default() });
    for client in 0..6 {
        ours.send(client, 100);
    }
    // The input: a link on which every answer is late.
    std::thread::sleep(Duration::from_secs(15));
    middleman.set(Mood::default());
    ours.assert_delivered(&servers, &[]);
    ours.stop();
}

#[test]
fn acknowledgements_that_never_come_are_asked_for() {
    each_version(|servers| {
        let middleman = Middleman::before(servers.port(), 8);
        let mut ours = box_behind(&middleman, &[]);
        middleman.set(Mood { drop_acks: true, ..Mood::default() });
        for client in 0..3 {
            let before = middleman.dropped_acks();
            ours.send(client, 100);
            until_within(LONG_PATIENCE, "an acknowledgement that is kept back", || {
                if middleman.dropped_acks() > before { Ok(()) } else { Err(ours.said()) }
            });
        }
        middleman.set(Mood::default());
        ours.assert_delivered(&servers, &[]);
        ours.stop();
    });
}

/// Lines get there, and what answers looks well: it is said all the same, health checks fail, and what is looked up is no ack.
#[test]
fn acknowledgements_that_never_come_are_said_and_health_checks_fail_until_one_does() {
    let Some(servers) = one("") else { return };
    let middleman = Middleman::before(servers.port(), 9);
    let mut ours = box_behind(&middleman, &["--status", "127.0.0.1:0"]);
    let at = status_of(ours.receiver());
    let health = || get(&at, "/healthz").body;
    let last_ack = || -> u64 {
        let text = get(&at, "/diagnostics").body;
        let (_, rest) = text.split_once("\"lastAck\":").unwrap();
        rest[..rest.find([',', '}']).unwrap()].parse().unwrap()
    };
    middleman.set(Mood { drop_acks: true, ..Mood::default() });
    for client in 0..3 {
        let before = middleman.dropped_acks();
        ours.send(client, 100);
        until_within(LONG_PATIENCE, "an acknowledgement that is kept back", || {
            if middleman.dropped_acks() > before { Ok(()) } else { Err(ours.said()) }
        });
    }
    ours.until_said(&["has not acknowledged for"]);
    let all = "an output does not acknowledge what it is sent\n".to_owned();
    assert_eq!((health(), last_ack()), (all, 0), "{}", ours.said());
    assert!(get(&at, "/diagnostics").body.contains("logs.box does not acknowledge what it is sent"));
    middleman.set(Mood::default());
    ours.assert_delivered(&servers, &[]);
    until_equal("health", &"ok\n".to_owned(), health);
    assert!(last_ack() > 0);
    ours.stop();
}

#[test]
fn a_slow_link_delivers_everything() {
    let Some(servers) = one("") else { return };
    let middleman = Middleman::before(servers.port(), 9);
    middleman.set(Mood { delay: Duration::from_millis(50), ..Mood::default() });
    let mut ours = box_behind(&middleman, &[]);
    let senders = Senders::start(ours.port, 0, 4, 9, Duration::from_millis(5));
    senders.until_receipts(80);
    let sent = senders.finish();
    ours.assert_delivered(&servers, &sent);
    ours.stop();
}

/// Killed right behind a message whose acknowledgement never came: the next start has to find out that it is stored.
#[test]
fn a_box_that_is_killed_before_the_acknowledgement_comes_doubles_nothing() {
    each_version(|servers| {
        let middleman = Middleman::before(servers.port(), 10);
        let mut ours = box_behind(&middleman, &[]);
        for round in 0..4 {
            middleman.set(Mood { drop_acks: true, ..Mood::default() });
            let before = middleman.dropped_acks();
            ours.send(round, 50);
            until_within(LONG_PATIENCE, "an acknowledgement that is kept back", || {
                if middleman.dropped_acks() > before { Ok(()) } else { Err(ours.said()) }
            });
            ours.kill();
            middleman.set(Mood::default());
            ours.begin();
        }
        ours.assert_delivered(&servers, &[]);
        ours.stop();
    });
}

/// A message that was on its way for long arrives after the box has given it up, asked, and sent it again.
#[test]
fn a_message_that_arrives_after_it_was_given_up_is_in_the_stream_once() {
    each_version(|servers| {
        let middleman = Middleman::before(servers.port(), 11);
        let mut ours = box_behind(&middleman, &[]);
        for client in 0..3 {
            ours.send(client, 50);
            ours.assert_delivered(&servers, &[]);
            middleman.hold();
            // Only a connection that is made anew brings it to the server.
            ours.send(client, 50);
            ours.assert_delivered(&servers, &[]);
            middleman.release();
            // Whoever took it now would have it twice.
            ours.send(client, 50);
            ours.assert_delivered(&servers, &[]);
        }
        ours.stop();
    });
}
