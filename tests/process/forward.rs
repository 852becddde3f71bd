//! Forwarding: the same lines to the next receiver, whatever becomes of that one meanwhile. What is known to have arrived
//! is never sent again, what is not known to is, and while it is away clients wait (P1, P8, P11, P12).

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::patience::{Enough, accept, accept_unix, connect_unix, join, output_of};
use crate::common::skip::not_here;
use crate::support::conditions::{Dir, assert_numbered, assert_same, lines, until, until_equal, write_until_held_back};
use crate::support::receiver::{Collected, Guard, Receiver, Setup, is_emulated, under_test};

/// A receiver that writes to a file, at a place that stays the same whenever it is started again.
pub(crate) struct Next {
    pub(crate) dir: Dir,
    pub(crate) listen: String,
}

impl Next {
    pub(crate) fn both() -> [Self; 2] {
        [Self::tcp(), Self::unix()]
    }

    /// At an address of its own, so that nobody takes its port while it is away.
    pub(crate) fn tcp() -> Self {
        static NUMBER: AtomicU8 = AtomicU8::new(1);
        let [low, high, ..] = std::process::id().to_le_bytes();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { dir: Dir::new(), listen: SocketAddr::from(([127, high | 128, low, number], 4445)).to_string() }
    }

    fn unix() -> Self {
        let dir = Dir::new();
        let listen = format!("unix:{}", dir.file("next.sock"));
        Self { dir, listen }
    }

    /// As `--output` names it.
    pub(crate) fn place(&self) -> String {
        if self.listen.starts_with("unix:") { self.listen.clone() } else { format!("tcp:{}", self.listen) }
    }

    pub(crate) fn file(&self) -> String {
        self.dir.file("next.log")
    }

    pub(crate) fn start(&self) -> Receiver {
        let mut args = vec!["--listen", &self.listen, "--output"];
        let file = self.file();
        args.push(&file);
        if self.listen.starts_with("unix:") {
            args.extend(["--listen", "127.0.0.1:0"]);
        }
        Receiver::start(&args)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(self.file()).unwrap_or_default()
    }

    pub(crate) fn until_it_ends(&self, wanted: &[u8]) {
        until("the last line", || {
            let bytes = self.bytes();
            if bytes.ends_with(wanted) { Ok(()) } else { Err(format!("{} bytes", bytes.len())) }
        });
    }

    pub(crate) fn until_bytes(&self, count: usize) {
        until("so many bytes", || {
            let len = self.bytes().len();
            if len >= count { Ok(()) } else { Err(format!("{len} of {count} bytes")) }
        });
    }

    /// What it has, without what a torn end of a connection left.
    fn whole_lines(&self) -> Vec<String> {
        whole_lines(&self.bytes())
    }

    fn until_it_has(&self, line: &str) {
        let whole = format!("{line} end\n");
        until(line, || {
            let bytes = self.bytes();
            let tail = &bytes[bytes.len().saturating_sub(64 * 1024)..];
            let text = String::from_utf8_lossy(tail).into_owned();
            if text.contains(&whole) { Ok(()) } else { Err(text.lines().last().unwrap_or("nothing").to_owned()) }
        });
    }

    /// One that sends its lines here, and to a file, by which a test can tell what it has taken.
    fn first(&self, args: &[&str]) -> Receiver {
        let copy = self.dir.file("first.log");
        let place = self.place();
        Receiver::start(&[&["--output", &place, "--output", &copy], args].concat())
    }

    fn until_taken(&self, lines: usize) {
        until_equal("lines taken", &lines, || {
            let copy = fs::read(self.dir.file("first.log")).unwrap();
            copy.iter().filter(|byte| **byte == b'\n').count()
        });
    }
}

/// Lines that can be told from their own beginnings.
fn write_lines(mut client: &TcpStream, numbers: std::ops::Range<usize>) {
    let block: Vec<u8> = numbers.flat_map(|number| format!("c {number} end\n").into_bytes()).collect();
    client.write_all(&block).unwrap();
}

fn whole_lines(output: &[u8]) -> Vec<String> {
    lines(output).into_iter().filter_map(|line| line.strip_suffix(" end").map(str::to_owned)).collect()
}

/// A next receiver that the test plays itself.
enum Fake {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum FakeConn {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Fake {
    fn both() -> [(Next, Self); 2] {
        let (tcp, unix) = (Next::tcp(), Next::unix());
        let (at, path) = (TcpListener::bind(&tcp.listen).unwrap(), &unix.listen["unix:".len()..]);
        let listener = UnixListener::bind(path).unwrap();
        [(tcp, Self::Tcp(at)), (unix, Self::Unix(listener))]
    }

    fn accept(&self) -> FakeConn {
        match self {
            Self::Tcp(listener) => FakeConn::Tcp(accept(listener)),
            Self::Unix(listener) => FakeConn::Unix(accept_unix(listener)),
        }
    }
}

impl FakeConn {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(conn) => conn.read(buffer),
            Self::Unix(conn) => conn.read(buffer),
        }
    }

    /// The same connection, to talk on from another thread.
    fn talker(&self) -> Box<dyn Write + Send> {
        match self {
            Self::Tcp(conn) => Box::new(conn.try_clone().unwrap()),
            Self::Unix(conn) => Box::new(conn.try_clone().unwrap()),
        }
    }

    fn say_goodbye(&self) {
        match self {
            Self::Tcp(conn) => conn.shutdown(Shutdown::Write).unwrap(),
            Self::Unix(conn) => conn.shutdown(Shutdown::Write).unwrap(),
        }
    }

    fn read_exactly(&mut self, wanted: &str) {
        let mut read = vec![0; wanted.len()];
        let mut at = 0;
        while at < read.len() {
            let count = self.read(&mut read[at..]).unwrap();
            assert!(count > 0, "an end after {:?}", String::from_utf8_lossy(&read[..at]));
            at += count;
        }
        assert_eq!(String::from_utf8_lossy(&read), wanted);
    }

    /// What there is now: nothing, or the other side's goodbye.
    fn assert_nothing_more(&mut self) {
        match self {
            Self::Tcp(conn) => conn.set_nonblocking(true).unwrap(),
            Self::Unix(conn) => conn.set_nonblocking(true).unwrap(),
        }
        let mut more = [0; 100];
        match self.read(&mut more) {
            Ok(count) => assert_eq!(String::from_utf8_lossy(&more[..count]), "", "after its goodbye"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
        }
    }

    fn read_to_end(mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match self.read(&mut chunk).unwrap() {
                0 => return all,
                count => all.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

#[test]
fn p1_lines_go_on_to_the_next_receiver_over_tcp_and_unix() {
    for next in Next::both() {
        let (second, first) = (next.start(), next.first(&[]));
        let client = first.client();
        write_lines(&client, 0..50_000);
        // The last has no newline: it gets one.
        (&client).write_all(b"c 50000 end").unwrap();
        first.stop().assert_clean();
        second.stop().assert_clean();
        assert_same(&next.bytes(), &fs::read(next.dir.file("first.log")).unwrap());
        assert_numbered(&next.whole_lines(), "c", 50_001);
    }
}

#[test]
fn p5_lines_longer_than_what_is_held_on_to_go_on_too() {
    const BYTES: usize = 600 * 1024;
    for (next, fake) in Fake::both() {
        let first = next.first(&["--max-line", "600KiB", "--max-buffer", "2MiB", "--memory", "16MiB"]);
        let conn = fake.accept();
        let end = thread::spawn(|| conn.read_to_end());
        let mut sent = Vec::new();
        for letter in b'a'..=b'j' {
            sent.extend(std::iter::repeat_n(letter, BYTES));
            sent.push(b'\n');
        }
        first.client().write_all(&sent).unwrap();
        first.stop().assert_clean();
        assert_same(&join("its reader", end), &sent);
    }
}

#[test]
fn p5_the_least_memory_that_is_taken_is_enough() {
    for (next, fake) in Fake::both() {
        let place = next.place();
        let args = ["--output", &place, "--max-line", "1KiB", "--max-buffer", "2KiB", "--memory"];
        let refused = Setup::new(&[&args[..], &["32KiB"]].concat()).run();
        let (_, least) = refused.stderr.split_once("at least ").unwrap();
        let least = least.split([' ', ',']).next().unwrap();
        let first = Receiver::start(&[&args[..], &[least]].concat());
        let conn = fake.accept();
        let client = first.client();
        let end = thread::spawn(|| conn.read_to_end());
        write_lines(&client, 0..200_000);
        first.stop().assert_clean();
        assert_numbered(&whole_lines(&join("its reader", end)), "c", 200_000);
    }
}

#[test]
fn p1_a_next_receiver_restarted_ten_times_under_load_gets_every_line_once() {
    const RESTARTS: usize = 10;
    for next in Next::both() {
        let second = next.start();
        let place = next.place();
        let first = Receiver::start(&["--output", &place]);
        let client = first.client();
        let is_enough = AtomicBool::new(false);
        let (count, second) = thread::scope(|scope| {
            let enough = Enough(&is_enough);
            let mut second = second;
            let writer = scope.spawn(|| {
                let mut count = 0;
                while !is_enough.load(Ordering::Relaxed) {
                    write_lines(&client, count..count + 100);
                    count += 100;
                    // Input at some speed, not a wait: 10 to 20 MB in all.
                    thread::sleep(Duration::from_micros(500));
                }
                count
            });
            for _ in 0..RESTARTS {
                let size = next.bytes().len();
                until("more lines", || {
                    let now = next.bytes().len();
                    if now > size + 10_000 { Ok(()) } else { Err(format!("{now} bytes")) }
                });
                second.stop().assert_clean();
                second = next.start();
            }
            drop(enough);
            (writer.join().unwrap(), second)
        });
        next.until_it_has(&format!("c {}", count - 1));
        let ended = first.stop();
        ended.assert_clean();
        second.stop().assert_clean();
        let mut whole = next.whole_lines();
        // Where a line was torn just before its newline, what was torn off it is the line.
        whole.dedup();
        assert_numbered(&whole, "c", count);
        let torn = lines(&next.bytes()).len() - count;
        assert!(torn <= RESTARTS, "{torn} torn lines in {RESTARTS} restarts");
        let away = ended.stderr.matches(" is away: ").count();
        assert!(away <= RESTARTS, "{away} warnings: {}", ended.stderr);
    }
}

#[test]
fn p1_a_next_receiver_that_is_killed_with_lines_unread_gets_them_all_from_its_successor() {
    const LINES: usize = 10_000;
    for next in Next::both() {
        let mut second = next.start();
        let first = next.first(&[]);
        let client = first.client();
        for round in 0..4 {
            // It stands still, so that no line is in its own hands when it is killed: 150 KB lie in the kernel.
            second.signal("STOP");
            write_lines(&client, round * LINES..(round + 1) * LINES);
            next.until_taken((round + 1) * LINES);
            second.signal("KILL");
            assert_eq!(second.wait().code, None);
            second = next.start();
            next.until_it_has(&format!("c {}", (round + 1) * LINES - 1));
        }
        let ended = first.stop();
        ended.assert_clean();
        second.stop().assert_clean();
        let mut numbers: Vec<usize> =
            next.whole_lines().iter().map(|line| line.strip_prefix("c ").unwrap().parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers, (0..4 * LINES).collect::<Vec<_>>(), "{}", ended.stderr);
        assert!(ended.stderr.contains(" bytes are sent again"), "{}", ended.stderr);
    }
}

#[test]
fn p1_nothing_is_written_to_one_that_has_said_goodbye() {
    for (next, fake) in Fake::both() {
        let first = next.first(&[]);
        let client = first.client();
        let mut conn = fake.accept();
        write_lines(&client, 0..1);
        conn.read_exactly("c 0 end\n");
        conn.say_goodbye();
        write_lines(&client, 1..3);
        next.until_taken(3);
        conn.assert_nothing_more();
        drop(conn);
        let mut conn = fake.accept();
        conn.read_exactly("c 1 end\nc 2 end\n");
        let end = thread::spawn(|| conn.read_to_end());
        first.stop().assert_clean();
        assert_same(&join("its reader", end), b"");
    }
}

#[test]
fn p1_one_that_closes_with_lines_unread_gets_them_again_and_one_that_has_read_them_does_not() {
    for (next, fake) in Fake::both() {
        let first = next.first(&[]);
        let client = first.client();
        let conn = fake.accept();
        write_lines(&client, 0..1_000);
        next.until_taken(1_000);
        drop(conn);
        let mut conn = fake.accept();
        let all: String = (0..1_000).map(|number| format!("c {number} end\n")).collect();
        conn.read_exactly(&all);
        drop(conn);
        let mut conn = fake.accept();
        write_lines(&client, 1_000..1_001);
        conn.read_exactly("c 1000 end\n");
        let end = thread::spawn(|| conn.read_to_end());
        let ended = first.stop();
        ended.assert_clean();
        assert_same(&join("its reader", end), b"");
        assert_eq!(ended.stderr.matches(" is away: ").count(), 1, "{}", ended.stderr);
        assert_eq!(
            ended.stderr.matches(&format!("; {} bytes are sent again", all.len())).count(),
            1,
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn p12_one_that_comes_later_is_found_with_one_warning_and_one_word_when_it_is_there() {
    for next in Next::both() {
        let first = next.first(&[]);
        let away = format!("[out] {} is away: ", next.place());
        first.until_said(&away);
        let client = first.client();
        write_lines(&client, 0..100);
        // Time for some more tries, in which nothing is to be said.
        thread::sleep(Duration::from_secs(1));
        let second = next.start();
        next.until_it_has("c 99");
        let back = format!("[out] {} is back after ", next.place());
        let ended = first.stop();
        ended.assert_clean();
        second.stop().assert_clean();
        assert_eq!(ended.stderr.matches("[out]").count(), 2, "{}", ended.stderr);
        assert!(ended.stderr.contains(&away) && ended.stderr.contains(&back), "{}", ended.stderr);
        assert!(ended.stderr.contains("; 0 bytes are sent again"), "{}", ended.stderr);
        assert_numbered(&next.whole_lines(), "c", 100);
    }
}

#[test]
fn a_next_receiver_can_have_a_name() {
    let dir = Dir::new();
    let file = dir.file("next.log");
    // One of the two addresses that `localhost` may stand for: the other refuses.
    let second = Receiver::start(&["--listen", "127.0.0.1:0", "--output", &file]);
    let place = format!("tcp:localhost:{}", second.addr.port());
    let first = Receiver::start(&["--output", &place]);
    first.client().write_all(b"hello\n").unwrap();
    until_equal("the line", &"hello\n".to_owned(), || fs::read_to_string(&file).unwrap());
    let ended = first.stop();
    ended.assert_clean();
    assert!(!ended.stderr.contains("[out]"), "{}", ended.stderr);
    second.stop().assert_clean();
}

#[test]
fn a_name_with_several_addresses_leads_to_the_one_that_answers() {
    let dir = Dir::new();
    let (hosts, file) = (dir.file("hosts"), dir.file("next.log"));
    fs::write(&hosts, "::1 several\n127.0.0.2 several\n127.0.0.1 several\n127.0.0.3 several\n").unwrap();
    let inside =
        format!("unshare --mount --map-root-user sh -c 'mount --bind {hosts} /etc/hosts && exec \"$0\" \"$@\"'");
    let tried = output_of(Command::new("sh").args(["-c", &format!("{inside} true")]));
    if !tried.is_ok_and(|output| output.status.success()) {
        return not_here("no /etc/hosts of its own can be had here");
    }
    let second = Receiver::start(&["--listen", "127.0.0.1:0", "--output", &file]);
    let place = format!("tcp:several:{}", second.addr.port());
    let first = Setup::new(&["--output", &place]).before(&format!("exec {inside} \"$0\" \"$@\";")).start();
    first.client().write_all(b"hello\n").unwrap();
    until_equal("the line", &"hello\n".to_owned(), || fs::read_to_string(&file).unwrap());
    let ended = first.stop();
    ended.assert_clean();
    assert!(!ended.stderr.contains("[out]"), "found at the first try: {}", ended.stderr);
    second.stop().assert_clean();
}

#[test]
fn p9_a_resolver_that_hangs_keeps_nobody_waiting() {
    let dir = Dir::new();
    let (conf, file, sock) = (dir.file("resolv.conf"), dir.file("app.log"), dir.file("sock"));
    fs::write(&conf, "nameserver 192.0.2.1\n").unwrap();
    // A network of its own, with a cable that nobody holds at the other end: questions to the name server vanish in it.
    let cable =
        "ip link set lo up && ip tuntap add void mode tun && ip link set void up && ip addr add 192.0.2.7/24 dev void";
    let shell = format!("{cable} && mount --bind '{conf}' /etc/resolv.conf && exec \"$0\" \"$@\"");
    let inside = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--map-root-user", "sh", "-c", &shell]).args(args);
        command
    };
    if !output_of(&mut inside(&["true"])).is_ok_and(|output| output.status.success()) {
        return not_here("no network of its own can be made here");
    }
    let listen = format!("unix:{sock}");
    let args = ["--listen", &listen, "--output", "tcp:log.example:4445", "--output", &file, "--drain-timeout", "100ms"];
    let binary = under_test();
    let mut command = inside(&[&[binary.as_str()], &args[..]].concat());
    let mut guard = Guard::spawn(command.stderr(Stdio::piped())).unwrap();
    let stderr = Collected::from(guard.0.stderr.take().unwrap());
    let mut client = until("its socket", || connect_unix(&sock).map_err(|error| error.to_string()));
    let begun = Instant::now();
    client.write_all(b"hello\n").unwrap();
    until_equal("the line", &"hello\n".to_owned(), || fs::read_to_string(&file).unwrap());
    let time = begun.elapsed();
    assert!(!stderr.text().contains("is away"), "the name is still looked up: {}", stderr.text());
    // The first lookup takes five seconds at least with any resolver.
    assert!(time < Duration::from_secs(2), "{time:?}");
    guard.signal("TERM");
    let code = guard.wait();
    let said = String::from_utf8(stderr.finish()).unwrap();
    assert_eq!(code, Some(1), "{said}");
    let last = said.lines().last().unwrap();
    assert!(last.starts_with("lumberjack: gave up on tcp:log.example:4445, which took nothing"), "{said}");
}

#[test]
fn p8_while_the_next_receiver_is_away_clients_wait_and_nothing_is_lost() {
    let memory_kib = 2 * 1024;
    for next in Next::both() {
        let place = next.place();
        let first = Receiver::start(&["--output", &place, "--memory", "2MiB", "--idle-timeout", "0"]);
        let rss_before = first.rss_kib();
        let client = first.client();
        let mut sent = write_until_held_back(&client);
        let grown = first.rss_kib().saturating_sub(rss_before);
        let most = memory_kib + if is_emulated() { 4096 } else { 1024 };
        assert!(grown <= most, "{grown} KiB more with {} bytes on their way", sent.len());
        first.assert_rests("while the next receiver is away");
        let second = next.start();
        let rest = if sent.ends_with(b"\n") { &b"after end\n"[..] } else { b"\nafter end\n" };
        (&client).write_all(rest).unwrap();
        sent.extend_from_slice(rest);
        first.stop().assert_clean();
        second.stop().assert_clean();
        assert_same(&next.bytes(), &sent);
    }
}

#[test]
fn p8_a_next_receiver_that_stands_still_holds_clients_back_and_gets_every_line_once() {
    for (next, fake) in Fake::both() {
        let place = next.place();
        let first = Receiver::start(&["--output", &place, "--memory", "2MiB", "--idle-timeout", "0"]);
        let client = first.client();
        let conn = fake.accept();
        let mut sent = write_until_held_back(&client);
        first.assert_rests("while the next receiver stands still");
        let end = thread::spawn(|| conn.read_to_end());
        let rest = if sent.ends_with(b"\n") { &b"after\n"[..] } else { b"\nafter\n" };
        (&client).write_all(rest).unwrap();
        sent.extend_from_slice(rest);
        let ended = first.stop();
        ended.assert_clean();
        assert_same(&join("its reader", end), &sent);
        assert!(!ended.stderr.contains("[out]"), "{}", ended.stderr);
    }
}

#[test]
fn p11_the_end_while_the_next_receiver_is_away_is_a_sentence_after_the_drain_timeout() {
    for next in Next::both() {
        let first = next.first(&["--drain-timeout", "600ms"]);
        let client = first.client();
        write_lines(&client, 0..100);
        next.until_taken(100);
        let begun = Instant::now();
        let ended = first.stop();
        assert!(begun.elapsed() >= Duration::from_millis(600), "after {:?}", begun.elapsed());
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let last = ended.stderr.lines().last().unwrap();
        let (place, bytes) = (next.place(), 100 * "c 0 end\n".len() + 90);
        let sentence = format!(
            "lumberjack: gave up on {place}, which took nothing for --drain-timeout: {bytes} bytes of lines are lost"
        );
        assert!(last.starts_with(&sentence), "{last}");
    }
}

#[test]
fn p11_the_end_waits_for_the_next_receiver_to_take_all_and_sends_again_what_it_threw_away() {
    for (next, fake) in Fake::both() {
        let mut first = next.first(&["--drain-timeout", "20s"]);
        let client = first.client();
        let conn = fake.accept();
        write_lines(&client, 0..100);
        next.until_taken(100);
        first.signal("TERM");
        drop(client);
        first.until_said("[tcp] Stopping server");
        // Everything is written, but not read: time in which it is not to end.
        thread::sleep(Duration::from_millis(700));
        assert!(first.guard.is_running(), "{}", first.said());
        drop(conn);
        let mut conn = fake.accept();
        let all: String = (0..100).map(|number| format!("c {number} end\n")).collect();
        conn.read_exactly(&all);
        assert_same(&conn.read_to_end(), b"");
        first.wait().assert_clean();
    }
}

#[test]
fn p11_the_end_does_not_wait_for_ever_for_one_that_throws_everything_away() {
    let [(next, fake), _] = Fake::both();
    // Longer than the longest pause between two tries.
    let first = next.first(&["--drain-timeout", "7s"]);
    let client = first.client();
    let conn = fake.accept();
    write_lines(&client, 0..100);
    next.until_taken(100);
    first.signal("TERM");
    drop(client);
    first.until_said("[tcp] Stopping server");
    drop(conn);
    thread::spawn(move || {
        // It has no more than a few tries.
        for _ in 0..100 {
            if let FakeConn::Tcp(conn) = fake.accept() {
                conn.peek(&mut [0]).unwrap();
            }
        }
    });
    let ended = first.wait();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("which took nothing for --drain-timeout: 890 bytes of lines are lost"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_absent_next_receiver_is_passed_over_where_that_is_asked_for() {
    let next = Next::tcp();
    let first = next.first(&["--on-stall", "drop", "--stall-timeout", "300ms"]);
    let client = first.client();
    write_lines(&client, 0..100);
    first.until_said("has taken nothing for --stall-timeout: it is passed over");
    // Far more than the budget: nobody waits.
    write_lines(&client, 100..500_000);
    next.until_taken(500_000);
    let second = next.start();
    first.until_said("499999 lines were dropped meanwhile");
    write_lines(&client, 500_000..500_100);
    next.until_it_has("c 500099");
    first.stop().assert_clean();
    second.stop().assert_clean();
    let wanted: Vec<String> = [0].into_iter().chain(500_000..500_100).map(|number| format!("c {number}")).collect();
    assert_eq!(next.whole_lines(), wanted, "the first waited, and then those that came later");
}

#[test]
fn p13_a_next_receiver_that_cannot_be_is_one_sentence() {
    let long = format!("unix:/{}", "a".repeat(200));
    // A folder's other name, a link to a socket that is not there yet, and a way round.
    let dir = Dir::new();
    fs::create_dir(dir.file("real")).unwrap();
    symlink(dir.file("real"), dir.file("link")).unwrap();
    symlink("real/sock", dir.file("sock")).unwrap();
    let [real, linked, dangling, dotted] =
        ["real/sock", "link/sock", "sock", "real/../real/sock"].map(|name| format!("unix:{}", dir.file(name)));
    let [link_sentence, dangling_sentence, dotted_sentence] =
        [&linked, &dangling, &dotted].map(|place| format!("--output {place} is where this program listens itself"));
    for (args, code, begins, ends) in [
        (&["--output", "tcp:host"][..], 2, "--output tcp:host: give a host and a port, such as tcp:", ""),
        (&["--output", "tcp:host:0"], 2, "--output tcp:host:0: the port is a number from 1 to 65535", ""),
        (&["--output", "tcp:host:99999"], 2, "--output tcp:host:99999: the port is a number", ""),
        (&["--output", "tcp::4445"], 2, "--output tcp::4445: give a host and a port", ""),
        (&["--output", "unix:"], 2, "--output unix:: a Unix socket needs an absolute path", ""),
        (&["--output", &long], 2, "--output unix:/aaaa", ""),
        (&["--output", "tcp:127.0.0.1:4445"], 2, "--output tcp:127.0.0.1:4445 is where this program listens", ""),
        (&["--output", "tcp:localhost:4445"], 2, "--output tcp:localhost:4445 is where this program listens", ""),
        (&["--output", "tcp:LOCALHOST:4445"], 2, "--output tcp:LOCALHOST:4445 is where this program listens", ""),
        (
            &["--listen", "0.0.0.0:7", "--output", "tcp:127.0.0.1:7"],
            2,
            "--output tcp:127.0.0.1:7 is where this program listens itself",
            "name the next receiver",
        ),
        (&["--listen", "[::]:7", "--output", "tcp:[::1]:7"], 2, "--output tcp:[::1]:7 is where this program", ""),
        (&["--output", "tcp:127.1:4445"], 2, "--output tcp:127.1:4445 is where this program listens", ""),
        (&["--output", "tcp:0x7f000001:4445"], 2, "--output tcp:0x7f000001:4445 is where this program listens", ""),
        (&["--output", "tcp:2130706433:4445"], 2, "--output tcp:2130706433:4445 is where this program listens", ""),
        (&["--output", "tcp:[::ffff:127.0.0.1]:4445"], 2, "--output tcp:[::ffff:127.0.0.1]:4445 is where this", ""),
        (
            &["--listen", "[::ffff:127.0.0.1]:7", "--output", "tcp:127.0.0.1:7"],
            2,
            "--output tcp:127.0.0.1:7 is where",
            "",
        ),
        (&["--listen", &real, "--output", &linked], 2, &link_sentence, ""),
        (&["--listen", &real, "--output", &dangling], 2, &dangling_sentence, ""),
        (&["--listen", &real, "--output", &dotted], 2, &dotted_sentence, ""),
        (&["--listen", "unix:/run/x", "--output", "unix:/run/x"], 2, "--output unix:/run/x is where this program", ""),
    ] {
        super::errors::assert_sentence(&Setup::new(args).run(), code, begins, ends);
    }
    // Another port, another address: no loop that the texts tell.
    for args in [["127.0.0.1:0", "tcp:127.0.0.1:9"], ["127.0.0.2:0", "tcp:127.0.0.1:9"]] {
        let addr: SocketAddr = args[0].parse().unwrap();
        let receiver = Receiver::start(&["--listen", &addr.to_string(), "--output", args[1]]);
        receiver.stop().assert_clean();
    }
}

#[test]
fn p8_one_that_talks_back_at_full_speed_costs_next_to_nothing_and_holds_up_no_line() {
    // Each write makes an event, however short it is.
    let sizes = [4096, 1];
    for ((next, fake), size) in sizes.into_iter().flat_map(|size| Fake::both().map(|both| (both, size))) {
        let first = next.first(&[]);
        let client = first.client();
        write_lines(&client, 0..1);
        let mut conn = fake.accept();
        conn.read_exactly("c 0 end\n");
        let mut talker = conn.talker();
        let talks = thread::spawn(move || while talker.write(&vec![b'!'; size]).is_ok() {});
        let ticks = first.cpu_ticks();
        // The second is the measurement; nothing waits for it.
        std::thread::sleep(Duration::from_secs(1));
        let ticks = first.cpu_ticks() - ticks;
        assert!(ticks <= 8, "{ticks} ticks of processor time in a second, {size} bytes each, at {}", next.place());
        write_lines(&client, 1..2);
        conn.read_exactly("c 1 end\n");
        // Its goodbye, which ends the talk, is behind all that it said.
        conn.say_goodbye();
        join("the talk", talks);
        conn.read_to_end();
        let mut conn = fake.accept();
        write_lines(&client, 2..3);
        conn.read_exactly("c 2 end\n");
        drop(conn);
    }
}
