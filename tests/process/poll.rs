//! Pollers of the built binary (P31): each page gives exactly its new lines, whoever serves it, and what can't be polled is a
//! sentence. Hostile servers are in `poll_hostile`, restarts in `poll_states`.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::errors::assert_sentence;
use super::proxies::{free_port, start};
use crate::support::conditions::{Dir, until, until_equal, write_until_held_back};
use crate::support::http::{Http, Json, get, request, status_of};
use crate::support::receiver::{Receiver, Setup, under_test};
use crate::support::web::{Manners, Page, Web, answer, field, ok};

const ALL: [Manners; 3] = [Manners::Plain, Manners::Tags, Manners::Ranges];

/// One that polls each second.
fn polling(polls: &[String], args: &[&str]) -> Receiver {
    let mut all = vec!["--poll-interval", "1s"];
    polls.iter().for_each(|poll| all.extend(["--poll", poll]));
    Receiver::start(&[&all, args].concat())
}

/// Lines `NAME 0` to `NAME count - 1`.
fn numbered(name: &str, numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| format!("{name} {number}, which is long enough to be a line\n")).collect()
}

/// These lines, and no more though the page is fetched again.
fn until_just(receiver: &Receiver, web: &Web, wanted: &str) {
    let wanted: Vec<&str> = wanted.lines().collect();
    receiver.until_lines(&wanted);
    web.until_asked(2);
    assert_eq!(receiver.lines(), wanted);
}

#[test]
fn p31_a_page_that_grows_gives_each_line_once() {
    for manners in ALL {
        let page = Page::new(manners, "");
        let receiver = polling(&[page.web.poll("gw")], &[]);
        page.web.until_asked(1);
        page.set(&numbered("a", 0..100));
        receiver.until_lines(&numbered("a", 0..100).lines().collect::<Vec<_>>());
        // The last line is not whole yet.
        page.add(&format!("{}half a ", numbered("a", 100..103)));
        receiver.until_lines(&numbered("a", 0..103).lines().collect::<Vec<_>>());
        page.add(&format!("line\n{}", numbered("a", 103..105)));
        let all = format!("{}half a line\n{}", numbered("a", 0..103), numbered("a", 103..105));
        until_just(&receiver, &page.web, &all);
        let asked = page.web.asked();
        let with = |name| asked.iter().filter(|head| field(head, name).is_some()).count();
        assert_eq!(with("if-range"), 0);
        assert!((with("if-none-match") > 0) == (manners != Manners::Plain), "{manners:?}");
        assert!((with("range") > 0) == (manners == Manners::Ranges), "{manners:?}");
        assert_eq!(page.web.connections(), 1, "the connection is kept");
        assert!(!receiver.said().contains("WARN"), "{}", receiver.said());
        receiver.stop().assert_clean();
    }
}

#[test]
fn p31_a_page_that_slides_gives_each_line_once_wherever_its_newest_line_is() {
    let window = |end: usize| numbered("line", end - 20..end);
    let turned = |end: usize| window(end).lines().rev().fold(String::new(), |text, line| text + line + "\n");
    let (last, first) = (Page::new(Manners::Plain, &window(20)), Page::new(Manners::Tags, &turned(20)));
    let dir = Dir::new();
    let output = dir.file("{host}");
    let receiver = polling(&[last.web.poll("last"), first.web.poll("first")], &["--output", &output]);
    let read = |name: &str| fs::read_to_string(dir.file(name)).unwrap_or_default();
    let mut firsts = turned(20);
    for end in [20, 23, 42] {
        last.set(&window(end));
        first.set(&turned(end));
        // The first page is handed out as it stands, later ones with the oldest line first.
        firsts.push_str(&numbered("line", (firsts.lines().count())..end));
        until_equal("newest last", &numbered("line", 0..end), || read("last"));
        until_equal("newest first", &firsts, || read("first"));
        last.web.until_asked(2);
        first.web.until_asked(2);
        assert_eq!((read("last"), read("first")), (numbered("line", 0..end), firsts.clone()));
    }
    assert!(!receiver.said().contains("WARN"), "{}", receiver.said());
    receiver.stop().assert_clean();
}

#[test]
fn p31_a_file_that_rotates_goes_on_with_its_new_lines_and_says_that_some_may_be_missing() {
    for manners in ALL {
        let page = Page::new(manners, &numbered("old", 0..50));
        let receiver = polling(&[page.web.poll("gw")], &["--mark-gaps"]);
        receiver.until_lines(&numbered("old", 0..50).lines().collect::<Vec<_>>());
        page.set(&numbered("new", 0..40));
        receiver.until_said("nothing on its page was there before");
        until("the new lines", || {
            let lines = receiver.lines();
            if lines.len() >= 91 { Ok(()) } else { Err(format!("{lines:?}")) }
        });
        page.add(&numbered("new", 40..45));
        until_equal("all lines", &96, || receiver.lines().len());
        page.web.until_asked(2);
        let lines = receiver.lines();
        assert!(lines[50].contains("why=page-passed") && lines[50].contains("peer=gw"), "{}", lines[50]);
        let others: Vec<&String> = lines.iter().filter(|line| !line.contains("page-passed")).collect();
        let wanted = numbered("old", 0..50) + &numbered("new", 0..45);
        assert_eq!(others, wanted.lines().collect::<Vec<_>>());
        assert_eq!(receiver.said().matches("nothing on its page").count(), 1);
        receiver.stop().assert_clean();
    }
}

#[test]
fn p31_json_is_a_line_for_each_element_and_text_that_begins_so_is_not_json() {
    let array = Page::new(Manners::Tags, "[ {\"t\": 1, \"m\": \"a b\"},\n {\"t\":2} ]");
    let object = Page::new(Manners::Plain, "{\n \"up\": true }");
    let ndjson = Page::new(Manners::Plain, "{\"a\": 1}\n{\"a\": 2}\n");
    let text = Page::new(Manners::Plain, "[12:00] begins\n[12:01] goes on\n");
    let dir = Dir::new();
    let polls = [array.web.poll("array"), object.web.poll("object"), ndjson.web.poll("ndjson"), text.web.poll("text")];
    let receiver = polling(&polls, &["--output", &dir.file("{host}")]);
    let read = |name: &str| fs::read_to_string(dir.file(name)).unwrap_or_default();
    let is = |name: &str, wanted: &str| until_equal(name, &wanted.to_owned(), || read(name));
    is("array", "{\"t\":1,\"m\":\"a b\"}\n{\"t\":2}\n");
    is("object", "{\"up\":true}\n");
    is("ndjson", "{\"a\": 1}\n{\"a\": 2}\n");
    is("text", "[12:00] begins\n[12:01] goes on\n");
    array.set("[{\"t\":2},{\"t\":3},{\"t\":3}]");
    object.set("{\"up\":false}");
    ndjson.add("{\"a\": 3}\n");
    is("array", "{\"t\":1,\"m\":\"a b\"}\n{\"t\":2}\n{\"t\":3}\n{\"t\":3}\n");
    is("object", "{\"up\":true}\n{\"up\":false}\n");
    is("ndjson", "{\"a\": 1}\n{\"a\": 2}\n{\"a\": 3}\n");
    receiver.stop().assert_clean();
}

#[test]
fn p31_what_is_there_at_the_start_is_left_out_where_only_new_lines_are_asked_for() {
    let page = Page::new(Manners::Tags, &numbered("old", 0..10));
    let receiver = polling(&[page.web.poll("gw")], &["--poll-start", "new"]);
    page.web.until_asked(2);
    assert_eq!(receiver.lines(), [""; 0]);
    page.add("new 1\n");
    until_just(&receiver, &page.web, "new 1\n");
    receiver.stop().assert_clean();
}

#[test]
fn p31_of_a_page_that_is_longer_than_it_may_be_nothing_is_taken_and_a_sentence_names_the_option() {
    // With a length, and without.
    for chunked in [false, true] {
        let page = Page::new(Manners::Plain, "");
        let web = Web::answering(move |_| {
            let body = numbered("line", 0..200);
            if chunked {
                let chunk = format!("{:x}\r\n{body}\r\n", body.len());
                return format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n").into_bytes();
            }
            ok(body)
        });
        let receiver = polling(&[web.poll("long"), page.web.poll("gw")], &["--poll-max-response", "4KiB"]);
        receiver.until_said(
            "/log brings nothing: its body is longer than 4KiB: nothing of it was taken; raise --poll-max-response",
        );
        web.until_asked(1);
        page.set("others go on\n");
        until_just(&receiver, &page.web, "others go on\n");
        assert_eq!(receiver.said().matches("brings nothing").count(), 1);
        receiver.stop().assert_clean();
    }
}

/// It would have to be asked for again and again, and never be short enough.
#[test]
fn p31_a_file_that_grew_by_more_than_an_answer_may_have_comes_in_parts() {
    let page = Page::new(Manners::Ranges, &numbered("line", 0..100));
    let receiver = polling(&[page.web.poll("gw")], &["--poll-max-response", "8KiB"]);
    until_just(&receiver, &page.web, &numbered("line", 0..100));
    page.set(&numbered("line", 0..5000));
    until_just(&receiver, &page.web, &numbered("line", 0..5000));
    assert!(!receiver.said().contains("brings nothing"), "{}", receiver.said());
    receiver.stop().assert_clean();
}

#[test]
fn p31_a_file_longer_than_an_answer_may_be_is_read_whole_or_from_its_end_and_goes_on_when_it_rotates() {
    for starts_new in [false, true] {
        let page = Page::new(Manners::Ranges, &numbered("old", 0..5000));
        let start = if starts_new { "new" } else { "all" };
        let receiver = polling(&[page.web.poll("gw")], &["--poll-max-response", "8KiB", "--poll-start", start]);
        let mut all = if starts_new { String::new() } else { numbered("old", 0..5000) };
        until_just(&receiver, &page.web, &all);
        page.add("more\n");
        all += "more\n";
        until_just(&receiver, &page.web, &all);
        page.set(&numbered("new", 0..4000));
        all += &numbered("new", 0..4000);
        until_just(&receiver, &page.web, &all);
        receiver.until_said("nothing on its page was there before");
        assert!(!receiver.said().contains("brings nothing"), "{}", receiver.said());
        receiver.stop().assert_clean();
    }
}

#[test]
fn p31_a_page_of_more_lines_than_are_remembered_is_said_once_and_its_new_lines_come_all_the_same() {
    let page = Page::new(Manners::Plain, &numbered("a", 0..50));
    let receiver = polling(&[page.web.poll("gw")], &["--poll-seen", "10"]);
    receiver.until_said("its page has 50 lines, and 10 are remembered");
    for end in [52, 60] {
        page.set(&numbered("a", 0..end));
        until_just(&receiver, &page.web, &numbered("a", 0..end));
    }
    assert_eq!(receiver.said().matches("are remembered").count(), 1);
    receiver.stop().assert_clean();
}

#[test]
fn p31_lines_of_pages_are_held_to_the_same_caps_as_those_of_clients() {
    let text = format!("short\n\n{}\nnext\n", "x".repeat(40));
    let long = ["x".repeat(16), "x".repeat(8)];
    for (how, keeps, wanted) in [
        ("skip", false, vec!["short", "next"]),
        ("skip", true, vec!["short", "", "next"]),
        ("cut", false, vec!["short", &long[0], "next"]),
        ("split", false, vec!["short", &long[0], &long[0], &long[1], "next"]),
    ] {
        let page = Page::new(Manners::Plain, &text);
        let keep: &[&str] = if keeps { &["--keep-empty"] } else { &[] };
        let args = ["--max-line", "16", "--long-lines", how];
        let receiver = polling(&[page.web.poll("gw")], &[&args, keep].concat());
        receiver.until_lines(&wanted);
        page.web.until_asked(2);
        assert_eq!(receiver.lines(), wanted);
        let warned = receiver.said().matches("[tcp] Line too long on gw").count();
        assert_eq!(warned, usize::from(how != "split"), "once, not at each fetch: {}", receiver.said());
        receiver.stop().assert_clean();
    }
}

#[test]
fn p31_lines_of_a_page_have_its_name_in_files_formats_and_spools() {
    let name = "n".repeat(64);
    let page = Page::new(Manners::Plain, "one\ntwo\n");
    let (dir, spool) = (Dir::new(), Dir::new());
    let spool = spool.file("spool");
    // Through a spool to a file: read again from what is on the disk.
    let next = Receiver::start(&["--output", &dir.file("next")]);
    let to = format!("tcp:{}", next.addr);
    let args = ["--format", "json", "--output", &dir.file("{host}"), "--spool", &spool, "--output", &to];
    let receiver = polling(&[page.web.poll(&name)], &args);
    let read = |name: &str| fs::read_to_string(dir.file(name)).unwrap_or_default();
    // Of a file's name a word has 48 bytes.
    for file in [&name[..48], "next"] {
        until_equal(file, &2, || read(file).lines().count());
        for line in read(file).lines() {
            assert!(line.contains(&format!("\"peer\":\"{name}\"")), "{line}");
        }
    }
    receiver.stop().assert_clean();
    next.stop().assert_clean();
}

#[test]
fn p31_pollers_are_in_the_diagnostics_the_metrics_the_text_and_the_tail() {
    let (page, bad) = (Page::new(Manners::Tags, "one\ntwo\n"), Web::answering(|_| answer("500 No", "", b"why")));
    let receiver = polling(&[page.web.poll("gw"), bad.poll("bad")], &["--status", "127.0.0.1:0"]);
    let at = status_of(&receiver);
    receiver.until_lines(&["one", "two"]);
    page.web.until_asked(2);
    let mut tail = Http::connect(&at);
    tail.send(request("/tail"));
    assert_eq!(tail.head().0, 200);
    page.add("three\n");
    let event = until("the line", || {
        let event = tail.event();
        if event.contains("three") { Ok(event) } else { Err(event) }
    });
    assert!(event.contains("\"peer\":\"gw\""), "{event}");
    let json = get(&at, "/diagnostics").json();
    assert_eq!(json.number("http.activePollers"), 2);
    let gw = json.at("http.pollerDetails.0");
    assert_eq!((gw.text_at("name"), gw.number("intervalMs"), gw.number("lines")), ("gw", 1000, 3));
    assert_eq!((gw.number("seenEntries"), gw.number("failures"), gw.number("gaps")), (3, 0, 0));
    assert_eq!(gw.text_at("url"), format!("http://{}/log", page.web.addr));
    assert!(gw.number("notModified") > 0 && gw.number("bytes") >= 8 && gw.number("fetches") > 2);
    assert!(gw.number("lastFetch") > 1_600_000_000_000 && [200, 304].contains(&gw.number("lastStatus")));
    let json = until("a failure", || {
        let json = get(&at, "/diagnostics").json();
        let failing = json.text_at("http.pollerDetails.1.lastError") == "it answered 500";
        if failing { Ok(json) } else { Err(format!("{json:?}")) }
    });
    let bad = json.at("http.pollerDetails.1");
    assert_eq!((bad.number("lastStatus"), bad.number("lines")), (500, 0));
    let metrics = get(&at, "/metrics").body;
    for line in
        ["lumberjack_poller_lines_total{poller=\"gw\"} 3\n", "lumberjack_poller_lines_total{poller=\"bad\"} 0\n"]
    {
        assert!(metrics.contains(line), "{metrics}");
    }
    let shown = std::process::Command::new(under_test()).args(["status", &at]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("poller gw, ") && shown.contains("poller bad, it answered 500"), "{shown}");
    receiver.stop().assert_clean();
}

#[test]
fn p31_many_long_pages_at_once_all_come_and_go_on() {
    // More than is looked at in a turn, and more than there is room for at once.
    let pages: Vec<Page> = (0..12).map(|_| Page::new(Manners::Plain, &numbered("a", 0..5000))).collect();
    let polls: Vec<String> = pages.iter().enumerate().map(|(at, page)| page.web.poll(&format!("p{at}"))).collect();
    let dir = Dir::new();
    let receiver = polling(&polls, &["--output", &dir.file("{host}"), "--memory", "8MiB", "--poll-seen", "6000"]);
    let read = |at: usize| fs::read_to_string(dir.file(&format!("p{at}"))).unwrap_or_default();
    for end in [5000, 5003] {
        for (at, page) in pages.iter().enumerate() {
            page.set(&numbered("a", 0..end));
            until_equal("lines", &end, || read(at).lines().count());
        }
    }
    for (at, page) in pages.iter().enumerate() {
        page.web.until_asked(1);
        assert!(read(at) == numbered("a", 0..5003), "p{at}");
    }
    assert!(!receiver.said().contains("WARN"), "{}", receiver.said());
    receiver.stop().assert_clean();
}

#[test]
fn p31_while_an_output_takes_nothing_pages_wait_like_clients_and_nothing_is_lost() {
    let page = Page::new(Manners::Plain, &numbered("page", 0..20_000));
    let small = Page::new(Manners::Plain, "");
    let polls = [page.web.poll("gw"), small.web.poll("small")];
    let dir = Dir::new();
    let states = dir.path().display().to_string();
    let args = ["--poll-interval", "1s", "--poll-seen", "30000", "--memory", "8MiB", "--poll-state", &states];
    let args = [&args[..], &["--poll", &polls[0], "--poll", &polls[1]]].concat();
    let (receiver, unread) = Receiver::start_unread(&args);
    until("both are asked", || {
        let asked = (page.web.asked().len(), small.web.asked().len());
        if asked.0 == 1 && asked.1 > 0 { Ok(()) } else { Err(format!("{asked:?}")) }
    });
    let client = receiver.client();
    let sent = write_until_held_back(&client);
    // What is due is not fetched either: this takes longer than the interval.
    let asked = small.web.asked().len();
    receiver.assert_rests("while the output is full");
    receiver.assert_rests("while the output is full");
    assert!(small.web.asked().len() <= asked + 1, "{} requests after {asked}", small.web.asked().len());
    small.set("a line of the other\n");
    let output = unread.collect();
    client.shutdown(Shutdown::Write).unwrap();
    let wanted = 20_001 + sent.iter().filter(|byte| **byte == b'\n').count() + usize::from(!sent.ends_with(b"\n"));
    until_equal("all lines", &wanted, || output.text().lines().count());
    let text = output.text();
    let of_page: String =
        text.lines().filter(|line| line.starts_with("page ")).map(|line| format!("{line}\n")).collect();
    assert!(of_page == numbered("page", 0..20_000), "lines of the page, in order and once");
    assert_eq!(text.matches("a line of the other\n").count(), 1);
    assert!(!receiver.said().contains("[WARN] [poll]"), "{}", receiver.said());
    receiver.stop().assert_clean();
}

#[test]
fn p20_a_poller_whose_file_takes_nothing_goes_on_by_itself_once_it_can() {
    let dir = Dir::new();
    let file = dir.file("gw.log");
    fs::create_dir(&file).unwrap();
    let page = Page::new(Manners::Plain, "1\n");
    let receiver = polling(&[page.web.poll("gw")], &["--output", &dir.file("{host}.log")]);
    receiver.until_said("cannot write to");
    // Lines of a second page, which find the file as it is. From then on nothing is asked for, so nothing tells when.
    page.add("2\n");
    std::thread::sleep(Duration::from_millis(1_500));
    receiver.assert_rests("while the file takes nothing");
    fs::remove_dir(&file).unwrap();
    until_equal("the lines", &"1\n2\n".to_owned(), || fs::read_to_string(&file).unwrap_or_default());
    page.add("3\n");
    until_equal("those behind", &"1\n2\n3\n".to_owned(), || fs::read_to_string(&file).unwrap_or_default());
    receiver.stop().assert_clean();
}

#[test]
fn p31_nginx_serves_a_log_that_grows_and_rotates() {
    let (dir, port) = (Dir::new(), free_port());
    let path = dir.path().display();
    let temporary =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {path}/{kind};"));
    let config = format!(
        "daemon off; master_process off; pid {path}/pid; error_log {path}/log; events {{}}\n\
         http {{ access_log off; log_format ratio $gzip_ratio; {} types {{ text/plain txt; }} server {{ listen 127.0.0.1:{port};\n\
         location /log {{ root {path}; }}\n\
         location /packed/ {{ alias {path}/; max_ranges 0; gzip on; gzip_min_length 1; gzip_types text/plain; access_log {path}/ratios ratio; }} }} }}\n",
        temporary.concat()
    );
    fs::write(dir.file("conf"), config).unwrap();
    let file = dir.file("log.txt");
    let add = |text: &str| {
        fs::OpenOptions::new().create(true).append(true).open(&file).unwrap().write_all(text.as_bytes()).unwrap();
    };
    add(&numbered("a", 0..100));
    let Some(_nginx) = start("nginx", &["-c", &dir.file("conf"), "-e", &dir.file("log")], port) else { return };
    let polls = [
        format!("ranges=http://127.0.0.1:{port}/log.txt"),
        // Packed anew each time, and in chunks.
        format!("packed=http://127.0.0.1:{port}/packed/log.txt"),
    ];
    let receiver = polling(&polls, &["--status", "127.0.0.1:0", "--output", &dir.file("out-{host}")]);
    let at = status_of(&receiver);
    let is = |wanted: &str| {
        for name in ["out-ranges", "out-packed"] {
            until_equal(name, &wanted.to_owned(), || fs::read_to_string(dir.file(name)).unwrap_or_default());
        }
    };
    is(&numbered("a", 0..100));
    add(&numbered("a", 100..150));
    is(&numbered("a", 0..150));
    add(&numbered("a", 150..151));
    is(&numbered("a", 0..151));
    let bytes = |json: &Json, at: usize| json.number(&format!("http.pollerDetails.{at}.bytes"));
    let json = get(&at, "/diagnostics").json();
    let (whole, ranges, packed) = (numbered("a", 0..151).len() as u64, bytes(&json, 0), bytes(&json, 1));
    assert!(ranges < whole + 6 * 1024 && packed > 2 * whole, "{ranges} and {packed} of {whole}");
    let ratios = fs::read_to_string(dir.file("ratios")).unwrap();
    assert!(ratios.lines().any(|ratio| ratio.parse::<f32>().is_ok_and(|ratio| ratio > 1.0)), "packed: {ratios}");
    fs::rename(&file, dir.file("log.1")).unwrap();
    add(&numbered("b", 0..10));
    is(&(numbered("a", 0..151) + &numbered("b", 0..10)));
    assert!(json.number("http.pollerDetails.0.failures") == 0, "{json:?}");
    receiver.stop().assert_clean();
}

#[test]
fn p31_the_server_that_comes_with_python_serves_a_log_that_grows() {
    let (dir, port) = (Dir::new(), free_port());
    let file = dir.file("log.txt");
    fs::write(&file, numbered("a", 0..100)).unwrap();
    let path = dir.path().display().to_string();
    let args = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", &path, &port.to_string()];
    let Some(_python) = start("python3", &args, port) else { return };
    let receiver = polling(&[format!("gw=http://127.0.0.1:{port}/log.txt")], &[]);
    receiver.until_lines(&numbered("a", 0..100).lines().collect::<Vec<_>>());
    fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"one more\n").unwrap();
    let all = numbered("a", 0..100) + "one more\n";
    receiver.until_lines(&all.lines().collect::<Vec<_>>());
    assert!(!receiver.said().contains("WARN"), "{}", receiver.said());
    receiver.stop().assert_clean();
}

#[test]
fn p31_who_we_are_goes_to_the_server_it_is_for_and_to_no_other() {
    let secret = |head: &str| field(head, "authorization").map(str::to_owned);
    let one = Web::answering(move |head| match secret(head).as_deref() {
        Some("Basic bWU6cGFzcw==") => ok("let in\n"),
        _ => answer("401 No", "WWW-Authenticate: Basic\r\n", b""),
    });
    let (token, other) = (Page::new(Manners::Plain, "token\n"), Page::new(Manners::Plain, "none\n"));
    let dir = Dir::new();
    fs::write(dir.file("auth"), format!("{} me:pass\n{} bearer t0k3n\n", one.addr, token.web.addr)).unwrap();
    let (auth, output) = (dir.file("auth"), dir.file("{host}"));
    let polls = [one.poll("one"), token.web.poll("token"), other.web.poll("other")];
    let receiver = polling(&polls, &["--http-auth", &auth, "--output", &output]);
    for (name, line) in [("one", "let in\n"), ("token", "token\n"), ("other", "none\n")] {
        until_equal(name, &line.to_owned(), || fs::read_to_string(dir.file(name)).unwrap_or_default());
    }
    assert_eq!(secret(&token.web.asked()[0]).as_deref(), Some("Bearer t0k3n"));
    assert_eq!(secret(&other.web.asked()[0]), None);
    receiver.until_said("can be read by others: chmod 600 it");
    let said = receiver.stop().stderr;
    assert!(!said.contains("pass") && !said.contains("t0k3n") && !said.contains("bWU6"), "{said}");
    // Without the file it is told where to put a login, and in the URL a password is said to be seen.
    let in_url = one.poll("url").replace("http://", "http://me:pass@");
    let receiver = polling(&[one.poll("one"), in_url], &[]);
    receiver.until_said("[poll] one: http://");
    receiver.until_said("it answered 401: see --http-auth for a login");
    receiver.until_said("its password can be seen by who sees the command line (ps) or the config file");
    receiver.until_lines(&["let in"]);
    let said = receiver.stop().stderr;
    assert!(!said.contains("pass@") && !said.contains("me:"), "{said}");
}

#[test]
fn p31_an_end_does_not_wait_for_what_is_being_fetched() {
    let silent = Web::new(|visit| {
        visit.request();
        visit.say_nothing();
    });
    let page = Page::new(Manners::Plain, "one\n");
    let receiver = polling(&[silent.poll("silent"), page.web.poll("gw")], &[]);
    receiver.until_lines(&["one"]);
    until_equal("it is asked", &1, || silent.asked().len());
    let mut client = receiver.client();
    client.write_all(b"of a client\n").unwrap();
    receiver.until_lines(&["one", "of a client"]);
    drop(client);
    let begun = Instant::now();
    let ended = receiver.stop();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    ended.assert_clean();
    assert_eq!(ended.lines(), ["one", "of a client"]);
}

#[test]
fn p31_what_can_not_be_polled_is_one_sentence() {
    let some = "gw=http://127.0.0.1:9/log";
    for (args, begins, ends) in [
        (&["--poll", "http://gw/log"][..], "--poll http://gw/log: give a name and an address, such as", ""),
        (&["--poll", "gw"], "--poll gw: give a name and an address", "plc-7=http://192.0.2.7/log.txt"),
        (&["--poll", "g w=http://gw/log"], "--poll g w=http://gw/log: a name has 1 to 64 letters", ""),
        (&["--poll", "gw=ftp://gw/log"], "--poll gw=ftp://gw/log: ", ""),
        #[cfg(not(feature = "tls"))]
        (&["--poll", "gw=https://gw/log"], "--poll gw=https://gw/log: ", ""),
        (&["--poll", "gw=http:///log"], "--poll gw=http:///log: ", ""),
        (&["--poll", "gw=http://gw:0/"], "--poll gw=http://gw:0/: ", ""),
        (&["--poll", some, "--poll", "gw=http://b/"], "--poll gw is given twice", "a name of its own"),
        (&["--poll", some, "--poll-interval", "999ms"], "--poll-interval is 999ms: give 1s or more", ""),
        (&["--poll", some, "--poll-timeout", "0"], "--poll-timeout is 0", "give 1s or more"),
        (&["--poll", some, "--poll-max-response", "1KiB"], "--poll-max-response is 1KiB", "from 4KiB to 1GiB"),
        (&["--poll", some, "--poll-seen", "0"], "--poll-seen is 0", ""),
        (&["--poll", some, "--poll-start", "old"], "--poll-start old: ", ""),
        (
            &["--poll", some, "--memory", "1MiB"],
            "--memory 1MiB is too little for 1 page(s) to poll: give at least ",
            "or --poll-seen",
        ),
        (&["--poll-seen", "5"], "--poll-seen is about pages that are polled, and there is none", ""),
        (&["--poll-state", "/tmp"], "--poll-state is about pages", "or leave it out"),
        (&["--http-auth", "/dev/null"], "--http-auth is about servers that are asked over HTTP", ""),
    ] {
        assert_sentence(&Setup::new(args).run(), 2, begins, ends);
    }
    let dir = Dir::new();
    let (none, file) = (dir.file("none"), dir.file("file"));
    fs::write(&file, "gw user:s3cret\n").unwrap();
    for (args, begins, ends) in [
        (["--poll-state", &none], format!("cannot use --poll-state {none}"), ""),
        (["--poll-state", &file], format!("cannot use --poll-state {file}"), ""),
        (["--http-auth", &none], format!("cannot use --http-auth {none}"), ""),
        (["--http-auth", &file], format!("cannot use --http-auth {file}: line 1: "), ""),
        (["--http-auth", "/dev/zero"], "cannot use --http-auth /dev/zero".to_owned(), ""),
    ] {
        let args = [&["--listen", "127.0.0.1:0", "--poll", some][..], &args].concat();
        let ended = Setup::new(&args).run();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let last = ended.stderr.lines().next_back().unwrap_or_default();
        let sentence = last.strip_prefix("lumberjack: ").unwrap_or_default();
        assert!(sentence.starts_with(&begins) && sentence.ends_with(ends), "{begins} instead of {}", ended.stderr);
        assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    }
}
