//! Real clients and servers that speak TLS: every line arrives whole, once and in order, though they end in ways of their own, are
//! refused, or the receiver starts anew under them (P33, P34).

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use crate::common::certs::Certs;
use crate::common::patience::Guard;
use crate::common::skip::skip;
use crate::receiver::{Receiver, ended, eventually};
use crate::tools::{Missing, Program, java, node};
use crate::{Dress, LOG4J2_JARS, MANY, RFC_5424, assert_received, lines, run, source, write_lines};

/// The certificates, in a folder that all of these tests share.
static CERTS: LazyLock<Certs> = LazyLock::new(|| Certs::new(Path::new(env!("CARGO_TARGET_TMPDIR"))));

/// Options of a port with TLS; with `strict`, for clients with a certificate alone.
fn tls(strict: bool) -> String {
    let certs = &CERTS;
    let (cert, key) = (certs.text("server.pem"), certs.text("server.key"));
    let of_clients = format!(",client-ca={},client-name=*.plant.example", certs.text("ca.pem"));
    format!(",tls,cert={cert},key={key}{}", if strict { &of_clients } else { "" })
}

/// A client that is given the receiver's port and a file of lines sends all of it, and ends well.
fn deliver(name: &str, strict: bool, command: impl Fn(&str, &Path) -> Result<Command, Missing>) {
    deliver_as(name, strict, "", &Dress::Bare, command);
}

fn deliver_as(
    name: &str,
    strict: bool,
    framing: &str,
    dress: &Dress,
    command: impl Fn(&str, &Path) -> Result<Command, Missing>,
) {
    let mut receiver = Receiver::start_as(name, &format!("{}{framing}", tls(strict)), &[]);
    let sent = lines(MANY);
    match command(&receiver.port().to_string(), &write_lines(&receiver, &sent)) {
        Ok(mut client) => run(&receiver, &mut client),
        Err(missing) => return skip(&missing.0),
    }
    receiver.stop();
    assert_received(&receiver, &sent, dress);
    let log = receiver.log();
    assert!(!log.contains("[WARN]") && !log.contains("[ERROR]"), "{log}");
}

/// `openssl s_client` with these options, which sends its stdin.
fn openssl(port: &str, file: &Path, options: &[&str]) -> Result<Command, Missing> {
    let mut command = Program::find("openssl")?.command();
    command.args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error", "-CAfile", &CERTS.text("ca.pem")]);
    command.args(["-connect", &format!("127.0.0.1:{port}")]).args(options).stdin(File::open(file).unwrap());
    Ok(command)
}

#[test]
fn p33_openssl_delivers_each_line_whole_and_once() {
    for (name, options) in [("13", ["-tls1_3"].as_slice()), ("12", &["-tls1_2"]), ("renegotiating", &["-no_tls1_3"])] {
        deliver(&format!("tls-openssl-{name}"), false, |port, file| openssl(port, file, options));
    }
}

#[test]
fn p33_openssl_with_a_certificate_delivers_each_line_whole_and_once() {
    let (cert, key) = (CERTS.text("client.pem"), CERTS.text("client.key"));
    deliver("tls-openssl-strict", true, |port, file| openssl(port, file, &["-cert", &cert, "-key", &key]));
}

/// OpenSSL answers a FIN without `close_notify` with an alert, and closes: that is its end, and no failure.
#[test]
fn p33_openssl_that_closes_at_our_goodbye_is_no_failure() {
    let receiver = Receiver::start_as("tls-openssl-quiet", &tls(false), &["--idle-timeout", "300ms"]);
    let mut command = match openssl(&receiver.port().to_string(), Path::new("/dev/null"), &[]) {
        Ok(command) => command,
        Err(missing) => return skip(&missing.0),
    };
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = Guard::spawn(&mut command).unwrap();
    client.0.stdin.as_mut().unwrap().write_all(b"a line\n").unwrap();
    eventually("our goodbye", || {
        let log = receiver.log();
        if log.contains("[tcp] Socket timeout on ") { Ok(()) } else { Err(log) }
    });
    eventually("its end", || ended(&mut client));
    let mut receiver = receiver;
    receiver.stop();
    let log = receiver.log();
    assert!(!log.contains("TLS broke off"), "{log}");
    assert_eq!(receiver.output(), b"a line\n");
}

/// Python's `close()` never says that it ends, and `unwrap()` waits for our end after it has.
#[test]
fn p33_python_delivers_each_line_whole_and_once() {
    for end in ["close", "unwrap", "half"] {
        deliver(&format!("tls-python-{end}"), true, |port, file| {
            let mut command = Program::find("python3")?.command();
            command.args([&source("tls_client.py"), port]).arg(file).arg(end);
            command.args([CERTS.text("ca.pem"), CERTS.text("client.pem"), CERTS.text("client.key")]);
            Ok(command)
        });
    }
}

fn node_client(port: &str, file: &Path) -> Result<Command, Missing> {
    let mut command = node(&[])?;
    command.args([&source("tls.mjs"), port]).arg(file);
    command.args([CERTS.text("ca.pem"), CERTS.text("client.pem"), CERTS.text("client.key")]);
    Ok(command)
}

#[test]
fn p33_node_delivers_each_line_whole_and_once() {
    deliver("tls-node", true, node_client);
}

/// A store of Java's with who is trusted, and one with the client's own certificate.
fn java_stores(dir: &Path) -> Result<[PathBuf; 2], Missing> {
    let (openssl, keytool) = (Program::find("openssl")?, Program::find("keytool")?);
    let stores = ["trusted.p12", "own.p12"].map(|name| dir.join(name));
    if stores.iter().all(|store| store.exists()) {
        return Ok(stores);
    }
    let mut command = keytool.command();
    command.args(["-importcert", "-noprompt", "-storetype", "PKCS12", "-storepass", "secret", "-file"]);
    let imported = command.arg(CERTS.path("ca.pem")).arg("-keystore").arg(&stores[0]).output().unwrap();
    assert!(imported.status.success(), "{imported:?}");
    let mut command = openssl.command();
    command.args(["pkcs12", "-export", "-passout", "pass:secret", "-in"]).arg(CERTS.path("client.pem"));
    let exported = command.arg("-inkey").arg(CERTS.path("client.key")).arg("-out").arg(&stores[1]).output().unwrap();
    assert!(exported.status.success(), "{exported:?}");
    Ok(stores)
}

fn log4j2(port: &str, file: &Path, pause_ms: &str) -> Result<Command, Missing> {
    let mut command = java(LOG4J2_JARS)?;
    let [trusted, own] = java_stores(file.parent().unwrap())?;
    command.arg(format!("-Dport={port}")).arg(format!("-Dtrusted={}", trusted.display()));
    command.arg(format!("-Down={}", own.display()));
    command.arg(format!("-Dlog4j2.configurationFile={}", source("log4j2-tls.xml")));
    command.arg(source("Log4j2.java")).arg(file).arg(pause_ms);
    Ok(command)
}

#[test]
fn p33_log4j2_delivers_each_line_whole_and_once() {
    deliver("tls-log4j2", true, |port, file| log4j2(port, file, "0"));
}

/// What rsyslogd sends over TLS, with its own certificate.
fn rsyslog(receiver: &Receiver, file: &Path, output: &str) -> Result<Command, Missing> {
    let global = format!(
        r#"defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{}" defaultNetstreamDriverCertFile="{}" defaultNetstreamDriverKeyFile="{}""#,
        CERTS.text("ca.pem"),
        CERTS.text("client.pem"),
        CERTS.text("client.key")
    );
    let driver = r#"StreamDriver="gtls" StreamDriverMode="1" StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost" action.resumeInterval="1" action.resumeRetryCount="-1""#;
    crate::rsyslog_with(receiver, file, &global, &format!("{driver} {output}"))
}

const RSYSLOG_LINES: &str = r#"TCP_Framing="traditional" template="line""#;

#[test]
fn p33_rsyslogd_delivers_each_line_whole_and_once() {
    crate::deliver_by_daemon_at("tls-rsyslogd", &tls(true), &Dress::Bare, |receiver, file| {
        rsyslog(receiver, file, RSYSLOG_LINES)
    });
}

/// RFC 5425: messages of RFC 5424, each with its length before it, over TLS.
#[test]
fn p33_rsyslogd_delivers_messages_with_lengths_as_rfc_5425_has_them() {
    crate::deliver_by_daemon_at(
        "tls-rsyslogd-octet",
        &format!("{},framing=octet", tls(true)),
        &RFC_5424,
        |receiver, file| {
            rsyslog(receiver, file, r#"TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format""#)
        },
    );
}

fn syslog_ng(receiver: &Receiver, file: &Path) -> Result<Command, Missing> {
    let options = format!(
        r#"tls(ca-file("{}") cert-file("{}") key-file("{}") peer-verify(required-trusted))"#,
        CERTS.text("ca.pem"),
        CERTS.text("client.pem"),
        CERTS.text("client.key")
    );
    crate::syslog_ng(receiver, file, "", |port| {
        format!(
            r#"network("localhost" ip-protocol(4) port({port}) transport("tls") {options} time-reopen(1) template("$MSG\n"))"#
        )
    })
}

#[test]
fn p33_syslog_ng_delivers_each_line_whole_and_once() {
    crate::deliver_by_daemon_at("tls-syslog-ng", &tls(true), &Dress::Bare, syslog_ng);
}

/// stunnel as people put it before a client that has no TLS.
#[test]
fn p33_a_client_behind_stunnel_delivers_each_line_whole_and_once() {
    let mut receiver = Receiver::start_as("tls-stunnel", &tls(true), &[]);
    let sent = lines(MANY);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let program = match Program::find("stunnel4") {
        Ok(program) => program,
        Err(missing) => return skip(&missing.0),
    };
    let config = format!(
        "foreground = yes\npid =\nsyslog = no\n[lines]\nclient = yes\naccept = 127.0.0.1:{port}\nconnect = 127.0.0.1:{}\n\
         verifyChain = yes\nCAfile = {}\ncert = {}\nkey = {}\n",
        receiver.port(),
        CERTS.text("ca.pem"),
        CERTS.text("client.pem"),
        CERTS.text("client.key")
    );
    fs::write(receiver.path("stunnel.conf"), config).unwrap();
    let said = File::create(receiver.path("said")).unwrap();
    let mut command = program.command();
    command.arg(receiver.path("stunnel.conf")).stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
    let mut running = Guard::spawn(&mut command).unwrap();
    let mut client = eventually("stunnel", || {
        if let Ok(status) = ended(&mut running) {
            panic!("stunnel ended with {status}: {}", fs::read_to_string(receiver.path("said")).unwrap());
        }
        TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())
    });
    client.write_all((sent.join("\n") + "\n").as_bytes()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = client.read(&mut [0; 1]);
    running.signal("TERM");
    eventually("stunnel's end", || ended(&mut running));
    receiver.stop();
    assert_received(&receiver, &sent, &Dress::Bare);
}

const RESTARTS: usize = 10;
const LINES: usize = 30;

/// A daemon that follows a file.
fn follow(receiver: &Receiver, daemon: &mut Command) -> Guard {
    let said = File::options().create(true).append(true).open(receiver.path("said")).unwrap();
    daemon.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
    Guard::spawn(daemon).unwrap()
}

/// Lines are written, and come.
fn pass(receiver: &Receiver, input: &mut File, part: &[String]) {
    for line in part {
        writeln!(input, "{line}").unwrap();
        // The pace is of the world that is played, and nothing is timed by it.
        thread::sleep(Duration::from_millis(3));
    }
    eventually("this part", || {
        let has_come = receiver.output().ends_with(format!("{}\n", part[LINES - 1]).as_bytes());
        if has_come { Ok(()) } else { Err(fs::read_to_string(receiver.path("said")).unwrap()) }
    });
}

/// The receiver starts anew ten times under a daemon.
#[test]
fn p33_rsyslogd_loses_nothing_in_ten_restarts_of_the_receiver() {
    let mut receiver = Receiver::start_as("tls-restarts-rsyslogd", &tls(true), &[]);
    let file = receiver.path("in");
    let mut input = File::create(&file).unwrap();
    let mut daemon = match rsyslog(&receiver, &file, RSYSLOG_LINES) {
        Ok(daemon) => follow(&receiver, &mut { daemon }),
        Err(missing) => return skip(&missing.0),
    };
    let sent = lines(RESTARTS * LINES);
    for part in sent.chunks(LINES) {
        pass(&receiver, &mut input, part);
        receiver.restart(&tls(true), &[]);
    }
    daemon.signal("TERM");
    eventually("the daemon's end", || ended(&mut daemon));
    receiver.stop();
    assert_received(&receiver, &sent, &Dress::Bare);
}

/// It does not look at a connection over TLS before it writes, so what it writes after the receiver's goodbye is read, and what
/// it writes once the receiver has ended is lost: its own restarts are what it can do (docs/tls.md).
#[test]
fn p33_syslog_ng_loses_nothing_in_ten_restarts_of_its_own() {
    let mut receiver = Receiver::start_as("tls-restarts-syslog-ng", &tls(true), &[]);
    let file = receiver.path("in");
    let mut input = File::create(&file).unwrap();
    let sent = lines(RESTARTS * LINES);
    for part in sent.chunks(LINES) {
        let mut daemon = match syslog_ng(&receiver, &file) {
            Ok(daemon) => follow(&receiver, &mut { daemon }),
            Err(missing) => return skip(&missing.0),
        };
        pass(&receiver, &mut input, part);
        daemon.signal("TERM");
        eventually("the daemon's end", || ended(&mut daemon));
    }
    receiver.stop();
    assert_received(&receiver, &sent, &Dress::Bare);
}

/// A program sends its lines and ends, ten times.
fn in_ten_runs(name: &str, command: impl Fn(&str, &Path) -> Result<Command, Missing>) {
    let mut receiver = Receiver::start_as(name, &tls(true), &[]);
    let sent = lines(RESTARTS * LINES);
    for part in sent.chunks(LINES) {
        match command(&receiver.port().to_string(), &write_lines(&receiver, part)) {
            Ok(mut client) => run(&receiver, &mut client),
            Err(missing) => return skip(&missing.0),
        }
    }
    receiver.stop();
    assert_received(&receiver, &sent, &Dress::Bare);
}

#[test]
fn p33_node_loses_nothing_in_ten_restarts_of_its_own() {
    in_ten_runs("tls-restarts-node", node_client);
}

#[test]
fn p33_log4j2_loses_nothing_in_ten_restarts_of_its_own() {
    in_ten_runs("tls-restarts-log4j2", |port, file| log4j2(port, file, "0"));
}

/// The commands of docs/tls.md by which two boxes come to trust each other, as far as one box can run them.
#[test]
fn p34_two_boxes_are_connected_by_the_five_commands_of_the_docs() {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tls.md")).unwrap();
    let block = docs.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let commands: Vec<&str> = block.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let [for_office, for_plant, copies, on_office, on_plant] = commands[..] else { panic!("{commands:?}") };
    assert!(copies.starts_with("scp plant.pem office:"));
    if let Err(missing) = Program::find("openssl") {
        return skip(&missing.0);
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("five-commands");
    let _ = fs::remove_dir_all(&dir);
    // Both boxes are one folder: what changes places is there already.
    fs::create_dir_all(&dir).unwrap();
    let shell = |command: &str| {
        let lumberjack = concat!(env!("CARGO_BIN_EXE_lumberjack"), " ");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("exec {}", command.replacen("lumberjack ", lumberjack, 1))).current_dir(&dir);
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(dir.join("said")).unwrap());
        Guard::spawn(&mut shell).unwrap()
    };
    for command in [for_office, for_plant] {
        let mut making = shell(command);
        let status = eventually("a certificate", || ended(&mut making));
        assert!(status.success());
    }
    let port = |log: &Path| {
        let log = log.to_owned();
        eventually("a port", move || {
            let said = fs::read_to_string(&log).unwrap();
            let number = said.split_once("Listening on 127.0.0.1:").and_then(|(_, rest)| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse::<u16>().ok()
            });
            number.ok_or(said)
        })
    };
    let mut office = shell(&on_office.replace("0.0.0.0:6514", "127.0.0.1:0"));
    let office_port = port(&dir.join("said"));
    fs::rename(dir.join("said"), dir.join("said-by-office")).unwrap();
    let to = format!("127.0.0.1:{office_port},server-name=office");
    let on_plant = on_plant.replace("office:6514", &to).replace("lumberjack ", "lumberjack --listen 127.0.0.1:0 ");
    let mut plant = shell(&on_plant);
    let mut client = TcpStream::connect(("127.0.0.1", port(&dir.join("said")))).unwrap();
    client.write_all(b"hello\n").unwrap();
    drop(client);
    eventually("the line", || {
        let lines = fs::read_to_string(dir.join("plant.log")).unwrap_or_default();
        if lines.contains("Z plant/127.0.0.1:") && lines.ends_with("hello\n") { Ok(()) } else { Err(lines) }
    });
    for program in [&mut plant, &mut office] {
        program.signal("TERM");
        let status = eventually("its end", || ended(program));
        assert!(status.success(), "{}", fs::read_to_string(dir.join("said")).unwrap());
    }
    fs::remove_dir_all(dir).unwrap();
}
