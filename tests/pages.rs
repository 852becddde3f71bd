//! The generated pages (`dist/pages.rs`): each names every option, the default config file says the defaults, and
//! `docs/options.md` is up to date. And the written ones: what they refer to is there.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

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
        let line = match option.values(&Settings::default()).is_empty() {
            true => format!("\n# {} = {}\n", option.name, option.value),
            false => format!("\n#{} = {default}\n", option.name),
        };
        assert_names(&pages::conf(), &line);
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
    let has_default = |option: &&lumberjack::cli::options::Opt| !option.values(&Settings::default()).is_empty();
    assert_eq!(options.lines().count(), OPTIONS.iter().filter(has_default).count());
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

#[test]
fn completions_know_cat_and_its_options() {
    assert_names(&pages::bash(), "= cat ] && [ \"$COMP_CWORD\" -gt 1 ]");
    assert_names(&pages::bash(), "compgen -W '--since --match'");
    assert_names(&pages::zsh(), "'1:command:(cat");
    assert_names(&pages::fish(), "-a cat -d ");
}

#[cfg(feature = "spool")]
#[test]
fn the_man_page_knows_what_read_takes() {
    for option in ["from", "first", "since", "until", "host", "match", "format", "follow"] {
        let names = [format!("\\-\\-{option}\\fR"), format!("\n.B \\-\\-{option}\n")];
        assert!(pages::man().contains(&names[0]), "{option}");
        assert!(option == "from" || pages::man().contains(&names[1]), "{option}");
    }
}

#[cfg(feature = "status")]
#[test]
fn the_page_of_options_is_that_of_the_table() {
    let page = read(&root().join("docs/options.md"));
    let is_same = page == pages::options();
    assert!(is_same, "docs/options.md is not what the table says: cargo run --example pages -- docs options.md");
    for option in OPTIONS {
        assert_names(&page, &format!("--{}", option.name));
        let row = page.lines().find(|line| line.starts_with("| `") && line.contains(&format!("--{} ", option.name)));
        let row = row.or_else(|| page.lines().find(|line| line.contains(&format!("--{}` |", option.name)))).unwrap();
        let at_reload = if option.renew.is_some() { " | changes | " } else { " | restart | " };
        assert!(row.contains(at_reload), "{row}");
    }
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
    assert_names(&pages::zsh(), "'1:command:(cat status)'");
    assert_names(&pages::fish(), "-n __fish_is_first_arg -a status");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages that people read.
fn written() -> Vec<PathBuf> {
    let named =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "dist/README.md", "benches/README.md", "fuzz/README.md"];
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = named.iter().map(|name| root().join(name)).chain(docs).collect();
    pages.retain(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.sort();
    pages
}

/// What of a page is prose: not what stands in blocks of code.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// What stands between backticks.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The parts of `text` between `open` and the next `close`.
fn between<'t>(text: &'t str, open: &str, close: char) -> Vec<&'t str> {
    text.split(open).skip(1).filter_map(|rest| rest.split_once(close)).map(|(part, _)| part).collect()
}

/// The anchors of a page: of its headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let anchor = |heading: &str| {
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// Why a link on `page` leads nowhere, if it does.
fn broken(page: &Path, link: &str) -> Option<&'static str> {
    if link.contains("://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { page.to_owned() } else { page.parent().unwrap().join(file) };
    if !target.exists() {
        return Some("there is no such file");
    }
    let has_anchor = anchor.is_empty() || anchors(&prose(&read(&target))).iter().any(|other| other == anchor);
    (!has_anchor).then_some("there is no such heading")
}

#[test]
fn every_link_leads_somewhere() {
    let (mut found, mut count) = (Vec::new(), 0);
    for page in written() {
        for link in between(&prose(&read(&page)), "](", ')') {
            count += 1;
            found.extend(broken(&page, link).map(|why| format!("{}: {link}: {why}", page.display())));
        }
    }
    assert!(count > 50, "only {count} links were found");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = root().join("docs/files.md");
    for good in ["options.md", "options.md#output-files", "#with-logrotate", "../README.md", "https://example.org/#x"] {
        assert_eq!(broken(&page, good), None, "{good}");
    }
    assert_eq!(broken(&page, "no-such.md"), Some("there is no such file"));
    assert_eq!(broken(&page, "options.md#no-such"), Some("there is no such heading"));
    assert_eq!(anchors("## What it will cost: `--check`\n"), ["what-it-will-cost---check"]);
    assert_eq!(between(&prose("a [b](c) ```[d](e)``` [f](g#h)"), "](", ')'), ["c", "g#h"]);
}

/// Every `fn` in the sources and tests.
fn functions() -> Vec<String> {
    let (mut folders, mut names) = (vec![root().join("src"), root().join("tests")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                names.extend(between(&read(&path), "fn ", '(').into_iter().map(str::to_owned));
            }
        }
    }
    names
}

/// Whether a page means a file or a test by this word, and it is not there.
fn is_missing(word: &str, functions: &[String]) -> bool {
    let folders = ["src/", "tests/", "docs/", "dist/", "benches/", "fuzz/", "examples/"];
    let is_file = folders.iter().any(|folder| word.starts_with(folder))
        && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-./".contains(letter));
    // What a run of the fuzzer makes is not there.
    let is_made = word.starts_with("fuzz/corpus") || word.contains("TARGET");
    // A metric's name is as long.
    let is_test = word.matches('_').count() > 3
        && !word.starts_with("lumberjack_")
        && word.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
    (is_file && !is_made && !root().join(word).exists()) || (is_test && !functions.iter().any(|name| name == word))
}

#[test]
fn files_and_tests_that_pages_name_are_there() {
    let (functions, mut found, mut count) = (functions(), Vec::new(), 0);
    for page in written() {
        for word in code(&prose(&read(&page))) {
            count += 1;
            if is_missing(word, &functions) {
                found.push(format!("{} names `{word}`, which is not there", page.display()));
            }
        }
    }
    assert!(count > 500, "only {count} names were found");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_file_or_test_that_is_not_there_is_found() {
    let functions = functions();
    for there in
        ["src/lib.rs", "tests/process/", "a_file_or_test_that_is_not_there_is_found", "--max-line", "fuzz/corpus/x"]
    {
        assert!(!is_missing(there, &functions), "{there}");
    }
    for gone in ["src/no_such.rs", "tests/no_such/", "p1_there_is_no_such_test"] {
        assert!(is_missing(gone, &functions), "{gone}");
    }
    assert_eq!(code("a `b` c `d`"), ["b", "d"]);
}
