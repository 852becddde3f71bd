//! Sockets that a supervisor hands over (`LISTEN_FDS`), so that a place stays open while we are replaced. Invariant: who
//! hands a socket over is served there, or told why not.

use super::options::Settings;
use crate::inherited::Inherited;

/// Where they begin: after stdin, stdout and stderr.
const FIRST: usize = 3;

/// Takes them. To be done before anything is opened, which could get the number of one that is not there.
///
/// # Errors
/// One that can't be listened on, as a sentence.
#[inline(never)] // for size
pub(super) fn take() -> Result<Vec<Inherited>, String> {
    let Ok(descriptors) = sd_listen_fds::get() else {
        return Err("LISTEN_FDS or LISTEN_PID is no number: unset both, or set them as systemd does".to_owned());
    };
    let mut listeners = Ok(Vec::new());
    // All of them are looked at, or one that is not open would be closed.
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

/// Each of them is listened on, whether `--listen` names it or not: clients that connect there would wait for nothing. The
/// default place is left alone then, since nobody asked for it. Gives their places, for a sentence.
#[inline(never)] // for size
pub(super) fn listen_on(inherited: &[Inherited], settings: &mut Settings) -> String {
    let listen = &mut settings.config.listen;
    if !settings.is_listen_given && !inherited.is_empty() {
        listen.clear();
    }
    let mut places = String::new();
    for socket in inherited {
        if !listen.iter().any(|listen| listen.at == *socket.at()) {
            listen.push(socket.at().clone().into());
        }
        places.push(' ');
        places.push_str(&socket.at().to_string());
    }
    places
}
