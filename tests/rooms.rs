//! The rooms of the house (S10): imports point down, the engine sees slices, numbers and ticks only, and one file names
//! mio. Files are read when the test runs, so a new one is covered by being there.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

/// Every source file: its path from the package's root, and its text without the tests at its end.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut files) = (vec![root.join("src")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.push((name, without_tests(&fs::read_to_string(&path).unwrap()).to_owned()));
            }
        }
    }
    files.sort();
    files
}

fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// The first line that holds `word`, which is not part of a longer name there.
fn line_with<'t>(text: &'t str, word: &str) -> Option<(usize, &'t str)> {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    let stands_alone = |line: &str, at: usize| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let joins_before = word.starts_with(in_name) && before.ends_with(in_name);
        let joins_after = word.ends_with(in_name) && after.starts_with(in_name);
        !joins_before && !joins_after
    };
    (1..).zip(text.lines()).find(|(_, line)| line.match_indices(word).any(|(at, _)| stands_alone(line, at)))
}

/// No file whose name passes `is_meant` may hold any of `words`; at least `least` files must be meant.
fn forbid(is_meant: impl Fn(&str) -> bool, words: &[&str], cure: &str, least: usize) {
    let mut found = Vec::new();
    let sources = sources();
    let meant: Vec<&(String, String)> = sources.iter().filter(|(name, _)| is_meant(name)).collect();
    assert!(meant.len() >= least, "only {} of {} files are looked at", meant.len(), sources.len());
    for (name, text) in meant {
        for word in words {
            if let Some((number, line)) = line_with(text, word) {
                found.push(format!("{name}:{number} names {word}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{cure}\n{}", found.join("\n"));
}

fn is_in(folder: &str) -> impl Fn(&str) -> bool {
    move |name| name.starts_with(folder)
}

#[test]
fn the_search_finds_a_name_and_not_a_part_of_one() {
    let text = "use std::net::TcpStream;\nlet premio = simplelog::x;\n// Instantly\n    mio::Poll::new()\n";
    assert_eq!(line_with(text, "std::net").map(|found| found.0), Some(1));
    assert_eq!(line_with(text, "mio").map(|found| found.0), Some(4));
    assert_eq!((line_with(text, "log::"), line_with(text, "Instant")), (None, None));
    assert_eq!(without_tests("a\n\n#[cfg(test)]\nmod tests {\n    mio\n}\n"), "a\n");
}

#[test]
fn imports_are_written_so_that_they_can_be_found() {
    let cure = "write the whole path of an import, or this test misses what it names";
    forbid(|_| true, &["std::{", "crate::{", "core::{", "super::super"], cure, 30);
}

#[test]
fn the_engine_names_no_descriptor_clock_socket_log_or_upper_room() {
    let words = [
        "mio",
        "log::",
        "std::net",
        "std::os",
        "std::fs",
        "std::io",
        "std::thread",
        "Instant",
        "SystemTime",
        "crate::server",
        "crate::sink",
        "crate::net",
        "crate::cli",
        "crate::host",
    ];
    forbid(is_in("src/engine/"), &words, "take it as an argument, or move the code to the shell", 10);
}

#[test]
fn one_file_names_mio() {
    forbid(|name| name != "src/net.rs", &["mio"], "go through crate::net::Net", 30);
    let sources = sources();
    let (_, net) = sources.iter().find(|(name, _)| name == "src/net.rs").unwrap();
    assert!(line_with(net, "mio").is_some(), "src/net.rs is the file that names mio");
}

#[test]
fn the_status_room_names_no_socket_clock_or_upper_room() {
    let words = ["mio", "log::", "std::net", "std::os", "std::fs", "Instant", "SystemTime", "Duration"];
    let rooms = ["crate::server", "crate::net", "crate::cli", "crate::host"];
    let cure = "the shell hands over what it needs, and times in milliseconds";
    forbid(is_in("src/status/"), &[&words[..], &rooms].concat(), cure, 6);
}

#[test]
fn sinks_name_no_upper_room() {
    forbid(is_in("src/sink/"), &["crate::server", "crate::net", "crate::cli"], "the shell hands over what it needs", 5);
}

#[test]
fn the_outside_world_names_no_upper_room() {
    let cure = "the shell hands over what it needs";
    forbid(|name| ["src/net.rs", "src/host.rs"].contains(&name), &["crate::server", "crate::sink"], cure, 2);
}

#[test]
fn only_the_door_names_the_door() {
    let is_door = |name: &str| name.starts_with("src/cli/") || ["src/main.rs", "src/lib.rs"].contains(&name);
    forbid(|name| !is_door(name), &["crate::cli", "lumberjack::cli"], "the door uses the rooms, not they it", 25);
}

/// The files of a folder that import each other in a circle, if there are any. The parent's own names, such as `Server`,
/// are nobody's file.
fn circle_in(folder: &str) -> Option<Vec<String>> {
    let mut files: Vec<(String, String)> = sources().into_iter().filter(|(name, _)| is_in(folder)(name)).collect();
    files.iter_mut().for_each(|(name, _)| *name = name[folder.len()..].trim_end_matches(".rs").to_owned());
    // Files that import none of those that are left can be in no circle.
    while let Some(at) = files.iter().position(|(_, text)| !files.iter().any(|(name, _)| imports(text, name))) {
        files.remove(at);
    }
    (!files.is_empty()).then(|| files.into_iter().map(|(name, _)| name).collect())
}

fn imports(text: &str, name: &str) -> bool {
    [format!("super::{name}::"), format!("super::{name};")].iter().any(|path| line_with(text, path).is_some())
}

#[test]
fn no_files_of_the_server_import_each_other_in_a_circle() {
    forbid(is_in("src/server/"), &["super::{"], "write one import a file, or this test misses what it names", 20);
    assert!(imports("use super::life::Life;\n", "life") && !imports("use super::life_of::X;\n", "life"));
    assert_eq!(circle_in("src/server/"), None, "these, or some of them: move what both need into a file below them");
}
