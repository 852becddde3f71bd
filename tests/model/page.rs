//! A poller beside twins that take their time: the rule written with texts and loops; a log of which each line is to come out
//! once, whatever page shows it; and JSON as it was put together. What is answered goes through the client of HTTP.

use std::cell::RefCell;
use std::time::Duration;

use lumberjack::internals::http::{Client, Rules, Url};
use lumberjack::internals::poll::{News, Poller, Settings};

use super::{Script, Shown, Story, assert_same_bytes};

/// The first byte says what the others are.
pub(crate) fn run(input: &[u8]) {
    let mut script = Script::new(input);
    match script.below(4) {
        0 => rule(&mut script),
        1 => json(&mut script),
        2 => any_body(script.take(usize::MAX)),
        _ => log(&mut script),
    }
}

/// A poller and its server.
pub(crate) struct Fetcher {
    poller: Poller,
    client: Client,
    now: Duration,
    /// The head of the request that waits for its answer.
    asked: String,
}

/// The longest body that a server sends, of most.
const LONG_BODY: usize = 1 << 20;
/// More than eight lines and a kibibyte, so that it is known where a page was read to when it gets longer than that.
const SHORT_BODY: usize = 1700;

/// What a server answers.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) fields: &'a str,
    pub(crate) body: &'a [u8],
}

impl Fetcher {
    pub(crate) fn new(most_seen: usize, stored: Option<&[u8]>) -> Self {
        Self::of(most_seen, LONG_BODY, stored)
    }

    fn of(most_seen: usize, most_body: usize, stored: Option<&[u8]>) -> Self {
        let second = Duration::from_secs(1);
        let url = Url::parse("http://box/log").unwrap();
        let settings = Settings {
            name: "box".to_owned(),
            url: url.clone(),
            interval: second,
            timeout: second,
            most_body,
            most_seen,
            starts_new: false,
        };
        let (poller, refusal) = Poller::new(settings, [3; 16], 7, stored);
        assert_eq!(refusal, None);
        let rules = Rules { head: second, whole: second, most_body, asks_for_room: false };
        Self { poller, client: Client::new(url, None, rules), now: Duration::ZERO, asked: String::new() }
    }

    fn restart(&mut self, most_seen: usize) {
        if let Some(stored) = self.poller.stored() {
            *self = Self::of(most_seen, self.poller.settings().most_body, Some(&stored));
        }
    }

    /// Where the range begins that is asked for, and how long it may be, and the entity tag that is known already.
    fn ask(&mut self) -> (Option<(usize, usize)>, Option<String>) {
        self.now += self.poller.due_in(self.now).unwrap();
        self.client.begin(self.poller.next_request(self.now).unwrap(), self.now);
        if self.client.wants_connection() {
            self.client.connected(self.now);
        }
        let head = self.client.unsent().concat();
        self.client.sent(head.len(), self.now);
        self.asked = String::from_utf8(head).unwrap();
        let field = |name: &str| self.asked.split("\r\n").find_map(|line| line.strip_prefix(name));
        let range = field("Range: bytes=").map(|range| {
            let (first, last) = range.split_once('-').unwrap();
            let first = first.parse().unwrap();
            (first, last.parse().map_or(usize::MAX, |last: usize| last + 1 - first))
        });
        (range, field("If-None-Match: ").map(str::to_owned))
    }

    /// The new lines, and whether there was a gap.
    fn hear(&mut self, answer: &Answer<'_>) -> (Vec<u8>, bool) {
        let Answer { status, fields, body } = answer;
        let head = format!("HTTP/1.1 {status} X\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        self.client.received(&[head.as_bytes(), body].concat(), self.now);
        self.poller.answered(self.client.result().unwrap(), self.now);
        if self.client.must_close() {
            self.client.closed();
        }
        let fresh = self.poller.fresh().to_vec();
        self.poller.took(fresh.len(), self.now);
        let mut is_gap = false;
        while let Some(news) = self.poller.news() {
            is_gap |= news == News::Gap;
        }
        assert!(self.poller.held() < 4096 + 16 * body.len().max(4096));
        (fresh, is_gap)
    }

    pub(crate) fn page(&mut self, body: &[u8]) -> (Vec<u8>, bool) {
        self.ask();
        self.hear(&Answer { status: 200, fields: "", body })
    }
}

/// The rule, with texts and loops.
#[derive(Default)]
struct Twin {
    last: Vec<Vec<u8>>,
    /// The line without an end, and whether it was handed out.
    open: Option<(Vec<u8>, bool)>,
    newest_first: bool,
}

impl Twin {
    fn page(&mut self, body: &[u8]) -> (Vec<u8>, bool) {
        let mut page: Vec<Vec<u8>> = body.split(|byte| *byte == b'\n').map(without_return).collect();
        if page.iter().all(Vec::is_empty) && !body.contains(&b' ') {
            return (Vec::new(), false);
        }
        let is_open = !body.ends_with(b"\n");
        if !is_open {
            page.pop();
        }
        let is_first = self.last.is_empty() && self.open.is_none();
        let (mut is_new, is_gap) = if is_first { (vec![true; page.len()], false) } else { self.compare(&page) };
        let mut fresh = Vec::new();
        let before = self.open.take();
        if let Some((line, false)) = &before {
            let goes_on = page.iter().zip(&is_new).any(|(next, is_new)| *is_new && next.starts_with(line));
            if !goes_on {
                fresh.push(line.clone());
            }
        }
        let last = page.len() - 1;
        if is_open {
            let stays = before.is_some_and(|(line, is_told)| !is_told && line == page[last]);
            self.open = Some((page[last].clone(), !is_new[last] || stays));
            is_new[last] &= stays;
        }
        let mut new: Vec<Vec<u8>> =
            page.iter().zip(&is_new).filter(|(_, is_new)| **is_new).map(|(line, _)| line.clone()).collect();
        if self.newest_first {
            new.reverse();
        }
        fresh.extend(new);
        if is_open {
            page.pop();
        }
        self.last = page;
        (fresh.iter().flat_map(|line| [&line[..], b"\n"].concat()).collect(), is_gap)
    }

    fn compare(&mut self, page: &[Vec<u8>]) -> (Vec<bool>, bool) {
        let (head, foot) = self.frame(page);
        let frame = (head + foot > 0).then_some((head, foot));
        if self.is_believed(page, frame) {
            return (self.believe(page), false);
        }
        let len = page.len();
        if self.last.is_empty() && page[0].starts_with(&self.all()[0]) {
            return (vec![true; len], false);
        }
        if frame.is_none() {
            return self.count(page);
        }
        let mut middle = self.within(head, foot);
        let inner = &page[head..len - foot];
        let between = if middle.is_believed(inner, None) { middle.believe(inner) } else { middle.count(inner).0 };
        let has_grown = middle.all().is_empty() && !inner.is_empty();
        self.newest_first = if has_grown { foot > head } else { middle.newest_first };
        let is_last_new = foot > 0 && self.is_untold();
        let is_new = |at: usize| {
            if at < head || at >= len - foot { at == len - 1 && is_last_new } else { between[at - head] }
        };
        ((0..len).map(is_new).collect(), false)
    }

    fn all(&self) -> Vec<Vec<u8>> {
        self.last.iter().chain(self.open.iter().map(|(line, _)| line)).cloned().collect()
    }

    fn is_untold(&self) -> bool {
        matches!(self.open, Some((_, false)))
    }

    /// How many lines overlap in front, with the line that had no end and without, and at the back.
    fn overlaps(&self, page: &[Vec<u8>]) -> (usize, usize, usize) {
        let all = self.all();
        let end_of = |last: &[Vec<u8>]| longest(last, page, |len| last[last.len() - len..] == page[..len]);
        let without = if self.open.is_some() { end_of(&self.last) } else { 0 };
        (end_of(&all), without, longest(&all, page, |len| all[..len] == page[page.len() - len..]))
    }

    /// How many lines stay at the top, and at the bottom.
    fn frame(&self, page: &[Vec<u8>]) -> (usize, usize) {
        let all = self.all();
        let head = longest(&all, page, |len| all[..len] == page[..len]);
        let (below, page) = (&all[head..], &page[head..]);
        (head, longest(below, page, |len| below[below.len() - len..] == page[page.len() - len..]))
    }

    /// What was between them.
    fn within(&self, head: usize, foot: usize) -> Self {
        let all = self.all();
        let last = all[head..(all.len() - foot).min(self.last.len()).max(head)].to_vec();
        Self { last, open: self.open.clone().filter(|_| foot == 0), newest_first: self.newest_first }
    }

    /// Lines that an overlap has, and those that it says are gone.
    fn kept_and_gone(&self, page: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let mut all = self.all();
        let (with, without, back) = self.overlaps(page);
        if back > with.max(without) {
            let gone = all.split_off(back);
            return (all, gone);
        }
        if without > with {
            all.pop();
        }
        let kept = all.split_off(all.len() - with.max(without));
        (kept, all)
    }

    fn is_believed(&self, page: &[Vec<u8>], frame: Option<(usize, usize)>) -> bool {
        let (all, len) = (self.all(), page.len());
        let (kept, gone) = self.kept_and_gone(page);
        if kept.is_empty() || gone.is_empty() || kept.len() * 2 >= len {
            return !kept.is_empty();
        }
        let often = |lines: &[Vec<u8>], line: &[u8]| lines.iter().filter(|other| *other == line).count();
        let singles =
            |lines: &[Vec<u8>]| lines.iter().filter(|line| often(&all, line) == 1 && often(page, line) == 1).count();
        if let Some((head, foot)) = frame {
            let inner = self.within(head, foot).kept_and_gone(&page[head..len - foot]).0;
            let framed = singles(&all[..head]) + singles(&all[all.len() - foot..]) + singles(&inner);
            let is_half = !inner.is_empty() && inner.len() * 2 >= len - head - foot;
            if framed > singles(&kept) || framed == singles(&kept) && is_half {
                return false;
            }
        }
        let were_single = gone.iter().filter(|line| often(&all, line) == 1).count();
        let are_back = singles(&gone) > singles(&kept) && singles(&gone) * 3 > were_single;
        !are_back && gone.iter().any(|line| often(page, line) < often(&all, line))
    }

    fn believe(&mut self, page: &[Vec<u8>]) -> Vec<bool> {
        let len = page.len();
        let (with, without, back) = self.overlaps(page);
        let front = with.max(without);
        if back > front {
            self.newest_first = true;
            let is_last_new = self.is_untold() && back == self.all().len();
            return (0..len).map(|at| at < len - back || is_last_new && at == len - 1).collect();
        }
        self.newest_first &= front == len;
        let is_last_new = self.is_untold() && with == front;
        (0..len).map(|at| at >= front || is_last_new && at == front - 1).collect()
    }

    fn count(&self, page: &[Vec<u8>]) -> (Vec<bool>, bool) {
        let all = self.all();
        let mut known = if self.is_untold() { self.last.clone() } else { all.clone() };
        let is_new: Vec<bool> = page
            .iter()
            .map(|line| known.iter().position(|other| other == line).map(|at| known.swap_remove(at)).is_none())
            .collect();
        (is_new, page.iter().all(|line| !all.contains(line)))
    }
}

fn without_return(line: &[u8]) -> Vec<u8> {
    line.strip_suffix(b"\r").unwrap_or(line).to_vec()
}

fn longest(last: &[Vec<u8>], page: &[Vec<u8>], fits: impl Fn(usize) -> bool) -> usize {
    (0..=last.len().min(page.len())).rev().find(|len| fits(*len)).unwrap_or(0)
}

/// Pages that are changed in any way, with lines of which there are few, and errors in between.
fn rule(script: &mut Script<'_>) {
    let pages = RefCell::new(Vec::new());
    let _story = Story(&pages);
    let mut fetcher = Fetcher::new(10_000, None);
    let mut twin = Twin::default();
    let words = 2 + script.below(8);
    let is_framed = script.below(3) == 0;
    let mut page: Vec<String> = Vec::new();
    let word =
        |script: &mut Script<'_>| ["a", "b", "ab", "abc", "b ", "c", "", "d", "e", "f"][script.below(words)].to_owned();
    while !script.is_over() {
        let count = script.below(5);
        let lines: Vec<String> = (0..count).map(|_| word(script)).collect();
        match script.below(9) {
            0 => page.extend(lines),
            1 | 2 => {
                page.extend(lines);
                page.drain(..count);
            }
            3 | 4 => {
                page.splice(..0, lines);
                page.truncate(page.len() - count);
            }
            5 => page = lines,
            6 => page.iter_mut().skip(count).take(1).for_each(|line| *line = word(script)),
            7 => page.reverse(),
            _ => page.splice(..0, lines).for_each(drop),
        }
        let mut body = page.iter().map(|line| format!("{line}\n")).collect::<String>();
        if is_framed {
            let title = if script.below(4) == 0 { word(script) } else { "title".to_owned() };
            body = format!("--\n{title}\n{body}\n--\n");
        }
        if script.below(3) == 0 {
            body.pop();
        }
        if script.below(8) == 0 {
            body = body.replace('\n', "\r\n");
        }
        pages.borrow_mut().push(body.clone());
        if script.below(6) == 0 {
            let status = [204, 500, 404][script.below(3)];
            fetcher.ask();
            let body: &[u8] = if status == 204 { b"" } else { b"x\ny\n" };
            assert_eq!(fetcher.hear(&Answer { status, fields: "", body }), (Vec::new(), false));
        }
        let (fresh, is_gap) = fetcher.page(body.as_bytes());
        let (expected, is_gap_expected) = twin.page(body.as_bytes());
        assert_same_bytes("new lines", &fresh, &expected);
        assert_eq!(is_gap, is_gap_expected);
    }
}

/// How a log is shown.
#[derive(Debug)]
struct Show {
    /// Of how many lines a page is; 0 is the whole file.
    slides: usize,
    newest_first: bool,
    has_ranges: bool,
    has_tags: bool,
    /// No newline at the end of a page that slides.
    is_joined: bool,
    ending: &'static str,
    most_seen: usize,
    most_body: usize,
}

impl Show {
    fn of(script: &mut Script<'_>) -> Self {
        let slides = if script.below(2) == 0 { 0 } else { 2 + script.below(20) };
        let has_ranges = slides == 0 && script.below(2) == 0;
        Self {
            slides,
            newest_first: slides > 0 && script.below(2) == 0,
            has_ranges,
            most_body: if has_ranges && script.below(2) == 0 { SHORT_BODY } else { LONG_BODY },
            has_tags: script.below(2) == 0,
            is_joined: slides > 0 && script.below(2) == 0,
            ending: if script.below(2) == 0 { "\n" } else { "\r\n" },
            most_seen: if script.below(2) == 0 { 100_000 } else { 6 + script.below(20) },
        }
    }

    /// How many lines may come between two fetches so that something is seen of the last page.
    fn most_between(&self) -> usize {
        if self.slides == 0 && self.most_body == SHORT_BODY {
            8
        } else if self.slides == 0 {
            30
        } else {
            (self.slides - 1).min(self.most_seen - 3)
        }
    }

    fn page(&self, file: &[String], half: &str) -> String {
        let first = if self.slides == 0 { 0 } else { file.len().saturating_sub(self.slides) };
        let mut lines: Vec<&str> = file[first..].iter().map(String::as_str).collect();
        if self.newest_first {
            lines.reverse();
        }
        let mut page: String = lines.iter().map(|line| format!("{line}{}", self.ending)).collect();
        if self.is_joined {
            page.truncate(page.len() - page.len().min(self.ending.len()));
        }
        page + half
    }
}

/// A log whose lines are all different, each of which is to come out once.
fn log(script: &mut Script<'_>) {
    let show = Show::of(script);
    let ops = RefCell::new(Vec::new());
    let _story = Story(&(&show, &ops));
    let mut fetcher = Fetcher::of(show.most_seen, show.most_body, None);
    let (mut all, mut file) = (Vec::<String>::new(), Vec::<String>::new());
    let (mut half, mut unseen, mut delivered, mut gaps) = (String::new(), 0, Vec::new(), 0);
    let mut was_rotated = false;
    loop {
        let is_end = script.is_over() || ops.borrow().len() > 300;
        let op = if is_end { 100 } else { script.below(12) };
        ops.borrow_mut().push(op);
        let next = format!("{:04}:{};", all.len(), "x".repeat(all.len() * 7 % 60));
        match op {
            // A line, or the rest of one.
            0..=4 => {
                if unseen < show.most_between() {
                    unseen += 1;
                    half.clear();
                    all.push(next.clone());
                    file.push(next);
                }
            }
            // A part of it, which may be all but its newline. (A page that is nothing else, and whose last line begins in the same way
            // at the next fetch, reads as one with its newest lines first: by the rule, each line comes, in the other order.)
            5 if show.slides == 0 && !file.is_empty() => {
                half = next[..next.len().min(half.len() + script.below(40))].to_owned()
            }
            6 if show.slides == 0 && unseen == 0 && half.is_empty() && !file.is_empty() => {
                file.clear();
                was_rotated = true;
            }
            7 => fetcher.restart(show.most_seen),
            8 => {
                fetcher.ask();
                fetcher.hear(&Answer { status: 503, fields: "", body: b"busy\n" });
            }
            _ => {
                // At the end a line that waits has its say.
                for _ in 0..if is_end { 3 } else { 1 } {
                    let (fresh, is_gap) = serve(&mut fetcher, &show, &file, &half);
                    gaps += usize::from(is_gap);
                    delivered.extend(String::from_utf8(fresh).unwrap().lines().map(str::to_owned));
                }
                unseen = 0;
            }
        }
        if is_end {
            break;
        }
    }
    // What was handed out before it was whole has no semicolon; or it is the next line, without its newline.
    let mut delivered: Vec<String> = delivered.into_iter().filter(|line| line.ends_with(';')).collect();
    if delivered.last().is_some_and(|line| *line == half) {
        delivered.pop();
    }
    if show.newest_first {
        delivered.sort();
    }
    assert_eq!(delivered, all);
    assert!(gaps == 0 || was_rotated, "{gaps}");
}

/// Answers as a server of files does, until it is not asked again at once.
fn serve(fetcher: &mut Fetcher, show: &Show, file: &[String], half: &str) -> (Vec<u8>, bool) {
    let page = show.page(file, half);
    let tag = format!("\"{:x}-{}\"", page.len(), page.bytes().map(usize::from).sum::<usize>());
    let is_known = |known: &Option<String>| show.has_tags && known.as_ref() == Some(&tag);
    let mut fields = if show.has_ranges { "Accept-Ranges: bytes\r\n".to_owned() } else { String::new() };
    if show.has_tags {
        fields += &format!("ETag: {tag}\r\n");
    }
    let mut all = (Vec::new(), false);
    for _ in 0..20 {
        let (range, known) = fetcher.ask();
        let body = page.as_bytes();
        let (fresh, is_gap) = match range {
            _ if is_known(&known) => fetcher.hear(&Answer { status: 304, fields: &fields, body: b"" }),
            Some((start, _)) if start >= body.len() => {
                fetcher.hear(&Answer { status: 416, fields: &fields, body: b"" })
            }
            Some((start, most)) => {
                let end = body.len().min(start.saturating_add(most));
                let fields = format!("{fields}Content-Range: bytes {start}-{}/{}\r\n", end - 1, body.len());
                fetcher.hear(&Answer { status: 206, fields: &fields, body: &body[start..end] })
            }
            None => fetcher.hear(&Answer { status: 200, fields: &fields, body }),
        };
        all.0.extend(fresh);
        all.1 |= is_gap;
        if fetcher.poller.due_in(fetcher.now) != Some(Duration::ZERO) {
            return all;
        }
    }
    panic!("it asks again and again");
}

/// A value as it is written, and without blanks.
fn value(script: &mut Script<'_>, depth: usize, written: &mut String, plain: &mut String) {
    let blank = |script: &mut Script<'_>, written: &mut String| {
        written.push_str(["", "", " ", "\n", "\t\r\n", "  "][script.below(6)]);
    };
    blank(script, written);
    let scalars =
        ["0", "-12.5e+3", "true", "false", "null", "\"\"", "\"a b\"", r#""\"[,]{}\\""#, r#""\u00e9\n""#, "\"é\t\""];
    let kind = if depth == 0 { 0 } else { script.below(4) };
    if kind < 2 {
        // The last has a tab in it, which is no JSON.
        let scalar = scalars[script.below(scalars.len() - 1)];
        written.push_str(scalar);
        plain.push_str(scalar);
    } else {
        let (start, end) = if kind == 2 { ('[', ']') } else { ('{', '}') };
        let count = script.below(4);
        for text in [&mut *written, &mut *plain] {
            text.push(start);
        }
        for at in 0..count {
            if at > 0 {
                written.push(',');
                plain.push(',');
            }
            if kind == 3 {
                blank(script, written);
                written.push_str("\"k : \"");
                blank(script, written);
                written.push(':');
                plain.push_str("\"k : \":");
            }
            value(script, depth - 1, written, plain);
        }
        blank(script, written);
        written.push(end);
        plain.push(end);
    }
    blank(script, written);
}

const JSON: &str = "Content-Type: application/json\r\n";

/// What is new on the first two pages of a poller, which are the same.
fn first_page(fields: &str, body: &[u8]) -> Vec<u8> {
    let mut fetcher = Fetcher::new(10_000, None);
    let mut fresh = Vec::new();
    for _ in 0..2 {
        fetcher.ask();
        fresh.extend(fetcher.hear(&Answer { status: 200, fields, body }).0);
    }
    fresh
}

fn json(script: &mut Script<'_>) {
    let is_array = script.below(2) == 0;
    let count = script.below(5);
    let (mut body, mut expected) = (String::new(), String::new());
    body.push(if is_array { '[' } else { '{' });
    for at in 0..count {
        body.push_str(if at > 0 { "," } else { "" });
        if !is_array {
            expected.push_str(if at > 0 { "," } else { "" });
            body.push_str(" \"n\" :");
            expected.push_str("\"n\":");
        }
        value(script, 4, &mut body, &mut expected);
        expected.push_str(if is_array { "\n" } else { "" });
    }
    body.push_str(if is_array { " ]\n" } else { "\n}" });
    if !is_array {
        expected = format!("{{{expected}}}\n");
    }
    let _story = Story(&body.clone());
    let mut fetcher = Fetcher::new(10_000, None);
    fetcher.ask();
    let (fresh, _) = fetcher.hear(&Answer { status: 200, fields: JSON, body: body.as_bytes() });
    assert_same_bytes("lines of JSON", &fresh, expected.as_bytes());
    // Minified, they are the same lines.
    let again = if is_array {
        let lines: Vec<&str> = expected.lines().collect();
        format!("[{}]", lines.join(","))
    } else {
        expected
    };
    fetcher.ask();
    assert_same_bytes(
        "the same lines",
        &fetcher.hear(&Answer { status: 200, fields: JSON, body: again.as_bytes() }).0,
        b"",
    );
}

/// No body does harm: what comes out is in it, byte for byte, and comes out once.
pub(crate) fn any_body(body: &[u8]) {
    let _story = Story(&Shown(body));
    let has = |text: &[u8], byte: u8| text.iter().filter(|other| **other == byte).count();
    for fields in [JSON, "", "Content-Type: text/plain\r\n"] {
        let fresh = first_page(fields, body);
        for byte in 0..=255 {
            let most = has(body, byte) + if byte == b'\n' { has(body, b',') + 1 } else { 0 };
            assert!(has(&fresh, byte) <= most, "{byte}");
        }
        assert!(fresh.is_empty() || fresh.ends_with(b"\n"));
    }
}

/// Whether a body is taken for JSON.
pub(crate) fn is_json(body: &[u8]) -> bool {
    // Behind a newline it is the same JSON, and other lines.
    let marked = [b"\n", body].concat();
    let fresh = first_page(JSON, &marked);
    !fresh.starts_with(b"\n")
}
