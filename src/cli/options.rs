//! The one table of options. The parser, the config file, `--help`, `--check` and the pages in `dist/` are all made from
//! it. A new option is a field of [`Settings`], its default, and a row of [`OPTIONS`].

#[cfg(feature = "alert")]
use super::kinds::UrlOrOff;
#[cfg(feature = "sandbox")]
use super::kinds::UserOrOff;
use super::kinds::{
    Each, GroupOrBefore, Kind, Level, List, Nets, Number, NumberOrHalf, Octal, OctalOrBefore, PathOrOff, Size, Switch,
    Tag, Text, Time, Word, WordOrOff,
};
use crate::config::text::as_text;
use crate::sink::SYNTAX;

pub use super::settings::Settings;

/// Headings of `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Where lines come from.
    Input,
    /// Pages that are fetched.
    Polls,
    /// Where they go.
    Output,
    /// Files.
    Files,
    /// The spool.
    Spool,
    /// Who is told of lines.
    Alerts,
    /// What a line may be.
    Lines,
    /// Memory and connections.
    Room,
    /// Time-outs.
    Times,
    /// The rest.
    Program,
}

impl Group {
    /// In the order of `--help`, with their headings.
    pub const ALL: [(Self, &str); 10] = [
        (Self::Input, "Input"),
        (Self::Polls, "Pages that are polled over HTTP"),
        (Self::Output, "Output"),
        (Self::Files, "Output files"),
        (Self::Spool, "Spool"),
        (Self::Alerts, "Alerts"),
        (Self::Lines, "Lines"),
        (Self::Room, "Memory and connections"),
        (Self::Times, "Time-outs (0 turns one off, where nothing else is said)"),
        (Self::Program, "Program"),
    ];
}

/// Puts a value into the settings, or returns what is wrong with it.
pub type Set = fn(&mut Settings, &str) -> Result<(), String>;
/// Takes a value over from newer settings.
pub type Renew = fn(&mut Settings, &Settings);

/// One option that takes a value.
pub struct Opt {
    /// Its name, without dashes: also its key in a config file.
    pub name: &'static str,
    /// Its letter, if it has one.
    pub letter: Option<char>,
    /// What it takes, for `--help`. Empty: a switch, which takes `true` or `false` in a config file.
    pub value: &'static str,
    /// Its heading.
    pub group: Group,
    /// What it does.
    pub help: &'static str,
    /// Sets it. A list gets one more value.
    pub set: Set,
    /// Empties it, if it is a list: flags replace a list of the config file, and both replace the default.
    pub clear: fn(&mut Settings),
    /// Calls back with its value in these settings; for a list, with each of its values.
    show: fn(&Settings, Each<'_>),
    /// Takes it from newer settings, if it can change while the program runs (P27).
    pub renew: Option<Renew>,
}

impl Opt {
    /// Its value in these settings, as [`Self::set`] takes it; of a list, all of them. In [`Settings::default`]: what it is
    /// when not given.
    #[must_use]
    pub fn values(&self, settings: &Settings) -> Vec<String> {
        let mut values = Vec::new();
        (self.show)(settings, &mut |value| values.push(as_text(&value)));
        values
    }

    /// Whether it may be given more than once.
    #[must_use]
    pub fn is_list(&self) -> bool {
        let mut settings = Settings::default();
        (self.clear)(&mut settings);
        self.values(&settings).is_empty()
    }

    /// The same as one text.
    #[must_use]
    pub fn current(&self, settings: &Settings) -> String {
        self.values(settings).join(", ")
    }
}

/// One row an option: the features that it takes, name, letter if it has one, what it takes, heading, kind and field, and
/// `live` if it can change while the program runs; then what it does.
macro_rules! options {
    (@letter) => { None };
    (@letter $letter:literal) => { Some($letter) };
    (@renew ($($field:tt)+)) => { None };
    (@renew ($($field:tt)+) live) => {
        Some(|settings, newer| settings.$($field)+.clone_from(&newer.$($field)+))
    };
    ($(
        $(#[cfg($when:meta)])?
        $name:literal $(/ $letter:literal)? = $value:tt $group:ident $kind:ident($($field:tt)+) $($live:ident)?
            $help:literal;
    )+) => {
        /// Every option but `--config`, `--check`, `--help` and `--version`, which only the command line has.
        pub const OPTIONS: &[Opt] = &[$(
            $(#[cfg($when)])?
            Opt {
                name: $name,
                letter: options!(@letter $($letter)?),
                value: $value,
                group: Group::$group,
                help: $help,
                set: |settings, text| $kind::set(&mut settings.$($field)+, text),
                clear: |settings| $kind::clear(&mut settings.$($field)+),
                show: |settings, each| $kind::show(&settings.$($field)+, each),
                renew: options!(@renew ($($field)+) $($live)?),
            },
        )+];
        /// The options that other builds have, and what these were built with, as a line of Rust says it.
        const ELSEWHERE: &[(&str, &str)] = &[$($(
            #[cfg(not($when))]
            ($name, stringify!($when)),
        )?)+];
    };
}

options! {
    "listen" / 'l' = "[udp:]ADDR:PORT|unix:/path" Input List(config.listen)
        "where clients connect, or, with udp:, send datagrams; may be given more than once; port 0: the system picks one; with ,framing=... or ,allow=... and so on behind it: for this one alone; in a build with TLS: ,tls,cert=FILE,key=FILE, and ,client-ca=FILE, ,client-name=NAME, ,tls-min=1.3";
    "framing" = "lines|octet|nul|cr|auto-octet" Input Word(listen_defaults.framing)
        "how messages end, where --listen says nothing else: lines: in a newline; octet: by the length before them (RFC 6587); nul, cr: in a NUL or CR; auto-octet: octet from who begins with a length and a <, else lines";
    "parse" = "off|syslog" Input Word(listen_defaults.parse)
        "what lines are read as, where --listen says nothing else: syslog: messages with a header of RFC 5424 or 3164, whose fields json shows";
    #[cfg(feature = "syslog")]
    "min-severity" = "WORD|off" Lines WordOrOff(syslog.min_severity) live
        "with parse=syslog: leaves out messages less grave than this: emerg, alert, crit, err, warning, notice, info or debug";
    #[cfg(feature = "syslog")]
    "keep-original" = "" Output Switch(syslog.keep_original)
        "with parse=syslog: json has each message as it came, too";
    #[cfg(feature = "syslog")]
    "trust-host" = "" Output Switch(syslog.trust_host)
        "with parse=syslog: the host in a header is taken for the one that sent it; anybody can write any";
    "allow" = "NETWORK,..." Input Nets(listen_defaults.allow) live
        "who may connect, or send datagrams, such as 192.0.2.0/24,2001:db8::/32: all others may not; none: no list, all may; where --listen says nothing else";
    "deny" = "NETWORK,..." Input Nets(listen_defaults.deny) live
        "who may not connect; of several networks that an address is in, the smallest decides";
    "proxy" = "" Input Switch(listen_defaults.proxy)
        "clients come through a proxy that says who they are, by the PROXY protocol, version 1 or 2; needs --allow for the proxy";
    "rate" = "LINES|SIZE|off" Input Word(listen_defaults.rate) live
        "what a host may send in a second: 200 is lines, 64KiB bytes; who sends more is read more slowly, and loses nothing; more datagrams are dropped; off or 0: as much as it likes";
    "burst" = "LINES|SIZE|off" Input Word(listen_defaults.burst) live
        "what a host may send at once before --rate slows it; off or 0: what it may send in a second";
    "unix-mode" = "OCTAL" Input Octal(config.unix_mode)
        "permission bits of a Unix socket's file";
    "udp-buffer" = "SIZE" Input Size(config.udp_buffer)
        "receive buffer that the kernel is asked for at each UDP listener; 0 is its own default";
    "receipt" = "" Input Switch(config.limits.receipt)
        "a client that ends its sending side gets \"N lines\" back once its lines are written";
    #[cfg(feature = "poll")]
    "poll" = "NAME=URL" Polls List(poll.polls)
        "a page that is fetched again and again: its new lines come in as those of a client of that name; may be given more than once";
    #[cfg(feature = "poll")]
    "poll-interval" = "DURATION" Polls Time(poll.interval)
        "time from the end of a fetch to the next, at least 1s";
    #[cfg(feature = "poll")]
    "poll-timeout" = "DURATION" Polls Time(poll.timeout)
        "longest that a fetch may take";
    #[cfg(feature = "poll")]
    "poll-max-response" = "SIZE" Polls Size(poll.max_response)
        "longest page, or part of a longer file, decompressed";
    #[cfg(feature = "poll")]
    "poll-seen" = "NUMBER" Polls Number(poll.seen)
        "how many lines of a page are remembered, to tell which are new";
    #[cfg(feature = "poll")]
    "poll-start" = "all|new" Polls Word(poll.start)
        "what the first fetch brings: all lines of the page, or none, as they are old";
    #[cfg(feature = "poll")]
    "poll-state" = "DIR|off" Polls PathOrOff(poll.state)
        "a directory where what was seen is kept over a restart";
    #[cfg(feature = "http")]
    "http-auth" = "FILE|off" Polls PathOrOff(http_auth)
        "who we are to servers: a file with lines HOST:PORT user:password or HOST:PORT bearer TOKEN";
    "tls-ca" = "FILE|off" Output PathOrOff(tls.ca)
        "in a build with TLS: whom connections over TLS to other machines trust: a file of certificates (PEM), instead of the box's own; ,ca= behind an output is for that one alone";
    "tls-cert" = "FILE|off" Output PathOrOff(tls.cert)
        "our own certificate for such connections, and those between it and its authority (PEM); or ,cert= behind an output";
    "tls-key" = "FILE|off" Output PathOrOff(tls.key)
        "its key; or ,key= behind an output";
    "tls-server-name" = "NAME" Output Text(tls.server_name)
        "the name that the other side's certificate has to be for, where that is not its host; or ,server-name= behind an output";
    "output" / 'o' = SYNTAX Output List(outputs)
        "where lines go: - is stdout, a file ({host} in its name: one for each client host; {date}: one for each day; {app}, {severity}, {facility}: one for each of these in syslog messages; {name}: one for each name of a client's certificate, in a build with TLS), another receiver, a stream of NATS, or a store over HTTP (loki+http, elastic+http, clickhouse+http, http); tcp+tls:, nats+tls:// and https:// in a build with TLS; may be given more than once";
    "format" = "raw|peer|json" Output Word(format)
        "raw: the line as it came; peer: time, client address, line; json: the same as an object";
    "tag" = "NAME" Output Tag(output.tag)
        "a word that is added to each line, in --format peer and json";
    "mark-gaps" = "" Output Switch(output.mark_gaps)
        "where lines were dropped, the output gets a line that says how many, and why";
    "rotate-size" = "SIZE" Files Size(output.rotate_size) live
        "a file that would get longer is rotated: renamed to FILE.1, and a new one begun; 0 is never";
    "rotate-age" = "DURATION" Files Time(output.rotate_age) live
        "a file this old is rotated; 0 is never";
    "rotate-at" = "HH:MM|off" Files WordOrOff(output.rotate_at)
        "a file with lines is rotated each day at this local time";
    "rotate-keep" = "NUMBER" Files Number(output.rotate_keep) live
        "how many rotated files are kept: FILE.1 is the newest; with {date}, how many earlier days";
    #[cfg(feature = "compress")]
    "rotate-compress" = "" Files Switch(output.rotate_compress)
        "rotated files are compressed, one after the other: FILE.1.gz; zcat and zless read them";
    "disk-full" = "wait|drop-oldest" Files Word(output.disk_full) live
        "when the disk is full: clients wait, or the oldest rotated file is removed";
    "sync" = "never|interval|DURATION" Files Word(output.sync)
        "how often written lines are forced to the disk (fdatasync); interval is 1s";
    "flush-every" = "DURATION" Files Time(output.flush_every) live
        "how long lines may wait in memory to be written to a file together, to spare flash; 0 is not at all";
    "file-mode" = "OCTAL|as-before" Files OctalOrBefore(output.file_mode) live
        "permission bits of new files, whatever the umask; as-before: those of the file before it, else 0666 less the umask";
    "file-group" = "NAME|GID|as-before" Files GroupOrBefore(output.file_group) live
        "group of new files; as-before: that of the file before it, as far as that is allowed, else the program's";
    "make-dirs" = "" Files Switch(output.make_dirs) live
        "a directory of output files that is missing is made, at the start and later";
    "host-files" = "NUMBER" Files Number(output.host_files)
        "most files that {host}, {app} and so on make; further ones share one";
    "on-stall" = "wait|drop" Output Word(output.on_stall) live
        "when an output accepts nothing: clients wait, or it is skipped and misses lines";
    "stall-timeout" = "DURATION" Output Time(output.stall_timeout) live
        "how long an output may accept nothing before --on-stall drop skips it";
    #[cfg(feature = "spool")]
    "spool" = "DIR|off" Spool WordOrOff(output.spool.dir)
        "a directory where lines wait for outputs to other machines: those may be away for as long as it has room, and this program may be killed";
    #[cfg(feature = "spool")]
    "spool-size" = "SIZE" Spool Size(output.spool.size)
        "the most that its files take";
    #[cfg(feature = "spool")]
    "spool-full" = "wait|drop-oldest" Spool Word(output.spool.full)
        "when it is full: clients wait, or the oldest lines go";
    #[cfg(feature = "spool")]
    "take-over" = "ID|off" Spool WordOrOff(output.spool.take_over)
        "the box whose place this one takes: its spool is believed though another machine made it";
    #[cfg(feature = "spool")]
    "lag-alarm" = "DURATION" Spool Time(output.spool.lag_alarm) live
        "how long an output may fall further behind before health checks fail; 0 is never";
    #[cfg(feature = "nats")]
    "nats-stream" = "NAME" Output Text(output.nats.stream)
        "the stream that --output nats://... publishes to";
    #[cfg(feature = "nats")]
    "nats-create" = "" Output Switch(output.nats.create)
        "that stream is made if there is none";
    #[cfg(feature = "nats")]
    "nats-creds" = "FILE|off" Output PathOrOff(output.nats.creds)
        "who we are to the servers: a file with lines user = ..., password = ... or token = ...; or a .creds file, in a build with nkey";
    #[cfg(any(feature = "nats", feature = "push"))]
    "box" = "NAME" Output Text(output.nats.box_name)
        "what stands for {box} in a subject, as one word, and for the label box in Loki; by default the name of the host";
    #[cfg(feature = "push")]
    "push-header" = "FIELD" Output List(output.push.headers)
        "a field that goes with each request to a store over HTTP: 'X-Scope-OrgID: plant-7'";
    #[cfg(feature = "push")]
    "push-batch" = "SIZE" Output Size(output.push.batch)
        "the most bytes of lines in one such request, before they are packed";
    #[cfg(feature = "push")]
    "push-every" = "DURATION" Output Time(output.push.every)
        "how long a line waits for others to go with it";
    #[cfg(feature = "push")]
    "push-seq" = "" Output Switch(output.push.seq)
        "each line has its number with it, as seq, for stores that take one";
    #[cfg(feature = "alert")]
    "alert" = "TEXT" Alerts List(alert.patterns)
        "somebody is told of lines that hold this text; may be given more than once";
    #[cfg(feature = "alert")]
    "alert-url" = "URL|off" Alerts UrlOrOff(alert.url)
        "who is told: gets a POST with {pattern,line,peer,count} for the first such line";
    #[cfg(feature = "alert")]
    "alert-every" = "DURATION" Alerts Time(alert.every)
        "how often, after the first, if there are more such lines";
    #[cfg(feature = "alert")]
    "alert-ignore-case" = "" Alerts Switch(alert.ignores_case)
        "large and small letters are the same (ASCII)";
    "max-line" = "SIZE" Lines Size(config.limits.max_line)
        "longest line in bytes, without its line ending";
    "long-lines" = "skip|cut|split" Lines Word(config.limits.long_lines) live
        "what happens to a longer line: it is dropped, cut off, or made into several";
    "max-buffer" = "SIZE" Lines Size(config.limits.max_buffer)
        "bytes without a newline after which the log warns of a client";
    "keep-empty" = "" Lines Switch(config.limits.keep_empty) live
        "empty lines are written too";
    "embedded-newline" = "escape|space|keep" Lines Word(config.limits.embedded_newline) live
        "what becomes of a newline inside a message, where --framing is not lines, or over UDP with parse=syslog: \\n, a space, or it stays, for --format json";
    "memory" = "SIZE" Room Size(config.limits.memory)
        "most memory that clients and slow outputs may use; by default at most a quarter of the box's";
    "max-connections" = "NUMBER" Room Number(config.limits.max_connections) live
        "most client connections at once";
    "when-full" = "wait|reject" Room Word(config.limits.when_full) live
        "what happens to a client beyond --max-connections: it waits until there is room, or is closed";
    "max-per-host" = "NUMBER|half" Room NumberOrHalf(config.limits.max_per_host) live
        "most connections of one client host; 0 is no limit";
    "idle-timeout" = "DURATION" Times Time(config.limits.idle_timeout) live
        "silence after which a client is told goodbye: a FIN; it is still read until it closes";
    "idle-close" = "always|needed" Times Word(config.limits.idle_close)
        "whether such a client is told at once, or only when its place or memory is needed; needed suits proxies and tools that close at a FIN";
    "line-timeout" = "DURATION" Times Time(config.limits.line_timeout) live
        "how long a line may wait for its newline before it is written as it is";
    "linger" = "DURATION" Times Time(config.limits.linger) live
        "how long a client may be silent after the goodbye before it is closed; 0 closes at once";
    "keepalive" = "DURATION" Times Time(config.limits.keepalive)
        "silence after which TCP probes whether a client is still there";
    "drain-timeout" = "DURATION" Times Time(config.limits.drain_timeout) live
        "longest wait, at shutdown, for clients that still send, and for an output that accepts nothing; 0 waits for neither";
    "gather" = "DURATION" Times Time(config.limits.gather) live
        "under load, how long a line may wait to be written together with others; 0 is never, at most 100ms";
    #[cfg(feature = "status")]
    "status" = "ADDR:PORT|unix:/path|off" Program WordOrOff(status)
        "where to answer HTTP requests: a page, metrics, diagnostics, lines as they come";
    #[cfg(feature = "status")]
    "status-tail" = "on|off" Program Switch(status_tail)
        "whether --status may show the lines themselves";
    "log-level" = "LEVEL" Program Level(log_level) live
        "how much the program's own log on stderr says: off, error, warn, info, debug or trace";
    "log-format" = "auto|plain|journal" Program Word(log_format)
        "its lines begin with: plain: the time; journal: <N>, the priority; auto: journal if stderr is the journal";
    "report-interval" = "DURATION" Program Time(report_interval) live
        "how often that log gets a line of rates, connections and memory; 0 is never";
    #[cfg(feature = "sandbox")]
    "sandbox" = "auto|off|require|kill" Program Word(sandbox)
        "once it has started, this program confines itself to the files and system calls that it needs: auto: as far as the kernel can, and nothing stops working for it; require: all there is, or no start; kill: the same, and a forbidden call ends it";
    #[cfg(feature = "sandbox")]
    "user" = "NAME|off" Program UserOrOff(user)
        "root binds the sockets and becomes this user then, before any file is opened";
}

/// Options that only the command line has, as `--help` shows them.
pub const COMMAND_LINE_ONLY: &[(&str, Option<char>, &str, &str)] = &[
    ("config", None, "FILE", "a file with these options, one a line: max-line = 64KiB; the command line wins"),
    ("check", None, "", "print all settings, where each was set, and what they can cost at worst; run nothing"),
    ("help", Some('h'), "", "show all options"),
    ("version", Some('V'), "", "show the version"),
];

/// The option with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.name == name)
}

/// The feature without which this build has not got an option that others have.
#[must_use]
pub fn feature_of(name: &str) -> Option<&'static str> {
    let (_, line) = ELSEWHERE.iter().find(|option| option.0 == name)?;
    // The first one of any.
    line.split('"').nth(1)
}

/// The option whose name is most like a mistyped one, if any is like it. In a config file, options that only the command
/// line has do not count.
#[must_use]
pub fn nearest(name: &str, is_in_file: bool) -> Option<&'static str> {
    let only_here = COMMAND_LINE_ONLY.iter().filter(|_| !is_in_file).map(|option| option.0);
    let names = OPTIONS.iter().map(|option| option.name).chain(only_here);
    let by_distance = names.map(|real| (strsim::osa_distance(name, real), real));
    // Up to a third of the letters may be wrong.
    by_distance.filter(|(distance, real)| *distance <= real.len().div_ceil(3)).min().map(|(_, real)| real)
}

/// Every option, and its value in these settings, without what may say who we are: others see it.
#[cfg(feature = "status")]
#[must_use]
pub fn shown(settings: &Settings) -> Vec<(&'static str, String)> {
    OPTIONS.iter().map(|option| (option.name, without_secrets(option, settings))).collect()
}

/// The value of an option in these settings, likewise.
pub(super) fn without_secrets(option: &Opt, settings: &Settings) -> String {
    match option.name {
        "push-header" => starts(option, settings, |_| Some(':')),
        "output" => starts(option, settings, |value| {
            // The query of a store may hold a password.
            let (scheme, _) = value.split_once("://")?;
            scheme.ends_with("http").then_some('?')
        }),
        // And that of a page, or of who is told of lines, a token.
        "poll" | "alert-url" => starts(option, settings, |_| Some('?')),
        _ => option.current(settings),
    }
}

/// The values of an option, each up to a letter.
fn starts(option: &Opt, settings: &Settings, end: fn(&str) -> Option<char>) -> String {
    let mut values = option.values(settings);
    for value in &mut values {
        let at = end(value).and_then(|end| value.find(end));
        value.truncate(at.unwrap_or(value.len()));
    }
    values.join(", ")
}
