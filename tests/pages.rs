//! The generated pages (`dist/pages.rs`): each names every option, and the default config file says the defaults.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lumberjack::cli::options::{COMMAND_LINE_ONLY, OPTIONS, Settings};
use lumberjack::cli::parse_config_file;

#[path = "../dist/pages.rs"]
#[allow(dead_code, unreachable_pub)] // `main` and the writing of files are for the example
mod pages;

fn assert_names(text: &str, wanted: &str) {
    assert!(text.contains(wanted), "{wanted:?} is not in:\n{text}");
}

#[test]
fn every_page_names_every_option() {
    let names: Vec<&str> =
        OPTIONS.iter().map(|option| option.name).chain(COMMAND_LINE_ONLY.iter().map(|option| option.0)).collect();
    for name in names {
        assert_names(&pages::man(), &format!("\\fB\\-\\-{}\\fR", name.replace('-', "\\-")));
        assert_names(&pages::bash(), &format!("--{name}"));
        assert_names(&pages::zsh(), &format!("--{name}"));
        assert_names(&pages::fish(), &format!("-l {name} "));
    }
    for option in OPTIONS {
        let default = option.current(&Settings::default());
        assert_names(&pages::conf(), &format!("\n#{} = {default}\n", option.name));
    }
}

#[test]
fn the_default_config_file_changes_nothing() {
    let mut settings = Settings::default();
    parse_config_file("lumberjack.conf", &pages::conf(), &mut settings).unwrap();
    assert_eq!(settings, Settings::default(), "every option is commented out");
}

#[test]
fn each_line_of_the_default_config_file_is_right_without_its_mark() {
    let is_option = |line: &&str| line.starts_with('#') && line[1..].starts_with(char::is_alphabetic);
    let text = pages::conf();
    let options: String = text.lines().filter(is_option).map(|line| format!("{}\n", &line[1..])).collect();
    assert_eq!(options.lines().count(), OPTIONS.len());
    let mut settings = Settings::default();
    parse_config_file("lumberjack.conf", &options, &mut settings).unwrap();
    assert_eq!(settings, Settings::default());
}

#[test]
fn completions_know_the_words_of_a_choice() {
    assert_names(&pages::bash(), "--format) mapfile -t COMPREPLY < <(compgen -W 'raw peer json'");
    assert_names(
        &pages::zsh(),
        "'--long-lines=[what happens to a longer line\\: it is dropped, cut off, or made into several]:value:(skip cut split)'",
    );
    assert_names(&pages::fish(), "-l long-lines -x -a 'skip cut split' ");
}

#[cfg(feature = "status")]
#[test]
fn every_page_knows_the_command_that_asks_a_running_one() {
    let man = pages::man();
    assert_names(&man, "\n.B lumberjack status\n[\\fIADDR:PORT\\fR|unix:\\fI/path\\fR]");
    for path in ["/diagnostics", "/metrics", "/healthz", "/tail"] {
        assert_names(&man, path);
    }
    assert_names(&pages::bash(), "compgen -W '--json --watch'");
    assert_names(&pages::bash(), " status' -- \"$current\"");
    assert_names(&pages::zsh(), "'1:command:(status)'");
    assert_names(&pages::fish(), "-n __fish_is_first_arg -a status");
}
