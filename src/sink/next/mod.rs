//! The next receiver as an output.

pub(super) mod address;
#[cfg(feature = "nats")]
mod batch;
mod forward;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "nats")]
pub(super) mod nats_login;
#[cfg(feature = "nats")]
pub(super) mod nats_place;
pub(super) mod place;
#[cfg(feature = "push")]
mod push;
#[cfg(feature = "push")]
pub(super) mod push_place;
#[cfg(any(feature = "nats", feature = "push"))]
mod queue;
mod reading;
mod retained;
mod socket;
