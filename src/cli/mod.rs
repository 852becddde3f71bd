//! The door: from arguments to a running server, and from its end to an exit code. Not part of the library's promise;
//! it is here so that tests and fuzzers reach it.

mod help;
mod logging;
pub mod options;
mod parse;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use log::{info, warn};
use signal_hook::consts::{SIGINT, SIGTERM};

pub use self::help::help;
pub use self::parse::{Invocation, UsageError, parse, parse_config_file};

use self::options::Settings;
use crate::engine::config::{DEFAULT_MEMORY, ListenAddr};
use crate::engine::units::DisplaySize;
use crate::host;
use crate::server::{Handle, Server};
use crate::sink::{FileSink, Sink, StdoutSink};

/// Descriptors that are not connections: the standard three, the poll loop, the wake-up, the output, the log, and some
/// to spare; listeners come on top.
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
    let exit = match parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Help) => show(&help()),
        Ok(Invocation::Version) => show(concat!("lumberjack ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Invocation::Run(settings)) => run(*settings),
        Err(error) => {
            logging::complain(&error);
            Exit::Usage
        }
    };
    ExitCode::from(exit as u8)
}

fn show(text: &str) -> Exit {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Clean,
        Err(_) => Exit::Failure,
    }
}

fn run(mut settings: Settings) -> Exit {
    let _borrowed = logging::start(settings.log_level);
    fit_to_the_box(&mut settings);
    if let Err(error) = settings.config.validate() {
        logging::complain(&error);
        return Exit::Usage;
    }
    let output = if settings.output == "-" {
        StdoutSink::new(settings.format).map(boxed).map_err(|error| format!("cannot use stdout: {error}"))
    } else {
        FileSink::open(&settings.output, settings.format).map(boxed).map_err(|error| error.to_string())
    };
    let sink = match output {
        Ok(sink) => sink,
        Err(error) => {
            logging::complain(&error);
            return Exit::Failure;
        }
    };
    let memory_of_output = settings.config.limits.memory;
    let mut server = match Server::bind(settings.config.clone(), sink) {
        Ok(server) => server,
        Err(crate::server::BindError::Config(error)) => {
            logging::complain(&error);
            return Exit::Usage;
        }
        Err(error) => {
            logging::complain(&error);
            return Exit::Failure;
        }
    };
    if let Err(error) = take_signals(&server.handle()) {
        logging::complain(&format_args!("cannot take signals: {error}; raise the limit on open files"));
        return Exit::Failure;
    }
    greet(server.local_addrs(), &settings.output);
    info!(
        "Memory budget {}, at most {} connections",
        DisplaySize(memory_of_output),
        settings.config.limits.max_connections
    );
    let ended = server.run();
    if logging::dropped() > 0 {
        warn!("[log] {} lines of this log were dropped, since stderr did not take them", logging::dropped());
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

fn boxed(sink: impl Sink + 'static) -> Box<dyn Sink> {
    Box::new(sink)
}

/// Lowers what this box can't give, and says so.
fn fit_to_the_box(settings: &mut Settings) {
    let limits = &mut settings.config.limits;
    if let (false, Some(memory)) = (settings.is_memory_given, host::memory()) {
        let quarter = usize::try_from(memory / 4).unwrap_or(usize::MAX);
        limits.memory = quarter.min(DEFAULT_MEMORY);
    }
    let allowed = host::raise_descriptor_limit();
    let others = OTHER_DESCRIPTORS + settings.config.listen.len() as u64;
    let room = usize::try_from(allowed.saturating_sub(others)).unwrap_or(usize::MAX).max(1);
    if room < limits.max_connections {
        warn!(
            "[tcp] --max-connections {} needs more than the {allowed} open files that this process may have; lowered to {room} (raise the limit with ulimit -n or LimitNOFILE=)",
            limits.max_connections
        );
        limits.max_connections = room;
    }
}

/// The first SIGTERM or SIGINT stops in order, the second at once (P11).
fn take_signals(handle: &Handle) -> std::io::Result<()> {
    let stop = handle.stop_flag();
    for signal in [SIGTERM, SIGINT] {
        // In this order: the flag is still unset when the first signal looks at it.
        signal_hook::flag::register_conditional_shutdown(signal, Exit::Failure as i32, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
        signal_hook::low_level::pipe::register(signal, handle.signal_writer()?)?;
    }
    Ok(())
}

/// To a person: where it listens, where lines go, and how to send the first one.
fn greet(local_addrs: &[ListenAddr], output: &str) {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return;
    }
    let places: Vec<String> = local_addrs.iter().map(ToString::to_string).collect();
    let output = if output == "-" { "stdout" } else { output };
    let client = match local_addrs.first() {
        Some(ListenAddr::Tcp(addr)) if addr.ip().is_unspecified() => format!("nc 127.0.0.1 {}", addr.port()),
        Some(ListenAddr::Tcp(addr)) => format!("nc {} {}", addr.ip(), addr.port()),
        Some(ListenAddr::Unix(path)) => format!("nc -U {}", path.display()),
        None => return,
    };
    let places = places.join(", ");
    let _ = writeln!(stderr, "Listening on {places}, lines go to {output}; send one: printf 'hello\\n' | {client}");
}
