//! `--help`, made from the table of options. Invariant: every option is in it.

use std::fmt::Write;

use super::options::{COMMAND_LINE_ONLY, Group, OPTIONS, Settings};

/// Width of the column that names the options.
const COLUMN: usize = 38;

/// What `lumberjack cat` does.
const CAT: &str = "       lumberjack cat FILE [--since TIME|DURATION] [--match TEXT]

cat shows an output file and those that were rotated, compressed or not, from the oldest line on; or the files of all
days, if {date} is in the name.
";

/// What it takes.
const CAT_OPTIONS: &str = "

  --since TIME|DURATION   leave out older lines: 2h, or 2026-11-25T20:51Z
  --match TEXT            leave out lines without this in them
";

/// What `lumberjack status` does.
#[cfg(feature = "status")]
const STATUS: &str = "       lumberjack status [ADDR:PORT|unix:/path] [--json] [--watch]

status asks a running lumberjack, at its --status place [127.0.0.1:4446], how it is: on one screen, as JSON, or again
each second. Exit code: 0 lines flow or could, 1 they do not, 2 it can't be asked.
";

/// What it takes.
#[cfg(feature = "status")]
const STATUS_OPTIONS: &str = "

  --json    all figures; why lines do not flow is on stderr
  --watch   until nobody reads it, or Ctrl-C
";

/// What `lumberjack read` and `verify` do.
#[cfg(feature = "spool")]
const SPOOL: &str = "       lumberjack read|verify DIR

read shows the lines that a spool has, verify whether it is whole; see lumberjack read --help.
";

/// That of `lumberjack cat`.
pub(super) fn of_cat() -> String {
    ["Usage: ", CAT.trim(), CAT_OPTIONS].concat()
}

/// That of `lumberjack status`.
#[cfg(feature = "status")]
pub(super) fn of_status() -> String {
    ["Usage: ", STATUS.trim(), STATUS_OPTIONS].concat()
}

/// The whole text.
#[must_use]
pub fn help() -> String {
    let mut text = String::from(
        "lumberjack receives log lines over TCP, UDP and Unix sockets and writes each to every output.\n\n\
         Usage: lumberjack [--listen ADDR:PORT]... [--output -|FILE] [OPTIONS]\n",
    );
    #[cfg(feature = "status")]
    text.push_str(STATUS);
    text.push_str(CAT);
    #[cfg(feature = "spool")]
    text.push_str(SPOOL);
    let defaults = Settings::default();
    for (group, heading) in Group::ALL {
        // Not every build has options under each.
        if !OPTIONS.iter().any(|option| option.group == group) {
            continue;
        }
        let _ = writeln!(text, "\n{heading}:");
        for option in OPTIONS.iter().filter(|option| option.group == group) {
            // A list that is empty has no word for that.
            let has_default = !option.values(&defaults).is_empty();
            let default = if has_default { format!(" [{}]", option.current(&defaults)) } else { String::new() };
            let help = format!("{}{default}", option.help);
            row(&mut text, option.letter, option.name, option.value, &help);
        }
        if group == Group::Program {
            for (name, letter, value, help) in COMMAND_LINE_ONLY {
                row(&mut text, *letter, name, value, help);
            }
        }
    }
    text.push_str(
        "\nSizes: bytes, or with KiB, MiB or GiB (K, M, G), kB, MB or GB. Durations: with ms, s, m, h or d.\n\
         First line: lumberjack, and in another terminal: printf 'hello\\n' | nc -N 127.0.0.1 4445\n",
    );
    text
}

fn row(text: &mut String, letter: Option<char>, name: &str, value: &str, help: &str) {
    let letter = letter.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
    let left = format!("  {letter}--{name} {value}");
    let _ = writeln!(text, "{left:COLUMN$} {help}");
}
