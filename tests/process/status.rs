//! The status endpoint of the built binary (P5, P8, P9, P12): what it says is what the clients did, whatever a visitor
//! sends gets its status, and no visitor holds up a line.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::limits::lower_free_descriptors_to;
use crate::common::patience::{Enough, PATIENCE, accept, join};
use crate::support::conditions::{Dir, may_open, until, until_equal, write_until_held_back};
use crate::support::http::{Answer, Http, Json, get, request, status_of, tcp};
use crate::support::receiver::{Collected, Guard, Receiver, Setup, under_test};

const ON: [&str; 2] = ["--status", "127.0.0.1:0"];

/// One with a status endpoint, and where that is.
fn start(args: &[&str]) -> (Receiver, String) {
    let receiver = Receiver::start(&[&ON, args].concat());
    let at = status_of(&receiver);
    (receiver, at)
}

fn diagnostics(at: &str) -> Json {
    get(at, "/diagnostics").json()
}

/// The value of a metric without labels.
fn metric(metrics: &Answer, name: &str) -> u64 {
    let line = metrics.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {}", metrics.body)).parse().unwrap()
}

/// The object of a list whose member has this text.
fn row<'j>(json: &'j Json, list: &str, member: &str, text: &str) -> &'j Json {
    let row = json.list_at(list).iter().find(|row| row.text_at(member) == text);
    row.unwrap_or_else(|| panic!("no {text} in {:?}", json.list_at(list)))
}

fn addr(client: &TcpStream) -> String {
    client.local_addr().unwrap().to_string()
}

/// Clients in every state: one that is silent, one with 10 lines, two of another host, of which one has begun a line, and
/// one has sent too long a one.
fn clients(receiver: &Receiver) -> [TcpStream; 4] {
    let mut clients = [receiver.client(), receiver.client(), receiver.client_from(7), receiver.client_from(7)];
    clients[1].write_all(&b"123456789\n".repeat(10)).unwrap();
    clients[2].write_all(b"whole\npart").unwrap();
    clients[3].write_all(&[b'x'; 3000]).unwrap();
    clients
}

#[test]
fn every_endpoint_says_what_the_clients_did() {
    let (receiver, at) = start(&["--max-line", "1KiB", "--max-per-host", "0", "--output", "/dev/null"]);
    let clients = clients(&receiver);
    // One connection for all, so that the descriptors stay as they are.
    let mut http = Http::connect(&at);
    let json = until("all bytes", || {
        let json = http.get("/diagnostics").json();
        if json.number("counters.bytes") == 3110 { Ok(json) } else { Err(format!("{json:?}")) }
    });
    for (path, wanted) in [
        ("tcp.port", u64::from(receiver.addr.port())),
        ("tcp.activeConnections", 4),
        ("tail.activeViewers", 0),
        ("gauges.activeConnections", 4),
        ("gauges.hosts", 2),
        ("counters.lines", 11),
        ("counters.accepted", 4),
        ("counters.skippedLines", 1),
        ("outputs./dev/null.bytes", 106),
        ("limits.maxLine", 1024),
        ("limits.maxPerHost", 0),
        ("limits.gather", 5),
        ("descriptors.used", receiver.fds() as u64),
    ] {
        assert_eq!(json.number(path), wanted, "{path}");
    }
    assert_eq!((json.at("tcp.running"), json.at("health.ok")), (&Json::Bool(true), &Json::Bool(true)));
    assert_eq!((json.text_at("settings.max-line"), json.text_at("settings.output")), ("1KiB", "/dev/null"));
    assert_eq!(json.text_at("listen.0"), receiver.addr.to_string());
    let rss_kib = json.number("memory.rss") / 1024;
    assert!(rss_kib.abs_diff(receiver.rss_kib()) < 1024, "{rss_kib}, {}", receiver.rss_kib());
    let names = ["bytes", "lines", "pendingBytes"];
    for (client, state, numbers) in [
        (&clients[0], "reading", [0, 0, 0]),
        (&clients[1], "reading", [100, 10, 0]),
        (&clients[2], "partial line", [10, 1, 4]),
        (&clients[3], "skipping", [3000, 0, 0]),
    ] {
        let row = row(&json, "connections", "peer", &addr(client));
        assert_eq!((row.text_at("state"), names.map(|name| row.number(name))), (state, numbers));
        assert!(row.number("sinceMs") >= row.number("idleMs") && row.number("sinceMs") <= json.number("uptimeMs"));
    }
    // Who holds most comes first, then who sends most.
    let first: Vec<&str> = json.list_at("connections").iter().take(2).map(|row| row.text_at("peer")).collect();
    assert_eq!(first, [addr(&clients[2]), addr(&clients[3])]);
    let hosts: Vec<(&str, [u64; 4])> = json
        .list_at("hosts")
        .iter()
        .map(|row| {
            (row.text_at("host"), ["connections", "bytes", "lines", "pendingBytes"].map(|name| row.number(name)))
        })
        .collect();
    assert_eq!(hosts, [("127.0.0.7", [2, 3010, 1, 4]), ("127.0.0.1", [2, 100, 10, 0])]);
    receiver.stop().assert_clean();
}

#[test]
fn the_other_forms_say_the_same() {
    let (receiver, at) = start(&["--max-line", "1KiB"]);
    let clients = clients(&receiver);
    until_equal("all bytes", &3110, || diagnostics(&at).number("counters.bytes"));
    let mut http = Http::connect(&at);
    let status = http.get("/status").json();
    assert_eq!(status.text_at("message"), format!("Running on port {}", receiver.addr.port()));
    assert_eq!((status.number("activeConnections"), status.number("counters.lines")), (4, 11));
    let metrics = http.get("/metrics");
    assert_eq!(metrics.field("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for (name, wanted) in [
        ("lumberjack_lines_total", 11),
        ("lumberjack_received_bytes_total", 3110),
        ("lumberjack_connections", 4),
        ("lumberjack_open_fds", receiver.fds() as u64),
        ("lumberjack_healthy", 1),
        ("lumberjack_output_bytes_total{output=\"stdout\"}", 106),
    ] {
        assert_eq!(metric(&metrics, name), wanted, "{name}");
    }
    for client in &clients {
        assert!(!metrics.body.contains(&addr(client)), "no name of a client is a label");
    }
    let csv = get(&at, "/diagnostics?format=csv&connections=2");
    let rows: Vec<Vec<&str>> = csv.body.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((csv.field("content-type"), rows.len()), ("text/csv; charset=utf-8", 3));
    assert_eq!(
        rows[0],
        [
            "peer",
            "since_ms",
            "idle_ms",
            "bytes",
            "lines",
            "pending_bytes",
            "lines_per_s",
            "bytes_per_s",
            "dropped",
            "state"
        ]
    );
    assert_eq!((rows[1][0], &rows[1][3..6]), (addr(&clients[2]).as_str(), &["10", "1", "4"][..]));
    assert_eq!(rows[1][8..], ["0", "partial line"]);
    let text = get(&at, "/diagnostics?format=text");
    assert!(text.body.contains(&format!("{}, skipping\n", addr(&clients[3]))), "{}", text.body);
    let health = get(&at, "/healthz");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let page = get(&at, "/");
    assert_eq!((page.field("content-type"), page.field("content-encoding")), ("text/html; charset=utf-8", "gzip"));
    assert!(page.body.starts_with("<!DOCTYPE html>") && page.body.len() < 32 * 1024, "{} bytes", page.body.len());
    assert!(page.field("content-security-policy").starts_with("default-src 'none'"), "{page:?}");
    let mut plain = Http::connect(&at);
    plain.send("GET / HTTP/1.0\r\n\r\n");
    let answer = plain.answer();
    assert_eq!((answer.status, answer.field("content-type")), (406, "text/plain; charset=utf-8"));
    assert!(answer.body.starts_with("the page is sent packed with gzip only: "), "{}", answer.body);
    assert!(get(&at, "/diagnostics?connections=0").json().list_at("connections").is_empty());
    receiver.stop().assert_clean();
}

#[test]
fn who_loses_lines_is_found_among_all_and_what_came_before_is_told() {
    let (receiver, at) = start(&["--max-line", "1KiB", "--max-per-host", "0", "--output", "/dev/null"]);
    let mut clients = clients(&receiver);
    clients[3].write_all(b"\n").unwrap();
    let mut crowd: Vec<TcpStream> = (0..30).map(|_| receiver.client()).collect();
    crowd.iter_mut().for_each(|client| client.write_all(b"a line\n").unwrap());
    until_equal("all bytes", &(3111 + 30 * 7), || diagnostics(&at).number("counters.bytes"));
    let worst = get(&at, "/diagnostics?connections=1&sort=dropped").json();
    assert_eq!(worst.text_at("connections.0.peer"), addr(&clients[3]));
    assert_eq!((worst.number("connections.0.dropped"), worst.number("hosts.0.dropped")), (1, 1));
    assert_eq!(["connections", "hosts", "searched"].map(|name| worst.number(&format!("found.{name}"))), [34, 2, 0]);
    // By address, by state and by host, among all and not only among those that are listed.
    for (part, found) in [("127.0.0.7", [2, 1, 34]), ("PARTIAL", [1, 1, 34]), ("nobody", [0, 0, 34])] {
        let json = get(&at, &format!("/diagnostics?connections=1&match={part}")).json();
        assert_eq!(
            ["connections", "hosts", "searched"].map(|name| json.number(&format!("found.{name}"))),
            found,
            "{part}"
        );
        assert_eq!(json.list_at("connections").len() as u64, found[0].min(1), "{part}");
    }
    let json = until("a second sample", || {
        let json = get(&at, "/diagnostics?history=1").json();
        if json.list_at("history").len() >= 2 { Ok(json) } else { Err(format!("{json:?}")) }
    });
    assert!(json.number("history.0.uptimeMs") < json.number("history.1.uptimeMs"), "{json:?}");
    assert_eq!(json.number("history.1.lines"), 41);
    assert_eq!(json.text_at("health.troubles.0.text"), "limits dropped 1 line: see what limits did");
    assert_eq!(json.at("health.ok"), &Json::Bool(true));
    // What was new a second ago is a rate.
    clients[1].write_all(&b"123456789\n".repeat(500)).unwrap();
    until("a rate", || {
        let json = get(&at, "/diagnostics?connections=1&sort=linesPerSecond").json();
        let is_so = json.text_at("connections.0.peer") == addr(&clients[1])
            && json.number("connections.0.bytesPerSecond") > 100;
        if is_so { Ok(()) } else { Err(format!("{json:?}")) }
    });
    receiver.assert_rests("while nobody asks, though samples are taken");
    receiver.stop().assert_clean();
}

#[test]
fn what_is_no_request_gets_its_status_and_a_close() {
    let (receiver, at) = start(&[]);
    let base = receiver.fds();
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000));
    let many = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(100));
    let post = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n{}", "x".repeat(300_000));
    for (sent, status) in [
        ("hello\r\n\r\n", 400),
        ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("DELETE /status HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (&post, 405),
        (&long, 431),
        (&many, 431),
    ] {
        let mut http = Http::connect(&at);
        http.send(sent);
        let answer = http.answer();
        let shown = &sent[..sent.len().min(60)];
        assert_eq!((answer.status, answer.field("connection")), (status, "close"), "{shown:?}");
        assert_eq!(answer.field("allow"), if status == 405 { "GET, HEAD, OPTIONS" } else { "" }, "{shown:?}");
        assert_eq!(http.rest(), b"", "{shown:?}");
    }
    receiver.until_fds(base);
    receiver.stop().assert_clean();
}

#[test]
fn one_connection_serves_many_requests_whole_in_pieces_or_all_at_once() {
    let (receiver, at) = start(&[]);
    let mut http = Http::connect(&at);
    for (target, status) in [("/healthz", 200), ("/nothing", 404), ("/diagnostics?format=xml", 400), ("/healthz", 200)]
    {
        let answer = http.get(target);
        assert_eq!((answer.status, answer.field("connection")), (status, "keep-alive"), "{target}");
    }
    let head = request("/status").replace("GET", "HEAD");
    let status = http.get("/status");
    http.send(&head);
    let (code, fields) = http.head();
    assert_eq!((code, fields.get("content-length")), (200, Some(&status.body.len().to_string())));
    for byte in request("/healthz").bytes() {
        http.send([byte]);
    }
    assert_eq!(http.answer().body, "ok\n", "byte by byte, and the HEAD before it had no body");
    let targets = ["/healthz", "/nothing", "/status", "/metrics", "/"].repeat(4);
    http.send(targets.iter().map(|target| request(target)).collect::<String>());
    for target in &targets {
        assert_eq!(http.answer().field("content-type"), get(&at, target).field("content-type"), "{target}");
    }
    receiver.stop().assert_clean();
}

#[test]
fn who_half_closes_gets_all_that_was_asked_for() {
    let (receiver, at) = start(&[]);
    let base = receiver.fds();
    for (sent, wanted) in [
        (request("/healthz").repeat(3), &[200, 200, 200][..]),
        (request("/healthz") + "GET /sta", &[200, 400]),
        ("GET /status HTTP/1.0\r\n\r\n".to_owned(), &[200]),
        ("GE".to_owned(), &[400]),
        (String::new(), &[]),
    ] {
        let stream = tcp(&at);
        let half = stream.try_clone().unwrap();
        let mut http = Http::over(Box::new(stream));
        http.send(&sent);
        half.shutdown(Shutdown::Write).unwrap();
        let statuses: Vec<u16> = wanted.iter().map(|_| http.answer().status).collect();
        assert_eq!(statuses, wanted, "{sent:?}");
        assert_eq!(http.rest(), b"", "and then a close, for {sent:?}");
    }
    receiver.until_fds(base);
    receiver.stop().assert_clean();
}

#[test]
fn a_page_of_another_name_gets_nothing() {
    let (receiver, at) = start(&[]);
    let ask = |host: &str, target: &str| {
        let mut http = Http::connect(&at);
        http.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        http.answer().status
    };
    assert_eq!(["localhost:1", &at, "[::1]"].map(|host| ask(host, "/status")), [200; 3]);
    // The name of a page that was made to lead to loopback.
    assert_eq!(["evil.example", "localhost.evil.example:80"].map(|host| ask(host, "/tail")), [421; 2]);
    assert_eq!(["http://evil.example/tail", "http://localhost/status"].map(|to| ask("localhost", to)), [421, 200]);
    receiver.stop().assert_clean();
    // Whoever opens it to others is asked by name.
    let receiver = Receiver::start(&["--status", "0.0.0.0:0"]);
    let said = receiver.said();
    assert!(said.contains("[WARN] [status] ") && said.contains("can be reached from other machines"), "{said}");
    let at = status_of(&receiver).replace("0.0.0.0", "127.0.0.1");
    let mut http = Http::connect(&at);
    http.send("GET /healthz HTTP/1.1\r\nHost: gateway.example:4446\r\n\r\n");
    assert_eq!(http.answer().status, 200);
    receiver.stop().assert_clean();
}

/// The texts of the lines in a tail's events, until the last of them is `last`; with how many it was told to have lost.
fn tailed(tail: &mut Http, last: &str) -> (Vec<String>, u64) {
    tailed_until(tail, |lines, _| lines.last().is_some_and(|line| line == last))
}

/// The same until it is enough.
fn tailed_until(tail: &mut Http, is_enough: impl Fn(&[String], u64) -> bool) -> (Vec<String>, u64) {
    let (mut lines, mut lost) = (Vec::new(), 0);
    let deadline = Instant::now() + PATIENCE;
    while !is_enough(&lines, lost) {
        let event = tail.event_before(deadline);
        if let Some(json) = event.strip_prefix("event: lost\ndata: ") {
            lost += Json::parse(json).number("lines");
        } else if let Some(json) = event.strip_prefix("data: ") {
            lines.push(Json::parse(json).text_at("line").to_owned());
        } else {
            assert_eq!(event, ": ping");
        }
    }
    (lines, lost)
}

/// Who watches the lines, with its first event read.
fn tail(at: &str, target: &str) -> Http {
    tail_over(Http::connect(at), target)
}

fn tail_over(mut tail: Http, target: &str) -> Http {
    tail.send(request(target));
    let (status, fields) = tail.head();
    assert_eq!((status, fields["content-type"].as_str()), (200, "text/event-stream"));
    assert_eq!(tail.event(), ": ping");
    tail
}

#[test]
fn a_tail_shows_lines_as_text_filtered() {
    let (receiver, at) = start(&[]);
    let mut all = tail(&at, "/tail");
    let mut some = tail(&at, "/tail?match=%3Cscript&peer=127.0.0.7");
    let (mut one, mut other) = (receiver.client(), receiver.client_from(7));
    one.write_all(b"<script>alert(1)</script>\n\xff\"\r\x00\x1b[31m\n").unwrap();
    receiver.until_lines(&["<script>alert(1)</script>", "\u{fffd}\"\r\0\u{1b}[31m"]);
    other.write_all(b"plain\n<script>2\nend\n").unwrap();
    let wanted = ["<script>alert(1)</script>", "\u{fffd}\"\r\0\u{1b}[31m", "plain", "<script>2", "end"];
    assert_eq!(tailed(&mut all, "end"), (wanted.map(str::to_owned).to_vec(), 0));
    let event = some.event();
    let json = Json::parse(event.strip_prefix("data: ").unwrap());
    assert_eq!((json.text_at("line"), json.text_at("peer")), ("<script>2", addr(&other).as_str()));
    assert!(json.text_at("ts").ends_with('Z') && json.text_at("ts").len() == 24, "{json:?}");
    let json = diagnostics(&at);
    assert_eq!(json.number("tail.activeViewers"), 2);
    assert!(json.text_at("tail.viewerDetails.0").starts_with("127.0.0.1:"), "{json:?}");
    // Who leaves gives its place back.
    drop((all, some));
    until_equal("nobody looks on", &0, || diagnostics(&at).number("tail.activeViewers"));
    receiver.stop().assert_clean();
    let (receiver, at) = start(&["--status-tail", "off"]);
    assert_eq!(["/tail", "/tail?match=x"].map(|target| get(&at, target).status), [404; 2]);
    assert!(get(&at, "/tail").body.contains("--status-tail off"), "the option is named");
    assert_eq!(get(&at, "/diagnostics?connections=abc").body, "connections= is how many to list: a number\n");
    receiver.stop().assert_clean();
}

#[test]
fn twelve_may_watch_and_the_others_are_still_answered() {
    let (receiver, at) = start(&[]);
    let mut tails: Vec<Http> = (0..12).map(|_| tail(&at, "/tail")).collect();
    assert_eq!(get(&at, "/tail").status, 503);
    assert_eq!(diagnostics(&at).number("tail.activeViewers"), 12);
    receiver.assert_rests("while twelve look on");
    receiver.client().write_all(b"hello\n").unwrap();
    for tail in &mut tails {
        assert_eq!(tailed(tail, "hello"), (vec!["hello".to_owned()], 0));
    }
    drop(tails.pop());
    until_equal("a place", &11, || diagnostics(&at).number("tail.activeViewers"));
    tails.push(tail(&at, "/tail"));
    let ended = receiver.stop();
    ended.assert_clean();
    tails.into_iter().for_each(|tail| assert_eq!(tail.rest(), b"", "closed at the end"));
}

#[test]
fn who_keeps_a_connection_for_later_gives_way() {
    let (receiver, at) = start(&[]);
    let mut kept: Vec<Http> = (0..16).map(|_| Http::connect(&at)).collect();
    kept.iter_mut().for_each(|http| assert_eq!(http.get("/healthz").status, 200));
    receiver.assert_rests("with sixteen connections kept");
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(get(&at, "/healthz").status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // The one that was silent longest went, and the last is still here.
    assert_eq!(kept.remove(0).rest(), b"");
    assert_eq!(kept.last_mut().unwrap().get("/healthz").status, 200);
    drop(kept);
    // Nobody who has just come is sent away for another, but who asks for nothing is, after a while.
    let silent: Vec<TcpStream> = (0..16).map(|_| tcp(&at)).collect();
    assert_eq!(get(&at, "/healthz").status, 200);
    drop(silent);
    receiver.stop().assert_clean();
}

#[test]
fn p9_a_thousand_visitors_at_once_are_answered_beside_a_client_at_full_speed() {
    if !may_open(2_500) {
        return;
    }
    let (receiver, at) = start(&["--output", "/dev/null"]);
    let is_over = AtomicBool::new(false);
    let lines = std::thread::scope(|scope| {
        // However this ends.
        let over = Enough(&is_over);
        let logger = scope.spawn(|| {
            let (mut client, mut lines) = (receiver.client(), 0);
            let block = b"0123456789012345678901234567890123456789\n".repeat(1000);
            while !is_over.load(Ordering::Relaxed) {
                client.write_all(&block).unwrap();
                lines += 1000;
            }
            lines
        });
        let mut visitors: Vec<Http> = (0..1000).map(|_| Http::connect(&at)).collect();
        let target = |number: usize| ["/diagnostics", "/metrics", "/status", "/healthz", "/"][number % 5];
        visitors.iter_mut().enumerate().for_each(|(number, http)| http.send(request(target(number))));
        for (number, http) in visitors.iter_mut().enumerate() {
            let answer = http.answer();
            assert_eq!(answer.status, 200, "{}", target(number));
            if answer.field("content-type") == "application/json" {
                answer.json();
            }
        }
        drop(over);
        logger.join().unwrap()
    });
    until_equal("every line", &lines, || diagnostics(&at).number("counters.lines"));
    receiver.stop().assert_clean();
}

#[test]
fn p8_a_viewer_that_is_too_slow_is_told_what_it_lost_and_holds_up_nothing() {
    let (receiver, at) = start(&["--output", "/dev/null"]);
    // Little fits between the two, so that it is slow on any machine.
    let stream = tcp(&at);
    SockRef::from(&stream).set_recv_buffer_size(16 * 1024).unwrap();
    let mut slow = tail_over(Http::over(Box::new(stream)), "/tail");
    let mut picky = tail(&at, "/tail?match=the+end");
    let mut client = receiver.client();
    let (mut seen, mut all_lost) = (Vec::new(), 0);
    // In rounds, since it is closed when it takes nothing for ten seconds, however busy the machine is. Each is more than
    // anybody is shown in that time, and all of it is seen, or said to be lost, before the next: nothing that is lost
    // could be taken for the last line.
    for round in 1..=10 {
        let numbers = (round - 1) * 40_000..round * 40_000;
        let sent: Vec<u8> = numbers.flat_map(|number| format!("line {number:050}\n").into_bytes()).collect();
        client.write_all(&sent).unwrap();
        until_equal("every line", &(round * 40_000), || diagnostics(&at).number("counters.lines"));
        let json = diagnostics(&at);
        assert!(json.number("memory.status") <= 2 * 1024 * 1024, "{}", json.number("memory.status"));
        let (lines, lost) = tailed_until(&mut slow, |lines, lost| lines.len() as u64 + lost >= 40_000);
        assert_eq!(lines.len() as u64 + lost, 40_000, "{} lines, and {lost} lost", lines.len());
        seen.extend(lines);
        all_lost += lost;
    }
    assert!(all_lost > 0 && seen.len() > 100, "{all_lost} lost, {} seen", seen.len());
    let numbers: Vec<u64> = seen.iter().map(|line| line[5..].parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "in order");
    client.write_all(b"the end\n").unwrap();
    assert_eq!(tailed(&mut slow, "the end"), (vec!["the end".to_owned()], 0));
    assert_eq!(tailed(&mut picky, "the end").0, ["the end"]);
    receiver.stop().assert_clean();
}

/// Six that ask without pause, and sixteen that ask for much together and read nothing.
#[test]
fn p18_visitors_do_not_shut_each_other_out() {
    let (receiver, at) = start(&[]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let over = Enough(&is_over);
        for _ in 0..6 {
            scope.spawn(|| {
                let (many, mut chunk) = (request("/").repeat(50), vec![0; 1 << 20]);
                while !is_over.load(Ordering::Relaxed) {
                    let mut stream = tcp(&at);
                    let _ = stream.write_all(many.as_bytes());
                    let mut has_more = true;
                    while has_more && !is_over.load(Ordering::Relaxed) {
                        has_more = stream.read(&mut chunk).is_ok_and(|count| count > 0);
                    }
                }
            });
        }
        for _ in 0..5 {
            let began = Instant::now();
            assert_eq!(get(&at, "/healthz").body, "ok\n");
            assert!(began.elapsed() < Duration::from_secs(5), "answered after {:?}", began.elapsed());
        }
        drop(over);
    });
    let many = request("/healthz").repeat(3_000);
    let deaf: Vec<TcpStream> = (0..16).map(|_| tcp(&at)).collect();
    for stream in &deaf {
        stream.set_nonblocking(true).unwrap();
        let mut stream = stream;
        let _ = stream.write(many.as_bytes());
    }
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(get(&at, "/healthz").body, "ok\n");
    }
    assert!(began.elapsed() < Duration::from_secs(8), "answered after {:?}", began.elapsed());
    drop(deaf);
    receiver.stop().assert_clean();
}

#[test]
fn who_asks_by_options_is_told_what_there_is() {
    let (receiver, at) = start(&[]);
    let mut http = Http::connect(&at);
    http.send("OPTIONS / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let (status, fields) = http.head();
    assert_eq!((status, fields["allow"].as_str(), fields.get("content-length")), (204, "GET, HEAD, OPTIONS", None));
    assert_eq!(http.get("/healthz").body, "ok\n", "and it had no body");
    receiver.stop().assert_clean();
}

/// The one test that waits for the ten seconds of all time-outs: of a request that never ends, of a viewer that takes
/// nothing, of an output that takes nothing.
#[test]
fn after_ten_seconds_a_slow_visitor_is_let_go_and_a_stalled_output_is_unhealthy() {
    let (receiver, output) = Receiver::start_unread(&ON);
    let at = status_of(&receiver);
    let viewer = tail(&at, "/tail");
    let began = Instant::now();
    let mut slow = Http::connect(&at);
    slow.send("GET /healthz HTTP/1.1\r\n");
    let log = receiver.client();
    let sent = write_until_held_back(&log);
    assert_eq!(get(&at, "/healthz").body, "ok\n", "not yet");
    // But it is told, with the output's name.
    let trouble = until("what is wrong", || {
        let json = diagnostics(&at);
        json.list_at("health.troubles").first().cloned().ok_or(format!("{json:?}"))
    });
    assert_eq!(trouble.text_at("text"), "stdout takes nothing, and clients wait for it");
    assert!((1_000..9_000).contains(&trouble.number("forMs")), "{trouble:?}");
    let mut kept = Http::connect(&at);
    kept.get("/healthz");
    let answer = slow.answer();
    assert_eq!((answer.status, answer.field("connection")), (408, "close"));
    // A time is rounded down to milliseconds.
    assert!(began.elapsed() >= Duration::from_millis(9_999), "{:?}", began.elapsed());
    assert_eq!(slow.rest(), b"");
    until("it is unhealthy", || {
        let answer = get(&at, "/healthz");
        let is_so = answer.status == 503 && answer.body == "an output has taken nothing for more than 10 s\n";
        if is_so { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let json = diagnostics(&at);
    assert_eq!((json.at("health.ok"), json.list_at("health.reasons").len()), (&Json::Bool(false), 1));
    assert_eq!(json.text_at("connections.0.state"), "waiting for the output");
    // While nothing is read the clock of silence stands still, but not the one that people look at.
    for age in ["connections.0.sinceMs", "connections.0.idleMs"] {
        assert!(json.number(age) >= 9_000, "{age}: {}", json.number(age));
    }
    assert_eq!(kept.rest(), b"", "nothing was asked for ten seconds");
    // The viewer is one of a socket that is full of lines; or it was quick enough to have nothing waiting.
    drop(viewer);
    until_equal("nobody looks on", &0, || diagnostics(&at).number("tail.activeViewers"));
    receiver.assert_rests("with a stalled output");
    let drained = output.collect();
    until_equal("it is healthy again", &200, || get(&at, "/healthz").status);
    drop(log);
    receiver.stop().assert_clean();
    assert_eq!(
        drained.finish().len(),
        sent.len() / 91 * 91 + usize::from(!sent.len().is_multiple_of(91)) * (sent.len() % 91 + 1)
    );
}

#[test]
fn health_is_503_for_a_full_house_and_while_the_server_stops() {
    let (receiver, at) = start(&["--max-connections", "2", "--max-per-host", "0"]);
    let inside = [receiver.client(), receiver.client()];
    until_equal("a full house", &2, || diagnostics(&at).number("tcp.activeConnections"));
    assert_eq!(get(&at, "/healthz").status, 200, "nobody waits");
    let _waits = receiver.client();
    until_equal("a full house in which one waits", &503, || get(&at, "/healthz").status);
    let answer = get(&at, "/healthz");
    assert_eq!(answer.body, "accepting is paused: all connections are taken (--max-connections)\n");
    assert_eq!(metric(&get(&at, "/metrics"), "lumberjack_healthy"), 0);
    let [mut speaks, leaves] = inside;
    drop(leaves);
    until_equal("room again", &200, || get(&at, "/healthz").status);
    let watches = tail(&at, "/tail");
    speaks.write_all(b"before\n").unwrap();
    until_equal("a line that the tail shows", &1, || metric(&get(&at, "/metrics"), "lumberjack_lines_total"));
    let mut asks = Http::connect(&at);
    asks.get("/healthz");
    receiver.signal("TERM");
    // Who still speaks keeps the drain going; the pause is shorter than the silence that ends it.
    let reason = until("it stops", || {
        speaks.write_all(b"more\n").unwrap();
        let answer = asks.get("/healthz");
        if answer.status == 503 { Ok(answer.body) } else { Err(answer.body) }
    });
    assert_eq!(reason, "the server is stopping\n");
    drop(speaks);
    let began = Instant::now();
    receiver.wait().assert_clean();
    assert!(began.elapsed() < Duration::from_secs(3), "visitors held up the end for {:?}", began.elapsed());
    assert_eq!((asks.rest(), watches.rest().is_empty()), (Vec::new(), false), "closed, and the tail had lines");
}

#[test]
fn a_rejecting_house_is_healthy_when_full() {
    let (receiver, at) = start(&["--max-connections", "1", "--max-per-host", "0", "--when-full", "reject"]);
    let _inside = receiver.client();
    until_equal("it is in", &1, || diagnostics(&at).number("tcp.activeConnections"));
    assert_eq!(get(&at, "/healthz").status, 200);
    receiver.stop().assert_clean();
}

#[test]
fn a_unix_socket_is_its_owners_alone_and_goes_with_the_server() {
    let dir = Dir::new();
    let at = format!("unix:{}", dir.file("status.sock"));
    let receiver = Receiver::start(&["--status", &at]);
    let path = dir.path().join("status.sock");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let _watches = tail(&at, "/tail");
    let json = diagnostics(&at);
    assert!(json.text_at("tail.viewerDetails.0").starts_with("unix#"), "{json:?}");
    // Whatever name it is asked by: no page of another name gets here.
    let mut http = Http::connect(&at);
    http.send("GET /healthz HTTP/1.1\r\nHost: x.example\r\n\r\n");
    assert_eq!(http.answer().status, 200);
    receiver.stop().assert_clean();
    assert!(!path.exists());
}

/// `lumberjack status` with these arguments: code, stdout and stderr.
fn look(args: &[&str]) -> (Option<i32>, String, String) {
    let ended = Setup::new(&[&["status"], args].concat()).run();
    (ended.code, String::from_utf8(ended.output).unwrap(), ended.stderr)
}

#[test]
fn status_shows_how_it_is_and_exits_with_it() {
    let dir = Dir::new();
    let unix = format!("unix:{}", dir.file("s"));
    let (receiver, at) = start(&["--max-connections", "1", "--max-per-host", "0"]);
    let (code, shown, said) = look(&[&at]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert!(shown.contains(&format!(" on {}: lines flow\n", receiver.addr)), "{shown}");
    // A health check reads the code only, and Python's DEVNULL can't be told from a closed stdout.
    assert_eq!(Setup::new(&["status", &at]).redirect("1<>/dev/null").run().code, Some(0));
    let client = receiver.client();
    until_equal("it is in", &1, || diagnostics(&at).number("tcp.activeConnections"));
    let _waits = receiver.client();
    until_equal("a full house", &503, || get(&at, "/healthz").status);
    let (code, shown, said) = look(&[&at]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(shown.contains("* accepting is paused: all connections are taken") && shown.contains(&addr(&client)));
    let (code, shown, said) = look(&["--json", &at]);
    assert_eq!((code, Json::parse(&shown).number("tcp.activeConnections")), (Some(1), 1));
    assert_eq!(said, "lumberjack: accepting is paused: all connections are taken (--max-connections)\n");
    // A log client's port, which answers nothing; one where nobody listens; a file that is not there.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = deaf.local_addr().unwrap().to_string();
    drop(deaf);
    receiver.stop().assert_clean();
    for at in [&nobody, &unix] {
        let (code, shown, said) = look(&[at]);
        assert_eq!((code, shown.as_str()), (Some(2), ""));
        let ends = format!("; is a receiver running with --status {at}?\n");
        assert!(
            said.starts_with(&format!("lumberjack: cannot ask {at} how it is: ")) && said.ends_with(&ends),
            "{said}"
        );
    }
    let (code, _, said) = look(&["localhost:1"]);
    assert_eq!((code, said.lines().count()), (Some(2), 1), "{said}");
}

#[test]
fn status_says_at_once_that_another_server_answers() {
    for (answer, sentence) in [
        ("HTTP/1.1 200 OK\r\nServer: other\r\nContent-Length: 5\r\n\r\nhello", "another web server answers there"),
        ("HTTP/1.0 404 Not Found\r\n\r\n", "another web server answers there"),
        ("220 mail.example ESMTP\r\n", "what answers there speaks no HTTP"),
    ] {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = other.local_addr().unwrap().to_string();
        let began = Instant::now();
        let server = std::thread::spawn(move || {
            let mut client = accept(&other);
            client.write_all(answer.as_bytes()).unwrap();
            // It does not close.
            client
        });
        let (code, shown, said) = look(&[&at]);
        assert!(began.elapsed() < Duration::from_secs(4), "after {:?}", began.elapsed());
        assert_eq!((code, shown.as_str()), (Some(2), ""));
        let wanted = format!("cannot ask {at} how it is: {sentence}; is a receiver running with --status {at}?\n");
        assert_eq!(said, format!("lumberjack: {wanted}"));
        drop(join("the other server", server));
    }
}

#[test]
fn status_watches_until_it_is_stopped_or_nobody_reads() {
    let (receiver, at) = start(&[]);
    let mut command = Command::new(under_test());
    let mut guard = Guard::spawn(command.args(["status", "--watch", "--json", &at]).stdout(Stdio::piped())).unwrap();
    let shown = Collected::from(guard.0.stdout.take().unwrap());
    until("two looks", || {
        let text = shown.text();
        if text.lines().count() >= 2 { Ok(()) } else { Err(text) }
    });
    guard.signal("KILL");
    guard.wait();
    let mut guard = Guard::spawn(&mut command).unwrap();
    drop(guard.0.stdout.take());
    guard.wait();
    receiver.stop().assert_clean();
    // Nobody answers, so that nothing is written that could fail.
    let mut guard = Guard::spawn(command.stderr(Stdio::piped())).unwrap();
    let said = Collected::from(guard.0.stderr.take().unwrap());
    until("two looks", || {
        let text = said.text();
        if text.lines().count() >= 2 { Ok(()) } else { Err(text) }
    });
    drop(guard.0.stdout.take());
    assert_eq!(guard.wait(), Some(2));
}

#[test]
fn p13_a_place_that_can_not_be_had_is_a_sentence() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    for (args, code, sentence) in [
        (&["--status", &taken][..], 1, format!("cannot listen on {taken}: another program has that port; stop it, or choose another with --status")),
        (&["--status", "unix:/no/such/dir/s"], 1, "cannot listen on unix:/no/such/dir/s: its directory does not exist; make it, or choose another path with --status".to_owned()),
        (&["--status", "127.0.0.1:1", "--listen", "127.0.0.1:1"], 2, "--status 127.0.0.1:1 is taken by --listen 127.0.0.1:1: clients would not know what to speak; choose another port".to_owned()),
        (&["--status", "127.0.0.1:0", "--memory", "600KiB"], 2, "--memory 600KiB is too little for --status: give at least 713KiB, or leave --status out".to_owned()),
    ] {
        let listen: &[&str] = if args.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let ended = Setup::new(&[args, &["--log-level", "error"], listen].concat()).run();
        assert_eq!((ended.code, ended.stderr), (Some(code), format!("lumberjack: {sentence}\n")));
    }
    let ended = Setup::new(&["--check", "--status", "127.0.0.1:0", "--memory", "600KiB"]).run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    Setup::new(&["--check", "--status", "127.0.0.1:0", "--memory", "713KiB"]).run().assert_clean();
}

#[test]
fn p10_without_a_descriptor_visitors_wait_and_nothing_spins() {
    let (receiver, at) = start(&[]);
    // Whatever is opened late is open now.
    assert_eq!(get(&at, "/diagnostics").status, 200);
    let base = receiver.fds();
    receiver.until_fds(base.min(receiver.fds()));
    let limit = lower_free_descriptors_to(&receiver, 0);
    let mut waits = Http::connect(&at);
    waits.send(request("/healthz"));
    receiver.assert_rests("while a visitor waits for a descriptor");
    let pid = i32::try_from(receiver.guard.pid()).unwrap();
    rlimit::prlimit(pid, rlimit::Resource::NOFILE, Some((limit + 8, limit + 8)), None).unwrap();
    assert_eq!(waits.answer().status, 200);
    receiver.stop().assert_clean();
}

#[test]
fn p5_sixteen_visitors_with_half_a_request_each_take_no_more_than_their_share() {
    let (receiver, at) = start(&["--memory", "713KiB"]);
    let mut visitors: Vec<Http> = (0..15).map(|_| Http::connect(&at)).collect();
    let half = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(6000));
    visitors.iter_mut().for_each(|http| http.send(&half));
    // They hold what they have sent.
    let held = until("all have come", || {
        let json = diagnostics(&at);
        let held = json.number("memory.status");
        if held >= 80 * 1024 { Ok(held) } else { Err(format!("{held}")) }
    });
    assert!(held <= 256 * 1024, "{held}");
    assert_eq!(get(&at, "/healthz").status, 200);
    drop(visitors);
    receiver.stop().assert_clean();
}
