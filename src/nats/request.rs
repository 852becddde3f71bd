//! What is sent: greetings, questions and batches.

use core::fmt::Write;

use super::info::Info;
use super::{Hex, Lines, Settings};
use crate::engine::json::quote;

/// What is asked about the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// What it is like, before its last message is asked for.
    Stream,
    /// What it is like by now, while lines go there.
    StreamAgain,
    /// That it be made.
    Create,
    /// Its last message on our subject.
    Last,
    /// How far it has come, as it has no message on our subject.
    LastSequence,
    /// The message with the last sequence that was acked.
    AtSequence(u64),
}

/// `CONNECT`, `PING` and `SUB`. Whoever answers the `PING` has let us in.
pub(super) fn greeting(settings: &Settings, info: &Info, inbox: &str) -> String {
    let mut text = concat!(
        r#"CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"echo":false,"protocol":1,"#,
        r#""lang":"lumberjack","version":""#,
        env!("CARGO_PKG_VERSION"),
        r#"","name":"#
    )
    .to_owned();
    quote(&settings.client, &mut text);
    settings.credentials.put(&info.nonce, &mut text);
    // Writing to a `String` can't fail.
    let _ = write!(text, "}}\r\nPING\r\nSUB {inbox}.* 1\r\n");
    text
}

/// A question. `reply` is where its answer goes.
pub(super) fn question(question: Question, settings: &Settings, reply: &str) -> String {
    let mut body = String::new();
    let name = match question {
        Question::Stream | Question::StreamAgain | Question::LastSequence => "INFO",
        Question::Create => {
            body.push_str("{\"name\":");
            quote(&settings.stream, &mut body);
            body.push_str(",\"subjects\":[");
            quote(settings.create.as_deref().unwrap_or(&settings.subject), &mut body);
            body.push_str("],\"storage\":\"file\",\"retention\":\"limits\"}");
            "CREATE"
        }
        Question::Last => {
            body.push_str("{\"last_by_subj\":");
            quote(&settings.subject, &mut body);
            body.push('}');
            "MSG.GET"
        }
        Question::AtSequence(sequence) => {
            let _ = write!(body, "{{\"seq\":{sequence}}}");
            "MSG.GET"
        }
    };
    format!("PUB $JS.API.STREAM.{name}.{} {reply} {}\r\n{body}\r\n", settings.stream, body.len())
}

/// What is before a batch's payload: `HPUB` and its headers. `expected` is the sequence of the message before it.
pub(super) fn batch(settings: &Settings, lines: &Lines, expected: u64, reply: &str, payload_bytes: usize) -> String {
    let headers = headers(settings, lines, expected);
    let total = headers.len() + payload_bytes;
    format!("HPUB {} {reply} {} {total}\r\n{headers}", settings.subject, headers.len())
}

fn headers(settings: &Settings, lines: &Lines, expected: u64) -> String {
    format!(
        "NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: {expected}\r\nNats-Expected-Stream: {}\r\nLumberjack-Box: {}\r\n\
         Lumberjack-Lines: {}-{}\r\nLumberjack-Segment: {}\r\n\r\n",
        settings.stream,
        Hex(&settings.box_id),
        lines.first,
        lines.last,
        lines.segment,
    )
}

/// The most bytes that the headers of a batch take.
pub(super) fn most_header_bytes(settings: &Settings) -> usize {
    let segment = super::Segment { first: u64::MAX, salt: [0; 16] };
    headers(settings, &Lines { first: u64::MAX, last: u64::MAX, segment }, u64::MAX).len()
}
