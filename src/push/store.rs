//! What each store takes: how a line is encoded, and how some of them become a request. Invariant: the same lines become the
//! same bytes, however often they are sent, but for what a batch takes in.

use core::fmt::Write as _;

use super::address::{Address, Kind};
use super::lines::{Line, Lines};
use crate::config::text::is;
use crate::engine::peer::Peer;
use crate::http::{Method, Request, add_field};
use crate::sink::escape;

/// Where Loki takes lines.
const LOKI_PATH: &str = "/loki/api/v1/push";
/// Where Elasticsearch does, behind the name of an index.
const BULK: &str = "/_bulk";
/// Of its answer, that alone is looked at.
const FILTER: &str = "filter_path=errors,items.*.status";
const TYPE: &str = "Content-Type";
pub(super) const CODING: &str = "Content-Encoding";

/// How lines are told from those of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    /// The box, for people.
    pub(crate) box_name: String,
    /// The box, and of lines without a spool this run of it: random, so that nobody else has it.
    pub(crate) id: String,
}

/// A store, and how it takes lines.
pub(crate) struct Store {
    pub(super) kind: Kind,
    target: String,
    labels: Labels,
    /// Whether each line has its number with it.
    with_seq: bool,
    headers: Vec<(String, String)>,
    /// Whether bodies go out as gzip: [`packed`](super::packed).
    pub(super) packs: bool,
}

impl Store {
    /// The store at this place. `headers` go with each request, in place of ours of the same name.
    pub(crate) fn new(address: &Address, labels: Labels, mut headers: Vec<(String, String)>, with_seq: bool) -> Self {
        let kind = address.kind;
        let given = |name: &str| headers.iter().find(|(own, _)| is(own, name));
        // Of who takes JSON lines, nobody knows whether it unpacks them.
        let packs = match given(CODING) {
            Some((_, value)) => is(value, "gzip"),
            None => kind != Kind::Ndjson,
        };
        let packs = packs && cfg!(feature = "compress");
        let media = match kind {
            Kind::Loki | Kind::ClickHouse => "application/json",
            Kind::Elastic | Kind::Ndjson => "application/x-ndjson",
        };
        if given(TYPE).is_none() {
            add_field(&mut headers, TYPE, media);
        }
        headers.retain(|(name, _)| !is(name, CODING));
        Self { kind, target: target(address), labels, with_seq, headers, packs }
    }

    /// Appends a line as the store wants it.
    pub(super) fn encode(&self, line: &Line<'_>, nanos: u64, out: &mut Vec<u8>) {
        let text = line.bytes.strip_suffix(b"\n").unwrap_or(line.bytes);
        match self.kind {
            Kind::Loki => {
                // A comma before each, of which the first of a stream is left out.
                put(&format!(",[\"{nanos}\",\""), out);
                escape(text, out);
                if self.with_seq {
                    put(&format!("\",{{\"seq\":\"{}\"}}]", line.number), out);
                } else {
                    put("\"]", out);
                }
            }
            Kind::Elastic => {
                put(&format!("{{\"create\":{{\"_id\":\"{}-{}\"}}}}\n", self.labels.id, line.number), out);
                // The name that data streams want, and that everybody's dashboards look for.
                let rest = text.strip_prefix(b"{\"ts\":");
                put(if rest.is_some() { "{\"@timestamp\":" } else { "" }, out);
                self.end_json(rest.unwrap_or(text), line.number, out);
            }
            Kind::ClickHouse | Kind::Ndjson => self.end_json(text, line.number, out),
        }
    }

    /// Appends an object, with its number if that is asked for.
    fn end_json(&self, text: &[u8], number: u64, out: &mut Vec<u8>) {
        match text.strip_suffix(b"}").filter(|_| self.with_seq) {
            Some(open) => {
                out.extend_from_slice(open);
                put(&format!(",\"seq\":{number}}}\n"), out);
            }
            None => {
                out.extend_from_slice(text);
                out.push(b'\n');
            }
        }
    }

    /// The request with the first `count` lines, which are all from one number to another.
    pub(super) fn request(&self, lines: &Lines, count: usize, (first, last): (u64, u64)) -> Request {
        let body = if self.kind == Kind::Loki { self.streams(lines, count) } else { lines.first(count).to_vec() };
        let mut target = self.target.clone();
        if self.kind == Kind::ClickHouse {
            // Writing to a text does not fail.
            let _ = write!(
                target,
                "{}async_insert=0&insert_deduplication_token={}-{first}-{last}",
                if target.contains('?') { "&" } else { "?" },
                self.labels.id
            );
        }
        let headers = self.headers.clone();
        Request { method: Method::Post, target: Some(target), headers, body, takes_gzip: false }
    }

    /// Loki's lines: a stream for each host.
    fn streams(&self, lines: &Lines, count: usize) -> Vec<u8> {
        // Hosts, and of each its first line, and of each line the next one of its host: within a host they stay in order. A
        // sort would be 6 KB of code.
        let mut hosts: Vec<(Option<Peer>, usize, usize)> = Vec::new();
        let mut next = vec![usize::MAX; count];
        let mut starts = Vec::with_capacity(count);
        let (mut start, mut at) = (0, 0);
        for (number, item) in lines.items().iter().take(count).enumerate() {
            starts.push(start);
            start += item.len as usize;
            if !hosts.get(at).is_some_and(|host| is_same_host(host.0, item.peer)) {
                at = hosts.iter().position(|host| is_same_host(host.0, item.peer)).unwrap_or(hosts.len());
            }
            match hosts.get_mut(at) {
                Some((_, _, last)) => {
                    next.get_mut(*last).into_iter().for_each(|place| *place = number);
                    *last = number;
                }
                None => hosts.push((item.peer, number, number)),
            }
        }
        let bytes = lines.first(count);
        let mut body = Vec::with_capacity(bytes.len() + 1024);
        put("{\"streams\":[", &mut body);
        for (at, (peer, first, _)) in hosts.iter().enumerate() {
            put(if at > 0 { "," } else { "" }, &mut body);
            self.begin_stream(*peer, &mut body);
            let (mut number, mut comma) = (*first, 1);
            while let (Some(start), Some(item)) = (starts.get(number), lines.items().get(number)) {
                let encoded = bytes.get(start + comma..start + item.len as usize);
                body.extend_from_slice(encoded.unwrap_or_default());
                (number, comma) = (next.get(number).copied().unwrap_or(usize::MAX), 0);
            }
            put("]}", &mut body);
        }
        put("]}", &mut body);
        body
    }

    fn begin_stream(&self, peer: Option<Peer>, body: &mut Vec<u8>) {
        put("{\"stream\":{\"job\":\"lumberjack\",\"box\":\"", body);
        escape(self.labels.box_name.as_bytes(), body);
        if let Some(peer) = peer {
            put("\",\"host\":\"", body);
            put(&host(&peer), body);
        }
        put("\"},\"values\":[", body);
    }
}

/// Path and query of its requests, but for what is of one alone.
fn target(address: &Address) -> String {
    let (path, query) = address.parts();
    match address.kind {
        Kind::Loki if path == "/" => {
            let question = if query.is_empty() { "" } else { "?" };
            format!("{LOKI_PATH}{question}{query}")
        }
        Kind::Elastic => {
            let path = path.trim_end_matches('/');
            let bulk = if path.ends_with(BULK) { "" } else { BULK };
            let and = if query.is_empty() { "" } else { "&" };
            format!("{path}{bulk}?{query}{and}{FILTER}")
        }
        _ => address.url.target().to_owned(),
    }
}

#[inline(never)] // one copy, for size
fn put(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
}

/// Whether two are peers of one host.
fn is_same_host(one: Option<Peer>, other: Option<Peer>) -> bool {
    match (one, other) {
        (Some(Peer::V4 { ip, .. }), Some(Peer::V4 { ip: other, .. })) => ip == other,
        (Some(Peer::V6 { ip, scope, .. }), Some(Peer::V6 { ip: other, scope: others, .. })) => {
            ip == other && scope == others
        }
        (Some(Peer::Unix { .. }), Some(Peer::Unix { .. })) => true,
        (one, other) => one == other,
    }
}

/// A peer's address, without its port.
fn host(peer: &Peer) -> String {
    match *peer {
        Peer::V6 { ip, scope: 0, .. } => core::net::Ipv6Addr::from(ip).to_string(),
        Peer::V6 { ip, scope, .. } => format!("{}%{scope}", core::net::Ipv6Addr::from(ip)),
        _ => peer.host().to_string(),
    }
}
