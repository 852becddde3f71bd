//! The shell: one [`Server`] owns everything, and works in turns. A turn waits for events, accepts clients, reads,
//! writes, acts on deadlines and writes the lines that these brought, in this order; each step is bounded. After a busy
//! turn the next one begins a moment later (`--gather`). Invariant: between turns, [`Server::check`] holds.

mod accounts;
mod admission;
#[cfg_attr(not(feature = "alert"), path = "no_alerts.rs")]
mod alerts;
#[cfg(feature = "tls")]
mod certificates;
mod clients;
mod clock;
mod connection;
#[cfg(feature = "cli")]
pub(crate) mod cost;
#[cfg_attr(not(feature = "udp"), path = "no_datagrams.rs")]
mod datagrams;
mod deadlines;
mod drain;
#[cfg(feature = "sandbox")]
mod early;
mod ending;
mod error;
mod fullness;
mod gather;
mod giving_way;
mod handle;
mod headers;
mod life;
mod lingering;
mod listener;
#[cfg(feature = "status")]
mod listing;
mod notices;
mod outlet;
#[cfg(feature = "poll")]
mod poll_orders;
#[cfg(feature = "poll")]
mod poll_plan;
#[cfg(feature = "poll")]
mod polled;
#[cfg_attr(not(feature = "poll"), path = "no_pollers.rs")]
mod pollers;
mod proxied;
#[cfg(feature = "cli")]
mod pulse;
mod quiet;
mod rates;
mod reading;
mod receipts;
mod renew;
#[cfg_attr(not(feature = "tls"), path = "no_secured.rs")]
mod secured;
#[cfg(feature = "tls")]
mod sessions;
#[cfg(feature = "status")]
mod status;
mod tally;

use std::io;
use std::time::Duration;

use log::{info, warn};

#[cfg(all(feature = "cli", feature = "tls"))]
pub(crate) use self::certificates::foresee_certificates;
#[cfg(feature = "sandbox")]
pub(crate) use self::early::bind_early;
pub use self::error::{BindError, RunError};
pub use self::handle::Handle;
#[cfg(all(feature = "cli", feature = "poll"))]
pub(crate) use self::poll_plan::poll_share;
#[cfg(feature = "cli")]
pub(crate) use self::pulse::Pulse;

use self::alerts::Alerts;
use self::clients::Clients;
use self::clock::Clock;
use self::datagrams::{Datagrams, LONGEST_GATHER};
use self::fullness::Fullness;
use self::gather::{Brought, Gather};
use self::life::Life;
use self::listener::Listeners;
use self::notices::Notices;
use self::outlet::{Onlookers, Outlet};
use self::pollers::Pollers;
use self::rates::Rates;
use self::reading::ReadBuffer;
use self::secured::Secured;
#[cfg(feature = "status")]
use self::status::Desk;
use crate::config::limits::{Config, Limits, MemoryPlan};
use crate::config::listen::{Listen, ListenAddr};
use crate::config::units::DisplaySize;
use crate::engine::stats::{Counters, Gauges, OutputStats, Snapshot};
use crate::inherited::Inherited;
use crate::net::{ALERTS, Bound, EVENTS, Mio, Net, Ready, STATUS_LISTENER, SocketOptions, Source};
use crate::sink::{Event, Interest, Order, Sink, Weight};

/// The status endpoint, if there is one.
#[cfg(feature = "status")]
type Desks<N> = Option<Box<Desk<<N as Net>::Listener, <N as Net>::Stream>>>;
#[cfg(not(feature = "status"))]
type Desks<N> = std::marker::PhantomData<(<N as Net>::Listener, <N as Net>::Stream)>;

/// Whether a server goes on after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// There will be more to do.
    Running,
    /// It has come to its orderly end: everything is written and closed.
    Stopped,
}

/// Receives lines from many clients and writes each to one sink.
///
/// ```
/// use lumberjack::{Config, MemorySink, Server};
///
/// let sink = MemorySink::new();
/// let mut server = Server::bind(Config::listen("127.0.0.1:0".parse()?), sink.clone())?;
/// server.handle().stop();
/// server.run()?;
/// assert!(sink.lines().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server<S: Sink, N: Net = Mio> {
    net: N,
    limits: Limits,
    listeners: Listeners<N::Listener>,
    datagrams: Datagrams<N::Listener>,
    pollers: Option<Box<Pollers>>,
    alerts: Option<Box<Alerts>>,
    fullness: Fullness,
    clients: Clients<N::Stream>,
    secured: Secured,
    outlet: Outlet<S>,
    rates: Rates,
    desk: Desks<N>,
    clock: Clock,
    gather: Gather,
    notices: Notices,
    counters: Counters,
    life: Life,
    handle: Handle,
    read_buffer: ReadBuffer,
    events: Vec<Ready>,
}

impl<S: Sink> Server<S> {
    /// Opens every listener of `config`. Clients are accepted from the first [`Server::turn`] on, which `run` makes.
    ///
    /// # Errors
    /// See [`BindError`]; nothing stays open.
    pub fn bind(config: Config, sink: S) -> Result<Self, BindError> {
        Self::bind_inherited(config, sink, Vec::new())
    }

    /// [`Server::bind`] where somebody else opened some of the sockets already: if one of `inherited` listens where
    /// `config` says that the server is to listen, it is used, and no socket is opened there. Those that match no place
    /// are closed.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind_inherited(config: Config, sink: S, inherited: Vec<Inherited>) -> Result<Self, BindError> {
        Self::bind_all(config, sink, inherited, Vec::new())
    }

    /// The same, where some of the sockets are bound already; also that of [`Server::serve_status`].
    pub(crate) fn bind_all(
        config: Config,
        sink: S,
        inherited: Vec<Inherited>,
        bound: Vec<Bound>,
    ) -> Result<Self, BindError> {
        let mut net = Mio::new().map_err(BindError::Poll)?;
        net.inherit(inherited);
        net.have(bound);
        let mut server = Self::bind_with(config, sink, net)?;
        server.net.inherit(Vec::new());
        Ok(server)
    }
}

impl<S: Sink, N: Net> Server<S, N> {
    /// [`Server::bind`] over another network than the kernel's, such as a simulated one.
    ///
    /// # Errors
    /// See [`BindError`].
    #[doc(hidden)]
    pub fn bind_with(config: Config, sink: S, mut net: N) -> Result<Self, BindError> {
        config.validate()?;
        let Config { listen, unix_mode, udp_buffer, limits } = config;
        let plan = MemoryPlan::new(&limits, sink.overhead())?;
        let secured = Secured::read_files(&listen, &plan)?;
        let (mut listeners, mut datagrams) = (Listeners::new(&limits), Datagrams::new());
        let (mut rates, clock) = (Rates::default(), Clock::new(net.now()));
        for (number, Listen { at, options, .. }) in listen.iter().enumerate() {
            let only_v6 = at.leaves_ipv4(&listen);
            let socket = SocketOptions { unix_mode, keepalive: limits.keepalive, only_v6, udp_buffer };
            let (listener, local) = net.listen(at, &socket, number).map_err(|error| BindError::new(at, error))?;
            let local = Listen::new(local, options.clone());
            let is_udp = local.at.is_udp();
            let buffers = (net.udp_buffer(&listener).unwrap_or(udp_buffer), udp_buffer);
            announce(&local, net.is_early(&listener), buffers);
            rates.add(&local, &limits, clock.tick());
            let number = listeners.note(local, &limits);
            if is_udp { datagrams.add(number, listener) } else { listeners.add(number, listener) }
        }
        let snapshot = first_snapshot(&limits, &listeners, sink.outputs());
        let handle = Handle::new(snapshot, net.waker().map_err(BindError::Poll)?);
        let mut server = Self {
            gather: Gather::new(longest_gather(&limits, datagrams.are_closed())),
            listeners,
            datagrams,
            pollers: None,
            alerts: None,
            fullness: Fullness::default(),
            clients: Clients::new(&limits, plan.pending_share, clock.tick()),
            secured,
            outlet: Outlet::new(sink, plan, limits.max_line),
            rates,
            desk: Desks::<N>::default(),
            clock,
            notices: Notices::new(),
            counters: Counters::default(),
            life: Life::Serving,
            handle,
            read_buffer: ReadBuffer::new(),
            events: Vec::with_capacity(EVENTS),
            net,
            limits,
        };
        server.take_sink_events().map_err(BindError::Sink)?;
        server.offer_polls();
        server.set_memory_aside()?;
        server.look_at_certificates();
        Ok(server)
    }

    /// Where it listens, in the order of the configuration, with the ports that were picked for port 0.
    #[must_use]
    pub fn local_addrs(&self) -> &[ListenAddr] {
        self.listeners.local_addrs()
    }

    /// The way to stop it and to ask how it is.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until [`Handle::stop`] and the orderly end that follows.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn run(&mut self) -> Result<(), RunError> {
        while self.turn(None)? == Turn::Running {}
        Ok(())
    }

    /// One pass of the loop, inside somebody else's: waits for events, at most `timeout`, and does what they ask.
    ///
    /// # Errors
    /// See [`RunError`]; the server is at its end then, and what it holds is released when it is dropped.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<Turn, RunError> {
        if self.life == Life::Stopped {
            return Ok(Turn::Stopped);
        }
        let events = self.wait_for_events(timeout)?;
        if self.handle.is_reopen_asked() {
            self.outlet.sink.obey(Order::Reopen);
            self.renew_certificates();
            self.reopen_alerts();
            self.reopen_pollers();
            self.write()?;
        }
        if self.life == Life::Serving && self.handle.is_stopping() {
            self.begin_drain();
        }
        let (bytes, lines) = (self.counters.bytes, self.counters.lines);
        self.look_for_drops();
        // Before all else: nobody else loses by waiting.
        self.read_datagrams();
        self.accept_clients();
        self.read_ready();
        if self.asks_others() {
            self.serve_pollers();
        }
        let (bytes, lines) = (self.counters.bytes - bytes, self.counters.lines - lines);
        self.gather.note(self.clock.now(), Brought { events, bytes, lines });
        // Before the timers, or a pending line that is due might find no room behind what was just read.
        self.write()?;
        self.fire_timers()?;
        self.go_on_draining();
        self.write()?;
        if self.limits.receipt {
            self.give_receipts();
        }
        self.finish_draining()?;
        self.notices.summarise(self.clock.now());
        self.look_at_certificates();
        if self.clients.forget_crowd() {
            self.secured.reset();
            self.rates.forget_crowd(self.clock.tick());
        }
        if self.alerts.is_some() {
            self.send_alerts();
        }
        self.publish();
        #[cfg(feature = "status")]
        self.serve_visitors();
        Ok(if self.life == Life::Stopped { Turn::Stopped } else { Turn::Running })
    }

    /// Waits for events, and notes what each is about. The answer is how many were about clients that log, not about
    /// the status endpoint.
    fn wait_for_events(&mut self, timeout: Option<Duration>) -> Result<usize, RunError> {
        let was_stalled = self.outlet.is_stalled();
        let timeout = self.longest_wait().into_iter().chain(timeout).min();
        let pause = self.gather.pause(timeout).filter(|_| self.life == Life::Serving);
        if let Some(pause) = pause {
            self.net.pause(pause).map_err(RunError::Poll)?;
        }
        let rest = timeout.map(|timeout| timeout.saturating_sub(pause.unwrap_or_default()));
        self.events.clear();
        self.net.poll(rest, &mut self.events).map_err(RunError::Poll)?;
        self.clock.advance(self.net.now(), timeout, was_stalled);
        let (mut is_output_gone, mut count) = (false, self.events.len());
        for event in &self.events {
            match event.source {
                Source::Listener(STATUS_LISTENER) | Source::Visitor(_) => {
                    self.desk.wake(event.source);
                    count -= 1;
                }
                Source::Listener(number) => {
                    self.listeners.wake(number);
                    self.datagrams.wake(number);
                }
                Source::Poller(ALERTS) => {
                    if let Some(alerts) = &mut self.alerts {
                        alerts.wake();
                    }
                    count -= 1;
                }
                Source::Poller(number) => {
                    if let Some(pollers) = &mut self.pollers {
                        pollers.wake(number);
                    }
                    count -= 1;
                }
                Source::Wake => {}
                Source::Sink(number) => {
                    is_output_gone |= event.failed;
                    self.outlet.sink.ready(number, event.failed);
                }
                Source::Connection(key) => self.clients.connections.mark_ready(key, *event),
            }
        }
        if is_output_gone {
            // If that was all of the sink, no more is read for it.
            self.write()?;
        }
        Ok(count)
    }

    /// How long the loop may wait for events; `None` is for ever.
    fn longest_wait(&self) -> Option<Duration> {
        let now = self.clock.now();
        let can_read = !self.outlet.is_stalled();
        let can_be_read = self.clients.connections.ready_len() > 0 && self.life.reads_in_turn();
        if (can_read && (can_be_read || self.can_accept() || self.datagrams.may_wait() || self.rates.have_lost()))
            || (self.limits.receipt && self.is_receipt_due())
        {
            return Some(Duration::ZERO);
        }
        // Deadlines that are not acted on now must not end the wait either: the loop would spin.
        let fires = can_read && self.life == Life::Serving;
        let mut next_tick = self.clients.deadlines.next();
        if self.rates.are_on() {
            next_tick = next_tick.into_iter().chain(self.rates.next()).min();
        }
        let next_timer = next_tick.filter(|_| fires).map(|tick| self.clock.until(tick));
        let waits = [
            next_timer,
            self.quiet_due_in(),
            self.listeners.due_in(now),
            self.datagrams.due_in(now),
            self.outlet.sink.due_in(now),
            self.notices.due_in(now),
            self.drain_due_in(),
            self.desk.due_in(now),
            self.secured.due_in(now),
        ];
        let wait = waits.into_iter().flatten().min();
        if !self.asks_others() {
            return wait;
        }
        [wait, self.pollers_due_in(), self.alerts_due_in()].into_iter().flatten().min()
    }

    /// Whether other servers are asked for pages, or told of lines. Most servers do neither.
    #[inline(always)] // each turn asks twice
    fn asks_others(&self) -> bool {
        self.pollers.is_some() || self.alerts.is_some() || self.handle.has_poll_orders()
    }

    fn write(&mut self) -> Result<(), RunError> {
        match self.outlet.flush(self.clock.now()) {
            Ok(false) => Ok(()),
            Ok(true) => {
                if self.outlet.has_released() {
                    self.clients.connections.release();
                    self.clients.receipts.take_back(&mut self.clients.connections);
                }
                self.take_sink_events().map_err(RunError::Poll)
            }
            Err(error) => {
                // What it still has to say comes before the end.
                let _ = self.take_sink_events();
                let (sink, lost_bytes) = (self.outlet.sink.describe(), self.outlet.sink.state().waiting);
                let missed_lines = self.outlet.missed_lines(&sink);
                Err(RunError::SinkGone { sink, source: Some(error), lost_bytes, missed_lines })
            }
        }
    }

    /// Acts on all that the sink has to tell.
    ///
    /// # Errors
    /// A descriptor of it can't be watched.
    fn take_sink_events(&mut self) -> io::Result<()> {
        while let Some(event) = self.outlet.sink.poll_event() {
            match event {
                Event::Watch(watch) => {
                    let is_read = watch.interest == Interest::ReadWrite;
                    self.net.watch_sink(watch.number, watch.descriptor, is_read)?;
                }
                Event::Report { weight: Weight::News, sentence, .. } => info!("[out] {sentence}"),
                Event::Report { output, sentence, .. } => {
                    self.notices.warn_of_output(self.clock.now(), output, sentence);
                }
                Event::Lost(loss) => self.outlet.note_loss(loss),
            }
        }
        Ok(())
    }

    fn publish(&self) {
        let state = self.outlet.sink.state();
        let gauges = Gauges { sink_waiting_bytes: state.waiting as u64, ..self.clients.gauges() };
        self.handle.publish(|snapshot| {
            snapshot.running = self.life == Life::Serving;
            snapshot.counters = Counters { filtered: state.filtered, ..self.counters };
            snapshot.gauges = gauges;
            #[cfg(feature = "tls")]
            self.secured.publish(snapshot);
            for (known, output) in snapshot.outputs.iter_mut().zip(self.outlet.sink.outputs()) {
                known.counters = output.counters;
            }
        });
    }

    /// Asserts what must hold between turns. Walks over everything: for tests, never for a release turn.
    #[doc(hidden)]
    pub fn check(&self) {
        self.clients.check();
        self.check_rates();
        assert!(self.outlet.sink.state().held <= self.outlet.share(), "6. the sink stays within its share (P5)");
        for (_, conn) in self.clients.connections.iter() {
            conn.framer.check(self.listeners.rules(conn.listener));
            assert!(self.limits.receipt || !conn.is_owed(), "7. receipts are only given where they are asked for");
        }
        self.check_pollers();
        self.check_sessions();
        #[cfg(feature = "status")]
        self.check_desk();
    }
}

/// Says where the server listens, and what is not as it was asked for: `buffers` are the size of a receive buffer, and the
/// one that was.
#[inline(never)] // for size
fn announce(local: &Listen, is_early: bool, buffers: (usize, usize)) {
    let at = &local.at;
    info!("[{}] Listening on {local}", if at.is_udp() { "udp" } else { "tcp" });
    if is_early {
        warn!(
            "[tcp] This machine has no such address yet: {at}; clients can connect once it has; else choose one of its own, or 0.0.0.0 for all, with --listen"
        );
    }
    if buffers.0 < buffers.1 {
        let (got, asked) = (DisplaySize(buffers.0), DisplaySize(buffers.1));
        warn!(
            "[udp] The kernel gives {at} a receive buffer of {got}, not the {asked} of --udp-buffer: raise net.core.rmem_max"
        );
    }
}

/// The longest pause for gathering: a receive buffer of UDP may be full before.
fn longest_gather(limits: &Limits, without_datagrams: bool) -> Duration {
    if without_datagrams { limits.gather } else { limits.gather.min(LONGEST_GATHER) }
}

fn first_snapshot<L>(limits: &Limits, listeners: &Listeners<L>, outputs: &[OutputStats]) -> Snapshot {
    let port = listeners.local_addrs().iter().find_map(|at| match at {
        ListenAddr::Tcp(addr) => Some(addr.port()),
        ListenAddr::Udp(_) | ListenAddr::Unix(_) => None,
    });
    Snapshot {
        running: true,
        port,
        counters: Counters::default(),
        gauges: Gauges::default(),
        limits: limits.clone(),
        listen: listeners.described(),
        outputs: outputs.to_vec(),
        pollers: Vec::new(),
        #[cfg(feature = "tls")]
        tls: crate::engine::stats::TlsCounters::default(),
        #[cfg(feature = "tls")]
        certificates: Vec::new(),
    }
}
