//! The next receiver as an output.

pub(super) mod address;
pub(super) mod forward;
mod retained;
mod socket;
