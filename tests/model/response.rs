//! Answers to the HTTP client beside a reader that has all bytes at once and takes its time: both say the same, however the
//! bytes are cut, and little is held meanwhile.

use std::time::Duration;

use lumberjack::internals::http::{
    Answer, Client, MOST_HEAD_BYTES, MOST_HEADERS, MOST_INTERIM, Method, Request, Rules, Trouble, Url,
};

use super::{Script, Story};

/// What answers are made of, whole and broken.
const PIECES: [&str; 64] = [
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n",
    "HTTP/1.1 101 Other\r\n\r\n",
    "HTTP/1.1 204 None\r\n",
    "HTTP/1.1 206 Part\r\n",
    "HTTP/1.1 304 Same\r\n",
    "HTTP/1.1 302 Moved\r\n",
    "HTTP/1.1 401 No\r\n",
    "HTTP/1.1 500\n",
    "HTTP/1.1 999 \r\n",
    "HTTP/1.1 ",
    "HTTP/1.",
    "HTTP/2 200\r\n",
    "\x15\x03\x01",
    "SSH-2.0-x\r\n",
    "Content-Length: 5\r\n",
    "content-length: 05\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 11\r\n",
    "Content-Length: 299\r\n",
    "Content-Length: 301\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: 18446744073709551616\r\n",
    "Content-Length: -1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: CHUNKED\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Connection: close\r\n",
    "Connection: x, Keep-Alive\r\n",
    "Content-Encoding: identity\r\n",
    "Content-Encoding: gzip\r\n",
    "Content-Encoding: br\r\n",
    "Location: /b\r\n",
    "Location: ../x?y#z\r\n",
    "Location: http://h:81/c\r\n",
    "Location: https://h:81/\r\n",
    "Location:\r\n",
    "X: y\r\n",
    "X : y\r\n",
    " y\r\n",
    "X: \0\r\n",
    "X",
    ": ",
    "\r\n\r\n",
    "\r\n",
    "\n",
    "\r",
    "hello",
    "5\r\nhello\r\n",
    "5;a=b\r\nhello\r\n",
    "5 \r\n",
    "b\r\nhello world\r\n",
    "0\r\n\r\n",
    "0\r\n",
    "12d\r\n",
    "ffffffffffffffff\r\n",
    "10000000000000000\r\n",
    "g\r\n",
    ";",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
];

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Lost,
    /// Nothing more comes.
    Quiet,
}

/// What a server does.
#[derive(Debug, Clone)]
pub(crate) struct Talk {
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) end: End,
    pub(crate) method: Method,
    pub(crate) most_body: usize,
    pub(crate) asks_for_room: bool,
}

/// What comes of it.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// An answer, and whether the connection is kept.
    Answer {
        status: u16,
        fields: Vec<(String, String)>,
        body: Vec<u8>,
        is_kept: bool,
    },
    /// Its body is packed, which the slow reader can't undo.
    Packed {
        status: u16,
    },
    Trouble(Trouble),
    /// It goes on there.
    Redirect(String),
}

/// What an owner reads at once.
const MOST_READ: usize = 64 * 1024;
const HEAD: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(30);

/// Decodes a talk, and compares.
pub(crate) fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let end = [End::Fin, End::Lost, End::Quiet][script.below(3)];
    let method = [Method::Get, Method::Get, Method::Get, Method::Post][script.below(4)];
    let most_body = [300, 10, 0, 20_000][script.below(4)];
    let asks_for_room = script.below(3) == 0;
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    while !script.is_over() {
        let choice = script.byte();
        let piece = match choice {
            0..=199 => PIECES[usize::from(choice) % PIECES.len()].as_bytes().to_vec(),
            200..=223 => vec![script.byte()],
            224..=239 => vec![script.byte(); script.below(256)],
            240..=245 => vec![b'x'; script.below(256) * 80],
            246..=249 => b"X: y\r\n".repeat(script.below(70)),
            250..=252 => b"HTTP/1.1 100 Go\r\n\r\n".repeat(script.below(20)),
            _ => b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n".repeat(2 * script.below(256)),
        };
        // Some go together, some are cut in two.
        match script.byte() % 4 {
            0 => pieces.push(piece),
            1 => {
                let (start, end) = piece.split_at(piece.len().min(script.below(24)));
                pieces.extend([start.to_vec(), end.to_vec()]);
            }
            _ => match pieces.last_mut() {
                Some(last) => last.extend(piece),
                None => pieces.push(piece),
            },
        }
    }
    compare(&Talk { pieces, end, method, most_body, asks_for_room });
}

/// Lives it in its pieces, in one piece and byte by byte, and holds each against the slow reader.
pub(crate) fn compare(talk: &Talk) {
    let _story = Story(talk);
    let all = talk.pieces.concat();
    let expected = slowly(&all, talk);
    let bytes = if all.len() < 4_000 { 1 } else { 97 };
    let cuts: [Vec<&[u8]>; 3] = [
        talk.pieces.iter().flat_map(|piece| piece.chunks(MOST_READ)).collect(),
        all.chunks(MOST_READ).collect(),
        all.chunks(bytes).collect(),
    ];
    let mut packed = None;
    for pieces in cuts {
        let found = live(talk, &pieces);
        if let (Said::Packed { status }, Said::Answer { status: found, .. }) = (&expected, &found) {
            assert_eq!(status, found);
        } else if let Said::Packed { status: 200..300 } = expected {
            let is_of_packing = matches!(found, Said::Trouble(Trouble::NotGzip | Trouble::TooLong(_)));
            assert!(is_of_packing, "{found:?} of {}", all.escape_ascii());
        } else {
            assert!(found == expected, "{found:?} where {expected:?} is expected, of {}", all.escape_ascii());
        }
        assert!(packed.is_none_or(|other| other == found), "it depends on how it is cut");
        packed = Some(found);
    }
}

fn live(talk: &Talk, pieces: &[&[u8]]) -> Said {
    let rules = Rules { head: HEAD, whole: WHOLE, most_body: talk.most_body, asks_for_room: talk.asks_for_room };
    let mut client = Client::new(Url::parse("http://h:81/a/log").unwrap(), None, rules);
    let now = Duration::from_secs(1);
    client.begin(Request { method: talk.method, takes_gzip: true, ..Request::default() }, Duration::ZERO);
    client.connected(Duration::ZERO);
    client.sent(client.unsent().concat().len(), Duration::ZERO);
    let (mut longest, mut result) = (0, None);
    // What a redirect leads to is not answered here.
    let is_over = |client: &Client| client.must_close() || client.is_idle() || !client.unsent()[0].is_empty();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        client.received(piece, now);
        longest = longest.max(piece.len());
        // As vectors grow. What may come with a head is a piece.
        let most = 2 * MOST_HEAD_BYTES + talk.most_body.max(MOST_HEAD_BYTES) + 12_000;
        assert!(client.held() <= most + longest, "{} bytes are held", client.held());
        if let Some(room) = client.room_wanted() {
            assert!(room <= 2 * talk.most_body, "{room} bytes are wanted");
            client.grant(now);
        }
        assert!(client.room_wanted().is_none());
        while client.due_in(now) == Some(Duration::ZERO) {
            client.tick(now);
        }
        result = result.or(client.result());
    }
    if !is_over(&client) {
        match talk.end {
            End::Fin => client.ended(now),
            End::Lost => client.lost("reset", now),
            End::Quiet => {}
        }
        rest(&mut client, talk.end == End::Quiet);
        result = result.or(client.result());
    }
    let is_kept = !client.must_close();
    let said = match result {
        None => {
            client.closed();
            client.connected(now);
            let head = String::from_utf8(client.unsent().concat()).unwrap();
            return Said::Redirect(head.split(' ').nth(1).unwrap().to_owned());
        }
        Some(Err(trouble)) => Said::Trouble(trouble),
        Some(Ok(Answer { status, head, body, .. })) => {
            let names = ["content-length", "location", "x", "connection", "link"];
            let fields = names.iter().filter_map(|name| Some(((*name).to_owned(), head.header(name)?.to_owned())));
            Said::Answer { status, fields: fields.collect(), body, is_kept }
        }
    };
    assert!(
        client.is_idle() && client.held() == 0 && client.due_in(now).is_none() && client.unsent().concat().is_empty()
    );
    said
}

/// Lets time pass, if it may, until nothing is waited for.
fn rest(client: &mut Client, may_wait: bool) {
    let mut now = Duration::from_secs(1);
    for _ in 0..8 {
        let Some(wait) = client.due_in(now).filter(|wait| may_wait || wait.is_zero()) else { return };
        now += wait;
        client.tick(now);
    }
    panic!("it waits for nothing, and does not rest");
}

/// What the whole of it says.
fn slowly(all: &[u8], talk: &Talk) -> Said {
    let (mut at, mut interim) = (0, 0);
    loop {
        match slow_head(&all[at..], at, talk.end) {
            Err(trouble) => return Said::Trouble(trouble),
            Ok(head) if (100..200).contains(&head.status) => {
                interim += 1;
                if head.status == 101 {
                    return malformed("switches to another protocol, which nobody asked for");
                }
                if interim > MOST_INTERIM {
                    return malformed("begins with more than 16 interim ones");
                }
                at += head.len;
            }
            Ok(head) => {
                let rest = &all[at + head.len..];
                return slow_answer(&head, rest, talk).unwrap_or_else(Said::Trouble);
            }
        }
    }
}

fn malformed(why: &'static str) -> Said {
    Said::Trouble(Trouble::Malformed(why))
}

struct SlowHead {
    status: u16,
    is_newer: bool,
    fields: Vec<(String, String)>,
    len: usize,
}

impl SlowHead {
    fn all(&self, name: &str) -> Vec<String> {
        self.fields.iter().filter(|field| field.0.to_lowercase() == name).map(|field| field.1.clone()).collect()
    }

    fn words(&self, name: &str) -> Vec<String> {
        let lists = self.all(name);
        lists.iter().flat_map(|list| list.split(',')).map(|word| word.trim_ascii().to_lowercase()).collect()
    }
}

/// The first head. `before` bytes of interim ones count, too.
fn slow_head(bytes: &[u8], before: usize, end: End) -> Result<SlowHead, Trouble> {
    let ended = |shown: Option<String>| match end {
        End::Quiet => Trouble::NoHead(HEAD),
        End::Lost => Trouble::Io("reset".to_owned()),
        End::Fin => {
            shown.map_or(if bytes.is_empty() && before == 0 { Trouble::Silent } else { Trouble::Cut }, Trouble::NotHttp)
        }
    };
    let start = &bytes[..bytes.len().min(7)];
    let left = MOST_HEAD_BYTES - before;
    if !b"HTTP/1.".starts_with(start) {
        let first = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap();
        let is_strange_at = start.iter().zip(b"HTTP/1.").take_while(|(one, other)| one == other).count();
        if is_strange_at >= left {
            return Err(Trouble::HeadTooLong);
        }
        if bytes.starts_with(b"\x15\x03") {
            return Err(if left < 2 { Trouble::HeadTooLong } else { Trouble::Tls });
        }
        let cut = first.len() > 40;
        let shown = format!("{}{}", first[..first.len().min(40)].escape_ascii(), if cut { "…" } else { "" });
        let is_whole = cut || first.ends_with(b"\n");
        return Err(match is_whole {
            _ if first.len().min(41) > left => Trouble::HeadTooLong,
            true => Trouble::NotHttp(shown),
            false => ended(Some(shown)),
        });
    }
    let mut lines = Vec::new();
    let mut len = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        len += line.len();
        lines.push(line);
        let is_blank = line.ends_with(b"\n") && line[..line.len() - 1].iter().all(|byte| *byte == b'\r');
        if len > left {
            return Err(Trouble::HeadTooLong);
        }
        if is_blank && lines.len() > 1 {
            return slow_lines(&lines, len);
        }
    }
    Err(ended(None))
}

/// Lines that begin with a space belong to the one before (RFC 9112, 5.2).
fn slow_unfolded(lines: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for line in lines {
        match all.last_mut() {
            Some(before) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                let (start, more) = (before.trim_ascii_end().to_vec(), line.trim_ascii());
                *before = if more.is_empty() { start } else { [&start, &b" "[..], more].concat() };
            }
            _ => all.push(line.to_vec()),
        }
    }
    all
}

fn slow_lines(lines: &[&[u8]], len: usize) -> Result<SlowHead, Trouble> {
    let unreadable = || Trouble::Malformed("has a head that cannot be read");
    let is_text = |byte: u8| byte == b'\t' || (byte >= 32 && byte != 127);
    let mut texts = Vec::new();
    for line in lines {
        let line = line.strip_suffix(b"\n").unwrap();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        texts.push(line);
    }
    let (first, rest) = texts.split_first().unwrap();
    let rest = slow_unfolded(rest);
    let is_newer = first.starts_with(b"HTTP/1.1 ");
    if !is_newer && !first.starts_with(b"HTTP/1.0 ") {
        return Err(unreadable());
    }
    let digits = first.get(9..12).filter(|digits| digits.iter().all(u8::is_ascii_digit)).ok_or_else(unreadable)?;
    let reason = &first[12..];
    if !reason.is_empty() && (reason[0] != b' ' || !reason.iter().all(|byte| is_text(*byte))) {
        return Err(unreadable());
    }
    let mut fields = Vec::new();
    for line in &rest {
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(unreadable)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name.is_empty() || !name.iter().all(is_token) || !value.iter().all(|byte| is_text(*byte)) {
            return Err(unreadable());
        }
        if fields.len() == MOST_HEADERS {
            return Err(Trouble::HeadTooLong);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
        fields.push((text(name), text(value)));
    }
    let status: u16 = std::str::from_utf8(digits).unwrap().parse().unwrap();
    if status < 100 {
        return Err(Trouble::Malformed("has no status from 100 to 999"));
    }
    Ok(SlowHead { status, is_newer, fields, len })
}

/// A body, what is wrong with it, and whether more came than it has.
struct SlowBody {
    bytes: Vec<u8>,
    trouble: Option<Trouble>,
    has_surplus: bool,
}

/// The length, if one is named.
fn slow_length(head: &SlowHead) -> Result<Option<u64>, Trouble> {
    let mut lengths = Vec::new();
    for word in head.words("content-length") {
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let number = word.parse::<u64>().ok().filter(|_| is_number);
        let number = number.ok_or(Trouble::Malformed("has a length that is no number"))?;
        if lengths.first().is_some_and(|other| *other != number) {
            return Err(Trouble::Malformed("has two lengths"));
        }
        lengths.push(number);
    }
    Ok(lengths.first().copied())
}

/// Why a body's transfer coding is not read.
fn slow_coding(head: &SlowHead, codings: &[String], has_length: bool) -> Option<&'static str> {
    match (has_length, head.is_newer, codings) {
        (_, _, []) => None,
        (true, _, _) => Some("has a length and chunks"),
        (_, false, _) => Some("has chunks, which HTTP/1.0 does not have"),
        (_, _, [one]) if one.to_lowercase() == "chunked" => None,
        _ => Some("has a transfer coding that was not asked for"),
    }
}

/// A body of one length, or up to the end.
fn slow_plain(rest: &[u8], length: Option<u64>, talk: &Talk, most: usize) -> SlowBody {
    let end = length.map_or(rest.len(), |length| usize::try_from(length).unwrap_or(rest.len()));
    let is_short = length.is_some_and(|length| length > rest.len() as u64);
    let bytes = &rest[..end.min(rest.len())];
    let trouble = if bytes.len() > most {
        Some(Trouble::TooLong(most))
    } else if is_short || (length.is_none() && talk.end != End::Fin) {
        Some(ended(talk.end))
    } else {
        None
    };
    SlowBody { bytes: bytes[..bytes.len().min(most)].to_vec(), trouble, has_surplus: rest.len() > end }
}

fn slow_answer(head: &SlowHead, rest: &[u8], talk: &Talk) -> Result<Said, Trouble> {
    let length = slow_length(head)?;
    let is_success = head.status / 100 == 2;
    let most = if is_success { talk.most_body } else { talk.most_body.min(16_384) };
    let codings = head.all("transfer-encoding");
    let has_none = [204, 304].contains(&head.status) || (codings.is_empty() && length == Some(0));
    let is_until_end = !has_none && codings.is_empty() && length.is_none();
    if let Some(why) = slow_coding(head, &codings, length.is_some()).filter(|_| !has_none) {
        return Err(Trouble::Malformed(why));
    }
    let coded: Vec<String> = head.words("content-encoding");
    let coded: Vec<String> = coded.into_iter().filter(|word| !word.is_empty() && word != "identity").collect();
    let other = coded.iter().enumerate().find(|(at, name)| *at > 0 || name.as_str() != "gzip").map(|(_, name)| name);
    if is_success && !has_none {
        if let Some(name) = other {
            return Err(Trouble::Coding(name.clone()));
        }
        if !coded.is_empty() && head.status == 206 {
            return Err(Trouble::Coding("gzip".to_owned()));
        }
        if codings.is_empty() && length.is_some_and(|length| length > most as u64) {
            return Err(Trouble::TooLong(most));
        }
    }
    let body = if has_none {
        SlowBody { bytes: Vec::new(), trouble: None, has_surplus: !rest.is_empty() }
    } else if !codings.is_empty() {
        slow_chunks(rest, talk, most)
    } else {
        slow_plain(rest, length, talk, most)
    };
    let closes = head.words("connection").contains(&"close".to_owned());
    let keeps =
        !is_until_end && !closes && (head.is_newer || head.words("connection").contains(&"keep-alive".to_owned()));
    let is_kept = keeps && !body.has_surplus && body.trouble.is_none();
    match body.trouble {
        Some(trouble) if is_success => return Err(trouble),
        _ => {}
    }
    let is_redirect = [301, 302, 303, 307, 308].contains(&head.status) && talk.method == Method::Get;
    if let Some(location) = head.all("location").first().filter(|_| is_redirect) {
        let from = Url::parse("http://h:81/a/log").unwrap();
        // What took too long is not followed.
        if let (Some(Trouble::TooSlow(after)), Ok(_)) = (body.trouble, from.resolve(location)) {
            return Err(Trouble::TooSlow(after));
        }
        return Ok(Said::Redirect(from.resolve(location)?.target().to_owned()));
    }
    if other.is_none() && !coded.is_empty() && !body.bytes.is_empty() {
        return Ok(Said::Packed { status: head.status });
    }
    let names = ["content-length", "location", "x", "connection", "link"];
    let fields = names.iter().filter_map(|name| Some(((*name).to_owned(), head.all(name).first()?.clone()))).collect();
    let bytes = if other.is_some() { Vec::new() } else { body.bytes };
    Ok(Said::Answer { status: head.status, fields, body: bytes, is_kept })
}

fn ended(end: End) -> Trouble {
    match end {
        End::Fin => Trouble::Cut,
        End::Lost => Trouble::Io("reset".to_owned()),
        End::Quiet => Trouble::TooSlow(WHOLE),
    }
}

/// A line up to its `\r\n`.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole,
    /// A `\r` or a `\n` alone.
    Broken,
    /// So much is there, and whether its `\r` is.
    Partial {
        has_return: bool,
    },
}

fn slow_line(rest: &[u8]) -> (&[u8], Line) {
    let end = rest.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(rest.len());
    let line = match rest[end..] {
        [b'\r', b'\n', ..] => Line::Whole,
        [b'\r'] => Line::Partial { has_return: true },
        [] => Line::Partial { has_return: false },
        _ => Line::Broken,
    };
    (&rest[..end], line)
}

fn slow_chunks(rest: &[u8], talk: &Talk, most: usize) -> SlowBody {
    let (mut bytes, mut at, mut extra) = (Vec::new(), 0, 0);
    let failed = |bytes: Vec<u8>, trouble| SlowBody { bytes, trouble: Some(trouble), has_surplus: true };
    let broken = Trouble::Malformed("has chunks that cannot be read");
    let too_much = Trouble::Malformed("has more than 16KiB around its chunks");
    loop {
        let (text, line) = slow_line(&rest[at..]);
        let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, behind) = (std::str::from_utf8(&text[..digits]).unwrap(), &text[digits..]);
        if text.is_empty() && line == (Line::Partial { has_return: false }) {
            return failed(bytes, ended(talk.end));
        }
        let Ok(size) = u64::from_str_radix(size, 16) else { return failed(bytes, broken) };
        if behind.first().is_some_and(|byte| !b"; \t".contains(byte)) {
            return failed(bytes, broken);
        }
        extra += behind.len();
        match line {
            _ if extra > 16_384 => return failed(bytes, too_much),
            Line::Whole => at += text.len() + 2,
            Line::Broken => return failed(bytes, broken),
            Line::Partial { .. } => return failed(bytes, ended(talk.end)),
        }
        if size == 0 {
            break;
        }
        let there = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len() - at);
        let room = most - bytes.len();
        bytes.extend(&rest[at..at + there.min(room)]);
        if there > room {
            return failed(bytes, Trouble::TooLong(most));
        }
        at += there;
        for expected in *b"\r\n" {
            match rest.get(at) {
                None => return failed(bytes, ended(talk.end)),
                Some(byte) if *byte == expected => at += 1,
                Some(_) => return failed(bytes, broken),
            }
        }
    }
    loop {
        let (text, line) = slow_line(&rest[at..]);
        extra += text.len();
        match line {
            _ if extra > 16_384 => return failed(bytes, too_much),
            Line::Whole if text.is_empty() => {
                return SlowBody { bytes, trouble: None, has_surplus: rest.len() > at + 2 };
            }
            Line::Whole => at += text.len() + 2,
            Line::Broken => return failed(bytes, broken),
            Line::Partial { .. } => return failed(bytes, ended(talk.end)),
        }
    }
}
