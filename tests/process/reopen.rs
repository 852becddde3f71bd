//! SIGHUP, and logrotate itself, rotating under load: no line is lost or doubled where that is possible.

use std::fs;
use std::io::Write;

use super::tools::{Missing, Program};
use crate::common::patience::output_of;
use crate::common::skip::skip;
use crate::support::conditions::{Dir, text, until, until_equal};
use crate::support::follow::{LEAD, Seen, Senders, push_line};
use crate::support::receiver::Receiver;

#[test]
fn a_signal_makes_it_go_on_in_the_file_that_has_the_name_now() {
    let dir = Dir::new();
    let (path, moved) = (dir.file("app.log"), dir.file("moved"));
    let receiver = Receiver::start(&["--output", &path]);
    let mut client = receiver.client();
    client.write_all(b"one\n").unwrap();
    until_equal("a line", &"one\n".to_owned(), || text(&path));
    fs::rename(&path, &moved).unwrap();
    client.write_all(b"two\n").unwrap();
    until_equal("a line in the moved file", &"one\ntwo\n".to_owned(), || text(&moved));
    receiver.signal("HUP");
    until("the new file", || fs::metadata(&path).map(drop).map_err(|error| error.to_string()));
    client.write_all(b"three\n").unwrap();
    until_equal("a line in the new file", &"three\n".to_owned(), || text(&path));
    // The same file again: nothing changes.
    receiver.signal("HUP");
    client.write_all(b"four\n").unwrap();
    until_equal("one more", &"three\nfour\n".to_owned(), || text(&path));
    // One that somebody else has begun, and torn.
    fs::rename(&path, &moved).unwrap();
    fs::write(&path, "torn").unwrap();
    receiver.signal("HUP");
    until_equal("the end of the torn line", &true, || {
        client.write_all(b"x\n").unwrap();
        text(&path).starts_with("torn\nx\n")
    });
    assert_eq!(receiver.stop().code, Some(0));
}

#[test]
fn a_signal_that_finds_no_place_for_a_file_changes_nothing_and_is_said() {
    let dir = Dir::new();
    let (path, moved) = (dir.file("app.log"), dir.file("moved"));
    let receiver = Receiver::start(&["--output", &path]);
    let mut client = receiver.client();
    fs::rename(&path, &moved).unwrap();
    fs::create_dir(&path).unwrap();
    receiver.signal("HUP");
    let sentence = "is a directory; lines go on to what had that name";
    receiver.until_said(&format!("[out] cannot open {path} anew: {sentence}"));
    client.write_all(b"line\n").unwrap();
    until_equal("a line in the moved file", &"line\n".to_owned(), || text(&moved));
    receiver.stop().assert_clean();
}

#[test]
fn many_signals_under_load_lose_and_double_nothing() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = Receiver::start(&["--output", &path]);
    let senders = Senders::start((0..3).map(|_| receiver.client()).collect(), 10_000, None);
    for number in 0..30 {
        fs::rename(&path, dir.file(&format!("moved.{number:02}"))).unwrap();
        receiver.signal("HUP");
        until("the new file", || fs::metadata(&path).map(drop).map_err(|error| error.to_string()));
    }
    let sent = senders.finish();
    receiver.stop().assert_clean();
    let mut seen = Seen::of(3);
    let names = (0..30).map(|number| dir.file(&format!("moved.{number:02}"))).chain([path]);
    for name in names {
        let bytes = fs::read(&name).unwrap();
        assert_eq!(seen.take(&bytes), bytes.len(), "{name} ends in the middle of a line");
    }
    assert_eq!(seen.next, sent);
}

/// None, and a word, without it.
fn logrotate() -> Option<Program> {
    match Program::find("logrotate") {
        Ok(program) => Some(program),
        Err(Missing(why)) => {
            skip(&why);
            None
        }
    }
}

/// Has it rotate now.
fn run_logrotate(program: &Program, dir: &Dir) {
    let args = ["--force", "--state", &dir.file("state"), &dir.file("rotate.conf")];
    let output = output_of(program.command().args(args)).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn configure(dir: &Dir, directives: &str) {
    let path = dir.file("logs/app.log");
    let config = format!("\"{path}\" {{\n  rotate 100\n{directives}}}\n");
    fs::write(dir.file("rotate.conf"), config).unwrap();
}

/// What is in the rotated files and in the last, the oldest first.
fn rotated(path: &str) -> Vec<Vec<u8>> {
    let mut files = vec![fs::read(path).unwrap()];
    files.extend((1..=100).map_while(|number| fs::read(format!("{path}.{number}")).ok()));
    files.reverse();
    files
}

fn folder_and_path() -> (Dir, String) {
    let dir = Dir::new();
    fs::create_dir(dir.file("logs")).unwrap();
    let path = dir.file("logs/app.log");
    (dir, path)
}

#[test]
fn logrotate_in_create_mode_loses_and_doubles_nothing() {
    let Some(program) = logrotate() else { return };
    let (dir, path) = folder_and_path();
    let receiver = Receiver::start(&["--output", &path]);
    configure(&dir, &format!("  create\n  postrotate\n    kill -HUP {}\n  endscript\n", receiver.guard.pid()));
    let senders = Senders::start((0..3).map(|_| receiver.client()).collect(), u64::MAX, None);
    for _ in 0..6 {
        run_logrotate(&program, &dir);
        // It does not rotate an empty file.
        until("lines in the new file", || match fs::metadata(&path).map_or(0, |found| found.len()) {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        });
    }
    senders.stop();
    let sent = senders.finish();
    receiver.stop().assert_clean();
    let files = rotated(&path);
    assert_eq!(files.len(), 7);
    let mut seen = Seen::of(3);
    for bytes in &files {
        assert_eq!(seen.take(bytes), bytes.len(), "a file ends in the middle of a line");
    }
    assert_eq!(seen.next, sent);
}

#[test]
fn logrotate_in_copytruncate_mode_loses_lines_by_design_but_makes_no_hole() {
    let Some(program) = logrotate() else { return };
    let (dir, path) = folder_and_path();
    let receiver = Receiver::start(&["--output", &path]);
    configure(&dir, "  copytruncate\n");
    // In this mode logrotate copies until it is at the end: of a file that grows faster than it copies, for ever.
    let pace = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let senders =
        Senders::start((0..3).map(|_| receiver.client()).collect(), u64::MAX, Some(std::sync::Arc::clone(&pace)));
    for _ in 0..6 {
        pace.fetch_add(LEAD, std::sync::atomic::Ordering::SeqCst);
        until("lines in the file", || match fs::metadata(&path).map_or(0, |found| found.len()) {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        });
        run_logrotate(&program, &dir);
    }
    senders.stop();
    let sent = senders.finish();
    receiver.stop().assert_clean();
    let files = rotated(&path);
    assert_eq!(files.len(), 7);
    let all = files.concat();
    assert!(!all.contains(&0), "a file has a hole: it was not written at its end");
    assert!(all.ends_with(b"\n"), "it goes on");
    // A copy may end anywhere, and what is behind it was written before the cut.
    let mut lost: i64 = sent.iter().sum::<u64>().try_into().unwrap();
    for line in all.split_inclusive(|byte| *byte == b'\n') {
        let number = line.get(4..14).and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        let client = line.get(1..3).and_then(|client| std::str::from_utf8(client).ok()?.parse().ok());
        let (Some(client), Some(number)) = (client, number) else { continue };
        let mut expected = Vec::new();
        push_line(client, number, &mut expected);
        lost -= i64::from(line == expected);
    }
    eprintln!("copytruncate: {lost} of {} lines lost in {} rotations", sent.iter().sum::<u64>(), files.len() - 1);
    assert!(lost >= 0, "{} lines too many", -lost);
}
