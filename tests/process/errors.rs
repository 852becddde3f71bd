//! Errors are sentences (P13): one line that says what, where and what to do, with the right exit code; and an own log
//! that nobody takes ends nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use crate::common::patience::{Pipe, connect, connect_unix, output_of};
use crate::common::skip::{not_here, skip};
use crate::support::conditions::{Dir, until};
use crate::support::receiver::{Collected, Ended, Guard, Receiver, Setup, listens_at, under_test};
use crate::support::somebody::somebody_else;

/// Linux's `O_NONBLOCK`, which `std` has no name for.
const O_NONBLOCK: i32 = 0o4000;

/// Exactly one line, with the program's name, that begins so and ends so.
pub(crate) fn assert_sentence(ended: &Ended, code: i32, begins: &str, ends: &str) {
    let stderr = &ended.stderr;
    assert_eq!(ended.code, Some(code), "exit code for {begins:?}; stderr: {stderr}");
    assert!(stderr.starts_with(&format!("lumberjack: {begins}")), "{begins:?} instead of {stderr:?}");
    assert!(stderr.ends_with(&format!("{ends}\n")), "{ends:?} at the end of {stderr:?}");
    assert_eq!(stderr.matches('\n').count(), 1, "one line: {stderr:?}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(ended.output, b"", "nothing on stdout");
}

#[test]
fn p13_every_mistake_in_the_arguments_is_one_sentence_and_exit_2() {
    for (args, begins, ends) in [
        (&["--xyzzy"][..], "--xyzzy is no option", "see --help"),
        (&["--out", "a"], "--out is no option: --output names where lines go", "such as --output app.log"),
        (&["--port=514"], "--port is no option: --listen names where clients connect", ""),
        (&["--tls"], "--tls is no option: TLS is an option of a listener: --listen 0.0.0.0:6514,tls,", ""),
        (&["--udp"], "--udp is no option: --listen takes UDP too, such as", ""),
        (&["--gelf"], "--gelf is no option: --listen ADDR:PORT,framing=nul takes GELF over TCP", ""),
        (&["--syslog"], "--syslog is no option: --parse syslog reads", ""),
        (&["--proxy-protocol"], "--proxy-protocol is no option: --proxy", ""),
        (&["--whitelist", "::1"], "--whitelist is no option: --allow", ""),
        (&["--ratelimit=10"], "--ratelimit is no option: --rate", ""),
        (&["--rate-limit", "10"], "--rate-limit is no option: --rate", ""),
        (&["-x"], "-x is no option", "see --help"),
        (&["--max-lin", "1"], "--max-lin is no option", "did you mean --max-line?"),
        (&["--lisen", "[::]:1"], "--lisen is no option", "did you mean --listen?"),
        (&["--max-line"], "--max-line needs a value", "see --help"),
        (&["4445"], "4445 stands alone", "see --help"),
        (&["--max-line", "12 parsecs"], "--max-line 12 parsecs: a size is", "such as 64KiB"),
        (&["--max-line", ""], "--max-line (nothing): ", ""),
        (&["--max-line", "a\nb"], "--max-line a\\nb: ", ""),
        (&["--memory", "99999999999GiB"], "--memory 99999999999GiB: the number is too large", ""),
        (&["--memory", "1kB"], "--memory 1000 is too little for --max-line 100KiB", "lower --max-line"),
        (&["--max-buffer", "1KiB"], "--max-buffer 1KiB is less than twice --max-line 100KiB", ""),
        (&["--idle-timeout", "5"], "--idle-timeout 5: a duration is", "or 0"),
        (&["--keepalive", "10h"], "--keepalive is 10h: give", "to turn it off"),
        (&["--max-connections", "many"], "--max-connections many: give a whole number", ""),
        (&["--max-connections", "0"], "--max-connections is 0: give a number from 1 to ", ""),
        (&["--max-per-host", "-1"], "--max-per-host -1: give a whole number", ""),
        (&["--listen", "localhost:1"], "--listen localhost:1: names are not looked up", ""),
        (&["--listen", "127.0.0.1"], "--listen 127.0.0.1: ", ""),
        (&["--listen", "127.0.0.1:99999"], "--listen 127.0.0.1:99999: ", ""),
        (&["--listen", "unix:here.sock"], "--listen unix:here.sock: ", ""),
        (&["--unix-mode", "999"], "--unix-mode 999: give octal digits", "such as 0660"),
        (&["--format", "xml"], "--format xml: use one of raw, peer, json", ""),
        (&["--long-lines", "keep"], "--long-lines keep: use one of skip, cut, split", ""),
        (&["--when-full", "panic"], "--when-full panic: use one of wait, reject", ""),
        (&["--idle-close", "sometimes"], "--idle-close sometimes: use one of always, needed", ""),
        (&["--log-level", "loud"], "--log-level loud: use one of off, error, warn, info, debug, trace", ""),
        (&["--keep-empty=maybe"], "--keep-empty maybe: use true or false", ""),
        (&["--output=\"a.log\""], "--output \\\"a.log\\\": quotes would be part of the value; leave them out", ""),
        (&["--output", "tcp:gw:syslog"], "--output tcp:gw:syslog: the port is a number from 1 to 65535", ""),
        (&["--output", "unix:@next"], "--output unix:@next: abstract sockets are not served: give a path", ""),
        (&["--listen", "tcp://127.0.0.1:1"], "--listen tcp://127.0.0.1:1: an address is one of TCP anyway", ""),
        (&["--listen", "*:514"], "--listen *:514: name the address before it: 127.0.0.1 for this machine alone", ""),
        (&["--listen", "unix:/run/%i.sock"], "--listen unix:/run/%i.sock: nothing is replaced in a socket's path", ""),
        (&["--output", ""], "--output (nothing): name a file", ""),
    ] {
        assert_sentence(&Setup::new(args).run(), 2, begins, ends);
    }
}

#[test]
fn p13_every_mistake_about_framings_is_one_sentence_and_exit_2() {
    for (args, begins, ends) in [
        (&["--framing", "xml"][..], "--framing xml: use one of lines, octet, nul, cr, auto-octet", "auto-octet"),
        (
            &["--framing", "rfc6587"],
            "--framing rfc6587: use one of lines, octet, nul, cr, auto-octet; octet counting is --framing octet",
            "",
        ),
        (
            &["--framing", "octet-counted"],
            "--framing octet-counted: use one of lines, octet,",
            "; octet counting is --framing octet",
        ),
        (
            &["--listen", "127.0.0.1:1,octet"],
            "--listen 127.0.0.1:1,octet: octet is no option of a listener: did you mean framing=octet?",
            "",
        ),
        (
            &["--listen", "127.0.0.1:1,parse"],
            "--listen 127.0.0.1:1,parse: parse needs a value, as in parse=VALUE: use one of off, syslog",
            "",
        ),
        (&["--listen", "127.0.0.1:1,framing=xml"], "--listen 127.0.0.1:1,framing=xml: framing: use one of lines,", ""),
        (&["--listen", "127.0.0.1:1,frame=nul"], "--listen 127.0.0.1:1,frame=nul: frame=nul is no option of a", ""),
        (&["--listen", "127.0.0.1:1,127.0.0.1:2"], "--listen 127.0.0.1:1,127.0.0.1:2: 127.0.0.1:2 is no option", ""),
        (
            &["--listen", "[::1]:1,framing=cr,framing=cr"],
            "--listen [::1]:1,framing=cr,framing=cr: framing is given",
            "",
        ),
        (&["--embedded-newline", "no"], "--embedded-newline no: use one of escape, space, keep", ""),
        (
            &["--embedded-newline", "keep", "--output", "a.log"],
            "--embedded-newline keep would make two lines of one for who reads --output a.log: choose",
            "or --format json",
        ),
        (
            &["--embedded-newline", "keep", "--format", "peer", "--output", "-", "--output", "tcp:gw:1"],
            "--embedded-newline keep would make two lines of one for who reads --output tcp:gw:1: choose",
            "or --format json",
        ),
    ] {
        assert_sentence(&Setup::new(args).run(), 2, begins, ends);
    }
}

#[test]
fn p13_every_mistake_in_the_options_of_a_listener_is_one_sentence_and_exit_2() {
    for (args, begins, ends) in [
        (
            &["--allow", "192.0.2.7/24"][..],
            "--allow 192.0.2.7/24: 192.0.2.7/24 has bits set behind its prefix: write 192.0.2.0/24",
            "",
        ),
        (
            &["--deny", "lan"],
            "--deny lan: lan is no network: give one as 192.0.2.0/24 or 2001:db8::/32",
            "; everybody is 0.0.0.0/0,::/0; several have commas between, and a netmask of 255.255.255.0 is /24",
        ),
        (
            &["--listen", "127.0.0.1:0,allow=192.0.2.1,2001:db8::1/32"],
            "--listen 127.0.0.1:0,allow=192.0.2.1,2001:db8::1/32: allow: 2001:db8::1/32 has bits set behind",
            "for this address alone",
        ),
        (
            &["--listen", "unix:/run/x,deny=::1"],
            "--listen unix:/run/x,deny=::1: clients of a Unix socket have no addresses",
            "",
        ),
        (&["--listen", "unix:/run/x", "--allow", "::1"], "--allow ::1 fits no --listen: clients of a Unix socket", ""),
        (&["--proxy"], "--listen 127.0.0.1:4445,proxy=on: anybody could say who its lines are from", "allow=192.0.2.7"),
        (&["--listen", "127.0.0.1:0,proxy=1"], "--listen 127.0.0.1:0,proxy=1: proxy: use on or off", ""),
        (
            &["--listen", "127.0.0.1:0,allow"],
            "--listen 127.0.0.1:0,allow: allow needs a value, as in allow=VALUE: ",
            "",
        ),
        (
            &["--allow", "::1 ::2"],
            "--allow ::1 ::2: ::1 ::2 is no network: ",
            "several have commas between, and a netmask of 255.255.255.0 is /24",
        ),
        (&["--rate", "fast"], "--rate fast: a bare number is lines, one with B, KiB or MiB is bytes", "or off"),
        (&["--rate", "10/s"], "--rate 10/s: a bare number is lines, ", "without lines or /s behind it; or off"),
        (
            &["--burst", "200"],
            "--burst 200 fits no --listen: a burst goes with a rate, and there is none: give one in",
            "",
        ),
        (
            &["--listen", "127.0.0.1:0,rate=1KiB,burst=9"],
            "--listen 127.0.0.1:0,burst=9: a burst goes with a rate in the same unit",
            "one with KiB is bytes",
        ),
    ] {
        assert_sentence(&Setup::new(args).run(), 2, begins, ends);
    }
}

#[test]
fn p13_every_mistake_in_a_config_file_names_its_line() {
    let dir = Dir::new();
    for (text, begins) in [
        (&b"max-line"[..], "1: max-line has no =; write name = value"),
        (b"max-lin", "1: max-lin has no =; write name = value, such as max-line = 64KiB"),
        (b"proxy", "1: proxy has no =; write name = value, such as proxy = on"),
        (
            b"keep-empty = on\nlisten = unix:/run/x,proxy\nlisten = 127.0.0.1:0",
            "2: listen unix:/run/x,proxy: clients of a Unix socket have no addresses",
        ),
        (b"# sizes\n\nmax-line = x\n", "3: max-line x: it does not start with a whole number"),
        (
            b"output = a\nmax-line = 8KiB\noutput = b\nmax-line = 8KiB",
            "4: max-line is there a second time, and was set at ",
        ),
        (b"\xef\xbb\xbf\xef\xbb\xbfmax-line = x", "1: max-line x: it does not start"),
        (b"output = \"a.log", "1: output \\\"a.log: quotes would be part of the value"),
        (b"max-lines = 1", "1: max-lines is no option; did you mean max-line?"),
        (b"idle-timeout = 5", "1: idle-timeout 5: a duration is"),
        (b"listen = localhost:1", "1: listen localhost:1: names are not looked up"),
        (b"keep-empty = maybe", "1: keep-empty maybe: use true or false"),
        (b"config = other.conf", "1: config is for the command line only"),
        (b"output = \"a.log\"", "1: output \\\"a.log\\\": quotes would be part of the value; leave them out"),
        (b"mark-gaps = 'true' # yes", "1: mark-gaps \\'true\\': quotes would be part of the value"),
        (b"\xef\xbb\xbf# saved with a mark\nmax-line = x", "2: max-line x: it does not start"),
    ] {
        let path = dir.file("bad.conf");
        fs::write(&path, text).unwrap();
        assert_sentence(&Setup::new(&["--config", &path]).run(), 2, &format!("{path}:{begins}"), "");
    }
}

#[test]
fn cat_and_status_have_a_help_of_their_own() {
    for (command, of_it) in [("cat", "--match TEXT"), ("status", "--watch")] {
        if command == "status" && !cfg!(feature = "status") {
            continue;
        }
        for flag in ["--help", "-h"] {
            let ended = Setup::new(&[command, flag]).run();
            let text = String::from_utf8(ended.output).unwrap();
            assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
            assert!(text.starts_with(&format!("Usage: lumberjack {command} ")) && text.contains(of_it), "{text}");
            assert!(!text.contains("--output"), "that is no option of {command}: {text}");
        }
    }
}

#[test]
fn the_start_names_each_output_and_warns_of_more_memory_than_there_is() {
    let dir = Dir::new();
    let (one, two) = (dir.file("a.log"), dir.file("{host}.log"));
    let args =
        ["--output", &one, "--output", &two, "--memory", "100000GiB", "--rotate-age", "7d", "--rotate-size", "1M"];
    let ended = Receiver::start(&args).stop();
    ended.assert_clean();
    assert!(ended.stderr.contains(&format!("[INFO] Lines go to {one}, {two}\n")), "{}", ended.stderr);
    let warned = "[WARN] [tcp] --memory 100000GiB is more than this box has, which is ";
    assert_eq!(ended.stderr.matches(warned).count(), 1, "{}", ended.stderr);
    assert!(!Receiver::start(&["--memory", "1M", "--max-line", "1k"]).stop().stderr.contains("[WARN]"));
}

#[test]
fn p13_a_config_file_that_cannot_be_read_is_one_sentence_and_exit_2() {
    let dir = Dir::new();
    let binary = dir.file("binary.conf");
    fs::write(&binary, b"max-line = \xff\xfe").unwrap();
    for path in [dir.file("none.conf"), dir.file(""), binary] {
        let ended = Setup::new(&["--config", &path]).run();
        assert_sentence(&ended, 2, &format!("--config {path}: cannot be read ("), "name a readable file");
    }
}

#[test]
fn p13_a_config_file_that_never_ends_or_never_comes_is_one_sentence_and_exit_2() {
    let dir = Dir::new();
    let fifo = dir.file("fifo");
    if !output_of(Command::new("mkfifo").arg(&fifo)).is_ok_and(|output| output.status.success()) {
        return skip("mkfifo makes no fifo here");
    }
    for (path, why) in [(fifo.as_str(), "nothing more came from it for 2s"), ("/dev/zero", "it is larger than 1 MiB")] {
        let ended = Setup::new(&["--config", path]).run();
        assert_sentence(&ended, 2, &format!("--config {path}: cannot be read ({why})"), "name a readable file");
    }
}

#[test]
fn a_config_file_may_be_a_pipe_and_begin_with_a_byte_order_mark() {
    let mut shell = Command::new("sh");
    let late = "{ sleep .3; printf '\\357\\273\\277max-line = 2KiB\\n'; } | \"$0\" --check --config /dev/stdin";
    let ended = output_of(shell.args(["-c", late]).arg(under_test())).unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(said.contains("max-line = 2KiB # /dev/stdin:1"), "{said}{}", String::from_utf8_lossy(&ended.stderr));
}

#[test]
fn p13_a_place_that_cannot_be_listened_at_is_one_sentence_and_exit_1() {
    let dir = Dir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let receiver = Receiver::start(&["--listen", "127.0.0.1:0", "--listen", &format!("unix:{}", dir.file("taken"))]);
    fs::write(dir.file("regular"), "mine").unwrap();
    let unix = |name: &str| format!("unix:{}", dir.file(name));
    for (at, middle, ends) in [
        (port, "another program has that port; stop it", "with --listen"),
        (unix("taken"), "another program listens there; stop it", "with --listen"),
        (unix("none/sock"), "its directory does not exist; make it", "with --listen"),
        (unix("regular"), "there is a file that is no socket; remove it", "with --listen"),
    ] {
        let begins = format!("cannot listen on {at}: {middle}");
        assert_sentence(&Setup::new(&["--listen", &at]).run(), 1, &begins, ends);
    }
    assert_eq!(fs::read_to_string(dir.file("regular")).unwrap(), "mine", "what was there is left alone");
    receiver.stop().assert_clean();
}

#[test]
fn p13_an_output_that_cannot_be_opened_is_one_sentence_and_exit_1() {
    let dir = Dir::new();
    fs::write(dir.file("regular"), "").unwrap();
    for (path, middle) in [
        (dir.file("none/app.log"), "its directory does not exist; make it"),
        (dir.path().display().to_string(), "it is a directory; name a file in it"),
        (dir.file("regular/app.log"), "a part of the path is no directory"),
    ] {
        let begins = format!("cannot write to {path}: {middle}");
        let setup = Setup::new(&["--listen", "127.0.0.1:0", "--output", &path]);
        assert_sentence(&setup.run(), 1, &begins, "with --output");
    }
}

#[test]
fn p13_a_path_with_a_newline_in_it_is_shown_on_one_line() {
    let listen = ["--listen", "unix:/no\nwhere/sock"];
    let start = "--listen unix:/no\\nwhere/sock: a Unix socket needs an absolute path without control characters";
    assert_sentence(&Setup::new(&listen).run(), 2, start, "unix:/run/lumberjack.sock");
    let output = ["--listen", "127.0.0.1:0", "--output", "/no\nwhere/app.log"];
    assert_sentence(&Setup::new(&output).run(), 1, "cannot write to /no\\nwhere/app.log: ", "with --output");
    let config = ["--config", "/no\nwhere.conf"];
    assert_sentence(&Setup::new(&config).run(), 2, "--config /no\\nwhere.conf: cannot be read (", "readable file");
}

#[test]
fn p13_what_is_not_permitted_is_one_sentence_and_exit_1() {
    let dir = Dir::new();
    let locked = dir.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    let Some(run) = somebody_else(&dir, &locked) else { return };
    let mut cases = vec![
        (["--output", "locked/app.log"], "cannot write to ", "no permission; change the owner", "with --output"),
        (["--listen", "locked/sock"], "cannot listen on unix:", "no permission to make a file", "with --listen"),
    ];
    let first_free = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first_free.trim() == "1024" {
        let middle = "no permission; ports below 1024 need";
        cases.push((["--listen", "127.0.0.1:7"], "cannot listen on 127.0.0.1:7: ", middle, "with --listen"));
    }
    for ([flag, place], begins, middle, ends) in cases {
        let value = match (flag, place.contains('/')) {
            ("--listen", true) => format!("unix:{}", dir.file(place)),
            (_, true) => dir.file(place),
            _ => place.to_owned(),
        };
        let mut args = vec![flag, &value];
        if flag == "--output" {
            args.extend(["--listen", "127.0.0.1:0"]);
        }
        let ended = run(&args);
        assert!(ended.stderr.contains(middle), "{middle:?} in {:?}", ended.stderr);
        assert_sentence(&ended, 1, begins, ends);
    }
}

#[test]
fn p13_a_read_only_file_system_is_one_sentence_and_exit_1() {
    let dir = Dir::new();
    let mount = format!("mount -t tmpfs -o ro none {} &&", dir.path().display());
    let inside = |args: &[&str]| {
        let script = format!("{mount} exec \"$0\" \"$@\"");
        let mut command = Command::new("unshare");
        output_of(command.args(["--mount", "--map-root-user", "sh", "-c", &script]).args(args))
    };
    if inside(&["true"]).map_or(true, |output| !output.status.success()) {
        return not_here("no file system can be mounted here");
    }
    let binary = under_test();
    let (output, unix) = (dir.file("app.log"), format!("unix:{}", dir.file("sock")));
    for (args, begins, ends) in [
        (&["--listen", "127.0.0.1:0", "--output", &output][..], "cannot write to ", "with --output"),
        (&["--listen", &unix], "cannot listen on unix:", "with --listen"),
    ] {
        let output = inside(&[&[binary.as_str()], args].concat()).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.to_lowercase().contains("read-only"), "{stderr}");
        assert_sentence(&Ended { code: output.status.code(), stderr, output: output.stdout }, 1, begins, ends);
    }
}

#[test]
fn p13_too_few_descriptors_are_a_sentence_and_never_a_panic() {
    for limit in 4..=16 {
        let mut setup = Setup::new(&["--listen", "127.0.0.1:0"]).before(&format!("ulimit -n {limit};"));
        let mut guard = setup.spawn(Stdio::piped());
        let stderr = Collected::from(guard.0.stderr.take().unwrap());
        let stdout = Collected::from(guard.0.stdout.take().unwrap());
        let code = until("a start or an end", || match guard.0.try_wait().unwrap() {
            Some(status) => Ok(status.code()),
            None if stderr.text().contains("Memory budget") => Ok(Some(0)),
            None => Err(stderr.text()),
        });
        if code == Some(0) {
            // One that starts serves: who could take in nobody would lose all that comes.
            let at = stderr.text().lines().find_map(listens_at).unwrap();
            connect(at).write_all(b"a line\n").unwrap();
            guard.signal("TERM");
            assert_eq!(guard.wait(), Some(0), "{limit}: {}", stderr.text());
            assert_eq!(stdout.finish(), b"a line\n", "{limit}: {}", stderr.text());
            continue;
        }
        let said = String::from_utf8(stderr.finish()).unwrap();
        assert_eq!(code, Some(1), "{limit}: {said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("lumberjack: ") && last.contains("open files"), "{limit}: {said}");
        assert!(!said.contains("panicked"), "{limit}: {said}");
    }
}

/// Starts one whose own log can't be heard: it listens at a path, as nobody would read the port that it picks.
fn start_unheard(dir: &Dir, redirect: &str, stderr: Stdio) -> (Guard, UnixStream) {
    let path = dir.file("sock");
    let output = dir.file("app.log");
    let args = ["--listen", &format!("unix:{path}"), "--output", &output, "--log-level", "debug", "--max-line", "8"];
    let mut guard = Setup::new(&args).redirect(redirect).spawn(stderr);
    let client = until("its socket", || {
        assert!(guard.is_running(), "it ended");
        connect_unix(&path).map_err(|error| error.to_string())
    });
    (guard, client)
}

/// Has it warn a lot, and shows that it goes on and ends well.
fn assert_goes_on(dir: &Dir, mut guard: Guard, mut client: UnixStream) {
    for _ in 0..100 {
        client.write_all(b"far too long for the cap\n").unwrap();
        connect_unix(dir.file("sock")).unwrap();
    }
    client.write_all(b"fine\n").unwrap();
    until("the line", || match fs::read_to_string(dir.file("app.log")) {
        Ok(text) if text == "fine\n" => Ok(()),
        other => Err(format!("{other:?}, running: {}", guard.is_running())),
    });
    guard.signal("TERM");
    assert_eq!(guard.wait(), Some(0));
}

/// A pipe that takes nothing more, and its flags as they were.
fn full_pipe() -> (Pipe, std::io::PipeWriter) {
    use std::os::fd::AsRawFd;
    let (reader, writer) = Pipe::new();
    // Opened anew for the filling, so that the description that is handed on stays one that blocks.
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut own = fs::OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path).unwrap();
    while own.write(&[b'x'; 4096]).is_ok() {}
    while own.write(b"x").is_ok() {}
    (reader, writer)
}

#[test]
fn p12_a_log_that_nobody_reads_stops_nothing() {
    let dir = Dir::new();
    let (mut reader, writer) = full_pipe();
    let (guard, client) = start_unheard(&dir, "", writer.into());
    assert_goes_on(&dir, guard, client);
    let mut left = Vec::new();
    reader.read_to_end(&mut left).unwrap();
    assert!(left.iter().all(|byte| *byte == b'x'), "nothing could be added");
}

#[test]
fn p12_a_log_whose_reader_is_gone_ends_nothing() {
    let dir = Dir::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (guard, client) = start_unheard(&dir, "", writer.into());
    assert_goes_on(&dir, guard, client);
}

#[test]
fn p12_a_log_that_is_closed_or_on_a_full_disk_ends_nothing() {
    for redirect in ["2>&-", "2>/dev/full"] {
        let dir = Dir::new();
        let (guard, client) = start_unheard(&dir, redirect, Stdio::null());
        assert_goes_on(&dir, guard, client);
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn p13_what_needs_tls_names_the_build_that_has_it() {
    for args in [
        &["--output", "tcp+tls:gw:6514,ca=/etc/ca.pem"][..],
        &["--output", "nats+tls://gw/logs", "--nats-stream", "LOGS"],
        &["--output", "nats+tls-first://gw/logs", "--nats-stream", "LOGS"],
        &["--output", "loki+https://gw/"],
        &["--poll", "gw=https://gw/"],
        &["--alert", "x", "--alert-url", "https://gw/"],
        &["--tls-ca", "/etc/ca.pem"],
        &["--tls-server-name", "gw"],
    ] {
        let ended = Setup::new(args).run();
        assert_sentence(&ended, 2, "", "");
        assert!(ended.stderr.contains("(lumberjack-tls)"), "{args:?}: {}", ended.stderr);
    }
}
