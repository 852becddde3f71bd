//! What people write, as any text: nothing panics, what parses prints back and parses to the same, and each mistake is
//! one line (P13).

use std::ffi::OsString;
use std::fmt::{Debug, Display};
use std::str::FromStr;

use lumberjack::cli::options::{OPTIONS, Settings};
use lumberjack::cli::{Invocation, parse, parse_config_file};
use lumberjack::{
    DisplayDuration, DisplaySize, Format, IdleClose, ListenAddr, LongLines, WhenFull, parse_duration, parse_size,
};

use super::{Script, Story};

/// What random text is made of, so that much of it means something. Every option's name comes on top.
const WORDS: [&str; 48] = [
    "=",
    "=",
    " = ",
    "\n",
    "\n",
    "\r\n",
    " ",
    "#",
    " #",
    "\t",
    "--",
    "-",
    "0",
    "1",
    "9",
    "64",
    "100",
    "4445",
    "18446744073709551615",
    "18446744073709551616",
    "KiB",
    "MiB",
    "GiB",
    "kB",
    "MB",
    "GB",
    "ms",
    "s",
    "m",
    "h",
    "B",
    "127.0.0.1",
    "[::1]",
    "[fe80::1%2]",
    "::",
    ":",
    "unix:",
    "/run/x",
    "localhost",
    "skip",
    "cut",
    "split",
    "wait",
    "half",
    "true",
    "json",
    "\0",
    "é\u{2028}",
];

/// Decodes a text, and reads it as everything that is read.
pub(crate) fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let is_raw = script.byte() & 1 == 1;
    let text = if is_raw { String::from_utf8_lossy(script.take(input.len())).into_owned() } else { in_words(script) };
    compare(&text);
}

fn in_words(mut script: Script<'_>) -> String {
    let mut text = String::new();
    while !script.is_over() {
        let byte = usize::from(script.byte());
        if byte >= 192 {
            // The start of a line that may well be right.
            text.push('\n');
            text.push_str(OPTIONS[byte % OPTIONS.len()].name);
            text.push_str(" = ");
            continue;
        }
        let names = OPTIONS.len() + WORDS.len();
        text.push_str(WORDS.get(byte % names).copied().unwrap_or_else(|| OPTIONS[byte % names - WORDS.len()].name));
    }
    text
}

/// Reads `text` as a size, a duration, an address, a word, a config file and arguments.
pub(crate) fn compare(text: &str) {
    let _story = Story(&text);
    for part in [text].into_iter().chain(text.split([' ', '=', '\n'])) {
        size(part);
        duration(part);
        prints_back::<ListenAddr>(part);
        prints_back::<LongLines>(part);
        prints_back::<WhenFull>(part);
        prints_back::<IdleClose>(part);
        prints_back::<Format>(part);
    }
    let mut settings = Settings::default();
    match parse_config_file("a.conf", text, &mut settings) {
        Ok(()) => settings.config.validate().map_or_else(|error| assert_is_sentence(&error), |()| {}),
        Err(error) => assert_is_sentence(&error),
    }
    arguments(text);
}

fn size(text: &str) {
    match parse_size(text) {
        Ok(bytes) => assert_eq!(parse_size(&DisplaySize(bytes).to_string()), Ok(bytes), "{text:?}"),
        Err(error) => assert_is_sentence(&error),
    }
}

fn duration(text: &str) {
    match parse_duration(text) {
        Ok(duration) => assert_eq!(parse_duration(&DisplayDuration(duration).to_string()), Ok(duration), "{text:?}"),
        Err(error) => assert_is_sentence(&error),
    }
}

fn prints_back<T: FromStr<Err: Display + Debug + PartialEq> + Display + Debug + PartialEq>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string().parse::<T>(), Ok(value), "{text:?}"),
        Err(error) => assert_is_sentence(&error),
    }
}

fn arguments(text: &str) {
    let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
    if text.contains("config") {
        return; // It would open files.
    }
    match parse(words) {
        Ok(Invocation::Run(settings)) => assert_eq!(settings.config.validate(), Ok(()), "what was parsed is valid"),
        Ok(_) => {}
        Err(error) => assert_is_sentence(&error),
    }
}

fn assert_is_sentence(error: &impl Display) {
    let text = error.to_string();
    assert!(text.contains(' '), "a sentence has words: {text:?}");
    assert_is_line(&text);
}

fn assert_is_line(text: &str) {
    let breaks = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
    assert!(!text.is_empty() && !text.contains(breaks), "this is to be one line: {text:?}");
}
