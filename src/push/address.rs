//! `loki+http://…` and the like: which store, and where it is. Invariant: what prints reads as the same, without its
//! credentials, and what names it in the log is without its query, which may hold some.

use core::fmt;

use crate::config::text::{as_text, is};
use crate::http::Url;

/// Which store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Loki, and who takes what it takes.
    Loki,
    /// Elasticsearch, OpenSearch, and who has their `_bulk`.
    Elastic,
    /// ClickHouse.
    ClickHouse,
    /// Whoever takes JSON, a line each.
    Ndjson,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Loki, Self::Elastic, Self::ClickHouse, Self::Ndjson];

    /// What its URL begins with.
    const fn scheme(self) -> &'static str {
        match self {
            Self::Loki => "loki+http",
            Self::Elastic => "elastic+http",
            Self::ClickHouse => "clickhouse+http",
            Self::Ndjson => "http",
        }
    }

    /// Whether its lines have to be JSON.
    pub(crate) fn needs_json(self) -> bool {
        self != Self::Loki
    }

    /// Whether the body of a 2xx says what became of the lines. Of the others its head does.
    pub(crate) fn needs_body(self) -> bool {
        matches!(self, Self::Elastic | Self::ClickHouse)
    }
}

/// Words that others know a store by, and whose way to take lines it has.
const MEANT: &[(&str, Kind)] = &[
    ("loki", Kind::Loki),
    ("grafana", Kind::Loki),
    ("victorialogs", Kind::Loki),
    ("vlogs", Kind::Loki),
    ("elastic", Kind::Elastic),
    ("elasticsearch", Kind::Elastic),
    ("opensearch", Kind::Elastic),
    ("es", Kind::Elastic),
    ("clickhouse", Kind::ClickHouse),
    ("vector", Kind::Ndjson),
    ("ndjson", Kind::Ndjson),
    ("json", Kind::Ndjson),
];

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Which store.
    pub(crate) kind: Kind,
    /// Where it is.
    pub(crate) url: Url,
}

impl Address {
    /// Reads the text; `None` if it is about something else than HTTP.
    ///
    /// # Errors
    /// The end of a sentence that says what to give.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        let (scheme, rest) = text.split_once(':').filter(|(scheme, _)| !scheme.contains('/'))?;
        let (word, http) = scheme.rsplit_once('+').map_or(("", scheme), |(word, http)| (word, http));
        let is_https = is(http, "https");
        // What is secured has one letter more.
        let plain = if is_https && cfg!(feature = "tls") { scheme.strip_suffix('s').unwrap_or(scheme) } else { scheme };
        let known = Kind::ALL.into_iter().find(|kind| kind.scheme() == plain);
        if !is(http, "http") && !is_https {
            // Somebody knows the store, and not how it is written here.
            let kind = MEANT.iter().find(|(name, _)| is(scheme, name)).map(|(_, kind)| *kind)?;
            return rest.starts_with("//").then(|| Err(format!("write {}:{rest}", kind.scheme())));
        }
        if let Some(kind) = known {
            return Some(Url::parse(&format!("{http}:{rest}")).and_then(|url| Self { kind, url }.checked()));
        }
        Some(Err(if is_https && !cfg!(feature = "tls") {
            format!(
                "https:// needs a build with TLS (lumberjack-tls), which this is not: take that, or put a proxy such as stunnel \
                 or nginx on this box before it, and write {}://127.0.0.1:PORT/PATH",
                nearest(word).unwrap_or(Kind::Ndjson).scheme()
            )
        } else {
            match nearest(word) {
                Some(kind) => format!("write {}{}:{rest}", kind.scheme(), if is_https { "s" } else { "" }),
                None => "this store is not known: write loki+http://, elastic+http://, clickhouse+http://, or http:// \
                         for who takes JSON lines"
                    .to_owned(),
            }
        }))
    }

    fn checked(self) -> Result<Self, String> {
        let (path, query) = self.parts();
        match self.kind {
            Kind::Elastic if path.trim_matches('/').is_empty() => {
                Err("the index is missing: elastic+http://HOST:9200/INDEX".to_owned())
            }
            Kind::ClickHouse if !query.split('&').any(|part| part.starts_with("query=")) => Err(
                "the query is missing: clickhouse+http://HOST:8123/?query=INSERT%20INTO%20TABLE%20FORMAT%20JSONEachRow"
                    .to_owned(),
            ),
            _ => Ok(self),
        }
    }

    /// Path and query.
    pub(crate) fn parts(&self) -> (&str, &str) {
        self.url.target().split_once('?').unwrap_or((self.url.target(), ""))
    }

    /// What it is called in a sentence: without the query.
    pub(crate) fn name(&self) -> String {
        let whole = as_text(self);
        whole.split('?').next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = as_text(&self.url);
        write!(f, "{}{}", self.kind.scheme(), url.strip_prefix("http").unwrap_or(&url))
    }
}

/// The store that a word means, perhaps.
fn nearest(word: &str) -> Option<Kind> {
    let word = word.to_ascii_lowercase();
    if word.is_empty() {
        return Some(Kind::Ndjson);
    }
    // Who has the first letters right means no other.
    let is_like = |name: &str| word == name || (word.len() > 2 && word.get(..3) == name.get(..3));
    MEANT.iter().find(|(name, _)| is_like(name)).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p30_what_is_written_parses_and_prints_back_without_credentials() {
        for (text, printed, name) in [
            ("loki+http://gw:3100/loki/api/v1/push", "", "loki+http://gw:3100/loki/api/v1/push"),
            ("http://u:p@gw:8686/in?a=b", "http://gw:8686/in?a=b", "http://gw:8686/in"),
            ("elastic+http://[::1]:9200/logs", "", "elastic+http://[::1]:9200/logs"),
            #[cfg(feature = "tls")]
            ("loki+https://gw/loki/api/v1/push", "", "loki+https://gw/loki/api/v1/push"),
            #[cfg(feature = "tls")]
            ("https://gw:8686/in?a=b", "", "https://gw:8686/in"),
            ("clickhouse+http://h:8123/?query=INSERT+x&password=s3cret", "", "clickhouse+http://h:8123/"),
        ] {
            let address = Address::parse(text).unwrap().unwrap();
            let printed = if printed.is_empty() { text } else { printed };
            assert_eq!((address.to_string().as_str(), address.name().as_str()), (printed, name));
        }
        for text in ["app.log", "tcp:h:1", "./http://x", "nats://h/a", "http.log"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn p13_what_names_no_store_says_what_to_write() {
        for (text, sentence) in [
            ("elastic+http://h:9200/", "the index is missing: "),
            ("clickhouse+http://h:8123/", "the query is missing: "),
            #[cfg(not(feature = "tls"))]
            (
                "loki+https://h/",
                "https:// needs a build with TLS (lumberjack-tls), which this is not: take that, or put",
            ),
            #[cfg(not(feature = "tls"))]
            ("https://h/", "https:// needs a build with TLS"),
            #[cfg(feature = "tls")]
            ("lok+https://h/x", "write loki+https://h/x"),
            ("opensearch+http://h/logs", "write elastic+http://h/logs"),
            ("lok+http://h/x", "write loki+http://h/x"),
            ("loki://h/x", "write loki+http://h/x"),
            ("Http://h/x", "write http://h/x"),
            ("splunk+http://h/x", "this store is not known: write loki+http://, "),
            ("http:h", "two slashes are missing: "),
        ] {
            let error = Address::parse(text).unwrap().unwrap_err();
            assert!(error.starts_with(sentence), "{text}: {error}");
        }
    }
}
