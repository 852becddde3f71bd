//! Files as outputs: one, one for each day, or one for each host; rotated, synced and opened anew.

pub(super) mod daily;
pub(super) mod dated;
mod dates;
pub(super) mod hosts;
mod lane;
mod log_file;
mod names;
mod opener;
pub(super) mod path;
mod rotate;
pub(super) mod single;
pub(super) mod sync;
mod zone;
