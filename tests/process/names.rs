//! Names made of what syslog headers say (`{app}`, `{severity}`, `{facility}`, and `{host}` beside them): the right lines in
//! each file, none anywhere else, whatever a sender writes; and files bounded as those of hosts are.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::path::Path;

use super::disk::Tmpfs;
use super::errors::assert_sentence;
use crate::support::conditions::{Dir, assert_same, until, until_equal};
use crate::support::receiver::{Receiver, Setup, under_test};

/// Every file below a directory: its path from there, and what is in it.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(inside) = fs::read_to_string(&path) {
                files.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned(), inside);
            }
        }
    }
    files
}

fn files<const N: usize>(files: [(&str, &str); N]) -> BTreeMap<String, String> {
    files.into_iter().map(|(name, inside)| (name.to_owned(), inside.to_owned())).collect()
}

fn start(dir: &Dir, name: &str, options: &[&str]) -> Receiver {
    Receiver::start(&[&["--parse", "syslog", "--output", &dir.file(name)], options].concat())
}

fn send(receiver: &Receiver, lines: &[&str]) {
    receiver.client().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
}

/// A line with this header.
fn line(priority: u8, app: &str, message: &str) -> String {
    format!("<{priority}>1 2026-11-26T14:44:46Z gw-7 {app} - - - {message}")
}

#[test]
fn p1_each_line_is_once_and_in_order_in_the_file_of_what_it_says() {
    for (format, is_whole) in [("raw", true), ("json", false)] {
        let dir = Dir::new();
        let receiver = start(&dir, "{host}/{app}-{severity}.log", &["--format", format]);
        let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // Two clients at once, and lines that are cut anywhere.
        let mut clients = [receiver.client_from(1), receiver.client_from(2)];
        let mut bytes = [Vec::new(), Vec::new()];
        for number in 0..3000_u32 {
            let (app, [priority, severity]) = (
                [["cron", "sshd", "web"]][0][(number * number % 3) as usize],
                [[3, 0], [6, 1]][(number / 7 % 2) as usize],
            );
            for (host, bytes) in bytes.iter_mut().enumerate() {
                let line = line(priority, app, &format!("{number} of {host}"));
                let file = format!("127.0.0.{}/{app}-{}.log", host + 1, ["err", "info"][usize::from(severity)]);
                bytes.extend_from_slice(format!("{line}\n").as_bytes());
                wanted.entry(file).or_default().push(if is_whole { line } else { format!("{number} of {host}") });
            }
        }
        for at in (0..bytes[0].len()).step_by(977) {
            for (client, bytes) in clients.iter_mut().zip(&bytes) {
                client.write_all(bytes.get(at..(at + 977).min(bytes.len())).unwrap_or_default()).unwrap();
            }
        }
        drop(clients);
        let read = |(file, text): (String, String)| {
            let line = |line: &str| match line.split_once("\"line\":\"") {
                Some((_, message)) => message.trim_end_matches("\"}").to_owned(),
                None => line.to_owned(),
            };
            (file, text.lines().map(line).collect::<Vec<_>>())
        };
        let count = |files: &BTreeMap<String, Vec<String>>| files.values().map(Vec::len).sum::<usize>();
        until_equal("all lines", &6000, || count(&tree(dir.path()).into_iter().map(read).collect()));
        let found: BTreeMap<String, Vec<String>> = tree(dir.path()).into_iter().map(read).collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        assert!(found == wanted, "some line is in a wrong file, or not in its place");
        receiver.stop().assert_clean();
    }
}

#[test]
fn p15_what_a_sender_writes_leads_to_no_other_directory() {
    let dir = Dir::new();
    fs::create_dir(dir.file("logs")).unwrap();
    let long = "a".repeat(300);
    let fits = "b".repeat(48);
    let receiver = start(&dir, "logs/{app}", &["--rotate-size", "1MiB"]);
    let apps = [
        "../../etc/passwd",
        "-",
        &long,
        ".hidden",
        "-x",
        "..",
        "/etc/motd",
        &fits,
        "sshd.1",
        "sshd",
        "x.new",
        "%2e%2e",
    ];
    let lines: Vec<String> = apps.iter().map(|app| line(14, app, "x")).chain(["no header".to_owned()]).collect();
    send(&receiver, &lines.iter().map(|line| &**line).collect::<Vec<_>>());
    let none = [&*lines[1], &*lines[2], "no header"].map(|line| format!("{line}\n")).concat();
    let inside = |at: usize| format!("{}\n", lines[at]);
    let wanted = files([
        ("logs/_._.._etc_passwd", &inside(0)),
        ("logs/none", &none),
        ("logs/_hidden", &inside(3)),
        ("logs/_x", &inside(4)),
        ("logs/_.", &inside(5)),
        ("logs/_etc_motd", &inside(6)),
        (&*format!("logs/{fits}"), &inside(7)),
        ("logs/sshd_1", &inside(8)),
        ("logs/sshd", &inside(9)),
        ("logs/x_new", &inside(10)),
        ("logs/_2e_2e", &inside(11)),
    ]);
    until_equal("each in its file", &wanted, || tree(dir.path()));
    receiver.stop().assert_clean();
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn a_line_without_what_a_name_asks_for_is_in_the_file_of_none() {
    let dir = Dir::new();
    let args = ["--listen", "127.0.0.1:0,parse=syslog", "--listen", &*format!("unix:{}", dir.file("socket"))];
    let receiver =
        Receiver::start(&[&args[..], &["--output", &dir.file("x-{facility}.{severity}.{app}")], &[]].concat());
    send(&receiver, &["<0>x", "<191>Nov 16 09:01:02 ap su: y", "z"]);
    // A listener whose lines are not read as messages.
    let mut other = crate::common::patience::connect_unix(dir.file("socket")).unwrap();
    other.write_all(b"<0>1 - - app - - - w\n").unwrap();
    until_equal("all lines", &4, || tree(dir.path()).values().map(|text| text.lines().count()).sum::<usize>());
    let found = tree(dir.path());
    assert_eq!(found["x-kern.emerg.none"], "<0>x\n");
    assert_eq!(found["x-local7.debug.su"], "<191>Nov 16 09:01:02 ap su: y\n");
    let mut none: Vec<&str> = found["x-none.none.none"].lines().collect();
    none.sort_unstable();
    assert_eq!(none, ["<0>1 - - app - - - w", "z"]);
    receiver.stop().assert_clean();
}

#[test]
fn the_host_of_a_header_is_in_the_name_only_if_it_is_believed() {
    for (option, file) in [(None, "127.0.0.1-su"), (Some("--trust-host"), "gw-7-su")] {
        let dir = Dir::new();
        let receiver = start(&dir, "{host}-{app}", option.as_slice());
        send(&receiver, &[&line(14, "su", "x"), "<14>su: no host"]);
        let (with, without) = (format!("{}\n", line(14, "su", "x")), "<14>su: no host\n".to_owned());
        let wanted = match option {
            None => files([(file, &*with), ("127.0.0.1-none", &*without)]),
            Some(_) => files([(file, &*with), ("127.0.0.1-none", &*without)]),
        };
        until_equal("its file", &wanted, || tree(dir.path()));
        receiver.stop().assert_clean();
    }
}

#[test]
fn datagrams_go_to_the_file_of_what_they_say() {
    let dir = Dir::new();
    let receiver = start(&dir, "{app}.log", &["--listen", "127.0.0.1:0", "--listen", "udp:127.0.0.1:0"]);
    let said = receiver.said();
    let at = said.lines().find_map(|line| line.split_once("[udp] Listening on udp:")?.1.split(',').next());
    let at: SocketAddr = at.unwrap().trim().parse().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in ["<14>1 - - a - - - x", "<14>1 - - b - - - y", "<14>1 - - a - - - z\n", "w"] {
        socket.send_to(datagram.as_bytes(), at).unwrap();
    }
    let wanted = files([
        ("a.log", "<14>1 - - a - - - x\n<14>1 - - a - - - z\n"),
        ("b.log", "<14>1 - - b - - - y\n"),
        ("none.log", "w\n"),
    ]);
    until_equal("each in its file", &wanted, || tree(dir.path()));
    receiver.stop().assert_clean();
}

#[test]
fn p15_more_names_than_files_share_one_and_are_said_once_and_those_there_count() {
    let dir = Dir::new();
    let options = ["--host-files", "3"];
    let receiver = start(&dir, "{app}/{severity}.log", &options);
    for number in 0..50 {
        send(&receiver, &[&line(11, &format!("app{number}"), "x")]);
        // One after the other, so that it is known who comes first.
        until_equal("its line", &(number + 1), || tree(dir.path()).values().map(|text| text.lines().count()).sum());
    }
    let names = |dir: &Dir| tree(dir.path()).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&dir), ["app0/err.log", "app1/err.log", "app2/err.log", "other/other.log"]);
    receiver.until_said("[out] 3 names have a file: further ones share one; --host-files sets it");
    assert_eq!(receiver.said().matches("names have a file").count(), 1);
    receiver.stop().assert_clean();
    // After a restart the same have their files.
    let receiver = start(&dir, "{app}/{severity}.log", &options);
    send(&receiver, &[&line(11, "app7", "y"), &line(11, "app1", "y"), &line(12, "app1", "y")]);
    until_equal("three more", &53, || tree(dir.path()).values().map(|text| text.lines().count()).sum::<usize>());
    assert_eq!(names(&dir), ["app0/err.log", "app1/err.log", "app2/err.log", "other/other.log"]);
    assert_eq!(tree(dir.path())["app1/err.log"].lines().count(), 2);
    receiver.stop().assert_clean();
}

#[cfg(feature = "compress")]
#[test]
fn p15_each_name_has_rotated_files_of_its_own_which_are_compressed() {
    let dir = Dir::new();
    let options = ["--rotate-size", "8KiB", "--rotate-keep", "3", "--rotate-compress", "--max-line", "1KiB"];
    let receiver = start(&dir, "{host}/{app}", &options);
    let lines = |app: &str| (0..600).map(|number| line(14, app, &format!("{number:040}"))).collect::<Vec<_>>();
    let (a, b) = (lines("a"), lines("b.1"));
    let mixed: Vec<&str> = a.iter().zip(&b).flat_map(|(a, b)| [&**a, &**b]).collect();
    send(&receiver, &mixed);
    for (name, lines) in [("127.0.0.1/a", &a), ("127.0.0.1/b_1", &b)] {
        let whole = || {
            let output = std::process::Command::new(under_test()).args(["cat", &dir.file(name)]).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        until("its last line", || match whole().lines().last() == lines.last().map(|line| &**line) {
            true => Ok(()),
            false => Err(name.to_owned()),
        });
        until_equal("compressed", &true, || Path::new(&dir.file(&format!("{name}.3.gz"))).exists());
        let (whole, all) = (whole(), lines.join("\n") + "\n");
        assert!(whole.lines().count() > 200);
        assert_same(whole.as_bytes(), &all.as_bytes()[all.len() - whole.len()..]);
        assert!(!Path::new(&dir.file(&format!("{name}.4.gz"))).exists());
    }
    until_equal("no others", &8, || fs::read_dir(dir.file("127.0.0.1")).unwrap().count());
    receiver.stop().assert_clean();
}

#[test]
fn what_only_has_such_a_name_is_left_alone_until_lines_come_for_it() {
    let dir = Dir::new();
    for name in ["dpkg.log", "dpkg.log.7", "su.log.7", "su.log.2"] {
        fs::write(dir.file(name), "old\n").unwrap();
    }
    let receiver = start(&dir, "{app}.log", &["--rotate-size", "1MiB", "--rotate-keep", "5"]);
    send(&receiver, &["<14>su: x", "<14>1 - - su - - - new"]);
    let wanted = files([
        ("dpkg.log", "old\n"),
        ("dpkg.log.7", "old\n"),
        ("none.log", "<14>su: x\n"),
        ("su.log", "<14>1 - - su - - - new\n"),
        ("su.log.2", "old\n"),
    ]);
    until_equal("only that of the one which has lines is brought into order", &wanted, || tree(dir.path()));
    receiver.stop().assert_clean();
    assert_eq!(tree(dir.path()), wanted);
}

#[test]
fn receipt_comes_for_lines_of_several_files_and_not_for_one_that_can_not_be_written() {
    let dir = Dir::new();
    fs::create_dir_all(dir.file("bad.log")).unwrap();
    let receiver = start(&dir, "{app}.log", &["--receipt", "--sync", "100ms"]);
    let half_closed = |host: u8, lines: &[&str]| {
        let mut client = receiver.client_from(host);
        client.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client
    };
    let text = |mut client: std::net::TcpStream| {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        text
    };
    let (a, b, bad) = (line(14, "a", "1"), line(14, "b", "1"), line(14, "bad", "1"));
    assert_eq!(text(half_closed(1, &[&a, &b])), "2 lines\n");
    let waits = half_closed(66, &[&a, &bad, &b]);
    receiver.until_said("bad.log: is a directory; its senders wait, trying again");
    for _ in 0..20 {
        assert_eq!(text(half_closed(2, &[&b, &a])), "2 lines\n", "who sent nothing there does not wait");
    }
    // Another host's line for it waits as well, and that host alone.
    let waits_too = half_closed(67, &[&bad]);
    assert_eq!(text(half_closed(3, &[&b])), "1 lines\n");
    waits.set_nonblocking(true).unwrap();
    assert!((&waits).read(&mut [0; 9]).is_err(), "not yet");
    waits.set_nonblocking(false).unwrap();
    receiver.assert_rests("while a file can't be written");
    fs::remove_dir(dir.file("bad.log")).unwrap();
    assert_eq!((text(waits), text(waits_too)), ("3 lines\n".to_owned(), "1 lines\n".to_owned()));
    assert_eq!(fs::read_to_string(dir.file("bad.log")).unwrap(), format!("{bad}\n{bad}\n"));
    receiver.stop().assert_clean();
}

#[test]
fn p20_one_file_that_can_not_be_written_stops_nobody_who_sends_nothing_there() {
    let dir = Dir::new();
    fs::create_dir_all(dir.file("bad.log")).unwrap();
    let receiver = start(&dir, "{app}.log", &["--memory", "2MiB", "--max-line", "10KiB", "--max-buffer", "20KiB"]);
    let mut waits = receiver.client_from(66);
    let bad = line(14, "bad", &"x".repeat(900));
    waits.set_nonblocking(true).unwrap();
    let mut sent = Vec::new();
    let piece = format!("{bad}\n").repeat(64);
    // Until it is not read any more.
    let mut is_held_up = 0;
    while is_held_up < 20 {
        match waits.write(piece.as_bytes().get(sent.len() % piece.len()..).unwrap()) {
            Ok(count) => {
                sent.extend_from_slice(&piece.as_bytes()[sent.len() % piece.len()..][..count]);
                is_held_up = 0;
            }
            Err(_) => {
                is_held_up += 1;
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }
    let good: Vec<String> = (0..5000).map(|number| line(14, "good", &format!("{number:0500}"))).collect();
    let good: Vec<&str> = good.iter().map(|line| &**line).collect();
    send(&receiver, &good);
    let all = good.join("\n") + "\n";
    until_equal("all of the other", &all.len(), || fs::read(dir.file("good.log")).map_or(0, |text| text.len()));
    assert_same(&fs::read(dir.file("good.log")).unwrap(), all.as_bytes());
    fs::remove_dir(dir.file("bad.log")).unwrap();
    waits.set_nonblocking(false).unwrap();
    drop(waits);
    until_equal("what waited", &true, || {
        fs::metadata(dir.file("bad.log")).is_ok_and(|found| found.len() >= sent.len() as u64)
    });
    receiver.stop().assert_clean();
}

#[test]
fn a_signal_opens_all_of_them_anew_and_makes_directories_again() {
    let dir = Dir::new();
    let receiver = start(&dir, "logs-{severity}/{app}.log", &[]);
    send(&receiver, &[&line(11, "a", "1"), &line(14, "a", "1")]);
    until_equal("two files", &2, || tree(dir.path()).len());
    fs::rename(dir.file("logs-err"), dir.file("moved")).unwrap();
    receiver.signal("HUP");
    let inside = |number: u8, priority: u8| format!("{}\n", line(priority, "a", &number.to_string()));
    let moved = files([("logs-err/a.log", ""), ("logs-info/a.log", &inside(1, 14)), ("moved/a.log", &inside(1, 11))]);
    until_equal("a new one", &moved, || tree(dir.path()));
    send(&receiver, &[&line(11, "a", "2")]);
    let goes_on = files([
        ("logs-err/a.log", &inside(2, 11)),
        ("logs-info/a.log", &inside(1, 14)),
        ("moved/a.log", &inside(1, 11)),
    ]);
    until_equal("its line", &goes_on, || tree(dir.path()));
    receiver.stop().assert_clean();
}

#[test]
fn with_the_date_each_name_has_a_file_a_day_and_its_own_old_ones_go() {
    let dir = Dir::new();
    for name in
        ["su-2026-01-01.log", "su-2026-01-02.log", "su-2026-01-03.log", "cron-2026-01-01.log", "su-2026-13-01.log"]
    {
        fs::write(dir.file(name), "old\n").unwrap();
    }
    let receiver = start(&dir, "{app}-{date}.log", &["--rotate-keep", "2"]);
    send(&receiver, &[&line(11, "su", "1"), &line(11, "a-2026-01-01", "1")]);
    let today = || {
        let output = std::process::Command::new("date").arg("+%F").output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let (before, wanted) = (today(), |today: &str| {
        files([
            ("cron-2026-01-01.log", "old\n"),
            ("su-2026-13-01.log", "old\n"),
            ("su-2026-01-02.log", "old\n"),
            ("su-2026-01-03.log", "old\n"),
            (&*format!("su-{today}.log"), &*format!("{}\n", line(11, "su", "1"))),
            (&*format!("a-2026-01-01-{today}.log"), &*format!("{}\n", line(11, "a-2026-01-01", "1"))),
        ])
    });
    until("those of today, and the two newest before", || {
        let found = tree(dir.path());
        if [&before, &today()].iter().any(|today| found == wanted(today)) { Ok(()) } else { Err(format!("{found:?}")) }
    });
    receiver.stop().assert_clean();
}

#[test]
fn p13_on_a_full_disk_the_oldest_rotated_file_of_all_goes() {
    let Some(disk) = Tmpfs::mount("size=256k") else { return };
    let pattern = disk.file("{app}.log");
    let options = ["--rotate-size", "16KiB", "--rotate-keep", "9", "--max-line", "1KiB", "--disk-full", "drop-oldest"];
    let receiver = Receiver::start(&[&["--parse", "syslog", "--output", &pattern], &options[..]].concat());
    let lines = |app: &str| (0..700).map(|number| line(14, app, &format!("{number:060}"))).collect::<Vec<_>>();
    for app in ["a", "b", "c"] {
        let lines = lines(app);
        send(&receiver, &lines.iter().map(|line| &**line).collect::<Vec<_>>());
        let last = format!("{}\n", lines[699]);
        until_equal("its last line", &true, || {
            fs::read_to_string(disk.file(&format!("{app}.log"))).is_ok_and(|text| text.ends_with(&last))
        });
    }
    receiver.stop().assert_clean();
}

#[test]
fn p13_names_that_make_no_sense_are_a_sentence_and_exit_2() {
    let asks = "asks for what headers say, which nobody reads: add --parse syslog, or --listen ADDR:PORT,parse=syslog";
    for name in ["{app}.log", "/logs/{host}/{severity}.log", "x-{facility}-{date}"] {
        assert_sentence(&Setup::new(&["--output", name]).run(), 2, &format!("--output {name} {asks}"), "");
    }
    let syslog = ["--parse", "syslog"];
    for (args, begins) in [
        (&["--output", "{app}{app}"][..], "--output {app}{app}: {app} may stand once in a name"),
        (&["--output", "{app}/"], "--output {app}/: this is the name of a directory: name a file in it"),
        (&["--output", "{date}/{app}"], "--output {date}/{app}: {date} may stand once, in the file's name"),
        (
            &["--output", "{program}.log"],
            "--output {program}.log: {program} is taken as it is: only {date}, {host}, {app}, ",
        ),
        (&["--output", "tcp:{app}:514"], "--output tcp:{app}:514: nothing is replaced "),
        (&["--output", "unix:/run/{app}.sock"], "--output unix:/run/{app}.sock: {app} is taken as it is: nothing is "),
        (
            &["--output", "{app}.log", "--output", "sshd.log"],
            "--output {app}.log and --output sshd.log would both use ",
        ),
        (
            &["--output", "{host}/{app}.log", "--output", "unix/a.log"],
            "--output {host}/{app}.log and --output unix/a.log would",
        ),
        (&["--output", "{app}-{date}", "--rotate-size", "1MiB"], "--output {app}-{date} begins one file a day"),
    ] {
        assert_sentence(&Setup::new(&[&syslog[..], args].concat()).run(), 2, begins, "");
    }
    let cat = Setup::new(&["cat", "{app}.log"]).run();
    assert_sentence(&cat, 2, "cat {app}.log: these files are not one set; name one of them", "");
}

#[test]
fn check_shows_the_bound_of_such_files_and_what_is_in_their_way() {
    let dir = Dir::new();
    let output = dir.file("{host}/{app}.log");
    let args = [
        "--check",
        "--parse",
        "syslog",
        "--output",
        &output,
        "--rotate-size",
        "1MiB",
        "--rotate-keep",
        "1",
        "--host-files",
        "9",
    ];
    let ended = Setup::new(&args).run();
    let lines = ended.lines();
    assert!(lines.contains(&format!("output = {output} # flag")), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("# disk: 20480 KiB for ") || line.starts_with("# disk: 20 MiB for ")),
        "{lines:?}"
    );
    assert_eq!((ended.code, tree(dir.path()).len()), (Some(0), 0), "{}", ended.stderr);
    fs::create_dir_all(dir.file("1.2.3.4/su.log")).unwrap();
    let ended = Setup::new(&args).run();
    let path = dir.path().canonicalize().unwrap().join("1.2.3.4/su.log");
    let wanted = format!(
        "{output}: {} is a directory, so that no line that belongs there can be written: move that away",
        path.display()
    );
    assert!(ended.lines().contains(&format!("# Does not fit: {wanted}")), "{:?}", ended.lines());
    assert_eq!(ended.code, Some(2));
}
