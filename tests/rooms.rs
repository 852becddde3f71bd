//! The rooms of the source: which folders and files may import which, and which paths of other crates they may not name.
//! One table, from top to bottom, with a row for every file; the files are read when the test runs, so that a new one
//! without a row fails.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A folder (`engine/`, with all that is in it) or a file (`net.rs`) of `src`.
struct Room {
    name: &'static str,
    /// The rooms that it may import from, besides itself.
    may: &'static [&'static str],
    /// Paths of the outside world that it may not name.
    never: &'static [&'static str],
}

const fn room(name: &'static str, may: &'static [&'static str], never: &'static [&'static str]) -> Room {
    Room { name, may, never }
}

/// Sees slices, numbers and ticks only.
const PURE: &[&str] = &[
    "mio",
    "socket2",
    "log",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// The same, and no time but in milliseconds that it is given.
const TIMELESS: &[&str] = &[
    "mio",
    "socket2",
    "log",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time",
    "core::time",
];

/// Everything that a server does goes through [`net.rs`], so that it can live in a simulated world.
const SIMULATED: &[&str] =
    &["mio", "socket2", "std::fs", "std::net", "std::thread", "std::time::Instant", "std::time::SystemTime"];

/// Bytes in, bytes out; where from is somebody else's.
const UNPACKING: &[&str] =
    &["mio", "socket2", "log", "std::fs", "std::net", "std::os", "std::process", "std::thread", "std::time"];

/// What a sink says, it says to who asks.
const SINK: &[&str] = &["mio", "log"];

/// What a wing of the sinks sees of the others' room, and nothing of another wing.
const WING: &[&str] = &[
    "sink/mod.rs",
    "sink/place.rs",
    "sink/claim.rs",
    "sink/target.rs",
    "sink/waiting.rs",
    "sink/ending.rs",
    "sink/pace.rs",
    "task.rs",
    "sink/source.rs",
    "sink/format.rs",
    "dial/",
    "host.rs",
    "linux.rs",
    "engine/",
    "config/",
];

/// The same for streams, of which a room of its own knows the protocol.
const STREAMS: &[&str] = &[
    "nats/",
    "sink/next/batch.rs",
    "sink/next/nats.rs",
    "sink/next/nats_login.rs",
    "sink/mod.rs",
    "sink/next/",
    "sink/place.rs",
    "sink/target.rs",
    "sink/waiting.rs",
    "sink/source.rs",
    "dial/",
    "host.rs",
    "linux.rs",
    "engine/",
    "config/",
];

/// The same for stores over HTTP.
const STORES: &[&str] = &[
    "push/",
    "http/files.rs",
    "http/",
    "sink/next/push.rs",
    "task.rs",
    "sink/mod.rs",
    "sink/next/",
    "sink/place.rs",
    "sink/target.rs",
    "sink/waiting.rs",
    "sink/source.rs",
    "dial/",
    "host.rs",
    "engine/",
    "config/",
];

/// That of files, where a fifo or a device may have a file's name.
const FILES: &[&str] = &[
    "sink/mod.rs",
    "sink/place.rs",
    "sink/said.rs",
    "sink/claim.rs",
    "sink/target.rs",
    "sink/waiting.rs",
    "sink/ending.rs",
    "sink/pace.rs",
    "task.rs",
    "gunzip.rs",
    "sink/format.rs",
    "sink/stream/",
    "host.rs",
    "linux.rs",
    "engine/",
    "config/",
];

/// Where lines enter the spool and leave it.
const SPOOLED: &[&str] = &[
    "sink/mod.rs",
    "sink/error.rs",
    "sink/source.rs",
    "sink/target.rs",
    "sink/waiting.rs",
    "sink/pace.rs",
    "task.rs",
    "sink/format.rs",
    "spool/disk.rs",
    "spool/",
    "host.rs",
    "engine/",
    "config/",
];

const SINKS: &[&str] = &[
    "sink/mod.rs",
    "sink/outputs.rs",
    "sink/output.rs",
    "sink/kinds.rs",
    "sink/place.rs",
    "sink/said.rs",
    "sink/claim.rs",
    "sink/error.rs",
    "sink/memory.rs",
    "sink/format.rs",
    "sink/escape.rs",
    "sink/target.rs",
    "sink/waiting.rs",
    "sink/ending.rs",
    "sink/pace.rs",
    "task.rs",
    "sink/source.rs",
    "sink/spooled/",
    "sink/no_spool.rs",
    "sink/files/",
    "sink/next/",
    "sink/stream/",
    "engine/",
    "config/",
];

/// What is below the server.
const BELOW: &[&str] = &[
    "status/",
    "tls/files.rs",
    "tls/",
    "poll/files.rs",
    "poll/",
    "http/files.rs",
    "http/",
    "dial/",
    "task.rs",
    "net.rs",
    "inherited.rs",
    "sink/mod.rs",
    "host.rs",
    "linux.rs",
    "engine/",
    "config/",
];

/// A spool's disk may be a simulated one, and its clock is who calls.
const SPOOL: &[&str] = &[
    "mio",
    "socket2",
    "log",
    "std::fs",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

const ROOMS: &[Room] = &[
    room("main.rs", &["cli/"], &["mio"]),
    room(
        "cli/",
        &[
            "server/",
            "net.rs",
            "inherited.rs",
            "sink/mod.rs",
            "spool/disk.rs",
            "spool/",
            "nats/",
            "http/",
            "poll/files.rs",
            "poll/",
            "host.rs",
            "linux.rs",
            "engine/",
            "config/",
        ],
        &["mio", "std::net::TcpListener", "std::os::unix::net::UnixListener"],
    ),
    // The façade names everything, and nobody below it names the façade.
    room(
        "lib.rs",
        &[
            "cli/",
            "server/",
            "status/",
            "net.rs",
            "inherited.rs",
            "sink/mod.rs",
            "sink/format.rs",
            "spool/",
            "nats/",
            "http/",
            "tls/",
            "poll/",
            "host.rs",
            "engine/",
            "config/",
        ],
        PURE,
    ),
    room("server/", BELOW, SIMULATED),
    room("status/", &["sink/mod.rs", "sink/escape.rs", "engine/", "config/"], TIMELESS),
    // The one of the spool that names files.
    room("spool/disk.rs", &["linux.rs"], &["mio", "log", "std::net", "std::process", "std::thread", "std::time"]),
    // Its worlds of tests.
    room("spool/world.rs", &["spool/", "engine/", "config/"], &["mio", "log", "std::fs", "std::net", "std::os"]),
    room("spool/", &["spool/disk.rs", "linux.rs", "engine/", "config/"], SPOOL),
    // A publisher of bytes and times, whose sockets are somebody else's.
    room("nats/", &["engine/", "config/"], PURE),
    // A client of HTTP servers, in the same way.
    // The one of it that names a file.
    room(
        "http/files.rs",
        &["http/", "config/"],
        &["mio", "log", "std::net", "std::process", "std::thread", "std::time"],
    ),
    // Its worlds of tests.
    room("http/worlds.rs", &["http/", "engine/", "config/"], &["mio", "log", "std::fs", "std::net", "std::os"]),
    room("http/", &["gunzip.rs", "engine/", "config/"], PURE),
    // TLS without sockets.
    // The one of it that names files.
    room(
        "tls/files.rs",
        &["tls/", "host.rs", "linux.rs", "config/"],
        &["mio", "log", "std::net", "std::process", "std::thread", "std::time"],
    ),
    // Its tests.
    room(
        "tls/rules.rs",
        &["tls/files.rs", "tls/", "lib.rs", "config/"],
        &["mio", "log", "std::net", "std::thread", "std::time"],
    ),
    room("tls/", &["config/"], PURE),
    // What is sent to stores, and what they say.
    room("push/", &["http/", "gunzip.rs", "sink/escape.rs", "engine/", "config/"], PURE),
    // What pollers ask with it, and which lines are new.
    // The one of them that names files.
    room(
        "poll/files.rs",
        &["http/files.rs", "config/"],
        &["mio", "log", "std::net", "std::process", "std::thread", "std::time"],
    ),
    room("poll/", &["http/", "engine/", "config/"], PURE),
    // The one that names mio.
    room(
        "net.rs",
        &["socket_file.rs", "udp.rs", "inherited.rs", "linux.rs", "engine/", "config/"],
        &["log", "std::process", "std::thread"],
    ),
    room("socket_file.rs", &[], &["mio", "log", "std::net", "std::process"]),
    room("no_udp.rs", &[], &["mio", "log", "std::process", "std::thread", "std::time"]),
    room("udp.rs", &["host.rs"], &["mio", "log", "std::process", "std::thread", "std::time"]),
    room("inherited.rs", &["linux.rs", "config/"], &["mio", "log", "std::fs", "std::net", "std::thread", "std::time"]),
    room("sink/mod.rs", SINKS, SINK),
    room("sink/outputs.rs", SINKS, SINK),
    room("sink/memory.rs", &["sink/mod.rs", "engine/"], SINK),
    room(
        "sink/format.rs",
        &["sink/mod.rs", "sink/fields.rs", "sink/escape.rs", "engine/", "config/"],
        &["mio", "log", "std::fs", "std::net", "std::os"],
    ),
    room("sink/fields.rs", &["sink/escape.rs", "engine/", "config/"], PURE),
    room("sink/escape.rs", &[], PURE),
    room(
        "sink/output.rs",
        &["sink/mod.rs", "sink/said.rs", "sink/target.rs", "sink/waiting.rs", "sink/pace.rs", "engine/", "config/"],
        SINK,
    ),
    room("sink/error.rs", &["sink/place.rs", "sink/files/", "sink/stream/", "linux.rs", "config/"], SINK),
    room(
        "sink/kinds.rs",
        &[
            "sink/place.rs",
            "sink/misread.rs",
            "sink/files/",
            "sink/next/nats_login.rs",
            "sink/next/nats_place.rs",
            "sink/next/push_place.rs",
            "sink/next/",
            "sink/stream/",
        ],
        SINK,
    ),
    room(
        "sink/misread.rs",
        &["sink/place.rs", "sink/next/", "config/"],
        &["mio", "log", "std::fs", "std::io", "std::os"],
    ),
    room("sink/claim.rs", &["sink/files/", "config/"], SINK),
    room("sink/place.rs", &["sink/target.rs", "sink/source.rs", "sink/claim.rs", "config/"], SINK),
    room("sink/source.rs", &["sink/target.rs", "engine/"], SINK),
    // The one wing that knows the spool, and no output knows it.
    room("sink/spooled/", SPOOLED, SINK),
    room("sink/no_spool.rs", SPOOLED, SINK),
    room("sink/files/", FILES, SINK),
    room("sink/next/batch.rs", &["nats/", "sink/source.rs"], PURE),
    room("sink/next/nats.rs", STREAMS, SINK),
    room("sink/next/nats_login.rs", &["nats/", "host.rs", "config/"], SINK),
    room("sink/next/nats_place.rs", STREAMS, SINK),
    room("sink/next/push.rs", STORES, SINK),
    room("sink/next/push_place.rs", STORES, SINK),
    room("sink/next/", WING, SINK),
    room("sink/stream/", WING, SINK),
    room("sink/said.rs", &["engine/"], PURE),
    room("sink/target.rs", &["sink/mod.rs", "sink/said.rs", "sink/waiting.rs", "engine/", "config/"], SINK),
    room("sink/waiting.rs", &["engine/"], &["mio", "log", "std::fs", "std::net", "std::os", "std::time"]),
    room("sink/ending.rs", &[], &["mio", "log", "std::fs", "std::net", "std::os", "std::time"]),
    room("sink/pace.rs", &["engine/"], &["mio", "log", "std::fs", "std::io", "std::net", "std::os", "std::thread"]),
    // What was packed with gzip, and any bytes that claim to be.
    room("gunzip.rs", &["inflate.rs"], UNPACKING),
    room("inflate.rs", &[], UNPACKING),
    room("task.rs", &[], SINK),
    // A connection that begins, of an output or of a poller.
    room("dial/secured.rs", &["dial/", "tls/files.rs", "tls/", "lib.rs", "config/"], SINK),
    room("dial/", &["http/", "tls/files.rs", "tls/", "task.rs", "linux.rs", "config/"], SINK),
    room("linux.rs", &[], &["mio", "log", "std::fs", "std::net", "std::os", "std::thread", "std::time"]),
    room("host.rs", &[], &["mio", "socket2", "log", "std::net", "std::os", "std::thread", "std::time"]),
    room("engine/", &["config/"], PURE),
    room("config/", &[], PURE),
];

/// A source file, and what it names.
struct Source {
    /// Its path from `src` on.
    name: String,
    /// Lines and paths, such as `["crate", "net", "Key"]`.
    paths: Vec<(usize, Vec<String>)>,
}

/// The row of a file: the one that names it, or a folder that it is in.
fn room_of(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| name == room.name || (room.name.ends_with('/') && name.starts_with(room.name)))
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                let paths = paths_in(&code_of(without_tests(&fs::read_to_string(&path).unwrap())));
                sources.push(Source { name, paths });
            }
        }
    }
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    sources
}

fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// The text without what is in comments, strings and characters; its lines stay where they are.
fn code_of(text: &str) -> String {
    let (mut code, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let hashes = rest.strip_prefix('r').map_or(0, |rest| rest.len() - rest.trim_start_matches('#').len());
        let raw = format!("r{}\"", "#".repeat(hashes));
        let is_in_name = code.ends_with(|last: char| last.is_alphanumeric() || last == '_');
        let passed = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if !is_in_name && rest.starts_with(&raw) {
            let end = format!("\"{}", "#".repeat(hashes));
            rest[raw.len()..].find(&end).map_or(rest.len(), |at| raw.len() + at + end.len())
        } else if first == '"' {
            end_of_string(rest)
        } else if first == '\'' {
            // A lifetime is no character.
            let inside = rest[1..].chars().next().map_or(0, char::len_utf8);
            if rest[1..].starts_with('\\') {
                3 + rest[3..].find('\'').unwrap_or(0)
            } else if rest[1 + inside..].starts_with('\'') {
                2 + inside
            } else {
                0
            }
        } else {
            0
        };
        let (before, after) = rest.split_at(if passed == 0 { first.len_utf8() } else { passed });
        if passed == 0 {
            code.push_str(before);
        } else {
            code.push(' ');
            code.extend(before.chars().filter(|letter| *letter == '\n'));
        }
        rest = after;
    }
    code
}

/// How long the string at the start of the text is.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, letter)| {
        let is_end = *letter == '"' && !is_escaped;
        is_escaped = *letter == '\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// A name, `::`, or one other character; with the line that it is on.
fn words_of(code: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    for (number, line) in (1..).zip(code.lines()) {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let in_name = |letter: char| letter.is_alphanumeric() || letter == '_';
            let len = if in_name(first) {
                rest.find(|letter| !in_name(letter)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            words.push((number, &rest[..len]));
            rest = rest[len..].trim_start();
        }
    }
    words
}

/// Every path in the code, those in the braces of an import written out.
fn paths_in(code: &str) -> Vec<(usize, Vec<String>)> {
    let words = words_of(code);
    let (mut paths, mut at) = (Vec::new(), 0);
    while at < words.len() {
        // `::std::fs` begins a path, and the end of `Vec::<u8>::new` does not.
        let is_inside = |(_, word): &(usize, &str)| is_name(word) || *word == ">";
        let is_behind = at > 0 && words[at - 1].1 == "::" && at > 1 && is_inside(&words[at - 2]);
        let is_start = is_name(words[at].1) && !is_behind;
        let is_import = at > 0 && words[at - 1].1 == "use";
        let goes_on = words.get(at + 1).is_some_and(|(_, word)| *word == "::");
        at = if is_start && (goes_on || is_import) { tree(&words, at, &[], &mut paths) } else { at + 1 };
    }
    paths
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Takes one path of an import, or several in braces, behind `before`; gives where it ends.
fn tree(words: &[(usize, &str)], mut at: usize, before: &[String], paths: &mut Vec<(usize, Vec<String>)>) -> usize {
    let mut path = before.to_vec();
    while let Some((line, word)) = words.get(at).copied() {
        if word == "{" {
            at += 1;
            while words.get(at).is_some_and(|(_, word)| *word != "}") {
                at = if words[at].1 == "," { at + 1 } else { tree(words, at, &path, paths) };
            }
            return at + 1;
        }
        if word != "self" || path.is_empty() {
            path.push(word.to_owned());
        }
        at += 1;
        // Of `Vec::<u8>::new` the start is all that is asked for.
        let goes_on = words.get(at).is_some_and(|(_, word)| *word == "::")
            && words.get(at + 1).is_some_and(|(_, word)| is_name(word) || ["{", "*"].contains(word));
        if !goes_on {
            paths.push((line, path));
            // `as` another name.
            return if words.get(at).is_some_and(|(_, word)| *word == "as") { at + 2 } else { at };
        }
        at += 1;
    }
    at
}

/// The file that holds this module, such as `sink/files`.
fn file_of(module: &[String], names: &BTreeSet<&str>) -> Option<String> {
    let path = module.join("/");
    let at_root = || module.is_empty().then(|| "lib.rs".to_owned());
    let files = [format!("{path}.rs"), format!("{path}/mod.rs")];
    files.into_iter().find(|name| names.contains(name.as_str())).or_else(at_root)
}

/// The module of a file: `sink/files` of `sink/files/mod.rs`.
fn module_of(name: &str) -> Vec<String> {
    let stem = name.strip_suffix(".rs").unwrap();
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if ["lib", "main"].contains(&stem) { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

/// The file of ours that a path leads to: the one of the longest module that it names.
fn target_of(source: &Source, path: &[String], names: &BTreeSet<&str>) -> Option<String> {
    let own = module_of(&source.name);
    let (mut module, mut rest) = match path[0].as_str() {
        "crate" | "lumberjack" => (Vec::new(), &path[1..]),
        "self" => (own, &path[1..]),
        "super" => (own[..own.len().saturating_sub(1)].to_vec(), &path[1..]),
        // A child of this module.
        first => {
            let child = [own, vec![first.to_owned()]].concat();
            file_of(&child, names).filter(|_| source.name != "main.rs")?;
            (child, &path[1..])
        }
    };
    while let Some((first, after)) = rest.split_first() {
        let next = if first == "super" {
            module[..module.len().saturating_sub(1)].to_vec()
        } else {
            [module.clone(), vec![first.clone()]].concat()
        };
        if file_of(&next, names).is_none() {
            break;
        }
        (module, rest) = (next, after);
    }
    file_of(&module, names)
}

/// Who imports whom, file by file, and where: not from itself.
fn imports(sources: &[Source]) -> Vec<(&Source, usize, String)> {
    let names: BTreeSet<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    let mut imports = Vec::new();
    for source in sources {
        for (line, path) in &source.paths {
            if let Some(target) = target_of(source, path, &names).filter(|target| *target != source.name) {
                imports.push((source, *line, target));
            }
        }
    }
    imports.dedup_by(|one, other| (&one.0.name, one.1, &one.2) == (&other.0.name, other.1, &other.2));
    imports
}

fn assert_none(found: &[String], cure: &str) {
    assert!(found.is_empty(), "{cure}:\n{}", found.join("\n"));
}

#[test]
fn every_file_has_a_row_and_every_row_a_file() {
    let sources = sources();
    let missing = sources.iter().filter(|source| room_of(&source.name).is_none());
    let missing: Vec<String> = missing.map(|source| format!("src/{}", source.name)).collect();
    assert_none(&missing, "give each a row in ROOMS, where it belongs");
    let is_used = |room: &&Room| sources.iter().any(|source| room_of(&source.name).unwrap().name == room.name);
    let stale: Vec<String> = ROOMS.iter().filter(|room| !is_used(room)).map(|room| room.name.to_owned()).collect();
    assert_none(&stale, "these rows have no file");
    let named = ROOMS.iter().flat_map(|room| room.may);
    let unknown = named.filter(|name| ROOMS.iter().all(|room| room.name != **name));
    assert_none(&unknown.map(ToString::to_string).collect::<Vec<_>>(), "these rooms have no row");
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let sources = sources();
    let mut found = Vec::new();
    for (source, line, target) in imports(&sources) {
        let (Some(room), Some(of)) = (room_of(&source.name), room_of(&target)) else { continue };
        if room.name != of.name && !room.may.contains(&of.name) {
            found.push(format!("src/{}:{line} imports from src/{target}", source.name));
        }
    }
    assert_none(&found, "a room imports what the table does not allow; move the code, or hand over what is needed");
}

/// Whether a path names what is forbidden, or imports the module that it is in, by whose name it could be had.
fn names(path: &[String], word: &str) -> bool {
    let word: Vec<&str> = word.split("::").collect();
    let path: Vec<&str> = path.iter().map(String::as_str).filter(|name| *name != "*").collect();
    path.starts_with(&word) || word.starts_with(&path)
}

#[test]
fn rooms_name_nothing_of_the_outside_world_that_they_may_not() {
    let mut found = Vec::new();
    for source in sources() {
        let Some(room) = room_of(&source.name) else { continue };
        for (line, path) in &source.paths {
            if let Some(word) = room.never.iter().find(|word| names(path, word)) {
                found.push(format!("src/{}:{line} names {word}: {}", source.name, path.join("::")));
            }
        }
    }
    assert_none(&found, "take it as an argument, or move the code to a room that may");
}

#[test]
fn one_room_names_mio() {
    let all_but = ROOMS.iter().filter(|room| !room.never.contains(&"mio"));
    assert_eq!(all_but.map(|room| room.name).collect::<Vec<_>>(), ["net.rs"]);
    let names_mio = |source: &Source| source.paths.iter().any(|(_, path)| path[0] == "mio");
    assert!(sources().iter().any(|source| source.name == "net.rs" && names_mio(source)), "nobody names it");
}

/// Whether one of the two files is a module that the other is in: these may know each other.
fn are_family(one: &str, other: &str) -> bool {
    let (one, other) = (module_of(one), module_of(other));
    one.starts_with(&other) || other.starts_with(&one)
}

/// All that can be reached from a file by imports.
fn reached<'n>(start: &str, next: &BTreeMap<&str, BTreeSet<&'n str>>) -> BTreeSet<&'n str> {
    let mut reached = BTreeSet::new();
    let mut new: Vec<&str> = next.get(start).into_iter().flatten().copied().collect();
    while let Some(name) = new.pop() {
        if let Some(known) = next.values().flatten().find(|known| **known == name)
            && reached.insert(*known)
        {
            new.extend(next.get(name).into_iter().flatten());
        }
    }
    reached
}

/// The groups of files of which each leads to all others.
fn circles<'n>(next: &BTreeMap<&'n str, BTreeSet<&'n str>>) -> BTreeSet<Vec<&'n str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = next.keys().map(|name| (*name, reached(name, next))).collect();
    let circle = |name: &&'n str| -> Vec<&'n str> {
        let is_back = |other: &&&str| reached.get(**other).is_some_and(|back| back.contains(name));
        reached[name].iter().filter(is_back).copied().collect()
    };
    next.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

#[test]
fn files_import_each_other_in_no_circle() {
    let sources = sources();
    let imports = imports(&sources);
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (source, _, target) in &imports {
        if !are_family(&source.name, target) {
            next.entry(&source.name).or_default().insert(target);
        }
    }
    let mut found = Vec::new();
    for circle in circles(&next) {
        let inside = |one: &str, other: &str| {
            one != other && circle.contains(&one) && circle.contains(&other) && !are_family(one, other)
        };
        let links = imports.iter().filter(|(source, _, target)| inside(&source.name, target));
        found.push(format!("a circle of src/{}", circle.join(", src/")));
        found.extend(
            links.map(|(source, line, target)| format!("    src/{}:{line} imports from src/{target}", source.name)),
        );
    }
    assert_none(&found, "no file can be read without the others; move what both need to a third");
}

fn owned(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}

fn paths(text: &str) -> Vec<String> {
    paths_in(&code_of(text)).into_iter().map(|(line, path)| format!("{line} {}", path.join("::"))).collect()
}

#[test]
fn paths_are_found_however_they_are_written() {
    assert_eq!(
        paths("use std::io::{self, Read as _, net::{Tcp, Udp}};\n"),
        ["1 std::io", "1 std::io::Read", "1 std::io::net::Tcp", "1 std::io::net::Udp"]
    );
    assert_eq!(
        paths("use log;\nfn a(x: mio::Token) -> crate::Key { super::b::<u8>(x) }\npub(in crate::sink) fn c()"),
        ["1 log", "2 mio::Token", "2 crate::Key", "2 super::b", "3 crate::sink"]
    );
    assert_eq!(
        paths("use a::{\n    b,\n    c::*,\n};\n::std::fs::read();"),
        ["2 a::b", "3 a::c::*", "5 std::fs::read"]
    );
    // Nor in what is no code.
    assert_eq!(
        paths("// mio::a\n/// [`mio::b`]\n/* mio::c\n */ \"mio::d\\\"\" r#\"mio::\"e\"# '\"' '\\'' f::g<'a>"),
        ["4 f::g"]
    );
    assert_eq!(without_tests("a\n\n#[cfg(test)]\nmod tests {\n    mio\n}\n"), "a\n");
}

#[test]
fn a_word_is_named_by_its_path_or_by_the_module_that_it_is_in() {
    for (path, is_named) in [
        ("std::time::Instant::now", true),
        ("std::time::Instant", true),
        ("std::time", true),
        ("std::time::*", true),
        ("std::time::Duration", false),
        ("std::timer", false),
        ("core::time", false),
    ] {
        assert_eq!(names(&owned(path), "std::time::Instant"), is_named, "{path}");
    }
}

#[test]
fn paths_lead_to_the_file_of_the_longest_module() {
    let names = BTreeSet::from(["lib.rs", "main.rs", "net.rs", "sink/mod.rs", "sink/pace.rs", "sink/next/mod.rs"]);
    let target = |name: &str, path: &str| {
        let source = Source { name: name.to_owned(), paths: Vec::new() };
        target_of(&source, &owned(path), &names)
    };
    for (name, path, wanted) in [
        ("net.rs", "crate::sink::pace::Pace", Some("sink/pace.rs")),
        ("net.rs", "crate::sink::Pace", Some("sink/mod.rs")),
        ("net.rs", "crate::Lines", Some("lib.rs")),
        ("sink/pace.rs", "super::next::Next", Some("sink/next/mod.rs")),
        ("sink/pace.rs", "super::Sink", Some("sink/mod.rs")),
        ("sink/next/mod.rs", "super::super::net::Key", Some("net.rs")),
        ("sink/mod.rs", "self::pace::Pace", Some("sink/pace.rs")),
        ("sink/mod.rs", "pace::Pace", Some("sink/pace.rs")),
        ("lib.rs", "net::Key", Some("net.rs")),
        ("main.rs", "lumberjack::net::run", Some("net.rs")),
        ("net.rs", "std::net::TcpStream", None),
        ("net.rs", "pace::Pace", None),
    ] {
        assert_eq!(target(name, path).as_deref(), wanted, "{path} in {name}");
    }
}

#[test]
fn circles_are_found() {
    let next = BTreeMap::from([
        ("a", BTreeSet::from(["b", "d"])),
        ("b", BTreeSet::from(["c"])),
        ("c", BTreeSet::from(["a", "b"])),
        ("d", BTreeSet::from(["e"])),
        ("f", BTreeSet::from(["g"])),
        ("g", BTreeSet::from(["f", "a"])),
    ]);
    assert_eq!(circles(&next), BTreeSet::from([vec!["a", "b", "c"], vec!["f", "g"]]));
    assert!(are_family("sink/mod.rs", "sink/next/forward.rs") && !are_family("sink/pace.rs", "sink/task.rs"));
    assert!(are_family("lib.rs", "net.rs"));
}
