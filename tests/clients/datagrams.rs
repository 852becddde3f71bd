//! Real senders of syslog over UDP (P23): each message arrives, as one line. There are few enough at once for the receive
//! buffer that a system has as its own, and none is lost on loopback.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::patience::{Guard, output_of};
use crate::common::skip::{not_here, skip};
use crate::receiver::{Receiver, ended, eventually};
use crate::tools::{Missing, Program};
use crate::{Dress, SYSLOG, assert_received, lines, run, source};

/// So many of these lines fit the smallest default of a receive buffer.
const SOME: usize = 100;
const OPTIONS: &[&str] = &["--listen", "udp:127.0.0.1:0"];
const PRI: Dress = Dress::Around { start: "<14>", end: "" };

/// A client that sends the lines of a file, a datagram each.
fn deliver(name: &str, dress: &Dress, command: impl FnOnce(u16, &Path) -> Result<Command, Missing>) {
    let mut receiver = Receiver::start(name, OPTIONS);
    let (sent, file) = (lines(SOME), receiver.path("in"));
    fs::write(&file, sent.join("\n") + "\n").unwrap();
    match command(receiver.udp_port(), &file) {
        Ok(mut client) => run(&receiver, &mut client),
        Err(missing) => return skip(&missing.0),
    }
    receiver.stop();
    assert_received(&receiver, &sent, dress);
}

#[test]
fn p23_logger_over_udp() {
    deliver("udp-logger", &SYSLOG, |port, file| {
        let mut command = Program::find("logger")?.command();
        command.args(["--udp", "--server", "127.0.0.1", "--port", &port.to_string(), "--file"]).arg(file);
        Ok(command)
    });
}

#[test]
fn p23_python_s_syslog_handler_over_udp_as_it_comes() {
    deliver("udp-python", &PRI, |port, file| {
        let mut command = Program::find("python3")?.command();
        command.args([&source("logging_client.py"), "udp", &port.to_string()]).arg(file).arg("0");
        Ok(command)
    });
}

/// A daemon that is made to log words which come out in this order; it is told to end then.
fn by_daemon(
    name: &str,
    words: &[&str],
    command: impl FnOnce(&Receiver) -> Result<Command, Missing>,
    make_it_log: impl Fn(&Receiver),
) -> Option<Vec<String>> {
    let mut receiver = Receiver::start(name, OPTIONS);
    let mut daemon = match command(&receiver) {
        Ok(daemon) => daemon,
        Err(missing) => {
            skip(&missing.0);
            return None;
        }
    };
    let said = File::create(receiver.path("said")).unwrap();
    daemon.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
    let mut running = Guard::spawn(&mut daemon).unwrap();
    make_it_log(&receiver);
    let mut text = String::new();
    eventually("what it logs", || {
        text = String::from_utf8_lossy(&receiver.output()).into_owned();
        if let Ok(status) = ended(&mut running) {
            panic!("{daemon:?} ended with {status}: {}", fs::read_to_string(receiver.path("said")).unwrap());
        }
        let mut rest = text.as_str();
        let comes_next = |word: &&str| rest.split_once(word).map(|(_, behind)| rest = behind).is_some();
        if words.iter().all(comes_next) { Ok(()) } else { Err(text.clone()) }
    });
    running.signal("TERM");
    eventually("the daemon's end", || ended(&mut running));
    receiver.stop();
    Some(text.lines().map(ToOwned::to_owned).collect())
}

#[test]
fn p23_rsyslogd_omfwd_over_udp() {
    let lines = by_daemon(
        "udp-rsyslogd",
        &["line 1 ", "line 2 "],
        |receiver| {
            let program = Program::find("rsyslogd")?;
            let file = receiver.path("in");
            fs::write(&file, "line 1 of 2\nline 2 of 2\n").unwrap();
            let config = format!(
                "global(workDirectory=\"{folder}\" net.enableDNS=\"off\")\nmodule(load=\"imfile\")\n\
                 input(type=\"imfile\" file=\"{file}\" tag=\"app\" ruleset=\"forward\")\n\
                 ruleset(name=\"forward\") {{\n  action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"udp\")\n}}\n",
                folder = receiver.path("").display(),
                file = file.display(),
                port = receiver.udp_port(),
            );
            fs::write(receiver.path("rsyslog.conf"), config).unwrap();
            let mut command = program.command();
            command.arg("-n").arg("-f").arg(receiver.path("rsyslog.conf")).arg("-i").arg(receiver.path("pid"));
            if let Some(modules) = program.rsyslog_modules() {
                command.arg("-M").arg(modules);
            }
            Ok(command)
        },
        |_| {},
    );
    let is_message = |line: &String| line.starts_with("<133>") && line.contains(" app ");
    assert!(lines.is_none_or(|lines| lines.len() == 2 && lines.iter().all(is_message)));
}

#[test]
fn p23_syslog_ng_over_udp() {
    let lines = by_daemon(
        "udp-syslog-ng",
        &["line 1 of 2", "line 2 of 2"],
        |receiver| {
            let program = Program::find("syslog-ng")?;
            let file = receiver.path("in");
            fs::write(&file, "line 1 of 2\nline 2 of 2\n").unwrap();
            let config = format!(
                "@version: current\noptions {{ stats-freq(0); }};\n\
                 source s {{ file(\"{file}\" flags(no-parse) follow-freq(1)); }};\n\
                 destination d {{ network(\"127.0.0.1\" port({port}) transport(\"udp\")); }};\n\
                 log {{ source(s); destination(d); }};\n",
                file = file.display(),
                port = receiver.udp_port(),
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
        },
        |_| {},
    );
    assert!(lines.is_none_or(|lines| lines.len() == 2 && lines.iter().all(|line| line.starts_with('<'))));
}

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks a web server for this page, once it is there.
fn ask(port: u16, page: &str) {
    let mut client =
        eventually("the web server", || TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string()));
    client.write_all(format!("GET {page} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
    let _ = client.read_to_end(&mut Vec::new());
}

#[test]
fn p23_nginx_access_log() {
    let port = free_port();
    let lines = by_daemon(
        "udp-nginx",
        &["GET /one ", "GET /two "],
        |receiver| {
            let program = Program::find("nginx")?;
            let config = format!(
                "daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\n\
                 http {{\n  access_log syslog:server=127.0.0.1:{to};\n  client_body_temp_path {folder}/b;\n  proxy_temp_path {folder}/p;\n  \
                 fastcgi_temp_path {folder}/f;\n  uwsgi_temp_path {folder}/u;\n  scgi_temp_path {folder}/s;\n  \
                 server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }}\n}}\n",
                folder = receiver.path("").display(),
                to = receiver.udp_port(),
            );
            fs::write(receiver.path("nginx.conf"), config).unwrap();
            let mut command = program.command();
            command.arg("-p").arg(receiver.path("")).args(["-e", "stderr", "-c"]).arg(receiver.path("nginx.conf"));
            Ok(command)
        },
        |_| ["/one", "/two"].iter().for_each(|page| ask(port, page)),
    );
    let is_message = |line: &String| line.starts_with("<190>") && line.contains(" nginx: ");
    assert!(lines.is_none_or(|lines| lines.len() == 2 && lines.iter().all(is_message)));
}

#[test]
fn p23_haproxy_log() {
    let port = free_port();
    let lines = by_daemon(
        "udp-haproxy",
        &["GET /one ", "GET /two "],
        |receiver| {
            let program = Program::find("haproxy")?;
            let config = format!(
                "global\n  nbthread 1\n  log 127.0.0.1:{to} local0\ndefaults\n  mode http\n  log global\n  option httplog\n  timeout connect 5s\n  \
                 timeout client 1h\n  timeout server 1h\nfrontend web\n  bind 127.0.0.1:{port}\n  http-request return status 204\n",
                to = receiver.udp_port(),
            );
            fs::write(receiver.path("haproxy.cfg"), config).unwrap();
            let mut command = program.command();
            command.args(["-db", "-f"]).arg(receiver.path("haproxy.cfg"));
            Ok(command)
        },
        |_| ["/one", "/two"].iter().for_each(|page| ask(port, page)),
    );
    let of_requests = |line: &&String| line.contains("GET /");
    let is_message = |line: &String| line.starts_with("<134>") && line.contains(" haproxy[");
    assert!(lines.is_none_or(|lines| lines.iter().filter(of_requests).count() == 2 && lines.iter().all(is_message)));
}

/// busybox's syslogd hears what is logged on its own box at /dev/log, here one of a namespace of its own.
#[test]
fn p23_busybox_syslogd_with_r() {
    let inside = |script: &str, rest: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]).args(rest);
        command
    };
    if !output_of(&mut inside("mount -t tmpfs none /dev", &[])).is_ok_and(|output| output.status.success()) {
        return not_here("no /dev of our own can be made here");
    }
    let lines = by_daemon(
        "udp-busybox",
        &["line 1 of 2", "line 2 of 2"],
        |receiver| {
            let program = Program::find("busybox")?;
            let busybox = program.command().get_program().to_string_lossy().into_owned();
            let script = r#"mount -t tmpfs none /dev || exit 8; mknod /dev/null c 1 3 2>/dev/null || : >/dev/null
                "$0" syslogd -n -R "$1" -O "$2" & syslogd=$!
                trap 'kill $syslogd; exit 0' TERM
                until [ -S /dev/log ]; do kill -0 $syslogd || exit 9; sleep 0.01; done
                "$0" logger -t app 'line 1 of 2'; "$0" logger -t app 'line 2 of 2'
                while kill -0 $syslogd; do sleep 0.05; done"#;
            let to = format!("127.0.0.1:{}", receiver.udp_port());
            Ok(inside(script, &[&busybox, &to, receiver.path("messages").to_str().unwrap()]))
        },
        |_| {},
    );
    let of_logger = |line: &&String| line.contains(" of 2");
    let is_message = |line: &String| line.starts_with("<13>") && line.contains("app: line ");
    let lines = lines.map(|lines| lines.iter().filter(of_logger).cloned().collect::<Vec<_>>());
    assert!(lines.as_ref().is_none_or(|lines| lines.len() == 2 && lines.iter().all(is_message)), "{lines:?}");
}
