//! Servers that lose what they had acknowledged, and streams that remove messages: what was lost is sent again, what was
//! removed is not.

use super::judge::{Rule, judge};
use super::ours::{Ours, STREAM};
use super::outages::{each_version, one};
use super::servers::Servers;
use crate::common::patience::{LONG_PATIENCE, until_within};

/// Takes a copy of the server's disk as it is, and starts it again.
fn copied(servers: &mut Servers) -> super::servers::Copy {
    servers.stop(0);
    let copy = servers.copy_store(0);
    servers.start_all();
    copy
}

/// The server's disk is again as it was then.
fn put_back(servers: &mut Servers, copy: &super::servers::Copy) {
    servers.kill(0);
    servers.put_back(0, copy);
    servers.start_all();
}

#[test]
fn what_a_server_has_lost_is_sent_again() {
    each_version(|mut servers| {
        let mut ours = Ours::start(&servers, &[]);
        ours.send(0, 300);
        ours.assert_delivered(&servers, &[]);
        let copy = copied(&mut servers);
        for client in 1..8 {
            ours.send(client, 300);
            ours.assert_delivered(&servers, &[]);
        }
        put_back(&mut servers, &copy);
        ours.send(8, 10);
        ours.assert_delivered(&servers, &[]);
        ours.until_said(&["lost", STREAM]);
        ours.stop();
    });
}

#[test]
fn what_a_server_has_lost_while_the_box_was_away_is_sent_again() {
    for is_killed in [false, true] {
        let Some(mut servers) = one("") else { return };
        let mut ours = Ours::start(&servers, &[]);
        ours.send(0, 300);
        ours.assert_delivered(&servers, &[]);
        let copy = copied(&mut servers);
        ours.send(1, 300);
        ours.assert_delivered(&servers, &[]);
        if is_killed {
            ours.kill();
        } else {
            ours.stop();
        }
        put_back(&mut servers, &copy);
        ours.begin();
        ours.send(2, 10);
        ours.assert_delivered(&servers, &[]);
        ours.stop();
    }
}

/// The copy is older than the first line: everything is gone, but not the stream.
#[test]
fn a_server_that_has_lost_everything_gets_everything_again() {
    let Some(mut servers) = one("") else { return };
    let copy = copied(&mut servers);
    let mut ours = Ours::start(&servers, &[]);
    for client in 0..5 {
        ours.send(client, 100);
        ours.assert_delivered(&servers, &[]);
    }
    put_back(&mut servers, &copy);
    ours.send(5, 10);
    ours.assert_delivered(&servers, &[]);
    ours.stop();
}

/// A loss that the spool can't mend any more, as it had to make room: what it still has is sent, the rest is marked.
#[test]
fn what_a_server_has_lost_and_the_spool_no_longer_has_is_marked() {
    let Some(mut servers) = one("") else { return };
    let mut ours = Ours::start(&servers, &["--spool-size", "1MiB", "--mark-gaps"]);
    ours.send(0, 300);
    ours.assert_delivered(&servers, &[]);
    let copy = copied(&mut servers);
    // Several times the spool's size.
    for client in 1..21 {
        ours.send(client, 500);
        ours.assert_delivered(&servers, &[]);
    }
    put_back(&mut servers, &copy);
    ours.send(21, 10);
    let stored = ours.until_delivered(&servers);
    let found = judge(&ours.sent, &stored, Rule::TheNewest).unwrap_or_else(|why| panic!("{why}\n{}", ours.said()));
    let sent: u64 = ours.sent.iter().map(|sent| sent.lines).sum();
    assert!(found.lines > 1_000, "{} of {sent}", found.lines);
    let missing = sent - found.lines;
    assert_eq!(found.marks.len(), 1, "{:?}\n{}", found.marks, ours.said());
    assert!(found.marks[0].contains(&missing.to_string()), "{missing} are missing: {:?}", found.marks);
    ours.stop();
}

/// Retention took our last message: nothing is lost, so nothing is sent again.
#[test]
fn messages_that_the_stream_removed_are_not_sent_again() {
    each_version(|servers| {
        for (round, is_restarted) in [(0, false), (1, true)] {
            let mut ours = Ours::prepare(&format!("box{round}"), &servers.addresses(), &[]);
            ours.begin();
            ours.send(0, 100);
            ours.until_delivered(&servers);
            servers.client().purge(STREAM);
            if is_restarted {
                ours.stop();
                ours.begin();
            }
            ours.send(1, 100);
            let stored = ours.until_delivered(&servers);
            let sent = ours.sent.clone();
            // The last two connections: client 1's, and the marker behind it.
            let found = judge(&sent[sent.len() - 2..], &stored, Rule::Everything);
            assert_eq!(found.unwrap_or_else(|why| panic!("{why}\n{}", ours.said())).lines, 101);
            ours.stop();
            servers.client().purge(STREAM);
        }
    });
}

/// The same where others have written since, so that the stream's last sequence says nothing of us.
#[test]
fn a_message_that_was_deleted_behind_which_others_wrote_is_not_sent_again() {
    each_version(|servers| {
        let mut ours = Ours::start(&servers, &[]);
        ours.send(0, 100);
        let stored = ours.until_delivered(&servers);
        let mut client = servers.client();
        for message in &stored {
            client.delete(STREAM, message.sequence);
        }
        client.publish("logs.another", "not ours");
        // In order, so that it knows where it was: after a kill soon behind a first delivery it would not.
        ours.stop();
        ours.begin();
        ours.send(1, 100);
        let stored: Vec<_> = ours.until_delivered(&servers);
        let own: Vec<_> = stored.into_iter().filter(|stored| stored.message.subject == "logs.box").collect();
        let sent = ours.sent.clone();
        let found = judge(&sent[sent.len() - 2..], &own, Rule::Everything);
        assert_eq!(found.unwrap_or_else(|why| panic!("{why}\n{}", ours.said())).lines, 101);
        ours.stop();
    });
}

/// Its age is the commonest way by which a message goes; the box is quiet meanwhile.
#[test]
fn messages_that_were_too_old_are_not_sent_again() {
    let Some(servers) = one("") else { return };
    servers.client().update(STREAM, 1, r#","max_age":2000000000,"duplicate_window":1000000000"#);
    let mut ours = Ours::start(&servers, &[]);
    ours.send(0, 100);
    ours.until_delivered(&servers);
    until_within(LONG_PATIENCE, "the stream's end of them", || {
        let info = servers.client().info(STREAM)?;
        if info.messages == 0 { Ok(()) } else { Err(format!("{info:?}")) }
    });
    ours.send(1, 100);
    let stored = ours.until_delivered(&servers);
    let sent = ours.sent.clone();
    let found = judge(&sent[sent.len() - 2..], &stored, Rule::Everything);
    assert_eq!(found.unwrap_or_else(|why| panic!("{why}\n{}", ours.said())).lines, 101);
    ours.stop();
}
