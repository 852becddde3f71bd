//! TLS of the built binary (P33): mistakes in options and files, names of clients, receipts of what certificates last, and what a
//! connection takes.

use crate::errors::assert_sentence;
use crate::support::receiver::Setup;

fn run(listen: &str) -> crate::support::receiver::Ended {
    Setup::new(&["--listen", listen]).run()
}

#[cfg(not(feature = "tls"))]
#[test]
fn p13_a_build_without_tls_names_the_one_that_has_it() {
    let ends = "this build has no TLS: the package lumberjack-tls has it, or cargo build --features tls";
    for options in ["tls,cert=a,key=b", "cert=a", "client-ca=c", "tls-min=1.3", "framing=octet,tls"] {
        let listen = format!("127.0.0.1:0,{options}");
        assert_sentence(&run(&listen), 2, &format!("--listen {listen}"), ends);
    }
    assert_sentence(&run("unix:/nowhere/a.sock,tls"), 2, "--listen unix:/nowhere/a.sock,tls", ends);
}

#[cfg(feature = "tls")]
mod secured {
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use crate::common::certs::Certs;
    use crate::common::patience::output_of;
    use crate::common::skip::skip;
    use crate::support::conditions::{Dir, until};
    use crate::support::http::{Http, status_of};
    use crate::support::receiver::Receiver;
    use crate::tools::Program;

    fn listen(certs: &Certs, name: &str, more: &str) -> String {
        let [cert, key] = ["pem", "key"].map(|ending| certs.text(&format!("{name}.{ending}")));
        format!("127.0.0.1:0,tls,cert={cert},key={key}{more}")
    }

    type Client = StreamOwned<ClientConnection, TcpStream>;

    /// A client with this certificate, or none.
    fn client(receiver: &Receiver, certs: &Certs, own: Option<&str>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certs.path("ca.pem")).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = vec![CertificateDer::from_pem_file(certs.path(&format!("{own}.pem"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(certs.path(&format!("{own}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let name = ServerName::try_from("localhost").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), receiver.client())
    }

    #[test]
    fn p13_what_contradicts_itself_is_exit_2() {
        for (listen, begins, ends) in [
            ("127.0.0.1:0,tls", "--listen 127.0.0.1:0,tls=on: ", "such as cert=/etc/lumberjack/cert.pem"),
            ("127.0.0.1:0,tls,cert=a", "--listen 127.0.0.1:0,cert=a: ", "its key is missing: add key=FILE"),
            ("127.0.0.1:0,tls,key=a", "--listen 127.0.0.1:0,key=a: ", "its certificate is missing: add cert=FILE"),
            (
                "127.0.0.1:0, tls,cert=a",
                "--listen 127.0.0.1:0, tls,cert=a: ",
                "there are spaces around tls: leave them out",
            ),
            (
                "tls:127.0.0.1:0",
                "--listen tls:127.0.0.1:0: ",
                "write ADDR:PORT for TCP, ADDR:PORT,tls for TLS, udp:ADDR:PORT, or unix:/path",
            ),
            ("127.0.0.1:0,cert=a", "--listen 127.0.0.1:0,cert=a: ", "add tls, or leave it out"),
            ("127.0.0.1:0,tls-min=1.3", "--listen 127.0.0.1:0,tls-min=1.3: ", "add tls, or leave it out"),
            (
                "127.0.0.1:0,tls,cert=a,key=b,client-name=*.x",
                "--listen 127.0.0.1:0,client-name=*.x: ",
                "whose certificates are trusted",
            ),
            (
                "udp:127.0.0.1:0,tls,cert=a,key=b",
                "--listen udp:127.0.0.1:0,tls,cert=a,key=b: a datagram",
                "or leave tls out",
            ),
            (
                "unix:/nowhere/x,tls,cert=a,key=b",
                "--listen unix:/nowhere/x,tls,cert=a,key=b: what comes",
                "leave tls out",
            ),
            ("127.0.0.1:0,tls,cert=", "--listen 127.0.0.1:0,tls,cert=", "without control characters"),
            ("127.0.0.1:0,tls-min=1.1", "--listen 127.0.0.1:0,tls-min=1.1", "tls-min: use one of 1.2, 1.3"),
            (
                "127.0.0.1:0,client-name=a*b",
                "--listen 127.0.0.1:0,client-name=a*b: client-name: give the name of a certificate, such as ",
                "one whole part between dots",
            ),
            (
                "127.0.0.1:0,client-name=",
                "--listen 127.0.0.1:0,client-name=: client-name needs a value, as in client-name=VALUE: give the name of ",
                "one whole part between dots",
            ),
        ] {
            assert_sentence(&run(listen), 2, begins, ends);
        }
    }

    #[test]
    fn p13_files_that_cannot_be_used_are_exit_1_and_named() {
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        let path = |name: &str| certs.text(name);
        for (cert, key, ca, named) in [
            ("nothing.pem", "server.key", "ca.pem", "nothing.pem"),
            ("server.pem", "nothing.key", "ca.pem", "nothing.key"),
            ("server.pem", "client.key", "ca.pem", "client.key"),
            ("server.pem", "encrypted.key", "ca.pem", "encrypted.key"),
            ("server.key", "server.key", "ca.pem", "server.key"),
            ("server.pem", "server.key", "server.key", "server.key"),
        ] {
            let ended = run(&format!("127.0.0.1:0,tls,cert={},key={},client-ca={}", path(cert), path(key), path(ca)));
            assert_sentence(&ended, 1, "cannot listen on 127.0.0.1:0 with TLS: ", "");
            assert!(ended.stderr.contains(&path(named)), "{}", ended.stderr);
            let is_exchanged = ended.stderr.contains("but a key: was one file named for the other?");
            assert_eq!(is_exchanged, cert == "server.key" || ca == "server.key", "{}", ended.stderr);
        }
    }

    #[test]
    fn p33_the_name_of_a_client_is_shown_and_names_files() {
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        let ca = format!(",client-ca={},client-name=*.plant.example", certs.text("ca.pem"));
        let pattern = dir.file("of-{name}.log");
        let receiver =
            Receiver::start(&["--listen", &listen(&certs, "server", &ca), "--format", "peer", "--output", &pattern]);
        client(&receiver, &certs, Some("client")).write_all(b"a line\n").unwrap();
        let path = dir.file("of-box1.plant.example.log");
        let written = until("the line", || {
            fs::read_to_string(&path)
                .map_err(|error| error.to_string())
                .and_then(|text| if text.ends_with('\n') { Ok(text) } else { Err(text) })
        });
        assert!(written.contains(" box1.plant.example/127.0.0.1:") && written.ends_with(" a line\n"), "{written}");
        // Nobody without a certificate: what is written here may come to nothing.
        let _ = client(&receiver, &certs, None).write_all(b"never\n");
        receiver.until_said("has sent no certificate");
        receiver.stop();
        assert_eq!(
            fs::read_dir(dir.path())
                .unwrap()
                .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|it| it == "log"))
                .count(),
            1
        );
    }

    #[test]
    fn p33_an_expired_certificate_and_an_open_key_are_said_and_start_and_are_shown() {
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        fs::set_permissions(certs.path("expired.key"), fs::Permissions::from_mode(0o644)).unwrap();
        let receiver = Receiver::start(&["--listen", &listen(&certs, "expired", ""), "--status", "127.0.0.1:0"]);
        receiver.until_said("expired.key can be read by everybody: chmod 640 or 600 it");
        receiver.until_said("has expired: clients that check it refuse it; renew it, and send SIGHUP");
        let at = status_of(&receiver);
        let metrics = Http::connect(&at).get("/metrics").body;
        let expiry = metrics
            .lines()
            .find(|line| line.starts_with("lumberjack_tls_certificate_expiry_seconds{listener=\"127.0.0.1:0"));
        assert!(expiry.is_some_and(|line| line.contains("} -")), "{metrics}");
        let diagnostics = Http::connect(&at).get("/diagnostics").body;
        assert!(
            diagnostics.contains("the certificate of 127.0.0.1:") && diagnostics.contains("\"activeTls\":0"),
            "{diagnostics}"
        );
        receiver.stop();
    }

    #[test]
    fn p5_check_says_what_a_connection_over_tls_takes() {
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        let ended = Setup::new(&["--check", "--listen", &listen(&certs, "server", "")]).run();
        ended.assert_clean();
        let shown = String::from_utf8(ended.output.clone()).unwrap();
        assert!(
            shown.contains("\n# TLS: a connection takes ") && shown.contains(" of --memory: at most 1000 at once\n"),
            "{shown}"
        );
        let ended = Setup::new(&["--check", "--memory", "1MiB", "--listen", &listen(&certs, "server", "")]).run();
        let shown = String::from_utf8_lossy(&ended.output).into_owned();
        let words = "# Does not fit: --memory 1MiB has no room for a connection over TLS: give more";
        assert!(ended.code != Some(0) && shown.contains(words), "{:?} {shown}", ended.code);
    }

    /// What is measured stands in `src/server/sessions.rs`.
    #[test]
    fn p5_idle_connections_take_less_than_they_are_charged() {
        const CROWD: u16 = 300;
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        let receiver = Receiver::start(&["--listen", &listen(&certs, "server", ""), "--max-per-host", "0"]);
        let come = |count: u16| -> Vec<Client> {
            (0..count)
                .map(|_| {
                    let mut client = client(&receiver, &certs, None);
                    client.write_all(b"here\n").unwrap();
                    client
                })
                .collect()
        };
        let _warm = come(10);
        receiver.until_lines(&["here"; 10]);
        let before = receiver.rss_kib();
        let _crowd = come(CROWD);
        receiver.until_lines(&vec!["here"; 10 + usize::from(CROWD)]);
        let each = (receiver.rss_kib() - before) * 1024 / u64::from(CROWD);
        assert!(each <= 24 * 1024, "{each} bytes a connection");
        println!("{each} bytes a connection");
        drop(receiver);
    }

    /// A goodbye would tell a sender that what it has written was taken.
    #[test]
    fn p12_who_sends_lines_without_tls_is_reset() {
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        let receiver = Receiver::start(&["--listen", &listen(&certs, "server", "")]);
        let mut client = receiver.client();
        client.write_all(&b"a line of many\n".repeat(100)).unwrap();
        let error = std::io::Read::read(&mut client, &mut [0; 64]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        receiver.until_said("sends lines without TLS to 127.0.0.1:");
        assert_eq!(receiver.lines(), [""; 0]);
        receiver.stop().assert_clean();
    }

    #[test]
    fn p33_who_speaks_an_older_version_is_told_apart() {
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        let openssl = match Program::find("openssl") {
            Ok(openssl) => openssl,
            Err(missing) => return skip(&missing.0),
        };
        let receiver = Receiver::start(&["--listen", &listen(&certs, "server", "")]);
        for version in ["-tls1", "-tls1_1"] {
            let mut command = openssl.command();
            command.args(["s_client", version, "-cipher", "ALL:@SECLEVEL=0", "-connect", &receiver.addr.to_string()]);
            let ended = output_of(&mut command).unwrap();
            assert!(!ended.status.success(), "{ended:?}");
        }
        receiver.until_said("the client speaks TLS 1.1 or older: 1.2 and 1.3 are spoken here");
        receiver.stop().assert_clean();
    }

    #[test]
    fn p33_check_reads_the_files_and_says_how_long_they_last() {
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        let check = |name: &str| Setup::new(&["--check", "--listen", &listen(&certs, name, "")]).run();
        let good = check("server");
        assert_eq!(good.code, Some(0), "{}", good.stderr);
        let text = String::from_utf8_lossy(&good.output).into_owned();
        assert!(text.contains("# TLS: the certificate of 127.0.0.1:0 is valid until 2120-01-01"), "{text}");
        let expired = check("expired");
        let text = String::from_utf8_lossy(&expired.output).into_owned();
        assert!(
            expired.code == Some(0) && text.contains("# TLS: the certificate of 127.0.0.1:0 has expired"),
            "{text}"
        );
        let later = check("later");
        let text = String::from_utf8_lossy(&later.output).into_owned();
        assert!(text.contains("# TLS: the certificate of 127.0.0.1:0 is not valid before 2110-01-01"), "{text}");
        let missing = check("nothing");
        let text = String::from_utf8_lossy(&missing.output).into_owned();
        let words = "# Does not fit: cannot listen on 127.0.0.1:0 with TLS: cannot read ";
        assert!(missing.code != Some(0) && text.contains(words), "{:?} {text}", missing.code);
    }

    #[test]
    fn p33_a_reload_says_that_other_clients_are_let_in() {
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        let ca = dir.file("clients.pem");
        fs::copy(certs.path("other-ca.pem"), &ca).unwrap();
        let receiver = Receiver::start(&["--listen", &listen(&certs, "server", &format!(",client-ca={ca}"))]);
        let _ = client(&receiver, &certs, Some("client")).write_all(b"never\n");
        receiver.until_said("is signed by nobody who is trusted here");
        fs::copy(certs.path("ca.pem"), &ca).unwrap();
        receiver.signal("HUP");
        receiver.until_said("lets in clients by what client-ca holds now");
        assert!(!receiver.said().contains("has a new certificate"), "{}", receiver.said());
        let mut client = client(&receiver, &certs, Some("client"));
        client.write_all(b"a line\n").unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        receiver.until_lines(&["a line"]);
        receiver.stop().assert_clean();
    }

    #[test]
    fn p33_a_reload_says_which_certificate_is_in_force_and_a_start_what_is_not_valid_yet() {
        let dir = Dir::new();
        let certs = Certs::new(dir.path());
        let receiver = Receiver::start(&["--listen", &listen(&certs, "later", "")]);
        receiver.until_said("is not valid before 2110-01-01: clients that check it refuse it");
        for ending in ["pem", "key"] {
            fs::copy(certs.path(&format!("server.{ending}")), certs.path(&format!("later.{ending}"))).unwrap();
        }
        receiver.signal("HUP");
        receiver.until_said("has a new certificate, valid until 2120-01-01");
        receiver.signal("HUP");
        let mut client = client(&receiver, &certs, None);
        client.write_all(b"a line\n").unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        receiver.until_lines(&["a line"]);
        assert_eq!(receiver.said().matches("has a new certificate").count(), 1);
        assert!(!receiver.said().contains("client-ca"), "{}", receiver.said());
        receiver.stop().assert_clean();
    }
}
