//! `--check`: its output is the config file of what is in force, it opens and makes nothing, it says what does not fit,
//! and the memory that it names is held against a crowd that takes all it can.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use lumberjack::cli::options::{OPTIONS, Opt, Settings};
use lumberjack::cli::{Invocation, parse};

use crate::common::certs::Certs;
use crate::support::conditions::{Dir, may_open, until, until_equal, write_until_held_back};
use crate::support::receiver::{Ended, Receiver, Setup};

fn check(args: &[&str]) -> Ended {
    Setup::new(&[&["--check"], args].concat()).run()
}

/// Name, value and origin of each setting in the output; the rest has to be comments.
fn settings_in(ended: &Ended) -> Vec<(String, String, String)> {
    let is_setting = |line: &&String| !line.is_empty() && !line.starts_with('#');
    let part = |line: &String| {
        let (name, rest) = line.split_once(" = ")?;
        let (value, origin) = rest.split_once(" # ")?;
        Some((name.to_owned(), value.to_owned(), origin.to_owned()))
    };
    ended.lines().iter().filter(is_setting).map(|line| part(line).unwrap_or_else(|| panic!("{line:?}"))).collect()
}

fn without_origins(ended: &Ended) -> Vec<(String, String)> {
    settings_in(ended).into_iter().map(|(name, value, _)| (name, value)).collect()
}

fn origin_of(ended: &Ended, name: &str) -> String {
    settings_in(ended).into_iter().find(|(found, ..)| found == name).unwrap().2
}

/// What the program would run with.
fn settings(args: &[&str]) -> Settings {
    match parse(args.iter().map(OsString::from)) {
        // Whether it was given is all that is to differ.
        Ok(Invocation::Run(settings)) => Settings { is_memory_given: true, is_listen_given: true, ..*settings },
        other => panic!("{other:?}"),
    }
}

/// A value that is not the default: one of what the option says that it takes, unless only some of these fit together.
fn another_value(option: &Opt) -> &'static str {
    match (option.name, option.value) {
        // There is no other yet.
        ("framing", _) => "lines",
        // The last of its words can not be had under an emulator.
        ("sandbox", _) => "off",
        ("min-severity", _) => "warning",
        ("unix-mode", _) => "0660",
        ("output", _) => "/no/such/a \"b\"\\#c é.log",
        ("tag", _) => "gateway-7",
        ("allow", _) => "192.0.2.0/24,2001:db8::/32",
        ("deny", _) => "192.0.2.66",
        ("rate", _) => "200",
        ("burst", _) => "1000",
        ("file-mode", _) => "0604",
        ("file-group", _) => "root",
        ("sync", _) => "interval",
        ("max-line", _) => "3KiB",
        ("max-buffer", _) => "7001",
        // Beside `--on-stall drop` it is refused; it is turned on alone.
        ("receipt", _) => "off",
        ("memory", _) => "5000001",
        ("log-level", _) => "error",
        ("gather", _) => "15ms",
        ("status", _) => "127.0.0.1:4446",
        ("nats-create", _) => "off",
        ("poll", _) => "plc-7=http://192.0.2.7/log.txt",
        ("poll-max-response", _) => "64KiB",
        ("alert", _) => "out of memory",
        ("alert-url", _) => "http://192.0.2.8:8080/hook",
        // Files that have to be there: given below.
        ("poll-state" | "http-auth" | "tls-ca" | "tls-cert" | "tls-key", _) => "off",
        ("spool-size", _) => "16MiB",
        ("lag-alarm", _) => "10m",
        // These are about a store, and are given with one below.
        ("push-batch", _) => "1MiB",
        ("push-every", _) => "1s",
        ("push-seq", _) => "off",
        // Who that can be depends on who we are: `p35_who_is_not_root_stays_who_they_are`.
        ("user", _) => "off",
        (_, "") => "on",
        (_, "SIZE") => "3MiB",
        (_, "DURATION") => "1500ms",
        (_, value) if value.starts_with("NUMBER") => "17",
        // These need a spool or a stream, and are given with one below.
        ("spool" | "take-over" | "nats-creds", _) => "off",
        ("nats-stream" | "box" | "tls-server-name", _) => "",
        ("spool-full", _) => "wait",
        // The first word is the default everywhere.
        (name, value) => value.split('|').skip(1).last().unwrap_or_else(|| panic!("a value for --{name} is missing")),
    }
}

#[cfg(feature = "udp")]
#[test]
fn check_prints_a_config_file_that_leads_to_the_same_settings() {
    let dir = Dir::new();
    let path = dir.file("checked.conf");
    let mut args = vec!["--listen", "127.0.0.1:0", "--listen", "unix:/run/a b#c.sock", "--listen", "udp:[::]:0"];
    let own = OPTIONS[1..].iter().filter(|o| o.name != "push-header");
    let flags: Vec<(String, &str)> = own.map(|o| (format!("--{}", o.name), another_value(o))).collect();
    let flags: Vec<String> = flags.iter().map(|(flag, value)| format!("{flag}={value}")).collect();
    args.extend(flags.iter().map(String::as_str));
    let (spool, creds) = (format!("--spool={}", dir.file("spool")), format!("--nats-creds={}", dir.file("creds")));
    fs::write(dir.file("creds"), "token = secret").unwrap();
    fs::set_permissions(dir.file("creds"), fs::Permissions::from_mode(0o600)).unwrap();
    let place = ["--output=nats://192.0.2.7/logs.{box}", "--nats-stream=LOGS", "--nats-create=on", &creds, "--box=b1"];
    let id = format!("--take-over={}", "a5".repeat(16));
    let kept = [&spool, "--spool-size=32MiB", "--spool-full=drop-oldest", &id, "--lag-alarm=1m"];
    let auth = format!("--http-auth={}", dir.file("auth"));
    fs::write(dir.file("auth"), "192.0.2.7:80 user:password\n192.0.2.7:3100 bearer secret").unwrap();
    fs::set_permissions(dir.file("auth"), fs::Permissions::from_mode(0o600)).unwrap();
    let states = format!("--poll-state={}", dir.file("."));
    let polled = ["--poll=plc-7=http://192.0.2.7/log.txt", "--poll=b=http://[2001:db8::7]:8080/?n=1", &auth, &states];
    let beyond = [&place[..], &kept, &polled].concat();
    let (store, field) = ("--output=loki+http://192.0.2.7:3100/?a=b%20c", "--push-header=X-Scope-OrgID: plant-7");
    let pushed = [store, field, "--push-header=A: b", "--push-batch=2MiB", "--push-every=5s", "--push-seq=on", &auth];
    let certs = Certs::new(dir.path());
    let file = |name: &str| certs.text(name);
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let place = format!("--output=tcp+tls:[2001:db8::7]:6514,ca={ca},cert={cert},key={key},server-name=gw.example");
    let all = [format!("--tls-ca={ca}"), format!("--tls-cert={cert}"), format!("--tls-key={key}")];
    let mut secured = vec![place.as_str(), "--output=nats+tls-first://gw/logs", "--nats-stream=LOGS"];
    secured.extend(["--output=https://gw/in?a=b", "--format=json", "--tls-server-name=localhost"]);
    secured.extend(all.iter().map(String::as_str));
    let secured = if cfg!(feature = "tls") { &secured[..] } else { &[] };
    for args in [&args[..], &["--receipt"], &beyond, &pushed, secured, &[]] {
        let ended = check(args);
        ended.assert_clean();
        assert_eq!(ended.stderr, "");
        fs::write(&path, &ended.output).unwrap();
        let again = check(&["--config", &path]);
        again.assert_clean();
        assert_eq!(without_origins(&again), without_origins(&ended));
        let mut read = settings(&["--config", &path]);
        assert_eq!(read.config_file.take(), Some(path.clone()));
        assert_eq!(read, settings(args));
        for option in OPTIONS.iter().filter(|option| !option.values(&read).is_empty()) {
            assert!(settings_in(&ended).iter().any(|(name, ..)| name == option.name), "--{} is missing", option.name);
        }
    }
}

#[test]
fn check_says_where_each_setting_came_from() {
    let dir = Dir::new();
    let path = dir.file("some.conf");
    fs::write(&path, "# sizes\nmax-line = 4KiB\n\nmax-buffer = 1MiB\nlisten = [::1]:1\n").unwrap();
    let ended = check(&["--config", &path, "--max-line", "8KiB"]);
    ended.assert_clean();
    for (name, origin) in [
        ("max-line", "flag".to_owned()),
        ("max-buffer", format!("{path}:4")),
        ("listen", format!("{path}:5")),
        ("memory", "default".to_owned()),
    ] {
        assert_eq!(origin_of(&ended, name), origin, "{name}");
    }
    // Flags replace the file's list, and each of a list has its own origin.
    assert_eq!(origin_of(&check(&["--config", &path, "--listen", "[::1]:2"]), "listen"), "flag");
    assert_eq!(origin_of(&check(&[]), "listen"), "default");
    fs::write(&path, "listen = 127.0.0.1:1\n\nlisten = 127.0.0.1:2").unwrap();
    let listen = |at: &str, line: u32| ("listen".to_owned(), at.to_owned(), format!("{path}:{line}"));
    let wanted = [listen("127.0.0.1:1", 1), listen("127.0.0.1:2", 3)];
    assert_eq!(settings_in(&check(&["--config", &path]))[..2], wanted);
}

#[test]
fn check_opens_no_listener_and_makes_no_file() {
    let dir = Dir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, unix) = (taken.local_addr().unwrap().to_string(), format!("unix:{}", dir.file("sock")));
    let ended = check(&["--listen", &port, "--listen", &unix, "--output", &dir.file("app.log")]);
    ended.assert_clean();
    assert_eq!(ended.stderr, "", "it listens nowhere");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
    assert!(ended.lines().iter().any(|line| line.starts_with("# disk: ") && line.contains("app.log")));
}

#[cfg(feature = "compress")]
#[test]
fn the_file_that_is_being_compressed_is_counted() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    for (options, most) in [(&[][..], "3072 KiB"), (&["--rotate-compress"], "4096 KiB")] {
        let args = ["--output", &path, "--rotate-size", "1MiB", "--rotate-keep", "2"];
        let ended = check(&[&args, options].concat());
        ended.assert_clean();
        let wanted = format!("# disk: {most} for {path}");
        assert!(ended.lines().iter().any(|line| line.starts_with(&wanted)), "{options:?}: {:?}", ended.lines());
    }
}

/// Exit 2, and the sentence both in the output, as a comment, and on stderr.
fn assert_misfit(ended: &Ended, sentence: &str) -> String {
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches('\n').count(), 1, "one line: {:?}", ended.stderr);
    let said = ended.stderr.strip_prefix("lumberjack: ").unwrap().trim_end();
    assert!(said.contains(sentence), "{sentence:?} in {said:?}");
    assert!(ended.lines().contains(&format!("# Does not fit: {said}")), "{:?}", ended.lines());
    said.to_owned()
}

#[test]
fn check_of_what_does_not_fit_exits_2_with_a_sentence() {
    let ended = Setup::new(&["--check"]).before("ulimit -n 64;").run();
    assert_misfit(&ended, "--max-connections 1000 needs more than the 64 open files that this process may have");
    assert!(without_origins(&ended).contains(&("max-connections".into(), "47".into())), "{:?}", ended.lines());
    assert!(ended.lines().iter().any(|line| line.starts_with("# open files: 64 of 64")), "{:?}", ended.lines());

    let far_too_much = (usize::MAX / 3).to_string();
    let said = assert_misfit(&check(&["--memory", &far_too_much]), "of memory, and the box has ");
    // What the sentence says to do cures it.
    let cure = said.rsplit_once("lower --memory to ").unwrap().1;
    check(&["--memory", cure]).assert_clean();

    let dir = Dir::new();
    for name in ["a #b", "a ", "a\nb"] {
        let name = &dir.file(name);
        let ended = check(&["--output", name]);
        assert_misfit(&ended, &format!("--output {name:?} (flag): a config file can't hold this name"));
        assert!(settings_in(&ended).iter().all(|(name, ..)| name != "output"));
    }

    // What a start would end with.
    let missing = dir.file("none/app.log");
    assert_misfit(&check(&["--output", &missing]), &format!("cannot write to {missing}: its directory does not exist"));
    check(&["--output", &missing, "--make-dirs"]).assert_clean();
    let inside = dir.path().display().to_string();
    assert_misfit(&check(&["--output", &inside]), &format!("cannot write to {inside}: it is a directory"));
    assert_misfit(&check(&["--output", "/dev/null", "--rotate-size", "1MiB"]), "/dev/null: it is no regular file");
    assert!(!fs::exists(dir.file("none")).unwrap());
}

#[test]
fn check_counts_disk_and_compressing_only_of_what_is_a_file() {
    let dir = Dir::new();
    let (fifo, path) = (dir.file("fifo"), dir.file("app.log"));
    nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (output, grows) in [("/dev/null", false), (fifo.as_str(), false), (&path, true), ("-", true)] {
        let ended = check(&["--output", output]);
        ended.assert_clean();
        assert_eq!(
            ended.lines().iter().any(|line| line.starts_with("# disk: ")),
            grows,
            "{output}: {:?}",
            ended.lines()
        );
    }
    #[cfg(feature = "compress")]
    {
        let rotated = ["--output", &path, "--rotate-size", "1MiB"];
        let next = (0..6).flat_map(|number| ["--output".to_owned(), format!("unix:/run/next{number}.sock")]);
        let next: Vec<String> = next.collect();
        let next: Vec<&str> = next.iter().map(String::as_str).collect();
        let with_six_more = |options: &[&str]| {
            let [one, seven] = [&[][..], &next].map(|more| checked_kib(&[&rotated[..], more, options].concat()));
            seven - one
        };
        // What a run counts of itself differs by some pages, and MiB are shown: a thread's MiB for each would be six.
        let (plain, compressed) = (with_six_more(&[]), with_six_more(&["--rotate-compress"]));
        assert!(
            compressed < plain + 4 * 1024,
            "{compressed} KiB for six outputs that are no files, {plain} without compressing"
        );
    }
}

#[test]
fn p13_check_of_a_mistake_is_one_sentence_and_exit_2() {
    let dir = Dir::new();
    let path = dir.file("bad.conf");
    fs::write(&path, "check = true").unwrap();
    let long = format!("unix:/{}", "x".repeat(107));
    for (args, begins) in [
        (&["--max-line", "x"][..], "--max-line x: it does not start"),
        (&["--max-buffer", "1KiB"], "--max-buffer 1KiB is less than twice"),
        (&["--format", "json", "--memory", "2MiB"], "--memory 2MiB is too little for --max-line 100KiB in this format"),
        (&["--config", &path], &format!("{path}:1: check is for the command line only")),
        (&["--output", "app.log/"], "--output app.log/: this is the name of a directory: name a file in it"),
        (&["--listen", &long], &format!("--listen {long}: the path of a Unix socket has 107 bytes at most")),
        (&["--output", &long], &format!("--output {long}: the path of a Unix socket has 107 bytes at most")),
        (&["--chek"], "--chek is no option; did you mean --check?"),
    ] {
        let ended = check(args);
        assert_eq!((ended.code, &ended.output[..]), (Some(2), &b""[..]), "{args:?}");
        assert!(ended.stderr.starts_with(&format!("lumberjack: {begins}")), "{:?}", ended.stderr);
        assert_eq!(ended.stderr.matches('\n').count(), 1, "{:?}", ended.stderr);
    }
}

#[test]
fn a_burst_for_all_goes_with_the_rate_of_one() {
    check(&["--burst", "5", "--listen", "127.0.0.1:0,rate=3", "--listen", "127.0.0.1:0"]).assert_clean();
}

#[test]
fn p13_check_that_cannot_be_written_is_one_sentence_and_exit_1() {
    for (redirect, why) in
        [(">&-", "it is closed"), ("1</dev/null", "it is open to read only"), (">/dev/full", "No space left")]
    {
        let ended = Setup::new(&["--check"]).redirect(redirect).run();
        assert_eq!(ended.code, Some(1), "{redirect}: {}", ended.stderr);
        assert!(ended.stderr.starts_with(&format!("lumberjack: cannot write to stdout: {why}")), "{}", ended.stderr);
        assert_eq!(ended.stderr.matches('\n').count(), 1, "{:?}", ended.stderr);
    }
}

/// The sum on the line about memory.
fn checked_kib(args: &[&str]) -> u64 {
    let ended = check(args);
    ended.assert_clean();
    let lines = ended.lines();
    let sum = lines.iter().find_map(|line| line.strip_prefix("# memory: ")).unwrap();
    let (number, unit) = sum.split_once(' ').unwrap();
    let number: u64 = number.parse().unwrap();
    if unit == "KiB" { number } else { number * 1024 }
}

/// Each client's line grows in small steps of its own. Returns how many bytes were sent.
fn grow(clients: &mut [TcpStream], steps: usize) -> u64 {
    let mut sent = 0;
    for step in 0..steps {
        for (number, client) in clients.iter_mut().enumerate() {
            let piece = vec![b'g'; 700 + step * 97 + number % 7 * 13];
            client.write_all(&piece).unwrap();
            sent += piece.len() as u64;
        }
    }
    sent
}

/// A number of the receiver's own diagnostics (SIGUSR1), by its name in JSON.
fn diagnosed(receiver: &Receiver, name: &str) -> u64 {
    let answers = || receiver.said().matches("[status] {").count();
    let before = answers();
    receiver.signal("USR1");
    let said = until("its diagnostics", || {
        let said = receiver.said();
        if answers() > before && said.ends_with('\n') { Ok(said) } else { Err(said) }
    });
    let (_, last) = said.rsplit_once("[status] {").unwrap();
    let (_, rest) = last.split_once(&format!("\"{name}\":")).unwrap();
    rest.split_once([',', '}']).unwrap().0.parse().unwrap()
}

#[test]
fn p5_the_memory_that_check_names_holds_against_a_crowd_that_takes_all_it_can() {
    const CLIENTS: usize = 200;
    if !may_open(CLIENTS as u64 * 2 + 100) {
        return;
    }
    for (format, memory_kib) in [("raw", 2 * 1024), ("json", 3 * 1024)] {
        let memory = format!("{memory_kib}KiB");
        let sizes = ["--memory", &memory, "--max-line", "16KiB", "--max-buffer", "32KiB", "--format", format];
        let places = ["--max-connections", "200", "--max-per-host", "0", "--listen", "127.0.0.1:0"];
        let args = [&sizes[..], &places].concat();
        let named_kib = checked_kib(&args);
        let (receiver, _stalled) = Receiver::start_unread(&args);
        let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| receiver.client()).collect();
        let (writer, hoarders) = clients.split_first_mut().unwrap();
        let mut sent = 0;
        for _ in 0..3 {
            // Longer than a line may be: what they held is free again, and nothing goes out.
            sent += grow(hoarders, 16) + hoarders.len() as u64;
            hoarders.iter_mut().for_each(|client| client.write_all(b"\n").unwrap());
        }
        sent += grow(hoarders, 12);
        // Before the output is full: from then on nothing is read.
        until_equal("all bytes of the hoarders", &sent, || diagnosed(&receiver, "bytes"));
        receiver.until_said("Memory budget used up");
        // The output takes nothing, so its share fills too. A busy machine may hold a writer back before that.
        until("a full output", || {
            write_until_held_back(writer);
            if diagnosed(&receiver, "sinkStalls") > 0 { Ok(()) } else { Err(receiver.said()) }
        });
        // All but a line, and what json sets aside for the bytes that it may make of one.
        let held_kib = (diagnosed(&receiver, "pendingBytes") + diagnosed(&receiver, "sinkWaitingBytes")) / 1024;
        assert!(held_kib >= memory_kib * 3 / 4, "{format}: a test of nothing: it holds {held_kib} KiB");
        let peak_kib = receiver.peak_kib();
        eprintln!("{format}: holds {held_kib} KiB of lines; {peak_kib} KiB at most, {named_kib} KiB by --check");
        assert!(peak_kib > held_kib, "{peak_kib} KiB are less than the {held_kib} KiB of lines in it");
        assert!(peak_kib <= named_kib, "it took {peak_kib} KiB, and --check says {named_kib} KiB at worst");
        assert!(named_kib <= 3 * peak_kib, "--check says {named_kib} KiB, and the worst is {peak_kib} KiB");
    }
}
