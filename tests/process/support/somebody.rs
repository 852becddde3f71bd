//! Runs the binary as another user, since root may write everywhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::conditions::Dir;
use super::receiver::{Ended, under_test};
use crate::common::patience::output_of;
use crate::common::skip::{not_here, skip};

/// Runs the binary to its end as somebody who may not write in the folder `locked`: as ourselves if we may not either,
/// else as nobody, from `dir`, which anybody can reach. None, and a word, where that can't be.
pub(crate) fn somebody_else(dir: &Dir, locked: impl AsRef<Path>) -> Option<impl Fn(&[&str]) -> Ended> {
    let binary = dir.file("lumberjack");
    fs::copy(under_test(), &binary).unwrap();
    let mut program: Vec<String> = Vec::new();
    if fs::write(locked.as_ref().join("probe"), "").is_ok() {
        program.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned));
    }
    program.push(binary);
    let run = move |args: &[&str]| output_of(Command::new(&program[0]).args(&program[1..]).args(args));
    match run(&["--version"]) {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            not_here(&format!("root may do everything, and setpriv can't make us somebody else here: {why}"));
            return None;
        }
        Err(error) => {
            skip(&format!("setpriv: {error}"));
            return None;
        }
    }
    Some(move |args: &[&str]| {
        let output = run(args).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ended { code: output.status.code(), stderr, output: output.stdout }
    })
}
