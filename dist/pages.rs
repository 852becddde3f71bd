//! Writes the man page, the default config file, the shell completions and `docs/options.md`, from the same table as
//! `--help`.
//!
//! `cargo run --example pages -- FOLDER` makes `lumberjack.1`, `lumberjack.conf`, `lumberjack.bash`, `_lumberjack`
//! (zsh), `lumberjack.fish` and `options.md` there; `-- FOLDER PAGE` makes that page alone: `-- docs options.md` is what
//! to run after a change of the table. An example, so that none of it is in the program.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use lumberjack::cli::options::{COMMAND_LINE_ONLY, Group, OPTIONS, Settings};

/// What pages need of an option, wherever it may be given.
pub struct Row {
    group: Group,
    letter: Option<char>,
    name: &'static str,
    value: &'static str,
    help: &'static str,
    /// None: it is for the command line only.
    default: Option<String>,
    /// It may be given more than once, and is not by default.
    is_empty_list: bool,
    /// Whether SIGHUP takes a new value over.
    is_live: bool,
}

impl Row {
    /// What becomes of a new value at SIGHUP.
    fn at_reload(&self) -> &'static str {
        match (&self.default, self.is_live) {
            (None, _) => "",
            (_, true) => "changes",
            (_, false) => "restart",
        }
    }

    /// The words that may be its value, if it is one of a few, such as `raw|peer|json`.
    fn words(&self) -> Vec<&'static str> {
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.starts_with(|letter: char| letter.is_ascii_lowercase())
                && part.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-')
        };
        self.value.split('|').filter(is_word).collect()
    }

    fn takes_a_file(&self) -> bool {
        self.value.split('|').any(|part| part == "FILE")
    }

    fn is_switch(&self) -> bool {
        self.value.is_empty()
    }
}

/// Every option, in the order of `--help`.
#[must_use]
pub fn rows() -> Vec<Row> {
    let settings = Settings::default();
    let mut rows = Vec::new();
    for (group, _) in Group::ALL {
        rows.extend(OPTIONS.iter().filter(|option| option.group == group).map(|option| Row {
            group,
            letter: option.letter,
            name: option.name,
            value: option.value,
            help: option.help,
            default: Some(option.current(&settings)),
            is_empty_list: option.values(&settings).is_empty(),
            is_live: option.renew.is_some(),
        }));
    }
    rows.extend(COMMAND_LINE_ONLY.iter().map(|(name, letter, value, help)| Row {
        group: Group::Program,
        letter: *letter,
        name,
        value,
        help,
        default: None,
        is_empty_list: false,
        is_live: false,
    }));
    rows
}

/// The default config file: every option that it may have, out of force, with its meaning and its default.
#[must_use]
pub fn conf() -> String {
    let mut text = String::from(
        "# What lumberjack does: the long options, one a line. It is read at the start, and again at SIGHUP\n\
         # (systemctl reload lumberjack); have it checked first: lumberjack --check --config FILE\n\
         # Every line below that begins with a # and no space shows the default; take the # away to change it.\n\
         # Sizes: bytes, or with KiB, MiB or GiB (K, M, G), kB, MB or GB. Durations: with ms, s, m, h or d. See lumberjack(1).\n",
    );
    let mut last = None;
    for row in rows() {
        let Some(default) = &row.default else { continue };
        if last != Some(row.group) {
            last = Some(row.group);
            let _ = write!(text, "\n## {}\n", heading(row.group));
        }
        let value = if row.is_switch() { "on|off" } else { row.value };
        // No value stands for none of them, so that one is in no line that could come into force.
        let line =
            if row.is_empty_list { format!("# {} = {value}", row.name) } else { format!("#{} = {default}", row.name) };
        let _ = write!(text, "\n# {}: {} ({value})\n{line}\n", row.name, row.help);
    }
    text
}

/// `lumberjack(1)`.
#[must_use]
pub fn man() -> String {
    let mut text = format!(
        ".TH LUMBERJACK 1 \"\" \"lumberjack {}\" \"User commands\"\n\
         .SH NAME\nlumberjack \\- receives log lines over TCP, UDP and Unix sockets and writes each to every output\n\
         .SH SYNOPSIS\n.B lumberjack\n[\\fIOPTIONS\\fR]\n{MAN_CAT_SYNOPSIS}{}{}\
         .SH DESCRIPTION\n\
         Applications connect and send lines that end in a newline, or messages in another framing, or datagrams. Whole\n\
         lines come out, in order, once. No client can make it grow past its memory budget, stall the others, or lose\n\
         a line that it has taken. It is no router, no parser but of syslog headers, and not the Logstash\n\
         \"lumberjack\" (Beats) protocol.\n\
         .SH OPTIONS\n\
         Sizes take bytes, or KiB, MiB and GiB (K, M and G are the same), kB, MB and GB; durations ms, s, m, h and d.\n",
        env!("CARGO_PKG_VERSION"),
        if HAS_SPOOL { MAN_SPOOL_SYNOPSIS } else { "" },
        if HAS_STATUS { MAN_STATUS_SYNOPSIS } else { "" }
    );
    let mut last = None;
    for row in rows() {
        if last != Some(row.group) {
            last = Some(row.group);
            let _ = writeln!(text, ".SS {}", roff(heading(row.group)));
        }
        text.push_str(".TP\n");
        if let Some(letter) = row.letter {
            let _ = write!(text, "\\fB\\-{letter}\\fR, ");
        }
        let value = if row.is_switch() { String::new() } else { format!(" \\fI{}\\fR", roff(row.value)) };
        let _ = writeln!(text, "\\fB\\-\\-{}\\fR{value}", roff(row.name));
        let default = row.default.as_ref().filter(|_| !row.is_empty_list);
        let default = default.map(|default| format!(" [{default}]")).unwrap_or_default();
        let _ = writeln!(text, "{}", roff(&format!("{}{default}", row.help)));
    }
    text.push_str(MAN_CAT);
    if HAS_SPOOL {
        text.push_str(MAN_SPOOL);
    }
    if HAS_STATUS {
        text.push_str(MAN_STATUS);
    }
    text.push_str(MAN_END);
    text
}

const MAN_CAT_SYNOPSIS: &str = "\
.br
.B lumberjack cat
\\fIFILE\\fR [\\fB\\-\\-since\\fR \\fITIME\\fR|\\fIDURATION\\fR] [\\fB\\-\\-match\\fR \\fITEXT\\fR]
";

const MAN_CAT: &str = "\
.SH READING ROTATED FILES
.B lumberjack cat
shows an output file and those that were rotated, compressed or not, from the oldest line on; or the files of all days,
if {date} is in the name.
.B \\-\\-since
leaves lines out that are older, as far as they have a time;
.B \\-\\-match
shows only lines with this text.
";

/// Whether there is `lumberjack read`.
const HAS_SPOOL: bool = cfg!(feature = "spool");

const MAN_SPOOL_SYNOPSIS: &str = "\
.br
.B lumberjack read
[\\fB\\-\\-from\\fR] \\fIDIR\\fR [\\fB\\-\\-first\\fR \\fINUMBER\\fR] [\\fB\\-\\-since\\fR \\fITIME\\fR|\\fIDURATION\\fR]
[\\fB\\-\\-until\\fR \\fITIME\\fR|\\fIDURATION\\fR] [\\fB\\-\\-host\\fR \\fIHOST\\fR] [\\fB\\-\\-match\\fR \\fITEXT\\fR]
[\\fB\\-\\-format\\fR raw|peer|json] [\\fB\\-\\-follow\\fR]
.br
.B lumberjack read
\\fB\\-\\-from\\fR nats://\\fIHOST\\fR/\\fISUBJECT\\fR \\fB\\-\\-nats\\-stream\\fR \\fINAME\\fR
[\\fB\\-\\-nats\\-creds\\fR \\fIFILE\\fR] [\\fB\\-\\-box\\fR \\fINAME\\fR] [...]
.br
.B lumberjack verify
\\fIDIR\\fR
";

const MAN_SPOOL: &str = "\
.SH READING A SPOOL
.B lumberjack read
shows the lines that a spool has, the oldest first, while a server uses it or not: number, time, sender and line, or with
.B \\-\\-format
as an output writes them.
.B \\-\\-first
begins with the line of a number;
.B \\-\\-since
leaves older lines out,
.B \\-\\-until
those from then on,
.B \\-\\-host
those of other senders (an address, or unix),
.B \\-\\-match
those without a text;
.B \\-\\-follow
waits for more. The lines of a stream of NATS are shown as they were formatted, of many subjects if there is * or > in
.IR SUBJECT .
.B lumberjack verify
says of each segment whether it is whole, and what is missing. Both change nothing. Exit status: 0 all is there, 1 lines are
missing.
";

/// Whether there is `lumberjack status`.
const HAS_STATUS: bool = cfg!(feature = "status");

const MAN_STATUS_SYNOPSIS: &str = "\
.br
.B lumberjack status
[\\fIADDR:PORT\\fR|unix:\\fI/path\\fR] [\\fB\\-\\-json\\fR] [\\fB\\-\\-watch\\fR]
";

const MAN_STATUS: &str = "\
.SH LOOKING AT A RUNNING ONE
With
.BR \\-\\-status
it serves a small HTTP endpoint from the same loop. It shows who logs what: keep it on loopback or on a Unix socket.
.TP
.B /
a page for a browser, which updates itself
.TP
.BR /diagnostics \", \" /status
all figures, and the connections and hosts that cost most, as JSON;
.BR ?connections= \\fIN\\fR,
.B ?format=csv
.TP
.B /metrics
for Prometheus
.TP
.B /healthz
200 while lines flow or could, else 503 and why not
.TP
.B /tail
the lines as they come, as server-sent events;
.BR ?match= \\fITEXT\\fR,
.BR ?peer= \\fIADDR\\fR;
.B \\-\\-status\\-tail off
removes it
.PP
.B lumberjack status
asks it from a terminal, at 127.0.0.1:4446 unless told otherwise: one screen, or the diagnostics with
.BR \\-\\-json ,
again each second with
.BR \\-\\-watch .
It exits with 0 if lines flow or could, 1 if not, 2 if it can't be asked.
";

const MAN_END: &str = "\
.SH SIGNALS
.TP
.BR SIGTERM \" and \" SIGINT
The orderly end: who waits is still taken, every client gets a goodbye, every line is written.
A second one ends at once. A SIGINT that was ignored at the start stays so.
.TP
.B SIGHUP
Output files are opened anew, since they were renamed. With
.BR \\-\\-config ,
the file is read again before that, and what can change while the program runs does; what needs a restart is named in the log, and a
file with a mistake changes nothing. Have it checked first:
.BR \"lumberjack \\-\\-check \\-\\-config \" \\fIFILE\\fR.
Nothing happens if the signal was ignored at the start, as by
.BR nohup .
.TP
.B SIGUSR1
One line of diagnostics, as JSON, in the log (at info).
.SH ENVIRONMENT
.TP
.BR NOTIFY_SOCKET \" and \" WATCHDOG_USEC
The supervisor, such as systemd, that is told of the start, of reloads and of the end, how it goes, and that it is alive.
.TP
.BR LISTEN_FDS \" and \" LISTEN_PID
Sockets that a supervisor hands over: they are listened on, beside
.BR \\-\\-listen ,
whose default is left out then, and are left open at the end.
.TP
.B JOURNAL_STREAM
If it names stderr, log lines begin with their priority.
.SH EXIT STATUS
.TP
.B 0
a clean end
.TP
.B 1
a failure at run time: one sentence on stderr says what, where and what to do
.TP
.B 2
a mistake in the options or in the config file, or, with
.BR \\-\\-check ,
settings that do not fit this box
.SH FILES
.TP
.I /etc/lumberjack/lumberjack.conf
what the packaged service reads with
.BR \\-\\-config .
The same long options, one a line; a # at the start of a line or after a space begins a comment.
.SH EXAMPLES
.nf
lumberjack \\-\\-listen 0.0.0.0:4445 \\-\\-output /var/log/app.log
printf 'hello\\en' | nc \\-N 127.0.0.1 4445
.fi
";

/// `docs/options.md`.
#[must_use]
pub fn options() -> String {
    let mut text = String::from(OPTIONS_START);
    let mut last = None;
    for row in rows() {
        if last != Some(row.group) {
            last = Some(row.group);
            let (title, note) = titled(heading(row.group));
            let _ = write!(
                text,
                "\n## {title}\n\n{note}| option | default | at SIGHUP | what it does |\n| --- | --- | --- | --- |\n"
            );
        }
        let letter = row.letter.map(|letter| format!("-{letter}, ")).unwrap_or_default();
        let value = if row.is_switch() { String::new() } else { format!(" {}", row.value) };
        let default = match row.default.as_deref() {
            None => String::new(),
            Some("") => "none".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        let more = MORE.iter().find(|(name, _)| *name == row.name).map(|(_, more)| format!(". {more}"));
        let help = row.help.replace('<', "&lt;");
        // A bar ends a cell, in a code span too.
        let option = format!("{letter}--{}{value}", row.name).replace('|', "\\|");
        let _ = writeln!(text, "| `{option}` | {default} | {} | {help}{} |", row.at_reload(), more.unwrap_or_default());
    }
    text
}

/// A heading, and what stands in brackets behind it, as a sentence.
fn titled(heading: &str) -> (&str, String) {
    match heading.split_once(" (") {
        Some((title, note)) => (title, format!("{}.\n\n", note.trim_end_matches(')'))),
        None => (heading, String::new()),
    }
}

const OPTIONS_START: &str = "\
# Options

<!-- Made by `cargo run --example pages -- docs options.md` from the table of options; a test compares the two. -->

`lumberjack [OPTIONS]` needs no option. `lumberjack --help` shows the same list.

- **Sizes**: bytes, or with `KiB`, `MiB` or `GiB`, which `K`, `M` and `G` alone are too, or with `kB`, `MB` or `GB`; in any case.
  **Durations**: with `ms`, `s`, `m`, `h` or `d`.
- **In a config file** (`--config FILE`) an option stands without its dashes, one a line: `max-line = 64KiB`. Options without
  a value take `on` or `off`: `mark-gaps = on`. `#` begins a comment, at the start of a line or after a space. Quotes would be
  part of the value. What the command line says wins. An option that is there twice is a mistake; `listen`, `output`, `poll`, `alert` and `push-header` may be.
- **At SIGHUP** the file is read again. An option with `changes` takes a new value at once, for who is connected too; one with
  `restart` keeps its own until the program is started again, and the log says so.
- **Exit codes**: 0 is a clean end, 1 a failure at run time, 2 a mistake in the options, or, with `--check`, settings that do
  not fit the box. With 1 and 2 there is one sentence on stderr; only a second SIGTERM or Ctrl-C ends the program with 1 and
  says nothing.
- **Signals**: SIGTERM and SIGINT (Ctrl-C) end it in order, a second one at once. SIGHUP reads the config file again and
  opens output files anew, unless it was ignored at the start (`nohup`): [changing settings while it
  runs](limits.md#changing-settings-while-it-runs). A SIGINT that was ignored at the start stays so too: a shell without job control
  (`sh -c 'lumberjack & …'`) does that to what runs in the background, so that Ctrl-C does not end it. SIGUSR1 brings all figures as JSON in its own log.
";

/// What there is to know of an option beyond its help, and where to read more.
const MORE: &[(&str, &str)] = &[
    (
        "listen",
        "Names are not looked up: give an address. `0.0.0.0` is every IPv4 address of the box; `[::]` takes IPv4 clients \
         too. How to point [clients](clients.md) at it; [the options of TLS](tls.md#a-listeners-options)",
    ),
    ("framing", "[Messages that are no lines](clients.md#messages-that-are-no-lines)"),
    ("embedded-newline", "[Messages that are no lines](clients.md#messages-that-are-no-lines)"),
    ("parse", "[Syslog headers as fields](syslog.md)"),
    ("min-severity", "[What is left out](syslog.md#--min-severity) is counted, and no loss"),
    ("keep-original", "[The fields](syslog.md#the-fields)"),
    ("trust-host", "[Whom to believe](syslog.md#--trust-host)"),
    ("allow", "[Who may connect](limits.md#who-may-connect)"),
    ("proxy", "[Behind a proxy](clients.md#behind-a-proxy-that-names-its-clients)"),
    ("rate", "[How much a host may send](limits.md#how-much-a-host-may-send)"),
    ("unix-mode", "With the default everybody on the box may log, as with `/dev/log`"),
    ("receipt", "[Receipts](receipts.md)"),
    ("sandbox", "[What the process may do](sandbox.md)"),
    ("user", "[Port 514 without root](sandbox.md#--user-port-514-without-root)"),
    (
        "output",
        "Up to [eight outputs](outputs.md#several-outputs), [files](files.md), \
         [other receivers](forwarding.md), [streams](beyond.md), [stores over HTTP](push.md), [a file for each host](files.md#a-file-for-each-host), [one for each app](files.md#a-file-for-each-app-or-severity), [one for each day](files.md#a-file-a-day)",
    ),
    ("push-header", "[Into a store over HTTP](push.md)"),
    ("push-batch", "[What it costs](push.md#what-it-costs)"),
    ("push-seq", "[What arrives, and how often](push.md#what-arrives-and-how-often)"),
    ("format", "[How a line looks](outputs.md#how-a-line-looks)"),
    ("tag", "[How a line looks](outputs.md#how-a-line-looks)"),
    ("mark-gaps", "[Where lines are missing](outputs.md#where-lines-are-missing)"),
    ("on-stall", "[When an output stands still](outputs.md#when-an-output-stands-still)"),
    ("rotate-size", "[Files that stay small](files.md#files-that-stay-small)"),
    ("rotate-at", "[A file a day](files.md#a-file-a-day)"),
    (
        "rotate-keep",
        "All files together take at most `--rotate-size` × (this number + 1). With `{date}`, files of other days than the newest so many are removed",
    ),
    ("disk-full", "[When the disk is full](files.md#when-the-disk-is-full)"),
    (
        "sync",
        "At most once in that time, at least `100ms`: [what a power cut can lose](files.md#what-a-power-cut-can-lose)",
    ),
    ("flush-every", "[Care for flash](files.md#care-for-flash)"),
    ("file-mode", "[Who may read them](files.md#who-may-read-them)"),
    ("make-dirs", "[When the directory is missing](files.md#when-the-directory-is-missing)"),
    ("host-files", "[A file for each host](files.md#a-file-for-each-host)"),
    ("max-line", "[What happens when a limit is hit](limits.md#what-happens-when-a-limit-is-hit)"),
    ("max-buffer", "At least twice `--max-line`"),
    ("max-connections", "Never more than the box has [open files](limits.md#what-happens-when-a-limit-is-hit) for"),
    ("max-per-host", "`half` is half of `--max-connections`. An IPv6 network (/64) is one host"),
    ("idle-timeout", "Any byte is a sign of life, an empty line too"),
    ("idle-close", "[Quiet clients and the goodbye](clients.md#quiet-clients-and-the-goodbye)"),
    ("gather", "A line that comes after a calm moment never waits"),
    ("status", "[The status endpoint](status.md#the-status-endpoint)"),
    ("status-tail", "[Who may look](status.md#who-may-look)"),
    ("log-level", "[Its own log](status.md#its-own-log)"),
    ("log-format", "[The journal](systemd.md#the-journal)"),
    ("check", "[What it will cost](limits.md#what-it-will-cost---check)"),
];

/// Completions for bash.
#[must_use]
pub fn bash() -> String {
    let rows = rows();
    let mut text = String::from(
        "# bash completion for lumberjack\n\
         _lumberjack() {\n    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n    \
         COMPREPLY=()\n    \
         # bash takes --name=value apart.\n    \
         if [ \"$current\" = = ]; then current=''; \
         elif [ \"$previous\" = = ]; then previous=${COMP_WORDS[COMP_CWORD-2]}; fi\n",
    );
    if HAS_STATUS {
        text.push_str(
            "    if [ \"${COMP_WORDS[1]}\" = status ] && [ \"$COMP_CWORD\" -gt 1 ]; then\n        \
             mapfile -t COMPREPLY < <(compgen -W '--json --watch' -- \"$current\"); return\n    fi\n",
        );
    }
    text.push_str(
        "    if [ \"${COMP_WORDS[1]}\" = cat ] && [ \"$COMP_CWORD\" -gt 1 ]; then\n        \
         if [ \"${current:0:1}\" = - ]; then mapfile -t COMPREPLY < <(compgen -W '--since --match' -- \"$current\")\n        \
         else mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); fi\n        return\n    fi\n",
    );
    text.push_str("    case $previous in\n");
    for row in rows.iter().filter(|row| !row.is_switch()) {
        let letter = row.letter.map(|letter| format!(" | -{letter}")).unwrap_or_default();
        let find = match (row.takes_a_file(), row.words().join(" ")) {
            (true, _) => "-f".to_owned(),
            (_, words) => format!("-W '{words}'"),
        };
        let action = format!("mapfile -t COMPREPLY < <(compgen {find} -- \"$current\")");
        let _ = writeln!(text, "        --{}{letter}) {action}; return ;;", row.name);
    }
    let mut names: Vec<String> = rows.iter().map(|row| format!("--{}", row.name)).collect();
    names.push("cat".to_owned());
    if HAS_STATUS {
        names.push("status".to_owned());
    }
    let _ = write!(
        text,
        "    esac\n    mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$current\")\n}}\n\
         complete -o filenames -F _lumberjack lumberjack\n",
        names.join(" ")
    );
    text
}

/// Completions for zsh.
#[must_use]
pub fn zsh() -> String {
    let mut text = String::from("#compdef lumberjack\n");
    if HAS_STATUS {
        text.push_str(
            "if [[ ${words[2]} == status && $CURRENT -gt 2 ]]; then\n    \
             _arguments '--json[the diagnostics as JSON]' '--watch[again each second]'\n    return\nfi\n",
        );
    }
    text.push_str(
        "if [[ ${words[2]} == cat && $CURRENT -gt 2 ]]; then\n    \
         _arguments '--since=[no older line]:time or duration: ' '--match=[only lines with it]:text: ' '*:file:_files'\n    \
         return\nfi\n",
    );
    text.push_str("_arguments -s -S");
    let _ = write!(text, " \\\n    '1:command:(cat{})'", if HAS_STATUS { " status" } else { "" });
    for row in rows() {
        let help = quoted(&row.help.replace('[', "(").replace(']', ")").replace(':', "\\:"));
        let value = match (row.is_switch(), row.takes_a_file()) {
            (true, _) => String::new(),
            (_, true) => ":file:_files".to_owned(),
            _ if row.words().is_empty() => format!(":{}: ", row.value.replace(':', "\\:")),
            _ => format!(":value:({})", row.words().join(" ")),
        };
        // A list may be given more than once.
        let repeat = if row.name == "listen" { "*" } else { "" };
        let sign = if row.is_switch() { "" } else { "=" };
        let _ = write!(text, " \\\n    '{repeat}--{}{sign}[{help}]{value}'", row.name);
        if let Some(letter) = row.letter {
            let _ = write!(text, " \\\n    '{repeat}-{letter}[{help}]{value}'");
        }
    }
    text.push('\n');
    text
}

/// Completions for fish.
#[must_use]
pub fn fish() -> String {
    let mut text = String::from("# fish completion for lumberjack\ncomplete -c lumberjack -f\n");
    if HAS_STATUS {
        text.push_str(
            "complete -c lumberjack -n __fish_is_first_arg -a status -d 'how a running one is'\n\
             complete -c lumberjack -n '__fish_seen_subcommand_from status' -l json -d 'the diagnostics as JSON'\n\
             complete -c lumberjack -n '__fish_seen_subcommand_from status' -l watch -d 'again each second'\n",
        );
    }
    text.push_str(
        "complete -c lumberjack -n __fish_is_first_arg -a cat -d 'rotated files as one'\n\
         complete -c lumberjack -n '__fish_seen_subcommand_from cat' -F\n\
         complete -c lumberjack -n '__fish_seen_subcommand_from cat' -l since -x -d 'no older line'\n\
         complete -c lumberjack -n '__fish_seen_subcommand_from cat' -l match -x -d 'only lines with it'\n",
    );
    for row in rows() {
        let letter = row.letter.map(|letter| format!(" -s {letter}")).unwrap_or_default();
        let value = match (row.is_switch(), row.takes_a_file()) {
            (true, _) => String::new(),
            (_, true) => " -r -F".to_owned(),
            _ if row.words().is_empty() => " -x".to_owned(),
            _ => format!(" -x -a '{}'", row.words().join(" ")),
        };
        let help = row.help.replace('\\', "\\\\").replace('\'', "\\'");
        let _ = writeln!(text, "complete -c lumberjack{letter} -l {}{value} -d '{help}'", row.name);
    }
    text
}

fn heading(group: Group) -> &'static str {
    Group::ALL.iter().find(|(other, _)| *other == group).map_or("", |(_, heading)| heading)
}

/// For troff: a dash that is one, and nothing that begins a request.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// For a shell's single quotes.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''")
}

/// A file's name, and what makes its text.
type Page = (&'static str, fn() -> String);

/// Every page.
const PAGES: [Page; 6] = [
    ("lumberjack.1", man),
    ("lumberjack.conf", conf),
    ("lumberjack.bash", bash),
    ("_lumberjack", zsh),
    ("lumberjack.fish", fish),
    ("options.md", options),
];

/// Writes the page with this name, or all.
fn write_pages(folder: &Path, only: Option<&str>) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for (name, page) in PAGES.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        std::fs::write(folder.join(name), page())?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_page = |only: &String| PAGES.iter().any(|(name, _)| name == only);
    let (Some(folder), only) = (args.first(), args.get(1)) else {
        eprintln!("pages: name the folder to write to");
        return ExitCode::from(2);
    };
    if only.is_some_and(|only| !is_page(only)) {
        eprintln!("pages: there is no such page: name one of {}", PAGES.map(|(name, _)| name).join(", "));
        return ExitCode::from(2);
    }
    match write_pages(Path::new(folder), only.map(String::as_str)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pages: cannot write to {}: {error}", folder.escape_debug());
            ExitCode::FAILURE
        }
    }
}
