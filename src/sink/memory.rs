//! A sink that keeps lines in memory, for tests and for embedders that want to have them. Nothing ever waits in it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Origin, Sink, State};
use crate::engine::framer::Lines;

/// Keeps every line, without a bound. Clones share the lines.
///
/// ```
/// let sink = lumberjack::MemorySink::new();
/// assert!(sink.clone().contents().is_empty());
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemorySink {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl MemorySink {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything so far: each line with its `\n`.
    #[must_use]
    pub fn contents(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every line so far, without its `\n`.
    #[must_use]
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let contents = self.contents();
        let Some(lines) = contents.strip_suffix(b"\n") else { return Vec::new() };
        lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }
}

impl Sink for MemorySink {
    fn append(&mut self, _: &Origin<'_>, lines: Lines<'_>) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(lines.head);
        bytes.extend_from_slice(lines.body);
        if !lines.ended {
            bytes.push(b'\n');
        }
    }

    fn flush(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn state(&self) -> State {
        State::default()
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}
