//! What the goodbye to a quiet client costs behind proxies and tools that people put in front (P6): each sends a few lines
//! with pauses longer than `--idle-timeout`. With `--idle-close needed` none is lost; with `always` some are, behind those
//! that take our FIN for the end, and the log says why. The table in docs/clients.md is made of these runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::common::patience::Guard;
use crate::common::skip::skip;
use crate::receiver::{Receiver, ended, eventually};
use crate::tools::{Missing, Program};

/// Longer than `--idle-timeout 1s`, by more than a busy machine's delays.
const PAUSE: Duration = Duration::from_millis(1600);

/// How many lines are sent: few, or as many as the table in docs/clients.md counts.
fn count() -> usize {
    std::env::var("LUMBERJACK_QUIET_LINES").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

/// What comes of the lines with `--idle-close always`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Always {
    /// All arrive.
    Keeps,
    /// Not all do: the client or the proxy takes our goodbye for the end.
    Loses,
}

/// Writes the lines, and gives up when they can't be written any more, as most programs do.
fn write_lines(mut to: impl Write) {
    for number in 1..=count() {
        if to.write_all(format!("line {number}\n").as_bytes()).and_then(|()| to.flush()).is_err() {
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Sends the lines with either setting, and checks what came of them.
fn try_both(name: &str, always: Always, send: &dyn Fn(&Receiver) -> Result<(), Missing>) {
    for idle_close in ["needed", "always"] {
        let options = ["--idle-timeout", "1s", "--idle-close", idle_close];
        let mut receiver = Receiver::start(&format!("goodbye-{name}-{idle_close}"), &options);
        if let Err(missing) = send(&receiver) {
            return skip(&missing.0);
        }
        receiver.stop();
        let (output, log) = (String::from_utf8_lossy(&receiver.output()).into_owned(), receiver.log());
        let arrived = (1..=count()).filter(|n| output.lines().any(|line| line.ends_with(&format!("line {n}")))).count();
        let _ = writeln!(io::stderr(), "{name}, {idle_close}: {arrived} of {} lines arrived", count());
        let is_told = log.contains("[tcp] Socket timeout on ");
        let is_named = log.contains(" closed at our goodbye: ");
        if idle_close == "needed" {
            assert_eq!((arrived, is_told), (count(), false), "{name} with needed; the log: {log}");
            continue;
        }
        assert!(is_told, "no goodbye was said to {name}; the log: {log}");
        match always {
            Always::Keeps => assert_eq!(arrived, count(), "{name} with always; the log: {log}"),
            Always::Loses => assert!(arrived < count() && is_named, "{name}: {arrived} arrived; the log: {log}"),
        }
    }
}

/// A tool that reads the lines from its stdin.
fn through_tool(name: &str, always: Always, command: impl Fn(u16) -> Result<Command, Missing>) {
    try_both(name, always, &|receiver| {
        let mut command = command(receiver.port())?;
        let said = File::create(receiver.path("said")).unwrap();
        command.stdin(Stdio::piped()).stdout(said.try_clone().unwrap()).stderr(said);
        let mut running = Guard::spawn(&mut command).unwrap();
        write_lines(running.0.stdin.take().unwrap());
        eventually("the tool's end", || ended(&mut running));
        Ok(())
    });
}

/// A proxy, and behind it a client that never looks at its socket.
fn through_proxy(name: &str, always: Always, command: impl Fn(&Receiver, u16) -> Result<Command, Missing>) {
    try_both(name, always, &|receiver| {
        let port = free_port();
        let mut command = command(receiver, port)?;
        let said = File::create(receiver.path("said")).unwrap();
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let mut running = Guard::spawn(&mut command).unwrap();
        let client = eventually("the proxy", || {
            if let Ok(status) = ended(&mut running) {
                panic!("{name} ended with {status}: {}", fs::read_to_string(receiver.path("said")).unwrap());
            }
            TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())
        });
        write_lines(client);
        running.signal("TERM");
        eventually("the proxy's end", || ended(&mut running));
        Ok(())
    });
}

fn nginx(receiver: &Receiver, port: u16, option: &str) -> Result<Command, Missing> {
    let program = Program::find("nginx")?;
    let module = program.file("usr/lib/nginx/modules/ngx_stream_module.so");
    if !module.is_file() {
        return Err(Missing(format!("nginx has no stream module at {}", module.display())));
    }
    let config = format!(
        "load_module {module};\ndaemon off;\nmaster_process off;\npid {pid};\nevents {{}}\n\
         stream {{\n  server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{to}; {option} }}\n}}\n",
        module = module.display(),
        pid = receiver.path("pid").display(),
        to = receiver.port(),
    );
    fs::write(receiver.path("nginx.conf"), config).unwrap();
    let mut command = program.command();
    command.arg("-p").arg(receiver.path("")).args(["-e", "stderr", "-c"]).arg(receiver.path("nginx.conf"));
    Ok(command)
}

#[test]
fn p6_quiet_behind_nginx_as_it_comes() {
    through_proxy("nginx", Always::Loses, |receiver, port| nginx(receiver, port, ""));
}

#[test]
fn p6_quiet_behind_nginx_with_half_close() {
    through_proxy("nginx-half", Always::Keeps, |receiver, port| nginx(receiver, port, "proxy_half_close on;"));
}

#[test]
fn p6_quiet_behind_haproxy() {
    through_proxy("haproxy", Always::Keeps, |receiver, port| {
        let program = Program::find("haproxy")?;
        let config = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             listen logs\n  bind 127.0.0.1:{port}\n  server lumberjack 127.0.0.1:{to}\n",
            to = receiver.port(),
        );
        fs::write(receiver.path("haproxy.cfg"), config).unwrap();
        let mut command = program.command();
        command.args(["-db", "-f"]).arg(receiver.path("haproxy.cfg"));
        Ok(command)
    });
}

#[test]
fn p6_quiet_behind_socat() {
    through_proxy("socat-proxy", Always::Loses, |receiver, port| {
        let mut command = Program::find("socat")?.command();
        command.arg(format!("TCP-LISTEN:{port},bind=127.0.0.1")).arg(format!("TCP:127.0.0.1:{}", receiver.port()));
        Ok(command)
    });
}

#[test]
fn p6_quiet_behind_socat_one_way() {
    through_proxy("socat-one-way", Always::Keeps, |receiver, port| {
        let mut command = Program::find("socat")?.command();
        let from = format!("TCP-LISTEN:{port},bind=127.0.0.1");
        command.args(["-u", &from, &format!("TCP:127.0.0.1:{}", receiver.port())]);
        Ok(command)
    });
}

#[test]
fn p6_quiet_socat_that_only_sends() {
    through_tool("socat-u", Always::Keeps, |port| {
        let mut command = Program::find("socat")?.command();
        command.args(["-u", "-", &format!("TCP:127.0.0.1:{port}")]);
        Ok(command)
    });
}

#[test]
fn p6_quiet_busybox_nc() {
    through_tool("busybox-nc", Always::Loses, |port| {
        let mut command = Program::find("busybox")?.command();
        command.args(["nc", "127.0.0.1", &port.to_string()]);
        Ok(command)
    });
}

#[test]
fn p6_quiet_openbsd_nc() {
    through_tool("openbsd-nc", Always::Keeps, |port| {
        let mut command = Program::find("nc.openbsd")?.command();
        command.args(["-N", "127.0.0.1", &port.to_string()]);
        Ok(command)
    });
}

#[test]
fn p6_quiet_logger() {
    through_tool("logger", Always::Keeps, |port| {
        let mut command = Program::find("logger")?.command();
        command.args(["--tcp", "--server", "127.0.0.1", "--port", &port.to_string()]);
        Ok(command)
    });
}

#[test]
fn p6_quiet_node_as_it_comes() {
    try_both("node", Always::Loses, &|receiver| {
        let file = receiver.path("in");
        let lines: String = (1..=count()).map(|number| format!("line {number}\n")).collect();
        fs::write(&file, lines).unwrap();
        let mut command = Program::find("node")?.command();
        command.arg(super::source("net.mjs")).arg(receiver.port().to_string()).arg(file);
        command.args([&PAUSE.as_millis().to_string(), "plain"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Guard::spawn(&mut command).unwrap();
        eventually("node's end", || ended(&mut running));
        Ok(())
    });
}

#[test]
fn p6_quiet_rsyslog() {
    try_both("rsyslog", Always::Keeps, &|receiver| {
        let file = receiver.path("in");
        File::create(&file).unwrap();
        let mut command = super::rsyslog(receiver, &file)?;
        let said = File::create(receiver.path("said")).unwrap();
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let mut running = Guard::spawn(&mut command).unwrap();
        write_lines(OpenOptions::new().append(true).open(&file).unwrap());
        running.signal("TERM");
        eventually("rsyslog's end", || ended(&mut running));
        Ok(())
    });
}
