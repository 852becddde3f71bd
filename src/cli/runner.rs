//! Runs the server, and between two turns serves those who want to know how it is: the supervisor, `--report-interval` and
//! SIGUSR1; and at SIGHUP has the config file read again. If nobody does, that costs a turn the reading of one flag, and the loop is never woken up for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::info;

use super::notify::{Known, Supervisor};
use super::options::Settings;
use super::reload::Reload;
use super::report::Report;
use super::signals::Signals;
use crate::server::{Handle, RunError, Server, Turn};
use crate::sink::Outputs;

/// What runs the server.
pub(super) struct Runner {
    handle: Handle,
    /// SIGUSR1 came: diagnostics are to be logged.
    is_asked: Arc<AtomicBool>,
    /// SIGHUP came.
    asked_to_reload: Arc<AtomicBool>,
    /// The server was told, and output files were not opened anew yet.
    reopens: Arc<AtomicBool>,
    /// What reads the config file again, if there is one.
    reload: Option<Reload>,
    report: Option<Report>,
    supervisor: Option<Supervisor>,
    memory: usize,
}

impl Runner {
    /// The server has to hear of the signals already.
    pub(super) fn new(
        server: &Server<Outputs>,
        settings: &Settings,
        reload: Option<Reload>,
        signals: &Signals,
    ) -> Self {
        let handle = server.handle();
        let (now, pulse) = (Instant::now(), server.pulse());
        Self {
            is_asked: signals.is_asked.clone(),
            asked_to_reload: signals.asked_to_reload.clone(),
            reload,
            reopens: handle.reopen_flag(),
            handle,
            report: Report::new(settings.report_interval, now, pulse),
            supervisor: Supervisor::from_env(known(settings), now, pulse),
            memory: settings.config.limits.memory,
        }
    }

    /// Runs the server to its end.
    ///
    /// # Errors
    /// Those of a turn.
    pub(super) fn run(&mut self, server: &mut Server<Outputs>) -> Result<(), RunError> {
        if let Some(supervisor) = &self.supervisor {
            supervisor.ready();
        }
        let ended = loop {
            match server.turn(self.due_in()) {
                // A read first: a swap in every turn would cost more.
                Ok(Turn::Running) if self.is_alone() && !self.is_called() => {}
                Ok(Turn::Running) => self.serve_askers(server),
                Ok(Turn::Stopped) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.end(Instant::now(), &server.pulse());
        }
        ended
    }

    /// Whether there is neither a supervisor nor `--report-interval`.
    fn is_alone(&self) -> bool {
        self.report.is_none() && self.supervisor.is_none()
    }

    /// Whether a signal came that is for us.
    fn is_called(&self) -> bool {
        let rereads = self.reload.is_some() && self.asked_to_reload.load(Ordering::Relaxed);
        rereads || self.is_asked.load(Ordering::Relaxed)
    }

    fn due_in(&self) -> Option<Duration> {
        if self.is_alone() {
            return None;
        }
        let report = self.report.as_ref().map(Report::due);
        let due = self.supervisor.as_ref().and_then(Supervisor::due).into_iter().chain(report).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    #[inline(never)] // for speed: it stays out of the loop's way
    fn serve_askers(&mut self, server: &mut Server<Outputs>) {
        if self.asked_to_reload.load(Ordering::Relaxed) && self.asked_to_reload.swap(false, Ordering::SeqCst) {
            self.reload(server);
        }
        if self.is_asked.load(Ordering::Relaxed) && self.is_asked.swap(false, Ordering::SeqCst) {
            info!("[status] {}", self.handle.diagnostics().to_json());
        }
        let (now, pulse) = (Instant::now(), server.pulse());
        if let Some(report) = &mut self.report {
            report.write_if_due(now, &pulse, self.memory);
        }
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.after_turn(now, &pulse, self.reopens.load(Ordering::SeqCst));
        }
    }

    /// SIGHUP came. The supervisor hears of the end only when files are open anew, which the next turn does.
    fn reload(&mut self, server: &mut Server<Outputs>) {
        let pulse = server.pulse();
        if let Some(supervisor) = self.supervisor.as_mut().filter(|_| !pulse.is_ending) {
            supervisor.begin_reload();
        }
        let Some(reload) = &mut self.reload else { return };
        if let Some(settings) = reload.read_again(server) {
            let interval = settings.report_interval;
            if self.report.as_ref().map(Report::interval).unwrap_or_default() != interval {
                self.report = Report::new(interval, Instant::now(), pulse);
            }
            if let Some(supervisor) = &mut self.supervisor {
                supervisor.know(known(settings));
            }
        }
        self.handle.reopen();
    }
}

/// What a supervisor's messages depend on.
fn known(settings: &Settings) -> Known {
    let limits = &settings.config.limits;
    Known { memory: limits.memory, drain_timeout: limits.drain_timeout }
}
