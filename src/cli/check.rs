//! `--check`: the settings in force as a config file, with the origin of each; then, as comments, what they can cost on
//! this box at worst, and which do not fit it. Invariant: the text, given to `--config`, leads to the same settings, unless
//! one of its comments says that a name can't be written there.

use std::fmt::{self, Write};
#[cfg(feature = "tls")]
use std::time::SystemTime;

use log::LevelFilter;

use super::options::{OPTIONS, Settings};
use super::other_descriptors;
use super::parse::{Origins, strip_comment};
use crate::config::limits::{Config, ConfigError, Limits, MemoryPlan, Overhead};
use crate::config::listen::{Listen, ListenAddr};
#[cfg(feature = "spool")]
use crate::config::output::SyncEvery;
use crate::config::text::as_text;
#[cfg(feature = "spool")]
use crate::config::units::About;
use crate::config::units::DisplaySize;
use crate::engine::access::Access;
use crate::host;
#[cfg(feature = "poll")]
use crate::poll::{Poll, files::foresee as foresee_polls};
use crate::server::cost;
#[cfg(feature = "poll")]
use crate::server::poll_share;
use crate::sink::{DiskUse, OutputAddr, foresee, foresee_spool, overhead};
#[cfg(feature = "spool")]
use crate::spool::{USUAL_LINE_BYTES, bytes_an_hour};

/// How a comment about what does not fit begins.
const MISFIT: &str = "# Does not fit: ";
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Bytes of the longest line of our own log, without the path of an output that it may name.
const LOG_LINE_BYTES: u64 = 512;
/// What compressing a file takes, the thread's stack included: 760 KiB were measured.
const COMPRESSING_BYTES: u64 = 1024 * 1024;
/// How much memory the program itself may seem to take more in another run: the kernel counts pages for each processor
/// apart and adds them up in batches of 32 or more, so that what it says of us differs by some 128 KiB for each processor
/// that we ran on.
const SPARE_BYTES: u64 = 2 * 1024 * 1024;

/// The whole text. `lowered` is the warning that the box has too few descriptors, if it has.
///
/// # Errors
/// The settings do not work on this box: a start would end with the same sentence.
pub(super) fn bill(settings: &Settings, origins: &Origins, lowered: Option<&str>) -> Result<String, String> {
    let limits = &settings.config.limits;
    let sentence = |error: ConfigError| as_text(&error);
    let plan = memory_plan(settings)?;
    if settings.has_status() {
        plan.status_share(limits).map_err(sentence)?;
    }
    let mut text = String::new();
    for option in OPTIONS {
        let values = option.values(settings);
        let places: Vec<&str> =
            origins.iter().filter(|(name, _)| *name == option.name).map(|(_, place)| place.as_str()).collect();
        // What is no list may have been given more than once: its last place counts.
        let mut places = places.iter().skip(places.len().saturating_sub(values.len()));
        for value in values {
            setting(&mut text, option.name, &value, places.next().unwrap_or(&"default"));
        }
    }
    if settings.outputs.iter().any(OutputAddr::has_secret) {
        text.push_str("# what an output was given to say who we are is left out here: put it into a file, and give --http-auth, or --nats-creds for nats:\n");
    }
    #[cfg(feature = "poll")]
    if settings.poll.polls.iter().any(Poll::has_secret) {
        text.push_str(
            "# the passwords of pages that are polled are left out here: put them into a file, and give --http-auth\n",
        );
    }
    #[cfg(feature = "alert")]
    if settings.alert.url.as_deref().is_some_and(|url| crate::http::Url::parse(url).is_ok_and(|url| url.has_secret())) {
        text.push_str("# the password of --alert-url is left out here: put it into a file, and give --http-auth\n");
    }
    who(&mut text, &settings.config.listen);
    costs(&mut text, settings, plan);
    #[cfg(feature = "tls")]
    if let Some((each, most)) = cost::tls_bytes(&settings.config.listen, limits, plan.pending_share) {
        let (each, memory) = (Size(each as u64), DisplaySize(limits.memory));
        let _ = match most {
            0 => writeln!(
                text,
                "{MISFIT}--memory {memory} has no room for a connection over TLS: give more, such as 4MiB, or leave tls out"
            ),
            _ => writeln!(text, "# TLS: a connection takes {each} of --memory: at most {most} at once"),
        };
    }
    #[cfg(feature = "tls")]
    certificates(&mut text, settings);
    for sentence in settings.outputs.iter().filter_map(|output| foresee(output, &settings.output)) {
        let _ = writeln!(text, "{MISFIT}{sentence}");
    }
    #[cfg(feature = "poll")]
    for sentence in foresee_polls(settings.poll.state.as_deref(), settings.poll.auth.as_deref()) {
        let _ = writeln!(text, "{MISFIT}{sentence}");
    }
    if let Some(sentence) = foresee_spool(&settings.output) {
        let _ = writeln!(text, "{MISFIT}{sentence}");
    }
    for sentence in settings.warning().as_deref().into_iter().chain(lowered) {
        let _ = writeln!(text, "{MISFIT}{sentence}");
    }
    Ok(text)
}

/// What listeners' certificates are, and which of them can't be used.
#[cfg(feature = "tls")]
fn certificates(text: &mut String, settings: &Settings) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let (misfits, remarks) = crate::server::foresee_certificates(&settings.config.listen, now);
    for remark in remarks {
        let _ = writeln!(text, "# TLS: {remark}");
    }
    for misfit in misfits {
        let _ = writeln!(text, "{MISFIT}{misfit}");
    }
}

/// What a sandbox can do here, behind the text. It is tried: the process reaches no file from then on.
#[cfg(feature = "sandbox")]
pub(super) fn sandbox(text: &mut String, settings: &Settings) {
    let (had, refused) = super::sandbox::foresee(settings);
    let _ = writeln!(text, "# sandbox: {had}");
    if let Some(sentence) = refused {
        let _ = writeln!(text, "{MISFIT}{sentence}");
    }
}

/// How the memory is divided, without what pollers take.
///
/// # Errors
/// It is too little, as a sentence.
pub(super) fn memory_plan(settings: &Settings) -> Result<MemoryPlan, String> {
    let limits = &settings.config.limits;
    // `parse` has checked the settings, but not with this box's memory, nor with what the format adds to lines.
    #[cfg_attr(not(feature = "poll"), expect(unused_mut))]
    let mut plan = MemoryPlan::new(limits, added(settings)).map_err(|error| as_text(&error))?;
    #[cfg(feature = "poll")]
    if !settings.poll.polls.is_empty() {
        plan.pending_share -= poll_share(limits, plan.pending_share, &settings.poll)?;
    }
    Ok(plan)
}

/// What the format and the outputs add to lines.
pub(super) fn added(settings: &Settings) -> Overhead {
    overhead(&settings.outputs, settings.format, &settings.output)
}

/// The sentences of the text about what does not fit.
pub(super) fn misfits(bill: &str) -> impl Iterator<Item = &str> {
    bill.lines().filter_map(|line| line.strip_prefix(MISFIT))
}

#[inline(never)] // one copy, for size
fn setting(text: &mut String, name: &str, value: &str, origin: &str) {
    // Of all values only a file's name can hold what a config file can't.
    let _ = if value.contains(char::is_control) || strip_comment(value).trim() != value {
        writeln!(text, "{MISFIT}--{name} {value:?} ({origin}): a config file can't hold this name; give it another")
    } else {
        writeln!(text, "{name} = {value} # {origin}")
    };
}

/// Who may connect where, in the order in which it is decided, a comment for each listener that says so.
fn who(text: &mut String, listen: &[Listen]) {
    let mut before = "\n";
    for Listen { at, options, .. } in listen {
        let access = Access::new(&options.allow.0, &options.deny.0);
        if !access.is_open() {
            let _ = writeln!(text, "{before}# who may connect to {at}, by the first that fits: {access}");
            before = "";
        }
    }
}

fn costs(text: &mut String, settings: &Settings, plan: MemoryPlan) {
    let limits = &settings.config.limits;
    let lines = limits.memory as u64;
    // What the allocator wastes can't be computed. A third is the most that was measured, with glibc, when hundreds of
    // clients send long lines in small pieces; `tests/process/check.rs` compares the sum with what such a crowd takes.
    let waste = lines / 3;
    let connections = limits.max_connections as u64;
    let options = cost::option_bytes(&settings.config.listen);
    let each = cost::connection_bytes(limits) + options + if settings.has_status() { cost::STATUS_BYTES } else { 0 };
    let tables = connections * each as u64;
    // The sink's buffer may be half full of bytes that are written already, and there are two while it grows. A line is
    // there twice while it grows, and JSON may build one in a buffer that doubles.
    let copies = 2 * plan.sink_share as u64 + 3 * limits.max_line as u64;
    let compressing = compressors(settings) * COMPRESSING_BYTES;
    let buffers = cost::buffer_bytes(&settings.config.listen) as u64;
    let program = host::program_memory() + buffers + copies + compressing;
    let total = lines.saturating_add(waste + tables + program);
    let listen = &settings.config.listen;
    let (buffer, kernel) = kernel_buffers(listen, connections);
    let kernel = kernel.saturating_add(udp_buffers(&settings.config));
    let is_chatty = settings.log_level >= LevelFilter::Debug;
    let _ = writeln!(
        text,
        "\n# What this can cost at worst on this box:\n\
         # memory: {}\n\
         #   {} unfinished lines and a slow output: --memory\n\
         #   {} what the allocator may waste on them\n\
         #   {} tables: {connections} connections, {} bytes each ({} at rest)\n\
         #   {} the program and its buffers\n\
         # kernel, on top, while the output is full: {}, at most {} a connection\n\
         # open files: {} of {}, the hard limit\n\
         {}\
         # own log: {} a day{}",
        Size(total),
        Size(lines),
        Size(waste),
        Size(tables),
        each,
        cost::REST_BYTES,
        Size(program),
        Size(kernel),
        Size(buffer),
        connections + other_descriptors(settings),
        host::raise_descriptor_limit(),
        disk(settings),
        Size(log_bytes(settings)),
        if is_chatty { " in warnings; debug lines have no bound" } else { "" },
    );
    let Some(have) = host::memory().filter(|have| *have < total) else { return };
    let room = have.saturating_sub(tables + program + SPARE_BYTES) / 4096 * 3 * 1024;
    let memory = usize::try_from(room).unwrap_or(usize::MAX);
    let is_enough = MemoryPlan::new(&Limits { memory, ..limits.clone() }, added(settings)).is_ok();
    let room = DisplaySize(if is_enough { memory } else { 0 });
    let (total, have) = (Size(total), Size(have));
    let _ = match room.0 {
        0 => writeln!(
            text,
            "{MISFIT}this can take {total} of memory, and the box has {have}: lower --max-connections and --max-line"
        ),
        _ => {
            writeln!(text, "{MISFIT}this can take {total} of memory, and the box has {have}: lower --memory to {room}")
        }
    };
}

/// Outputs that may be compressing a file.
fn compressors(settings: &Settings) -> u64 {
    let options = &settings.output;
    let is_file = |output: &&OutputAddr| matches!(output.disk(options), DiskUse::Files(_) | DiskUse::Days);
    if options.compresses() { settings.outputs.iter().filter(is_file).count() as u64 } else { 0 }
}

/// The most bytes that our own log can take in a day, debug lines not counted.
fn log_bytes(settings: &Settings) -> u64 {
    let longest = settings.outputs.iter().map(|output| output.name().len() as u64).max().unwrap_or_default();
    let warnings = match settings.log_level {
        LevelFilter::Off | LevelFilter::Error => return 0,
        _ => cost::log_lines_a_day(settings.outputs.len()) * (LOG_LINE_BYTES + longest),
    };
    let interval_ms = u64::try_from(settings.report_interval.as_millis()).unwrap_or(u64::MAX);
    let is_shown = settings.log_level >= LevelFilter::Info;
    let reports = DAY_MS.checked_div(interval_ms).filter(|_| is_shown).unwrap_or_default();
    warnings + reports * LOG_LINE_BYTES
}

/// The most that each output can take of the disk, a comment each.
fn disk(settings: &Settings) -> String {
    let options = &settings.output;
    let files = (options.rotate_size as u64).saturating_mul(options.rotate_keep as u64 + 1);
    let mut text = String::new();
    for output in &settings.outputs {
        let name = output.name();
        let _ = match output.disk(options) {
            DiskUse::Nothing => continue,
            DiskUse::OfStdout => {
                writeln!(text, "# disk: what stdout goes to grows without bound, unless something rotates it")
            }
            DiskUse::Days => {
                let days = options.rotate_keep;
                writeln!(text, "# disk: {name} of today and of {days} days before (--rotate-keep), each without bound")
            }
            DiskUse::Files(_) if options.rotate_size == 0 => {
                writeln!(text, "# disk: {name} grows without bound, unless --rotate-size or something else rotates it")
            }
            DiskUse::Files(count) => {
                // The one that is being compressed is there twice.
                let twice = if options.compresses() { options.rotate_size as u64 } else { 0 };
                let most = Size(files.saturating_mul(count).saturating_add(twice));
                writeln!(text, "# disk: {most} for {name} and its earlier files: --rotate-size, --rotate-keep")
            }
        };
    }
    text + &spool(settings)
}

/// What a spool may take of the disk, how long it lasts, and what it writes to it, a comment each.
#[cfg(feature = "spool")]
fn spool(settings: &Settings) -> String {
    let options = &settings.output.spool;
    let Some(dir) = &options.dir else { return String::new() };
    let sync_ms = match settings.output.sync {
        SyncEvery::Never => None,
        SyncEvery::Time(every) => u64::try_from(every.as_millis()).ok(),
    };
    let (mut lasts, mut writes) = (String::new(), String::new());
    for (lines, before) in [(10, ""), (100, ", "), (1_000, ", ")] {
        let bytes = bytes_an_hour(lines, sync_ms);
        let seconds = (options.size as u64).saturating_mul(3600) / bytes.max(1);
        let _ = write!(lasts, "{before}{} at {lines}", About(seconds));
        let _ = write!(writes, "{before}{} at {lines}", Size(bytes.saturating_mul(24)));
    }
    format!(
        "# disk: {} for the spool {dir}: --spool-size\n\
         #   while an output is away it lasts, at so many lines of {} bytes a second: {lasts}\n\
         #   what it writes to the disk a day: {writes}\n",
        Size(options.size as u64),
        USUAL_LINE_BYTES,
    )
}

#[cfg(not(feature = "spool"))]
fn spool(_: &Settings) -> String {
    String::new()
}

/// The most bytes that the kernel holds until we read them: of one connection, and of all connections together.
fn kernel_buffers(listen: &[Listen], connections: u64) -> (u64, u64) {
    let has = |is_kind: fn(&ListenAddr) -> bool| listen.iter().any(|listen| is_kind(&listen.at));
    let tcp = if has(|at| matches!(at, ListenAddr::Tcp(_))) { host::tcp_buffer() } else { 0 };
    let unix = if has(|at| matches!(at, ListenAddr::Unix(_))) { host::unix_buffer() } else { 0 };
    let all_tcp = connections.saturating_mul(tcp).min(host::tcp_memory());
    (tcp.max(unix), all_tcp.max(connections.saturating_mul(unix)))
}

/// The same of all UDP listeners. The kernel doubles what it is asked for.
fn udp_buffers(config: &Config) -> u64 {
    let (own, most) = host::udp_buffers();
    let each = if config.udp_buffer > 0 { 2 * most.min(config.udp_buffer as u64) } else { own };
    each.saturating_mul(config.listen.iter().filter(|listen| listen.at.is_udp()).count() as u64)
}

/// A size for a person, rounded up.
struct Size(u64);

impl fmt::Display for Size {
    #[inline(never)] // one copy, for size
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.0.div_ceil(1024);
        let (number, unit) = if kib < 10_240 { (kib, "KiB") } else { (kib.div_ceil(1024), "MiB") };
        write!(f, "{number} {unit}")
    }
}
