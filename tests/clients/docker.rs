//! Docker's syslog driver by its bytes, as its source writes them (daemon/logger/syslog): over TCP and UDP each message ends in a
//! newline, and no format counts octets. Docker itself is not run.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};

use crate::receiver::Receiver;
use crate::syslog::fits;

const OPTIONS: &[&str] = &["--format", "json", "--parse", "syslog", "--listen", "udp:127.0.0.1:0"];
/// What a container writes, as JSON shows it.
const MESSAGES: [&str; 3] = ["GET /index.html 200", r#"{\"level\":\"info\"}"#, "Grüße: <1> [x]"];

#[test]
fn p22_docker_in_each_syslog_format_over_tcp_and_udp() {
    let old = "Nov 26 15:12:24";
    for (format, head, fields) in [
        (
            "as-it-comes",
            format!("<30>{old} 3f4e5d6c7b8a[987]: "),
            r#"severity":"info","facility":"daemon","time":"20*","app":"3f4e5d6c7b8a","pid":"987""#,
        ),
        (
            "rfc3164",
            format!("<27>{old} box 314159265358[987]: "),
            r#"severity":"err","facility":"daemon","time":"20*","hostname":"box","app":"314159265358","pid":"987""#,
        ),
        (
            "rfc5424",
            "<30>1 2026-11-26T15:12:24+01:00 box web/3f4e5d6c7b8a 987 web/3f4e5d6c7b8a - ".to_owned(),
            r#"severity":"info","facility":"daemon","time":"2026-11-26T15:12:24+01:00","hostname":"box","app":"web/3f4e5d6c7b8a","pid":"987","msgid":"web/3f4e5d6c7b8a""#,
        ),
        (
            "rfc5424micro",
            "<30>1 2026-11-26T15:12:24.60291Z box web 987 web - ".to_owned(),
            r#"severity":"info","facility":"daemon","time":"2026-11-26T15:12:24.60291Z","hostname":"box","app":"web","pid":"987","msgid":"web""#,
        ),
    ] {
        for is_udp in [false, true] {
            let mut receiver = Receiver::start(&format!("docker-{format}-{is_udp}"), OPTIONS);
            let messages = MESSAGES.map(|message| format!("{head}{}\n", message.replace('\\', "")));
            if is_udp {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                for message in messages {
                    socket.send_to(message.as_bytes(), ("127.0.0.1", receiver.udp_port())).unwrap();
                }
            } else {
                let mut stream = TcpStream::connect(("127.0.0.1", receiver.port())).unwrap();
                messages.iter().for_each(|message| stream.write_all(message.as_bytes()).unwrap());
            }
            receiver.stop();
            let output = String::from_utf8(receiver.output()).unwrap();
            let got: Vec<&str> = output.lines().collect();
            assert_eq!(got.len(), MESSAGES.len(), "{output}");
            for (got, sent) in got.iter().zip(MESSAGES) {
                assert!(fits(got, fields, sent), "{format}: {sent:?} with {fields} came as {got}");
            }
        }
    }
}

/// A name that is longer than a MSGID may be (32 bytes) makes no header of it, and nothing is lost.
#[test]
fn p22_docker_with_a_long_name_keeps_all_in_the_line() {
    let mut receiver = Receiver::start("docker-long", OPTIONS);
    let name = "a-name-of-more-than-thirty-two-bytes";
    let rest = format!("1 2026-11-26T15:12:24Z box {name} 987 {name} - hello");
    let mut stream = TcpStream::connect(("127.0.0.1", receiver.port())).unwrap();
    stream.write_all(format!("<30>{rest}\n").as_bytes()).unwrap();
    drop(stream);
    receiver.stop();
    let output = String::from_utf8(receiver.output()).unwrap();
    assert!(fits(output.trim_end(), r#"severity":"info","facility":"daemon""#, &rest), "{output}");
}
