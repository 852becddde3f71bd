//! Devices and folders that change under a file: pulled and put back, read-only, without inodes, mounted alone, moved; and
//! what else may have the file's name. Lines never stop for good, and nothing waits after its cause is gone.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::patience::{Pipe, join, output_of};
use crate::support::conditions::{Dir, text, until, until_equal};
use crate::support::mounts::Mounts;
use crate::support::receiver::{Receiver, Setup};

fn line(number: u32) -> String {
    format!("{number:039}\n")
}

fn lines(from: u32, to: u32) -> String {
    (from..to).map(line).collect()
}

/// Rotated at 100 bytes, with two lines in each file.
const ROTATES: [&str; 6] = ["--rotate-size", "100", "--max-line", "50", "--rotate-keep", "2"];

/// Pulls the device of the file system that is mounted on `stick`, as FIELD B does.
const PULL: &str = "python3 -c 'import fcntl,os,struct; \
                    fcntl.ioctl(os.open(\"stick\",0),0x8004587d,struct.pack(\"I\",2))'";

fn stick() -> Option<Mounts> {
    Mounts::new(
        "truncate -s 8M a.img b.img; mkfs.ext4 -q a.img; mkfs.ext4 -qF b.img; mkdir stick; mount -o loop a.img stick",
    )
}

#[test]
fn p13_a_device_that_is_pulled_and_exchanged_is_gone_on_with() {
    for (options, signal, ends) in [
        (&[][..], "", false),
        (&ROTATES, "", false),
        (&["--sync", "100ms"], "", false),
        (&[], "HUP", false),
        (&[], "", true),
    ] {
        let Some(disk) = stick() else { return };
        let path = disk.file("stick/app.log");
        let receiver = Setup::new(&[&["--output", &path], options].concat()).by_default().start();
        let mut client = receiver.client();
        client.write_all(b"one\n").unwrap();
        until_equal("the first line", &"one\n".to_owned(), || text(&path));
        assert!(disk.run(PULL), "the device can be pulled");
        client.write_all(b"two\n").unwrap();
        receiver.until_said("[out] cannot write to ");
        assert!(disk.run("mount -o loop b.img stick"));
        if ends {
            drop(client);
            receiver.stop().assert_clean();
            assert_eq!(text(&path), "two\n");
            continue;
        }
        if !signal.is_empty() {
            receiver.signal(signal);
        }
        until("the second line", || match text(&path).as_str() {
            "two\n" => Ok(()),
            found => Err(format!("{found:?}; {options:?} {signal}: {}", receiver.said())),
        });
        client.write_all(b"three\n").unwrap();
        until_equal("the third line", &"two\nthree\n".to_owned(), || text(&path));
        drop(client);
        receiver.stop().assert_clean();
    }
}

#[test]
fn p13_a_device_that_comes_back_after_a_while_is_gone_on_with() {
    for options in [&[][..], &["--sync", "100ms"]] {
        let Some(disk) = stick() else { return };
        let path = disk.file("stick/app.log");
        let receiver = Setup::new(&[&["--output", &path], options].concat()).by_default().start();
        let mut client = receiver.client();
        client.write_all(b"one\n").unwrap();
        until_equal("the first line", &"one\n".to_owned(), || text(&path));
        assert!(disk.run(PULL) && disk.run("umount -l stick"), "the device can be pulled");
        // As long as it is away there is an empty folder, and lines go there.
        client.write_all(b"two\n").unwrap();
        until_equal("a line in the mount point", &"two\n".to_owned(), || text(&path));
        // It is nobody's any more, and can be mounted again.
        until("the device", || {
            if disk.run("e2fsck -fp a.img; mount -o loop a.img stick") { Ok(()) } else { Err(String::new()) }
        });
        let mut sent = String::new();
        until("lines on the device", || {
            client.write_all(b"more\n").unwrap();
            sent.push_str("more\n");
            std::thread::sleep(Duration::from_millis(50));
            let found = text(&path);
            if found.contains("more") { Ok(()) } else { Err(found) }
        });
        drop(client);
        receiver.stop().assert_clean();
        let on_device = text(&path);
        assert!(disk.run("umount stick"));
        let all = text(&path) + on_device.trim_start_matches("one\n");
        assert_eq!(all, format!("two\n{sent}"), "each line is in one of them");
    }
}

#[test]
fn p13_a_file_system_that_is_read_only_for_a_while_costs_nothing() {
    for options in [&[][..], &ROTATES] {
        let Some(disk) = stick() else { return };
        let path = disk.file("stick/app.log");
        let receiver = Setup::new(&[&["--output", &path], options].concat()).by_default().start();
        let mut client = receiver.client();
        client.write_all(lines(0, 1).as_bytes()).unwrap();
        until_equal("the first line", &lines(0, 1), || text(&path));
        assert!(disk.run("mount -o remount,abort stick || mount -o remount,ro stick"));
        client.write_all(lines(1, 3).as_bytes()).unwrap();
        receiver.until_said("[out] cannot ");
        // A file system that has given up stays as it is as long as somebody has a file of it open.
        assert!(disk.run("mount -o loop b.img stick"));
        until("all lines", || match text(&path) {
            found if found == lines(1, 3) => Ok(()),
            found => Err(format!("{found}; {}", receiver.said())),
        });
        drop(client);
        receiver.stop().assert_clean();
    }
}

#[test]
fn p15_a_disk_without_a_free_inode_stops_no_line_and_rotates_as_far_as_it_can() {
    // Folder and three files: app.log and two rotated ones; the next has to wait until the oldest has gone.
    let Some(disk) = Mounts::new("mkdir d; mount -t tmpfs -o nr_inodes=4 none d") else { return };
    let path = disk.file("d/app.log");
    let receiver = Receiver::start(&[&["--output", &path], &ROTATES[..]].concat());
    let mut client = receiver.client();
    client.write_all(lines(0, 21).as_bytes()).unwrap();
    drop(client);
    // Nobody reads meanwhile: who has a file open keeps its inode from being free when it is removed.
    let ended = receiver.stop();
    ended.assert_clean();
    assert_eq!(text(&format!("{path}.2")) + &text(&format!("{path}.1")) + &text(&path), lines(16, 21));
    assert!(!ended.stderr.contains("[out]"), "{}", ended.stderr);
    // Not even one for a second file: lines go on, and it is said; with drop-oldest too, as there is nothing to remove.
    for options in [&[][..], &["--disk-full", "drop-oldest"]] {
        let Some(disk) = Mounts::new("mkdir d; mount -t tmpfs -o nr_inodes=2 none d") else { return };
        let path = disk.file("d/app.log");
        let receiver = Receiver::start(&[&["--output", &path], &ROTATES[..], options].concat());
        let mut client = receiver.client();
        client.write_all(lines(0, 9).as_bytes()).unwrap();
        until_equal("all lines", &lines(0, 9), || text(&path));
        receiver.until_said(&format!("[out] cannot rotate {path}: cannot make {path}.new: No space left on device"));
        assert!(disk.run("mount -o remount,nr_inodes=9 d"));
        receiver.signal("HUP");
        client.write_all(lines(9, 10).as_bytes()).unwrap();
        until_equal("a new file", &lines(9, 10), || text(&path));
        drop(client);
        receiver.stop().assert_clean();
    }
}

#[test]
fn p15_a_file_that_is_mounted_alone_is_refused_at_the_start_and_borne_later() {
    let Some(disk) = Mounts::new("mkdir c; touch host.log c/app.log; mount --bind host.log c/app.log") else { return };
    let path = disk.file("c/app.log");
    let ended = in_name_space(&disk, &["--output", "c/app.log", "--listen", "127.0.0.1:0", "--rotate-size", "200KiB"]);
    assert_eq!(ended.0, Some(1), "{}", ended.1);
    assert!(ended.1.contains("mounted on its own") && ended.1.contains("--rotate-size"), "{}", ended.1);
    // Not mounted at the start, but later. Only in its own name space a mount keeps a name from being renamed.
    assert!(disk.run("umount c/app.log"));
    let holder = path.split('/').nth(2).unwrap();
    let under = vec!["nsenter".to_owned(), format!("--mount=/proc/{holder}/ns/mnt")];
    let own_path = path.split_once("/root").unwrap().1;
    let receiver = Setup::new(&[&["--output", own_path], &ROTATES[..]].concat()).under(under).start();
    let mut client = receiver.client();
    client.write_all(lines(0, 1).as_bytes()).unwrap();
    until_equal("a line", &lines(0, 1), || text(&path));
    assert!(disk.run("mount --bind host.log c/app.log"));
    receiver.signal("HUP");
    client.write_all(lines(1, 9).as_bytes()).unwrap();
    until_equal("all lines", &lines(1, 9), || text(&path));
    receiver.until_said(&format!("[out] cannot rotate {own_path}: "));
    // It has the file open.
    assert!(disk.run("umount -l c/app.log"));
    receiver.signal("HUP");
    client.write_all(lines(9, 10).as_bytes()).unwrap();
    until("it rotates again", || {
        let found = text(&path);
        if found.ends_with(&line(9)) && found.len() <= 100 { Ok(()) } else { Err(found) }
    });
    drop(client);
    let ended = receiver.stop();
    ended.assert_clean();
    assert_eq!(ended.stderr.matches("cannot rotate").count(), 1, "{}", ended.stderr);
}

/// Runs the binary in that name space to its end; its exit code and what it said.
fn in_name_space(disk: &Mounts, args: &[&str]) -> (Option<i32>, String) {
    let holder = disk.file("").split('/').nth(2).unwrap().to_owned();
    let folder = disk.file("").split_once("/root").unwrap().1.to_owned();
    let mut command = Command::new("nsenter");
    command.arg(format!("--mount=/proc/{holder}/ns/mnt")).args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(folder);
    let output = output_of(command.arg(crate::support::receiver::under_test()).args(args)).unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn p13_a_folder_that_is_moved_or_removed_while_it_rotates_stops_no_line_for_good() {
    for is_removed in [false, true] {
        let dir = Dir::new();
        let (folder, moved) = (dir.file("logs"), dir.file("moved"));
        let path = dir.file("logs/app.log");
        fs::create_dir(&folder).unwrap();
        let receiver = Setup::new(&[&["--output", &path], &ROTATES[..]].concat()).by_default().start();
        let mut client = receiver.client();
        client.write_all(lines(0, 5).as_bytes()).unwrap();
        until_equal("the fifth", &lines(4, 5), || text(&path));
        if is_removed {
            fs::remove_dir_all(&folder).unwrap()
        } else {
            fs::rename(&folder, &moved).unwrap()
        }
        client.write_all(lines(5, 9).as_bytes()).unwrap();
        if !is_removed {
            until("lines in the moved file", || match text(&dir.file("moved/app.log")) {
                found if found.ends_with(&line(8)) => Ok(()),
                found => Err(found),
            });
        }
        fs::create_dir(&folder).unwrap();
        receiver.signal("HUP");
        client.write_all(lines(9, 10).as_bytes()).unwrap();
        until("the tenth", || match text(&path) {
            found if found.ends_with(&line(9)) => Ok(()),
            found => Err(found),
        });
        drop(client);
        receiver.stop().assert_clean();
    }
}

#[test]
fn p13_a_name_in_the_way_at_a_start_is_a_warning_and_fails_a_check() {
    for name in ["app.log.1", "app.log.2", "app.log.new"] {
        let dir = Dir::new();
        let path = dir.file("app.log");
        fs::create_dir(dir.file(name)).unwrap();
        let args = [&["--output", &path], &ROTATES[..]].concat();
        let checked = Setup::new(&[&args[..], &["--check", "--listen", "127.0.0.1:0"]].concat()).run();
        assert_eq!(checked.code, Some(2), "{name}: {}", checked.stderr);
        assert!(checked.stderr.contains(name), "{}", checked.stderr);
        let receiver = Receiver::start(&args);
        receiver.until_said(name);
        let mut client = receiver.client();
        client.write_all(lines(0, 9).as_bytes()).unwrap();
        until("all lines", || match text(&path) {
            found if found.ends_with(&line(8)) => Ok(()),
            found => Err(found),
        });
        fs::remove_dir(dir.file(name)).unwrap();
        receiver.signal("HUP");
        client.write_all(lines(9, 13).as_bytes()).unwrap();
        until_equal("it rotates", &lines(11, 13), || text(&path));
        drop(client);
        receiver.stop().assert_clean();
    }
}

#[test]
fn p13_a_new_file_of_somebody_else_is_not_removed() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::write(dir.file("app.log.new"), "mine\n").unwrap();
    let receiver = Receiver::start(&[&["--output", &path], &ROTATES[..]].concat());
    let mut client = receiver.client();
    client.write_all(lines(0, 9).as_bytes()).unwrap();
    until("all lines", || match text(&path) {
        found if found.ends_with(&line(8)) => Ok(()),
        found => Err(found),
    });
    receiver.until_said("app.log.new");
    drop(client);
    receiver.stop().assert_clean();
    assert_eq!(text(&dir.file("app.log.new")), "mine\n");
}

#[test]
fn p15_a_limit_on_the_size_of_files_tears_no_line_and_rotates_or_is_said() {
    let limited = |limit: &str, args: &[&str]| Setup::new(args).before(&format!("ulimit -f {limit};")).start();
    // 4 KiB: 102 lines of 40 bytes, and 16 bytes of one more. Blocks of 512 bytes in dash.
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = limited("8", &["--output", &path, "--rotate-size", "1MiB", "--rotate-keep", "9"]);
    receiver.client().write_all(lines(0, 500).as_bytes()).unwrap();
    receiver.stop().assert_clean();
    let files = (1..=9).rev().map(|number| text(&format!("{path}.{number}"))).chain([text(&path)]);
    let files: Vec<String> = files.filter(|found| !found.is_empty()).collect();
    assert!(files.iter().all(|found| found.ends_with('\n')), "a torn line");
    assert_eq!(files.concat(), lines(0, 500));
    // Without rotation.
    let dir = Dir::new();
    let path = dir.file("app.log");
    let receiver = limited("8", &["--output", &path]);
    let mut client = receiver.client();
    client.write_all(lines(0, 150).as_bytes()).unwrap();
    receiver.until_said("it has reached the largest size that a file may have here");
    fs::rename(&path, dir.file("moved")).unwrap();
    receiver.signal("HUP");
    until("the last line", || match text(&path) {
        found if found.ends_with(&line(149)) => Ok(()),
        found => Err(found),
    });
    drop(client);
    let ended = receiver.stop();
    ended.assert_clean();
    let moved = text(&dir.file("moved"));
    assert!(moved.ends_with('\n') && moved.len() == 4080, "{} bytes", moved.len());
    assert_eq!(moved + &text(&path), lines(0, 150));
}

/// What may have the name of a file.
const OTHERS: [&str; 5] = ["fifo", "socket", "folder", "null", "nowhere"];

/// Gives it the name; what is to be kept for as long.
fn put(what: &str, path: &str) -> Option<UnixListener> {
    match what {
        "fifo" => assert!(output_of(Command::new("mkfifo").arg(path)).unwrap().status.success()),
        "socket" => return Some(UnixListener::bind(path).unwrap()),
        "folder" => fs::create_dir(path).unwrap(),
        "null" => symlink("/dev/null", path).unwrap(),
        _ => symlink("/no/such/place", path).unwrap(),
    }
    None
}

fn take_away(path: &str) {
    if fs::remove_file(path).is_err() {
        fs::remove_dir(path).unwrap();
    }
}

#[cfg(feature = "status")]
#[test]
fn p13_whatever_has_the_files_name_hangs_nobody_and_lines_go_on_when_it_is_gone() {
    for what in OTHERS {
        for (is_removed, options) in [(false, &[][..]), (true, &[]), (false, &ROTATES), (true, &ROTATES)] {
            let dir = Dir::new();
            let (path, other, moved) = (dir.file("app.log"), dir.file("other.log"), dir.file("moved"));
            let args = ["--output", &path, "--output", &other, "--status", "127.0.0.1:0"];
            let receiver = Receiver::start(&[&args[..], options].concat());
            let mut client = receiver.client();
            client.write_all(lines(0, 1).as_bytes()).unwrap();
            until_equal("the first line", &lines(0, 1), || text(&path));
            if is_removed {
                fs::remove_file(&path).unwrap()
            } else {
                fs::rename(&path, &moved).unwrap()
            }
            let listener = put(what, &path);
            if !is_removed {
                receiver.signal("HUP");
            }
            client.write_all(lines(1, 2).as_bytes()).unwrap();
            until("a line in the other", || match text(&other) {
                found if found.ends_with(&lines(1, 2)) => Ok(()),
                found => Err(format!("{what}: {found}")),
            });
            if what != "null" {
                receiver.until_said("[out] cannot ");
            }
            if !is_removed && what != "null" {
                until_equal(what, &lines(0, 2), || text(&moved));
            }
            take_away(&path);
            drop(listener);
            if !is_removed || what == "null" {
                receiver.signal("HUP");
            }
            client.write_all(lines(2, 3).as_bytes()).unwrap();
            until("the third line", || match text(&path) {
                found if found.ends_with(&line(2)) => Ok(()),
                found => Err(format!("{what} {is_removed} {options:?}: {found}; {}", receiver.said())),
            });
            drop(client);
            receiver.stop().assert_clean();
        }
    }
}

/// A fifo under this name.
fn make_fifo(path: &str) {
    assert!(output_of(Command::new("mkfifo").arg(path)).unwrap().status.success());
}

/// All lines in order: what came to an old fifo, which may end in the middle of a line, and then to what took its place.
fn whole(old: &[u8], new: &[u8]) -> String {
    let end = old.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    String::from_utf8([&old[..end], new].concat()).unwrap()
}

#[test]
fn p13_a_fifo_that_is_replaced_is_opened_anew_and_each_line_is_whole_in_one_of_them() {
    // More than a fifo holds: then the old one ends in the middle of a line that its reader never gets the rest of.
    // What comes then is as much as is written at once, or one line.
    for (count, signal, new, more) in [
        (3, "HUP", "fifo", 600),
        (3, "", "fifo", 600),
        (3, "", "fifo", 1),
        (6_000, "HUP", "fifo", 600),
        (6_000, "", "file", 600),
    ] {
        let dir = Dir::new();
        let path = dir.file("ff");
        make_fifo(&path);
        let mut old = Pipe::open(&path);
        let receiver = Receiver::start(&["--output", &path, "--memory", "1MiB"]);
        let mut client = receiver.client();
        client.write_all(lines(0, count).as_bytes()).unwrap();
        let mut had = vec![0; 3 * 40];
        old.read_exact(&mut had).unwrap();
        fs::remove_file(&path).unwrap();
        let mut reader = if new == "fifo" {
            make_fifo(&path);
            Some(Pipe::open(&path))
        } else {
            fs::write(&path, "").unwrap();
            None
        };
        if !signal.is_empty() {
            receiver.signal(signal);
        }
        client.write_all(lines(count, count + more).as_bytes()).unwrap();
        let mut got = Vec::new();
        until("lines in the new one", || {
            match &mut reader {
                // Its end is that nobody has opened it yet.
                Some(fifo) if got.len() < line(count).len() => {
                    let mut chunk = [0; 40];
                    let read = fifo.read(&mut chunk).unwrap();
                    got.extend_from_slice(&chunk[..read]);
                }
                Some(_) => {}
                None => got = fs::read(&path).unwrap(),
            }
            if got.len() >= 40 { Ok(()) } else { Err(format!("{signal} {count}: {} bytes", got.len())) }
        });
        drop(client);
        let stopping = std::thread::spawn(move || receiver.stop().assert_clean());
        if let Some(mut fifo) = reader {
            fifo.read_to_end(&mut got).unwrap();
        }
        join("the end", stopping);
        old.read_to_end(&mut had).unwrap();
        let got = if new == "fifo" { got } else { fs::read(&path).unwrap() };
        assert_eq!(whole(&had, &got), lines(0, count + more), "{signal} {count}");
    }
}

#[test]
fn p1_a_sighup_in_the_middle_of_a_line_into_a_fifo_that_stays_makes_no_second_start_of_it() {
    let dir = Dir::new();
    let path = dir.file("ff");
    make_fifo(&path);
    let mut reader = Pipe::open(&path);
    let receiver = Receiver::start(&["--output", &path, "--memory", "1MiB"]);
    let mut client = receiver.client();
    // No whole number of them fits a fifo.
    client.write_all(lines(0, 3_000).as_bytes()).unwrap();
    // Time in which it fills the fifo, and then hears of the signal.
    std::thread::sleep(Duration::from_millis(300));
    receiver.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    let mut got = vec![0; 40];
    reader.read_exact(&mut got).unwrap();
    drop(client);
    let stopping = std::thread::spawn(move || receiver.stop().assert_clean());
    reader.read_to_end(&mut got).unwrap();
    join("the end", stopping);
    assert_eq!(String::from_utf8(got).unwrap(), lines(0, 3_000));
}

#[test]
fn p13_a_device_or_fifo_that_gives_way_to_a_file_is_left_for_it_at_sighup() {
    for what in ["null", "fifo"] {
        let dir = Dir::new();
        let (path, other) = (dir.file("app.log"), dir.file("other.log"));
        put(what, &path);
        let receiver = Receiver::start(&["--output", &path, "--output", &other]);
        let mut client = receiver.client();
        // What can't be opened is said, and tried again.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        receiver.signal("HUP");
        receiver.until_said("anew: Is a directory (os error 21); lines go on to what had that name");
        client.write_all(lines(0, 1).as_bytes()).unwrap();
        until_equal("a line in the other", &line(0), || text(&other));
        fs::remove_dir(&path).unwrap();
        fs::write(&path, "before\n").unwrap();
        receiver.signal("HUP");
        client.write_all(lines(1, 2).as_bytes()).unwrap();
        until_equal(what, &("before\n".to_owned() + &line(1)), || text(&path));
        // From now on it is a file as any other.
        fs::rename(&path, dir.file("moved")).unwrap();
        receiver.signal("HUP");
        client.write_all(lines(2, 3).as_bytes()).unwrap();
        until_equal(what, &line(2), || text(&path));
        drop(client);
        receiver.stop().assert_clean();
    }
}

/// Somebody cures a full disk by leading the path to another one.
#[test]
fn p20_a_full_disk_is_left_when_the_path_leads_elsewhere() {
    for args in [&[][..], &["--rotate-size", "1MiB", "--sync", "100ms"]] {
        let dir = Dir::new();
        let (path, full, roomy) = (dir.file("app.log"), dir.file("full"), dir.file("roomy"));
        let Some(disk) = super::disk::Tmpfs::mount("size=64k") else { return };
        symlink(disk.file("app.log"), &full).unwrap();
        symlink("full", &path).unwrap();
        let receiver = Receiver::start(&[&["--output", &path], args].concat());
        let mut client = receiver.client();
        client.write_all(lines(0, 3000).as_bytes()).unwrap();
        until("the full disk to be said", || {
            let said = receiver.said();
            if said.contains("No space left") { Ok(()) } else { Err(said) }
        });
        fs::write(&roomy, "").unwrap();
        fs::remove_file(&path).unwrap();
        symlink("roomy", &path).unwrap();
        client.write_all(lines(3000, 3010).as_bytes()).unwrap();
        let all = || text(&disk.file("app.log")) + &text(&roomy);
        until("all lines on the two disks", || {
            let all = all();
            let missing = (0..3010).find(|number| !all.contains(&line(*number)));
            missing.map_or(Ok(()), |number| Err(number.to_string()))
        });
        receiver.stop().assert_clean();
        assert_eq!(text(&roomy).lines().last().map(|last| format!("{last}\n")), Some(line(3009)), "{args:?}");
    }
}

#[test]
fn p11_whatever_has_the_files_name_the_end_comes_in_time() {
    for what in OTHERS {
        let dir = Dir::new();
        let (path, other) = (dir.file("app.log"), dir.file("other.log"));
        let receiver = Receiver::start(&["--output", &path, "--output", &other, "--drain-timeout", "500ms"]);
        let mut client = receiver.client();
        client.write_all(b"one\n").unwrap();
        until_equal("the first line", &"one\n".to_owned(), || text(&path));
        fs::remove_file(&path).unwrap();
        let _listener = put(what, &path);
        receiver.signal("HUP");
        client.write_all(b"two\n").unwrap();
        until_equal("the other", &"one\ntwo\n".to_owned(), || text(&other));
        drop(client);
        let began = Instant::now();
        let ended = receiver.stop();
        // What is removed and can't be opened anew has lost nothing only if it is a device that takes all.
        let took = began.elapsed();
        assert!(took < Duration::from_secs(4), "{what}: {took:?}");
        let is_code = |code| ended.code == Some(code);
        assert!(is_code(0) || is_code(1) && ended.stderr.contains("lumberjack: "), "{what}: {}", ended.stderr);
        assert_eq!(is_code(0), ended.stderr.contains("everything is written"), "{what}: {}", ended.stderr);
    }
}

#[test]
fn p15_the_number_of_a_removed_file_is_not_that_of_the_new_one() {
    let scripts = [
        "mkdir d; mount -t tmpfs -o size=4m none d",
        "truncate -s 8M a.img; mkfs.ext4 -q a.img; mkdir d; mount -o loop a.img d",
    ];
    for script in scripts {
        for keep in [0, 1, 2] {
            let Some(disk) = Mounts::new(script) else { return };
            let path = disk.file("d/app.log");
            let keep_text = keep.to_string();
            let args = ["--output", &path, "--rotate-size", "100", "--max-line", "50", "--rotate-keep", &keep_text];
            let receiver = Receiver::start(&args);
            let mut client = receiver.client();
            let inodes = || -> Vec<u64> {
                let names =
                    (0..=keep).map(|number| if number == 0 { path.clone() } else { format!("{path}.{number}") });
                names.filter_map(|name| Some(fs::metadata(name).ok()?.ino())).collect()
            };
            let mut before: BTreeSet<u64> = BTreeSet::new();
            for number in 0..20 {
                client.write_all(line(number).as_bytes()).unwrap();
                until("the line", || if text(&path).ends_with(&line(number)) { Ok(()) } else { Err(text(&path)) });
                let now = inodes();
                if number >= 2 && number % 2 == 0 {
                    // A rotation: what is new was not there a moment ago.
                    assert!(!before.contains(&now[0]), "{script}: keep {keep}: {} was there before", now[0]);
                }
                before = now.into_iter().collect();
            }
            drop(client);
            receiver.stop().assert_clean();
        }
    }
}
