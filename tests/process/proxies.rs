//! The status endpoint behind real proxies: the page, health, and lines as they come.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::tools::{Missing, Program};
use crate::common::certs::Certs;
use crate::common::skip::skip;
use crate::support::conditions::{Dir, until};
use crate::support::http::{Answer, Http, request, status_of};
use crate::support::receiver::{Guard, Receiver};

/// A port that nobody has at the moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a proxy with these arguments, and waits until it listens there.
pub(crate) fn start(name: &str, args: &[&str], port: u16) -> Option<Guard> {
    let program = match Program::find(name) {
        Ok(program) => program,
        Err(Missing(why)) => {
            skip(&why);
            return None;
        }
    };
    let mut command: Command = program.command();
    let guard = Guard::spawn(command.args(args).stdout(Stdio::null()).stderr(Stdio::null())).unwrap();
    until(name, || std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string()));
    Some(guard)
}

/// What everybody wants of the endpoint, through a proxy at `at`.
fn assert_works_through(at: &str, receiver: &Receiver) {
    let get = |target: &str| -> Answer { Http::connect(at).get(target) };
    until("it is there", || {
        let health = get("/healthz");
        if (health.status, health.body.as_str()) == (200, "ok\n") { Ok(()) } else { Err(format!("{health:?}")) }
    });
    assert!(get("/").body.starts_with("<!DOCTYPE html>"));
    let mut tail = Http::connect(at);
    // Of HTTP 1.0, so that no proxy packs events into chunks.
    tail.send(request("/tail").replace("HTTP/1.1", "HTTP/1.0"));
    assert_eq!(tail.head().0, 200);
    let began = Instant::now();
    assert_eq!(tail.event(), ": ping");
    std::io::Write::write_all(&mut receiver.client(), b"as it comes\n").unwrap();
    let event = tail.event();
    assert!(event.contains("\"line\":\"as it comes\""), "{event}");
    assert!(began.elapsed() < Duration::from_secs(5), "it came after {:?}", began.elapsed());
}

#[test]
fn nginx_shows_lines_as_they_come() {
    let receiver = Receiver::start(&["--status", "127.0.0.1:0"]);
    let (at, dir, port) = (status_of(&receiver), Dir::new(), free_port());
    let path = dir.path().display();
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {path}/{kind};"));
    let config = format!(
        "daemon off; master_process off; pid {path}/pid; error_log {path}/log; events {{}}\n\
         http {{ access_log off; {} server {{ listen 127.0.0.1:{port};\n\
         location / {{ proxy_pass http://{at}; }} }} }}\n",
        temporary.concat()
    );
    fs::write(dir.file("conf"), config).unwrap();
    let Some(_nginx) = start("nginx", &["-c", &dir.file("conf"), "-e", &dir.file("log")], port) else { return };
    assert_works_through(&format!("127.0.0.1:{port}"), &receiver);
    receiver.stop().assert_clean();
}

/// A client's certificate is the password that the endpoint does not have (docs/status.md).
#[test]
fn nginx_shows_it_to_those_with_a_certificate_alone() {
    let receiver = Receiver::start(&["--status", "127.0.0.1:0"]);
    let (at, dir, port) = (status_of(&receiver), Dir::new(), free_port());
    let (path, certs) = (dir.path().display(), Certs::new(dir.path()));
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {path}/{kind};"));
    let config = format!(
        "daemon off; master_process off; pid {path}/pid; error_log {path}/log; events {{}}\n\
         http {{ access_log off; {} server {{ listen 127.0.0.1:{port} ssl;\n\
         ssl_certificate {}; ssl_certificate_key {};\n\
         ssl_client_certificate {}; ssl_verify_client on;\n\
         location / {{ proxy_pass http://{at}; }} }} }}\n",
        temporary.concat(),
        certs.text("server.pem"),
        certs.text("server.key"),
        certs.text("ca.pem")
    );
    fs::write(dir.file("conf"), config).unwrap();
    let openssl = match Program::find("openssl") {
        Ok(openssl) => openssl,
        Err(Missing(why)) => return skip(&why),
    };
    let Some(_nginx) = start("nginx", &["-c", &dir.file("conf"), "-e", &dir.file("log")], port) else { return };
    let ask = |own: &[&str]| {
        let mut command = openssl.command();
        command.args(["s_client", "-quiet", "-verify_return_error", "-CAfile", &certs.text("ca.pem")]);
        command.args(["-connect", &format!("127.0.0.1:{port}")]).args(own);
        let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        fs::write(dir.file("request"), request).unwrap();
        command.stdin(fs::File::open(dir.file("request")).unwrap());
        String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
    };
    let (cert, key) = (certs.text("client.pem"), certs.text("client.key"));
    let shown = ask(&["-cert", &cert, "-key", &key]);
    assert!(shown.starts_with("HTTP/1.1 200 ") && shown.ends_with("\r\n\r\nok\n"), "{shown}");
    let refused = ask(&[]);
    assert!(refused.starts_with("HTTP/1.1 400 ") && !refused.contains("ok\n"), "{refused}");
    receiver.stop().assert_clean();
}

#[test]
fn haproxy_finds_it_alive_by_its_bare_check_and_shows_lines_as_they_come() {
    let receiver = Receiver::start(&["--status", "127.0.0.1:0"]);
    let (at, dir, port) = (status_of(&receiver), Dir::new(), free_port());
    let config = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend front\n bind 127.0.0.1:{port}\n stats enable\n stats uri /proxy\n default_backend back\n\
         backend back\n option httpchk\n server receiver {at} check inter 100ms\n"
    );
    fs::write(dir.file("conf"), config).unwrap();
    let Some(_haproxy) = start("haproxy", &["-db", "-f", &dir.file("conf")], port) else { return };
    let proxy = format!("127.0.0.1:{port}");
    until("what the check came to", || {
        let mut http = Http::connect(&proxy);
        // Of HTTP 1.0, so that it ends with the connection.
        http.send("GET /proxy;csv HTTP/1.0\r\n\r\n");
        let table = String::from_utf8(http.rest()).unwrap();
        let row = table.lines().find(|line| line.starts_with("back,receiver,")).unwrap_or_default().to_owned();
        if row.contains(",L7OK,204,") { Ok(()) } else { Err(row) }
    });
    assert_works_through(&proxy, &receiver);
    receiver.stop().assert_clean();
}
