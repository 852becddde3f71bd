//! What pollers have seen, over restarts (P31, `--poll-state`): an orderly end doubles and loses nothing, a kill may double
//! and never loses, and a state that can't be used is a sentence.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::conditions::{Dir, until, until_equal};
use crate::support::http::{get, status_of};
use crate::support::receiver::{Receiver, Setup};
use crate::support::web::{Manners, Page};

/// A page, and where its lines and states go.
struct World {
    page: Page,
    dir: Dir,
}

impl World {
    fn new(manners: Manners, text: &str) -> Self {
        let dir = Dir::new();
        fs::create_dir(dir.file("states")).unwrap();
        Self { page: Page::new(manners, text), dir }
    }

    fn states(&self) -> String {
        self.dir.file("states")
    }

    fn state(&self) -> String {
        self.dir.file("states/gw.seen")
    }

    fn start(&self) -> Receiver {
        let (poll, states, out) = (self.page.web.poll("gw"), self.states(), self.dir.file("out"));
        let ours = ["--poll", &poll, "--poll-interval", "1s", "--poll-state", &states, "--output", &out];
        Receiver::start(&ours)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.dir.file("out")).unwrap_or_default()
    }

    fn until_text(&self, wanted: &str) {
        until_equal("lines", &wanted.to_owned(), || self.text());
    }

    fn until_just(&self, wanted: &str) {
        self.until_text(wanted);
        self.page.web.until_asked(2);
        assert_eq!(self.text(), wanted);
    }
}

fn numbered(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| format!("line {number}, which is long enough to be one\n")).collect()
}

#[test]
fn p31_an_orderly_restart_doubles_and_loses_nothing() {
    for manners in [Manners::Plain, Manners::Tags, Manners::Ranges] {
        let world = World::new(manners, &numbered(0..50));
        let mut end = 50;
        for more in [0, 40, 1] {
            // What came while nobody was there.
            end += more;
            world.page.set(&numbered(0..end));
            let receiver = world.start();
            world.until_text(&numbered(0..end));
            end += 5;
            world.page.add(&numbered(end - 5..end));
            world.until_text(&numbered(0..end));
            let ended = receiver.stop();
            ended.assert_clean();
            assert!(!ended.stderr.contains("WARN"), "{}", ended.stderr);
            assert_eq!(fs::metadata(world.state()).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(world.text(), numbered(0..end));
    }
}

#[test]
fn p31_a_page_that_slides_or_rotates_goes_on_over_restarts() {
    let world = World::new(Manners::Tags, &numbered(0..20));
    for end in [20, 25, 38] {
        world.page.set(&numbered(end - 20..end));
        let receiver = world.start();
        world.until_just(&numbered(0..end));
        receiver.stop().assert_clean();
    }
    // It rotated while nobody was there.
    world.page.set(&numbered(38..44));
    let receiver = world.start();
    receiver.until_said("nothing on its page was there before");
    world.until_just(&numbered(0..44));
    receiver.stop().assert_clean();
    let receiver = world.start();
    world.until_just(&numbered(0..44));
    receiver.stop().assert_clean();
}

#[test]
fn p31_a_kill_may_double_and_never_loses() {
    for manners in [Manners::Plain, Manners::Ranges] {
        let world = World::new(manners, &numbered(0..10));
        let mut end = 10;
        for round in 0..4 {
            let mut receiver = world.start();
            until("the last line", || {
                let text = world.text();
                if text.ends_with(&numbered(end - 1..end)) { Ok(()) } else { Err(text) }
            });
            end += 10;
            world.page.add(&numbered(end - 10..end));
            if round % 2 == 0 {
                world.page.web.until_asked(1);
            }
            receiver.guard.0.kill().unwrap();
            receiver.guard.wait();
        }
        let receiver = world.start();
        until("the last line", || {
            let text = world.text();
            if text.ends_with(&numbered(end - 1..end)) { Ok(()) } else { Err(text) }
        });
        receiver.stop().assert_clean();
        // Whatever came twice, each comes for the first time behind the one before it.
        let text = world.text();
        let mut firsts = String::new();
        for line in text.lines().map(|line| format!("{line}\n")) {
            if !firsts.contains(&line) {
                firsts.push_str(&line);
            }
        }
        assert_eq!(firsts, numbered(0..end));
    }
}

#[test]
fn p31_lines_that_an_output_never_took_come_again() {
    // Its output is a pipe that nobody reads, so the end gives it up.
    let world = World::new(Manners::Plain, &numbered(0..4000));
    let (poll, states) = (world.page.web.poll("gw"), world.states());
    let args = ["--poll", &poll, "--poll-state", &states, "--drain-timeout", "1s", "--memory", "8MiB"];
    let (receiver, unread) = Receiver::start_unread(&args);
    world.page.web.until_asked(1);
    until("the pipe is full", || {
        let waiting = receiver.rss_kib();
        if receiver.said().contains("[poll]") { Ok(waiting) } else { Err(receiver.said()) }
    });
    receiver.assert_rests("while the output is full");
    let ended = receiver.stop();
    drop(unread);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let receiver = world.start();
    world.until_just(&numbered(0..4000));
    receiver.stop().assert_clean();
}

#[test]
fn p31_lines_that_the_file_of_their_name_never_took_come_again() {
    let world = World::new(Manners::Plain, "1\n");
    let (poll, states, file) = (world.page.web.poll("gw"), world.states(), world.dir.file("gw.log"));
    // In its place, so that the lines wait. Those of others would not wait for them.
    fs::create_dir(&file).unwrap();
    let output = world.dir.file("{host}.log");
    let args = ["--poll", &poll, "--poll-interval", "1s", "--poll-state", &states, "--output", &output];
    let receiver = Receiver::start(&args);
    receiver.until_said("cannot write to");
    world.page.web.until_asked(2);
    receiver.signal("KILL");
    drop(receiver);
    fs::remove_dir(&file).unwrap();
    let receiver = Receiver::start(&args);
    until_equal("the line", &"1\n".to_owned(), || fs::read_to_string(&file).unwrap_or_default());
    receiver.stop().assert_clean();
}

#[test]
fn p31_at_the_end_what_was_brought_goes_to_a_slow_output_and_is_not_brought_again() {
    let world = World::new(Manners::Plain, &numbered(0..20_000));
    let (poll, states) = (world.page.web.poll("gw"), world.states());
    // More than an output may let wait.
    let args = [
        "--poll",
        &poll,
        "--poll-state",
        &states,
        "--memory",
        "8MiB",
        "--poll-seen",
        "30000",
        "--status",
        "127.0.0.1:0",
    ];
    let (receiver, unread) = Receiver::start_unread(&args);
    let at = status_of(&receiver);
    until("lines wait in the poller", || {
        let json = get(&at, "/diagnostics").json();
        let state = json.text_at("http.pollerDetails.0.state");
        if state == "delivering" { Ok(()) } else { Err(state.to_owned()) }
    });
    receiver.signal("TERM");
    receiver.until_said("[tcp] Stopping server");
    let output = unread.collect();
    receiver.wait().assert_clean();
    assert!(String::from_utf8(output.finish()).unwrap() == numbered(0..20_000), "all lines, once");
    world.page.add(&numbered(20_000..20_001));
    let receiver = Receiver::start(&args);
    receiver.until_lines(&numbered(20_000..20_001).lines().collect::<Vec<_>>());
    receiver.stop().assert_clean();
}

#[test]
fn p31_a_state_that_can_not_be_used_is_said_and_the_page_begins_anew() {
    let world = World::new(Manners::Tags, &numbered(0..5));
    let run = |sentence: &str, wanted: usize| {
        let receiver = world.start();
        receiver.until_said(sentence);
        until_equal("lines", &wanted, || world.text().lines().count());
        receiver.stop().assert_clean();
    };
    run("[poll] 1 page(s) are polled", 5);
    let sound = fs::read(world.state()).unwrap();
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        bytes
    };
    for (number, (bytes, why)) in [
        (Vec::new(), "it is no state of a poller"),
        (b"something else, which is long enough to be a state".to_vec(), "it is no state of a poller"),
        (flipped(7), "it is of another version"),
        (flipped(sound.len() / 2), "it is damaged"),
        (sound[..sound.len() - 1].to_vec(), "it is damaged"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(world.state(), bytes).unwrap();
        let sentence = format!("[poll] gw: what it has seen can't be used ({why}): it begins anew");
        run(&sentence, 10 + 5 * number);
    }
    // A directory in its place, and then the state of another URL.
    fs::remove_file(world.state()).unwrap();
    fs::create_dir(world.state()).unwrap();
    let receiver = world.start();
    receiver.until_said("[poll] gw: what it has seen can't be read (");
    receiver.until_said("[poll] what was seen can't be kept (--poll-state): ");
    receiver.stop().assert_clean();
    fs::remove_dir(world.state()).unwrap();
    fs::write(world.state(), &sound).unwrap();
    let poll = world.page.web.poll("gw") + "?another";
    let receiver =
        Receiver::start(&["--poll", &poll, "--poll-state", &world.states(), "--output", &world.dir.file("other")]);
    receiver.until_said("[poll] gw: what it has seen can't be used (it is of another URL): it begins anew");
    receiver.stop().assert_clean();
}

#[test]
fn p31_a_directory_of_states_is_of_one_process() {
    let world = World::new(Manners::Plain, "one\n");
    let receiver = world.start();
    world.until_text("one\n");
    let (poll, states) = (world.page.web.poll("gw"), world.states());
    let args = ["--listen", "127.0.0.1:0", "--poll", &poll, "--poll-state", &states];
    let ended = Setup::new(&args).run();
    assert_eq!(ended.code, Some(1));
    let sentence = format!("lumberjack: cannot use --poll-state {states}: another process keeps its states there\n");
    assert!(ended.stderr.ends_with(&sentence), "{}", ended.stderr);
    receiver.stop().assert_clean();
}

#[test]
fn p31_a_state_that_can_not_be_written_is_said_once_and_lines_come_all_the_same() {
    let world = World::new(Manners::Plain, "one\n");
    // Where the new state is written before it takes its name.
    let in_the_way = world.dir.file("states/gw.seen.new");
    fs::create_dir(&in_the_way).unwrap();
    let receiver = world.start();
    world.until_text("one\n");
    receiver.until_said("[poll] what was seen can't be kept (--poll-state): ");
    world.until_just("one\n");
    // What could not be kept is tried again at the end.
    fs::remove_dir(&in_the_way).unwrap();
    let ended = receiver.stop();
    ended.assert_clean();
    assert_eq!(ended.stderr.matches("can't be kept").count(), 1, "{}", ended.stderr);
    let receiver = world.start();
    world.until_just("one\n");
    receiver.stop().assert_clean();
}
