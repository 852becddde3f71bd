//! Servers and streams that do not take what is sent: each has its sentence, no line is lost, and once the cause is gone
//! everything goes on by itself.

use super::jetstream::JetStream;
use super::ours::{Ours, STREAM};
use super::outages::one;
use super::servers::{Program, Servers, Setup};
use crate::common::patience::output_of;
use crate::support::conditions::until_equal;

/// A server that lets in only these users, the first of whom may do everything.
fn guarded(users: &str) -> Option<Servers> {
    let users = format!("authorization {{ users: [ {{ user: boss, password: b0ss }}, {users} ] }}");
    let mut servers = Setup::one().with(&users).prepare(&Program::newest()?);
    servers.log_in_with(r#""user":"boss","pass":"b0ss""#);
    servers.start_all();
    servers.client().create(STREAM, 1, "");
    Some(servers)
}

#[test]
fn wrong_credentials_are_named_but_not_shown_and_nothing_is_lost() {
    let Some(mut servers) = guarded("{ user: box, password: right }") else { return };
    let mut ours = Ours::prepare("box", &format!("box:wr0ng@{}", servers.addresses()), &[]);
    ours.begin();
    ours.send(0, 100);
    ours.until_said(&["credentials"]);
    assert!(!ours.said().contains("wr0ng"), "{}", ours.said());
    servers.reconfigure(|setup| {
        setup.with("authorization { users: [ { user: boss, password: b0ss }, { user: box, password: wr0ng } ] }")
    });
    servers.restart_all();
    ours.assert_delivered(&servers, &[]);
    ours.stop();
    assert!(!ours.said().contains("wr0ng"), "{}", ours.said());
}

#[test]
fn credentials_of_a_file_are_in_no_log_and_no_command_line() {
    let Some(servers) = guarded("{ user: box, password: s3cret }") else { return };
    let mut ours = Ours::prepare("box", &servers.addresses(), &[]);
    let file = ours.file("creds");
    std::fs::write(&file, "user = box\npassword = s3cret\n").unwrap();
    ours.options(&["--nats-creds", &file, "--log-level", "debug"]);
    ours.begin();
    ours.send(0, 100);
    ours.assert_delivered(&servers, &[]);
    let line = std::fs::read(format!("/proc/{}/cmdline", ours.receiver().guard.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&line).contains("s3cret"));
    ours.stop();
    assert!(!ours.said().contains("s3cret"), "{}", ours.said());
}

/// Before the next try, once a server has refused; and at SIGHUP, so that none has to.
#[test]
fn a_file_of_credentials_that_is_corrected_is_read_again() {
    let Some(mut servers) = guarded("{ user: box, password: right }") else { return };
    let mut ours = Ours::prepare("box", &servers.addresses(), &[]);
    let file = ours.file("creds");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("user = box\npassword = wr0ng\n");
    ours.options(&["--nats-creds", &file]);
    ours.begin();
    let count = |ours: &Ours, words: &str| ours.said().lines().filter(|line| line.contains(words)).count();
    ours.send(0, 100);
    ours.until_said(&["does not take these credentials"]);
    write("user = box\npasword = r1ght\n");
    ours.until_said(&["--nats-creds", "line 2 is none of", "what was read before is used"]);
    write("user = box\npassword = right\n");
    ours.assert_delivered(&servers, &[]);
    assert_eq!(count(&ours, "what was read before is used"), 1, "{}", ours.said());

    let seen = "can be read by others";
    assert_eq!(count(&ours, seen), 1, "{}", ours.said());
    write("user = box\npassword = n3w\n");
    ours.receiver().signal("HUP");
    until_equal("readings", &2, || count(&ours, seen));
    servers.reconfigure(|setup| {
        setup.with("authorization { users: [ { user: boss, password: b0ss }, { user: box, password: n3w } ] }")
    });
    servers.restart_all();
    ours.send(0, 100);
    ours.assert_delivered(&servers, &[]);
    ours.stop();
    // What the log held back, as it was said just before, is said at the end.
    assert_eq!(count(&ours, "does not take these credentials"), 1, "{}", ours.said());
    assert!(!ours.said().contains("r1ght") && !ours.said().contains("n3w"), "{}", ours.said());
}

#[test]
fn a_token_lets_in() {
    let Some(program) = Program::newest() else { return };
    let mut servers = Setup::one().with("authorization { token: t0ken }").prepare(&program);
    servers.log_in_with(r#""auth_token":"t0ken""#);
    servers.start_all();
    servers.client().create(STREAM, 1, "");
    let mut ours = Ours::prepare("box", &servers.addresses(), &[]);
    let file = ours.file("creds");
    std::fs::write(&file, "token = t0ken\n").unwrap();
    ours.options(&["--nats-creds", &file]);
    ours.begin();
    ours.send(0, 100);
    ours.assert_delivered(&servers, &[]);
    ours.stop();
    assert!(!ours.said().contains("t0ken"), "{}", ours.said());
}

/// A server that knows its users by JWTs, and a box that signs what the server asks it to.
#[cfg(feature = "nkey")]
#[test]
fn a_creds_file_of_nats_lets_in() {
    for program in Program::all() {
        let mut servers = Setup::one().with(include_str!("jwt/server.conf")).prepare(&program);
        servers.log_in_with(&format!(r#""jwt":"{}""#, include_str!("jwt/boss.jwt").trim()));
        servers.start_all();
        servers.client().create(STREAM, 1, "");
        let mut ours = Ours::prepare("box", &servers.addresses(), &[]);
        let file = ours.file("box.creds");
        std::fs::write(&file, include_str!("jwt/box.creds")).unwrap();
        ours.options(&["--nats-creds", &file, "--log-level", "debug"]);
        ours.begin();
        ours.send(0, 100);
        ours.assert_delivered(&servers, &[]);
        ours.stop();
        let secrets = include_str!("jwt/box.creds").lines().filter(|line| line.len() > 55 && !line.contains(' '));
        let shown: Vec<&str> = secrets.filter(|secret| ours.said().contains(secret)).collect();
        assert!(shown.is_empty(), "{shown:?}");
    }
}

/// Of a box that may do everything but publish, the server says so once and answers nothing.
#[test]
fn a_box_that_may_not_publish_is_told_so_and_goes_on_once_it_may() {
    let user = |allowed: &str| {
        format!("{{ user: box, password: right, permissions: {{ publish: [{allowed}], subscribe: [\"_INBOX.>\"] }} }}")
    };
    let Some(mut servers) = guarded(&user("\"$JS.API.>\"")) else { return };
    let mut ours = Ours::prepare("box", &format!("box:right@{}", servers.addresses()), &[]);
    ours.begin();
    ours.send(0, 100);
    ours.until_said(&["permission", "logs.box"]);
    let users = user("\"$JS.API.>\", \"logs.box\"");
    servers.reconfigure(|setup| {
        setup.with(&format!("authorization {{ users: [ {{ user: boss, password: b0ss }}, {users} ] }}"))
    });
    servers.restart_all();
    ours.assert_delivered(&servers, &[]);
    ours.stop();
}

#[test]
fn a_stream_that_is_not_there_is_named_and_used_once_it_is_made() {
    for program in Program::all() {
        let servers = Setup::one().start(&program);
        let mut ours = Ours::start(&servers, &[]);
        ours.send(0, 100);
        ours.until_said(&["stream", STREAM]);
        servers.client().create(STREAM, 1, "");
        ours.assert_delivered(&servers, &[]);
        ours.stop();
    }
}

#[test]
fn a_stream_is_made_only_if_that_is_asked_for() {
    let Some(program) = Program::newest() else { return };
    let servers = Setup::one().start(&program);
    let mut ours = Ours::start(&servers, &["--nats-create"]);
    ours.send(0, 100);
    ours.assert_delivered(&servers, &[]);
    ours.stop();
}

/// A subject that no stream takes gets no responders, also where another stream has that name.
#[test]
fn a_stream_of_other_subjects_is_named() {
    let Some(program) = Program::newest() else { return };
    let servers = Setup::one().start(&program);
    let create = |client: &mut JetStream, name: &str| {
        let config = format!(r#"{{"name":"{name}","subjects":["other.>"],"storage":"file"}}"#);
        client.api(&format!("STREAM.CREATE.{name}"), &config).unwrap();
    };
    create(&mut servers.client(), STREAM);
    let mut ours = Ours::start(&servers, &[]);
    ours.send(0, 100);
    ours.until_said(&["does not take", "logs.box", "other.>"]);
    servers.client().update(STREAM, 1, "");
    ours.assert_delivered(&servers, &[]);
    ours.stop();
}

/// The subject is another stream's: nothing may get into that.
#[test]
fn nothing_goes_to_a_stream_that_was_not_named() {
    let Some(program) = Program::newest() else { return };
    let mut servers = Setup::one().start(&program);
    servers.client().create("WRONG", 1, "");
    let mut ours = Ours::start(&servers, &[]);
    ours.send(0, 100);
    ours.until_said(&["stream", STREAM]);
    assert_eq!(servers.client().info("WRONG").unwrap().messages, 0);
    servers.client().api("STREAM.DELETE.WRONG", "").unwrap();
    servers.client().create(STREAM, 1, "");
    servers.until_ready();
    ours.assert_delivered(&servers, &[]);
    ours.stop();
}

#[test]
fn a_server_without_jetstream_is_named_and_used_once_it_has_it() {
    for program in Program::all() {
        let mut servers = Setup::one().without_jetstream().start(&program);
        let mut ours = Ours::start(&servers, &[]);
        ours.send(0, 100);
        ours.until_said(&["jetstream"]);
        servers.kill_all();
        servers.reconfigure(|_| Setup::one());
        servers.start_all();
        servers.client().create(STREAM, 1, "");
        ours.assert_delivered(&servers, &[]);
        ours.stop();
    }
}

/// With each of these lines could be lost or refused for ever.
#[test]
fn streams_that_can_not_keep_every_line_are_refused_with_a_sentence() {
    let Some(program) = Program::newest() else { return };
    let cases = [
        (r#","retention":"interest""#, "interest"),
        (r#","retention":"workqueue""#, "workqueue"),
        (r#","no_ack":true"#, "no_ack"),
        (r#","max_msgs_per_subject":5"#, "max_msgs_per_subject"),
        (r#","subject_transform":{"src":"logs.>","dest":"else.>"}"#, "transform"),
    ];
    for (more, word) in cases {
        let servers = Setup::one().start(&program);
        servers.client().create(STREAM, 1, more);
        let mut ours = Ours::start(&servers, &[]);
        ours.send(0, 10);
        ours.until_said(&[STREAM, word]);
        assert_eq!(servers.client().info(STREAM).unwrap().messages, 0, "{word}: {}", ours.said());
        // What was refused goes out once it is another stream.
        servers.client().api(&format!("STREAM.DELETE.{STREAM}"), "").unwrap();
        servers.client().create(STREAM, 1, "");
        ours.assert_delivered(&servers, &[]);
        ours.stop();
    }
}

/// A stream that is changed while lines go there, so that nobody could know what it has.
#[test]
fn a_stream_that_stops_to_acknowledge_is_named_and_used_once_it_does_again() {
    let Some(servers) = one("") else { return };
    let mut ours = Ours::start(&servers, &[]);
    ours.send(0, 100);
    ours.assert_delivered(&servers, &[]);
    servers.client().update(STREAM, 1, r#","no_ack":true"#);
    ours.send(0, 100);
    ours.until_said(&["takes nothing", STREAM, "no_ack"]);
    servers.client().update(STREAM, 1, "");
    ours.assert_delivered(&servers, &[]);
    ours.until_said(&["is back after"]);
    ours.stop();
}

/// What an operator sees at the start.
#[test]
fn how_many_copies_the_stream_keeps_is_said() {
    let Some(servers) = one("") else { return };
    assert_eq!(servers.client().info(STREAM).unwrap().replicas, 1);
    let mut ours = Ours::start(&servers, &[]);
    ours.until_said(&["one copy of each line"]);
    ours.stop();
}

#[test]
fn urls_and_options_that_make_no_sense_are_a_sentence_and_exit_2() {
    let cases: [&[&str]; 6] = [
        &["--output", "nats://127.0.0.1:4222/logs.{box}"],
        &["--output", "nats://127.0.0.1:4222", "--nats-stream", "LOGS"],
        &["--output", "nats://127.0.0.1:4222/logs.{host}", "--nats-stream", "LOGS"],
        &["--output", "nats://127.0.0.1:4222/logs.*", "--nats-stream", "LOGS"],
        &["--output", "nats://127.0.0.1:0/logs", "--nats-stream", "LOGS"],
        &["--output", "nats://127.0.0.1:4222/logs", "--nats-stream", "A.B"],
    ];
    for case in cases {
        let mut command = std::process::Command::new(crate::support::receiver::under_test());
        let output = output_of(command.args(["--listen", "127.0.0.1:0"]).args(case)).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{case:?}: {said}");
        assert!(said.contains("nats"), "{case:?}: {said}");
    }
}
