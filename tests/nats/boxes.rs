//! Two boxes where there should be one: the same name, and a spool that was copied. The second one stops with a sentence,
//! the first goes on, and what is refused stays in the spool.

use super::judge::{Rule, judge};
use super::ours::Ours;
use super::outages::{each_version, one};
use super::senders::Senders;
use super::servers::copy_tree;
use std::time::Duration;

#[test]
fn boxes_with_names_of_their_own_share_a_stream() {
    let Some(servers) = one("") else { return };
    let mut boxes: Vec<Ours> = (0..3)
        .map(|number| {
            let mut ours = Ours::prepare(&format!("box{number}"), &servers.addresses(), &[]);
            ours.begin();
            ours
        })
        .collect();
    let all: Vec<Senders> =
        (0..3).map(|number| Senders::start(boxes[number].port, number * 10, 2, 11, Duration::from_millis(5))).collect();
    for senders in &all {
        senders.until_receipts(30);
    }
    let sent: Vec<Vec<_>> = all.into_iter().map(Senders::finish).collect();
    for (ours, sent) in boxes.iter_mut().zip(&sent) {
        let stored = ours.until_delivered(&servers);
        let subject = format!("logs.{}", ours.name);
        let own: Vec<_> = stored.into_iter().filter(|stored| stored.message.subject == subject).collect();
        let wanted: Vec<_> = ours.sent.iter().chain(sent).copied().collect();
        judge(&wanted, &own, Rule::Everything).unwrap_or_else(|why| panic!("{why}\n{}", ours.said()));
        ours.stop();
    }
}

#[test]
fn a_second_box_with_the_same_name_stops_with_a_sentence_and_loses_nothing() {
    each_version(|servers| {
        let mut first = Ours::start(&servers, &[]);
        first.send(0, 100);
        first.assert_delivered(&servers, &[]);
        let mut second = Ours::start(&servers, &[]);
        second.send(50, 100);
        second.until_said(&["box", "another"]);
        first.send(1, 100);
        // Nothing of the second one is in between.
        first.assert_delivered(&servers, &[]);
        second.stop();
        second.until_said(&["100", "spool"]);
        // With a name of its own it delivers what it had kept.
        second.name = "second".to_owned();
        second.begin();
        let stored = second.until_delivered(&servers);
        let own: Vec<_> = stored.into_iter().filter(|stored| stored.message.subject == "logs.second").collect();
        let found = judge(&second.sent, &own, Rule::Everything);
        found.unwrap_or_else(|why| panic!("{why}\n{}", second.said()));
        second.stop();
        first.stop();
    });
}

/// A card that was copied: both have the same id, and numbers that mean different lines.
#[test]
fn a_copied_spool_stops_with_a_sentence_and_loses_nothing_in_silence() {
    each_version(|servers| {
        let mut first = Ours::start(&servers, &[]);
        first.send(0, 100);
        first.assert_delivered(&servers, &[]);
        first.stop();
        let copy = Ours::prepare("box", &servers.addresses(), &[]);
        copy_tree(first.spool(), copy.spool());
        first.begin();
        first.send(1, 700);
        first.assert_delivered(&servers, &[]);
        // As many lines as the first had since, so that the numbers are the same.
        let mut copy = copy;
        copy.begin();
        copy.send(50, 700);
        copy.until_said(&["copy", "logs.box"]);
        first.send(1, 100);
        first.assert_delivered(&servers, &[]);
        copy.stop();
        copy.until_said(&["700", "spool"]);
        first.stop();
    });
}
