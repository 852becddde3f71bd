//! What a supervisor such as systemd is told (sd_notify): that the server listens, opens files anew, ends, is alive, and
//! its rates. Without a library, since each message is one datagram. Invariant: nothing here waits, and the server goes on
//! whatever fails here.

use std::env;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use log::{debug, warn};
use nix::time::{ClockId, clock_gettime};

use super::report::Span;
use crate::config::text::whole;
use crate::server::Pulse;

/// Least time between two `STATUS=` messages: a person can read along.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// While the server ends: least time between two requests for more time.
const EXTEND_INTERVAL: Duration = Duration::from_secs(2);
/// How much more than `--drain-timeout` is asked for. Progress right after one request is noticed at the next, and after
/// the time-out, when a stuck output is given up, the last write and the exit take some time too.
const EXTEND_SPARE: Duration = Duration::from_secs(4);
/// Least time between two messages to the watchdog: twenty a second cost next to nothing.
const LEAST_BEAT: Duration = Duration::from_millis(50);
const _: () = assert!(EXTEND_SPARE.as_millis() >= 2 * EXTEND_INTERVAL.as_millis(), "one more request fits in");

/// The supervisor, and what it was told.
pub(super) struct Supervisor {
    socket: UnixDatagram,
    at: SocketAddr,
    beat: Option<Beat>,
    /// The last `STATUS=` message.
    status: String,
    /// What rates are measured over. While nothing happens: its numbers are still those of now.
    span: Span,
    /// When the next status is due; `None` while nothing happens.
    status_due: Option<Instant>,
    /// Once the server ends: when to ask for more time next, and the numbers at the last request.
    ending: Option<(Instant, Pulse)>,
    is_reloading: bool,
    settings: Known,
}

/// The settings that messages depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) memory: usize,
    pub(super) drain_timeout: Duration,
}

/// The supervisor's watchdog: it takes the server for dead if no message comes in time.
struct Beat {
    interval: Duration,
    due: Instant,
}

impl Supervisor {
    /// The supervisor that `NOTIFY_SOCKET` names, if any.
    pub(super) fn from_env(settings: Known, now: Instant, seen: Pulse) -> Option<Self> {
        // Empty is unset: a shell's way of having none.
        let name = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        let (socket, at) = match open(&name) {
            Ok(opened) => opened,
            Err(error) => {
                let name = name.to_string_lossy();
                warn!("[notify] Cannot tell {} anything: {error}; give a Unix socket's path", name.escape_debug());
                return None;
            }
        };
        let beat = watchdog().map(|interval| Beat { interval, due: now });
        Some(Self {
            socket,
            at,
            beat,
            status: String::new(),
            span: Span { begun: now, seen },
            status_due: None,
            ending: None,
            is_reloading: false,
            settings,
        })
    }

    /// Tells that the server listens, or that a reload is over.
    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    /// When to call [`Self::after_turn`] even if no turn ends before.
    pub(super) fn due(&self) -> Option<Instant> {
        let beat = self.beat.as_ref().map(|beat| beat.due);
        let extension = self.ending.as_ref().map(|(due, _)| *due);
        [beat, extension, self.status_due].into_iter().flatten().min()
    }

    /// Tells what is new after a turn. `is_reopening`: SIGHUP came, and files were not opened anew yet.
    pub(super) fn after_turn(&mut self, now: Instant, pulse: &Pulse, is_reopening: bool) {
        if pulse.is_ending {
            self.end(now, pulse);
        } else if self.is_reloading && !is_reopening {
            self.is_reloading = false;
            self.ready();
        }
        if let Some(beat) = self.beat.as_mut().filter(|beat| beat.due <= now) {
            beat.due = now + beat.interval;
            self.send("WATCHDOG=1");
        }
        self.tell_status(now, pulse);
    }

    /// Tells that the server ends. Asks for more time again only if the numbers have changed since the last request, so a
    /// stuck output is never waited for longer than `--drain-timeout` and the spare time.
    pub(super) fn end(&mut self, now: Instant, pulse: &Pulse) {
        if self.ending.as_ref().is_some_and(|(due, _)| now < *due) {
            return;
        }
        let more = self.settings.drain_timeout.saturating_add(EXTEND_SPARE);
        match &self.ending {
            None => self.send_time("STOPPING=1\nEXTEND_TIMEOUT_USEC=", more),
            Some((_, seen)) if seen != pulse => self.send_time("EXTEND_TIMEOUT_USEC=", more),
            Some(_) => {}
        }
        self.ending = Some((now + EXTEND_INTERVAL, *pulse));
    }

    /// Tells that a reload begins (SIGHUP); that it is over, [`Self::after_turn`] tells.
    pub(super) fn begin_reload(&mut self) {
        // systemd compares this time with that of its signal, to know that an earlier reload is not meant.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        self.send_time("RELOADING=1\nMONOTONIC_USEC=", now);
        self.is_reloading = true;
    }

    /// The settings have changed.
    pub(super) fn know(&mut self, settings: Known) {
        self.settings = settings;
    }

    /// Sends the status at most once in an interval, and only if it has changed. When nothing happens any more, rates of
    /// 0 are told once, and then the loop is not woken up for this.
    fn tell_status(&mut self, now: Instant, pulse: &Pulse) {
        let rests = *pulse == self.span.seen;
        match self.status_due {
            None if rests => return,
            None => self.span.begun = now,
            Some(due) if now < due => return,
            Some(_) => {
                let status = format!("STATUS={}", self.span.describe(now, pulse, self.settings.memory));
                if status != self.status {
                    self.send(&status);
                    self.status = status;
                }
                self.span = Span { begun: now, seen: *pulse };
            }
        }
        self.status_due = (!rests).then(|| now + STATUS_INTERVAL);
    }

    fn send_time(&self, text: &str, time: Duration) {
        self.send(&format!("{text}{}", u64::try_from(time.as_micros()).unwrap_or(u64::MAX)));
    }

    fn send(&self, text: &str) {
        if let Err(error) = self.socket.send_to_addr(text.as_bytes(), &self.at) {
            debug!("[notify] {} was not taken: {error}", text.escape_debug());
        }
    }
}

/// A socket to send from, and the address to send to: a path, or `@` and the name of an abstract socket.
fn open(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let at = match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => return Err(ErrorKind::Unsupported.into()),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, at))
}

/// Time between two messages to the watchdog: half of its own time-out, within reason. `None` if there is no watchdog for this process.
fn watchdog() -> Option<Duration> {
    let number = |name| whole(&env::var(name).ok()?);
    let usec = number("WATCHDOG_USEC").filter(|usec| *usec > 0)?;
    let is_ours = env::var_os("WATCHDOG_PID").is_none() || number("WATCHDOG_PID") == Some(std::process::id().into());
    let asked = is_ours.then(|| Duration::from_micros(usec.div_ceil(2)))?;
    if asked < LEAST_BEAT {
        warn!(
            "[notify] A watchdog of {usec} us is more than this program keeps up with: it is told every 50 ms; raise WatchdogSec="
        );
    }
    Some(asked.max(LEAST_BEAT))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Pulse =
        Pulse { lines: 0, bytes: 0, connections: 0, held_bytes: 0, is_stalled: false, lag_lines: 0, is_ending: false };
    const SETTINGS: Known = Known { memory: 64 << 20, drain_timeout: Duration::from_secs(3) };

    /// A supervisor that sends to our own socket, and the time that milliseconds count from.
    struct World {
        supervisor: Supervisor,
        socket: UnixDatagram,
        begun: Instant,
    }

    impl World {
        fn new(name: &str) -> Self {
            let name = format!("lumberjack-notify-{name}-{}", std::process::id());
            let at = SocketAddr::from_abstract_name(&name).unwrap();
            let socket = UnixDatagram::bind_addr(&at).unwrap();
            socket.set_nonblocking(true).unwrap();
            let (sender, at) = open(OsStr::new(&format!("@{name}"))).unwrap();
            let begun = Instant::now();
            let supervisor = Supervisor {
                socket: sender,
                at,
                beat: None,
                status: String::new(),
                span: Span { begun, seen: CALM },
                status_due: None,
                ending: None,
                is_reloading: false,
                settings: SETTINGS,
            };
            Self { supervisor, socket, begun }
        }

        /// A turn that ends after so many milliseconds: what is told, and when the next call is due.
        fn turn(&mut self, ms: u64, pulse: Pulse) -> (Vec<String>, Option<u64>) {
            self.supervisor.after_turn(self.begun + Duration::from_millis(ms), &pulse, false);
            let mut told = Vec::new();
            let mut bytes = [0; 1024];
            while let Ok(count) = self.socket.recv(&mut bytes) {
                told.push(String::from_utf8(bytes[..count].to_vec()).unwrap());
            }
            let due = self.supervisor.due().map(|due| due.duration_since(self.begun).as_millis().try_into().unwrap());
            (told, due)
        }
    }

    fn nothing(due: Option<u64>) -> (Vec<String>, Option<u64>) {
        (Vec::new(), due)
    }

    #[test]
    fn the_status_is_told_when_it_is_new_and_nobody_is_woken_up_at_rest() {
        let mut world = World::new("status");
        assert_eq!(world.turn(100, CALM), nothing(None));
        let one = Pulse { connections: 1, lines: 10, bytes: 1000, ..CALM };
        assert_eq!(world.turn(60_000, one), nothing(Some(65_000)), "rates count from when it began");
        assert_eq!(world.turn(64_999, one), nothing(Some(65_000)));
        let told = "STATUS=1 connection, 2 lines/s, 200 B/s, 0 of 64 MiB".to_owned();
        assert_eq!(world.turn(65_000, one), (vec![told], Some(70_000)));
        let calm = "STATUS=1 connection, 0 lines/s, 0 B/s, 0 of 64 MiB".to_owned();
        assert_eq!(world.turn(70_001, one), (vec![calm], None), "and once more when it has come to nothing");
        // Somebody came and went: it is as it was.
        assert_eq!(world.turn(80_000, Pulse { connections: 2, ..one }), nothing(Some(85_000)));
        assert_eq!(world.turn(85_000, one), nothing(None));
    }

    #[test]
    fn p11_more_time_is_asked_for_only_while_something_moves() {
        let mut world = World::new("ending");
        let ending = |bytes| Pulse { bytes, is_ending: true, ..CALM };
        let extensions = |(told, due): (Vec<String>, Option<u64>)| {
            let told: Vec<String> = told.into_iter().filter(|text| !text.starts_with("STATUS")).collect();
            (told, due)
        };
        let stopping = "STOPPING=1\nEXTEND_TIMEOUT_USEC=7000000".to_owned();
        assert_eq!(extensions(world.turn(1000, ending(0))), (vec![stopping], Some(3000)));
        assert_eq!(extensions(world.turn(2999, ending(10))), nothing(Some(3000)));
        let more = "EXTEND_TIMEOUT_USEC=7000000".to_owned();
        assert_eq!(extensions(world.turn(3000, ending(10))), (vec![more], Some(5000)));
        assert_eq!(extensions(world.turn(5000, ending(10))), nothing(Some(6000)), "then the status is due");
        assert_eq!(extensions(world.turn(7000, ending(10))), nothing(Some(9000)));
    }
}
