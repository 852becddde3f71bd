//! What new files and directories look like (`--file-mode`, `--file-group`, `--make-dirs`): never readable for more people
//! than they are to be, and there again when they are gone.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use super::errors::assert_sentence;
use crate::common::skip::not_here;
use crate::support::conditions::{Dir, until, until_equal};
use crate::support::receiver::{Receiver, Setup};
use crate::support::somebody::{copy_for_anybody, somebody_else};
use crate::support::traced::{calls, may_trace, strace, until_logged};

/// Lines of a hundred bytes: the second of two in a file of 150 rotates it.
const ROTATES: [&str; 4] = ["--rotate-size", "150", "--max-line", "100"];

fn line(letter: &str) -> String {
    letter.repeat(99) + "\n"
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Mode, owner and group.
fn look(path: &str) -> (u32, u32, u32) {
    let found = fs::metadata(path).unwrap();
    (mode(path), found.uid(), found.gid())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Starts it with this umask, and this output.
fn start(umask: &str, path: &str, options: &[&str]) -> Receiver {
    Setup::new(&[&["--output", path], options].concat()).before(&format!("umask {umask};")).start()
}

/// Sends a line, and waits until it is the last of the file.
fn write(receiver: &Receiver, path: &str, letter: &str) {
    receiver.client().write_all(line(letter).as_bytes()).unwrap();
    until("the line", || match fs::read_to_string(path) {
        Ok(text) if text.ends_with(&line(letter)) => Ok(()),
        other => Err(format!("{other:?}; {}", receiver.said())),
    });
}

#[test]
fn a_new_file_has_the_mode_that_was_asked_for_whatever_the_umask() {
    for umask in ["000", "077"] {
        let dir = Dir::new();
        let path = dir.file("app.log");
        let receiver = start(umask, &path, &[&ROTATES[..], &["--file-mode", "0604"]].concat());
        write(&receiver, &path, "a");
        assert_eq!(mode(&path), 0o604);
        write(&receiver, &path, "b");
        assert_eq!((mode(&path), mode(&format!("{path}.1"))), (0o604, 0o604));
        receiver.stop().assert_clean();
        // What is there keeps its own, and hands it on.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let receiver = start(umask, &path, &ROTATES);
        write(&receiver, &path, "c");
        assert_eq!((mode(&path), mode(&format!("{path}.1"))), (0o640, 0o640));
        receiver.stop().assert_clean();
    }
    // Each host's too.
    let dir = Dir::new();
    let receiver = start("000", &dir.file("{host}.log"), &["--file-mode", "0620"]);
    write(&receiver, &dir.file("127.0.0.1.log"), "a");
    assert_eq!(mode(&dir.file("127.0.0.1.log")), 0o620);
    receiver.stop().assert_clean();
}

#[test]
fn without_a_word_the_umask_counts_and_a_missing_file_is_as_the_last_rotated_one() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = start("027", &path, &ROTATES);
    write(&receiver, &path, "a");
    assert_eq!(mode(&path), 0o640);
    receiver.stop().assert_clean();
    for (name, rotated) in [("other.log", "other.log.1"), ("packed.log", "packed.log.1.gz")] {
        fs::write(dir.file(rotated), "earlier\n").unwrap();
        fs::set_permissions(dir.file(rotated), fs::Permissions::from_mode(0o600)).unwrap();
        let receiver = start("000", &dir.file(name), &ROTATES);
        write(&receiver, &dir.file(name), "a");
        assert_eq!(mode(&dir.file(name)), 0o600, "{name}");
        receiver.stop().assert_clean();
    }
}

#[test]
fn owner_and_group_are_kept_over_a_rotation_and_a_signal() {
    if !is_root() {
        return not_here("only root may give files away");
    }
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::write(&path, "").unwrap();
    chown(&path, Some(65534), Some(4)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let receiver = start("000", &path, &ROTATES);
    write(&receiver, &path, "a");
    write(&receiver, &path, "b");
    assert_eq!(look(&path), (0o640, 65534, 4), "over a rotation");
    fs::rename(&path, dir.file("moved")).unwrap();
    receiver.signal("HUP");
    until("the new file", || if fs::exists(&path).unwrap() { Ok(()) } else { Err(receiver.said()) });
    write(&receiver, &path, "c");
    assert_eq!(look(&path), (0o640, 65534, 4), "over a signal");
    receiver.stop().assert_clean();
    // Who is asked for a group gives it, by name and by number.
    for group in ["daemon", "1"] {
        let path = dir.file(&format!("of-{group}"));
        let receiver = start("000", &path, &[&ROTATES[..], &["--file-group", group, "--file-mode", "0640"]].concat());
        write(&receiver, &path, "a");
        write(&receiver, &path, "b");
        assert_eq!(look(&path), (0o640, 0, 1));
        receiver.stop().assert_clean();
    }
}

/// Starts it as nobody, who is in the group `daemon` too; None, and a word, where that can't be.
fn start_as_nobody(dir: &Dir, args: &[&str]) -> Option<Receiver> {
    if !is_root() {
        not_here("only root can become somebody else");
        return None;
    }
    let binary = copy_for_anybody(dir);
    let become_nobody = "exec setpriv --reuid=65534 --regid=65534 --groups=1";
    Some(Setup::new(args).before(&format!("umask 0; {become_nobody} '{binary}' \"$@\";")).start())
}

#[test]
fn what_somebody_else_can_not_give_away_gets_no_wider() {
    let dir = Dir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = dir.file("app.log");
    for (group, given, kept) in [(1, 0o662, (0o662, 65534, 1)), (4, 0o662, (0o622, 65534, 65534))] {
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(given)).unwrap();
        if is_root() {
            chown(&path, Some(0), Some(group)).unwrap();
        }
        let Some(receiver) = start_as_nobody(&dir, &[&["--output", &path], &ROTATES[..]].concat()) else { return };
        receiver.client().write_all((line("a") + &line("b")).as_bytes()).unwrap();
        until("a rotation", || match fs::metadata(&path) {
            Ok(found) if found.uid() == 65534 => Ok(()),
            other => Err(format!("{other:?}; {}", receiver.said())),
        });
        // The group that it was not meant for may do what everybody may.
        assert_eq!(look(&path), kept, "group {group}");
        receiver.stop().assert_clean();
        fs::remove_file(&path).unwrap();
        fs::remove_file(format!("{path}.1")).unwrap();
    }
    let asked = ["--listen", "127.0.0.1:0", "--output", &path, "--file-group"];
    let receiver = start_as_nobody(&dir, &[&asked[..], &["daemon"]].concat()).unwrap();
    assert_eq!(look(&path), (0o666, 65534, 1), "a group that it is in");
    receiver.stop().assert_clean();
}

#[test]
fn p13_a_group_or_mode_that_can_not_be_had_is_one_sentence_at_the_start() {
    let dir = Dir::new();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let locked = dir.file("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    let Some(run) = somebody_else(&dir, &locked) else { return };
    let path = dir.file("app.log");
    let args = ["--listen", "127.0.0.1:0", "--output", &path, "--file-group", "0"];
    let begins = format!("cannot write to {path}: the group of --file-group can't be given to a file (");
    assert_sentence(&run(&args), 1, &begins, "with --output");
    assert!(!fs::exists(&path).unwrap(), "none is left that has another group");
    // Though the file is there, the next one would have to have it.
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_sentence(&run(&[&args[..], &["--rotate-size", "1MiB"]].concat()), 1, &begins, "with --output");
}

#[test]
fn a_new_file_is_never_readable_for_more_people_than_at_last() {
    if !may_trace() {
        return;
    }
    let dir = Dir::new();
    let path = dir.file("app.log");
    let group = fs::metadata(dir.path()).unwrap().gid().to_string();
    let options = ["--file-mode", "0644", "--file-group", &group, "--output", &path];
    let setup = Setup::new(&[&ROTATES[..], &options].concat()).before("umask 0;");
    let receiver = setup.under(strace(&dir, "openat,open,fchown,fchmod", &[])).start();
    write(&receiver, &path, "a");
    write(&receiver, &path, "b");
    receiver.stop().assert_clean();
    until_logged(&dir);
    let made: Vec<_> = calls(&dir, "openat").into_iter().chain(calls(&dir, "open")).collect();
    let made: Vec<_> =
        made.iter().filter(|call| call.text.contains("O_CREAT") && call.text.contains("app.log")).collect();
    assert!(made.len() >= 3, "the first, the one of a try, the second: {made:?}");
    for call in &made {
        assert!(call.text.contains("O_EXCL") && call.text.contains(", 0600)"), "{call:?}");
    }
    let (owners, modes) = (calls(&dir, "fchown"), calls(&dir, "fchmod"));
    assert_eq!((owners.len(), modes.len()), (made.len(), made.len()), "{owners:?} {modes:?}");
    for (owner, mode) in owners.iter().zip(&modes) {
        assert!(owner.at < mode.at && mode.text.contains("0644"), "its group first: {owner:?} {mode:?}");
    }
}

#[test]
fn directories_that_are_missing_are_made_at_the_start_and_later() {
    for options in [&[][..], &ROTATES] {
        let dir = Dir::new();
        let (folder, path) = (dir.file("var/log/x"), dir.file("var/log/x/app.log"));
        let receiver = start("022", &path, &[options, &["--make-dirs"]].concat());
        receiver.until_said(&format!("made the directory of {path}"));
        write(&receiver, &path, "a");
        fs::remove_dir_all(dir.file("var")).unwrap();
        write(&receiver, &path, "b");
        assert_eq!(mode(&folder), 0o755);
        // A folder that is moved takes its file with it; the signal begins another.
        fs::rename(&folder, dir.file("moved")).unwrap();
        receiver.signal("HUP");
        until("the folder", || if fs::exists(&path).unwrap() { Ok(()) } else { Err(receiver.said()) });
        write(&receiver, &path, "c");
        receiver.stop().assert_clean();
        assert_eq!(fs::read_to_string(dir.file("moved/app.log")).unwrap(), line("b"));
    }
}

#[test]
fn the_directory_of_the_files_of_hosts_is_made_too() {
    let dir = Dir::new();
    let (pattern, path) = (dir.file("x/y/{host}.log"), dir.file("x/y/127.0.0.1.log"));
    let receiver = start("022", &pattern, &["--make-dirs"]);
    receiver.until_said(&format!("made the directory of {pattern}"));
    write(&receiver, &path, "a");
    fs::remove_dir_all(dir.file("x")).unwrap();
    write(&receiver, &path, "b");
    receiver.stop().assert_clean();
}

#[test]
fn a_link_to_what_is_not_there_yet_is_followed() {
    for options in [&[][..], &ROTATES] {
        let dir = Dir::new();
        symlink("disk/real.log", dir.file("app.log")).unwrap();
        fs::create_dir(dir.file("disk")).unwrap();
        let (path, real) = (dir.file("app.log"), dir.file("disk/real.log"));
        let receiver = start("022", &path, options);
        write(&receiver, &real, "a");
        receiver.stop().assert_clean();
        assert_eq!(fs::read_link(&path).unwrap().to_str(), Some("disk/real.log"));
        // And if there is no directory behind it either.
        fs::remove_dir_all(dir.file("disk")).unwrap();
        let ended = Setup::new(&["--listen", "127.0.0.1:0", "--output", &path]).run();
        assert_sentence(&ended, 1, &format!("cannot write to {path}: its directory does not exist"), "with --output");
        let receiver = start("022", &path, &[options, &["--make-dirs"]].concat());
        write(&receiver, &real, "b");
        receiver.stop().assert_clean();
    }
}

#[test]
fn p13_a_missing_directory_says_how_to_have_it_made() {
    let dir = Dir::new();
    for name in ["none/app.log", "none/{host}.log"] {
        let path = dir.file(name);
        let ended = Setup::new(&["--listen", "127.0.0.1:0", "--output", &path]).run();
        let begins =
            format!("cannot write to {path}: its directory does not exist; make it, or have it made by --make-dirs");
        assert_sentence(&ended, 1, &begins, "with --output");
    }
    assert!(!fs::exists(dir.file("none")).unwrap());
}

#[test]
fn a_directory_that_can_not_be_made_is_tried_again_and_lines_wait() {
    let dir = Dir::new();
    let path = dir.file("x/app.log");
    let receiver = start("022", &path, &["--make-dirs"]);
    write(&receiver, &path, "a");
    fs::remove_dir_all(dir.file("x")).unwrap();
    fs::write(dir.file("x"), "in the way").unwrap();
    receiver.client().write_all(line("b").as_bytes()).unwrap();
    receiver.until_said("cannot write to");
    fs::remove_file(dir.file("x")).unwrap();
    until_equal("the line", &line("b"), || fs::read_to_string(&path).unwrap_or_default());
    receiver.stop().assert_clean();
}

#[test]
fn a_file_that_somebody_removes_is_followed_by_one_like_it() {
    for options in [&[][..], &ROTATES] {
        let dir = Dir::new();
        let path = dir.file("app.log");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let receiver = start("022", &path, options);
        write(&receiver, &path, "a");
        fs::remove_file(&path).unwrap();
        write(&receiver, &path, "b");
        assert_eq!(mode(&path), 0o640, "{options:?}");
        receiver.stop().assert_clean();
    }
}
