//! Counters, and what they look like from outside: the seed's `getTcpStatus` and `getDiagnostics` as data and as JSON.
//! Invariant: the seed's names stay; ours stand beside them.

use super::json::Json;
use crate::config::limits::Limits;

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident = $json:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct $name { $($(#[$field_doc])* pub $field: u64),+ }

        impl $name {
            /// The names of all numbers in JSON, in order.
            pub(crate) const NAMES: &'static [&'static str] = &[$($json),+];

            /// Every number, in the order of their names.
            pub(crate) fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$field),+]
            }

            /// Every number with its name in JSON, in order.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                Self::NAMES.iter().copied().zip(self.values())
            }
        }
    };
}

numbers! {
    /// What has happened since the start. All of them only grow, and stop at their largest value.
    Counters {
        /// Lines that went to the sink.
        lines = "lines",
        /// Bytes read from clients.
        bytes = "bytes",
        /// Connections taken in.
        accepted = "accepted",
        /// Lines that went out without having had a newline (P2).
        unterminated = "unterminated",
        /// Lines dropped whole because of their length (P3).
        skipped_lines = "skippedLines",
        /// Lines of which only the start went out (P3, `--long-lines cut`).
        cut_lines = "cutLines",
        /// Bytes of clients that went nowhere, for whatever reason; newlines are not counted.
        dropped_bytes = "droppedBytes",
        /// Lines that passed `--max-buffer` without a newline (P4).
        overflows = "overflows",
        /// Connections told goodbye for silence (P6).
        evicted_idle = "evictedIdle",
        /// Unfinished lines dropped because the memory budget was used up (P5).
        dropped_for_budget = "droppedForBudget",
        /// Connections turned away because the house was full, or the kernel had no room (P10).
        rejected = "rejected",
        /// Connections turned away because their host had its share (P14).
        refused_per_host = "refusedPerHost",
        /// Connections closed in the middle of a flood, after 16 MiB of last reads (P6, P11).
        cut_off = "cutOff",
        /// Connections that ended without a byte (P12).
        probes = "probes",
        /// Times that accepting paused: a full house, or no descriptor (P10).
        accept_pauses = "acceptPauses",
        /// Times that reading stopped because the sink was full (P8).
        sink_stalls = "sinkStalls",
    }
}

numbers! {
    /// How things stand now.
    Gauges {
        /// Connections, those that linger too: the length of the table.
        active_connections = "activeConnections",
        /// Connections that we have said goodbye to, and that have not closed yet (P6).
        lingering = "lingering",
        /// Memory that unfinished lines take (P5), in bytes.
        pending_bytes = "pendingBytes",
        /// Bytes of lines that wait for the sink (P8).
        sink_waiting_bytes = "sinkWaitingBytes",
        /// The most connections there were at once.
        peak_connections = "peakConnections",
        /// Hosts with a connection (P14).
        hosts = "hosts",
    }
}

numbers! {
    /// What went to one output.
    OutputCounters {
        /// Bytes written.
        bytes = "bytes",
        /// Writes that took some.
        writes = "writes",
        /// Bytes that wait for it now.
        waiting_bytes = "waitingBytes",
        /// Writes that failed.
        failures = "failures",
        /// Files that were full, or old, and begun anew (`--rotate-size`, `--rotate-age`).
        rotations = "rotations",
        /// Tries to begin a file anew that failed: lines went on into it.
        rotation_failures = "rotationFailures",
        /// Times that its file was synced to the disk (`--sync`).
        syncs = "syncs",
        /// Connections made to the next receiver.
        connections = "connections",
        /// Bytes sent to it once more, since it was not known whether they had arrived.
        resent_bytes = "resentBytes",
        /// Lines that it did not get, since it stood still (`--on-stall drop`) or its disk was full.
        dropped_lines = "droppedLines",
        /// Their bytes, as they would have been written.
        dropped_bytes = "droppedBytes",
    }
}

/// One output, and what went to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputStats {
    /// What it is: `stdout`, `app.log`.
    pub name: String,
    /// What went to it.
    pub counters: OutputCounters,
}

/// A server at the end of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether it takes clients.
    pub running: bool,
    /// The port of its first TCP listener.
    pub port: Option<u16>,
    /// What has happened.
    pub counters: Counters,
    /// How things stand.
    pub gauges: Gauges,
    /// The limits in force.
    pub limits: Limits,
    /// Where it listens.
    pub listen: Vec<String>,
    /// Where lines go.
    pub outputs: Vec<OutputStats>,
}

/// The seed's `getTcpStatus`, with ours beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether the question could be answered: always, as in the seed.
    pub ok: bool,
    /// `Running on port N`, `Running on unix:/path`, or `Not running`.
    pub message: String,
    /// Whether it takes clients.
    pub running: bool,
    /// The port of its first TCP listener, while it runs.
    pub port: Option<u16>,
    /// Connections.
    pub active_connections: u64,
    /// What has happened.
    pub counters: Counters,
    /// How things stand.
    pub gauges: Gauges,
}

impl From<&Snapshot> for Status {
    fn from(snapshot: &Snapshot) -> Self {
        let port = snapshot.port.filter(|_| snapshot.running);
        let message = match (snapshot.running, port, snapshot.listen.first()) {
            (false, ..) => "Not running".to_owned(),
            (true, Some(port), _) => format!("Running on port {port}"),
            (true, None, at) => format!("Running on {}", at.map_or("nothing", String::as_str)),
        };
        Self {
            ok: true,
            message,
            running: snapshot.running,
            port,
            active_connections: snapshot.gauges.active_connections,
            counters: snapshot.counters,
            gauges: snapshot.gauges,
        }
    }
}

impl Status {
    /// One JSON object in one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = Json::new();
        json.boolean("ok", self.ok).text("message", &self.message).boolean("running", self.running);
        port(&mut json, self.port);
        json.number("activeConnections", self.active_connections);
        json.object("gauges", |json| json.numbers(Gauges::NAMES, &self.gauges.values()));
        json.object("counters", |json| json.numbers(Counters::NAMES, &self.counters.values()));
        json.finish()
    }
}

/// The seed's `getDiagnostics`, with ours beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostics {
    /// The part for TCP.
    pub tcp: TcpDiagnostics,
    /// The part for HTTP: empty but in what the status endpoint answers.
    pub http: HttpDiagnostics,
    /// Where it listens.
    pub listen: Vec<String>,
    /// The limits in force.
    pub limits: Limits,
    /// What has happened.
    pub counters: Counters,
    /// How things stand.
    pub gauges: Gauges,
    /// Where lines go, and how much went there.
    pub outputs: Vec<OutputStats>,
}

/// The seed's `tcp` object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpDiagnostics {
    /// Whether it takes clients.
    pub running: bool,
    /// The port of its first TCP listener, while it runs.
    pub port: Option<u16>,
    /// Connections.
    pub active_connections: u64,
}

/// The seed's `http` object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HttpDiagnostics {
    /// Those to whom lines go as they come.
    pub active_pollers: u64,
    /// One text for each: who it is, and what it asked for.
    pub poller_details: Vec<String>,
}

impl From<&Snapshot> for TcpDiagnostics {
    fn from(snapshot: &Snapshot) -> Self {
        let port = snapshot.port.filter(|_| snapshot.running);
        Self { running: snapshot.running, port, active_connections: snapshot.gauges.active_connections }
    }
}

impl From<&Snapshot> for Diagnostics {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            tcp: TcpDiagnostics::from(snapshot),
            http: HttpDiagnostics::default(),
            listen: snapshot.listen.clone(),
            limits: snapshot.limits.clone(),
            counters: snapshot.counters,
            gauges: snapshot.gauges,
            outputs: snapshot.outputs.clone(),
        }
    }
}

impl Diagnostics {
    /// One JSON object in one line. Sizes are in bytes, durations in milliseconds.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self { tcp, http, listen, limits, counters, gauges, outputs } = self;
        let pollers = &http.poller_details;
        let mut json = Json::new();
        Parts { tcp: *tcp, pollers, listen, limits, counters, gauges, outputs }.write(&mut json);
        json.finish()
    }
}

/// What the diagnostics are made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    tcp: TcpDiagnostics,
    /// To whom lines go as they come.
    pub pollers: &'a [String],
    /// Where it listens.
    pub listen: &'a [String],
    /// The limits in force.
    pub limits: &'a Limits,
    /// What has happened.
    pub counters: &'a Counters,
    /// How things stand.
    pub gauges: &'a Gauges,
    /// Where lines go.
    pub outputs: &'a [OutputStats],
}

impl<'a> Parts<'a> {
    /// Those of a server that is seen by these pollers.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot, pollers: &'a [String]) -> Self {
        let Snapshot { counters, gauges, limits, listen, outputs, .. } = snapshot;
        Self { tcp: TcpDiagnostics::from(snapshot), pollers, listen, limits, counters, gauges, outputs }
    }

    /// Adds all of it to an object.
    pub fn write(&self, json: &mut Json) {
        json.object("tcp", |json| {
            json.boolean("running", self.tcp.running);
            port(json, self.tcp.port);
            json.number("activeConnections", self.tcp.active_connections);
        });
        json.object("http", |json| {
            json.number("activePollers", self.pollers.len() as u64).texts("pollerDetails", self.pollers);
        });
        json.texts("listen", self.listen);
        json.object("limits", |json| limits(json, self.limits));
        json.object("gauges", |json| json.numbers(Gauges::NAMES, &self.gauges.values()));
        json.object("counters", |json| json.numbers(Counters::NAMES, &self.counters.values()));
        json.object("outputs", |json| {
            for output in self.outputs {
                json.object(&output.name, |json| json.numbers(OutputCounters::NAMES, &output.counters.values()));
            }
        });
    }
}

fn port(json: &mut Json, port: Option<u16>) {
    if let Some(port) = port {
        json.number("port", u64::from(port));
    }
}

/// A duration in milliseconds. 64 bits last for 500 million years; 128, as `as_millis` has them, take more code.
#[must_use]
#[inline(never)] // one copy, for size
pub fn ms(duration: core::time::Duration) -> u64 {
    duration.as_secs().saturating_mul(1000).saturating_add(u64::from(duration.subsec_millis()))
}

#[inline(never)] // for size
fn limits(json: &mut Json, limits: &Limits) {
    json.numbers(
        &[
            "maxLine",
            "maxBuffer",
            "memory",
            "maxConnections",
            "maxPerHost",
            "idleTimeout",
            "lineTimeout",
            "linger",
            "keepalive",
            "drainTimeout",
            "gather",
        ],
        &[
            limits.max_line as u64,
            limits.max_buffer as u64,
            limits.memory as u64,
            limits.max_connections as u64,
            limits.per_host().unwrap_or(0) as u64,
            ms(limits.idle_timeout),
            ms(limits.line_timeout),
            ms(limits.linger),
            ms(limits.keepalive),
            ms(limits.drain_timeout),
            ms(limits.gather),
        ],
    );
    json.text("longLines", &limits.long_lines.to_string()).text("whenFull", &limits.when_full.to_string());
    json.boolean("keepEmpty", limits.keep_empty);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        let gauges = Gauges { active_connections: 3, ..Gauges::default() };
        let counters = Counters { lines: 7, ..Counters::default() };
        let listen = vec!["127.0.0.1:4445".to_owned()];
        Snapshot {
            running: true,
            port: Some(4445),
            counters,
            gauges,
            limits: Limits::default(),
            listen,
            outputs: Vec::new(),
        }
    }

    #[test]
    fn the_seeds_names_are_kept() {
        let status = Status::from(&snapshot()).to_json();
        let start = r#"{"ok":true,"message":"Running on port 4445","running":true,"port":4445,"activeConnections":3,"#;
        assert!(status.starts_with(start), "{status}");
        let diagnostics = Diagnostics::from(&snapshot()).to_json();
        let start = r#"{"tcp":{"running":true,"port":4445,"activeConnections":3},"http":{"activePollers":0,"pollerDetails":[]},"#;
        assert!(diagnostics.starts_with(start), "{diagnostics}");
        assert!(diagnostics.contains(r#""maxLine":102400,"#) && diagnostics.contains(r#""lines":7,"#), "{diagnostics}");
    }

    #[test]
    fn a_stopped_server_has_no_port() {
        let stopped = Snapshot { running: false, ..snapshot() };
        let json = Status::from(&stopped).to_json();
        assert!(
            json.starts_with(r#"{"ok":true,"message":"Not running","running":false,"activeConnections""#),
            "{json}"
        );
    }
}
