//! Messages that a server or stream takes no longer, and streams and disks that are full.

use super::judge::{Rule, judge};
use super::ours::{Ours, STREAM};
use super::outages::{each_version, one};
use super::senders::{Senders, send};
use crate::common::patience::{LONG_PATIENCE, until_within};
use crate::support::mounts::Mounts;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

/// The longest line of the senders has 1,500 bytes.
#[test]
fn batches_are_no_longer_than_a_server_or_stream_takes() {
    for (of_server, of_stream) in [("max_payload: 4096", ""), ("", r#","max_msg_size":4096"#)] {
        let Some(servers) = one(of_server) else { return };
        if !of_stream.is_empty() {
            servers.client().update(STREAM, 1, of_stream);
        }
        let mut ours = Ours::start(&servers, &[]);
        for client in 0..5 {
            ours.send(client, 300);
        }
        let found = ours.assert_delivered(&servers, &[]);
        assert!(found.messages > 20, "{found:?}");
        ours.stop();
    }
}

#[test]
fn a_server_that_takes_less_after_its_restart_gets_smaller_batches() {
    each_version(|mut servers| {
        let mut ours = Ours::start(&servers, &[]);
        ours.send(0, 300);
        ours.assert_delivered(&servers, &[]);
        servers.kill_all();
        for client in 1..5 {
            ours.send(client, 500);
        }
        servers.reconfigure(|setup| setup.with("max_payload: 4096"));
        servers.start_all();
        ours.assert_delivered(&servers, &[]);
        ours.stop();
    });
}

#[test]
fn a_line_that_is_longer_than_a_message_may_be_is_marked_and_holds_up_no_other() {
    each_version(|mut servers| {
        servers.reconfigure(|setup| setup.with("max_payload: 4096"));
        servers.restart_all();
        let mut ours = Ours::start(&servers, &["--mark-gaps"]);
        ours.send(0, 10);
        let mut client = TcpStream::connect(("127.0.0.1", ours.port)).unwrap();
        client.write_all(format!("{}\n", "x".repeat(5_000)).as_bytes()).unwrap();
        drop(client);
        ours.send(1, 10);
        let stored = ours.until_delivered(&servers);
        let found = judge(&ours.sent, &stored, Rule::Everything).unwrap_or_else(|why| panic!("{why}\n{}", ours.said()));
        assert_eq!(found.marks.len(), 1, "{:?}\n{}", found.marks, ours.said());
        assert!(found.marks[0].contains("payload") && found.marks[0].contains('1'), "{:?}", found.marks);
        ours.stop();
    });
}

/// Who is told to raise something finds it where it is said to be.
#[test]
fn a_line_that_is_too_long_is_said_to_be_so_for_the_server_or_for_the_stream() {
    for (of_server, of_stream, said) in [
        ("max_payload: 4096", "", "the server's max_payload"),
        ("", r#","max_msg_size":4096"#, "the stream's max_msg_size"),
    ] {
        let Some(servers) = one(of_server) else { return };
        if !of_stream.is_empty() {
            servers.client().update(STREAM, 1, of_stream);
        }
        let mut ours = Ours::start(&servers, &[]);
        let mut client = TcpStream::connect(("127.0.0.1", ours.port)).unwrap();
        client.write_all(format!("{}\n", "x".repeat(5_000)).as_bytes()).unwrap();
        drop(client);
        ours.until_said(&["misses a line of 5000 bytes", said]);
        ours.stop();
    }
}

#[test]
fn a_stream_that_is_full_is_waited_for() {
    for full in [r#","max_bytes":200000,"discard":"new""#, r#","max_msgs":3,"discard":"new""#] {
        let Some(servers) = one("") else { return };
        servers.client().update(STREAM, 1, full);
        let mut ours = Ours::start(&servers, &[]);
        for client in 0..5 {
            ours.send(client, 600);
        }
        ours.until_said(&["exceeded"]);
        ours.send(5, 10);
        servers.client().update(STREAM, 1, r#","max_bytes":-1,"max_msgs":-1,"discard":"new""#);
        ours.assert_delivered(&servers, &[]);
        ours.stop();
    }
}

/// The server's own disk has no room: it acknowledges nothing.
#[test]
fn a_server_that_has_no_storage_left_is_waited_for() {
    each_version(|mut servers| {
        servers.kill_all();
        servers.reconfigure(|setup| setup.with_storage("max_memory_store: 1MB, max_file_store: 300KB"));
        servers.start_all();
        let mut ours = Ours::start(&servers, &[]);
        for client in 0..5 {
            ours.send(client, 600);
        }
        ours.until_said(&[STREAM]);
        ours.send(5, 10);
        servers.kill_all();
        servers.reconfigure(|setup| setup.with_storage("max_memory_store: 64MB, max_file_store: 4GB"));
        servers.start_all();
        ours.assert_delivered(&servers, &[]);
        ours.stop();
    });
}

/// Our own: the spool may be larger than its disk.
#[test]
fn a_spool_whose_disk_is_full_holds_clients_back_and_goes_on_once_there_is_room() {
    let Some(mut servers) = one("") else { return };
    let Some(mounts) = Mounts::new("mkdir d && mount -t tmpfs -o size=2m,mode=777 tmpfs d") else { return };
    let mut ours =
        Ours::prepare("box", &servers.addresses(), &["--spool-size", "8MiB"]).with_spool(mounts.file("d/spool").into());
    ours.begin();
    ours.send(0, 10);
    ours.assert_delivered(&servers, &[]);
    servers.kill_all();
    let senders = Senders::start(ours.port, 1, 4, 12, Duration::ZERO);
    ours.until_said(&["no space"]);
    servers.start_all();
    until_within(LONG_PATIENCE, "room that is made by delivering", || {
        let before = senders.receipts();
        std::thread::park_timeout(Duration::from_millis(500));
        if senders.receipts() > before { Ok(()) } else { Err(ours.said()) }
    });
    let sent = senders.finish();
    ours.assert_delivered(&servers, &sent);
    ours.stop();
}

/// Each start finds the spool as full as it was.
#[test]
fn a_spool_that_is_full_is_full_after_a_restart_too() {
    let Some(mut servers) = one("") else { return };
    let mut ours = Ours::start(&servers, &["--spool-size", "1MiB"]);
    servers.kill_all();
    let senders = Senders::start(ours.port, 1, 2, 13, Duration::ZERO);
    until_within(LONG_PATIENCE, "clients that are held back", || {
        let before = senders.receipts();
        std::thread::park_timeout(Duration::from_secs(2));
        if before > 0 && senders.receipts() == before { Ok(()) } else { Err(format!("{before} receipts")) }
    });
    for _ in 0..3 {
        ours.kill();
        ours.begin();
        let size: u64 =
            std::fs::read_dir(ours.spool()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(size <= 1 << 20, "{size} bytes of 1 MiB");
    }
    servers.start_all();
    let before = senders.receipts();
    senders.until_receipts(before + 5);
    let sent = senders.finish();
    ours.assert_delivered(&servers, &sent);
    assert_eq!(send(ours.port, 77, 0, 3).receipted, Some(3));
    ours.stop();
}
