//! Who is told of lines (`--alert`): of the first at once, then of all of a time together, and whatever that one does, clients and
//! the end do not wait.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use super::errors::assert_sentence;
use super::support::http::{Json, get, status_of};
use crate::common::patience::until_within;
use crate::support::conditions::until;
use crate::support::receiver::{Receiver, Setup};
use crate::support::store::{Kind, Post, Reply, Store};

/// Somebody who is told, and answers so.
fn listener(decide: impl FnMut(&Post) -> Reply + Send + 'static) -> Store {
    Store::that(Kind::Ndjson, decide)
}

fn heard(_: &Post) -> Reply {
    Reply::Status(204, String::new())
}

fn start(store: &Store, more: &[&str]) -> Receiver {
    let url = format!("http://{}/hook", store.addr());
    Receiver::start(&[&["--output", "/dev/null", "--alert", "ERROR", "--alert-url", &url], more].concat())
}

/// What was told: text, first line, and how many lines.
fn told(store: &Store) -> Vec<(String, String, u64)> {
    let tell = |post: &Post| {
        assert_eq!((post.target.as_str(), post.fields["content-type"].as_str()), ("/hook", "application/json"));
        let json = Json::parse(&post.body);
        assert!(json.text_at("peer").starts_with("127.0.0.1:"), "{json:?}");
        (json.text_at("pattern").to_owned(), json.text_at("line").to_owned(), json.number("count"))
    };
    store.posts().iter().map(tell).collect()
}

fn count_of(told: &[(String, String, u64)], text: &str) -> u64 {
    told.iter().filter(|(pattern, ..)| pattern == text).map(|(.., count)| count).sum()
}

#[test]
fn the_first_line_is_told_at_once_and_each_counts_once() {
    let store = listener(heard);
    let receiver = start(&store, &["--alert", "out of memory", "--alert-every", "2s"]);
    let mut client = receiver.client();
    client.write_all(b"fine\nan ERROR, the first\n").unwrap();
    until("the first telling", || if store.posts().is_empty() { Err(String::new()) } else { Ok(()) });
    assert_eq!(told(&store), [("ERROR".to_owned(), "an ERROR, the first".to_owned(), 1)]);
    let began = Instant::now();
    let mut other = receiver.client();
    for number in 0..1_000 {
        other.write_all(format!("ERROR {number} out of memory\nerror {number}\nfi").as_bytes()).unwrap();
        other.write_all(b"ne\n").unwrap();
    }
    let all = |text: &str, wanted| {
        let told = told(&store);
        if count_of(&told, text) == wanted { Ok(()) } else { Err(format!("{told:?}")) }
    };
    until("all of them", || all("ERROR", 1_001).and_then(|()| all("out of memory", 1_000)));
    assert!(began.elapsed() >= Duration::from_millis(1_500), "together, and not one by one");
    assert!(told(&store).len() < 10, "{:?}", told(&store));
    receiver.assert_rests("when all is told");
    // After a quiet time the next is told at once again.
    std::thread::sleep(Duration::from_millis(2_100));
    client.write_all(b"ERROR at last\n").unwrap();
    until("the last", || all("ERROR", 1_002));
    receiver.stop().assert_clean();
}

#[test]
fn letters_are_the_same_if_that_is_asked_for() {
    let store = listener(heard);
    let receiver = start(&store, &["--alert-ignore-case"]);
    receiver.client().write_all(b"eRROx\nan eRRoR\n").unwrap();
    until("the telling", || if store.posts().is_empty() { Err(String::new()) } else { Ok(()) });
    assert_eq!(told(&store), [("ERROR".to_owned(), "an eRRoR".to_owned(), 1)]);
    receiver.stop().assert_clean();
}

#[test]
fn p12_what_was_not_heard_is_said_once_and_told_again_with_what_came_since() {
    let mut tries = 0;
    let store = listener(move |post| {
        tries += 1;
        if tries == 1 { Reply::Status(503, String::new()) } else { heard(post) }
    });
    // However long the others of its time are to wait.
    let receiver = start(&store, &["--alert-every", "1h"]);
    let mut client = receiver.client();
    client.write_all(b"ERROR one\n").unwrap();
    let url = format!("http://{}/hook", store.addr());
    receiver.until_said(&format!("[alert] {url} hears of no line: it answered 503; trying again"));
    client.write_all(b"ERROR two\n").unwrap();
    receiver.assert_rests("while nobody hears");
    let heard = || if store.posts().len() > 1 { Ok(()) } else { Err(String::new()) };
    until_within(Duration::from_secs(30), "it is told again", heard);
    assert_eq!(told(&store).last(), Some(&("ERROR".to_owned(), "ERROR one".to_owned(), 2)));
    receiver.until_said(&format!("[alert] {url} hears of lines again"));
    receiver.stop().assert_clean();
}

#[test]
fn a_2xx_is_heard_by_its_head_whatever_comes_behind() {
    for rest in [
        "Content-Encoding: br\r\nContent-Length: 3\r\n\r\nxxx",
        "Content-Length: 70000\r\n\r\nxxx",
        "Transfer-Encoding: chunked\r\n\r\nxxx",
        "\r\nxxx",
    ] {
        let store = listener(move |_| Reply::Bytes(format!("HTTP/1.1 200 OK\r\n{rest}")));
        let receiver = start(&store, &["--alert", "WARN", "--alert-every", "1h"]);
        receiver.client().write_all(b"ERROR\nWARN\n").unwrap();
        until("both tellings", || if store.posts().len() < 2 { Err(String::new()) } else { Ok(()) });
        let texts: Vec<String> = told(&store).into_iter().map(|(text, ..)| text).collect();
        assert_eq!(texts, ["ERROR", "WARN"], "{rest}: neither is told twice");
        let ended = receiver.stop();
        assert!(!ended.stderr.contains("hears of no line"), "{rest}: {}", ended.stderr);
    }
}

#[test]
fn p8_who_hangs_holds_up_neither_clients_nor_the_end() {
    let store = listener(|_| Reply::Hang);
    let receiver = start(&store, &[]);
    let mut client = receiver.client();
    client.write_all(b"ERROR\n").unwrap();
    until("the telling", || if store.posts().is_empty() { Err(String::new()) } else { Ok(()) });
    let line = [b"x".repeat(1000), b"\n".to_vec()].concat();
    for _ in 0..20_000 {
        client.write_all(&line).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "all is read");
    receiver.assert_rests("while it hangs");
    let began = Instant::now();
    receiver.stop().assert_clean();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_text_may_begin_and_end_with_a_quote_as_fields_of_json_do() {
    let store = listener(heard);
    let receiver = start(&store, &["--alert", "\"level\":\"error\""]);
    receiver.client().write_all(b"{\"level\":\"info\"}\n{\"level\":\"error\"}\n").unwrap();
    until("the telling", || if store.posts().is_empty() { Err(String::new()) } else { Ok(()) });
    assert_eq!(told(&store), [("\"level\":\"error\"".to_owned(), "{\"level\":\"error\"}".to_owned(), 1)]);
    receiver.stop().assert_clean();
}

#[test]
fn a_password_in_the_url_is_warned_of_and_shown_nowhere() {
    let store = listener(heard);
    let url = format!("http://user:s3cret@{}/hook", store.addr());
    let receiver =
        Receiver::start(&["--output", "/dev/null", "--alert", "ERROR", "--alert-url", &url, "--status", "127.0.0.1:0"]);
    receiver.client().write_all(b"ERROR\n").unwrap();
    until("the telling", || if store.posts().is_empty() { Err(String::new()) } else { Ok(()) });
    assert_eq!(store.posts()[0].fields["authorization"], "Basic dXNlcjpzM2NyZXQ=");
    receiver.until_said("its password can be seen by who sees the command line (ps) or the config file");
    let shown = get(&status_of(&receiver), "/diagnostics").body;
    assert!(shown.contains("/hook") && !shown.contains("s3cret"), "{shown}");
    let ended = receiver.stop();
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
    let checked = Setup::new(&["--alert", "ERROR", "--alert-url", &url, "--check"]).run();
    let shown = String::from_utf8(checked.output).unwrap() + &checked.stderr;
    assert!(shown.contains("give --http-auth") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn p13_alerts_that_make_no_sense_are_a_sentence_and_exit_2() {
    for (args, sentence) in [
        (&["--alert", "x"][..], "--alert needs somebody to tell: give --alert-url http://HOST:PORT/PATH"),
        (
            &["--alert-url", "http://gw/"],
            "--alert-url is about texts that are looked for, and there is none: give --alert,",
        ),
        (&["--alert", "x", "--alert-url", "gw/hook"], "--alert-url: "),
        #[cfg(not(feature = "tls"))]
        (&["--alert", "x", "--alert-url", "https://gw/"], "--alert-url: "),
        (
            &["--alert", "x", "--alert-url", "http://gw/", "--alert-every", "10ms"],
            "--alert-every is 10ms: give 1s or more",
        ),
    ] {
        let ended = Setup::new(&[args, &["--output", "/dev/null"]].concat()).run();
        assert_sentence(&ended, 2, sentence, "");
    }
}
