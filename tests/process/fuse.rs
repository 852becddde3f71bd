//! Files whose descriptors die, on a file system of ours that answers what is asked: what only opening anew cures is
//! opened anew, and a line is lost to none of it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::support::conditions::{until, until_equal};
use crate::support::fuse::{Answer, Asked, EFBIG, EINVAL, EIO, ENODEV, ENOSPC, ENOTCONN, EOPNOTSUPP, ESTALE, Fuse, Op};
use crate::support::receiver::{Receiver, named_inside};

fn until_inside(disk: &Fuse, name: &str, wanted: &str) {
    until_equal(name, &Some(wanted.to_owned()), || disk.inside(name));
}

/// Its receipt, or nothing; the client has said all.
fn receipt(mut client: TcpStream) -> String {
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn p13_a_descriptor_that_dies_is_replaced_whatever_the_kernel_remembers_of_it() {
    for errno in [EIO, ESTALE, ENOTCONN, ENODEV] {
        for (is_remembered, options) in [(false, &[][..]), (true, &[]), (false, &["--rotate-size", "1MiB"])] {
            let Some(disk) = Fuse::mount() else { return };
            if is_remembered {
                disk.be_remembered();
            }
            let path = disk.file("app.log");
            let receiver = Receiver::start(&[&["--output", &path], options].concat());
            let mut client = receiver.client();
            client.write_all(b"one\n").unwrap();
            until_inside(&disk, "app.log", "one\n");
            disk.kill_handles(errno);
            client.write_all(b"two\n").unwrap();
            until_inside(&disk, "app.log", "one\ntwo\n");
            // The same again, with another file of that name.
            disk.kill_handles(errno);
            disk.exchange();
            client.write_all(b"three\n").unwrap();
            until_inside(&disk, "app.log", "three\n");
            drop(client);
            receiver.stop().assert_clean();
        }
    }
}

#[test]
fn p13_a_file_system_that_is_away_for_a_while_costs_nothing_and_a_signal_needs_no_wait() {
    let Some(disk) = Fuse::mount() else { return };
    let path = disk.file("app.log");
    let receiver = Receiver::start(&["--output", &path]);
    let mut client = receiver.client();
    client.write_all(b"one\n").unwrap();
    until_inside(&disk, "app.log", "one\n");
    disk.answer(|_| Answer::Error(ENOTCONN));
    client.write_all(b"two\n").unwrap();
    receiver.until_said("[out] cannot write to ");
    until("its pauses to grow", || {
        let looks = disk.asked(Op::Lookup).iter().filter(|(_, is_fine)| !is_fine).count();
        if looks >= 14 { Ok(()) } else { Err(format!("{looks} looks")) }
    });
    disk.exchange();
    disk.kill_handles(ENOTCONN);
    let began = Instant::now();
    receiver.signal("HUP");
    until_inside(&disk, "app.log", "two\n");
    // By itself it would look again after more than three seconds.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(client);
    receiver.stop().assert_clean();
}

#[test]
fn p11_at_the_end_a_new_open_takes_what_the_old_descriptor_did_not() {
    let Some(disk) = Fuse::mount() else { return };
    let path = disk.file("app.log");
    let receiver = Receiver::start(&["--output", &path, "--drain-timeout", "300ms"]);
    let mut client = receiver.client();
    client.write_all(b"one\n").unwrap();
    until_inside(&disk, "app.log", "one\n");
    disk.answer(|_| Answer::Error(EIO));
    client.write_all(b"two\n").unwrap();
    // Two looks at the path a try: after the sixth the next one is seconds away.
    until("long pauses", || {
        let looks = disk.asked(Op::Lookup).iter().filter(|(_, is_fine)| !is_fine).count();
        if looks >= 12 { Ok(()) } else { Err(format!("{looks} looks")) }
    });
    disk.kill_handles(EIO);
    drop(client);
    receiver.stop().assert_clean();
    until_inside(&disk, "app.log", "one\ntwo\n");
}

#[test]
fn p1_a_line_that_was_half_written_when_the_descriptor_died_is_whole_and_there_once() {
    for (is_exchanged, signal, errno) in
        [(false, "", EIO), (true, "", EIO), (true, "HUP", EIO), (true, "HUP", ENOSPC), (false, "HUP", ENOSPC)]
    {
        let Some(disk) = Fuse::mount() else { return };
        let path = disk.file("app.log");
        let receiver = Receiver::start(&["--output", &path]);
        let mut client = receiver.client();
        client.write_all(b"one\n").unwrap();
        until_inside(&disk, "app.log", "one\n");
        disk.answer(move |asked| match asked {
            Asked { op: Op::Write, at: 4, .. } => Answer::Short(2),
            Asked { op: Op::Write, .. } => Answer::Error(errno),
            _ => Answer::Fine,
        });
        client.write_all(b"two\nthree\n").unwrap();
        receiver.until_said("[out] cannot write to ");
        assert_eq!(disk.inside("app.log").unwrap(), "one\ntw");
        if is_exchanged {
            disk.exchange();
        }
        disk.kill_handles(errno);
        if !signal.is_empty() {
            receiver.signal(signal);
        }
        let before = if is_exchanged { "" } else { "one\n" };
        until_inside(&disk, "app.log", &format!("{before}two\nthree\n"));
        drop(client);
        receiver.stop().assert_clean();
    }
}

#[test]
fn p17_lines_whose_sync_failed_get_no_receipt_and_those_after_it_do() {
    for errno in [EIO, ENOSPC, ESTALE] {
        let Some(disk) = Fuse::mount() else { return };
        let path = disk.file("app.log");
        let receiver = Receiver::start(&["--output", &path, "--sync", "100ms", "--receipt"]);
        let client = receiver.client();
        (&client).write_all(b"first\n").unwrap();
        assert_eq!(receipt(client), "1 lines\n", "as long as all is fine");
        disk.answer(move |asked| if asked.op == Op::Fsync { Answer::Error(errno) } else { Answer::Fine });
        let client = receiver.client();
        (&client).write_all(b"second\n").unwrap();
        assert_eq!(receipt(client), "", "of lines whose sync failed");
        receiver.until_said("[out] cannot sync ");
        // The old descriptor is as it is; of the file there is a new one.
        if errno == ENOSPC {
            disk.be_fine()
        } else {
            disk.kill_handles(errno)
        };
        let client = receiver.client();
        (&client).write_all(b"third\n").unwrap();
        assert_eq!(receipt(client), "1 lines\n", "of a later line");
        until_inside(&disk, "app.log", "first\nsecond\nthird\n");
        receiver.stop().assert_clean();
    }
}

#[test]
fn p17_lines_that_a_dead_descriptor_took_get_no_receipt_though_it_can_not_be_asked() {
    for (errno, options) in [(ESTALE, &[][..]), (EIO, &[]), (ESTALE, &["--rotate-size", "1MiB"])] {
        let Some(disk) = Fuse::mount() else { return };
        let path = disk.file("app.log");
        let receiver = Receiver::start(&[&["--output", &path, "--sync", "1500ms", "--receipt"], options].concat());
        let client = receiver.client();
        (&client).write_all(b"first\n").unwrap();
        assert_eq!(receipt(client), "1 lines\n");
        // Written, and dead before the next sync, while somebody else has a descriptor that lives.
        let client = receiver.client();
        (&client).write_all(b"second\n").unwrap();
        until_inside(&disk, "app.log", "first\nsecond\n");
        disk.kill_handles(errno);
        let mut other = receiver.client();
        other.write_all(b"third\n").unwrap();
        until_inside(&disk, "app.log", "first\nsecond\nthird\n");
        assert_eq!(receipt(client), "", "nobody knows what became of it");
        receiver.until_said("[out] cannot sync ");
        let client = receiver.client();
        (&client).write_all(b"fourth\n").unwrap();
        assert_eq!(receipt(client), "1 lines\n", "of a later line");
        receiver.stop().assert_clean();
    }
}

#[test]
fn p17_a_file_without_a_count_of_names_is_synced_like_any_other() {
    let Some(disk) = Fuse::mount() else { return };
    disk.count_no_names();
    let path = disk.file("app.log");
    let args = ["--output", &path, "--sync", "100ms", "--receipt", "--rotate-size", "100", "--max-line", "50"];
    let receiver = Receiver::start(&args);
    let client = receiver.client();
    let line = "x".repeat(39) + "\n";
    (&client).write_all(line.repeat(5).as_bytes()).unwrap();
    assert_eq!(receipt(client), "5 lines\n");
    for name in ["app.log.2", "app.log.1", "app.log"] {
        let handles = disk.handles_of(name);
        let is_synced = |(asked, is_fine): &(Asked, bool)| *is_fine && handles.contains(&asked.handle.unwrap());
        assert!(disk.asked(Op::Fsync).iter().any(is_synced), "{name} has its receipt, and no sync");
    }
    receiver.stop().assert_clean();
}

#[test]
fn p17_a_folder_that_can_not_be_synced_is_said_once_and_receipts_go_on() {
    for errno in [EOPNOTSUPP, EINVAL] {
        let Some(disk) = Fuse::mount() else { return };
        disk.answer(move |asked| if asked.op == Op::FsyncDir { Answer::Error(errno) } else { Answer::Fine });
        let path = disk.file("app.log");
        let args = ["--output", &path, "--sync", "100ms", "--receipt", "--rotate-size", "100", "--max-line", "50"];
        let receiver = Receiver::start(&args);
        for _ in 0..8 {
            let client = receiver.client();
            (&client).write_all(("x".repeat(39) + "\n").as_bytes()).unwrap();
            assert_eq!(receipt(client), "1 lines\n");
        }
        let asked = disk.asked(Op::FsyncDir);
        assert!(asked.len() > 1 && asked.iter().all(|(_, is_fine)| !is_fine), "{asked:?}");
        let ended = receiver.stop();
        ended.assert_clean();
        assert_eq!(ended.stderr.matches("can't sync all that --sync asks for").count(), 1, "{}", ended.stderr);
        assert!(!ended.stderr.contains("cannot sync"), "{}", ended.stderr);
    }
}

#[test]
fn p11_a_last_sync_that_fails_ends_with_its_sentence() {
    let Some(disk) = Fuse::mount() else { return };
    let path = disk.file("app.log");
    let receiver = Receiver::start(&["--output", &path, "--sync", "1h", "--receipt"]);
    let client = receiver.client();
    (&client).write_all(b"first\n").unwrap();
    assert_eq!(receipt(client), "1 lines\n");
    disk.answer(|asked| if asked.op == Op::Fsync { Answer::Error(EIO) } else { Answer::Fine });
    let client = receiver.client();
    (&client).write_all(b"second\n").unwrap();
    until_inside(&disk, "app.log", "first\nsecond\n");
    receiver.signal("TERM");
    assert_eq!(receipt(client), "", "it may be lost");
    let ended = receiver.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("lumberjack: ") && last.contains("sync") && last.contains(&named_inside(&path)), "{last}");
}

/// A file of 100 bytes takes no more, though others do.
fn limit_files(disk: &Fuse, most: u64) {
    disk.answer(move |asked| match asked {
        Asked { op: Op::Write, at, .. } if at >= most => Answer::Error(EFBIG),
        Asked { op: Op::Write, at, .. } => Answer::Short(usize::try_from(most - at).unwrap()),
        _ => Answer::Fine,
    });
}

#[test]
fn p13_a_file_that_takes_no_more_is_followed_by_another_or_said() {
    let line = |number: u32| format!("{number:029}\n");
    let lines = |from: u32, to: u32| (from..to).map(line).collect::<String>();
    let Some(disk) = Fuse::mount() else { return };
    limit_files(&disk, 100);
    let path = disk.file("app.log");
    let receiver = Receiver::start(&["--output", &path, "--rotate-size", "1MiB", "--rotate-keep", "9"]);
    let mut client = receiver.client();
    client.write_all(lines(0, 7).as_bytes()).unwrap();
    until_inside(&disk, "app.log", &lines(6, 7));
    assert_eq!(disk.inside("app.log.1").unwrap(), lines(3, 6));
    assert_eq!(disk.inside("app.log.2").unwrap(), lines(0, 3));
    drop(client);
    receiver.stop().assert_clean();
    // Without rotation it is said; a signal after it was moved goes on.
    disk.exchange();
    let receiver = Receiver::start(&["--output", &path]);
    let mut client = receiver.client();
    client.write_all(lines(0, 5).as_bytes()).unwrap();
    receiver.until_said("it has reached the largest size that a file may have here");
    assert_eq!(disk.inside("app.log").unwrap(), lines(0, 3), "whole lines");
    fs::rename(&path, disk.file("moved")).unwrap();
    receiver.signal("HUP");
    until_inside(&disk, "app.log", &lines(3, 5));
    until_inside(&disk, "moved", &lines(0, 3));
    drop(client);
    receiver.stop().assert_clean();
}

#[test]
fn p13_a_folder_in_which_nothing_can_be_renamed_or_removed_stops_no_line() {
    let line = |number: u32| format!("{number:029}\n");
    let lines = |from: u32, to: u32| (from..to).map(line).collect::<String>();
    for op in [Op::Rename, Op::Create] {
        let Some(disk) = Fuse::mount() else { return };
        let path = disk.file("app.log");
        let args = ["--output", &path, "--rotate-size", "100", "--max-line", "50", "--rotate-keep", "2"];
        let receiver = Receiver::start(&args);
        let mut client = receiver.client();
        disk.answer(move |asked| if asked.op == op { Answer::Error(EOPNOTSUPP) } else { Answer::Fine });
        client.write_all(lines(0, 9).as_bytes()).unwrap();
        until_inside(&disk, "app.log", &lines(0, 9));
        receiver.until_said(&format!("[out] cannot rotate {path}: "));
        disk.be_fine();
        receiver.signal("HUP");
        client.write_all(lines(9, 10).as_bytes()).unwrap();
        until_inside(&disk, "app.log", &lines(9, 10));
        until_inside(&disk, "app.log.1", &lines(0, 9));
        drop(client);
        receiver.stop().assert_clean();
    }
}
