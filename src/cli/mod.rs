//! The program: from arguments to a running server, and from its end to an exit code. It is in the library so that tests
//! and fuzzers reach it, and no promise to embedders.

#[cfg(feature = "status")]
mod ask;
#[cfg(feature = "spool")]
mod asked;
mod cat;
mod check;
mod config_file;
mod flavour;
mod help;
mod inherit;
mod kinds;
mod logging;
mod notify;
pub mod options;
mod parse;
#[cfg(any(feature = "status", feature = "spool"))]
mod reader;
mod redact;
mod reload;
mod report;
mod runner;
#[cfg(feature = "sandbox")]
mod sandbox;
mod settings;
mod signals;
#[cfg(feature = "spool")]
mod spooled;
#[cfg(all(feature = "spool", feature = "nats"))]
mod streamed;
#[cfg(feature = "sandbox")]
mod user;

use std::fmt;
use std::io::{IsTerminal, Write};
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

use log::{LevelFilter, info, warn};

#[cfg(feature = "status")]
pub use self::ask::{DEFAULT_STATUS, Question};
#[cfg(feature = "spool")]
pub use self::asked::Spooled;
pub use self::cat::{Listing, Since};
pub use self::help::help;
pub use self::parse::{Invocation, Origins, UsageError, parse, parse_config_file};

use self::options::Settings;
use self::reload::Reload;
use self::runner::Runner;
use self::signals::Signals;
use crate::config::limits::DEFAULT_MEMORY;
use crate::config::listen::ListenAddr;
use crate::config::text::as_text;
use crate::config::units::{DisplayLines, DisplaySize};
use crate::host;
use crate::inherited::Inherited;
use crate::net::{Bound, MOST_VISITORS};
#[cfg(feature = "sandbox")]
use crate::server::bind_early;
use crate::server::{BindError, RunError, Server};
use crate::sink::{OpenError, OutputAddr, Outputs, foresee_spool, own_stdout, spool_descriptors};

/// Descriptors of every process of ours: the standard three, the poll loop, the wake-up, the log, and some to spare.
/// Listeners, outputs and the status endpoint come on top.
const OTHER_DESCRIPTORS: u64 = 16;

/// Exit codes (P13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Clean = 0,
    Failure = 1,
    Usage = 2,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let signals = Signals::take();
    logging::find_journal();
    let exit = match parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Help) => show(&help()),
        Ok(Invocation::HelpOf(text)) => show(&text),
        Ok(Invocation::Version) => show(&flavour::version()),
        Ok(Invocation::Run(settings)) => run(*settings, signals),
        Ok(Invocation::Check(settings, origins)) => check(*settings, &origins),
        Ok(Invocation::Cat(listing)) if has_stdout() && cat::cat(&listing) => Exit::Clean,
        Ok(Invocation::Cat(_)) => Exit::Failure,
        #[cfg(feature = "spool")]
        Ok(Invocation::Spooled(asked)) if spooled::run(&asked) => Exit::Clean,
        #[cfg(feature = "spool")]
        Ok(Invocation::Spooled(_)) => Exit::Failure,
        #[cfg(feature = "status")]
        Ok(Invocation::Ask(question)) => match ask::ask(&question) {
            ask::Found::Healthy => Exit::Clean,
            ask::Found::Unhealthy => Exit::Failure,
            ask::Found::Unreachable => Exit::Usage,
        },
        Err(error) => {
            logging::complain(&error);
            Exit::Usage
        }
    };
    log::logger().flush();
    ExitCode::from(exit as u8)
}

fn show(text: &str) -> Exit {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Clean,
        Err(error) => {
            logging::complain(&format_args!("cannot write to stdout: {error}; redirect it elsewhere"));
            Exit::Failure
        }
    }
}

/// Whether what is written to stdout gets anywhere; if not, that is said.
fn has_stdout() -> bool {
    // At the start, Rust's runtime opens /dev/null in place of a closed stdout: this finds that out.
    own_stdout().map_err(|error| logging::complain(&format_args!("cannot write to stdout: {error}"))).is_ok()
}

/// `--check`: writes settings and costs to stdout, and what does not fit this box to stderr too. Opens nothing.
#[inline(never)] // for size
fn check(mut settings: Settings, origins: &Origins) -> Exit {
    // What a start may open is what that user may.
    #[cfg(feature = "sandbox")]
    if let Some(user) = settings.user.clone()
        && let Err(error) = user.become_it().and_then(|()| user.can_reload(settings.config_file.as_deref()))
    {
        logging::complain(&error);
        return Exit::Failure;
    }
    let lowered = fit_to_the_box(&mut settings);
    #[cfg_attr(not(feature = "sandbox"), expect(unused_mut))]
    let mut bill = match check::bill(&settings, origins, lowered.as_deref()) {
        Ok(bill) => bill,
        Err(error) => {
            logging::complain(&error);
            return Exit::Usage;
        }
    };
    if !has_stdout() {
        return Exit::Failure;
    }
    #[cfg(feature = "sandbox")]
    check::sandbox(&mut bill, &settings);
    let mut exit = show(&bill);
    for misfit in check::misfits(&bill) {
        logging::complain(&misfit);
        if exit == Exit::Clean {
            exit = Exit::Usage
        }
    }
    exit
}

/// Why the program does not start. A clean exit: it was told to end.
struct Refusal {
    exit: Exit,
    sentence: String,
}

fn failure(sentence: impl fmt::Display) -> Refusal {
    Refusal { exit: Exit::Failure, sentence: as_text(&sentence) }
}

fn usage(sentence: impl fmt::Display) -> Refusal {
    Refusal { exit: Exit::Usage, sentence: as_text(&sentence) }
}

fn run(mut settings: Settings, signals: std::io::Result<Signals>) -> Exit {
    let signals = signals.map_err(|error| failure(format_args!("cannot take signals: {error}; please report this")));
    match signals.and_then(|signals| start_and_serve(&mut settings, &signals)) {
        Ok(exit) => exit,
        Err(Refusal { exit: Exit::Clean, sentence }) => {
            info!("{sentence}");
            Exit::Clean
        }
        Err(refusal) => {
            logging::complain(&refusal.sentence);
            refusal.exit
        }
    }
}

fn start_and_serve(settings: &mut Settings, signals: &Signals) -> Result<Exit, Refusal> {
    signals.begin();
    let inherited = inherit::sockets().map_err(usage)?;
    let (level, format) = (settings.log_level, settings.log_format);
    let _borrowed = logging::start(level, format).map_err(|error| {
        failure(format_args!("cannot open the log on stderr: {error}; raise the limit on open files"))
    })?;
    // A person at a terminal gets a greeting, which has what the log would say until then, but for warnings.
    let is_person = std::io::stderr().is_terminal();
    if is_person {
        log::set_max_level(level.min(LevelFilter::Warn));
    }
    let inherited_at: Vec<ListenAddr> = inherited.iter().map(|socket| socket.at().clone()).collect();
    let inherited_places = inherit::listen_on(&inherited_at, settings);
    let lowered = fit_to_the_box(settings);
    let reload = Reload::new(settings, inherited_at, lowered.clone());
    let (mut server, mut runner, status) = start((settings, reload), inherited, signals)?;
    if is_person {
        greet(server.local_addrs(), &settings.outputs, status.as_ref());
        log::set_max_level(level);
    } else {
        info!("Lines go to {}", names(&settings.outputs));
    }
    if !inherited_places.is_empty() {
        info!("[tcp] Handed over by LISTEN_FDS, and open when this ends:{inherited_places}");
    }
    if let Some(ListenAddr::Tcp(at)) = status.filter(|at| matches!(at, ListenAddr::Tcp(at) if !at.ip().is_loopback())) {
        warn!(
            "[status] {at} can be reached from other machines and shows who logs what; --status-tail off hides the lines, --status 127.0.0.1:{} all of it",
            at.port()
        );
    }
    for warning in lowered.into_iter().chain(asks_too_much(settings)) {
        warn!("[tcp] {warning}");
    }
    if let Some(warning) = foresee_spool(&settings.output) {
        warn!("[out] {warning}");
    }
    if let Some(warning) = settings.warning() {
        warn!("[out] {warning}");
    }
    let limits = &settings.config.limits;
    info!("Memory budget {}, at most {} connections", DisplaySize(limits.memory), limits.max_connections);
    Ok(finish(runner.run(&mut server)))
}

/// Opens everything. Returns the address of the status endpoint too, if there is one.
fn start(
    (settings, reload): (&Settings, Option<Reload>),
    inherited: Vec<Inherited>,
    signals: &Signals,
) -> Result<(Server<Outputs>, Runner, Option<ListenAddr>), Refusal> {
    settings.validate().map_err(|error| match inherited.is_empty() {
        true => usage(error),
        false => usage(format_args!("{error}; mind the sockets that LISTEN_FDS hands over")),
    })?;
    // Before anything is opened.
    check::memory_plan(settings).map_err(usage)?;
    #[cfg(feature = "sandbox")]
    sandbox::check_places(settings).map_err(failure)?;
    let bound = bind_as_root(settings, &inherited)?;
    let refused_output = |error: OpenError| if error.is_usage() { usage(error) } else { failure(error) };
    let sink = Outputs::open(&settings.outputs, settings.format, &settings.output).map_err(refused_output)?;
    if signals.is_stopping() {
        // Who waits at an inherited socket is the next process's.
        return Err(Refusal { exit: Exit::Clean, sentence: "[tcp] Stopped before it listened".to_owned() });
    }
    let bound = Server::bind_all(settings.config.clone(), sink, inherited, bound);
    #[cfg_attr(not(any(feature = "status", feature = "poll", feature = "alert")), expect(unused_mut))]
    let mut server = bound.map_err(refused)?;
    #[cfg_attr(not(feature = "status"), expect(unused_mut))]
    let mut status = None;
    #[cfg(feature = "poll")]
    if !settings.poll.polls.is_empty() {
        server.serve_polls(settings.poll.clone()).map_err(refused)?;
    }
    #[cfg(feature = "alert")]
    server.send_alerts_to(&settings.alert).map_err(refused)?;
    #[cfg(feature = "status")]
    if let Some(at) = &settings.status {
        status = Some(server.serve_status(at, settings.status_tail).map_err(refused)?);
        server.show_settings(options::shown(settings));
    }
    let runner = signals
        .hand_to(&server.handle(), reload.is_some())
        .map(|()| Runner::new(&server, settings, reload, signals))
        .and_then(|runner| have_descriptors(settings).map(|()| runner))
        .map_err(|error| {
            failure(format_args!("cannot take signals or clients: {error}; raise the limit on open files"))
        })?;
    // All is open that is open at rest, and no thread has begun.
    #[cfg(feature = "sandbox")]
    sandbox::enter(settings).map_err(failure)?;
    Ok((server, runner, status))
}

fn refused(error: BindError) -> Refusal {
    match error {
        BindError::Config(error) => usage(error),
        BindError::Usage(sentence) => usage(sentence),
        error => failure(error),
    }
}

/// Binds the sockets of the network and gives up root, if that is asked for: what is opened from then on, the user opens.
#[cfg(feature = "sandbox")]
fn bind_as_root(settings: &Settings, inherited: &[Inherited]) -> Result<Vec<Bound>, Refusal> {
    let Some(user) = &settings.user else { return Ok(Vec::new()) };
    user.check().map_err(failure)?;
    let inherited: Vec<ListenAddr> = inherited.iter().map(|socket| socket.at().clone()).collect();
    #[cfg(feature = "status")]
    let status = settings.status.as_ref();
    #[cfg(not(feature = "status"))]
    let status = None;
    let bound = bind_early(&settings.config, &inherited, status).map_err(refused)?;
    user.become_it().map_err(failure)?;
    user.can_reload(settings.config_file.as_deref()).map_err(failure)?;
    info!("[sandbox] Root was given up, this is {user}");
    Ok(bound)
}

#[cfg(not(feature = "sandbox"))]
fn bind_as_root(_: &Settings, _: &[Inherited]) -> Result<Vec<Bound>, Refusal> {
    Ok(Vec::new())
}

/// Whether a client can be taken in, and its lines be written: now all is open that is open at rest.
///
/// # Errors
/// There are too few descriptors: everybody would wait for ever.
fn have_descriptors(settings: &Settings) -> std::io::Result<()> {
    let outputs: usize = settings.outputs.iter().map(|output| output.least_descriptors(&settings.output)).sum();
    let opened: std::io::Result<Vec<_>> = (0..=outputs).map(|_| UnixDatagram::unbound()).collect();
    opened.map(drop)
}

fn finish(ended: Result<(), RunError>) -> Exit {
    if logging::dropped() > 0 {
        let dropped = DisplayLines(logging::dropped());
        warn!("[log] {dropped:#} left out of this log, since stderr took no more");
    }
    match ended {
        Ok(()) => {
            info!("[tcp] Stopped, everything is written");
            Exit::Clean
        }
        Err(error) => {
            logging::complain(&error);
            Exit::Failure
        }
    }
}

/// Descriptors that this process needs besides those of connections.
fn other_descriptors(settings: &Settings) -> u64 {
    let outputs: usize = settings.outputs.iter().map(|output| output.descriptors(&settings.output)).sum();
    let status = if settings.has_status() { MOST_VISITORS + 1 } else { 0 };
    let spool = spool_descriptors(&settings.output, settings.outputs.len());
    // Each has a connection; a name that is looked up, and a state that is kept, take one more now and then.
    #[cfg(feature = "poll")]
    let polls = 2 * settings.poll.polls.len();
    #[cfg(not(feature = "poll"))]
    let polls = 0;
    OTHER_DESCRIPTORS + (settings.config.listen.len() + outputs + spool + status + polls) as u64
}

/// Lowers `memory` (unless it was given) and `max_connections` to what this box has. Returns a warning if connections were
/// lowered.
#[inline(never)] // one copy, for size
fn fit_to_the_box(settings: &mut Settings) -> Option<String> {
    let others = other_descriptors(settings);
    let limits = &mut settings.config.limits;
    if let (false, Some(memory)) = (settings.is_memory_given, host::memory()) {
        let quarter = usize::try_from(memory / 4).unwrap_or(usize::MAX);
        limits.memory = quarter.min(DEFAULT_MEMORY);
    }
    let allowed = host::raise_descriptor_limit();
    let room = usize::try_from(allowed.saturating_sub(others)).unwrap_or(usize::MAX).max(1);
    let asked = limits.max_connections;
    limits.max_connections = asked.min(room);
    (room < asked).then(|| {
        format!(
            "--max-connections {asked} needs more than the {allowed} open files that this process may have; lowered to {room} (raise the limit with ulimit -n or LimitNOFILE=)"
        )
    })
}

/// What outputs are called, for a sentence.
fn names(outputs: &[OutputAddr]) -> String {
    outputs.iter().map(OutputAddr::name).collect::<Vec<_>>().join(", ")
}

/// A warning, if `--memory` asks for more than the box has: the kernel would end the program one day.
fn asks_too_much(settings: &Settings) -> Option<String> {
    let asked = settings.config.limits.memory;
    let have = host::memory().filter(|have| settings.is_memory_given && (asked as u64) > *have)?;
    let (asked, have) = (DisplaySize(asked), have >> 20);
    Some(format!("--memory {asked} is more than this box has, which is {have}MiB: lower it (--check says what fits)"))
}

/// Tells a person at a terminal where the server listens, where lines go, how to send one, and the status page's address.
fn greet(local_addrs: &[ListenAddr], outputs: &[OutputAddr], status: Option<&ListenAddr>) {
    let places: Vec<String> = local_addrs.iter().map(ToString::to_string).collect();
    let output = names(outputs);
    let client = match local_addrs.first() {
        Some(ListenAddr::Tcp(addr)) if addr.ip().is_unspecified() => format!("nc -N 127.0.0.1 {}", addr.port()),
        Some(ListenAddr::Tcp(addr)) => format!("nc -N {} {}", addr.ip(), addr.port()),
        Some(ListenAddr::Udp(addr)) if addr.ip().is_unspecified() => format!("nc -uN 127.0.0.1 {}", addr.port()),
        Some(ListenAddr::Udp(addr)) => format!("nc -uN {} {}", addr.ip(), addr.port()),
        Some(ListenAddr::Unix(path)) => format!("nc -NU {}", path.display()),
        None => return,
    };
    let places = places.join(", ");
    let status = match status {
        Some(ListenAddr::Tcp(addr)) => format!("; look at http://{addr}/"),
        _ => String::new(),
    };
    logging::say(&format_args!(
        "Listening on {places}, lines go to {output}; send one: printf 'hello\\n' | {client}{status}"
    ));
}
