//! Any bytes in any chunks, through the framer and a format: what goes out is what a naive twin writes, never more than
//! the overhead says, and, by a JSON parser that is not ours, the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lumberjack::Format;
use serde_json::{Map, Value, json};

#[path = "../../tests/model/mod.rs"]
mod model;

use model::format::{Setup, What, Written};

fuzz_target!(|input: &[u8]| model::format::run(input, &mut read_back));

/// What a reader of the output makes of one line of it.
fn read_back(setup: &Setup, written: &Written<'_>) {
    let line = written.out.strip_suffix(b"\n").expect("every line has its end");
    assert!(!line.contains(&b'\n'), "and only one");
    match (setup.format, written.what) {
        (Format::Json, _) => parse(setup, written, line),
        (Format::Peer, What::Line(came)) => {
            let prefix = line.strip_suffix(came).expect("the line as it came, at the end");
            assert_eq!(prefix.iter().filter(|byte| **byte == b' ').count(), 2 + usize::from(!setup.tag.is_empty()));
        }
        (Format::Raw, What::Line(came)) => assert_eq!(line, came),
        (_, What::Gap(_)) => assert!(line.starts_with(b"[lumberjack gap] ")),
        (format, _) => unreachable!("{format} is not checked"),
    }
}

/// Holds an object's members against what they were made of.
fn parse(setup: &Setup, written: &Written<'_>, line: &[u8]) {
    let mut members: Map<String, Value> = serde_json::from_slice(line).expect("valid JSON");
    let ts = members.remove("ts").expect("a time");
    assert!(ts.as_str().is_some_and(|ts| ts.len() == 24 && ts.ends_with('Z')), "{ts}");
    let mut expected = Map::new();
    let peer = written.peer.map_or("*".to_owned(), |peer| peer.to_string());
    expected.insert("peer".to_owned(), Value::String(peer));
    if !setup.tag.is_empty() {
        expected.insert("tag".to_owned(), Value::String(setup.tag.clone()));
    }
    match written.what {
        What::Line(came) => {
            let text = String::from_utf8_lossy(came).into_owned();
            expected.insert("line".to_owned(), Value::String(text));
        }
        What::Gap(gap) => {
            let gap = json!({ "lines": gap.lines, "bytes": gap.bytes, "why": gap.why.to_string() });
            expected.insert("gap".to_owned(), gap);
        }
    }
    assert_eq!(members, expected);
}
