//! P27: limits that change while clients are here.

use std::time::Duration;

use lumberjack::{EmbeddedNewline, Framing, IdleClose, Limits, Listen, LongLines};

use super::capture::said;
use super::client::Client;
use super::world::{World, is_told_goodbye, name, send};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn p27_what_can_change_does_and_the_rest_stays() {
    let mut world = World::new(Limits::default());
    let newer = Limits {
        max_line: 1,
        long_lines: LongLines::Cut,
        keep_empty: true,
        embedded_newline: EmbeddedNewline::Space,
        max_buffer: 2,
        memory: 1 << 30,
        max_connections: 7,
        when_full: lumberjack::WhenFull::Reject,
        max_per_host: Some(3),
        idle_timeout: ms(1),
        idle_close: IdleClose::Needed,
        line_timeout: ms(2),
        linger: ms(3),
        keepalive: ms(1000),
        drain_timeout: ms(4),
        gather: ms(5),
        receipt: true,
    };
    world.server.set_limits(&newer).unwrap();
    let old = Limits::default();
    let wanted = Limits {
        max_line: old.max_line,
        max_buffer: old.max_buffer,
        memory: old.memory,
        idle_close: old.idle_close,
        keepalive: old.keepalive,
        receipt: old.receipt,
        ..newer
    };
    assert_eq!(world.handle.diagnostics().limits, wanted);
    let error = world.server.set_limits(&Limits { gather: ms(1000), keep_empty: false, ..wanted.clone() });
    assert!(error.unwrap_err().to_string().starts_with("--gather is 1s"));
    assert_eq!(world.handle.diagnostics().limits, wanted, "all or nothing");
}

#[test]
fn p27_a_shorter_silence_counts_from_the_last_word_and_a_longer_one_too() {
    let mut world = World::new(Limits { idle_timeout: ms(600), ..Limits::default() });
    let client = world.taken_client();
    world.turns_for(ms(300));
    world.server.set_limits(&Limits { idle_timeout: ms(3_600_000), ..Limits::default() }).unwrap();
    world.turns_for(ms(600));
    assert!(!is_told_goodbye(&client), "its first time is over, and does not count any more");
    let begun = std::time::Instant::now();
    world.server.set_limits(&Limits { idle_timeout: ms(500), ..Limits::default() }).unwrap();
    world.until("it is told goodbye", |world| world.status().counters.evicted_idle == 1);
    assert!(begun.elapsed() < ms(400), "it has been silent for longer than that already");
    assert!(is_told_goodbye(&client));
}

#[test]
fn p27_what_is_pending_begins_to_wait_when_lines_get_a_deadline() {
    let mut world = World::new(Limits::default());
    let (mut client, mut whole) = (world.taken_client(), world.taken_client());
    world.send_and_wait(&mut client, b"half");
    world.send_and_wait(&mut whole, b"whole\n");
    world.turns_for(ms(300));
    let begun = std::time::Instant::now();
    world.server.set_limits(&Limits { line_timeout: ms(200), ..Limits::default() }).unwrap();
    world.until_lines(&["whole", "half"]);
    assert!(begun.elapsed() >= ms(200), "not early by the new time");
    world.send_and_wait(&mut client, b"more");
    world.server.set_limits(&Limits::default()).unwrap();
    world.turns_for(ms(400));
    assert_eq!(world.texts().len(), 2, "it has none any more");
    world.send_and_wait(&mut client, b" of it\n");
    world.until_lines(&["whole", "half", "more of it"]);
}

#[test]
fn p27_a_gap_counts_what_did_not_go_out_whatever_the_rules_are_by_then() {
    for (before, after, lines, gap) in [
        (LongLines::Cut, LongLines::Skip, &["01234567", "last"][..], 4),
        (LongLines::Skip, LongLines::Cut, &["last"], 12),
        (LongLines::Cut, LongLines::Split, &["01234567", "last"], 4),
        (LongLines::Split, LongLines::Skip, &["01234567", "89ab", "last"], 0),
        (LongLines::Split, LongLines::Cut, &["01234567", "89ab", "last"], 0),
    ] {
        let limits = |long_lines| Limits { max_line: 8, max_buffer: 16, long_lines, ..Limits::default() };
        let mut world = World::new(limits(before));
        let mut client = world.taken_client();
        world.send_and_wait(&mut client, b"0123456789");
        world.server.set_limits(&limits(after)).unwrap();
        world.send_and_wait(&mut client, b"ab\nlast\n");
        world.until_lines(lines);
        assert_eq!(world.status().counters.dropped_bytes, gap, "{before}, {after}");
        let story = world.valve.story().join("; ");
        assert_eq!(story.contains(&format!("1 of {gap} bytes, too-long")), gap > 0, "{before}, {after}: {story}");
    }
}

#[test]
fn p27_a_newline_that_may_not_stay_any_more_does_not_stay_in_what_is_pending() {
    let limits = |embedded_newline| Limits { embedded_newline, ..Limits::default() };
    let mut world = World::with(limits(EmbeddedNewline::Keep), Framing::Nul);
    let mut client = world.taken_client();
    world.send_and_wait(&mut client, b"a\nb");
    world.server.set_limits(&limits(EmbeddedNewline::Escape)).unwrap();
    world.server.check();
    world.send_and_wait(&mut client, b"\nc\0");
    world.until_lines(&["a b\\\\nc"]);
}

#[test]
fn p27_fewer_places_close_nobody_and_nobody_comes_in_before_there_are_fewer() {
    for idle_close in [IdleClose::Always, IdleClose::Needed] {
        let limits = |max_connections| Limits {
            max_connections,
            max_per_host: Some(0),
            idle_timeout: ms(100),
            idle_close,
            ..Limits::default()
        };
        let mut world = World::new(limits(9));
        let mut clients: Vec<_> = (0..4).map(|_| world.taken_client()).collect();
        // They linger, or are quiet.
        world.turns_for(ms(250));
        world.server.set_limits(&limits(2)).unwrap();
        let mut waits = world.client();
        send(&mut waits, b"waited\n");
        world.turns_for(ms(250));
        assert_eq!((world.status().active_connections, world.texts().len()), (4, 0), "{idle_close}");
        for client in &mut clients {
            world.send_and_wait(client, b"here\n");
        }
        drop(clients);
        world.until("it has come in", |world| world.texts().last().is_some_and(|line| line == "waited"));
        assert_eq!(world.texts().len(), 5, "{idle_close}");
    }
}

#[test]
fn p27_a_host_keeps_what_it_has_and_gets_no_more() {
    let limits = |most| Limits { max_per_host: Some(most), ..Limits::default() };
    let mut world = World::new(limits(3));
    let mut clients: Vec<_> = (0..3).map(|_| world.taken_client()).collect();
    world.server.set_limits(&limits(1)).unwrap();
    let refused = world.client();
    world.until("it is refused", |world| world.status().counters.refused_per_host == 1);
    assert!(!said(&[&name(&refused)]).is_empty());
    for client in &mut clients {
        world.send_and_wait(client, b"here\n");
    }
    world.until_lines(&["here"; 3]);
    world.server.set_limits(&limits(4)).unwrap();
    let mut fourth = world.taken_client();
    world.send_and_wait(&mut fourth, b"here\n");
}

fn listening(options: &str) -> Vec<Listen> {
    vec![format!("0.0.0.0:0{options}").parse().unwrap()]
}

#[test]
fn p27_who_may_connect_is_asked_of_who_comes_from_now_on_and_who_is_in_stays() {
    let [one, two] = [[127, 0, 27, 1], [127, 0, 27, 2]];
    let mut world = World::as_it_is(lumberjack::Config {
        listen: listening(",allow=127.0.27.1"),
        ..lumberjack::Config::listen("0.0.0.0:0".parse().unwrap())
    });
    let mut inside = world.client_of(one);
    world.send_and_wait(&mut inside, b"in\n");
    // It waits to be taken in, and was not asked yet.
    let mut waits = world.client_of(two);
    send(&mut waits, b"waited\n");
    world.server.set_listen_options(&listening(",allow=127.0.27.0/24,deny=127.0.27.1"));
    world.until_lines(&["in", "waited"]);
    let _refused = world.client_of(one);
    world.until("it is closed", |world| world.status().counters.not_allowed == 1);
    world.send_and_wait(&mut inside, b"still in\n");
    world.until_lines(&["in", "waited", "still in"]);
    assert_eq!(world.status().active_connections, 2);
    let shown = world.handle.diagnostics().listen;
    assert!(shown[0].ends_with(",allow=127.0.27.0/24,deny=127.0.27.1"), "{shown:?}");
    // None again: everybody may.
    world.server.set_listen_options(&listening(""));
    let mut back = world.client_of(one);
    send(&mut back, b"back\n");
    world.until_lines(&["in", "waited", "still in", "back"]);
    assert_eq!(world.status().counters.not_allowed, 1);
}

#[test]
fn p27_what_a_listener_reads_stays_when_its_options_change() {
    let mut world = World::listening("0.0.0.0:0,framing=nul", Limits::default());
    let mut client = world.taken_client();
    world.send_and_wait(&mut client, b"a\0b");
    world.server.set_listen_options(&listening(",framing=lines,deny=192.0.2.1"));
    world.send_and_wait(&mut client, b"c\0");
    world.until_lines(&["a", "bc"]);
}

#[test]
fn p27_a_syslog_message_over_udp_is_its_datagram_behind_a_change_too() {
    let (mut world, at) = World::listening_udp(",parse=syslog", Limits::default(), 0);
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for (number, keep_empty) in [false, true].into_iter().enumerate() {
        world.server.set_limits(&Limits { keep_empty, ..Limits::default() }).unwrap();
        sender.send_to(b"<13>one\nmessage", at).unwrap();
        world.until_lines(&["<13>one\\\\nmessage"; 2][..=number]);
    }
}

/// Lines that its host may not send at once, of a client that is slowed by them.
fn slowed(world: &mut World, count: usize) -> Client {
    let mut client = world.client_of([127, 0, 27, 3]);
    send(&mut client, "a line of its own\n".repeat(count).as_bytes());
    world.until("it is slowed", |world| world.status().counters.slowed == 1);
    client
}

#[test]
fn p27_another_rate_holds_for_who_is_slowed_too() {
    for (before, after) in
        [("rate=1,burst=1", "rate=100000,burst=100000"), ("rate=1,burst=1", "rate=10MiB"), ("rate=1", "")]
    {
        let mut world = World::listening(&format!("0.0.0.0:0,{before}"), Limits::default());
        let _client = slowed(&mut world, 500);
        let begun = std::time::Instant::now();
        world.server.set_listen_options(&listening(&if after.is_empty() {
            String::new()
        } else {
            format!(",{after}")
        }));
        world.server.check();
        world.until("all of it", |world| world.valve.lines().len() == 500);
        assert!(begun.elapsed() < ms(30_000), "{before}, {after}: {:?}", begun.elapsed());
    }
}

#[test]
fn p27_a_rate_begins_to_hold_for_who_is_here_and_what_is_owed_stays_owed() {
    let mut world = World::new(Limits::default());
    let mut client = world.client_of([127, 0, 27, 3]);
    world.send_and_wait(&mut client, b"free\n");
    world.server.set_listen_options(&listening(",rate=10,burst=10"));
    send(&mut client, "a line of its own\n".repeat(60).as_bytes());
    world.until("it is slowed", |world| world.status().counters.slowed == 1);
    // Not begun anew: no burst.
    let before = world.valve.lines().len();
    world.server.set_listen_options(&listening(",rate=1,burst=1000"));
    world.server.check();
    world.turns_for(ms(500));
    assert!(world.valve.lines().len() <= before, "{} lines, and {before} before", world.valve.lines().len());
    world.server.set_listen_options(&listening(""));
    world.until("all of it", |world| world.valve.lines().len() == 61);
}

#[test]
fn p27_who_is_slowed_is_not_timed_by_new_limits_either() {
    // Two of a host: a token wakes one of them, and what times the other would let it read that too.
    let mut world = World::listening("0.0.0.0:0,rate=20,burst=1", Limits::default());
    let line = format!("{:0299}\n", 7);
    let [mut first, mut second] = [(); 2].map(|()| world.client_of([127, 0, 27, 3]));
    for client in [&mut first, &mut second] {
        send(client, line.repeat(40).as_bytes());
    }
    world.until("it is slowed", |world| world.status().counters.slowed == 1);
    let begun = std::time::Instant::now();
    while begun.elapsed() < ms(800) {
        world.server.set_limits(&Limits { idle_timeout: ms(10), ..Limits::default() }).unwrap();
        world.turn(ms(5)).unwrap();
    }
    assert!(!is_told_goodbye(&first) && !is_told_goodbye(&second), "it is our silence");
    assert_eq!(world.status().counters.evicted_idle, 0);
}
