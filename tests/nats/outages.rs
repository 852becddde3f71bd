//! Servers that are away for a while, and a box that ends in the meantime: nobody waits, and nothing is lost.

use std::time::Duration;

use super::judge::{Rule, judge};
use super::ours::{Ours, STREAM};
use super::senders::Senders;
use super::servers::{LAME, Program, Servers, Setup};
use crate::common::patience::{LONG_PATIENCE, until_within};

/// One server of each version that is here, with the stream.
pub(crate) fn each_version(work: impl Fn(Servers)) {
    for program in Program::all() {
        let servers = Setup::one().start(&program);
        servers.client().create(STREAM, 1, "");
        work(servers);
    }
}

/// One server of the newest version, with the stream; none where it is missing.
pub(crate) fn one(more: &str) -> Option<Servers> {
    let servers = Setup::one().with(more).start(&Program::newest()?);
    servers.client().create(STREAM, 1, "");
    Some(servers)
}

#[test]
fn lines_are_in_the_stream_once_and_in_order_and_say_whose_they_are() {
    each_version(|servers| {
        let mut ours = Ours::start(&servers, &[]);
        let senders = Senders::start(ours.port, 0, 4, 1, Duration::from_millis(5));
        senders.until_receipts(60);
        let sent = senders.finish();
        ours.assert_delivered(&servers, &sent);
        let stored = servers.all(STREAM);
        assert!(stored.iter().all(|stored| stored.message.subject == "logs.box"));
        let headers = ["Lumberjack-Box", "Lumberjack-Lines", "Lumberjack-Segment", "Nats-Expected-Stream"];
        for name in headers {
            assert!(
                stored.iter().all(|stored| stored.message.header(name).is_some()),
                "{name}: {:?}",
                stored[0].message
            );
        }
        ours.stop();
    });
}

#[test]
fn a_server_that_is_away_holds_nobody_up_and_gets_everything_once_it_is_back() {
    each_version(|mut servers| {
        let mut ours = Ours::start(&servers, &[]);
        ours.send(0, 100);
        ours.assert_delivered(&servers, &[]);
        for round in 0..2 {
            servers.kill_all();
            for client in 0..10 {
                // The receipts come, though nothing can be delivered.
                ours.send(client, 50 + round);
            }
            servers.start_all();
            ours.assert_delivered(&servers, &[]);
        }
        ours.stop();
    });
}

#[test]
fn a_box_that_starts_while_no_server_is_there_delivers_later() {
    let Some(program) = Program::newest() else { return };
    let mut servers = Setup::one().prepare(&program);
    let mut ours = Ours::prepare("box", &servers.addresses(), &[]);
    ours.begin();
    ours.send(0, 100);
    ours.until_said(&[&servers.addresses()]);
    servers.start_all();
    servers.client().create(STREAM, 1, "");
    ours.send(1, 100);
    ours.assert_delivered(&servers, &[]);
    ours.stop();
}

#[test]
fn an_end_while_the_server_is_away_says_what_is_left_and_the_next_start_delivers_it() {
    each_version(|mut servers| {
        let mut ours = Ours::start(&servers, &[]);
        ours.send(0, 10);
        ours.assert_delivered(&servers, &[]);
        servers.kill_all();
        ours.send(1, 123);
        ours.stop();
        ours.until_said(&["123", "spool"]);
        servers.start_all();
        ours.begin();
        ours.send(1, 7);
        ours.assert_delivered(&servers, &[]);
        ours.stop();
    });
}

#[test]
fn stops_starts_and_kills_of_the_box_in_the_middle_of_everything_lose_and_double_nothing() {
    each_version(|servers| {
        let mut ours = Ours::start(&servers, &[]);
        let senders = Senders::start(ours.port, 0, 4, 2, Duration::from_millis(2));
        for round in 0..8 {
            let before = senders.receipts();
            senders.until_receipts(before + 20);
            if round % 2 == 0 {
                ours.stop();
            } else {
                ours.kill();
            }
            ours.begin();
        }
        let sent = senders.finish();
        ours.assert_delivered(&servers, &sent);
        ours.stop();
    });
}

#[test]
fn a_spool_that_is_full_holds_clients_back_and_nothing_is_lost() {
    let Some(mut servers) = one("") else { return };
    let mut ours = Ours::start(&servers, &["--spool-size", "1MiB"]);
    ours.send(0, 10);
    ours.assert_delivered(&servers, &[]);
    servers.kill_all();
    let senders = Senders::start(ours.port, 1, 4, 3, Duration::ZERO);
    until_within(LONG_PATIENCE, "clients that are held back", || {
        let before = senders.receipts();
        std::thread::park_timeout(Duration::from_secs(2));
        if before > 0 && senders.receipts() == before { Ok(()) } else { Err(format!("{before} receipts")) }
    });
    servers.start_all();
    let before = senders.receipts();
    senders.until_receipts(before + 20);
    let sent = senders.finish();
    ours.assert_delivered(&servers, &sent);
    ours.stop();
}

#[test]
fn a_spool_that_drops_its_oldest_says_how_much_and_keeps_the_newest_in_order() {
    let Some(mut servers) = one("") else { return };
    let mut ours = Ours::start(&servers, &["--spool-size", "1MiB", "--spool-full", "drop-oldest", "--mark-gaps"]);
    ours.send(0, 10);
    ours.assert_delivered(&servers, &[]);
    servers.kill_all();
    for client in 0..40 {
        ours.send(client, 500);
    }
    servers.start_all();
    let stored = ours.until_delivered(&servers);
    let found = judge(&ours.sent, &stored, Rule::TheNewest).unwrap_or_else(|why| panic!("{why}\n{}", ours.said()));
    let sent: u64 = ours.sent.iter().map(|sent| sent.lines).sum();
    assert!(found.lines < sent && found.lines > 1_000, "{} of {sent}", found.lines);
    assert_eq!(found.marks.len(), 1, "one gap, one mark: {:?}\n{}", found.marks, ours.said());
    let missing = sent - found.lines;
    assert!(found.marks[0].contains(&missing.to_string()), "{missing} are missing: {:?}", found.marks);
    ours.stop();
}

#[test]
fn a_lame_duck_is_left_and_what_it_has_not_acked_goes_to_the_next_start() {
    let Some(mut servers) = one(LAME) else { return };
    let mut ours = Ours::start(&servers, &[]);
    let senders = Senders::start(ours.port, 0, 3, 4, Duration::from_millis(5));
    senders.until_receipts(20);
    servers.be_lame(0);
    ours.until_said(&["lame"]);
    let before = senders.receipts();
    senders.until_receipts(before + 20);
    servers.restart_all();
    let sent = senders.finish();
    ours.assert_delivered(&servers, &sent);
    ours.stop();
}
