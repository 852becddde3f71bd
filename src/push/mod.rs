//! Lines into stores that take them over HTTP: Loki, Elasticsearch, ClickHouse, and whoever takes JSON lines. Here is what is
//! sent, in which pieces, and what an answer means; the sockets are somebody else's, and so is the clock. Invariant: what was
//! taken is settled by an answer, or told as dropped, and until then it is here and can be sent again, byte for byte the same.

mod address;
mod answer;
mod date;
#[cfg(feature = "compress")]
mod gzip;
mod limit;
mod lines;
mod plan;
#[cfg(test)]
mod rules;
mod store;
#[cfg(test)]
mod world;

pub(crate) use self::address::{Address, Kind};
pub(crate) use self::lines::Line;
pub(crate) use self::plan::{Event, Plan, Position, Settings, Step};
pub(crate) use self::store::{Labels, Store};

use crate::http::Request;

/// A request with its body as gzip. That takes its time: 20 ms for 1 MiB, and on a small box ten times that.
pub(crate) fn packed(request: Request) -> Request {
    #[cfg(feature = "compress")]
    if let Some(body) = gzip::packed(&request.body) {
        let mut headers = request.headers;
        crate::http::add_field(&mut headers, store::CODING, "gzip");
        return Request { headers, body, ..request };
    }
    request
}

/// What a line takes in memory beside its bytes; of shorter ones than this, no more are collected.
pub(crate) const ITEM_BYTES: usize = size_of::<lines::Item>();
