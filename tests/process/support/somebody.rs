//! Runs the binary as another user, since root may write everywhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::conditions::Dir;
use super::receiver::{Ended, under_test};
use crate::common::patience::output_of;
use crate::common::skip::{not_here, skip};

/// A copy of the binary that anybody can run. Another process makes it: one that is started meanwhile by a test beside us
/// would have the file open for writing, and Linux runs no such file.
pub(crate) fn copy_for_anybody(dir: &Dir) -> String {
    let binary = dir.file("lumberjack");
    let copied = output_of(Command::new("cp").arg(under_test()).arg(&binary)).unwrap();
    assert!(copied.status.success(), "{copied:?}");
    binary
}

/// Runs the binary to its end as somebody who may not write in the folder `locked`: as ourselves if we may not either,
/// else as nobody, from `dir`, which anybody can reach. None, and a word, where that can't be.
pub(crate) fn somebody_else(dir: &Dir, locked: impl AsRef<Path>) -> Option<impl Fn(&[&str]) -> Ended> {
    let binary = copy_for_anybody(dir);
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
