//! Real clients, each sending to the built binary: every line arrives whole, once and in order (P1), and a quiet client
//! that was told goodbye loses none (P6). What a client sends it with is what the README shows.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "clients/datagrams.rs"]
mod datagrams;
#[cfg(feature = "syslog")]
#[path = "clients/docker.rs"]
mod docker;
#[path = "clients/goodbyes.rs"]
mod goodbyes;
#[path = "clients/receiver.rs"]
mod receiver;
#[cfg(feature = "syslog")]
#[path = "clients/senders.rs"]
mod senders;
#[cfg(feature = "status")]
#[path = "clients/status.rs"]
mod status;
#[cfg(feature = "syslog")]
#[path = "clients/syslog.rs"]
mod syslog;
#[cfg(feature = "tls")]
#[path = "clients/tls.rs"]
mod tls;
#[path = "clients/tools.rs"]
mod tools;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::patience::Guard;
use common::skip::skip;
use receiver::{Receiver, ended, eventually};
use tools::{Missing, Program, java, node};

/// Enough for several reads, and for a JVM still quick.
const MANY: usize = 500;
/// For quiet clients: each line but the first comes after a goodbye.
const FEW: usize = 6;

const LOG4J2_JARS: &[&str] = &["log4j-api.jar", "log4j-core.jar"];
const LOGBACK_JARS: &[&str] = &[
    "logback-classic.jar",
    "logback-core.jar",
    "logstash-logback-encoder.jar",
    "slf4j-api.jar",
    "disruptor.jar",
    "jackson-core.jar",
    "jackson-databind.jar",
    "jackson-annotations.jar",
];

/// What a client puts around each line that it is given.
enum Dress {
    Bare,
    /// The received line starts and ends so; between the start and the line may be what changes, such as a time.
    Around {
        start: &'static str,
        end: &'static str,
    },
}

const SYSLOG: Dress = Dress::Around { start: "<13>1 ", end: "" };
/// As `logger` writes it to a socket of this box.
const SYSLOG_HERE: Dress = Dress::Around { start: "<13>", end: "" };
/// With a header of RFC 5424, whose priority is that of what syslog daemons read from files.
const RFC_5424: Dress = Dress::Around { start: "<133>1 ", end: "" };
const PINO: Dress = Dress::Around { start: r#"{"level":30,"#, end: r#""}"# };
const WINSTON: Dress = Dress::Around { start: r#"{"level":"info","message":""#, end: r#""}"# };
const LOGSTASH: Dress = Dress::Around {
    start: r#"{"@timestamp":"#,
    end: r#"","logger_name":"app","thread_name":"main","level":"INFO","level_value":20000}"#,
};

impl Dress {
    fn fits(&self, got: &str, sent: &str) -> bool {
        match self {
            Self::Bare => got == sent,
            Self::Around { start, end } => {
                let middle = got.strip_prefix(start).and_then(|got| got.strip_suffix(&format!("{sent}{end}")));
                // No other line may be hidden in what changes.
                middle.is_some_and(|middle| !middle.contains(LAST_WORD))
            }
        }
    }
}

/// Ends each line that is sent, so that one that was cut or joined to another is seen.
const LAST_WORD: &str = "[end]";

/// Lines of many lengths, with bytes beyond ASCII, and nothing that JSON would escape.
fn lines(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("line {n} of {count}: {}{LAST_WORD}", "Grüße, ".repeat(n * 7 % 40))).collect()
}

/// Runs a client to its end, and shows what it said if it failed.
fn run(receiver: &Receiver, client: &mut Command) {
    let said = receiver.path("said");
    let file = File::create(&said).unwrap();
    client.stdout(file.try_clone().unwrap()).stderr(file);
    let mut running = Guard::spawn(client).unwrap();
    let status = eventually("the client's end", || ended(&mut running));
    assert!(status.success(), "{client:?} ended with {status}: {}", fs::read_to_string(said).unwrap());
}

fn assert_received(receiver: &Receiver, sent: &[String], dress: &Dress) {
    // A byte that is no UTF-8 becomes one that was never sent, so it is seen.
    let output = String::from_utf8_lossy(&receiver.output()).into_owned();
    // Not `lines()`, which would hide a `\r`. Of an output that ends in a newline the last piece is empty.
    let mut got: Vec<&str> = output.split('\n').collect();
    let rest = got.pop().unwrap();
    assert_eq!(rest, "", "the last line has no newline");
    let odd = sent.iter().zip(&got).position(|(sent, got)| !dress.fits(got, sent));
    if let Some(at) = odd.or_else(|| (sent.len() != got.len()).then_some(sent.len().min(got.len()))) {
        let (sent_count, got_count) = (sent.len(), got.len());
        let (sent, got) = (sent.get(at), got.get(at));
        panic!("{sent_count} sent, {got_count} received; line {} differs:\n sent {sent:?}\n  got {got:?}", at + 1);
    }
}

/// What a client is to do: to read the lines from `file` and to log them, with this pause after each.
struct Job {
    port: String,
    file: PathBuf,
    pause_ms: &'static str,
}

impl Job {
    /// Where the receiver listens besides.
    fn socket(&self) -> PathBuf {
        self.file.with_file_name("socket")
    }
}

fn write_lines(receiver: &Receiver, sent: &[String]) -> PathBuf {
    let file = receiver.path("in");
    fs::write(&file, sent.join("\n") + "\n").unwrap();
    file
}

/// Hundreds of lines at full speed.
fn deliver(name: &str, dress: &Dress, command: impl FnOnce(&Job) -> Result<Command, Missing>) {
    deliver_as(name, "lines", dress, command);
}

/// The same of a client whose messages end otherwise.
fn deliver_as(name: &str, framing: &str, dress: &Dress, command: impl FnOnce(&Job) -> Result<Command, Missing>) {
    let mut receiver = Receiver::start(name, &["--framing", framing]);
    let sent = lines(MANY);
    let job = Job { port: receiver.port().to_string(), file: write_lines(&receiver, &sent), pause_ms: "0" };
    match command(&job) {
        Ok(mut client) => run(&receiver, &mut client),
        Err(missing) => return skip(&missing.0),
    }
    receiver.stop();
    assert_received(&receiver, &sent, dress);
}

/// A client that does not send lines is named, once, with a cure.
fn named(name: &str, protocol: &str, command: impl FnOnce(&Job) -> Result<Command, Missing>) {
    let mut receiver = Receiver::start(name, &[]);
    let job = Job { port: receiver.port().to_string(), file: write_lines(&receiver, &lines(FEW)), pause_ms: "0" };
    match command(&job) {
        Ok(mut client) => run(&receiver, &mut client),
        Err(missing) => return skip(&missing.0),
    }
    receiver.stop();
    let log = receiver.log();
    let words = format!(" seems to speak {protocol}, not lines: ");
    assert_eq!(log.matches(" seems to speak ").count(), 1, "{log}");
    assert!(log.contains(&words), "{words}: {log}");
}

/// A few lines, with a goodbye of the receiver in each pause.
fn deliver_quietly(name: &str, dress: &Dress, command: impl FnOnce(&Job) -> Result<Command, Missing>) {
    let mut receiver = Receiver::start(name, &["--idle-timeout", "300ms"]);
    let sent = lines(FEW);
    let job = Job { port: receiver.port().to_string(), file: write_lines(&receiver, &sent), pause_ms: "900" };
    match command(&job) {
        Ok(mut client) => run(&receiver, &mut client),
        Err(missing) => return skip(&missing.0),
    }
    receiver.stop();
    let log = receiver.log();
    assert!(log.contains("[tcp] Socket timeout on 127.0.0.1:"), "no goodbye was said; the log: {log}");
    assert_received(&receiver, &sent, dress);
}

/// A daemon follows the file of lines, and is stopped when the last one has arrived.
fn deliver_by_daemon(name: &str, command: impl FnOnce(&Receiver, &Path) -> Result<Command, Missing>) {
    deliver_by_daemon_as(name, "lines", &Dress::Bare, command);
}

/// The same of a daemon whose messages end otherwise.
fn deliver_by_daemon_as(
    name: &str,
    framing: &str,
    dress: &Dress,
    command: impl FnOnce(&Receiver, &Path) -> Result<Command, Missing>,
) {
    deliver_by_daemon_at(name, &format!(",framing={framing}"), dress, command);
}

/// The same to a port with these options.
fn deliver_by_daemon_at(
    name: &str,
    of_port: &str,
    dress: &Dress,
    command: impl FnOnce(&Receiver, &Path) -> Result<Command, Missing>,
) {
    let mut receiver = Receiver::start_as(name, of_port, &[]);
    let sent = lines(MANY);
    let file = write_lines(&receiver, &sent);
    let mut daemon = match command(&receiver, &file) {
        Ok(daemon) => daemon,
        Err(missing) => return skip(&missing.0),
    };
    let said = File::create(receiver.path("said")).unwrap();
    daemon.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
    let mut running = Guard::spawn(&mut daemon).unwrap();
    eventually("the last line", || {
        if receiver.output().ends_with(format!("{}\n", sent[MANY - 1]).as_bytes()) {
            return Ok(());
        }
        let said = fs::read_to_string(receiver.path("said")).unwrap();
        if let Ok(status) = ended(&mut running) {
            panic!("{daemon:?} ended with {status}: {said}");
        }
        Err(format!("{} bytes of output, and the daemon says: {said}", receiver.output().len()))
    });
    running.signal("TERM");
    eventually("the daemon's end", || ended(&mut running));
    receiver.stop();
    assert_received(&receiver, &sent, dress);
}

/// A source beside this file.
fn source(name: &str) -> String {
    format!("{}/tests/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn node_client(script: &str, packages: &[&str], job: &Job) -> Result<Command, Missing> {
    let mut command = node(packages)?;
    command.args([&source(script), &job.port]).arg(&job.file).arg(job.pause_ms);
    Ok(command)
}

fn python_client(kind: &str, job: &Job) -> Result<Command, Missing> {
    let mut command = Program::find("python3")?.command();
    command.args([&source("logging_client.py"), kind, &job.port]).arg(&job.file).arg(job.pause_ms);
    Ok(command)
}

fn log4j2_client(job: &Job) -> Result<Command, Missing> {
    let mut command = java(LOG4J2_JARS)?;
    command.arg(format!("-Dport={}", job.port)).arg(format!("-Dlog4j2.configurationFile={}", source("log4j2.xml")));
    command.arg(source("Log4j2.java")).arg(&job.file).arg(job.pause_ms);
    Ok(command)
}

#[test]
fn p1_logger_delivers_each_line_whole_and_once() {
    deliver("logger", &SYSLOG, |job| {
        let mut command = Program::find("logger")?.command();
        command.args(["--tcp", "--server", "127.0.0.1", "--port", &job.port, "--file"]).arg(&job.file);
        Ok(command)
    });
}

#[test]
fn p1_logger_delivers_each_line_whole_and_once_over_a_unix_socket() {
    deliver("logger-unix", &SYSLOG_HERE, |job| {
        let mut command = Program::find("logger")?.command();
        command.arg("--socket").arg(job.socket()).arg("--file").arg(&job.file);
        Ok(command)
    });
}

#[test]
fn p1_nc_delivers_each_line_whole_and_once_over_a_unix_socket() {
    deliver("nc-unix", &Dress::Bare, |job| {
        let mut command = Program::find("nc.openbsd")?.command();
        command.args(["-N", "-U"]).arg(job.socket()).stdin(File::open(&job.file).unwrap());
        Ok(command)
    });
}

#[test]
fn p1_socat_delivers_each_line_whole_and_once_over_a_unix_socket() {
    deliver("socat-unix", &Dress::Bare, |job| {
        let mut command = Program::find("socat")?.command();
        let to = format!("UNIX-CONNECT:{}", job.socket().display());
        command.args(["-u", "-", &to]).stdin(File::open(&job.file).unwrap());
        Ok(command)
    });
}

#[test]
fn p21_logger_with_octet_counting_delivers_each_line_whole_and_once() {
    for framing in ["octet", "auto-octet"] {
        deliver_as(&format!("logger-{framing}"), framing, &SYSLOG, |job| {
            let mut command = Program::find("logger")?.command();
            command
                .args(["--tcp", "--octet-count", "--server", "127.0.0.1", "--port", &job.port, "--file"])
                .arg(&job.file);
            Ok(command)
        });
    }
}

#[test]
fn p21_auto_octet_takes_the_lines_of_logger_too() {
    deliver_as("logger-auto-lines", "auto-octet", &SYSLOG, |job| {
        let mut command = Program::find("logger")?.command();
        command.args(["--tcp", "--server", "127.0.0.1", "--port", &job.port, "--file"]).arg(&job.file);
        Ok(command)
    });
}

#[test]
fn p21_python_s_own_syslog_handler_delivers_each_line_whole_and_once() {
    deliver_as("python-nul", "nul", &Dress::Around { start: "<14>", end: "" }, |job| python_client("nul", job));
}

#[test]
fn p1_ncat_delivers_each_line_whole_and_once() {
    deliver("ncat", &Dress::Bare, |job| {
        let mut command = Program::find("ncat")?.command();
        command.args(["--send-only", "127.0.0.1", &job.port]).stdin(File::open(&job.file).unwrap());
        Ok(command)
    });
}

#[test]
fn p1_nc_delivers_each_line_whole_and_once() {
    deliver("nc", &Dress::Bare, |job| {
        // By this name since it is the OpenBSD one whose `-N` is tested; plain `nc` may be any of four programs.
        let mut command = Program::find("nc.openbsd")?.command();
        command.args(["-N", "127.0.0.1", &job.port]).stdin(File::open(&job.file).unwrap());
        Ok(command)
    });
}

/// What a client that ends its side when it has sent all is told in return: proof that the lines are on the disk.
fn ask_for_a_receipt(name: &str, args: &[&str]) {
    let mut receiver = Receiver::start(&format!("receipt-{name}"), &["--receipt", "--sync", "100ms"]);
    let sent = lines(MANY);
    let mut client = match Program::find(name) {
        Ok(program) => program.command(),
        Err(missing) => return skip(&missing.0),
    };
    client.args(args).args(["127.0.0.1", &receiver.port().to_string()]);
    client.stdin(File::open(write_lines(&receiver, &sent)).unwrap());
    run(&receiver, &mut client);
    assert_eq!(fs::read_to_string(receiver.path("said")).unwrap(), format!("{MANY} lines\n"));
    // Nothing is left to be written when the receipt is there.
    assert_received(&receiver, &sent, &Dress::Bare);
    receiver.stop();
}

#[test]
fn receipt_is_what_nc_prints() {
    ask_for_a_receipt("nc.openbsd", &["-N"]);
}

#[test]
fn receipt_is_what_ncat_prints() {
    ask_for_a_receipt("ncat", &[]);
}

#[test]
fn p1_socat_delivers_each_line_whole_and_once() {
    deliver("socat", &Dress::Bare, |job| {
        let mut command = Program::find("socat")?.command();
        command.args(["-u", "-", &format!("TCP:127.0.0.1:{}", job.port)]).stdin(File::open(&job.file).unwrap());
        Ok(command)
    });
}

#[test]
fn p12_python_s_own_handlers_and_gzip_are_named() {
    for (kind, protocol) in [("pickle", "Python's pickle"), ("nul", "NUL-ended messages"), ("gzip", "gzip")] {
        named(kind, protocol, |job| python_client(kind, job));
    }
}

#[test]
fn p12_java_serialisation_is_named() {
    named("java-objects", "Java serialisation", |job| {
        let mut command = java(&[])?;
        command.args([&source("Objects.java"), &job.port]).arg(&job.file);
        Ok(command)
    });
}

#[test]
fn p1_python_logging_by_socket_handler_delivers_each_line_whole_and_once() {
    deliver("python-socket", &Dress::Bare, |job| python_client("socket", job));
}

#[test]
fn p1_python_logging_by_syslog_handler_delivers_each_line_whole_and_once() {
    let dress = Dress::Around { start: "<14>", end: "" };
    deliver("python-syslog", &dress, |job| python_client("syslog", job));
}

#[test]
fn p1_node_net_delivers_each_line_whole_and_once() {
    deliver("net", &Dress::Bare, |job| node_client("net.mjs", &[], job));
}

#[test]
fn p1_winston_delivers_each_line_whole_and_once() {
    deliver("winston", &WINSTON, |job| node_client("winston.mjs", &["winston"], job));
}

#[test]
fn p1_pino_socket_delivers_each_line_whole_and_once() {
    deliver("pino", &PINO, |job| node_client("pino.mjs", &["pino", "pino-socket"], job));
}

#[test]
fn p1_log4j2_socket_appender_delivers_each_line_whole_and_once() {
    deliver("log4j2", &Dress::Bare, log4j2_client);
}

#[test]
fn p1_logback_logstash_appender_delivers_each_line_whole_and_once() {
    deliver("logback", &LOGSTASH, |job| {
        let mut command = java(LOGBACK_JARS)?;
        command
            .arg(format!("-Dport={}", job.port))
            .arg(format!("-Dlogback.configurationFile={}", source("logback.xml")));
        command.arg(source("Logback.java")).arg(&job.file);
        Ok(command)
    });
}

/// rsyslogd that follows a file, and sends its lines and nothing else.
fn rsyslog(receiver: &Receiver, file: &Path) -> Result<Command, Missing> {
    rsyslog_as(receiver, file, r#"TCP_Framing="traditional" template="line""#)
}

/// The same, with this framing and template of its output.
fn rsyslog_as(receiver: &Receiver, file: &Path, output: &str) -> Result<Command, Missing> {
    rsyslog_with(receiver, file, "", output)
}

/// The same, with more that holds for all of it.
fn rsyslog_with(receiver: &Receiver, file: &Path, global: &str, output: &str) -> Result<Command, Missing> {
    let program = Program::find("rsyslogd")?;
    let (folder, port) = (receiver.path(""), receiver.port());
    let config = format!(
        r#"global(workDirectory="{folder}" net.enableDNS="off" {global})
module(load="imfile")
template(name="line" type="string" string="%msg%\n")
input(type="imfile" file="{file}" tag="app:" ruleset="forward")
ruleset(name="forward") {{
  action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" {output})
}}
"#,
        folder = folder.display(),
        file = file.display(),
    );
    fs::write(receiver.path("rsyslog.conf"), config).unwrap();
    let mut command = program.command();
    command.arg("-n").arg("-f").arg(receiver.path("rsyslog.conf")).arg("-i").arg(receiver.path("pid"));
    if let Some(modules) = program.rsyslog_modules() {
        command.arg("-M").arg(modules);
    }
    Ok(command)
}

#[test]
fn p1_rsyslogd_omfwd_delivers_each_line_whole_and_once() {
    deliver_by_daemon("rsyslogd", rsyslog);
}

#[test]
fn p21_rsyslogd_with_octet_counting_delivers_each_line_whole_and_once() {
    deliver_by_daemon_as("rsyslogd-octet", "octet", &RFC_5424, |receiver, file| {
        rsyslog_as(receiver, file, r#"TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format""#)
    });
}

#[test]
fn p21_syslog_ng_s_syslog_driver_delivers_each_line_whole_and_once() {
    deliver_by_daemon_as("syslog-ng-octet", "octet", &SYSLOG, |receiver, file| {
        syslog_ng(receiver, file, "", |port| format!(r#"syslog("127.0.0.1" port({port}) transport("tcp"))"#))
    });
}

#[test]
fn p1_syslog_ng_delivers_each_line_whole_and_once() {
    deliver_by_daemon("syslog-ng", |receiver, file| {
        syslog_ng(receiver, file, "", |port| {
            format!(r#"network("127.0.0.1" port({port}) transport("tcp") template("$MSG\n"))"#)
        })
    });
}

/// syslog-ng that follows a file, and sends its lines by this driver, with more options of the source.
fn syslog_ng(
    receiver: &Receiver,
    file: &Path,
    source: &str,
    driver: impl FnOnce(u16) -> String,
) -> Result<Command, Missing> {
    let program = Program::find("syslog-ng")?;
    let config = format!(
        r#"@version: current
options {{ stats-freq(0); }};
source s {{ file("{file}" flags(no-parse) follow-freq(1) {source}); }};
destination lumberjack {{ {driver}; }};
log {{ source(s); destination(lumberjack); flags(flow-control); }};
"#,
        file = file.display(),
        driver = driver(receiver.port()),
    );
    fs::write(receiver.path("syslog-ng.conf"), config).unwrap();
    let mut command = program.command();
    command.args(["--foreground", "--no-caps"]);
    for (option, file) in [("-f", "syslog-ng.conf"), ("-R", "persist"), ("-c", "ctl"), ("-p", "pid")] {
        command.arg(option).arg(receiver.path(file));
    }
    if let Some(modules) = program.syslog_ng_modules() {
        command.arg(format!("--module-path={}", modules.display()));
    }
    Ok(command)
}

/// loggen makes its own lines: numbered from 0, all of one length.
#[test]
fn p1_loggen_delivers_each_line_whole_and_once() {
    let mut receiver = Receiver::start("loggen", &[]);
    let loggen = match Program::find("loggen") {
        Ok(loggen) => loggen,
        Err(missing) => return skip(&missing.0),
    };
    let (count, port) = (MANY.to_string(), receiver.port().to_string());
    let mut client = loggen.command();
    client.args(["--inet", "--stream", "--size", "300", "--rate", "10000", "--number", &count, "127.0.0.1", &port]);
    run(&receiver, &mut client);
    receiver.stop();
    let output = String::from_utf8_lossy(&receiver.output()).into_owned();
    // The 300 bytes are counted with the newline.
    let seen: Vec<(usize, &str)> = output.lines().map(|line| (line.len(), sequence(line))).collect();
    let numbers: Vec<String> = (0..MANY).map(|n| format!("{n:010}")).collect();
    let expected: Vec<(usize, &str)> = numbers.iter().map(|number| (299, number.as_str())).collect();
    assert_eq!(seen, expected);
}

/// What loggen numbered the line, or the line itself if it is none of loggen's.
fn sequence(line: &str) -> &str {
    let after = line.strip_prefix("<38>").and_then(|line| line.split_once(" seq: "));
    after.and_then(|(_, rest)| rest.split_once(',')).map_or(line, |(number, _)| number)
}

/// log4j2 never looks at its socket before it writes: after a plain close it lost every other line.
#[test]
fn p6_quiet_log4j2_client_loses_no_line_to_the_goodbye() {
    deliver_quietly("quiet-log4j2", &Dress::Bare, log4j2_client);
}

#[test]
fn p6_quiet_python_client_loses_no_line_to_the_goodbye() {
    deliver_quietly("quiet-python", &Dress::Bare, |job| python_client("socket", job));
}

/// As long as it is told to allow a half-open connection, which is not its default.
#[test]
fn p6_quiet_node_client_loses_no_line_to_the_goodbye() {
    deliver_quietly("quiet-net", &Dress::Bare, |job| node_client("net.mjs", &[], job));
}

/// As long as it is told to connect again, which is not its default.
#[test]
fn p6_quiet_pino_socket_loses_no_line_to_the_goodbye() {
    let packages = &["pino", "pino-socket"];
    deliver_quietly("quiet-pino", &PINO, |job| node_client("pino.mjs", packages, job));
}
