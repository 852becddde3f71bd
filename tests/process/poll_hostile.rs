//! Pollers and servers that lie, hang, flood or are not there (P31): each is a sentence, once; it costs no line, no processor
//! time and no memory; and once the server is as it should be, its lines come by themselves.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::patience::connect;
use crate::support::conditions::{until, until_equal};
use crate::support::receiver::Receiver;
use crate::support::web::{Manners, Page, Visit, Web, answer, gzip, ok};

/// A server that does this as long as it is bad, and then has a page of two lines. It is said what it does, once, a client beside it
/// is served, its page comes once it is good, and nothing costs much.
fn assert_is_said_once_and_recovers(why: &str, args: &[&str], bad: impl Fn(&mut Visit) + Send + Sync + 'static) {
    let is_bad = Arc::new(AtomicBool::new(true));
    let still = Arc::clone(&is_bad);
    let web = Web::new(move |visit| {
        if still.load(Ordering::SeqCst) {
            return bad(visit);
        }
        while visit.request().is_some_and(|_| visit.send(ok("one\ntwo\n")).is_ok()) {}
    });
    let poll = web.poll("bad");
    let receiver = Receiver::start(&[&["--poll", &poll, "--poll-interval", "1s"], args].concat());
    let url = format!("http://{}/log", web.addr);
    receiver.until_said(&format!("[poll] bad: {url} brings nothing: {why}"));
    let mut client = receiver.client();
    client.write_all(b"of a client\n").unwrap();
    receiver.until_lines(&["of a client"]);
    let connections = web.connections();
    until("another try", || if web.connections() > connections { Ok(()) } else { Err(receiver.said()) });
    let ticks = receiver.cpu_ticks();
    assert!(ticks < 100, "{ticks} ticks of 10 ms so far");
    let peak = receiver.peak_kib();
    assert!(peak < 32 * 1024, "{peak} KiB");
    is_bad.store(false, Ordering::SeqCst);
    receiver.until_lines(&["of a client", "one", "two"]);
    receiver.until_said(&format!("[poll] bad: {url} is back after"));
    web.until_asked(2);
    assert_eq!(receiver.lines(), ["of a client", "one", "two"]);
    let said = receiver.said();
    assert_eq!(said.matches("brings nothing").count(), 1, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    receiver.stop().assert_clean();
}

#[test]
fn p31_an_endless_head() {
    assert_is_said_once_and_recovers("the head of its answer is longer than 16KiB", &[], |visit| {
        visit.request();
        let _ = visit.send("HTTP/1.1 200 OK\r\n");
        visit.send_for_ever(&b"X-Field: and so on\r\n".repeat(10));
    });
}

#[test]
fn p31_an_endless_body() {
    assert_is_said_once_and_recovers("its body is longer than 64KiB", &["--poll-max-response", "64KiB"], |visit| {
        visit.request();
        let _ = visit.send("HTTP/1.1 200 OK\r\n\r\n");
        visit.send_for_ever(&b"lines that do not end\n".repeat(100));
    });
}

#[test]
fn p31_a_body_in_endless_chunks() {
    assert_is_said_once_and_recovers("its body is longer than 64KiB", &["--poll-max-response", "64KiB"], |visit| {
        visit.request();
        let _ = visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        visit.send_for_ever(&b"5\r\nline\n\r\n".repeat(100));
    });
}

#[test]
fn p31_an_answer_byte_by_byte_takes_too_long() {
    assert_is_said_once_and_recovers(
        "it took longer than 1s; see --poll-timeout",
        &["--poll-timeout", "1s"],
        |visit| {
            visit.request();
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
            for byte in head.iter().chain([b'x'; 100_000].iter()) {
                // A sleep that is input: a slow server.
                std::thread::sleep(std::time::Duration::from_millis(20));
                if visit.send([*byte]).is_err() {
                    return;
                }
            }
        },
    );
}

#[test]
fn p31_an_answer_that_never_begins() {
    assert_is_said_once_and_recovers(
        "it took longer than 1s; see --poll-timeout",
        &["--poll-timeout", "1s"],
        |visit| {
            visit.request();
            visit.say_nothing();
        },
    );
}

#[test]
fn p31_a_length_that_is_wrong() {
    assert_is_said_once_and_recovers(
        "the connection ended in the middle of the answer: nothing of it was taken",
        &[],
        |visit| {
            visit.request();
            let _ = visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot so long\n");
        },
    );
}

#[test]
fn p31_two_lengths() {
    assert_is_said_once_and_recovers("its answer ", &[], |visit| {
        visit.request();
        let _ = visit.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nline\n\n");
    });
}

#[test]
fn p31_a_connection_that_closes_without_a_word() {
    assert_is_said_once_and_recovers("it closed the connection without an answer", &[], |visit| {
        visit.request();
    });
}

#[test]
fn p31_a_connection_that_is_reset_in_the_middle() {
    assert_is_said_once_and_recovers("Connection reset by peer", &[], |visit| {
        visit.request();
        let _ = visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nnot so long\n");
        let stream = visit.stream.try_clone().unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    });
}

#[test]
fn p31_redirects_in_a_circle() {
    assert_is_said_once_and_recovers("it redirects more than 3 times", &[], |visit| {
        while visit.request().is_some() {
            let _ = visit.send(answer("302 Found", "Location: /log?again\r\n", b""));
        }
    });
}

#[test]
fn p31_a_redirect_to_another_server() {
    assert_is_said_once_and_recovers(
        "it redirects to http://127.0.0.2:81/x, another server, which is not followed: give that URL instead",
        &[],
        |visit| {
            while visit.request().is_some() {
                let _ = visit.send(answer("301 Moved", "Location: http://127.0.0.2:81/x\r\n", b""));
            }
        },
    );
}

#[test]
fn p31_an_error_of_the_server() {
    assert_is_said_once_and_recovers("it answered 503", &[], |visit| {
        visit.request();
        let _ = visit.send(answer("503 Busy", "", b"no lines of this are taken\n"));
    });
}

#[test]
fn p31_a_storm_of_interim_answers() {
    assert_is_said_once_and_recovers("its answer ", &[], |visit| {
        visit.request();
        visit.send_for_ever(b"HTTP/1.1 100 Continue\r\n\r\n");
    });
}

#[test]
fn p31_gzip_that_unpacks_to_far_more() {
    let bomb = gzip(&vec![b'\n'; 64 << 20]);
    assert_is_said_once_and_recovers(
        "its body is longer than 64KiB",
        &["--poll-max-response", "64KiB"],
        move |visit| {
            visit.request();
            let _ = visit.send(answer("200 OK", "Content-Encoding: gzip\r\n", &bomb));
        },
    );
}

#[test]
fn p31_gzip_that_is_none() {
    assert_is_said_once_and_recovers("its body is not the gzip that its head says it is", &[], |visit| {
        visit.request();
        let _ = visit.send(answer("200 OK", "Content-Encoding: gzip\r\n", b"these are plain lines\n"));
    });
}

#[test]
fn p31_an_answer_before_the_request() {
    assert_is_said_once_and_recovers("it ", &[], |visit| {
        let _ = visit.send("220 mail.example ESMTP, which speaks first\r\n");
        visit.say_nothing();
    });
}

#[test]
fn p31_tls_on_the_port() {
    assert_is_said_once_and_recovers("it seems to speak TLS: give https://, or the port of plain HTTP", &[], |visit| {
        visit.request();
        // The alert of OpenSSL to a request in plain text.
        let _ = visit.send(b"\x15\x03\x01\x00\x02\x02\x46");
    });
}

#[test]
fn p31_a_protocol_that_is_another() {
    assert_is_said_once_and_recovers("it does not speak HTTP/1.1: it begins with SSH-2.0", &[], |visit| {
        visit.request();
        let _ = visit.send("SSH-2.0-OpenSSH_9.2\r\n");
        visit.say_nothing();
    });
}

#[test]
fn p31_more_than_was_asked_for_is_no_line_of_another_answer() {
    let web = Web::new(|visit| {
        while visit.request().is_some() {
            let twice = [ok("one\n"), ok("of nobody\n")].concat();
            if visit.send(twice).is_err() {
                return;
            }
        }
    });
    let receiver = Receiver::start(&["--poll", &web.poll("gw"), "--poll-interval", "1s"]);
    receiver.until_lines(&["one"]);
    web.until_asked(2);
    assert_eq!(receiver.lines(), ["one"]);
    receiver.stop().assert_clean();
}

#[test]
fn p31_a_port_at_which_nobody_listens_and_then_somebody_does() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let poll = format!("gw=http://{addr}/");
    let receiver = Receiver::start(&["--poll", &poll, "--poll-interval", "1s"]);
    receiver.until_said(&format!("[poll] gw: http://{addr}/ brings nothing: "));
    receiver.until_said("Connection refused");
    let listener = TcpListener::bind(addr).unwrap();
    let mut stream: TcpStream = crate::common::patience::accept(&listener);
    stream.write_all(&ok("it is there\n")).unwrap();
    receiver.until_lines(&["it is there"]);
    receiver.until_said("is back after");
    receiver.stop().assert_clean();
}

/// While all of these are as bad as they can be, and nothing is due, nothing costs anything.
#[test]
fn p31_bad_servers_cost_nothing_between_two_tries() {
    let silent = Web::new(|visit| {
        visit.request();
        visit.say_nothing();
    });
    let half = Web::new(|visit| {
        visit.request();
        let _ = visit.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf of it\n");
        visit.say_nothing();
    });
    let closing = Web::new(|visit| {
        visit.request();
    });
    let speaking = Web::new(|visit| {
        let _ = visit.send("220 it speaks first\r\n");
        visit.say_nothing();
    });
    let finished = Web::new(|visit| {
        visit.request();
        let _ = visit.send(ok("a page\n"));
        let _ = visit.stream.shutdown(Shutdown::Write);
        visit.say_nothing();
    });
    let kept = Page::new(Manners::Plain, "a page too\n");
    let polls = [
        silent.poll("silent"),
        half.poll("half"),
        closing.poll("closing"),
        speaking.poll("speaking"),
        finished.poll("finished"),
        kept.web.poll("kept"),
        "refused=http://127.0.0.1:1/".to_owned(),
        "unknown=http://no-such-host.invalid/".to_owned(),
    ];
    let mut args = vec!["--poll-interval", "1m", "--poll-timeout", "1m"];
    polls.iter().for_each(|poll| args.extend(["--poll", poll]));
    let receiver = Receiver::start(&args);
    for name in ["closing", "speaking", "refused", "unknown"] {
        receiver.until_said(&format!("[poll] {name}: http://"));
    }
    until("both pages", || {
        let lines = receiver.lines();
        if lines.len() == 2 { Ok(()) } else { Err(format!("{lines:?}")) }
    });
    until_equal("both are asked", &(1, 1), || (silent.asked().len(), half.asked().len()));
    receiver.assert_rests("beside bad servers");
    let mut client = connect(receiver.addr);
    client.write_all(b"of a client\n").unwrap();
    until("the client's line", || if receiver.lines().len() == 3 { Ok(()) } else { Err(String::new()) });
    drop(client);
    let begun = std::time::Instant::now();
    receiver.stop().assert_clean();
    assert!(begun.elapsed() < std::time::Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// Room goes by what is announced: some is kept for pages that are small.
#[test]
fn p31_servers_that_announce_much_and_send_nothing_do_not_keep_small_pages_out() {
    let hanging: Vec<Web> = (0..20)
        .map(|_| {
            Web::new(|visit| {
                visit.request();
                let _ = visit.send("HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n");
                // Until the other side closes.
                visit.request();
            })
        })
        .collect();
    let small = Page::new(Manners::Plain, "one\n");
    let polls: Vec<String> = hanging.iter().enumerate().map(|(at, web)| web.poll(&format!("p{at}"))).collect();
    let mut args = vec!["--memory", "16MiB", "--poll-timeout", "10m", "--poll-interval", "1s"];
    polls.iter().for_each(|poll| args.extend(["--poll", poll]));
    let poll = small.web.poll("small");
    let receiver = Receiver::start(&[&args[..], &["--poll", &poll]].concat());
    until("all are asked", || {
        let asked = hanging.iter().filter(|web| !web.asked().is_empty()).count();
        if asked == hanging.len() { Ok(()) } else { Err(format!("{asked}")) }
    });
    let mut page = "one\n".to_owned();
    for line in ["two", "three", "four"] {
        page += &format!("{line}\n");
        small.set(&page);
        until("the small page", || {
            let lines = receiver.lines();
            if lines.iter().any(|one| one == line) { Ok(()) } else { Err(format!("{lines:?}")) }
        });
    }
    assert!(receiver.peak_kib() < 32 * 1024, "{} KiB", receiver.peak_kib());
    receiver.stop().assert_clean();
}
