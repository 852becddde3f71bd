//! Signals: taken at the first instruction of `main`, kept as flags while the program starts, then handed to the server.
//! Invariant: from there on no signal that this program knows ends it otherwise than it should, and none is forgotten.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::{flag, low_level};

use super::Exit;
use crate::server::Handle;
use crate::sink::told_of_us;

/// What came so far.
#[derive(Default)]
pub(super) struct Signals {
    /// Nothing is opened yet, so nothing can be lost: SIGTERM and SIGINT end it at once, and cleanly.
    is_bare: Arc<AtomicBool>,
    /// SIGTERM or SIGINT came: the first stops in order, the second at once (P11).
    stop: Arc<AtomicBool>,
    /// SIGHUP came while the program started.
    hangup: Arc<AtomicBool>,
    /// SIGHUP came. If no config file is read again, the server was told before: output files are to be opened anew, or were
    /// already.
    pub(super) asked_to_reload: Arc<AtomicBool>,
    /// SIGUSR1 came: diagnostics are to be logged.
    pub(super) is_asked: Arc<AtomicBool>,
    /// Whether SIGHUP means anything: not if it was ignored at the start, as `nohup` has it.
    hears_hangup: bool,
    /// Whether SIGINT does: not if it was ignored at the start, as a shell without job control has it for what runs in the
    /// background. Ctrl-C is for somebody else then.
    hears_interrupt: bool,
}

impl Signals {
    /// Takes them. What whoever started us had blocked is heard from now on.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub(super) fn take() -> io::Result<Self> {
        if std::env::args_os().nth(1).is_some_and(|word| word == "status") {
            // Who only asks another process may wait, or ask for ever: a signal does what it does to every program.
            write_in_the_background()?;
            return Ok(Self::default());
        }
        // Before anything else: what comes until the handlers are there waits in the kernel.
        heard().thread_block()?;
        let [hears_hangup, hears_interrupt] = [SIGHUP, SIGINT].map(|signal| !is_ignored(signal));
        let signals = Self { hears_hangup, hears_interrupt, ..Self::default() };
        signals.is_bare.store(true, Ordering::SeqCst);
        for signal in signals.ends() {
            flag::register_conditional_shutdown(signal, Exit::Clean as i32, signals.is_bare.clone())?;
            // Before the flag is registered: at the first signal this still finds it unset, and does nothing.
            flag::register_conditional_shutdown(signal, Exit::Failure as i32, signals.stop.clone())?;
            flag::register(signal, signals.stop.clone())?;
        }
        if signals.hears_hangup {
            flag::register(SIGHUP, signals.hangup.clone())?;
        }
        flag::register(SIGUSR1, signals.is_asked.clone())?;
        // A write beyond the limit on file size sends this signal, which would end the process. Caught, the write fails
        // instead: that is logged, and tried again.
        flag::register(SIGXFSZ, Arc::default())?;
        write_in_the_background()?;
        heard().thread_unblock()?;
        Ok(signals)
    }

    /// Those that end it. SIGTERM always does: supervisors rely on it.
    fn ends(&self) -> impl Iterator<Item = i32> {
        [(SIGTERM, true), (SIGINT, self.hears_interrupt)]
            .into_iter()
            .filter_map(|(signal, is_heard)| is_heard.then_some(signal))
    }

    /// From now on something is opened: the end is an orderly one.
    pub(super) fn begin(&self) {
        self.is_bare.store(false, Ordering::SeqCst);
    }

    /// Whether it is to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// The server hears of those that come, and of those that came. `rereads`: of SIGHUP it hears from who reads the config
    /// file again, which comes first.
    ///
    /// # Errors
    /// No descriptor is free.
    pub(super) fn hand_to(&self, handle: &Handle, rereads: bool) -> io::Result<()> {
        for signal in self.ends() {
            flag::register(signal, handle.stop_flag())?;
            low_level::pipe::register(signal, handle.signal_writer()?)?;
        }
        if self.hears_hangup {
            // In this order, so that the flag for the supervisor is never set before the server's.
            if !rereads {
                flag::register(SIGHUP, handle.reopen_flag())?;
            }
            flag::register(SIGHUP, self.asked_to_reload.clone())?;
            low_level::pipe::register(SIGHUP, handle.signal_writer()?)?;
        }
        low_level::pipe::register(SIGUSR1, handle.signal_writer()?)?;
        // Whatever came before this is told now; what comes after it, by the handlers above.
        if self.is_stopping() {
            handle.stop();
        }
        if self.hangup.load(Ordering::SeqCst) {
            if !rereads {
                handle.reopen();
            }
            self.asked_to_reload.store(true, Ordering::SeqCst);
        }
        // For SIGUSR1: the first turn is not to wait for something else.
        let _ = handle.signal_writer()?.write(&[1]);
        Ok(())
    }
}

/// To a terminal with `stty tostop`, a write of a process in the background would stop it by SIGTTOU. Where that is blocked,
/// Linux lets the write through.
fn write_in_the_background() -> io::Result<()> {
    Ok(SigSet::from_iter([Signal::SIGTTOU]).thread_block()?)
}

/// The signals that mean something.
fn heard() -> SigSet {
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGXFSZ])
}

/// Whether a signal was ignored when the program was started. Without `/proc` nobody can tell: it was not.
fn is_ignored(signal: i32) -> bool {
    let status = told_of_us("status");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    ignored >> (signal - 1) & 1 == 1
}
