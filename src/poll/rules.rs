//! The poller, rule by rule: what it asks after what a server answered, and which lines it hands out.

use std::time::Duration;

use super::{News, Poller, Settings};
use crate::http::{Client, Rules, Trouble, Url};

const INTERVAL: Duration = Duration::from_secs(5);

fn settings() -> Settings {
    Settings {
        name: "box".to_owned(),
        url: Url::parse("http://user:pass@device/log?n=20").unwrap(),
        interval: INTERVAL,
        timeout: Duration::from_secs(30),
        most_body: 1 << 20,
        most_seen: 100,
        starts_new: false,
    }
}

/// An answer with these fields and this body.
fn answer(status: u16, fields: &str, body: &str) -> Vec<u8> {
    let fields: String = fields.split_terminator('|').map(|field| format!("{field}\r\n")).collect();
    format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn page(body: &str) -> Vec<u8> {
    answer(200, "", body)
}

/// A poller whose other side is the test.
struct Talk {
    poller: Poller,
    client: Client,
    now: Duration,
    /// The head of the last request.
    asked: String,
}

fn client_of(settings: &Settings) -> Client {
    let most_body = settings.most_body;
    let rules = Rules { head: settings.timeout, whole: settings.timeout, most_body, asks_for_room: false };
    Client::new(settings.url.clone(), None, rules)
}

impl Talk {
    fn of(settings: Settings, stored: Option<&[u8]>) -> Self {
        let client = client_of(&settings);
        let (poller, refusal) = Poller::new(settings, [9; 16], 1, stored);
        assert_eq!(refusal, None);
        Self { poller, client, now: Duration::ZERO, asked: String::new() }
    }

    fn new() -> Self {
        Self::of(settings(), None)
    }

    /// Waits until it is time, and asks.
    fn ask(&mut self) -> String {
        self.now += self.poller.due_in(self.now).unwrap();
        let request = self.poller.next_request(self.now).unwrap();
        assert_eq!(self.poller.due_in(self.now), None, "a fetch is under way");
        assert_eq!(self.poller.next_request(self.now), None, "never two at once");
        self.client.begin(request, self.now);
        if self.client.wants_connection() {
            self.client.connected(self.now);
        }
        let head = self.client.unsent().concat();
        self.client.sent(head.len(), self.now);
        String::from_utf8(head).unwrap()
    }

    /// The new lines after an answer.
    fn hear(&mut self, answer: &[u8]) -> Vec<String> {
        self.client.received(answer, self.now);
        let result = self.client.result().unwrap();
        if self.client.must_close() {
            self.client.closed();
        }
        self.poller.answered(result, self.now);
        self.take()
    }

    fn take(&mut self) -> Vec<String> {
        let fresh = String::from_utf8(self.poller.fresh().to_vec()).unwrap();
        if !fresh.is_empty() {
            assert_eq!(self.poller.due_in(self.now), None, "its lines wait");
            assert_eq!(self.poller.stored(), None, "its lines wait");
            self.poller.took(1, self.now);
            assert_eq!(self.poller.fresh(), &fresh.as_bytes()[1..]);
            self.poller.took(fresh.len() - 1, self.now);
        }
        assert!(fresh.is_empty() || fresh.ends_with('\n'), "{fresh:?}");
        fresh.split_terminator('\n').map(str::to_owned).collect()
    }

    #[track_caller]
    fn fetch(&mut self, answer: &[u8], expected: &[&str]) {
        self.asked = self.ask();
        assert_eq!(self.hear(answer), expected, "{}", answer.escape_ascii());
    }

    fn news(&mut self) -> Vec<News> {
        std::iter::from_fn(|| self.poller.news()).collect()
    }

    #[track_caller]
    fn asked_for(&self, field: &str) -> Option<&str> {
        let mut lines = self.asked.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(name, _)| name.eq_ignore_ascii_case(field)).map(|(_, value)| value)
    }

    /// The same poller in the next process.
    fn restart(&mut self) {
        let stored = self.poller.stored().unwrap();
        let now = self.now;
        let settings = Settings { starts_new: true, ..self.poller.settings().clone() };
        *self = Self::of(settings, Some(&stored));
        self.now = now;
        assert_eq!(self.poller.stored().unwrap(), stored, "what was read is what was written");
    }
}

#[test]
fn a_page_that_grows_slides_or_turns_gives_its_new_lines_once_and_in_order() {
    for (what, steps) in [
        ("grows", &[("a\nb\n", "a b"), ("a\nb\nc\n", "c"), ("a\nb\nc\n", ""), ("a\nb\nc\nd\ne\n", "d e")][..]),
        ("slides", &[("a\nb\nc\n", "a b c"), ("b\nc\nd\n", "d"), ("d\ne\nf\n", "e f")]),
        ("newest first", &[("c\nb\na\n", "c b a"), ("e\nd\nc\n", "d e"), ("f\ne\nd\n", "f"), ("f\ne\nd\n", "")]),
        ("newest first, passed", &[("b\na\n", "b a"), ("c\nb\n", "c"), ("x\ny\n", "y x")]),
        ("grows at its top", &[("b\na\n", "b a"), ("c\nb\na\n", "c"), ("d\nc\nb\na\n", "d")]),
        (
            "repeats",
            &[("x\nx\na\nx\n", "x x a x"), ("x\na\nx\nx\n", "x"), ("a\nx\nx\nx\n", "x"), ("x\nx\nx\nx\n", "x")],
        ),
        ("one line changes", &[("a\nb\nc\n", "a b c"), ("a\nB\nc\n", "B"), ("a\nb\nc\n", "b")]),
        ("another order", &[("a\nb\nc\nd\ne\n", "a b c d e"), ("e\nb\nd\na\nc\n", ""), ("a\nb\nc\nd\ne\n", "")]),
        ("is empty meanwhile", &[("a\nb\n", "a b"), ("", ""), ("\n\r\n", ""), ("a\nb\nc\n", "c")]),
        ("ends in CRLF", &[("a\r\nb\r\n", "a b"), ("a\nb\r\nc\r\n", "c")]),
        ("begins with a mark", &[("\u{feff}a\n", "a"), ("\u{feff}a\nb\n", "b"), ("a\nb\nc\n", "c")]),
    ] {
        let mut talk = Talk::new();
        for (body, expected) in steps {
            let expected: Vec<&str> = expected.split_terminator(' ').collect();
            talk.asked = talk.ask();
            assert_eq!(talk.hear(&page(body)), expected, "{what}: {body:?}");
        }
    }
}

#[test]
fn a_page_that_ends_as_it_begins_gives_its_new_lines_once() {
    let numbered = |range: std::ops::Range<usize>| range.map(|number| format!("{number}\n")).collect::<String>();
    for (what, top, bottom) in [
        ("a ruler", "-----\n", "-----\n"),
        ("a blank line", "\n", "\n"),
        ("header and footer", "<hr>\n<pre>\n", "</pre>\n<hr>\n"),
        ("no newline at the end", "<hr>\n<pre>\n", "</pre>\n<hr>"),
        ("several equal lines", "\n\n\n", "\n\n\n"),
        ("more below than above", "=\n\n", "\n=\n\n=\n"),
    ] {
        for (how, first, step, keep) in
            [("grows", 4, 2, 1000), ("grows fast", 3, 40, 1000), ("slides", 20, 3, 20), ("slides far", 20, 15, 20)]
        {
            for newest_first in [false, true] {
                let mut talk = Talk::of(Settings { most_seen: 1000, ..settings() }, None);
                let mut heard = Vec::new();
                for count in (first..first + 6 * step).step_by(step) {
                    let shown = numbered(count.saturating_sub(keep)..count);
                    let mut shown = lines(&shown);
                    if newest_first {
                        shown.reverse();
                    }
                    let shown = shown.join("\n") + "\n";
                    talk.ask();
                    heard.extend(talk.hear(&page(&format!("{top}{shown}{bottom}"))));
                }
                heard.retain(|line| line.bytes().all(|byte| byte.is_ascii_digit()) && !line.is_empty());
                heard.sort_by_key(|line| line.parse::<usize>().unwrap());
                let expected = numbered(0..first + 5 * step);
                assert_eq!(heard, lines(&expected), "{what}: {how}, {newest_first}");
            }
        }
    }
}

#[test]
fn a_page_whose_title_or_one_line_changes_between_two_rulers_gives_what_changed() {
    let mut talk = Talk::new();
    talk.fetch(&page("--\nup 1 s\na\nb\nc\n--\n"), &["--", "up 1 s", "a", "b", "c", "--"]);
    talk.fetch(&page("--\nup 2 s\na\nb\nc\n--\n"), &["up 2 s"]);
    talk.fetch(&page("--\nup 3 s\na\nb\nc\nd\n--\n"), &["up 3 s", "d"]);
    talk.fetch(&page("--\nup 3 s\na\nb\nC\nd\n--\n"), &["C"]);
    assert_eq!(talk.news(), []);
}

#[test]
fn a_last_line_without_its_end_waits_until_it_ends_or_stays() {
    for (what, steps) in [
        ("ends", &[("a\nb", "a"), ("a\nb\n", "b"), ("a\nb\n", "")][..]),
        ("grows and ends", &[("a\nb", "a"), ("a\nbc", ""), ("a\nbcd\n", "bcd")]),
        ("stays", &[("a\nb", "a"), ("a\nb", "b"), ("a\nb", ""), ("a\nb\n", ""), ("a\nb\nc\n", "c")]),
        ("goes on after it stayed", &[("a\nb", "a"), ("a\nb", "b"), ("a\nbc\n", "bc"), ("a\nbc\nd\n", "d")]),
        ("slides", &[("a\nb\nc", "a b"), ("b\nc\nd", "c"), ("c\nd\ne", "d"), ("c\nd\ne", "e"), ("d\ne\nf", "")]),
        ("slides, newest first", &[("c\nb\na", "c b"), ("d\nc\nb", "a d"), ("d\nc\nb", ""), ("e\nd\nc", "e")]),
        (
            "is alone",
            &[("a", ""), ("ab", ""), ("ab", "ab"), ("ab", ""), ("abc\n", "abc"), ("abc\nd", ""), ("abc\nd\n", "d")],
        ),
        ("is replaced", &[("21.5", ""), ("21.6", "21.5"), ("21.7", "21.6")]),
        ("ends in CRLF", &[("a\r\nb\r", "a"), ("a\r\nb\r\n", "b")]),
    ] {
        let mut talk = Talk::new();
        for (body, expected) in steps {
            let expected: Vec<&str> = expected.split_terminator(' ').collect();
            talk.asked = talk.ask();
            assert_eq!(talk.hear(&page(body)), expected, "{what}: {body:?}");
        }
    }
}

#[test]
fn not_modified_confirms_a_line_without_its_end_once() {
    let mut talk = Talk::new();
    talk.fetch(&answer(200, "ETag: W/\"1\"", "a\nb"), &["a"]);
    talk.fetch(&answer(304, "", ""), &["b"]);
    assert_eq!(talk.asked_for("if-none-match"), Some("W/\"1\""));
    talk.fetch(&answer(304, "", ""), &[]);
    talk.fetch(&page("a\nb\nc\n"), &["c"]);
    assert_eq!(talk.poller.details().not_modified, 2);
}

#[test]
fn a_page_passed_is_one_gap_and_all_of_it_is_new() {
    let mut talk = Talk::new();
    talk.fetch(&page("a\nb\n"), &["a", "b"]);
    assert_eq!(talk.news(), []);
    talk.fetch(&page("x\ny\n"), &["x", "y"]);
    assert_eq!(talk.news(), [News::Gap]);
    talk.fetch(&page("z\ny\nw\n"), &["z", "w"]);
    assert_eq!((talk.news(), talk.poller.details().gaps), (vec![], 1), "one line is there still");
}

#[test]
fn start_new_skips_what_is_there_and_nothing_else() {
    let mut talk = Talk::of(Settings { starts_new: true, ..settings() }, None);
    talk.fetch(&answer(503, "", ""), &[]);
    talk.fetch(&page("a\nb\nc"), &[]);
    talk.fetch(&page("a\nb\nc\nd\n"), &["d"]);
    talk.fetch(&page("x\n"), &["x"]);
}

#[test]
fn p31_a_page_that_is_empty_at_the_start_is_one_and_its_first_line_is_new() {
    for empty in [page(""), page("[]"), answer(204, "", "")] {
        let mut talk = Talk::of(Settings { starts_new: true, ..settings() }, None);
        talk.fetch(&answer(503, "", ""), &[]);
        talk.fetch(&empty, &[]);
        talk.restart();
        talk.fetch(&page("[\"a\"]"), &["\"a\""]);
        talk.fetch(&page("[\"a\", \"b\"]"), &["\"b\""]);
    }
}

#[test]
fn a_fetch_comes_an_interval_after_the_last_one_ended_and_its_lines_were_taken() {
    let mut talk = Talk::new();
    assert_eq!(talk.poller.due_in(Duration::ZERO), Some(Duration::ZERO), "the first comes at once");
    talk.ask();
    talk.now += Duration::from_secs(7);
    talk.client.received(&page("a\n"), talk.now);
    talk.poller.answered(talk.client.result().unwrap(), talk.now);
    assert_eq!((talk.poller.due_in(talk.now), talk.poller.details().state), (None, "delivering"));
    talk.now += Duration::from_secs(9);
    talk.poller.took(2, talk.now);
    assert_eq!((talk.poller.due_in(talk.now), talk.poller.details().state), (Some(INTERVAL), "waiting"));
    talk.now += INTERVAL - Duration::from_nanos(1);
    assert_eq!(talk.poller.next_request(talk.now), None);
    talk.now += Duration::from_nanos(1);
    assert!(talk.poller.next_request(talk.now).is_some());
    assert_eq!(talk.poller.details().state, "fetching");
}

#[test]
fn a_new_interval_is_that_of_the_fetch_that_waits_if_it_is_shorter() {
    let mut talk = Talk::new();
    talk.fetch(&page("a\n"), &["a"]);
    for (seconds, due) in [(60, 5), (2, 2), (3, 2)] {
        let interval = Duration::from_secs(seconds);
        talk.poller.reconfigure(Settings { interval, ..settings() }, talk.now);
        assert_eq!(talk.poller.due_in(talk.now), Some(Duration::from_secs(due)));
        assert_eq!(talk.poller.details().interval, interval);
    }
    talk.fetch(&page("a\nb\n"), &["b"]);
    assert_eq!(talk.poller.due_in(talk.now), Some(Duration::from_secs(3)));
}

#[test]
fn errors_back_off_to_ten_intervals_with_jitter_upwards_only_and_end_with_one_word() {
    let mut talk = Talk::new();
    talk.fetch(&page("a\n"), &["a"]);
    let first = talk.now + INTERVAL;
    let mut pauses = Vec::new();
    for factor in [1, 2, 4, 8, 10, 10, 10] {
        talk.fetch(&answer(500, "", "x\ny\n"), &[]);
        assert_eq!(talk.poller.details().state, "failing");
        let pause = talk.poller.due_in(talk.now).unwrap();
        assert!(pause >= INTERVAL * factor && pause <= INTERVAL * factor * 5 / 4, "{factor}: {pause:?}");
        pauses.push(pause);
    }
    assert_ne!(pauses[5], pauses[6], "jitter");
    assert_eq!(talk.news(), vec![News::Trouble("it answered 500".to_owned()); 7]);
    assert_eq!(talk.poller.details().last_error.as_deref(), Some("it answered 500"));
    talk.fetch(&page("a\nb\n"), &["b"]);
    assert_eq!(talk.news(), [News::Recovered { after: talk.now - first, failures: 7 }]);
    assert_eq!((talk.poller.due_in(talk.now), talk.poller.details().last_error), (Some(INTERVAL), None));
    talk.fetch(&answer(404, "", ""), &[]);
    assert!(talk.poller.due_in(talk.now).unwrap() < INTERVAL * 2, "it begins anew");
}

#[test]
fn errors_name_the_option_that_helps_and_change_nothing() {
    let mut talk = Talk::new();
    talk.fetch(&page("a\n"), &["a"]);
    for (trouble, option) in [
        (Trouble::TooLong(1024), "--poll-max-response"),
        (Trouble::TooSlow(INTERVAL), "--poll-timeout"),
        (Trouble::Cut, "nothing of it was taken"),
        (Trouble::Io("it refuses".to_owned()), "it refuses"),
    ] {
        talk.now += talk.poller.due_in(talk.now).unwrap();
        talk.poller.next_request(talk.now).unwrap();
        talk.poller.answered(Err(trouble), talk.now);
        let [News::Trouble(why)] = &talk.news()[..] else { panic!("one word") };
        assert!(why.contains(option), "{why}");
    }
    for (status, words) in [(401, "--http-auth"), (206, "it answered 206"), (304, ""), (204, ""), (302, "302")] {
        let before = talk.poller.stored();
        talk.asked = talk.ask();
        assert_eq!(talk.hear(&answer(status, "", "")), [""; 0], "{status}");
        let said = format!("{:?}", talk.news());
        assert!(said.contains(words), "{status}: {said}");
        assert_eq!(talk.poller.stored(), before, "{status}");
    }
    talk.fetch(&page("a\nb\n"), &["b"]);
}

#[test]
fn an_answer_that_comes_too_late_is_thrown_away() {
    let mut talk = Talk::new();
    talk.fetch(&page("a\n"), &["a"]);
    talk.ask();
    talk.client.received(&page("b\n"), talk.now);
    let late = talk.client.result().unwrap();
    talk.poller.answered(Err(Trouble::Cut), talk.now);
    talk.poller.answered(late, talk.now);
    assert_eq!((talk.poller.fresh(), talk.poller.details().lines), (&b""[..], 1));
}

/// A file of lines of 40 bytes.
fn file(name: char, lines: std::ops::Range<usize>) -> String {
    lines.map(|number| format!("{name}{number:038}\n")).collect()
}

/// What nginx answers for what is behind `start`.
fn range(file: &str, start: usize, etag: &str) -> Vec<u8> {
    let fields = format!("Content-Range: bytes {start}-{}/{}|ETag: {etag}", file.len() - 1, file.len());
    answer(206, &fields, &file[start..])
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn a_file_that_grows_is_fetched_from_a_kibibyte_before_its_end() {
    let mut talk = Talk::new();
    let fields = "Accept-Ranges: bytes|ETag: \"1\"";
    talk.fetch(&answer(200, fields, &file('a', 0..30)), &lines(&file('a', 0..30)));
    assert_eq!((talk.asked_for("range"), talk.asked_for("accept-encoding")), (None, Some("identity")));

    let grown = file('a', 0..33);
    talk.fetch(&range(&grown, 1200 - 1024, "\"2\""), &lines(&file('a', 30..33)));
    assert_eq!((talk.asked_for("range"), talk.asked_for("if-none-match")), (Some("bytes=176-"), Some("\"1\"")));
    assert_eq!((talk.asked_for("if-range"), talk.asked_for("accept-encoding")), (None, Some("identity")));

    talk.fetch(&answer(304, "", ""), &[]);
    assert_eq!((talk.asked_for("range"), talk.asked_for("if-none-match")), (Some("bytes=296-"), Some("\"2\"")));
    // A server that has no validators sends the last kibibyte again and again.
    talk.fetch(&range(&grown, 296, "\"2\""), &[]);
    // Empty lines are lines.
    let grown = format!("{grown}\n\r\n");
    talk.fetch(&range(&grown, 296, "\"2\""), &["", ""]);
    // A half line, then all of it.
    let half = format!("{grown}ha");
    talk.fetch(&range(&half, 299, "\"3\""), &[]);
    let whole = format!("{grown}half\n");
    talk.fetch(&range(&whole, 299, "\"4\""), &["half"]);
    talk.fetch(&range(&format!("{whole}last"), 304, "\"5\""), &[]);
    talk.fetch(&answer(304, "", ""), &["last"]);
    talk.fetch(&range(&format!("{whole}last\nnext\n"), 304, "\"6\""), &["next"]);
    assert_eq!(talk.news(), []);
}

#[test]
fn a_range_that_is_not_what_was_asked_for_leads_to_the_whole_page_at_once() {
    let old = file('a', 0..30);
    let new = format!("{}{}", file('a', 10..30), file('b', 0..3));
    let grown = format!("{old}{}", file('b', 0..3));
    let other_start = range(&grown, 160, "\"2\"");
    let shorter = range(&new, 176, "\"2\"");
    let other_bytes = range(&grown.replace("00029", "00929"), 176, "\"2\"");
    let without_range = answer(206, "", &grown[176..]);
    let shorter_body = answer(206, "Content-Range: bytes 176-1400/2000", &grown[176..1300]);
    let not_grown = range(&old, 176, "\"2\"");
    let coded = answer(206, "Content-Encoding: gzip|Content-Range: bytes 176-1319/1320", &grown[176..]);
    let says_other_start = answer(206, "Content-Range: bytes 136-1319/1320", &grown[176..]);
    for (what, answer_to_range, whole) in [
        ("416", answer(416, "Content-Range: bytes */100", ""), &new),
        ("another start", other_start, &new),
        ("shorter", shorter, &new),
        ("other bytes", other_bytes, &grown),
        ("no Content-Range", without_range, &grown),
        ("another length", shorter_body, &grown),
        ("written anew", not_grown, &grown),
        ("coded", coded, &grown),
        ("says another start", says_other_start, &grown),
    ] {
        let mut talk = Talk::new();
        talk.fetch(&answer(200, "Accept-Ranges: bytes|ETag: \"1\"", &old), &lines(&old));
        talk.asked = talk.ask();
        assert_eq!(talk.asked_for("range"), Some("bytes=176-"), "{what}");
        assert_eq!(talk.hear(&answer_to_range), [""; 0], "{what}");
        assert_eq!(talk.poller.due_in(talk.now), Some(Duration::ZERO), "{what}");
        talk.fetch(&answer(200, "Accept-Ranges: bytes|ETag: \"3\"", whole), &lines(&file('b', 0..3)));
        assert_eq!((talk.asked_for("range"), talk.asked_for("if-none-match")), (None, None), "{what}");
        assert_eq!(talk.news(), [], "{what}");
        talk.ask();
        assert_eq!(talk.poller.details().fetches, 4);
    }
}

#[test]
fn a_file_that_grew_by_more_than_an_answer_may_have_comes_in_parts() {
    let most = 1 << 20;
    let mut talk = Talk::of(Settings { most_body: most, ..settings() }, None);
    let old = file('a', 0..30);
    talk.fetch(&answer(200, "Accept-Ranges: bytes|ETag: \"1\"", &old), &lines(&old));
    let grown = file('a', 0..60_000);
    let whole_rest =
        answer(206, &format!("Content-Range: bytes 176-{}/{}", grown.len() - 1, grown.len()), &grown[176..]);
    assert!(whole_rest.len() > most);
    talk.fetch(&whole_rest, &[]);
    assert_eq!(talk.news(), [], "that is no failure");
    let mut heard = Vec::new();
    for _ in 0..3 {
        assert_eq!(talk.poller.due_in(talk.now), Some(Duration::ZERO), "the rest is there already");
        talk.asked = talk.ask();
        let (start, last) = talk.asked_for("range").unwrap()["bytes=".len()..].split_once('-').unwrap();
        let (start, last): (usize, usize) = (start.parse().unwrap(), last.parse().unwrap());
        assert_eq!(last - start + 1, most);
        let last = last.min(grown.len() - 1);
        let fields = format!("Content-Range: bytes {start}-{last}/{}", grown.len());
        heard.extend(talk.hear(&answer(206, &fields, &grown[start..=last])));
    }
    let sent = file('a', 30..60_000);
    let odd = heard.iter().zip(sent.lines()).position(|(heard, sent)| heard != sent);
    assert_eq!((odd.map(|at| &heard[at - 1..at + 2]), heard.len()), (None, sent.lines().count()));
    talk.asked = talk.ask();
    assert!(talk.asked_for("range").unwrap().ends_with('-'), "from then on all that is new is asked for again");
    assert_eq!((talk.hear(&answer(304, "", "")), talk.news()), (Vec::new(), Vec::new()));
}

#[test]
fn a_line_that_is_longer_than_an_answer_may_be_is_told() {
    let most = 4096;
    let mut talk = Talk::of(Settings { most_body: most, ..settings() }, None);
    let old = file('a', 0..30);
    talk.fetch(&answer(200, "Accept-Ranges: bytes", &old), &lines(&old));
    let trouble = Err(Trouble::TooLong(most));
    talk.ask();
    talk.poller.answered(trouble, talk.now);
    talk.take();
    talk.client.cancel();
    talk.client.closed();
    let grown = format!("{old}{}\nnext\n", "x".repeat(2 * most));
    let fields = format!("Content-Range: bytes 176-{}/{}", 176 + most - 1, grown.len());
    talk.fetch(&answer(206, &fields, &grown[176..176 + most]), &[]);
    let News::Trouble(said) = talk.news().remove(0) else { panic!("it is told") };
    assert_eq!(said, "a line of it is longer than 4KiB: raise --poll-max-response");
}

const MOST: usize = 64 * 1024;

/// A server of one file, of ranges, and of the tags that it is told.
struct Web {
    file: String,
    tag: u32,
    has_ranges: bool,
}

impl Web {
    fn answer(&self, asked: &Talk) -> Vec<u8> {
        let (len, tag) = (self.file.len(), format!("\"{}\"", self.tag));
        if asked.asked_for("if-none-match") == Some(&tag) {
            return answer(304, "", "");
        }
        let fields = format!("ETag: {tag}{}", if self.has_ranges { "|Accept-Ranges: bytes" } else { "" });
        let range =
            asked.asked_for("range").filter(|_| self.has_ranges).map(|range| range["bytes=".len()..].to_owned());
        let Some((first, last)) = range.as_ref().and_then(|range| range.split_once('-')) else {
            return answer(200, &fields, &self.file);
        };
        let number = |text: &str| text.parse::<usize>().unwrap();
        let (first, last) = match (first, last) {
            ("", last) => (len.saturating_sub(number(last)), len),
            (first, "") => (number(first), len),
            (first, last) => (number(first), len.min(number(last) + 1)),
        };
        if first >= len {
            return answer(416, &format!("Content-Range: bytes */{len}"), "");
        }
        let fields = format!("{fields}|Content-Range: bytes {first}-{}/{len}", last - 1);
        answer(206, &fields, &self.file[first..last])
    }
}

impl Talk {
    fn small(starts_new: bool) -> Self {
        Self::of(Settings { most_body: MOST, starts_new, ..settings() }, None)
    }

    /// Fetches until there is a pause.
    fn fetch_all(&mut self, web: &Web) -> Vec<String> {
        let mut heard = Vec::new();
        for _ in 0..100 {
            self.asked = self.ask();
            let answer = web.answer(self);
            heard.extend(self.hear(&answer));
            // After a range that was refused there is a pause before the second part.
            if self.poller.due_in(self.now) != Some(Duration::ZERO) && self.poller.place.most.is_none() {
                return heard;
            }
        }
        panic!("it asks again and again");
    }

    #[track_caller]
    fn hears(&mut self, web: &Web, expected: &str) {
        let heard = self.fetch_all(web);
        let odd = heard.iter().zip(expected.lines()).position(|(heard, expected)| heard != expected);
        assert_eq!((odd.map(|at| &heard[at]), heard.len()), (None, expected.lines().count()), "{:?}", self.news());
    }
}

#[test]
fn a_file_longer_than_an_answer_may_be_is_read_in_parts_from_its_first_fetch() {
    let mut web = Web { file: file('a', 0..8000), tag: 1, has_ranges: true };
    let mut talk = Talk::small(false);
    talk.hears(&web, &file('a', 0..8000));
    talk.hears(&web, "");
    (web.file, web.tag) = (file('a', 0..8010) + "half", 2);
    talk.hears(&web, &file('a', 8000..8010));
    talk.restart();
    (web.file, web.tag) = (file('a', 0..8010) + "half\n", 3);
    talk.hears(&web, "half\n");
    assert_eq!(talk.news(), []);
}

#[test]
fn a_long_file_that_was_only_touched_brings_nothing_and_goes_on() {
    let mut web = Web { file: file('a', 0..8000), tag: 1, has_ranges: true };
    let mut talk = Talk::small(false);
    talk.hears(&web, &file('a', 0..8000));
    for tag in 2..9 {
        web.tag = tag;
        talk.hears(&web, "");
    }
    (web.file, web.tag) = (file('a', 0..8003), 9);
    talk.hears(&web, &file('a', 8000..8003));
    assert_eq!(talk.news(), []);
}

#[test]
fn a_long_file_that_was_rotated_is_read_from_its_beginning_whatever_its_length() {
    for (what, lines) in [("short", 2), ("as long", 8000), ("longer", 9000), ("still too long", 5000)] {
        let mut web = Web { file: file('a', 0..8000), tag: 1, has_ranges: true };
        let mut talk = Talk::small(false);
        talk.hears(&web, &file('a', 0..8000));
        (web.file, web.tag) = (file('b', 0..lines), 2);
        talk.hears(&web, &file('b', 0..lines));
        assert_eq!((talk.news(), talk.poller.details().gaps), (vec![News::Gap], 1), "{what}");
        (web.file, web.tag) = (file('b', 0..lines + 4), 3);
        talk.hears(&web, &file('b', lines..lines + 4));
        assert_eq!(talk.news(), [], "{what}");
        (web.file, web.tag) = (String::new(), 4);
        talk.hears(&web, "");
        (web.file, web.tag) = (file('c', 0..7000), 5);
        // Where nothing is left to go on from, the whole page is asked for first.
        talk.hears(&web, &file('c', 0..7000));
        assert_eq!((talk.news(), talk.poller.details().failures), (vec![News::Gap], 0), "{what}");
    }
}

#[test]
fn start_new_begins_at_the_end_of_a_file_that_is_longer_than_an_answer_may_be() {
    for end in ["", "half"] {
        let mut web = Web { file: file('a', 0..8000) + end, tag: 1, has_ranges: true };
        let mut talk = Talk::small(true);
        talk.hears(&web, "");
        (web.file, web.tag) = (file('a', 0..8000) + end + "\nnext\n", 2);
        talk.hears(&web, if end.is_empty() { "\nnext\n" } else { "next\n" });
        assert_eq!((talk.news(), talk.poller.details().failures), (vec![], 0));
    }
}

#[test]
fn a_short_file_that_grew_by_more_than_an_answer_may_have_doubles_nothing() {
    let mut web = Web { file: file('a', 0..3), tag: 1, has_ranges: true };
    let mut talk = Talk::small(false);
    talk.hears(&web, &file('a', 0..3));
    (web.file, web.tag) = (file('a', 0..6000), 2);
    talk.hears(&web, &file('a', 3..6000));
    assert_eq!(talk.news(), []);
}

#[test]
fn a_page_too_long_without_ranges_or_of_json_or_of_one_line_is_said_each_time() {
    for (what, text, has_ranges, said) in [
        ("no ranges", file('a', 0..8000), false, "raise --poll-max-response"),
        ("one line", "x".repeat(3 * MOST), true, "a line of it is longer than 64KiB"),
    ] {
        let web = Web { file: text, tag: 1, has_ranges };
        for starts_new in [false, true] {
            let mut talk = Talk::small(starts_new);
            for _ in 0..3 {
                talk.hears(&web, "");
                let news = talk.news();
                assert!(format!("{news:?}").contains(said) && news.len() == 1, "{what}: {news:?}");
            }
        }
    }
    let mut talk = Talk::small(false);
    for _ in 0..2 {
        let json = format!("[{}1]", "1,\n".repeat(MOST));
        talk.asked = talk.ask();
        talk.hear(&answer(200, "Content-Type: application/json|Accept-Ranges: bytes", &json));
        talk.asked = talk.ask();
        let fields = format!("Content-Type: application/json|Content-Range: bytes 0-{}/{}", MOST - 1, json.len());
        assert_eq!(talk.hear(&answer(206, &fields, &json[..MOST])), [""; 0]);
        assert!(format!("{:?}", talk.news()).contains("raise --poll-max-response"));
    }
}

#[test]
fn a_long_page_that_is_another_each_time_is_not_read_without_a_pause_or_for_ever() {
    let mut talk = Talk::small(false);
    let mut said = Vec::new();
    let mut heard = 0;
    for step in 0..12_u8 {
        let web = Web { file: file(char::from(b'a' + step), 0..8000), tag: u32::from(step), has_ranges: true };
        talk.asked = talk.ask();
        for _ in 0..4 {
            let answer = web.answer(&talk);
            heard += talk.hear(&answer).len();
            if talk.poller.due_in(talk.now) != Some(Duration::ZERO) || talk.poller.details().state == "fetching" {
                break;
            }
            if step > 0 || heard == 0 {
                talk.asked = talk.ask();
            } else {
                break;
            }
        }
        said.extend(talk.news());
    }
    assert!(heard < 5 * 8000, "{heard}");
    assert!(format!("{said:?}").contains("raise --poll-max-response"), "{said:?}");
}

#[test]
fn parts_that_are_short_are_asked_for_after_the_interval() {
    let text = file('a', 0..8000);
    let mut talk = Talk::small(false);
    talk.asked = talk.ask();
    talk.hear(&answer(200, "Accept-Ranges: bytes", &text));
    for (start, end) in [(0, 2000), (976, 4000)] {
        talk.asked = talk.ask();
        assert!(talk.asked_for("range").unwrap().starts_with(&format!("bytes={start}-")));
        let fields = format!("Content-Range: bytes {start}-{}/{}", end - 1, text.len());
        talk.hear(&answer(206, &fields, &text[start..end]));
        assert_eq!(talk.poller.due_in(talk.now), Some(INTERVAL));
    }
}

#[test]
fn a_server_whose_ranges_were_refused_is_asked_for_them_again() {
    let mut web = Web { file: file('a', 0..30), tag: 1, has_ranges: true };
    let mut talk = Talk::new();
    talk.hears(&web, &file('a', 0..30));
    for tag in 2..5 {
        // It was touched.
        web.tag = tag;
        talk.hears(&web, "");
    }
    let mut whole = 0;
    for count in 31..80 {
        (web.file, web.tag) = (file('a', 0..count), 100 + u32::try_from(count).unwrap());
        talk.hears(&web, &file('a', count - 1..count));
        whole += usize::from(talk.asked_for("range").is_none());
    }
    assert!((1..=20).contains(&whole), "{whole}");
    assert!(talk.asked_for("range").is_some());
}

#[test]
fn a_server_that_sends_what_is_known_and_no_more_is_told_of_and_no_half_line_comes() {
    let old = file('a', 0..30);
    let grown = format!("{old}a half line\nnext\n");
    for (extra, is_told) in [(0, true), (6, true), (12, false)] {
        let mut talk = Talk::new();
        talk.fetch(&answer(200, "Accept-Ranges: bytes", &old), &lines(&old));
        for _ in 0..3 {
            let fields = format!("Content-Range: bytes 176-{}/{}", 1199 + extra, grown.len());
            talk.asked = talk.ask();
            let heard = talk.hear(&answer(206, &fields, &grown[176..1200 + extra]));
            let news = format!("{:?}", talk.news());
            if is_told {
                assert_eq!(heard, [""; 0], "{extra}");
                assert!(news.contains("bytes of it at a time, in which no line ends"), "{extra}: {news}");
            } else {
                assert_eq!((heard, news.as_str()), (vec!["a half line".to_owned()], "[]"));
                break;
            }
        }
        let (start, rest) = if is_told { (176, &["a half line", "next"][..]) } else { (188, &["next"][..]) };
        talk.fetch(&range(&grown, start, "\"2\""), rest);
    }
}

#[test]
fn a_server_that_answers_ranges_with_the_whole_page_is_asked_three_times() {
    let mut talk = Talk::new();
    let fields = "Accept-Ranges: bytes";
    for step in 0..6 {
        let expected = if step == 0 { file('a', 0..30) } else { file('a', 29 + step..30 + step) };
        talk.fetch(&answer(200, fields, &file('a', step..30 + step)), &lines(&expected));
        let is_asked = (1..=3).contains(&step);
        assert_eq!(talk.asked_for("range").is_some(), is_asked, "{step}");
        assert_eq!(talk.asked_for("accept-encoding") == Some("gzip"), step > 3, "{step}");
    }
}

#[test]
fn a_file_that_rotates_often_is_asked_for_ranges_still() {
    let mut talk = Talk::new();
    let fields = "Accept-Ranges: bytes";
    for (step, name) in ('a'..='h').enumerate() {
        talk.fetch(&answer(200, fields, &file(name, 0..30)), &lines(&file(name, 0..30)));
        talk.fetch(&range(&file(name, 0..31), 176, "\"1\""), &lines(&file(name, 30..31)));
        assert_eq!(talk.asked_for("range"), Some("bytes=176-"), "{step}");
        talk.fetch(&answer(416, "", ""), &[]);
    }
}

#[test]
fn a_server_without_ranges_may_compress_and_a_page_of_json_is_fetched_whole() {
    for (fields, body) in
        [("ETag: \"1\"", file('a', 0..30)), ("Accept-Ranges: bytes", format!("[\"{}\"]", "x".repeat(2000)))]
    {
        let mut talk = Talk::new();
        talk.ask();
        talk.hear(&answer(200, fields, &body));
        talk.fetch(&answer(304, "", ""), &[]);
        assert_eq!((talk.asked_for("range"), talk.asked_for("accept-encoding")), (None, Some("gzip")), "{fields}");
    }
}

#[test]
fn a_file_that_was_emptied_is_read_from_its_start_when_it_has_lines_again() {
    let mut talk = Talk::new();
    let fields = "Accept-Ranges: bytes|ETag: \"1\"";
    talk.fetch(&answer(200, fields, &file('a', 0..30)), &lines(&file('a', 0..30)));
    talk.fetch(&answer(416, "", ""), &[]);
    talk.fetch(&answer(200, fields, ""), &[]);
    assert_eq!(talk.poller.due_in(talk.now), Some(INTERVAL));
    talk.fetch(&answer(200, fields, &file('b', 0..2)), &lines(&file('b', 0..2)));
    assert_eq!(talk.asked_for("range"), None);
    assert_eq!(talk.news(), [News::Gap]);
}

#[test]
fn a_server_that_sends_less_than_all_is_asked_for_the_rest_at_once() {
    let mut talk = Talk::new();
    talk.fetch(&answer(200, "Accept-Ranges: bytes|ETag: \"1\"", &file('a', 0..30)), &lines(&file('a', 0..30)));
    let grown = file('a', 0..3000);
    let part = answer(206, "Content-Range: bytes 176-99999/120000|ETag: \"2\"", &grown[176..100_000]);
    talk.fetch(&part, &lines(&file('a', 30..2500)));
    assert_eq!(talk.poller.due_in(talk.now), Some(Duration::ZERO));
    talk.fetch(&range(&grown, 98_976, "\"2\""), &lines(&file('a', 2500..3000)));
    assert_eq!((talk.asked_for("range"), talk.asked_for("if-none-match")), (Some("bytes=98976-"), None));
    assert_eq!(talk.poller.due_in(talk.now), Some(INTERVAL));
}

#[test]
fn a_server_that_sends_little_at_a_time_is_asked_again_after_the_interval() {
    let mut talk = Talk::new();
    talk.fetch(&answer(200, "Accept-Ranges: bytes|ETag: \"1\"", &file('a', 0..30)), &lines(&file('a', 0..30)));
    let grown = file('a', 0..40);
    let part = answer(206, "Content-Range: bytes 176-1399/1600|ETag: \"2\"", &grown[176..1400]);
    talk.fetch(&part, &lines(&file('a', 30..35)));
    assert_eq!(talk.poller.due_in(talk.now), Some(INTERVAL));
    talk.fetch(&range(&grown, 376, "\"2\""), &lines(&file('a', 35..40)));
}

#[test]
fn a_date_is_a_validator_only_if_the_page_can_not_change_in_the_same_second() {
    for (fields, expected) in [
        ("Last-Modified: A|Date: B", Some("A")),
        ("Last-Modified: A|Date: A", None),
        ("Last-Modified: A", None),
        ("Last-Modified: A|Date: B|ETag: \"1\"", None),
    ] {
        let mut talk = Talk::new();
        talk.fetch(&answer(200, fields, "a\n"), &["a"]);
        talk.ask();
        talk.hear(&page("a\n"));
        talk.fetch(&answer(200, fields, "a\n"), &[]);
        talk.asked = talk.ask();
        assert_eq!(talk.asked_for("if-modified-since"), expected, "{fields}");
    }
}

#[test]
fn json_is_a_line_for_each_element_only_if_all_of_it_is_json() {
    let json = "Content-Type: application/json; charset=utf-8";
    for (fields, body, expected) in [
        ("", "[ {\"a\": 1}, 2 ]", &["{\"a\":1}", "2"][..]),
        ("", "{\"a\": [1,\n 2]}", &["{\"a\":[1,2]}"]),
        (json, "\u{feff}{\"a\": 1}\n", &["{\"a\":1}"]),
        (json, "{\"a\": 1}\n{\"a\": 2}\n", &["{\"a\": 1}", "{\"a\": 2}"]),
        ("Content-Type: application/x-ndjson", "{\"a\": 1}\n", &["{\"a\": 1}"]),
        ("Content-Type: text/plain", "{\"a\": 1}\n", &["{\"a\": 1}"]),
        ("Content-Type: text/plain", "[{\"a\": 1}]\n", &["{\"a\":1}"]),
        ("", "[12:00] a\n[12:01] b\n", &["[12:00] a", "[12:01] b"]),
        (json, "[1,2", &[]),
        (json, "[]", &[]),
        (json, "21.5\n", &["21.5"]),
    ] {
        let mut talk = Talk::new();
        talk.fetch(&answer(200, fields, body), expected);
    }
    let mut talk = Talk::new();
    talk.fetch(&answer(200, json, "[{\"id\": 2}, {\"id\": 1}]"), &["{\"id\":2}", "{\"id\":1}"]);
    talk.fetch(&answer(200, json, "[{\"id\":4}, {\"id\":3}, {\"id\":2}]"), &["{\"id\":3}", "{\"id\":4}"]);
}

#[test]
fn of_a_page_longer_than_what_is_remembered_only_what_comes_behind_or_before_is_new() {
    let text = |numbers: Vec<usize>| numbers.iter().map(|number| format!("{number}\n")).collect::<String>();
    let down = |from: usize, to: usize| text((to..from).rev().collect());
    let up = |from: usize, to: usize| text((from..to).collect());
    for (what, pages) in [
        ("grows", [up(0, 300), up(0, 305), up(0, 310)]),
        ("slides", [up(0, 300), up(5, 305), up(10, 310)]),
        ("grows at its top", [down(300, 0), down(305, 0), down(310, 0)]),
        ("slides, newest first", [down(300, 0), down(305, 5), down(310, 10)]),
    ] {
        let mut talk = Talk::new();
        talk.ask();
        assert_eq!(talk.hear(&page(&pages[0])).len(), 300, "{what}");
        assert_eq!(talk.news(), [News::SeenTooSmall { lines: 300, most: 100 }], "{what}");
        talk.fetch(&page(&pages[0]), &[]);
        talk.fetch(&page(&pages[1]), &lines(&up(300, 305)));
        assert_eq!(talk.news(), [], "{what}: it is told once");
        talk.restart();
        talk.fetch(&page(&pages[2]), &lines(&up(305, 310)));
        talk.poller.reconfigure(Settings { most_seen: 50, ..settings() }, talk.now);
        talk.fetch(&page(&pages[2]), &[]);
        assert_eq!(talk.poller.details().seen_entries, 50, "{what}");
    }
    let mut talk = Talk::new();
    let same = "same\n".repeat(300);
    talk.ask();
    talk.hear(&page(&same));
    talk.fetch(&page(&format!("{same}same\nlast\n")), &["same", "last"]);
    assert!(talk.poller.held() < 4096, "{}", talk.poller.held());
    // The last line goes on, and its fellows stay where they were.
    let mut talk = Talk::new();
    talk.ask();
    talk.hear(&page(&format!("{same}la")));
    talk.fetch(&page(&format!("{same}last\nsame\n")), &["last", "same"]);
    // A line that changes does not bring back those that were forgotten.
    let mut talk = Talk::new();
    talk.ask();
    talk.hear(&page(&up(0, 300)));
    talk.fetch(&page(&up(0, 300).replace("\n290\n", "\nchanged\n")), &["changed"]);
}

#[test]
fn of_a_long_page_with_its_newest_line_first_a_new_line_is_never_taken_for_one_that_was_forgotten() {
    let down = |from: usize| (0..from).rev().map(|number| format!("{number}\n")).collect::<String>();
    let mut talk = Talk::new();
    talk.ask();
    talk.hear(&page(&down(300)));
    talk.fetch(&page(&down(301)), &["300"]);
    talk.ask();
    let changed = talk.hear(&page(&format!("new\n{}", down(301).replace("\n0\n", "\nzero\n"))));
    assert!(["new", "zero"].iter().all(|line| changed.iter().any(|new| new == line)), "{changed:?}");
}

#[test]
fn a_restart_doubles_and_loses_nothing() {
    let mut talk = Talk::new();
    let fields = "Accept-Ranges: bytes|ETag: \"1\"";
    talk.fetch(&answer(200, fields, &file('a', 0..30)), &lines(&file('a', 0..30)));
    talk.restart();
    talk.fetch(&range(&format!("{}half", file('a', 0..33)), 176, "\"2\""), &lines(&file('a', 30..33)));
    assert_eq!((talk.asked_for("range"), talk.asked_for("if-none-match")), (Some("bytes=176-"), Some("\"1\"")));
    // A line that waits is kept.
    let stored = talk.poller.stored().unwrap();
    talk = Talk::of(settings(), Some(&stored));
    talk.fetch(&answer(304, "", ""), &["half"]);
    assert_eq!((talk.asked_for("range"), talk.asked_for("if-none-match")), (Some("bytes=296-"), Some("\"2\"")));
    talk.restart();
    talk.fetch(&page(&format!("{}half\nb\n", file('a', 0..33))), &["b"]);
    for (first, second, expected) in [("c\nb\n", "d\nc\n", "d"), ("a\nb\n", "b\nc\n", "c"), ("a\nb", "a\nb\n", "b")] {
        let mut talk = Talk::new();
        talk.ask();
        talk.hear(&page(first));
        let stored = talk.poller.stored().unwrap();
        talk = Talk::of(settings(), Some(&stored));
        talk.fetch(&page(second), &[expected]);
    }
}

#[test]
fn a_state_that_is_damaged_or_of_another_poller_is_refused_with_the_reason() {
    let mut talk = Talk::new();
    assert_eq!(talk.poller.stored(), None, "nothing is remembered");
    talk.fetch(&answer(200, "Accept-Ranges: bytes|ETag: \"1\"", &file('a', 0..30)), &lines(&file('a', 0..30)));
    let stored = talk.poller.stored().unwrap();
    let refusal = |settings: Settings, bytes: &[u8]| Poller::new(settings, [1; 16], 1, Some(bytes)).1;
    assert_eq!(refusal(settings(), &stored), None);
    for at in 0..stored.len() {
        assert!(refusal(settings(), &stored[..at]).is_some(), "{at}");
        let mut damaged = stored.clone();
        damaged[at] ^= 0x10;
        assert!(refusal(settings(), &damaged).is_some(), "{at}");
    }
    let other = Settings { url: Url::parse("http://device/other").unwrap(), ..settings() };
    assert_eq!(refusal(other, &stored).unwrap(), "it is of another URL");
    let mut newer = stored.clone();
    newer[7] = b'2';
    assert_eq!(refusal(settings(), &newer).unwrap(), "it is of another version");
    assert_eq!(refusal(settings(), b"hello").unwrap(), "it is no state of a poller");
    // The login may change.
    let login = Settings { url: Url::parse("http://x:y@device/log?n=20").unwrap(), ..settings() };
    assert_eq!(refusal(login, &stored), None);
}

#[test]
fn a_state_changes_only_when_what_is_remembered_does() {
    let mut talk = Talk::new();
    talk.fetch(&page("a\nb"), &["a"]);
    let mut before = talk.poller.changes();
    for (body, expected, is_changed) in [
        ("a\nb", &["b"][..], true),
        ("a\nb", &[], false),
        ("", &[], false),
        ("a\nb\n", &[], true),
        ("a\nb\n", &[], false),
    ] {
        talk.fetch(&page(body), expected);
        assert_eq!(talk.poller.changes() != before, is_changed, "{body:?}");
        before = talk.poller.changes();
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 32).unwrap() % end
    }
}

/// How many of `lines` are not in `others`, each as often.
fn missing(lines: &[String], others: &[String]) -> usize {
    let mut others = others.to_vec();
    lines
        .iter()
        .filter(|line| others.iter().position(|other| other == *line).map(|at| others.swap_remove(at)).is_none())
        .count()
}

/// Lines that were written, lost and doubled, and those that counting alone would have lost, of pages of 20 lines.
fn slide(newest_first: bool, repeats: usize, most_between: usize, is_framed: bool) -> [usize; 4] {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut talk = Talk::new();
    let (mut log, mut sums) = (std::collections::VecDeque::from(vec![String::new(); 20]), [0; 4]);
    let mut step = |talk: &mut Talk, count: usize, random: &mut Random| {
        let before: Vec<String> = log.iter().cloned().collect();
        let mut written = Vec::new();
        for _ in 0..count {
            let line = if random.below(100) < repeats {
                ["beat", "beat", "beat", "door opened", "door closed", "retry"][random.below(6)].to_owned()
            } else {
                format!("line {}", random.below(usize::MAX))
            };
            written.push(line.clone());
            log.pop_front();
            log.push_back(line);
        }
        let mut lines: Vec<&str> = log.iter().map(String::as_str).collect();
        if newest_first {
            lines.reverse();
        }
        talk.ask();
        if is_framed {
            lines = [&["----", "log"], &lines[..], &["----"]].concat();
        }
        let mut found = talk.hear(&page(&(lines.join("\n") + "\n")));
        found.retain(|line| !["----", "log"].contains(&line.as_str()));
        let now: Vec<String> = log.iter().cloned().collect();
        let counted = missing(&now, &before);
        [count, missing(&written, &found), missing(&found, &written), count - counted.min(count)]
    };
    step(&mut talk, 20, &mut random);
    for _ in 0..2_000 {
        let count = random.below(most_between + 1);
        for (sum, more) in sums.iter_mut().zip(step(&mut talk, count, &mut random)) {
            *sum += more;
        }
    }
    sums
}

#[test]
fn of_pages_of_twenty_lines_that_slide_and_repeat_next_to_none_is_lost_or_doubled() {
    for newest_first in [false, true] {
        for (repeats, most_between) in [(0, 19), (30, 19), (60, 19), (90, 10), (97, 10)] {
            let [written, lost, doubled, counted] = slide(newest_first, repeats, most_between, false);
            let what =
                format!("{newest_first} {repeats} {most_between}: of {written}, {lost} and {doubled}; {counted}");
            assert!(lost * 1000 <= written && doubled * 1000 <= written, "{what}");
            assert!(repeats == 0 || counted * 100 > written * 6, "counting alone would have done: {what}");
        }
    }
}

#[test]
fn of_pages_that_slide_between_two_rulers_and_repeat_little_is_lost_or_doubled() {
    for newest_first in [false, true] {
        for (repeats, most_between) in [(0, 19), (30, 16), (60, 10)] {
            let [written, lost, doubled, _] = slide(newest_first, repeats, most_between, true);
            let what = format!("{newest_first} {repeats} {most_between}: of {written}, {lost} and {doubled}");
            assert!(lost * 200 <= written && doubled * 200 <= written, "{what}");
        }
    }
}
