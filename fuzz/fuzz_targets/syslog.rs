//! Any bytes as syslog messages: the header is read as a naive twin reads it, what a format makes of it is never more than
//! the overhead says, and, by a JSON parser that is not ours, says what the twin says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value as Json};

#[path = "../../tests/model/mod.rs"]
mod model;

use model::syslog::{Params, Setup, Value, Written, unicode};

fuzz_target!(|input: &[u8]| {
    model::syslog::run(input, &mut read_back);
    // And as they are, whatever the first bytes of a script are good for.
    let lines: Vec<Vec<u8>> = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    model::syslog::compare(&Setup::plain(), &lines, 0, &mut read_back);
});

/// What a reader of the output makes of one line of it.
fn read_back(setup: &Setup, written: &Written<'_>) {
    let mut members: Map<String, Json> = serde_json::from_slice(written.out).expect("valid JSON");
    let ts = members.remove("ts").expect("a time");
    assert!(ts.as_str().is_some_and(|ts| ts.len() == 24 && ts.ends_with('Z')), "{ts}");
    assert_eq!(members.remove("peer"), Some(Json::String(setup.peer.to_string())));
    let expected: Map<String, Json> =
        written.members.iter().map(|(name, value)| ((*name).to_owned(), json(value))).collect();
    assert_eq!(members, expected);
}

fn json(value: &Value) -> Json {
    let param = |values: &Vec<String>| match &values[..] {
        [one] => Json::String(unicode(one)),
        many => many.iter().map(|value| Json::String(unicode(value))).collect(),
    };
    match value {
        Value::Text(text) => Json::String(text.clone()),
        Value::Object(elements) => {
            let element = |params: &Params| {
                Json::Object(params.iter().map(|(name, values)| (name.clone(), param(values))).collect())
            };
            Json::Object(elements.iter().map(|(id, params)| (id.clone(), element(params))).collect())
        }
    }
}
