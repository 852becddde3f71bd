//! The server's own log, kept for tests that ask what was said. Tests run side by side, so each asks by words that only
//! its own messages hold, such as a client's address.

use std::sync::{Mutex, Once};

use log::{LevelFilter, Log, Metadata, Record};

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Capture;

impl Log for Capture {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        SAID.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        log::set_logger(&Capture).unwrap();
        log::set_max_level(LevelFilter::Debug);
    });
}

/// Every message that holds all of `words`.
pub(crate) fn said(words: &[&str]) -> Vec<String> {
    let said = SAID.lock().unwrap();
    said.iter().filter(|message| words.iter().all(|word| message.contains(word))).cloned().collect()
}
