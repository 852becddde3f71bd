//! Which parts of root's rights a running server keeps (capabilities). Invariant: none is kept that shows or changes another process.

use rustix::io::Result;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Files of others are read, written and handed to their owners, as root's receiver did; and ports below 1024. Not those by which
/// others are looked into: for the kernel who has fewer may not look into who has more, and one of them (CAP_PERFMON) lets whoever
/// has it read what others are started with, Landlock or not.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::NET_BIND_SERVICE);

/// From now on this thread, and those that it starts, have no others. Who had none has none.
///
/// # Errors
/// Of the kernel.
pub(super) fn drop_others() -> Result<()> {
    let had = capabilities(None)?;
    let kept = CapabilitySets {
        effective: had.effective & KEPT,
        permitted: had.permitted & KEPT,
        inheritable: had.inheritable & KEPT,
    };
    set_capabilities(None, kept)
}
