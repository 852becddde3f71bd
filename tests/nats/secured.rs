//! Servers with TLS: by an upgrade after `INFO`, as all of them do it, and with `handshake_first`, as newer ones do.

use super::ours::{Ours, STREAM};
use super::servers::{Program, Setup};
use crate::common::certs::Certs;
use crate::support::conditions::Dir;

/// A certificate of the server, in its configuration. The test's own client goes without TLS.
fn secured(certs: &Certs, more: &str) -> String {
    let (cert, key, ca) = (certs.text("server.pem"), certs.text("server.key"), certs.text("ca.pem"));
    format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\", ca_file: \"{ca}\", {more} }}\nallow_non_tls: true")
}

#[test]
fn p34_lines_get_there_after_an_upgrade_and_over_restarts_of_the_server() {
    let dir = Dir::new();
    let certs = Certs::new(dir.path());
    for program in Program::all() {
        let mut servers = Setup::one().with(&secured(&certs, "verify: true")).start(&program);
        servers.client().create(STREAM, 1, "");
        let (ca, cert, key) = (certs.text("ca.pem"), certs.text("client.pem"), certs.text("client.key"));
        let more = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key];
        let mut ours = Ours::prepare("box", &servers.addresses(), &more).over("nats+tls");
        ours.begin();
        for client in 0..3 {
            ours.send(client, 2_000);
            ours.assert_delivered(&servers, &[]);
            servers.restart_all();
        }
        ours.send(3, 100);
        ours.assert_delivered(&servers, &[]);
        ours.stop();
    }
}

#[test]
fn p34_lines_get_to_a_cluster_whose_servers_tell_of_each_other_by_address() {
    let dir = Dir::new();
    let certs = Certs::new(dir.path());
    let Some(program) = Program::newest() else { return };
    let mut servers = Setup::three().with(&secured(&certs, "")).start(&program);
    servers.client().create(STREAM, 3, "");
    let first = format!("localhost:{}", servers.port());
    let mut ours = Ours::prepare("box", &first, &["--tls-ca", &certs.text("ca.pem")]).over("nats+tls");
    ours.begin();
    ours.send(0, 500);
    ours.assert_delivered(&servers, &[]);
    // The only one that was named.
    servers.kill(0);
    ours.send(1, 500);
    ours.assert_delivered(&servers, &[]);
    ours.stop();
}

#[test]
fn p34_lines_get_there_where_tls_comes_first() {
    let dir = Dir::new();
    let certs = Certs::new(dir.path());
    let Some(program) = Program::newest() else { return };
    // Whoever says nothing for that long gets its `INFO` without TLS: the test's own client.
    let servers = Setup::one().with(&secured(&certs, "handshake_first: \"300ms\"")).start(&program);
    servers.client().create(STREAM, 1, "");
    let mut ours =
        Ours::prepare("box", &servers.addresses(), &["--tls-ca", &certs.text("ca.pem")]).over("nats+tls-first");
    ours.begin();
    ours.send(0, 2_000);
    ours.assert_delivered(&servers, &[]);
    ours.stop();
}
