//! Pollers as a program that embeds the server has them (P31): the calls of the original server, and its diagnostics.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use lumberjack::{Limits, Poll, PollOptions};

use super::capture::said;
use super::common::patience::Patient;
use super::valve::Flow;
use super::world::World;

const INTERVAL: Duration = Duration::from_secs(1);

/// A server whose answer to each request is what comes out of the channel, whenever that is.
struct Server {
    addr: SocketAddr,
    answers: mpsc::Sender<String>,
    asked: Arc<Mutex<usize>>,
}

impl Server {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(0)));
        let (answers, receiver) = mpsc::channel();
        let ours = Arc::clone(&asked);
        let receiver = Arc::new(Mutex::new(receiver));
        // It ends with the process: the test has nothing to wait for.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (ours, receiver) = (Arc::clone(&ours), Arc::clone(&receiver));
                std::thread::spawn(move || answer(stream.unwrap().patient(), &ours, &receiver));
            }
        });
        Self { addr, answers, asked }
    }

    fn poll(&self, name: &str) -> Poll {
        format!("{name}=http://{}/log", self.addr).parse().unwrap()
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }

    fn answer(&self, lines: &str) {
        self.answers.send(lines.to_owned()).unwrap();
    }
}

fn answer(mut stream: TcpStream, asked: &Mutex<usize>, answers: &Mutex<mpsc::Receiver<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        head.clear();
        *asked.lock().unwrap() += 1;
        let Ok(lines) = answers.lock().unwrap().recv() else { return };
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{lines}", lines.len());
    }
}

#[test]
fn seed_diagnostics_report_pollers() {
    let mut world = World::new(Limits::default());
    assert!(world.handle.diagnostics().to_json().contains(r#""http":{"activePollers":0,"pollerDetails":[]}"#));
    let (one, two) = (Server::new(), Server::new());
    let first = world.handle.start_poller(&one.poll("plc-7"), INTERVAL).unwrap();
    let second = world.handle.start_poller(&two.poll("gw"), 5 * INTERVAL).unwrap();
    world.until("both ask", |_| one.asked() + two.asked() == 2);
    one.answer("a line\nanother\n");
    world.until_lines(&["a line", "another"]);
    let diagnostics = world.handle.diagnostics();
    assert_eq!(diagnostics.http.active_pollers, 2);
    let json = diagnostics.to_json();
    let object = json.split_once(r#""http":"#).unwrap().1;
    // The original server's members, in its order: {activePollers, pollerDetails: [{id, url, intervalMs, seenEntries}]}.
    let of = |id: u64, server: &Server, interval: u64, seen: u64| {
        format!(r#"{{"id":{id},"url":"http://{}/log","intervalMs":{interval},"seenEntries":{seen},"#, server.addr)
    };
    let begins = format!(r#"{{"activePollers":2,"pollerDetails":[{}"#, of(first, &one, 1000, 2));
    assert!(object.starts_with(&begins), "{begins} instead of {object}");
    assert!(object.contains(&format!(r#"}},{}"#, of(second, &two, 5000, 0))), "{object}");
    assert_eq!(world.handle.stop_all_pollers(), 2);
    world.until("nobody polls", |world| world.handle.diagnostics().http.active_pollers == 0);
    assert!(world.handle.diagnostics().to_json().contains(r#""http":{"activePollers":0,"pollerDetails":[]}"#));
}

#[test]
fn p31_a_late_answer_of_a_poller_that_was_stopped_is_thrown_away() {
    let mut world = World::new(Limits::default());
    let (slow, other) = (Server::new(), Server::new());
    let id = world.handle.start_poller(&slow.poll("slow"), INTERVAL).unwrap();
    world.until("it asks", |_| slow.asked() == 1);
    assert_eq!(world.handle.stop_poller(id), Ok(()));
    world.until("it is gone", |world| world.handle.diagnostics().http.active_pollers == 0);
    slow.answer("too late\n");
    // One that is started later has its place, and is answered: by then the other answer is here, if it ever is.
    world.handle.start_poller(&other.poll("other"), INTERVAL).unwrap();
    other.answer("in time\n");
    other.answer("in time\nand more\n");
    world.until_lines(&["in time", "and more"]);
    assert_eq!(world.texts(), ["in time", "and more"]);
    world.turns_for(INTERVAL);
    assert_eq!(slow.asked(), 1, "it asks no more");
    world.stop().unwrap();
}

#[test]
fn p31_lines_that_a_poller_has_brought_outlast_it() {
    let mut world = World::new(Limits::default());
    let server = Server::new();
    let id = world.handle.start_poller(&server.poll("gw"), INTERVAL).unwrap();
    server.answer("first\n");
    world.until_lines(&["first"]);
    world.valve.set(Flow::Shut);
    server.answer("first\nsecond\n");
    world.until("it asks again", |_| server.asked() == 2);
    world.until("they are taken in", |world| {
        world.handle.diagnostics().http.poller_details.iter().all(|poller| poller.counters.lines == 2)
    });
    world.handle.stop_poller(id).unwrap();
    world.until("it is gone", |world| world.handle.diagnostics().http.active_pollers == 0);
    world.valve.set(Flow::Open);
    world.until_lines(&["first", "second"]);
}

#[test]
fn p31_what_a_poller_has_seen_is_kept_though_it_is_stopped() {
    let dir = std::env::temp_dir().join(format!("lumberjack-promises-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let options = || PollOptions { state: Some(dir.clone()), ..PollOptions::default() };
    let server = Server::new();
    let mut world = World::new(Limits::default());
    world.server.serve_polls(options()).unwrap();
    let id = world.handle.start_poller(&server.poll("gw"), INTERVAL).unwrap();
    server.answer("first\n");
    world.until_lines(&["first"]);
    // The first state is kept at once, the next one not before a minute is over, or it is stopped.
    world.until("it is kept", |_| dir.join("gw.seen").is_file());
    server.answer("first\nsecond\n");
    world.until_lines(&["first", "second"]);
    world.handle.stop_poller(id).unwrap();
    world.until("it is gone", |world| world.handle.diagnostics().http.active_pollers == 0);
    world.stop().unwrap();
    let mut world = World::new(Limits::default());
    world.server.serve_polls(options()).unwrap();
    world.handle.start_poller(&server.poll("gw"), INTERVAL).unwrap();
    server.answer("first\nsecond\nthird\n");
    world.until_lines(&["third"]);
    world.stop().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn p31_what_can_not_be_started_or_stopped_is_an_error() {
    let mut world = World::new(Limits::default());
    let server = Server::new();
    let poll = server.poll("gw");
    let error = |result: Result<u64, lumberjack::PollError>| result.unwrap_err().to_string();
    let short = world.handle.start_poller(&poll, Duration::from_millis(999));
    assert_eq!(error(short), "--poll-interval is 999ms: give 1s or more");
    let id = world.handle.start_poller(&poll, INTERVAL).unwrap();
    assert_eq!(error(world.handle.start_poller(&poll, INTERVAL)), "there is a poller gw already");
    let unknown = world.handle.stop_poller(id + 1).unwrap_err().to_string();
    assert_eq!(unknown, format!("there is no poller {}", id + 1));
    assert_eq!(world.handle.stop_poller(id), Ok(()));
    assert!(world.handle.stop_poller(id).is_err(), "it is stopped already");
    // Numbers are never used again, names are.
    let again = world.handle.start_poller(&poll, INTERVAL).unwrap();
    assert!(again > id);
    world.until("it is there", |world| world.handle.diagnostics().http.active_pollers == 1);
    assert_eq!(world.handle.stop_all_pollers(), 1);
    assert_eq!(world.handle.stop_all_pollers(), 0);
    world.handle.stop();
    world.until("it ends", |world| !world.handle.status().running);
    let late = world.handle.start_poller(&poll, INTERVAL);
    assert_eq!(error(late), "the server has ended, or is about to");
}

#[test]
fn p5_pollers_are_no_more_than_memory_has_room_for() {
    let mut world = World::new(Limits { memory: 16 << 20, ..Limits::default() });
    let server = Server::new();
    let mut ids = Vec::new();
    let refusal = loop {
        match world.handle.start_poller(&server.poll(&format!("p{}", ids.len())), INTERVAL) {
            Ok(id) => ids.push(id),
            Err(error) => break error.to_string(),
        }
        assert!(ids.len() < 1000, "there is no bound");
    };
    let sentence = format!("--memory has room for {} pollers: raise it, ", ids.len());
    assert!(refusal.starts_with(&sentence) && !ids.is_empty(), "{refusal}");
    world.until("all are there", |world| world.handle.diagnostics().http.active_pollers == ids.len() as u64);
    // The world checks after each turn that they hold no more than their share.
    world.until("all ask", |_| server.asked() == ids.len());
    for _ in &ids {
        server.answer(&"a line\n".repeat(20_000));
    }
    world.until("all lines", |world| world.status().counters.lines == ids.len() as u64 * 20_000);
    assert!(said(&["brings nothing", "/log"]).iter().all(|line| !line.contains(&server.addr.to_string())));
}

#[test]
fn p31_pollers_of_the_configuration_and_of_a_handle_have_different_numbers_and_names() {
    let mut world = World::new(Limits::default());
    let (one, two) = (Server::new(), Server::new());
    world.server.serve_polls(PollOptions { polls: vec![one.poll("gw")], ..PollOptions::default() }).unwrap();
    assert!(world.handle.start_poller(&two.poll("gw"), INTERVAL).is_err());
    let id = world.handle.start_poller(&two.poll("another"), INTERVAL).unwrap();
    one.answer("of one\n");
    world.until_lines(&["of one"]);
    two.answer("of two\n");
    world.until_lines(&["of one", "of two"]);
    let ids: Vec<u64> = world.handle.diagnostics().http.poller_details.iter().map(|poller| poller.id).collect();
    assert!(ids.len() == 2 && ids[0] != ids[1] && ids.contains(&id), "{ids:?}");
    world.stop().unwrap();
}
