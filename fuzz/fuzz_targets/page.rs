//! A poller beside twins: which lines of any pages are new, and which bodies are JSON, where a reader that is not ours agrees.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[path = "../../tests/model/mod.rs"]
mod model;

/// What theirs refuses of the values themselves, which ours hands on as they are written.
const VALUES: [&str; 3] = ["number out of range", "hex escape", "recursion limit"];

fuzz_target!(|input: &[u8]| {
    if let [b'[' | b'{', ..] = input {
        if let Ok(text) = std::str::from_utf8(input) {
            match (model::page::is_json(input), serde_json::from_str::<Value>(text)) {
                (true, Err(error)) => {
                    let error = error.to_string();
                    assert!(VALUES.iter().any(|value| error.contains(value)), "{error}: {text:?}");
                }
                (is_json, theirs) => assert_eq!(is_json, theirs.is_ok(), "{text:?}"),
            }
        }
        model::page::any_body(input);
    } else {
        model::page::run(input);
    }
});
