//! Terminals, real ones: stopped with Ctrl-S, closed, in the background, of somebody else. None holds up the loop (P8), and
//! one that has hung up is a reader that is gone (P13).

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{FlowArg, LocalFlags, tcflow, tcgetattr};

use crate::common::patience::{connect_unix, output_of};
use crate::common::skip::{not_here, skip};
use crate::common::watchdog::watch;
use crate::support::conditions::{Dir, assert_same, until, write_until_held_back};
use crate::support::receiver::{Ended, Guard, Receiver, Setup, signal, under_test};

/// Linux's numbers, which `std` has no names for.
const O_NOCTTY: i32 = 0o400;
const O_NONBLOCK: u32 = 0o4000;

/// A terminal, as its user sees it.
struct Terminal {
    /// As the user's shell has it open.
    shell: File,
    path: String,
    shown: Arc<Mutex<Vec<u8>>>,
    /// Whether somebody looks: what is written waits in the kernel else, of which there is little.
    is_watched: Arc<AtomicBool>,
    is_closed: Arc<AtomicBool>,
    window: Option<JoinHandle<()>>,
}

impl Terminal {
    fn new() -> Self {
        watch();
        // Not `openpty`: the children of other tests would get its descriptors, and keep the window open.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let master = posix_openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname_r(&master).unwrap();
        let shell = OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(&path).unwrap();
        let (shown, is_closed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let is_watched = Arc::new(AtomicBool::new(true));
        let window = std::thread::spawn({
            let (shown, is_closed, is_watched) = (shown.clone(), is_closed.clone(), is_watched.clone());
            move || {
                let mut chunk = [0; 4096];
                while !is_closed.load(Ordering::SeqCst) {
                    let looks = is_watched.load(Ordering::SeqCst);
                    match if looks { (&master).read(&mut chunk) } else { Err(ErrorKind::WouldBlock.into()) } {
                        Ok(count) => shown.lock().unwrap().extend_from_slice(&chunk[..count]),
                        Err(_) => std::thread::park_timeout(Duration::from_millis(1)),
                    }
                }
            }
        });
        Self { shell, path, shown, is_watched, is_closed, window: Some(window) }
    }

    /// One at which nobody looks yet.
    fn unwatched() -> Self {
        let terminal = Self::new();
        terminal.is_watched.store(false, Ordering::SeqCst);
        terminal
    }

    fn watch(&self) {
        self.is_watched.store(true, Ordering::SeqCst);
    }

    /// For a program that is to inherit it.
    fn inherited(&self) -> Stdio {
        self.shell.try_clone().unwrap().into()
    }

    /// Ctrl-S.
    fn stop(&self) {
        tcflow(&self.shell, FlowArg::TCOOFF).unwrap();
    }

    /// Ctrl-Q.
    fn go_on(&self) {
        tcflow(&self.shell, FlowArg::TCOON).unwrap();
    }

    /// What its user sees, with the newlines that were written.
    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).replace("\r\n", "\n")
    }

    fn until_shown(&self, words: &str) {
        until(words, || {
            let shown = self.shown();
            if shown.contains(words) { Ok(()) } else { Err(shown) }
        });
    }

    /// The description that the shell has is as it was: its next read would fail else.
    fn assert_untouched(&self) {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.shell.as_raw_fd())).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        assert_eq!(u32::from_str_radix(flags.trim(), 8).unwrap() & O_NONBLOCK, 0, "{info}");
    }

    /// The window is closed.
    fn close(self) {}
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::SeqCst);
        if let Some(window) = self.window.take() {
            let _ = window.join();
        }
    }
}

/// One whose stderr is no pipe of ours: it listens on a Unix socket that is known before.
struct Quiet {
    guard: Guard,
    socket: String,
}

impl Quiet {
    fn start(setup: impl FnOnce(&[&str]) -> Setup, dir: &Dir, stderr: Stdio) -> Self {
        let socket = dir.file("socket");
        let guard = setup(&["--listen", &format!("unix:{socket}")]).spawn(stderr);
        let quiet = Self { guard, socket };
        drop(quiet.client());
        quiet
    }

    fn client(&self) -> UnixStream {
        until("its socket", || connect_unix(&self.socket).map_err(|error| error.to_string()))
    }

    fn send(&self, text: &str) {
        self.client().write_all(text.as_bytes()).unwrap();
    }

    fn stop(mut self) -> Option<i32> {
        self.guard.signal("TERM");
        self.guard.wait()
    }
}

fn until_file(path: &str, wanted: &str) {
    until("these lines in the file", || match fs::read_to_string(path) {
        Ok(text) if text == wanted => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// It takes lines, and answers, though its terminal does not.
fn assert_serves(receiver: &Receiver) {
    receiver.signal("USR1");
    receiver.until_said("[status] {");
}

#[test]
fn p8_a_stopped_terminal_that_is_named_holds_up_nobody() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    terminal.stop();
    let log = dir.file("app.log");
    let drops = ["--output", &terminal.path, "--output", &log, "--on-stall", "drop", "--stall-timeout", "200ms"];
    let receiver = Receiver::start(&drops);
    let mut client = receiver.client();
    client.write_all(b"one\n").unwrap();
    until_file(&log, "one\n");
    receiver.until_said("it is passed over");
    client.write_all(b"two\n").unwrap();
    until_file(&log, "one\ntwo\n");
    terminal.go_on();
    receiver.until_said("takes lines again; 1 line was dropped meanwhile");
    client.write_all(b"three\n").unwrap();
    terminal.until_shown("one\nthree\n");
    drop(client);
    receiver.stop().assert_clean();
}

#[test]
fn p8_a_stopped_terminal_as_stdout_is_waited_for_and_loses_nothing() {
    let terminal = Terminal::new();
    let receiver = Setup::new(&["--memory", "1MiB"]).stdout(terminal.inherited()).start();
    let mut client = receiver.client();
    client.write_all(b"one\n").unwrap();
    terminal.until_shown("one\n");
    terminal.stop();
    let mut sent = b"one\n".to_vec();
    sent.extend(write_until_held_back(&client));
    assert_serves(&receiver);
    receiver.assert_rests("while its terminal is stopped");
    terminal.assert_untouched();
    terminal.go_on();
    if !sent.ends_with(b"\n") {
        client.write_all(b"\n").unwrap();
        sent.push(b'\n');
    }
    drop(client);
    receiver.stop().assert_clean();
    assert_shown(&terminal, &sent);
    terminal.assert_untouched();
}

/// Ends the line that a client was held back in the middle of, and the client.
fn end_line(mut client: TcpStream, sent: &mut Vec<u8>) {
    if !sent.ends_with(b"\n") {
        client.write_all(b"\n").unwrap();
        sent.push(b'\n');
    }
}

/// Waits until the terminal has shown as much as was sent: it is just that.
fn assert_shown(terminal: &Terminal, sent: &[u8]) {
    until("the last byte", || match terminal.shown().len() {
        len if len >= sent.len() => Ok(()),
        len => Err(format!("{len} of {}", sent.len())),
    });
    assert_same(terminal.shown().as_bytes(), sent);
}

#[test]
fn p8_a_terminal_at_which_nobody_looks_for_a_while_gets_every_byte_once() {
    let terminal = Terminal::unwatched();
    let receiver = Setup::new(&["--memory", "1MiB"]).stdout(terminal.inherited()).start();
    let client = receiver.client();
    let mut sent = write_until_held_back(&client);
    assert_serves(&receiver);
    terminal.watch();
    end_line(client, &mut sent);
    receiver.stop().assert_clean();
    assert_shown(&terminal, &sent);
}

#[test]
fn p11_a_terminal_that_stays_stopped_is_given_up_with_a_sentence() {
    for is_named in [false, true] {
        let terminal = Terminal::new();
        terminal.stop();
        let args = ["--drain-timeout", "300ms", "--output", if is_named { &terminal.path } else { "-" }];
        let receiver = Setup::new(&args).stdout(terminal.inherited()).start();
        receiver.client().write_all(b"one\n").unwrap();
        let ended = receiver.stop();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let last = ended.stderr.lines().last().unwrap();
        assert!(last.starts_with("lumberjack: gave up on ") && last.contains("4 bytes of lines are lost"), "{last}");
    }
}

#[test]
fn our_own_log_at_a_stopped_terminal_stops_nothing_and_says_what_it_lost() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    let log = dir.file("app.log");
    let with = |listen: &[&str]| Setup::new(&[listen, &["--output", &log, "--max-line", "8"]].concat());
    let receiver = Quiet::start(with, &dir, terminal.inherited());
    // A person is greeted first, and then reads the log.
    terminal.until_shown("Memory budget");
    assert!(terminal.shown().starts_with("Listening on unix:"), "{}", terminal.shown());
    terminal.stop();
    receiver.send("longer than it may be\none\n");
    until_file(&log, "one\n");
    receiver.send("two\n");
    until_file(&log, "one\ntwo\n");
    terminal.go_on();
    assert_eq!(receiver.stop(), Some(0));
    terminal.until_shown("[log] 1 line was left out of this log, since stderr took no more");
    terminal.assert_untouched();
}

#[test]
fn a_start_at_a_terminal_that_is_stopped_already_serves() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    terminal.stop();
    let log = dir.file("app.log");
    let receiver =
        Quiet::start(|listen| Setup::new(&[listen, &["--output", &log]].concat()), &dir, terminal.inherited());
    receiver.send("one\n");
    until_file(&log, "one\n");
    assert_eq!(receiver.stop(), Some(0));
}

#[test]
fn a_line_of_our_log_that_a_terminal_took_in_part_is_ended_before_the_next() {
    let (dir, terminal) = (Dir::new(), Terminal::unwatched());
    let log = dir.file("app.log");
    let with = |listen: &[&str]| Setup::new(&[listen, &["--output", &log, "--log-level", "debug"]].concat());
    let receiver = Quiet::start(with, &dir, terminal.inherited());
    // Each connection is several lines of the log, far more than a terminal holds that nobody looks at.
    for number in 0..300 {
        receiver.send(&format!("{number}\n"));
    }
    until("the last line", || match fs::read_to_string(&log) {
        Ok(text) if text.ends_with("\n299\n") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    terminal.watch();
    until("another line of the log", || {
        receiver.guard.signal("USR1");
        if terminal.shown().contains("[status] {") { Ok(()) } else { Err(terminal.shown()) }
    });
    assert_eq!(receiver.stop(), Some(0));
    terminal.until_shown("everything is written");
    let shown = terminal.shown();
    for line in shown.lines().skip(1).filter(|line| !line.contains("[status]")) {
        assert_eq!(line.matches("Z [").count(), 1, "one line in another: {line}");
    }
}

#[test]
fn p8_one_terminal_may_be_stdout_and_stderr_at_once() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    let log = dir.file("app.log");
    let with = |listen: &[&str]| {
        Setup::new(&[listen, &["--output", "-", "--output", &log]].concat()).stdout(terminal.inherited())
    };
    let receiver = Quiet::start(with, &dir, terminal.inherited());
    terminal.until_shown("Memory budget");
    receiver.send("one\n");
    terminal.until_shown("\none\n");
    terminal.stop();
    receiver.send("two\n");
    until_file(&log, "one\ntwo\n");
    terminal.assert_untouched();
    terminal.go_on();
    terminal.until_shown("two\n");
    assert_eq!(receiver.stop(), Some(0));
    terminal.until_shown("everything is written");
    terminal.assert_untouched();
}

fn assert_gone(ended: &Ended, output: &str, lost: &str) {
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    let begin = format!("lumberjack: cannot write to {output} any more: its reader is gone");
    assert!(
        last.starts_with(&begin) && last.ends_with(&format!("){lost}; start the reader again, then this")),
        "{last}"
    );
}

#[test]
fn p13_a_terminal_that_was_closed_ends_it_with_a_sentence() {
    for (is_named, is_stopped) in [(false, false), (false, true), (true, false), (true, true)] {
        let terminal = Terminal::new();
        let path = terminal.path.clone();
        let args = ["--output", if is_named { &path } else { "-" }];
        let receiver = Setup::new(&args).stdout(terminal.inherited()).start();
        let mut client = receiver.client();
        client.write_all(b"one\n").unwrap();
        terminal.until_shown("one\n");
        if is_stopped {
            terminal.stop();
            client.write_all(b"two\n").unwrap();
            until("that the line waits", || {
                receiver.signal("USR1");
                let said = receiver.said();
                if said.contains("\"waitingBytes\":4") { Ok(()) } else { Err(said) }
            });
        }
        terminal.close();
        // No line has to come: the terminal itself tells.
        let name = if is_named { &path } else { "stdout" };
        assert_gone(&receiver.wait(), name, if is_stopped { ", 4 bytes of lines are lost" } else { "" });
    }
}

#[test]
fn p13_a_terminal_that_was_closed_leaves_the_lines_to_the_other_outputs() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    let log = dir.file("app.log");
    let receiver = Setup::new(&["--output", "-", "--output", &log]).stdout(terminal.inherited()).start();
    terminal.close();
    receiver.until_said("stdout is gone for good");
    receiver.client().write_all(b"one\n").unwrap();
    until_file(&log, "one\n");
    assert_gone(&receiver.stop(), "stdout", ", 1 line(s) that came since are lost");
}

#[test]
fn p13_a_start_at_a_terminal_that_was_closed_already_is_a_sentence() {
    let terminal = Terminal::new();
    let stdout = terminal.inherited();
    terminal.close();
    assert_gone(&Setup::new(&["--listen", "127.0.0.1:0"]).stdout(stdout).run(), "stdout", "");
}

#[test]
fn our_own_log_at_a_terminal_that_was_closed_stops_nothing() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    let log = dir.file("app.log");
    let with = |listen: &[&str]| Setup::new(&[listen, &["--output", &log, "--max-line", "8"]].concat());
    let receiver = Quiet::start(with, &dir, terminal.inherited());
    terminal.until_shown("Memory budget");
    terminal.close();
    receiver.send("longer than it may be\none\n");
    until_file(&log, "one\n");
    assert_eq!(receiver.stop(), Some(0), "it has written everything");
}

/// Has a new session start it, whose terminal is this one: its stdin becomes its terminal. None if that can't be.
fn in_session(terminal: &Terminal, shell: &str, args: &[&str]) -> Option<Guard> {
    let mut setsid = Command::new("setsid");
    setsid.args(["--ctty", "sh", "-c", shell, &under_test()]).args(args);
    setsid.stdin(terminal.inherited()).stdout(terminal.inherited()).stderr(terminal.inherited());
    match Guard::spawn(&mut setsid) {
        Ok(guard) => Some(guard),
        Err(error) => {
            skip(&format!("setsid: {error}"));
            None
        }
    }
}

#[test]
fn p13_the_terminal_of_its_session_ends_it_when_it_is_closed() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    let listen = format!("unix:{}", dir.file("socket"));
    let Some(mut guard) = in_session(&terminal, "exec \"$0\" \"$@\"", &["--listen", &listen]) else { return };
    terminal.until_shown("Memory budget");
    let mut client = connect_unix(dir.file("socket")).unwrap();
    client.write_all(b"one\n").unwrap();
    terminal.until_shown("one\n");
    // SIGHUP comes first, by which files are opened anew.
    terminal.close();
    assert_eq!(guard.wait(), Some(1));
    assert!(!fs::exists(dir.file("socket")).unwrap(), "it has cleaned up");
}

#[test]
fn the_terminal_of_its_session_may_be_closed_if_it_is_no_output() {
    for before in ["", "trap '' HUP; "] {
        let (dir, terminal) = (Dir::new(), Terminal::new());
        let (log, socket) = (dir.file("app.log"), dir.file("socket"));
        let args = ["--listen", &format!("unix:{socket}"), "--output", &log];
        let shell = format!("{before} exec \"$0\" \"$@\"");
        let Some(mut guard) = in_session(&terminal, &shell, &args) else { return };
        terminal.until_shown("Memory budget");
        terminal.close();
        connect_unix(&socket).unwrap().write_all(b"one\n").unwrap();
        until_file(&log, "one\n");
        guard.signal("TERM");
        assert_eq!(guard.wait(), Some(0), "{before}");
    }
}

#[test]
fn in_the_background_of_a_terminal_with_tostop_it_serves() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    let (pid, socket) = (dir.file("pid"), dir.file("socket"));
    // The shell stays though its job stops: nobody would hold the terminal else, and the job could go on.
    let wait = "while kill -0 $! 2>/dev/null; do wait $!; done";
    let shell = format!("stty tostop; set -m; \"$0\" \"$@\" & echo $! >'{pid}'; {wait}");
    let args = ["--listen", &format!("unix:{socket}"), "--output", "-"];
    let Some(mut guard) = in_session(&terminal, &shell, &args) else { return };
    terminal.until_shown("Memory budget");
    let flags = tcgetattr(&terminal.shell).unwrap().local_flags;
    assert!(flags.contains(LocalFlags::TOSTOP), "the terminal stops who writes in the background");
    connect_unix(&socket).unwrap().write_all(b"one\n").unwrap();
    terminal.until_shown("\none\n");
    let pid = until("its number", || {
        let said = fs::read_to_string(&pid).unwrap_or_default();
        said.strip_suffix('\n').and_then(|pid| pid.parse().ok()).ok_or(said)
    });
    signal(pid, "TERM");
    assert_eq!(guard.wait(), Some(0));
    terminal.until_shown("everything is written");
}

#[cfg(feature = "status")]
#[test]
fn in_the_background_of_a_terminal_with_tostop_status_shows_how_it_is() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    let at = format!("unix:{}", dir.file("status"));
    let receiver = Receiver::start(&["--status", &at]);
    // The shell hears of a job that stops, and ends it.
    let shell = "stty tostop; set -m; \"$0\" \"$@\" & wait $!; echo \"it ended with $?\"; kill -KILL $! 2>/dev/null";
    let Some(mut guard) = in_session(&terminal, shell, &["status", &at]) else { return };
    terminal.until_shown("it ended with ");
    let shown = terminal.shown();
    assert!(shown.contains(": lines flow") && shown.contains("it ended with 0"), "{shown}");
    guard.wait();
    receiver.stop().assert_clean();
}

/// Runs it as somebody who may not open the terminal; none, and a word, where we can't become somebody else.
fn somebody_else(dir: &Dir) -> Option<Vec<String>> {
    let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let tried = output_of(Command::new(words[0]).args(&words[1..]).args(["true"]));
    if !tried.is_ok_and(|tried| tried.status.success()) {
        not_here("setpriv can't make us somebody else");
        return None;
    }
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    // A folder that cargo makes may be closed to others.
    fs::copy(under_test(), dir.file("lumberjack")).unwrap();
    Some(words.map(str::to_owned).into())
}

/// Stops and closes a terminal that its program can't open anew.
fn assert_writes_beside(dir: &Dir, terminal: Terminal, receiver: Quiet, log: &str) {
    terminal.until_shown("Memory budget");
    receiver.send("one\n");
    terminal.until_shown("\none\n");
    terminal.stop();
    receiver.send("two\nthree\n");
    until_file(log, "one\ntwo\nthree\n");
    receiver.send("a line that is longer than it may be\nfour\n");
    until_file(log, "one\ntwo\nthree\nfour\n");
    terminal.assert_untouched();
    terminal.go_on();
    terminal.until_shown("four\n");
    let shown = terminal.shown();
    let lines: Vec<&str> = shown.lines().filter(|line| !line.contains("Z [")).skip(1).collect();
    assert_eq!(lines, ["one", "two", "three", "four"], "{}", dir.path().display());
    assert_eq!(receiver.stop(), Some(0));
    terminal.until_shown("everything is written");
    terminal.assert_untouched();
}

#[test]
fn p8_a_terminal_that_cannot_be_opened_anew_is_written_beside_the_loop() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    let Some(under) = somebody_else(&dir) else { return };
    fs::set_permissions(&terminal.path, Permissions::from_mode(0o600)).unwrap();
    let log = dir.file("app.log");
    let with = |listen: &[&str]| {
        let args = [listen, &["--output", "-", "--output", &log, "--max-line", "10"]].concat();
        Setup::new(&args).under(under).of(&dir.file("lumberjack")).stdout(terminal.inherited())
    };
    let receiver = Quiet::start(with, &dir, terminal.inherited());
    assert_writes_beside(&dir, terminal, receiver, &log);
}

#[test]
fn p8_the_terminal_of_its_session_is_opened_whoever_owns_it() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    let Some(mut under) = somebody_else(&dir) else { return };
    fs::set_permissions(&terminal.path, Permissions::from_mode(0o600)).unwrap();
    let log = dir.file("app.log");
    under.splice(..0, ["setsid", "--ctty"].map(str::to_owned));
    let with = |listen: &[&str]| {
        let args = [listen, &["--output", "-", "--output", &log, "--max-line", "10"]].concat();
        Setup::new(&args)
            .under(under)
            .of(&dir.file("lumberjack"))
            .stdin(terminal.inherited())
            .stdout(terminal.inherited())
    };
    let receiver = Quiet::start(with, &dir, terminal.inherited());
    terminal.until_shown("Memory budget");
    let threads = fs::read_dir(format!("/proc/{}/task", receiver.guard.pid())).unwrap().count();
    assert_eq!(threads, 1, "no thread is needed");
    assert_writes_beside(&dir, terminal, receiver, &log);
}

#[test]
fn p8_a_fifo_whose_reader_shows_it_at_a_stopped_terminal_holds_up_nobody_else() {
    let (dir, terminal) = (Dir::new(), Terminal::new());
    let (fifo, log) = (dir.file("fifo"), dir.file("app.log"));
    if !output_of(Command::new("mkfifo").arg(&fifo)).is_ok_and(|output| output.status.success()) {
        return skip("mkfifo makes no fifo here");
    }
    terminal.stop();
    let receiver = Receiver::start(&["--output", &fifo, "--output", &log, "--memory", "1MiB"]);
    let mut cat = Command::new("cat");
    let mut cat = Guard::spawn(cat.arg(&fifo).stdin(Stdio::null()).stdout(terminal.inherited())).unwrap();
    let client = receiver.client();
    let mut sent = write_until_held_back(&client);
    assert_serves(&receiver);
    terminal.go_on();
    end_line(client, &mut sent);
    receiver.stop().assert_clean();
    assert_eq!(cat.wait(), Some(0));
    assert_shown(&terminal, &sent);
}
