//! Outputs that make no sense, alone or together: a sentence at the start (P13), and nothing harmed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::errors::assert_sentence;
use crate::support::conditions::Dir;
use crate::support::receiver::{Ended, Setup};
use crate::support::somebody::somebody_else;

fn run(args: &[&str]) -> Ended {
    Setup::new(&[&["--listen", "127.0.0.1:0"], args].concat()).run()
}

#[test]
fn p13_options_of_files_that_make_no_sense_are_one_sentence_and_exit_2() {
    let rotates = ["--rotate-size", "1MiB"];
    for (args, begins, ends) in [
        (&["--rotate-size", "1MiB"][..], "--rotate-size is for files, and no --output names one", "leave it out"),
        (&["--rotate-age", "1h", "--output", "-"], "--rotate-age is for files, and no --output names one", ""),
        (&["--sync", "interval"], "--sync is for files, and no --output names one", ""),
        (&["--flush-every", "1s"], "--flush-every is for files, and no --output names one", ""),
        (
            &["--output", "/nowhere/a", "--rotate-size", "64KiB"],
            "--rotate-size 64KiB is smaller than the longest line can be: give at least 101KiB",
            "or lower --max-line",
        ),
        (&[&["--output", "a", "--rotate-keep", "10000"], &rotates[..]].concat(), "--rotate-keep is 10000: ", "to 9999"),
        (&["--output", "a", "--disk-full", "drop-oldest"], "--disk-full drop-oldest removes rotated files", ""),
        (&["--output", "/x/{host}/a"], "--output /x/{host}/a: {host} may stand once", "not in a directory's"),
        (&["--output", "{host}{host}"], "--output {host}{host}: {host} may stand once", ""),
        (&["--output", "a-{host}", "--host-files", "0"], "--host-files is 0: give a number from 1 to 65536", ""),
        (&["--output", "a", "--sync", "10ms"], "--sync 10ms: use never, interval", "such as 5s"),
        (&["--output", "a", "--output", "a"], "--output a is given twice", "give it once"),
        (
            &[&["--output", "/nowhere/a", "--output", "/nowhere/a.3"], &rotates[..]].concat(),
            "another --output has the name of a rotated file of /nowhere/a",
            "rename it",
        ),
    ] {
        assert_sentence(&run(args), 2, begins, ends);
    }
}

#[test]
fn p13_two_outputs_that_are_one_file_are_one_sentence_and_exit_1() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::write(&path, "kept\n").unwrap();
    fs::hard_link(&path, dir.file("hard")).unwrap();
    symlink("app.log", dir.file("soft")).unwrap();
    fs::create_dir(dir.file("x")).unwrap();
    let folder = dir.path().display();
    let ended = run(&["--output", &path, "--output", &format!("{folder}/./app.log")]);
    assert_sentence(&ended, 2, &format!("--output {folder}/./app.log is given twice"), "give it once");
    for other in [format!("{folder}/x/../app.log"), dir.file("hard"), dir.file("soft")] {
        let ended = run(&["--output", &path, "--output", &other]);
        assert_sentence(&ended, 1, &format!("cannot write to {other}: another --output is the same file"), "");
    }
    let (pattern, other) = (dir.file("{host}.log"), format!("{folder}/x/../{{host}}.log"));
    let ended = run(&["--output", &pattern, "--output", &other]);
    assert_sentence(&ended, 1, &format!("cannot write to {other}: another --output is the same file"), "");
    // Stdout that is redirected to it.
    let setup = Setup::new(&["--listen", "127.0.0.1:0", "--output", &path, "--output", "-"]);
    let ended = setup.redirect(&format!(">>'{path}'")).run();
    assert_sentence(&ended, 1, "cannot use stdout: another --output is the same file", "");
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept\n");
}

#[test]
fn p13_a_place_where_no_file_can_be_made_is_one_sentence_and_exit_1() {
    let dir = Dir::new();
    fs::write(dir.file("regular"), "").unwrap();
    for (path, middle) in [
        (dir.file("none/app.log"), "its directory does not exist; make it"),
        (dir.file("regular/app.log"), "a part of the path is no directory"),
        (dir.file("none/{host}.log"), "its directory does not exist; make it"),
    ] {
        for options in [&[][..], &["--rotate-size", "1MiB"]] {
            let ended = run(&[&["--output", &path], options].concat());
            assert_sentence(&ended, 1, &format!("cannot write to {path}: {middle}"), "with --output");
        }
    }
    let ended = run(&["--output", "/dev/null", "--rotate-size", "1MiB"]);
    assert_sentence(&ended, 1, "cannot write to /dev/null: it is no regular file, which --rotate-size", "");
}

/// A file that may be written, in a directory that may not: it could never be rotated, and all clients would wait then.
#[test]
fn p13_a_directory_in_which_nothing_can_be_rotated_is_one_sentence_and_exit_1() {
    let dir = Dir::new();
    let (locked, path) = (dir.file("locked"), dir.file("locked/app.log"));
    fs::create_dir(&locked).unwrap();
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    let Some(run) = somebody_else(&dir, &locked) else { return };
    for (output, options) in [(path.clone(), &["--rotate-size", "1MiB"][..]), (dir.file("locked/{host}.log"), &[])] {
        let args = [&["--listen", "127.0.0.1:0", "--output", &output], options].concat();
        let begins = format!("cannot write to {output}: no file can be made in {locked}, which --rotate-size");
        assert_sentence(&run(&args), 1, &begins, "with --output");
    }
}
