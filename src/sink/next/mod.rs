//! The next receiver as an output.

pub(super) mod forward;
mod retained;
