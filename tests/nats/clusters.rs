//! A cluster of three servers and a stream with three replicas: nodes die, alone and all at once, and the leader moves.
//! Of the newest version: in clusters before 2.10.23 expected sequences have a race (nats-server#4320).

use std::time::Duration;

use super::ours::{Ours, STREAM};
use super::senders::Senders;
use super::servers::{LAME, Program, Servers, Setup};
use crate::common::patience::{LONG_PATIENCE, until_within};

fn three(more: &str) -> Option<Servers> {
    let servers = Setup::three().with(more).start(&Program::newest()?);
    servers.client().create(STREAM, 3, "");
    Some(servers)
}

#[test]
fn a_leader_that_moves_and_one_that_dies_lose_and_double_nothing() {
    let Some(mut servers) = three("") else { return };
    let mut ours = Ours::start(&servers, &[]);
    let senders = Senders::start(ours.port, 0, 3, 20, Duration::from_millis(10));
    for _ in 0..3 {
        let before = senders.receipts();
        senders.until_receipts(before + 10);
        until_within(LONG_PATIENCE, "a leader that steps down", || servers.try_client()?.step_down(STREAM));
        let before = senders.receipts();
        senders.until_receipts(before + 10);
        let leader = servers.leader(STREAM);
        servers.kill(leader);
        senders.until_receipts(before + 20);
        servers.start_all();
    }
    let sent = senders.finish();
    ours.assert_delivered(&servers, &sent);
    ours.stop();
}

#[test]
fn without_a_majority_lines_wait_in_the_spool() {
    let Some(mut servers) = three("") else { return };
    let mut ours = Ours::start(&servers, &[]);
    ours.send(0, 100);
    ours.assert_delivered(&servers, &[]);
    // Its own node stays, and can't store anything.
    servers.kill(1);
    servers.kill(2);
    for client in 0..10 {
        ours.send(client, 100);
    }
    ours.until_said(&[STREAM]);
    servers.start_all();
    ours.assert_delivered(&servers, &[]);
    ours.stop();
}

#[test]
fn all_nodes_at_once_may_die() {
    let Some(mut servers) = three("") else { return };
    let mut ours = Ours::start(&servers, &[]);
    let senders = Senders::start(ours.port, 0, 3, 21, Duration::from_millis(10));
    for _ in 0..3 {
        let before = senders.receipts();
        senders.until_receipts(before + 20);
        servers.restart_all();
    }
    let sent = senders.finish();
    ours.assert_delivered(&servers, &sent);
    ours.stop();
}

#[test]
fn a_cluster_whose_nodes_have_all_lost_their_newest_gets_it_again() {
    let Some(mut servers) = three("") else { return };
    let mut ours = Ours::start(&servers, &[]);
    ours.send(0, 300);
    ours.assert_delivered(&servers, &[]);
    (0..3).for_each(|at| servers.stop(at));
    let copies: Vec<_> = (0..3).map(|at| servers.copy_store(at)).collect();
    servers.start_all();
    for client in 1..6 {
        ours.send(client, 200);
        ours.assert_delivered(&servers, &[]);
    }
    servers.kill_all();
    copies.iter().enumerate().for_each(|(at, copy)| servers.put_back(at, copy));
    servers.start_all();
    ours.send(7, 10);
    ours.assert_delivered(&servers, &[]);
    ours.until_said(&["lost", STREAM]);
    ours.stop();
}

#[test]
fn a_lame_duck_is_left_for_another_node() {
    let Some(mut servers) = three(LAME) else { return };
    let mut ours = Ours::start(&servers, &[]);
    let senders = Senders::start(ours.port, 0, 3, 22, Duration::from_millis(10));
    senders.until_receipts(20);
    // Whichever node it has chosen, in the end it was one of these two.
    for at in 0..2 {
        servers.be_lame(at);
        let before = senders.receipts();
        senders.until_receipts(before + 20);
        ours.until_said(&["lame"]);
        servers.kill(at);
        servers.start_all();
    }
    let sent = senders.finish();
    ours.assert_delivered(&servers, &sent);
    ours.stop();
}
