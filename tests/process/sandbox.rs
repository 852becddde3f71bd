//! The process confines itself, and gives up root (P35): what it may still do, what it can't, and what is said of that.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use crate::common::skip::not_here;
use crate::support::conditions::{Dir, text, until, until_equal};
use crate::support::mounts::Mounts;
use crate::support::receiver::{Ended, Receiver, Setup, is_emulated};
use crate::support::somebody::somebody_else;

/// Whether the kernel of these tests confines the process; a word if not.
fn is_confined_here() -> bool {
    if is_emulated() {
        not_here("qemu-user hands neither Landlock nor seccomp on to the kernel");
        return false;
    }
    let said = String::from_utf8(Setup::new(&["--check"]).run().output).unwrap();
    let is_whole = said.contains("# sandbox: Landlock ABI") && said.contains("seccomp (");
    if !is_whole {
        not_here(&format!("this kernel confines nobody wholly: {said}"));
    }
    is_whole
}

/// What the kernel says of a process under this name.
fn status_of(receiver: &Receiver, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", receiver.guard.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn assert_refused(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("lumberjack: ") && words.iter().all(|word| last.contains(word)), "{last}");
}

#[test]
fn p35_a_running_process_is_confined_unless_that_is_off() {
    if !is_confined_here() {
        return;
    }
    let dir = Dir::new();
    let path = dir.file("app.log");
    let mut capabilities = Vec::new();
    for (asked, no_new_privs, filters) in
        [(&[][..], "1", "2"), (&["--sandbox", "require"], "1", "2"), (&["--sandbox", "off"], "0", "0")]
    {
        let receiver = Setup::new(&[&["--output", &path], asked].concat()).by_default().start();
        assert_eq!(
            (status_of(&receiver, "NoNewPrivs"), status_of(&receiver, "Seccomp")),
            (no_new_privs.to_owned(), filters.to_owned()),
            "{asked:?}"
        );
        capabilities.push((asked, ["CapEff", "CapPrm", "CapInh"].map(|name| status_of(&receiver, name))));
        assert_eq!(receiver.said().contains("[sandbox] Landlock ABI "), filters == "2", "{}", receiver.said());
        receiver.client().write_all(b"a line\n").unwrap();
        until_equal("the line", &"a line\n".to_owned(), || text(&path));
        receiver.stop().assert_clean();
        fs::remove_file(&path).unwrap();
    }
    // Of root: CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, NET_BIND_SERVICE.
    let (_, all) = capabilities.pop().unwrap();
    let kept = all.map(|all| format!("{:016x}", u64::from_str_radix(&all, 16).unwrap() & 0x40f));
    for (asked, had) in capabilities {
        assert_eq!(had, kept, "{asked:?}");
    }
}

#[test]
fn p35_a_file_outside_its_directories_is_neither_made_nor_written_and_that_is_said() {
    if !is_confined_here() {
        return;
    }
    let (dir, elsewhere) = (Dir::new(), Dir::new());
    let (path, outside) = (dir.file("app.log"), elsewhere.file("victim"));
    fs::write(&outside, "precious").unwrap();
    let receiver = Receiver::start(&["--output", &path, "--sandbox", "require"]);
    let mut client = receiver.client();
    client.write_all(b"one\n").unwrap();
    until_equal("the line", &"one\n".to_owned(), || text(&path));
    for target in [&outside, &elsewhere.file("new")] {
        fs::remove_file(&path).unwrap();
        symlink(target, &path).unwrap();
        receiver.signal("HUP");
        receiver
            .until_said("Permission denied (os error 13); --sandbox reaches only what was there at the start: restart");
    }
    client.write_all(b"two\n").unwrap();
    fs::remove_file(&path).unwrap();
    receiver.signal("HUP");
    // It waited, and is lost nowhere.
    until("the second line", || if text(&path).ends_with("two\n") { Ok(()) } else { Err(receiver.said()) });
    receiver.stop().assert_clean();
    assert_eq!(text(&outside), "precious");
    assert!(!Path::new(&elsewhere.file("new")).exists());
}

#[test]
fn p35_an_output_that_a_reload_names_is_not_opened() {
    let (dir, elsewhere) = (Dir::new(), Dir::new());
    let (conf, path, new) = (dir.file("lumberjack.conf"), dir.file("app.log"), elsewhere.file("new.log"));
    fs::write(&conf, format!("output = {path}\n")).unwrap();
    let receiver = Receiver::start(&["--config", &conf]);
    // As an editor does it: another file gets the name.
    fs::write(dir.file("edited"), format!("output = {path}\noutput = {new}\nlog-level = debug\n")).unwrap();
    fs::rename(dir.file("edited"), &conf).unwrap();
    receiver.signal("HUP");
    receiver.until_said("that needs a restart");
    receiver.until_said("log-level is debug, was info");
    receiver.stop().assert_clean();
    assert!(!Path::new(&new).exists());
}

#[test]
fn p35_a_directory_that_is_made_anew_is_reached_by_default_and_with_require_that_is_said() {
    if !is_confined_here() {
        return;
    }
    for (asked, is_reached) in [(&[][..], true), (&["--sandbox", "require"], false)] {
        let dir = Dir::new();
        let (folder, path) = (dir.file("logs"), dir.file("logs/app.log"));
        fs::create_dir(&folder).unwrap();
        let receiver = Setup::new(&[&["--output", &path], asked].concat()).by_default().start();
        let mut client = receiver.client();
        client.write_all(b"one\n").unwrap();
        until_equal("the first line", &"one\n".to_owned(), || text(&path));
        fs::remove_dir_all(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        receiver.signal("HUP");
        client.write_all(b"two\n").unwrap();
        if is_reached {
            until_equal("the second line", &"two\n".to_owned(), || text(&path));
            receiver.stop().assert_clean();
        } else {
            receiver.until_said("--sandbox reaches only what was there at the start: restart");
            assert!(!Path::new(&path).exists());
        }
    }
}

/// Waits until a reload has read this.
#[track_caller]
fn until_reloaded(receiver: &Receiver, level: &str) {
    let words = format!("log-level is {level}, was ");
    let so_often = || receiver.said().matches(&words).count();
    let before = so_often();
    receiver.signal("HUP");
    until("it has read the file again", || if so_often() > before { Ok(()) } else { Err(receiver.said()) });
}

#[test]
fn p35_links_that_are_switched_and_directories_made_anew_are_reached_by_default() {
    if !is_confined_here() {
        return;
    }
    let dir = Dir::new();
    // As a deployment has it: what is in force is a link.
    let conf = |release: &str, level: &str| {
        fs::create_dir_all(dir.file(&format!("{release}/etc"))).unwrap();
        fs::create_dir_all(dir.file(&format!("{release}/logs"))).unwrap();
        let text = format!("output = {}\nlog-level = {level}\n", dir.file("app/cur/logs/app.log"));
        fs::write(dir.file(&format!("{release}/etc/lumberjack.conf")), text).unwrap();
    };
    let switch = |link: &str, to: &str| {
        symlink(to, dir.file("new")).unwrap();
        fs::rename(dir.file("new"), dir.file(link)).unwrap();
    };
    fs::create_dir(dir.file("app")).unwrap();
    conf("elsewhere/rel/1", "info");
    switch("app/cur", "first");
    switch("app/first", &dir.file("elsewhere/rel/1"));
    let receiver = Setup::new(&["--config", &dir.file("app/cur/etc/lumberjack.conf")]).by_default().start();
    let mut client = receiver.client();
    // The target's neighbour, by the inner link and by the outer one; another place beside the links; and all of it made anew.
    for (at, link, to, level) in [
        ("elsewhere/rel/2", "app/first", dir.file("elsewhere/rel/2"), "debug"),
        ("elsewhere/rel/3", "app/cur", dir.file("elsewhere/rel/3"), "info"),
        ("app/rel/4", "app/cur", "rel/4".to_owned(), "debug"),
        ("app/rel/4", "app/cur", "rel/4".to_owned(), "info"),
    ] {
        if fs::exists(dir.file(at)).unwrap() {
            fs::remove_dir_all(dir.file(at)).unwrap();
        }
        conf(at, level);
        switch(link, &to);
        until_reloaded(&receiver, level);
        let file = dir.file(&format!("{at}/logs/app.log"));
        until("the file is there", || if fs::exists(&file).unwrap() { Ok(()) } else { Err(receiver.said()) });
        client.write_all(b"a line\n").unwrap();
        until_equal("the line", &"a line\n".to_owned(), || text(&file));
    }
    receiver.stop().assert_clean();
}

#[test]
fn p35_a_config_files_directory_that_is_made_anew_is_reached_by_default() {
    let dir = Dir::new();
    let conf = dir.file("conf/lumberjack.conf");
    fs::create_dir(dir.file("conf")).unwrap();
    fs::write(&conf, "").unwrap();
    let receiver = Setup::new(&["--config", &conf]).by_default().start();
    fs::remove_dir_all(dir.file("conf")).unwrap();
    fs::create_dir(dir.file("conf")).unwrap();
    fs::write(&conf, "log-level = debug").unwrap();
    until_reloaded(&receiver, "debug");
    receiver.stop().assert_clean();
}

#[cfg(feature = "tls")]
#[test]
fn p35_a_certificate_that_is_out_of_reach_is_said_to_be_so() {
    if !is_confined_here() {
        return;
    }
    let (dir, elsewhere) = (Dir::new(), Dir::new());
    let (certs, others) = [&dir, &elsewhere].map(|dir| crate::common::certs::Certs::new(dir.path())).into();
    let [cert, key] = ["server.pem", "server.key"].map(|name| certs.path(name));
    let at = format!("127.0.0.1:0,tls,cert={},key={}", cert.display(), key.display());
    let receiver = Setup::new(&["--listen", &at, "--sandbox", "require"]).start();
    fs::remove_file(&cert).unwrap();
    symlink(others.path("server.pem"), &cert).unwrap();
    receiver.signal("HUP");
    receiver.until_said("Permission denied (os error 13); --sandbox reaches only what was there at the start: restart");
    receiver.stop().assert_clean();
}

#[test]
fn p35_what_can_not_be_confined_is_refused_with_require_and_said_otherwise() {
    if !is_confined_here() || !Path::new("/etc").metadata().is_ok_and(|found| found.uid() == 0) {
        return;
    }
    let conf = format!("/etc/lumberjack-process-{}.conf", std::process::id());
    if fs::write(&conf, "").is_err() {
        return not_here("only root can make files in /etc");
    }
    let wide = Setup::new(&["--config", &conf, "--sandbox", "require", "--listen", "127.0.0.1:0"]).run();
    let checked = Setup::new(&["--check", "--config", &conf, "--sandbox", "require"]).run();
    let receiver = Setup::new(&["--config", &conf]).by_default().start();
    let said = receiver.said();
    receiver.stop().assert_clean();
    fs::remove_file(&conf).unwrap();
    let words = ["--config /etc/lumberjack-process-", "is directly in /etc", "put it into a directory of its own"];
    assert_refused(&wide, 1, &words);
    assert_refused(&checked, 2, &words);
    assert!(said.contains("can't be read again until a restart"), "{said}");
    // As an output: no file is made that could be in the way.
    let output = format!("/usr/lumberjack-process-{}.log", std::process::id());
    let refused = Setup::new(&["--output", &output, "--sandbox", "require", "--listen", "127.0.0.1:0"]).run();
    assert!(!Path::new(&output).exists(), "what is refused makes nothing");
    assert_refused(&refused, 1, &["--output /usr/lumberjack-process-", "is in /usr", "--sandbox auto"]);
}

#[test]
fn p35_a_pipe_without_a_name_needs_no_place() {
    if !is_confined_here() {
        return;
    }
    let receiver = Setup::new(&["--output", "/dev/stdout", "--sandbox", "require"]).start();
    receiver.client().write_all(b"a line\n").unwrap();
    receiver.until_lines(&["a line"]);
    receiver.signal("HUP");
    receiver.client().write_all(b"another\n").unwrap();
    receiver.until_lines(&["a line", "another"]);
    receiver.stop().assert_clean();
}

#[test]
fn p35_mistakes_are_sentences() {
    for (args, words) in [
        (&["--sandbox", "on"][..], &["--sandbox on: use one of auto, off, require, kill"][..]),
        (&["--user", "nobdy"], &["--user nobdy: there is no such user in /etc/passwd: did you mean nobody?"]),
        (&["--user", "root"], &["--user root: this is root, who gives up nothing so"]),
        (&["--user", "65534"], &["--user 65534: there is no such user in /etc/passwd"]),
    ] {
        assert_refused(&Setup::new(args).run(), 2, words);
    }
}

#[cfg(feature = "tls")]
#[test]
fn p35_what_a_files_mode_forbids_is_not_put_down_to_the_sandbox() {
    if !is_root() || !is_confined_here() {
        return;
    }
    let dir = dir_of_nobody();
    let certs = crate::common::certs::Certs::new(dir.path());
    let [cert, key] = ["server.pem", "server.key"].map(|name| certs.path(name));
    for one in [cert.parent().unwrap(), &cert, &key] {
        chown(one, Some(65534), Some(65534)).unwrap();
    }
    let (conf, path) = (dir.file("lumberjack.conf"), dir.file("app.log"));
    fs::write(&conf, "log-level = info\n").unwrap();
    let at = format!("127.0.0.1:0,tls,cert={},key={}", cert.display(), key.display());
    let args = ["--listen", &at, "--output", &path, "--config", &conf, "--user", "nobody"];
    let receiver = Setup::new(&args).by_default().start();
    until("the log", || if Path::new(&path).exists() { Ok(()) } else { Err(receiver.said()) });
    // As root renews a key, edits a file and makes a log, with `umask 077`.
    for (place, text) in [(key.to_str().unwrap(), fs::read(&key).unwrap()), (&conf, Vec::new()), (&path, Vec::new())] {
        let new = dir.file("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(&new, place).unwrap();
    }
    receiver.signal("HUP");
    receiver.until_said("app.log");
    receiver.until_said("lumberjack.conf");
    receiver.until_said("server.key: Permission denied (os error 13): let the user that this runs as read it");
    assert!(!receiver.said().contains("--sandbox reaches"), "{}", receiver.said());
}

/// Whether this is root, who can become `nobody`; a word if not.
fn is_root() -> bool {
    let is_root = fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0);
    if !is_root || !text("/etc/passwd").contains("nobody:x:65534:") {
        not_here("only root can become nobody, who is number 65534");
        return false;
    }
    is_root
}

/// A directory of nobody's own.
fn dir_of_nobody() -> Dir {
    let dir = Dir::new();
    chown(dir.path(), Some(65534), Some(65534)).unwrap();
    dir
}

#[test]
fn p35_root_binds_and_becomes_a_user_before_any_file_is_opened() {
    if !is_root() {
        return;
    }
    let dir = dir_of_nobody();
    let (path, sock) = (dir.file("app.log"), dir.file("sock"));
    let pid = std::process::id();
    let low = format!("127.{}.{}.1:514", 64 + pid / 250 % 60, pid % 250);
    let unix = format!("unix:{sock}");
    let receiver =
        Receiver::start(&["--listen", &low, "--listen", &unix, "--output", &path, "--user", "nobody", "--make-dirs"]);
    assert_eq!(receiver.addr.to_string(), low);
    let three = ["Uid", "Gid"].map(|name| status_of(&receiver, name));
    assert_eq!(three, ["65534 65534 65534 65534", "65534 65534 65534 65534"]);
    assert!(status_of(&receiver, "Groups").split(' ').all(|group| group == "65534"));
    assert_eq!(status_of(&receiver, "CapEff"), "0000000000000000");
    receiver.client().write_all(b"a line\n").unwrap();
    until_equal("the line", &"a line\n".to_owned(), || text(&path));
    assert_eq!(fs::metadata(&path).unwrap().uid(), 65534);
    assert_eq!(fs::symlink_metadata(&sock).unwrap().uid(), 65534);
    receiver.stop().assert_clean();
    assert!(!Path::new(&sock).exists(), "its file goes with it");
}

#[test]
fn p35_root_makes_and_changes_no_file_for_a_user_where_the_user_could_not() {
    if !is_root() {
        return;
    }
    let roots = Dir::new();
    fs::set_permissions(roots.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (sock, victim) = (roots.file("sock"), roots.file("victim"));
    fs::write(&victim, "precious").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    let dir = dir_of_nobody();
    symlink(&victim, dir.file("link")).unwrap();
    let user = ["--listen", "127.0.0.1:0", "--user", "nobody"];
    let (in_roots, at_link) = (format!("unix:{sock}"), format!("unix:{}", dir.file("link")));
    for args in [
        ["--listen", &in_roots],
        ["--listen", &at_link],
        #[cfg(feature = "status")]
        ["--status", &in_roots],
        #[cfg(feature = "status")]
        ["--status", &at_link],
    ] {
        let ended = Setup::new(&[&user[..], &args].concat()).run();
        assert_refused(&ended, 1, &[args[1].trim_start_matches("unix:")]);
        assert!(fs::symlink_metadata(&sock).is_err(), "{args:?}");
        let found = fs::metadata(&victim).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o600), "{args:?}");
    }
}

#[test]
fn p35_what_only_root_may_read_or_write_fails_at_the_start() {
    if !is_root() {
        return;
    }
    let dir = dir_of_nobody();
    let secret = dir.file("secret");
    fs::write(&secret, "").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let roots = Dir::new();
    fs::set_permissions(roots.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output = roots.file("app.log");
    let user = ["--listen", "127.0.0.1:0", "--user", "nobody"];
    for (args, words) in [
        (
            &["--config", secret.as_str()][..],
            &["--config ", "--user nobody can't read it again (Permission denied"][..],
        ),
        (&["--output", &output], &["cannot write to ", "no permission"]),
        #[cfg(feature = "push")]
        (&["--output", "loki+http://127.0.0.1:9/", "--http-auth", &secret], &["secret", "Permission denied"]),
    ] {
        assert_refused(&Setup::new(&[&user, args].concat()).run(), 1, words);
        let checked = Setup::new(&[&["--check"], &user[..], args].concat()).run();
        assert!(matches!(checked.code, Some(1 | 2)), "{args:?}: {checked:?}");
    }
}

#[test]
fn p35_who_is_not_root_stays_who_they_are() {
    let (dir, locked) = (Dir::new(), Dir::new());
    fs::set_permissions(locked.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let Some(run) = somebody_else(&dir, locked.path()) else { return };
    if !text("/etc/passwd").contains("daemon:x:") {
        return not_here("this box has no user named daemon");
    }
    assert_refused(
        &run(&["--listen", "127.0.0.1:0", "--user", "daemon"]),
        1,
        &["--user daemon: only root can become another"],
    );
    assert_refused(&run(&["--check", "--user", "daemon"]), 1, &["--user daemon: only root can become another"]);
    if is_root() {
        let checked = run(&["--check", "--user", "nobody"]);
        checked.assert_clean();
        assert!(checked.lines().iter().any(|line| line.starts_with("user = nobody # ")), "{:?}", checked.lines());
    }
}

/// A server of names that knows none. What was asked of it is heard by who has it.
fn nameless(at: &str) -> Option<std::net::UdpSocket> {
    let Ok(socket) = std::net::UdpSocket::bind(at) else {
        not_here("only root can be a server of names, and nobody else may be one at this address");
        return None;
    };
    socket.set_read_timeout(Some(crate::common::patience::PATIENCE)).unwrap();
    Some(socket)
}

/// Waits for a question, and answers that there is no such name.
fn answer(socket: &std::net::UdpSocket) -> std::io::Result<()> {
    let mut question = [0; 512];
    let (count, from) = socket.recv_from(&mut question)?;
    (question[2], question[3]) = (question[2] | 0x80, 3);
    socket.send_to(&question[..count], from).map(drop)
}

#[test]
fn p35_a_resolv_conf_that_is_replaced_behind_a_link_is_read_and_a_plain_one_of_root_is_said() {
    if !is_confined_here() || !is_root() {
        return;
    }
    let pid = std::process::id();
    let at = |last: u32| format!("127.{}.{}.{last}", 130 + pid / 250 % 60, pid % 250);
    let servers = [1, 2].map(|last| nameless(&format!("{}:53", at(last))));
    let [Some(first), Some(second)] = servers else { return };
    let conf = |last: u32| format!("nameserver {}\\noptions timeout:1 attempts:1\\n", at(last));
    for is_link in [true, false] {
        let place = if is_link { "run" } else { "etc" };
        let linked = if is_link { "ln -s \"$0/run/resolv.conf\" etc/resolv.conf;" } else { "" };
        let script = format!(
            "mkdir etc run; cp -a /etc/. etc/; rm -f etc/resolv.conf; printf '{}' >{place}/resolv.conf; {linked} mount --bind etc /etc",
            conf(1)
        );
        let Some(mounts) = Mounts::new(&script) else { return };
        // The file makes it run where these mounts are.
        let outputs = ["--output", "tcp:collector.example:4445", "--output", &mounts.file("app.log")];
        let receiver = Setup::new(&[&outputs[..], &["--sandbox", "require"]].concat()).start();
        // The others are files in any case, as they are here.
        let files = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"].into_iter().skip(usize::from(is_link));
        let files: Vec<&str> = files.filter(|file| Path::new(file).exists()).collect();
        let warning = format!(
            "once another file takes the place of {}, no name is looked up until a restart",
            files.join(" or ")
        );
        assert!(files.is_empty() || receiver.said().contains(&warning), "{}", receiver.said());
        answer(&first).unwrap();
        if is_link {
            let replaced = format!("printf '{}' >run/new; mv run/new run/resolv.conf", conf(2));
            assert!(mounts.run(&replaced));
            // Whoever is asked meanwhile.
            first.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
            second.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
            until("a question to the other server", || {
                let _ = answer(&first);
                answer(&second).map_err(|_| receiver.said())
            });
            first.set_read_timeout(Some(crate::common::patience::PATIENCE)).unwrap();
        }
    }
}
