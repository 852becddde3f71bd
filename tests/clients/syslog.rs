//! Real senders of syslog to `--format json --parse syslog` (P22): each line comes out once, with the fields that its
//! sender gave it, and the text of the message as it was.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use super::receiver::{Receiver, ended, eventually};
use super::tools::{Missing, Program};
use super::{Job, MANY, lines, python_client, rsyslog_as, run, syslog_ng, write_lines};
use crate::common::patience::{Guard, Patient};
use crate::common::skip::skip;

const OPTIONS: &[&str] = &["--format", "json", "--parse", "syslog"];

/// Whether a line is `fields`, in which `*` stands for what changes, and the message.
pub(super) fn fits(got: &str, fields: &str, message: &str) -> bool {
    let Some(got) = got.strip_suffix(&format!(r#","line":"{message}"}}"#)) else { return false };
    got.split_once(r#"","host":"127.0.0.1",""#).is_some_and(|(_, got)| matches(got, fields))
}

/// Whether `got` is `fields`, in which `*` stands for what changes.
pub(super) fn matches(got: &str, fields: &str) -> bool {
    let mut pieces = fields.split('*');
    let Some(mut rest) = got.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    for piece in pieces {
        let Some((between, behind)) = rest.split_once(piece) else { return false };
        // No other field is hidden in what changes; and where nothing follows, all of the rest is that.
        if between.is_empty() != piece.is_empty() || between.contains('"') {
            return false;
        }
        rest = if piece.is_empty() { "" } else { behind };
    }
    rest.is_empty()
}

/// Each line has these fields, and none is missing, twice, or another.
fn assert_fields(receiver: &Receiver, sent: &[String], fields: &str) {
    let output = String::from_utf8_lossy(&receiver.output()).into_owned();
    let got: Vec<&str> = output.split_terminator('\n').collect();
    assert_eq!(got.len(), sent.len(), "lines; the first: {:?}", got.first());
    for (got, sent) in got.iter().zip(sent) {
        assert!(fits(got, fields, sent), "{sent:?} with {fields} came as {got}");
    }
}

/// A client that sends the lines of a file, and ends.
fn fields_of(name: &str, fields: &str, command: impl FnOnce(&Job) -> Result<Command, Missing>) {
    let mut receiver = Receiver::start(name, OPTIONS);
    let sent = lines(MANY);
    let job = Job { port: receiver.port().to_string(), file: write_lines(&receiver, &sent), pause_ms: "0" };
    match command(&job) {
        Ok(mut client) => run(&receiver, &mut client),
        Err(missing) => return skip(&missing.0),
    }
    receiver.stop();
    assert_fields(&receiver, &sent, fields);
}

/// A daemon that follows the file.
pub(super) fn fields_of_daemon(
    name: &str,
    options: &[&str],
    fields: &str,
    command: impl FnOnce(&Receiver, &Path) -> Result<Command, Missing>,
) {
    let mut receiver = Receiver::start(name, &[OPTIONS, options].concat());
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
        let output = receiver.output();
        if output.ends_with(format!("{}\"}}\n", sent[MANY - 1]).as_bytes()) {
            return Ok(());
        }
        let said = fs::read_to_string(receiver.path("said")).unwrap();
        let end = output.get(output.len().saturating_sub(300)..).unwrap_or_default().escape_ascii().to_string();
        Err(format!("…{end}, and the daemon says: {said}"))
    });
    running.signal("TERM");
    eventually("the daemon's end", || ended(&mut running));
    receiver.stop();
    assert_fields(&receiver, &sent, fields);
}

fn logger(job: &Job, form: &[&str]) -> Result<Command, Missing> {
    let mut command = Program::find("logger")?.command();
    command.args(form).args(["--tcp", "--server", "127.0.0.1", "--port", &job.port, "--tag", "me"]);
    command.args(["--priority", "auth.err", "--file"]).arg(&job.file);
    Ok(command)
}

#[test]
fn p22_fields_of_logger_with_rfc3164() {
    let fields = r#"severity":"err","facility":"auth","time":"20*","hostname":"*","app":"me""#;
    fields_of("logger-3164", fields, |job| logger(job, &["--rfc3164"]));
}

#[test]
fn p22_fields_of_logger_with_rfc3164_and_a_pid() {
    let fields = r#"severity":"err","facility":"auth","time":"20*","hostname":"*","app":"me","pid":"77""#;
    fields_of("logger-pid", fields, |job| logger(job, &["--rfc3164", "--id=77"]));
}

#[test]
fn p22_fields_of_logger_with_rfc5424() {
    let fields = r#"severity":"err","facility":"auth","time":"20*","hostname":"*","app":"me","msgid":"ID47","sd":{"a@32473":{"b":"c","d":"e"}}"#;
    let form =
        ["--rfc5424=notq", "--msgid", "ID47", "--sd-id", "a@32473", "--sd-param", "b=\"c\"", "--sd-param", "d=\"e\""];
    fields_of("logger-5424", fields, |job| logger(job, &form));
}

#[test]
fn p22_fields_of_python_syslog_handler() {
    fields_of("syslog-python", r#"severity":"info","facility":"user""#, |job| python_client("syslog", job));
}

#[test]
fn p22_fields_of_rsyslogd() {
    let same = r#"severity":"notice","facility":"local0","time":"20*","hostname":"*","app":"app""#;
    for (name, template) in [
        ("rsyslogd-5424", "RSYSLOG_SyslogProtocol23Format"),
        ("rsyslogd-forward", "RSYSLOG_ForwardFormat"),
        ("rsyslogd-traditional", "RSYSLOG_TraditionalForwardFormat"),
    ] {
        fields_of_daemon(name, &[], same, |receiver, file| {
            // These templates have no newline at their end; traditional framing brings it.
            rsyslog_as(receiver, file, &format!(r#"TCP_Framing="traditional" template="{template}""#))
        });
    }
}

#[test]
fn p22_fields_of_syslog_ng() {
    let old = r#"severity":"notice","facility":"user","time":"20*","hostname":"gw-7","app":"me""#;
    let new = format!(r#"{old},"sd":{{"meta":{{"sequenceId":"*"}}}}"#);
    for (name, flags, fields) in
        [("syslog-ng-3164", "", old), ("syslog-ng-5424", "flags(syslog-protocol)", new.as_str())]
    {
        fields_of_daemon(name, &[], fields, |receiver, file| {
            let source = "program-override(\"me\") host-override(\"gw-7\")";
            syslog_ng(receiver, file, source, |port| {
                format!(r#"network("127.0.0.1" port({port}) transport("tcp") {flags})"#)
            })
        });
    }
}

/// HAProxy's own log, by its ring: a line for each request.
#[test]
fn p22_fields_of_haproxy_through_its_ring() {
    for format in ["rfc5424", "rfc3164"] {
        let mut receiver = Receiver::start(&format!("haproxy-{format}"), OPTIONS);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let program = match Program::find("haproxy") {
            Ok(program) => program,
            Err(missing) => return skip(&missing.0),
        };
        let config = format!(
            "ring lumberjack\n format {format}\n maxlen 1200\n size 32764\n timeout connect 5s\n timeout server 10s\n \
             server receiver 127.0.0.1:{receiver_port}\n\
             global\n log-tag lb\n log-send-hostname gw-7\n log ring@lumberjack format {format} local0\n\
             defaults\n mode http\n log global\n log-format \"%HM %HU [end]\"\n timeout connect 5s\n timeout client 5s\n \
             timeout server 5s\n\
             frontend front\n bind 127.0.0.1:{port}\n http-request return status 204\n",
            receiver_port = receiver.port(),
        );
        fs::write(receiver.path("conf"), config).unwrap();
        let said = File::create(receiver.path("said")).unwrap();
        let mut command = program.command();
        command.arg("-db").arg("-f").arg(receiver.path("conf")).stdin(Stdio::null());
        command.stdout(said.try_clone().unwrap()).stderr(said);
        let mut running = Guard::spawn(&mut command).unwrap();
        let ask = |number: usize| -> Result<(), String> {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?.patient();
            let request = format!("GET /{number} HTTP/1.0\r\n\r\n");
            stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
            stream.read_to_end(&mut Vec::new()).map(drop).map_err(|error| error.to_string())
        };
        eventually("haproxy", || ask(0).map_err(|why| why + &fs::read_to_string(receiver.path("said")).unwrap()));
        (1..20).for_each(|number| ask(number).unwrap());
        let sent: Vec<String> = (0..20).map(|number| format!("GET /{number} [end]")).collect();
        let fields = r#"severity":"info","facility":"local0","time":"20*","hostname":"gw-7","app":"lb","pid":"*""#;
        // It says that it started, too, and may say it after the first requests.
        let of_requests = |output: &[u8]| {
            let text = String::from_utf8_lossy(output).into_owned();
            text.lines().filter(|line| line.contains("GET /")).map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let got = eventually("all requests", || {
            let got = of_requests(&receiver.output());
            if got.len() >= sent.len() { Ok(got) } else { Err(format!("{got:?}")) }
        });
        for (got, sent) in got.iter().zip(&sent) {
            assert!(fits(got, fields, sent), "{sent:?} with {fields} came as {got}");
        }
        running.signal("TERM");
        eventually("haproxy's end", || ended(&mut running));
        receiver.stop();
        assert_eq!(of_requests(&receiver.output()).len(), sent.len());
    }
}
