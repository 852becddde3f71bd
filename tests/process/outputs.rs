//! Several outputs at once, one of which may stand still: who waits, who goes on, and what the log says of it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Command;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::common::patience::{Pipe, join, output_of};
use crate::common::skip::skip;
use crate::support::conditions::{Dir, until, write_until_held_back};
use crate::support::receiver::{Receiver, Setup};

fn path(folder: &Dir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn numbered(lines: std::ops::Range<u32>) -> Vec<u8> {
    lines.flat_map(|number| format!("{number:090}\n").into_bytes()).collect()
}

#[test]
fn each_output_gets_every_line_once_in_each_format() {
    let folder = Dir::new();
    let (one, two) = (path(&folder, "one.log"), path(&folder, "two.log"));
    for format in ["raw", "peer", "json"] {
        let args = ["--output", &one, "--output", "-", "--output", &two, "--format", format];
        let receiver = Receiver::start(&args);
        let mut client = receiver.client();
        client.write_all(&numbered(0..5_000)).unwrap();
        client.write_all(b"the last has no end").unwrap();
        drop(client);
        let ended = receiver.stop();
        ended.assert_clean();
        assert_eq!(ended.lines().len(), 5_001, "{format}");
        for file in [&one, &two] {
            assert!(fs::read(file).unwrap() == ended.output, "{format}: {file} differs from stdout");
            fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn p8_the_slowest_output_sets_the_pace_and_the_log_names_it() {
    let folder = Dir::new();
    let file = path(&folder, "app.log");
    let (receiver, mut reader) = Receiver::start_unread(&["--output", &file, "--output", "-", "--memory", "1MiB"]);
    let client = receiver.client();
    let sent = write_until_held_back(&client);
    receiver.until_said("[out] stdout has taken nothing for 5 s: clients wait for it");
    receiver.assert_rests("while an output stands still");
    drop(client);
    receiver.signal("TERM");
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    let ended = receiver.wait();
    ended.assert_clean();
    let whole = sent.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    assert!(read.starts_with(&sent[..whole]), "{} of {whole} bytes, or others", read.len());
    assert!(fs::read(&file).unwrap() == read, "the file differs");
    assert!(ended.stderr.contains("[out] stdout takes lines again"), "{}", ended.stderr);
}

#[test]
fn an_output_that_stands_still_is_passed_over_and_told_what_it_missed() {
    let folder = Dir::new();
    let file = path(&folder, "app.log");
    let args = ["--output", &file, "--output", "-", "--on-stall", "drop", "--stall-timeout", "300ms", "--mark-gaps"];
    let (receiver, mut reader) = Receiver::start_unread(&args);
    let mut client = receiver.client();
    let sent = numbered(0..100_000); // 9 MB: far more than the pipe and the budget of the output hold
    client.write_all(&sent).unwrap();
    until("the file has it all", || {
        let len = fs::metadata(&file).unwrap().len();
        if len == sent.len() as u64 { Ok(()) } else { Err(len.to_string()) }
    });
    receiver.until_said("[out] stdout has taken nothing for --stall-timeout: it is passed over");
    assert!(fs::read(&file).unwrap() == sent, "the other output is not touched by it");

    // What it had taken comes, whole; then a mark of what is missing; then what comes from now on.
    let mut read = vec![0; 64 * 1024];
    let mut came = Vec::new();
    while !came.ends_with(b"why=stalled\n") {
        let count = reader.read(&mut read).unwrap();
        assert!(count > 0, "it ended without a mark");
        came.extend_from_slice(&read[..count]);
    }
    client.write_all(b"after\n").unwrap();
    drop(client);
    receiver.signal("TERM");
    reader.read_to_end(&mut came).unwrap();
    let ended = receiver.wait();
    ended.assert_clean();
    let text = String::from_utf8(came).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (before, rest) = lines.split_at(lines.len() - 2);
    assert_eq!(rest[1], "after");
    let missing = 100_000 - before.len();
    let mark = format!("peer=* lines={missing} bytes={} why=stalled", missing * 91);
    assert!(rest[0].starts_with("[lumberjack gap] ") && rest[0].ends_with(&mark), "{} is not {mark}", rest[0]);
    for (number, line) in before.iter().enumerate() {
        assert_eq!(*line, format!("{number:090}"));
    }
    let told = format!("[out] stdout takes lines again; {missing} lines were dropped meanwhile");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
}

#[test]
fn p13_an_output_that_is_gone_keeps_no_other_from_going_on_and_the_end_says_so() {
    for on_stall in ["wait", "drop"] {
        let folder = Dir::new();
        let file = path(&folder, "app.log");
        let args = ["--output", "-", "--output", &file, "--on-stall", on_stall];
        let (receiver, reader) = Receiver::start_unread(&args);
        let mut client = receiver.client();
        client.write_all(b"before\n").unwrap();
        until("a line", || if fs::read(&file).unwrap() == b"before\n" { Ok(()) } else { Err(String::new()) });
        drop(reader);
        receiver.until_said("[out] stdout is gone for good");
        client.write_all(b"after\nand after\n").unwrap();
        drop(client);
        let ended = receiver.stop();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let last = ended.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("lumberjack: cannot write to stdout any more: its reader is gone ("), "{last}");
        assert!(last.ends_with("), 2 line(s) that came since are lost; start the reader again, then this"), "{last}");
        assert!(!ended.stderr.contains("everything is written"), "{}", ended.stderr);
        assert_eq!(fs::read_to_string(&file).unwrap(), "before\nafter\nand after\n");
    }
}

#[test]
fn p13_the_last_output_that_is_gone_ends_the_program_at_once() {
    let (receiver, reader) = Receiver::start_unread(&["--output", "-"]);
    drop(reader);
    let ended = receiver.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("cannot write to stdout any more: its reader is gone"), "{}", ended.stderr);
    assert!(!ended.stderr.contains(" lost"), "nothing was: {}", ended.stderr);
}

#[test]
fn p11_an_output_that_stands_still_at_the_end_costs_no_other_its_lines() {
    let folder = Dir::new();
    let fifo = path(&folder, "slow");
    if !output_of(Command::new("mkfifo").arg(&fifo)).is_ok_and(|output| output.status.success()) {
        return skip("mkfifo makes no fifo here");
    }
    let args = ["--output", "-", "--output", &fifo, "--drain-timeout", "1s"];
    let (receiver, _reader) = Receiver::start_unread(&args);
    let sent = numbered(0..6_000); // more than the two pipes take at once, and less than waits for outputs at most
    let mut client = receiver.client();
    client.write_all(&sent[..sent.len() / 2]).unwrap();
    let mut slow = Pipe::open(&fifo);
    // A reader that is never done, but never stops for long either.
    let reading = std::thread::spawn(move || {
        let (mut read, mut chunk) = (Vec::new(), [0; 8 * 1024]);
        loop {
            match slow.read(&mut chunk).unwrap() {
                0 => return read,
                count => read.extend_from_slice(&chunk[..count]),
            }
            std::thread::sleep(std::time::Duration::from_millis(40));
        }
    });
    drop(client);
    receiver.signal("TERM");
    let ended = receiver.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("gave up on stdout, which took nothing for --drain-timeout"), "{}", ended.stderr);
    let read = join("the slow reader", reading);
    assert!(read == sent[..sent.len() / 2], "{} of {} bytes", read.len(), sent.len() / 2);
}

#[test]
fn p8_a_line_that_fills_the_room_of_an_output_that_is_passed_over_stops_nobody() {
    let folder = Dir::new();
    let file = path(&folder, "app.log");
    let limits = ["--max-line", "1MiB", "--max-buffer", "2MiB"];
    let args = [&limits[..], &["--output", &file, "--output", "-", "--on-stall", "drop", "--stall-timeout", "300ms"]];
    let (receiver, _reader) = Receiver::start_unread(&args.concat());
    let mut client = receiver.client();
    let line = [&vec![b'x'; 1_000_000][..], b"\n"].concat();
    for _ in 0..20 {
        client.write_all(&line).unwrap();
    }
    until("the file has it all", || {
        let len = fs::metadata(&file).unwrap().len();
        if len == 20 * line.len() as u64 { Ok(()) } else { Err(len.to_string()) }
    });
    drop(client);
    let ended = receiver.stop();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("stdout took nothing to the end and did not get 20 lines"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("everything is written"), "{}", ended.stderr);
}

#[test]
fn p12_the_only_output_that_was_passed_over_and_is_given_up_says_what_it_missed() {
    let args = ["--output", "-", "--on-stall", "drop", "--stall-timeout", "300ms", "--drain-timeout", "500ms"];
    let (receiver, _reader) = Receiver::start_unread(&args);
    let mut client = receiver.client();
    // More than a pipe takes, and then what comes while it is passed over.
    client.write_all(&numbered(0..2_000)).unwrap();
    receiver.until_said("it is passed over, its lines are dropped");
    client.write_all(&numbered(2_000..2_500)).unwrap();
    drop(client);
    let ended = receiver.stop();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let (_, missed) =
        ended.stderr.split_once(" bytes of lines are lost, and ").unwrap_or_else(|| panic!("{}", ended.stderr));
    let missed: u32 = missed.split(' ').next().unwrap().parse().unwrap();
    let written = ended.output.iter().filter(|byte| **byte == b'\n').count();
    assert!((500..2_500).contains(&missed), "{missed} {written}: {}", ended.stderr);
}

#[test]
fn p13_outputs_that_make_no_sense_are_refused_in_a_sentence() {
    let folder = Dir::new();
    let file = path(&folder, "app.log");
    fs::write(&file, "").unwrap();
    let link = path(&folder, "link.log");
    fs::hard_link(&file, &link).unwrap();
    for (args, code, words) in [
        (&["--output", &file, "--output", &file][..], 2, "is given twice: give it once"),
        (&["--output", &file, "--output", &link], 1, "another --output is the same file"),
        (&["--rotate-size", "1MiB"], 2, "--rotate-size is for files, and no --output names one"),
        (&["--rotate-age", "1h"], 2, "--rotate-age is for files"),
        (&["--output", "/dev/null", "--rotate-age", "1h"], 1, "it is no regular file, which --rotate-size,"),
        (&["--sync", "interval"], 2, "--sync is for files"),
        (&["--output", &file, "--sync", "1ms"], 2, "--sync 1ms: use never, interval (1s), or a duration"),
        (
            &["--output", &file, "--rotate-size", "1KiB"],
            2,
            "--rotate-size 1KiB is smaller than the longest line can be",
        ),
        (&["--output", &file, "--disk-full", "drop-oldest"], 2, "--disk-full drop-oldest removes rotated files"),
        (&["--output", "a/{host}/{host}.log"], 2, "{host} may stand once in a name"),
        (&["--output", "/no/such/{host}.log"], 1, "its directory does not exist"),
        (&["--on-stall", "drop", "--stall-timeout", "0"], 2, "--stall-timeout is 0"),
        (&["--tag", "x"], 2, "--tag is a field of --format peer and json"),
        (&["--format", "json", "--tag", "a b"], 2, "--tag a b: "),
    ] {
        let ended = Setup::new(args).run();
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words) && ended.stderr.lines().count() == 1, "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn p11_a_next_receiver_with_a_full_backlog_is_told_of_at_the_end_whatever_else_is_written() {
    let folder = Dir::new();
    let (socket, file) = (path(&folder, "next"), path(&folder, "app.log"));
    let listener = UnixListener::bind(&socket).unwrap();
    // As many as its backlog holds; connecting waits from then on.
    let full: Vec<Socket> = (0..)
        .map_while(|_| {
            let client = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
            client.connect(&SockAddr::unix(&socket).unwrap()).ok().map(|()| client)
        })
        .collect();
    assert!(!full.is_empty());
    for on_stall in ["wait", "drop"] {
        for more in [&[][..], &["--output", &file]] {
            let unix = format!("unix:{socket}");
            let args =
                ["--output", &unix, "--on-stall", on_stall, "--stall-timeout", "300ms", "--drain-timeout", "500ms"];
            let receiver = Receiver::start(&[&args[..], more].concat());
            let mut client = receiver.client();
            client.write_all(b"one\n").unwrap();
            receiver.until_said("is away");
            if on_stall == "drop" {
                receiver.until_said("it is passed over");
            }
            client.write_all(b"two\n").unwrap();
            drop(client);
            let ended = receiver.stop();
            let case = format!("{on_stall} {more:?}: {}", ended.stderr);
            assert_eq!(ended.code, Some(1), "{case}");
            assert!(ended.stderr.lines().last().unwrap_or_default().starts_with("lumberjack: "), "{case}");
            assert!(ended.stderr.contains("next") && !ended.stderr.contains("everything is written"), "{case}");
            if !more.is_empty() {
                assert_eq!(fs::read_to_string(&file).unwrap(), "one\ntwo\n", "{case}");
                fs::remove_file(&file).unwrap();
            }
        }
    }
    drop(listener);
}
