//! Listening sockets that a supervisor hands over (`LISTEN_FDS`), so that clients can connect while the program is
//! replaced. Invariant: each of them is listened on, or the program ends and says why not.

use std::env;

use super::options::Settings;
use crate::config::listen::{ListenAddr, MOST_LISTENERS};
use crate::config::text::as_text;
use crate::config::text::whole;
use crate::inherited::Inherited;

/// Number of the first of them: 0 to 2 are stdin, stdout and stderr.
const FIRST: usize = 3;

/// The sockets. Call this before anything is opened: a descriptor of our own could get the number of a socket that was
/// announced and is not there.
///
/// # Errors
/// A sentence about the first that can't be listened on.
#[inline(never)] // for size
pub(super) fn sockets() -> Result<Vec<Inherited>, String> {
    let number = |name| u32::try_from(whole(&env::var(name).ok()?)?).ok();
    let count = number("LISTEN_FDS").filter(|_| number("LISTEN_PID") == Some(std::process::id())).unwrap_or_default();
    // Before the library makes a list of so many.
    if count as usize > MOST_LISTENERS {
        return Err(format!(
            "LISTEN_FDS says that {count} sockets are handed over, and at most {MOST_LISTENERS} can be: unset it and LISTEN_PID, or set them as systemd does"
        ));
    }
    let Ok(descriptors) = sd_listen_fds::get() else {
        return Err("LISTEN_FDS or LISTEN_PID is no number: unset both, or set them as systemd does".to_owned());
    };
    let mut listeners = Ok(Vec::new());
    // All are checked, even after an error: `Inherited` does not close a number that is not open, a plain drop would.
    for (number, (name, descriptor)) in (FIRST..).zip(descriptors) {
        match (Inherited::new(descriptor.into_std()), &mut listeners) {
            (Ok(listener), Ok(listeners)) => listeners.push(listener),
            (Err(error), Ok(_)) => {
                let name = name.unwrap_or_default();
                listeners = Err(format!("cannot listen on descriptor {number} ({name}) of LISTEN_FDS: {error}"));
            }
            (_, Err(_)) => {}
        }
    }
    listeners
}

/// Adds these addresses of theirs to `--listen`, if it does not name them already; without an explicit `--listen` they replace its
/// default. Returns the addresses, each after a space.
#[inline(never)] // for size
pub(super) fn listen_on(inherited: &[ListenAddr], settings: &mut Settings) -> String {
    let listen = &mut settings.config.listen;
    if !settings.is_listen_given && !inherited.is_empty() {
        listen.clear();
    }
    let mut places = String::new();
    for at in inherited {
        if !listen.iter().any(|listen| listen.at == *at) {
            listen.push(at.clone().into());
        }
        places.push(' ');
        places.push_str(&as_text(&at));
    }
    settings.give_defaults();
    places
}
