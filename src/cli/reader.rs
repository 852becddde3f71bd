//! Who reads our stdout. Invariant: a pause ends early only if that is nobody any more.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits so long, or until nobody can read our stdout any more: while there is nothing to write, no write would tell.
pub(super) fn has_lost_reader(time: Duration) -> bool {
    let stdout = io::stdout();
    // Nothing is asked for: that a reader is gone is told always.
    let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
    let told = poll(&mut watched, time).is_ok_and(|told| told > 0);
    // A stdout that can't be watched ends no pause.
    told && watched
        .iter()
        .any(|fd| fd.revents().is_some_and(|told| told.intersects(PollFlags::POLLERR | PollFlags::POLLHUP)))
}
