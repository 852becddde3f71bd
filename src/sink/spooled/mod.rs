//! The spool as a sink: lines that come are written to it before they count as taken, and outputs to other machines read them
//! there. `src/spool/` knows how lines are kept; here is when. Invariant: what an output reads was written before.

mod intake;
mod lag;
mod reader;
mod store;

pub(super) use self::intake::{Intake, name, overhead, validate};
#[cfg(feature = "cli")]
pub(crate) use self::intake::{descriptors, foresee};
