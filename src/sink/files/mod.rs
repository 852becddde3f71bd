//! Files as outputs: one, one for each day, or one for each host; rotated, synced and opened anew.

mod compress;
mod content;
pub(super) mod daily;
pub(super) mod dated;
mod dates;
mod gzip;
mod hosts;
pub(super) mod hosts_place;
mod lane;
mod log_file;
pub(super) mod named;
mod names;
mod noted;
mod opener;
pub(super) mod path;
mod rotate;
mod rotation;
mod single;
mod special;
pub(super) mod stored;
pub(super) mod sync;
mod words;
mod zone;
