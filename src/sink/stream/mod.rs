//! One descriptor as an output: stdout, a fifo, a device.

pub(super) mod adopt;
pub(super) mod descriptor;
pub(super) mod scribe;
pub(super) mod stdout;
