//! What the tests of the binary share: the binary itself, its clients, and conditions that are asked until they hold.

pub(crate) mod conditions;
pub(crate) mod follow;
pub(crate) mod fuse;
#[cfg(feature = "status")]
pub(crate) mod http;
pub(crate) mod mounts;
pub(crate) mod receiver;
#[cfg(feature = "tls")]
pub(crate) mod secure;
pub(crate) mod somebody;
#[cfg(all(feature = "push", feature = "spool", feature = "status"))]
pub(crate) mod store;
pub(crate) mod traced;
#[cfg(all(feature = "poll", feature = "status"))]
pub(crate) mod web;
