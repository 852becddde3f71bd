//! `lumberjack read` and `lumberjack verify`: what a spool holds, while a server uses it or not. Nothing in it is changed.
//! Invariant: damage is told and passed, whatever the files hold.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use super::asked::{End, FOLLOW_EVERY, Spooled, stdout};
use super::cat::{Since, contains};
use super::logging::complain;
use super::reader::has_lost_reader;
#[cfg(feature = "nats")]
use super::{asked::Streamed, streamed};
use crate::config::syslog::{Parse, SyslogOptions};
use crate::config::text::escaped;
use crate::config::units::DisplayLines;
use crate::engine::framer::Lines;
use crate::engine::peer::Peer;
use crate::sink::{Formatter, Origin, clock, write_time};
use crate::spool::directory::{Directory, Scanner, Segment};
use crate::spool::disk::RealDisk;
use crate::spool::error::Cause;
use crate::spool::identity::{Identity, is_spool};
use crate::spool::reader::{Batch, Limit, Missing, Next, Reader};
use crate::spool::record::{Entry, Line};

/// What both do.
pub(super) const HELP: &str = "\
Usage: lumberjack read [--from] DIR [--first NUMBER] [--since TIME|DURATION] [--until TIME|DURATION]
                       [--host HOST] [--match TEXT] [--format raw|peer|json] [--follow]
       lumberjack read --from nats://[USER:PASS@]HOST[:PORT]/SUBJECT --nats-stream NAME [--nats-creds FILE] [--box NAME]
                       [--since TIME|DURATION] [--until TIME|DURATION] [--host HOST] [--match TEXT] [--follow]
       lumberjack verify DIR

read shows the lines of a spool, the oldest first. verify says of each segment whether it is whole, and what is missing.
Both may be used while a server uses the spool, and change nothing in it. Exit code: 0 all is there, 1 lines are missing.

  --first NUMBER          begin with the line of this number
  --since TIME|DURATION   leave out older lines: 2h, or 2026-11-25T20:51Z
  --until TIME|DURATION   leave out lines from then on
  --host HOST             leave out lines of other senders: an address, or unix
  --match TEXT            leave out lines without this in them
  --format raw|peer|json  as an output writes them [number, time, sender, line]
  --follow                wait for more, until nobody reads it, or Ctrl-C

Of a stream of NATS the lines are shown as they were formatted. SUBJECT may have * for one word and > for all at the end,
and {box} is --box NAME [this box]. A line without a time has that of its message; --host finds senders of --format peer
and json.
";

/// Which lines are shown, and how.
struct Show<'a> {
    asked: &'a Spooled,
    /// Times in milliseconds since 1970.
    since: Option<i64>,
    until: Option<i64>,
    formatter: Option<Formatter>,
    text: Vec<u8>,
}

impl<'a> Show<'a> {
    fn new(asked: &'a Spooled) -> Self {
        let formatter = asked.format.map(|format| {
            let mut formatter = Formatter::new(format, "", true);
            formatter.read_syslog(SyslogOptions::default(), clock());
            formatter
        });
        let [since, until] = [asked.since, asked.until].map(|time| time.map(Since::unix_ms));
        Self { asked, since, until, formatter, text: Vec::new() }
    }

    fn has(&self, line: &Line<'_>) -> bool {
        let asked = self.asked;
        let ip = match line.peer.bare() {
            Peer::V4 { ip, .. } => Some(IpAddr::from(ip)),
            Peer::V6 { ip, .. } => Some(IpAddr::from(ip)),
            _ => None,
        };
        let at = i64::try_from(line.wall_ms).unwrap_or(i64::MAX);
        let is_then = self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until);
        let has_text = match line.entry {
            Entry::Line(bytes, _) => contains(bytes, &asked.wanted),
            Entry::Gap(_) => asked.wanted.is_empty(),
        };
        is_then && has_text && asked.host.is_none_or(|host| host == ip)
    }

    /// A line as it is shown; nothing, if it is left out.
    fn line(&mut self, line: &Line<'_>) -> &[u8] {
        self.text.clear();
        if self.has(line) {
            match &mut self.formatter {
                Some(formatter) => format_line(formatter, line, &mut self.text),
                None => write_line(line, &mut self.text),
            }
        }
        &self.text
    }
}

fn format_line(formatter: &mut Formatter, line: &Line<'_>, text: &mut Vec<u8>) {
    let parse = if let Entry::Line(_, parse) = line.entry { parse } else { Parse::Off };
    let origin = Origin { peer: &line.peer, wall_ms: line.wall_ms, parse };
    match line.entry {
        Entry::Line(body, _) => {
            formatter.write(&origin, Lines { head: &[], body, count: 1, ended: false }, text);
        }
        Entry::Gap(gap) => formatter.gap(&origin, gap, text),
    }
}

/// Does it; whether all lines are there. A reader of stdout that has enough is no failure.
pub(super) fn run(asked: &Spooled) -> bool {
    let done = match asked {
        #[cfg(feature = "nats")]
        Spooled { stream: Streamed { url: Some(url), .. }, .. } => streamed::read(asked, url),
        Spooled { reads: true, .. } => read(asked),
        _ => verify(asked),
    };
    match done {
        Ok(is_whole) => is_whole,
        Err(End::Enough) => true,
        Err(End::Sentence(sentence)) => {
            complain(&sentence);
            false
        }
    }
}

fn of_spool(asked: &Spooled, cause: impl Into<Cause>) -> End {
    let directory = escaped(&asked.directory.to_string_lossy());
    End::Sentence(match cause.into() {
        Cause::Io(error) if error.kind() == ErrorKind::NotFound => {
            format!("cannot read the spool {directory}: there is no such directory")
        }
        Cause::Io(error) => format!("cannot read the spool {directory}: {error}"),
        Cause::Occupied(name) => {
            format!("cannot read the spool {directory}: it is none, and holds other files ({})", escaped(&name))
        }
        cause => cause.at(&asked.directory).to_string(),
    })
}

/// Makes sure that it is a spool. One that is followed may still have to be made.
fn check(asked: &Spooled, disk: &RealDisk) -> Result<(), End> {
    if is_spool(disk).map_err(|cause| of_spool(asked, cause))? || asked.follows {
        return Ok(());
    }
    let directory = escaped(&asked.directory.to_string_lossy());
    Err(End::Sentence(format!("cannot read the spool {directory}: it is none yet, and holds no lines")))
}

/// Between two looks at what seems to be damaged.
const PAUSE: Duration = Duration::from_millis(50);

/// So often, in all, is looked again at what seems to be damaged.
const LOOKS: u32 = 20;

/// What seems to be damaged may be what a server writes just then: so it is looked at again a little later.
struct Patience<'a> {
    looks: u32,
    pause: &'a mut dyn FnMut(),
}

impl<'a> Patience<'a> {
    fn new(pause: &'a mut dyn FnMut()) -> Self {
        Self { looks: LOOKS, pause }
    }

    /// Waits a little; false if it has waited enough.
    fn has_more(&mut self) -> bool {
        let has_more = self.looks > 0;
        if has_more {
            self.looks -= 1;
            (self.pause)();
        }
        has_more
    }
}

/// What is on the disk now, and how far it goes.
fn look(asked: &Spooled, disk: &RealDisk) -> Result<(Directory, Limit), End> {
    let own = Identity::read(disk).map_err(|error| of_spool(asked, error))?.map(|identity| identity.box_id);
    let directory = Directory::load(disk, &mut |newest| Ok(own.or(newest))).map_err(|cause| of_spool(asked, cause))?;
    let recovered = directory.recover(disk, &mut Scanner::passing()).map_err(|error| of_spool(asked, error))?;
    Ok((directory, Limit { last: recovered.last, lines: recovered.lines }))
}

/// Goes through all lines of what was looked at, and tells of each part; whether nothing is damaged.
fn walk(
    asked: &Spooled,
    disk: &RealDisk,
    (mut directory, mut limit): (Directory, Limit),
    patience: &mut Patience<'_>,
    tell: &mut dyn FnMut(Told<'_>) -> io::Result<()>,
) -> Result<bool, End> {
    let first = asked.first.unwrap_or(0).max(directory.start().0);
    let mut reader = Reader::new(first, directory.lines_before(first));
    reader.pass_unreadable(true);
    let mut is_whole = true;
    loop {
        // Of what is still being written nobody knows whether it is damaged.
        let end = if asked.follows { None } else { Some(limit) };
        let at = (reader.wanted(), reader.before());
        let next = reader.next(disk, &directory, end);
        if is_doubtful(&next) {
            let mut now = look(asked, disk)?.0;
            // What a server has removed is no damage, however often it does so.
            let is_other = directory.segments().iter().any(|segment| now.get(segment.name).is_none());
            if is_other || patience.has_more() {
                if !is_other {
                    now = look(asked, disk)?.0;
                }
                directory = now;
                reader.go_to(at.0, at.1);
                continue;
            }
        }
        match next.map_err(|error| of_spool(asked, error))? {
            Next::Lines(lines) => tell(Told::Lines(&lines)),
            Next::Missing(missing) => {
                is_whole &= missing.are_gone;
                tell(Told::Missing(&missing))
            }
            Next::End if asked.follows => tell(Told::Pause),
            Next::End => return Ok(is_whole),
        }
        .map_err(|error| End::of_stdout(&error))?;
        if asked.follows && !directory.segments().is_empty() && is_behind(&directory, &reader) {
            continue;
        }
        if asked.follows {
            (directory, limit) = look(asked, disk)?;
            patience.looks = LOOKS;
        }
    }
}

/// Whether a second look may find it otherwise: damage, or a file that was removed since the first.
fn is_doubtful(next: &io::Result<Next<'_>>) -> bool {
    match next {
        Ok(Next::Missing(missing)) => !missing.are_gone,
        Ok(Next::Lines(_) | Next::End) => false,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Whether the segments that are known have more than was read.
fn is_behind<F: Clone>(directory: &Directory, reader: &Reader<F>) -> bool {
    directory.segments().last().is_some_and(|newest| newest.name.first > reader.wanted())
}

/// A part of a spool.
enum Told<'a> {
    Lines(&'a Batch<'a>),
    Missing(&'a Missing),
    /// There is nothing more for now.
    Pause,
}

fn read(asked: &Spooled) -> Result<bool, End> {
    let disk = RealDisk::new(&asked.directory);
    check(asked, &disk)?;
    let (mut out, mut show) = (stdout()?, Show::new(asked));
    let mut pause = || thread::sleep(PAUSE);
    let looked = look(asked, &disk)?;
    let is_whole = walk(asked, &disk, looked, &mut Patience::new(&mut pause), &mut |told| match told {
        Told::Lines(lines) => lines.lines().try_for_each(|line| out.write_all(show.line(&line))),
        Told::Pause => {
            out.flush()?;
            // Nothing is written for a while: whoever read it may be gone.
            if has_lost_reader(FOLLOW_EVERY) { Err(ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        }
        Told::Missing(missing) => {
            // What was before it comes first, if both go to one terminal.
            out.flush()?;
            complain(&sentence_of(missing));
            Ok(())
        }
    })?;
    out.flush().map_err(|error| End::of_stdout(&error))?;
    Ok(is_whole)
}

fn write_line(line: &Line<'_>, text: &mut Vec<u8>) {
    let _ = write!(text, "{} ", line.number);
    write_time(line.wall_ms, text);
    let _ = write!(text, " {} ", line.peer);
    match line.entry {
        Entry::Line(bytes, _) => text.extend_from_slice(bytes),
        Entry::Gap(gap) => {
            let _ = write!(text, "gap lines={} bytes={} why={}", gap.lines, gap.bytes, gap.why);
        }
    }
    text.push(b'\n');
}

fn sentence_of(missing: &Missing) -> String {
    let Missing { first, last, lines, are_gone } = *missing;
    let verb = if lines == 1 { "is" } else { "are" };
    let why = if are_gone { "removed" } else { "damaged" };
    format!("{} {verb} missing between numbers {first} and {last}: {why}", DisplayLines(lines))
}

/// What `verify` found in a segment.
#[derive(Default)]
struct Found {
    lines: u64,
    gaps: String,
}

fn verify(asked: &Spooled) -> Result<bool, End> {
    let mut out = stdout()?;
    let (text, is_whole) = verified(asked, &mut || thread::sleep(PAUSE))?;
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| End::of_stdout(&error))?;
    Ok(is_whole)
}

/// What verify says, and whether all is whole.
fn verified(asked: &Spooled, pause: &mut dyn FnMut()) -> Result<(String, bool), End> {
    let disk = RealDisk::new(&asked.directory);
    check(asked, &disk)?;
    let mut patience = Patience::new(pause);
    let mut looked = look(asked, &disk)?;
    // The header of the newest may be about to be written.
    while !looked.0.segments().iter().all(has_header) && patience.has_more() {
        looked = look(asked, &disk)?;
    }
    let (directory, limit) = looked.clone();
    let segments = directory.segments();
    let mut found: Vec<Found> = segments.iter().map(|_| Found::default()).collect();
    let are_there = walk(asked, &disk, looked, &mut patience, &mut |told| {
        let first = match &told {
            Told::Lines(lines) => lines.segment.0,
            Told::Missing(missing) => missing.first,
            Told::Pause => return Ok(()),
        };
        let at = segments.partition_point(|segment| segment.name.first <= first).saturating_sub(1);
        let Some(found) = found.get_mut(at) else { return Ok(()) };
        match told {
            Told::Lines(lines) => found.lines += lines.last - lines.first + 1,
            Told::Missing(missing) => found.gaps.push_str(&format!("  {}\n", sentence_of(missing))),
            Told::Pause => {}
        }
        Ok(())
    })?;
    let mut text = String::new();
    for (segment, found) in segments.iter().zip(&found) {
        let lines = DisplayLines(found.lines);
        let _ = writeln!(text, "{}: {}, {lines}, {} bytes", segment.name, state_of(segment), segment.len);
        text.push_str(&found.gaps);
    }
    let is_whole = are_there && segments.iter().all(has_header);
    let verdict = if is_whole { "whole" } else { "damaged" };
    let lines = DisplayLines(found.iter().map(|found| found.lines).sum());
    let _ = writeln!(text, "{verdict}: {lines} up to number {}", limit.last);
    Ok((text, is_whole))
}

/// Whether its own header can be read.
fn has_header(segment: &Segment) -> bool {
    segment.header.is_some() && !segment.is_mended
}

fn state_of(segment: &Segment) -> String {
    match (&segment.foreign, &segment.header, &segment.footer) {
        (Some(other), ..) => format!("of another box, {other}"),
        (_, None, _) => "its header is damaged".to_owned(),
        _ if segment.is_mended => "its header is damaged, and its footer stands for it".to_owned(),
        (_, _, Some(_)) => "sealed".to_owned(),
        _ => "not sealed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::engine::gap::{Gap, Why};
    use crate::spool::{Settings, Spool};

    fn line(number: u64, entry: Entry<'_>) -> Line<'_> {
        Line { number, peer: Peer::V4 { ip: [192, 0, 2, 7], port: 514 }, wall_ms: 1_500, entry }
    }

    #[test]
    fn lines_are_shown_with_number_time_and_sender() {
        let mut text = Vec::new();
        write_line(&line(7, Entry::Line(b"hello", Parse::Off)), &mut text);
        write_line(&line(8, Entry::Gap(Gap { lines: 2, bytes: 30, why: Why::Rate })), &mut text);
        let wanted = "7 1970-01-01T00:00:01.500Z 192.0.2.7:514 hello\n\
                      8 1970-01-01T00:00:01.500Z 192.0.2.7:514 gap lines=2 bytes=30 why=rate\n";
        assert_eq!(String::from_utf8(text).unwrap(), wanted);
    }

    const PEER: Peer = Peer::V4 { ip: [192, 0, 2, 7], port: 514 };

    /// A spool in a folder that is removed.
    struct Folder {
        asked: Spooled,
    }

    impl Folder {
        /// With a segment for each of these lines.
        fn new(test: &str, texts: &[&str]) -> Self {
            let directory = std::env::temp_dir().join(format!("lumberjack-{test}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&directory);
            let disk = RealDisk::make(&directory).unwrap();
            for text in texts {
                let mut settings = Settings { max_line: 1_000, outputs: vec!["out".to_owned()], ..Settings::default() };
                settings.size = settings.least_size();
                let mut spool = Spool::open(disk.clone(), settings, 1_000).unwrap();
                let mut batch = spool.batch();
                assert!(batch.push_line(&PEER, 1_500, Parse::Off, [text.as_bytes(), b""]));
                spool.write(&mut batch, 1_000).unwrap();
                spool.close();
                while let Some(job) = spool.next_job(1_000) {
                    spool.done(&job.run(&disk));
                }
                assert!(spool.is_closed());
            }
            Self { asked: Spooled { directory, ..Spooled::default() } }
        }

        /// The files of the segments, the oldest first.
        fn segments(&self) -> Vec<PathBuf> {
            let mut names: Vec<PathBuf> =
                fs::read_dir(&self.asked.directory).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.retain(|name| name.extension().is_some_and(|end| end == "seg"));
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.asked.directory);
        }
    }

    /// Damages a place of a segment, and says what verify finds if that is mended before the so many-th of its further looks.
    fn verified_while(folder: &Folder, at: usize, looks: u32) -> (String, bool) {
        let path = folder.segments().pop().unwrap();
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + 4].fill(0);
        fs::write(&path, &bytes).unwrap();
        let mut count = 0;
        let said = verified(&folder.asked, &mut || {
            count += 1;
            if count == looks {
                fs::write(&path, &whole).unwrap();
            }
        });
        fs::write(&path, &whole).unwrap();
        said.unwrap()
    }

    #[test]
    fn s22_what_is_being_written_is_no_damage() {
        let folder = Folder::new("written", &["one", "two"]);
        let newest = fs::read(folder.segments().pop().unwrap()).unwrap();
        let text = memchr::memmem::find(&newest, b"two").unwrap();
        for at in [text, 0] {
            let (said, is_whole) = verified_while(&folder, at, 2);
            assert!(is_whole && said.ends_with("whole: 2 lines up to number 2\n"), "{said}");
            let (said, is_whole) = verified_while(&folder, at, u32::MAX);
            assert!(!is_whole && said.contains("damaged"), "{said}");
        }
    }

    #[test]
    fn s22_what_is_removed_between_two_looks_is_gone_and_no_damage() {
        let folder = Folder::new("removed", &["one", "two", "three"]);
        let segments = folder.segments();
        let disk = RealDisk::new(&folder.asked.directory);
        let looked = look(&folder.asked, &disk).unwrap();
        let mut told = Vec::new();
        // However much was damaged before.
        let mut impatience = Patience { looks: 0, pause: &mut || {} };
        let is_whole = walk(&folder.asked, &disk, looked, &mut impatience, &mut |what| {
            told.push(match what {
                Told::Lines(lines) => lines.last.to_string(),
                Told::Missing(missing) => sentence_of(missing),
                Told::Pause => String::new(),
            });
            // A server has sent the first two meanwhile, and removes them.
            segments.iter().take(2).for_each(|path| drop(fs::remove_file(path)));
            Ok(())
        });
        assert_eq!(told, ["1", "1 line is missing between numbers 2 and 2: removed", "3"]);
        assert!(matches!(is_whole, Ok(true)));
    }

    #[test]
    fn s22_damage_behind_what_is_removed_is_told_apart() {
        let folder = Folder::new("behind", &["one", "two", "three"]);
        let segments = folder.segments();
        let disk = RealDisk::new(&folder.asked.directory);
        let (directory, limit) = look(&folder.asked, &disk).unwrap();
        let damaged = fs::read(&segments[1]).unwrap();
        let at = memchr::memmem::find(&damaged, b"two").unwrap();
        fs::write(&segments[1], [&damaged[..at], b"tow", &damaged[at + 3..]].concat()).unwrap();
        fs::remove_file(&segments[0]).unwrap();
        let mut told = Vec::new();
        let mut impatience = Patience { looks: 0, pause: &mut || {} };
        let is_whole = walk(&folder.asked, &disk, (directory, limit), &mut impatience, &mut |what| {
            told.push(match what {
                Told::Lines(lines) => lines.last.to_string(),
                Told::Missing(missing) => sentence_of(missing),
                Told::Pause => String::new(),
            });
            Ok(())
        });
        let missing = [
            "1 line is missing between numbers 1 and 1: removed",
            "1 line is missing between numbers 2 and 2: damaged",
        ];
        assert_eq!(told, [missing[0], missing[1], "3"]);
        assert!(matches!(is_whole, Ok(false)));
    }

    #[test]
    fn p13_what_is_no_spool_is_a_sentence() {
        let folder = Folder::new("none", &[]);
        let said = |folder: &Folder| match verified(&folder.asked, &mut || {}) {
            Err(End::Sentence(sentence)) => sentence,
            _ => panic!("it is one"),
        };
        assert!(said(&folder).contains(": it is none yet, and holds no lines"), "{}", said(&folder));
        fs::write(folder.asked.directory.join("passwd"), "").unwrap();
        assert!(said(&folder).contains(": it is none, and holds other files (passwd)"), "{}", said(&folder));
        // One that is being made.
        let follows = Spooled { follows: true, directory: folder.asked.directory.clone(), ..Spooled::default() };
        fs::remove_file(folder.asked.directory.join("passwd")).unwrap();
        assert!(check(&follows, &RealDisk::new(&follows.directory)).is_ok());
    }

    #[test]
    fn lines_are_shown_as_outputs_write_them() {
        let lines = [
            line(7, Entry::Line(b"<13>Oct 11 22:14:15 box app: hello", Parse::Syslog)),
            line(8, Entry::Gap(Gap { lines: 2, bytes: 30, why: Why::Rate })),
        ];
        for (format, wanted) in [
            ("raw", ["<13>Oct 11 22:14:15 box app: hello\n", "[lumberjack gap] "]),
            ("peer", ["1970-01-01T00:00:01.500Z 192.0.2.7:514 <13>Oct", "[lumberjack gap] 1970"]),
            ("json", ["{\"ts\":\"1970-01-01T00:00:01.500Z\",\"peer\":\"192.0.2.7:514\",", "\"gap\":{\"lines\":2"]),
        ] {
            let mut asked = Spooled::default();
            asked.set("format", format).unwrap();
            let mut show = Show::new(&asked);
            for (line, wanted) in lines.iter().zip(wanted) {
                let shown = String::from_utf8(show.line(line).to_vec()).unwrap();
                assert!(shown.contains(wanted) && shown.ends_with('\n'), "{format}: {shown}");
                let has_fields = cfg!(feature = "syslog") && format == "json" && line.number == 7;
                assert_eq!(shown.contains("\"app\":\"app\""), has_fields, "{shown}");
            }
        }
    }

    #[test]
    fn lines_are_chosen_by_time_host_and_text() {
        let hello = line(7, Entry::Line(b"hello", Parse::Off));
        let gap = line(8, Entry::Gap(Gap { lines: 2, bytes: 30, why: Why::Rate }));
        for (options, shows_line, shows_gap) in [
            (&[][..], true, true),
            (&[("match", "ell")], true, false),
            (&[("match", "x")], false, false),
            (&[("host", "192.0.2.7")], true, true),
            (&[("host", "::ffff:192.0.2.7")], true, true),
            (&[("host", "192.0.2.8")], false, false),
            (&[("host", "unix")], false, false),
            (&[("since", "1970-01-01T00:00:01Z")], true, true),
            (&[("since", "1970-01-01T00:00:02Z")], false, false),
            (&[("until", "1970-01-01T00:00:01Z")], false, false),
            (&[("until", "1970-01-01T00:00:02Z"), ("since", "1970-01-01")], true, true),
            (&[("until", "1m")], true, true),
        ] {
            let mut asked = Spooled::default();
            for (option, text) in options {
                match *option {
                    "match" => asked.wanted = (*text).into(),
                    option => asked.set(option, text).unwrap(),
                }
            }
            let show = Show::new(&asked);
            assert_eq!((show.has(&hello), show.has(&gap)), (shows_line, shows_gap), "{options:?}");
        }
        for (option, text) in [("host", "192.0.2.7:514"), ("until", "x"), ("format", "xml"), ("first", "-1")] {
            assert!(Spooled::default().set(option, text).is_err(), "{option} {text}");
        }
    }
}
