//! Outputs that make no sense, alone or together: a sentence at the start (P13), and nothing harmed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::errors::assert_sentence;
use crate::common::patience::output_of;
use crate::common::skip::{not_here, skip};
use crate::support::conditions::Dir;
use crate::support::receiver::{Ended, Receiver, Setup, under_test};
use crate::support::somebody::somebody_else;

fn run(args: &[&str]) -> Ended {
    Setup::new(&[&["--listen", "127.0.0.1:0"], args].concat()).run()
}

#[test]
fn p13_options_of_files_that_make_no_sense_are_one_sentence_and_exit_2() {
    let rotates = ["--rotate-size", "1MiB"];
    for (args, begins, ends) in [
        (&["--rotate-size", "1MiB"][..], "--rotate-size is for files, and no --output names one", "leave it out"),
        (&["--rotate-age", "1h", "--output", "-"], "--rotate-age is for files, and no --output names one", ""),
        (&["--sync", "interval"], "--sync is for files, and no --output names one", ""),
        (&["--flush-every", "1s"], "--flush-every is for files, and no --output names one", ""),
        (
            &["--output", "/nowhere/a", "--rotate-size", "64KiB"],
            "--rotate-size 64KiB is smaller than the longest line can be: give at least 101KiB",
            "or lower --max-line",
        ),
        (&[&["--output", "a", "--rotate-keep", "10000"], &rotates[..]].concat(), "--rotate-keep is 10000: ", "to 9999"),
        (&["--output", "a", "--disk-full", "drop-oldest"], "--disk-full drop-oldest removes rotated files", ""),
        (&["--output", "/x/{host}/../a"], "--output /x/{host}/../a: behind {host} and the like, name a file", ""),
        (&["--output", "{host}{host}"], "--output {host}{host}: {host} may stand once", ""),
        (&["--output", "a-{host}", "--host-files", "0"], "--host-files is 0: give a number from 1 to 65536", ""),
        (&["--output", "a", "--sync", "10ms"], "--sync 10ms: use never, interval", "such as 5s"),
        (&["--output", "a", "--output", "a"], "--output a is given twice", "give it once"),
        (
            &[&["--output", "/nowhere/a", "--output", "/nowhere/a.3"], &rotates[..]].concat(),
            "--output /nowhere/a and --output /nowhere/a.3 would both use /nowhere/a.3, a name of rotated files",
            "give one of them another name",
        ),
        (&["--output", "a", "--file-mode", "0440"], "--file-mode is 0440, by which the owner could not write", "0640"),
        (&["--output", "a", "--file-mode", "0000"], "--file-mode is 0000, by which the owner could not write", ""),
        (&["--output", "a", "--file-mode", "1640"], "--file-mode 1640: give octal digits", "such as 0660"),
        (&["--output", "a", "--file-mode", "rw"], "--file-mode rw: give octal digits", ""),
        (&["--file-mode", "0640"], "--file-mode is for files, and no --output names one", "leave it out"),
        (&["--output", "a", "--file-group", "no-such"], "--file-group no-such: there is no such group", "a number"),
        (&["--output", "a", "--file-group", ""], "--file-group (nothing): there is no such group", ""),
        (&["--output", "a", "--file-group", "4294967295"], "--file-group 4294967295: there is no such group", ""),
        (&["--file-group", "0"], "--file-group is for files, and no --output names one", ""),
        (&["--make-dirs"], "--make-dirs is for files, and no --output names one", ""),
        (&["--make-dirs=maybe", "--output", "a"], "--make-dirs maybe: use true or false", ""),
    ] {
        assert_sentence(&run(args), 2, begins, ends);
    }
}

#[test]
fn p13_two_outputs_that_are_one_file_are_one_sentence_and_exit_1() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::write(&path, "kept\n").unwrap();
    fs::hard_link(&path, dir.file("hard")).unwrap();
    symlink("app.log", dir.file("soft")).unwrap();
    fs::create_dir(dir.file("x")).unwrap();
    let folder = dir.path().display();
    let ended = run(&["--output", &path, "--output", &format!("{folder}/./app.log")]);
    assert_sentence(&ended, 2, &format!("--output {folder}/./app.log is given twice"), "give it once");
    // By their paths.
    for (one, other, meet) in [
        (path.clone(), format!("{folder}/x/../app.log"), "app.log"),
        (path.clone(), dir.file("soft"), "app.log"),
        (dir.file("{host}.log"), format!("{folder}/x/../{{host}}.log"), "1.2.3.4.log"),
    ] {
        let begins = format!("--output {one} and --output {other} would both use {folder}/{meet}");
        assert_sentence(&run(&["--output", &one, "--output", &other]), 2, &begins, "give one of them another name");
    }
    // By what is there.
    let hard = dir.file("hard");
    let ended = run(&["--output", &path, "--output", &hard]);
    assert_sentence(&ended, 1, &format!("cannot write to {hard}: another --output is the same file"), "");
    // Stdout that is redirected to it.
    let setup = Setup::new(&["--listen", "127.0.0.1:0", "--output", &path, "--output", "-"]);
    let ended = setup.redirect(&format!(">>'{path}'")).run();
    assert_sentence(&ended, 1, "cannot use stdout: another --output is the same file", "");
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept\n");
}

#[test]
fn p13_a_place_where_no_file_can_be_made_is_one_sentence_and_exit_1() {
    let dir = Dir::new();
    fs::write(dir.file("regular"), "").unwrap();
    for (path, middle) in [
        (dir.file("none/app.log"), "its directory does not exist; make it"),
        (dir.file("regular/app.log"), "a part of the path is no directory"),
        (dir.file("none/{host}.log"), "its directory does not exist; make it"),
    ] {
        for options in [&[][..], &["--rotate-size", "1MiB"]] {
            let ended = run(&[&["--output", &path], options].concat());
            assert_sentence(&ended, 1, &format!("cannot write to {path}: {middle}"), "with --output");
        }
    }
    let ended = run(&["--output", "/dev/null", "--rotate-size", "1MiB"]);
    assert_sentence(&ended, 1, "cannot write to /dev/null: it is no regular file, which --rotate-size", "");
}

#[test]
fn p13_a_pipe_fifo_or_terminal_named_twice_is_one_sentence_and_exit_1() {
    let dir = Dir::new();
    let (fifo, link) = (dir.file("fifo"), dir.file("hard"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::hard_link(&fifo, &link).unwrap();
    let ended = run(&["--output", &fifo, "--output", &link]);
    assert_sentence(&ended, 1, &format!("cannot write to {link}: another --output is the same file"), "");
    // Stdout that is a pipe.
    let ended = run(&["--output", "-", "--output", "/dev/stdout"]);
    assert_sentence(&ended, 1, "cannot write to /dev/stdout: another --output is the same file", "");
    // Stdout that is a terminal, which `script` makes.
    let said = dir.file("said");
    let command = format!("'{}' -l 127.0.0.1:0 -o - -o \"$(tty)\" 2>'{said}'; echo $? >>'{said}'", under_test());
    match output_of(Command::new("script").args(["-qec", &command, "/dev/null"])) {
        Err(error) => skip(&format!("script: {error}")),
        Ok(_) => {
            let said = fs::read_to_string(said).unwrap();
            assert!(said.contains(": another --output is the same file") && said.ends_with("\n1\n"), "{said}");
        }
    }
    // Any number may throw lines away.
    symlink("/dev/null", dir.file("null")).unwrap();
    let receiver = Receiver::start(&["--output", "/dev/null", "--output", &dir.file("null")]);
    receiver.stop().assert_clean();
}

#[test]
fn p13_a_path_that_two_would_use_is_one_sentence_and_exit_2() {
    let dir = Dir::new();
    let folder = dir.path().display();
    fs::create_dir(dir.file("real")).unwrap();
    symlink("real", dir.file("link")).unwrap();
    let (log, config) = (dir.file("app.log"), dir.file("app.conf"));
    fs::write(&config, "max-line = 1KiB\n").unwrap();
    let unix = |name: &str| format!("unix:{folder}/{name}");
    let rotates = ["--rotate-size", "1MiB"];
    for (args, names, meet) in [
        (&["--output", &log, "--listen", &unix("app.log.1")][..], ["--output", "--listen"], "app.log.1"),
        (&["--output", &log, "--listen", &unix("/./app.log.2")], ["--output", "--listen"], "app.log.2"),
        (&["--output", &log, "--listen", &unix("app.log.new")], ["--output", "--listen"], "app.log.new"),
        (&["--output", &log, "--listen", &unix("app.log.7.gz")], ["--output", "--listen"], "app.log.7.gz"),
        (&["--output", &dir.file("link/a"), "--listen", &unix("real/a.3")], ["--output", "--listen"], "real/a.3"),
        (&["--output", &dir.file("{host}"), "--listen", &unix("unix")], ["--output", "--listen"], "unix"),
        (&["--output", &log, "--output", &unix("app.log.3")], ["--output", "--output unix:"], "app.log.3"),
        (
            &["--output", &log, "--output", &unix("s"), "--output", &unix("real/../s")],
            ["--output unix:", "--output unix:"],
            "s",
        ),
        (
            &["--output", &dir.file("{host}.log"), "--output", &dir.file("10.0.0.1.log.3")],
            ["--output", "--output"],
            "10.0.0.1.log.3",
        ),
        (&["--output", &config, "--config", &config], ["--output", "--config"], "app.conf"),
    ] {
        let ended = run(&[args, &rotates].concat());
        assert_sentence(&ended, 2, names[0], "give one of them another name");
        assert!(ended.stderr.contains(&format!(" and {}", names[1])), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("would both use {folder}/{meet}")), "{}", ended.stderr);
        let checked = Setup::new(&[&["--check"], args, &rotates].concat()).run();
        assert_eq!(checked.code, Some(2), "--check says the same");
        assert_eq!(checked.stderr, ended.stderr);
    }
    let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["app.conf", "link", "real"], "nothing was made");
}

#[cfg(feature = "status")]
#[test]
fn p13_the_path_of_the_status_socket_is_nobody_elses() {
    let dir = Dir::new();
    let (log, at) = (dir.file("app.log"), format!("unix:{}/app.log.1", dir.path().display()));
    let begins = format!("--output {log} and --status {at} would both use ");
    let ended = run(&["--output", &log, "--rotate-size", "1MiB", "--status", &at]);
    assert_sentence(&ended, 2, &begins, "give one of them another name");
    let (one, other) = (format!("unix:{}", dir.file("s")), format!("unix:{}/s", dir.file("link")));
    symlink(".", dir.file("link")).unwrap();
    let ended = run(&["--listen", &one, "--status", &other]);
    assert_sentence(&ended, 2, &format!("--listen {one} and --status {other} would both use "), "another name");
}

#[cfg(feature = "nats")]
#[test]
fn p13_an_output_that_reads_like_something_else_is_one_sentence_and_exit_2() {
    for (text, end) in [
        ("tcp://127.0.0.1:514", "write tcp:127.0.0.1:514"),
        ("udp:192.0.2.1:514", "udp: is not served: write tcp:HOST:PORT, unix:/path or a file"),
        ("syslog:", "syslog: is not served"),
        (
            "plant.log,ca=ca.pem",
            "options of TLS stand behind tcp+tls:HOST:PORT, and this is a file, or write ./plant.log,ca=",
        ),
        ("nats://gw:4222", "the subject is missing"),
        ("ftp://gw/", "ftp: is not served"),
        ("127.0.0.1:514", "it reads like an address: write tcp:127.0.0.1:514"),
        ("/log/%Y.log", "% is taken as it is"),
        ("tcp", "write tcp:HOST:PORT, or write ./tcp for a file of that name"),
        ("unix", "write unix:/path, or write ./unix for a file of that name"),
        ("{host", "{ is taken as it is"),
        (
            "{{host}}.log",
            if cfg!(feature = "tls") {
                "{{ is taken as it is: only {date}, {host}, {app}, {severity}, {facility}, {name} are replaced, and in single braces"
            } else {
                "{{ is taken as it is: only {date}, {host}, {app}, {severity}, {facility} are replaced, and in single braces"
            },
        ),
        ("&1", "write -, or write ./&1 for a file of that name"),
        ("--", "it reads like an option: name a file, or - for stdout"),
        ("-x", "it reads like an option: "),
        ("tcp:127.0.0.1:+514", "the port is a number from 1 to 65535"),
        ("127.0.0.1  514", "it reads like an address: write tcp:127.0.0.1:514"),
        ("fd:3", "write /dev/fd/3 for a descriptor that is open; sockets to listen on come by LISTEN_FDS"),
        ("unix:rel.sock", "a Unix socket needs an absolute path"),
        ("“a.log”", "quotes would be part of the value"),
    ] {
        assert_sentence(&run(&["--output", text]), 2, &format!("--output {text}: {end}"), "");
    }
    assert_sentence(&run(&["--output", "--tag", "x"]), 2, "--output needs a value, and --tag reads like an option", "");
    let dir = Dir::new();
    for name in ["tcp:x", "udp:192.0.2.1:514", "%Y.log", "{host", "tcp", "&1", "--", "127.0.0.1  514"] {
        let before = format!("cd '{}';", dir.path().display());
        let receiver = Setup::new(&["--output", &format!("./{name}")]).before(&before).start();
        receiver.client().write_all(b"line\n").unwrap();
        receiver.stop().assert_clean();
        assert_eq!(fs::read_to_string(dir.file(name)).unwrap(), "line\n");
    }
}

#[test]
fn p13_a_place_where_nobody_can_connect_is_one_sentence_and_exit_2() {
    for (at, end) in [
        ("224.0.0.1:0", "nobody can connect to a group: give an address of this machine, or 0.0.0.0 for all"),
        ("[ff02::1]:0", "nobody can connect to a group"),
        ("fd:3", "sockets that somebody else has opened come by LISTEN_FDS"),
        ("127.0.0.1  0", "that is more than one, or has spaces in it: write ADDR:PORT"),
    ] {
        assert_sentence(&Setup::new(&["--listen", at]).run(), 2, &format!("--listen {at}: {end}"), "");
    }
}

/// What `--output fd:3` is told to be.
#[test]
fn an_open_descriptor_is_written_by_its_path() {
    let dir = Dir::new();
    let redirect = format!("3>>'{}'", dir.file("log"));
    let receiver = Setup::new(&["--output", "/dev/fd/3"]).redirect(&redirect).start();
    receiver.client().write_all(b"line\n").unwrap();
    receiver.stop().assert_clean();
    assert_eq!(fs::read_to_string(dir.file("log")).unwrap(), "line\n");
}

/// Runs it, and `--check` too, in a name space in which a shell has run `commands` first. None, and a word, where nothing
/// can be mounted.
fn run_among_mounts(commands: &str, args: &[&str]) -> Option<[Ended; 2]> {
    let script = format!("{commands} && exec \"$0\" \"$@\"");
    let inside = |program: &str, args: &[&str]| {
        let mut command = Command::new("unshare");
        output_of(command.args(["--mount", "--map-root-user", "sh", "-c", &script, program]).args(args))
    };
    if inside("true", &[]).map_or(true, |output| !output.status.success()) {
        not_here("nothing can be mounted here");
        return None;
    }
    let run = |args: &[&str]| {
        let output = inside(&under_test(), args).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ended { code: output.status.code(), stderr, output: output.stdout }
    };
    Some([run(args), run(&[&["--check"], args].concat())])
}

/// Docker's `-v ./host.log:/c/app.log`.
#[test]
fn p13_a_file_that_is_mounted_on_its_own_can_not_be_rotated_which_is_said_at_the_start() {
    let dir = Dir::new();
    fs::write(dir.file("host.log"), "kept\n").unwrap();
    fs::create_dir(dir.file("c d")).unwrap();
    let path = dir.file("c d/app.log");
    fs::write(&path, "").unwrap();
    let mount = format!("mount --bind '{}' '{path}'", dir.file("host.log"));
    // The usual read-only root of such a container.
    let folder = dir.file("c d");
    let locked = format!("mount --bind '{folder}' '{folder}' && mount -o remount,ro,bind '{folder}' && {mount}");
    for commands in [mount, locked] {
        let args = ["--listen", "127.0.0.1:0", "--output", &path, "--rotate-size", "200KiB"];
        let Some([ended, checked]) = run_among_mounts(&commands, &args) else { return };
        let begins =
            format!("cannot write to {path}: it is mounted on its own and can't be renamed, which --rotate-size");
        assert_sentence(&ended, 1, &begins, "with --output");
        assert_eq!((checked.code, &checked.stderr), (Some(2), &ended.stderr), "--check says the same");
    }
    assert_eq!(fs::read_to_string(dir.file("host.log")).unwrap(), "kept\n");
}

/// A reboot must not turn what was a warning into no log.
#[test]
fn a_name_in_the_way_of_rotating_is_a_warning_at_the_start_and_fails_the_check() {
    for (name, taken) in [
        ("app.log", "app.log.1"),
        ("app.log", "app.log.5"),
        ("app.log", "app.log.2.gz"),
        ("app.log", "app.log.new"),
        ("{host}.log", "127.0.0.1.log.2"),
        ("{host}.log", "127.0.0.1.log.70"),
        ("{host}.log", "other.log.new"),
        ("{host}.log", "10.0.0.9.log"),
    ] {
        let dir = Dir::new();
        let (output, path) = (dir.file(name), dir.file(&name.replace("{host}", "127.0.0.1")));
        fs::create_dir(dir.file(taken)).unwrap();
        let args = ["--output", &output, "--rotate-size", "1MiB"];
        let checked = Setup::new(&[&["--check"], &args[..]].concat()).run();
        let wanted = format!("lumberjack: {output}: {} is a directory, so that ", dir.file(taken));
        assert_eq!(checked.code, Some(2), "{name}, {taken}");
        assert!(checked.stderr.starts_with(&wanted), "{taken}: {}", checked.stderr);
        let receiver = Receiver::start(&args);
        receiver.until_said(&format!("{} is a directory, so that ", dir.file(taken)));
        receiver.client().write_all(b"line\n").unwrap();
        receiver.stop().assert_clean();
        assert_eq!(fs::read_to_string(path).unwrap(), "line\n", "{taken}");
    }
}

/// A file that may be written, in a directory that may not: it could never be rotated, and all clients would wait then.
#[test]
fn p13_a_directory_in_which_nothing_can_be_rotated_is_one_sentence_and_exit_1() {
    let dir = Dir::new();
    let (locked, path) = (dir.file("locked"), dir.file("locked/app.log"));
    fs::create_dir(&locked).unwrap();
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    let Some(run) = somebody_else(&dir, &locked) else { return };
    for (output, options) in [(path.clone(), &["--rotate-size", "1MiB"][..]), (dir.file("locked/{host}.log"), &[])] {
        let args = [&["--listen", "127.0.0.1:0", "--output", &output], options].concat();
        let begins = format!("cannot write to {output}: no file can be made in {locked}, which --rotate-size, ");
        let ended = run(&args);
        assert_sentence(&ended, 1, &begins, "with --output");
        let checked = run(&[&["--check"], &args[..]].concat());
        assert_eq!((checked.code, checked.stderr), (Some(2), ended.stderr), "--check says the same");
    }
    // Without rotation the file is all that has to be written.
    let checked = run(&["--check", "--output", &path]);
    assert_eq!((checked.code, &*checked.stderr), (Some(0), ""));
    // One that is not there has to be made.
    let new = dir.file("locked/new.log");
    let ended = run(&["--listen", "127.0.0.1:0", "--output", &new]);
    assert_sentence(&ended, 1, &format!("cannot write to {new}: no permission; change"), "with --output");
    let checked = run(&["--check", "--output", &new]);
    assert_eq!((checked.code, checked.stderr), (Some(2), ended.stderr), "--check says the same");
}
