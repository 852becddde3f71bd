//! What a plan does with every kind of answer, as talks: lines in, requests out, answers in, and what is told then.

use core::time::Duration;

use super::address::Address;
use super::answer::Reason;
use super::lines::Line;
use super::plan::{Event, Plan, Position, Settings, Step};
use super::store::{Labels, Store};
use crate::engine::gap::Why;
use crate::engine::peer::Peer;
use crate::http::{Answer, Client, Request, Rules, Trouble, Url};

const LOKI: &str = "loki+http://h";
const ELASTIC: &str = "elastic+http://h/logs";
const CLICKHOUSE: &str = "clickhouse+http://h/?query=INSERT";
const NDJSON: &str = "http://h/in";
/// 2026-11-27, in milliseconds.
const THEN: u64 = 1_795_737_600_000;

/// A plan, and a clock.
struct Talk {
    plan: Plan,
    now: Duration,
    marks: bool,
    told: Vec<Event>,
}

impl Talk {
    fn with(url: &str, settings: Settings, position: Option<Position>, seq: bool) -> Self {
        let address = Address::parse(url).unwrap().unwrap();
        let labels = Labels { box_name: "gw\"7".to_owned(), id: "b0".to_owned() };
        // As it is, so that it can be read here.
        let headers = [("Content-Encoding".to_owned(), "identity".to_owned())];
        let plan = Plan::new(Store::new(&address, labels, headers.to_vec(), seq), settings, position);
        Self { plan, now: Duration::ZERO, marks: true, told: Vec::new() }
    }

    fn new(url: &str) -> Self {
        Self::with(url, settings(1 << 20), None, false)
    }

    /// Takes lines of these numbers, each as text of its number.
    fn lines(&mut self, numbers: impl IntoIterator<Item = u64>) -> usize {
        numbers.into_iter().take_while(|number| self.line(*number, THEN, &text(*number))).count()
    }

    fn line(&mut self, number: u64, wall_ms: u64, text: &str) -> bool {
        let peer = Some(Peer::V4 { ip: [10, 0, 0, 1], port: 4 });
        let peer = peer.filter(|_| wall_ms > 0);
        self.plan.take(&Line { number, wall_ms, peer, bytes: format!("{text}\n").as_bytes() }, self.now)
    }

    /// What is sent next, whenever that is; what is to be noted before is noted.
    fn request(&mut self) -> Option<Request> {
        let wait = self.plan.due_in(self.now, false);
        self.now += wait.unwrap_or_default();
        loop {
            let step = self.plan.next(self.now, false);
            self.settle();
            match step? {
                Step::Send(request, _) => return Some(request),
                Step::Note(_) => self.plan.noted(),
            }
        }
    }

    fn body(&mut self) -> String {
        String::from_utf8(self.request().expect("nothing is sent").body).unwrap()
    }

    fn answer(&mut self, answer: &str) {
        self.plan.answered(answered(answer), self.now, 0);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(event) = self.plan.next_event() {
            if matches!(event, Event::Dropped { .. }) {
                self.plan.mark(if self.marks { b"{\"ts\":\"gap\"}\n" } else { b"" });
            }
            self.told.push(event);
        }
    }

    fn acked(&self) -> u64 {
        let acked = self.told.iter().rev().find_map(|event| match event {
            Event::Acked(position, _) => Some(position.acked),
            _ => None,
        });
        acked.unwrap_or_default()
    }

    /// How many lines were dropped, and what was said of them.
    fn dropped(&self) -> (u64, Vec<(Why, &str)>) {
        let dropped = self.told.iter().filter_map(|event| match event {
            Event::Dropped { lines, why, sentence, .. } => Some((*lines, (*why, sentence.as_str()))),
            _ => None,
        });
        let (lines, why): (Vec<u64>, Vec<_>) = dropped.unzip();
        (lines.iter().sum(), why)
    }

    fn troubles(&self) -> Vec<&str> {
        let mut troubles = Vec::new();
        for event in &self.told {
            if let Event::Trouble(why) = event {
                troubles.push(why.as_str());
            }
        }
        troubles
    }
}

fn settings(most: usize) -> Settings {
    Settings { most, every: Duration::from_secs(1), is_noted: true }
}

fn text(number: u64) -> String {
    format!("{{\"ts\":\"t\",\"line\":\"{number}\"}}")
}

/// What a client makes of `STATUS [FIELD: VALUE…] | BODY`, of `cut`, and of an answer that is too `long`.
pub(super) fn answered(answer: &str) -> Result<Answer, Trouble> {
    if answer == "cut" {
        return Err(Trouble::Cut);
    }
    if answer == "long" {
        return Err(Trouble::TooLong(1 << 20));
    }
    let (head, body) = answer.split_once('|').unwrap_or((answer, ""));
    let (status, fields) = head.trim().split_once(' ').unwrap_or((head.trim(), ""));
    let fields: String =
        fields.split(';').filter(|field| !field.is_empty()).map(|field| format!("{field}\r\n")).collect();
    let body = body.trim();
    let whole = format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len());
    let second = Duration::from_secs(1);
    let rules = Rules { head: second, whole: second, most_body: 1 << 20, asks_for_room: false };
    let mut client = Client::new(Url::parse("http://h/").unwrap(), None, rules);
    client.begin(Request::default(), Duration::ZERO);
    client.connected(Duration::ZERO);
    let count = client.unsent().iter().map(|part| part.len()).sum();
    client.sent(count, Duration::ZERO);
    client.received(whole.as_bytes(), Duration::ZERO);
    client.result().unwrap()
}

/// The lines of a body of JSON, by their numbers.
fn numbers(body: &str) -> Vec<u64> {
    let digits = body.split("\"line\":\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    digits.map(|digits| digits.parse().unwrap()).collect()
}

#[test]
fn p30_lines_wait_for_others_until_there_are_enough_or_for_so_long() {
    let mut talk = Talk::with(NDJSON, settings(4096), None, false);
    talk.lines(1..=2);
    assert_eq!(talk.plan.due_in(talk.now, false), Some(Duration::from_secs(1)));
    assert_eq!(talk.plan.due_in(talk.now, true), Some(Duration::ZERO), "at the end nothing waits");
    assert_eq!(talk.body(), format!("{}\n{}\n", text(1), text(2)));
    assert_eq!((talk.now, talk.plan.due_in(talk.now, false)), (Duration::from_secs(1), None), "one at a time");
    talk.lines(3..=4);
    talk.answer("204");
    assert_eq!((talk.acked(), talk.plan.due_in(talk.now, false)), (2, Some(Duration::from_secs(1))));
    let taken = talk.lines(5..1000);
    assert!(taken < 900 && talk.plan.due_in(talk.now, false) == Some(Duration::ZERO), "it is full");
    let body = talk.body();
    assert!(body.len() <= 4096 && numbers(&body).first() == Some(&3), "{}", body.len());
}

#[test]
fn p30_what_may_pass_is_tried_again_with_growing_pauses_and_the_same_bytes() {
    let mut talk = Talk::new(NDJSON);
    talk.lines(1..=3);
    let first = talk.body();
    let mut pauses = Vec::new();
    for answer in ["503", "cut", "429", "408", "500", "502", "503", "504", "599", "503"] {
        let before = talk.now;
        talk.answer(answer);
        assert_eq!(talk.body(), first);
        pauses.push((talk.now - before).as_millis());
    }
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    assert_eq!(
        talk.troubles(),
        [
            "it answers 429 Too Many Requests",
            "it answers 504 Gateway Timeout",
            "it answers 599",
            "it answers 503 Service Unavailable"
        ],
        "not the first two, and one a minute"
    );
    talk.answer("200");
    assert_eq!((talk.acked(), talk.dropped().0), (3, 0));
}

#[test]
fn p30_a_store_says_how_long_it_wants_to_be_left_alone() {
    for (answer, seconds) in [
        ("429 Retry-After: 7", 7),
        ("503 Retry-After: 100000", 300),
        ("503 Date: Sun, 06 Nov 1994 08:49:37 GMT;Retry-After: Sun, 06 Nov 1994 08:49:57 GMT", 20),
    ] {
        let mut talk = Talk::new(LOKI);
        talk.lines(1..=3);
        talk.request();
        let before = talk.now;
        talk.answer(answer);
        talk.request().unwrap();
        assert_eq!(talk.now - before, Duration::from_secs(seconds), "{answer}");
        assert_eq!(talk.troubles().len(), 1, "so long that it is said at once");
    }
}

#[test]
fn p30_a_store_that_refuses_everything_loses_no_line() {
    for status in ["400", "422", "413", "401", "403", "404", "405", "415", "300"] {
        for url in [LOKI, NDJSON, ELASTIC, CLICKHOUSE] {
            let mut talk = Talk::new(url);
            talk.lines(1..=100);
            for _ in 0..200 {
                talk.request().unwrap();
                talk.answer(status);
            }
            assert!(talk.now > Duration::from_secs(3600), "{url} {status}: it is left alone");
            assert_eq!((talk.acked(), talk.dropped().0), (0, 0), "{url} {status}");
            assert_eq!(talk.troubles().len(), 1, "{url} {status}: {:?}", talk.troubles());
            // And when it takes them, all are there.
            let mut count = 0;
            while let Some(request) = talk.request() {
                count += numbers(&String::from_utf8(request.body).unwrap().replace('\\', "")).len();
                talk.answer("200 | {\"errors\":false}");
            }
            assert_eq!((count, talk.acked()), (100, 100), "{url} {status}");
        }
    }
}

#[test]
fn p30_a_store_that_has_taken_lines_and_refuses_all_of_a_sudden_loses_a_hundred_at_most() {
    let mut talk = Talk::new(NDJSON);
    talk.marks = false;
    talk.lines(1..=1000);
    talk.request();
    talk.answer("200");
    talk.lines(1001..=3000);
    for _ in 0..3000 {
        talk.request().unwrap();
        talk.answer("400");
    }
    assert_eq!((talk.acked(), talk.dropped().0), (1100, 100));
    let told = "it answers 400 Bad Request, and 100 lines in a row were dropped for that";
    assert_eq!(talk.troubles(), [told]);
}

#[test]
fn p30_the_line_that_is_refused_is_found_and_a_mark_takes_its_place() {
    for bad in [1, 2, 50, 99, 100] {
        let mut talk = Talk::with(NDJSON, settings(1 << 20), Some(Position { acked: 1, sequence: 1 }), false);
        talk.lines(1..=100);
        let (mut taken, mut requests) = (Vec::new(), 0);
        while let Some(request) = talk.request() {
            requests += 1;
            let body = String::from_utf8(request.body).unwrap();
            let has_bad = numbers(&body).contains(&bad);
            if !has_bad {
                taken.extend(body.lines().map(str::to_owned));
            }
            talk.answer(if has_bad { "400" } else { "200" });
        }
        let wanted: Vec<String> =
            (1..=100).map(|number| if number == bad { "{\"ts\":\"gap\"}".to_owned() } else { text(number) }).collect();
        assert_eq!(taken, wanted, "{bad}");
        assert_eq!((talk.acked(), talk.dropped()), (100, (1, vec![(Why::Refused, "it answers 400 Bad Request")])));
        assert!(requests < 20, "{requests}");
    }
}

#[test]
fn p30_too_much_at_once_is_halved_and_stays_so_and_a_line_that_never_fits_is_dropped() {
    let mut talk = Talk::new(NDJSON);
    talk.marks = false;
    talk.lines(1..=20);
    talk.line(21, THEN, &"x".repeat(600));
    talk.lines(22..=40);
    let (mut sizes, mut taken) = (Vec::new(), 0);
    while let Some(request) = talk.request() {
        sizes.push(request.body.len());
        let fits = request.body.len() <= 500;
        taken += if fits { request.body.iter().filter(|byte| **byte == b'\n').count() } else { 0 };
        talk.answer(if fits { "200" } else { "413" });
    }
    assert_eq!((taken, talk.acked()), (39, 40));
    assert_eq!(talk.dropped(), (1, vec![(Why::Payload, "it answers 413 Content Too Large")]));
    assert_eq!(sizes.iter().filter(|size| **size > 500).count(), 3, "{sizes:?}");
    // It is remembered for lines to come.
    talk.lines(41..=100);
    assert!(talk.body().len() <= 500);
}

#[test]
fn p30_a_bulk_answer_that_is_too_long_makes_the_next_batch_smaller() {
    let mut talk = Talk::new(ELASTIC);
    talk.lines(1..=100);
    let (mut counts, mut found) = (Vec::new(), Vec::new());
    while let Some(request) = talk.request() {
        let own = numbers(&String::from_utf8(request.body).unwrap());
        counts.push(own.len());
        assert!(counts.len() < 50, "{counts:?}");
        // Somebody between us has lost the filter.
        talk.answer(if own.len() > 30 { "long" } else { "200 | {\"errors\":false}" });
        found.extend(if own.len() > 30 { Vec::new() } else { own });
    }
    assert_eq!((found, talk.acked()), ((1..=100).collect(), 100));
    assert_eq!(counts.iter().filter(|count| **count > 30).count(), 2, "{counts:?}");
    assert!(talk.troubles().is_empty() && talk.now <= Duration::from_secs(2), "nobody had to wait for it");
}

#[test]
fn p30_a_bulk_answer_that_is_too_long_for_one_line_is_said_and_loses_nothing() {
    let mut talk = Talk::with(ELASTIC, settings(1 << 20), Some(Position { acked: 1, sequence: 1 }), false);
    talk.lines(2..=9);
    for _ in 0..20 {
        talk.request().unwrap();
        talk.answer("long");
    }
    let why = "its answer to a single line is longer than one of _bulk can be: is the path right?";
    assert_eq!((talk.troubles(), talk.acked(), talk.dropped().0), (vec![why], 0, 0));
    assert!(talk.now > Duration::from_secs(300), "it is left alone");
    assert_eq!(numbers(&talk.body()), [2]);
    talk.answer("200 | {\"errors\":false}");
    assert_eq!(numbers(&talk.body()), [3, 4, 5, 6, 7, 8, 9], "and then it was about something else");
}

#[test]
fn p30_a_413_that_was_not_about_size_does_not_stay() {
    for has_taken in [false, true] {
        for passes_after in [12, 14, 50, 110, 150] {
            let mut talk = Talk::new(NDJSON);
            talk.marks = false;
            if has_taken {
                talk.lines([1]);
                talk.request();
                talk.answer("200");
            }
            // Lines of as many bytes.
            talk.lines(10_000..=10_600);
            for _ in 0..passes_after {
                talk.request().unwrap();
                talk.answer("413");
            }
            let alone = numbers(&talk.body());
            assert_eq!(alone.len(), 1, "{has_taken} {passes_after}: as one that did not get through");
            talk.answer("200");
            let rest: Vec<u64> = (alone[0] + 1..=10_600).collect();
            assert_eq!(numbers(&talk.body()), rest, "{has_taken} {passes_after}");
            talk.answer("200");
            assert_eq!(talk.acked(), 10_600);
        }
    }
}

#[test]
fn p30_loki_gets_a_stream_for_each_host_and_times_that_rise() {
    let mut talk = Talk::with(LOKI, settings(1 << 20), None, true);
    talk.line(1, THEN, "a\"b\u{7}");
    talk.plan
        .take(&Line { number: 2, wall_ms: THEN, peer: Some(Peer::Unix { serial: 7 }), bytes: b"u\xff\n" }, talk.now);
    talk.line(3, THEN, "c");
    talk.line(4, 0, "mark");
    talk.line(5, THEN + 1, "d");
    let request = talk.request().unwrap();
    assert_eq!(request.target.as_deref(), Some("/loki/api/v1/push"));
    let then = format!("{THEN}00000");
    let wanted = format!(
        "{{\"streams\":[\
         {{\"stream\":{{\"job\":\"lumberjack\",\"box\":\"gw\\\"7\",\"host\":\"10.0.0.1\"}},\"values\":[\
         [\"{then}0\",\"a\\\"b\\u0007\",{{\"seq\":\"1\"}}],[\"{then}2\",\"c\",{{\"seq\":\"3\"}}],[\"{}000000\",\"d\",{{\"seq\":\"5\"}}]]}},\
         {{\"stream\":{{\"job\":\"lumberjack\",\"box\":\"gw\\\"7\",\"host\":\"unix\"}},\"values\":[[\"{then}1\",\"u\u{fffd}\",{{\"seq\":\"2\"}}]]}},\
         {{\"stream\":{{\"job\":\"lumberjack\",\"box\":\"gw\\\"7\"}},\"values\":[[\"{then}3\",\"mark\",{{\"seq\":\"4\"}}]]}}]}}",
        THEN + 1
    );
    assert_eq!(String::from_utf8(request.body).unwrap(), wanted);
    talk.answer("204");
    let position = Position { acked: 5, sequence: (THEN + 1) * 1_000_000 };
    assert_eq!(talk.told, [Event::Takes(None), Event::Acked(position, talk.told_bytes())]);
    // The next process goes on behind that time.
    let mut next = Talk::with(LOKI, settings(1 << 20), Some(position), false);
    next.line(6, THEN, "e");
    assert!(next.body().contains(&format!("[\"{}000001\",\"e\"]", THEN + 1)));
}

impl Talk {
    fn told_bytes(&self) -> u64 {
        self.told.iter().map(|event| if let Event::Acked(_, bytes) = event { *bytes } else { 0 }).sum()
    }
}

#[test]
fn p30_a_clock_that_was_never_set_or_was_far_ahead_spoils_no_later_time() {
    let nanos = |before: u64, walls: &[u64]| -> Vec<u64> {
        let position = Position { acked: 1, sequence: before };
        let mut talk = Talk::with(LOKI, settings(1 << 20), Some(position), false);
        walls.iter().zip(2..).for_each(|(wall, number)| assert!(talk.line(number, *wall, "x")));
        let body = talk.body();
        body.split("[\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
    };
    let at = THEN * 1_000_000;
    assert_eq!(nanos(at, &[5_000, THEN + 1]), [at + 1, at + 1_000_000], "1970, after a start");
    assert_eq!(nanos(at, &[THEN - 60_000]), [at + 1], "put back a little");
    assert_eq!(nanos(at + 400_000_000_000_000_000, &[THEN, THEN]), [at, at + 1], "the clock was wrong before");
}

#[test]
fn p30_the_mark_that_is_first_of_all_has_the_time_of_the_next_line() {
    let mut talk = Talk::new(LOKI);
    assert!(talk.line(3, 0, "mark"));
    assert_eq!(talk.request().map(drop), None);
    talk.line(4, THEN, "line");
    let body = talk.body();
    assert!(body.contains(&format!("[\"{THEN}000000\",\"mark\"]")), "{body}");
    assert!(body.contains(&format!("[\"{THEN}000001\",\"line\"]")), "{body}");
}

#[test]
fn p30_elasticsearch_says_of_each_line_what_became_of_it() {
    let mut talk = Talk::new(ELASTIC);
    talk.lines(1..=5);
    let request = talk.request().unwrap();
    assert_eq!(request.target.as_deref(), Some("/logs/_bulk?filter_path=errors,items.*.status"));
    let body = String::from_utf8(request.body).unwrap();
    assert!(
        body.starts_with("{\"create\":{\"_id\":\"b0-1\"}}\n{\"@timestamp\":\"t\",\"line\":\"1\"}\n{\"create\":"),
        "{body}"
    );
    let items = |statuses: &[u16]| {
        let items: Vec<String> =
            statuses.iter().map(|status| format!("{{\"create\":{{\"status\":{status}}}}}")).collect();
        format!("200 | {{\"errors\":true,\"items\":[{}]}}", items.join(","))
    };
    talk.answer(&items(&[201, 400, 409, 429, 201]));
    assert_eq!(talk.dropped(), (1, vec![(Why::Refused, "it answers 400 Bad Request for a line")]));
    // The mark of the second, then what is not settled: of the fifth the store knows that it has it.
    let body = talk.body();
    let lines: Vec<&str> = body.lines().collect();
    assert_eq!(lines[0], "{\"create\":{\"_id\":\"b0-2\"}}");
    assert_eq!((lines[1], numbers(&body)), ("{\"@timestamp\":\"gap\"}", vec![4, 5]));
    talk.answer(&items(&[201, 503, 409]));
    assert_eq!(numbers(&talk.body()), [4, 5]);
    talk.answer(&items(&[404, 409]));
    assert_eq!((talk.acked(), numbers(&talk.body())), (3, vec![4, 5]));
    for none in ["200 | {}", "200 | <html>", "200", "200 | {\"errors\":true,\"items\":[{\"create\":{\"status\":201}}]}"]
    {
        talk.answer(none);
        assert_eq!((talk.acked(), numbers(&talk.body())), (3, vec![4, 5]), "{none}: nobody said that they are there");
    }
    // What is said of a line counts more than what is said of all.
    talk.answer(&items(&[429, 201]).replace("true", "false"));
    assert_eq!((talk.acked(), numbers(&talk.body())), (3, vec![4, 5]));
    talk.answer("200 | {\"took\":3, \"errors\": false, \"items\":[]}");
    assert_eq!((talk.acked(), talk.dropped().0), (5, 1));
}

#[test]
fn p30_a_sentence_has_no_word_of_the_store() {
    // As one that sends back what it was sent.
    for trouble in [Trouble::NotHttp("POST /in?password=s3cret".to_owned()), Trouble::Coding("s3cret".to_owned())] {
        let sentence = Reason::Trouble(trouble).to_string();
        assert!(sentence.len() > 20 && !sentence.contains("s3cret"), "{sentence}");
    }
}

#[test]
fn p30_clickhouse_gets_a_token_of_what_is_written_down_before() {
    let mut talk = Talk::new(CLICKHOUSE);
    talk.lines(1..=3);
    talk.now += Duration::from_secs(1);
    let Some(Step::Note(position)) = talk.plan.next(talk.now, false) else { panic!("nothing is noted") };
    assert_eq!(position, Position { acked: 0, sequence: 3 });
    assert!(talk.plan.next(talk.now, false).is_none(), "before it is on the disk");
    talk.plan.noted();
    let token = "/?query=INSERT&async_insert=0&insert_deduplication_token=b0-1-3";
    assert_eq!(talk.request().unwrap().target.as_deref(), Some(token));
    talk.lines(4..=6);
    for answer in ["cut", "200 X-ClickHouse-Exception-Code: 241", "200 | Code: 241. DB::Exception: x"] {
        talk.answer(answer);
        let request = talk.request().unwrap();
        assert_eq!((request.target.as_deref(), talk.acked()), (Some(token), 0), "{answer}");
        assert_eq!(numbers(&String::from_utf8(request.body).unwrap()), [1, 2, 3], "the same batch");
    }
    talk.answer("200");
    assert_eq!(talk.acked(), 3);
    // After a kill: the same batch, and not one line more, however many there are.
    let mut next = Talk::with(CLICKHOUSE, settings(1 << 20), Some(position), false);
    assert_eq!(next.lines(1..=6), 3);
    assert_eq!(next.plan.due_in(next.now, false), Some(Duration::ZERO));
    let request = next.request().unwrap();
    assert_eq!(request.target.as_deref(), Some(token));
    assert_eq!(numbers(&String::from_utf8(request.body).unwrap()), [1, 2, 3]);
    next.answer("200");
    next.lines(4..=6);
    assert!(next.request().unwrap().target.unwrap().ends_with("b0-4-6"));
}

#[test]
fn p30_what_was_written_down_and_is_gone_holds_nothing_up() {
    let position = Some(Position { acked: 3, sequence: 9 });
    let mut talk = Talk::with(CLICKHOUSE, settings(1 << 20), position, false);
    assert_eq!(talk.lines([4, 5, 12]), 2);
    let request = talk.request().unwrap();
    assert!(request.target.unwrap().ends_with("b0-4-9"), "under its name, with what is left of it");
    talk.answer("200");
    assert_eq!(talk.lines([12]), 1);
    assert!(talk.request().unwrap().target.unwrap().ends_with("-12"));
    let mut talk = Talk::with(CLICKHOUSE, settings(1 << 20), position, false);
    assert_eq!((talk.lines([12]), talk.request().is_none(), talk.lines([12])), (0, true, 1));
    assert!(talk.request().unwrap().target.unwrap().ends_with("-12"));
}

#[test]
fn p30_lines_that_the_format_leaves_out_count_as_there() {
    let mut talk = Talk::new(NDJSON);
    talk.plan.take(&Line { number: 1, wall_ms: THEN, peer: None, bytes: b"" }, talk.now);
    assert!(talk.request().is_none());
    assert_eq!(talk.acked(), 1);
}
