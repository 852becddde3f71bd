//! The page of the status endpoint in a real Chromium, against the built binary: what it shows is what the server says, by
//! keyboard, in light and dark, on a phone's width, without an error in the console. `tests/page/check.mjs` has the checks.
#![cfg(feature = "status")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A process that does not outlive its test.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the check says when there is no Chromium.
const MISSING: i32 = 77;

#[test]
fn the_page_shows_what_the_server_says_and_runs_nothing_that_a_client_sent() {
    let is_required = std::env::var_os("LUMBERJACK_REQUIRE_CLIENTS").is_some();
    let skip = |why: &str| {
        assert!(!is_required, "{why}");
        eprintln!("skipped: {why}");
    };
    if Command::new("node").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip("node is not here");
    }
    let args = ["--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "--output", "/dev/null"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_lumberjack"));
    let mut server = Guard(command.args(args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    let mut said = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let place = said.find_map(|line| Some(line.unwrap().split_once("[status] Listening on ")?.1.to_owned())).unwrap();
    // It goes on to be read, so that the server is never held up by its log.
    std::thread::spawn(move || said.for_each(drop));
    let ended = Command::new("node").args(["tests/page/check.mjs", &format!("http://{place}/")]).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    match ended.status.code() {
        Some(0) => {}
        Some(MISSING) => skip("chromium is not here"),
        _ => panic!("{told}"),
    }
}
