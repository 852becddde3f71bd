//! Stores over HTTP as outputs: every line arrives, in order and once where the store can tell, whatever the store answers and
//! whoever is killed; and what a store does holds nobody else up.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::errors::assert_sentence;
use super::support::http::get;
use crate::common::patience::{PATIENCE, until_within};
use crate::support::conditions::{Dir, until, until_equal, write_until_held_back};
use crate::support::receiver::{Receiver, Setup};
use crate::support::store::{Kind, Reply, Store};

const KINDS: [Kind; 4] = [Kind::Loki, Kind::Elastic, Kind::ClickHouse, Kind::Ndjson];

/// Lines of one client, so many, from this one on.
fn lines(client: &str, first: usize, count: usize) -> Vec<String> {
    (first..first + count).map(|number| format!("client {client} says {number}")).collect()
}

fn send(receiver: &Receiver, lines: &[String]) {
    let mut client = receiver.client();
    client.write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

/// A store, and a directory for a spool before it.
struct World {
    store: Store,
    dir: Dir,
}

impl World {
    fn new(store: Store) -> Self {
        Self { store, dir: Dir::new() }
    }

    fn all() -> impl Iterator<Item = (Kind, Self)> {
        KINDS.into_iter().map(|kind| (kind, Self::new(Store::start(kind))))
    }

    fn args(&self, more: &[&str]) -> Vec<String> {
        // Loki shows a line as it is, whatever its format is.
        let format = if self.store.place().starts_with("loki") { "raw" } else { "json" };
        let own = ["--output", &self.store.place(), "--format", format, "--push-every", "50ms"].map(str::to_owned);
        own.into_iter().chain(more.iter().map(ToString::to_string)).collect()
    }

    /// Without a spool.
    fn start_in_memory(&self, more: &[&str]) -> Receiver {
        let args = self.args(more);
        Receiver::start(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start(&self, more: &[&str]) -> Receiver {
        self.start_in_memory(&[&["--spool", &self.dir.file("spool")], more].concat())
    }

    fn until_it_has(&self, count: usize) {
        until_within(3 * PATIENCE, "lines in the store", || {
            let has = self.store.count();
            if has >= count { Ok(()) } else { Err(format!("{has} of {count}")) }
        });
    }
}

/// Each line is there, once, and those of a client in order.
fn assert_once(found: &[String], wanted: &[Vec<String>]) {
    let mut by_client: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for line in found {
        by_client.entry(line.split(' ').nth(1).unwrap()).or_default().push(line.clone());
    }
    for lines in wanted {
        let own = by_client.remove(lines[0].split(' ').nth(1).unwrap()).unwrap_or_default();
        let wrong = own.iter().zip(lines).find(|(own, wanted)| own != wanted);
        assert_eq!((wrong, own.len()), (None, lines.len()));
    }
    assert!(by_client.is_empty(), "{by_client:?}");
}

#[test]
fn p30_every_line_arrives_once_and_in_order_with_a_spool_and_without() {
    for kind in KINDS {
        for spools in [true, false] {
            let world = World::new(Store::start(kind));
            let batch = ["--push-batch", "64KiB"];
            let receiver = if spools { world.start(&batch) } else { world.start_in_memory(&batch) };
            let all = [lines("a", 0, 5000), lines("b", 0, 5000)];
            let mut clients = [receiver.client(), receiver.client()];
            for round in 0..10 {
                for (client, own) in clients.iter_mut().zip(&all) {
                    client.write_all((own[round * 500..(round + 1) * 500].join("\n") + "\n").as_bytes()).unwrap();
                }
            }
            world.until_it_has(10_000);
            receiver.stop().assert_clean();
            assert_once(&world.store.lines(), &all);
            let posts = world.store.posts();
            // Of Loki's, what is around the lines of a host comes on top.
            let largest = posts.iter().map(|post| post.body.len()).max();
            assert!(posts.len() >= 5 && largest <= Some(65 * 1024), "{kind:?}: {} {largest:?}", posts.len());
            let is_packed = posts[0].fields.contains_key("content-encoding");
            assert_eq!(is_packed, kind != Kind::Ndjson && cfg!(feature = "compress"), "{kind:?}");
        }
    }
}

#[test]
fn p30_what_came_just_before_the_end_is_sent_though_it_would_wait_for_more() {
    for (_, world) in World::all() {
        for spools in [true, false] {
            let late = ["--push-every", "60s"];
            let receiver = if spools { world.start(&late) } else { world.start_in_memory(&late) };
            let own = lines(if spools { "a" } else { "b" }, 0, 3);
            send(&receiver, &own);
            let ended = receiver.stop();
            ended.assert_clean();
            assert!(!ended.stderr.contains("keeps"), "{}", ended.stderr);
        }
        assert_once(&world.store.lines(), &[lines("a", 0, 3), lines("b", 0, 3)]);
    }
}

#[test]
fn p30_a_store_that_refuses_everything_empties_no_spool() {
    for status in [400, 401, 404, 413, 422] {
        let world = World::new(Store::that(Kind::Loki, move |_| Reply::Status(status, String::new())));
        let receiver = world.start(&[]);
        let name = world.store.name();
        send(&receiver, &lines("a", 0, 1000));
        until("some tries", || {
            if world.store.posts().len() >= 3 { Ok(()) } else { Err("none") }.map_err(str::to_owned)
        });
        receiver.until_said(&format!("{name} takes nothing: it answers {status} "));
        receiver.until_said("; its lines wait in the spool, trying again");
        let ended = receiver.stop();
        ended.assert_clean();
        assert!(ended.stderr.contains(&format!("keeps 1000 lines for {name}")), "{}", ended.stderr);
        assert!(!ended.stderr.contains("misses"), "{}", ended.stderr);
        world.store.decide(|_| Reply::Usual);
        let receiver = world.start(&[]);
        world.until_it_has(1000);
        receiver.until_said(&format!("{name} takes lines"));
        receiver.stop().assert_clean();
        assert_once(&world.store.lines(), &[lines("a", 0, 1000)]);
    }
}

/// Kills us again and again, while answers get lost: what the store knows twice it has once, and no line is missing.
#[test]
fn p30_a_kill_in_the_middle_loses_nothing_and_doubles_nothing_that_a_store_can_tell() {
    for kind in KINDS {
        let mut number = 0_u32;
        let world = World::new(Store::that(kind, move |_| {
            number += 1;
            match number % 5 {
                1 => Reply::LoseAnswer,
                3 => Reply::Cut,
                _ => Reply::Usual,
            }
        }));
        let rounds = 6;
        let all = lines("a", 0, rounds * 400);
        for round in 0..rounds {
            let mut receiver = world.start(&["--receipt", "--push-batch", "4KiB"]);
            let mut client = receiver.client();
            let own = &all[round * 400..(round + 1) * 400];
            client.write_all((own.join("\n") + "\n").as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut receipt = String::new();
            client.read_to_string(&mut receipt).unwrap();
            assert_eq!(receipt, "400 lines\n");
            let before = world.store.posts().len();
            until("a request that is under way", || {
                if world.store.posts().len() > before + round % 3 { Ok(()) } else { Err(String::new()) }
            });
            receiver.signal("KILL");
            receiver.guard.wait();
        }
        world.store.decide(|_| Reply::Usual);
        let receiver = world.start(&[]);
        until("the last line", || {
            if world.store.lines().contains(all.last().unwrap()) { Ok(()) } else { Err(format!("{kind:?}")) }
        });
        receiver.stop().assert_clean();
        let mut found = world.store.lines();
        if kind == Kind::Ndjson {
            // At least once: what comes again is behind its first.
            let mut known = std::collections::BTreeSet::new();
            found.retain(|line| known.insert(line.clone()));
        }
        assert_once(&found, std::slice::from_ref(&all));
    }
}

#[test]
fn p30_a_line_that_is_refused_is_dropped_alone_and_marked() {
    for kind in [Kind::Loki, Kind::Ndjson, Kind::ClickHouse] {
        let is_bad = |body: &str| body.contains("says 777\"") || body.contains("says 30\"");
        let world = World::new(Store::that(kind, move |post| {
            if is_bad(&post.body) { Reply::Status(400, String::new()) } else { Reply::Usual }
        }));
        let receiver = world.start(&["--mark-gaps", "--status", "127.0.0.1:0"]);
        send(&receiver, &lines("a", 0, 1));
        world.until_it_has(1);
        send(&receiver, &lines("a", 1, 999));
        world.until_it_has(1000);
        let name = world.store.name();
        let ended = receiver.stop();
        ended.assert_clean();
        let sentence =
            format!("{name} misses 1 line, which it refuses for what is in them: it answers 400 Bad Request");
        assert_eq!(ended.stderr.matches(&sentence).count(), 2, "{}", ended.stderr);
        let found = world.store.lines();
        assert_eq!(found.len(), 1000);
        for (at, line) in found.iter().enumerate() {
            match at {
                30 | 777 => assert!(line.contains("why") && line.contains("refused") && line.contains('1'), "{line}"),
                _ => assert_eq!(*line, format!("client a says {at}")),
            }
        }
    }
}

#[test]
fn p30_a_body_that_is_too_large_is_halved_and_no_larger_one_is_sent_again() {
    let world = World::new(Store::that(Kind::Ndjson, |post| {
        if post.body.len() > 10_000 { Reply::Status(413, String::new()) } else { Reply::Usual }
    }));
    let receiver = world.start(&["--mark-gaps"]);
    let mut all = lines("a", 0, 2000);
    all[1000] = "x".repeat(20_000);
    send(&receiver, &all);
    world.until_it_has(2000);
    let ended = receiver.stop();
    ended.assert_clean();
    let name = world.store.name();
    let sentence = format!("{name} misses 1 line, too long for it: it answers 413 Content Too Large");
    assert!(ended.stderr.contains(&sentence), "{}", ended.stderr);
    let found = world.store.lines();
    assert!(found[1000].contains("\"why\":\"payload\""), "{}", found[1000]);
    all[1000].clone_from(&found[1000]);
    assert_eq!(found, all);
    let too_large = world.store.posts().iter().filter(|post| post.body.len() > 10_000).count();
    assert!(too_large < 10, "{too_large}");
}

#[test]
fn p30_what_a_store_took_by_its_head_is_not_sent_again_for_its_body() {
    for kind in [Kind::Loki, Kind::Ndjson] {
        for rest in [
            "Content-Encoding: br\r\nContent-Length: 3\r\n\r\nxxx",
            "Content-Length: 70000\r\n\r\nxxx",
            "Transfer-Encoding: chunked\r\n\r\nxxx",
            "\r\nxxx",
        ] {
            let store = Store::that(kind, move |_| Reply::Bytes(format!("HTTP/1.1 200 OK\r\n{rest}")));
            let world = World::new(store);
            let receiver = world.start(&[]);
            for part in 0..2 {
                send(&receiver, &lines("a", part, 1));
                world.until_it_has(part + 1);
            }
            receiver.stop().assert_clean();
            let sent: Vec<String> = world.store.posts().into_iter().map(|post| post.body).collect();
            assert_eq!(sent.len(), 2, "{kind:?} {rest}: {sent:?}");
        }
    }
}

#[test]
fn p30_a_store_that_wants_to_be_left_alone_is() {
    let world = World::new(Store::that(Kind::Loki, |_| Reply::Status(429, "Retry-After: 2\r\n".to_owned())));
    let receiver = world.start(&[]);
    send(&receiver, &lines("a", 0, 10));
    until_equal("tries", &2, || world.store.posts().len());
    let posts = world.store.posts();
    assert!(posts[1].at - posts[0].at >= Duration::from_secs(2));
    assert_eq!(posts[1].body, posts[0].body, "byte for byte the same");
    world.store.decide(|_| Reply::Usual);
    world.until_it_has(10);
    receiver.stop().assert_clean();
}

#[test]
fn p30_a_store_that_says_nothing_holds_nobody_up_and_is_not_asked_in_circles() {
    let world = World::new(Store::that(Kind::Loki, |_| Reply::Hang));
    let file = world.dir.file("beside.log");
    let receiver = world.start(&["--output", &file]);
    let began = Instant::now();
    send(&receiver, &lines("a", 0, 50_000));
    until_equal("lines beside it", &50_000, || fs::read_to_string(&file).unwrap_or_default().lines().count());
    assert!(began.elapsed() < PATIENCE);
    until_equal("a request", &1, || world.store.posts().len());
    receiver.assert_rests("while a store says nothing");
    // Its end waits for no answer for long.
    let began = Instant::now();
    let ended = receiver.stop();
    ended.assert_clean();
    assert!(
        began.elapsed() < Duration::from_secs(10) && ended.stderr.contains("keeps 50000 lines"),
        "{}",
        ended.stderr
    );
}

#[test]
fn p30_nobody_listens_and_then_somebody_does() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dir = Dir::new();
    let place = format!("http://127.0.0.1:{port}/in");
    let receiver = Receiver::start(&[
        "--output",
        &place,
        "--format",
        "json",
        "--spool",
        &dir.file("spool"),
        "--push-every",
        "50ms",
    ]);
    send(&receiver, &lines("a", 0, 10));
    receiver
        .until_said(&format!("{place} takes nothing: Connection refused (os error 111); its lines wait in the spool"));
    receiver.assert_rests("while nobody listens");
    assert_eq!(receiver.said().matches("takes nothing").count(), 1, "{}", receiver.said());
    receiver.stop().assert_clean();
}

#[test]
fn p30_a_store_that_is_back_says_so() {
    let world = World::new(Store::start(Kind::Loki));
    let receiver = world.start(&["--status", "127.0.0.1:0"]);
    send(&receiver, &lines("a", 0, 10));
    world.until_it_has(10);
    world.store.decide(|_| Reply::Status(403, String::new()));
    send(&receiver, &lines("a", 10, 10));
    let name = world.store.name();
    receiver.until_said(&format!(
        "{name} takes nothing: it answers 403 Forbidden; its lines wait in the spool, trying again"
    ));
    world.store.decide(|_| Reply::Usual);
    receiver.until_said(&format!("{name} is back after "));
    world.until_it_has(20);
    receiver.stop().assert_clean();
    assert_once(&world.store.lines(), &[lines("a", 0, 20)]);
}

#[test]
fn p30_without_a_spool_lines_wait_in_memory_and_then_clients_do_and_none_is_lost() {
    let world = World::new(Store::that(Kind::Ndjson, |_| Reply::Status(503, String::new())));
    let receiver = world.start_in_memory(&[
        "--memory",
        "8MiB",
        "--push-batch",
        "64KiB",
        "--max-line",
        "10KiB",
        "--max-buffer",
        "20KiB",
    ]);
    let client = receiver.client();
    let sent = write_until_held_back(&client);
    receiver.until_said("its lines wait in memory, and clients once --memory is used up, trying again");
    assert!(receiver.rss_kib() < 40 * 1024, "{} KiB", receiver.rss_kib());
    world.store.decide(|_| Reply::Usual);
    client.shutdown(Shutdown::Write).unwrap();
    let whole = sent.iter().filter(|byte| **byte == b'\n').count();
    world.until_it_has(whole);
    receiver.stop().assert_clean();
    let found = world.store.lines();
    let wanted: Vec<&str> = std::str::from_utf8(&sent).unwrap().lines().collect();
    assert!(found.iter().zip(&wanted).take(whole).all(|(found, wanted)| found == wanted), "in order, and once");
    assert!(found.len() - whole <= 1, "{} and {whole}", found.len());
}

#[test]
fn p12_at_the_end_each_line_that_a_store_passed_over_did_not_get_is_counted() {
    let world = World::new(Store::that(Kind::Ndjson, |_| Reply::Status(403, String::new())));
    let file = world.dir.file("all");
    let args = ["--on-stall", "drop", "--stall-timeout", "500ms", "--output", &file];
    let receiver = world.start_in_memory(&args);
    for first in [0, 200, 400] {
        send(&receiver, &lines("a", first, 200));
        std::thread::sleep(Duration::from_millis(1_200));
    }
    let ended = receiver.stop();
    assert_eq!(ended.code, Some(1));
    // In whichever sentences: 600 lines in all.
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.contains("did not get 600 lines"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 600);
}

#[test]
fn p30_who_we_are_goes_to_that_store_alone_and_into_no_log() {
    let (one, other) = (World::new(Store::start(Kind::Ndjson)), World::new(Store::start(Kind::Ndjson)));
    let auth = one.dir.file("auth");
    fs::write(&auth, format!("{} user:s3cret\n", one.store.addr())).unwrap();
    fs::set_permissions(&auth, fs::Permissions::from_mode(0o644)).unwrap();
    let more = [
        "--output",
        &other.store.place(),
        "--http-auth",
        &auth,
        "--push-header",
        "X-Scope-OrgID: plant-7",
        "--push-header",
        "X-Api-Key: s3cret",
        "--output",
        "loki+http://127.0.0.1:9/?token=s3cret",
        "--status",
        "127.0.0.1:0",
    ];
    let receiver = one.start(&more);
    receiver.until_said(&format!("--http-auth {auth} can be read by others: chmod 600 it"));
    send(&receiver, &lines("a", 0, 10));
    [&one, &other].iter().for_each(|world| world.until_it_has(10));
    let field = |world: &World, name: &str| world.store.posts()[0].fields.get(name).cloned();
    assert_eq!(field(&one, "authorization").as_deref(), Some("Basic dXNlcjpzM2NyZXQ="));
    assert_eq!(field(&other, "authorization"), None);
    assert_eq!(field(&other, "x-scope-orgid").as_deref(), Some("plant-7"));
    let at = crate::support::http::status_of(&receiver);
    let shown = get(&at, "/diagnostics").body;
    assert!(shown.contains(&other.store.name()) && shown.contains("X-Scope-OrgID, X-Api-Key"), "{shown}");
    let ended = receiver.stop();
    ended.assert_clean();
    assert!(!(ended.stderr + &shown).contains("s3cret"));
}

#[test]
fn p30_a_password_in_the_arguments_works_and_is_warned_of_and_shown_nowhere() {
    let world = World::new(Store::start(Kind::Ndjson));
    let place = world.store.place().replace("http://", "http://user:s3cret@");
    let receiver = Receiver::start(&["--output", &place, "--format", "json", "--push-every", "0"]);
    let name = world.store.name();
    receiver.until_said(&format!(
        "{name}: its password can be seen by who sees the command line (ps) or the config file: put it into a file of its own, and give --http-auth FILE"
    ));
    send(&receiver, &lines("a", 0, 1));
    world.until_it_has(1);
    assert_eq!(world.store.posts()[0].fields["authorization"], "Basic dXNlcjpzM2NyZXQ=");
    let ended = receiver.stop();
    ended.assert_clean();
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    let checked = Setup::new(&["--output", &place, "--format", "json", "--check"]).run();
    let shown = String::from_utf8(checked.output).unwrap() + &checked.stderr;
    assert!(shown.contains("give --http-auth") && !shown.contains("s3cret"), "{shown}");
    assert_eq!(checked.code, Some(0), "a start would only warn of it: {shown}");
}

#[test]
fn p13_what_makes_no_sense_about_stores_is_one_sentence() {
    let loki = ["--output", "loki+http://192.0.2.1:3100"];
    for (args, begins, ends) in [
        (&["--output", "http://192.0.2.1/in"][..], "--output http://192.0.2.1/in takes JSON", "add --format json"),
        (
            &["--output", "elastic+http://192.0.2.1/logs", "--format", "peer"],
            "--output elastic+http://192.0.2.1/logs takes JSON",
            "add --format json",
        ),
        #[cfg(not(feature = "tls"))]
        (
            &["--output", "loki+https://192.0.2.1/"],
            "--output loki+https://192.0.2.1/: https:// needs a build with TLS",
            "write loki+http://127.0.0.1:PORT/PATH",
        ),
        (
            &["--output", "lokki+http://192.0.2.1/"],
            "--output lokki+http://192.0.2.1/: write loki+http://192.0.2.1/",
            "192.0.2.1/",
        ),
        (
            &["--output", "a.log", "--push-seq"],
            "--push-seq is about a store over HTTP, and no --output names one",
            "or leave it out",
        ),
        (&["--output", "a.log", "--push-batch", "2MiB"], "--push-batch is about a store over HTTP", "or leave it out"),
        (&[&loki[..], &["--push-batch", "1"]].concat(), "--push-batch is 1", "give a size from 1KiB to 64MiB"),
        (
            &[&loki[..], &["--push-header", "X-Scope-OrgID"]].concat(),
            "--push-header X-Scope-OrgID: give a name, a colon and a value",
            "plant-7'",
        ),
        (&[&loki[..], &["--push-header", "Host: x"]].concat(), "--push-header Host: ", "by us"),
        (
            &[&loki[..], &["--push-header", "Content-Encoding: br"]].concat(),
            "--push-header Content-Encoding: ",
            "as they are",
        ),
        (
            &["--output", "loki+http://u:p@192.0.2.1", "--http-auth", "x"],
            "--output loki+http://192.0.2.1/ says who we are",
            "leave one out",
        ),
        (&[&loki[..], &["--nats-stream", "L"]].concat(), "--nats-stream is about a stream", "or leave it out"),
    ] {
        if !cfg!(feature = "nats") && args.contains(&"--nats-stream") {
            continue;
        }
        assert_sentence(&Setup::new(args).run(), 2, begins, ends);
    }
    let dir = Dir::new();
    let none = dir.file("none");
    let missing = [&loki[..], &["--http-auth", &none]].concat();
    assert_sentence(
        &Setup::new(&missing).run(),
        1,
        "cannot write to loki+http://192.0.2.1:3100/: --http-auth ",
        "(os error 2)",
    );
}
