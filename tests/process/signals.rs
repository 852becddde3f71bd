//! Signals: the orderly end, the second signal, the end that does not come by itself (P11).

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::common::patience::{PATIENCE, Pipe, connect, connect_unix, output_of};
use crate::common::skip::not_here;
use crate::support::conditions::{Dir, assert_numbered, assert_same, read_goodbye, until, write_until_held_back};
use crate::support::receiver::{Collected, Guard, Receiver, Setup, under_test};
use crate::support::traced::{calls, may_trace, strace, until_logged};

/// With `env`, which sets what signals it starts with so; none if this one can't.
fn under_env(option: &str) -> Option<Vec<String>> {
    let tried = output_of(Command::new("env").args([option, "true"]));
    if !tried.is_ok_and(|tried| tried.status.success()) {
        not_here(&format!("env has no {option}"));
        return None;
    }
    Some(vec!["env".to_owned(), option.to_owned()])
}

#[test]
fn p11_sigterm_and_sigint_end_cleanly_with_every_line_written() {
    for signal in ["TERM", "INT"] {
        // In the background of some shells the tests themselves ignore SIGINT.
        let Some(under) = under_env("--default-signal=INT") else { return };
        let receiver = Setup::new(&[]).under(under).start();
        let clients: Vec<TcpStream> = (0..5).map(|_| receiver.client()).collect();
        for (name, mut client) in clients.iter().enumerate() {
            write!(client, "c{name} 0\nc{name} 1\nc{name} 2").unwrap();
        }
        receiver.signal(signal);
        clients.iter().for_each(read_goodbye);
        let ended = receiver.wait();
        ended.assert_clean();
        assert!(ended.stderr.contains("[tcp] Stopping server, closing "), "{signal}: {}", ended.stderr);
        assert_eq!(ended.lines().len(), 15, "{signal}: {:?}", ended.lines());
        // The last line of each had no newline.
        (0..5).for_each(|name| assert_numbered(&ended.lines(), &format!("c{name}"), 3));
    }
}

/// As a shell without job control starts what runs in the background: `sh -c 'lumberjack & …'`.
#[test]
fn p11_a_sigint_that_was_ignored_at_the_start_stays_ignored_and_sigterm_never_is() {
    let mut receiver = Setup::new(&[]).before("trap '' INT TERM;").start();
    receiver.signal("INT");
    receiver.signal("INT");
    receiver.client().write_all(b"after\n").unwrap();
    receiver.until_lines(&["after"]);
    assert!(receiver.guard.is_running() && !receiver.said().contains("Stopping"), "{}", receiver.said());
    let ended = receiver.stop();
    ended.assert_clean();
    assert!(ended.stderr.contains("everything is written"), "{}", ended.stderr);
}

#[test]
fn p11_a_second_signal_ends_at_once_with_exit_1() {
    for (first, second) in [("TERM", "TERM"), ("TERM", "INT"), ("INT", "INT")] {
        let Some(under) = under_env("--default-signal=INT") else { return };
        let (_nobody_reads, writer) = Pipe::new();
        let mut receiver = Setup::new(&["--drain-timeout", "1h"]).under(under).stdout(writer).start();
        let client = receiver.client();
        write_until_held_back(&client);
        receiver.signal(first);
        // Two signals of one kind that come before the first is taken are one to the kernel.
        receiver.until_said("[tcp] Stopping server");
        assert!(receiver.guard.is_running(), "the first signal waits for the output: {}", receiver.said());
        receiver.signal(second);
        let ended = receiver.wait();
        assert_eq!(ended.code, Some(1), "{first}, {second}: {}", ended.stderr);
    }
}

#[test]
fn p11_the_port_can_be_bound_again_at_once() {
    let first = Receiver::start(&[]);
    let (addr, mut client) = (first.addr.to_string(), first.client());
    client.write_all(b"one\n").unwrap();
    // The server says goodbye first and the client is still there: the port is left in FIN_WAIT or TIME_WAIT.
    assert_eq!(first.stop().lines(), ["one"]);
    let second = Receiver::start(&["--listen", &addr]);
    assert_eq!(second.addr.to_string(), addr);
    second.client().write_all(b"two\n").unwrap();
    second.until_lines(&["two"]);
    drop(client);
}

#[test]
fn p11_what_lay_unread_in_the_kernel_at_the_signal_is_in_the_output() {
    const LINES: usize = 2_000;
    let receiver = Receiver::start(&["--max-per-host", "0"]);
    let mut clients = vec![receiver.client()];
    clients[0].write_all(b"before 0\n").unwrap();
    receiver.until_lines(&["before 0"]);
    // The stopped process can't read or accept: all of this waits in the kernel, and half of the clients are gone.
    receiver.signal("STOP");
    clients.extend((0..8).map(|_| receiver.client()));
    for (name, client) in clients.iter_mut().enumerate() {
        let text: String = (0..LINES).map(|number| format!("c{name} {number}\n")).collect();
        client.write_all(text.as_bytes()).unwrap();
    }
    clients.truncate(5);
    receiver.signal("TERM");
    receiver.signal("CONT");
    let ended = receiver.wait();
    ended.assert_clean();
    assert_eq!(ended.lines().len(), 1 + 9 * LINES);
    (0..9).for_each(|name| assert_numbered(&ended.lines(), &format!("c{name}"), LINES));
}

#[test]
fn p11_an_output_that_takes_nothing_is_given_up_with_a_sentence() {
    let (receiver, _nobody_reads) = Receiver::start_unread(&["--drain-timeout", "300ms"]);
    let client = receiver.client();
    write_until_held_back(&client);
    let ended = receiver.stop();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.starts_with("lumberjack: gave up on stdout"), "{last}");
    let lost: u64 = last.split_once("--drain-timeout: ").unwrap().1.split_once(" bytes").unwrap().0.parse().unwrap();
    assert!(lost > 0, "it says how much is lost: {last}");
}

#[test]
fn p11_an_output_that_is_only_slow_is_waited_for() {
    let (receiver, mut output) = Receiver::start_unread(&["--drain-timeout", "2s"]);
    let client = receiver.client();
    let sent = write_until_held_back(&client);
    receiver.signal("TERM");
    receiver.until_said("[tcp] Stopping server");
    let mut first = vec![0; 100];
    output.read_exact(&mut first).unwrap();
    let collected = output.collect();
    receiver.wait().assert_clean();
    let mut wanted = sent;
    // The last line was cut by the kernel, unless it was cut at its end.
    if !wanted.ends_with(b"\n") {
        wanted.push(b'\n');
    }
    first.extend(collected.finish());
    assert_same(&first, &wanted);
}

#[test]
fn p13_sigpipe_does_not_end_it() {
    let receiver = Receiver::start(&[]);
    let mut client = receiver.client();
    client.write_all(b"before\n").unwrap();
    receiver.until_lines(&["before"]);
    receiver.signal("PIPE");
    client.write_all(b"after\n").unwrap();
    receiver.until_lines(&["before", "after"]);
    receiver.stop().assert_clean();
}

#[test]
fn p11_signals_that_were_blocked_at_the_start_are_heard() {
    for signal in ["TERM", "INT"] {
        let Some(mut under) = under_env("--block-signal") else { return };
        under.push("--default-signal=INT".to_owned());
        let receiver = Setup::new(&[]).under(under).start();
        let mut client = receiver.client();
        client.write_all(b"one\n").unwrap();
        receiver.until_lines(&["one"]);
        receiver.signal("USR1");
        receiver.until_said("[status] {");
        receiver.signal("HUP");
        receiver.signal(signal);
        receiver.wait().assert_clean();
    }
}

#[test]
fn sighup_and_sigusr1_that_come_before_the_first_instruction_are_kept_for_later() {
    let Some(under) = under_env("--block-signal") else { return };
    let receiver = Setup::new(&[]).under(under).before("kill -HUP $$; kill -USR1 $$;").start();
    receiver.until_said("[status] {");
    receiver.client().write_all(b"one\n").unwrap();
    receiver.until_lines(&["one"]);
    receiver.stop().assert_clean();
}

/// What is to be sent at which call of the start: those that our own code makes between its first instruction and its first
/// turn.
const STEPS: [&str; 5] = ["rt_sigprocmask", "socketpair", "epoll_create1:when=2", "listen", "epoll_ctl:when=2"];

/// A step's call, and which of its calls it is.
fn call_of(step: &'static str) -> (&'static str, String) {
    if let Some((call, when)) = step.split_once(':') {
        return (call, when.to_owned());
    }
    if step != "rt_sigprocmask" {
        return (step, "when=1".to_owned());
    }
    // The C library may make some of its own before.
    let dir = Dir::new();
    Setup::new(&["--check"]).under(strace(&dir, step, &[])).run();
    until_logged(&dir);
    let ours = calls(&dir, step).iter().position(|call| call.text.contains("HUP"));
    (step, format!("when={}", ours.expect("a call that keeps SIGHUP for later") + 1))
}

#[test]
fn sighup_while_it_starts_opens_files_anew_once_it_runs() {
    if !may_trace() {
        return;
    }
    for step in STEPS {
        let dir = Dir::new();
        let log = dir.file("app.log");
        let (call, when) = call_of(step);
        let under = strace(&dir, &format!("?open,openat,{call}"), &[format!("{call}:signal=HUP:{when}")]);
        let receiver = Setup::new(&["--output", &log]).under(under).start();
        until("the file is opened anew", || {
            let opens = calls(&dir, "open").into_iter().chain(calls(&dir, "openat"));
            let opened = opens.filter(|call| call.text.contains(&log)).count();
            if opened >= 2 { Ok(()) } else { Err(format!("{step}: opened {opened} times")) }
        });
        receiver.stop().assert_clean();
    }
}

#[test]
fn p11_sigterm_while_it_starts_is_a_clean_end() {
    if !may_trace() {
        return;
    }
    for step in STEPS {
        let dir = Dir::new();
        let (call, when) = call_of(step);
        let under = strace(&dir, call, &[format!("{call}:signal=TERM:{when}")]);
        let ended = Setup::new(&["--listen", &format!("unix:{}", dir.file("socket"))]).under(under).run();
        assert_eq!(ended.code, Some(0), "{step}: {}", ended.stderr);
        assert!(!fs::exists(dir.file("socket")).unwrap(), "{step}: the socket's file is left");
    }
}

#[test]
fn p11_sigterm_while_it_starts_takes_in_who_waits_at_a_socket_of_its_own() {
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let socket = dir.file("socket");
    // It is told to end when it begins to listen. Its first turn is held up for a while, in which somebody comes.
    let injections = ["listen:signal=TERM", "?epoll_wait,?epoll_pwait:delay_enter=1000000:when=1"];
    let under = strace(&dir, "listen,?epoll_wait,?epoll_pwait", &injections.map(str::to_owned));
    let mut setup = Setup::new(&["--listen", &format!("unix:{socket}")]).under(under);
    let mut guard = setup.spawn(Stdio::null());
    let output = Collected::from(guard.0.stdout.take().unwrap());
    let mut client = until("its socket", || connect_unix(&socket).map_err(|error| error.to_string()));
    client.write_all(b"one\n").unwrap();
    assert_eq!(guard.wait(), Some(0));
    assert_same(&output.finish(), b"one\n");
}

#[test]
fn p11_sigterm_before_it_listens_leaves_who_waits_at_an_inherited_socket_to_the_next() {
    let Some(under) = under_env("--block-signal") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = connect(listener.local_addr().unwrap());
    client.write_all(b"one\n").unwrap();
    let setup = Setup::new(&[]).under(under).before("kill -TERM $$;");
    let ended = setup.inherit(listener.try_clone().unwrap()).run();
    ended.assert_clean();
    assert_same(&ended.output, b"");
    let next = Setup::new(&[]).inherit(listener).start();
    next.until_lines(&["one"]);
    drop(client);
    next.stop().assert_clean();
}

#[test]
fn sighup_that_was_ignored_at_the_start_stays_ignored() {
    let Some(under) = under_env("--ignore-signal=HUP") else { return };
    let receiver = Setup::new(&[]).under(under).start();
    let status = fs::read_to_string(format!("/proc/{}/status", receiver.guard.pid())).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & 1, 1, "{status}");
    receiver.signal("HUP");
    receiver.client().write_all(b"one\n").unwrap();
    receiver.until_lines(&["one"]);
    receiver.stop().assert_clean();
}

#[cfg(feature = "status")]
#[test]
fn who_only_asks_ends_by_the_signal_as_every_program_does() {
    for (signal, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let Some(under) = under_env("--default-signal=INT") else { return };
        let mut asker = Command::new(&under[0]);
        asker.arg(&under[1]).arg(under_test());
        let at = format!("unix:{}", Dir::new().file("nobody"));
        asker.args(["status", "--watch", &at]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut guard = Guard::spawn(&mut asker).unwrap();
        let said = Collected::from(guard.0.stderr.take().unwrap());
        until("that it asks", || if said.text().contains("cannot ask") { Ok(()) } else { Err(said.text()) });
        guard.signal(signal);
        assert_eq!(guard.wait_within(PATIENCE).signal(), Some(number), "{signal}");
    }
}
