//! Counters and gauges, a row each, and what an operator sees of a server: status and diagnostics, as data and as JSON.
//! Invariant: the JSON names that `getTcpStatus` and `getDiagnostics` of the original server had are kept; that is the
//! Node.js program that this one replaces (`docs/DESIGN.md`).

use super::json::Json;
use crate::config::limits::Limits;

/// What a number tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// How things stand now: it rises and falls. All others only grow, and stop at their largest value.
    Gauge,
    /// Ordinary traffic.
    Count,
    /// Something that an operator may want to know, and by which nothing is lost.
    Event,
    /// Bytes, lines or connections that were lost.
    Loss,
}

/// Names, kinds and meanings of some numbers, in one order. As few texts as can be: in a list, each would take 40 bytes
/// more of the binary.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "status"), expect(dead_code))]
pub(crate) struct Table {
    /// The names in JSON, with spaces between.
    pub(crate) names: &'static str,
    kinds: &'static [Kind],
    /// A line each: the name for Prometheus, and what it means.
    metrics: &'static str,
}

/// What a number is called, and what it means.
#[cfg(feature = "status")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// Its name in JSON.
    pub(crate) name: &'static str,
    /// What it tells.
    pub(crate) kind: Kind,
    /// Its name for Prometheus, without what all have before it and counters behind it.
    pub(crate) metric: &'static str,
    /// A sentence about it.
    pub(crate) help: &'static str,
}

#[cfg(feature = "status")]
impl Table {
    /// Calls `each` with the row of each of these numbers, in their order.
    #[inline(never)] // one copy, for size
    pub(crate) fn each(&self, numbers: &[u64], each: &mut dyn FnMut(&Row, u64)) {
        let named = self.names.split(' ').zip(self.kinds).zip(self.metrics.split('\n'));
        for (((name, kind), metric), number) in named.zip(numbers) {
            let (metric, help) = metric.split_once(' ').unwrap_or((metric, ""));
            each(&Row { name, kind: *kind, metric, help }, *number);
        }
    }
}

/// One row a number: field, name in JSON, name for Prometheus, kind, and what it means, with the promises behind it.
macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident {
        $($field:ident $json:literal $metric:literal $kind:ident $help:literal $(($promises:literal))?;)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        #[non_exhaustive]
        pub struct $name { $(#[doc = concat!($help $(, " (", $promises, ")")?)] pub $field: u64),+ }

        impl $name {
            /// What each number is called and means, in the order of [`Self::values`].
            pub(crate) const TABLE: Table = Table {
                names: concat!($($json, " "),+),
                kinds: &[$(Kind::$kind),+],
                metrics: concat!($($metric, " ", $help, "\n"),+),
            };

            /// Every number, in order.
            pub(crate) fn values(&self) -> [u64; [$($json),+].len()] {
                [$(self.$field),+]
            }

            /// Every number with its name in JSON, in order.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                Self::TABLE.names.split(' ').zip(self.values())
            }
        }
    };
}

numbers! {
    /// What has happened since the start. All of them only grow, and stop at their largest value.
    Counters {
        lines "lines" "lines" Count
            "Lines that went to the outputs, and those that --min-severity left out of them.";
        bytes "bytes" "received_bytes" Count
            "Bytes read from clients.";
        accepted "accepted" "accepted_connections" Count
            "Connections accepted.";
        unterminated "unterminated" "unterminated_lines" Event
            "Lines written though their newline never came: their client ended, or --line-timeout passed." ("P2");
        skipped_lines "skippedLines" "skipped_lines" Loss
            "Lines dropped whole because they were longer than --max-line (--long-lines skip)." ("P3");
        bad_lengths "badLengths" "bad_length_connections" Loss
            "Connections that sent something else where a message's length has to be (framing=octet); what came behind it was dropped."
            ("P21");
        cut_lines "cutLines" "cut_lines" Loss
            "Lines that lost their end because they were longer than --max-line (--long-lines cut)." ("P3");
        dropped_bytes "droppedBytes" "dropped_bytes" Loss
            "Bytes of clients that were dropped, for all reasons together; newlines do not count." ("P12");
        overflows "overflows" "buffer_overflows" Event
            "Lines that passed --max-buffer without a newline." ("P4");
        evicted_idle "evictedIdle" "idle_evictions" Event
            "Clients told goodbye because they were silent for --idle-timeout; no line is lost by that." ("P6");
        ended_at_goodbye "endedAtGoodbye" "ended_at_goodbye" Event
            "Clients that had sent lines and closed within a second of our goodbye: a proxy loses what comes after (--idle-close needed)."
            ("P6");
        dropped_for_budget "droppedForBudget" "memory_dropped_lines" Loss
            "Unfinished lines dropped because --memory was used up; the host that held most lost them." ("P5");
        rejected "rejected" "rejected_connections" Loss
            "Connections turned away because --max-connections were open (--when-full reject), or the kernel was short."
            ("P10");
        refused_per_host "refusedPerHost" "host_refused_connections" Loss
            "Connections turned away because their host had --max-per-host." ("P14");
        not_allowed "notAllowed" "not_allowed" Event
            "Connections closed at once, and datagrams dropped, because their address is not allowed (--allow, --deny)." ("P24");
        proxy_errors "proxyErrors" "proxy_header_errors" Loss
            "Connections closed because they did not begin with a header of the PROXY protocol (--proxy)." ("P25");
        slowed "slowed" "slowed_hosts" Event
            "Times that a host sent more than --rate: its connections are slowed and lose no line, its datagrams are dropped." ("P26");
        cut_off "cutOff" "cut_off_connections" Loss
            "Connections closed while their client still sent, 16 MiB after our goodbye." ("P6, P11");
        datagrams "datagrams" "received_datagrams" Count
            "Datagrams read (UDP)." ("P23");
        missed_datagrams "missedDatagrams" "missed_datagrams" Loss
            "Datagrams that the kernel dropped because its receive buffer was full (UDP, --udp-buffer)." ("P23");
        held_up_datagrams "heldUpDatagrams" "held_up_datagrams" Loss
            "Datagrams dropped because the file of their host took nothing (UDP, {host})." ("P23");
        over_rate_datagrams "overRateDatagrams" "over_rate_datagrams" Loss
            "Datagrams dropped because their host sent more than --rate (UDP)." ("P26");
        probes "probes" "probes" Event
            "Connections that ended without a byte, as port probes and health checks do." ("P12");
        accept_pauses "acceptPauses" "accept_pauses" Event
            "Times that new clients had to wait: --max-connections were open, or no file descriptor was free." ("P10");
        filtered "filtered" "filtered_lines" Event
            "Messages left out because they were less grave than --min-severity; they count in receipts." ("P22");
        sink_stalls "sinkStalls" "output_stalls" Event
            "Times that reading stopped because an output was full; clients waited, and no line was lost." ("P8");
    }
}

numbers! {
    /// How things stand now.
    Gauges {
        active_connections "activeConnections" "connections" Gauge
            "Connections now, with those that linger.";
        lingering "lingering" "lingering_connections" Gauge
            "Connections told goodbye that their client has not closed yet." ("P6");
        pending_bytes "pendingBytes" "pending_bytes" Gauge
            "Bytes of memory that unfinished lines take." ("P5");
        sink_waiting_bytes "sinkWaitingBytes" "output_waiting_bytes" Gauge
            "Bytes of lines that wait for the outputs." ("P8");
        peak_connections "peakConnections" "peak_connections" Gauge
            "The most connections that were open at once.";
        hosts "hosts" "hosts" Gauge
            "Hosts with a connection." ("P14");
    }
}

numbers! {
    /// What went to one output.
    OutputCounters {
        bytes "bytes" "output_bytes" Count
            "Bytes written to the output.";
        writes "writes" "output_writes" Count
            "Writes that the output took, whole or in part.";
        waiting_bytes "waitingBytes" "output_queued_bytes" Gauge
            "Bytes that wait for the output now.";
        failures "failures" "output_failures" Count
            "Writes to the output that failed.";
        rotations "rotations" "output_rotations" Count
            "Times that the output's file was full or old and was begun anew (--rotate-size, --rotate-age, --rotate-at).";
        rotation_failures "rotationFailures" "output_rotation_failures" Event
            "Tries to begin the output's file anew that failed: lines went on into the file, beyond its bound.";
        syncs "syncs" "output_syncs" Count
            "Times that the output's file was synced to the disk (--sync).";
        sync_failures "syncFailures" "output_sync_failures" Event
            "Syncs of the output's file that failed: what was written before may be lost.";
        connections "connections" "output_connections" Count
            "Connections made to the next receiver.";
        resent_bytes "resentBytes" "output_resent_bytes" Count
            "Bytes sent to the next receiver again because it was unknown whether they had arrived.";
        dropped_lines "droppedLines" "output_dropped_lines" Loss
            "Lines that an output did not get: it stood still (--on-stall drop), or its disk was full (--disk-full).";
        dropped_bytes "droppedBytes" "output_dropped_bytes" Count
            "Bytes of the lines that the output did not get, as they would have been written.";
        position "position" "output_position" Gauge
            "Number of the last line in the spool that the output has (--spool).";
        lag_lines "lagLines" "output_lag_lines" Gauge
            "Lines in the spool that the output does not have yet (--spool).";
        lag_bytes "lagBytes" "output_lag_bytes" Gauge
            "Bytes of the spool's files that wait for the output, about (--spool).";
        lag_seconds "lagSeconds" "output_lag_seconds" Gauge
            "Age of the oldest line that the output does not have, in seconds (--spool).";
        last_ack "lastAck" "output_last_ack_timestamp_seconds" Gauge
            "When the output last said or showed that it has lines, in seconds since 1970 (--spool, nats:).";
        spool_segments "spoolSegments" "output_spool_segments" Gauge
            "Files of lines in the spool.";
        spool_bytes "spoolBytes" "output_spool_bytes" Gauge
            "Bytes that all files of the spool take (--spool-size).";
        rewinds "rewinds" "output_rewinds" Event
            "Times that the server had lost lines that it had acked, and they were sent again (nats:).";
    }
}

#[cfg(feature = "tls")]
numbers! {
    /// What has happened at listeners with TLS (P33), and how things stand there.
    TlsCounters {
        handshakes "tlsHandshakes" "tls_handshakes" Count
            "TLS handshakes of clients that came to a good end.";
        failed "tlsHandshakesFailed" "tls_handshakes_failed" Loss
            "Connections closed because TLS with their client failed, or because they spoke none.";
        truncated "tlsTruncated" "tls_truncated" Event
            "Connections over TLS that ended without close_notify, as many clients do.";
        active "activeTls" "tls_connections" Gauge
            "Connections over TLS now.";
    }
}

/// A certificate of ours.
#[cfg(feature = "tls")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateStats {
    /// Where it is shown.
    pub listener: String,
    /// The last second in which it is valid, since 1970.
    pub not_after: i64,
}

/// One output, and what went to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputStats {
    /// What it is: `stdout`, `app.log`.
    pub name: String,
    /// The server that takes its lines, if it has told its name (`nats:`); else empty.
    pub server: String,
    /// What went to it.
    pub counters: OutputCounters,
}

numbers! {
    /// What one poller fetched.
    PollerCounters {
        seen_entries "seenEntries" "poller_seen_entries" Gauge
            "Lines of its page that the poller remembers (--poll-seen).";
        fetches "fetches" "poller_fetches" Count
            "Fetches of the poller that have ended, well or not.";
        failures "failures" "poller_failures" Event
            "Fetches of the poller that brought nothing: no connection, no 2xx, too long, cut short.";
        not_modified "notModified" "poller_not_modified" Count
            "Fetches of the poller that the server answered with: not modified.";
        lines "lines" "poller_lines" Count
            "New lines that the poller brought.";
        bytes "bytes" "poller_bytes" Count
            "Bytes of the pages that the poller fetched, decompressed.";
        gaps "gaps" "poller_gaps" Event
            "Times that the poller's page had moved on, so that lines on it may never have been seen.";
    }
}

/// A poller, and what it fetched: an entry of the original server's `pollerDetails`, and more.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollerStats {
    /// Its number, by which it is stopped.
    pub id: u64,
    /// The name that its lines come under.
    pub name: String,
    /// What it fetches, without user and password.
    pub url: String,
    /// The time from the end of a fetch to the next, in milliseconds.
    pub interval_ms: u64,
    /// What it is doing: `waiting`, `fetching`, `failing` or `delivering`.
    pub state: &'static str,
    /// When its last fetch ended, in milliseconds since 1970; 0: none has.
    pub last_fetch_ms: u64,
    /// The status of the last answer; 0: there was none.
    pub last_status: u16,
    /// What was wrong with the last fetch; empty if nothing was.
    pub last_error: String,
    /// Since when it brings nothing, in milliseconds since the server's start; `None`: it does.
    pub failing_since_ms: Option<u64>,
    /// The numbers.
    pub counters: PollerCounters,
}

impl PollerStats {
    /// Adds its members to a JSON object; those of the original server come first.
    fn write(&self, json: &mut Json) {
        let Self { id, name, url, interval_ms, state, last_fetch_ms, last_status, last_error, counters, .. } = self;
        json.number("id", *id).text("url", url).number("intervalMs", *interval_ms);
        json.numbers(PollerCounters::TABLE.names, &counters.values());
        json.text("name", name).text("state", state).text("lastError", last_error);
        json.numbers("lastFetch lastStatus", &[*last_fetch_ms, u64::from(*last_status)]);
    }
}

/// How a server stood at the end of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether it accepts clients.
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
    /// The pollers.
    pub pollers: Vec<PollerStats>,
    /// What has happened at listeners with TLS.
    #[cfg(feature = "tls")]
    pub tls: TlsCounters,
    /// Our certificates.
    #[cfg(feature = "tls")]
    pub certificates: Vec<CertificateStats>,
}

/// The status: what `getTcpStatus` of the original server gave, and all counters and gauges.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Always true; the original had it.
    pub ok: bool,
    /// `Running on port N`, `Running on unix:/path`, or `Not running`.
    pub message: String,
    /// Whether it accepts clients.
    pub running: bool,
    /// The port of its first TCP listener, while it runs.
    pub port: Option<u16>,
    /// Connections.
    pub active_connections: u64,
    /// What has happened.
    pub counters: Counters,
    /// How things stand.
    pub gauges: Gauges,
    /// What has happened at listeners with TLS.
    #[cfg(feature = "tls")]
    pub tls: TlsCounters,
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
            #[cfg(feature = "tls")]
            tls: snapshot.tls,
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
        json.object("gauges", |json| json.numbers(Gauges::TABLE.names, &self.gauges.values()));
        json.object("counters", |json| json.numbers(Counters::TABLE.names, &self.counters.values()));
        #[cfg(feature = "tls")]
        json.object("tls", |json| json.numbers(TlsCounters::TABLE.names, &self.tls.values()));
        json.finish()
    }
}

/// The diagnostics: what `getDiagnostics` of the original server gave, and addresses, limits, counters, gauges and outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostics {
    /// The part for TCP.
    pub tcp: TcpDiagnostics,
    /// The part for HTTP.
    pub http: HttpDiagnostics,
    /// Where it listens.
    pub listen: Vec<String>,
    /// The limits in force.
    pub limits: Limits,
    /// What has happened.
    pub counters: Counters,
    /// How things stand.
    pub gauges: Gauges,
    /// The outputs, and what went to each.
    pub outputs: Vec<OutputStats>,
    /// What has happened at listeners with TLS.
    #[cfg(feature = "tls")]
    pub tls: TlsCounters,
    /// Our certificates.
    #[cfg(feature = "tls")]
    pub certificates: Vec<CertificateStats>,
}

/// The `tcp` object of the original server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpDiagnostics {
    /// Whether it accepts clients.
    pub running: bool,
    /// The port of its first TCP listener, while it runs.
    pub port: Option<u16>,
    /// Connections.
    pub active_connections: u64,
}

/// The `http` object of the original server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HttpDiagnostics {
    /// How many pollers there are.
    pub active_pollers: u64,
    /// Each of them.
    pub poller_details: Vec<PollerStats>,
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
            http: HttpDiagnostics {
                active_pollers: snapshot.pollers.len() as u64,
                poller_details: snapshot.pollers.clone(),
            },
            listen: snapshot.listen.clone(),
            limits: snapshot.limits.clone(),
            counters: snapshot.counters,
            gauges: snapshot.gauges,
            outputs: snapshot.outputs.clone(),
            #[cfg(feature = "tls")]
            tls: snapshot.tls,
            #[cfg(feature = "tls")]
            certificates: snapshot.certificates.clone(),
        }
    }
}

impl Diagnostics {
    /// One JSON object in one line. Sizes are in bytes, durations in milliseconds.
    #[must_use]
    pub fn to_json(&self) -> String {
        let Self { tcp, http, listen, limits, counters, gauges, outputs, .. } = self;
        let pollers = &http.poller_details;
        let mut json = Json::new();
        View {
            tcp: *tcp,
            pollers,
            viewers: &[],
            listen,
            limits,
            counters,
            gauges,
            outputs,
            #[cfg(feature = "tls")]
            tls: &self.tls,
            #[cfg(feature = "tls")]
            certificates: &self.certificates,
        }
        .write(&mut json);
        json.finish()
    }
}

/// [`Diagnostics`] without a copy of anything.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    tcp: TcpDiagnostics,
    /// The pollers.
    pub pollers: &'a [PollerStats],
    /// Who is sent lines as they come (`/tail`): the address of each.
    pub viewers: &'a [String],
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
    /// What has happened at listeners with TLS.
    #[cfg(feature = "tls")]
    pub tls: &'a TlsCounters,
    /// Our certificates.
    #[cfg(feature = "tls")]
    pub certificates: &'a [CertificateStats],
}

impl<'a> View<'a> {
    /// That of a server at whose lines these viewers look.
    #[must_use]
    pub fn new(snapshot: &'a Snapshot, viewers: &'a [String]) -> Self {
        let Snapshot { counters, gauges, limits, listen, outputs, pollers, .. } = snapshot;
        Self {
            tcp: TcpDiagnostics::from(snapshot),
            pollers,
            viewers,
            listen,
            limits,
            counters,
            gauges,
            outputs,
            #[cfg(feature = "tls")]
            tls: &snapshot.tls,
            #[cfg(feature = "tls")]
            certificates: &snapshot.certificates,
        }
    }

    /// Adds its members to a JSON object.
    pub fn write(&self, json: &mut Json) {
        json.object("tcp", |json| {
            json.boolean("running", self.tcp.running);
            port(json, self.tcp.port);
            json.number("activeConnections", self.tcp.active_connections);
        });
        json.object("http", |json| {
            json.number("activePollers", self.pollers.len() as u64);
            json.objects("pollerDetails", self.pollers, |json, poller| poller.write(json));
        });
        json.object("tail", |json| {
            json.number("activeViewers", self.viewers.len() as u64).texts("viewerDetails", self.viewers);
        });
        json.texts("listen", self.listen);
        json.object("limits", |json| write_limits(json, self.limits));
        json.object("gauges", |json| json.numbers(Gauges::TABLE.names, &self.gauges.values()));
        json.object("counters", |json| json.numbers(Counters::TABLE.names, &self.counters.values()));
        #[cfg(feature = "tls")]
        json.object("tls", |json| {
            json.numbers(TlsCounters::TABLE.names, &self.tls.values());
            json.objects("certificates", self.certificates, |json, one| {
                json.text("listener", &one.listener).text("notAfter", &one.not_after.to_string());
            });
        });
        json.object("outputs", |json| {
            for output in self.outputs {
                json.object(&output.name, |json| {
                    json.numbers(OutputCounters::TABLE.names, &output.counters.values());
                    if !output.server.is_empty() {
                        json.text("server", &output.server);
                    }
                });
            }
        });
    }
}

fn port(json: &mut Json, port: Option<u16>) {
    if let Some(port) = port {
        json.number("port", u64::from(port));
    }
}

/// A duration in milliseconds. `as_millis` gives 128 bits, which take more code; 64 are enough for 500 million years.
#[must_use]
#[inline(never)] // one copy, for size
pub fn ms(duration: core::time::Duration) -> u64 {
    duration.as_secs().saturating_mul(1000).saturating_add(u64::from(duration.subsec_millis()))
}

/// One row a limit: field, kind of value in JSON, name there, and value. One without a row does not compile.
macro_rules! limits {
    ($json:ident, $limits:ident: $($field:ident $kind:ident $name:literal $value:expr;)+) => {
        let Limits { $($field: _),+ } = $limits;
        $($json.$kind($name, $value);)+
    };
}

#[inline(never)] // for size
fn write_limits(json: &mut Json, limits: &Limits) {
    limits! { json, limits:
        max_line number "maxLine" limits.max_line as u64;
        max_buffer number "maxBuffer" limits.max_buffer as u64;
        memory number "memory" limits.memory as u64;
        max_connections number "maxConnections" limits.max_connections as u64;
        max_per_host number "maxPerHost" limits.per_host().unwrap_or(0) as u64;
        idle_timeout number "idleTimeout" ms(limits.idle_timeout);
        line_timeout number "lineTimeout" ms(limits.line_timeout);
        linger number "linger" ms(limits.linger);
        keepalive number "keepalive" ms(limits.keepalive);
        drain_timeout number "drainTimeout" ms(limits.drain_timeout);
        gather number "gather" ms(limits.gather);
        idle_close text "idleClose" &limits.idle_close.to_string();
        long_lines text "longLines" &limits.long_lines.to_string();
        embedded_newline text "embeddedNewline" &limits.embedded_newline.to_string();
        when_full text "whenFull" &limits.when_full.to_string();
        keep_empty boolean "keepEmpty" limits.keep_empty;
        receipt boolean "receipt" limits.receipt;
    }
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
            pollers: Vec::new(),
            #[cfg(feature = "tls")]
            tls: TlsCounters::default(),
            #[cfg(feature = "tls")]
            certificates: Vec::new(),
        }
    }

    #[test]
    fn the_names_of_the_original_are_kept() {
        let status = Status::from(&snapshot()).to_json();
        let start = r#"{"ok":true,"message":"Running on port 4445","running":true,"port":4445,"activeConnections":3,"#;
        assert!(status.starts_with(start), "{status}");
        let diagnostics = Diagnostics::from(&snapshot()).to_json();
        let start = r#"{"tcp":{"running":true,"port":4445,"activeConnections":3},"http":{"activePollers":0,"pollerDetails":[]},"#;
        assert!(diagnostics.starts_with(start), "{diagnostics}");
        assert!(diagnostics.contains(r#""keepEmpty":false,"receipt":false},"#), "every limit: {diagnostics}");
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
