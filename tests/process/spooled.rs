//! `lumberjack read` and `lumberjack verify` on a real disk: a spool that this test writes by the library, and damages.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;

use lumberjack::internals::spool::disk::RealDisk;
use lumberjack::internals::spool::error::Cause;
use lumberjack::internals::spool::reader::Next;
use lumberjack::internals::spool::{Settings, Spool};
use lumberjack::{Parse, Peer};

use crate::common::patience::Collected;
use crate::support::conditions::{Dir, until};
use crate::support::receiver::{Ended, Receiver, Setup};

const PEER: Peer = Peer::V4 { ip: [192, 0, 2, 7], port: 514 };

fn settings() -> Settings {
    let mut settings = Settings { max_line: 1_000, outputs: vec!["out".to_owned()], ..Settings::default() };
    settings.size = settings.least_size();
    settings
}

fn open(path: &Path) -> Result<Spool<RealDisk>, Cause> {
    Spool::open(RealDisk::make(path)?, settings(), 1_000)
}

/// The same after somebody has closed it: a program that another test starts just then has its lock for a moment.
fn open_again(path: &Path) -> Spool<RealDisk> {
    let tried = || match open(path) {
        Err(Cause::Locked) => Err("it is locked".to_owned()),
        opened => Ok(opened.unwrap()),
    };
    until("the lock", tried)
}

fn write(spool: &mut Spool<RealDisk>, path: &Path, texts: &[&str]) {
    let mut batch = spool.batch();
    for text in texts {
        assert!(batch.push_line(&PEER, 1_500, Parse::Off, [text.as_bytes(), b""]));
    }
    spool.write(&mut batch, 1_000).unwrap();
    spool.want_sync();
    work(spool, path);
}

fn work(spool: &mut Spool<RealDisk>, path: &Path) {
    while let Some(job) = spool.next_job(1_000) {
        let result = job.run(&RealDisk::new(path));
        result.as_ref().unwrap();
        spool.done(&result);
    }
}

fn run(args: &[&str]) -> Ended {
    Setup::new(args).run()
}

#[test]
fn a_spool_is_read_and_verified_beside_its_writer_and_after_it() {
    let dir = Dir::new();
    let (path, name) = (dir.path().join("spool"), dir.file("spool"));
    let mut spool = open(&path).unwrap();
    write(&mut spool, &path, &["one", "two"]);
    write(&mut spool, &path, &["three"]);
    assert!(matches!(open(&path), Err(Cause::Locked)), "one process has it");
    let read = run(&["read", &name]);
    let time = "1970-01-01T00:00:01.500Z 192.0.2.7:514";
    assert_eq!(String::from_utf8_lossy(&read.output), format!("1 {time} one\n2 {time} two\n3 {time} three\n"));
    assert_eq!((read.code, &*read.stderr), (Some(0), ""));
    let some =
        run(&["read", "--from", &name, "--first", "2", "--match", "o", "--host", "192.0.2.7", "--since", "1970-01-01"]);
    assert_eq!(String::from_utf8_lossy(&some.output), format!("2 {time} two\n"));
    let some = run(&["read", &name, "--format", "raw", "--until", "1970-01-01T00:00:02Z"]);
    assert_eq!(String::from_utf8_lossy(&some.output), "one\ntwo\nthree\n");
    let some = run(&["read", &name, "--until", "1970-01-01T00:00:01Z"]);
    assert_eq!((some.code, some.output.len()), (Some(0), 0));
    spool.close();
    work(&mut spool, &path);
    assert!(spool.is_closed());
    drop(spool);
    let verified = run(&["verify", &name]);
    let said = String::from_utf8_lossy(&verified.output).into_owned();
    assert!(said.starts_with("0000000000000001.seg: sealed, 3 lines, "), "{said}");
    assert!(said.ends_with("whole: 3 lines up to number 3\n"), "{said}");
    assert_eq!(verified.code, Some(0));

    // The payload of the first record.
    let segment = fs::OpenOptions::new().write(true).open(path.join("0000000000000001.seg")).unwrap();
    segment.write_all_at(b"damaged", 96 + 48 + 8).unwrap();
    let verified = run(&["verify", &name]);
    let said = String::from_utf8_lossy(&verified.output).into_owned();
    assert!(said.contains("2 lines are missing between numbers 1 and 2: damaged\n"), "{said}");
    assert!(said.ends_with("damaged: 1 line up to number 3\n"), "{said}");
    assert_eq!(verified.code, Some(1));
    let read = run(&["read", &name]);
    assert_eq!(String::from_utf8_lossy(&read.output), format!("3 {time} three\n"));
    assert_eq!((read.code, read.stderr.contains("2 lines are missing")), (Some(1), true), "{}", read.stderr);

    let mut spool = open_again(&path);
    assert_eq!(spool.next_number(), 4);
    let Next::Missing(missing) = spool.read(0).unwrap() else { panic!("a gap comes first") };
    assert_eq!((missing.first, missing.last, missing.lines, missing.are_gone), (1, 2, 2, false));
}

#[test]
fn p13_what_is_no_file_of_a_spool_is_not_waited_for() {
    let dir = Dir::new();
    let (path, name) = (dir.path().join("spool"), dir.file("spool"));
    let mut spool = open(&path).unwrap();
    write(&mut spool, &path, &["one"]);
    drop(spool);
    let fifo = path.join("0000000000fff000.seg");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let output = ["--listen", "127.0.0.1:0", "--output", "tcp:127.0.0.1:9", "--spool"];
    let say = || {
        for args in [&["verify", &name][..], &["read", &name], &[&output[..], &[&name]].concat()] {
            let ended = run(args);
            assert_eq!(ended.code, Some(1), "{ended:?}");
            let words = "the spool {name}: 0000000000fff000.seg is no regular file: remove it".replace("{name}", &name);
            assert!(ended.stderr.contains(&words), "{}", ended.stderr);
        }
    };
    say();
    fs::remove_file(&fifo).unwrap();
    fs::create_dir(&fifo).unwrap();
    say();
    fs::remove_dir(&fifo).unwrap();
    let spool = format!("{name}-not");
    assert!(std::process::Command::new("mkfifo").arg(dir.file("box")).status().unwrap().success());
    fs::create_dir(&spool).unwrap();
    fs::rename(dir.file("box"), format!("{spool}/box")).unwrap();
    let ended = run(&[&output[..], &[&spool]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("box is no regular file: remove it"), "{}", ended.stderr);
    let receiver = Receiver::start(&["--output", "tcp:127.0.0.1:9", "--spool", &name]);
    receiver.client().write_all(b"two\n").unwrap();
    receiver.stop();
    assert!(String::from_utf8_lossy(&run(&["read", &name]).output).ends_with(" two\n"));
}

#[test]
fn read_follows_a_spool_across_a_start() {
    let dir = Dir::new();
    let (path, name) = (dir.path().join("spool"), dir.file("spool"));
    let mut spool = open(&path).unwrap();
    write(&mut spool, &path, &["one"]);
    let mut guard = Setup::new(&["read", &name, "--follow"]).spawn(Stdio::null());
    let output = Collected::from(guard.0.stdout.take().unwrap());
    let shows = |text: &str| {
        let wanted = format!("{text}\n");
        until(text, || if output.text().ends_with(&wanted) { Ok(()) } else { Err(output.text()) });
    };
    shows("one");
    write(&mut spool, &path, &["two", "three"]);
    shows("three");
    drop(spool);
    let mut spool = open_again(&path);
    write(&mut spool, &path, &["four"]);
    shows("four");
    assert_eq!(output.text().lines().count(), 4);
    guard.signal("TERM");
    guard.wait();
}

#[test]
fn read_that_follows_ends_when_nobody_reads_it() {
    let dir = Dir::new();
    let (path, name) = (dir.path().join("spool"), dir.file("spool"));
    let mut spool = open(&path).unwrap();
    write(&mut spool, &path, &["one"]);
    let mut guard = Setup::new(&["read", &name, "--follow"]).spawn(Stdio::null());
    let mut stdout = guard.0.stdout.take().unwrap();
    let mut byte = [0];
    while byte != *b"\n" {
        stdout.read_exact(&mut byte).unwrap();
    }
    drop(stdout);
    guard.wait();
}

#[test]
fn p13_what_can_not_be_read_is_a_sentence() {
    let dir = Dir::new();
    let missing = dir.file("nowhere");
    for word in ["read", "verify"] {
        let ended = run(&[word, &missing]);
        assert_eq!(ended.code, Some(1));
        assert_eq!(ended.stderr, format!("lumberjack: cannot read the spool {missing}: there is no such directory\n"));
    }
    for (args, words) in [
        (&["verify"][..], "give the directory of a spool"),
        (&["verify", "a", "b"], "verify takes one directory"),
        (&["verify", "a", "--follow"], "verify takes one directory"),
        (&["read", "a", "--first", "x"], "--first x: give the number of a line"),
        (&["read", "a", "--until", "x"], "--until x: give a duration, such as 2h, or a time"),
        (&["read", "a", "--format", "xml"], "--format xml: give raw, peer or json"),
        (&["read", "a", "--from", "b"], "read takes one directory"),
        (&["read", "a", "--json"], "read takes one directory"),
        (&["read", "a", "--host", "b"], "--host b: give an address without its port, or unix"),
    ] {
        let ended = run(args);
        assert!(ended.stderr.contains(words) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
        assert_eq!(ended.code, Some(2), "{args:?}");
    }
    let help = run(&["read", "--help"]);
    assert!(help.output.starts_with(b"Usage: lumberjack read [--from] DIR"));
}

#[test]
fn a_machine_s_spool_is_its_own_and_nothing_in_a_refused_directory_changes() {
    let dir = Dir::new();
    let path = dir.path().join("spool");
    let mut spool = open(&path).unwrap();
    write(&mut spool, &path, &["one"]);
    drop(spool);
    let segment = path.join("0000000000000001.seg");
    let before = fs::read(&segment).unwrap();
    let small = Settings { size: 1_000, ..settings() };
    let refused = Spool::open(RealDisk::new(&path), small, 0).err().unwrap().at(&path);
    assert!(refused.is_usage() && refused.to_string().contains("too small"), "{refused}");
    let file = dir.file("file");
    fs::File::create(&file).unwrap().write_all(b"x").unwrap();
    let refused = RealDisk::make(Path::new(&file)).and_then(|disk| {
        Spool::open(disk, settings(), 0)
            .map(drop)
            .map_err(|cause| std::io::Error::other(cause.at(Path::new(&file)).to_string()))
    });
    assert!(refused.unwrap_err().to_string().contains("it is no directory; choose another"));
    assert_eq!(fs::read(&segment).unwrap(), before);
}
