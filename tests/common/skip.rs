//! Tests that can't run here: each says why on the real stderr, as the runner keeps what a test that passes prints, and
//! leaves a note, so that `tests/zz_skipped.rs` can say at the end of `cargo test` how many there were.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// For what can be installed, such as a client: where all of it has to be there (`.ci/run`), the test fails.
#[track_caller]
pub(crate) fn skip(why: &str) {
    assert!(
        std::env::var_os("LUMBERJACK_REQUIRE_CLIENTS").is_none(),
        "{why}, and LUMBERJACK_REQUIRE_CLIENTS is set: run .ci/install-clients, then `. target/ci/env`"
    );
    not_here(why);
}

/// For what this machine can't do, whatever is installed, such as a mount in a container: it is counted, and no failure.
pub(crate) fn not_here(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
    let binary = std::env::current_exe().unwrap();
    let binary = binary.file_stem().unwrap_or_default().to_string_lossy();
    // Behind the last `-` is cargo's own number.
    let binary = binary.rsplit_once('-').map_or(&*binary, |(name, _)| name);
    let thread = std::thread::current();
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    let note = format!("{}\t{binary}\t{}\t{why}\n", run_id(), thread.name().unwrap_or("a thread of a test"));
    let file = OpenOptions::new().create(true).append(true).open(notes());
    file.and_then(|mut file| file.write_all(note.as_bytes())).unwrap();
}

/// Where the notes are: in the file that `LUMBERJACK_SKIPPED` names, else in the folder of this profile in `target/`.
pub(crate) fn notes() -> PathBuf {
    let named = std::env::var_os("LUMBERJACK_SKIPPED").map(PathBuf::from);
    named.unwrap_or_else(|| std::env::current_exe().unwrap().parent().unwrap().with_file_name("skipped-tests"))
}

/// All binaries of one `cargo test` are its children: what an earlier run has left is not counted.
pub(crate) fn run_id() -> u32 {
    std::os::unix::process::parent_id()
}
