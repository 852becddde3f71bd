//! Who may connect, who a proxy says that it is, and how much one may send: the options of the binary, and real proxies.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::tools::{Missing, Program};
use crate::common::skip::skip;
use crate::support::conditions::{Dir, until};
use crate::support::receiver::{Guard, Receiver, Setup};

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a proxy that listens at `port`; what connects until it does is a probe.
fn start(command: &mut Command, port: u16) -> Guard {
    let guard = Guard::spawn(command.stdout(Stdio::null()).stderr(Stdio::null())).unwrap();
    until("the proxy", || TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string()));
    guard
}

/// A client of this proxy is the peer of its line, and not the proxy.
fn through_proxy(proxy: impl FnOnce(&Dir, &Receiver, u16) -> Result<Command, Missing>) {
    let dir = Dir::new();
    let receiver = Receiver::start(&["--format", "peer", "--listen", "127.0.0.1:0", "--allow", "127.0.0.1", "--proxy"]);
    let port = free_port();
    let mut command = match proxy(&dir, &receiver, port) {
        Ok(command) => command,
        Err(Missing(why)) => return skip(&why),
    };
    let _proxy = start(&mut command, port);
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"through a proxy\n").unwrap();
    let line = format!(" {} through a proxy", client.local_addr().unwrap());
    until("its line", || {
        let lines = receiver.lines();
        if lines.iter().any(|found| found.ends_with(&line)) { Ok(()) } else { Err(format!("{line:?} in {lines:?}")) }
    });
    drop(client);
    let ended = receiver.stop();
    ended.assert_clean();
    assert!(!ended.stderr.contains("No PROXY header"), "{}", ended.stderr);
}

fn haproxy(dir: &Dir, receiver: &Receiver, port: u16, option: &str) -> Result<Command, Missing> {
    let program = Program::find("haproxy")?;
    let config = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         listen logs\n bind 127.0.0.1:{port}\n server lumberjack {} {option}\n",
        receiver.addr
    );
    fs::write(dir.file("haproxy.cfg"), config).unwrap();
    let mut command = program.command();
    command.args(["-db", "-f", &dir.file("haproxy.cfg")]);
    Ok(command)
}

#[test]
fn p25_a_client_of_haproxy_is_named_by_version_1() {
    through_proxy(|dir, receiver, port| haproxy(dir, receiver, port, "send-proxy check inter 50ms"));
}

#[test]
fn p25_a_client_of_haproxy_is_named_by_version_2() {
    through_proxy(|dir, receiver, port| {
        haproxy(
            dir,
            receiver,
            port,
            "send-proxy-v2 proxy-v2-options unique-id,crc32c check-send-proxy check inter 50ms",
        )
    });
}

#[test]
fn p25_a_client_of_nginx_is_named() {
    through_proxy(|dir, receiver, port| {
        let program = Program::find("nginx")?;
        let module: PathBuf = program.file("usr/lib/nginx/modules/ngx_stream_module.so");
        if !module.is_file() {
            return Err(Missing(format!("nginx has no stream module at {}", module.display())));
        }
        let config = format!(
            "load_module {};\ndaemon off;\nmaster_process off;\npid {};\nevents {{}}\n\
             stream {{\n server {{ listen 127.0.0.1:{port}; proxy_pass {}; proxy_protocol on; }}\n}}\n",
            module.display(),
            dir.file("pid"),
            receiver.addr
        );
        fs::write(dir.file("nginx.conf"), config).unwrap();
        let mut command = program.command();
        command.args(["-p", &dir.path().display().to_string(), "-e", "stderr", "-c", &dir.file("nginx.conf")]);
        Ok(command)
    });
}

#[test]
fn p24_check_shows_who_may_connect_where_in_the_order_in_which_it_is_decided() {
    let dir = Dir::new();
    let conf = "listen = 127.0.0.1:1,allow=192.0.2.0/24,2001:db8::/32,deny=192.0.2.66,proxy\nlisten = 127.0.0.1:2\n\
                listen = 127.0.0.1:3,allow=none\nlisten = unix:/run/x.sock\ndeny = 10.0.0.0/8, 10.1.1.1\n";
    fs::write(dir.file("conf"), conf).unwrap();
    let ended = Setup::new(&["--check", "--config", &dir.file("conf")]).run();
    ended.assert_clean();
    let lines = ended.lines();
    for line in [
        "listen = 127.0.0.1:1,allow=192.0.2.0/24,2001:db8::/32,deny=192.0.2.66,proxy=on # ",
        "listen = 127.0.0.1:2,deny=10.0.0.0/8,10.1.1.1 # ",
        "listen = 127.0.0.1:3,allow=none,deny=10.0.0.0/8,10.1.1.1 # ",
        "listen = unix:/run/x.sock # ",
        "allow = none # default",
        "deny = 10.0.0.0/8,10.1.1.1 # ",
        "proxy = off # default",
        "# who may connect to 127.0.0.1:1, by the first that fits: deny 192.0.2.66, allow 2001:db8::/32, allow 192.0.2.0/24, deny all others",
        "# who may connect to 127.0.0.1:2, by the first that fits: deny 10.1.1.1, deny 10.0.0.0/8, allow all others",
    ] {
        assert!(lines.iter().any(|found| found.starts_with(line)), "{line:?} in {lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.contains("may connect to unix")), "{lines:#?}");
}

#[test]
fn p24_and_p26_the_log_says_who_is_not_allowed_and_who_is_slowed() {
    let receiver = Receiver::start(&["--allow", "127.0.0.1", "--rate", "100", "--burst", "5"]);
    drop(receiver.client_from(77));
    receiver.until_said("is not allowed to connect");
    let mut client = receiver.client();
    client.write_all(&b"a line\n".repeat(300)).unwrap();
    until(
        "forty lines",
        || if receiver.lines().len() == 300 { Ok(()) } else { Err(receiver.lines().len().to_string()) },
    );
    receiver.until_said("Host 127.0.0.1 sends more than 100 lines/s");
    receiver.assert_rests("its rate is not reached");
    receiver.stop().assert_clean();
}
