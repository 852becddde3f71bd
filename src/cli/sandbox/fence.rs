//! Which files may be reached and who may be signalled, as the kernel holds it from then on (Landlock). Invariant: a place that
//! can't be opened gets no rule.

use std::env;
use std::os::unix::ffi::OsStrExt;

use landlock::{
    ABI, Access, AccessFs, BitFlags, LandlockStatus, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope,
};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::reach::{Reach, Use};

/// The newest rules that are asked for: what a device is told, and who is signalled. An older kernel has what it has.
const NEWEST: ABI = ABI::V6;

fn rights(what: Use, is_folder: bool) -> BitFlags<AccessFs> {
    use AccessFs::{IoctlDev, MakeDir, MakeReg, ReadDir, ReadFile, RemoveFile, Truncate, WriteFile};
    let (of_files, of_folders) = match what {
        Use::Read => (ReadFile.into(), ReadDir.into()),
        Use::Write => (ReadFile | WriteFile | Truncate, ReadDir | RemoveFile | MakeReg | MakeDir),
        Use::Device => (ReadFile | WriteFile | IoctlDev, BitFlags::empty()),
        Use::Leave => (BitFlags::empty(), ReadDir | RemoveFile),
    };
    if is_folder { of_files | of_folders } else { of_files }
}

/// From now on this thread, and those that it starts, reach these places alone, and no program that it starts has more rights than
/// it has itself. What is open stays open.
///
/// The version of the kernel's rules that is in force; 0 is none.
///
/// # Errors
/// The kernel takes no rule.
pub(super) fn put_up(reach: &Reach) -> Result<i32, RulesetError> {
    // A supervisor may wait at a socket of no file, and be told at the end.
    let is_told_so = env::var_os("NOTIFY_SOCKET").is_some_and(|name| name.as_bytes().first() == Some(&b'@'));
    let within = if is_told_so { Scope::Signal.into() } else { BitFlags::<Scope>::all() };
    let rules = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?;
    let mut rules = rules.scope(within)?.create()?;
    for (path, what) in &reach.places {
        // Of `std`, with musl, O_PATH is lost: a fifo would be opened, and wait for its other side.
        let Ok(place) = open(path, OFlag::O_PATH | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty()) else {
            continue;
        };
        rules = rules.add_rule(PathBeneath::new(place, rights(*what, path.is_dir())))?;
    }
    let status = rules.restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as i32,
        _ => 0,
    })
}
