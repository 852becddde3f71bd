//! How a server is, as JSON, CSV, a screen of text, and Prometheus metrics. Invariant: no metric has a label whose values
//! come from clients.

use std::fmt::Write;

use super::history::{SAMPLES, Sample, Trouble};
use crate::engine::json::{Json, quote};
#[cfg(feature = "tls")]
use crate::engine::stats::TlsCounters;
use crate::engine::stats::{Counters, Gauges, Kind, OutputCounters, PollerCounters, Row as Number, Table, View};

/// All that is shown of a server, as it is now.
#[derive(Debug, Clone)]
pub struct Board<'a> {
    /// The diagnostics: counters, gauges, limits and outputs.
    pub view: View<'a>,
    /// Name and value of every option of the program.
    pub settings: &'a [(&'static str, String)],
    /// How long it has run, in milliseconds.
    pub uptime_ms: u64,
    /// What time it is, in milliseconds since 1970.
    pub wall_ms: u64,
    /// Why lines do not flow; empty if they do, or would if clients sent any.
    pub reasons: Vec<&'static str>,
    /// Memory that the status endpoint itself takes, in bytes.
    pub status_bytes: u64,
    /// Memory that the process takes, in bytes.
    pub rss: u64,
    /// How many descriptors are open, and how many may be.
    pub descriptors: (u64, u64),
    /// Who is connected.
    pub listed: Listed,
    /// What is to be looked into.
    pub troubles: &'a [Trouble],
    /// The last minutes, if they are asked for.
    pub samples: &'a [Sample],
}

/// The connections and hosts that rank highest.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// The connections with most pending bytes, then most traffic, or as it was asked for; numbers as in [`CONNECTION`].
    pub connections: Vec<Row>,
    /// Likewise the hosts; numbers as in [`HOST`].
    pub hosts: Vec<Row>,
    /// How many connections are as they were looked for, and how many hosts have such a one.
    pub matching: u64,
    /// See [`Self::matching`].
    pub matching_hosts: u64,
    /// How many connections were compared with what was looked for.
    pub searched: u64,
}

/// One connection, or one host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Its address.
    pub who: String,
    /// What it is doing; empty for a host.
    pub state: &'static str,
    /// The numbers, in the order of their names.
    pub numbers: [u64; 8],
}

/// Names of the numbers of a connection: milliseconds since it came and since its last byte, bytes read, lines written,
/// bytes of its unfinished line, lines and bytes a second since the last look, and lines of it that limits dropped or cut.
pub const CONNECTION: &str = "sinceMs idleMs bytes lines pendingBytes linesPerSecond bytesPerSecond dropped";
/// Names of the numbers of a host, over all its connections: how many there are, and the same.
pub const HOST: &str = "connections pendingBytes bytes lines linesPerSecond bytesPerSecond dropped";
/// The most bytes that a connection and a host take together, as rows and as JSON.
pub const MOST_ROW_BYTES: usize = 1024;

impl Board<'_> {
    /// One JSON object in one line. Sizes are in bytes, times in milliseconds.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = Json::new();
        self.view.write(&mut json);
        json.object("settings", |json| {
            for (name, value) in self.settings {
                json.text(name, value);
            }
        });
        json.text("version", env!("CARGO_PKG_VERSION"));
        json.numbers("uptimeMs wallMs", &[self.uptime_ms, self.wall_ms]);
        json.object("health", |json| {
            json.boolean("ok", self.reasons.is_empty()).texts("reasons", &self.reasons);
            json.objects("troubles", self.troubles, |json, trouble| {
                json.text("text", &trouble.text).number("forMs", trouble.for_ms);
            });
        });
        json.object("memory", |json| {
            let gauges = self.view.gauges;
            let (pending, outputs) = (gauges.pending_bytes, gauges.sink_waiting_bytes);
            let used = pending + outputs + self.status_bytes;
            json.numbers(
                "budget pending outputs status used rss",
                &[self.view.limits.memory as u64, pending, outputs, self.status_bytes, used, self.rss],
            );
        });
        let (used, allowed) = self.descriptors;
        json.object("descriptors", |json| json.numbers("used allowed", &[used, allowed]));
        let Listed { connections, hosts, matching, matching_hosts, searched } = &self.listed;
        rows(&mut json, "connections", "peer", CONNECTION, connections);
        rows(&mut json, "hosts", "host", HOST, hosts);
        json.object("found", |json| {
            json.numbers("connections hosts searched", &[*matching, *matching_hosts, *searched]);
        });
        if !self.samples.is_empty() {
            json.objects("history", self.samples, |json, sample| json.numbers(SAMPLES, &sample.numbers));
        }
        json.object("help", |json| {
            help(json, "losses", Kind::Loss);
            help(json, "events", Kind::Event);
        });
        json.finish()
    }

    /// The connections, a row each.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut text =
            "peer,since_ms,idle_ms,bytes,lines,pending_bytes,lines_per_s,bytes_per_s,dropped,state\r\n".to_owned();
        for row in &self.listed.connections {
            // No address and no state has a comma or a quote in it.
            text.push_str(&row.who);
            fill(&mut text, ",#,#,#,#,#,#,#,#,", &row.numbers);
            put(&mut text, &[row.state, "\r\n"]);
        }
        text
    }

    /// One screen.
    #[must_use]
    pub fn to_text(&self) -> String {
        let View { listen, limits, counters, gauges, outputs, pollers, .. } = self.view;
        let mut text = String::from(concat!("lumberjack ", env!("CARGO_PKG_VERSION"), " on "));
        let health = if self.reasons.is_empty() { "lines flow" } else { "unhealthy" };
        put(&mut text, &[&listen.join(", "), ": ", health]);
        for reason in &self.reasons {
            put(&mut text, &["\n* ", reason]);
        }
        for trouble in self.troubles {
            put(&mut text, &["\n- ", &trouble.text]);
            fill(&mut text, ", for # s", &[trouble.for_ms / 1000]);
        }
        fill(
            &mut text,
            "\nup # s, connections # of #, hosts #, open files # of #\n\
             lines #, bytes #; in KiB: unfinished #, for outputs #, of #; whole process #\n",
            &[
                self.uptime_ms / 1000,
                gauges.active_connections,
                limits.max_connections as u64,
                gauges.hosts,
                self.descriptors.0,
                self.descriptors.1,
                counters.lines,
                counters.bytes,
                gauges.pending_bytes.div_ceil(1024),
                gauges.sink_waiting_bytes.div_ceil(1024),
                (limits.memory / 1024) as u64,
                self.rss / 1024,
            ],
        );
        for output in outputs {
            let at = if output.server.is_empty() { "" } else { " at " };
            put(&mut text, &["output ", &output.name, at, &output.server]);
            non_zero(&mut text, &OutputCounters::TABLE, &output.counters.values(), |_| true);
        }
        for poller in pollers {
            let state = if poller.last_error.is_empty() { poller.state } else { &poller.last_error };
            put(&mut text, &["poller ", &poller.name, ", ", state]);
            non_zero(&mut text, &PollerCounters::TABLE, &poller.counters.values(), |_| true);
        }
        text.push_str("dropped and turned away");
        non_zero(&mut text, &Counters::TABLE, &counters.values(), |kind| kind == Kind::Loss);
        text.push_str("events");
        non_zero(&mut text, &Counters::TABLE, &counters.values(), |kind| kind == Kind::Event);
        text.push_str("\n      here s    silent s       bytes       lines     lines/s  unfinished  peer, state\n");
        for row in &self.listed.connections {
            let [since_ms, idle_ms, bytes, lines, pending, rate, ..] = row.numbers;
            fill(&mut text, "%%%%%%  ", &[since_ms / 1000, idle_ms / 1000, bytes, lines, rate, pending]);
            put(&mut text, &[&row.who, ", ", row.state, "\n"]);
        }
        text
    }

    /// Prometheus' text format 0.0.4.
    #[must_use]
    pub fn to_metrics(&self) -> String {
        let mut text = String::new();
        let View { limits, counters, gauges, outputs, pollers, .. } = self.view;
        singles(&mut text, &Counters::TABLE, &counters.values());
        singles(&mut text, &Gauges::TABLE, &gauges.values());
        for (row, number) in [
            ("max_connections Connections at once at most (--max-connections).", limits.max_connections as u64),
            ("memory_limit_bytes Memory that clients and outputs may take (--memory).", limits.memory as u64),
            ("status_bytes Memory that the status endpoint takes.", self.status_bytes),
            ("resident_memory_bytes Memory that the process takes.", self.rss),
            ("open_fds File descriptors that are open.", self.descriptors.0),
            ("max_fds File descriptors that may be open.", self.descriptors.1),
            ("uptime_seconds How long it has run.", self.uptime_ms / 1000),
            ("healthy 1 while lines flow or could.", u64::from(self.reasons.is_empty())),
        ] {
            let (metric, help) = row.split_once(' ').unwrap_or((row, ""));
            single(&mut text, &Number { name: "", kind: Kind::Gauge, metric, help }, number);
        }
        // The names are in the operator's settings; their control characters are escaped already.
        let named = outputs.iter().map(|output| (output.name.as_str(), output.counters.values().to_vec()));
        labelled(&mut text, &OutputCounters::TABLE, "output", &named.collect::<Vec<_>>());
        if !pollers.is_empty() {
            let named = pollers.iter().map(|poller| (poller.name.as_str(), poller.counters.values().to_vec()));
            labelled(&mut text, &PollerCounters::TABLE, "poller", &named.collect::<Vec<_>>());
        }
        #[cfg(feature = "tls")]
        self.certificates(&mut text);
        let version = Number { name: "", kind: Kind::Gauge, metric: "build_info", help: "The version." };
        head(&mut text, &version);
        text.push_str(concat!("lumberjack_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1\n"));
        text
    }
}

#[cfg(feature = "tls")]
impl Board<'_> {
    /// What has happened at listeners with TLS, and how long our certificates last, if there are any.
    fn certificates(&self, text: &mut String) {
        let View { tls, certificates, .. } = self.view;
        if certificates.is_empty() {
            return;
        }
        singles(text, &TlsCounters::TABLE, &tls.values());
        let help = "How long our certificate at a listener is still valid; less than 0: it has expired.";
        head(text, &Number { name: "", kind: Kind::Gauge, metric: "tls_certificate_expiry_seconds", help });
        let now = i64::try_from(self.wall_ms / 1000).unwrap_or(i64::MAX);
        for one in certificates {
            let (listener, left) = (&one.listener, one.not_after - now);
            let _ = writeln!(text, "lumberjack_tls_certificate_expiry_seconds{{listener=\"{listener}\"}} {left}");
        }
    }
}

/// Appends each part.
#[inline(never)] // one copy, for size
fn put(text: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| text.push_str(part));
}

/// Appends `pattern` with the next number in place of each `#`, and in place of each `%` in a column of 12.
#[inline(never)] // one copy, for size
fn fill(text: &mut String, pattern: &str, numbers: &[u64]) {
    let mut numbers = numbers.iter();
    for letter in pattern.chars() {
        match numbers.as_slice() {
            [number, ..] if matches!(letter, '#' | '%') => {
                let width = if letter == '#' { 0 } else { 12 };
                let _ = write!(text, "{number:width$}");
                numbers.next();
            }
            _ => text.push(letter),
        }
    }
}

#[inline(never)] // one copy, for size
fn rows(json: &mut Json, name: &str, who: &str, numbers: &str, rows: &[Row]) {
    json.objects(name, rows, |json, row| {
        json.text(who, &row.who).numbers(numbers, &row.numbers);
        if !row.state.is_empty() {
            json.text("state", row.state);
        }
    });
}

/// The rest of a line: each number that is not 0 and of a kind that `is_meant`, with its name.
#[inline(never)] // one copy, for size
fn non_zero(text: &mut String, table: &Table, numbers: &[u64], is_meant: fn(Kind) -> bool) {
    let mut separator = ": ";
    table.each(numbers, &mut |row, number| {
        if number > 0 && is_meant(row.kind) {
            put(text, &[separator, row.name]);
            fill(text, " #", &[number]);
            separator = ", ";
        }
    });
    text.push_str(if separator == ": " { ": nothing\n" } else { "\n" });
}

/// What each counter of this kind means.
#[inline(never)] // one copy, for size
fn help(json: &mut Json, name: &str, kind: Kind) {
    json.object(name, |json| {
        let mut each = |row: &Number, _| {
            if row.kind == kind {
                json.text(row.name, row.help);
            }
        };
        Counters::TABLE.each(&Counters::default().values(), &mut each);
        OutputCounters::TABLE.each(&OutputCounters::default().values(), &mut each);
    });
}

/// Writes what stands before a metric. Gives what stands behind its name.
#[inline(never)] // one copy, for size
fn head(text: &mut String, row: &Number) -> &'static str {
    let (end, kind) = if row.kind == Kind::Gauge { ("", " gauge\n") } else { ("_total", " counter\n") };
    put(text, &["# HELP lumberjack_", row.metric, end, " ", row.help, "\n# TYPE lumberjack_", row.metric, end, kind]);
    end
}

/// A metric with one number.
#[inline(never)] // one copy, for size
fn single(text: &mut String, row: &Number, number: u64) {
    let end = head(text, row);
    put(text, &["lumberjack_", row.metric, end]);
    fill(text, " #\n", &[number]);
}

/// Metrics with a number for each of several things, which a label names.
#[inline(never)] // one copy, for size
fn labelled(text: &mut String, table: &Table, label: &str, things: &[(&str, Vec<u64>)]) {
    let count = table.names.split_ascii_whitespace().count();
    let mut at = 0;
    table.each(&vec![0; count], &mut |row, _| {
        let end = head(text, row);
        for (name, numbers) in things {
            put(text, &["lumberjack_", row.metric, end, "{", label, "="]);
            quote(name, text);
            fill(text, "} #\n", &[numbers.get(at).copied().unwrap_or_default()]);
        }
        at += 1;
    });
}

/// Metrics with one number each.
#[inline(never)] // one copy, for size
fn singles(text: &mut String, table: &Table, numbers: &[u64]) {
    table.each(numbers, &mut |row, number| single(text, row, number));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::Limits;
    use crate::engine::stats::{OutputStats, Snapshot};

    #[test]
    fn each_number_has_a_metric_and_a_sentence() {
        let is_snake = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        for (table, count, prefix) in [
            (Counters::TABLE, Counters::default().values().len(), ""),
            (Gauges::TABLE, Gauges::default().values().len(), ""),
            (OutputCounters::TABLE, OutputCounters::default().values().len(), "output_"),
            #[cfg(feature = "tls")]
            (TlsCounters::TABLE, TlsCounters::default().values().len(), "tls_"),
        ] {
            let mut rows = Vec::new();
            table.each(&vec![0; count], &mut |row, _| rows.push(*row));
            assert_eq!(rows.len(), count);
            for row in rows {
                assert!(is_snake(row.metric) && row.metric.starts_with(prefix), "{row:?}");
                assert!(row.name.bytes().all(|byte| byte.is_ascii_alphabetic()), "{row:?}");
                let is_sentence = row.help.starts_with(char::is_uppercase) && row.help.ends_with('.');
                assert!(is_sentence && !row.help.contains(['\\', '\n']), "{row:?}");
            }
        }
    }

    /// A server with two outputs, one of which has an odd name.
    fn snapshot() -> Snapshot {
        let output = |name: &str| OutputStats {
            name: name.to_owned(),
            server: String::new(),
            counters: OutputCounters::default(),
        };
        Snapshot {
            running: true,
            port: None,
            counters: Counters { lines: 7, skipped_lines: 2, unterminated: 3, ..Counters::default() },
            gauges: Gauges { pending_bytes: 10, ..Gauges::default() },
            limits: Limits::default(),
            listen: vec!["unix:/run/a".to_owned()],
            outputs: vec![output("stdout"), output("a \"b\"\\")],
            pollers: Vec::new(),
            #[cfg(feature = "tls")]
            tls: TlsCounters::default(),
            #[cfg(feature = "tls")]
            certificates: vec![crate::engine::stats::CertificateStats {
                listener: "127.0.0.1:6514".to_owned(),
                not_after: 7,
            }],
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn p33_metrics_say_how_long_a_certificate_lasts() {
        let metrics = board(&snapshot(), &[]).to_metrics();
        for line in [
            "# TYPE lumberjack_tls_handshakes_total counter",
            "# TYPE lumberjack_tls_connections gauge",
            "# TYPE lumberjack_tls_certificate_expiry_seconds gauge",
            "lumberjack_tls_certificate_expiry_seconds{listener=\"127.0.0.1:6514\"} 7",
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
        }
    }

    fn board<'a>(snapshot: &'a Snapshot, settings: &'a [(&'static str, String)]) -> Board<'a> {
        let row = |who: &str, state| Row { who: who.to_owned(), state, numbers: [1, 2, 3, 4, 5, 6, 7, 8] };
        let (connections, hosts) = (vec![row("192.0.2.7:5", "reading")], vec![row("192.0.2.7", "")]);
        Board {
            view: View::new(snapshot, &[]),
            settings,
            uptime_ms: 61_500,
            wall_ms: 5,
            reasons: vec!["it is tired"],
            status_bytes: 30,
            rss: 4096,
            descriptors: (9, 1024),
            listed: Listed { connections, hosts, matching: 9, matching_hosts: 3, searched: 10 },
            troubles: &[],
            samples: &[Sample { numbers: [1, 2, 3, 4, 5], waiting: 6 }],
        }
    }

    #[test]
    fn json_has_what_the_operator_asks_for() {
        let (snapshot, settings) = (snapshot(), [("max-line", "100KiB".to_owned())]);
        let json = board(&snapshot, &settings).to_json();
        for part in [
            r#"{"tcp":{"running":true,"activeConnections":0},"http":{"activePollers":0,"pollerDetails":[]},"tail":{"activeViewers":0,"viewerDetails":[]},"#,
            r#""settings":{"max-line":"100KiB"},"#,
            r#""uptimeMs":61500,"wallMs":5,"health":{"ok":false,"reasons":["it is tired"],"troubles":[]},"#,
            r#""memory":{"budget":67108864,"pending":10,"outputs":0,"status":30,"used":40,"rss":4096},"#,
            r#""descriptors":{"used":9,"allowed":1024},"#,
            r#""connections":[{"peer":"192.0.2.7:5","sinceMs":1,"idleMs":2,"bytes":3,"lines":4,"pendingBytes":5,"linesPerSecond":6,"bytesPerSecond":7,"dropped":8,"state":"reading"}],"#,
            r#""hosts":[{"host":"192.0.2.7","connections":1,"pendingBytes":2,"bytes":3,"lines":4,"linesPerSecond":5,"bytesPerSecond":6,"dropped":7}],"#,
            r#""found":{"connections":9,"hosts":3,"searched":10},"#,
            r#""history":[{"uptimeMs":1,"lines":2,"bytes":3,"connections":4,"memory":5}],"#,
            r#""help":{"losses":{"skippedLines":"Lines dropped whole "#,
        ] {
            assert!(json.contains(part), "{part} is not in {json}");
        }
    }

    #[test]
    fn the_other_forms_say_the_same() {
        let snapshot = snapshot();
        let board = board(&snapshot, &[]);
        let csv = "peer,since_ms,idle_ms,bytes,lines,pending_bytes,lines_per_s,bytes_per_s,dropped,state\r\n192.0.2.7:5,1,2,3,4,5,6,7,8,reading\r\n";
        assert_eq!(board.to_csv(), csv);
        let text = board.to_text();
        for part in [
            " on unix:/run/a: unhealthy\n* it is tired\nup 61 s, connections 0 of 1000, hosts 0, open files 9 of 1024\n",
            "\nlines 7, bytes 0; in KiB: unfinished 1, for outputs 0, of 65536; whole process 4\n",
            "output stdout: nothing\n",
            "dropped and turned away: skippedLines 2\nevents: unterminated 3\n",
            "  unfinished  peer, state\n           0           0           3           4           6           5  192.0.2.7:5, reading\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
        let metrics = board.to_metrics();
        for part in [
            "# HELP lumberjack_lines_total Lines that went to the outputs, and those that --min-severity left out of them.\n# TYPE lumberjack_lines_total counter\nlumberjack_lines_total 7\n",
            "# TYPE lumberjack_pending_bytes gauge\nlumberjack_pending_bytes 10\n",
            "lumberjack_output_queued_bytes{output=\"stdout\"} 0\nlumberjack_output_queued_bytes{output=\"a \\\"b\\\"\\\\\"} 0\n",
            "lumberjack_healthy 0\n",
            "_slowed_hosts_total Times that a host sent more than --rate: its connections are slowed and lose no line, its datagrams are dropped.\n",
        ] {
            assert!(metrics.contains(part), "{part:?} is not in {metrics}");
        }
        let mut names: Vec<&str> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "each metric once");
    }
}
