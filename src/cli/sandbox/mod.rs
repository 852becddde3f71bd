//! What this process may still do once it has started (`--sandbox`): it reaches the files that it needs, and makes the system
//! calls that it needs, and neither it nor whoever has taken it over gets more. Invariant: what is asked for with `require` is
//! in force, or the program does not start; and no part of the library confines anybody.

#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")), path = "no_calls.rs")]
mod calls;
mod capabilities;
mod fence;
mod reach;

use log::{debug, info};
use nix::sys::prctl::set_no_new_privs;

use self::calls::Forbidden;
use self::reach::Reach;
use super::settings::{Sandbox, Settings};
use crate::host;
use crate::sink::OutputAddr;

/// Confines this process, whose outputs, listeners and secrets are open; who starts a thread later starts it confined. Threads
/// that run already make no other calls either, but reach all files.
///
/// # Errors
/// A sentence: what was asked for with `require` can't be had.
pub(super) fn enter(settings: &Settings) -> Result<(), String> {
    let forbidden = match settings.sandbox {
        Sandbox::Off => return Ok(()),
        Sandbox::Kill => Forbidden::Kills,
        Sandbox::Auto | Sandbox::Require => Forbidden::Fails,
    };
    let is_strict = settings.sandbox != Sandbox::Auto;
    let reach = Reach::of(settings, true);
    if let Some(why) = reach.too_wide.as_ref().filter(|_| is_strict) {
        return Err(refused_place(why));
    }
    for (path, what) in &reach.places {
        debug!("[sandbox] {}: {}", what.word(), path.display().to_string().escape_debug());
    }
    let had = confine(Some(&reach).filter(|reach| reach.too_wide.is_none()), forbidden);
    if let Some(missing) = had.missing.as_ref() {
        if is_strict {
            return Err(refused_kernel(settings.sandbox, missing));
        }
        debug!("[sandbox] Left out: {missing}");
    }
    host::set_fenced();
    match &reach.too_wide {
        Some(why) => info!("[sandbox] {}, and all files, since {why}", had.text),
        None => info!("[sandbox] {}", had.text),
    }
    reach.fixed.iter().for_each(|sentence| info!("[sandbox] {sentence}"));
    Ok(())
}

/// Before anything is opened, and so made.
///
/// # Errors
/// A sentence: a place would let in too much, and what was asked for is strict.
pub(super) fn check_places(settings: &Settings) -> Result<(), String> {
    let is_made = |output: &OutputAddr| output.file_path().is_some_and(|path| !path.exists());
    match settings.sandbox {
        // Of what is there already, others have more to say first.
        Sandbox::Require | Sandbox::Kill if settings.outputs.iter().any(is_made) => {
            Reach::of(settings, false).too_wide.map_or(Ok(()), |why| Err(refused_place(&why)))
        }
        _ => Ok(()),
    }
}

/// For `--check`: what there is for this processor and this kernel, in words; and why a start would be refused. It is tried: the
/// process reaches no file from then on.
pub(super) fn foresee(settings: &Settings) -> (String, Option<String>) {
    let asked = settings.sandbox;
    if asked == Sandbox::Off {
        return ("off".to_owned(), None);
    }
    let too_wide = Reach::of(settings, false).too_wide.map(|why| refused_place(&why));
    let Had { mut text, missing } = confine(Some(&Reach::default()), Forbidden::Fails);
    let refused = too_wide.or_else(|| missing.as_deref().map(|missing| refused_kernel(asked, missing)));
    if let Some(missing) = missing {
        text.push_str("; ");
        text.push_str(&missing);
    }
    (text, refused.filter(|_| asked != Sandbox::Auto))
}

fn refused_place(why: &str) -> String {
    format!("{why}; or take --sandbox auto")
}

fn refused_kernel(asked: Sandbox, missing: &str) -> String {
    format!("--sandbox {asked}: {missing}; take --sandbox auto, or a newer kernel")
}

/// What came of it.
struct Had {
    /// What is in force.
    text: String,
    /// What there is for this processor, and could not be had.
    missing: Option<String>,
}

/// Confines this thread, and those that it starts; of the calls, all threads.
#[inline(never)] // one copy, for size
fn confine(reach: Option<&Reach>, forbidden: Forbidden) -> Had {
    let (mut parts, mut missing) = (Vec::new(), Vec::new());
    match reach.map(fence::put_up) {
        Some(Ok(version @ 1..)) => parts.push(format!("Landlock ABI {version}")),
        Some(Ok(_)) => missing.push("this kernel has no Landlock".to_owned()),
        Some(Err(_)) => missing.push("Landlock takes no rules".to_owned()),
        None => {}
    }
    match set_no_new_privs() {
        Ok(()) => parts.push("no_new_privs".to_owned()),
        Err(_) => missing.push("this kernel has no no_new_privs".to_owned()),
    }
    if capabilities::drop_others().is_err() {
        missing.push("this kernel takes no capabilities away".to_owned());
    }
    match calls::forbid_others(forbidden) {
        Ok(()) if calls::COUNT > 0 => parts.push(format!("seccomp ({} calls)", calls::COUNT)),
        Ok(()) => {}
        Err(error) => missing.push(format!("this kernel takes no seccomp filter ({error})")),
    }
    let text = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
    Had { text, missing: (!missing.is_empty()).then(|| missing.join(", ")) }
}
