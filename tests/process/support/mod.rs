//! What the tests of the binary share: the binary itself, its clients, and conditions that are asked until they hold.

pub(crate) mod conditions;
pub(crate) mod follow;
pub(crate) mod fuse;
#[cfg(feature = "status")]
pub(crate) mod http;
pub(crate) mod mounts;
pub(crate) mod receiver;
pub(crate) mod somebody;
pub(crate) mod traced;
