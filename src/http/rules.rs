//! What the client does, one rule a test, with a server that is played by hand.

use core::time::Duration;

use super::*;

const RULES: Rules =
    Rules { head: Duration::from_secs(10), whole: Duration::from_secs(30), most_body: 100_000, asks_for_room: false };
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn get() -> Request {
    Request::default()
}

fn post(body: &[u8]) -> Request {
    Request { method: Method::Post, body: body.to_vec(), ..Request::default() }
}

fn client_of(url: &str, rules: Rules) -> Client {
    Client::new(Url::parse(url).unwrap(), None, rules)
}

fn client() -> Client {
    client_of("http://h:81/log", RULES)
}

/// Sends all that there is; gives it.
fn send(client: &mut Client, now: Duration) -> String {
    let sent = client.unsent().concat();
    client.sent(sent.len(), now);
    assert_eq!(client.unsent().concat(), b"");
    String::from_utf8(sent).unwrap()
}

/// Begins a request and sends it, over a new connection if there is none.
fn ask(client: &mut Client, request: Request) -> String {
    client.begin(request, at(0));
    connect(client);
    send(client, at(0))
}

fn connect(client: &mut Client) {
    if client.must_close() {
        client.closed();
    }
    if client.wants_connection() {
        client.connected(at(0));
    }
}

fn answer(client: &mut Client) -> Answer {
    let answer = client.result().expect("a result").expect("an answer");
    assert!(client.is_idle() && client.held() == 0);
    answer
}

fn trouble(client: &mut Client) -> Trouble {
    let trouble = client.result().expect("a result").expect_err("no answer");
    assert!(client.is_idle() && client.must_close() && client.held() == 0);
    trouble
}

/// Lets it unpack what came.
fn unpack(client: &mut Client, now: Duration) {
    for _ in 0..100 {
        if client.due_in(now) != Some(Duration::ZERO) {
            return;
        }
        client.tick(now);
    }
    panic!("it is never done");
}

/// What comes of these bytes, whether whole or byte by byte, and of the end of the connection behind them.
fn said(bytes: &[u8], end: Option<&str>) -> Result<Answer, Trouble> {
    let mut results = Vec::new();
    for piece in [bytes.len().max(1), 1, 7] {
        let mut client = client();
        ask(&mut client, Request { takes_gzip: true, ..get() });
        bytes.chunks(piece).for_each(|piece| client.received(piece, at(1)));
        match end {
            Some("") => client.ended(at(1)),
            Some(why) => client.lost(why, at(1)),
            None => {}
        }
        unpack(&mut client, at(1));
        results.push((client.result(), client.must_close()));
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{results:?}");
    results.pop().unwrap().0.expect("a result")
}

fn body_of(bytes: &[u8]) -> Vec<u8> {
    said(bytes, None).unwrap().body
}

#[test]
fn an_answer_is_given_and_the_connection_is_kept() {
    let mut client = client();
    assert!(client.is_idle() && !client.wants_connection() && client.due_in(at(0)).is_none());
    client.begin(get(), at(0));
    assert!(client.wants_connection() && client.unsent().concat().is_empty());
    client.connected(at(1));
    assert!(send(&mut client, at(1)).starts_with("GET /log HTTP/1.1\r\nHost: h:81\r\n"));
    client.received(OK, at(2));
    let found = answer(&mut client);
    assert_eq!((found.status, &found.body[..], found.url.to_string().as_str()), (200, &b"hi"[..], "http://h:81/log"));
    assert_eq!((found.head.header("content-LENGTH"), found.head.header("x")), (Some("2"), None));
    assert!(!client.must_close() && client.due_in(at(2)).is_none());
    // The next goes over the same.
    client.begin(Request { target: Some("/x?y".to_owned()), ..get() }, at(3));
    assert!(!client.wants_connection());
    assert!(send(&mut client, at(3)).starts_with("GET /x?y HTTP/1.1\r\n"));
    client.received(OK, at(4));
    assert_eq!(answer(&mut client).url.target(), "/x?y");
    client.ended(at(5));
    assert!(client.must_close());
    client.closed();
    assert!(client.is_idle() && !client.wants_connection() && !client.must_close());
}

#[test]
fn a_request_goes_out_in_any_pieces() {
    let mut client = client();
    client.begin(post(b"line"), at(0));
    client.connected(at(0));
    let mut all = Vec::new();
    while let Some(byte) = client.unsent().concat().first() {
        all.push(*byte);
        client.sent(1, at(0));
    }
    assert!(all.ends_with(b"Content-Length: 4\r\n\r\nline"), "{}", all.escape_ascii());
}

#[test]
fn bodies_end_where_they_say() {
    let plain = |head: &str, body: &str| body_of(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").as_bytes());
    assert_eq!(plain("Content-Length: 5\r\n", "hello"), b"hello");
    assert_eq!(plain("Content-Length: 5, 5\r\nContent-Length: 5\r\n", "hello"), b"hello");
    assert_eq!(plain("Content-Length: 0\r\n", ""), b"");
    assert_eq!(plain("Transfer-Encoding: Chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), b"hello");
    assert_eq!(
        plain(
            "Transfer-Encoding: chunked\r\n",
            "005;a=\"b\"\r\nhello\r\nA \r\n0123456789\r\n0\r\nX: y\r\nZ: a\r\n\r\n"
        ),
        b"hello0123456789"
    );
    for status in ["204 No Content", "304 Not Modified"] {
        for head in ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
            assert_eq!(body_of(format!("HTTP/1.1 {status}\r\n{head}\r\n").as_bytes()), b"");
        }
    }
    // Line feeds alone end the lines of a head.
    assert_eq!(body_of(b"HTTP/1.1 200\nContent-Length: 2\n\nhi"), b"hi");
    assert_eq!(said(b"HTTP/1.1 200 OK\r\n\r\nhello", Some("")).unwrap().body, b"hello");
    assert_eq!(said(b"HTTP/1.0 200 OK\r\n\r\n", Some("")).unwrap().body, b"");
}

#[test]
fn a_connection_is_kept_only_if_both_know_where_the_answer_ends() {
    for (bytes, is_kept) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[..], true),
        (b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nhi", true),
        (b"HTTP/1.1 200 OK\r\nConnection: x, CLOSE\r\nContent-Length: 2\r\n\r\nhi", false),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", false),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", false),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", true),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true),
        (b"HTTP/1.1 204 No Content\r\n\r\n", true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi more", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nH", false),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nhi", true),
    ] {
        let mut client = client();
        ask(&mut client, get());
        client.received(bytes, at(1));
        answer(&mut client);
        assert_eq!(!client.must_close(), is_kept, "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_comes_unasked_on_a_kept_connection_closes_it() {
    let mut client = client();
    ask(&mut client, get());
    client.received(OK, at(1));
    answer(&mut client);
    client.received(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", at(2));
    assert!(client.must_close() && client.is_idle());
    // Even if a request began meanwhile.
    client.closed();
    ask(&mut client, get());
    client.received(OK, at(3));
    answer(&mut client);
    client.begin(get(), at(4));
    client.received(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", at(4));
    assert!(client.must_close() && client.result().is_none());
    connect(&mut client);
    send(&mut client, at(4));
    client.received(OK, at(5));
    assert_eq!(answer(&mut client).status, 200);
}

#[test]
fn a_kept_connection_that_has_ended_is_dialled_again_once_without_a_word() {
    for is_lost in [false, true] {
        let mut client = client();
        ask(&mut client, get());
        client.received(OK, at(1));
        answer(&mut client);
        let end = |client: &mut Client| if is_lost { client.lost("reset", at(2)) } else { client.ended(at(2)) };
        let first = ask(&mut client, post(b"lines"));
        end(&mut client);
        assert!(client.must_close() && client.result().is_none());
        client.closed();
        assert!(client.wants_connection());
        client.connected(at(3));
        assert_eq!(send(&mut client, at(3)), first, "all of it");
        end(&mut client);
        let expected = if is_lost { Trouble::Io("reset".to_owned()) } else { Trouble::Silent };
        assert_eq!(trouble(&mut client), expected, "a new one is not");
    }
    // Nor one that has begun to answer.
    let mut client = client();
    ask(&mut client, get());
    client.received(OK, at(1));
    answer(&mut client);
    ask(&mut client, get());
    client.received(b"H", at(2));
    client.ended(at(2));
    assert_eq!(trouble(&mut client), Trouble::Cut);
}

#[test]
fn what_is_cut_is_no_answer() {
    assert_eq!(said(b"", Some("")), Err(Trouble::Silent));
    assert_eq!(said(b"", Some("reset")), Err(Trouble::Io("reset".to_owned())));
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nhi\r\n0\r\nX: y\r\n\r\n";
    for whole in [OK, &chunked[..]] {
        assert_eq!(said(whole, None).unwrap().body, b"hi");
        for end in 1..whole.len() {
            assert_eq!(said(&whole[..end], Some("")), Err(Trouble::Cut), "{end}");
            assert_eq!(said(&whole[..end], Some("reset")), Err(Trouble::Io("reset".to_owned())), "{end}");
        }
    }
    let until_end = b"HTTP/1.1 200 OK\r\n\r\nhello";
    assert_eq!(said(until_end, Some("reset")), Err(Trouble::Io("reset".to_owned())), "it may be half");
    // A dial that fails.
    let mut client = client();
    client.begin(get(), at(0));
    client.lost("connection refused", at(1));
    assert_eq!(trouble(&mut client).to_string(), "connection refused");
}

#[test]
fn p13_what_is_no_http_says_what_it_looks_like() {
    for (bytes, sentence) in [
        (&b"\x15\x03\x01\x00\x02\x02\x28"[..], "it seems to speak TLS: give https://, or the port of plain HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it does not speak HTTP/1.1: it begins with SSH-2.0-OpenSSH_9.2\\r\\n"),
        (b"HTTP/2.0 200 OK\r\n", "it does not speak HTTP/1.1: it begins with HTTP/2.0 200 OK\\r\\n"),
        (b"\x1b[31m\0\n", "it does not speak HTTP/1.1: it begins with \\x1b[31m\\x00\\n"),
        (&[b'a'; 50], "it does not speak HTTP/1.1: it begins with aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\u{2026}"),
        (b"HTTP/1.2 200 OK\r\n\r\n", "its answer has a head that cannot be read"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "its answer has a head that cannot be read"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "its answer has no status from 100 to 999"),
        (b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "its answer has a head that cannot be read"),
        (b"HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n", "its answer has a head that cannot be read"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "its answer switches to another protocol, which nobody asked for"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "its answer has a length that is no number"),
        (b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "its answer has a length that is no number"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "its answer has a length that is no number",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "its answer has two lengths"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", "its answer has two lengths"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "its answer has a length and chunks",
        ),
        (
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "its answer has chunks, which HTTP/1.0 does not have",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "its answer has a transfer coding that was not asked for",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "its answer has a transfer coding that was not asked for",
        ),
    ] {
        assert_eq!(said(bytes, None).unwrap_err().to_string(), sentence, "{}", bytes.escape_ascii());
    }
    assert_eq!(said(b"login: ", Some("")), Err(Trouble::NotHttp("login: ".to_owned())));
    assert_eq!(said(b"\x15", Some("")), Err(Trouble::NotHttp("\\x15".to_owned())));
}

#[test]
fn chunks_that_others_might_read_otherwise_are_refused() {
    for chunks in [
        "\r\n",
        "g\r\n",
        "5\nhello",
        ";\r\n",
        "-5\r\n",
        "5\r\rhello",
        "5\r\nhello!\r\n",
        "5\r\nhello\n",
        "5;a\nb\r\n",
        "5x\r\n",
        "10000000000000000\r\n",
        "0\r\n\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX\ry\r\n",
        "0\r\n\r ",
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let found = said(bytes.as_bytes(), None).unwrap_err().to_string();
        assert_eq!(found, "its answer has chunks that cannot be read", "{chunks:?}");
    }
}

#[test]
fn a_field_over_several_lines_is_one() {
    let found =
        said(b"HTTP/1.1 200 OK\r\nX: one\r\n two \r\n\t three\r\nContent-Length:\r\n 2\r\n\r\nhi", None).unwrap();
    assert_eq!((found.head.header("x"), &found.body[..]), (Some("one two three"), &b"hi"[..]));
    for fields in ["Content-Length: 1\r\n 2", "Transfer-Encoding: gzip,\r\n chunked", " X: y", "X: y\r\n \0"] {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
        assert!(matches!(said(head.as_bytes(), None), Err(Trouble::Malformed(_))), "{fields:?}");
    }
}

#[test]
fn heads_are_bounded() {
    let head = |fields: usize, len: usize| {
        let fields = "A: b\r\n".repeat(fields);
        let start = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{fields}X: ");
        format!("{start}{}\r\n\r\n", "y".repeat(len - start.len() - 4)).into_bytes()
    };
    assert!(said(&head(62, MOST_HEAD_BYTES), None).is_ok());
    for long in [head(62, MOST_HEAD_BYTES + 1), head(63, 1_000), vec![b'H'; 3]] {
        let endless = [&b"HTTP/1.1 200 OK\r\nX: "[..], &vec![b'y'; 20_000]].concat();
        let bytes = if long.len() == 3 { endless } else { long };
        let found = said(&bytes, None).unwrap_err();
        assert_eq!(
            (&found, found.to_string().as_str()),
            (&Trouble::HeadTooLong, "the head of its answer is longer than 16KiB, or has more than 64 fields")
        );
    }
}

#[test]
fn interim_answers_are_passed_over_and_bounded() {
    let one = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nContent-Length: 7\r\n\r\n";
    assert_eq!(body_of(&[&one.repeat(MOST_INTERIM), OK].concat()), b"hi");
    let found = said(&one.repeat(MOST_INTERIM + 1), None).unwrap_err();
    assert_eq!(found.to_string(), "its answer begins with more than 16 interim ones");
    let long = format!("HTTP/1.1 100 Continue\r\nX: {}\r\n\r\n", "y".repeat(3_000));
    assert_eq!(said(long.repeat(6).as_bytes(), None), Err(Trouble::HeadTooLong));
    assert_eq!(said(one, Some("")), Err(Trouble::Cut));
}

#[test]
fn bodies_are_bounded() {
    let most = RULES.most_body;
    let (fits, longer) = ("x".repeat(most), "x".repeat(most + 1));
    for (head, end, is_last) in [
        (format!("Content-Length: {most}\r\n\r\n"), "", false),
        (format!("Transfer-Encoding: chunked\r\n\r\n{most:x}\r\n"), "\r\n0\r\n\r\n", false),
        ("\r\n".to_owned(), "", true),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{head}{fits}{end}");
        assert_eq!(said(bytes.as_bytes(), is_last.then_some("")).unwrap().body.len(), most);
    }
    for head in [
        format!("Content-Length: {}\r\n\r\n", most + 1),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", most + 1),
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_owned(),
        "\r\n".to_owned(),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{head}{longer}");
        let found = said(bytes.as_bytes(), None).unwrap_err();
        assert_eq!((found.is_too_long(), found.to_string().as_str()), (true, "its body is longer than 100000"));
    }
    // A length alone says so.
    assert!(said(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n", None).unwrap_err().is_too_long());
    for extra in [format!("1;{}\r\nx\r\n", "e".repeat(9_000)).repeat(2), format!("0\r\n{}", "X: y\r\n".repeat(4_097))] {
        let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{extra}");
        let found = said(bytes.as_bytes(), None).unwrap_err().to_string();
        assert_eq!(found, "its answer has more than 16KiB around its chunks");
    }
}

#[test]
fn memory_follows_what_came_and_not_what_was_promised() {
    let mut client = client();
    ask(&mut client, get());
    client.received(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nx", at(1));
    assert!(client.held() < 1_000, "{}", client.held());
    for _ in 1..99_999 {
        client.received(b"x", at(1));
    }
    assert!(client.held() < 101_000, "{}", client.held());
    client.received(b"x", at(1));
    let found = answer(&mut client);
    assert_eq!((found.body.len(), found.body.capacity()), (100_000, 100_000));
}

#[test]
fn what_is_no_success_is_an_answer_by_its_head() {
    let words = |count: usize| "x".repeat(count);
    for (bytes, end, len) in [
        (format!("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n{}", words(9)), None, 9),
        (format!("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n{}", words(5)), Some(""), 5),
        (format!("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n{}", words(5)), Some("reset"), 5),
        (format!("HTTP/1.1 500 No\r\nContent-Length: 900000\r\n\r\n{}", words(20_000)), None, 16_384),
        (format!("HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}!", words(5)), None, 5),
        (format!("HTTP/1.1 413 No\r\n\r\n{}", words(20_000)), None, 16_384),
        ("HTTP/1.1 413 No\r\nContent-Encoding: br\r\n\r\n...".to_owned(), Some(""), 0),
    ] {
        let found = said(bytes.as_bytes(), end).unwrap();
        assert_eq!(found.body, words(len).as_bytes(), "{}", &bytes[..40]);
    }
    let mut client = client();
    ask(&mut client, get());
    client.received(b"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\nxx", at(1));
    client.tick(at(30));
    assert_eq!(answer(&mut client).status, 503, "also when it does not end in time");
    assert!(client.must_close());
}

#[test]
fn a_refusal_while_the_request_still_goes_out_counts_and_a_success_does_not() {
    for (status, goes_on) in [("413 Too Large", false), ("200 OK", true)] {
        let mut client = client();
        client.begin(post(&[b'x'; 1_000]), at(0));
        client.connected(at(0));
        client.sent(500, at(0));
        client.received(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nh").as_bytes(), at(1));
        assert_eq!(!client.unsent().concat().is_empty(), goes_on, "{status}");
        client.received(b"i", at(1));
        if goes_on {
            // It can't have what never left this box.
            assert_eq!(trouble(&mut client), Trouble::Malformed("came before it had the whole request"));
        } else {
            assert_eq!(answer(&mut client).body, b"hi");
        }
        assert!(client.must_close(), "{status}");
    }
}

#[test]
fn a_success_counts_that_ends_once_all_was_sent() {
    let mut client = client();
    client.begin(post(&[b'x'; 1_000]), at(0));
    connect(&mut client);
    client.sent(client.unsent()[0].len() + 999, at(0));
    client.received(&OK[..OK.len() - 1], at(0));
    client.sent(1, at(0));
    client.received(b"i", at(0));
    assert_eq!(answer(&mut client).status, 200);
}

/// Heads of answers that were heard, and bodies that nobody can read, or that never end.
const UNREADABLE: [&str; 12] = [
    "Content-Length: 100001\r\n\r\nlong",
    "Content-Length: 9\r\n\r\nhalf",
    "Content-Length: 9\r\n\r\n",
    "Content-Encoding: br\r\nContent-Length: 9\r\n\r\nhalf",
    "Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nhalf",
    "Transfer-Encoding: chunked\r\n\r\n5\r\nhalf",
    "Transfer-Encoding: chunked\r\n\r\nno chunk",
    "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\nhalf",
    "Content-Length: 9\r\nContent-Length: 8\r\n\r\nhalf",
    "Content-Length: nine\r\n\r\nhalf",
    "\r\nwithout an end",
];

#[test]
fn where_nobody_needs_a_body_the_head_is_the_answer() {
    for (status, number) in [("200 OK", 200), ("204 No Content", 204), ("413 No", 413), ("503 No", 503)] {
        for rest in UNREADABLE {
            for end in ["", "reset", "later"] {
                let mut client = client().by_heads();
                ask(&mut client, post(b"line"));
                client.received(format!("HTTP/1.1 {status}\r\n{rest}").as_bytes(), at(1));
                match end {
                    "" => client.ended(at(1)),
                    "reset" => client.lost(end, at(1)),
                    _ => client.tick(at(2)),
                }
                assert_eq!(answer(&mut client).status, number, "{rest} {end}");
                assert!(client.must_close() || number == 204, "{rest} {end}: a 204 has no body");
            }
        }
    }
    // Many bytes of it are as good.
    let mut client = client().by_heads();
    ask(&mut client, post(b"line"));
    client.received(b"HTTP/1.1 200 OK\r\n\r\n", at(1));
    client.received(&[b'x'; 100_001], at(1));
    assert_eq!(answer(&mut client).status, 200);
    assert!(client.must_close());
}

#[test]
fn where_nobody_needs_a_body_one_that_can_be_read_keeps_the_connection() {
    for rest in ["Content-Length: 2\r\n\r\nhi", "Content-Encoding: br\r\nContent-Length: 2\r\n\r\nhi"] {
        let mut client = client().by_heads();
        ask(&mut client, post(b"line"));
        let whole = format!("HTTP/1.1 200 OK\r\n{rest}");
        let (start, last) = whole.as_bytes().split_at(whole.len() - 1);
        client.received(start, at(1));
        assert_eq!(client.due_in(at(1)), Some(at(1)), "it is waited for, and not for long");
        assert!(!client.has_result());
        client.received(last, at(1));
        assert_eq!(answer(&mut client).status, 200);
        assert!(!client.must_close(), "{rest}");
    }
}

#[test]
fn where_nobody_needs_a_body_a_success_before_all_was_sent_counts_no_more_than_elsewhere() {
    for end in ["", "reset", "later"] {
        let mut client = client().by_heads();
        client.begin(post(b"line"), at(0));
        client.connected(at(0));
        client.sent(20, at(0));
        client.received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", at(1));
        client.tick(at(3));
        assert!(!client.has_result());
        match end {
            "" => client.ended(at(3)),
            "reset" => client.lost(end, at(3)),
            _ => client.tick(at(30)),
        }
        trouble(&mut client);
        // And once all was, it does.
        let mut client = self::client().by_heads();
        client.begin(post(b"line"), at(0));
        client.connected(at(0));
        client.sent(20, at(0));
        client.received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", at(1));
        send(&mut client, at(5));
        assert_eq!(client.due_in(at(5)), Some(at(1)));
        client.tick(at(6));
        assert_eq!(answer(&mut client).status, 200);
    }
}

#[test]
fn an_answer_before_the_request_is_none() {
    let mut client = client();
    client.begin(get(), at(0));
    client.connected(at(0));
    client.received(OK, at(0));
    assert_eq!(trouble(&mut client).to_string(), "it speaks before it is asked: is it an HTTP server?");
}

fn redirect(status: u16, to: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Length: 5\r\n\r\nmoved").into_bytes()
}

#[test]
fn redirects_are_followed_on_the_same_server() {
    for status in [301, 302, 303, 307, 308] {
        let mut client = client_of("http://user:pass@h:81/log", RULES);
        assert!(ask(&mut client, get()).contains("\r\nAuthorization: Basic "));
        client.received(&redirect(status, "/a"), at(1));
        assert!(!client.must_close() && !client.wants_connection());
        assert!(send(&mut client, at(1)).starts_with("GET /a HTTP/1.1\r\n"));
        client.received(&redirect(status, "http://h:81/b/c?d"), at(2));
        assert!(send(&mut client, at(2)).starts_with("GET /b/c?d HTTP/1.1\r\n"));
        client.received(&redirect(status, "e"), at(3));
        let last = send(&mut client, at(3));
        assert!(last.starts_with("GET /b/e HTTP/1.1\r\n") && last.contains("\r\nAuthorization: Basic "), "{last}");
        client.received(OK, at(4));
        assert_eq!(answer(&mut client).url.target(), "/b/e");
        // The next request begins at the start.
        assert!(ask(&mut client, get()).starts_with("GET /log HTTP/1.1\r\n"));
        for hop in 0..4 {
            client.received(&redirect(status, &format!("/{hop}")), at(5));
            send(&mut client, at(5));
        }
        assert_eq!(trouble(&mut client).to_string(), "it redirects more than 3 times");
    }
}

#[test]
fn a_redirect_that_closes_is_dialled() {
    for (bytes, end) in [
        (&b"HTTP/1.1 302 Moved\r\nConnection: close\r\nLocation: /a\r\nContent-Length: 2\r\n\r\nhi"[..], false),
        (b"HTTP/1.1 302 Moved\r\nLocation: /a\r\n\r\nhi", true),
        (b"HTTP/1.1 302 Moved\r\nLocation: /a\r\nContent-Length: 9\r\n\r\nhi", true),
        (b"HTTP/1.1 302 Moved\r\nLocation: /a\r\nContent-Length: 2\r\n\r\nhi more", false),
    ] {
        let mut client = client();
        ask(&mut client, get());
        client.received(bytes, at(1));
        if end {
            client.ended(at(1));
        }
        assert!(client.must_close() && client.result().is_none(), "{}", bytes.escape_ascii());
        connect(&mut client);
        assert!(send(&mut client, at(1)).starts_with("GET /a HTTP/1.1\r\n"));
        client.received(OK, at(4));
        assert_eq!(answer(&mut client).body, b"hi");
    }
}

#[test]
fn a_redirect_elsewhere_is_not_followed() {
    assert_eq!(
        said(&redirect(301, "https://me:s3cret@h:81/log"), None).unwrap_err().to_string(),
        "it redirects to https://h:81/log, another server, which is not followed: give that URL instead"
    );
    assert!(said(&redirect(302, "//other/log"), None).is_err());
    // What is no redirect, and what is of a POST, is an answer.
    assert_eq!(said(&redirect(300, "//other/log"), None).unwrap().status, 300);
    assert_eq!(said(b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n", None).unwrap().status, 301);
    let mut client = client();
    ask(&mut client, post(b"x"));
    client.received(&redirect(307, "/a"), at(1));
    assert_eq!(answer(&mut client).head.header("Location"), Some("/a"));
}

#[test]
fn each_wait_ends() {
    // For a connection.
    let mut client = client();
    client.begin(get(), at(5));
    assert_eq!(client.due_in(at(6)), Some(at(29)));
    client.tick(at(34));
    assert!(client.result().is_none());
    client.tick(at(35));
    let found = trouble(&mut client);
    assert_eq!((found.is_slow(), found.to_string().as_str()), (true, "there was no connection in 30s"));
    assert_eq!(client.due_in(at(35)), None);
    client.connected(at(36));
    assert!(client.must_close(), "a late one is of no use");
    client.closed();
    // For who takes the request.
    client.begin(post(b"x"), at(0));
    client.connected(at(20));
    client.sent(1, at(20));
    assert_eq!(client.due_in(at(20)), Some(at(10)));
    client.tick(at(30));
    assert_eq!(trouble(&mut client).to_string(), "it took longer than 30s");
    // For a head: from when the request was sent.
    client.closed();
    client.begin(get(), at(0));
    client.connected(at(3));
    send(&mut client, at(5));
    client.received(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", at(14));
    assert_eq!(client.due_in(at(14)), Some(at(1)));
    client.tick(at(15));
    assert_eq!(trouble(&mut client).to_string(), "no answer began in 10s");
    // For a body.
    client.closed();
    ask(&mut client, get());
    client.received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", at(9));
    assert_eq!(client.due_in(at(29)), Some(at(1)));
    client.tick(at(30));
    assert_eq!(trouble(&mut client).to_string(), "it took longer than 30s");
    // For a redirect's body, and then for nothing more.
    client.closed();
    ask(&mut client, get());
    client.received(b"HTTP/1.1 302 Moved\r\nLocation: /a\r\nContent-Length: 2\r\n\r\nh", at(9));
    client.tick(at(30));
    assert_eq!(trouble(&mut client).to_string(), "it took longer than 30s");
}

#[test]
fn a_body_waits_for_room_where_that_is_asked_for() {
    let rules = Rules { asks_for_room: true, ..RULES };
    let begun = |head: &str| {
        let mut client = client_of("http://h/", rules);
        ask(&mut client, get());
        client.received(format!("HTTP/1.1 {head}\r\n\r\nhe").as_bytes(), at(1));
        client
    };
    for (head, wanted) in [
        ("200 OK\r\nContent-Length: 5", Some(5)),
        ("200 OK\r\nTransfer-Encoding: chunked", Some(100_000)),
        ("200 OK", Some(100_000)),
        ("200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5", Some(5 + 5 * 1032)),
        ("200 OK\r\nContent-Encoding: gzip", Some(200_000)),
        ("500 No\r\nContent-Length: 5", None),
        ("204 No Content", None),
    ] {
        assert_eq!(begun(head).room_wanted(), wanted, "{head}");
    }
    let mut client = begun("200 OK\r\nContent-Length: 5");
    client.grant(at(2));
    assert!(client.room_wanted().is_none() && client.result().is_none());
    client.received(b"llo", at(2));
    assert_eq!(answer(&mut client).body, b"hello");
    assert!(!client.must_close());
    // The connection may end before.
    for (head, end, expected) in [
        ("200 OK", "", Ok(&b"he"[..])),
        ("200 OK", "reset", Err(Trouble::Io("reset".to_owned()))),
        ("200 OK\r\nContent-Length: 2", "reset", Ok(b"he")),
        ("200 OK\r\nContent-Length: 5", "", Err(Trouble::Cut)),
    ] {
        let mut client = begun(head);
        if end.is_empty() {
            client.ended(at(2))
        } else {
            client.lost(end, at(2))
        }
        assert!(client.must_close());
        client.closed();
        assert!(!client.wants_connection() && client.room_wanted().is_some());
        client.grant(at(3));
        let found = client.result().unwrap().map(|answer| answer.body);
        assert_eq!(found, expected.map(<[u8]>::to_vec), "{head}");
        assert!(!client.wants_connection());
    }
    // Or none comes.
    let mut client = begun("200 OK");
    assert_eq!(client.due_in(at(2)), Some(at(28)));
    client.tick(at(30));
    assert_eq!(trouble(&mut client).to_string(), "there was no memory for its body in 30s: raise --memory");
    client.grant(at(31));
    assert!(client.is_idle());
}

#[test]
fn a_request_that_is_cancelled_has_no_late_answer() {
    let mut client = client();
    ask(&mut client, get());
    client.received(&OK[..20], at(1));
    client.cancel();
    assert!(client.is_idle() && client.must_close() && client.held() == 0 && client.due_in(at(1)).is_none());
    client.received(&OK[20..], at(1));
    client.ended(at(1));
    assert!(client.result().is_none());
    client.closed();
    ask(&mut client, get());
    client.received(OK, at(2));
    assert_eq!(answer(&mut client).body, b"hi");
    // One that is being dialled for.
    client.closed();
    client.begin(get(), at(3));
    client.cancel();
    assert!(client.must_close());
    client.closed();
    client.cancel();
    assert!(!client.must_close(), "there is nothing");
}

/// By `printf 'hello\n' | gzip -n`.
const HELLO: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9\xe7\x02\x00\x20\x30\x3a\x36\x06\x00\x00\x00";

fn gzip_of(status: &str, body: &[u8]) -> Result<Answer, Trouble> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Encoding: GZIP\r\nContent-Length: {}\r\n\r\n", body.len());
    said(&[head.as_bytes(), body].concat(), None)
}

#[test]
fn a_body_of_gzip_is_unpacked_and_bounded() {
    assert_eq!(gzip_of("200 OK", HELLO).unwrap().body, b"hello\n");
    assert_eq!(gzip_of("200 OK", &HELLO.repeat(3)).unwrap().body, b"hello\nhello\nhello\n");
    assert_eq!(gzip_of("200 OK", b"").unwrap().body, b"");
    let broken = "its body is not the gzip that its head says it is";
    assert_eq!(gzip_of("200 OK", b"hello").unwrap_err().to_string(), broken);
    for end in 1..HELLO.len() {
        assert_eq!(gzip_of("200 OK", &HELLO[..end]), Err(Trouble::NotGzip), "{end}");
    }
    assert_eq!(gzip_of("500 No", &HELLO[..HELLO.len() - 1]).unwrap().body, b"hello\n", "as far as it came");
    let found = gzip_of("206 Partial", HELLO).unwrap_err().to_string();
    assert_eq!(found, "its body is coded as gzip, which was not asked for");
    for coding in ["br", "gzip, gzip", "deflate"] {
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 2\r\n\r\nhi");
        assert!(matches!(said(bytes.as_bytes(), None), Err(Trouble::Coding(_))), "{coding}");
    }
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(body_of(bytes), b"hi");
}

/// A loop that unpacks has others to serve, too.
#[test]
fn a_large_body_is_unpacked_a_little_at_a_time() {
    // One after the other is a body as well, and has the sums of each.
    let members = HELLO.repeat(15_000);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", members.len());
    let mut client = client_of("http://h/", Rules { most_body: members.len(), ..RULES });
    ask(&mut client, get());
    client.received(&[head.as_bytes(), &members].concat(), at(1));
    let (mut steps, mut held) = (0, client.held());
    while client.due_in(at(1)).is_some() {
        assert_eq!(client.due_in(at(1)), Some(Duration::ZERO));
        client.tick(at(1));
        steps += 1;
        assert!(client.due_in(at(1)).is_none() || (client.held() >= held && client.held() < held + 200_000));
        held = held.max(client.held());
    }
    assert!((10..40).contains(&steps), "{steps}");
    assert_eq!(answer(&mut client).body, b"hello\n".repeat(15_000));
    assert!(!client.must_close());
    // Meanwhile the connection may end, or say more than it should, or all of it may take too long.
    for what in 0..4 {
        ask(&mut client, get());
        client.received(&[head.as_bytes(), &members].concat(), at(1));
        match what {
            0 => client.ended(at(1)),
            1 => client.lost("reset", at(1)),
            2 => client.received(b"x", at(1)),
            _ => {
                client.tick(at(30));
                assert!(client.result().unwrap().unwrap_err().is_slow());
                break;
            }
        }
        assert!(client.must_close());
        client.closed();
        assert!(!client.wants_connection());
        unpack(&mut client, at(1));
        assert_eq!(answer(&mut client).body.len(), 90_000);
    }
}

/// 100 MB of zeros, in some 100 KB.
#[cfg(feature = "compress")]
#[test]
fn a_bomb_of_gzip_ends_at_the_cap() {
    let zeros = miniz_oxide::deflate::compress_to_vec(&vec![0; 100_000_000], 1);
    let bomb = [b"\x1f\x8b\x08\0\0\0\0\0\0\x03", &zeros[..]].concat();
    let rules = Rules { most_body: 1 << 20, ..RULES };
    for (status, expected) in [("200 OK", Err(Trouble::TooLong(1 << 20))), ("500 No", Ok(16_384))] {
        let mut client = client_of("http://h/", rules);
        ask(&mut client, Request { takes_gzip: true, ..get() });
        let head = format!("HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\n\r\n");
        let heap = allocation_counter::measure(|| {
            client.received(&[head.as_bytes(), &bomb].concat(), at(1));
            client.ended(at(1));
            unpack(&mut client, at(1));
        });
        assert_eq!(client.result().unwrap().map(|answer| answer.body.len()), expected);
        assert!(heap.bytes_max < 4 << 20, "{heap:?}");
    }
}

#[test]
fn no_secret_is_shown() {
    let url = Url::parse("http://us3r:s3cret@h/").unwrap();
    let mut client = Client::new(url, None, RULES);
    ask(&mut client, get());
    let shown = format!("{client:?}");
    assert!(shown.starts_with("http://h/ Open") && !shown.contains("s3cret") && !shown.contains("Basic"), "{shown}");
    client.received(OK, at(1));
    let shown = format!("{client:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("Basic"), "{shown}");
}
