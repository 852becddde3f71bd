//! The framing of a connection.

pub use super::line_framer::{Fed, Framer, LineSink, Lines, Rules};
