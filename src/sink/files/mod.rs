//! Files as outputs: one, one for each day, or one for each host; rotated, synced and opened anew.

mod compress;
mod content;
pub(super) mod daily;
pub(super) mod dated;
mod dates;
mod ending;
mod gzip;
pub(super) mod hosts;
mod inflate;
mod lane;
mod log_file;
mod names;
mod opener;
pub(super) mod path;
mod rotate;
mod rotation;
pub(super) mod single;
pub(super) mod stored;
pub(super) mod sync;
mod zone;
