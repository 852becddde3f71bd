//! Files by the day (`--rotate-at`, `{date}`): begun when the clock here says so, once a day, whatever happens meanwhile. No
//! clock is set for that: a time zone of each test's own puts the time of day where it is needed.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::disk::Tmpfs;
use super::errors::assert_sentence;
use crate::common::skip::skip;
use crate::support::conditions::{Dir, text, until, until_equal};
use crate::support::receiver::{Receiver, Setup};

/// A time zone as a `TZ` names it, and when a time of day comes in it.
struct Place {
    tz: String,
    at: SystemTime,
}

impl Place {
    /// Where it will be this time of day, in hours and minutes, in so many seconds, or a little later.
    fn where_it_is((hour, minute): (u64, u64), in_seconds: u64) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + in_seconds + 1;
        // How much clocks there are behind: up to a day, which is as far as a zone can go.
        let behind = (since_1970 + 86_400 - (hour * 60 + minute) * 60) % 86_400;
        let tz = format!("XXX{:02}:{:02}:{:02}", behind / 3600, behind / 60 % 60, behind % 60);
        Self { tz, at: UNIX_EPOCH + Duration::from_secs(since_1970) }
    }

    /// With these options there.
    fn start(&self, args: &[&str]) -> Receiver {
        Setup::new(args).before(&format!("export TZ='{}';", self.tz)).start()
    }

    fn has_come(&self) -> bool {
        SystemTime::now() >= self.at
    }

    /// Sleeps until the time has come: time is the input here.
    fn wait(&self) {
        std::thread::sleep(self.at.duration_since(SystemTime::now()).unwrap_or_default());
    }
}

/// What `date` says that it is there, so many seconds from now.
fn date_in(tz: &str, seconds: i64) -> String {
    let mut date = Command::new("date");
    let output = date.env("TZ", tz).args(["+%F", "-d", &format!("{seconds} seconds")]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn names(dir: &Dir) -> Vec<String> {
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn write(client: &mut TcpStream, line: &str) {
    client.write_all(line.as_bytes()).unwrap();
}

#[test]
fn a_file_with_lines_is_begun_anew_at_its_time_and_then_no_more() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let first = format!("{path}.1");
    let place = Place::where_it_is((3, 30), 3);
    let receiver = place.start(&["--output", &path, "--rotate-at", "03:30"]);
    let mut client = receiver.client();
    write(&mut client, "one\n");
    until_equal("the line", &"one\n".to_owned(), || text(&path) + &text(&first));
    until_equal("the rotation", &("one\n".to_owned(), String::new()), || (text(&first), text(&path)));
    assert!(place.has_come(), "too early");
    write(&mut client, "two\n");
    until_equal("the next line", &"two\n".to_owned(), || text(&path));
    receiver.assert_rests("after it was begun anew");
    receiver.stop().assert_clean();
    // The same day, in a new process.
    let receiver = place.start(&["--output", &path, "--rotate-at", "03:30"]);
    write(&mut receiver.client(), "three\n");
    receiver.stop().assert_clean();
    assert_eq!((text(&path), names(&dir).len()), ("two\nthree\n".to_owned(), 2));
}

#[test]
fn a_time_that_comes_while_nobody_runs_is_made_up_for_at_the_start() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    fs::write(&path, "old\n").unwrap();
    // What tells that `app.log` is of this day.
    fs::write(format!("{path}.1"), "older\n").unwrap();
    let place = Place::where_it_is((23, 59), 4);
    let args = ["--output", &path, "--rotate-at", "23:59"];
    let receiver = place.start(&args);
    write(&mut receiver.client(), "new\n");
    receiver.stop().assert_clean();
    if !place.has_come() {
        assert_eq!((text(&path), names(&dir).len()), ("old\nnew\n".to_owned(), 2), "not before");
    }
    place.wait();
    for _ in 0..2 {
        place.start(&args).stop().assert_clean();
        assert_eq!((text(&path), text(&format!("{path}.1"))), (String::new(), "old\nnew\n".to_owned()));
        assert_eq!(names(&dir).len(), 3);
    }
}

#[test]
fn of_a_file_of_which_nothing_tells_how_old_it_is_a_day_is_over_unless_it_would_be_lost() {
    for (keep, is_new) in [("1", true), ("0", false)] {
        let dir = Dir::new();
        let path = dir.file("app.log");
        fs::write(&path, "old\n").unwrap();
        let place = Place::where_it_is((12, 0), 3600);
        place.start(&["--output", &path, "--rotate-at", "12:00", "--rotate-keep", keep]).stop().assert_clean();
        assert_eq!(text(&path) == "old\n", !is_new);
        assert_eq!(text(&format!("{path}.1")) == "old\n", is_new);
    }
}

#[test]
fn lines_that_gather_go_to_the_file_of_the_day_on_which_they_came() {
    let dir = Dir::new();
    let path = dir.file("app.log");
    let place = Place::where_it_is((3, 30), 3);
    let receiver = place.start(&["--output", &path, "--rotate-at", "03:30", "--flush-every", "1h"]);
    write(&mut receiver.client(), "one\n");
    until_equal("the rotation", &"one\n".to_owned(), || text(&format!("{path}.1")));
    assert_eq!(text(&path), "");
    receiver.assert_rests("with lines to come");
    receiver.stop().assert_clean();
}

#[test]
fn the_file_of_each_host_has_its_days() {
    let dir = Dir::new();
    let pattern = dir.file("{host}.log");
    let place = Place::where_it_is((3, 30), 3);
    let receiver = place.start(&["--output", &pattern, "--rotate-at", "03:30"]);
    for host in [2, 3] {
        write(&mut receiver.client_from(host), "one\n");
    }
    let wanted = ["127.0.0.2.log", "127.0.0.2.log.1", "127.0.0.3.log", "127.0.0.3.log.1"].map(str::to_owned);
    until_equal("both", &wanted.to_vec(), || names(&dir));
    assert!(place.has_come(), "too early");
    receiver.assert_rests("after both");
    receiver.stop().assert_clean();
}

#[test]
fn each_day_has_a_file_and_those_of_older_days_go() {
    let dir = Dir::new();
    let others = ["app-2000-02-30.log", "app-2000-1-1.log", "app-2000-01-01.log.gz", "app-x.log", "2000-01-01.log"];
    let later = "app-9999-01-01.log";
    for name in others.iter().chain(&["app-2000-01-01.log", "app-2000-01-02.log", "app-2000-01-04.log", later]) {
        fs::write(dir.file(name), "old\n").unwrap();
    }
    fs::create_dir(dir.file("app-2000-01-03.log")).unwrap();
    let place = Place::where_it_is((0, 0), 4);
    let args = ["--output", &dir.file("app-{date}.log"), "--rotate-keep", "2"];
    let receiver = place.start(&args);
    let [yesterday, today] = [0, 10].map(|seconds| format!("app-{}.log", date_in(&place.tz, seconds)));
    assert_ne!(yesterday, today);
    receiver.until_said(&format!("[out] removed {}, beyond --rotate-keep", dir.file("app-2000-01-01.log")));
    let mut client = receiver.client();
    write(&mut client, "one\n");
    until_equal("a line", &"one\n".to_owned(), || text(&dir.file(&yesterday)));
    fs::set_permissions(dir.file(&yesterday), fs::Permissions::from_mode(0o640)).unwrap();
    // A day begins though nobody says anything.
    until("the day", || {
        fs::metadata(dir.file(&today)).map(drop).map_err(|error| format!("{error}, {:?}", names(&dir)))
    });
    assert!(place.has_come(), "too early");
    let mode = || fs::metadata(dir.file(&today)).unwrap().permissions().mode() & 0o777;
    until_equal("who may read it", &0o640, mode);
    write(&mut client, "two\n");
    until_equal("a line", &"two\n".to_owned(), || text(&dir.file(&today)));
    let kept = ["app-2000-01-03.log", "app-2000-01-04.log", later, &yesterday, &today];
    let mut wanted: Vec<String> = others.iter().chain(&kept).map(ToString::to_string).collect();
    wanted.sort();
    until_equal("no others", &wanted, || names(&dir));
    // SIGHUP, a file that is removed, and a new process: the same day's file.
    receiver.signal("HUP");
    write(&mut client, "three\n");
    until_equal("a line", &"two\nthree\n".to_owned(), || text(&dir.file(&today)));
    fs::remove_file(dir.file(&today)).unwrap();
    write(&mut client, "four\n");
    until_equal("a line", &"four\n".to_owned(), || text(&dir.file(&today)));
    receiver.assert_rests("on the new day");
    receiver.stop().assert_clean();
    let receiver = place.start(&args);
    write(&mut receiver.client(), "still four\n");
    until_equal("a line", &"four\nstill four\n".to_owned(), || text(&dir.file(&today)));
    receiver.stop().assert_clean();
    fs::remove_file(dir.file(&today)).unwrap();
    let receiver = place.start(&args);
    assert_eq!(mode(), 0o640, "as yesterday's");
    write(&mut receiver.client(), "five\n");
    receiver.stop().assert_clean();
    assert_eq!(text(&dir.file(&today)), "five\n");
    assert_eq!((text(&dir.file(&yesterday)), names(&dir)), ("one\n".to_owned(), wanted));
}

#[test]
fn a_day_that_begins_at_another_time_has_the_date_on_which_it_began() {
    let dir = Dir::new();
    let place = Place::where_it_is((6, 0), 3);
    let receiver = place.start(&["--output", &dir.file("{date}"), "--rotate-at", "06:00"]);
    let [yesterday, today] = [-86_400, 0].map(|seconds| date_in(&place.tz, seconds));
    until_equal("both days", &vec![yesterday, today], || names(&dir));
    assert!(place.has_come(), "too early");
    receiver.stop().assert_clean();
}

#[test]
fn a_day_whose_file_cant_be_opened_goes_on_in_the_one_before() {
    let dir = Dir::new();
    let place = Place::where_it_is((0, 0), 3);
    let receiver = place.start(&["--output", &dir.file("{date}")]);
    let [yesterday, today] = [0, 10].map(|seconds| date_in(&place.tz, seconds)).map(|date| dir.file(&date));
    fs::create_dir(&today).unwrap();
    receiver.until_said(&format!("[out] cannot rotate {yesterday}: cannot open {today}: is a directory"));
    assert!(place.has_come(), "too early");
    let mut client = receiver.client();
    write(&mut client, "one\n");
    until_equal("a line", &"one\n".to_owned(), || text(&yesterday));
    fs::remove_dir(&today).unwrap();
    receiver.signal("HUP");
    until("today's file", || fs::metadata(&today).map(drop).map_err(|error| error.to_string()));
    write(&mut client, "two\n");
    until_equal("a line", &"two\n".to_owned(), || text(&today));
    receiver.stop().assert_clean();
}

#[test]
fn a_file_that_may_get_no_longer_waits_for_the_next_day() {
    let dir = Dir::new();
    let place = Place::where_it_is((0, 0), 4);
    let before = format!("export TZ='{}'; ulimit -f 8;", place.tz);
    let receiver = Setup::new(&["--output", &dir.file("{date}")]).before(&before).start();
    let line = "x".repeat(999) + "\n";
    // Blocks of 512 bytes: four lines a file.
    receiver.client().write_all(line.repeat(7).as_bytes()).unwrap();
    receiver.until_said("it has reached the largest size that a file may have here");
    let [yesterday, today] = [0, 10].map(|seconds| date_in(&place.tz, seconds)).map(|date| dir.file(&date));
    until("the rest", || {
        let all = text(&yesterday) + &text(&today);
        if all == line.repeat(7) { Ok(()) } else { Err(format!("{} bytes", all.len())) }
    });
    assert!(place.has_come(), "too early");
    receiver.stop().assert_clean();
}

#[test]
fn on_a_full_disk_the_oldest_day_goes_if_that_is_wanted() {
    let Some(disk) = Tmpfs::mount("size=4m") else { return };
    let days = ["2001-01-01", "1999-12-31", "2000-06-01"].map(|date| disk.file(&format!("app-{date}.log")));
    for path in &days {
        fs::write(path, "x".repeat(1023).repeat(1000) + "\n").unwrap();
    }
    let args = ["--output", &disk.file("app-{date}.log"), "--disk-full", "drop-oldest", "--mark-gaps"];
    let receiver = Receiver::start(&args);
    let today = disk.file(&format!("app-{}.log", date_in("UTC0", 0)));
    let line = "y".repeat(99) + "\n";
    receiver.client().write_all(line.repeat(20_000).as_bytes()).unwrap();
    let gap = "[lumberjack gap] ";
    until("all lines", || {
        let lines = text(&today).lines().filter(|line| line.starts_with('y')).count();
        if lines == 20_000 { Ok(()) } else { Err(lines.to_string()) }
    });
    assert!(text(&today).contains(gap), "the line that was dropped is marked");
    assert_eq!(days.map(|path| Path::new(&path).exists()), [true, false, true]);
    let said = receiver.stop();
    said.assert_clean();
    assert!(said.stderr.contains("app-1999-12-31.log with 1 line, "), "{}", said.stderr);
}

/// A file of a zone whose clocks are so many seconds before UTC, in the form of 1987.
fn zone_file(seconds: i32) -> Vec<u8> {
    let counts = [0_u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
    [&b"TZif"[..], &[0; 16], &counts, &seconds.to_be_bytes(), &[0, 0], b"XXX\0"].concat()
}

#[test]
fn a_box_that_is_moved_has_another_day_after_a_sighup() {
    let dir = Dir::new();
    let (zone, logs) = (dir.file("zone"), dir.file("logs"));
    fs::write(&zone, zone_file(0)).unwrap();
    fs::create_dir(&logs).unwrap();
    let place = Place { tz: format!(":{zone}"), at: UNIX_EPOCH };
    let receiver = place.start(&["--output", &format!("{logs}/{{date}}")]);
    let before = date_in("UTC0", 0);
    fs::write(&zone, zone_file(86_400)).unwrap();
    receiver.signal("HUP");
    let after = format!("{logs}/{}", date_in("XXX-24", 0));
    until(&after, || fs::metadata(&after).map(drop).map_err(|error| error.to_string()));
    assert!(Path::new(&format!("{logs}/{before}")).exists());
    let said = receiver.stop();
    said.assert_clean();
    assert!(!said.stderr.contains("those of UTC"), "{}", said.stderr);
}

#[test]
fn the_zones_of_this_machine_are_known_by_their_names() {
    if !Path::new("/usr/share/zoneinfo/Pacific/Kiritimati").exists() {
        return skip("there are no files of time zones (apt-get install tzdata)");
    }
    // A day and more apart, so that one of them is on another day than UTC.
    for tz in ["Pacific/Kiritimati", ":Pacific/Pago_Pago", ":/usr/share/zoneinfo/Asia/Kathmandu"] {
        let dir = Dir::new();
        let place = Place { tz: tz.to_owned(), at: UNIX_EPOCH };
        let before = date_in(tz, 0);
        place.start(&["--output", &dir.file("{date}")]).stop().assert_clean();
        let after = date_in(tz, 0);
        assert!(names(&dir) == [before.clone()] || names(&dir) == [after], "{tz}: {:?} on {before}", names(&dir));
    }
}

#[test]
fn a_zone_that_is_no_file_holds_up_no_start() {
    for tz in ["/proc/kmsg", ":/proc/kmsg", "/dev/ptmx"] {
        let dir = Dir::new();
        let receiver = Place { tz: tz.to_owned(), at: UNIX_EPOCH }.start(&["--output", &dir.file("{date}")]);
        receiver.until_said(&format!("TZ is {tz}, which is no time zone that is known here"));
        receiver.stop().assert_clean();
    }
}

#[test]
fn a_zone_that_is_not_known_is_said_once_and_is_utc() {
    let dir = Dir::new();
    let place = Place { tz: "Nowhere/Place".to_owned(), at: UNIX_EPOCH };
    let args = ["--output", &dir.file("a-{date}"), "--output", &dir.file("b-{date}")];
    let receiver = place.start(&args);
    receiver.until_said("TZ is Nowhere/Place, which is no time zone that is known here");
    let said = receiver.stop().stderr;
    let sentence = "the days of --rotate-at and {date} are those of UTC";
    assert_eq!(said.matches(sentence).count(), 1, "{said}");
    assert!(names(&dir).contains(&format!("a-{}", date_in("UTC0", 0))), "{:?}", names(&dir));
    // Who has no days does not hear of it.
    let said = place.start(&["--output", &dir.file("c")]).stop().stderr;
    assert!(!said.contains(sentence), "{said}");
}

#[test]
fn p13_days_that_make_no_sense_are_one_sentence_and_exit_2() {
    let form = "give a time from 00:00 to 23:59, such as 03:30, or off";
    for (args, begins, ends) in [
        (&["--output", "a", "--rotate-at", "25:00"][..], "--rotate-at 25:00: ", form),
        (&["--output", "a", "--rotate-at", "9:00"], "--rotate-at 9:00: ", form),
        (&["--rotate-at", "09:00"], "--rotate-at is for files, and no --output names one", "leave it out"),
        (&["--output", "{date}{date}"], "--output {date}{date}: {date} may stand once", "not in a directory's"),
        (&["--output", "/x/{date}/a"], "--output /x/{date}/a: {date} may stand once", "not in a directory's"),
        (&["--output", "{host}-{date}", "--rotate-size", "1MiB"], "--output {host}-{date} begins one file a day", ""),
        (
            &["--output", "a-{date}", "--rotate-size", "1MiB"],
            "--output a-{date} begins one file a day",
            "leave them out",
        ),
        (
            &["--output", "a-{date}", "--rotate-compress"],
            "--output a-{date} has files that keep their names",
            "leave it out",
        ),
        (&["--output", "a-{date}", "--rotate-age", "1h"], "--output a-{date} begins one file a day", "leave them out"),
        (
            &["--output", "a-{date}", "--disk-full", "drop-oldest", "--rotate-keep", "0"],
            "--disk-full drop-oldest removes rotated files",
            "",
        ),
    ] {
        assert_sentence(&Setup::new(&[&["--listen", "127.0.0.1:0"], args].concat()).run(), 2, begins, ends);
    }
}

#[test]
fn check_shows_what_days_there_are() {
    let args = ["--check", "--output", "a-{date}.log", "--rotate-at", "06:00", "--rotate-keep", "9"];
    let ended = Setup::new(&args).run();
    ended.assert_clean();
    let shown = String::from_utf8(ended.output).unwrap();
    assert!(shown.contains("rotate-at = 06:00 # flag\n"), "{shown}");
    assert!(shown.contains("# disk: a-{date}.log of today and of 9 days before"), "{shown}");
    let shown = String::from_utf8(Setup::new(&["--check"]).run().output).unwrap();
    assert!(shown.contains("rotate-at = off # default\n"), "{shown}");
}
