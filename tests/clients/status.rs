//! Those who look on with programs of their own: Prometheus' own checker, its parser in Python, and a real browser.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::receiver::{Receiver, ended, eventually};
use super::run;
use super::tools::{Missing, Program};
use crate::common::patience::{Guard, connect, output_of};
use crate::common::skip::skip;

/// A receiver with a status endpoint, and where that is.
fn start(name: &str) -> (Receiver, String) {
    let receiver = Receiver::start(name, &["--status", "127.0.0.1:0"]);
    let at = eventually("the status endpoint in the log", || {
        let log = receiver.log();
        let whole =
            log.split_inclusive('\n').find_map(|line| line.strip_suffix('\n')?.split_once("[status] Listening on "));
        whole.map(|(_, at)| at.to_owned()).ok_or_else(|| log.clone())
    });
    (receiver, at)
}

/// The metrics after some lines, as they were sent.
fn metrics(receiver: &Receiver, at: &str) -> String {
    let mut client = connect(([127, 0, 0, 1], receiver.port()).into());
    client.write_all(b"one\ntwo\nunfinished").unwrap();
    eventually("the metrics of two lines", || {
        let mut visitor = connect(at.parse().unwrap());
        visitor.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        visitor.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let has_all = head.starts_with("HTTP/1.1 200 ") && body.contains("\nlumberjack_lines_total 2\n");
        if has_all { Ok(body.to_owned()) } else { Err(answer) }
    })
}

/// What a checker says to the metrics: nothing, and it ends well.
fn check(receiver: &Receiver, metrics: &str, mut command: Command) {
    let said = receiver.path("said");
    let file = File::create(&said).unwrap();
    command.stdin(Stdio::piped()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut checker = Guard::spawn(&mut command).unwrap();
    // As one that ends early does not read all.
    let _ = checker.0.stdin.take().unwrap().write_all(metrics.as_bytes());
    let status = eventually("its end", || ended(&mut checker));
    let said = std::fs::read_to_string(said).unwrap();
    assert!(status.success() && said.is_empty(), "{command:?} ended with {status}: {said}\n{metrics}");
}

/// Reads all metrics with Prometheus' parser for Python; ends with 77 if that is not here.
const PARSE: &str = "
import sys
try:
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:
    sys.exit(77)
families = {family.name: family for family in text_string_to_metric_families(sys.stdin.read())}
assert families['lumberjack_lines'].samples[0].value == 2, families
assert all(family.documentation and family.type in ('counter', 'gauge') for family in families.values()), families
";

#[test]
fn prometheus_understands_the_metrics() {
    let (mut receiver, at) = start("prometheus");
    let metrics = metrics(&receiver, &at);
    let python = || {
        let mut command = Program::find("python3")?.command();
        command.args(["-c", PARSE]);
        let is_here = output_of(&mut command).is_ok_and(|output| output.status.code() != Some(77));
        if is_here { Ok(command) } else { Err(Missing("python3 has no prometheus_client".to_owned())) }
    };
    let promtool = Program::find("promtool").map(|program| {
        let mut command = program.command();
        command.args(["check", "metrics"]);
        command
    });
    match promtool
        .or_else(|Missing(first)| python().map_err(|Missing(second)| Missing(format!("{first}, and {second}"))))
    {
        Ok(command) => check(&receiver, &metrics, command),
        Err(missing) => return skip(&missing.0),
    }
    receiver.stop();
}

#[test]
fn the_page_works_with_a_server_in_a_real_browser() {
    check_page("live");
}

#[test]
fn the_page_shows_any_answer_in_a_real_browser() {
    check_page("served");
}

fn check_page(part: &str) {
    let (mut receiver, at) = start(&format!("browser-{part}"));
    let (node, chromium) = match Program::find("node").and_then(|node| Ok((node, Program::find("chromium")?))) {
        Ok(both) => both,
        Err(missing) => return skip(&missing.0),
    };
    let mut command = node.command();
    command.env("CHROMIUM", chromium.path());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/check.mjs")).arg(format!("http://{at}/"));
    command.args(["--only", part]);
    run(&receiver, &mut command);
    receiver.stop();
}
