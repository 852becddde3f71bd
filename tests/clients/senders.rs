//! More real senders of syslog and GELF, over each transport that they offer (P21 to P23): what is sent comes out once, with
//! its fields. What docs/clients.md and docs/syslog.md say of each is tried here.

use std::path::Path;
use std::process::Command;

use crate::common::skip::skip;
use crate::receiver::Receiver;
use crate::syslog::{fields_of_daemon, fits, matches};
use crate::tools::{Missing, Program, go_sender, graypy, java, node};
use crate::{LOG4J2_JARS, lines, rsyslog_as, run, source, write_lines};

/// So many of these lines fit the receive buffer of a UDP socket, whatever the system's default.
const SOME: usize = 100;
const FIELDS: [&str; 4] = ["--format", "json", "--parse", "syslog"];
const UDP: [&str; 2] = ["--listen", "udp:127.0.0.1:0"];

/// A receiver of fields at a TCP port with this framing, at a Unix socket and at a UDP port.
fn receiver(name: &str, framing: &str) -> Receiver {
    Receiver::start(name, &[&FIELDS[..], &UDP, &["--framing", framing]].concat())
}

/// What came out.
fn output(receiver: &Receiver) -> Vec<String> {
    String::from_utf8_lossy(&receiver.output()).split_terminator('\n').map(ToOwned::to_owned).collect()
}

/// Each of these lines has the fields, and as its message what was sent, behind `before`.
fn assert_each(got: &[String], sent: &[String], fields: &str, before: &str) {
    assert_eq!(got.len(), sent.len(), "lines; the first: {:?}", got.first());
    for (got, sent) in got.iter().zip(sent) {
        assert!(fits(got, fields, &format!("{before}{sent}")), "{before}{sent:?} with {fields} came as {got}");
    }
}

/// What comes of the lines of a file that a client sends, and ends; nothing is warned of. `None`: there is no such client.
fn send(
    name: &str,
    framing: &str,
    sent: &[String],
    command: impl FnOnce(&Receiver, &Path) -> Result<Command, Missing>,
) -> Option<Vec<String>> {
    let mut receiver = receiver(name, framing);
    let file = write_lines(&receiver, sent);
    match command(&receiver, &file) {
        Ok(mut client) => run(&receiver, &mut client),
        Err(missing) => {
            skip(&missing.0);
            return None;
        }
    }
    receiver.stop();
    let log = receiver.log();
    assert!(!log.contains("[WARN]") && !log.contains("[ERROR]"), "{log}");
    Some(output(&receiver))
}

/// The port of a transport.
fn port_of(receiver: &Receiver, transport: &str) -> String {
    if transport.starts_with("udp") { receiver.udp_port() } else { receiver.port() }.to_string()
}

/// `logger` as it comes says how good its clock is, which is not the same on each machine.
fn without_time_quality(line: &str) -> String {
    let (head, rest) =
        line.split_once(r#","sd":{"timeQuality":{"#).unwrap_or_else(|| panic!("no timeQuality in {line}"));
    let (_, tail) = rest.split_once("}}").unwrap_or_else(|| panic!("no end of timeQuality in {line}"));
    format!("{head}{tail}")
}

#[test]
fn p22_logger_in_each_form_over_each_transport() {
    let fields = r#"severity":"err","facility":"auth","time":"20*","hostname":"*","app":"me","pid":"77""#;
    let sent = lines(SOME);
    for (transport, options, framing) in [
        ("udp", ["--udp"].as_slice(), "lines"),
        ("tcp", &["--tcp"], "lines"),
        ("tcp-octet", &["--tcp", "--octet-count"], "octet"),
    ] {
        for form in [None, Some("--rfc3164"), Some("--rfc5424"), Some("--rfc5424=notq")] {
            let name = format!("{transport}{}", form.unwrap_or("-as-it-comes"));
            let got = send(&name, framing, &sent, |receiver, file| {
                let mut command = Program::find("logger")?.command();
                command.args(options).args(form).args([
                    "--server",
                    "127.0.0.1",
                    "--port",
                    &port_of(receiver, transport),
                ]);
                command.args(["--tag", "me", "--id=77", "--priority", "auth.err", "--file"]).arg(file);
                Ok(command)
            });
            let Some(mut got) = got else { return };
            if matches!(form, None | Some("--rfc5424")) {
                got = got.iter().map(|line| without_time_quality(line)).collect();
            }
            assert_each(&got, &sent, fields, "");
        }
    }
}

/// The command of the README, and the action that docs/clients.md shows: octet counting in, fields out.
#[test]
fn p21_octet_counting_of_rsyslogd_becomes_fields() {
    let fields = r#"severity":"notice","facility":"local0","time":"20*","hostname":"*","app":"app""#;
    fields_of_daemon("octet-fields", &["--framing", "auto-octet"], fields, |receiver, file| {
        rsyslog_as(receiver, file, r#"TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format""#)
    });
}

/// loggen makes its own lines, numbered from 0; each begins as `expected`, in which `*` stands for what changes. `None`: there
/// is no loggen.
fn loggen(name: &str, framing: &str, options: &[&str], expected: &str) -> Option<()> {
    let got = send(name, framing, &[], |receiver, _| {
        let mut command = Program::find("loggen")?.command();
        command.args(["--quiet", "--size", "300"]).args(options);
        if options.contains(&"--unix") {
            command.arg(receiver.path("socket"));
            return Ok(command);
        }
        let transport = if options.contains(&"--dgram") { "udp" } else { "tcp" };
        command.args(["127.0.0.1", &port_of(receiver, transport)]);
        Ok(command)
    })?;
    // For a second it sends as many as it gets to.
    assert!(got.len() == SOME || (options.contains(&"--interval") && got.len() > 1), "{} lines", got.len());
    // All that changes is as long in each line as in the others, so one that was cut or joined is seen.
    let len = got[0].len();
    for (number, got) in got.iter().enumerate() {
        let parts = got.split_once(r#","host":""#).and_then(|(_, got)| got.split_once("seq: "));
        let Some((head, rest)) = parts else { panic!("{got} has no number") };
        assert!(rest.starts_with(&format!("{number:010}, ")) && got.len() == len, "{number} came as {got}");
        assert!(matches(head, expected), "{expected} came as {got}");
    }
    Some(())
}

#[test]
fn p22_loggen_with_and_without_framing_over_each_transport() {
    // Its time has no zone, so that it is none of RFC 3339, and stays in the line.
    let old = r#"127.0.0.1","severity":"info","facility":"auth","line":"20* localhost prg00000[1234]: "#;
    let new = r#"127.0.0.1","severity":"info","facility":"auth","time":"20*","hostname":"localhost","app":"prg00000","pid":"1234","#;
    let (new, with_data) =
        (format!(r#"{new}"line":""#), format!(r#"{new}"sd":{{"test":{{"name":"value"}}}},"line":""#));
    let count = ["--rate", "10000", "--number", "100"];
    let sdata = r#"[test name="value"]"#;
    for (name, framing, options, expected) in [
        ("udp", "lines", ["--inet", "--dgram"].as_slice(), old),
        ("unix", "lines", &["--unix", "--stream"], &old.replace("127.0.0.1", "unix")),
        ("udp-5424", "lines", &["--inet", "--dgram", "--syslog-proto", "--no-framing"], &new),
        ("tcp-5424", "lines", &["--inet", "--stream", "--syslog-proto", "--no-framing"], &new),
        ("octet", "octet", &["--inet", "--stream", "--syslog-proto"], &new),
        ("octet-sd", "auto-octet", &["--inet", "--stream", "--syslog-proto", "--sdata", sdata], &with_data),
    ] {
        if loggen(&format!("loggen-{name}"), framing, &[options, &count].concat(), expected).is_none() {
            return;
        }
    }
    let _ = loggen("loggen-second", "lines", &["--inet", "--stream", "--interval", "1", "--rate", "200"], old);
}

#[test]
fn p21_graypy_over_tcp_and_udp() {
    let sent = lines(SOME);
    // It writes JSON in ASCII.
    let escaped: Vec<String> = sent.iter().map(|line| line.replace('ü', "\\u00fc").replace('ß', "\\u00df")).collect();
    for (transport, framing) in [("tcp", "nul"), ("udp", "lines")] {
        let mut receiver =
            Receiver::start(&format!("graypy-{transport}"), &[&UDP[..], &["--framing", framing]].concat());
        let file = write_lines(&receiver, &sent);
        let mut client = match graypy() {
            Ok(client) => client,
            Err(missing) => return skip(&missing.0),
        };
        client.args([&source("graypy_client.py"), transport, &port_of(&receiver, transport)]).arg(file);
        run(&receiver, &mut client);
        receiver.stop();
        let got = output(&receiver);
        assert_eq!(got.len(), SOME, "lines; the first: {:?}", got.first());
        for (got, sent) in got.iter().zip(&escaped) {
            let whole = got.starts_with(r#"{"version":"1."#) && got.ends_with('}') && got.matches("[end]").count() == 1;
            assert!(whole && got.contains(&format!(r#","short_message":"{sent}","#)), "{sent} came as {got}");
        }
    }
}

/// What a sender sends that ends no message: one line, and a warning that names the cure.
fn assert_endless(receiver: &mut Receiver, sent: &[String]) {
    receiver.stop();
    let got = output(receiver);
    assert_eq!(got.len(), 1, "{got:?}");
    let mut rest = got[0].as_str();
    for sent in sent {
        rest = rest.split_once(sent.as_str()).unwrap_or_else(|| panic!("{sent} is not in {rest}")).1;
    }
    let log = receiver.log();
    assert_eq!(log.matches(" seems to speak syslog messages that nothing ends, not lines: ").count(), 1, "{log}");
}

/// All of log4j2's appenders in one JVM: the MSGID tells them apart.
#[test]
fn p22_log4j2_syslog_appender_over_tcp_and_udp_with_and_without_an_end() {
    let (mut all, mut endless) = (receiver("log4j2-syslog", "lines"), receiver("log4j2-endless", "lines"));
    let sent = lines(SOME);
    let mut client = match java(LOG4J2_JARS) {
        Ok(client) => client,
        Err(missing) => return skip(&missing.0),
    };
    client.arg(format!("-Dport={}", all.port())).arg(format!("-DudpPort={}", all.udp_port()));
    client.arg(format!("-DendlessPort={}", endless.port()));
    client.arg(format!("-Dlog4j2.configurationFile={}", source("log4j2-syslog.xml")));
    client.arg(source("Log4j2.java")).arg(write_lines(&all, &sent)).arg("0");
    run(&all, &mut client);
    all.stop();
    let got = output(&all);
    let with = |mark: &str| got.iter().filter(|line| line.contains(mark)).cloned().collect::<Vec<_>>();
    let shop = r#"severity":"info","facility":"local0","time":"20*","hostname":"*","app":"shop","pid":"*","msgid":""#;
    let tcp = format!(r#"{shop}tcp","sd":{{"app@32473":{{"logger":"app"}}}}"#);
    assert_each(&with(r#""msgid":"tcp""#), &sent, &tcp, "");
    assert_each(&with(r#""msgid":"udp""#), &sent, &format!(r#"{shop}udp""#), "");
    let bsd = with(r#""facility":"local1""#);
    assert_eq!((bsd.len(), got.len()), (SOME, 3 * SOME), "lines; the first: {:?}", got.first());
    for (got, sent) in bsd.iter().zip(&sent) {
        // It names no app, so that its host can't be told from the first word of a message.
        let (head, line) = got.split_once(r#","line":""#).unwrap();
        let (_, head) = head.split_once(r#","host":"127.0.0.1",""#).unwrap();
        assert!(matches(head, r#"severity":"info","facility":"local1","time":"20*""#), "{sent} came as {got}");
        let message = line.split_once(' ').map(|(_, message)| message);
        assert_eq!(message, Some(format!(r#"{sent}"}}"#).as_str()));
    }
    assert!(!all.log().contains("[WARN]"), "{}", all.log());
    assert_endless(&mut endless, &sent);
}

#[test]
fn p22_winston_syslog_over_tcp_and_udp() {
    let sent = lines(SOME);
    let fields = r#"severity":"notice","facility":"local0","time":"20*","hostname":"gw-7","app":"shop","pid":"7""#;
    let command = |receiver: &Receiver, file: &Path, protocol: &str, more: &[&str]| {
        let mut command = node(&["winston", "winston-syslog"])?;
        command.args([&source("winston-syslog.mjs"), &port_of(receiver, protocol)]).arg(file).arg(protocol).args(more);
        Ok(command)
    };
    for (protocol, form) in [("udp4", "BSD"), ("udp4", "RFC5424"), ("tcp4", "BSD"), ("tcp4", "RFC5424")] {
        let name = format!("winston-{protocol}-{form}");
        let got = send(&name, "lines", &sent, |receiver, file| command(receiver, file, protocol, &[form]));
        let Some(got) = got else { return };
        assert_each(&got, &sent, fields, "");
    }
    let mut receiver = receiver("winston-endless", "lines");
    let file = write_lines(&receiver, &sent);
    match command(&receiver, &file, "tcp4", &["RFC5424", "endless"]) {
        Ok(mut client) => run(&receiver, &mut client),
        Err(missing) => return skip(&missing.0),
    }
    assert_endless(&mut receiver, &sent);
}

#[test]
fn p22_syslog_client_of_node_over_tcp_and_udp() {
    let sent = lines(SOME);
    let new = r#"severity":"notice","facility":"local0","time":"20*","hostname":"gw-7","app":"shop","pid":"*""#;
    // It names no app, so that its host can't be told from the first word of a message.
    let old = r#"severity":"notice","facility":"local0","time":"20*""#;
    for transport in ["Udp", "Tcp"] {
        for (form, fields, before) in [("rfc5424", new, ""), ("rfc3164", old, "gw-7 ")] {
            let got = send(&format!("node-{transport}-{form}"), "lines", &sent, |receiver, file| {
                let mut command = node(&["syslog-client"])?;
                command.args([&source("syslog-client.mjs"), &port_of(receiver, &transport.to_lowercase())]);
                command.arg(file).args([transport, form]);
                Ok(command)
            });
            let Some(got) = got else { return };
            assert_each(&got, &sent, fields, before);
        }
    }
}

#[test]
fn p22_go_s_log_syslog_over_tcp_udp_and_a_unix_socket() {
    let sent = lines(SOME);
    let fields = r#"severity":"notice","facility":"local0","time":"20*","hostname":"*","app":"app","pid":"*""#;
    for transport in ["tcp", "udp", "unix"] {
        let got = send(&format!("go-{transport}"), "lines", &sent, |receiver, file| {
            let mut command = go_sender()?;
            if transport == "unix" {
                command.arg(transport).arg(receiver.path("socket"));
            } else {
                command.args([transport, &format!("127.0.0.1:{}", port_of(receiver, transport))]);
            }
            command.arg(file);
            Ok(command)
        });
        let Some(got) = got else { return };
        if transport == "unix" {
            // To a socket of its own box it names no host.
            let fields = fields.replace(r#""hostname":"*","#, "");
            let got: Vec<_> =
                got.iter().map(|line| line.replace(r#""host":"unix""#, r#""host":"127.0.0.1""#)).collect();
            assert_each(&got, &sent, &fields, "");
            continue;
        }
        assert_each(&got, &sent, fields, "");
    }
}
