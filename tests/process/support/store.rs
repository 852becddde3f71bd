//! Stores of the tests' own, on real sockets, which answer as Loki, Elasticsearch, ClickHouse and those of JSON lines are documented
//! to: what they keep, what they know twice, and whatever else a test makes them answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::http::Json;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) target: String,
    pub(crate) fields: BTreeMap<String, String>,
    /// Unpacked.
    pub(crate) body: String,
    pub(crate) at: Instant,
}

/// What is done with one.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// As the store does it.
    Usual,
    /// The store has it, and the connection ends before it says so.
    LoseAnswer,
    /// The connection ends in the middle of the request.
    Cut,
    /// This status, with these fields, each with its line's end, and nothing is kept.
    Status(u16, String),
    /// The store has it, and says it in these bytes.
    Bytes(String),
    /// Nothing is said, for as long as the other side waits.
    Hang,
}

/// Which store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Loki,
    Elastic,
    ClickHouse,
    Ndjson,
}

/// What it has, in the order in which it came.
#[derive(Debug, Default)]
struct Kept {
    lines: Vec<String>,
    known: BTreeSet<String>,
}

type Decide = Box<dyn FnMut(&Post) -> Reply + Send>;

struct Shared {
    kind: Kind,
    decide: Mutex<Decide>,
    posts: Mutex<Vec<Post>>,
    kept: Mutex<Kept>,
}

/// A store that listens.
pub(crate) struct Store {
    shared: Arc<Shared>,
    addr: SocketAddr,
}

impl Store {
    /// One that does as stores do.
    pub(crate) fn start(kind: Kind) -> Self {
        Self::that(kind, |_| Reply::Usual)
    }

    /// One that does what is decided for each request.
    pub(crate) fn that(kind: Kind, decide: impl FnMut(&Post) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            kind,
            decide: Mutex::new(Box::new(decide)),
            posts: Mutex::default(),
            kept: Mutex::default(),
        });
        let ours = Arc::clone(&shared);
        // It ends with the process: nobody waits for it.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, stream) = (Arc::clone(&ours), stream.unwrap());
                thread::spawn(move || serve(&shared, &stream));
            }
        });
        Self { shared, addr }
    }

    /// From now on it does this.
    pub(crate) fn decide(&self, decide: impl FnMut(&Post) -> Reply + Send + 'static) {
        *self.shared.decide.lock().unwrap() = Box::new(decide);
    }

    /// What `--output` calls it.
    pub(crate) fn place(&self) -> String {
        let addr = self.addr;
        match self.shared.kind {
            Kind::Loki => format!("loki+http://{addr}/loki/api/v1/push"),
            Kind::Elastic => format!("elastic+http://{addr}/logs"),
            Kind::ClickHouse => format!("clickhouse+http://{addr}/?query=INSERT%20INTO%20logs%20FORMAT%20JSONEachRow"),
            Kind::Ndjson => format!("http://{addr}/in"),
        }
    }

    /// The same in a sentence.
    pub(crate) fn name(&self) -> String {
        self.place().split('?').next().unwrap().to_owned()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.shared.posts.lock().unwrap().clone()
    }

    /// The lines that it has, without what was around them.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.shared.kept.lock().unwrap().lines.clone()
    }

    /// How many those are.
    pub(crate) fn count(&self) -> usize {
        self.shared.kept.lock().unwrap().lines.len()
    }
}

fn serve(shared: &Shared, stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    while let Some(post) = read_post(&mut reader) {
        shared.posts.lock().unwrap().push(post.clone());
        let reply = (shared.decide.lock().unwrap())(&post);
        let (status, fields, body) = match reply {
            Reply::Usual => keep(shared, &post),
            Reply::Status(status, fields) => (status, fields, String::new()),
            Reply::LoseAnswer | Reply::Cut => {
                if matches!(reply, Reply::LoseAnswer) {
                    keep(shared, &post);
                }
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            Reply::Bytes(bytes) => {
                keep(shared, &post);
                if (&*stream).write_all(bytes.as_bytes()).is_err() {
                    return;
                }
                continue;
            }
            Reply::Hang => {
                // Until the other side has enough of it.
                let _ = (&*stream).read(&mut [0]);
                return;
            }
        };
        let head = format!("HTTP/1.1 {status} So\r\n{fields}Content-Length: {}\r\n\r\n", body.len());
        let length = if status == 204 { head.replace("Content-Length: 0\r\n", "") } else { head };
        if (&*stream).write_all((length + &body).as_bytes()).is_err() {
            return;
        }
    }
}

fn read_post(reader: &mut BufReader<&TcpStream>) -> Option<Post> {
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return None;
    }
    let mut fields = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        fields.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; fields.get("content-length")?.parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    if fields.get("content-encoding").is_some_and(|coding| coding == "gzip") {
        body = unpacked(&body);
    }
    let mut words = first.split(' ');
    assert_eq!(words.next(), Some("POST"), "{first}");
    let target = words.next().unwrap().to_owned();
    Some(Post { target, fields, body: String::from_utf8(body).unwrap(), at: Instant::now() })
}

#[cfg(feature = "compress")]
fn unpacked(body: &[u8]) -> Vec<u8> {
    miniz_oxide::inflate::decompress_to_vec(&body[10..body.len() - 8]).unwrap()
}

#[cfg(not(feature = "compress"))]
fn unpacked(_: &[u8]) -> Vec<u8> {
    panic!("nothing can have packed it");
}

/// The line in an object of `--format json`, or the object itself if it is a mark.
fn line_of(object: &str) -> String {
    let json = Json::parse(object);
    if object.contains("\"gap\":{") { object.to_owned() } else { json.text_at("line").to_owned() }
}

/// Keeps what is in it, as this store does, and says so.
fn keep(shared: &Shared, post: &Post) -> (u16, String, String) {
    let kept = &mut *shared.kept.lock().unwrap();
    let Kept { lines, known } = kept;
    let objects = || post.body.lines().map(str::to_owned);
    match shared.kind {
        Kind::Ndjson => {
            lines.extend(objects().map(|object| line_of(&object)));
            (200, String::new(), String::new())
        }
        Kind::ClickHouse => {
            let token = post.target.split("insert_deduplication_token=").nth(1).unwrap();
            // A block with a token that it knows is as good as there.
            if known.insert(token.to_owned()) {
                lines.extend(objects().map(|object| line_of(&object)));
            }
            (200, String::new(), String::new())
        }
        Kind::Elastic => {
            let mut statuses = Vec::new();
            let all: Vec<String> = objects().collect();
            for pair in all.chunks(2) {
                let id = Json::parse(&pair[0]).text_at("create._id").to_owned();
                assert!(pair[1].starts_with("{\"@timestamp\":\""), "{}", pair[1]);
                let is_new = known.insert(id);
                if is_new {
                    lines.push(line_of(&pair[1]));
                }
                statuses.push(if is_new { 201 } else { 409 });
            }
            let items: Vec<String> =
                statuses.iter().map(|status| format!("{{\"create\":{{\"status\":{status}}}}}")).collect();
            let errors = statuses.contains(&409);
            (200, String::new(), format!("{{\"errors\":{errors},\"items\":[{}]}}", items.join(",")))
        }
        Kind::Loki => {
            let json = Json::parse(&post.body);
            for stream in json.list_at("streams") {
                let Json::Object(labels) = stream.at("stream") else { panic!("no labels: {stream:?}") };
                for entry in stream.list_at("values") {
                    let (time, line) = (entry.text_at("0"), entry.text_at("1"));
                    // It drops an exact repeat.
                    if known.insert(format!("{labels:?} {time} {line}")) {
                        lines.push(line.to_owned());
                    }
                }
            }
            (204, String::new(), String::new())
        }
    }
}
