//! `lumberjack read --from nats://…`: the lines of a stream again, as they were formatted, while servers take more or not. Invariant:
//! nothing in the stream is changed, and one message is held.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use memchr::memchr;
use socket2::{Domain, Socket, Type};

use super::asked::{End, FOLLOW_EVERY, Spooled, stdout};
use super::cat::{Since, contains, time_of};
use super::logging::complain;
use super::reader::has_lost_reader;
use crate::config::text::as_text;
use crate::config::units::DisplayLines;
use crate::linux::EINPROGRESS;
use crate::nats::fetch::{Answer, Denied, Fetch, Message};
use crate::nats::{Settings, Url};

/// How long a connect may take, and how long nothing of an answer may come.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between tries, if a stream that is followed can't be asked.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Shows the lines; whether all were to be had, which is so if there is no error.
pub(super) fn read(asked: &Spooled, url: &Url) -> Result<bool, End> {
    let settings = asked.stream.settings(url)?;
    let mut show = Show::new(asked, stdout()?);
    let mut from = None;
    loop {
        let stop = match pass(&settings, url, &mut show, &mut from) {
            Ok(()) => break,
            Err(stop) => stop,
        };
        let (sentence, may_pass) = match stop {
            Stop::Out(error) => return Err(End::of_stdout(&error)),
            Stop::Denied(Denied { sentence, may_pass }) => (format!("cannot read {url}: {sentence}"), may_pass),
        };
        let out = show.out.flush().map_err(|error| End::of_stdout(&error));
        if !(asked.follows && may_pass && from.is_some()) {
            return Err(End::Sentence(sentence));
        }
        out?;
        if !show.is_away {
            complain(&format_args!("{sentence}; trying again"));
            show.is_away = true;
        }
        if has_lost_reader(RETRY_EVERY) {
            return Err(End::Enough);
        }
    }
    show.out.flush().map_err(|error| End::of_stdout(&error))?;
    if show.unnamed > 0 {
        let lines = DisplayLines(show.unnamed);
        complain(&format_args!("{lines:#} without a sender, and left out: --format peer and json have one"));
    }
    Ok(true)
}

/// Why a connection led to no more.
enum Stop {
    Out(io::Error),
    Denied(Denied),
}

impl From<Denied> for Stop {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

/// Reads on one connection, from the sequence `from` on, if that is known.
fn pass(settings: &Settings, url: &Url, show: &mut Show<'_>, from: &mut Option<u64>) -> Result<(), Stop> {
    let mut talk = Talk::begin(url, settings)?;
    let Answer { first, last, .. } = *talk.answer()?;
    let mut next = match *from {
        // A stream that was put back goes on with what it has.
        Some(from) => from.min(last.saturating_add(1)),
        None => talk.search(first, last, show.since)?,
    };
    loop {
        *from = Some(next);
        let message = talk.get(next)?.filter(|message| show.asked.follows || message.sequence <= last);
        show.is_away = false;
        match message {
            Some(message) => {
                show.message(message).map_err(Stop::Out)?;
                next = message.sequence.saturating_add(1);
            }
            None if show.asked.follows => {
                show.out.flush().map_err(Stop::Out)?;
                if has_lost_reader(FOLLOW_EVERY) {
                    return Err(Stop::Out(ErrorKind::BrokenPipe.into()));
                }
            }
            None => return Ok(()),
        }
    }
}

/// A connection.
struct Talk<'a> {
    socket: Socket,
    fetch: Fetch<'a>,
    out: String,
    piece: Vec<u8>,
}

impl<'a> Talk<'a> {
    /// To the first server that can be reached.
    fn begin(url: &Url, settings: &'a Settings) -> Result<Self, Denied> {
        let mut random = [0; 12];
        File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).map_err(|error| lost(&error))?;
        let mut why = ErrorKind::NotFound.into();
        for server in &url.servers {
            match connect(&server.host, server.port) {
                Ok(socket) => {
                    let fetch = Fetch::new(settings, random);
                    return Ok(Self { socket, fetch, out: String::new(), piece: vec![0; PIECE_BYTES] });
                }
                Err(error) => why = error,
            }
        }
        Err(lost(&why))
    }

    /// The message with this sequence, or the next one that there is.
    fn get(&mut self, sequence: u64) -> Result<Option<&Message>, Denied> {
        self.fetch.ask(sequence, &mut self.out);
        Ok(self.answer()?.message.as_ref())
    }

    fn answer(&mut self) -> Result<&Answer, Denied> {
        loop {
            self.socket.write_all(self.out.as_bytes()).map_err(|error| lost(&error))?;
            self.out.clear();
            let count = match self.socket.read(&mut self.piece) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => {
                    read.and_then(|count| if count == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(count) })
                }
            };
            let came = self.piece.get(..count.map_err(|error| lost(&error))?).unwrap_or_default();
            if self.fetch.receive(came, &mut self.out)? {
                return Ok(self.fetch.answer());
            }
        }
    }

    /// The sequence from which on messages were stored at that time or later: no line came later than its message.
    fn search(&mut self, first: u64, last: u64, since: Option<i64>) -> Result<u64, Denied> {
        let Some(since) = since else { return Ok(first) };
        let (mut low, mut high) = (first, last.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle)? {
                Some(message) if stored_ms(message) < since => low = message.sequence.saturating_add(1),
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

fn connect(host: &str, port: u16) -> io::Result<Socket> {
    let mut why = ErrorKind::NotFound.into();
    for address in (host, port).to_socket_addrs()? {
        match connect_to(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => why = error,
        }
    }
    Err(why)
}

fn connect_to(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // On Linux it also limits how long connecting may take.
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(&address.into())?;
    Ok(socket)
}

#[inline(never)] // one copy, for size
fn lost(why: &io::Error) -> Denied {
    let sentence = match why.kind() {
        ErrorKind::UnexpectedEof => "the server has closed the connection".to_owned(),
        ErrorKind::WouldBlock => "the server does not answer".to_owned(),
        _ if why.raw_os_error() == Some(EINPROGRESS) => "the server does not answer".to_owned(),
        _ => as_text(&why),
    };
    Denied { sentence, may_pass: true }
}

fn stored_ms(message: &Message) -> i64 {
    time_of(message.time.as_bytes()).unwrap_or(i64::MAX)
}

/// Which lines are shown.
struct Show<'a> {
    asked: &'a Spooled,
    out: BufWriter<File>,
    since: Option<i64>,
    until: Option<i64>,
    /// Lines that do not say who sent them, where that is asked for.
    unnamed: u64,
    /// It was said that the stream can't be asked.
    is_away: bool,
}

impl<'a> Show<'a> {
    fn new(asked: &'a Spooled, out: BufWriter<File>) -> Self {
        let [since, until] = [asked.since, asked.until].map(|time| time.map(Since::unix_ms));
        Self { asked, out, since, until, unnamed: 0, is_away: false }
    }

    fn message(&mut self, message: &Message) -> io::Result<()> {
        let stored = stored_ms(message);
        let mut rest = message.lines.as_slice();
        loop {
            let end = memchr(b'\n', rest);
            let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
            if self.has(line, stored) {
                self.out.write_all(line)?;
                self.out.write_all(b"\n")?;
            }
            match end {
                Some(_) => rest = after.get(1..).unwrap_or_default(),
                None => return Ok(()),
            }
        }
    }

    /// Whether a line is shown, of a message that was stored then. What has no time of its own has that one.
    fn has(&mut self, line: &[u8], stored: i64) -> bool {
        let body = line.strip_prefix(b"[lumberjack gap] ").unwrap_or(line);
        let at = time_of(body).unwrap_or(stored);
        let is_then = self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until);
        if !is_then || !contains(line, &self.asked.wanted) {
            return false;
        }
        let Some(wanted) = self.asked.host else { return true };
        let sender = sender_of(body);
        self.unnamed += u64::from(sender.is_none());
        sender == Some(wanted)
    }
}

/// Who sent a line, as `--format peer` and `json` have it: an address, or `None` for a client of a Unix socket.
fn sender_of(line: &[u8]) -> Option<Option<IpAddr>> {
    time_of(line)?;
    let (before, ending) = if line.starts_with(b"{") { (&b"\",\"peer\":\""[..], b'"') } else { (&b" "[..], b' ') };
    let at = line.windows(before.len()).position(|part| part == before)?;
    let sender = line.get(at + before.len()..)?;
    let sender = sender.split(|byte| *byte == ending).next()?;
    let sender = str::from_utf8(sender.strip_prefix(b"peer=").unwrap_or(sender)).ok()?;
    if sender.starts_with("unix#") {
        return Some(None);
    }
    let (ip, _) = sender.rsplit_once(':')?;
    let ip = ip.trim_matches(['[', ']']);
    let ip = ip.split_once('%').map_or(ip, |(ip, _)| ip);
    Some(Some(ip.parse::<IpAddr>().ok()?.to_canonical()))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::thread::JoinHandle;

    use super::*;
    use crate::cli::asked::Streamed;

    const MINUTE: &str = "2026-11-26T22:0";

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digit = |bits: u32| char::from(DIGITS[bits as usize & 63]);
        let quad = |part: &[u8]| {
            let bits = part.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
            let digits: String = (0..=part.len()).map(|at| digit(bits >> (18 - 6 * at))).collect();
            format!("{digits:=<4}")
        };
        bytes.chunks(3).map(quad).collect()
    }

    /// A server with these messages, each stored at its minute, for so many requests a connection. Gives back what was asked for.
    fn serve(messages: Vec<(u64, u8, &'static str)>, most: Vec<usize>) -> (u16, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for most in most {
                let (socket, _) = listener.accept().unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                (&socket).write_all(b"INFO {\"headers\":true}\r\n").unwrap();
                let mut lines = BufReader::new(&socket).lines();
                let mut left = most;
                while left > 0 {
                    let Some(Ok(line)) = lines.next() else { break };
                    let words: Vec<&str> = line.split(' ').collect();
                    let body = match words[..] {
                        ["PING"] => {
                            (&socket).write_all(b"PONG\r\n").unwrap();
                            continue;
                        }
                        ["PUB", api, ..] if api.contains("INFO") => {
                            let of = |message: Option<&(u64, u8, &str)>| message.map_or(0, |message| message.0);
                            let (first, last) = (of(messages.first()), of(messages.last()));
                            format!("{{\"state\":{{\"first_seq\":{first},\"last_seq\":{last}}}}}")
                        }
                        ["PUB", ..] => {
                            let body = lines.next().unwrap().unwrap();
                            let digits = body.trim_start_matches("{\"seq\":").split(',').next().unwrap();
                            let from: u64 = digits.parse().unwrap();
                            asked.push(body);
                            let found = messages.iter().find(|message| message.0 >= from);
                            found.map_or(r#"{"error":{"code":404,"err_code":10037}}"#.to_owned(), |(seq, at, text)| {
                                let (time, data) = (format!("{MINUTE}{at}:00.5Z"), base64(text.as_bytes()));
                                format!(r#"{{"message":{{"seq":{seq},"data":"{data}","time":"{time}"}}}}"#)
                            })
                        }
                        _ => continue,
                    };
                    left -= 1;
                    write!(&socket, "MSG {} 1 {}\r\n{body}\r\n", words[2], body.len()).unwrap();
                }
            }
            asked
        });
        (port, server)
    }

    fn messages() -> Vec<(u64, u8, &'static str)> {
        vec![
            (1, 0, "2026-11-26T22:00:00Z 192.0.2.7:5 one\n2026-11-26T22:00:00Z unix#3 two"),
            (2, 1, "plain"),
            (5, 2, "{\"ts\":\"2026-11-26T22:00:30Z\",\"peer\":\"[2001:db8::1]:5\",\"line\":\"late\"}"),
            (9, 3, "[lumberjack gap] 2026-11-26T22:03:00Z peer=192.0.2.7:5 lines=1 bytes=2 why=rate"),
        ]
    }

    /// What is shown of these messages, what was asked for, and how many lines had no sender.
    fn shown(options: &[(&str, &str)]) -> (String, Vec<String>, u64) {
        let (port, server) = serve(messages(), vec![usize::MAX]);
        let mut asked = Spooled { reads: true, ..Spooled::default() };
        for (option, text) in options {
            match *option {
                "match" => asked.wanted = (*text).into(),
                option => asked.set(option, text).unwrap(),
            }
        }
        asked.directory = format!("nats://127.0.0.1:{port}/logs.{{box}}.*").into();
        asked.stream = Streamed { name: "LOGS".to_owned(), box_name: "web.1".to_owned(), ..Streamed::default() };
        asked.find_stream().unwrap();
        let url = asked.stream.url.clone().unwrap();
        let (mut pipe, writer) = io::pipe().unwrap();
        let mut show = Show::new(&asked, BufWriter::new(File::from(OwnedFd::from(writer))));
        let settings = asked.stream.settings(&url).map_err(drop).unwrap();
        pass(&settings, &url, &mut show, &mut None).map_err(drop).unwrap();
        let unnamed = show.unnamed;
        show.out.flush().unwrap();
        drop(show);
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        (text, server.join().unwrap(), unnamed)
    }

    #[test]
    fn all_lines_are_shown_in_the_order_of_the_stream_and_what_came_later_is_not_waited_for() {
        let (text, asked, _) = shown(&[]);
        let wanted: String = messages().iter().map(|(_, _, text)| format!("{text}\n")).collect();
        assert_eq!(text, wanted);
        assert_eq!(asked.len(), 5);
        assert_eq!(asked[1], r#"{"seq":2,"next_by_subj":"logs.web_1.*"}"#);
    }

    #[test]
    fn lines_are_chosen_by_time_sender_and_text() {
        for (options, wanted, unnamed) in [
            (&[("match", "o")][..], &["one", "two"][..], 0),
            (&[("since", "2026-11-26T22:01Z")], &["plain", "why=rate"], 0),
            (&[("until", "2026-11-26T22:01Z")], &["one", "two", "late"], 0),
            (&[("host", "192.0.2.7")], &["one", "why=rate"], 1),
            (&[("host", "unix")], &["two"], 1),
            (&[("host", "2001:db8::1")], &["late"], 1),
            (&[("since", "2026-11-26T23:00Z")], &[], 0),
        ] {
            let (text, _, without) = shown(options);
            let lines: Vec<&str> = text.lines().collect();
            let is_so = lines.len() == wanted.len() && lines.iter().zip(wanted).all(|(line, part)| line.contains(part));
            assert!(is_so, "{options:?}: {text}");
            assert_eq!(without, unnamed, "{options:?}");
        }
    }

    #[test]
    fn messages_before_the_time_that_is_asked_for_are_searched_and_not_read() {
        let texts = (0..1000).map(|at| (at + 1, u8::try_from(at / 112).unwrap(), "x")).collect();
        let (port, server) = serve(texts, vec![usize::MAX]);
        let url = Url::parse_pattern(&format!("nats://127.0.0.1:{port}/>")).unwrap().unwrap();
        let settings = Settings { stream: "LOGS".to_owned(), subject: ">".to_owned(), ..Settings::default() };
        let mut talk = Talk::begin(&url, &settings).map_err(|denied| denied.sentence).unwrap();
        let Answer { first, last, .. } = *talk.answer().unwrap();
        let since = time_of(format!("{MINUTE}8:00Z").as_bytes());
        assert_eq!(talk.search(first, last, since), Ok(8 * 112 + 1));
        drop(talk);
        assert!(server.join().unwrap().len() <= 11);
    }

    #[test]
    fn a_server_that_goes_amid_is_told_with_where_it_was() {
        let (port, server) = serve(messages(), vec![2]);
        let url = Url::parse_pattern(&format!("nats://127.0.0.1:{port}/>")).unwrap().unwrap();
        let settings = Settings { stream: "LOGS".to_owned(), subject: ">".to_owned(), ..Settings::default() };
        let asked = Spooled::default();
        let (pipe, writer) = io::pipe().unwrap();
        let mut show = Show::new(&asked, BufWriter::new(File::from(OwnedFd::from(writer))));
        let mut from = None;
        let Err(Stop::Denied(denied)) = pass(&settings, &url, &mut show, &mut from) else { panic!("it goes on") };
        assert!(denied.may_pass, "{denied:?}");
        assert_eq!(from, Some(2), "the next pass begins there");
        server.join().unwrap();
        drop(pipe);
        let Err(Stop::Denied(denied)) = pass(&settings, &url, &mut show, &mut from) else { panic!("it goes on") };
        assert!(denied.sentence.contains("refused"), "{denied:?}");
    }

    #[test]
    fn p13_what_a_stream_needs_is_said() {
        let find = |place: &str, options: &[(&str, &str)]| {
            let mut asked = Spooled { reads: true, directory: place.into(), ..Spooled::default() };
            options.iter().for_each(|(option, text)| asked.set(option, text).unwrap());
            asked.find_stream().map(|()| asked.stream.url.is_some())
        };
        assert_eq!(find("./nats:x", &[]), Ok(false));
        assert_eq!(find("nats://h/>", &[("nats-stream", "LOGS")]), Ok(true));
        for (place, options, sentence) in [
            ("nats://h/logs", &[][..], "nats://h:4222/logs: give the name of the stream with --nats-stream"),
            ("nats://u:s3cr@t@h", &[], "--from h: the subject is missing"),
            (
                "nats://u:s3cret@h/a",
                &[("nats-stream", "L"), ("nats-creds", "f")],
                "nats://h:4222/a: it says who we are",
            ),
            ("nats://h/a", &[("nats-stream", "L"), ("first", "7")], "nats://h:4222/a: a stream has its lines as"),
            ("nats://h/a", &[("nats-stream", "L"), ("format", "raw")], "nats://h:4222/a: a stream has its lines as"),
            ("/var/spool", &[("box", "a")], "--nats-stream, --nats-creds and --box are for"),
        ] {
            let error = find(place, options).unwrap_err();
            assert!(error.starts_with(sentence), "{place}: {error}");
        }
        assert!(Streamed::default().set("nats-stream", "a.b").unwrap_err().starts_with("a stream's name has no dots"));
    }
}
