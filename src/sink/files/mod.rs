//! Files as outputs: one, or one for each host; rotated, synced and opened anew.

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
