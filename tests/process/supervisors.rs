//! What supervisors see: sd_notify, a log for the journal, reports, and diagnostics at SIGUSR1.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::common::patience::{Pipe, try_connect};
use crate::support::conditions::{Dir, until, write_until_held_back};
use crate::support::receiver::{Receiver, Setup};

/// A supervisor's socket, and what came to it so far.
struct Supervisor {
    socket: UnixDatagram,
    name: String,
    came: Vec<String>,
}

impl Supervisor {
    fn at(name: &str, address: &SocketAddr) -> Self {
        let socket = UnixDatagram::bind_addr(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, name: name.to_owned(), came: Vec::new() }
    }

    fn new(dir: &Dir) -> Self {
        let name = dir.file("notify");
        Self::at(&name, &SocketAddr::from_pathname(&name).unwrap())
    }

    /// Starts one that is to tell it.
    fn start(&self, args: &[&str], environment: &str) -> Receiver {
        self.setup(args, environment).start()
    }

    fn setup(&self, args: &[&str], environment: &str) -> Setup {
        Setup::new(args).before(&format!("export NOTIFY_SOCKET='{}' {environment};", self.name))
    }

    /// All that came.
    fn came(&mut self) -> &[String] {
        let mut bytes = [0; 4096];
        loop {
            match self.socket.recv(&mut bytes) {
                Ok(count) => self.came.push(String::from_utf8(bytes[..count].to_vec()).unwrap()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return &self.came,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits for the first that begins so, behind `seen` others.
    fn until(&mut self, start: &str, seen: usize) -> (usize, String) {
        until(start, || {
            let came = self.came();
            let found = came.iter().enumerate().skip(seen).find(|(_, text)| text.starts_with(start));
            found.map(|(at, text)| (at, text.clone())).ok_or(format!("{came:?}"))
        })
    }

    /// What came and begins so.
    fn all(&mut self, start: &str) -> Vec<String> {
        self.came().iter().filter(|text| text.starts_with(start)).cloned().collect()
    }
}

fn microseconds(text: &str) -> u64 {
    text.rsplit_once('=').unwrap().1.parse().unwrap()
}

fn monotonic() -> u64 {
    u64::try_from(Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap()).as_micros()).unwrap()
}

#[test]
fn a_supervisor_is_told_of_the_start_and_of_the_end() {
    let dir = Dir::new();
    let abstract_name = format!("lumberjack-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
    for mut supervisor in [Supervisor::new(&dir), Supervisor::at(&format!("@{abstract_name}"), &address)] {
        let receiver = supervisor.start(&["--drain-timeout", "3s"], "");
        assert_eq!(supervisor.until("READY=1", 0), (0, "READY=1".to_owned()), "{}", supervisor.name);
        let mut client = receiver.client();
        client.write_all(b"a line").unwrap();
        receiver.signal("TERM");
        let (_, stopping) = supervisor.until("STOPPING=1", 1);
        // What --drain-timeout allows, and something to spare.
        assert_eq!(stopping, "STOPPING=1\nEXTEND_TIMEOUT_USEC=7000000");
        drop(client);
        receiver.wait().assert_clean();
        let came = supervisor.came();
        assert_eq!(came.iter().filter(|text| text.starts_with("STOPPING")).count(), 1, "{came:?}");
    }
}

#[test]
fn a_supervisor_is_told_of_an_end_that_nobody_asked_for() {
    let dir = Dir::new();
    let mut supervisor = Supervisor::new(&dir);
    let (reader, writer) = Pipe::new();
    let receiver = supervisor.setup(&[], "").stdout(writer).start();
    drop(reader);
    // It may have ended already, as the pipe tells it.
    let _ = try_connect(receiver.addr).and_then(|mut client| client.write_all(b"nobody reads this\n"));
    assert_eq!(receiver.wait().code, Some(1));
    assert_eq!(supervisor.until("STOPPING=1", 0).0, 1);
}

#[test]
fn the_watchdog_is_told_twice_in_its_time_though_nothing_happens() {
    let dir = Dir::new();
    let mut supervisor = Supervisor::new(&dir);
    let receiver = supervisor.start(&[], "WATCHDOG_USEC=1000000 WATCHDOG_PID=$$");
    until("the watchdog is told again and again", || match supervisor.all("WATCHDOG=1").len() {
        4.. => Ok(()),
        few => Err(format!("{few} times")),
    });
    receiver.assert_rests("but for the watchdog");
    receiver.stop().assert_clean();
}

#[test]
fn the_watchdog_of_another_process_is_not_ours() {
    let dir = Dir::new();
    // Each would be told at the first look.
    for environment in ["WATCHDOG_USEC=1000 WATCHDOG_PID=1", "WATCHDOG_USEC=0", "WATCHDOG_USEC=soon"] {
        let mut supervisor = Supervisor::new(&dir);
        let receiver = supervisor.start(&[], environment);
        receiver.client().write_all(b"a line\n").unwrap();
        receiver.until_lines(&["a line"]);
        receiver.stop().assert_clean();
        assert_eq!(supervisor.all("WATCHDOG"), [""; 0], "{environment}");
        fs::remove_file(&supervisor.name).unwrap();
    }
}

#[test]
fn a_supervisor_that_takes_nothing_holds_nothing_up() {
    let dir = Dir::new();
    let supervisor = Supervisor::new(&dir);
    // A few datagrams fill the queue, and then some.
    let receiver = supervisor.start(&["--log-level", "debug"], "WATCHDOG_USEC=2000");
    receiver.until_said("[notify] WATCHDOG=1 was not taken");
    let mut client = receiver.client();
    client.write_all(b"a line\n").unwrap();
    receiver.until_lines(&["a line"]);
    drop(client);
    receiver.stop().assert_clean();
}

#[test]
fn a_supervisor_that_is_not_there_is_none() {
    for (name, word) in [
        ("/no/such/socket", None),
        ("@", None),
        ("''", None),
        ("vsock:2:1234", Some("[notify] Cannot tell vsock:2:1234")),
    ] {
        let receiver = Setup::new(&[]).before(&format!("export NOTIFY_SOCKET={name} WATCHDOG_USEC=100000;")).start();
        receiver.client().write_all(b"a line\n").unwrap();
        receiver.until_lines(&["a line"]);
        let ended = receiver.stop();
        ended.assert_clean();
        assert_eq!(ended.stderr.contains("[notify]"), word.is_some(), "{}", ended.stderr);
        assert!(word.is_none_or(|word| ended.stderr.contains(word)), "{}", ended.stderr);
    }
}

#[test]
fn a_reload_is_told_with_its_time_and_is_over_when_the_files_are_open() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let mut supervisor = Supervisor::new(&dir);
    let receiver = supervisor.start(&["--output", &path], "");
    let (mut seen, _) = supervisor.until("READY=1", 0);
    for round in 0..3 {
        fs::rename(&path, dir.file(&format!("old-{round}"))).unwrap();
        let before = monotonic();
        receiver.signal("HUP");
        let (reloading_at, text) = supervisor.until("RELOADING=1\nMONOTONIC_USEC=", seen + 1);
        let time = microseconds(&text);
        assert!((before..=monotonic()).contains(&time), "{time} is not between {before} and now");
        let (ready_at, ready) = supervisor.until("READY=1", seen + 1);
        assert!(fs::exists(&path).unwrap(), "it is ready, and the file is not there");
        assert_eq!(ready, "READY=1");
        assert!(ready_at > reloading_at, "{:?}", supervisor.came);
        seen = ready_at;
    }
    receiver.stop().assert_clean();
    assert_eq!(supervisor.all("RELOADING").len(), 3);
}

#[test]
fn the_status_says_what_goes_on_and_then_rests() {
    let dir = Dir::new();
    let mut supervisor = Supervisor::new(&dir);
    let receiver = supervisor.start(&["--memory", "32MiB"], "");
    receiver.assert_rests("with a supervisor that knows all");
    let mut client = receiver.client();
    let lines = [vec![b'x'; 99].as_slice(), b"\n"].concat().repeat(10_000);
    client.write_all(&lines).unwrap();
    let (seen, text) = supervisor.until("STATUS=", 0);
    let rates = text.strip_prefix("STATUS=1 connection, ").unwrap();
    let (lines_a_second, rest) = rates.split_once(" lines/s, ").unwrap();
    // 10,000 lines in 5 seconds, or in more on a machine that has much to do.
    assert!((100..=2000).contains(&lines_a_second.parse::<u32>().unwrap()), "{text}");
    assert!(rest.ends_with("B/s, 0 of 32 MiB"), "{text}");
    let (seen, _) = supervisor.until("STATUS=1 connection, 0 lines/s, 0 B/s, 0 of 32 MiB", seen + 1);
    assert_eq!(supervisor.came().len(), seen + 1, "nothing is told twice");
    receiver.assert_rests("after it has said that nothing goes on");
    drop(client);
    receiver.stop().assert_clean();
}

#[test]
fn the_status_says_that_the_output_is_waited_for() {
    let dir = Dir::new();
    let mut supervisor = Supervisor::new(&dir);
    let (mut output, writer) = Pipe::new();
    let receiver = supervisor.setup(&["--memory", "1MiB"], "").stdout(writer).start();
    let client = receiver.client();
    write_until_held_back(&client);
    let (_, text) = supervisor.until("STATUS=", 0);
    assert!(text.ends_with(" of 1 MiB; clients wait for the output"), "{text}");
    drop(client);
    receiver.signal("TERM");
    output.read_to_end(&mut Vec::new()).unwrap();
    receiver.wait().assert_clean();
}

#[test]
fn p11_an_end_that_takes_long_asks_for_more_time_while_the_output_moves() {
    let dir = Dir::new();
    let mut supervisor = Supervisor::new(&dir);
    let (mut output, writer) = Pipe::new();
    let receiver = supervisor.setup(&["--drain-timeout", "4s"], "").stdout(writer).start();
    let client = receiver.client();
    write_until_held_back(&client);
    receiver.signal("TERM");
    // It is told right away: the end can't come before somebody reads.
    let (seen, _) = supervisor.until("STOPPING=1", 0);
    // A slow reader: some bytes at each look.
    until("it asks twice more", || {
        output.read_exact(&mut [0; 8192]).unwrap();
        std::thread::park_timeout(Duration::from_millis(100));
        let asked = supervisor.all("EXTEND_TIMEOUT_USEC=");
        if asked.len() >= 2 { Ok(()) } else { Err(format!("{asked:?}")) }
    });
    assert_eq!(supervisor.until("EXTEND_TIMEOUT_USEC=", seen).1, "EXTEND_TIMEOUT_USEC=8000000");
    output.read_to_end(&mut Vec::new()).unwrap();
    receiver.wait().assert_clean();
}

#[test]
fn p11_an_output_that_takes_nothing_gets_no_more_time() {
    let dir = Dir::new();
    let mut supervisor = Supervisor::new(&dir);
    let (_nobody_reads, writer) = Pipe::new();
    // Two looks, between which nothing moves.
    let receiver = supervisor.setup(&["--drain-timeout", "5s"], "").stdout(writer).start();
    let client = receiver.client();
    write_until_held_back(&client);
    assert_eq!(receiver.stop().code, Some(1));
    assert_eq!(supervisor.all("EXTEND"), [""; 0]);
    assert_eq!(supervisor.all("STOPPING").len(), 1);
}

/// What stderr is, as systemd names it.
const JOURNAL: &str = "export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2);";

fn assert_begins(line: &str, journal: Option<u8>) {
    match journal {
        Some(priority) => assert!(line.starts_with(&format!("<{priority}>[")), "{line}"),
        None => assert!(line.starts_with("20") && line.contains("Z ["), "{line}"),
    }
}

#[test]
fn the_journal_gets_priorities_in_place_of_times() {
    for (before, format, is_journal) in [
        (JOURNAL, "auto", true),
        (JOURNAL, "plain", false),
        ("", "auto", false),
        ("", "journal", true),
        ("export JOURNAL_STREAM=1:2;", "auto", false),
        ("export JOURNAL_STREAM=;", "auto", false),
    ] {
        let args = ["--log-format", format, "--log-level", "debug", "--max-line", "8"];
        let receiver = Setup::new(&args).before(before).start();
        receiver.client().write_all(b"longer than it may be\n").unwrap();
        receiver.until_said("Socket cleaned up");
        let ended = receiver.stop();
        ended.assert_clean();
        for (words, priority) in [("Listening on", 6), ("Line too long", 4), ("Socket cleaned up", 7), ("Stopped", 6)] {
            let line = ended.stderr.lines().find(|line| line.contains(words)).unwrap();
            assert_begins(line, is_journal.then_some(priority));
        }
    }
}

#[test]
fn the_journal_gets_the_last_sentence_as_an_error() {
    for (args, before, start) in [
        (&["--max-line", "0"][..], JOURNAL, "<3>lumberjack: --max-line is 0"),
        (&["--max-line", "0"], "", "lumberjack: --max-line is 0"),
        (&["--output", "/no/such/folder/x"], JOURNAL, "<3>lumberjack: cannot write to"),
        (&["--output", "/no/such/folder/x", "--log-format", "journal"], "", "<3>lumberjack: cannot write to"),
        (&["--output", "/no/such/folder/x", "--log-format", "plain"], JOURNAL, "lumberjack: cannot write to"),
    ] {
        let ended = Setup::new(args).before(before).run();
        assert!(ended.stderr.starts_with(start), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1);
    }
}

#[test]
fn the_log_gets_a_report_in_each_interval() {
    let receiver = Receiver::start(&["--report-interval", "100ms", "--memory", "8MiB"]);
    receiver.until_said("[INFO] [report] 0 connections, 0 lines/s, 0 B/s, 0 of 8 MiB\n");
    let mut client = receiver.client();
    client.write_all(&b"a line that counts\n".repeat(1000)).unwrap();
    until("rates", || {
        let said = receiver.said();
        let reports = said.lines().filter(|line| line.contains("[report] 1 connection, "));
        reports.into_iter().find(|line| line.contains("kB/s")).map(drop).ok_or(said.clone())
    });
    receiver.until_said("[report] 1 connection, 0 lines/s, 0 B/s, 0 of 8 MiB\n");
    // Two lines that wait for their ends.
    let mut another = receiver.client();
    client.write_all(&[b'x'; 90_000]).unwrap();
    another.write_all(&[b'x'; 90_000]).unwrap();
    receiver.until_said("[report] 2 connections, 0 lines/s, 0 B/s, 0.1 of 8 MiB\n");
    drop(client);
    receiver.stop().assert_clean();
}

#[test]
fn sigusr1_brings_the_diagnostics_as_one_line_of_json() {
    let receiver = Receiver::start(&[]);
    let mut client = receiver.client();
    client.write_all(b"one\ntwo\n").unwrap();
    receiver.until_lines(&["one", "two"]);
    receiver.signal("USR1");
    receiver.until_said("[status] {");
    receiver.signal("USR1");
    until("one line for each signal", || {
        let said = receiver.said();
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("[INFO] [status] ")).collect();
        if lines.len() == 2 { Ok(()) } else { Err(said) }
    });
    let said = receiver.said();
    let line = said.lines().find(|line| line.contains("[status] ")).unwrap();
    assert!(line.contains("\"activeConnections\":1"), "{line}");
    assert!(line.contains("\"lines\":2") && line.ends_with('}'), "{line}");
    client.write_all(b"three\n").unwrap();
    receiver.until_lines(&["one", "two", "three"]);
    drop(client);
    receiver.stop().assert_clean();
}

#[test]
fn a_watchdog_that_nobody_can_keep_up_with_costs_next_to_nothing_and_is_told_of() {
    let dir = Dir::new();
    let mut supervisor = Supervisor::new(&dir);
    let receiver = supervisor.start(&[], "WATCHDOG_USEC=1");
    receiver.until_said("[notify] A watchdog of 1 us is more than this program keeps up with");
    supervisor.until("WATCHDOG=1", 0);
    let ticks = receiver.cpu_ticks();
    let seen = supervisor.all("WATCHDOG=1").len();
    // The second is the measurement; nothing waits for it.
    std::thread::sleep(Duration::from_secs(1));
    let (ticks, told) = (receiver.cpu_ticks() - ticks, supervisor.all("WATCHDOG=1").len() - seen);
    assert!(ticks <= 5 && told <= 60, "{ticks} ticks of processor time and {told} messages in a second");
    receiver.stop().assert_clean();
}
